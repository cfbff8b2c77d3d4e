-- Tracked segments: stored members, their events, and what keeps them.

CREATE FUNCTION customer_groups.track_segment() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_track_segment' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.track_segment() IS
	'Trigger: marks a segment pending when it is tracked or its rule changes; removes its stored members when tracking ends, with an event for each.';
CREATE TRIGGER track_segment BEFORE INSERT OR UPDATE OR DELETE ON customer_groups.segments
	FOR EACH ROW EXECUTE FUNCTION customer_groups.track_segment();
CREATE TRIGGER track_segment_truncate BEFORE TRUNCATE ON customer_groups.segments
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.track_segment();

CREATE FUNCTION customer_groups.mark_pending() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_mark_pending' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.mark_pending() IS
	'Trigger: marks the tracked segments pending whose rules build on what has changed.';
-- After rules have been given new codes, hence the names.
CREATE TRIGGER zz_mark_pending AFTER UPDATE ON customer_groups.segments
	FOR EACH ROW WHEN (OLD.rule OPERATOR(customer_groups.<>) NEW.rule)
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending AFTER UPDATE ON customer_groups.groups
	FOR EACH ROW WHEN ((OLD.starts_on, OLD.ends_on, OLD.ladder, OLD.upgrade_threshold IS NULL)
		IS DISTINCT FROM (NEW.starts_on, NEW.ends_on, NEW.ladder, NEW.upgrade_threshold IS NULL))
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending AFTER UPDATE ON customer_groups.categories
	FOR EACH ROW WHEN (OLD.parent_id IS DISTINCT FROM NEW.parent_id)
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending AFTER UPDATE ON customer_groups.items
	FOR EACH ROW WHEN (OLD.brand_id IS DISTINCT FROM NEW.brand_id)
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending_inserted AFTER INSERT ON customer_groups.settings
	FOR EACH ROW WHEN (NEW.recorded_at = now())
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending AFTER UPDATE ON customer_groups.settings
	FOR EACH ROW WHEN (OLD.timezone <> NEW.timezone)
	EXECUTE FUNCTION customer_groups.mark_pending();
CREATE TRIGGER zz_mark_pending_deleted AFTER DELETE ON customer_groups.settings
	FOR EACH ROW EXECUTE FUNCTION customer_groups.mark_pending();

CREATE FUNCTION customer_groups.item_categories_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'cg_item_categories_changed' LANGUAGE C;
COMMENT ON FUNCTION customer_groups.item_categories_changed() IS
	'Trigger: marks the tracked segments pending whose rules ask for what was bought of a category, unless only items of this transaction have changed theirs.';
CREATE TRIGGER zz_inserted AFTER INSERT ON customer_groups.item_categories
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.item_categories_changed();
CREATE TRIGGER zz_updated AFTER UPDATE ON customer_groups.item_categories
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.item_categories_changed();
CREATE TRIGGER zz_deleted AFTER DELETE ON customer_groups.item_categories
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.item_categories_changed();

CREATE FUNCTION customer_groups.advance_segments(upto timestamptz DEFAULT now()) RETURNS bigint
	AS 'MODULE_PATHNAME', 'cg_advance_segments' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION customer_groups.advance_segments(timestamptz) IS
	'Brings the stored members of tracked segments up to the day of a time, in the settings'' time zone, and returns how many entries and exits that made, each dated at the start of its day. Run it after midnight; missed nights are made up for day by day, and one that was reached before gives 0. It waits for the transactions that are judging customers, and keeps them waiting if the day is still to come. A null time is 22004, an infinite one, or one more than 100 years away, 22023. For the level edit. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

CREATE PROCEDURE customer_groups.fill_segments(batch_size int DEFAULT 1000)
	AS 'MODULE_PATHNAME', 'cg_fill_segments' LANGUAGE C;
COMMENT ON PROCEDURE customer_groups.fill_segments(int) IS
	'Makes the stored members of the segments that are pending follow from their rules: judges all customers, and commits after each batch of them, so that sales are held up for no longer. Inside a transaction block it is 25001, for a batch of less than one 22023, of null 22004. What becomes pending meanwhile stays so until the next call. For the level edit. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';

CREATE FUNCTION customer_groups.track_customers(customer_ids bigint[]) RETURNS void
	AS 'MODULE_PATHNAME', 'cg_track_customers' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION customer_groups.track_customers(bigint[]) IS
	'Judges customers, whose facts rows the caller has locked, by all tracked segments; for rebuild_facts(). Null does nothing.';

CREATE VIEW customer_groups.segment_changes WITH (security_invoker) AS
	SELECT e.segment_id, s.code, s.name,
		((e.detail ->> 'effective_at')::timestamptz AT TIME ZONE customer_groups.settings_timezone())::date AS day,
		count(*) FILTER (WHERE e.kind = 'segment_entered') AS joins,
		count(*) FILTER (WHERE e.kind = 'segment_left') AS leaves
	FROM customer_groups.events e
	JOIN customer_groups.segments s ON s.id = e.segment_id
	WHERE e.kind IN ('segment_entered', 'segment_left')
	GROUP BY e.segment_id, s.code, s.name, 4;
COMMENT ON VIEW customer_groups.segment_changes IS 'For each tracked segment and day, in the settings'' time zone, how many customers entered and left it; days without either have no row. Entries include those found when the segment was filled in.';
COMMENT ON COLUMN customer_groups.segment_changes.segment_id IS 'Segment.';
COMMENT ON COLUMN customer_groups.segment_changes.code IS 'Its present code.';
COMMENT ON COLUMN customer_groups.segment_changes.name IS 'Its present name.';
COMMENT ON COLUMN customer_groups.segment_changes.day IS 'Day on which the changes took effect.';
COMMENT ON COLUMN customer_groups.segment_changes.joins IS 'Customers who entered.';
COMMENT ON COLUMN customer_groups.segment_changes.leaves IS 'Customers who left.';

CREATE VIEW customer_groups.segment_history WITH (security_invoker) AS
	SELECT c.segment_id, c.code, c.name, c.day,
		(sum(c.joins - c.leaves) OVER (PARTITION BY c.segment_id ORDER BY c.day))::bigint AS size
	FROM customer_groups.segment_changes c;
COMMENT ON VIEW customer_groups.segment_history IS 'The size of each tracked segment at the end of each day on which customers entered or left it; in between it stays the same. Back to what purge_events() left.';
COMMENT ON COLUMN customer_groups.segment_history.segment_id IS 'Segment.';
COMMENT ON COLUMN customer_groups.segment_history.code IS 'Its present code.';
COMMENT ON COLUMN customer_groups.segment_history.name IS 'Its present name.';
COMMENT ON COLUMN customer_groups.segment_history.day IS 'Day, in the settings'' time zone.';
COMMENT ON COLUMN customer_groups.segment_history.size IS 'Number of customers in it at the end of that day.';
