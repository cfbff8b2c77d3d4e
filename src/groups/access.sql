-- Access levels: what roles may do, given as ordinary privileges.
--
-- A level is a set of privileges on tables and functions; which levels a role
-- holds is itself a privilege, on a column of access_marks, so that a dump, a
-- renamed role and a dropped one need no care.

CREATE VIEW customer_groups.access_marks AS
	SELECT false AS "view", false AS members, false AS edit, false AS sell;
COMMENT ON VIEW customer_groups.access_marks IS 'The right to read a column marks a role that holds the level of that name; see access_levels.';
COMMENT ON COLUMN customer_groups.access_marks."view" IS 'Read by who holds the level view.';
COMMENT ON COLUMN customer_groups.access_marks.members IS 'Read by who holds the level members.';
COMMENT ON COLUMN customer_groups.access_marks.edit IS 'Read by who holds the level edit.';
COMMENT ON COLUMN customer_groups.access_marks.sell IS 'Read by who holds the level sell.';

-- What each level gives beyond those that it includes: a table with the
-- privileges on it and, where not the whole table, the columns; or a function.
CREATE FUNCTION customer_groups.level_grants(level text)
	RETURNS TABLE (object text, privileges text, columns text)
	LANGUAGE sql STABLE
	BEGIN ATOMIC
		-- view: reads everything but the settings.
		SELECT format('%I.%I', n.nspname, c.relname), 'SELECT', NULL::text
		FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
		WHERE level = 'view' AND e.extname = 'customer_groups' AND c.relkind IN ('r', 'v')
			AND c.relname NOT IN ('settings', 'access_marks', 'cache_stamps')
		UNION ALL
		SELECT 'customer_groups.' || t.name, t.privileges, NULL
		FROM (VALUES
			('members', 'customers', 'UPDATE'),
			('members', 'members', 'UPDATE, DELETE'),
			('edit', 'customers', 'DELETE'),
			('edit', 'groups', 'UPDATE, DELETE'),
			('edit', 'group_store_pricing', 'UPDATE, DELETE'),
			('edit', 'ladders', 'INSERT, UPDATE, DELETE'),
			('edit', 'stores', 'INSERT, UPDATE, DELETE'),
			('edit', 'brands', 'INSERT, UPDATE, DELETE'),
			('edit', 'categories', 'INSERT, UPDATE, DELETE'),
			('edit', 'items', 'INSERT, UPDATE, DELETE'),
			('edit', 'item_categories', 'UPDATE, DELETE'),
			('edit', 'store_prices', 'INSERT, UPDATE, DELETE'),
			('edit', 'segments', 'UPDATE, DELETE'),
			('edit', 'promotions', 'INSERT, UPDATE, DELETE'),
			('edit', 'promotion_items', 'INSERT, UPDATE, DELETE'),
			('edit', 'promotion_categories', 'INSERT, UPDATE, DELETE'),
			('edit', 'promotion_brands', 'INSERT, UPDATE, DELETE'),
			('edit', 'promotion_stores', 'INSERT, UPDATE, DELETE'),
			('edit', 'promotion_groups', 'UPDATE, DELETE'),
			('edit', 'promotion_segments', 'INSERT, UPDATE, DELETE'),
			('sell', 'sale_line_promotions', 'INSERT')
		) AS t (level, name, privileges)
		WHERE t.level = level_grants.level
		UNION ALL
		-- recorded_at is for restores: these are inserted into without it.
		SELECT 'customer_groups.' || t.name, 'INSERT',
			(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
			 FROM pg_attribute a
			 WHERE a.attrelid = ('customer_groups.' || t.name)::regclass AND a.attnum > 0
				AND NOT a.attisdropped AND a.attname <> 'recorded_at')
		FROM (VALUES
			('members', 'customers'),
			('members', 'members'),
			('edit', 'groups'),
			('edit', 'group_store_pricing'),
			('edit', 'item_categories'),
			('edit', 'segments'),
			('edit', 'promotion_groups'),
			('sell', 'sales'),
			('sell', 'sale_lines')
		) AS t (level, name)
		WHERE t.level = level_grants.level
		UNION ALL
		SELECT 'ROUTINE customer_groups.' || f.signature, 'EXECUTE', NULL
		FROM (VALUES
			('view', 'effective_discount(bigint, bigint, int, numeric, numeric, timestamptz)'),
			('view', 'effective_price(bigint, bigint, int, numeric, numeric, timestamptz)'),
			('view', 'effective_discounts(bigint, bigint[], int, timestamptz)'),
			('view', 'explain_discount(bigint, bigint, int, numeric, numeric, timestamptz)'),
			('view', 'price_cart(bigint, jsonb, int, timestamptz)'),
			('view', 'effective_discount_by_key(text, text, int, numeric, numeric, timestamptz)'),
			('view', 'effective_price_by_key(text, text, int, numeric, numeric, timestamptz)'),
			('view', 'effective_discounts_by_key(text, text[], int, timestamptz)'),
			('view', 'price_cart_by_key(text, jsonb, int, timestamptz)'),
			('view', 'segments_of_by_key(text, timestamptz)'),
			('view', 'groups_of(bigint, timestamptz)'),
			('view', 'members_of(text, timestamptz)'),
			('view', 'find_groups(text)'),
			('view', 'search_customers(text)'),
			('view', 'segments_of(bigint, timestamptz)'),
			('view', 'labels_of(bigint[], timestamptz)'),
			('view', 'in_segment(bigint, text, timestamptz)'),
			('view', 'matches(bigint, customer_groups.segment_rule, timestamptz)'),
			('view', 'segment_sql(text, timestamptz)'),
			('view', 'segment_customers(text, timestamptz)'),
			('view', 'rule_customers(customer_groups.segment_rule, timestamptz)'),
			('view', 'segment_size(text, timestamptz)'),
			('view', 'segment_sizes(timestamptz)'),
			('view', 'segment_overlap(text, text, timestamptz)'),
			('view', 'preview_segment(customer_groups.segment_rule, timestamptz)'),
			('view', 'preview_change(text, customer_groups.segment_rule, timestamptz)'),
			('view', 'group_id_of(text)'),
			('view', 'check_customers(bigint[])'),
			('view', 'check_horizon(timestamptz)'),
			('view', 'customer_id_of(text)'),
			('view', 'tier_of(bigint, text)'),
			('view', 'tier_progress(bigint, text, timestamptz)'),
			('view', 'rule_names(customer_groups.segment_rule)'),
			('members', 'lock_customers(bigint[])'),
			('members', 'add_member_by_key(text, text, date)'),
			('members', 'add_member(bigint, text, date)'),
			('members', 'remove_member(bigint, text)'),
			('members', 'set_groups(bigint, text[])'),
			('members', 'enroll(bigint, text[])'),
			('members', 'may_enroll_many()'),
			('edit', 'report_progress(text, bigint, bigint)'),
			('edit', 'add_members(text, bigint[])'),
			('edit', 'remove_members(text, bigint[])'),
			('edit', 'move_members(bigint[], text, text)'),
			('edit', 'add_members_by_email(text, text)'),
			('edit', 'set_store_pricing(text, int, boolean)'),
			('edit', 'delete_group(text)'),
			('edit', 'load_default_segments(text, numeric)'),
			('edit', 'advance_segments(timestamptz)'),
			('edit', 'fill_segments(int)'),
			('edit', 'promotion_id_of(text)'),
			('edit', 'attach_promotion(text, text)'),
			('edit', 'attach_promotions(text, text[])'),
			('edit', 'detach_promotion(text, text)'),
			('edit', 'detach_promotions(text, text[])'),
			('edit', 'set_group_discount(text, text, numeric, numeric, bigint[], text[], text[])'),
			('sell', 'lock_customers(bigint[])'),
			('sell', 'read_cart(jsonb, boolean)'),
			('sell', 'priced_lines(bigint, jsonb, int, timestamptz)'),
			('sell', 'part_of(numeric, numeric, numeric, int)'),
			('sell', 'record_sale(bigint, jsonb, int, timestamptz, text, customer_groups.sale_kind, numeric)'),
			('sell', 'record_sale_by_key(text, jsonb, int, timestamptz, text, customer_groups.sale_kind, numeric)'),
			('sell', 'refund_sale(bigint, bigint, jsonb, timestamptz, text)'),
			('sell', 'is_same_refund(bigint, bigint, bigint, bigint[], numeric[])'),
			('edit', 'review_tiers(text, boolean, timestamptz)'),
			('sell', 'record_refund(bigint, bigint, jsonb, timestamptz, text)')
		) AS f (level, signature)
		WHERE f.level = level_grants.level;
	END;
COMMENT ON FUNCTION customer_groups.level_grants(text) IS
	'What an access level gives beyond the levels it includes: tables with privileges and columns (null: all), and functions.';

CREATE FUNCTION customer_groups.included_levels(level text) RETURNS text[]
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF level IS NULL THEN
		RAISE EXCEPTION 'the level must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'The levels are view, members, edit and sell.';
	END IF;
	CASE level
		WHEN 'view' THEN RETURN '{view}';
		WHEN 'members' THEN RETURN '{view,members}';
		WHEN 'edit' THEN RETURN '{view,members,edit}';
		WHEN 'sell' THEN RETURN '{view,sell}';
		ELSE
			RAISE EXCEPTION 'unknown access level'
				USING ERRCODE = 'invalid_parameter_value',
					DETAIL = format('There is no level "%s".', level),
					HINT = 'The levels are view, members, edit and sell.';
	END CASE;
END
$$;
COMMENT ON FUNCTION customer_groups.included_levels(text) IS 'An access level and those that it includes; an unknown one is 22023, a null one 22004.';

CREATE FUNCTION customer_groups.check_owner() RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF NOT (SELECT pg_has_role(current_user, c.relowner, 'USAGE') FROM pg_class c
			WHERE c.oid = 'customer_groups.settings'::regclass)
	THEN
		RAISE EXCEPTION 'permission denied'
			USING ERRCODE = 'insufficient_privilege',
				DETAIL = format('Role "%s" does not own the extension''s tables.', current_user),
				HINT = 'Ask their owner.';
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.check_owner() IS 'Raises 42501 unless the current user has the rights of the tables'' owner.';

CREATE FUNCTION customer_groups.check_role(role regrole) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION 'the role must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give an existing role.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = role) THEN
		RAISE EXCEPTION 'unknown role'
			USING ERRCODE = 'undefined_object', DETAIL = format('There is no role "%s".', role),
				HINT = 'Give an existing role.';
	END IF;
	-- To revoke a level from the owner would take its own rights away.
	IF role = (SELECT c.relowner FROM pg_class c WHERE c.oid = 'customer_groups.settings'::regclass) THEN
		RAISE EXCEPTION 'the owner needs no access level'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('Role %s owns the extension''s tables and may do everything.', role),
				HINT = 'Give another role.';
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.check_role(regrole) IS 'Raises 42704 for an unknown role, 22004 for a null one and 22023 for the tables'' owner.';

CREATE VIEW customer_groups.access_levels WITH (security_invoker) AS
	SELECT x.grantee::regrole AS role, a.attname::text AS level
	FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) x
	WHERE a.attrelid = 'customer_groups.access_marks'::regclass AND a.attnum > 0 AND x.privilege_type = 'SELECT';
COMMENT ON VIEW customer_groups.access_levels IS 'The access levels that roles hold: view, members, edit, sell.';
COMMENT ON COLUMN customer_groups.access_levels.role IS 'Role.';
COMMENT ON COLUMN customer_groups.access_levels.level IS 'Level that it holds; levels that this one includes have no row.';

-- Grants to or revokes from a role what a level gives.
CREATE FUNCTION customer_groups.apply_level(role regrole, level text, give boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	part record;
BEGIN
	FOR part IN SELECT g.* FROM customer_groups.level_grants(level) g LOOP
		EXECUTE format('%s %s%s ON %s %s %s', CASE WHEN give THEN 'GRANT' ELSE 'REVOKE' END,
					   part.privileges, CASE WHEN part.columns IS NULL THEN '' ELSE format(' (%s)', part.columns) END,
					   part.object, CASE WHEN give THEN 'TO' ELSE 'FROM' END, role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION customer_groups.apply_level(regrole, text, boolean) IS 'Grants or revokes the privileges of one level, without those that it includes; nothing for a null level.';

CREATE FUNCTION customer_groups.grant_access(role regrole, level text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	levels text[] := customer_groups.included_levels(level);
BEGIN
	PERFORM customer_groups.check_owner();
	PERFORM customer_groups.check_role(role);
	EXECUTE format('GRANT USAGE ON SCHEMA customer_groups TO %s', role);
	PERFORM customer_groups.apply_level(role, u.level, true) FROM unnest(levels) AS u (level);
	EXECUTE format('GRANT SELECT (%I) ON customer_groups.access_marks TO %s', level, role);
END
$$;
COMMENT ON FUNCTION customer_groups.grant_access(regrole, text) IS
	'Gives a role an access level beside those that it holds. view: reads everything but the settings; members: view, and customers and memberships one customer at a time; edit: members, and groups, bulk changes, deleting, promotions, segments, ladders, reviews, catalog and prices; sell: view, and inserts sales. For the owner (42501); an unknown level, or the owner as the role, is 22023, an unknown role 42704, a null role or level 22004.';

CREATE FUNCTION customer_groups.revoke_access(role regrole, level text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	taken text[];
	kept text[];
	kept_parts text[];
BEGIN
	PERFORM customer_groups.check_owner();
	PERFORM customer_groups.check_role(role);
	IF level IS NOT NULL THEN
		PERFORM customer_groups.included_levels(level);
	END IF;
	taken := ARRAY(SELECT a.level FROM customer_groups.access_levels a
				   WHERE a.role = revoke_access.role AND a.level = coalesce(revoke_access.level, a.level));
	kept := ARRAY(SELECT a.level FROM customer_groups.access_levels a
				  WHERE a.role = revoke_access.role AND a.level <> ALL (taken));
	kept_parts := ARRAY(SELECT DISTINCT i.part FROM unnest(kept) AS k (level),
						unnest(customer_groups.included_levels(k.level)) AS i (part));
	-- What a level that stays includes is given again: privileges on one table may come from several.
	PERFORM customer_groups.apply_level(role, i.part, false)
	FROM (SELECT DISTINCT p.part FROM unnest(taken) AS t (level),
		  unnest(customer_groups.included_levels(t.level)) AS p (part)) i;
	PERFORM customer_groups.apply_level(role, u.part, true) FROM unnest(kept_parts) AS u (part);
	FOR i IN 1 .. cardinality(taken) LOOP
		EXECUTE format('REVOKE SELECT (%I) ON customer_groups.access_marks FROM %s', taken[i], role);
	END LOOP;
	IF kept = '{}' AND taken <> '{}' THEN
		EXECUTE format('REVOKE USAGE ON SCHEMA customer_groups FROM %s', role);
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.revoke_access(regrole, text) IS
	'Takes an access level, or all with null, from a role; what other levels of the role give stays. For the owner (42501); an unknown level, or the owner as the role, is 22023, an unknown role 42704, a null one 22004; a level that the role does not hold is not an error.';
