-- segments_of inside a query, and a bare look-up of the facts row as a lateral sub-query.
SELECT * FROM bench.compare(
	'SELECT count(s.code) FROM (SELECT * FROM bench.keys LIMIT 10000) k
		CROSS JOIN LATERAL customer_groups.segments_of(k.customer_id) s',
	'SELECT count(f.last_visit_at), sum(f.net_sales) FROM (SELECT * FROM bench.keys LIMIT 10000) k
		CROSS JOIN LATERAL (SELECT * FROM customer_groups.customer_facts f WHERE f.customer_id = k.customer_id OFFSET 0) f',
	:rounds);
