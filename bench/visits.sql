-- Each customer was here once, on one of the last 450 days; the sales are in the order of their time, as
-- they come in. Ten segments, not tracked yet, of which each day one customer in a hundred enters or leaves
-- one: the limits of dormant and win_back take one in 450 each, birthdays two in 365.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;
SELECT setseed(0.5) \g /dev/null
SET session_replication_role = replica;
INSERT INTO customer_groups.sales (customer_id, amount, sold_at)
SELECT c.id, (random() * 5000)::numeric(10, 2), now() - random() * interval '450 days' AS sold_at
FROM customer_groups.customers c
ORDER BY sold_at;
UPDATE customer_groups.customers SET birth_date = date '1950-01-01' + (random() * 20000)::int;
SELECT customer_groups.rebuild_facts() \g /dev/null
RESET session_replication_role;
SELECT customer_groups.load_default_segments(vip_sales => 3000) \g /dev/null
UPDATE customer_groups.segments SET rule = 'net_sales >= 3000 AND visits >= 1' WHERE code = 'vip';
UPDATE customer_groups.segments SET rule = 'days_since(last_visit) >= 50' WHERE code = 'dormant';
UPDATE customer_groups.segments SET rule = 'birthday TODAY' WHERE code = 'birthday';
VACUUM ANALYZE;
CHECKPOINT;
