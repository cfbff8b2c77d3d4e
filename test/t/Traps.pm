# Objects that somebody hostile plants where others may look for PostgreSQL's and the extension's.
#
#   Traps::objects($schema);            SQL that makes operators, casts and functions which say TRAP when they are called
#   Traps::names($schema, $temporary);  and tables and types with names that the extension uses; TEMPORARY or nothing
#   $Traps::odd_settings                SQL that makes a session read SQL otherwise
package Traps;

use strict;
use warnings;

# An operator or function that fits the arguments better than PostgreSQL's own is taken wherever it is on the path.
my $objects = q{
	SET client_min_messages = error;
	DO $do$
	DECLARE
		types constant text[] := '{smallint,integer,bigint,numeric,double precision,text,character varying,name,date,timestamp with time zone,timestamp without time zone,interval,jsonb,boolean,integer[],bigint[],text[]}';
		a record; o text; f record;
	BEGIN
		FOR a IN SELECT l, r, row_number() OVER () AS n FROM pg_catalog.unnest(types) AS l, pg_catalog.unnest(types) AS r LOOP
			EXECUTE pg_catalog.format('CREATE FUNCTION %%s.trap_%s(a %s, b %s) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION ''TRAP: operator''; END$$', a.n, a.l, a.r);
			FOREACH o IN ARRAY pg_catalog.string_to_array('= <> < <= > >= || + - * / ~ -> ->> ? @> && ^', ' ') LOOP
				EXECUTE pg_catalog.format('CREATE OPERATOR %%s.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %%s.trap_%s)', o, a.l, a.r, a.n);
			END LOOP;
		END LOOP;
		-- Casts that are taken unasked, to a type of one's own.
		CREATE TYPE %%s.trap AS (trapped pg_catalog.text);
		FOREACH o IN ARRAY types LOOP
			EXECUTE pg_catalog.format('CREATE FUNCTION %%s.trap_of(a %s) RETURNS %%s.trap LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION ''TRAP: cast''; END$$', o);
			EXECUTE pg_catalog.format('CREATE CAST (%s AS %%s.trap) WITH FUNCTION %%s.trap_of(%s) AS IMPLICIT', o, o);
		END LOOP;
		-- With the arguments that bodies and statements give them, none of which PostgreSQL has as such.
		FOR f IN SELECT * FROM (VALUES
			('format', 'text, text'), ('format', 'text, bigint'), ('format', 'text, text, text'), ('format', 'text, bigint, text'), ('format', 'text, name'),
			('jsonb_build_object', 'text, text, text, text'), ('jsonb_build_object', 'text, integer'), ('jsonb_build_object', 'text, timestamp with time zone'),
			('jsonb_build_object', 'text, timestamp with time zone, text, bigint'), ('to_jsonb', 'customer_groups.sales'), ('array_position', 'bigint[], bigint'),
			('unnest', 'bigint[]'), ('unnest', 'integer[]'), ('unnest', 'text[]'), ('unnest', 'text[], text[]'), ('cardinality', 'text[]'), ('round', 'numeric, bigint'),
			('strpos', 'text, name'), ('lower', 'character varying'), ('btrim', 'character varying'), ('now', ''), ('count', 'bigint'), ('pg_has_role', 'name, oid, text'),
			('isfinite', 'date'), ('isfinite', 'timestamp with time zone'), ('least', 'date, date'), ('coalesce', 'text, text'), ('div', 'numeric, numeric'), ('sum_of', 'numeric')
			) AS v (name, arguments)
		LOOP
			BEGIN
				EXECUTE pg_catalog.format('CREATE FUNCTION %%s.%I(%s) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION ''TRAP: function''; END$$', f.name, f.arguments);
			EXCEPTION WHEN undefined_table OR undefined_object OR invalid_schema_name OR insufficient_privilege THEN
				NULL; -- to_jsonb(sales), before there are any, or where they are out of reach
			END;
		END LOOP;
	END
	$do$;
};

# Puts the schema into the two levels of format() above.
sub objects
{
	my ($schema) = @_;
	return $objects =~ s/%%s/$schema/gr;
}

# Tables and types of the names that the extension uses.
sub names
{
	my ($schema, $temporary) = @_;
	return join '', (map { "CREATE $temporary TABLE $schema.$_ (hostile pg_catalog.int4);\n" }
			qw(settings stores brands categories items item_categories store_prices customers sales sale_lines sale_line_promotions customer_facts
			groups group_store_pricing members ladders segments segment_members segment_tracking promotions promotion_groups promotion_segments events
			cache_stamps pg_class pg_roles pg_extension pg_depend new_rows old_rows valid_members member_history line_refunds)),
		(map { "CREATE DOMAIN $schema.$_ AS pg_catalog.bool;\n" } '"text"', '"numeric"', 'jsonb', '"date"', 'timestamptz', '"int8"', '"int4"', 'sale_kind', 'segment_rule', 'regclass', 'regrole');
}

# How a session may read SQL otherwise.
our $odd_settings = q{
	SET standard_conforming_strings = off; SET escape_string_warning = off; SET transform_null_equals = on; SET array_nulls = off; SET quote_all_identifiers = on;
	SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard'; SET extra_float_digits = -15; SET bytea_output = 'escape'; SET timezone = 'Asia/Kathmandu';
	SET check_function_bodies = off; SET default_toast_compression = 'pglz'; SET plpgsql.extra_warnings = 'all'; SET plpgsql.extra_errors = 'all'; SET plan_cache_mode = 'force_generic_plan'; SET xmloption = 'document'; SET default_transaction_deferrable = on;
};

1;
