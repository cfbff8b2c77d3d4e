/*
 * pricing.c
 *		The effective price of one item for one customer.
 *
 * A question is answered under the active snapshot: the rows of the customer,
 * its memberships, the item, its categories and its price in the store are
 * looked up by their primary keys; everything else comes from the caches of
 * promotions.h, which answer for the same snapshot.  Nothing is written, no
 * lock is taken but the readers' on tables, and all memory is the caller's.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "calendar/calendar.h"
#include "catalog/catalog.h"
#include "pricing/decimal.h"
#include "promotions/promotions.h"
#include "sales/sales.h"
#include "segments/segments.h"

/* What is asked. */
typedef struct Question
{
	bool        has_customer;
	int64       customer_id;
	int64       item_id;
	bool        has_store;
	int32       store_id;
	CgDecimal   quantity;
	bool        has_order_value;
	CgDecimal   order_value;
	TimestampTz at;
} Question;

/* Where, when and for whom: what follows from the question but for the item. */
typedef struct Context
{
	char       currency[4]; /* of the store, else of the settings */
	char       settings_currency[4];
	CgRounding rounding;
	DateADT    day;     /* of the question, in the store's time zone */
	int        ngroups; /* groups that count for prices, ascending */
	int        max_groups;
	int32     *groups;
} Context;

/* The item, and the promotions found for it. */
typedef struct Candidates
{
	const Question *question;
	const Context  *context;
	uint32          number; /* of the question */
	int             n;
	int             max;
	CgPromotion   **promotions;
	Snapshot        snapshot;
	CgEvaluation   *segments; /* of the customer, once a promotion asks for them */
} Candidates;

/* The answer. */
typedef struct Price
{
	CgDecimal list_price;
	CgDecimal price;
	int       napplied;
	Datum    *applied; /* ids of promotions, in the order applied */
} Price;

static void
pg_attribute_noreturn() unknown(const char *what, int64 id)
{
	ereport(ERROR, (errcode(ERRCODE_NO_DATA), errmsg("unknown %s", what),
					errdetail("There is no %s with id " INT64_FORMAT ".", what, id),
					errhint("Insert it first, or ask with the id of an existing one.")));
}

static void
pg_attribute_noreturn() null_argument(const char *name)
{
	ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name),
					errhint("Leave the argument out to get its default.")));
}

/*
 * Reads a numeric argument that is only compared with limits of promotions;
 * raises 22023 when it is no number, or not above the least.  What is finer or
 * larger than any limit is cut down, which changes no comparison.
 */
static CgDecimal
decimal_argument(Datum datum, const char *name, bool zero_allowed)
{
	Numeric   number = DatumGetNumeric(datum);
	CgDecimal value = 0;
	bool      valid = !numeric_is_nan(number) && !numeric_is_inf(number);

	if (valid && !cg_decimal_from_numeric(datum, &value))
	{
		Datum cut = DirectFunctionCall2(numeric_trunc, datum, Int32GetDatum(CG_DECIMAL_SCALE));

		if (!cg_decimal_from_numeric(cut, &value))
		{
			valid = DatumGetBool(
				DirectFunctionCall2(numeric_gt, datum, NumericGetDatum(int64_to_numeric(0))));
			value = CG_DECIMAL_LIMIT;
		}
		else if (value == 0)
			valid = DatumGetBool(
				DirectFunctionCall2(numeric_gt, datum, NumericGetDatum(int64_to_numeric(0))));
	}
	else if (valid)
		valid = value > 0 || zero_allowed;
	if (!valid)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid %s", name),
						errdetail("The %s is %s.", name,
								  DatumGetCString(DirectFunctionCall1(numeric_out, datum))),
						errhint("Give a finite number %s 0.", zero_allowed ? "from" : "above")));
	return value;
}

/*
 * Reads the arguments (customer, item, store, quantity, order value, at); false
 * when the item is null.
 */
static bool
read_question(FunctionCallInfo fcinfo, Question *question)
{
	if (PG_ARGISNULL(1))
		return false;
	question->has_customer = !PG_ARGISNULL(0);
	question->customer_id = question->has_customer ? PG_GETARG_INT64(0) : 0;
	question->item_id = PG_GETARG_INT64(1);
	question->has_store = !PG_ARGISNULL(2);
	question->store_id = question->has_store ? PG_GETARG_INT32(2) : 0;
	if (PG_ARGISNULL(3))
		null_argument("quantity");
	question->quantity = decimal_argument(PG_GETARG_DATUM(3), "quantity", false);
	question->has_order_value = !PG_ARGISNULL(4);
	question->order_value = question->has_order_value
								? decimal_argument(PG_GETARG_DATUM(4), "order value", true)
								: 0;
	question->at = cg_time_argument(fcinfo, 5);
	return true;
}

static void
add_group(Context *context, int32 group_id)
{
	if (context->ngroups == context->max_groups)
	{
		context->max_groups = Max(2 * context->max_groups, 16);
		context->groups = context->groups == NULL
							  ? palloc(context->max_groups * sizeof(int32))
							  : repalloc(context->groups, context->max_groups * sizeof(int32));
	}
	context->groups[context->ngroups++] = group_id;
}

/*
 * Collects the groups that count for prices, and checks that the customer
 * exists: a membership tells, by its foreign key.
 */
static void
read_customer(const Question *question, Context *context, Snapshot snapshot)
{
	CgScan scan;
	bool   known = false;

	/* The primary key gives them ascending by group. */
	cg_scan_begin(&scan, CG_MEMBERS, snapshot, 1, Int64GetDatum(question->customer_id), 0);
	while (cg_scan_next(&scan))
	{
		bool           isnull;
		Datum          datum;
		const CgGroup *group;

		known = true;
		datum = cg_scan_get(&scan, CG_MEMBERS_VALID_FROM, &isnull);
		if (!isnull && DatumGetDateADT(datum) > context->day)
			continue;
		datum = cg_scan_get(&scan, CG_MEMBERS_VALID_UNTIL, &isnull);
		if (!isnull && DatumGetDateADT(datum) < context->day)
			continue;
		group = cg_find_group(DatumGetInt32(cg_scan_get(&scan, CG_MEMBERS_GROUP_ID, &isnull)));
		if (group != NULL &&
			cg_group_counts(group, question->has_store ? &question->store_id : NULL, context->day))
			add_group(context, group->id);
	}
	cg_scan_end(&scan);
	if (!known && !cg_customer_exists(question->customer_id, snapshot))
		unknown("customer", question->customer_id);
}

/* Finds out where, when and for whom the question is asked. */
static void
read_context(const Question *question, Context *context, Snapshot snapshot)
{
	const CgDefinitions *definitions = cg_definitions(snapshot);
	pg_tz               *timezone = definitions->settings.timezone;

	memset(context, 0, sizeof(Context));
	strcpy(context->settings_currency, definitions->settings.currency);
	strcpy(context->currency, definitions->settings.currency);
	context->rounding = definitions->settings.rounding;
	if (question->has_store)
	{
		const CgStore *store = cg_find_store(question->store_id);

		if (store == NULL)
			unknown("store", question->store_id);
		strcpy(context->currency, store->currency);
		context->rounding = store->rounding;
		timezone = store->timezone;
	}
	context->day = cg_day_of(question->at, timezone);
	if (question->has_customer)
		read_customer(question, context, snapshot);
}

/* A price that may be null; false when it is. */
static bool
read_price(CgScan *scan, int column, CgDecimal *price)
{
	bool  isnull;
	Datum datum = cg_scan_get(scan, column, &isnull);

	if (isnull)
		return false;
	if (!cg_decimal_from_numeric(datum, price))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("price %s is out of range",
							   DatumGetCString(DirectFunctionCall1(numeric_out, datum))),
						errhint("Validate the CHECK constraints of tables items and "
								"store_prices.")));
	return true;
}

/* Whether a promotion is for this customer, as far as groups go. */
static bool
is_for_groups(const CgPromotion *promotion, const Context *context)
{
	int i = 0;
	int j = 0;

	while (i < promotion->ngroups && j < context->ngroups)
	{
		if (promotion->groups[i] == context->groups[j])
			return true;
		if (promotion->groups[i] < context->groups[j])
			i++;
		else
			j++;
	}
	return false;
}

/* Whether a promotion is for this customer, as far as segments go. */
static bool
is_for_segments(const CgPromotion *promotion, Candidates *candidates)
{
	const Question *question = candidates->question;

	if (promotion->nsegments == 0 || !question->has_customer)
		return false;
	if (candidates->segments == NULL)
	{
		candidates->segments = cg_evaluation_begin(question->at, candidates->snapshot);
		cg_evaluation_customer(candidates->segments, question->customer_id);
	}
	for (int i = 0; i < promotion->nsegments; i++)
		if (cg_evaluation_in_segment(candidates->segments, promotion->segments[i]))
			return true;
	return false;
}

/*
 * Takes a promotion that covers the item as a candidate, if it is open to the
 * customer and its conditions are met.
 */
static void
consider(CgPromotion *promotion, void *state)
{
	Candidates     *candidates = state;
	const Question *question = candidates->question;
	const Context  *context = candidates->context;
	bool            in_any_currency;

	if (promotion->seen == candidates->number)
		return;
	promotion->seen = candidates->number;

	if (question->at < promotion->starts_at || question->at >= promotion->ends_at)
		return;
	if (promotion->nstores > 0)
	{
		bool covered = false;

		for (int i = 0; question->has_store && !covered && i < promotion->nstores; i++)
			covered = promotion->stores[i] == question->store_id;
		if (!covered)
			return;
	}
	in_any_currency = promotion->kind == CG_PERCENT && !promotion->has_max_discount &&
					  !promotion->has_min_order_value;
	if (!in_any_currency &&
		strcmp(promotion->currency[0] != '\0' ? promotion->currency : context->settings_currency,
			   context->currency) != 0)
		return;
	if (promotion->has_min_quantity && question->quantity < promotion->min_quantity)
		return;
	if (promotion->has_min_order_value &&
		(!question->has_order_value || question->order_value < promotion->min_order_value))
		return;

	/* Dearest last; a promotion found by a group is for it. */
	if (cg_is_restricted(promotion) && promotion->wide && !is_for_groups(promotion, context) &&
		!is_for_segments(promotion, candidates))
		return;

	if (candidates->n == candidates->max)
	{
		candidates->max *= 2;
		candidates->promotions = repalloc(candidates->promotions,
										  candidates->max * sizeof(CgPromotion *));
	}
	candidates->promotions[candidates->n++] = promotion;
}

/* Collects the candidates on one category and all those above it. */
static void
find_by_category(int32 category, const Context *context, Candidates *candidates)
{
	CgCover cover = {.kind = CG_COVER_CATEGORY};
	int     depth = 0;

	do
	{
		/* The triggers refuse a cycle; a restored one must not hang us. */
		CHECK_FOR_INTERRUPTS();
		cover.id = category;
		cg_find_promotions(cover, context->groups, context->ngroups, consider, candidates);
	} while (depth++ < 1000 && cg_category_parent(category, &category));
}

/*
 * What one promotion makes of a price.
 */
static CgDecimal
price_with(const CgPromotion *promotion, CgDecimal price, CgDecimal min_price,
		   const CgRounding *rounding)
{
	CgDecimal least = 0;
	CgDecimal result = 0;

	if (promotion->has_max_discount)
		least = Max(price - promotion->max_discount, 0);
	switch (promotion->kind)
	{
		case CG_PERCENT:
			result = cg_decimal_less_percent(price, promotion->value, least, rounding);
			break;
		case CG_AMOUNT:
			result = cg_decimal_round(Max(price - promotion->value, least), rounding);
			break;
		case CG_FIXED_PRICE:
			result = cg_decimal_round(Max(promotion->value, least), rounding);
			break;
	}
	return Min(price, Max(result, min_price));
}

static int
compare_candidates(const void *a, const void *b)
{
	const CgPromotion *x = *(CgPromotion *const *) a;
	const CgPromotion *y = *(CgPromotion *const *) b;

	if (x->stage != y->stage)
		return x->stage < y->stage ? -1 : 1;
	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/*
 * Applies the best of one stage: promotions[0 .. n - 1], ascending by priority
 * and id.
 */
static void
apply_stage(CgPromotion **promotions, int n, CgDecimal min_price, const CgRounding *rounding,
			Price *price)
{
	const CgPromotion *best = NULL; /* not combinable, applied alone */
	CgDecimal          best_price = price->price;
	int                best_rank = n;
	CgDecimal          combined_price = price->price;
	int                combined_rank = n; /* of the first that changed the price */
	int                ncombined = 0;
	Datum             *combined = &price->applied[price->napplied];

	for (int i = 0; i < n; i++)
	{
		CgDecimal result;

		if (promotions[i]->combinable)
		{
			result = price_with(promotions[i], combined_price, min_price, rounding);
			if (result < combined_price)
			{
				combined_price = result;
				combined_rank = Min(combined_rank, i);
				combined[ncombined++] = Int32GetDatum(promotions[i]->id);
			}
		}
		else
		{
			result = price_with(promotions[i], price->price, min_price, rounding);
			if (result < best_price)
			{
				best = promotions[i];
				best_price = result;
				best_rank = i;
			}
		}
	}

	if (ncombined > 0 && (combined_price < best_price ||
						  (combined_price == best_price && combined_rank < best_rank)))
	{
		price->price = combined_price;
		price->napplied += ncombined;
	}
	else if (best != NULL)
	{
		price->price = best_price;
		price->applied[price->napplied++] = Int32GetDatum(best->id);
	}
}

/*
 * Finds the list price and the floor of the item in the store; raises 22023
 * when it has no price there.
 */
static void
read_item(const Question *question, const Context *context, Snapshot snapshot,
		  CgDecimal *list_price, CgDecimal *min_price, bool *has_brand, int32 *brand)
{
	CgScan scan;
	Datum  datum;
	bool   isnull;
	bool   has_price = false;

	*min_price = 0;
	cg_scan_begin(&scan, CG_ITEMS, snapshot, 1, Int64GetDatum(question->item_id), 0);
	if (!cg_scan_next(&scan))
		unknown("item", question->item_id);
	datum = cg_scan_get(&scan, CG_ITEMS_BRAND_ID, &isnull);
	*has_brand = !isnull;
	*brand = DatumGetInt32(datum);
	if (strcmp(context->currency, context->settings_currency) == 0)
	{
		has_price = read_price(&scan, CG_ITEMS_PRICE, list_price);
		read_price(&scan, CG_ITEMS_MIN_PRICE, min_price);
	}
	cg_scan_end(&scan);

	if (question->has_store)
	{
		cg_scan_begin(&scan, CG_STORE_PRICES, snapshot, 2, Int64GetDatum(question->item_id),
					  Int32GetDatum(question->store_id));
		if (cg_scan_next(&scan))
		{
			has_price = read_price(&scan, CG_STORE_PRICES_PRICE, list_price) || has_price;
			read_price(&scan, CG_STORE_PRICES_MIN_PRICE, min_price);
		}
		cg_scan_end(&scan);
	}
	if (!has_price)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the item has no price there"),
				 question->has_store
					 ? errdetail("Item " INT64_FORMAT " has no price in %s in store %d.",
								 question->item_id, context->currency, question->store_id)
					 : errdetail("Item " INT64_FORMAT " has no price of its own, and no store is "
								 "given.",
								 question->item_id),
				 errhint("Give it a price in items (settings' currency) or in store_prices.")));
}

/*
 * Answers a question; the result's array is in the current memory context.
 */
static void
answer(const Question *question, Price *price, int *digits)
{
	Snapshot   snapshot = GetActiveSnapshot();
	Context    context;
	Candidates candidates = {.question = question, .context = &context, .max = 32};
	CgCover    cover = {.kind = CG_COVER_ALL};
	CgDecimal  min_price;
	bool       has_brand;
	int32      brand;
	CgScan     scan;

	cg_check_view();
	read_context(question, &context, snapshot);
	*digits = context.rounding.digits;
	read_item(question, &context, snapshot, &price->list_price, &min_price, &has_brand, &brand);

	cg_promotions(snapshot);
	candidates.snapshot = snapshot;
	candidates.number = cg_next_question();
	candidates.promotions = palloc(candidates.max * sizeof(CgPromotion *));
	cg_find_promotions(cover, context.groups, context.ngroups, consider, &candidates);
	cover.kind = CG_COVER_ITEM;
	cover.id = question->item_id;
	cg_find_promotions(cover, context.groups, context.ngroups, consider, &candidates);
	if (has_brand)
	{
		cover.kind = CG_COVER_BRAND;
		cover.id = brand;
		cg_find_promotions(cover, context.groups, context.ngroups, consider, &candidates);
	}
	cg_scan_begin(&scan, CG_ITEM_CATEGORIES, snapshot, 1, Int64GetDatum(question->item_id), 0);
	while (cg_scan_next(&scan))
	{
		bool isnull;

		find_by_category(DatumGetInt32(cg_scan_get(&scan, CG_ITEM_CATEGORIES_CATEGORY_ID, &isnull)),
						 &context, &candidates);
	}
	cg_scan_end(&scan);

	if (candidates.segments != NULL)
		cg_evaluation_end(candidates.segments);

	qsort(candidates.promotions, candidates.n, sizeof(CgPromotion *), compare_candidates);
	price->price = price->list_price;
	price->napplied = 0;
	price->applied = palloc((candidates.n + 1) * sizeof(Datum));
	for (int first = 0, last; first < candidates.n; first = last)
	{
		for (last = first + 1; last < candidates.n && candidates.promotions[last]->stage ==
														  candidates.promotions[first]->stage;)
			last++;
		apply_stage(&candidates.promotions[first], last - first, min_price, &context.rounding,
					price);
	}
}

/*
 * effective_discount(customer_id, item_id, store_id, quantity, order_value, at)
 */
PG_FUNCTION_INFO_V1(cg_effective_discount);
Datum
cg_effective_discount(PG_FUNCTION_ARGS)
{
	Question question;
	Price    price;
	int      digits;

	if (!read_question(fcinfo, &question))
		PG_RETURN_NULL();
	answer(&question, &price, &digits);
	PG_RETURN_NUMERIC(cg_decimal_to_numeric(price.list_price - price.price, digits));
}

/*
 * effective_price(customer_id, item_id, store_id, quantity, order_value, at)
 */
PG_FUNCTION_INFO_V1(cg_effective_price);
Datum
cg_effective_price(PG_FUNCTION_ARGS)
{
	Question  question;
	Price     price;
	int       digits;
	TupleDesc desc;
	Datum     values[4];
	bool      nulls[4] = {false};

	if (!read_question(fcinfo, &question))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	answer(&question, &price, &digits);
	values[0] = NumericGetDatum(cg_decimal_to_numeric(price.list_price, digits));
	values[1] = NumericGetDatum(cg_decimal_to_numeric(price.list_price - price.price, digits));
	values[2] = NumericGetDatum(cg_decimal_to_numeric(price.price, digits));
	values[3] = PointerGetDatum(
		construct_array(price.applied, price.napplied, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
