-- The calendar: time zones and days.

CREATE FUNCTION customer_groups.is_timezone(name text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_is_timezone'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.is_timezone(text) IS
	'Whether the name is a time zone, and the same one to SET timezone and to AT TIME ZONE (CET is not: use Europe/Paris); null for null.';

CREATE FUNCTION customer_groups.month_day(day date) RETURNS int
	AS 'MODULE_PATHNAME', 'cg_month_day'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.month_day(date) IS
	'Month and day of the month as one number: 312 for 12 March; null for null and infinite dates.';
