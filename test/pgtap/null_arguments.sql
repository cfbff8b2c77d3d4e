-- What each function does when one of its arguments is null, generated from the catalog: 22004, but where null has a
-- meaning of its own. An argument whose default is null has one; the others that do are listed here.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

INSERT INTO customer_groups.groups (id, code, name) VALUES (900001, 'sample', 'Sample'), (900002, 'second', 'Second');
INSERT INTO customer_groups.stores (id, code, name) VALUES (900001, 'sample', 'Sample');
INSERT INTO customer_groups.customers (id, name) VALUES (900001, 'Ana');
INSERT INTO customer_groups.items (id, name, price) VALUES (900001, 'Tea', 10);
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('sample', 'Sample', 'ALL');

-- A good value of each argument, by name or else by type.
CREATE TEMPORARY TABLE samples (argument text, value text);
INSERT INTO samples VALUES
    ('bigint', '900001'), ('integer', '900001'), ('numeric', '1'), ('boolean', 'true'), ('text', '''sample'''),
    ('bigint[]', '''{900001}'''), ('text[]', '''{sample}'''), ('date', 'customer_groups.shop_today()'),
    ('timestamp with time zone', 'now()'), ('regrole', '''shop_view'''), ('jsonb', '''{}'''),
    ('customer_groups.segment_rule', '''ALL'''),
    ('to_code', '''second'''), ('level', '''view'''), ('before', '''2000-01-01''');

-- Where null means something, or gives null.
CREATE TEMPORARY TABLE meanings (function text, argument text, meaning text);
INSERT INTO meanings VALUES
    ('effective_discount', 'customer_id', 'nobody known'), ('effective_discount', 'item_id', 'null'),
    ('effective_price', 'customer_id', 'nobody known'), ('effective_price', 'item_id', 'nulls'),
    ('find_groups', 'keyword', 'all'), ('search_customers', 'keyword', 'all'),
    ('set_store_pricing', 'use', 'takes the answer back'),
    ('segments_of', 'customer_id', 'none'), ('labels_of', 'customer_ids', 'none'),
    ('in_segment', 'customer_id', 'false'), ('in_segment', 'code', 'null'),
    ('matches', 'customer_id', 'false'), ('matches', 'rule', 'null'),
    -- Of helpers.
    ('search_form', 'value', 'null'), ('was_valid', NULL, 'no such bound'), ('name_subject', 'row_value', 'null'),
    ('check_horizon', 'at', 'now'), ('level_grants', 'level', 'nothing');

CREATE TEMPORARY TABLE arguments AS
SELECT p.oid, p.prokind::text AS kind, p.proname::text AS function, a.place::int, coalesce(p.proargnames[a.place], '') AS argument,
    format_type(a.type, NULL) AS type,
    -- The default as it is written, for the last pronargdefaults arguments.
    pg_get_function_arg_default(p.oid, a.place::int) AS value_left_out
FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
CROSS JOIN LATERAL unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (type, place)
WHERE e.extname = 'customer_groups' AND NOT p.proisstrict AND p.prorettype <> 'trigger'::regtype
    AND p.proname <> 'apply_level'; -- only called by grant_access and revoke_access, with what they have checked

-- The call with a null in one place.
CREATE FUNCTION pg_temp.call_with_null(of_function oid, null_place int) RETURNS text
    LANGUAGE sql AS $$
    SELECT format('%s customer_groups.%I(%s)', CASE min(a.kind) WHEN 'p' THEN 'CALL' ELSE 'SELECT * FROM' END, min(a.function),
        string_agg(CASE WHEN a.place = null_place THEN 'NULL::' || a.type
                        ELSE format('%s::%s', coalesce(n.value, t.value), a.type) END, ', ' ORDER BY a.place))
    FROM arguments AS a
    LEFT JOIN samples AS n ON n.argument = a.argument
    LEFT JOIN samples AS t ON t.argument = a.type
    WHERE a.oid = of_function
$$;
CREATE FUNCTION pg_temp.outcome_of(statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    EXECUTE statement;
    RAISE EXCEPTION USING ERRCODE = 'UNDOO';
EXCEPTION WHEN SQLSTATE 'UNDOO' THEN
    RETURN 'done';
WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || CASE WHEN hint = '' THEN ' without a hint' ELSE '' END;
END
$$;

SELECT is(pg_temp.outcome_of(pg_temp.call_with_null(a.oid, a.place)),
    CASE WHEN m.function IS NULL AND a.value_left_out IS DISTINCT FROM 'NULL::' || a.type THEN '22004' ELSE 'done' END,
    format('%s(%s => NULL)%s', a.function, a.argument, ': ' || m.meaning))
FROM arguments AS a
LEFT JOIN meanings AS m ON m.function = a.function AND coalesce(m.argument, a.argument) = a.argument
ORDER BY a.function, a.place;
SELECT is_empty(
    $$SELECT * FROM meanings AS m WHERE NOT EXISTS (SELECT FROM arguments AS a
      WHERE a.function = m.function AND coalesce(m.argument, a.argument) = a.argument)$$, 'the list names what there is');
SELECT ok((SELECT count(*) > 40 FROM arguments), 'there were many');

SELECT * FROM finish();
ROLLBACK;
