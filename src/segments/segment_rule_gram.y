%code top {
/*-------------------------------------------------------------------------
 *
 * segment_rule_gram.y
 *	  The grammar of a segment_rule's text.
 *
 * Reads the text into a tree of CgRuleExpr.  A rule for a test (an operator
 * and values) makes the node, and the rule for the condition around it says
 * what is tested.  Chains of AND and OR are flattened on the way.
 *
 * bison's own list of the tokens that would have been right becomes the hint
 * of a syntax error, which is why tokens have names to be read by people and
 * why lookahead correction (LAC) is on.  Errors go to CgRuleParse's escontext
 * and end the parse by YYABORT.
 *
 * Memory comes from palloc, in the current context.  bison keeps nothing
 * between calls.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/varlena.h"
}

%code requires {
#include "segment_rule_internal.h"
}

%code {
#define YYMALLOC palloc
#define YYFREE	 pfree

/* A span from the first symbol of a rule to its last. */
#define YYLLOC_DEFAULT(Current, Rhs, N) \
	do \
	{ \
		(Current).start = YYRHSLOC(Rhs, (N) ? 1 : 0).start; \
		(Current).end = YYRHSLOC(Rhs, N).end; \
	} while (0)

extern int cg_rule_yylex(CG_RULE_YYSTYPE *value, CG_RULE_YYLTYPE *location, void *scanner);

static void cg_rule_yyerror(CG_RULE_YYLTYPE *location, CgRuleParse *parse, void *scanner,
							const char *message);
static CgRuleExpr *condition(CgRuleKind kind);
static CgRuleExpr *named(CgRuleKind kind, text *name);
static CgRuleExpr *test(CgRuleOp op, CgRuleType type, List *values);
static CgRuleExpr *negation(CgRuleExpr *child);
}

%require "3.0"
%define api.pure full
%define api.prefix {cg_rule_yy}
%define api.token.prefix {TOK_}
%define api.location.type {CgRuleSpan}
%define parse.error verbose
%define parse.lac full
%expect 0
%locations
%parse-param {CgRuleParse *parse} {void *scanner}
%lex-param {void *scanner}
%initial-action { @$.start = @$.end = 0; }

%union
{
	char		*literal;
	text		*string;
	int32		 integer;
	CgRuleMetric metric;
	CgRuleKind	 kind;
	CgRuleOp	 op;
	Numeric		 number;
	CgRuleExpr	*expr;
	List		*list;
}

%token END 0			"the end"
%token <literal> NUMBER	"a number"
%token <string> STRING	"quoted text"
%token <metric> METRIC	"a metric"
%token <metric> DATE_METRIC "registered or first_visit or last_visit"
%token <op> COMPARISON	"a comparison"
%token BAD_WORD			"unknown word"
%token ALL AND ATTRIBUTE "attribute" BETWEEN BIRTHDAY "birthday" BOUGHT "bought"
%token BRAND CATEGORY DATE DAYS DAYS_SINCE "days_since" FALSE "false" IN ITEM LAST
%token MEMBER "member" MONTH NEXT NOT OF OR SEGMENT THIS TIER "tier" TODAY TRUE "true" WITHIN

%type <expr> disjunction conjunction factor condition
%type <expr> number_test date_test text_test boolean_test
%type <list> numbers dates strings booleans
%type <number> number
%type <integer> date boolean days month window
%type <kind> product

%%

rule:
	disjunction
		{
			parse->result = $1;
			(void) yynerrs;		/* some versions of bison only ever count it */
		}
	;

disjunction:
	conjunction
	| disjunction OR conjunction		{ $$ = cg_rule_chain(CG_RULE_OR, $1, $3); }
	;

conjunction:
	factor
	| conjunction AND factor			{ $$ = cg_rule_chain(CG_RULE_AND, $1, $3); }
	;

factor:
	condition
	| '(' deeper disjunction ')'		{ $$ = $3; parse->depth--; }
	| NOT deeper factor					{ $$ = negation($3); parse->depth--; }
	;

deeper:
	%empty
		{
			if (++parse->depth > CG_RULE_MAX_DEPTH)
			{
				cg_rule_limit_error(parse->escontext, CG_RULE_MAX_DEPTH, "nested levels");
				YYABORT;
			}
		}
	;

condition:
	ALL									{ $$ = condition(CG_RULE_ALL); }
	| METRIC number_test
		{
			$$ = $2;
			$$->kind = CG_RULE_METRIC;
			$$->metric = $1;
		}
	| METRIC window number_test
		{
			if (!cg_metric_has_window($1))
			{
				cg_rule_parse_error(parse, @1, "IN LAST cannot follow", CG_RULE_WINDOW_HINT);
				YYABORT;
			}
			$$ = $3;
			$$->kind = CG_RULE_METRIC;
			$$->metric = $1;
			$$->days = $2;
		}
	| DATE_METRIC date_test
		{
			$$ = $2;
			$$->kind = CG_RULE_DATE;
			$$->metric = $1;
		}
	| DATE_METRIC WITHIN days
		{
			$$ = condition(CG_RULE_WITHIN);
			$$->metric = $1;
			$$->days = $3;
		}
	| DAYS_SINCE '(' DATE_METRIC ')' number_test
		{
			$$ = $5;
			$$->kind = CG_RULE_DAYS_SINCE;
			$$->metric = $3;
		}
	| BIRTHDAY TODAY					{ $$ = condition(CG_RULE_BIRTHDAY_TODAY); }
	| BIRTHDAY IN THIS MONTH			{ $$ = condition(CG_RULE_BIRTHDAY_THIS_MONTH); }
	| BIRTHDAY IN MONTH month
		{
			$$ = condition(CG_RULE_BIRTHDAY_IN_MONTH);
			$$->days = $4;
		}
	| BIRTHDAY WITHIN NEXT days
		{
			$$ = condition(CG_RULE_BIRTHDAY_WITHIN_NEXT);
			$$->days = $4;
		}
	| BOUGHT product STRING number_test
		{
			$$ = $4;
			$$->kind = $2;
			$$->name = $3;
		}
	| BOUGHT product STRING window number_test
		{
			$$ = $5;
			$$->kind = $2;
			$$->name = $3;
			$$->days = $4;
		}
	| ATTRIBUTE STRING number_test
		{
			$$ = $3;
			$$->kind = CG_RULE_ATTRIBUTE;
			$$->name = $2;
		}
	| ATTRIBUTE STRING text_test
		{
			$$ = $3;
			$$->kind = CG_RULE_ATTRIBUTE;
			$$->name = $2;
		}
	| ATTRIBUTE STRING boolean_test
		{
			$$ = $3;
			$$->kind = CG_RULE_ATTRIBUTE;
			$$->name = $2;
		}
	| TIER OF STRING text_test
		{
			$$ = $4;
			$$->kind = CG_RULE_TIER;
			$$->name = $3;
		}
	| MEMBER OF STRING					{ $$ = named(CG_RULE_MEMBER, $3); }
	| IN SEGMENT STRING					{ $$ = named(CG_RULE_SEGMENT, $3); }
	;

product:
	ITEM								{ $$ = CG_RULE_BOUGHT_ITEM; }
	| CATEGORY							{ $$ = CG_RULE_BOUGHT_CATEGORY; }
	| BRAND								{ $$ = CG_RULE_BOUGHT_BRAND; }
	;

number_test:
	COMPARISON number					{ $$ = test($1, CG_TYPE_NUMBER, list_make1($2)); }
	| BETWEEN number AND number
		{ $$ = test(CG_OP_BETWEEN, CG_TYPE_NUMBER, list_make2($2, $4)); }
	| IN '(' numbers ')'				{ $$ = test(CG_OP_IN, CG_TYPE_NUMBER, $3); }
	;

date_test:
	COMPARISON date						{ $$ = test($1, CG_TYPE_DATE, list_make1_int($2)); }
	| BETWEEN date AND date
		{ $$ = test(CG_OP_BETWEEN, CG_TYPE_DATE, list_make2_int($2, $4)); }
	| IN '(' dates ')'					{ $$ = test(CG_OP_IN, CG_TYPE_DATE, $3); }
	;

text_test:
	COMPARISON STRING
		{
			if (!cg_op_is_of_equality($1))
			{
				cg_rule_parse_error(parse, @1, "Text is not compared by", CG_RULE_TEXT_OP_HINT);
				YYABORT;
			}
			$$ = test($1, CG_TYPE_TEXT, list_make1($2));
		}
	| IN '(' strings ')'				{ $$ = test(CG_OP_IN, CG_TYPE_TEXT, $3); }
	;

boolean_test:
	COMPARISON boolean
		{
			if (!cg_op_is_of_equality($1))
			{
				cg_rule_parse_error(parse, @1, "true and false are not compared by",
									CG_RULE_BOOLEAN_OP_HINT);
				YYABORT;
			}
			$$ = test($1, CG_TYPE_BOOLEAN, list_make1_int($2));
		}
	| IN '(' booleans ')'				{ $$ = test(CG_OP_IN, CG_TYPE_BOOLEAN, $3); }
	;

numbers:
	number								{ $$ = list_make1($1); }
	| numbers ',' number				{ $$ = lappend($1, $3); }
	;

dates:
	date								{ $$ = list_make1_int($1); }
	| dates ',' date					{ $$ = lappend_int($1, $3); }
	;

strings:
	STRING								{ $$ = list_make1($1); }
	| strings ',' STRING				{ $$ = lappend($1, $3); }
	;

booleans:
	boolean								{ $$ = list_make1_int($1); }
	| booleans ',' boolean				{ $$ = lappend_int($1, $3); }
	;

number:
	NUMBER
		{
			if (!cg_rule_number_from_cstring($1, &$$))
			{
				cg_rule_parse_error(parse, @1, "Overlong number", CG_RULE_NUMBER_HINT);
				YYABORT;
			}
		}
	;

date:
	opt_date STRING
		{
			if (!cg_rule_date_from_cstring(text_to_cstring($2), &$$))
			{
				cg_rule_parse_error(parse, @2, "Invalid date", CG_RULE_DATE_HINT);
				YYABORT;
			}
		}
	;

boolean:
	TRUE								{ $$ = true; }
	| FALSE								{ $$ = false; }
	;

opt_date:
	%empty
	| DATE
	;

window:
	IN LAST days						{ $$ = $3; }
	;

days:
	NUMBER DAYS
		{
			if (!cg_rule_int_from_cstring($1, 0, CG_RULE_MAX_DAYS, &$$))
			{
				cg_rule_parse_error(parse, @1, "Invalid number of days", CG_RULE_DAYS_HINT);
				YYABORT;
			}
		}
	;

month:
	NUMBER
		{
			if (!cg_rule_int_from_cstring($1, 1, 12, &$$))
			{
				cg_rule_parse_error(parse, @1, "Invalid month", CG_RULE_MONTH_HINT);
				YYABORT;
			}
		}
	;

%%

/* Words that begin a condition, or what is before one. */
static const char *const beginnings[] = {
	"visits", "net_sales", "average_sale", "refunds", "prepaid_purchases", "pass_purchases",
	"no_shows", "registered", "first_visit", "last_visit", "days_since", "birthday", "bought",
	"attribute", "member", "tier", "in", "ALL", "NOT",
};

/* Longest word, in bytes, to look for a likely one. */
#define MAX_MISSPELT 40

/* The distance of two words in any case, less than limit; else limit. */
static int
distance(const char *word, int len, const char *candidate, int limit)
{
	char *a = asc_tolower(word, len);
	char *b = asc_tolower(candidate, strlen(candidate));
	int	  d = varstr_levenshtein_less_equal(a, len, b, strlen(b), 1, 1, 1, limit - 1, true);

	return Min(d, limit);
}

/*
 * The word that was meant by one that stands where it cannot: the nearest of
 * those that can, if it is near.  NULL for none.
 */
static const char *
likely_word(const char *word, int len, const char *expecting)
{
	const char *best = NULL;
	int			best_distance = PG_INT32_MAX;
	List	   *candidates = NIL;
	ListCell   *lc;

	if (len == 0 || len > MAX_MISSPELT)
		return NULL;
	if (expecting == NULL)
		for (int i = 0; i < (int) lengthof(beginnings); i++)
			candidates = lappend(candidates, (void *) beginnings[i]);
	else
	{
		char *rest = pstrdup(expecting);
		char *end;

		for (; (end = strstr(rest, " or ")) != NULL; rest = end + 4)
		{
			*end = '\0';
			candidates = lappend(candidates, rest);
		}
		candidates = lappend(candidates, rest);
	}
	foreach (lc, candidates)
	{
		const char *candidate = lfirst(lc);
		int			limit = Min(best_distance, ((int) strlen(candidate) + 2) / 3 + 1);
		int			d = strchr(candidate, ' ') ? limit : distance(word, len, candidate, limit);

		if (d < limit && d < len)
		{
			best = candidate;
			best_distance = d;
		}
	}
	return best;
}

/*
 * Reports a syntax error at the last token.  bison's message ends with
 * "expecting A or B" if the choice is small; it is large only where a
 * condition is to begin.
 */
static void
cg_rule_yyerror(CG_RULE_YYLTYPE *location, CgRuleParse *parse,
				void *scanner pg_attribute_unused(), const char *message)
{
	const char *expecting = strstr(message, "expecting ");
	const char *hint = parse->problem_hint;
	const char *likely = NULL;

	if (expecting != NULL)
		expecting += strlen("expecting ");
	if (hint == NULL)
		likely = likely_word(parse->input + location->start, location->end - location->start, expecting);
	if (hint == NULL && expecting != NULL)
		hint = psprintf("Expected %s.", expecting);
	if (hint == NULL)
		hint = CG_RULE_METRICS "; other conditions are days_since(date), birthday, bought, "
							   "attribute, member OF, tier OF, in SEGMENT and ALL.";
	if (likely != NULL)
		hint = psprintf("Did you mean \"%s\"? %s", likely, hint);
	cg_rule_parse_error(parse, *location, parse->problem ? parse->problem : "Unexpected", hint);
}

static CgRuleExpr *
condition(CgRuleKind kind)
{
	CgRuleExpr *expr = cg_rule_expr();

	expr->kind = kind;
	return expr;
}

static CgRuleExpr *
named(CgRuleKind kind, text *name)
{
	CgRuleExpr *expr = condition(kind);

	expr->name = name;
	return expr;
}

/* A node that waits for its kind. */
static CgRuleExpr *
test(CgRuleOp op, CgRuleType type, List *values)
{
	CgRuleExpr *expr = cg_rule_expr();

	expr->op = op;
	expr->type = type;
	expr->args = values;
	return expr;
}

static CgRuleExpr *
negation(CgRuleExpr *child)
{
	CgRuleExpr *expr = condition(CG_RULE_NOT);

	expr->args = list_make1(child);
	return expr;
}
