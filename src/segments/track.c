/*
 * track.c
 *		Tracked segments: their stored members, kept in step with every change of
 *		a customer.
 *
 * segment_members holds who is in each tracked segment, and the event log who
 * entered and left it, and from when on.  A statement that changes what rules
 * ask of a customer does it in this order, within its trigger:
 *
 *	1. the customer's facts row is updated, which is the one lock on all of it;
 *	2. cg_track_before() brings the customer up to today, day by day, with the
 *	   state before the statement: nights that advance_segments() has missed, or
 *	   not yet seen;
 *	3. what follows from the change is written (facts, tiers, memberships);
 *	4. cg_track_after() judges the customer with the state after it.
 *
 * The state before the statement is read under the latest snapshot with the
 * command number of the statement's own snapshot: it sees all that others have
 * committed up to the lock, and of this transaction all but the statement and
 * what followed from it.  A customer is brought to a day once: the triggers of
 * further tables that a statement changes find it there (brought_to).  Where a
 * trigger of the shop's runs a statement of its own before ours has booked the
 * outer one, the state before is the one before the inner statement.
 *
 * A customer's answers are good for the day that it has reached: the later of
 * facts.tracked_on and segment_tracking.reached_on, the day up to which
 * advance_segments() has judged all those whose answers could change.  Today is
 * the later of the present day, by the clock, and reached_on.
 *
 * Everybody who locks a customer holds RowShareLock on segment_tracking from
 * before, to the end of the transaction, and looks at the clock and at the
 * definitions afterwards.  So whoever moves the day on, or marks a segment
 * pending, can wait for those who may not know of it.
 *
 * A pending segment's members are not yet those of its rule.  They are judged
 * with the customer's present state whenever the customer is, and all of them by
 * fill_segments(), but not for days gone by.
 *
 * Definitions and rows are read under the latest snapshot at every isolation
 * level.  Everything is written as the owner of the tables, with SPI connected
 * by the caller.  Memory is the caller's; of a customer, a context of its own.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "calendar/calendar.h"
#include "catalog/tables.h"
#include "events/events.h"
#include "json.h"
#include "promotions/promotions.h"
#include "segments/segments.h"
#include "segments/track.h"

/* So many changes, and those of one customer more, are written at once. */
#define MANY_CHANGES 10000

/* A customer enters or leaves a segment. */
typedef struct Change
{
	int64       customer_id;
	int         place; /* of the segment */
	bool        enters;
	TimestampTz effective_at;
} Change;

typedef struct Tracker
{
	Snapshot          snapshot; /* the active one */
	const CgSegments *segments;
	pg_tz            *timezone;
	DateADT           today;
	bool              reached; /* reached_on is set */
	DateADT           reached_on;
	CgEvaluation     *evaluation;
	CgScan            members;
	MemoryContext     caller;
	MemoryContext     context; /* of one customer */
	bool             *is_in;   /* by place: what is stored of the customer, and changed */
	int               nchanges;
	int               max_changes;
	Change           *changes;
	int64             written;  /* changes so far */
	bool              recalled; /* what is stored is not read, but taken from the rules */
	bool              mistaken; /* and turned out to be otherwise */
} Tracker;

/* The statements below take arrays of rows, or the values of one row. */
#define INSERT_MEMBERS(rows)                                                                       \
	"INSERT INTO customer_groups.segment_members (customer_id, segment_id, entered_at) " rows

static CgStatement insert_members = {
	.generic = true,
	.sql = INSERT_MEMBERS(
		"SELECT pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)"),
	.argtypes = {INT8ARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID}};

static CgStatement insert_member = {.generic = true,
									.sql = INSERT_MEMBERS("VALUES ($1, $2, $3)"),
									.argtypes = {INT8OID, INT4OID, TIMESTAMPTZOID}};

static CgStatement delete_members = {
	.generic = true,
	.sql = "DELETE FROM customer_groups.segment_members m "
		   "USING (SELECT pg_catalog.unnest($1), pg_catalog.unnest($2)) "
		   "	AS c (customer_id, segment_id) "
		   "WHERE m.customer_id OPERATOR(pg_catalog.=) c.customer_id "
		   "	AND m.segment_id OPERATOR(pg_catalog.=) c.segment_id",
	.argtypes = {INT8ARRAYOID, INT4ARRAYOID}};

static CgStatement delete_member = {.generic = true,
									.sql = "DELETE FROM customer_groups.segment_members m "
										   "WHERE m.customer_id OPERATOR(pg_catalog.=) $1 "
										   "	AND m.segment_id OPERATOR(pg_catalog.=) $2",
									.argtypes = {INT8OID, INT4OID}};

static CgStatement update_tracked_on = {
	.generic = true,
	.sql = "UPDATE customer_groups.customer_facts SET tracked_on = $2 "
		   "WHERE customer_id OPERATOR(pg_catalog.=) ANY ($1)",
	.argtypes = {INT8ARRAYOID, DATEOID}};

/*
 * Tells those who move the day on, or change definitions, that this transaction
 * is about to judge customers; before the first of them is locked.
 */
void
cg_tracking_lock(void)
{
	table_close(cg_table_open(CG_SEGMENT_TRACKING, RowShareLock), NoLock);
}

/*
 * The day of tracking, by the clock and by what a snapshot reads; also the day
 * that all customers have reached, if any.
 */
DateADT
cg_tracking_today(Snapshot snapshot, bool *reached, DateADT *reached_on)
{
	pg_tz          *timezone = cg_definitions(snapshot)->settings.timezone;
	DateADT         today = cg_day_of(GetCurrentTimestamp(), timezone);
	Relation        rel = cg_table_open(CG_SEGMENT_TRACKING, RowShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc   scan = table_beginscan(rel, snapshot, 0, NULL);

	/* The table has one row: an index would take longer. */
	*reached = table_scan_getnextslot(scan, ForwardScanDirection, slot);
	if (*reached)
	{
		bool isnull;

		*reached_on = DatumGetDateADT(slot_getattr(
			slot, cg_attnum(CG_SEGMENT_TRACKING, CG_SEGMENT_TRACKING_REACHED_ON), &isnull));
		today = Max(today, *reached_on);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	return today;
}

/*
 * Begins to track what a statement has changed.  The customers must be locked.
 * What is found out here is good until this transaction writes again.
 */
void
cg_track_begin(CgTracking *tracking)
{
	memset(tracking, 0, sizeof(CgTracking));
	CommandCounterIncrement();
	tracking->snapshot = RegisterSnapshot(GetLatestSnapshot());
	tracking->command = tracking->snapshot->curcid;
	if (cg_segments(tracking->snapshot)->ntracked > 0)
	{
		tracking->has_today = true;
		tracking->today = cg_tracking_today(tracking->snapshot, &tracking->reached,
											&tracking->reached_on);
	}
}

void
cg_track_end(CgTracking *tracking)
{
	UnregisterSnapshot(tracking->snapshot);
}

/*
 * Begins to judge customers, by the present state or by that before a command;
 * false, with nothing to end, when no segment is tracked.
 */
static bool
begin_tracking(Tracker *tracker, const CgTracking *tracking, const CommandId *command)
{
	memset(tracker, 0, sizeof(Tracker));
	PushCopiedSnapshot(tracking->snapshot);
	tracker->snapshot = GetActiveSnapshot();
	if (command != NULL)
		tracker->snapshot->curcid = *command;
	tracker->segments = cg_segments(tracker->snapshot);
	if (tracker->segments->ntracked == 0)
	{
		PopActiveSnapshot();
		return false;
	}
	tracker->today = tracking->today;
	tracker->reached = tracking->reached;
	tracker->reached_on = tracking->reached_on;
	tracker->timezone = cg_definitions(tracker->snapshot)->settings.timezone;
	return true;
}

/* Makes ready to judge the first customer. */
static void
begin_customers(Tracker *tracker)
{
	tracker->evaluation = cg_evaluation_begin(GetCurrentTimestamp(), tracker->snapshot);
	tracker->caller = CurrentMemoryContext;
	tracker->context = AllocSetContextCreate(CurrentMemoryContext, "customer_groups tracking",
											 ALLOCSET_DEFAULT_SIZES);
	tracker->is_in = palloc(tracker->segments->n * sizeof(bool));
	tracker->max_changes = 64;
	tracker->changes = palloc(tracker->max_changes * sizeof(Change));
}

/* Reads in which segments the customer is stored. */
static void
read_members(Tracker *tracker, int64 customer_id)
{
	cg_scan_id(&tracker->members, CG_SEGMENT_MEMBERS, tracker->snapshot, customer_id);
	memset(tracker->is_in, 0, tracker->segments->n * sizeof(bool));
	while (cg_scan_next(&tracker->members))
	{
		bool isnull;
		int  place = cg_find_segment(
			 DatumGetInt32(cg_scan_get(&tracker->members, CG_SEGMENT_MEMBERS_SEGMENT_ID, &isnull)));

		if (place >= 0)
			tracker->is_in[place] = true;
	}
}

/*
 * Goes on to a customer and reads what is stored of it, but for the facts row if
 * it is given; false when it is not there.  Ends in the customer's memory context;
 * finish_customer() leaves it.
 */
static bool
begin_customer(Tracker *tracker, int64 customer_id, TupleTableSlot *facts)
{
	CHECK_FOR_INTERRUPTS();
	/* In the caller's memory context: what a scan allocates must live as long as the scan. */
	if (!tracker->recalled)
		read_members(tracker, customer_id);
	MemoryContextSwitchTo(tracker->context);
	if (facts != NULL)
		cg_evaluation_take(tracker->evaluation, customer_id, facts);
	if (facts != NULL || cg_evaluation_find(tracker->evaluation, customer_id))
		return true;
	MemoryContextSwitchTo(tracker->caller);
	return false;
}

/*
 * The day that the customer has reached; false when none, because nothing was
 * tracked so far.
 */
static bool
reached_by(Tracker *tracker, DateADT *day)
{
	bool tracked = cg_evaluation_tracked_on(tracker->evaluation, day);

	if (tracker->reached && (!tracked || *day < tracker->reached_on))
		*day = tracker->reached_on;
	return tracked || tracker->reached;
}

/*
 * Whether this transaction has brought the customer to a day already, after the
 * state that is being read: by another trigger of the same statement, or by one
 * of a statement inside it.
 */
static bool
brought_to(int64 customer_id, DateADT day)
{
	CgScan scan;
	bool   result = false;

	cg_scan_begin(&scan, CG_CUSTOMER_FACTS, SnapshotSelf, 1, Int64GetDatum(customer_id), 0);
	if (cg_scan_next(&scan))
	{
		bool    isnull;
		DateADT tracked_on = DatumGetDateADT(
			cg_scan_get(&scan, CG_CUSTOMER_FACTS_TRACKED_ON, &isnull));

		result = !isnull && tracked_on >= day;
	}
	cg_scan_end(&scan);
	return result;
}

/* What the event of a change tells. */
static Datum
make_detail(const CgSegment *segment, TimestampTz effective_at)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	cg_push_pair(&state, "code", segment->code);
	cg_push_pair(&state, "name", segment->name);
	cg_push_time(&state, "effective_at", TimestampTzGetDatum(effective_at), TIMESTAMPTZOID);
	return cg_end_object(&state);
}

/*
 * Writes the changes.  A customer's changes of one segment stand in their order
 * and alternate, so that the first tells what was stored and the last what is.
 */
static void
write_changes(Tracker *tracker)
{
	int            n = tracker->nchanges;
	const Change  *changes = tracker->changes;
	CgEvent       *events;
	const Change **last_of;    /* by place, the last change so far */
	Datum         *members[3]; /* customer, segment, since when */
	int            nrows = 0;

	if (n == 0)
		return;
	for (int c = 0; c < 3; c++)
		members[c] = palloc(n * sizeof(Datum));

	/* The events, first of all: what a trigger asks for may move the cache. */
	last_of = palloc0(tracker->segments->n * sizeof(Change *));
	events = palloc(n * sizeof(CgEvent));
	for (int i = 0; i < n; i++)
	{
		const CgSegment *segment = &tracker->segments->segments[changes[i].place];
		const Change    *before = last_of[changes[i].place];

		events[i].kind = changes[i].enters ? "segment_entered" : "segment_left";
		events[i].customer_id = changes[i].customer_id;
		events[i].group_id = CG_NONE;
		events[i].segment_id = segment->id;
		events[i].detail = before != NULL && before->effective_at == changes[i].effective_at
							   ? events[before - changes].detail
							   : make_detail(segment, changes[i].effective_at);
		last_of[changes[i].place] = &changes[i];
	}

	/* Out goes who was in before the first change of a segment. */
	for (int i = 0; i < n; i++)
	{
		bool first = true;

		for (int k = i - 1; first && k >= 0 && changes[k].customer_id == changes[i].customer_id;
			 k--)
			first = changes[k].place != changes[i].place;
		if (!first || changes[i].enters)
			continue;
		members[0][nrows] = Int64GetDatum(changes[i].customer_id);
		members[1][nrows++] = Int32GetDatum(events[i].segment_id);
	}
	if (nrows > 0 &&
		cg_change_latest_rows(&delete_members, &delete_member, members, nrows) != nrows)
		tracker->mistaken = tracker->recalled;

	/* In comes who is in after the last one. */
	nrows = 0;
	for (int i = 0; i < n; i++)
	{
		bool last = true;

		for (int k = i + 1; last && k < n && changes[k].customer_id == changes[i].customer_id; k++)
			last = changes[k].place != changes[i].place;
		if (!last || !changes[i].enters)
			continue;
		members[0][nrows] = Int64GetDatum(changes[i].customer_id);
		members[1][nrows] = Int32GetDatum(events[i].segment_id);
		members[2][nrows++] = TimestampTzGetDatum(changes[i].effective_at);
	}
	if (nrows > 0)
		cg_execute_rows(&insert_members, &insert_member, members, NULL, nrows);

	cg_write_events(events, n);
	tracker->written += n;
	tracker->nchanges = 0;
	(void) cg_definitions(tracker->snapshot);
	(void) cg_segments(tracker->snapshot);
}

/*
 * Leaves the customer.  Changes are written between customers only: those of one
 * stand together.
 */
static void
finish_customer(Tracker *tracker)
{
	MemoryContextSwitchTo(tracker->context);
	if (tracker->nchanges >= MANY_CHANGES)
		write_changes(tracker);
	MemoryContextSwitchTo(tracker->caller);
	MemoryContextReset(tracker->context);
}

static int64
end_tracking(Tracker *tracker)
{
	write_changes(tracker);
	cg_scan_end(&tracker->members);
	cg_evaluation_end(tracker->evaluation);
	MemoryContextDelete(tracker->context);
	pfree(tracker->is_in);
	pfree(tracker->changes);
	PopActiveSnapshot();
	return tracker->written;
}

static void
add_change(Tracker *tracker, int64 customer_id, int place, TimestampTz effective_at)
{
	const CgSegment *segment = &tracker->segments->segments[place];
	Change          *change;

	if (tracker->nchanges == tracker->max_changes)
	{
		tracker->max_changes *= 2;
		tracker->changes = repalloc_huge(tracker->changes, tracker->max_changes * sizeof(Change));
	}
	/* What is filled in was not so before the segment was what it is now. */
	if (segment->pending)
		effective_at = Max(effective_at, segment->pending_since);
	change = &tracker->changes[tracker->nchanges++];
	change->customer_id = customer_id;
	change->place = place;
	change->enters = tracker->is_in[place] = !tracker->is_in[place];
	change->effective_at = effective_at;
}

/*
 * Judges the customer on a day, by the tracked segments that depend on one of
 * the parts, or are pending.
 */
static void
judge(Tracker *tracker, int64 customer_id, DateADT day, uint32 parts, bool with_pending,
	  TimestampTz effective_at)
{
	cg_evaluation_move(tracker->evaluation, day);
	for (int i = 0; i < tracker->segments->n; i++)
	{
		const CgSegment *segment = &tracker->segments->segments[i];

		if (!segment->tracked ||
			(segment->pending ? !with_pending : (segment->depends & parts) == 0))
			continue;
		if (cg_evaluation_in_segment(tracker->evaluation, segment->id) != tracker->is_in[i])
			add_change(tracker, customer_id, i, effective_at);
	}
}

/*
 * Whether the answers about a customer are what they were when it was last judged:
 * its facts rows are at hand, then and now, and no rule in question asks for more.
 */
static bool
same_answers(Tracker *tracker, const CgTracking *tracking, int64 customer_id, uint32 parts)
{
	CgEvaluation    *evaluation = tracker->evaluation;
	const CgSegment *segments = tracker->segments->segments;
	DateADT          day = tracker->today;

	if (tracking->facts == NULL || tracking->before == NULL)
		return false;
	for (int i = 0; i < tracker->segments->n; i++)
		if (segments[i].tracked &&
			(segments[i].pending ||
			 ((segments[i].depends & parts) && (segments[i].depends & CG_DEPENDS_ROWS))))
			return false;
	for (int after = 0; after < 2; after++)
	{
		cg_evaluation_take(evaluation, customer_id, after ? tracking->facts : tracking->before);
		(void) reached_by(tracker, &day);
		cg_evaluation_move(evaluation, day);
		for (int i = 0; i < tracker->segments->n; i++)
		{
			bool is_in;

			if (!segments[i].tracked || (segments[i].depends & parts) == 0)
				continue;
			is_in = cg_evaluation_in_segment(evaluation, segments[i].id);
			if (after && is_in != tracker->is_in[i])
				return false;
			tracker->is_in[i] = is_in;
		}
	}
	return true;
}

static bool
any_depends_on_day(const CgSegments *segments)
{
	for (int i = 0; i < segments->n; i++)
		if (segments->segments[i].tracked && (segments->segments[i].depends & CG_DEPENDS_DAY))
			return true;
	return false;
}

/*
 * Brings customers up to today with the state before a command, and notes that
 * they are.  Their facts rows must be locked.  Nothing is to be done once
 * advance_segments() has reached today.
 */
void
cg_track_before(CgTracking *tracking, const int64 *customers, int n, CommandId command)
{
	Tracker tracker;
	Datum  *behind;
	int     nbehind = 0;
	DateADT today;

	if (n == 0 || !tracking->has_today ||
		(tracking->reached && tracking->reached_on >= tracking->today) ||
		!begin_tracking(&tracker, tracking, &command))
		return;
	if (!any_depends_on_day(tracker.segments) ||
		(tracker.reached && tracker.reached_on >= tracker.today))
	{
		PopActiveSnapshot();
		return;
	}
	begin_customers(&tracker);
	today = tracker.today;
	behind = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		DateADT day;

		if (begin_customer(&tracker, customers[i], NULL))
		{
			bool reached = reached_by(&tracker, &day);

			if (reached && (day >= today || brought_to(customers[i], today)))
			{
				finish_customer(&tracker);
				continue;
			}
			while (reached && ++day <= today)
			{
				CHECK_FOR_INTERRUPTS();
				judge(&tracker, customers[i], day, CG_DEPENDS_DAY, day == today,
					  cg_start_of_day(day, tracker.timezone));
			}
			finish_customer(&tracker);
		}
		behind[nbehind++] = Int64GetDatum(customers[i]);
	}
	end_tracking(&tracker);
	if (nbehind > 0)
	{
		Datum values[2];

		values[0] = cg_make_array(behind, NULL, nbehind, INT8OID);
		values[1] = DateADTGetDatum(today);
		cg_execute(&update_tracked_on, values, NULL);
	}
	pfree(behind);
}

/*
 * Judges customers by what depends on the given parts of their state, after
 * these have changed.  Their facts rows must be locked.
 */
void
cg_track_after(CgTracking *tracking, const int64 *customers, int n, uint32 parts)
{
	Tracker     tracker;
	TimestampTz now;

	if (n == 0)
		return;
	CommandCounterIncrement();
	if (GetCurrentCommandId(false) != tracking->command)
	{
		cg_track_end(tracking);
		cg_track_begin(tracking);
	}
	if (!begin_tracking(&tracker, tracking, NULL))
		return;
	begin_customers(&tracker);
	now = GetCurrentTimestamp();
	for (int i = 0; i < n; i++)
	{
		DateADT day;

		if (same_answers(&tracker, tracking, customers[i], parts) ||
			!begin_customer(&tracker, customers[i], tracking->facts))
			continue;
		/* Today may be over since, or another time zone may have set it back. */
		if (!reached_by(&tracker, &day))
			day = tracker.today;
		judge(&tracker, customers[i], day, parts, true,
			  Max(now, cg_start_of_day(day, tracker.timezone)));
		finish_customer(&tracker);
	}
	end_tracking(&tracker);
}

/*
 * Whether what is stored of customers follows from their facts rows and the day
 * that they have reached, as far as the calendar may change it.
 */
static bool
follows_from_facts(const CgSegments *segments)
{
	for (int i = 0; i < segments->n; i++)
	{
		const CgSegment *segment = &segments->segments[i];

		if (segment->tracked && (segment->pending || ((segment->depends & CG_DEPENDS_DAY) &&
													  (segment->depends & CG_DEPENDS_ROWS))))
			return false;
	}
	return true;
}

/*
 * Asks the rules in which segments the customer was on the day that it has
 * reached: reading what is stored would take longer than all the rest.
 */
static void
recall_members(Tracker *tracker, DateADT day)
{
	cg_evaluation_move(tracker->evaluation, day);
	for (int i = 0; i < tracker->segments->n; i++)
	{
		const CgSegment *segment = &tracker->segments->segments[i];

		tracker->is_in[i] = segment->tracked && (segment->depends & CG_DEPENDS_DAY) &&
							cg_evaluation_in_segment(tracker->evaluation, segment->id);
	}
}

/*
 * Judges customers on days of theirs, given ascending, that they have not
 * reached; returns the number of changes.  What is stored of them is read only if
 * the caller says so, or the rules do not tell.  Otherwise, where it has been
 * changed by hand, the result may be negative or the error 23505: then all is to be
 * undone.
 */
int64
cg_track_turns(const CgTurn *turns, int n, bool stored)
{
	CgTracking      tracking;
	Tracker         tracker;
	int64           written = 0;
	bool            found = false;
	bool            reached = false;
	DateADT         reached_on = 0;
	Relation        rel;
	TupleTableSlot *facts;

	if (n == 0)
		return 0;
	rel = cg_table_open(CG_CUSTOMER_FACTS, AccessShareLock);
	facts = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	cg_track_begin(&tracking);
	if (!begin_tracking(&tracker, &tracking, NULL))
		n = 0;
	else
	{
		begin_customers(&tracker);
		/* Until all customers have reached a day, some have reached none. */
		tracker.recalled = !stored && tracker.reached && follows_from_facts(tracker.segments);
	}
	for (int i = 0; i < n; i++)
	{
		const CgTurn *turn = &turns[i];

		if (i == 0 || turn->customer_id != turn[-1].customer_id)
		{
			if (found)
				finish_customer(&tracker);
			found = turn->facts != NULL &&
					begin_customer(&tracker, turn->customer_id,
								   ExecStoreHeapTuple(turn->facts, facts, false));
			if (found)
				reached = reached_by(&tracker, &reached_on);
			if (found && tracker.recalled)
				recall_members(&tracker, reached_on);
		}
		if (found && (!reached || turn->day > reached_on))
			judge(&tracker, turn->customer_id, turn->day, CG_DEPENDS_DAY, true,
				  cg_start_of_day(turn->day, tracker.timezone));
	}
	if (found)
		finish_customer(&tracker);
	if (n > 0)
		written = end_tracking(&tracker);
	if (tracker.mistaken)
		written = -1;
	cg_track_end(&tracking);
	ExecDropSingleTupleTableSlot(facts);
	table_close(rel, NoLock);
	return written;
}
