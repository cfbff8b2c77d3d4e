/*-------------------------------------------------------------------------
 *
 * segment_rule_names.c
 *	  The codes that a segment_rule speaks of, and giving one another code.
 *
 * Memory is the caller's context.  No table is read, no lock is taken.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "segment_rule_internal.h"
#include "strict.h"

typedef struct Renaming
{
	CgRuleNameKind kind;
	text          *old_code;
	text          *new_code;
} Renaming;

static const char *const name_kinds[] = {
	[CG_NAME_BRAND] = "brand", [CG_NAME_CATEGORY] = "category", [CG_NAME_GROUP] = "group",
	[CG_NAME_ITEM] = "item",   [CG_NAME_LADDER] = "ladder",     [CG_NAME_SEGMENT] = "segment",
	[CG_NAME_TIER] = "tier",
};

static void           collect_names(const CgRuleNode *node, List **names);
static CgRuleExpr    *rename_node(const CgRuleNode *node, const Renaming *renaming);
static CgRuleNameKind check_name_kind(const char *kind);

PG_FUNCTION_INFO_V1(cg_segment_rule_names);
PG_FUNCTION_INFO_V1(cg_segment_rule_rename);

/* rule_names(rule segment_rule) RETURNS TABLE(kind text, code text) */
Datum
cg_segment_rule_names(PG_FUNCTION_ARGS)
{
	SegmentRule   *rule;
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell      *lc;

	CG_STRICT();
	InitMaterializedSRF(fcinfo, 0);
	rule = PG_GETARG_SEGMENT_RULE_P(0);
	foreach (lc, cg_rule_names(rule))
	{
		CgRuleName *name = lfirst(lc);
		Datum       values[2];
		bool        nulls[2] = {false, false};

		values[0] = CStringGetTextDatum(name_kinds[name->kind]);
		values[1] = CStringGetTextDatum(name->code);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* rule_rename(rule segment_rule, kind, old_code, new_code text) RETURNS segment_rule */
Datum
cg_segment_rule_rename(PG_FUNCTION_ARGS)
{
	CG_STRICT();
	PG_RETURN_SEGMENT_RULE_P(cg_rule_rename(
		PG_GETARG_SEGMENT_RULE_P(0), check_name_kind(text_to_cstring(PG_GETARG_TEXT_PP(1))),
		text_to_cstring(PG_GETARG_TEXT_PP(2)), text_to_cstring(PG_GETARG_TEXT_PP(3))));
}

static CgRuleNameKind
check_name_kind(const char *kind)
{
	size_t i;

	for (i = CG_NAME_NONE + 1; i < lengthof(name_kinds); i++)
	{
		if (strcmp(name_kinds[i], kind) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown kind of name: \"%s\"", kind),
			 errhint("Kinds are brand, category, group, item, ladder, segment and tier.")));
}

/* What the name of a condition names. */
static CgRuleNameKind
name_kind(CgRuleKind kind)
{
	switch (kind)
	{
		case CG_RULE_BOUGHT_ITEM:
			return CG_NAME_ITEM;
		case CG_RULE_BOUGHT_CATEGORY:
			return CG_NAME_CATEGORY;
		case CG_RULE_BOUGHT_BRAND:
			return CG_NAME_BRAND;
		case CG_RULE_MEMBER:
			return CG_NAME_GROUP;
		case CG_RULE_TIER:
			return CG_NAME_LADDER;
		case CG_RULE_SEGMENT:
			return CG_NAME_SEGMENT;
		default:
			return CG_NAME_NONE;
	}
}

static int
compare_names(const CgRuleName *a, const CgRuleName *b)
{
	return a->kind != b->kind ? (int) a->kind - (int) b->kind : strcmp(a->code, b->code);
}

static int
compare_name_cells(const ListCell *a, const ListCell *b)
{
	return compare_names(lfirst(a), lfirst(b));
}

List *
cg_rule_names(const SegmentRule *rule)
{
	List     *all = NIL;
	List     *names = NIL;
	ListCell *lc;

	collect_names(&rule->root, &all);
	list_sort(all, compare_name_cells);
	foreach (lc, all)
	{
		if (names == NIL || compare_names(llast(names), lfirst(lc)) != 0)
			names = lappend(names, lfirst(lc));
	}
	list_free(all);
	return names;
}

static void
add_name(CgRuleNameKind kind, const text *code, List **names)
{
	CgRuleName *name = palloc(sizeof(CgRuleName));

	name->kind = kind;
	name->code = text_to_cstring(code);
	*names = lappend(*names, name);
}

static void
collect_names(const CgRuleNode *node, List **names)
{
	int i;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	if (cg_rule_is_boolean(node))
	{
		const CgRuleNode *child = cg_rule_child(node);

		for (i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
			collect_names(child, names);
		return;
	}
	if (name_kind(node->kind) != CG_NAME_NONE)
		add_name(name_kind(node->kind), cg_rule_name(node), names);
	if (node->kind == CG_RULE_TIER)
	{
		const char *value = cg_rule_value(node);

		for (i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
			add_name(CG_NAME_TIER, (const text *) value, names);
	}
}

SegmentRule *
cg_rule_rename(const SegmentRule *rule, CgRuleNameKind kind, const char *old_code,
			   const char *new_code)
{
	Renaming renaming = {kind, cstring_to_text(old_code), cstring_to_text(new_code)};

	return cg_rule_build(rename_node(&rule->root, &renaming), NULL);
}

/* The code to stand for one of that kind: the new one, or the same. */
static text *
renamed(const Renaming *renaming, CgRuleNameKind kind, const text *code)
{
	bool same = VARSIZE(code) == VARSIZE(renaming->old_code) &&
				memcmp(code, renaming->old_code, VARSIZE(code)) == 0;

	return same && kind == renaming->kind ? renaming->new_code : (text *) code;
}

/* The node as a tree that can be built again.  It points into the old one. */
static CgRuleExpr *
rename_node(const CgRuleNode *node, const Renaming *renaming)
{
	CgRuleExpr *expr = cg_rule_expr();
	int         i;

	check_stack_depth();

	expr->kind = node->kind;
	expr->metric = node->metric;
	expr->op = node->op;
	expr->type = node->type;
	expr->days = node->days;
	if (cg_rule_has_name(node->kind))
		expr->name = renamed(renaming, name_kind(node->kind), cg_rule_name(node));
	if (cg_rule_is_boolean(node))
	{
		const CgRuleNode *child = cg_rule_child(node);

		for (i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
			expr->args = lappend(expr->args, rename_node(child, renaming));
	}
	else
	{
		const char *value = cg_rule_value(node);

		for (i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
		{
			if (cg_rule_type_is_int(node->type))
				expr->args = lappend_int(expr->args, *(const int32 *) value);
			else if (node->kind == CG_RULE_TIER)
				expr->args = lappend(expr->args,
									 renamed(renaming, CG_NAME_TIER, (const text *) value));
			else
				expr->args = lappend(expr->args, (void *) value);
		}
	}
	return expr;
}
