-- The demo's small shop: three stores, tiers, two groups, promotions, and a day of sales.
--
-- psql centres headings; those of text are padded to the column's width, so that they begin where
-- the text does.

INSERT INTO stores (code, name) VALUES ('down', 'Downtown'), ('air', 'Airport'), ('web', 'Online');
INSERT INTO brands (code, name) VALUES ('alto', 'Alto');
INSERT INTO categories (code, name) VALUES ('clothing', 'Clothing');
INSERT INTO categories (code, name, parent_id)
	SELECT v.code, v.name, c.id
	FROM categories c, (VALUES ('jackets', 'Jackets'), ('socks', 'Socks')) AS v (code, name)
	WHERE c.code = 'clothing';
INSERT INTO items (sku, name, brand_id, price) VALUES
	('boots', 'Alto boots', (SELECT id FROM brands WHERE code = 'alto'), 149.00),
	('jacket', 'Rain jacket', NULL, 89.50),
	('socks', 'Wool socks', NULL, 12.00),
	('bottle', 'Water bottle', NULL, 18.00);
INSERT INTO item_categories (item_id, category_id)
	SELECT i.id, c.id
	FROM (VALUES ('jacket', 'jackets'), ('socks', 'socks')) AS v (sku, category)
	JOIN items i ON i.sku = v.sku
	JOIN categories c ON c.code = v.category;

-- A group with a threshold is a tier.
INSERT INTO groups (code, name, upgrade_threshold)
	VALUES ('bronze', 'Bronze', 100), ('silver', 'Silver', 500), ('gold', 'Gold', 1000);
INSERT INTO groups (code, name) VALUES ('staff', 'Staff'), ('b2b', 'Business customers');

INSERT INTO customers (name) VALUES ('Ana'), ('Ben'), ('Cleo'), ('Dev'), ('Emil Ltd');
INSERT INTO members (customer_id, group_id)
	SELECT c.id, g.id
	FROM (VALUES ('Dev', 'staff'), ('Emil Ltd', 'b2b')) AS v (customer, code)
	JOIN customers c ON c.name = v.customer
	JOIN groups g ON g.code = v.code;

-- Stage 1 comes on top of the best price of stage 0.
INSERT INTO promotions (code, name, kind, value, groups_only, stage, min_quantity) VALUES
	('bottle', '3.00 off the bottle', 'amount', 3, false, 0, NULL),
	('wear', '10 % off all clothing', 'percent', 10, false, 0, NULL),
	('alto', '20 % off the brand Alto', 'percent', 20, true, 0, NULL),
	('gold', '5 % off everything, on top', 'percent', 5, true, 1, NULL),
	('staff', '30 % off everything', 'percent', 30, true, 0, NULL),
	('bulk', 'socks for 8.00 from 10 pairs', 'fixed_price', 8, true, 0, 10);
INSERT INTO promotion_items (promotion_id, item_id)
	SELECT p.id, i.id FROM promotions p, items i
	WHERE (p.code, i.sku) IN (('bottle', 'bottle'), ('bulk', 'socks'));
INSERT INTO promotion_categories (promotion_id, category_id)
	SELECT p.id, c.id FROM promotions p, categories c WHERE (p.code, c.code) = ('wear', 'clothing');
INSERT INTO promotion_brands (promotion_id, brand_id)
	SELECT p.id, b.id FROM promotions p, brands b WHERE (p.code, b.code) = ('alto', 'alto');
INSERT INTO promotion_groups (promotion_id, group_id)
	SELECT p.id, g.id FROM promotions p, groups g
	WHERE (p.code, g.code) IN (('alto', 'silver'), ('alto', 'gold'), ('gold', 'gold'),
							   ('staff', 'staff'), ('bulk', 'b2b'));

-- What a customer, by name, pays for one of an item, by its sku.
CREATE FUNCTION pg_temp.price(customer text, sku text, store text DEFAULT NULL, quantity numeric DEFAULT 1)
	RETURNS numeric STABLE LANGUAGE sql
BEGIN ATOMIC
	SELECT round(p.price, 2)
	FROM customers c
	CROSS JOIN items i
	LEFT JOIN stores s ON s.code = price.store
	CROSS JOIN effective_price(c.id, i.id, s.id, price.quantity) p
	WHERE c.name = price.customer AND i.sku = price.sku;
END;

\echo
\echo 'THE SHOP: three stores, three tiers, two groups, five customers. Dev is staff, Emil Ltd a'
\echo 'business customer. Tiers are earned: Bronze at 100.00 of sales, Silver at 500.00, Gold at 1000.00.'
\echo
SELECT p.name AS "promotion                   ",
	CASE WHEN p.groups_only THEN string_agg(g.name, ', ' ORDER BY g.id) ELSE 'everybody' END
		AS "for               "
FROM promotions p
LEFT JOIN promotion_groups a ON a.promotion_id = p.id
LEFT JOIN groups g ON g.id = a.group_id
GROUP BY p.id
ORDER BY p.id;

CREATE TEMP TABLE before AS
	SELECT c.id AS customer_id, i.id AS item_id, p.price
	FROM customers c CROSS JOIN items i CROSS JOIN effective_price(c.id, i.id) p;

-- A sale per line: who, where, what kind, how much.
CREATE TEMP VIEW till AS
	SELECT v.place, c.id AS customer_id, s.id AS store_id, v.kind::sale_kind, v.amount
	FROM (VALUES (1, 'Ana', 'down', 'product', 120.00), (2, 'Ben', 'web', 'product', 1150.00),
				 (3, 'Cleo', 'air', 'product', 480.00), (4, 'Dev', 'down', 'product', 40.00),
				 (5, 'Cleo', 'down', 'product', 45.00), (6, 'Ben', 'web', 'refund', -200.00))
		AS v (place, customer, store, kind, amount)
	JOIN customers c ON c.name = v.customer
	JOIN stores s ON s.code = v.store;
INSERT INTO sales (customer_id, store_id, kind, amount)
	SELECT customer_id, store_id, kind, amount FROM till WHERE place <= 4 ORDER BY place;
INSERT INTO sales (customer_id, store_id, kind, amount)
	SELECT customer_id, store_id, kind, amount FROM till WHERE place > 4 ORDER BY place;

\echo 'SALES COME IN by two plain INSERTs. Booking is part of the INSERT: as soon as it is done, facts and'
\echo 'tiers are right. The event log tells who was upgraded. Ben''s refund does not take his tier away.'
\echo
SELECT c.name AS customer, s.amounts AS "sales           ", round(f.net_sales, 2) AS "net sales",
	e.tiers AS "upgraded to        "
FROM customers c
JOIN customer_facts f ON f.customer_id = c.id
LEFT JOIN (
	SELECT customer_id, string_agg(amount::text, ', ' ORDER BY id) AS amounts
	FROM sales GROUP BY customer_id) s ON s.customer_id = c.id
LEFT JOIN (
	SELECT e.customer_id, string_agg(g.name, ', then ' ORDER BY e.id) AS tiers
	FROM events e JOIN groups g ON g.id = e.group_id
	WHERE e.kind = 'tier_upgraded' GROUP BY e.customer_id) e ON e.customer_id = c.id
ORDER BY c.id;

\echo 'PRICES, by effective_price(customer, item), changed with the tiers, and for nobody else:'
\echo
SELECT c.name AS customer, i.name AS "item        ", round(i.price, 2) AS list,
	round(b.price, 2) AS before, round(p.price, 2) AS now,
	array_to_string(ARRAY(
		SELECT m.name
		FROM unnest(p.promotion_ids) WITH ORDINALITY AS a (id, position)
		JOIN promotions m ON m.id = a.id
		ORDER BY a.position), '; ')
		AS "because                                            "
FROM before b
JOIN customers c ON c.id = b.customer_id
JOIN items i ON i.id = b.item_id
CROSS JOIN effective_price(c.id, i.id) p
WHERE p.price <> b.price
ORDER BY c.id, i.id;

\echo 'QUANTITIES count too: what Emil Ltd pays for a pair of socks.'
\echo
SELECT q.pairs, pg_temp.price('Emil Ltd', 'socks', NULL, q.pairs) AS each
FROM (VALUES (1), (9), (10)) AS q (pairs);

CREATE TEMP TABLE in_stores AS
	SELECT s.id AS store_id, pg_temp.price('Dev', 'jacket', s.code) AS price FROM stores s;
INSERT INTO group_store_pricing (group_id, store_id, use_pricing)
	SELECT g.id, s.id, false FROM groups g, stores s WHERE (g.code, s.code) = ('staff', 'air');
\echo 'A STORE SWITCHES a group''s pricing off: the airport gives no staff prices any more. Dev''s rain'
\echo 'jacket (89.50) falls back to what is open to everybody there.'
\echo
SELECT s.name AS "store   ", b.price AS before,
	pg_temp.price('Dev', 'jacket', s.code) AS now
FROM in_stores b
JOIN stores s ON s.id = b.store_id
ORDER BY s.id;

SELECT pg_temp.price('Ana', 'socks') AS first \gset
BEGIN;
SAVEPOINT sale_week;
UPDATE promotions SET value = 50 WHERE code = 'wear';
SELECT pg_temp.price('Ana', 'socks') AS changed \gset
ROLLBACK TO SAVEPOINT sale_week;
SELECT pg_temp.price('Ana', 'socks') AS back \gset
COMMIT;
\echo 'A PROMOTION IS TRIED OUT in a transaction and rolled back to a savepoint. Prices follow each step:'
\echo
SELECT v.step AS "step                                ", v.price AS "socks, Ana"
FROM (VALUES (1, '10 % off all clothing', :first), (2, 'UPDATE promotions SET value = 50 ...', :changed),
			 (3, 'ROLLBACK TO SAVEPOINT', :back)) AS v (place, step, price)
ORDER BY v.place;

\echo 'REPORTS are plain queries, here over groups, members and customer_facts:'
\echo
SELECT g.name AS "group             ", count(m.customer_id) AS members, coalesce(sum(f.visits), 0) AS visits,
	round(coalesce(sum(f.net_sales), 0), 2) AS "net sales",
	string_agg(c.name, ', ' ORDER BY c.id) AS "who     "
FROM groups g
LEFT JOIN members m ON m.group_id = g.id
LEFT JOIN customers c ON c.id = m.customer_id
LEFT JOIN customer_facts f ON f.customer_id = m.customer_id
GROUP BY g.id
ORDER BY g.id;
