/*
 * references.c
 *		The triggers that keep what rules name in being.
 *
 * A rule holds codes, not keys, so there are no foreign keys here: saving a
 * segment refuses names that nothing has, circles of segments, and more levels of
 * them than can be evaluated (check_segments),
 * deleting what a rule names is refused (refuse_named), and giving it another
 * code rewrites the rules (rename_in_rules).
 *
 * So that two transactions cannot break together what each of them keeps, all of
 * them take one lock first, to the end of the transaction, before those of rows
 * (lock_rules), and then read under the latest snapshot, whatever the isolation
 * level.  A rule is rewritten by an ordinary UPDATE: where the transaction's own
 * snapshot is too old to see it, that is a serialization failure.
 *
 * Names that a rule had before an UPDATE are not looked for again: a rule whose
 * tier has ceased to be one, or one that came by a restore, can still be edited.
 * Rows that are restored are taken as they are.
 *
 * Memory is SPI's, or ends with the statement.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog/tables.h"
#include "promotions/promotions.h"
#include "segments/segments.h"
#include "segments/track.h"

/* What a rule may name by a code of a table. */
typedef struct Named
{
	const char    *what; /* the trigger's argument */
	CgTable        table;
	const char    *column;
	CgRuleNameKind kinds[2]; /* as which rules may name it */
} Named;

static const Named nameds[] = {
	{"group", CG_GROUPS, "code", {CG_NAME_GROUP, CG_NAME_TIER}},
	{"ladder", CG_LADDERS, "code", {CG_NAME_LADDER, CG_NAME_NONE}},
	{"category", CG_CATEGORIES, "code", {CG_NAME_CATEGORY, CG_NAME_NONE}},
	{"brand", CG_BRANDS, "code", {CG_NAME_BRAND, CG_NAME_NONE}},
	{"item", CG_ITEMS, "external_id", {CG_NAME_ITEM, CG_NAME_NONE}},
	{"segment", CG_SEGMENTS, "code", {CG_NAME_SEGMENT, CG_NAME_NONE}},
};

/* A segment that has been saved. */
typedef struct Saved
{
	text        *code;
	SegmentRule *rule;
	SegmentRule *old_rule; /* NULL: none */
} Saved;

static CgStatement select_item = {
	.sql = "SELECT FROM customer_groups.items WHERE external_id OPERATOR(pg_catalog.=) $1",
	.argtypes = {TEXTOID}};

static CgStatement update_rule = {
	.sql = "UPDATE customer_groups.segments SET rule = $2::customer_groups.segment_rule "
		   "WHERE id OPERATOR(pg_catalog.=) $1",
	.argtypes = {INT4OID, TEXTOID}};

/* ------------------------------------------------------------------------
 * Names in a rule
 * ------------------------------------------------------------------------
 */

pg_noreturn static void
unknown_name(const char *what, const char *code)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the rule names an unknown %s", what),
					errdetail("There is no %s \"%s\".", what, code),
					errhint("Insert it first, or name an existing one.")));
}

static bool
knows_name(List *known, CgRuleNameKind kind, const char *code)
{
	ListCell *lc;

	foreach (lc, known)
	{
		CgRuleName *name = lfirst(lc);

		if (name->kind == kind && strcmp(name->code, code) == 0)
			return true;
	}
	return false;
}

static bool
is_tier(const CgDefinitions *definitions, const char *ladder, const char *code)
{
	for (int i = 0; i < definitions->ntiers; i++)
		if (strcmp(definitions->tiers[i].ladder_code, ladder) == 0 &&
			strcmp(definitions->tiers[i].code, code) == 0)
			return true;
	return false;
}

/* Whether an item has this external_id. */
static bool
item_exists(const char *external_id, Snapshot snapshot)
{
	Datum  value;
	CgUser saved;
	bool   result;

	cg_become_owner(CG_ITEMS, &saved);
	PushActiveSnapshot(snapshot);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	value = CStringGetTextDatum(external_id);
	result = cg_execute_as_is(&select_item, &value) > 0;
	SPI_finish();
	PopActiveSnapshot();
	cg_restore_user(&saved);
	return result;
}

/* The tiers that a rule compares with, each with its ladder. */
static void
check_tiers(const CgRuleNode *node, List *known, const CgDefinitions *definitions)
{
	char *ladder;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	if (cg_rule_is_boolean(node))
	{
		const CgRuleNode *child = cg_rule_child(node);

		for (int i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
			check_tiers(child, known, definitions);
	}
	else if (node->kind == CG_RULE_TIER)
	{
		const char *value = cg_rule_value(node);

		ladder = text_to_cstring(cg_rule_name(node));
		for (int i = 0; i < node->nargs; i++, value = cg_rule_next_value(node, value))
		{
			char *code = text_to_cstring((const text *) value);

			if (!is_tier(definitions, ladder, code) &&
				!(knows_name(known, CG_NAME_LADDER, ladder) &&
				  knows_name(known, CG_NAME_TIER, code)))
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_OBJECT),
						 errmsg("the rule names an unknown tier"),
						 errdetail("There is no tier \"%s\" of ladder \"%s\".", code, ladder),
						 errhint("Name a group with an upgrade_threshold, and its ladder.")));
		}
	}
}

/*
 * Raises 42704 if a snapshot reads nothing that has one of the names in a rule;
 * names in another rule, known, are not looked for.
 */
void
cg_check_rule_names(const SegmentRule *rule, const SegmentRule *known, Snapshot snapshot)
{
	const CgDefinitions *definitions = cg_definitions(snapshot);
	List                *known_names = known == NULL ? NIL : cg_rule_names(known);
	ListCell            *lc;

	cg_segments(snapshot);
	check_tiers(&rule->root, known_names, definitions);
	foreach (lc, cg_rule_names(rule))
	{
		CgRuleName *name = lfirst(lc);
		int32       value;

		if (knows_name(known_names, name->kind, name->code))
			continue;
		switch (name->kind)
		{
			case CG_NAME_LADDER: /* found with its tiers */
			case CG_NAME_TIER:
			case CG_NAME_NONE:
				break;
			case CG_NAME_ITEM:
				if (!item_exists(name->code, snapshot))
					unknown_name("item", name->code);
				break;
			case CG_NAME_GROUP:
			case CG_NAME_CATEGORY:
			case CG_NAME_BRAND:
			case CG_NAME_SEGMENT:
				if (!cg_find_code(name->kind, cstring_to_text(name->code), &value))
					unknown_name(name->kind == CG_NAME_GROUP      ? "group"
								 : name->kind == CG_NAME_CATEGORY ? "category"
								 : name->kind == CG_NAME_BRAND    ? "brand"
																  : "segment",
								 name->code);
				break;
		}
	}
}

/* ------------------------------------------------------------------------
 * Circles, and how deep segments go
 * ------------------------------------------------------------------------
 */

/* The heights of segments, in levels; or how far they are. */
#define UNSEEN 0
#define ON_PATH (-1)

/* In a path, a rule that is no segment's so far. */
#define NEW_RULE (-1)

typedef struct Nesting
{
	const CgSegments  *segments;
	int                edited;   /* place of a segment with another rule, or -1 */
	const SegmentRule *new_rule; /* that rule */
	int               *heights;  /* by place */
	List              *path;     /* places, from the one that was begun with */
} Nesting;

static int segment_height(Nesting *nesting, int place, int above);

pg_noreturn static void
circle_error(const Nesting *nesting, int place)
{
	const CgSegment *segments = nesting->segments->segments;
	StringInfoData   circle;
	ListCell        *lc;
	bool             inside = false;

	initStringInfo(&circle);
	foreach (lc, nesting->path)
	{
		inside = inside || lfirst_int(lc) == place;
		if (inside)
			appendStringInfo(&circle, "\"%s\", ", text_to_cstring(segments[lfirst_int(lc)].code));
	}
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION), errmsg("segments must not go round in a circle"),
			 errdetail("Each names the next: %s\"%s\".", circle.data,
					   text_to_cstring(segments[place].code)),
			 errhint("Repeat the condition itself in place of the name.")));
}

pg_noreturn static void
nesting_error(const Nesting *nesting)
{
	int place = linitial_int(nesting->path);

	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("segments are nested too deep"),
			 place == NEW_RULE
				 ? errdetail("The rule and the segments that it names have more than %d levels.",
							 CG_RULE_MAX_NESTING)
				 : errdetail("Segment \"%s\" and those that it names have more than %d levels.",
							 text_to_cstring(nesting->segments->segments[place].code),
							 CG_RULE_MAX_NESTING),
			 errhint("Let rules repeat conditions rather than name segments that name others.")));
}

/*
 * The levels of a node, with those of the segments that it names; above it are
 * so many already.  Raises 23514 for a circle and 54000 for too many levels.
 */
static int
node_height(Nesting *nesting, const CgRuleNode *node, int above)
{
	int   height = 0;
	int32 place;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	if (above >= CG_RULE_MAX_NESTING)
		nesting_error(nesting);
	if (cg_rule_is_boolean(node))
	{
		const CgRuleNode *child = cg_rule_child(node);

		for (int i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
		{
			/* Max() would ask twice, at each level. */
			int below = node_height(nesting, child, above + 1);

			height = Max(height, below);
		}
	}
	else if (node->kind == CG_RULE_SEGMENT &&
			 cg_find_code(CG_NAME_SEGMENT, cg_rule_name(node), &place))
		height = segment_height(nesting, place, above + 1);
	return height + 1;
}

static int
segment_height(Nesting *nesting, int place, int above)
{
	int height = nesting->heights[place];

	if (height == ON_PATH)
		circle_error(nesting, place);
	/* Again, if known, where more is above it: to be refused. */
	if (height == UNSEEN || above + height > CG_RULE_MAX_NESTING)
	{
		const SegmentRule *rule = place == nesting->edited
									  ? nesting->new_rule
									  : nesting->segments->segments[place].rule;

		nesting->heights[place] = ON_PATH;
		nesting->path = lappend_int(nesting->path, place);
		height = node_height(nesting, &rule->root, above);
		nesting->path = list_delete_last(nesting->path);
		nesting->heights[place] = height;
	}
	return height;
}

/* Checks segments that have been saved, and those that name them. */
static void
check_nesting(const CgSegments *segments, const Saved *saved, int n)
{
	Nesting nesting = {
		.segments = segments, .edited = -1, .heights = palloc0(segments->n * sizeof(int))};
	bool  named = false;
	int32 place;

	for (int i = 0; i < n; i++)
	{
		named = named || cg_is_named(CG_NAME_SEGMENT, saved[i].code);
		if (cg_find_code(CG_NAME_SEGMENT, saved[i].code, &place))
			(void) segment_height(&nesting, place, 0);
	}
	for (int i = 0; named && i < segments->n; i++)
		(void) segment_height(&nesting, i, 0);
}

/*
 * Raises what saving a rule would raise for circles and too many levels: as the rule of
 * the segment at a place, or with -1 as that of a new one that no rule names.  After
 * cg_segments().
 */
void
cg_check_rule_nesting(const SegmentRule *rule, int place, const CgSegments *segments)
{
	Nesting nesting = {.segments = segments,
					   .edited = place,
					   .new_rule = rule,
					   .heights = palloc0(Max(segments->n, 1) * sizeof(int))};

	if (place < 0)
	{
		nesting.path = list_make1_int(NEW_RULE);
		(void) node_height(&nesting, &rule->root, 0);
		return;
	}
	(void) segment_height(&nesting, place, 0);
	if (cg_is_named(CG_NAME_SEGMENT, segments->segments[place].code))
		for (int i = 0; i < segments->n; i++)
			(void) segment_height(&nesting, i, 0);
}

/* ------------------------------------------------------------------------
 * Triggers
 * ------------------------------------------------------------------------
 */

/* What a trigger is for, by its argument. */
static const Named *
named_by_argument(FunctionCallInfo fcinfo, const char *function, TriggerEvent timing,
				  TriggerData **trigdata)
{
	*trigdata = (TriggerData *) fcinfo->context;
	if (CALLED_AS_TRIGGER(fcinfo) && (*trigdata)->tg_trigger->tgnargs == 1)
		for (int i = 0; i < (int) lengthof(nameds); i++)
			if (strcmp(nameds[i].what, (*trigdata)->tg_trigger->tgargs[0]) == 0)
			{
				*trigdata = cg_check_trigger(fcinfo, function, nameds[i].table, timing);
				return &nameds[i];
			}
	ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
					errmsg("function %s is not called by its trigger", function)));
}

/* The code in a row, NULL where it has none. */
static text *
code_of(const Named *named, TriggerData *trigdata, HeapTuple tuple)
{
	TupleDesc desc = RelationGetDescr(trigdata->tg_relation);
	int       attnum = SPI_fnumber(desc, named->column);
	bool      isnull;
	Datum     datum;

	if (attnum <= 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("column \"%s\" of the table is missing", named->column)));
	datum = heap_getattr(tuple, attnum, desc, &isnull);
	return isnull ? NULL : DatumGetTextPCopy(datum);
}

/* Whether any rule names it; after cg_segments(). */
static bool
is_named(const Named *named, const text *code)
{
	/* The ladder "default" is there without a row, too. */
	if (named->table == CG_LADDERS && strcmp(text_to_cstring(code), "default") == 0)
		return false;
	return cg_is_named(named->kinds[0], code) ||
		   (named->kinds[1] != CG_NAME_NONE && cg_is_named(named->kinds[1], code));
}

/* Whether a rule names it. */
static bool
names(const SegmentRule *rule, const Named *named, const char *code)
{
	List *list = cg_rule_names(rule);

	return knows_name(list, named->kinds[0], code) ||
		   (named->kinds[1] != CG_NAME_NONE && knows_name(list, named->kinds[1], code));
}

/* Raises 2BP01 if the rule of a segment, as a snapshot reads it, names the code. */
static void
check_not_named(const Named *named, const text *code, Snapshot snapshot)
{
	const CgSegments *segments = cg_segments(snapshot);
	char             *word;
	StringInfoData    users;
	int               n = 0;

	if (!is_named(named, code))
		return;
	word = text_to_cstring(code);
	initStringInfo(&users);
	for (int i = 0; i < segments->n; i++)
		if (names(segments->segments[i].rule, named, word))
			appendStringInfo(&users, "%s\"%s\"", n++ > 0 ? ", " : "",
							 text_to_cstring(segments->segments[i].code));
	ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					errmsg("%s \"%s\" is named by the rule of a segment", named->what, word),
					errdetail_plural("Segment %s names it.", "Segments %s name it.", n, users.data),
					errhint("Change these rules or delete these segments first.")));
}

/*
 * Trigger lock_rules (kind): BEFORE STATEMENT, so that the lock comes before those
 * of rows.
 */
PG_FUNCTION_INFO_V1(cg_lock_rules);
Datum
cg_lock_rules(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata;

	named_by_argument(fcinfo, "lock_rules", TRIGGER_EVENT_BEFORE, &trigdata);
	cg_lock_definition(CG_SEGMENTS);
	return PointerGetDatum(NULL);
}

/*
 * Trigger refuse_named (kind): BEFORE ROW, for DELETE.
 */
PG_FUNCTION_INFO_V1(cg_refuse_named);
Datum
cg_refuse_named(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata;
	const Named *named = named_by_argument(fcinfo, "refuse_named",
										   TRIGGER_EVENT_ROW | TRIGGER_EVENT_BEFORE, &trigdata);
	text        *code = code_of(named, trigdata, trigdata->tg_trigtuple);

	if (code != NULL)
		check_not_named(named, code, GetLatestSnapshot());
	return PointerGetDatum(trigdata->tg_trigtuple);
}

/*
 * Trigger refuse_named_segments (kind): AFTER STATEMENT, for DELETE, so that
 * segments which name each other can be deleted together.
 */
PG_FUNCTION_INFO_V1(cg_refuse_named_segments);
Datum
cg_refuse_named_segments(PG_FUNCTION_ARGS)
{
	TriggerData    *trigdata;
	const Named    *named = named_by_argument(fcinfo, "refuse_named_segments", TRIGGER_EVENT_AFTER,
											  &trigdata);
	TupleTableSlot *slot;
	Snapshot        snapshot;

	if (trigdata->tg_oldtable == NULL)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("refuse_named_segments needs the old rows")));
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = MakeSingleTupleTableSlot(RelationGetDescr(trigdata->tg_relation), &TTSOpsMinimalTuple);
	tuplestore_rescan(trigdata->tg_oldtable);
	while (tuplestore_gettupleslot(trigdata->tg_oldtable, true, false, slot))
	{
		bool  isnull;
		Datum code = slot_getattr(slot, cg_attnum(CG_SEGMENTS, CG_SEGMENTS_CODE), &isnull);

		CHECK_FOR_INTERRUPTS();
		check_not_named(named, DatumGetTextPP(code), snapshot);
	}
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	return PointerGetDatum(NULL);
}

/* The rule of a segment with another code in it. */
static SegmentRule *
renamed(const SegmentRule *rule, const Named *named, const char *old_code, const char *new_code)
{
	SegmentRule *result = cg_rule_rename(rule, named->kinds[0], old_code, new_code);

	if (named->kinds[1] != CG_NAME_NONE)
		result = cg_rule_rename(result, named->kinds[1], old_code, new_code);
	return result;
}

/*
 * Trigger rename_in_rules (kind): AFTER ROW, for UPDATE of the code.
 */
PG_FUNCTION_INFO_V1(cg_rename_in_rules);
Datum
cg_rename_in_rules(PG_FUNCTION_ARGS)
{
	TriggerData      *trigdata;
	const Named      *named = named_by_argument(fcinfo, "rename_in_rules",
												TRIGGER_EVENT_ROW | TRIGGER_EVENT_AFTER, &trigdata);
	text             *old_code;
	text             *new_code;
	Snapshot          snapshot;
	const CgSegments *segments;
	Datum            *ids;
	Datum            *rules;
	int               n = 0;
	CgUser            saved;

	if (!TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("rename_in_rules is a trigger for UPDATE only")));
	old_code = code_of(named, trigdata, trigdata->tg_trigtuple);
	new_code = code_of(named, trigdata, trigdata->tg_newtuple);
	if (old_code == NULL)
		return PointerGetDatum(NULL);
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	segments = cg_segments(snapshot);
	if (!is_named(named, old_code))
	{
		UnregisterSnapshot(snapshot);
		return PointerGetDatum(NULL);
	}
	if (new_code == NULL)
		check_not_named(named, old_code, snapshot);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	/* What is cached goes with the first update. */
	ids = palloc(segments->n * sizeof(Datum));
	rules = palloc(segments->n * sizeof(Datum));
	for (int i = 0; i < segments->n; i++)
	{
		const CgSegment *segment = &segments->segments[i];
		char            *word = text_to_cstring(old_code);

		if (!names(segment->rule, named, word))
			continue;
		ids[n] = Int32GetDatum(segment->id);
		rules[n++] = CStringGetTextDatum(
			cg_rule_to_cstring(renamed(segment->rule, named, word, text_to_cstring(new_code))));
	}
	UnregisterSnapshot(snapshot);

	cg_become_owner(CG_SEGMENTS, &saved);
	/* The rules mean what they meant: nothing is to be filled in. */
	cg_renaming = true;
	PG_TRY();
	{
		for (int i = 0; i < n; i++)
		{
			Datum values[2] = {ids[i], rules[i]};

			if (cg_execute(&update_rule, values, NULL) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("could not serialize access due to concurrent update"),
						 errdetail("Segment %d, whose rule names the %s, was inserted meanwhile.",
								   DatumGetInt32(ids[i]), named->what),
						 errhint("Retry the transaction.")));
		}
	}
	PG_FINALLY();
	{
		cg_renaming = false;
	}
	PG_END_TRY();
	cg_restore_user(&saved);
	SPI_finish();
	return PointerGetDatum(NULL);
}

/* The rule in a row of segments. */
static SegmentRule *
rule_of(TupleTableSlot *slot, int attnum)
{
	bool isnull;

	return (SegmentRule *) PG_DETOAST_DATUM_COPY(slot_getattr(slot, attnum, &isnull));
}

/*
 * Collects the segments of a statement whose rules are to be checked; returns how
 * many rows were left out because they were recorded before.
 */
static uint64
read_saved(TriggerData *trigdata, Saved **saved, int *n)
{
	TupleDesc       desc = RelationGetDescr(trigdata->tg_relation);
	int             attnum = SPI_fnumber(desc, "rule");
	AttrNumber      code_attnum = cg_attnum(CG_SEGMENTS, CG_SEGMENTS_CODE);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TupleTableSlot *old_slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TimestampTz     now = GetCurrentTransactionStartTimestamp();
	int             max = 16;
	uint64          restored = 0;

	if (attnum <= 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("column \"rule\" of the table is missing")));
	*n = 0;
	*saved = palloc(max * sizeof(Saved));
	tuplestore_rescan(trigdata->tg_newtable);
	if (trigdata->tg_oldtable != NULL)
		tuplestore_rescan(trigdata->tg_oldtable);
	while (tuplestore_gettupleslot(trigdata->tg_newtable, true, false, slot))
	{
		SegmentRule *old_rule = NULL;
		SegmentRule *rule = rule_of(slot, attnum);
		bool         isnull;

		CHECK_FOR_INTERRUPTS();
		if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		{
			/* The old rows stand in the same order as the new ones. */
			tuplestore_gettupleslot(trigdata->tg_oldtable, true, false, old_slot);
			old_rule = rule_of(old_slot, attnum);
			/* Another code may be one that restored rules name already. */
			if (VARSIZE(rule) == VARSIZE(old_rule) && memcmp(rule, old_rule, VARSIZE(rule)) == 0 &&
				DatumGetBool(DirectFunctionCall2Coll(texteq, DEFAULT_COLLATION_OID,
													 slot_getattr(slot, code_attnum, &isnull),
													 slot_getattr(old_slot, code_attnum, &isnull))))
				continue;
		}
		else if (DatumGetTimestampTz(slot_getattr(
					 slot, cg_attnum(CG_SEGMENTS, CG_SEGMENTS_RECORDED_AT), &isnull)) != now)
		{
			restored++;
			continue;
		}
		if (*n == max)
		{
			max *= 2;
			*saved = repalloc(*saved, max * sizeof(Saved));
		}
		(*saved)[*n].code = DatumGetTextPCopy(slot_getattr(slot, code_attnum, &isnull));
		(*saved)[*n].rule = rule;
		(*saved)[(*n)++].old_rule = old_rule;
	}
	ExecDropSingleTupleTableSlot(slot);
	ExecDropSingleTupleTableSlot(old_slot);
	return restored;
}

/*
 * Trigger check_segments: AFTER STATEMENT, for INSERT and UPDATE.
 */
PG_FUNCTION_INFO_V1(cg_check_segments);
Datum
cg_check_segments(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = cg_check_trigger(fcinfo, "check_segments", CG_SEGMENTS,
											 TRIGGER_EVENT_AFTER);
	Snapshot     snapshot;
	Saved       *saved;
	int          n;
	uint64       restored;

	if (trigdata->tg_newtable == NULL ||
		(TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) && trigdata->tg_oldtable == NULL))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("check_segments needs the rows of the statement")));
	restored = read_saved(trigdata, &saved, &n);
	if (n > 0)
	{
		CommandCounterIncrement();
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		for (int i = 0; i < n; i++)
			cg_check_rule_names(saved[i].rule, saved[i].old_rule, snapshot);

		check_nesting(cg_segments(snapshot), saved, n);
		UnregisterSnapshot(snapshot);
	}
	cg_warn_restored(CG_SEGMENTS, restored);
	return PointerGetDatum(NULL);
}
