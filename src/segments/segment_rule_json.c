/*-------------------------------------------------------------------------
 *
 * segment_rule_json.c
 *	  Casts between segment_rule and jsonb, for rule builders.
 *
 * A node is an object: {"and": [...]}, {"or": [...]}, {"not": {...}}, or a
 * condition.  A table says which key tells each kind of node and which other
 * keys it has; both directions follow it, so that what the one writes the
 * other takes.  Anything else in an object is an error (22023), whose detail
 * shows the object and the path to it.
 *
 * Memory is the caller's context.  No table is read, no lock is taken.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "segment_rule_internal.h"
#include "json.h"

/* Longest object, in bytes, that an error's detail shows in full. */
#define MAX_OBJECT_IN_DETAIL 200

/* Far above what a rule with CG_RULE_MAX_CHARS takes as jsonb. */
#define MAX_JSONB_SIZE (64 * CG_RULE_MAX_CHARS)

/* What the key that tells the kind has as its value. */
typedef enum KeyHolds
{
	HOLDS_CHILDREN,    /* an array of nodes */
	HOLDS_CHILD,       /* a node */
	HOLDS_TRUE,        /* true, there being nothing to say */
	HOLDS_METRIC,      /* a numeric metric */
	HOLDS_DATE_METRIC, /* registered, first_visit or last_visit */
	HOLDS_NAME,        /* a name */
	HOLDS_WORD         /* the word of the shape: several kinds have the key */
} KeyHolds;

typedef struct Shape
{
	const char *key;
	KeyHolds    holds;
	const char *word;
	const char *name_key; /* for a name that `key` does not hold */
	const char *days_key; /* for days or the month; optional where a window is */
	int         types;    /* the CgRuleTypes that "value", beside "op", may have */
} Shape;

static const Shape shapes[CG_RULE_LAST_KIND + 1] = {
	[CG_RULE_AND] = {.key = "and", .holds = HOLDS_CHILDREN},
	[CG_RULE_OR] = {.key = "or", .holds = HOLDS_CHILDREN},
	[CG_RULE_NOT] = {.key = "not", .holds = HOLDS_CHILD},
	[CG_RULE_ALL] = {.key = "all", .holds = HOLDS_TRUE},
	[CG_RULE_METRIC] = {.key = "metric",
						.holds = HOLDS_METRIC,
						.days_key = "last_days",
						.types = CG_TYPE_NUMBER},
	[CG_RULE_DATE] = {.key = "date", .holds = HOLDS_DATE_METRIC, .types = CG_TYPE_DATE},
	[CG_RULE_DAYS_SINCE] = {.key = "days_since",
							.holds = HOLDS_DATE_METRIC,
							.types = CG_TYPE_NUMBER},
	[CG_RULE_WITHIN] = {.key = "within", .holds = HOLDS_DATE_METRIC, .days_key = "days"},
	[CG_RULE_BIRTHDAY_TODAY] = {.key = "birthday", .holds = HOLDS_WORD, .word = "today"},
	[CG_RULE_BIRTHDAY_THIS_MONTH] = {.key = "birthday", .holds = HOLDS_WORD, .word = "this_month"},
	[CG_RULE_BIRTHDAY_IN_MONTH] = {.key = "birthday",
								   .holds = HOLDS_WORD,
								   .word = "month",
								   .days_key = "month"},
	[CG_RULE_BIRTHDAY_WITHIN_NEXT] = {.key = "birthday",
									  .holds = HOLDS_WORD,
									  .word = "next",
									  .days_key = "days"},
	[CG_RULE_BOUGHT_ITEM] = {.key = "bought",
							 .holds = HOLDS_WORD,
							 .word = "item",
							 .name_key = "code",
							 .days_key = "last_days",
							 .types = CG_TYPE_NUMBER},
	[CG_RULE_BOUGHT_CATEGORY] = {.key = "bought",
								 .holds = HOLDS_WORD,
								 .word = "category",
								 .name_key = "code",
								 .days_key = "last_days",
								 .types = CG_TYPE_NUMBER},
	[CG_RULE_BOUGHT_BRAND] = {.key = "bought",
							  .holds = HOLDS_WORD,
							  .word = "brand",
							  .name_key = "code",
							  .days_key = "last_days",
							  .types = CG_TYPE_NUMBER},
	[CG_RULE_ATTRIBUTE] = {.key = "attribute",
						   .holds = HOLDS_NAME,
						   .types = CG_TYPE_NUMBER | CG_TYPE_TEXT | CG_TYPE_BOOLEAN},
	[CG_RULE_MEMBER] = {.key = "member_of", .holds = HOLDS_NAME},
	[CG_RULE_TIER] = {.key = "tier_of", .holds = HOLDS_NAME, .types = CG_TYPE_TEXT},
	[CG_RULE_SEGMENT] = {.key = "segment", .holds = HOLDS_NAME},
};

/* An object of the tree, and where it is. */
typedef struct Place
{
	JsonbContainer     *json;
	const struct Place *parent; /* NULL: the root */
	const char         *key;    /* under which the parent holds it */
	int                 index;  /* in an array there, else -1 */
} Place;

static JsonbValue      *get_key(const Place *at, const char *key);
pg_noreturn static void json_error(const Place *at, const char *problem, const char *key,
								   const char *hint);
static CgRuleExpr      *node_from_json(const Place *at, int depth);
static JsonbValue      *push_node(JsonbParseState **state, const CgRuleNode *node);

PG_FUNCTION_INFO_V1(cg_segment_rule_from_jsonb);
PG_FUNCTION_INFO_V1(cg_segment_rule_to_jsonb);

Datum
cg_segment_rule_from_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb *json = PG_GETARG_JSONB_P(0);
	Place  root = {.json = &json->root};

	/* Do not read a quarter of a gigabyte only to find that it is too long. */
	if (VARSIZE(json) > MAX_JSONB_SIZE)
		cg_rule_limit_error(NULL, CG_RULE_MAX_CHARS, "characters");
	PG_RETURN_SEGMENT_RULE_P(cg_rule_build(node_from_json(&root, 0), NULL));
}

Datum
cg_segment_rule_to_jsonb(PG_FUNCTION_ARGS)
{
	JsonbParseState *state = NULL;

	PG_RETURN_JSONB_P(JsonbValueToJsonb(push_node(&state, &PG_GETARG_SEGMENT_RULE_P(0)->root)));
}

/* ------------------------------------------------------------------------
 * From jsonb.  A cast has no soft errors, so these functions throw.
 * ------------------------------------------------------------------------
 */

/* Appends the path to an object, as jsonpath writes it. */
static void
append_path(StringInfo path, const Place *at)
{
	if (at->parent == NULL)
	{
		appendStringInfoChar(path, '$');
		return;
	}
	append_path(path, at->parent);
	appendStringInfo(path, ".%s", at->key);
	if (at->index >= 0)
		appendStringInfo(path, "[%d]", at->index);
}

/* A key as jsonpath writes it: in quotes, unless it is a plain word. */
static void
escape_key(StringInfo path, const char *key)
{
	if (key[0] != '\0' && strspn(key, "abcdefghijklmnopqrstuvwxyz_") == strlen(key))
		appendStringInfoString(path, key);
	else
		escape_json(path, key);
}

/* Throws; the detail says what the problem is with which word of which object. */
static void
json_error(const Place *at, const char *problem, const char *key, const char *hint)
{
	char          *object = JsonbToCString(NULL, at->json, 0);
	int            len = pg_mbcliplen(object, strlen(object), MAX_OBJECT_IN_DETAIL);
	StringInfoData path;

	initStringInfo(&path);
	append_path(&path, at);
	if (JsonContainerIsObject(at->json) && get_key(at, key) != NULL)
	{
		appendStringInfoChar(&path, '.');
		escape_key(&path, key);
	}

	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid jsonb for type %s", "segment_rule"),
					errdetail("%s \"%s\" at %s, in %s%s", problem, key, path.data,
							  pnstrdup(object, len), object[len] ? " ..." : "."),
					errhint("%s", hint)));
}

/* The value of a key, NULL where it is missing. */
static JsonbValue *
get_key(const Place *at, const char *key)
{
	return getKeyJsonValueFromContainer(at->json, key, strlen(key), NULL);
}

/* The value of a key that must be there. */
static JsonbValue *
need_key(const Place *at, const char *key)
{
	JsonbValue *value = get_key(at, key);

	if (value == NULL)
		json_error(at, "Missing key", key, "The condition is not complete without it.");
	return value;
}

static char *
need_string(const Place *at, const char *key)
{
	JsonbValue *value = need_key(at, key);

	if (value->type != jbvString)
		json_error(at, "Wrong type of", key, "It takes a string.");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* The object in a value, or the array if that is asked for. */
static JsonbContainer *
need_container(const Place *at, const char *key, const JsonbValue *value, bool array)
{
	JsonbContainer *container = value->type == jbvBinary ? value->val.binary.data : NULL;

	if (container == NULL ||
		!(array ? JsonContainerIsArray(container) : JsonContainerIsObject(container)))
		json_error(at, "Wrong type of", key,
				   array ? "It takes an array." : "It takes an object, or objects in an array.");
	return container;
}

/* The kind of node, told by a key and, where kinds share it, by its word. */
static CgRuleKind
kind_from_json(const Place *at)
{
	const char *shared = NULL;
	int         kind;

	for (kind = 1; kind <= CG_RULE_LAST_KIND; kind++)
	{
		const Shape *shape = &shapes[kind];

		if (shape->key == NULL || get_key(at, shape->key) == NULL)
			continue;
		if (shape->holds != HOLDS_WORD || strcmp(need_string(at, shape->key), shape->word) == 0)
			return kind;
		shared = shape->key;
	}
	if (shared != NULL)
		json_error(at, "Unknown value of", shared,
				   "birthday takes today, this_month, month or next; bought takes item, category "
				   "or brand.");
	json_error(at, "Missing key of a", "condition",
			   "The key is one of and, or, not, all, metric, date, days_since, within, birthday, "
			   "bought, attribute, member_of, tier_of and segment.");
}

/* Refuses keys that the shape does not have. */
static void
check_keys(const Place *at, const Shape *shape)
{
	const char *known[] = {shape->key, shape->name_key, shape->days_key, shape->types ? "op" : NULL,
						   shape->types ? "value" : NULL};
	JsonbIterator     *it = JsonbIteratorInit(at->json);
	JsonbIteratorToken token;
	JsonbValue         v;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		bool   found = false;
		char  *key;
		size_t i;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		for (i = 0; i < lengthof(known); i++)
			found |= known[i] != NULL && strcmp(known[i], key) == 0;
		if (!found)
			json_error(at, "Unexpected key", key, "A key that says nothing there is refused.");
	}
}

static CgRuleMetric
metric_from_json(const Place *at, const Shape *shape)
{
	char        *name = need_string(at, shape->key);
	CgRuleMetric metric;

	if (!cg_metric_from_cstring(name, &metric) ||
		cg_metric_is_date(metric) != (shape->holds == HOLDS_DATE_METRIC))
		json_error(at, shape->holds == HOLDS_METRIC ? "Unknown metric" : "Unknown date", name,
				   CG_RULE_METRICS ".");
	return metric;
}

/* The days, or -1 where a window is left out; or the month. */
static int32
days_from_json(const Place *at, const CgRuleExpr *expr, const Shape *shape)
{
	bool        is_month = expr->kind == CG_RULE_BIRTHDAY_IN_MONTH;
	JsonbValue *value = get_key(at, shape->days_key);
	int32       days;

	if (value == NULL && shape->types)
		return -1;
	if (expr->metric && shape->types && !cg_metric_has_window(expr->metric))
		json_error(at, "Unexpected key", shape->days_key, CG_RULE_WINDOW_HINT);
	value = need_key(at, shape->days_key);
	if (value->type != jbvNumeric ||
		!cg_rule_int_from_cstring(numeric_normalize(value->val.numeric), is_month ? 1 : 0,
								  is_month ? 12 : CG_RULE_MAX_DAYS, &days))
		json_error(at, "Wrong value of", shape->days_key,
				   is_month ? CG_RULE_MONTH_HINT : CG_RULE_DAYS_HINT);
	return days;
}

static CgRuleOp
op_from_json(const Place *at)
{
	char *name = need_string(at, "op");
	int   op;

	for (op = CG_OP_EQ; op <= CG_OP_IN; op++)
	{
		if (pg_strcasecmp(cg_op_name(op), name) == 0)
			return op;
	}
	json_error(at, "Unknown operator", name, "Operators are =, <>, <, <=, >, >=, between and in.");
}

/* Adds one value, which must be of the type of those before. */
static void
add_value(CgRuleExpr *expr, const Place *at, const Shape *shape, const JsonbValue *value)
{
	CgRuleType type = CG_TYPE_NONE;
	Numeric    number;
	int32      date;

	if (value->type == jbvNumeric)
		type = CG_TYPE_NUMBER;
	else if (value->type == jbvString)
		type = shape->types & CG_TYPE_DATE ? CG_TYPE_DATE : CG_TYPE_TEXT;
	else if (value->type == jbvBool)
		type = CG_TYPE_BOOLEAN;
	if (!(shape->types & type) || (expr->args != NIL && type != expr->type))
		json_error(at, "Wrong type of", "value",
				   "Metrics compare with numbers, dates and tiers with strings, an attribute with "
				   "either or with true and false, but not with several kinds at once.");
	expr->type = type;

	switch (type)
	{
		case CG_TYPE_NUMBER:
			if (!cg_rule_number(value->val.numeric, &number))
				json_error(at, "Overlong number as", "value", CG_RULE_NUMBER_HINT);
			expr->args = lappend(expr->args, number);
			break;
		case CG_TYPE_DATE:
			if (!cg_rule_date_from_cstring(pnstrdup(value->val.string.val, value->val.string.len),
										   &date))
				json_error(at, "Invalid date as", "value", CG_RULE_DATE_HINT);
			expr->args = lappend_int(expr->args, date);
			break;
		case CG_TYPE_TEXT:
			if (!cg_op_is_of_equality(expr->op))
				json_error(at, "Text is not compared by", cg_op_name(expr->op),
						   CG_RULE_TEXT_OP_HINT);
			expr->args = lappend(
				expr->args, cstring_to_text_with_len(value->val.string.val, value->val.string.len));
			break;
		case CG_TYPE_BOOLEAN:
			if (!cg_op_is_of_equality(expr->op))
				json_error(at, "true and false are not compared by", cg_op_name(expr->op),
						   CG_RULE_BOOLEAN_OP_HINT);
			expr->args = lappend_int(expr->args, value->val.boolean);
			break;
		case CG_TYPE_NONE:
			Assert(false);
	}
}

static void
test_from_json(CgRuleExpr *expr, const Place *at, const Shape *shape)
{
	JsonbValue     *value;
	JsonbContainer *array;
	uint32          i;

	expr->op = op_from_json(at);
	value = need_key(at, "value");
	if (expr->op != CG_OP_BETWEEN && expr->op != CG_OP_IN)
	{
		add_value(expr, at, shape, value);
		return;
	}

	array = need_container(at, "value", value, true);
	if (expr->op == CG_OP_BETWEEN ? JsonContainerSize(array) != 2 : JsonContainerSize(array) == 0)
		json_error(at, "Wrong number of values for", cg_op_name(expr->op),
				   "between takes two values, in takes one or more.");
	for (i = 0; i < JsonContainerSize(array); i++)
		add_value(expr, at, shape, getIthJsonbValueFromContainer(array, i));
}

/*
 * The chain of an AND's or OR's children.  A chain of one is that one, as
 * builders that start from an empty list make it.
 */
static CgRuleExpr *
chain_from_json(CgRuleKind kind, const Place *at, const char *key, int depth)
{
	JsonbContainer *array = need_container(at, key, need_key(at, key), true);
	CgRuleExpr     *chain = NULL;
	uint32          i;

	if (JsonContainerSize(array) == 0)
		json_error(at, "Too few conditions for", key, "It takes at least one condition.");
	for (i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(array, i);
		Place       place = {need_container(at, key, value, false), at, key, i};
		CgRuleExpr *child = node_from_json(&place, depth);

		chain = chain ? cg_rule_chain(kind, chain, child) : child;
	}
	return chain;
}

static CgRuleExpr *
node_from_json(const Place *at, int depth)
{
	CgRuleExpr  *expr;
	const Shape *shape;
	JsonbValue  *value;
	Place        child;

	check_stack_depth();

	if (!JsonContainerIsObject(at->json))
		json_error(at, "Wrong type of", "rule", "A rule is an object, like {\"all\": true}.");
	if (depth > CG_RULE_MAX_DEPTH)
		cg_rule_limit_error(NULL, CG_RULE_MAX_DEPTH, "nested levels");

	expr = cg_rule_expr();
	expr->kind = kind_from_json(at);
	shape = &shapes[expr->kind];
	check_keys(at, shape);
	value = need_key(at, shape->key);

	switch (shape->holds)
	{
		case HOLDS_CHILDREN:
			return chain_from_json(expr->kind, at, shape->key, depth + 1);
		case HOLDS_CHILD:
			child = (Place){need_container(at, shape->key, value, false), at, shape->key, -1};
			expr->args = list_make1(node_from_json(&child, depth + 1));
			break;
		case HOLDS_TRUE:
			if (value->type != jbvBool || !value->val.boolean)
				json_error(at, "Wrong value of", shape->key, "It takes true.");
			break;
		case HOLDS_METRIC:
		case HOLDS_DATE_METRIC:
			expr->metric = metric_from_json(at, shape);
			break;
		case HOLDS_NAME:
		case HOLDS_WORD:
			break;
	}
	if (cg_rule_has_name(expr->kind))
		expr->name = cstring_to_text(
			need_string(at, shape->name_key ? shape->name_key : shape->key));
	if (shape->days_key)
		expr->days = days_from_json(at, expr, shape);
	if (shape->types)
		test_from_json(expr, at, shape);
	return expr;
}

/* ------------------------------------------------------------------------
 * To jsonb
 * ------------------------------------------------------------------------
 */

static void
push_word(JsonbParseState **state, const char *word)
{
	cg_push_string(state, WJB_VALUE, word, strlen(word));
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const text *str)
{
	cg_push_string(state, token, VARDATA(str), VARSIZE(str) - VARHDRSZ);
}

static void
push_number(JsonbParseState **state, JsonbIteratorToken token, Numeric number)
{
	JsonbValue v;

	v.type = jbvNumeric;
	v.val.numeric = number;
	pushJsonbValue(state, token, &v);
}

static void
push_boolean(JsonbParseState **state, JsonbIteratorToken token, bool boolean)
{
	JsonbValue v;

	v.type = jbvBool;
	v.val.boolean = boolean;
	pushJsonbValue(state, token, &v);
}

/* One value of a condition, in an array or alone. */
static void
push_value(JsonbParseState **state, JsonbIteratorToken token, const CgRuleNode *node,
		   const char *value)
{
	Datum          datum = cg_rule_value_datum(node, value);
	StringInfoData date;

	switch ((CgRuleType) node->type)
	{
		case CG_TYPE_NUMBER:
			push_number(state, token, DatumGetNumeric(datum));
			break;
		case CG_TYPE_DATE:
			initStringInfo(&date);
			cg_rule_print_date(&date, DatumGetDateADT(datum));
			cg_push_string(state, token, date.data, date.len);
			break;
		case CG_TYPE_TEXT:
			push_text(state, token, (const text *) value);
			break;
		case CG_TYPE_BOOLEAN:
			push_boolean(state, token, DatumGetBool(datum));
			break;
		case CG_TYPE_NONE:
			elog(ERROR, "condition without values: %d", (int) node->kind);
	}
}

static void
push_test(JsonbParseState **state, const CgRuleNode *node)
{
	const char *value = cg_rule_value(node);
	bool        array = node->op == CG_OP_BETWEEN || node->op == CG_OP_IN;
	char       *op = asc_tolower(cg_op_name(node->op), strlen(cg_op_name(node->op)));
	int         i;

	cg_push_key(state, "op");
	push_word(state, op);
	cg_push_key(state, "value");
	if (array)
		pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
		push_value(state, array ? WJB_ELEM : WJB_VALUE, node, value);
	if (array)
		pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* Pushes a node as an object; what is returned is of use at the root only. */
static JsonbValue *
push_node(JsonbParseState **state, const CgRuleNode *node)
{
	const Shape      *shape = &shapes[node->kind];
	const CgRuleNode *child = cg_rule_child(node);
	int               i;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	cg_push_key(state, shape->key);
	switch (shape->holds)
	{
		case HOLDS_CHILDREN:
			pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
			for (i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
				push_node(state, child);
			pushJsonbValue(state, WJB_END_ARRAY, NULL);
			break;
		case HOLDS_CHILD:
			push_node(state, child);
			break;
		case HOLDS_TRUE:
			push_boolean(state, WJB_VALUE, true);
			break;
		case HOLDS_METRIC:
		case HOLDS_DATE_METRIC:
			push_word(state, cg_metric_name(node->metric));
			break;
		case HOLDS_NAME:
			push_text(state, WJB_VALUE, cg_rule_name(node));
			break;
		case HOLDS_WORD:
			push_word(state, shape->word);
			break;
	}
	if (shape->name_key)
	{
		cg_push_key(state, shape->name_key);
		push_text(state, WJB_VALUE, cg_rule_name(node));
	}
	if (shape->days_key && node->days >= 0)
	{
		cg_push_key(state, shape->days_key);
		push_number(state, WJB_VALUE, int64_to_numeric(node->days));
	}
	if (shape->types)
		push_test(state, node);
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}
