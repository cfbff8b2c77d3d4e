-- Reports on customers and their sales: by day, by recency, frequency and money, and by month of registration.

CREATE VIEW customer_groups.sales_by_day WITH (security_invoker) AS
	SELECT d.day, d.store_id, t.code AS store_code, d.kind, d.sales, d.net_sales
	FROM (SELECT (s.sold_at AT TIME ZONE coalesce(t.timezone, (SELECT customer_groups.settings_timezone())))::date AS day,
			s.store_id, s.kind, count(*) AS sales, sum(s.amount * coalesce(s.rate, 1)) AS net_sales
		  FROM customer_groups.sales s
		  LEFT JOIN customer_groups.stores t ON t.id = s.store_id
		  GROUP BY 1, 2, 3) d
	LEFT JOIN customer_groups.stores t ON t.id = d.store_id;
COMMENT ON VIEW customer_groups.sales_by_day IS
	'Sales by day, store and kind; a sum over rows is that of these days, stores and kinds.';
COMMENT ON COLUMN customer_groups.sales_by_day.day IS 'Day of the sale in the store''s time zone, the settings'' without a store.';
COMMENT ON COLUMN customer_groups.sales_by_day.store_id IS 'Store; null: sales without one.';
COMMENT ON COLUMN customer_groups.sales_by_day.store_code IS 'Its code.';
COMMENT ON COLUMN customer_groups.sales_by_day.kind IS 'Kind of the sales.';
COMMENT ON COLUMN customer_groups.sales_by_day.sales IS 'Number of sales; of kind product, these are the visits.';
COMMENT ON COLUMN customer_groups.sales_by_day.net_sales IS 'Sum of amount × rate, in the settings'' currency; that of refunds is not above 0.';

-- Equal values get equal scores, which ntile() would deal out by chance: a score
-- follows from the share of customers who visited later, or who have a lower value.
CREATE VIEW customer_groups.customer_rfm WITH (security_invoker) AS
	SELECT s.customer_id, s.days_since_visit, s.visits, s.net_sales, s.recency, s.frequency, s.monetary,
		CASE
			WHEN s.recency <= 2 AND s.frequency <= 2 THEN 'hibernating'
			WHEN s.recency <= 2 AND s.frequency <= 4 THEN 'at_risk'
			WHEN s.recency <= 2 THEN 'cannot_lose'
			WHEN s.recency = 3 AND s.frequency <= 2 THEN 'about_to_sleep'
			WHEN s.recency = 3 AND s.frequency = 3 THEN 'need_attention'
			WHEN s.recency <= 4 AND s.frequency >= 4 THEN 'loyal'
			WHEN s.frequency >= 4 THEN 'champions'
			WHEN s.frequency >= 2 THEN 'potential_loyalists'
			WHEN s.recency = 4 THEN 'promising'
			ELSE 'new_customers'
		END AS cell
	FROM (SELECT f.customer_id, (SELECT customer_groups.shop_today()) - f.last_visit_on AS days_since_visit,
				f.visits, f.net_sales,
				5 - (5 * (rank() OVER (ORDER BY f.last_visit_on DESC) - 1) / count(*) OVER ())::int AS recency,
				1 + (5 * (rank() OVER (ORDER BY f.visits) - 1) / count(*) OVER ())::int AS frequency,
				1 + (5 * (rank() OVER (ORDER BY f.net_sales) - 1) / count(*) OVER ())::int AS monetary
		  FROM (SELECT v.customer_id, v.visits, v.net_sales,
					(v.last_visit_at AT TIME ZONE (SELECT customer_groups.settings_timezone()))::date AS last_visit_on
				FROM customer_groups.customer_facts v
				WHERE v.visits > 0) f) s;
COMMENT ON VIEW customer_groups.customer_rfm IS
	'Recency, frequency and monetary value of each customer with a visit, scored from 1 (low) to 5 by fifths of them. Equal values have equal scores, so that the fifths may differ in size: who visited last always has the recency 5, who has the lowest value the frequency or monetary 1.';
COMMENT ON COLUMN customer_groups.customer_rfm.customer_id IS 'Customer.';
COMMENT ON COLUMN customer_groups.customer_rfm.days_since_visit IS 'Days from the last visit to today, in the settings'' time zone; negative for a visit to come.';
COMMENT ON COLUMN customer_groups.customer_rfm.visits IS 'Number of visits.';
COMMENT ON COLUMN customer_groups.customer_rfm.net_sales IS 'Net sales of the whole time, in the settings'' currency.';
COMMENT ON COLUMN customer_groups.customer_rfm.recency IS 'Score of the day of the last visit: 5 for the latest.';
COMMENT ON COLUMN customer_groups.customer_rfm.frequency IS 'Score of the visits: 5 for the most.';
COMMENT ON COLUMN customer_groups.customer_rfm.monetary IS 'Score of the net sales: 5 for the most.';
COMMENT ON COLUMN customer_groups.customer_rfm.cell IS 'Usual name of the cell of recency R and frequency F. champions: R 5, F 4-5; loyal: R 3-4, F 4-5; potential_loyalists: R 4-5, F 2-3; new_customers: R 5, F 1; promising: R 4, F 1; need_attention: R 3, F 3; about_to_sleep: R 3, F 1-2; cannot_lose: R 1-2, F 5; at_risk: R 1-2, F 3-4; hibernating: R 1-2, F 1-2.';

CREATE VIEW customer_groups.rfm_cells WITH (security_invoker) AS
	SELECT r.cell, count(*) AS customers, round(count(*) / sum(count(*)) OVER (), 6) AS share, sum(r.net_sales) AS net_sales
	FROM customer_groups.customer_rfm r
	GROUP BY r.cell;
COMMENT ON VIEW customer_groups.rfm_cells IS 'The cells of customer_rfm that have customers.';
COMMENT ON COLUMN customer_groups.rfm_cells.cell IS 'Cell, as in customer_rfm.';
COMMENT ON COLUMN customer_groups.rfm_cells.customers IS 'Number of customers in it.';
COMMENT ON COLUMN customer_groups.rfm_cells.share IS 'Their share of the customers with a visit, from 0 to 1, rounded to 6 decimals.';
COMMENT ON COLUMN customer_groups.rfm_cells.net_sales IS 'Their net sales of the whole time, in the settings'' currency.';

CREATE VIEW customer_groups.cohorts WITH (security_invoker) AS
	WITH registered AS MATERIALIZED (
		SELECT f.customer_id,
			date_trunc('month', f.registered_at AT TIME ZONE (SELECT customer_groups.settings_timezone()))::date AS cohort
		FROM customer_groups.customer_facts f
	), sizes AS MATERIALIZED (
		SELECT r.cohort, count(*) AS customers FROM registered r GROUP BY r.cohort
	), sold AS MATERIALIZED (
		SELECT r.cohort, m.month, count(*) FILTER (WHERE m.visits > 0) AS active_customers, sum(m.net_sales) AS net_sales
		FROM (SELECT s.customer_id,
					date_trunc('month', s.sold_at AT TIME ZONE (SELECT customer_groups.settings_timezone()))::date AS month,
					count(*) FILTER (WHERE s.kind = 'product') AS visits, sum(s.amount * coalesce(s.rate, 1)) AS net_sales
			  FROM customer_groups.sales s
			  GROUP BY 1, 2) m
		JOIN registered r ON r.customer_id = m.customer_id
		GROUP BY r.cohort, m.month
	)
	SELECT cohort, k.month,
		(12 * (date_part('year', k.month) - date_part('year', cohort))
			+ date_part('month', k.month) - date_part('month', cohort))::int AS age,
		z.customers, coalesce(s.active_customers, 0) AS active_customers,
		round(coalesce(s.active_customers, 0)::numeric / z.customers, 6) AS share, coalesce(s.net_sales, 0) AS net_sales
	FROM (SELECT cohort, cohort AS month FROM sizes
		  UNION
		  SELECT cohort, month FROM sold) k
	JOIN sizes z USING (cohort)
	LEFT JOIN sold s USING (cohort, month);
COMMENT ON VIEW customer_groups.cohorts IS
	'Customers by the month in which they registered: a row for that month and for each month in which they had sales. Months are those of the settings'' time zone.';
COMMENT ON COLUMN customer_groups.cohorts.cohort IS 'First day of the month of registration.';
COMMENT ON COLUMN customer_groups.cohorts.month IS 'First day of the month that the row is about.';
COMMENT ON COLUMN customer_groups.cohorts.age IS 'Months from the one to the other: 0 for the month of registration, negative for sales before it.';
COMMENT ON COLUMN customer_groups.cohorts.customers IS 'Number of customers who registered in the cohort''s month.';
COMMENT ON COLUMN customer_groups.cohorts.active_customers IS 'Those of them with a visit in the month.';
COMMENT ON COLUMN customer_groups.cohorts.share IS 'Their share of the cohort, from 0 to 1, rounded to 6 decimals.';
COMMENT ON COLUMN customer_groups.cohorts.net_sales IS 'Net sales of the cohort in the month, in the settings'' currency.';
