-- Where customers stand on their ladders, and the review that moves them.

CREATE FUNCTION customer_groups.tier_of(customer_id bigint, ladder text DEFAULT 'default') RETURNS text
	AS 'MODULE_PATHNAME', 'cg_tier_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION customer_groups.tier_of(bigint, text) IS
	'The code of the tier of the ladder that the customer holds today, in the settings'' time zone; null when none: a tier out of its dates, or whose membership is not valid, is none. A null customer is an anonymous one: null. An unknown customer or ladder is 02000, a null ladder 22004, a caller who may not view 42501.';

CREATE FUNCTION customer_groups.tier_progress(customer_id bigint, ladder text DEFAULT 'default', at timestamptz DEFAULT now(),
		OUT tier text, OUT measure numeric, OUT next_tier text, OUT next_threshold numeric, OUT remaining numeric)
	AS 'MODULE_PATHNAME', 'cg_tier_progress'
	LANGUAGE C STABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION customer_groups.tier_progress(bigint, text, timestamptz) IS
	'Where a customer stands on a ladder on the day of at: the tier held (null: none), what the ladder measures (net sales in the settings'' currency, or visits; of the window that ends with that day where the ladder has a period, else of the whole time), and the next higher tier, its threshold and what remains to it, at least 0; these three are null at the top. A ladder without tiers, and a null customer, give nulls. An unknown customer or ladder is 02000, a null ladder or time 22004, an infinite time 22023, a caller who may not view 42501.';

CREATE FUNCTION customer_groups.window_end(first date, period interval) RETURNS date
	AS 'MODULE_PATHNAME', 'cg_window_end'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.window_end(date, interval) IS
	'The last day D whose window, the days d with D - period < d <= D, has the given day in it; null for null.';

CREATE FUNCTION customer_groups.review_tiers(ladder text, dry_run boolean DEFAULT false, at timestamptz DEFAULT now())
	RETURNS TABLE (customer_id bigint, from_tier text, to_tier text)
	AS 'MODULE_PATHNAME', 'cg_review_tiers'
	LANGUAGE C VOLATILE COST 100000 ROWS 1000;
COMMENT ON FUNCTION customer_groups.review_tiers(text, boolean, timestamptz) IS
	'Brings all customers of a ladder to the tier in effect that they have earned on the day of at, in the settings'' time zone, and returns who moved, by customer; from_tier and to_tier are null for none. Up at once; down only on a ladder with downgrade ''at_review'', only from a tier of source ''tier'', and only when the grace is over, which begins at the end of the last day whose window, over the present sales, reached the threshold, else when the membership was added. Customers with skip_auto_upgrade stay where they are. Waits for bookings in progress on these customers. With dry_run the same rows are returned, and nothing is written, locked or waited for. An unknown ladder is 02000, a null argument 22004, an infinite time 22023, a caller without the rights 42501; at REPEATABLE READ and above, a customer to be moved who was booked meanwhile is 40001. Shows how far it has come before its query in pg_stat_activity, and as a NOTICE every ten seconds.';
