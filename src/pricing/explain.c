/*
 * explain.c
 *		explain_discount: what became of each promotion that covers an item.
 *
 * All promotions are gone through, the inactive and the order-level ones too, so
 * that nothing that covers the item is left out; what refuses them and what
 * applies is asked of the same code that prices.  Memory is the caller's.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "pricing/pricing_internal.h"

/* What became of a promotion. */
typedef struct Finding
{
	const char *verdict;
	bool        has_discount;
	CgDecimal   discount;
	const char *reason; /* NULL for applied */
} Finding;

/* The promotions that cover the item, as they are collected. */
typedef struct Covering
{
	const CgItem *item;
	CgCandidates  candidates;
} Covering;

static const char *const reasons[] = {
	[CG_REFUSED_INACTIVE] = "inactive",
	[CG_REFUSED_NOT_STARTED] = "not started",
	[CG_REFUSED_ENDED] = "ended",
	[CG_REFUSED_STORE] = "other store",
	[CG_REFUSED_CURRENCY] = "other currency",
	[CG_REFUSED_GROUPS] = "not in its groups",
	[CG_REFUSED_MEMBERSHIP_NOT_STARTED] = "membership not started",
	[CG_REFUSED_MEMBERSHIP_EXPIRED] = "membership expired",
	[CG_REFUSED_GROUP_DATES] = "group not in its dates",
	[CG_REFUSED_GROUP_PRICING] = "group pricing off in this store",
	[CG_REFUSED_SEGMENTS] = "not in its segments",
};

static void
collect(CgPromotion *promotion, void *state)
{
	Covering *covering = state;

	CHECK_FOR_INTERRUPTS();
	if (cg_covers_item(promotion, covering->item))
		cg_candidates_add(&covering->candidates, promotion);
}

/* The code of a promotion, as the snapshot reads it. */
static char *
code_of(const CgInquiry *inquiry, const CgPromotion *promotion)
{
	CgScan scan;
	bool   isnull;
	char  *code;

	cg_scan_begin(&scan, CG_PROMOTIONS, inquiry->snapshot, 1, Int32GetDatum(promotion->id), 0);
	if (!cg_scan_next(&scan))
		elog(ERROR, "promotion %d is cached and not in its table", promotion->id);
	code = TextDatumGetCString(cg_scan_get(&scan, CG_PROMOTIONS_CODE, &isnull));
	cg_scan_end(&scan);
	return code;
}

static char *
print_decimal(CgDecimal value, int digits)
{
	return DatumGetCString(
		DirectFunctionCall1(numeric_out, NumericGetDatum(cg_decimal_to_numeric(value, digits))));
}

/* Why a promotion is no candidate; NULL when it is one. */
static const char *
find_reason(const CgPromotion *promotion, CgInquiry *inquiry, const CgQuestion *question)
{
	CgRefusal refusal = cg_refused_by_terms(promotion, inquiry);

	if (refusal == CG_NOT_REFUSED)
		refusal = cg_refused_by_audience(promotion, inquiry);
	if (refusal != CG_NOT_REFUSED)
		return reasons[refusal];
	if (promotion->order_level)
		return "whole order";
	switch (cg_refused_by_conditions(promotion, question->quantity,
									 question->has_order_value ? &question->order_value : NULL))
	{
		case CG_REFUSED_QUANTITY:
			return psprintf("needs quantity %s", print_decimal(promotion->min_quantity, 0));
		case CG_REFUSED_ORDER_VALUE:
			return psprintf("needs order value %s",
							print_decimal(promotion->min_order_value, inquiry->rounding.digits));
		default:
			return NULL;
	}
}

/*
 * Explains one stage, of n promotions that begin on a price: fills findings and
 * returns the price that is left.
 */
static CgDecimal
explain_stage(CgPromotion **promotions, int n, Finding *findings, CgDecimal price,
			  const CgItem *item, const CgQuestion *question, CgInquiry *inquiry)
{
	CgPromotion **candidates = palloc(n * sizeof(CgPromotion *));
	int          *places = palloc(n * sizeof(int)); /* of candidates among all */
	CgStep       *steps = palloc(n * sizeof(CgStep));
	int           ncandidates = 0;
	int           nsteps;
	CgDecimal     left = price;
	const char   *better = NULL;

	for (int i = 0; i < n; i++)
	{
		findings[i].verdict = "not applicable";
		findings[i].has_discount = false;
		findings[i].reason = find_reason(promotions[i], inquiry, question);
		if (findings[i].reason != NULL)
			continue;
		places[ncandidates] = i;
		candidates[ncandidates++] = promotions[i];
	}

	nsteps = cg_item_stage(candidates, ncandidates, price, item, &inquiry->rounding, steps);
	for (int i = 0; i < nsteps; i++)
	{
		Finding *finding = &findings[places[steps[i].place]];

		finding->verdict = "applied";
		finding->has_discount = true;
		finding->discount = left - steps[i].price;
		left = steps[i].price;
	}
	for (int i = 0; i < ncandidates; i++)
	{
		Finding  *finding = &findings[places[i]];
		CgDecimal alone;
		bool is_winner = nsteps > 0 && candidates[i]->combinable && steps[0].promotion->combinable;

		if (finding->has_discount)
			continue;
		alone = price - cg_price_with(candidates[i], price, item->min_price, &inquiry->rounding);
		/* One that applies together with others may find nothing left to take. */
		if (alone == 0 || is_winner)
		{
			finding->reason = "no effect";
			continue;
		}
		if (better == NULL)
			better = psprintf("better price by %s", code_of(inquiry, steps[0].promotion));
		finding->verdict = "beaten";
		finding->has_discount = true;
		finding->discount = alone;
		finding->reason = better;
	}
	return left;
}

/*
 * explain_discount(customer_id, item_id, store_id, quantity, order_value, at)
 *		→ TABLE(promotion_id, code, verdict, discount, reason)
 */
PG_FUNCTION_INFO_V1(cg_explain_discount);
Datum
cg_explain_discount(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CgInquiry      inquiry;
	CgQuestion     question;
	CgItemReader   reader;
	CgItem         item = {0};
	Covering       covering = {.item = &item};
	CgPromotion  **promotions;
	Finding       *findings;
	CgDecimal      price;
	int            n;

	InitMaterializedSRF(fcinfo, 0);
	if (!cg_read_question(fcinfo, false, &inquiry, &question))
		return (Datum) 0;
	inquiry.keeps_memberships = true;
	cg_inquiry_begin(&inquiry);
	cg_items_begin(&reader, &inquiry);
	cg_items_read(&reader, question.item_id, 0, &item);
	cg_items_end(&reader);
	cg_candidates_begin(&covering.candidates, &inquiry);
	cg_each_promotion(collect, &covering);
	cg_candidates_sort(&covering.candidates);

	promotions = covering.candidates.promotions;
	n = covering.candidates.n;
	findings = palloc((n + 1) * sizeof(Finding));
	price = item.list_price;
	for (int first = 0, end; first < n; first = end)
	{
		CHECK_FOR_INTERRUPTS();
		end = cg_stage_end(promotions, first, n);
		price = explain_stage(&promotions[first], end - first, &findings[first], price, &item,
							  &question, &inquiry);
	}
	for (int i = 0; i < n; i++)
	{
		const Finding *finding = &findings[i];
		Datum          values[5] = {Int32GetDatum(promotions[i]->id),
									CStringGetTextDatum(code_of(&inquiry, promotions[i])),
									CStringGetTextDatum(finding->verdict)};
		bool nulls[5] = {false, false, false, !finding->has_discount, finding->reason == NULL};

		if (finding->has_discount)
			values[3] = NumericGetDatum(
				cg_decimal_to_numeric(finding->discount, inquiry.rounding.digits));
		if (finding->reason != NULL)
			values[4] = CStringGetTextDatum(finding->reason);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	cg_inquiry_end(&inquiry);
	return (Datum) 0;
}
