-- Which segments a customer is in: each form of condition with its borders, labels, nesting, and what happens to
-- rules when what they name is missing, deleted or renamed.
BEGIN;
SET LOCAL client_min_messages = error;
SELECT no_plan();

-- The SQLSTATE of a statement, and what its detail says; 'done' without an error, which is undone too.
CREATE FUNCTION pg_temp.complaint(statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    state text;
    complaint text;
    hint text;
BEGIN
    EXECUTE statement;
    RAISE SQLSTATE 'CG000';
EXCEPTION
    WHEN SQLSTATE 'CG000' THEN
        RETURN 'done';
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, complaint = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN concat_ws(' ', state, complaint, CASE hint WHEN '' THEN '(no hint)' END);
END
$$;

-- ---------------------------------------------------------------------------------------------
-- The shop: in Seoul, where a day begins at 15:00 UTC. Today is mostly 10 March 2026.
-- ---------------------------------------------------------------------------------------------

INSERT INTO customer_groups.settings (currency, timezone) VALUES ('KRW', 'Asia/Seoul');
INSERT INTO customer_groups.ladders (code, name, measure) VALUES ('points', 'Points', 'visits');
INSERT INTO customer_groups.groups (id, code, name, starts_on, ends_on, ladder, upgrade_threshold) VALUES
    (1, 'wholesale', 'Wholesale', '2026-01-01', NULL, NULL, NULL),
    (2, 'spring', 'Spring', '2026-03-01', '2026-03-10', NULL, NULL),
    (3, 'silver', 'Silver', '2026-01-01', NULL, NULL, 1000000),
    (4, 'gold', 'Gold', '2026-01-01', '2026-06-30', NULL, 2000000),
    (5, 'star', 'Star', '2026-01-01', NULL, 'points', 1000);
INSERT INTO customer_groups.brands (id, code, name) VALUES (1, 'acme', 'Acme'), (2, 'other', 'Other');
INSERT INTO customer_groups.categories (id, code, name, parent_id) VALUES
    (1, 'shoes', 'Shoes', NULL), (2, 'boots', 'Boots', 1), (3, 'winter', 'Winter boots', 2), (4, 'hats', 'Hats', NULL);
INSERT INTO customer_groups.items (id, external_id, name, brand_id) VALUES
    (1, 'sku-1', 'Winter boot', 1), (2, 'sku-2', 'Hat', 2), (3, NULL, 'Thing', NULL);
INSERT INTO customer_groups.item_categories VALUES (1, 3), (1, 2), (2, 4);

-- 1 has everything; 2 has nothing; 3 was born on a leap day.
INSERT INTO customer_groups.customers (id, birth_date, registered_at, attributes) VALUES
    (1, '1990-03-12', '2026-02-08 00:00+09',
        '{"city": "Seoul", "age": 35.0, "vip": true, "post": false, "note": "", "none": null, "list": ["Seoul"], "big": 12345678901234567890.123}'),
    (2, NULL, '2026-03-11 23:59:59+09', '{}'),
    (3, '1992-02-29', '2026-03-10 00:00+09', '{"city": "seoul", "age": "35", "vip": "true", "post": 0}');
INSERT INTO customer_groups.sales (customer_id, id, kind, amount, sold_at) VALUES
    (1, 1, 'product', 100, '2026-01-09 23:59:59.999999+09'),
    (1, 2, 'product', 200, '2026-01-10 00:00+09'),
    (1, 3, 'product', 50, '2026-03-09 23:59:59.999999+09'),
    (1, 4, 'refund', -50, '2026-03-10 00:00+09'),
    (1, 5, 'prepaid', 1000, '2026-03-10 23:59:59+09'),
    (1, 6, 'pass', 300, '2026-03-11 00:00+09'),
    (1, 7, 'no_show', 0, '2026-03-01 12:00+09'),
    (3, 8, 'refund', -5, '2026-03-01 12:00+09');
INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) VALUES
    (1, 1, 1, 1, 1, 100),
    (1, 2, 1, 1, 0.5, 200), (1, 2, 2, 2, 3, 1), (1, 2, 3, 3, 7, 1),
    (1, 4, 1, 1, 4, 50),
    (1, 5, 1, 2, 2, 500);
INSERT INTO customer_groups.members (customer_id, group_id, valid_from, valid_until) VALUES
    (1, 1, '2026-03-10', '2026-03-20'), (1, 2, NULL, NULL), (1, 4, NULL, '2026-07-31'), (3, 3, NULL, NULL);

-- ---------------------------------------------------------------------------------------------
-- Conditions
-- ---------------------------------------------------------------------------------------------

CREATE TEMPORARY TABLE cases (n int GENERATED ALWAYS AS IDENTITY, customer bigint, at timestamptz, rule text, expected boolean);

-- Whole numbers, money and the average.
INSERT INTO cases (customer, at, rule, expected)
SELECT 1, '2026-03-10 12:00+09', rule, expected FROM (VALUES
    ('ALL', true), ('NOT ALL', false),
    ('visits = 3', true), ('visits <> 3', false), ('visits < 3', false), ('visits <= 3', true), ('visits > 3', false),
    ('visits >= 3', true), ('visits > 2.999999999999999999999999', true), ('visits = 3.0', true),
    ('visits BETWEEN 3 AND 4', true), ('visits BETWEEN 1 AND 3', true), ('visits BETWEEN 4 AND 5', false),
    ('visits BETWEEN 4 AND 1', false), ('visits IN (1, 2)', false), ('visits IN (2, 3.00, 4)', true),
    ('refunds = 1 AND prepaid_purchases = 1 AND pass_purchases = 1 AND no_shows = 1', true),
    ('net_sales = 1600', true), ('net_sales > 1599.99999999999999999', true), ('net_sales < 1600.00000000000000001', true),
    ('average_sale > 533.33333333333333333333333333', true), ('average_sale < 533.33333333333333333333333334', true),
    ('average_sale = 533.3333333333333333', false), ('average_sale <> 533.3333333333333333', true),
    ('average_sale BETWEEN 533 AND 534', true), ('average_sale IN (533)', false),
    -- Today and the two days before: 8, 9 and 10 March, but not the 11th.
    ('visits IN LAST 0 DAYS = 0', true), ('visits IN LAST 1 DAYS = 1', true), ('refunds IN LAST 0 DAYS = 1', true),
    ('refunds IN LAST 100000 DAYS = 1', true), ('no_shows IN LAST 9 DAYS = 1', true), ('no_shows IN LAST 8 DAYS = 0', true),
    ('net_sales IN LAST 0 DAYS = 950', true), ('net_sales IN LAST 1 DAYS = 1000', true),
    -- 10 January is 59 days before 10 March.
    ('visits IN LAST 59 DAYS = 2', true), ('visits IN LAST 58 DAYS = 1', true), ('visits IN LAST 60 DAYS = 3', true),
    ('net_sales IN LAST 60 DAYS = 1300', true)) AS v (rule, expected);
INSERT INTO cases (customer, at, rule, expected) VALUES
    -- The day ends at 15:00 UTC.
    (1, '2026-03-10 14:59:59.999999+00', 'visits IN LAST 1 DAYS = 1', true),
    (1, '2026-03-10 15:00+00', 'visits IN LAST 1 DAYS = 0', true),
    (1, '2026-03-10 15:00+00', 'net_sales IN LAST 1 DAYS = 1250', true),
    (1, '2026-03-09 14:59:59.999999+00', 'net_sales IN LAST 0 DAYS = 50', true),
    (2, '2026-03-10 12:00+09', 'visits = 0 AND net_sales = 0 AND net_sales IN LAST 9 DAYS = 0', true);

-- Dates.
INSERT INTO cases (customer, at, rule, expected)
SELECT 1, '2026-03-10 12:00+09', rule, expected FROM (VALUES
    ('registered = ''2026-02-08''', true), ('registered < ''2026-02-08''', false), ('registered <= ''2026-02-08''', true),
    ('registered > ''2026-02-07''', true), ('registered <> ''2026-02-08''', false), ('registered IN (''2026-02-07'', ''2026-02-08'')', true),
    ('registered BETWEEN ''2026-02-08'' AND ''2026-02-08''', true),
    ('first_visit = ''2026-01-09''', true), ('last_visit = ''2026-03-09''', true),
    ('days_since(last_visit) = 1', true), ('days_since(first_visit) >= 60', true), ('days_since(first_visit) > 60', false),
    ('days_since(registered) = 30', true), ('days_since(registered) BETWEEN 29.5 AND 30.5', true),
    ('registered WITHIN 30 DAYS', true), ('registered WITHIN 29 DAYS', false),
    ('last_visit WITHIN 0 DAYS', false), ('last_visit WITHIN 1 DAYS', true)) AS v (rule, expected);
INSERT INTO cases (customer, at, rule, expected) VALUES
    (1, '2026-03-10 15:00+00', 'registered WITHIN 30 DAYS', false),
    (1, '2026-03-10 14:59:59+00', 'registered WITHIN 30 DAYS', true),
    (1, '2026-02-07 14:59:59+00', 'registered WITHIN 30 DAYS', false),
    (1, '2026-02-07 15:00+00', 'registered WITHIN 0 DAYS', true),
    -- Registered tomorrow.
    (2, '2026-03-10 12:00+09', 'registered WITHIN 30 DAYS', false),
    (2, '2026-03-10 12:00+09', 'days_since(registered) = -1', true),
    (2, '2026-03-11 12:00+09', 'registered WITHIN 0 DAYS', true);

-- Birthdays.
INSERT INTO cases (customer, at, rule, expected)
SELECT customer, (day || ' 12:00+09')::timestamptz, rule, expected FROM (VALUES
    (1, '2026-03-12', 'birthday TODAY', true), (1, '2026-03-11', 'birthday TODAY', false),
    (1, '2026-03-31', 'birthday IN THIS MONTH', true), (1, '2026-04-01', 'birthday IN THIS MONTH', false),
    (1, '2026-07-01', 'birthday IN MONTH 3', true), (1, '2026-07-01', 'birthday IN MONTH 4', false),
    (1, '2026-03-05', 'birthday WITHIN NEXT 7 DAYS', true), (1, '2026-03-04', 'birthday WITHIN NEXT 7 DAYS', false),
    (1, '2026-03-12', 'birthday WITHIN NEXT 0 DAYS', true), (1, '2026-03-13', 'birthday WITHIN NEXT 363 DAYS', false),
    (1, '2026-03-13', 'birthday WITHIN NEXT 364 DAYS', true), (1, '2025-12-31', 'birthday WITHIN NEXT 71 DAYS', true),
    (1, '2025-12-31', 'birthday WITHIN NEXT 70 DAYS', false),
    (3, '2026-02-28', 'birthday TODAY', true), (3, '2026-03-01', 'birthday TODAY', false),
    (3, '2028-02-28', 'birthday TODAY', false), (3, '2028-02-29', 'birthday TODAY', true),
    (3, '2100-02-28', 'birthday TODAY', true), (3, '2026-02-01', 'birthday IN THIS MONTH', true),
    (3, '2026-03-01', 'birthday IN THIS MONTH', false), (3, '2026-09-01', 'birthday IN MONTH 2', true),
    (3, '2028-02-27', 'birthday WITHIN NEXT 1 DAYS', false), (3, '2028-02-27', 'birthday WITHIN NEXT 2 DAYS', true),
    (3, '2026-02-27', 'birthday WITHIN NEXT 1 DAYS', true), (3, '2026-03-01', 'birthday WITHIN NEXT 363 DAYS', false),
    (3, '2026-03-01', 'birthday WITHIN NEXT 364 DAYS', true), (3, '2027-03-01', 'birthday WITHIN NEXT 364 DAYS', false),
    (3, '2027-03-01', 'birthday WITHIN NEXT 365 DAYS', true)) AS v (customer, day, rule, expected);
-- Midnight in Seoul.
INSERT INTO cases (customer, at, rule, expected) VALUES
    (1, '2026-03-11 14:59:59+00', 'birthday TODAY', false), (1, '2026-03-11 15:00+00', 'birthday TODAY', true),
    (1, '2026-02-28 15:00+00', 'birthday IN THIS MONTH', true), (1, '2026-02-28 14:59:59+00', 'birthday IN THIS MONTH', false);

-- What was bought: refunds do not count, nor take away.
INSERT INTO cases (customer, at, rule, expected)
SELECT 1, '2026-03-10 12:00+09', rule, expected FROM (VALUES
    ('bought ITEM ''sku-1'' = 1.5', true), ('bought ITEM ''sku-2'' = 5', true), ('bought BRAND ''acme'' = 1.5', true),
    ('bought BRAND ''other'' >= 5', true), ('bought CATEGORY ''shoes'' = 1.5', true), ('bought CATEGORY ''boots'' = 1.5', true),
    ('bought CATEGORY ''winter'' = 1.5', true), ('bought CATEGORY ''hats'' = 5', true), ('bought CATEGORY ''hats'' > 5', false),
    ('bought ITEM ''sku-1'' IN LAST 59 DAYS = 0.5', true), ('bought ITEM ''sku-1'' IN LAST 58 DAYS = 0', true),
    ('bought CATEGORY ''shoes'' IN LAST 60 DAYS BETWEEN 1.5 AND 2', true), ('bought BRAND ''other'' IN LAST 0 DAYS = 2', true),
    ('bought BRAND ''other'' IN LAST 0 DAYS IN (1, 2, 3)', true)) AS v (rule, expected);
INSERT INTO cases (customer, at, rule, expected) VALUES
    (2, '2026-03-10 12:00+09', 'bought CATEGORY ''shoes'' = 0', true),
    (3, '2026-03-10 12:00+09', 'bought ITEM ''sku-1'' IN LAST 9 DAYS < 1', true);

-- Attributes: by value where the rule has a number, as text where it has a quoted one, true and false as such.
INSERT INTO cases (customer, at, rule, expected)
SELECT customer, '2026-03-10 12:00+09', rule, expected FROM (VALUES
    (1, 'attribute ''city'' = ''Seoul''', true), (1, 'attribute ''city'' <> ''Seoul''', false),
    (1, 'attribute ''city'' IN (''Busan'', ''Seoul'')', true), (1, 'attribute ''city'' <> ''Busan''', true),
    (3, 'attribute ''city'' = ''Seoul''', false), (1, 'attribute ''City'' = ''Seoul''', false),
    (1, 'attribute ''note'' = ''''', true), (1, 'attribute ''note'' <> ''x''', true),
    (1, 'attribute ''age'' = 35', true), (1, 'attribute ''age'' >= 35.00', true), (1, 'attribute ''age'' BETWEEN 30 AND 34', false),
    (1, 'attribute ''big'' = 12345678901234567890.123', true), (1, 'attribute ''big'' > 12345678901234567890.122', true),
    (1, 'attribute ''age'' = ''35.0''', false), (1, 'attribute ''age'' <> ''x''', false),
    (3, 'attribute ''age'' = ''35''', true), (3, 'attribute ''age'' = 35', false), (3, 'attribute ''age'' <> 1', false),
    (1, 'attribute ''vip'' = true', true), (1, 'attribute ''vip'' <> true', false), (1, 'attribute ''vip'' = false', false),
    (1, 'attribute ''vip'' <> false', true), (1, 'attribute ''vip'' IN (false, true)', true), (1, 'attribute ''vip'' IN (false)', false),
    (1, 'attribute ''post'' = false', true), (1, 'attribute ''post'' <> true', true), (1, 'attribute ''post'' = true', false),
    (1, 'attribute ''post'' IN (true)', false), (1, 'attribute ''post'' IN (true, false)', true),
    -- Of another type it is missing: false, and NOT of it true.
    (1, 'attribute ''vip'' = 1', false), (1, 'attribute ''vip'' <> ''x''', false), (1, 'attribute ''post'' = 0', false),
    (1, 'attribute ''age'' <> true', false), (1, 'attribute ''city'' IN (true, false)', false), (1, 'NOT attribute ''city'' = true', true),
    (1, 'attribute ''none'' <> true', false), (1, 'attribute ''list'' <> true', false), (2, 'attribute ''vip'' = false', false),
    (3, 'attribute ''vip'' = true', false), (3, 'attribute ''vip'' <> false', false), (3, 'NOT attribute ''vip'' <> false', true),
    (3, 'attribute ''vip'' = ''true''', true), (3, 'attribute ''post'' = false', false), (3, 'attribute ''post'' <> true', false),
    (1, 'attribute ''vip'' = ''true''', false), (1, 'attribute ''none'' <> ''x''', false), (1, 'attribute ''list'' = ''Seoul''', false)
    ) AS v (customer, rule, expected);

-- Groups and tiers.
INSERT INTO cases (customer, at, rule, expected)
SELECT customer, at::timestamptz, rule, expected FROM (VALUES
    (1, '2026-03-10 00:00+09', 'member OF ''wholesale''', true), (1, '2026-03-09 23:59:59+09', 'member OF ''wholesale''', false),
    (1, '2026-03-20 23:59:59+09', 'member OF ''wholesale''', true), (1, '2026-03-21 00:00+09', 'member OF ''wholesale''', false),
    (1, '2026-03-10 23:59:59+09', 'member OF ''spring''', true), (1, '2026-03-11 00:00+09', 'member OF ''spring''', false),
    (1, '2026-02-28 23:59:59+09', 'member OF ''spring''', false), (1, '2026-03-01 00:00+09', 'member OF ''spring''', true),
    (2, '2026-03-10 12:00+09', 'member OF ''spring''', false), (2, '2026-03-10 12:00+09', 'NOT member OF ''spring''', true),
    (1, '2026-03-10 12:00+09', 'tier OF ''default'' = ''gold''', true), (1, '2026-03-10 12:00+09', 'tier OF ''default'' <> ''gold''', false),
    (1, '2026-03-10 12:00+09', 'tier OF ''default'' IN (''silver'', ''gold'')', true), (1, '2026-03-10 12:00+09', 'tier OF ''default'' = ''silver''', false),
    (3, '2026-03-10 12:00+09', 'tier OF ''default'' <> ''gold''', true), (3, '2026-03-10 12:00+09', 'tier OF ''points'' = ''star''', false),
    (3, '2026-03-10 12:00+09', 'tier OF ''points'' <> ''star''', false), (3, '2026-03-10 12:00+09', 'NOT tier OF ''points'' = ''star''', true),
    -- Gold is over on 30 June, the membership of it a month later.
    (1, '2026-06-30 23:59:59+09', 'tier OF ''default'' = ''gold''', true), (1, '2026-07-01 00:00+09', 'tier OF ''default'' = ''gold''', false),
    (1, '2026-07-01 00:00+09', 'tier OF ''default'' <> ''silver''', false), (1, '2025-12-31 12:00+09', 'tier OF ''default'' = ''gold''', false)
    ) AS v (customer, at, rule, expected);

-- Missing values: false whatever the operator; NOT of it is true.
INSERT INTO cases (customer, at, rule, expected)
SELECT 2, '2026-03-10 12:00+09', prefix || rule, prefix <> ''
FROM (VALUES
    ('first_visit > ''2000-01-01'''), ('first_visit <> ''2000-01-01'''), ('last_visit <= ''2099-01-01'''),
    ('days_since(last_visit) >= 0'), ('days_since(last_visit) <> 0'), ('days_since(first_visit) < 100000'),
    ('last_visit WITHIN 100000 DAYS'), ('average_sale <> 5'), ('average_sale >= 0'), ('average_sale IN (0)'),
    ('birthday TODAY'), ('birthday IN THIS MONTH'), ('birthday IN MONTH 3'), ('birthday WITHIN NEXT 400 DAYS'),
    ('attribute ''city'' <> ''Seoul'''), ('attribute ''city'' <> 5'), ('attribute ''city'' <> true'), ('attribute ''city'' IN (true, false)'), ('attribute ''city'' IN (''Seoul'')'),
    ('tier OF ''default'' <> ''gold''')) AS v (rule),
    (VALUES (''), ('NOT ')) AS p (prefix);

-- Precedence.
INSERT INTO cases (customer, at, rule, expected)
SELECT 2, '2026-03-10 12:00+09', rule, expected FROM (VALUES
    ('ALL OR ALL AND NOT ALL', true), ('(ALL OR ALL) AND NOT ALL', false), ('NOT ALL OR ALL', true), ('NOT (ALL OR ALL)', false),
    ('NOT NOT ALL', true), ('NOT ALL AND ALL OR NOT ALL', false)) AS v (rule, expected);

SELECT is(customer_groups.matches(c.customer, c.rule::customer_groups.segment_rule, c.at), c.expected,
          format('%s, customer %s, %s', c.rule, c.customer, c.at))
FROM cases AS c ORDER BY c.n;

-- The same as segments: an answer must not depend on the way it is asked.
INSERT INTO customer_groups.segments (code, name, rule, position)
SELECT 'case' || n, rule, rule::customer_groups.segment_rule, -n FROM cases;
SELECT is_empty($$
    SELECT c.rule, c.customer, c.at FROM cases AS c
    WHERE customer_groups.in_segment(c.customer, 'case' || c.n, c.at) IS DISTINCT FROM c.expected
        OR c.expected <> EXISTS (SELECT FROM customer_groups.segments_of(c.customer, c.at) AS s WHERE s.code = 'case' || c.n)
        OR c.expected <> (SELECT l.labels @> jsonb_build_array(jsonb_build_object('code', 'case' || c.n))
                          FROM customer_groups.labels_of(ARRAY[c.customer], c.at) AS l)
    $$, 'segments with these rules give the same answers, each in its own way');
-- Compiled to SQL.
SELECT is_empty($$
    SELECT c.rule, c.customer, c.at FROM cases AS c
    WHERE c.expected <> (c.customer IN (SELECT customer_groups.segment_customers('case' || c.n, c.at)))
    $$, 'and for many customers at once');
DELETE FROM customer_groups.segments;

-- ---------------------------------------------------------------------------------------------
-- Labels, and arguments
-- ---------------------------------------------------------------------------------------------

INSERT INTO customer_groups.segments (code, name, color, position, show_label, rule) VALUES
    ('b', 'Second', '#bbbbbb', 2, true, 'ALL'), ('a', 'Also second', '#aaaaaa', 2, true, 'visits > 0'),
    ('first', 'First', '#000000', 1, true, 'ALL'), ('hidden', 'Hidden', '#111111', 0, false, 'ALL'),
    ('last', 'Last', '#222222', 3, true, 'visits > 0');
SELECT results_eq('SELECT * FROM customer_groups.segments_of(1)',
    $$VALUES ('first', 'First', '#000000'), ('a', 'Also second', '#aaaaaa'), ('b', 'Second', '#bbbbbb'), ('last', 'Last', '#222222')$$,
    'segments_of: by position, then code, without those that are not labels');
SELECT ok(customer_groups.in_segment(2, 'hidden'), 'in_segment asks of those without a label, too');
SELECT results_eq('SELECT * FROM customer_groups.labels_of(''{3,1,2,1,NULL}'')',
    $$VALUES
        (3::bigint, '[{"code": "first", "name": "First", "color": "#000000"}, {"code": "b", "name": "Second", "color": "#bbbbbb"}]'::jsonb),
        (1, '[{"code": "first", "name": "First", "color": "#000000"}, {"code": "a", "name": "Also second", "color": "#aaaaaa"},
              {"code": "b", "name": "Second", "color": "#bbbbbb"}, {"code": "last", "name": "Last", "color": "#222222"}]'),
        (2, '[{"code": "first", "name": "First", "color": "#000000"}, {"code": "b", "name": "Second", "color": "#bbbbbb"}]'),
        (1, '[{"code": "first", "name": "First", "color": "#000000"}, {"code": "a", "name": "Also second", "color": "#aaaaaa"},
              {"code": "b", "name": "Second", "color": "#bbbbbb"}, {"code": "last", "name": "Last", "color": "#222222"}]'),
        (NULL, '[]')$$,
    'labels_of: a row for each, in the order given');
SELECT is_empty('SELECT * FROM customer_groups.labels_of(''{}'')', 'labels_of nobody');
SELECT is_empty('SELECT * FROM customer_groups.labels_of(NULL)', 'labels_of a null list');
SELECT is_empty('SELECT * FROM customer_groups.segments_of(NULL)', 'an anonymous customer has no labels');
SELECT ok(NOT customer_groups.in_segment(NULL, 'first'), 'an anonymous customer is in no segment');
SELECT ok(NOT customer_groups.matches(NULL, 'ALL'::customer_groups.segment_rule), 'and fulfils no rule');
SELECT is(customer_groups.in_segment(1, NULL), NULL, 'a null code gives null');
SELECT is(customer_groups.matches(1, NULL::customer_groups.segment_rule), NULL, 'a null rule gives null');
SELECT is(pg_temp.complaint(statement), expected, statement)
FROM (VALUES
    ('SELECT customer_groups.segments_of(99)', '02000 There is no customer with id 99.'),
    ('SELECT customer_groups.labels_of(''{1,99}'')', '02000 There is no customer with id 99.'),
    ('SELECT customer_groups.in_segment(99, ''first'')', '02000 There is no customer with id 99.'),
    ('SELECT customer_groups.in_segment(1, ''First'')', '02000 There is no segment with code "First".'),
    ('SELECT customer_groups.in_segment(NULL, ''none'')', '02000 There is no segment with code "none".'),
    ('SELECT customer_groups.matches(99, ''ALL''::customer_groups.segment_rule)', '02000 There is no customer with id 99.'),
    ('SELECT customer_groups.segments_of(1, NULL)', '22004 '),
    ('SELECT customer_groups.labels_of(NULL, ''infinity'')', '22023 The time is infinity.'),
    ('SELECT customer_groups.in_segment(1, ''first'', ''-infinity'')', '22023 The time is -infinity.'),
    ('SELECT customer_groups.matches(1, NULL, ''infinity'')', '22023 The time is infinity.'),
    ('SELECT customer_groups.matches(NULL, ''member OF ''''none'''' OR ALL''::customer_groups.segment_rule)', '42704 There is no group "none".')
    ) AS v (statement, expected);

-- Rights: the level "view", whichever function.
SELECT customer_groups.grant_access('shop_view', 'view') \g /dev/null
SET LOCAL ROLE shop_view;
SELECT is((SELECT count(*)::int FROM customer_groups.segments_of(1)), 4, 'the level view may ask');
RESET ROLE;
GRANT USAGE ON SCHEMA customer_groups TO shop_stranger;
GRANT EXECUTE ON FUNCTION customer_groups.segments_of(bigint, timestamptz), customer_groups.in_segment(bigint, text, timestamptz),
    customer_groups.labels_of(bigint[], timestamptz), customer_groups.matches(bigint, customer_groups.segment_rule, timestamptz) TO shop_stranger;
SET LOCAL ROLE shop_stranger;
SELECT throws_ok(statement, '42501', NULL, 'without it: ' || statement)
FROM (VALUES ('SELECT customer_groups.segments_of(1)'), ('SELECT customer_groups.labels_of(''{}'')'),
    ('SELECT customer_groups.in_segment(1, ''first'')'), ('SELECT customer_groups.matches(1, ''ALL''::customer_groups.segment_rule)')) AS v (statement);
RESET ROLE;
DELETE FROM customer_groups.segments;

-- ---------------------------------------------------------------------------------------------
-- Segments that name others
-- ---------------------------------------------------------------------------------------------

INSERT INTO customer_groups.segments (code, name, rule) VALUES
    ('outer', 'Outer', 'in SEGMENT ''inner'' AND NOT in SEGMENT ''other'''),
    ('inner', 'Inner', 'visits >= 1'), ('other', 'Other', 'NOT in SEGMENT ''inner''');
SELECT results_eq('SELECT code FROM customer_groups.segments_of(1)', ARRAY['inner', 'outer'], 'segments in one statement may name each other');
SELECT results_eq('SELECT code FROM customer_groups.segments_of(2)', ARRAY['other'], 'and answer for another customer');
DELETE FROM customer_groups.segments;

-- Each of 40 names the one before it twice, in a way that needs both answers: 2^40 evaluations if one were repeated.
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('s0', 'S', 'visits >= 1');
INSERT INTO customer_groups.segments (code, name, rule)
SELECT 's' || n, 'S', format('in SEGMENT ''s%1$s'' AND (NOT ALL OR in SEGMENT ''s%1$s'')', n - 1)::customer_groups.segment_rule
FROM generate_series(1, 40) AS n;
SELECT ok(customer_groups.in_segment(1, 's40') AND NOT customer_groups.in_segment(2, 's40'), 'nesting does not explode');
SELECT is(pg_temp.complaint('DELETE FROM customer_groups.segments WHERE code = ''s5'''), '2BP01 Segment "s6" names it.', 'one that is named stays');
SELECT is(pg_temp.complaint('DELETE FROM customer_groups.segments WHERE code IN (''s39'', ''s40'')'), 'done', 'two at once may go');
DELETE FROM customer_groups.segments;

INSERT INTO customer_groups.segments (code, name, rule) VALUES
    ('x', 'X', 'ALL'), ('y', 'Y', 'in SEGMENT ''x'''), ('z', 'Z', 'in SEGMENT ''y''');
SELECT is(pg_temp.complaint(statement), expected, statement)
FROM (VALUES
    ('UPDATE customer_groups.segments SET rule = ''NOT in SEGMENT ''''x'''''' WHERE code = ''x''', '23514 Each names the next: "x", "x".'),
    ('UPDATE customer_groups.segments SET rule = ''visits = 1 OR in SEGMENT ''''z'''''' WHERE code = ''x''',
        '23514 Each names the next: "x", "z", "y", "x".'),
    ('INSERT INTO customer_groups.segments (code, name, rule) VALUES (''v'', ''V'', ''in SEGMENT ''''w''''''), (''w'', ''W'', ''in SEGMENT ''''v'''''')',
        '23514 Each names the next: "v", "w", "v".'),
    ('UPDATE customer_groups.segments SET rule = ''in SEGMENT ''''z'''''' WHERE code = ''y''; ', '23514 Each names the next: "y", "z", "y".'),
    ('UPDATE customer_groups.segments SET rule = CASE code WHEN ''x'' THEN ''in SEGMENT ''''y'''''' ELSE ''ALL'' END::customer_groups.segment_rule', 'done'))
    AS v (statement, expected);

-- A circle that came by a restore is an error, not an endless search.
INSERT INTO customer_groups.segments (code, name, rule, recorded_at) VALUES ('round', 'Round', 'in SEGMENT ''round''', '2026-01-01');
SELECT is(pg_temp.complaint('SELECT customer_groups.in_segment(1, ''round'')'), '55000 Segment "round" names itself, if only through others.',
          'a restored circle');
DELETE FROM customer_groups.segments;

-- A code that a restored rule names already may close one, too.
INSERT INTO customer_groups.segments (code, name, rule, recorded_at) VALUES ('dangling', 'D', 'in SEGMENT ''missing''', '2026-01-01');
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('closing', 'C', 'in SEGMENT ''dangling''');
SELECT is(pg_temp.complaint(statement), expected, statement)
FROM (VALUES
    ('UPDATE customer_groups.segments SET code = ''missing'' WHERE code = ''closing''', '23514 Each names the next: "missing", "dangling", "missing".'),
    ('UPDATE customer_groups.segments SET code = ''missing'' WHERE code = ''dangling''', '23514 Each names the next: "missing", "missing".'),
    ('UPDATE customer_groups.segments SET code = ''other'' WHERE code = ''closing''', 'done'),
    ('INSERT INTO customer_groups.segments (code, name, rule) VALUES (''missing'', ''M'', ''in SEGMENT ''''closing'''''')',
        '23514 Each names the next: "missing", "closing", "dangling", "missing".'),
    ('INSERT INTO customer_groups.segments (code, name, rule) VALUES (''missing'', ''M'', ''ALL'')', 'done'))
    AS v (statement, expected);
DELETE FROM customer_groups.segments;

-- No more levels than can be evaluated, counted over the segments that name each other: 500.
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('d1', 'D', 'visits >= 1');
INSERT INTO customer_groups.segments (code, name, rule)
SELECT 'd' || n, 'D', format('in SEGMENT ''d%s''', n - 1)::customer_groups.segment_rule FROM generate_series(2, 500) AS n;
SELECT ok(customer_groups.in_segment(1, 'd500') AND NOT customer_groups.in_segment(2, 'd500'), '500 levels are evaluated');
SELECT is(pg_temp.complaint(statement), expected, statement)
FROM (VALUES
    ('INSERT INTO customer_groups.segments (code, name, rule) VALUES (''e'', ''E'', ''in SEGMENT ''''d500'''''')',
        '54000 Segment "e" and those that it names have more than 500 levels.'),
    ('INSERT INTO customer_groups.segments (code, name, rule) VALUES (''e'', ''E'', ''NOT in SEGMENT ''''d499'''''')',
        '54000 Segment "e" and those that it names have more than 500 levels.'),
    ('INSERT INTO customer_groups.segments (code, name, rule) VALUES (''e'', ''E'', ''NOT in SEGMENT ''''d498'''''')', 'done'),
    ('UPDATE customer_groups.segments SET rule = ''NOT visits >= 1'' WHERE code = ''d1''',
        '54000 Segment "d500" and those that it names have more than 500 levels.'),
    ('UPDATE customer_groups.segments SET rule = ''visits >= 2'' WHERE code = ''d1''', 'done'),
    ('UPDATE customer_groups.segments SET rule = ''NOT (visits >= 1 AND visits < 5)'' WHERE code IN (''d1'', ''d499'')', 'done'),
    -- What saving would refuse, previews refuse.
    ('SELECT customer_groups.preview_change(''d1'', ''NOT visits >= 1'')', '54000 Segment "d500" and those that it names have more than 500 levels.'),
    ('SELECT customer_groups.preview_change(''d400'', ''NOT in SEGMENT ''''d399'''''')', '54000 Segment "d500" and those that it names have more than 500 levels.'),
    ('SELECT customer_groups.preview_change(''d500'', ''NOT in SEGMENT ''''d499'''''')', '54000 Segment "d500" and those that it names have more than 500 levels.'),
    ('SELECT customer_groups.preview_change(''d500'', ''NOT in SEGMENT ''''d498'''''')', 'done'),
    ('SELECT customer_groups.preview_change(''d400'', ''in SEGMENT ''''d398'''''')', 'done'),
    ('SELECT customer_groups.preview_segment(''in SEGMENT ''''d500'''''')', '54000 The rule and the segments that it names have more than 500 levels.'),
    ('SELECT customer_groups.preview_segment(''in SEGMENT ''''d499'''''')', 'done'))
    AS v (statement, expected);
-- Restored ones are reported.
CREATE FUNCTION pg_temp.problems() RETURNS TABLE (problem text, detail text)
    LANGUAGE sql AS 'SELECT problem, detail FROM customer_groups.check_integrity() ORDER BY problem, detail';
SELECT is_empty('SELECT * FROM pg_temp.problems()', '500 levels are sound');
INSERT INTO customer_groups.segments (code, name, rule, recorded_at) VALUES
    ('e1', 'E', 'in SEGMENT ''d500''', '2026-01-01'), ('e2', 'E', 'visits > 1 OR NOT in SEGMENT ''d498''', '2026-01-01'),
    ('e3', 'E', 'in SEGMENT ''e2'' AND in SEGMENT ''d1''', '2026-01-01'), ('e4', 'E', 'NOT in SEGMENT ''d498''', '2026-01-01'),
    ('e5', 'E', 'NOT (visits > 1 AND NOT in SEGMENT ''d497'')', '2026-01-01'), ('e6', 'E', 'visits > 1 AND in SEGMENT ''d498''', '2026-01-01'),
    ('r1', 'R', 'NOT in SEGMENT ''r2''', '2026-01-01'), ('r2', 'R', 'in SEGMENT ''r1'' OR in SEGMENT ''r3''', '2026-01-01'),
    ('r3', 'R', 'in SEGMENT ''d1''', '2026-01-01'), ('r4', 'R', 'NOT in SEGMENT ''r1''', '2026-01-01');
SELECT results_eq('SELECT * FROM pg_temp.problems()', $$VALUES
        ('segments are nested too deep', 'segment e1'), ('segments are nested too deep', 'segment e2'), ('segments are nested too deep', 'segment e3'),
        ('segments are nested too deep', 'segment e5'), ('segments go round in a circle', 'segment r1'), ('segments go round in a circle', 'segment r2')$$,
    'segments that were restored too deep, or in a circle');
DELETE FROM customer_groups.segments;
-- Levels of AND, OR and NOT count, in the segment that is named and in the one that names it: 400 and 100, and 400 and 101.
INSERT INTO customer_groups.segments (code, name, rule)
SELECT 'd' || n, 'D', CASE n WHEN 1 THEN 'visits > 1' ELSE format('in SEGMENT ''d%s''', n - 1) END::customer_groups.segment_rule FROM generate_series(1, 400) AS n;
INSERT INTO customer_groups.segments (code, name, rule, recorded_at) VALUES
    ('d0', 'D', (repeat('NOT ', 99) || 'visits > 1')::customer_groups.segment_rule, '2026-01-01');
UPDATE customer_groups.segments SET rule = 'in SEGMENT ''d0''' WHERE code = 'd1';
SELECT is_empty('SELECT * FROM pg_temp.problems()', 'just not too deep');
INSERT INTO customer_groups.segments (code, name, rule, recorded_at) VALUES
    ('deeper', 'D', ('in SEGMENT ''d399'' OR ' || repeat('NOT ', 98) || 'in SEGMENT ''d0''')::customer_groups.segment_rule, '2026-01-01');
SELECT results_eq('SELECT * FROM pg_temp.problems()', $$VALUES ('segments are nested too deep', 'segment deeper')$$, 'just too deep');
DELETE FROM customer_groups.segments;
-- All the levels that a rule may have, which takes no longer than the rule is.
INSERT INTO customer_groups.segments (code, name, rule) VALUES
    ('levels', 'L', (repeat('NOT (ALL AND ', 50) || 'visits >= 1' || repeat(')', 50))::customer_groups.segment_rule);
SELECT ok(customer_groups.in_segment(1, 'levels') AND NOT customer_groups.in_segment(2, 'levels'), 'a rule of 100 levels');
SELECT results_eq('SELECT customer_groups.segment_customers(''levels'')', ARRAY[1::bigint], 'and for all customers');
DELETE FROM customer_groups.segments;

-- ---------------------------------------------------------------------------------------------
-- Names
-- ---------------------------------------------------------------------------------------------

SELECT is(pg_temp.complaint(format('INSERT INTO customer_groups.segments (name, rule) VALUES (''New'', %L)', rule)), expected, rule)
FROM (VALUES
    ('member OF ''Wholesale''', '42704 There is no group "Wholesale".'),
    ('bought CATEGORY ''none'' > 1', '42704 There is no category "none".'),
    ('bought BRAND ''none'' > 1', '42704 There is no brand "none".'),
    ('bought ITEM ''none'' > 1', '42704 There is no item "none".'),
    ('in SEGMENT ''none''', '42704 There is no segment "none".'),
    ('tier OF ''none'' = ''gold''', '42704 There is no tier "gold" of ladder "none".'),
    ('tier OF ''default'' = ''none''', '42704 There is no tier "none" of ladder "default".'),
    ('tier OF ''default'' = ''wholesale''', '42704 There is no tier "wholesale" of ladder "default".'),
    ('tier OF ''points'' IN (''star'', ''gold'')', '42704 There is no tier "gold" of ladder "points".'),
    ('visits > 1 OR NOT (ALL AND member OF ''none'')', '42704 There is no group "none".'),
    ('attribute ''none'' = ''none''', 'done'), ('tier OF ''points'' <> ''star''', 'done'), ('bought ITEM ''sku-1'' > 0', 'done')
    ) AS v (rule, expected);

-- Restored rows are taken as they are, and can be edited.
INSERT INTO customer_groups.segments (code, name, rule, recorded_at) VALUES
    ('old', 'Old', 'member OF ''none'' OR bought CATEGORY ''none'' < 1 OR tier OF ''none'' <> ''none'' OR in SEGMENT ''none''', '2026-01-01');
SELECT ok(NOT customer_groups.in_segment(1, 'old'), 'what does not exist is a missing value');
SELECT is(pg_temp.complaint('UPDATE customer_groups.segments SET rule = ''member OF ''''none'''' OR tier OF ''''none'''' = ''''none''''  OR visits > 1'' WHERE code = ''old'''), 'done',
          'a name that the rule had may stay');
SELECT is(pg_temp.complaint('UPDATE customer_groups.segments SET rule = ''member OF ''''none2'''''' WHERE code = ''old'''), '42704 There is no group "none2".',
          'a new one is looked for');
DELETE FROM customer_groups.segments;

-- What rules name cannot be deleted.
INSERT INTO customer_groups.segments (code, name, rule) VALUES
    ('one', 'One', 'member OF ''wholesale'' OR tier OF ''default'' IN (''gold'', ''silver'') OR bought ITEM ''sku-1'' > 0 OR bought CATEGORY ''boots'' > 0'),
    ('two', 'Two', 'tier OF ''points'' = ''star'' OR member OF ''silver'' OR bought BRAND ''acme'' > 1 OR in SEGMENT ''one'''),
    ('free', 'Free', 'ALL');
SELECT is(pg_temp.complaint('DELETE FROM customer_groups.' || what), expected, 'DELETE FROM ' || what)
FROM (VALUES
    ('groups WHERE code = ''wholesale''', '2BP01 Segment "one" names it.'),
    ('groups WHERE code = ''gold''', '2BP01 Segment "one" names it.'),
    ('groups WHERE code = ''silver''', '2BP01 Segments "one", "two" name it.'),
    ('groups WHERE code = ''spring''', 'done'),
    ('ladders WHERE code = ''points''', '2BP01 Segment "two" names it.'),
    ('categories WHERE code = ''boots''', '2BP01 Segment "one" names it.'),
    ('categories WHERE code = ''hats''', 'done'),
    ('brands WHERE code = ''acme''', '2BP01 Segment "two" names it.'),
    ('items WHERE external_id = ''sku-1''', '2BP01 Segment "one" names it.'),
    ('items', '2BP01 Segment "one" names it.'),
    ('segments WHERE code = ''one''', '2BP01 Segment "two" names it.'),
    ('segments WHERE code = ''two''', 'done'),
    ('segments', 'done')) AS v (what, expected);
SELECT is(pg_temp.complaint('UPDATE customer_groups.items SET external_id = NULL WHERE id = 1'), '2BP01 Segment "one" names it.', 'nor lose its key');
SELECT is(pg_temp.complaint('SELECT customer_groups.delete_group(''wholesale'')'), '2BP01 Segment "one" names it.', 'by function neither');
INSERT INTO customer_groups.promotions (id, code, name, kind, value) VALUES (1, 'promo', 'Promo', 'percent', 10);
INSERT INTO customer_groups.promotion_segments (promotion_id, segment_id) SELECT 1, id FROM customer_groups.segments WHERE code = 'free';
SELECT is(pg_temp.complaint('DELETE FROM customer_groups.segments WHERE code = ''free'''), '2BP01 It is attached to: promo.', 'nor what a promotion is for');
INSERT INTO customer_groups.ladders (code, name) VALUES ('default', 'Default');
SELECT is(pg_temp.complaint('DELETE FROM customer_groups.ladders WHERE code = ''default'''), 'done', 'the default ladder is there without its row');

-- Codes may change: the rules follow.
UPDATE customer_groups.groups SET code = code || '!' WHERE code <> 'spring';
UPDATE customer_groups.ladders SET code = 'points!' WHERE code = 'points';
UPDATE customer_groups.categories SET code = 'it''s' WHERE code = 'boots';
UPDATE customer_groups.brands SET code = 'acme!' WHERE code = 'acme';
UPDATE customer_groups.items SET external_id = 'sku!' WHERE id = 1;
UPDATE customer_groups.segments SET code = code || '!' WHERE code <> 'free';
SELECT results_eq('SELECT rule::text FROM customer_groups.segments ORDER BY id', ARRAY[
    'member OF ''wholesale!'' OR tier OF ''default'' IN (''gold!'', ''silver!'') OR bought ITEM ''sku!'' > 0 OR bought CATEGORY ''it''''s'' > 0',
    'tier OF ''points!'' = ''star!'' OR member OF ''silver!'' OR bought BRAND ''acme!'' > 1 OR in SEGMENT ''one!''',
    'ALL'], 'new codes are in the rules');
SELECT is(pg_temp.complaint('UPDATE customer_groups.segments SET code = code WHERE code = ''one!'''), 'done', 'the same code again is no change');
SELECT ok(customer_groups.in_segment(1, 'one!', '2026-03-10 12:00+09'), 'and mean the same');
UPDATE customer_groups.ladders SET code = 'default!' WHERE code = 'default';
SELECT matches((SELECT rule::text FROM customer_groups.segments WHERE code = 'one!'), 'tier OF ''default''', 'the ladder default is one without its row');
-- Codes that move on in one statement: the later one first, so that none is there twice.
UPDATE customer_groups.segments SET rule = 'member OF ''a'' AND NOT member OF ''b''', recorded_at = '2026-01-01' WHERE false;
INSERT INTO customer_groups.groups (id, code, name, starts_on) VALUES (10, 'b', 'B', '2026-01-01'), (11, 'a', 'A', '2026-01-01');
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('moved', 'Moved', 'member OF ''a'' AND NOT member OF ''b''');
UPDATE customer_groups.groups SET code = CASE code WHEN 'b' THEN 'c' ELSE 'b' END WHERE id >= 10;
SELECT is((SELECT rule::text FROM customer_groups.segments WHERE code = 'moved'), 'member OF ''b'' AND NOT member OF ''c''', 'codes that move on');
-- Too long a code for the rule.
SELECT alike(pg_temp.complaint('UPDATE customer_groups.groups SET code = repeat(''x'', 70000) WHERE code = ''c'''), '54000%', 'a code that no rule has room for');

-- ---------------------------------------------------------------------------------------------
-- Access
-- ---------------------------------------------------------------------------------------------

SELECT customer_groups.grant_access('shop_edit', 'edit') \g /dev/null
SET LOCAL ROLE shop_edit;
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('mine', 'Mine', 'bought ITEM ''sku!'' > 0 AND member OF ''wholesale!''');
UPDATE customer_groups.groups SET code = 'wholesale' WHERE code = 'wholesale!';
SELECT is(pg_temp.complaint('DELETE FROM customer_groups.groups WHERE code = ''wholesale'''), '2BP01 Segments "mine", "one!" name it.',
          'the level edit needs no further right');
RESET ROLE;
SELECT is((SELECT rule::text FROM customer_groups.segments WHERE code = 'mine'), 'bought ITEM ''sku!'' > 0 AND member OF ''wholesale''', 'to change what rules name');

SELECT * FROM finish();
ROLLBACK;
