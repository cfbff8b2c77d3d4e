/*
 * scan.c
 *		Look-ups by the primary key of our own tables, or by external_id.
 *
 * A query may ask for a hundred thousand prices, and each takes a few look-ups:
 * opening tables and setting scans up would cost more than the look-ups
 * themselves.  So an ended scan is kept for the next look-up of its kind: its
 * memory, but no buffer pin, no reference to a relation and no snapshot.  One
 * scan is kept for each table and kind; a second one that begins while it is in
 * use is made anew and freed at its end.  So is a transaction's first, as keeping
 * takes longer than what a transaction that sells once would save by it.
 *
 * A kept scan lives in CurTransactionContext of the subtransaction that it was
 * made in, as long as that holds the locks on table and index: a commit of the
 * subtransaction leaves both to the parent, and an abort takes both away.  It is
 * made anew when the relcache entry of either may have changed, as it points to
 * them, and after any subtransaction has failed.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "storage/proc.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "catalog/tables.h"
#include "compat.h"

/* Where the row of an item was found. */
typedef struct Hint
{
	int64           key;
	ItemPointerData tid; /* that the index gave */
} Hint;

#define LEAST_HINTS 1024
#define MOST_HINTS 131072 /* 2 MB */

static MemoryContext hint_context; /* under CacheMemoryContext, to the backend's end */
static Hint         *hints; /* by a hash of the key; each place has the last that came there */
static uint32        nhints;
static uint32        nremembered; /* keys that have come, since there are so many places */

typedef enum KeptState
{
	KEPT_NOT,
	KEPT_IDLE,
	KEPT_IN_USE
} KeptState;

typedef struct KeptScan
{
	KeptState        state;
	uint32           asked_in; /* local transaction of the last look-up */
	uint32           lxid;     /* local transaction; of another one is nothing left */
	SubTransactionId made_in;  /* holds the locks and the memory */
	SubTransactionId taken_in; /* while it is in use */
	uint64           changes;  /* cg_table_changes() when it was made */
	Oid              heap;
	Oid              index;
	CgScan           scan;
} KeptScan;

static KeptScan kept_scans[CG_TABLES][CG_SCAN_KINDS];

static void
forget(KeptScan *kept)
{
	MemoryContextDelete(kept->scan.context);
	kept->state = KEPT_NOT;
}

/*
 * What a subtransaction has made goes to its parent or away; what it was using
 * when it failed is in no state to be used again.  Nor is anything else: a cursor
 * that was opened before, and failed in it, has given up its locks, and those under
 * which a scan was made may have been among them.
 */
static void
end_subxact(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	for (int table = 0; table < CG_TABLES; table++)
		for (int kind = 0; kind < CG_SCAN_KINDS; kind++)
		{
			KeptScan *kept = &kept_scans[table][kind];

			if (kept->state == KEPT_NOT || kept->lxid != cg_local_xid())
				continue;
			if (event == SUBXACT_EVENT_COMMIT_SUB)
			{
				if (kept->made_in == mySubid)
					kept->made_in = parentSubid;
				if (kept->taken_in == mySubid)
					kept->taken_in = parentSubid;
			}
			else if (kept->made_in == mySubid)
				kept->state = KEPT_NOT;
			else if (kept->state == KEPT_IDLE || kept->taken_in == mySubid)
				forget(kept);
		}
}

/* Registers the callback; called once, when the library is loaded. */
void
cg_scan_init(void)
{
	RegisterSubXactCallback(end_subxact, NULL);
}

static Hint *
hint_of(int64 key)
{
	return &hints[cg_hash_id(key) & (nhints - 1)];
}

/* Makes room for more hints. */
static void
grow_hints(void)
{
	Hint  *old = hints;
	uint32 nold = nhints;
	uint32 nnew = Max(2 * nold, LEAST_HINTS);

	if (hint_context == NULL)
		hint_context = AllocSetContextCreate(CacheMemoryContext, "customer_groups hints",
											 ALLOCSET_DEFAULT_SIZES);
	hints = MemoryContextAllocZero(hint_context, nnew * sizeof(Hint));
	nhints = nnew;
	nremembered = 0;
	for (uint32 i = 0; i < nold; i++)
		if (ItemPointerIsValid(&old[i].tid))
			*hint_of(old[i].key) = old[i];
	if (old != NULL)
		pfree(old);
}

static void
remember(int64 key, ItemPointerData tid)
{
	Hint *hint;

	if (nremembered >= nhints / 2 && nhints < MOST_HINTS)
		grow_hints();
	hint = hint_of(key);
	if (!ItemPointerIsValid(&hint->tid) || hint->key != key)
		nremembered++;
	hint->key = key;
	hint->tid = tid;
}

/*
 * Looks for a row where it was the last time.  It may have gone and another may
 * have come: what is found is the row only if the snapshot sees it there with
 * the key.  Since the key is unique no other place can have it then.
 */
static bool
find_by_hint(CgScan *scan)
{
	int64           key = DatumGetInt64(scan->keys[0].sk_argument);
	bool            more = false;
	bool            isnull;
	const Hint     *hint;
	ItemPointerData tid;

	if (nhints == 0)
		return false;
	hint = hint_of(key);
	tid = hint->tid;
	if (hint->key != key || !ItemPointerIsValid(&tid) ||
		ItemPointerGetBlockNumber(&tid) >= scan->nblocks)
		return false;
	if (table_index_fetch_tuple(scan->scan->xs_heapfetch, &tid, scan->scan->xs_snapshot, scan->slot,
								&more, NULL) &&
		DatumGetInt64(slot_getattr(scan->slot, cg_attnum(scan->table, 0), &isnull)) == key)
		return true;
	ExecClearTuple(scan->slot);
	return false;
}

/* Looks for the one row in the index, and remembers where it is. */
static bool
find_one(CgScan *scan)
{
	ItemPointer tid;

	while ((tid = index_getnext_tid(scan->scan, ForwardScanDirection)) != NULL)
	{
		ItemPointerData first = *tid; /* of the versions on its page */

		if (index_fetch_heap(scan->scan, scan->slot))
		{
			remember(DatumGetInt64(scan->keys[0].sk_argument), first);
			return true;
		}
	}
	return false;
}

/*
 * Makes a scan, with the keys in place, of a table and an index that are open;
 * its memory is in the current context.
 */
static void
make_scan(CgScan *scan, Snapshot snapshot)
{
	/* A slot that is kept must not hold a reference to the relation's descriptor. */
	if (scan->kept)
		scan->slot = MakeSingleTupleTableSlot(
			CreateTupleDescCopyConstr(RelationGetDescr(scan->heap)),
			table_slot_callbacks(scan->heap));
	else
		scan->slot = table_slot_create(scan->heap, NULL);
	scan->scan = cg_index_beginscan(scan->heap, scan->index, snapshot, scan->nkeys);
	scan->scan->xs_want_itup = scan->kind == CG_SCAN_KEY_ONLY || scan->kind == CG_SCAN_SOME;
	scan->visibility = InvalidBuffer;
	/* Other access methods may mean something else by a place. */
	scan->nblocks = scan->hinted && scan->heap->rd_rel->relam == HEAP_TABLE_AM_OID
						? RelationGetNumberOfBlocks(scan->heap)
						: 0;
	scan->context = CurrentMemoryContext;
}

/* Goes to before the first row, with the present keys; what it allocates lives as long as the scan. */
static void
rescan(CgScan *scan)
{
	MemoryContext caller = MemoryContextSwitchTo(scan->context);

	index_rescan(scan->scan, scan->keys, scan->nkeys, NULL, 0);
	MemoryContextSwitchTo(caller);
}

/* Begins a look-up that finds no scan that is kept; keeps its own if there is room. */
static void
begin_new(CgScan *scan, KeptScan *kept, Snapshot snapshot, const Datum *values)
{
	MemoryContext caller = CurrentMemoryContext;

	/* Before the table is opened: what changes meanwhile is noticed. */
	uint64 changes = cg_table_changes(scan->table);

	scan->heap = cg_table_open(scan->table, scan->lockmode);
	scan->index = index_open(scan->kind == CG_SCAN_EXTERNAL
								 ? cg_external_key(scan->table, scan->heap)
								 : cg_primary_key(scan->table),
							 AccessShareLock);
	scan->kept = kept->state == KEPT_NOT && kept->asked_in == cg_local_xid();
	kept->asked_in = cg_local_xid();
	if (scan->kept)
		MemoryContextSwitchTo(AllocSetContextCreate(CurTransactionContext, "customer_groups scan",
													ALLOCSET_SMALL_SIZES));
	for (int i = 0; i < scan->nkeys; i++)
		switch (TupleDescAttr(RelationGetDescr(scan->index), i)->atttypid)
		{
			case INT8OID:
				ScanKeyInit(&scan->keys[i], i + 1, BTEqualStrategyNumber, F_INT8EQ, values[i]);
				break;
			case INT4OID:
				ScanKeyInit(&scan->keys[i], i + 1, BTEqualStrategyNumber, F_INT4EQ, values[i]);
				break;
			default:
				ScanKeyEntryInitialize(&scan->keys[i], 0, i + 1, BTEqualStrategyNumber, TEXTOID,
									   scan->index->rd_indcollation[i], F_TEXTEQ, values[i]);
		}
	make_scan(scan, snapshot);
	MemoryContextSwitchTo(caller);

	if (scan->kept)
	{
		kept->state = KEPT_IN_USE;
		kept->lxid = cg_local_xid();
		kept->made_in = kept->taken_in = GetCurrentSubTransactionId();
		kept->changes = changes;
		kept->heap = RelationGetRelid(scan->heap);
		kept->index = RelationGetRelid(scan->index);
		kept->scan = *scan;
	}
}

/* Takes a kept scan, if it is still good: the locks are held, the relations as they were. */
static bool
take_kept(CgScan *scan, KeptScan *kept, Snapshot snapshot, const Datum *values)
{
	if (kept->state != KEPT_NOT && kept->lxid != cg_local_xid())
		kept->state = KEPT_NOT;
	if (kept->state != KEPT_IDLE)
		return false;
	if (kept->changes != cg_table_changes(scan->table) || kept->scan.nkeys != scan->nkeys ||
		kept->scan.hinted != scan->hinted)
	{
		forget(kept);
		return false;
	}
	kept->scan.wants = scan->wants;
	kept->scan.wants_arg = scan->wants_arg;
	*scan = kept->scan;
	scan->heap = table_open(kept->heap, NoLock);
	scan->index = index_open(kept->index, NoLock);
	if (kept->changes != cg_table_changes(scan->table) || scan->heap != kept->scan.heap ||
		scan->index != kept->scan.index)
	{
		index_close(scan->index, NoLock);
		table_close(scan->heap, NoLock);
		forget(kept);
		return false;
	}
	RelationIncrementReferenceCount(scan->index); /* as index_beginscan() does */
	scan->scan->xs_snapshot = snapshot;
	for (int i = 0; i < scan->nkeys; i++)
		scan->keys[i].sk_argument = values[i];
	kept->state = KEPT_IN_USE;
	kept->taken_in = GetCurrentSubTransactionId();
	return true;
}

static void
begin(CgScan *scan, CgTable table, CgScanKind kind, LOCKMODE lockmode, Snapshot snapshot, int nkeys,
	  Datum key1, Datum key2)
{
	KeptScan *kept = &kept_scans[table][kind];
	Datum     values[2] = {key1, key2};

	scan->table = table;
	scan->kind = kind;
	scan->lockmode = lockmode;
	if (kind != CG_SCAN_SOME)
		scan->wants = NULL;
	scan->nkeys = nkeys;
	scan->hinted = table == CG_ITEMS && kind == CG_SCAN_ROWS && IsMVCCSnapshot(snapshot) &&
				   !IsolationIsSerializable();
	if (!take_kept(scan, kept, snapshot, values))
		begin_new(scan, kept, snapshot, values);
	scan->begun = true;
	cg_scan_again(scan, key1);
}

/*
 * Begins a look-up by the first nkeys columns of the primary key.  The table
 * stays locked to the end of the transaction; cg_scan_end() frees the rest.
 */
void
cg_scan_begin(CgScan *scan, CgTable table, Snapshot snapshot, int nkeys, Datum key1, Datum key2)
{
	begin(scan, table, CG_SCAN_ROWS, AccessShareLock, snapshot, nkeys, key1, key2);
}

/*
 * The same, under an MVCC snapshot, where only columns of the primary key are
 * asked for: rows on pages that are visible to everybody are not looked at.
 */
void
cg_scan_begin_key_only(CgScan *scan, CgTable table, Snapshot snapshot, int nkeys, Datum key1,
					   Datum key2)
{
	Assert(IsMVCCSnapshot(snapshot));
	begin(scan, table, CG_SCAN_KEY_ONLY, AccessShareLock, snapshot, nkeys, key1, key2);
}

/*
 * Begins a look-up by external_id, of customers or items; otherwise the same.
 */
void
cg_scan_begin_external(CgScan *scan, CgTable table, Snapshot snapshot, Datum key)
{
	begin(scan, table, CG_SCAN_EXTERNAL, AccessShareLock, snapshot, 1, key, 0);
}

/*
 * Goes on with another key, the first one where there are two.
 */
void
cg_scan_again(CgScan *scan, Datum key)
{
	scan->keys[0].sk_argument = key;
	scan->place = CG_SCAN_BEFORE;
}

/*
 * Begins a look-up by an id, the first column of the primary key, or goes on with
 * another id.  A scan that is all zero has not begun.  Where the caller holds a
 * stronger lock on the table, lockmode says so, lest another one be taken; where it
 * wants some rows only, wants tells which, so that the others are not looked at, and
 * the snapshot must be an MVCC one.
 */
void
cg_scan_id(CgScan *scan, CgTable table, Snapshot snapshot, int64 id)
{
	if (scan->begun)
		cg_scan_again(scan, Int64GetDatum(id));
	else
		begin(scan, table, scan->wants != NULL ? CG_SCAN_SOME : CG_SCAN_ROWS,
			  Max(scan->lockmode, AccessShareLock), snapshot, 1, Int64GetDatum(id), 0);
}

/* The next row that is wanted. */
static bool
next_wanted(CgScan *scan)
{
	IndexScanDesc desc = scan->scan;

	while (index_getnext_tid(desc, ForwardScanDirection) != NULL)
	{
		bool  isnull;
		Datum key = index_getattr(desc->xs_itup, 2, desc->xs_itupdesc, &isnull);

		if (scan->wants(key, scan->wants_arg) && index_fetch_heap(desc, scan->slot))
			return true;
	}
	return false;
}

/* The next entry of the index whose row the snapshot sees, as IndexOnlyNext() finds it. */
static bool
next_key(CgScan *scan)
{
	IndexScanDesc desc = scan->scan;
	ItemPointer   tid;

	while ((tid = index_getnext_tid(desc, ForwardScanDirection)) != NULL)
	{
		bool found;

		if (VM_ALL_VISIBLE(scan->heap, ItemPointerGetBlockNumber(tid), &scan->visibility))
		{
			/* Looking at a row would have locked it, for a serializable transaction. */
			PredicateLockPage(scan->heap, ItemPointerGetBlockNumber(tid), desc->xs_snapshot);
			return true;
		}
		found = index_fetch_heap(desc, scan->slot);
		ExecClearTuple(scan->slot);
		if (found)
			return true;
	}
	return false;
}

/* The next row, or false when there is none. */
bool
cg_scan_next(CgScan *scan)
{
	MemoryContext caller;
	bool          found;

	if (scan->place == CG_SCAN_AFTER || scan->place == CG_SCAN_AT_ROW)
		return false;
	if (scan->place == CG_SCAN_BEFORE)
	{
		if (scan->hinted && find_by_hint(scan))
		{
			scan->place = CG_SCAN_AT_ROW;
			return true;
		}
		rescan(scan);
		scan->place = CG_SCAN_IN_INDEX;
	}
	caller = MemoryContextSwitchTo(scan->context);
	if (scan->kind == CG_SCAN_KEY_ONLY)
		found = next_key(scan);
	else if (scan->kind == CG_SCAN_SOME)
		found = next_wanted(scan);
	else if (scan->hinted)
		found = find_one(scan);
	else
		found = index_getnext_slot(scan->scan, ForwardScanDirection, scan->slot);
	if (!found)
		scan->place = CG_SCAN_AFTER;
	MemoryContextSwitchTo(caller);
	return found;
}

/*
 * Fetches the row with an id, the first column that is listed, if the version at a
 * place is such a one and the snapshot sees it.  The place must be on a page that
 * the table still has.
 */
bool
cg_fetch_at(CgTable table, Relation rel, ItemPointer place, Snapshot snapshot, int64 id,
			TupleTableSlot *slot)
{
	bool isnull;

	return ItemPointerIsValid(place) && table_tuple_fetch_row_version(rel, place, snapshot, slot) &&
		   DatumGetInt64(slot_getattr(slot, cg_attnum(table, 0), &isnull)) == id;
}

/*
 * The row with the present key, where the caller says that one of its versions is:
 * if the snapshot sees that one, without the index.  The place must be from a
 * snapshot that is still held, so that nothing else can have come there.
 */
bool
cg_scan_next_at(CgScan *scan, ItemPointer place)
{
	if (!cg_fetch_at(scan->table, scan->heap, place, scan->scan->xs_snapshot,
					 DatumGetInt64(scan->keys[0].sk_argument), scan->slot))
		return cg_scan_next(scan);
	scan->place = CG_SCAN_AT_ROW;
	return true;
}

/* A column of the present row; what it points to lives until the next row. */
Datum
cg_scan_get(CgScan *scan, int column, bool *isnull)
{
	/* The columns of the key are the first ones in the lists of catalog.c. */
	if (scan->kind == CG_SCAN_KEY_ONLY)
		return index_getattr(scan->scan->xs_itup, column + 1, scan->scan->xs_itupdesc, isnull);
	return slot_getattr(scan->slot, cg_attnum(scan->table, column), isnull);
}

/* Whether this transaction has made the present row, or its present version. */
bool
cg_scan_is_own(CgScan *scan)
{
	bool  isnull;
	Datum xmin = slot_getsysattr(scan->slot, MinTransactionIdAttributeNumber, &isnull);

	return TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin));
}

/*
 * Locks the present row, as FOR NO KEY UPDATE does, and goes on to its latest
 * version; at REPEATABLE READ and above, a version later than the scan's snapshot
 * sees is a serialization failure.  The table must be locked for it.
 */
CgLockResult
cg_scan_lock(CgScan *scan, bool wait)
{
	ItemPointerData tid = scan->slot->tts_tid;
	uint8           flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;
	TM_FailureData  failure;
	TM_Result       result;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	ExecClearTuple(scan->slot);
	result = table_tuple_lock(scan->heap, &tid, scan->scan->xs_snapshot, scan->slot,
							  GetCurrentCommandId(false), LockTupleNoKeyExclusive,
							  wait ? LockWaitBlock : LockWaitSkip, flags, &failure);
	switch (result)
	{
		case TM_Ok:
			return CG_LOCK_TAKEN;
		case TM_WouldBlock:
			return CG_LOCK_HELD;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
								errmsg("could not serialize access due to concurrent update"),
								errdetail("A row of table %s has been changed meanwhile.",
										  RelationGetRelationName(scan->heap)),
								errhint("Retry the transaction.")));
			return CG_LOCK_GONE;
		default:
			elog(ERROR, "unexpected result of locking a row: %d", (int) result);
	}
}

/* The present row, in the current memory context. */
HeapTuple
cg_scan_copy(CgScan *scan)
{
	return ExecCopySlotHeapTuple(scan->slot);
}

/* Ends a scan, if it has begun. */
void
cg_scan_end(CgScan *scan)
{
	if (!scan->begun)
		return;
	scan->begun = false;
	if (BufferIsValid(scan->visibility))
		ReleaseBuffer(scan->visibility);
	ExecClearTuple(scan->slot);
	if (scan->kept)
	{
		/* Lets go of the pins; at its end a scan has none. */
		if (scan->place != CG_SCAN_AFTER)
			rescan(scan);
		scan->scan->xs_snapshot = InvalidSnapshot;
		RelationDecrementReferenceCount(scan->index);
		kept_scans[scan->table][scan->kind].state = KEPT_IDLE;
	}
	else
	{
		index_endscan(scan->scan);
		ExecDropSingleTupleTableSlot(scan->slot);
	}
	index_close(scan->index, NoLock);
	table_close(scan->heap, NoLock);
}
