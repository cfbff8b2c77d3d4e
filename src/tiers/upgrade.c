/*
 * upgrade.c
 *		Tiers that upgrade themselves after a booking.
 *
 * On each ladder the customer goes to the highest tier in effect whose threshold
 * the ladder's measure has reached, if that is higher than the present one; who
 * has no sale has reached none, not even a threshold of 0.  The measure is that
 * of the day of the latest sale touched, effect that of today.  A present tier that is out of its dates, or whose membership is not valid today,
 * counts as none.  The caller holds the customers' facts rows, so that no booking
 * and no new membership of theirs comes between; tiers are read under the
 * latest snapshot at every isolation level, and no group becomes or ceases to be
 * one meanwhile.
 *
 * The lower membership is replaced, and the events are written, by the trigger
 * on members: see moves.c.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/snapmgr.h"

#include "calendar/calendar.h"
#include "catalog/tables.h"
#include "promotions/promotions.h"
#include "tiers/tiers.h"

/* A tier that a customer holds. */
typedef struct Held
{
	int64 customer_id;
	int32 group_id;
	bool  valid; /* the membership is, today */
} Held;

static CgStatement select_held = {
	.generic = true,
	.sql = "SELECT customer_id, group_id, "
		   "	coalesce(valid_from OPERATOR(pg_catalog.<=) $3, true) "
		   "		AND coalesce(valid_until OPERATOR(pg_catalog.>=) $3, true) "
		   "FROM customer_groups.members "
		   "WHERE customer_id OPERATOR(pg_catalog.=) ANY ($1) "
		   "	AND group_id OPERATOR(pg_catalog.=) ANY ($2) "
		   "ORDER BY customer_id",
	.argtypes = {INT8ARRAYOID, INT4ARRAYOID, DATEOID},
	.restypes = {INT8OID, INT4OID, BOOLOID}};

/*
 * Finds the tiers that a customer has earned, one on each ladder at most.
 * tiers lists those of a ladder together, the highest first.
 */
static int
find_earned(const CgTierCase *tier_case, const CgTiers *tiers, DateADT today, CgTierMove *earned)
{
	DateADT day = cg_day_of(tier_case->latest, tiers->timezone);
	int     n = 0;
	int     i = 0;

	if (!tier_case->has_sales)
		return 0;
	while (i < tiers->n)
	{
		const CgTier *first = &tiers->tiers[i];
		Numeric       measure = cg_tier_measure(tier_case, first, day, tiers->timezone, false);
		bool          found = false;

		for (; i < tiers->n && tiers->tiers[i].ladder == first->ladder; i++)
		{
			const CgTier *tier = &tiers->tiers[i];

			if (!found && cg_in_effect(tier, today) &&
				DatumGetBool(DirectFunctionCall2(numeric_ge, NumericGetDatum(measure),
												 NumericGetDatum(tier->threshold))))
			{
				found = true;
				earned[n].customer_id = tier_case->customer_id;
				earned[n].from = NULL;
				earned[n].to = tier;
				earned[n++].measure = measure;
			}
		}
	}
	return n;
}

static int
compare_held(const void *a, const void *b)
{
	int64 x = ((const Held *) a)->customer_id;
	int64 y = ((const Held *) b)->customer_id;

	return (x > y) - (x < y);
}

/* The tier in effect that the customer holds of the ladder of the one earned. */
static const CgTier *
present_tier(const CgTierMove *earned, const CgTiers *tiers, DateADT today, const Held *held,
			 int nheld)
{
	Held          key = {.customer_id = earned->customer_id};
	const Held   *at = bsearch(&key, held, nheld, sizeof(Held), compare_held);
	const CgTier *present = NULL;

	if (at == NULL)
		return NULL;
	while (at > held && at[-1].customer_id == earned->customer_id)
		at--;
	for (; at < held + nheld && at->customer_id == earned->customer_id; at++)
		for (int i = 0; at->valid && i < tiers->n; i++)
		{
			const CgTier *tier = &tiers->tiers[i];

			/* The higher ones stand first. */
			if (tier->group_id == at->group_id && tier->ladder == earned->to->ladder &&
				cg_in_effect(tier, today) && (present == NULL || tier < present))
				present = tier;
		}
	return present;
}

/* The tiers held by those who have earned one. */
static Held *
read_held(const CgTierMove *earned, int n, const CgTiers *tiers, DateADT today, Datum *scratch,
		  int *nheld)
{
	Datum  values[3];
	Datum *group_ids = palloc(tiers->n * sizeof(Datum));
	Held  *held;

	for (int i = 0; i < n; i++)
		scratch[i] = Int64GetDatum(earned[i].customer_id);
	values[0] = cg_make_array(scratch, NULL, n, INT8OID);
	for (int i = 0; i < tiers->n; i++)
		group_ids[i] = Int32GetDatum(tiers->tiers[i].group_id);
	values[1] = cg_make_array(group_ids, NULL, tiers->n, INT4OID);
	values[2] = DateADTGetDatum(today);
	*nheld = cg_execute(&select_held, values, NULL);
	held = MemoryContextAllocHuge(CurrentMemoryContext, (*nheld + 1) * sizeof(Held));
	for (int i = 0; i < *nheld; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		bool      isnull;

		held[i].customer_id = DatumGetInt64(
			SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		held[i].group_id = DatumGetInt32(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
		held[i].valid = DatumGetBool(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return held;
}

/*
 * Upgrades customers, whose facts rows the caller has updated, ascending by id.
 * SPI must be connected and the user be the owner of the tables.
 */
void
cg_upgrade_tiers(const CgTierCase *cases, int n)
{
	CgTiers     tiers;
	DateADT     today;
	CgTierMove *earned;
	Held       *held;
	Datum      *scratch;
	int         nearned = 0;
	int         nheld;
	int         nmoves = 0;

	if (n == 0 || cg_definitions(GetLatestSnapshot())->ntiers == 0)
		return;
	/* No group becomes a tier or ceases to be one from here on: see groups_changed. */
	table_close(cg_table_open(CG_MEMBERS, RowExclusiveLock), NoLock);
	tiers = cg_copy_tiers();
	if (tiers.n == 0)
		return;
	today = cg_day_of(GetCurrentTransactionStartTimestamp(), tiers.timezone);

	earned = MemoryContextAllocHuge(CurrentMemoryContext,
									(Size) n * (tiers.tiers[tiers.n - 1].ladder + 1) *
										sizeof(CgTierMove));
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!cases[i].skip)
			nearned += find_earned(&cases[i], &tiers, today, &earned[nearned]);
	}
	if (nearned == 0)
		return;

	scratch = MemoryContextAllocHuge(CurrentMemoryContext, nearned * sizeof(Datum));
	held = read_held(earned, nearned, &tiers, today, scratch, &nheld);
	for (int i = 0; i < nearned; i++)
	{
		const CgTier *present = present_tier(&earned[i], &tiers, today, held, nheld);

		CHECK_FOR_INTERRUPTS();
		if (present != NULL &&
			DatumGetBool(DirectFunctionCall2(numeric_ge, NumericGetDatum(present->threshold),
											 NumericGetDatum(earned[i].to->threshold))))
			continue;
		earned[nmoves] = earned[i];
		earned[nmoves++].from = present;
	}
	cg_move_tiers(earned, nmoves);
}
