/*
 * pending.c
 *		Tracked segments whose stored members do not yet follow from their rule:
 *		what makes a segment pending, how it is filled in, how tracking ends.
 *
 * segments.pending_since says since when.  It is set in the transaction that
 * tracks the segment, changes its rule, or changes what the rule builds on: the
 * tree of categories, an item's categories or brand, a group's dates, the time
 * zone, the rule of a segment that it names.  Definitions are locked for that,
 * shared by those who change the catalog, exclusively by those who change
 * segments, so that neither overlooks the other.
 *
 * fill_segments() first waits for all transactions that may judge customers by
 * older definitions (see track.c).  Then it locks and judges all customers in
 * order, a batch in each transaction; sales go on, and judge their customers by
 * the same rule.  At the end it clears pending_since where it still is what it
 * was at the beginning, so that a change made meanwhile is filled in next time.
 *
 * Tracking of a segment ends by removing its stored members, with an event for
 * each; transactions that may add some are waited for, and held up meanwhile.
 *
 * Everything is written as the owner of the tables.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog/activity.h"
#include "catalog/tables.h"
#include "compat.h"
#include "promotions/promotions.h"
#include "sales/sales.h"
#include "segments/segments.h"
#include "segments/track.h"
#include "strict.h"

bool cg_renaming = false;

static CgStatement mark_segments = {
	.generic = true,
	.sql = "UPDATE customer_groups.segments SET pending_since = pg_catalog.clock_timestamp() "
		   "WHERE id OPERATOR(pg_catalog.=) ANY ($1) AND tracked",
	.argtypes = {INT4ARRAYOID}};

/* ------------------------------------------------------------------------
 * Marking
 * ------------------------------------------------------------------------
 */

/*
 * Whether the rule of a segment, or of one that it names, names a code; with no
 * code, anything of the kind.
 */
static bool
builds_on(const CgSegments *segments, int place, CgRuleNameKind kind, const char *code,
		  bool *visited)
{
	ListCell *lc;

	check_stack_depth();
	visited[place] = true;
	foreach (lc, cg_rule_names(segments->segments[place].rule))
	{
		CgRuleName *name = lfirst(lc);
		int32       next;

		if (name->kind == kind && (code == NULL || strcmp(name->code, code) == 0))
			return true;
		/* Every group may be a tier, or have been one. */
		if (kind == CG_NAME_GROUP && name->kind == CG_NAME_LADDER)
			return true;
		if (name->kind == CG_NAME_SEGMENT &&
			cg_find_code(CG_NAME_SEGMENT, cstring_to_text(name->code), &next) && !visited[next] &&
			builds_on(segments, next, kind, code, visited))
			return true;
	}
	return false;
}

/*
 * Marks the tracked segments that build on something as pending; with no kind,
 * on the time zone.  SPI must be connected.
 */
static void
mark_pending(CgRuleNameKind kind, const char *code)
{
	Snapshot          snapshot;
	const CgSegments *segments;
	Datum            *ids;
	int               n = 0;

	cg_share_definition(CG_SEGMENTS);
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	segments = cg_segments(snapshot);
	ids = palloc((segments->ntracked + 1) * sizeof(Datum));
	for (int i = 0; segments->ntracked > 0 && i < segments->n; i++)
	{
		const CgSegment *segment = &segments->segments[i];
		bool            *visited;

		if (!segment->tracked)
			continue;
		visited = palloc0(segments->n * sizeof(bool));
		if (kind == CG_NAME_NONE ? (segment->depends & (CG_DEPENDS_DAY | CG_DEPENDS_ZONE)) != 0
								 : builds_on(segments, i, kind, code, visited))
			ids[n++] = Int32GetDatum(segment->id);
		pfree(visited);
	}
	UnregisterSnapshot(snapshot);
	if (n > 0)
	{
		Datum  array = cg_make_array(ids, NULL, n, INT4OID);
		CgUser saved;

		cg_become_owner(CG_SEGMENTS, &saved);
		cg_change_latest(&mark_segments, &array, NULL);
		cg_restore_user(&saved);
	}
}

/*
 * Whether one of the rows' items may have been sold: it was there before this
 * transaction, or this transaction has sold it; counts the rows that were recorded
 * before, which are left out.  SPI must be connected.
 */
static bool
any_sold_item(Tuplestorestate *rows, TupleDesc desc, bool inserted, uint64 *restored)
{
	static CgStatement select_sold = {
		.sql = "SELECT FROM pg_catalog.unnest($1) AS i (id) "
			   "JOIN customer_groups.sale_lines l ON l.item_id OPERATOR(pg_catalog.=) i.id LIMIT 1",
		.argtypes = {INT8ARRAYOID}};
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TimestampTz     now = GetCurrentTransactionStartTimestamp();
	Snapshot        before = RegisterSnapshot(GetLatestSnapshot());
	bool            result = false;
	CgScan          scan = {0};
	int             n = 0;
	int             max = 16;
	Datum          *items = palloc(max * sizeof(Datum));

	/* What others may see: nothing that this transaction has done. */
	before->curcid = FirstCommandId;
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		bool  isnull;
		Datum item = slot_getattr(slot, cg_attnum(CG_ITEM_CATEGORIES, CG_ITEM_CATEGORIES_ITEM_ID),
								  &isnull);

		CHECK_FOR_INTERRUPTS();
		if (inserted && DatumGetTimestampTz(slot_getattr(
							slot, cg_attnum(CG_ITEM_CATEGORIES, CG_ITEM_CATEGORIES_RECORDED_AT),
							&isnull)) != now)
		{
			(*restored)++;
			continue;
		}
		if (result)
			continue;
		cg_scan_id(&scan, CG_ITEMS, before, DatumGetInt64(item));
		result = cg_scan_next(&scan);
		if (n == max)
		{
			max *= 2;
			items = repalloc_huge(items, max * sizeof(Datum));
		}
		items[n++] = item;
	}
	cg_scan_end(&scan);
	UnregisterSnapshot(before);
	ExecDropSingleTupleTableSlot(slot);
	if (!result && n > 0)
	{
		Datum  array = cg_make_array(items, NULL, n, INT8OID);
		CgUser saved;

		cg_become_owner(CG_SALE_LINES, &saved);
		result = cg_execute_latest(&select_sold, &array, NULL) > 0;
		cg_restore_user(&saved);
		pfree(DatumGetPointer(array));
	}
	pfree(items);
	return result;
}

/*
 * Trigger item_categories_changed: AFTER STATEMENT on item_categories, with the
 * transition tables that its event has.
 */
PG_FUNCTION_INFO_V1(cg_item_categories_changed);
Datum
cg_item_categories_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = cg_check_trigger(fcinfo, "item_categories_changed", CG_ITEM_CATEGORIES,
											 TRIGGER_EVENT_AFTER);
	TupleDesc    desc = RelationGetDescr(trigdata->tg_relation);
	uint64       restored = 0;
	bool         sold = false;

	if (trigdata->tg_newtable == NULL && trigdata->tg_oldtable == NULL)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("item_categories_changed needs the rows of the statement")));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (trigdata->tg_oldtable != NULL)
		sold = any_sold_item(trigdata->tg_oldtable, desc, false, &restored);
	if (trigdata->tg_newtable != NULL)
		sold = any_sold_item(trigdata->tg_newtable, desc,
							 TRIGGER_FIRED_BY_INSERT(trigdata->tg_event), &restored) ||
			   sold;
	if (sold)
		mark_pending(CG_NAME_CATEGORY, NULL);
	SPI_finish();
	cg_warn_restored(CG_ITEM_CATEGORIES, restored);
	return PointerGetDatum(NULL);
}

/* The value of a text column of a trigger's row. */
static char *
column_of_row(TriggerData *trigdata, HeapTuple tuple, const char *name)
{
	TupleDesc desc = RelationGetDescr(trigdata->tg_relation);

	return SPI_getvalue(tuple, desc, SPI_fnumber(desc, name));
}

/*
 * Whether a group has come to another ladder because its ladder has got another
 * code: the one that it was on is gone, which no other change of a group allows.
 */
static bool
ladder_renamed(TriggerData *trigdata)
{
	static CgStatement select_ladder = {
		.generic = true,
		.sql = "SELECT FROM customer_groups.ladders WHERE code OPERATOR(pg_catalog.=) $1",
		.argtypes = {TEXTOID}};
	char  *before = column_of_row(trigdata, trigdata->tg_trigtuple, "ladder");
	char  *after = column_of_row(trigdata, trigdata->tg_newtuple, "ladder");
	Datum  value;
	CgUser saved;
	bool   result;

	if (before == NULL || after == NULL || strcmp(before, after) == 0)
		return false;
	value = CStringGetTextDatum(before);
	cg_become_owner(CG_LADDERS, &saved);
	result = cg_execute_latest(&select_ladder, &value, NULL) == 0;
	cg_restore_user(&saved);
	return result;
}

/*
 * Trigger mark_pending: AFTER ROW on tables whose changes concern rules; the
 * conditions of the triggers let only those through.
 */
PG_FUNCTION_INFO_V1(cg_mark_pending);
Datum
cg_mark_pending(PG_FUNCTION_ARGS)
{
	static const struct
	{
		CgTable        table;
		const char    *name;
		CgRuleNameKind kind;
		bool           by_code;
	} sources[] = {{CG_CATEGORIES, "categories", CG_NAME_CATEGORY, false},
				   {CG_ITEMS, "items", CG_NAME_BRAND, false},
				   {CG_GROUPS, "groups", CG_NAME_GROUP, true},
				   {CG_SEGMENTS, "segments", CG_NAME_SEGMENT, true},
				   {CG_SETTINGS, "settings", CG_NAME_NONE, false}};
	static uint32 last_lxid;
	static uint64 last_aborts;
	static int    last_source = -1;
	TriggerData  *trigdata = (TriggerData *) fcinfo->context;
	int           source = 0;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function mark_pending was not called as a trigger")));
	while (source < (int) lengthof(sources) - 1 &&
		   strcmp(sources[source].name, RelationGetRelationName(trigdata->tg_relation)) != 0)
		source++;
	trigdata = cg_check_trigger(fcinfo, "mark_pending", sources[source].table,
								TRIGGER_EVENT_ROW | TRIGGER_EVENT_AFTER);

	/* Of many rows of one transaction the first has marked all that there is. */
	if (!sources[source].by_code && last_source == source && last_lxid == cg_local_xid() &&
		last_aborts == cg_subxact_aborts())
		return PointerGetDatum(NULL);
	if (cg_renaming && sources[source].table == CG_SEGMENTS)
		return PointerGetDatum(NULL);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (sources[source].table != CG_GROUPS || !ladder_renamed(trigdata))
		mark_pending(sources[source].kind,
					 sources[source].by_code
						 ? column_of_row(trigdata, trigdata->tg_newtuple, "code")
						 : NULL);
	SPI_finish();
	last_source = source;
	last_lxid = cg_local_xid();
	last_aborts = cg_subxact_aborts();
	return PointerGetDatum(NULL);
}

/* ------------------------------------------------------------------------
 * Beginning and end of tracking
 * ------------------------------------------------------------------------
 */

/* Removes the stored members of a segment, of all with 0; with an event for each. */
static void
end_tracking(int32 segment_id)
{
	static CgStatement delete_members = {
		.sql = "WITH gone AS ("
			   "	DELETE FROM customer_groups.segment_members m "
			   "	WHERE m.segment_id OPERATOR(pg_catalog.=) $1 OR $1 OPERATOR(pg_catalog.=) 0 "
			   "	RETURNING m.customer_id, m.segment_id) "
			   "INSERT INTO customer_groups.events (kind, customer_id, segment_id, detail) "
			   "SELECT 'segment_left', g.customer_id, g.segment_id, "
			   "	pg_catalog.jsonb_build_object('code', s.code, 'name', s.name, 'effective_at', "
			   "		pg_catalog.clock_timestamp(), 'reason', 'tracking ended') "
			   "FROM gone g LEFT JOIN customer_groups.segments s "
			   "	ON s.id OPERATOR(pg_catalog.=) g.segment_id "
			   "ORDER BY g.segment_id, g.customer_id",
		.argtypes = {INT4OID}};
	Datum  id = Int32GetDatum(segment_id);
	CgUser saved;

	table_close(cg_table_open(CG_SEGMENT_TRACKING, ExclusiveLock), NoLock);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	cg_become_owner(CG_SEGMENT_MEMBERS, &saved);
	cg_change_latest(&delete_members, &id, NULL);
	cg_restore_user(&saved);
	SPI_finish();
}

static Datum
row_value(HeapTuple tuple, int column, TupleDesc desc, bool *isnull)
{
	return heap_getattr(tuple, cg_attnum(CG_SEGMENTS, column), desc, isnull);
}

static bool
same_rule(HeapTuple a, HeapTuple b, TupleDesc desc)
{
	bool         isnull;
	SegmentRule *x = cg_rule_from_datum(row_value(a, CG_SEGMENTS_RULE, desc, &isnull));
	SegmentRule *y = cg_rule_from_datum(row_value(b, CG_SEGMENTS_RULE, desc, &isnull));

	return VARSIZE(x) == VARSIZE(y) && memcmp(x, y, VARSIZE(x)) == 0;
}

/*
 * Trigger track_segment: BEFORE ROW, for INSERT, UPDATE and DELETE, and BEFORE
 * TRUNCATE.  Says whether the segment is pending, and ends its tracking.
 */
PG_FUNCTION_INFO_V1(cg_track_segment);
Datum
cg_track_segment(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	bool      truncate = CALLED_AS_TRIGGER(fcinfo) && TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event);
	TupleDesc desc;
	HeapTuple old;
	HeapTuple new;
	bool  was_tracked;
	bool  is_tracked;
	bool  was_pending;
	bool  is_pending;
	bool  isnull;
	int   attnum;
	Datum before;
	Datum after;
	Datum value;
	int32 id;

	trigdata = cg_check_trigger(fcinfo, "track_segment", CG_SEGMENTS,
								TRIGGER_EVENT_BEFORE | (truncate ? 0 : TRIGGER_EVENT_ROW));
	if (truncate)
	{
		end_tracking(0);
		return PointerGetDatum(NULL);
	}
	desc = RelationGetDescr(trigdata->tg_relation);
	old = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) ? NULL : trigdata->tg_trigtuple;
	new = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event)   ? trigdata->tg_trigtuple
		  : TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple
														: NULL;
	was_tracked = old != NULL && DatumGetBool(row_value(old, CG_SEGMENTS_TRACKED, desc, &isnull));
	is_tracked = new != NULL &&DatumGetBool(row_value(new, CG_SEGMENTS_TRACKED, desc, &isnull));
	id = DatumGetInt32(row_value(old != NULL ? old : new, CG_SEGMENTS_ID, desc, &isnull));
	if (was_tracked && !is_tracked)
		end_tracking(id);
	if (new == NULL)
		return PointerGetDatum(old);
	if (old == NULL &&
		DatumGetTimestampTz(row_value(new, CG_SEGMENTS_RECORDED_AT, desc, &isnull)) !=
			GetCurrentTransactionStartTimestamp())
		return PointerGetDatum(new);
	if (was_tracked && id != DatumGetInt32(row_value(new, CG_SEGMENTS_ID, desc, &isnull)))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the id of a tracked segment cannot be changed"),
						errdetail("It is segment %d.", id),
						errhint("Change its code, or set tracked to false first.")));

	isnull = true;
	before = old == NULL ? (Datum) 0 : row_value(old, CG_SEGMENTS_PENDING_SINCE, desc, &isnull);
	was_pending = !isnull;
	after = row_value(new, CG_SEGMENTS_PENDING_SINCE, desc, &isnull);
	is_pending = !isnull;
	attnum = cg_attnum(CG_SEGMENTS, CG_SEGMENTS_PENDING_SINCE);
	if (is_tracked && (!was_tracked || (!cg_renaming && !same_rule(old, new, desc))))
	{
		value = TimestampTzGetDatum(GetCurrentTimestamp());
		isnull = false;
		return PointerGetDatum(heap_modify_tuple_by_cols(new, desc, 1, &attnum, &value, &isnull));
	}
	if (was_tracked && !is_tracked && is_pending)
	{
		value = (Datum) 0;
		isnull = true;
		return PointerGetDatum(heap_modify_tuple_by_cols(new, desc, 1, &attnum, &value, &isnull));
	}
	if ((was_pending != is_pending ||
		 (is_pending && DatumGetTimestampTz(before) != DatumGetTimestampTz(after))) &&
		!has_privs_of_role(GetUserId(), cg_table_owner(CG_SEGMENTS)))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to say whether a segment is pending"),
						errdetail("pending_since of segment %d is set by the engine.", id),
						errhint("CALL customer_groups.fill_segments() to fill pending segments.")));
	return PointerGetDatum(new);
}

/* ------------------------------------------------------------------------
 * Filling
 * ------------------------------------------------------------------------
 */

/*
 * Waits for the transactions that may judge customers by what they read before
 * now; others go on.
 */
void
cg_wait_for_judges(void)
{
	Relation rel = cg_table_open(CG_SEGMENT_TRACKING, AccessShareLock);
	LOCKTAG  tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, RelationGetRelid(rel));
	table_close(rel, NoLock);
	WaitForLockers(tag, ExclusiveLock, false);
}

/*
 * Judges a batch of customers after one of them (NULL: from the first) in this
 * transaction; moves on to the last, and returns false when it is the last of all.
 * The batch ends before a customer whom somebody else holds, unless that is the
 * first.
 */
static bool
fill_batch(int64 **last, int batch_size)
{
	static CgStatement select_first = {.generic = true,
									   .sql = "SELECT customer_id "
											  "FROM customer_groups.customer_facts "
											  "ORDER BY customer_id LIMIT $1",
									   .argtypes = {INT4OID},
									   .restypes = {INT8OID}};
	static CgStatement select_next = {.generic = true,
									  .sql = "SELECT customer_id "
											 "FROM customer_groups.customer_facts "
											 "WHERE customer_id OPERATOR(pg_catalog.>) $2 "
											 "ORDER BY customer_id LIMIT $1",
									  .argtypes = {INT4OID, INT8OID},
									  .restypes = {INT8OID}};
	static int64       last_id;
	Datum              values[2];
	int64             *customers;
	int                n;
	int                locked;
	CgTracking         tracking;
	CgUser             saved;

	cg_become_owner(CG_CUSTOMER_FACTS, &saved);
	cg_tracking_lock();
	values[0] = Int32GetDatum(batch_size);
	if (*last != NULL)
		values[1] = Int64GetDatum(**last);
	n = cg_execute(*last == NULL ? &select_first : &select_next, values, NULL);
	customers = palloc((n + 1) * sizeof(int64));
	for (int i = 0; i < n; i++)
	{
		bool isnull;

		customers[i] = DatumGetInt64(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	locked = cg_lock_available(customers, NULL, n, true, NULL);
	cg_track_begin(&tracking);
	cg_track_before(&tracking, customers, locked, GetCurrentCommandId(false));
	cg_track_after(&tracking, customers, locked, 0);
	cg_track_end(&tracking);
	cg_restore_user(&saved);
	if (locked > 0)
		last_id = customers[locked - 1];
	*last = &last_id;
	return locked < n || n == batch_size;
}

/*
 * track_customers(customer_ids)
 */
PG_FUNCTION_INFO_V1(cg_track_customers);
Datum
cg_track_customers(PG_FUNCTION_ARGS)
{
	Datum     *elements;
	int        n;
	int64     *customers;
	CgTracking tracking;
	CgUser     saved;

	CG_STRICT();
	n = cg_array_elements(PG_GETARG_DATUM(0), &elements);
	customers = MemoryContextAllocHuge(CurrentMemoryContext, (n + 1) * sizeof(int64));
	for (int i = 0; i < n; i++)
		customers[i] = DatumGetInt64(elements[i]);
	n = cg_sort_customers(customers, n);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	cg_become_owner(CG_CUSTOMER_FACTS, &saved);
	cg_track_begin(&tracking);
	cg_track_before(&tracking, customers, n, GetCurrentCommandId(false));
	cg_track_after(&tracking, customers, n, CG_DEPENDS_ALL);
	cg_track_end(&tracking);
	cg_restore_user(&saved);
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * fill_segments(batch_size)
 */
PG_FUNCTION_INFO_V1(cg_fill_segments);
Datum
cg_fill_segments(PG_FUNCTION_ARGS)
{
	static CgStatement select_pending = {
		.sql = "SELECT coalesce(pg_catalog.array_agg(id ORDER BY id), '{}'), "
			   "	pg_catalog.array_agg(pending_since ORDER BY id) "
			   "FROM customer_groups.segments WHERE pending_since IS NOT NULL",
		.restypes = {INT4ARRAYOID, TIMESTAMPTZARRAYOID}};
	static CgStatement clear_pending = {
		.sql = "UPDATE customer_groups.segments s SET pending_since = NULL "
			   "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) "
			   "	AS f (id, pending_since) "
			   "WHERE s.id OPERATOR(pg_catalog.=) f.id "
			   "	AND s.pending_since OPERATOR(pg_catalog.=) f.pending_since",
		.argtypes = {INT4ARRAYOID, TIMESTAMPTZARRAYOID}};
	static CgStatement count_customers = {
		.sql = "SELECT pg_catalog.count(*) FROM customer_groups.customer_facts",
		.restypes = {INT8OID}};
	bool atomic = !IsA(fcinfo->context, CallContext) ||
				  castNode(CallContext, fcinfo->context)->atomic;
	int           batch_size = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);
	Datum         values[2];
	bool          isnull;
	int64        *last = NULL;
	MemoryContext caller;
	MemoryContext batch;
	CgUser        saved;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("the batch size must not be null"),
				 errhint("Leave the argument out to get its default.")));
	if (batch_size < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid batch size"),
						errdetail("A batch must have at least one customer."),
						errhint("Leave the argument out to get its default.")));
	if (atomic)
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("fill_segments cannot run inside a transaction block"),
						errdetail("It commits after each batch of customers."),
						errhint("Call it as a statement of its own.")));
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	caller = CurrentMemoryContext;
	batch = AllocSetContextCreate(caller, "customer_groups batch", ALLOCSET_DEFAULT_SIZES);

	cg_become_owner(CG_SEGMENTS, &saved);
	cg_execute(&select_pending, NULL, NULL);
	values[0] = datumCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull),
						  false, -1);
	values[1] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
	if (!isnull)
		values[1] = datumCopy(values[1], false, -1);
	cg_restore_user(&saved);
	if (!isnull)
	{
		bool  more = true;
		int64 done = 0;
		int64 total;

		cg_become_owner(CG_CUSTOMER_FACTS, &saved);
		cg_execute(&count_customers, NULL, NULL);
		cg_restore_user(&saved);
		total = DatumGetInt64(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		cg_show_progress("fill_segments", 0, total);
		cg_wait_for_judges();
		while (more)
		{
			SPI_commit();
			/* A batch waits for sales, and goes on with what they leave. */
			XactIsoLevel = XACT_READ_COMMITTED;
			MemoryContextSwitchTo(batch);
			more = fill_batch(&last, batch_size);
			MemoryContextSwitchTo(caller);
			MemoryContextReset(batch);
			done = Min(done + batch_size, total);
			cg_show_progress("fill_segments", done, total);
			CHECK_FOR_INTERRUPTS();
		}
		SPI_commit();
		cg_become_owner(CG_SEGMENTS, &saved);
		cg_execute(&clear_pending, values, NULL);
		cg_restore_user(&saved);
		cg_end_progress();
	}
	SPI_finish();
	PG_RETURN_VOID();
}
