/*
 * lines.c
 *		The trigger that keeps tracked segments in step with the lines of sales.
 *
 * What was bought is a condition of rules.  So the customers of the lines that a
 * statement changes are locked, in their order, and judged anew (segments/track.c).
 * Rows that were recorded before are left alone.  Everything is written as the
 * owner of the tables; memory is SPI's.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "catalog/tables.h"
#include "sales/sales.h"
#include "segments/segments.h"
#include "segments/track.h"

typedef struct Customers
{
	int64 *ids; /* one for each run of lines */
	int    n;
	int    max;
	uint64 restored;
} Customers;

/* Whether the sale is there still, as the last command left it. */
static bool
sale_exists(int64 customer_id, int64 sale_id)
{
	CgScan scan;
	bool   found;

	cg_scan_begin(&scan, CG_SALES, SnapshotSelf, 2, Int64GetDatum(customer_id),
				  Int64GetDatum(sale_id));
	found = cg_scan_next(&scan);
	cg_scan_end(&scan);
	return found;
}

/*
 * Lists the customers of lines.  Lines that were deleted with their sale are left
 * to the booking of that statement, which knows the state before it.
 */
static void
read_customers(Tuplestorestate *rows, TupleDesc desc, bool inserted, bool deleted,
			   Customers *customers)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TimestampTz     now = GetCurrentTransactionStartTimestamp();

	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		bool  isnull;
		int64 id;

		CHECK_FOR_INTERRUPTS();
		if (inserted &&
			DatumGetTimestampTz(slot_getattr(
				slot, cg_attnum(CG_SALE_LINES, CG_SALE_LINES_RECORDED_AT), &isnull)) != now)
		{
			customers->restored++;
			continue;
		}
		id = DatumGetInt64(
			slot_getattr(slot, cg_attnum(CG_SALE_LINES, CG_SALE_LINES_CUSTOMER_ID), &isnull));
		if (customers->n > 0 && customers->ids[customers->n - 1] == id)
			continue;
		if (deleted &&
			!sale_exists(id, DatumGetInt64(slot_getattr(
								 slot, cg_attnum(CG_SALE_LINES, CG_SALE_LINES_SALE_ID), &isnull))))
			continue;
		if (customers->n == customers->max)
		{
			customers->max = Max(2 * customers->max, 16);
			customers->ids = customers->ids == NULL
								 ? palloc(customers->max * sizeof(int64))
								 : repalloc_huge(customers->ids, customers->max * sizeof(int64));
		}
		customers->ids[customers->n++] = id;
	}
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Trigger lines_changed: AFTER STATEMENT, with the transition tables that its
 * event has.
 */
PG_FUNCTION_INFO_V1(cg_lines_changed);
Datum
cg_lines_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = cg_check_trigger(fcinfo, "lines_changed", CG_SALE_LINES,
											 TRIGGER_EVENT_AFTER);
	CommandId    command = GetActiveSnapshot()->curcid;
	TupleDesc    desc = RelationGetDescr(trigdata->tg_relation);
	Customers    customers = {0};
	CgTracking   tracking;
	CgUser       saved;

	if (trigdata->tg_newtable == NULL && trigdata->tg_oldtable == NULL)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("lines_changed needs the rows of the statement")));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (trigdata->tg_oldtable != NULL)
		read_customers(trigdata->tg_oldtable, desc, false,
					   TRIGGER_FIRED_BY_DELETE(trigdata->tg_event), &customers);
	if (trigdata->tg_newtable != NULL)
		read_customers(trigdata->tg_newtable, desc, TRIGGER_FIRED_BY_INSERT(trigdata->tg_event),
					   false, &customers);

	cg_become_owner(CG_SALE_LINES, &saved);
	customers.n = cg_sort_customers(customers.ids, customers.n);
	for (int i = 0; i < customers.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) cg_lock_customer(customers.ids[i]);
	}
	cg_track_begin(&tracking);
	cg_track_before(&tracking, customers.ids, customers.n, command);
	cg_track_after(&tracking, customers.ids, customers.n, CG_DEPENDS_LINES);
	cg_track_end(&tracking);
	cg_restore_user(&saved);
	SPI_finish();
	cg_warn_restored(CG_SALE_LINES, customers.restored);
	return PointerGetDatum(NULL);
}
