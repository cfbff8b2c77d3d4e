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

#include "executor/tuptable.h"
#include "utils/date.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "segments/segment_rule.h"

/* evaluate.c: one question, or many about one time under one snapshot. */
typedef struct CgEvaluation CgEvaluation;

extern CgEvaluation *cg_evaluation_begin(TimestampTz at, Snapshot snapshot);
extern void          cg_evaluation_customer(CgEvaluation *evaluation, int64 customer_id);
extern bool          cg_evaluation_find(CgEvaluation *evaluation, int64 customer_id);
extern void cg_evaluation_take(CgEvaluation *evaluation, int64 customer_id, TupleTableSlot *facts);
extern bool cg_evaluation_tracked_on(CgEvaluation *evaluation, DateADT *day);
extern void cg_evaluation_move(CgEvaluation *evaluation, DateADT day);
extern bool cg_evaluation_in_segment(CgEvaluation *evaluation, int32 segment_id);
extern bool cg_evaluation_fulfils(CgEvaluation *evaluation, const SegmentRule *rule);
extern void cg_evaluation_end(CgEvaluation *evaluation);
extern bool cg_is_birthday(const CgRuleNode *node, DateADT today, int birth_month, int birth_day);

/* segment_cache.c */
typedef struct CgSegment
{
	int32        id;
	bool         show_label;
	text        *code;
	text        *name;
	text        *color;
	SegmentRule *rule;
	bool         tracked;
	bool         pending; /* its stored members are still to be filled in */
	TimestampTz  pending_since;
	uint32       depends; /* on what, CG_DEPENDS_..., for a tracked one */
} CgSegment;

/* What the answer to a rule can depend on. */
#define CG_DEPENDS_SALES (1 << 0)   /* facts that sales change, and sales themselves */
#define CG_DEPENDS_LINES (1 << 1)   /* what was sold in them */
#define CG_DEPENDS_MEMBERS (1 << 2) /* memberships, tiers included */
#define CG_DEPENDS_RECORD (1 << 3)  /* the customer's own row */
#define CG_DEPENDS_DAY (1 << 4)     /* what day it is */
#define CG_DEPENDS_ZONE (1 << 5)    /* on what day a time was */
#define CG_DEPENDS_ALL ((1 << 6) - 1)
#define CG_DEPENDS_ROWS (1 << 6) /* of any of them, on other rows than the facts */

typedef struct CgSegments
{
	uint64     generation; /* grows with every change of what is cached */
	int        n;
	int        ntracked;
	CgSegment *segments; /* by position, then code */
} CgSegments;

extern const CgSegments *cg_segments(Snapshot snapshot);
extern int               cg_find_segment(int32 id);
extern bool              cg_find_code(CgRuleNameKind kind, const text *code, int32 *value);
extern bool              cg_category_is_in(int32 category, int32 ancestor);
extern bool              cg_is_named(CgRuleNameKind kind, const text *code);

extern int32 cg_segment_by_code(const text *code);
extern List *cg_categories_in(int32 ancestor);

pg_noreturn extern void cg_raise_circle(const CgSegment *segment);

/*
 * compile.c: rules as SQL, for many customers at once.  In
 *
 *		SELECT f.customer_id FROM <from> WHERE <conditions[i]>
 *
 * f is customer_facts, which a caller may restrict further, for example by
 * f.customer_id = ANY ($1); a condition that is null counts as false.  The text
 * holds what the snapshot read and what day it was: run it under that snapshot.
 */
typedef struct CgCompiledRules
{
	char  *from;
	char **conditions; /* one for each rule */
	bool   subqueries; /* some hold sub-queries over the facts' customers */
} CgCompiledRules;

extern CgCompiledRules cg_compile_rules(const SegmentRule *const *rules, int n, TimestampTz at,
										Snapshot snapshot);

/* references.c */
extern void cg_check_rule_names(const SegmentRule *rule, const SegmentRule *known,
								Snapshot snapshot);
extern void cg_check_rule_nesting(const SegmentRule *rule, int place, const CgSegments *segments);

#endif
