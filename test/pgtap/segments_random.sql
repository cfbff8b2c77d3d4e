-- matches(), in_segment(), segments_of() and labels_of() give the answers of a slow and obvious reference on random
-- shops, rules and times, in several time zones; a change is seen at once, and no more after it was rolled back.
BEGIN;
SET LOCAL client_min_messages = error;
SELECT no_plan();
SELECT setseed(0.42) \g /dev/null
\ir reference_segments.psql

SELECT pg_temp.some_shop(40, 150) \g /dev/null

-- ---------------------------------------------------------------------------------------------
-- Questions
-- ---------------------------------------------------------------------------------------------

CREATE TEMPORARY TABLE questions (n int, customer bigint, at timestamptz, rule jsonb);
INSERT INTO questions
SELECT r.n, r.n * 7 % 40 + 1, pg_temp.some_time(), pg_temp.some_rule(1 + r.n % 3, ARRAY(SELECT code FROM customer_groups.segments))
FROM generate_series(1, 1600) AS r (n);

CREATE FUNCTION pg_temp.zone_tests(zone text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
BEGIN
    UPDATE customer_groups.settings SET timezone = zone;
    CREATE TEMPORARY TABLE answers AS
        SELECT q.*, customer_groups.matches(q.customer, q.rule::customer_groups.segment_rule, q.at) AS answer,
            pg_temp.holds(q.customer, q.rule, q.at) AS reference
        FROM questions AS q;
    RETURN NEXT is((SELECT count(*) FROM answers WHERE answer IS DISTINCT FROM reference), 0::bigint, 'matches: no difference, ' || zone);
    RETURN NEXT is_empty('SELECT customer, at, rule::customer_groups.segment_rule, answer, reference FROM answers
                          WHERE answer IS DISTINCT FROM reference ORDER BY length(rule::text) LIMIT 5', 'and what it would be, ' || zone);
    RETURN NEXT ok((SELECT count(*) FILTER (WHERE answer) > 400 AND count(*) FILTER (WHERE NOT answer) > 400 FROM answers),
                   'there are enough answers of both kinds, ' || zone);
    DROP TABLE answers;

    CREATE TEMPORARY TABLE labels AS
        SELECT c.id AS customer, t.at, s.code, s.position, s.show_label, pg_temp.holds(c.id, s.rule::jsonb, t.at) AS inside
        FROM customer_groups.customers AS c, customer_groups.segments AS s, (SELECT at FROM questions LIMIT 4) AS t;
    RETURN NEXT is_empty('SELECT customer, at, code FROM labels WHERE inside IS DISTINCT FROM customer_groups.in_segment(customer, code, at)',
                         'in_segment: no difference, ' || zone);
    RETURN NEXT is_empty('SELECT customer, at FROM labels GROUP BY customer, at
                          HAVING coalesce(array_agg(code ORDER BY position, code) FILTER (WHERE inside AND show_label), ''{}'')
                            IS DISTINCT FROM ARRAY(SELECT s.code FROM customer_groups.segments_of(customer, at) AS s)', 'segments_of: no difference, ' || zone);
    RETURN NEXT is_empty('SELECT l.customer_id, t.at FROM (SELECT DISTINCT at FROM labels) AS t,
                            customer_groups.labels_of(ARRAY(SELECT id FROM customer_groups.customers ORDER BY id), t.at) AS l
                          WHERE l.labels IS DISTINCT FROM (
                            SELECT coalesce(jsonb_agg(jsonb_build_object(''code'', x.code, ''name'', ''S'', ''color'', ''#808080'') ORDER BY x.position, x.code), ''[]'')
                            FROM labels AS x WHERE x.customer = l.customer_id AND x.at = t.at AND x.inside AND x.show_label)', 'labels_of: no difference, ' || zone);
    DROP TABLE labels;
END
$$;
SELECT zone_tests FROM (VALUES ('UTC'), ('America/New_York'), ('Pacific/Apia')) AS v (zone), pg_temp.zone_tests(zone);

-- ---------------------------------------------------------------------------------------------
-- Changes: seen at once, and gone with what is rolled back
-- ---------------------------------------------------------------------------------------------

INSERT INTO customer_groups.customers (id, attributes, registered_at) VALUES (100, '{}', '2024-01-01');
INSERT INTO customer_groups.sales (customer_id, id, amount, sold_at) VALUES (100, 1000, 10, '2024-03-01 12:00+00');
INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) VALUES (100, 1000, 1, 5, 1, 1);
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (100, 1);
UPDATE customer_groups.groups SET starts_on = '2024-01-01', ends_on = NULL WHERE id = 1;
INSERT INTO customer_groups.segments (code, name, rule) VALUES
    ('base', 'Base', 'visits = 1'), ('top', 'Top', 'in SEGMENT ''base'' AND member OF ''group1'''),
    ('sold', 'Sold', 'bought CATEGORY ''category1'' > 0 OR bought BRAND ''brand2'' > 0');

CREATE FUNCTION pg_temp.now_in() RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN concat_ws(',', CASE WHEN customer_groups.in_segment(100, 'base', '2024-03-01 12:00+00') THEN 'base' END,
        CASE WHEN customer_groups.in_segment(100, 'top', '2024-03-01 12:00+00') THEN 'top' END,
        CASE WHEN customer_groups.in_segment(100, 'sold', '2024-03-01 12:00+00') THEN 'sold' END);
END
$$;

-- What they are in after a statement, and again after it was rolled back.
CREATE FUNCTION pg_temp.during(statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    BEGIN
        EXECUTE statement;
        result := pg_temp.now_in();
        RAISE SQLSTATE 'CG000';
    EXCEPTION WHEN SQLSTATE 'CG000' THEN
        NULL;
    END;
    RETURN result || ' / ' || pg_temp.now_in();
END
$$;
DELETE FROM customer_groups.item_categories WHERE item_id = 5;
UPDATE customer_groups.items SET brand_id = NULL WHERE id = 5;
SELECT is(pg_temp.now_in(), 'base,top', 'before');
SELECT is(pg_temp.during(statement), expected || ' / base,top', statement)
FROM (VALUES
    ('UPDATE customer_groups.segments SET rule = ''visits = 2'' WHERE code = ''base''', ''),
    ('INSERT INTO customer_groups.sales (customer_id, amount) VALUES (100, 1)', ''),
    ('DELETE FROM customer_groups.sales WHERE customer_id = 100', ''),
    ('UPDATE customer_groups.groups SET ends_on = ''2024-02-29'' WHERE id = 1', 'base'),
    ('UPDATE customer_groups.groups SET code = ''other'' WHERE id = 1', 'base,top'),
    ('DELETE FROM customer_groups.members WHERE customer_id = 100', 'base'),
    ('UPDATE customer_groups.members SET valid_until = ''2024-02-29'' WHERE customer_id = 100', 'base'),
    ('INSERT INTO customer_groups.item_categories VALUES (5, 7)', 'base,top,sold'),
    ('UPDATE customer_groups.items SET brand_id = 2 WHERE id = 5', 'base,top,sold'),
    ('UPDATE customer_groups.brands SET code = ''brandnew'' WHERE id = 2; UPDATE customer_groups.items SET brand_id = 2 WHERE id = 5', 'base,top,sold'),
    ('INSERT INTO customer_groups.item_categories VALUES (5, 7); UPDATE customer_groups.categories SET parent_id = NULL WHERE id = 3', 'base,top'),
    ('UPDATE customer_groups.segments SET rule = ''visits = 2'' WHERE code = ''base''; UPDATE customer_groups.segments SET rule = ''visits = 1'' WHERE code = ''base''',
     'base,top')) AS v (statement, expected);

-- Savepoints in the session itself.
SAVEPOINT a;
UPDATE customer_groups.segments SET rule = 'NOT ALL' WHERE code = 'base';
SELECT is(pg_temp.now_in(), '', 'a change is seen at once');
SAVEPOINT b;
UPDATE customer_groups.segments SET rule = 'ALL' WHERE code = 'base';
SELECT is(pg_temp.now_in(), 'base,top', 'so is the next one');
ROLLBACK TO b;
SELECT is(pg_temp.now_in(), '', 'and no more after a rollback to the savepoint between');
ROLLBACK TO a;
SELECT is(pg_temp.now_in(), 'base,top', 'nor the first after one to the savepoint before');

-- A cursor keeps to what its snapshot reads.
DECLARE old_labels CURSOR FOR SELECT customer_groups.in_segment(100, 'base', '2024-03-01 12:00+00') FROM generate_series(1, 2);
UPDATE customer_groups.segments SET rule = 'NOT ALL' WHERE code = 'base';
SELECT is(pg_temp.now_in(), '', 'a change after a cursor was opened');
\o /dev/null
FETCH old_labels \gset kept_
\o
SELECT ok(:'kept_in_segment', 'is not seen by the cursor');
SELECT is(pg_temp.now_in(), '', 'but by what comes after');

SELECT * FROM finish();
ROLLBACK;
