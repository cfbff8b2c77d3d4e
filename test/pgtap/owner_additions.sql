-- What the owner puts on the tables that a sale changes works as for any statement, by whatever road the engine writes: triggers, rules,
-- constraints, indexes, computed columns and defaults, of facts, memberships, events and stored members of segments.
BEGIN;
SET LOCAL client_min_messages = error;
SELECT no_plan();

INSERT INTO customer_groups.customers (id) VALUES (900001), (900002);
INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold) VALUES (900001, 'low', 'Low', 1), (900002, 'high', 'High', 50);
INSERT INTO customer_groups.segments (id, code, name, rule, tracked) VALUES (900001, 'buyers', 'Buyers', 'net_sales >= 50', true);
UPDATE customer_groups.segments SET pending_since = NULL;
INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 2), (900002, 100);
CREATE TEMPORARY TABLE log (entry text);
CREATE FUNCTION pg_temp.log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pg_temp.log VALUES (TG_OP || ' ' || TG_TABLE_NAME);
    RETURN NEW;
END
$$;
CREATE FUNCTION pg_temp.log_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pg_temp.log SELECT r::text FROM changed AS r;
    RETURN NULL;
END
$$;
CREATE FUNCTION pg_temp.add_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.net_sales := NEW.net_sales + 1;
    RETURN NEW;
END
$$;

-- What there is after a change of the tables and a sale that brings a customer to 100, tier high and the segment; an error's SQLSTATE.
CREATE FUNCTION pg_temp.outcome(change text, question text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE change;
    INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 98);
    SET CONSTRAINTS ALL IMMEDIATE;
    EXECUTE question INTO result;
    RAISE EXCEPTION USING ERRCODE = 'UNDOO', MESSAGE = coalesce(result, 'nothing');
EXCEPTION WHEN SQLSTATE 'UNDOO' THEN
    RETURN SQLERRM;
WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
-- Beside it, that all is as before without the change: so a session meets each of them warm.
CREATE FUNCTION pg_temp.check_outcome(change text, question text, expected text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN NEXT is(pg_temp.outcome(change, question), expected, change);
    RETURN NEXT is(pg_temp.outcome('SELECT 1', $q$SELECT trim_scale(net_sales) || ' ' || customer_groups.tier_of(900001) || ' ' || (SELECT count(*) FROM customer_groups.segment_members WHERE customer_id = 900001)
        FROM customer_groups.customer_facts WHERE customer_id = 900001$q$), '100 high 1', 'and without it');
END
$$;
\set logged '$q$SELECT string_agg(entry, chr(10)) FROM pg_temp.log$q$'

-- The facts.
SELECT pg_temp.check_outcome('CREATE TRIGGER t AFTER UPDATE ON customer_groups.customer_facts FOR EACH ROW EXECUTE FUNCTION pg_temp.log()', $$SELECT DISTINCT entry FROM pg_temp.log$$, 'UPDATE customer_facts');
SELECT pg_temp.check_outcome('CREATE TRIGGER t AFTER UPDATE OF net_sales ON customer_groups.customer_facts FOR EACH ROW WHEN (OLD.net_sales <> NEW.net_sales) EXECUTE FUNCTION pg_temp.log()', :logged, 'UPDATE customer_facts');
SELECT pg_temp.check_outcome('CREATE TRIGGER t AFTER UPDATE ON customer_groups.customer_facts REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.log_rows()',
    $$SELECT count(*) > 0 FROM pg_temp.log WHERE entry LIKE '(900001,2,%'$$, 'true');
SELECT pg_temp.check_outcome('CREATE TRIGGER t BEFORE UPDATE OF net_sales ON customer_groups.customer_facts FOR EACH ROW WHEN (OLD.net_sales <> NEW.net_sales) EXECUTE FUNCTION pg_temp.add_one()',
    'SELECT trim_scale(net_sales) FROM customer_groups.customer_facts WHERE customer_id = 900001', '101');
SELECT pg_temp.check_outcome('CREATE RULE r AS ON UPDATE TO customer_groups.customer_facts DO ALSO INSERT INTO pg_temp.log VALUES (''rule'')', 'SELECT DISTINCT entry FROM pg_temp.log', 'rule');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.customer_facts ADD CHECK (net_sales <> 100)', 'SELECT 1', '23514');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.customer_facts ADD CHECK (net_sales <> 102)', 'SELECT 1', '1');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.customer_facts ADD COLUMN doubled numeric GENERATED ALWAYS AS (net_sales * 2) STORED',
    'SELECT trim_scale(doubled) FROM customer_groups.customer_facts WHERE customer_id = 900001', '200');
SELECT pg_temp.check_outcome('CREATE UNIQUE INDEX ON customer_groups.customer_facts (net_sales)', 'SELECT 1', '23505');
SELECT pg_temp.check_outcome('CREATE UNIQUE INDEX ON customer_groups.customer_facts ((net_sales + 1)) WHERE visits = 2', 'SELECT 1', '1');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.customer_facts ADD UNIQUE (net_sales) DEFERRABLE', 'SELECT 1', '23505');
-- What the engine does as the owner leaves nothing for later.
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.customer_facts ADD UNIQUE (net_sales) DEFERRABLE INITIALLY DEFERRED', 'SELECT 1', '42501');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.customer_facts ADD EXCLUDE USING btree (net_sales WITH =)', 'SELECT 1', '23P01');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.customer_facts ADD UNIQUE (net_sales); CREATE TABLE customer_groups.known (amount numeric REFERENCES customer_groups.customer_facts (net_sales)); INSERT INTO customer_groups.known VALUES (2); UPDATE customer_groups.sales SET amount = 500 WHERE customer_id = 900002',
    'SELECT 1', '23503');
SELECT pg_temp.check_outcome('CREATE TABLE customer_groups.counts (n bigint PRIMARY KEY); INSERT INTO customer_groups.counts VALUES (1); ALTER TABLE customer_groups.customer_facts ADD FOREIGN KEY (visits) REFERENCES customer_groups.counts NOT VALID',
    'SELECT 1', '23503');
SELECT pg_temp.check_outcome('CREATE INDEX x ON customer_groups.customer_facts ((net_sales + 1)); SET LOCAL enable_seqscan = off',
    'SELECT count(*) FROM customer_groups.customer_facts WHERE net_sales + 1 = 101', '2');
SELECT pg_temp.check_outcome('CREATE INDEX x ON customer_groups.customer_facts (net_sales) WHERE visits = 2; SET LOCAL enable_seqscan = off',
    'SELECT count(*) FROM customer_groups.customer_facts WHERE net_sales = 100 AND visits = 2', '1');
SELECT pg_temp.check_outcome('CREATE INDEX x ON customer_groups.customer_facts USING brin (net_sales); SET LOCAL enable_seqscan = off',
    'SELECT count(*) FROM customer_groups.customer_facts WHERE net_sales = 100', '2');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.customer_facts ADD COLUMN gone text DEFAULT ''x'', ADD COLUMN note text DEFAULT ''y''; ALTER TABLE customer_groups.customer_facts DROP COLUMN gone',
    'SELECT note FROM customer_groups.customer_facts WHERE customer_id = 900001', 'y');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.customer_facts ADD COLUMN note text; UPDATE customer_groups.customer_facts SET note = (SELECT string_agg(md5(i::text), '''') FROM generate_series(1, 5000) AS i)',
    'SELECT md5(note) = md5((SELECT string_agg(md5(i::text), '''') FROM generate_series(1, 5000) AS i)) FROM customer_groups.customer_facts WHERE customer_id = 900001', 'true');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.customer_facts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', 'SELECT 1', '42501');

-- Memberships, of which a higher tier replaces the lower.
SELECT pg_temp.check_outcome('CREATE TRIGGER t AFTER INSERT OR DELETE ON customer_groups.members FOR EACH ROW EXECUTE FUNCTION pg_temp.log()',
    $$SELECT string_agg(entry, ', ' ORDER BY entry) FROM pg_temp.log$$, 'DELETE members, INSERT members');
SELECT pg_temp.check_outcome('CREATE TRIGGER t AFTER INSERT ON customer_groups.members REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.log_rows()',
    $$SELECT count(*) FROM pg_temp.log WHERE entry LIKE '(900001,900002,tier,%'$$, '1');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.members ADD CHECK (group_id <> 900002) NOT VALID', 'SELECT 1', '23514');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.members ADD COLUMN note text; ALTER TABLE customer_groups.members ADD CHECK (note IS NOT NULL) NOT VALID', 'SELECT 1', '23514');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.members ADD COLUMN note text NOT NULL DEFAULT ''x''; ALTER TABLE customer_groups.members ALTER note DROP DEFAULT', 'SELECT 1', '23502');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.members ADD COLUMN note text DEFAULT ''x''; ALTER TABLE customer_groups.members ALTER note SET DEFAULT ''y''',
    'SELECT note FROM customer_groups.members WHERE customer_id = 900001', 'y');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.members ADD COLUMN n int GENERATED ALWAYS AS IDENTITY (START 10)', 'SELECT n > 10 FROM customer_groups.members WHERE customer_id = 900001', 'true');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.members ADD COLUMN doubled bigint GENERATED ALWAYS AS (group_id::bigint * 2) STORED', 'SELECT doubled FROM customer_groups.members WHERE customer_id = 900001', '1800004');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.members ALTER added_by SET DEFAULT ''nobody''', 'SELECT added_by FROM customer_groups.members WHERE customer_id = 900001', 'nobody');
SELECT pg_temp.check_outcome('CREATE UNIQUE INDEX ON customer_groups.members (group_id)', 'SELECT 1', '23505');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.members ADD UNIQUE (group_id) DEFERRABLE', 'SELECT 1', '23505');
SELECT pg_temp.check_outcome('CREATE INDEX x ON customer_groups.members ((group_id + 1)); SET LOCAL enable_seqscan = off', 'SELECT count(*) FROM customer_groups.members WHERE group_id + 1 = 900003', '2');
SELECT pg_temp.check_outcome('CREATE TABLE customer_groups.known (id int PRIMARY KEY); INSERT INTO customer_groups.known VALUES (900001); ALTER TABLE customer_groups.members ADD FOREIGN KEY (group_id) REFERENCES customer_groups.known NOT VALID', 'SELECT 1', '23503');
SELECT pg_temp.check_outcome('CREATE TABLE customer_groups.cards (customer_id bigint, group_id int, FOREIGN KEY (customer_id, group_id) REFERENCES customer_groups.members); INSERT INTO customer_groups.cards VALUES (900001, 900001)', 'SELECT 1', '23503');
SELECT pg_temp.check_outcome('CREATE TABLE customer_groups.cards (customer_id bigint, group_id int, FOREIGN KEY (customer_id, group_id) REFERENCES customer_groups.members ON DELETE CASCADE); INSERT INTO customer_groups.cards VALUES (900001, 900001)',
    'SELECT count(*) FROM customer_groups.cards', '0');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.members ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', 'SELECT 1', '42501');

-- The event log, and stored members of segments.
SELECT pg_temp.check_outcome('CREATE TRIGGER t AFTER INSERT ON customer_groups.events FOR EACH ROW WHEN (NEW.kind = ''tier_upgraded'') EXECUTE FUNCTION pg_temp.log()', :logged, 'INSERT events');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.events ADD CHECK (kind <> ''segment_entered'') NOT VALID', 'SELECT 1', '23514');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.events ADD COLUMN note text DEFAULT ''x''', $$SELECT count(*) > 1 FROM customer_groups.events WHERE note = 'x' AND customer_id = 900001$$, 'true');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.events ADD COLUMN said text GENERATED ALWAYS AS (upper(kind)) STORED', $$SELECT DISTINCT said FROM customer_groups.events WHERE said = 'TIER_UPGRADED'$$, 'TIER_UPGRADED');
SELECT pg_temp.check_outcome('CREATE INDEX x ON customer_groups.events ((upper(kind))); SET LOCAL enable_seqscan = off', $$SELECT count(*) FROM customer_groups.events WHERE upper(kind) = 'SEGMENT_ENTERED' AND customer_id = 900001$$, '1');
SELECT pg_temp.check_outcome('CREATE TRIGGER t AFTER INSERT ON customer_groups.segment_members FOR EACH ROW EXECUTE FUNCTION pg_temp.log()', :logged, 'INSERT segment_members');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.segment_members ADD CHECK (customer_id <> 900001)', 'SELECT 1', '23514');
SELECT pg_temp.check_outcome('ALTER TABLE customer_groups.segment_members ADD COLUMN note text DEFAULT ''x''', 'SELECT note FROM customer_groups.segment_members WHERE customer_id = 900001', 'x');

SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is sound');
SELECT * FROM finish();
ROLLBACK;
