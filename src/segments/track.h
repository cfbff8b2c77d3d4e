/*
 * track.h
 *		What other rooms call of tracking: segments whose members are stored.
 */
#ifndef CG_TRACK_H
#define CG_TRACK_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/date.h"

#include "promotions/promotions.h"
#include "segments/segments.h"

/* track.c: what a statement has changed is tracked between begin and end. */
typedef struct CgTracking
{
	Snapshot        snapshot; /* of all that was committed when it began */
	CommandId       command;
	bool            has_today; /* some segment is tracked */
	DateADT         today;
	bool            reached; /* reached_on is set */
	DateADT         reached_on;
	TupleTableSlot *facts;  /* the facts row of the only customer, where it is at hand */
	TupleTableSlot *before; /* what it was when the customer was last judged, likewise */
} CgTracking;

extern void cg_tracking_lock(void);
extern void cg_track_begin(CgTracking *tracking);
extern void cg_track_before(CgTracking *tracking, const int64 *customers, int n, CommandId command);
extern void cg_track_after(CgTracking *tracking, const int64 *customers, int n, uint32 parts);
extern void cg_track_end(CgTracking *tracking);

/* A day on which the answers about a customer may change. */
typedef struct CgTurn
{
	int64           customer_id;
	DateADT         day;
	ItemPointerData place; /* where the query has seen the facts row, if it has */
	HeapTuple       facts; /* the row, locked; NULL: the customer is gone */
} CgTurn;

extern int64   cg_track_turns(const CgTurn *turns, int n, bool stored);
extern DateADT cg_tracking_today(Snapshot snapshot, bool *reached, DateADT *reached_on);

/* turns.c */
extern char *cg_turns_query(const CgSegments *segments, const CgDefinitions *definitions,
							DateADT from, DateADT upto);

/* lock.c */
extern int cg_lock_available(const int64 *customers, ItemPointerData *places, int n, bool wait,
							 HeapTuple *facts);

/* pending.c */
extern void cg_wait_for_judges(void);
extern bool cg_renaming; /* rules are being rewritten with other codes */

#endif
