/*
 * customers.c
 *		The facts row of a customer: there from its creation, and its lock.
 *
 * The facts repeat what rules need of the customer's record.  Rows are locked in
 * customer order.  Everything is written as the owner of the tables.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog/tables.h"
#include "sales/sales.h"
#include "segments/segments.h"
#include "segments/track.h"
#include "strict.h"

/* So often a customer is looked for who comes and goes. */
#define MOST_ATTEMPTS 10

static int
compare_ids(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* Whether there is a customer, by a snapshot of any kind. */
bool
cg_customer_exists(int64 customer_id, Snapshot snapshot)
{
	CgScan scan;
	bool   found;

	cg_scan_begin(&scan, CG_CUSTOMERS, snapshot, 1, Int64GetDatum(customer_id), 0);
	found = cg_scan_next(&scan);
	cg_scan_end(&scan);
	/* The one version may be gone when it is looked at, the next one not yet when the index was. */
	if (!found && snapshot == SnapshotSelf)
	{
		Snapshot latest = RegisterSnapshot(GetLatestSnapshot());

		found = cg_customer_exists(customer_id, latest);
		UnregisterSnapshot(latest);
	}
	return found;
}

/* Whether a customer has a facts row now, and whether it is as this transaction has made it. */
static bool
facts_exist(int64 customer_id, bool *ours)
{
	CgScan scan;
	bool   found;

	cg_scan_begin(&scan, CG_CUSTOMER_FACTS, SnapshotSelf, 1, Int64GetDatum(customer_id), 0);
	found = cg_scan_next(&scan);
	*ours = found && cg_scan_is_own(&scan);
	cg_scan_end(&scan);
	return found;
}

/*
 * Locks a customer to the end of the transaction by updating its facts row: at
 * REPEATABLE READ, a mere lock would let a transaction go on that does not see
 * what the last one changed.  A row that this transaction has updated already is
 * left alone; false for a customer that is gone.  SPI must be connected, the user
 * be the owner.  Tracking is told before: see segments/track.c.
 */
bool
cg_lock_customer(int64 customer_id)
{
	static CgStatement lock_facts = {
		.generic = true,
		.sql = "UPDATE customer_groups.customer_facts SET visits = visits "
			   "WHERE customer_id OPERATOR(pg_catalog.=) $1",
		.argtypes = {INT8OID}};
	Datum id = Int64GetDatum(customer_id);
	bool  found;
	bool  ours;

	cg_tracking_lock();
	found = facts_exist(customer_id, &ours);
	if (ours)
		return true;
	for (int attempt = 1; cg_execute(&lock_facts, &id, NULL) == 0; attempt++)
	{
		if (!cg_customer_exists(customer_id, SnapshotSelf))
			return false;
		if (found && IsolationUsesXactSnapshot())
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update"),
					 errdetail("Customer " INT64_FORMAT " was inserted meanwhile.", customer_id),
					 errhint("Retry the transaction.")));
		/*
		 * Somebody has just inserted it, or deleted and inserted it again; or it is a
		 * trigger of the owner's that keeps it from being updated.
		 */
		found = facts_exist(customer_id, &ours);
		if (!found || attempt == MOST_ATTEMPTS)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("a customer has no facts row"),
							errdetail("It is missing for customer " INT64_FORMAT ".", customer_id),
							errhint("Run customer_groups.rebuild_facts().")));
	}
	return true;
}

/* Sorts ids ascending, and leaves each once; returns how many. */
int
cg_sort_customers(int64 *ids, int n)
{
	int result = 0;

	if (n > 0)
		qsort(ids, n, sizeof(int64), compare_ids);
	for (int i = 0; i < n; i++)
		if (result == 0 || ids[result - 1] != ids[i])
			ids[result++] = ids[i];
	return result;
}

/*
 * lock_customers(bigint[])
 */
PG_FUNCTION_INFO_V1(cg_lock_customers);
Datum
cg_lock_customers(PG_FUNCTION_ARGS)
{
	Datum *elements;
	bool  *nulls;
	int    n;
	int    nids = 0;
	int64 *ids;
	CgUser saved;

	CG_STRICT();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE,
					  &elements, &nulls, &n);
	ids = palloc((n + 1) * sizeof(int64));
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			ids[nids++] = DatumGetInt64(elements[i]);
	nids = cg_sort_customers(ids, nids);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	cg_become_owner(CG_CUSTOMERS, &saved);
	for (int i = 0; i < nids; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) cg_lock_customer(ids[i]);
	}
	cg_restore_user(&saved);
	SPI_finish();
	PG_RETURN_VOID();
}

/* A customer's row as far as the facts repeat it. */
typedef struct Record
{
	int64  id;
	Datum  values[4]; /* id, registered_at, birth_date, skip_auto_upgrade */
	char   nulls[4];
	bool   restored;
	bool   same_facts; /* of an update: only the attributes have changed */
	Jsonb *attributes;
} Record;

static int
compare_records(const void *a, const void *b)
{
	return compare_ids(&((const Record *) a)->id, &((const Record *) b)->id);
}

/* Attributes are read of an update only: all that is new is judged anyway. */
static void
read_record(TupleTableSlot *slot, bool update, Record *record)
{
	static const int columns[] = {CG_CUSTOMERS_ID, CG_CUSTOMERS_REGISTERED_AT,
								  CG_CUSTOMERS_BIRTH_DATE, CG_CUSTOMERS_SKIP_AUTO_UPGRADE};
	bool             isnull;

	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		/* All of them are passed by value. */
		record->values[i] = slot_getattr(slot, cg_attnum(CG_CUSTOMERS, columns[i]), &isnull);
		record->nulls[i] = isnull ? 'n' : ' ';
	}
	record->id = DatumGetInt64(record->values[0]);
	record->restored = DatumGetTimestampTz(slot_getattr(
						   slot, cg_attnum(CG_CUSTOMERS, CG_CUSTOMERS_RECORDED_AT), &isnull)) !=
					   GetCurrentTransactionStartTimestamp();
	record->same_facts = false;
	record->attributes = NULL;
	if (update)
		record->attributes = DatumGetJsonbPCopy(
			slot_getattr(slot, cg_attnum(CG_CUSTOMERS, CG_CUSTOMERS_ATTRIBUTES), &isnull));
}

static Record *
read_records(Tuplestorestate *rows, TupleDesc desc, bool update, int *n)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	int             max = 16;
	Record         *records = palloc(max * sizeof(Record));

	*n = 0;
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (*n == max)
		{
			max *= 2;
			records = repalloc_huge(records, max * sizeof(Record));
		}
		read_record(slot, update, &records[(*n)++]);
	}
	ExecDropSingleTupleTableSlot(slot);
	return records;
}

static bool
same_attributes(const Record *a, const Record *b)
{
	return VARSIZE(a->attributes) == VARSIZE(b->attributes) &&
		   memcmp(a->attributes, b->attributes, VARSIZE(a->attributes)) == 0;
}

/* Whether the facts need not change. */
static bool
same_record(const Record *a, const Record *b)
{
	for (int i = 0; i < 4; i++)
		if (a->nulls[i] != b->nulls[i] || (a->nulls[i] == ' ' && a->values[i] != b->values[i]))
			return false;
	return true;
}

/*
 * Trigger customers_changed: AFTER STATEMENT, for INSERT and UPDATE.
 */
PG_FUNCTION_INFO_V1(cg_customers_changed);
Datum
cg_customers_changed(PG_FUNCTION_ARGS)
{
	static CgStatement insert_facts = {.generic = true,
									   .sql = "INSERT INTO customer_groups.customer_facts "
											  "	(customer_id, registered_at, birth_date, "
											  "skip_auto_upgrade) VALUES ($1, $2, $3, $4)",
									   .argtypes = {INT8OID, TIMESTAMPTZOID, DATEOID, BOOLOID}};
	static CgStatement update_facts = {
		.generic = true,
		.sql = "UPDATE customer_groups.customer_facts SET "
			   "	registered_at = $2, birth_date = $3, skip_auto_upgrade = $4 "
			   "WHERE customer_id OPERATOR(pg_catalog.=) $1",
		.argtypes = {INT8OID, TIMESTAMPTZOID, DATEOID, BOOLOID}};
	TriggerData *trigdata = cg_check_trigger(fcinfo, "customers_changed", CG_CUSTOMERS,
											 TRIGGER_EVENT_AFTER);
	CommandId    command = GetActiveSnapshot()->curcid;
	TupleDesc    desc = RelationGetDescr(trigdata->tg_relation);
	bool         insert = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event);
	Record      *records;
	int64       *judged;
	int          n;
	int          njudged = 0;
	uint64       restored = 0;
	CgTracking   tracking;
	CgUser       saved;

	if (trigdata->tg_newtable == NULL || (!insert && trigdata->tg_oldtable == NULL))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("customers_changed needs the rows of the statement")));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	records = read_records(trigdata->tg_newtable, desc, !insert, &n);
	if (!insert)
	{
		/* The old rows stand in the same order as the new ones. */
		int     changed = 0;
		Record *old = read_records(trigdata->tg_oldtable, desc, true, &n);

		for (int i = 0; i < n; i++)
		{
			records[i].same_facts = same_record(&old[i], &records[i]);
			if (!records[i].same_facts || !same_attributes(&old[i], &records[i]))
				records[changed++] = records[i];
		}
		n = changed;
	}
	qsort(records, n, sizeof(Record), compare_records);

	judged = MemoryContextAllocHuge(CurrentMemoryContext, (n + 1) * sizeof(int64));
	cg_become_owner(CG_CUSTOMERS, &saved);
	cg_tracking_lock();
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (insert && records[i].restored)
		{
			restored++;
			continue;
		}
		if (records[i].same_facts)
			(void) cg_lock_customer(records[i].id);
		else
			cg_execute(insert ? &insert_facts : &update_facts, records[i].values, records[i].nulls);
		judged[njudged++] = records[i].id;
	}
	cg_track_begin(&tracking);
	cg_track_before(&tracking, judged, njudged, command);
	cg_track_after(&tracking, judged, njudged, insert ? CG_DEPENDS_ALL : CG_DEPENDS_RECORD);
	cg_track_end(&tracking);
	cg_restore_user(&saved);
	SPI_finish();
	cg_warn_restored(CG_CUSTOMERS, restored);
	return PointerGetDatum(NULL);
}

/*
 * Trigger customers_deleted: AFTER STATEMENT.  What is stored of a customer in
 * segments goes with it; the facts row, its lock, has gone already.
 */
PG_FUNCTION_INFO_V1(cg_customers_deleted);
Datum
cg_customers_deleted(PG_FUNCTION_ARGS)
{
	static CgStatement delete_members = {
		.generic = true,
		.sql = "WITH gone AS ("
			   "	DELETE FROM customer_groups.segment_members m "
			   "	WHERE m.customer_id OPERATOR(pg_catalog.=) ANY ($1) "
			   "	RETURNING m.customer_id, m.segment_id) "
			   "INSERT INTO customer_groups.events (kind, customer_id, segment_id, detail) "
			   "SELECT 'segment_left', g.customer_id, g.segment_id, "
			   "	pg_catalog.jsonb_build_object('code', s.code, 'name', s.name, 'effective_at', "
			   "		pg_catalog.clock_timestamp(), 'reason', 'customer deleted') "
			   "FROM gone g LEFT JOIN customer_groups.segments s "
			   "	ON s.id OPERATOR(pg_catalog.=) g.segment_id "
			   "ORDER BY g.customer_id, g.segment_id",
		.argtypes = {INT8ARRAYOID}};
	TriggerData *trigdata = cg_check_trigger(fcinfo, "customers_deleted", CG_CUSTOMERS,
											 TRIGGER_EVENT_AFTER);
	Datum        ids;
	CgUser       saved;

	if (trigdata->tg_oldtable == NULL)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("customers_deleted needs the old rows")));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	ids = cg_transition_column(trigdata->tg_oldtable, RelationGetDescr(trigdata->tg_relation), "id",
							   INT8OID);
	cg_become_owner(CG_CUSTOMERS, &saved);
	cg_change_latest(&delete_members, &ids, NULL);
	cg_restore_user(&saved);
	SPI_finish();
	return PointerGetDatum(NULL);
}
