-- groups_of and members_of, now and as of any time; purge_events and its horizon.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
\ir groups_refused.psql

INSERT INTO customer_groups.customers (id, name) SELECT 900000 + i, 'Customer ' || i FROM generate_series(1, 20) AS i;
INSERT INTO customer_groups.groups (id, code, name, starts_on, ends_on, use_pricing) VALUES
    (900001, 'b2b', 'Business', '2020-01-01', NULL, true),
    (900002, 'club', 'Club', '2020-01-01', NULL, true),
    (900003, 'past', 'Past', '2001-01-01', '2001-01-31', false),
    (900004, 'doomed', 'Doomed', '2020-01-01', NULL, true);

-- The groups of a customer as text.
CREATE FUNCTION pg_temp.held(customer bigint, at timestamptz DEFAULT NULL) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(format('%s/%s/%s [%s, %s]', group_code, name, source, valid_from, valid_until), ', ')
    FROM customer_groups.groups_of(customer, at)
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Memberships with dates
-- ---------------------------------------------------------------------------------------------------------------

INSERT INTO customer_groups.members (customer_id, group_id, valid_from, valid_until)
VALUES (900001, 900001, '2020-01-01', '2020-12-31'), (900001, 900003, '2020-06-01', NULL);
SELECT is(pg_temp.held(900001, at::timestamptz), held, 'as of ' || at)
FROM (VALUES
    ('2019-12-31 23:59:59.999999+00', NULL),
    ('2020-01-01 00:00:00+00', 'b2b/Business/manual [2020-01-01, 2020-12-31]'),
    ('2020-05-31 23:59:59.999999+00', 'b2b/Business/manual [2020-01-01, 2020-12-31]'),
    ('2020-06-01 00:00:00+00', 'b2b/Business/manual [2020-01-01, 2020-12-31], past/Past/manual [2020-06-01, ]'),
    ('2020-12-31 23:59:59.999999+00', 'b2b/Business/manual [2020-01-01, 2020-12-31], past/Past/manual [2020-06-01, ]'),
    ('2021-01-01 00:00:00+00', 'past/Past/manual [2020-06-01, ]'),
    ('2100-01-01 00:00:00+00', 'past/Past/manual [2020-06-01, ]'),
    ('0001-01-01 00:00:00+00 BC', NULL),
    ('4000-01-01 00:00:00+00', 'past/Past/manual [2020-06-01, ]')
) AS c (at, held);
SELECT is(pg_temp.held(900001), 'past/Past/manual [2020-06-01, ]', 'now; the dates of the group play no part');

-- Days are those of the settings' time zone.
INSERT INTO customer_groups.settings (timezone) VALUES ('Asia/Seoul');
SELECT is(pg_temp.held(900001, '2019-12-31 14:59:59+00'), NULL, 'the last moment of a year in Seoul');
SELECT is(pg_temp.held(900001, '2019-12-31 15:00:00+00'), 'b2b/Business/manual [2020-01-01, 2020-12-31]', 'the first moment of the next');
SELECT is(pg_temp.held(900001, '2020-12-31 15:00:00+00'), 'past/Past/manual [2020-06-01, ]', 'the first moment of the year after it');
SET LOCAL timezone = 'America/Los_Angeles';
SELECT is(pg_temp.held(900001, '2019-12-31 15:00:00+00'), 'b2b/Business/manual [2020-01-01, 2020-12-31]', 'the session''s time zone plays no part');
SET LOCAL timezone = 'UTC';
DELETE FROM customer_groups.settings;

-- ---------------------------------------------------------------------------------------------------------------
-- Additions, removals, renewals, at markers of the clock
-- ---------------------------------------------------------------------------------------------------------------

SELECT clock_timestamp() AS t0 \gset
SELECT customer_groups.add_member(900002, 'b2b') \g /dev/null
SELECT clock_timestamp() AS t1 \gset
SELECT customer_groups.remove_member(900002, 'b2b') \g /dev/null
SELECT clock_timestamp() AS t2 \gset
SELECT customer_groups.add_members('b2b', '{900002}') \g /dev/null
SELECT clock_timestamp() AS t3 \gset
SELECT is(pg_temp.held(900002, at), held, name)
FROM (VALUES
    (:'t0'::timestamptz, NULL, 'before the addition'),
    (:'t1'::timestamptz, 'b2b/Business/manual [, ]', 'without valid_from it starts at the addition'),
    (:'t2'::timestamptz, NULL, 'and ends at the removal'),
    (:'t3'::timestamptz, 'b2b/Business/bulk [, ]', 'added once more'),
    (NULL, 'b2b/Business/bulk [, ]', 'now')
) AS c (at, held, name);

-- A history that is loaded: the time of the addition is given.
INSERT INTO customer_groups.members (customer_id, group_id, added_at) VALUES (900003, 900001, '2021-03-04 12:00+00');
SELECT is(pg_temp.held(900003, '2021-03-04 11:59:59+00'), NULL, 'before added_at');
SELECT is(pg_temp.held(900003, '2021-03-04 12:00+00'), 'b2b/Business/manual [, ]', 'from added_at on');

-- The last recorded dates count for the whole of a membership.
INSERT INTO customer_groups.members (customer_id, group_id, valid_from) VALUES (900004, 900001, '2020-01-01');
SELECT is(pg_temp.held(900004, '2020-06-01'), 'b2b/Business/manual [2020-01-01, ]', 'without an end');
UPDATE customer_groups.members SET valid_until = '2020-03-31' WHERE customer_id = 900004;
SELECT is(pg_temp.held(900004, '2020-06-01'), NULL, 'an end that is set later');
SELECT is(pg_temp.held(900004, '2020-03-31'), 'b2b/Business/manual [2020-01-01, 2020-03-31]', 'counts for what was before too');
UPDATE customer_groups.members SET valid_from = '2020-02-01', source = 'bulk' WHERE customer_id = 900004;
SELECT is(pg_temp.held(900004, '2020-01-15'), NULL, 'so does a start');
SELECT is(pg_temp.held(900004, '2020-02-01'), 'b2b/Business/bulk [2020-02-01, 2020-03-31]', 'and the source');

-- Renewed after it had expired: two memberships.
INSERT INTO customer_groups.members (customer_id, group_id, source, valid_from, valid_until, added_at)
VALUES (900005, 900001, 'self', '2020-01-01', '2020-12-31', '2020-01-01');
SELECT clock_timestamp() AS t4 \gset
SELECT customer_groups.add_member(900005, 'b2b') \g /dev/null
SELECT clock_timestamp() AS t5 \gset
SELECT is(pg_temp.held(900005, '2020-06-01'), 'b2b/Business/self [2020-01-01, 2020-12-31]', 'the first membership as it was');
SELECT is(pg_temp.held(900005, '2021-06-01'), NULL, 'between the two');
SELECT is(pg_temp.held(900005, :'t4'), NULL, 'up to the renewal');
SELECT is(pg_temp.held(900005, :'t5'), 'b2b/Business/manual [, ]', 'the second one');

-- When and by whom a member was added, corrected by plain SQL: one event, and the last one counts.
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900009, 900001);
SELECT max(id) AS since FROM customer_groups.events \gset
UPDATE customer_groups.members SET added_at = '2021-05-06 12:00+00' WHERE customer_id = 900009;
SELECT is(pg_temp.held(900009, '2021-05-06 12:00+00'), 'b2b/Business/manual [, ]', 'an addition that is set back counts from there');
SELECT is(pg_temp.held(900009, '2021-05-06 11:59:59+00'), NULL, 'and not before');
UPDATE customer_groups.members SET added_by = 'the old system' WHERE customer_id = 900009;
UPDATE customer_groups.members SET added_at = added_at, added_by = added_by WHERE customer_id = 900009;
UPDATE customer_groups.members SET valid_until = '2999-12-31' WHERE customer_id = 900009;
UPDATE customer_groups.members SET added_at = '2021-07-08 12:00+00', added_by = 'an import' WHERE customer_id = 900009;
SELECT results_eq($$ SELECT kind, detail ->> 'added_at', detail ->> 'added_by' FROM customer_groups.events
    WHERE customer_id = 900009 AND id > $$ || :since || ' ORDER BY id',
    $$ VALUES ('member_changed', '2021-05-06T12:00:00+00:00', NULL), ('member_changed', NULL, 'the old system'),
        ('member_changed', NULL, NULL), ('member_changed', '2021-07-08T12:00:00+00:00', 'an import') $$, 'the log tells what changed, once');
SELECT is(pg_temp.held(900009, '2021-06-01'), NULL, 'the last one counts');
SELECT is(pg_temp.held(900009, '2021-08-01'), 'b2b/Business/manual [, 2999-12-31]', 'from then on');
SELECT results_eq($$ SELECT added_at, added_by FROM customer_groups.member_history WHERE customer_id = 900009 $$,
    $$ SELECT added_at, added_by FROM customer_groups.members WHERE customer_id = 900009 $$, 'the history has it');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'and agrees with the table');
ALTER TABLE customer_groups.members DISABLE TRIGGER members_updated;
UPDATE customer_groups.members SET added_by = 'nobody' WHERE customer_id = 900009;
SELECT results_eq('SELECT problem, customer_id FROM customer_groups.check_integrity()',
    $$ VALUES ('membership differs from its events', 900009::bigint) $$, 'a change that the log does not know of is found');
UPDATE customer_groups.members SET added_by = 'an import', added_at = '2021-07-08 12:01+00' WHERE customer_id = 900009;
SELECT results_eq('SELECT problem, customer_id FROM customer_groups.check_integrity()',
    $$ VALUES ('membership differs from its events', 900009::bigint) $$, 'of the time as well');
UPDATE customer_groups.members SET added_at = '2021-07-08 12:00+00' WHERE customer_id = 900009;
ALTER TABLE customer_groups.members ENABLE TRIGGER members_updated;

-- Moves on a ladder follow from each other.
INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold) VALUES (900021, 'low', 'Low', 1e6), (900022, 'high', 'High', 2e6);
SELECT customer_groups.add_member(900009, code) FROM unnest('{low,high,low}'::text[]) AS code \g /dev/null
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'up and down again');
SAVEPOINT s;
INSERT INTO customer_groups.events (kind, customer_id, group_id, detail)
SELECT 'tier_changed', 900009, 900021, '{"ladder": "default", "from": "high", "from_id": 900022, "to": "low"}';
SELECT results_eq('SELECT problem, customer_id FROM customer_groups.check_integrity()',
    $$ VALUES ('tier differs from its events', 900009::bigint) $$, 'a move from where the customer was not is found');
ROLLBACK TO s;
DELETE FROM customer_groups.groups WHERE id IN (900021, 900022);

-- Removed, and added with a start before that: one group once.
INSERT INTO customer_groups.members (customer_id, group_id, valid_from) VALUES (900006, 900001, '2020-01-01');
DELETE FROM customer_groups.members WHERE customer_id = 900006;
SELECT is(pg_temp.held(900006, '2020-06-01'), 'b2b/Business/manual [2020-01-01, ]', 'it was in the group until it was removed');
SELECT is(pg_temp.held(900006, clock_timestamp()), NULL, 'now it is not');
INSERT INTO customer_groups.members (customer_id, group_id, source, valid_from) VALUES (900006, 900001, 'bulk', '2020-03-01');
SELECT is(pg_temp.held(900006, '2020-06-01'), 'b2b/Business/bulk [2020-03-01, ]', 'a group in which it was twice then shows once, as last recorded');
SELECT is(pg_temp.held(900006, '2020-02-01'), 'b2b/Business/manual [2020-01-01, ]', 'one that the second time does not reach');
SELECT results_eq($$ SELECT * FROM customer_groups.members_of('b2b', '2020-06-01') WHERE customer_id = 900006 $$,
    $$ VALUES (900006::bigint, 'bulk', '2020-03-01'::date, NULL::date) $$, 'nor does members_of tell it twice');

-- Moved to another group by plain SQL.
SELECT customer_groups.add_member(900007, 'b2b') \g /dev/null
SELECT clock_timestamp() AS t6 \gset
UPDATE customer_groups.members SET group_id = 900002 WHERE customer_id = 900007;
SELECT is(pg_temp.held(900007, :'t6') || ', then ' || pg_temp.held(900007, clock_timestamp()),
    'b2b/Business/manual [, ], then club/Club/manual [, ]', 'a membership that changes its group');

-- Groups that are renamed and deleted.
SELECT customer_groups.add_member(900008, 'doomed'), customer_groups.add_member(900008, 'club') \g /dev/null
SELECT clock_timestamp() AS t7 \gset
UPDATE customer_groups.groups SET code = 'lost', name = 'Lost' WHERE code = 'doomed';
SELECT is(pg_temp.held(900008, :'t7'), 'club/Club/manual [, ], lost/Lost/manual [, ]', 'a renamed group has its present name');
SELECT customer_groups.delete_group('lost') \g /dev/null
SELECT is(pg_temp.held(900008, :'t7'), 'club/Club/manual [, ], lost/Lost/manual [, ]', 'a deleted one the last it had');
SELECT is(pg_temp.held(900008, clock_timestamp()), 'club/Club/manual [, ]', 'from its end on nobody is in it');

-- A deleted customer.
SELECT customer_groups.add_member(900009, 'club') \g /dev/null
SELECT clock_timestamp() AS t8 \gset
DELETE FROM customer_groups.customers WHERE id = 900009;
SELECT ok(900009 IN (SELECT customer_id FROM customer_groups.members_of('club', :'t8')), 'members_of knows a customer that was deleted since');
SELECT ok(900009 NOT IN (SELECT customer_id FROM customer_groups.members_of('club', clock_timestamp())), 'as a former member');

-- members_of is the other way round.
SELECT clock_timestamp() AS t9 \gset
SELECT set_eq(
    format($$
        SELECT t.at, c.id, o.group_code, o.source, o.valid_from, o.valid_until
        FROM unnest(%1$L::timestamptz[]) AS t (at), customer_groups.customers AS c, customer_groups.groups_of(c.id, t.at) AS o
        WHERE o.group_code <> 'lost'
        $$, ARRAY['2020-01-01', '2020-06-01', '2021-03-05', :'t1', :'t2', :'t5', :'t7', :'t9', NULL]::timestamptz[]),
    format($$
        SELECT t.at, o.customer_id, g.code, o.source, o.valid_from, o.valid_until
        FROM unnest(%1$L::timestamptz[]) AS t (at), customer_groups.groups AS g, customer_groups.members_of(g.code, t.at) AS o
        WHERE o.customer_id <> 900009
        $$, ARRAY['2020-01-01', '2020-06-01', '2021-03-05', :'t1', :'t2', :'t5', :'t7', :'t9', NULL]::timestamptz[]),
    'members_of tells the same as groups_of');

SELECT pg_temp.refused('SELECT * FROM customer_groups.' || call, state, named, call)
FROM (VALUES
    ('groups_of(999999)', '02000', '999999'),
    ('groups_of(999999, now())', '02000', '999999'),
    ('groups_of(NULL)', '22004', NULL),
    ('groups_of(900001, ''infinity'')', '22023', 'infinit'),
    ('groups_of(900001, ''-infinity'')', '22023', 'infinit'),
    ('members_of(''nope'')', '02000', '"nope"'),
    ('members_of(''lost'', now())', '02000', '"lost"'),
    ('members_of(NULL)', '22004', NULL),
    ('members_of(''b2b'', ''infinity'')', '22023', 'infinit')
) AS c (call, state, named);

-- ---------------------------------------------------------------------------------------------------------------
-- purge_events
-- ---------------------------------------------------------------------------------------------------------------

-- A log of past years, as it is restored.
DELETE FROM customer_groups.members;
INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold) VALUES (900011, 'silver', 'Silver', 100), (900012, 'gold', 'Gold', 1000);
CREATE FUNCTION pg_temp.event(at timestamptz, kind text, customer bigint, of_group int, from_day date DEFAULT NULL, until_day date DEFAULT NULL)
    RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO customer_groups.events (at, kind, customer_id, group_id, detail)
    SELECT event.at, event.kind, customer, g.id, jsonb_build_object('code', g.code, 'name', g.name, 'source', 'manual',
        'valid_from', from_day, 'valid_until', until_day)
    FROM customer_groups.groups AS g WHERE g.id = of_group
$$;
CREATE FUNCTION pg_temp.move(at timestamptz, customer bigint, from_code text, to_code text) RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO customer_groups.events (at, kind, customer_id, group_id, detail)
    SELECT move.at, 'tier_changed', customer, (SELECT id FROM customer_groups.groups WHERE code = to_code),
        jsonb_build_object('ladder', 'default', 'from', from_code,
            'from_id', (SELECT id FROM customer_groups.groups WHERE code = from_code), 'to', to_code)
$$;
SELECT
    -- over before the purge
    pg_temp.event('2010-01-01', 'member_added', 900011, 900001), pg_temp.event('2010-06-01', 'member_removed', 900011, 900001),
    -- still there
    pg_temp.event('2010-01-01', 'member_added', 900012, 900001), pg_temp.event('2010-02-01', 'member_changed', 900012, 900001, NULL, '2040-01-01'),
    -- over, and there again
    pg_temp.event('2010-01-01', 'member_added', 900013, 900001), pg_temp.event('2010-06-01', 'member_removed', 900013, 900001),
    pg_temp.event('2011-01-01', 'member_added', 900013, 900001),
    -- removed after the purge
    pg_temp.event('2010-01-01', 'member_added', 900014, 900001, '2010-03-01'), pg_temp.event('2013-01-01', 'member_removed', 900014, 900001),
    -- expired and renewed before it
    pg_temp.event('2010-01-01', 'member_added', 900015, 900001, NULL, '2010-03-01'), pg_temp.event('2011-06-01', 'member_added', 900015, 900001),
    -- renewed after it
    pg_temp.event('2010-01-01', 'member_added', 900016, 900001, NULL, '2010-03-01'), pg_temp.event('2013-01-01', 'member_added', 900016, 900001),
    -- tiers
    pg_temp.event('2010-01-01', 'member_added', 900017, 900011), pg_temp.move('2010-01-01', 900017, NULL, 'silver'),
    pg_temp.event('2010-02-01', 'member_removed', 900017, 900011), pg_temp.event('2010-02-01', 'member_added', 900017, 900012),
    pg_temp.move('2010-02-01', 900017, 'silver', 'gold'),
    pg_temp.event('2010-01-01', 'member_added', 900018, 900011), pg_temp.move('2010-01-01', 900018, NULL, 'silver'),
    pg_temp.event('2010-02-01', 'member_removed', 900018, 900011), pg_temp.move('2010-02-01', 900018, 'silver', NULL)
\g /dev/null
SET LOCAL client_min_messages = error;
INSERT INTO customer_groups.members (customer_id, group_id, valid_until, added_at, recorded_at) VALUES
    (900012, 900001, '2040-01-01', '2010-01-01', '2010-01-01'), (900013, 900001, NULL, '2011-01-01', '2011-01-01'),
    (900015, 900001, NULL, '2011-06-01', '2010-01-01'), (900016, 900001, NULL, '2013-01-01', '2010-01-01'),
    (900017, 900012, NULL, '2010-02-01', '2010-02-01');
SET LOCAL client_min_messages = warning;
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'the restored log is sound');

CREATE TEMPORARY TABLE before_purge AS
SELECT t.at, c.id, pg_temp.held(c.id, t.at) AS held
FROM generate_series('2012-01-01'::timestamptz, '2014-01-01', '1 month') AS t (at), customer_groups.customers AS c;
SELECT is(pg_temp.held(900011, '2010-03-01'), 'b2b/Business/manual [, ]', 'before the purge the log goes back');
CREATE TEMPORARY TABLE events_before AS SELECT * FROM customer_groups.events;

SELECT is(customer_groups.purge_events('2009-01-01'), 0::bigint, 'nothing to purge');
SELECT is(pg_temp.held(900011, '2010-03-01'), 'b2b/Business/manual [, ]', 'after that time all is there');
SELECT is(customer_groups.purge_events('2012-01-01'), 11::bigint, 'what nothing follows from any more is purged');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'the purged log is sound');
SELECT is_empty(
    'SELECT at, id, held, pg_temp.held(id, at) FROM before_purge WHERE held IS DISTINCT FROM pg_temp.held(id, at)',
    'from the horizon on the answers are what they were');
SELECT is_empty(
    $$ SELECT * FROM customer_groups.events WHERE kind <> 'events_purged' EXCEPT SELECT * FROM events_before $$,
    'what is left is as it was');
SELECT is((SELECT count(*)::int FROM events_before AS b WHERE b.at >= '2012-01-01'
           AND NOT EXISTS (SELECT FROM customer_groups.events AS e WHERE e.id = b.id)), 0, 'later events are all there');
SELECT is((SELECT detail ->> 'purged' FROM customer_groups.events WHERE kind = 'events_purged' ORDER BY id DESC LIMIT 1), '11',
    'the purge is an event itself');

SELECT pg_temp.refused('SELECT * FROM customer_groups.' || call, '22023', named, call)
FROM (VALUES
    ('groups_of(900012, ''2011-12-31 23:59:59.999999+00'')', '2011-12-31 23:59:59.999999+00'),
    ('groups_of(900012, ''2010-03-01'')', '2012-01-01'),
    ('members_of(''b2b'', ''2010-03-01'')', '2010-03-01'),
    ('purge_events(''infinity'')', 'infinity'),
    ('purge_events(''-infinity'')', '-infinity'),
    ('purge_events(now() + interval ''1 second'')', to_char(now() + interval '1 second', 'YYYY-MM-DD'))
) AS c (call, named);
SELECT is(pg_temp.held(900012, '2012-01-01'), 'b2b/Business/manual [, 2040-01-01]', 'the horizon itself is answered');
SELECT is(customer_groups.purge_events('2011-01-01'), 0::bigint, 'a purge before the horizon finds nothing');
SELECT pg_temp.refused($$ SELECT * FROM customer_groups.groups_of(900012, '2011-06-01') $$, '22023', '2011-06-01',
    'and does not move the horizon back');
SELECT throws_ok('DELETE FROM customer_groups.events', '55000', NULL, 'after a purge the log is append-only again');
SELECT ok(customer_groups.purge_events(now()) >= 2, 'up to now');
SELECT is(pg_temp.held(900012, clock_timestamp()), 'b2b/Business/manual [, 2040-01-01]', 'the present is answered');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

-- What happens next is recorded and answered as ever.
SELECT customer_groups.remove_member(900012, 'b2b'), customer_groups.add_member(900011, 'club') \g /dev/null
SELECT is(pg_temp.held(900012, clock_timestamp()), NULL, 'removed after the purge');
SELECT is(pg_temp.held(900011, clock_timestamp()), 'club/Club/manual [, ]', 'added after the purge');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is still well');

SELECT * FROM finish();
ROLLBACK;
