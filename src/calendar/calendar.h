/*
 * calendar.h
 *		What other rooms call of the calendar room.
 */
#ifndef CG_CALENDAR_H
#define CG_CALENDAR_H

#include "postgres.h"

#include "fmgr.h"
#include "pgtime.h"
#include "utils/date.h"
#include "utils/timestamp.h"

extern TimestampTz cg_time_argument(FunctionCallInfo fcinfo, int argno);
extern DateADT     cg_day_of(TimestampTz at, pg_tz *timezone);
extern TimestampTz cg_start_of_day(DateADT day, pg_tz *timezone);

#endif
