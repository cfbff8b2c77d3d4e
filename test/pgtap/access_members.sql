-- The level "members" changes one customer in a statement, whatever kind of statement it is, and cannot say that
-- somebody else added a member, or at another time.
BEGIN;
SELECT plan(28);

INSERT INTO customer_groups.groups (id, code, name) VALUES (900001, 'forged', 'Forged');
INSERT INTO customer_groups.customers (id, name) VALUES (900001, 'Ana'), (900002, 'Ben');
SELECT customer_groups.grant_access('shop_members', 'members');
SELECT customer_groups.grant_access('shop_edit', 'edit');

SET ROLE shop_members;
SELECT throws_ok(
    $$INSERT INTO customer_groups.members (customer_id, group_id, added_by) VALUES (900001, 900001, 'boss')$$,
    '42501', NULL, 'not by another');
SELECT throws_ok(
    $$INSERT INTO customer_groups.members (customer_id, group_id, added_at) VALUES (900001, 900001, '1999-01-01')$$,
    '42501', NULL, 'not long ago');
SELECT lives_ok(
    $$INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900001)$$, 'but as it is');
SELECT throws_ok(
    $$UPDATE customer_groups.members SET added_at = '2030-01-01' WHERE customer_id = 900001$$,
    '42501', NULL, 'nor afterwards');
SELECT throws_ok(
    $$UPDATE customer_groups.members SET added_by = 'boss' WHERE customer_id = 900001$$,
    '42501', NULL, 'by nobody else');
SELECT lives_ok(
    $$UPDATE customer_groups.members SET valid_until = '2099-01-01' WHERE customer_id = 900001$$, 'the rest is its own');

SET ROLE shop_edit;
SELECT lives_ok(
    $$INSERT INTO customer_groups.members (customer_id, group_id, added_at) VALUES (900002, 900001, '1999-01-01')$$,
    'the level "edit" loads what was');
RESET ROLE;

----------------------------------------------------------------------------------------------------------------------
-- One customer in a statement
----------------------------------------------------------------------------------------------------------------------
INSERT INTO customer_groups.groups (id, code, name) VALUES (900002, 'other', 'Other');
INSERT INTO customer_groups.customers (id, name) SELECT 900010 + i, 'Customer ' || i FROM generate_series(1, 9) AS i;
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900011, 900001), (900012, 900001);

CREATE TEMPORARY TABLE statements (name text, statement text);
INSERT INTO statements VALUES
    ('two inserted', 'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900013, 900001), (900014, 900001)'),
    ('two updated', 'UPDATE customer_groups.members SET valid_until = ''2999-01-01'' WHERE group_id = 900001'),
    ('two deleted', 'DELETE FROM customer_groups.members WHERE group_id = 900001'),
    ('one inserted, one updated by ON CONFLICT',
     'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900013, 900001), (900011, 900001)
      ON CONFLICT (customer_id, group_id) DO UPDATE SET valid_until = ''2999-01-01'''),
    ('one updated, one inserted by ON CONFLICT',
     'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900011, 900001), (900013, 900001)
      ON CONFLICT (customer_id, group_id) DO UPDATE SET valid_until = ''2999-01-01'''),
    ('one inserted, one updated by MERGE',
     'MERGE INTO customer_groups.members m USING (VALUES (900011), (900013)) AS v (id) ON m.customer_id = v.id AND m.group_id = 900001
      WHEN MATCHED THEN UPDATE SET valid_until = ''2999-01-01''
      WHEN NOT MATCHED THEN INSERT (customer_id, group_id) VALUES (v.id, 900001)'),
    ('one updated, one deleted by MERGE',
     'MERGE INTO customer_groups.members m USING (VALUES (900011), (900012)) AS v (id) ON m.customer_id = v.id AND m.group_id = 900001
      WHEN MATCHED AND v.id = 900011 THEN DELETE
      WHEN MATCHED THEN UPDATE SET valid_until = ''2999-01-01'''),
    ('one deleted, one inserted by MERGE',
     'MERGE INTO customer_groups.members m USING (VALUES (900013), (900012)) AS v (id) ON m.customer_id = v.id AND m.group_id = 900001
      WHEN MATCHED THEN DELETE
      WHEN NOT MATCHED THEN INSERT (customer_id, group_id) VALUES (v.id, 900001)'),
    ('one of them in WITH', 'WITH a AS (DELETE FROM customer_groups.members WHERE customer_id = 900011)
      INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900013, 900001)'),
    ('both of them in WITH', 'WITH a AS (DELETE FROM customer_groups.members WHERE customer_id = 900011 RETURNING 1),
        b AS (UPDATE customer_groups.members SET valid_until = ''2999-01-01'' WHERE customer_id = 900012 RETURNING 1)
      SELECT FROM a, b');
GRANT SELECT ON statements TO shop_members, shop_edit;

SET ROLE shop_members;
SELECT throws_ok(statement, '42501', 'permission denied to change the memberships of several customers at once', name)
FROM statements;
RESET ROLE;
SELECT set_eq('SELECT customer_id, valid_until FROM customer_groups.members WHERE customer_id > 900010',
    'VALUES (900011::bigint, NULL::date), (900012, NULL)', 'none of it is left');

-- One after the other is fine, also after one that was taken back.
SET ROLE shop_members;
SELECT lives_ok(
    'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900011, 900001), (900011, 900002)
     ON CONFLICT (customer_id, group_id) DO UPDATE SET valid_until = ''2999-01-01''', 'several groups of one customer');
SELECT lives_ok(
    'MERGE INTO customer_groups.members m USING (VALUES (900001), (900002)) AS v (id) ON m.customer_id = 900012 AND m.group_id = v.id
     WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (customer_id, group_id) VALUES (900012, v.id)', 'by MERGE as well');
SELECT lives_ok($$DO 'BEGIN
    FOR i IN 900013 .. 900015 LOOP
        INSERT INTO customer_groups.members (customer_id, group_id) VALUES (i, 900001);
    END LOOP;
END'$$, 'a loop');
SELECT is((SELECT count(*)::int FROM generate_series(900013, 900015) AS i WHERE customer_groups.add_member(i, 'other')), 3,
    'a function for each row');
SELECT lives_ok($$DO 'BEGIN
    FOR i IN 900016 .. 900018 LOOP
        BEGIN
            INSERT INTO customer_groups.members (customer_id, group_id) VALUES (i, 900001);
            IF i <> 900016 THEN
                RAISE division_by_zero;
            END IF;
        EXCEPTION WHEN division_by_zero THEN NULL;
        END;
    END LOOP;
END'$$, 'a loop with some that are undone');
SAVEPOINT s;
DELETE FROM customer_groups.members WHERE customer_id = 900015;
ROLLBACK TO s;
DELETE FROM customer_groups.members WHERE customer_id = 900016;
SAVEPOINT s;
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900017, 900001);
ROLLBACK TO s;
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900018, 900001);
RESET ROLE;
SELECT results_eq(
    'SELECT customer_id::int, count(*)::int FROM customer_groups.members WHERE customer_id > 900010 GROUP BY 1 ORDER BY 1',
    'VALUES (900011, 2), (900012, 1), (900013, 2), (900014, 2), (900015, 2), (900018, 1)', 'all of that was done');

-- The level "edit" changes many.
DELETE FROM customer_groups.members WHERE customer_id > 900010;
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900011, 900001), (900012, 900001);
SET ROLE shop_edit;
SELECT lives_ok(statement, name || ', by an editor') FROM statements WHERE name ~ 'inserted by ON CONFLICT|updated by MERGE|^both';
RESET ROLE;
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'everything is sound');

SELECT * FROM finish();
ROLLBACK;
