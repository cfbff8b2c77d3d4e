-- As many tracked segments as :segments says, filled; those that are there stay.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;
INSERT INTO customer_groups.segments (code, name, tracked, rule)
SELECT 'segment-' || n, 'Segment ' || n, true, (CASE n % 5
	WHEN 0 THEN format('visits >= %s AND net_sales >= %s', 10 + n % 20, 500 + 10 * n)
	WHEN 1 THEN format('net_sales BETWEEN %s AND %s', 10 * n, 10 * n + 200)
	WHEN 2 THEN format('days_since(last_visit) >= %s', 100 + 2 * n)
	WHEN 3 THEN format('visits >= 3 AND last_visit WITHIN %s DAYS', 5 + n % 30)
	ELSE format('birthday IN MONTH %s AND NOT visits >= %s', 1 + n % 12, 20 + n) END)::customer_groups.segment_rule
FROM generate_series((SELECT count(*) FROM customer_groups.segments) + 1, :segments) n;
CALL customer_groups.fill_segments(10000);
SELECT customer_groups.advance_segments() \g /dev/null
VACUUM ANALYZE;
