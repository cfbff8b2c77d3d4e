/*
 * turns.c
 *		The customers whose segments the calendar may change, as a query.
 *
 * Each condition that depends on the day turns at few distances from a day of
 * the customer's: days_since(last_visit) >= 180 can change on the 180th day
 * after the last visit, and on no other.  So those who may change on the days
 * from < d <= upto are found by ranges of indexes: on dates of the facts, on the
 * times of sales, on the dates of memberships.  The query returns each customer
 * with each such day, and where it has seen the facts row; what the answer is on that
 * day is for the evaluator to say.
 *
 * Who was last here on a day is looked for among the sales: an index on
 * last_visit_at would make every sale dearer.
 *
 * Nothing is read but the caches, under the caller's snapshot; the text is in the
 * current memory context.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/numeric.h"

#include "calendar/calendar.h"
#include "promotions/promotions.h"
#include "segments/compile.h"
#include "segments/segments.h"
#include "segments/track.h"

/* No two finite times are further apart, in days. */
#define MOST_DAYS 110000000

typedef struct Query
{
	List                *branches; /* of the UNION ALL, as texts */
	StringInfoData       sql;      /* of the branch that is being written */
	const CgSegments    *segments;
	const CgDefinitions *definitions;
	DateADT              from;     /* exclusive */
	DateADT              upto;     /* inclusive */
	bool                *visited;  /* segments, by place */
	char                *timezone; /* literal */
} Query;

/* Where no facts row is looked at. */
#define NO_PLACE "NULL::pg_catalog.tid"

static void add_turns(Query *query, const CgRuleNode *node);

/* The first moment of a day as a literal; one that is out of range is infinite. */
static char *
start_literal(const Query *query, int64 day)
{
	int64 julian = day + POSTGRES_EPOCH_JDATE;

	if (julian < 2)
		return "'-infinity'::pg_catalog.timestamptz";
	if (julian > TIMESTAMP_END_JULIAN - 2)
		return "'infinity'::pg_catalog.timestamptz";
	return cg_time_literal(cg_start_of_day((DateADT) day, query->definitions->settings.timezone));
}

/* Ends a branch; several rules may ask for the same. */
static void
end_branch(Query *query)
{
	ListCell *cell;
	bool      known = false;

	foreach (cell, query->branches)
		known = known || strcmp(lfirst(cell), query->sql.data) == 0;
	if (!known)
		query->branches = lappend(query->branches, pstrdup(query->sql.data));
	resetStringInfo(&query->sql);
}

/*
 * Adds those for whom a time of theirs is so many days ago on one of the days.
 * source is what is selected from, with the alias f for what has the column;
 * place is that of the facts row;
 * condition, if any, ends in AND.  The range for the index is a day wider at both
 * ends: where clocks were put back over midnight, a day is in two pieces.
 */
static void
add_distance(Query *query, const char *source, const char *place, const char *column,
			 const char *condition, int64 distance)
{
	char *day;

	if (distance > MOST_DAYS || distance < -MOST_DAYS)
		return;
	day = psprintf(
		"pg_catalog.timezone(%s, f.%s)::pg_catalog.date OPERATOR(pg_catalog.+) (" INT64_FORMAT ")",
		query->timezone, column, distance);
	appendStringInfo(&query->sql,
					 "SELECT f.customer_id, %s, %s FROM %s WHERE %sf.%s OPERATOR(pg_catalog.>=) %s "
					 "AND f.%s OPERATOR(pg_catalog.<) %s "
					 "AND %s OPERATOR(pg_catalog.>) %s AND %s OPERATOR(pg_catalog.<=) %s",
					 day, place, source, condition, column,
					 start_literal(query, (int64) query->from - distance), column,
					 start_literal(query, (int64) query->upto + 2 - distance), day,
					 cg_date_literal(query->from), day, cg_date_literal(query->upto));
	end_branch(query);
}

static void
add_date_metric(Query *query, CgRuleMetric metric, int64 distance)
{
	switch (metric)
	{
		case CG_METRIC_REGISTERED:
			add_distance(query, "customer_groups.customer_facts f", "f.ctid", "registered_at", "",
						 distance);
			break;
		case CG_METRIC_FIRST_VISIT:
			add_distance(query, "customer_groups.customer_facts f", "f.ctid", "first_visit_at", "",
						 distance);
			break;
		case CG_METRIC_LAST_VISIT:
			add_distance(query,
						 "customer_groups.sales f "
						 "JOIN customer_groups.customer_facts v "
						 "	ON v.customer_id OPERATOR(pg_catalog.=) f.customer_id "
						 "		AND v.last_visit_at OPERATOR(pg_catalog.=) f.sold_at",
						 "v.ctid", "sold_at",
						 "f.kind OPERATOR(pg_catalog.=) 'product'::customer_groups.sale_kind AND ",
						 distance);
			break;
		default:
			elog(ERROR, "no date: %d", (int) metric);
	}
}

/* A sale enters a window on its day, and leaves it on the day after the last. */
static void
add_window(Query *query, int32 days)
{
	add_distance(query, "customer_groups.sales f", NO_PLACE, "sold_at", "", 0);
	add_distance(query, "customer_groups.sales f", NO_PLACE, "sold_at", "", (int64) days + 1);
}

/*
 * days_since(...) changes its answer at a value, or on the day after, as the
 * operator says; between two days where the value is not a whole number.
 */
static void
add_days_since(Query *query, const CgRuleNode *node)
{
	const char *value = cg_rule_value(node);

	for (int i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
	{
		Datum number = cg_rule_value_datum(node, value);
		Datum floor = DirectFunctionCall1(numeric_floor, number);
		bool  whole = DatumGetBool(DirectFunctionCall2(numeric_eq, number, floor));
		bool  at = true;
		bool  after = true;
		bool  small = DatumGetBool(
			 DirectFunctionCall2(numeric_le, DirectFunctionCall1(numeric_abs, floor),
								 NumericGetDatum(int64_to_numeric(MOST_DAYS))));
		int64 distance;

		if (!small)
			continue;
		switch ((CgRuleOp) node->op)
		{
			case CG_OP_GE:
			case CG_OP_LT:
				after = false;
				break;
			case CG_OP_GT:
			case CG_OP_LE:
				at = false;
				break;
			case CG_OP_BETWEEN:
				at = i == 0;
				after = i == 1;
				break;
			default:
				break;
		}
		distance = DatumGetInt64(DirectFunctionCall1(numeric_int8, floor));
		if (at && whole)
			add_date_metric(query, node->metric, distance);
		if (after || !whole)
			add_date_metric(query, node->metric, distance + 1);
	}
}

/* As the index on birthdays has them. */
#define BIRTHDAY "customer_groups.month_day(f.birth_date)"

static void
begin_birthdays(Query *query)
{
	appendStringInfoString(&query->sql, "SELECT f.customer_id, v.day, f.ctid FROM (VALUES ");
}

static void
end_birthdays(Query *query)
{
	appendStringInfoString(&query->sql, ") AS v (low, high, day) "
										"JOIN customer_groups.customer_facts f ON " BIRTHDAY
										" OPERATOR(pg_catalog.>=) v.low AND " BIRTHDAY
										" OPERATOR(pg_catalog.<=) v.high "
										"WHERE f.birth_date IS NOT NULL");
	end_branch(query);
}

static void
add_birthday_row(Query *query, bool first, int low, int high, DateADT day)
{
	appendStringInfo(&query->sql, "%s(%d, %d, %s)", first ? "" : ", ", low, high,
					 cg_date_literal(day));
}

/* Those who have their birthday so many days after one of the days. */
static void
add_birthdays(Query *query, int32 ahead)
{
	begin_birthdays(query);
	for (DateADT day = query->from + 1; day <= query->upto; day++)
	{
		int year, month, mday, low, high;

		CHECK_FOR_INTERRUPTS();
		j2date(day + ahead + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
		low = high = month * 100 + mday;
		/* 29 February counts as 28 February in most years. */
		if (month == 2 && mday == 28 && !isleap(year))
			high++;
		add_birthday_row(query, day == query->from + 1, low, high, day);
	}
	end_birthdays(query);
}

/* Those born in a month that begins, or has ended, on one of the days. */
static void
add_birth_months(Query *query)
{
	bool first = true;

	for (DateADT day = query->from + 1; day <= query->upto; day++)
	{
		int year, month, mday, previous;

		CHECK_FOR_INTERRUPTS();
		j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
		if (mday != 1)
			continue;
		previous = month == 1 ? 12 : month - 1;
		if (first)
			begin_birthdays(query);
		add_birthday_row(query, first, month * 100, month * 100 + 31, day);
		add_birthday_row(query, false, previous * 100, previous * 100 + 31, day);
		first = false;
	}
	if (!first)
		end_birthdays(query);
}

/* The members of a group of whom a membership, or the group itself, begins or ends. */
static void
add_group(Query *query, int32 id)
{
	const CgGroup *group = cg_find_group(id);
	char          *from = cg_date_literal(query->from);
	char          *upto = cg_date_literal(query->upto);

	if (group == NULL)
		return;
	appendStringInfo(&query->sql,
					 "SELECT m.customer_id, m.valid_from, " NO_PLACE
					 " FROM customer_groups.members m "
					 "WHERE m.group_id OPERATOR(pg_catalog.=) %d "
					 "AND m.valid_from OPERATOR(pg_catalog.>) %s "
					 "AND m.valid_from OPERATOR(pg_catalog.<=) %s",
					 id, from, upto);
	end_branch(query);
	appendStringInfo(&query->sql,
					 "SELECT m.customer_id, m.valid_until OPERATOR(pg_catalog.+) 1, " NO_PLACE " "
					 "FROM customer_groups.members m "
					 "WHERE m.group_id OPERATOR(pg_catalog.=) %d "
					 "AND m.valid_until OPERATOR(pg_catalog.>=) %s "
					 "AND m.valid_until OPERATOR(pg_catalog.<) %s",
					 id, from, upto);
	end_branch(query);
	for (int end = 0; end < 2; end++)
	{
		DateADT day = group->starts_on;

		if (end == 1)
		{
			if (group->ends_on >= query->upto)
				continue;
			day = group->ends_on + 1;
		}
		if (day <= query->from || day > query->upto)
			continue;
		appendStringInfo(&query->sql,
						 "SELECT m.customer_id, %s, " NO_PLACE " FROM customer_groups.members m "
						 "WHERE m.group_id OPERATOR(pg_catalog.=) %d",
						 cg_date_literal(day), id);
		end_branch(query);
	}
}

static void
add_ladder(Query *query, const text *ladder)
{
	for (int i = 0; i < query->definitions->ntiers; i++)
	{
		const CgTier *tier = &query->definitions->tiers[i];
		size_t        len = strlen(tier->ladder_code);

		if (VARSIZE_ANY_EXHDR(ladder) == len &&
			memcmp(VARDATA_ANY(ladder), tier->ladder_code, len) == 0)
			add_group(query, tier->group_id);
	}
}

/* Adds those whose answer to a condition may change. */
static void
add_condition(Query *query, const CgRuleNode *node)
{
	int32 value;

	switch ((CgRuleKind) node->kind)
	{
		case CG_RULE_METRIC:
		case CG_RULE_BOUGHT_ITEM:
		case CG_RULE_BOUGHT_CATEGORY:
		case CG_RULE_BOUGHT_BRAND:
			if (node->days >= 0)
				add_window(query, node->days);
			break;
		case CG_RULE_DAYS_SINCE:
			add_days_since(query, node);
			break;
		case CG_RULE_WITHIN:
			add_date_metric(query, node->metric, 0);
			add_date_metric(query, node->metric, (int64) node->days + 1);
			break;
		case CG_RULE_BIRTHDAY_TODAY:
			add_birthdays(query, 0);
			add_birthdays(query, -1);
			break;
		case CG_RULE_BIRTHDAY_WITHIN_NEXT:
			/* The next one is never further away than that. */
			if (node->days < 366)
			{
				add_birthdays(query, node->days);
				add_birthdays(query, -1);
			}
			break;
		case CG_RULE_BIRTHDAY_THIS_MONTH:
			add_birth_months(query);
			break;
		case CG_RULE_MEMBER:
			if (cg_find_code(CG_NAME_GROUP, cg_rule_name(node), &value))
				add_group(query, value);
			break;
		case CG_RULE_TIER:
			add_ladder(query, cg_rule_name(node));
			break;
		case CG_RULE_SEGMENT:
			if (cg_find_code(CG_NAME_SEGMENT, cg_rule_name(node), &value) && !query->visited[value])
			{
				query->visited[value] = true;
				add_turns(query, &query->segments->segments[value].rule->root);
			}
			break;
		default:
			break; /* the same on every day */
	}
}

static void
add_turns(Query *query, const CgRuleNode *node)
{
	check_stack_depth();
	if (cg_rule_is_boolean(node))
	{
		const CgRuleNode *child = cg_rule_child(node);

		for (int i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
			add_turns(query, child);
	}
	else
		add_condition(query, node);
}

/*
 * The query for (customer_id, day), ascending, of those whose tracked segments
 * may change on the days from < d <= upto, and where the facts row is, if it has
 * been looked at; NULL when the calendar changes nothing.  The caches must have
 * been read under the snapshot of the question.
 */
char *
cg_turns_query(const CgSegments *segments, const CgDefinitions *definitions, DateADT from,
			   DateADT upto)
{
	Query query = {.segments = segments, .definitions = definitions, .from = from, .upto = upto};
	StringInfoData sql;
	ListCell      *cell;

	initStringInfo(&query.sql);
	query.visited = palloc0(segments->n * sizeof(bool));
	query.timezone = quote_literal_cstr(pg_get_timezone_name(definitions->settings.timezone));
	for (int i = 0; i < segments->n; i++)
		if (segments->segments[i].tracked && !query.visited[i])
		{
			query.visited[i] = true;
			add_turns(&query, &segments->segments[i].rule->root);
		}
	if (query.branches == NIL)
		return NULL;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT t.customer_id, t.day, pg_catalog.max(t.place) FROM (");
	foreach (cell, query.branches)
		appendStringInfo(&sql, "%s\n%s", cell == list_head(query.branches) ? "" : "\nUNION ALL",
						 (char *) lfirst(cell));
	appendStringInfoString(&sql, ") AS t (customer_id, day, place) "
								 "GROUP BY t.customer_id, t.day ORDER BY t.customer_id, t.day");
	return sql.data;
}
