-- The peer of effective_discount: a function in SQL that answers the same question, the best per cent
-- of the promotions that cover the item and are open to the customer, without a store. It knows no
-- stages, stores, segments, limits or currencies, and which promotions cover everything it finds in a
-- table of its own.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
DROP TABLE IF EXISTS bench.promotions_on_everything;
CREATE TABLE bench.promotions_on_everything AS
SELECT p.id AS promotion_id FROM customer_groups.promotions p
WHERE NOT EXISTS (SELECT FROM customer_groups.promotion_items a WHERE a.promotion_id = p.id)
	AND NOT EXISTS (SELECT FROM customer_groups.promotion_categories a WHERE a.promotion_id = p.id)
	AND NOT EXISTS (SELECT FROM customer_groups.promotion_brands a WHERE a.promotion_id = p.id);
ANALYZE bench.promotions_on_everything;

CREATE OR REPLACE FUNCTION bench.discount_by_hand(customer_id bigint, item_id bigint) RETURNS numeric
	LANGUAGE sql STABLE
	AS $$
	WITH RECURSIVE within (category_id) AS (
		SELECT c.category_id FROM customer_groups.item_categories c WHERE c.item_id = $2
		UNION
		SELECT c.parent_id FROM within w JOIN customer_groups.categories c ON c.id = w.category_id
		WHERE c.parent_id IS NOT NULL
	), covering (promotion_id) AS (
		-- By index whatever the planner thinks of the recursion's size.
		SELECT a.promotion_id FROM within w
		CROSS JOIN LATERAL (SELECT * FROM customer_groups.promotion_categories p WHERE p.category_id = w.category_id OFFSET 0) a
		UNION ALL
		SELECT a.promotion_id FROM customer_groups.promotion_items a WHERE a.item_id = $2
		UNION ALL
		SELECT a.promotion_id FROM customer_groups.items i
		JOIN customer_groups.promotion_brands a ON a.brand_id = i.brand_id WHERE i.id = $2
		UNION ALL
		SELECT promotion_id FROM bench.promotions_on_everything
	), best (value) AS (
		SELECT max(p.value) FROM covering c
		JOIN customer_groups.promotions p ON p.id = c.promotion_id
		WHERE p.active AND (p.starts_at IS NULL OR p.starts_at <= now()) AND (p.ends_at IS NULL OR p.ends_at > now())
			AND (NOT p.groups_only OR EXISTS (
				SELECT FROM customer_groups.promotion_groups a
				JOIN customer_groups.members m ON m.group_id = a.group_id AND m.customer_id = $1
				JOIN customer_groups.groups g ON g.id = a.group_id
				WHERE a.promotion_id = p.id
					AND (m.valid_from IS NULL OR m.valid_from <= current_date)
					AND (m.valid_until IS NULL OR m.valid_until >= current_date)
					AND g.use_pricing AND g.starts_on <= current_date
					AND (g.ends_on IS NULL OR g.ends_on >= current_date)))
	)
	SELECT i.price - least(i.price, greatest(round(i.price * (1 - coalesce(b.value, 0) / 100), 2), coalesce(i.min_price, 0)))
	FROM customer_groups.items i, best b WHERE i.id = $2
$$;
