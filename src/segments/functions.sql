-- Which segments a customer is in.

CREATE FUNCTION customer_groups.segments_of(customer_id bigint, at timestamptz DEFAULT now())
	RETURNS TABLE (code text, name text, color text)
	AS 'MODULE_PATHNAME', 'cg_segments_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 100 ROWS 3;
COMMENT ON FUNCTION customer_groups.segments_of(bigint, timestamptz) IS
	'The labels beside a customer''s name: the segments with show_label that the customer is in, by position, then code. at moves today, in the settings'' time zone; the facts are the present ones. A null customer is an anonymous one: no row. An unknown customer is 02000, a null time 22004, an infinite one 22023, a caller who may not view 42501.';

CREATE FUNCTION customer_groups.segments_of_by_key(customer_external_id text, at timestamptz DEFAULT now())
	RETURNS TABLE (code text, name text, color text)
	AS 'MODULE_PATHNAME', 'cg_segments_of_by_key'
	LANGUAGE C STABLE PARALLEL SAFE COST 120 ROWS 3;
COMMENT ON FUNCTION customer_groups.segments_of_by_key(text, timestamptz) IS
	'segments_of a customer by its external_id: null is an anonymous one, an unknown one is 02000.';

CREATE FUNCTION customer_groups.labels_of(customer_ids bigint[], at timestamptz DEFAULT now())
	RETURNS TABLE (customer_id bigint, labels jsonb)
	AS 'MODULE_PATHNAME', 'cg_labels_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION customer_groups.labels_of(bigint[], timestamptz) IS
	'The labels of a list of customers, one row for each in the order given: an array of {"code", "name", "color"} in the order of segments_of(), [] when none. A null customer has none; a null list gives no row. Errors as segments_of().';

CREATE FUNCTION customer_groups.in_segment(customer_id bigint, code text, at timestamptz DEFAULT now())
	RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_in_segment'
	LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION customer_groups.in_segment(bigint, text, timestamptz) IS
	'Whether the customer is in the segment, with or without a label. A null customer is an anonymous one, in no segment: false; a null code gives null. An unknown segment is 02000; other errors as segments_of().';

CREATE FUNCTION customer_groups.matches(customer_id bigint, rule customer_groups.segment_rule, at timestamptz DEFAULT now())
	RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_matches'
	LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION customer_groups.matches(bigint, customer_groups.segment_rule, timestamptz) IS
	'Whether the customer fulfils the rule. Conditions on a missing value are false, <> too, and NOT of them true: no visit, no birth date, no present tier (one out of its dates, or a membership not valid today, is none), an attribute that is not there or of another type than what it is compared with: a number, a quoted text, or true or false. A null customer fulfils nothing: false; a null rule gives null. A name that does not exist is 42704; other errors as segments_of().';
