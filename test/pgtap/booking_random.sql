-- Several hundred random statements on sales, memberships and customers, some rolled back: facts and tiers are always
-- what a slow reference here says, and check_integrity() finds nothing.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
SELECT setseed(0.4711);

INSERT INTO customer_groups.settings (currency, timezone) VALUES ('EUR', 'Asia/Seoul');
INSERT INTO customer_groups.stores (id, code, name, currency) VALUES (1, 'berlin', 'Berlin', 'EUR'), (2, 'seoul', 'Seoul', 'KRW');
INSERT INTO customer_groups.ladders (code, name, measure) VALUES ('visits', 'Visits', 'visits');
-- Two tiers of one threshold, one that is over and one that has not begun.
INSERT INTO customer_groups.groups (id, code, name, ladder, upgrade_threshold, starts_on, ends_on) VALUES
    (1, 'bronze', 'Bronze', NULL, 100, '2020-01-01', NULL),
    (2, 'silver', 'Silver', NULL, 300, '2020-01-01', NULL),
    (3, 'silver too', 'Silver too', NULL, 300, '2020-01-01', NULL),
    (4, 'gold', 'Gold', NULL, 800, '2020-01-01', NULL),
    (5, 'past', 'Past', NULL, 200, '2020-01-01', '2020-12-31'),
    (6, 'future', 'Future', NULL, 400, '2999-01-01', NULL),
    (11, 'guest', 'Guest', 'visits', 1, '2020-01-01', NULL),
    (12, 'regular', 'Regular', 'visits', 4, '2020-01-01', NULL),
    (13, 'friend', 'Friend', 'visits', 8, '2020-01-01', NULL),
    (20, 'club', 'Club', NULL, NULL, '2020-01-01', NULL);
INSERT INTO customer_groups.customers (id, name, skip_auto_upgrade)
SELECT i, 'Customer ' || i, i % 10 = 0 FROM generate_series(1, 30) AS i;
INSERT INTO customer_groups.members (customer_id, group_id) SELECT i, 20 FROM generate_series(1, 30, 3) AS i;

----------------------------------------------------------------------------------------------------------------------
-- The reference
----------------------------------------------------------------------------------------------------------------------

CREATE TEMPORARY VIEW expected_facts AS
SELECT c.id AS customer_id,
    (SELECT count(*) FROM customer_groups.sales AS s WHERE s.customer_id = c.id AND s.kind = 'product') AS visits,
    (SELECT coalesce(sum(s.amount * coalesce(s.rate, 1)), 0) FROM customer_groups.sales AS s WHERE s.customer_id = c.id) AS net_sales,
    (SELECT count(*) FROM customer_groups.sales AS s WHERE s.customer_id = c.id AND s.kind = 'refund') AS refunds,
    (SELECT count(*) FROM customer_groups.sales AS s WHERE s.customer_id = c.id AND s.kind = 'prepaid') AS prepaid_purchases,
    (SELECT count(*) FROM customer_groups.sales AS s WHERE s.customer_id = c.id AND s.kind = 'pass') AS pass_purchases,
    (SELECT count(*) FROM customer_groups.sales AS s WHERE s.customer_id = c.id AND s.kind = 'no_show') AS no_shows,
    (SELECT min(s.sold_at) FROM customer_groups.sales AS s WHERE s.customer_id = c.id AND s.kind = 'product') AS first_visit_at,
    (SELECT max(s.sold_at) FROM customer_groups.sales AS s WHERE s.customer_id = c.id AND s.kind = 'product') AS last_visit_at,
    c.registered_at, c.birth_date, c.skip_auto_upgrade
FROM customer_groups.customers AS c;

-- The tier that each customer is expected to hold on each ladder, and whether its membership is valid today.
CREATE TEMPORARY TABLE expected_tiers (
    customer_id bigint, ladder text, group_id int, valid boolean, by_hand boolean, PRIMARY KEY (customer_id, ladder));

-- A booking of these customers: each goes to the highest tier it has earned, if that is higher than its present one.
CREATE FUNCTION pg_temp.expect_booking(customers bigint[]) RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO expected_tiers AS e (customer_id, ladder, group_id, valid, by_hand)
    SELECT f.customer_id, earned.ladder, earned.id, true, false
    FROM expected_facts AS f,
        LATERAL (
            SELECT DISTINCT ON (coalesce(g.ladder, 'default')) g.id, coalesce(g.ladder, 'default') AS ladder, g.upgrade_threshold
            FROM customer_groups.groups AS g
            WHERE (now() AT TIME ZONE 'Asia/Seoul')::date BETWEEN g.starts_on AND coalesce(g.ends_on, 'infinity')
                AND g.upgrade_threshold <= CASE WHEN g.ladder = 'visits' THEN f.visits ELSE f.net_sales END
            ORDER BY coalesce(g.ladder, 'default'), g.upgrade_threshold DESC, g.id) AS earned
    WHERE f.customer_id = ANY (customers) AND NOT f.skip_auto_upgrade
        AND NOT EXISTS (
            SELECT FROM expected_tiers AS h JOIN customer_groups.groups AS g ON g.id = h.group_id
            WHERE h.customer_id = f.customer_id AND h.ladder = earned.ladder AND h.valid
                AND (now() AT TIME ZONE 'Asia/Seoul')::date BETWEEN g.starts_on AND coalesce(g.ends_on, 'infinity')
                AND g.upgrade_threshold >= earned.upgrade_threshold)
    ON CONFLICT (customer_id, ladder) DO UPDATE SET group_id = excluded.group_id, valid = true, by_hand = false
$$;

----------------------------------------------------------------------------------------------------------------------
-- Random statements
----------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.below(n int) RETURNS int LANGUAGE sql VOLATILE RETURN floor(random() * n)::int;
CREATE FUNCTION pg_temp.pick(VARIADIC choices text[]) RETURNS text
    LANGUAGE sql VOLATILE RETURN choices[1 + pg_temp.below(cardinality(choices))];

-- A sale as a row of VALUES: customer_id, store_id, kind, amount, rate, sold_at, external_id.
CREATE FUNCTION pg_temp.random_sale(customers int DEFAULT 30) RETURNS text
    LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    store text := pg_temp.pick('NULL', '1', '2');
    kind text := pg_temp.pick('product', 'product', 'product', 'refund', 'prepaid', 'pass', 'no_show');
    amount numeric := round((random() * 100)::numeric, 2);
BEGIN
    RETURN format('(%s, %s, %L::customer_groups.sale_kind, %s, %s, %L::timestamptz, %s)',
        1 + pg_temp.below(customers), store || '::int', kind,
        CASE kind WHEN 'refund' THEN -amount WHEN 'no_show' THEN 0 ELSE amount * CASE store WHEN '2' THEN 1000 ELSE 1 END END,
        CASE store WHEN '2' THEN pg_temp.pick('0.0007', '0.00065') ELSE pg_temp.pick('NULL', 'NULL', '1') END || '::numeric',
        now() - pg_temp.below(500) * interval '1 day' - pg_temp.below(86400) * interval '1 second',
        CASE WHEN random() < 0.5 THEN 'NULL' ELSE quote_literal('till-' || pg_temp.below(12)) END || '::text');
END
$$;
CREATE FUNCTION pg_temp.random_sales() RETURNS text
    LANGUAGE sql VOLATILE AS $$
    SELECT string_agg(pg_temp.random_sale(), ', ') FROM generate_series(1, 1 + pg_temp.below(8))
$$;

CREATE FUNCTION pg_temp.random_statement() RETURNS text
    LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    columns constant text := '(customer_id, store_id, kind, amount, rate, sold_at, external_id)';
    customer int := 1 + pg_temp.below(30);
    which_rows text := pg_temp.pick('random() < 0.05', 'id % 17 = ' || pg_temp.below(17), 'customer_id = ' || customer,
        'customer_id IN (' || customer || ', ' || 1 + pg_temp.below(30) || ')',
        format('(customer_id, sold_at) IN (SELECT customer_id, %s(sold_at) FROM customer_groups.sales WHERE customer_id %% 7 = %s GROUP BY 1)',
            pg_temp.pick('min', 'max'), pg_temp.below(7)));
BEGIN
    CASE pg_temp.below(22)
        WHEN 0, 1, 2 THEN
            RETURN format('INSERT INTO customer_groups.sales %s VALUES %s', columns, pg_temp.random_sale());
        WHEN 3, 4 THEN
            RETURN format('INSERT INTO customer_groups.sales %s VALUES %s', columns, pg_temp.random_sales());
        WHEN 5 THEN
            RETURN format('INSERT INTO customer_groups.sales (customer_id, amount, sold_at)
                SELECT id, (id * %s) %% 70, now() - id * interval ''1 hour'' FROM customer_groups.customers WHERE id %% 5 = %s ORDER BY id DESC',
                1 + pg_temp.below(50), pg_temp.below(5));
        WHEN 6, 7 THEN
            RETURN format('INSERT INTO customer_groups.sales %s VALUES %s ON CONFLICT DO NOTHING', columns, pg_temp.random_sales());
        WHEN 8 THEN
            RETURN format('INSERT INTO customer_groups.sales %s SELECT DISTINCT ON (customer_id, external_id) * FROM (VALUES %s) AS v %s
                ON CONFLICT (customer_id, external_id) DO UPDATE SET (store_id, kind, amount, rate, sold_at)
                    = ROW (excluded.store_id, excluded.kind, excluded.amount, excluded.rate, excluded.sold_at) WHERE %s',
                columns, pg_temp.random_sales(), columns, pg_temp.pick('true', 'sales.amount < excluded.amount'));
        WHEN 9 THEN
            IF current_setting('server_version_num')::int < 150000 THEN
                RETURN 'DELETE FROM customer_groups.sales WHERE false';
            END IF;
            RETURN format('MERGE INTO customer_groups.sales AS s
                USING (SELECT DISTINCT ON (customer_id, external_id) * FROM (VALUES %s) AS v %s) AS v
                    ON s.customer_id = v.customer_id AND s.external_id = v.external_id
                WHEN MATCHED AND v.kind = ''no_show'' THEN DELETE
                WHEN MATCHED THEN UPDATE SET amount = s.amount / 2, sold_at = v.sold_at
                WHEN NOT MATCHED AND v.kind = ''pass'' THEN DO NOTHING
                WHEN NOT MATCHED THEN INSERT %s VALUES (v.customer_id, v.store_id, v.kind, v.amount, v.rate, v.sold_at, v.external_id)',
                pg_temp.random_sales(), columns, columns);
        WHEN 10 THEN
            RETURN format('UPDATE customer_groups.sales SET amount = round(amount * %s, 2) WHERE %s', pg_temp.pick('0', '0.5', '1', '1.7'), which_rows);
        WHEN 11 THEN
            RETURN format('UPDATE customer_groups.sales SET kind = %L, amount = abs(amount) WHERE %s', pg_temp.pick('product', 'prepaid', 'pass', 'no_show'), which_rows);
        WHEN 12 THEN
            RETURN format('UPDATE customer_groups.sales SET kind = ''refund'', amount = -abs(amount) WHERE %s', which_rows);
        WHEN 13 THEN
            RETURN format('UPDATE customer_groups.sales SET sold_at = sold_at %s interval ''1 day'' * (id %% 100) WHERE %s', pg_temp.pick('-', '+'), which_rows);
        WHEN 14 THEN
            RETURN format('UPDATE customer_groups.sales SET store_id = %s WHERE %s', pg_temp.pick('1, rate = NULL', 'NULL, rate = 1', '2, rate = 0.0008'), which_rows);
        WHEN 15 THEN
            RETURN format('UPDATE customer_groups.sales SET id = id + 100000 WHERE %s', which_rows);
        WHEN 16 THEN
            RETURN format('DELETE FROM customer_groups.sales WHERE %s', which_rows);
        WHEN 17 THEN
            RETURN format('WITH gone AS (DELETE FROM customer_groups.sales WHERE %s RETURNING *)
                INSERT INTO customer_groups.sales (customer_id, store_id, kind, amount, rate, sold_at)
                SELECT 31 - customer_id, store_id, kind, amount, rate, sold_at FROM gone WHERE customer_id BETWEEN 1 AND 30', which_rows);
        WHEN 18 THEN
            RETURN pg_temp.pick(
                format('UPDATE customer_groups.customers SET skip_auto_upgrade = NOT skip_auto_upgrade WHERE id = %s', customer),
                format('UPDATE customer_groups.customers SET birth_date = ''2000-02-29'', registered_at = registered_at - interval ''1 day'' WHERE id %% 4 = %s', customer % 4),
                'INSERT INTO customer_groups.customers (id) SELECT max(id) + 1 FROM customer_groups.customers',
                format('DELETE FROM customer_groups.customers WHERE id > 30 AND id %% 2 = %s', customer % 2));
        WHEN 19, 20 THEN -- a tier, or the club, by hand
            RETURN format('INSERT INTO customer_groups.members (customer_id, group_id, valid_until) VALUES (%s, %s, %s)
                ON CONFLICT (customer_id, group_id) DO UPDATE SET valid_until = excluded.valid_until',
                customer, pg_temp.pick('1', '2', '3', '4', '5', '6', '12', '13', '20'), pg_temp.pick('NULL', 'NULL', '''2001-01-01'''));
        ELSE
            RETURN format('DELETE FROM customer_groups.members WHERE customer_id = %s AND group_id %% 2 = %s', customer, pg_temp.below(2));
    END CASE;
END
$$;

CREATE TEMPORARY TABLE done (
    n int GENERATED ALWAYS AS IDENTITY, command text, outcome text); -- done, undone, or the SQLSTATE
CREATE TEMPORARY TABLE sales_before (customer_id bigint, id bigint, place tid);
CREATE TEMPORARY TABLE members_before (customer_id bigint, group_id int, place tid);

-- Runs a statement and follows it in the reference; undo: both are rolled back.
CREATE FUNCTION pg_temp.run(command text, undo boolean) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    outcome text := 'done';
BEGIN
    TRUNCATE sales_before, members_before;
    INSERT INTO sales_before SELECT customer_id, id, ctid FROM customer_groups.sales;
    INSERT INTO members_before SELECT customer_id, group_id, ctid FROM customer_groups.members;
    BEGIN
        EXECUTE command;
        IF command ~ '^(INSERT INTO|DELETE FROM) customer_groups.members' THEN
            DELETE FROM expected_tiers AS e USING customer_groups.groups AS g, members_before AS b
            WHERE g.id = b.group_id AND e.customer_id = b.customer_id AND e.ladder = coalesce(g.ladder, 'default') AND e.group_id = g.id
                AND NOT EXISTS (SELECT FROM customer_groups.members AS m WHERE m.customer_id = b.customer_id AND m.group_id = b.group_id)
                AND command ~ '^DELETE';
            -- A tier given by hand replaces the other one of its ladder; a new date on the present one leaves it.
            INSERT INTO expected_tiers (customer_id, ladder, group_id, valid, by_hand)
            SELECT m.customer_id, coalesce(g.ladder, 'default'), g.id, m.valid_until IS NULL, m.source = 'manual'
            FROM customer_groups.members AS m JOIN customer_groups.groups AS g ON g.id = m.group_id AND g.upgrade_threshold IS NOT NULL
            WHERE command ~ '^INSERT'
                AND NOT EXISTS (SELECT FROM members_before AS b WHERE b.customer_id = m.customer_id AND b.group_id = m.group_id AND b.place = m.ctid)
            ON CONFLICT (customer_id, ladder) DO UPDATE SET group_id = excluded.group_id, valid = excluded.valid, by_hand = excluded.by_hand;
        ELSIF command ~ '^DELETE FROM customer_groups.customers' THEN
            DELETE FROM expected_tiers AS e WHERE NOT EXISTS (SELECT FROM customer_groups.customers AS c WHERE c.id = e.customer_id);
        ELSE
            -- Rows that are new, gone or written anew, the latter wherever they were.
            PERFORM pg_temp.expect_booking(ARRAY(
                SELECT DISTINCT coalesce(b.customer_id, s.customer_id)
                FROM sales_before AS b FULL JOIN customer_groups.sales AS s
                    ON s.customer_id = b.customer_id AND s.id = b.id AND s.ctid = b.place
                WHERE b.id IS NULL OR s.id IS NULL));
        END IF;
        IF undo THEN
            RAISE SQLSTATE 'UNDO1';
        END IF;
    EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
        outcome := 'undone';
    WHEN integrity_constraint_violation THEN
        outcome := SQLSTATE;
    END;
    INSERT INTO done (command, outcome) VALUES (command, outcome);
END
$$;

-- Some statements, then three tests.
CREATE FUNCTION pg_temp.run_some(n int) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
DECLARE
    last int;
    count int;
BEGIN
    SELECT coalesce(max(d.n), 0) INTO count FROM done AS d;
    FOR i IN 1 .. n LOOP
        PERFORM pg_temp.run(pg_temp.random_statement(), random() < 0.2);
    END LOOP;
    SELECT max(d.n) INTO last FROM done AS d;
    RETURN NEXT is_empty('SELECT * FROM customer_groups.check_integrity()',
        format('statements %s to %s: nothing to find', count + 1, last));
    RETURN NEXT results_eq(
        'SELECT customer_id, visits, net_sales, refunds, prepaid_purchases, pass_purchases, no_shows, first_visit_at, last_visit_at,
             registered_at, birth_date, skip_auto_upgrade FROM customer_groups.customer_facts ORDER BY 1',
        'SELECT * FROM expected_facts ORDER BY 1', format('statements %s to %s: the facts', count + 1, last));
    RETURN NEXT results_eq(
        'SELECT m.customer_id, coalesce(g.ladder, ''default''), m.group_id, m.source <> ''tier'' FROM customer_groups.members AS m
         JOIN customer_groups.groups AS g ON g.id = m.group_id WHERE g.upgrade_threshold IS NOT NULL ORDER BY 1, 2',
        'SELECT customer_id, ladder, group_id, by_hand FROM expected_tiers ORDER BY 1, 2',
        format('statements %s to %s: the tiers', count + 1, last));
END
$$;

SELECT pg_temp.run_some(20) FROM generate_series(1, 30);

-- The same with savepoints, of which one is rolled back.
SAVEPOINT outer_one;
SELECT pg_temp.run_some(20);
SAVEPOINT inner_one;
DO $$ BEGIN FOR i IN 1 .. 20 LOOP PERFORM pg_temp.run(pg_temp.random_statement(), false); END LOOP; END $$;
ROLLBACK TO inner_one;
SELECT pg_temp.run_some(20);
RELEASE outer_one;
SELECT pg_temp.run_some(20);

SELECT cmp_ok((SELECT count(*) FROM done WHERE outcome = 'done'), '>=', 350::bigint, 'most statements were done');
SELECT cmp_ok((SELECT count(*) FROM done WHERE outcome = 'undone'), '>=', 50::bigint, 'some were rolled back');
SELECT cmp_ok((SELECT count(*) FROM customer_groups.sales), '>=', 100::bigint, 'there are sales');
SELECT cmp_ok((SELECT count(*) FROM expected_tiers WHERE by_hand), '>', 0::bigint, 'there are tiers by hand');
SELECT cmp_ok((SELECT count(DISTINCT group_id) FROM expected_tiers), '>=', 4::bigint, 'there are many tiers');
-- Which of them come up depends on what ids the sales get.
SELECT is_empty(
    'SELECT DISTINCT outcome FROM done WHERE outcome NOT IN (''done'', ''undone'', ''23503'', ''23505'')',
    'nothing was refused but repeated external ids and customers with sales deleted');

SELECT * FROM finish();
ROLLBACK;
