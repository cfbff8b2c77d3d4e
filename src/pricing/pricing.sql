-- Effective prices, carts, explanations.

CREATE FUNCTION customer_groups.effective_discount(
		customer_id bigint, item_id bigint, store_id int DEFAULT NULL, quantity numeric DEFAULT 1,
		order_value numeric DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS numeric
	AS 'MODULE_PATHNAME', 'cg_effective_discount'
	LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION customer_groups.effective_discount(bigint, bigint, int, numeric, numeric, timestamptz) IS
	'What promotions take off the list price of one unit of the item for the customer, in the store''s currency (the settings'' without a store); 0 when none. A null customer is an anonymous one, a null store no store, a null order value none known; a null item gives null. An unknown customer, item or store is 02000, an item without a price there 22023.';

CREATE FUNCTION customer_groups.effective_price(
		customer_id bigint, item_id bigint, store_id int DEFAULT NULL, quantity numeric DEFAULT 1,
		order_value numeric DEFAULT NULL, at timestamptz DEFAULT now(),
		OUT list_price numeric, OUT discount numeric, OUT price numeric, OUT promotion_ids int[])
	RETURNS record
	AS 'MODULE_PATHNAME', 'cg_effective_price'
	LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION customer_groups.effective_price(bigint, bigint, int, numeric, numeric, timestamptz) IS
	'List price, discount and price of one unit, and the promotions that lowered it in the order applied (empty when none); nulls, units and errors as effective_discount.';

CREATE FUNCTION customer_groups.effective_discounts(
		customer_id bigint, item_ids bigint[], store_id int DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS TABLE (item_id bigint, list_price numeric, discount numeric, price numeric, promotion_ids int[])
	AS 'MODULE_PATHNAME', 'cg_effective_discounts'
	LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION customer_groups.effective_discounts(bigint, bigint[], int, timestamptz) IS
	'What effective_price says of each item of a list, for one unit and no order value: one row for each element in the order given, of nulls for a null one; no row for a null list. Units and errors as effective_discount: one unknown item, or one without a price there, fails the call.';

CREATE FUNCTION customer_groups.explain_discount(
		customer_id bigint, item_id bigint, store_id int DEFAULT NULL, quantity numeric DEFAULT 1,
		order_value numeric DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS TABLE (promotion_id int, code text, verdict text, discount numeric, reason text)
	AS 'MODULE_PATHNAME', 'cg_explain_discount'
	LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 10;
COMMENT ON FUNCTION customer_groups.explain_discount(bigint, bigint, int, numeric, numeric, timestamptz) IS
	'What became of each promotion that covers the item, in use or not, by stage, priority and id. verdict: applied, beaten or not applicable. discount, of one unit: what it took, or for a beaten one what it would take alone on the price that its stage begins with; else null. reason, null for applied: the first that holds of inactive, not started, ended, other store, other currency, not in its groups, membership not started, membership expired, group not in its dates, group pricing off in this store, not in its segments, whole order, needs quantity ..., needs order value ..., no effect, better price by the code of the one that won (the first of those that apply together). Nulls, units and errors as effective_discount; no row for a null item.';

CREATE FUNCTION customer_groups.price_cart(
		customer_id bigint, lines jsonb, store_id int DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS TABLE (line_no int, item_id bigint, quantity numeric, list_price numeric, discount numeric,
		total numeric, promotion_ids int[])
	AS 'MODULE_PATHNAME', 'cg_price_cart_lines'
	LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 10;
COMMENT ON FUNCTION customer_groups.price_cart(bigint, jsonb, int, timestamptz) IS
	'The price of a cart, given as [{"item": 7, "quantity": 2}, ...] with ids of items; the quantity is 1 when left out. One row for each line in the order given, line_no from 1: list price of one unit, discount and total of the line, in the store''s currency (the settings'' without a store), and the promotions that lowered its unit price or, on the whole order, its total, in the order applied (empty when none). A null customer is an anonymous one, a null store no store, an empty array gives no row. Null lines are 22004; a line of another form, or with a quantity that is not above 0 or has more than 8 decimals, is 22023; a quantity, line or cart (at list prices) of 10^14 or more 22003; an unknown customer, item or store 02000; an item without a price there 22023. Errors of a line name it.';

CREATE FUNCTION customer_groups.effective_discount_by_key(
		customer_external_id text, item_external_id text, store_id int DEFAULT NULL, quantity numeric DEFAULT 1,
		order_value numeric DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS numeric
	AS 'MODULE_PATHNAME', 'cg_effective_discount_by_key'
	LANGUAGE C STABLE PARALLEL SAFE COST 120;
COMMENT ON FUNCTION customer_groups.effective_discount_by_key(text, text, int, numeric, numeric, timestamptz) IS
	'effective_discount of a customer and an item by their external_id: null is an anonymous customer, a null item gives null, an unknown one of either is 02000.';

CREATE FUNCTION customer_groups.effective_price_by_key(
		customer_external_id text, item_external_id text, store_id int DEFAULT NULL, quantity numeric DEFAULT 1,
		order_value numeric DEFAULT NULL, at timestamptz DEFAULT now(),
		OUT list_price numeric, OUT discount numeric, OUT price numeric, OUT promotion_ids int[])
	RETURNS record
	AS 'MODULE_PATHNAME', 'cg_effective_price_by_key'
	LANGUAGE C STABLE PARALLEL SAFE COST 120;
COMMENT ON FUNCTION customer_groups.effective_price_by_key(text, text, int, numeric, numeric, timestamptz) IS
	'effective_price of a customer and an item by their external_id: null is an anonymous customer, a null item gives null, an unknown one of either is 02000.';

CREATE FUNCTION customer_groups.effective_discounts_by_key(
		customer_external_id text, item_external_ids text[], store_id int DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS TABLE (item_id bigint, list_price numeric, discount numeric, price numeric, promotion_ids int[],
		item_external_id text)
	AS 'MODULE_PATHNAME', 'cg_effective_discounts_by_key'
	LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION customer_groups.effective_discounts_by_key(text, text[], int, timestamptz) IS
	'effective_discounts of a customer and a list of items by their external_id, which is the last column: null is an anonymous customer, a null element gives a row of nulls, an unknown one of either is 02000.';

CREATE FUNCTION customer_groups.price_cart_by_key(
		customer_external_id text, lines jsonb, store_id int DEFAULT NULL, at timestamptz DEFAULT now())
	RETURNS TABLE (line_no int, item_id bigint, quantity numeric, list_price numeric, discount numeric,
		total numeric, promotion_ids int[], item_external_id text)
	AS 'MODULE_PATHNAME', 'cg_price_cart_by_key'
	LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 10;
COMMENT ON FUNCTION customer_groups.price_cart_by_key(text, jsonb, int, timestamptz) IS
	'price_cart of a customer by its external_id (null: an anonymous one) and lines with those of items, [{"item": "sku-7", "quantity": 2}, ...]; the last column is the item''s. An unknown one is 02000.';
