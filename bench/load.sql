-- Makes the data of a benchmark in an empty database. Variables: customers, items, groups, promotions,
-- keys (how many customers and items to ask for) and shape, which is 'categories' (each promotion covers one category, so that an item in two of
-- them is covered by ten; every other promotion is for five groups only) or 'everything' (one
-- promotion for each group, for it only, on the whole assortment).
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;
CREATE EXTENSION customer_groups;
SET search_path = customer_groups, pg_temp;
SELECT setseed(0.5) \g /dev/null
SELECT CASE :'shape' WHEN 'categories' THEN greatest(:promotions / 5, 2) ELSE 200 END AS categories \gset

INSERT INTO brands (id, code, name) SELECT n, 'brand-' || n, 'Brand ' || n FROM generate_series(1, 500) n;
-- Ten categories are in one department; departments have the ids after those of the categories.
INSERT INTO categories (id, code, name)
SELECT n, 'department-' || n, 'Department ' || n
FROM generate_series(:categories + 1, :categories + :categories / 10 + 1) n;
INSERT INTO categories (id, code, name, parent_id)
SELECT n, 'category-' || n, 'Category ' || n, :categories + 1 + n / 10 FROM generate_series(1, :categories) n;
INSERT INTO groups (id, code, name, starts_on)
SELECT n, 'group-' || n, 'Group ' || n, '2020-01-01' FROM generate_series(1, :groups) n;
INSERT INTO groups (id, code, name, starts_on, upgrade_threshold)
SELECT :groups + t.n, t.code, initcap(t.code), '2020-01-01', t.threshold
FROM (VALUES (1, 'bronze', 500), (2, 'silver', 1000), (3, 'gold', 2000), (4, 'platinum', 3000), (5, 'diamond', 4000))
	AS t (n, code, threshold);

-- In bulk: what the triggers do and foreign keys check is made good below, or holds by construction.
SET session_replication_role = replica;
INSERT INTO customers (id, external_id, name, email, registered_at)
SELECT n, 'c-' || n, 'Customer ' || n, 'customer-' || n || '@example.com', now() - interval '1 year'
FROM generate_series(1, :customers) n;
INSERT INTO items (id, external_id, sku, name, brand_id, price)
SELECT n, 'sku-' || n, 'sku-' || n, 'Item ' || n, 1 + n % 500, (1 + random() * 500)::numeric(10, 2)
FROM generate_series(1, :items) n;
INSERT INTO item_categories (item_id, category_id)
SELECT n, 1 + n % :categories FROM generate_series(1, :items) n
UNION ALL
SELECT n, 1 + (n + 1 + n / :categories % (:categories - 1)) % :categories FROM generate_series(1, :items) n
ORDER BY 1, 2;
INSERT INTO members (customer_id, group_id)
SELECT r.customer_id, 1 + (r.first + k.n * (:groups / 3) + floor(r.shift * k.n * (:groups / 6))::int) % :groups
FROM (SELECT n AS customer_id, floor(random() * :groups)::int AS first, random() AS shift
	  FROM generate_series(1, :customers) n) r, generate_series(0, 2) k (n)
ORDER BY 1, 2;
RESET session_replication_role;

INSERT INTO promotions (id, code, name, kind, value, groups_only)
SELECT n, 'promotion-' || n, 'Promotion ' || n, 'percent', 5 + n % 31 * 0.5, n % 2 = 0 OR :'shape' = 'everything'
FROM generate_series(1, :promotions) n;
INSERT INTO promotion_categories (promotion_id, category_id)
SELECT n, 1 + n % :categories FROM generate_series(1, :promotions) n WHERE :'shape' = 'categories';
INSERT INTO promotion_groups (promotion_id, group_id)
SELECT n, 1 + (n / 2 + k * (:groups / 5)) % :groups
FROM generate_series(2, :promotions, 2) n, generate_series(0, 4) k WHERE :'shape' = 'categories'
UNION ALL
SELECT n, n FROM generate_series(1, :promotions) n WHERE :'shape' = 'everything';

SELECT rebuild_facts() \g /dev/null
CREATE TABLE bench.keys AS
SELECT bench.popular(:customers) AS customer_id, bench.popular(:items) AS item_id
FROM generate_series(1, :keys);
VACUUM ANALYZE;
CHECKPOINT;
