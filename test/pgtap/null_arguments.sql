-- What each function does when one of its arguments is null, generated from the catalog: 22004, but where null has a
-- meaning of its own. An argument whose default is null has one; the others that do are listed here.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

INSERT INTO customer_groups.groups (id, code, name) VALUES (900001, 'sample', 'Sample'), (900002, 'second', 'Second');
INSERT INTO customer_groups.stores (id, code, name) VALUES (900001, 'sample', 'Sample');
INSERT INTO customer_groups.customers (id, name, external_id) VALUES (900001, 'Ana', 'sample');
INSERT INTO customer_groups.items (id, name, external_id, price) VALUES (900001, 'Tea', 'sample', 10);
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('sample', 'Sample', 'ALL');

-- Good values: see arguments.psql.
CREATE TEMPORARY TABLE samples (argument text, value text);
INSERT INTO samples VALUES
    ('bigint', '900001'), ('integer', '900001'), ('numeric', '1'), ('boolean', 'true'), ('text', '''sample'''),
    ('bigint[]', '''{900001}'''), ('text[]', '''{sample}'''), ('date', 'customer_groups.shop_today()'),
    ('timestamp with time zone', 'now()'), ('regrole', '''shop_view'''),
    ('customer_groups.segment_rule', '''ALL'''),
    ('to_code', '''second'''), ('level', '''view'''), ('before', '''2000-01-01'''),
    ('lines', '''[{"item": 900001, "quantity": 1}]'''), ('record_sale.kind', '''product'''), ('record_sale_by_key.kind', '''product'''),
    ('price_cart_by_key.lines', '''[{"item": "sample", "quantity": 1}]'''),
    ('record_sale_by_key.lines', '''[{"item": "sample", "quantity": 1}]''');

-- Where null means something, or gives null: patterns of functions and arguments.
CREATE TEMPORARY TABLE meanings (function text, argument text, meaning text);
INSERT INTO meanings VALUES
    ('effective_(discount|price)(_by_key)?', 'customer_(external_)?id', 'nobody known'),
    ('effective_(discount|price)(_by_key)?', 'item_(external_)?id', 'null'),
    ('effective_discounts(_by_key)?', 'customer_(external_)?id|item_(external_)?ids', 'nobody known, no items'),
    ('explain_discount', '(customer|item)_id', 'nobody known, no item'),
    ('price_cart(_by_key)?', 'customer_(external_)?id', 'nobody known'),
    ('find_groups|search_customers', 'keyword', 'all'),
    ('set_store_pricing', 'use', 'takes the answer back'),
    ('(segments|labels)_of(_by_key)?', 'customer_(external_)?ids?', 'none'),
    ('tier_of|tier_progress', 'customer_id', 'none'),
    ('in_segment|matches', 'customer_id', 'false'),
    ('in_segment|matches|segment_(sql|size|overlap)', '(other_)?code|rule', 'null'),
    ('segment_customers|rule_customers|preview_(segment|change)', 'code|rule', 'nobody');

\ir arguments.psql
-- What users may call by a level, but for helpers, and what only the owner may.
DELETE FROM arguments AS a
WHERE a.strict OR NOT (a.function = ANY ('{forget_customer,purge_events,grant_access,revoke_access}')
    OR a.oid IN (SELECT substring(g.object FROM ' (.*)')::regprocedure
                 FROM unnest('{view,members,edit,sell}'::text[]) AS l, customer_groups.level_grants(l) AS g
                 WHERE g.object ~ '^[A-Z]' AND g.object !~ '\.(check_\w+|is_same_refund|part_of|priced_lines|read_cart|refund_sale)\('));

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

-- Without a meaning it is 22004, with a hint; with one, another value among the samples may still be refused.
SELECT is(CASE WHEN c.outcome = '22004' THEN 'refused' WHEN c.outcome ~ '^22004' THEN c.outcome ELSE 'taken' END,
    CASE WHEN c.meaning IS NULL AND c.value_left_out IS DISTINCT FROM 'NULL::' || c.type THEN 'refused' ELSE 'taken' END,
    format('%s(%s => NULL)%s', c.function, c.argument, ': ' || c.meaning))
FROM (SELECT a.*, m.meaning, pg_temp.outcome_of(pg_temp.call(a.oid, a.place, 'NULL')) AS outcome
      FROM arguments AS a
      LEFT JOIN meanings AS m ON a.function ~ ('^(' || m.function || ')$') AND a.argument ~ ('^(' || m.argument || ')$')) AS c
ORDER BY c.function, c.place;
SELECT is_empty(
    $$SELECT * FROM meanings AS m WHERE NOT EXISTS (SELECT FROM arguments AS a
      WHERE a.function ~ ('^(' || m.function || ')$') AND a.argument ~ ('^(' || m.argument || ')$'))$$, 'the list names what there is');
SELECT ok((SELECT count(*) > 40 FROM arguments), 'there were many');

SELECT * FROM finish();
ROLLBACK;
