-- What a shop adds to customer_facts (triggers, constraints, columns, rules, indexes) holds for each sale, and the facts stay exact;
-- so do they, and tracked segments, where triggers of the shop's sell again inside a sale.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

INSERT INTO customer_groups.customers (id, name) SELECT n, 'Customer ' || n FROM generate_series(1, 20) AS n;
INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold) VALUES (1, 'gold', 'Gold', 300);
INSERT INTO customer_groups.segments (id, code, name, rule, tracked) VALUES
    (1, 'good', 'Good', 'net_sales >= 300', true),
    (2, 'regular', 'Regular', 'visits >= 2 AND days_since(last_visit) <= 30', true),
    (3, 'best', 'Best', 'in SEGMENT ''good'' AND in SEGMENT ''regular''', true);
-- Nobody is in them so far: they are filled as they are.
UPDATE customer_groups.segments SET pending_since = NULL;
SELECT customer_groups.advance_segments();

-- Sales, refunds, changes and deletions for some customers, of which the facts then must be what the sales say.
CREATE FUNCTION pg_temp.sell(first int, last int) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    FOR c IN first .. last LOOP
        INSERT INTO customer_groups.sales (customer_id, amount, sold_at) VALUES (c, 200, now() - interval '2 days');
        INSERT INTO customer_groups.sales (customer_id, amount) VALUES (c, 150.50);
        -- Before the first visit, so that an index changes, too.
        INSERT INTO customer_groups.sales (customer_id, amount, sold_at) VALUES (c, 20, now() - interval '400 days');
        INSERT INTO customer_groups.sales (customer_id, kind, amount) VALUES (c, 'refund', -0.25), (c, 'prepaid', 10), (c, 'pass', 5), (c, 'no_show', 1);
    END LOOP;
    INSERT INTO customer_groups.sales (customer_id, amount, sold_at)
    SELECT n, 1, now() - n * interval '1 hour' FROM generate_series(first, last) AS n ORDER BY n DESC;
    UPDATE customer_groups.sales SET amount = amount + 1 WHERE customer_id BETWEEN first AND last AND kind = 'product';
    DELETE FROM customer_groups.sales WHERE customer_id BETWEEN first AND last AND amount = 21;
    BEGIN
        INSERT INTO customer_groups.sales (customer_id, amount) SELECT n, 1000 FROM generate_series(first, last) AS n;
        RAISE SQLSTATE 'UNDO1';
    EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
    END;
END
$$;
CREATE FUNCTION pg_temp.check_all(what text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN NEXT is_empty('SELECT * FROM customer_groups.check_integrity()', what || ': nothing to find');
    RETURN NEXT results_eq(
        'SELECT customer_id, visits, net_sales, refunds, prepaid_purchases, pass_purchases, no_shows, first_visit_at, last_visit_at
         FROM customer_groups.customer_facts ORDER BY 1',
        'SELECT customer_id, visits, net_sales, refunds, prepaid_purchases, pass_purchases, no_shows, first_visit_at, last_visit_at
         FROM customer_groups.recomputed_facts ORDER BY 1', what || ': the facts');
    RETURN NEXT results_eq(
        'SELECT segment_id, customer_id FROM customer_groups.segment_members ORDER BY 1, 2',
        'SELECT s.id, c FROM customer_groups.segments AS s, customer_groups.rule_customers(s.rule) AS c ORDER BY 1, 2', what || ': the segments');
END
$$;
-- Index scans find the same customers as a scan of the table.
CREATE FUNCTION pg_temp.found(low timestamptz) RETURNS bigint
    LANGUAGE sql VOLATILE SET enable_seqscan = off AS $$ SELECT count(*) FROM customer_groups.customer_facts WHERE first_visit_at >= low $$;
CREATE FUNCTION pg_temp.scanned(low timestamptz) RETURNS bigint
    LANGUAGE sql VOLATILE SET enable_indexscan = off SET enable_bitmapscan = off SET enable_indexonlyscan = off
    AS $$ SELECT count(*) FROM customer_groups.customer_facts WHERE first_visit_at >= low $$;

SELECT pg_temp.sell(1, 2);
SELECT pg_temp.check_all('as it was made');
SELECT is(pg_temp.found(low), pg_temp.scanned(low), 'as it was made: the index, ' || low)
FROM (VALUES ('-infinity'::timestamptz), (now() - interval '300 days'), (now() - interval '1 day')) AS v (low);

-- An index more, and a column more with a value that does not fit into the row.
ALTER TABLE customer_groups.customer_facts ADD COLUMN note text DEFAULT 'none';
ALTER TABLE customer_groups.customer_facts ALTER COLUMN note SET STORAGE EXTERNAL;
CREATE INDEX ON customer_groups.customer_facts (last_visit_at);
UPDATE customer_groups.customer_facts SET note = repeat('x', 10000) WHERE customer_id = 3;
SELECT pg_temp.sell(3, 4);
SELECT pg_temp.check_all('with a column and an index more');
SELECT is(note, CASE customer_id WHEN 3 THEN repeat('x', 10000) ELSE 'none' END, 'its column stays, ' || customer_id)
FROM customer_groups.customer_facts WHERE customer_id IN (3, 4);
SET LOCAL enable_seqscan = off;
SELECT is((SELECT count(*) FROM customer_groups.customer_facts WHERE last_visit_at > now() - interval '3 days'), 4::bigint, 'its index finds the rows');
RESET enable_seqscan;

-- Triggers.
CREATE TEMPORARY TABLE seen (what text, customer_id bigint, old_sales numeric, new_sales numeric);
CREATE FUNCTION pg_temp.see() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO seen VALUES (TG_WHEN, NEW.customer_id, OLD.net_sales, NEW.net_sales);
    IF TG_WHEN = 'BEFORE' THEN
        NEW.note := 'changed';
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION pg_temp.see_statement() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO seen SELECT 'STATEMENT', customer_id, NULL, net_sales FROM new_rows;
    RETURN NULL;
END
$$;
CREATE TRIGGER see AFTER UPDATE ON customer_groups.customer_facts FOR EACH ROW EXECUTE FUNCTION pg_temp.see();
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (5, 7);
SELECT results_eq('SELECT * FROM seen', $$VALUES ('AFTER', 5::bigint, 0::numeric, 7::numeric)$$, 'an AFTER ROW trigger fires');
DROP TRIGGER see ON customer_groups.customer_facts;
TRUNCATE seen;
CREATE TRIGGER see BEFORE UPDATE ON customer_groups.customer_facts FOR EACH ROW EXECUTE FUNCTION pg_temp.see();
CREATE TRIGGER see_statement AFTER UPDATE ON customer_groups.customer_facts
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.see_statement();
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (5, 3);
SELECT results_eq('SELECT what, customer_id, new_sales FROM seen ORDER BY 1',
    $$VALUES ('BEFORE', 5::bigint, 10::numeric), ('STATEMENT', 5::bigint, 10::numeric)$$, 'BEFORE ROW and STATEMENT triggers fire');
SELECT is(note, 'changed', 'what a BEFORE trigger changes is kept') FROM customer_groups.customer_facts WHERE customer_id = 5;
SELECT pg_temp.sell(6, 7);
SELECT pg_temp.check_all('with triggers');
DROP TRIGGER see ON customer_groups.customer_facts;
DROP TRIGGER see_statement ON customer_groups.customer_facts;

-- A CHECK constraint, and a generated column.
ALTER TABLE customer_groups.customer_facts ADD CONSTRAINT few_visits CHECK (visits < 10 OR customer_id <> 8);
SELECT throws_ok($$INSERT INTO customer_groups.sales (customer_id, amount) SELECT 8, 1 FROM generate_series(1, 10)$$, '23514', NULL, 'a CHECK constraint holds');
SELECT pg_temp.sell(8, 9);
SELECT pg_temp.check_all('with a constraint');
ALTER TABLE customer_groups.customer_facts DROP CONSTRAINT few_visits;
ALTER TABLE customer_groups.customer_facts ADD COLUMN per_visit numeric GENERATED ALWAYS AS (net_sales / nullif(visits, 0)) STORED;
SELECT pg_temp.sell(10, 11);
SELECT pg_temp.check_all('with a generated column');
SELECT is_empty('SELECT FROM customer_groups.customer_facts WHERE per_visit IS DISTINCT FROM net_sales / nullif(visits, 0)', 'it is generated');
ALTER TABLE customer_groups.customer_facts DROP COLUMN per_visit;

-- A foreign key on a column that sales do not change.
ALTER TABLE customer_groups.customer_facts ADD COLUMN friend_id bigint REFERENCES customer_groups.customers;
UPDATE customer_groups.customer_facts SET friend_id = 1;
SELECT pg_temp.sell(12, 13);
SELECT pg_temp.check_all('with a foreign key');
ALTER TABLE customer_groups.customer_facts DROP COLUMN friend_id;

-- In place again.
SELECT pg_temp.sell(14, 15);
SELECT pg_temp.check_all('as it was made, again');

-- A customer that is new.
INSERT INTO customer_groups.customers (id, name) VALUES (30, 'New');
SELECT pg_temp.sell(30, 30);
SELECT pg_temp.check_all('a new customer');

-- Triggers that sell again, within a sale.
CREATE FUNCTION pg_temp.refund_fee() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO customer_groups.sales (customer_id, kind, amount) VALUES (NEW.customer_id, 'refund', -100);
    RETURN NULL;
END
$$;
CREATE TRIGGER refund_fee AFTER INSERT ON customer_groups.members
    FOR EACH ROW WHEN (NEW.group_id = 1) EXECUTE FUNCTION pg_temp.refund_fee();
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (16, 350);
SELECT is(net_sales, 250::numeric, 'a tier that costs a fee') FROM customer_groups.customer_facts WHERE customer_id = 16;
SELECT pg_temp.check_all('a refund within the upgrade');
DROP TRIGGER refund_fee ON customer_groups.members;
CREATE TRIGGER refund_fee AFTER INSERT ON customer_groups.sales
    FOR EACH ROW WHEN (NEW.kind = 'product') EXECUTE FUNCTION pg_temp.refund_fee();
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (17, 320), (18, 500), (17, 320);
SELECT pg_temp.check_all('a refund with each sale');
DROP TRIGGER refund_fee ON customer_groups.sales;
CREATE TRIGGER refund_fee AFTER INSERT ON customer_groups.segment_members
    FOR EACH ROW EXECUTE FUNCTION pg_temp.refund_fee();
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (19, 320);
SELECT results_eq(
    'SELECT customer_id, visits, net_sales FROM customer_groups.customer_facts WHERE customer_id = 19',
    'SELECT customer_id, visits, net_sales FROM customer_groups.recomputed_facts WHERE customer_id = 19', 'a refund for being in a segment: the facts');

-- Where a row was seen is not where it is once the table has been written anew, or something has been undone.
DROP TRIGGER refund_fee ON customer_groups.segment_members;
SELECT customer_groups.rebuild_facts();
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (20, 320);
CLUSTER customer_groups.customer_facts USING customer_facts_pkey;
UPDATE customer_groups.sales SET amount = 340 WHERE customer_id = 20;
SAVEPOINT before_more;
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (20, 20);
ROLLBACK TO before_more;
DELETE FROM customer_groups.sales WHERE customer_id = 19;
UPDATE customer_groups.sales SET amount = 350 WHERE customer_id = 20;
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (20, 1);
CREATE TEMPORARY TABLE kept_facts AS SELECT * FROM customer_groups.customer_facts ORDER BY customer_id DESC;
ALTER TABLE customer_groups.customer_facts DISABLE TRIGGER USER;
DELETE FROM customer_groups.customer_facts;
INSERT INTO customer_groups.customer_facts SELECT * FROM kept_facts;
ALTER TABLE customer_groups.customer_facts ENABLE TRIGGER USER;
UPDATE customer_groups.sales SET amount = 400 WHERE customer_id = 20 AND amount > 1;
SELECT results_eq('SELECT customer_id, visits, net_sales, first_visit_at, last_visit_at FROM customer_groups.customer_facts ORDER BY 1',
    'SELECT customer_id, visits, net_sales, first_visit_at, last_visit_at FROM customer_groups.recomputed_facts ORDER BY 1', 'wherever the row is: the facts');

SELECT * FROM finish();
ROLLBACK;
