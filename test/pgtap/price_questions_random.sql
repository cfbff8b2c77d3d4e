-- 20,000 random questions to 50 random shops: effective_price(), effective_discount(), explain_discount() and effective_discounts() give the
-- answers of a slow and obvious reference and agree with each other; a promotion more that is not combinable never raises a price.
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

CREATE TEMPORARY TABLE questions (
    shop int, customer bigint, item bigint, store int, quantity numeric, order_value numeric, at timestamptz,
    expected_list numeric, expected_discount numeric, expected_price numeric, expected_ids int[], expected_verdicts pg_temp.verdict[],
    list numeric, discount numeric, price numeric, ids int[], discount_alone numeric, verdicts pg_temp.verdict[]);
CREATE TEMPORARY TABLE refused (shop int, item bigint, store int, road text, state text);
CREATE TEMPORARY TABLE pages (shop int, customer bigint, store int, at timestamptz, n bigint, page text, alone text);
CREATE TEMPORARY TABLE one_more (shop int, customer bigint, item bigint, store int, quantity numeric, order_value numeric, at timestamptz,
    before numeric, after numeric);

CREATE FUNCTION pg_temp.ask(present_shop int, many int) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    sold bigint[];
BEGIN
    INSERT INTO questions
    SELECT present_shop, q.*, e.*
    FROM (SELECT pg_temp.some_customer() AS customer, n % 10 + 1 AS item, pg_temp.some_store() AS store, pg_temp.some_quantity() AS quantity,
              pg_temp.some_order_value() AS order_value, pg_temp.some_time() AS at
          FROM generate_series(1, many) AS n OFFSET 0) AS q,
        pg_temp.expected_item(q.customer, q.item, q.store, q.quantity, q.order_value, q.at) AS e;
    UPDATE questions AS q
    SET (list, discount, price, ids) = (SELECT * FROM customer_groups.effective_price(q.customer, q.item, q.store, q.quantity, q.order_value, q.at)),
        discount_alone = customer_groups.effective_discount(q.customer, q.item, q.store, q.quantity, q.order_value, q.at),
        verdicts = ARRAY(
            SELECT ROW(e.promotion_id, e.code, e.verdict, e.discount, e.reason)::pg_temp.verdict
            FROM customer_groups.explain_discount(q.customer, q.item, q.store, q.quantity, q.order_value, q.at) AS e ORDER BY e.promotion_id)
    WHERE q.shop = present_shop AND q.expected_list IS NOT NULL;

    INSERT INTO refused
    SELECT q.*, road, pg_temp.state_of(format('SELECT * FROM customer_groups.%I(NULL, %s, %L)', road, CASE road
        WHEN 'effective_discounts' THEN format('ARRAY[%s::bigint]', q.item)
        WHEN 'price_cart' THEN format('''[{"item": %s, "quantity": 1}]''', q.item)
        ELSE q.item::text END, q.store))
    FROM (SELECT DISTINCT shop, item, store FROM questions WHERE shop = present_shop AND expected_list IS NULL) AS q,
        unnest(ARRAY['effective_price', 'effective_discount', 'effective_discounts', 'explain_discount', 'price_cart']) AS road;

    -- Listing pages, with items in any order, some of them more than once.
    INSERT INTO pages
    SELECT present_shop, c.customer, c.store, c.at, d.n, d::text, (p.items[d.n], e.list_price, e.discount, e.price, e.promotion_ids, d.n)::text
    FROM (SELECT pg_temp.some_customer() AS customer, pg_temp.some_store() AS store, pg_temp.some_time() AS at FROM generate_series(1, 6) OFFSET 0) AS c,
        LATERAL (SELECT array_agg(s.item ORDER BY random()) AS items
                 FROM (SELECT DISTINCT q.item, twice FROM questions AS q, generate_series(1, 2) AS twice
                       WHERE q.shop = present_shop AND q.store IS NOT DISTINCT FROM c.store AND q.list IS NOT NULL AND (twice = 1 OR q.item < 4)) AS s) AS p,
        LATERAL customer_groups.effective_discounts(c.customer, p.items, c.store, c.at) WITH ORDINALITY AS d (item_id, list_price, discount, price, promotion_ids, n),
        LATERAL customer_groups.effective_price(c.customer, p.items[d.n], c.store, at => c.at) AS e;
END
$$;

-- A price is asked before and after one more promotion.
CREATE FUNCTION pg_temp.add_one(present_shop int) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_temp.add_promotion(1000, 'item', false);
    INSERT INTO one_more
    SELECT q.shop, q.customer, q.item, q.store, q.quantity, q.order_value, q.at, q.price, e.price
    FROM questions AS q, LATERAL customer_groups.effective_price(q.customer, q.item, q.store, q.quantity, q.order_value, q.at) AS e
    WHERE q.shop = present_shop AND q.list IS NOT NULL;
END
$$;

CREATE FUNCTION pg_temp.ask_shops(first int, last int) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    FOR shop IN first .. last LOOP
        PERFORM pg_temp.new_shop();
        PERFORM pg_temp.ask(shop, 400);
        PERFORM pg_temp.add_one(shop);
    END LOOP;
END
$$;
SELECT pg_temp.ask_shops(1, 25) \g /dev/null
SELECT pg_temp.ask_shops(26, 50) \g /dev/null

SELECT is(count(*), 20000::bigint, 'there are 20,000 questions') FROM questions;
SELECT is_empty($$
    SELECT shop, customer, item, store, quantity, order_value, at, list, discount, price, ids, expected_list, expected_discount, expected_price, expected_ids
    FROM questions
    WHERE (list, discount, price, ids) IS DISTINCT FROM (expected_list, expected_discount, expected_price, expected_ids) AND expected_list IS NOT NULL
    ORDER BY cardinality(expected_verdicts) LIMIT 5$$, 'effective_price gives what the reference gives');
SELECT is_empty($$
    SELECT shop, customer, item, store, quantity, order_value, at,
        ARRAY(SELECT v FROM unnest(verdicts) AS v WHERE v <> ALL (expected_verdicts)) AS ours,
        ARRAY(SELECT v FROM unnest(expected_verdicts) AS v WHERE v <> ALL (verdicts)) AS expected, expected_price, expected_ids
    FROM questions WHERE verdicts IS DISTINCT FROM expected_verdicts AND expected_list IS NOT NULL
    ORDER BY cardinality(expected_verdicts) LIMIT 5$$, 'explain_discount gives what the reference gives');
SELECT is_empty($$SELECT * FROM questions WHERE discount_alone IS DISTINCT FROM discount LIMIT 5$$, 'effective_discount gives the discount of effective_price');
SELECT is_empty($$
    SELECT * FROM questions
    WHERE list IS NOT NULL
        AND ((SELECT coalesce(sum(v.discount), 0) FROM unnest(verdicts) AS v WHERE v.verdict = 'applied') <> discount
            OR ARRAY(SELECT v.promotion_id FROM unnest(verdicts) AS v WHERE v.verdict = 'applied' ORDER BY 1) <> ARRAY(SELECT id FROM unnest(ids) AS id ORDER BY 1))
    LIMIT 5$$, 'what explain_discount calls applied adds up to it');
SELECT is_empty('SELECT * FROM refused WHERE state <> ''22023'' LIMIT 5', 'no road knows a price where there is none');
SELECT is_empty('SELECT * FROM pages WHERE page IS DISTINCT FROM alone LIMIT 5', 'effective_discounts gives what effective_price gives for each');
SELECT is_empty('SELECT * FROM one_more WHERE after > before LIMIT 5', 'one more promotion that is not combinable raises no price');

-- The questions are such that a mistake would show.
SELECT cmp_ok(count(*), '>', 10000::bigint, 'most prices are lowered') FROM questions WHERE discount > 0;
SELECT cmp_ok(count(*), '>', 3000::bigint, 'many by several promotions') FROM questions WHERE cardinality(ids) > 1;
SELECT cmp_ok(count(*), '>', 400::bigint, 'many again by one more') FROM one_more WHERE after < before;
SELECT cmp_ok(count(*), '>', 50::bigint, 'there are prices missing') FROM refused;
SELECT cmp_ok(count(*), '>', 1500::bigint, 'and listing pages') FROM pages;
SELECT cmp_ok(min(r.n), '>', 100::bigint, 'each reason of the design is given often')
FROM (SELECT n.reason, count(v.reason) AS n
      FROM unnest(ARRAY['inactive', 'not started', 'ended', 'other store', 'other currency', 'not in its groups', 'membership not started', 'membership expired',
                        'group not in its dates', 'group pricing off in this store', 'not in its segments', 'whole order', 'needs quantity %',
                        'needs order value %', 'no effect', 'better price by %']) AS n (reason)
      LEFT JOIN (SELECT (unnest(q.verdicts)).reason FROM questions AS q) AS v ON v.reason LIKE n.reason
      GROUP BY n.reason) AS r;

SELECT * FROM finish();
ROLLBACK;
