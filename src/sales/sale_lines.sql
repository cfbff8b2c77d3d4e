-- The lines of a sale, and the promotions' shares in them.

CREATE TABLE customer_groups.sale_lines (
	customer_id bigint,
	sale_id bigint,
	line_no int,
	item_id bigint NOT NULL,
	quantity numeric NOT NULL,
	unit_price numeric NOT NULL,
	discount numeric NOT NULL DEFAULT 0,
	total numeric,
	recorded_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT sale_lines_pkey PRIMARY KEY (customer_id, sale_id, line_no),
	CONSTRAINT sale_lines_sale_id_fkey FOREIGN KEY (customer_id, sale_id) REFERENCES customer_groups.sales ON DELETE CASCADE,
	CONSTRAINT sale_lines_item_id_fkey FOREIGN KEY (item_id) REFERENCES customer_groups.items,
	CONSTRAINT sale_lines_line_no_check CHECK (line_no > 0),
	CONSTRAINT sale_lines_quantity_check CHECK (customer_groups.is_money(quantity)),
	CONSTRAINT sale_lines_unit_price_check CHECK (customer_groups.is_money(unit_price)),
	CONSTRAINT sale_lines_discount_check CHECK (customer_groups.is_money(discount)),
	CONSTRAINT sale_lines_total_check CHECK (customer_groups.is_money(total)),
	CONSTRAINT sale_lines_recorded_at_check CHECK (isfinite(recorded_at))
);
CREATE INDEX sale_lines_item_id_idx ON customer_groups.sale_lines (item_id);
COMMENT ON TABLE customer_groups.sale_lines IS 'What was sold in a sale, or given back by a refund.';
COMMENT ON COLUMN customer_groups.sale_lines.customer_id IS 'Customer; never updated.';
COMMENT ON COLUMN customer_groups.sale_lines.sale_id IS 'Sale.';
COMMENT ON COLUMN customer_groups.sale_lines.line_no IS 'Place in the sale, from 1; in a refund by record_refund() that of the line given back.';
COMMENT ON COLUMN customer_groups.sale_lines.item_id IS 'Item.';
COMMENT ON COLUMN customer_groups.sale_lines.quantity IS 'How much of it, in the item''s unit; also in a refund not negative.';
COMMENT ON COLUMN customer_groups.sale_lines.unit_price IS 'List price of one unit, in the store''s currency.';
COMMENT ON COLUMN customer_groups.sale_lines.discount IS 'Discount of the whole line, in the store''s currency; also in a refund not negative.';
COMMENT ON COLUMN customer_groups.sale_lines.total IS 'What was paid for the line, or given back for it, in the store''s currency, not negative; null: quantity × unit_price − discount, rounded half up to the minor unit.';
COMMENT ON COLUMN customer_groups.sale_lines.recorded_at IS 'When the row was first inserted; another time than the transaction''s marks a restored row, for which triggers do nothing.';

CREATE FUNCTION customer_groups.lines_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_lines_changed' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.lines_changed() IS 'Trigger: keeps tracked segments in step with what was sold.';
CREATE TRIGGER lines_inserted AFTER INSERT ON customer_groups.sale_lines
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lines_changed();
CREATE TRIGGER lines_updated AFTER UPDATE ON customer_groups.sale_lines
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lines_changed();
CREATE TRIGGER lines_deleted AFTER DELETE ON customer_groups.sale_lines
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lines_changed();

CREATE TABLE customer_groups.sale_line_promotions (
	customer_id bigint,
	sale_id bigint,
	line_no int,
	promotion_id int,
	discount numeric NOT NULL,
	group_id int,
	CONSTRAINT sale_line_promotions_pkey PRIMARY KEY (customer_id, sale_id, line_no, promotion_id),
	CONSTRAINT sale_line_promotions_line_no_fkey FOREIGN KEY (customer_id, sale_id, line_no) REFERENCES customer_groups.sale_lines ON DELETE CASCADE,
	CONSTRAINT sale_line_promotions_promotion_id_fkey FOREIGN KEY (promotion_id) REFERENCES customer_groups.promotions,
	CONSTRAINT sale_line_promotions_discount_check CHECK (customer_groups.is_money(discount))
);
CREATE INDEX sale_line_promotions_promotion_id_idx ON customer_groups.sale_line_promotions (promotion_id);
COMMENT ON TABLE customer_groups.sale_line_promotions IS 'How much of a line''s discount came from which promotion.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.customer_id IS 'Customer; never updated.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.sale_id IS 'Sale.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.line_no IS 'Line.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.promotion_id IS 'Promotion; one that a sale used is not deleted.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.discount IS 'Its share of the line''s discount, in the store''s currency; also in a refund not negative.';
COMMENT ON COLUMN customer_groups.sale_line_promotions.group_id IS 'The group through which the customer had it (of several the lowest id), which may have been deleted since; null: it was open to all, or for a segment.';

CREATE TRIGGER refuse_key_change BEFORE UPDATE ON customer_groups.sale_lines
	FOR EACH ROW WHEN (OLD.customer_id <> NEW.customer_id)
	EXECUTE FUNCTION customer_groups.refuse_key_change('customer_id');
CREATE TRIGGER refuse_key_change BEFORE UPDATE ON customer_groups.sale_line_promotions
	FOR EACH ROW WHEN (OLD.customer_id <> NEW.customer_id)
	EXECUTE FUNCTION customer_groups.refuse_key_change('customer_id');

CREATE FUNCTION customer_groups.refuse_used_promotion() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF EXISTS (SELECT FROM customer_groups.sale_line_promotions WHERE promotion_id = OLD.id) THEN
		RAISE EXCEPTION 'promotion "%" cannot be deleted', OLD.code
			USING ERRCODE = 'dependent_objects_still_exist',
				DETAIL = 'Sales have used it.',
				HINT = 'Set active = false to end it.';
	END IF;
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION customer_groups.refuse_used_promotion() IS 'Trigger: a promotion that a sale used is not deleted (2BP01).';
CREATE TRIGGER refuse_used_promotion BEFORE DELETE ON customer_groups.promotions
	FOR EACH ROW EXECUTE FUNCTION customer_groups.refuse_used_promotion();
