/*
 * stamps.c
 *		How a backend's caches obey MVCC exactly.
 *
 * Row triggers on the tables that a cache is built from add a row to
 * cache_stamps for what is edited: a fresh number, and the kind and key of what
 * changed.  The row is written by the same command as the edit, so that a
 * snapshot sees either both or none: whether an edit was committed, rolled back
 * with its savepoint, or is newer than the snapshot makes no difference.
 *
 * A cache remembers which stamps it has taken into account.  Before it is used
 * under a snapshot, the stamps that this snapshot sees are compared with them:
 * for each one that came or went, what it names is read anew.  When the sets are
 * equal, so is what the snapshot would read.  The comparison is made once per
 * snapshot and local transaction, and again after a subtransaction has aborted.
 *
 * The stamp comes before the edit.  A BEFORE trigger that fires in between, as its
 * name comes after that of ours, sees the stamp and not yet what it tells of.  So,
 * where there is such a trigger, what the statements in progress have left for their
 * present rows is not taken as known: what it names is read anew for each snapshot
 * until they end.
 *
 * Editors never wait for each other here: rows are only added.  One stamp in
 * FOLD_EVERY also folds: it deletes the rows that nobody else is deleting, that
 * every snapshot of its transaction sees, and lists their numbers in a row of
 * kind 'F'.  A cache that knew all the numbers listed is still good; any other
 * is loaded from the start.
 *
 * To a SERIALIZABLE transaction, asking for a price is reading all that prices
 * are made from: it holds a predicate lock on the stamps, and conflicts with
 * editors as a scan of the tables would.
 *
 * What goes round the triggers (another definition of a table, DISABLE TRIGGER,
 * the extension created anew) shows in the relcache: then everything is loaded.
 *
 * Memory: the stamps that a cache knows live in a context of their own under
 * CacheMemoryContext and are replaced whenever they change.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "catalog/tables.h"
#include "compat.h"
#include "promotions/promotions.h"

#define FOLD_EVERY 64 /* stamps between two attempts to fold */
#define FOLD_LEAST 32 /* rows that make a fold worth while */
#define MAX_KEYS 64   /* keys that one command may name before it names all */

/* Subtransactions that this backend has aborted. */
static uint64 subxact_aborts;

/* What the present command has left stamps for. */
static struct
{
	uint32           lxid;
	SubTransactionId subxid;
	CommandId        cid;
	int              nkeys;
	struct
	{
		CgStampKind kind;
		bool        any_key;
		int64       key;
		int64       stamp;
	} keys[2 * MAX_KEYS];
} left;

/*
 * A statement whose BEFORE triggers go on after a stamp is left, as long as their
 * memory lasts, and the stamps of its present row.
 */
typedef struct Editor
{
	MemoryContextCallback callback;
	struct Editor        *outer;
	int                   nstamps;
	int64                 stamps[2];
} Editor;

static Editor *editors; /* in progress */

/* The stamps that were last read: see seen_stamps(). */
static struct
{
	CgSnapshotKey snapshot;
	uint64        sources; /* cg_source_changes() */
	MemoryContext context;
	int           nstamps;
	CgStamp      *stamps;
} seen;

static void
count_subxact_aborts(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid,
					 void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		subxact_aborts++;
}

/* How many subtransactions this backend has aborted. */
uint64
cg_subxact_aborts(void)
{
	return subxact_aborts;
}

/* Registers the callback; called once, when the library is loaded. */
void
cg_stamps_init(void)
{
	RegisterSubXactCallback(count_subxact_aborts, NULL);
}

/*
 * Whether a snapshot sees of other transactions what the remembered one saw, in
 * the same transaction.
 */
static bool
sees_the_same(const CgSnapshotKey *key, Snapshot snapshot)
{
	int nxids = snapshot->xcnt + Max(snapshot->subxcnt, 0);

	return key->lxid == cg_local_xid() && key->aborts == subxact_aborts &&
		   key->xmin == snapshot->xmin && key->xmax == snapshot->xmax &&
		   key->in_recovery == snapshot->takenDuringRecovery &&
		   key->overflowed == snapshot->suboverflowed && key->nxids == nxids &&
		   (snapshot->xcnt == 0 ||
			memcmp(key->xids, snapshot->xip, snapshot->xcnt * sizeof(TransactionId)) == 0) &&
		   (snapshot->subxcnt <= 0 || memcmp(key->xids + snapshot->xcnt, snapshot->subxip,
											 snapshot->subxcnt * sizeof(TransactionId)) == 0);
}

/*
 * Whether a snapshot would see just the stamps that the remembered one saw.  Up to
 * which command it sees what this transaction has done makes no difference as long
 * as that left none.
 */
static bool
sees_the_same_stamps(const CgSnapshotKey *key, Snapshot snapshot)
{
	return sees_the_same(key, snapshot) &&
		   (key->curcid == snapshot->curcid || left.lxid != key->lxid);
}

/* Whether a snapshot sees just the rows that the remembered one saw, of any table. */
bool
cg_same_snapshot(const CgSnapshotKey *key, Snapshot snapshot)
{
	return sees_the_same(key, snapshot) && key->curcid == snapshot->curcid;
}

void
cg_remember_snapshot(CgSnapshotKey *key, Snapshot snapshot)
{
	int nxids = snapshot->xcnt + Max(snapshot->subxcnt, 0);

	key->lxid = 0;
	if (key->xids == NULL || key->max_xids < nxids)
	{
		if (key->xids != NULL)
			pfree(key->xids);
		key->xids = NULL;
		key->max_xids = Max(nxids, 64);
		key->xids = MemoryContextAlloc(CacheMemoryContext, key->max_xids * sizeof(TransactionId));
	}
	if (snapshot->xcnt > 0)
		memcpy(key->xids, snapshot->xip, snapshot->xcnt * sizeof(TransactionId));
	if (snapshot->subxcnt > 0)
		memcpy(key->xids + snapshot->xcnt, snapshot->subxip,
			   snapshot->subxcnt * sizeof(TransactionId));
	key->aborts = subxact_aborts;
	key->curcid = snapshot->curcid;
	key->xmin = snapshot->xmin;
	key->xmax = snapshot->xmax;
	key->in_recovery = snapshot->takenDuringRecovery;
	key->overflowed = snapshot->suboverflowed;
	key->nxids = nxids;
	key->lxid = cg_local_xid();
}

/*
 * Whether a snapshot sees all that has been committed by now.
 */
static bool
sees_all_committed(Snapshot snapshot)
{
	Snapshot latest;

	/* A parallel worker cannot tell, and ends soon. */
	if (IsInParallelMode())
		return false;
	latest = GetLatestSnapshot();
	if (TransactionIdPrecedes(snapshot->xmax, latest->xmax))
		return false;
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		if (!XidInMVCCSnapshot(snapshot->xip[i], latest))
			return false;
	for (int32 i = 0; i < snapshot->subxcnt; i++)
		if (!XidInMVCCSnapshot(snapshot->subxip[i], latest))
			return false;
	return true;
}

static int
compare_stamps(const void *a, const void *b)
{
	int64 x = ((const CgStamp *) a)->stamp;
	int64 y = ((const CgStamp *) b)->stamp;

	return (x > y) - (x < y);
}

static void
stamp_from_slot(TupleTableSlot *slot, CgStamp *stamp)
{
	Datum datum;
	bool  isnull;

	stamp->stamp = DatumGetInt64(
		slot_getattr(slot, cg_attnum(CG_CACHE_STAMPS, CG_STAMPS_STAMP), &isnull));
	stamp->kind = (CgStampKind) DatumGetChar(
		slot_getattr(slot, cg_attnum(CG_CACHE_STAMPS, CG_STAMPS_KIND), &isnull));
	stamp->key = DatumGetInt64(
		slot_getattr(slot, cg_attnum(CG_CACHE_STAMPS, CG_STAMPS_KEY), &stamp->any_key));
	stamp->nfolded = 0;
	stamp->folded = NULL;
	if (stamp->kind != CG_STAMP_FOLD)
		return;
	datum = slot_getattr(slot, cg_attnum(CG_CACHE_STAMPS, CG_STAMPS_FOLDED), &isnull);
	if (!isnull)
		stamp->nfolded = cg_array_elements(datum, &stamp->folded);
}

/* Reads the stamps that a snapshot sees, ascending, into the current context. */
static CgStamp *
read_stamps(Snapshot snapshot, int *nstamps)
{
	Relation        rel = cg_table_open(CG_CACHE_STAMPS, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, snapshot, 0, NULL);
	int             max = 2 * FOLD_EVERY;
	CgStamp        *stamps = palloc(max * sizeof(CgStamp));
	int             n = 0;
	bool            sorted = true;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (n == max)
		{
			max *= 2;
			stamps = repalloc_huge(stamps, max * sizeof(CgStamp));
		}
		stamp_from_slot(slot, &stamps[n]);
		if (n > 0 && stamps[n].stamp < stamps[n - 1].stamp)
			sorted = false;
		n++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	if (!sorted)
		qsort(stamps, n, sizeof(CgStamp), compare_stamps);
	*nstamps = n;
	return stamps;
}

/*
 * The stamps that a snapshot sees, ascending.  The last answer is kept, as several
 * caches ask for one snapshot; it is good until the next call.
 */
static const CgStamp *
seen_stamps(Snapshot snapshot, uint64 sources, int *nstamps)
{
	if (seen.sources != sources || !sees_the_same_stamps(&seen.snapshot, snapshot))
	{
		MemoryContext caller;

		seen.snapshot.lxid = 0;
		if (seen.context == NULL)
			seen.context = AllocSetContextCreate(CacheMemoryContext, "customer_groups stamps seen",
												 ALLOCSET_DEFAULT_SIZES);
		MemoryContextReset(seen.context);
		caller = MemoryContextSwitchTo(seen.context);
		seen.stamps = read_stamps(snapshot, &seen.nstamps);
		MemoryContextSwitchTo(caller);
		seen.sources = sources;
		cg_remember_snapshot(&seen.snapshot, snapshot);
	}
	*nstamps = seen.nstamps;
	return seen.stamps;
}

static bool
knows_stamp(const CgCache *cache, int64 number)
{
	CgStamp key;

	key.stamp = number;
	return cache->nstamps > 0 &&
		   bsearch(&key, cache->stamps, cache->nstamps, sizeof(CgStamp), compare_stamps) != NULL;
}

/* What is to be read anew of one kind. */
typedef struct Changes
{
	int    nkeys;
	bool   all;
	Datum *keys;
} Changes;

static void
note_change(const CgCache *cache, Changes *changes, const CgStamp *stamp, int max)
{
	const char *place = strchr(cache->kinds, stamp->kind);
	Changes    *change;

	if (place == NULL)
		return;
	change = &changes[place - cache->kinds];
	if (stamp->any_key)
		change->all = true;
	else
	{
		if (change->keys == NULL)
			change->keys = palloc(max * sizeof(Datum));
		change->keys[change->nkeys++] = Int64GetDatum(stamp->key);
	}
}

/*
 * Compares the stamps that a cache knows with those seen now, and collects what
 * changed for each of its kinds.  False when only loading everything will do.
 */
static bool
compare_with_known(const CgCache *cache, const CgStamp *now, int nnow, Changes *changes)
{
	int    max = cache->nstamps + nnow;
	int    nfolded = 0;
	int64 *folded;
	int    i = 0;
	int    j = 0;

	/* What new folds replaced must all be known. */
	for (int k = 0; k < nnow; k++)
		if (now[k].kind == CG_STAMP_FOLD && !knows_stamp(cache, now[k].stamp))
			nfolded += now[k].nfolded;
	folded = palloc((nfolded + 1) * sizeof(int64));
	nfolded = 0;
	for (int k = 0; k < nnow; k++)
		if (now[k].kind == CG_STAMP_FOLD && !knows_stamp(cache, now[k].stamp))
			for (int f = 0; f < now[k].nfolded; f++)
			{
				folded[nfolded] = DatumGetInt64(now[k].folded[f]);
				if (!knows_stamp(cache, folded[nfolded++]))
					return false;
			}

	while (i < cache->nstamps || j < nnow)
	{
		if (i < cache->nstamps && j < nnow && cache->stamps[i].stamp == now[j].stamp)
		{
			i++;
			j++;
		}
		else if (j == nnow || (i < cache->nstamps && cache->stamps[i].stamp < now[j].stamp))
		{
			/* Gone: folded, or not seen by this snapshot. */
			const CgStamp *gone = &cache->stamps[i++];
			bool           replaced = false;

			for (int f = 0; f < nfolded && !replaced; f++)
				replaced = folded[f] == gone->stamp;
			if (!replaced && gone->kind == CG_STAMP_FOLD)
				return false;
			if (!replaced)
				note_change(cache, changes, gone, max);
		}
		else
			note_change(cache, changes, &now[j++], max);
	}
	return true;
}

static bool
same_stamps(const CgCache *cache, const CgStamp *stamps, int nstamps)
{
	if (nstamps != cache->nstamps)
		return false;
	for (int i = 0; i < nstamps; i++)
		if (stamps[i].stamp != cache->stamps[i].stamp)
			return false;
	return true;
}

/* Whether the edit that a stamp tells of may be still to come. */
static bool
is_early(int64 stamp)
{
	for (const Editor *editor = editors; editor != NULL; editor = editor->outer)
		for (int i = 0; i < editor->nstamps; i++)
			if (editor->stamps[i] == stamp)
				return true;
	return false;
}

/* Makes the stamps just read, but for early ones, those that a cache knows. */
static void
know_stamps(CgCache *cache, const CgStamp *stamps, int nstamps)
{
	cache->nstamps = 0;
	if (cache->context == NULL)
		cache->context = AllocSetContextCreate(CacheMemoryContext, "customer_groups stamps",
											   ALLOCSET_SMALL_SIZES);
	MemoryContextReset(cache->context);
	cache->stamps = MemoryContextAllocHuge(cache->context, (nstamps + 1) * sizeof(CgStamp));
	for (int i = 0; i < nstamps; i++)
	{
		CgStamp *known = &cache->stamps[cache->nstamps];

		if (is_early(stamps[i].stamp))
			continue;
		*known = stamps[i];
		/* Which stamps a fold replaced matters only when it is new. */
		known->nfolded = 0;
		known->folded = NULL;
		cache->nstamps++;
	}
}

/*
 * Brings a cache to what a snapshot would read.
 */
void
cg_cache_validate(CgCache *cache, Snapshot snapshot)
{
	MemoryContext  scratch;
	MemoryContext  caller;
	const CgStamp *stamps;
	int            nstamps;
	Changes       *changes;
	bool           everything;
	bool           something = false;
	int            nkinds = strlen(cache->kinds);
	uint64         sources;

	if (cache->loaded && cache->sources == cg_source_changes() &&
		sees_the_same_stamps(&cache->snapshot, snapshot))
		return;
	if (snapshot->snapshot_type != SNAPSHOT_MVCC)
		elog(ERROR, "cache \"%s\" was asked for without an MVCC snapshot", cache->name);

	PushActiveSnapshot(snapshot);
	snapshot = GetActiveSnapshot();

	/*
	 * A change of the tables that left no stamp may not be seen by an older
	 * snapshot: what is loaded under it is good for it alone.  The number is
	 * read before the tables, so that a change meanwhile makes us load again.
	 */
	sources = cg_source_changes();
	if (cache->sources != sources || cache->for_one_snapshot)
	{
		cache->loaded = false;
		cache->for_one_snapshot = !sees_all_committed(snapshot);
	}
	stamps = seen_stamps(snapshot, sources, &nstamps);
	if (cache->loaded && same_stamps(cache, stamps, nstamps))
	{
		cg_remember_snapshot(&cache->snapshot, snapshot);
		cache->sources = sources;
		PopActiveSnapshot();
		return;
	}

	scratch = AllocSetContextCreate(CurrentMemoryContext, "customer_groups stamps compared",
									ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(scratch);
	changes = palloc0(nkinds * sizeof(Changes));
	everything = !cache->loaded || !compare_with_known(cache, stamps, nstamps, changes);
	for (int i = 0; i < nkinds; i++)
		something = something || changes[i].all || changes[i].nkeys > 0;
	cache->loaded = false;
	know_stamps(cache, stamps, nstamps);

	if (everything || something)
	{
		CgUser saved;

		cg_become_owner(CG_CACHE_STAMPS, &saved);
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		if (everything)
			cache->load();
		else
			for (int i = 0; i < nkinds; i++)
				if (changes[i].all || changes[i].nkeys > 0)
				{
					/* No keys make an empty array, which is not the same as all. */
					ArrayType *keys = construct_array(changes[i].keys, changes[i].nkeys, INT8OID,
													  sizeof(int64), true, TYPALIGN_DOUBLE);

					cache->reload((CgStampKind) cache->kinds[i], PointerGetDatum(keys),
								  changes[i].all);
				}
		SPI_finish();
		cg_restore_user(&saved);
	}
	/* What is read early is good for this snapshot alone: the next one must be another. */
	if (cache->nstamps < nstamps && !IsInParallelMode())
		(void) GetCurrentCommandId(true);
	cg_remember_snapshot(&cache->snapshot, snapshot);
	cache->sources = sources;
	cache->loaded = true;

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	PopActiveSnapshot();
}

static void
set_column(Datum *values, bool *nulls, int column, Datum value)
{
	AttrNumber attnum = cg_attnum(CG_CACHE_STAMPS, column);

	values[attnum - 1] = value;
	nulls[attnum - 1] = false;
}

/* Adds a stamp with the id of the present command; returns its number. */
static int64
insert_stamp(Relation rel, CgStampKind kind, const int64 *key, ArrayType *folded)
{
	int       natts = RelationGetNumberOfAttributes(rel);
	Datum    *values = palloc0(natts * sizeof(Datum));
	bool     *nulls = palloc(natts * sizeof(bool));
	int64     number = nextval_internal(cg_stamp_sequence(), false);
	HeapTuple tuple;

	/* Columns that the owner has added stay null. */
	memset(nulls, true, natts * sizeof(bool));
	set_column(values, nulls, CG_STAMPS_STAMP, Int64GetDatum(number));
	set_column(values, nulls, CG_STAMPS_KIND, CharGetDatum(kind));
	if (key != NULL)
		set_column(values, nulls, CG_STAMPS_KEY, Int64GetDatum(*key));
	if (folded != NULL)
		set_column(values, nulls, CG_STAMPS_FOLDED, PointerGetDatum(folded));
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	pfree(values);
	pfree(nulls);
	return number;
}

/*
 * Replaces the stamps that are nobody else's to delete by one that lists them.
 */
static void
fold_stamps(Relation rel, CommandId cid)
{
	TupleTableSlot  *slot = table_slot_create(rel, NULL);
	TableScanDesc    scan = table_beginscan(rel, SnapshotSelf, 0, NULL);
	int              max = 4 * FOLD_EVERY;
	ItemPointerData *tids = palloc(max * sizeof(ItemPointerData));
	Datum           *numbers = palloc(max * sizeof(Datum));
	int              nseen = 0;
	int              nfolded = 0;

	while (nseen < max && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CgStamp   stamp;
		bool      shouldfree;
		HeapTuple tuple = ExecFetchSlotHeapTuple(slot, false, &shouldfree);

		TransactionId xmin = HeapTupleHeaderGetXmin(tuple->t_data);

		/*
		 * What this very command has left cannot be deleted by it.  What a
		 * snapshot of this transaction may not see must not be folded either:
		 * that snapshot would see the fold, and not the edit.
		 */
		if (TransactionIdIsCurrentTransactionId(xmin)
				? HeapTupleHeaderGetCmin(tuple->t_data) >= cid
				: !TransactionIdPrecedes(xmin, TransactionXmin))
			continue;
		stamp_from_slot(slot, &stamp);
		tids[nseen] = slot->tts_tid;
		numbers[nseen++] = Int64GetDatum(stamp.stamp);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);

	for (int i = 0; nseen >= FOLD_LEAST && i < nseen; i++)
	{
		TM_FailureData failure;

		if (heap_delete(rel, &tids[i], cid, InvalidSnapshot, false, &failure, false) == TM_Ok)
			numbers[nfolded++] = numbers[i];
	}
	if (nfolded > 0)
		insert_stamp(
			rel, CG_STAMP_FOLD, NULL,
			construct_array(numbers, nfolded, INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE));
	pfree(tids);
	pfree(numbers);
}

static void
end_editor(void *arg)
{
	Editor **place = &editors;

	while (*place != arg)
		place = &(*place)->outer;
	*place = ((Editor *) arg)->outer;
}

/* Whether triggers fire between this one and the edit. */
static bool
triggers_follow(const TriggerData *trigdata)
{
	const TriggerDesc *triggers = trigdata->tg_relation->trigdesc;
	const Trigger *this = trigdata->tg_trigger;

	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *other = &triggers->triggers[i];

		if (TRIGGER_FOR_BEFORE(other->tgtype) &&
			TRIGGER_FOR_ROW(other->tgtype) == TRIGGER_FOR_ROW(this->tgtype) &&
			strcmp(other->tgname, this->tgname) > 0)
			return true;
	}
	return false;
}

/*
 * The statement for which a trigger is about to leave stamps for a row; NULL when
 * the edit is next.
 */
static Editor *
begin_row(FmgrInfo *trigger, const TriggerData *trigdata)
{
	Editor *editor = trigger->fn_extra;

	if (editor == NULL && triggers_follow(trigdata))
	{
		editor = MemoryContextAllocZero(trigger->fn_mcxt, sizeof(Editor));
		editor->callback.func = end_editor;
		editor->callback.arg = editor;
		editor->outer = editors;
		MemoryContextRegisterResetCallback(trigger->fn_mcxt, &editor->callback);
		editors = trigger->fn_extra = editor;
	}
	if (editor != NULL)
		editor->nstamps = 0;
	return editor;
}

static void
note_stamp(Editor *editor, int64 stamp)
{
	if (editor != NULL)
		editor->stamps[editor->nstamps++] = stamp;
}

/*
 * Leaves a stamp for a key, or for all of the kind.  It is written with the
 * command id of the edit that follows.
 */
static void
leave_stamp(Editor *editor, CgStampKind kind, bool any_key, int64 key)
{
	CommandId cid = GetCurrentCommandId(true);
	Relation  rel;
	int64     number;
	int       nkind = 0;

	if (left.lxid != cg_local_xid() || left.subxid != GetCurrentSubTransactionId() ||
		left.cid != cid)
	{
		left.lxid = cg_local_xid();
		left.subxid = GetCurrentSubTransactionId();
		left.cid = cid;
		left.nkeys = 0;
	}
	for (int i = 0; i < left.nkeys; i++)
		if (left.keys[i].kind == kind)
		{
			if (left.keys[i].any_key || (!any_key && left.keys[i].key == key))
			{
				note_stamp(editor, left.keys[i].stamp);
				return;
			}
			nkind++;
		}
	if (nkind >= MAX_KEYS || left.nkeys >= MAX_KEYS)
		any_key = true;

	rel = cg_table_open(CG_CACHE_STAMPS, RowExclusiveLock);
	number = insert_stamp(rel, kind, any_key ? NULL : &key, NULL);
	if (number % FOLD_EVERY == 0)
		fold_stamps(rel, cid);
	table_close(rel, NoLock);

	left.keys[left.nkeys].kind = kind;
	left.keys[left.nkeys].any_key = any_key;
	left.keys[left.nkeys].key = key;
	left.keys[left.nkeys++].stamp = number;
	note_stamp(editor, number);
}

static CgStampKind
kind_of_name(const char *name)
{
	static const struct
	{
		const char *name;
		CgStampKind kind;
	} kinds[] = {{"settings", CG_STAMP_SETTINGS}, {"store", CG_STAMP_STORE},
				 {"ladder", CG_STAMP_LADDER},     {"group", CG_STAMP_GROUP},
				 {"category", CG_STAMP_CATEGORY}, {"promotion", CG_STAMP_PROMOTION},
				 {"brand", CG_STAMP_BRAND},       {"segment", CG_STAMP_SEGMENT}};

	for (int i = 0; i < (int) lengthof(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return kinds[i].kind;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("leave_stamp knows no kind \"%s\"", name)));
	pg_unreachable();
}

static int64
key_of_tuple(HeapTuple tuple, TupleDesc desc, const char *column, bool *isnull)
{
	int   attnum = SPI_fnumber(desc, column);
	Datum datum;

	if (attnum <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("leave_stamp finds no column \"%s\"", column)));
	datum = heap_getattr(tuple, attnum, desc, isnull);
	return DatumGetInt32(datum);
}

/*
 * Trigger leave_stamp(kind [, key column]): BEFORE ROW, or BEFORE TRUNCATE.
 */
PG_FUNCTION_INFO_V1(cg_leave_stamp);
Datum
cg_leave_stamp(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	CgStampKind  kind;
	const char  *column;
	TupleDesc    desc;
	HeapTuple    result;
	bool         isnull;
	int64        key;
	Editor      *editor;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigdata->tg_event) ||
		trigdata->tg_trigger->tgnargs < 1 || !cg_is_own_table(trigdata->tg_relation))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("leave_stamp is a BEFORE trigger of the extension's tables only")));
	kind = kind_of_name(trigdata->tg_trigger->tgargs[0]);
	editor = begin_row(fcinfo->flinfo, trigdata);
	if (TRIGGER_FIRED_FOR_STATEMENT(trigdata->tg_event))
	{
		leave_stamp(editor, kind, true, 0);
		return PointerGetDatum(NULL);
	}

	result = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple
														 : trigdata->tg_trigtuple;
	if (trigdata->tg_trigger->tgnargs < 2)
	{
		leave_stamp(editor, kind, true, 0);
		return PointerGetDatum(result);
	}
	column = trigdata->tg_trigger->tgargs[1];
	desc = RelationGetDescr(trigdata->tg_relation);
	/* A null key is refused by the table itself. */
	key = key_of_tuple(trigdata->tg_trigtuple, desc, column, &isnull);
	if (!isnull)
		leave_stamp(editor, kind, false, key);
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
	{
		key = key_of_tuple(trigdata->tg_newtuple, desc, column, &isnull);
		if (!isnull)
			leave_stamp(editor, kind, false, key);
	}
	return PointerGetDatum(result);
}
