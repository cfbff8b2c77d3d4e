-- Groups and members for the people who keep them.

-- What the functions below share.

CREATE FUNCTION customer_groups.search_form(value text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN normalize(lower(normalize(value, NFC) COLLATE "und-x-icu"), NFC) COLLATE "C";
COMMENT ON FUNCTION customer_groups.search_form(text) IS
	'The form in which texts are compared when searching: NFC-normalised and lower-cased under und-x-icu, whatever the database''s locale; null for null.';

CREATE INDEX customers_email_idx ON customer_groups.customers (customer_groups.search_form(btrim(email)));

CREATE FUNCTION customer_groups.group_id_of(group_code text) RETURNS int
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	result int;
BEGIN
	IF group_code IS NULL THEN
		RAISE EXCEPTION 'the group must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the code of a group.';
	END IF;
	SELECT g.id INTO result FROM customer_groups.groups g WHERE g.code = group_code;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown group'
			USING ERRCODE = '02000', DETAIL = format('There is no group with code "%s".', group_code),
				HINT = 'find_groups('''') lists the groups there are.';
	END IF;
	RETURN result;
END
$$;
COMMENT ON FUNCTION customer_groups.group_id_of(text) IS 'The id of a group; an unknown code is 02000, a null one 22004.';

CREATE FUNCTION customer_groups.check_customers(customer_ids bigint[]) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	unknown bigint;
BEGIN
	IF customer_ids IS NULL OR array_position(customer_ids, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'the customer must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the id of a customer.';
	END IF;
	SELECT u.id INTO unknown FROM unnest(customer_ids) AS u (id)
	WHERE NOT EXISTS (SELECT FROM customer_groups.customers c WHERE c.id = u.id)
	ORDER BY u.id LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'unknown customer'
			USING ERRCODE = '02000', DETAIL = format('There is no customer with id %s.', unknown),
				HINT = 'Insert the customer first, or leave it out.';
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.check_customers(bigint[]) IS 'Raises 02000 for an unknown customer and 22004 for a null one.';

-- One customer.

CREATE FUNCTION customer_groups.add_member(customer_id bigint, group_code text, valid_until date DEFAULT NULL)
	RETURNS boolean
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	today date := customer_groups.shop_today();
	to_group int := customer_groups.group_id_of(group_code);
BEGIN
	PERFORM customer_groups.check_customers(ARRAY[add_member.customer_id]);
	IF add_member.valid_until = 'infinity' THEN
		RAISE EXCEPTION 'the last day must be a calendar day'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = 'The day given is infinity.',
				HINT = 'Give null for no end.';
	END IF;
	IF add_member.valid_until < today THEN
		RAISE EXCEPTION 'the membership would be over'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('It would end on %s, and today is %s.', add_member.valid_until, today),
				HINT = 'Give today or a later day, or null for no end.';
	END IF;
	PERFORM customer_groups.lock_customers(ARRAY[add_member.customer_id]);
	IF EXISTS (SELECT FROM customer_groups.valid_members v
			   WHERE v.customer_id = add_member.customer_id AND v.group_id = to_group)
	THEN
		UPDATE customer_groups.members m SET valid_until = add_member.valid_until
		WHERE m.customer_id = add_member.customer_id AND m.group_id = to_group
			AND m.valid_until IS DISTINCT FROM add_member.valid_until;
		RETURN false;
	END IF;
	INSERT INTO customer_groups.members AS m (customer_id, group_id, source, valid_until)
	VALUES (add_member.customer_id, to_group, 'manual', add_member.valid_until)
	ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE
	SET source = excluded.source, valid_from = NULL, valid_until = excluded.valid_until,
		added_at = excluded.added_at, added_by = excluded.added_by;
	RETURN true;
END
$$;
COMMENT ON FUNCTION customer_groups.add_member(bigint, text, date) IS
	'Adds a customer to a group until the last day given (null: no end). True when it was not a valid member (one that has expired is renewed); for a valid one valid_until is set and the answer is false. Unknown customer or group: 02000 (a group that is deleted meanwhile: 23503); null: 22004; a day that is over, or infinite: 22023.';

CREATE FUNCTION customer_groups.remove_member(customer_id bigint, group_code text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	from_group int := customer_groups.group_id_of(group_code);
BEGIN
	PERFORM customer_groups.check_customers(ARRAY[remove_member.customer_id]);
	PERFORM customer_groups.lock_customers(ARRAY[remove_member.customer_id]);
	DELETE FROM customer_groups.members m
	WHERE m.customer_id = remove_member.customer_id AND m.group_id = from_group;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION customer_groups.remove_member(bigint, text) IS
	'Takes a customer out of a group; true when it was in it, also when that had expired. Unknown customer or group: 02000; null: 22004.';

CREATE FUNCTION customer_groups.set_groups(customer_id bigint, group_codes text[])
	RETURNS TABLE (group_code text, change text)
	LANGUAGE plpgsql VOLATILE ROWS 10 SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	before int[];
	wanted int[];
	tiers record;
BEGIN
	PERFORM customer_groups.check_customers(ARRAY[set_groups.customer_id]);
	IF group_codes IS NULL THEN
		RAISE EXCEPTION 'the list of groups must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give an empty array for no group at all.';
	END IF;
	wanted := ARRAY(SELECT DISTINCT customer_groups.group_id_of(u.code) FROM unnest(group_codes) AS u (code));
	SELECT coalesce(g.ladder, 'default') AS ladder, string_agg(quote_literal(g.code), ', ' ORDER BY g.id) AS codes
	INTO tiers
	FROM customer_groups.groups g
	WHERE g.id = ANY (wanted) AND g.upgrade_threshold IS NOT NULL
	GROUP BY 1 HAVING count(*) > 1 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'a customer cannot be given two tiers of one ladder at once'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('%s are tiers of ladder "%s".', tiers.codes, tiers.ladder),
				HINT = 'Name one tier of each ladder.';
	END IF;
	PERFORM customer_groups.lock_customers(ARRAY[set_groups.customer_id]);
	before := ARRAY(SELECT v.group_id FROM customer_groups.valid_members v
					WHERE v.customer_id = set_groups.customer_id);

	-- What is added first replaces the other tiers of its ladder in one move.
	INSERT INTO customer_groups.members AS m (customer_id, group_id, source)
	SELECT set_groups.customer_id, u.id, 'manual' FROM unnest(wanted) AS u (id)
	WHERE u.id <> ALL (before)
	ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE
	SET source = excluded.source, valid_from = NULL, valid_until = NULL,
		added_at = excluded.added_at, added_by = excluded.added_by;
	DELETE FROM customer_groups.members m
	WHERE m.customer_id = set_groups.customer_id AND m.group_id <> ALL (wanted);

	RETURN QUERY
	SELECT g.code, CASE WHEN g.id = ANY (wanted) THEN 'added' ELSE 'removed' END
	FROM customer_groups.groups g
	WHERE (g.id = ANY (wanted)) <> (g.id = ANY (before))
	ORDER BY 2, 1;
END
$$;
COMMENT ON FUNCTION customer_groups.set_groups(bigint, text[]) IS
	'Makes a customer a member of exactly these groups and returns what changed: ''added'' (one that had expired as well) or ''removed''. Two tiers of one ladder: 22023; unknown customer or group: 02000; null: 22004.';

-- Many customers.

CREATE FUNCTION customer_groups.add_members(group_code text, customer_ids bigint[]) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	today date := customer_groups.shop_today();
	to_group int := customer_groups.group_id_of(group_code);
	ids constant bigint[] := ARRAY(SELECT DISTINCT u.id FROM unnest(customer_ids) AS u (id) ORDER BY u.id);
	total constant int := cardinality(ids);
	changed bigint := 0;
	n bigint;
BEGIN
	PERFORM customer_groups.check_customers(customer_ids);
	PERFORM customer_groups.report_progress('add_members', 0, total);
	PERFORM customer_groups.lock_customers(ids);
	FOR done IN 0 .. total - 1 BY 10000 LOOP
		INSERT INTO customer_groups.members AS m (customer_id, group_id, source)
		SELECT u.id, to_group, 'bulk' FROM unnest(ids[done + 1 : done + 10000]) AS u (id)
		ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE
		SET source = excluded.source, valid_from = NULL, valid_until = NULL,
			added_at = excluded.added_at, added_by = excluded.added_by
		WHERE m.valid_from > today OR m.valid_until < today;
		GET DIAGNOSTICS n = ROW_COUNT;
		changed := changed + n;
		PERFORM customer_groups.report_progress('add_members', done + 10000, total);
	END LOOP;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION customer_groups.add_members(text, bigint[]) IS
	'Adds customers to a group; those who are valid members stay as they are, those whose membership has expired are renewed. The number added or renewed. Unknown customer or group: 02000 (a group that is deleted meanwhile: 23503), with nobody added; null: 22004. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

CREATE FUNCTION customer_groups.remove_members(group_code text, customer_ids bigint[]) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	from_group int := customer_groups.group_id_of(group_code);
	ids constant bigint[] := ARRAY(SELECT DISTINCT u.id FROM unnest(customer_ids) AS u (id) ORDER BY u.id);
	total constant int := cardinality(ids);
	changed bigint := 0;
	n bigint;
BEGIN
	PERFORM customer_groups.check_customers(customer_ids);
	PERFORM customer_groups.report_progress('remove_members', 0, total);
	PERFORM customer_groups.lock_customers(ids);
	FOR done IN 0 .. total - 1 BY 10000 LOOP
		DELETE FROM customer_groups.members m
		WHERE m.group_id = from_group AND m.customer_id = ANY (ids[done + 1 : done + 10000]);
		GET DIAGNOSTICS n = ROW_COUNT;
		changed := changed + n;
		PERFORM customer_groups.report_progress('remove_members', done + 10000, total);
	END LOOP;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION customer_groups.remove_members(text, bigint[]) IS
	'Takes customers out of a group; the number that were in it. Unknown customer or group: 02000, with nobody removed; null: 22004. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

CREATE FUNCTION customer_groups.move_members(customer_ids bigint[], from_code text, to_code text) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	from_group int := customer_groups.group_id_of(from_code);
	to_group int := customer_groups.group_id_of(to_code);
	moved bigint[];
BEGIN
	IF from_group = to_group THEN
		RAISE EXCEPTION 'members cannot be moved within one group'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Both groups are "%s".', to_code),
				HINT = 'Name two groups.';
	END IF;
	PERFORM customer_groups.check_customers(customer_ids);
	PERFORM customer_groups.lock_customers(customer_ids);
	moved := ARRAY(SELECT m.customer_id FROM customer_groups.members m
				   WHERE m.group_id = from_group AND m.customer_id = ANY (customer_ids)
				   ORDER BY m.customer_id);
	-- What is added first replaces the other tiers of its ladder in one move.
	PERFORM customer_groups.add_members(to_code, moved);
	FOR done IN 0 .. cardinality(moved) - 1 BY 10000 LOOP
		PERFORM customer_groups.report_progress('move_members', done, cardinality(moved));
		DELETE FROM customer_groups.members m
		WHERE m.group_id = from_group AND m.customer_id = ANY (moved[done + 1 : done + 10000]);
	END LOOP;
	PERFORM customer_groups.report_progress('move_members', cardinality(moved), cardinality(moved));
	RETURN cardinality(moved);
END
$$;
COMMENT ON FUNCTION customer_groups.move_members(bigint[], text, text) IS
	'Moves those of the customers who are in the first group to the second; the number moved. Unknown customer or group: 02000, with nobody moved; one group twice: 22023; null: 22004. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

CREATE FUNCTION customer_groups.add_members_by_email(group_code text, emails text)
	RETURNS TABLE (email text, customer_id bigint, outcome text)
	LANGUAGE plpgsql VOLATILE ROWS 100 SET search_path = pg_catalog, pg_temp
	AS $$
#variable_conflict use_column
DECLARE
	to_group int := customer_groups.group_id_of(group_code);
	-- What is read as a blank; those without a width as well.
	blanks constant text := E'\t\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200A\u200B\u202F\u205F\u3000\uFEFF';
	addresses text[];
	customers bigint[];
	outcomes text[];
BEGIN
	IF emails IS NULL THEN
		RAISE EXCEPTION 'the list of addresses must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give an empty text for nobody.';
	END IF;
	-- An entry is what stands between separators that are not in quotes; a quote
	-- that is not closed on its line is a letter like others. The address is what
	-- stands in angle brackets at the end, else the whole.
	WITH entries AS (
		SELECT e.place, btrim(coalesce(substring(e.entry[1] FROM '<([^<>]*)> *$'), e.entry[1])) AS address
		FROM regexp_matches(
				translate(emails, blanks, repeat(' ', length(blanks))),
				E'((?:"[^"\n\r\u000B\u000C\u0085\u2028\u2029]*"|"(?![^"\n\r\u000B\u000C\u0085\u2028\u2029]*")|[^",;\n\r\u000B\u000C\u0085\u2028\u2029])+)',
				'g') WITH ORDINALITY AS e (entry, place)
		WHERE e.entry[1] ~ '[^ ]'
	), forms AS (
		SELECT n.place, n.address, customer_groups.search_form(n.address) AS form,
			n.address ~ E'^[^\\s@<>(),;:"\\\\]+@[^\\s@<>(),;:"\\\\.]+(\\.[^\\s@<>(),;:"\\\\.]+)*$' AS valid
		FROM entries n
	), places AS (
		SELECT f.place, f.address, f.form, f.valid,
			f.valid AND row_number() OVER (PARTITION BY f.valid, f.form ORDER BY f.place) > 1 AS repeated
		FROM forms f
	), found AS (
		SELECT f.form, min(c.id) AS id, count(*) AS n
		FROM (SELECT DISTINCT p.form FROM places p WHERE p.valid) f
		JOIN customer_groups.customers c ON customer_groups.search_form(btrim(c.email)) = f.form
		GROUP BY f.form
	)
	SELECT array_agg(p.address ORDER BY p.place),
		array_agg(CASE WHEN d.n = 1 THEN d.id END ORDER BY p.place),
		array_agg(CASE WHEN NOT p.valid THEN 'invalid' WHEN p.repeated THEN 'repeated'
					   WHEN d.n > 1 THEN 'ambiguous' WHEN d.n IS NULL THEN 'not_found' END
				  ORDER BY p.place)
	INTO addresses, customers, outcomes
	FROM places p LEFT JOIN found d ON p.valid AND d.form = p.form;

	-- Who is a member is asked once nobody else can change it.
	PERFORM customer_groups.lock_customers(ARRAY(
		SELECT u.id FROM unnest(customers, outcomes) AS u (id, outcome) WHERE u.outcome IS NULL));
	outcomes := ARRAY(
		SELECT CASE WHEN u.outcome IS NOT NULL THEN u.outcome
					WHEN v.customer_id IS NOT NULL THEN 'already_member' ELSE 'added' END
		FROM unnest(customers, outcomes) WITH ORDINALITY AS u (id, outcome, place)
		LEFT JOIN customer_groups.valid_members v ON v.customer_id = u.id AND v.group_id = to_group
		ORDER BY u.place);
	PERFORM customer_groups.add_members(group_code, ARRAY(
		SELECT u.id FROM unnest(customers, outcomes) AS u (id, outcome) WHERE u.outcome = 'added'));
	RETURN QUERY
	SELECT u.address, u.id, u.outcome
	FROM unnest(addresses, customers, outcomes) WITH ORDINALITY AS u (address, id, outcome, place)
	ORDER BY u.place;
END
$$;
COMMENT ON FUNCTION customer_groups.add_members_by_email(text, text) IS
	'Adds the customers of a pasted list of e-mail addresses (separated by commas, semicolons or line breaks, also as Name <address>) to a group. One row for each entry, in order; outcome, the first that holds: invalid, repeated (the address stood before, upper and lower case alike), ambiguous (several customers have it), not_found, already_member, added. The good ones are added whatever the others are. An empty list gives no row; an unknown group is 02000, a null group or list 22004. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

-- Self-enrollment.

CREATE FUNCTION customer_groups.may_enroll_many() RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	RETURN coalesce((SELECT s.enroll_many FROM customer_groups.settings s), false);
COMMENT ON FUNCTION customer_groups.may_enroll_many() IS 'Whether a customer may enroll in more than one group: the settings'' enroll_many.';

CREATE VIEW customer_groups.enrollable_groups WITH (security_invoker) AS
	SELECT g.code, g.name, g.description, g.starts_on, g.ends_on
	FROM customer_groups.groups g
	WHERE g.self_enroll AND g.upgrade_threshold IS NULL
		AND g.starts_on <= (SELECT customer_groups.shop_today())
		AND (g.ends_on IS NULL OR g.ends_on >= (SELECT customer_groups.shop_today()));
COMMENT ON VIEW customer_groups.enrollable_groups IS 'Groups that customers may enroll in today, by the settings'' time zone; never tiers.';
COMMENT ON COLUMN customer_groups.enrollable_groups.code IS 'Group''s code, for enroll().';
COMMENT ON COLUMN customer_groups.enrollable_groups.name IS 'Its name.';
COMMENT ON COLUMN customer_groups.enrollable_groups.description IS 'Its description; null: none.';
COMMENT ON COLUMN customer_groups.enrollable_groups.starts_on IS 'First day in effect.';
COMMENT ON COLUMN customer_groups.enrollable_groups.ends_on IS 'Last day in effect; null: no end.';

CREATE FUNCTION customer_groups.enroll(customer_id bigint, group_codes text[]) RETURNS int
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	today date := customer_groups.shop_today();
	refused text;
	enrolled int;
	held text;
BEGIN
	PERFORM customer_groups.check_customers(ARRAY[enroll.customer_id]);
	IF group_codes IS NULL THEN
		RAISE EXCEPTION 'the list of groups must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the codes of the groups.';
	END IF;
	PERFORM customer_groups.group_id_of(u.code) FROM unnest(group_codes) AS u (code);
	SELECT u.code INTO refused FROM unnest(group_codes) AS u (code)
	WHERE NOT EXISTS (SELECT FROM customer_groups.enrollable_groups e WHERE e.code = u.code)
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'group "%" is not open for enrollment', refused
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('Group "%s" is a tier, is not in effect today, or does not allow self-enrollment.', refused),
				HINT = 'The view enrollable_groups lists those that are open.';
	END IF;

	-- The customer's lock makes two enrollments at once see each other.
	PERFORM customer_groups.lock_customers(ARRAY[enroll.customer_id]);
	INSERT INTO customer_groups.members AS m (customer_id, group_id, source)
	SELECT enroll.customer_id, g.id, 'self' FROM customer_groups.groups g WHERE g.code = ANY (group_codes)
	ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE
	SET source = excluded.source, valid_from = NULL, valid_until = NULL,
		added_at = excluded.added_at, added_by = excluded.added_by
	WHERE m.valid_from > today OR m.valid_until < today;
	GET DIAGNOSTICS enrolled = ROW_COUNT;

	IF enrolled > 0 AND NOT customer_groups.may_enroll_many() THEN
		SELECT string_agg(quote_literal(g.code), ', ' ORDER BY g.code) INTO held
		FROM customer_groups.valid_members v JOIN customer_groups.groups g ON g.id = v.group_id
		WHERE v.customer_id = enroll.customer_id AND v.source = 'self'
		HAVING count(*) > 1;
		IF held IS NOT NULL THEN
			RAISE EXCEPTION 'a customer may enroll in one group only'
				USING ERRCODE = 'object_not_in_prerequisite_state',
					DETAIL = format('Customer %s would be enrolled in %s.', enroll.customer_id, held),
					HINT = 'Remove the customer from the other group first, or set enroll_many in the settings.';
		END IF;
	END IF;
	RETURN enrolled;
END
$$;
COMMENT ON FUNCTION customer_groups.enroll(bigint, text[]) IS
	'Enrolls a customer in groups that are open for it and returns how many it newly joined; in those of which it is a valid member nothing changes. A group that is not open: 22023; more than one enrollment in all without the settings'' enroll_many: 55000; unknown customer or group: 02000; null: 22004.';

-- Groups.

CREATE FUNCTION customer_groups.find_groups(keyword text) RETURNS SETOF customer_groups.groups
	LANGUAGE sql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT g.* FROM customer_groups.groups g
		-- Once, not for each row.
		CROSS JOIN (SELECT customer_groups.search_form(coalesce(keyword, '')) AS form OFFSET 0) k
		WHERE strpos(customer_groups.search_form(g.code), k.form) > 0
			OR strpos(customer_groups.search_form(g.name), k.form) > 0
			OR strpos(customer_groups.search_form(g.description), k.form) > 0
		ORDER BY g.code;
	END;
COMMENT ON FUNCTION customer_groups.find_groups(text) IS
	'Groups with the keyword in their code, name or description, upper and lower case alike, % and _ as they are; an empty or null keyword finds all.';

CREATE FUNCTION customer_groups.set_store_pricing(group_code text, store_id int, use boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	of_group int := customer_groups.group_id_of(group_code);
BEGIN
	IF set_store_pricing.store_id IS NULL THEN
		RAISE EXCEPTION 'the store must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the id of a store.';
	END IF;
	IF NOT EXISTS (SELECT FROM customer_groups.stores s WHERE s.id = set_store_pricing.store_id) THEN
		RAISE EXCEPTION 'unknown store'
			USING ERRCODE = '02000', DETAIL = format('There is no store with id %s.', set_store_pricing.store_id),
				HINT = 'Give the id of an existing store.';
	END IF;
	IF use IS NULL THEN
		DELETE FROM customer_groups.group_store_pricing p
		WHERE p.group_id = of_group AND p.store_id = set_store_pricing.store_id;
	ELSE
		INSERT INTO customer_groups.group_store_pricing AS p (group_id, store_id, use_pricing)
		VALUES (of_group, set_store_pricing.store_id, use)
		ON CONFLICT ON CONSTRAINT group_store_pricing_pkey DO UPDATE SET use_pricing = excluded.use_pricing
		WHERE p.use_pricing <> excluded.use_pricing;
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.set_store_pricing(text, int, boolean) IS
	'A store''s own answer on whether a group counts for its prices, over the group''s; null takes it back. Unknown group or store: 02000; a null one: 22004.';

CREATE VIEW customer_groups.group_stores WITH (security_invoker) AS
	SELECT g.code AS group_code, s.id AS store_id, s.code AS store_code,
		coalesce(p.use_pricing, g.use_pricing) AS use_pricing,
		CASE WHEN p.group_id IS NULL THEN 'group' ELSE 'store' END AS answered_by
	FROM customer_groups.groups g
	CROSS JOIN customer_groups.stores s
	LEFT JOIN customer_groups.group_store_pricing p ON p.group_id = g.id AND p.store_id = s.id;
COMMENT ON VIEW customer_groups.group_stores IS 'For each group and store: whether the group counts for prices there, and whose answer that is (''store'' or ''group'').';
COMMENT ON COLUMN customer_groups.group_stores.group_code IS 'Group.';
COMMENT ON COLUMN customer_groups.group_stores.store_id IS 'Store.';
COMMENT ON COLUMN customer_groups.group_stores.store_code IS 'The store''s code.';
COMMENT ON COLUMN customer_groups.group_stores.use_pricing IS 'Whether the group counts for prices in the store.';
COMMENT ON COLUMN customer_groups.group_stores.answered_by IS 'Whose answer that is: store or group.';

CREATE VIEW customer_groups.group_promotions WITH (security_invoker) AS
	SELECT g.code AS group_code, p.id AS promotion_id, p.code AS promotion_code, p.name, p.kind, p.value,
		p.level, p.currency, p.groups_only, p.active, p.starts_at, p.ends_at
	FROM customer_groups.groups g
	JOIN customer_groups.promotion_groups a ON a.group_id = g.id
	JOIN customer_groups.promotions p ON p.id = a.promotion_id;
COMMENT ON VIEW customer_groups.group_promotions IS 'The promotions of each group.';
COMMENT ON COLUMN customer_groups.group_promotions.group_code IS 'Group.';
COMMENT ON COLUMN customer_groups.group_promotions.promotion_id IS 'Promotion that is attached to it.';
COMMENT ON COLUMN customer_groups.group_promotions.promotion_code IS 'Its code.';
COMMENT ON COLUMN customer_groups.group_promotions.name IS 'Its name.';
COMMENT ON COLUMN customer_groups.group_promotions.kind IS 'percent, amount or fixed_price.';
COMMENT ON COLUMN customer_groups.group_promotions.value IS 'Percent, or money in its currency, by kind.';
COMMENT ON COLUMN customer_groups.group_promotions.level IS 'item or order.';
COMMENT ON COLUMN customer_groups.group_promotions.currency IS 'Its currency; null: the settings''.';
COMMENT ON COLUMN customer_groups.group_promotions.groups_only IS 'false: it is open to everybody all the same.';
COMMENT ON COLUMN customer_groups.group_promotions.active IS 'Whether it is switched on.';
COMMENT ON COLUMN customer_groups.group_promotions.starts_at IS 'From when on; null: no start.';
COMMENT ON COLUMN customer_groups.group_promotions.ends_at IS 'Until when, exclusively; null: no end.';

CREATE FUNCTION customer_groups.delete_group(group_code text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	of_group int := customer_groups.group_id_of(group_code);
BEGIN
	-- Customers before the group, in the order in which an upgrade locks them.
	PERFORM customer_groups.lock_customers(ARRAY(
		SELECT m.customer_id FROM customer_groups.members m WHERE m.group_id = of_group));
	DELETE FROM customer_groups.groups g WHERE g.id = of_group;
END
$$;
COMMENT ON FUNCTION customer_groups.delete_group(text) IS
	'Deletes a group for good: its members and attachments go, sales, events and past discounts stay. Says so when a promotion for groups only is then open to nobody. Unknown group: 02000; a null one: 22004; one that a segment''s rule names: 2BP01.';

-- Who is and was where.

CREATE FUNCTION customer_groups.check_horizon(at timestamptz) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	horizon timestamptz;
BEGIN
	IF NOT isfinite(at) THEN
		RAISE EXCEPTION 'invalid time'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The time is %s.', at), HINT = 'Give a finite time.';
	END IF;
	SELECT max((e.detail ->> 'before')::timestamptz) INTO horizon
	FROM customer_groups.events e WHERE e.kind = 'events_purged';
	IF at < horizon THEN
		RAISE EXCEPTION 'the event log does not go back that far'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('%s was asked for, and events before %s have been purged.', at, horizon),
				HINT = 'Ask for a later time.';
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.check_horizon(timestamptz) IS 'Raises 22023 for a time before the last purge of the event log, and for an infinite one; not for null, which is now.';

CREATE FUNCTION customer_groups.groups_of(customer_id bigint, at timestamptz DEFAULT NULL)
	RETURNS TABLE (group_code text, name text, source text, valid_from date, valid_until date)
	LANGUAGE plpgsql STABLE ROWS 5 SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	day date := (at AT TIME ZONE customer_groups.settings_timezone())::date;
BEGIN
	PERFORM customer_groups.check_customers(ARRAY[groups_of.customer_id]);
	IF at IS NULL THEN
		RETURN QUERY
		SELECT g.code, g.name, v.source, v.valid_from, v.valid_until
		FROM customer_groups.valid_members v JOIN customer_groups.groups g ON g.id = v.group_id
		WHERE v.customer_id = groups_of.customer_id
		ORDER BY g.code;
	ELSE
		PERFORM customer_groups.check_horizon(at);
		RETURN QUERY
		-- Two memberships of a group overlap where the later one starts before its addition: it counts.
		SELECT l.group_code, l.name, l.source, l.valid_from, l.valid_until
		FROM (SELECT DISTINCT ON (h.group_id) h.*
			  FROM customer_groups.member_history h
			  WHERE h.customer_id = groups_of.customer_id
				AND customer_groups.was_valid(at, day, h.valid_from, h.valid_until, h.added_at, h.ended_at)
			  ORDER BY h.group_id, h.ended_at DESC NULLS FIRST) l
		ORDER BY l.group_code;
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.groups_of(bigint, timestamptz) IS
	'The groups of a customer: with a null time those of which it is a valid member today (settings'' time zone), else those as of that time, from the event log. Dates and use_pricing of the groups play no part. Unknown customer: 02000; a time before the purge of the log: 22023; a null customer: 22004.';

CREATE FUNCTION customer_groups.members_of(group_code text, at timestamptz DEFAULT NULL)
	RETURNS TABLE (customer_id bigint, source text, valid_from date, valid_until date)
	LANGUAGE plpgsql STABLE ROWS 1000 SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	day date := (at AT TIME ZONE customer_groups.settings_timezone())::date;
	of_group int := customer_groups.group_id_of(group_code);
BEGIN
	IF at IS NULL THEN
		RETURN QUERY
		SELECT v.customer_id, v.source, v.valid_from, v.valid_until
		FROM customer_groups.valid_members v WHERE v.group_id = of_group
		ORDER BY v.customer_id;
	ELSE
		PERFORM customer_groups.check_horizon(at);
		RETURN QUERY
		SELECT DISTINCT ON (h.customer_id) h.customer_id, h.source, h.valid_from, h.valid_until
		FROM customer_groups.member_history h
		WHERE h.group_id = of_group
			AND customer_groups.was_valid(at, day, h.valid_from, h.valid_until, h.added_at, h.ended_at)
		ORDER BY h.customer_id, h.ended_at DESC NULLS FIRST;
	END IF;
END
$$;
COMMENT ON FUNCTION customer_groups.members_of(text, timestamptz) IS
	'The members of a group, the other way round of groups_of, with the same meaning of the time. Unknown group: 02000; a time before the purge of the log: 22023; a null group: 22004.';

-- Customers.

CREATE FUNCTION customer_groups.search_customers(keyword text)
	RETURNS TABLE (customer_id bigint, name text, email text, phone text, group_codes text[], labels jsonb)
	LANGUAGE plpgsql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	form text := customer_groups.search_form(coalesce(keyword, ''));
	found bigint[];
BEGIN
	found := ARRAY(
		SELECT c.id FROM customer_groups.customers c
		WHERE strpos(customer_groups.search_form(c.name), form) > 0
			OR strpos(customer_groups.search_form(c.email), form) > 0
			OR strpos(customer_groups.search_form(c.phone), form) > 0
			OR strpos(customer_groups.search_form(c.external_id), form) > 0
		ORDER BY c.id);
	RETURN QUERY
	SELECT c.id, c.name, c.email, c.phone,
		ARRAY(SELECT g.code FROM customer_groups.valid_members v
			  JOIN customer_groups.groups g ON g.id = v.group_id
			  WHERE v.customer_id = c.id ORDER BY g.code),
		l.labels
	FROM customer_groups.labels_of(found) l
	JOIN customer_groups.customers c ON c.id = l.customer_id
	ORDER BY c.id;
END
$$;
COMMENT ON FUNCTION customer_groups.search_customers(text) IS
	'Customers with the keyword in their name, e-mail address, telephone number or external id, compared as find_groups does, with the groups of which they are valid members today and their labels (code, name, color); an empty or null keyword finds all that have any of them.';

CREATE FUNCTION customer_groups.forget_customer(customer_id bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM customer_groups.check_owner();
	PERFORM customer_groups.check_customers(ARRAY[forget_customer.customer_id]);
	PERFORM customer_groups.lock_customers(ARRAY[forget_customer.customer_id]);
	DELETE FROM customer_groups.members m WHERE m.customer_id = forget_customer.customer_id;
	UPDATE customer_groups.customers c
	SET external_id = NULL, name = NULL, email = NULL, phone = NULL, birth_date = NULL, attributes = '{}'
	WHERE c.id = forget_customer.customer_id;
	INSERT INTO customer_groups.events (kind, customer_id) VALUES ('customer_forgotten', forget_customer.customer_id);
END
$$;
COMMENT ON FUNCTION customer_groups.forget_customer(bigint) IS
	'Erases who a customer is (name, e-mail, phone, birth date, attributes, external id) and its memberships; sales, sums and events stay. For the owner only (42501); unknown customer: 02000; null: 22004.';
