-- Refunds: what is left of a sale, and giving it back in whole or in exact parts.

CREATE FUNCTION customer_groups.part_of(amount numeric, part numeric, whole numeric, digits int) RETURNS numeric
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN part >= whole THEN amount
		-- Whole numbers: the division is exact.
		ELSE least(amount, round(div(2 * amount * 10 ^ digits::numeric * part + whole, 2 * whole) / 10 ^ digits::numeric, digits)) END;
COMMENT ON FUNCTION customer_groups.part_of(numeric, numeric, numeric, int) IS
	'amount × part / whole, rounded half up to a number of digits; the amount itself for the whole. Grows with part, so that the differences between growing parts add up exactly. Null for a null argument.';

CREATE VIEW customer_groups.line_refunds WITH (security_invoker) AS
	SELECT s.customer_id, coalesce(s.refund_of, s.id) AS sale_id, l.line_no,
		min(l.item_id) FILTER (WHERE s.refund_of IS NULL) AS item_id,
		min(l.unit_price) FILTER (WHERE s.refund_of IS NULL) AS unit_price,
		min(c.digits) FILTER (WHERE s.refund_of IS NULL) AS digits,
		coalesce(sum(l.quantity) FILTER (WHERE s.refund_of IS NULL), 0) AS quantity,
		coalesce(sum(l.discount) FILTER (WHERE s.refund_of IS NULL), 0) AS discount,
		coalesce(sum(c.total) FILTER (WHERE s.refund_of IS NULL), 0) AS total,
		coalesce(sum(l.quantity) FILTER (WHERE s.refund_of IS NOT NULL), 0) AS refunded_quantity,
		coalesce(sum(l.discount) FILTER (WHERE s.refund_of IS NOT NULL), 0) AS refunded_discount,
		coalesce(sum(c.total) FILTER (WHERE s.refund_of IS NOT NULL), 0) AS refunded_total
	FROM customer_groups.sales s
	JOIN customer_groups.sale_lines l ON l.customer_id = s.customer_id AND l.sale_id = s.id
	LEFT JOIN customer_groups.stores t ON t.id = s.store_id
	CROSS JOIN LATERAL (SELECT customer_groups.currency_digits(coalesce(t.currency, (SELECT customer_groups.settings_currency()))) AS digits) d
	CROSS JOIN LATERAL (SELECT d.digits, coalesce(l.total, greatest(round(l.quantity * l.unit_price, d.digits) - l.discount, 0)) AS total) c
	WHERE s.kind <> 'refund' OR s.refund_of IS NOT NULL
	GROUP BY s.customer_id, coalesce(s.refund_of, s.id), l.line_no;
COMMENT ON VIEW customer_groups.line_refunds IS
	'Each line of each sale, with what refunds of that sale (sales.refund_of, by line number) have given back of its quantity, discount and total so far; money in the store''s currency.';
COMMENT ON COLUMN customer_groups.line_refunds.customer_id IS 'Customer.';
COMMENT ON COLUMN customer_groups.line_refunds.sale_id IS 'Sale that the line was sold in.';
COMMENT ON COLUMN customer_groups.line_refunds.line_no IS 'Line.';
COMMENT ON COLUMN customer_groups.line_refunds.item_id IS 'Item.';
COMMENT ON COLUMN customer_groups.line_refunds.unit_price IS 'List price of a unit.';
COMMENT ON COLUMN customer_groups.line_refunds.digits IS 'Digits after the decimal point of the currency''s minor unit.';
COMMENT ON COLUMN customer_groups.line_refunds.quantity IS 'Quantity sold.';
COMMENT ON COLUMN customer_groups.line_refunds.discount IS 'What was taken off the line.';
COMMENT ON COLUMN customer_groups.line_refunds.total IS 'What was paid for it.';
COMMENT ON COLUMN customer_groups.line_refunds.refunded_quantity IS 'Quantity given back so far.';
COMMENT ON COLUMN customer_groups.line_refunds.refunded_discount IS 'Discount that went with it.';
COMMENT ON COLUMN customer_groups.line_refunds.refunded_total IS 'Money given back so far, not negative.';

CREATE FUNCTION customer_groups.refund_sale(
		customer_id bigint, refunded_id bigint, lines jsonb, at timestamptz, external_id text,
		OUT sale_id bigint, OUT total numeric, OUT repeated boolean)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = off
	AS $$
#variable_conflict use_column
DECLARE
	items bigint[];
	quantities numeric[];
	sold record;
	earlier record;
	excess record;
	left_money numeric;
	refunds bigint[];
BEGIN
	IF refund_sale.customer_id IS NULL OR refund_sale.refunded_id IS NULL OR refund_sale.at IS NULL THEN
		RAISE EXCEPTION 'the customer, the sale and the time of a refund must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the id of the sale that is refunded; leave out the time for now.';
	END IF;
	IF NOT isfinite(refund_sale.at) THEN
		RAISE EXCEPTION 'invalid time'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The time is %s.', refund_sale.at), HINT = 'Give a finite time.';
	END IF;
	IF refund_sale.lines IS NOT NULL THEN
		SELECT array_agg(c.item_id ORDER BY c.item_id), array_agg(c.quantity ORDER BY c.item_id) INTO items, quantities
		FROM (SELECT r.item_id, sum(r.quantity) AS quantity
			  FROM customer_groups.read_cart(refund_sale.lines, false) r GROUP BY r.item_id) c;
		IF items IS NULL THEN
			RAISE EXCEPTION 'there is nothing to refund'
				USING ERRCODE = 'invalid_parameter_value', DETAIL = 'There is no line.', HINT = 'Give null for all that is left.';
		END IF;
	END IF;
	PERFORM customer_groups.check_customers(ARRAY[refund_sale.customer_id]);
	PERFORM customer_groups.lock_customers(ARRAY[refund_sale.customer_id]);

	SELECT s.id, s.refund_of, s.amount INTO earlier
	FROM customer_groups.sales s
	WHERE s.customer_id = refund_sale.customer_id AND s.external_id = refund_sale.external_id;
	IF FOUND THEN
		IF earlier.refund_of IS DISTINCT FROM refund_sale.refunded_id
			OR NOT customer_groups.is_same_refund(refund_sale.customer_id, refund_sale.refunded_id, earlier.id, items, quantities)
		THEN
			RAISE EXCEPTION 'external_id "%" was used for something else', refund_sale.external_id
				USING ERRCODE = 'invalid_parameter_value',
					DETAIL = CASE WHEN earlier.refund_of IS NULL THEN format('Sale %s with it is no refund.', earlier.id)
								  WHEN earlier.refund_of <> refund_sale.refunded_id THEN format('Refund %s with it is of sale %s.', earlier.id, earlier.refund_of)
								  ELSE format('Refund %s with it is of other items or quantities.', earlier.id) END,
					HINT = 'Give each refund its own external_id, and repeat a refund with the same lines.';
		END IF;
		sale_id := earlier.id;
		total := earlier.amount;
		repeated := true;
		RETURN;
	END IF;

	SELECT s.* INTO sold FROM customer_groups.sales s
	WHERE s.customer_id = refund_sale.customer_id AND s.id = refund_sale.refunded_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown sale'
			USING ERRCODE = '02000', DETAIL = format('Customer %s has no sale with id %s.', refund_sale.customer_id, refund_sale.refunded_id),
				HINT = 'Give the sale_id that record_sale() returned.';
	END IF;
	IF sold.kind = 'refund' THEN
		RAISE EXCEPTION 'a refund cannot be refunded'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Sale %s is a refund.', sold.id),
				HINT = 'Record a new sale.';
	END IF;
	SELECT sold.amount + coalesce(sum(r.amount), 0), coalesce(array_agg(r.id), '{}') INTO left_money, refunds
	FROM customer_groups.sales r
	WHERE r.customer_id = sold.customer_id AND r.refund_of = sold.id;

	-- Never more than was sold.
	SELECT w.item_id, w.quantity, coalesce(sum(v.quantity), 0) AS sold, coalesce(sum(v.refunded_quantity), 0) AS refunded INTO excess
	FROM unnest(items, quantities) AS w (item_id, quantity)
	LEFT JOIN customer_groups.line_refunds v
		ON v.customer_id = sold.customer_id AND v.sale_id = sold.id AND v.item_id = w.item_id
	GROUP BY w.item_id, w.quantity
	HAVING w.quantity > coalesce(sum(greatest(v.quantity - v.refunded_quantity, 0)), 0)
	ORDER BY w.item_id LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'more would be refunded than was sold'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('Of item %s, sale %s has %s, of which %s were refunded; %s are asked for.', excess.item_id, sold.id,
								trim_scale(excess.sold), trim_scale(excess.refunded), trim_scale(excess.quantity)),
				HINT = 'Leave out the lines to refund all that is left.';
	END IF;
	IF items IS NULL AND left_money <= 0
		AND NOT EXISTS (SELECT FROM customer_groups.line_refunds v
						WHERE v.customer_id = sold.customer_id AND v.sale_id = sold.id AND v.refunded_quantity < v.quantity)
	THEN
		RAISE EXCEPTION 'nothing is left to refund'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Sale %s of %s was refunded completely.', sold.id, sold.amount),
				HINT = 'Repeat a refund with its external_id to get the first one.';
	END IF;

	-- Of an item on several lines, the first ones first. What a line, its discount or a share of it has been refunded
	-- afterwards is the part that belongs to the quantity; the refund is the difference to what it had been before.
	WITH line AS MATERIALIZED (
		SELECT v.*, a.taken, v.refunded_quantity + a.taken AS part
		FROM (SELECT x.*, greatest(x.quantity - x.refunded_quantity, 0) AS rest,
				coalesce(sum(greatest(x.quantity - x.refunded_quantity, 0)) OVER (
					PARTITION BY x.item_id ORDER BY x.line_no ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
			  FROM customer_groups.line_refunds x
			  WHERE x.customer_id = sold.customer_id AND x.sale_id = sold.id) v
		CROSS JOIN LATERAL (
			SELECT CASE WHEN items IS NULL THEN v.rest
					ELSE least(v.rest, coalesce(quantities[array_position(items, v.item_id)], 0) - v.before) END AS taken) a
		WHERE a.taken > 0
	), back AS MATERIALIZED (
		SELECT l.*, greatest(customer_groups.part_of(l.total, l.part, l.quantity, l.digits) - l.refunded_total, 0) AS back_total,
			-- What no promotion gave is refunded in parts as well.
			coalesce(s.amount, 0) + greatest(
				customer_groups.part_of(greatest(l.discount - coalesce(s.discount, 0), 0), l.part, l.quantity, l.digits)
					- (l.refunded_discount - coalesce(s.refunded, 0)), 0) AS back_discount,
			s.promotion_ids, s.amounts, s.group_ids
		FROM line l
		CROSS JOIN LATERAL (
			SELECT sum(a.amount) AS amount, sum(p.discount) AS discount, sum(b.refunded) AS refunded,
				array_agg(p.promotion_id) AS promotion_ids, array_agg(a.amount) AS amounts, array_agg(p.group_id) AS group_ids
			FROM customer_groups.sale_line_promotions p
			CROSS JOIN LATERAL (
				SELECT coalesce(sum(x.discount), 0) AS refunded FROM customer_groups.sale_line_promotions x
				WHERE x.customer_id = sold.customer_id AND x.sale_id = ANY (refunds) AND x.line_no = l.line_no
					AND x.promotion_id = p.promotion_id) b
			CROSS JOIN LATERAL (
				SELECT greatest(customer_groups.part_of(p.discount, l.part, l.quantity, l.digits) - b.refunded, 0) AS amount) a
			WHERE p.customer_id = sold.customer_id AND p.sale_id = sold.id AND p.line_no = l.line_no) s
	), refund AS (
		INSERT INTO customer_groups.sales AS s (customer_id, store_id, kind, amount, rate, sold_at, external_id, refund_of)
		SELECT sold.customer_id, sold.store_id, 'refund',
			- CASE WHEN items IS NULL THEN left_money ELSE (SELECT sum(b.back_total) FROM back b) END,
			sold.rate, refund_sale.at, refund_sale.external_id, sold.id
		RETURNING s.id, s.amount
	), written AS (
		INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price, discount, total)
		SELECT sold.customer_id, r.id, b.line_no, b.item_id, b.taken, b.unit_price, b.back_discount, b.back_total
		FROM back b CROSS JOIN refund r
	), promoted AS (
		INSERT INTO customer_groups.sale_line_promotions (customer_id, sale_id, line_no, promotion_id, discount, group_id)
		SELECT sold.customer_id, r.id, b.line_no, u.promotion_id, u.amount, u.group_id
		FROM back b CROSS JOIN refund r
		CROSS JOIN LATERAL unnest(b.promotion_ids, b.amounts, b.group_ids) AS u (promotion_id, amount, group_id)
	)
	SELECT r.id, r.amount, false INTO refund_sale.sale_id, refund_sale.total, refund_sale.repeated FROM refund r;
	IF refund_sale.total < - left_money THEN
		RAISE EXCEPTION 'more would be refunded than was paid'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('Of sale %s, %s is left to refund, and the lines come to %s.', sold.id, left_money, - refund_sale.total),
				HINT = 'Leave out the lines to refund all that is left, or insert the refund with its amount into table sales.';
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.refund_sale(bigint, bigint, jsonb, timestamptz, text) IS 'The work of record_refund(); errors as record_refund().';

CREATE FUNCTION customer_groups.is_same_refund(customer_id bigint, refunded_id bigint, refund_id bigint, items bigint[], quantities numeric[])
	RETURNS boolean
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT CASE WHEN items IS NOT NULL THEN
			NOT EXISTS (
				SELECT FROM (SELECT l.item_id, sum(l.quantity) AS quantity FROM customer_groups.sale_lines l
							 WHERE l.customer_id = is_same_refund.customer_id AND l.sale_id = refund_id
							 GROUP BY l.item_id) b
				FULL JOIN unnest(items, quantities) AS w (item_id, quantity) ON w.item_id = b.item_id
				WHERE w.quantity IS DISTINCT FROM b.quantity)
		ELSE
			-- All that was left: after it, nothing was.
			NOT EXISTS (
				SELECT FROM customer_groups.sales s
				JOIN customer_groups.sale_lines l ON l.customer_id = s.customer_id AND l.sale_id = s.id
				WHERE s.customer_id = is_same_refund.customer_id
					AND (s.id = refunded_id OR (s.refund_of = refunded_id AND s.id <= refund_id))
				GROUP BY l.line_no HAVING sum(CASE s.id WHEN refunded_id THEN l.quantity ELSE - l.quantity END) > 0)
			AND (SELECT sum(s.amount) <= 0 FROM customer_groups.sales s
				 WHERE s.customer_id = is_same_refund.customer_id
					AND (s.id = refunded_id OR (s.refund_of = refunded_id AND s.id <= refund_id)))
		END;
	END;
COMMENT ON FUNCTION customer_groups.is_same_refund(bigint, bigint, bigint, bigint[], numeric[]) IS
	'Whether a refund took back these quantities of these items; with null items, all that was left of the sale.';

CREATE FUNCTION customer_groups.record_refund(
		customer_id bigint, sale_id bigint, lines jsonb DEFAULT NULL, at timestamptz DEFAULT now(), external_id text DEFAULT NULL,
		OUT sale_id bigint, OUT total numeric, OUT repeated boolean)
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT r.sale_id, r.total, r.repeated
		FROM customer_groups.refund_sale(customer_id, sale_id, lines, at, external_id) r;
	END;
COMMENT ON FUNCTION customer_groups.record_refund(bigint, bigint, jsonb, timestamptz, text) IS
	'Records a refund of a sale and returns it: its id and its amount, which is 0 or less, in the store''s currency and at the rate of the sale. lines: [{"item": 7, "quantity": 2}, …], of an item on several lines the first ones first; null: all that is left. A part gives back its share of what was paid, to the minor unit, so that all parts together give back exactly that. Never more than was sold, counting earlier refunds of the sale (22023), which is also raised when nothing is left, for a sale that is a refund, and for no line. Safe to retry with an external_id, as record_sale(): the same sale and quantities give the first refund with repeated true, others are 22023. An unknown customer or sale is 02000, a null one, or a null time, 22004.';
