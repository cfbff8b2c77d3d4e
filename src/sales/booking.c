/*
 * booking.c
 *		Booking: the triggers that keep customer_facts and tiers in step with
 *		the sales, exactly and at once.
 *
 * After each statement, what its rows add to and take from the facts is summed
 * per customer.  Then the facts rows are updated in customer order, so that two
 * statements never lock the same customers in opposite orders.  The facts row is
 * the one lock of a customer: what is read after it has been updated is read
 * under a fresh snapshot, which sees everything that others have booked for that
 * customer.  At REPEATABLE READ and above, a facts row that somebody else has
 * changed meanwhile is a serialization failure, as it must be.
 *
 * Counts and sums are changed by differences, which commute.  The first and the
 * last visit are too, unless the statement took away a visit at one end: then
 * both are looked up among the sales.  So they are once a trigger has booked
 * inside another statement of the transaction: the sales that the outer
 * statement left may be no more.
 *
 * A statement with several actions (MERGE, ON CONFLICT DO UPDATE, WITH) has a
 * trigger for each.  All of them sum up, the last one books and judges: else
 * customers would be locked in the order of each action, and tiers and segments
 * could follow from what only a part of the statement comes to.  Which are to come
 * is known from the BEFORE ROW triggers: see cg_expect_booking().
 *
 * Rows that were recorded before (their recorded_at is not this transaction's
 * time, as in a restore) are left alone: their facts come with them.
 *
 * Everything is written as the owner of the tables.  Memory is that of SPI, or
 * of a context that ends with the statement.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog/tables.h"
#include "compat.h"
#include "promotions/promotions.h"
#include "sales/facts.h"
#include "sales/sales.h"
#include "segments/segments.h"
#include "segments/track.h"
#include "tiers/tiers.h"

/* What a statement changes for one customer. */
typedef struct Booking
{
	int64         customer_id; /* hash key */
	char          status;
	CgFactsChange change;
	TimestampTz   first_old; /* of the visits taken away */
	TimestampTz   last_old;
	TimestampTz   latest; /* of all rows touched */
	bool          adds;   /* rows, and does not only take some away */
} Booking;

#define SH_PREFIX bookings
#define SH_ELEMENT_TYPE Booking
#define SH_KEY_TYPE int64
#define SH_KEY customer_id
#define SH_HASH_KEY(table, key) cg_hash_id(key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* The transaction in which sales were last booked inside a trigger. */
static uint32 nested_in;

/* A statement on sales whose triggers have not all come. */
typedef struct Statement
{
	CommandId        command; /* of its snapshot */
	SubTransactionId subid;
	uint32           due;      /* events with rows, whose AFTER trigger is to come: bits */
	MemoryContext    context;  /* of the following */
	bookings_hash   *bookings; /* by the triggers so far; NULL: none */
} Statement;

/* Statements of a transaction, in its memory, the inner ones last. */
static struct
{
	uint32 lxid;
	List  *list;
} statements;

static Statement *
find_statement(CommandId command)
{
	if (statements.lxid != cg_local_xid())
	{
		statements.lxid = cg_local_xid();
		statements.list = NIL;
	}
	for (int i = list_length(statements.list) - 1; i >= 0; i--)
	{
		Statement *statement = list_nth(statements.list, i);

		if (statement->command == command)
			return statement;
	}
	return NULL;
}

/*
 * A row of the present statement may be inserted, updated or deleted: the AFTER
 * trigger of this event will come, whether or not it is.
 */
void
cg_expect_booking(TriggerEvent event)
{
	CommandId  command = GetActiveSnapshot()->curcid;
	Statement *statement = find_statement(command);

	if (statement == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);

		statement = palloc0(sizeof(Statement));
		statement->command = command;
		statement->subid = GetCurrentSubTransactionId();
		statements.list = lappend(statements.list, statement);
		MemoryContextSwitchTo(caller);
	}
	statement->due |= 1U << (event & TRIGGER_EVENT_OPMASK);
}

/* All triggers of a statement have come. */
static void
end_statement(Statement *statement)
{
	statements.list = list_delete_ptr(statements.list, statement);
	if (statement->context != NULL)
		MemoryContextDelete(statement->context);
	pfree(statement);
}

/* The triggers of a statement that has failed do not come. */
static void
forget_statements(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB || statements.lxid != cg_local_xid())
		return;
	while (statements.list != NIL && ((Statement *) llast(statements.list))->subid >= subid)
		end_statement(llast(statements.list));
}

void
cg_booking_init(void)
{
	RegisterSubXactCallback(forget_statements, NULL);
}

static CgStatement update_visit_times = {
	.generic = true,
	.sql = "UPDATE customer_groups.customer_facts SET (first_visit_at, last_visit_at) = "
		   "	(SELECT pg_catalog.min(sold_at), pg_catalog.max(sold_at) "
		   "	 FROM customer_groups.sales "
		   "	 WHERE customer_id OPERATOR(pg_catalog.=) $1 "
		   "		AND kind OPERATOR(pg_catalog.=) 'product'::customer_groups.sale_kind) "
		   "WHERE customer_id OPERATOR(pg_catalog.=) $1",
	.argtypes = {INT8OID}};

/* What is booked for a customer; nothing, when it is new here. */
static Booking *
get_booking(bookings_hash *bookings, int64 customer_id)
{
	bool     exists;
	Booking *booking = bookings_insert(bookings, customer_id, &exists);

	if (!exists)
	{
		memset(&booking->change, 0, sizeof(CgFactsChange));
		booking->change.customer_id = customer_id;
		booking->change.amount = int64_to_numeric(0);
		booking->change.first = booking->first_old = DT_NOEND;
		booking->change.last = booking->last_old = DT_NOBEGIN;
		booking->latest = DT_NOBEGIN;
		booking->adds = false;
	}
	return booking;
}

/* Adds a row to, or takes it from, what is booked for its customer. */
static void
add_row(bookings_hash *bookings, TupleTableSlot *slot, bool add)
{
	bool  isnull;
	int64 customer_id = DatumGetInt64(
		slot_getattr(slot, cg_attnum(CG_SALES, CG_SALES_CUSTOMER_ID), &isnull));
	CgSaleKind kind = cg_sale_kind(
		DatumGetObjectId(slot_getattr(slot, cg_attnum(CG_SALES, CG_SALES_KIND), &isnull)));
	Numeric amount = DatumGetNumeric(
		slot_getattr(slot, cg_attnum(CG_SALES, CG_SALES_AMOUNT), &isnull));
	Datum          rate = slot_getattr(slot, cg_attnum(CG_SALES, CG_SALES_RATE), &isnull);
	TimestampTz    sold_at;
	Booking       *booking;
	CgFactsChange *change;
	Numeric        sum;

	if (!isnull)
		amount = DatumGetNumeric(DirectFunctionCall2(numeric_mul, NumericGetDatum(amount), rate));
	sold_at = DatumGetTimestampTz(
		slot_getattr(slot, cg_attnum(CG_SALES, CG_SALES_SOLD_AT), &isnull));

	booking = get_booking(bookings, customer_id);
	booking->adds = booking->adds || add;
	change = &booking->change;
	change->counts[kind] += add ? 1 : -1;
	sum = DatumGetNumeric(DirectFunctionCall2(
		add ? numeric_add : numeric_sub, NumericGetDatum(change->amount), NumericGetDatum(amount)));
	pfree(change->amount);
	change->amount = sum;
	if (kind == CG_SALE_PRODUCT && add)
	{
		change->first = Min(change->first, sold_at);
		change->last = Max(change->last, sold_at);
	}
	if (kind == CG_SALE_PRODUCT && !add)
	{
		booking->first_old = Min(booking->first_old, sold_at);
		booking->last_old = Max(booking->last_old, sold_at);
	}
	booking->latest = Max(booking->latest, sold_at);
}

/*
 * Adds the rows of a transition table; returns how many were left out because
 * they were recorded before, which only rows to be inserted can be.
 */
static uint64
add_rows(bookings_hash *bookings, Tuplestorestate *rows, TupleDesc desc, bool add, bool inserted)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TimestampTz     now = GetCurrentTransactionStartTimestamp();
	uint64          restored = 0;

	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		if (inserted && DatumGetTimestampTz(slot_getattr(
							slot, cg_attnum(CG_SALES, CG_SALES_RECORDED_AT), &isnull)) != now)
			restored++;
		else
			add_row(bookings, slot, add);
	}
	ExecDropSingleTupleTableSlot(slot);
	return restored;
}

static int
compare_bookings(const void *a, const void *b)
{
	int64 x = (*(Booking *const *) a)->customer_id;
	int64 y = (*(Booking *const *) b)->customer_id;

	return (x > y) - (x < y);
}

/* Raises 23503 for a customer that there is not. */
void
cg_unknown_customer(int64 customer_id)
{
	ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("unknown customer"),
					errdetail("There is no customer with id " INT64_FORMAT ".", customer_id),
					errhint("Insert the customer first, then the sale.")));
}

/*
 * Books one customer and locks it; fills in what its tiers are judged by.  False
 * when the statement deletes the customer with its sales.
 */
static bool
book_customer(CgFactsWriter *writer, const Booking *booking, CgTierCase *tier_case)
{
	CgFacts facts;
	bool    recount = nested_in == cg_local_xid();

	if (!cg_facts_add(writer, &booking->change, &facts))
	{
		if (!booking->adds && !cg_customer_exists(booking->customer_id, SnapshotSelf))
			return false;
		cg_unknown_customer(booking->customer_id);
	}

	tier_case->customer_id = booking->customer_id;
	tier_case->visits = facts.visits;
	tier_case->net_sales = facts.net_sales;
	tier_case->latest = booking->latest;
	tier_case->skip = facts.skip_auto_upgrade;
	tier_case->has_sales = facts.has_sales;
	if (booking->first_old != DT_NOEND)
		recount = recount || !facts.has_visits || booking->first_old <= facts.first_visit_at ||
				  booking->last_old >= facts.last_visit_at;
	if (recount)
	{
		Datum value = Int64GetDatum(booking->customer_id);

		cg_execute(&update_visit_times, &value, NULL);
		writer->last = NULL;
	}
	return true;
}

/*
 * Trigger book_sales: AFTER STATEMENT, with the transition tables that its event
 * has.
 */
PG_FUNCTION_INFO_V1(cg_book_sales);
Datum
cg_book_sales(PG_FUNCTION_ARGS)
{
	TriggerData   *trigdata = cg_check_trigger(fcinfo, "book_sales", CG_SALES, TRIGGER_EVENT_AFTER);
	TupleDesc      desc = RelationGetDescr(trigdata->tg_relation);
	bool           nested;
	bool           inserted = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event);
	bookings_hash *bookings;
	bookings_iterator iterator;
	Booking          *booking;
	Booking         **sorted;
	CgTierCase       *cases;
	int64            *customers;
	CommandId         command = GetActiveSnapshot()->curcid;
	Statement        *statement = find_statement(command);
	MemoryContext     caller;
	int               n = 0;
	int               nbooked = 0;
	uint64            restored = 0;
	CgFactsWriter     writer;
	CgTracking        tracking;
	CgUser            saved;

	if (trigdata->tg_newtable == NULL && trigdata->tg_oldtable == NULL)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("book_sales needs the rows of the statement")));
	nested = DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH)) > 1;
	if (nested)
		nested_in = cg_local_xid();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");

	caller = CurrentMemoryContext;
	if (statement != NULL)
	{
		statement->due &= ~(1U << (trigdata->tg_event & TRIGGER_EVENT_OPMASK));
		if (statement->due != 0 && statement->context == NULL)
		{
			statement->context = AllocSetContextCreate(
				TopTransactionContext, "customer_groups booking", ALLOCSET_DEFAULT_SIZES);
			statement->bookings = bookings_create(statement->context, 8, NULL);
		}
		if (statement->context != NULL)
			MemoryContextSwitchTo(statement->context);
	}
	bookings = statement != NULL && statement->bookings != NULL
				   ? statement->bookings
				   : bookings_create(CurrentMemoryContext, 8, NULL);
	if (trigdata->tg_oldtable != NULL)
		add_rows(bookings, trigdata->tg_oldtable, desc, false, false);
	if (trigdata->tg_newtable != NULL)
		restored = add_rows(bookings, trigdata->tg_newtable, desc, true, inserted);
	MemoryContextSwitchTo(caller);
	if (statement != NULL && statement->due != 0)
	{
		SPI_finish();
		cg_warn_restored(CG_SALES, restored);
		return PointerGetDatum(NULL);
	}

	sorted = MemoryContextAllocHuge(CurrentMemoryContext,
									(bookings->members + 1) * sizeof(Booking *));
	bookings_start_iterate(bookings, &iterator);
	while ((booking = bookings_iterate(bookings, &iterator)) != NULL)
		sorted[n++] = booking;
	qsort(sorted, n, sizeof(Booking *), compare_bookings);

	cases = MemoryContextAllocHuge(CurrentMemoryContext, (n + 1) * sizeof(CgTierCase));
	customers = MemoryContextAllocHuge(CurrentMemoryContext, (n + 1) * sizeof(int64));
	cg_become_owner(CG_SALES, &saved);
	cg_tracking_lock();
	/* No group becomes a tier or ceases to be one from here on: see groups_changed. */
	table_close(cg_table_open(CG_MEMBERS, RowExclusiveLock), NoLock);
	cg_facts_begin(&writer, n == 1);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (book_customer(&writer, sorted[i], &cases[nbooked]))
			customers[nbooked++] = sorted[i]->customer_id;
	}
	cg_facts_end(&writer);
	cg_track_begin(&tracking);
	if (nbooked == 1)
		tracking.facts = writer.last;
	/* An outer trigger may not have judged by its own change so far. */
	if (tracking.facts != NULL && !nested)
		tracking.before = writer.before;
	cg_track_before(&tracking, customers, nbooked, command);
	cg_upgrade_tiers(cases, nbooked, tracking.snapshot);
	cg_track_after(&tracking, customers, nbooked, CG_DEPENDS_SALES | CG_DEPENDS_LINES);
	cg_track_end(&tracking);
	cg_facts_free(&writer);
	cg_restore_user(&saved);
	SPI_finish();
	if (statement != NULL)
		end_statement(statement);
	cg_warn_restored(CG_SALES, restored);
	return PointerGetDatum(NULL);
}
