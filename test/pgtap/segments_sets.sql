-- All customers of a segment or rule: each function with good and bad arguments, texts that SQL must not take for its own, numbers and
-- times far out, nesting, rights, the indexes that compiled rules use, and the default segments.
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

-- Who fulfils a rule, compiled; the same interpreted, when they differ.
CREATE FUNCTION pg_temp.who(rule customer_groups.segment_rule, at timestamptz DEFAULT '2026-03-10 12:00+00') RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    compiled bigint[] := ARRAY(SELECT c FROM customer_groups.rule_customers(rule, at) AS c ORDER BY 1);
    interpreted bigint[] := ARRAY(SELECT id FROM customer_groups.customers WHERE customer_groups.matches(id, rule, at) ORDER BY 1);
BEGIN
    RETURN concat_ws(', not ', compiled, CASE WHEN compiled <> interpreted THEN interpreted END);
END
$$;

-- ---------------------------------------------------------------------------------------------
-- The functions
-- ---------------------------------------------------------------------------------------------

SELECT results_eq('SELECT * FROM customer_groups.preview_segment(''ALL'')', $$VALUES (0::bigint, 0::numeric, '{}'::bigint[])$$, 'a preview without customers');

INSERT INTO customer_groups.customers (id, birth_date, registered_at, attributes)
SELECT n, date '1990-01-01' + n::int * 40, timestamptz '2026-01-01 00:00+00' + n * interval '1 day', jsonb_build_object('n', n)
FROM generate_series(1, 30) AS n;
INSERT INTO customer_groups.sales (customer_id, amount, sold_at)
SELECT n, 10, timestamptz '2026-02-01 12:00+00' FROM generate_series(1, 30) AS n, generate_series(1, n % 4);
INSERT INTO customer_groups.segments (code, name, color, position, rule) VALUES
    ('thrice', 'Three visits', '#333333', 2, 'visits = 3'), ('any', 'Any visit', '#111111', 1, 'visits > 0'),
    ('even', 'Even', '#222222', 2, 'visits IN (0, 2)'), ('none', 'None', '#444444', 3, 'visits > 100'),
    ('both', 'Both', '#555555', 9, 'in SEGMENT ''any'' AND in SEGMENT ''even''');

SELECT results_eq('SELECT * FROM customer_groups.segment_customers(''thrice'') ORDER BY 1', 'SELECT n::bigint FROM generate_series(3, 30, 4) AS n', 'segment_customers');
SELECT results_eq('SELECT customer_groups.segment_customers(''thrice'') ORDER BY 1', 'SELECT n::bigint FROM generate_series(3, 30, 4) AS n', 'in a select list, too');
SELECT is(ARRAY(SELECT customer_groups.rule_customers('visits = 3 AND birthday IN MONTH 5') ORDER BY 1), '{3}'::bigint[], 'rule_customers');
SELECT is(customer_groups.segment_size('thrice'), 7::bigint, 'segment_size');
SELECT is(customer_groups.segment_size('none'), 0::bigint, 'segment_size of an empty one');
SELECT results_eq('SELECT * FROM customer_groups.segment_sizes()',
    $$VALUES ('any', 'Any visit', '#111111', 23::bigint), ('even', 'Even', '#222222', 15), ('thrice', 'Three visits', '#333333', 7),
             ('none', 'None', '#444444', 0), ('both', 'Both', '#555555', 8)$$, 'segment_sizes: by position, then code');
SELECT is(customer_groups.segment_overlap('any', 'even'), 8::bigint, 'segment_overlap');
SELECT is(customer_groups.segment_overlap('even', 'even'), 15::bigint, 'segment_overlap of one with itself');
SELECT results_eq('SELECT * FROM customer_groups.preview_segment(''visits <= 2'')',
    $$VALUES (23::bigint, 0.766667, '{1,2,4,5,6,8,9,10,12,13}'::bigint[])$$, 'preview_segment: the lowest ids as a sample');
SELECT results_eq('SELECT * FROM customer_groups.preview_segment(''visits > 100'')', $$VALUES (0::bigint, 0.000000, '{}'::bigint[])$$, 'preview_segment of nobody');
SELECT results_eq('SELECT * FROM customer_groups.preview_change(''thrice'', ''visits >= 2 AND registered >= ''''2026-01-29'''''') ORDER BY 1',
    $$SELECT n::bigint, CASE WHEN n = 30 THEN 'enters' ELSE 'leaves' END FROM generate_series(3, 30) AS n WHERE n % 4 = 3 OR n = 30$$, 'preview_change');
SELECT is_empty('SELECT * FROM customer_groups.preview_change(''thrice'', ''visits BETWEEN 3 AND 3'')', 'preview_change of nothing');
SELECT is(rule::text, 'visits = 3', 'and the rule is as it was') FROM customer_groups.segments WHERE code = 'thrice';
INSERT INTO customer_groups.groups (code, name, starts_on) VALUES ('regulars', 'Regulars', '2020-01-01');
SELECT is(customer_groups.add_members('regulars', ARRAY(SELECT customer_groups.rule_customers('visits = 3'))), 7::bigint, 'a group is filled by a rule');
SELECT is(pg_temp.who('member OF ''regulars'' AND registered < ''2026-01-13''', '2026-03-10'), '{3,7,11}', 'which rules may name');

-- segment_sql is the query itself.
CREATE FUNCTION pg_temp.run(query text) RETURNS bigint[]
    LANGUAGE plpgsql AS $$
DECLARE
    result bigint[];
BEGIN
    EXECUTE format('SELECT array_agg(q.customer_id ORDER BY q.customer_id) FROM (%s) AS q', query) INTO result;
    RETURN result;
END
$$;
SELECT is(pg_temp.run(customer_groups.segment_sql(code)), (SELECT array_agg(c ORDER BY c) FROM customer_groups.segment_customers(code) AS c), 'segment_sql: ' || code)
FROM customer_groups.segments;

-- at moves today, and nothing else.
SELECT is(customer_groups.preview_segment('registered WITHIN 5 DAYS', '2026-01-10 12:00+00')::text, '(6,0.200000,"{4,5,6,7,8,9}")', 'preview_segment at a time');
UPDATE customer_groups.segments SET rule = 'registered WITHIN 5 DAYS' WHERE code = 'none';
SELECT is(customer_groups.segment_size('none', '2026-01-10 12:00+00'), 6::bigint, 'segment_size at a time');
SELECT is((SELECT size FROM customer_groups.segment_sizes('2026-01-10 12:00+00') WHERE code = 'none'), 6::bigint, 'segment_sizes at a time');
SELECT is(customer_groups.segment_overlap('none', 'thrice', '2026-01-10 12:00+00'), 1::bigint, 'segment_overlap at a time');
SELECT is((SELECT count(*) FROM customer_groups.segment_customers('none', '2026-01-10 12:00+00')), 6::bigint, 'segment_customers at a time');
SELECT is((SELECT count(*) FROM customer_groups.preview_change('none', 'registered WITHIN 3 DAYS', '2026-01-10 12:00+00')), 2::bigint, 'preview_change at a time');
SELECT alike(customer_groups.segment_sql('none', '2026-01-10 12:00+00'), '%2026-01-05 00:00:00+00%', 'segment_sql at a time');

-- Null asks for nothing.
SELECT is_empty(query, query) FROM (VALUES ('SELECT * FROM customer_groups.segment_customers(NULL)'), ('SELECT * FROM customer_groups.rule_customers(NULL)'),
    ('SELECT * FROM customer_groups.preview_change(NULL, ''ALL'')'), ('SELECT * FROM customer_groups.preview_change(''any'', NULL)')) AS v (query);
SELECT is(customer_groups.segment_size(NULL), NULL, 'segment_size of null');
SELECT is(customer_groups.segment_sql(NULL), NULL, 'segment_sql of null');
SELECT is(customer_groups.segment_overlap(NULL, 'any'), NULL, 'segment_overlap with null');
SELECT is(customer_groups.segment_overlap('any', NULL), NULL, 'and the other way round');
SELECT results_eq('SELECT * FROM customer_groups.preview_segment(NULL)', 'SELECT NULL::bigint, NULL::numeric, NULL::bigint[]', 'preview_segment of null');

SELECT is(pg_temp.complaint(statement), expected, statement)
FROM (VALUES
    ('SELECT customer_groups.segment_customers(''Any'')', '02000 There is no segment with code "Any".'),
    ('SELECT customer_groups.segment_size(''gone'')', '02000 There is no segment with code "gone".'),
    ('SELECT customer_groups.segment_sql(''gone'')', '02000 There is no segment with code "gone".'),
    ('SELECT customer_groups.segment_overlap(''any'', ''gone'')', '02000 There is no segment with code "gone".'),
    ('SELECT customer_groups.segment_overlap(''gone'', ''any'')', '02000 There is no segment with code "gone".'),
    ('SELECT customer_groups.preview_change(''gone'', ''ALL'')', '02000 There is no segment with code "gone".'),
    ('SELECT customer_groups.preview_change(''any'', ''member OF ''''x'''''')', '42704 There is no group "x".'),
    ('SELECT customer_groups.preview_segment(''in SEGMENT ''''x'''''')', '42704 There is no segment "x".'),
    ('SELECT customer_groups.rule_customers(''bought ITEM ''''x'''' > 0'')', '42704 There is no item "x".'),
    -- Saved, these would go round in a circle.
    ('SELECT customer_groups.preview_change(''any'', ''NOT in SEGMENT ''''any'''''')', '23514 Each names the next: "any", "any".'),
    ('SELECT customer_groups.preview_change(''any'', ''ALL OR in SEGMENT ''''both'''''')', '23514 Each names the next: "any", "both", "any".'),
    ('SELECT customer_groups.preview_change(''both'', ''in SEGMENT ''''any'''''')', 'done'),
    ('SELECT customer_groups.segment_customers(''any'', NULL)', '22004 '),
    ('SELECT customer_groups.rule_customers(''ALL'', ''infinity'')', '22023 The time is infinity.'),
    ('SELECT customer_groups.segment_size(NULL, ''-infinity'')', '22023 The time is -infinity.'),
    ('SELECT customer_groups.segment_sizes(NULL)', '22004 '),
    ('SELECT customer_groups.segment_sizes(''infinity'')', '22023 The time is infinity.'),
    ('SELECT customer_groups.segment_overlap(''any'', ''any'', ''infinity'')', '22023 The time is infinity.'),
    ('SELECT customer_groups.preview_segment(''ALL'', ''infinity'')', '22023 The time is infinity.'),
    ('SELECT customer_groups.preview_change(''any'', ''ALL'', ''infinity'')', '22023 The time is infinity.'),
    ('SELECT customer_groups.segment_sql(''any'', ''infinity'')', '22023 The time is infinity.')) AS v (statement, expected);

-- A change is seen at once, and no more after a rollback.
SAVEPOINT a;
INSERT INTO customer_groups.sales (customer_id, amount, sold_at) VALUES (2, 10, '2026-02-01 12:00+00');
SELECT is(customer_groups.segment_size('thrice'), 8::bigint, 'a sale is counted at once');
UPDATE customer_groups.segments SET rule = 'visits > 3' WHERE code = 'thrice';
SELECT is(customer_groups.segment_size('thrice'), 0::bigint, 'so is a change of the rule');
ROLLBACK TO a;
SELECT is(customer_groups.segment_size('thrice'), 7::bigint, 'neither after a rollback');
-- And the functions keep to the snapshot of their query.
DECLARE sizes CURSOR FOR SELECT customer_groups.segment_size('thrice') AS size FROM generate_series(1, 2);
UPDATE customer_groups.segments SET rule = 'visits > 3' WHERE code = 'thrice';
\o /dev/null
FETCH sizes \gset
\o
SELECT is(:size, 7, 'a cursor asks for what it was opened for');
CLOSE sizes;
ROLLBACK TO a;

-- ---------------------------------------------------------------------------------------------
-- Texts, numbers and times
-- ---------------------------------------------------------------------------------------------

-- Texts that SQL must not take for its own, in each place of a rule that holds one.
CREATE TEMPORARY TABLE odd AS SELECT text FROM (VALUES
    ('it''s'), ('"'), ('\'), ('\''); DROP TABLE odd; --'), ('$1'), ('%s'), ('{a,b}'), ('日本'), (E'line\nbreak'), ('x OR true'), ('null'), (':a'), ('/*')) AS v (text);
INSERT INTO customer_groups.customers (id, attributes) SELECT 100 + row_number() OVER (), jsonb_build_object(text, text, 'name', text, 'number', 5) FROM odd;
INSERT INTO customer_groups.items (external_id, name) SELECT text, 'Item' FROM odd;
INSERT INTO customer_groups.sales (customer_id, id, amount) SELECT c.id, c.id, 1 FROM customer_groups.customers AS c WHERE c.id > 100;
INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price)
SELECT c.id, c.id, 1, i.id, 1, 1 FROM customer_groups.customers AS c JOIN customer_groups.items AS i ON i.external_id = c.attributes ->> 'name' WHERE c.id > 100;
INSERT INTO customer_groups.groups (code, name, upgrade_threshold) SELECT text, 'Group', 1000 + row_number() OVER () FROM odd;
INSERT INTO customer_groups.members (customer_id, group_id)
SELECT c.id, g.id FROM customer_groups.customers AS c JOIN customer_groups.groups AS g ON g.code = c.attributes ->> 'name' WHERE c.id > 100;
INSERT INTO customer_groups.segments (code, name, rule)
SELECT text, 'Segment', jsonb_build_object('tier_of', 'default', 'op', '=', 'value', text)::customer_groups.segment_rule FROM odd;
SELECT is(pg_temp.who(tree::customer_groups.segment_rule, now()), (SELECT format('{%s}', id) FROM customer_groups.customers WHERE attributes ->> 'name' = text), tree::text)
FROM odd, LATERAL (VALUES
    (jsonb_build_object('attribute', 'name', 'op', '=', 'value', text)),
    (jsonb_build_object('attribute', 'name', 'op', 'in', 'value', jsonb_build_array(text, text))),
    (jsonb_build_object('not', jsonb_build_object('or', jsonb_build_array(jsonb_build_object('attribute', 'name', 'op', '<>', 'value', text),
        jsonb_build_object('not', jsonb_build_object('attribute', 'number', 'op', '=', 'value', 5)))))),
    (jsonb_build_object('attribute', text, 'op', '<>', 'value', 'x')),
    (jsonb_build_object('bought', 'item', 'code', text, 'op', '>', 'value', 0)),
    (jsonb_build_object('member_of', text)),
    (jsonb_build_object('segment', text))) AS t (tree);
DELETE FROM customer_groups.segments WHERE code IN (SELECT text FROM odd);
DELETE FROM customer_groups.sales WHERE customer_id > 100;
DELETE FROM customer_groups.customers WHERE id > 100;

-- Settings change how texts and times are read, but not these.
SET LOCAL standard_conforming_strings = off;
SELECT is(pg_temp.who(jsonb_build_object('attribute', 'a' || chr(92) || 'b''', 'op', '<>', 'value', chr(92))::customer_groups.segment_rule), '{}', 'backslashes');
RESET standard_conforming_strings;
SET LOCAL datestyle = 'German, DMY';
SET LOCAL timezone = 'Asia/Tokyo';
SELECT is(pg_temp.who('registered = ''2026-01-04'' OR registered = ''2026-01-14'' AND last_visit < ''2026-02-02'''), '{3,13}', 'days');
RESET datestyle;
RESET timezone;

-- An operator of the caller's is not ours.
CREATE SCHEMA mine;
CREATE FUNCTION mine.no(bigint, int) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR mine.>= (LEFTARG = bigint, RIGHTARG = int, FUNCTION = mine.no);
CREATE FUNCTION mine.count() RETURNS bigint LANGUAGE sql AS 'SELECT 7::bigint';
SET LOCAL search_path = mine, pg_catalog, public;
SELECT is(customer_groups.segment_size('any'), 23::bigint, 'nothing is looked up in the search_path');
RESET search_path;

-- Far out.
SELECT is(pg_temp.who(rule::customer_groups.segment_rule, at::timestamptz),
    CASE WHEN everybody THEN (SELECT array_agg(id ORDER BY id)::text FROM customer_groups.customers) ELSE '{}' END, left(rule, 60) || ' at ' || at)
FROM (VALUES
    ('visits < 1e300', '2026-03-10', true), ('visits >= -1e300', '2026-03-10', true), ('visits = 1e18', '2026-03-10', false), ('visits <> 1e18', '2026-03-10', true),
    ('visits > 9223372036854775807', '2026-03-10', false), ('visits <= 9223372036854775808', '2026-03-10', true), ('visits BETWEEN 1e30 AND -1e30', '2026-03-10', false),
    ('visits BETWEEN -1e30 AND 1e30', '2026-03-10', true), ('visits = 0.5', '2026-03-10', false), ('visits <> 0.5', '2026-03-10', true),
    ('visits BETWEEN 0.1 AND 0.9', '2026-03-10', false), ('visits IN (-5, 0.5)', '2026-03-10', false), ('NOT visits = -5', '2026-03-10', true),
    ('net_sales < 1e900', '2026-03-10', true), ('net_sales > -0.' || repeat('0', 900) || '1', '2026-03-10', true), ('visits IN LAST 99 DAYS IN (0.5)', '2026-03-10', false),
    ('visits IN LAST 99 DAYS <> 0.5', '2026-03-10', true), ('no_shows IN LAST 0 DAYS >= -1', '2026-03-10', true),
    ('days_since(registered) > -1e300', '2026-03-10', true), ('days_since(registered) < -1e300', '2026-03-10', false), ('days_since(registered) <> 0.5', '2026-03-10', true),
    ('days_since(registered) = 0.5', '2026-03-10', false), ('days_since(registered) > 1000000', '2026-03-10', false), ('days_since(registered) < 100000000', '2026-03-10', true),
    ('registered WITHIN 100000 DAYS', '2026-03-10', true), ('registered >= ''0001-01-01''', '2026-03-10', true), ('registered > ''9999-12-31''', '2026-03-10', false),
    ('registered WITHIN 100000 DAYS', '4713-01-01 BC', false), ('days_since(registered) < 0', '4713-01-01 BC', true), ('registered WITHIN 100000 DAYS', '294276-12-31', false),
    ('days_since(registered) > 0', '294276-12-31', true), ('birthday WITHIN NEXT 365 DAYS', '0045-02-28 BC', true), ('birthday WITHIN NEXT 100000 DAYS', '294276-12-31', true),
    ('birthday WITHIN NEXT 366 DAYS', '2027-03-01', true), ('birthday IN MONTH 1 AND birthday IN MONTH 2', '2026-03-10', false),
    ('net_sales IN LAST 100000 DAYS = 0', '100000-01-01', true), ('NOT net_sales IN LAST 100000 DAYS = 0', '12345-06-07', false)) AS v (rule, at, everybody);

-- ---------------------------------------------------------------------------------------------
-- Nesting
-- ---------------------------------------------------------------------------------------------

SAVEPOINT nesting;
DELETE FROM customer_groups.segments;
-- Each of 40 names the one before it twice: 2^40 conditions if one were repeated.
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('s0', 'S', 'visits >= 1');
INSERT INTO customer_groups.segments (code, name, rule)
SELECT 's' || n, 'S', format('in SEGMENT ''s%1$s'' AND (NOT ALL OR in SEGMENT ''s%1$s'')', n - 1)::customer_groups.segment_rule FROM generate_series(1, 40) AS n;
SELECT is(customer_groups.segment_size('s40'), 23::bigint, 'nesting does not explode');
SELECT is((SELECT array_agg(DISTINCT size) FROM customer_groups.segment_sizes()), '{23}'::bigint[], 'for all of them at once neither');
SELECT cmp_ok(length(customer_groups.segment_sql('s40')), '<', 40 * 300, 'the text grows with the number of segments');
SELECT is((SELECT count(*) FROM regexp_matches(customer_groups.segment_sql('s40'), 'visits', 'g')), 1::bigint, 'each is written once');
SELECT is(customer_groups.segment_overlap('s40', 's39'), 23::bigint, 'what two share is, too');

-- A long chain in which each is named once, deeper than an expression should be.
DELETE FROM customer_groups.segments;
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('t0', 'T', 'visits >= 1');
INSERT INTO customer_groups.segments (code, name, rule)
SELECT 't' || n, 'T', format('NOT (NOT in SEGMENT ''t%s'' OR visits > 9)', n - 1)::customer_groups.segment_rule FROM generate_series(1, 100) AS n;
SELECT is(customer_groups.segment_size('t100'), 23::bigint, 'a chain of 100');

-- More than one query can count.
DELETE FROM customer_groups.segments;
INSERT INTO customer_groups.segments (code, name, position, rule)
SELECT 'u' || n, 'U', n, format('visits = %s', n % 5)::customer_groups.segment_rule FROM generate_series(1, 2001) AS n;
SELECT results_eq('SELECT code, size FROM customer_groups.segment_sizes()',
    'SELECT ''u'' || n, (ARRAY[7, 8, 8, 7, 0]::bigint[])[n % 5 + 1] FROM generate_series(1, 2001) AS n', '2001 segments');

-- A circle that came by a restore.
DELETE FROM customer_groups.segments;
INSERT INTO customer_groups.segments (code, name, rule, recorded_at) VALUES
    ('round', 'Round', 'in SEGMENT ''again''', '2026-01-01'), ('again', 'Again', 'in SEGMENT ''round''', '2026-01-01'),
    ('fine', 'Fine', 'in SEGMENT ''gone'' OR NOT in SEGMENT ''gone'' AND NOT bought BRAND ''gone'' < 9 AND NOT member OF ''gone''', '2026-01-01');
SELECT is(pg_temp.complaint('SELECT customer_groups.segment_size(''again'')'), '55000 Segment "again" names itself, if only through others.', 'a restored circle');
SELECT is(pg_temp.complaint('SELECT customer_groups.segment_sizes()'), '55000 Segment "again" names itself, if only through others.', 'for all segments');
SELECT is(customer_groups.segment_size('fine'), 30::bigint, 'conditions of restored rules are false where a name is gone');
ROLLBACK TO nesting;

-- ---------------------------------------------------------------------------------------------
-- Rights, and that reads do not write
-- ---------------------------------------------------------------------------------------------

CREATE TEMPORARY TABLE calls (call text);
INSERT INTO calls VALUES ('SELECT customer_groups.segment_customers(''any'')'), ('SELECT customer_groups.rule_customers(''ALL'')'),
    ('SELECT customer_groups.segment_size(''any'')'), ('SELECT customer_groups.segment_sizes()'), ('SELECT customer_groups.segment_overlap(''any'', ''even'')'),
    ('SELECT customer_groups.preview_segment(''birthday TODAY'')'), ('SELECT customer_groups.preview_change(''any'', ''birthday TODAY'')'),
    ('SELECT customer_groups.segment_sql(''any'')'), ('SELECT customer_groups.segment_size(NULL)'), ('SELECT customer_groups.rule_customers(NULL)');
GRANT SELECT ON calls TO PUBLIC;
SELECT customer_groups.grant_access('shop_view', 'view') \g /dev/null
SET LOCAL ROLE shop_view;
SELECT lives_ok(call, 'the level view may: ' || call) FROM calls;
RESET ROLE;
ALTER TABLE customer_groups.customer_facts ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON customer_groups.customer_facts TO shop_view USING (customer_id < 5);
SET LOCAL ROLE shop_view;
SELECT throws_ok(call, '42501', NULL, 'not past a policy: ' || call) FROM calls;
RESET ROLE;
ALTER TABLE customer_groups.customer_facts DISABLE ROW LEVEL SECURITY;
SELECT is((SELECT count(*) FROM pg_proc AS p WHERE p.pronamespace = 'customer_groups'::regnamespace AND p.provolatile = 's' AND p.proparallel = 's'
        AND p.proname IN ('segment_customers', 'rule_customers', 'segment_size', 'segment_sizes', 'segment_overlap', 'preview_segment', 'preview_change', 'segment_sql')),
    8::bigint, 'all of them are stable and parallel safe');
CREATE TEMPORARY TABLE before AS SELECT pg_current_xact_id() AS id, (SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables WHERE schemaname = 'customer_groups') AS writes;
DO $$ DECLARE query text; BEGIN FOR query IN SELECT call FROM calls LOOP EXECUTE query; END LOOP; END $$;
SELECT is((SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables WHERE schemaname = 'customer_groups'), writes, 'none of them writes') FROM before;

-- ---------------------------------------------------------------------------------------------
-- Plans
-- ---------------------------------------------------------------------------------------------

INSERT INTO customer_groups.customers (id, birth_date, registered_at)
SELECT n, date '1950-01-01' + n::int, timestamptz '2020-01-01 00:00+00' + n * interval '1 hour' FROM generate_series(1001, 21000) AS n;
INSERT INTO customer_groups.sales (customer_id, amount, sold_at)
SELECT n, 1, timestamptz '2020-01-01 00:00+00' + n * interval '2 hours' FROM generate_series(1001, 21000) AS n;
ANALYZE customer_groups.customer_facts, customer_groups.members, customer_groups.customers, customer_groups.sales;

CREATE FUNCTION pg_temp.plan(query text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    line text;
    result text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        result := result || line || E'\n';
    END LOOP;
    RETURN result;
END
$$;
INSERT INTO customer_groups.segments (code, name, rule) VALUES
    ('registered', 'R', 'registered WITHIN 5 DAYS'), ('day', 'D', 'registered = ''2021-06-01'''), ('since', 'S', 'days_since(registered) BETWEEN 20 AND 25 AND visits > 0'),
    ('first', 'F', 'first_visit BETWEEN ''2021-06-01'' AND ''2021-06-05'''), ('today', 'T', 'birthday TODAY'), ('week', 'W', 'NOT visits > 100 AND birthday WITHIN NEXT 7 DAYS'),
    ('member', 'M', 'member OF ''regulars'''), ('inner', 'I', 'in SEGMENT ''registered'' AND net_sales IN LAST 9 DAYS > 0'),
    ('twice', 'Z', 'birthday TODAY AND (in SEGMENT ''any'' OR NOT in SEGMENT ''any'' AND visits > 2)'), ('either', 'E', 'birthday TODAY OR registered = ''2021-06-01''');
SELECT matches(pg_temp.plan(customer_groups.segment_sql(code, '2021-06-03 12:00+00')), expected, format('an index for %s', rule))
FROM customer_groups.segments JOIN (VALUES
    ('registered', 'Index Scan .*customer_facts_registered_at_idx'), ('day', 'Index Scan .*customer_facts_registered_at_idx'),
    ('since', 'Index Scan .*customer_facts_registered_at_idx'), ('first', 'Index Scan .*customer_facts_first_visit_at_idx'),
    ('today', 'Index Scan .*customer_facts_birthday_idx'), ('week', 'Index Scan .*customer_facts_birthday_idx'),
    ('member', 'Index .*customer_facts_pkey'), ('inner', 'Index Scan .*customer_facts_registered_at_idx(.|\n)*sales_sold_at_idx'),
    ('twice', 'Index Scan .*customer_facts_birthday_idx'),
    ('either', 'BitmapOr(.|\n)*(birthday_idx(.|\n)*registered_at_idx|registered_at_idx(.|\n)*birthday_idx)')) AS v (code, expected) USING (code);
SELECT is_empty($$SELECT code FROM customer_groups.segments WHERE pg_temp.run(customer_groups.segment_sql(code, '2021-06-03 12:00+00'))
        IS DISTINCT FROM (SELECT array_agg(c.id ORDER BY c.id) FROM customer_groups.customers AS c WHERE customer_groups.in_segment(c.id, code, '2021-06-03 12:00+00'))$$,
    'and the answers are the right ones');

-- The query may run in parallel, with a segment that is named twice, too.
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
SET LOCAL enable_indexscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT matches(pg_temp.plan('SELECT count(*) FROM (' || customer_groups.segment_sql(code) || ') AS q'), 'Parallel Seq Scan on customer_facts', 'parallel: ' || rule::text)
FROM customer_groups.segments WHERE code IN ('any', 'both', 'twice');
RESET enable_indexscan;
RESET enable_bitmapscan;

-- ---------------------------------------------------------------------------------------------
-- The default segments
-- ---------------------------------------------------------------------------------------------

DELETE FROM customer_groups.segments;
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('vip', 'Mine', 'visits > 50');
SELECT is(customer_groups.load_default_segments(), 9, 'nine segments beside the one that is there');
SELECT results_eq('SELECT code, name, rule::text FROM customer_groups.segments WHERE code = ''vip''', $$VALUES ('vip', 'Mine', 'visits > 50')$$, 'which is left alone');
DELETE FROM customer_groups.segments;
SELECT is(customer_groups.load_default_segments('en'), 10, 'ten in all');
SELECT results_eq('SELECT code, show_label, tracked, rule::text FROM customer_groups.segments ORDER BY position', $$VALUES
    ('all', false, false, 'ALL'), ('members', true, false, 'prepaid_purchases > 0 OR pass_purchases > 0'), ('non_members', true, false, 'prepaid_purchases = 0 AND pass_purchases = 0'),
    ('new', true, false, 'visits >= 1 AND registered WITHIN 30 DAYS'), ('blacklist', true, false, 'no_shows >= 1'), ('vip', true, false, 'net_sales >= 1000000 AND visits >= 10'),
    ('dormant', true, false, 'days_since(last_visit) >= 180'), ('win_back', true, false, 'visits >= 2 OR days_since(last_visit) >= 30'),
    ('birthday', true, false, 'birthday IN THIS MONTH'), ('first_visit', true, false, 'visits <= 0 AND registered WITHIN 30 DAYS')$$, 'their rules, in this order');
SELECT is((SELECT count(DISTINCT color) FROM customer_groups.segments), 10::bigint, 'each has a color of its own');
SELECT ok(bool_and(name ~ '^[A-Z]'), 'and an English name') FROM customer_groups.segments;
SELECT is(customer_groups.load_default_segments('ko'), 0, 'once they are there, none is added');
SELECT is((SELECT count(*) FROM customer_groups.segment_sizes()), 10::bigint, 'all are counted');
DELETE FROM customer_groups.segments;
SELECT is(customer_groups.load_default_segments('ko', 500.50), 10, 'in Korean');
SELECT is((SELECT array_agg(name ORDER BY position) FROM customer_groups.segments),
    '{전체,회원,비회원,신규고객,블랙리스트,VIP,휴면고객,재방문유도대상,생일고객,첫방문고객}'::text[], 'their names');
SELECT is(rule::text, 'net_sales >= 500.5 AND visits >= 10', 'with the shop''s own limit') FROM customer_groups.segments WHERE code = 'vip';
DELETE FROM customer_groups.segments;
SELECT is(pg_temp.complaint(statement), expected, statement)
FROM (VALUES
    ('SELECT customer_groups.load_default_segments(''fr'')', '22023 There are no names in "fr".'),
    ('SELECT customer_groups.load_default_segments(''EN'')', '22023 There are no names in "EN".'),
    ('SELECT customer_groups.load_default_segments(NULL)', '22004 '),
    ('SELECT customer_groups.load_default_segments(''en'', NULL)', '22004 '),
    ('SELECT customer_groups.load_default_segments(''en'', -1)', '22023 It is -1.'),
    ('SELECT customer_groups.load_default_segments(''en'', ''NaN'')', '22023 It is NaN.'),
    ('SELECT customer_groups.load_default_segments(''en'', ''Infinity'')', '22023 It is Infinity.'),
    ('SELECT customer_groups.load_default_segments(''en'', 0)', 'done')) AS v (statement, expected);
SELECT is_empty('SELECT FROM customer_groups.segments', 'and nothing was left behind');

SELECT * FROM finish();
ROLLBACK;
