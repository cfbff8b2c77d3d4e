-- The event log is append-only, tells who did it, and has every change once, by whatever road it came; a random history
-- of memberships, tiers and groups is answered by groups_of as a slow reference remembers it.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
\ir groups_refused.psql

-- ---------------------------------------------------------------------------------------------------------------
-- Append-only
-- ---------------------------------------------------------------------------------------------------------------

INSERT INTO customer_groups.customers (id, name, email)
SELECT 900000 + i, 'Customer ' || i, format('c%s@example.com', i) FROM generate_series(1, 20) AS i;
INSERT INTO customer_groups.stores (id, code, name) VALUES (900001, 'north', 'North');
INSERT INTO customer_groups.groups (id, code, name, self_enroll)
VALUES (900001, 'a1', 'Group', true), (900002, 'b1', 'Group', true), (900003, 'a2', 'Group', false), (900004, 'b2', 'Group', false);
SELECT customer_groups.add_member(900001, 'a1') \g /dev/null

SELECT pg_temp.refused(statement, '55000', named, 'refused to the owner: ' || statement)
FROM (VALUES
    ('UPDATE customer_groups.events SET kind = ''other''', 'UPDATE'),
    ('UPDATE customer_groups.events SET detail = detail WHERE false', 'UPDATE'),
    ('DELETE FROM customer_groups.events', 'DELETE'),
    ('DELETE FROM customer_groups.events WHERE id = -1', 'DELETE'),
    ('TRUNCATE customer_groups.events', 'TRUNCATE'),
    ('TRUNCATE customer_groups.events CASCADE', 'TRUNCATE'),
    ('INSERT INTO customer_groups.events (id, kind) SELECT id, ''x'' FROM customer_groups.events LIMIT 1 ON CONFLICT (id) DO UPDATE SET kind = ''x''', 'UPDATE')
) AS s (statement, named);
SELECT lives_ok($$ INSERT INTO customer_groups.events (kind, detail) VALUES ('shop_opened', '{}') $$, 'the owner may add an event');
SELECT throws_ok($$ INSERT INTO customer_groups.events (kind) VALUES (' ') $$, '23514', NULL, 'not one without a kind');
ALTER TABLE customer_groups.events DISABLE TRIGGER refuse_change;
SELECT lives_ok($$ DELETE FROM customer_groups.events WHERE kind = 'shop_opened' $$, 'and change the log when it disables the trigger on purpose');
ALTER TABLE customer_groups.events ENABLE TRIGGER refuse_change;

-- ---------------------------------------------------------------------------------------------------------------
-- Who did it
-- ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.last_actors() RETURNS text
    LANGUAGE sql AS $$
    SELECT format('%s for %s', actor, coalesce(app_actor, 'nobody')) FROM customer_groups.events ORDER BY id DESC LIMIT 1
$$;
SELECT is(pg_temp.last_actors(), 'shop_owner for nobody', 'the session''s user');
SELECT customer_groups.grant_access('shop_members', 'members'), customer_groups.grant_access('shop_sell', 'sell') \g /dev/null
SET LOCAL customer_groups.actor = 'mia@shop';
SELECT customer_groups.add_member(900002, 'a1') \g /dev/null
SELECT is(pg_temp.last_actors(), 'shop_owner for mia@shop', 'and whom it acts for');
SET LOCAL customer_groups.actor = U&'\D55C\AD6D "x"; --';
SET LOCAL ROLE shop_members;
DELETE FROM customer_groups.members WHERE customer_id = 900002;
RESET ROLE;
SELECT is(pg_temp.last_actors(), U&'shop_owner for \D55C\AD6D "x"; --', 'whatever its name, under another role too');
SET LOCAL customer_groups.actor = 'till 7';
INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold) VALUES (900011, 'silver', 'Silver', 100), (900012, 'gold', 'Gold', 1000);
SET LOCAL ROLE shop_sell;
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900020, 150);
RESET ROLE;
SELECT is(pg_temp.last_actors(), 'shop_owner for till 7', 'where the engine writes for a role without rights on the log');
SELECT customer_groups.revoke_access('shop_members'), customer_groups.revoke_access('shop_sell') \g /dev/null
SET LOCAL customer_groups.actor = '';
SELECT customer_groups.add_member(900002, 'a1') \g /dev/null
SELECT is(pg_temp.last_actors(), 'shop_owner for nobody', 'nobody when the setting is empty');
SELECT is((SELECT count(*)::int FROM customer_groups.events WHERE at < now() OR at > clock_timestamp()), 0, 'the times are the clock''s');
SELECT ok((SELECT count(DISTINCT at) > 3 FROM customer_groups.events), 'and not the transaction''s');

-- ---------------------------------------------------------------------------------------------------------------
-- Plain SQL and functions leave the same
-- ---------------------------------------------------------------------------------------------------------------

-- What a statement leaves in the log; numbers and codes of the two groups and customers that it is done for are made alike.
CREATE FUNCTION pg_temp.log_of(statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    since bigint := (SELECT max(id) FROM customer_groups.events);
BEGIN
    EXECUTE statement;
    RETURN (SELECT string_agg(regexp_replace(regexp_replace(
                format('%s %s %s %s %s', kind, customer_id, group_id, promotion_id, detail),
                '\m[ab]([12])\M', 'x\1', 'g'), '\m9000([0-9]+)\M', '#', 'g'), E'\n' ORDER BY id)
            FROM customer_groups.events WHERE id > since);
END
$$;

-- Each pair does the same, first by a function to customers 900003 and so on, then by plain SQL to 900005 and so on.
INSERT INTO customer_groups.members (customer_id, group_id, source, valid_from, valid_until, added_at)
SELECT c, g, 'self', current_date - 100, current_date - 9, now() - interval '100 days'
FROM (VALUES (900007, 900001), (900008, 900002)) AS e (c, g);
CREATE FUNCTION pg_temp.check_pair(by_function text, by_sql text, events int, name text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
DECLARE
    one text := pg_temp.log_of(by_function);
    other text := pg_temp.log_of(by_sql);
BEGIN
    RETURN NEXT is(other, one, name);
    RETURN NEXT is(coalesce(cardinality(string_to_array(one, E'\n')), 0), events, name || ': each thing once');
END
$$;
SELECT pg_temp.check_pair(by_function, by_sql, events, name)
FROM (VALUES
    ($$SELECT customer_groups.add_member(900003, 'a1')$$,
     $$INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900005, 900002)$$, 1, 'an addition'),
    ($$SELECT customer_groups.add_member(900003, 'a1', '2999-12-31')$$,
     $$UPDATE customer_groups.members SET valid_until = '2999-12-31' WHERE customer_id = 900005$$, 1, 'an end'),
    ($$SELECT customer_groups.add_member(900003, 'a1', '2999-12-31')$$,
     $$UPDATE customer_groups.members SET valid_until = '2999-12-31' WHERE customer_id = 900005$$, 0, 'the same end'),
    ($$SELECT customer_groups.add_member(900007, 'a1')$$,
     $$UPDATE customer_groups.members SET source = 'manual', valid_from = NULL, valid_until = NULL, added_at = now() WHERE customer_id = 900008$$, 1, 'a renewal'),
    ($$SELECT customer_groups.remove_member(900003, 'a1')$$,
     $$DELETE FROM customer_groups.members WHERE customer_id = 900005$$, 1, 'a removal'),
    ($$SELECT customer_groups.remove_member(900003, 'a1')$$,
     $$DELETE FROM customer_groups.members WHERE customer_id = 900005$$, 0, 'a removal of nobody'),
    ($$SELECT customer_groups.add_members('a2', '{900004,900003}')$$,
     $$INSERT INTO customer_groups.members (customer_id, group_id, source) SELECT i, 900004, 'bulk' FROM generate_series(900005, 900006) AS i$$, 2, 'many'),
    ($$SELECT customer_groups.add_members('a2', '{900004,900003}')$$,
     $$INSERT INTO customer_groups.members (customer_id, group_id) SELECT i, 900004 FROM generate_series(900005, 900006) AS i ON CONFLICT DO NOTHING$$, 0, 'who is there already'),
    ($$SELECT customer_groups.move_members('{900003,900004}', 'a2', 'a1')$$,
     $$DO 'BEGIN
           INSERT INTO customer_groups.members (customer_id, group_id, source) VALUES (900005, 900002, ''bulk''), (900006, 900002, ''bulk'');
           DELETE FROM customer_groups.members WHERE group_id = 900004;
       END'$$, 4, 'a move'),
    ($$SELECT * FROM customer_groups.set_groups(900003, '{a2}')$$,
     $$DO 'BEGIN
           INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900005, 900004);
           DELETE FROM customer_groups.members WHERE customer_id = 900005 AND group_id = 900002;
       END'$$, 2, 'tick boxes'),
    ($$SELECT customer_groups.remove_members('a1', '{900004}')$$,
     $$DELETE FROM customer_groups.members WHERE group_id = 900002 AND customer_id = 900006$$, 1, 'a removal in bulk'),
    ($$SELECT customer_groups.enroll(900004, '{a1}')$$,
     $$INSERT INTO customer_groups.members (customer_id, group_id, source) VALUES (900006, 900002, 'self')$$, 1, 'an enrollment'),
    ($$SELECT * FROM customer_groups.add_members_by_email('a1', 'c9@example.com, c10@example.com, nobody')$$,
     $$INSERT INTO customer_groups.members (customer_id, group_id, source) VALUES (900011, 900002, 'bulk'), (900012, 900002, 'bulk')$$, 2, 'a list of addresses'),
    -- Tiers.
    ($$SELECT customer_groups.add_member(900003, 'silver')$$,
     $$INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900005, 900011)$$, 2, 'a tier'),
    ($$SELECT customer_groups.add_member(900003, 'gold')$$,
     $$INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900005, 900012)$$, 3, 'another tier'),
    ($$SELECT customer_groups.remove_member(900003, 'gold')$$,
     $$DELETE FROM customer_groups.members WHERE customer_id = 900005 AND group_id = 900012$$, 2, 'no tier'),
    ($$INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900003, 100)$$,
     $$INSERT INTO customer_groups.sales (customer_id, amount) SELECT 900005, 50 FROM generate_series(1, 2)$$, 2, 'a tier that is earned'),
    -- Stores.
    ($$SELECT customer_groups.set_store_pricing('a1', 900001, false)$$,
     $$INSERT INTO customer_groups.group_store_pricing (group_id, store_id, use_pricing) VALUES (900002, 900001, false)$$, 1, 'a store''s answer'),
    ($$SELECT customer_groups.set_store_pricing('a1', 900001, true)$$,
     $$UPDATE customer_groups.group_store_pricing SET use_pricing = true WHERE group_id = 900002$$, 1, 'another answer'),
    ($$SELECT customer_groups.set_store_pricing('a1', 900001, true)$$,
     $$UPDATE customer_groups.group_store_pricing SET use_pricing = true WHERE group_id = 900002$$, 0, 'the same answer'),
    ($$SELECT customer_groups.set_store_pricing('a1', 900001, NULL)$$,
     $$DELETE FROM customer_groups.group_store_pricing WHERE group_id = 900002$$, 1, 'no answer'),
    -- The group.
    ($$SELECT customer_groups.delete_group('a2')$$,
     $$DELETE FROM customer_groups.groups WHERE code = 'b2'$$, 2, 'a deleted group')
) AS p (by_function, by_sql, events, name);

-- Other roads, and what they leave.
CREATE FUNCTION pg_temp.short_log(statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    since bigint := (SELECT max(id) FROM customer_groups.events);
BEGIN
    EXECUTE statement;
    RETURN (SELECT string_agg(concat_ws(' ', kind, customer_id - 900000, detail ->> 'code', detail ->> 'group_code', detail ->> 'promotion_code', detail ->> 'store_code',
                                        detail ->> 'from', detail ->> 'to', nullif(detail ->> 'before', '{}')), ', ' ORDER BY id)
            FROM customer_groups.events WHERE id > since);
END
$$;
DELETE FROM customer_groups.members;
INSERT INTO customer_groups.promotions (id, code, name, kind, value) VALUES (900001, 'ten', 'Ten', 'percent', 10), (900002, 'twenty', 'Twenty', 'percent', 20);
INSERT INTO customer_groups.stores (id, code, name) VALUES (900031, 'one', 'One'), (900032, 'two', 'Two');
SELECT is(pg_temp.short_log(statement), log, statement)
FROM (VALUES
    ('INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900001), (900001, 900002), (900002, 900001)',
     'member_added 1 a1, member_added 1 b1, member_added 2 a1'),
    ('UPDATE customer_groups.members SET valid_until = valid_until', NULL),
    ('UPDATE customer_groups.members SET added_by = ''somebody''', 'member_changed 1 a1, member_changed 1 b1, member_changed 2 a1'),
    ('UPDATE customer_groups.members SET source = ''bulk'' WHERE customer_id = 900002', 'member_changed 2 a1'),
    ('UPDATE customer_groups.members SET group_id = 900002 WHERE customer_id = 900002', 'member_removed 2 a1, member_added 2 b1'),
    ('UPDATE customer_groups.members SET group_id = 900011 WHERE customer_id = 900002', 'member_removed 2 b1, member_added 2 silver, tier_changed 2 silver'),
    ('UPDATE customer_groups.members SET group_id = 900012 WHERE customer_id = 900002', 'member_removed 2 silver, member_added 2 gold, tier_changed 2 silver gold'),
    ('WITH d AS (DELETE FROM customer_groups.members WHERE customer_id = 900002) INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900002, 900011)',
     'member_added 2 silver, tier_changed 2 gold silver, member_removed 2 gold'),
    ('WITH d AS (DELETE FROM customer_groups.members WHERE customer_id = 900002 RETURNING *) INSERT INTO customer_groups.members (customer_id, group_id) SELECT d.customer_id, 900012 FROM d',
     'member_removed 2 silver, member_added 2 gold, tier_changed 2 silver gold'),
    ('MERGE INTO customer_groups.members m USING (VALUES (900011), (900012)) AS v (id) ON m.customer_id = 900002 AND m.group_id = v.id
      WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (customer_id, group_id) VALUES (900002, v.id)', 'member_removed 2 gold, member_added 2 silver, tier_changed 2 gold silver'),
    ('WITH u AS (UPDATE customer_groups.members SET group_id = 900001 WHERE customer_id = 900002) INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900002, 900012)',
     'member_added 2 gold, tier_changed 2 silver gold, member_removed 2 silver, member_added 2 a1'),
    ('DELETE FROM customer_groups.members WHERE customer_id = 900002 AND group_id = 900001', 'member_removed 2 a1'),
    ('UPDATE customer_groups.members SET group_id = 900002 WHERE customer_id = 900002', 'member_removed 2 gold, member_added 2 b1, tier_changed 2 gold'),
    ('INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900002, 900002) ON CONFLICT (customer_id, group_id) DO UPDATE SET valid_until = ''2999-01-01''', 'member_changed 2 b1'),
    ('DELETE FROM customer_groups.customers WHERE id = 900002', 'member_removed 2 b1'),
    ('INSERT INTO customer_groups.groups (id, code, name, contact_name, contact_info, description) VALUES (900021, ''new'', ''New'', ''Mrs Secret'', ''secret@example.com'', ''Call Mrs Secret'')', 'group_added new'),
    ('UPDATE customer_groups.groups SET code = ''newer'', ends_on = ''2999-12-31'' WHERE id = 900021', 'group_changed newer {"code": "new", "ends_on": null}'),
    ('UPDATE customer_groups.groups SET code = code', NULL),
    ('UPDATE customer_groups.groups SET upgrade_threshold = 500 WHERE id = 900001', 'tier_changed 1 a1, group_changed a1 {"upgrade_threshold": null}'),
    ('UPDATE customer_groups.groups SET upgrade_threshold = 600 WHERE id = 900001', 'group_changed a1 {"upgrade_threshold": 500}'),
    ('UPDATE customer_groups.groups SET upgrade_threshold = NULL WHERE id = 900001', 'tier_changed 1 a1, group_changed a1 {"upgrade_threshold": 600}'),
    ('INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (900001, 900001), (900001, 900021)', 'attachment_added a1 ten, attachment_added newer ten'),
    ('DELETE FROM customer_groups.promotion_groups WHERE group_id = 900001', 'attachment_removed a1 ten'),
    ('DELETE FROM customer_groups.promotions WHERE id = 900001', 'attachment_removed newer ten'),
    ('INSERT INTO customer_groups.group_store_pricing (group_id, store_id, use_pricing) VALUES (900001, 900031, true), (900021, 900031, false), (900021, 900032, false)',
     'store_pricing_added a1 one, store_pricing_added newer one, store_pricing_added newer two'),
    ('DELETE FROM customer_groups.stores WHERE id = 900031', 'store_pricing_removed a1 one, store_pricing_removed newer one'),
    ('TRUNCATE customer_groups.group_store_pricing', 'store_pricing_removed newer two'),
    ('INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (900002, 900001)', 'attachment_added a1 twenty'),
    ('TRUNCATE customer_groups.promotion_groups', 'attachment_removed a1 twenty'),
    ('DELETE FROM customer_groups.groups WHERE id = 900021', 'group_removed newer')
) AS s (statement, log);
SELECT is((SELECT count(*)::int FROM customer_groups.events WHERE detail::text ~ 'Secret|secret'), 0, 'who looks after a group is personal and not in the log');

COPY customer_groups.members (customer_id, group_id) FROM STDIN;
900013	900001
900014	900001
\.
SELECT is((SELECT string_agg(kind || ' ' || customer_id - 900000, ', ' ORDER BY id) FROM customer_groups.events WHERE customer_id IN (900013, 900014)),
    'member_added 13, member_added 14', 'COPY');
SELECT current_setting('server_version_num')::int >= 150000 AS has_merge \gset
\if :has_merge
SELECT is(pg_temp.short_log($$
        MERGE INTO customer_groups.members AS m
        USING (VALUES (900013, 1), (900014, 2), (900015, 3)) AS v (id, what) ON m.customer_id = v.id
        WHEN MATCHED AND v.what = 1 THEN DELETE
        WHEN MATCHED THEN UPDATE SET valid_until = '2999-12-31'
        WHEN NOT MATCHED THEN INSERT (customer_id, group_id) VALUES (v.id, 900001)
        $$), 'member_removed 13 a1, member_changed 14 a1, member_added 15 a1', 'MERGE');
\endif

-- What is rolled back was never there.
SELECT count(*) AS n FROM customer_groups.events \gset
SAVEPOINT s;
SELECT customer_groups.add_members('a1', '{900016,900017}'), customer_groups.delete_group('b1') \g /dev/null
SELECT ok((SELECT count(*) > :n FROM customer_groups.events), 'within a savepoint the log goes on');
ROLLBACK TO s;
SELECT is((SELECT count(*)::int FROM customer_groups.events), :n, 'and comes back with it');
SELECT throws_ok($$ INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900016, 900001), (999999, 900001) $$, '23503', NULL,
    'a statement that fails');
SELECT is((SELECT count(*)::int FROM customer_groups.events), :n, 'leaves none');

-- Restored rows are taken as they are.
SET LOCAL client_min_messages = error;
INSERT INTO customer_groups.groups (id, code, name, recorded_at) VALUES (900031, 'restored', 'Restored', '2020-01-01');
INSERT INTO customer_groups.members (customer_id, group_id, recorded_at) VALUES (900016, 900031, '2020-01-01'), (900017, 900031, '2020-01-01');
INSERT INTO customer_groups.members (customer_id, group_id, source, recorded_at) VALUES (900016, 900011, 'tier', '2020-01-01');
INSERT INTO customer_groups.group_store_pricing (group_id, store_id, use_pricing, recorded_at) VALUES (900031, 900001, true, '2020-01-01');
SET LOCAL client_min_messages = warning;
SELECT is((SELECT count(*)::int FROM customer_groups.events), :n, 'rows that were recorded before leave no event');
SELECT is((SELECT count(*)::int FROM customer_groups.check_integrity()), 4, 'which is missed: two members, a tier and its member');
SELECT is(pg_temp.short_log('DELETE FROM customer_groups.members WHERE customer_id = 900016'),
    'member_removed 16 restored, member_removed 16 silver, tier_changed 16 silver', 'later changes of them do');
SELECT customer_groups.delete_group('restored') \g /dev/null
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

-- ---------------------------------------------------------------------------------------------------------------
-- A random history
-- ---------------------------------------------------------------------------------------------------------------

DELETE FROM customer_groups.members;
DELETE FROM customer_groups.groups;
-- A time zone in which the day does not end meanwhile.
INSERT INTO customer_groups.settings (timezone, enroll_many)
SELECT CASE WHEN extract(hour FROM now() AT TIME ZONE 'UTC') BETWEEN 1 AND 22 THEN 'UTC' ELSE 'Etc/GMT+6' END, true;
INSERT INTO customer_groups.ladders (code, name, measure) VALUES ('trips', 'Trips', 'visits');
INSERT INTO customer_groups.groups (code, name, self_enroll, ladder, upgrade_threshold) VALUES
    ('n1', 'One', true, NULL, NULL), ('n2', 'Two', true, NULL, NULL), ('n3', 'Three', false, NULL, NULL), ('n4', 'Four', false, NULL, NULL),
    ('t1', 'Silver', false, NULL, 100), ('t2', 'Gold', false, NULL, 300), ('u1', 'Traveller', false, 'trips', 2), ('u2', 'Explorer', false, 'trips', 5);

-- One entry for each time that a customer was in a group, as the test has seen it: between two looks at the clock.
CREATE TEMPORARY TABLE lives (
    customer_id bigint, group_id int, code text, name text, source text, valid_from date, valid_until date, added_at timestamptz,
    began timestamptz, ended timestamptz);
CREATE TEMPORARY TABLE looks (at timestamptz);
CREATE TEMPORARY TABLE mistakes (step int, operation text, mistake text);
CREATE TEMPORARY TABLE operations (operation text, outcome text);

-- A list of random ones, at least one.
CREATE FUNCTION pg_temp.some_customers() RETURNS bigint[]
    LANGUAGE sql VOLATILE AS $$
    SELECT array_agg(id) FROM (SELECT 900010 + i AS id FROM generate_series(1, 8) AS i ORDER BY random() LIMIT 1 + floor(random() * 4)) AS c
$$;
CREATE FUNCTION pg_temp.some_groups(n int) RETURNS text[]
    LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(array_agg(code), '{}') FROM (SELECT code FROM customer_groups.groups ORDER BY random() LIMIT n) AS g
$$;
CREATE FUNCTION pg_temp.some_day() RETURNS date
    LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN random() < 0.3 THEN NULL ELSE customer_groups.shop_today() + floor(random() * 11 - 5)::int END
$$;

-- A random change, as a statement.
CREATE FUNCTION pg_temp.operation(step int) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    c bigint[] := pg_temp.some_customers();
    g text[] := pg_temp.some_groups(2);
    of_group int := (SELECT o.id FROM customer_groups.groups AS o WHERE o.code = g[1]);
    other int := (SELECT o.id FROM customer_groups.groups AS o WHERE o.code = g[2]);
BEGIN
    RETURN CASE floor(random() * 22)::int
        WHEN 0 THEN format('SELECT customer_groups.add_member(%s, %L)', c[1], g[1])
        WHEN 1 THEN format('SELECT customer_groups.add_member(%s, %L, %L)', c[1], g[1], pg_temp.some_day())
        WHEN 2 THEN format('SELECT customer_groups.remove_member(%s, %L)', c[1], g[1])
        WHEN 3 THEN format('SELECT customer_groups.add_members(%L, %L)', g[1], c)
        WHEN 4 THEN format('SELECT customer_groups.remove_members(%L, %L)', g[1], c)
        WHEN 5 THEN format('SELECT customer_groups.move_members(%L, %L, %L)', c, g[1], g[2])
        WHEN 6 THEN format('SELECT * FROM customer_groups.set_groups(%s, %L)', c[1], pg_temp.some_groups(floor(random() * 4)::int))
        WHEN 7 THEN format('SELECT customer_groups.enroll(%s, %L)', c[1], g[1:1])
        WHEN 8 THEN format('SELECT * FROM customer_groups.add_members_by_email(%L, %L)', g[1],
                           (SELECT string_agg(format('c%s@example.com', u - 900000), ', ') FROM unnest(c) AS u))
        WHEN 9 THEN format('INSERT INTO customer_groups.members (customer_id, group_id, valid_from, valid_until)
                            SELECT unnest(%L::bigint[]), %s, %L, %L ON CONFLICT DO NOTHING', c, of_group, pg_temp.some_day(), pg_temp.some_day())
        WHEN 10 THEN format('INSERT INTO customer_groups.members (customer_id, group_id, valid_until, added_at)
                            SELECT unnest(%L::bigint[]), %s, %L, now() - interval ''20 days'' ON CONFLICT DO NOTHING', c, of_group, pg_temp.some_day())
        WHEN 11 THEN format('UPDATE customer_groups.members SET valid_until = %L WHERE customer_id = ANY (%L)', pg_temp.some_day(), c)
        WHEN 12 THEN format('UPDATE customer_groups.members SET valid_from = %L, source = ''bulk'' WHERE group_id = %s', pg_temp.some_day(), of_group)
        WHEN 13 THEN format('UPDATE customer_groups.members SET group_id = %s WHERE customer_id = %s AND group_id = %s', other, c[1], of_group)
        WHEN 14 THEN format('DELETE FROM customer_groups.members WHERE customer_id = ANY (%L) AND group_id IN (%s, %s)', c, of_group, other)
        WHEN 15 THEN format('INSERT INTO customer_groups.sales (customer_id, amount) SELECT unnest(%L::bigint[]), %s', c, floor(random() * 60))
        WHEN 16 THEN format('UPDATE customer_groups.groups SET upgrade_threshold = CASE WHEN upgrade_threshold IS NULL THEN %s END, ladder = NULL WHERE id = %s',
                            floor(random() * 400), of_group)
        WHEN 17 THEN format('UPDATE customer_groups.groups SET code = %L, name = %L WHERE id = %s', 'r' || step, 'Renamed ' || step, of_group)
        WHEN 18 THEN format('INSERT INTO customer_groups.groups (code, name, self_enroll, upgrade_threshold) VALUES (%L, %L, %L, %s)',
                            'm' || step, 'Made ' || step, random() < 0.5, CASE WHEN random() < 0.3 THEN floor(random() * 400)::text ELSE 'NULL' END)
        WHEN 19 THEN CASE WHEN (SELECT count(*) FROM customer_groups.groups) < 6 THEN 'SELECT 1'
                          WHEN random() < 0.5 THEN format('SELECT customer_groups.delete_group(%L)', g[1])
                          ELSE format('DELETE FROM customer_groups.groups WHERE id IN (%s)', of_group) END
        WHEN 20 THEN format('UPDATE customer_groups.customers SET skip_auto_upgrade = NOT skip_auto_upgrade WHERE id = %s', c[1])
        ELSE format('UPDATE customer_groups.groups SET ladder = ''trips'' WHERE id = %s', of_group)
    END;
END
$$;

-- Does one change, sometimes taken back, and compares what is there before and after with what the log says.
CREATE FUNCTION pg_temp.step(number int) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    statement text := pg_temp.operation(number);
    since bigint := (SELECT max(id) FROM customer_groups.events);
    before timestamptz := clock_timestamp();
    outcome text := 'done';
BEGIN
    CREATE TEMPORARY TABLE was ON COMMIT DROP AS SELECT * FROM customer_groups.members;
    BEGIN
        EXECUTE statement;
        IF random() < 0.2 THEN
            RAISE EXCEPTION USING ERRCODE = 'UNDOO';
        END IF;
    EXCEPTION
        WHEN SQLSTATE 'UNDOO' THEN outcome := 'taken back';
        WHEN check_violation OR invalid_parameter_value OR object_not_in_prerequisite_state OR unique_violation THEN outcome := SQLSTATE;
    END;
    INSERT INTO operations VALUES (substring(statement FROM '^(?:SELECT (?:\* FROM )?|INSERT INTO |UPDATE |DELETE FROM )customer_groups\.\w+'), outcome);

    -- Each difference is one event, and each event one difference.
    INSERT INTO mistakes
    SELECT number, statement, format('%s: expected %s, logged %s', coalesce(d.what, l.what), d.n, l.n)
    FROM (SELECT concat_ws(' ', CASE WHEN w.customer_id IS NULL OR w.added_at <> m.added_at THEN 'member_added'
                                     WHEN m.customer_id IS NULL THEN 'member_removed' ELSE 'member_changed' END,
                           coalesce(m.customer_id, w.customer_id), coalesce(m.group_id, w.group_id)) AS what, count(*) AS n
          FROM was AS w
          FULL JOIN customer_groups.members AS m USING (customer_id, group_id)
          WHERE (w.source, w.valid_from, w.valid_until, w.added_at) IS DISTINCT FROM (m.source, m.valid_from, m.valid_until, m.added_at)
          GROUP BY 1) AS d
    FULL JOIN (SELECT concat_ws(' ', kind, customer_id, group_id) AS what, count(*) AS n
               FROM customer_groups.events WHERE id > since AND kind LIKE 'member%' GROUP BY 1) AS l USING (what)
    WHERE d.n IS DISTINCT FROM l.n;

    -- The reference.
    UPDATE lives AS l SET ended = before
    FROM was AS w LEFT JOIN customer_groups.members AS m USING (customer_id, group_id)
    WHERE l.customer_id = w.customer_id AND l.group_id = w.group_id AND l.ended IS NULL
        AND (m.customer_id IS NULL OR m.added_at <> w.added_at);
    INSERT INTO lives (customer_id, group_id, began)
    SELECT m.customer_id, m.group_id, before
    FROM customer_groups.members AS m LEFT JOIN was AS w USING (customer_id, group_id)
    WHERE w.customer_id IS NULL OR m.added_at <> w.added_at;
    UPDATE lives AS l SET source = m.source, valid_from = m.valid_from, valid_until = m.valid_until, added_at = m.added_at
    FROM customer_groups.members AS m
    WHERE l.customer_id = m.customer_id AND l.group_id = m.group_id AND l.ended IS NULL;
    UPDATE lives AS l SET code = g.code, name = g.name
    FROM customer_groups.groups AS g WHERE g.id = l.group_id AND l.ended IS NULL;
    DROP TABLE was;
    INSERT INTO looks VALUES (clock_timestamp());

    -- The log says of this moment what the table says.
    INSERT INTO mistakes
    SELECT number, statement, format('customer %s: now %s, by the log %s', c.id, c.now, c.log)
    FROM (SELECT 900010 + i AS id,
            (SELECT string_agg(o::text, ', ' ORDER BY o.group_code) FROM customer_groups.groups_of(900010 + i) AS o) AS now,
            (SELECT string_agg(o::text, ', ' ORDER BY o.group_code) FROM customer_groups.groups_of(900010 + i, clock_timestamp()) AS o) AS log
          FROM generate_series(1, 8) AS i) AS c
    WHERE c.now IS DISTINCT FROM c.log;
    IF number % 50 = 0 THEN
        INSERT INTO mistakes SELECT number, statement, i::text FROM customer_groups.check_integrity() AS i;
    END IF;
END
$$;

-- The groups of a customer at a look, from the reference: of two times in one group that hold, the later one.
CREATE FUNCTION pg_temp.remembered(customer bigint, look timestamptz) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(format('(%s,%s,%s,%s,%s)', r.code, quote_name.name, r.source, r.valid_from, r.valid_until), ', ' ORDER BY r.code)
    FROM (SELECT DISTINCT ON (l.group_id) l.*
          FROM lives AS l
          WHERE l.customer_id = customer AND (l.ended IS NULL OR look < l.ended)
            AND CASE WHEN l.valid_from IS NOT NULL THEN l.valid_from <= customer_groups.shop_today()
                     WHEN l.added_at = now() THEN l.began < look
                     ELSE l.added_at <= look END
            AND (l.valid_until IS NULL OR l.valid_until >= customer_groups.shop_today())
          ORDER BY l.group_id, l.began DESC) AS r
    CROSS JOIN LATERAL (SELECT CASE WHEN r.name LIKE '% %' THEN quote_ident(r.name) ELSE r.name END AS name) AS quote_name
$$;

SELECT setseed(0.271828) \g /dev/null
DO $$
BEGIN
    FOR i IN 1 .. 500 LOOP
        PERFORM pg_temp.step(i);
    END LOOP;
END
$$;

SELECT is_empty('SELECT * FROM mistakes', 'after each of 500 random changes the log has just what happened, and says what is');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well at the end');
-- A group has its present name, one that is gone the name that it had when the customer left it.
UPDATE lives AS l SET code = g.code, name = g.name FROM customer_groups.groups AS g WHERE g.id = l.group_id;
SELECT is_empty($$
    SELECT at - now(), c, log, remembered
    FROM (SELECT l.at, 900010 + i AS c, pg_temp.remembered(900010 + i, l.at) AS remembered,
            (SELECT string_agg(o::text, ', ' ORDER BY o.group_code) FROM customer_groups.groups_of(900010 + i, l.at) AS o) AS log
          FROM (SELECT at FROM (SELECT at, row_number() OVER (ORDER BY at) AS n FROM looks) AS s WHERE n % 4 = 0) AS l,
            generate_series(1, 8) AS i) AS x
    WHERE log IS DISTINCT FROM remembered
    $$, 'groups_of tells of each moment what the test remembers');
-- The history was worth it.
SELECT ok((SELECT count(*) > 100 FROM lives), 'there were many memberships');
SELECT ok((SELECT count(*) > 50 FROM lives WHERE ended IS NOT NULL), 'of which many have ended');
SELECT ok((SELECT count(*) > 30 FROM customer_groups.events WHERE kind IN ('tier_upgraded', 'tier_changed')), 'many moves between tiers');
SELECT ok((SELECT count(*) > 50 FROM operations WHERE outcome = 'taken back'), 'and much that was taken back');
SELECT ok((SELECT count(DISTINCT operation) FROM operations WHERE outcome = 'done') = 17, 'by each road');

SELECT * FROM finish();
ROLLBACK;
