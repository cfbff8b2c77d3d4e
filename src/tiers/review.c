/*
 * review.c
 *		review_tiers(): brings all customers of a ladder where they belong.
 *
 * A customer whom a review moves is one who has earned a higher tier than the
 * present one, or, where the ladder lowers, holds an earned tier (source 'tier')
 * whose threshold the measure of the day no longer reaches and whose grace is
 * over.  Grace begins at the end of the last day whose window, over the present
 * sales, reached the threshold; without such a day when the membership was
 * added.  One query (JUDGE) says who that is and is used twice:
 *
 * 1. A first pass over everybody, without locks, through a cursor: it gives the
 *    customers to be moved, in the order of their ids.
 * 2. They are locked in that order, a batch at a time, by updating their facts
 *    rows, and judged again under a snapshot taken after the locks.  Who is
 *    still to be moved is moved.
 *
 * So memory is that of a batch, and of the facts rows only those are written
 * whose customers move.  The result is right whatever is booked meanwhile:
 *
 * - The customers of a batch are locked when they are judged for good: nothing
 *   of theirs is in progress, and all that was is seen.
 * - A booking that was in progress when the first pass began has updated the
 *   facts row of its customer, or will after it.  In the former case the row has
 *   a deleter that is not committed (its xmax is set), and the first pass takes
 *   such customers too, moved or not: the review waits for the booking and sees
 *   it.  A refund in progress lowers.  (An xmax that a rolled-back booking or a
 *   mere row lock left makes a customer be locked and judged for nothing; the
 *   update of its facts row takes it away.)
 * - A booking that takes its facts row after the first pass has read it comes
 *   after the review: it judges its customer by itself under a snapshot that it
 *   takes then, and what it does not raise a review of that moment would not
 *   have seen either.
 *
 * At REPEATABLE READ and above all is judged by the transaction's snapshot, and
 * to wait for a booking would only be to fail: so only customers to be moved
 * are locked.  One of them that was booked since is a serialization failure;
 * every other booking comes after the review.
 *
 * Definitions are those of the latest snapshot at every level, and no group
 * becomes or ceases to be a tier, nor is its threshold raised, from then on to
 * the end of the transaction: see groups_changed in members.c.
 *
 * A dry run is the first pass alone, locks nothing and waits for nobody.
 * Everything runs as the owner of the tables.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "calendar/calendar.h"
#include "catalog/activity.h"
#include "catalog/tables.h"
#include "promotions/promotions.h"
#include "sales/sales.h"
#include "tiers/tiers.h"

#define BATCH 10000 /* customers locked and judged at once */

/*
 * $1 customers, $2 thresholds of the tiers in effect, ascending, $3 their
 * groups, $4 whether visits are measured, $5 period, $6 and $7 begin and end of
 * the window, $8 grace (null: nobody is lowered), $9 time zone, $10 at,
 * $11 whether customers with a booking in progress are to be returned as well.
 *
 * held and earned are places in $2, 0 for none; of equal thresholds the last
 * place is that of the lower id.  A last day is found from the days on which a
 * sale enters the window and those on which it has left it, between which the
 * measure stands still.
 */
#define DAY "($10 AT TIME ZONE $9)::pg_catalog.date"
#define JUDGE(chosen)                                                                              \
	"WITH judged AS MATERIALIZED ( "                                                               \
	"	SELECT e.customer_id, e.held, e.earned, e.measure, e.busy, e.added_at, "                     \
	"		$2[e.held] AS threshold, o.raised, o.falls "                                                \
	"	FROM (SELECT f.customer_id, f.skip_auto_upgrade, h.source, h.added_at, m.measure, "          \
	"				f.xmax OPERATOR(pg_catalog.<>) '0'::pg_catalog.xid AND $11 AS busy, "                     \
	"				coalesce(h.place, 0) AS held, "                                                           \
	"				CASE WHEN f.visits OPERATOR(pg_catalog.+) f.refunds OPERATOR(pg_catalog.+) "              \
	"						f.prepaid_purchases OPERATOR(pg_catalog.+) f.pass_purchases "                           \
	"						OPERATOR(pg_catalog.+) f.no_shows OPERATOR(pg_catalog.>) 0 "                            \
	"					THEN pg_catalog.width_bucket(m.measure, $2) ELSE 0 END AS earned "                       \
	"		  FROM customer_groups.customer_facts f "                                                   \
	"		  LEFT JOIN (SELECT s.customer_id, CASE WHEN $4 "                                           \
	"							THEN (pg_catalog.count(*) FILTER (WHERE s.kind "                                       \
	"OPERATOR(pg_catalog.=) "                                                                      \
	"								'product'::customer_groups.sale_kind))::pg_catalog.numeric "                          \
	"							ELSE pg_catalog.sum(s.amount OPERATOR(pg_catalog.*) "                                  \
	"coalesce(s.rate, 1)) END "                                                                    \
	"							AS measure "                                                                           \
	"					 FROM customer_groups.sales s "                                                          \
	"					 WHERE $5 IS NOT NULL AND s.sold_at OPERATOR(pg_catalog.>=) $6 "                         \
	"						AND s.sold_at OPERATOR(pg_catalog.<) $7 AND s." chosen " "             \
	"					 GROUP BY s.customer_id) w "                                                             \
	"				ON w.customer_id OPERATOR(pg_catalog.=) f.customer_id "                                   \
	"		  LEFT JOIN (SELECT m.customer_id, m.source, m.added_at, "                                  \
	"							pg_catalog.array_position($3, m.group_id) AS place "                                   \
	"					 FROM customer_groups.members m "                                                        \
	"					 WHERE m.group_id OPERATOR(pg_catalog.=) ANY ($3) AND m." chosen " "       \
	"						AND coalesce(m.valid_from OPERATOR(pg_catalog.<=) " DAY ", true) "     \
	"						AND coalesce(m.valid_until OPERATOR(pg_catalog.>=) " DAY ", true)) h " \
	"				ON h.customer_id OPERATOR(pg_catalog.=) f.customer_id "                                   \
	"		  CROSS JOIN LATERAL (SELECT CASE WHEN $5 IS NOT NULL THEN coalesce(w.measure, 0) "         \
	"				WHEN $4 THEN f.visits::pg_catalog.numeric ELSE f.net_sales END AS measure) m "            \
	"		  WHERE f." chosen ") e "                                                              \
	"	CROSS JOIN LATERAL (SELECT coalesce($2[e.earned], '-1') AS earned, "                         \
	"							coalesce($2[e.held], '-1') AS held) t "                                                \
	"	CROSS JOIN LATERAL (SELECT "                                                                 \
	"			NOT e.skip_auto_upgrade AND t.earned OPERATOR(pg_catalog.>) t.held AS raised, "            \
	"			NOT e.skip_auto_upgrade AND t.earned OPERATOR(pg_catalog.<) t.held "                       \
	"				AND e.source OPERATOR(pg_catalog.=) 'tier' AND $8 IS NOT NULL AS falls) o "               \
	"	WHERE o.raised OR o.falls OR e.busy "                                                        \
	"), last_days AS ( "                                                                           \
	"	SELECT r.customer_id, pg_catalog.max(coalesce(r.until, " DAY ")) AS day "                  \
	"	FROM (SELECT j.customer_id, j.threshold, "                                                   \
	"				pg_catalog.lead(c.day) OVER days OPERATOR(pg_catalog.-) 1 AS until, "                     \
	"				pg_catalog.sum(pg_catalog.sum(c.change)) OVER days AS measure "                           \
	"		  FROM judged j "                                                                           \
	"		  JOIN customer_groups.sales s ON s.customer_id OPERATOR(pg_catalog.=) j.customer_id "      \
	"		  CROSS JOIN LATERAL (SELECT (s.sold_at AT TIME ZONE $9)::pg_catalog.date AS day, "         \
	"				CASE WHEN NOT $4 THEN s.amount OPERATOR(pg_catalog.*) coalesce(s.rate, 1) "               \
	"					WHEN s.kind OPERATOR(pg_catalog.=) 'product'::customer_groups.sale_kind "                \
	"					THEN 1 ELSE 0 END AS change) v "                                                         \
	"		  CROSS JOIN LATERAL (VALUES (v.day, v.change), "                                           \
	"				(customer_groups.window_end(v.day, $5) OPERATOR(pg_catalog.+) 1, "                        \
	"				 0 OPERATOR(pg_catalog.-) v.change)) AS c (day, change) "                                 \
	"		  WHERE j.falls AND s.sold_at OPERATOR(pg_catalog.<) $7 "                                   \
	"				AND c.day OPERATOR(pg_catalog.<=) " DAY " "                                    \
	"		  GROUP BY j.customer_id, j.threshold, c.day "                                              \
	"		  WINDOW days AS (PARTITION BY j.customer_id ORDER BY c.day)) r "                           \
	"	WHERE r.measure OPERATOR(pg_catalog.>=) r.threshold "                                        \
	"	GROUP BY r.customer_id "                                                                     \
	") "                                                                                           \
	"SELECT j.customer_id, j.held, j.earned, j.measure, m.moves, pg_catalog.count(*) OVER () "     \
	"FROM judged j "                                                                               \
	"LEFT JOIN last_days l ON l.customer_id OPERATOR(pg_catalog.=) j.customer_id "                 \
	"CROSS JOIN LATERAL (SELECT j.raised OR (j.falls AND $10 AT TIME ZONE $9 "                     \
	"OPERATOR(pg_catalog.>=) "                                                                     \
	"	(coalesce((l.day OPERATOR(pg_catalog.+) 1)::pg_catalog.timestamp, j.added_at AT TIME "       \
	"ZONE $9) "                                                                                    \
	"		OPERATOR(pg_catalog.+) $8)) AS moves) m "                                                   \
	"WHERE m.moves OR j.busy "                                                                     \
	"ORDER BY j.customer_id, j.held DESC "

#define JUDGE_TYPES                                                                                \
	{                                                                                              \
		INT8ARRAYOID, NUMERICARRAYOID, INT4ARRAYOID, BOOLOID, INTERVALOID, TIMESTAMPTZOID,         \
			TIMESTAMPTZOID, INTERVALOID, TEXTOID, TIMESTAMPTZOID, BOOLOID                          \
	}
#define JUDGE_NARGS 11
#define JUDGED_TYPES                                                                               \
	{                                                                                              \
		INT8OID, INT4OID, INT4OID, NUMERICOID, BOOLOID, INT8OID                                    \
	}

/*
 * Planned anew each time: a plan that was made while a table was empty would scan
 * it for each customer ever after.
 */
static CgStatement judge_all = {.custom = true,
								.sql = JUDGE("customer_id IS NOT NULL "),
								.argtypes = JUDGE_TYPES,
								.restypes = JUDGED_TYPES};

static CgStatement judge_some = {.custom = true,
								 .sql = JUDGE("customer_id OPERATOR(pg_catalog.=) ANY ($1) "),
								 .argtypes = JUDGE_TYPES,
								 .restypes = JUDGED_TYPES};

static CgStatement select_ladder = {.generic = true,
									.sql = "SELECT FROM customer_groups.ladders "
										   "WHERE code OPERATOR(pg_catalog.=) $1",
									.argtypes = {TEXTOID}};

/* The ladder under review: its tiers in effect, the lowest first. */
typedef struct Review
{
	int            n;
	const CgTier **tiers;
	Datum          values[JUDGE_NARGS];
	char           nulls[JUDGE_NARGS + 1];
} Review;

static void
check_arguments(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("the ladder must not be null"),
				 errhint("Give the code of a ladder.")));
	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("dry_run must not be null"),
						errhint("Give true or false.")));
}

/*
 * Prepares the review of a ladder on the day of a time; raises 02000 for an
 * unknown one.
 */
static void
begin_review(Review *review, Datum ladder, TimestampTz at)
{
	CgTiers       tiers = cg_copy_tiers(GetLatestSnapshot());
	char         *code = TextDatumGetCString(ladder);
	DateADT       day = cg_day_of(at, tiers.timezone);
	const CgTier *any = NULL;
	Datum        *thresholds = palloc((tiers.n + 1) * sizeof(Datum));
	Datum        *groups = palloc((tiers.n + 1) * sizeof(Datum));

	review->n = 0;
	review->tiers = palloc((tiers.n + 1) * sizeof(CgTier *));
	for (int i = tiers.n - 1; i >= 0; i--)
	{
		const CgTier *tier = &tiers.tiers[i];

		if (strcmp(tier->ladder_code, code) != 0)
			continue;
		any = tier;
		if (!cg_in_effect(tier, day))
			continue;
		thresholds[review->n] = NumericGetDatum(tier->threshold);
		groups[review->n] = Int32GetDatum(tier->group_id);
		review->tiers[review->n++] = tier;
	}
	if (any == NULL && strcmp(code, "default") != 0 &&
		cg_execute_latest(&select_ladder, &ladder, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA), errmsg("unknown ladder"),
						errdetail("There is no ladder with code \"%s\".", code),
						errhint("Insert it first, or give the code of an existing one.")));
	if (review->n == 0)
		return;

	memset(review->nulls, ' ', JUDGE_NARGS);
	review->nulls[JUDGE_NARGS] = '\0';
	review->values[0] = PointerGetDatum(construct_empty_array(INT8OID));
	review->values[1] = cg_make_array(thresholds, NULL, review->n, NUMERICOID);
	review->values[2] = cg_make_array(groups, NULL, review->n, INT4OID);
	review->values[3] = BoolGetDatum(any->by_visits);
	review->values[4] = IntervalPGetDatum(any->period);
	review->values[6] = TimestampTzGetDatum(cg_start_of_day(day + 1, tiers.timezone));
	if (any->period == NULL)
		review->nulls[4] = review->nulls[5] = 'n';
	else
		review->values[5] = TimestampTzGetDatum(
			cg_start_of_day(cg_window_start(day, any->period), tiers.timezone));
	review->values[7] = IntervalPGetDatum(&any->grace);
	if (!any->at_review)
		review->nulls[7] = 'n';
	review->values[8] = CStringGetTextDatum(pg_get_timezone_name(tiers.timezone));
	review->values[9] = TimestampTzGetDatum(at);
	review->values[10] = BoolGetDatum(false);
}

static Datum
result_column(const SPITupleTable *rows, int row, int number)
{
	bool isnull;

	return SPI_getbinval(rows->vals[row], rows->tupdesc, number, &isnull);
}

/*
 * The moves among the rows of a judgement, in the current memory context, which
 * are at most one for each customer.
 */
static CgTierMove *
read_moves(const Review *review, const SPITupleTable *rows, int n, int *nmoves)
{
	CgTierMove *moves = palloc((n + 1) * sizeof(CgTierMove));

	*nmoves = 0;
	for (int i = 0; i < n; i++)
	{
		CgTierMove *move = &moves[*nmoves];
		int         held = DatumGetInt32(result_column(rows, i, 2));
		int         earned = DatumGetInt32(result_column(rows, i, 3));

		move->customer_id = DatumGetInt64(result_column(rows, i, 1));
		if (!DatumGetBool(result_column(rows, i, 5)) ||
			(*nmoves > 0 && move[-1].customer_id == move->customer_id))
			continue;
		move->from = held == 0 ? NULL : review->tiers[held - 1];
		move->to = earned == 0 ? NULL : review->tiers[earned - 1];
		move->measure = DatumGetNumericCopy(result_column(rows, i, 4));
		(*nmoves)++;
	}
	return moves;
}

/* Locks the customers of the first pass, judges them for good and moves them. */
static CgTierMove *
make_moves(Review *review, const SPITupleTable *rows, int n, int *nmoves)
{
	Datum      *customers = palloc((n + 1) * sizeof(Datum));
	CgTierMove *moves;

	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		customers[i] = result_column(rows, i, 1);
		cg_lock_customer(DatumGetInt64(customers[i]));
	}
	review->values[0] = cg_make_array(customers, NULL, n, INT8OID);
	n = cg_execute(&judge_some, review->values, review->nulls);
	moves = read_moves(review, SPI_tuptable, n, nmoves);
	cg_move_tiers(moves, *nmoves);
	return moves;
}

static void
return_moves(ReturnSetInfo *rsinfo, const CgTierMove *moves, int n)
{
	for (int i = 0; i < n; i++)
	{
		const CgTierMove *move = &moves[i];
		Datum             values[3] = {Int64GetDatum(move->customer_id)};
		bool              nulls[3] = {false, move->from == NULL, move->to == NULL};

		if (move->from != NULL)
			values[1] = CStringGetTextDatum(move->from->code);
		if (move->to != NULL)
			values[2] = CStringGetTextDatum(move->to->code);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/*
 * Reviews everybody, by batches, whose memory goes with an SPI connection of
 * their own.
 */
static void
review_all(Review *review, bool dry_run, ReturnSetInfo *rsinfo)
{
	Portal portal;
	int64  done = 0;

	cg_show_progress("review_tiers", 0, -1);
	review->values[10] = BoolGetDatum(!dry_run && !IsolationUsesXactSnapshot());
	PushActiveSnapshot(GetTransactionSnapshot());
	portal = cg_open_cursor(&judge_all, review->values, review->nulls);
	PopActiveSnapshot();
	/* Judged for good, customers are returned when they move, and only then. */
	review->values[10] = BoolGetDatum(false);
	for (;;)
	{
		SPITupleTable *rows;
		int            n;
		CgTierMove    *moves;
		int            nmoves;

		SPI_cursor_fetch(portal, true, BATCH);
		rows = SPI_tuptable;
		n = (int) SPI_processed;
		if (n == 0)
			break;
		cg_show_progress("review_tiers", done, DatumGetInt64(result_column(rows, 0, 6)));
		done += n;
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		if (dry_run)
			moves = read_moves(review, rows, n, &nmoves);
		else
			moves = make_moves(review, rows, n, &nmoves);
		return_moves(rsinfo, moves, nmoves);
		SPI_finish();
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(portal);
	cg_end_progress();
}

/*
 * review_tiers(ladder, dry_run, at) → TABLE(customer_id, from_tier, to_tier)
 */
PG_FUNCTION_INFO_V1(cg_review_tiers);
Datum
cg_review_tiers(PG_FUNCTION_ARGS)
{
	TimestampTz at = cg_time_argument(fcinfo, 2);
	bool        dry_run;
	Review      review;
	CgUser      saved;

	check_arguments(fcinfo);
	dry_run = PG_GETARG_BOOL(1);
	cg_check_view();
	InitMaterializedSRF(fcinfo, 0);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	cg_become_owner(CG_MEMBERS, &saved);
	if (!dry_run)
		table_close(cg_table_open(CG_MEMBERS, RowExclusiveLock), NoLock);
	begin_review(&review, PG_GETARG_DATUM(0), at);
	if (review.n > 0)
		review_all(&review, dry_run, (ReturnSetInfo *) fcinfo->resultinfo);
	cg_restore_user(&saved);
	SPI_finish();
	return (Datum) 0;
}
