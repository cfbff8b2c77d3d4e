-- All that the catalogs say of the extension, one row for each thing, without ids: equal for a fresh install and an upgraded one.
\pset format unaligned
\pset tuples_only on
SET search_path = pg_catalog;

CREATE TEMP VIEW relations AS
	SELECT c.* FROM pg_class c WHERE c.relnamespace = 'customer_groups'::regnamespace;
CREATE FUNCTION pg_temp.acl(acl aclitem[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(acl) AS a $$;

SELECT 'schema', nspowner::regrole, pg_temp.acl(nspacl) FROM pg_namespace WHERE nspname = 'customer_groups';
SELECT 'relation', relname, relkind, relowner::regrole, relpersistence, relreplident, relrowsecurity, relforcerowsecurity,
	reloptions, pg_temp.acl(relacl)
FROM relations ORDER BY relname;
SELECT 'column', c.relname, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname, format_type(a.atttypid, a.atttypmod),
	a.attcollation::regcollation, a.attnotnull, a.attidentity, a.attgenerated, a.attstorage, a.attstattarget, ARRAY(SELECT o FROM unnest(a.attoptions) AS o WHERE o LIKE 'n\_distinct%'),
	pg_get_expr(d.adbin, d.adrelid), pg_temp.acl(a.attacl)
FROM relations c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
ORDER BY c.relname, a.attnum;
SELECT 'view', relname, pg_get_viewdef(oid) FROM relations WHERE relkind = 'v' ORDER BY relname;
SELECT 'index', relname, pg_get_indexdef(oid) FROM relations WHERE relkind = 'i' ORDER BY relname;
SELECT 'sequence', c.relname, s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle
FROM relations c JOIN pg_sequence s ON s.seqrelid = c.oid ORDER BY c.relname;
SELECT 'constraint', conrelid::regclass, conname, convalidated, condeferrable, condeferred, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'customer_groups'::regnamespace ORDER BY conrelid::regclass::text, conname;
SELECT 'trigger', c.relname, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid)
FROM relations c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal ORDER BY c.relname, t.tgname;
SELECT 'policy', polrelid::regclass, polname, polcmd, pg_get_expr(polqual, polrelid) FROM pg_policy
WHERE polrelid IN (SELECT oid FROM relations) ORDER BY 2, 3;
SELECT 'routine', p.oid::regprocedure, p.proowner::regrole, p.probin, pg_temp.acl(p.proacl), pg_get_functiondef(p.oid)
FROM pg_proc p WHERE p.pronamespace = 'customer_groups'::regnamespace ORDER BY p.oid::regprocedure::text;
SELECT 'type', t.typname, t.typowner::regrole, t.typtype, t.typinput, t.typoutput, t.typreceive, t.typsend, t.typlen, t.typbyval, t.typalign,
	t.typstorage, pg_temp.acl(t.typacl), (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)
FROM pg_type t WHERE t.typnamespace = 'customer_groups'::regnamespace ORDER BY t.typname;
SELECT 'cast', castsource::regtype, casttarget::regtype, castfunc::regprocedure, castcontext, castmethod
FROM pg_cast WHERE castfunc IN (SELECT oid FROM pg_proc WHERE pronamespace = 'customer_groups'::regnamespace) ORDER BY 2, 3;
SELECT 'operator', oid::regoperator, oprcode, oprcom::regoperator, oprnegate::regoperator, oprrest, oprjoin, oprcanmerge, oprcanhash
FROM pg_operator WHERE oprnamespace = 'customer_groups'::regnamespace ORDER BY oid::regoperator::text;
SELECT 'member', pg_describe_object(classid, objid, objsubid) FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'customer_groups') AND deptype = 'e'
ORDER BY 2;
SELECT 'dumped', c.relname, x.condition FROM pg_extension, unnest(extconfig, extcondition) AS x (oid, condition)
JOIN pg_class c ON c.oid = x.oid WHERE extname = 'customer_groups' ORDER BY c.relname;
SELECT 'initial privileges', pg_describe_object(classoid, objoid, objsubid), pg_temp.acl(initprivs) FROM pg_init_privs
WHERE objoid IN (SELECT oid FROM relations UNION SELECT oid FROM pg_proc WHERE pronamespace = 'customer_groups'::regnamespace) ORDER BY 2;
SELECT 'comment', pg_describe_object(classoid, objoid, objsubid), description FROM pg_description d
WHERE EXISTS (SELECT FROM pg_identify_object(d.classoid, d.objoid, d.objsubid) i WHERE i.schema = 'customer_groups' OR i.identity = 'customer_groups' OR i.identity LIKE '%customer_groups.%')
ORDER BY 2;
