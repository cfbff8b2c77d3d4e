/*
 * check_sale.c
 *		What a sale must fulfil before it is booked, and the words for it.
 *
 * The constraints of the table hold the same for each row alone; this trigger
 * comes before them to say what to do, and makes the checks that look at other
 * tables.  Those are left out for rows that were recorded before.  Currencies of
 * stores and settings cannot change under it: who changes one waits for the
 * statement's lock on sales (see check_currency).
 *
 * State kept from row to row lives as long as the statement: fn_extra.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog/tables.h"
#include "promotions/promotions.h"
#include "sales/facts.h"
#include "sales/sales.h"

/* What has been found out for earlier rows of the statement. */
typedef struct StatementState
{
	bool    has_customer;
	int64   customer_id; /* is there */
	bool    has_store;
	int32   store_id;    /* is there */
	char    currency[4]; /* of that store */
	char    settings_currency[4];
	Numeric zero;
	Numeric one;
} StatementState;

static Datum
column(HeapTuple tuple, TupleDesc desc, int number, bool *isnull)
{
	return heap_getattr(tuple, cg_attnum(CG_SALES, number), desc, isnull);
}

static int
compare_numeric(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

static char *
numeric_text(Numeric value)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value)));
}

/* The amount must be there, a number, and of the sign of its kind. */
static void
check_amount(const StatementState *state, HeapTuple tuple, TupleDesc desc)
{
	bool    isnull;
	Datum   datum = column(tuple, desc, CG_SALES_AMOUNT, &isnull);
	Datum   kind;
	Numeric amount;
	int     sign;

	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_NOT_NULL_VIOLATION),
						errmsg("the amount of a sale must not be null"),
						errdetail("The amount is the money received for it."),
						errhint("Give 0 for a visit that was paid for earlier.")));
	amount = DatumGetNumeric(datum);
	if (numeric_is_nan(amount) || numeric_is_inf(amount))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("the amount of a sale must be a finite number"),
						errdetail("The amount is %s.", numeric_text(amount)),
						errhint("Give the money received, 0 for none.")));
	kind = column(tuple, desc, CG_SALES_KIND, &isnull);
	if (isnull)
		return; /* the table refuses it */
	sign = compare_numeric(amount, state->zero);
	if (cg_sale_kind(DatumGetObjectId(kind)) == CG_SALE_REFUND ? sign > 0 : sign < 0)
		ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("the amount has the wrong sign"),
						errdetail("The amount is %s.", numeric_text(amount)),
						sign > 0 ? errhint("A refund has an amount of 0 or less.")
								 : errhint("Only a sale of kind refund has a negative amount.")));
}

/* The customer must be there, and is if its facts are; the foreign key sees to it that it stays. */
static void
check_customer(StatementState *state, HeapTuple tuple, TupleDesc desc)
{
	bool  isnull;
	int64 customer_id = DatumGetInt64(column(tuple, desc, CG_SALES_CUSTOMER_ID, &isnull));

	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_NOT_NULL_VIOLATION),
						errmsg("the customer of a sale must not be null"),
						errhint("Insert a customer for sales to unknown persons.")));
	if (state->has_customer && state->customer_id == customer_id)
		return;
	if (!cg_facts_exist(customer_id) && !cg_customer_exists(customer_id, SnapshotSelf))
		cg_unknown_customer(customer_id);
	state->has_customer = true;
	state->customer_id = customer_id;
}

/* Reads the currency of a store that the same statement has inserted. */
static bool
read_new_store(int32 store_id, char *currency)
{
	CgScan scan;
	bool   found;

	cg_scan_begin(&scan, CG_STORES, SnapshotSelf, 1, Int32GetDatum(store_id), 0);
	found = cg_scan_next(&scan);
	if (found)
	{
		bool isnull;

		strlcpy(currency, TextDatumGetCString(cg_scan_get(&scan, CG_STORES_CURRENCY, &isnull)), 4);
	}
	cg_scan_end(&scan);
	return found;
}

/* A rate is needed just where the store's currency is not the settings'. */
static void
check_rate(StatementState *state, HeapTuple tuple, TupleDesc desc)
{
	bool  isnull;
	int32 store_id = DatumGetInt32(column(tuple, desc, CG_SALES_STORE_ID, &isnull));
	bool  has_store = !isnull;
	Datum rate = column(tuple, desc, CG_SALES_RATE, &isnull);
	bool  foreign = false;

	if (has_store && (!state->has_store || state->store_id != store_id))
	{
		const CgDefinitions *definitions = cg_definitions(GetLatestSnapshot());
		const CgStore       *store = cg_find_store(store_id);

		if (store == NULL && !read_new_store(store_id, state->currency))
			ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("unknown store"),
							errdetail("There is no store with id %d.", store_id),
							errhint("Insert the store first, or leave store_id null.")));
		state->has_store = true;
		state->store_id = store_id;
		if (store != NULL)
			strcpy(state->currency, store->currency);
		strcpy(state->settings_currency, definitions->settings.currency);
	}
	if (has_store)
		foreign = strcmp(state->currency, state->settings_currency) != 0;
	if (foreign && isnull)
		ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("the sale needs a rate"),
						errdetail("Store %d sells in %s, the settings' currency is %s.", store_id,
								  state->currency, state->settings_currency),
						errhint("Give in rate what one %s is in %s.", state->currency,
								state->settings_currency)));
	if (!foreign && !isnull && compare_numeric(DatumGetNumeric(rate), state->one) != 0)
		ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("the sale must have no rate"),
						errdetail("It is in the settings' currency, and its rate is %s.",
								  numeric_text(DatumGetNumeric(rate))),
						errhint("Leave rate null.")));
}

/*
 * Trigger check_sale: BEFORE ROW, for INSERT, UPDATE and DELETE.
 */
PG_FUNCTION_INFO_V1(cg_check_sale);
Datum
cg_check_sale(PG_FUNCTION_ARGS)
{
	TriggerData    *trigdata = (TriggerData *) fcinfo->context;
	StatementState *state = fcinfo->flinfo->fn_extra;
	TupleDesc       desc;
	HeapTuple       tuple;
	bool            update;
	bool            isnull;
	Datum           recorded_at;

	trigdata = cg_check_trigger(fcinfo, "check_sale", CG_SALES,
								TRIGGER_EVENT_ROW | TRIGGER_EVENT_BEFORE);
	cg_expect_booking(trigdata->tg_event);
	if (TRIGGER_FIRED_BY_DELETE(trigdata->tg_event))
		return PointerGetDatum(trigdata->tg_trigtuple);
	if (state == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		state = palloc0(sizeof(StatementState));
		state->zero = int64_to_numeric(0);
		state->one = int64_to_numeric(1);
		fcinfo->flinfo->fn_extra = state;
		MemoryContextSwitchTo(caller);
	}
	desc = RelationGetDescr(trigdata->tg_relation);
	update = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event);
	tuple = update ? trigdata->tg_newtuple : trigdata->tg_trigtuple;

	check_amount(state, tuple, desc);
	recorded_at = column(tuple, desc, CG_SALES_RECORDED_AT, &isnull);
	if (update ||
		(!isnull && DatumGetTimestampTz(recorded_at) == GetCurrentTransactionStartTimestamp()))
	{
		check_customer(state, tuple, desc);
		check_rate(state, tuple, desc);
	}
	return PointerGetDatum(tuple);
}
