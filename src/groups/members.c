/*
 * members.c
 *		The triggers that keep memberships consistent and write their events.
 *
 * Whoever adds, changes or removes memberships, by whatever road: the customer is
 * locked first (lock_member), then the group (lock_group), a new tier replaces the
 * customer's other tier of that ladder, and each change is written into the event
 * log once.  A replaced membership is deleted by a statement of its own, whose
 * trigger writes its event.
 *
 * Which groups are tiers is read under the latest snapshot at every isolation
 * level; a group does not become a tier, and a tier does not change its ladder,
 * while a statement here is in progress (groups_changed locks members).
 *
 * Everything is written as the owner of the tables; memory is SPI's.
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
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/snapmgr.h"

#include "catalog/tables.h"
#include "compat.h"
#include "events/events.h"
#include "groups/groups.h"
#include "json.h"
#include "promotions/promotions.h"
#include "sales/sales.h"
#include "segments/segments.h"
#include "segments/track.h"
#include "tiers/tiers.h"

/* A membership before or after a change. */
typedef struct Membership
{
	int64       customer_id;
	int32       group_id;
	char       *source;
	bool        has_from;
	bool        has_until;
	DateADT     valid_from;
	DateADT     valid_until;
	TimestampTz added_at;
	char       *added_by;
} Membership;

typedef struct Memberships
{
	int         n;
	int         max;
	uint64      restored; /* left out */
	Membership *rows;
} Memberships;

/* An event to be written. */
typedef struct Event
{
	const char       *kind;
	const Membership *row;
	bool              tell_added_at;
	bool              tell_added_by;
} Event;

typedef struct Events
{
	int    n;
	int    max;
	Event *rows;
	char  *user; /* the session's */
} Events;

/* The code and name of the group that was asked for last; null when there is none. */
typedef struct GroupNames
{
	Snapshot snapshot;
	CgScan   scan;
	int32    group_id; /* CG_NONE at first */
	text    *code;
	text    *name;
} GroupNames;

/*
 * A statement, as its triggers see it.  All that fire for it, for ON CONFLICT,
 * MERGE and changes in WITH too, fire in its subtransaction and under its
 * snapshot; the next statement gets another command number, because this one has
 * written under its own.
 */
typedef struct Statement
{
	uint32           transaction;
	SubTransactionId subtransaction;
	CommandId        command;
} Statement;

/* A customer's move on a ladder. */
typedef struct Move
{
	int64       customer_id;
	const char *ladder;
	int32       from; /* group, or CG_NONE */
	int32       to;   /* likewise */
} Move;

#define DELETE_MEMBERS(source)                                                                     \
	"DELETE FROM customer_groups.members m USING " source " AS u (customer_id, group_id) "         \
	"WHERE m.customer_id OPERATOR(pg_catalog.=) u.customer_id "                                    \
	"	AND m.group_id OPERATOR(pg_catalog.=) u.group_id"

static CgStatement delete_members = {
	.generic = true,
	.sql = DELETE_MEMBERS("ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))"),
	.argtypes = {INT8ARRAYOID, INT4ARRAYOID}};

static CgStatement delete_member = {
	.generic = true, .sql = DELETE_MEMBERS("(VALUES ($1, $2))"), .argtypes = {INT8OID, INT4OID}};

static void *
grow(void *array, int max, Size size)
{
	return array == NULL ? palloc(max * size) : repalloc_huge(array, (Size) max * size);
}

static void
read_memberships(Tuplestorestate *rows, TupleDesc desc, bool inserted, Memberships *result)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TimestampTz     now = GetCurrentTransactionStartTimestamp();

	memset(result, 0, sizeof(Memberships));
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		Membership *row;
		bool        isnull;

		CHECK_FOR_INTERRUPTS();
		if (inserted && DatumGetTimestampTz(slot_getattr(
							slot, cg_attnum(CG_MEMBERS, CG_MEMBERS_RECORDED_AT), &isnull)) != now)
		{
			result->restored++;
			continue;
		}
		if (result->n == result->max)
		{
			result->max = Max(2 * result->max, 16);
			result->rows = grow(result->rows, result->max, sizeof(Membership));
		}
		row = &result->rows[result->n++];
		row->customer_id = DatumGetInt64(
			slot_getattr(slot, cg_attnum(CG_MEMBERS, CG_MEMBERS_CUSTOMER_ID), &isnull));
		row->group_id = DatumGetInt32(
			slot_getattr(slot, cg_attnum(CG_MEMBERS, CG_MEMBERS_GROUP_ID), &isnull));
		row->source = TextDatumGetCString(
			slot_getattr(slot, cg_attnum(CG_MEMBERS, CG_MEMBERS_SOURCE), &isnull));
		row->valid_from = DatumGetDateADT(
			slot_getattr(slot, cg_attnum(CG_MEMBERS, CG_MEMBERS_VALID_FROM), &isnull));
		row->has_from = !isnull;
		row->valid_until = DatumGetDateADT(
			slot_getattr(slot, cg_attnum(CG_MEMBERS, CG_MEMBERS_VALID_UNTIL), &isnull));
		row->has_until = !isnull;
		row->added_at = DatumGetTimestampTz(
			slot_getattr(slot, cg_attnum(CG_MEMBERS, CG_MEMBERS_ADDED_AT), &isnull));
		row->added_by = TextDatumGetCString(
			slot_getattr(slot, cg_attnum(CG_MEMBERS, CG_MEMBERS_ADDED_BY), &isnull));
	}
	ExecDropSingleTupleTableSlot(slot);
}

/* Deletes the memberships of so many customers in so many groups.  SPI must be connected. */
void
cg_delete_members(Datum *customers, Datum *groups, int n)
{
	Datum *columns[] = {customers, groups};

	if (n > 0)
		cg_execute_rows(&delete_members, &delete_member, columns, NULL, n);
}

/* Whether the membership that a scan has come to is valid on a day. */
bool
cg_membership_holds(CgScan *members, DateADT day)
{
	bool  isnull;
	Datum datum = cg_scan_get(members, CG_MEMBERS_VALID_FROM, &isnull);

	if (!isnull && DatumGetDateADT(datum) > day)
		return false;
	datum = cg_scan_get(members, CG_MEMBERS_VALID_UNTIL, &isnull);
	return isnull || DatumGetDateADT(datum) >= day;
}

/* The statement for which a trigger fires. */
static Statement
statement_in_progress(void)
{
	Statement result;

	result.transaction = cg_local_xid();
	result.subtransaction = GetCurrentSubTransactionId();
	result.command = GetActiveSnapshot()->curcid;
	return result;
}

static bool
same_statement(const Statement *a, const Statement *b)
{
	return a->transaction == b->transaction && a->subtransaction == b->subtransaction &&
		   a->command == b->command;
}

static bool
same_membership(const Membership *a, const Membership *b)
{
	return a->group_id == b->group_id && strcmp(a->source, b->source) == 0 &&
		   a->has_from == b->has_from && a->has_until == b->has_until &&
		   (!a->has_from || a->valid_from == b->valid_from) &&
		   (!a->has_until || a->valid_until == b->valid_until) && a->added_at == b->added_at &&
		   strcmp(a->added_by, b->added_by) == 0;
}

/*
 * Adds the event of a change from old to new; either may be NULL.  Who added the
 * member, and when, is told only where it is not who writes the event, and when,
 * or where the change is about it.
 */
static void
add_event(Events *events, const Membership *old, const Membership *new)
{
	const Membership *row = new != NULL ? new : old;
	TimestampTz       now = GetCurrentTransactionStartTimestamp();
	bool              added = old == NULL;
	bool              removed = new == NULL;
	Event            *event;

	if (events->n == events->max)
	{
		events->max = Max(2 * events->max, 16);
		events->rows = grow(events->rows, events->max, sizeof(Event));
	}
	if (events->user == NULL)
		events->user = GetUserNameFromId(GetSessionUserId(), false);
	event = &events->rows[events->n++];
	/* One that is added anew, having expired, is another membership. */
	if (!added && !removed)
		added = new->added_at == now && old->added_at != now;
	event->kind = added ? "member_added" : removed ? "member_removed" : "member_changed";
	event->row = row;
	if (added || removed)
	{
		event->tell_added_at = row->added_at != now || now > GetCurrentTimestamp();
		event->tell_added_by = strcmp(row->added_by, events->user) != 0;
	}
	else
	{
		event->tell_added_at = row->added_at != old->added_at;
		event->tell_added_by = strcmp(row->added_by, old->added_by) != 0;
	}
}

/* Finds the code and name of a group, which live as long as the names of others are asked for. */
static void
find_names(GroupNames *names, int32 group_id)
{
	bool isnull;

	if (names->group_id == group_id)
		return;
	names->group_id = group_id;
	names->code = names->name = NULL;
	if (group_id == CG_NONE)
		return;
	cg_scan_id(&names->scan, CG_GROUPS, names->snapshot, group_id);
	if (!cg_scan_next(&names->scan))
		return;
	names->code = DatumGetTextPCopy(cg_scan_get(&names->scan, CG_GROUPS_CODE, &isnull));
	names->name = DatumGetTextPCopy(cg_scan_get(&names->scan, CG_GROUPS_NAME, &isnull));
}

/* What the event of a membership tells. */
static Datum
tell_membership(const Event *event, const GroupNames *group)
{
	const Membership *row = event->row;
	JsonbParseState  *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	cg_push_pair(&state, "code", group->code);
	cg_push_pair(&state, "name", group->name);
	cg_push_pair(&state, "source", cstring_to_text(row->source));
	if (row->has_from)
		cg_push_time(&state, "valid_from", DateADTGetDatum(row->valid_from), DATEOID);
	else
		cg_push_pair(&state, "valid_from", NULL);
	if (row->has_until)
		cg_push_time(&state, "valid_until", DateADTGetDatum(row->valid_until), DATEOID);
	else
		cg_push_pair(&state, "valid_until", NULL);
	if (event->tell_added_at)
		cg_push_time(&state, "added_at", TimestampTzGetDatum(row->added_at), TIMESTAMPTZOID);
	if (event->tell_added_by)
		cg_push_pair(&state, "added_by", cstring_to_text(row->added_by));
	return cg_end_object(&state);
}

/* Writes the events, with the groups' names as a snapshot sees them. */
static void
write_events(const Events *events, Snapshot snapshot)
{
	CgEvent   *rows;
	GroupNames group = {.snapshot = snapshot, .group_id = CG_NONE};

	if (events->n == 0)
		return;
	rows = MemoryContextAllocHuge(CurrentMemoryContext, events->n * sizeof(CgEvent));
	for (int i = 0; i < events->n; i++)
	{
		const Event *event = &events->rows[i];

		CHECK_FOR_INTERRUPTS();
		find_names(&group, event->row->group_id);
		rows[i].kind = event->kind;
		rows[i].customer_id = event->row->customer_id;
		rows[i].group_id = event->row->group_id;
		rows[i].segment_id = CG_NONE;
		rows[i].detail = tell_membership(event, &group);
	}
	cg_scan_end(&group.scan);
	cg_write_events(rows, events->n);
}

static bool
numeric_above(Numeric a, Numeric b)
{
	return DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * What the event of a move tells.  The engine's tells what was reached, and the
 * threshold that decided.  A tier that counted as none is not moved from, but
 * replaced: from_id tells what was.
 */
static Datum
tell_move(const Move *move, const CgTierMove *engine, const CgTier *decided, GroupNames *from,
		  GroupNames *to)
{
	JsonbParseState *state = NULL;
	int32            left = engine == NULL         ? move->from
							: engine->from == NULL ? CG_NONE
												   : engine->from->group_id;

	find_names(from, left);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	cg_push_pair(&state, "ladder", cstring_to_text(move->ladder));
	cg_push_pair(&state, "from", from->code);
	if (move->from != CG_NONE)
		cg_push_number(&state, "from_id", int64_to_numeric(move->from));
	else
		cg_push_pair(&state, "from_id", NULL);
	cg_push_pair(&state, "to", to->code);
	if (engine != NULL)
	{
		cg_push_number(&state, "measure", engine->measure);
		cg_push_number(&state, "threshold", decided->threshold);
	}
	return cg_end_object(&state);
}

/*
 * Writes one event for each move: an upgrade or a downgrade when it is the
 * engine that makes it, else a change by other hands.
 */
static void
write_moves(const Move *moves, int n, Snapshot snapshot)
{
	CgEvent   *rows;
	GroupNames from = {.snapshot = snapshot, .group_id = CG_NONE};
	GroupNames to = {.snapshot = snapshot, .group_id = CG_NONE};

	if (n == 0)
		return;
	rows = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(CgEvent));
	for (int i = 0; i < n; i++)
	{
		const CgTierMove *engine = cg_find_move(moves[i].customer_id, moves[i].ladder, moves[i].to);
		const CgTier     *left = engine == NULL ? NULL : engine->from;
		const CgTier     *reached = engine == NULL ? NULL : engine->to;
		bool              up = reached != NULL &&
				  (left == NULL || numeric_above(reached->threshold, left->threshold));

		CHECK_FOR_INTERRUPTS();
		find_names(&to, moves[i].to);
		rows[i].kind = engine == NULL ? "tier_changed" : up ? "tier_upgraded" : "tier_downgraded";
		rows[i].customer_id = moves[i].customer_id;
		rows[i].group_id = to.code == NULL ? CG_NONE : moves[i].to;
		rows[i].segment_id = CG_NONE;
		rows[i].detail = tell_move(&moves[i], engine, up ? reached : left, &from, &to);
	}
	cg_scan_end(&from.scan);
	cg_scan_end(&to.scan);
	cg_write_events(rows, n);
}

/* The next tier of a ladder that a scan of a customer's memberships comes to, or NULL. */
static const CgTier *
next_tier(CgScan *members, const CgTiers *tiers, const char *ladder)
{
	while (cg_scan_next(members))
	{
		bool          isnull;
		const CgTier *tier = cg_find_tier(
			tiers, DatumGetInt32(cg_scan_get(members, CG_MEMBERS_GROUP_ID, &isnull)));

		if (tier != NULL && strcmp(tier->ladder_code, ladder) == 0)
			return tier;
	}
	return NULL;
}

/* By customer and ladder. */
static int
compare_moves(const void *a, const void *b)
{
	const Move *x = a;
	const Move *y = b;

	if (x->customer_id != y->customer_id)
		return x->customer_id < y->customer_id ? -1 : 1;
	return strcmp(x->ladder, y->ladder);
}

/* Whether a command of this transaction has changed or deleted the row that a scan has come to. */
static bool
is_changed_by(CgScan *scan, CommandId command)
{
	bool            should_free;
	HeapTupleHeader row = ExecFetchSlotHeapTuple(scan->slot, false, &should_free)->t_data;

	return !(row->t_infomask & HEAP_XMAX_INVALID) && !HEAP_XMAX_IS_LOCKED_ONLY(row->t_infomask) &&
		   TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(row)) &&
		   HeapTupleHeaderGetCmax(row) == command;
}

/*
 * Finds out from which tier a customer moves who held another one before the
 * statement, which took it away itself (MERGE, WITH).
 */
static void
find_lost_tiers(const CgTiers *tiers, Move *moves, int n, CommandId command)
{
	CgScan scan = {.wants = cg_wants_tier, .wants_arg = tiers};

	PushCopiedSnapshot(GetLatestSnapshot());
	GetActiveSnapshot()->curcid = command;
	for (int i = 0; i < n; i++)
	{
		const CgTier *tier;

		if (moves[i].from != CG_NONE ||
			cg_find_move(moves[i].customer_id, moves[i].ladder, moves[i].to) != NULL)
			continue;
		cg_scan_id(&scan, CG_MEMBERS, GetActiveSnapshot(), moves[i].customer_id);
		while ((tier = next_tier(&scan, tiers, moves[i].ladder)) != NULL)
			if (is_changed_by(&scan, command))
				moves[i].from = tier->group_id;
	}
	cg_scan_end(&scan);
	PopActiveSnapshot();
}

/*
 * Takes customers who are given a tier off the other tiers of its ladder, and
 * returns their moves.  given[] lists the new memberships, before[] what each of
 * them was, if the same statement, of that command, changed its group.
 */
static Move *
replace_tiers(const CgTiers *tiers, Membership **given, const Membership **before, int n,
			  CommandId command, int *nresult)
{
	Move  *moves = palloc((n + 1) * sizeof(Move));
	Datum *customers;
	Datum *groups;
	CgScan members = {.wants = cg_wants_tier, .wants_arg = tiers};
	int    nmoves = 0;
	int    nothers = 0;
	int    max = 16;

	for (int i = 0; i < n; i++)
	{
		const CgTier *tier = cg_find_tier(tiers, given[i]->group_id);
		const CgTier *from = before[i] == NULL ? NULL : cg_find_tier(tiers, before[i]->group_id);

		if (tier == NULL)
			continue;
		moves[nmoves].customer_id = given[i]->customer_id;
		moves[nmoves].ladder = tier->ladder_code;
		moves[nmoves].from = from != NULL && from->ladder == tier->ladder ? from->group_id
																		  : CG_NONE;
		moves[nmoves++].to = tier->group_id;
	}
	*nresult = nmoves;
	if (nmoves == 0)
		return moves;

	qsort(moves, nmoves, sizeof(Move), compare_moves);
	for (int i = 1; i < nmoves; i++)
		if (compare_moves(&moves[i - 1], &moves[i]) == 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("a customer cannot be given two tiers of one ladder at once"),
							errdetail("Customer " INT64_FORMAT
									  " would come to groups %d and %d of ladder \"%s\".",
									  moves[i].customer_id, Min(moves[i - 1].to, moves[i].to),
									  Max(moves[i - 1].to, moves[i].to), moves[i].ladder),
							errhint("Name one tier of each ladder.")));

	customers = palloc(max * sizeof(Datum));
	groups = palloc(max * sizeof(Datum));
	cg_push_snapshot();
	for (int i = 0; i < nmoves; i++)
	{
		const CgTier *held;
		bool          is_there = false;

		CHECK_FOR_INTERRUPTS();
		cg_scan_id(&members, CG_MEMBERS, GetActiveSnapshot(), moves[i].customer_id);
		while ((held = next_tier(&members, tiers, moves[i].ladder)) != NULL)
		{
			if (held->group_id == moves[i].to)
			{
				is_there = true;
				continue;
			}
			if (nothers == max)
			{
				max *= 2;
				customers = repalloc_huge(customers, max * sizeof(Datum));
				groups = repalloc_huge(groups, max * sizeof(Datum));
			}
			customers[nothers] = Int64GetDatum(moves[i].customer_id);
			groups[nothers++] = Int32GetDatum(held->group_id);
			moves[i].from = held->group_id;
		}
		if (!is_there)
			ereport(
				ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("a tier was taken away by a trigger of the statement that gives it"),
				 errdetail("Customer " INT64_FORMAT " was given group %d and no longer has it.",
						   moves[i].customer_id, moves[i].to),
				 errhint("Let the trigger fire FOR EACH STATEMENT, with a name that comes after "
						 "those of the extension's triggers on members.")));
	}
	cg_scan_end(&members);
	PopActiveSnapshot();
	cg_delete_members(customers, groups, nothers);
	find_lost_tiers(tiers, moves, nmoves, command);
	return moves;
}

/*
 * Writes the moves of customers who lost a tier and hold no other one of its
 * ladder; who was given another one has moved already.
 */
static void
leave_tiers(const CgTiers *tiers, Membership **lost, int n, Snapshot snapshot)
{
	Move  *moves = palloc((n + 1) * sizeof(Move));
	CgScan members = {.wants = cg_wants_tier, .wants_arg = tiers};
	int    nmoves = 0;

	cg_push_snapshot();
	for (int i = 0; i < n; i++)
	{
		const CgTier *tier = cg_find_tier(tiers, lost[i]->group_id);

		CHECK_FOR_INTERRUPTS();
		if (tier == NULL)
			continue;
		cg_scan_id(&members, CG_MEMBERS, GetActiveSnapshot(), lost[i]->customer_id);
		if (next_tier(&members, tiers, tier->ladder_code) != NULL)
			continue;
		moves[nmoves].customer_id = lost[i]->customer_id;
		moves[nmoves].ladder = tier->ladder_code;
		moves[nmoves].from = tier->group_id;
		moves[nmoves++].to = CG_NONE;
	}
	cg_scan_end(&members);
	PopActiveSnapshot();
	qsort(moves, nmoves, sizeof(Move), compare_moves);
	write_moves(moves, nmoves, snapshot);
}

/* Whether a new row was recorded before. */
static bool
is_restored(HeapTuple tuple, TupleDesc desc)
{
	bool isnull;

	return DatumGetTimestampTz(
			   heap_getattr(tuple, cg_attnum(CG_MEMBERS, CG_MEMBERS_RECORDED_AT), desc, &isnull)) !=
		   GetCurrentTransactionStartTimestamp();
}

/*
 * Trigger lock_member: BEFORE ROW, so that the customer is locked before the
 * membership, in the order in which booking locks them.
 */
PG_FUNCTION_INFO_V1(cg_lock_member);
Datum
cg_lock_member(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = cg_check_trigger(fcinfo, "lock_member", CG_MEMBERS,
											 TRIGGER_EVENT_ROW | TRIGGER_EVENT_BEFORE);
	TupleDesc    desc = RelationGetDescr(trigdata->tg_relation);
	HeapTuple    tuple = trigdata->tg_trigtuple;
	bool         insert = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event);
	bool         isnull;
	Datum        customer_id;

	customer_id = heap_getattr(tuple, cg_attnum(CG_MEMBERS, CG_MEMBERS_CUSTOMER_ID), desc, &isnull);
	if (!isnull && !(insert && is_restored(tuple, desc)))
	{
		CgUser saved;
		bool   found;

		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		cg_become_owner(CG_MEMBERS, &saved);
		found = cg_lock_customer(DatumGetInt64(customer_id));
		if (!found && insert)
			ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("unknown customer"),
							errdetail("There is no customer with id " INT64_FORMAT ".",
									  DatumGetInt64(customer_id)),
							errhint("Insert the customer first."),
							errtableconstraint(trigdata->tg_relation, "members_customer_id_fkey")));
		cg_restore_user(&saved);
		SPI_finish();
	}
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple
																	   : tuple);
}

/*
 * Trigger lock_group: AFTER ROW, once all customers of the statement are locked,
 * and by its name before the foreign key's own trigger, so that adding to a group
 * that is gone, or being deleted, ends in an error that says what to do.  The lock
 * is the foreign key's; it is taken once for a statement and group.
 */
PG_FUNCTION_INFO_V1(cg_lock_group);
Datum
cg_lock_group(PG_FUNCTION_ARGS)
{
	static CgStatement select_group = {
		.generic = true,
		.sql = "SELECT FROM customer_groups.groups WHERE id OPERATOR(pg_catalog.=) $1 "
			   "FOR KEY SHARE",
		.argtypes = {INT4OID}};
	static Statement last;
	static int32     last_group;
	TriggerData     *trigdata = cg_check_trigger(fcinfo, "lock_group", CG_MEMBERS,
												 TRIGGER_EVENT_ROW | TRIGGER_EVENT_AFTER);
	TupleDesc        desc = RelationGetDescr(trigdata->tg_relation);
	bool             update = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event);
	HeapTuple        tuple = update ? trigdata->tg_newtuple : trigdata->tg_trigtuple;
	Statement        statement = statement_in_progress();
	Datum            group_id;
	CgUser           saved;
	bool             isnull;

	group_id = heap_getattr(tuple, cg_attnum(CG_MEMBERS, CG_MEMBERS_GROUP_ID), desc, &isnull);
	if ((same_statement(&statement, &last) && DatumGetInt32(group_id) == last_group) ||
		(!update && is_restored(tuple, desc)))
		return PointerGetDatum(NULL);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	cg_become_owner(CG_MEMBERS, &saved);
	if (cg_execute(&select_group, &group_id, NULL) == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("unknown group"),
			 errdetail("There is no group with id %d.", DatumGetInt32(group_id)),
			 errhint("It may have been deleted meanwhile; find_groups('') lists the groups there "
					 "are."),
			 errtableconstraint(trigdata->tg_relation, "members_group_id_fkey")));
	cg_restore_user(&saved);
	SPI_finish();
	last = statement;
	last_group = DatumGetInt32(group_id);
	return PointerGetDatum(NULL);
}

/*
 * A role with the level "members", and not "edit", changes one customer at a
 * time, and says of who added it and when only what is so.  A statement that
 * inserts as well as updates or deletes comes here for each of them.
 */
static void
check_level(const Memberships *before, const Memberships *after)
{
	static Statement   last;
	static int64       last_customer;
	const Memberships *rows = after->n > 0 ? after : before;
	Statement          statement = statement_in_progress();
	TimestampTz        now = GetCurrentTransactionStartTimestamp();
	char              *user;

	if (rows->n == 0 || !cg_holds_level("members") || cg_holds_level("edit"))
		return;
	if (!same_statement(&statement, &last))
	{
		last = statement;
		last_customer = rows->rows[0].customer_id;
	}
	for (int i = 0; i < rows->n; i++)
		if (rows->rows[i].customer_id != last_customer)
			ereport(
				ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to change the memberships of several customers "
						"at once"),
				 errdetail("The statement changes customers " INT64_FORMAT " and " INT64_FORMAT ".",
						   last_customer, rows->rows[i].customer_id),
				 errhint("Change one customer at a time, or ask the owner of the extension "
						 "for the level \"edit\".")));
	user = GetUserNameFromId(GetSessionUserId(), false);
	for (int i = 0; i < after->n; i++)
	{
		const Membership *new = &after->rows[i];
		const Membership *old = before->n > 0 ? &before->rows[i] : NULL;

		if ((old == NULL || old->added_at != new->added_at ||
			 strcmp(old->added_by, new->added_by) != 0) &&
			(new->added_at != now || strcmp(new->added_by, user) != 0))
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("permission denied to say who else added a member, or when"),
							errdetail("The membership was to be added by \"%s\" at %s.",
									  new->added_by, timestamptz_to_str(new->added_at)),
							errhint("Leave added_at and added_by to their defaults.")));
	}
}

/*
 * The customers of a statement's memberships, ascending, each once; without those
 * who are deleted, and their memberships with them.
 */
static int64 *
list_customers(const Memberships *before, const Memberships *after, int *n)
{
	int nleft = 0;

	int    nall = before->n + after->n;
	int64 *result = MemoryContextAllocHuge(CurrentMemoryContext, (nall + 1) * sizeof(int64));

	for (int i = 0; i < before->n; i++)
		result[i] = before->rows[i].customer_id;
	for (int i = 0; i < after->n; i++)
		result[before->n + i] = after->rows[i].customer_id;
	*n = cg_sort_customers(result, nall);
	if (after->n > 0)
		return result;
	for (int i = 0; i < *n; i++)
		if (cg_customer_exists(result[i], SnapshotSelf))
			result[nleft++] = result[i];
	*n = nleft;
	return result;
}

/*
 * Trigger members_changed: AFTER STATEMENT, with the transition tables that its
 * event has.
 */
PG_FUNCTION_INFO_V1(cg_members_changed);
Datum
cg_members_changed(PG_FUNCTION_ARGS)
{
	TriggerData       *trigdata = cg_check_trigger(fcinfo, "members_changed", CG_MEMBERS,
												   TRIGGER_EVENT_AFTER);
	TupleDesc          desc = RelationGetDescr(trigdata->tg_relation);
	Memberships        before = {0};
	Memberships        after = {0};
	bool               update = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event);
	Membership       **given;
	Membership       **lost;
	const Membership **was;
	int                ngiven = 0;
	int                nlost = 0;
	Events             events = {0};
	CgTiers            tiers;
	Move              *moves;
	int                nmoves;
	CgUser             saved;
	CommandId          command = GetActiveSnapshot()->curcid;
	int64             *customers;
	int                ncustomers;
	CgTracking         tracking;

	if (trigdata->tg_newtable == NULL && trigdata->tg_oldtable == NULL)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("members_changed needs the rows of the statement")));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (trigdata->tg_oldtable != NULL)
		read_memberships(trigdata->tg_oldtable, desc, false, &before);
	if (trigdata->tg_newtable != NULL)
		read_memberships(trigdata->tg_newtable, desc, !update, &after);
	given = palloc((after.n + 1) * sizeof(Membership *));
	was = palloc((after.n + 1) * sizeof(Membership *));
	lost = palloc((before.n + 1) * sizeof(Membership *));

	/* The old rows of an update stand in the same order as the new ones. */
	for (int i = 0; i < Max(before.n, after.n); i++)
	{
		Membership *old = trigdata->tg_oldtable == NULL ? NULL : &before.rows[i];
		Membership *new = trigdata->tg_newtable == NULL ? NULL : &after.rows[i];

		if (old != NULL && new != NULL && old->group_id == new->group_id)
		{
			if (!same_membership(old, new))
				add_event(&events, old, new);
			/* The engine renews a tier that counted as none. */
			if (cg_find_move(new->customer_id, NULL, new->group_id) != NULL)
			{
				was[ngiven] = old;
				given[ngiven++] = new;
			}
			continue;
		}
		if (old != NULL)
		{
			add_event(&events, old, NULL);
			lost[nlost++] = old;
		}
		if (new != NULL)
		{
			add_event(&events, NULL, new);
			was[ngiven] = old;
			given[ngiven++] = new;
		}
	}

	check_level(&before, &after);
	cg_become_owner(CG_MEMBERS, &saved);
	customers = list_customers(&before, &after, &ncustomers);
	cg_track_begin(&tracking);
	cg_track_before(&tracking, customers, ncustomers, command);
	tiers = cg_copy_tiers(tracking.snapshot);
	moves = replace_tiers(&tiers, given, was, ngiven, command, &nmoves);
	write_events(&events, tracking.snapshot);
	write_moves(moves, nmoves, tracking.snapshot);
	leave_tiers(&tiers, lost, nlost, tracking.snapshot);
	cg_track_after(&tracking, customers, ncustomers, CG_DEPENDS_MEMBERS);
	cg_track_end(&tracking);
	cg_restore_user(&saved);
	SPI_finish();
	cg_warn_restored(CG_MEMBERS, after.restored);
	return PointerGetDatum(NULL);
}

/*
 * Trigger groups_changed: AFTER UPDATE STATEMENT.  Groups that become tiers,
 * cease to be, or change their ladder, carry their members with them; nobody may
 * come to hold two tiers of a ladder that way.
 */
PG_FUNCTION_INFO_V1(cg_groups_changed);
Datum
cg_groups_changed(PG_FUNCTION_ARGS)
{
	static CgStatement select_conflict = {
		.sql = "SELECT m.customer_id, g.code, o.code "
			   "FROM customer_groups.groups g "
			   "JOIN customer_groups.groups o "
			   "	ON o.id OPERATOR(pg_catalog.<>) g.id AND o.upgrade_threshold IS NOT NULL "
			   "		AND coalesce(o.ladder, 'default') OPERATOR(pg_catalog.=) "
			   "			coalesce(g.ladder, 'default') "
			   "JOIN customer_groups.members m ON m.group_id OPERATOR(pg_catalog.=) g.id "
			   "JOIN customer_groups.members n ON n.group_id OPERATOR(pg_catalog.=) o.id "
			   "	AND n.customer_id OPERATOR(pg_catalog.=) m.customer_id "
			   "WHERE g.id OPERATOR(pg_catalog.=) ANY ($1) AND g.upgrade_threshold IS NOT NULL "
			   "ORDER BY m.customer_id, g.id, o.id LIMIT 1",
		.argtypes = {INT4ARRAYOID}};
	static CgStatement select_moves = {
		.sql =
			"SELECT m.customer_id, c.ladder, c.leaves, g.id "
			"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) "
			"	WITH ORDINALITY AS c (group_id, ladder, leaves, place) "
			"JOIN customer_groups.groups g ON g.id OPERATOR(pg_catalog.=) c.group_id "
			"JOIN customer_groups.members m ON m.group_id OPERATOR(pg_catalog.=) g.id "
			"ORDER BY c.place, m.customer_id",
		.argtypes = {INT4ARRAYOID, TEXTARRAYOID, BOOLARRAYOID},
		.restypes = {INT8OID, TEXTOID, BOOLOID, INT4OID}};
	TriggerData    *trigdata = cg_check_trigger(fcinfo, "groups_changed", CG_GROUPS,
												TRIGGER_EVENT_AFTER);
	TupleDesc       desc = RelationGetDescr(trigdata->tg_relation);
	TupleTableSlot *old;
	TupleTableSlot *new;
	int    id_attnum = SPI_fnumber(desc, "id");
	int    ladder_attnum = SPI_fnumber(desc, "ladder");
	int    threshold_attnum = SPI_fnumber(desc, "upgrade_threshold");
	int    max = 16;
	int    n = 0;
	Datum *groups = palloc(max * sizeof(Datum));
	Datum *ladders = palloc(max * sizeof(Datum));
	Datum *leaves = palloc(max * sizeof(Datum));
	bool   raised = false;
	CgUser saved;

	if (trigdata->tg_newtable == NULL || trigdata->tg_oldtable == NULL || id_attnum <= 0 ||
		ladder_attnum <= 0 || threshold_attnum <= 0)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("groups_changed needs the old and the new rows of groups")));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");

	old = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	new = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	tuplestore_rescan(trigdata->tg_oldtable);
	tuplestore_rescan(trigdata->tg_newtable);
	while (tuplestore_gettupleslot(trigdata->tg_oldtable, true, false, old) &&
		   tuplestore_gettupleslot(trigdata->tg_newtable, true, false, new))
	{
		TupleTableSlot *slots[2];
		char           *codes[2];

		CHECK_FOR_INTERRUPTS();
		slots[0] = old;
		slots[1] = new;
		for (int i = 0; i < 2; i++)
		{
			bool  isnull;
			Datum ladder;

			codes[i] = NULL;
			(void) slot_getattr(slots[i], threshold_attnum, &isnull);
			if (isnull)
				continue;
			ladder = slot_getattr(slots[i], ladder_attnum, &isnull);
			codes[i] = isnull ? pstrdup("default") : TextDatumGetCString(ladder);
		}
		if (codes[0] == NULL && codes[1] == NULL)
			continue;
		/* A raise, too: a sale that does not know of it would lower its members. */
		if (codes[0] != NULL && codes[1] != NULL && strcmp(codes[0], codes[1]) == 0)
		{
			bool  isnull;
			Datum before = slot_getattr(old, threshold_attnum, &isnull);
			Datum after = slot_getattr(new, threshold_attnum, &isnull);

			raised = raised || DatumGetBool(DirectFunctionCall2(numeric_gt, after, before));
			continue;
		}
		for (int i = 0; i < 2; i++)
		{
			bool isnull;

			if (codes[i] == NULL)
				continue;
			if (n == max)
			{
				max *= 2;
				groups = repalloc(groups, max * sizeof(Datum));
				ladders = repalloc(ladders, max * sizeof(Datum));
				leaves = repalloc(leaves, max * sizeof(Datum));
			}
			groups[n] = slot_getattr(slots[i], id_attnum, &isnull);
			ladders[n] = CStringGetTextDatum(codes[i]);
			leaves[n++] = BoolGetDatum(i == 0);
		}
	}
	ExecDropSingleTupleTableSlot(old);
	ExecDropSingleTupleTableSlot(new);

	/* Waits for bookings and changes of memberships in progress, and keeps new ones waiting. */
	if (n > 0 || raised)
		table_close(cg_table_open(CG_MEMBERS, ShareRowExclusiveLock), NoLock);
	if (n > 0)
	{
		Datum    values[3];
		Move    *moves;
		int      nmoves;
		Snapshot snapshot;

		cg_become_owner(CG_MEMBERS, &saved);
		values[0] = cg_make_array(groups, NULL, n, INT4OID);
		values[1] = cg_make_array(ladders, NULL, n, TEXTOID);
		values[2] = cg_make_array(leaves, NULL, n, BOOLOID);
		if (cg_execute_latest(&select_conflict, values, NULL) > 0)
		{
			HeapTuple tuple = SPI_tuptable->vals[0];

			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("a customer would hold two tiers of one ladder"),
							errdetail("Customer %s is in group \"%s\" and in group \"%s\".",
									  SPI_getvalue(tuple, SPI_tuptable->tupdesc, 1),
									  SPI_getvalue(tuple, SPI_tuptable->tupdesc, 2),
									  SPI_getvalue(tuple, SPI_tuptable->tupdesc, 3)),
							errhint("Remove such members from one of the groups first.")));
		}
		nmoves = cg_execute_latest(&select_moves, values, NULL);
		moves = palloc((nmoves + 1) * sizeof(Move));
		for (int i = 0; i < nmoves; i++)
		{
			HeapTuple tuple = SPI_tuptable->vals[i];
			bool      isnull;
			int32 group = DatumGetInt32(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 4, &isnull));
			bool  leaving = DatumGetBool(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull));

			moves[i].customer_id = DatumGetInt64(
				SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
			moves[i].ladder = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 2);
			moves[i].from = leaving ? group : CG_NONE;
			moves[i].to = leaving ? CG_NONE : group;
		}
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		write_moves(moves, nmoves, snapshot);
		UnregisterSnapshot(snapshot);
		cg_restore_user(&saved);
	}
	SPI_finish();
	return PointerGetDatum(NULL);
}
