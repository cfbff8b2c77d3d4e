/*
 * customer_groups.c
 *		Module entry: settings of the server and callbacks.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "catalog/activity.h"
#include "catalog/tables.h"
#include "compat.h"
#include "promotions/promotions.h"
#include "sales/sales.h"

PG_MODULE_MAGIC;

void _PG_init(void);

static char *actor;

void
_PG_init(void)
{
	DefineCustomStringVariable("customer_groups.actor",
							   "The application's own user on whose behalf the session acts.",
							   "It is written into each event beside the session's user.", &actor,
							   "", PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("customer_groups");
	cg_catalog_init();
	cg_activity_init();
	cg_scan_init();
	cg_stamps_init();
	cg_booking_init();
}
