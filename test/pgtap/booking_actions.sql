-- A statement with several actions on sales has a trigger for each: what it comes to as a whole is judged, once per
-- customer, and not what a part of it comes to, whichever part is booked first.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
SET LOCAL search_path = customer_groups, public;

INSERT INTO groups (id, code, name, upgrade_threshold) VALUES (1, 'silver', 'Silver', 100), (2, 'gold', 'Gold', 300);
INSERT INTO segments (id, code, name, rule) VALUES (1, 'rich', 'Rich', 'net_sales >= 250'), (2, 'here', 'Here', 'visits >= 1');
INSERT INTO customers (id, name) SELECT i, 'Customer ' || i FROM generate_series(1, 40) AS i;
UPDATE segments SET tracked = true;
UPDATE segments SET pending_since = NULL;

-- Each customer has a first sale of 50, and a refund of nothing.
INSERT INTO sales (customer_id, amount, kind, external_id)
SELECT c.id, 50, 'product'::sale_kind, 'first' FROM customers AS c
UNION ALL SELECT c.id, 0, 'refund', 'back' FROM customers AS c;
SELECT is_empty('SELECT * FROM members', 'nobody has a tier so far');
CREATE TEMPORARY TABLE seen AS SELECT max(id) AS id FROM events;

-- What happened since: the tier reached, and all events in order.
CREATE FUNCTION pg_temp.happened(customer bigint) RETURNS text
    LANGUAGE sql AS $$
    SELECT coalesce(customer_groups.tier_of(customer), '-') || ':' || coalesce((
        SELECT string_agg(concat_ws(' ', e.kind, e.detail ->> 'to', CASE WHEN e.segment_id IS NOT NULL THEN e.detail ->> 'code' END), ', ' ORDER BY e.id)
        FROM customer_groups.events AS e WHERE e.customer_id = customer AND e.id > (SELECT id FROM seen) AND e.kind ~ '^(tier|segment)'), '')
$$;

-- Up by 350 and down by 300: neither gold nor rich in between.
INSERT INTO sales (customer_id, amount, kind, external_id) VALUES (1, 400, 'product', 'first'), (1, -300, 'refund', 'new')
ON CONFLICT (customer_id, external_id) DO UPDATE SET amount = excluded.amount;
SELECT is(pg_temp.happened(1), 'silver:tier_upgraded silver', 'ON CONFLICT DO UPDATE: updated up, inserted down');
INSERT INTO sales (customer_id, amount, kind, external_id) VALUES (2, -300, 'refund', 'back'), (2, 350, 'product', 'new')
ON CONFLICT (customer_id, external_id) DO UPDATE SET amount = excluded.amount;
SELECT is(pg_temp.happened(2), 'silver:tier_upgraded silver', 'ON CONFLICT DO UPDATE: updated down, inserted up');

PREPARE merging AS
MERGE INTO sales AS s USING (VALUES ($1::bigint, $2::text, $3::numeric, $4::sale_kind), ($1, $5, $6, $7)) AS v (customer_id, external_id, amount, kind)
    ON s.customer_id = v.customer_id AND s.external_id = v.external_id
WHEN MATCHED AND v.amount = 0 THEN DELETE
WHEN MATCHED THEN UPDATE SET amount = v.amount
WHEN NOT MATCHED THEN INSERT (customer_id, amount, kind, external_id) VALUES (v.customer_id, v.amount, v.kind, v.external_id);
EXECUTE merging(3, 'first', 400, 'product', 'new', -300, 'refund');
SELECT is(pg_temp.happened(3), 'silver:tier_upgraded silver', 'MERGE: updated up, inserted down');
EXECUTE merging(4, 'first', 0, 'product', 'new', 120, 'product');
SELECT is(pg_temp.happened(4), 'silver:tier_upgraded silver', 'MERGE: deleted and inserted: the customer has never left who was here');
UPDATE sales SET amount = -290 WHERE customer_id = 5 AND external_id = 'back';
INSERT INTO sales (customer_id, amount, external_id) VALUES (5, 280, 'more');
EXECUTE merging(5, 'back', 0, 'refund', 'more', 60, 'product');
SELECT is(pg_temp.happened(5), 'silver:tier_upgraded silver', 'MERGE: deleted up, updated down');
EXECUTE merging(6, 'first', 70, 'product', 'back', -5, 'refund');
SELECT is(pg_temp.happened(6), '-:', 'MERGE: updates only');
EXECUTE merging(6, 'first', 100.01, 'product', 'back', 0, 'refund');
SELECT is(pg_temp.happened(6), 'silver:tier_upgraded silver', 'MERGE: one action of which nothing is left');

WITH gone AS (DELETE FROM sales WHERE customer_id = 7 RETURNING customer_id, amount, kind)
INSERT INTO sales (customer_id, amount, kind) SELECT customer_id, amount + 300, kind FROM gone WHERE kind = 'product' UNION ALL SELECT customer_id, -240, 'refund' FROM gone WHERE kind = 'refund';
SELECT is(pg_temp.happened(7), 'silver:tier_upgraded silver', 'WITH: deleted and inserted');
WITH up AS (UPDATE sales SET amount = 400 WHERE customer_id IN (8, 9) AND external_id = 'first' RETURNING customer_id),
    down AS (INSERT INTO sales (customer_id, amount, kind) SELECT customer_id, -300, 'refund' FROM up WHERE customer_id = 8 RETURNING customer_id)
DELETE FROM sales WHERE customer_id IN (8, 9) AND external_id = 'back';
SELECT is(pg_temp.happened(8), 'silver:tier_upgraded silver', 'WITH: all three');
SELECT is(pg_temp.happened(9), 'gold:tier_upgraded gold, segment_entered rich', 'WITH: one who was only updated and deleted from');

-- Statements inside: a trigger of the shop sells while the outer statement's triggers are not all through.
CREATE FUNCTION pg_temp.bonus() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.external_id = 'first' AND NEW.amount = 400 THEN
        BEGIN
            INSERT INTO customer_groups.sales (customer_id, amount, external_id) VALUES (NEW.customer_id, 500, 'taken back');
            RAISE SQLSTATE 'UNDO1';
        EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
            NULL;
        END;
        INSERT INTO customer_groups.sales (customer_id, amount, external_id) VALUES (NEW.customer_id, 10, 'bonus');
        UPDATE customer_groups.sales SET amount = 11 WHERE customer_id = NEW.customer_id AND external_id = 'bonus';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER bonus AFTER UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION pg_temp.bonus();
INSERT INTO sales (customer_id, amount, kind, external_id) VALUES (10, 400, 'product', 'first'), (10, -300, 'refund', 'new')
ON CONFLICT (customer_id, external_id) DO UPDATE SET amount = excluded.amount;
SELECT is(tier_of(10), 'silver', 'with sales inside');
DROP TRIGGER bonus ON sales;

-- Failed in the middle, then again in the same transaction.
SAVEPOINT before_it;
SELECT throws_ok($$WITH up AS (UPDATE customer_groups.sales SET amount = 400 WHERE customer_id = 11 AND external_id = 'first' RETURNING customer_id)
    INSERT INTO customer_groups.sales (customer_id, amount, kind) SELECT customer_id, 300, 'refund' FROM up$$, '23514');
ROLLBACK TO before_it;
UPDATE sales SET amount = 120 WHERE customer_id = 11 AND external_id = 'first';
SELECT is(pg_temp.happened(11), 'silver:tier_upgraded silver', 'after one that failed');

-- Many customers at once, some with all actions, some with one.
WITH up AS (UPDATE sales SET amount = 60 + customer_id * 10 WHERE customer_id > 20 AND external_id = 'first' RETURNING customer_id),
    down AS (DELETE FROM sales WHERE customer_id > 30 AND external_id = 'back' RETURNING customer_id)
INSERT INTO sales (customer_id, amount, kind) SELECT customer_id, -customer_id * 10, 'refund' FROM up WHERE customer_id % 2 = 0;
SELECT results_eq('SELECT customer_id, group_id FROM members WHERE customer_id > 20 ORDER BY 1',
    'SELECT f.customer_id, CASE WHEN f.net_sales >= 300 THEN 2 ELSE 1 END FROM customer_facts AS f WHERE f.customer_id > 20 AND f.net_sales >= 100 ORDER BY 1',
    'many at once: their tiers are what the whole comes to');

SELECT is_empty('SELECT * FROM check_integrity()', 'nothing to find');
SELECT * FROM finish();
ROLLBACK;
