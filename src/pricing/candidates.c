/*
 * candidates.c
 *		Which promotions are open to an inquiry, and why others are not.
 *
 * A promotion is looked at in three parts: its terms (in use, time, store,
 * currency), its audience (groups, segments) and its conditions (quantity, order
 * value).  Those that cover an item are found through the index of the cache;
 * the audience, which may have to be asked of segments, is looked at last.
 */
#include "postgres.h"

#include "pricing/pricing_internal.h"

/* Why a promotion is not open there and then to anybody. */
CgRefusal
cg_refused_by_terms(const CgPromotion *promotion, const CgInquiry *inquiry)
{
	bool in_any_currency;

	if (!promotion->active)
		return CG_REFUSED_INACTIVE;
	if (inquiry->at < promotion->starts_at)
		return CG_REFUSED_NOT_STARTED;
	if (inquiry->at >= promotion->ends_at)
		return CG_REFUSED_ENDED;
	if (promotion->nstores > 0)
	{
		bool covered = false;

		for (int i = 0; inquiry->has_store && !covered && i < promotion->nstores; i++)
			covered = promotion->stores[i] == inquiry->store_id;
		if (!covered)
			return CG_REFUSED_STORE;
	}
	in_any_currency = promotion->kind == CG_PERCENT && !promotion->has_max_discount &&
					  !promotion->has_min_order_value;
	if (!in_any_currency &&
		strcmp(promotion->currency[0] != '\0' ? promotion->currency : inquiry->settings_currency,
			   inquiry->currency) != 0)
		return CG_REFUSED_CURRENCY;
	return CG_NOT_REFUSED;
}

/*
 * Whether one of its groups counts for this customer; the lowest of them is
 * returned in group_id, which may be NULL.
 */
bool
cg_is_for_groups(const CgPromotion *promotion, const CgInquiry *inquiry, int32 *group_id)
{
	int i = 0;
	int j = 0;

	while (i < promotion->ngroups && j < inquiry->ngroups)
	{
		if (promotion->groups[i] == inquiry->groups[j])
		{
			if (group_id != NULL)
				*group_id = promotion->groups[i];
			return true;
		}
		if (promotion->groups[i] < inquiry->groups[j])
			i++;
		else
			j++;
	}
	return false;
}

/* Whether this customer is in one of its segments. */
static bool
is_for_segments(const CgPromotion *promotion, CgInquiry *inquiry)
{
	if (promotion->nsegments == 0 || !inquiry->has_customer)
		return false;
	if (inquiry->segments == NULL)
	{
		inquiry->segments = cg_evaluation_begin(inquiry->at, inquiry->snapshot);
		cg_evaluation_customer(inquiry->segments, inquiry->customer_id);
	}
	for (int i = 0; i < promotion->nsegments; i++)
		if (cg_evaluation_in_segment(inquiry->segments, promotion->segments[i]))
			return true;
	return false;
}

/*
 * Why a promotion is not for this customer, whose memberships have been kept.
 * With several memberships in its groups it is the first reason that holds of
 * any of them.
 */
CgRefusal
cg_refused_by_audience(const CgPromotion *promotion, CgInquiry *inquiry)
{
	CgMembershipState first = CG_MEMBERSHIP_COUNTS;
	int               i = 0;
	int               j = 0;

	if (!cg_is_restricted(promotion) || cg_is_for_groups(promotion, inquiry, NULL) ||
		is_for_segments(promotion, inquiry))
		return CG_NOT_REFUSED;
	if (promotion->ngroups == 0 && promotion->nsegments > 0)
		return CG_REFUSED_SEGMENTS;
	while (i < promotion->ngroups && j < inquiry->nmemberships)
	{
		if (promotion->groups[i] == inquiry->memberships[j].group_id)
			first = Min(first, inquiry->memberships[j].state);
		if (promotion->groups[i] <= inquiry->memberships[j].group_id)
			i++;
		else
			j++;
	}
	switch (first)
	{
		case CG_MEMBERSHIP_NOT_STARTED:
			return CG_REFUSED_MEMBERSHIP_NOT_STARTED;
		case CG_MEMBERSHIP_EXPIRED:
			return CG_REFUSED_MEMBERSHIP_EXPIRED;
		case CG_GROUP_NOT_IN_DATES:
			return CG_REFUSED_GROUP_DATES;
		case CG_GROUP_PRICING_OFF:
			return CG_REFUSED_GROUP_PRICING;
		case CG_MEMBERSHIP_COUNTS:
			break;
	}
	return CG_REFUSED_GROUPS;
}

/* Why a promotion does not apply to so much; order_value is NULL when not known. */
CgRefusal
cg_refused_by_conditions(const CgPromotion *promotion, CgDecimal quantity,
						 const CgDecimal *order_value)
{
	if (promotion->has_min_quantity && quantity < promotion->min_quantity)
		return CG_REFUSED_QUANTITY;
	if (promotion->has_min_order_value &&
		(order_value == NULL || *order_value < promotion->min_order_value))
		return CG_REFUSED_ORDER_VALUE;
	return CG_NOT_REFUSED;
}

/* Whether a promotion covers an item. */
bool
cg_covers_item(const CgPromotion *promotion, const CgItem *item)
{
	for (int i = 0; i < item->ncovers; i++)
		if (cg_promotion_covers(promotion, item->covers[i]))
			return true;
	return false;
}

/*
 * Begins to collect candidates for an inquiry.
 */
void
cg_candidates_begin(CgCandidates *candidates, CgInquiry *inquiry)
{
	candidates->inquiry = inquiry;
	candidates->question = NULL;
	candidates->number = cg_next_question();
	candidates->n = 0;
	candidates->max = 32;
	candidates->promotions = palloc(candidates->max * sizeof(CgPromotion *));
}

void
cg_candidates_add(CgCandidates *candidates, CgPromotion *promotion)
{
	if (candidates->n == candidates->max)
	{
		candidates->max *= 2;
		candidates->promotions = repalloc(candidates->promotions,
										  candidates->max * sizeof(CgPromotion *));
	}
	candidates->promotions[candidates->n++] = promotion;
}

/* Takes a promotion that was found, once, if nothing refuses it. */
static void
consider(CgPromotion *promotion, void *state)
{
	CgCandidates     *candidates = state;
	CgInquiry        *inquiry = candidates->inquiry;
	const CgQuestion *question = candidates->question;

	if (promotion->seen == candidates->number)
		return;
	promotion->seen = candidates->number;
	if (cg_refused_by_terms(promotion, inquiry) != CG_NOT_REFUSED)
		return;
	if (question != NULL &&
		cg_refused_by_conditions(promotion, question->quantity,
								 question->has_order_value ? &question->order_value : NULL) !=
			CG_NOT_REFUSED)
		return;
	/* One that was found by a group is for it. */
	if (promotion->wide && cg_is_restricted(promotion) &&
		!cg_is_for_groups(promotion, inquiry, NULL) && !is_for_segments(promotion, inquiry))
		return;
	cg_candidates_add(candidates, promotion);
}

/*
 * Adds the promotions of a level that cover an item and are open; with a
 * question, those whose conditions it meets.
 */
void
cg_candidates_find(CgCandidates *candidates, const CgItem *item, bool order_level)
{
	const CgInquiry *inquiry = candidates->inquiry;

	cg_find_promotions(item->covers, item->ncovers, order_level, inquiry->groups, inquiry->ngroups,
					   consider, candidates);
}

static int
compare_candidates(const void *a, const void *b)
{
	const CgPromotion *x = *(CgPromotion *const *) a;
	const CgPromotion *y = *(CgPromotion *const *) b;

	if (x->stage != y->stage)
		return x->stage < y->stage ? -1 : 1;
	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* Sorts candidates ascending by stage, priority and id. */
void
cg_candidates_sort(CgCandidates *candidates)
{
	if (candidates->n > 1)
		qsort(candidates->promotions, candidates->n, sizeof(CgPromotion *), compare_candidates);
}
