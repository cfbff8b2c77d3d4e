-- explain_discount: every promotion that covers the item, the first reason that holds of each, and that it agrees with
-- effective_price on random questions.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

INSERT INTO customer_groups.stores (id, code, name, currency, timezone) VALUES
    (1, 'web', 'Web', 'USD', 'UTC'), (2, 'seoul', 'Seoul', 'KRW', 'Asia/Seoul');
INSERT INTO customer_groups.items (id, name, price, min_price) VALUES (1, 'Lamp', 100, NULL), (2, 'Sofa', 100, 95);
INSERT INTO customer_groups.store_prices VALUES (1, 2, 100000);
INSERT INTO customer_groups.customers (id, name) VALUES (1, 'Ada'), (2, 'Ben'), (3, 'Cy');
INSERT INTO customer_groups.groups (id, code, name, starts_on, ends_on, use_pricing) VALUES
    (1, 'good', 'Good', '2000-01-01', NULL, true),
    (2, 'over', 'Over', '2000-01-01', '2024-06-14', true),
    (3, 'off', 'Off', '2000-01-01', NULL, false),
    (4, 'early', 'Membership not started', '2000-01-01', NULL, true),
    (5, 'late', 'Membership expired', '2000-01-01', NULL, true),
    (6, 'none', 'Without members', '2000-01-01', NULL, true),
    (7, 'later', 'Not started', '2024-06-16', NULL, true);
INSERT INTO customer_groups.members (customer_id, group_id, valid_from, valid_until) VALUES
    (1, 1, NULL, NULL), (1, 2, NULL, NULL), (1, 3, NULL, NULL), (1, 4, '2024-06-16', NULL), (1, 5, NULL, '2024-06-14'),
    (1, 7, NULL, NULL);
INSERT INTO customer_groups.group_store_pricing VALUES (1, 1, false), (3, 1, true);
INSERT INTO customer_groups.segments (id, code, name, rule) VALUES (1, 'buyers', 'Buyers', 'visits >= 1');
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (2, 5);

-- The explanation as text, '1 applied 10.00; 2 beaten 5.00: better price by one', by id.
CREATE FUNCTION pg_temp.explained(
        customer bigint DEFAULT 1, item bigint DEFAULT 1, store int DEFAULT NULL, quantity numeric DEFAULT 1,
        order_value numeric DEFAULT NULL, at timestamptz DEFAULT '2024-06-15 12:00+00')
    RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s%s%s', code, verdict, ' ' || discount, ': ' || reason), '; ' ORDER BY promotion_id)
    FROM customer_groups.explain_discount(customer, item, store, quantity, order_value, at)
$$;

-- One promotion with everything against it, which is put right bit by bit: each time the next reason holds.
INSERT INTO customer_groups.promotions (id, code, name, kind, value, starts_at, ends_at, groups_only, min_quantity,
    min_order_value, currency, active)
VALUES (1, 'one', 'One', 'amount', 10, '2024-06-16', '2024-06-17', true, 3, 50, 'KRW', false);
INSERT INTO customer_groups.promotion_stores VALUES (1, 2);
INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (1, 6);
SELECT is(pg_temp.explained(), 'one not applicable: inactive', 'inactive');
UPDATE customer_groups.promotions SET active = true;
SELECT is(pg_temp.explained(), 'one not applicable: not started', 'not started');
UPDATE customer_groups.promotions SET starts_at = '2024-06-14', ends_at = '2024-06-15 12:00+00';
SELECT is(pg_temp.explained(), 'one not applicable: ended', 'ended: at the very moment');
UPDATE customer_groups.promotions SET ends_at = '2024-06-15 12:00:01+00';
SELECT is(pg_temp.explained(), 'one not applicable: other store', 'other store: no store given');
SELECT is(pg_temp.explained(store => 1), 'one not applicable: other store', 'other store');
DELETE FROM customer_groups.promotion_stores;
SELECT is(pg_temp.explained(), 'one not applicable: other currency', 'other currency');
UPDATE customer_groups.promotions SET currency = NULL;
SELECT is(pg_temp.explained(), 'one not applicable: not in its groups', 'not in its groups');
UPDATE customer_groups.promotion_groups SET group_id = 4;
SELECT is(pg_temp.explained(), 'one not applicable: membership not started', 'membership not started');
UPDATE customer_groups.promotion_groups SET group_id = 5;
SELECT is(pg_temp.explained(), 'one not applicable: membership expired', 'membership expired');
UPDATE customer_groups.promotion_groups SET group_id = 2;
SELECT is(pg_temp.explained(), 'one not applicable: group not in its dates', 'group not in its dates: over');
UPDATE customer_groups.promotion_groups SET group_id = 7;
SELECT is(pg_temp.explained(), 'one not applicable: group not in its dates', 'group not in its dates: not begun');
UPDATE customer_groups.promotion_groups SET group_id = 3;
SELECT is(pg_temp.explained(), 'one not applicable: group pricing off in this store', 'group pricing off, of itself');
SELECT is(pg_temp.explained(store => 1), 'one not applicable: needs quantity 3', 'group pricing on by the store');
UPDATE customer_groups.promotion_groups SET group_id = 1;
SELECT is(pg_temp.explained(store => 1), 'one not applicable: group pricing off in this store', 'group pricing off in this store');
SELECT is(pg_temp.explained(customer => c), 'one not applicable: not in its groups', 'not in its groups: ' || name)
FROM (VALUES (2, 'a customer without groups'), (NULL, 'anonymous')) AS x (c, name);
DELETE FROM customer_groups.promotion_groups;
SELECT is(pg_temp.explained(), 'one not applicable: not in its groups', 'not in its groups: for groups only, without one');
INSERT INTO customer_groups.promotion_segments VALUES (1, 1);
SELECT is(pg_temp.explained(customer => c), 'one not applicable: ' || reason, name)
FROM (VALUES (1, 'not in its segments', 'not in its segments'), (NULL, 'not in its segments', 'not in its segments: anonymous'),
             (2, 'needs quantity 3', 'in its segments')) AS x (c, reason, name);
INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (1, 5);
SELECT is(pg_temp.explained(customer => c), 'one not applicable: ' || reason, name)
FROM (VALUES (1, 'membership expired', 'for groups and segments: the reason of its group'),
             (3, 'not in its groups', 'for groups and segments: in neither'),
             (2, 'needs quantity 3', 'for groups and segments: a segment is enough')) AS x (c, reason, name);
INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (1, 4);
SELECT is(pg_temp.explained(), 'one not applicable: membership not started', 'of two groups, the first reason in the list');
INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (1, 1);
SELECT is(pg_temp.explained(), 'one not applicable: needs quantity 3', 'of three groups, one that counts');
SELECT is(pg_temp.explained(quantity => 2.99999999), 'one not applicable: needs quantity 3', 'needs quantity');
SELECT is(pg_temp.explained(quantity => 3), 'one not applicable: needs order value 50.00', 'needs order value: none known');
SELECT is(pg_temp.explained(quantity => 3, order_value => 49.99), 'one not applicable: needs order value 50.00', 'needs order value');
SELECT is(pg_temp.explained(quantity => 3, order_value => 50), 'one applied 10.00', 'applied');
UPDATE customer_groups.promotions SET min_quantity = 2.50, min_order_value = 0.125;
SELECT is(pg_temp.explained(), 'one not applicable: needs quantity 2.5', 'a quantity as it is');
SELECT is(pg_temp.explained(quantity => 3), 'one not applicable: needs order value 0.125', 'an order value finer than a cent');
UPDATE customer_groups.promotions SET value = 0, min_quantity = NULL, min_order_value = NULL;
SELECT is(pg_temp.explained(), 'one not applicable: no effect', 'no effect');
UPDATE customer_groups.promotions SET value = 10, level = 'order', min_quantity = 3;
SELECT is(pg_temp.explained(), 'one not applicable: whole order', 'whole order, before its quantity');
UPDATE customer_groups.promotions SET active = false;
SELECT is(pg_temp.explained(), 'one not applicable: inactive', 'whole order, after all that is against it');

-- Several.
CREATE FUNCTION pg_temp.promote(promotions jsonb) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM customer_groups.promotions;
    INSERT INTO customer_groups.promotions (id, code, name, kind, value, combinable, stage, priority, max_discount)
    SELECT a.place, chr(96 + a.place::int), t.kind, t.kind, t.value, coalesce(t.combinable, false), coalesce(t.stage, 0),
        coalesce(t.priority, 0), t.max_discount
    FROM jsonb_array_elements(promotions) WITH ORDINALITY AS a (terms, place),
        jsonb_populate_record(NULL::customer_groups.promotions, a.terms) AS t;
END
$$;
CREATE FUNCTION pg_temp.explained(promotions jsonb, item bigint) RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_temp.promote(promotions);
    RETURN pg_temp.explained(item => item);
END
$$;
SELECT is(pg_temp.explained(c.promotions, c.item), c.expected, c.name)
FROM (VALUES
    ('the better of two', '[{"kind": "percent", "value": 10}, {"kind": "percent", "value": 20}]'::jsonb, 1,
     'a beaten 10.00: better price by b; b applied 20.00'),
    ('equal prices: the lower priority', '[{"kind": "percent", "value": 10, "priority": 1}, {"kind": "amount", "value": 10}]', 1,
     'a beaten 10.00: better price by b; b applied 10.00'),
    ('equal prices: the lower id', '[{"kind": "percent", "value": 10}, {"kind": "amount", "value": 10}]', 1,
     'a applied 10.00; b beaten 10.00: better price by a'),
    ('together: what each took',
     '[{"kind": "percent", "value": 10, "combinable": true, "priority": 2}, {"kind": "amount", "value": 50, "combinable": true}]', 1,
     'a applied 5.00; b applied 50.00'),
    ('together, beaten: what each would take alone',
     '[{"kind": "percent", "value": 10, "combinable": true}, {"kind": "amount", "value": 50, "combinable": true},
       {"kind": "percent", "value": 90}]', 1,
     'a beaten 10.00: better price by c; b beaten 50.00: better price by c; c applied 90.00'),
    ('beaten by several: the code of the first of them',
     '[{"kind": "percent", "value": 10, "combinable": true, "priority": 2}, {"kind": "amount", "value": 50, "combinable": true, "priority": 1},
       {"kind": "percent", "value": 50}]', 1,
     'a applied 5.00; b applied 50.00; c beaten 50.00: better price by b'),
    ('the first that changed the price',
     '[{"kind": "percent", "value": 0, "combinable": true}, {"kind": "amount", "value": 50, "combinable": true},
       {"kind": "percent", "value": 40}]', 1,
     'a not applicable: no effect; b applied 50.00; c beaten 40.00: better price by b'),
    ('together with those that left it nothing',
     '[{"kind": "amount", "value": 5, "combinable": true}, {"kind": "percent", "value": 5, "combinable": true}]', 2,
     'a applied 5.00; b not applicable: no effect'),
    ('a later stage takes from what is left',
     '[{"kind": "percent", "value": 50}, {"kind": "percent", "value": 10, "stage": 1}, {"kind": "percent", "value": 5, "stage": 1}]', 1,
     'a applied 50.00; b applied 5.00; c beaten 2.50: better price by b'),
    ('an earlier stage left it nothing', '[{"kind": "amount", "value": 10, "stage": -1}, {"kind": "amount", "value": 10}]', 2,
     'a applied 5.00; b not applicable: no effect'),
    ('a fixed price that is no lower', '[{"kind": "fixed_price", "value": 100}, {"kind": "fixed_price", "value": 100.01}]', 1,
     'a not applicable: no effect; b not applicable: no effect'),
    ('limits of a promotion and of an item',
     '[{"kind": "percent", "value": 50, "max_discount": 3}, {"kind": "percent", "value": 50}]', 2,
     'a beaten 3.00: better price by b; b applied 5.00')
) AS c (name, promotions, item, expected);

-- All that covers it, and nothing else; by stage, priority and id.
SELECT pg_temp.promote('[{"kind": "percent", "value": 1, "stage": 2}, {"kind": "percent", "value": 2}, {"kind": "percent", "value": 3},
                         {"kind": "percent", "value": 4, "priority": -1}, {"kind": "percent", "value": 5, "stage": -1},
                         {"kind": "percent", "value": 6}]') \g /dev/null
INSERT INTO customer_groups.categories (id, code, name, parent_id) VALUES (1, 'home', 'Home', NULL), (2, 'light', 'Light', 1), (3, 'garden', 'Garden', NULL);
INSERT INTO customer_groups.brands (id, code, name) VALUES (1, 'acme', 'Acme'), (2, 'zeta', 'Zeta');
INSERT INTO customer_groups.item_categories VALUES (1, 2);
UPDATE customer_groups.items SET brand_id = 1 WHERE id = 1;
INSERT INTO customer_groups.promotion_items VALUES (2, 1), (2, 2), (6, 2);
INSERT INTO customer_groups.promotion_categories VALUES (3, 1), (3, 3), (6, 3);
INSERT INTO customer_groups.promotion_brands VALUES (4, 2), (4, 1), (6, 2);
UPDATE customer_groups.promotions SET active = false WHERE id IN (2, 6);
SELECT results_eq('SELECT promotion_id FROM customer_groups.explain_discount(NULL, 1)', '{5,4,2,3,1}'::int[],
    'by item, category above, brand or everything, in use or not');
SELECT results_eq('SELECT promotion_id FROM customer_groups.explain_discount(NULL, 2)', '{5,2,6,1}'::int[], 'those of another item');
SELECT is_empty('SELECT * FROM customer_groups.explain_discount(NULL, NULL)', 'no item, nothing to explain');
SELECT results_eq('SELECT promotion_id, code, verdict, discount::text, reason FROM customer_groups.explain_discount(NULL, 1, 2) LIMIT 1',
    $$ VALUES (5, 'e', 'applied', '5000', NULL) $$, 'in the money of the store');

-- Errors are those of effective_price.
SELECT throws_ok(format('SELECT * FROM customer_groups.explain_discount(%s)', arguments), state, NULL, name)
FROM (VALUES ('987, 1', '02000', 'an unknown customer'), ('1, 987', '02000', 'an unknown item'), ('1, 1, 987', '02000', 'an unknown store'),
             ('1, 1, NULL, 0', '22023', 'quantity 0'), ('1, 1, NULL, NULL', '22004', 'a null quantity'),
             ('1, 1, NULL, 1, -1', '22023', 'a negative order value'), ('1, 2, 2', '22023', 'no price there'),
             ('1, 1, NULL, 1, NULL, NULL', '22004', 'a null time')) AS x (arguments, state, name);

-- On random questions: what is applied is what effective_price says, and what each took adds up; one that is beaten
-- would have given no lower price.
SELECT setseed(0.3) \g /dev/null
CREATE TEMPORARY TABLE answers (shop int, question int, price numeric, discount numeric, promotion_ids int[],
    applied int[], taken numeric, beaten_by_more boolean, verdicts text[], others int);
CREATE FUNCTION pg_temp.ask(shop int) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM customer_groups.promotions;
    INSERT INTO customer_groups.promotions (id, code, name, kind, value, level, combinable, stage, priority, min_quantity,
        min_order_value, max_discount, groups_only, active)
    SELECT n, 'p' || n, 'p', (ARRAY['percent', 'amount', 'fixed_price'])[1 + n % 3],
        round((random() * CASE WHEN n % 3 = 2 THEN 100 ELSE 15 END)::numeric, 3),
        CASE WHEN n = 12 THEN 'order' ELSE 'item' END, random() < 0.5, floor(random() * 2), floor(random() * 3),
        CASE WHEN random() < 0.2 THEN 2 END, CASE WHEN random() < 0.2 THEN 100 END,
        CASE WHEN random() < 0.2 THEN round((random() * 5)::numeric, 3) END, random() < 0.3, random() < 0.9
    FROM generate_series(1, 16) n;
    INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) SELECT n, 1 + n % 7 FROM generate_series(1, 16) n;
    INSERT INTO answers
    SELECT shop, q.n, e.price, e.discount, e.promotion_ids, x.*
    FROM (SELECT n, nullif(n % 3, 0)::bigint AS customer, 1 + n % 2 AS item, 1 + n % 3 AS quantity,
              CASE WHEN n % 5 > 1 THEN n * 10 END AS order_value FROM generate_series(1, 20) n) AS q,
        customer_groups.effective_price(q.customer, q.item, NULL, q.quantity, q.order_value, '2024-06-15 12:00+00') AS e,
        LATERAL (
            SELECT coalesce(array_agg(d.promotion_id ORDER BY p.stage, p.priority, d.promotion_id)
                            FILTER (WHERE d.verdict = 'applied'), '{}'),
                coalesce(sum(d.discount) FILTER (WHERE d.verdict = 'applied'), 0),
                bool_or(d.verdict = 'beaten' AND NOT p.combinable AND d.discount > s.taken),
                array_agg(DISTINCT d.verdict), 16 - count(*)::int
            FROM customer_groups.explain_discount(q.customer, q.item, NULL, q.quantity, q.order_value, '2024-06-15 12:00+00') AS d
            JOIN customer_groups.promotions AS p ON p.id = d.promotion_id,
            LATERAL (SELECT sum(o.discount) AS taken
                     FROM customer_groups.explain_discount(q.customer, q.item, NULL, q.quantity, q.order_value, '2024-06-15 12:00+00') AS o
                     JOIN customer_groups.promotions AS r ON r.id = o.promotion_id
                     WHERE o.verdict = 'applied' AND r.stage = p.stage) AS s) AS x;
END
$$;
SELECT pg_temp.ask(n) FROM generate_series(1, 20) n \g /dev/null
SELECT is((SELECT count(*) FROM answers), 400::bigint, '400 questions');
SELECT cmp_ok((SELECT count(*) FROM answers WHERE cardinality(applied) > 1), '>', 100::bigint, 'many with several promotions');
SELECT is_empty('SELECT * FROM answers WHERE applied <> promotion_ids', 'applied are those of effective_price');
SELECT is_empty('SELECT * FROM answers WHERE taken <> discount', 'what they took is the discount');
SELECT is_empty('SELECT * FROM answers WHERE beaten_by_more', 'the best of its stage has won');
SELECT is_empty('SELECT * FROM answers WHERE others <> 0', 'nothing that covers the item is left out');

SELECT * FROM finish();
ROLLBACK;
