-- The customers of a segment: all of them, how many, and what a rule would change.

CREATE FUNCTION customer_groups.segment_sql(code text, at timestamptz DEFAULT now()) RETURNS text
	AS 'MODULE_PATHNAME', 'cg_segment_sql'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION customer_groups.segment_sql(text, timestamptz) IS
	'The query that gives the customer_id of everybody in the segment: its rule compiled to SQL, with the days and ids as they are at the time of the call. Null for a null code. Errors as segment_customers().';

CREATE FUNCTION customer_groups.segment_customers(code text, at timestamptz DEFAULT now()) RETURNS SETOF bigint
	AS 'MODULE_PATHNAME', 'cg_segment_customers'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 100000;
COMMENT ON FUNCTION customer_groups.segment_customers(text, timestamptz) IS
	'The customers in the segment, in no order; no row for a null code. at moves today, in the settings'' time zone; the facts are the present ones. An unknown segment is 02000, a null time 22004, an infinite one 22023, a caller who may not view 42501.';

CREATE FUNCTION customer_groups.rule_customers(rule customer_groups.segment_rule, at timestamptz DEFAULT now()) RETURNS SETOF bigint
	AS 'MODULE_PATHNAME', 'cg_rule_customers'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 100000;
COMMENT ON FUNCTION customer_groups.rule_customers(customer_groups.segment_rule, timestamptz) IS
	'The customers who fulfil the rule, in no order: those of whom matches() is true; no row for a null rule. A name that does not exist is 42704; other errors as segment_customers().';

CREATE FUNCTION customer_groups.segment_size(code text, at timestamptz DEFAULT now()) RETURNS bigint
	AS 'MODULE_PATHNAME', 'cg_segment_size'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000;
COMMENT ON FUNCTION customer_groups.segment_size(text, timestamptz) IS
	'How many customers are in the segment; null for a null code. Errors as segment_customers().';

CREATE FUNCTION customer_groups.segment_sizes(at timestamptz DEFAULT now())
	RETURNS TABLE (code text, name text, color text, size bigint)
	AS 'MODULE_PATHNAME', 'cg_segment_sizes'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 20;
COMMENT ON FUNCTION customer_groups.segment_sizes(timestamptz) IS
	'How many customers are in each segment, by position, then code; all of them (a thousand at a time) are counted in one pass over the customers. Errors as segment_customers().';

CREATE FUNCTION customer_groups.segment_overlap(code text, other_code text, at timestamptz DEFAULT now()) RETURNS bigint
	AS 'MODULE_PATHNAME', 'cg_segment_overlap'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000;
COMMENT ON FUNCTION customer_groups.segment_overlap(text, text, timestamptz) IS
	'How many customers are in both segments; null for a null code. Errors as segment_customers().';

CREATE FUNCTION customer_groups.preview_segment(rule customer_groups.segment_rule, at timestamptz DEFAULT now(),
		OUT size bigint, OUT share numeric, OUT sample bigint[])
	AS 'MODULE_PATHNAME', 'cg_preview_segment'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000;
COMMENT ON FUNCTION customer_groups.preview_segment(customer_groups.segment_rule, timestamptz) IS
	'What a segment with the rule would be: how many customers, which share of all of them (from 0 to 1, rounded to 6 decimals; 0 where there is no customer), and the ten with the lowest ids, {} when none. Nulls for a null rule. A rule whose segments go round in a circle is 23514, and more than 500 levels of them 54000, as they are when it is saved; other errors as rule_customers().';

CREATE FUNCTION customer_groups.preview_change(code text, rule customer_groups.segment_rule, at timestamptz DEFAULT now())
	RETURNS TABLE (customer_id bigint, change text)
	AS 'MODULE_PATHNAME', 'cg_preview_change'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000000 ROWS 10000;
COMMENT ON FUNCTION customer_groups.preview_change(text, customer_groups.segment_rule, timestamptz) IS
	'Who would enter or leave the segment if it had the rule: change is enters or leaves; in no order, no row for a null argument. What saving the rule would refuse is refused: names that neither exist nor are in the present rule (42704), a circle of segments (23514), more than 500 levels of them (54000); other errors as rule_customers() and segment_customers().';
