-- segment_sizes of the ten segments, and the ten counts written by hand in one query, which are compared first.
\set ON_ERROR_STOP on
\set counts 'count(*), count(*) FILTER (WHERE prepaid_purchases > 0 OR pass_purchases > 0), count(*) FILTER (WHERE prepaid_purchases = 0 AND pass_purchases = 0), count(*) FILTER (WHERE visits >= 1 AND (now() AT TIME ZONE \'UTC\')::date - (registered_at AT TIME ZONE \'UTC\')::date BETWEEN 0 AND 30), count(*) FILTER (WHERE no_shows >= 1), count(*) FILTER (WHERE net_sales >= 3000 AND visits >= 1), count(*) FILTER (WHERE (now() AT TIME ZONE \'UTC\')::date - (last_visit_at AT TIME ZONE \'UTC\')::date >= 50), count(*) FILTER (WHERE visits >= 2 OR (now() AT TIME ZONE \'UTC\')::date - (last_visit_at AT TIME ZONE \'UTC\')::date >= 30), count(*) FILTER (WHERE to_char(birth_date, \'MM-DD\') = to_char(now() AT TIME ZONE \'UTC\', \'MM-DD\')), count(*) FILTER (WHERE visits <= 0 AND (now() AT TIME ZONE \'UTC\')::date - (registered_at AT TIME ZONE \'UTC\')::date BETWEEN 0 AND 30)'
SELECT (SELECT array_agg(s.size ORDER BY g.position) FROM customer_groups.segment_sizes() s
		JOIN customer_groups.segments g ON g.code = s.code)
	<> (SELECT ARRAY[:counts] FROM customer_groups.customer_facts) AS differ \gset
\if :differ
DO $$ BEGIN RAISE 'the counts by hand are others'; END $$;
\endif
SELECT * FROM bench.compare('SELECT sum(size) FROM customer_groups.segment_sizes()',
	'SELECT ' || :'counts' || ' FROM customer_groups.customer_facts', :rounds);
