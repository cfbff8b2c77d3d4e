/*
 * keys.c
 *		The ids that a shop's own keys stand for: external_id of customers and items.
 *
 * Looked up by the unique index on external_id, under the snapshot given.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "pricing/pricing_internal.h"

pg_noreturn static void
unknown_key(const char *what, const char *key, int line_no)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA), errmsg("unknown %s", what),
			 line_no > 0 ? errdetail("There is no %s with external_id \"%s\", which line %d asks "
									 "for.",
									 what, key, line_no)
						 : errdetail("There is no %s with external_id \"%s\".", what, key),
			 errhint("Insert it first, or ask with the external_id of an existing one.")));
}

/* The id of a customer; raises 02000 when there is none with this key. */
int64
cg_customer_by_key(const text *external_id, Snapshot snapshot)
{
	CgScan scan;
	bool   isnull;
	int64  id;

	cg_scan_begin_external(&scan, CG_CUSTOMERS, snapshot, PointerGetDatum(external_id));
	if (!cg_scan_next(&scan))
		unknown_key("customer", text_to_cstring(external_id), 0);
	id = DatumGetInt64(cg_scan_get(&scan, CG_CUSTOMERS_ID, &isnull));
	cg_scan_end(&scan);
	return id;
}

/*
 * The ids of items, 0 for a null key; raises 02000 for a key that there is not,
 * naming the line where the keys are those of a cart.
 */
void
cg_items_by_keys(const Datum *keys, const bool *nulls, int n, bool lines, Snapshot snapshot,
				 int64 *ids)
{
	CgScan scan = {0};

	for (int i = 0; i < n; i++)
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		ids[i] = 0;
		if (nulls[i])
			continue;
		if (scan.begun)
			cg_scan_again(&scan, keys[i]);
		else
			cg_scan_begin_external(&scan, CG_ITEMS, snapshot, keys[i]);
		if (!cg_scan_next(&scan))
			unknown_key("item", TextDatumGetCString(keys[i]), lines ? i + 1 : 0);
		ids[i] = DatumGetInt64(cg_scan_get(&scan, CG_ITEMS_ID, &isnull));
	}
	cg_scan_end(&scan);
}

/* The id of an item; raises 02000 when there is none with this key. */
int64
cg_item_by_key(const text *external_id, Snapshot snapshot)
{
	Datum key = PointerGetDatum(external_id);
	bool  isnull = false;
	int64 id;

	cg_items_by_keys(&key, &isnull, 1, false, snapshot, &id);
	return id;
}
