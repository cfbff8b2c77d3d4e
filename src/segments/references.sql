-- What rules name stays in being, and no segment names itself.

CREATE FUNCTION customer_groups.lock_rules() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_lock_rules' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.lock_rules() IS
	'Trigger (kind): lets one transaction at a time change rules, or the codes that rules name.';
CREATE FUNCTION customer_groups.check_segments() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_check_segments' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.check_segments() IS
	'Trigger: refuses a rule that names what does not exist (42704), segments that go round in a circle (23514), and more than 500 levels of them (54000).';
CREATE FUNCTION customer_groups.refuse_named() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_refuse_named' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.refuse_named() IS
	'Trigger (kind): what a rule names is not deleted (2BP01).';
CREATE FUNCTION customer_groups.refuse_named_segments() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_refuse_named_segments' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.refuse_named_segments() IS
	'Trigger (kind): a segment that the rule of another one names is not deleted without it (2BP01).';
CREATE FUNCTION customer_groups.rename_in_rules() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_rename_in_rules' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.rename_in_rules() IS
	'Trigger (kind): gives what a rule names its new code in the rule, too.';

CREATE FUNCTION customer_groups.refuse_promoted_segment() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	users text;
BEGIN
	SELECT string_agg(quote_ident(p.code), ', ' ORDER BY p.code) INTO users
	FROM customer_groups.promotion_segments s
	JOIN customer_groups.promotions p ON p.id = s.promotion_id
	WHERE s.segment_id = OLD.id;
	IF users IS NOT NULL THEN
		RAISE EXCEPTION 'promotions are for segment "%"', OLD.code
			USING ERRCODE = 'dependent_objects_still_exist',
				DETAIL = format('It is attached to: %s.', users),
				HINT = 'Detach it from these promotions first.';
	END IF;
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION customer_groups.refuse_promoted_segment() IS 'Trigger: a segment that a promotion is for is not deleted (2BP01).';

-- Each table whose rows rules name, with the kind and the column of the code.
DO $$
DECLARE
	source record;
BEGIN
	FOR source IN
		SELECT * FROM (VALUES
			('groups', 'group', 'code'),
			('ladders', 'ladder', 'code'),
			('categories', 'category', 'code'),
			('brands', 'brand', 'code'),
			('items', 'item', 'external_id'),
			('segments', 'segment', 'code')
		) AS s (name, kind, code)
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER lock_rename BEFORE UPDATE OF %3$I ON customer_groups.%1$I
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lock_rules(%2$L);
			CREATE TRIGGER lock_delete BEFORE DELETE ON customer_groups.%1$I
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lock_rules(%2$L);
			CREATE TRIGGER rename_in_rules AFTER UPDATE ON customer_groups.%1$I
				FOR EACH ROW WHEN (OLD.%3$I IS NOT NULL AND (NEW.%3$I IS NULL OR OLD.%3$I OPERATOR(pg_catalog.<>) NEW.%3$I))
				EXECUTE FUNCTION customer_groups.rename_in_rules(%2$L)',
			source.name, source.kind, source.code);
		-- Before its memberships or attachments are touched, and before foreign keys complain.
		IF source.kind OPERATOR(pg_catalog.<>) 'segment' THEN
			EXECUTE pg_catalog.format(
				'CREATE TRIGGER check_named BEFORE DELETE ON customer_groups.%1$I
					FOR EACH ROW EXECUTE FUNCTION customer_groups.refuse_named(%2$L)',
				source.name, source.kind);
		END IF;
	END LOOP;
END
$$;

CREATE TRIGGER lock_insert BEFORE INSERT ON customer_groups.segments
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lock_rules('segment');
CREATE TRIGGER lock_update BEFORE UPDATE OF rule, tracked ON customer_groups.segments
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.lock_rules('segment');
CREATE TRIGGER check_inserted AFTER INSERT ON customer_groups.segments
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.check_segments();
CREATE TRIGGER check_updated AFTER UPDATE ON customer_groups.segments
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.check_segments();
CREATE TRIGGER refuse_promoted_segment BEFORE DELETE ON customer_groups.segments
	FOR EACH ROW EXECUTE FUNCTION customer_groups.refuse_promoted_segment();
CREATE TRIGGER refuse_named_segments AFTER DELETE ON customer_groups.segments
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.refuse_named_segments('segment');
