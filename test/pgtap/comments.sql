-- Every public object has a comment: functions, procedures, tables, views, their columns, types, operators. Comments
-- on functions with arguments that users call tell what null does.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY VIEW extension_objects AS
SELECT d.classid, d.objid
FROM pg_depend AS d
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'customer_groups' AND d.deptype = 'e';

SELECT ok(coalesce(obj_description(e.oid, 'pg_extension') ~ '\S', false), 'the extension has a comment')
FROM pg_extension AS e WHERE e.extname = 'customer_groups';
SELECT is_empty($$
    SELECT pg_describe_object(o.classid, o.objid, 0)
    FROM extension_objects AS o
    LEFT JOIN pg_description AS d ON d.classoid = o.classid AND d.objoid = o.objid AND d.objsubid = 0
    -- Of casts and families, the functions and classes that they are made of have one; so have tables for their row types.
    WHERE o.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass, 'pg_type'::regclass)
        AND NOT EXISTS (SELECT FROM pg_type AS t WHERE o.classid = 'pg_type'::regclass AND t.oid = o.objid AND (t.typrelid <> 0 OR t.typelem <> 0))
        -- Sequences of identity columns are named after these.
        AND NOT EXISTS (SELECT FROM pg_depend AS i WHERE i.classid = o.classid AND i.objid = o.objid AND i.deptype = 'i')
        AND coalesce(d.description, '') !~ '\S'
    $$, 'every object has a comment');
SELECT cmp_ok((SELECT count(*)::int FROM extension_objects), '>', 150, 'of which there are many');

SELECT is_empty($$
    SELECT c.relname || '.' || a.attname
    FROM extension_objects AS o
    JOIN pg_class AS c ON c.oid = o.objid AND c.relkind IN ('r', 'v')
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE o.classid = 'pg_class'::regclass AND coalesce(col_description(c.oid, a.attnum), '') !~ '\S'
    $$, 'every column has a comment');

-- What null does, or that arguments must be known: in words, or because the function is an implementation (I/O, hash, operator).
SELECT is_empty($$
    SELECT p.oid::regprocedure
    FROM extension_objects AS o
    JOIN pg_proc AS p ON p.oid = o.objid
    WHERE o.classid = 'pg_proc'::regclass AND p.pronargs > 0 AND p.proname !~ '^segment_rule_'
        AND obj_description(p.oid, 'pg_proc') !~* '\mnulls?\M|22004|errors as|like \w+\(\)|as \w+\(\)|instead of ids'
    $$, 'functions with arguments say what null does');

SELECT * FROM finish();
ROLLBACK;
