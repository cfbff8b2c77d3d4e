-- effective_price and effective_discount on cases with known answers. Those with an id (R1, S3, ...) are facts
-- from the test suites of published shop systems, which are named; the rest is one table for each rule.
-- The reference that price_random uses must know the same answers.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT plan(278);

\ir reference_price.psql

-- A new item at a price, in the store too if one is given, with promotions of its own: a list of JSON objects
-- with the columns' names, "groups" and "stores".
CREATE FUNCTION pg_temp.offer(
        price numeric, promotions jsonb DEFAULT '[]', min_price numeric DEFAULT NULL, store int DEFAULT NULL)
    RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    item bigint;
    terms jsonb;
    promotion int;
BEGIN
    INSERT INTO customer_groups.items (name, price, min_price) VALUES ('thing', price, min_price)
    RETURNING id INTO item;
    IF store IS NOT NULL THEN
        INSERT INTO customer_groups.store_prices VALUES (item, store, price, min_price);
    END IF;
    FOR terms IN SELECT * FROM jsonb_array_elements(promotions) LOOP
        promotion := pg_temp.promote(terms, item);
        IF terms ? 'groups' THEN
            INSERT INTO customer_groups.promotion_groups (promotion_id, group_id)
            SELECT promotion, g.id FROM customer_groups.groups AS g
            WHERE terms -> 'groups' ? g.code;
        END IF;
        IF terms ? 'stores' THEN
            INSERT INTO customer_groups.promotion_stores (promotion_id, store_id)
            SELECT promotion, s.id FROM customer_groups.stores AS s
            WHERE terms -> 'stores' ? s.code;
        END IF;
    END LOOP;
    RETURN item;
END
$$;

-- A new promotion, attached to the item unless that is null. Its code is the kind if none is given, made unique
-- by a number in front.
CREATE TEMPORARY SEQUENCE number;
CREATE FUNCTION pg_temp.promote(terms jsonb, item bigint DEFAULT NULL) RETURNS int
    LANGUAGE plpgsql AS $$
DECLARE
    promotion int;
BEGIN
    INSERT INTO customer_groups.promotions (code, name, kind, value, level, starts_at, ends_at, groups_only,
        combinable, stage, priority, min_quantity, min_order_value, max_discount, currency, active)
    SELECT format('%s:%s', nextval('number'), coalesce(t.code, t.kind)), t.kind, t.kind, t.value,
        coalesce(t.level, 'item'), t.starts_at, t.ends_at, coalesce(t.groups_only, false),
        coalesce(t.combinable, false), coalesce(t.stage, 0), coalesce(t.priority, 0),
        t.min_quantity, t.min_order_value, t.max_discount, t.currency, coalesce(t.active, true)
    FROM jsonb_populate_record(NULL::customer_groups.promotions, terms) AS t
    RETURNING id INTO promotion;
    IF item IS NOT NULL THEN
        INSERT INTO customer_groups.promotion_items VALUES (promotion, item);
    END IF;
    RETURN promotion;
END
$$;

-- The price and what led to it: '8.93 by percent', '10 without promotion', or the SQLSTATE.
CREATE FUNCTION pg_temp.answer(list_price numeric, discount numeric, price numeric, promotion_ids int[])
    RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    codes text;
BEGIN
    SELECT string_agg(substring(p.code FROM ':(.*)'), ', ' ORDER BY u.place) INTO codes
    FROM unnest(promotion_ids) WITH ORDINALITY AS u (id, place)
    JOIN customer_groups.promotions AS p USING (id);
    IF discount IS DISTINCT FROM list_price - price THEN
        RETURN format('%s - %s is not %s', list_price, price, discount);
    ELSIF promotion_ids IS NULL THEN
        RETURN format('%s with a null list', trim_scale(price));
    END IF;
    RETURN trim_scale(price) || CASE WHEN promotion_ids = '{}' THEN ' without promotion' ELSE ' by ' || codes END;
END
$$;

CREATE TEMPORARY TABLE reference_differences (question text, fast text, reference text);

CREATE FUNCTION pg_temp.price(
        item bigint, customer bigint DEFAULT NULL, store int DEFAULT NULL, quantity numeric DEFAULT 1,
        order_value numeric DEFAULT NULL, at timestamptz DEFAULT '2024-06-15 12:00+00')
    RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    fast text;
    reference text;
    discount numeric;
BEGIN
    BEGIN
        SELECT pg_temp.answer(p.list_price, p.discount, p.price, p.promotion_ids), p.discount INTO fast, discount
        FROM customer_groups.effective_price(customer, item, store, quantity, order_value, at) AS p;
        IF customer_groups.effective_discount(customer, item, store, quantity, order_value, at)
            IS DISTINCT FROM discount
        THEN
            fast := fast || ', but effective_discount differs';
        END IF;
    EXCEPTION WHEN OTHERS THEN
        fast := SQLSTATE;
    END;
    BEGIN
        SELECT pg_temp.answer(p.list_price, p.discount, p.price, p.promotion_ids) INTO reference
        FROM pg_temp.reference_price(customer, item, store, quantity, order_value, at) AS p;
    EXCEPTION WHEN OTHERS THEN
        reference := SQLSTATE;
    END;
    IF reference IS DISTINCT FROM fast THEN
        INSERT INTO reference_differences
        VALUES (format('item %s, customer %s, store %s, %s pieces of %s at %s', item, customer, store, quantity,
                       order_value, at), fast, reference);
    END IF;
    RETURN fast;
END
$$;

-- The shop: the default settings (USD, UTC), stores elsewhere, a tree of categories, two customers.
INSERT INTO customer_groups.stores (id, code, name, currency, timezone) VALUES
    (1, 'web', 'Web', 'USD', 'UTC'),
    (2, 'new-york', 'New York', 'USD', 'America/New_York'),
    (3, 'seoul', 'Seoul', 'KRW', 'Asia/Seoul'),
    (4, 'kuwait', 'Kuwait', 'KWD', 'Asia/Kuwait'),
    (5, 'tokyo', 'Tokyo', 'JPY', 'Asia/Tokyo'),
    (6, 'tunis', 'Tunis', 'TND', 'Africa/Tunis'),
    (7, 'madrid', 'Madrid', 'EUR', 'Europe/Madrid'),
    (8, 'hanoi', 'Hanoi', 'VND', 'Asia/Ho_Chi_Minh'),
    (9, 'warsaw', 'Warsaw', 'PLN', 'Europe/Warsaw'),
    (10, 'toronto', 'Toronto', 'CAD', 'America/Toronto');
INSERT INTO customer_groups.customers (id, name) VALUES (1, 'Ada'), (2, 'Ben'), (3, 'Cy'), (4, 'Di');
INSERT INTO customer_groups.groups (id, code, name, starts_on) VALUES
    (1, 'wholesale', 'Wholesale', '2000-01-01'),
    (2, 'retail', 'Retail', '2000-01-01');
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (1, 1), (2, 2);

-- Published cases: one unit at a price under these promotions.
SELECT is(pg_temp.price(pg_temp.offer(c.price, c.promotions)), c.expected, c.name)
FROM (VALUES
    ('R1 (Sylius): 15 % off 20.00', 20.00, '[{"kind": "percent", "value": 15}]'::jsonb, '17 by percent'),
    ('R2 (Sylius): 15 % off 20.25', 20.25, '[{"kind": "percent", "value": 15}]', '17.21 by percent'),
    ('R3 (Sylius): the price is rounded, not the discount', 10.50, '[{"kind": "percent", "value": 15}]',
     '8.93 by percent'),
    ('R4 (Sylius): 15 % off 9.94', 9.94, '[{"kind": "percent", "value": 15}]', '8.45 by percent'),
    ('R5 (Sylius): 30 % off 9.51', 9.51, '[{"kind": "percent", "value": 30}]', '6.66 by percent'),
    ('R6 (Magento): 1 % off 10', 10, '[{"kind": "percent", "value": 1}]', '9.9 by percent'),
    ('R6 (Magento): 10 % off 100', 100, '[{"kind": "percent", "value": 10}]', '90 by percent'),
    ('R6 (Magento): 100 % off 1', 1, '[{"kind": "percent", "value": 100}]', '0 by percent'),
    ('R6 (Magento): 100 off 10', 10, '[{"kind": "amount", "value": 100}]', '0 by amount'),
    ('R6 (Magento): fixed price 0 on 0', 0, '[{"kind": "fixed_price", "value": 0}]', '0 without promotion'),
    ('R6 (Magento): a price is never raised', 0, '[{"kind": "fixed_price", "value": 10}]', '0 without promotion'),
    ('R7 (Saleor): 10 % off 1.06', 1.06, '[{"kind": "percent", "value": 10}]', '0.95 by percent'),
    ('R7 (Saleor): 10 % off 2.06', 2.06, '[{"kind": "percent", "value": 10}]', '1.85 by percent'),
    ('R7 (Saleor): 10 % off 3.06', 3.06, '[{"kind": "percent", "value": 10}]', '2.75 by percent'),
    ('S3 (Sylius): 90, 45, 40, 30', 100.00,
     '[{"kind": "amount", "value": 10, "combinable": true, "priority": 10, "code": "a"},
       {"kind": "percent", "value": 50, "combinable": true, "priority": 20, "code": "b"},
       {"kind": "amount", "value": 5, "combinable": true, "priority": 30, "code": "c"},
       {"kind": "percent", "value": 25, "combinable": true, "priority": 40, "code": "d"}]', '30 by a, b, c, d'),
    ('S3 (Sylius): whatever the order of their ids', 100.00,
     '[{"kind": "percent", "value": 25, "combinable": true, "priority": 40, "code": "d"},
       {"kind": "amount", "value": 5, "combinable": true, "priority": 30, "code": "c"},
       {"kind": "percent", "value": 50, "combinable": true, "priority": 20, "code": "b"},
       {"kind": "amount", "value": 10, "combinable": true, "priority": 10, "code": "a"}]', '30 by a, b, c, d'),
    ('S6 (Vendure): the unit price', 1558.80, '[{"kind": "percent", "value": 10}]', '1402.92 by percent'),
    ('B1 (Saleor): the better of two', 20.00,
     '[{"kind": "percent", "value": 10, "code": "ten"}, {"kind": "percent", "value": 50, "code": "half"}]',
     '10 by half'),
    ('B1 (Saleor): the better of two, rounded', 10.01,
     '[{"kind": "percent", "value": 10, "code": "ten"}, {"kind": "percent", "value": 50, "code": "half"}]',
     '5.01 by half'),
    ('M4 (Sylius), on an item: 200 off 100', 100.00, '[{"kind": "amount", "value": 200}]', '0 by amount'),
    ('M21 (Shopware): at most 30.00', 100.00, '[{"kind": "percent", "value": 50, "max_discount": 30}]',
     '70 by percent'),
    ('M21 (Shopware): nothing to take', 0.00, '[{"kind": "percent", "value": 100}]', '0 without promotion'),
    ('G4 (Sylius): ends tomorrow', 100.00,
     '[{"kind": "amount", "value": 10, "ends_at": "2024-06-16 12:00+00"}]', '90 by amount'),
    ('G4 (Sylius): ended', 100.00,
     '[{"kind": "amount", "value": 10, "ends_at": "2024-06-14 12:00+00"}]', '100 without promotion'),
    ('G4 (Sylius): started yesterday', 100.00,
     '[{"kind": "amount", "value": 10, "starts_at": "2024-06-14 12:00+00"}]', '90 by amount'),
    ('G4 (Sylius): starts tomorrow', 100.00,
     '[{"kind": "amount", "value": 10, "starts_at": "2024-06-16 12:00+00"}]', '100 without promotion')
) AS c (name, price, promotions, expected);

SELECT pg_temp.offer(20) AS item \gset
SELECT pg_temp.promote('{"kind": "percent", "value": 30}', :item) AS promotion \gset
INSERT INTO customer_groups.categories (id, code, name) VALUES (1, 'mugs', 'Mugs');
INSERT INTO customer_groups.item_categories VALUES (:item, 1);
INSERT INTO customer_groups.promotion_categories VALUES (:promotion, 1);
SELECT is(pg_temp.price(:item), '14 by percent', 'B7 (Sylius): one that covers the item twice counts once');
SELECT pg_temp.offer(20) AS item \gset
SELECT pg_temp.promote('{"kind": "amount", "value": 30}') AS promotion \gset
INSERT INTO customer_groups.categories (id, code, name) VALUES (2, 'cups', 'Cups');
INSERT INTO customer_groups.item_categories VALUES (:item, 2);
INSERT INTO customer_groups.promotion_categories VALUES (:promotion, 2);
SELECT is(pg_temp.price(:item, quantity => 2), '0 by amount', 'M5 (Sylius), on an item: 30.00 off 20.00 in a category');

SELECT pg_temp.offer(80, '[{"kind": "percent", "value": 10, "groups_only": true, "groups": ["wholesale"]}]') AS item \gset
SELECT is(pg_temp.price(:item, 1), '72 by percent', 'G1 (Sylius), on an item: in the group');
SELECT is(pg_temp.price(:item, 2), '80 without promotion', 'G1 (Sylius), on an item: in another group');
SELECT is(pg_temp.price(:item), '80 without promotion', 'G1 (Sylius), on an item: anonymous');
SELECT pg_temp.offer(80, '[{"kind": "percent", "value": 10, "groups_only": true}]') AS item \gset
SELECT is(pg_temp.price(:item, c.customer), '80 without promotion', c.name)
FROM (VALUES ('G2 (Spree): for groups only without a group: a member of one', 1),
             ('G2 (Spree): for groups only without a group: a customer without groups', 3),
             ('G2 (Spree): for groups only without a group: anonymous', NULL)) AS c (name, customer);

-- Whom it is for.
SELECT pg_temp.offer(80, '[{"kind": "percent", "value": 10, "groups": ["wholesale"]}]') AS item \gset
SELECT is(pg_temp.price(:item, 2), '72 by percent', 'attached to a group, but not for groups only: open to others');
SELECT is(pg_temp.price(:item), '72 by percent', 'attached to a group, but not for groups only: open to anonymous');
SELECT pg_temp.offer(80, '[{"kind": "amount", "value": 10, "groups_only": true, "groups": ["wholesale", "retail"]}]')
    AS item \gset
SELECT is(pg_temp.price(:item, 1), '70 by amount', 'for two groups: the first');
SELECT is(pg_temp.price(:item, 2), '70 by amount', 'for two groups: the second');
SELECT is(pg_temp.price(:item, 3), '80 without promotion', 'for two groups: neither');
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (4, 1), (4, 2);
SELECT is(pg_temp.price(:item, 4), '70 by amount', 'for two groups: both, once');
UPDATE customer_groups.groups SET use_pricing = false WHERE code = 'wholesale';
SELECT is(pg_temp.price(:item, 4), '70 by amount', 'for two groups: both, of which one counts');
UPDATE customer_groups.groups SET use_pricing = true WHERE code = 'wholesale';

-- Whether a group counts: its own answer, a store's over it.
INSERT INTO customer_groups.groups (id, code, name, starts_on, use_pricing) VALUES
    (3, 'on', 'Counts', '2000-01-01', true),
    (4, 'off', 'Does not count', '2000-01-01', false);
INSERT INTO customer_groups.group_store_pricing VALUES (3, 1, false), (4, 1, true), (3, 7, true), (4, 7, false);
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (3, 3), (3, 4);
SELECT pg_temp.offer(80, '[{"kind": "percent", "value": 10, "groups_only": true, "groups": ["on"], "code": "on"},
                           {"kind": "percent", "value": 20, "groups_only": true, "groups": ["off"], "code": "off"}]')
    AS item \gset
INSERT INTO customer_groups.store_prices VALUES (:item, 7, 80, NULL);
SELECT is(pg_temp.price(:item, 3, c.store), c.expected, c.name)
FROM (VALUES ('use_pricing: no store, the group''s own', NULL, '72 by on'),
             ('use_pricing: a store without an answer, the group''s own', 2, '72 by on'),
             ('use_pricing: a store''s answer over the group''s', 1, '64 by off'),
             ('use_pricing: a store''s answer that is the group''s', 7, '72 by on')) AS c (name, store, expected);
DELETE FROM customer_groups.group_store_pricing WHERE store_id = 1;
SELECT is(pg_temp.price(:item, 3, 1), '72 by on', 'use_pricing: the store''s answer taken back');

-- Days, inclusive at both ends, by the calendar of the store, or of the settings: a group's and a membership's.
INSERT INTO customer_groups.groups (id, code, name, starts_on, ends_on) VALUES
    (5, 'june', 'June', '2024-06-10', '2024-06-20'),
    (6, 'always', 'Always', '2000-01-01', NULL);
INSERT INTO customer_groups.customers (id, name) VALUES (5, 'Eve'), (6, 'Flo'), (7, 'Gus');
INSERT INTO customer_groups.members (customer_id, group_id, valid_from, valid_until) VALUES
    (5, 5, NULL, NULL), (5, 6, '2024-06-10', '2024-06-20'), (6, 6, '2024-06-10', NULL), (7, 6, NULL, '2024-06-20');
SELECT pg_temp.offer(80, '[{"kind": "percent", "value": 10, "groups_only": true, "groups": ["june"], "code": "june"}]')
    AS group_item \gset
SELECT pg_temp.offer(80, '[{"kind": "percent", "value": 10, "groups_only": true, "groups": ["always"], "code": "june"}]')
    AS member_item \gset
INSERT INTO customer_groups.store_prices
SELECT item, store, 80, NULL FROM unnest(ARRAY[:group_item, :member_item]) AS item, unnest(ARRAY[3, 7]) AS store;
SELECT is(pg_temp.price(i.item, 5, c.store, at => c.at),
          CASE WHEN c.counts THEN '72 by june' ELSE '80 without promotion' END, i.name || ': ' || c.name)
FROM (VALUES (:group_item, 'a group''s days'), (:member_item, 'a membership''s days')) AS i (item, name),
    (VALUES
        ('the last moment before', NULL, '2024-06-09 23:59:59.999999+00'::timestamptz, false),
        ('the first moment', NULL, '2024-06-10 00:00+00', true),
        ('the last moment', NULL, '2024-06-20 23:59:59.999999+00', true),
        ('the first moment after', NULL, '2024-06-21 00:00+00', false),
        ('New York begins later', 2, '2024-06-10 03:59:59.999999+00', false),
        ('New York begins', 2, '2024-06-10 04:00+00', true),
        ('New York ends later', 2, '2024-06-21 03:59:59.999999+00', true),
        ('New York is over', 2, '2024-06-21 04:00+00', false),
        ('Seoul has not begun', 3, '2024-06-09 14:59:59.999999+00', false),
        ('Seoul begins earlier', 3, '2024-06-09 15:00+00', true),
        ('Seoul''s last moment', 3, '2024-06-20 14:59:59.999999+00', true),
        ('Seoul is over earlier', 3, '2024-06-20 15:00+00', false),
        ('Madrid begins, in summer time', 7, '2024-06-09 22:00+00', true),
        ('Madrid has not begun', 7, '2024-06-09 21:59+00', false)
    ) AS c (name, store, at, counts);
SELECT is(pg_temp.price(:member_item, c.customer, at => c.at), c.expected, c.name)
FROM (VALUES ('a membership without an end: before', 6, '2024-06-09 23:00+00'::timestamptz, '80 without promotion'),
             ('a membership without an end: for ever', 6, '2222-01-01 00:00+00', '72 by june'),
             ('a membership without a start: from ever', 7, '2001-01-01 00:00+00', '72 by june'),
             ('a membership without a start: after', 7, '2024-06-21 00:00+00', '80 without promotion'))
    AS c (name, customer, at, expected);
INSERT INTO customer_groups.settings (timezone) VALUES ('Asia/Seoul');
SELECT is(pg_temp.price(:group_item, 5, at => '2024-06-09 15:00+00'), '72 by june',
          'without a store the settings'' days count');
SELECT is(pg_temp.price(:group_item, 5, 1, at => '2024-06-09 15:00+00'), '80 without promotion',
          'in a store they do not');
DELETE FROM customer_groups.settings;
SELECT is(pg_temp.price(:group_item, 5, at => '2024-06-09 15:00+00'), '80 without promotion',
          'no settings: the days of UTC');

-- What it covers. The tree: clothes > shoes > boots > rubber boots, and food beside.
INSERT INTO customer_groups.categories (id, code, name, parent_id) VALUES
    (10, 'clothes', 'Clothes', NULL), (11, 'shoes', 'Shoes', 10), (12, 'boots', 'Boots', 11),
    (13, 'rubber-boots', 'Rubber boots', 12), (14, 'hats', 'Hats', 10), (15, 'food', 'Food', NULL);
INSERT INTO customer_groups.brands (id, code, name) VALUES (1, 'acme', 'Acme'), (2, 'other', 'Other');
CREATE TEMPORARY TABLE things AS
SELECT name, pg_temp.offer(100) AS id, category, brand
FROM (VALUES ('plain', NULL, NULL), ('clothes', 10, NULL), ('shoes', 11, NULL), ('boots', 12, NULL),
             ('rubber boots', 13, NULL), ('hats', 14, NULL), ('food', 15, NULL),
             ('acme', NULL, 1), ('other', NULL, 2), ('acme shoes', 11, 1))
    AS t (name, category, brand);
INSERT INTO customer_groups.item_categories SELECT id, category FROM things WHERE category IS NOT NULL;
UPDATE customer_groups.items AS i SET brand_id = t.brand FROM things AS t WHERE t.id = i.id;

CREATE FUNCTION pg_temp.discounted() RETURNS text[]
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN array_agg(t.name ORDER BY t.id) FILTER (WHERE pg_temp.price(t.id) <> '100 without promotion')
    FROM things AS t;
END
$$;
SELECT is(pg_temp.discounted(), NULL, 'nothing covers the things yet');

SELECT pg_temp.promote('{"kind": "amount", "value": 10}') AS promotion \gset
INSERT INTO customer_groups.promotion_categories VALUES (:promotion, 10);
SELECT is(pg_temp.discounted(), ARRAY['clothes', 'shoes', 'boots', 'rubber boots', 'hats', 'acme shoes'],
          'a category covers its subtree');
UPDATE customer_groups.promotion_categories SET category_id = 12 WHERE promotion_id = :promotion;
SELECT is(pg_temp.discounted(), ARRAY['boots', 'rubber boots'], 'but not what is above or beside it');
UPDATE customer_groups.categories SET parent_id = 13 WHERE id = 15;
SELECT is(pg_temp.discounted(), ARRAY['boots', 'rubber boots', 'food'], 'a category moved into the subtree');
UPDATE customer_groups.categories SET parent_id = NULL WHERE id = 15;
UPDATE customer_groups.categories SET parent_id = 10 WHERE id = 12;
INSERT INTO customer_groups.promotion_categories VALUES (:promotion, 14), (:promotion, 11);
SELECT is(pg_temp.discounted(), ARRAY['shoes', 'boots', 'rubber boots', 'hats', 'acme shoes'],
          'several categories');
DELETE FROM customer_groups.promotion_categories WHERE promotion_id = :promotion AND category_id <> 11;
SELECT is(pg_temp.discounted(), ARRAY['shoes', 'acme shoes'], 'a category moved out of the subtree');
INSERT INTO customer_groups.promotion_brands VALUES (:promotion, 1);
SELECT is(pg_temp.discounted(), ARRAY['shoes', 'acme', 'acme shoes'], 'a category or a brand, not both at once');
INSERT INTO customer_groups.promotion_items SELECT :promotion, id FROM things WHERE name = 'plain';
SELECT is(pg_temp.discounted(), ARRAY['plain', 'shoes', 'acme', 'acme shoes'], 'or an item');
INSERT INTO customer_groups.item_categories SELECT id, unnest(ARRAY[11, 13, 15]) FROM things WHERE name = 'other';
SELECT is(pg_temp.discounted(), ARRAY['plain', 'shoes', 'acme', 'other', 'acme shoes'],
          'an item in several categories');
DELETE FROM customer_groups.promotion_categories WHERE promotion_id = :promotion;
DELETE FROM customer_groups.promotion_brands WHERE promotion_id = :promotion;
SELECT is(pg_temp.discounted(), ARRAY['plain'], 'one item');
DELETE FROM customer_groups.promotion_items WHERE promotion_id = :promotion;
SELECT is(pg_temp.discounted(), (SELECT array_agg(name ORDER BY id) FROM things), 'no row: the whole assortment');
INSERT INTO customer_groups.promotion_stores VALUES (:promotion, 1);
SELECT is(pg_temp.discounted(), NULL, 'the whole assortment of a store');
SELECT is(pg_temp.price(pg_temp.offer(100), store => 1), '90 by amount', 'the whole assortment in that store');
DELETE FROM customer_groups.promotion_stores WHERE promotion_id = :promotion;
UPDATE customer_groups.promotions SET active = false WHERE id = :promotion;
SELECT is(pg_temp.discounted(), NULL, 'inactive');
UPDATE customer_groups.promotions SET active = true, level = 'order' WHERE id = :promotion;
SELECT is(pg_temp.discounted(), NULL, 'a promotion of the whole order is not one of the item');
DELETE FROM customer_groups.promotions WHERE id = :promotion;

-- Stores.
SELECT pg_temp.offer(100, '[{"kind": "amount", "value": 10, "stores": ["web", "madrid"]}]') AS item \gset
SELECT is(pg_temp.price(:item, store => c.store), c.expected, c.name)
FROM (VALUES ('one of its stores', 1, '90 by amount'),
             ('another store', 2, '100 without promotion'),
             ('with stores, but no store given', NULL, '100 without promotion')) AS c (name, store, expected);

-- List price and floor: the store's over the item's, which do not count in another currency.
SELECT pg_temp.offer(100, '[{"kind": "percent", "value": 50}]', 60) AS item \gset
INSERT INTO customer_groups.store_prices (item_id, store_id, price, min_price) VALUES
    (:item, 1, 90, 70), (:item, 2, NULL, NULL), (:item, 3, 90, NULL), (:item, 4, NULL, 1);
SELECT is(pg_temp.price(:item, store => c.store), c.expected, c.name)
FROM (VALUES ('without a store', NULL, '60 by percent'),
             ('the store''s price and floor', 1, '70 by percent'),
             ('nulls override nothing', 2, '60 by percent'),
             ('in another currency the item''s floor does not count', 3, '45 by percent'),
             ('in another currency the item''s price does not count', 4, '22023'),
             ('in another currency without a price', 7, '22023')) AS c (name, store, expected);
UPDATE customer_groups.store_prices SET price = NULL WHERE item_id = :item AND store_id = 1;
SELECT is(pg_temp.price(:item, store => 1), '70 by percent', 'the item''s price with the store''s floor');
UPDATE customer_groups.store_prices SET price = 90, min_price = NULL WHERE item_id = :item AND store_id = 1;
SELECT is(pg_temp.price(:item, store => 1), '60 by percent', 'the store''s price with the item''s floor');
SELECT pg_temp.offer(NULL) AS item \gset
INSERT INTO customer_groups.store_prices (item_id, store_id, price) VALUES (:item, 1, 9);
SELECT is(pg_temp.price(:item, store => c.store), c.expected, c.name)
FROM (VALUES ('an item with only a store''s price: there', 1, '9 without promotion'),
             ('an item with only a store''s price: elsewhere', 2, '22023'),
             ('an item with only a store''s price: without a store', NULL, '22023')) AS c (name, store, expected);

-- Currencies. The settings' is USD; the item costs 100 in each store.
SELECT is(pg_temp.price(pg_temp.offer(100, jsonb_build_array(c.terms), NULL, c.store), store => c.store,
                        order_value => 1000), c.expected, c.name)
FROM (VALUES
    ('percent without limits: elsewhere', '{"kind": "percent", "value": 10}'::jsonb, 3, '90 by percent'),
    ('percent without limits, of a third currency', '{"kind": "percent", "value": 10, "currency": "EUR"}', 3,
     '90 by percent'),
    ('percent without limits, of a third currency: without a store',
     '{"kind": "percent", "value": 10, "currency": "EUR"}', NULL, '90 by percent'),
    ('percent with a minimum quantity has no limit in money',
     '{"kind": "percent", "value": 10, "currency": "EUR", "min_quantity": 1}', 3, '90 by percent'),
    ('percent with max_discount: elsewhere', '{"kind": "percent", "value": 10, "max_discount": 5}', 3,
     '100 without promotion'),
    ('percent with max_discount: at home', '{"kind": "percent", "value": 10, "max_discount": 5}', 1, '95 by percent'),
    ('percent with max_discount, of the store''s currency',
     '{"kind": "percent", "value": 10, "max_discount": 5, "currency": "KRW"}', 3, '95 by percent'),
    ('percent with min_order_value: elsewhere', '{"kind": "percent", "value": 10, "min_order_value": 1}', 3,
     '100 without promotion'),
    ('percent with min_order_value: at home', '{"kind": "percent", "value": 10, "min_order_value": 1}', 1,
     '90 by percent'),
    ('percent with min_order_value, of the store''s currency',
     '{"kind": "percent", "value": 10, "min_order_value": 1, "currency": "KRW"}', 3, '90 by percent'),
    ('amount: elsewhere', '{"kind": "amount", "value": 10}', 3, '100 without promotion'),
    ('amount: at home', '{"kind": "amount", "value": 10}', 2, '90 by amount'),
    ('amount: without a store', '{"kind": "amount", "value": 10}', NULL, '90 by amount'),
    ('amount of the settings'' currency by name', '{"kind": "amount", "value": 10, "currency": "USD"}', NULL,
     '90 by amount'),
    ('amount of the store''s currency', '{"kind": "amount", "value": 10, "currency": "KRW"}', 3, '90 by amount'),
    ('amount of a store''s currency: without a store', '{"kind": "amount", "value": 10, "currency": "KRW"}', NULL,
     '100 without promotion'),
    ('amount of a third currency', '{"kind": "amount", "value": 10, "currency": "EUR"}', 3, '100 without promotion'),
    ('fixed_price: elsewhere', '{"kind": "fixed_price", "value": 10}', 3, '100 without promotion'),
    ('fixed_price of the store''s currency', '{"kind": "fixed_price", "value": 10, "currency": "KRW"}', 3,
     '10 by fixed_price'),
    ('fixed_price 0: elsewhere', '{"kind": "fixed_price", "value": 0}', 3, '100 without promotion')
) AS c (name, terms, store, expected);
INSERT INTO customer_groups.settings (currency) VALUES ('KRW');
SELECT is(pg_temp.price(pg_temp.offer(100.4, '[{"kind": "amount", "value": 10}]')), '90 by amount',
          'another currency of the settings: without a store');
SELECT is(pg_temp.price(pg_temp.offer(100.4, '[{"kind": "amount", "value": 10}]'), store => 3), '90 by amount',
          'another currency of the settings: in a store that has it, the item''s price');
SELECT is(pg_temp.price(pg_temp.offer(100.4, '[{"kind": "amount", "value": 10}]'), store => 1), '22023',
          'another currency of the settings: the item''s price does not count where it did');
SELECT is(pg_temp.price(pg_temp.offer(100.4, '[{"kind": "amount", "value": 10}]', NULL, 1), store => 1),
          '100.4 without promotion', 'another currency of the settings: an amount without a currency is in that one');
DELETE FROM customer_groups.settings;

-- Within a stage the lowest price wins; stages follow each other.
SELECT is(pg_temp.price(pg_temp.offer(100, c.promotions, c.min_price)), c.expected, c.name)
FROM (VALUES
    ('combinable ones one after another', NULL::numeric,
     '[{"kind": "percent", "value": 10, "combinable": true, "code": "a"},
       {"kind": "percent", "value": 10, "combinable": true, "code": "b"}]'::jsonb, '81 by a, b'),
    ('amount, then percent', NULL,
     '[{"kind": "percent", "value": 10, "combinable": true, "priority": 2, "code": "a"},
       {"kind": "amount", "value": 10, "combinable": true, "priority": 1, "code": "b"}]', '81 by b, a'),
    ('percent, then amount', NULL,
     '[{"kind": "percent", "value": 10, "combinable": true, "priority": 1, "code": "a"},
       {"kind": "amount", "value": 10, "combinable": true, "priority": 2, "code": "b"}]', '80 by a, b'),
    ('a negative priority comes first', NULL,
     '[{"kind": "percent", "value": 10, "combinable": true, "code": "a"},
       {"kind": "amount", "value": 10, "combinable": true, "priority": -1, "code": "b"}]', '81 by b, a'),
    ('the combinable ones together beat one alone', NULL,
     '[{"kind": "percent", "value": 10, "combinable": true, "code": "a"},
       {"kind": "percent", "value": 18, "code": "alone"},
       {"kind": "percent", "value": 10, "combinable": true, "code": "b"}]', '81 by a, b'),
    ('one alone beats the combinable ones', NULL,
     '[{"kind": "percent", "value": 10, "combinable": true, "code": "a"},
       {"kind": "percent", "value": 20, "code": "alone"},
       {"kind": "percent", "value": 10, "combinable": true, "code": "b"}]', '80 by alone'),
    ('one that is not combinable is not combined', NULL,
     '[{"kind": "amount", "value": 20, "combinable": true, "code": "a"}, {"kind": "amount", "value": 10}]', '80 by a'),
    ('priority does not decide between different prices', NULL,
     '[{"kind": "amount", "value": 10, "priority": 1, "code": "a"},
       {"kind": "amount", "value": 11, "priority": 2, "code": "b"}]', '89 by b'),
    ('equal prices: the lower priority', NULL,
     '[{"kind": "amount", "value": 10, "priority": 2, "code": "a"},
       {"kind": "percent", "value": 10, "priority": 1, "code": "b"}]', '90 by b'),
    ('equal prices and priorities: the lower id', NULL,
     '[{"kind": "percent", "value": 10, "code": "a"}, {"kind": "amount", "value": 10, "code": "b"}]', '90 by a'),
    ('equal by the floor: the lower priority, not the greater discount', 50,
     '[{"kind": "amount", "value": 90, "priority": 2, "code": "a"},
       {"kind": "amount", "value": 60, "priority": 1, "code": "b"}]', '50 by b'),
    ('equal prices: the combinable set has its first member''s rank and wins', NULL,
     '[{"kind": "amount", "value": 20, "priority": 2, "code": "alone"},
       {"kind": "amount", "value": 10, "combinable": true, "priority": 1, "code": "a"},
       {"kind": "amount", "value": 10, "combinable": true, "priority": 3, "code": "b"}]', '80 by a, b'),
    ('equal prices: the combinable set has its first member''s rank and loses', NULL,
     '[{"kind": "amount", "value": 10, "combinable": true, "priority": 2, "code": "a"},
       {"kind": "amount", "value": 10, "combinable": true, "priority": 3, "code": "b"},
       {"kind": "amount", "value": 20, "priority": 1, "code": "alone"}]', '80 by alone'),
    ('equal prices and priorities: the first member''s id', NULL,
     '[{"kind": "amount", "value": 10, "combinable": true, "code": "a"},
       {"kind": "amount", "value": 20, "code": "alone"},
       {"kind": "amount", "value": 10, "combinable": true, "code": "b"}]', '80 by a, b'),
    ('equal prices: a member that changed nothing does not rank', NULL,
     '[{"kind": "fixed_price", "value": 100, "combinable": true, "priority": 1, "code": "nothing"},
       {"kind": "amount", "value": 20, "priority": 2, "code": "alone"},
       {"kind": "amount", "value": 20, "combinable": true, "priority": 3, "code": "a"}]', '80 by alone'),
    ('a combinable set that leaves nothing to its last member', NULL,
     '[{"kind": "amount", "value": 100, "combinable": true, "priority": 1, "code": "a"},
       {"kind": "amount", "value": 100, "combinable": true, "priority": 2, "code": "b"}]', '0 by a'),
    ('what changes nothing is not reported', NULL,
     '[{"kind": "percent", "value": 0, "code": "a"}, {"kind": "amount", "value": 0, "code": "b"},
       {"kind": "fixed_price", "value": 100, "code": "c"}, {"kind": "fixed_price", "value": 200, "code": "d"},
       {"kind": "percent", "value": 10, "max_discount": 0, "code": "e"}]', '100 without promotion'),
    ('what changes nothing is not reported among combinable ones', NULL,
     '[{"kind": "percent", "value": 0, "combinable": true, "code": "a"},
       {"kind": "amount", "value": 5, "combinable": true, "code": "b"},
       {"kind": "fixed_price", "value": 95, "combinable": true, "code": "c"},
       {"kind": "amount", "value": 5, "combinable": true, "code": "d"}]', '90 by b, d'),
    ('a fixed price after others', NULL,
     '[{"kind": "percent", "value": 10, "combinable": true, "code": "a"},
       {"kind": "fixed_price", "value": 60, "combinable": true, "code": "b"}]', '60 by a, b'),
    ('the best of each stage, one on top of the other', NULL,
     '[{"kind": "percent", "value": 10, "stage": 1, "code": "a"}, {"kind": "percent", "value": 20, "code": "b"},
       {"kind": "amount", "value": 9, "stage": 1, "code": "c"}, {"kind": "amount", "value": 19, "code": "d"}]',
     '71 by b, c'),
    ('stages ascend, whatever the priorities', NULL,
     '[{"kind": "amount", "value": 10, "stage": 2, "priority": 1, "code": "a"},
       {"kind": "percent", "value": 50, "stage": 1, "priority": 2, "code": "b"}]', '40 by b, a'),
    ('a negative stage comes first', NULL,
     '[{"kind": "amount", "value": 10, "code": "a"}, {"kind": "percent", "value": 50, "stage": -1, "code": "b"}]',
     '40 by b, a'),
    ('combinable ones of another stage do not join', NULL,
     '[{"kind": "amount", "value": 10, "combinable": true, "code": "a"},
       {"kind": "amount", "value": 15, "code": "alone"},
       {"kind": "amount", "value": 10, "combinable": true, "stage": 1, "code": "b"}]', '75 by alone, b'),
    ('a gift', NULL, '[{"kind": "fixed_price", "value": 0}]', '0 by fixed_price'),
    ('no promotion', NULL, '[]', '100 without promotion')
) AS c (name, min_price, promotions, expected);

-- Rounding to the currency's minor unit, after each step.
CREATE TEMPORARY TABLE roundings AS
SELECT * FROM (VALUES
    ('KRW', 3, 10050, '[{"kind": "percent", "value": 15}]'::jsonb, '8543 by percent', '8542 by percent'),
    ('KRW, the next', 3, 10070, '[{"kind": "percent", "value": 15}]', '8560 by percent', '8560 by percent'),
    ('JPY', 5, 333, '[{"kind": "percent", "value": 50}]', '167 by percent', '166 by percent'),
    ('VND', 8, 15001, '[{"kind": "percent", "value": 50}]', '7501 by percent', '7500 by percent'),
    ('KWD', 4, 1.100, '[{"kind": "percent", "value": 12.5}]', '0.963 by percent', '0.962 by percent'),
    ('KWD, the next', 4, 1.108, '[{"kind": "percent", "value": 12.5}]', '0.97 by percent', '0.97 by percent'),
    ('TND', 6, 0.003, '[{"kind": "percent", "value": 50}]', '0.002 by percent', '0.002 by percent'),
    ('EUR', 7, 0.25, '[{"kind": "percent", "value": 50}]', '0.13 by percent', '0.12 by percent'),
    ('PLN', 9, 0.27, '[{"kind": "percent", "value": 50}]', '0.14 by percent', '0.14 by percent'),
    ('CAD', 10, 0.01, '[{"kind": "percent", "value": 50}]', '0.01 without promotion', '0 by percent'),
    ('USD, half a cent', 1, 10.50, '[{"kind": "percent", "value": 15}]', '8.93 by percent', '8.92 by percent'),
    ('USD, half a cent above an odd one', 1, 10.30, '[{"kind": "percent", "value": 15}]', '8.76 by percent',
     '8.76 by percent'),
    ('USD, more than half a cent', 1, 10.51, '[{"kind": "percent", "value": 15}]', '8.93 by percent',
     '8.93 by percent'),
    ('USD, less than half a cent by 0.000000000000000001', 1, 39.89843491,
     '[{"kind": "percent", "value": 24.57097611}]', '30.09 by percent', '30.09 by percent'),
    ('each step is rounded', 1, 10.50,
     '[{"kind": "percent", "value": 15, "combinable": true, "code": "a"},
       {"kind": "percent", "value": 50, "combinable": true, "code": "b"}]', '4.47 by a, b', '4.46 by a, b'),
    ('each stage is rounded', 1, 10.50,
     '[{"kind": "percent", "value": 15, "code": "a"}, {"kind": "percent", "value": 50, "stage": 1, "code": "b"}]',
     '4.47 by a, b', '4.46 by a, b'),
    ('prices are compared after rounding', 1, 10.50,
     '[{"kind": "percent", "value": 15, "code": "a"}, {"kind": "percent", "value": 15.04, "code": "b"}]',
     '8.92 by b', '8.92 by a'),
    ('a value finer than the minor unit', 1, 10, '[{"kind": "amount", "value": 0.335}]', '9.67 by amount',
     '9.66 by amount'),
    ('a fixed price that rounds to the list price', 1, 10, '[{"kind": "fixed_price", "value": 9.995}]',
     '10 without promotion', '10 without promotion'),
    ('a fixed price finer than the minor unit', 1, 10, '[{"kind": "fixed_price", "value": 8.885}]',
     '8.89 by fixed_price', '8.88 by fixed_price'),
    ('max_discount finer than the minor unit', 1, 10, '[{"kind": "percent", "value": 50, "max_discount": 0.335}]',
     '9.67 by percent', '9.66 by percent'),
    ('a list price finer than the minor unit is used as it is', 1, 10.00555, '[]', '10.00555 without promotion',
     '10.00555 without promotion'),
    ('a list price finer than the minor unit, discounted', 1, 10.00555, '[{"kind": "amount", "value": 1}]',
     '9.01 by amount', '9.01 by amount'),
    ('a price that rounding would raise stays', 1, 10.007, '[{"kind": "amount", "value": 0.001}]',
     '10.007 without promotion', '10.007 without promotion')
) AS r (name, store, price, promotions, half_up, half_even);
SELECT is(pg_temp.price(pg_temp.offer(price, promotions, NULL, store), store => store), half_up, 'half_up: ' || name)
FROM roundings;
INSERT INTO customer_groups.settings (rounding) VALUES ('half_even');
SELECT is(pg_temp.price(pg_temp.offer(price, promotions, NULL, store), store => store), half_even,
          'half_even: ' || name)
FROM roundings;
SELECT is(pg_temp.price(pg_temp.offer(10.50, '[{"kind": "percent", "value": 15}]')), '8.92 by percent',
          'half_even: without a store');
DELETE FROM customer_groups.settings;

-- The floor.
SELECT is(pg_temp.price(pg_temp.offer(c.price, c.promotions, c.min_price)), c.expected, c.name)
FROM (VALUES
    ('a floor above what is left', 10.00, 8.00, '[{"kind": "percent", "value": 50}]'::jsonb, '8 by percent'),
    ('a floor below what is left', 10.00, 4.99, '[{"kind": "percent", "value": 50}]', '5 by percent'),
    ('a floor finer than the minor unit is used as it is', 10.00, 4.995, '[{"kind": "amount", "value": 9}]',
     '4.995 by amount'),
    ('a floor against a gift', 10.00, 0.01, '[{"kind": "fixed_price", "value": 0}]', '0.01 by fixed_price'),
    ('a floor at the list price', 10.00, 10.00, '[{"kind": "percent", "value": 50}]', '10 without promotion'),
    ('a floor above the list price', 10.00, 12.00, '[{"kind": "percent", "value": 50}]', '10 without promotion'),
    ('a floor between stages', 10.00, 8.00,
     '[{"kind": "amount", "value": 1, "code": "a"}, {"kind": "amount", "value": 5, "stage": 1, "code": "b"},
       {"kind": "amount", "value": 5, "stage": 2, "code": "c"}]', '8 by a, b'),
    ('a floor within a combinable set', 10.00, 8.00,
     '[{"kind": "amount", "value": 5, "combinable": true, "code": "a"},
       {"kind": "amount", "value": 1, "combinable": true, "code": "b"}]', '8 by a')
) AS c (name, price, min_price, promotions, expected);

-- Least quantity, least order value, times.
SELECT is(pg_temp.price(pg_temp.offer(100, jsonb_build_array(c.terms)), quantity => c.quantity,
                        order_value => c.order_value),
          CASE WHEN c.counts THEN '90 by percent' ELSE '100 without promotion' END, c.name)
FROM (VALUES
    ('quantity reached', '{"kind": "percent", "value": 10, "min_quantity": 3}'::jsonb, 3.000, NULL::numeric, true),
    ('quantity not reached', '{"kind": "percent", "value": 10, "min_quantity": 3}', 2.999, NULL, false),
    ('quantity of less than one', '{"kind": "percent", "value": 10, "min_quantity": 0.35}', 0.350, NULL, true),
    ('order value reached', '{"kind": "percent", "value": 10, "min_order_value": 50}', 1, 50.00, true),
    ('order value not reached', '{"kind": "percent", "value": 10, "min_order_value": 50}', 1, 49.99, false),
    ('order value not given', '{"kind": "percent", "value": 10, "min_order_value": 50}', 1, NULL, false),
    ('order value not given, where 0 is enough', '{"kind": "percent", "value": 10, "min_order_value": 0}', 1, NULL,
     false),
    ('order value 0', '{"kind": "percent", "value": 10, "min_order_value": 0}', 1, 0, true),
    ('quantity reached, order value not',
     '{"kind": "percent", "value": 10, "min_quantity": 2, "min_order_value": 50}', 2, 49, false),
    ('order value reached, quantity not',
     '{"kind": "percent", "value": 10, "min_quantity": 2, "min_order_value": 50}', 1, 50, false),
    ('both reached', '{"kind": "percent", "value": 10, "min_quantity": 2, "min_order_value": 50}', 2, 50, true),
    ('max_discount is for one unit', '{"kind": "percent", "value": 50, "max_discount": 10}', 7, NULL, true)
) AS c (name, terms, quantity, order_value, counts);
SELECT pg_temp.offer(100, '[{"kind": "percent", "value": 10, "starts_at": "2024-06-15 12:00+00",
                             "ends_at": "2024-06-15 13:00+00"}]') AS item \gset
SELECT is(pg_temp.price(:item, at => c.at), c.expected, c.name)
FROM (VALUES ('the moment before it starts', '2024-06-15 11:59:59.999999+00'::timestamptz, '100 without promotion'),
             ('the moment it starts', '2024-06-15 12:00+00', '90 by percent'),
             ('the last moment before its end', '2024-06-15 12:59:59.999999+00', '90 by percent'),
             ('the moment it ends', '2024-06-15 13:00+00', '100 without promotion')) AS c (name, at, expected);
SELECT is(pg_temp.price(pg_temp.offer(100, '[{"kind": "percent", "value": 10, "active": false}]')),
          '100 without promotion', 'inactive');

-- Arguments left out, nulls.
SELECT pg_temp.offer(100, '[{"kind": "percent", "value": 10}]') AS item \gset
SELECT results_eq(
    format('SELECT list_price, discount, price, cardinality(promotion_ids) FROM customer_groups.effective_price(1, %s)',
           :item),
    'VALUES (100::numeric, 10::numeric, 90::numeric, 1)', 'without a store, one piece, now');
SELECT is(customer_groups.effective_discount(1, :item), 10::numeric, 'effective_discount of the same');
SELECT pg_temp.offer(100) AS plain_item \gset
SELECT is(customer_groups.effective_discount(NULL, :plain_item), 0::numeric, 'no discount is 0');
SELECT is((SELECT promotion_ids FROM customer_groups.effective_price(NULL, :plain_item)), '{}'::int[],
          'no promotion is an empty list');
SELECT results_eq(
    'SELECT list_price, discount, price, promotion_ids FROM customer_groups.effective_price(1, NULL)',
    'VALUES (NULL::numeric, NULL::numeric, NULL::numeric, NULL::int[])', 'a null item gives one row of nulls');
SELECT is(customer_groups.effective_discount(1, NULL), NULL, 'a null item gives a null discount');

-- Bad input: its state, and what the detail must name. Each says what to do.
CREATE FUNCTION pg_temp.complaint(function text, arguments text, OUT state text, OUT detail text, OUT hint text)
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT customer_groups.%s(%s)', function, arguments);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;
SELECT pg_temp.offer(NULL) AS unpriced_item \gset
CREATE TEMPORARY TABLE complaints AS
SELECT f.name || ': ' || m.name AS name, m.state AS expected, m.value, c.*
FROM (VALUES
    ('unknown customer', format('987654321, %s', :item), '02000', '987654321'),
    ('unknown customer 0', format('0, %s', :item), '02000', '0'),
    ('unknown item', '1, 987654321', '02000', '987654321'),
    ('unknown item, anonymous', 'NULL, 987654321', '02000', '987654321'),
    ('unknown store', format('1, %s, 987654', :item), '02000', '987654'),
    ('quantity 0', format('1, %s, NULL, 0', :item), '22023', '0'),
    ('negative quantity', format('1, %s, NULL, -1.5', :item), '22023', '-1.5'),
    ('quantity NaN', format('1, %s, NULL, ''NaN''', :item), '22023', 'NaN'),
    ('infinite quantity', format('1, %s, NULL, ''Infinity''', :item), '22023', 'Infinity'),
    ('quantity -Infinity', format('1, %s, NULL, ''-Infinity''', :item), '22023', '-Infinity'),
    ('null quantity', format('1, %s, NULL, NULL', :item), '22004', ''),
    ('negative order value', format('1, %s, NULL, 1, -0.01', :item), '22023', '-0.01'),
    ('order value NaN', format('1, %s, NULL, 1, ''NaN''', :item), '22023', 'NaN'),
    ('infinite time', format('1, %s, NULL, 1, NULL, ''infinity''', :item), '22023', 'infinity'),
    ('time -infinity', format('1, %s, NULL, 1, NULL, ''-infinity''', :item), '22023', '-infinity'),
    ('null time', format('1, %s, NULL, 1, NULL, NULL', :item), '22004', ''),
    ('no price in a store of another currency', format('1, %s, 3', :item), '22023', :'item'),
    ('no price at all', format('1, %s', :unpriced_item), '22023', :'unpriced_item')
) AS m (name, arguments, state, value),
    (VALUES ('effective_price'), ('effective_discount')) AS f (name),
    LATERAL pg_temp.complaint(f.name, m.arguments) AS c;
SELECT is(state, expected, name) FROM complaints;
SELECT is_empty('SELECT name, value, detail FROM complaints WHERE value <> '''' AND position(value IN detail) = 0',
                'errors have a detail that names the value');
SELECT is_empty('SELECT name FROM complaints WHERE hint = ''''', 'errors have a hint');

SELECT is_empty('SELECT * FROM reference_differences', 'the reference has the same answers');
SELECT * FROM finish();
ROLLBACK;
