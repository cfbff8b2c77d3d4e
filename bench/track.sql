-- Ten tracked segments, filled and up to date.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;
UPDATE customer_groups.customers SET birth_date = date '1950-01-01' + (id * 7919 % 20000)::int;
SELECT customer_groups.load_default_segments(vip_sales => 3000) \g /dev/null
UPDATE customer_groups.segments SET tracked = true;
CALL customer_groups.fill_segments(10000);
SELECT customer_groups.advance_segments() \g /dev/null
-- The load has changed all facts at once, which leaves room that a peer's copy of them would not have.
VACUUM FULL customer_groups.customer_facts;
VACUUM ANALYZE;
CHECKPOINT;
