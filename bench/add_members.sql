-- add_members of :customers customers into a group without members, rolled back: the milliseconds.
\set ON_ERROR_STOP on
INSERT INTO customer_groups.groups (code, name, id) SELECT 'newcomers', 'Newcomers', max(id) + 1
FROM customer_groups.groups ON CONFLICT (code) DO NOTHING;
BEGIN;
SELECT bench.milliseconds(format(
	'SELECT customer_groups.add_members(''newcomers'', ARRAY(SELECT c.id FROM customer_groups.customers c LIMIT %s))',
	:customers));
ROLLBACK;
VACUUM customer_groups.members, customer_groups.events, customer_groups.customer_facts;
