-- promotion_use: adds up what was recorded with sales and refunds, by day and group, and equals a count by hand.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

INSERT INTO customer_groups.settings (timezone) VALUES ('UTC');
INSERT INTO customer_groups.stores (id, code, name, currency, timezone) VALUES (900001, 'seoul', 'Seoul', 'KRW', 'Asia/Seoul');
INSERT INTO customer_groups.customers (id, name) SELECT 900000 + i, 'Customer ' || i FROM generate_series(1, 6) AS i;
INSERT INTO customer_groups.items (id, name, price) VALUES (900001, 'Lamp', 10), (900002, 'Cup', 5.55);
INSERT INTO customer_groups.store_prices (item_id, store_id, price) VALUES (900001, 900001, 12999), (900002, 900001, 7001);
INSERT INTO customer_groups.groups (id, code, name, starts_on) VALUES (900001, 'b2b', 'Business', '2020-01-01'), (900002, 'club', 'Club', '2020-01-01');
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900001), (900002, 900002), (900003, 900001), (900003, 900002);
INSERT INTO customer_groups.promotions (id, code, name, kind, value, stage, groups_only) VALUES
    (900001, 'ten', 'Ten', 'percent', 10, 0, true), (900002, 'five', 'Five', 'percent', 5, 1, false), (900003, 'unused', 'Unused', 'percent', 1, 0, true);
INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (900001, 900001), (900001, 900002);
INSERT INTO customer_groups.promotion_items (promotion_id, item_id) VALUES (900002, 900002);

-- The use of a promotion as text.
CREATE FUNCTION pg_temp.use(code text) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s: %s sales, %s units, %s off, %s net', day, coalesce(group_code, '-'), sales, trim_scale(units), trim_scale(discount), trim_scale(net_sales)),
        '; ' ORDER BY day, group_code)
    FROM customer_groups.promotion_use AS u WHERE u.promotion_code = use.code
$$;
SELECT is(pg_temp.use('ten'), NULL, 'not used yet');
SELECT sale_id FROM customer_groups.record_sale(900001, '[{"item": 900001, "quantity": 2}, {"item": 900002}]', at => '2026-01-01 23:00Z') \gset
SELECT is(pg_temp.use('ten'), '2026-01-01 b2b: 1 sales, 3 units, 2.55 off, 22.75 net', 'one sale of two lines, through a group');
SELECT is(pg_temp.use('five'), '2026-01-01 -: 1 sales, 1 units, 0.25 off, 4.75 net', 'what is open to all');
SELECT customer_groups.record_sale(900002, '[{"item": 900001}]', at => '2026-01-01 01:00Z'), customer_groups.record_sale(900003, '[{"item": 900001}]', at => '2026-01-01 01:00Z'),
    customer_groups.record_sale(900004, '[{"item": 900001}]', at => '2026-01-01 01:00Z'), customer_groups.record_sale(900003, '[{"item": 900001}]', 900001, '2026-01-01 23:00Z', rate => 0.001) \g /dev/null
SELECT is(pg_temp.use('ten'),
    '2026-01-01 b2b: 2 sales, 4 units, 3.55 off, 31.75 net; 2026-01-01 club: 1 sales, 1 units, 1 off, 9 net; 2026-01-02 b2b: 1 sales, 1 units, 1.3 off, 11.699 net',
    'each group, each use in one of them; the day of the store, and its money at the rate of the sale');
SELECT customer_groups.record_refund(900001, :sale_id, '[{"item": 900001}]', '2026-01-05 12:00Z') \g /dev/null
SELECT is(pg_temp.use('ten'),
    '2026-01-01 b2b: 2 sales, 4 units, 3.55 off, 31.75 net; 2026-01-01 club: 1 sales, 1 units, 1 off, 9 net; 2026-01-02 b2b: 1 sales, 1 units, 1.3 off, 11.699 net; 2026-01-05 b2b: 0 sales, -1 units, -1 off, -9 net',
    'a refund on its own day');
DELETE FROM customer_groups.members;
UPDATE customer_groups.groups SET code = 'business' WHERE id = 900001;
SELECT customer_groups.delete_group('club') \g /dev/null
SELECT is(pg_temp.use('ten'),
    '2026-01-01 business: 2 sales, 4 units, 3.55 off, 31.75 net; 2026-01-01 -: 1 sales, 1 units, 1 off, 9 net; 2026-01-02 business: 1 sales, 1 units, 1.3 off, 11.699 net; 2026-01-05 business: 0 sales, -1 units, -1 off, -9 net',
    'what members and groups became later changes nothing but names');
SELECT is((SELECT group_id FROM customer_groups.promotion_use WHERE promotion_code = 'ten' AND group_code IS NULL), 900002, 'a deleted group keeps its number');
SELECT is_empty($$SELECT * FROM customer_groups.promotion_use WHERE promotion_code = 'unused'$$, 'nothing of a promotion that was not used');

-- Random sales and refunds, against counters that are kept beside them.
-- The discount of a line is counted with its first promotion.
CREATE TEMPORARY TABLE counted (promotion_id int, day date, sales int, units numeric, discount numeric, net_sales numeric);
CREATE FUNCTION pg_temp.sell_at_random(n int) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    cart jsonb;
    at timestamptz;
    line record;
    sale record;
    in_seoul boolean;
BEGIN
    PERFORM setseed(0.3);
    FOR i IN 1 .. n LOOP
        in_seoul := random() < 0.3;
        at := timestamptz '2026-03-01Z' + random() * interval '3 days';
        SELECT jsonb_agg(jsonb_build_object('item', 900001 + (random() < 0.5)::int, 'quantity', round((random() * 3)::numeric, 1) + 0.1)) INTO cart
        FROM generate_series(0, (random() * 3)::int);
        FOR line IN SELECT * FROM customer_groups.price_cart(900005, cart, CASE WHEN in_seoul THEN 900001 END, at) LOOP
            INSERT INTO counted
            SELECT p, (at AT TIME ZONE CASE WHEN in_seoul THEN 'Asia/Seoul' ELSE 'UTC' END)::date, 0, line.quantity,
                CASE p WHEN line.promotion_ids[1] THEN line.discount ELSE 0 END * CASE WHEN in_seoul THEN 0.0007 ELSE 1 END, line.total * CASE WHEN in_seoul THEN 0.0007 ELSE 1 END
            FROM unnest(line.promotion_ids) AS p;
        END LOOP;
        INSERT INTO counted
        SELECT DISTINCT p, (at AT TIME ZONE CASE WHEN in_seoul THEN 'Asia/Seoul' ELSE 'UTC' END)::date, 1, 0, 0, 0
        FROM customer_groups.price_cart(900005, cart, CASE WHEN in_seoul THEN 900001 END, at) AS c, unnest(c.promotion_ids) AS p;
        SELECT * INTO sale FROM customer_groups.record_sale(900005, cart, CASE WHEN in_seoul THEN 900001 END, at, rate => CASE WHEN in_seoul THEN 0.0007 END);
        IF random() < 0.2 THEN
            -- What is given back on the same day was not there, but for the sale.
            PERFORM customer_groups.record_refund(900005, sale.sale_id, at => at);
            INSERT INTO counted
            SELECT p, (at AT TIME ZONE CASE WHEN in_seoul THEN 'Asia/Seoul' ELSE 'UTC' END)::date, 0, - c.quantity,
                - CASE p WHEN c.promotion_ids[1] THEN c.discount ELSE 0 END * CASE WHEN in_seoul THEN 0.0007 ELSE 1 END, - c.total * CASE WHEN in_seoul THEN 0.0007 ELSE 1 END
            FROM customer_groups.price_cart(900005, cart, CASE WHEN in_seoul THEN 900001 END, at) AS c, unnest(c.promotion_ids) AS p;
        END IF;
    END LOOP;
END
$$;
SELECT customer_groups.add_member(900005, 'business') \g /dev/null
SELECT pg_temp.sell_at_random(150) \g /dev/null
SELECT set_eq(
    $$SELECT promotion_id, day, sales, units, net_sales FROM customer_groups.promotion_use WHERE day >= '2026-03-01'$$,
    $$SELECT promotion_id, day, sum(sales) AS sales, sum(units) AS units, sum(net_sales) AS net_sales FROM counted GROUP BY 1, 2$$,
    'random sales and refunds');
SELECT set_eq(
    $$SELECT day, sum(discount) AS discount FROM customer_groups.promotion_use WHERE day >= '2026-03-01' GROUP BY 1$$,
    'SELECT day, sum(discount) AS discount FROM counted GROUP BY 1', 'the promotions together took off what the carts say');
SELECT cmp_ok((SELECT count(*)::int FROM counted), '>', 150, 'of which there are many');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

SELECT * FROM finish();
ROLLBACK;
