-- What every object of the extension must be for its owner, its callers and whoever plants objects to be safe from each other:
-- rules over the catalog, with the exceptions listed and justified; docs/security.md speaks of each function that runs as its owner.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = public, pg_catalog;
SELECT no_plan();

CREATE TEMPORARY VIEW members_of_extension AS
SELECT d.classid, d.objid
FROM pg_depend AS d
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'customer_groups' AND d.deptype = 'e';
CREATE TEMPORARY VIEW routines AS
SELECT p.*, l.lanname, p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS signature
FROM pg_proc AS p
JOIN members_of_extension AS m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
JOIN pg_language AS l ON l.oid = p.prolang;
CREATE TEMPORARY VIEW relations AS
SELECT c.*
FROM pg_class AS c
JOIN members_of_extension AS m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid;

-- Functions that everybody may execute: what constraints, defaults and views call with the rights of whoever inserts or reads, and
-- the data type's. They read no table, but for the settings_... ones, which tell what is on every price tag, and earliest_today,
-- which tells a day.
CREATE TEMPORARY TABLE public_functions (name text, reason text);
INSERT INTO public_functions VALUES
    ('is_money', 'constraints'), ('currency_digits', 'constraints, views'), ('is_timezone', 'constraints'),
    ('settings_currency', 'default of stores.currency, views'), ('settings_timezone', 'default of stores.timezone, views'),
    ('earliest_today', 'default of groups.starts_on'), ('shop_today', 'views'), ('was_valid', 'arithmetic, for reports over member_history'),
    ('search_form', 'index on customers'), ('month_day', 'index on customer_facts'),
    ('segment_rule_in', 'type'), ('segment_rule_out', 'type'), ('segment_rule_recv', 'type'), ('segment_rule_send', 'type'),
    ('segment_rule_eq', 'type'), ('segment_rule_ne', 'type'), ('segment_rule_hash', 'type'), ('segment_rule_hash_extended', 'type'),
    ('segment_rule_from_jsonb', 'type'), ('segment_rule_to_jsonb', 'type');

SELECT is_empty($$
    SELECT signature FROM routines, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS x
    WHERE x.grantee = 0 AND proname NOT IN (SELECT name FROM public_functions)$$,
    'nobody but by an access level may execute a function that is not listed');
SELECT is_empty($$
    SELECT name FROM public_functions WHERE name NOT IN (
        SELECT proname FROM routines, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS x WHERE x.grantee = 0)$$,
    'the list names what there is');
SELECT is_empty($$
    SELECT relname FROM relations, aclexplode(relacl) AS x WHERE x.grantee = 0$$,
    'PUBLIC has no right on a table, view or sequence');
SELECT is_empty($$
    SELECT c.relname, a.attname FROM relations AS c JOIN pg_attribute AS a ON a.attrelid = c.oid, aclexplode(a.attacl) AS x WHERE x.grantee = 0$$,
    'nor on a column');
SELECT is_empty($$
    SELECT x.privilege_type FROM pg_namespace AS n, aclexplode(n.nspacl) AS x WHERE n.nspname = 'customer_groups' AND x.grantee <> n.nspowner$$,
    'nor anybody on the schema');

-- Who owns what.
SELECT is_empty($$
    SELECT relname FROM relations WHERE relowner <> (SELECT extowner FROM pg_extension WHERE extname = 'customer_groups')$$,
    'relations belong to the owner of the extension');
SELECT is_empty($$
    SELECT signature FROM routines
    WHERE (proowner <> (SELECT extowner FROM pg_extension WHERE extname = 'customer_groups')) <> (proname ~ '^segment_rule_')$$,
    'functions too, but for those of the data type');
SELECT is_empty($$
    SELECT t.typname FROM pg_type AS t JOIN members_of_extension AS m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
    WHERE t.typtype IN ('b', 'e') AND t.typcategory <> 'A' AND t.typowner <> (SELECT p.proowner FROM routines AS p WHERE p.proname = 'segment_rule_in')$$,
    'which, like the enum, belongs to the superuser: nobody else can give it a cast or another label');
SELECT is_empty($$
    SELECT signature FROM routines WHERE proleakproof AND proname !~ '^segment_rule_'$$,
    'only comparing rules is leakproof');

-- Names.
SELECT is_empty($$
    SELECT signature FROM routines
    WHERE prosecdef AND proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']$$,
    'each SECURITY DEFINER function pins search_path, and nothing else');
SELECT is_empty($$
    SELECT signature FROM routines
    WHERE lanname IN ('sql', 'plpgsql') AND prosqlbody IS NULL
        AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)$$,
    'each function whose body is read when it is called pins it as well');
SELECT is_empty($$
    SELECT signature, lanname FROM routines WHERE lanname NOT IN ('c', 'sql', 'plpgsql')$$, 'there is no other language');
SELECT is_empty($$
    SELECT r.signature, c.relname FROM routines AS r, relations AS c
    WHERE r.prosqlbody IS NULL AND r.lanname <> 'c' AND c.relkind IN ('r', 'v')
        AND r.prosrc ~ ('\y(FROM|JOIN|INTO|UPDATE|USING|TABLE|ONLY)\s+' || c.relname || '\y')
        -- Names of variables and of WITH are names of nothing else.
        AND r.prosrc !~ ('\y' || c.relname || '\s+(AS \(|\w+(\[\])?( :=|;))')$$,
    'bodies qualify the extension''s tables and views');
SELECT is_empty($$
    SELECT r.signature, f.proname FROM routines AS r, (SELECT DISTINCT proname FROM routines) AS f
    WHERE r.prosqlbody IS NULL AND r.lanname <> 'c'
        AND regexp_replace(r.prosrc, '--[^\n]*|''[^'']*''', '', 'g') ~ ('(^|[^.\w])' || f.proname || '\s*\(')$$,
    'and its functions');
SELECT is_empty($$
    SELECT r.signature FROM routines AS r
    WHERE r.prosqlbody IS NULL AND r.lanname <> 'c' AND r.prosrc ~ '\\' AND r.prosrc ~ '(^|[^E''])''[^'']*\\'$$,
    'literals with a backslash are E'''': how others are read is a setting of the session');
SELECT is_empty($$
    SELECT c.relname FROM relations AS c
    WHERE c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false)
        -- Reads no table: the right to read its columns marks who holds a level.
        AND c.relname <> 'access_marks'$$,
    'views read with the rights of who asks');
SELECT is_empty($$
    SELECT c.relname FROM relations AS c WHERE c.relname = 'access_marks' AND EXISTS (
        SELECT FROM pg_rewrite AS r JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        WHERE r.ev_class = c.oid AND d.refobjid <> c.oid)$$,
    'but one, which reads nothing');

-- What runs as its owner.
\set document `cat docs/security.md`
CREATE TEMPORARY TABLE document AS SELECT :'document'::text AS body;
SELECT ok((SELECT length(body) > 5000 FROM document), 'docs/security.md is there');
SELECT is_empty($$
    SELECT signature FROM routines WHERE prosecdef
        AND (SELECT body FROM document) !~ ('\n\| `' || proname || '` \|')$$,
    'docs/security.md has reviewed each SECURITY DEFINER function');
SELECT is_empty($$
    SELECT entry[1] FROM document, regexp_matches(split_part(split_part(body, '## Functions that run as the owner', 2), '## ', 1),
        '\n\| `(\w+)` \|', 'g') AS m (entry)
    WHERE entry[1] NOT IN (SELECT proname FROM routines WHERE prosecdef)$$,
    'and no other');
SELECT is_empty($$
    SELECT signature FROM routines WHERE prosecdef AND prorettype <> 'trigger'::regtype
        AND (pronargs > 0 OR provolatile = 'v')$$,
    'none but triggers writes, or takes anything from who calls it');

-- The owner is no superuser and may ALTER the functions: a strict one that is called with a null all the same gives null.
CREATE FUNCTION pg_temp.call_with_nulls(routine oid) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    result boolean;
BEGIN
    EXECUTE format('ALTER FUNCTION %s CALLED ON NULL INPUT', routine::regprocedure);
    EXECUTE format('SELECT bool_and(t IS NULL) FROM %s(%s) AS t', routine::regproc,
        (SELECT string_agg('NULL::' || format_type(a.type, NULL), ', ') FROM pg_proc AS p, unnest(p.proargtypes) AS a (type) WHERE p.oid = routine))
    INTO result;
    RAISE EXCEPTION USING ERRCODE = 'UNDOO', MESSAGE = result;
EXCEPTION WHEN SQLSTATE 'UNDOO' THEN
    RETURN SQLERRM;
END
$$;
SELECT ok(pg_temp.call_with_nulls(oid) IN ('t', 'true', '1'), 'called on null input, ' || signature || ' gives null')
FROM routines WHERE lanname = 'c' AND proisstrict AND proowner = (SELECT extowner FROM pg_extension WHERE extname = 'customer_groups')
ORDER BY signature;

-- Policies that are forced on the owner would hide rows from what keeps the facts: it refuses, and nothing is booked by halves.
INSERT INTO customer_groups.customers (id) VALUES (900001);
CREATE POLICY none ON customer_groups.customer_facts USING (false);
CREATE POLICY none ON customer_groups.members USING (false);
CREATE FUNCTION pg_temp.check_forced(relation text, statement text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    RETURN NEXT lives_ok(statement, 'policies on ' || relation || ' do not apply to its owner');
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', relation);
    RETURN NEXT throws_ok(statement, '42501', NULL, 'forced ones are refused: ' || statement);
    EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', relation);
END
$$;
SELECT pg_temp.check_forced('customer_groups.customer_facts', 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 5)');
SELECT pg_temp.check_forced('customer_groups.members', 'UPDATE customer_groups.members SET valid_from = NULL');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is sound');

SELECT * FROM finish();
ROLLBACK;
