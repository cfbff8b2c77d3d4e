-- search_customers, and forget_customer, after which nothing of the person is left in any table.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
\ir groups_refused.psql

INSERT INTO customer_groups.customers (id, external_id, name, email, phone, birth_date, attributes) VALUES
    (900001, 'crm-4711', U&'Zo\00EB Quux', 'zoe.quux@mail.example', '+82 10-5555-0001', '1984-02-29', '{"city": "Quuxville"}'),
    (900002, NULL, 'Bob 100% Off_Season', 'bob@example.com', '5550002', NULL, '{}'),
    (900003, 'CRM-4712', U&'\B2E8\ACE8 \C190\B2D8', NULL, NULL, NULL, '{}'),
    (900004, NULL, NULL, NULL, NULL, NULL, '{}'),
    (900005, NULL, 'ISIL', NULL, NULL, NULL, '{}');
INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold)
VALUES (900001, 'b2b', 'Business', NULL), (900002, 'club', 'Club', NULL), (900003, 'silver', 'Silver', 100);
INSERT INTO customer_groups.segments (id, code, name, color, rule) VALUES (900001, 'regular', 'Regular', '#aabbcc', 'visits >= 1');
INSERT INTO customer_groups.sales (customer_id, amount, external_id) VALUES (900001, 150, 'till-1');
SELECT customer_groups.add_member(900001, 'b2b'), customer_groups.add_member(900002, 'club') \g /dev/null
INSERT INTO customer_groups.members (customer_id, group_id, valid_until) VALUES (900001, 900002, current_date - 1);

SELECT is((SELECT array_agg(customer_id - 900000) FROM customer_groups.search_customers(keyword)), found::bigint[], name)
FROM (VALUES
    ('quux', '{1}', 'by name'),
    (U&'ZOE\0308', '{1}', 'by name in capitals with an accent of its own'),
    ('ZOE.QUUX@', '{1}', 'by e-mail address'),
    ('10-5555', '{1}', 'by telephone number'),
    ('555', '{1,2}', 'by any part of it'),
    ('crm-471', '{1,3}', 'by external id'),
    ('%', '{2}', '% is a letter'),
    ('_', '{2}', '_ is a letter'),
    ('quuxville', NULL, 'attributes are not searched'),
    ('1984', NULL, 'nor is the date of birth'),
    (U&'\1103\1161\11AB\1100\1169\11AF', '{3}', 'Korean in single letters'),
    ('isil', '{5}', 'I and i are one letter'),
    ('900001', NULL, 'the id is no text'),
    ('nobody like that', NULL, 'nobody'),
    ('', '{1,2,3,5}', 'an empty keyword finds all that have any of them'),
    (NULL, '{1,2,3,5}', 'so does a null one')
) AS c (keyword, found, name);
SELECT results_eq(
    $$ SELECT customer_id, name, email, phone, group_codes FROM customer_groups.search_customers('crm-4711') $$,
    $$ SELECT id, name, email, phone, '{b2b,silver}'::text[] FROM customer_groups.customers WHERE id = 900001 $$,
    'with the groups of which they are valid members');
SELECT is((SELECT labels FROM customer_groups.search_customers('crm-4711')),
    '[{"code": "regular", "name": "Regular", "color": "#aabbcc"}]', 'and their labels');
SELECT is((SELECT labels FROM customer_groups.search_customers('crm-4712')), '[]', 'if any');
SELECT results_eq(
    $$ SELECT customer_id, group_codes FROM customer_groups.search_customers('bob') $$,
    $$ VALUES (900002::bigint, '{club}'::text[]) $$, 'each with its own');

-- ---------------------------------------------------------------------------------------------------------------
-- forget_customer
-- ---------------------------------------------------------------------------------------------------------------

-- Changes of the record before: had they been logged, it would show.
UPDATE customer_groups.customers SET name = U&'Zo\00EB Frob', email = 'zoe.frob@mail.example' WHERE id = 900001;
SELECT customer_groups.set_groups(900001, '{b2b,silver}') \g /dev/null
SELECT outcome FROM customer_groups.add_members_by_email('club', U&'Zo\00EB Frob <zoe.frob@mail.example>') \g /dev/null

-- Where a text is found: in all columns of all tables of the extension.
CREATE FUNCTION pg_temp.places_of(needle text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    relation regclass;
    result text[] := '{}';
    n bigint;
BEGIN
    FOR relation IN
        SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'customer_groups'::regnamespace AND c.relkind IN ('r', 'p', 'm')
        ORDER BY c.relname
    LOOP
        EXECUTE format('SELECT count(*) FROM %s AS t WHERE strpos(lower(t::text), lower($1)) > 0', relation) INTO n USING needle;
        IF n > 0 THEN
            result := result || relation::text;
        END IF;
    END LOOP;
    RETURN nullif(array_to_string(result, ' '), '');
END
$$;
CREATE TEMPORARY TABLE traces (needle text);
INSERT INTO traces VALUES
    ('quux'), ('frob'), (U&'Zo\00EB'), ('zoe'), ('5555-0001'), ('crm-4711'), ('1984-02-29'), ('Quuxville'), ('mail.example');
SELECT is(pg_temp.places_of('frob'), 'customer_groups.customers', 'the search finds what is there');
SELECT is(pg_temp.places_of('1984-02-29'), 'customer_groups.customer_facts customer_groups.customers', 'in all tables');

CREATE TEMPORARY TABLE facts_before AS SELECT * FROM customer_groups.customer_facts;
CREATE TEMPORARY TABLE events_before AS SELECT * FROM customer_groups.events;
SELECT clock_timestamp() AS t \gset
SELECT lives_ok('SELECT customer_groups.forget_customer(900001)', 'forgotten');
SELECT is(pg_temp.places_of(needle), NULL, 'nothing is left of ' || needle) FROM traces;
SELECT results_eq(
    $$ SELECT external_id, name, email, phone, birth_date, attributes FROM customer_groups.customers WHERE id = 900001 $$,
    $$ VALUES (NULL::text, NULL::text, NULL::text, NULL::text, NULL::date, '{}'::jsonb) $$, 'the record is empty');
SELECT is((SELECT count(*)::int FROM customer_groups.members WHERE customer_id = 900001), 0, 'without memberships, expired ones too');
SELECT is((SELECT count(*)::int FROM customer_groups.sales WHERE customer_id = 900001), 1, 'the sales stay');
SELECT results_eq(
    $$ SELECT customer_id, visits, net_sales, first_visit_at, last_visit_at, registered_at FROM customer_groups.customer_facts ORDER BY 1 $$,
    $$ SELECT customer_id, visits, net_sales, first_visit_at, last_visit_at, registered_at FROM facts_before ORDER BY 1 $$, 'and the sums');
SELECT is_empty('SELECT * FROM events_before EXCEPT SELECT * FROM customer_groups.events', 'and the events');
SELECT is((SELECT string_agg(kind, ' ' ORDER BY id) FROM customer_groups.events WHERE id > (SELECT max(id) FROM events_before)),
    'member_removed member_removed member_removed tier_changed customer_forgotten', 'with those of this');
SELECT is((SELECT count(*)::int FROM customer_groups.search_customers('')), 3, 'searching finds nobody');
SELECT is((SELECT count(*)::int FROM customer_groups.groups_of(900001, :'t')), 3, 'past groups are no secret');
SELECT is((SELECT name FROM customer_groups.customers WHERE id = 900002), 'Bob 100% Off_Season', 'others are remembered');
SELECT lives_ok('SELECT customer_groups.forget_customer(900001)', 'a second time');
SELECT lives_ok($$ INSERT INTO customer_groups.customers (external_id, name) VALUES ('crm-4711', 'New') $$, 'the external id is free again');
SELECT lives_ok('INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 10)', 'sales are booked as before');
SELECT is((SELECT visits::int FROM customer_groups.customer_facts WHERE customer_id = 900001), 2, 'and counted');

SELECT pg_temp.refused('SELECT customer_groups.forget_customer(999999)', '02000', '999999', 'an unknown customer');
SELECT pg_temp.refused('SELECT customer_groups.forget_customer(NULL)', '22004', NULL, 'a null one');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

SELECT * FROM finish();
ROLLBACK;
