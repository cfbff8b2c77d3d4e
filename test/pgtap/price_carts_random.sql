-- 2,000 random carts in 50 random shops: price_cart() gives the answers of a slow and obvious reference, which itself gives published ones; a
-- cart's lines sum to its total, keep to their floors, do not depend on their order, and are effective_price() where nothing is off the order.
--
-- psql -v seed=0.1 asks others.
BEGIN;
SET LOCAL client_min_messages = error;
\ir reference_cart.psql
\ir random_shop.psql
\if :{?seed}
\else
\set seed 0.42
\endif
SELECT no_plan();
SELECT diag('seed ' || :'seed');
SELECT setseed(:seed) \g /dev/null

-- ---------------------------------------------------------------------------------------------
-- Carts with known answers
-- ---------------------------------------------------------------------------------------------

-- The discount and the promotions of each line, by the reference and by price_cart. Promotions are
-- [level, kind, value, combinable, priority, min_order_value, max_discount, item], lines [quantity, price, floor].
CREATE FUNCTION pg_temp.published(promotions jsonb, lines jsonb, OUT reference text, OUT ours text)
    LANGUAGE plpgsql AS $$
DECLARE
    cart jsonb := (SELECT jsonb_agg(jsonb_build_object('item', n, 'quantity', l -> 0) ORDER BY n)
                   FROM jsonb_array_elements(lines) WITH ORDINALITY AS a (l, n));
BEGIN
    PERFORM pg_temp.clear_shop();
    INSERT INTO customer_groups.items (id, name, price, min_price)
    SELECT n, 'I', (l ->> 1)::numeric, (l ->> 2)::numeric FROM jsonb_array_elements(lines) WITH ORDINALITY AS a (l, n);
    INSERT INTO customer_groups.promotions (id, name, level, kind, value, combinable, priority, min_order_value, max_discount)
    SELECT n, 'P', p ->> 0, p ->> 1, (p ->> 2)::numeric, coalesce((p ->> 3)::boolean, false), coalesce((p ->> 4)::int, 0), (p ->> 5)::numeric, (p ->> 6)::numeric
    FROM jsonb_array_elements(promotions) WITH ORDINALITY AS a (p, n);
    INSERT INTO customer_groups.promotion_items
    SELECT n, (p ->> 7)::int FROM jsonb_array_elements(promotions) WITH ORDINALITY AS a (p, n) WHERE p ->> 7 IS NOT NULL;
    PERFORM pg_temp.look_around();
    reference := (SELECT string_agg(trim_scale(e.discount) || e.promotion_ids::text, ' ' ORDER BY e.line_no)
                  FROM pg_temp.expected_cart(NULL, cart, NULL, '2024-03-10') AS e);
    ours := (SELECT string_agg(trim_scale(c.discount) || c.promotion_ids::text, ' ' ORDER BY c.line_no)
             FROM customer_groups.price_cart(NULL, cart, NULL, '2024-03-10') AS c);
END
$$;
SELECT unnest(ARRAY[is(p.reference, v.expected, v.name), is(p.ours, v.expected, v.name || ', by price_cart')])
FROM (VALUES
    ('Sylius: 20 %, then 10.00 off', '[["order", "amount", 10, true, 4], ["order", "percent", 20, true, 1]]', '[[1, 100]]', '30{2,1}'),
    ('Sylius: 10.00 off, then 20 %', '[["order", "amount", 10, true, 2], ["order", "percent", 20, true, 5]]', '[[1, 100]]', '28{1,2}'),
    ('Medusa: twice 10 %', '[["order", "percent", 10, true], ["order", "percent", 10, true]]', '[[1, 50], [1, 150]]', '9.5{1,2} 28.5{1,2}'),
    ('Vendure: 10 % of the item, 10 % of the order', '[["item", "percent", 10], ["order", "percent", 10]]', '[[1, 1558.80]]', '296.17{1,2}'),
    ('Solidus: a threshold above what the items'' discounts leave',
     '[["item", "percent", 20, false, 0, null, null, 1], ["order", "amount", 10, false, 0, 68]]', '[[1, 30], [1, 40]]', '6{1} 0{}'),
    ('Shopware: never negative', '[["order", "amount", 20, true], ["order", "percent", 100, true]]', '[[5, 60]]', '300{1,2}'),
    ('Sylius: thirds', '[["order", "amount", 10]]', '[[1, 10], [1, 10], [1, 10]]', '3.34{1} 3.33{1} 3.33{1}'),
    ('Solidus: by total', '[["order", "amount", 15]]', '[[3, 50], [1, 50], [2, 50]]', '7.5{1} 2.5{1} 5{1}'),
    ('Sylius, Vendure: the largest remainder', '[["order", "amount", 2.99]]', '[[1, 43], [1, 14], [1, 23]]', '1.61{1} 0.52{1} 0.86{1}'),
    ('Solidus: at most 50.00', '[["order", "percent", 15, false, 0, null, 50]]', '[[1, 12], [1, 23], [1, 10]]', '1.8{1} 3.45{1} 1.5{1}'),
    ('Sylius: floors', '[["order", "amount", 12]]', '[[1, 10, 0], [1, 20, 19], [1, 50, 50], [1, 30, 26]]', '7{1} 1{1} 0{} 4{1}'),
    ('Sylius: more than there is', '[["order", "amount", 200]]', '[[1, 100]]', '100{1}'),
    ('Saleor: per line', '[["item", "percent", 10]]', '[[1, 1.06], [1, 2.06], [1, 3.06]]', '0.11{1} 0.21{1} 0.31{1}'),
    ('equal: the set ranks by the first that took something',
     '[["order", "percent", 0, true, 1], ["order", "percent", 100, true, 3], ["order", "percent", 100, false, 2]]', '[[1, 10]]', '10{3}'),
    ('the one that really gives more', '[["order", "amount", 9, false, 0, null, null, 2], ["order", "percent", 5]]', '[[1, 10, 9.50], [1, 10, 9.90]]',
     '0.5{2} 0.1{2}'),
    ('a threshold that is just reached', '[["order", "amount", 1, false, 0, 20], ["order", "amount", 2, false, 0, 20.01]]', '[[2, 10]]', '1{1}')
) AS v (name, promotions, lines, expected), pg_temp.published(v.promotions::jsonb, v.lines::jsonb) AS p;

-- ---------------------------------------------------------------------------------------------
-- Random carts
-- ---------------------------------------------------------------------------------------------

CREATE TYPE pg_temp.priced_line AS (line_no int, item_id bigint, quantity numeric, list_price numeric, discount numeric, total numeric, promotion_ids int[]);

CREATE TEMPORARY TABLE carts (
    n int GENERATED ALWAYS AS IDENTITY, shop int, customer bigint, store int, at timestamptz, lines jsonb,
    expected pg_temp.priced_line[], priced pg_temp.priced_line[], shuffled pg_temp.priced_line[], without_order_level pg_temp.priced_line[],
    one_promotion pg_temp.priced_line[]);
-- The lines as effective_price gives them, and their floors.
CREATE TEMPORARY TABLE item_prices (cart int, line_no int, list_price numeric, total numeric, min_total numeric, promotion_ids int[]);
-- What one order-level promotion, on everything and without floors, takes off a cart.
CREATE TEMPORARY TABLE order_discounts (cart int, discount numeric);

CREATE TEMPORARY TABLE refused (cart int, state text);

CREATE FUNCTION pg_temp.priced(customer bigint, lines jsonb, store int, at timestamptz) RETURNS pg_temp.priced_line[]
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN ARRAY(
        SELECT ROW(c.line_no, c.item_id, c.quantity, c.list_price, c.discount, c.total, c.promotion_ids)::pg_temp.priced_line
        FROM customer_groups.price_cart(customer, lines, store, at) AS c);
END
$$;

CREATE FUNCTION pg_temp.fill_carts(present_shop int, many int) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO carts (shop, customer, store, at, lines)
    SELECT present_shop, pg_temp.some_customer(), s.store, pg_temp.some_time(), pg_temp.some_cart(s.store)
    FROM (SELECT pg_temp.some_store() AS store FROM generate_series(1, many) OFFSET 0) AS s;
    DELETE FROM carts WHERE lines = '[]';
    -- Amounts from 10^14 on are refused.
    WITH worth AS (
        SELECT c.n, sum(pg_temp.rounded((l ->> 'quantity')::numeric * (pg_temp.list_price((l ->> 'item')::bigint, place)).list_price, place)) AS value
        FROM carts AS c, pg_temp.place_of(c.store, c.at) AS place, jsonb_array_elements(c.lines) AS l
        WHERE c.shop = present_shop
        GROUP BY c.n), taken_out AS (
        DELETE FROM carts AS c USING worth AS w WHERE w.n = c.n AND w.value >= 1e14 RETURNING c.*)
    INSERT INTO refused
    SELECT t.n, pg_temp.state_of(format('SELECT * FROM customer_groups.price_cart(%L, %L, %L, %L)', t.customer, t.lines, t.store, t.at)) FROM taken_out AS t;

    -- Promotions that ask for exactly what some cart has: its value at list prices, its quantity, what it comes to in the end.
    INSERT INTO customer_groups.promotions (id, name, level, kind, value, stage, combinable, min_quantity, min_order_value)
    SELECT 100 + 3 * has.n + i, 'P', CASE i WHEN 0 THEN 'item' ELSE 'order' END, 'percent', pg_temp.between(1, 10), CASE i WHEN 2 THEN 5 ELSE 0 END, true,
        CASE i WHEN 1 THEN has.quantity END, CASE i WHEN 0 THEN has.value WHEN 2 THEN has.total END
    FROM (SELECT row_number() OVER () AS n, sum(e.total + e.discount) AS value, sum(e.total) AS total, sum(e.quantity) AS quantity
          FROM (SELECT * FROM carts WHERE shop = present_shop ORDER BY n LIMIT 4) AS c, pg_temp.expected_cart(c.customer, c.lines, c.store, c.at) AS e
          GROUP BY c.n ORDER BY c.n) AS has,
        generate_series(0, 2) AS i
    WHERE pg_temp.chance(30);
    PERFORM pg_temp.look_around();

    UPDATE carts AS c
    SET expected = ARRAY(SELECT ROW(e.*)::pg_temp.priced_line FROM pg_temp.expected_cart(c.customer, c.lines, c.store, c.at) AS e),
        priced = pg_temp.priced(c.customer, c.lines, c.store, c.at),
        shuffled = pg_temp.priced(c.customer, (SELECT jsonb_agg(l ORDER BY random()) FROM jsonb_array_elements(c.lines) AS l), c.store, c.at)
    WHERE c.shop = present_shop;

    -- Without what is off the order.
    UPDATE customer_groups.promotions SET active = false WHERE level = 'order';
    UPDATE carts AS c SET without_order_level = pg_temp.priced(c.customer, c.lines, c.store, c.at) WHERE c.shop = present_shop;
    INSERT INTO item_prices
    SELECT c.n, l.n, e.list_price, pg_temp.rounded(e.price * l.quantity, place),
        pg_temp.rounded_up((pg_temp.list_price(l.item, place)).min_price * l.quantity, place), e.promotion_ids
    FROM carts AS c, pg_temp.place_of(c.store, c.at) AS place,
        LATERAL (SELECT sum(p.total + p.discount) AS order_value FROM unnest(c.priced) AS p) AS its,
        LATERAL (SELECT a.n, (a.line ->> 'item')::bigint AS item, (a.line ->> 'quantity')::numeric AS quantity
                 FROM jsonb_array_elements(c.lines) WITH ORDINALITY AS a (line, n)) AS l,
        LATERAL customer_groups.effective_price(c.customer, l.item, c.store, l.quantity, its.order_value, c.at) AS e
    WHERE c.shop = present_shop;

    -- With one promotion off the order, and no floors.
    UPDATE customer_groups.items SET min_price = NULL;
    UPDATE customer_groups.store_prices SET min_price = NULL;
    DELETE FROM customer_groups.promotions;
    INSERT INTO customer_groups.promotions (id, name, level, kind, value)
    VALUES (2000, 'P', 'order', CASE WHEN present_shop % 2 = 0 THEN 'percent' ELSE 'amount' END, pg_temp.between(1, 9000) / 100::numeric);
    PERFORM pg_temp.look_around();
    UPDATE carts AS c SET one_promotion = pg_temp.priced(c.customer, c.lines, c.store, c.at) WHERE c.shop = present_shop;
    INSERT INTO order_discounts
    SELECT c.n, v.value - least(v.value, greatest(0, pg_temp.rounded(
        CASE WHEN p.kind = 'percent' THEN v.value - v.value * p.value * 0.01 WHEN place.currency = home.currency THEN v.value - p.value ELSE v.value END, place)))
    FROM carts AS c, customer_groups.promotions AS p, pg_temp.place_of(c.store, c.at) AS place, pg_temp.place_of(NULL, c.at) AS home,
        LATERAL (SELECT sum(l.total + l.discount) AS value FROM unnest(c.one_promotion) AS l) AS v
    WHERE c.shop = present_shop;
END
$$;

CREATE FUNCTION pg_temp.fill_shops(first int, last int) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    FOR shop IN first .. last LOOP
        PERFORM pg_temp.new_shop();
        PERFORM pg_temp.fill_carts(shop, 46);
    END LOOP;
END
$$;
SELECT pg_temp.fill_shops(1, 25) \g /dev/null
SELECT pg_temp.fill_shops(26, 50) \g /dev/null

CREATE TEMPORARY VIEW lines AS
SELECT c.n AS cart, p.*, e.total AS item_total, e.min_total, e.list_price AS item_list_price, e.promotion_ids AS item_promotion_ids
FROM carts AS c, unnest(c.priced) AS p
JOIN item_prices AS e ON e.line_no = p.line_no
WHERE e.cart = c.n;

SELECT cmp_ok(count(*), '>=', 2000::bigint, 'there are 2,000 carts') FROM carts;
SELECT is_empty($$
    SELECT n, shop, customer, store, at, lines, priced, expected FROM carts WHERE priced IS DISTINCT FROM expected ORDER BY length(lines::text) LIMIT 5
    $$, 'price_cart gives what the reference gives');
SELECT is_empty('SELECT * FROM refused WHERE state <> ''22003''', 'one of 10^14 or more is refused');
SELECT is_empty($$
    SELECT n, priced, shuffled FROM carts AS c
    WHERE ARRAY(SELECT ROW(0, item_id, quantity, list_price, discount, total, promotion_ids)::pg_temp.priced_line AS l FROM unnest(priced) ORDER BY l)
        IS DISTINCT FROM
        ARRAY(SELECT ROW(0, item_id, quantity, list_price, discount, total, promotion_ids)::pg_temp.priced_line AS l FROM unnest(shuffled) ORDER BY l)
    ORDER BY length(lines::text) LIMIT 5$$, 'the order of the lines does not matter');
SELECT is_empty($$
    SELECT c.n, c.without_order_level, e.* FROM carts AS c, unnest(c.without_order_level) AS p
    JOIN item_prices AS e ON e.line_no = p.line_no
    WHERE e.cart = c.n AND (p.list_price, p.total, p.promotion_ids) IS DISTINCT FROM (e.list_price, e.total, e.promotion_ids) LIMIT 5
    $$, 'with nothing off the order, lines are priced by effective_price');
SELECT is_empty('SELECT * FROM lines WHERE total < least(item_total, min_total) OR total > item_total OR total < 0 LIMIT 5',
                'what is off the order takes no line below its floor, and raises none');
SELECT is_empty($$SELECT * FROM lines WHERE promotion_ids[: cardinality(item_promotion_ids)] IS DISTINCT FROM item_promotion_ids
                     OR (cardinality(promotion_ids) > cardinality(item_promotion_ids)) IS DISTINCT FROM (total < item_total) LIMIT 5$$,
                'a line lists the promotions that took something off it');
SELECT is_empty($$
    SELECT c.n, d.discount, c.one_promotion FROM carts AS c JOIN order_discounts AS d ON d.cart = c.n
    WHERE d.discount IS DISTINCT FROM (SELECT sum(l.discount) FROM unnest(c.one_promotion) AS l) LIMIT 5
    $$, 'the lines get what is off the order, to the last unit');

-- The carts are such that a mistake would show.
SELECT cmp_ok(count(*), '>', 20::bigint, 'some are worth too much') FROM refused;
SELECT cmp_ok(count(*), '>', 700::bigint, 'from many something is off the order') FROM (SELECT DISTINCT cart FROM lines WHERE total < item_total) AS l;
SELECT cmp_ok(count(*), '>', 150::bigint, 'many lines are at their floor') FROM lines WHERE total = min_total AND total < item_total AND total > 0;
SELECT cmp_ok(count(*), '>', 150::bigint, 'many lines have several promotions off the order')
FROM lines WHERE cardinality(promotion_ids) > cardinality(item_promotion_ids) + 1;
SELECT cmp_ok(count(*), '>', 1000::bigint, 'one promotion often takes something') FROM order_discounts WHERE discount > 0;

SELECT * FROM finish();
ROLLBACK;
