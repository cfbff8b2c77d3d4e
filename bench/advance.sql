-- One day of advance_segments(), of which about one customer in a hundred crosses a limit, and the
-- evaluation of the ten segments for every customer: the milliseconds, for each of :days days.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
UPDATE customer_groups.segments SET tracked = true;
CALL customer_groups.fill_segments(10000);
SELECT customer_groups.advance_segments() \g /dev/null
VACUUM ANALYZE customer_groups.customer_facts, customer_groups.segment_members;
CREATE TEMP TABLE calls (ms float8, peer float8);
SELECT set_config('bench.days', :'days', false) \g /dev/null
DO $$
BEGIN
	FOR day IN 1 .. current_setting('bench.days')::int LOOP
		INSERT INTO calls VALUES (
			bench.milliseconds(format('SELECT customer_groups.advance_segments(now() + interval ''%s days'')', day)),
			bench.milliseconds(format('SELECT count(s.code) FROM customer_groups.customers c
				CROSS JOIN LATERAL customer_groups.segments_of(c.id, now() + interval ''%s days'') s', day)));
		COMMIT;
	END LOOP;
	IF EXISTS (SELECT FROM customer_groups.segment_sizes(now() + interval '1 day' * current_setting('bench.days')::int) s
			   JOIN customer_groups.segments g ON g.code = s.code
			   WHERE s.size <> (SELECT count(*) FROM customer_groups.segment_members m WHERE m.segment_id = g.id))
	THEN
		RAISE 'the stored members are not those that the rules have';
	END IF;
END
$$;
SELECT ms, peer FROM calls;
