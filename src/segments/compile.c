/*
 * compile.c
 *		Rules as conditions in SQL, for many customers at once.
 *
 * What a rule means is said by evaluate.c; this file says the same in SQL, so
 * that the planner chooses how to find all who fulfil it.  For
 *
 *		visits >= 10 AND NOT last_visit WITHIN 30 DAYS AND member OF 'b2b'
 *
 * the condition is, with each operator and function written by its schema,
 *
 *		f.visits >= 10
 *		AND (f.last_visit_at >= '2026-02-08 15:00:00+00'
 *			 AND f.last_visit_at < '2026-03-10 15:00:00+00') IS NOT TRUE
 *		AND EXISTS (SELECT FROM customer_groups.members AS m
 *					WHERE m.customer_id = f.customer_id AND m.group_id = 7 AND ...)
 *
 * - Everything that is the same for all customers is worked out here: days become
 *	 ranges of times, codes become ids, both as the snapshot reads them.  Columns
 *	 stand alone on their side of an operator, so that indexes fit.
 * - Null counts as false, and so does a condition on what is missing.  AND and OR
 *	 keep that by themselves; where a condition may be null, NOT of it is written
 *	 IS NOT TRUE.
 * - What is not in the facts is looked up by sub-queries of the customer.  Where they
 *	 can hold only for who has a row there, they are or begin with an EXISTS, which
 *	 lets the planner start at that end if there are few.
 * - A segment that is named once is written in place.  One that is named more often
 *	 is a column of a lateral sub-query beside the facts, which OFFSET keeps the
 *	 planner from writing in place: it is evaluated once for a customer, and the
 *	 text grows with the number of segments, however deep they are nested.
 *
 * Memory is the caller's context.  Nothing is read but the caches.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "calendar/calendar.h"
#include "promotions/promotions.h"
#include "segments/compile.h"
#include "segments/segments.h"

/* Levels of AND, OR, NOT and segments in one expression, over which a segment gets its own. */
#define MAX_DEPTH 100

/* What is known of a segment. */
typedef enum SegmentState
{
	UNSEEN,
	ON_PATH,
	COUNTED,
	WRITTEN /* into from */
} SegmentState;

typedef struct Compiler
{
	const CgDefinitions *definitions;
	const CgSegments    *segments;
	DateADT              today;
	int                 *uses;   /* of segments, by place */
	uint8               *states; /* SegmentState */
	StringInfoData       from;
	bool                 subqueries;
} Compiler;

static void append_rule(Compiler *compiler, StringInfo out, const CgRuleNode *node, bool negated,
						int depth);

/* ------------------------------------------------------------------------
 * Conditions
 * ------------------------------------------------------------------------
 */

static pg_tz *
zone_of(const Compiler *compiler)
{
	return compiler->definitions->settings.timezone;
}

/* Appends the condition that a sale is of the last days; nothing where there is no window. */
static void
append_window(const Compiler *compiler, StringInfo out, const CgRuleNode *node)
{
	if (node->days < 0)
		return;
	appendStringInfoString(out, " AND ");
	cg_append_days(out, zone_of(compiler), "s.sold_at",
				   (CgRange){(int64) compiler->today - node->days, compiler->today});
}

/* registered, first_visit and last_visit, in any form of condition. */
static void
append_date(const Compiler *compiler, StringInfo out, const CgRuleNode *node)
{
	static const char *const columns[] = {"f.registered_at", "f.first_visit_at", "f.last_visit_at"};
	const char              *column = columns[node->metric - CG_METRIC_REGISTERED];
	int64                    today = compiler->today;
	CgRange                 *ranges;
	int                      n;

	if (node->kind == CG_RULE_WITHIN)
	{
		cg_append_days(out, zone_of(compiler), column, (CgRange){today - node->days, today});
		return;
	}
	n = cg_passing_ranges(node, &ranges);
	if (n == 0)
		appendStringInfoString(out, "false");
	for (int i = 0; i < n; i++)
	{
		CgRange days = ranges[i];

		/* So many days before today. */
		if (node->kind == CG_RULE_DAYS_SINCE)
		{
			days.low = ranges[i].high == PG_INT64_MAX ? PG_INT64_MIN : today - ranges[i].high;
			days.high = ranges[i].low == PG_INT64_MIN ? PG_INT64_MAX : today - ranges[i].low;
		}
		if (i > 0)
			appendStringInfoString(out, " OR ");
		cg_append_days(out, zone_of(compiler), column, days);
	}
}

/*
 * The birthdays of the year that a condition means, as ranges of month_day(), the
 * expression that is indexed.
 */
static void
append_birthday(const Compiler *compiler, StringInfo out, const CgRuleNode *node)
{
	static const int lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int              low = 0;
	int              high = 0;
	int              meant = 0;
	int              n = 0;
	StringInfoData   ranges;

	initStringInfo(&ranges);
	for (int month = 1; month <= 13; month++)
		for (int day = 1; day <= (month <= 12 ? lengths[month - 1] : 1); day++)
		{
			if (month <= 12 && cg_is_birthday(node, compiler->today, month, day))
			{
				high = month * 100 + day;
				low = low == 0 ? high : low;
				meant++;
				continue;
			}
			if (low == 0)
				continue;
			appendStringInfoString(&ranges, n++ > 0 ? " OR (" : "(");
			if (low == high)
				appendStringInfo(&ranges, "customer_groups.month_day(f.birth_date) " EQ " %d", low);
			else
				appendStringInfo(&ranges,
								 "customer_groups.month_day(f.birth_date) " GE
								 " %d AND customer_groups.month_day(f.birth_date) " LE " %d",
								 low, high);
			appendStringInfoChar(&ranges, ')');
			low = 0;
		}
	if (meant == 366)
		appendStringInfoString(out, "f.birth_date IS NOT NULL");
	else
		appendStringInfoString(out, n == 0 ? "false" : ranges.data);
}

/* Whether the test of a condition on a number holds for 0. */
static bool
zero_passes(const CgRuleNode *node)
{
	CgRange *ranges;
	int      n = cg_passing_ranges(node, &ranges);

	for (int i = 0; i < n; i++)
		if (ranges[i].low <= 0 && 0 <= ranges[i].high)
			return true;
	return false;
}

/*
 * Appends the test of an aggregate over a customer's sales or lines: what follows
 * SELECT.  Where it fails for those who have none, that there are some is asked for
 * first, so that the planner may begin with the sales rather than the customers.
 */
static void
append_aggregate(StringInfo out, const CgRuleNode *node, const char *test, const char *rows)
{
	/* Without an aggregate there would be a row for each sale. */
	if (strcmp(test, "true") == 0 || strcmp(test, "false") == 0)
		appendStringInfoString(out, test);
	else if (zero_passes(node))
		appendStringInfo(out, "(SELECT %s %s)", test, rows);
	else
		appendStringInfo(out, "EXISTS (SELECT %s) AND (SELECT %s %s)", rows, test, rows);
}

/* A metric over the last days. */
static void
append_window_metric(const Compiler *compiler, StringInfo out, const CgRuleNode *node)
{
	const char    *kind = NULL;
	StringInfoData test;
	StringInfoData rows;

	switch ((CgRuleMetric) node->metric)
	{
		case CG_METRIC_VISITS:
			kind = "product";
			break;
		case CG_METRIC_REFUNDS:
			kind = "refund";
			break;
		case CG_METRIC_NO_SHOWS:
			kind = "no_show";
			break;
		case CG_METRIC_NET_SALES:
			break;
		default:
			elog(ERROR, "metric without a window: %d", node->metric);
	}
	initStringInfo(&rows);
	appendStringInfoString(&rows, "FROM customer_groups.sales AS s "
								  "WHERE s.customer_id " EQ " f.customer_id");
	if (kind != NULL)
		appendStringInfo(&rows, " AND s.kind " EQ " '%s'::customer_groups.sale_kind", kind);
	append_window(compiler, &rows, node);

	initStringInfo(&test);
	if (kind != NULL)
		cg_append_count_test(&test, node, "pg_catalog.count(*)");
	else
		cg_append_number_test(&test, node,
							  "coalesce(pg_catalog.sum(s.amount " TIMES " coalesce(s.rate, 1)), 0)",
							  NULL);
	append_aggregate(out, node, test.data, rows.data);
}

static void
append_metric(const Compiler *compiler, StringInfo out, const CgRuleNode *node)
{
	if (node->days >= 0)
		append_window_metric(compiler, out, node);
	else if (node->metric == CG_METRIC_NET_SALES)
		cg_append_number_test(out, node, "f.net_sales", NULL);
	else if (node->metric == CG_METRIC_AVERAGE_SALE)
	{
		appendStringInfoString(out, "f.visits " GT " 0 AND ");
		cg_append_number_test(out, node, "f.net_sales", "f.visits::pg_catalog.numeric");
	}
	else
		cg_append_count_test(out, node, psprintf("f.%s", cg_metric_name(node->metric)));
}

static void
append_bought(const Compiler *compiler, StringInfo out, const CgRuleNode *node)
{
	const text    *name = cg_rule_name(node);
	int32          id = 0;
	StringInfoData test;
	StringInfoData rows;

	if ((node->kind == CG_RULE_BOUGHT_CATEGORY && !cg_find_code(CG_NAME_CATEGORY, name, &id)) ||
		(node->kind == CG_RULE_BOUGHT_BRAND && !cg_find_code(CG_NAME_BRAND, name, &id)))
	{
		appendStringInfoString(out, "false");
		return;
	}
	initStringInfo(&rows);
	appendStringInfoString(
		&rows, "FROM customer_groups.sale_lines AS l JOIN customer_groups.sales AS s "
			   "ON s.customer_id " EQ " l.customer_id AND s.id " EQ " l.sale_id "
			   "WHERE l.customer_id " EQ " f.customer_id AND s.customer_id " EQ " f.customer_id "
			   "AND s.kind " NE " 'refund'::customer_groups.sale_kind");
	append_window(compiler, &rows, node);
	if (node->kind == CG_RULE_BOUGHT_ITEM)
		appendStringInfo(&rows,
						 " AND l.item_id " EQ " (SELECT i.id FROM customer_groups.items AS i "
						 "WHERE i.external_id " EQ " %s)",
						 cg_text_literal(name));
	else if (node->kind == CG_RULE_BOUGHT_BRAND)
		appendStringInfo(&rows,
						 " AND EXISTS (SELECT FROM customer_groups.items AS i "
						 "WHERE i.id " EQ " l.item_id AND i.brand_id " EQ " %d)",
						 id);
	else
		appendStringInfo(&rows,
						 " AND EXISTS (SELECT FROM customer_groups.item_categories AS c "
						 "WHERE c.item_id " EQ " l.item_id AND c.category_id " EQ " ANY (%s))",
						 cg_ids_literal(cg_categories_in(id)));
	initStringInfo(&test);
	cg_append_number_test(&test, node, "coalesce(pg_catalog.sum(l.quantity), 0)", NULL);
	append_aggregate(out, node, test.data, rows.data);
}

static void
append_attribute(StringInfo out, const CgRuleNode *node)
{
	const char *value = cg_rule_value(node);
	const char *name = cg_text_literal(cg_rule_name(node));

	appendStringInfoString(out, "EXISTS (SELECT FROM customer_groups.customers AS c WHERE c.id " EQ
								" f.customer_id AND ");
	if (node->op == CG_OP_EQ || node->op == CG_OP_IN)
	{
		/* An index on the attributes, if there is one, can find these. */
		for (int i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
			appendStringInfo(out, "%sc.attributes " CONTAINS " %s", i > 0 ? " OR " : "(",
							 cg_attribute_literal(node, value));
		appendStringInfoChar(out, ')');
	}
	else if (node->type != CG_TYPE_NUMBER)
		appendStringInfo(out,
						 "pg_catalog.jsonb_typeof(c.attributes " FIELD " %s) " EQ
						 " '%s' AND NOT c.attributes " CONTAINS " %s",
						 name, node->type == CG_TYPE_TEXT ? "string" : "boolean",
						 cg_attribute_literal(node, value));
	else
	{
		appendStringInfo(out,
						 "CASE WHEN pg_catalog.jsonb_typeof(c.attributes " FIELD " %s) " EQ
						 " 'number' THEN ",
						 name);
		cg_append_number_test(
			out, node, psprintf("(c.attributes " FIELD_TEXT " %s)::pg_catalog.numeric", name),
			NULL);
		appendStringInfoString(out, " ELSE false END");
	}
	appendStringInfoChar(out, ')');
}

/* Appends what a row of members must be: the customer's, of one of the groups, valid today. */
static void
append_membership(const Compiler *compiler, StringInfo out, const char *alias,
				  const char *customer_id, List *groups)
{
	const char *today = cg_date_literal(compiler->today);

	appendStringInfo(out,
					 "SELECT FROM customer_groups.members AS %1$s "
					 "WHERE %1$s.customer_id " EQ " %2$s AND %1$s.group_id " EQ
					 " ANY (%3$s) AND (%1$s.valid_from IS NULL OR "
					 "%1$s.valid_from " LE " %4$s) AND "
					 "(%1$s.valid_until "
					 "IS NULL OR "
					 "%1$s.valid_"
					 "until " GE " %4$s)",
					 alias, customer_id, cg_ids_literal(groups), today);
}

static void
append_member(const Compiler *compiler, StringInfo out, const CgRuleNode *node)
{
	int32          id;
	const CgGroup *group;

	if (!cg_find_code(CG_NAME_GROUP, cg_rule_name(node), &id) ||
		(group = cg_find_group(id)) == NULL || group->starts_on > compiler->today ||
		compiler->today > group->ends_on)
	{
		appendStringInfoString(out, "false");
		return;
	}
	appendStringInfoString(out, "EXISTS (");
	append_membership(compiler, out, "m", "f.customer_id", list_make1_int(id));
	appendStringInfoChar(out, ')');
}

/* Whether the test of a condition on a tier holds for one. */
static bool
is_meant_tier(const CgRuleNode *node, const char *code)
{
	const char *value = cg_rule_value(node);

	for (int i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
		if (strcmp(text_to_cstring((const text *) value), code) == 0)
			return node->op != CG_OP_NE;
	return node->op == CG_OP_NE;
}

/* The present tier is the highest one, should a customer have two. */
static void
append_tier(const Compiler *compiler, StringInfo out, const CgRuleNode *node)
{
	const char *ladder = text_to_cstring(cg_rule_name(node));
	List       *all = NIL; /* tiers in their dates, the highest first */
	List       *meant = NIL;
	List       *others = NIL; /* above one that is meant */
	List       *so_far = NIL;

	for (int i = 0; i < compiler->definitions->ntiers; i++)
	{
		const CgTier *tier = &compiler->definitions->tiers[i];

		if (strcmp(tier->ladder_code, ladder) != 0 || compiler->today < tier->starts_on ||
			compiler->today > tier->ends_on)
			continue;
		all = lappend_int(all, tier->group_id);
		if (is_meant_tier(node, tier->code))
		{
			meant = lappend_int(meant, tier->group_id);
			others = list_copy(so_far);
		}
		else
			so_far = lappend_int(so_far, tier->group_id);
	}
	if (meant == NIL)
	{
		appendStringInfoString(out, "false");
		return;
	}
	appendStringInfoString(out, "EXISTS (");
	append_membership(compiler, out, "m", "f.customer_id", meant);
	if (others != NIL)
	{
		const char *order = cg_ids_literal(all);

		appendStringInfoString(out, " AND NOT EXISTS (");
		append_membership(compiler, out, "h", "m.customer_id", others);
		appendStringInfo(out,
						 " AND pg_catalog.array_position(%1$s, h.group_id) " LT
						 " pg_catalog.array_position(%1$s, m.group_id))",
						 order);
	}
	appendStringInfoChar(out, ')');
}

/*
 * Appends a condition in brackets, or with negated the opposite of one; null only
 * where it is not negated.
 */
static void
append_condition(Compiler *compiler, StringInfo out, const CgRuleNode *node, bool negated)
{
	StringInfoData condition;
	bool           nullable = false;

	initStringInfo(&condition);
	switch ((CgRuleKind) node->kind)
	{
		case CG_RULE_ALL:
			appendStringInfoString(&condition, "true");
			break;
		case CG_RULE_METRIC:
			append_metric(compiler, &condition, node);
			break;
		case CG_RULE_DATE:
		case CG_RULE_DAYS_SINCE:
		case CG_RULE_WITHIN:
			append_date(compiler, &condition, node);
			nullable = node->metric != CG_METRIC_REGISTERED;
			break;
		case CG_RULE_BIRTHDAY_TODAY:
		case CG_RULE_BIRTHDAY_THIS_MONTH:
		case CG_RULE_BIRTHDAY_IN_MONTH:
		case CG_RULE_BIRTHDAY_WITHIN_NEXT:
			append_birthday(compiler, &condition, node);
			nullable = true;
			break;
		case CG_RULE_BOUGHT_ITEM:
		case CG_RULE_BOUGHT_CATEGORY:
		case CG_RULE_BOUGHT_BRAND:
			append_bought(compiler, &condition, node);
			break;
		case CG_RULE_ATTRIBUTE:
			append_attribute(&condition, node);
			break;
		case CG_RULE_MEMBER:
			append_member(compiler, &condition, node);
			break;
		case CG_RULE_TIER:
			append_tier(compiler, &condition, node);
			break;
		default:
			elog(ERROR, "unrecognized condition: %d", node->kind);
	}
	if (node->kind >= CG_RULE_BOUGHT_ITEM || (node->kind == CG_RULE_METRIC && node->days >= 0))
		compiler->subqueries = true;
	if (!negated)
		appendStringInfo(out, "(%s)", condition.data);
	else if (nullable)
		appendStringInfo(out, "((%s) IS NOT TRUE)", condition.data);
	else
		appendStringInfo(out, "(NOT (%s))", condition.data);
}

/* ------------------------------------------------------------------------
 * Rules and segments
 * ------------------------------------------------------------------------
 */

/* Appends that the customer is in the segment at a place, or with negated is not. */
static void
append_segment(Compiler *compiler, StringInfo out, int place, bool negated, int depth)
{
	const CgRuleNode *rule = &compiler->segments->segments[place].rule->root;

	if (compiler->uses[place] == 1 && depth < MAX_DEPTH)
	{
		append_rule(compiler, out, rule, negated, depth + 1);
		return;
	}
	if (compiler->states[place] != WRITTEN)
	{
		StringInfoData condition;

		/* Those that it names come first. */
		initStringInfo(&condition);
		append_rule(compiler, &condition, rule, false, 0);
		appendStringInfo(&compiler->from,
						 "\nCROSS JOIN LATERAL (SELECT (%s) IS TRUE AS is_in OFFSET '0') AS s%d",
						 condition.data, place);
		compiler->states[place] = WRITTEN;
	}
	appendStringInfo(out, "%ss%d.is_in", negated ? "NOT " : "", place);
}

/* Appends a node of a rule, or with negated the opposite, at a depth of the expression. */
static void
append_rule(Compiler *compiler, StringInfo out, const CgRuleNode *node, bool negated, int depth)
{
	const CgRuleNode *child = cg_rule_child(node);
	int32             place;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	switch ((CgRuleKind) node->kind)
	{
		case CG_RULE_AND:
		case CG_RULE_OR:
			appendStringInfoChar(out, '(');
			for (int i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
			{
				if (i > 0)
					appendStringInfoString(out, (node->kind == CG_RULE_AND) != negated ? " AND "
																					   : " OR ");
				append_rule(compiler, out, child, negated, depth + 1);
			}
			appendStringInfoChar(out, ')');
			break;
		case CG_RULE_NOT:
			append_rule(compiler, out, child, !negated, depth + 1);
			break;
		case CG_RULE_SEGMENT:
			if (cg_find_code(CG_NAME_SEGMENT, cg_rule_name(node), &place))
				append_segment(compiler, out, place, negated, depth);
			else
				appendStringInfoString(out, negated ? "true" : "false");
			break;
		default:
			append_condition(compiler, out, node, negated);
	}
}

/* ------------------------------------------------------------------------
 * Queries
 * ------------------------------------------------------------------------
 */

static void count_uses(Compiler *compiler, const CgRuleNode *node);

/* Counts a use of the segment at a place, with the first those of others in its rule. */
static void
count_segment(Compiler *compiler, int place)
{
	if (compiler->states[place] == ON_PATH)
		cg_raise_circle(&compiler->segments->segments[place]);
	if (compiler->uses[place]++ > 0)
		return;
	compiler->states[place] = ON_PATH;
	count_uses(compiler, &compiler->segments->segments[place].rule->root);
	compiler->states[place] = COUNTED;
}

static void
count_uses(Compiler *compiler, const CgRuleNode *node)
{
	const CgRuleNode *child = cg_rule_child(node);
	int32             place;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	if (cg_rule_is_boolean(node))
		for (int i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
			count_uses(compiler, child);
	else if (node->kind == CG_RULE_SEGMENT &&
			 cg_find_code(CG_NAME_SEGMENT, cg_rule_name(node), &place))
		count_segment(compiler, place);
}

/* The place of the segment that a rule in the cache is of, or -1. */
static int
place_of(const Compiler *compiler, const SegmentRule *rule)
{
	for (int i = 0; i < compiler->segments->n; i++)
		if (compiler->segments->segments[i].rule == rule)
			return i;
	return -1;
}

/*
 * Compiles rules for one query about a finite time, as segments.h describes.  A rule
 * that stands in the cache of segments is that segment, which other rules may name.
 * Raises 55000 for segments that go round in a circle; the caller has checked the
 * rights and the names.
 */
CgCompiledRules
cg_compile_rules(const SegmentRule *const *rules, int n, TimestampTz at, Snapshot snapshot)
{
	Compiler        compiler;
	CgCompiledRules result;

	compiler.definitions = cg_definitions(snapshot);
	compiler.segments = cg_segments(snapshot);
	compiler.today = cg_day_of(at, zone_of(&compiler));
	compiler.uses = palloc0(Max(compiler.segments->n, 1) * sizeof(int));
	compiler.states = palloc0(Max(compiler.segments->n, 1));
	compiler.subqueries = false;
	initStringInfo(&compiler.from);
	appendStringInfoString(&compiler.from, "customer_groups.customer_facts AS f");

	for (int i = 0; i < n; i++)
	{
		int place = place_of(&compiler, rules[i]);

		if (place >= 0)
			count_segment(&compiler, place);
		else
			count_uses(&compiler, &rules[i]->root);
	}
	result.conditions = palloc(Max(n, 1) * sizeof(char *));
	for (int i = 0; i < n; i++)
	{
		int            place = place_of(&compiler, rules[i]);
		StringInfoData condition;

		initStringInfo(&condition);
		if (place >= 0)
			append_segment(&compiler, &condition, place, false, 0);
		else
			append_rule(&compiler, &condition, &rules[i]->root, false, 0);
		result.conditions[i] = condition.data;
	}
	result.from = compiler.from.data;
	result.subqueries = compiler.subqueries;
	return result;
}
