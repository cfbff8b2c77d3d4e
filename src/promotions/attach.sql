-- Attaching promotions to groups, and what is said of whom promotions are open to and what they cover.

CREATE FUNCTION customer_groups.promotion_id_of(promotion_code text) RETURNS int
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	result int;
BEGIN
	IF promotion_code IS NULL THEN
		RAISE EXCEPTION 'the promotion must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the code of a promotion.';
	END IF;
	SELECT p.id INTO result FROM customer_groups.promotions p WHERE p.code = promotion_code;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown promotion'
			USING ERRCODE = '02000', DETAIL = format('There is no promotion with code "%s".', promotion_code),
				HINT = 'Insert it first, or give the code of an existing one.';
	END IF;
	RETURN result;
END
$$;
COMMENT ON FUNCTION customer_groups.promotion_id_of(text) IS 'The id of a promotion; an unknown code is 02000, a null one 22004.';

CREATE FUNCTION customer_groups.attach_promotions(group_code text, promotion_codes text[]) RETURNS int
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	to_group int := customer_groups.group_id_of(group_code);
	changed int;
BEGIN
	IF promotion_codes IS NULL THEN
		RAISE EXCEPTION 'the list of promotions must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the codes of the promotions.';
	END IF;
	INSERT INTO customer_groups.promotion_groups (promotion_id, group_id)
	SELECT DISTINCT customer_groups.promotion_id_of(u.code), to_group FROM unnest(promotion_codes) AS u (code)
	ORDER BY 1
	ON CONFLICT ON CONSTRAINT promotion_groups_pkey DO NOTHING;
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION customer_groups.attach_promotions(text, text[]) IS
	'Attaches promotions to a group; how many were not yet. Says so of those that stay open to everybody because they are not groups_only. Unknown group or promotion: 02000, with nothing attached; null: 22004.';

CREATE FUNCTION customer_groups.attach_promotion(group_code text, promotion_code text) RETURNS boolean
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
	RETURN customer_groups.attach_promotions(group_code, ARRAY[promotion_code]) > 0;
COMMENT ON FUNCTION customer_groups.attach_promotion(text, text) IS
	'attach_promotions() for one promotion; false when it was attached already. Errors as attach_promotions(); a null promotion is 22004.';

CREATE FUNCTION customer_groups.detach_promotions(group_code text, promotion_codes text[]) RETURNS int
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	from_group int := customer_groups.group_id_of(group_code);
	changed int;
BEGIN
	IF promotion_codes IS NULL THEN
		RAISE EXCEPTION 'the list of promotions must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the codes of the promotions.';
	END IF;
	DELETE FROM customer_groups.promotion_groups a
	WHERE a.group_id = from_group
		AND a.promotion_id = ANY (ARRAY(SELECT customer_groups.promotion_id_of(u.code)
										FROM unnest(promotion_codes) AS u (code)));
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION customer_groups.detach_promotions(text, text[]) IS
	'Detaches promotions from a group; how many were attached. Says so of those that are then open to nobody. Unknown group or promotion: 02000, with nothing detached; null: 22004.';

CREATE FUNCTION customer_groups.detach_promotion(group_code text, promotion_code text) RETURNS boolean
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
	RETURN customer_groups.detach_promotions(group_code, ARRAY[promotion_code]) > 0;
COMMENT ON FUNCTION customer_groups.detach_promotion(text, text) IS
	'detach_promotions() for one promotion; false when it was not attached. Errors as detach_promotions(); a null promotion is 22004.';

CREATE FUNCTION customer_groups.set_group_discount(
		group_code text, kind text, value numeric, min_order_value numeric DEFAULT NULL,
		item_ids bigint[] DEFAULT NULL, category_codes text[] DEFAULT NULL, brand_codes text[] DEFAULT NULL)
	RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	to_group int := customer_groups.group_id_of(group_code);
	unknown record;
	made record;
BEGIN
	IF set_group_discount.kind IS NULL OR set_group_discount.value IS NULL THEN
		RAISE EXCEPTION 'the kind and the value of a discount must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a kind (percent, amount or fixed_price) and a value.';
	END IF;
	IF set_group_discount.kind NOT IN ('percent', 'amount', 'fixed_price') THEN
		RAISE EXCEPTION 'unknown kind of discount'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The kind is "%s".', set_group_discount.kind),
				HINT = 'The kinds are percent, amount and fixed_price.';
	END IF;
	IF NOT customer_groups.is_money(set_group_discount.value)
		OR (set_group_discount.kind = 'percent' AND set_group_discount.value > 100)
		OR NOT coalesce(customer_groups.is_money(set_group_discount.min_order_value), true)
	THEN
		RAISE EXCEPTION 'invalid discount'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('The value is %s, the least order value %s.', set_group_discount.value,
								coalesce(set_group_discount.min_order_value::text, 'null')),
				HINT = 'Per cent go from 0 to 100; money is not negative, less than 10^14, and has at most 8 decimals.';
	END IF;
	SELECT w.* INTO unknown
	FROM (SELECT 'item' AS what, u.id::text AS key, i.id AS found
		  FROM unnest(item_ids) AS u (id) LEFT JOIN customer_groups.items i ON i.id = u.id
		  UNION ALL
		  SELECT 'category', u.code, c.id
		  FROM unnest(category_codes) AS u (code) LEFT JOIN customer_groups.categories c ON c.code = u.code
		  UNION ALL
		  SELECT 'brand', u.code, b.id
		  FROM unnest(brand_codes) AS u (code) LEFT JOIN customer_groups.brands b ON b.code = u.code) w
	WHERE w.found IS NULL
	ORDER BY w.key IS NULL DESC, w.what, w.key LIMIT 1;
	IF FOUND THEN
		IF unknown.key IS NULL THEN
			RAISE EXCEPTION 'the % must not be null', unknown.what
				USING ERRCODE = 'null_value_not_allowed', HINT = 'Leave it out of the list.';
		END IF;
		RAISE EXCEPTION 'unknown %', unknown.what
			USING ERRCODE = '02000',
				DETAIL = format(CASE unknown.what WHEN 'item' THEN 'There is no %s with id %s.'
									ELSE 'There is no %s with code "%s".' END, unknown.what, unknown.key),
				HINT = 'Insert it first, or leave it out of the list.';
	END IF;

	INSERT INTO customer_groups.promotions AS p (name, kind, value, min_order_value, groups_only)
	SELECT g.name, set_group_discount.kind, set_group_discount.value, set_group_discount.min_order_value, true
	FROM customer_groups.groups g WHERE g.id = to_group
	RETURNING p.id, p.code INTO made;
	INSERT INTO customer_groups.promotion_items (promotion_id, item_id)
	SELECT DISTINCT made.id, u.id FROM unnest(item_ids) AS u (id);
	INSERT INTO customer_groups.promotion_categories (promotion_id, category_id)
	SELECT made.id, c.id FROM customer_groups.categories c WHERE c.code = ANY (category_codes);
	INSERT INTO customer_groups.promotion_brands (promotion_id, brand_id)
	SELECT made.id, b.id FROM customer_groups.brands b WHERE b.code = ANY (brand_codes);
	INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (made.id, to_group);
	RETURN made.code;
END
$$;
COMMENT ON FUNCTION customer_groups.set_group_discount(text, text, numeric, numeric, bigint[], text[], text[]) IS
	'Makes one more promotion, for this group only and named like it, and returns its code. kind: percent, amount (off) or fixed_price; value in per cent, or in the settings'' currency per unit, as is min_order_value (null: any order). It covers the items, categories (with all below them) and brands given; null or empty lists of all three: the whole assortment. Discounts that the group had stay: of several the customer gets the best. Unknown group, item, category or brand: 02000, with nothing made; an unknown kind or invalid value: 22023; null: 22004.';

-- What is said, by whatever road it came about, once for each statement.

CREATE FUNCTION customer_groups.promotions_now(ids int[])
	RETURNS TABLE (code text, groups_only boolean, has_groups boolean, has_segments boolean, has_coverage boolean, has_stores boolean)
	AS 'MODULE_PATHNAME', 'cg_promotions_now'
	LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION customer_groups.promotions_now(int[]) IS
	'Whether promotions are for groups only, attached to any group or segment, cover certain items, categories or brands, and are for certain stores at this moment, whatever the snapshot. No row for null.';

CREATE FUNCTION customer_groups.say_of_promotions(codes text[], one text, many text, hint text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF cardinality(codes) > 0 THEN
		RAISE NOTICE '%', CASE cardinality(codes) WHEN 1 THEN format('promotion "%s" %s', codes[1], one)
							   ELSE format('%s promotions %s', cardinality(codes), many) END
			USING DETAIL = format('Codes: %s%s.', array_to_string(ARRAY(SELECT quote_ident(u.code) FROM unnest(codes[:20]) AS u (code)), ', '),
								  CASE WHEN cardinality(codes) > 20 THEN ' and more' END),
				HINT = hint;
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.say_of_promotions(text[], text, text, text) IS 'Raises one NOTICE about promotions, none for an empty list or null.';

CREATE FUNCTION customer_groups.say_attached() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	ids int[];
BEGIN
	IF TG_OP = 'INSERT' THEN
		ids := ARRAY(SELECT DISTINCT n.promotion_id FROM new_rows n WHERE n.recorded_at = now());
	ELSE
		ids := ARRAY(SELECT DISTINCT x.promotion_id FROM (SELECT promotion_id, group_id FROM new_rows
					 EXCEPT SELECT promotion_id, group_id FROM old_rows) x);
	END IF;
	PERFORM customer_groups.say_of_promotions(
		ARRAY(SELECT p.code FROM customer_groups.promotions_now(ids) p
			  WHERE NOT p.groups_only AND NOT p.has_segments ORDER BY p.code),
		'stays open to everybody', 'stay open to everybody',
		'Set groups_only to keep it to its groups and segments, for good.');
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION customer_groups.say_attached() IS 'Trigger: says of promotions attached to a group that they stay open to everybody.';
CREATE TRIGGER say_inserted AFTER INSERT ON customer_groups.promotion_groups
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.say_attached();
CREATE TRIGGER say_updated AFTER UPDATE ON customer_groups.promotion_groups
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.say_attached();

CREATE FUNCTION customer_groups.say_detached() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	ids int[] := ARRAY(SELECT DISTINCT o.promotion_id FROM old_rows o);
BEGIN
	-- As for each promotion that is deleted.
	IF ids = '{}' THEN
		RETURN NULL;
	END IF;
	IF TG_TABLE_NAME = 'promotion_stores' THEN
		PERFORM customer_groups.say_of_promotions(
			ARRAY(SELECT p.code FROM customer_groups.promotions_now(ids) p WHERE NOT p.has_stores ORDER BY p.code),
			'is now for every store', 'are now for every store',
			'Name the stores that it is for, or set active = false to end it.');
		RETURN NULL;
	ELSIF TG_TABLE_NAME NOT IN ('promotion_groups', 'promotion_segments') THEN
		PERFORM customer_groups.say_of_promotions(
			ARRAY(SELECT p.code FROM customer_groups.promotions_now(ids) p WHERE NOT p.has_coverage ORDER BY p.code),
			'now covers the whole assortment', 'now cover the whole assortment',
			'Name what it covers, or set active = false to end it.');
		RETURN NULL;
	ELSIF TG_TABLE_NAME = 'promotion_segments' THEN
		PERFORM customer_groups.say_of_promotions(
			ARRAY(SELECT p.code FROM customer_groups.promotions_now(ids) p
				  WHERE NOT p.groups_only AND NOT p.has_segments ORDER BY p.code),
			'is now open to everybody', 'are now open to everybody',
			'Set groups_only to keep it to its groups and segments, for good, or active = false to end it.');
	END IF;
	PERFORM customer_groups.say_of_promotions(
		ARRAY(SELECT p.code FROM customer_groups.promotions_now(ids) p
			  WHERE p.groups_only AND NOT p.has_groups AND NOT p.has_segments ORDER BY p.code),
		'is now open to nobody', 'are now open to nobody',
		'Attach it to a group or a segment, or set active = false.');
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION customer_groups.say_detached() IS
	'Trigger: says of promotions detached from their last segment that they are open to everybody, of those for groups only that are attached to nothing any more that they are open to nobody, and of those that name nothing any more that they cover the whole assortment, or are for every store.';
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY '{promotion_groups,promotion_segments,promotion_items,promotion_categories,promotion_brands,promotion_stores}'::pg_catalog.text[]
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER say_deleted AFTER DELETE ON customer_groups.%1$I REFERENCING OLD TABLE AS old_rows
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.say_detached();
			CREATE TRIGGER say_moved AFTER UPDATE ON customer_groups.%1$I REFERENCING OLD TABLE AS old_rows
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.say_detached();
			CREATE TRIGGER delete_before_truncate BEFORE TRUNCATE ON customer_groups.%1$I
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.delete_before_truncate()', name);
	END LOOP;
END
$$;
