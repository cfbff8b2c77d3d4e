-- effective_discounts of a listing page of 1,000 items, and the same items by key with their categories.
SELECT array_agg(k.item_id) AS page FROM (SELECT item_id FROM bench.keys LIMIT 1000) k \gset
SELECT * FROM bench.compare(
	format('SELECT count(d.price) FROM generate_series(1, 20) n
		CROSS JOIN LATERAL customer_groups.effective_discounts(n, %L) d', :'page'),
	format('SELECT count(i.price), count(i.categories) FROM generate_series(1, 20) n
		CROSS JOIN LATERAL (
			SELECT i.price, (SELECT sum(c.category_id) FROM customer_groups.item_categories c WHERE c.item_id = i.id) + n AS categories
			FROM unnest(%L::bigint[]) AS p (id) JOIN customer_groups.items i ON i.id = p.id OFFSET 0) i', :'page'),
	:rounds);
