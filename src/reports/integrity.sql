-- The slow and obvious recomputation of everything that is derived.

-- Without JIT: what the planner expects of the recursion over rules would have all of it compiled, for seconds.
CREATE FUNCTION customer_groups.check_integrity()
	RETURNS TABLE (problem text, customer_id bigint, detail text)
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
	AS $$
	-- Facts are what the sales and the record say.
	SELECT 'facts differ from the sales', r.customer_id,
		format('stored %s, computed %s',
			   to_jsonb(f) - 'customer_id', to_jsonb(r) - 'customer_id')
	FROM customer_groups.recomputed_facts r
	LEFT JOIN customer_groups.customer_facts f ON f.customer_id = r.customer_id
	WHERE f.customer_id IS NULL
		OR (f.visits, f.net_sales, f.refunds, f.prepaid_purchases, f.pass_purchases, f.no_shows,
			f.first_visit_at, f.last_visit_at, f.registered_at, f.birth_date, f.skip_auto_upgrade)
		IS DISTINCT FROM
			(r.visits, r.net_sales, r.refunds, r.prepaid_purchases, r.pass_purchases, r.no_shows,
			 r.first_visit_at, r.last_visit_at, r.registered_at, r.birth_date, r.skip_auto_upgrade)
	UNION ALL
	SELECT 'facts without a customer', f.customer_id, NULL
	FROM customer_groups.customer_facts f
	WHERE NOT EXISTS (SELECT FROM customer_groups.customers c WHERE c.id = f.customer_id)

	-- A rate is there just where the currency is not the settings'.
	UNION ALL
	SELECT 'rate does not fit the currency', s.customer_id,
		format('sale %s in %s has rate %s', s.id, coalesce(t.currency, settings.currency), s.rate)
	FROM customer_groups.sales s
	CROSS JOIN (SELECT customer_groups.settings_currency() AS currency) settings
	LEFT JOIN customer_groups.stores t ON t.id = s.store_id
	WHERE CASE WHEN coalesce(t.currency, settings.currency) = settings.currency
			   THEN coalesce(s.rate, 1) <> 1 ELSE s.rate IS NULL END

	-- What refers to another row finds it.
	UNION ALL
	SELECT 'sale without a customer', s.customer_id, format('sale %s', s.id)
	FROM customer_groups.sales s
	WHERE NOT EXISTS (SELECT FROM customer_groups.customers c WHERE c.id = s.customer_id)
	UNION ALL
	SELECT 'sale in an unknown store', s.customer_id, format('sale %s, store %s', s.id, s.store_id)
	FROM customer_groups.sales s
	WHERE s.store_id IS NOT NULL
		AND NOT EXISTS (SELECT FROM customer_groups.stores t WHERE t.id = s.store_id)
	UNION ALL
	SELECT 'member without a customer or a group', m.customer_id, format('group %s', m.group_id)
	FROM customer_groups.members m
	WHERE NOT EXISTS (SELECT FROM customer_groups.customers c WHERE c.id = m.customer_id)
		OR NOT EXISTS (SELECT FROM customer_groups.groups g WHERE g.id = m.group_id)

	-- A refund is of a sale, and gives back no more than that was.
	UNION ALL
	SELECT 'refund of what is no sale', r.customer_id, format('refund %s of sale %s', r.id, r.refund_of)
	FROM customer_groups.sales r
	WHERE r.refund_of IS NOT NULL
		AND NOT EXISTS (SELECT FROM customer_groups.sales s
						WHERE s.customer_id = r.customer_id AND s.id = r.refund_of AND s.kind <> 'refund')
	UNION ALL
	SELECT 'more refunded than was paid', s.customer_id, format('sale %s of %s, refunds %s', s.id, s.amount, sum(r.amount))
	FROM customer_groups.sales r
	JOIN customer_groups.sales s ON s.customer_id = r.customer_id AND s.id = r.refund_of
	GROUP BY s.customer_id, s.id HAVING s.amount + sum(r.amount) < 0
	UNION ALL
	SELECT 'more of a line refunded than was sold', v.customer_id,
		format('sale %s, line %s: quantity %s of %s, discount %s of %s, total %s of %s', v.sale_id, v.line_no,
			   v.refunded_quantity, v.quantity, v.refunded_discount, v.discount, v.refunded_total, v.total)
	FROM customer_groups.line_refunds v
	WHERE v.refunded_quantity > v.quantity OR v.refunded_discount > v.discount OR v.refunded_total > v.total
	UNION ALL
	SELECT 'refund of a line that was not sold', r.customer_id,
		format('refund %s of sale %s, line %s, item %s', r.id, r.refund_of, x.line_no, x.item_id)
	FROM customer_groups.sales r
	JOIN customer_groups.sale_lines x ON x.customer_id = r.customer_id AND x.sale_id = r.id
	WHERE r.refund_of IS NOT NULL
		AND NOT EXISTS (SELECT FROM customer_groups.sale_lines l
						WHERE l.customer_id = r.customer_id AND l.sale_id = r.refund_of
							AND l.line_no = x.line_no AND l.item_id = x.item_id)

	-- One tier of a ladder at most.
	UNION ALL
	SELECT 'two tiers of one ladder', m.customer_id,
		format('ladder %s: %s', coalesce(g.ladder, 'default'), string_agg(g.code, ', ' ORDER BY g.id))
	FROM customer_groups.members m
	JOIN customer_groups.groups g ON g.id = m.group_id AND g.upgrade_threshold IS NOT NULL
	GROUP BY m.customer_id, coalesce(g.ladder, 'default')
	HAVING count(*) > 1

	-- The last event of each membership tells whether and how it is now.
	UNION ALL
	SELECT 'membership differs from its events', coalesce(e.customer_id, m.customer_id),
		format('group %s: stored %s, last event %s %s', coalesce(e.group_id, m.group_id),
			   CASE WHEN m.customer_id IS NULL THEN 'none' ELSE
				   jsonb_build_object('source', m.source, 'valid_from', m.valid_from,
									  'valid_until', m.valid_until)::text END,
			   coalesce(e.kind, 'none'), e.detail)
	FROM (SELECT DISTINCT ON (v.customer_id, v.group_id)
				v.customer_id, v.group_id, v.kind, v.detail
		  FROM customer_groups.events v
		  WHERE v.kind IN ('member_added', 'member_changed', 'member_removed')
		  ORDER BY v.customer_id, v.group_id, v.id DESC) e
	FULL JOIN customer_groups.members m
		ON m.customer_id = e.customer_id AND m.group_id = e.group_id
	WHERE CASE WHEN m.customer_id IS NULL THEN e.kind <> 'member_removed'
			   ELSE e.kind IS NULL OR e.kind = 'member_removed'
				   OR e.detail ->> 'source' IS DISTINCT FROM m.source
				   OR (e.detail ->> 'valid_from')::date IS DISTINCT FROM m.valid_from
				   OR (e.detail ->> 'valid_until')::date IS DISTINCT FROM m.valid_until END

	-- So it does of who added the member, and when: told where it is not who wrote the event, and just before.
	UNION ALL
	SELECT 'membership differs from its events', m.customer_id,
		format('group %s: stored added at %s by %s, in the events at %s by %s', m.group_id,
			   m.added_at, m.added_by, h.added_at, h.added_by)
	FROM customer_groups.members m
	JOIN customer_groups.member_history h
		ON h.customer_id = m.customer_id AND h.group_id = m.group_id AND h.ended_at IS NULL
	WHERE m.added_by <> h.added_by OR m.added_at > h.added_at
		OR (m.added_at < h.added_at AND h.added_at <> h.began_at)

	-- The last move on each ladder tells which tier it is now.
	UNION ALL
	SELECT 'tier differs from its events', coalesce(e.customer_id, t.customer_id),
		format('ladder %s: stored %s, last event to %s', coalesce(e.ladder, t.ladder),
			   coalesce(t.group_id::text, 'none'), coalesce(e.group_id::text, 'none'))
	FROM (SELECT DISTINCT ON (v.customer_id, v.detail ->> 'ladder')
				v.customer_id, v.detail ->> 'ladder' AS ladder, v.group_id
		  FROM customer_groups.events v
		  WHERE v.kind IN ('tier_upgraded', 'tier_downgraded', 'tier_changed')
		  ORDER BY v.customer_id, v.detail ->> 'ladder', v.id DESC) e
	FULL JOIN (SELECT m.customer_id, coalesce(g.ladder, 'default') AS ladder, m.group_id
			   FROM customer_groups.members m
			   JOIN customer_groups.groups g ON g.id = m.group_id
			   WHERE g.upgrade_threshold IS NOT NULL) t
		ON t.customer_id = e.customer_id AND t.ladder = e.ladder
	WHERE e.group_id IS DISTINCT FROM t.group_id

	-- Each move on a ladder starts where the one before it ended; purged ones are not missed.
	UNION ALL
	SELECT 'tier differs from its events', e.customer_id,
		format('ladder %s: event %s moves from %s, event %s moved to %s', e.ladder, e.id,
			   coalesce(e.from_id, 'none'), e.before_id, coalesce(e.before_to, 'none'))
	FROM (SELECT v.id, v.customer_id, v.detail ->> 'ladder' AS ladder, v.detail ->> 'from_id' AS from_id,
				lag(v.id) OVER moves AS before_id, lag(v.group_id::text) OVER moves AS before_to
		  FROM customer_groups.events v
		  WHERE v.kind IN ('tier_upgraded', 'tier_downgraded', 'tier_changed')
		  WINDOW moves AS (PARTITION BY v.customer_id, v.detail ->> 'ladder' ORDER BY v.id)) e
	WHERE e.before_id IS NOT NULL AND e.from_id IS DISTINCT FROM e.before_to

	-- Tracked segments have stored who fulfils their rule on the day that was reached.
	UNION ALL
	SELECT 'segment member differs from the rule', j.customer_id,
		format('segment %s on %s: stored %s, computed %s', j.code, j.day, j.stored, j.computed)
	FROM (SELECT f.customer_id, s.code, d.day,
				EXISTS (SELECT FROM customer_groups.segment_members m
						WHERE m.customer_id = f.customer_id AND m.segment_id = s.id) AS stored,
				customer_groups.in_segment(f.customer_id, s.code,
					d.day::timestamp AT TIME ZONE customer_groups.settings_timezone()) AS computed
		  FROM customer_groups.customer_facts f
		  CROSS JOIN customer_groups.segments s
		  CROSS JOIN LATERAL (SELECT coalesce(greatest(f.tracked_on,
									(SELECT t.reached_on FROM customer_groups.segment_tracking t)),
									(now() AT TIME ZONE customer_groups.settings_timezone())::date) AS day) d
		  WHERE s.tracked AND s.pending_since IS NULL) j
	WHERE j.stored <> j.computed
	UNION ALL
	SELECT 'segment member without a customer or a tracked segment', m.customer_id,
		format('segment %s', m.segment_id)
	FROM customer_groups.segment_members m
	WHERE NOT EXISTS (SELECT FROM customer_groups.customers c WHERE c.id = m.customer_id)
		OR NOT EXISTS (SELECT FROM customer_groups.segments s WHERE s.id = m.segment_id AND s.tracked)

	-- The events of a segment are entries and exits in turn, and tell who is in it since when.
	UNION ALL
	SELECT 'segment member differs from its events', coalesce(e.customer_id, m.customer_id),
		format('segment %s: stored %s, last event %s', coalesce(e.segment_id, m.segment_id),
			   coalesce(m.entered_at::text, 'none'), coalesce(e.kind || ' ' || (e.detail ->> 'effective_at'), 'none'))
	FROM (SELECT DISTINCT ON (v.customer_id, v.segment_id) v.customer_id, v.segment_id, v.kind, v.detail
		  FROM customer_groups.events v
		  WHERE v.kind IN ('segment_entered', 'segment_left')
		  ORDER BY v.customer_id, v.segment_id, v.id DESC) e
	FULL JOIN customer_groups.segment_members m
		ON m.customer_id = e.customer_id AND m.segment_id = e.segment_id
	WHERE CASE WHEN m.customer_id IS NULL THEN e.kind = 'segment_entered'
			   ELSE e.kind IS DISTINCT FROM 'segment_entered'
				   OR (e.detail ->> 'effective_at')::timestamptz <> m.entered_at END
	UNION ALL
	SELECT 'segment events are not in turn', v.customer_id,
		format('segment %s: event %s is another %s', v.segment_id, v.id, v.kind)
	FROM (SELECT v.*, lag(v.kind, 1, 'segment_left')
				OVER (PARTITION BY v.customer_id, v.segment_id ORDER BY v.id) AS before
		  FROM customer_groups.events v
		  WHERE v.kind IN ('segment_entered', 'segment_left')) v
	WHERE v.kind = v.before

	-- The categories are a tree.
	UNION ALL
	SELECT 'categories go round in a circle', NULL, format('category %s', u.id)
	FROM (WITH RECURSIVE up (id, ancestor) AS (
				SELECT c.id, c.parent_id FROM customer_groups.categories c
				WHERE c.parent_id IS NOT NULL
			UNION
				SELECT up.id, c.parent_id FROM up
				JOIN customer_groups.categories c ON c.id = up.ancestor
				WHERE c.parent_id IS NOT NULL AND up.ancestor <> up.id)
		  SELECT up.id FROM up WHERE up.ancestor = up.id) u

	-- Rules name what there is, and no segment names itself.
	UNION ALL
	SELECT 'rule names what does not exist', NULL, format('segment %s: %s %s', s.code, n.kind, n.code)
	FROM customer_groups.segments s CROSS JOIN LATERAL customer_groups.rule_names(s.rule) n
	WHERE NOT CASE n.kind
		WHEN 'category' THEN EXISTS (SELECT FROM customer_groups.categories x WHERE x.code = n.code)
		WHEN 'brand' THEN EXISTS (SELECT FROM customer_groups.brands x WHERE x.code = n.code)
		WHEN 'item' THEN EXISTS (SELECT FROM customer_groups.items x WHERE x.external_id = n.code)
		WHEN 'ladder' THEN n.code = 'default' OR EXISTS (SELECT FROM customer_groups.ladders x WHERE x.code = n.code)
		WHEN 'segment' THEN EXISTS (SELECT FROM customer_groups.segments x WHERE x.code = n.code)
		ELSE EXISTS (SELECT FROM customer_groups.groups x WHERE x.code = n.code) END

	-- Nor have a segment and those that it names more than 500 levels: of AND, OR, NOT and segments.
	UNION ALL
	SELECT u.problem, NULL, format('segment %s', u.code)
	FROM (WITH RECURSIVE node (code, tree, level) AS (
				SELECT s.code, s.rule::jsonb, 1 FROM customer_groups.segments s
			UNION ALL
				SELECT n.code, b.tree, n.level + 1 FROM node n
				CROSS JOIN LATERAL (
						SELECT n.tree -> 'not' WHERE n.tree ? 'not'
					UNION ALL
						SELECT jsonb_array_elements(coalesce(n.tree -> 'and', n.tree -> 'or'))) b (tree)
		  ), named (code, other, level) AS (
				SELECT n.code, n.tree ->> 'segment', max(n.level) FROM node n
				WHERE n.tree ? 'segment' GROUP BY 1, 2
		  ), down (code, other) AS (
				SELECT n.code, n.other FROM named n
			UNION
				SELECT d.code, n.other FROM down d JOIN named n ON n.code = d.other
				WHERE d.other <> d.code
		  ), round (code) AS (
				SELECT d.code FROM down d WHERE d.other = d.code
		  ), link (code, other, level) AS (
				SELECT n.* FROM named n JOIN customer_groups.segments s ON s.code = n.other
				WHERE n.other NOT IN (SELECT r.code FROM round r)
		  ), high (code, levels) AS (
				-- Unless the way down a link is as long in any case.
				SELECT n.code, max(n.level) FROM node n GROUP BY n.code
				HAVING max(n.level) > ALL (SELECT l.level + 1 FROM link l WHERE l.code = n.code)
			UNION
				SELECT l.code, least(l.level + h.levels, 501) FROM high h JOIN link l ON l.other = h.code
		  )
		  SELECT 'segments go round in a circle' AS problem, r.code FROM round r
		  UNION ALL
		  SELECT DISTINCT 'segments are nested too deep', h.code FROM high h WHERE h.levels = 501) u
$$;
COMMENT ON FUNCTION customer_groups.check_integrity() IS
	'Recomputes everything that is derived and makes every check between tables; one row for each difference (the customer is null where it concerns none), none on a healthy database. Slow: reads all tables, and needs the right to read them.';
