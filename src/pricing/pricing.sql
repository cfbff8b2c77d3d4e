-- Effective prices.

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
