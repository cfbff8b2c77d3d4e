-- Every function, with every value that is odd for the type of one of its arguments and good ones for the others, and every column of
-- every table, generated from the catalog: it answers, or raises an error of its own or of PostgreSQL's that is no bug (XX000), in
-- PostgreSQL's style; what it does leaves the shop sound.
BEGIN;
SET LOCAL client_min_messages = error;
SELECT no_plan();

-- A shop in which good arguments find something.
INSERT INTO customer_groups.settings (timezone) VALUES ('Europe/Berlin');
INSERT INTO customer_groups.stores (id, code, name, currency) VALUES (900001, 'sample', 'Sample', 'USD'), (900002, 'seoul', 'Seoul', 'KRW');
INSERT INTO customer_groups.categories (id, code, name) VALUES (900001, 'sample', 'Sample');
INSERT INTO customer_groups.brands (id, code, name) VALUES (900001, 'sample', 'Sample');
INSERT INTO customer_groups.items (id, external_id, name, price, brand_id) VALUES (900001, 'sample', 'Tea', 10, 900001);
INSERT INTO customer_groups.item_categories (item_id, category_id) VALUES (900001, 900001);
INSERT INTO customer_groups.ladders (code, name, measure, period, downgrade) VALUES ('sample', 'Sample', 'visits', '1 month', 'at_review');
INSERT INTO customer_groups.groups (id, code, name, ladder, upgrade_threshold, self_enroll) VALUES
    (900001, 'sample', 'Sample', NULL, NULL, true), (900002, 'second', 'Second', NULL, NULL, true),
    (900003, 'tier', 'Tier', 'sample', 1, false), (900004, 'top', 'Top', 'sample', 1000, false), (900005, 'plain', 'Plain', NULL, 50, false);
INSERT INTO customer_groups.customers (id, external_id, name, email, birth_date) VALUES (900001, 'sample', 'Ana', 'a@example.com', '2000-02-29'), (900002, NULL, 'Ben', NULL, NULL);
INSERT INTO customer_groups.promotions (id, code, name, kind, value) VALUES (900001, 'sample', 'Sample', 'percent', 10);
INSERT INTO customer_groups.promotions (id, code, name, kind, value, min_quantity) VALUES (900002, 'second', 'Second', 'amount', 1, 3);
INSERT INTO customer_groups.promotions (id, code, name, kind, value, level) VALUES (900003, 'order', 'Order', 'percent', 5, 'order');
-- All that the calendar can turn, so that a day far away is far for each.
INSERT INTO customer_groups.segments (code, name, tracked, rule) VALUES
    ('sample', 'Sample', false, 'ALL'), ('tracked', 'Tracked', true,
     'birthday TODAY OR birthday WITHIN NEXT 7 DAYS OR birthday IN THIS MONTH OR registered WITHIN 30 DAYS OR days_since(last_visit) >= 180
      OR visits IN LAST 30 DAYS > 1 OR member OF ''sample'' OR tier OF ''sample'' = ''tier'' OR bought CATEGORY ''sample'' IN LAST 9 DAYS >= 1');
SELECT sale_id AS sale FROM customer_groups.record_sale(900001, '[{"item": 900001, "quantity": 2}]') \gset
SELECT customer_groups.advance_segments(now() - interval '3 days');

-- A good value of each argument, by name or else by type.
CREATE TEMPORARY TABLE samples (argument text, value text);
INSERT INTO samples VALUES
    ('bigint', '900001'), ('integer', '900001'), ('numeric', '1'), ('boolean', 'true'), ('text', '''sample'''),
    ('bigint[]', '''{900001}'''), ('integer[]', '''{900001}'''), ('numeric[]', '''{1}'''), ('text[]', '''{sample}'''), ('date', 'customer_groups.shop_today()'),
    ('timestamp with time zone', 'now()'), ('regrole', '''shop_view'''), ('jsonb', '''[{"item": 900001, "quantity": 1}]'''),
    ('customer_groups.segment_rule', '''visits >= 1'''), ('interval', '''1 month'''), ('customer_groups.sale_kind', '''product'''),
    ('to_code', '''second'''), ('level', '''view'''), ('before', '''2000-01-01'''), ('sale_id', :'sale'), ('refunded_id', :'sale'),
    ('refund_id', :'sale'), ('digits', '2'), ('kind', '''group'''), ('row_value', '''{"group_id": 900001}'''), ('language', '''en'''),
    ('emails', '''a@example.com'''), ('rate', 'NULL'), ('external_id', '''key'''), ('batch_size', '10'), ('by_key', 'false'), ('name', '''UTC'''), ('currency', '''USD''');

-- Odd values of each type; what is long stands for itself in the name of the test.
CREATE TEMPORARY TABLE odd (type text, value text);
INSERT INTO odd VALUES
    ('bigint', '0'), ('bigint', '-1'), ('bigint', '-9223372036854775808'), ('bigint', '9223372036854775807'), ('bigint', '404'),
    ('integer', '0'), ('integer', '-1'), ('integer', '-2147483648'), ('integer', '2147483647'), ('integer', '404'),
    ('numeric', '''NaN'''), ('numeric', '''Infinity'''), ('numeric', '''-Infinity'''), ('numeric', '0'), ('numeric', '-1'),
    ('numeric', '1e-16383'), ('numeric', '0.000000001'), ('numeric', '99999999999999.99999999'), ('numeric', '1e14'), ('numeric', '1e131071'), ('numeric', '-1e131071'),
    ('boolean', 'false'),
    ('text', ''''''), ('text', ''' '''), ('text', 'repeat(''x'', 1000000)'), ('text', 'repeat('', '', 500000)'), ('text', '''%_\'''), ('text', '''"; DROP TABLE x; --'''),
    ('text', 'chr(1) || chr(127)'), ('text', 'chr(65536) || chr(768)'), ('text', '''EUR'''), ('text', '''XXX'''), ('text', '''default'''), ('text', '''tier'''),
    ('date', '''infinity'''), ('date', '''-infinity'''), ('date', '''4714-11-24 BC'''), ('date', '''5874897-12-31'''), ('date', '''0001-01-01 BC'''), ('date', '''2001-01-01'''),
    ('timestamp with time zone', '''infinity'''), ('timestamp with time zone', '''-infinity'''), ('timestamp with time zone', '''4713-11-24 00:00:00 BC UTC'''),
    ('timestamp with time zone', '''294276-12-31 23:59:59.999999 UTC'''), ('timestamp with time zone', '''epoch'''), ('timestamp with time zone', 'now() + interval ''1 microsecond'''),
    ('interval', '''0'''), ('interval', '''-1 month'''), ('interval', '''178000000 years'''), ('interval', '''-178000000 years'''), ('interval', '''1 microsecond'''), ('interval', '''1 month -30 days'''), ('interval', '''2147483647 days'''),
    ('regrole', '''-'''), ('regrole', '0'), ('regrole', '4294967295'), ('regrole', '''pg_monitor'''), ('regrole', 'current_user'),
    ('jsonb', '''null'''), ('jsonb', '''{}'''), ('jsonb', '''[]'''), ('jsonb', '''[[]]'''), ('jsonb', '''"x"'''), ('jsonb', '''1e400'''), ('jsonb', '''[{"item": 1e400}]'''),
    ('jsonb', '''[{"item": -1}]'''), ('jsonb', '''[{"item": 900001.5}]'''), ('jsonb', '''[{"item": "sample", "quantity": 0}]'''), ('jsonb', '''[{"item": 900001, "quantity": 1e131071}]'''),
    ('jsonb', '''[{"item": 900001, "quantity": 1e-9}]'''), ('jsonb', '''[{"item": 900001, "quantity": "1"}]'''), ('jsonb', '''[{"item": {"item": []}}]'''), ('jsonb', '''[{"item": 900001, "amount": 1}]'''),
    ('jsonb', '(repeat(''['', 5000) || repeat('']'', 5000))::jsonb'), ('jsonb', '(repeat(''{"not":'', 5000) || ''1'' || repeat(''}'', 5000))::jsonb'),
    ('jsonb', '(''{"group_id": "'' || repeat(''x'', 1000000) || ''"}'')::jsonb'), ('jsonb', '''{"group_id": 1e10}'''), ('jsonb', '(''[{"item": "'' || repeat(''x'', 1000000) || ''"}]'')::jsonb'),
    ('bigint[]', '''{}'''), ('bigint[]', '''{NULL}'''), ('bigint[]', '''{900001,NULL,900001}'''), ('bigint[]', '''{{900001,900002},{900001,404}}'''), ('bigint[]', '''[5:6]={900001,900002}'''),
    ('bigint[]', '''{-9223372036854775808,9223372036854775807}'''), ('bigint[]', 'array_fill(900001::bigint, ARRAY[10000])'), ('bigint[]', '''[-2147483648:-2147483647]={900001,900002}'''),
    ('integer[]', '''{}'''), ('integer[]', '''{NULL}'''), ('integer[]', '''{{900001},{404}}'''), ('integer[]', '''{-2147483648,2147483647}'''),
    ('numeric[]', '''{}'''), ('numeric[]', '''{NULL,NaN}'''), ('numeric[]', '''{{1},{Infinity}}'''),
    ('text[]', '''{}'''), ('text[]', '''{NULL}'''), ('text[]', '''{sample,sample}'''), ('text[]', '''{{sample,second},{tier,top}}'''), ('text[]', '''{tier,top}'''), ('text[]', '''{""}'''),
    ('text[]', 'ARRAY[repeat(''x'', 1000000)]'), ('text[]', 'array_fill(''sample''::text, ARRAY[10000])'),
    ('customer_groups.segment_rule', '''in SEGMENT ''''sample'''''''), ('customer_groups.segment_rule', '''in SEGMENT ''''tracked'''''''), ('customer_groups.segment_rule', '''in SEGMENT ''''none'''''''), ('customer_groups.segment_rule', '''net_sales > 1e131071'''),
    ('customer_groups.segment_rule', '''visits IN LAST 2147483647 DAYS >= 1'''), ('customer_groups.segment_rule', '''registered WITHIN 2147483647 DAYS'''), ('customer_groups.segment_rule', '''days_since(registered) > -1e131071'''),
    ('customer_groups.segment_rule', '''birthday WITHIN NEXT 2147483647 DAYS'''), ('customer_groups.segment_rule', '''registered > ''''5874897-12-31'''''''), ('customer_groups.segment_rule', '''registered > ''''4713-11-24 BC'''''''),
    ('customer_groups.segment_rule', '''tier OF ''''none'''' = ''''none'''''''), ('customer_groups.segment_rule', '''bought ITEM ''''none'''' >= 1'''), ('customer_groups.segment_rule', '''attribute ''''a'''' > 1e131071'''),
    ('customer_groups.segment_rule', '(repeat(''NOT ('', 90) || ''ALL'' || repeat('')'', 90))::customer_groups.segment_rule'),
    ('customer_groups.segment_rule', '(repeat(''NOT ('', 5000) || ''ALL'' || repeat('')'', 5000))::customer_groups.segment_rule'),
    ('customer_groups.segment_rule', '(''visits IN (1'' || repeat('', 1'', 900) || '')'')::customer_groups.segment_rule'),
    ('customer_groups.segment_rule', 'repeat(''x'', 1000000)::customer_groups.segment_rule'), ('customer_groups.segment_rule', '''''::customer_groups.segment_rule'),
    ('customer_groups.sale_kind', '''refund'''), ('customer_groups.sale_kind', '''no_show'''), ('customer_groups.sale_kind', '''pass''');
INSERT INTO odd SELECT DISTINCT type, 'NULL' FROM odd;

\ir arguments.psql
SELECT is_empty('SELECT DISTINCT type FROM arguments WHERE type NOT IN (SELECT type FROM odd)', 'there are odd values of each type');
SELECT is_empty('SELECT function, argument FROM arguments WHERE type NOT IN (SELECT argument FROM samples)', 'and good ones');

-- What is wrong with the outcome; null: nothing.
CREATE FUNCTION pg_temp.fault_of(statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
BEGIN
    -- What waits for long is at fault as well, by no clock that matters.
    SET LOCAL statement_timeout = '60s';
    EXECUTE statement;
    SET CONSTRAINTS ALL IMMEDIATE;
    RAISE EXCEPTION USING ERRCODE = 'UNDOO';
EXCEPTION WHEN SQLSTATE 'UNDOO' THEN
    RETURN NULL;
WHEN query_canceled THEN
    RETURN 'it does not end';
WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    IF SQLSTATE ~ '^(XX|58|57|53|P0|39)' THEN
        RETURN SQLSTATE || ': ' || message;
    ELSIF message !~ '^[[:lower:]"]' AND message !~ '^(ON|NULL|RAISE) ' OR message ~ '[.!\n]$' THEN
        RETURN 'style of the message: ' || left(message, 200);
    ELSIF detail <> '' AND detail !~ '[.)"]$' OR hint <> '' AND hint !~ '[.]$' THEN
        RETURN 'style of the detail or hint: ' || left(detail, 200) || ' / ' || left(hint, 200);
    END IF;
    RETURN NULL;
END
$$;

SELECT is(pg_temp.fault_of(pg_temp.call(a.oid, a.place, o.value)), NULL, format('%s(%s => %s)', a.function, a.argument, left(o.value, 60)))
FROM arguments AS a JOIN odd AS o ON o.type = a.type
ORDER BY a.function, a.place, o.value;
SELECT ok((SELECT count(*) > 1500 FROM arguments AS a JOIN odd AS o ON o.type = a.type), 'there were many');

-- And all arguments odd at once, the same number in the lists of odd values for each.
SELECT is(pg_temp.fault_of(format('%s customer_groups.%I(%s)', CASE a.kind WHEN 'p' THEN 'CALL' ELSE 'SELECT * FROM' END, a.function,
        string_agg((SELECT format('%s::%s', o.values[1 + (n * 7 + a.place) % cardinality(o.values)], a.type)
                    FROM (SELECT array_agg(value ORDER BY value) AS values FROM odd WHERE odd.type = a.type) AS o), ', ' ORDER BY a.place))),
    NULL, format('%s, all odd, %s', a.function, n))
FROM arguments AS a, generate_series(0, 9) AS n
GROUP BY a.oid, a.kind, a.function, n
ORDER BY a.function, n;

-- The tables are as public as the functions: each column that is not derived set to each odd value, in all rows and in one, and a new row
-- with the odd value in that column. What is not refused leaves the shop sound.
CREATE TEMPORARY TABLE new_row (relation text, row_values jsonb);
INSERT INTO new_row VALUES
    ('stores', '{"name": "x"}'), ('customers', '{}'), ('brands', '{"name": "x"}'), ('categories', '{"name": "x"}'), ('items', '{"name": "x", "price": "1"}'),
    ('item_categories', '{"item_id": "900002", "category_id": "900001"}'), ('store_prices', '{"item_id": "900002", "store_id": "900002", "price": "5"}'),
    ('groups', '{"name": "x"}'), ('group_store_pricing', '{"group_id": "900002", "store_id": "900002", "use_pricing": "true"}'),
    ('members', '{"customer_id": "900002", "group_id": "900002"}'), ('ladders', '{"code": "x", "name": "x", "measure": "visits"}'),
    ('sales', '{"customer_id": "900001", "amount": "5"}'),
    ('sale_lines', '{"customer_id": "900001", "sale_id": "900001", "line_no": "2", "item_id": "900001", "quantity": "1", "unit_price": "10", "discount": "1"}'),
    ('sale_line_promotions', '{"customer_id": "900001", "sale_id": "900001", "line_no": "1", "promotion_id": "900002", "discount": "1"}'),
    ('segments', '{"name": "x", "rule": "visits >= 1", "tracked": "true"}'), ('promotions', '{"name": "x", "kind": "percent", "value": "5"}'),
    ('promotion_items', '{"promotion_id": "900002", "item_id": "900002"}'), ('promotion_categories', '{"promotion_id": "900002", "category_id": "900001"}'),
    ('promotion_brands', '{"promotion_id": "900002", "brand_id": "900001"}'), ('promotion_stores', '{"promotion_id": "900002", "store_id": "900002"}'),
    ('promotion_groups', '{"promotion_id": "900002", "group_id": "900002"}'), ('promotion_segments', '{"promotion_id": "900002", "segment_id": "900002"}');
CREATE TEMPORARY TABLE columns AS
SELECT c.relname::text AS relation, a.attname::text AS name, format_type(a.atttypid, NULL) AS type,
    EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'p' AND a.attnum = ANY (k.conkey)) AS in_key
FROM pg_class AS c
JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE e.extname = 'customer_groups' AND c.relkind = 'r'
    -- Derived, and so right only as they are.
    AND c.relname NOT IN ('customer_facts', 'segment_members', 'segment_tracking', 'events', 'cache_stamps') AND a.attname <> 'pending_since';
SELECT is_empty('SELECT type FROM columns WHERE type NOT IN (SELECT type FROM odd)', 'there are odd values of each column''s type');
SELECT is_empty($$SELECT relation FROM columns WHERE relation NOT IN (SELECT relation FROM new_row) AND relation <> 'settings'$$, 'and a row for each table');
-- What the statements change or meet is there, in every table.
INSERT INTO customer_groups.items (id, name, price) VALUES (900002, 'Cup', 5);
INSERT INTO customer_groups.store_prices (item_id, store_id, price) VALUES (900001, 900001, 9);
INSERT INTO customer_groups.group_store_pricing VALUES (900001, 900001, false);
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900001), (900001, 900002), (900002, 900005);
INSERT INTO customer_groups.segments (id, code, name, tracked, rule) VALUES (900002, 'named', 'Named', true, 'in SEGMENT ''tracked'' OR net_sales > 3 AND attribute ''a'' > 1');
INSERT INTO customer_groups.sales (customer_id, id, store_id, amount, external_id, sold_at) VALUES (900001, 900001, 900001, 20, 'odd', now() - interval '2 days');
INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price, discount) VALUES (900001, 900001, 1, 900001, 2, 10, 1);
INSERT INTO customer_groups.sale_line_promotions (customer_id, sale_id, line_no, promotion_id, discount) VALUES (900001, 900001, 1, 900001, 1);
INSERT INTO customer_groups.promotion_items VALUES (900001, 900001);
INSERT INTO customer_groups.promotion_categories VALUES (900001, 900001);
INSERT INTO customer_groups.promotion_brands VALUES (900001, 900001);
INSERT INTO customer_groups.promotion_stores VALUES (900001, 900001);
INSERT INTO customer_groups.promotion_groups VALUES (900001, 900001);
INSERT INTO customer_groups.promotion_segments VALUES (900001, 900002);

CREATE FUNCTION pg_temp.done_soundly(statement text) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    problem text;
BEGIN
    EXECUTE statement;
    SET CONSTRAINTS ALL IMMEDIATE;
    PERFORM customer_groups.effective_discount(900001, 900001, 900001), customer_groups.effective_discounts(900002, '{900001,900002}'),
        customer_groups.price_cart(900001, '[{"item": 900001, "quantity": 2}, {"item": 900002}]'), customer_groups.segment_sizes(), customer_groups.labels_of('{900001,900002}');
    SELECT i::text INTO problem FROM customer_groups.check_integrity() AS i LIMIT 1;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'XX001', MESSAGE = problem;
    END IF;
END
$$;
SELECT is_empty(format($$
    SELECT statement, fault FROM (
        SELECT format('UPDATE customer_groups.%1$I SET %2$I = %%s::%3$s', o.value) FROM odd AS o WHERE o.type = %3$L
        UNION ALL
        SELECT format('UPDATE customer_groups.%1$I SET %2$I = %%s::%3$s WHERE ctid = (SELECT min(ctid) FROM customer_groups.%1$I)', o.value) FROM odd AS o WHERE o.type = %3$L
        UNION ALL
        SELECT format('INSERT INTO customer_groups.%1$I (%%s) VALUES (%%s)', string_agg(quote_ident(v.key), ', '), string_agg(v.value, ', '))
        FROM odd AS o, new_row AS r,
            LATERAL (SELECT key, quote_literal(value) AS value FROM jsonb_each_text(r.row_values - %2$L) UNION ALL SELECT %2$L, o.value || '::' || o.type) AS v
        -- Rows that were recorded before are taken as they are.
        WHERE o.type = %3$L AND r.relation = %1$L AND %2$L <> 'recorded_at'
        GROUP BY o.value
    ) AS s (statement), LATERAL pg_temp.fault_of(format('SELECT pg_temp.done_soundly(%%L)', statement)) AS f (fault)
    WHERE fault IS NOT NULL$$, relation, name, type), format('odd values in %s.%s', relation, name))
FROM columns ORDER BY relation, name;

SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'nothing is left of it');
SELECT * FROM finish();
ROLLBACK;
