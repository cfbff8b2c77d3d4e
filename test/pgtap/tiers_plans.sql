-- A review reads a number of rows that grows with the customers and no faster, though its statements were planned while members was empty and known to be.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT plan(6);

-- Rows that this transaction has read of members so far.
CREATE FUNCTION pg_temp.rows_read() RETURNS bigint
    LANGUAGE sql VOLATILE AS $$
    SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'customer_groups.members'::regclass
$$;

INSERT INTO customer_groups.ladders (code, name, downgrade) VALUES ('one', 'One', 'at_review'), ('two', 'Two', 'at_review');
INSERT INTO customer_groups.customers (id, name) SELECT n, 'Customer' FROM generate_series(1, 1000) n;
INSERT INTO customer_groups.sales (customer_id, amount) SELECT n, 100 FROM generate_series(1, 1000) n;
ANALYZE customer_groups.customers, customer_groups.customer_facts, customer_groups.sales, customer_groups.members;
INSERT INTO customer_groups.groups (code, name, ladder, upgrade_threshold) VALUES ('silver', 'Silver', 'one', 50), ('bronze', 'Bronze', 'two', 50);

SELECT is((SELECT count(*) FROM customer_groups.review_tiers('two')), 1000::bigint, 'all rise on a ladder while members is empty');
SELECT is((SELECT count(*) FROM customer_groups.review_tiers('one')), 1000::bigint, 'and on another one');

INSERT INTO customer_groups.groups (code, name, ladder, upgrade_threshold) VALUES ('gold', 'Gold', 'one', 90);
CREATE TEMP TABLE before AS SELECT pg_temp.rows_read() AS n;
SELECT is((SELECT count(*) FROM customer_groups.review_tiers('one')), 1000::bigint, 'all rise to a tier above theirs');
SELECT cmp_ok(pg_temp.rows_read() - (SELECT n FROM before), '<', 50000::bigint, 'which reads some rows of members for each of them');

UPDATE before SET n = pg_temp.rows_read();
UPDATE customer_groups.groups SET upgrade_threshold = 200 WHERE ladder = 'one';
SELECT is((SELECT count(*) FROM customer_groups.review_tiers('one')), 1000::bigint, 'all fall when the thresholds are raised');
SELECT cmp_ok(pg_temp.rows_read() - (SELECT n FROM before), '<', 50000::bigint, 'so does a review that lowers all of them');

SELECT * FROM finish();
ROLLBACK;
