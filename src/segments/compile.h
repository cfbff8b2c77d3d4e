/*
 * compile.h
 *		What the files that compile rules to SQL share.
 */
#ifndef CG_COMPILE_H
#define CG_COMPILE_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "pgtime.h"
#include "utils/date.h"

#include "segments/segment_rule.h"

#define OP(name) "OPERATOR(pg_catalog." name ")"
#define EQ OP("=")
#define NE OP("<>")
#define LT OP("<")
#define LE OP("<=")
#define GT OP(">")
#define GE OP(">=")
#define TIMES OP("*")
#define FIELD OP("->")
#define FIELD_TEXT OP("->>")
#define CONTAINS OP("@>")

/* Whole numbers from low to high; PG_INT64_MIN and PG_INT64_MAX: no limit. */
typedef struct CgRange
{
	int64 low;
	int64 high;
} CgRange;

/* compile_tests.c */
extern char *cg_text_literal(const text *value);
extern char *cg_date_literal(DateADT day);
extern char *cg_time_literal(TimestampTz at);
extern char *cg_ids_literal(List *ids);
extern char *cg_attribute_literal(const CgRuleNode *node, const char *value);
extern void  cg_append_number_test(StringInfo out, const CgRuleNode *node, const char *number,
								   const char *factor);
extern void  cg_append_count_test(StringInfo out, const CgRuleNode *node, const char *count);
extern int   cg_passing_ranges(const CgRuleNode *node, CgRange **ranges);
extern void  cg_append_days(StringInfo out, pg_tz *timezone, const char *column, CgRange days);

#endif
