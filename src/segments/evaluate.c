/*
 * evaluate.c
 *		Whether a customer fulfils a rule, found by walking its tree.
 *
 * An evaluation asks about one moment under one snapshot, of one customer after
 * the other.  The facts row is read for each customer; its sales, lines,
 * memberships and attributes only when a condition needs them, once, by the
 * primary keys.  Names and segments come from the caches (segment_cache.c and
 * promotions/definitions.c), which answer for the same snapshot.  Nothing is
 * written and no lock is taken but the readers' on tables.
 *
 * The answer for a segment is kept for the customer, so that one that many
 * others name is evaluated once.
 *
 * A condition on a missing value is false, whatever its operator.  Missing are: a
 * first or last visit, an average sale or a birthday that the customer does not
 * have, an attribute that is not there or of another JSON type than the values
 * it is compared with, a ladder without a present tier, and whatever a name
 * stands for that no longer exists (a restored rule may hold such names).
 *
 * Memory: the evaluation is in the context in which it was begun; what is read of
 * a customer is in the one that is current at the call, which a caller that asks
 * of many customers may reset between them.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "calendar/calendar.h"
#include "catalog/tables.h"
#include "groups/groups.h"
#include "promotions/promotions.h"
#include "segments/segments.h"

/* What is known of whether the customer is in a segment. */
enum
{
	NOT_ASKED,
	BEING_ASKED,
	IS_OUT,
	IS_IN
};

/* Days that a calendar day in any time zone may be away from the one in UTC. */
#define MOST_DAYS_FROM_UTC 8

typedef struct Sale
{
	int64       id;
	TimestampTz sold_at;
	CgSaleKind  kind;
	Numeric     net; /* amount × rate */
} Sale;

typedef struct Line
{
	int     sale; /* place in sales[] */
	int64   item_id;
	int     item; /* place in items[] */
	Numeric quantity;
} Line;

typedef struct SoldItem
{
	int64  id;
	text  *external_id; /* NULL: none */
	bool   has_brand;
	int32  brand_id;
	int    ncategories;
	int32 *categories;
} SoldItem;

struct CgEvaluation
{
	Snapshot             snapshot;
	const CgDefinitions *definitions;
	const CgSegments    *segments;
	DateADT              today;
	uint8               *answers; /* of segments, by place */
	MemoryContext        context; /* of the evaluation and its scan */
	CgScan               facts;

	/* Of the customer. */
	int64       customer_id;
	int64       counts[CG_METRIC_NO_SHOWS + 1];
	Numeric     numbers[CG_METRIC_NO_SHOWS + 1]; /* NULL: not needed so far */
	TimestampTz times[CG_METRIC_LAST_VISIT - CG_METRIC_REGISTERED + 1];
	bool        has_time[CG_METRIC_LAST_VISIT - CG_METRIC_REGISTERED + 1];
	bool        has_birth_date;
	DateADT     birth_date;
	bool        is_tracked; /* up to tracked_on */
	DateADT     tracked_on;

	/* Of the customer, read when first needed. */
	bool      groups_read;
	int       ngroups; /* groups with a membership that is valid today */
	int32    *groups;
	bool      sales_read;
	int       nsales;
	Sale     *sales; /* ascending by id */
	bool      lines_read;
	int       nlines;
	Line     *lines;
	int       nitems; /* items on the lines, ascending by id */
	SoldItem *items;
	bool      items_read;
	bool      categories_read;
	Jsonb    *attributes;
};

static bool fulfils(CgEvaluation *evaluation, const CgRuleNode *node);

/* An array with room for one more element than it has. */
static void *
grow(void *array, int n, int *max, Size size)
{
	if (array != NULL && n < *max)
		return array;
	*max = array == NULL ? 16 : 2 * *max;
	return array == NULL ? palloc(*max * size) : repalloc_huge(array, *max * size);
}

/* ------------------------------------------------------------------------
 * Values
 * ------------------------------------------------------------------------
 */

static int
compare_numbers(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

static bool
same_text(const text *a, const char *b, size_t len)
{
	return VARSIZE_ANY_EXHDR(a) == len && memcmp(VARDATA_ANY(a), b, len) == 0;
}

/*
 * Compares a value of the rule with the customer's: less, equal or greater than
 * 0 as theirs is less than, equal to or greater than the rule's.
 */
typedef int (*CompareValue)(const CgRuleNode *node, const char *value, const void *theirs);

/* Whether a condition's test holds for the customer's value. */
static bool
test(const CgRuleNode *node, CompareValue compare, const void *theirs)
{
	const char *value = cg_rule_value(node);

	switch ((CgRuleOp) node->op)
	{
		case CG_OP_EQ:
			return compare(node, value, theirs) == 0;
		case CG_OP_NE:
			return compare(node, value, theirs) != 0;
		case CG_OP_LT:
			return compare(node, value, theirs) < 0;
		case CG_OP_LE:
			return compare(node, value, theirs) <= 0;
		case CG_OP_GT:
			return compare(node, value, theirs) > 0;
		case CG_OP_GE:
			return compare(node, value, theirs) >= 0;
		case CG_OP_BETWEEN:
			return compare(node, value, theirs) >= 0 &&
				   compare(node, cg_rule_next_value(node, value), theirs) <= 0;
		case CG_OP_IN:
			for (int i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
				if (compare(node, value, theirs) == 0)
					return true;
			return false;
		case CG_OP_NONE:
			break;
	}
	elog(ERROR, "condition without an operator: %d", node->kind);
}

static int
compare_number(const CgRuleNode *node, const char *value, const void *theirs)
{
	return compare_numbers((Numeric) theirs, DatumGetNumeric(cg_rule_value_datum(node, value)));
}

static int
compare_date(const CgRuleNode *node, const char *value, const void *theirs)
{
	DateADT ours = DatumGetDateADT(cg_rule_value_datum(node, value));
	DateADT day = *(const DateADT *) theirs;

	return (day > ours) - (day < ours);
}

/* Texts are equal or not; nothing else is asked of them. */
static int
compare_text(const CgRuleNode *node, const char *value, const void *theirs)
{
	const JsonbValue *string = theirs;

	return same_text((const text *) value, string->val.string.val, string->val.string.len) ? 0 : 1;
}

static int
compare_boolean(const CgRuleNode *node, const char *value, const void *theirs)
{
	return DatumGetBool(cg_rule_value_datum(node, value)) == *(const bool *) theirs ? 0 : 1;
}

/* net_sales / visits against a value: net_sales against value × visits is exact. */
static int
compare_average(const CgRuleNode *node, const char *value, const void *theirs)
{
	Numeric const *numbers = theirs; /* net sales, visits */
	Datum          product = DirectFunctionCall2(numeric_mul, cg_rule_value_datum(node, value),
												 NumericGetDatum(numbers[1]));

	return compare_numbers(numbers[0], DatumGetNumeric(product));
}

/* ------------------------------------------------------------------------
 * Days
 * ------------------------------------------------------------------------
 */

static DateADT
day_of(const CgEvaluation *evaluation, TimestampTz at)
{
	return cg_day_of(at, evaluation->definitions->settings.timezone);
}

/* Whether the day of a time is one of the last n days, or today. */
static bool
in_last_days(const CgEvaluation *evaluation, TimestampTz at, int32 n)
{
	DateADT first = evaluation->today - n;
	DateADT last = evaluation->today;
	DateADT day;

	/* Most times are far from both ends: their day in UTC will do for those. */
	day = (DateADT) (at / USECS_PER_DAY);
	if (day > first + MOST_DAYS_FROM_UTC && day < last - MOST_DAYS_FROM_UTC)
		return true;
	if (day < first - MOST_DAYS_FROM_UTC || day > last + MOST_DAYS_FROM_UTC)
		return false;
	day = day_of(evaluation, at);
	return first <= day && day <= last;
}

/* The birthday in a year: 29 February counts as 28 February in most. */
static DateADT
birthday_in(int year, int month, int day)
{
	if (month == 2 && day == 29 && !isleap(year))
		day = 28;
	return date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
}

/* Whether a birthday on a day of a month, of whatever year, is one that a condition means. */
bool
cg_is_birthday(const CgRuleNode *node, DateADT today, int birth_month, int birth_day)
{
	int     year, month, day;
	DateADT birthday;

	j2date(today + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	switch ((CgRuleKind) node->kind)
	{
		case CG_RULE_BIRTHDAY_THIS_MONTH:
			return birth_month == month;
		case CG_RULE_BIRTHDAY_IN_MONTH:
			return birth_month == node->days;
		case CG_RULE_BIRTHDAY_TODAY:
			return birthday_in(year, birth_month, birth_day) == today;
		default:
			birthday = birthday_in(year, birth_month, birth_day);
			if (birthday < today)
				birthday = birthday_in(year + 1, birth_month, birth_day);
			return birthday - today <= node->days;
	}
}

static bool
has_birthday(const CgEvaluation *evaluation, const CgRuleNode *node)
{
	int year, month, day;

	if (!evaluation->has_birth_date)
		return false;
	j2date(evaluation->birth_date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	return cg_is_birthday(node, evaluation->today, month, day);
}

/* ------------------------------------------------------------------------
 * What is read of the customer
 * ------------------------------------------------------------------------
 */

static void
read_facts(CgEvaluation *evaluation, TupleTableSlot *slot)
{
	static const struct
	{
		CgRuleMetric metric;
		int          column;
	} counts[] = {{CG_METRIC_VISITS, CG_CUSTOMER_FACTS_VISITS},
				  {CG_METRIC_REFUNDS, CG_CUSTOMER_FACTS_REFUNDS},
				  {CG_METRIC_PREPAID_PURCHASES, CG_CUSTOMER_FACTS_PREPAID_PURCHASES},
				  {CG_METRIC_PASS_PURCHASES, CG_CUSTOMER_FACTS_PASS_PURCHASES},
				  {CG_METRIC_NO_SHOWS, CG_CUSTOMER_FACTS_NO_SHOWS}};
	static const int times[] = {CG_CUSTOMER_FACTS_REGISTERED_AT, CG_CUSTOMER_FACTS_FIRST_VISIT_AT,
								CG_CUSTOMER_FACTS_LAST_VISIT_AT};
	bool             isnull;

	for (int i = 0; i < (int) lengthof(counts); i++)
	{
		evaluation->counts[counts[i].metric] = DatumGetInt64(
			slot_getattr(slot, cg_attnum(CG_CUSTOMER_FACTS, counts[i].column), &isnull));
		evaluation->numbers[counts[i].metric] = NULL;
	}
	evaluation->numbers[CG_METRIC_NET_SALES] = DatumGetNumericCopy(
		slot_getattr(slot, cg_attnum(CG_CUSTOMER_FACTS, CG_CUSTOMER_FACTS_NET_SALES), &isnull));
	for (int i = 0; i < (int) lengthof(times); i++)
	{
		evaluation->times[i] = DatumGetTimestampTz(
			slot_getattr(slot, cg_attnum(CG_CUSTOMER_FACTS, times[i]), &isnull));
		evaluation->has_time[i] = !isnull;
	}
	evaluation->birth_date = DatumGetDateADT(
		slot_getattr(slot, cg_attnum(CG_CUSTOMER_FACTS, CG_CUSTOMER_FACTS_BIRTH_DATE), &isnull));
	evaluation->has_birth_date = !isnull;
	evaluation->tracked_on = DatumGetDateADT(
		slot_getattr(slot, cg_attnum(CG_CUSTOMER_FACTS, CG_CUSTOMER_FACTS_TRACKED_ON), &isnull));
	evaluation->is_tracked = !isnull;
}

static void
read_groups(CgEvaluation *evaluation)
{
	CgScan scan;
	int    max = 0;

	if (evaluation->groups_read)
		return;
	cg_scan_begin(&scan, CG_MEMBERS, evaluation->snapshot, 1,
				  Int64GetDatum(evaluation->customer_id), 0);
	while (cg_scan_next(&scan))
	{
		bool isnull;

		if (!cg_membership_holds(&scan, evaluation->today))
			continue;
		evaluation->groups = grow(evaluation->groups, evaluation->ngroups, &max, sizeof(int32));
		evaluation->groups[evaluation->ngroups++] = DatumGetInt32(
			cg_scan_get(&scan, CG_MEMBERS_GROUP_ID, &isnull));
	}
	cg_scan_end(&scan);
	evaluation->groups_read = true;
}

static void
read_sales(CgEvaluation *evaluation)
{
	CgScan scan;
	int    max = 0;

	if (evaluation->sales_read)
		return;
	cg_scan_begin(&scan, CG_SALES, evaluation->snapshot, 1, Int64GetDatum(evaluation->customer_id),
				  0);
	while (cg_scan_next(&scan))
	{
		Sale *sale;
		bool  isnull;
		Datum rate;

		CHECK_FOR_INTERRUPTS();
		evaluation->sales = grow(evaluation->sales, evaluation->nsales, &max, sizeof(Sale));
		sale = &evaluation->sales[evaluation->nsales++];
		sale->id = DatumGetInt64(cg_scan_get(&scan, CG_SALES_ID, &isnull));
		sale->kind = cg_sale_kind(DatumGetObjectId(cg_scan_get(&scan, CG_SALES_KIND, &isnull)));
		sale->sold_at = DatumGetTimestampTz(cg_scan_get(&scan, CG_SALES_SOLD_AT, &isnull));
		sale->net = DatumGetNumericCopy(cg_scan_get(&scan, CG_SALES_AMOUNT, &isnull));
		rate = cg_scan_get(&scan, CG_SALES_RATE, &isnull);
		if (!isnull)
			sale->net = DatumGetNumeric(
				DirectFunctionCall2(numeric_mul, NumericGetDatum(sale->net), rate));
	}
	cg_scan_end(&scan);
	evaluation->sales_read = true;
}

static int
compare_items(const void *a, const void *b)
{
	int64 x = ((const SoldItem *) a)->id;
	int64 y = ((const SoldItem *) b)->id;

	return (x > y) - (x < y);
}

static void
read_lines(CgEvaluation *evaluation)
{
	CgScan scan;
	int    max = 0;
	int    sale = 0;

	if (evaluation->lines_read)
		return;
	read_sales(evaluation);
	cg_scan_begin(&scan, CG_SALE_LINES, evaluation->snapshot, 1,
				  Int64GetDatum(evaluation->customer_id), 0);
	while (cg_scan_next(&scan))
	{
		bool  isnull;
		int64 sale_id = DatumGetInt64(cg_scan_get(&scan, CG_SALE_LINES_SALE_ID, &isnull));
		Line *line;

		CHECK_FOR_INTERRUPTS();
		/* Both come ascending by sale. */
		while (sale < evaluation->nsales && evaluation->sales[sale].id < sale_id)
			sale++;
		if (sale == evaluation->nsales || evaluation->sales[sale].id != sale_id)
			continue;
		evaluation->lines = grow(evaluation->lines, evaluation->nlines, &max, sizeof(Line));
		line = &evaluation->lines[evaluation->nlines++];
		line->sale = sale;
		line->item_id = DatumGetInt64(cg_scan_get(&scan, CG_SALE_LINES_ITEM_ID, &isnull));
		line->quantity = DatumGetNumericCopy(cg_scan_get(&scan, CG_SALE_LINES_QUANTITY, &isnull));
	}
	cg_scan_end(&scan);

	if (evaluation->nlines > 0)
	{
		int n = evaluation->nlines;

		evaluation->items = MemoryContextAllocExtended(CurrentMemoryContext, n * sizeof(SoldItem),
													   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		for (int i = 0; i < n; i++)
			evaluation->items[i].id = evaluation->lines[i].item_id;
		qsort(evaluation->items, n, sizeof(SoldItem), compare_items);
		for (int i = 0; i < n; i++)
			if (i == 0 || evaluation->items[i].id != evaluation->items[evaluation->nitems - 1].id)
				evaluation->items[evaluation->nitems++].id = evaluation->items[i].id;
		for (int i = 0; i < n; i++)
		{
			SoldItem key = {.id = evaluation->lines[i].item_id};

			evaluation->lines[i].item = (SoldItem *) bsearch(&key, evaluation->items,
															 evaluation->nitems, sizeof(SoldItem),
															 compare_items) -
										evaluation->items;
		}
	}
	evaluation->lines_read = true;
}

/* Reads the key and brand of each item on the customer's lines. */
static void
read_items(CgEvaluation *evaluation)
{
	CgScan scan = {0};

	if (evaluation->items_read)
		return;
	for (int i = 0; i < evaluation->nitems; i++)
	{
		SoldItem *item = &evaluation->items[i];
		bool      isnull;
		Datum     datum;

		CHECK_FOR_INTERRUPTS();
		cg_scan_id(&scan, CG_ITEMS, evaluation->snapshot, item->id);
		if (!cg_scan_next(&scan))
			continue;
		datum = cg_scan_get(&scan, CG_ITEMS_EXTERNAL_ID, &isnull);
		item->external_id = isnull ? NULL : DatumGetTextPCopy(datum);
		item->brand_id = DatumGetInt32(cg_scan_get(&scan, CG_ITEMS_BRAND_ID, &isnull));
		item->has_brand = !isnull;
	}
	cg_scan_end(&scan);
	evaluation->items_read = true;
}

/* Reads the categories of each item on the customer's lines. */
static void
read_item_categories(CgEvaluation *evaluation)
{
	CgScan scan = {0};

	if (evaluation->categories_read)
		return;
	for (int i = 0; i < evaluation->nitems; i++)
	{
		SoldItem *item = &evaluation->items[i];
		int       max = 0;

		CHECK_FOR_INTERRUPTS();
		cg_scan_id(&scan, CG_ITEM_CATEGORIES, evaluation->snapshot, item->id);
		while (cg_scan_next(&scan))
		{
			bool isnull;

			item->categories = grow(item->categories, item->ncategories, &max, sizeof(int32));
			item->categories[item->ncategories++] = DatumGetInt32(
				cg_scan_get(&scan, CG_ITEM_CATEGORIES_CATEGORY_ID, &isnull));
		}
	}
	cg_scan_end(&scan);
	evaluation->categories_read = true;
}

/* An attribute of the customer, NULL where it is missing. */
static JsonbValue *
read_attribute(CgEvaluation *evaluation, const text *name)
{
	if (evaluation->attributes == NULL)
	{
		CgScan scan;
		bool   isnull;

		cg_scan_begin(&scan, CG_CUSTOMERS, evaluation->snapshot, 1,
					  Int64GetDatum(evaluation->customer_id), 0);
		if (cg_scan_next(&scan))
			evaluation->attributes = DatumGetJsonbPCopy(
				cg_scan_get(&scan, CG_CUSTOMERS_ATTRIBUTES, &isnull));
		cg_scan_end(&scan);
		if (evaluation->attributes == NULL)
			return NULL;
	}
	if (!JB_ROOT_IS_OBJECT(evaluation->attributes))
		return NULL;
	return getKeyJsonValueFromContainer(&evaluation->attributes->root, VARDATA_ANY(name),
										VARSIZE_ANY_EXHDR(name), NULL);
}

/* ------------------------------------------------------------------------
 * Conditions
 * ------------------------------------------------------------------------
 */

/* A metric over the whole time, as a number. */
static Numeric
metric_number(CgEvaluation *evaluation, CgRuleMetric metric)
{
	if (evaluation->numbers[metric] == NULL)
		evaluation->numbers[metric] = int64_to_numeric(evaluation->counts[metric]);
	return evaluation->numbers[metric];
}

/* A metric over the last days. */
static Numeric
window_number(CgEvaluation *evaluation, CgRuleMetric metric, int32 days)
{
	Datum sum = NumericGetDatum(int64_to_numeric(0));
	int64 count = 0;

	read_sales(evaluation);
	for (int i = 0; i < evaluation->nsales; i++)
	{
		const Sale *sale = &evaluation->sales[i];

		CHECK_FOR_INTERRUPTS();
		if (!in_last_days(evaluation, sale->sold_at, days))
			continue;
		switch (metric)
		{
			case CG_METRIC_VISITS:
				count += sale->kind == CG_SALE_PRODUCT;
				break;
			case CG_METRIC_REFUNDS:
				count += sale->kind == CG_SALE_REFUND;
				break;
			case CG_METRIC_NO_SHOWS:
				count += sale->kind == CG_SALE_NO_SHOW;
				break;
			case CG_METRIC_NET_SALES:
				sum = DirectFunctionCall2(numeric_add, sum, NumericGetDatum(sale->net));
				break;
			default:
				elog(ERROR, "metric without a window: %d", (int) metric);
		}
	}
	return metric == CG_METRIC_NET_SALES ? DatumGetNumeric(sum) : int64_to_numeric(count);
}

static bool
fulfils_metric(CgEvaluation *evaluation, const CgRuleNode *node)
{
	if (node->metric == CG_METRIC_AVERAGE_SALE)
	{
		Numeric numbers[2];

		if (evaluation->counts[CG_METRIC_VISITS] == 0)
			return false;
		numbers[0] = evaluation->numbers[CG_METRIC_NET_SALES];
		numbers[1] = metric_number(evaluation, CG_METRIC_VISITS);
		return test(node, compare_average, numbers);
	}
	return test(node, compare_number,
				node->days < 0 ? metric_number(evaluation, node->metric)
							   : window_number(evaluation, node->metric, node->days));
}

/* registered, first_visit and last_visit, in any form of condition. */
static bool
fulfils_date(CgEvaluation *evaluation, const CgRuleNode *node)
{
	int     which = node->metric - CG_METRIC_REGISTERED;
	DateADT day;
	int64   days_since;

	if (!evaluation->has_time[which])
		return false;
	if (node->kind == CG_RULE_WITHIN)
		return in_last_days(evaluation, evaluation->times[which], node->days);
	day = day_of(evaluation, evaluation->times[which]);
	if (node->kind == CG_RULE_DATE)
		return test(node, compare_date, &day);
	days_since = (int64) evaluation->today - day;
	return test(node, compare_number, int64_to_numeric(days_since));
}

/* Which items on the customer's lines a condition speaks of; NULL: none at all. */
static bool *
choose_items(CgEvaluation *evaluation, const CgRuleNode *node)
{
	const text *name = cg_rule_name(node);
	int32       id = 0;
	bool       *chosen;

	if (node->kind == CG_RULE_BOUGHT_CATEGORY)
	{
		if (!cg_find_code(CG_NAME_CATEGORY, name, &id))
			return NULL;
		read_item_categories(evaluation);
	}
	else
	{
		if (node->kind == CG_RULE_BOUGHT_BRAND && !cg_find_code(CG_NAME_BRAND, name, &id))
			return NULL;
		read_items(evaluation);
	}

	chosen = palloc0(Max(evaluation->nitems, 1) * sizeof(bool));
	for (int i = 0; i < evaluation->nitems; i++)
	{
		const SoldItem *item = &evaluation->items[i];

		if (node->kind == CG_RULE_BOUGHT_ITEM)
			chosen[i] = item->external_id != NULL &&
						same_text(name, VARDATA_ANY(item->external_id),
								  VARSIZE_ANY_EXHDR(item->external_id));
		else if (node->kind == CG_RULE_BOUGHT_BRAND)
			chosen[i] = item->has_brand && item->brand_id == id;
		else
			for (int k = 0; k < item->ncategories && !chosen[i]; k++)
				chosen[i] = cg_category_is_in(item->categories[k], id);
	}
	return chosen;
}

static bool
fulfils_bought(CgEvaluation *evaluation, const CgRuleNode *node)
{
	Datum sum = NumericGetDatum(int64_to_numeric(0));
	bool *chosen;

	read_lines(evaluation);
	chosen = choose_items(evaluation, node);
	if (chosen == NULL)
		return false;
	for (int i = 0; i < evaluation->nlines; i++)
	{
		const Line *line = &evaluation->lines[i];
		const Sale *sale = &evaluation->sales[line->sale];

		CHECK_FOR_INTERRUPTS();
		if (chosen[line->item] && sale->kind != CG_SALE_REFUND &&
			(node->days < 0 || in_last_days(evaluation, sale->sold_at, node->days)))
			sum = DirectFunctionCall2(numeric_add, sum, NumericGetDatum(line->quantity));
	}
	pfree(chosen);
	return test(node, compare_number, DatumGetNumeric(sum));
}

static bool
fulfils_attribute(CgEvaluation *evaluation, const CgRuleNode *node)
{
	JsonbValue *value = read_attribute(evaluation, cg_rule_name(node));

	if (value == NULL)
		return false;
	if (node->type == CG_TYPE_NUMBER)
		return value->type == jbvNumeric && test(node, compare_number, value->val.numeric);
	if (node->type == CG_TYPE_BOOLEAN)
		return value->type == jbvBool && test(node, compare_boolean, &value->val.boolean);
	return value->type == jbvString && test(node, compare_text, value);
}

static bool
is_member(CgEvaluation *evaluation, int32 group_id)
{
	read_groups(evaluation);
	for (int i = 0; i < evaluation->ngroups; i++)
		if (evaluation->groups[i] == group_id)
			return true;
	return false;
}

/* A valid membership of a group that is in its dates. */
static bool
fulfils_member(CgEvaluation *evaluation, const CgRuleNode *node)
{
	int32          id;
	const CgGroup *group;

	if (!cg_find_code(CG_NAME_GROUP, cg_rule_name(node), &id))
		return false;
	group = cg_find_group(id);
	return group != NULL && group->starts_on <= evaluation->today &&
		   evaluation->today <= group->ends_on && is_member(evaluation, id);
}

/*
 * The present tier of a ladder.  One that is out of its dates, or whose
 * membership is not valid today, counts as none.
 */
static bool
fulfils_tier(CgEvaluation *evaluation, const CgRuleNode *node)
{
	const text          *ladder = cg_rule_name(node);
	const CgDefinitions *definitions = evaluation->definitions;

	for (int i = 0; i < definitions->ntiers; i++)
	{
		const CgTier *tier = &definitions->tiers[i];
		JsonbValue    code;

		if (!same_text(ladder, tier->ladder_code, strlen(tier->ladder_code)) ||
			evaluation->today < tier->starts_on || evaluation->today > tier->ends_on ||
			!is_member(evaluation, tier->group_id))
			continue;
		code.type = jbvString;
		code.val.string.val = (char *) tier->code;
		code.val.string.len = strlen(tier->code);
		return test(node, compare_text, &code);
	}
	return false;
}

/* Raises 55000 for a segment whose rule leads back to it: the triggers refuse that, a restore may bring it. */
void
cg_raise_circle(const CgSegment *segment)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("segments go round in a circle"),
					errdetail("Segment \"%s\" names itself, if only through others.",
							  text_to_cstring(segment->code)),
					errhint("Change the rule of one of them.")));
}

/* Whether the customer is in the segment at a place in the list. */
static bool
in_segment_at(CgEvaluation *evaluation, int place)
{
	const CgSegment *segment = &evaluation->segments->segments[place];

	if (evaluation->answers[place] == BEING_ASKED)
		cg_raise_circle(segment);
	if (evaluation->answers[place] == NOT_ASKED)
	{
		evaluation->answers[place] = BEING_ASKED;
		evaluation->answers[place] = fulfils(evaluation, &segment->rule->root) ? IS_IN : IS_OUT;
	}
	return evaluation->answers[place] == IS_IN;
}

static bool
fulfils(CgEvaluation *evaluation, const CgRuleNode *node)
{
	const CgRuleNode *child = cg_rule_child(node);
	int32             place;

	check_stack_depth();

	switch ((CgRuleKind) node->kind)
	{
		case CG_RULE_AND:
			for (int i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
				if (!fulfils(evaluation, child))
					return false;
			return true;
		case CG_RULE_OR:
			for (int i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
				if (fulfils(evaluation, child))
					return true;
			return false;
		case CG_RULE_NOT:
			return !fulfils(evaluation, child);
		case CG_RULE_ALL:
			return true;
		case CG_RULE_METRIC:
			return fulfils_metric(evaluation, node);
		case CG_RULE_DATE:
		case CG_RULE_DAYS_SINCE:
		case CG_RULE_WITHIN:
			return fulfils_date(evaluation, node);
		case CG_RULE_BIRTHDAY_TODAY:
		case CG_RULE_BIRTHDAY_THIS_MONTH:
		case CG_RULE_BIRTHDAY_IN_MONTH:
		case CG_RULE_BIRTHDAY_WITHIN_NEXT:
			return has_birthday(evaluation, node);
		case CG_RULE_BOUGHT_ITEM:
		case CG_RULE_BOUGHT_CATEGORY:
		case CG_RULE_BOUGHT_BRAND:
			return fulfils_bought(evaluation, node);
		case CG_RULE_ATTRIBUTE:
			return fulfils_attribute(evaluation, node);
		case CG_RULE_MEMBER:
			return fulfils_member(evaluation, node);
		case CG_RULE_TIER:
			return fulfils_tier(evaluation, node);
		case CG_RULE_SEGMENT:
			return cg_find_code(CG_NAME_SEGMENT, cg_rule_name(node), &place) &&
				   in_segment_at(evaluation, place);
	}
	elog(ERROR, "unrecognized condition: %d", node->kind);
}

/* ------------------------------------------------------------------------
 * Evaluations
 * ------------------------------------------------------------------------
 */

/*
 * Begins to ask about a finite time under a snapshot, which stays valid to the
 * end; the caller has checked the rights.
 */
CgEvaluation *
cg_evaluation_begin(TimestampTz at, Snapshot snapshot)
{
	CgEvaluation *evaluation = palloc(sizeof(CgEvaluation));

	evaluation->context = CurrentMemoryContext;
	evaluation->snapshot = snapshot;
	evaluation->definitions = cg_definitions(snapshot);
	evaluation->segments = cg_segments(snapshot);
	evaluation->today = day_of(evaluation, at);
	evaluation->answers = palloc(Max(evaluation->segments->n, 1));
	memset(&evaluation->facts, 0, sizeof(CgScan));
	return evaluation;
}

/* Goes on to a customer; false when there is none of that id. */
bool
cg_evaluation_find(CgEvaluation *evaluation, int64 customer_id)
{
	MemoryContext caller;
	bool          found;

	caller = MemoryContextSwitchTo(evaluation->context);
	cg_scan_id(&evaluation->facts, CG_CUSTOMER_FACTS, evaluation->snapshot, customer_id);
	found = cg_scan_next(&evaluation->facts);
	MemoryContextSwitchTo(caller);
	if (found)
		cg_evaluation_take(evaluation, customer_id, evaluation->facts.slot);
	return found;
}

/* Goes on to a customer whose facts row is at hand. */
void
cg_evaluation_take(CgEvaluation *evaluation, int64 customer_id, TupleTableSlot *facts)
{
	evaluation->customer_id = customer_id;
	read_facts(evaluation, facts);
	memset(evaluation->answers, NOT_ASKED, evaluation->segments->n);
	evaluation->groups_read = evaluation->sales_read = evaluation->lines_read = false;
	evaluation->items_read = evaluation->categories_read = false;
	evaluation->ngroups = evaluation->nsales = evaluation->nlines = evaluation->nitems = 0;
	evaluation->groups = NULL;
	evaluation->sales = NULL;
	evaluation->lines = NULL;
	evaluation->items = NULL;
	evaluation->attributes = NULL;
}

/* Goes on to a customer; raises 02000 when there is none of that id. */
void
cg_evaluation_customer(CgEvaluation *evaluation, int64 customer_id)
{
	if (!cg_evaluation_find(evaluation, customer_id))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA), errmsg("unknown customer"),
						errdetail("There is no customer with id " INT64_FORMAT ".", customer_id),
						errhint("Insert it first, or ask with the id of an existing one.")));
}

/* The day up to which the customer's tracked segments were brought; false: none. */
bool
cg_evaluation_tracked_on(CgEvaluation *evaluation, DateADT *day)
{
	*day = evaluation->tracked_on;
	return evaluation->is_tracked;
}

/* Asks about another day from here on, of the same customer. */
void
cg_evaluation_move(CgEvaluation *evaluation, DateADT day)
{
	if (day == evaluation->today)
		return;
	evaluation->today = day;
	memset(evaluation->answers, NOT_ASKED, evaluation->segments->n);
	evaluation->groups_read = false;
	evaluation->ngroups = 0;
	evaluation->groups = NULL;
}

/* Whether the customer is in a segment; not in one that does not exist. */
bool
cg_evaluation_in_segment(CgEvaluation *evaluation, int32 segment_id)
{
	int place = cg_find_segment(segment_id);

	return place >= 0 && in_segment_at(evaluation, place);
}

/* Whether the customer fulfils a rule. */
bool
cg_evaluation_fulfils(CgEvaluation *evaluation, const SegmentRule *rule)
{
	return fulfils(evaluation, &rule->root);
}

void
cg_evaluation_end(CgEvaluation *evaluation)
{
	cg_scan_end(&evaluation->facts);
	pfree(evaluation->answers);
	pfree(evaluation);
}
