/*
 * advance.c
 *		advance_segments(): what the calendar changes in tracked segments.
 *
 * Who may change on the days since the last run is found by a query (turns.c);
 * these customers are locked (lock.c) and judged day by day, in customer order,
 * and all others have reached the last day with them.
 *
 * Customers that a transaction in progress is judging may not be found yet.
 * Those who judge after the day has come judge by it themselves, so that it is
 * enough to wait, at the beginning, for those who may have begun before.  A day
 * that has not come yet they cannot know of: then everybody who wants to judge
 * waits until the end of this transaction.
 *
 * In which segments they have been is not read but asked of the rules (track.c).
 * Where somebody has changed what is stored that does not work out; then all is
 * done again, reading it.
 *
 * One such run goes on at a time.  It is one transaction: an interrupted one
 * leaves nothing, and the next one goes on from the same day.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "calendar/calendar.h"
#include "catalog/activity.h"
#include "catalog/tables.h"
#include "promotions/promotions.h"
#include "segments/segments.h"
#include "segments/track.h"

/* Turns that are judged under one snapshot. */
#define BATCH 1000

/*
 * So often the customers are locked only if nobody holds them; then they are
 * waited for, lest a run never end where others hold many for long.
 */
#define MOST_ATTEMPTS 10

/*
 * How far from today a run may end: each day that passes may be looked at, and a
 * day that was reached never comes back.
 */
#define MOST_DAYS 36525

typedef struct Run
{
	DateADT target;
	int     attempt;
	bool    stored; /* what is stored must be read */
	bool    held;   /* by somebody else, at an attempt before: this customer */
	int64   holdup;
	int64   changes;
} Run;

static CgStatement save_reached = {
	.sql = "INSERT INTO customer_groups.segment_tracking AS t (reached_on) VALUES ($1) "
		   "ON CONFLICT (id) DO UPDATE SET reached_on = EXCLUDED.reached_on "
		   "WHERE t.reached_on OPERATOR(pg_catalog.<) EXCLUDED.reached_on",
	.argtypes = {DATEOID}};

/* The first day that a customer has reached; false when none has reached any. */
static bool
first_tracked(DateADT *day)
{
	static CgStatement select_first = {
		.sql = "SELECT pg_catalog.min(tracked_on) FROM customer_groups.customer_facts",
		.restypes = {DATEOID}};
	bool isnull;

	cg_execute_latest(&select_first, NULL, NULL);
	*day = DatumGetDateADT(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return !isnull;
}

/*
 * Locks the customers of the turns and judges them.  Returns false when somebody
 * else holds one of them, who is noted, or what is stored must be read; else adds
 * the number of changes.
 */
static bool
judge_batch(Run *run, CgTurn *turns, int n)
{
	int64           customers[BATCH];
	ItemPointerData places[BATCH];
	HeapTuple       facts[BATCH];
	int             ncustomers = 0;
	int             locked;
	int64           changes;

	for (int i = 0; i < n; i++)
		if (i == 0 || turns[i].customer_id != turns[i - 1].customer_id)
		{
			customers[ncustomers] = turns[i].customer_id;
			places[ncustomers++] = turns[i].place;
		}
	if (run->attempt >= MOST_ATTEMPTS)
		for (locked = 0; locked < ncustomers; locked++)
			cg_lock_available(&customers[locked], &places[locked], 1, true, &facts[locked]);
	else
		locked = cg_lock_available(customers, places, ncustomers, false, facts);
	if (locked < ncustomers)
	{
		run->held = true;
		run->holdup = customers[locked];
		return false;
	}
	ncustomers = 0;
	for (int i = 0; i < n; i++)
	{
		if (i > 0 && turns[i].customer_id != turns[i - 1].customer_id)
			ncustomers++;
		turns[i].facts = facts[ncustomers];
	}
	changes = cg_track_turns(turns, n, run->stored);
	if (changes < 0)
	{
		run->stored = true;
		return false;
	}
	run->changes += changes;
	return true;
}

/* Judges all that a query finds, by the same rules. */
static bool
judge_all(Run *run, const char *query)
{
	Portal        portal = SPI_cursor_open_with_args(NULL, query, 0, NULL, NULL, NULL, true, 0);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext batch = AllocSetContextCreate(caller, "customer_groups batch",
												ALLOCSET_DEFAULT_SIZES);
	CgTurn        turns[BATCH];
	int64         done = 0;
	int64         last = 0;
	bool          judged;
	int           n;

	cg_show_progress("advance_segments", 0, -1);
	do
	{
		SPI_cursor_fetch(portal, true, BATCH);
		n = (int) SPI_processed;
		for (int i = 0; i < n; i++)
		{
			HeapTuple tuple = SPI_tuptable->vals[i];
			Datum     place;
			bool      isnull;

			turns[i].customer_id = DatumGetInt64(
				SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
			turns[i].day = DatumGetDateADT(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
			place = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull);
			ItemPointerSetInvalid(&turns[i].place);
			if (!isnull)
				turns[i].place = *(ItemPointer) DatumGetPointer(place);
		}
		SPI_freetuptable(SPI_tuptable);
		MemoryContextSwitchTo(batch);
		judged = judge_batch(run, turns, n);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(batch);
		for (int i = 0; judged && i < n; i++)
		{
			done += done == 0 || turns[i].customer_id != last;
			last = turns[i].customer_id;
		}
		cg_show_progress("advance_segments", done, -1);
	} while (judged && n == BATCH);
	SPI_cursor_close(portal);
	MemoryContextDelete(batch);
	cg_end_progress();
	return judged;
}

/* The day that tracking has reached so far; false when none. */
static bool
reached_so_far(Snapshot snapshot, DateADT *day)
{
	bool reached;

	(void) cg_tracking_today(snapshot, &reached, day);
	return reached || first_tracked(day);
}

/*
 * Judges all who may change up to a day, by the same rules; once the one who was
 * held by somebody else, if any, has been waited for.
 */
static bool
judge_up_to(Run *run)
{
	DateADT from;
	char   *query = NULL;
	bool    judged = true;

	if (run->held)
		cg_lock_available(&run->holdup, NULL, 1, true, NULL);
	CommandCounterIncrement();
	PushCopiedSnapshot(GetLatestSnapshot());
	if (reached_so_far(GetActiveSnapshot(), &from) && from < run->target)
	{
		const CgDefinitions *definitions = cg_definitions(GetActiveSnapshot());
		const CgSegments    *segments = cg_segments(GetActiveSnapshot());

		if (segments->ntracked > 0)
			query = cg_turns_query(segments, definitions, from, run->target);
	}
	if (query != NULL)
		judged = judge_all(run, query);
	PopActiveSnapshot();
	return judged;
}

/*
 * The same in a subtransaction, so that one who is held by somebody else is waited
 * for with nothing else in hand: what was done so far is undone.
 */
static bool
attempt_up_to(Run *run)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool judged = false;

	run->attempt++;
	run->changes = 0;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		judged = judge_up_to(run);
		if (judged)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		/* Who was to enter a segment may have been stored in it. */
		if (run->stored || error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
			ReThrowError(error);
		FreeErrorData(error);
		run->stored = true;
	}
	PG_END_TRY();
	return judged;
}

/* Goes on to a day; returns the number of changes. */
static int64
advance(TimestampTz upto)
{
	const CgDefinitions *definitions;
	DateADT              target;
	DateADT              today;
	Run                  run = {0};
	Datum                value;

	/* One at a time. */
	table_close(cg_table_open(CG_SEGMENT_TRACKING, ShareUpdateExclusiveLock), NoLock);
	definitions = cg_definitions(GetLatestSnapshot());
	target = cg_day_of(upto, definitions->settings.timezone);
	today = cg_day_of(GetCurrentTimestamp(), definitions->settings.timezone);
	if (target < today - MOST_DAYS || target > today + MOST_DAYS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid time"),
						errdetail("The time is more than 100 years away."),
						errhint("Leave the argument out to advance to today.")));
	if (target > today)
		table_close(cg_table_open(CG_SEGMENT_TRACKING, ExclusiveLock), NoLock);
	else
		cg_wait_for_judges();

	run.target = target;
	while (!attempt_up_to(&run))
		CHECK_FOR_INTERRUPTS();
	value = DateADTGetDatum(target);
	cg_execute(&save_reached, &value, NULL);
	return run.changes;
}

/*
 * advance_segments(upto) → bigint
 */
PG_FUNCTION_INFO_V1(cg_advance_segments);
Datum
cg_advance_segments(PG_FUNCTION_ARGS)
{
	TimestampTz upto = cg_time_argument(fcinfo, 0);
	int64       changes;
	CgUser      saved;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	cg_become_owner(CG_SEGMENT_TRACKING, &saved);
	changes = advance(upto);
	cg_restore_user(&saved);
	SPI_finish();
	PG_RETURN_INT64(changes);
}
