-- The versions by external_id answer as those by id, for shops with UUID or text keys; effective_discounts answers as
-- effective_price does, item by item.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

INSERT INTO customer_groups.stores (id, code, name) VALUES (1, 'web', 'Web');
INSERT INTO customer_groups.customers (id, external_id, name) VALUES
    (1, '6f9619ff-8b86-d011-b42d-00c04fc964ff', 'Ada'), (2, 'c ä 🙂', 'Ben'), (3, NULL, 'Cy');
INSERT INTO customer_groups.items (id, external_id, name, price, min_price)
SELECT n, 'sku-' || n, 'thing', n * 1.37, CASE WHEN n % 5 = 0 THEN n * 1.3 END FROM generate_series(1, 200) n;
INSERT INTO customer_groups.store_prices SELECT n, 1, n, NULL FROM generate_series(3, 200, 3) n;
INSERT INTO customer_groups.categories (id, code, name, parent_id) VALUES (1, 'a', 'A', NULL), (2, 'b', 'B', 1);
INSERT INTO customer_groups.item_categories SELECT n, 1 + n % 2 FROM generate_series(1, 200, 3) n UNION SELECT n, 2 FROM generate_series(1, 200, 9) n;
INSERT INTO customer_groups.groups (id, code, name, starts_on) VALUES (1, 'b2b', 'B2B', '2000-01-01');
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (1, 1);
INSERT INTO customer_groups.promotions (id, code, name, kind, value, groups_only, stage, combinable, level) VALUES
    (1, 'all', 'All', 'percent', 7, false, 0, false, 'item'), (2, 'b2b', 'B2B', 'percent', 12.5, true, 0, false, 'item'),
    (3, 'cat', 'Category', 'amount', 2, false, 1, true, 'item'), (4, 'seg', 'Segment', 'amount', 1, false, 1, true, 'item'),
    (5, 'order', 'Order', 'amount', 5, false, 0, false, 'order');
INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (2, 1);
INSERT INTO customer_groups.promotion_categories VALUES (3, 1);
INSERT INTO customer_groups.segments (id, code, name, color, rule) VALUES (1, 'buyers', 'Buyers', '#112233', 'visits >= 1');
INSERT INTO customer_groups.promotion_segments VALUES (4, 1);
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (2, 5);

-- One item.
SELECT is_empty(
    $$ SELECT * FROM customer_groups.items i CROSS JOIN customer_groups.customers c CROSS JOIN (VALUES (1), (NULL)) AS s (store)
       WHERE c.external_id IS NOT NULL
         AND (customer_groups.effective_price_by_key(c.external_id, i.external_id, s.store, 2, 50, now())
              IS DISTINCT FROM customer_groups.effective_price(c.id, i.id, s.store, 2, 50, now())
              OR customer_groups.effective_discount_by_key(c.external_id, i.external_id, s.store, 2, 50, now())
              IS DISTINCT FROM customer_groups.effective_discount(c.id, i.id, s.store, 2, 50, now())) $$,
    'effective_price and effective_discount by key');
SELECT is((customer_groups.effective_price_by_key(NULL, 'sku-100')).price, (customer_groups.effective_price(NULL, 100)).price,
    'a null customer is an anonymous one');
SELECT is(customer_groups.effective_discount_by_key('c ä 🙂', NULL), NULL, 'a null item gives null');
SELECT is((customer_groups.effective_price_by_key('c ä 🙂', NULL)).price, NULL, 'of a price too');

-- A list.
CREATE TEMPORARY TABLE lists AS
SELECT c.id AS customer, c.external_id, s.store,
    (SELECT array_agg(n ORDER BY random()) FROM generate_series(1, 200) n) || '{7,NULL,7,NULL,1}'::bigint[] AS ids
FROM (SELECT id, external_id FROM customer_groups.customers UNION ALL SELECT NULL, NULL) AS c, (VALUES (1), (NULL)) AS s (store);
SELECT is_empty(
    $$ SELECT l.customer, l.store, e.*, p.* FROM lists l,
           ROWS FROM (unnest(l.ids), customer_groups.effective_discounts(l.customer, l.ids, l.store)) WITH ORDINALITY
               AS e (asked, item_id, list_price, discount, price, promotion_ids, place),
           customer_groups.effective_price(l.customer, e.asked, l.store) p
       WHERE (e.item_id, e.list_price, e.discount, e.price, e.promotion_ids)
             IS DISTINCT FROM (e.asked, p.list_price, p.discount, p.price, p.promotion_ids) $$,
    'effective_discounts is effective_price of each item, in the order given; of nulls and repeated ones too');
SELECT is((SELECT count(*) FROM lists l, customer_groups.effective_discounts(l.customer, l.ids, l.store)), 8 * 205::bigint, 'a row for each');
SELECT is_empty(
    $$ SELECT * FROM lists l,
           ROWS FROM (customer_groups.effective_discounts(l.customer, l.ids, l.store),
                      customer_groups.effective_discounts_by_key(l.external_id,
                          ARRAY(SELECT 'sku-' || u.id FROM unnest(l.ids) WITH ORDINALITY AS u (id, place) ORDER BY u.place), l.store))
               AS e (item_id, list_price, discount, price, promotion_ids, item_id2, list_price2, discount2, price2, promotion_ids2, key)
       WHERE (l.customer IS NULL OR l.external_id IS NOT NULL)
         AND (e.item_id, e.list_price, e.discount, e.price, e.promotion_ids, 'sku-' || e.item_id)
             IS DISTINCT FROM (e.item_id2, e.list_price2, e.discount2, e.price2, e.promotion_ids2, e.key) $$,
    'effective_discounts by key, with the key');
SELECT is_empty('SELECT * FROM customer_groups.effective_discounts(1, NULL)', 'a null list is an empty one');
SELECT is_empty('SELECT * FROM customer_groups.effective_discounts(1, ''{}'')', 'of an empty list nothing');
SELECT is_empty('SELECT * FROM customer_groups.effective_discounts_by_key(NULL, ''{}'')', 'by key too');

-- A cart.
CREATE TEMPORARY TABLE carts AS
SELECT c.id AS customer, c.external_id, s.store,
    (SELECT jsonb_agg(jsonb_build_object('item', n, 'quantity', 1 + n % 3) ORDER BY n % 7) FROM generate_series(1, 40) n) AS lines,
    (SELECT jsonb_agg(jsonb_build_object('item', 'sku-' || n, 'quantity', 1 + n % 3) ORDER BY n % 7) FROM generate_series(1, 40) n) AS keys
FROM customer_groups.customers c, (VALUES (1), (NULL)) AS s (store) WHERE c.external_id IS NOT NULL;
SELECT results_eq(
    $$ SELECT c.customer, c.store, p.*, 'sku-' || p.item_id FROM carts c, customer_groups.price_cart(c.customer, c.lines, c.store) p ORDER BY 1, 2, 3 $$,
    $$ SELECT c.customer, c.store, p.* FROM carts c, customer_groups.price_cart_by_key(c.external_id, c.keys, c.store) p ORDER BY 1, 2, 3 $$,
    'price_cart by key, with the key');

-- Labels.
SELECT results_eq('SELECT * FROM customer_groups.segments_of_by_key(''c ä 🙂'')', $$ VALUES ('buyers', 'Buyers', '#112233') $$, 'segments_of by key');
SELECT is_empty('SELECT * FROM customer_groups.segments_of_by_key(NULL)', 'an anonymous customer has none');

-- Unknown keys; a key of the other kind.
SELECT throws_ok(format('SELECT * FROM customer_groups.%s', call), state, NULL, call)
FROM (VALUES
    ('effective_discount_by_key(''nobody'', ''sku-1'')', '02000'), ('effective_discount_by_key(NULL, ''sku-0'')', '02000'),
    ('effective_price_by_key('''', ''sku-1'')', '02000'), ('effective_price_by_key(NULL, ''SKU-1'')', '02000'),
    ('effective_discounts_by_key(''nobody'', ''{sku-1}'')', '02000'), ('effective_discounts_by_key(NULL, ''{sku-1,sku-0}'')', '02000'),
    ('price_cart_by_key(''nobody'', ''[]'')', '02000'), ('price_cart_by_key(NULL, ''[{"item": "sku-0"}]'')', '02000'),
    ('price_cart_by_key(NULL, ''[{"item": 1}]'')', '22023'), ('price_cart_by_key(NULL, ''[{"item": null}]'')', '22023'),
    ('segments_of_by_key(''nobody'')', '02000'),
    ('effective_discounts(NULL, ''{1,987}'')', '02000'), ('effective_discounts(987, ''{}'')', '02000'),
    ('effective_discounts(NULL, ''{1}'', 987)', '02000'), ('effective_discounts(NULL, ''{1}'', NULL, NULL)', '22004')
) AS x (call, state);

-- The owner's changes: without its unique index a key is not looked up; another one will do.
SAVEPOINT altered;
ALTER TABLE customer_groups.items DROP CONSTRAINT items_external_id_key;
SELECT throws_ok('SELECT customer_groups.effective_discount_by_key(NULL, ''sku-1'')', '55000', NULL, 'without a unique index');
SELECT lives_ok('SELECT customer_groups.effective_discount(NULL, 1)', 'by id all the same');
CREATE INDEX ON customer_groups.items (external_id);
CREATE UNIQUE INDEX ON customer_groups.items (external_id) WHERE external_id > 'sku-2';
CREATE UNIQUE INDEX ON customer_groups.items (lower(external_id));
CREATE UNIQUE INDEX ON customer_groups.items (external_id, id);
SELECT throws_ok('SELECT customer_groups.effective_discount_by_key(NULL, ''sku-1'')', '55000', NULL, 'without one that serves');
CREATE UNIQUE INDEX ON customer_groups.items (external_id COLLATE "C") INCLUDE (name);
SELECT is(customer_groups.effective_discount_by_key(NULL, 'sku-1'), customer_groups.effective_discount(NULL, 1), 'by another one');
ROLLBACK TO altered;
SELECT is(customer_groups.effective_discount_by_key(NULL, 'sku-1'), customer_groups.effective_discount(NULL, 1), 'by the first one again');

-- Who may call a function and not read the tables is refused by each.
GRANT USAGE ON SCHEMA customer_groups TO shop_stranger;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA customer_groups TO shop_stranger;
CREATE FUNCTION pg_temp.as_stranger(call text) RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL ROLE shop_stranger;
    EXECUTE 'SELECT * FROM customer_groups.' || call;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
SELECT is(pg_temp.as_stranger(call), '42501', 'without the right to view: ' || call)
FROM unnest(ARRAY[
    'effective_discounts(NULL, ''{1}'')', 'explain_discount(NULL, 1)', 'explain_discount(NULL, NULL)',
    'price_cart(NULL, ''[]'')', 'effective_discount_by_key(NULL, ''sku-1'')', 'effective_price_by_key(NULL, NULL)',
    'effective_discounts_by_key(''nobody'', ''{}'')', 'price_cart_by_key(''nobody'', ''[]'')', 'segments_of_by_key(''nobody'')'
]) AS x (call);

SELECT * FROM finish();
ROLLBACK;
