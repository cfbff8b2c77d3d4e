/*-------------------------------------------------------------------------
 *
 * segment_rule_out.c
 *	  The canonical text of a segment_rule.
 *
 * One spelling for each tree: keywords as the documentation writes them,
 * metrics, true and false in lower case, numbers in plain decimals, dates as
 * quoted ISO dates, one blank between words, and parentheses only where
 * precedence asks for them.  Reading it gives the same value again, byte for
 * byte.
 *
 * Memory is the caller's context.  No table is read, no lock is taken.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "segment_rule_internal.h"

static void print_node(StringInfo out, const CgRuleNode *node);
static void print_condition(StringInfo out, const CgRuleNode *node);
static void print_test(StringInfo out, const CgRuleNode *node);
static void print_value(StringInfo out, const CgRuleNode *node, const char *value);
static void print_quoted(StringInfo out, const text *str);

char *
cg_rule_to_cstring(const SegmentRule *rule)
{
	StringInfoData out;

	initStringInfo(&out);
	print_node(&out, &rule->root);
	return out.data;
}

/* Appends the text of a node. */
static void
print_node(StringInfo out, const CgRuleNode *node)
{
	const CgRuleNode *child = cg_rule_child(node);
	int               i;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	if (!cg_rule_is_boolean(node))
	{
		print_condition(out, node);
		return;
	}
	if (node->kind == CG_RULE_NOT)
		appendStringInfoString(out, "NOT ");
	for (i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
	{
		/* the kinds are ordered by precedence */
		bool looser = child->kind < node->kind;

		if (i > 0)
			appendStringInfoString(out, node->kind == CG_RULE_AND ? " AND " : " OR ");
		if (looser)
			appendStringInfoChar(out, '(');
		print_node(out, child);
		if (looser)
			appendStringInfoChar(out, ')');
	}
}

static void
print_condition(StringInfo out, const CgRuleNode *node)
{
	switch ((CgRuleKind) node->kind)
	{
		case CG_RULE_ALL:
			appendStringInfoString(out, "ALL");
			break;
		case CG_RULE_METRIC:
		case CG_RULE_DATE:
			appendStringInfoString(out, cg_metric_name(node->metric));
			break;
		case CG_RULE_DAYS_SINCE:
			appendStringInfo(out, "days_since(%s)", cg_metric_name(node->metric));
			break;
		case CG_RULE_WITHIN:
			appendStringInfo(out, "%s WITHIN %d DAYS", cg_metric_name(node->metric), node->days);
			break;
		case CG_RULE_BIRTHDAY_TODAY:
			appendStringInfoString(out, "birthday TODAY");
			break;
		case CG_RULE_BIRTHDAY_THIS_MONTH:
			appendStringInfoString(out, "birthday IN THIS MONTH");
			break;
		case CG_RULE_BIRTHDAY_IN_MONTH:
			appendStringInfo(out, "birthday IN MONTH %d", node->days);
			break;
		case CG_RULE_BIRTHDAY_WITHIN_NEXT:
			appendStringInfo(out, "birthday WITHIN NEXT %d DAYS", node->days);
			break;
		case CG_RULE_BOUGHT_ITEM:
			appendStringInfoString(out, "bought ITEM ");
			break;
		case CG_RULE_BOUGHT_CATEGORY:
			appendStringInfoString(out, "bought CATEGORY ");
			break;
		case CG_RULE_BOUGHT_BRAND:
			appendStringInfoString(out, "bought BRAND ");
			break;
		case CG_RULE_ATTRIBUTE:
			appendStringInfoString(out, "attribute ");
			break;
		case CG_RULE_MEMBER:
			appendStringInfoString(out, "member OF ");
			break;
		case CG_RULE_TIER:
			appendStringInfoString(out, "tier OF ");
			break;
		case CG_RULE_SEGMENT:
			appendStringInfoString(out, "in SEGMENT ");
			break;
		case CG_RULE_OR:
		case CG_RULE_AND:
		case CG_RULE_NOT:
			elog(ERROR, "not a condition: %d", (int) node->kind);
	}

	if (cg_rule_has_name(node->kind))
		print_quoted(out, cg_rule_name(node));
	if (node->op != CG_OP_NONE)
		print_test(out, node);
}

/* The window, the operator and the values. */
static void
print_test(StringInfo out, const CgRuleNode *node)
{
	const char *value = cg_rule_value(node);
	int         i;

	if (node->days >= 0)
		appendStringInfo(out, " IN LAST %d DAYS", node->days);
	appendStringInfo(out, " %s ", cg_op_name(node->op));
	if (node->op == CG_OP_IN)
		appendStringInfoChar(out, '(');
	for (i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
	{
		if (i > 0)
			appendStringInfoString(out, node->op == CG_OP_IN ? ", " : " AND ");
		print_value(out, node, value);
	}
	if (node->op == CG_OP_IN)
		appendStringInfoChar(out, ')');
}

static void
print_value(StringInfo out, const CgRuleNode *node, const char *value)
{
	Datum datum = cg_rule_value_datum(node, value);

	switch ((CgRuleType) node->type)
	{
		case CG_TYPE_NUMBER:
			appendStringInfoString(out, DatumGetCString(DirectFunctionCall1(numeric_out, datum)));
			break;
		case CG_TYPE_DATE:
			appendStringInfoChar(out, '\'');
			cg_rule_print_date(out, DatumGetDateADT(datum));
			appendStringInfoChar(out, '\'');
			break;
		case CG_TYPE_TEXT:
			print_quoted(out, (const text *) value);
			break;
		case CG_TYPE_BOOLEAN:
			appendStringInfoString(out, DatumGetBool(datum) ? "true" : "false");
			break;
		case CG_TYPE_NONE:
			elog(ERROR, "condition without values: %d", (int) node->kind);
	}
}

/* Appends the date as YYYY-MM-DD, whatever DateStyle says. */
void
cg_rule_print_date(StringInfo out, DateADT date)
{
	int year, month, day;

	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	appendStringInfo(out, "%04d-%02d-%02d", year, month, day);
}

static void
print_quoted(StringInfo out, const text *str)
{
	const char *c = VARDATA(str);
	const char *end = c + VARSIZE(str) - VARHDRSZ;

	appendStringInfoChar(out, '\'');
	for (; c < end; c++)
	{
		if (*c == '\'')
			appendStringInfoChar(out, '\'');
		appendStringInfoChar(out, *c);
	}
	appendStringInfoChar(out, '\'');
}
