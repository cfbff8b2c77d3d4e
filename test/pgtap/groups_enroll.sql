-- enroll and enrollable_groups: customers put themselves into groups that allow it.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
\ir groups_refused.psql

SELECT customer_groups.shop_today() AS today \gset
INSERT INTO customer_groups.customers (id, name) SELECT 900000 + i, 'Customer ' || i FROM generate_series(1, 9) AS i;
INSERT INTO customer_groups.groups (id, code, name, self_enroll, starts_on, ends_on, upgrade_threshold, use_pricing) VALUES
    (900001, 'club', 'Club', true, :'today'::date - 9, NULL, NULL, true),
    (900002, 'news', 'News', true, :'today', :'today', NULL, false),
    (900003, 'closed', 'Closed', false, :'today'::date - 9, NULL, NULL, true),
    (900004, 'soon', 'Soon', true, :'today'::date + 1, NULL, NULL, true),
    (900005, 'over', 'Over', true, :'today'::date - 9, :'today'::date - 1, NULL, true),
    (900006, 'tier', 'Tier', true, :'today'::date - 9, NULL, 1000, true);

CREATE FUNCTION pg_temp.held(customer bigint) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s', group_code, source), ', ' ORDER BY group_code) FROM customer_groups.groups_of(customer)
$$;

SELECT results_eq('SELECT code FROM customer_groups.enrollable_groups ORDER BY 1', $$ VALUES ('club'), ('news') $$,
    'open are groups that allow it, in their dates, and no tiers');

SELECT is(customer_groups.enroll(900001, '{club}'), 1, 'enrolled');
SELECT is(pg_temp.held(900001), 'club self', 'with this source');
SELECT is(customer_groups.enroll(900001, '{club}'), 0, 'once');
SELECT is(customer_groups.enroll(900001, '{}'), 0, 'in no group');
SELECT is(customer_groups.enroll(900002, '{club,club}'), 1, 'named twice');

-- Without enroll_many: one in all.
SELECT pg_temp.refused($$ SELECT customer_groups.enroll(900001, '{news}') $$, '55000', '''club'', ''news''', 'a second group by a later call');
SELECT pg_temp.refused($$ SELECT customer_groups.enroll(900001, '{club,news}') $$, '55000', '''news''', 'together with the first');
SELECT pg_temp.refused($$ SELECT customer_groups.enroll(900003, '{club,news}') $$, '55000', '900003', 'two groups at once');
SELECT is(pg_temp.held(900001), 'club self', 'the first enrollment stays');
SELECT is(pg_temp.held(900003), NULL, 'what is refused enrolls in neither');
SELECT customer_groups.remove_member(900001, 'club') \g /dev/null
SELECT is(customer_groups.enroll(900001, '{news}'), 1, 'another group once the first is left');

-- Memberships by others do not count.
SELECT customer_groups.add_member(900004, 'club'), customer_groups.add_member(900004, 'closed') \g /dev/null
SELECT is(customer_groups.enroll(900004, '{club}'), 0, 'who is a member already does not enroll');
SELECT is(customer_groups.enroll(900004, '{news}'), 1, 'and may enroll elsewhere');
SELECT is(pg_temp.held(900004), 'closed manual, club manual, news self', 'keeping the other memberships');
-- Expired enrollments do not, those in groups out of their dates do.
INSERT INTO customer_groups.members (customer_id, group_id, source, valid_until, added_at)
VALUES (900005, 900001, 'self', :'today'::date - 1, now() - interval '1 year'), (900006, 900005, 'self', NULL, now() - interval '1 year');
SELECT is(customer_groups.enroll(900005, '{news}'), 1, 'an expired enrollment does not count');
SELECT pg_temp.refused($$ SELECT customer_groups.enroll(900005, '{club}') $$, '55000', '''club''', 'until it is renewed');
SELECT pg_temp.refused($$ SELECT customer_groups.enroll(900006, '{news}') $$, '55000', '''over''', 'one in a group that is over counts');
INSERT INTO customer_groups.members (customer_id, group_id, source, valid_from, valid_until, added_at)
VALUES (900007, 900001, 'manual', :'today'::date - 9, :'today'::date - 1, now() - interval '1 year');
SELECT is(customer_groups.enroll(900007, '{club}'), 1, 'an expired membership is renewed');
SELECT is(pg_temp.held(900007), 'club self', 'by the customer');

-- With enroll_many.
INSERT INTO customer_groups.settings (enroll_many) VALUES (true);
SELECT is(customer_groups.enroll(900003, '{club,news}'), 2, 'two groups at once');
SELECT is(customer_groups.enroll(900001, '{news,club}'), 1, 'one more by a later call');
SELECT is(pg_temp.held(900001), 'club self, news self', 'both are held');
UPDATE customer_groups.settings SET enroll_many = false;
SELECT is(customer_groups.enroll(900001, '{news,club}'), 0, 'who holds two already loses none when one is the limit again');

SELECT pg_temp.refused(format('SELECT customer_groups.enroll(%s)', arguments), state, named, 'enroll: ' || name)
FROM (VALUES
    ($$900008, '{closed}'$$, '22023', 'closed', 'not open'),
    ($$900008, '{soon}'$$, '22023', 'soon', 'not started'),
    ($$900008, '{over}'$$, '22023', 'over', 'ended'),
    ($$900008, '{tier}'$$, '22023', 'tier', 'a tier'),
    ($$900008, '{club,closed}'$$, '22023', 'closed', 'one of them not open'),
    ($$900008, '{club,nope}'$$, '02000', '"nope"', 'an unknown group'),
    ($$900008, '{club,NULL}'$$, '22004', NULL, 'a null group'),
    ($$900008, NULL$$, '22004', NULL, 'a null list'),
    ($$999999, '{club}'$$, '02000', '999999', 'an unknown customer'),
    ($$NULL, '{club}'$$, '22004', NULL, 'a null customer')
) AS c (arguments, state, named, name);
SELECT is(pg_temp.held(900008), NULL, 'none of these has enrolled');

-- The day is that of the settings' time zone.
UPDATE customer_groups.settings SET timezone = CASE WHEN (now() AT TIME ZONE 'UTC')::time < '10:00' THEN 'Etc/GMT+12' ELSE 'Pacific/Kiritimati' END;
SELECT is((SELECT count(*)::int FROM customer_groups.enrollable_groups WHERE code = 'news'), 0,
    'what is open today is not where it is another day');
SELECT pg_temp.refused($$ SELECT customer_groups.enroll(900008, '{news}') $$, '22023', 'news', 'nor can anybody enroll');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

SELECT * FROM finish();
ROLLBACK;
