/*
 * item.c
 *		An item as far as its price goes: list price, floor, brand, categories.
 *
 * Rows are looked up by their primary keys under the inquiry's snapshot; a
 * reader keeps its scans for the next item.  Categories and those above them
 * come from the cache of promotions.  Memory is the caller's.
 *
 * A query that asks for the same items again and again, for other customers,
 * reads each once: what has been read is kept in a memo as long as questions
 * come under the same snapshot, which would read the same rows.  It begins with
 * the second question, lives under CacheMemoryContext and is emptied when
 * another snapshot or store comes, or a table is altered.  A function called by a
 * statement that changes the rows sees under one snapshot more of its changes each
 * time: where this transaction may have changed some, nothing is kept.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pricing/pricing_internal.h"

#define MOST_ITEMS 20000 /* in the memo: about 6 MB */

typedef struct MemoEntry
{
	int64  id; /* hash key */
	CgItem item;
	char   status;
} MemoEntry;

#define SH_PREFIX memo
#define SH_ELEMENT_TYPE MemoEntry
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(table, key) cg_hash_id(key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static struct
{
	CgSnapshotKey snapshot;
	uint64        changes; /* of the tables */
	bool          has_store;
	int32         store_id;
	memo_hash    *items; /* NULL: only one question has come */
	MemoryContext context;
} memo;

static bool
may_have_changed(void)
{
	return cg_is_written(CG_ITEMS) || cg_is_written(CG_ITEM_CATEGORIES) ||
		   cg_is_written(CG_STORE_PRICES);
}

/*
 * Whether the memo holds what an inquiry would read; if not, it is made ready for
 * the next one.
 */
static bool
memo_is_good(const CgInquiry *inquiry)
{
	uint64 changes = cg_table_changes(CG_ITEMS) + cg_table_changes(CG_ITEM_CATEGORIES) +
					 cg_table_changes(CG_STORE_PRICES) + cg_table_changes(CG_CATEGORIES);

	if (cg_same_snapshot(&memo.snapshot, inquiry->snapshot) && memo.changes == changes &&
		memo.has_store == inquiry->has_store &&
		(!memo.has_store || memo.store_id == inquiry->store_id) && !may_have_changed())
	{
		if (memo.items == NULL)
			memo.items = memo_create(memo.context, 64, NULL);
		return true;
	}
	memo.items = NULL;
	if (memo.context == NULL)
		memo.context = AllocSetContextCreate(CacheMemoryContext, "customer_groups items",
											 ALLOCSET_DEFAULT_SIZES);
	else
		MemoryContextReset(memo.context);
	cg_remember_snapshot(&memo.snapshot, inquiry->snapshot);
	memo.changes = changes;
	memo.has_store = inquiry->has_store;
	memo.store_id = inquiry->store_id;
	return false;
}

/* Copies an item into memory that is zero or has held another. */
static void
copy_item(CgItem *to, const CgItem *from)
{
	CgCover *covers = to->covers;
	int      max = to->max_covers;

	if (max < from->ncovers)
	{
		if (covers != NULL)
			pfree(covers);
		max = from->ncovers;
		covers = palloc(max * sizeof(CgCover));
	}
	memcpy(covers, from->covers, from->ncovers * sizeof(CgCover));
	*to = *from;
	to->covers = covers;
	to->max_covers = max;
}

static void
leave_in_memo(const CgItem *item)
{
	MemoryContext caller;
	CgItem        copy = {0};
	bool          exists;

	if (memo.items->members >= MOST_ITEMS)
		return;
	caller = MemoryContextSwitchTo(memo.context);
	copy_item(&copy, item);
	MemoryContextSwitchTo(caller);
	memo_insert(memo.items, item->id, &exists)->item = copy;
}

/* A price that may be null; false when it is. */
static bool
read_price(CgScan *scan, int column, CgDecimal *price)
{
	bool  isnull;
	Datum datum = cg_scan_get(scan, column, &isnull);

	if (isnull)
		return false;
	if (!cg_decimal_from_numeric(datum, price))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("price %s is out of range",
							   DatumGetCString(DirectFunctionCall1(numeric_out, datum))),
						errhint("Validate the CHECK constraints of tables items and "
								"store_prices.")));
	return true;
}

pg_noreturn static void
no_price(const CgInquiry *inquiry, int64 id, int32 line_no)
{
	char *line = line_no > 0 ? psprintf(", which line %d asks for,", line_no) : "";

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the item has no price there"),
			 inquiry->has_store
				 ? errdetail("Item " INT64_FORMAT "%s has no price in %s in store %d.", id, line,
							 inquiry->currency, inquiry->store_id)
				 : errdetail("Item " INT64_FORMAT "%s has no price of its own, and no store is "
							 "given.",
							 id, line),
			 errhint("Give it a price in items (settings' currency) or in store_prices.")));
}

void
cg_items_begin(CgItemReader *reader, const CgInquiry *inquiry)
{
	reader->inquiry = inquiry;
	reader->memo = memo_is_good(inquiry);
	reader->begun = false;
}

static void
look_up(CgItemReader *reader, int64 id)
{
	const CgInquiry *inquiry = reader->inquiry;
	Datum            key = Int64GetDatum(id);

	if (reader->begun)
	{
		cg_scan_again(&reader->items, key);
		cg_scan_again(&reader->categories, key);
		if (inquiry->has_store)
			cg_scan_again(&reader->prices, key);
		return;
	}
	cg_scan_begin(&reader->items, CG_ITEMS, inquiry->snapshot, 1, key, 0);
	cg_scan_begin_key_only(&reader->categories, CG_ITEM_CATEGORIES, inquiry->snapshot, 1, key, 0);
	if (inquiry->has_store)
		cg_scan_begin(&reader->prices, CG_STORE_PRICES, inquiry->snapshot, 2, key,
					  Int32GetDatum(inquiry->store_id));
	reader->begun = true;
}

static void
add_cover(CgItem *item, CgCoverKind kind, int64 id)
{
	if (item->ncovers == item->max_covers)
	{
		item->max_covers = Max(2 * item->max_covers, 16);
		item->covers = item->covers == NULL
						   ? palloc(item->max_covers * sizeof(CgCover))
						   : repalloc(item->covers, item->max_covers * sizeof(CgCover));
	}
	item->covers[item->ncovers].kind = kind;
	item->covers[item->ncovers++].id = id;
}

/*
 * Adds a category and all those above it, as far as they are not there yet: a
 * cycle, which the triggers refuse but a restore may bring, ends there.
 */
static void
add_category(CgItem *item, int32 category)
{
	do
	{
		for (int i = 0; i < item->ncovers; i++)
			if (item->covers[i].id == category && item->covers[i].kind == CG_COVER_CATEGORY)
				return;
		add_cover(item, CG_COVER_CATEGORY, category);
	} while (cg_category_parent(category, &category));
}

/*
 * Reads an item, into memory that is zero or has held another; raises 02000 when there is none and 22023 when it has no price
 * there, naming the line that asks for it unless that is 0.
 */
void
cg_items_read(CgItemReader *reader, int64 id, int32 line_no, CgItem *item)
{
	const CgInquiry *inquiry = reader->inquiry;
	bool             has_price = false;
	bool             isnull;
	Datum            datum;

	if (reader->memo)
	{
		const MemoEntry *entry = memo_lookup(memo.items, id);

		if (entry != NULL)
		{
			copy_item(item, &entry->item);
			return;
		}
	}
	look_up(reader, id);
	if (!cg_scan_next(&reader->items))
	{
		if (line_no == 0)
			cg_unknown("item", id);
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA), errmsg("unknown item"),
				 errdetail("There is no item with id " INT64_FORMAT ", which line %d asks for.", id,
						   line_no),
				 errhint("Insert it first, or ask with the id of an existing one.")));
	}
	item->id = id;
	item->min_price = 0;
	item->ncovers = 0;
	add_cover(item, CG_COVER_ALL, 0);
	add_cover(item, CG_COVER_ITEM, id);
	datum = cg_scan_get(&reader->items, CG_ITEMS_BRAND_ID, &isnull);
	if (!isnull)
		add_cover(item, CG_COVER_BRAND, DatumGetInt32(datum));
	if (strcmp(inquiry->currency, inquiry->settings_currency) == 0)
	{
		has_price = read_price(&reader->items, CG_ITEMS_PRICE, &item->list_price);
		read_price(&reader->items, CG_ITEMS_MIN_PRICE, &item->min_price);
	}
	if (inquiry->has_store && cg_scan_next(&reader->prices))
	{
		has_price = read_price(&reader->prices, CG_STORE_PRICES_PRICE, &item->list_price) ||
					has_price;
		read_price(&reader->prices, CG_STORE_PRICES_MIN_PRICE, &item->min_price);
	}
	if (!has_price)
		no_price(inquiry, id, line_no);

	while (cg_scan_next(&reader->categories))
	{
		CHECK_FOR_INTERRUPTS();
		add_category(item, DatumGetInt32(cg_scan_get(&reader->categories,
													 CG_ITEM_CATEGORIES_CATEGORY_ID, &isnull)));
	}
	if (reader->memo)
		leave_in_memo(item);
}

void
cg_items_end(CgItemReader *reader)
{
	if (!reader->begun)
		return;
	cg_scan_end(&reader->items);
	cg_scan_end(&reader->categories);
	if (reader->inquiry->has_store)
		cg_scan_end(&reader->prices);
	reader->begun = false;
}
