-- The reporting views: each equals a plain query over customers, sales and rules of a random shop.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

-- Before there is anything.
SELECT is_empty('SELECT * FROM customer_groups.' || view, view || ' of an empty shop')
FROM unnest('{group_summary,segment_summary,segment_overlaps,promotion_summary,sales_by_day,customer_rfm,rfm_cells,cohorts}'::text[]) AS view;

-- A shop: 200 customers who registered in 5 months, groups with dates, sales of all kinds in two currencies.
INSERT INTO customer_groups.settings (timezone) VALUES ('America/New_York');
INSERT INTO customer_groups.stores (id, code, name, currency, timezone) VALUES
    (900001, 'seoul', 'Seoul', 'KRW', 'Asia/Seoul'), (900002, 'york', 'New York', 'USD', 'America/New_York');
INSERT INTO customer_groups.items (id, name, price) VALUES (900001, 'Lamp', 10), (900002, 'Cup', 5.55);
INSERT INTO customer_groups.store_prices (item_id, store_id, price) VALUES (900001, 900001, 12999), (900002, 900001, 7001);
CREATE TEMPORARY TABLE today AS SELECT (now() AT TIME ZONE 'America/New_York')::date AS day;
SELECT setseed(0.5);
INSERT INTO customer_groups.customers (id, name, registered_at)
SELECT 900000 + i, 'Customer ' || i, now() - random() * interval '150 days' FROM generate_series(1, 200) AS i;
INSERT INTO customer_groups.groups (id, code, name, starts_on) VALUES
    (900001, 'b2b', 'Business', '2020-01-01'), (900002, 'club', 'Club', '2020-01-01'), (900003, 'empty', 'Nobody', '2020-01-01');
INSERT INTO customer_groups.members (customer_id, group_id, valid_from, valid_until)
SELECT c.id, 900001 + (random() < 0.5)::int, CASE WHEN random() < 0.2 THEN t.day + 1 END, CASE WHEN random() < 0.2 THEN t.day + 3 END
FROM customer_groups.customers AS c, today AS t WHERE c.id % 2 = 0;
INSERT INTO customer_groups.members (customer_id, group_id, valid_from, valid_until)
SELECT c.id, 900002, t.day - 9, t.day - 1 FROM customer_groups.customers AS c, today AS t WHERE c.id % 9 = 1
ON CONFLICT DO NOTHING;
INSERT INTO customer_groups.promotions (id, code, name, kind, value, stage, groups_only) VALUES
    (900001, 'ten', 'Ten', 'percent', 10, 0, true), (900002, 'five', 'Five', 'percent', 5, 1, false), (900003, 'unused', 'Unused', 'percent', 1, 0, true);
INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (900001, 900001), (900001, 900002);
INSERT INTO customer_groups.promotion_items (promotion_id, item_id) VALUES (900002, 900002);
SELECT customer_groups.record_sale(c.id, format('[{"item": %s, "quantity": %s}]', 900001 + n % 2, 1 + n % 3)::jsonb,
    CASE WHEN n % 3 = 0 THEN 900001 WHEN n % 3 = 1 THEN 900002 END,
    c.registered_at + (now() - c.registered_at) * random(), rate => CASE WHEN n % 3 = 0 THEN 0.0007 END)
FROM customer_groups.customers AS c, generate_series(1, 3) AS n WHERE random() < 0.5 ORDER BY c.id, n \g /dev/null
SELECT customer_groups.record_refund(s.customer_id, s.id, at => s.sold_at + interval '20 hours')
FROM customer_groups.sales AS s WHERE s.id % 7 = 0 \g /dev/null
INSERT INTO customer_groups.sales (customer_id, kind, amount, sold_at)
SELECT c.id, k.kind, 3, c.registered_at - interval '40 days' + random() * interval '100 days'
FROM customer_groups.customers AS c, unnest('{pass,prepaid,no_show}'::customer_groups.sale_kind[]) AS k (kind) WHERE random() < 0.1;
INSERT INTO customer_groups.segments (id, code, name, rule, position, tracked) VALUES
    (900001, 'any', 'Any', 'ALL', 3, false), (900002, 'two', 'Two', 'visits >= 2', 1, true), (900003, 'b2b', 'B2B', 'member OF ''b2b''', 2, false),
    (900004, 'none', 'None', 'visits >= 1000', 4, false);

-- Plain answers: sales in the settings' currency, with their day and month.
CREATE TEMPORARY VIEW money AS
SELECT s.customer_id, s.id, s.kind, s.amount * coalesce(s.rate, 1) AS net,
    (s.sold_at AT TIME ZONE CASE s.store_id WHEN 900001 THEN 'Asia/Seoul' ELSE 'America/New_York' END)::date AS day,
    to_char(s.sold_at AT TIME ZONE 'America/New_York', 'YYYY-MM-01')::date AS month, s.store_id
FROM customer_groups.sales AS s;
SELECT cmp_ok((SELECT count(*)::int FROM money), '>', 200, 'there are sales');

CREATE TEMPORARY VIEW valid AS
SELECT m.* FROM customer_groups.members AS m, today AS t
WHERE coalesce(m.valid_from, t.day) <= t.day AND coalesce(m.valid_until, t.day) >= t.day;
SELECT set_eq('SELECT * FROM customer_groups.group_summary', $$
    SELECT g.id AS group_id, g.code AS group_code, g.name,
        (SELECT count(*) FROM valid AS v WHERE v.group_id = g.id) AS members,
        (SELECT count(*) FROM valid AS v WHERE v.group_id = g.id AND EXISTS (
            SELECT FROM customer_groups.sales AS s WHERE s.customer_id = v.customer_id AND s.kind = 'product'
            AND (s.sold_at AT TIME ZONE 'America/New_York')::date > (SELECT day FROM today) - 91)) AS active_members,
        coalesce((SELECT sum(m.net) FROM valid AS v JOIN money AS m ON m.customer_id = v.customer_id WHERE v.group_id = g.id), 0) AS net_sales,
        coalesce((SELECT sum(CASE s.kind WHEN 'refund' THEN -1 ELSE 1 END * a.discount * coalesce(s.rate, 1))
            FROM customer_groups.sale_line_promotions AS a JOIN customer_groups.sales AS s ON s.customer_id = a.customer_id AND s.id = a.sale_id
            WHERE a.group_id = g.id), 0) AS discount
    FROM customer_groups.groups AS g$$, 'group_summary');
SELECT set_eq('SELECT segment_id, code, name, color, position, tracked, size, share FROM customer_groups.segment_summary', $$
    SELECT s.id, s.code, s.name, s.color, s.position, s.tracked, count(c.id), round(count(c.id) / 200.0, 6)
    FROM customer_groups.segments AS s LEFT JOIN customer_groups.customers AS c ON customer_groups.in_segment(c.id, s.code)
    GROUP BY s.id$$, 'segment_summary');
SELECT set_eq('SELECT segment_id, code, other_segment_id, other_code, customers, share FROM customer_groups.segment_overlaps', $$
    SELECT a.id, a.code, b.id AS other_id, b.code AS other_code, n.both, round(n.both::numeric / nullif(n.one, 0), 6)
    FROM customer_groups.segments AS a CROSS JOIN customer_groups.segments AS b
    CROSS JOIN LATERAL (
        SELECT count(*) AS one, count(*) FILTER (WHERE customer_groups.in_segment(c.id, b.code)) AS both
        FROM customer_groups.customers AS c WHERE customer_groups.in_segment(c.id, a.code)) AS n$$, 'segment_overlaps');
SELECT is((SELECT sum(customers) FROM customer_groups.segment_overlaps WHERE code = 'two' AND other_code = 'b2b'),
    customer_groups.segment_overlap('two', 'b2b')::numeric, 'which is what segment_overlap() says');

SELECT set_eq('SELECT promotion_id, promotion_code, name, sales, units, discount, net_sales, share FROM customer_groups.promotion_summary', $$
    SELECT p.id, p.code, p.name, count(DISTINCT a.sale_id) FILTER (WHERE s.kind = 'product'), coalesce(sum(n.sign * l.quantity), 0) AS units,
        coalesce(sum(n.sign * a.discount * coalesce(s.rate, 1)), 0) AS discount, coalesce(sum(n.sign * l.total * coalesce(s.rate, 1)), 0) AS net_sales,
        round(coalesce(sum(n.sign * l.total * coalesce(s.rate, 1)), 0) / (SELECT sum(m.net) FROM money AS m), 6) AS share
    FROM customer_groups.promotions AS p
    LEFT JOIN customer_groups.sale_line_promotions AS a ON a.promotion_id = p.id
    LEFT JOIN customer_groups.sale_lines AS l USING (customer_id, sale_id, line_no)
    LEFT JOIN customer_groups.sales AS s ON s.customer_id = a.customer_id AND s.id = a.sale_id
    CROSS JOIN LATERAL (SELECT CASE s.kind WHEN 'refund' THEN -1 ELSE 1 END AS sign) AS n
    GROUP BY p.id$$, 'promotion_summary');
SELECT set_eq('SELECT * FROM customer_groups.sales_by_day', $$
    SELECT m.day, m.store_id, CASE m.store_id WHEN 900001 THEN 'seoul' WHEN 900002 THEN 'york' END AS store_code, m.kind,
        count(*) AS sales, sum(m.net) AS net_sales
    FROM money AS m GROUP BY 1, 2, 3, 4$$, 'sales_by_day');

-- A score by counting, for each customer, those with less; a cell from a table of all twenty-five.
CREATE TEMPORARY VIEW bought AS
SELECT s.customer_id, max((s.sold_at AT TIME ZONE 'America/New_York')::date) AS last, count(*) AS visits,
    (SELECT sum(m.net) FROM money AS m WHERE m.customer_id = s.customer_id) AS net
FROM customer_groups.sales AS s WHERE s.kind = 'product' GROUP BY s.customer_id;
SELECT set_eq('SELECT * FROM customer_groups.customer_rfm', $$
    WITH scored AS (
        SELECT b.*, (SELECT 5 - floor(5.0 * count(*) FILTER (WHERE o.last > b.last) / count(*))::int FROM bought AS o) AS r,
            (SELECT 1 + floor(5.0 * count(*) FILTER (WHERE o.visits < b.visits) / count(*))::int FROM bought AS o) AS f,
            (SELECT 1 + floor(5.0 * count(*) FILTER (WHERE o.net < b.net) / count(*))::int FROM bought AS o) AS m
        FROM bought AS b)
    SELECT s.customer_id, t.day - s.last AS days_since_visit, s.visits, s.net AS net_sales, s.r AS recency, s.f AS frequency, s.m AS monetary,
        ((ARRAY[
            '{hibernating,hibernating,at_risk,at_risk,cannot_lose}',
            '{hibernating,hibernating,at_risk,at_risk,cannot_lose}',
            '{about_to_sleep,about_to_sleep,need_attention,loyal,loyal}',
            '{promising,potential_loyalists,potential_loyalists,loyal,loyal}',
            '{new_customers,potential_loyalists,potential_loyalists,champions,champions}'
        ]::text[])[s.r]::text[])[s.f] AS cell
    FROM scored AS s, today AS t$$, 'customer_rfm');
SELECT set_eq('SELECT cell, customers, share, net_sales FROM customer_groups.rfm_cells', $$
    SELECT r.cell, count(*), round(count(*)::numeric / (SELECT count(*) FROM bought), 6), sum(b.net)
    FROM customer_groups.customer_rfm AS r JOIN bought AS b USING (customer_id) GROUP BY r.cell$$, 'rfm_cells');

SELECT set_eq('SELECT cohort, month, age, customers, active_customers, share, net_sales FROM customer_groups.cohorts', $$
    WITH people AS (SELECT id, to_char(registered_at AT TIME ZONE 'America/New_York', 'YYYY-MM-01')::date AS cohort FROM customer_groups.customers),
    months AS (SELECT p.cohort, m.month FROM people AS p JOIN money AS m ON m.customer_id = p.id UNION SELECT cohort, cohort FROM people)
    SELECT k.cohort, k.month, (SELECT count(*)::int FROM generate_series(k.cohort + interval '1 month', k.month, '1 month'))
            - (SELECT count(*)::int FROM generate_series(k.month + interval '1 month', k.cohort, '1 month')) AS age,
        (SELECT count(*) FROM people AS p WHERE p.cohort = k.cohort) AS customers,
        (SELECT count(DISTINCT m.customer_id) FROM money AS m JOIN people AS p ON p.id = m.customer_id
            WHERE p.cohort = k.cohort AND m.month = k.month AND m.kind = 'product') AS active_customers,
        round((SELECT count(DISTINCT m.customer_id) FROM money AS m JOIN people AS p ON p.id = m.customer_id
            WHERE p.cohort = k.cohort AND m.month = k.month AND m.kind = 'product')::numeric
            / (SELECT count(*) FROM people AS p WHERE p.cohort = k.cohort), 6) AS share,
        coalesce((SELECT sum(m.net) FROM money AS m JOIN people AS p ON p.id = m.customer_id WHERE p.cohort = k.cohort AND m.month = k.month), 0) AS net_sales
    FROM months AS k$$, 'cohorts');
SELECT ok((SELECT min(age) < 0 AND max(age) > 1 FROM customer_groups.cohorts), 'sales before and after registration');

-- The level view is enough for all of them.
SELECT customer_groups.grant_access('shop_view', 'view') \g /dev/null
SET LOCAL ROLE shop_view;
SELECT lives_ok('SELECT * FROM customer_groups.' || view, 'the level view reads ' || view)
FROM unnest('{group_summary,segment_summary,segment_overlaps,promotion_summary,sales_by_day,customer_rfm,rfm_cells,cohorts}'::text[]) AS view;

SELECT * FROM finish();
ROLLBACK;
