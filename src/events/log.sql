-- What is written into the event log by changes of the definitions, and how it is cut.

-- Trigger log_change(subject, key column): one event for each row that changed,
-- with the values before and after. Who looks after a group is personal data and
-- stays out.
CREATE FUNCTION customer_groups.log_change() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	hidden text[] := '{recorded_at,contact_name,contact_info,description}';
	restored bigint := 0;
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO customer_groups.events (kind, group_id, promotion_id, detail)
		SELECT TG_ARGV[0] || '_added', (r.new ->> TG_ARGV[1])::int, (r.new ->> TG_ARGV[2])::int,
			customer_groups.name_subject(r.new - hidden)
		FROM (SELECT to_jsonb(n) AS new, n.recorded_at FROM new_rows n) r
		WHERE r.recorded_at = now();
		SELECT count(*) INTO restored FROM new_rows n WHERE n.recorded_at <> now();
	ELSIF TG_OP = 'UPDATE' THEN
		INSERT INTO customer_groups.events (kind, group_id, promotion_id, detail)
		SELECT TG_ARGV[0] || '_changed', (r.new ->> TG_ARGV[1])::int, (r.new ->> TG_ARGV[2])::int,
			customer_groups.name_subject(r.new - hidden)
				|| jsonb_build_object('before',
					(SELECT coalesce(jsonb_object_agg(f.key, f.value), '{}') FROM jsonb_each(r.old - hidden) f
					 WHERE r.new -> f.key IS DISTINCT FROM f.value))
		FROM (SELECT o.row AS old, n.row AS new
			  FROM (SELECT to_jsonb(x) AS row, row_number() OVER () AS place FROM old_rows x) o
			  JOIN (SELECT to_jsonb(x) AS row, row_number() OVER () AS place FROM new_rows x) n USING (place)) r
		WHERE r.old IS DISTINCT FROM r.new;
	ELSE
		INSERT INTO customer_groups.events (kind, group_id, promotion_id, detail)
		SELECT TG_ARGV[0] || '_removed', (r.old ->> TG_ARGV[1])::int, (r.old ->> TG_ARGV[2])::int,
			customer_groups.name_subject(r.old - hidden)
		FROM (SELECT to_jsonb(o) AS old FROM old_rows o) r;
	END IF;
	IF restored > 0 THEN
		RAISE WARNING '%', CASE restored WHEN 1 THEN format('1 row of table %s was recorded before and is taken as it is', TG_TABLE_NAME)
								ELSE format('%s rows of table %s were recorded before and are taken as they are', restored, TG_TABLE_NAME) END
			USING DETAIL = 'Their recorded_at is not the time of this transaction, as in a restore: no events follow from them.',
				HINT = 'Leave recorded_at to its default for new rows.';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION customer_groups.log_change() IS 'Trigger (subject, column of the group, column of the promotion): writes the changes of a statement into the event log.';

CREATE FUNCTION customer_groups.name_subject(row_value jsonb) RETURNS jsonb
	LANGUAGE sql STABLE
	RETURN row_value
		|| CASE WHEN row_value ? 'group_id' THEN coalesce(
				(SELECT jsonb_build_object('group_code', g.code, 'group_name', g.name)
				 FROM customer_groups.groups g WHERE g.id = (row_value ->> 'group_id')::int), '{}') ELSE '{}' END
		|| CASE WHEN row_value ? 'promotion_id' THEN coalesce(
				(SELECT jsonb_build_object('promotion_code', p.code, 'promotion_name', p.name)
				 FROM customer_groups.promotions p WHERE p.id = (row_value ->> 'promotion_id')::int), '{}') ELSE '{}' END
		|| CASE WHEN row_value ? 'store_id' THEN coalesce(
				(SELECT jsonb_build_object('store_code', s.code)
				 FROM customer_groups.stores s WHERE s.id = (row_value ->> 'store_id')::int), '{}') ELSE '{}' END;
COMMENT ON FUNCTION customer_groups.name_subject(jsonb) IS 'A row of an attachment with the codes and names of what it attaches; null for null.';

-- Before the row itself, so that its code can still be written into the events.
CREATE FUNCTION customer_groups.delete_attachments() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	EXECUTE format('DELETE FROM customer_groups.%I WHERE %I = $1', TG_ARGV[0], TG_ARGV[1]) USING OLD.id;
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION customer_groups.delete_attachments() IS
	'Trigger (table, column): what is attached to groups goes with its row, and is written into the event log with its code.';
CREATE TRIGGER delete_attachments BEFORE DELETE ON customer_groups.promotions
	FOR EACH ROW EXECUTE FUNCTION customer_groups.delete_attachments('promotion_groups', 'promotion_id');
CREATE TRIGGER delete_attachments BEFORE DELETE ON customer_groups.stores
	FOR EACH ROW EXECUTE FUNCTION customer_groups.delete_attachments('group_store_pricing', 'store_id');

DO $$
DECLARE
	source record;
BEGIN
	FOR source IN
		SELECT * FROM (VALUES
			('groups', 'group', 'id', ''),
			('group_store_pricing', 'store_pricing', 'group_id', ''),
			('promotion_groups', 'attachment', 'group_id', 'promotion_id')
		) AS s (name, subject, group_key, promotion_key)
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE TRIGGER log_insert AFTER INSERT ON customer_groups.%1$I REFERENCING NEW TABLE AS new_rows
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.log_change(%2$L, %3$L, %4$L);
			CREATE TRIGGER log_update AFTER UPDATE ON customer_groups.%1$I
				REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.log_change(%2$L, %3$L, %4$L);
			CREATE TRIGGER log_delete AFTER DELETE ON customer_groups.%1$I REFERENCING OLD TABLE AS old_rows
				FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.log_change(%2$L, %3$L, %4$L)',
			source.name, source.subject, source.group_key, source.promotion_key);
	END LOOP;
END
$$;
-- Attachments have it already; TRUNCATE of groups is one of members too, which is refused.
CREATE TRIGGER delete_before_truncate BEFORE TRUNCATE ON customer_groups.group_store_pricing
	FOR EACH STATEMENT EXECUTE FUNCTION customer_groups.delete_before_truncate();

CREATE FUNCTION customer_groups.purge_events(before timestamptz) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	purged bigint;
BEGIN
	PERFORM customer_groups.check_owner();
	IF before IS NULL THEN
		RAISE EXCEPTION 'the time must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a time that is not in the future.';
	END IF;
	IF NOT isfinite(before) OR before > now() THEN
		RAISE EXCEPTION 'invalid time'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('Events before %s cannot be purged.', before),
				HINT = 'Give a time that is not in the future.';
	END IF;
	-- Nobody writes events meanwhile, and the refusal comes back with the transaction.
	LOCK TABLE customer_groups.events IN SHARE ROW EXCLUSIVE MODE;
	ALTER TABLE customer_groups.events DISABLE TRIGGER refuse_change;
	-- What a replay from then on needs stays: all of a membership that was not over,
	-- the last move on each ladder, and the entry into a segment that was not left.
	WITH lives AS (
		SELECT v.id, v.at, v.kind, v.customer_id, v.group_id,
			count(*) FILTER (WHERE v.kind = 'member_added')
				OVER (PARTITION BY v.customer_id, v.group_id ORDER BY v.id) AS life
		FROM customer_groups.events v
		WHERE v.kind IN ('member_added', 'member_changed', 'member_removed')
	), ends AS (
		SELECT l.customer_id, l.group_id, l.life,
			coalesce(min(l.at) FILTER (WHERE l.kind = 'member_removed'),
					 lead(min(l.at)) OVER (PARTITION BY l.customer_id, l.group_id ORDER BY l.life)) AS ended_at
		FROM lives l GROUP BY l.customer_id, l.group_id, l.life
	), moves AS (
		SELECT max(v.id) AS id FROM customer_groups.events v
		WHERE v.kind IN ('tier_upgraded', 'tier_downgraded', 'tier_changed') GROUP BY v.customer_id, v.detail ->> 'ladder'
	), stays AS (
		SELECT v.id, v.kind, lead(v.at) OVER w AS ended_at
		FROM customer_groups.events v
		WHERE v.kind IN ('segment_entered', 'segment_left')
		WINDOW w AS (PARTITION BY v.customer_id, v.segment_id ORDER BY v.id)
	), kept AS (
		SELECT l.id FROM lives l JOIN ends e USING (customer_id, group_id, life)
		WHERE e.ended_at IS NULL OR e.ended_at >= purge_events.before
		UNION ALL SELECT m.id FROM moves m
		UNION ALL SELECT s.id FROM stays s
		WHERE s.kind = 'segment_entered' AND (s.ended_at IS NULL OR s.ended_at >= purge_events.before)
	)
	DELETE FROM customer_groups.events v
	WHERE v.at < purge_events.before AND v.kind <> 'events_purged'
		AND NOT EXISTS (SELECT FROM kept k WHERE k.id = v.id);
	GET DIAGNOSTICS purged = ROW_COUNT;
	ALTER TABLE customer_groups.events ENABLE TRIGGER refuse_change;
	INSERT INTO customer_groups.events (kind, detail)
	VALUES ('events_purged', jsonb_build_object('before', before, 'purged', purged));
	RETURN purged;
END
$$;
COMMENT ON FUNCTION customer_groups.purge_events(timestamptz) IS
	'Deletes the events before a time, but for those that the present and the later past follow from, and returns how many. groups_of and members_of then answer from that time on. For the owner (42501); an infinite or future time is 22023, a null one 22004. Changes of memberships wait meanwhile.';
