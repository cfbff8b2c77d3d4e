-- Size of our tables and their indexes, in bytes, after a rewrite without gaps beside it.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TEMP TABLE before AS
SELECT c.oid, c.relname, pg_table_size(c.oid) AS heap, pg_indexes_size(c.oid) AS indexes
FROM pg_class c WHERE c.oid = ANY (ARRAY['customer_groups.customer_facts', 'customer_groups.sales', 'customer_groups.members',
	'customer_groups.segment_members', 'customer_groups.events']::regclass[]);
VACUUM FULL customer_groups.customer_facts, customer_groups.sales, customer_groups.members,
	customer_groups.segment_members, customer_groups.events;
SELECT relname, heap, pg_table_size(oid), indexes, pg_indexes_size(oid) FROM before ORDER BY relname;
