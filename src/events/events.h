/*
 * events.h
 *		What other rooms call of the events room.
 */
#ifndef CG_EVENTS_H
#define CG_EVENTS_H

#include "postgres.h"

/* An event about a customer. */
typedef struct CgEvent
{
	const char *kind;
	int64       customer_id;
	int32       group_id;   /* or CG_NONE */
	int32       segment_id; /* or CG_NONE */
	Datum       detail;     /* an object of jsonb */
} CgEvent;

extern void cg_write_events(const CgEvent *events, int n);

#endif
