/*
 * shop.c
 *		The checks of categories and currencies.
 *
 * The triggers here look at more than the rows at hand.  So that two
 * transactions cannot break together what each of them keeps, they take a lock
 * to the end of the transaction first, and then read under the latest snapshot,
 * whatever the isolation level.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "catalog/tables.h"

/*
 * Trigger lock_categories: BEFORE STATEMENT, so that the lock comes before
 * those of rows.
 */
PG_FUNCTION_INFO_V1(cg_lock_categories);
Datum
cg_lock_categories(PG_FUNCTION_ARGS)
{
	cg_check_trigger(fcinfo, "lock_categories", CG_CATEGORIES, TRIGGER_EVENT_BEFORE);
	cg_lock_definition(CG_CATEGORIES);
	return PointerGetDatum(NULL);
}

/*
 * Trigger check_categories: AFTER STATEMENT.  The rows that go round in a circle
 * are those that a walk upwards meets again.
 */
PG_FUNCTION_INFO_V1(cg_check_categories);
Datum
cg_check_categories(PG_FUNCTION_ARGS)
{
	static CgStatement select_cycle = {
		.sql = "WITH RECURSIVE up (id, ancestor) AS ("
			   "	SELECT id, parent_id FROM customer_groups.categories "
			   "	WHERE id OPERATOR(pg_catalog.=) ANY ($1) AND parent_id IS NOT NULL "
			   "	UNION "
			   "	SELECT up.id, c.parent_id FROM up "
			   "	JOIN customer_groups.categories c ON c.id OPERATOR(pg_catalog.=) up.ancestor "
			   "	WHERE c.parent_id IS NOT NULL AND up.ancestor OPERATOR(pg_catalog.<>) up.id) "
			   "SELECT c.code FROM up "
			   "JOIN customer_groups.categories c ON c.id OPERATOR(pg_catalog.=) up.id "
			   "WHERE up.ancestor OPERATOR(pg_catalog.=) up.id ORDER BY c.id LIMIT 1",
		.argtypes = {INT4ARRAYOID}};
	TriggerData *trigdata = cg_check_trigger(fcinfo, "check_categories", CG_CATEGORIES,
											 TRIGGER_EVENT_AFTER);
	Datum        ids;
	CgUser       saved;

	if (trigdata->tg_newtable == NULL)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("check_categories needs the new rows")));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	ids = cg_transition_column(trigdata->tg_newtable, RelationGetDescr(trigdata->tg_relation), "id",
							   INT4OID);
	cg_become_owner(CG_CATEGORIES, &saved);
	if (cg_execute_latest(&select_cycle, &ids, NULL) > 0)
	{
		char *code = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
						errmsg("categories must not go round in a circle"),
						errdetail("Category \"%s\" would be part of itself.", code),
						errhint("Give it a parent that is not below it.")));
	}
	cg_restore_user(&saved);
	SPI_finish();
	return PointerGetDatum(NULL);
}

/* The text of a column of settings, or the default without a row. */
static char *
settings_currency(HeapTuple tuple, TupleDesc desc)
{
	char *value = tuple == NULL ? NULL : SPI_getvalue(tuple, desc, SPI_fnumber(desc, "currency"));

	return value == NULL ? pstrdup("USD") : value;
}

/*
 * Trigger check_currency: AFTER ROW, on settings and stores.  It waits for the
 * sales in progress, which do not see the change, and keeps others waiting, so
 * that none is booked in a currency that is no longer the one it was meant in.
 */
PG_FUNCTION_INFO_V1(cg_check_currency);
Datum
cg_check_currency(PG_FUNCTION_ARGS)
{
	static CgStatement select_any_sale = {.sql = "SELECT FROM customer_groups.sales LIMIT 1"};
	static CgStatement select_store_sale = {
		.sql = "SELECT FROM customer_groups.sales WHERE store_id OPERATOR(pg_catalog.=) $1 LIMIT 1",
		.argtypes = {INT4OID}};
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	bool         of_store = CALLED_AS_TRIGGER(fcinfo) &&
					strcmp(RelationGetRelationName(trigdata->tg_relation), "stores") == 0;
	CgTable   table = of_store ? CG_STORES : CG_SETTINGS;
	TupleDesc desc;
	char     *before;
	char     *after;
	Datum     id = (Datum) 0;
	CgUser    saved;

	trigdata = cg_check_trigger(fcinfo, "check_currency", table,
								TRIGGER_EVENT_ROW | TRIGGER_EVENT_AFTER);
	desc = RelationGetDescr(trigdata->tg_relation);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
	{
		before = settings_currency(NULL, desc);
		after = settings_currency(trigdata->tg_trigtuple, desc);
	}
	else
	{
		before = settings_currency(trigdata->tg_trigtuple, desc);
		after = settings_currency(
			TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple : NULL, desc);
	}

	if (strcmp(before, after) != 0)
	{
		bool isnull;

		table_close(cg_table_open(CG_SALES, ShareRowExclusiveLock), NoLock);
		if (of_store)
			id = heap_getattr(trigdata->tg_trigtuple, SPI_fnumber(desc, "id"), desc, &isnull);
		cg_become_owner(CG_SALES, &saved);
		if (cg_execute_latest(of_store ? &select_store_sale : &select_any_sale, &id, NULL) > 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the currency cannot be changed once there are sales in it"),
					 of_store ? errdetail("Store %d has sales in %s.", DatumGetInt32(id), before)
							  : errdetail("There are sales counted in %s.", before),
					 errhint("Make a new store for the other currency, and set the settings "
							 "before the first sale.")));
		cg_restore_user(&saved);
	}
	SPI_finish();
	return PointerGetDatum(NULL);
}
