-- Takes a purchase log; what read_log.pl writes is run after this and before log.sql. Variables:
-- tiers, the thresholds in ascending order, as a list separated by commas.

CREATE TEMP TABLE log_rows (line bigint, customer text, sold text, amount text, problem text);
CREATE TEMP TABLE checked (line bigint, customer text, sold_at timestamptz, amount numeric, problem text);
CREATE TEMP TABLE refused (line bigint, problem text);
CREATE TEMP TABLE load_counts AS SELECT 0::bigint AS loaded, 0::bigint AS refunds, 0::bigint AS rounded;

INSERT INTO groups (code, name, upgrade_threshold)
	SELECT lower(name), name, threshold::numeric
	FROM unnest(string_to_array(:'tiers', ','),
				ARRAY['Bronze', 'Silver', 'Gold', 'Platinum', 'Diamond']) WITH ORDINALITY
		AS t (threshold, name, place)
	WHERE threshold IS NOT NULL
	ORDER BY place;

-- 19970131, 1997-01-31 or a timestamp; null for anything else. Without a time zone: UTC's.
CREATE FUNCTION pg_temp.as_time(value text) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
	IF value !~ '^\d{8}$' AND
		value !~ '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|[-+]\d\d(:?\d\d)?))?)?$'
	THEN
		RETURN NULL;
	END IF;
	RETURN value::timestamptz;
EXCEPTION
	WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_time_zone_displacement_value THEN
		RETURN NULL;
END
$$;

-- Null for what is not a number.
CREATE FUNCTION pg_temp.as_amount(value text) RETURNS numeric IMMUTABLE LANGUAGE sql
RETURN CASE WHEN value ~ '^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?$' THEN value::numeric END;

-- Books what is in log_rows and empties it. A shop's own import would look like this.
CREATE PROCEDURE pg_temp.book_rows() LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO checked
	SELECT r.line, r.customer, v.sold_at, v.amount,
		coalesce(r.problem, CASE
			WHEN r.customer = '' THEN 'customer is missing'
			WHEN v.sold_at IS NULL THEN 'date is not a date'
			WHEN v.amount IS NULL THEN 'amount is not a number'
			WHEN abs(v.amount) >= 1e14 THEN 'amount is too large' END)
	FROM log_rows r
	-- OFFSET 0 keeps the two from being computed anew wherever they are named.
	CROSS JOIN LATERAL (
		SELECT pg_temp.as_time(r.sold) AS sold_at, pg_temp.as_amount(r.amount) AS amount OFFSET 0) v;

	INSERT INTO refused (line, problem) SELECT line, problem FROM checked WHERE problem IS NOT NULL;

	INSERT INTO customers (external_id, registered_at)
	SELECT customer, min(sold_at) FROM checked WHERE problem IS NULL GROUP BY customer ORDER BY min(line)
	ON CONFLICT (external_id) DO UPDATE SET registered_at = excluded.registered_at
		WHERE excluded.registered_at < customers.registered_at;

	INSERT INTO sales (customer_id, kind, amount, sold_at)
	SELECT c.id, CASE WHEN r.amount < 0 THEN 'refund' ELSE 'product' END::sale_kind,
		round(r.amount, 2), r.sold_at
	FROM checked r
	JOIN customers c ON c.external_id = r.customer
	WHERE r.problem IS NULL
	ORDER BY r.line;

	UPDATE load_counts l
	SET loaded = l.loaded + n.loaded, refunds = l.refunds + n.refunds, rounded = l.rounded + n.rounded
	FROM (SELECT count(*) AS loaded, count(*) FILTER (WHERE amount < 0) AS refunds,
				 count(*) FILTER (WHERE amount <> round(amount, 2)) AS rounded
		  FROM checked WHERE problem IS NULL) n;
	TRUNCATE log_rows, checked;
END
$$;

SELECT clock_timestamp() AS load_began \gset
