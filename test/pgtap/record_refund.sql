-- record_refund: parts give back exactly what was paid, never more than was sold, and a retry counts once.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
\ir groups_refused.psql

INSERT INTO customer_groups.stores (id, code, name, currency) VALUES (900001, 'north', 'North', 'USD'), (900002, 'seoul', 'Seoul', 'KRW');
INSERT INTO customer_groups.customers (id, name) SELECT 900000 + i, 'Customer ' || i FROM generate_series(1, 9) AS i;
INSERT INTO customer_groups.items (id, external_id, name, price) VALUES
    (900001, 'lamp', 'Lamp', 10), (900002, 'tea', 'Tea', 12.34), (900003, 'bag', 'Bag', 0.335), (900004, 'pen', 'Pen', 1.99);
INSERT INTO customer_groups.store_prices (item_id, store_id, price) VALUES (900001, 900002, 12999);
INSERT INTO customer_groups.promotions (id, code, name, kind, value, stage, level) VALUES
    (900001, 'third', 'Third', 'percent', 33.333, 0, 'item'), (900002, 'order', 'Order', 'amount', 1, 0, 'order');
INSERT INTO customer_groups.promotion_items VALUES (900001, 900001), (900001, 900003);
INSERT INTO customer_groups.groups (id, code, name, starts_on) VALUES (900001, 'b2b', 'Business', '2020-01-01');
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900001);
INSERT INTO customer_groups.promotion_groups VALUES (900002, 900001);

CREATE FUNCTION pg_temp.counts() RETURNS text
    LANGUAGE sql AS $$
    SELECT format('%s sales, %s lines, %s shares', (SELECT count(*) FROM customer_groups.sales),
        (SELECT count(*) FROM customer_groups.sale_lines), (SELECT count(*) FROM customer_groups.sale_line_promotions))
$$;
CREATE FUNCTION pg_temp.lines_of(sale bigint) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(format('%s: %s x %s', line_no, trim_scale(quantity), total), ', ' ORDER BY line_no) FROM customer_groups.sale_lines WHERE sale_id = sale
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- One sale in parts
-- ---------------------------------------------------------------------------------------------------------------

SELECT sale_id, total FROM customer_groups.record_sale(900001, '[{"item": 900001, "quantity": 3}, {"item": 900004, "quantity": 2}, {"item": 900001, "quantity": 1}]',
    900001, '2026-01-01 10:00Z', 'sale-1') \gset
SELECT is(pg_temp.lines_of(:sale_id), '1: 3 x 19.36, 2: 2 x 3.85, 3: 1 x 6.45', 'a sale, with 1 off the order');
SELECT sale_id, total, repeated FROM customer_groups.record_refund(900001, :sale_id, '[{"item": 900001}]', '2026-01-02 10:00Z', 'back-1') \gset r1_
SELECT is(:r1_total::numeric, -6.45, 'one of three: a third of what was paid for them, to the minor unit');
SELECT is(pg_temp.lines_of(:r1_sale_id), '1: 1 x 6.45', 'in the place of the line that it takes back');
SELECT is((SELECT (store_id, kind, amount, rate, sold_at AT TIME ZONE 'UTC', external_id, refund_of = :sale_id)::text FROM customer_groups.sales WHERE id = :r1_sale_id),
    '(900001,refund,-6.45,,"2026-01-02 10:00:00",back-1,t)', 'the refund');
SELECT is((SELECT (visits, refunds, net_sales)::text FROM customer_groups.customer_facts WHERE customer_id = 900001), format('(1,1,%s)', :total - 6.45), 'it is booked');
SELECT is((SELECT r::text FROM customer_groups.record_refund(900001, :sale_id, '[{"item": 900001, "quantity": 1.0}]', external_id => 'back-1') AS r),
    format('(%s,-6.45,t)', :r1_sale_id), 'a retry gives the first one');
SELECT sale_id, total FROM customer_groups.record_refund(900001, :sale_id, '[{"item": 900004, "quantity": 0.5}, {"item": 900001}, {"item": 900001, "quantity": 1.5}]') \gset r2_
SELECT is(pg_temp.lines_of(:r2_sale_id), '1: 2 x 12.91, 2: 0.5 x 0.96, 3: 0.5 x 3.23', 'an item on two lines: the first one first');
SELECT sale_id, total, repeated FROM customer_groups.record_refund(900001, :sale_id, external_id => 'back-3') \gset r3_
SELECT is(pg_temp.lines_of(:r3_sale_id), '2: 1.5 x 2.89, 3: 0.5 x 3.22', 'all that is left');
SELECT is(:total + :r1_total + :r2_total + :r3_total, 0.00, 'the parts give back what was paid');
SELECT is((SELECT (visits, refunds, net_sales)::text FROM customer_groups.customer_facts WHERE customer_id = 900001), '(1,3,0.00)', 'and so do the facts');
SELECT is((SELECT r::text FROM customer_groups.record_refund(900001, :sale_id, external_id => 'back-3') AS r), format('(%s,%s,t)', :r3_sale_id, :r3_total), 'a retry of the rest');
SELECT is((SELECT r::text FROM customer_groups.record_refund(900001, :sale_id, '[{"item": 900001, "quantity": 0.5}, {"item": 900004, "quantity": 1.5}]', external_id => 'back-3') AS r),
    format('(%s,%s,t)', :r3_sale_id, :r3_total), 'the same quantities by name');
SELECT is_empty('SELECT * FROM customer_groups.line_refunds WHERE quantity <> refunded_quantity OR discount <> refunded_discount OR total <> refunded_total', 'each line is back');
SELECT is_empty($$SELECT promotion_id, sum(CASE s.kind WHEN 'refund' THEN -1 ELSE 1 END * p.discount) FROM customer_groups.sale_line_promotions AS p
    JOIN customer_groups.sales AS s ON s.id = p.sale_id GROUP BY 1 HAVING sum(CASE s.kind WHEN 'refund' THEN -1 ELSE 1 END * p.discount) <> 0$$, 'and each promotion''s share');
SELECT set_eq($$SELECT DISTINCT p.promotion_id, p.group_id FROM customer_groups.sale_line_promotions AS p JOIN customer_groups.sales AS s ON s.id = p.sale_id WHERE s.kind = 'refund'$$,
    'VALUES (900001, NULL), (900002, 900001)', 'with its group');

-- ---------------------------------------------------------------------------------------------------------------
-- What is refused
-- ---------------------------------------------------------------------------------------------------------------

SELECT sale_id AS other_id FROM customer_groups.record_sale(900001, '[{"item": 900001, "quantity": 3}, {"item": 900002}]', external_id => 'sale-2') \gset
SELECT customer_groups.record_refund(900001, :other_id, '[{"item": 900001, "quantity": 2}]', external_id => 'back-4') \g /dev/null
SELECT sale_id AS bens_id FROM customer_groups.record_sale(900002, '[{"item": 900001}]') \gset
SELECT pg_temp.counts() AS before \gset
SELECT pg_temp.refused(format('SELECT customer_groups.record_refund(%s)', arguments), state, named, 'refused: ' || description)
FROM (VALUES
    (format('900001, %s', :sale_id), '22023', 'completely', 'nothing left'),
    (format('900001, %s, ''[{"item": 900001}]''', :sale_id), '22023', 'has 4, of which 4', 'nothing left of an item'),
    (format('900001, %s, ''[{"item": 900001, "quantity": 1.001}]''', :other_id), '22023', '3, of which 2 were refunded; 1.001', 'more than is left'),
    (format('900001, %s, ''[{"item": 900001}, {"item": 900001, "quantity": 0.5}]''', :other_id), '22023', '1.5', 'more than is left in two lines'),
    (format('900001, %s, ''[{"item": 900002}, {"item": 900004}]''', :other_id), '22023', 'Of item 900004', 'an item that was not sold'),
    (format('900001, %s, ''[{"item": 999999}]''', :other_id), '22023', '999999', 'an item that there is not'),
    (format('900001, %s, ''[]''', :other_id), '22023', NULL, 'no line'),
    (format('900001, %s, ''[{"item": 900002, "quantity": -1}]''', :other_id), '22023', NULL, 'a negative quantity'),
    (format('900001, %s', :bens_id), '02000', 'Customer 900001', 'a sale of another customer'),
    ('900001, 999999999', '02000', '999999999', 'an unknown sale'),
    (format('900099, %s', :sale_id), '02000', '900099', 'an unknown customer'),
    (format('NULL, %s', :sale_id), '22004', NULL, 'a null customer'),
    ('900001, NULL', '22004', NULL, 'a null sale'),
    (format('900001, %s, at => NULL', :other_id), '22004', NULL, 'no time'),
    (format('900001, %s, at => ''infinity''', :other_id), '22023', 'infinity', 'the end of time'),
    (format('900001, %s', :r1_sale_id), '22023', 'is a refund', 'a refund of a refund'),
    (format('900001, %s, external_id => ''sale-2''', :other_id), '22023', 'no refund', 'the key of a sale'),
    (format('900001, %s, external_id => ''back-3''', :other_id), '22023', 'is of sale', 'the key of the refund of another sale'),
    (format('900001, %s, external_id => ''back-4''', :other_id), '22023', 'other items', 'the key of a part for the rest'),
    (format('900001, %s, ''[{"item": 900001, "quantity": 1}]'', external_id => ''back-4''', :other_id), '22023', 'other items', 'the key of another quantity'),
    (format('900001, %s, ''[{"item": 900002, "quantity": 1}]'', external_id => ''back-4''', :other_id), '22023', 'other items', 'the key of another item')
) AS c (arguments, state, named, description);
SELECT is(pg_temp.counts(), :'before', 'nothing is left of what was refused');
SELECT throws_ok(format('DELETE FROM customer_groups.sales WHERE id = %s', :other_id), '23503', NULL, 'a sale is not deleted without its refunds');
SELECT lives_ok(format('DELETE FROM customer_groups.sales WHERE %s IN (id, refund_of)', :other_id), 'but with them');
SELECT throws_ok(format('INSERT INTO customer_groups.sales (customer_id, kind, amount, refund_of) VALUES (900001, ''refund'', -1, %s)', :bens_id), '23503', NULL, 'nor is one of another customer referred to');
SELECT throws_ok(format('INSERT INTO customer_groups.sales (customer_id, amount, refund_of) VALUES (900001, 1, %s)', :sale_id), '23514', NULL, 'or by what is no refund');

-- ---------------------------------------------------------------------------------------------------------------
-- Sales of all kinds
-- ---------------------------------------------------------------------------------------------------------------

SELECT sale_id FROM customer_groups.record_sale(900003, '[{"item": 900001, "quantity": 3}]', 900002, rate => 0.00072, kind => 'pass') \gset
SELECT is((SELECT total FROM customer_groups.record_refund(900003, :sale_id, '[{"item": 900001}]')), -8666::numeric, 'in another currency, to its minor unit');
SELECT customer_groups.record_refund(900003, :sale_id) \g /dev/null
SELECT is((SELECT (pass_purchases, refunds, trim_scale(net_sales))::text FROM customer_groups.customer_facts WHERE customer_id = 900003), '(1,2,0)', 'and at the rate of the sale');

INSERT INTO customer_groups.sales (customer_id, id, amount) VALUES (900003, 990001, 25), (900003, 990002, 0), (900003, 990003, 110), (900003, 990004, 7);
INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price, discount) VALUES
    (900003, 990002, 1, 900001, 2, 10, 0), (900003, 990003, 1, 900001, 10, 10, 0), (900003, 990003, 2, 900004, 0, 1.99, 0), (900003, 990004, 5, 900001, 3, 3, 2);
SELECT pg_temp.refused('SELECT customer_groups.record_refund(900003, 990001, ''[{"item": 900001}]'')', '22023', '900001', 'no item of a sale without lines');
SELECT is((SELECT total FROM customer_groups.record_refund(900003, 990001)), -25::numeric, 'all of it');
SELECT pg_temp.refused('SELECT customer_groups.record_refund(900003, 990001)', '22023', 'completely', 'once');
SELECT pg_temp.refused('SELECT customer_groups.record_refund(900003, 990002, ''[{"item": 900001}]'')', '22023', '10', 'no money for what was not paid');
SELECT is((SELECT total FROM customer_groups.record_refund(900003, 990002)), 0::numeric, 'a sale that was paid before is given back without money');
SELECT is((SELECT total FROM customer_groups.record_refund(900003, 990003, '[{"item": 900001, "quantity": 4}]')), -40::numeric, 'a part of a sale with more than its lines');
SELECT is((SELECT total FROM customer_groups.record_refund(900003, 990003)), -70::numeric, 'the rest with what is beside them');
SELECT is((SELECT total FROM customer_groups.record_refund(900003, 990004, '[{"item": 900001}]')), -2.33, 'lines without totals');
SELECT is((SELECT (quantity, discount, total)::text FROM customer_groups.sale_lines WHERE sale_id = (SELECT id FROM customer_groups.sales WHERE refund_of = 990004)),
    '(1,0.67,2.33)', 'whose discount no promotion gave');
SELECT is((SELECT total FROM customer_groups.record_refund(900003, 990004)), -4.67, 'add up as well');
-- A refund by hand.
INSERT INTO customer_groups.sales (customer_id, id, amount) VALUES (900003, 990005, 30);
INSERT INTO customer_groups.sales (customer_id, kind, amount, refund_of) VALUES (900003, 'refund', -10, 990005);
SELECT is((SELECT total FROM customer_groups.record_refund(900003, 990005)), -20::numeric, 'what was refunded by hand counts');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

-- ---------------------------------------------------------------------------------------------------------------
-- Random carts in random parts
-- ---------------------------------------------------------------------------------------------------------------

CREATE TEMPORARY TABLE differences (difference text);
CREATE FUNCTION pg_temp.refund_at_random(n int) RETURNS int
    LANGUAGE plpgsql AS $$
DECLARE
    sale record;
    refund record;
    wanted record;
    refunds int := 0;
BEGIN
    PERFORM setseed(0.6);
    FOR i IN 1 .. n LOOP
        SELECT * INTO sale FROM customer_groups.record_sale(900009,
            (SELECT jsonb_agg(jsonb_build_object('item', 900001 + (random() * 3)::int, 'quantity', round((random() * 4)::numeric, (random() * 3)::int) + 0.001))
             FROM generate_series(0, (random() * 5)::int)), 900001);
        LOOP
            -- A part of an item of which something is left.
            SELECT l.item_id, sum(l.quantity - l.refunded_quantity) AS rest, least(sum(l.quantity - l.refunded_quantity), round((random() * 2)::numeric, (random() * 3)::int) + 0.001) AS quantity
            INTO wanted FROM customer_groups.line_refunds AS l
            WHERE l.customer_id = 900009 AND l.sale_id = sale.sale_id AND l.refunded_quantity < l.quantity
            GROUP BY l.item_id ORDER BY random() LIMIT 1;
            EXIT WHEN NOT FOUND;
            IF random() < 0.1 THEN
                SELECT * INTO refund FROM customer_groups.record_refund(900009, sale.sale_id);
            ELSE
                SELECT * INTO refund FROM customer_groups.record_refund(900009, sale.sale_id, jsonb_build_array(jsonb_build_object('item', wanted.item_id, 'quantity', wanted.quantity)));
            END IF;
            refunds := refunds + 1;
            -- Each line has given back its part so far, rounded, and what it is made of as well.
            INSERT INTO differences
            SELECT format('sale %s, line %s after refund %s: %s of %s, total %s of %s', sale.sale_id, l.line_no, refund.sale_id, l.refunded_quantity, l.quantity, l.refunded_total, l.total)
            FROM customer_groups.line_refunds AS l
            WHERE l.customer_id = 900009 AND l.sale_id = sale.sale_id
                AND (l.refunded_total <> round(l.total * l.refunded_quantity / l.quantity, 2)
                     OR l.refunded_discount <> (
                        SELECT coalesce(sum(round(p.discount * l.refunded_quantity / l.quantity, 2)), 0) FROM customer_groups.sale_line_promotions AS p
                        WHERE p.customer_id = 900009 AND p.sale_id = sale.sale_id AND p.line_no = l.line_no));
        END LOOP;
        INSERT INTO differences
        SELECT format('sale %s of %s', s.id, s.amount) FROM customer_groups.sales AS s
        WHERE s.customer_id = 900009 AND s.id = sale.sale_id
            AND s.amount <> - (SELECT sum(r.amount) FROM customer_groups.sales AS r WHERE r.customer_id = 900009 AND r.refund_of = s.id);
    END LOOP;
    RETURN refunds;
END
$$;
SELECT cmp_ok(pg_temp.refund_at_random(60), '>', 300, 'random refunds');
SELECT is_empty('SELECT * FROM differences', 'each part is the rounded share of its line, and all parts make up the whole');
SELECT is((SELECT sum(amount) FROM customer_groups.sales WHERE customer_id = 900009), 0.00, 'nothing is left of the customer''s sales');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

-- Lines given back do not count as bought.
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('lamps', 'Lamps', 'bought ITEM ''lamp'' >= 3');
SELECT sale_id FROM customer_groups.record_sale(900008, '[{"item": 900001, "quantity": 2}]') \gset
SELECT customer_groups.record_refund(900008, :sale_id) \g /dev/null
SELECT ok(NOT customer_groups.in_segment(900008, 'lamps'), 'two bought and given back are not four');
SELECT customer_groups.record_sale(900008, '[{"item": 900001}]') \g /dev/null
SELECT ok(customer_groups.in_segment(900008, 'lamps'), 'nor are they taken away');

-- What check_integrity finds after a statement, which is undone.
CREATE FUNCTION pg_temp.problems_after(statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    EXECUTE statement;
    SELECT string_agg(DISTINCT problem, ', ' ORDER BY problem) INTO found FROM customer_groups.check_integrity();
    RAISE EXCEPTION 'undone' USING ERRCODE = 'ZZ001';
EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
    RETURN found;
END
$$;
SELECT is(pg_temp.problems_after('INSERT INTO customer_groups.sales (customer_id, kind, amount, refund_of) VALUES (900003, ''refund'', -0.01, 990005)'),
    'more refunded than was paid', 'found: too much money');
SELECT is(pg_temp.problems_after('INSERT INTO customer_groups.sales (customer_id, kind, id, amount, refund_of) VALUES (900003, ''refund'', 990009, 0, 990004);
    INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) VALUES (900003, 990009, 5, 900001, 1, 0)'),
    'more of a line refunded than was sold', 'found: too many');
SELECT is(pg_temp.problems_after('INSERT INTO customer_groups.sales (customer_id, kind, id, amount, refund_of) VALUES (900003, ''refund'', 990009, 0, 990005);
    INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) VALUES (900003, 990009, 1, 900002, 0, 0)'),
    'refund of a line that was not sold', 'found: a line that was not sold');
SELECT is(pg_temp.problems_after('UPDATE customer_groups.sales SET refund_of = (SELECT max(id) FROM customer_groups.sales WHERE refund_of = 990005) WHERE customer_id = 900003 AND refund_of = 990001'),
    'more refunded than was paid, refund of what is no sale', 'found: a refund of a refund');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'undone, all is well');

SELECT * FROM finish();
ROLLBACK;
