/*
 * window.c
 *		What a ladder measures: over the whole time, or over the days of a window.
 *
 * The window of a day D is the days d with D - period < d <= D, in the settings'
 * time zone.  Months differ in length, so that its first day may stand still
 * while D goes on (a month before 30 and before 31 March is 28 February), but it
 * never goes back: a sale enters each window once and leaves it once.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "calendar/calendar.h"
#include "catalog/tables.h"
#include "tiers/tiers.h"
#include "strict.h"

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

bool
cg_in_effect(const CgTier *tier, DateADT day)
{
	return tier->starts_on <= day && day <= tier->ends_on;
}

/* The first day of the window that ends with a day. */
DateADT
cg_window_start(DateADT last, Interval *period)
{
	Datum before = DirectFunctionCall2(timestamp_mi_interval,
									   DirectFunctionCall1(date_timestamp, DateADTGetDatum(last)),
									   IntervalPGetDatum(period));

	return DatumGetDateADT(DirectFunctionCall1(timestamp_date, before)) + 1;
}

/* The last day whose window still has a day in it. */
static DateADT
window_end(DateADT first, Interval *period)
{
	Datum   after = DirectFunctionCall2(timestamp_pl_interval,
										DirectFunctionCall1(date_timestamp, DateADTGetDatum(first)),
										IntervalPGetDatum(period));
	DateADT last = DatumGetDateADT(DirectFunctionCall1(timestamp_date, after));

	/* A few days off at most, where months of different lengths meet. */
	while (cg_window_start(last, period) > first)
		last--;
	while (cg_window_start(last + 1, period) <= first)
		last++;
	return last;
}

/*
 * What a tier's ladder measures for a customer on a day, in the current memory
 * context.  SPI must be connected; reading tells that the active snapshot is to
 * be used.
 */
Numeric
cg_tier_measure(const CgTierCase *tier_case, const CgTier *tier, DateADT day, pg_tz *timezone,
				bool reading)
{
	Datum   values[3];
	bool    isnull;
	int64   visits = tier_case->visits;
	Numeric net_sales = tier_case->net_sales;

	if (tier->period != NULL)
	{
		values[0] = Int64GetDatum(tier_case->customer_id);
		values[1] = TimestampTzGetDatum(
			cg_start_of_day(cg_window_start(day, tier->period), timezone));
		values[2] = TimestampTzGetDatum(cg_start_of_day(day + 1, timezone));
		if (reading)
			cg_execute_as_is(&select_window, values);
		else
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
 * window_end(first date, period interval) → date
 */
PG_FUNCTION_INFO_V1(cg_window_end);
Datum
cg_window_end(PG_FUNCTION_ARGS)
{
	CG_STRICT();
	PG_RETURN_DATEADT(window_end(PG_GETARG_DATEADT(0), PG_GETARG_INTERVAL_P(1)));
}
