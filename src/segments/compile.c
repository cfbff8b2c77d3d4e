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
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "calendar/calendar.h"
#include "promotions/promotions.h"
#include "segments/segments.h"

#define OP(name) "OPERATOR(pg_catalog." name ")"
#define EQ OP("=")
#define NE OP("<>")
#define LT OP("<")
#define LE OP("<=")
#define GT OP(">")
#define GE OP(">=")
#define TIMES OP("*")
#define FIELD OP("->")
#define FIELD_TEXT OP("->>")
#define CONTAINS OP("@>")

/* Levels of AND, OR, NOT and segments in one expression, over which a segment gets its own. */
#define MAX_DEPTH 100

/* Days that a calendar day in any time zone may be away from the one in UTC. */
#define MOST_DAYS_FROM_UTC 8

/* Days that no timestamp reaches. */
#define FIRST_DAY (-3000000)
#define LAST_DAY 110000000

/* No number of visits or days comes near it. */
#define FAR INT64CONST(1000000000000000000)

/* Whole numbers from low to high; PG_INT64_MIN and PG_INT64_MAX: no limit. */
typedef struct Range
{
	int64 low;
	int64 high;
} Range;

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
 * Literals
 * ------------------------------------------------------------------------
 */

static char *
text_literal(const text *value)
{
	return psprintf("%s::pg_catalog.text", quote_literal_cstr(text_to_cstring(value)));
}

/* A minus would be an operator, which is looked up by name. */
static char *
integer_literal(int64 value)
{
	return value >= 0 ? psprintf(INT64_FORMAT, value)
					  : psprintf("'" INT64_FORMAT "'::pg_catalog.int8", value);
}

static char *
number_text(const CgRuleNode *node, const char *value)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, cg_rule_value_datum(node, value)));
}

static char *
date_literal(DateADT day)
{
	struct pg_tm tm = {0};
	char         buf[MAXDATELEN + 1];

	j2date(day + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	EncodeDateOnly(&tm, USE_ISO_DATES, buf);
	return psprintf("'%s'::pg_catalog.date", buf);
}

/* A time in UTC, which reads the same under all settings. */
static char *
time_literal(TimestampTz at)
{
	struct pg_tm tm;
	fsec_t       fsec;
	int          tz = 0;
	char         buf[MAXDATELEN + 1];

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	tm.tm_isdst = 0;
	EncodeDateTime(&tm, fsec, true, tz, NULL, USE_ISO_DATES, buf);
	return psprintf("'%s'::pg_catalog.timestamptz", buf);
}

static char *
ids_literal(List *ids)
{
	StringInfoData out;
	ListCell      *lc;

	initStringInfo(&out);
	appendStringInfoString(&out, "'{");
	foreach (lc, ids)
		appendStringInfo(&out, "%s%d", lc == list_head(ids) ? "" : ",", lfirst_int(lc));
	appendStringInfoString(&out, "}'::pg_catalog.int4[]");
	return out.data;
}

/* The object {name: value} of a condition on an attribute. */
static char *
attribute_literal(const CgRuleNode *node, const char *value)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	escape_json(&out, text_to_cstring(cg_rule_name(node)));
	appendStringInfoString(&out, ": ");
	if (node->type == CG_TYPE_NUMBER)
		appendStringInfoString(&out, number_text(node, value));
	else if (node->type == CG_TYPE_BOOLEAN)
		appendStringInfoString(&out,
							   DatumGetBool(cg_rule_value_datum(node, value)) ? "true" : "false");
	else
		escape_json(&out, text_to_cstring((const text *) value));
	appendStringInfoChar(&out, '}');
	return psprintf("%s::pg_catalog.jsonb", quote_literal_cstr(out.data));
}

/* ------------------------------------------------------------------------
 * Tests of numbers
 * ------------------------------------------------------------------------
 */

static const char *
operator_of(CgRuleOp op)
{
	return psprintf(OP("%s"), cg_op_name(op));
}

/*
 * Appends the test of a condition on a number.  Each value is multiplied by a
 * factor, unless that is NULL.
 */
static void
append_number_test(StringInfo out, const CgRuleNode *node, const char *number, const char *factor)
{
	const char *value = cg_rule_value(node);
	const char *times = factor == NULL ? "" : psprintf(" " TIMES " %s", factor);

	appendStringInfoChar(out, '(');
	if (node->op == CG_OP_BETWEEN)
		appendStringInfo(out,
						 "%s " GE " ('%s'::pg_catalog.numeric%s) AND "
						 "%s " LE " ('%s'::pg_catalog.numeric%s)",
						 number, number_text(node, value), times, number,
						 number_text(node, cg_rule_next_value(node, value)), times);
	else
		for (int i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
			appendStringInfo(out, "%s%s %s ('%s'::pg_catalog.numeric%s)", i > 0 ? " OR " : "",
							 number, operator_of(node->op == CG_OP_IN ? CG_OP_EQ : node->op),
							 number_text(node, value), times);
	appendStringInfoChar(out, ')');
}

/* The largest whole number that is not above a number, or with up the smallest not below it. */
static int64
whole_number(Datum number, bool up)
{
	Datum whole = DirectFunctionCall1(up ? numeric_ceil : numeric_floor, number);

	if (DatumGetBool(
			DirectFunctionCall2(numeric_gt, whole, NumericGetDatum(int64_to_numeric(FAR)))))
		return FAR;
	if (DatumGetBool(
			DirectFunctionCall2(numeric_lt, whole, NumericGetDatum(int64_to_numeric(-FAR)))))
		return -FAR;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, whole));
}

/*
 * The whole numbers, or days, that pass the test of a condition, as ranges; the
 * number of them.
 */
static int
passing_ranges(const CgRuleNode *node, Range **ranges)
{
	const char *value = cg_rule_value(node);
	int         n = 0;

	*ranges = palloc((node->nargs + 1) * sizeof(Range));
	for (int i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
	{
		Datum datum = cg_rule_value_datum(node, value);
		bool  is_date = node->type == CG_TYPE_DATE;
		int64 below = is_date ? DatumGetDateADT(datum) : whole_number(datum, false);
		int64 above = is_date ? DatumGetDateADT(datum) : whole_number(datum, true);

		switch ((CgRuleOp) node->op)
		{
			case CG_OP_EQ:
			case CG_OP_IN:
				if (below == above)
					(*ranges)[n++] = (Range){above, below};
				break;
			case CG_OP_NE:
				(*ranges)[n++] = (Range){PG_INT64_MIN, PG_INT64_MAX};
				if (below == above)
				{
					(*ranges)[n - 1].high = below - 1;
					(*ranges)[n++] = (Range){above + 1, PG_INT64_MAX};
				}
				break;
			case CG_OP_LT:
				(*ranges)[n++] = (Range){PG_INT64_MIN, above - 1};
				break;
			case CG_OP_LE:
				(*ranges)[n++] = (Range){PG_INT64_MIN, below};
				break;
			case CG_OP_GT:
				(*ranges)[n++] = (Range){below + 1, PG_INT64_MAX};
				break;
			case CG_OP_GE:
				(*ranges)[n++] = (Range){above, PG_INT64_MAX};
				break;
			case CG_OP_BETWEEN:
				if (i == 0)
					(*ranges)[n++] = (Range){above, PG_INT64_MAX};
				else
					(*ranges)[0].high = below;
				break;
			case CG_OP_NONE:
				elog(ERROR, "condition without an operator: %d", node->kind);
		}
	}
	if (n == 1 && (*ranges)[0].low > (*ranges)[0].high)
		n = 0;
	return n;
}

/* Appends the test of a condition on a whole number that is never null. */
static void
append_count_test(StringInfo out, const CgRuleNode *node, const char *count)
{
	Range *ranges;
	int    n = passing_ranges(node, &ranges);

	if (n == 0)
		appendStringInfoString(out, "false");
	for (int i = 0; i < n; i++)
	{
		const Range *range = &ranges[i];

		appendStringInfoString(out, i > 0 ? " OR " : "");
		if (range->low == range->high)
			appendStringInfo(out, "%s " EQ " %s", count, integer_literal(range->low));
		else if (range->low == PG_INT64_MIN && range->high == PG_INT64_MAX)
			appendStringInfoString(out, "true");
		else
		{
			if (range->low > PG_INT64_MIN)
				appendStringInfo(out, "%s " GE " %s", count, integer_literal(range->low));
			if (range->low > PG_INT64_MIN && range->high < PG_INT64_MAX)
				appendStringInfoString(out, " AND ");
			if (range->high < PG_INT64_MAX)
				appendStringInfo(out, "%s " LE " %s", count, integer_literal(range->high));
		}
	}
}

/* ------------------------------------------------------------------------
 * Days
 * ------------------------------------------------------------------------
 */

/*
 * The times whose day is a given one or later, as ranges of seconds since 2000 that
 * begin at starts[] and end before ends[]; the last one has no end.  There is one,
 * but for a clock that was set back over midnight: then a day comes twice.
 */
static int
find_start_of_day(pg_tz *timezone, int64 day, int64 *starts, int64 *ends, int max)
{
	const int64 epoch = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	int64       midnight = day * SECS_PER_DAY + epoch; /* on the wall clock */
	pg_time_t   last = midnight + MOST_DAYS_FROM_UTC * SECS_PER_DAY;
	pg_time_t   from = midnight - MOST_DAYS_FROM_UTC * SECS_PER_DAY;
	int         n = 0;

	/* Between two changes of the clock, which stays at one distance from UTC. */
	while (from < last)
	{
		struct pg_tm *local = pg_localtime(&from, timezone);
		long          gmtoff_before, gmtoff_after;
		int           isdst_before, isdst_after;
		pg_time_t     until;
		int64         start;

		if (local == NULL)
			elog(ERROR, "time out of range");
		start = Max(midnight - local->tm_gmtoff, from);
		if (pg_next_dst_boundary(&from, &gmtoff_before, &isdst_before, &until, &gmtoff_after,
								 &isdst_after, timezone) != 1 ||
			until > last)
			until = last;
		if (start < until)
		{
			if (n > 0 && ends[n - 1] == start - epoch)
				ends[n - 1] = until - epoch;
			else if (n < max)
			{
				starts[n] = start - epoch;
				ends[n++] = until - epoch;
			}
			else
				elog(ERROR, "the clock changes too often");
		}
		from = until;
	}
	return n;
}

/*
 * The condition that the day of a time is a given one or later, or with before that
 * it is earlier; "true" or "false" if that is so of all times.
 */
static const char *
day_condition(const Compiler *compiler, const char *column, int64 day, bool before)
{
	int64          starts[8];
	int64          ends[8];
	int            n;
	StringInfoData out;

	if (day <= FIRST_DAY)
		return before ? "false" : "true";
	if (day >= LAST_DAY)
		return before ? "true" : "false";
	n = find_start_of_day(compiler->definitions->settings.timezone, day, starts, ends,
						  lengthof(starts));
	if (n == 0)
		elog(ERROR, "day " INT64_FORMAT " does not begin", day);
	if (starts[0] <= MIN_TIMESTAMP / USECS_PER_SEC)
		return before ? "false" : "true";
	if (starts[0] >= END_TIMESTAMP / USECS_PER_SEC)
		return before ? "true" : "false";

	initStringInfo(&out);
	if (n == 1)
		appendStringInfo(&out, "%s %s %s", column, before ? LT : GE,
						 time_literal(starts[0] * USECS_PER_SEC));
	else
	{
		appendStringInfoString(&out, before ? "NOT (" : "(");
		for (int i = 0; i < n; i++)
		{
			appendStringInfo(&out, "%s%s " GE " %s", i > 0 ? " OR " : "", column,
							 time_literal(starts[i] * USECS_PER_SEC));
			if (i < n - 1)
				appendStringInfo(&out, " AND %s " LT " %s", column,
								 time_literal(ends[i] * USECS_PER_SEC));
		}
		appendStringInfoChar(&out, ')');
	}
	return out.data;
}

/* Appends the condition that the day of a time is in a range; null for a null time. */
static void
append_days(const Compiler *compiler, StringInfo out, const char *column, Range days)
{
	const char *from = days.low == PG_INT64_MIN ? "true"
												: day_condition(compiler, column, days.low, false);
	const char *until = days.high == PG_INT64_MAX
							? "true"
							: day_condition(compiler, column, days.high + 1, true);

	if (strcmp(from, "false") == 0 || strcmp(until, "false") == 0)
		appendStringInfoString(out, "false");
	else if (strcmp(from, "true") != 0 && strcmp(until, "true") != 0)
		appendStringInfo(out, "(%s AND %s)", from, until);
	else if (strcmp(from, "true") != 0)
		appendStringInfo(out, "(%s)", from);
	else if (strcmp(until, "true") != 0)
		appendStringInfo(out, "(%s)", until);
	else
		appendStringInfo(out, "(%s IS NOT NULL)", column);
}

/* Appends the condition that a sale is of the last days; nothing where there is no window. */
static void
append_window(const Compiler *compiler, StringInfo out, const CgRuleNode *node)
{
	if (node->days < 0)
		return;
	appendStringInfoString(out, " AND ");
	append_days(compiler, out, "s.sold_at",
				(Range){(int64) compiler->today - node->days, compiler->today});
}

/* registered, first_visit and last_visit, in any form of condition. */
static void
append_date(const Compiler *compiler, StringInfo out, const CgRuleNode *node)
{
	static const char *const columns[] = {"f.registered_at", "f.first_visit_at", "f.last_visit_at"};
	const char              *column = columns[node->metric - CG_METRIC_REGISTERED];
	int64                    today = compiler->today;
	Range                   *ranges;
	int                      n;

	if (node->kind == CG_RULE_WITHIN)
	{
		append_days(compiler, out, column, (Range){today - node->days, today});
		return;
	}
	n = passing_ranges(node, &ranges);
	if (n == 0)
		appendStringInfoString(out, "false");
	for (int i = 0; i < n; i++)
	{
		Range days = ranges[i];

		/* So many days before today. */
		if (node->kind == CG_RULE_DAYS_SINCE)
		{
			days.low = ranges[i].high == PG_INT64_MAX ? PG_INT64_MIN : today - ranges[i].high;
			days.high = ranges[i].low == PG_INT64_MIN ? PG_INT64_MAX : today - ranges[i].low;
		}
		if (i > 0)
			appendStringInfoString(out, " OR ");
		append_days(compiler, out, column, days);
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

/* ------------------------------------------------------------------------
 * Conditions
 * ------------------------------------------------------------------------
 */

/* Whether the test of a condition on a number holds for 0. */
static bool
zero_passes(const CgRuleNode *node)
{
	Range *ranges;
	int    n = passing_ranges(node, &ranges);

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
		append_count_test(&test, node, "pg_catalog.count(*)");
	else
		append_number_test(&test, node,
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
		append_number_test(out, node, "f.net_sales", NULL);
	else if (node->metric == CG_METRIC_AVERAGE_SALE)
	{
		appendStringInfoString(out, "f.visits " GT " 0 AND ");
		append_number_test(out, node, "f.net_sales", "f.visits::pg_catalog.numeric");
	}
	else
		append_count_test(out, node, psprintf("f.%s", cg_metric_name(node->metric)));
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
						 text_literal(name));
	else if (node->kind == CG_RULE_BOUGHT_BRAND)
		appendStringInfo(&rows,
						 " AND EXISTS (SELECT FROM customer_groups.items AS i "
						 "WHERE i.id " EQ " l.item_id AND i.brand_id " EQ " %d)",
						 id);
	else
		appendStringInfo(&rows,
						 " AND EXISTS (SELECT FROM customer_groups.item_categories AS c "
						 "WHERE c.item_id " EQ " l.item_id AND c.category_id " EQ " ANY (%s))",
						 ids_literal(cg_categories_in(id)));
	initStringInfo(&test);
	append_number_test(&test, node, "coalesce(pg_catalog.sum(l.quantity), 0)", NULL);
	append_aggregate(out, node, test.data, rows.data);
}

static void
append_attribute(StringInfo out, const CgRuleNode *node)
{
	const char *value = cg_rule_value(node);
	const char *name = text_literal(cg_rule_name(node));

	appendStringInfoString(out, "EXISTS (SELECT FROM customer_groups.customers AS c WHERE c.id " EQ
								" f.customer_id AND ");
	if (node->op == CG_OP_EQ || node->op == CG_OP_IN)
	{
		/* An index on the attributes, if there is one, can find these. */
		for (int i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
			appendStringInfo(out, "%sc.attributes " CONTAINS " %s", i > 0 ? " OR " : "(",
							 attribute_literal(node, value));
		appendStringInfoChar(out, ')');
	}
	else if (node->type != CG_TYPE_NUMBER)
		appendStringInfo(out,
						 "pg_catalog.jsonb_typeof(c.attributes " FIELD " %s) " EQ
						 " '%s' AND NOT c.attributes " CONTAINS " %s",
						 name, node->type == CG_TYPE_TEXT ? "string" : "boolean",
						 attribute_literal(node, value));
	else
	{
		appendStringInfo(out,
						 "CASE WHEN pg_catalog.jsonb_typeof(c.attributes " FIELD " %s) " EQ
						 " 'number' THEN ",
						 name);
		append_number_test(out, node,
						   psprintf("(c.attributes " FIELD_TEXT " %s)::pg_catalog.numeric", name),
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
	const char *today = date_literal(compiler->today);

	appendStringInfo(out,
					 "SELECT FROM customer_groups.members AS %1$s "
					 "WHERE %1$s.customer_id " EQ " %2$s AND %1$s.group_id " EQ
					 " ANY (%3$s) AND (%1$s.valid_from IS NULL OR "
					 "%1$s.valid_from " LE " %4$s) AND "
					 "(%1$s.valid_until "
					 "IS NULL OR "
					 "%1$s.valid_"
					 "until " GE " %4$s)",
					 alias, customer_id, ids_literal(groups), today);
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
		const char *order = ids_literal(all);

		appendStringInfoString(out, " AND NOT EXISTS (");
		append_membership(compiler, out, "h", "m.customer_id", others);
		appendStringInfo(out,
						 " AND pg_catalog.array_position(%1$s, h.group_id) " LT
						 " pg_catalog.array_position(%1$s, m.group_id))",
						 order);
	}
	appendStringInfoChar(out, ')');
}

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
	compiler.today = cg_day_of(at, compiler.definitions->settings.timezone);
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
