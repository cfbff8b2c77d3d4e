-- delete_group and a plain DELETE of groups do the same: members and attachments go, sales and events stay.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
\ir groups_refused.psql

INSERT INTO customer_groups.stores (id, code, name) VALUES (900001, 'north', 'North');
INSERT INTO customer_groups.customers (id, name) SELECT 900000 + i, 'Customer ' || i FROM generate_series(1, 4) AS i;
INSERT INTO customer_groups.items (id, name, price) VALUES (900001, 'Lamp', 100);

-- Two groups that are alike: one goes by the function, one by plain SQL, together with others of each kind.
CREATE FUNCTION pg_temp.make_group(group_id int, group_code text, threshold numeric DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold) VALUES (group_id, group_code, 'Group', threshold);
    INSERT INTO customer_groups.promotions (id, code, name, kind, value, groups_only)
    VALUES (group_id, 'only-' || group_code, 'Only', 'percent', 10, true),
        (group_id + 100, 'both-' || group_code, 'Both', 'percent', 5, false);
    INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (group_id, make_group.group_id), (group_id + 100, make_group.group_id);
    INSERT INTO customer_groups.group_store_pricing (group_id, store_id, use_pricing) VALUES (make_group.group_id, 900001, true);
    PERFORM customer_groups.add_members(group_code, '{900001,900002}');
    PERFORM customer_groups.add_member(900003, group_code, current_date + 9);
END
$$;
-- What is left of a group in the tables.
CREATE FUNCTION pg_temp.rest(id int) RETURNS text
    LANGUAGE sql AS $$
    SELECT format('groups %s, members %s, attachments %s, stores %s, promotions %s',
        (SELECT count(*) FROM customer_groups.groups AS g WHERE g.id = rest.id),
        (SELECT count(*) FROM customer_groups.members AS m WHERE m.group_id = rest.id),
        (SELECT count(*) FROM customer_groups.promotion_groups AS a WHERE a.group_id = rest.id),
        (SELECT count(*) FROM customer_groups.group_store_pricing AS s WHERE s.group_id = rest.id),
        (SELECT count(*) FROM customer_groups.promotions AS p WHERE p.id IN (rest.id, rest.id + 100)))
$$;
-- The events of a group since a number, without what differs between two groups.
CREATE FUNCTION pg_temp.log_since(since bigint, of_group int, code text) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(replace(replace(replace(format('%s %s %s', kind, customer_id, detail), code, 'CODE'), of_group::text, 'ID'), (of_group + 100)::text, 'ID + 100'), E'\n'
        ORDER BY kind, customer_id, promotion_id)
    FROM customer_groups.events WHERE id > since AND (group_id = of_group OR (kind = 'tier_changed' AND detail ->> 'from' = code))
$$;

SELECT pg_temp.make_group(900011, 'alpha'), pg_temp.make_group(900012, 'gamma') \g /dev/null
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 90);
SELECT is(pg_temp.rest(900011), 'groups 1, members 3, attachments 2, stores 1, promotions 2', 'a group with all that can hang on it');
SELECT is((customer_groups.effective_price(900001, 900001)).price::int, 90, 'and its price');
CREATE TEMPORARY TABLE log_before AS SELECT * FROM customer_groups.events;
SELECT max(id) AS last FROM customer_groups.events \gset
SELECT clock_timestamp() AS t \gset

SELECT lives_ok($$ SELECT customer_groups.delete_group('alpha') $$, 'deleted by the function');
SELECT is(pg_temp.rest(900011), 'groups 0, members 0, attachments 0, stores 0, promotions 2', 'all that hung on it is gone, the promotions stay');
SELECT is(pg_temp.rest(900012), 'groups 1, members 3, attachments 2, stores 1, promotions 2', 'others stay');
CREATE TEMPORARY TABLE log_of_function AS SELECT pg_temp.log_since(:last, 900011, 'alpha') AS log;
SELECT max(id) AS last FROM customer_groups.events \gset
SELECT lives_ok($$ DELETE FROM customer_groups.groups WHERE code = 'gamma' $$, 'deleted by plain SQL');
SELECT is(pg_temp.rest(900012), 'groups 0, members 0, attachments 0, stores 0, promotions 2', 'with the same result');
SELECT is(pg_temp.log_since(:last, 900012, 'gamma'), (SELECT log FROM log_of_function), 'and the same events');
SELECT is((SELECT string_agg(kind || ' ' || n, ', ' ORDER BY kind) FROM (
        SELECT kind, count(*) AS n FROM customer_groups.events WHERE id > :last GROUP BY kind) AS k),
    'attachment_removed 2, group_removed 1, member_removed 3, store_pricing_removed 1', 'one for each thing that went');
SELECT is_empty('SELECT * FROM log_before EXCEPT SELECT * FROM customer_groups.events', 'no earlier event is lost');
SELECT is((SELECT count(*)::int FROM customer_groups.sales WHERE customer_id = 900001), 1, 'nor a sale');
SELECT is(customer_groups.effective_discount(900001, 900001)::int, 5, 'what was for this group only is open to nobody, the rest to all');
SELECT is((SELECT string_agg(group_code, ' ') FROM customer_groups.groups_of(900001, :'t')), 'alpha gamma', 'the past has both groups');
SELECT is((SELECT string_agg(group_code, ' ') FROM customer_groups.groups_of(900001, clock_timestamp())), NULL, 'the present none');
SELECT is((SELECT array_agg(DISTINCT detail ->> 'code') FROM customer_groups.events WHERE kind = 'group_removed' AND group_id IN (900011, 900012)),
    '{alpha,gamma}', 'the events have their codes');

-- A tier.
SELECT pg_temp.make_group(900013, 'gold', 1000) \g /dev/null
SELECT max(id) AS last FROM customer_groups.events \gset
SELECT customer_groups.delete_group('gold') \g /dev/null
SELECT is((SELECT count(*)::int FROM customer_groups.events WHERE id > :last AND kind = 'tier_changed'
           AND detail ->> 'from' = 'gold' AND detail ->> 'to' IS NULL), 3, 'its members lose a tier');

-- Several at once, and groups without anything.
SELECT pg_temp.make_group(900014, 'one'), pg_temp.make_group(900015, 'two') \g /dev/null
DELETE FROM customer_groups.groups WHERE code IN ('one', 'two');
SELECT is(pg_temp.rest(900014) || '; ' || pg_temp.rest(900015),
    'groups 0, members 0, attachments 0, stores 0, promotions 2; groups 0, members 0, attachments 0, stores 0, promotions 2', 'several at once');
INSERT INTO customer_groups.groups (id, code, name) VALUES (900016, 'empty', 'Empty');
SELECT lives_ok($$ SELECT customer_groups.delete_group('empty') $$, 'an empty group');

SELECT pg_temp.refused($$ SELECT customer_groups.delete_group('alpha') $$, '02000', '"alpha"', 'a group that is deleted already');
SELECT pg_temp.refused($$ SELECT customer_groups.delete_group(NULL) $$, '22004', NULL, 'a null one');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

SELECT * FROM finish();
ROLLBACK;
