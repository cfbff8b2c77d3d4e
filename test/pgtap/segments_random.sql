-- matches(), in_segment(), segments_of() and labels_of() give the answers of a slow and obvious reference on random
-- shops, rules and times, in several time zones; a change is seen at once, and no more after it was rolled back.
BEGIN;
SET LOCAL client_min_messages = error;
SELECT no_plan();
SELECT setseed(0.42) \g /dev/null

-- ---------------------------------------------------------------------------------------------
-- The reference: from the sales, lines, memberships and records, never from the facts
-- ---------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.day_of(at timestamptz) RETURNS date
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN (at AT TIME ZONE (SELECT timezone FROM customer_groups.settings))::date;
END
$$;

-- Whether "theirs" passes the test of a node of a rule's tree.
CREATE FUNCTION pg_temp.passes(theirs numeric, node jsonb) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    one numeric := CASE jsonb_typeof(node -> 'value') WHEN 'array' THEN node -> 'value' ->> 0 ELSE node ->> 'value' END;
BEGIN
    RETURN theirs IS NOT NULL AND CASE node ->> 'op'
        WHEN '=' THEN theirs = one
        WHEN '<>' THEN theirs <> one
        WHEN '<' THEN theirs < one
        WHEN '<=' THEN theirs <= one
        WHEN '>' THEN theirs > one
        WHEN '>=' THEN theirs >= one
        WHEN 'between' THEN theirs BETWEEN one AND (node -> 'value' ->> 1)::numeric
        WHEN 'in' THEN theirs = ANY (ARRAY(SELECT e::numeric FROM jsonb_array_elements_text(node -> 'value') AS e))
    END;
END
$$;

CREATE FUNCTION pg_temp.passes(theirs text, node jsonb) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN theirs IS NOT NULL AND CASE node ->> 'op'
        WHEN '=' THEN theirs = node ->> 'value'
        WHEN '<>' THEN theirs <> node ->> 'value'
        WHEN 'in' THEN node -> 'value' ? theirs
    END;
END
$$;

-- Dates are compared as numbers of days.
CREATE FUNCTION pg_temp.passes(theirs date, node jsonb) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    days jsonb := node;
BEGIN
    IF jsonb_typeof(node -> 'value') = 'array' THEN
        days := jsonb_set(node, '{value}', (SELECT jsonb_agg(e::date - date '2000-01-01') FROM jsonb_array_elements_text(node -> 'value') AS e));
    ELSE
        days := jsonb_set(node, '{value}', to_jsonb((node ->> 'value')::date - date '2000-01-01'));
    END IF;
    RETURN pg_temp.passes((theirs - date '2000-01-01')::numeric, days);
END
$$;

CREATE FUNCTION pg_temp.is_birthday(birth date, day date) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN to_char(birth, 'MM-DD') = to_char(day, 'MM-DD')
        OR (to_char(birth, 'MM-DD') = '02-29' AND to_char(day, 'MM-DD') = '02-28' AND to_char(day + 1, 'MM-DD') = '03-01');
END
$$;

CREATE FUNCTION pg_temp.holds(customer bigint, node jsonb, at timestamptz) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    today date := pg_temp.day_of(at);
    record customer_groups.customers;
    days int := node ->> 'last_days';
    visited numeric;
    theirs numeric;
    moment timestamptz;
BEGIN
    IF node ? 'and' THEN
        RETURN (SELECT bool_and(pg_temp.holds(customer, e, at)) FROM jsonb_array_elements(node -> 'and') AS e);
    ELSIF node ? 'or' THEN
        RETURN (SELECT bool_or(pg_temp.holds(customer, e, at)) FROM jsonb_array_elements(node -> 'or') AS e);
    ELSIF node ? 'not' THEN
        RETURN NOT pg_temp.holds(customer, node -> 'not', at);
    ELSIF node ? 'all' THEN
        RETURN true;
    ELSIF node ? 'segment' THEN
        RETURN pg_temp.holds(customer, (SELECT s.rule::jsonb FROM customer_groups.segments AS s WHERE s.code = node ->> 'segment'), at);
    ELSIF node ? 'metric' THEN
        SELECT CASE node ->> 'metric'
                WHEN 'visits' THEN count(*) FILTER (WHERE s.kind = 'product')
                WHEN 'refunds' THEN count(*) FILTER (WHERE s.kind = 'refund')
                WHEN 'prepaid_purchases' THEN count(*) FILTER (WHERE s.kind = 'prepaid')
                WHEN 'pass_purchases' THEN count(*) FILTER (WHERE s.kind = 'pass')
                WHEN 'no_shows' THEN count(*) FILTER (WHERE s.kind = 'no_show')
                WHEN 'net_sales' THEN coalesce(sum(s.amount * coalesce(s.rate, 1)), 0)
                WHEN 'average_sale' THEN sum(s.amount * coalesce(s.rate, 1)) / nullif(count(*) FILTER (WHERE s.kind = 'product'), 0)
            END INTO theirs
        FROM customer_groups.sales AS s
        WHERE s.customer_id = customer AND (days IS NULL OR today - pg_temp.day_of(s.sold_at) BETWEEN 0 AND days);
        RETURN pg_temp.passes(theirs, node);
    ELSIF node ? 'bought' THEN
        SELECT coalesce(sum(l.quantity), 0) INTO theirs
        FROM customer_groups.sales AS s
        JOIN customer_groups.sale_lines AS l ON l.customer_id = s.customer_id AND l.sale_id = s.id
        JOIN customer_groups.items AS i ON i.id = l.item_id
        WHERE s.customer_id = customer AND s.kind <> 'refund' AND (days IS NULL OR today - pg_temp.day_of(s.sold_at) BETWEEN 0 AND days)
            AND CASE node ->> 'bought'
                WHEN 'item' THEN i.external_id = node ->> 'code'
                WHEN 'brand' THEN i.brand_id = (SELECT b.id FROM customer_groups.brands AS b WHERE b.code = node ->> 'code')
                ELSE EXISTS (
                    WITH RECURSIVE below AS (
                        SELECT c.id FROM customer_groups.categories AS c WHERE c.code = node ->> 'code'
                        UNION SELECT c.id FROM customer_groups.categories AS c JOIN below ON c.parent_id = below.id)
                    SELECT FROM customer_groups.item_categories AS ic JOIN below ON below.id = ic.category_id WHERE ic.item_id = i.id) END;
        RETURN pg_temp.passes(theirs, node);
    ELSIF node ? 'member_of' THEN
        RETURN EXISTS (
            SELECT FROM customer_groups.members AS m JOIN customer_groups.groups AS g ON g.id = m.group_id
            WHERE m.customer_id = customer AND g.code = node ->> 'member_of'
                AND today BETWEEN coalesce(m.valid_from, '-infinity') AND coalesce(m.valid_until, 'infinity')
                AND today BETWEEN g.starts_on AND coalesce(g.ends_on, 'infinity'));
    ELSIF node ? 'tier_of' THEN
        RETURN pg_temp.passes((
            SELECT g.code FROM customer_groups.members AS m JOIN customer_groups.groups AS g ON g.id = m.group_id
            WHERE m.customer_id = customer AND g.upgrade_threshold IS NOT NULL AND coalesce(g.ladder, 'default') = node ->> 'tier_of'
                AND today BETWEEN coalesce(m.valid_from, '-infinity') AND coalesce(m.valid_until, 'infinity')
                AND today BETWEEN g.starts_on AND coalesce(g.ends_on, 'infinity')), node);
    END IF;

    SELECT c.* INTO record FROM customer_groups.customers AS c WHERE c.id = customer;
    IF node ? 'attribute' THEN
        -- Of another type than the values: missing.
        IF jsonb_typeof(CASE WHEN node ->> 'op' IN ('in', 'between') THEN node -> 'value' -> 0 ELSE node -> 'value' END)
            IS DISTINCT FROM jsonb_typeof(record.attributes -> (node ->> 'attribute'))
        THEN
            RETURN false;
        ELSIF jsonb_typeof(record.attributes -> (node ->> 'attribute')) = 'number' THEN
            RETURN pg_temp.passes((record.attributes ->> (node ->> 'attribute'))::numeric, node);
        END IF;
        RETURN pg_temp.passes(record.attributes ->> (node ->> 'attribute'), node);
    ELSIF node ? 'birthday' THEN
        RETURN record.birth_date IS NOT NULL AND CASE node ->> 'birthday'
            WHEN 'today' THEN pg_temp.is_birthday(record.birth_date, today)
            WHEN 'this_month' THEN extract(month FROM record.birth_date) = extract(month FROM today)
            WHEN 'month' THEN extract(month FROM record.birth_date) = (node ->> 'month')::int
            ELSE EXISTS (SELECT FROM generate_series(0, (node ->> 'days')::int) AS n
                         WHERE pg_temp.is_birthday(record.birth_date, today + n)) END;
    END IF;

    -- What is left speaks of a date.
    CASE coalesce(node ->> 'date', node ->> 'days_since', node ->> 'within')
        WHEN 'registered' THEN moment := record.registered_at;
        WHEN 'first_visit' THEN
            moment := (SELECT min(s.sold_at) FROM customer_groups.sales AS s WHERE s.customer_id = customer AND s.kind = 'product');
        WHEN 'last_visit' THEN
            moment := (SELECT max(s.sold_at) FROM customer_groups.sales AS s WHERE s.customer_id = customer AND s.kind = 'product');
    END CASE;
    IF moment IS NULL THEN
        RETURN false;
    ELSIF node ? 'date' THEN
        RETURN pg_temp.passes(pg_temp.day_of(moment), node);
    ELSIF node ? 'days_since' THEN
        RETURN pg_temp.passes((today - pg_temp.day_of(moment))::numeric, node);
    END IF;
    RETURN today - pg_temp.day_of(moment) BETWEEN 0 AND (node ->> 'days')::int;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Random shops
-- ---------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.chance(percentage float) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN random() * 100 < percentage;
END
$$;

CREATE FUNCTION pg_temp.between(low int, high int) RETURNS int
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN low + floor(random() * (high - low + 1));
END
$$;

CREATE FUNCTION pg_temp.one_of(VARIADIC choice text[]) RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN choice[pg_temp.between(1, cardinality(choice))];
END
$$;

-- Half hours and the moments before them, around the change to summer time in America in the leap year 2024 and the
-- years beside it; now and then far away.
CREATE FUNCTION pg_temp.some_time() RETURNS timestamptz
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN timestamptz '2024-03-10 00:00+00' + pg_temp.between(-15, 15) * interval '1 day' + pg_temp.between(0, 47) * interval '30 minutes'
        + pg_temp.between(-1, 0) * interval '1 microsecond'
        + CASE pg_temp.between(1, 6) WHEN 1 THEN pg_temp.between(-400, 400) ELSE 0 END * interval '1 day'
        + CASE pg_temp.between(1, 3) WHEN 1 THEN pg_temp.between(-1, 1) ELSE 0 END * interval '1 year';
END
$$;

CREATE FUNCTION pg_temp.some_day() RETURNS date
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN date '2024-03-10' + pg_temp.between(-15, 15);
END
$$;

-- Four ages of 29 February, the days around it, and others.
CREATE FUNCTION pg_temp.some_birth_date() RETURNS date
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE pg_temp.between(1, 4)
        WHEN 1 THEN NULL
        WHEN 2 THEN make_date(4 * pg_temp.between(490, 500), 2, 29)
        WHEN 3 THEN make_date(pg_temp.between(1950, 2010), 2, 25) + pg_temp.between(0, 20)
        ELSE make_date(pg_temp.between(1950, 2010), 1, 1) + pg_temp.between(0, 364) END;
END
$$;

CREATE FUNCTION pg_temp.some_attributes() RETURNS jsonb
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'city', CASE pg_temp.between(1, 5) WHEN 1 THEN NULL WHEN 2 THEN to_jsonb(5) WHEN 3 THEN to_jsonb(true)
            ELSE to_jsonb(pg_temp.one_of('Seoul', 'Busan', '')) END,
        'age', CASE pg_temp.between(1, 5) WHEN 1 THEN NULL WHEN 2 THEN to_jsonb('5'::text)
            ELSE to_jsonb(pg_temp.between(0, 10) / 2.0::numeric) END)) || CASE WHEN pg_temp.chance(10) THEN '{"age": null}' ELSE '{}' END::jsonb;
END
$$;

INSERT INTO customer_groups.settings (timezone) VALUES ('UTC');
INSERT INTO customer_groups.stores (id, code, name, currency) VALUES (1, 'here', 'Here', 'USD'), (2, 'there', 'There', 'EUR');
INSERT INTO customer_groups.brands (id, code, name) SELECT n, 'brand' || n, 'B' FROM generate_series(1, 3) AS n;
INSERT INTO customer_groups.categories (id, code, name, parent_id)
SELECT n, 'category' || n, 'C', nullif(n / 2, 0) FROM generate_series(1, 7) AS n ORDER BY n;
INSERT INTO customer_groups.items (id, external_id, name, brand_id, price)
SELECT n, CASE WHEN n <= 4 THEN 'item' || n END, 'I', nullif(n % 4, 0), 1 FROM generate_series(1, 8) AS n;
INSERT INTO customer_groups.item_categories
SELECT DISTINCT pg_temp.between(1, 8), pg_temp.between(1, 7) FROM generate_series(1, 12);
INSERT INTO customer_groups.ladders (code, name) VALUES ('second', 'Second');
INSERT INTO customer_groups.groups (id, code, name, starts_on, ends_on, ladder, upgrade_threshold)
SELECT n, 'group' || n, 'G', day, CASE WHEN pg_temp.chance(60) THEN day + pg_temp.between(0, 20) END,
    CASE WHEN n > 6 THEN 'second' END, CASE WHEN n > 3 THEN 1000000 * n END
FROM (SELECT n, pg_temp.some_day() AS day FROM generate_series(1, 8) AS n) AS g;

INSERT INTO customer_groups.customers (id, birth_date, registered_at, attributes)
SELECT n, pg_temp.some_birth_date(), pg_temp.some_time(), pg_temp.some_attributes() FROM generate_series(1, 40) AS n;
INSERT INTO customer_groups.sales (customer_id, id, store_id, kind, amount, rate, sold_at)
SELECT customer, n, store, kind, CASE kind WHEN 'refund' THEN -1 ELSE 1 END * amount, CASE store WHEN 2 THEN 1.0625 END, pg_temp.some_time()
FROM (SELECT n, 1 + n % 36 AS customer, nullif(pg_temp.between(0, 2), 0) AS store, pg_temp.between(0, 80) * 2.5 AS amount,
        pg_temp.one_of('product', 'product', 'product', 'refund', 'prepaid', 'pass', 'no_show')::customer_groups.sale_kind AS kind
      FROM generate_series(1, 150) AS n) AS s;
INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price)
SELECT s.customer_id, s.id, n, pg_temp.between(1, 8), pg_temp.between(0, 6) / 2.0, 1
FROM customer_groups.sales AS s, generate_series(1, 3) AS n WHERE (s.id + n) % 3 > 0;
INSERT INTO customer_groups.members (customer_id, group_id, valid_from, valid_until)
SELECT customer, g, CASE WHEN pg_temp.chance(60) THEN day END, CASE WHEN pg_temp.chance(60) THEN day + pg_temp.between(0, 15) END
FROM (SELECT c AS customer, unnest(ARRAY[pg_temp.between(1, 3), pg_temp.between(4, 6), pg_temp.between(7, 8)]) AS g, pg_temp.some_day() AS day
      FROM generate_series(1, 32) AS c) AS m;

-- ---------------------------------------------------------------------------------------------
-- Random rules
-- ---------------------------------------------------------------------------------------------

-- An operator with values like these: number, date or text.
CREATE FUNCTION pg_temp.some_test(type text, VARIADIC texts text[] DEFAULT '{}') RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    op text := CASE type WHEN 'text' THEN pg_temp.one_of('=', '<>', 'in') ELSE pg_temp.one_of('=', '<>', '<', '<=', '>', '>=', 'between', 'in') END;
    list jsonb := '[]';
BEGIN
    FOR i IN 1 .. CASE op WHEN 'between' THEN 2 WHEN 'in' THEN 3 ELSE 1 END LOOP
        list := list || jsonb_build_array(CASE type
            WHEN 'count' THEN to_jsonb(pg_temp.between(0, 5))
            WHEN 'money' THEN to_jsonb(pg_temp.between(-10, 40) * 12.5)
            WHEN 'quantity' THEN to_jsonb(pg_temp.between(0, 12) / 2.0)
            WHEN 'days' THEN to_jsonb(pg_temp.between(-5, 25))
            WHEN 'date' THEN to_jsonb(pg_temp.some_day())
            ELSE to_jsonb(pg_temp.one_of(VARIADIC texts)) END);
    END LOOP;
    RETURN jsonb_build_object('op', op, 'value', CASE WHEN op IN ('between', 'in') THEN list ELSE list -> 0 END);
END
$$;

CREATE FUNCTION pg_temp.some_rule(depth int, segments text[] DEFAULT '{}') RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    kind text := pg_temp.one_of('all', 'metric', 'metric', 'window', 'window', 'date', 'days_since', 'within', 'birthday', 'bought', 'bought',
                                'attribute', 'member_of', 'member_of', 'tier_of', 'segment');
    date_metric text := pg_temp.one_of('registered', 'first_visit', 'last_visit');
    window_days jsonb := jsonb_build_object('last_days', pg_temp.between(0, 25));
    product text := pg_temp.one_of('item', 'category', 'category', 'brand');
    metric text;
BEGIN
    IF pg_temp.chance(25 * depth) THEN
        kind := pg_temp.one_of('and', 'or', 'not');
    END IF;
    IF kind = 'segment' AND segments = '{}' THEN
        kind := 'all';
    END IF;
    CASE kind
        WHEN 'and', 'or' THEN
            RETURN jsonb_build_object(kind, (SELECT jsonb_agg(pg_temp.some_rule(depth - 1, segments)) FROM generate_series(1, pg_temp.between(2, 3))));
        WHEN 'not' THEN RETURN jsonb_build_object(kind, pg_temp.some_rule(depth - 1, segments));
        WHEN 'metric' THEN
            metric := pg_temp.one_of('visits', 'net_sales', 'average_sale', 'refunds', 'prepaid_purchases', 'pass_purchases', 'no_shows');
            RETURN jsonb_build_object('metric', metric) || pg_temp.some_test(CASE WHEN metric LIKE '%sale%' THEN 'money' ELSE 'count' END);
        WHEN 'window' THEN
            metric := pg_temp.one_of('visits', 'net_sales', 'refunds', 'no_shows');
            RETURN jsonb_build_object('metric', metric) || window_days || pg_temp.some_test(CASE metric WHEN 'net_sales' THEN 'money' ELSE 'count' END);
        WHEN 'date' THEN RETURN jsonb_build_object(kind, date_metric) || pg_temp.some_test('date');
        WHEN 'days_since' THEN RETURN jsonb_build_object(kind, date_metric) || pg_temp.some_test('days');
        WHEN 'within' THEN RETURN jsonb_build_object(kind, date_metric, 'days', pg_temp.between(0, 25));
        WHEN 'birthday' THEN
            RETURN jsonb_build_object('birthday', pg_temp.one_of('today', 'this_month'))
                || CASE pg_temp.between(1, 5) WHEN 1 THEN jsonb_build_object('birthday', 'month', 'month', pg_temp.between(1, 4))
                    WHEN 2 THEN '{}' ELSE jsonb_build_object('birthday', 'next', 'days', pg_temp.between(0, 12) * CASE WHEN pg_temp.chance(20) THEN 31 ELSE 1 END) END;
        WHEN 'bought' THEN
            RETURN jsonb_build_object(kind, product, 'code', product || pg_temp.between(1, CASE product WHEN 'category' THEN 7 ELSE 3 END))
                || pg_temp.some_test('quantity') || CASE WHEN pg_temp.chance(50) THEN window_days ELSE '{}' END;
        WHEN 'attribute' THEN
            RETURN jsonb_build_object(kind, pg_temp.one_of('city', 'age', 'none'))
                || CASE WHEN pg_temp.chance(50) THEN pg_temp.some_test('quantity') ELSE pg_temp.some_test('text', 'Seoul', 'Busan', '', '5') END;
        WHEN 'member_of' THEN RETURN jsonb_build_object(kind, 'group' || pg_temp.between(1, 8));
        WHEN 'tier_of' THEN
            RETURN CASE WHEN pg_temp.chance(50) THEN jsonb_build_object(kind, 'default') || pg_temp.some_test('text', 'group4', 'group5', 'group6')
                ELSE jsonb_build_object(kind, 'second') || pg_temp.some_test('text', 'group7', 'group8') END;
        WHEN 'segment' THEN RETURN jsonb_build_object(kind, pg_temp.one_of(VARIADIC segments));
        ELSE RETURN '{"all": true}';
    END CASE;
END
$$;

DO $$
BEGIN
    FOR n IN 1 .. 8 LOOP
        INSERT INTO customer_groups.segments (code, name, position, show_label, rule)
        VALUES ('segment' || n, 'S', pg_temp.between(1, 3), n % 4 > 0,
                pg_temp.some_rule(2, ARRAY(SELECT 'segment' || m FROM generate_series(1, n - 1) AS m))::customer_groups.segment_rule);
    END LOOP;
END
$$;

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
