-- record_sale: what it writes is what price_cart says, it is booked, a retry counts once, and what fails leaves nothing.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
\ir groups_refused.psql

INSERT INTO customer_groups.stores (id, code, name, currency, timezone)
VALUES (900001, 'north', 'North', 'USD', 'UTC'), (900002, 'seoul', 'Seoul', 'KRW', 'Asia/Seoul');
INSERT INTO customer_groups.customers (id, external_id, name)
SELECT 900000 + i, 'c-' || i, 'Customer ' || i FROM generate_series(1, 5) AS i;
INSERT INTO customer_groups.groups (id, code, name) VALUES (900001, 'b2b', 'Business'), (900002, 'club', 'Club');
INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold) VALUES (900003, 'gold', 'Gold', 100);
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900001), (900001, 900002), (900002, 900002);
INSERT INTO customer_groups.items (id, external_id, name, price) VALUES
    (900001, 'lamp', 'Lamp', 10.05), (900002, 'tea', 'Tea', 12.34), (900003, 'bag', 'Bag', 0.10), (900004, 'far', 'Far', NULL);
INSERT INTO customer_groups.store_prices (item_id, store_id, price) VALUES (900001, 900002, 12000);
-- On everything for the groups, a second stage for all, the order, and one for a segment.
INSERT INTO customer_groups.segments (id, code, name, rule) VALUES (900001, 'fresh', 'Fresh', 'visits = 0');
INSERT INTO customer_groups.promotions (id, code, name, kind, value, groups_only, stage, level, min_order_value) VALUES
    (900001, 'ten', 'Ten', 'percent', 10, true, 0, 'item', NULL),
    (900002, 'three', 'Three', 'percent', 3, false, 1, 'item', NULL),
    (900003, 'order', 'Order', 'amount', 2.5, false, 0, 'order', 15),
    (900004, 'hello', 'Hello', 'percent', 50, true, 2, 'item', NULL);
INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (900001, 900002), (900001, 900001);
INSERT INTO customer_groups.promotion_segments (promotion_id, segment_id) VALUES (900004, 900001);

-- A recorded sale as price_cart shows a cart.
CREATE FUNCTION pg_temp.recorded(sale bigint) RETURNS TABLE (line_no int, item_id bigint, quantity numeric, list_price numeric, discount numeric, total numeric, promotion_ids int[])
    LANGUAGE sql AS $$
    SELECT l.line_no, l.item_id, l.quantity, l.unit_price, l.discount, l.total,
        ARRAY(SELECT p.promotion_id FROM customer_groups.sale_line_promotions AS p
              WHERE p.customer_id = l.customer_id AND p.sale_id = l.sale_id AND p.line_no = l.line_no ORDER BY p.promotion_id)
    FROM customer_groups.sale_lines AS l WHERE l.sale_id = sale
$$;
CREATE FUNCTION pg_temp.counts() RETURNS text
    LANGUAGE sql AS $$
    SELECT format('%s sales, %s lines, %s shares, %s events', (SELECT count(*) FROM customer_groups.sales),
        (SELECT count(*) FROM customer_groups.sale_lines), (SELECT count(*) FROM customer_groups.sale_line_promotions),
        (SELECT count(*) FROM customer_groups.events))
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- What is recorded
-- ---------------------------------------------------------------------------------------------------------------

\set cart '[{"item": 900001, "quantity": 3}, {"item": 900002, "quantity": 0.350}, {"item": 900001}, {"item": 900003, "quantity": 7}]'
CREATE TEMPORARY TABLE priced AS SELECT * FROM customer_groups.price_cart(900001, :'cart', 900001);
SELECT sale_id, total, repeated FROM customer_groups.record_sale(900001, :'cart', 900001, external_id => 'k1') \gset first_
SELECT ok(NOT :'first_repeated', 'a new sale');
SELECT is(:first_total::numeric, (SELECT sum(total) FROM priced), 'its total is the cart''s');
SELECT set_eq(format('SELECT * FROM pg_temp.recorded(%s)', :first_sale_id),
    'SELECT line_no, item_id, quantity, list_price, discount, total, ARRAY(SELECT unnest(promotion_ids) ORDER BY 1) FROM priced', 'its lines are the cart''s');
SELECT is_empty(
    $$SELECT l.*, s.sum FROM customer_groups.sale_lines AS l
      LEFT JOIN (SELECT sale_id, line_no, sum(discount), min(discount) AS least FROM customer_groups.sale_line_promotions GROUP BY 1, 2) AS s USING (sale_id, line_no)
      WHERE l.discount <> coalesce(s.sum, 0) OR s.least < 0$$, 'the promotions'' shares make up the discount of each line');
SELECT ok((SELECT count(DISTINCT promotion_id) = 4 FROM customer_groups.sale_line_promotions), 'all four promotions took part');
SELECT is((SELECT (customer_id, store_id, kind, amount, rate, sold_at = now(), external_id, refund_of)::text FROM customer_groups.sales WHERE id = :first_sale_id),
    format('(900001,900001,product,%s,,t,k1,)', :first_total), 'the sale');
SELECT is((SELECT (visits, net_sales)::text FROM customer_groups.customer_facts WHERE customer_id = 900001), format('(1,%s)', :first_total), 'it is booked');
SELECT set_eq('SELECT DISTINCT promotion_id, group_id FROM customer_groups.sale_line_promotions',
    'VALUES (900001, 900001), (900002, NULL), (900003, NULL), (900004, NULL)', 'with the lowest of the groups through which the customer had it');
SELECT is((SELECT DISTINCT group_id FROM customer_groups.sale_line_promotions AS p, customer_groups.record_sale(900002, '[{"item": 900001}]') AS r
           WHERE p.sale_id = r.sale_id AND promotion_id = 900001), NULL, 'not seen by the statement that records it');
SELECT is((SELECT DISTINCT group_id FROM customer_groups.sale_line_promotions WHERE customer_id = 900002 AND promotion_id = 900001), 900002, 'the other group of another customer');
SELECT ok(NOT EXISTS (SELECT FROM customer_groups.record_sale(900001, '[{"item": 900001}]') AS r
                      JOIN customer_groups.sale_line_promotions AS p USING (sale_id) WHERE promotion_id = 900004), 'a second sale');
SELECT ok(NOT EXISTS (SELECT FROM customer_groups.sale_line_promotions WHERE customer_id = 900001 AND sale_id > :first_sale_id AND promotion_id = 900004),
    'is priced by the facts after the first');
SELECT is((SELECT count(*)::int FROM customer_groups.members WHERE customer_id = 900003 AND group_id = 900003), 0, 'no tier yet');
SELECT customer_groups.record_sale(900003, '[{"item": 900001, "quantity": 100}]') \g /dev/null
SELECT is((SELECT count(*)::int FROM customer_groups.members WHERE customer_id = 900003 AND group_id = 900003), 1, 'a sale that earns one');

-- Time, kinds, currency, keys.
SELECT sale_id FROM customer_groups.record_sale(900004, '[{"item": 900001}]', at => '2026-01-02 03:04Z', kind => 'prepaid') \gset past_
SELECT is((SELECT (kind, sold_at AT TIME ZONE 'UTC', external_id)::text FROM customer_groups.sales WHERE id = :past_sale_id), '(prepaid,"2026-01-02 03:04:00",)', 'the time and kind given');
SELECT is((SELECT (visits, prepaid_purchases)::text FROM customer_groups.customer_facts WHERE customer_id = 900004), '(0,1)', 'booked as that kind');
SELECT is((SELECT r::text FROM (SELECT total, repeated FROM customer_groups.record_sale(900004, '[{"item": 900001, "quantity": 2}]', 900002, rate => 0.00072)) AS r),
    '(11640,f)', 'in another currency');
SELECT is((SELECT rate FROM customer_groups.sales WHERE customer_id = 900004 AND store_id = 900002), 0.00072, 'with its rate');
SELECT is((SELECT total FROM customer_groups.record_sale_by_key('c-5', '[{"item": "lamp", "quantity": 2}, {"item": "bag", "quantity": 1.5}]', 900001, external_id => 'k5')),
    (SELECT sum(total) FROM customer_groups.price_cart_by_key('c-5', '[{"item": "lamp", "quantity": 2}, {"item": "bag", "quantity": 1.5}]', 900001)), 'by keys');
SELECT ok((SELECT repeated FROM customer_groups.record_sale(900005, '[{"item": 900001, "quantity": 2}, {"item": 900003, "quantity": 1.50}]', 900001, external_id => 'k5')),
    'is the same as by ids');

-- ---------------------------------------------------------------------------------------------------------------
-- Retries
-- ---------------------------------------------------------------------------------------------------------------

SELECT pg_temp.counts() AS before \gset
UPDATE customer_groups.items SET price = price * 2;
DELETE FROM customer_groups.promotion_groups;
SELECT pg_temp.counts() AS before \gset
SELECT is((SELECT r::text FROM customer_groups.record_sale(900001, :'cart', 900001, external_id => 'k1') AS r),
    format('(%s,%s,t)', :first_sale_id, :first_total), 'the same key and cart: the first sale, at its price');
SELECT is((SELECT r::text FROM customer_groups.record_sale(900001, '[{"item": 900001, "quantity": 3.000}, {"item": 900002, "quantity": 0.35}, {"item": 900001, "quantity": 1}, {"item": 900003, "quantity": 7}]',
    900001, '2020-01-01', 'k1') AS r), format('(%s,%s,t)', :first_sale_id, :first_total), 'written in another way, at another time');
SELECT is(pg_temp.counts(), :'before', 'nothing was written');
SELECT pg_temp.refused(format('SELECT customer_groups.record_sale(900001, %L, %s)', lines, rest), '22023', named, 'the same key: ' || description)
FROM (VALUES
    (:'cart', '900001, external_id => ''k1'', kind => ''pass''', 'pass', 'another kind'),
    (:'cart', '900002, external_id => ''k1'', rate => 1', '900002', 'another store'),
    (:'cart', 'external_id => ''k1''', 'none', 'no store'),
    ('[{"item": 900001, "quantity": 3}, {"item": 900002, "quantity": 0.350}, {"item": 900001}]', '900001, external_id => ''k1''', '3', 'fewer lines'),
    ('[{"item": 900001, "quantity": 3}, {"item": 900002, "quantity": 0.351}, {"item": 900001}, {"item": 900003, "quantity": 7}]', '900001, external_id => ''k1''', '0.351', 'another quantity'),
    ('[{"item": 900001, "quantity": 3}, {"item": 900001}, {"item": 900002, "quantity": 0.350}, {"item": 900003, "quantity": 7}]', '900001, external_id => ''k1''', 'place 2', 'another order'),
    ('[{"item": 900001, "quantity": 3}, {"item": 900002, "quantity": 0.350}, {"item": 900001}, {"item": 900004, "quantity": 7}]', '900001, external_id => ''k1''', '900004', 'another item')
) AS c (lines, rest, named, description);
SELECT is((SELECT repeated FROM customer_groups.record_sale(900002, :'cart', 900001, external_id => 'k1')), false, 'another customer may have the same key');
INSERT INTO customer_groups.sales (customer_id, amount, external_id) VALUES (900002, 5, 'by hand');
SELECT pg_temp.refused($$ SELECT customer_groups.record_sale(900002, '[{"item": 900001}]', external_id => 'by hand') $$, '22023', '0 lines', 'a key that a sale without lines has');

-- ---------------------------------------------------------------------------------------------------------------
-- What is refused leaves nothing
-- ---------------------------------------------------------------------------------------------------------------

SELECT pg_temp.counts() AS before \gset
SELECT pg_temp.refused(format('SELECT customer_groups.record_sale(%s)', arguments), state, named, 'refused: ' || arguments)
FROM (VALUES
    ('NULL, ''[{"item": 900001}]''', '22004', NULL),
    ('900001, NULL', '22004', NULL),
    ('900001, ''[{"item": 900001}]'', at => NULL', '22004', NULL),
    ('900001, ''[{"item": 900001}]'', kind => NULL', '22004', NULL),
    ('900001, ''[]''', '22023', NULL),
    ('900001, ''{}''', '22023', NULL),
    ('900001, ''[{"item": 900001}]'', kind => ''refund''', '22023', 'refund'),
    ('900001, ''[{"item": 900001}]'', at => ''infinity''', '22023', 'infinity'),
    ('900099, ''[{"item": 900001}]''', '02000', '900099'),
    ('900001, ''[{"item": 900001}]'', 900099', '02000', '900099'),
    ('900001, ''[{"item": 900001}, {"item": 900099}]''', '02000', '900099'),
    ('900001, ''[{"item": 900001}, {"item": 900004}]''', '22023', NULL),
    ('900001, ''[{"item": 900001}, {"item": 900001, "quantity": 0}]''', '22023', NULL),
    ('900001, ''[{"item": 900001}, {"item": 900001, "count": 1}]''', '22023', 'count'),
    ('900001, ''[{"item": 900001}]'', 900002', '23514', 'KRW'),
    ('900001, ''[{"item": 900001}]'', 900001, rate => 2', '23514', '2')
) AS c (arguments, state, named);
SELECT throws_ok($$ SELECT customer_groups.record_sale(900001, '[{"item": 900001}]', external_id => ' ') $$, '23514', NULL, 'a blank key');
SELECT pg_temp.refused($$ SELECT customer_groups.record_sale_by_key('nobody', '[{"item": "lamp"}]') $$, '02000', '"nobody"', 'an unknown customer by key');
SELECT pg_temp.refused($$ SELECT customer_groups.record_sale_by_key(NULL, '[{"item": "lamp"}]') $$, '22004', NULL, 'a null one');
SELECT pg_temp.refused($$ SELECT customer_groups.record_sale_by_key('c-1', '[{"item": "lamp"}, {"item": "nothing"}]') $$, '02000', '"nothing"', 'an unknown item by key');
SELECT pg_temp.refused($$ SELECT customer_groups.record_sale_by_key('c-1', '[]') $$, '22023', NULL, 'an empty cart by key');
SELECT pg_temp.refused($$ SELECT customer_groups.add_member_by_key('nobody', 'b2b') $$, '02000', '"nobody"', 'an unknown customer to add by key');
SELECT ok(customer_groups.add_member_by_key('c-4', 'b2b', current_date + 5), 'one is added');
DELETE FROM customer_groups.members WHERE customer_id = 900004;

-- A refused line of a table, after the sale was written: all of it is undone.
ALTER TABLE customer_groups.sale_lines ADD CONSTRAINT at_most_five CHECK (quantity <= 5) NOT VALID;
SELECT pg_temp.counts() AS before \gset
SELECT throws_ok($$ SELECT customer_groups.record_sale(900001, '[{"item": 900001}, {"item": 900002, "quantity": 6}]', external_id => 'k9') $$, '23514', NULL, 'a line that the table refuses');
SELECT is(pg_temp.counts(), :'before', 'nothing is left of what was refused');
ALTER TABLE customer_groups.sale_lines DROP CONSTRAINT at_most_five;
SELECT lives_ok($$ SELECT customer_groups.record_sale(900001, '[{"item": 900001}, {"item": 900002, "quantity": 6}]', external_id => 'k9') $$, 'its key is free');

-- 10,000 lines.
INSERT INTO customer_groups.items (id, name, price) SELECT 910000 + i, 'Item', i / 100.0 FROM generate_series(1, 1000) AS i;
SELECT jsonb_agg(jsonb_build_object('item', 910001 + i % 1000, 'quantity', 1 + i % 3)) AS cart FROM generate_series(0, 9999) AS i \gset
SELECT sale_id, total FROM customer_groups.record_sale(900005, :'cart', external_id => 'large') \gset large_
SELECT is((SELECT (count(*), sum(total))::text FROM customer_groups.sale_lines WHERE sale_id = :large_sale_id), format('(10000,%s)', :large_total), 'ten thousand lines');
SELECT ok((SELECT repeated FROM customer_groups.record_sale(900005, :'cart', external_id => 'large')), 'once more');
SELECT is((SELECT total FROM customer_groups.record_refund(900005, :large_sale_id)), - :large_total::numeric, 'and back');

SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');
SELECT * FROM finish();
ROLLBACK;
