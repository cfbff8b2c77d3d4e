/*-------------------------------------------------------------------------
 *
 * segment_rule.c
 *	  The type segment_rule: its SQL entry points, and how a value is made.
 *
 * Input of every form makes a tree of CgRuleExpr, which cg_rule_build()
 * checks against the limits and lays out as segment_rule.h describes.  There
 * is no other way to a value, and it makes equal rules equal bytes, so that
 * equality and hashing look at nothing else.
 *
 * What can fail on a user's text takes an escontext and returns false or NULL
 * after reporting there (see cg_ereturn() in compat.h).  Numbers and dates
 * are checked before they are handed to numeric_in(), which then cannot fail,
 * and dates are read by our own code: date_in() depends on DateStyle and on
 * the clock, and the type's input is immutable.
 *
 * Memory is the caller's context.  No table is read, no lock is taken.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "segment_rule_internal.h"

/* The first byte of the binary form; what follows it is the text. */
#define CG_RULE_WIRE_VERSION 1

/* Longest piece of the input, in bytes, that an error's detail repeats. */
#define MAX_WORD_IN_DETAIL 64

static const struct
{
	const char  *name;
	CgRuleMetric metric;
} metrics[] = {
	{"visits", CG_METRIC_VISITS},
	{"net_sales", CG_METRIC_NET_SALES},
	{"average_sale", CG_METRIC_AVERAGE_SALE},
	{"refunds", CG_METRIC_REFUNDS},
	{"prepaid_purchases", CG_METRIC_PREPAID_PURCHASES},
	{"pass_purchases", CG_METRIC_PASS_PURCHASES},
	{"no_shows", CG_METRIC_NO_SHOWS},
	{"registered", CG_METRIC_REGISTERED},
	{"first_visit", CG_METRIC_FIRST_VISIT},
	{"last_visit", CG_METRIC_LAST_VISIT},
};

static const char *const op_names[] = {
	[CG_OP_NONE] = "", [CG_OP_EQ] = "=", [CG_OP_NE] = "<>", [CG_OP_LT] = "<",
	[CG_OP_LE] = "<=", [CG_OP_GT] = ">", [CG_OP_GE] = ">=", [CG_OP_BETWEEN] = "BETWEEN",
	[CG_OP_IN] = "IN",
};

PG_FUNCTION_INFO_V1(cg_segment_rule_in);
PG_FUNCTION_INFO_V1(cg_segment_rule_out);
PG_FUNCTION_INFO_V1(cg_segment_rule_recv);
PG_FUNCTION_INFO_V1(cg_segment_rule_send);
PG_FUNCTION_INFO_V1(cg_segment_rule_eq);
PG_FUNCTION_INFO_V1(cg_segment_rule_ne);
PG_FUNCTION_INFO_V1(cg_segment_rule_hash);
PG_FUNCTION_INFO_V1(cg_segment_rule_hash_extended);

Datum
cg_segment_rule_in(PG_FUNCTION_ARGS)
{
	SegmentRule *rule = cg_rule_parse(PG_GETARG_CSTRING(0), fcinfo->context);

	if (rule == NULL)
		PG_RETURN_NULL(); /* a soft error */
	PG_RETURN_SEGMENT_RULE_P(rule);
}

Datum
cg_segment_rule_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(cg_rule_to_cstring(PG_GETARG_SEGMENT_RULE_P(0)));
}

/*
 * The binary form is the text behind a version number.  What a client sends
 * is thus checked by the grammar, like any other text.
 */
Datum
cg_segment_rule_recv(PG_FUNCTION_ARGS)
{
	StringInfo buf = (StringInfo) PG_GETARG_POINTER(0);
	int        version = pq_getmsgbyte(buf);
	int        nbytes;

	if (version != CG_RULE_WIRE_VERSION)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("unsupported segment_rule version number: %d", version),
						errdetail("This server reads version %d.", CG_RULE_WIRE_VERSION)));

	PG_RETURN_SEGMENT_RULE_P(
		cg_rule_parse(pq_getmsgtext(buf, buf->len - buf->cursor, &nbytes), NULL));
}

Datum
cg_segment_rule_send(PG_FUNCTION_ARGS)
{
	char          *str = cg_rule_to_cstring(PG_GETARG_SEGMENT_RULE_P(0));
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint8(&buf, CG_RULE_WIRE_VERSION);
	pq_sendtext(&buf, str, strlen(str));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

static bool
rules_equal(struct varlena *a, struct varlena *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

Datum
cg_segment_rule_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(rules_equal(PG_GETARG_VARLENA_PP(0), PG_GETARG_VARLENA_PP(1)));
}

Datum
cg_segment_rule_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!rules_equal(PG_GETARG_VARLENA_PP(0), PG_GETARG_VARLENA_PP(1)));
}

Datum
cg_segment_rule_hash(PG_FUNCTION_ARGS)
{
	struct varlena *rule = PG_GETARG_VARLENA_PP(0);

	return hash_any((unsigned char *) VARDATA_ANY(rule), VARSIZE_ANY_EXHDR(rule));
}

Datum
cg_segment_rule_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *rule = PG_GETARG_VARLENA_PP(0);

	return hash_any_extended((unsigned char *) VARDATA_ANY(rule), VARSIZE_ANY_EXHDR(rule),
							 PG_GETARG_INT64(1));
}

SegmentRule *
cg_rule_from_datum(Datum datum)
{
	SegmentRule *rule = (SegmentRule *) PG_DETOAST_DATUM(datum);

	if (rule->layout != CG_RULE_LAYOUT)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("segment_rule has the unsupported layout %u", rule->layout),
						errdetail("The library that this session has loaded reads layout %d.",
								  CG_RULE_LAYOUT),
						errhint("Reconnect to load the present library.")));
	return rule;
}

/*
 * The rule that str spells.  NULL after an error, which is in escontext if
 * that takes soft errors, and thrown otherwise.
 */
SegmentRule *
cg_rule_parse(const char *str, struct Node *escontext)
{
	CgRuleParse parse = {.input = str, .escontext = escontext};
	size_t      len = strlen(str);
	void       *scanner;
	int         failed;

	/* Do not look at a gigabyte only to count its characters. */
	if (len > (size_t) CG_RULE_MAX_CHARS * pg_database_encoding_max_length() ||
		pg_mbstrlen_with_len(str, len) > CG_RULE_MAX_CHARS)
	{
		cg_rule_limit_error(escontext, CG_RULE_MAX_CHARS, "characters");
		return NULL;
	}

	cg_rule_scanner_init(&parse, &scanner);
	failed = cg_rule_yyparse(&parse, scanner);
	cg_rule_scanner_finish(scanner);

	return failed ? NULL : cg_rule_build(parse.result, escontext);
}

/* An empty node, to be filled by the caller. */
CgRuleExpr *
cg_rule_expr(void)
{
	CgRuleExpr *expr = palloc0(sizeof(CgRuleExpr));

	CHECK_FOR_INTERRUPTS();
	expr->days = -1;
	return expr;
}

/*
 * left AND right, or left OR right.  Either of them that is itself a chain of
 * the kind is used up: it gives its children to the one returned.
 */
CgRuleExpr *
cg_rule_chain(CgRuleKind kind, CgRuleExpr *left, CgRuleExpr *right)
{
	CgRuleExpr *chain = left;

	if (left->kind != kind)
	{
		chain = cg_rule_expr();
		chain->kind = kind;
		chain->args = list_make1(left);
	}
	if (right->kind == kind)
		chain->args = list_concat(chain->args, right->args);
	else
		chain->args = lappend(chain->args, right);
	return chain;
}

/* Appends len bytes, and zeros up to the next multiple of four. */
static void
append_aligned(StringInfo buf, const void *data, int len)
{
	static const char zeros[ALIGNOF_INT] = {0};

	appendBinaryStringInfo(buf, data, len);
	appendBinaryStringInfo(buf, zeros, INTALIGN(buf->len) - buf->len);
}

/*
 * Appends a node with all that it holds.  False after an error about a limit;
 * *conditions counts the leaves.
 */
static bool
append_node(StringInfo buf, const CgRuleExpr *expr, int depth, int *conditions,
			struct Node *escontext)
{
	int        start = buf->len;
	CgRuleNode head = {0};
	bool       boolean;
	ListCell  *lc;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	head.kind = expr->kind;
	head.metric = expr->metric;
	head.op = expr->op;
	head.type = expr->type;
	head.days = expr->days;
	head.nargs = list_length(expr->args);
	boolean = cg_rule_is_boolean(&head);
	Assert(cg_rule_has_name(expr->kind) == (expr->name != NULL));

	if (boolean && depth >= CG_RULE_MAX_DEPTH)
		return cg_rule_limit_error(escontext, CG_RULE_MAX_DEPTH, "nested levels");
	if (!boolean && ++*conditions > CG_RULE_MAX_CONDITIONS)
		return cg_rule_limit_error(escontext, CG_RULE_MAX_CONDITIONS, "conditions");

	appendBinaryStringInfo(buf, (char *) &head, sizeof(head));
	if (expr->name != NULL)
		append_aligned(buf, expr->name, VARSIZE(expr->name));
	foreach (lc, expr->args)
	{
		if (boolean)
		{
			if (!append_node(buf, lfirst(lc), depth + 1, conditions, escontext))
				return false;
		}
		else if (cg_rule_type_is_int(expr->type))
		{
			int32 value = lfirst_int(lc);

			append_aligned(buf, &value, sizeof(value));
		}
		else
			append_aligned(buf, lfirst(lc), VARSIZE(lfirst(lc)));
	}

	((CgRuleNode *) (buf->data + start))->size = buf->len - start;
	return true;
}

/*
 * The value of a tree.  NULL after an error, as in cg_rule_parse().
 *
 * The canonical text is held to the limit too: it can be longer than the text
 * that was given, and a dump must be able to restore what it printed.
 */
SegmentRule *
cg_rule_build(const CgRuleExpr *expr, struct Node *escontext)
{
	StringInfoData buf;
	int            conditions = 0;
	SegmentRule   *rule;
	char          *str;

	initStringInfo(&buf);
	appendStringInfoSpaces(&buf, offsetof(SegmentRule, root));
	if (!append_node(&buf, expr, 0, &conditions, escontext))
		return NULL;

	rule = (SegmentRule *) buf.data;
	SET_VARSIZE(rule, buf.len);
	rule->layout = CG_RULE_LAYOUT;

	str = cg_rule_to_cstring(rule);
	if (pg_mbstrlen(str) > CG_RULE_MAX_CHARS)
	{
		cg_rule_limit_error(escontext, CG_RULE_MAX_CHARS, "characters");
		return NULL;
	}
	pfree(str);
	return rule;
}

/* Reports that a rule is too large; returns false, for the caller to return. */
bool
cg_rule_limit_error(struct Node *escontext, int limit, const char *what)
{
	cg_ereturn(escontext, false,
			   (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("segment rule has more than %d %s", limit, what),
				errhint("Make segments of its parts and name them by in SEGMENT.")));
}

/*
 * Reports what is wrong with the piece of input at a span (none: its end);
 * returns false, for the caller to return.
 */
bool
cg_rule_parse_error(CgRuleParse *parse, CgRuleSpan at, const char *problem, const char *hint)
{
	const char *word = parse->input + at.start;
	int         len = pg_mbcliplen(word, at.end - at.start, MAX_WORD_IN_DETAIL);
	int         position = pg_mbstrlen_with_len(parse->input, at.start) + 1;

	cg_ereturn(
		parse->escontext, false,
		(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
		 errmsg("invalid input syntax for type %s: \"%s\"", "segment_rule", parse->input),
		 len == 0 ? errdetail("The rule ends too early, at character %d.", position)
				  : errdetail("%s \"%s\" at character %d.", problem, pnstrdup(word, len), position),
		 errhint("%s", hint)));
}

/* Whether a rule can hold the number; *result is its canonical form. */
bool
cg_rule_number(Numeric number, Numeric *result)
{
	Datum trimmed = DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(number));

	*result = DatumGetNumeric(trimmed);
	return strlen(DatumGetCString(DirectFunctionCall1(numeric_out, trimmed))) <= CG_RULE_MAX_DIGITS;
}

/* Likewise, of a literal that the scanner has found to have a number's form. */
bool
cg_rule_number_from_cstring(const char *literal, Numeric *result)
{
	const char *exponent = strpbrk(literal, "eE");
	long        power = exponent ? strtol(exponent + 1, NULL, 10) : 0;

	/* With these two checks numeric_in() cannot overflow. */
	if (strlen(literal) > CG_RULE_MAX_DIGITS || power > CG_RULE_MAX_DIGITS ||
		power < -CG_RULE_MAX_DIGITS)
		return false;
	return cg_rule_number(
		DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(literal),
											ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1))),
		result);
}

/* Whether the string is an integer without sign from min to max. */
bool
cg_rule_int_from_cstring(const char *digits, int min, int max, int32 *result)
{
	size_t len = strlen(digits);

	if (len == 0 || len > 9 || strspn(digits, "0123456789") != len)
		return false;
	*result = atoi(digits);
	return *result >= min && *result <= max;
}

/* Whether the string is a date of the years 1 to 9999, written YYYY-MM-DD. */
bool
cg_rule_date_from_cstring(const char *str, int32 *result)
{
	int  year, month, day;
	int  y, m, d;
	char extra;

	if (strlen(str) != 10 || strspn(str, "0123456789-") != 10 || str[4] != '-' || str[7] != '-' ||
		sscanf(str, "%4d-%2d-%2d%c", &year, &month, &day, &extra) != 3)
		return false;

	/* A day that the calendar does not have comes back as another one. */
	j2date(date2j(year, month, day), &y, &m, &d);
	*result = date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
	return year >= 1 && y == year && m == month && d == day;
}

/* Whether the word, in any case, is a metric or date that rules speak of. */
bool
cg_metric_from_cstring(const char *str, CgRuleMetric *result)
{
	size_t i;

	for (i = 0; i < lengthof(metrics); i++)
	{
		if (pg_strcasecmp(metrics[i].name, str) == 0)
		{
			*result = metrics[i].metric;
			return true;
		}
	}
	return false;
}

const char *
cg_metric_name(CgRuleMetric metric)
{
	size_t i;

	for (i = 0; i < lengthof(metrics); i++)
	{
		if (metrics[i].metric == metric)
			return metrics[i].name;
	}
	elog(ERROR, "unrecognized metric: %d", (int) metric);
	return NULL; /* not reached */
}

const char *
cg_op_name(CgRuleOp op)
{
	return op_names[op];
}
