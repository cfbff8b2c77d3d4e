/*
 * write.c
 *		Writing events of customers into the log.
 *
 * A sale that brings a tier writes three of them, each of which an INSERT takes
 * longer to get ready for than to write.  So rows are inserted here as the
 * executor does it, as long as there is nothing more to do for the table: its
 * defaults are those of the extension, its CHECK constraints such as every event
 * written here fulfils, and it has no other columns, no trigger for INSERT and no
 * rule.  Once a shop has put more on it, an INSERT statement is executed instead.
 *
 * SPI must be connected, the user be the owner of the tables; memory is the
 * caller's.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/ruleutils.h"
#include "utils/timestamp.h"

#include "catalog/tables.h"
#include "compat.h"
#include "events/events.h"

#define ROWS_AT_ONCE 100

/* What an INSERT does for a column, where it is not what is done here for any. */
typedef struct Column
{
	const char *value;    /* its default, as PostgreSQL shows it */
	bool        may_lack; /* is null in some events */
} Column;

static const Column columns[] = {
	[CG_EVENTS_ID] = {NULL, false},
	[CG_EVENTS_AT] = {"clock_timestamp()", false},
	[CG_EVENTS_KIND] = {NULL, false},
	[CG_EVENTS_CUSTOMER_ID] = {NULL, false},
	[CG_EVENTS_GROUP_ID] = {NULL, true},
	[CG_EVENTS_SEGMENT_ID] = {NULL, true},
	[CG_EVENTS_PROMOTION_ID] = {"", true},
	[CG_EVENTS_ACTOR] = {"SESSION_USER", false},
	[CG_EVENTS_APP_ACTOR] = {"NULLIF(current_setting('customer_groups.actor'::text, true), "
							 "''::text)",
							 true},
	[CG_EVENTS_DETAIL] = {NULL, false},
};

/* CHECK constraints that every event written here fulfils. */
static const char *const checks[] = {
	"(btrim(kind) <> ''::text)",
	"(jsonb_typeof(detail) = 'object'::text)",
};

/* Rows on their way into the table. */
typedef struct Writer
{
	Relation        rel;
	EState         *estate;
	ResultRelInfo  *indexes;
	TupleTableSlot *slots[ROWS_AT_ONCE];
	int             n;
} Writer;

static CgStatement insert_events = {
	.generic = true,
	.sql = "INSERT INTO customer_groups.events (kind, customer_id, group_id, segment_id, detail) "
		   "SELECT e.kind, e.customer_id, e.group_id, e.segment_id, e.detail "
		   "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), "
		   "	pg_catalog.unnest($4), pg_catalog.unnest($5)) WITH ORDINALITY "
		   "	AS e (kind, customer_id, group_id, segment_id, detail, place) "
		   "ORDER BY e.place",
	.argtypes = {TEXTARRAYOID, INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, JSONBARRAYOID}};

static bool
is_of_others(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

/* Whether an expression calls what is not PostgreSQL's own. */
static bool
calls_others(Node *node, void *context)
{
	return node != NULL && (check_functions_in_node(node, is_of_others, NULL) ||
							expression_tree_walker(node, calls_others, NULL));
}

/* An expression of the table, as PostgreSQL shows it; "?" if others might be shown so, too. */
static char *
show(Relation rel, const char *expression)
{
	Node *node = stringToNode(expression);

	if (calls_others(node, NULL))
		return "?";
	return deparse_expression(
		node, deparse_context_for(RelationGetRelationName(rel), RelationGetRelid(rel)), false,
		false);
}

/* The default of a column; an empty text if it has none. */
static char *
default_of(Relation rel, AttrNumber attnum)
{
	TupleConstr *constr = rel->rd_att->constr;

	for (int i = 0; constr != NULL && i < constr->num_defval; i++)
		if (constr->defval[i].adnum == attnum)
			return show(rel, constr->defval[i].adbin);
	return "";
}

/* Whether an INSERT would do nothing for an event but what is done here. */
static bool
is_plain(Relation rel)
{
	TupleDesc    desc = RelationGetDescr(rel);
	TriggerDesc *triggers = rel->trigdesc;
	int          ncolumns = 0;

	if (rel->rd_rel->relam != HEAP_TABLE_AM_OID || rel->rd_rel->relispartition ||
		rel->rd_rules != NULL ||
		(triggers != NULL &&
		 (triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
		  triggers->trig_insert_before_statement || triggers->trig_insert_after_statement)))
		return false;
	for (int i = 0; i < desc->natts; i++)
		ncolumns += !TupleDescAttr(desc, i)->attisdropped;
	if (ncolumns != lengthof(columns))
		return false;
	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		AttrNumber        attnum = cg_attnum(CG_EVENTS, i);
		Form_pg_attribute attribute = TupleDescAttr(desc, attnum - 1);

		if (attribute->attgenerated != '\0' || attribute->atttypmod != -1 ||
			(attribute->attnotnull && columns[i].may_lack) ||
			(attribute->attidentity != '\0') != (i == CG_EVENTS_ID) ||
			(columns[i].value != NULL && strcmp(default_of(rel, attnum), columns[i].value) != 0))
			return false;
	}
	for (int i = 0; desc->constr != NULL && i < desc->constr->num_check; i++)
	{
		char *check = show(rel, desc->constr->check[i].ccbin);
		bool  known = false;

		for (int k = 0; k < (int) lengthof(checks); k++)
			known = known || strcmp(check, checks[k]) == 0;
		if (!known)
			return false;
	}
	return true;
}

/*
 * The sequence of the ids, if rows can be written past the executor, else
 * InvalidOid.  The table must be open.
 */
static Oid
find_sequence(Relation rel)
{
	static bool   found;
	static uint64 found_at;
	static Oid    sequence;
	uint64        changes = cg_table_changes(CG_EVENTS);

	if (!found || found_at != changes)
	{
		found = false;
		sequence = is_plain(rel) ? cg_identity_sequence(rel, cg_attnum(CG_EVENTS, CG_EVENTS_ID))
								 : InvalidOid;
		found_at = changes;
		found = true;
	}
	return sequence;
}

/* Inserts the rows that have been collected. */
static void
flush(Writer *writer)
{
	if (writer->n == 0)
		return;
	table_multi_insert(writer->rel, writer->slots, writer->n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < writer->n; i++)
	{
		(void) cg_insert_index_tuples(writer->indexes, writer->slots[i], writer->estate, false, 0);
		ResetPerTupleExprContext(writer->estate);
		ExecClearTuple(writer->slots[i]);
	}
	writer->n = 0;
}

static void
set_column(TupleTableSlot *slot, int column, Datum value)
{
	AttrNumber attnum = cg_attnum(CG_EVENTS, column);

	slot->tts_values[attnum - 1] = value;
	slot->tts_isnull[attnum - 1] = false;
}

/* Inserts rows as the executor does. */
static void
insert_rows(Relation rel, Oid sequence, const CgEvent *events, int n)
{
	Writer      writer = {.rel = rel};
	Datum       actor = CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false));
	const char *app_actor = GetConfigOption("customer_groups.actor", true, false);
	Datum       app_actor_text = 0;
	const char *last_kind = NULL;
	Datum       kind = 0;

	if (app_actor != NULL && *app_actor != '\0')
		app_actor_text = CStringGetTextDatum(app_actor);
	writer.estate = CreateExecutorState();
	writer.indexes = makeNode(ResultRelInfo);
	InitResultRelInfo(writer.indexes, rel, 0, NULL, 0);
	ExecOpenIndices(writer.indexes, false);
	for (int i = 0; i < n; i++)
	{
		const CgEvent  *event = &events[i];
		TupleTableSlot *slot = writer.slots[writer.n];

		CHECK_FOR_INTERRUPTS();
		if (slot == NULL)
			slot = writer.slots[writer.n] = table_slot_create(rel, NULL);
		if (event->kind != last_kind)
			kind = CStringGetTextDatum(event->kind);
		last_kind = event->kind;
		memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
		set_column(slot, CG_EVENTS_ID, Int64GetDatum(nextval_internal(sequence, false)));
		set_column(slot, CG_EVENTS_AT, TimestampTzGetDatum(GetCurrentTimestamp()));
		set_column(slot, CG_EVENTS_KIND, kind);
		set_column(slot, CG_EVENTS_CUSTOMER_ID, Int64GetDatum(event->customer_id));
		if (event->group_id != CG_NONE)
			set_column(slot, CG_EVENTS_GROUP_ID, Int32GetDatum(event->group_id));
		if (event->segment_id != CG_NONE)
			set_column(slot, CG_EVENTS_SEGMENT_ID, Int32GetDatum(event->segment_id));
		set_column(slot, CG_EVENTS_ACTOR, actor);
		if (app_actor_text != 0)
			set_column(slot, CG_EVENTS_APP_ACTOR, app_actor_text);
		set_column(slot, CG_EVENTS_DETAIL, event->detail);
		ExecStoreVirtualTuple(slot);
		if (++writer.n == ROWS_AT_ONCE)
			flush(&writer);
	}
	flush(&writer);
	for (int i = 0; i < ROWS_AT_ONCE && writer.slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(writer.slots[i]);
	ExecCloseIndices(writer.indexes);
	FreeExecutorState(writer.estate);
	CommandCounterIncrement();
}

/* Inserts rows by a statement. */
static void
execute_insert(const CgEvent *events, int n)
{
	Datum *rows[5];
	bool  *no_group = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(bool));
	bool  *no_segment = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(bool));
	Datum  values[5];

	for (int c = 0; c < 5; c++)
		rows[c] = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		rows[0][i] = CStringGetTextDatum(events[i].kind);
		rows[1][i] = Int64GetDatum(events[i].customer_id);
		rows[2][i] = Int32GetDatum(events[i].group_id);
		rows[3][i] = Int32GetDatum(events[i].segment_id);
		rows[4][i] = events[i].detail;
		no_group[i] = events[i].group_id == CG_NONE;
		no_segment[i] = events[i].segment_id == CG_NONE;
	}
	values[0] = cg_make_array(rows[0], NULL, n, TEXTOID);
	values[1] = cg_make_array(rows[1], NULL, n, INT8OID);
	values[2] = cg_make_array(rows[2], no_group, n, INT4OID);
	values[3] = cg_make_array(rows[3], no_segment, n, INT4OID);
	values[4] = cg_make_array(rows[4], NULL, n, JSONBOID);
	cg_execute(&insert_events, values, NULL);
}

/* Writes events, in this order, by whom the session says it acts for. */
void
cg_write_events(const CgEvent *events, int n)
{
	Relation rel;
	Oid      sequence;

	if (n == 0)
		return;
	rel = cg_table_open(CG_EVENTS, RowExclusiveLock);
	sequence = find_sequence(rel);
	if (OidIsValid(sequence))
		insert_rows(rel, sequence, events, n);
	else
		execute_insert(events, n);
	table_close(rel, NoLock);
}
