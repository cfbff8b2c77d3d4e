-- Rows looked up by key are the snapshot's at every moment of a transaction: after edits of items, links and memberships, DDL, rollbacks of
-- savepoints and errors half way, and in a cursor that is open meanwhile; always as the slow reference answers.
BEGIN;
SET LOCAL client_min_messages = error;
\ir reference_price.psql
SELECT no_plan();

INSERT INTO customer_groups.categories (id, code, name, parent_id) VALUES
    (1, 'all', 'All', NULL), (2, 'cups', 'Cups', 1), (3, 'pots', 'Pots', 1), (4, 'other', 'Other', NULL);
INSERT INTO customer_groups.stores (id, code, name) VALUES (1, 'web', 'Web');
INSERT INTO customer_groups.items (id, external_id, name, price, min_price)
SELECT n, 'sku-' || n, 'Item ' || n, 10 * n + 0.99, CASE WHEN n = 3 THEN 29 END FROM generate_series(1, 6) n;
INSERT INTO customer_groups.item_categories SELECT n, 2 + n % 3 FROM generate_series(1, 4) n;
INSERT INTO customer_groups.store_prices SELECT n, 1, n FROM generate_series(1, 3) n;
INSERT INTO customer_groups.customers (id, name) SELECT n, 'Customer ' || n FROM generate_series(1, 3) n;
INSERT INTO customer_groups.groups (id, code, name, starts_on) SELECT n, 'g' || n, 'Group ' || n, '2000-01-01' FROM generate_series(1, 3) n;
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (1, 1), (1, 2), (2, 3);
INSERT INTO customer_groups.promotions (id, code, name, kind, value, groups_only, stage, combinable) VALUES
    (1, 'all', 'All', 'percent', 3, false, 0, false), (2, 'tree', 'Tree', 'percent', 7, true, 0, false),
    (3, 'cups', 'Cups', 'amount', 2.5, true, 0, true), (4, 'pots', 'Pots', 'percent', 11, true, 1, false),
    (5, 'two', 'Two', 'amount', 1, false, 2, true), (6, 'many', 'Many', 'percent', 1, true, 2, true);
INSERT INTO customer_groups.promotion_categories VALUES (2, 1), (3, 2), (4, 3), (6, 4), (6, 3);
INSERT INTO customer_groups.promotion_items VALUES (5, 2);
INSERT INTO customer_groups.promotion_groups VALUES (2, 1), (2, 3), (3, 2), (4, 3), (4, 1), (6, 1), (6, 2), (6, 3);

-- How many answers are not the reference's: by themselves, and as a list.
CREATE FUNCTION pg_temp.wrong() RETURNS bigint LANGUAGE sql AS $$
    WITH asked AS (
        SELECT c.id AS customer, i.id AS item, s.store, r.list_price, r.discount, r.price, r.promotion_ids
        FROM (VALUES (1, NULL), (2, 1), (3, NULL), (NULL, NULL)) AS s (id, store)
        LEFT JOIN customer_groups.customers c USING (id) CROSS JOIN customer_groups.items i,
            pg_temp.reference_price(c.id, i.id, s.store, 1, NULL, now()) r OFFSET 0)
    SELECT (SELECT count(*) FROM asked a, customer_groups.effective_price(a.customer, a.item, a.store) e
            WHERE (e.list_price, e.discount, e.price, e.promotion_ids) IS DISTINCT FROM (a.list_price, a.discount, a.price, a.promotion_ids))
        + (SELECT count(*) FROM (SELECT customer, store, array_agg(item ORDER BY random()) AS items FROM asked GROUP BY 1, 2) l
           CROSS JOIN LATERAL customer_groups.effective_discounts(l.customer, l.items, l.store) e
           JOIN asked a ON a.customer IS NOT DISTINCT FROM l.customer AND a.store IS NOT DISTINCT FROM l.store AND a.item = e.item_id
           WHERE (e.list_price, e.discount, e.price, e.promotion_ids) IS DISTINCT FROM (a.list_price, a.discount, a.price, a.promotion_ids))
$$;

-- After a change, after it in a subtransaction that fails (with an error while an item is being read), and before and after.
CREATE FUNCTION pg_temp.wrong_around(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before bigint := pg_temp.wrong();
    inside bigint;
    undone bigint;
BEGIN
    BEGIN
        EXECUTE change;
        inside := pg_temp.wrong();
        PERFORM customer_groups.effective_discounts(1, ARRAY(SELECT id FROM customer_groups.items) || 999::bigint);
        RAISE 'an unknown item was priced';
    EXCEPTION WHEN SQLSTATE '02000' THEN
        undone := pg_temp.wrong();
    END;
    EXECUTE change;
    RETURN concat_ws(' ', before, inside, undone, pg_temp.wrong());
END
$$;

SELECT isnt((SELECT count(DISTINCT customer_groups.effective_discount(c.id, i.id)) FROM customer_groups.customers c, customer_groups.items i), 1::bigint,
    'the answers differ');
SELECT is(pg_temp.wrong_around(change), '0 0 0 0', change)
FROM (VALUES
    ('UPDATE customer_groups.items SET price = price + 1 WHERE id <> 4'),
    ('UPDATE customer_groups.items SET price = price + 1'),
    ($$ UPDATE customer_groups.items SET name = repeat(name, 100), min_price = 5, external_id = external_id || 'x' $$),
    ('UPDATE customer_groups.items SET id = CASE id WHEN 5 THEN 50 WHEN 6 THEN 60 END WHERE id IN (5, 6)'),
    ('UPDATE customer_groups.items SET id = CASE id WHEN 50 THEN 6 WHEN 60 THEN 5 END WHERE id IN (50, 60)'),
    ($$ DELETE FROM customer_groups.items WHERE id = 6; INSERT INTO customer_groups.items (id, name, price) VALUES (6, 'Another', 77) $$),
    ('DELETE FROM customer_groups.item_categories WHERE item_id = 1'),
    ('INSERT INTO customer_groups.item_categories SELECT id, 3 FROM customer_groups.items ON CONFLICT DO NOTHING'),
    ('UPDATE customer_groups.item_categories SET category_id = 4 WHERE category_id = 2'),
    ('UPDATE customer_groups.categories SET parent_id = CASE WHEN parent_id IS NULL THEN 1 END WHERE id = 4'),
    ('DELETE FROM customer_groups.members WHERE customer_id = 1 AND group_id = 1'),
    ('INSERT INTO customer_groups.members (customer_id, group_id) SELECT id, 1 FROM customer_groups.customers ON CONFLICT DO NOTHING'),
    ($$ UPDATE customer_groups.members SET valid_until = '2001-01-01' WHERE group_id = 1 $$),
    ($$ UPDATE customer_groups.members SET valid_until = NULL, valid_from = 'tomorrow' WHERE group_id = 1 AND customer_id < 3 $$),
    ('UPDATE customer_groups.store_prices SET price = price * 2'),
    ('DELETE FROM customer_groups.store_prices WHERE item_id = 2'),
    ('DELETE FROM customer_groups.promotion_groups WHERE group_id = 3'),
    ('INSERT INTO customer_groups.promotion_groups VALUES (4, 2), (2, 3)'),
    ('UPDATE customer_groups.promotion_categories SET category_id = 1 WHERE promotion_id = 3'),
    ('DELETE FROM customer_groups.promotion_categories WHERE promotion_id = 3'),
    ('UPDATE customer_groups.promotions SET active = NOT active WHERE id IN (1, 2)'),
    ('ALTER TABLE customer_groups.items ADD COLUMN IF NOT EXISTS more text DEFAULT ''more'''),
    ('ALTER TABLE customer_groups.item_categories ADD COLUMN IF NOT EXISTS more text'),
    ('REINDEX TABLE customer_groups.item_categories; REINDEX TABLE customer_groups.items'),
    ('REINDEX INDEX customer_groups.members_pkey; REINDEX INDEX customer_groups.items_pkey'),
    ('CLUSTER customer_groups.items USING items_pkey; CLUSTER customer_groups.members USING members_pkey'),
    ('ALTER TABLE customer_groups.items ALTER COLUMN name TYPE varchar(10000); ALTER TABLE customer_groups.items ALTER COLUMN name TYPE text'),
    ('ALTER TABLE customer_groups.items RENAME price TO was; ALTER TABLE customer_groups.items ADD COLUMN price numeric DEFAULT 12.34'),
    ('TRUNCATE customer_groups.item_categories'),
    ('INSERT INTO customer_groups.item_categories SELECT id, 2 FROM customer_groups.items ON CONFLICT DO NOTHING')
) AS c (change);

-- A cursor keeps its snapshot, whatever the transaction does between two of its rows.
UPDATE customer_groups.promotions SET active = true;
UPDATE customer_groups.members SET valid_from = NULL;
CREATE TEMPORARY TABLE before AS
SELECT c.id AS customer, i.id AS item, customer_groups.effective_discount(c.id, i.id) AS discount
FROM customer_groups.customers c, customer_groups.items i;
CREATE TEMPORARY TABLE fetched (LIKE before);
CREATE FUNCTION pg_temp.fetch_between(changes text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    opened CURSOR FOR SELECT c.id AS customer, i.id AS item, customer_groups.effective_discount(c.id, i.id) AS discount
        FROM customer_groups.customers c, customer_groups.items i;
    asked record;
    n int := 0;
BEGIN
    FOR asked IN opened LOOP
        INSERT INTO fetched VALUES (asked.customer, asked.item, asked.discount);
        n := n + 1;
        BEGIN
            EXECUTE coalesce(changes[n], 'SELECT 1');
            PERFORM customer_groups.effective_discount(c.id, i.id) FROM customer_groups.customers c, customer_groups.items i;
            IF n % 2 = 0 THEN
                RAISE 'back';
            END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
END
$$;
SELECT pg_temp.fetch_between(ARRAY[
    'UPDATE customer_groups.items SET price = price * 2',
    'UPDATE customer_groups.items SET price = price * 3',
    'DELETE FROM customer_groups.item_categories WHERE item_id < 4',
    'DELETE FROM customer_groups.item_categories',
    'DELETE FROM customer_groups.members WHERE customer_id = 2',
    'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (3, 2)']) \g /dev/null
SELECT set_eq('SELECT * FROM fetched', 'SELECT * FROM before', 'what a cursor fetches is what it was opened on');
SELECT isnt_empty(
    $$ SELECT * FROM before b WHERE b.discount <> customer_groups.effective_discount(b.customer, b.item) $$, 'and not what is true now');
SELECT is(pg_temp.wrong(), 0::bigint, 'which is right, too');

-- A function that a statement calls for each row sees the rows that it has changed so far: so does a price.
CREATE TEMPORARY TABLE seen (price numeric, list_price numeric);
CREATE FUNCTION pg_temp.see(item bigint) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 1 .. 2 LOOP
        INSERT INTO seen SELECT i.price, (customer_groups.effective_price(NULL, 1)).list_price FROM customer_groups.items i WHERE i.id = 1;
    END LOOP;
    -- These leave the number of the command as it is.
    FOR n IN 1 .. 2 LOOP
        PERFORM i.price = (customer_groups.effective_price(NULL, 1)).list_price OR pg_temp.differ() FROM customer_groups.items i WHERE i.id = 1;
    END LOOP;
    RETURN 50 + item;
END
$$;
CREATE FUNCTION pg_temp.differ() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'they differ'; END $$;
SELECT lives_ok('UPDATE customer_groups.items SET price = pg_temp.see(id)', 'in an UPDATE of the prices');
CREATE FUNCTION pg_temp.look(item bigint) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 1 .. 2 LOOP
        PERFORM i.price = (customer_groups.effective_price(NULL, 1)).list_price OR pg_temp.differ() FROM customer_groups.items i WHERE i.id = 1;
    END LOOP;
    RETURN 70 + item;
END
$$;
SELECT lives_ok('UPDATE customer_groups.items SET price = pg_temp.look(id)', 'by a function that writes nothing');
SELECT results_eq('SELECT price, list_price FROM seen', 'SELECT price, price FROM seen', 'the prices are those of the table');
SELECT cmp_ok(count(DISTINCT price), '>', 1::bigint, 'before it and after') FROM seen;

-- A trigger may ask for a price before the row is changed, though its stamp is there.
CREATE FUNCTION pg_temp.ask() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM customer_groups.effective_discount(c.id, i.id) FROM customer_groups.customers c, customer_groups.items i;
    RETURN coalesce(NEW, OLD);
END
$$;
CREATE TRIGGER zzz_later BEFORE INSERT OR UPDATE OR DELETE ON customer_groups.promotions FOR EACH ROW EXECUTE FUNCTION pg_temp.ask();
CREATE TRIGGER zzz_later BEFORE INSERT OR UPDATE OR DELETE ON customer_groups.promotion_categories FOR EACH ROW EXECUTE FUNCTION pg_temp.ask();
CREATE TRIGGER zzz_later BEFORE INSERT OR UPDATE OR DELETE ON customer_groups.groups FOR EACH ROW EXECUTE FUNCTION pg_temp.ask();
CREATE TRIGGER zzz_later_truncate BEFORE TRUNCATE ON customer_groups.promotion_categories FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.ask();
SELECT is(pg_temp.wrong_around(change), '0 0 0 0', change || ', which a trigger asks about')
FROM (VALUES
    ('UPDATE customer_groups.promotions SET value = value + 1 WHERE id = 1'),
    ('UPDATE customer_groups.promotions SET value = value + 1'),
    ('INSERT INTO customer_groups.promotion_categories SELECT 3, id FROM customer_groups.categories ON CONFLICT DO NOTHING'),
    ('UPDATE customer_groups.groups SET ends_on = ''2000-12-31'' WHERE id = 1'),
    ('DELETE FROM customer_groups.promotion_categories WHERE promotion_id IN (2, 3)'),
    ('TRUNCATE customer_groups.promotion_categories')
) AS c (change);

SELECT * FROM finish();
ROLLBACK;
