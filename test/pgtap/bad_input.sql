-- Bad input is refused with the right SQLSTATE; what the extension itself raises names the value in its detail and
-- says in a hint what to do; and nothing is left behind.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

-- How many rows each table of the extension has, and what it had to say of itself.
CREATE FUNCTION pg_temp.rows_of_all() RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    name regclass;
    n bigint;
    result jsonb := '{}';
BEGIN
    FOR name IN
        SELECT c.oid FROM pg_class AS c
        WHERE c.relnamespace = 'customer_groups'::regnamespace AND c.relkind = 'r'
    LOOP
        EXECUTE format('SELECT count(*) FROM %s', name) INTO n;
        result := result || jsonb_build_object(name, n);
    END LOOP;
    RETURN result;
END
$$;

-- One test: the command is refused with the SQLSTATE. An error of the extension's own code has a detail that
-- matches and a hint; of a constraint, the constraint's name. With neither only the SQLSTATE is looked at.
CREATE FUNCTION pg_temp.refused(
        what text, command text, state text, detail text DEFAULT NULL, named text DEFAULT NULL)
    RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    is_state text;
    is_message text;
    is_detail text;
    is_hint text;
    is_named text;
    before jsonb := pg_temp.rows_of_all();
    who text := current_user;
    wrong text;
BEGIN
    BEGIN
        EXECUTE command;
        RETURN fail(what) || E'\n' || diag('accepted: ' || command);
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS is_state = RETURNED_SQLSTATE, is_message = MESSAGE_TEXT,
            is_detail = PG_EXCEPTION_DETAIL, is_hint = PG_EXCEPTION_HINT, is_named = CONSTRAINT_NAME;
    END;
    wrong := concat_ws(', ',
        CASE WHEN is_state <> state THEN format('SQLSTATE %s instead of %s', is_state, state) END,
        CASE WHEN detail IS NOT NULL AND is_detail !~ detail THEN format('the detail does not match %L', detail) END,
        CASE WHEN detail IS NOT NULL AND is_hint !~ '\S.*\.$' THEN 'no hint' END,
        CASE WHEN detail IS NOT NULL AND is_detail ~ '\S' AND is_detail !~ '\.$' THEN 'the detail is no sentence' END,
        CASE WHEN named IS NOT NULL AND is_named <> named THEN format('constraint %L', is_named) END,
        CASE WHEN pg_temp.rows_of_all() <> before THEN 'rows were left' END,
        CASE WHEN current_user <> who THEN 'it is another user now' END);
    IF wrong = '' THEN
        RETURN pass(what);
    END IF;
    RETURN fail(what) || E'\n' || diag(format(
        E'%s\ncommand: %s\nmessage: %s\ndetail: %s\nhint: %s', wrong, command, is_message, is_detail, is_hint));
END
$$;

INSERT INTO customer_groups.customers (id, external_id, name) VALUES (1, 'ann', 'Ann'), (2, 'ben', 'Ben');
INSERT INTO customer_groups.stores (id, code, name, currency) VALUES (1, 'home', 'Home', 'USD'), (2, 'seoul', 'Seoul', 'KRW');
INSERT INTO customer_groups.categories (id, code, name, parent_id)
VALUES (1, 'all', 'All', NULL), (2, 'shoes', 'Shoes', 1), (3, 'boots', 'Boots', 2), (4, 'other', 'Other', NULL);
INSERT INTO customer_groups.items (id, external_id, name, price) VALUES (1, 'cup', 'Cup', 10), (2, 'pot', 'Pot', NULL);
INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold)
VALUES (1, 'silver', 'Silver', 1000), (2, 'gold', 'Gold', 2000), (3, 'club', 'Club', NULL);
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (1, 1), (1, 3);
INSERT INTO customer_groups.promotions (id, code, name, kind, value, groups_only)
VALUES (1, 'open', 'Open', 'percent', 10, false), (2, 'closed', 'Closed', 'percent', 20, true);
INSERT INTO customer_groups.segments (id, code, name, rule) VALUES (1, 'many', 'Many', 'visits >= 2');
INSERT INTO customer_groups.sales (customer_id, id, store_id, amount, external_id) VALUES (1, 1001, 1, 5, 'till-1');
INSERT INTO customer_groups.sales (customer_id, id, store_id, amount, rate) VALUES (1, 1002, 2, 5000, 0.0007);
INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price, discount)
VALUES (1, 1001, 1, 1, 1, 10, 5);
INSERT INTO customer_groups.sale_line_promotions VALUES (1, 1001, 1, 1, 5);

CREATE TEMPORARY TABLE start AS
SELECT pg_temp.rows_of_all() AS rows, (SELECT jsonb_agg(f ORDER BY f.customer_id) FROM customer_groups.customer_facts AS f) AS facts;
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'the start is sound');

-- Sales.
SELECT pg_temp.refused(what, 'INSERT INTO customer_groups.sales ' || rest, state, detail, named)
FROM (VALUES
    ('a sale to an unknown customer', '(customer_id, amount) VALUES (999, 1)', '23503', '\m999\M', NULL),
    ('an unknown customer among others', '(customer_id, amount) VALUES (1, 1), (2, 1), (998, 1), (1, 2)', '23503', '\m998\M', NULL),
    ('a sale to nobody', '(customer_id, amount) VALUES (NULL, 1)', '23502', '', NULL),
    ('a negative sale', '(customer_id, amount) VALUES (1, -1.5)', '23514', '-1\.5', NULL),
    ('a negative sale among others', '(customer_id, amount) VALUES (1, 1), (1, -2)', '23514', '-2', NULL),
    ('a positive refund', '(customer_id, kind, amount) VALUES (1, ''refund'', 0.01)', '23514', '0\.01', NULL),
    ('a negative prepaid', '(customer_id, kind, amount) VALUES (1, ''prepaid'', -3)', '23514', '-3', NULL),
    ('a negative pass', '(customer_id, kind, amount) VALUES (1, ''pass'', -4)', '23514', '-4', NULL),
    ('a negative no_show', '(customer_id, kind, amount) VALUES (1, ''no_show'', -5)', '23514', '-5', NULL),
    ('an unknown kind', '(customer_id, kind, amount) VALUES (1, ''gift'', 5)', '22P02', NULL, NULL),
    ('no kind', '(customer_id, kind, amount) VALUES (1, NULL, 5)', '23502', NULL, NULL),
    ('an amount that is not a number', '(customer_id, amount) VALUES (1, ''NaN'')', '22003', 'NaN', NULL),
    ('an infinite amount', '(customer_id, amount) VALUES (1, ''Infinity'')', '22003', 'Infinity', NULL),
    ('a refund that is not a number', '(customer_id, kind, amount) VALUES (1, ''refund'', ''NaN'')', '22003', 'NaN', NULL),
    ('a negative infinite refund', '(customer_id, kind, amount) VALUES (1, ''refund'', ''-Infinity'')', '22003', '-Infinity', NULL),
    ('no amount', '(customer_id, amount) VALUES (1, NULL)', '23502', '', NULL),
    ('no amount at all', '(customer_id) VALUES (1)', '23502', '', NULL),
    ('an unknown store', '(customer_id, store_id, amount) VALUES (1, 77, 1)', '23503', '\m77\M', NULL),
    ('a foreign store without a rate', '(customer_id, store_id, amount) VALUES (1, 2, 1)', '23514', '\m2\M.*KRW.*USD', NULL),
    ('a rate without a store', '(customer_id, amount, rate) VALUES (1, 1, 1.5)', '23514', '1\.5', NULL),
    ('a rate in a store of the settings'' currency', '(customer_id, store_id, amount, rate) VALUES (1, 1, 1, 0.9)', '23514', '0\.9', NULL),
    ('a home store, then a foreign one without a rate', '(customer_id, store_id, amount) VALUES (1, 1, 1), (1, 2, 1)', '23514', '\m2\M.*KRW.*USD', NULL),
    ('a rate of 0', '(customer_id, store_id, amount, rate) VALUES (1, 2, 1, 0)', '23514', NULL, 'sales_rate_check'),
    ('a negative rate', '(customer_id, store_id, amount, rate) VALUES (1, 2, 1, -1)', '23514', NULL, 'sales_rate_check'),
    ('a rate that is not a number', '(customer_id, store_id, amount, rate) VALUES (1, 2, 1, ''NaN'')', '23514', NULL, 'sales_rate_check'),
    ('an infinite rate', '(customer_id, store_id, amount, rate) VALUES (1, 2, 1, ''Infinity'')', '23514', NULL, 'sales_rate_check'),
    ('a sale at the end of time', '(customer_id, amount, sold_at) VALUES (1, 1, ''infinity'')', '23514', NULL, 'sales_sold_at_check'),
    ('a sale before all time', '(customer_id, amount, sold_at) VALUES (1, 1, ''-infinity'')', '23514', NULL, 'sales_sold_at_check'),
    ('a sale at no time', '(customer_id, amount, sold_at) VALUES (1, 1, NULL)', '23502', NULL, NULL),
    ('a sale recorded at no time', '(customer_id, amount, recorded_at) VALUES (1, 1, NULL)', '23502', NULL, NULL),
    ('a repeated external id', '(customer_id, amount, external_id) VALUES (1, 1, ''till-1'')', '23505', NULL, 'sales_external_id_key'),
    ('one external id twice in a statement', '(customer_id, amount, external_id) VALUES (2, 1, ''x''), (2, 1, ''x'')', '23505', NULL, 'sales_external_id_key'),
    ('a blank external id', '(customer_id, amount, external_id) VALUES (1, 1, '' '')', '23514', NULL, 'sales_external_id_check'),
    ('a repeated id', '(customer_id, id, amount) VALUES (1, 1001, 1)', '23505', NULL, 'sales_pkey')
) AS v (what, rest, state, detail, named);
SELECT pg_temp.refused(what, command, state, detail, named)
FROM (VALUES
    ('a sale made negative', 'UPDATE customer_groups.sales SET amount = -7', '23514', '-7', NULL),
    ('a sale made a refund', 'UPDATE customer_groups.sales SET kind = ''refund'' WHERE id = 1001', '23514', '\m5\M', NULL),
    ('a sale made not a number', 'UPDATE customer_groups.sales SET amount = ''NaN''', '22003', 'NaN', NULL),
    ('a sale made null', 'UPDATE customer_groups.sales SET amount = NULL', '23502', '', NULL),
    ('a sale moved to a foreign store', 'UPDATE customer_groups.sales SET store_id = 2 WHERE id = 1001', '23514', 'KRW.*USD', NULL),
    ('a sale moved out of a foreign store', 'UPDATE customer_groups.sales SET store_id = NULL WHERE id = 1002', '23514', '0\.0007', NULL),
    ('a sale moved to an unknown store', 'UPDATE customer_groups.sales SET store_id = 88 WHERE id = 1001', '23503', '\m88\M', NULL),
    ('a sale moved to another customer', 'UPDATE customer_groups.sales SET customer_id = 2', '55000', '\m1\M', NULL),
    ('another recorded_at of a sale', 'UPDATE customer_groups.sales SET recorded_at = ''2020-01-01''', '55000', '2020-01-01', NULL),
    ('a sale moved by a conflict', 'INSERT INTO customer_groups.sales (customer_id, id, amount) VALUES (1, 1001, 1)
        ON CONFLICT (customer_id, id) DO UPDATE SET customer_id = 2', '55000', '\m1\M', NULL),
    ('a sale made negative by a conflict', 'INSERT INTO customer_groups.sales (customer_id, id, amount) VALUES (1, 1001, 1)
        ON CONFLICT (customer_id, id) DO UPDATE SET amount = -8', '23514', '-8', NULL),
    ('a customer with another id', 'UPDATE customer_groups.customers SET id = 5 WHERE id = 2', '55000', '\m2\M', NULL),
    ('another recorded_at of a customer', 'UPDATE customer_groups.customers SET recorded_at = ''2020-01-01'' WHERE id = 2', '55000', '2020-01-01', NULL),
    ('a membership moved to another customer', 'UPDATE customer_groups.members SET customer_id = 2 WHERE group_id = 3', '55000', '\m1\M', NULL),
    ('another recorded_at of a membership', 'UPDATE customer_groups.members SET recorded_at = ''2020-01-01''', '55000', '2020-01-01', NULL),
    ('a line moved to another customer', 'UPDATE customer_groups.sale_lines SET customer_id = 2', '55000', '\m1\M', NULL),
    ('a promotion''s share moved to another customer', 'UPDATE customer_groups.sale_line_promotions SET customer_id = 2', '55000', '\m1\M', NULL),
    ('a customer with sales deleted', 'DELETE FROM customer_groups.customers WHERE id = 1', '23503', NULL, 'sales_customer_id_fkey'),
    ('a store with sales deleted', 'DELETE FROM customer_groups.stores WHERE id = 1', '23503', NULL, 'sales_store_id_fkey'),
    ('an item with sales deleted', 'DELETE FROM customer_groups.items WHERE id = 1', '23503', NULL, 'sale_lines_item_id_fkey'),
    ('a promotion with sales deleted', 'DELETE FROM customer_groups.promotions WHERE id = 1', '2BP01', '', NULL),
    ('TRUNCATE of sales', 'TRUNCATE customer_groups.sales CASCADE', '0A000', '\S', NULL),
    ('TRUNCATE of customers', 'TRUNCATE customer_groups.customers CASCADE', '0A000', '\S', NULL),
    ('TRUNCATE of members', 'TRUNCATE customer_groups.members', '0A000', '\S', NULL),
    ('TRUNCATE of facts', 'TRUNCATE customer_groups.customer_facts', '0A000', '\S', NULL),
    ('TRUNCATE of stores, with sales', 'TRUNCATE customer_groups.stores CASCADE', '0A000', '\S', NULL),
    ('TRUNCATE of groups, with members', 'TRUNCATE customer_groups.groups CASCADE', '0A000', '\S', NULL),
    ('an event changed', 'UPDATE customer_groups.events SET kind = ''x''', '55000', 'UPDATE', NULL),
    ('no event changed', 'UPDATE customer_groups.events SET kind = ''x'' WHERE false', '55000', 'UPDATE', NULL),
    ('events deleted', 'DELETE FROM customer_groups.events', '55000', 'DELETE', NULL),
    ('TRUNCATE of events', 'TRUNCATE customer_groups.events', '55000', 'TRUNCATE', NULL),
    ('a stamp by hand', 'INSERT INTO customer_groups.cache_stamps (stamp, kind) VALUES (1, ''P'')', '55000', 'INSERT', NULL),
    ('stamps deleted', 'DELETE FROM customer_groups.cache_stamps', '55000', 'DELETE', NULL),
    ('TRUNCATE of stamps', 'TRUNCATE customer_groups.cache_stamps', '55000', 'TRUNCATE', NULL),
    ('two tiers of a ladder in one call', 'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (2, 1), (2, 2)',
        '22023', '\m2\M.*\m1\M.*\m2\M.*default', NULL),
    ('a group that would be a second tier of a member', 'UPDATE customer_groups.groups SET upgrade_threshold = 1 WHERE id = 3',
        '55000', '\m1\M.*(silver.*club|club.*silver)', NULL),
    ('the settings'' currency changed after sales', 'INSERT INTO customer_groups.settings (currency) VALUES (''EUR'')', '55000', 'USD', NULL),
    ('a store''s currency changed after sales', 'UPDATE customer_groups.stores SET currency = ''EUR'' WHERE id = 1', '55000', '\m1\M.*USD', NULL),
    ('groups_only taken back', 'UPDATE customer_groups.promotions SET groups_only = false WHERE id = 2', '55000', '\S', NULL),
    ('a category in itself', 'UPDATE customer_groups.categories SET parent_id = 4 WHERE id = 4', '23514', 'other', NULL),
    ('a category below itself', 'UPDATE customer_groups.categories SET parent_id = 3 WHERE id = 1', '23514', 'all|shoes|boots', NULL),
    ('a circle made by one statement', 'UPDATE customer_groups.categories SET parent_id = 5 - id WHERE id IN (1, 4)', '23514', 'all|other', NULL),
    ('a circle inserted', 'INSERT INTO customer_groups.categories (id, code, name, parent_id) VALUES (11, ''a'', ''A'', 12), (12, ''b'', ''B'', 11)',
        '23514', '"[ab]"', NULL)
) AS v (what, command, state, detail, named);

-- Prices asked for.
SELECT pg_temp.refused(what || ' (' || function || ')', format('SELECT customer_groups.%s(%s)', function, arguments), state, detail)
FROM (VALUES
    ('an unknown customer', '999, 1', '02000', '\m999\M'),
    ('an unknown item', '1, 998', '02000', '\m998\M'),
    ('an unknown item of an anonymous customer', 'NULL, 997', '02000', '\m997\M'),
    ('an unknown store', '1, 1, 77', '02000', '\m77\M'),
    ('an item without a price', '1, 2', '22023', '\m2\M'),
    ('an item without a price in a foreign store', '1, 1, 2', '22023', '\m1\M.*KRW.*\m2\M'),
    ('a negative quantity', '1, 1, NULL, -1', '22023', '-1'),
    ('a quantity that is not a number', '1, 1, NULL, ''NaN''', '22023', 'NaN'),
    ('an infinite quantity', '1, 1, NULL, ''Infinity''', '22023', 'Infinity'),
    ('a null quantity', '1, 1, NULL, NULL', '22004', ''),
    ('a negative order value', '1, 1, NULL, 1, -2', '22023', '-2'),
    ('an order value that is not a number', '1, 1, NULL, 1, ''NaN''', '22023', 'NaN'),
    ('an infinite time', '1, 1, NULL, 1, NULL, ''infinity''', '22023', '\minfinity\M'),
    ('an infinite time in the past', '1, 1, NULL, 1, NULL, ''-infinity''', '22023', '-infinity\M'),
    ('a null time', '1, 1, NULL, 1, NULL, NULL', '22004', '')
) AS v (what, arguments, state, detail), unnest(ARRAY['effective_discount', 'effective_price']) AS function;

-- Definitions. Blank or untrimmed codes and blank names first.
SELECT pg_temp.refused(format('%s: %s %s', t, c, to_json(v)), format('INSERT INTO customer_groups.%I (%s) VALUES (%s)', t, columns,
        format(vals, CASE c WHEN 'code' THEN quote_literal(v) ELSE '''new''' END, CASE c WHEN 'name' THEN quote_literal(v) ELSE '''New''' END)),
    '23514', NULL, format('%s_%s_check', t, c))
FROM (VALUES
    ('stores', 'code, name', '%s, %s'), ('brands', 'code, name', '%s, %s'), ('categories', 'code, name', '%s, %s'),
    ('groups', 'code, name', '%s, %s'), ('ladders', 'code, name', '%s, %s'),
    ('segments', 'code, name, rule', '%s, %s, ''ALL'''),
    ('promotions', 'code, name, kind, value', '%s, %s, ''percent'', 1')) AS k (t, columns, vals),
    (VALUES ('code', ''), ('code', ' '), ('code', ' x'), ('code', 'x '), ('name', ''), ('name', E' \t\n')) AS b (c, v);
SELECT pg_temp.refused(format('%s: no name', t), format('INSERT INTO customer_groups.%I (%s) VALUES (%s)', t, columns, vals), '23502')
FROM (VALUES
    ('stores', 'code', '''new'''), ('brands', 'code', '''new'''), ('categories', 'code', '''new'''),
    ('groups', 'code', '''new'''), ('ladders', 'code', '''new'''), ('items', 'sku', '''new'''),
    ('segments', 'code, rule', '''new'', ''ALL'''),
    ('promotions', 'code, kind, value', '''new'', ''percent'', 1')) AS v (t, columns, vals);
SELECT pg_temp.refused(format('customers: blank %s', c), format('INSERT INTO customer_groups.customers (%s) VALUES ('' '')', c),
    '23514', NULL, format('customers_%s_check', c))
FROM unnest(ARRAY['external_id', 'name', 'email', 'phone']) AS c;
SELECT pg_temp.refused(format('items: blank %s', c), format('UPDATE customer_groups.items SET %s = '' ''', c),
    '23514', NULL, format('items_%s_check', c))
FROM unnest(ARRAY['external_id', 'name', 'sku']) AS c;
SELECT pg_temp.refused(format('%s: %s %s', t, c, v), format(command, c, quote_literal(v)), '23514', NULL, format('%s_%s_check', t, c))
FROM (VALUES
    ('items', 'price', 'INSERT INTO customer_groups.items (name, %s) VALUES (''New'', %s)'),
    ('items', 'min_price', 'INSERT INTO customer_groups.items (name, %s) VALUES (''New'', %s)'),
    ('store_prices', 'price', 'INSERT INTO customer_groups.store_prices (item_id, store_id, %s) VALUES (1, 1, %s)'),
    ('store_prices', 'min_price', 'INSERT INTO customer_groups.store_prices (item_id, store_id, %s) VALUES (1, 1, %s)'),
    ('promotions', 'value', 'INSERT INTO customer_groups.promotions (name, kind, %s) VALUES (''New'', ''amount'', %s)'),
    ('promotions', 'min_order_value', 'UPDATE customer_groups.promotions SET %s = %s'),
    ('promotions', 'min_quantity', 'UPDATE customer_groups.promotions SET %s = %s'),
    ('promotions', 'max_discount', 'UPDATE customer_groups.promotions SET %s = %s'),
    ('sale_lines', 'quantity', 'UPDATE customer_groups.sale_lines SET %s = %s'),
    ('sale_lines', 'unit_price', 'UPDATE customer_groups.sale_lines SET %s = %s'),
    ('sale_lines', 'discount', 'UPDATE customer_groups.sale_lines SET %s = %s'),
    ('sale_line_promotions', 'discount', 'UPDATE customer_groups.sale_line_promotions SET %s = %s')) AS k (t, c, command),
    unnest(ARRAY['NaN', 'Infinity', '-Infinity', '-0.01', '1e14', '0.000000001']) AS v;
SELECT pg_temp.refused(what, command, state, NULL, named)
FROM (VALUES
    ('a percent above 100', 'INSERT INTO customer_groups.promotions (name, kind, value) VALUES (''New'', ''percent'', 100.01)', '23514', 'promotions_value_check'),
    ('an amount above 100 made a percent', 'UPDATE customer_groups.promotions SET value = 101', '23514', 'promotions_value_check'),
    ('no value', 'INSERT INTO customer_groups.promotions (name, kind) VALUES (''New'', ''percent'')', '23502', NULL),
    ('an unknown kind of promotion', 'INSERT INTO customer_groups.promotions (name, kind, value) VALUES (''New'', ''gift'', 1)', '23514', 'promotions_kind_check'),
    ('an unknown level', 'UPDATE customer_groups.promotions SET level = ''cart''', '23514', 'promotions_level_check'),
    ('a fixed price of an order', 'INSERT INTO customer_groups.promotions (name, kind, value, level) VALUES (''New'', ''fixed_price'', 1, ''order'')', '23514', 'promotions_level_check'),
    ('a promotion that ends before it starts', 'UPDATE customer_groups.promotions SET starts_at = ''2026-01-02'', ends_at = ''2026-01-01''', '23514', 'promotions_ends_at_check'),
    ('a promotion that ends when it starts', 'UPDATE customer_groups.promotions SET starts_at = ''2026-01-02'', ends_at = ''2026-01-02''', '23514', 'promotions_ends_at_check'),
    ('an infinite start', 'UPDATE customer_groups.promotions SET starts_at = ''-infinity''', '23514', 'promotions_starts_at_check'),
    ('an infinite end', 'UPDATE customer_groups.promotions SET ends_at = ''infinity''', '23514', 'promotions_ends_at_check'),
    ('a least quantity of 0', 'UPDATE customer_groups.promotions SET min_quantity = 0', '23514', 'promotions_min_quantity_check'),
    ('an unknown currency of a promotion', 'UPDATE customer_groups.promotions SET currency = ''XYZ''', '23514', 'promotions_currency_check'),
    ('a currency in small letters', 'UPDATE customer_groups.promotions SET currency = ''usd''', '23514', 'promotions_currency_check'),
    ('an unknown currency of a store', 'INSERT INTO customer_groups.stores (name, currency) VALUES (''New'', ''EURO'')', '23514', 'stores_currency_check'),
    ('an unknown time zone of a store', 'INSERT INTO customer_groups.stores (name, timezone) VALUES (''New'', ''Europe/Atlantis'')', '23514', 'stores_timezone_check'),
    ('an empty time zone of a store', 'INSERT INTO customer_groups.stores (name, timezone) VALUES (''New'', '''')', '23514', 'stores_timezone_check'),
    ('an unknown currency of the settings', 'INSERT INTO customer_groups.settings (currency) VALUES ('''')', '23514', 'settings_currency_check'),
    ('an unknown time zone of the settings', 'INSERT INTO customer_groups.settings (timezone) VALUES (''Mars'')', '23514', 'settings_timezone_check'),
    ('an unknown rounding', 'INSERT INTO customer_groups.settings (rounding) VALUES (''up'')', '23514', 'settings_rounding_check'),
    ('two rows of settings', 'INSERT INTO customer_groups.settings (rounding) VALUES (''half_up''), (''half_up'')', '23505', 'settings_pkey'),
    ('settings beside the only ones', 'INSERT INTO customer_groups.settings (singleton) VALUES (false)', '23514', 'settings_singleton_check'),
    ('a group that ends before it starts', 'INSERT INTO customer_groups.groups (name, starts_on, ends_on) VALUES (''New'', ''2026-01-02'', ''2026-01-01'')', '23514', 'groups_ends_on_check'),
    ('a group that starts at no time', 'UPDATE customer_groups.groups SET starts_on = ''-infinity''', '23514', 'groups_starts_on_check'),
    ('a negative threshold', 'UPDATE customer_groups.groups SET upgrade_threshold = -1', '23514', 'groups_upgrade_threshold_check'),
    ('a threshold that is not a number', 'UPDATE customer_groups.groups SET upgrade_threshold = ''NaN'' WHERE id = 2', '23514', 'groups_upgrade_threshold_check'),
    ('a ladder without a threshold', 'INSERT INTO customer_groups.ladders (code, name) VALUES (''b2b'', ''B2B'');
        UPDATE customer_groups.groups SET ladder = ''b2b'' WHERE id = 3', '23514', 'groups_ladder_check'),
    ('an unknown ladder', 'UPDATE customer_groups.groups SET ladder = ''none'' WHERE id = 2', '23503', 'groups_ladder_fkey'),
    ('a repeated code', 'INSERT INTO customer_groups.groups (code, name) VALUES (''gold'', ''Gold'')', '23505', 'groups_code_key'),
    ('an unknown measure', 'INSERT INTO customer_groups.ladders (code, name, measure) VALUES (''new'', ''New'', ''refunds'')', '23514', 'ladders_measure_check'),
    ('a period of nothing', 'INSERT INTO customer_groups.ladders (code, name, period) VALUES (''new'', ''New'', ''0 days'')', '23514', 'ladders_period_check'),
    ('a negative period', 'INSERT INTO customer_groups.ladders (code, name, period) VALUES (''new'', ''New'', ''-1 year'')', '23514', 'ladders_period_check'),
    ('a negative grace', 'INSERT INTO customer_groups.ladders (code, name, grace) VALUES (''new'', ''New'', ''-1 day'')', '23514', 'ladders_grace_check'),
    ('an unknown downgrade', 'INSERT INTO customer_groups.ladders (code, name, downgrade) VALUES (''new'', ''New'', ''always'')', '23514', 'ladders_downgrade_check'),
    ('a membership of an unknown customer', 'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (999, 1)', '23503', 'members_customer_id_fkey'),
    ('a membership of an unknown group', 'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (1, 999)', '23503', 'members_group_id_fkey'),
    ('a membership twice', 'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (1, 3)', '23505', 'members_pkey'),
    ('a membership that ends before it starts', 'UPDATE customer_groups.members SET valid_from = ''2026-01-02'', valid_until = ''2026-01-01''', '23514', 'members_valid_until_check'),
    ('an unknown source', 'UPDATE customer_groups.members SET source = ''import''', '23514', 'members_source_check'),
    ('a color without its sign', 'UPDATE customer_groups.segments SET color = ''112233''', '23514', 'segments_color_check'),
    ('a color by name', 'UPDATE customer_groups.segments SET color = ''red''', '23514', 'segments_color_check'),
    ('a color that is too long', 'UPDATE customer_groups.segments SET color = ''#1122334''', '23514', 'segments_color_check'),
    ('a color with a line break', 'UPDATE customer_groups.segments SET color = E''#112233\n''', '23514', 'segments_color_check'),
    ('no rule', 'INSERT INTO customer_groups.segments (name) VALUES (''New'')', '23502', NULL),
    ('a rule that is none', 'UPDATE customer_groups.segments SET rule = ''visitz > 3''', '22P02', NULL),
    ('a customer''s attributes that are no object', 'UPDATE customer_groups.customers SET attributes = ''[1]''', '23514', 'customers_attributes_check'),
    ('a customer''s external id twice', 'UPDATE customer_groups.customers SET external_id = ''ann''', '23505', 'customers_external_id_key'),
    ('an infinite date of birth', 'UPDATE customer_groups.customers SET birth_date = ''infinity''', '23514', 'customers_birth_date_check'),
    ('an infinite registration', 'UPDATE customer_groups.customers SET registered_at = ''-infinity''', '23514', 'customers_registered_at_check'),
    ('a promotion on an unknown item', 'INSERT INTO customer_groups.promotion_items VALUES (1, 999)', '23503', 'promotion_items_item_id_fkey'),
    ('a promotion on an unknown category', 'INSERT INTO customer_groups.promotion_categories VALUES (1, 999)', '23503', 'promotion_categories_category_id_fkey'),
    ('an item in an unknown category', 'INSERT INTO customer_groups.item_categories VALUES (1, 999)', '23503', 'item_categories_category_id_fkey'),
    ('a category in an unknown one', 'UPDATE customer_groups.categories SET parent_id = 999 WHERE id = 4', '23503', 'categories_parent_id_fkey'),
    ('an item of an unknown brand', 'UPDATE customer_groups.items SET brand_id = 999', '23503', 'items_brand_id_fkey'),
    ('a category with others below it deleted', 'DELETE FROM customer_groups.categories WHERE id = 1', '23503', 'categories_parent_id_fkey')
) AS v (what, command, state, named);

-- What is just good enough is taken.
SELECT lives_ok(command, what)
FROM (VALUES
    ('a sale of 0', 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (2, 0)'),
    ('a refund of 0', 'INSERT INTO customer_groups.sales (customer_id, kind, amount) VALUES (2, ''refund'', 0)'),
    ('a rate of 1 where none is needed', 'INSERT INTO customer_groups.sales (customer_id, amount, rate) VALUES (2, 0, 1)'),
    ('one external id of two customers', 'INSERT INTO customer_groups.sales (customer_id, amount, external_id) VALUES (2, 0, ''till-1'')'),
    ('a percent of 100', 'UPDATE customer_groups.promotions SET value = 100 WHERE id = 1'),
    ('a least quantity above 0', 'UPDATE customer_groups.promotions SET min_quantity = 0.00000001 WHERE id = 1'),
    ('settings without another currency', 'INSERT INTO customer_groups.settings (timezone) VALUES (''Asia/Seoul'')'),
    ('a quantity of almost nothing', 'SELECT customer_groups.effective_price(1, 1, NULL, 0.00000001)'),
    ('a huge quantity', 'SELECT customer_groups.effective_price(1, 1, NULL, 1e14)'),
    ('a null item', 'SELECT customer_groups.effective_price(1, NULL)')
) AS v (what, command);
SELECT pg_temp.refused('the currency of settings changed later', 'UPDATE customer_groups.settings SET currency = ''EUR''', '55000', 'USD');
DELETE FROM customer_groups.sales WHERE customer_id = 2;
DELETE FROM customer_groups.settings;

-- Nothing is left of all this.
SELECT is(pg_temp.rows_of_all() - '{customer_groups.cache_stamps}'::text[], rows - '{customer_groups.cache_stamps}'::text[], 'all tables have the rows of the start')
FROM start;
SELECT is((SELECT jsonb_agg(f ORDER BY f.customer_id) FROM customer_groups.customer_facts AS f), facts, 'and the facts are those of the start')
FROM start;
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'and everything is sound');

SELECT * FROM finish();
ROLLBACK;
