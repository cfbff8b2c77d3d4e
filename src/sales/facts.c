/*
 * facts.c
 *		Adding to the facts rows of customers, which are also their locks.
 *
 * A sale changes one row, found by its key, and changes it in place: the
 * executor takes longer to get ready for that than it takes.  So it is done here
 * as the executor does it, as long as there is nothing more to do for the table:
 * see cg_is_plain().  Once a shop has put a trigger, a rule, a CHECK constraint or a
 * generated column on it, an UPDATE statement is executed instead.  So it is for
 * a row that this transaction has inserted, as its foreign key may still be
 * unchecked, and for one that is not found, lest an older snapshot is the reason.
 *
 * Isolation is that of an UPDATE: a row that somebody else has changed is waited
 * for; then at READ COMMITTED its newest version is changed, and from REPEATABLE
 * READ on it is a serialization failure (40001).
 *
 * Between begin and end, a snapshot of the isolation level is active, and the table
 * locked to the end of the transaction.  Memory is the caller's: SPI must be
 * connected, the user be the owner of the tables.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "promotions/promotions.h"
#include "sales/facts.h"

static CgStatement update_facts = {
	.generic = true,
	.sql = "UPDATE customer_groups.customer_facts SET "
		   "	visits = visits OPERATOR(pg_catalog.+) $2, "
		   "	net_sales = net_sales OPERATOR(pg_catalog.+) $3, "
		   "	refunds = refunds OPERATOR(pg_catalog.+) $4, "
		   "	prepaid_purchases = prepaid_purchases OPERATOR(pg_catalog.+) $5, "
		   "	pass_purchases = pass_purchases OPERATOR(pg_catalog.+) $6, "
		   "	no_shows = no_shows OPERATOR(pg_catalog.+) $7, "
		   "	first_visit_at = least(first_visit_at, $8), "
		   "	last_visit_at = greatest(last_visit_at, $9) "
		   "WHERE customer_id OPERATOR(pg_catalog.=) $1 "
		   "RETURNING visits, net_sales, first_visit_at, last_visit_at, skip_auto_upgrade, "
		   "	visits OPERATOR(pg_catalog.+) refunds OPERATOR(pg_catalog.+) prepaid_purchases "
		   "		OPERATOR(pg_catalog.+) pass_purchases OPERATOR(pg_catalog.+) no_shows "
		   "		OPERATOR(pg_catalog.>) 0",
	.argtypes = {INT8OID, INT8OID, NUMERICOID, INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID,
				 TIMESTAMPTZOID},
	.restypes = {INT8OID, NUMERICOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, BOOLOID}};

/* The columns that count sales, by kind. */
static const int count_columns[] = {
	[CG_SALE_PRODUCT] = CG_CUSTOMER_FACTS_VISITS,
	[CG_SALE_REFUND] = CG_CUSTOMER_FACTS_REFUNDS,
	[CG_SALE_PREPAID] = CG_CUSTOMER_FACTS_PREPAID_PURCHASES,
	[CG_SALE_PASS] = CG_CUSTOMER_FACTS_PASS_PURCHASES,
	[CG_SALE_NO_SHOW] = CG_CUSTOMER_FACTS_NO_SHOWS,
};

/* The facts row that was last looked for and found, as long as the table is locked. */
static struct
{
	int64           customer_id;
	ItemPointerData place;
	uint32          lxid;    /* local transaction, as long as that ... */
	uint64          aborts;  /* ... has aborted no further subtransaction */
	uint64          changes; /* cg_table_changes() */
} seen;

/*
 * Gets ready to change facts rows, in the order of their customers; says whether
 * to keep what the last one was before.
 */
void
cg_facts_begin(CgFactsWriter *writer, bool keep)
{
	TupleDesc desc;

	memset(writer, 0, sizeof(CgFactsWriter));
	writer->rel = cg_table_open(CG_CUSTOMER_FACTS, RowExclusiveLock);
	writer->scan.lockmode = RowExclusiveLock;
	writer->direct = cg_is_plain(CG_CUSTOMER_FACTS);
	if (!writer->direct)
		return;
	CheckCmdReplicaIdentity(writer->rel, CMD_UPDATE);
	desc = RelationGetDescr(writer->rel);
	writer->keep = keep;
	if (keep)
		writer->before = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	writer->row = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	writer->values = palloc(desc->natts * sizeof(Datum));
	writer->nulls = palloc(desc->natts * sizeof(bool));
	cg_push_snapshot();
}

/*
 * Whether a customer has a facts row, and so is there, at this moment.  Where it is
 * will be tried first when it is changed: it is seldom elsewhere then.
 */
bool
cg_facts_exist(int64 customer_id)
{
	CgScan scan = {.lockmode = RowExclusiveLock};
	bool   found;

	cg_scan_id(&scan, CG_CUSTOMER_FACTS, SnapshotSelf, customer_id);
	found = cg_scan_next(&scan);
	if (found)
	{
		seen.customer_id = customer_id;
		seen.place = scan.slot->tts_tid;
		seen.lxid = cg_local_xid();
		seen.aborts = cg_subxact_aborts();
		seen.changes = cg_table_changes(CG_CUSTOMER_FACTS);
	}
	cg_scan_end(&scan);
	return found;
}

/* Finds the row of a customer, as the snapshot sees it; NULL when there is none. */
static TupleTableSlot *
find_row(CgFactsWriter *writer, int64 customer_id)
{
	if (writer->found == NULL)
		writer->found = table_slot_create(writer->rel, NULL);
	if (seen.customer_id == customer_id && seen.lxid == cg_local_xid() &&
		seen.aborts == cg_subxact_aborts() && seen.changes == cg_table_changes(CG_CUSTOMER_FACTS) &&
		cg_fetch_at(CG_CUSTOMER_FACTS, writer->rel, &seen.place, GetActiveSnapshot(), customer_id,
					writer->found))
		return writer->found;
	cg_scan_id(&writer->scan, CG_CUSTOMER_FACTS, GetActiveSnapshot(), customer_id);
	return cg_scan_next(&writer->scan) ? writer->scan.slot : NULL;
}

/* Whether a row is as this transaction has inserted it. */
static bool
is_inserted_here(TupleTableSlot *slot)
{
	bool      should_free;
	HeapTuple tuple = ExecFetchSlotHeapTuple(slot, false, &should_free);

	return (tuple->t_data->t_infomask & HEAP_UPDATED) == 0 &&
		   TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
}

static Datum *
value_of(CgFactsWriter *writer, int column)
{
	return &writer->values[cg_attnum(CG_CUSTOMER_FACTS, column) - 1];
}

static bool *
null_of(CgFactsWriter *writer, int column)
{
	return &writer->nulls[cg_attnum(CG_CUSTOMER_FACTS, column) - 1];
}

/* Makes an earlier or later time of one in the row. */
static void
move_time(CgFactsWriter *writer, int column, TimestampTz time, bool earlier)
{
	Datum *value = value_of(writer, column);
	bool  *isnull = null_of(writer, column);

	if (*isnull ||
		(earlier ? time < DatumGetTimestampTz(*value) : time > DatumGetTimestampTz(*value)))
		*value = TimestampTzGetDatum(time);
	*isnull = false;
}

/* Makes the row that comes after a version of it, and says what is in it. */
static void
make_row(CgFactsWriter *writer, TupleTableSlot *old, const CgFactsChange *change, CgFacts *facts)
{
	TupleDesc desc = RelationGetDescr(writer->rel);
	Datum    *value;
	int64     sales = 0;

	slot_getallattrs(old);
	memcpy(writer->values, old->tts_values, desc->natts * sizeof(Datum));
	memcpy(writer->nulls, old->tts_isnull, desc->natts * sizeof(bool));
	for (int kind = 0; kind < (int) lengthof(count_columns); kind++)
	{
		value = value_of(writer, count_columns[kind]);
		if (change->counts[kind] != 0)
			*value = DirectFunctionCall2(int8pl, *value, Int64GetDatum(change->counts[kind]));
		sales += DatumGetInt64(*value);
	}
	value = value_of(writer, CG_CUSTOMER_FACTS_NET_SALES);
	*value = DirectFunctionCall2(numeric_add, *value, NumericGetDatum(change->amount));
	if (change->first != DT_NOEND)
	{
		move_time(writer, CG_CUSTOMER_FACTS_FIRST_VISIT_AT, change->first, true);
		move_time(writer, CG_CUSTOMER_FACTS_LAST_VISIT_AT, change->last, false);
	}
	ExecStoreHeapTuple(heap_form_tuple(desc, writer->values, writer->nulls), writer->row, true);

	facts->visits = DatumGetInt64(*value_of(writer, CG_CUSTOMER_FACTS_VISITS));
	facts->net_sales = DatumGetNumeric(*value);
	facts->has_visits = !*null_of(writer, CG_CUSTOMER_FACTS_FIRST_VISIT_AT) &&
						!*null_of(writer, CG_CUSTOMER_FACTS_LAST_VISIT_AT);
	facts->first_visit_at = DatumGetTimestampTz(
		*value_of(writer, CG_CUSTOMER_FACTS_FIRST_VISIT_AT));
	facts->last_visit_at = DatumGetTimestampTz(*value_of(writer, CG_CUSTOMER_FACTS_LAST_VISIT_AT));
	facts->skip_auto_upgrade = DatumGetBool(*value_of(writer, CG_CUSTOMER_FACTS_SKIP_AUTO_UPGRADE));
	facts->has_sales = sales > 0;
}

/* Adds the new version of the row to the indexes. */
static void
update_indexes(CgFactsWriter *writer, CgIndexWork work)
{
	if (writer->estate == NULL)
	{
		writer->estate = CreateExecutorState();
		writer->indexes = makeNode(ResultRelInfo);
		InitResultRelInfo(writer->indexes, writer->rel, 0, NULL, 0);
		ExecOpenIndices(writer->indexes, false);
	}
	(void) cg_insert_index_tuples(writer->indexes, writer->row, writer->estate, true, work);
	ResetPerTupleExprContext(writer->estate);
}

/* What somebody else has done to the row is good from here on, unless the isolation level forbids it. */
static void
check_isolation(int64 customer_id, bool deleted)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						deleted ? errmsg("could not serialize access due to concurrent delete")
								: errmsg("could not serialize access due to concurrent update"),
						errdetail("The facts of customer " INT64_FORMAT " have changed meanwhile.",
								  customer_id),
						errhint("Retry the transaction.")));
}

/*
 * Changes the row past the executor.  False, with nothing done, when there is
 * none, or it is one for the executor.
 */
static bool
change_row(CgFactsWriter *writer, const CgFactsChange *change, CgFacts *facts)
{
	TupleTableSlot *old;
	ItemPointerData tid;
	CommandId       command = GetCurrentCommandId(true);

	old = find_row(writer, change->customer_id);
	if (old == NULL || is_inserted_here(old))
		return false;
	tid = old->tts_tid;
	for (;;)
	{
		TM_FailureData failure;
		LockTupleMode  mode;
		CgIndexWork    work;
		TM_Result      result;

		make_row(writer, old, change, facts);
		result = table_tuple_update(writer->rel, &tid, writer->row, command, GetActiveSnapshot(),
									InvalidSnapshot, true, &failure, &mode, &work);
		if (result == TM_Ok)
		{
			if (writer->keep)
				ExecStoreHeapTuple(ExecCopySlotHeapTuple(old), writer->before, true);
			if (work)
				update_indexes(writer, work);
			return true;
		}
		if (result == TM_Updated)
		{
			bool isnull;

			check_isolation(change->customer_id, false);
			old = writer->found;
			result = table_tuple_lock(writer->rel, &tid, GetActiveSnapshot(), old, command, mode,
									  LockWaitBlock, TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
			if (result == TM_Ok)
			{
				if (DatumGetInt64(slot_getattr(
						old, cg_attnum(CG_CUSTOMER_FACTS, CG_CUSTOMER_FACTS_CUSTOMER_ID),
						&isnull)) != change->customer_id)
					return false;
				continue;
			}
		}
		if (result != TM_Deleted)
			elog(ERROR, "unexpected result of an update of facts: %d", (int) result);
		check_isolation(change->customer_id, true);
		return false;
	}
}

/* Changes the row by a statement. */
static bool
execute_change(const CgFactsChange *change, CgFacts *facts)
{
	Datum     values[9];
	char      nulls[] = "         ";
	bool      no_first;
	bool      no_last;
	bool      isnull;
	HeapTuple tuple;
	TupleDesc desc;

	values[0] = Int64GetDatum(change->customer_id);
	values[1] = Int64GetDatum(change->counts[CG_SALE_PRODUCT]);
	values[2] = NumericGetDatum(change->amount);
	values[3] = Int64GetDatum(change->counts[CG_SALE_REFUND]);
	values[4] = Int64GetDatum(change->counts[CG_SALE_PREPAID]);
	values[5] = Int64GetDatum(change->counts[CG_SALE_PASS]);
	values[6] = Int64GetDatum(change->counts[CG_SALE_NO_SHOW]);
	values[7] = TimestampTzGetDatum(change->first);
	values[8] = TimestampTzGetDatum(change->last);
	if (change->first == DT_NOEND)
		nulls[7] = nulls[8] = 'n';
	if (cg_execute(&update_facts, values, nulls) == 0)
		return false;
	tuple = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	facts->visits = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull));
	facts->net_sales = DatumGetNumericCopy(SPI_getbinval(tuple, desc, 2, &isnull));
	facts->first_visit_at = DatumGetTimestampTz(SPI_getbinval(tuple, desc, 3, &no_first));
	facts->last_visit_at = DatumGetTimestampTz(SPI_getbinval(tuple, desc, 4, &no_last));
	facts->has_visits = !no_first && !no_last;
	facts->skip_auto_upgrade = DatumGetBool(SPI_getbinval(tuple, desc, 5, &isnull));
	facts->has_sales = DatumGetBool(SPI_getbinval(tuple, desc, 6, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/*
 * Adds to the facts row of a customer, and says what is in it then; false when
 * the customer has none.
 */
bool
cg_facts_add(CgFactsWriter *writer, const CgFactsChange *change, CgFacts *facts)
{
	if (writer->direct && change_row(writer, change, facts))
	{
		writer->last = writer->row;
		return true;
	}
	writer->last = NULL;
	return execute_change(change, facts);
}

/* Lets go of what was held to change rows; the last row stays. */
void
cg_facts_end(CgFactsWriter *writer)
{
	if (writer->estate != NULL)
	{
		ExecCloseIndices(writer->indexes);
		FreeExecutorState(writer->estate);
	}
	cg_scan_end(&writer->scan);
	if (writer->found != NULL)
		ExecDropSingleTupleTableSlot(writer->found);
	if (writer->direct)
		PopActiveSnapshot();
	table_close(writer->rel, NoLock);
}

void
cg_facts_free(CgFactsWriter *writer)
{
	if (writer->row != NULL)
		ExecDropSingleTupleTableSlot(writer->row);
	if (writer->before != NULL)
		ExecDropSingleTupleTableSlot(writer->before);
}
