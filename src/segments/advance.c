/*
 * advance.c
 *		advance_segments(): what the calendar changes in tracked segments.
 *
 * Who may change on the days since the last run is found by a query (turns.c);
 * these customers are locked and judged day by day, in customer order, and all
 * others have reached the last day with them.
 *
 * Customers that a transaction in progress is judging may not be found yet.
 * Those who judge after the day has come judge by it themselves, so that it is
 * enough to wait, at the beginning, for those who may have begun before.  A day
 * that has not come yet they cannot know of: then everybody who wants to judge
 * waits until the end of this transaction.
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
 * How far from today a run may end: each day that passes may be looked at, and a
 * day that was reached never comes back.
 */
#define MOST_DAYS 36525

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
 * Locks the customers of the turns and judges them; returns the number of changes.
 * A mere lock will do, whatever the isolation level of those who wait for it: they
 * read what is stored under the latest snapshot.
 */
static int64
judge_batch(const CgTurn *turns, int n)
{
	static CgStatement lock_facts = {.generic = true,
									 .sql = "SELECT FROM customer_groups.customer_facts "
											"WHERE customer_id OPERATOR(pg_catalog.=) ANY ($1) "
											"ORDER BY customer_id FOR NO KEY UPDATE",
									 .argtypes = {INT8ARRAYOID}};
	Datum              ids[BATCH];
	int                nids = 0;
	Datum              array;

	for (int i = 0; i < n; i++)
		if (i == 0 || turns[i].customer_id != turns[i - 1].customer_id)
			ids[nids++] = Int64GetDatum(turns[i].customer_id);
	cg_tracking_lock();
	array = cg_make_array(ids, NULL, nids, INT8OID);
	cg_execute(&lock_facts, &array, NULL);
	SPI_freetuptable(SPI_tuptable);
	return cg_track_turns(turns, n);
}

/* Judges all that a query finds; returns the number of changes. */
static int64
judge_all(const char *query)
{
	Portal portal = SPI_cursor_open_with_args(NULL, query, 0, NULL, NULL, NULL, true, 0);
	CgTurn turns[BATCH];
	int64  changes = 0;
	int64  done = 0;
	int64  last = 0;
	int    n;

	cg_show_progress("advance_segments", 0, -1);
	do
	{
		SPI_cursor_fetch(portal, true, BATCH);
		n = (int) SPI_processed;
		for (int i = 0; i < n; i++)
		{
			HeapTuple tuple = SPI_tuptable->vals[i];
			bool      isnull;

			turns[i].customer_id = DatumGetInt64(
				SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
			turns[i].day = DatumGetDateADT(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
		}
		SPI_freetuptable(SPI_tuptable);
		changes += judge_batch(turns, n);
		for (int i = 0; i < n; i++)
		{
			done += done == 0 || turns[i].customer_id != last;
			last = turns[i].customer_id;
		}
		cg_show_progress("advance_segments", done, -1);
	} while (n == BATCH);
	SPI_cursor_close(portal);
	cg_end_progress();
	return changes;
}

/* Goes on to a day; returns the number of changes. */
static int64
advance(TimestampTz upto)
{
	const CgDefinitions *definitions;
	const CgSegments    *segments;
	Snapshot             snapshot;
	DateADT              target;
	DateADT              today;
	DateADT              from = 0;
	bool                 reached;
	int64                changes = 0;
	char                *query = NULL;
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

	CommandCounterIncrement();
	PushCopiedSnapshot(GetLatestSnapshot());
	snapshot = GetActiveSnapshot();
	(void) cg_tracking_today(snapshot, &reached, &from);
	if (!reached)
		reached = first_tracked(&from);
	definitions = cg_definitions(snapshot);
	segments = cg_segments(snapshot);
	if (reached && from < target && segments->ntracked > 0)
		query = cg_turns_query(segments, definitions, from, target);
	if (query != NULL)
		changes = judge_all(query);
	PopActiveSnapshot();

	value = DateADTGetDatum(target);
	cg_execute(&save_reached, &value, NULL);
	return changes;
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
