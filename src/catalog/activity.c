/*
 * activity.c
 *		How far something that takes long has come, for those who wait.
 *
 * Others see it in pg_stat_activity: a comment before the text of the query,
 * where tools that cut long queries do not cut it off.  Who waits at the client
 * gets a NOTICE every ten seconds.
 *
 * The text as it was is kept, in TopMemoryContext, from the first report to the
 * end: cg_end_progress(), or an error, also one that a subtransaction ends.  Of
 * one report inside another (of a trigger's, say) the later one is shown.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/activity.h"
#include "strict.h"

#define NOTICE_EVERY_MS 10000

static char       *query;    /* the text as it was; NULL: nothing is reported */
static TimestampTz began_at; /* when it began */
static TimestampTz last_notice;

/* Nothing but the text changes: neither the state and its time, nor the query's id. */
static void
show(const char *text)
{
	volatile PgBackendStatus *entry = MyBEEntry;

	PGSTAT_BEGIN_WRITE_ACTIVITY(entry);
	strlcpy(entry->st_activity_raw, text, pgstat_track_activity_query_size);
	PGSTAT_END_WRITE_ACTIVITY(entry);
}

/* When the query began that is being shown; 0 where none is. */
static TimestampTz
query_began_at(void)
{
	return MyBEEntry == NULL ? 0 : MyBEEntry->st_activity_start_timestamp;
}

/*
 * Says that of a number of customers (negative: it is not known) so many are done.
 */
void
cg_show_progress(const char *what, int64 done, int64 total)
{
	TimestampTz now = GetCurrentTimestamp();
	char       *message;
	char       *text;

	/* What a statement before this one has not ended is no longer shown. */
	if (query != NULL && began_at != query_began_at())
	{
		pfree(query);
		query = NULL;
	}
	if (query == NULL)
	{
		/* Of a backend without an entry, or that does not track, nothing is shown. */
		char *before = MyBEEntry == NULL ? pstrdup("")
										 : pgstat_clip_activity(MyBEEntry->st_activity_raw);

		query = MemoryContextStrdup(TopMemoryContext, before);
		pfree(before);
		began_at = query_began_at();
		last_notice = now;
	}
	if (total >= 0)
		message = psprintf("%s: " INT64_FORMAT " of " INT64_FORMAT " customers", what, done, total);
	else if (done > 0)
		message = psprintf("%s: " INT64_FORMAT " customers", what, done);
	else
		message = pstrdup(what);
	if (MyBEEntry != NULL && pgstat_track_activities && query[0] != '\0')
	{
		text = psprintf("/* %s */ %s", message, query);
		show(text);
		pfree(text);
	}
	if (TimestampDifferenceExceeds(last_notice, now, NOTICE_EVERY_MS))
	{
		last_notice = now;
		ereport(NOTICE, (errmsg("%s", message)));
	}
	pfree(message);
}

/* What was reported is done. */
void
cg_end_progress(void)
{
	char *before = query;

	if (before == NULL)
		return;
	query = NULL;
	if (MyBEEntry != NULL && pgstat_track_activities && before[0] != '\0' &&
		began_at == query_began_at())
		show(before);
	pfree(before);
}

/*
 * report_progress(what, done, total): for functions in SQL, whose last report
 * ends it.
 */
PG_FUNCTION_INFO_V1(cg_report_progress);
Datum
cg_report_progress(PG_FUNCTION_ARGS)
{
	int64 done;
	int64 total;

	CG_STRICT();
	done = PG_GETARG_INT64(1);
	total = PG_GETARG_INT64(2);
	if (done < total)
		cg_show_progress(text_to_cstring(PG_GETARG_TEXT_PP(0)), done, total);
	else
		cg_end_progress();
	PG_RETURN_VOID();
}

static void
end_with_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		cg_end_progress();
}

static void
end_with_subtransaction(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		cg_end_progress();
}

void
cg_activity_init(void)
{
	RegisterXactCallback(end_with_transaction, NULL);
	RegisterSubXactCallback(end_with_subtransaction, NULL);
}
