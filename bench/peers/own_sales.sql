-- The other peer of sales: a table whose trigger, written by hand, keeps the same facts, tiers and ten
-- tracked segments, which load_default_segments() makes, beginning with the same sales and events.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;
CREATE TABLE bench.own_sales (LIKE customer_groups.sales INCLUDING ALL,
	FOREIGN KEY (customer_id) REFERENCES customer_groups.customers,
	FOREIGN KEY (store_id) REFERENCES customer_groups.stores,
	FOREIGN KEY (customer_id, refund_of) REFERENCES bench.own_sales);
INSERT INTO bench.own_sales SELECT * FROM customer_groups.sales;
SELECT setval(pg_get_serial_sequence('bench.own_sales', 'id'), max(id)) FROM bench.own_sales \g /dev/null
CREATE TABLE bench.own_facts (LIKE customer_groups.customer_facts INCLUDING ALL,
	FOREIGN KEY (customer_id) REFERENCES customer_groups.customers) WITH (fillfactor = 80);
INSERT INTO bench.own_facts SELECT * FROM customer_groups.customer_facts ORDER BY customer_id;
CREATE TABLE bench.own_members (LIKE customer_groups.members INCLUDING ALL,
	FOREIGN KEY (customer_id) REFERENCES customer_groups.customers,
	FOREIGN KEY (group_id) REFERENCES customer_groups.groups);
INSERT INTO bench.own_members SELECT * FROM customer_groups.members ORDER BY customer_id, group_id;
CREATE TABLE bench.own_events (LIKE customer_groups.events INCLUDING ALL);
INSERT INTO bench.own_events SELECT * FROM customer_groups.events ORDER BY id;
SELECT setval(pg_get_serial_sequence('bench.own_events', 'id'), max(id)) FROM bench.own_events \g /dev/null
CREATE TABLE bench.own_segment_members (LIKE customer_groups.segment_members INCLUDING ALL);
INSERT INTO bench.own_segment_members SELECT * FROM customer_groups.segment_members ORDER BY customer_id, segment_id;

CREATE FUNCTION bench.book() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
DECLARE
	visit int := (NEW.kind = 'product')::int;
	facts bench.own_facts;
	today date := (now() AT TIME ZONE 'UTC')::date;
	total numeric;
	skip boolean;
	earned record;
	held text;
BEGIN
	UPDATE bench.own_facts
	SET visits = visits + visit,
		net_sales = net_sales + NEW.amount * coalesce(NEW.rate, 1),
		refunds = refunds + (NEW.kind = 'refund')::int,
		prepaid_purchases = prepaid_purchases + (NEW.kind = 'prepaid')::int,
		pass_purchases = pass_purchases + (NEW.kind = 'pass')::int,
		no_shows = no_shows + (NEW.kind = 'no_show')::int,
		first_visit_at = CASE visit WHEN 1 THEN least(first_visit_at, NEW.sold_at) ELSE first_visit_at END,
		last_visit_at = CASE visit WHEN 1 THEN greatest(last_visit_at, NEW.sold_at) ELSE last_visit_at END
	WHERE customer_id = NEW.customer_id
	RETURNING * INTO facts;
	total := facts.net_sales;
	skip := facts.skip_auto_upgrade;

	WITH holds AS MATERIALIZED (
		SELECT v.id
		FROM (VALUES (1, true),
			(2, facts.prepaid_purchases > 0 OR facts.pass_purchases > 0),
			(3, facts.prepaid_purchases = 0 AND facts.pass_purchases = 0),
			(4, facts.visits >= 1 AND today - (facts.registered_at AT TIME ZONE 'UTC')::date BETWEEN 0 AND 30),
			(5, facts.no_shows >= 1),
			(6, facts.net_sales >= 3000 AND facts.visits >= 10),
			(7, today - (facts.last_visit_at AT TIME ZONE 'UTC')::date >= 180),
			(8, facts.visits >= 2 OR today - (facts.last_visit_at AT TIME ZONE 'UTC')::date >= 30),
			(9, extract(month FROM facts.birth_date) = extract(month FROM today)),
			(10, facts.visits <= 0 AND today - (facts.registered_at AT TIME ZONE 'UTC')::date BETWEEN 0 AND 30)) AS v (id, holds)
		WHERE v.holds
	), gone AS (
		DELETE FROM bench.own_segment_members m
		WHERE m.customer_id = NEW.customer_id AND NOT EXISTS (SELECT FROM holds h WHERE h.id = m.segment_id)
		RETURNING m.segment_id
	), added AS (
		INSERT INTO bench.own_segment_members (segment_id, customer_id, entered_at)
		SELECT h.id, NEW.customer_id, clock_timestamp() FROM holds h
		WHERE NOT EXISTS (SELECT FROM bench.own_segment_members m
						  WHERE m.customer_id = NEW.customer_id AND m.segment_id = h.id)
		RETURNING segment_id
	)
	INSERT INTO bench.own_events (kind, customer_id, segment_id, detail)
	SELECT c.kind, NEW.customer_id, s.id, jsonb_build_object('code', s.code, 'name', s.name, 'effective_at', clock_timestamp())
	FROM (SELECT 'segment_left', segment_id FROM gone UNION ALL SELECT 'segment_entered', segment_id FROM added) c (kind, segment_id)
	JOIN customer_groups.segments s ON s.id = c.segment_id;

	IF skip THEN
		RETURN NULL;
	END IF;

	SELECT g.id, g.code, g.upgrade_threshold INTO earned
	FROM customer_groups.groups g
	WHERE g.upgrade_threshold <= total AND g.ladder IS NULL
		AND g.starts_on <= current_date AND (g.ends_on IS NULL OR g.ends_on >= current_date)
	ORDER BY g.upgrade_threshold DESC, g.id LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	PERFORM FROM bench.own_members m JOIN customer_groups.groups g ON g.id = m.group_id
	WHERE m.customer_id = NEW.customer_id AND g.upgrade_threshold >= earned.upgrade_threshold AND g.ladder IS NULL;
	IF FOUND THEN
		RETURN NULL;
	END IF;

	DELETE FROM bench.own_members m USING customer_groups.groups g
	WHERE m.customer_id = NEW.customer_id AND g.id = m.group_id AND g.upgrade_threshold IS NOT NULL AND g.ladder IS NULL
	RETURNING g.code INTO held;
	INSERT INTO bench.own_members (customer_id, group_id, source) VALUES (NEW.customer_id, earned.id, 'tier');
	INSERT INTO bench.own_events (kind, customer_id, group_id, detail)
	VALUES ('tier_upgraded', NEW.customer_id, earned.id, jsonb_build_object('from', held, 'to', earned.code));
	RETURN NULL;
END
$$;
CREATE TRIGGER book AFTER INSERT ON bench.own_sales FOR EACH ROW EXECUTE FUNCTION bench.book();
VACUUM ANALYZE;
CHECKPOINT;
