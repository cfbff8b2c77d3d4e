-- The segments that most shops begin with.

CREATE FUNCTION customer_groups.load_default_segments(language text DEFAULT 'en', vip_sales numeric DEFAULT 1000000)
	RETURNS int
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	inserted int;
BEGIN
	IF language IS NULL OR vip_sales IS NULL THEN
		RAISE EXCEPTION '% must not be null', CASE WHEN language IS NULL THEN 'language' ELSE 'vip_sales' END
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Leave the argument out to get its default.';
	END IF;
	IF language NOT IN ('en', 'ko') THEN
		RAISE EXCEPTION 'unknown language'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('There are no names in "%s".', language),
				HINT = 'The languages are en and ko.';
	END IF;
	IF NOT customer_groups.is_money(vip_sales) THEN
		RAISE EXCEPTION 'vip_sales is out of range'
			USING ERRCODE = 'invalid_parameter_value', DETAIL = format('It is %s.', vip_sales),
				HINT = 'Give an amount from 0 to less than 100,000,000,000,000 with at most 8 decimals.';
	END IF;

	INSERT INTO customer_groups.segments (code, name, color, position, show_label, rule)
	SELECT d.code, CASE language WHEN 'ko' THEN d.ko ELSE d.en END, d.color, d.position, d.show_label,
		d.rule::customer_groups.segment_rule
	FROM (VALUES
		(1, 'all', 'All', '전체', '#7f8c8d', false, 'ALL'),
		(2, 'members', 'Members', '회원', '#2980b9', true, 'prepaid_purchases > 0 OR pass_purchases > 0'),
		(3, 'non_members', 'Non-members', '비회원', '#95a5a6', true, 'prepaid_purchases = 0 AND pass_purchases = 0'),
		(4, 'new', 'New', '신규고객', '#27ae60', true, 'visits >= 1 AND registered WITHIN 30 DAYS'),
		(5, 'blacklist', 'Blacklist', '블랙리스트', '#2c3e50', true, 'no_shows >= 1'),
		(6, 'vip', 'VIP', 'VIP', '#f39c12', true, format('net_sales >= %s AND visits >= 10', vip_sales)),
		(7, 'dormant', 'Dormant', '휴면고객', '#8e44ad', true, 'days_since(last_visit) >= 180'),
		(8, 'win_back', 'To win back', '재방문유도대상', '#d35400', true, 'visits >= 2 OR days_since(last_visit) >= 30'),
		(9, 'birthday', 'Birthday', '생일고객', '#e84393', true, 'birthday IN THIS MONTH'),
		(10, 'first_visit', 'First visit', '첫방문고객', '#16a085', true, 'visits <= 0 AND registered WITHIN 30 DAYS')
	) AS d (position, code, en, ko, color, show_label, rule)
	ORDER BY d.position
	ON CONFLICT (code) DO NOTHING;
	GET DIAGNOSTICS inserted = ROW_COUNT;
	RETURN inserted;
END
$$;
COMMENT ON FUNCTION customer_groups.load_default_segments(text, numeric) IS
	'Inserts the segments all, members, non_members, new, blacklist, vip (net sales of at least vip_sales, in the settings'' currency, and 10 visits), dormant, win_back, birthday and first_visit, with names in English (en) or Korean (ko), and returns how many; codes that exist are left alone. An unknown language, or a vip_sales that is not from 0 to less than 100,000,000,000,000, is 22023, null 22004.';
