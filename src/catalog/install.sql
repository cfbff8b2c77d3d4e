\echo Use "CREATE EXTENSION customer_groups" to load this file. \quit

-- What this script does not qualify is pg_catalog's, never the schema's own, where
-- somebody else could have put what fits better. String literals with a backslash
-- are written E'': how others read is a setting of the session.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The schema must be empty of code, and nobody else's, who could put some into it.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_proc
			   WHERE pronamespace OPERATOR(pg_catalog.=) 'customer_groups'::pg_catalog.regnamespace)
		OR EXISTS (SELECT FROM pg_catalog.pg_operator
				   WHERE oprnamespace OPERATOR(pg_catalog.=) 'customer_groups'::pg_catalog.regnamespace)
		OR EXISTS (SELECT FROM pg_catalog.pg_type
				   WHERE typnamespace OPERATOR(pg_catalog.=) 'customer_groups'::pg_catalog.regnamespace)
	THEN
		RAISE EXCEPTION 'schema "customer_groups" is not empty'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'Drop or rename what is in the schema, then create the extension again.';
	END IF;
	-- To a superuser, who restores it, it may belong to whom the extension will not.
	IF EXISTS (SELECT FROM pg_catalog.pg_namespace n
			   WHERE n.nspname OPERATOR(pg_catalog.=) 'customer_groups'
				AND n.nspowner OPERATOR(pg_catalog.<>) '@extowner@'::pg_catalog.regrole
				AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r
						 WHERE r.oid OPERATOR(pg_catalog.=) '@extowner@'::pg_catalog.regrole))
	THEN
		RAISE EXCEPTION 'schema "customer_groups" belongs to another role'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = pg_catalog.format('Its owner is %s, and the extension would belong to %s.',
					(SELECT n.nspowner::pg_catalog.regrole FROM pg_catalog.pg_namespace n
					 WHERE n.nspname OPERATOR(pg_catalog.=) 'customer_groups'), '@extowner@'),
				HINT = 'Drop the schema: it is created with the extension.';
	END IF;
	IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
		RAISE EXCEPTION 'customer_groups needs a database in UTF8'
			USING ERRCODE = 'feature_not_supported',
				DETAIL = pg_catalog.format('This database is in %s.', pg_catalog.getdatabaseencoding()),
				HINT = 'Create a database with ENCODING ''UTF8''.';
	END IF;
END
$$;
