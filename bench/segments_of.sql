-- segments_of inside a query, and a bare look-up of the facts row as a lateral sub-query: the
-- microseconds of a call.
SELECT measured_ms * 1000 / n, peer_ms * 1000 / n
FROM (SELECT count(*) FROM bench.keys) k (n), bench.compare(
	'SELECT count(s.code) FROM bench.keys k
		CROSS JOIN LATERAL customer_groups.segments_of(k.customer_id) s',
	'SELECT count(f.last_visit_at), sum(f.net_sales) FROM bench.keys k
		CROSS JOIN LATERAL (SELECT * FROM customer_groups.customer_facts f WHERE f.customer_id = k.customer_id OFFSET 0) f',
	:rounds);
