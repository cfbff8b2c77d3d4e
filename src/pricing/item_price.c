/*
 * item_price.c
 *		The price of one item: effective_discount, effective_price, and
 *		effective_discounts for a list of items.
 *
 * A question is answered under the active snapshot by the files beside this one.
 * Nothing is written, no lock is taken but the readers' on tables, and all
 * memory is the caller's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "pricing/pricing_internal.h"

/* What a promotion is applied to. */
typedef struct UnitPrice
{
	CgPromotion     **promotions; /* of the stage */
	CgDecimal         min_price;
	const CgRounding *rounding;
} UnitPrice;

/* An item of a list. */
typedef struct ListedItem
{
	int64 id;
	int   place; /* in the list */
} ListedItem;

static CgDecimal
apply_to_unit(void *target, int place, CgDecimal price, bool alone)
{
	const UnitPrice *unit = target;

	return cg_price_with(unit->promotions[place], price, unit->min_price, unit->rounding);
}

/*
 * Chooses what applies of one stage to the price of an item; as cg_choose().
 */
int
cg_item_stage(CgPromotion **promotions, int n, CgDecimal price, const CgItem *item,
			  const CgRounding *rounding, CgStep *steps)
{
	UnitPrice unit = {.promotions = promotions, .min_price = item->min_price, .rounding = rounding};

	return cg_choose(promotions, n, price, apply_to_unit, &unit, steps);
}

/*
 * Answers a question about an item that has been read.
 */
void
cg_price_item(CgInquiry *inquiry, const CgItem *item, const CgQuestion *question, CgPrice *price)
{
	CgCandidates candidates;

	cg_candidates_begin(&candidates, inquiry);
	candidates.question = question;
	cg_candidates_find(&candidates, item, false);
	cg_candidates_sort(&candidates);

	price->price = price->list_price = item->list_price;
	price->nsteps = 0;
	price->steps = palloc((candidates.n + 1) * sizeof(CgStep));
	for (int first = 0, end; first < candidates.n; first = end)
	{
		end = cg_stage_end(candidates.promotions, first, candidates.n);
		price->nsteps += cg_item_stage(&candidates.promotions[first], end - first, price->price,
									   item, &inquiry->rounding, &price->steps[price->nsteps]);
		if (price->nsteps > 0)
			price->price = price->steps[price->nsteps - 1].price;
	}
	pfree(candidates.promotions);
}

/* An array of the promotions' ids. */
static Datum
step_ids(const CgStep *steps, int n)
{
	Datum     *ids = palloc((n + 1) * sizeof(Datum));
	ArrayType *array;

	for (int i = 0; i < n; i++)
		ids[i] = Int32GetDatum(steps[i].promotion->id);
	array = construct_array(ids, n, INT4OID, sizeof(int32), true, TYPALIGN_INT);
	pfree(ids);
	return PointerGetDatum(array);
}

/* list_price, discount, price and promotion_ids. */
static void
make_values(const CgPrice *price, int digits, Datum *values)
{
	values[0] = NumericGetDatum(cg_decimal_to_numeric(price->list_price, digits));
	values[1] = NumericGetDatum(cg_decimal_to_numeric(price->list_price - price->price, digits));
	values[2] = NumericGetDatum(cg_decimal_to_numeric(price->price, digits));
	values[3] = step_ids(price->steps, price->nsteps);
}

/* Answers a question from the start. */
static void
answer(CgInquiry *inquiry, const CgQuestion *question, CgPrice *price)
{
	CgItemReader reader;
	CgItem       item = {0};

	cg_inquiry_begin(inquiry);
	cg_items_begin(&reader, inquiry);
	cg_items_read(&reader, question->item_id, 0, &item);
	cg_items_end(&reader);
	cg_price_item(inquiry, &item, question, price);
	cg_inquiry_end(inquiry);
}

static Datum
effective_discount(FunctionCallInfo fcinfo, bool by_key)
{
	CgInquiry  inquiry;
	CgQuestion question;
	CgPrice    price;

	if (!cg_read_question(fcinfo, by_key, &inquiry, &question))
		PG_RETURN_NULL();
	answer(&inquiry, &question, &price);
	PG_RETURN_NUMERIC(
		cg_decimal_to_numeric(price.list_price - price.price, inquiry.rounding.digits));
}

static Datum
effective_price(FunctionCallInfo fcinfo, bool by_key)
{
	CgInquiry  inquiry;
	CgQuestion question;
	CgPrice    price;
	TupleDesc  desc;
	Datum      values[4];
	bool       nulls[4] = {false};

	if (!cg_read_question(fcinfo, by_key, &inquiry, &question))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	answer(&inquiry, &question, &price);
	make_values(&price, inquiry.rounding.digits, values);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * effective_discount(customer_id, item_id, store_id, quantity, order_value, at)
 */
PG_FUNCTION_INFO_V1(cg_effective_discount);
Datum
cg_effective_discount(PG_FUNCTION_ARGS)
{
	return effective_discount(fcinfo, false);
}

PG_FUNCTION_INFO_V1(cg_effective_discount_by_key);
Datum
cg_effective_discount_by_key(PG_FUNCTION_ARGS)
{
	return effective_discount(fcinfo, true);
}

/*
 * effective_price(customer_id, item_id, store_id, quantity, order_value, at)
 */
PG_FUNCTION_INFO_V1(cg_effective_price);
Datum
cg_effective_price(PG_FUNCTION_ARGS)
{
	return effective_price(fcinfo, false);
}

PG_FUNCTION_INFO_V1(cg_effective_price_by_key);
Datum
cg_effective_price_by_key(PG_FUNCTION_ARGS)
{
	return effective_price(fcinfo, true);
}

static int
compare_listed(const void *a, const void *b)
{
	const ListedItem *x = a;
	const ListedItem *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->place - y->place;
}

/* The ids that stand in an array; which of them are null is said in nulls. */
static int
read_ids(ArrayType *array, bool by_key, int64 **ids, Datum **elements, bool **nulls)
{
	Oid type = by_key ? TEXTOID : INT8OID;
	int n;

	deconstruct_array(array, type, by_key ? -1 : (int) sizeof(int64), !by_key,
					  by_key ? TYPALIGN_INT : TYPALIGN_DOUBLE, elements, nulls, &n);
	*ids = palloc((n + 1) * sizeof(int64));
	if (by_key)
		cg_items_by_keys(*elements, *nulls, n, false, GetActiveSnapshot(), *ids);
	else
		for (int i = 0; i < n; i++)
			(*ids)[i] = DatumGetInt64((*elements)[i]);
	return n;
}

/*
 * The items are read and priced in the order of their ids, each once, and
 * returned in the order given.
 */
static void
effective_discounts(FunctionCallInfo fcinfo, bool by_key)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CgInquiry      inquiry = {.at = cg_time_argument(fcinfo, 3)};
	CgItemReader   reader;
	CgQuestion     question = {.quantity = CG_DECIMAL_ONE};
	int64         *ids;
	Datum         *elements;
	bool          *no_id;
	int            n;
	ListedItem    *items;
	int            nitems = 0;
	CgItem         item = {0};
	Datum(*results)[4];

	cg_check_view();
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(1))
		return;
	cg_read_customer_argument(fcinfo, 0, by_key, &inquiry);
	cg_read_store_argument(fcinfo, 2, &inquiry);
	n = read_ids(PG_GETARG_ARRAYTYPE_P(1), by_key, &ids, &elements, &no_id);
	items = palloc((n + 1) * sizeof(ListedItem));
	results = palloc0((n + 1) * sizeof(*results));
	for (int i = 0; i < n; i++)
		if (!no_id[i])
		{
			items[nitems].id = ids[i];
			items[nitems++].place = i;
		}
	qsort(items, nitems, sizeof(ListedItem), compare_listed);

	cg_inquiry_begin(&inquiry);
	cg_items_begin(&reader, &inquiry);
	for (int i = 0; i < nitems; i++)
	{
		CgPrice price;

		CHECK_FOR_INTERRUPTS();
		if (i > 0 && items[i].id == items[i - 1].id)
		{
			memcpy(results[items[i].place], results[items[i - 1].place], sizeof(*results));
			continue;
		}
		cg_items_read(&reader, items[i].id, 0, &item);
		question.item_id = item.id;
		cg_price_item(&inquiry, &item, &question, &price);
		make_values(&price, inquiry.rounding.digits, results[items[i].place]);
		pfree(price.steps);
	}
	cg_items_end(&reader);
	cg_inquiry_end(&inquiry);

	for (int i = 0; i < n; i++)
	{
		Datum values[6] = {Int64GetDatum(ids[i])};
		bool  nulls[6];

		memcpy(&values[1], results[i], sizeof(*results));
		values[5] = elements[i];
		memset(nulls, no_id[i], sizeof(nulls));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/*
 * effective_discounts(customer_id, item_ids, store_id, at)
 *		→ TABLE(item_id, list_price, discount, price, promotion_ids)
 */
PG_FUNCTION_INFO_V1(cg_effective_discounts);
Datum
cg_effective_discounts(PG_FUNCTION_ARGS)
{
	effective_discounts(fcinfo, false);
	return (Datum) 0;
}

/*
 * The same by external_id, which is the last column of the result.
 */
PG_FUNCTION_INFO_V1(cg_effective_discounts_by_key);
Datum
cg_effective_discounts_by_key(PG_FUNCTION_ARGS)
{
	effective_discounts(fcinfo, true);
	return (Datum) 0;
}
