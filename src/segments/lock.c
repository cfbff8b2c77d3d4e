/*
 * lock.c
 *		Locking customers who are to be judged though nothing of theirs has changed,
 *		without ever being in the way of sales.
 *
 * A transaction may sell to several customers in any order.  Who waits for one of
 * them while it holds another can meet it in a deadlock, which may end the sale.
 * So those who judge many customers wait only while they hold none: a customer
 * that is held by somebody else ends the list of those locked, and the caller
 * gives up what it holds before it comes back to wait for that one.
 *
 * A mere lock of the facts row will do, whatever the isolation level of those who
 * wait for it: they read what is stored under the latest snapshot.  At REPEATABLE
 * READ and above, a row that has changed since the transaction's snapshot is a
 * serialization failure.
 *
 * The facts of a locked customer are those that every later snapshot sees, and are
 * handed out with the lock, in the current memory context.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "catalog/tables.h"
#include "segments/track.h"

/*
 * Locks customers in the order given, to the end of the transaction, and returns
 * how many, those included who are gone; the next one is held by somebody else.
 * The first one is waited for if the caller says so.  places[], if given, tells
 * where a snapshot that is still held has seen the facts rows, if it has.  facts[],
 * if given, takes the rows, NULL for a customer who is gone.  The user must be the
 * owner.
 */
int
cg_lock_available(const int64 *customers, ItemPointerData *places, int n, bool wait,
				  HeapTuple *facts)
{
	Snapshot snapshot;
	CgScan   scan = {0};
	int      locked = 0;

	if (n == 0)
		return 0;
	cg_tracking_lock();
	table_close(cg_table_open(CG_CUSTOMER_FACTS, RowShareLock), NoLock);
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	for (; locked < n; locked++)
	{
		CgLockResult result;
		bool         found;

		CHECK_FOR_INTERRUPTS();
		cg_scan_id(&scan, CG_CUSTOMER_FACTS, snapshot, customers[locked]);
		found = places != NULL ? cg_scan_next_at(&scan, &places[locked]) : cg_scan_next(&scan);
		result = found ? cg_scan_lock(&scan, wait && locked == 0) : CG_LOCK_GONE;
		if (result == CG_LOCK_HELD)
			break;
		if (facts != NULL)
			facts[locked] = result == CG_LOCK_GONE ? NULL : cg_scan_copy(&scan);
	}
	cg_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return locked;
}
