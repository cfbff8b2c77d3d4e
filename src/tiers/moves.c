/*
 * moves.c
 *		Moves on ladders that the engine makes, by a booking or a review.
 *
 * A move is a change of memberships like any other: the trigger on members
 * takes the other tier of the ladder away and writes the events.  That this is
 * an upgrade or a downgrade, from which tier in effect and by what measure, the
 * trigger asks of the moves in progress, which are known here as long as the
 * statement that makes them runs.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "catalog/tables.h"
#include "groups/groups.h"
#include "tiers/tiers.h"

/* The moves in progress, by customer; those of a nested statement in their place. */
static const CgTierMove *current;
static int               ncurrent;

#define INSERT_MEMBERS(source)                                                                     \
	"INSERT INTO customer_groups.members AS m (customer_id, group_id, source) "                    \
	"SELECT u.customer_id, u.group_id, 'tier' FROM " source " AS u (customer_id, group_id) "       \
	"ON CONFLICT (customer_id, group_id) DO UPDATE SET "                                           \
	"	source = 'tier', valid_from = NULL, valid_until = NULL, added_at = pg_catalog.now(), "       \
	"	added_by = session_user"

static CgStatement insert_members = {
	.generic = true,
	.sql = INSERT_MEMBERS("ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))"),
	.argtypes = {INT8ARRAYOID, INT4ARRAYOID}};

static CgStatement insert_member = {
	.generic = true, .sql = INSERT_MEMBERS("(VALUES ($1, $2))"), .argtypes = {INT8OID, INT4OID}};

/* Writes the moves to a tier, or those to none. */
static void
write_members(const CgTierMove *moves, int n, bool to_none)
{
	Datum *customers = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(Datum));
	Datum *groups = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(Datum));
	Datum *columns[] = {customers, groups};
	int    nmoves = 0;

	for (int i = 0; i < n; i++)
		if ((moves[i].to == NULL) == to_none)
		{
			customers[nmoves] = Int64GetDatum(moves[i].customer_id);
			groups[nmoves++] = Int32GetDatum(to_none ? moves[i].from->group_id
													 : moves[i].to->group_id);
		}
	if (to_none)
		cg_delete_members(customers, groups, nmoves);
	else if (nmoves > 0)
		cg_execute_rows(&insert_members, &insert_member, columns, NULL, nmoves);
}

/*
 * Makes moves, ascending by customer, of which one customer has at most one on
 * each ladder.  The customers must be locked, SPI be connected and the user be
 * the owner.
 */
void
cg_move_tiers(const CgTierMove *moves, int n)
{
	const CgTierMove *outer = current;
	int               nouter = ncurrent;

	if (n == 0)
		return;
	current = moves;
	ncurrent = n;
	PG_TRY();
	{
		write_members(moves, n, false);
		write_members(moves, n, true);
	}
	PG_FINALLY();
	{
		current = outer;
		ncurrent = nouter;
	}
	PG_END_TRY();
}

static int
compare_customers(const void *a, const void *b)
{
	int64 x = ((const CgTierMove *) a)->customer_id;
	int64 y = ((const CgTierMove *) b)->customer_id;

	return (x > y) - (x < y);
}

/*
 * The move in progress of a customer to a group, or to none (CG_NONE) of a ladder;
 * NULL when it is not the engine that makes it.
 */
const CgTierMove *
cg_find_move(int64 customer_id, const char *ladder, int32 to)
{
	CgTierMove        key = {.customer_id = customer_id};
	const CgTierMove *at = NULL;

	if (ncurrent > 0)
		at = bsearch(&key, current, ncurrent, sizeof(CgTierMove), compare_customers);
	if (at == NULL)
		return NULL;
	while (at > current && at[-1].customer_id == customer_id)
		at--;
	for (; at < current + ncurrent && at->customer_id == customer_id; at++)
		if (to != CG_NONE ? at->to != NULL && at->to->group_id == to
						  : at->to == NULL && strcmp(at->from->ladder_code, ladder) == 0)
			return at;
	return NULL;
}
