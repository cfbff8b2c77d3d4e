-- COPY of :file into the table :sales, rolled back: the milliseconds.
\set ON_ERROR_STOP on
SET synchronous_commit = off;
BEGIN;
SELECT bench.milliseconds(format('COPY %s (customer_id, amount, sold_at) FROM %L', :'sales', :'file'));
ROLLBACK;
VACUUM :sales;
VACUUM customer_groups.customer_facts, customer_groups.members, customer_groups.events;
