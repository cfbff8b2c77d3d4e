-- One sale of three lines at the prices of the promotions. Variables: customers and items, how many.
\set rank random_exponential(0, :customers - 1, 5.0)
\set customer 1 + (:rank * 7919) % :customers
\set rank random_exponential(0, :items - 1, 5.0)
\set first 1 + (:rank * 7919) % :items
\set second 1 + (:rank * 7919 + 13) % :items
\set third 1 + (:rank * 7919 + 257) % :items
SELECT total FROM customer_groups.record_sale(:customer, jsonb_build_array(jsonb_build_object('item', :first::bigint, 'quantity', 1),
	jsonb_build_object('item', :second::bigint, 'quantity', 2), jsonb_build_object('item', :third::bigint, 'quantity', 1)));
