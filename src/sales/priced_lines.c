/*
 * priced_lines.c
 *		Carts for the functions that record sales: what is in them, and what each
 *		promotion takes off each line.
 *
 * The pricing room reads and prices them, under the active snapshot; here they
 * become rows.  Nothing is written, and all memory is the caller's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "calendar/calendar.h"
#include "catalog/tables.h"
#include "compat.h"
#include "pricing/pricing.h"

static void
read_cart_argument(FunctionCallInfo fcinfo, int argno, bool by_key, CgCart *cart)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("lines must not be null"),
						errhint("Give an array of lines: [{\"item\": 7, \"quantity\": 2}].")));
	cg_read_cart(PG_GETARG_JSONB_P(argno), by_key, cart);
}

/*
 * read_cart(lines jsonb, by_key boolean)
 */
PG_FUNCTION_INFO_V1(cg_read_cart_lines);
Datum
cg_read_cart_lines(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CgCart         cart = {0};

	cg_check_view();
	InitMaterializedSRF(fcinfo, 0);
	read_cart_argument(fcinfo, 0, PG_GETARG_BOOL(1), &cart);
	for (int i = 0; i < cart.nlines; i++)
	{
		Datum values[3];
		bool  nulls[3] = {false};

		values[0] = Int32GetDatum(cart.lines[i].line_no);
		values[1] = Int64GetDatum(cart.lines[i].item_id);
		values[2] = NumericGetDatum(cg_decimal_to_numeric(cart.lines[i].quantity, 0));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* The columns promotion_ids, shares and group_ids of a line. */
static void
share_columns(const CgPricedLine *line, int digits, Datum *columns)
{
	Datum *ids = palloc((line->nshares + 1) * sizeof(Datum));
	Datum *shares = palloc((line->nshares + 1) * sizeof(Datum));
	Datum *groups = palloc((line->nshares + 1) * sizeof(Datum));
	bool  *open = palloc((line->nshares + 1) * sizeof(bool));

	for (int i = 0; i < line->nshares; i++)
	{
		const CgShare *share = &line->shares[i];

		ids[i] = Int32GetDatum(share->promotion_id);
		shares[i] = NumericGetDatum(cg_decimal_to_numeric(share->discount, digits));
		groups[i] = Int32GetDatum(share->group_id);
		open[i] = !share->by_group;
	}
	columns[0] = cg_make_array(ids, NULL, line->nshares, INT4OID);
	columns[1] = cg_make_array(shares, NULL, line->nshares, NUMERICOID);
	columns[2] = cg_make_array(groups, open, line->nshares, INT4OID);
}

/*
 * priced_lines(customer_id bigint, lines jsonb, store_id int, at timestamptz)
 */
PG_FUNCTION_INFO_V1(cg_priced_lines);
Datum
cg_priced_lines(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CgCart         cart = {0};
	CgPricedCart   priced;

	cg_check_view();
	InitMaterializedSRF(fcinfo, 0);
	cart.has_customer = !PG_ARGISNULL(0);
	cart.customer_id = cart.has_customer ? PG_GETARG_INT64(0) : 0;
	cart.has_store = !PG_ARGISNULL(2);
	cart.store_id = cart.has_store ? PG_GETARG_INT32(2) : 0;
	cart.at = cg_time_argument(fcinfo, 3);
	read_cart_argument(fcinfo, 1, false, &cart);
	cg_price_cart(&cart, &priced);
	for (int i = 0; i < priced.nlines; i++)
	{
		const CgPricedLine *line = &priced.lines[i];
		Datum               values[9];
		bool                nulls[9] = {false};

		values[0] = Int32GetDatum(line->line_no);
		values[1] = Int64GetDatum(line->item_id);
		values[2] = NumericGetDatum(cg_decimal_to_numeric(line->quantity, 0));
		values[3] = NumericGetDatum(cg_decimal_to_numeric(line->list_price, priced.digits));
		values[4] = NumericGetDatum(cg_decimal_to_numeric(line->discount, priced.digits));
		values[5] = NumericGetDatum(cg_decimal_to_numeric(line->total, priced.digits));
		share_columns(line, priced.digits, &values[6]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
