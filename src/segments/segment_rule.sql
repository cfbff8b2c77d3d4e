-- The type segment_rule: which customers a segment is for.

CREATE TYPE customer_groups.segment_rule;

CREATE FUNCTION customer_groups.segment_rule_in(cstring) RETURNS customer_groups.segment_rule
	AS 'MODULE_PATHNAME', 'cg_segment_rule_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_out(customer_groups.segment_rule) RETURNS cstring
	AS 'MODULE_PATHNAME', 'cg_segment_rule_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_recv(internal) RETURNS customer_groups.segment_rule
	AS 'MODULE_PATHNAME', 'cg_segment_rule_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_send(customer_groups.segment_rule) RETURNS bytea
	AS 'MODULE_PATHNAME', 'cg_segment_rule_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.segment_rule_in(cstring) IS 'I/O: errors are 22P02 with the character position of the mistake, and 54000 for a rule with more than 65536 characters, 1000 conditions or 100 levels.';
COMMENT ON FUNCTION customer_groups.segment_rule_out(customer_groups.segment_rule) IS 'I/O: the canonical text, which reads back as an equal rule.';
COMMENT ON FUNCTION customer_groups.segment_rule_recv(internal) IS 'I/O: a version byte, 1, and the text. Another version is 22P03.';
COMMENT ON FUNCTION customer_groups.segment_rule_send(customer_groups.segment_rule) IS 'I/O: a version byte, 1, and the canonical text.';

CREATE TYPE customer_groups.segment_rule (
	INPUT = customer_groups.segment_rule_in,
	OUTPUT = customer_groups.segment_rule_out,
	RECEIVE = customer_groups.segment_rule_recv,
	SEND = customer_groups.segment_rule_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE customer_groups.segment_rule IS 'A rule that customers fulfil or not, like: visits >= 10 AND registered WITHIN 30 DAYS. It holds codes, and reads no table. Number literals compare by value and quoted ones as text; true and false are those of JSON.';

-- Equality is that of the canonical form: 10 is 10.0, but a AND b is not b AND a.

CREATE FUNCTION customer_groups.segment_rule_eq(customer_groups.segment_rule, customer_groups.segment_rule) RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_segment_rule_eq' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_ne(customer_groups.segment_rule, customer_groups.segment_rule) RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_segment_rule_ne' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_hash(customer_groups.segment_rule) RETURNS int
	AS 'MODULE_PATHNAME', 'cg_segment_rule_hash' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION customer_groups.segment_rule_hash_extended(customer_groups.segment_rule, bigint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'cg_segment_rule_hash_extended' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.segment_rule_eq(customer_groups.segment_rule, customer_groups.segment_rule) IS 'Implementation of = operator.';
COMMENT ON FUNCTION customer_groups.segment_rule_ne(customer_groups.segment_rule, customer_groups.segment_rule) IS 'Implementation of <> operator.';
COMMENT ON FUNCTION customer_groups.segment_rule_hash(customer_groups.segment_rule) IS 'Hash, for the operator class.';
COMMENT ON FUNCTION customer_groups.segment_rule_hash_extended(customer_groups.segment_rule, bigint) IS 'Hash with a seed, for the operator class.';

CREATE OPERATOR customer_groups.= (
	LEFTARG = customer_groups.segment_rule,
	RIGHTARG = customer_groups.segment_rule,
	FUNCTION = customer_groups.segment_rule_eq,
	COMMUTATOR = OPERATOR(customer_groups.=),
	NEGATOR = OPERATOR(customer_groups.<>),
	RESTRICT = pg_catalog.eqsel,
	JOIN = pg_catalog.eqjoinsel,
	HASHES
);
CREATE OPERATOR customer_groups.<> (
	LEFTARG = customer_groups.segment_rule,
	RIGHTARG = customer_groups.segment_rule,
	FUNCTION = customer_groups.segment_rule_ne,
	COMMUTATOR = OPERATOR(customer_groups.<>),
	NEGATOR = OPERATOR(customer_groups.=),
	RESTRICT = pg_catalog.neqsel,
	JOIN = pg_catalog.neqjoinsel
);
COMMENT ON OPERATOR customer_groups.= (customer_groups.segment_rule, customer_groups.segment_rule) IS 'Same canonical form.';
COMMENT ON OPERATOR customer_groups.<> (customer_groups.segment_rule, customer_groups.segment_rule) IS 'Another canonical form.';

CREATE OPERATOR CLASS customer_groups.segment_rule_ops
	DEFAULT FOR TYPE customer_groups.segment_rule USING hash AS
	OPERATOR 1 customer_groups.= (customer_groups.segment_rule, customer_groups.segment_rule),
	FUNCTION 1 customer_groups.segment_rule_hash(customer_groups.segment_rule),
	FUNCTION 2 customer_groups.segment_rule_hash_extended(customer_groups.segment_rule, bigint);
COMMENT ON OPERATOR CLASS customer_groups.segment_rule_ops USING hash IS 'Equality of rules: for GROUP BY, DISTINCT and joins; rules have no order.';

CREATE FUNCTION customer_groups.segment_rule_from_jsonb(jsonb) RETURNS customer_groups.segment_rule
	AS 'MODULE_PATHNAME', 'cg_segment_rule_from_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
CREATE FUNCTION customer_groups.segment_rule_to_jsonb(customer_groups.segment_rule) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'cg_segment_rule_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION customer_groups.segment_rule_from_jsonb(jsonb) IS 'Cast from the tree that segment_rule_to_jsonb() gives. Another shape, an unknown key, a wrong type are 22023, with the path ($.and[0].not) and the object in the detail.';
COMMENT ON FUNCTION customer_groups.segment_rule_to_jsonb(customer_groups.segment_rule) IS
'Cast to a tree, for rule builders. Nodes:
{"and": [node, ...]}, {"or": [node, ...]}, {"not": node}, {"all": true},
{"metric": "visits", "op": ">=", "value": 10} with "last_days": 90 for a window,
{"date": "last_visit", "op": "<", "value": "2026-01-01"}, {"days_since": "last_visit", "op": ">=", "value": 180},
{"within": "registered", "days": 30}, {"birthday": "today"}, {"birthday": "this_month"},
{"birthday": "month", "month": 5}, {"birthday": "next", "days": 7},
{"bought": "category", "code": "shoes", "op": ">=", "value": 2} (or "item", "brand") with "last_days": 365 for a window,
{"attribute": "city", "op": "=", "value": "Seoul"} (a number compares by value, a string as text, true and false as such),
{"member_of": "wholesale"}, {"tier_of": "default", "op": "=", "value": "gold"}, {"segment": "vip"}.
"op" is =, <>, <, <=, >, >=, "between" with "value": [low, high] or "in" with "value": [one, ...]; strings that are not dates, true and false take =, <> and "in" only.';

CREATE CAST (jsonb AS customer_groups.segment_rule)
	WITH FUNCTION customer_groups.segment_rule_from_jsonb(jsonb);
CREATE CAST (customer_groups.segment_rule AS jsonb)
	WITH FUNCTION customer_groups.segment_rule_to_jsonb(customer_groups.segment_rule);
COMMENT ON CAST (jsonb AS customer_groups.segment_rule) IS 'The rule of a tree: see segment_rule_to_jsonb(segment_rule).';
COMMENT ON CAST (customer_groups.segment_rule AS jsonb) IS 'The tree of a rule: see segment_rule_to_jsonb(segment_rule).';

CREATE FUNCTION customer_groups.rule_names(rule customer_groups.segment_rule)
	RETURNS TABLE(kind text, code text)
	AS 'MODULE_PATHNAME', 'cg_segment_rule_names' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 5;
COMMENT ON FUNCTION customer_groups.rule_names(customer_groups.segment_rule) IS 'The codes that a rule names, each once, whether they exist or not. kind: brand, category, group, item (its external_id), ladder, segment, or tier (a group''s code, compared with a customer''s tier). No row for a null rule.';

CREATE FUNCTION customer_groups.rule_rename(rule customer_groups.segment_rule, kind text, old_code text, new_code text)
	RETURNS customer_groups.segment_rule
	AS 'MODULE_PATHNAME', 'cg_segment_rule_rename' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION customer_groups.rule_rename(customer_groups.segment_rule, text, text, text) IS 'The rule with new_code wherever it names old_code as that kind: one of rule_names(), others are 22023. A group that is a tier is named by both kinds. Null if an argument is.';
