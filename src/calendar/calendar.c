/*
 * calendar.c
 *		Time zones, calendar days, and the time that a function is asked about.
 *
 * Days are those of a time zone; nothing here reads a table.
 */
#include "postgres.h"

#include "fmgr.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "calendar/calendar.h"
#include "strict.h"

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
	char                    *name;
	pg_tz                   *timezone;

	CG_STRICT();
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
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

/*
 * The first moment of a calendar day in a time zone.  Where clocks are put back
 * at one o'clock, midnight comes twice: SQL takes the second one, and the day
 * begins with the first.
 */
TimestampTz
cg_start_of_day(DateADT day, pg_tz *timezone)
{
	pg_time_t midnight = ((pg_time_t) day + POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	pg_time_t before = midnight - SECS_PER_DAY; /* in any time zone */
	pg_time_t boundary;
	pg_time_t start;
	long int  old_offset;
	long int  new_offset;
	int       old_isdst;
	int       new_isdst;
	int       found;

	if (!IS_VALID_DATE(day))
		found = -1;
	else
		found = pg_next_dst_boundary(&before, &old_offset, &old_isdst, &boundary, &new_offset,
									 &new_isdst, timezone);
	if (found >= 0)
	{
		TimestampTz result;

		start = midnight - old_offset;
		/* Not under the old offset any more: at the change itself, if that leaps over midnight. */
		if (found > 0 && start >= boundary)
			start = Max(boundary, midnight - new_offset);
		result = time_t_to_timestamptz(start);
		if (IS_VALID_TIMESTAMP(result))
			return result;
	}
	ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range"),
					errhint("Give a time from 4713 BC to 294276 AD.")));
	pg_unreachable();
}

/*
 * month_day(day) → int
 */
PG_FUNCTION_INFO_V1(cg_month_day);
Datum
cg_month_day(PG_FUNCTION_ARGS)
{
	DateADT day = PG_GETARG_DATEADT(0);
	int     year, month, mday;

	CG_STRICT();
	if (DATE_NOT_FINITE(day))
		PG_RETURN_NULL();
	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
	PG_RETURN_INT32(month * 100 + mday);
}
