/*
 * definitions.c
 *		The backend's cache of settings, stores, groups and tiers.
 *
 * Key: their ids.  Source: the tables settings, stores, groups,
 * group_store_pricing and ladders.  Invalidator: the stamps (stamps.c).  The
 * hash tables live under CacheMemoryContext to the end of the backend; entries
 * are freed when what they stand for is read anew; tiers have a context of
 * their own that is reset with them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "catalog/tables.h"
#include "promotions/promotions.h"

static void load(void);
static void reload(CgStampKind kind, Datum keys, bool all);

static CgCache cache = {.name = "definitions", .kinds = "stlg", .load = load, .reload = reload};
static CgDefinitions definitions;
static HTAB         *stores;
static HTAB         *groups;
static MemoryContext context;
static MemoryContext tier_context;

static CgStatement select_settings = {.sql = "SELECT currency, timezone, rounding "
											 "FROM customer_groups.settings",
									  .restypes = {TEXTOID, TEXTOID, TEXTOID}};

static CgStatement select_stores = {
	.sql = "SELECT id, currency, timezone FROM customer_groups.stores "
		   "WHERE $2 OR id OPERATOR(pg_catalog.=) ANY ($1)",
	.argtypes = {INT8ARRAYOID, BOOLOID},
	.restypes = {INT4OID, TEXTOID, TEXTOID}};

static CgStatement select_groups = {
	.sql = "SELECT id, starts_on, coalesce(ends_on, 'infinity'), use_pricing "
		   "FROM customer_groups.groups WHERE $2 OR id OPERATOR(pg_catalog.=) ANY ($1)",
	.argtypes = {INT8ARRAYOID, BOOLOID},
	.restypes = {INT4OID, DATEOID, DATEOID, BOOLOID}};

static CgStatement select_answers = {
	.sql = "SELECT group_id, store_id, use_pricing FROM customer_groups.group_store_pricing "
		   "WHERE $2 OR group_id OPERATOR(pg_catalog.=) ANY ($1)",
	.argtypes = {INT8ARRAYOID, BOOLOID},
	.restypes = {INT4OID, INT4OID, BOOLOID}};

static CgStatement select_tiers = {
	.sql = "SELECT g.id, coalesce(g.ladder, 'default'), g.code, "
		   "		coalesce(l.measure OPERATOR(pg_catalog.=) 'visits', false), l.period, "
		   "		g.upgrade_threshold, g.starts_on, coalesce(g.ends_on, 'infinity'), "
		   "		coalesce(l.downgrade OPERATOR(pg_catalog.=) 'at_review', false), "
		   "		coalesce(l.grace, '0') "
		   "FROM customer_groups.groups g "
		   "LEFT JOIN customer_groups.ladders l "
		   "	ON l.code OPERATOR(pg_catalog.=) coalesce(g.ladder, 'default') "
		   "WHERE g.upgrade_threshold IS NOT NULL "
		   "ORDER BY 2, g.upgrade_threshold DESC, g.id",
	.restypes = {INT4OID, TEXTOID, TEXTOID, BOOLOID, INTERVALOID, NUMERICOID, DATEOID, DATEOID,
				 BOOLOID, INTERVALOID}};

static HTAB *
make_hash(const char *name, Size entrysize)
{
	HASHCTL ctl;

	ctl.keysize = sizeof(int32);
	ctl.entrysize = entrysize;
	ctl.hcxt = context;
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * The settings, stores, groups and tiers that a snapshot would read.  Owned by
 * the cache; good until the next call.
 */
const CgDefinitions *
cg_definitions(Snapshot snapshot)
{
	if (context == NULL)
	{
		context = AllocSetContextCreate(CacheMemoryContext, "customer_groups definitions",
										ALLOCSET_DEFAULT_SIZES);
		tier_context = AllocSetContextCreate(context, "customer_groups tiers",
											 ALLOCSET_SMALL_SIZES);
	}
	cg_cache_validate(&cache, snapshot);
	return &definitions;
}

/*
 * The tiers that a snapshot would read, in the current memory context: for code
 * that runs statements, whose triggers may ask the cache for another snapshot.
 */
CgTiers
cg_copy_tiers(Snapshot snapshot)
{
	const CgDefinitions *now = cg_definitions(snapshot);
	CgTiers              result;

	result.timezone = now->settings.timezone;
	result.n = now->ntiers;
	result.tiers = palloc((result.n + 1) * sizeof(CgTier));
	for (int i = 0; i < result.n; i++)
	{
		CgTier *tier = &result.tiers[i];

		*tier = now->tiers[i];
		tier->ladder_code = pstrdup(tier->ladder_code);
		tier->code = pstrdup(tier->code);
		tier->threshold = DatumGetNumericCopy(NumericGetDatum(tier->threshold));
		if (tier->period != NULL)
		{
			tier->period = palloc(sizeof(Interval));
			*tier->period = *now->tiers[i].period;
		}
	}
	return result;
}

/* The tier that a group is, or NULL. */
const CgTier *
cg_find_tier(const CgTiers *tiers, int32 group_id)
{
	for (int i = 0; i < tiers->n; i++)
		if (tiers->tiers[i].group_id == group_id)
			return &tiers->tiers[i];
	return NULL;
}

/* Of memberships, those in tiers are wanted: see cg_scan_id(). */
bool
cg_wants_tier(Datum group_id, const void *tiers)
{
	return cg_find_tier(tiers, DatumGetInt32(group_id)) != NULL;
}

/* A store, or NULL when there is none; after cg_definitions(). */
const CgStore *
cg_find_store(int32 id)
{
	return hash_search(stores, &id, HASH_FIND, NULL);
}

/* A group, or NULL when there is none; after cg_definitions(). */
const CgGroup *
cg_find_group(int32 id)
{
	return hash_search(groups, &id, HASH_FIND, NULL);
}

/* Whether a group counts for prices in a store (NULL: none given) on a day. */
bool
cg_group_counts(const CgGroup *group, const int32 *store_id, DateADT day)
{
	if (day < group->starts_on || day > group->ends_on)
		return false;
	if (store_id != NULL)
		for (int i = 0; i < group->nanswers; i++)
			if (group->answers[i].store_id == *store_id)
				return group->answers[i].use_pricing;
	return group->use_pricing;
}

static Datum
column(int row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

static pg_tz *
timezone_of(Datum name)
{
	char  *word = TextDatumGetCString(name);
	pg_tz *timezone = pg_tzset(word);

	if (timezone == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("time zone \"%s\" is not known to this server", word),
						errhint("Use a name that pg_timezone_names lists.")));
	return timezone;
}

static void
read_currency(Datum code, char *result, CgRounding *rounding)
{
	char *word = TextDatumGetCString(code);

	strlcpy(result, word, 4);
	rounding->digits = cg_currency_minor_digits(word);
	if (rounding->digits < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("currency \"%s\" is not in ISO 4217", word),
						errhint("Use one of its three-letter codes.")));
}

/* Stores round as the settings say. */
static void
spread_rounding(void)
{
	HASH_SEQ_STATUS status;
	CgStore        *store;

	hash_seq_init(&status, stores);
	while ((store = hash_seq_search(&status)) != NULL)
		store->rounding.half_even = definitions.settings.rounding.half_even;
}

static void
load_settings(void)
{
	CgSettings *settings = &definitions.settings;
	bool        isnull;

	strcpy(settings->currency, "USD");
	settings->rounding.digits = 2;
	settings->rounding.half_even = false;
	settings->timezone = pg_tzset("UTC");
	if (cg_execute_as_is(&select_settings, NULL) > 0)
	{
		read_currency(column(0, 1, &isnull), settings->currency, &settings->rounding);
		settings->timezone = timezone_of(column(0, 2, &isnull));
		settings->rounding.half_even = strcmp(TextDatumGetCString(column(0, 3, &isnull)),
											  "half_even") == 0;
	}
	spread_rounding();
}

/* Removes the entries of the keys, or all of them. */
static void
forget(HTAB *hash, Datum keys, bool all)
{
	HASH_SEQ_STATUS status;
	void           *entry;

	if (all)
	{
		hash_seq_init(&status, hash);
		while ((entry = hash_seq_search(&status)) != NULL)
		{
			if (hash == groups && ((CgGroup *) entry)->answers != NULL)
				pfree(((CgGroup *) entry)->answers);
			hash_search(hash, entry, HASH_REMOVE, NULL);
		}
	}
	else
	{
		Datum *ids;
		int    n = cg_array_elements(keys, &ids);

		for (int i = 0; i < n; i++)
		{
			int32 id = (int32) DatumGetInt64(ids[i]);

			entry = hash_search(hash, &id, HASH_FIND, NULL);
			if (entry == NULL)
				continue;
			if (hash == groups && ((CgGroup *) entry)->answers != NULL)
				pfree(((CgGroup *) entry)->answers);
			hash_search(hash, &id, HASH_REMOVE, NULL);
		}
	}
}

static void
load_stores(Datum keys, bool all)
{
	Datum values[2] = {keys, BoolGetDatum(all)};
	int   n;

	forget(stores, keys, all);
	n = cg_execute_as_is(&select_stores, values);
	for (int i = 0; i < n; i++)
	{
		bool     isnull;
		int32    id = DatumGetInt32(column(i, 1, &isnull));
		CgStore *store = hash_search(stores, &id, HASH_ENTER, NULL);

		read_currency(column(i, 2, &isnull), store->currency, &store->rounding);
		store->timezone = timezone_of(column(i, 3, &isnull));
		store->rounding.half_even = definitions.settings.rounding.half_even;
	}
}

static void
load_tiers(void)
{
	int           n;
	MemoryContext caller;

	definitions.ntiers = 0;
	MemoryContextReset(tier_context);
	n = cg_execute_as_is(&select_tiers, NULL);
	caller = MemoryContextSwitchTo(tier_context);
	definitions.tiers = palloc((n + 1) * sizeof(CgTier));
	for (int i = 0; i < n; i++)
	{
		CgTier *tier = &definitions.tiers[i];
		Datum   datum;
		bool    isnull;

		tier->group_id = DatumGetInt32(column(i, 1, &isnull));
		tier->ladder_code = TextDatumGetCString(column(i, 2, &isnull));
		tier->code = TextDatumGetCString(column(i, 3, &isnull));
		tier->by_visits = DatumGetBool(column(i, 4, &isnull));
		datum = column(i, 5, &isnull);
		tier->period = NULL;
		if (!isnull)
		{
			tier->period = palloc(sizeof(Interval));
			*tier->period = *DatumGetIntervalP(datum);
		}
		tier->threshold = DatumGetNumericCopy(column(i, 6, &isnull));
		tier->starts_on = DatumGetDateADT(column(i, 7, &isnull));
		tier->ends_on = DatumGetDateADT(column(i, 8, &isnull));
		tier->at_review = DatumGetBool(column(i, 9, &isnull));
		tier->grace = *DatumGetIntervalP(column(i, 10, &isnull));
		tier->ladder = i == 0 ? 0
							  : tier[-1].ladder +
									(strcmp(tier[-1].ladder_code, tier->ladder_code) != 0 ? 1 : 0);
	}
	definitions.ntiers = n;
	MemoryContextSwitchTo(caller);
}

static void
load_groups(Datum keys, bool all)
{
	Datum values[2] = {keys, BoolGetDatum(all)};
	int   n;

	forget(groups, keys, all);
	n = cg_execute_as_is(&select_groups, values);
	for (int i = 0; i < n; i++)
	{
		bool     isnull;
		int32    id = DatumGetInt32(column(i, 1, &isnull));
		CgGroup *group = hash_search(groups, &id, HASH_ENTER, NULL);

		group->starts_on = DatumGetDateADT(column(i, 2, &isnull));
		group->ends_on = DatumGetDateADT(column(i, 3, &isnull));
		group->use_pricing = DatumGetBool(column(i, 4, &isnull));
		group->nanswers = 0;
		group->answers = NULL;
	}

	n = cg_execute_as_is(&select_answers, values);
	for (int i = 0; i < n; i++)
	{
		bool           isnull;
		int32          id = DatumGetInt32(column(i, 1, &isnull));
		CgGroup       *group = hash_search(groups, &id, HASH_FIND, NULL);
		CgStoreAnswer *answer;

		if (group == NULL)
			continue;
		if (group->answers == NULL)
			group->answers = MemoryContextAlloc(context, sizeof(CgStoreAnswer));
		else
			group->answers = repalloc(group->answers,
									  (group->nanswers + 1) * sizeof(CgStoreAnswer));
		answer = &group->answers[group->nanswers++];
		answer->store_id = DatumGetInt32(column(i, 2, &isnull));
		answer->use_pricing = DatumGetBool(column(i, 3, &isnull));
	}
	load_tiers();
}

static void
load(void)
{
	if (stores == NULL)
		stores = make_hash("customer_groups stores", sizeof(CgStore));
	if (groups == NULL)
		groups = make_hash("customer_groups groups", sizeof(CgGroup));
	load_settings();
	load_stores(PointerGetDatum(construct_empty_array(INT8OID)), true);
	load_groups(PointerGetDatum(construct_empty_array(INT8OID)), true);
}

static void
reload(CgStampKind kind, Datum keys, bool all)
{
	switch (kind)
	{
		case CG_STAMP_SETTINGS:
			load_settings();
			break;
		case CG_STAMP_STORE:
			load_stores(keys, all);
			break;
		case CG_STAMP_LADDER:
			load_tiers();
			break;
		case CG_STAMP_GROUP:
			load_groups(keys, all);
			break;
		default:
			elog(ERROR, "definitions do not depend on stamps of kind %c", kind);
	}
}
