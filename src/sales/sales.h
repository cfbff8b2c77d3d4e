/*
 * sales.h
 *		What other rooms call of the sales room.
 */
#ifndef CG_SALES_H
#define CG_SALES_H

#include "postgres.h"

#include "commands/trigger.h"
#include "utils/snapshot.h"

#include "compat.h"

pg_noreturn extern void cg_unknown_customer(int64 customer_id);
extern bool             cg_customer_exists(int64 customer_id, Snapshot snapshot);
extern bool             cg_lock_customer(int64 customer_id);
extern int              cg_sort_customers(int64 *ids, int n);

extern void cg_booking_init(void);
extern void cg_expect_booking(TriggerEvent event);

#endif
