-- Adding, removing and moving members, one by one, in bulk, and by the tick boxes of a customer's record.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
\ir groups_refused.psql

INSERT INTO customer_groups.customers (id, name) SELECT 900000 + i, 'Customer ' || i FROM generate_series(1, 9) AS i;
INSERT INTO customer_groups.groups (code, name) VALUES ('b2b', 'Business'), ('club', 'Club'), ('news', 'News');
INSERT INTO customer_groups.groups (code, name, upgrade_threshold) VALUES ('silver', 'Silver', 100), ('gold', 'Gold', 1000);
INSERT INTO customer_groups.ladders (code, name) VALUES ('b2b', 'B2B');
INSERT INTO customer_groups.groups (code, name, upgrade_threshold, ladder) VALUES ('partner', 'Partner', 10, 'b2b');
SELECT customer_groups.shop_today() AS today \gset

-- A membership as text: source, valid_from, valid_until, in days from today.
CREATE FUNCTION pg_temp.membership(customer bigint, code text) RETURNS text
    LANGUAGE sql AS $$
    SELECT format('%s [%s, %s]', m.source, m.valid_from - customer_groups.shop_today(), m.valid_until - customer_groups.shop_today())
    FROM customer_groups.members AS m
    JOIN customer_groups.groups AS g ON g.id = m.group_id
    WHERE m.customer_id = customer AND g.code = membership.code
$$;
-- All of a customer's groups, valid or not.
CREATE FUNCTION pg_temp.groups_held(customer bigint) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(g.code, ' ' ORDER BY g.code)
    FROM customer_groups.members AS m
    JOIN customer_groups.groups AS g ON g.id = m.group_id
    WHERE m.customer_id = customer
$$;
-- A membership as it was left some time ago; days from today.
CREATE FUNCTION pg_temp.join_group(customer bigint, group_code text, from_day int, until_day int) RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO customer_groups.members (customer_id, group_id, source, valid_from, valid_until, added_at)
    SELECT customer, g.id, 'self', customer_groups.shop_today() + from_day, customer_groups.shop_today() + until_day,
        now() - interval '1 year'
    FROM customer_groups.groups AS g WHERE g.code = group_code
$$;
CREATE FUNCTION pg_temp.last_events(n int) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(e.kind || coalesce(' ' || (e.detail ->> 'code'),
                                         format(' %s to %s', e.detail ->> 'from', e.detail ->> 'to')), ', ' ORDER BY e.id)
    FROM (SELECT * FROM customer_groups.events ORDER BY id DESC LIMIT n) AS e
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- add_member, remove_member
-- ---------------------------------------------------------------------------------------------------------------

SELECT ok(customer_groups.add_member(900001, 'b2b'), 'a new member');
SELECT is(pg_temp.membership(900001, 'b2b'), 'manual [, ]', 'without start and end');
SELECT ok((SELECT added_by = session_user AND added_at = now() FROM customer_groups.members WHERE customer_id = 900001),
    'by whom and when');
SELECT ok(NOT customer_groups.add_member(900001, 'b2b', :'today'::date + 5), 'a valid member is not added');
SELECT is(pg_temp.membership(900001, 'b2b'), 'manual [, 5]', 'but gets the end');
SELECT ok(NOT customer_groups.add_member(900001, 'b2b', :'today'), 'today');
SELECT is(pg_temp.membership(900001, 'b2b'), 'manual [, 0]', 'is an end that it is still valid on');
SELECT ok(NOT customer_groups.add_member(900001, 'b2b'), 'no end');
SELECT is(pg_temp.membership(900001, 'b2b'), 'manual [, ]', 'takes the end away');
SELECT is((SELECT count(*)::int FROM customer_groups.events WHERE customer_id = 900001), 4, 'each change left one event');
SELECT ok(NOT customer_groups.add_member(900001, 'b2b'), 'once more');
SELECT is((SELECT count(*)::int FROM customer_groups.events WHERE customer_id = 900001), 4, 'no change leaves none');

SELECT pg_temp.join_group(900002, 'b2b', -100, -1) \g /dev/null
SELECT ok(customer_groups.add_member(900002, 'b2b'), 'one that has expired is renewed');
SELECT is(pg_temp.membership(900002, 'b2b'), 'manual [, ]', 'as a new membership');
SELECT ok((SELECT added_at = now() FROM customer_groups.members WHERE customer_id = 900002), 'added now');
SELECT pg_temp.join_group(900003, 'b2b', 1, NULL) \g /dev/null
SELECT ok(customer_groups.add_member(900003, 'b2b', :'today'::date + 9), 'one that is not valid yet is added');
SELECT is(pg_temp.membership(900003, 'b2b'), 'manual [, 9]', 'and valid at once');
SELECT pg_temp.join_group(900004, 'b2b', 0, 0) \g /dev/null
SELECT ok(NOT customer_groups.add_member(900004, 'b2b', :'today'::date + 1), 'first and last day count');
SELECT is(pg_temp.membership(900004, 'b2b'), 'self [0, 1]', 'a valid one keeps its source and start');

SELECT pg_temp.refused(format('SELECT customer_groups.add_member(%s)', arguments), state, named, 'add_member: ' || name)
FROM (VALUES
    ($$900001, 'b2b', '2020-02-29'$$, '22023', '2020-02-29', 'an end in the past'),
    ($$900005, 'b2b', customer_groups.shop_today() - 1$$, '22023', (:'today'::date - 1)::text, 'yesterday'),
    ($$900005, 'b2b', '-infinity'$$, '22023', '-infinity', 'minus infinity'),
    ($$900005, 'b2b', 'infinity'$$, '22023', 'infinity', 'infinity, which is null here'),
    ($$999999, 'b2b'$$, '02000', '999999', 'an unknown customer'),
    ($$900001, 'nope'$$, '02000', '"nope"', 'an unknown group'),
    ($$900001, 'B2B'$$, '02000', '"B2B"', 'a code in other letters'),
    ($$900001, ''$$, '02000', '""', 'an empty code'),
    ($$NULL, 'b2b'$$, '22004', NULL, 'a null customer'),
    ($$900001, NULL$$, '22004', NULL, 'a null group')
) AS c (arguments, state, named, name);
SELECT is(pg_temp.membership(900001, 'b2b'), 'manual [, ]', 'what is refused leaves no trace');
SELECT is(pg_temp.groups_held(900005), NULL, 'and adds nobody');

SELECT ok(customer_groups.remove_member(900001, 'b2b'), 'a member is removed');
SELECT ok(NOT customer_groups.remove_member(900001, 'b2b'), 'once');
SELECT pg_temp.join_group(900001, 'club', -100, -1) \g /dev/null
SELECT ok(customer_groups.remove_member(900001, 'club'), 'one that has expired is removed too');
SELECT is(pg_temp.groups_held(900001), NULL, 'nothing is left');
SELECT pg_temp.refused(format('SELECT customer_groups.remove_member(%s)', arguments), state, named, 'remove_member: ' || name)
FROM (VALUES
    ($$999999, 'b2b'$$, '02000', '999999', 'an unknown customer'),
    ($$900001, 'nope'$$, '02000', '"nope"', 'an unknown group'),
    ($$NULL, 'b2b'$$, '22004', NULL, 'a null customer'),
    ($$900001, NULL$$, '22004', NULL, 'a null group')
) AS c (arguments, state, named, name);

-- Tiers.
SELECT ok(customer_groups.add_member(900006, 'silver'), 'a tier by hand');
SELECT ok(customer_groups.add_member(900006, 'partner'), 'one of another ladder');
SELECT ok(customer_groups.add_member(900006, 'gold'), 'another one of the first ladder');
SELECT is(pg_temp.groups_held(900006), 'gold partner', 'replaces the first');
SELECT is(pg_temp.last_events(3), 'member_removed silver, member_added gold, tier_changed silver to gold', 'in one move');
SELECT ok(customer_groups.remove_member(900006, 'gold'), 'a tier is removed');
SELECT is(pg_temp.last_events(2), 'member_removed gold, tier_changed gold to ', 'which leaves none');
SELECT customer_groups.remove_member(900006, 'partner') \g /dev/null

-- The day is that of the settings' time zone.
INSERT INTO customer_groups.settings (timezone) VALUES ('Pacific/Kiritimati');
SELECT ok(customer_groups.add_member(900007, 'b2b', (now() AT TIME ZONE 'Pacific/Kiritimati')::date), 'today in Kiritimati');
SELECT pg_temp.refused($$ SELECT customer_groups.add_member(900007, 'b2b', (now() AT TIME ZONE 'Pacific/Kiritimati')::date - 1) $$,
    '22023', NULL, 'yesterday in Kiritimati');
UPDATE customer_groups.settings SET timezone = 'Etc/GMT+12';
SELECT ok(NOT customer_groups.add_member(900007, 'b2b', (now() AT TIME ZONE 'Etc/GMT+12')::date), 'today far in the west');
SELECT pg_temp.refused($$ SELECT customer_groups.add_member(900007, 'b2b', (now() AT TIME ZONE 'Etc/GMT+12')::date - 1) $$,
    '22023', NULL, 'yesterday there');
DELETE FROM customer_groups.settings;

DELETE FROM customer_groups.members;
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well after single changes');

-- ---------------------------------------------------------------------------------------------------------------
-- add_members, remove_members, move_members
-- ---------------------------------------------------------------------------------------------------------------

SELECT is(customer_groups.add_members('b2b', '{}'), 0::bigint, 'nobody');
SELECT is(customer_groups.add_members('b2b', '{900002,900001,900002,900002}'), 2::bigint, 'duplicates count once');
SELECT is(pg_temp.membership(900002, 'b2b'), 'bulk [, ]', 'the source is bulk');
SELECT pg_temp.join_group(900003, 'b2b', -100, -1), pg_temp.join_group(900004, 'b2b', 1, 9), pg_temp.join_group(900005, 'b2b', 0, 0) \g /dev/null
SELECT is(customer_groups.add_members('b2b', '{900001,900003,900004,900005,900006}'), 3::bigint,
    'new ones, expired ones and those not valid yet');
SELECT is(
    (SELECT string_agg(pg_temp.membership(c, 'b2b'), ' ' ORDER BY c) FROM generate_series(900001, 900006) AS c),
    'bulk [, ] bulk [, ] bulk [, ] bulk [, ] self [0, 0] bulk [, ]', 'who is a valid member stays as it is');

-- Nobody is changed.
SELECT pg_temp.refused(format('SELECT customer_groups.%s', call), state, named, call)
FROM (VALUES
    ($$add_members('b2b', '{900007,999999,900008,999998}')$$, '02000', '999998'),
    ($$add_members('nope', '{900007}')$$, '02000', '"nope"'),
    ($$add_members('b2b', '{900007,NULL}')$$, '22004', NULL),
    ($$add_members('b2b', NULL)$$, '22004', NULL),
    ($$add_members(NULL, '{900007}')$$, '22004', NULL),
    ($$remove_members('b2b', '{900001,999999}')$$, '02000', '999999'),
    ($$remove_members('nope', '{900001}')$$, '02000', '"nope"'),
    ($$remove_members('b2b', '{900001,NULL}')$$, '22004', NULL),
    ($$remove_members('b2b', NULL)$$, '22004', NULL),
    ($$remove_members(NULL, '{900001}')$$, '22004', NULL),
    ($$move_members('{900001,999999}', 'b2b', 'club')$$, '02000', '999999'),
    ($$move_members('{900001}', 'nope', 'club')$$, '02000', '"nope"'),
    ($$move_members('{900001}', 'b2b', 'nope')$$, '02000', '"nope"'),
    ($$move_members('{900001}', 'b2b', 'b2b')$$, '22023', '"b2b"'),
    ($$move_members('{900001,NULL}', 'b2b', 'club')$$, '22004', NULL),
    ($$move_members(NULL, 'b2b', 'club')$$, '22004', NULL),
    ($$move_members('{900001}', NULL, 'club')$$, '22004', NULL),
    ($$move_members('{900001}', 'b2b', NULL)$$, '22004', NULL)
) AS c (call, state, named);
SELECT results_eq('SELECT customer_id FROM customer_groups.members ORDER BY 1', 'SELECT generate_series(900001, 900006)::bigint',
    'what is refused changes nobody');

SELECT is(customer_groups.remove_members('b2b', '{900006,900006,900008}'), 1::bigint, 'those who are in the group are removed');
SELECT is(customer_groups.remove_members('b2b', '{}'), 0::bigint, 'or nobody');
SELECT is(customer_groups.add_members('club', ARRAY(SELECT customer_id FROM customer_groups.members WHERE customer_id < 900003)),
    2::bigint, 'what a query finds');

SELECT is(customer_groups.move_members('{900001,900003,900003,900008}', 'b2b', 'club'), 2::bigint, 'those who are in the group are moved');
SELECT is((SELECT string_agg(coalesce(pg_temp.groups_held(c), '-'), ', ' ORDER BY c) FROM generate_series(900001, 900008) AS c),
    'club, b2b club, club, b2b, b2b, -, -, -', 'out of it and into the other one');
SELECT is(customer_groups.move_members('{900008}', 'b2b', 'club'), 0::bigint, 'nobody who is not in it');
SELECT is(customer_groups.move_members('{}', 'b2b', 'club'), 0::bigint, 'or nobody');
SELECT customer_groups.add_member(900004, 'club', :'today'::date + 3) \g /dev/null
SELECT is(customer_groups.move_members('{900004}', 'b2b', 'club'), 1::bigint, 'a member of both');
SELECT is(pg_temp.groups_held(900004) || ' ' || pg_temp.membership(900004, 'club'), 'club manual [, 3]',
    'leaves one and stays in the other as it was');

-- Tiers in bulk.
SELECT is(customer_groups.add_members('silver', '{900006,900007,900008}'), 3::bigint, 'a tier for many');
SELECT is(customer_groups.add_members('gold', '{900006,900007,900009}'), 3::bigint, 'another one for some');
SELECT is((SELECT string_agg(coalesce(pg_temp.groups_held(c), '-'), ', ' ORDER BY c) FROM generate_series(900006, 900009) AS c),
    'gold, gold, silver, gold', 'replaces the first');
SELECT is(customer_groups.move_members('{900006,900007,900008}', 'gold', 'silver'), 2::bigint, 'from tier to tier');
SELECT is((SELECT string_agg(coalesce(pg_temp.groups_held(c), '-'), ', ' ORDER BY c) FROM generate_series(900006, 900009) AS c),
    'silver, silver, silver, gold', 'in one move');
SELECT is((SELECT string_agg((detail ->> 'from') || ' to ' || (detail ->> 'to'), ', ' ORDER BY id) FROM customer_groups.events
           WHERE kind = 'tier_changed' AND customer_id = 900006 AND detail ->> 'from' IS NOT NULL),
    'silver to gold, silver to gold, gold to silver', 'without a time between them');
SELECT is(customer_groups.remove_members('silver', '{900006,900007,900008,900009}'), 3::bigint, 'out of a tier');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well after bulk changes');
DELETE FROM customer_groups.members;

-- ---------------------------------------------------------------------------------------------------------------
-- set_groups
-- ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.set_groups(codes text[]) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(s.change || ' ' || s.group_code, ', ' ORDER BY s.change, s.group_code)
    FROM customer_groups.set_groups(900001, codes) AS s
$$;

SELECT is(pg_temp.set_groups('{club,b2b,club}'), 'added b2b, added club', 'two groups are ticked');
SELECT is(pg_temp.groups_held(900001), 'b2b club', 'and held');
SELECT is(pg_temp.membership(900001, 'b2b'), 'manual [, ]', 'as by hand');
SELECT is(pg_temp.set_groups('{club,b2b}'), NULL, 'the same once more changes nothing');
SELECT is(pg_temp.set_groups('{news,b2b}'), 'added news, removed club', 'another one');
SELECT is(pg_temp.groups_held(900001), 'b2b news', 'exactly these');
SELECT is(pg_temp.set_groups('{}'), 'removed b2b, removed news', 'none');
SELECT is(pg_temp.groups_held(900001), NULL, 'at all');

SELECT pg_temp.join_group(900001, 'b2b', -100, -1), pg_temp.join_group(900001, 'club', -100, -1),
    pg_temp.join_group(900001, 'news', -5, 5) \g /dev/null
SELECT is(pg_temp.set_groups('{b2b,news}'), 'added b2b', 'one that has expired is added, another one nobody was in');
SELECT is(pg_temp.groups_held(900001), 'b2b news', 'though it is gone');
SELECT is(pg_temp.membership(900001, 'news'), 'self [-5, 5]', 'a valid one stays as it is');
SELECT is(pg_temp.membership(900001, 'b2b'), 'manual [, ]', 'a renewed one is new');
SELECT pg_temp.join_group(900001, 'club', 1, NULL) \g /dev/null
SELECT is(pg_temp.set_groups('{b2b,news,club}'), 'added club', 'one that is not valid yet is added');
SELECT is(pg_temp.membership(900001, 'club'), 'manual [, ]', 'and valid at once');

SELECT is(pg_temp.set_groups('{gold,partner}'), 'added gold, added partner, removed b2b, removed club, removed news',
    'tiers of two ladders');
SELECT is(pg_temp.set_groups('{silver,partner}'), 'added silver, removed gold', 'a tier is replaced');
SELECT is((SELECT string_agg(format('%s to %s', detail ->> 'from', detail ->> 'to'), ', ' ORDER BY id) FROM customer_groups.events
           WHERE kind = 'tier_changed' AND customer_id = 900001 AND detail ->> 'ladder' = 'default'),
    ' to gold, gold to silver', 'in one move');

SELECT pg_temp.refused(format('SELECT * FROM customer_groups.set_groups(%s)', arguments), state, named, 'set_groups: ' || name)
FROM (VALUES
    ($$900001, '{b2b,silver,gold}'$$, '22023', '''silver'', ''gold''', 'two tiers of one ladder'),
    ($$900001, '{b2b,nope}'$$, '02000', '"nope"', 'an unknown group'),
    ($$900001, '{b2b,NULL}'$$, '22004', NULL, 'a null group'),
    ($$900001, NULL$$, '22004', NULL, 'a null list'),
    ($$999999, '{}'$$, '02000', '999999', 'an unknown customer'),
    ($$NULL, '{}'$$, '22004', NULL, 'a null customer')
) AS c (arguments, state, named, name);
SELECT is(pg_temp.groups_held(900001), 'partner silver', 'what is refused changes nothing');

-- An earned tier that is ticked stays earned.
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900002, 150);
SELECT is(pg_temp.membership(900002, 'silver'), 'tier [, ]', 'earned');
SELECT results_eq($$ SELECT * FROM customer_groups.set_groups(900002, '{silver,partner,b2b}') $$, $$ VALUES ('b2b', 'added') $$, 'ticked');
SELECT is(pg_temp.membership(900002, 'silver'), 'tier [, ]', 'and still earned');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

SELECT * FROM finish();
ROLLBACK;
