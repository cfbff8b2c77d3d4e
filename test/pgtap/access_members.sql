-- The level "members" cannot say that somebody else added a member, or at another time.
BEGIN;
SELECT plan(8);

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
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'everything is sound');

SELECT * FROM finish();
ROLLBACK;
