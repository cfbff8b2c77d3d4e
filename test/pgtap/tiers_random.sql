-- 5,000 customers on three ladders: random sales, refunds, back-dated ones, changes, skips, tiers by hand, edited tiers and
-- reviews; after each of these the tiers are those of a plain SQL replay of the history in the order in which it was booked.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
SELECT setseed(0.1848);

INSERT INTO customer_groups.settings (timezone) VALUES ('Europe/Berlin');
INSERT INTO customer_groups.ladders (code, name, measure, period, downgrade, grace) VALUES
    ('default', 'Spent', 'net_sales', NULL, 'at_review', '3 days'), ('year', 'Visits of a year', 'visits', '1 year', 'never', '0'),
    ('quarter', 'Spent in three months', 'net_sales', '3 months', 'at_review', '14 days');
INSERT INTO customer_groups.groups (id, code, name, ladder, upgrade_threshold, starts_on, ends_on) VALUES
    (1, 'bronze', 'Bronze', NULL, 100, '2000-01-01', NULL), (2, 'silver', 'Silver', NULL, 300, '2000-01-01', NULL),
    (4, 'gold', 'Gold', NULL, 600, '2000-01-01', NULL), (3, 'gold too', 'Gold too', NULL, 600, '2000-01-01', NULL),
    (5, 'past', 'Past', NULL, 200, '2000-01-01', '2000-12-31'),
    (11, 'guest', 'Guest', 'year', 0, '2000-01-01', NULL), (12, 'regular', 'Regular', 'year', 3, '2000-01-01', NULL),
    (13, 'friend', 'Friend', 'year', 6, '2000-01-01', NULL),
    (21, 'q1', 'Q1', 'quarter', 80, '2000-01-01', NULL), (22, 'q2', 'Q2', 'quarter', 150, '2000-01-01', NULL),
    (23, 'q3', 'Q3', 'quarter', 250, '2000-01-01', NULL);
INSERT INTO customer_groups.customers (id, skip_auto_upgrade) SELECT i, i % 20 = 0 FROM generate_series(1, 5000) AS i;

----------------------------------------------------------------------------------------------------------------------
-- The replay
----------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.day_of(at timestamptz) RETURNS date
    LANGUAGE sql STABLE RETURN (at AT TIME ZONE 'Europe/Berlin')::date;

CREATE TEMPORARY TABLE replayed (customer_id bigint, ladder text, group_id int, source text, PRIMARY KEY (customer_id, ladder));
CREATE TEMPORARY TABLE sales_before (customer_id bigint, id bigint, sold_at timestamptz, place tid);
CREATE TEMPORARY TABLE touched (customer_id bigint PRIMARY KEY, day date);
CREATE TEMPORARY TABLE moves (customer_id bigint, ladder text, from_id int, to_id int); -- of the engine

-- What each touched customer has on each ladder on its day: the measure, the highest tier it reaches, the one it holds.
CREATE TEMPORARY VIEW standings AS
SELECT m.customer_id, m.day, m.ladder, m.measure, e.id AS earned, coalesce(e.upgrade_threshold, -1) AS earned_threshold,
    r.group_id AS held, coalesce(h.upgrade_threshold, -1) AS held_threshold, r.source
FROM (SELECT t.customer_id, t.day, l.code AS ladder, count(s.id) AS sales,
          CASE l.measure WHEN 'visits' THEN count(*) FILTER (WHERE s.kind = 'product') ELSE coalesce(sum(s.amount), 0) END AS measure
      FROM touched AS t CROSS JOIN customer_groups.ladders AS l
      LEFT JOIN customer_groups.sales AS s ON s.customer_id = t.customer_id
          AND (l.period IS NULL OR (pg_temp.day_of(s.sold_at) > t.day - l.period AND pg_temp.day_of(s.sold_at) <= t.day))
      GROUP BY t.customer_id, t.day, l.code, l.measure) AS m
JOIN customer_groups.customers AS c ON c.id = m.customer_id AND NOT c.skip_auto_upgrade
LEFT JOIN LATERAL (
    SELECT * FROM customer_groups.groups AS g
    WHERE coalesce(g.ladder, 'default') = m.ladder AND g.upgrade_threshold <= m.measure AND g.ends_on IS NULL
        AND EXISTS (SELECT FROM customer_groups.sales AS s WHERE s.customer_id = m.customer_id)
    ORDER BY g.upgrade_threshold DESC, g.id LIMIT 1) AS e ON true
LEFT JOIN replayed AS r ON r.customer_id = m.customer_id AND r.ladder = m.ladder
LEFT JOIN customer_groups.groups AS h ON h.id = r.group_id;

CREATE FUNCTION pg_temp.apply_moves() RETURNS void
    LANGUAGE sql AS $$
    DELETE FROM replayed AS r USING moves AS m WHERE r.customer_id = m.customer_id AND r.ladder = m.ladder;
    INSERT INTO replayed SELECT customer_id, ladder, to_id, 'tier' FROM moves WHERE to_id IS NOT NULL;
$$;
CREATE FUNCTION pg_temp.replay_booking() RETURNS void
    LANGUAGE sql AS $$
    TRUNCATE touched, moves;
    INSERT INTO touched
    SELECT customer_id, pg_temp.day_of(max(greatest(b.sold_at, s.sold_at)))
    FROM sales_before AS b FULL JOIN (SELECT customer_id, id, sold_at, ctid AS place FROM customer_groups.sales) AS s USING (customer_id, id)
    WHERE b.place IS DISTINCT FROM s.place
    GROUP BY customer_id;
    INSERT INTO moves SELECT customer_id, ladder, held, earned FROM standings WHERE earned_threshold > held_threshold;
    SELECT pg_temp.apply_moves();
$$;
-- The grace is over: the last day on which the threshold was reached is looked for day by day, backwards.
CREATE TEMPORARY TABLE sold (customer_id bigint, day date, spent numeric, visits bigint, PRIMARY KEY (customer_id, day));
CREATE FUNCTION pg_temp.is_over(customer bigint, of_ladder text, threshold numeric, at timestamptz) RETURNS boolean
    LANGUAGE sql STABLE AS $$
    SELECT (at AT TIME ZONE 'Europe/Berlin') >= l.grace + coalesce(
        (SELECT d + interval '1 day'
         FROM generate_series(pg_temp.day_of(at)::timestamp, (SELECT min(s.day) FROM sold AS s WHERE s.customer_id = customer)::timestamp, '-1 day') AS d
         WHERE threshold <= (
             SELECT coalesce(sum(CASE l.measure WHEN 'net_sales' THEN s.spent ELSE s.visits END), 0)
             FROM sold AS s WHERE s.customer_id = customer AND s.day <= d AND (l.period IS NULL OR s.day > d - l.period))
         LIMIT 1),
        now() AT TIME ZONE 'Europe/Berlin')
    FROM customer_groups.ladders AS l WHERE l.code = of_ladder
$$;
CREATE FUNCTION pg_temp.replay_review(of_ladder text, at timestamptz) RETURNS void
    LANGUAGE sql AS $$
    TRUNCATE touched, moves, sold;
    INSERT INTO sold
    SELECT customer_id, pg_temp.day_of(sold_at), sum(amount), count(*) FILTER (WHERE kind = 'product') FROM customer_groups.sales GROUP BY 1, 2;
    INSERT INTO touched SELECT id, pg_temp.day_of(at) FROM customer_groups.customers;
    INSERT INTO moves
    SELECT customer_id, ladder, held, earned
    FROM standings AS s JOIN customer_groups.ladders AS l ON l.code = s.ladder
    WHERE s.ladder = of_ladder AND CASE
        WHEN earned_threshold > held_threshold THEN true
        WHEN earned_threshold < held_threshold AND l.downgrade = 'at_review' AND source = 'tier'
        THEN pg_temp.is_over(customer_id, ladder, held_threshold, at) END;
    SELECT pg_temp.apply_moves();
$$;

----------------------------------------------------------------------------------------------------------------------
-- The history
----------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.differences() RETURNS TABLE (customer_id bigint, ladder text, replayed int, held int)
    LANGUAGE sql AS $$
    SELECT coalesce(r.customer_id, m.customer_id), coalesce(r.ladder, m.ladder), r.group_id, m.group_id
    FROM replayed AS r
    FULL JOIN (SELECT m.customer_id, coalesce(g.ladder, 'default') AS ladder, m.group_id, m.source
               FROM customer_groups.members AS m JOIN customer_groups.groups AS g ON g.id = m.group_id AND g.upgrade_threshold IS NOT NULL) AS m
        ON m.customer_id = r.customer_id AND m.ladder = r.ladder
    WHERE (m.group_id, m.source) IS DISTINCT FROM (r.group_id, r.source)
$$;
-- Runs a statement, follows it in the replay and compares tiers and events.
CREATE FUNCTION pg_temp.step(name text, command text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
DECLARE
    last bigint := (SELECT coalesce(max(id), 0) FROM customer_groups.events);
BEGIN
    TRUNCATE sales_before;
    INSERT INTO sales_before SELECT customer_id, id, sold_at, ctid FROM customer_groups.sales;
    EXECUTE command;
    PERFORM pg_temp.replay_booking();
    RETURN NEXT is_empty('SELECT * FROM pg_temp.differences()', name || ': the tiers');
    RETURN NEXT set_eq(
        format($q$SELECT e.customer_id, e.detail ->> 'ladder' AS ladder, e.detail ->> 'from' AS from_code, e.detail ->> 'to' AS to_code FROM customer_groups.events AS e
            WHERE e.id > %s AND e.kind = 'tier_upgraded'$q$, last),
        $q$SELECT m.customer_id, m.ladder, f.code AS from_code, t.code AS to_code FROM moves AS m
            LEFT JOIN customer_groups.groups AS f ON f.id = m.from_id LEFT JOIN customer_groups.groups AS t ON t.id = m.to_id$q$,
        name || ': an event for each upgrade');
END
$$;
CREATE FUNCTION pg_temp.review(ladder text, days int) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := now() + days * interval '1 day';
    last bigint := (SELECT max(id) FROM customer_groups.events);
    name text := format('%s reviewed %s days from now', ladder, days);
BEGIN
    CREATE TEMPORARY TABLE announced AS SELECT * FROM customer_groups.review_tiers(ladder, true, at);
    RETURN NEXT is((SELECT max(id) FROM customer_groups.events), last, name || ': a dry run writes no event');
    RETURN NEXT is_empty('SELECT * FROM pg_temp.differences()', name || ': and moves nobody');
    CREATE TEMPORARY TABLE done AS SELECT * FROM customer_groups.review_tiers(ladder, false, at);
    RETURN NEXT results_eq('SELECT * FROM announced', 'SELECT * FROM done', name || ': but announces the same');
    PERFORM pg_temp.replay_review(ladder, at);
    RETURN NEXT is_empty('SELECT * FROM pg_temp.differences()', name || ': the tiers');
    RETURN NEXT results_eq('SELECT * FROM done',
        $q$SELECT m.customer_id, f.code, t.code FROM moves AS m
            LEFT JOIN customer_groups.groups AS f ON f.id = m.from_id LEFT JOIN customer_groups.groups AS t ON t.id = m.to_id
            ORDER BY m.customer_id$q$, name || ': and who moved');
    RETURN NEXT results_eq('SELECT * FROM done',
        format($q$SELECT e.customer_id, e.detail ->> 'from', e.detail ->> 'to' FROM customer_groups.events AS e
            WHERE e.id > %s AND e.kind IN ('tier_upgraded', 'tier_downgraded') ORDER BY e.customer_id$q$, last), name || ': one event each');
    DROP TABLE announced, done;
END
$$;
-- A statement that inserts n sales of the last so many days, the newest first.
CREATE FUNCTION pg_temp.sales(n int, days int) RETURNS text
    LANGUAGE sql VOLATILE AS $$
    SELECT format($q$INSERT INTO customer_groups.sales (customer_id, kind, amount, sold_at)
        SELECT customer_id, kind, CASE kind WHEN 'refund' THEN -amount WHEN 'no_show' THEN 0 ELSE amount END, now() - age * interval '1 day'
        FROM (SELECT 1 + floor(random() ^ 1.5 * 5000)::int AS customer_id, round((random() * 60)::numeric, 2) AS amount, random() * %s AS age,
                  ('{product,product,product,product,prepaid,pass,no_show,refund}'::customer_groups.sale_kind[])[1 + floor(random() * 8)::int] AS kind
              FROM generate_series(1, %s)) AS s ORDER BY age$q$, days, n)
$$;

SELECT pg_temp.step('the first sales', pg_temp.sales(8000, 240));
SELECT pg_temp.step('sales of a week', pg_temp.sales(3000, 7));
SELECT pg_temp.review('default', 0);
SELECT pg_temp.review('quarter', 0);
SELECT pg_temp.step('skips', 'UPDATE customer_groups.customers SET skip_auto_upgrade = NOT skip_auto_upgrade WHERE id % 10 = 0');
SELECT pg_temp.step('back-dated sales', pg_temp.sales(3000, 400));
SELECT pg_temp.review('year', 0);
SELECT pg_temp.step('refunds', 'INSERT INTO customer_groups.sales (customer_id, kind, amount, sold_at)
    SELECT customer_id, ''refund'', -amount, sold_at + interval ''3 days'' FROM customer_groups.sales WHERE kind = ''product'' AND random() < 0.1');
SELECT pg_temp.review('default', 2);
SELECT pg_temp.review('quarter', 20);
SELECT pg_temp.step('moved sales', 'UPDATE customer_groups.sales SET sold_at = sold_at - interval ''1 day'' * (id % 60), amount = amount * 1.2 WHERE random() < 0.2');
SELECT pg_temp.step('deleted sales', 'DELETE FROM customer_groups.sales WHERE random() < 0.15');
SELECT pg_temp.review('default', 4);

-- By hand: the replay takes them as they are.
INSERT INTO customer_groups.members (customer_id, group_id)
SELECT id, (ARRAY[1, 2, 4, 12, 13, 21, 23])[1 + id % 7] FROM customer_groups.customers WHERE id % 13 = 0
ON CONFLICT (customer_id, group_id) DO UPDATE SET source = 'manual';
INSERT INTO replayed AS r
SELECT m.customer_id, coalesce(g.ladder, 'default'), g.id, 'manual'
FROM customer_groups.members AS m JOIN customer_groups.groups AS g ON g.id = m.group_id WHERE m.source = 'manual'
ON CONFLICT (customer_id, ladder) DO UPDATE SET group_id = excluded.group_id, source = 'manual';
SELECT pg_temp.step('sales on tiers by hand', pg_temp.sales(3000, 100));
SELECT pg_temp.review('quarter', 70);

-- Edited tiers: nothing moves at once.
UPDATE customer_groups.groups SET upgrade_threshold = CASE id WHEN 2 THEN 250 WHEN 12 THEN 2 WHEN 22 THEN 200 END WHERE id IN (2, 12, 22);
DELETE FROM customer_groups.groups WHERE id IN (4, 13);
DELETE FROM replayed WHERE group_id IN (4, 13);
SELECT is_empty('SELECT * FROM pg_temp.differences()', 'edited tiers move nobody');
SELECT pg_temp.review('default', 10);
SELECT pg_temp.step('sales on edited tiers', pg_temp.sales(3000, 60));
SELECT pg_temp.review('year', 30);
SELECT pg_temp.review('quarter', 100);
SELECT pg_temp.review('quarter', -200);

SELECT ok(count(*) FILTER (WHERE kind = 'tier_upgraded') > 5000 AND count(*) FILTER (WHERE kind = 'tier_downgraded') > 1000, 'many moves, up and down')
FROM customer_groups.events;
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'everything is sound');

SELECT * FROM finish();
ROLLBACK;
