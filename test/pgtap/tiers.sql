-- Tiers case by case: thresholds of 0, equal and negative ones, deleted tiers, progress, the distribution, and whom a review moves.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

-- Fifteen hours ahead of UTC's last midnight and less than a day behind it: days are New York's.
INSERT INTO customer_groups.settings (timezone) VALUES ('America/New_York');
CREATE FUNCTION pg_temp.noon(day date) RETURNS timestamptz
    LANGUAGE sql STABLE RETURN (day + time '12:00') AT TIME ZONE 'America/New_York';
CREATE FUNCTION pg_temp.review(ladder text, at timestamptz DEFAULT now()) RETURNS text
    LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    expected text;
    done text;
    last bigint := (SELECT coalesce(max(id), 0) FROM customer_groups.events);
BEGIN
    SELECT string_agg(format('%s %s>%s', customer_id, from_tier, to_tier), ', ') INTO expected FROM customer_groups.review_tiers(ladder, true, at);
    IF EXISTS (SELECT FROM customer_groups.events WHERE id > last) THEN
        RETURN 'a dry run has written events';
    END IF;
    SELECT string_agg(format('%s %s>%s', customer_id, from_tier, to_tier), ', ') INTO done FROM customer_groups.review_tiers(ladder, false, at);
    IF done IS DISTINCT FROM expected THEN
        RETURN format('announced %s, done %s', expected, done);
    END IF;
    SELECT string_agg(format('%s %s>%s', customer_id, detail ->> 'from', detail ->> 'to'), ', ' ORDER BY customer_id) INTO expected
    FROM customer_groups.events WHERE id > last AND kind IN ('tier_upgraded', 'tier_downgraded') AND detail ->> 'ladder' = ladder;
    RETURN CASE WHEN done IS DISTINCT FROM expected THEN format('done %s, logged %s', done, expected) ELSE coalesce(done, 'nobody') END;
END
$$;
CREATE FUNCTION pg_temp.complaint(command text) RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;

----------------------------------------------------------------------------------------------------------------------
-- Thresholds
----------------------------------------------------------------------------------------------------------------------
INSERT INTO customer_groups.ladders (code, name) VALUES ('zero', 'Zero');
INSERT INTO customer_groups.groups (id, code, name, ladder, upgrade_threshold, starts_on) VALUES
    (10, 'guest', 'Guest', 'zero', 0, '2020-01-01'), (12, 'same', 'Same', 'zero', 50, '2020-01-01'), (11, 'fifty', 'Fifty', 'zero', 50, '2020-01-01'),
    (13, 'hundred', 'Hundred', 'zero', 100, '2020-01-01');
INSERT INTO customer_groups.customers (id) SELECT generate_series(1, 9);
SELECT is(pg_temp.complaint('UPDATE customer_groups.groups SET upgrade_threshold = -0.01 WHERE id = 10'), '23514', 'a negative threshold is refused');
SELECT is(pg_temp.complaint('INSERT INTO customer_groups.groups (code, name, upgrade_threshold) VALUES (''x'', ''X'', -1)'), '23514', 'in a new tier too');
SELECT is(pg_temp.review('zero'), 'nobody', 'who has no sale has no tier, not even of threshold 0');
SELECT is(customer_groups.tier_progress(1, 'zero')::text, '(,0,guest,0,0)', 'though nothing remains to it');
INSERT INTO customer_groups.sales (customer_id, id, kind, amount) VALUES
    (1, 101, 'no_show', 0), (2, 102, 'product', 49.99), (3, 103, 'product', 50), (4, 104, 'product', 99), (5, 105, 'product', 100), (6, 106, 'refund', -1);
SELECT results_eq('SELECT i, customer_groups.tier_of(i, ''zero'') FROM generate_series(1, 7) AS i',
    $$VALUES (1, 'guest'), (2, 'guest'), (3, 'fifty'), (4, 'fifty'), (5, 'hundred'), (6, NULL), (7, NULL)$$,
    'everybody from the first sale on, if less than nothing was not spent; of equal thresholds the lower id');
SELECT is(pg_temp.review('zero'), 'nobody', 'a review finds nothing to do');
DELETE FROM customer_groups.members WHERE customer_id = 1;
DELETE FROM customer_groups.sales WHERE customer_id = 1;
SELECT is(customer_groups.tier_of(1, 'zero'), NULL, 'the only sale deleted earns nothing');
INSERT INTO customer_groups.members (customer_id, group_id, source) VALUES (4, 12, 'manual');
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (4, 0);
SELECT is(customer_groups.tier_of(4, 'zero'), 'same', 'an equal threshold is not higher: the present tier stays');
SELECT is(customer_groups.tier_progress(4, 'zero')::text, '(same,99,hundred,100,1)', 'nor the next one');
SELECT is(customer_groups.tier_progress(2, 'zero')::text, '(guest,49.99,fifty,50,0.01)', 'the next one of equal thresholds is the lower id');
SELECT is(customer_groups.tier_progress(5, 'zero')::text, '(hundred,100,,,)', 'at the top');
SELECT is(customer_groups.tier_progress(6, 'zero')::text, '(,-1,guest,0,1)', 'below 0');
SELECT is(customer_groups.tier_progress(NULL, 'zero')::text, '(,,,,)', 'nobody');
SELECT is(customer_groups.tier_of(NULL, 'zero'), NULL, 'has no tier');
SELECT is(customer_groups.tier_of(1), NULL, 'the ladder default needs no tier');
SELECT is(customer_groups.tier_progress(1)::text, '(,,,,)', 'and then says nothing');

SELECT is(pg_temp.complaint(c.command), c.expected, c.command)
FROM (VALUES
    ('SELECT customer_groups.tier_of(99)', '02000'), ('SELECT customer_groups.tier_of(1, ''none'')', '02000'),
    ('SELECT customer_groups.tier_of(NULL, ''none'')', '02000'), ('SELECT customer_groups.tier_of(1, NULL)', '22004'),
    ('SELECT customer_groups.tier_progress(99)', '02000'), ('SELECT customer_groups.tier_progress(1, ''none'')', '02000'),
    ('SELECT customer_groups.tier_progress(1, NULL)', '22004'), ('SELECT customer_groups.tier_progress(1, ''zero'', NULL)', '22004'),
    ('SELECT customer_groups.tier_progress(1, ''zero'', ''infinity'')', '22023'),
    ('SELECT * FROM customer_groups.review_tiers(''none'')', '02000'), ('SELECT * FROM customer_groups.review_tiers(NULL)', '22004'),
    ('SELECT * FROM customer_groups.review_tiers(''zero'', NULL)', '22004'), ('SELECT * FROM customer_groups.review_tiers(''zero'', false, NULL)', '22004'),
    ('SELECT * FROM customer_groups.review_tiers(''zero'', true, ''-infinity'')', '22023'),
    ('SELECT * FROM customer_groups.review_tiers(''default'')', 'done')) AS c (command, expected);

-- A tier deleted: its members hold none until they are booked or reviewed, on a ladder that never lowers, too.
DELETE FROM customer_groups.groups WHERE code = 'fifty';
SELECT is(customer_groups.tier_of(3, 'zero'), NULL, 'a deleted tier leaves none');
SELECT is(pg_temp.review('zero'), '3 >same', 'until the next review');
SELECT customer_groups.delete_group('hundred');
INSERT INTO customer_groups.sales (customer_id, kind, amount) VALUES (5, 'refund', 0);
SELECT is(customer_groups.tier_of(5, 'zero'), 'same', 'or booking');

-- Thresholds edited: nothing moves at once, and down never on this ladder.
UPDATE customer_groups.groups SET upgrade_threshold = 60 WHERE code = 'same';
INSERT INTO customer_groups.groups (id, code, name, ladder, upgrade_threshold, starts_on) VALUES
    (14, 'forty', 'Forty', 'zero', 40, '2020-01-01'), (15, 'over', 'Over', 'zero', 45, '2020-01-01');
UPDATE customer_groups.groups SET ends_on = '2020-12-31' WHERE code = 'over';
SELECT results_eq('SELECT i, customer_groups.tier_of(i, ''zero'') FROM generate_series(2, 4) AS i', $$VALUES (2, 'guest'), (3, 'same'), (4, 'same')$$,
    'new thresholds move nobody');
SELECT is(customer_groups.tier_progress(2, 'zero')::text, '(guest,49.99,forty,40,0)', 'who has reached the next tier lacks nothing');
UPDATE customer_groups.customers SET skip_auto_upgrade = true WHERE id = 2;
SELECT is(pg_temp.review('zero'), 'nobody', 'a review moves nobody who is to be left alone');
UPDATE customer_groups.customers SET skip_auto_upgrade = false WHERE id = 2;
SELECT is(pg_temp.review('zero'), '2 guest>forty', 'and the others up, by tiers in effect');
SELECT is(pg_temp.review('zero', '2020-06-01 12:00-04'), '2 forty>over', 'on the day of the review');
SELECT is(customer_groups.tier_of(2, 'zero'), NULL, 'today that is none');
SELECT is(pg_temp.review('zero'), '2 >forty', 'as a review of today finds');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'everything is sound so far');

----------------------------------------------------------------------------------------------------------------------
-- Lowering and grace; the tiers are of the year, the customers' ids say what they are for
----------------------------------------------------------------------------------------------------------------------
DELETE FROM customer_groups.sales;
INSERT INTO customer_groups.ladders (code, name, period, downgrade, grace) VALUES
    ('year', 'Year', '1 year', 'at_review', '30 days'), ('never', 'Never', '1 year', 'never', '0'), ('life', 'Life', NULL, 'at_review', '0');
INSERT INTO customer_groups.groups (id, code, name, ladder, upgrade_threshold, starts_on) VALUES
    (21, 'silver', 'Silver', 'year', 100, '2020-01-01'), (22, 'gold', 'Gold', 'year', 500, '2020-01-01'),
    (23, 'once', 'Once', 'never', 100, '2020-01-01'), (24, 'all', 'All', 'life', 100, '2020-01-01');
INSERT INTO customer_groups.customers (id) SELECT generate_series(201, 212);
INSERT INTO customer_groups.sales (customer_id, id, amount, sold_at) VALUES
    (201, 2011, 600, pg_temp.noon('2023-03-10')),                                                -- gold in one sale
    (202, 2021, 450, pg_temp.noon('2023-03-10')), (202, 2022, 100, pg_temp.noon('2023-05-01')),  -- gold by both, silver by each
    (203, 2031, 600, pg_temp.noon('2023-03-10')), (204, 2041, 600, pg_temp.noon('2023-03-10')),
    (205, 2051, 600, pg_temp.noon('2023-03-10')), (206, 2061, 600, pg_temp.noon('2023-03-10'));
UPDATE customer_groups.customers SET skip_auto_upgrade = true WHERE id = 203;
UPDATE customer_groups.members SET source = 'manual' WHERE customer_id = 204 AND group_id = 22;
DELETE FROM customer_groups.sales WHERE customer_id = 205;
SELECT is(pg_temp.review('year', pg_temp.noon('2023-05-01')), 'nobody', 'what has just been earned stays, with a sale deleted too');
SELECT is(pg_temp.review('year', pg_temp.noon('2024-03-09')), 'nobody', 'the last day of the window');
SELECT is(pg_temp.review('year', pg_temp.noon('2024-03-10')), 'nobody', 'the first day of the grace');
SELECT is(pg_temp.review('year', '2024-04-08 23:59:59-04'), 'nobody', 'the end of the last one');
SELECT is(customer_groups.tier_progress(201, 'year', '2024-04-09 00:00-04')::text, '(gold,0,,,)', 'a tier that is not earned any more');
SELECT is(pg_temp.review('year', '2024-04-09 00:00-04'), '201 gold>, 202 gold>silver, 206 gold>',
    'the grace is over; not lowered are who skips, what was given by hand, and one without a day of its own, whose grace began at its addition');
SELECT results_eq($$SELECT detail ->> 'measure', detail ->> 'threshold', group_id FROM customer_groups.events
        WHERE kind = 'tier_downgraded' AND customer_id IN (201, 202) ORDER BY customer_id$$,
    $$VALUES ('0', '500', NULL::int), ('100', '500', 21)$$, 'the event tells what was reached of what');
SELECT is(pg_temp.review('year', '2024-05-29 23:59-04'), 'nobody', 'the grace of the lower tier');
SELECT is(pg_temp.review('year', '2024-05-31 00:00-04'), '202 silver>', 'begins with its own last day');
SELECT is(pg_temp.review('year', now() + interval '30 days' - interval '1 second'), 'nobody', 'the grace of an addition');
SELECT is(pg_temp.review('year', now() + interval '30 days'), '205 gold>', 'is over to the second');
SELECT is(pg_temp.review('never', now()), 'nobody', 'nobody is lowered on a ladder that does not lower');
SELECT is(pg_temp.review('never', pg_temp.noon('2023-06-01')), 'nobody', 'nor raised who is there');
UPDATE customer_groups.customers SET skip_auto_upgrade = false WHERE id = 203;
SELECT is(pg_temp.review('year'), '203 gold>', 'nor who skips no more, until the next review');

-- By hand; a higher one is upgraded from there.
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (207, 21), (208, 22);
INSERT INTO customer_groups.sales (customer_id, id, amount) VALUES (207, 2071, 500), (208, 2081, 200);
SELECT results_eq('SELECT customer_id, group_id, source FROM customer_groups.members WHERE customer_id IN (207, 208) AND group_id IN (21, 22) ORDER BY 1',
    $$VALUES (207::bigint, 22, 'tier'), (208, 22, 'manual')$$, 'what is given by hand is upgraded from, or stays');
SELECT is(pg_temp.review('year', now() + interval '3 years'), '207 gold>', 'and is not lowered');

-- The whole time: only refunds and deleted sales lower, and nothing before a review.
INSERT INTO customer_groups.sales (customer_id, id, amount, sold_at) VALUES
    (209, 2091, 100, pg_temp.noon('2023-03-10')), (210, 2101, 100, pg_temp.noon('2023-03-10')), (211, 2111, 150, pg_temp.noon('2023-03-10'));
INSERT INTO customer_groups.sales (customer_id, id, kind, amount) VALUES (209, 2092, 'refund', -0.01), (211, 2112, 'refund', -50);
DELETE FROM customer_groups.sales WHERE id = 2101;
SELECT is((SELECT count(*)::int FROM customer_groups.members WHERE group_id = 24 AND customer_id > 208), 3, 'a refund or a deleted sale lowers nothing');
SELECT is(pg_temp.review('life'), '205 all>, 209 all>, 210 all>', 'before a review');
INSERT INTO customer_groups.sales (customer_id, id, kind, amount, sold_at) VALUES (211, 2113, 'refund', -1, now() + interval '2 days');
UPDATE customer_groups.ladders SET grace = '7 days' WHERE code = 'life';
SELECT is(pg_temp.review('life', pg_temp.noon((now() AT TIME ZONE 'America/New_York')::date + 8)), 'nobody', 'the grace of a refund to come');
SELECT is(pg_temp.review('life', pg_temp.noon((now() AT TIME ZONE 'America/New_York')::date + 9)), '211 all>', 'begins with its day');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'everything is sound');

-- Raised and lowered thresholds.
INSERT INTO customer_groups.sales (customer_id, id, amount) VALUES (212, 2121, 300);
UPDATE customer_groups.ladders SET grace = '0' WHERE code = 'year';
SELECT FROM customer_groups.review_tiers('year');
UPDATE customer_groups.groups SET upgrade_threshold = 250 WHERE code = 'gold';
SELECT is(customer_groups.tier_of(212, 'year'), 'silver', 'a lower threshold moves nobody');
SELECT is(pg_temp.review('year'), '212 silver>gold', 'before a review');
UPDATE customer_groups.groups SET upgrade_threshold = 301 WHERE code = 'gold';
SELECT is(customer_groups.tier_of(212, 'year'), 'gold', 'nor does a higher one');
SAVEPOINT reviewed;
SELECT is(pg_temp.review('year'), '212 gold>silver', 'nor lower');
ROLLBACK TO reviewed;
SELECT is(customer_groups.tier_of(212, 'year'), 'gold', 'a review that is rolled back has moved nobody');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'nor left a trace');
SELECT is(pg_temp.review('year'), '212 gold>silver', 'and can be repeated');
UPDATE customer_groups.members SET valid_until = '2020-12-31' WHERE customer_id = 212 AND group_id = 21;
SELECT is(pg_temp.review('year'), '212 >silver', 'a membership that is not valid is renewed');

----------------------------------------------------------------------------------------------------------------------
-- The distribution, against a slow count
----------------------------------------------------------------------------------------------------------------------
SELECT set_eq('SELECT ladder, tier, customers, round(share, 6), net_sales FROM customer_groups.tier_distribution', $$
    WITH ladders AS (SELECT DISTINCT coalesce(ladder, 'default') AS ladder FROM customer_groups.groups WHERE upgrade_threshold IS NOT NULL),
    held AS (
        SELECT l.ladder, customer_groups.tier_of(c.id, l.ladder) AS tier, f.net_sales
        FROM ladders AS l CROSS JOIN customer_groups.customers AS c JOIN customer_groups.customer_facts AS f ON f.customer_id = c.id)
    SELECT ladder, tier, count(*), round(count(*) / (SELECT count(*)::numeric FROM customer_groups.customers), 6), sum(net_sales)
    FROM held GROUP BY ladder, tier
    UNION ALL
    SELECT coalesce(g.ladder, 'default'), g.code, 0, 0, 0 FROM customer_groups.groups AS g
    WHERE g.upgrade_threshold IS NOT NULL AND g.ends_on IS NULL
        AND NOT EXISTS (SELECT FROM held AS h WHERE h.ladder = coalesce(g.ladder, 'default') AND h.tier = g.code)$$,
    'each tier and none, of each ladder');
SELECT is((SELECT array_agg(sum ORDER BY ladder) FROM (SELECT ladder, sum(share) FROM customer_groups.tier_distribution GROUP BY 1) AS s),
    ARRAY[1, 1, 1, 1]::numeric[], 'the shares are of the whole');
SELECT is((SELECT string_agg(coalesce(tier, '-'), ' ') FROM customer_groups.tier_distribution WHERE ladder = 'year'), 'gold silver -', 'the highest first');

----------------------------------------------------------------------------------------------------------------------
-- Who reviews needs the right to call and to read, and writes as the owner
----------------------------------------------------------------------------------------------------------------------
SELECT customer_groups.grant_access('shop_view', 'view');
GRANT EXECUTE ON FUNCTION customer_groups.review_tiers TO shop_view;
UPDATE customer_groups.groups SET upgrade_threshold = 300 WHERE code = 'gold';
SET LOCAL ROLE shop_view;
SELECT is(pg_temp.complaint('UPDATE customer_groups.members SET valid_until = NULL'), '42501', 'a role that may not change members');
SELECT is(pg_temp.review('year'), '212 silver>gold', 'reviews them, when it may call');
SELECT is(current_user::text, 'shop_view', 'and is itself again');
RESET ROLE;
SELECT is((SELECT added_by FROM customer_groups.members WHERE customer_id = 212 AND group_id = 22), session_user::text, 'who did it is told');
CREATE POLICY first_hundred ON customer_groups.members TO shop_view USING (customer_id < 100);
ALTER TABLE customer_groups.members ENABLE ROW LEVEL SECURITY;
SET LOCAL ROLE shop_view;
SELECT is(pg_temp.complaint(c), '42501', 'not past a policy: ' || c)
FROM unnest(ARRAY['SELECT * FROM customer_groups.review_tiers(''year'')', 'SELECT * FROM customer_groups.review_tiers(''year'', true)',
    'SELECT customer_groups.tier_of(212)', 'SELECT * FROM customer_groups.tier_progress(212)']) AS c;
RESET ROLE;
ALTER TABLE customer_groups.members DISABLE ROW LEVEL SECURITY;
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'everything is still sound');

----------------------------------------------------------------------------------------------------------------------
-- A trigger of the shop's that sells to a new member: after the statement it comes to the tier that the sales bring, inside it is refused
----------------------------------------------------------------------------------------------------------------------
INSERT INTO customer_groups.ladders (code, name, measure) VALUES ('gifts', 'Gifts', 'net_sales');
INSERT INTO customer_groups.groups (id, code, name, ladder, upgrade_threshold) VALUES (901, 'low', 'Low', 'gifts', 5), (902, 'high', 'High', 'gifts', 1000);
INSERT INTO customer_groups.customers (id, name) VALUES (901, 'Sold to'), (902, 'Sold to later');
CREATE FUNCTION pg_temp.sell_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO customer_groups.sales (customer_id, amount) SELECT id, 2000 FROM customer_groups.customers WHERE id IN (901, 902) AND EXISTS (
        SELECT FROM customer_groups.members WHERE customer_id = customers.id AND group_id = 901) ORDER BY id;
    RETURN NULL;
END
$$;
CREATE TRIGGER sell_more AFTER INSERT ON customer_groups.members FOR EACH ROW WHEN (NEW.group_id = 901) EXECUTE FUNCTION pg_temp.sell_more();
SELECT is(pg_temp.complaint('INSERT INTO customer_groups.sales (customer_id, amount) VALUES (901, 10)'), '27000', 'a trigger for the row, by a sale');
SELECT is(pg_temp.complaint('SELECT customer_groups.add_member(901, ''low'')'), '27000', 'a trigger for the row, by hand');
SELECT is((SELECT count(*) FROM customer_groups.sales WHERE customer_id = 901), 0::bigint, 'nothing is done');
DROP TRIGGER sell_more ON customer_groups.members;
CREATE TRIGGER sell_more AFTER INSERT ON customer_groups.members FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.sell_more();
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (902, 10);
SELECT is(customer_groups.tier_of(902, 'gifts'), 'high', 'a trigger for the statement');
DROP TRIGGER sell_more ON customer_groups.members;
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'everything is still sound');

----------------------------------------------------------------------------------------------------------------------
-- window_end: the last day whose window has the day in it, by looking at each
----------------------------------------------------------------------------------------------------------------------
SELECT is_empty($$
    SELECT s::date, p, customer_groups.window_end(s::date, p)
    FROM generate_series(timestamp '2023-11-25', '2024-03-05', '1 day') AS s,
        unnest('{1 day,7 days,1 month,1 month 15 days,2 months -3 days,1 year,1 year 1 month 1 day,30 days 12:00}'::interval[]) AS p
    WHERE customer_groups.window_end(s::date, p) IS DISTINCT FROM
        (SELECT max(d)::date FROM generate_series(s, s + p + interval '10 days', '1 day') AS d WHERE (d - p)::date < s::date)$$,
    'window_end by all periods and days');

SELECT * FROM finish();
ROLLBACK;
