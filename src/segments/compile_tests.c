/*
 * compile_tests.c
 *		Literals, and tests of numbers and days, as compiled rules write them.
 *
 * What is the same for all customers is worked out here: tests of whole numbers and of
 * days become ranges, days become ranges of times.  Values stand as text with the name
 * of their type, which reads the same under all settings of a session.
 *
 * Memory is the caller's context.  Nothing is read.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "segments/compile.h"

/* Days that a calendar day in any time zone may be away from the one in UTC. */
#define MOST_DAYS_FROM_UTC 8

/* Days that no timestamp reaches. */
#define FIRST_DAY (-3000000)
#define LAST_DAY 110000000

/* No number of visits or days comes near it. */
#define FAR INT64CONST(1000000000000000000)

/* ------------------------------------------------------------------------
 * Literals
 * ------------------------------------------------------------------------
 */

char *
cg_text_literal(const text *value)
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

char *
cg_date_literal(DateADT day)
{
	struct pg_tm tm = {0};
	char         buf[MAXDATELEN + 1];

	j2date(day + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	EncodeDateOnly(&tm, USE_ISO_DATES, buf);
	return psprintf("'%s'::pg_catalog.date", buf);
}

/* A time in UTC, which reads the same under all settings. */
char *
cg_time_literal(TimestampTz at)
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

char *
cg_ids_literal(List *ids)
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
char *
cg_attribute_literal(const CgRuleNode *node, const char *value)
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
void
cg_append_number_test(StringInfo out, const CgRuleNode *node, const char *number,
					  const char *factor)
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
int
cg_passing_ranges(const CgRuleNode *node, CgRange **ranges)
{
	const char *value = cg_rule_value(node);
	int         n = 0;

	*ranges = palloc((node->nargs + 1) * sizeof(CgRange));
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
					(*ranges)[n++] = (CgRange){above, below};
				break;
			case CG_OP_NE:
				(*ranges)[n++] = (CgRange){PG_INT64_MIN, PG_INT64_MAX};
				if (below == above)
				{
					(*ranges)[n - 1].high = below - 1;
					(*ranges)[n++] = (CgRange){above + 1, PG_INT64_MAX};
				}
				break;
			case CG_OP_LT:
				(*ranges)[n++] = (CgRange){PG_INT64_MIN, above - 1};
				break;
			case CG_OP_LE:
				(*ranges)[n++] = (CgRange){PG_INT64_MIN, below};
				break;
			case CG_OP_GT:
				(*ranges)[n++] = (CgRange){below + 1, PG_INT64_MAX};
				break;
			case CG_OP_GE:
				(*ranges)[n++] = (CgRange){above, PG_INT64_MAX};
				break;
			case CG_OP_BETWEEN:
				if (i == 0)
					(*ranges)[n++] = (CgRange){above, PG_INT64_MAX};
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
void
cg_append_count_test(StringInfo out, const CgRuleNode *node, const char *count)
{
	CgRange *ranges;
	int      n = cg_passing_ranges(node, &ranges);

	if (n == 0)
		appendStringInfoString(out, "false");
	for (int i = 0; i < n; i++)
	{
		const CgRange *range = &ranges[i];

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
day_condition(pg_tz *timezone, const char *column, int64 day, bool before)
{
	int64          starts[8];
	int64          ends[8];
	int            n;
	StringInfoData out;

	if (day <= FIRST_DAY)
		return before ? "false" : "true";
	if (day >= LAST_DAY)
		return before ? "true" : "false";
	n = find_start_of_day(timezone, day, starts, ends, lengthof(starts));
	if (n == 0)
		elog(ERROR, "day " INT64_FORMAT " does not begin", day);
	if (starts[0] <= MIN_TIMESTAMP / USECS_PER_SEC)
		return before ? "false" : "true";
	if (starts[0] >= END_TIMESTAMP / USECS_PER_SEC)
		return before ? "true" : "false";

	initStringInfo(&out);
	if (n == 1)
		appendStringInfo(&out, "%s %s %s", column, before ? LT : GE,
						 cg_time_literal(starts[0] * USECS_PER_SEC));
	else
	{
		appendStringInfoString(&out, before ? "NOT (" : "(");
		for (int i = 0; i < n; i++)
		{
			appendStringInfo(&out, "%s%s " GE " %s", i > 0 ? " OR " : "", column,
							 cg_time_literal(starts[i] * USECS_PER_SEC));
			if (i < n - 1)
				appendStringInfo(&out, " AND %s " LT " %s", column,
								 cg_time_literal(ends[i] * USECS_PER_SEC));
		}
		appendStringInfoChar(&out, ')');
	}
	return out.data;
}

/* Appends the condition that the day of a time is in a range; null for a null time. */
void
cg_append_days(StringInfo out, pg_tz *timezone, const char *column, CgRange days)
{
	const char *from = days.low == PG_INT64_MIN ? "true"
												: day_condition(timezone, column, days.low, false);
	const char *until = days.high == PG_INT64_MAX
							? "true"
							: day_condition(timezone, column, days.high + 1, true);

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
