-- The tables have the columns, types and defaults of the contract; each object has a comment, its owner and its place in a dump.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY VIEW relations AS
SELECT c.*
FROM pg_class AS c
JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'customer_groups';
CREATE TEMPORARY VIEW functions AS
SELECT p.*
FROM pg_proc AS p
JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'customer_groups';

----------------------------------------------------------------------------------------------------------------------
-- The contract's columns: type, whether null is refused, default
----------------------------------------------------------------------------------------------------------------------
CREATE TEMPORARY TABLE contract (
    place int GENERATED ALWAYS AS IDENTITY, name text, columns text);
INSERT INTO contract (name, columns) VALUES
    ('settings', 'currency text not null default ''USD''::text, timezone text not null default ''UTC''::text,
        rounding text not null default ''half_up''::text, enroll_many boolean not null default false,
        recorded_at timestamp with time zone not null default now()'),
    ('stores', 'id integer identity, code text not null, name text not null,
        currency text not null default customer_groups.settings_currency(), timezone text not null default customer_groups.settings_timezone()'),
    ('customers', 'id bigint identity, external_id text, name text, email text, phone text, birth_date date,
        registered_at timestamp with time zone not null default now(), skip_auto_upgrade boolean not null default false,
        attributes jsonb not null default ''{}''::jsonb, recorded_at timestamp with time zone not null default now()'),
    ('brands', 'id integer identity, code text not null, name text not null'),
    ('categories', 'id integer identity, code text not null, name text not null, parent_id integer'),
    ('items', 'id bigint identity, external_id text, sku text, name text not null, brand_id integer, price numeric, min_price numeric'),
    ('item_categories', 'item_id bigint not null, category_id integer not null'),
    ('store_prices', 'item_id bigint not null, store_id integer not null, price numeric, min_price numeric'),
    ('groups', 'id integer identity, code text not null, name text not null, description text, contact_name text, contact_info text,
        starts_on date not null default customer_groups.earliest_today(), ends_on date, use_pricing boolean not null default true,
        self_enroll boolean not null default false, ladder text, upgrade_threshold numeric'),
    ('group_store_pricing', 'group_id integer not null, store_id integer not null, use_pricing boolean not null'),
    ('members', 'customer_id bigint not null, group_id integer not null, source text not null default ''manual''::text, valid_from date,
        valid_until date, added_at timestamp with time zone not null default now(), added_by text not null default SESSION_USER,
        recorded_at timestamp with time zone not null default now()'),
    ('ladders', 'code text not null, name text not null, measure text not null default ''net_sales''::text, period interval,
        downgrade text not null default ''never''::text, grace interval not null default ''00:00:00''::interval'),
    ('sales', 'customer_id bigint not null, id bigint identity, store_id integer,
        kind customer_groups.sale_kind not null default ''product''::customer_groups.sale_kind, amount numeric not null, rate numeric,
        sold_at timestamp with time zone not null default now(), external_id text, recorded_at timestamp with time zone not null default now()'),
    ('sale_lines', 'customer_id bigint not null, sale_id bigint not null, line_no integer not null, item_id bigint not null,
        quantity numeric not null, unit_price numeric not null, discount numeric not null default 0'),
    ('sale_line_promotions', 'customer_id bigint not null, sale_id bigint not null, line_no integer not null, promotion_id integer not null,
        discount numeric not null'),
    ('customer_facts', 'customer_id bigint not null, visits bigint not null default 0, net_sales numeric not null default 0,
        refunds bigint not null default 0, prepaid_purchases bigint not null default 0, pass_purchases bigint not null default 0,
        no_shows bigint not null default 0, first_visit_at timestamp with time zone, last_visit_at timestamp with time zone'),
    ('segments', 'id integer identity, code text not null, name text not null, color text not null default ''#808080''::text,
        position integer not null default 0, show_label boolean not null default true, rule customer_groups.segment_rule not null,
        tracked boolean not null default false'),
    ('segment_members', 'segment_id integer not null, customer_id bigint not null, entered_at timestamp with time zone not null'),
    ('segment_tracking', 'reached_on date not null'),
    ('promotions', 'id integer identity, code text not null, name text not null, kind text not null, value numeric not null,
        level text not null default ''item''::text, starts_at timestamp with time zone, ends_at timestamp with time zone,
        groups_only boolean not null default false, combinable boolean not null default false, stage integer not null default 0,
        priority integer not null default 0, min_quantity numeric, min_order_value numeric, max_discount numeric, currency text,
        active boolean not null default true'),
    ('promotion_items', 'promotion_id integer not null, item_id bigint not null'),
    ('promotion_categories', 'promotion_id integer not null, category_id integer not null'),
    ('promotion_brands', 'promotion_id integer not null, brand_id integer not null'),
    ('promotion_stores', 'promotion_id integer not null, store_id integer not null'),
    ('promotion_groups', 'promotion_id integer not null, group_id integer not null'),
    ('promotion_segments', 'promotion_id integer not null, segment_id integer not null'),
    ('events', 'id bigint identity, at timestamp with time zone not null default clock_timestamp(), kind text not null, customer_id bigint,
        group_id integer, segment_id integer, promotion_id integer, actor text not null default SESSION_USER, detail jsonb not null default ''{}''::jsonb');

SELECT is_empty(
    format($$
        SELECT trim(regexp_replace(wanted, '\s+', ' ', 'g')) FROM regexp_split_to_table(%L, ',') AS wanted
        EXCEPT
        SELECT concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attidentity = 'd' THEN 'identity' WHEN a.attnotnull THEN 'not null' END,
            CASE WHEN d.oid IS NOT NULL THEN 'default ' || pg_get_expr(d.adbin, d.adrelid) END)
        FROM relations AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relname = %L AND c.relkind = 'r'$$, columns, name),
    format('%s has the columns of the contract', name))
FROM contract ORDER BY place;
SELECT is_empty(
    $$SELECT relname::text FROM relations WHERE relkind = 'r' EXCEPT SELECT name FROM contract EXCEPT VALUES ('cache_stamps')$$,
    'there is no other table');
SELECT enum_has_labels('customer_groups', 'sale_kind', ARRAY['product', 'refund', 'prepaid', 'pass', 'no_show'], 'the kinds of sales');

-- Keys.
SELECT col_is_pk('customer_groups', name, string_to_array(key, ', '), format('the key of %s', name))
FROM (VALUES
    ('stores', 'id'), ('customers', 'id'), ('brands', 'id'), ('categories', 'id'), ('items', 'id'), ('groups', 'id'), ('segments', 'id'),
    ('promotions', 'id'), ('events', 'id'), ('ladders', 'code'), ('item_categories', 'item_id, category_id'),
    ('store_prices', 'item_id, store_id'), ('group_store_pricing', 'group_id, store_id'), ('members', 'customer_id, group_id'),
    ('sales', 'customer_id, id'), ('sale_lines', 'customer_id, sale_id, line_no'),
    ('sale_line_promotions', 'customer_id, sale_id, line_no, promotion_id'), ('customer_facts', 'customer_id'),
    ('segment_members', 'customer_id, segment_id'), ('cache_stamps', 'stamp')) AS v (name, key);
SELECT col_is_unique('customer_groups', name, 'code', format('codes of %s are unique', name))
FROM unnest(ARRAY['stores', 'brands', 'categories', 'groups', 'segments', 'promotions']) AS name;
SELECT col_is_unique('customer_groups', name, 'external_id', format('external ids of %s are unique', name))
FROM unnest(ARRAY['customers', 'items']) AS name;
SELECT col_is_unique('customer_groups', 'sales', ARRAY['customer_id', 'external_id'], 'external ids of sales are unique for each customer');
SELECT is_empty(
    $$SELECT conrelid::regclass, conname FROM pg_constraint
      WHERE contype = 'f' AND conrelid IN (SELECT oid FROM relations) AND confrelid = 'customer_groups.customers'::regclass
      AND conrelid NOT IN (SELECT attrelid FROM pg_attribute WHERE attname = 'customer_id')$$,
    'no table but those of customers refers to customers');
SELECT is_empty(
    $$SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = 'customer_groups.events'::regclass$$, 'events refer to nothing');
SELECT is_empty(
    $$SELECT i.indexrelid::regclass FROM pg_index AS i
      JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attname = 'customer_id'
      WHERE i.indisunique AND i.indrelid IN (SELECT oid FROM relations) AND i.indkey[0] <> a.attnum
      AND i.indrelid <> 'customer_groups.events'::regclass$$,
    'what is unique in a table of customers begins with the customer');
SELECT is_empty(
    $$SELECT f.conrelid::regclass, f.conname FROM pg_constraint AS f
      WHERE f.contype = 'f' AND f.conrelid IN (SELECT oid FROM relations)
      AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = f.conrelid AND i.indkey[0] = f.conkey[1] AND i.indpred IS NULL)
      AND f.conname NOT IN ('sales_store_id_fkey', 'groups_ladder_fkey')$$,
    'what refers to another table has an index for it');

----------------------------------------------------------------------------------------------------------------------
-- Comments
----------------------------------------------------------------------------------------------------------------------
SELECT is_empty(
    $$SELECT oid::regclass FROM relations WHERE relkind IN ('r', 'v') AND coalesce(obj_description(oid, 'pg_class'), '') !~ '\S'$$,
    'each table and view has a comment');
SELECT is_empty(
    $$SELECT c.oid::regclass, a.attname FROM relations AS c
      JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      WHERE c.relkind = 'r' AND coalesce(col_description(c.oid, a.attnum), '') !~ '\S'$$,
    'each column has a comment');
SELECT is_empty(
    $$SELECT oid::regprocedure FROM functions WHERE coalesce(obj_description(oid, 'pg_proc'), '') !~ '\S'$$,
    'each function has a comment');
SELECT is_empty(
    $$SELECT t.oid::regtype FROM pg_type AS t
      WHERE t.typnamespace = 'customer_groups'::regnamespace AND t.typrelid = 0 AND t.typcategory <> 'A'
      AND coalesce(obj_description(t.oid, 'pg_type'), '') !~ '\S'$$,
    'each type has a comment');
SELECT is_empty(
    $$SELECT o.oid::regoperator FROM pg_operator AS o
      WHERE o.oprnamespace = 'customer_groups'::regnamespace AND coalesce(obj_description(o.oid, 'pg_operator'), '') !~ '\S'$$,
    'each operator has a comment');

----------------------------------------------------------------------------------------------------------------------
-- Owners and rights
----------------------------------------------------------------------------------------------------------------------
SELECT is_empty(
    $$SELECT c.oid::regclass, c.relowner::regrole FROM pg_class AS c, pg_extension AS e
      WHERE e.extname = 'customer_groups' AND c.relnamespace = 'customer_groups'::regnamespace AND c.relowner <> e.extowner$$,
    'all tables, views, indexes and sequences belong to the owner of the extension');
SELECT is_empty(
    $$SELECT p.oid::regprocedure, p.proowner::regrole FROM functions AS p, pg_extension AS e
      WHERE e.extname = 'customer_groups' AND p.prosecdef AND p.proowner <> e.extowner$$,
    'and so do the functions with definer''s rights');
SELECT is_empty(
    $$SELECT oid::regprocedure FROM functions
      WHERE prosecdef AND NOT EXISTS (SELECT FROM unnest(proconfig) AS s WHERE s = 'search_path=pg_catalog, pg_temp')$$,
    'which pin their search_path');
SELECT is_empty(
    $$SELECT oid::regprocedure FROM functions WHERE prorettype = 'trigger'::regtype AND has_function_privilege('public', oid, 'EXECUTE')$$,
    'nobody may call the functions of triggers');
SELECT is_empty(
    $$SELECT oid::regprocedure FROM functions WHERE provolatile = 'v' AND prorettype <> 'trigger'::regtype AND has_function_privilege('public', oid, 'EXECUTE')$$,
    'nor what writes');
SELECT is_empty(
    $$SELECT c.oid::regclass FROM relations AS c
      WHERE c.relkind IN ('r', 'v', 'S') AND (has_table_privilege('shop_stranger', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER'))$$,
    'a stranger has no right on any table, view or sequence');
SELECT ok(NOT has_schema_privilege('shop_stranger', 'customer_groups', 'USAGE, CREATE'), 'nor on the schema');
SELECT is_empty(
    $$SELECT oid::regclass FROM relations WHERE relkind = 'v' AND relname <> 'access_marks' AND NOT coalesce(reloptions::text ~ 'security_invoker=(true|on)', false)$$,
    'views of tables have the rights of who reads them');
SELECT is_empty(
    $$SELECT oid::regprocedure FROM functions WHERE proname LIKE 'effective\_%' AND (provolatile <> 's' OR proparallel <> 's')$$,
    'functions that give prices are stable and parallel safe');

----------------------------------------------------------------------------------------------------------------------
-- What a dump carries
----------------------------------------------------------------------------------------------------------------------
SELECT set_eq(
    $$SELECT unnest(extconfig)::regclass FROM pg_extension WHERE extname = 'customer_groups'$$,
    $$SELECT oid::regclass FROM relations WHERE relkind = 'r' AND relname <> 'cache_stamps'
      UNION ALL
      SELECT d.objid::regclass FROM pg_depend AS d JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
      WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
      AND d.refobjid IN (SELECT oid FROM relations)$$,
    'a dump carries all tables and the sequences of their ids, but no stamps');
SELECT is_empty(
    $$SELECT unnest(extcondition) FROM pg_extension WHERE extname = 'customer_groups' EXCEPT VALUES ('')$$, 'whole tables');

----------------------------------------------------------------------------------------------------------------------
-- Triggers that stamp the caches fire whatever session_replication_role is
----------------------------------------------------------------------------------------------------------------------
SELECT set_eq( -- 31: each row, before INSERT, UPDATE and DELETE; 34: before TRUNCATE
    $$SELECT tgrelid::regclass::text, tgtype::int FROM pg_trigger WHERE tgfoid = 'customer_groups.leave_stamp()'::regprocedure AND tgenabled = 'A'$$,
    $$SELECT 'customer_groups.' || t, n FROM unnest(ARRAY['settings', 'stores', 'ladders', 'groups', 'group_store_pricing', 'categories',
        'brands', 'segments', 'promotions', 'promotion_items', 'promotion_categories', 'promotion_brands', 'promotion_stores',
        'promotion_groups', 'promotion_segments']) AS t, unnest(ARRAY[31, 34]) AS n$$,
    'each table that is cached leaves stamps, always');
SELECT is_empty(
    $$SELECT tgrelid::regclass, tgname FROM pg_trigger
      WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM relations) AND tgenabled <> 'O'
      AND tgfoid NOT IN ('customer_groups.leave_stamp()'::regprocedure, 'customer_groups.discard_stamp()'::regprocedure)$$,
    'other triggers do not fire on a subscriber');

SELECT * FROM finish();
ROLLBACK;
