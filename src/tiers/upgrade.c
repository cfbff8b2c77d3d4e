/*
 * upgrade.c
 *		Tiers that upgrade themselves after a booking.
 *
 * On each ladder the customer goes to the highest tier in effect whose threshold
 * the ladder's measure has reached, if that is higher than the present one; who
 * has no sale has reached none, not even a threshold of 0.  The measure is that
 * of the day of the latest sale touched, effect that of today.  A present tier that
 * is out of its dates, or whose membership is not valid today, counts as none.
 *
 * The caller holds the customers' facts rows, so that no booking and no new
 * membership of theirs comes between, and a lock on members, so that no group
 * becomes or ceases to be a tier meanwhile (see groups_changed).
 *
 * The lower membership is replaced, and the events are written, by the trigger
 * on members: see moves.c.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/snapmgr.h"

#include "calendar/calendar.h"
#include "catalog/tables.h"
#include "groups/groups.h"
#include "promotions/promotions.h"
#include "tiers/tiers.h"

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

/*
 * The tier in effect that the customer holds of the ladder of the one earned;
 * once it is as high as that, any one as high will do.  The scan is of members.
 */
static const CgTier *
present_tier(CgScan *scan, const CgTierMove *earned, const CgTiers *tiers, DateADT today)
{
	const CgTier *present = NULL;

	cg_scan_id(scan, CG_MEMBERS, GetActiveSnapshot(), earned->customer_id);
	/* The higher ones stand first. */
	while ((present == NULL || present > earned->to) && cg_scan_next(scan))
	{
		bool          isnull;
		const CgTier *tier = cg_find_tier(
			tiers, DatumGetInt32(cg_scan_get(scan, CG_MEMBERS_GROUP_ID, &isnull)));

		if (tier != NULL && tier->ladder == earned->to->ladder && cg_in_effect(tier, today) &&
			(present == NULL || tier < present) && cg_membership_holds(scan, today))
			present = tier;
	}
	return present;
}

/*
 * Upgrades customers, whose facts rows the caller has updated, ascending by id.
 * The snapshot sees what was committed once these were locked, and members.  SPI
 * must be connected and the user be the owner of the tables.
 */
void
cg_upgrade_tiers(const CgTierCase *cases, int n, Snapshot snapshot)
{
	CgTiers     tiers;
	DateADT     today;
	CgTierMove *earned;
	CgScan members = {.lockmode = RowExclusiveLock, .wants = cg_wants_tier, .wants_arg = &tiers};
	int    nearned = 0;
	int    nmoves = 0;

	if (n == 0 || cg_definitions(snapshot)->ntiers == 0)
		return;
	tiers = cg_copy_tiers(snapshot);
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

	CommandCounterIncrement();
	PushCopiedSnapshot(snapshot);
	UpdateActiveSnapshotCommandId();
	for (int i = 0; i < nearned; i++)
	{
		const CgTier *present = present_tier(&members, &earned[i], &tiers, today);

		CHECK_FOR_INTERRUPTS();
		if (present != NULL &&
			DatumGetBool(DirectFunctionCall2(numeric_ge, NumericGetDatum(present->threshold),
											 NumericGetDatum(earned[i].to->threshold))))
			continue;
		earned[nmoves] = earned[i];
		earned[nmoves++].from = present;
	}
	cg_scan_end(&members);
	PopActiveSnapshot();
	cg_move_tiers(earned, nmoves);
}
