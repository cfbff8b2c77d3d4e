/*
 * shop.c
 *		Time zones and calendar days, and the checks of categories and currencies.
 *
 * The triggers here look at more than the rows at hand.  So that two
 * transactions cannot break together what each of them keeps, they take a lock
 * to the end of the transaction first, and then read under the latest snapshot,
 * whatever the isolation level.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "pgtime.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog/catalog.h"
#include "promotions/promotions.h"

/*
 * is_timezone(text): not for a name that SQL's AT TIME ZONE takes as an
 * abbreviation with another meaning (CET is Central European Time to SET
 * timezone, and an hour east of Greenwich all year to AT TIME ZONE).
 */
PG_FUNCTION_INFO_V1(cg_is_timezone);
Datum
cg_is_timezone(PG_FUNCTION_ARGS)
{
	/* 2024-01-15 and 2024-07-15, noon UTC: summer in one half of the world or the other. */
	static const TimestampTz samples[] = {INT64CONST(758635200000000), INT64CONST(774360000000000)};
	char                    *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	pg_tz                   *timezone;

	if (strlen(name) > TZ_STRLEN_MAX)
		PG_RETURN_BOOL(false);
	timezone = pg_tzset(name);
	if (timezone == NULL || !pg_tz_acceptable(timezone))
		PG_RETURN_BOOL(false);
	for (int i = 0; i < (int) lengthof(samples); i++)
	{
		struct pg_tm tm;
		fsec_t       fsec;
		int          tz;
		Timestamp    ours;

		if (timestamp2tm(samples[i], &tz, &tm, &fsec, NULL, timezone) != 0 ||
			tm2timestamp(&tm, fsec, NULL, &ours) != 0 ||
			ours != DatumGetTimestamp(DirectFunctionCall2(timestamptz_zone, PG_GETARG_DATUM(0),
														  TimestampTzGetDatum(samples[i]))))
			PG_RETURN_BOOL(false);
	}
	PG_RETURN_BOOL(true);
}

/* The time that a function is asked about; raises 22004 for null and 22023 for an infinite one. */
TimestampTz
cg_time_argument(FunctionCallInfo fcinfo, int argno)
{
	TimestampTz at;

	if (PG_ARGISNULL(argno))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("at must not be null"),
						errhint("Leave the argument out to get its default.")));
	at = PG_GETARG_TIMESTAMPTZ(argno);
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid time"),
						errdetail("The time is %s.", at == DT_NOEND ? "infinity" : "-infinity"),
						errhint("Give a finite time.")));
	return at;
}

/*
 * The calendar day of a finite time in a time zone.  The last answer is kept:
 * most statements ask for one time only.
 */
DateADT
cg_day_of(TimestampTz at, pg_tz *timezone)
{
	static TimestampTz last_at;
	static pg_tz      *last_timezone;
	static DateADT     last_day;
	struct pg_tm       tm;
	fsec_t             fsec;
	int                tz;

	if (timezone == last_timezone && at == last_at)
		return last_day;
	if (timestamp2tm(at, &tz, &tm, &fsec, NULL, timezone) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range"),
				 errhint("Give a time from 4713 BC to 294276 AD.")));
	last_day = date2j(tm.tm_year, tm.tm_mon, tm.tm_mday) - POSTGRES_EPOCH_JDATE;
	last_at = at;
	last_timezone = timezone;
	return last_day;
}

/* The first moment of a calendar day in a time zone. */
TimestampTz
cg_start_of_day(DateADT day, pg_tz *timezone)
{
	struct pg_tm tm = {0};
	TimestampTz  result;
	int          tz;

	j2date(day + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	tz = DetermineTimeZoneOffset(&tm, timezone);
	if (tm2timestamp(&tm, 0, &tz, &result) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range"),
				 errhint("Give a time from 4713 BC to 294276 AD.")));
	return result;
}

/*
 * Trigger lock_categories: BEFORE STATEMENT, so that the lock comes before
 * those of rows.
 */
PG_FUNCTION_INFO_V1(cg_lock_categories);
Datum
cg_lock_categories(PG_FUNCTION_ARGS)
{
	cg_check_trigger(fcinfo, "lock_categories", CG_CATEGORIES, TRIGGER_EVENT_BEFORE);
	cg_lock_definition(CG_CATEGORIES);
	return PointerGetDatum(NULL);
}

/*
 * Trigger check_categories: AFTER STATEMENT.  The rows that go round in a circle
 * are those that a walk upwards meets again.
 */
PG_FUNCTION_INFO_V1(cg_check_categories);
Datum
cg_check_categories(PG_FUNCTION_ARGS)
{
	static CgStatement select_cycle = {
		.sql = "WITH RECURSIVE up (id, ancestor) AS ("
			   "	SELECT id, parent_id FROM customer_groups.categories "
			   "	WHERE id OPERATOR(pg_catalog.=) ANY ($1) AND parent_id IS NOT NULL "
			   "	UNION "
			   "	SELECT up.id, c.parent_id FROM up "
			   "	JOIN customer_groups.categories c ON c.id OPERATOR(pg_catalog.=) up.ancestor "
			   "	WHERE c.parent_id IS NOT NULL AND up.ancestor OPERATOR(pg_catalog.<>) up.id) "
			   "SELECT c.code FROM up "
			   "JOIN customer_groups.categories c ON c.id OPERATOR(pg_catalog.=) up.id "
			   "WHERE up.ancestor OPERATOR(pg_catalog.=) up.id ORDER BY c.id LIMIT 1",
		.argtypes = {INT4ARRAYOID}};
	TriggerData *trigdata = cg_check_trigger(fcinfo, "check_categories", CG_CATEGORIES,
											 TRIGGER_EVENT_AFTER);
	Datum        ids;
	CgUser       saved;

	if (trigdata->tg_newtable == NULL)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("check_categories needs the new rows")));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	ids = cg_transition_column(trigdata->tg_newtable, RelationGetDescr(trigdata->tg_relation), "id",
							   INT4OID);
	cg_become_owner(CG_CATEGORIES, &saved);
	if (cg_execute_latest(&select_cycle, &ids, NULL) > 0)
	{
		char *code = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
						errmsg("categories must not go round in a circle"),
						errdetail("Category \"%s\" would be part of itself.", code),
						errhint("Give it a parent that is not below it.")));
	}
	cg_restore_user(&saved);
	SPI_finish();
	return PointerGetDatum(NULL);
}

/* The text of a column of settings, or the default without a row. */
static char *
settings_currency(HeapTuple tuple, TupleDesc desc)
{
	char *value = tuple == NULL ? NULL : SPI_getvalue(tuple, desc, SPI_fnumber(desc, "currency"));

	return value == NULL ? pstrdup("USD") : value;
}

/*
 * Trigger check_currency: AFTER ROW, on settings and stores.  It waits for the
 * sales in progress, which do not see the change, and keeps others waiting, so
 * that none is booked in a currency that is no longer the one it was meant in.
 */
PG_FUNCTION_INFO_V1(cg_check_currency);
Datum
cg_check_currency(PG_FUNCTION_ARGS)
{
	static CgStatement select_any_sale = {.sql = "SELECT FROM customer_groups.sales LIMIT 1"};
	static CgStatement select_store_sale = {
		.sql = "SELECT FROM customer_groups.sales WHERE store_id OPERATOR(pg_catalog.=) $1 LIMIT 1",
		.argtypes = {INT4OID}};
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	bool         of_store = CALLED_AS_TRIGGER(fcinfo) &&
					strcmp(RelationGetRelationName(trigdata->tg_relation), "stores") == 0;
	CgTable   table = of_store ? CG_STORES : CG_SETTINGS;
	TupleDesc desc;
	char     *before;
	char     *after;
	Datum     id = (Datum) 0;
	CgUser    saved;

	trigdata = cg_check_trigger(fcinfo, "check_currency", table,
								TRIGGER_EVENT_ROW | TRIGGER_EVENT_AFTER);
	desc = RelationGetDescr(trigdata->tg_relation);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
	{
		before = settings_currency(NULL, desc);
		after = settings_currency(trigdata->tg_trigtuple, desc);
	}
	else
	{
		before = settings_currency(trigdata->tg_trigtuple, desc);
		after = settings_currency(
			TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple : NULL, desc);
	}

	if (strcmp(before, after) != 0)
	{
		bool isnull;

		table_close(cg_table_open(CG_SALES, ShareRowExclusiveLock), NoLock);
		if (of_store)
			id = heap_getattr(trigdata->tg_trigtuple, SPI_fnumber(desc, "id"), desc, &isnull);
		cg_become_owner(CG_SALES, &saved);
		if (cg_execute_latest(of_store ? &select_store_sale : &select_any_sale, &id, NULL) > 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the currency cannot be changed once there are sales in it"),
					 of_store ? errdetail("Store %d has sales in %s.", DatumGetInt32(id), before)
							  : errdetail("There are sales counted in %s.", before),
					 errhint("Make a new store for the other currency, and set the settings "
							 "before the first sale.")));
		cg_restore_user(&saved);
	}
	SPI_finish();
	return PointerGetDatum(NULL);
}
