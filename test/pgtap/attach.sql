-- Attaching promotions to groups and giving a group its own discount: outcomes, prices, events, and bad input that leaves no trace.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
\ir groups_refused.psql

INSERT INTO customer_groups.customers (id, name) VALUES (900001, 'Ann'), (900002, 'Ben');
INSERT INTO customer_groups.brands (id, code, name) VALUES (900001, 'acme', 'Acme');
INSERT INTO customer_groups.categories (id, code, name, parent_id) VALUES (900001, 'shoes', 'Shoes', NULL), (900002, 'boots', 'Boots', 900001);
INSERT INTO customer_groups.items (id, name, price, brand_id) VALUES (900001, 'Lamp', 100, NULL), (900002, 'Boot', 50, NULL), (900003, 'Bag', 20, 900001);
INSERT INTO customer_groups.item_categories VALUES (900002, 900002);
INSERT INTO customer_groups.groups (id, code, name) VALUES (900001, 'b2b', 'Business'), (900002, 'club', 'Club');
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900001);
INSERT INTO customer_groups.promotions (id, code, name, kind, value, groups_only) VALUES
    (900001, 'ten', 'Ten', 'percent', 10, true), (900002, 'twenty', 'Twenty', 'percent', 20, true), (900003, 'five', 'Five', 'percent', 5, false);

CREATE FUNCTION pg_temp.attached(group_code text) RETURNS text
    LANGUAGE sql AS $$
    SELECT coalesce(string_agg(p.promotion_code, ' ' ORDER BY p.promotion_code), '')
    FROM customer_groups.group_promotions AS p WHERE p.group_code = attached.group_code
$$;
-- Discounts of the three items for Ann and for Ben.
CREATE FUNCTION pg_temp.discounts() RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(trim_scale(customer_groups.effective_discount(c, i))::text, ' ' ORDER BY c, i)
    FROM unnest(ARRAY[900001, 900002]) AS c, unnest(ARRAY[900001, 900002, 900003]) AS i
$$;

-- Attaching and detaching.
SELECT is(pg_temp.discounts(), '5 2.5 1 5 2.5 1', 'before: what is open to all');
SELECT ok(customer_groups.attach_promotion('b2b', 'ten'), 'attached');
SELECT is(pg_temp.discounts(), '10 5 2 5 2.5 1', 'the members have it');
SELECT ok(NOT customer_groups.attach_promotion('b2b', 'ten'), 'once more: not again');
SELECT is(customer_groups.attach_promotions('b2b', '{five,ten,twenty,twenty}'), 2, 'a list: those that were not attached, each once');
SELECT is(pg_temp.attached('b2b'), 'five ten twenty', 'all are');
SELECT is(pg_temp.attached('club'), '', 'to this group only');
SELECT is(customer_groups.attach_promotions('b2b', '{}'), 0, 'an empty list');
SELECT ok(customer_groups.detach_promotion('b2b', 'twenty'), 'detached');
SELECT ok(NOT customer_groups.detach_promotion('b2b', 'twenty'), 'once more: it was not attached');
SELECT is(customer_groups.detach_promotions('b2b', '{ten,ten,twenty}'), 1, 'a list: those that were');
SELECT is(pg_temp.attached('b2b'), 'five', 'the others stay');
SELECT is(pg_temp.discounts(), '5 2.5 1 5 2.5 1', 'the price of before');
SELECT is((SELECT array_agg(format('%s %s', kind, detail ->> 'promotion_code') ORDER BY id) FROM customer_groups.events WHERE group_id = 900001 AND kind LIKE 'attach%'),
    '{"attachment_added ten","attachment_added twenty","attachment_added five","attachment_removed twenty","attachment_removed ten"}', 'each is in the log');
SELECT is(customer_groups.detach_promotions('b2b', '{}'), 0, 'an empty list detaches nothing');

-- What is refused.
SELECT pg_temp.refused(format('SELECT customer_groups.%s(%s)', f, arguments), state, named, format('%s(%s)', f, arguments))
FROM unnest('{attach_promotion,attach_promotions,detach_promotion,detach_promotions}'::text[]) AS f,
    LATERAL (SELECT CASE WHEN f LIKE '%s' THEN '''{%s}''' ELSE '''%s''' END AS form) AS x,
    LATERAL (VALUES (format('''nobody'', ' || form, 'ten'), '02000', '"nobody"'), (format('''b2b'', ' || form, 'nothing'), '02000', '"nothing"'),
        (format('NULL, ' || form, 'ten'), '22004', NULL), ('''b2b'', NULL', '22004', NULL)) AS a (arguments, state, named);
SELECT pg_temp.refused($$ SELECT customer_groups.attach_promotions('b2b', '{ten,nothing}') $$, '02000', '"nothing"', 'an unknown one among others');
SELECT pg_temp.refused($$ SELECT customer_groups.attach_promotions('b2b', '{ten,NULL}') $$, '22004', NULL, 'a null one among others');
SELECT pg_temp.refused($$ SELECT customer_groups.detach_promotions('b2b', '{five,nothing}') $$, '02000', '"nothing"', 'an unknown one to detach');
SELECT is(pg_temp.attached('b2b'), 'five', 'nothing of it was done');

-- A group's own discount.
SELECT customer_groups.set_group_discount('b2b', 'percent', 30) AS all_code \gset
SELECT is((SELECT (kind, value, groups_only, level, name, active, currency)::text FROM customer_groups.promotions WHERE code = :'all_code'),
    '(percent,30,t,item,Business,t,)'::text, 'a promotion for groups only');
SELECT is(pg_temp.attached('b2b'), concat_ws(' ', :'all_code', 'five'), 'attached to the group');
SELECT is(pg_temp.discounts(), '30 15 6 5 2.5 1', 'on everything');
SELECT customer_groups.set_group_discount('b2b', 'amount', 18.5, item_ids => '{900003,900003}') AS bag_code \gset
SELECT isnt(:'bag_code'::text, :'all_code'::text, 'another one beside the first');
SELECT is(pg_temp.discounts(), '30 15 18.5 5 2.5 1', 'on an item');
SELECT customer_groups.set_group_discount('b2b', 'fixed_price', 1, category_codes => '{shoes}') \g /dev/null
SELECT is(pg_temp.discounts(), '30 49 18.5 5 2.5 1', 'on a category with all below it');
SELECT customer_groups.set_group_discount('club', 'percent', 50, brand_codes => '{acme}', item_ids => '{}', category_codes => '{}') \g /dev/null
SELECT customer_groups.add_member(900002, 'club') \g /dev/null
SELECT is(pg_temp.discounts(), '30 49 18.5 5 2.5 10', 'on a brand, with empty lists of others');
SELECT customer_groups.set_group_discount('club', 'percent', 90, 500) \g /dev/null
SELECT is(pg_temp.discounts(), '30 49 18.5 5 2.5 10', 'not without the order value');
SELECT is(trim_scale(customer_groups.effective_discount(900002, 900001, order_value => 500)), 90::numeric, 'from it on');
SELECT customer_groups.set_group_discount('club', 'percent', 95, NULL, '{900001}', '{boots}', '{acme}') \g /dev/null
SELECT is(pg_temp.discounts(), '30 49 18.5 95 47.5 19', 'on items, categories and brands together');

CREATE TEMPORARY TABLE before AS SELECT count(*) AS n, (SELECT count(*) FROM customer_groups.events) AS events FROM customer_groups.promotions;
SELECT pg_temp.refused('SELECT customer_groups.set_group_discount(' || arguments || ')', state, named, 'set_group_discount: ' || arguments)
FROM (VALUES
    ('''nobody'', ''percent'', 10', '02000', '"nobody"'),
    ('NULL, ''percent'', 10', '22004', NULL),
    ('''b2b'', NULL, 10', '22004', NULL),
    ('''b2b'', ''percent'', NULL', '22004', NULL),
    ('''b2b'', ''gift'', 10', '22023', '"gift"'),
    ('''b2b'', ''percent'', 100.01', '22023', '100.01'),
    ('''b2b'', ''percent'', -1', '22023', '-1'),
    ('''b2b'', ''amount'', ''NaN''', '22023', 'NaN'),
    ('''b2b'', ''amount'', 1e14', '22023', '100000000000000'),
    ('''b2b'', ''amount'', 1, -5', '22023', '-5'),
    ('''b2b'', ''percent'', 10, NULL, ''{900001,900077}''', '02000', '900077'),
    ('''b2b'', ''percent'', 10, NULL, ''{900001,NULL}''', '22004', NULL),
    ('''b2b'', ''percent'', 10, NULL, NULL, ''{shoes,socks}''', '02000', '"socks"'),
    ('''b2b'', ''percent'', 10, NULL, NULL, ''{NULL}''', '22004', NULL),
    ('''b2b'', ''percent'', 10, NULL, ''{900001}'', ''{shoes}'', ''{nobody}''', '02000', '"nobody"')
) AS c (arguments, state, named);
SELECT is((SELECT (n, events) FROM before), (SELECT (count(*), (SELECT count(*) FROM customer_groups.events)) FROM customer_groups.promotions),
    'nothing is left of what was refused');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

SELECT * FROM finish();
ROLLBACK;
