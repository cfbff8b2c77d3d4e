-- set_store_pricing and group_stores, and what they do to prices.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
\ir groups_refused.psql

INSERT INTO customer_groups.stores (id, code, name) VALUES (900001, 'north', 'North'), (900002, 'south', 'South');
INSERT INTO customer_groups.customers (id, name) VALUES (900001, 'Ann'), (900002, 'Bob');
INSERT INTO customer_groups.items (id, name, price) VALUES (900001, 'Lamp', 100);
INSERT INTO customer_groups.groups (id, code, name) VALUES (900001, 'b2b', 'Business'), (900002, 'club', 'Club');
INSERT INTO customer_groups.promotions (id, code, name, kind, value, groups_only)
VALUES (900001, 'ten', 'Ten', 'percent', 10, true), (900002, 'five', 'Five', 'percent', 5, true);
INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (900001, 900001), (900002, 900002);
SELECT customer_groups.add_member(900001, 'b2b'), customer_groups.add_member(900001, 'club') \g /dev/null

-- The price of the item in the north, in the south and without a store.
CREATE FUNCTION pg_temp.prices(customer bigint DEFAULT 900001, at timestamptz DEFAULT now()) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg((customer_groups.effective_price(customer, 900001, s.store, 1, NULL, at)).price::int::text, ' ' ORDER BY s.place)
    FROM (VALUES (1, 900001), (2, 900002), (3, NULL::int)) AS s (place, store)
$$;
-- What group_stores says of a group.
CREATE FUNCTION pg_temp.answers(code text) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(format('%s: %s by %s', store_code, use_pricing, answered_by), ', ' ORDER BY store_code)
    FROM customer_groups.group_stores WHERE group_code = code
$$;

SELECT is(pg_temp.answers('b2b'), 'north: t by group, south: t by group', 'a group is in every store, with its own answer');
SELECT is(pg_temp.prices(), '90 90 90', 'and counts for prices');
SELECT is(pg_temp.prices(900002), '100 100 100', 'of its members');

SELECT customer_groups.set_store_pricing('b2b', 900001, false) \g /dev/null
SELECT is(pg_temp.answers('b2b'), 'north: f by store, south: t by group', 'a store takes its own answer');
SELECT is(pg_temp.prices(), '95 90 90', 'there the group does not count');
SELECT customer_groups.set_store_pricing('club', 900001, false) \g /dev/null
SELECT is(pg_temp.prices(), '100 90 90', 'nor another group');
UPDATE customer_groups.groups SET use_pricing = false WHERE code = 'b2b';
SELECT is(pg_temp.answers('b2b'), 'north: f by store, south: f by group', 'the group answers no');
SELECT is(pg_temp.prices(), '100 95 95', 'and counts nowhere');
SELECT customer_groups.set_store_pricing('b2b', 900001, true) \g /dev/null
SELECT is(pg_temp.answers('b2b'), 'north: t by store, south: f by group', 'but in a store that says yes');
SELECT is(pg_temp.prices(), '90 95 95', 'at its prices');
SELECT customer_groups.set_store_pricing('b2b', 900001, NULL) \g /dev/null
SELECT is(pg_temp.answers('b2b'), 'north: f by group, south: f by group', 'until it takes that back');
SELECT is(pg_temp.prices(), '100 95 95', 'with its prices');
SELECT lives_ok($$ SELECT customer_groups.set_store_pricing('b2b', 900001, NULL) $$, 'nothing to take back is no error');
UPDATE customer_groups.groups SET use_pricing = true WHERE code = 'b2b';

-- A store's answer does not reach over the dates of the group and the membership.
SELECT customer_groups.set_store_pricing('b2b', 900001, true) \g /dev/null
UPDATE customer_groups.groups SET starts_on = current_date - 20, ends_on = current_date - 10 WHERE code = 'b2b';
SELECT is(pg_temp.prices(), '100 95 95', 'a group that is over');
UPDATE customer_groups.groups SET ends_on = NULL WHERE code = 'b2b';
UPDATE customer_groups.members SET valid_until = current_date - 1 WHERE group_id = 900001;
SELECT is(pg_temp.prices(), '100 95 95', 'a membership that has expired');
UPDATE customer_groups.members SET valid_until = NULL WHERE group_id = 900001;
SELECT is(pg_temp.prices(), '90 90 90', 'both valid');

-- A day is the store's own.
UPDATE customer_groups.stores SET timezone = 'Pacific/Kiritimati' WHERE id = 900001;
UPDATE customer_groups.stores SET timezone = 'Etc/GMT+12' WHERE id = 900002;
UPDATE customer_groups.groups SET starts_on = '2026-05-10', ends_on = '2026-05-10' WHERE code = 'b2b';
SELECT customer_groups.set_store_pricing('club', 900001, NULL) \g /dev/null
UPDATE customer_groups.groups SET starts_on = '2026-01-01' WHERE code = 'club';
SELECT is(pg_temp.prices(900001, at::timestamptz), prices, 'at ' || at)
FROM (VALUES
    ('2026-05-09 09:59:59+00', '95 95 95'),
    ('2026-05-09 10:00:00+00', '90 95 95'),
    ('2026-05-10 00:00:00+00', '90 95 90'),
    ('2026-05-10 10:00:00+00', '95 95 90'),
    ('2026-05-10 12:00:00+00', '95 90 90'),
    ('2026-05-11 00:00:00+00', '95 90 95'),
    ('2026-05-11 12:00:00+00', '95 95 95')
) AS c (at, prices);

-- Each change is logged once, no change not at all.
SELECT is(
    (SELECT string_agg(kind || coalesce(' ' || (detail ->> 'use_pricing'), ''), ', ' ORDER BY id)
     FROM customer_groups.events WHERE kind LIKE 'store_pricing%' AND group_id = 900001),
    'store_pricing_added false, store_pricing_changed true, store_pricing_removed true, store_pricing_added true',
    'the log has every change');
SELECT customer_groups.set_store_pricing('b2b', 900001, true) \g /dev/null
SELECT is((SELECT count(*)::int FROM customer_groups.events WHERE kind LIKE 'store_pricing%' AND group_id = 900001), 4, 'and no other');

SELECT pg_temp.refused(format('SELECT customer_groups.set_store_pricing(%s)', arguments), state, named, name)
FROM (VALUES
    ($$'nope', 900001, true$$, '02000', '"nope"', 'an unknown group'),
    ($$'b2b', 999999, true$$, '02000', '999999', 'an unknown store'),
    ($$'b2b', 999999, NULL$$, '02000', '999999', 'an unknown store has nothing to take back'),
    ($$'b2b', NULL, true$$, '22004', NULL, 'no store'),
    ($$NULL, 900001, true$$, '22004', NULL, 'no group')
) AS c (arguments, state, named, name);

-- A new store has no answer of its own, and a deleted one takes its answers along.
INSERT INTO customer_groups.stores (id, code, name) VALUES (900003, 'east', 'East');
SELECT is(pg_temp.answers('b2b'), 'east: t by group, north: t by store, south: t by group', 'a new store');
DELETE FROM customer_groups.stores WHERE id = 900001;
SELECT is(pg_temp.answers('b2b'), 'east: t by group, south: t by group', 'a deleted store');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

SELECT * FROM finish();
ROLLBACK;
