-- recorded_at tells restored rows from new ones, and so never changes.

CREATE FUNCTION customer_groups.refuse_recorded_at() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	RAISE EXCEPTION 'recorded_at of a row in "%" cannot be changed', TG_TABLE_NAME
		USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = format('It would change from %s to %s.', OLD.recorded_at, coalesce(NEW.recorded_at::text, 'null')),
			HINT = 'Leave recorded_at as it is: it tells restored rows from new ones.';
END
$$;
COMMENT ON FUNCTION customer_groups.refuse_recorded_at() IS 'Trigger: refuses to change recorded_at (55000).';

DO $$
DECLARE
	target record;
BEGIN
	FOR target IN
		SELECT a.attrelid::pg_catalog.regclass AS name
		FROM pg_catalog.pg_attribute a
		JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
		WHERE c.relnamespace OPERATOR(pg_catalog.=) 'customer_groups'::pg_catalog.regnamespace
			AND c.relkind OPERATOR(pg_catalog.=) 'r'
			AND a.attname OPERATOR(pg_catalog.=) 'recorded_at'
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER refuse_recorded_at BEFORE UPDATE ON %s
				FOR EACH ROW WHEN (OLD.recorded_at IS DISTINCT FROM NEW.recorded_at)
				EXECUTE FUNCTION customer_groups.refuse_recorded_at()', target.name);
	END LOOP;
END
$$;
