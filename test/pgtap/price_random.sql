-- effective_price and effective_discount give the reference's answers on random shops, under both ways of
-- rounding, after each of many changes and after changes that were rolled back; and a statement or cursor
-- keeps to what its snapshot reads.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT plan(35);

\ir reference_price.psql

SELECT setseed(0.42) \g /dev/null

CREATE FUNCTION pg_temp.chance(percentage float) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN random() * 100 < percentage;
END
$$;

CREATE FUNCTION pg_temp.between(low int, high int) RETURNS int
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN low + floor(random() * (high - low + 1));
END
$$;

CREATE FUNCTION pg_temp.one_of(choice anyarray) RETURNS anyelement
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN choice[pg_temp.between(1, cardinality(choice))];
END
$$;

-- Hours and days around the change to summer time of 2024 in Europe, so that random times often coincide.
CREATE FUNCTION pg_temp.some_time() RETURNS timestamptz
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN timestamptz '2024-03-31 00:00+00' + pg_temp.between(-72, 72) * interval '1 hour';
END
$$;

CREATE FUNCTION pg_temp.some_day(low int, high int) RETURNS date
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN date '2024-03-31' + pg_temp.between(low, high);
END
$$;

-- ---------------------------------------------------------------------------------------------
-- The shop
-- ---------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.some_price() RETURNS numeric
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE pg_temp.between(1, 10)
        WHEN 1 THEN 0
        WHEN 2 THEN 10
        WHEN 3 THEN 20
        WHEN 4 THEN 100
        WHEN 5 THEN round((random() * 200)::numeric, 5)
        WHEN 6 THEN round((random() * 20)::numeric, 8)
        WHEN 7 THEN round((random() * 2)::numeric, 2)
        ELSE round((random() * 300)::numeric, 2)
    END;
END
$$;

-- A new promotion. Few give everything away, so that prices stay apart.
CREATE FUNCTION pg_temp.add_promotion(id int) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    new customer_groups.promotions;
BEGIN
    new.id := id;
    new.code := 'promotion ' || id;
    new.name := 'Promotion';
    new.kind := pg_temp.one_of('{percent,percent,percent,amount,amount,fixed_price}'::text[]);
    new.value := CASE new.kind
        WHEN 'percent' THEN pg_temp.one_of('{0,1,5,5,10,10,10,12.5,15,20,25,33.33333333,50,7.77}'::numeric[])
        WHEN 'amount' THEN pg_temp.one_of('{0,0.005,0.333,1,1,1,2,2,5,5,10,12.34567}'::numeric[])
        ELSE pg_temp.one_of('{0.5,5,9,9.99,18,20,50,90,99.995,150}'::numeric[])
    END;
    IF pg_temp.chance(1) THEN
        new.value := CASE new.kind WHEN 'fixed_price' THEN 0 ELSE 100 END;
    END IF;
    new.level := CASE WHEN new.kind <> 'fixed_price' AND pg_temp.chance(12) THEN 'order' ELSE 'item' END;
    new.groups_only := pg_temp.chance(60);
    new.combinable := pg_temp.chance(45);
    new.stage := pg_temp.one_of('{-1,0,0,0,0,1,1,2}'::int[]);
    new.priority := pg_temp.between(-1, 2);
    new.active := pg_temp.chance(92);
    IF pg_temp.chance(40) THEN
        new.starts_at := pg_temp.some_time();
    END IF;
    IF pg_temp.chance(40) THEN
        new.ends_at := greatest(pg_temp.some_time(), new.starts_at + interval '1 hour');
    END IF;
    IF pg_temp.chance(15) THEN
        new.min_quantity := pg_temp.one_of('{0.5,1,2,2.5,3}'::numeric[]);
    END IF;
    IF pg_temp.chance(15) THEN
        new.min_order_value := pg_temp.one_of('{0,20,49.99,50,100}'::numeric[]);
    END IF;
    IF pg_temp.chance(20) THEN
        new.max_discount := pg_temp.one_of('{0,0.335,1,2,5,7.77777}'::numeric[]);
    END IF;
    IF pg_temp.chance(40) THEN
        new.currency := pg_temp.one_of('{EUR,USD,KRW,KWD}'::text[]);
    END IF;
    IF new.currency = 'KRW' AND new.kind <> 'percent' THEN
        new.value := new.value * 1000;
    END IF;
    INSERT INTO customer_groups.promotions SELECT new.*;

    IF pg_temp.chance(35) THEN
        INSERT INTO customer_groups.promotion_items
        SELECT DISTINCT id, pg_temp.between(1, 60) FROM generate_series(1, pg_temp.between(3, 12));
    END IF;
    IF pg_temp.chance(35) THEN
        INSERT INTO customer_groups.promotion_categories
        SELECT DISTINCT id, pg_temp.between(1, 30) FROM generate_series(1, pg_temp.between(1, 2));
    END IF;
    IF pg_temp.chance(30) THEN
        INSERT INTO customer_groups.promotion_brands
        SELECT DISTINCT id, pg_temp.between(1, 8) FROM generate_series(1, pg_temp.between(1, 2));
    END IF;
    -- Most of those that would be left for the whole assortment get an item after all.
    IF pg_temp.chance(85) THEN
        INSERT INTO customer_groups.promotion_items
        SELECT id, pg_temp.between(1, 60)
        WHERE NOT EXISTS (SELECT FROM customer_groups.promotion_items AS i WHERE i.promotion_id = id)
            AND NOT EXISTS (SELECT FROM customer_groups.promotion_categories AS c WHERE c.promotion_id = id)
            AND NOT EXISTS (SELECT FROM customer_groups.promotion_brands AS b WHERE b.promotion_id = id);
    END IF;
    IF pg_temp.chance(25) THEN
        INSERT INTO customer_groups.promotion_stores
        SELECT DISTINCT id, pg_temp.between(1, 8) FROM generate_series(1, pg_temp.between(1, 4));
    END IF;
    INSERT INTO customer_groups.promotion_groups
    SELECT DISTINCT id, pg_temp.between(1, 45) FROM generate_series(1, pg_temp.between(0, 3));
END
$$;

CREATE FUNCTION pg_temp.add_member(customer bigint, of_group int) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    first_day date := CASE WHEN pg_temp.chance(40) THEN pg_temp.some_day(-4, 1) END;
    last_day date := CASE WHEN pg_temp.chance(40) THEN pg_temp.some_day(-1, 4) END;
BEGIN
    INSERT INTO customer_groups.members (customer_id, group_id, valid_from, valid_until)
    VALUES (customer, of_group, first_day, greatest(first_day, last_day))
    ON CONFLICT (customer_id, group_id)
    DO UPDATE SET valid_from = excluded.valid_from, valid_until = excluded.valid_until;
END
$$;

DO $$
DECLARE
    price numeric;
    first_day date;
BEGIN
    INSERT INTO customer_groups.settings (currency, timezone) VALUES ('EUR', 'Europe/Madrid');
    INSERT INTO customer_groups.stores (id, code, name, currency, timezone) VALUES
        (1, 'one', 'Madrid', 'EUR', 'Europe/Madrid'),
        (2, 'two', 'Kiritimati', 'EUR', 'Pacific/Kiritimati'),
        (3, 'three', 'New York', 'USD', 'America/New_York'),
        (4, 'four', 'Pago Pago', 'USD', 'Pacific/Pago_Pago'),
        (5, 'five', 'Seoul', 'KRW', 'Asia/Seoul'),
        (6, 'six', 'Kuwait', 'KWD', 'Asia/Kuwait'),
        (7, 'seven', 'Web', 'EUR', 'UTC'),
        (8, 'eight', 'Kathmandu', 'KRW', 'Asia/Kathmandu');
    INSERT INTO customer_groups.brands (id, code, name) SELECT i, 'brand ' || i, 'Brand' FROM generate_series(1, 8) AS i;
    FOR i IN 1 .. 30 LOOP
        INSERT INTO customer_groups.categories (id, code, name, parent_id)
        VALUES (i, 'category ' || i, 'Category', CASE WHEN i > 4 THEN pg_temp.between(i - 4, i - 1) END);
    END LOOP;
    FOR i IN 1 .. 60 LOOP
        price := CASE WHEN pg_temp.chance(95) THEN pg_temp.some_price() END;
        INSERT INTO customer_groups.items (id, name, brand_id, price, min_price)
        VALUES (i, 'Item', CASE WHEN pg_temp.chance(80) THEN pg_temp.between(1, 8) END, price,
                CASE WHEN pg_temp.chance(30) THEN round(price * (random() * 1.2)::numeric, pg_temp.between(0, 4)) END);
        INSERT INTO customer_groups.item_categories
        SELECT DISTINCT i, pg_temp.between(1, 30) FROM generate_series(1, pg_temp.between(0, 3));
        FOR store IN 1 .. 8 LOOP
            IF pg_temp.chance(CASE WHEN store IN (1, 2, 7) THEN 40 ELSE 85 END) THEN
                price := CASE WHEN pg_temp.chance(90) THEN pg_temp.some_price() END
                    * CASE WHEN store IN (5, 8) THEN 1000 ELSE 1 END;
                INSERT INTO customer_groups.store_prices
                VALUES (i, store, price, CASE WHEN pg_temp.chance(30)
                                              THEN round(price * (random() * 1.2)::numeric, pg_temp.between(0, 4)) END);
            END IF;
        END LOOP;
    END LOOP;
    FOR i IN 1 .. 45 LOOP
        first_day := pg_temp.some_day(-4, 1);
        INSERT INTO customer_groups.groups (id, code, name, starts_on, ends_on, use_pricing)
        VALUES (i, 'group ' || i, 'Group', first_day,
                CASE WHEN pg_temp.chance(50) THEN greatest(first_day, pg_temp.some_day(-1, 4)) END, pg_temp.chance(80));
        INSERT INTO customer_groups.group_store_pricing
        SELECT DISTINCT ON (store) i, store, pg_temp.chance(60)
        FROM (SELECT pg_temp.between(1, 8) AS store FROM generate_series(1, pg_temp.between(0, 3))) AS s;
    END LOOP;
    FOR i IN 1 .. 40 LOOP
        INSERT INTO customer_groups.customers (id, name) VALUES (i, 'Customer');
        FOR n IN 1 .. pg_temp.between(0, 12) LOOP
            PERFORM pg_temp.add_member(i, pg_temp.between(1, 45));
        END LOOP;
    END LOOP;
    FOR i IN 1 .. 200 LOOP
        PERFORM pg_temp.add_promotion(i);
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Questions and answers
-- ---------------------------------------------------------------------------------------------

CREATE TEMPORARY TABLE questions (
    id int PRIMARY KEY,
    customer_id bigint,
    item_id bigint,
    store_id int,
    quantity numeric,
    order_value numeric,
    at timestamptz
);
DO $$
BEGIN
    FOR i IN 1 .. 2000 LOOP
        INSERT INTO questions VALUES (
            i,
            CASE WHEN pg_temp.chance(88) THEN pg_temp.between(1, 40) END,
            CASE WHEN pg_temp.chance(99.5) THEN pg_temp.between(1, 60) END,
            CASE WHEN pg_temp.chance(75) THEN pg_temp.between(1, 8) END,
            pg_temp.one_of('{1,1,1,2,2.500,3,0.35,0.5,10}'::numeric[]),
            pg_temp.one_of('{NULL,NULL,0,20,49.99,50,100.00,1000}'::numeric[]),
            pg_temp.some_time() + pg_temp.one_of('{0,0,0,1,-1}'::int[]) * interval '1 microsecond');
    END LOOP;
END
$$;

-- What a question gets: the error's state, or the price, and effective_discount beside it.
CREATE TYPE pg_temp.answer AS (
    state text, list_price numeric, discount numeric, price numeric, promotion_ids int[], effective_discount numeric);

CREATE FUNCTION pg_temp.reference_answer(q questions) RETURNS pg_temp.answer
    LANGUAGE plpgsql AS $$
DECLARE
    a pg_temp.answer;
BEGIN
    SELECT NULL, p.*, p.discount INTO a
    FROM pg_temp.reference_price(q.customer_id, q.item_id, q.store_id, q.quantity, q.order_value, q.at) AS p;
    RETURN a;
EXCEPTION WHEN OTHERS THEN
    a.state := SQLSTATE;
    RETURN a;
END
$$;

CREATE FUNCTION pg_temp.fast_answer(q questions) RETURNS pg_temp.answer
    LANGUAGE plpgsql AS $$
DECLARE
    a pg_temp.answer;
    state text;
BEGIN
    BEGIN
        a.effective_discount := customer_groups.effective_discount(
            q.customer_id, q.item_id, q.store_id, q.quantity, q.order_value, q.at);
    EXCEPTION WHEN OTHERS THEN
        state := SQLSTATE;
    END;
    SELECT state, p.*, a.effective_discount INTO a
    FROM customer_groups.effective_price(q.customer_id, q.item_id, q.store_id, q.quantity, q.order_value, q.at) AS p;
    RETURN a;
EXCEPTION WHEN OTHERS THEN
    a.state := CASE WHEN state = SQLSTATE THEN state
                    ELSE format('%s, effective_discount %s', SQLSTATE, coalesce(state, 'none')) END;
    a.effective_discount := NULL;
    RETURN a;
END
$$;

CREATE FUNCTION pg_temp.readable(a pg_temp.answer) RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN coalesce('error ' || a.state,
                    format('%s - %s = %s by %s, effective_discount %s', coalesce(a.list_price::text, 'null'),
                           coalesce(a.discount::text, 'null'), coalesce(a.price::text, 'null'),
                           coalesce(a.promotion_ids::text, 'null'), coalesce(a.effective_discount::text, 'null')));
END
$$;

CREATE FUNCTION pg_temp.difference(q questions, fast pg_temp.answer, reference pg_temp.answer) RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    IF fast IS DISTINCT FROM reference THEN
        RETURN format('effective_price(%L, %L, %L, %L, %L, %L): fast %s; reference %s', q.customer_id, q.item_id,
                      q.store_id, q.quantity, q.order_value, q.at, pg_temp.readable(fast), pg_temp.readable(reference));
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION pg_temp.reference_answers(ids int[]) RETURNS pg_temp.answer[]
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN ARRAY(SELECT pg_temp.reference_answer(q) FROM questions AS q WHERE q.id = ANY (ids) ORDER BY q.id);
END
$$;

-- What differs among some questions from the reference's answers, which are asked for unless they are given.
CREATE FUNCTION pg_temp.differences(ids int[], reference pg_temp.answer[] DEFAULT NULL) RETURNS text[]
    LANGUAGE plpgsql AS $$
BEGIN
    reference := coalesce(reference, pg_temp.reference_answers(ids));
    RETURN array_remove(ARRAY(
        SELECT pg_temp.difference(q, pg_temp.fast_answer(q), reference[row_number() OVER (ORDER BY q.id)])
        FROM questions AS q WHERE q.id = ANY (ids) ORDER BY q.id), NULL);
END
$$;

-- None is expected; a few are shown.
CREATE FUNCTION pg_temp.no_differences(differing text[], description text) RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    IF differing = '{}' THEN
        RETURN pass(description);
    END IF;
    RETURN fail(description) || E'\n'
        || diag(cardinality(differing) || E' differences:\n' || array_to_string(differing[1:5], E'\n'));
END
$$;

-- ---------------------------------------------------------------------------------------------
-- The shop as it is, under both ways of rounding
-- ---------------------------------------------------------------------------------------------

CREATE TEMPORARY TABLE answers (rounding text, id int, reference pg_temp.answer, fast pg_temp.answer);
CREATE TEMPORARY TABLE answers_at_once (LIKE answers);
CREATE FUNCTION pg_temp.ask_all(rounding text) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    UPDATE customer_groups.settings AS s SET rounding = ask_all.rounding;
    INSERT INTO answers
    SELECT ask_all.rounding, q.id, pg_temp.reference_answer(q), pg_temp.fast_answer(q) FROM questions AS q;
    -- In one statement, without a subtransaction for each; an error would end it, so those are left out.
    INSERT INTO answers_at_once
    SELECT ask_all.rounding, q.id, a.reference,
        ROW(NULL, p.list_price, p.discount, p.price, p.promotion_ids, customer_groups.effective_discount(
                q.customer_id, q.item_id, q.store_id, q.quantity, q.order_value, q.at))::pg_temp.answer
    FROM questions AS q
    JOIN answers AS a USING (id),
        LATERAL customer_groups.effective_price(
            q.customer_id, q.item_id, q.store_id, q.quantity, q.order_value, q.at) AS p
    WHERE a.rounding = ask_all.rounding AND (a.reference).state IS NULL AND (a.fast).state IS NULL;
END
$$;

SELECT lives_ok(format('SELECT pg_temp.ask_all(%L)', r), r || ': 2,000 questions are answered')
FROM unnest('{half_up,half_even}'::text[]) AS r;
SELECT pg_temp.no_differences(
    ARRAY(SELECT pg_temp.difference(q, a.fast, a.reference) FROM answers AS a JOIN questions AS q USING (id)
          WHERE a.rounding = r AND a.fast IS DISTINCT FROM a.reference ORDER BY id),
    r || ': one by one they agree with the reference')
FROM unnest('{half_up,half_even}'::text[]) AS r;
SELECT pg_temp.no_differences(
    ARRAY(SELECT pg_temp.difference(q, a.fast, a.reference) FROM answers_at_once AS a JOIN questions AS q USING (id)
          WHERE a.rounding = r AND a.fast IS DISTINCT FROM a.reference ORDER BY id),
    r || ': so do they in one statement')
FROM unnest('{half_up,half_even}'::text[]) AS r;

-- The questions are worth asking.
CREATE TEMPORARY VIEW known AS
SELECT q.*, (a.reference).state, (a.reference).list_price, (a.reference).discount, (a.reference).price,
    (a.reference).promotion_ids
FROM answers AS a JOIN questions AS q USING (id)
WHERE a.rounding = 'half_up';
SELECT is(count(*), 2000::bigint, '2,000 questions') FROM known;
SELECT cmp_ok(count(*), '>=', 1000::bigint, 'discounts') FROM known WHERE discount > 0;
SELECT cmp_ok(count(*), '>=', 150::bigint, 'no discount') FROM known WHERE discount = 0 AND list_price > 0;
SELECT cmp_ok(count(*), '<=', 100::bigint, 'little for nothing') FROM known WHERE price = 0 AND list_price > 0;
SELECT cmp_ok(count(*), '>=', 50::bigint, 'no price: 22023') FROM known WHERE state = '22023';
SELECT is_empty('SELECT DISTINCT state FROM known WHERE state <> ''22023''', 'no other error');
SELECT cmp_ok(count(*), '>=', 300::bigint, 'two and more promotions') FROM known WHERE cardinality(promotion_ids) > 1;
SELECT cmp_ok(count(*), '>=', 50::bigint, 'four and more promotions') FROM known WHERE cardinality(promotion_ids) > 3;
SELECT cmp_ok(count(*), '>=', 50::bigint, 'discounts of anonymous customers')
FROM known WHERE discount > 0 AND customer_id IS NULL;
SELECT cmp_ok(count(*), '>=', 100::bigint, 'discounts of groups')
FROM known
WHERE EXISTS (SELECT FROM customer_groups.promotions AS p WHERE p.id = ANY (promotion_ids) AND p.groups_only);
SELECT cmp_ok(count(*), '>=', 50::bigint, 'discounts of one that is not combinable, with combinable ones in its stage')
FROM known
WHERE EXISTS (SELECT FROM customer_groups.promotions AS p
              JOIN pg_temp.reference_covering(item_id) AS o ON o.stage = p.stage AND o.combinable
              WHERE p.id = ANY (promotion_ids) AND NOT p.combinable);
SELECT cmp_ok(count(*), '>=', 50::bigint, 'discounts of several combinable ones of a stage')
FROM known
WHERE EXISTS (SELECT FROM customer_groups.promotions AS p WHERE p.id = ANY (promotion_ids) AND p.combinable
              GROUP BY p.stage HAVING count(*) > 1);
SELECT cmp_ok(count(DISTINCT p.kind || coalesce(p.currency, '')), '>=', 9::bigint, 'all kinds, in many currencies')
FROM known JOIN customer_groups.promotions AS p ON p.id = ANY (promotion_ids);
SELECT cmp_ok(count(*), '>=', 10::bigint, 'prices kept up by a floor')
FROM known JOIN customer_groups.items AS i ON i.id = item_id
WHERE store_id IS NULL AND discount > 0 AND known.price = i.min_price;
SELECT cmp_ok(count(*), '>=', 50::bigint, 'ties')
FROM known AS k,
    LATERAL pg_temp.reference_workings(k.customer_id, k.item_id, k.store_id, k.quantity, k.order_value, k.at) AS w
WHERE k.state IS NULL AND w.ties > 0;
SELECT cmp_ok(count(*), '>=', 20::bigint, 'the way of rounding matters')
FROM answers AS u JOIN answers AS e USING (id)
WHERE u.rounding = 'half_up' AND e.rounding = 'half_even' AND (u.reference).price <> (e.reference).price;

-- ---------------------------------------------------------------------------------------------
-- After each change, and after one that was rolled back
-- ---------------------------------------------------------------------------------------------

-- Words in braces stand for what the questions asked next are about: see filled_in().
CREATE TEMPORARY TABLE changes (n int GENERATED ALWAYS AS IDENTITY, keep boolean DEFAULT true, statement text);
INSERT INTO changes (statement) VALUES
    ('UPDATE customer_groups.promotions SET value = value / 2 WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET value = value + 1 WHERE kind <> ''percent'''),
    ('UPDATE customer_groups.promotions SET active = false WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET active = true WHERE NOT active'),
    ('UPDATE customer_groups.promotions SET stage = stage + 3 WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET stage = -5 WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET priority = -priority'),
    ('UPDATE customer_groups.promotions SET combinable = NOT combinable WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET kind = ''fixed_price'', value = 1 WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET level = ''order'' WHERE id = {promotion} AND kind <> ''fixed_price'''),
    ('UPDATE customer_groups.promotions SET level = ''item'' WHERE level = ''order'''),
    ('UPDATE customer_groups.promotions SET starts_at = {time}, ends_at = NULL WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET starts_at = NULL, ends_at = {time} WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET min_quantity = 2 WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET min_order_value = 50 WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET max_discount = 0.5 WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET min_quantity = NULL WHERE min_quantity > 1'),
    ('UPDATE customer_groups.promotions SET currency = ''KRW'' WHERE id = {promotion}'),
    ('UPDATE customer_groups.promotions SET currency = NULL WHERE id % 3 = 0'),
    ('UPDATE customer_groups.promotions SET groups_only = true WHERE id = {promotion}'),
    ('DELETE FROM customer_groups.promotions WHERE id = {promotion}'),
    ('DELETE FROM customer_groups.promotions WHERE id % 10 = 7'),
    ('SELECT pg_temp.add_promotion({new})'),
    ('INSERT INTO customer_groups.promotions (id, code, name, kind, value, combinable)
      VALUES ({new}, ''new'', ''New'', ''percent'', 3, true)'),
    ('UPDATE customer_groups.promotions AS p SET id = {new} WHERE code = ''new''
        AND NOT EXISTS (SELECT FROM customer_groups.promotion_items AS i WHERE i.promotion_id = p.id)
        AND NOT EXISTS (SELECT FROM customer_groups.promotion_groups AS g WHERE g.promotion_id = p.id)'),
    ('INSERT INTO customer_groups.promotion_items SELECT {promotion}, generate_series(1, 60, 2) ON CONFLICT DO NOTHING'),
    ('DELETE FROM customer_groups.promotion_items WHERE promotion_id = {promotion}'),
    ('DELETE FROM customer_groups.promotion_items WHERE item_id = {item}'),
    ('UPDATE customer_groups.promotion_items AS i SET promotion_id = {other} WHERE promotion_id = {promotion}
        AND NOT EXISTS (SELECT FROM customer_groups.promotion_items AS o
                        WHERE o.promotion_id = {other} AND o.item_id = i.item_id)'),
    ('INSERT INTO customer_groups.promotion_categories VALUES ({promotion}, {category}) ON CONFLICT DO NOTHING'),
    ('DELETE FROM customer_groups.promotion_categories WHERE promotion_id = {promotion}'),
    ('UPDATE customer_groups.promotion_categories AS c SET promotion_id = {other}
      WHERE category_id = {category} AND promotion_id = (SELECT min(o.promotion_id)
                                                         FROM customer_groups.promotion_categories AS o
                                                         WHERE o.category_id = {category})
        AND NOT EXISTS (SELECT FROM customer_groups.promotion_categories AS o
                        WHERE o.category_id = {category} AND o.promotion_id = {other})'),
    ('INSERT INTO customer_groups.promotion_brands VALUES ({promotion}, {brand}) ON CONFLICT DO NOTHING'),
    ('DELETE FROM customer_groups.promotion_brands WHERE brand_id = {brand}'),
    ('INSERT INTO customer_groups.promotion_stores VALUES ({promotion}, {store}) ON CONFLICT DO NOTHING'),
    ('DELETE FROM customer_groups.promotion_stores WHERE store_id = {store}'),
    ('UPDATE customer_groups.promotion_stores AS s SET store_id = 5 WHERE store_id = {store}
        AND NOT EXISTS (SELECT FROM customer_groups.promotion_stores AS o
                        WHERE o.promotion_id = s.promotion_id AND o.store_id = 5)'),
    ('INSERT INTO customer_groups.promotion_groups VALUES ({promotion}, {group}) ON CONFLICT DO NOTHING'),
    ('DELETE FROM customer_groups.promotion_groups WHERE group_id = {group}'),
    ('UPDATE customer_groups.promotion_groups AS g SET promotion_id = {other} WHERE group_id = {group}
        AND promotion_id = (SELECT min(o.promotion_id) FROM customer_groups.promotion_groups AS o
                            WHERE o.group_id = {group})
        AND NOT EXISTS (SELECT FROM customer_groups.promotion_groups AS o
                        WHERE o.group_id = {group} AND o.promotion_id = {other})'),
    ('UPDATE customer_groups.groups SET use_pricing = NOT use_pricing WHERE id = {group}'),
    ('UPDATE customer_groups.groups SET use_pricing = true'),
    ('UPDATE customer_groups.groups SET starts_on = {day}, ends_on = {day} WHERE id = {group}'),
    ('UPDATE customer_groups.groups SET starts_on = ''2000-01-01'', ends_on = NULL WHERE id % 2 = 0'),
    ('DELETE FROM customer_groups.groups WHERE id = {group}'),
    ('INSERT INTO customer_groups.group_store_pricing VALUES ({group}, {store}, false)
      ON CONFLICT (group_id, store_id) DO UPDATE SET use_pricing = NOT group_store_pricing.use_pricing'),
    ('DELETE FROM customer_groups.group_store_pricing WHERE store_id = {store}'),
    ('UPDATE customer_groups.group_store_pricing AS p SET group_id = {group} WHERE store_id = {store}
        AND group_id = (SELECT min(o.group_id) FROM customer_groups.group_store_pricing AS o
                        WHERE o.store_id = {store})
        AND NOT EXISTS (SELECT FROM customer_groups.group_store_pricing AS o
                        WHERE o.store_id = {store} AND o.group_id = {group})'),
    ('DELETE FROM customer_groups.members WHERE customer_id = {customer} AND group_id % 2 = 0'),
    ('SELECT pg_temp.add_member({customer}, {group})'),
    ('INSERT INTO customer_groups.members (customer_id, group_id)
      SELECT {customer}, g.id FROM customer_groups.groups AS g ON CONFLICT DO NOTHING'),
    ('UPDATE customer_groups.members SET valid_from = {day}, valid_until = {day} WHERE customer_id = {customer}'),
    ('UPDATE customer_groups.members SET valid_from = NULL, valid_until = NULL'),
    ('UPDATE customer_groups.members AS m SET group_id = {group} WHERE customer_id = {customer}
        AND group_id = (SELECT min(o.group_id) FROM customer_groups.members AS o WHERE o.customer_id = {customer})
        AND NOT EXISTS (SELECT FROM customer_groups.members AS o
                        WHERE o.customer_id = {customer} AND o.group_id = {group})'),
    ('UPDATE customer_groups.items SET price = price + 1 WHERE id = {item}'),
    ('UPDATE customer_groups.items SET price = CASE WHEN price IS NULL THEN 12.345 END WHERE id % 3 = 0'),
    ('UPDATE customer_groups.items SET min_price = CASE WHEN min_price IS NULL THEN round(price * 0.95, 5) END'),
    ('UPDATE customer_groups.items SET brand_id = nullif({brand}, brand_id) WHERE id = {item}'),
    ('DELETE FROM customer_groups.item_categories WHERE item_id = {item}'),
    ('INSERT INTO customer_groups.item_categories SELECT {item}, generate_series(1, 30, 3) ON CONFLICT DO NOTHING'),
    ('INSERT INTO customer_groups.store_prices VALUES ({item}, {store}, 33.333, 30)
      ON CONFLICT (item_id, store_id) DO UPDATE SET price = 33.333, min_price = 30'),
    ('UPDATE customer_groups.store_prices SET price = NULL WHERE item_id = {item}'),
    ('DELETE FROM customer_groups.store_prices WHERE item_id = {item}'),
    ('UPDATE customer_groups.categories SET parent_id = NULL WHERE id = {category}'),
    ('UPDATE customer_groups.categories SET parent_id = CASE WHEN id > 1 THEN id - 1 END WHERE id = {category}'),
    ('UPDATE customer_groups.categories SET parent_id = CASE WHEN id > 1 THEN 1 END WHERE id % 5 = 0'),
    ('INSERT INTO customer_groups.categories (id, code, name, parent_id) VALUES ({new}, ''new'', ''New'', {category});
      UPDATE customer_groups.categories SET parent_id = {new} WHERE id = 30 AND {category} < 30'),
    ('UPDATE customer_groups.settings SET timezone = ''Pacific/Kiritimati'''),
    ('UPDATE customer_groups.settings SET rounding = ''half_up'''),
    ('UPDATE customer_groups.settings SET currency = ''USD'''),
    ('UPDATE customer_groups.stores SET timezone = ''Asia/Tokyo'' WHERE id = {store}'),
    ('UPDATE customer_groups.stores SET currency = CASE currency WHEN ''EUR'' THEN ''USD'' ELSE ''EUR'' END
      WHERE id = {store}');
INSERT INTO changes (keep, statement) VALUES
    (false, 'DELETE FROM customer_groups.settings'),
    (false, 'DELETE FROM customer_groups.members'),
    (false, 'DELETE FROM customer_groups.promotions'),
    (false, 'TRUNCATE customer_groups.promotion_groups'),
    (false, 'TRUNCATE customer_groups.promotion_stores, customer_groups.group_store_pricing'),
    (false, 'TRUNCATE customer_groups.promotion_items, customer_groups.promotion_categories, customer_groups.promotion_brands'),
    (false, 'DELETE FROM customer_groups.settings');

-- 40 questions: the first has a customer, an item and a store, and some of the others have the same.
CREATE FUNCTION pg_temp.some_questions() RETURNS int[]
    LANGUAGE plpgsql AS $$
DECLARE
    q questions;
BEGIN
    SELECT * INTO q FROM questions
    WHERE customer_id IS NOT NULL AND item_id IS NOT NULL AND store_id IS NOT NULL
    ORDER BY random() LIMIT 1;
    RETURN q.id || ARRAY(
        SELECT id FROM questions
        WHERE id <> q.id
        ORDER BY random() * CASE WHEN customer_id = q.customer_id OR item_id = q.item_id THEN 0.03 ELSE 1 END
        LIMIT 39);
END
$$;

-- Puts into a change what the questions are about: the customer, item and store of the first one, a category of the
-- item, a promotion that some of them get, a group of the customer with promotions of its own.
CREATE FUNCTION pg_temp.filled_in(statement text, ids int[], new int) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    q questions;
    promotion int;
    of_group int;
    category int;
BEGIN
    SELECT * INTO q FROM questions WHERE id = ids[1];
    SELECT a.id INTO promotion
    FROM questions AS s, LATERAL unnest((pg_temp.reference_answer(s)).promotion_ids) AS a (id)
    WHERE s.id = ANY (ids)
    ORDER BY random() LIMIT 1;
    SELECT g.id INTO of_group
    FROM customer_groups.groups AS g
    ORDER BY EXISTS (SELECT FROM customer_groups.members AS m
                     WHERE m.group_id = g.id AND m.customer_id = q.customer_id) DESC,
        EXISTS (SELECT FROM customer_groups.promotion_groups AS a
                JOIN customer_groups.promotions AS p ON p.id = a.promotion_id
                WHERE a.group_id = g.id AND p.groups_only) DESC,
        random() LIMIT 1;
    SELECT c.id INTO category
    FROM customer_groups.categories AS c
    ORDER BY EXISTS (SELECT FROM customer_groups.item_categories AS i
                     WHERE i.item_id = q.item_id AND i.category_id = c.id) DESC, random() LIMIT 1;
    statement := replace(statement, '{promotion}', coalesce(promotion, 0)::text);
    statement := replace(statement, '{other}',
                         (SELECT p.id FROM customer_groups.promotions AS p ORDER BY random() LIMIT 1)::text);
    statement := replace(statement, '{new}', new::text);
    statement := replace(statement, '{group}', of_group::text);
    statement := replace(statement, '{customer}', q.customer_id::text);
    statement := replace(statement, '{item}', q.item_id::text);
    statement := replace(statement, '{store}', q.store_id::text);
    statement := replace(statement, '{category}', category::text);
    statement := replace(statement, '{brand}', pg_temp.between(1, 8)::text);
    statement := replace(statement, '{time}', quote_literal(pg_temp.some_time()));
    RETURN replace(statement, '{day}', quote_literal(pg_temp.some_day(-2, 2)));
END
$$;

-- Each change in turn: undone, with other questions if these got the same answers as before, and then done; what
-- differed from the reference meanwhile.
CREATE TEMPORARY TABLE rounds (n int, statement text, effective boolean, within text[], undone text[], done text[]);
DO $$
DECLARE
    change changes;
    r rounds;
    ids int[];
    before pg_temp.answer[];
    within pg_temp.answer[];
BEGIN
    FOR change IN SELECT * FROM changes ORDER BY keep, n LOOP
        FOR try IN 1 .. 3 LOOP
            ids := pg_temp.some_questions();
            before := pg_temp.reference_answers(ids);
            r := (change.n, pg_temp.filled_in(change.statement, ids, 1000 + change.n), NULL, NULL, NULL, NULL);
            BEGIN
                EXECUTE r.statement;
                within := pg_temp.reference_answers(ids);
                r.effective := within IS DISTINCT FROM before;
                r.within := pg_temp.differences(ids, within);
                RAISE EXCEPTION USING ERRCODE = 'CG000';
            EXCEPTION WHEN SQLSTATE 'CG000' THEN
                r.undone := pg_temp.differences(ids, before);
            END;
            IF r.effective OR try = 3 THEN
                IF change.keep THEN
                    EXECUTE r.statement;
                    r.done := pg_temp.differences(ids);
                END IF;
                INSERT INTO rounds SELECT r.*;
                EXIT;
            END IF;
            INSERT INTO rounds SELECT r.*;
        END LOOP;
    END LOOP;
END
$$;
SELECT is((SELECT count(DISTINCT n) FROM rounds), (SELECT count(*) FROM changes), 'each change was made');
SELECT cmp_ok(count(*), '>=', 60::bigint, 'most changes mattered to the questions')
FROM rounds WHERE effective;
SELECT pg_temp.no_differences(ARRAY(SELECT statement || ': ' || unnest(within[1:2]) FROM rounds ORDER BY n),
                              'after a change in a subtransaction');
SELECT pg_temp.no_differences(ARRAY(SELECT statement || ': ' || unnest(undone[1:2]) FROM rounds ORDER BY n),
                              'after its rollback');
SELECT pg_temp.no_differences(ARRAY(SELECT statement || ': ' || unnest(done[1:2]) FROM rounds ORDER BY n),
                              'after a change');

-- The same with savepoints, one within another. What is found is kept outside of the transaction.
SELECT pg_temp.some_questions() AS ids \gset
SAVEPOINT one;
UPDATE customer_groups.promotions SET combinable = NOT combinable, priority = -priority;
SELECT pg_temp.differences(:'ids') AS in_one \gset
SAVEPOINT two;
DELETE FROM customer_groups.promotion_groups;
UPDATE customer_groups.groups SET use_pricing = NOT use_pricing;
SELECT pg_temp.differences(:'ids') AS in_two \gset
ROLLBACK TO two;
SELECT pg_temp.differences(:'ids') AS after_two \gset
UPDATE customer_groups.promotions SET active = id % 2 = 0;
SELECT pg_temp.differences(:'ids') AS again_in_two \gset
RELEASE two;
SELECT pg_temp.differences(:'ids') AS two_released \gset
ROLLBACK TO one;
SELECT pg_temp.differences(:'ids') AS after_one \gset
RELEASE one;
SELECT pg_temp.no_differences(:'in_one', 'in a savepoint');
SELECT pg_temp.no_differences(:'in_two'::text[] || :'after_two'::text[] || :'again_in_two'::text[],
                              'in a savepoint in it, and after its rollback');
SELECT pg_temp.no_differences(:'two_released', 'after its release');
SELECT pg_temp.no_differences(:'after_one', 'after the rollback of the first');

-- ---------------------------------------------------------------------------------------------
-- Snapshots
-- ---------------------------------------------------------------------------------------------

DELETE FROM customer_groups.promotions;
INSERT INTO customer_groups.items (id, name, price) VALUES (900, 'Item', 100);
INSERT INTO customer_groups.promotions (id, code, name, kind, value) VALUES (900, 'one', 'One', 'percent', 10);
INSERT INTO customer_groups.promotion_items VALUES (900, 900);

CREATE FUNCTION pg_temp.change_value(new_value numeric) RETURNS numeric
    LANGUAGE plpgsql AS $$
BEGIN
    UPDATE customer_groups.promotions SET value = new_value WHERE id = 900;
    RETURN customer_groups.effective_discount(1, 900);
END
$$;

SELECT results_eq(
    $$
    SELECT n, customer_groups.effective_discount(1, 900), CASE WHEN n % 2 = 0 THEN pg_temp.change_value(10 * n) END,
        customer_groups.effective_discount(1, 900)
    FROM generate_series(1, 5) AS n
    $$,
    $$
    VALUES (1, 10::numeric, NULL::numeric, 10::numeric), (2, 10, 20, 10), (3, 10, NULL, 10), (4, 10, 40, 10),
        (5, 10, NULL, 10)
    $$,
    'a statement keeps to its snapshot, whatever a function that it calls changes and sees');
SELECT is(customer_groups.effective_discount(1, 900), 40::numeric, 'the next statement sees the change');

DECLARE discounts CURSOR FOR SELECT customer_groups.effective_discount(n, 900) AS discount FROM generate_series(1, 3) AS n;
FETCH discounts \gset first_
UPDATE customer_groups.promotions SET value = 50 WHERE id = 900;
SELECT customer_groups.effective_discount(1, 900) AS beside \gset
FETCH discounts \gset second_
DELETE FROM customer_groups.promotions WHERE id = 900;
SELECT customer_groups.effective_discount(1, 900) AS after \gset
FETCH discounts \gset third_
CLOSE discounts;
SELECT is(ARRAY[:first_discount, :second_discount, :third_discount], ARRAY[40, 40, 40]::numeric[],
          'a cursor keeps to its snapshot');
SELECT is(ARRAY[:beside, :after], ARRAY[50, 0]::numeric[], 'statements between see the changes');

SELECT * FROM finish();
ROLLBACK;
