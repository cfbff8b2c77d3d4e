-- What a shop adds to the event log (triggers, constraints, columns, defaults, rules) holds for each event of a customer; where it
-- adds nothing to them, they are what they were. The first customer's events, as the extension was made, are what the others' are compared with.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

INSERT INTO customer_groups.customers (id, name) SELECT n, 'Customer ' || n FROM generate_series(1, 60) AS n;
-- Ids of groups may be what another system has: zero, or below.
INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold) VALUES (0, 'gold', 'Gold "G"', 300), (7, 'platinum', 'Platinum', 1000.50);
INSERT INTO customer_groups.groups (id, code, name) VALUES (-3, 'club', 'Club');
INSERT INTO customer_groups.segments (id, code, name, rule, tracked) VALUES (0, 'good', 'Good \', 'net_sales >= 300', true), (2, 'wavers', 'Wavers', 'net_sales >= 250 AND net_sales < 400', true);
-- Nobody is in them so far: they are filled as they are.
UPDATE customer_groups.segments SET pending_since = NULL;
SELECT customer_groups.advance_segments();

-- Everything that is written of a customer.
CREATE FUNCTION pg_temp.live(customers bigint[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO customer_groups.sales (customer_id, amount) SELECT c, 300 FROM unnest(customers) AS c;
    INSERT INTO customer_groups.members (customer_id, group_id, valid_from, valid_until) SELECT c, -3, '2020-01-01', '9999-12-31' FROM unnest(customers) AS c;
    SET LOCAL customer_groups.actor = 'till "7"';
    INSERT INTO customer_groups.sales (customer_id, amount) SELECT c, 800 FROM unnest(customers) AS c;
    UPDATE customer_groups.members SET valid_from = NULL, source = 'bulk' WHERE customer_id = ANY (customers) AND group_id = -3;
    SET LOCAL customer_groups.actor = '';
    UPDATE customer_groups.members SET added_at = '2021-02-03 04:05:06.789+00', added_by = 'somebody' WHERE customer_id = ANY (customers) AND group_id = -3;
    UPDATE customer_groups.sales SET amount = 10 WHERE customer_id = ANY (customers);
    INSERT INTO customer_groups.members (customer_id, group_id) SELECT c, 0 FROM unnest(customers) AS c;
    DELETE FROM customer_groups.members WHERE customer_id = ANY (customers) AND group_id = -3;
    DELETE FROM customer_groups.members WHERE customer_id = ANY (customers);
END
$$;

CREATE FUNCTION pg_temp.told(customer bigint)
    RETURNS TABLE (kind text, group_id int, segment_id int, promotion_id int, actor text, app_actor text, detail jsonb)
    LANGUAGE sql STABLE
    AS $$ SELECT kind, group_id, segment_id, promotion_id, actor, app_actor, detail - 'effective_at' FROM customer_groups.events WHERE customer_id = customer ORDER BY id $$;

-- Others live as the first one did, alone and at once, and the log tells the same of them.
CREATE FUNCTION pg_temp.same(first int, what text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_temp.live(ARRAY[first]);
    PERFORM pg_temp.live(ARRAY[first + 1, first + 2]);
    FOR c IN first .. first + 2 LOOP
        RETURN NEXT results_eq(format('SELECT * FROM pg_temp.told(%s)', c), 'SELECT * FROM pg_temp.told(1)', format('%s: customer %s', what, c));
    END LOOP;
    RETURN NEXT is_empty('SELECT * FROM customer_groups.check_integrity()', what || ': nothing else is wrong');
END
$$;

SELECT pg_temp.live('{1}');
SELECT is((SELECT array_agg(concat_ws(' ', kind, group_id, segment_id)) FROM pg_temp.told(1)),
    '{member_added 0,tier_upgraded 0,segment_entered 0,segment_entered 2,member_added -3,member_removed 0,member_added 7,tier_upgraded 7,segment_left 2,'
    'member_changed -3,member_changed -3,segment_left 0,member_removed 7,member_added 0,tier_changed 0,member_removed -3,member_removed 0,tier_changed}'::text[], 'all of it is told');
SELECT pg_temp.same(2, 'as it was made');

-- A trigger that does nothing is enough for a statement to be executed, which is the slow and obvious way.
CREATE FUNCTION pg_temp.pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER pass BEFORE INSERT ON customer_groups.events FOR EACH ROW EXECUTE FUNCTION pg_temp.pass();
SELECT pg_temp.same(5, 'by a statement');
DROP TRIGGER pass ON customer_groups.events;

-- Triggers.
CREATE TEMPORARY TABLE seen (how text, id bigint);
CREATE FUNCTION pg_temp.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (TG_WHEN, NEW.id); RETURN NEW; END $$;
CREATE FUNCTION pg_temp.see_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen SELECT 'STATEMENT', id FROM new_rows; RETURN NULL; END $$;
CREATE TRIGGER see BEFORE INSERT ON customer_groups.events FOR EACH ROW EXECUTE FUNCTION pg_temp.see();
SELECT pg_temp.same(8, 'a BEFORE trigger');
DROP TRIGGER see ON customer_groups.events;
CREATE TRIGGER see AFTER INSERT ON customer_groups.events FOR EACH ROW EXECUTE FUNCTION pg_temp.see();
SELECT pg_temp.same(11, 'an AFTER trigger');
DROP TRIGGER see ON customer_groups.events;
CREATE TRIGGER see AFTER INSERT ON customer_groups.events REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.see_statement();
SELECT pg_temp.same(14, 'a trigger for statements');
DROP TRIGGER see ON customer_groups.events;
SELECT results_eq('SELECT how, id FROM seen ORDER BY id',
    $$SELECT CASE WHEN customer_id < 11 THEN 'BEFORE' WHEN customer_id < 14 THEN 'AFTER' ELSE 'STATEMENT' END, id
      FROM customer_groups.events WHERE customer_id BETWEEN 8 AND 16 ORDER BY id$$, 'triggers see each event');

-- Constraints.
ALTER TABLE customer_groups.events ADD CONSTRAINT no_gold CHECK (customer_id <> 17 OR kind <> 'tier_upgraded');
SELECT throws_ok('SELECT pg_temp.live(''{17}'')', '23514', NULL, 'a CHECK constraint holds');
SELECT pg_temp.same(18, 'with a constraint');
ALTER TABLE customer_groups.events DROP CONSTRAINT no_gold;
ALTER TABLE customer_groups.events ADD CONSTRAINT with_actor CHECK (app_actor IS NOT NULL) NOT VALID;
SELECT throws_ok('SELECT pg_temp.live(''{17}'')', '23514', NULL, 'one that is not validated, too');
ALTER TABLE customer_groups.events DROP CONSTRAINT with_actor;
CREATE UNIQUE INDEX one_of_a_kind ON customer_groups.events (customer_id, kind) WHERE customer_id = 17 AND kind = 'tier_upgraded';
SELECT throws_ok('SELECT pg_temp.live(''{17}'')', '23505', NULL, 'a unique index holds');
SELECT is((SELECT count(*) FROM pg_temp.told(17)), 0::bigint, 'and nothing is left of what failed');
DROP INDEX customer_groups.one_of_a_kind;
SELECT pg_temp.same(21, 'without any constraint more');

-- Columns, and their defaults.
ALTER TABLE customer_groups.events ADD COLUMN till int DEFAULT 7;
SELECT pg_temp.same(24, 'with a column');
SELECT is((SELECT array_agg(DISTINCT till) FROM customer_groups.events WHERE customer_id BETWEEN 24 AND 26), '{7}', 'its default is there');
ALTER TABLE customer_groups.events DROP COLUMN till;
SELECT pg_temp.same(27, 'with a column that is gone');
ALTER TABLE customer_groups.events ADD COLUMN tier boolean GENERATED ALWAYS AS (kind ~ '^tier') STORED;
SELECT pg_temp.same(30, 'with a generated column');
SELECT is((SELECT count(*) FROM customer_groups.events WHERE tier IS DISTINCT FROM (kind ~ '^tier')), 0::bigint, 'it is generated');
ALTER TABLE customer_groups.events DROP COLUMN tier;
ALTER TABLE customer_groups.events ALTER COLUMN at SET DEFAULT '2001-02-03 04:05:06+00', ALTER COLUMN actor SET DEFAULT 'nobody', ALTER COLUMN app_actor SET DEFAULT 'none', ALTER COLUMN promotion_id SET DEFAULT 1;
SELECT pg_temp.live('{33}');
SELECT is((SELECT array_agg(DISTINCT concat_ws(' ', extract(year FROM at), actor, app_actor, promotion_id)) FROM customer_groups.events WHERE customer_id = 33), '{2001 nobody none 1}', 'other defaults hold');
ALTER TABLE customer_groups.events ALTER COLUMN at SET DEFAULT clock_timestamp(), ALTER COLUMN actor SET DEFAULT session_user, ALTER COLUMN promotion_id DROP DEFAULT,
    ALTER COLUMN app_actor SET DEFAULT nullif(current_setting('customer_groups.actor', true), '');
SELECT pg_temp.same(34, 'with the defaults as they were');
ALTER TABLE customer_groups.events ALTER COLUMN actor DROP DEFAULT;
SELECT throws_ok('SELECT pg_temp.live(''{17}'')', '23502', NULL, 'nor is a value made up where there is no default');
ALTER TABLE customer_groups.events ALTER COLUMN actor SET DEFAULT session_user;

-- The numbers.
ALTER TABLE customer_groups.events ALTER COLUMN id RESTART WITH 1000001;
SELECT pg_temp.same(37, 'with other numbers');
SELECT ok((SELECT min(id) > 1000000 FROM customer_groups.events WHERE customer_id BETWEEN 37 AND 39), 'they are taken');
ALTER TABLE customer_groups.events ALTER COLUMN id SET GENERATED ALWAYS;
SELECT pg_temp.same(40, 'where nobody else may give any');

-- A rule, and a name that hides one of PostgreSQL's.
CREATE RULE also AS ON INSERT TO customer_groups.events DO ALSO INSERT INTO seen VALUES (NEW.kind, 0);
TRUNCATE seen;
SELECT pg_temp.live('{43}');
SELECT is((SELECT count(*) FROM seen), (SELECT count(*) FROM pg_temp.told(1)), 'a rule works');
DROP RULE also ON customer_groups.events;
CREATE SCHEMA hidden;
CREATE FUNCTION hidden.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2001-01-01' $$;
SET LOCAL search_path = hidden, pg_catalog, public;
SELECT pg_temp.same(44, 'by whatever path');
SELECT ok((SELECT min(at) > now() - interval '1 day' FROM customer_groups.events WHERE customer_id BETWEEN 44 AND 46), 'the clock is PostgreSQL''s');
ALTER TABLE customer_groups.events ALTER COLUMN at SET DEFAULT hidden.clock_timestamp();
SELECT pg_temp.live('{47}');
SELECT is((SELECT array_agg(DISTINCT at) FROM customer_groups.events WHERE customer_id = 47), ARRAY['2001-01-01'::timestamptz], 'or, as a default, one that is shown as PostgreSQL''s');

SELECT finish();
ROLLBACK;
