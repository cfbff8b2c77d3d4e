/*
 * progress.c
 *		The SQL functions that say where a customer stands on a ladder.
 *
 * They answer under the active snapshot and only read.  A null customer is an
 * anonymous one, who has no tier.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "calendar/calendar.h"
#include "catalog/tables.h"
#include "groups/groups.h"
#include "promotions/promotions.h"
#include "tiers/tiers.h"

static CgStatement select_ladder = {.generic = true,
									.sql = "SELECT FROM customer_groups.ladders "
										   "WHERE code OPERATOR(pg_catalog.=) $1",
									.argtypes = {TEXTOID}};

/* The tiers of a ladder in effect on a day, the highest first. */
typedef struct Ladder
{
	int            n;
	const CgTier **tiers;
	const CgTier  *any; /* a tier, in effect or not; NULL: there is none */
} Ladder;

/*
 * Looks a ladder up among the definitions of the active snapshot; raises 22004
 * for a null one and 02000 for an unknown one.  SPI must be connected.
 */
static Ladder
find_ladder(FunctionCallInfo fcinfo, int argno, const CgDefinitions *definitions, DateADT day)
{
	Ladder ladder = {.tiers = palloc((definitions->ntiers + 1) * sizeof(CgTier *))};
	Datum  value;
	char  *code;

	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("the ladder must not be null"),
				 errhint("Give the code of a ladder, or leave it out for the ladder "
						 "\"default\".")));
	value = PG_GETARG_DATUM(argno);
	code = TextDatumGetCString(value);
	for (int i = 0; i < definitions->ntiers; i++)
	{
		const CgTier *tier = &definitions->tiers[i];

		if (strcmp(tier->ladder_code, code) != 0)
			continue;
		ladder.any = tier;
		if (cg_in_effect(tier, day))
			ladder.tiers[ladder.n++] = tier;
	}
	if (ladder.any == NULL && strcmp(code, "default") != 0 &&
		cg_execute_as_is(&select_ladder, &value) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA), errmsg("unknown ladder"),
						errdetail("There is no ladder with code \"%s\".", code),
						errhint("Insert it first, or give the code of an existing one.")));
	return ladder;
}

/* Reads the facts of a customer; raises 02000 for an unknown one. */
static CgTierCase
read_facts(int64 customer_id, Snapshot snapshot)
{
	CgTierCase result = {.customer_id = customer_id};
	CgScan     scan;
	bool       isnull;

	cg_scan_begin(&scan, CG_CUSTOMER_FACTS, snapshot, 1, Int64GetDatum(customer_id), 0);
	if (!cg_scan_next(&scan))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA), errmsg("unknown customer"),
						errdetail("There is no customer with id " INT64_FORMAT ".", customer_id),
						errhint("Insert it first, or ask with the id of an existing one.")));
	result.visits = DatumGetInt64(cg_scan_get(&scan, CG_CUSTOMER_FACTS_VISITS, &isnull));
	result.net_sales = DatumGetNumericCopy(
		cg_scan_get(&scan, CG_CUSTOMER_FACTS_NET_SALES, &isnull));
	cg_scan_end(&scan);
	return result;
}

/* The tier of a ladder that a customer holds on a day; NULL: none. */
static const CgTier *
find_held(int64 customer_id, const Ladder *ladder, DateADT day, Snapshot snapshot)
{
	int    place = ladder->n;
	CgScan scan;

	cg_scan_begin(&scan, CG_MEMBERS, snapshot, 1, Int64GetDatum(customer_id), 0);
	while (cg_scan_next(&scan))
	{
		bool  isnull;
		int32 group_id;

		if (!cg_membership_holds(&scan, day))
			continue;
		group_id = DatumGetInt32(cg_scan_get(&scan, CG_MEMBERS_GROUP_ID, &isnull));
		for (int i = 0; i < place; i++)
			if (ladder->tiers[i]->group_id == group_id)
				place = i;
	}
	cg_scan_end(&scan);
	return place < ladder->n ? ladder->tiers[place] : NULL;
}

/*
 * tier_of(customer_id, ladder) → text
 */
PG_FUNCTION_INFO_V1(cg_tier_of);
Datum
cg_tier_of(PG_FUNCTION_ARGS)
{
	Snapshot             snapshot = GetActiveSnapshot();
	const CgDefinitions *definitions;
	const CgTier        *held = NULL;
	DateADT              day;
	Ladder               ladder;
	MemoryContext        caller = CurrentMemoryContext;
	text                *result = NULL;

	cg_check_view();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	definitions = cg_definitions(snapshot);
	day = cg_day_of(GetCurrentTransactionStartTimestamp(), definitions->settings.timezone);
	ladder = find_ladder(fcinfo, 1, definitions, day);
	if (!PG_ARGISNULL(0))
	{
		held = find_held(PG_GETARG_INT64(0), &ladder, day, snapshot);
		if (held == NULL)
			(void) read_facts(PG_GETARG_INT64(0), snapshot); /* a customer there must be */
	}
	if (held != NULL)
	{
		MemoryContextSwitchTo(caller);
		result = cstring_to_text(held->code);
	}
	SPI_finish();
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}

/*
 * tier_progress(customer_id, ladder, at)
 * 		→ (tier, measure, next_tier, next_threshold, remaining)
 */
PG_FUNCTION_INFO_V1(cg_tier_progress);
Datum
cg_tier_progress(PG_FUNCTION_ARGS)
{
	TimestampTz          at = cg_time_argument(fcinfo, 2);
	Snapshot             snapshot = GetActiveSnapshot();
	const CgDefinitions *definitions;
	DateADT              day;
	Ladder               ladder;
	TupleDesc            desc;
	Datum                values[5] = {0};
	bool                 nulls[5] = {true, true, true, true, true};
	MemoryContext        caller = CurrentMemoryContext;
	HeapTuple            tuple;

	cg_check_view();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "tier_progress does not return a row");
	desc = BlessTupleDesc(desc);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	definitions = cg_definitions(snapshot);
	day = cg_day_of(at, definitions->settings.timezone);
	ladder = find_ladder(fcinfo, 1, definitions, day);
	if (!PG_ARGISNULL(0))
	{
		CgTierCase    tier_case = read_facts(PG_GETARG_INT64(0), snapshot);
		const CgTier *held = find_held(tier_case.customer_id, &ladder, day, snapshot);
		const CgTier *next = NULL;

		/* Of those that are higher the lowest; of equal ones the lower id, which stands first. */
		for (int i = 0; i < ladder.n; i++)
		{
			const CgTier *tier = ladder.tiers[i];

			if ((held == NULL ||
				 DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(tier->threshold),
												  NumericGetDatum(held->threshold)))) &&
				(next == NULL ||
				 DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(tier->threshold),
												  NumericGetDatum(next->threshold)))))
				next = tier;
		}
		if (held != NULL)
		{
			values[0] = CStringGetTextDatum(held->code);
			nulls[0] = false;
		}
		if (ladder.any != NULL)
		{
			values[1] = NumericGetDatum(
				cg_tier_measure(&tier_case, ladder.any, day, definitions->settings.timezone, true));
			nulls[1] = false;
		}
		if (next != NULL)
		{
			Datum zero = NumericGetDatum(int64_to_numeric(0));

			values[2] = CStringGetTextDatum(next->code);
			values[3] = NumericGetDatum(next->threshold);
			values[4] = DirectFunctionCall2(numeric_larger, zero,
											DirectFunctionCall2(numeric_sub, values[3], values[1]));
			nulls[2] = nulls[3] = nulls[4] = false;
		}
	}
	MemoryContextSwitchTo(caller);
	tuple = heap_form_tuple(desc, values, nulls);
	SPI_finish();
	PG_RETURN_DATUM(HeapTupleGetDatum(tuple));
}
