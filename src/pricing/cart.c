/*
 * cart.c
 *		The price of a cart.
 *
 * Items are read once each, in the order of their ids; then every line is priced
 * as effective_price would, with the cart's value at list prices as the order
 * value; then come the promotions on the whole order (order_level.c).  A cart is
 * priced under one snapshot.  All memory is the caller's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "pricing/pricing_internal.h"

pg_noreturn static void
out_of_range(int line_no)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("the cart is worth too much"),
			 line_no > 0 ? errdetail("At list price, line %d is not less than 10^14.", line_no)
						 : errdetail("At list prices, it is not less than 10^14."),
			 errhint("Split it into several.")));
}

static int
compare_lines(const void *a, const void *b)
{
	const CgCartLine *x = *(CgCartLine *const *) a;
	const CgCartLine *y = *(CgCartLine *const *) b;

	if (x->item_id != y->item_id)
		return x->item_id < y->item_id ? -1 : 1;
	return x->line_no - y->line_no;
}

/* Reads the items of the lines. */
static void
read_items(const CgInquiry *inquiry, const CgCart *cart, CgOrderLine *lines)
{
	CgCartLine **sorted = palloc((cart->nlines + 1) * sizeof(CgCartLine *));
	CgItem      *items = palloc0((cart->nlines + 1) * sizeof(CgItem));
	int          nitems = 0;
	CgItemReader reader;

	for (int i = 0; i < cart->nlines; i++)
		sorted[i] = &cart->lines[i];
	qsort(sorted, cart->nlines, sizeof(CgCartLine *), compare_lines);
	cg_items_begin(&reader, inquiry);
	for (int i = 0; i < cart->nlines; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i == 0 || sorted[i]->item_id != sorted[i - 1]->item_id)
			cg_items_read(&reader, sorted[i]->item_id, sorted[i]->line_no, &items[nitems++]);
		lines[sorted[i] - cart->lines].item = &items[nitems - 1];
	}
	cg_items_end(&reader);
	pfree(sorted);
}

/* Prices a line by the item-level promotions. */
static void
price_line(CgInquiry *inquiry, CgDecimal order_value, CgOrderLine *line)
{
	CgPricedLine *priced = line->priced;
	CgQuestion    question = {.item_id = priced->item_id,
							  .quantity = priced->quantity,
							  .has_order_value = true,
							  .order_value = order_value};
	CgPrice       price;

	cg_price_item(inquiry, line->item, &question, &price);
	priced->unit_price = price.price;
	priced->total = priced->list_total;
	for (int i = 0; i < price.nsteps; i++)
	{
		CgDecimal before = priced->total;

		/* Not more than list_total, which is in range. */
		cg_decimal_times(priced->quantity, price.steps[i].price, false, &inquiry->rounding,
						 &priced->total);
		cg_add_share(inquiry, line, price.steps[i].promotion, before - priced->total);
	}
	pfree(price.steps);
	if (!cg_decimal_times(priced->quantity, line->item->min_price, true, &inquiry->rounding,
						  &line->floor))
		line->floor = CG_DECIMAL_LIMIT;
}

/*
 * Prices a cart; see pricing.h.
 */
void
cg_price_cart(const CgCart *cart, CgPricedCart *result)
{
	CgInquiry    inquiry = {.has_customer = cart->has_customer,
							.customer_id = cart->customer_id,
							.has_store = cart->has_store,
							.store_id = cart->store_id,
							.at = cart->at};
	CgOrderLine *lines = palloc0((cart->nlines + 1) * sizeof(CgOrderLine));

	cg_check_view();
	cg_inquiry_begin(&inquiry);
	strcpy(result->currency, inquiry.currency);
	result->digits = inquiry.rounding.digits;
	result->order_value = result->total = 0;
	result->nlines = cart->nlines;
	result->lines = palloc0((cart->nlines + 1) * sizeof(CgPricedLine));

	read_items(&inquiry, cart, lines);
	for (int i = 0; i < cart->nlines; i++)
	{
		CgPricedLine *priced = &result->lines[i];

		lines[i].priced = priced;
		priced->line_no = cart->lines[i].line_no;
		priced->item_id = cart->lines[i].item_id;
		priced->quantity = cart->lines[i].quantity;
		priced->list_price = lines[i].item->list_price;
		if (!cg_decimal_times(priced->quantity, priced->list_price, false, &inquiry.rounding,
							  &priced->list_total))
			out_of_range(priced->line_no);
		result->order_value += priced->list_total;
		if (result->order_value >= CG_DECIMAL_LIMIT)
			out_of_range(0);
	}
	for (int i = 0; i < cart->nlines; i++)
	{
		CHECK_FOR_INTERRUPTS();
		price_line(&inquiry, result->order_value, &lines[i]);
	}
	cg_price_order(&inquiry, lines, cart->nlines);
	cg_inquiry_end(&inquiry);

	for (int i = 0; i < cart->nlines; i++)
	{
		CgPricedLine *priced = &result->lines[i];

		priced->discount = priced->list_total - priced->total;
		result->total += priced->total;
	}
}

/* The promotions of a line's shares, as an array. */
static Datum
share_ids(const CgPricedLine *line)
{
	Datum     *ids = palloc((line->nshares + 1) * sizeof(Datum));
	ArrayType *array;

	for (int i = 0; i < line->nshares; i++)
		ids[i] = Int32GetDatum(line->shares[i].promotion_id);
	array = construct_array(ids, line->nshares, INT4OID, sizeof(int32), true, TYPALIGN_INT);
	pfree(ids);
	return PointerGetDatum(array);
}

static void
price_cart(FunctionCallInfo fcinfo, bool by_key)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CgInquiry      asked;
	CgCart         cart;
	CgPricedCart   result;

	cg_check_view();
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("lines must not be null"),
						errhint("A cart without lines is an empty array.")));
	cg_read_customer_argument(fcinfo, 0, by_key, &asked);
	cg_read_store_argument(fcinfo, 2, &asked);
	cart.has_customer = asked.has_customer;
	cart.customer_id = asked.customer_id;
	cart.has_store = asked.has_store;
	cart.store_id = asked.store_id;
	cart.at = cg_time_argument(fcinfo, 3);
	cg_read_cart(PG_GETARG_JSONB_P(1), by_key, &cart);
	cg_price_cart(&cart, &result);

	for (int i = 0; i < result.nlines; i++)
	{
		const CgPricedLine *line = &result.lines[i];
		bool                nulls[8] = {false};
		Datum               values[8] = {Int32GetDatum(line->line_no),
										 Int64GetDatum(line->item_id),
										 NumericGetDatum(cg_decimal_to_numeric(line->quantity, 0)),
										 NumericGetDatum(cg_decimal_to_numeric(line->list_price, result.digits)),
										 NumericGetDatum(cg_decimal_to_numeric(line->discount, result.digits)),
										 NumericGetDatum(cg_decimal_to_numeric(line->total, result.digits)),
										 share_ids(line),
										 PointerGetDatum(cart.lines[i].external_id)};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/*
 * price_cart(customer_id, lines, store_id, at)
 *		→ TABLE(line_no, item_id, quantity, list_price, discount, total, promotion_ids)
 * By key, the item's external_id is the last column.
 */
PG_FUNCTION_INFO_V1(cg_price_cart_lines);
Datum
cg_price_cart_lines(PG_FUNCTION_ARGS)
{
	price_cart(fcinfo, false);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(cg_price_cart_by_key);
Datum
cg_price_cart_by_key(PG_FUNCTION_ARGS)
{
	price_cart(fcinfo, true);
	return (Datum) 0;
}
