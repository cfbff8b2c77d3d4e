/*
 * item.c
 *		An item as far as its price goes: list price, floor, brand, categories.
 *
 * Rows are looked up by their primary keys under the inquiry's snapshot; a
 * reader keeps its scans for the next item.  Categories and those above them
 * come from the cache of promotions.  Memory is the caller's.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "pricing/pricing_internal.h"

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
