-- As sale.sql, into the plain table, with an update of the customer's counts.
\set rank random_exponential(0, :customers - 1, 5.0)
\set customer 1 + (:rank * 7919) % :customers
\set cents random(1, 10000)
WITH s AS (
	INSERT INTO bench.plain_sales (customer_id, amount) VALUES (:customer, :cents::numeric / 100)
	RETURNING customer_id, amount, sold_at
)
UPDATE bench.counts c
SET visits = c.visits + 1, net_sales = c.net_sales + s.amount,
	first_visit_at = least(c.first_visit_at, s.sold_at), last_visit_at = greatest(c.last_visit_at, s.sold_at)
FROM s WHERE c.customer_id = s.customer_id;
