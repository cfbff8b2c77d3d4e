/*
 * order_level.c
 *		Promotions on the whole order, and what each line gets of them.
 *
 * Stage by stage the best is chosen by the rule of items (stage.c), on the
 * order's total.  A promotion is computed on the sum of the lines that it covers;
 * what it takes off is spread over them in whole minor units, in proportion to
 * their totals and within their room, which is what a line has above its floor.
 * What no line has room for is not given, and candidates are compared by what
 * they really give.  Nothing depends on the order of the lines, but for equal
 * ones.
 *
 * All memory is the caller's.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "pricing/pricing_internal.h"

/* The lines that a promotion covers. */
typedef struct Coverage
{
	int       n;
	int      *lines;
	CgDecimal quantity;
} Coverage;

/* A line as a discount is spread; amounts are counts of minor units. */
typedef struct Part
{
	int       line;
	int64     item_id;
	CgDecimal quantity;
	int128    total;
	int128    room;
	int128    share;
	int128    remainder;
	bool      full; /* has got all that it has room for */
} Part;

typedef struct Order
{
	const CgInquiry *inquiry;
	int              nlines;
	CgOrderLine     *lines;
	CgDecimal       *totals;     /* of the lines, as the stage begins */
	CgDecimal       *combined;   /* after the combinable ones tried so far */
	CgPromotion    **promotions; /* of the stage */
	Coverage        *coverages;  /* of each of them */
	Part            *parts;      /* scratch */
} Order;

/* Notes what a promotion took off a line. */
void
cg_add_share(const CgInquiry *inquiry, CgOrderLine *line, const CgPromotion *promotion,
			 CgDecimal discount)
{
	CgPricedLine *priced = line->priced;
	CgShare      *share;

	if (priced->nshares == line->max_shares)
	{
		line->max_shares = Max(2 * line->max_shares, 4);
		priced->shares = priced->shares == NULL
							 ? palloc(line->max_shares * sizeof(CgShare))
							 : repalloc(priced->shares, line->max_shares * sizeof(CgShare));
	}
	share = &priced->shares[priced->nshares++];
	share->promotion_id = promotion->id;
	share->discount = discount;
	share->by_group = cg_is_for_groups(promotion, inquiry, &share->group_id);
}

/* Largest remainder first; then lower item, smaller quantity, lower line. */
static int
compare_parts(const void *a, const void *b)
{
	const Part *x = a;
	const Part *y = b;

	if (x->remainder != y->remainder)
		return x->remainder > y->remainder ? -1 : 1;
	if (x->item_id != y->item_id)
		return x->item_id < y->item_id ? -1 : 1;
	if (x->quantity != y->quantity)
		return x->quantity < y->quantity ? -1 : 1;
	return x->line - y->line;
}

/*
 * Spreads a discount, in minor units, over n parts that all have room; sets
 * their shares and returns how much they could take.
 */
static int128
spread(Part *parts, int n, int128 discount)
{
	int128 total = 0;
	int128 room = 0;
	int128 left;
	bool   changed;

	for (int i = 0; i < n; i++)
	{
		parts[i].full = false;
		parts[i].remainder = -1;
		total += parts[i].total;
		room += parts[i].room;
	}
	if (discount >= room)
	{
		for (int i = 0; i < n; i++)
			parts[i].share = parts[i].room;
		return room;
	}

	/* Those whose share is more than their room get that, and the others share the rest. */
	left = discount;
	do
	{
		int128 taken = 0;
		int128 gone = 0;

		CHECK_FOR_INTERRUPTS();
		changed = false;
		for (int i = 0; i < n; i++)
			if (!parts[i].full && left * parts[i].total > parts[i].room * total)
			{
				parts[i].full = changed = true;
				parts[i].share = parts[i].room;
				taken += parts[i].room;
				gone += parts[i].total;
			}
		left -= taken;
		total -= gone;
	} while (changed);

	/*
	 * A line that has a remainder has room for one unit more, as rooms are whole;
	 * and there are more such lines than units left.
	 */
	for (int i = 0; i < n; i++)
		if (!parts[i].full)
		{
			parts[i].share = left * parts[i].total / total;
			parts[i].remainder = left * parts[i].total % total;
		}
	for (int i = 0; i < n; i++)
		if (!parts[i].full)
			left -= parts[i].share;
	if (left > 0)
	{
		qsort(parts, n, sizeof(Part), compare_parts);
		for (int i = 0; i < (int) left; i++)
			parts[i].share++;
	}
	return discount;
}

/*
 * What a promotion takes off the lines' totals; with a share for each of
 * order->parts, of which there are *nparts.
 */
static CgDecimal
take(Order *order, const CgPromotion *promotion, const Coverage *coverage, const CgDecimal *totals,
	 int *nparts)
{
	const CgRounding *rounding = &order->inquiry->rounding;
	CgDecimal         unit = cg_decimal_unit(rounding);
	CgDecimal         sum = 0;
	CgDecimal         discount;
	int               n = 0;

	for (int i = 0; i < coverage->n; i++)
	{
		int       line = coverage->lines[i];
		CgDecimal floor = order->lines[line].floor;

		sum += totals[line];
		if (totals[line] <= floor)
			continue;
		order->parts[n].line = line;
		order->parts[n].item_id = order->lines[line].item->id;
		order->parts[n].quantity = order->lines[line].priced->quantity;
		order->parts[n].total = totals[line] / unit;
		order->parts[n++].room = (totals[line] - floor) / unit;
	}
	*nparts = n;
	discount = sum - cg_price_with(promotion, sum, 0, rounding);
	return spread(order->parts, n, discount / unit) * unit;
}

/* Takes a promotion off the lines' totals, and notes its shares in the lines if asked to. */
static CgDecimal
take_off(Order *order, int place, CgDecimal *totals, bool note)
{
	const CgPromotion *promotion = order->promotions[place];
	CgDecimal          unit = cg_decimal_unit(&order->inquiry->rounding);
	int                nparts;
	CgDecimal          taken = take(order, promotion, &order->coverages[place], totals, &nparts);

	for (int i = 0; i < nparts; i++)
	{
		const Part *part = &order->parts[i];

		if (part->share == 0)
			continue;
		totals[part->line] -= part->share * unit;
		if (note)
			cg_add_share(order->inquiry, &order->lines[part->line], promotion, part->share * unit);
	}
	return taken;
}

static CgDecimal
apply_to_order(void *target, int place, CgDecimal price, bool alone)
{
	Order *order = target;
	int    nparts;

	CHECK_FOR_INTERRUPTS();
	if (alone)
		return price - take(order, order->promotions[place], &order->coverages[place],
							order->totals, &nparts);
	return price - take_off(order, place, order->combined, false);
}

/* Finds the lines that a promotion covers. */
static void
find_coverage(const Order *order, const CgPromotion *promotion, Coverage *coverage)
{
	coverage->n = 0;
	coverage->quantity = 0;
	coverage->lines = palloc(order->nlines * sizeof(int));
	for (int i = 0; i < order->nlines; i++)
		if (cg_covers_item(promotion, order->lines[i].item))
		{
			coverage->lines[coverage->n++] = i;
			coverage->quantity += order->lines[i].priced->quantity;
		}
}

/*
 * Applies the order-level promotions to lines that item-level ones have been
 * applied to: lowers their totals and adds shares.
 */
void
cg_price_order(CgInquiry *inquiry, CgOrderLine *lines, int nlines)
{
	Order        order = {.inquiry = inquiry, .nlines = nlines, .lines = lines};
	CgCandidates candidates;
	CgDecimal    total = 0;
	CgStep      *steps;

	cg_candidates_begin(&candidates, inquiry);
	for (int i = 0; i < nlines; i++)
		if (i == 0 || lines[i].item != lines[i - 1].item)
			cg_candidates_find(&candidates, lines[i].item, true);
	if (candidates.n == 0)
		return;
	cg_candidates_sort(&candidates);

	order.totals = palloc(nlines * sizeof(CgDecimal));
	order.combined = palloc(nlines * sizeof(CgDecimal));
	order.parts = palloc(nlines * sizeof(Part));
	order.promotions = palloc(candidates.n * sizeof(CgPromotion *));
	order.coverages = palloc(candidates.n * sizeof(Coverage));
	steps = palloc(candidates.n * sizeof(CgStep));
	for (int i = 0; i < nlines; i++)
	{
		order.totals[i] = lines[i].priced->total;
		total += order.totals[i];
	}

	for (int first = 0, end; first < candidates.n; first = end)
	{
		int n = 0;
		int nsteps;

		end = cg_stage_end(candidates.promotions, first, candidates.n);
		for (int i = first; i < end; i++)
		{
			Coverage *coverage = &order.coverages[n];

			CHECK_FOR_INTERRUPTS();
			find_coverage(&order, candidates.promotions[i], coverage);
			if (cg_refused_by_conditions(candidates.promotions[i], coverage->quantity, &total) ==
				CG_NOT_REFUSED)
				order.promotions[n++] = candidates.promotions[i];
			else
				pfree(coverage->lines);
		}
		memcpy(order.combined, order.totals, nlines * sizeof(CgDecimal));
		nsteps = cg_choose(order.promotions, n, total, apply_to_order, &order, steps);
		for (int i = 0; i < nsteps; i++)
			total -= take_off(&order, steps[i].place, order.totals, true);
		for (int i = 0; i < n; i++)
			pfree(order.coverages[i].lines);
	}
	for (int i = 0; i < nlines; i++)
		lines[i].priced->total = order.totals[i];
}
