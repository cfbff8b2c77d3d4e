-- Groups, segments and promotions at a glance: one row for each, as of now.

CREATE VIEW customer_groups.group_summary WITH (security_invoker) AS
	SELECT g.id AS group_id, g.code AS group_code, g.name,
		coalesce(m.members, 0) AS members, coalesce(m.active_members, 0) AS active_members,
		coalesce(m.net_sales, 0) AS net_sales, coalesce(u.discount, 0) AS discount
	FROM customer_groups.groups g
	LEFT JOIN (SELECT v.group_id, count(*) AS members,
					count(*) FILTER (WHERE (f.last_visit_at AT TIME ZONE (SELECT customer_groups.settings_timezone()))::date
						BETWEEN (SELECT customer_groups.shop_today()) - 90 AND (SELECT customer_groups.shop_today())) AS active_members,
					sum(f.net_sales) AS net_sales
			   FROM customer_groups.valid_members v
			   JOIN customer_groups.customer_facts f ON f.customer_id = v.customer_id
			   GROUP BY v.group_id) m ON m.group_id = g.id
	LEFT JOIN (SELECT p.group_id, sum(p.discount) AS discount
			   FROM customer_groups.promotion_use p
			   GROUP BY p.group_id) u ON u.group_id = g.id;
COMMENT ON VIEW customer_groups.group_summary IS
	'Each group as of today, in the settings'' time zone. A customer of several groups counts in each of them.';
COMMENT ON COLUMN customer_groups.group_summary.group_id IS 'Group.';
COMMENT ON COLUMN customer_groups.group_summary.group_code IS 'Its code.';
COMMENT ON COLUMN customer_groups.group_summary.name IS 'Its name.';
COMMENT ON COLUMN customer_groups.group_summary.members IS 'Customers whose membership is valid today, whatever the group''s own dates are.';
COMMENT ON COLUMN customer_groups.group_summary.active_members IS 'Those of them whose last visit was today or within the 90 days before.';
COMMENT ON COLUMN customer_groups.group_summary.net_sales IS 'Net sales of the whole time of the present members, in the settings'' currency.';
COMMENT ON COLUMN customer_groups.group_summary.discount IS 'What promotions took off for customers who had them through this group, members or not any more, less what was given back, in the settings'' currency.';

CREATE VIEW customer_groups.segment_summary WITH (security_invoker) AS
	SELECT s.id AS segment_id, s.code, s.name, s.color, s.position, s.tracked, z.size,
		round(z.size::numeric / nullif((SELECT count(*) FROM customer_groups.customer_facts), 0), 6) AS share
	FROM customer_groups.segment_sizes() z
	JOIN customer_groups.segments s ON s.code = z.code;
COMMENT ON VIEW customer_groups.segment_summary IS
	'Each segment, tracked or not, by its rule as of now. Entries and exits of each day: segment_changes. Fails as segment_sizes() does.';
COMMENT ON COLUMN customer_groups.segment_summary.segment_id IS 'Segment.';
COMMENT ON COLUMN customer_groups.segment_summary.code IS 'Its code.';
COMMENT ON COLUMN customer_groups.segment_summary.name IS 'Its name.';
COMMENT ON COLUMN customer_groups.segment_summary.color IS 'Its color, #rrggbb.';
COMMENT ON COLUMN customer_groups.segment_summary.position IS 'Its place among the segments.';
COMMENT ON COLUMN customer_groups.segment_summary.tracked IS 'Whether its members are stored, with events.';
COMMENT ON COLUMN customer_groups.segment_summary.size IS 'Number of customers in it.';
COMMENT ON COLUMN customer_groups.segment_summary.share IS 'Their share of all customers, from 0 to 1, rounded to 6 decimals; null when there is no customer.';

-- Customers with the same set of segments are counted first: the sets are few, the pairs of all customers are not.
CREATE VIEW customer_groups.segment_overlaps WITH (security_invoker) AS
	WITH sets AS MATERIALIZED (
		SELECT c.segment_ids, count(*) AS customers
		FROM (SELECT array_agg(s.id) AS segment_ids
			  FROM (SELECT id, code FROM customer_groups.segments ORDER BY id) s
			  CROSS JOIN LATERAL customer_groups.segment_customers(s.code) AS m (customer_id)
			  GROUP BY m.customer_id) c
		GROUP BY c.segment_ids
	)
	SELECT a.id AS segment_id, a.code, b.id AS other_segment_id, b.code AS other_code,
		coalesce(o.customers, 0)::bigint AS customers,
		round(o.customers / nullif(sum(o.customers) FILTER (WHERE a.id = b.id) OVER (PARTITION BY a.id), 0), 6) AS share
	FROM customer_groups.segments a
	CROSS JOIN customer_groups.segments b
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(t.customers), 0) AS customers FROM sets t
		WHERE a.id = ANY (t.segment_ids) AND b.id = ANY (t.segment_ids)) o;
COMMENT ON VIEW customer_groups.segment_overlaps IS
	'How many customers are in both of two segments, as of now: a row for each ordered pair, a segment with itself included. Fails as segment_customers() does.';
COMMENT ON COLUMN customer_groups.segment_overlaps.segment_id IS 'Segment.';
COMMENT ON COLUMN customer_groups.segment_overlaps.code IS 'Its code.';
COMMENT ON COLUMN customer_groups.segment_overlaps.other_segment_id IS 'The other segment.';
COMMENT ON COLUMN customer_groups.segment_overlaps.other_code IS 'Its code.';
COMMENT ON COLUMN customer_groups.segment_overlaps.customers IS 'Number of customers in both.';
COMMENT ON COLUMN customer_groups.segment_overlaps.share IS 'Their share of the first segment, from 0 to 1, rounded to 6 decimals; null when that is empty.';

CREATE VIEW customer_groups.promotion_summary WITH (security_invoker) AS
	SELECT p.id AS promotion_id, p.code AS promotion_code, p.name,
		coalesce(u.sales, 0)::bigint AS sales, coalesce(u.units, 0) AS units,
		coalesce(u.discount, 0) AS discount, coalesce(u.net_sales, 0) AS net_sales,
		round(coalesce(u.net_sales, 0) / nullif((SELECT sum(f.net_sales) FROM customer_groups.customer_facts f), 0), 6) AS share
	FROM customer_groups.promotions p
	LEFT JOIN (SELECT d.promotion_id, sum(d.sales) AS sales, sum(d.units) AS units,
					sum(d.discount) AS discount, sum(d.net_sales) AS net_sales
			   FROM customer_groups.promotion_use d
			   GROUP BY d.promotion_id) u ON u.promotion_id = p.id;
COMMENT ON VIEW customer_groups.promotion_summary IS
	'The use of each promotion over the whole time; by day and group: promotion_use. What several promotions share counts for each of them, so that shares may sum to more than 1.';
COMMENT ON COLUMN customer_groups.promotion_summary.promotion_id IS 'Promotion.';
COMMENT ON COLUMN customer_groups.promotion_summary.promotion_code IS 'Its code.';
COMMENT ON COLUMN customer_groups.promotion_summary.name IS 'Its name.';
COMMENT ON COLUMN customer_groups.promotion_summary.sales IS 'Number of sales in which it took something off; refunds are not counted. One in which a customer had it through several groups counts for each.';
COMMENT ON COLUMN customer_groups.promotion_summary.units IS 'Quantity of the lines on which it did, less what was given back.';
COMMENT ON COLUMN customer_groups.promotion_summary.discount IS 'What it took off, less what was given back, in the settings'' currency at the sales'' rates.';
COMMENT ON COLUMN customer_groups.promotion_summary.net_sales IS 'What was paid for these lines, less what was given back, in the settings'' currency at the sales'' rates.';
COMMENT ON COLUMN customer_groups.promotion_summary.share IS 'These net sales as a share of all net sales, those without lines included, rounded to 6 decimals; null when these sum to 0.';
