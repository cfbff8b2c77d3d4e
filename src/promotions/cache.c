/*
 * cache.c
 *		The backend's cache of promotions and categories.
 *
 * Key: their ids, and an index from what is covered and for whom to the
 * promotions.  Source: the tables promotions, promotion_* and categories.
 * Invalidator: the stamps (stamps.c).  All memory is under one context in
 * CacheMemoryContext, freed as a whole when everything is loaded anew, and
 * promotion by promotion when one is edited.
 *
 * The index holds a list for each pair of a cover (an item, a category, a brand
 * or everything) and an audience (everybody, or one group).  A question asks
 * for the few covers of its item and the few groups of its customer, so that
 * neither promotions on other items nor those of other groups cost anything.
 * A promotion with so many covers and groups that their pairs would fill the
 * memory is listed under its covers only, and its groups are checked when it is
 * found; so is one that is for segments.
 *
 * Order-level promotions have lists of their own; inactive ones are kept, but
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

/* Audiences: a group's id, or one of these. */
#define EVERYBODY ((int64) -1)
#define CHECKED ((int64) -2) /* its groups and segments are checked when it is found */

#define FETCH_ROWS 1000 /* rows read at a time */
#define NOWHERE (-1)

typedef struct ListKey
{
	int64 cover;
	int64 audience;
	int64 cover_kind; /* and level; as wide as the others: no padding in the key */
} ListKey;

typedef struct ListEntry
{
	ListKey key;
	int32   head; /* first link of the list */
	char    status;
} ListEntry;

#define SH_PREFIX lists
#define SH_ELEMENT_TYPE ListEntry
#define SH_KEY_TYPE ListKey
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_key(&(key))
#define SH_EQUAL(table, a, b)                                                                      \
	((a).cover == (b).cover && (a).audience == (b).audience && (a).cover_kind == (b).cover_kind)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE

static inline uint32
hash_key(const ListKey *key)
{
	uint64 hash = hash_combine64(hash_combine64((uint64) key->cover, (uint64) key->audience),
								 (uint64) key->cover_kind);

	return murmurhash32((uint32) (hash ^ (hash >> 32)));
}

#include "lib/simplehash.h"

/* A promotion in a list. */
typedef struct Link
{
	int32 promotion; /* place in promotions[] */
	int32 next;
} Link;

typedef struct PromotionEntry
{
	int32 id; /* hash key */
	int32 place;
} PromotionEntry;

typedef struct CategoryEntry
{
	int32 id; /* hash key */
	int32 parent;
	bool  has_parent;
} CategoryEntry;

static void load(void);
static void reload(CgStampKind kind, Datum keys, bool all);

static CgCache       cache = {.name = "promotions", .kinds = "cp", .load = load, .reload = reload};
static MemoryContext context;

static CgPromotion *promotions; /* by place; some are unused */
static int32        free_place; /* list of places to use again */
static int          npromotions;
static int          max_promotions;
static HTAB        *places;
static lists_hash  *lists;
static Link        *links;
static int          nlinks;
static int          max_links;
static int          free_links; /* list of those to use again */
static HTAB        *categories;
static uint32       question;

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
	CategoryEntry *entry = hash_search(categories, &id, HASH_FIND, NULL);

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

static ListKey
list_key(CgCover cover, bool order_level, int64 audience)
{
	ListKey key = {.cover = cover.id,
				   .audience = audience,
				   .cover_kind = cover.kind + (order_level ? CG_COVER_KINDS : 0)};

	return key;
}

static void
find_in_list(CgCover cover, bool order_level, int64 audience, CgPromotionFound found, void *state)
{
	ListEntry *entry = lists_lookup(lists, list_key(cover, order_level, audience));

	if (entry == NULL)
		return;
	for (int32 link = entry->head; link != NOWHERE; link = links[link].next)
		found(&promotions[links[link].promotion], state);
}

/*
 * Finds the active promotions of one level that are attached to this cover and
 * may be for somebody in these groups; after cg_promotions().
 */
void
cg_find_promotions(CgCover cover, bool order_level, const int32 *groups, int ngroups,
				   CgPromotionFound found, void *state)
{
	find_in_list(cover, order_level, EVERYBODY, found, state);
	find_in_list(cover, order_level, CHECKED, found, state);
	for (int i = 0; i < ngroups; i++)
		find_in_list(cover, order_level, groups[i], found, state);
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

/* Puts a promotion into, or takes it out of, the list of a cover and an audience. */
static void
change_list(int place, const CgCover *cover, int64 audience, bool add)
{
	ListKey    key = list_key(*cover, promotions[place].order_level, audience);
	ListEntry *entry;

	if (add)
	{
		bool  exists;
		int32 link = free_links;

		if (link != NOWHERE)
			free_links = links[link].next;
		else
		{
			if (nlinks == max_links)
			{
				max_links *= 2;
				links = repalloc_huge(links, max_links * sizeof(Link));
			}
			link = nlinks++;
		}
		entry = lists_insert(lists, key, &exists);
		if (!exists)
			entry->head = NOWHERE;
		links[link].promotion = place;
		links[link].next = entry->head;
		entry->head = link;
	}
	else
	{
		int32 *from;
		int32  link;

		entry = lists_lookup(lists, key);
		if (entry == NULL)
			return;
		for (from = &entry->head; *from != NOWHERE && links[*from].promotion != place;)
			from = &links[*from].next;
		link = *from;
		if (link == NOWHERE)
			return;
		*from = links[link].next;
		links[link].next = free_links;
		free_links = link;
		if (entry->head == NOWHERE)
			lists_delete_item(lists, entry);
	}
}

/* Puts a promotion into the index, or takes it out as it was put in. */
static void
index_promotion(int place, bool add)
{
	CgPromotion *promotion = &promotions[place];

	if (!promotion->active)
		return;
	if (add)
	{
		int64 pairs = (int64) promotion->ncovers * promotion->ngroups;

		promotion->wide = promotion->nsegments > 0 ||
						  pairs > 4 * ((int64) promotion->ncovers + promotion->ngroups);
	}
	for (int i = 0; i < promotion->ncovers; i++)
	{
		if (!cg_is_restricted(promotion))
			change_list(place, &promotion->covers[i], EVERYBODY, add);
		else if (promotion->wide)
			change_list(place, &promotion->covers[i], CHECKED, add);
		else
			for (int g = 0; g < promotion->ngroups; g++)
				change_list(place, &promotion->covers[i], promotion->groups[g], add);
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
	HASHCTL ctl;
	int     n;

	if (categories != NULL)
		hash_destroy(categories);
	categories = NULL;
	ctl.keysize = sizeof(int32);
	ctl.entrysize = sizeof(CategoryEntry);
	ctl.hcxt = context;
	categories = hash_create("customer_groups categories", 256, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	n = cg_execute_as_is(&select_categories, NULL);
	for (int i = 0; i < n; i++)
	{
		HeapTuple      tuple = SPI_tuptable->vals[i];
		bool           isnull;
		int32          id = DatumGetInt32(column(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		CategoryEntry *entry = hash_search(categories, &id, HASH_ENTER, NULL);

		entry->parent = DatumGetInt32(column(tuple, SPI_tuptable->tupdesc, 2, &isnull));
		entry->has_parent = !isnull;
	}
}

static void
load(void)
{
	HASHCTL ctl;

	/* Whatever an earlier load or a failed change has left goes with its context. */
	categories = NULL;
	if (context != NULL)
		MemoryContextDelete(context);
	context = NULL;
	context = AllocSetContextCreate(CacheMemoryContext, "customer_groups promotions",
									ALLOCSET_DEFAULT_SIZES);

	npromotions = nlinks = 0;
	max_promotions = max_links = 256;
	free_links = free_place = NOWHERE;
	promotions = MemoryContextAlloc(context, max_promotions * sizeof(CgPromotion));
	links = MemoryContextAlloc(context, max_links * sizeof(Link));
	lists = lists_create(context, 256, NULL);
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
