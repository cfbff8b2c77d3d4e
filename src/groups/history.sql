-- Present and past memberships, as views.

CREATE FUNCTION customer_groups.shop_today() RETURNS date
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN (now() AT TIME ZONE customer_groups.settings_timezone())::date;
COMMENT ON FUNCTION customer_groups.shop_today() IS 'The current day in the settings'' time zone.';

CREATE VIEW customer_groups.valid_members WITH (security_invoker) AS
	SELECT m.customer_id, m.group_id, m.source, m.valid_from, m.valid_until, m.added_at, m.added_by
	FROM customer_groups.members m
	WHERE (m.valid_from IS NULL OR m.valid_from <= (SELECT customer_groups.shop_today()))
		AND (m.valid_until IS NULL OR m.valid_until >= (SELECT customer_groups.shop_today()));
COMMENT ON VIEW customer_groups.valid_members IS 'Memberships that are valid today, by the settings'' time zone.';
COMMENT ON COLUMN customer_groups.valid_members.customer_id IS 'Customer.';
COMMENT ON COLUMN customer_groups.valid_members.group_id IS 'Group, whatever its own dates are.';
COMMENT ON COLUMN customer_groups.valid_members.source IS 'How the membership came about: manual, self, bulk or tier.';
COMMENT ON COLUMN customer_groups.valid_members.valid_from IS 'First day; null: no start.';
COMMENT ON COLUMN customer_groups.valid_members.valid_until IS 'Last day; null: no end.';
COMMENT ON COLUMN customer_groups.valid_members.added_at IS 'When it was added.';
COMMENT ON COLUMN customer_groups.valid_members.added_by IS 'By whom.';

-- Each addition, renewals included, begins a membership; the next addition or
-- the removal ends it; what was recorded last in between says how it was.
CREATE VIEW customer_groups.member_history WITH (security_invoker) AS
	SELECT l.customer_id, l.group_id, coalesce(g.code, l.last_detail ->> 'code') AS group_code,
		coalesce(g.name, l.last_detail ->> 'name') AS name, l.detail ->> 'source' AS source,
		(l.detail ->> 'valid_from')::date AS valid_from, (l.detail ->> 'valid_until')::date AS valid_until,
		l.added_at,
		coalesce(l.removed_at, lead(l.began_at) OVER (PARTITION BY l.customer_id, l.group_id ORDER BY l.life)) AS ended_at,
		l.added_by, l.began_at
	FROM (SELECT e.customer_id, e.group_id, e.life,
				min(e.at) FILTER (WHERE e.kind = 'member_added') AS began_at,
				coalesce((array_agg((e.detail ->> 'added_at')::timestamptz ORDER BY e.id DESC)
						  FILTER (WHERE e.kind <> 'member_removed' AND e.detail ? 'added_at'))[1],
						 min(e.at) FILTER (WHERE e.kind = 'member_added')) AS added_at,
				(array_agg(coalesce(e.detail ->> 'added_by', e.actor) ORDER BY e.id DESC)
					FILTER (WHERE e.kind = 'member_added' OR e.kind = 'member_changed' AND e.detail ? 'added_by'))[1] AS added_by,
				min(e.at) FILTER (WHERE e.kind = 'member_removed') AS removed_at,
				(array_agg(e.detail ORDER BY e.id DESC) FILTER (WHERE e.kind <> 'member_removed'))[1] AS detail,
				(array_agg(e.detail ORDER BY e.id DESC))[1] AS last_detail
		  FROM (SELECT v.id, v.at, v.kind, v.customer_id, v.group_id, v.actor, v.detail,
					count(*) FILTER (WHERE v.kind = 'member_added')
						OVER (PARTITION BY v.customer_id, v.group_id ORDER BY v.id) AS life
				FROM customer_groups.events v
				WHERE v.kind IN ('member_added', 'member_changed', 'member_removed')) e
		  GROUP BY e.customer_id, e.group_id, e.life) l
	LEFT JOIN customer_groups.groups g ON g.id = l.group_id
	WHERE l.began_at IS NOT NULL;
COMMENT ON VIEW customer_groups.member_history IS
	'All memberships there have been, from the event log: who was in which group, how, by whom, since when and until when (ended_at null: still recorded); began_at is when the addition was logged.';
COMMENT ON COLUMN customer_groups.member_history.customer_id IS 'Customer, who may be gone.';
COMMENT ON COLUMN customer_groups.member_history.group_id IS 'Group, which may be gone.';
COMMENT ON COLUMN customer_groups.member_history.group_code IS 'The group''s present code, or its last one.';
COMMENT ON COLUMN customer_groups.member_history.name IS 'The group''s present name, or its last one.';
COMMENT ON COLUMN customer_groups.member_history.source IS 'How it came about: manual, self, bulk or tier.';
COMMENT ON COLUMN customer_groups.member_history.valid_from IS 'First day, as recorded last; null: no start.';
COMMENT ON COLUMN customer_groups.member_history.valid_until IS 'Last day, as recorded last; null: no end.';
COMMENT ON COLUMN customer_groups.member_history.added_at IS 'When it was added, as recorded last.';
COMMENT ON COLUMN customer_groups.member_history.ended_at IS 'When it was removed, or the next one began; null: still recorded.';
COMMENT ON COLUMN customer_groups.member_history.added_by IS 'By whom it was added.';
COMMENT ON COLUMN customer_groups.member_history.began_at IS 'When the addition was logged.';

CREATE FUNCTION customer_groups.was_valid(at timestamptz, day date, valid_from date, valid_until date,
										  added_at timestamptz, ended_at timestamptz)
	RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN (ended_at IS NULL OR at < ended_at)
		AND CASE WHEN valid_from IS NULL THEN added_at <= at ELSE valid_from <= day END
		AND coalesce(day <= valid_until, true);
COMMENT ON FUNCTION customer_groups.was_valid(timestamptz, date, date, date, timestamptz, timestamptz) IS
	'Whether a membership of member_history holds at a time on a day: from valid_from (without one, from its addition) to valid_until, cut off at its end. Null dates are open ends; null at or day: null.';
