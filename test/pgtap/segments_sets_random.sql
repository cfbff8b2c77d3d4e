-- On random shops, rules and times, in time zones whose clocks go forwards and back, at midnight too, and over the date line, three
-- evaluators name the same customers: matches(), which walks the rule for one customer, rule_customers(), which compiles it to SQL,
-- and a slow and obvious one over the rule's tree.
BEGIN;
SET LOCAL client_min_messages = error;
SET LOCAL jit = off;
SELECT no_plan();
SELECT setseed(0.17) \g /dev/null
\ir reference_segments.psql

-- ---------------------------------------------------------------------------------------------
-- The third evaluator: a set of customers as a string of bits, from 1 on
-- ---------------------------------------------------------------------------------------------

-- What there is of each customer, with days in place of times.
CREATE TEMPORARY TABLE person (id bigint, birth_date date, attributes jsonb, registered date, first_visit date, last_visit date);
CREATE TEMPORARY TABLE sale (customer bigint, id bigint, kind text, net numeric, day date);
CREATE TEMPORARY TABLE line (customer bigint, kind text, day date, quantity numeric, external_id text, brand text, categories text[]);

CREATE FUNCTION pg_temp.read_shop() RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE person, sale, line;
    INSERT INTO sale SELECT s.customer_id, s.id, s.kind::text, s.amount * coalesce(s.rate, 1), pg_temp.day_of(s.sold_at) FROM customer_groups.sales AS s;
    INSERT INTO person
    SELECT c.id, c.birth_date, c.attributes, pg_temp.day_of(c.registered_at),
        pg_temp.day_of((SELECT min(s.sold_at) FROM customer_groups.sales AS s WHERE s.customer_id = c.id AND s.kind = 'product')),
        pg_temp.day_of((SELECT max(s.sold_at) FROM customer_groups.sales AS s WHERE s.customer_id = c.id AND s.kind = 'product'))
    FROM customer_groups.customers AS c;
    INSERT INTO line
    SELECT s.customer, s.kind, s.day, l.quantity, i.external_id, b.code, ARRAY(
        WITH RECURSIVE above AS (
            SELECT c.code, c.parent_id FROM customer_groups.item_categories AS ic JOIN customer_groups.categories AS c ON c.id = ic.category_id
            WHERE ic.item_id = i.id
            UNION SELECT c.code, c.parent_id FROM above JOIN customer_groups.categories AS c ON c.id = above.parent_id)
        SELECT code FROM above)
    FROM sale AS s JOIN customer_groups.sale_lines AS l ON l.customer_id = s.customer AND l.sale_id = s.id
    JOIN customer_groups.items AS i ON i.id = l.item_id LEFT JOIN customer_groups.brands AS b ON b.id = i.brand_id;
    ANALYZE person;
    ANALYZE sale;
    ANALYZE line;
END
$$;

-- Written to be inlined.
CREATE FUNCTION pg_temp.test(theirs numeric, op text, ours numeric[]) RETURNS boolean
    LANGUAGE sql AS $$
    SELECT CASE op WHEN '=' THEN theirs = ours[1] WHEN '<>' THEN theirs <> ours[1] WHEN '<' THEN theirs < ours[1] WHEN '<=' THEN theirs <= ours[1]
        WHEN '>' THEN theirs > ours[1] WHEN '>=' THEN theirs >= ours[1] WHEN 'between' THEN theirs >= ours[1] AND theirs <= ours[2]
        WHEN 'in' THEN theirs = ANY (ours) END
$$;
CREATE FUNCTION pg_temp.test(theirs text, op text, ours text[]) RETURNS boolean
    LANGUAGE sql AS $$ SELECT CASE op WHEN '=' THEN theirs = ours[1] WHEN '<>' THEN theirs <> ours[1] WHEN 'in' THEN theirs = ANY (ours) END $$;

CREATE FUNCTION pg_temp.holders(node jsonb, today date) RETURNS varbit
    LANGUAGE plpgsql AS $$
DECLARE
    result varbit;
    child jsonb;
    op text := node ->> 'op';
    days int := node ->> 'last_days';
    texts text[];
    numbers numeric[];
    date_name text := coalesce(node ->> 'date', node ->> 'days_since', node ->> 'within');
BEGIN
    IF node ? 'and' OR node ? 'or' THEN
        FOR child IN SELECT e FROM jsonb_array_elements(coalesce(node -> 'and', node -> 'or')) AS e LOOP
            result := CASE WHEN result IS NULL THEN pg_temp.holders(child, today)
                WHEN node ? 'and' THEN result & pg_temp.holders(child, today) ELSE result | pg_temp.holders(child, today) END;
        END LOOP;
        RETURN result;
    ELSIF node ? 'not' THEN
        RETURN ~ pg_temp.holders(node -> 'not', today);
    ELSIF node ? 'segment' THEN
        RETURN pg_temp.holders((SELECT s.rule::jsonb FROM customer_groups.segments AS s WHERE s.code = node ->> 'segment'), today);
    END IF;

    texts := CASE jsonb_typeof(node -> 'value') WHEN 'array' THEN ARRAY(SELECT e FROM jsonb_array_elements_text(node -> 'value') AS e)
        ELSE ARRAY[node ->> 'value'] END;
    IF node ? 'date' THEN
        numbers := ARRAY(SELECT e::date - date '2000-01-01' FROM unnest(texts) AS e);
    ELSIF jsonb_typeof(jsonb_path_query_first(node, '$.value[0]')) = 'number' THEN
        numbers := texts;
    END IF;

    IF node ? 'metric' THEN
        SELECT string_agg(CASE WHEN pg_temp.test(t.theirs, op, numbers) THEN '1' ELSE '0' END, '' ORDER BY t.id) INTO result
        FROM (SELECT p.id, CASE node ->> 'metric'
                WHEN 'visits' THEN count(*) FILTER (WHERE s.kind = 'product')
                WHEN 'refunds' THEN count(*) FILTER (WHERE s.kind = 'refund')
                WHEN 'prepaid_purchases' THEN count(*) FILTER (WHERE s.kind = 'prepaid')
                WHEN 'pass_purchases' THEN count(*) FILTER (WHERE s.kind = 'pass')
                WHEN 'no_shows' THEN count(*) FILTER (WHERE s.kind = 'no_show')
                WHEN 'net_sales' THEN coalesce(sum(s.net), 0)
                WHEN 'average_sale' THEN sum(s.net) / nullif(count(*) FILTER (WHERE s.kind = 'product'), 0) END AS theirs
            FROM person AS p LEFT JOIN sale AS s ON s.customer = p.id AND (days IS NULL OR today - s.day BETWEEN 0 AND days)
            GROUP BY p.id) AS t;
    ELSIF node ? 'bought' THEN
        SELECT string_agg(CASE WHEN pg_temp.test(t.theirs, op, numbers) THEN '1' ELSE '0' END, '' ORDER BY t.id) INTO result
        FROM (SELECT p.id, coalesce(sum(l.quantity), 0) AS theirs
            FROM person AS p LEFT JOIN line AS l ON l.customer = p.id AND l.kind <> 'refund' AND (days IS NULL OR today - l.day BETWEEN 0 AND days)
                AND CASE node ->> 'bought' WHEN 'item' THEN l.external_id = node ->> 'code' WHEN 'brand' THEN l.brand = node ->> 'code'
                    ELSE node ->> 'code' = ANY (l.categories) END
            GROUP BY p.id) AS t;
    ELSIF node ? 'member_of' OR node ? 'tier_of' THEN
        SELECT string_agg(CASE WHEN EXISTS (
                SELECT FROM customer_groups.members AS m JOIN customer_groups.groups AS g ON g.id = m.group_id
                WHERE m.customer_id = p.id AND CASE WHEN node ? 'member_of' THEN g.code = node ->> 'member_of'
                        ELSE g.upgrade_threshold IS NOT NULL AND coalesce(g.ladder, 'default') = node ->> 'tier_of' AND pg_temp.test(g.code, op, texts) END
                    AND today BETWEEN coalesce(m.valid_from, '-infinity') AND coalesce(m.valid_until, 'infinity')
                    AND today BETWEEN g.starts_on AND coalesce(g.ends_on, 'infinity')) THEN '1' ELSE '0' END, '' ORDER BY p.id) INTO result
        FROM person AS p;
    ELSIF node ? 'attribute' THEN
        SELECT string_agg(CASE WHEN jsonb_typeof(t.theirs) = jsonb_typeof(jsonb_path_query_first(node, '$.value[0]'))
            AND CASE WHEN numbers IS NULL THEN pg_temp.test(t.theirs #>> '{}', op, texts)
                ELSE pg_temp.test((t.theirs #>> '{}')::numeric, op, numbers) END THEN '1' ELSE '0' END, '' ORDER BY t.id) INTO result
        FROM (SELECT p.id, p.attributes -> (node ->> 'attribute') AS theirs FROM person AS p) AS t;
    ELSIF node ? 'birthday' THEN
        -- The days that are meant, each with the 29th of February where it stands for it.
        texts := ARRAY(SELECT DISTINCT unnest(CASE WHEN to_char(d, 'MM-DD') = '02-28' AND to_char(d + 1, 'MM-DD') = '03-01' THEN ARRAY['02-28', '02-29']
                ELSE ARRAY[to_char(d, 'MM-DD')] END)
            FROM generate_series(0, CASE node ->> 'birthday' WHEN 'next' THEN (node ->> 'days')::int ELSE 0 END) AS n, LATERAL (SELECT today + n AS d) AS x);
        SELECT string_agg(CASE WHEN CASE node ->> 'birthday' WHEN 'this_month' THEN to_char(p.birth_date, 'MM') = to_char(today, 'MM')
            WHEN 'month' THEN to_char(p.birth_date, 'MM')::int = (node ->> 'month')::int
            ELSE to_char(p.birth_date, 'MM-DD') = ANY (texts) END THEN '1' ELSE '0' END, '' ORDER BY p.id) INTO result
        FROM person AS p;
    ELSIF date_name IS NOT NULL THEN
        SELECT string_agg(CASE WHEN CASE WHEN node ? 'date' THEN pg_temp.test((t.theirs - date '2000-01-01')::numeric, op, numbers)
            WHEN node ? 'days_since' THEN pg_temp.test((today - t.theirs)::numeric, op, numbers)
            ELSE today - t.theirs BETWEEN 0 AND (node ->> 'days')::int END THEN '1' ELSE '0' END, '' ORDER BY t.id) INTO result
        FROM (SELECT p.id, CASE date_name WHEN 'registered' THEN p.registered WHEN 'first_visit' THEN p.first_visit ELSE p.last_visit END AS theirs
            FROM person AS p) AS t;
    ELSE
        SELECT repeat('1', count(*)::int) INTO result FROM person;
    END IF;
    RETURN result;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Rules
-- ---------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.customers_as_bits(customers bigint[]) RETURNS varbit
    LANGUAGE sql AS $$
    SELECT string_agg(CASE WHEN c.id IS NULL THEN '0' ELSE '1' END, '' ORDER BY p.id)::varbit
    FROM person AS p LEFT JOIN unnest(customers) AS c (id) ON c.id = p.id
$$;

CREATE TEMPORARY TABLE answers (rule customer_groups.segment_rule, at timestamptz, interpreted varbit, compiled varbit, reference varbit);

CREATE FUNCTION pg_temp.zone_tests(zone text, day date) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
DECLARE
    codes text[];
BEGIN
    UPDATE customer_groups.settings SET timezone = zone;
    UPDATE middle SET day = zone_tests.day;
    PERFORM pg_temp.some_shop(200, 1000);
    PERFORM pg_temp.read_shop();
    -- What other tests have rolled back is still in the tables' files.
    ANALYZE customer_groups.customers, customer_groups.customer_facts, customer_groups.sales, customer_groups.sale_lines, customer_groups.members,
        customer_groups.items, customer_groups.item_categories;
    codes := ARRAY(SELECT code FROM customer_groups.segments);
    TRUNCATE answers;
    INSERT INTO answers (rule, at) SELECT pg_temp.some_rule(n % 7, codes)::customer_groups.segment_rule, pg_temp.some_time() FROM generate_series(1, 340) AS n;
    UPDATE answers AS a SET
        interpreted = (SELECT string_agg(CASE WHEN customer_groups.matches(p.id, a.rule, a.at) THEN '1' ELSE '0' END, '' ORDER BY p.id)::varbit FROM person AS p),
        compiled = pg_temp.customers_as_bits(ARRAY(SELECT customer_groups.rule_customers(a.rule, a.at))),
        reference = pg_temp.holders(a.rule::jsonb, pg_temp.day_of(a.at));
    RETURN NEXT is_empty('SELECT length(rule::text), rule, at, interpreted # reference AS interpreted, compiled # reference AS compiled FROM answers
                          WHERE interpreted IS DISTINCT FROM reference OR compiled IS DISTINCT FROM reference OR length(reference) <> 200
                          ORDER BY 1 LIMIT 3', format('no difference in %s around %s', zone, day));
    RETURN NEXT ok((SELECT count(*) FILTER (WHERE bit_count(reference) BETWEEN 1 AND 199) > 120 AND avg(bit_count(reference)) BETWEEN 60 AND 140 FROM answers),
                   'many rules are fulfilled by some and not by others');

    -- All segments at once, and by two.
    RETURN NEXT is_empty('SELECT t.at, s.code FROM (SELECT at FROM answers LIMIT 10) AS t, customer_groups.segment_sizes(t.at) AS s
                          WHERE s.size <> bit_count(pg_temp.holders((SELECT g.rule::jsonb FROM customer_groups.segments AS g WHERE g.code = s.code), pg_temp.day_of(t.at)))
                            OR s.size <> customer_groups.segment_size(s.code, t.at)', 'segment_sizes and segment_size in ' || zone);
    RETURN NEXT is_empty('SELECT t.at, a.code, b.code FROM (SELECT at FROM answers LIMIT 3) AS t, customer_groups.segments AS a, customer_groups.segments AS b
                          WHERE customer_groups.segment_overlap(a.code, b.code, t.at)
                            <> bit_count(pg_temp.holders(a.rule::jsonb, pg_temp.day_of(t.at)) & pg_temp.holders(b.rule::jsonb, pg_temp.day_of(t.at)))',
                         'segment_overlap in ' || zone);
    RETURN NEXT is_empty('SELECT a.rule, a.at, s.code FROM (SELECT * FROM answers LIMIT 20) AS a, customer_groups.segments AS s
                          WHERE s.code = ''segment8''
                            AND pg_temp.customers_as_bits(ARRAY(SELECT customer_id FROM customer_groups.preview_change(s.code, ''visits > 1'', a.at)))
                                <> pg_temp.holders(s.rule::jsonb, pg_temp.day_of(a.at)) # pg_temp.holders(''{"metric": "visits", "op": ">", "value": 1}'', pg_temp.day_of(a.at))',
                         'preview_change in ' || zone);
END
$$;

-- St John's, until 2011, and Sao Paulo set their clocks back at or just after midnight, so that a day comes twice; Apia had no 30 December 2011.
SELECT pg_temp.zone_tests('UTC', '2024-02-28');
SELECT pg_temp.zone_tests('America/New_York', '2024-03-10');
SELECT pg_temp.zone_tests('America/St_Johns', '2010-11-07');
SELECT pg_temp.zone_tests('America/Sao_Paulo', '2018-02-18');
SELECT pg_temp.zone_tests('Pacific/Apia', '2011-12-30');
SELECT pg_temp.zone_tests('Asia/Seoul', '2023-12-31');

SELECT * FROM finish();
ROLLBACK;
