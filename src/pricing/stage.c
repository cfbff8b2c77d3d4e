/*
 * stage.c
 *		What one promotion makes of a price, and which promotions of a stage apply.
 *
 * Nothing here knows what the price is of: a unit of an item, or an order.
 */
#include "postgres.h"

#include "pricing/pricing_internal.h"

/*
 * What one promotion makes of a price, rounded, not below the floor.
 */
CgDecimal
cg_price_with(const CgPromotion *promotion, CgDecimal price, CgDecimal min_price,
			  const CgRounding *rounding)
{
	CgDecimal least = 0;
	CgDecimal result = 0;

	if (promotion->has_max_discount)
		least = Max(price - promotion->max_discount, 0);
	switch (promotion->kind)
	{
		case CG_PERCENT:
			result = cg_decimal_less_percent(price, promotion->value, least, rounding);
			break;
		case CG_AMOUNT:
			result = cg_decimal_round(Max(price - promotion->value, least), rounding);
			break;
		case CG_FIXED_PRICE:
			result = cg_decimal_round(Max(promotion->value, least), rounding);
			break;
	}
	return Min(price, Max(result, min_price));
}

/* The end of the stage that begins with promotions[first], of n in order. */
int
cg_stage_end(CgPromotion **promotions, int first, int n)
{
	int end = first + 1;

	while (end < n && promotions[end]->stage == promotions[first]->stage)
		end++;
	return end;
}

/*
 * Chooses what applies of one stage: promotions[0 .. n - 1], ascending by
 * priority and id, on a price.  Writes what lowers it to steps[], which has room
 * for n, in the order applied, and returns how many.
 */
int
cg_choose(CgPromotion **promotions, int n, CgDecimal price, CgApply apply, void *target,
		  CgStep *steps)
{
	CgDecimal best_price = price; /* by one that is not combinable, alone */
	int       best = n;
	CgDecimal combined_price = price;
	int       first_combined = n; /* that changed the price */
	int       ncombined = 0;

	for (int i = 0; i < n; i++)
	{
		CgDecimal result;

		if (promotions[i]->combinable)
		{
			result = apply(target, i, combined_price, false);
			if (result < combined_price)
			{
				combined_price = result;
				first_combined = Min(first_combined, i);
				steps[ncombined].promotion = promotions[i];
				steps[ncombined].place = i;
				steps[ncombined++].price = result;
			}
		}
		else
		{
			result = apply(target, i, price, true);
			if (result < best_price)
			{
				best = i;
				best_price = result;
			}
		}
	}

	if (ncombined > 0 &&
		(combined_price < best_price || (combined_price == best_price && first_combined < best)))
		return ncombined;
	if (best == n)
		return 0;
	steps[0].promotion = promotions[best];
	steps[0].place = best;
	steps[0].price = best_price;
	return 1;
}
