-- What a loaded purchase log shows. Variables: log, its name, and columns, what was read from it.

SELECT extract(epoch FROM clock_timestamp() - :'load_began') AS seconds \gset
SELECT loaded > 0 AS any_loaded, loaded, refunds, rounded FROM load_counts \gset
SELECT concat_ws(' ', count(*), CASE WHEN count(*) = 1 THEN 'row' ELSE 'rows' END, 'refused')
	|| coalesce(': ' || (SELECT string_agg(n || ' ' || problem, ', ' ORDER BY n DESC, problem)
						 FROM (SELECT problem, count(*) AS n FROM refused GROUP BY problem) p)
				|| CASE WHEN count(*) = 1 THEN ' (line ' ELSE ' (the first is line ' END || min(line) || ')', '')
	AS refused
FROM refused \gset

\echo
\echo 'THE LOG:' :log
\echo '        ' :columns
\echo
\echo :refused
\if :any_loaded
\else
DO $$ BEGIN RAISE EXCEPTION 'no row of the log could be loaded'; END $$;
\endif

\pset tuples_only on
SELECT v.name, lpad(v.value, 26)
FROM (
	SELECT 1, 'purchases loaded', to_char(:loaded, 'FM999,999,999,990')
	UNION ALL SELECT 2, 'of these refunds, negative in the log', to_char(:refunds, 'FM999,999,999,990') WHERE :refunds > 0
	UNION ALL SELECT 3, 'of these rounded to cents', to_char(:rounded, 'FM999,999,999,990') WHERE :rounded > 0
	UNION ALL SELECT 4, 'customers', to_char(count(*), 'FM999,999,999,990') FROM customers
	UNION ALL SELECT 5, 'sum(net_sales)', to_char(sum(net_sales), 'FM999,999,999,999,999,990.00') FROM customer_facts
	UNION ALL SELECT 6, 'sold', concat_ws(' to ', min(sold_at)::date, max(sold_at)::date) FROM sales
	UNION ALL SELECT 7, 'seconds to load and book', to_char(:seconds, 'FM999,990.0')
	UNION ALL SELECT 8, 'purchases a second', to_char(:loaded / :seconds, 'FM999,999,990')
) v (place, name, value)
ORDER BY v.place;
\pset tuples_only off

CREATE TEMP VIEW tiers AS
	SELECT id, name, upgrade_threshold AS threshold FROM groups WHERE upgrade_threshold IS NOT NULL
	UNION ALL SELECT NULL, 'none', NULL;

-- The tiers are the only groups here.
CREATE TEMP VIEW standing AS
	SELECT f.customer_id, c.external_id, f.visits, f.net_sales, f.last_visit_at, m.group_id
	FROM customer_facts f
	JOIN customers c ON c.id = f.customer_id
	LEFT JOIN members m ON m.customer_id = f.customer_id;

\echo 'TIERS as the load left them; members and customer_facts were kept by the INSERTs.'
\echo
SELECT t.name AS "tier  ", coalesce('from ' || t.threshold, '') AS "net sales",
	to_char(count(s.customer_id), '999,999,990') AS "   customers",
	round(100.0 * count(s.customer_id) / sum(count(s.customer_id)) OVER (), 1) AS "% of them",
	to_char(coalesce(sum(s.net_sales), 0), '99,999,999,990.00') AS "        they spent"
FROM tiers t
LEFT JOIN standing s ON s.group_id IS NOT DISTINCT FROM t.id
GROUP BY t.id, t.name, t.threshold
ORDER BY t.threshold NULLS FIRST;

\echo 'THE BEST CUSTOMERS'
\echo
SELECT s.external_id AS customer, t.name AS "tier  ", s.visits, to_char(s.net_sales, '99,999,990.00') AS "    net sales",
	s.last_visit_at::date AS "last visit"
FROM standing s
JOIN tiers t ON t.id IS NOT DISTINCT FROM s.group_id
ORDER BY s.net_sales DESC, s.customer_id
LIMIT 5;

-- More than two years are told by years.
SELECT CASE WHEN max(sold_at) - min(sold_at) > interval '24 months' THEN 'year' ELSE 'month' END AS unit,
	CASE WHEN max(sold_at) - min(sold_at) > interval '24 months' THEN 'YYYY' ELSE 'YYYY-MM' END AS unit_format
FROM sales \gset
SELECT string_agg(format('count(*) FILTER (WHERE reached = %s) AS %I', id, name), ', ' ORDER BY threshold) AS reached
FROM tiers WHERE id IS NOT NULL \gset
\echo 'BY' :unit 'of sale: how much was sold, and how many customers'' sales first reached a tier.'
\echo
WITH running AS (
	SELECT sold_at, amount, customer_id,
		sum(amount) OVER (PARTITION BY customer_id ORDER BY sold_at, id) AS total
	FROM sales
), firsts AS (
	SELECT r.customer_id, t.id AS reached, min(r.sold_at) AS sold_at
	FROM running r
	JOIN tiers t ON r.total >= t.threshold
	GROUP BY r.customer_id, t.id
), counted AS (
	SELECT to_char(sold_at, :'unit_format') AS :"unit", :reached FROM firsts GROUP BY 1
), sold AS (
	SELECT to_char(sold_at, :'unit_format') AS :"unit", to_char(count(*), '999,999,990') AS "   purchases",
		to_char(sum(amount), '999,999,999,990.00') AS "               sold"
	FROM sales GROUP BY 1
)
SELECT * FROM sold LEFT JOIN counted USING (:"unit") ORDER BY 1;

-- A promotion for each tier: 5 % for the first, 5 % more for each one above it.
INSERT INTO items (sku, name, price) VALUES ('sample', 'Sample item', 19.90);
INSERT INTO promotions (code, name, kind, value, groups_only)
	SELECT g.code, 'for ' || g.name, 'percent', 5 * row_number() OVER (ORDER BY g.upgrade_threshold), true
	FROM groups g;
INSERT INTO promotion_groups (promotion_id, group_id)
	SELECT p.id, g.id FROM promotions p JOIN groups g ON g.code = p.code;
\echo 'PRICES: promotions of 5 % and more for the tiers, and what an item of 19.90 costs a customer of each.'
\echo
SELECT s.tier AS "tier  ", s.external_id AS customer, round(s.net_sales, 2) AS "net sales",
	round(p.list_price, 2) AS list, round(p.discount, 2) AS discount, round(p.price, 2) AS price
FROM (SELECT DISTINCT ON (t.threshold) t.name AS tier, t.threshold, s.*
	  FROM tiers t JOIN standing s ON s.group_id IS NOT DISTINCT FROM t.id
	  ORDER BY t.threshold, s.customer_id) s
CROSS JOIN items i
CROSS JOIN effective_price(s.customer_id, i.id) p
ORDER BY s.threshold NULLS FIRST;
