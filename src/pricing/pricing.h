/*
 * pricing.h
 *		What other rooms call of the pricing room: carts, read and priced.
 *
 * Everything answers under the active snapshot, checks that the caller may view
 * (42501), writes nothing and returns memory of the current context, which is
 * the caller's; it points into no cache.
 */
#ifndef CG_PRICING_H
#define CG_PRICING_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "pricing/decimal.h"

/* A line that is asked for. */
typedef struct CgCartLine
{
	int32     line_no; /* from 1, ascending */
	int64     item_id;
	text     *external_id; /* of the item, where the cart was read by key */
	CgDecimal quantity;    /* above 0, less than CG_DECIMAL_LIMIT */
} CgCartLine;

/* A cart, for whom, where and when. */
typedef struct CgCart
{
	bool        has_customer; /* else an anonymous one */
	int64       customer_id;
	bool        has_store;
	int32       store_id;
	TimestampTz at;
	int         nlines;
	CgCartLine *lines;
} CgCart;

/* What a promotion took off a line; 0 where it lowered a unit price by too little to show. */
typedef struct CgShare
{
	int32     promotion_id;
	CgDecimal discount;
	bool      by_group; /* the customer has it through a group: of several the lowest id */
	int32     group_id;
} CgShare;

/*
 * A line's price.  list_total is round(quantity × list_price); total is what is
 * paid after promotions of both levels; discount is list_total - total, and the
 * sum of the shares.
 */
typedef struct CgPricedLine
{
	int32     line_no;
	int64     item_id;
	CgDecimal quantity;
	CgDecimal list_price; /* of a unit */
	CgDecimal unit_price; /* after item-level promotions: effective_price's */
	CgDecimal list_total;
	CgDecimal total;
	CgDecimal discount;
	int       nshares;
	CgShare  *shares; /* in the order applied, each promotion once */
} CgPricedLine;

typedef struct CgPricedCart
{
	char          currency[4]; /* of the store, else of the settings */
	int           digits;      /* of the currency's minor unit, for cg_decimal_to_numeric() */
	CgDecimal     order_value; /* sum of list_total */
	CgDecimal     total;       /* sum of total */
	int           nlines;      /* as asked, in the same order */
	CgPricedLine *lines;
} CgPricedCart;

/*
 * Prices a cart.  An unknown customer, store or item is 02000, an item without a
 * price there 22023, an amount of 10^14 or more 22003; errors of a line name it.
 */
extern void cg_price_cart(const CgCart *cart, CgPricedCart *result);

/*
 * Reads the lines of a cart, [{"item": 7, "quantity": 2}, ...], into cart->nlines
 * and cart->lines; by_key: "item" is an external_id.  The quantity is 1 when left
 * out.  What is not of that form is 22023, too large a quantity 22003, an
 * unknown external_id 02000; errors name the line.
 */
extern void cg_read_cart(Jsonb *json, bool by_key, CgCart *cart);

/* The ids that external keys stand for; an unknown one is 02000. */
extern int64 cg_customer_by_key(const text *external_id, Snapshot snapshot);
extern int64 cg_item_by_key(const text *external_id, Snapshot snapshot);

#endif
