-- Booking, exactly: what counts as what, the days of a ladder with a period, the repair of facts, and who may book.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE FUNCTION pg_temp.tier(customer bigint, ladder_code text DEFAULT 'default') RETURNS text
    LANGUAGE sql AS $$
    SELECT g.code FROM customer_groups.members AS m JOIN customer_groups.groups AS g ON g.id = m.group_id
    WHERE m.customer_id = customer AND g.upgrade_threshold IS NOT NULL AND coalesce(g.ladder, 'default') = ladder_code
$$;
CREATE FUNCTION pg_temp.facts(customer bigint) RETURNS text
    LANGUAGE sql AS $$
    SELECT format('visits %s, sales %s, refunds %s, prepaid %s, passes %s, no-shows %s, from %s to %s', visits, trim_scale(net_sales), refunds,
        prepaid_purchases, pass_purchases, no_shows, first_visit_at AT TIME ZONE 'UTC', last_visit_at AT TIME ZONE 'UTC')
    FROM customer_groups.customer_facts WHERE customer_id = customer
$$;

INSERT INTO customer_groups.settings (currency, timezone) VALUES ('USD', 'America/New_York');
INSERT INTO customer_groups.stores (id, code, name, currency, timezone)
VALUES (1, 'tokyo', 'Tokyo', 'JPY', 'Asia/Tokyo'), (2, 'york', 'New York', 'USD', 'America/New_York');

----------------------------------------------------------------------------------------------------------------------
-- What counts as what
----------------------------------------------------------------------------------------------------------------------
INSERT INTO customer_groups.customers (id) VALUES (1);
SELECT is(pg_temp.facts(1), 'visits 0, sales 0, refunds 0, prepaid 0, passes 0, no-shows 0, from  to ', 'a new customer has facts');
INSERT INTO customer_groups.sales (customer_id, id, kind, amount, sold_at) VALUES (1, 1001, 'prepaid', 100, '2026-01-01 00:00Z');
SELECT is(pg_temp.facts(1), 'visits 0, sales 100, refunds 0, prepaid 1, passes 0, no-shows 0, from  to ', 'a prepaid sale is no visit');
INSERT INTO customer_groups.sales (customer_id, id, kind, amount, sold_at)
VALUES (1, 1002, 'product', 0, '2026-01-02 00:00Z'), (1, 1003, 'product', 20.5, '2026-01-01 12:00Z'), (1, 1004, 'pass', 30, '2026-01-09 00:00Z'),
    (1, 1005, 'no_show', 5, '2025-01-01 00:00Z'), (1, 1006, 'refund', -10.25, '2026-02-01 00:00Z');
SELECT is(pg_temp.facts(1), 'visits 2, sales 145.25, refunds 1, prepaid 1, passes 1, no-shows 1, from 2026-01-01 12:00:00 to 2026-01-02 00:00:00',
    'products are visits, whatever they cost, in whatever order they come');
INSERT INTO customer_groups.sales (customer_id, id, store_id, amount, rate, sold_at)
VALUES (1, 1007, 1, 1000, 0.0067, '2026-01-03 00:00Z'), (1, 1008, 2, 1, 1, '2025-12-03 00:00Z');
SELECT is(pg_temp.facts(1), 'visits 4, sales 152.95, refunds 1, prepaid 1, passes 1, no-shows 1, from 2025-12-03 00:00:00 to 2026-01-03 00:00:00',
    'sums are in the settings'' currency');
UPDATE customer_groups.sales SET rate = 0.01 WHERE id = 1007;
UPDATE customer_groups.sales SET kind = 'prepaid' WHERE id = 1008;
SELECT is(pg_temp.facts(1), 'visits 3, sales 156.25, refunds 1, prepaid 2, passes 1, no-shows 1, from 2026-01-01 12:00:00 to 2026-01-03 00:00:00',
    'a changed rate and kind');
DELETE FROM customer_groups.sales WHERE id IN (1003, 1007);
SELECT is(pg_temp.facts(1), 'visits 1, sales 125.75, refunds 1, prepaid 2, passes 1, no-shows 1, from 2026-01-02 00:00:00 to 2026-01-02 00:00:00',
    'the first and the last visit deleted');
DELETE FROM customer_groups.sales WHERE customer_id = 1;
SELECT is(pg_temp.facts(1), 'visits 0, sales 0, refunds 0, prepaid 0, passes 0, no-shows 0, from  to ', 'all deleted');

----------------------------------------------------------------------------------------------------------------------
-- A ladder with a period: the days d with D - period < d <= D in the settings' time zone, where D is the day of the
-- latest row that the statement touched
----------------------------------------------------------------------------------------------------------------------
INSERT INTO customer_groups.ladders (code, name, measure, period)
VALUES ('month', '30 days', 'visits', '30 days'), ('calendar', 'One month', 'visits', '1 month'), ('spent', 'Spent in a week', 'net_sales', '7 days');
INSERT INTO customer_groups.groups (id, code, name, ladder, upgrade_threshold, starts_on) VALUES
    (1, 'm2', 'Two visits in 30 days', 'month', 2, '2020-01-01'), (2, 'm3', 'Three visits in 30 days', 'month', 3, '2020-01-01'),
    (3, 'c2', 'Two visits in a month', 'calendar', 2, '2020-01-01'), (4, 's100', '100 in a week', 'spent', 100, '2020-01-01');

-- What happens, by day and time in New York: each line is a customer who had the first visit, then the second.
CREATE TEMPORARY TABLE visits (id bigint, ladder text, first timestamp, second timestamp, tier text, why text);
INSERT INTO visits VALUES
    (101, 'month', '2026-03-02 00:00', '2026-03-31 12:00', 'm2', 'the first moment of the first day'),
    (102, 'month', '2026-03-01 23:59:59.999999', '2026-03-31 00:00', NULL, 'the last moment of the day before it'),
    (103, 'month', '2026-03-02 00:00', '2026-03-31 23:59:59.999999', 'm2', 'the whole last day'),
    (104, 'month', '2026-03-02 12:00', '2026-04-01 00:00', NULL, 'the next day'),
    (105, 'month', '2026-03-31 12:00', '2026-03-02 00:00', NULL, 'a back-dated sale counts up to its own day'),
    (106, 'month', '2026-03-31 23:59', '2026-03-31 00:00', 'm2', 'what is later on that day counts'),
    (107, 'month', '2026-04-01 00:00', '2026-03-31 23:59', NULL, 'what is on the day after it does not'),
    (108, 'month', '2026-02-06 23:59', '2026-03-08 23:30', NULL, 'a day of 23 hours, in winter time'),
    (109, 'month', '2026-02-07 00:00', '2026-03-08 23:30', 'm2', 'a day of 23 hours, in summer time'),
    (110, 'month', '2026-10-03 00:00', '2026-11-01 23:59:59', 'm2', 'a day of 25 hours'),
    (111, 'month', '2026-11-02 00:00', '2026-11-01 23:59:59', NULL, 'the day after one of 25 hours'),
    (112, 'calendar', '2026-03-01 00:00', '2026-03-31 12:00', 'c2', 'a month before 31 March is 28 February'),
    (113, 'calendar', '2026-02-28 23:59', '2026-03-31 12:00', NULL, 'which is not in it'),
    (114, 'calendar', '2026-01-16 00:00', '2026-02-15 12:00', 'c2', 'a month before 15 February is 15 January'),
    (115, 'calendar', '2026-01-15 23:59', '2026-02-15 12:00', NULL, 'which is not in it'),
    (116, 'calendar', '2024-02-01 00:00', '2024-02-29 12:00', 'c2', 'a month before 29 February is 29 January');
INSERT INTO customer_groups.customers (id) SELECT id FROM visits;
INSERT INTO customer_groups.sales (customer_id, amount, sold_at) SELECT id, 1, first AT TIME ZONE 'America/New_York' FROM visits;
SELECT is(pg_temp.tier(id, ladder), NULL, why || ': not yet') FROM visits ORDER BY id;
INSERT INTO customer_groups.sales (customer_id, amount, sold_at) SELECT id, 1, second AT TIME ZONE 'America/New_York' FROM visits;
SELECT is(pg_temp.tier(id, ladder), tier, why) FROM visits ORDER BY id;

-- Both sales in one statement: the day is that of the later one, for each customer its own.
INSERT INTO customer_groups.customers (id) SELECT id + 100 FROM visits;
INSERT INTO customer_groups.sales (customer_id, amount, sold_at)
SELECT id + 100, 1, t AT TIME ZONE 'America/New_York' FROM visits, unnest(ARRAY[second, first]) AS t ORDER BY t;
SELECT is(pg_temp.tier(id + 100, ladder),
    CASE WHEN id IN (105, 107, 111) THEN 'm2' ELSE tier END, why || ': in one statement') FROM visits ORDER BY id;

-- UPDATE and DELETE judge by the latest of the old and new rows.
INSERT INTO customer_groups.customers (id) SELECT generate_series(301, 306);
INSERT INTO customer_groups.sales (customer_id, id, amount, sold_at) VALUES
    (301, 3011, 1, '2026-06-01 12:00Z'), (301, 3012, 1, '2026-01-10 12:00Z'),
    (302, 3021, 1, '2026-06-01 12:00Z'), (302, 3022, 1, '2026-01-10 12:00Z');
UPDATE customer_groups.sales SET sold_at = '2026-01-11 12:00Z' WHERE id = 3011;
SELECT is(pg_temp.tier(301, 'month'), NULL, 'a sale moved back: the day is where it came from');
UPDATE customer_groups.sales SET amount = amount WHERE id = 3011;
SELECT is(pg_temp.tier(301, 'month'), 'm2', 'touched again, it is judged where it is');
UPDATE customer_groups.sales SET sold_at = '2026-06-05 12:00Z' WHERE id = 3022;
SELECT is(pg_temp.tier(302, 'month'), 'm2', 'a sale moved forward: the day is where it came to');
INSERT INTO customer_groups.sales (customer_id, id, kind, amount, sold_at) VALUES
    (303, 3031, 'product', 100, '2026-06-01 12:00Z'), (304, 3041, 'product', 100, '2026-06-01 12:00Z');
SELECT is(pg_temp.tier(303, 'spent'), 's100', 'the threshold itself is enough');
DELETE FROM customer_groups.members WHERE customer_id IN (303, 304);
INSERT INTO customer_groups.sales (customer_id, id, kind, amount, sold_at) VALUES
    (303, 3032, 'refund', -1, '2026-06-07 12:00Z'), (304, 3042, 'refund', -1, '2026-06-08 12:00Z');
SELECT is(pg_temp.tier(303, 'spent'), NULL, 'a refund within the week counts against it');
DELETE FROM customer_groups.sales WHERE id IN (3032, 3042);
SELECT is(pg_temp.tier(303, 'spent'), 's100', 'a refund deleted: its day is judged');
SELECT is(pg_temp.tier(304, 'spent'), NULL, 'and nothing but its week');
INSERT INTO customer_groups.sales (customer_id, amount, sold_at)
VALUES (305, 1, '2026-01-01 12:00Z'), (305, 1, '2026-01-02 12:00Z'), (305, 1, '2026-07-01 12:00Z');
SELECT is(pg_temp.tier(305, 'month'), NULL, 'only the window of the latest day is looked at');
INSERT INTO customer_groups.sales (customer_id, amount, sold_at) VALUES (305, 1, '2026-01-02 13:00Z');
SELECT is(pg_temp.tier(305, 'month'), 'm3', 'a sale of that time then finds all of them');
INSERT INTO customer_groups.sales (customer_id, amount, sold_at) VALUES (305, 1, '2027-01-02 13:00Z');
SELECT is(pg_temp.tier(305, 'month'), 'm3', 'a tier is not lowered when the period is over');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'everything is sound so far');

----------------------------------------------------------------------------------------------------------------------
-- Tiers
----------------------------------------------------------------------------------------------------------------------
INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold, starts_on, ends_on) VALUES
    (11, 'bronze', 'Bronze', 10, '2020-01-01', NULL), (12, 'silver', 'Silver', 20, '2020-01-01', NULL),
    (13, 'gold', 'Gold', 30, '2020-01-01', NULL), (14, 'free', 'Free', 0, '2020-01-01', '2020-12-31');
INSERT INTO customer_groups.customers (id, skip_auto_upgrade) VALUES (401, false), (402, true), (403, false), (404, false), (405, false);
INSERT INTO customer_groups.sales (customer_id, amount) SELECT generate_series(401, 405), 25;
SELECT is(pg_temp.tier(401), 'silver', 'the highest tier that is reached, at once');
SELECT is(pg_temp.tier(402), NULL, 'not for who is left out');
UPDATE customer_groups.customers SET skip_auto_upgrade = false WHERE id = 402;
SELECT is(pg_temp.tier(402), NULL, 'nor at once when that ends');
INSERT INTO customer_groups.sales (customer_id, kind, amount) VALUES (402, 'refund', 0);
SELECT is(pg_temp.tier(402), 'silver', 'but with the next booking');
INSERT INTO customer_groups.sales (customer_id, kind, amount) VALUES (401, 'refund', -20);
SELECT is(pg_temp.tier(401), 'silver', 'a refund lowers nothing');
DELETE FROM customer_groups.sales WHERE customer_id = 401;
SELECT is(pg_temp.tier(401), 'silver', 'nor do deleted sales');
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (403, 13);
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (403, 1);
SELECT results_eq('SELECT group_id, source FROM customer_groups.members WHERE customer_id = 403 AND group_id > 10', 'VALUES (13, ''manual'')',
    'a higher tier given by hand stays');
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (404, 11);
SELECT is(pg_temp.tier(404), 'bronze', 'a lower one replaces the earned one');
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (404, 0);
SELECT results_eq('SELECT group_id, source FROM customer_groups.members WHERE customer_id = 404 AND group_id > 10', 'VALUES (12, ''tier'')',
    'until the next booking');
UPDATE customer_groups.members SET valid_until = '2020-12-31' WHERE customer_id = 405;
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (405, 0);
SELECT results_eq('SELECT group_id, valid_until FROM customer_groups.members WHERE customer_id = 405 AND group_id > 10', 'VALUES (12, NULL::date)',
    'a membership that is over is renewed');
UPDATE customer_groups.groups SET ends_on = '2020-12-31' WHERE id = 12;
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (405, 0);
SELECT is(pg_temp.tier(405), 'bronze', 'a tier that is over counts as none');
SELECT results_eq(
    $$SELECT customer_id, kind, detail ->> 'from', detail ->> 'to', (detail ->> 'measure')::numeric, (detail ->> 'threshold')::numeric
        FROM customer_groups.events WHERE customer_id IN (404, 405) AND kind LIKE 'tier%' AND detail ->> 'ladder' = 'default' ORDER BY customer_id, id$$,
    $$VALUES (404::bigint, 'tier_upgraded', NULL, 'silver', 25::numeric, 20::numeric), (404, 'tier_changed', 'silver', 'bronze', NULL, NULL),
        (404, 'tier_upgraded', 'bronze', 'silver', 25, 20),
        (405, 'tier_upgraded', NULL, 'silver', 25, 20), (405, 'tier_upgraded', NULL, 'silver', 25, 20), (405, 'tier_upgraded', NULL, 'bronze', 25, 10)$$,
    'each move is an event, with what was reached; a tier that counts as none is none');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'everything is sound so far');

----------------------------------------------------------------------------------------------------------------------
-- Facts that were spoilt are found and repaired
----------------------------------------------------------------------------------------------------------------------
SELECT is(customer_groups.rebuild_facts(), 0::bigint, 'nothing to repair');
UPDATE customer_groups.customer_facts SET visits = visits + 1 WHERE customer_id = 101;
UPDATE customer_groups.customer_facts SET net_sales = net_sales - 0.01, last_visit_at = NULL WHERE customer_id = 102;
UPDATE customer_groups.customer_facts SET skip_auto_upgrade = true, registered_at = '2000-01-01', birth_date = '2000-01-01' WHERE customer_id = 103;
DELETE FROM customer_groups.customer_facts WHERE customer_id = 104;
SELECT results_eq('SELECT customer_id FROM customer_groups.check_integrity() ORDER BY 1', ARRAY[101, 102, 103, 104]::bigint[], 'spoilt facts are found');
SELECT is(customer_groups.rebuild_facts(ARRAY[100, 101, 105]::bigint[]), 1::bigint, 'one of three customers is repaired');
SELECT results_eq('SELECT customer_id FROM customer_groups.check_integrity() ORDER BY 1', ARRAY[102, 103, 104]::bigint[], 'and no other');
SELECT is(customer_groups.rebuild_facts(ARRAY[104]::bigint[]), 1::bigint, 'so is a row that was gone');
SELECT is(customer_groups.rebuild_facts(), 2::bigint, 'then all that are left');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'and everything is sound');
SELECT is(customer_groups.rebuild_facts('{}'), 0::bigint, 'of nobody nothing is repaired');
SELECT is(customer_groups.rebuild_facts(ARRAY[999999, NULL]::bigint[]), 0::bigint, 'nor of who is unknown');
DELETE FROM customer_groups.customer_facts WHERE customer_id = 104;
SELECT throws_ok('INSERT INTO customer_groups.sales (customer_id, amount) VALUES (104, 1)', '23503', NULL, 'without a facts row nothing is booked');
SELECT is(customer_groups.rebuild_facts(), 1::bigint, 'until it is repaired');
SELECT lives_ok('INSERT INTO customer_groups.sales (customer_id, amount) VALUES (104, 1)', 'then it is');

----------------------------------------------------------------------------------------------------------------------
-- A role that may insert sales and nothing else
----------------------------------------------------------------------------------------------------------------------
GRANT USAGE ON SCHEMA customer_groups TO shop_sell;
GRANT INSERT (customer_id, store_id, kind, amount, rate, sold_at, external_id) ON customer_groups.sales TO shop_sell;
CREATE FUNCTION pg_temp.as_seller(command text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    result text := 'done';
BEGIN
    SET LOCAL ROLE shop_sell;
    BEGIN
        EXECUTE command;
    EXCEPTION WHEN OTHERS THEN
        result := SQLSTATE;
    END;
    IF current_user <> 'shop_sell' THEN
        result := result || ' as ' || current_user;
    END IF;
    RESET ROLE;
    RETURN result;
END
$$;
INSERT INTO customer_groups.customers (id) VALUES (501), (502);
SELECT is(pg_temp.as_seller('INSERT INTO customer_groups.sales (customer_id, amount, sold_at) VALUES (501, 35, ''2026-01-01 12:00Z''), (502, 5, ''2026-01-01 12:00Z'')'), 'done', 'it sells');
SELECT is(pg_temp.as_seller('INSERT INTO customer_groups.sales (customer_id, store_id, amount, rate) VALUES (502, 1, 100, 0.01)'), 'done', 'in a store too');
SELECT is(pg_temp.facts(501), 'visits 1, sales 35, refunds 0, prepaid 0, passes 0, no-shows 0, from 2026-01-01 12:00:00 to 2026-01-01 12:00:00', 'the sale is booked');
SELECT is(pg_temp.tier(501), 'gold', 'and the customer upgraded');
SELECT is(pg_temp.as_seller(command), '42501', 'not for it: ' || command)
FROM unnest(ARRAY[
    'INSERT INTO customer_groups.sales (customer_id, amount, recorded_at) VALUES (501, 1, ''2020-01-01'')',
    'UPDATE customer_groups.sales SET amount = 0',
    'DELETE FROM customer_groups.sales',
    'TRUNCATE customer_groups.sales CASCADE',
    'UPDATE customer_groups.customer_facts SET visits = 0',
    'INSERT INTO customer_groups.customer_facts (customer_id) VALUES (501)',
    'SELECT * FROM customer_groups.customer_facts',
    'SELECT * FROM customer_groups.sales',
    'SELECT * FROM customer_groups.recomputed_facts',
    'SELECT * FROM customer_groups.check_integrity()',
    'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (502, 13)',
    'INSERT INTO customer_groups.events (kind) VALUES (''tier_changed'')',
    'INSERT INTO customer_groups.customers DEFAULT VALUES',
    'INSERT INTO customer_groups.cache_stamps (stamp, kind) VALUES (1, ''P'')',
    'SELECT customer_groups.rebuild_facts()',
    'SELECT customer_groups.effective_price(NULL, 1)',
    'CREATE TRIGGER mine AFTER INSERT ON customer_groups.sales FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.book_sales()']) AS command;
SELECT is(pg_temp.as_seller('INSERT INTO customer_groups.sales (customer_id, amount) VALUES (999999, 1)'), '23503', 'what is wrong is refused as it is to others');
SELECT is(pg_temp.as_seller('INSERT INTO customer_groups.sales (customer_id, amount) VALUES (501, -1)'), '23514', 'a wrong amount too');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'everything is sound');

----------------------------------------------------------------------------------------------------------------------
-- A trigger of the owner's that changes the very sales of the statement
----------------------------------------------------------------------------------------------------------------------
INSERT INTO customer_groups.customers (id, name) VALUES (777001, 'Nested');
CREATE FUNCTION pg_temp.move_sale() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.amount = 1 THEN
        UPDATE customer_groups.sales SET sold_at = sold_at + interval '1 day' WHERE customer_id = NEW.customer_id AND id = NEW.id;
    ELSE
        DELETE FROM customer_groups.sales WHERE customer_id = NEW.customer_id AND id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER aaa AFTER INSERT ON customer_groups.sales FOR EACH ROW WHEN (NEW.customer_id = 777001) EXECUTE FUNCTION pg_temp.move_sale();
INSERT INTO customer_groups.sales (customer_id, amount, sold_at) VALUES (777001, 1, '2020-01-01 12:00+00'), (777001, 2, '2019-01-01 12:00+00');
SELECT results_eq(
    'SELECT visits, first_visit_at, last_visit_at FROM customer_groups.customer_facts WHERE customer_id = 777001',
    $$VALUES (1::bigint, '2020-01-02 12:00+00'::timestamptz, '2020-01-02 12:00+00'::timestamptz)$$,
    'one sale moved and one deleted by a trigger of the statement that inserted them');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'everything is still sound');
DROP TRIGGER aaa ON customer_groups.sales;

SELECT * FROM finish();
ROLLBACK;
