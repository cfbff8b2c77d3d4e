-- The extension is there, installed by an unprivileged role to which its tables belong.
BEGIN;
SELECT plan(4);

SELECT has_extension('customer_groups', 'customer_groups', 'the extension is in its schema');
SELECT is(current_setting('is_superuser'), 'off', 'the tests run unprivileged');
SELECT is(extowner::regrole::text, current_user::text, 'the extension belongs to the role that created it')
FROM pg_extension WHERE extname = 'customer_groups';
SELECT is_empty(
    $$
    SELECT c.oid::regclass, c.relowner::regrole
    FROM pg_class AS c
    JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE e.extname = 'customer_groups' AND c.relkind IN ('r', 'p', 'S') AND c.relowner <> e.extowner
    $$, 'and so do its tables and sequences');

SELECT * FROM finish();
ROLLBACK;
