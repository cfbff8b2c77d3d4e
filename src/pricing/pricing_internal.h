/*
 * pricing_internal.h
 *		The engine of prices, shared by the files of this room.
 *
 * An inquiry (for whom, where, when) is begun once; the items it is about are
 * read, the promotions that are open to it found, and the best of each stage
 * applied.  Everything is read under the inquiry's snapshot.  What points into
 * the cache of promotions is good until the inquiry's end: nothing in between
 * asks the cache for another snapshot.
 */
#ifndef CG_PRICING_INTERNAL_H
#define CG_PRICING_INTERNAL_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/date.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "calendar/calendar.h"
#include "catalog/tables.h"
#include "pricing/decimal.h"
#include "pricing/pricing.h"
#include "promotions/promotions.h"
#include "segments/segments.h"

/* inquiry.c: for whom, where and when. */

/* What a membership is worth for prices; in the order of the reasons. */
typedef enum CgMembershipState
{
	CG_MEMBERSHIP_NOT_STARTED,
	CG_MEMBERSHIP_EXPIRED,
	CG_GROUP_NOT_IN_DATES,
	CG_GROUP_PRICING_OFF,
	CG_MEMBERSHIP_COUNTS
} CgMembershipState;

typedef struct CgMembership
{
	int32             group_id;
	CgMembershipState state;
} CgMembership;

typedef struct CgInquiry
{
	/* Asked. */
	bool        has_customer;
	int64       customer_id;
	bool        has_store;
	int32       store_id;
	TimestampTz at;

	/* What follows from it. */
	Snapshot      snapshot;
	char          currency[4]; /* of the store, else of the settings */
	char          settings_currency[4];
	CgRounding    rounding;
	DateADT       day;     /* in the store's time zone */
	int           ngroups; /* groups that count for prices, ascending */
	int           max_groups;
	int32        *groups;
	bool          keeps_memberships; /* to explain them: all are kept, ascending by group */
	int           nmemberships;
	CgMembership *memberships;
	CgEvaluation *segments; /* of the customer, once a promotion asks for them */
} CgInquiry;

/* What is asked of one item. */
typedef struct CgQuestion
{
	int64     item_id;
	CgDecimal quantity;
	bool      has_order_value;
	CgDecimal order_value;
} CgQuestion;

extern void cg_read_customer_argument(FunctionCallInfo fcinfo, int argno, bool by_key,
									  CgInquiry *inquiry);
extern void cg_read_store_argument(FunctionCallInfo fcinfo, int argno, CgInquiry *inquiry);
extern bool cg_read_question(FunctionCallInfo fcinfo, bool by_key, CgInquiry *inquiry,
							 CgQuestion *question);
extern void cg_inquiry_begin(CgInquiry *inquiry);
extern void cg_inquiry_end(CgInquiry *inquiry);
pg_noreturn extern void cg_unknown(const char *what, int64 id);
pg_noreturn extern void cg_null_argument(const char *name);

/* keys.c */
extern void cg_items_by_keys(const Datum *keys, const bool *nulls, int n, bool lines,
							 Snapshot snapshot, int64 *ids);

/* item.c: an item as far as prices go. */
typedef struct CgItem
{
	int64     id;
	CgDecimal list_price;
	CgDecimal min_price; /* 0: none */
	int       ncovers;   /* what a promotion may be attached to, to cover it */
	int       max_covers;
	CgCover  *covers;
} CgItem;

typedef struct CgItemReader
{
	const CgInquiry *inquiry;
	bool             memo; /* takes items from it, and leaves them there */
	bool             begun;
	CgScan           items;
	CgScan           categories;
	CgScan           prices; /* where a store is given */
} CgItemReader;

extern void cg_items_begin(CgItemReader *reader, const CgInquiry *inquiry);
extern void cg_items_read(CgItemReader *reader, int64 id, int32 line_no, CgItem *item);
extern void cg_items_end(CgItemReader *reader);

/* candidates.c: which promotions are open, and why others are not. */
typedef enum CgRefusal
{
	CG_NOT_REFUSED,
	CG_REFUSED_INACTIVE,
	CG_REFUSED_NOT_STARTED,
	CG_REFUSED_ENDED,
	CG_REFUSED_STORE,
	CG_REFUSED_CURRENCY,
	CG_REFUSED_GROUPS,
	CG_REFUSED_MEMBERSHIP_NOT_STARTED,
	CG_REFUSED_MEMBERSHIP_EXPIRED,
	CG_REFUSED_GROUP_DATES,
	CG_REFUSED_GROUP_PRICING,
	CG_REFUSED_SEGMENTS,
	CG_REFUSED_QUANTITY,
	CG_REFUSED_ORDER_VALUE
} CgRefusal;

typedef struct CgCandidates
{
	CgInquiry        *inquiry;
	const CgQuestion *question; /* NULL: what depends on it is not asked */
	uint32            number;   /* of the question, to mark promotions as seen */
	int               n;
	int               max;
	CgPromotion     **promotions;
} CgCandidates;

extern CgRefusal cg_refused_by_terms(const CgPromotion *promotion, const CgInquiry *inquiry);
extern CgRefusal cg_refused_by_audience(const CgPromotion *promotion, CgInquiry *inquiry);
extern CgRefusal cg_refused_by_conditions(const CgPromotion *promotion, CgDecimal quantity,
										  const CgDecimal *order_value);
extern bool      cg_covers_item(const CgPromotion *promotion, const CgItem *item);
extern void      cg_candidates_begin(CgCandidates *candidates, CgInquiry *inquiry);
extern void      cg_candidates_find(CgCandidates *candidates, const CgItem *item, bool order_level);
extern void      cg_candidates_add(CgCandidates *candidates, CgPromotion *promotion);
extern void      cg_candidates_sort(CgCandidates *candidates);
extern bool      cg_is_for_groups(const CgPromotion *promotion, const CgInquiry *inquiry,
								  int32 *group_id);

/* stage.c: rules 3 and 4. */
typedef struct CgStep
{
	CgPromotion *promotion;
	int          place; /* in its stage */
	CgDecimal    price; /* that it led to */
} CgStep;

/*
 * What the promotion at a place of its stage makes of a price: alone, of the
 * stage's, else of what the combinable ones before it have left.
 */
typedef CgDecimal (*CgApply)(void *target, int place, CgDecimal price, bool alone);

extern CgDecimal cg_price_with(const CgPromotion *promotion, CgDecimal price, CgDecimal min_price,
							   const CgRounding *rounding);
extern int       cg_stage_end(CgPromotion **promotions, int first, int n);
extern int cg_choose(CgPromotion **promotions, int n, CgDecimal price, CgApply apply, void *target,
					 CgStep *steps);

/* item_price.c: the price of one item. */
typedef struct CgPrice
{
	CgDecimal list_price;
	CgDecimal price;
	int       nsteps;
	CgStep   *steps; /* that lowered the price, in the order applied */
} CgPrice;

extern void cg_price_item(CgInquiry *inquiry, const CgItem *item, const CgQuestion *question,
						  CgPrice *price);
extern int  cg_item_stage(CgPromotion **promotions, int n, CgDecimal price, const CgItem *item,
						  const CgRounding *rounding, CgStep *steps);

/* order_level.c: promotions on the order. */
typedef struct CgOrderLine
{
	const CgItem *item;
	CgDecimal     floor; /* of its total */
	CgPricedLine *priced;
	int           max_shares; /* that priced->shares has room for */
} CgOrderLine;

extern void cg_price_order(CgInquiry *inquiry, CgOrderLine *lines, int nlines);
extern void cg_add_share(const CgInquiry *inquiry, CgOrderLine *line, const CgPromotion *promotion,
						 CgDecimal discount);

#endif
