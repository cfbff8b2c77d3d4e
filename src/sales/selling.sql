-- Recording priced sales and their refunds, safe to retry.
--
-- These functions act with the rights of their caller. They lock the customer
-- first, so that two requests with one key, or two refunds of one sale, come one
-- after another; each statement after that sees what the other one has done (or,
-- at REPEATABLE READ and above, the lock is a serialization failure).
-- With row_security off, a policy that would hide rows from them is an error
-- (42501), as it is for prices.

CREATE FUNCTION customer_groups.read_cart(lines jsonb, by_key boolean)
	RETURNS TABLE (line_no int, item_id bigint, quantity numeric)
	AS 'MODULE_PATHNAME', 'cg_read_cart_lines'
	LANGUAGE C STABLE PARALLEL SAFE COST 100 ROWS 10;
COMMENT ON FUNCTION customer_groups.read_cart(jsonb, boolean) IS
	'The lines of a cart, checked but not priced; with by_key, "item" is an external_id. Errors as price_cart(); null lines: 22004.';

CREATE FUNCTION customer_groups.priced_lines(customer_id bigint, lines jsonb, store_id int, at timestamptz)
	RETURNS TABLE (line_no int, item_id bigint, quantity numeric, list_price numeric, discount numeric, total numeric,
				   promotion_ids int[], shares numeric[], group_ids int[])
	AS 'MODULE_PATHNAME', 'cg_priced_lines'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION customer_groups.priced_lines(bigint, jsonb, int, timestamptz) IS
	'price_cart() with what each promotion took off the line, and the group through which the customer had it (null: open to all, or for a segment), in the order of promotion_ids.';

CREATE FUNCTION customer_groups.customer_id_of(customer_external_id text) RETURNS bigint
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	result bigint;
BEGIN
	IF customer_external_id IS NULL THEN
		RAISE EXCEPTION 'the customer must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the external_id of a customer.';
	END IF;
	SELECT c.id INTO result FROM customer_groups.customers c WHERE c.external_id = customer_external_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown customer'
			USING ERRCODE = '02000', DETAIL = format('There is no customer with external_id "%s".', customer_external_id),
				HINT = 'Insert the customer first.';
	END IF;
	RETURN result;
END
$$;
COMMENT ON FUNCTION customer_groups.customer_id_of(text) IS 'The id of a customer by its external_id; an unknown one is 02000, a null one 22004.';

-- Level sell inserts lines, but only into what it has just sold.
CREATE FUNCTION customer_groups.check_lines() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	customers bigint[];
	sales bigint[];
	other record;
BEGIN
	IF pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID), 'USAGE') THEN
		RETURN NULL;
	END IF;
	SELECT array_agg(n.customer_id), array_agg(n.sale_id) INTO customers, sales
	FROM (SELECT DISTINCT r.customer_id, r.sale_id FROM new_rows r) n;
	SELECT u.customer_id, u.sale_id INTO other
	FROM unnest(customers, sales) AS u (customer_id, sale_id)
	WHERE NOT EXISTS (SELECT FROM customer_groups.sales s
					  WHERE s.customer_id = u.customer_id AND s.id = u.sale_id AND s.recorded_at = now())
	ORDER BY 1, 2 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'permission denied to add to an earlier sale'
			USING ERRCODE = 'insufficient_privilege',
				DETAIL = format('Sale %s of customer %s was not recorded by this transaction.', other.sale_id, other.customer_id),
				HINT = 'Insert a sale and its lines in one transaction, or call record_sale().';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION customer_groups.check_lines() IS
	'Trigger: nobody but the owner adds lines, or promotions of lines, to a sale that the same transaction has not recorded (42501).';
CREATE TRIGGER check_lines AFTER INSERT ON customer_groups.sale_lines
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.check_lines();
CREATE TRIGGER check_lines AFTER INSERT ON customer_groups.sale_line_promotions
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.check_lines();

CREATE FUNCTION customer_groups.record_sale(
		customer_id bigint, lines jsonb, store_id int DEFAULT NULL, at timestamptz DEFAULT now(),
		external_id text DEFAULT NULL, kind customer_groups.sale_kind DEFAULT 'product', rate numeric DEFAULT NULL,
		OUT sale_id bigint, OUT total numeric, OUT repeated boolean)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = off
	AS $$
#variable_conflict use_column
DECLARE
	cart record;
	earlier record;
	difference text;
BEGIN
	IF record_sale.customer_id IS NULL OR record_sale.at IS NULL OR record_sale.kind IS NULL THEN
		RAISE EXCEPTION 'the customer, the time and the kind of a sale must not be null'
			USING ERRCODE = 'null_value_not_allowed',
				HINT = 'Insert a customer for sales to unknown persons; leave out the others to get their defaults.';
	END IF;
	IF record_sale.kind = 'refund' THEN
		RAISE EXCEPTION 'a refund is not recorded as a sale'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = 'The kind is "refund".', HINT = 'Call record_refund().';
	END IF;
	SELECT array_agg(c.item_id ORDER BY c.line_no) AS items, array_agg(c.quantity ORDER BY c.line_no) AS quantities
	INTO cart FROM customer_groups.read_cart(record_sale.lines, false) c;
	IF cart.items IS NULL THEN
		RAISE EXCEPTION 'the cart is empty'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = 'There is no line in it.',
				HINT = 'Insert a sale without items into table sales.';
	END IF;
	PERFORM customer_groups.lock_customers(ARRAY[record_sale.customer_id]);

	SELECT s.id, s.store_id, s.kind, s.amount,
		ARRAY(SELECT l.item_id FROM customer_groups.sale_lines l
			  WHERE l.customer_id = s.customer_id AND l.sale_id = s.id ORDER BY l.line_no) AS items,
		ARRAY(SELECT l.quantity FROM customer_groups.sale_lines l
			  WHERE l.customer_id = s.customer_id AND l.sale_id = s.id ORDER BY l.line_no) AS quantities
	INTO earlier
	FROM customer_groups.sales s
	WHERE s.customer_id = record_sale.customer_id AND s.external_id = record_sale.external_id;
	IF FOUND THEN
		difference := CASE
			WHEN earlier.kind <> record_sale.kind THEN format('was of kind %s, this one is %s', earlier.kind, record_sale.kind)
			WHEN earlier.store_id IS DISTINCT FROM record_sale.store_id THEN
				format('was in store %s, this one is in %s', coalesce(earlier.store_id::text, 'none'), coalesce(record_sale.store_id::text, 'none'))
			WHEN cardinality(earlier.items) <> cardinality(cart.items) THEN
				format('has %s lines, this one %s', cardinality(earlier.items), cardinality(cart.items))
			ELSE (SELECT format('has in place %s: item %s, quantity %s; this one: item %s, quantity %s',
								u.place, u.item, u.quantity, u.new_item, u.new_quantity)
				  FROM unnest(earlier.items, earlier.quantities, cart.items, cart.quantities)
					WITH ORDINALITY AS u (item, quantity, new_item, new_quantity, place)
				  WHERE (u.item, u.quantity) IS DISTINCT FROM (u.new_item, u.new_quantity)
				  ORDER BY u.place LIMIT 1) END;
		IF difference IS NOT NULL THEN
			RAISE EXCEPTION 'external_id "%" was used for another cart', record_sale.external_id
				USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Sale %s %s.', earlier.id, difference),
					HINT = 'Give each sale its own external_id, and repeat a sale with the same cart.';
		END IF;
		sale_id := earlier.id;
		total := earlier.amount;
		repeated := true;
		RETURN;
	END IF;

	-- Priced once, written at once, and then booked by the triggers of sales.
	WITH priced AS MATERIALIZED (
		SELECT p.* FROM customer_groups.priced_lines(
			record_sale.customer_id, record_sale.lines, record_sale.store_id, record_sale.at) p
	), sale AS (
		INSERT INTO customer_groups.sales AS s (customer_id, store_id, kind, amount, rate, sold_at, external_id)
		SELECT record_sale.customer_id, record_sale.store_id, record_sale.kind, sum(p.total), record_sale.rate,
			record_sale.at, record_sale.external_id
		FROM priced p
		RETURNING s.id, s.amount
	), written AS (
		INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price, discount, total)
		SELECT record_sale.customer_id, s.id, p.line_no, p.item_id, p.quantity, p.list_price, p.discount, p.total
		FROM priced p CROSS JOIN sale s
	), promoted AS (
		INSERT INTO customer_groups.sale_line_promotions (customer_id, sale_id, line_no, promotion_id, discount, group_id)
		SELECT record_sale.customer_id, s.id, p.line_no, u.promotion_id, u.share, u.group_id
		FROM priced p CROSS JOIN sale s
		CROSS JOIN LATERAL unnest(p.promotion_ids, p.shares, p.group_ids) AS u (promotion_id, share, group_id)
	)
	SELECT s.id, s.amount, false INTO record_sale.sale_id, record_sale.total, record_sale.repeated FROM sale s;
END
$$;
COMMENT ON FUNCTION customer_groups.record_sale(bigint, jsonb, int, timestamptz, text, customer_groups.sale_kind, numeric) IS
	'Prices a cart as price_cart() does and records it: the sale, its lines and each promotion''s share of them. lines: [{"item": 7, "quantity": 2}, …]; total: what is paid, in the store''s currency. Safe to retry with an external_id: the same cart (store, kind, items and quantities in order, never prices or times) gives the first sale with repeated true, another cart is 22023. rate: what one unit of the store''s currency is in the settings'', required where they differ (23514). Errors as price_cart(), and nothing is left behind; an empty cart, or kind refund: 22023; a null customer, time or kind: 22004.';

CREATE FUNCTION customer_groups.record_sale_by_key(
		customer_external_id text, lines jsonb, store_id int DEFAULT NULL, at timestamptz DEFAULT now(),
		external_id text DEFAULT NULL, kind customer_groups.sale_kind DEFAULT 'product', rate numeric DEFAULT NULL,
		OUT sale_id bigint, OUT total numeric, OUT repeated boolean)
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT r.sale_id, r.total, r.repeated
		FROM customer_groups.record_sale(
			customer_groups.customer_id_of(customer_external_id),
			(SELECT coalesce(jsonb_agg(jsonb_build_object('item', c.item_id, 'quantity', c.quantity) ORDER BY c.line_no), '[]')
			 FROM customer_groups.read_cart(lines, true) c),
			store_id, at, external_id, kind, rate) r;
	END;
COMMENT ON FUNCTION customer_groups.record_sale_by_key(text, jsonb, int, timestamptz, text, customer_groups.sale_kind, numeric) IS
	'record_sale() with the customer''s and the items'' external_id: [{"item": "sku-7", "quantity": 2}, …]. Errors as record_sale(); an unknown item is 02000.';

CREATE FUNCTION customer_groups.add_member_by_key(customer_external_id text, group_code text, valid_until date DEFAULT NULL)
	RETURNS boolean
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
	RETURN customer_groups.add_member(customer_groups.customer_id_of(customer_external_id), group_code, valid_until);
COMMENT ON FUNCTION customer_groups.add_member_by_key(text, text, date) IS 'add_member() with the customer''s external_id. Errors as add_member().';
