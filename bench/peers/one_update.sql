-- What the server does at least for a sale that is counted: the insert into the plain table, and one update of a
-- row of facts by key, in one statement of plain SQL (bench/pgbench/one_update.sql). It moves no tier, knows no
-- segment, and does not wait for what others have committed meanwhile.
\set ON_ERROR_STOP on
SET synchronous_commit = off;
CREATE TABLE bench.counts (LIKE customer_groups.customer_facts INCLUDING ALL) WITH (fillfactor = 80);
INSERT INTO bench.counts SELECT * FROM customer_groups.customer_facts ORDER BY customer_id;
VACUUM ANALYZE bench.counts;
