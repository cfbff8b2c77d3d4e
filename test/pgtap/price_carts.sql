-- price_cart on cases with known answers, where discounts go to the last minor unit, and the properties of random carts.
-- Cases with an id (F1, S12, ...) are facts from the test suites of published shop systems, which are named.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

-- The shop: the default settings (USD, UTC), stores elsewhere, customers in groups.
INSERT INTO customer_groups.stores (id, code, name, currency, timezone) VALUES
    (1, 'web', 'Web', 'USD', 'UTC'),
    (2, 'seoul', 'Seoul', 'KRW', 'Asia/Seoul'),
    (3, 'kuwait', 'Kuwait', 'KWD', 'Asia/Kuwait');
INSERT INTO customer_groups.customers (id, external_id, name) VALUES
    (1, 'ada', 'Ada'), (2, 'ben', 'Ben'), (3, 'cy', 'Cy');
INSERT INTO customer_groups.groups (id, code, name, starts_on) VALUES
    (1, 'wholesale', 'Wholesale', '2000-01-01'), (2, 'retail', 'Retail', '2000-01-01');
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (1, 1), (2, 2);

-- Promotions, as JSON objects with the columns' names, "groups" and "stores" (codes) and "lines" (numbers: the items
-- that it covers; without it the whole assortment). Ids are 1, 2, ...
CREATE FUNCTION pg_temp.promote(promotions jsonb) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM customer_groups.promotions;
    INSERT INTO customer_groups.promotions (id, code, name, kind, value, level, starts_at, ends_at, groups_only,
        combinable, stage, priority, min_quantity, min_order_value, max_discount, currency, active)
    SELECT a.place, 'p' || a.place, t.kind, t.kind, t.value, coalesce(t.level, 'item'), t.starts_at, t.ends_at,
        coalesce(t.groups_only, false), coalesce(t.combinable, false), coalesce(t.stage, 0),
        coalesce(t.priority, 0), t.min_quantity, t.min_order_value, t.max_discount, t.currency,
        coalesce(t.active, true)
    FROM jsonb_array_elements(promotions) WITH ORDINALITY AS a (terms, place),
        jsonb_populate_record(NULL::customer_groups.promotions, a.terms) AS t;
    INSERT INTO customer_groups.promotion_items
    SELECT a.place, l.line FROM jsonb_array_elements(promotions) WITH ORDINALITY AS a (terms, place),
        jsonb_array_elements_text(a.terms -> 'lines') AS x, LATERAL (SELECT x::bigint) AS l (line);
    INSERT INTO customer_groups.promotion_groups (promotion_id, group_id)
    SELECT a.place, g.id FROM jsonb_array_elements(promotions) WITH ORDINALITY AS a (terms, place)
    JOIN customer_groups.groups AS g ON a.terms -> 'groups' ? g.code;
    INSERT INTO customer_groups.promotion_stores
    SELECT a.place, s.id FROM jsonb_array_elements(promotions) WITH ORDINALITY AS a (terms, place)
    JOIN customer_groups.stores AS s ON a.terms -> 'stores' ? s.code;
END
$$;

-- A cart of new items, whose ids ascend with the lines: {"price": 10, "quantity": 2, "floor": 8}, with {"same": n}
-- instead of a price for the item of line n. The answer: '3.34 3.33 3.33 = 20.00', what each line gets off and
-- what is paid; or the SQLSTATE.
CREATE FUNCTION pg_temp.cart(
        promotions jsonb, lines jsonb, customer bigint DEFAULT NULL, store int DEFAULT NULL,
        at timestamptz DEFAULT '2024-06-15 12:00+00')
    RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    DELETE FROM customer_groups.promotions;
    DELETE FROM customer_groups.store_prices;
    DELETE FROM customer_groups.items;
    INSERT INTO customer_groups.items (id, external_id, name, price, min_price)
    SELECT l.place, 'sku-' || l.place, 'thing', (l.line ->> 'price')::numeric, (l.line ->> 'floor')::numeric
    FROM jsonb_array_elements(lines) WITH ORDINALITY AS l (line, place) WHERE l.line ? 'price';
    INSERT INTO customer_groups.store_prices
    SELECT i.id, store, i.price, i.min_price FROM customer_groups.items AS i WHERE store IS NOT NULL;
    PERFORM pg_temp.promote(promotions);
    SELECT string_agg(p.discount::text, ' ' ORDER BY p.line_no) || ' = ' || sum(p.total) INTO answer
    FROM customer_groups.price_cart(
        customer,
        (SELECT jsonb_agg(jsonb_build_object('item', coalesce(l.line -> 'same', to_jsonb(l.place)),
                                             'quantity', coalesce(l.line -> 'quantity', to_jsonb(1)))
                          ORDER BY l.place)
         FROM jsonb_array_elements(lines) WITH ORDINALITY AS l (line, place)),
        store, at) AS p;
    RETURN answer;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Published cases
-- ---------------------------------------------------------------------------------------------------------------

SELECT is(pg_temp.cart(c.promotions, c.lines), c.expected, c.name)
FROM (VALUES
    ('R1 (Sylius): one piece, 15 % off', '[{"kind": "percent", "value": 15}]'::jsonb, '[{"price": 20.00}]'::jsonb,
     '3.00 = 17.00'),
    ('R3 (Sylius): the unit price is rounded', '[{"kind": "percent", "value": 15}]', '[{"price": 10.50}]', '1.57 = 8.93'),
    ('R7 (Saleor): rounded line by line, not on the sum', '[{"kind": "percent", "value": 10}]',
     '[{"price": 1.06}, {"price": 2.06}, {"price": 3.06}]', '0.11 0.21 0.31 = 5.55'),
    ('S1 (Sylius): 20 % first, then 10.00',
     '[{"kind": "amount", "value": 10, "level": "order", "combinable": true, "priority": 4},
       {"kind": "percent", "value": 20, "level": "order", "combinable": true, "priority": 1}]',
     '[{"price": 100}]', '30.00 = 70.00'),
    ('S2 (Sylius): 10.00 first, then 20 %',
     '[{"kind": "amount", "value": 10, "level": "order", "combinable": true, "priority": 2},
       {"kind": "percent", "value": 20, "level": "order", "combinable": true, "priority": 5}]',
     '[{"price": 100}]', '28.00 = 72.00'),
    ('S3 (Sylius): four on an item, one after another',
     '[{"kind": "percent", "value": 25, "combinable": true, "priority": 40},
       {"kind": "amount", "value": 5, "combinable": true, "priority": 30},
       {"kind": "percent", "value": 50, "combinable": true, "priority": 20},
       {"kind": "amount", "value": 10, "combinable": true, "priority": 10}]', '[{"price": 100}]', '70.00 = 30.00'),
    ('S4 (Medusa): 10 % twice, spread each time',
     '[{"kind": "percent", "value": 10, "level": "order", "combinable": true},
       {"kind": "percent", "value": 10, "level": "order", "combinable": true}]',
     '[{"price": 50}, {"price": 150}]', '9.50 28.50 = 162.00'),
    ('S6 (Vendure): 10 % on the item and 10 % on the order',
     '[{"kind": "percent", "value": 10}, {"kind": "percent", "value": 10, "level": "order"}]',
     '[{"price": 1558.80}]', '296.17 = 1262.63'),
    ('S12 (Solidus): the total after item discounts is enough',
     '[{"kind": "percent", "value": 20, "lines": [1]},
       {"kind": "amount", "value": 10, "level": "order", "min_order_value": 60}]',
     '[{"price": 30}, {"price": 40}]', '9.75 6.25 = 54.00'),
    ('S13 (Solidus): the total after item discounts is not enough',
     '[{"kind": "percent", "value": 20, "lines": [1]},
       {"kind": "amount", "value": 10, "level": "order", "min_order_value": 68}]',
     '[{"price": 30}, {"price": 40}]', '6.00 0.00 = 64.00'),
    ('S16 (Shopware): all of it off, and more',
     '[{"kind": "amount", "value": 20, "level": "order", "combinable": true},
       {"kind": "percent", "value": 100, "level": "order", "combinable": true}]',
     '[{"price": 60, "quantity": 5}]', '300.00 = 0.00'),
    ('B1 (Saleor): the better of two', '[{"kind": "percent", "value": 10}, {"kind": "percent", "value": 50}]',
     '[{"price": 10.01}]', '5.00 = 5.01'),
    ('F1 (Sylius, Lunar): 10.00 over three equal lines', '[{"kind": "amount", "value": 10, "level": "order"}]',
     '[{"price": 10}, {"price": 10}, {"price": 10}]', '3.34 3.33 3.33 = 20.00'),
    ('F5 (Solidus): in proportion to totals', '[{"kind": "amount", "value": 15, "level": "order"}]',
     '[{"price": 50, "quantity": 3}, {"price": 50}, {"price": 50, "quantity": 2}]', '7.50 2.50 5.00 = 285.00'),
    ('F8 (Sylius, Vendure): 2.99 to the last cent', '[{"kind": "amount", "value": 2.99, "level": "order"}]',
     '[{"price": 43}, {"price": 14}, {"price": 23}]', '1.61 0.52 0.86 = 77.01'),
    ('F12 (Solidus): a limit that is not reached',
     '[{"kind": "percent", "value": 15, "max_discount": 50, "level": "order"}]',
     '[{"price": 12}, {"price": 23}, {"price": 10}]', '1.80 3.45 1.50 = 38.25'),
    ('F16 (Sylius): floors', '[{"kind": "amount", "value": 12, "level": "order"}]',
     '[{"price": 10, "floor": 0}, {"price": 20, "floor": 19}, {"price": 50, "floor": 50}, {"price": 30, "floor": 26}]',
     '7.00 1.00 0.00 4.00 = 98.00'),
    ('M1 (Sylius): from 80.00, reached', '[{"kind": "amount", "value": 10, "level": "order", "min_order_value": 80}]',
     '[{"price": 80}]', '10.00 = 70.00'),
    ('M1 (Sylius): from 100.00, not reached',
     '[{"kind": "amount", "value": 10, "level": "order", "min_order_value": 100}]', '[{"price": 80}]', '0.00 = 80.00'),
    ('M4 (Sylius): more than the order is worth', '[{"kind": "amount", "value": 200, "level": "order"}]',
     '[{"price": 100}]', '100.00 = 0.00'),
    ('M5 (Sylius): more than each piece is worth', '[{"kind": "amount", "value": 30, "lines": [1]}]',
     '[{"price": 20, "quantity": 2}]', '40.00 = 0.00'),
    ('M21 (Shopware): at most 30.00', '[{"kind": "percent", "value": 50, "max_discount": 30}]', '[{"price": 100}]',
     '30.00 = 70.00'),
    ('M21 (Shopware): nothing to take', '[{"kind": "percent", "value": 100}]', '[{"price": 0}]', '0.00 = 0.00'),
    ('G2 (Spree): for groups only, without a group',
     '[{"kind": "percent", "value": 10, "level": "order", "groups_only": true}]', '[{"price": 80}]', '0.00 = 80.00'),
    ('G4 (Sylius): ends tomorrow', '[{"kind": "amount", "value": 10, "level": "order", "ends_at": "2024-06-16 12:00+00"}]',
     '[{"price": 100}]', '10.00 = 90.00'),
    ('G4 (Sylius): ended', '[{"kind": "amount", "value": 10, "level": "order", "ends_at": "2024-06-15 12:00+00"}]',
     '[{"price": 100}]', '0.00 = 100.00'),
    ('G4 (Sylius): started yesterday',
     '[{"kind": "amount", "value": 10, "level": "order", "starts_at": "2024-06-14 12:00+00"}]', '[{"price": 100}]',
     '10.00 = 90.00'),
    ('G4 (Sylius): starts tomorrow',
     '[{"kind": "amount", "value": 10, "level": "order", "starts_at": "2024-06-16 12:00+00"}]', '[{"price": 100}]',
     '0.00 = 100.00')
) AS c (name, promotions, lines, expected);

SELECT is(pg_temp.cart('[{"kind": "percent", "value": 10, "level": "order", "groups_only": true, "groups": ["wholesale"]}]',
                       '[{"price": 80}]', c.customer), c.expected, c.name)
FROM (VALUES ('G1 (Sylius): in the group', 1, '8.00 = 72.00'), ('G1 (Sylius): in another group', 2, '0.00 = 80.00'),
             ('G1 (Sylius): in none', 3, '0.00 = 80.00'),
             ('G1 (Sylius): anonymous', NULL, '0.00 = 80.00')) AS c (name, customer, expected);

-- ---------------------------------------------------------------------------------------------------------------
-- One table for each rule
-- ---------------------------------------------------------------------------------------------------------------

SELECT is(pg_temp.cart(c.promotions, c.lines), c.expected, c.name)
FROM (VALUES
    -- Quantities and conditions of a line.
    ('a fraction of a piece, rounded once', '[]'::jsonb, '[{"price": 9.99, "quantity": 0.350}]'::jsonb, '0.00 = 3.50'),
    ('a fraction of a piece, discounted', '[{"kind": "percent", "value": 10}]',
     '[{"price": 9.99, "quantity": 0.350}]', '0.35 = 3.15'),
    ('a list price finer than the minor unit', '[]', '[{"price": 0.005, "quantity": 3}]', '0.00 = 0.02'),
    ('the quantity of the line counts, not that of the item',
     '[{"kind": "percent", "value": 10, "min_quantity": 3}]',
     '[{"price": 10, "quantity": 2}, {"same": 1, "quantity": 3}, {"same": 1}]', '0.00 3.00 0.00 = 57.00'),
    ('the order value of items is that of list prices',
     '[{"kind": "percent", "value": 50, "lines": [1]}, {"kind": "amount", "value": 1, "lines": [2], "min_order_value": 30}]',
     '[{"price": 10}, {"price": 20}]', '5.00 1.00 = 24.00'),
    ('the order value of items, a cent short',
     '[{"kind": "amount", "value": 1, "lines": [2], "min_order_value": 30}]', '[{"price": 9.99}, {"price": 20}]',
     '0.00 0.00 = 29.99'),
    -- What an order-level promotion covers.
    ('only the lines covered, but the whole total for its threshold',
     '[{"kind": "percent", "value": 10, "level": "order", "lines": [2, 3], "min_order_value": 60}]',
     '[{"price": 30}, {"price": 20}, {"price": 10}]', '0.00 2.00 1.00 = 57.00'),
    ('min_quantity over the lines covered',
     '[{"kind": "amount", "value": 3, "level": "order", "lines": [1, 2], "min_quantity": 3}]',
     '[{"price": 10}, {"price": 10, "quantity": 2}, {"price": 10, "quantity": 5}]', '1.00 2.00 0.00 = 77.00'),
    ('min_quantity not reached by the lines covered',
     '[{"kind": "amount", "value": 3, "level": "order", "lines": [1, 2], "min_quantity": 3}]',
     '[{"price": 10}, {"price": 10}, {"price": 10, "quantity": 5}]', '0.00 0.00 0.00 = 70.00'),
    ('max_discount is of the order', '[{"kind": "percent", "value": 50, "level": "order", "max_discount": 10}]',
     '[{"price": 30}, {"price": 10}]', '7.50 2.50 = 30.00'),
    ('a promotion on what is not in the cart', '[{"kind": "amount", "value": 3, "level": "order", "lines": [2]}]',
     '[{"price": 10}, {"price": 5, "same": 1}]', '0.00 0.00 = 20.00'),
    -- Stages.
    ('order-level stages follow each other, each on the total before it',
     '[{"kind": "percent", "value": 10, "level": "order", "stage": 2},
       {"kind": "amount", "value": 10, "level": "order", "stage": 1}]', '[{"price": 100}]', '19.00 = 81.00'),
    ('a threshold is compared when its stage begins',
     '[{"kind": "amount", "value": 10, "level": "order", "stage": 1},
       {"kind": "percent", "value": 10, "level": "order", "stage": 2, "min_order_value": 95}]',
     '[{"price": 100}]', '10.00 = 90.00'),
    ('and not after those before it in the same stage',
     '[{"kind": "amount", "value": 10, "level": "order", "combinable": true, "priority": 1},
       {"kind": "percent", "value": 10, "level": "order", "combinable": true, "priority": 2, "min_order_value": 95}]',
     '[{"price": 100}]', '19.00 = 81.00'),
    ('items come before the order, whatever their stages',
     '[{"kind": "amount", "value": 10, "level": "order", "stage": -5}, {"kind": "percent", "value": 10, "stage": 5}]',
     '[{"price": 100}]', '20.00 = 80.00'),
    ('one alone beats two together',
     '[{"kind": "amount", "value": 5, "level": "order", "combinable": true},
       {"kind": "amount", "value": 6, "level": "order", "combinable": true},
       {"kind": "amount", "value": 12, "level": "order"}]', '[{"price": 100}]', '12.00 = 88.00'),
    -- Rooms.
    ('compared by what they really give',
     '[{"kind": "amount", "value": 50, "level": "order", "lines": [1]},
       {"kind": "amount", "value": 5, "level": "order", "lines": [2]}]',
     '[{"price": 60, "floor": 58}, {"price": 60}]', '0.00 5.00 = 115.00'),
    ('together, the second finds the room that the first has left',
     '[{"kind": "amount", "value": 3, "level": "order", "combinable": true},
       {"kind": "amount", "value": 3, "level": "order", "combinable": true}]',
     '[{"price": 10, "floor": 8}, {"price": 10, "floor": 7}]', '2.00 3.00 = 15.00'),
    ('a floor is of each piece, and rounded up', '[{"kind": "percent", "value": 100, "level": "order"}]',
     '[{"price": 1, "quantity": 3, "floor": 0.335}]', '1.99 = 1.01'),
    ('no room above a floor that is higher than the price', '[{"kind": "percent", "value": 50, "level": "order"}]',
     '[{"price": 10, "floor": 12}, {"price": 10}]', '0.00 10.00 = 10.00'),
    ('the item''s discount may leave the order no room',
     '[{"kind": "percent", "value": 20}, {"kind": "percent", "value": 50, "level": "order"}]',
     '[{"price": 10, "floor": 8}]', '2.00 = 8.00'),
    -- The last minor units.
    ('one cent goes to the larger remainder', '[{"kind": "amount", "value": 0.01, "level": "order"}]',
     '[{"price": 1}, {"price": 3}, {"price": 2}]', '0.00 0.01 0.00 = 5.99'),
    ('equal remainders: the smaller quantity of one item', '[{"kind": "amount", "value": 0.02, "level": "order"}]',
     '[{"price": 10, "quantity": 3}, {"same": 1, "quantity": 1}]', '0.01 0.01 = 39.98'),
    ('equal remainders: the first of equal lines', '[{"kind": "amount", "value": 0.01, "level": "order"}]',
     '[{"price": 10}, {"same": 1}]', '0.01 0.00 = 19.99'),
    ('a line that costs nothing gets nothing', '[{"kind": "amount", "value": 5, "level": "order"}]',
     '[{"price": 0}, {"price": 10}]', '0.00 5.00 = 5.00'),
    ('a cart that costs nothing', '[{"kind": "amount", "value": 5, "level": "order"}]', '[{"price": 0}]', '0.00 = 0.00'),
    -- Sizes.
    ('33.333 % off 10^12, 99 times', '[{"kind": "percent", "value": 33.333}]',
     '[{"price": 1000000000000, "quantity": 99}]', '32999670000000.00 = 66000330000000.00'),
    ('33.333 % of the order', '[{"kind": "percent", "value": 33.333, "level": "order"}]',
     '[{"price": 999999999999.99}, {"price": 0.01}]', '333330000000.00 0.00 = 666670000000.00'),
    ('eight decimals times eight decimals', '[]', '[{"price": 0.99999999, "quantity": 12345678.00000005}]',
     '0.00 = 12345677.88'),
    ('just below 10^14', '[]', '[{"price": 99999999999999.99}]', '0.00 = 99999999999999.99'),
    ('10^14 in a line', '[]', '[{"price": 10000000000000, "quantity": 10}]', '22003'),
    ('10^14 by rounding', '[]', '[{"price": 99999999999999.999}]', '22003'),
    ('10^14 in all', '[]', '[{"price": 50000000000000}, {"price": 50000000000000}]', '22003'),
    ('the largest quantity of the dearest item', '[]',
     '[{"price": 99999999999999.99999999, "quantity": 99999999999999.99999999}]', '22003'),
    ('a floor beyond all bounds', '[{"kind": "percent", "value": 50, "level": "order"}]',
     '[{"price": 0.01, "quantity": 99999999999, "floor": 99999999999999}]', '0.00 = 999999999.99')
) AS c (name, promotions, lines, expected);

SELECT is(pg_temp.cart('[{"kind": "amount", "value": 10, "level": "order"}]',
                       '[{"price": 10}, {"price": 10}, {"price": 10}]'), '3.34 3.33 3.33 = 20.00', 'by id, ascending');
SELECT results_eq(
    $$ SELECT line_no, discount FROM customer_groups.price_cart(NULL, '[{"item": 3}, {"item": 2}, {"item": 1}]') $$,
    $$ VALUES (1, 3.33), (2, 3.33), (3, 3.34) $$, 'equal remainders: the lower item id, not the lower line');

-- Categories, brands, stores.
SELECT pg_temp.cart('[]', '[{"price": 30}, {"price": 20}, {"price": 10}]') \g /dev/null
INSERT INTO customer_groups.categories (id, code, name, parent_id) VALUES (1, 'home', 'Home', NULL), (2, 'mugs', 'Mugs', 1);
INSERT INTO customer_groups.brands (id, code, name) VALUES (1, 'acme', 'Acme');
INSERT INTO customer_groups.item_categories VALUES (1, 2);
UPDATE customer_groups.items SET brand_id = 1 WHERE id = 3;
SELECT pg_temp.promote('[{"kind": "percent", "value": 10, "level": "order", "stores": ["web"]}]') \g /dev/null
INSERT INTO customer_groups.promotion_categories VALUES (1, 1);
INSERT INTO customer_groups.promotion_brands VALUES (1, 1);
SELECT is((SELECT array_agg(discount ORDER BY line_no) FROM customer_groups.price_cart(
    NULL, '[{"item": 1}, {"item": 2}, {"item": 3}]', 1)), '{3.00,0.00,1.00}', 'an order-level promotion on a category and a brand');
SELECT is((SELECT sum(discount) FROM customer_groups.price_cart(
    NULL, '[{"item": 1}, {"item": 2}, {"item": 3}]')), 0.00, 'of one store: not open without a store');
DELETE FROM customer_groups.item_categories;

-- Segments are asked about the time of the price.
INSERT INTO customer_groups.segments (id, code, name, rule) VALUES (1, 'buyers', 'Buyers', 'visits >= 1');
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (1, 5);
SELECT pg_temp.promote('[{"kind": "percent", "value": 10, "level": "order"}, {"kind": "amount", "value": 1, "level": "item"}]') \g /dev/null
INSERT INTO customer_groups.promotion_segments VALUES (1, 1), (2, 1);
SELECT is((SELECT sum(total) FROM customer_groups.price_cart(c.customer, '[{"item": 1}, {"item": 2}]')), c.expected, c.name)
FROM (VALUES ('in the segment', 1, 43.20), ('not in the segment', 2, 50.00), ('anonymous', NULL, 50.00))
    AS c (name, customer, expected);

-- Days and times: as of the past, with the promotions' and memberships' dates then.
UPDATE customer_groups.members SET valid_from = '2024-03-01', valid_until = '2024-03-31' WHERE customer_id = 1;
SELECT is(pg_temp.cart('[{"kind": "percent", "value": 10, "level": "order", "groups_only": true, "groups": ["wholesale"]},
                         {"kind": "amount", "value": 1, "stage": 1, "ends_at": "2024-03-20 00:00+00"}]',
                       '[{"price": 100}]', 1, NULL, c.at), c.expected, c.name)
FROM (VALUES ('before both', '2024-02-29 23:59+00'::timestamptz, '1.00 = 99.00'),
             ('both', '2024-03-01 00:00+00', '10.90 = 89.10'),
             ('the membership alone', '2024-03-20 00:00+00', '10.00 = 90.00'),
             ('after both', '2024-04-01 00:00+00', '0.00 = 100.00')) AS c (name, at, expected);
UPDATE customer_groups.members SET valid_from = NULL, valid_until = NULL WHERE customer_id = 1;

-- Currencies with 0 and 3 decimals, both ways of rounding.
SELECT is(pg_temp.cart(c.promotions, c.lines, NULL, c.store), c.expected, c.name)
FROM (VALUES
    ('won: whole units', '[{"kind": "amount", "value": 1000, "currency": "KRW", "level": "order"}]'::jsonb,
     '[{"price": 9900}, {"price": 9900}, {"price": 9900}]'::jsonb, 2, '334 333 333 = 28700'),
    ('won: 10 % of an odd sum', '[{"kind": "percent", "value": 10, "level": "order"}]', '[{"price": 1005}]', 2, '100 = 905'),
    ('dinars: thousandths', '[{"kind": "amount", "value": 1, "currency": "KWD", "level": "order"}]',
     '[{"price": 1}, {"price": 1}, {"price": 1}]', 3, '0.334 0.333 0.333 = 2.000'),
    ('money off in another currency', '[{"kind": "amount", "value": 1, "level": "order"}]', '[{"price": 5}]', 3, '0.000 = 5.000'),
    ('per cent in another currency', '[{"kind": "percent", "value": 10, "currency": "USD", "level": "order"}]',
     '[{"price": 5}]', 3, '0.500 = 4.500')
) AS c (name, promotions, lines, store, expected);
SAVEPOINT rounding;
INSERT INTO customer_groups.settings (rounding) VALUES ('half_even');
SELECT is(pg_temp.cart(c.promotions, c.lines), c.expected, c.name)
FROM (VALUES
    ('half_even: a line''s total', '[]'::jsonb, '[{"price": 0.25, "quantity": 0.5}, {"price": 0.25, "quantity": 0.7}]'::jsonb,
     '0.00 0.00 = 0.30'),
    ('half_even: the new sum', '[{"kind": "percent", "value": 50, "level": "order"}]', '[{"price": 0.05}]', '0.03 = 0.02')
) AS c (name, promotions, lines, expected);
ROLLBACK TO rounding;
SELECT is(pg_temp.cart('[{"kind": "percent", "value": 50, "level": "order"}]', '[{"price": 0.05}]'), '0.02 = 0.03',
    'half_up: the new sum');

-- Which promotions are named.
SELECT pg_temp.cart('[]', '[{"price": 10}, {"price": 0.01}, {"price": 10, "floor": 10}]') \g /dev/null
SELECT pg_temp.promote('[{"kind": "amount", "value": 0.02, "level": "order", "stage": 3},
                         {"kind": "percent", "value": 10, "lines": [1], "stage": 2},
                         {"kind": "amount", "value": 1, "lines": [1], "stage": 1},
                         {"kind": "percent", "value": 0}]') \g /dev/null
SELECT results_eq(
    $$ SELECT line_no, promotion_ids FROM customer_groups.price_cart(NULL,
       '[{"item": 1}, {"item": 2}, {"item": 3}, {"item": 1, "quantity": 0.001}]') $$,
    $$ VALUES (1, '{3,2,1}'::int[]), (2, '{}'), (3, '{}'), (4, '{3,2}') $$,
    'in the order applied; of the order''s those with a share; of the item''s those that lowered its price');

SELECT results_eq(
    $$ SELECT line_no, item_id, quantity::text, list_price::text, discount::text, total::text, promotion_ids
       FROM customer_groups.price_cart(NULL, '[{"quantity": 2.50, "item": 3.0}, {"item": 2}]') $$,
    $$ VALUES (1, 3::bigint, '2.5', '10.00', '0.00', '25.00', '{}'::int[]), (2, 2, '1', '0.01', '0.01', '0.00', '{1}') $$,
    'the columns; a quantity is 1 when left out');
SELECT is_empty('SELECT * FROM customer_groups.price_cart(NULL, ''[]'')', 'an empty cart has no lines');

-- ---------------------------------------------------------------------------------------------------------------
-- What is refused
-- ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.complaint(call text, OUT state text, OUT message text, OUT detail text, OUT hint text)
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE call;
    state := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT;
END
$$;
INSERT INTO customer_groups.items (id, name) VALUES (9, 'unpriced');
CREATE TEMPORARY TABLE complaints AS
SELECT m.*, c.*
FROM (VALUES
    ('no array', '{"item": 1}', '22023', 'an object'),
    ('a number', '1', '22023', 'single value'),
    ('a null', 'null', '22023', 'single value'),
    ('a line that is a number', '[{"item": 1}, 1]', '22023', 'the number 1'),
    ('a line that is null', '[{"item": 1}, null]', '22023', 'null'),
    ('a line that is an array', '[{"item": 1}, [{"item": 1}]]', '22023', 'an array'),
    ('an empty line', '[{"item": 1}, {}]', '22023', 'no key "item"'),
    ('a missing item', '[{"item": 1}, {"quantity": 2}]', '22023', 'no key "item"'),
    ('an unknown key', '[{"item": 1}, {"item": 1, "price": 2}]', '22023', '"price"'),
    ('a key in capitals', '[{"item": 1}, {"Item": 1}]', '22023', '"Item"'),
    ('a null item', '[{"item": 1}, {"item": null}]', '22023', 'null'),
    ('a text for an item', '[{"item": 1}, {"item": "1"}]', '22023', 'the text "1"'),
    ('half an item', '[{"item": 1}, {"item": 1.5}]', '22023', '1.5'),
    ('an item beyond bigint', '[{"item": 1}, {"item": 9223372036854775808}]', '22023', '9223372036854775808'),
    ('an item that is an object', '[{"item": 1}, {"item": {"id": 1}}]', '22023', 'an object'),
    ('quantity 0', '[{"item": 1}, {"item": 1, "quantity": 0}]', '22023', 'the number 0'),
    ('a negative quantity', '[{"item": 1}, {"item": 1, "quantity": -0.5}]', '22023', '-0.5'),
    ('a text for a quantity', '[{"item": 1}, {"item": 1, "quantity": "2"}]', '22023', 'the text "2"'),
    ('a null quantity', '[{"item": 1}, {"item": 1, "quantity": null}]', '22023', 'null'),
    ('true for a quantity', '[{"item": 1}, {"item": 1, "quantity": true}]', '22023', 'true'),
    ('too fine a quantity', '[{"item": 1}, {"item": 1, "quantity": 1.000000001}]', '22023', '1.000000001'),
    ('too large a quantity', '[{"item": 1}, {"item": 1, "quantity": 1e14}]', '22003', '100000000000000'),
    ('a quantity beyond all bounds', '[{"item": 1}, {"item": 1, "quantity": 1e200}]', '22003', '10^14'),
    ('an unknown item', '[{"item": 1}, {"item": 987}]', '02000', '987'),
    ('an item without a price', '[{"item": 1}, {"item": 9}]', '22023', 'Item 9'),
    ('too much in a line', '[{"item": 1}, {"item": 1, "quantity": 10000000000000}]', '22003', '10^14')
) AS m (name, lines, expected, value),
    LATERAL pg_temp.complaint(format('SELECT * FROM customer_groups.price_cart(NULL, %L)', m.lines)) AS c;
SELECT is(state, expected, name) FROM complaints;
SELECT is_empty('SELECT name, detail FROM complaints WHERE position(value IN detail) = 0', 'the detail names the value');
SELECT is_empty(
    $$ SELECT name, message, detail FROM complaints
       WHERE position('line 2' IN message || detail) = 0 AND lines LIKE '[%' $$, 'errors name the line');
SELECT is_empty('SELECT name FROM complaints WHERE hint = ''''', 'errors have a hint');
SELECT throws_ok('SELECT * FROM customer_groups.price_cart(NULL, NULL)', '22004', NULL, 'null lines');
SELECT throws_ok('SELECT * FROM customer_groups.price_cart(987, ''[]'')', '02000', NULL, 'an unknown customer, without lines too');
SELECT throws_ok('SELECT * FROM customer_groups.price_cart(NULL, ''[]'', 987)', '02000', NULL, 'an unknown store');
SELECT throws_ok('SELECT * FROM customer_groups.price_cart(NULL, ''[]'', NULL, NULL)', '22004', NULL, 'a null time');
SELECT throws_ok('SELECT * FROM customer_groups.price_cart(NULL, ''[]'', NULL, ''infinity'')', '22023', NULL, 'an infinite time');
SELECT throws_ok('SELECT * FROM customer_groups.price_cart(NULL, ''[{"item": 1}]'', 2)', '22023', NULL,
    'no price in a store of another currency');

-- 10,000 lines are done.
SELECT pg_temp.cart('[]', (SELECT jsonb_agg(jsonb_build_object('price', n * 1.01)) FROM generate_series(1, 100) n)) \g /dev/null
SELECT pg_temp.promote('[{"kind": "percent", "value": 7}, {"kind": "amount", "value": 1234.56, "level": "order"}]') \g /dev/null
CREATE TEMPORARY TABLE large AS
SELECT * FROM customer_groups.price_cart(NULL, (
    SELECT jsonb_agg(jsonb_build_object('item', 1 + n % 100, 'quantity', 1 + n % 7) ORDER BY n)
    FROM generate_series(1, 10000) n));
SELECT is(
    (SELECT row(count(*), max(line_no), sum(total)) FROM large),
    (SELECT row(count(*), 10000, sum(round((1 + n % 7) * round(i.price * 0.93, 2), 2)) - 1234.56)
     FROM generate_series(1, 10000) n JOIN customer_groups.items i ON i.id = 1 + n % 100),
    '10,000 lines, and their sum to the cent');

-- ---------------------------------------------------------------------------------------------------------------
-- Properties of random carts
-- ---------------------------------------------------------------------------------------------------------------

SELECT setseed(0.7) \g /dev/null
DELETE FROM customer_groups.promotions;
DELETE FROM customer_groups.items;
INSERT INTO customer_groups.items (id, external_id, name, price, min_price)
SELECT n, 'sku-' || n, 'thing', round((random() * 60)::numeric, n % 4),
    CASE WHEN n % 3 = 0 THEN round((random() * 40)::numeric, n % 5) END
FROM generate_series(1, 30) n;
INSERT INTO customer_groups.item_categories SELECT n, 1 + n % 2 FROM generate_series(1, 30, 2) n;

-- New promotions of all kinds.
CREATE FUNCTION pg_temp.shuffle() RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM customer_groups.promotions;
    INSERT INTO customer_groups.promotions (id, code, name, kind, value, level, combinable, stage, priority, min_quantity,
        min_order_value, max_discount, groups_only)
    SELECT n, 'p' || n, 'p', CASE WHEN random() < 0.5 THEN 'percent' ELSE 'amount' END, round((random() * 15)::numeric, 3),
        CASE WHEN n % 2 = 0 THEN 'order' ELSE 'item' END, random() < 0.5, floor(random() * 2), floor(random() * 3),
        CASE WHEN random() < 0.2 THEN round((random() * 5)::numeric, 1) + 0.1 END,
        CASE WHEN random() < 0.2 THEN round((random() * 300)::numeric, 2) END,
        CASE WHEN random() < 0.2 THEN round((random() * 5)::numeric, 3) END, random() < 0.3
    FROM generate_series(1, 14) n;
    INSERT INTO customer_groups.promotion_items
    SELECT n, i FROM generate_series(1, 14) n, generate_series(1, 30) i WHERE n % 4 < 2 AND random() < 0.5;
    INSERT INTO customer_groups.promotion_categories SELECT n, 2 FROM generate_series(1, 14, 5) n;
    INSERT INTO customer_groups.promotion_groups (promotion_id, group_id)
    SELECT n, 1 + n % 2 FROM generate_series(1, 14) n;
END
$$;

CREATE TEMPORARY TABLE carts (shop int, cart int, customer bigint, lines jsonb);
CREATE TEMPORARY TABLE priced (
    shop int, cart int, line_no int, item_id bigint, quantity numeric, list_price numeric, discount numeric, total numeric,
    promotion_ids int[]);
CREATE TEMPORARY TABLE shuffled (LIKE priced);
CREATE TEMPORARY TABLE units (shop int, cart int, line_no int, total numeric, promotion_ids int[]);
CREATE FUNCTION pg_temp.go_shopping(shop int) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_temp.shuffle();
    INSERT INTO carts
    SELECT shop, c, nullif(floor(random() * 4)::bigint, 0),
        (SELECT jsonb_agg(jsonb_build_object('item', 1 + floor(random() * 30), 'quantity',
            CASE WHEN random() < 0.5 THEN 1 + floor(random() * 3) ELSE round((random() * 4)::numeric, 3) + 0.001 END))
         FROM generate_series(1, 1 + c % 8))
    FROM generate_series(1, 20) c;
    INSERT INTO priced
    SELECT c.shop, c.cart, p.* FROM carts c, customer_groups.price_cart(c.customer, c.lines) p
    WHERE c.shop = go_shopping.shop;
    -- The lines the other way round.
    INSERT INTO shuffled
    SELECT c.shop, c.cart, p.* FROM carts c,
        customer_groups.price_cart(c.customer, (SELECT jsonb_agg(l.line ORDER BY l.place DESC)
                                                FROM jsonb_array_elements(c.lines) WITH ORDINALITY AS l (line, place))) p
    WHERE c.shop = go_shopping.shop;
    -- Each line by effective_price, with the order value.
    INSERT INTO units
    SELECT c.shop, c.cart, p.line_no, round(p.quantity * e.price, 2), e.promotion_ids
    FROM carts c JOIN priced p USING (shop, cart),
        LATERAL (SELECT sum(round(o.quantity * o.list_price, 2)) FROM priced o
                 WHERE o.shop = c.shop AND o.cart = c.cart) AS v (order_value),
        customer_groups.effective_price(c.customer, p.item_id, NULL, p.quantity, v.order_value) e
    WHERE c.shop = go_shopping.shop;
END
$$;
SELECT pg_temp.go_shopping(n) FROM generate_series(1, 12) n \g /dev/null

SELECT cmp_ok((SELECT count(*) FROM priced p JOIN customer_groups.items i ON i.id = p.item_id
               JOIN units u USING (shop, cart, line_no) WHERE p.total < u.total), '>', 300::bigint,
    'many lines have a share in a discount on the order');
SELECT is_empty('SELECT * FROM priced WHERE discount <> round(quantity * list_price, 2) - total',
    'a line''s discount is what it costs at list price less its total');
SELECT is_empty(
    $$ SELECT * FROM priced p JOIN units u USING (shop, cart, line_no) JOIN customer_groups.items i ON i.id = p.item_id
       WHERE p.total > u.total
          OR p.total < least(u.total, ceil(coalesce(i.min_price, 0) * p.quantity * 100) / 100) OR p.total < 0 $$,
    'no line is under its floor, nor dearer than by effective_price');
SELECT is_empty(
    $$ SELECT * FROM priced p JOIN units u USING (shop, cart, line_no)
       WHERE p.promotion_ids[: cardinality(u.promotion_ids)] <> u.promotion_ids
          OR (cardinality(p.promotion_ids) > cardinality(u.promotion_ids)) <> (p.total < u.total) $$,
    'a line lists the promotions of effective_price, then those on the order if they lowered it');
SELECT results_eq(
    'SELECT shop, cart, item_id, quantity, total, promotion_ids FROM priced ORDER BY 1, 2, 3, 4, 5, 6',
    'SELECT shop, cart, item_id, quantity, total, promotion_ids FROM shuffled ORDER BY 1, 2, 3, 4, 5, 6',
    'the order of the lines plays no part');

-- With one promotion on the order, what the lines get is in proportion, to less than a cent.
CREATE TEMPORARY TABLE spread (LIKE priced);
SELECT pg_temp.promote('[{"kind": "amount", "value": 7.77, "level": "order"}]') \g /dev/null
UPDATE customer_groups.items SET min_price = NULL;
INSERT INTO spread SELECT c.shop, c.cart, p.* FROM carts c, customer_groups.price_cart(c.customer, c.lines) p;
SELECT is_empty(
    $$ SELECT * FROM (SELECT *, sum(discount) OVER w AS given, sum(discount + total) OVER w AS value
                      FROM spread WINDOW w AS (PARTITION BY shop, cart)) AS s
       WHERE given <> least(7.77, value) OR abs(discount - given * (discount + total) / nullif(value, 0)) >= 0.01 $$,
    'a discount is given to the cent, and each line is less than a cent from its exact share');

SELECT * FROM finish();
ROLLBACK;
