-- Who may do what: the four access levels and a role without one, against every table, view and function of the
-- extension. The decisions are the two tables below; an object of the extension without a decision fails.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

-- ---------------------------------------------------------------------------------------------------------------
-- Decisions
-- ---------------------------------------------------------------------------------------------------------------

-- r SELECT, a INSERT of all columns but recorded_at, w UPDATE, d DELETE; with columns in brackets, of these only.
CREATE TEMPORARY TABLE table_decisions (name text, "view" text, members text, edit text, sell text);
INSERT INTO table_decisions VALUES
    -- The owner's.
    ('settings', '', '', '', ''),
    ('cache_stamps', '', '', '', ''),
    ('access_marks', 'r(view)', 'r(members)', 'r(edit)', 'r(sell)'),
    -- Customers and their memberships.
    ('customers', 'r', 'raw', 'rawd', 'r'),
    ('members', 'r', 'rawd', 'rawd', 'r'),
    -- Sales.
    ('sales', 'r', 'r', 'r', 'ra'),
    ('sale_lines', 'r', 'r', 'r', 'ra'),
    ('sale_line_promotions', 'r', 'r', 'r', 'ra'),
    -- Derived and recorded by the engine alone.
    ('customer_facts', 'r', 'r', 'r', 'r'),
    ('segment_members', 'r', 'r', 'r', 'r'),
    ('segment_tracking', 'r', 'r', 'r', 'r'),
    ('events', 'r', 'r', 'r', 'r'),
    -- Definitions.
    ('stores', 'r', 'r', 'rawd', 'r'),
    ('brands', 'r', 'r', 'rawd', 'r'),
    ('categories', 'r', 'r', 'rawd', 'r'),
    ('items', 'r', 'r', 'rawd', 'r'),
    ('item_categories', 'r', 'r', 'rawd', 'r'),
    ('store_prices', 'r', 'r', 'rawd', 'r'),
    ('groups', 'r', 'r', 'rawd', 'r'),
    ('group_store_pricing', 'r', 'r', 'rawd', 'r'),
    ('ladders', 'r', 'r', 'rawd', 'r'),
    ('segments', 'r', 'r', 'rawd', 'r'),
    ('promotions', 'r', 'r', 'rawd', 'r'),
    ('promotion_items', 'r', 'r', 'rawd', 'r'),
    ('promotion_categories', 'r', 'r', 'rawd', 'r'),
    ('promotion_brands', 'r', 'r', 'rawd', 'r'),
    ('promotion_stores', 'r', 'r', 'rawd', 'r'),
    ('promotion_groups', 'r', 'r', 'rawd', 'r'),
    ('promotion_segments', 'r', 'r', 'rawd', 'r'),
    -- Views.
    ('access_levels', 'r', 'r', 'r', 'r'),
    ('cohorts', 'r', 'r', 'r', 'r'),
    ('customer_rfm', 'r', 'r', 'r', 'r'),
    ('enrollable_groups', 'r', 'r', 'r', 'r'),
    ('group_promotions', 'r', 'r', 'r', 'r'),
    ('group_stores', 'r', 'r', 'r', 'r'),
    ('group_summary', 'r', 'r', 'r', 'r'),
    ('line_refunds', 'r', 'r', 'r', 'r'),
    ('member_history', 'r', 'r', 'r', 'r'),
    ('promotion_summary', 'r', 'r', 'r', 'r'),
    ('promotion_use', 'r', 'r', 'r', 'r'),
    ('recomputed_facts', 'r', 'r', 'r', 'r'),
    ('rfm_cells', 'r', 'r', 'r', 'r'),
    ('sales_by_day', 'r', 'r', 'r', 'r'),
    ('segment_changes', 'r', 'r', 'r', 'r'),
    ('segment_history', 'r', 'r', 'r', 'r'),
    ('segment_overlaps', 'r', 'r', 'r', 'r'),
    ('segment_summary', 'r', 'r', 'r', 'r'),
    ('tier_distribution', 'r', 'r', 'r', 'r'),
    ('valid_members', 'r', 'r', 'r', 'r');

-- The level that a function, with all its overloads, is for: 'public' for those that constraints, defaults, views
-- and the data type need, 'owner' for those that no level gives.
CREATE TEMPORARY TABLE function_decisions (level text, names text[]);
INSERT INTO function_decisions VALUES
    ('public', '{
        currency_digits, is_money, is_timezone, settings_currency, settings_timezone, earliest_today, shop_today,
        search_form, was_valid, month_day,
        segment_rule_in, segment_rule_out, segment_rule_recv, segment_rule_send, segment_rule_eq, segment_rule_ne,
        segment_rule_hash, segment_rule_hash_extended, segment_rule_from_jsonb, segment_rule_to_jsonb}'),
    ('view', '{
        effective_discount, effective_price, effective_discounts, explain_discount, price_cart,
        effective_discount_by_key, effective_price_by_key, effective_discounts_by_key, price_cart_by_key,
        find_groups, search_customers, groups_of, members_of, group_id_of, customer_id_of, check_customers, check_horizon,
        tier_of, tier_progress,
        segments_of, segments_of_by_key, labels_of, in_segment, matches, segment_customers, rule_customers,
        segment_size, segment_sizes, segment_overlap, preview_segment, preview_change, segment_sql, rule_names}'),
    ('members', '{add_member, add_member_by_key, remove_member, set_groups, enroll, may_enroll_many}'),
    ('members, sell', '{lock_customers}'),
    ('edit', '{
        report_progress, add_members, remove_members, move_members, add_members_by_email, set_store_pricing, delete_group,
        attach_promotion, attach_promotions, detach_promotion, detach_promotions, set_group_discount, promotion_id_of,
        review_tiers,
        load_default_segments, advance_segments, fill_segments}'),
    ('sell', '{record_sale, record_sale_by_key, record_refund, refund_sale, is_same_refund, read_cart, priced_lines, part_of}'),
    ('owner', '{
        grant_access, revoke_access, forget_customer, purge_events, check_integrity, rebuild_facts, track_customers,
        check_owner, check_role, apply_level, included_levels, level_grants, name_subject, say_of_promotions, promotions_now, rule_rename, window_end}');

-- ---------------------------------------------------------------------------------------------------------------
-- The matrix
-- ---------------------------------------------------------------------------------------------------------------

CREATE TEMPORARY TABLE levels (level text, role name);
INSERT INTO levels VALUES
    ('view', 'shop_view'), ('members', 'shop_members'), ('edit', 'shop_edit'), ('sell', 'shop_sell');
SELECT customer_groups.grant_access(role::text::regrole, level) FROM levels;

CREATE TEMPORARY VIEW extension_objects AS
SELECT d.classid, d.objid
FROM pg_depend AS d
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'customer_groups' AND d.deptype = 'e';

-- What a role may do with a relation, in the letters of the decisions; D TRUNCATE, x REFERENCES, t TRIGGER.
CREATE FUNCTION pg_temp.rights(role name, relation regclass) RETURNS text
    LANGUAGE sql AS $$
    SELECT coalesce(string_agg(
        CASE
            WHEN p.privilege IN ('DELETE', 'TRUNCATE', 'TRIGGER') THEN
                CASE WHEN has_table_privilege(role, relation, p.privilege) THEN p.letter END
            WHEN c.granted = '{}' THEN NULL
            WHEN c.granted = CASE p.privilege WHEN 'INSERT' THEN array_remove(c.columns, 'recorded_at')
                                              ELSE c.columns END THEN p.letter
            ELSE p.letter || '(' || array_to_string(c.granted, ', ') || ')'
        END, '' ORDER BY p.place), '')
    FROM unnest(
        '{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[], '{r,a,w,d,D,x,t}'::text[]
    ) WITH ORDINALITY AS p (privilege, letter, place)
    CROSS JOIN LATERAL (
        SELECT array_agg(a.attname::text ORDER BY a.attnum) AS columns,
            coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (
                WHERE p.privilege NOT IN ('DELETE', 'TRUNCATE', 'TRIGGER')
                    AND has_column_privilege(role, relation, a.attnum, p.privilege)), '{}') AS granted
        FROM pg_attribute AS a
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
    ) AS c
$$;

SELECT is(
    (SELECT string_agg(format('%s: %s', r.level, pg_temp.rights(r.role, c.oid)), ', ' ORDER BY r.place)
     FROM (SELECT l.*, row_number() OVER () AS place FROM levels AS l
           UNION ALL VALUES ('none', 'shop_stranger', 5)) AS r (level, role, place)),
    coalesce(format('view: %s, members: %s, edit: %s, sell: %s, none: ', d.view, d.members, d.edit, d.sell),
             'a decision'),
    'rights on ' || c.relname)
FROM pg_class AS c
JOIN extension_objects AS o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
LEFT JOIN table_decisions AS d ON d.name = c.relname
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY c.relname;

SELECT is_empty(
    $$
    SELECT r.rolname, c.oid::regclass
    FROM pg_class AS c
    JOIN extension_objects AS o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
    CROSS JOIN pg_roles AS r
    WHERE c.relkind = 'S' AND r.rolname IN ('shop_view', 'shop_members', 'shop_edit', 'shop_sell', 'shop_stranger')
        AND has_sequence_privilege(r.oid, c.oid, 'USAGE, SELECT, UPDATE')
    $$, 'no level has rights on a sequence');

SELECT is(
    (SELECT coalesce(string_agg(r.level, ', ' ORDER BY r.place), '')
     FROM (SELECT l.*, row_number() OVER () AS place FROM levels AS l
           UNION ALL VALUES ('none', 'shop_stranger', 5)) AS r (level, role, place)
     WHERE has_function_privilege(r.role, p.oid, 'EXECUTE')),
    CASE d.level
        WHEN 'public' THEN 'view, members, edit, sell, none'
        WHEN 'view' THEN 'view, members, edit, sell'
        WHEN 'members' THEN 'members, edit'
        WHEN 'members, sell' THEN 'members, edit, sell'
        WHEN 'owner' THEN ''
        ELSE coalesce(d.level, 'a decision')
    END,
    format('who may call %s', p.oid::regprocedure))
FROM pg_proc AS p
JOIN extension_objects AS o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
LEFT JOIN function_decisions AS d ON p.proname = ANY (d.names)
WHERE p.prorettype <> 'trigger'::regtype
ORDER BY p.oid::regprocedure::text COLLATE "C";

SELECT is_empty(
    $$
    SELECT p.oid::regprocedure, l.level
    FROM pg_proc AS p
    JOIN extension_objects AS o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
    CROSS JOIN levels AS l
    WHERE p.prorettype = 'trigger'::regtype AND has_function_privilege(l.role, p.oid, 'EXECUTE')
    $$, 'no level may use a trigger function');

SELECT is_empty(
    $$
    SELECT p.oid::regprocedure
    FROM pg_proc AS p
    JOIN extension_objects AS o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
    WHERE p.prosecdef AND NOT coalesce(p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', false)
    $$, 'functions with definer''s rights pin their search_path');

SELECT is_empty(
    $$
    SELECT c.oid::regclass
    FROM pg_class AS c
    JOIN extension_objects AS o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
    WHERE c.relkind = 'v' AND c.relname <> 'access_marks'
        AND NOT coalesce(c.reloptions && '{security_invoker=true,security_invoker=on}', false)
    $$, 'views have the rights of who reads them');

SELECT set_eq(
    'SELECT role, level FROM customer_groups.access_levels', 'SELECT role::text::regrole, level FROM levels',
    'access_levels shows the levels given');

-- ---------------------------------------------------------------------------------------------------------------
-- What the levels do
-- ---------------------------------------------------------------------------------------------------------------

-- Runs a statement as a role: the first column of its first row, or 'done', or the SQLSTATE of its error.
CREATE FUNCTION pg_temp.as_role(role name, statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    IF statement ~* '^\s*(SELECT|TABLE)|RETURNING' THEN
        EXECUTE statement INTO result;
    ELSE
        EXECUTE statement;
    END IF;
    SET LOCAL ROLE NONE;
    RETURN coalesce(nullif(result, ''), 'done');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;

INSERT INTO customer_groups.stores (id, code, name) VALUES (900001, 'north', 'North'), (900002, 'south', 'South');
INSERT INTO customer_groups.customers (id, external_id, name, email)
VALUES (900001, 'c-1', 'Ann', 'ann@example.com'), (900002, 'c-2', 'Bob', 'bob@example.com'), (900003, 'c-3', 'Cem', 'cem@example.com');
INSERT INTO customer_groups.groups (id, code, name, self_enroll)
VALUES (900001, 'b2b', 'Business', false), (900002, 'club', 'Club', true);
INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold) VALUES (900003, 'gold', 'Gold', 1000);
INSERT INTO customer_groups.items (id, external_id, name, price) VALUES (900001, 'lamp', 'Lamp', 100);
INSERT INTO customer_groups.promotions (id, code, name, kind, value, groups_only)
VALUES (900001, 'ten', 'Ten', 'percent', 10, true);
INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (900001, 900001);
INSERT INTO customer_groups.segments (id, code, name, rule) VALUES (900001, 'regular', 'Regular', 'visits >= 1');
INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900001);
-- A sale of an earlier time.
SET LOCAL client_min_messages = error;
INSERT INTO customer_groups.sales (customer_id, id, amount, recorded_at) VALUES (900002, 900077, 5, '2020-01-01');
SET LOCAL client_min_messages = warning;
INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) VALUES (900002, 900077, 2, 900001, 1, 5);
SELECT customer_groups.rebuild_facts('{900002}') \g /dev/null

SELECT is(pg_temp.as_role(role::name, statement), expected, format('%s: %s', role, name))
FROM (VALUES
    -- view
    ('shop_view', 'SELECT price::int FROM customer_groups.effective_price(900001, 900001)', '90', 'reads prices'),
    ('shop_view', 'SELECT customer_groups.effective_discount(900001, 900001)::int', '10', 'reads discounts'),
    ('shop_view', 'SELECT group_code FROM customer_groups.groups_of(900001)', 'b2b', 'reads groups of a customer'),
    ('shop_view', 'SELECT group_code FROM customer_groups.groups_of(900001, clock_timestamp())', 'b2b', 'reads past groups'),
    ('shop_view', 'SELECT customer_id FROM customer_groups.members_of(''b2b'')', '900001', 'reads members of a group'),
    ('shop_view', 'SELECT customer_id FROM customer_groups.members_of(''b2b'', clock_timestamp())', '900001', 'reads past members'),
    ('shop_view', 'SELECT code FROM customer_groups.find_groups(''business'')', 'b2b', 'finds groups'),
    ('shop_view', 'SELECT customer_id FROM customer_groups.search_customers(''bob@'')', '900002', 'finds customers'),
    ('shop_view', 'SELECT code FROM customer_groups.enrollable_groups', 'club', 'reads the groups open for enrollment'),
    ('shop_view', 'SELECT promotion_code FROM customer_groups.group_promotions', 'ten', 'reads the promotions of groups'),
    ('shop_view', 'SELECT answered_by FROM customer_groups.group_stores WHERE group_code = ''b2b''', 'group', 'reads the pricing of stores'),
    ('shop_view', 'SELECT count(*) > 0 FROM customer_groups.events', 'true', 'reads the event log'),
    ('shop_view', 'SELECT count(*) FROM customer_groups.access_levels', '4', 'reads who has access'),
    ('shop_view', 'SELECT count(*) FROM customer_groups.settings', '42501', 'not the settings'),
    ('shop_view', 'SELECT customer_groups.may_enroll_many()', '42501', 'not by a function either'),
    ('shop_view', 'SELECT customer_groups.add_member(900002, ''b2b'')', '42501', 'no member is added'),
    ('shop_view', 'SELECT customer_groups.enroll(900002, ''{club}'')', '42501', 'nobody is enrolled'),
    ('shop_view', 'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900002, 900001)', '42501', 'nor by plain SQL'),
    ('shop_view', 'UPDATE customer_groups.customers SET name = name', '42501', 'no customer is changed'),
    ('shop_view', 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 1)', '42501', 'nothing is sold'),
    ('shop_view', 'SELECT total FROM customer_groups.record_sale(900001, ''[{"item": 900001}]'')', '42501', 'nor by a function'),
    ('shop_view', 'SELECT total FROM customer_groups.record_refund(900001, 900077)', '42501', 'nothing is refunded'),
    ('shop_view', 'SELECT customer_groups.attach_promotion(''club'', ''ten'')', '42501', 'nothing is attached'),
    ('shop_view', 'SELECT customer_groups.delete_group(''b2b'')', '42501', 'no group is deleted'),
    ('shop_view', 'SELECT FROM customer_groups.customers FOR UPDATE', '42501', 'nothing is locked'),
    ('shop_view', 'SELECT customer_groups.lock_customers(''{900001}'')', '42501', 'nor by a function'),

    -- members
    ('shop_members', 'INSERT INTO customer_groups.customers (name) VALUES (''Dan'') RETURNING name', 'Dan', 'inserts a customer'),
    ('shop_members', 'UPDATE customer_groups.customers SET skip_auto_upgrade = true, name = ''Bo'' WHERE id = 900002 RETURNING name', 'Bo', 'updates a customer'),
    ('shop_members', 'SELECT skip_auto_upgrade FROM customer_groups.customer_facts WHERE customer_id = 900002', 'true', 'and the facts follow'),
    ('shop_members', 'SELECT customer_groups.add_member(900002, ''b2b'')', 'true', 'adds a member'),
    ('shop_members', 'SELECT customer_groups.add_member(900002, ''b2b'', current_date + 7)', 'false', 'sets the end of a membership'),
    ('shop_members', 'SELECT customer_groups.remove_member(900002, ''b2b'')', 'true', 'removes a member'),
    ('shop_members', 'SELECT group_code FROM customer_groups.set_groups(900002, ''{gold}'')', 'gold', 'sets the groups of a customer, a tier too'),
    ('shop_members', 'SELECT customer_groups.enroll(900002, ''{club}'')', '1', 'enrolls a customer'),
    ('shop_members', 'SELECT price::int FROM customer_groups.effective_price(900001, 900001)', '90', 'reads prices'),
    ('shop_members', 'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900003, 900001), (900003, 900002)', 'done', 'several memberships of one customer in a statement'),
    ('shop_members', 'UPDATE customer_groups.members SET valid_until = current_date + 7 WHERE customer_id = 900003', 'done', 'and changes them'),
    ('shop_members', 'UPDATE customer_groups.members SET valid_until = NULL', '42501', 'not those of several customers'),
    ('shop_members', 'DELETE FROM customer_groups.members', '42501', 'which it does not delete either'),
    ('shop_members', 'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900002), (900003, 900003)', '42501', 'nor insert'),
    ('shop_members', 'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900001, 900002), (900003, 900003) ON CONFLICT DO NOTHING', '42501', 'whatever the statement'),
    ('shop_members', 'DELETE FROM customer_groups.members WHERE customer_id = 900003 RETURNING customer_id', '900003', 'deletes those of one customer'),
    ('shop_members', 'INSERT INTO customer_groups.members (customer_id, group_id, recorded_at) VALUES (900003, 900001, ''2020-01-01'')', '42501', 'no row that passes for a restored one'),
    ('shop_members', 'INSERT INTO customer_groups.customers (name, recorded_at) VALUES (''Eve'', now())', '42501', 'no customer either'),
    ('shop_members', 'UPDATE customer_groups.members SET recorded_at = ''2020-01-01'' WHERE customer_id = 900001', '55000', 'recorded_at is not changed'),
    ('shop_members', 'SELECT customer_groups.add_members(''b2b'', ''{900002}'')', '42501', 'no bulk addition'),
    ('shop_members', 'SELECT customer_groups.remove_members(''b2b'', ''{900002}'')', '42501', 'no bulk removal'),
    ('shop_members', 'SELECT customer_groups.move_members(''{900002}'', ''b2b'', ''club'')', '42501', 'no bulk move'),
    ('shop_members', 'SELECT outcome FROM customer_groups.add_members_by_email(''b2b'', ''ann@example.com'')', '42501', 'no list of addresses'),
    ('shop_members', 'DELETE FROM customer_groups.customers WHERE id = 900003', '42501', 'no customer is deleted'),
    ('shop_members', 'UPDATE customer_groups.groups SET name = name', '42501', 'no group is changed'),
    ('shop_members', 'SELECT customer_groups.delete_group(''b2b'')', '42501', 'no group is deleted'),
    ('shop_members', 'SELECT customer_groups.set_store_pricing(''b2b'', 900001, false)', '42501', 'no store pricing'),
    ('shop_members', 'UPDATE customer_groups.customer_facts SET visits = 9', '42501', 'no facts'),
    ('shop_members', 'INSERT INTO customer_groups.events (kind) VALUES (''fake'')', '42501', 'no events'),
    ('shop_members', 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 1)', '42501', 'nothing is sold'),
    ('shop_members', 'SELECT total FROM customer_groups.record_sale(900001, ''[{"item": 900001}]'')', '42501', 'nor by a function'),
    ('shop_members', 'SELECT customer_groups.add_member_by_key(''c-2'', ''club'')', 'false', 'adds a member by its key, who is one already'),
    ('shop_members', 'SELECT customer_groups.forget_customer(900003)', '42501', 'nobody is forgotten'),
    ('shop_members', 'SELECT count(*) FROM customer_groups.settings', '42501', 'no settings'),

    -- edit
    ('shop_edit', 'INSERT INTO customer_groups.groups (code, name) VALUES (''staff'', ''Staff'') RETURNING code', 'staff', 'makes a group'),
    ('shop_edit', 'UPDATE customer_groups.groups SET name = ''All staff'' WHERE code = ''staff'' RETURNING name', 'All staff', 'changes it'),
    ('shop_edit', 'SELECT customer_groups.add_members(''staff'', ''{900001,900002}'')', '2', 'adds in bulk'),
    ('shop_edit', 'SELECT customer_groups.move_members(''{900001,900002}'', ''staff'', ''club'')', '2', 'moves in bulk'),
    ('shop_edit', 'SELECT customer_groups.remove_members(''club'', ''{900001,900002}'')', '2', 'removes in bulk'),
    ('shop_edit', 'SELECT outcome FROM customer_groups.add_members_by_email(''staff'', ''ann@example.com'')', 'added', 'adds a list of addresses'),
    ('shop_edit', 'UPDATE customer_groups.members SET valid_until = NULL', 'done', 'changes the memberships of several customers'),
    ('shop_edit', 'SELECT customer_groups.add_member(900003, ''b2b'')', 'true', 'adds a member'),
    ('shop_edit', 'SELECT customer_groups.set_store_pricing(''b2b'', 900001, false)', 'done', 'sets the pricing of a store'),
    ('shop_edit', 'SELECT customer_groups.set_store_pricing(''b2b'', 900001, NULL)', 'done', 'and takes it back'),
    ('shop_edit', 'SELECT customer_groups.delete_group(''staff'')', 'done', 'deletes a group'),
    ('shop_edit', 'SELECT count(*) FROM customer_groups.review_tiers(''default'')', '0', 'reviews tiers'),
    ('shop_edit', 'INSERT INTO customer_groups.promotions (id, code, name, kind, value) VALUES (900002, ''one'', ''One'', ''amount'', 1) RETURNING code', 'one', 'makes a promotion'),
    ('shop_edit', 'INSERT INTO customer_groups.promotion_groups (promotion_id, group_id) VALUES (900002, 900001)', 'done', 'attaches it'),
    ('shop_edit', 'INSERT INTO customer_groups.promotion_items (promotion_id, item_id) VALUES (900002, 900001)', 'done', 'to an item'),
    ('shop_edit', 'SELECT customer_groups.attach_promotion(''club'', ''one'')', 'true', 'attaches it by a function'),
    ('shop_edit', 'SELECT customer_groups.detach_promotions(''club'', ''{one}'')', '1', 'and detaches it'),
    ('shop_edit', 'DELETE FROM customer_groups.promotions WHERE code = ''one'' RETURNING code', 'one', 'deletes it'),
    ('shop_edit', 'SELECT customer_groups.set_group_discount(''club'', ''percent'', 1) <> ''''', 'true', 'gives a group a discount'),
    ('shop_edit', 'SELECT total FROM customer_groups.record_sale(900001, ''[{"item": 900001}]'')', '42501', 'does not sell'),
    ('shop_edit', 'INSERT INTO customer_groups.segments (code, name, rule) VALUES (''old'', ''Old'', ''visits > 3'') RETURNING code', 'old', 'makes a segment'),
    ('shop_edit', 'UPDATE customer_groups.segments SET name = ''Older'' WHERE code = ''old'' RETURNING name', 'Older', 'changes it'),
    ('shop_edit', 'DELETE FROM customer_groups.segments WHERE code = ''old'' RETURNING code', 'old', 'deletes it'),
    ('shop_edit', 'INSERT INTO customer_groups.ladders (code, name) VALUES (''b2b'', ''B2B'') RETURNING code', 'b2b', 'makes a ladder'),
    ('shop_edit', 'UPDATE customer_groups.items SET price = 120 WHERE id = 900001 RETURNING price::int', '120', 'changes a price'),
    ('shop_edit', 'INSERT INTO customer_groups.store_prices (item_id, store_id, price) VALUES (900001, 900001, 80)', 'done', 'and a store''s'),
    ('shop_edit', 'INSERT INTO customer_groups.stores (code, name) VALUES (''east'', ''East'') RETURNING code', 'east', 'makes a store'),
    ('shop_edit', 'INSERT INTO customer_groups.categories (code, name) VALUES (''lamps'', ''Lamps'') RETURNING code', 'lamps', 'makes a category'),
    ('shop_edit', 'DELETE FROM customer_groups.customers WHERE id = 900003 RETURNING id', '900003', 'deletes a customer'),
    ('shop_edit', 'INSERT INTO customer_groups.groups (code, name, recorded_at) VALUES (''x'', ''X'', now())', '42501', 'recorded_at is not given'),
    ('shop_edit', 'UPDATE customer_groups.groups SET recorded_at = ''2020-01-01'' WHERE id = 900001', '55000', 'recorded_at of a group is not changed'),
    ('shop_edit', 'UPDATE customer_groups.promotion_groups SET recorded_at = ''2020-01-01''', '55000', 'of an attachment neither'),
    ('shop_edit', 'SELECT count(*) FROM customer_groups.settings', '42501', 'no settings'),
    ('shop_edit', 'INSERT INTO customer_groups.settings (currency) VALUES (''EUR'')', '42501', 'which it does not set'),
    ('shop_edit', 'SELECT customer_groups.grant_access(''shop_stranger'', ''view'')', '42501', 'gives no access'),
    ('shop_edit', 'SELECT customer_groups.revoke_access(''shop_view'')', '42501', 'takes none'),
    ('shop_edit', 'SELECT customer_groups.forget_customer(900002)', '42501', 'nobody is forgotten'),
    ('shop_edit', 'SELECT customer_groups.purge_events(now())', '42501', 'no event is purged'),
    ('shop_edit', 'DELETE FROM customer_groups.events', '42501', 'nor deleted'),
    ('shop_edit', 'SELECT customer_groups.rebuild_facts()', '42501', 'no facts are rebuilt'),
    ('shop_edit', 'UPDATE customer_groups.customer_facts SET visits = 9', '42501', 'nor changed'),
    ('shop_edit', 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 1)', '42501', 'nothing is sold'),
    ('shop_edit', 'DELETE FROM customer_groups.sales', '42501', 'no sale is deleted'),
    ('shop_edit', 'TRUNCATE customer_groups.promotion_groups', '42501', 'nothing is truncated'),

    -- sell
    ('shop_sell', 'SELECT price::int FROM customer_groups.effective_price(900001, 900001)', '108', 'reads prices'),
    ('shop_sell', 'INSERT INTO customer_groups.sales (customer_id, id, amount, external_id) VALUES (900001, 900001, 1200, ''k1'') RETURNING amount::int', '1200', 'inserts a sale'),
    ('shop_sell', 'INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) VALUES (900001, 900001, 1, 900001, 10, 120)', 'done', 'with its lines'),
    ('shop_sell', 'INSERT INTO customer_groups.sale_line_promotions (customer_id, sale_id, line_no, promotion_id, discount) VALUES (900001, 900001, 1, 900001, 0)', 'done', 'and their promotions'),
    ('shop_sell', 'SELECT visits || '' '' || net_sales::int FROM customer_groups.customer_facts WHERE customer_id = 900001', '1 1200', 'the facts follow'),
    ('shop_sell', 'SELECT group_code FROM customer_groups.groups_of(900001) WHERE source = ''tier''', 'gold', 'the tier as well'),
    ('shop_sell', 'INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) VALUES (900002, 900077, 1, 900001, 1, 120)', '42501', 'not an earlier one''s'),
    ('shop_sell', 'INSERT INTO customer_groups.sale_line_promotions (customer_id, sale_id, line_no, promotion_id, discount) VALUES (900002, 900077, 2, 900001, 0)', '42501', 'nor its promotions'),
    ('shop_sell', 'UPDATE customer_groups.sale_lines SET quantity = 1', '42501', 'no line is changed'),
    ('shop_sell', 'DELETE FROM customer_groups.sale_lines', '42501', 'or deleted'),
    ('shop_sell', 'SELECT total::int FROM customer_groups.record_sale(900001, ''[{"item": 900001, "quantity": 2}]'', external_id => ''k2'')', '216', 'sells a cart'),
    ('shop_sell', 'SELECT repeated FROM customer_groups.record_sale(900001, ''[{"item": 900001, "quantity": 2}]'', external_id => ''k2'')', 'true', 'and again'),
    ('shop_sell', 'SELECT total::int FROM customer_groups.record_sale_by_key(''c-2'', ''[{"item": "lamp"}]'')', '120', 'by keys as well'),
    ('shop_sell', 'SELECT total::int FROM customer_groups.record_refund(900001, (SELECT id FROM customer_groups.sales WHERE external_id = ''k2''), ''[{"item": 900001}]'')', '-108', 'refunds a part'),
    ('shop_sell', 'SELECT sum(sales) FROM customer_groups.promotion_use', '2', 'reads the use of promotions'),
    ('shop_sell', 'INSERT INTO customer_groups.sales (customer_id, amount, external_id) VALUES (900001, 1200, ''k1'')', '23505', 'the same key is refused'),
    ('shop_sell', 'INSERT INTO customer_groups.sales (customer_id, amount, recorded_at) VALUES (900001, 1, ''2020-01-01'')', '42501', 'no sale that passes for a restored one'),
    ('shop_sell', 'UPDATE customer_groups.sales SET amount = 1', '42501', 'no sale is changed'),
    ('shop_sell', 'DELETE FROM customer_groups.sales', '42501', 'or deleted'),
    ('shop_sell', 'UPDATE customer_groups.customer_facts SET visits = 9', '42501', 'no facts'),
    ('shop_sell', 'INSERT INTO customer_groups.customer_facts (customer_id, registered_at, skip_auto_upgrade) VALUES (1, now(), false)', '42501', 'which are not inserted either'),
    ('shop_sell', 'INSERT INTO customer_groups.members (customer_id, group_id) VALUES (900002, 900001)', '42501', 'no membership'),
    ('shop_sell', 'DELETE FROM customer_groups.members', '42501', 'which is not removed either'),
    ('shop_sell', 'SELECT customer_groups.add_member(900002, ''b2b'')', '42501', 'nor by a function'),
    ('shop_sell', 'UPDATE customer_groups.promotions SET value = 50', '42501', 'no promotion'),
    ('shop_sell', 'INSERT INTO customer_groups.promotions (name, kind, value) VALUES (''Mine'', ''percent'', 100)', '42501', 'none is made'),
    ('shop_sell', 'SELECT customer_groups.attach_promotion(''club'', ''ten'')', '42501', 'none is attached'),
    ('shop_sell', 'SELECT customer_groups.set_group_discount(''club'', ''percent'', 100)', '42501', 'none is given to a group'),
    ('shop_sell', 'DELETE FROM customer_groups.promotion_groups', '42501', 'no attachment'),
    ('shop_sell', 'INSERT INTO customer_groups.customers (name) VALUES (''Dan'')', '42501', 'no customer'),
    ('shop_sell', 'UPDATE customer_groups.items SET price = 1', '42501', 'no price'),
    ('shop_sell', 'INSERT INTO customer_groups.events (kind) VALUES (''fake'')', '42501', 'no events'),
    ('shop_sell', 'SELECT count(*) FROM customer_groups.settings', '42501', 'no settings'),

    -- none
    ('shop_stranger', 'SELECT count(*) FROM customer_groups.customers', '42501', 'reads nothing'),
    ('shop_stranger', 'SELECT customer_groups.effective_discount(900001, 900001)', '42501', 'no prices'),
    ('shop_stranger', 'SELECT customer_groups.settings_currency()', '42501', 'not even the currency'),

    -- The owner does it all.
    ('shop_owner', 'SELECT customer_groups.forget_customer(900001)', 'done', 'forgets a customer'),
    ('shop_owner', 'SELECT count(*) FROM customer_groups.check_integrity()', '0', 'and all is well')
) AS c (role, statement, expected, name);

-- ---------------------------------------------------------------------------------------------------------------
-- No reading function answers to a role without the level "view"
-- ---------------------------------------------------------------------------------------------------------------

-- Even when it may call them all: the engine asks for the rights on the tables itself.
CREATE FUNCTION pg_temp.on_functions(command text) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN
        SELECT p.oid FROM pg_proc AS p
        JOIN extension_objects AS o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
        WHERE p.prorettype <> 'trigger'::regtype AND p.proowner = 'shop_owner'::regrole AND p.prokind = 'f'
    LOOP
        EXECUTE format(command, f);
    END LOOP;
END
$$;
GRANT USAGE ON SCHEMA customer_groups TO shop_stranger;
SELECT pg_temp.on_functions('GRANT EXECUTE ON FUNCTION %s TO shop_stranger');

CREATE TEMPORARY TABLE calls (name text, arguments text);
INSERT INTO calls VALUES
    ('effective_discount', $$900001, 900001$$),
    ('effective_discount', $$NULL, 900001$$),
    ('effective_price', $$900001, 900001$$),
    ('effective_discounts', $$900001, '{900001}'$$),
    ('explain_discount', $$900001, 900001$$),
    ('price_cart', $$900001, '[{"item": 900001, "quantity": 1}]'$$),
    ('effective_discount_by_key', $$'k', 'i'$$),
    ('effective_price_by_key', $$'k', 'i'$$),
    ('effective_discounts_by_key', $$'k', '{i}'$$),
    ('price_cart_by_key', $$'k', '[{"item": "i", "quantity": 1}]'$$),
    ('groups_of', $$900001$$),
    ('groups_of', $$900001, clock_timestamp()$$),
    ('members_of', $$'b2b'$$),
    ('members_of', $$'b2b', clock_timestamp()$$),
    ('find_groups', $$''$$),
    ('search_customers', $$''$$),
    ('group_id_of', $$'b2b'$$),
    ('customer_id_of', $$'k'$$),
    ('check_customers', $$'{1}'$$),
    ('check_horizon', $$now()$$),
    ('tier_of', $$900001$$),
    ('tier_progress', $$900001$$),
    ('segments_of', $$900001$$),
    ('segments_of_by_key', $$'k'$$),
    ('labels_of', $$'{900001}'$$),
    ('in_segment', $$900001, 'regular'$$),
    ('matches', $$900001, 'visits > 1'$$),
    ('matches', $$900001, 'ALL'$$),
    ('segment_customers', $$'regular'$$),
    ('rule_customers', $$'ALL'$$),
    ('segment_size', $$'regular'$$),
    ('segment_sizes', $$$$),
    ('segment_overlap', $$'regular', 'regular'$$),
    ('preview_segment', $$'ALL'$$),
    ('preview_change', $$'regular', 'ALL'$$),
    ('segment_sql', $$'regular'$$),
    ('check_integrity', $$$$),
    -- Nor does one that writes.
    ('add_member', $$900001, 'b2b'$$),
    ('remove_member', $$900001, 'b2b'$$),
    ('set_groups', $$900001, '{}'$$),
    ('enroll', $$900001, '{club}'$$),
    ('add_members', $$'b2b', '{900001}'$$),
    ('remove_members', $$'b2b', '{900001}'$$),
    ('move_members', $$'{900001}', 'b2b', 'club'$$),
    ('add_members_by_email', $$'b2b', 'ann@example.com'$$),
    ('set_store_pricing', $$'b2b', 900001, false$$),
    ('delete_group', $$'b2b'$$),
    ('attach_promotion', $$'b2b', 'ten'$$),
    ('attach_promotions', $$'b2b', '{ten}'$$),
    ('detach_promotion', $$'b2b', 'ten'$$),
    ('detach_promotions', $$'b2b', '{ten}'$$),
    ('set_group_discount', $$'b2b', 'percent', 10$$),
    ('add_member_by_key', $$'k', 'b2b'$$),
    ('record_sale', $$900001, '[{"item": 900001}]'$$),
    ('record_sale_by_key', $$'k', '[{"item": "i"}]'$$),
    ('record_refund', $$900001, 900001$$),
    ('priced_lines', $$900001, '[{"item": 900001}]', NULL, now()$$),
    ('review_tiers', $$'default'$$),
    ('grant_access', $$'shop_stranger', 'view'$$),
    ('revoke_access', $$'shop_view', 'view'$$),
    ('apply_level', $$'shop_stranger', 'view', true$$),
    ('forget_customer', $$900002$$),
    ('purge_events', $$now()$$),
    ('rebuild_facts', $$$$);

SELECT is(pg_temp.as_role('shop_stranger', format('SELECT r::text FROM customer_groups.%s(%s) AS r', c.name, c.arguments)),
    '42501', format('without rights on the tables: %s(%s)', c.name, c.arguments))
FROM calls AS c
WHERE EXISTS (SELECT FROM pg_proc AS p JOIN extension_objects AS o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
              WHERE p.proname = c.name);

-- rule_names reads no table.
SELECT is_empty(
    $$
    SELECT p.oid::regprocedure
    FROM pg_proc AS p
    JOIN extension_objects AS o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
    JOIN function_decisions AS d ON d.level = 'view' AND p.proname = ANY (d.names)
    WHERE p.proname <> 'rule_names' AND p.proname NOT IN (SELECT name FROM calls)
    $$, 'each reading function has been called without rights on the tables');

SELECT pg_temp.on_functions('REVOKE EXECUTE ON FUNCTION %s FROM shop_stranger');
REVOKE USAGE ON SCHEMA customer_groups FROM shop_stranger;

-- The rights on one table are missing.
REVOKE SELECT ON customer_groups.promotion_stores FROM shop_view;
SELECT is(pg_temp.as_role('shop_view', 'SELECT customer_groups.effective_discount(900002, 900001)'), '42501',
    'prices need every table that they depend on');
GRANT SELECT ON customer_groups.promotion_stores TO shop_view;
SELECT is(pg_temp.as_role('shop_view', 'SELECT customer_groups.effective_discount(900002, 900001)::int'), '0',
    'and are there again with the right');

-- ---------------------------------------------------------------------------------------------------------------
-- grant_access, revoke_access, access_levels
-- ---------------------------------------------------------------------------------------------------------------

-- All that a role has been given on the extension's objects.
CREATE FUNCTION pg_temp.all_rights(role name) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(g.what, E'\n' ORDER BY g.what COLLATE "C")
    FROM (
        SELECT format('%s %s', x.privilege_type, c.oid::regclass)
        FROM pg_class AS c, aclexplode(c.relacl) AS x
        WHERE x.grantee = role::text::regrole AND c.relnamespace = 'customer_groups'::regnamespace
        UNION ALL
        SELECT format('%s %s.%s', x.privilege_type, a.attrelid::regclass, a.attname)
        FROM pg_attribute AS a
        JOIN pg_class AS c ON c.oid = a.attrelid
        CROSS JOIN aclexplode(a.attacl) AS x
        WHERE x.grantee = role::text::regrole AND c.relnamespace = 'customer_groups'::regnamespace
        UNION ALL
        SELECT format('%s %s', x.privilege_type, p.oid::regprocedure)
        FROM pg_proc AS p, aclexplode(p.proacl) AS x
        WHERE x.grantee = role::text::regrole AND p.pronamespace = 'customer_groups'::regnamespace
        UNION ALL
        SELECT format('%s schema', x.privilege_type)
        FROM pg_namespace AS n, aclexplode(n.nspacl) AS x
        WHERE x.grantee = role::text::regrole AND n.nspname = 'customer_groups'
        UNION ALL
        SELECT format('%s type %s', x.privilege_type, t.oid::regtype)
        FROM pg_type AS t, aclexplode(t.typacl) AS x
        WHERE x.grantee = role::text::regrole AND t.typnamespace = 'customer_groups'::regnamespace
    ) AS g (what)
$$;
CREATE TEMPORARY TABLE single AS SELECT level, pg_temp.all_rights(role) AS rights FROM levels;

SELECT customer_groups.revoke_access(role::text::regrole) FROM levels;
SELECT is(pg_temp.all_rights(role), NULL, 'revoking all leaves nothing of ' || level) FROM levels;
SELECT is_empty('SELECT * FROM customer_groups.access_levels', 'and nothing in access_levels');

-- For each pair of levels: the union, and each level again when the other is revoked.
CREATE FUNCTION pg_temp.union_of(one text, other text) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(u.what, E'\n' ORDER BY u.what COLLATE "C")
    FROM (SELECT DISTINCT w.what FROM single AS s, string_to_table(s.rights, E'\n') AS w (what)
          WHERE s.level IN (one, other)) AS u
$$;
CREATE FUNCTION pg_temp.check_pair(one text, other text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM customer_groups.grant_access('shop_stranger', one);
    PERFORM customer_groups.grant_access('shop_stranger', other);
    RETURN NEXT is(pg_temp.all_rights('shop_stranger'), pg_temp.union_of(one, other),
        format('%s and %s together are their union', one, other));
    RETURN NEXT is(
        (SELECT string_agg(level, ',' ORDER BY level) FROM customer_groups.access_levels
         WHERE role = 'shop_stranger'::regrole),
        least(one, other) || ',' || greatest(one, other), 'access_levels shows both');
    PERFORM customer_groups.revoke_access('shop_stranger', one);
    RETURN NEXT is(pg_temp.all_rights('shop_stranger'), (SELECT rights FROM single WHERE level = other),
        format('revoking %s keeps all of %s', one, other));
    PERFORM customer_groups.revoke_access('shop_stranger', one);
    RETURN NEXT is(pg_temp.all_rights('shop_stranger'), (SELECT rights FROM single WHERE level = other),
        format('revoking it again changes nothing'));
    PERFORM customer_groups.revoke_access('shop_stranger', other);
    RETURN NEXT is(pg_temp.all_rights('shop_stranger'), NULL, format('revoking %s leaves nothing', other));
END
$$;
SELECT pg_temp.check_pair(a.level, b.level)
FROM levels AS a JOIN levels AS b ON a.level <> b.level;

SELECT customer_groups.grant_access('shop_stranger', level) FROM levels;
SELECT customer_groups.grant_access('shop_stranger', level) FROM levels;
SELECT is((SELECT count(*)::int FROM customer_groups.access_levels WHERE role = 'shop_stranger'::regrole), 4,
    'all four levels, given twice');
SELECT customer_groups.revoke_access('shop_stranger', NULL);
SELECT is(pg_temp.all_rights('shop_stranger'), NULL, 'revoking all of them at once leaves nothing');

-- Other rights of a role that is given a level and loses it stay.
GRANT USAGE ON SCHEMA customer_groups TO shop_stranger;
GRANT SELECT ON customer_groups.settings TO shop_stranger;
SELECT lives_ok($$ SELECT customer_groups.revoke_access('shop_stranger') $$, 'revoking from a role without a level is no error');
SELECT is(pg_temp.all_rights('shop_stranger'), E'SELECT customer_groups.settings\nUSAGE schema',
    'and takes nothing that was not given by a level');
REVOKE ALL ON customer_groups.settings FROM shop_stranger;
REVOKE ALL ON SCHEMA customer_groups FROM shop_stranger;

-- members and edit by way of another role.
SELECT customer_groups.grant_access('shop_members', 'members');
SELECT customer_groups.grant_access('shop_members', 'edit');
SELECT is(pg_temp.as_role('shop_members', 'SELECT customer_groups.add_members(''club'', ''{900001,900002}'')'), '2',
    'members and edit together change several customers');
SELECT customer_groups.revoke_access('shop_members', 'edit');
SELECT is(pg_temp.as_role('shop_members', 'DELETE FROM customer_groups.members'), '42501',
    'members alone does not');
SELECT customer_groups.revoke_access('shop_members');

SELECT throws_ok($$ SELECT customer_groups.grant_access('shop_view', 'admin') $$, '22023', NULL, 'an unknown level is not given');
SELECT throws_ok($$ SELECT customer_groups.grant_access('shop_view', 'VIEW') $$, '22023', NULL, 'nor one in capitals');
SELECT throws_ok($$ SELECT customer_groups.grant_access('shop_view', '') $$, '22023', NULL, 'nor an empty one');
SELECT throws_ok($$ SELECT customer_groups.grant_access('shop_view', NULL) $$, '22004', NULL, 'nor a null one');
SELECT throws_ok($$ SELECT customer_groups.revoke_access('shop_view', 'admin') $$, '22023', NULL, 'an unknown level is not revoked');
SELECT throws_ok($$ SELECT customer_groups.grant_access(NULL, 'view') $$, '22004', NULL, 'a null role');
SELECT throws_ok($$ SELECT customer_groups.revoke_access(NULL) $$, '22004', NULL, 'a null role loses nothing');
SELECT throws_ok($$ SELECT customer_groups.grant_access('nobody_at_all', 'view') $$, '42704', NULL, 'an unknown role');
SELECT throws_ok($$ SELECT customer_groups.grant_access('-', 'view') $$, '42704', NULL, 'no role at all');
SELECT throws_ok($$ SELECT customer_groups.revoke_access('-') $$, '42704', NULL, 'which loses nothing');
SELECT is_empty('SELECT * FROM customer_groups.access_levels', 'none of that left a trace');

-- ---------------------------------------------------------------------------------------------------------------
-- Row-level security
-- ---------------------------------------------------------------------------------------------------------------

SELECT customer_groups.grant_access('shop_view', 'view');
SELECT customer_groups.grant_access('shop_edit', 'edit');
DELETE FROM customer_groups.members;
UPDATE customer_groups.customers SET email = 'ann@example.com' WHERE id = 900001;
SELECT is(customer_groups.add_members('b2b', '{900001,900002}'), 2::bigint, 'two members for the policies');
CREATE POLICY not_bob ON customer_groups.customers TO shop_view, shop_edit USING (id <> 900002);
CREATE POLICY not_bob ON customer_groups.members TO shop_view, shop_edit USING (customer_id <> 900002);
CREATE POLICY all_items ON customer_groups.items TO shop_view USING (id <> 900001);

-- Runs the tests once with the policies of one table.
CREATE FUNCTION pg_temp.check_policy(relation regclass, role name) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    RETURN NEXT is(pg_temp.as_role(role, 'SELECT customer_groups.effective_discount(900001, 900001)::int'), '42501',
        format('a policy on %s: effective_discount refuses %s', relation, role));
    RETURN NEXT is(pg_temp.as_role(role, 'SELECT price FROM customer_groups.effective_price(NULL, 900001)'), '42501',
        format('a policy on %s: effective_price refuses %s, without a customer too', relation, role));
    RETURN NEXT is(pg_temp.as_role('shop_owner', 'SELECT customer_groups.effective_discount(900001, 900001)::int'), '12',
        format('a policy on %s: the owner, to whom it does not apply, is answered', relation));
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', relation);
    RETURN NEXT is(pg_temp.as_role('shop_owner', 'SELECT customer_groups.effective_discount(900001, 900001)::int'), '42501',
        format('a policy forced on %s: the owner is refused', relation));
    EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', relation);
    RETURN NEXT is(pg_temp.as_role(role, 'SELECT customer_groups.effective_discount(900001, 900001)::int'), '12',
        format('no policy on %s any more: %s is answered', relation, role));
END
$$;
SELECT pg_temp.check_policy(t.name::regclass, 'shop_view')
FROM (VALUES ('customer_groups.customers'), ('customer_groups.members'), ('customer_groups.items'),
             ('customer_groups.groups'), ('customer_groups.promotions')) AS t (name);

ALTER TABLE customer_groups.customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE customer_groups.members ENABLE ROW LEVEL SECURITY;
SELECT is(pg_temp.as_role(role::name, statement), expected, format('with policies, %s: %s', role, name))
FROM (VALUES
    ('shop_view', 'SELECT group_code FROM customer_groups.groups_of(900001)', 'b2b', 'sees the groups of a customer'),
    ('shop_view', 'SELECT count(*) FROM customer_groups.groups_of(900002)', '02000', 'not of a hidden one'),
    ('shop_view', 'SELECT count(*) FROM customer_groups.groups_of(900002, clock_timestamp())', '02000', 'nor as of a time'),
    ('shop_view', 'SELECT array_agg(customer_id) FROM customer_groups.members_of(''b2b'')', '{900001}', 'sees the members that it may see'),
    ('shop_edit', 'SELECT customer_groups.add_members(''club'', ''{900001,900002}'')', '02000', 'adds no hidden customer'),
    ('shop_edit', 'SELECT customer_groups.add_member(900002, ''club'')', '02000', 'not one by one either'),
    ('shop_edit', 'SELECT outcome FROM customer_groups.add_members_by_email(''club'', ''bob@example.com'')', 'not_found', 'nor by its address'),
    ('shop_edit', 'SELECT customer_groups.remove_members(''b2b'', ''{900002}'')', '02000', 'removes no hidden customer'),
    ('shop_edit', 'SELECT customer_groups.add_members(''club'', ''{900001}'')', '1', 'adds others')
) AS c (role, statement, expected, name);
-- What asks for segments may refuse or respect it.
SELECT ok(pg_temp.as_role('shop_view', statement) IN ('42501', '02000', expected), 'with policies, not past them: ' || statement)
FROM (VALUES
    ('SELECT array_agg(customer_id) FROM customer_groups.search_customers(''example.com'')', '{900001}'),
    ('SELECT count(*) FROM customer_groups.segments_of(900002)', '0'),
    ('SELECT customer_groups.in_segment(900002, ''regular'')', '42501'),
    ('SELECT customer_groups.matches(900002, ''ALL'')', '42501'),
    ('SELECT array_agg(customer_id) FROM customer_groups.labels_of(''{900001,900002}'')', '{900001}')
) AS s (statement, expected);
ALTER TABLE customer_groups.customers DISABLE ROW LEVEL SECURITY;
ALTER TABLE customer_groups.members DISABLE ROW LEVEL SECURITY;

-- Selling and refunding look at the sales of before: what hides one refuses it.
SELECT customer_groups.grant_access('shop_sell', 'sell');
SELECT sale_id FROM customer_groups.record_sale(900001, '[{"item": 900001}]', external_id => 'k9') \gset
CREATE POLICY large ON customer_groups.sales TO shop_sell USING (amount > 1000);
CREATE POLICY large ON customer_groups.sale_lines TO shop_sell USING (quantity > 1000);
CREATE POLICY large ON customer_groups.sale_line_promotions TO shop_sell USING (discount > 1000);
CREATE FUNCTION pg_temp.check_selling(relation regclass, sale_id bigint) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    RETURN NEXT is(pg_temp.as_role('shop_sell', 'SELECT total FROM customer_groups.record_sale(900001, ''[{"item": 900001}]'')'), '42501',
        format('a policy on %s: nothing is sold', relation));
    RETURN NEXT is(pg_temp.as_role('shop_sell', format('SELECT total FROM customer_groups.record_refund(900001, %s)', sale_id)), '42501',
        format('a policy on %s: nothing is refunded', relation));
    EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', relation);
END
$$;
SELECT pg_temp.check_selling(t.name::regclass, :sale_id)
FROM (VALUES ('customer_groups.sales'), ('customer_groups.sale_lines'), ('customer_groups.sale_line_promotions')) AS t (name);
SELECT is(pg_temp.as_role('shop_sell', format('SELECT total < 0 FROM customer_groups.record_refund(900001, %s)', :sale_id)), 'true', 'no policy any more: it is refunded');

SELECT * FROM finish();
ROLLBACK;
