/*
 * tiers.h
 *		What the tiers room shows of itself: upgrades for booking, the moves that
 *		the engine makes for the trigger on members, and what its files share.
 */
#ifndef CG_TIERS_H
#define CG_TIERS_H

#include "postgres.h"

#include "pgtime.h"
#include "utils/date.h"
#include "utils/numeric.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "promotions/promotions.h"

/* A customer whose tiers are to be judged. */
typedef struct CgTierCase
{
	int64       customer_id;
	bool        skip;      /* skip_auto_upgrade */
	bool        has_sales; /* any, of whatever kind */
	int64       visits;    /* over the whole time */
	Numeric     net_sales;
	TimestampTz latest; /* sold_at of the latest sale touched */
} CgTierCase;

extern void cg_upgrade_tiers(const CgTierCase *cases, int n, Snapshot snapshot);

/*
 * A move that the engine makes on a ladder: up to a tier, or down to a lower one
 * or none.  A tier that is out of its dates, or whose membership is not valid,
 * is none.
 */
typedef struct CgTierMove
{
	int64         customer_id;
	const CgTier *from;    /* NULL: none */
	const CgTier *to;      /* NULL: none */
	Numeric       measure; /* what was reached */
} CgTierMove;

extern void              cg_move_tiers(const CgTierMove *moves, int n);
extern const CgTierMove *cg_find_move(int64 customer_id, const char *ladder, int32 to);

/* Windows of ladders with a period, and what a ladder measures. */
extern bool    cg_in_effect(const CgTier *tier, DateADT day);
extern DateADT cg_window_start(DateADT last, Interval *period);
extern Numeric cg_tier_measure(const CgTierCase *tier_case, const CgTier *tier, DateADT day,
							   pg_tz *timezone, bool reading);

#endif
