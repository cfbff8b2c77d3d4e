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
#include "groups/groups.h"
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

/* Events to be written, as the columns of the statement below. */
typedef struct Events
{
	int    n;
	int    max;
	Datum *kinds;
	Datum *customers;
	Datum *groups;
	Datum *sources;
	Datum *froms;
	Datum *untils;
	Datum *added_at;
	Datum *added_by;
	bool  *no_from;
	bool  *no_until;
	bool  *no_added_at;
	bool  *no_added_by;
	char  *user; /* the session's */
} Events;

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
	int32       from; /* group; 0: none */
	int32       to;   /* group; 0: none */
} Move;

/* The statements below take arrays of rows, or the values of one row. */
#define INSERT_EVENTS(source)                                                                      \
	"INSERT INTO customer_groups.events (kind, customer_id, group_id, detail) "                    \
	"SELECT e.kind, e.customer_id, e.group_id, pg_catalog.jsonb_build_object("                     \
	"	'code', g.code, 'name', g.name, 'source', e.source, "                                        \
	"	'valid_from', e.valid_from, 'valid_until', e.valid_until) "                                  \
	"	OPERATOR(pg_catalog.||) CASE WHEN e.added_at IS NULL THEN '{}' "                             \
	"		ELSE pg_catalog.jsonb_build_object('added_at', e.added_at) END "                            \
	"	OPERATOR(pg_catalog.||) CASE WHEN e.added_by IS NULL THEN '{}' "                             \
	"		ELSE pg_catalog.jsonb_build_object('added_by', e.added_by) END "                            \
	"FROM " source " AS e (kind, customer_id, group_id, source, valid_from, valid_until, "         \
	"	added_at, added_by, place) "                                                                 \
	"LEFT JOIN customer_groups.groups g ON g.id OPERATOR(pg_catalog.=) e.group_id "                \
	"ORDER BY e.place"

static CgStatement insert_events = {
	.generic = true,
	.sql = INSERT_EVENTS(
		"ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), "
		"	pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), "
		"	pg_catalog.unnest($7), pg_catalog.unnest($8)) WITH ORDINALITY"),
	.argtypes = {TEXTARRAYOID, INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, DATEARRAYOID, DATEARRAYOID,
				 TIMESTAMPTZARRAYOID, TEXTARRAYOID}};

static CgStatement insert_event = {
	.generic = true,
	.sql = INSERT_EVENTS("(VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1))"),
	.argtypes = {TEXTOID, INT8OID, INT4OID, TEXTOID, DATEOID, DATEOID, TIMESTAMPTZOID, TEXTOID}};

#define INSERT_MOVES(source)                                                                       \
	"INSERT INTO customer_groups.events (kind, customer_id, group_id, detail) "                    \
	"SELECT m.kind, m.customer_id, t.id, pg_catalog.jsonb_build_object("                           \
	"	'ladder', m.ladder, 'from', f.code, 'from_id', "                                             \
	"		CASE WHEN m.replaced_id OPERATOR(pg_catalog.<>) 0 THEN m.replaced_id END, "                 \
	"	'to', t.code) "                                                                              \
	"	OPERATOR(pg_catalog.||) CASE WHEN m.measure IS NULL THEN '{}' "                              \
	"		ELSE pg_catalog.jsonb_build_object('measure', m.measure, "                                  \
	"			'threshold', m.threshold) END "                                                            \
	"FROM " source " AS m (customer_id, ladder, from_id, to_id, kind, measure, threshold, "        \
	"	replaced_id, place) "                                                                        \
	"LEFT JOIN customer_groups.groups f ON f.id OPERATOR(pg_catalog.=) m.from_id "                 \
	"LEFT JOIN customer_groups.groups t ON t.id OPERATOR(pg_catalog.=) m.to_id "                   \
	"ORDER BY m.place"

static CgStatement insert_moves = {
	.generic = true,
	.sql = INSERT_MOVES(
		"ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), "
		"	pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), "
		"	pg_catalog.unnest($7), pg_catalog.unnest($8)) WITH ORDINALITY"),
	.argtypes = {INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT4ARRAYOID, TEXTARRAYOID,
				 NUMERICARRAYOID, NUMERICARRAYOID, INT4ARRAYOID}};

static CgStatement insert_move = {
	.generic = true,
	.sql = INSERT_MOVES("(VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1))"),
	.argtypes = {INT8OID, TEXTOID, INT4OID, INT4OID, TEXTOID, NUMERICOID, NUMERICOID, INT4OID}};

static CgStatement delete_replaced = {
	.generic = true,
	.sql = "DELETE FROM customer_groups.members m "
		   "USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS r (customer_id, "
		   "group_id) "
		   "WHERE m.customer_id OPERATOR(pg_catalog.=) r.customer_id "
		   "	AND m.group_id OPERATOR(pg_catalog.=) r.group_id "
		   "RETURNING m.customer_id, m.group_id",
	.argtypes = {INT8ARRAYOID, INT4ARRAYOID},
	.restypes = {INT8OID, INT4OID}};

static CgStatement select_held = {
	.generic = true,
	.sql = "SELECT m.customer_id, m.group_id FROM customer_groups.members m "
		   "WHERE m.customer_id OPERATOR(pg_catalog.=) ANY ($1) "
		   "	AND m.group_id OPERATOR(pg_catalog.=) ANY ($2)",
	.argtypes = {INT8ARRAYOID, INT4ARRAYOID},
	.restypes = {INT8OID, INT4OID}};

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
	int               i;

	if (events->n == events->max)
	{
		events->max = Max(2 * events->max, 16);
		events->kinds = grow(events->kinds, events->max, sizeof(Datum));
		events->customers = grow(events->customers, events->max, sizeof(Datum));
		events->groups = grow(events->groups, events->max, sizeof(Datum));
		events->sources = grow(events->sources, events->max, sizeof(Datum));
		events->froms = grow(events->froms, events->max, sizeof(Datum));
		events->untils = grow(events->untils, events->max, sizeof(Datum));
		events->added_at = grow(events->added_at, events->max, sizeof(Datum));
		events->added_by = grow(events->added_by, events->max, sizeof(Datum));
		events->no_from = grow(events->no_from, events->max, sizeof(bool));
		events->no_until = grow(events->no_until, events->max, sizeof(bool));
		events->no_added_at = grow(events->no_added_at, events->max, sizeof(bool));
		events->no_added_by = grow(events->no_added_by, events->max, sizeof(bool));
	}
	if (events->user == NULL)
		events->user = GetUserNameFromId(GetSessionUserId(), false);
	i = events->n++;
	/* One that is added anew, having expired, is another membership. */
	if (!added && !removed)
		added = new->added_at == now && old->added_at != now;
	events->kinds[i] = CStringGetTextDatum(added     ? "member_added"
										   : removed ? "member_removed"
													 : "member_changed");
	events->customers[i] = Int64GetDatum(row->customer_id);
	events->groups[i] = Int32GetDatum(row->group_id);
	events->sources[i] = CStringGetTextDatum(row->source);
	events->froms[i] = DateADTGetDatum(row->valid_from);
	events->untils[i] = DateADTGetDatum(row->valid_until);
	events->no_from[i] = !row->has_from;
	events->no_until[i] = !row->has_until;
	events->added_at[i] = TimestampTzGetDatum(row->added_at);
	events->added_by[i] = CStringGetTextDatum(row->added_by);
	if (added || removed)
	{
		events->no_added_at[i] = row->added_at == now && now <= GetCurrentTimestamp();
		events->no_added_by[i] = strcmp(row->added_by, events->user) == 0;
	}
	else
	{
		events->no_added_at[i] = row->added_at == old->added_at;
		events->no_added_by[i] = strcmp(row->added_by, old->added_by) == 0;
	}
}

static void
write_events(Events *events)
{
	Datum *columns[] = {events->kinds, events->customers, events->groups,   events->sources,
						events->froms, events->untils,    events->added_at, events->added_by};
	bool  *nulls[] = {NULL,
					  NULL,
					  NULL,
					  NULL,
					  events->no_from,
					  events->no_until,
					  events->no_added_at,
					  events->no_added_by};

	if (events->n > 0)
		cg_execute_rows(&insert_events, &insert_event, columns, nulls, events->n);
}

static bool
numeric_above(Numeric a, Numeric b)
{
	return DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * Writes one event for each move: an upgrade or a downgrade when it is the
 * engine that makes it, with what was reached and the threshold that decided,
 * else a change by other hands.  A tier that counted as none is not moved from,
 * but replaced: from_id tells what was.
 */
static void
write_moves(const Move *moves, int n)
{
	Datum *columns[8];
	bool  *by_hand = palloc((n + 1) * sizeof(bool));
	bool  *nulls[] = {NULL, NULL, NULL, NULL, NULL, by_hand, by_hand, NULL};

	if (n == 0)
		return;
	for (int c = 0; c < 8; c++)
		columns[c] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		const CgTierMove *move = cg_find_move(moves[i].customer_id, moves[i].ladder, moves[i].to);
		const CgTier     *from = move == NULL ? NULL : move->from;
		const CgTier     *to = move == NULL ? NULL : move->to;
		bool up = to != NULL && (from == NULL || numeric_above(to->threshold, from->threshold));

		by_hand[i] = move == NULL;
		columns[0][i] = Int64GetDatum(moves[i].customer_id);
		columns[1][i] = CStringGetTextDatum(moves[i].ladder);
		columns[2][i] = Int32GetDatum(move == NULL   ? moves[i].from
									  : from == NULL ? 0
													 : from->group_id);
		columns[3][i] = Int32GetDatum(moves[i].to);
		columns[4][i] = CStringGetTextDatum(move == NULL ? "tier_changed"
											: up         ? "tier_upgraded"
														 : "tier_downgraded");
		columns[5][i] = move == NULL ? (Datum) 0 : NumericGetDatum(move->measure);
		columns[6][i] = move == NULL ? (Datum) 0
									 : NumericGetDatum(up ? to->threshold : from->threshold);
		columns[7][i] = Int32GetDatum(moves[i].from);
	}
	cg_execute_rows(&insert_moves, &insert_move, columns, nulls, n);
}

static const CgTier *
find_tier(const CgTiers *tiers, int32 group_id)
{
	for (int i = 0; i < tiers->n; i++)
		if (tiers->tiers[i].group_id == group_id)
			return &tiers->tiers[i];
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

/*
 * Takes customers who are given a tier off the other tiers of its ladder, and
 * returns their moves.  given[] lists the new memberships, before[] what each of
 * them was, if the same statement changed its group.
 */
static Move *
replace_tiers(const CgTiers *tiers, Membership **given, const Membership **before, int n,
			  int *nresult)
{
	Move  *moves = palloc((n + 1) * sizeof(Move));
	Datum *customers = palloc((Size) n * (tiers->n + 1) * sizeof(Datum));
	Datum *groups = palloc((Size) n * (tiers->n + 1) * sizeof(Datum));
	Datum  values[2];
	int    nmoves = 0;
	int    nothers = 0;
	int    nreplaced;

	for (int i = 0; i < n; i++)
	{
		const CgTier *tier = find_tier(tiers, given[i]->group_id);
		const CgTier *from = before[i] == NULL ? NULL : find_tier(tiers, before[i]->group_id);

		if (tier == NULL)
			continue;
		moves[nmoves].customer_id = given[i]->customer_id;
		moves[nmoves].ladder = tier->ladder_code;
		moves[nmoves].from = from != NULL && from->ladder == tier->ladder ? from->group_id : 0;
		moves[nmoves++].to = tier->group_id;
		for (int t = 0; t < tiers->n; t++)
			if (tiers->tiers[t].ladder == tier->ladder && &tiers->tiers[t] != tier)
			{
				customers[nothers] = Int64GetDatum(given[i]->customer_id);
				groups[nothers++] = Int32GetDatum(tiers->tiers[t].group_id);
			}
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

	values[0] = cg_make_array(customers, NULL, nothers, INT8OID);
	values[1] = cg_make_array(groups, NULL, nothers, INT4OID);
	nreplaced = cg_execute(&delete_replaced, values, NULL);
	for (int i = 0; i < nreplaced; i++)
	{
		HeapTuple     tuple = SPI_tuptable->vals[i];
		bool          isnull;
		int32         from = DatumGetInt32(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
		const CgTier *tier = find_tier(tiers, from);
		Move          key;
		Move         *move;

		key.customer_id = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		key.ladder = tier->ladder_code;
		move = bsearch(&key, moves, nmoves, sizeof(Move), compare_moves);
		if (move != NULL)
			move->from = from;
	}
	return moves;
}

/*
 * Writes the moves of customers who lost a tier and hold no other one of its
 * ladder; who was given another one has moved already.
 */
static void
leave_tiers(const CgTiers *tiers, Membership **lost, int n)
{
	Move  *moves = palloc((n + 1) * sizeof(Move));
	Datum *customers = palloc((n + 1) * sizeof(Datum));
	Datum *groups = palloc((tiers->n + 1) * sizeof(Datum));
	Datum  values[2];
	int    nmoves = 0;
	int    nheld;
	int    nleft = 0;

	for (int i = 0; i < n; i++)
	{
		const CgTier *tier = find_tier(tiers, lost[i]->group_id);

		if (tier == NULL)
			continue;
		customers[nmoves] = Int64GetDatum(lost[i]->customer_id);
		moves[nmoves].customer_id = lost[i]->customer_id;
		moves[nmoves].ladder = tier->ladder_code;
		moves[nmoves].from = tier->group_id;
		moves[nmoves++].to = 0;
	}
	if (nmoves == 0)
		return;
	for (int t = 0; t < tiers->n; t++)
		groups[t] = Int32GetDatum(tiers->tiers[t].group_id);
	values[0] = cg_make_array(customers, NULL, nmoves, INT8OID);
	values[1] = cg_make_array(groups, NULL, tiers->n, INT4OID);
	nheld = cg_execute(&select_held, values, NULL);
	qsort(moves, nmoves, sizeof(Move), compare_moves);
	for (int i = 0; i < nheld; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		bool      isnull;
		Move      key;
		Move     *move;

		key.customer_id = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		key.ladder = find_tier(tiers, DatumGetInt32(
										  SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull)))
						 ->ladder_code;
		move = bsearch(&key, moves, nmoves, sizeof(Move), compare_moves);
		if (move != NULL)
			move->to = -1; /* still on the ladder */
	}
	for (int i = 0; i < nmoves; i++)
		if (moves[i].to == 0)
			moves[nleft++] = moves[i];
	write_moves(moves, nleft);
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
	moves = replace_tiers(&tiers, given, was, ngiven, &nmoves);
	write_events(&events);
	write_moves(moves, nmoves);
	leave_tiers(&tiers, lost, nlost);
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
		Datum values[3];
		Move *moves;
		int   nmoves;

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
			moves[i].from = leaving ? group : 0;
			moves[i].to = leaving ? 0 : group;
		}
		write_moves(moves, nmoves);
		cg_restore_user(&saved);
	}
	SPI_finish();
	return PointerGetDatum(NULL);
}
