/*-------------------------------------------------------------------------
 *
 * segment_rule_internal.h
 *	  What the files of the type segment_rule share among themselves.
 *
 * Text, jsonb and a renamed rule are all first a tree of CgRuleExpr, made in
 * the current memory context, which cg_rule_build() checks and lays out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CG_SEGMENT_RULE_INTERNAL_H
#define CG_SEGMENT_RULE_INTERNAL_H

#include "lib/stringinfo.h"
#include "segment_rule.h"

/* Hints that both text and jsonb give. */
#define CG_RULE_METRICS                                                                            \
	"Metrics are visits, net_sales, average_sale, refunds, prepaid_purchases, pass_purchases "     \
	"and no_shows; dates are registered, first_visit and last_visit"
#define CG_RULE_DAYS_HINT                                                                          \
	"A number of days is an integer from 0 to " CppAsString2(CG_RULE_MAX_DAYS) "."
#define CG_RULE_MONTH_HINT "A month is an integer from 1 to 12."
#define CG_RULE_DATE_HINT "A date is written 'YYYY-MM-DD'."
#define CG_RULE_NUMBER_HINT "A number has at most " CppAsString2(CG_RULE_MAX_DIGITS) " digits."
#define CG_RULE_WINDOW_HINT "Only visits, net_sales, refunds and no_shows have a window of days."
#define CG_RULE_TEXT_OP_HINT                                                                       \
	"Text is compared by =, <> and IN; a number without quotes is compared by value."
#define CG_RULE_BOOLEAN_OP_HINT "true and false are compared by =, <> and IN."

/* A node as it is being made; the fields are those of CgRuleNode. */
typedef struct CgRuleExpr
{
	CgRuleKind   kind;
	CgRuleMetric metric;
	CgRuleOp     op;
	CgRuleType   type;
	int32        days;
	text        *name;
	List        *args; /* CgRuleExpr, Numeric, text, or integers for dates and booleans */
} CgRuleExpr;

/* A piece of the text, in bytes. */
typedef struct CgRuleSpan
{
	int start;
	int end;
} CgRuleSpan;

/* What scanner and grammar know while they read one text. */
typedef struct CgRuleParse
{
	const char  *input;
	struct Node *escontext;
	const char  *problem;      /* what is wrong with the last token */
	const char  *problem_hint; /* or NULL */
	int          depth;        /* of parentheses and NOT */
	CgRuleExpr  *result;
} CgRuleParse;

/* segment_rule.c */
extern CgRuleExpr  *cg_rule_expr(void);
extern CgRuleExpr  *cg_rule_chain(CgRuleKind kind, CgRuleExpr *left, CgRuleExpr *right);
extern SegmentRule *cg_rule_build(const CgRuleExpr *expr, struct Node *escontext);
extern bool         cg_rule_limit_error(struct Node *escontext, int limit, const char *what);
extern bool         cg_rule_parse_error(CgRuleParse *parse, CgRuleSpan at, const char *problem,
										const char *hint);
extern bool         cg_rule_number(Numeric number, Numeric *result);
extern bool         cg_rule_number_from_cstring(const char *literal, Numeric *result);
extern bool         cg_rule_int_from_cstring(const char *digits, int min, int max, int32 *result);
extern bool         cg_rule_date_from_cstring(const char *str, int32 *result);
extern bool         cg_metric_from_cstring(const char *str, CgRuleMetric *result);

/* segment_rule_out.c */
extern void cg_rule_print_date(StringInfo out, DateADT date);

/* segment_rule_scan.l, segment_rule_gram.y */
extern void cg_rule_scanner_init(CgRuleParse *parse, void **scanner);
extern void cg_rule_scanner_finish(void *scanner);
extern int  cg_rule_yyparse(CgRuleParse *parse, void *scanner);

#endif /* CG_SEGMENT_RULE_INTERNAL_H */
