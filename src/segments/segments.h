/*
 * segments.h
 *		What other rooms call of the segments room: whether a customer is in a
 *		segment or fulfils a rule, and the backend's cache of segments.
 *
 * Answers are what the given snapshot would read.  Pointers into the cache are
 * good until the next cg_segments().
 */
#ifndef CG_SEGMENTS_H
#define CG_SEGMENTS_H

#include "postgres.h"

#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "segments/segment_rule.h"

/* evaluate.c: one question, or many about one time under one snapshot. */
typedef struct CgEvaluation CgEvaluation;

extern bool cg_in_segment(int64 customer_id, int32 segment_id, TimestampTz at, Snapshot snapshot);

extern CgEvaluation *cg_evaluation_begin(TimestampTz at, Snapshot snapshot);
extern void          cg_evaluation_customer(CgEvaluation *evaluation, int64 customer_id);
extern bool          cg_evaluation_in_segment(CgEvaluation *evaluation, int32 segment_id);
extern bool          cg_evaluation_fulfils(CgEvaluation *evaluation, const SegmentRule *rule);
extern void          cg_evaluation_end(CgEvaluation *evaluation);

/* segment_cache.c */
typedef struct CgSegment
{
	int32        id;
	bool         show_label;
	text        *code;
	text        *name;
	text        *color;
	SegmentRule *rule;
} CgSegment;

typedef struct CgSegments
{
	uint64     generation; /* grows with every change of what is cached */
	int        n;
	CgSegment *segments; /* by position, then code */
} CgSegments;

extern const CgSegments *cg_segments(Snapshot snapshot);
extern int               cg_find_segment(int32 id);
extern bool              cg_find_code(CgRuleNameKind kind, const text *code, int32 *value);
extern bool              cg_category_is_in(int32 category, int32 ancestor);
extern bool              cg_is_named(CgRuleNameKind kind, const text *code);

/* references.c */
extern void cg_check_rule_names(const SegmentRule *rule, const SegmentRule *known,
								Snapshot snapshot);

#endif
