-- Reports on tiers.

CREATE VIEW customer_groups.tier_distribution WITH (security_invoker) AS
	WITH tiers AS MATERIALIZED (
		SELECT g.id, coalesce(g.ladder, 'default') AS ladder, g.code, g.upgrade_threshold
		FROM customer_groups.groups g
		WHERE g.upgrade_threshold IS NOT NULL AND g.starts_on <= customer_groups.shop_today()
			AND coalesce(g.ends_on >= customer_groups.shop_today(), true)
	), held AS MATERIALIZED (
		SELECT v.group_id, count(*) AS customers, sum(f.net_sales) AS net_sales
		FROM customer_groups.valid_members v
		JOIN tiers t ON t.id = v.group_id
		JOIN customer_groups.customer_facts f ON f.customer_id = v.customer_id
		GROUP BY v.group_id
	), everybody AS MATERIALIZED (
		SELECT count(*) AS customers, coalesce(sum(f.net_sales), 0) AS net_sales
		FROM customer_groups.customer_facts f
	), rows AS (
		SELECT t.ladder, t.code, t.upgrade_threshold, coalesce(h.customers, 0) AS customers,
			coalesce(h.net_sales, 0) AS net_sales
		FROM tiers t LEFT JOIN held h ON h.group_id = t.id
		UNION ALL
		SELECT t.ladder, NULL, NULL, e.customers - coalesce(sum(h.customers), 0)::bigint,
			e.net_sales - coalesce(sum(h.net_sales), 0)
		FROM tiers t LEFT JOIN held h ON h.group_id = t.id CROSS JOIN everybody e
		GROUP BY t.ladder, e.customers, e.net_sales
	)
	SELECT r.ladder, r.code AS tier, r.customers, r.customers::numeric / nullif(e.customers, 0) AS share, r.net_sales
	FROM rows r CROSS JOIN everybody e
	ORDER BY r.ladder, r.upgrade_threshold DESC NULLS LAST, r.code;
COMMENT ON VIEW customer_groups.tier_distribution IS
	'For each ladder and each of its tiers in effect today (settings'' time zone), the highest first: how many customers hold it, their share of all customers (from 0 to 1; null when there are none), and their net sales of the whole time, in the settings'' currency. The row with a null tier is those who hold none.';
COMMENT ON COLUMN customer_groups.tier_distribution.ladder IS 'Ladder.';
COMMENT ON COLUMN customer_groups.tier_distribution.tier IS 'Code of a tier; null: those who hold none.';
COMMENT ON COLUMN customer_groups.tier_distribution.customers IS 'Number of customers who hold it.';
COMMENT ON COLUMN customer_groups.tier_distribution.share IS 'Their share of all customers, from 0 to 1; null when there are none.';
COMMENT ON COLUMN customer_groups.tier_distribution.net_sales IS 'Their net sales of the whole time, in the settings'' currency.';
