/*-------------------------------------------------------------------------
 *
 * segment_rule.h
 *	  The type segment_rule: its tree, and what other rooms call.
 *
 * A value is one varlena: a layout number, then the root node.  A node is a
 * CgRuleNode followed by what it holds, in this order:
 *
 *	  AND, OR, NOT:	  nargs nodes, its children
 *	  a condition:	  a name (text), if the kind has one, then nargs values,
 *					  all of one CgRuleType
 *
 * Names, texts and numerics are plain varlenas with a four-byte header, and
 * everything starts at a multiple of four bytes, with zeros between: a reader
 * uses them in place, through the functions below, and never copies.  There
 * are no offsets, only sizes, so that a node can be moved by memcpy.
 *
 * Invariants, kept by cg_rule_build(), the only place that makes a value:
 *
 *	- equal rules are equal byte for byte: numerics are trimmed of trailing
 *	  zeros, a child of an AND is not an AND, nor that of an OR an OR, and
 *	  AND and OR have two children or more;
 *	- the limits below hold, for the canonical text too, so that what was
 *	  printed can be read again;
 *	- a metric, an operator and values are there exactly where the kind has
 *	  them, with the types that the comments of CgRuleKind give; `days` is -1
 *	  where there is none.
 *
 * Functions return memory of the current context.  They read no table and
 * take no lock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CG_SEGMENT_RULE_H
#define CG_SEGMENT_RULE_H

#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/date.h"
#include "utils/numeric.h"

#include "../compat.h"

#define CG_RULE_LAYOUT 1

#define CG_RULE_MAX_CHARS 65536     /* of text, as given and as printed */
#define CG_RULE_MAX_CONDITIONS 1000 /* leaves of the tree */
#define CG_RULE_MAX_DEPTH 100       /* levels of AND, OR, NOT, parentheses */
#define CG_RULE_MAX_NESTING 500     /* levels of a rule and the segments that it names */
#define CG_RULE_MAX_DIGITS 1000     /* of a number, printed without exponent */
#define CG_RULE_MAX_DAYS 100000     /* IN LAST, WITHIN, WITHIN NEXT */

/* The enums are stored: give new members new numbers. */

typedef enum CgRuleKind
{
	/* ordered by precedence, which the printer relies on */
	CG_RULE_OR = 1,
	CG_RULE_AND = 2,
	CG_RULE_NOT = 3,

	CG_RULE_ALL = 10,
	CG_RULE_METRIC = 11,               /* metric, days or -1, op, numbers */
	CG_RULE_DATE = 12,                 /* date metric, op, dates */
	CG_RULE_DAYS_SINCE = 13,           /* date metric, op, numbers */
	CG_RULE_WITHIN = 14,               /* date metric, days */
	CG_RULE_BIRTHDAY_TODAY = 15,       /* nothing else */
	CG_RULE_BIRTHDAY_THIS_MONTH = 16,  /* nothing else */
	CG_RULE_BIRTHDAY_IN_MONTH = 17,    /* days: the month, 1 to 12 */
	CG_RULE_BIRTHDAY_WITHIN_NEXT = 18, /* days */
	CG_RULE_BOUGHT_ITEM = 19,          /* name, days or -1, op, numbers */
	CG_RULE_BOUGHT_CATEGORY = 20,      /* likewise */
	CG_RULE_BOUGHT_BRAND = 21,         /* likewise */
	CG_RULE_ATTRIBUTE = 22,            /* name, op, numbers, texts or booleans */
	CG_RULE_MEMBER = 23,               /* name: a group's code */
	CG_RULE_TIER = 24,                 /* name: a ladder's code, op, texts */
	CG_RULE_SEGMENT = 25               /* name */
} CgRuleKind;

#define CG_RULE_LAST_KIND CG_RULE_SEGMENT

typedef enum CgRuleMetric
{
	CG_METRIC_NONE = 0,
	CG_METRIC_VISITS = 1,
	CG_METRIC_NET_SALES = 2,
	CG_METRIC_AVERAGE_SALE = 3,
	CG_METRIC_REFUNDS = 4,
	CG_METRIC_PREPAID_PURCHASES = 5,
	CG_METRIC_PASS_PURCHASES = 6,
	CG_METRIC_NO_SHOWS = 7,
	CG_METRIC_REGISTERED = 20, /* from here on, dates */
	CG_METRIC_FIRST_VISIT = 21,
	CG_METRIC_LAST_VISIT = 22
} CgRuleMetric;

/* Texts and booleans are compared by EQ, NE and IN only. */
typedef enum CgRuleOp
{
	CG_OP_NONE = 0,
	CG_OP_EQ = 1,
	CG_OP_NE = 2,
	CG_OP_LT = 3,
	CG_OP_LE = 4,
	CG_OP_GT = 5,
	CG_OP_GE = 6,
	CG_OP_BETWEEN = 7, /* low and high, inclusive; no value fits if low > high */
	CG_OP_IN = 8       /* one value or more, in the order given */
} CgRuleOp;

/* What the values of a condition are; bits, so that sets can be spoken of. */
typedef enum CgRuleType
{
	CG_TYPE_NONE = 0,
	CG_TYPE_NUMBER = 1,
	CG_TYPE_DATE = 2,
	CG_TYPE_TEXT = 4,
	CG_TYPE_BOOLEAN = 8 /* stored as an int32, 0 or 1 */
} CgRuleType;

/* What a name in a rule may name, as rule_names() spells it. */
typedef enum CgRuleNameKind
{
	CG_NAME_NONE = 0, /* none, or an attribute's */
	CG_NAME_BRAND,
	CG_NAME_CATEGORY,
	CG_NAME_GROUP,
	CG_NAME_ITEM,
	CG_NAME_LADDER,
	CG_NAME_SEGMENT,
	CG_NAME_TIER
} CgRuleNameKind;

typedef struct CgRuleNode
{
	uint32 size;   /* bytes, with all that it holds; a multiple of four */
	uint8  kind;   /* CgRuleKind */
	uint8  metric; /* CgRuleMetric */
	uint8  op;     /* CgRuleOp */
	uint8  type;   /* CgRuleType */
	int32  days;   /* days or month, -1 for none */
	int32  nargs;  /* children, or values */
} CgRuleNode;

typedef struct SegmentRule
{
	int32      vl_len_; /* varlena header (do not touch directly!) */
	uint32     layout;  /* CG_RULE_LAYOUT */
	CgRuleNode root;
} SegmentRule;

typedef struct CgRuleName
{
	CgRuleNameKind kind;
	char          *code;
} CgRuleName;

#define DatumGetSegmentRuleP(X) cg_rule_from_datum(X)
#define PG_GETARG_SEGMENT_RULE_P(n) DatumGetSegmentRuleP(PG_GETARG_DATUM(n))
#define PG_RETURN_SEGMENT_RULE_P(x) PG_RETURN_POINTER(x)

static inline bool
cg_rule_is_boolean(const CgRuleNode *node)
{
	return node->kind <= CG_RULE_NOT;
}

static inline bool
cg_rule_has_name(CgRuleKind kind)
{
	return kind >= CG_RULE_BOUGHT_ITEM && kind <= CG_RULE_SEGMENT;
}

/* Whether values that have no order can be compared by it. */
static inline bool
cg_op_is_of_equality(CgRuleOp op)
{
	return op == CG_OP_EQ || op == CG_OP_NE || op == CG_OP_IN;
}

static inline bool
cg_metric_is_date(CgRuleMetric metric)
{
	return metric >= CG_METRIC_REGISTERED;
}

static inline bool
cg_metric_has_window(CgRuleMetric metric)
{
	return metric == CG_METRIC_VISITS || metric == CG_METRIC_NET_SALES ||
		   metric == CG_METRIC_REFUNDS || metric == CG_METRIC_NO_SHOWS;
}

/* The first of the nargs children of an AND, OR or NOT. */
static inline const CgRuleNode *
cg_rule_child(const CgRuleNode *node)
{
	return node + 1;
}

/* The node after this one, where its parent has one more child. */
static inline const CgRuleNode *
cg_rule_sibling(const CgRuleNode *node)
{
	return (const CgRuleNode *) ((const char *) node + node->size);
}

/* The name of a condition whose kind has one. */
static inline const text *
cg_rule_name(const CgRuleNode *node)
{
	return cg_rule_has_name(node->kind) ? (const text *) (node + 1) : NULL;
}

/* The first of the nargs values of a condition. */
static inline const char *
cg_rule_value(const CgRuleNode *node)
{
	const char *start = (const char *) (node + 1);

	return cg_rule_has_name(node->kind) ? start + INTALIGN(VARSIZE(start)) : start;
}

/* Whether values of the type are an int32 each, rather than a varlena. */
static inline bool
cg_rule_type_is_int(CgRuleType type)
{
	return type == CG_TYPE_DATE || type == CG_TYPE_BOOLEAN;
}

/* The value after this one. */
static inline const char *
cg_rule_next_value(const CgRuleNode *node, const char *value)
{
	return value + (cg_rule_type_is_int(node->type) ? sizeof(int32) : INTALIGN(VARSIZE(value)));
}

/* A value as a numeric, date, text or boolean, by the node's type. */
static inline Datum
cg_rule_value_datum(const CgRuleNode *node, const char *value)
{
	if (node->type == CG_TYPE_DATE)
		return DateADTGetDatum(*(const DateADT *) value);
	if (node->type == CG_TYPE_BOOLEAN)
		return BoolGetDatum(*(const int32 *) value != 0);
	return PointerGetDatum(value);
}

/* segment_rule.c */

/* Detoasts; 55000 if another version of the library wrote it. */
extern SegmentRule *cg_rule_from_datum(Datum datum);

/* NULL, with the error in escontext, if str is no rule; see cg_ereturn(). */
extern SegmentRule *cg_rule_parse(const char *str, struct Node *escontext);

extern const char *cg_metric_name(CgRuleMetric metric);
extern const char *cg_op_name(CgRuleOp op);

/* segment_rule_out.c */

extern char *cg_rule_to_cstring(const SegmentRule *rule);

/* segment_rule_names.c */

/* The names in a rule: CgRuleName, each once, by kind and code. */
extern List *cg_rule_names(const SegmentRule *rule);

/* A copy in which every new_code stands where an old_code of that kind stood. */
extern SegmentRule *cg_rule_rename(const SegmentRule *rule, CgRuleNameKind kind,
								   const char *old_code, const char *new_code);

#endif /* CG_SEGMENT_RULE_H */
