/*
 * tiers.h
 *		What other rooms call of the tiers room.
 */
#ifndef CG_TIERS_H
#define CG_TIERS_H

#include "postgres.h"

#include "utils/numeric.h"
#include "utils/timestamp.h"

/* A customer whose tiers are to be judged. */
typedef struct CgTierCase
{
	int64       customer_id;
	bool        skip;   /* skip_auto_upgrade */
	int64       visits; /* over the whole time */
	Numeric     net_sales;
	TimestampTz latest; /* sold_at of the latest sale touched */
} CgTierCase;

extern void cg_upgrade_tiers(const CgTierCase *cases, int n);

#endif
