-- Access levels of roles with unusual names, renamed and dropped roles, and roles that hold a level through another.

-- Making roles needs a superuser; the rest is done by the unprivileged owner of the extension.
SELECT rolname AS superuser FROM pg_roles WHERE oid = 10 \gset
\connect - :superuser
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE ROLE "Sales ""Dept."", 1";
CREATE ROLE "select";
CREATE ROLE "Käse; DROP TABLE x; --";
CREATE ROLE cg_test_cashier;
CREATE ROLE cg_test_cashiers;
CREATE ROLE cg_test_aside NOINHERIT;
GRANT "Sales ""Dept."", 1", "select", "Käse; DROP TABLE x; --", cg_test_cashier, cg_test_cashiers, cg_test_aside TO shop_owner;
GRANT cg_test_cashiers TO cg_test_cashier, cg_test_aside;
SET LOCAL SESSION AUTHORIZATION shop_owner;
SELECT no_plan();

CREATE FUNCTION pg_temp.as_role(role text, statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    IF statement ~* '^\s*(SELECT|TABLE)|RETURNING' THEN
        EXECUTE statement INTO result;
    ELSE
        EXECUTE statement;
    END IF;
    SET LOCAL ROLE NONE;
    RETURN coalesce(nullif(result, ''), 'done');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;

SELECT is(current_setting('is_superuser'), 'off', 'levels are given without superuser');
INSERT INTO customer_groups.customers (id, name) VALUES (900001, 'Ann'), (900002, 'Bob');
INSERT INTO customer_groups.groups (id, code, name) VALUES (900001, 'b2b', 'Business');

CREATE FUNCTION pg_temp.check_role(role text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM customer_groups.grant_access(quote_ident(role)::regrole, 'edit');
    PERFORM customer_groups.grant_access(quote_ident(role)::regrole, 'sell');
    RETURN NEXT is(
        (SELECT string_agg(a.role || ' ' || a.level, ', ' ORDER BY a.level) FROM customer_groups.access_levels AS a),
        format('%1$I edit, %1$I sell', role), role || ' in access_levels');
    RETURN NEXT is(pg_temp.as_role(role, 'SELECT customer_groups.add_members(''b2b'', ''{900001,900002}'')'), '2',
        role || ' changes memberships');
    RETURN NEXT is(pg_temp.as_role(role, 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 5)'), 'done',
        role || ' sells');
    PERFORM customer_groups.revoke_access(quote_ident(role)::regrole, 'edit');
    RETURN NEXT is(pg_temp.as_role(role, 'SELECT customer_groups.add_members(''b2b'', ''{900001,900002}'')'), '42501',
        role || ' changes no memberships any more');
    RETURN NEXT is(pg_temp.as_role(role, 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 5)'), 'done',
        role || ' still sells');
    PERFORM customer_groups.revoke_access(quote_ident(role)::regrole);
    RETURN NEXT is(pg_temp.as_role(role, 'SELECT count(*) FROM customer_groups.customers'), '42501',
        role || ' reads nothing any more');
    RETURN NEXT is((SELECT count(*)::int FROM customer_groups.access_levels), 0, role || ' not in access_levels any more');
    PERFORM customer_groups.remove_members('b2b', '{900001,900002}');
END
$$;
SELECT pg_temp.check_role(r.role)
FROM (VALUES ('Sales "Dept.", 1'), ('select'), ('Käse; DROP TABLE x; --')) AS r (role);

-- The owner of the extension may do everything, also when it is a member of a role with a level.
SELECT customer_groups.grant_access('shop_members', 'members') \g /dev/null
SELECT lives_ok($$ INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900001), (900002, 900001) $$,
    'a member of a role with the level "members" that owns the extension changes several customers');
DELETE FROM customer_groups.members WHERE customer_id = 900001;
DELETE FROM customer_groups.members WHERE customer_id = 900002;
SELECT customer_groups.revoke_access('shop_members') \g /dev/null

-- Through another role.
SELECT customer_groups.grant_access('cg_test_cashiers', 'sell') \g /dev/null
SELECT is(pg_temp.as_role('cg_test_cashier', 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 5)'),
    'done', 'a role sells that inherits the level');
SELECT is(pg_temp.as_role('cg_test_cashier', 'SELECT customer_groups.add_member(900001, ''b2b'')'), '42501',
    'and has nothing else by it');
SELECT is(pg_temp.as_role('cg_test_aside', 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 5)'),
    '42501', 'one that does not inherit does not');
SELECT customer_groups.grant_access('cg_test_cashiers', 'members') \g /dev/null
SELECT is(pg_temp.as_role('cg_test_cashier',
        'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900001), (900002, 900001)'),
    '42501', 'an inherited level has its limits too');
SELECT customer_groups.grant_access('cg_test_cashier', 'edit') \g /dev/null
SELECT is(pg_temp.as_role('cg_test_cashier',
        'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900001), (900002, 900001)'),
    'done', 'which a level of its own lifts');

-- Renamed.
SET LOCAL SESSION AUTHORIZATION :superuser;
ALTER ROLE cg_test_cashiers RENAME TO "cg test, tellers";
SET LOCAL SESSION AUTHORIZATION shop_owner;
SELECT bag_eq('SELECT format(''%s %s'', role, level) FROM customer_groups.access_levels',
    $$ VALUES ('"cg test, tellers" sell'), ('"cg test, tellers" members'), ('cg_test_cashier edit') $$,
    'a renamed role keeps its levels');

-- Dropped: once its levels are revoked nothing is in the way.
SELECT customer_groups.revoke_access('"cg test, tellers"'), customer_groups.revoke_access('cg_test_cashier') \g /dev/null
SET LOCAL SESSION AUTHORIZATION :superuser;
DROP ROLE "cg test, tellers", cg_test_cashier, cg_test_aside, "select";
SET LOCAL SESSION AUTHORIZATION shop_owner;
SELECT pass('roles are dropped once their levels are revoked');

-- A member of the owner's role acts for the owner.
SET LOCAL SESSION AUTHORIZATION :superuser;
CREATE ROLE cg_test_admin IN ROLE shop_owner;
SET LOCAL SESSION AUTHORIZATION cg_test_admin;
SELECT customer_groups.grant_access('shop_view', 'view') \g /dev/null
SET LOCAL SESSION AUTHORIZATION shop_owner;
SELECT is(pg_temp.as_role('shop_view', 'SELECT count(*) FROM customer_groups.customers'), '2',
    'a member of the owner''s role gives levels');
SET LOCAL SESSION AUTHORIZATION :superuser;
SELECT customer_groups.revoke_access('shop_view') \g /dev/null
SET LOCAL SESSION AUTHORIZATION shop_owner;
SELECT is(pg_temp.as_role('shop_view', 'SELECT count(*) FROM customer_groups.customers'), '42501',
    'and a superuser takes them');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

SELECT * FROM finish();
ROLLBACK;
