/*
 * attached.c
 *		What promotions are attached to at this moment, for what is said of whom they
 *		are open to, and what they cover.
 *
 * Read under SnapshotSelf: that takes no predicate locks, so that two editors of
 * different promotions do not fail because of each other at SERIALIZABLE.  A row
 * that somebody else is updating can be missed; then a notice is missed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/snapmgr.h"

#include "catalog/tables.h"
#include "compat.h"
#include "strict.h"

static bool
has_row(CgTable table, Datum promotion_id)
{
	CgScan scan;
	bool   found;

	cg_scan_begin(&scan, table, SnapshotSelf, 1, promotion_id, 0);
	found = cg_scan_next(&scan);
	cg_scan_end(&scan);
	return found;
}

/*
 * promotions_now(ids int[])
 *		→ TABLE(code, groups_only, has_groups, has_segments, has_coverage, has_stores)
 */
PG_FUNCTION_INFO_V1(cg_promotions_now);
Datum
cg_promotions_now(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum         *ids;
	bool          *null_ids;
	int            n;
	CgScan         scan;

	CG_STRICT();
	InitMaterializedSRF(fcinfo, 0);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT4OID, sizeof(int32), true, TYPALIGN_INT, &ids,
					  &null_ids, &n);
	for (int i = 0; i < n; i++)
	{
		Datum values[6];
		bool  nulls[6] = {false};

		CHECK_FOR_INTERRUPTS();
		if (null_ids[i])
			continue;
		cg_scan_begin(&scan, CG_PROMOTIONS, SnapshotSelf, 1, ids[i], 0);
		if (cg_scan_next(&scan))
		{
			values[0] = cg_scan_get(&scan, CG_PROMOTIONS_CODE, &nulls[0]);
			values[1] = cg_scan_get(&scan, CG_PROMOTIONS_GROUPS_ONLY, &nulls[1]);
			values[2] = BoolGetDatum(has_row(CG_PROMOTION_GROUPS, ids[i]));
			values[3] = BoolGetDatum(has_row(CG_PROMOTION_SEGMENTS, ids[i]));
			values[4] = BoolGetDatum(has_row(CG_PROMOTION_ITEMS, ids[i]) ||
									 has_row(CG_PROMOTION_CATEGORIES, ids[i]) ||
									 has_row(CG_PROMOTION_BRANDS, ids[i]));
			values[5] = BoolGetDatum(has_row(CG_PROMOTION_STORES, ids[i]));
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
		cg_scan_end(&scan);
	}
	return (Datum) 0;
}
