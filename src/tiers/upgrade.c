/*
 * upgrade.c
 *		Tiers that upgrade themselves after a booking.
 *
 * On each ladder the customer goes to the highest tier in effect whose threshold
 * the ladder's measure has reached, if that is higher than the present one.  A
 * present tier that is out of its dates, or whose membership is not valid today,
 * counts as none.  The caller holds the customers' facts rows, so that no booking
 * and no new membership of theirs comes between; tiers are read under the
 * latest snapshot at every isolation level, and no group becomes or ceases to be
 * one meanwhile.
 *
 * The lower membership is replaced, and the events are written, by the trigger
 * on members, as for a tier given by hand.
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
#include "catalog/catalog.h"
#include "promotions/promotions.h"
#include "tiers/tiers.h"

/* A tier that a customer has earned. */
typedef struct Earned
{
	int64         customer_id;
	const CgTier *tier;
} Earned;

/* A tier that a customer holds. */
typedef struct Held
{
	int64 customer_id;
	int32 group_id;
	bool  valid; /* the membership is, today */
} Held;

static CgStatement select_window = {
	.generic = true,
	.sql = "SELECT pg_catalog.count(*) FILTER "
		   "			(WHERE kind OPERATOR(pg_catalog.=) 'product'::customer_groups.sale_kind), "
		   "	coalesce(pg_catalog.sum(amount OPERATOR(pg_catalog.*) coalesce(rate, 1)), 0) "
		   "FROM customer_groups.sales "
		   "WHERE customer_id OPERATOR(pg_catalog.=) $1 "
		   "	AND sold_at OPERATOR(pg_catalog.>=) $2 AND sold_at OPERATOR(pg_catalog.<) $3",
	.argtypes = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	.restypes = {INT8OID, NUMERICOID}};

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

static CgStatement insert_members = {
	.generic = true,
	.sql =
		"INSERT INTO customer_groups.members AS m (customer_id, group_id, source) "
		"SELECT customer_id, group_id, 'tier' "
		"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS u (customer_id, "
		"group_id) "
		"ON CONFLICT (customer_id, group_id) DO UPDATE SET "
		"	source = 'tier', valid_from = NULL, valid_until = NULL, added_at = pg_catalog.now(), "
		"	added_by = session_user",
	.argtypes = {INT8ARRAYOID, INT4ARRAYOID}};

static bool
in_effect(const CgTier *tier, DateADT today)
{
	return tier->starts_on <= today && today <= tier->ends_on;
}

/*
 * The measure of a ladder for a customer; of one with a period, over the days
 * that end with the day of the latest sale touched.
 */
static Numeric
measure(const CgTierCase *tier_case, const CgTier *tier, pg_tz *timezone)
{
	Datum     values[3];
	bool      isnull;
	DateADT   last;
	Timestamp before;
	int64     visits = tier_case->visits;
	Numeric   net_sales = tier_case->net_sales;

	if (tier->period != NULL)
	{
		last = cg_day_of(tier_case->latest, timezone);
		before = DatumGetTimestamp(DirectFunctionCall2(
			timestamp_mi_interval, DirectFunctionCall1(date_timestamp, DateADTGetDatum(last)),
			IntervalPGetDatum(tier->period)));
		values[0] = Int64GetDatum(tier_case->customer_id);
		values[1] = TimestampTzGetDatum(cg_start_of_day(
			DatumGetDateADT(DirectFunctionCall1(timestamp_date, TimestampGetDatum(before))) + 1,
			timezone));
		values[2] = TimestampTzGetDatum(cg_start_of_day(last + 1, timezone));
		cg_execute(&select_window, values, NULL);
		visits = DatumGetInt64(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		net_sales = DatumGetNumericCopy(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
		SPI_freetuptable(SPI_tuptable);
	}
	return tier->by_visits ? int64_to_numeric(visits) : net_sales;
}

/*
 * Finds the tiers that a customer has earned, one on each ladder at most.
 * tiers lists those of a ladder together, the highest first.
 */
static int
find_earned(const CgTierCase *tier_case, const CgTiers *tiers, DateADT today, Earned *earned)
{
	int n = 0;
	int i = 0;

	while (i < tiers->n)
	{
		const CgTier *first = &tiers->tiers[i];
		Numeric       reached = measure(tier_case, first, tiers->timezone);
		bool          found = false;

		for (; i < tiers->n && tiers->tiers[i].ladder == first->ladder; i++)
		{
			const CgTier *tier = &tiers->tiers[i];

			if (!found && in_effect(tier, today) &&
				DatumGetBool(DirectFunctionCall2(numeric_ge, NumericGetDatum(reached),
												 NumericGetDatum(tier->threshold))))
			{
				found = true;
				earned[n].customer_id = tier_case->customer_id;
				earned[n++].tier = tier;
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

/* Whether the customer holds a tier of the same ladder that is as high. */
static bool
holds_as_high(const Earned *earned, const CgTiers *tiers, DateADT today, const Held *held,
			  int nheld)
{
	Held        key = {.customer_id = earned->customer_id};
	const Held *at = bsearch(&key, held, nheld, sizeof(Held), compare_held);

	if (at == NULL)
		return false;
	while (at > held && at[-1].customer_id == earned->customer_id)
		at--;
	for (; at < held + nheld && at->customer_id == earned->customer_id; at++)
		for (int i = 0; at->valid && i < tiers->n; i++)
		{
			const CgTier *tier = &tiers->tiers[i];

			if (tier->group_id == at->group_id && tier->ladder == earned->tier->ladder &&
				in_effect(tier, today) &&
				DatumGetBool(DirectFunctionCall2(numeric_ge, NumericGetDatum(tier->threshold),
												 NumericGetDatum(earned->tier->threshold))))
				return true;
		}
	return false;
}

/* The tiers held by those who have earned one. */
static Held *
read_held(const Earned *earned, int n, const CgTiers *tiers, DateADT today, Datum *scratch,
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
	CgTiers tiers;
	DateADT today;
	Earned *earned;
	Held   *held;
	Datum  *customers;
	Datum  *groups;
	Datum   values[2];
	int     nearned = 0;
	int     nheld;
	int     nupgraded = 0;

	if (n == 0 || cg_definitions(GetLatestSnapshot())->ntiers == 0)
		return;
	/* No group becomes a tier or ceases to be one from here on: see groups_changed. */
	table_close(cg_table_open(CG_MEMBERS, RowExclusiveLock), NoLock);
	tiers = cg_copy_tiers();
	if (tiers.n == 0)
		return;
	today = cg_day_of(GetCurrentTransactionStartTimestamp(), tiers.timezone);

	earned = MemoryContextAllocHuge(
		CurrentMemoryContext, (Size) n * (tiers.tiers[tiers.n - 1].ladder + 1) * sizeof(Earned));
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!cases[i].skip)
			nearned += find_earned(&cases[i], &tiers, today, &earned[nearned]);
	}
	if (nearned == 0)
		return;

	customers = MemoryContextAllocHuge(CurrentMemoryContext, nearned * sizeof(Datum));
	groups = MemoryContextAllocHuge(CurrentMemoryContext, nearned * sizeof(Datum));
	held = read_held(earned, nearned, &tiers, today, customers, &nheld);
	for (int i = 0; i < nearned; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (holds_as_high(&earned[i], &tiers, today, held, nheld))
			continue;
		customers[nupgraded] = Int64GetDatum(earned[i].customer_id);
		groups[nupgraded++] = Int32GetDatum(earned[i].tier->group_id);
	}
	if (nupgraded == 0)
		return;
	values[0] = cg_make_array(customers, NULL, nupgraded, INT8OID);
	values[1] = cg_make_array(groups, NULL, nupgraded, INT4OID);
	cg_execute(&insert_members, values, NULL);
}
