-- labels_of a list of 1,000 customers, and their facts by key.
SELECT array_agg(k.customer_id) AS page FROM (SELECT DISTINCT customer_id FROM bench.keys LIMIT 1000) k \gset
SELECT * FROM bench.compare(
	format('SELECT count(l.labels) FROM generate_series(1, 20) n
		CROSS JOIN LATERAL customer_groups.labels_of(CASE WHEN n > 0 THEN %L::bigint[] END) l', :'page'),
	format('SELECT count(f.last_visit_at), sum(f.net_sales) FROM generate_series(1, 20) n
		CROSS JOIN LATERAL (SELECT f.*, n FROM unnest(%L::bigint[]) AS p (id)
			JOIN customer_groups.customer_facts f ON f.customer_id = p.id OFFSET 0) f', :'page'),
	:rounds);
