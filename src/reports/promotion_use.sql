-- What promotions were used for, exactly as it was recorded with the sales.

CREATE VIEW customer_groups.promotion_use WITH (security_invoker) AS
	SELECT p.id AS promotion_id, p.code AS promotion_code, u.day, u.group_id, g.code AS group_code,
		u.sales, u.units, u.discount, u.net_sales
	FROM (SELECT a.promotion_id, a.group_id,
				(s.sold_at AT TIME ZONE coalesce(t.timezone, (SELECT customer_groups.settings_timezone())))::date AS day,
				count(DISTINCT (s.customer_id, s.id)) FILTER (WHERE s.kind <> 'refund') AS sales,
				sum(CASE s.kind WHEN 'refund' THEN - l.quantity ELSE l.quantity END) AS units,
				sum(CASE s.kind WHEN 'refund' THEN - a.discount ELSE a.discount END * coalesce(s.rate, 1)) AS discount,
				sum(CASE s.kind WHEN 'refund' THEN -1 ELSE 1 END * coalesce(s.rate, 1)
					* coalesce(l.total, greatest(round(l.quantity * l.unit_price,
						customer_groups.currency_digits(coalesce(t.currency, (SELECT customer_groups.settings_currency())))) - l.discount, 0))) AS net_sales
		  FROM customer_groups.sale_line_promotions a
		  JOIN customer_groups.sale_lines l USING (customer_id, sale_id, line_no)
		  JOIN customer_groups.sales s ON s.customer_id = a.customer_id AND s.id = a.sale_id
		  LEFT JOIN customer_groups.stores t ON t.id = s.store_id
		  GROUP BY a.promotion_id, a.group_id, 3) u
	JOIN customer_groups.promotions p ON p.id = u.promotion_id
	LEFT JOIN customer_groups.groups g ON g.id = u.group_id;
COMMENT ON VIEW customer_groups.promotion_use IS
	'The use of each promotion by day and group, from what was recorded with the sales: a sum over rows is the use over these days and groups. Refunds are taken off on their own day. What several promotions share (units and net sales of a line, a sale) counts for each of them.';
COMMENT ON COLUMN customer_groups.promotion_use.promotion_id IS 'Promotion.';
COMMENT ON COLUMN customer_groups.promotion_use.promotion_code IS 'Its present code.';
COMMENT ON COLUMN customer_groups.promotion_use.day IS 'Day of the sale or refund, in the store''s time zone, the settings'' without a store.';
COMMENT ON COLUMN customer_groups.promotion_use.group_id IS 'The group through which the customers had it then (of several the lowest id); null: it was open to all, or for a segment.';
COMMENT ON COLUMN customer_groups.promotion_use.group_code IS 'The group''s present code; null as well when it was deleted.';
COMMENT ON COLUMN customer_groups.promotion_use.sales IS 'Number of sales in which it took something off; refunds are not counted.';
COMMENT ON COLUMN customer_groups.promotion_use.units IS 'Quantity of the lines on which it did, less what was given back.';
COMMENT ON COLUMN customer_groups.promotion_use.discount IS 'What it took off, less what was given back, in the settings'' currency at the sales'' rates.';
COMMENT ON COLUMN customer_groups.promotion_use.net_sales IS 'What was paid for these lines, less what was given back, in the settings'' currency at the sales'' rates.';
