/*
 * labels.c
 *		The SQL functions that say which segments a customer is in.
 *
 * They answer under the active snapshot, by evaluate.c.  A null customer is an
 * anonymous one, who is in no segment and fulfils no rule.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "calendar/calendar.h"
#include "catalog/tables.h"
#include "pricing/pricing.h"
#include "promotions/promotions.h"
#include "json.h"
#include "segments/segments.h"

#define MAX_LABEL_SETS 64 /* that labels_of() remembers */

/* The labels of everybody who is in the same segments. */
typedef struct LabelSet
{
	Bitmapset *places;
	Datum      labels; /* jsonb */
} LabelSet;

/* A rule whose names were found good. */
typedef struct CheckedRule
{
	uint64       generation;
	SegmentRule *rule;
} CheckedRule;

static Datum
segments_of(FunctionCallInfo fcinfo, bool by_key)
{
	ReturnSetInfo    *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz       at = cg_time_argument(fcinfo, 1);
	Snapshot          snapshot = GetActiveSnapshot();
	CgEvaluation     *evaluation;
	const CgSegments *segments;

	cg_check_view();
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;

	evaluation = cg_evaluation_begin(at, snapshot);
	segments = cg_segments(snapshot);
	cg_evaluation_customer(evaluation, by_key ? cg_customer_by_key(PG_GETARG_TEXT_PP(0), snapshot)
											  : PG_GETARG_INT64(0));
	for (int i = 0; i < segments->n; i++)
	{
		const CgSegment *segment = &segments->segments[i];

		CHECK_FOR_INTERRUPTS();
		if (segment->show_label && cg_evaluation_in_segment(evaluation, segment->id))
		{
			Datum values[3] = {PointerGetDatum(segment->code), PointerGetDatum(segment->name),
							   PointerGetDatum(segment->color)};
			bool  nulls[3] = {false};

			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	}
	cg_evaluation_end(evaluation);
	return (Datum) 0;
}

/*
 * segments_of(customer_id, at) → TABLE(code, name, color)
 */
PG_FUNCTION_INFO_V1(cg_segments_of);
Datum
cg_segments_of(PG_FUNCTION_ARGS)
{
	return segments_of(fcinfo, false);
}

PG_FUNCTION_INFO_V1(cg_segments_of_by_key);
Datum
cg_segments_of_by_key(PG_FUNCTION_ARGS)
{
	return segments_of(fcinfo, true);
}

/* The labels of the segments at these places, in the current memory context. */
static Datum
make_labels(const CgSegments *segments, const Bitmapset *places)
{
	JsonbParseState *state = NULL;
	int              place = -1;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	while ((place = bms_next_member(places, place)) >= 0)
	{
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		cg_push_pair(&state, "code", segments->segments[place].code);
		cg_push_pair(&state, "name", segments->segments[place].name);
		cg_push_pair(&state, "color", segments->segments[place].color);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
}

/*
 * The labels of a set, which most customers share with others; the oldest one
 * remembered makes room for a new one.
 */
static Datum
find_labels(LabelSet *sets, int *nsets, const CgSegments *segments, const Bitmapset *places,
			MemoryContext context)
{
	MemoryContext caller;
	LabelSet     *set;
	Datum         labels;

	for (int i = Max(*nsets - MAX_LABEL_SETS, 0); i < *nsets; i++)
		if (bms_equal(sets[i % MAX_LABEL_SETS].places, places))
			return sets[i % MAX_LABEL_SETS].labels;

	set = &sets[*nsets % MAX_LABEL_SETS];
	if (*nsets >= MAX_LABEL_SETS)
	{
		bms_free(set->places);
		pfree(DatumGetPointer(set->labels));
	}
	(*nsets)++;
	labels = make_labels(segments, places);
	caller = MemoryContextSwitchTo(context);
	set->places = bms_copy(places);
	set->labels = PointerGetDatum(PG_DETOAST_DATUM_COPY(labels));
	MemoryContextSwitchTo(caller);
	return set->labels;
}

/*
 * labels_of(customer_ids, at) → TABLE(customer_id, labels)
 */
PG_FUNCTION_INFO_V1(cg_labels_of);
Datum
cg_labels_of(PG_FUNCTION_ARGS)
{
	ReturnSetInfo    *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz       at = cg_time_argument(fcinfo, 1);
	Snapshot          snapshot = GetActiveSnapshot();
	MemoryContext     caller = CurrentMemoryContext;
	MemoryContext     scratch;
	CgEvaluation     *evaluation;
	const CgSegments *segments;
	LabelSet          sets[MAX_LABEL_SETS];
	int               nsets = 0;
	Datum            *ids;
	bool             *no_id;
	int               n;

	cg_check_view();
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE, &ids,
					  &no_id, &n);
	evaluation = cg_evaluation_begin(at, snapshot);
	segments = cg_segments(snapshot);
	scratch = AllocSetContextCreate(CurrentMemoryContext, "customer_groups labels of one customer",
									ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i++)
	{
		Bitmapset *places = NULL;
		Datum      values[2];
		bool       nulls[2] = {no_id[i], false};

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(scratch);
		MemoryContextSwitchTo(scratch);
		if (!no_id[i])
			cg_evaluation_customer(evaluation, DatumGetInt64(ids[i]));
		for (int place = 0; !no_id[i] && place < segments->n; place++)
			if (segments->segments[place].show_label &&
				cg_evaluation_in_segment(evaluation, segments->segments[place].id))
				places = bms_add_member(places, place);
		values[0] = ids[i];
		values[1] = find_labels(sets, &nsets, segments, places, caller);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextSwitchTo(caller);
	}
	cg_evaluation_end(evaluation);
	MemoryContextDelete(scratch);
	return (Datum) 0;
}

/*
 * in_segment(customer_id, code, at) → boolean
 */
PG_FUNCTION_INFO_V1(cg_in_segment);
Datum
cg_in_segment(PG_FUNCTION_ARGS)
{
	TimestampTz   at = cg_time_argument(fcinfo, 2);
	Snapshot      snapshot = GetActiveSnapshot();
	CgEvaluation *evaluation;
	int32         place;
	bool          result;

	cg_check_view();
	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	evaluation = cg_evaluation_begin(at, snapshot);
	place = cg_segment_by_code(PG_GETARG_TEXT_PP(1));
	if (PG_ARGISNULL(0))
		result = false;
	else
	{
		cg_evaluation_customer(evaluation, PG_GETARG_INT64(0));
		result = cg_evaluation_in_segment(evaluation, cg_segments(snapshot)->segments[place].id);
	}
	cg_evaluation_end(evaluation);
	PG_RETURN_BOOL(result);
}

/*
 * Refuses a rule with unknown names.  One that was found good is not looked at
 * again by the same call site, as long as nothing that is cached has changed.
 */
static void
check_names(FmgrInfo *flinfo, const SegmentRule *rule, Snapshot snapshot)
{
	CheckedRule *checked = flinfo->fn_extra;
	uint64       generation = cg_segments(snapshot)->generation;

	if (checked == NULL)
	{
		checked = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(CheckedRule));
		flinfo->fn_extra = checked;
	}
	if (checked->rule != NULL && checked->generation == generation &&
		VARSIZE(checked->rule) == VARSIZE(rule) && memcmp(checked->rule, rule, VARSIZE(rule)) == 0)
		return;

	cg_check_rule_names(rule, NULL, snapshot);
	if (checked->rule != NULL)
		pfree(checked->rule);
	checked->rule = NULL;
	checked->rule = MemoryContextAlloc(flinfo->fn_mcxt, VARSIZE(rule));
	memcpy(checked->rule, rule, VARSIZE(rule));
	checked->generation = generation;
}

/*
 * matches(customer_id, rule, at) → boolean
 */
PG_FUNCTION_INFO_V1(cg_matches);
Datum
cg_matches(PG_FUNCTION_ARGS)
{
	TimestampTz   at = cg_time_argument(fcinfo, 2);
	Snapshot      snapshot = GetActiveSnapshot();
	CgEvaluation *evaluation;
	SegmentRule  *rule;
	bool          result;

	cg_check_view();
	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	rule = PG_GETARG_SEGMENT_RULE_P(1);
	check_names(fcinfo->flinfo, rule, snapshot);
	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	evaluation = cg_evaluation_begin(at, snapshot);
	cg_evaluation_customer(evaluation, PG_GETARG_INT64(0));
	result = cg_evaluation_fulfils(evaluation, rule);
	cg_evaluation_end(evaluation);
	PG_RETURN_BOOL(result);
}
