\echo Use "CREATE EXTENSION customer_groups" to load this file. \quit

-- The schema must be empty of code: an object of somebody else in it could
-- be picked up by the names that this script resolves.
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
	IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
		RAISE EXCEPTION 'customer_groups needs a database in UTF8'
			USING ERRCODE = 'feature_not_supported',
				DETAIL = pg_catalog.format('This database is in %s.', pg_catalog.getdatabaseencoding()),
				HINT = 'Create a database with ENCODING ''UTF8''.';
	END IF;
END
$$;
