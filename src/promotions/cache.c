/*
 * cache.c
 *		The backend's cache of promotions and categories.
 *
 * Key: their ids, and an index from what is covered to the promotions.  Source: the tables promotions, promotion_* and categories.
 * Invalidator: the stamps (stamps.c).  All memory is under one context in
 * CacheMemoryContext, freed as a whole when everything is loaded anew, and
 * promotion by promotion when one is edited.
 *
 * The index has an entry for each cover (an item, a category, a brand or
 * everything): the promotions that are to be looked at whoever asks, and those
 * that are for one group, ascending by group.  A question asks for the few covers
 * of its item and the few groups of its customer, so that neither promotions on
 * other items nor those of other groups cost anything.  A promotion with so many
 * covers and groups that their pairs would fill the memory is listed under its
 * covers only, and its groups are checked when it is found; so is one that is for
 * segments.
 *
 * Order-level promotions have entries of their own; inactive ones are kept, but
 * not indexed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "catalog/tables.h"
#include "promotions/promotions.h"

#define FETCH_ROWS 1000 /* rows read at a time */
#define FOUND_AHEAD 32  /* promotions found before they are looked at */
#define NOWHERE (-1)

/* A promotion that is for a group. */
typedef struct GroupPromotion
{
	int32 group;
	int32 place;
} GroupPromotion;

typedef struct CoverEntry
{
	int64           id; /* hash key: what is covered, of one kind and level */
	int32          *always;
	GroupPromotion *by_group;
	int             nalways;
	int             max_always;
	int             nby_group;
	int             max_by_group;
	bool            sorted; /* by_group is */
	char            status;
} CoverEntry;

typedef struct CategoryEntry
{
	int32 id; /* hash key */
	int32 parent;
	bool  has_parent;
	char  status;
} CategoryEntry;

#define SH_PREFIX covers
#define SH_ELEMENT_TYPE CoverEntry
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(table, key) cg_hash_id(key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#define SH_PREFIX categories
#define SH_ELEMENT_TYPE CategoryEntry
#define SH_KEY_TYPE int32
#define SH_KEY id
#define SH_HASH_KEY(table, key) murmurhash32((uint32) (key))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct PromotionEntry
{
	int32 id; /* hash key */
	int32 place;
} PromotionEntry;

static void load(void);
static void reload(CgStampKind kind, Datum keys, bool all);

static CgCache       cache = {.name = "promotions", .kinds = "cp", .load = load, .reload = reload};
static MemoryContext context;

static CgPromotion     *promotions; /* by place; some are unused */
static int32            free_place; /* list of places to use again */
static int              npromotions;
static int              max_promotions;
static HTAB            *places;
static covers_hash     *covers[CG_COVER_KINDS][2]; /* by kind and level */
static categories_hash *categories;
static uint32           question;

static CgStatement select_categories = {
	.sql = "SELECT id, parent_id FROM customer_groups.categories", .restypes = {INT4OID, INT4OID}};

static CgStatement select_promotions = {
	.sql = "SELECT id, kind, value, level, starts_at, ends_at, groups_only, combinable, stage, "
		   "		priority, min_quantity, min_order_value, max_discount, currency, active "
		   "FROM customer_groups.promotions WHERE $2 OR id OPERATOR(pg_catalog.=) ANY ($1)",
	.argtypes = {INT8ARRAYOID, BOOLOID},
	.restypes = {INT4OID, TEXTOID, NUMERICOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID,
				 BOOLOID, INT4OID, INT4OID, NUMERICOID, NUMERICOID, NUMERICOID, TEXTOID, BOOLOID}};

/* What is attached to promotions, in the order of attachment_kind. */
typedef enum AttachmentKind
{
	ATTACHED_ITEMS,
	ATTACHED_CATEGORIES,
	ATTACHED_BRANDS,
	ATTACHED_STORES,
	ATTACHED_GROUPS,
	ATTACHED_SEGMENTS
} AttachmentKind;
#define ATTACHMENTS (ATTACHED_SEGMENTS + 1)

#define SELECT_ATTACHED(table, column)                                                             \
	{                                                                                              \
		.sql = "SELECT promotion_id, " column "::pg_catalog.int8 FROM customer_groups." table      \
			   " WHERE $2 OR promotion_id OPERATOR(pg_catalog.=) ANY ($1)"                         \
			   " ORDER BY 1, 2",                                                                   \
		.argtypes = {INT8ARRAYOID, BOOLOID}, .restypes = {                                         \
			INT4OID,                                                                               \
			INT8OID                                                                                \
		}                                                                                          \
	}

static CgStatement select_attached[ATTACHMENTS] = {
	SELECT_ATTACHED("promotion_items", "item_id"),
	SELECT_ATTACHED("promotion_categories", "category_id"),
	SELECT_ATTACHED("promotion_brands", "brand_id"),
	SELECT_ATTACHED("promotion_stores", "store_id"),
	SELECT_ATTACHED("promotion_groups", "group_id"),
	SELECT_ATTACHED("promotion_segments", "segment_id")};

/*
 * Makes the cache hold the promotions and categories that a snapshot would read.
 */
void
cg_promotions(Snapshot snapshot)
{
	cg_cache_validate(&cache, snapshot);
}

/* Whether a category is part of another one, and of which; after cg_promotions(). */
bool
cg_category_parent(int32 id, int32 *parent)
{
	CategoryEntry *entry = categories_lookup(categories, id);

	if (entry == NULL || !entry->has_parent)
		return false;
	*parent = entry->parent;
	return true;
}

/* A number that no earlier question had, to mark promotions as seen. */
uint32
cg_next_question(void)
{
	if (++question == 0)
	{
		for (int i = 0; i < npromotions; i++)
			promotions[i].seen = 0;
		question = 1;
	}
	return question;
}

static int
compare_groups(const void *a, const void *b)
{
	int32 x = ((const GroupPromotion *) a)->group;
	int32 y = ((const GroupPromotion *) b)->group;

	return (x > y) - (x < y);
}

/* Promotions found, on their way into the processor's caches. */
typedef struct Found
{
	int              n;
	int32            places[FOUND_AHEAD];
	CgPromotionFound callback;
	void            *state;
} Found;

static void
hand_over(Found *found)
{
	for (int i = 0; i < found->n; i++)
		found->callback(&promotions[found->places[i]], found->state);
	found->n = 0;
}

static inline void
find(Found *found, int32 place)
{
	__builtin_prefetch(&promotions[place]);
	if (found->n == FOUND_AHEAD)
		hand_over(found);
	found->places[found->n++] = place;
}

static void
find_by_groups(CoverEntry *entry, const int32 *groups, int ngroups, Found *found)
{
	int low = 0;

	if (!entry->sorted)
	{
		qsort(entry->by_group, entry->nby_group, sizeof(GroupPromotion), compare_groups);
		entry->sorted = true;
	}
	for (int i = 0; i < ngroups && low < entry->nby_group; i++)
	{
		int high = entry->nby_group;

		while (low < high)
		{
			int middle = low + (high - low) / 2;

			if (entry->by_group[middle].group < groups[i])
				low = middle + 1;
			else
				high = middle;
		}
		for (; low < entry->nby_group && entry->by_group[low].group == groups[i]; low++)
			find(found, entry->by_group[low].place);
	}
}

/*
 * Finds the active promotions of one level that are attached to one of these
 * covers and may be for somebody in these groups, which are ascending; after
 * cg_promotions().
 */
void
cg_find_promotions(const CgCover *asked, int nasked, bool order_level, const int32 *groups,
				   int ngroups, CgPromotionFound callback, void *state)
{
	Found found;

	found.n = 0;
	found.callback = callback;
	found.state = state;
	for (int i = 0; i < nasked; i++)
	{
		covers_hash *hash = covers[asked[i].kind][order_level];
		CoverEntry  *entry = hash->members == 0 ? NULL : covers_lookup(hash, asked[i].id);

		if (entry == NULL)
			continue;
		for (int k = 0; k < entry->nalways; k++)
			find(&found, entry->always[k]);
		if (ngroups > 0 && entry->nby_group > 0)
			find_by_groups(entry, groups, ngroups, &found);
	}
	hand_over(&found);
}

/* Calls back for every promotion there is, once each, in no order; after cg_promotions(). */
void
cg_each_promotion(CgPromotionFound found, void *state)
{
	for (int i = 0; i < npromotions; i++)
		if (promotions[i].covers != NULL)
			found(&promotions[i], state);
}

/* Whether a promotion is attached to this cover. */
bool
cg_promotion_covers(const CgPromotion *promotion, CgCover cover)
{
	int low = 0;
	int high = promotion->ncovers;

	while (low < high)
	{
		int            middle = low + (high - low) / 2;
		const CgCover *found = &promotion->covers[middle];

		if (found->kind == cover.kind && found->id == cover.id)
			return true;
		if (found->kind < cover.kind || (found->kind == cover.kind && found->id < cover.id))
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Room for n elements in an array of the cache. */
static void *
make_room(void *array, int n, int *max, Size size)
{
	if (n <= *max)
		return array;
	*max = Max(n, 2 * *max);
	return array == NULL ? MemoryContextAllocHuge(context, *max * size)
						 : repalloc_huge(array, *max * size);
}

static void
add_to_cover(CoverEntry *entry, int place)
{
	const CgPromotion *promotion = &promotions[place];

	if (!cg_is_restricted(promotion) || promotion->wide)
	{
		entry->always = make_room(entry->always, entry->nalways + 1, &entry->max_always,
								  sizeof(int32));
		entry->always[entry->nalways++] = place;
		return;
	}
	entry->by_group = make_room(entry->by_group, entry->nby_group + promotion->ngroups,
								&entry->max_by_group, sizeof(GroupPromotion));
	for (int i = 0; i < promotion->ngroups; i++)
	{
		GroupPromotion *added = &entry->by_group[entry->nby_group++];

		added->group = promotion->groups[i];
		added->place = place;
	}
	entry->sorted = false;
}

static void
remove_from_cover(CoverEntry *entry, int place)
{
	int n = 0;

	for (int i = 0; i < entry->nalways; i++)
		if (entry->always[i] != place)
			entry->always[n++] = entry->always[i];
	entry->nalways = n;
	n = 0;
	for (int i = 0; i < entry->nby_group; i++)
		if (entry->by_group[i].place != place)
			entry->by_group[n++] = entry->by_group[i];
	entry->nby_group = n;
}

/* Puts a promotion into the index, or takes it out as it was put in. */
static void
index_promotion(int place, bool add)
{
	CgPromotion *promotion = &promotions[place];

	if (!promotion->active ||
		(cg_is_restricted(promotion) && promotion->ngroups == 0 && promotion->nsegments == 0))
		return;
	if (add)
	{
		int64 pairs = (int64) promotion->ncovers * promotion->ngroups;

		promotion->wide = promotion->nsegments > 0 ||
						  pairs > 4 * ((int64) promotion->ncovers + promotion->ngroups);
	}
	for (int i = 0; i < promotion->ncovers; i++)
	{
		const CgCover *cover = &promotion->covers[i];
		covers_hash   *hash = covers[cover->kind][promotion->order_level];
		CoverEntry    *entry;

		if (add)
		{
			bool exists;

			entry = covers_insert(hash, cover->id, &exists);
			if (!exists)
			{
				entry->always = NULL;
				entry->by_group = NULL;
				entry->nalways = entry->max_always = entry->nby_group = entry->max_by_group = 0;
			}
			add_to_cover(entry, place);
			continue;
		}
		entry = covers_lookup(hash, cover->id);
		if (entry == NULL)
			continue;
		remove_from_cover(entry, place);
		if (entry->nalways > 0 || entry->nby_group > 0)
			continue;
		if (entry->always != NULL)
			pfree(entry->always);
		if (entry->by_group != NULL)
			pfree(entry->by_group);
		covers_delete_item(hash, entry);
	}
}

/* Forgets promotions and frees their places. */
static void
forget(Datum keys)
{
	Datum *ids;
	int    n = cg_array_elements(keys, &ids);

	for (int i = 0; i < n; i++)
	{
		int32           id = (int32) DatumGetInt64(ids[i]);
		PromotionEntry *entry = hash_search(places, &id, HASH_FIND, NULL);

		if (entry == NULL)
			continue;
		index_promotion(entry->place, false);
		if (promotions[entry->place].covers != NULL)
			pfree(promotions[entry->place].covers);
		memset(&promotions[entry->place], 0, sizeof(CgPromotion));
		promotions[entry->place].next_free = free_place;
		free_place = entry->place;
		hash_search(places, &id, HASH_REMOVE, NULL);
	}
}

static Datum
column(HeapTuple tuple, TupleDesc desc, int number, bool *isnull)
{
	return heap_getattr(tuple, number, desc, isnull);
}

static bool
read_decimal(HeapTuple tuple, TupleDesc desc, int number, CgDecimal *result)
{
	bool  isnull;
	Datum datum = column(tuple, desc, number, &isnull);

	*result = 0;
	if (isnull)
		return false;
	if (!cg_decimal_from_numeric(datum, result))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("a promotion has the amount %s, which is out of range",
							   DatumGetCString(DirectFunctionCall1(numeric_out, datum))),
						errhint("Validate the CHECK constraints of table promotions.")));
	return true;
}

static void
read_promotion(HeapTuple tuple, TupleDesc desc)
{
	bool            isnull;
	int32           id = DatumGetInt32(column(tuple, desc, 1, &isnull));
	bool            exists;
	PromotionEntry *entry = hash_search(places, &id, HASH_ENTER, &exists);
	CgPromotion    *promotion;
	Datum           datum;
	char           *word;

	if (!exists && free_place != NOWHERE)
	{
		entry->place = free_place;
		free_place = promotions[free_place].next_free;
	}
	else if (!exists)
	{
		entry->place = NOWHERE;
		if (npromotions == max_promotions)
		{
			max_promotions *= 2;
			promotions = repalloc_huge(promotions, max_promotions * sizeof(CgPromotion));
		}
		entry->place = npromotions++;
	}
	promotion = &promotions[entry->place];
	memset(promotion, 0, sizeof(CgPromotion));
	promotion->id = id;

	word = TextDatumGetCString(column(tuple, desc, 2, &isnull));
	promotion->kind = strcmp(word, "percent") == 0  ? CG_PERCENT
					  : strcmp(word, "amount") == 0 ? CG_AMOUNT
													: CG_FIXED_PRICE;
	pfree(word);
	read_decimal(tuple, desc, 3, &promotion->value);
	word = TextDatumGetCString(column(tuple, desc, 4, &isnull));
	promotion->order_level = strcmp(word, "order") == 0;
	pfree(word);
	datum = column(tuple, desc, 5, &isnull);
	promotion->starts_at = isnull ? DT_NOBEGIN : DatumGetTimestampTz(datum);
	datum = column(tuple, desc, 6, &isnull);
	promotion->ends_at = isnull ? DT_NOEND : DatumGetTimestampTz(datum);
	promotion->groups_only = DatumGetBool(column(tuple, desc, 7, &isnull));
	promotion->combinable = DatumGetBool(column(tuple, desc, 8, &isnull));
	promotion->stage = DatumGetInt32(column(tuple, desc, 9, &isnull));
	promotion->priority = DatumGetInt32(column(tuple, desc, 10, &isnull));
	promotion->has_min_quantity = read_decimal(tuple, desc, 11, &promotion->min_quantity);
	promotion->has_min_order_value = read_decimal(tuple, desc, 12, &promotion->min_order_value);
	promotion->has_max_discount = read_decimal(tuple, desc, 13, &promotion->max_discount);
	datum = column(tuple, desc, 14, &isnull);
	if (!isnull)
	{
		word = TextDatumGetCString(datum);
		strlcpy(promotion->currency, word, sizeof(promotion->currency));
		pfree(word);
	}
	promotion->active = DatumGetBool(column(tuple, desc, 15, &isnull));
}

/* What is attached to promotions, as it is read. */
typedef struct Attached
{
	int    n;
	int    max;
	int32 *places;
	int64 *ids;
} Attached;

/*
 * Reads one kind of attachments, ascending by promotion and id, into the
 * current memory context.
 */
static void
read_attached(AttachmentKind kind, Datum *values, Attached *attached)
{
	Portal          portal = cg_open_cursor(&select_attached[kind], values, NULL);
	int32           last_id = 0;
	PromotionEntry *entry = NULL;

	attached->n = 0;
	attached->max = FETCH_ROWS;
	attached->places = palloc(attached->max * sizeof(int32));
	attached->ids = palloc(attached->max * sizeof(int64));
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		if (attached->n + (int) SPI_processed > attached->max)
		{
			attached->max = 2 * attached->max + FETCH_ROWS;
			attached->places = repalloc_huge(attached->places, attached->max * sizeof(int32));
			attached->ids = repalloc_huge(attached->ids, attached->max * sizeof(int64));
		}
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTuple tuple = SPI_tuptable->vals[i];
			TupleDesc desc = SPI_tuptable->tupdesc;
			bool      isnull;
			int32     id = DatumGetInt32(column(tuple, desc, 1, &isnull));

			CHECK_FOR_INTERRUPTS();
			if (entry == NULL || id != last_id)
				entry = hash_search(places, &id, HASH_FIND, NULL);
			last_id = id;
			if (entry == NULL)
				continue;
			attached->places[attached->n] = entry->place;
			attached->ids[attached->n++] = DatumGetInt64(column(tuple, desc, 2, &isnull));
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_cursor_close(portal);
}

/* Takes from one kind of attachments those of a promotion: they come next. */
static int
take(Attached *attached, int *at, int place)
{
	int first = *at;

	while (*at < attached->n && attached->places[*at] == place)
		(*at)++;
	return *at - first;
}

/*
 * Gives promotions what is attached to them and puts them into the index.
 * touched[] lists their places, ascending by id.
 */
static void
attach(const int32 *touched, int ntouched, Attached *attached)
{
	int at[ATTACHMENTS] = {0};

	for (int i = 0; i < ntouched; i++)
	{
		CgPromotion *promotion = &promotions[touched[i]];
		int          first[ATTACHMENTS];
		int          n[ATTACHMENTS];
		int          ncovers;
		CgCover     *covers;
		int32       *rest;

		CHECK_FOR_INTERRUPTS();
		for (int k = 0; k < ATTACHMENTS; k++)
		{
			first[k] = at[k];
			n[k] = take(&attached[k], &at[k], touched[i]);
		}
		ncovers = n[ATTACHED_ITEMS] + n[ATTACHED_CATEGORIES] + n[ATTACHED_BRANDS];

		covers = MemoryContextAllocHuge(
			context,
			Max(ncovers, 1) * sizeof(CgCover) +
				(n[ATTACHED_STORES] + n[ATTACHED_GROUPS] + n[ATTACHED_SEGMENTS]) * sizeof(int32));
		promotion->covers = covers;
		promotion->ncovers = Max(ncovers, 1);
		if (ncovers == 0)
		{
			covers->kind = CG_COVER_ALL;
			covers->id = 0;
			covers++;
		}
		for (int k = ATTACHED_ITEMS; k <= ATTACHED_BRANDS; k++)
			for (int j = 0; j < n[k]; j++, covers++)
			{
				covers->kind = k == ATTACHED_ITEMS        ? CG_COVER_ITEM
							   : k == ATTACHED_CATEGORIES ? CG_COVER_CATEGORY
														  : CG_COVER_BRAND;
				covers->id = attached[k].ids[first[k] + j];
			}
		rest = (int32 *) covers;
		promotion->stores = rest;
		promotion->nstores = n[ATTACHED_STORES];
		promotion->groups = promotion->stores + n[ATTACHED_STORES];
		promotion->ngroups = n[ATTACHED_GROUPS];
		promotion->segments = promotion->groups + n[ATTACHED_GROUPS];
		promotion->nsegments = n[ATTACHED_SEGMENTS];
		for (int k = ATTACHED_STORES; k <= ATTACHED_SEGMENTS; k++)
			for (int j = 0; j < n[k]; j++)
				*rest++ = (int32) attached[k].ids[first[k] + j];

		index_promotion(touched[i], true);
	}
}

static int
compare_places(const void *a, const void *b)
{
	int32 x = promotions[*(const int32 *) a].id;
	int32 y = promotions[*(const int32 *) b].id;

	return (x > y) - (x < y);
}

static void
load_promotions(Datum keys, bool all)
{
	Datum    values[2] = {keys, BoolGetDatum(all)};
	Attached attached[ATTACHMENTS];
	int      max = FETCH_ROWS;
	int      ntouched = 0;
	int32   *touched = palloc(max * sizeof(int32));
	Portal   portal = cg_open_cursor(&select_promotions, values, NULL);

	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		if (ntouched + (int) SPI_processed > max)
		{
			max = 2 * max + FETCH_ROWS;
			touched = repalloc_huge(touched, max * sizeof(int32));
		}
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool  isnull;
			int32 id;

			CHECK_FOR_INTERRUPTS();
			read_promotion(SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
			id = DatumGetInt32(column(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
			touched[ntouched++] =
				((PromotionEntry *) hash_search(places, &id, HASH_FIND, NULL))->place;
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_cursor_close(portal);

	qsort(touched, ntouched, sizeof(int32), compare_places);
	for (int k = 0; k < ATTACHMENTS; k++)
		read_attached((AttachmentKind) k, values, &attached[k]);
	attach(touched, ntouched, attached);
}

static void
load_categories(void)
{
	int n;

	categories_reset(categories);
	n = cg_execute_as_is(&select_categories, NULL);
	for (int i = 0; i < n; i++)
	{
		HeapTuple      tuple = SPI_tuptable->vals[i];
		bool           isnull;
		int32          id = DatumGetInt32(column(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		bool           exists;
		CategoryEntry *entry = categories_insert(categories, id, &exists);

		entry->parent = DatumGetInt32(column(tuple, SPI_tuptable->tupdesc, 2, &isnull));
		entry->has_parent = !isnull;
	}
}

static void
load(void)
{
	HASHCTL ctl;

	/* Whatever an earlier load or a failed change has left goes with its context. */
	if (context != NULL)
		MemoryContextDelete(context);
	context = NULL;
	context = AllocSetContextCreate(CacheMemoryContext, "customer_groups promotions",
									ALLOCSET_DEFAULT_SIZES);

	npromotions = 0;
	max_promotions = 256;
	free_place = NOWHERE;
	promotions = MemoryContextAlloc(context, max_promotions * sizeof(CgPromotion));
	for (int kind = 0; kind < CG_COVER_KINDS; kind++)
		for (int level = 0; level < 2; level++)
			covers[kind][level] = covers_create(context, 16, NULL);
	categories = categories_create(context, 64, NULL);
	ctl.keysize = sizeof(int32);
	ctl.entrysize = sizeof(PromotionEntry);
	ctl.hcxt = context;
	places = hash_create("customer_groups promotions", 256, &ctl,
						 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	load_categories();
	load_promotions(PointerGetDatum(construct_empty_array(INT8OID)), true);
}

static void
reload(CgStampKind kind, Datum keys, bool all)
{
	if (kind == CG_STAMP_CATEGORY)
		load_categories();
	else if (all)
		load();
	else
	{
		forget(keys);
		load_promotions(keys, false);
	}
}
