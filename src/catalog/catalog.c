/*
 * catalog.c
 *		Finding our own relations and indexes, checking their shape and the
 *		rights of who asks.
 *
 * What is found is kept per backend in static memory, one entry a table, and
 * is good until a relcache invalidation for that table says otherwise: the
 * callback only clears a flag.  A table is looked at anew after it has been
 * locked, so that a change committed in between is always noticed.
 *
 * The owner may ALTER the tables.  What C code relies on (a column's name and
 * type, a primary key over certain columns) is checked on every look, and a
 * table of another shape is refused with 55000.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_opfamily_d.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "catalog/tables.h"
#include "compat.h"

#define SCHEMA "customer_groups"
#define EXTENSION "customer_groups"

typedef struct CgColumn
{
	const char *name;
	Oid         type;     /* InvalidOid: a type of our own */
	bool        nullable; /* C code takes care of nulls */
} CgColumn;

typedef struct CgShape
{
	const char *name;
	int         nkeys; /* leading columns that the primary key must have; 0: not scanned */
	CgColumn    columns[CG_MAX_COLUMNS];
} CgShape;

#define REQUIRED(name, type)                                                                       \
	{                                                                                              \
		name, type, false                                                                          \
	}
#define NULLABLE(name, type)                                                                       \
	{                                                                                              \
		name, type, true                                                                           \
	}

static const CgShape shapes[CG_TABLES] = {
	[CG_CUSTOMERS] = {"customers",
					  1,
					  {REQUIRED("id", INT8OID), REQUIRED("registered_at", TIMESTAMPTZOID),
					   NULLABLE("birth_date", DATEOID), REQUIRED("skip_auto_upgrade", BOOLOID),
					   REQUIRED("recorded_at", TIMESTAMPTZOID), REQUIRED("attributes", JSONBOID),
					   NULLABLE("external_id", TEXTOID)}},
	[CG_CUSTOMER_FACTS] = {"customer_facts",
						   1,
						   {REQUIRED("customer_id", INT8OID), REQUIRED("visits", INT8OID),
							REQUIRED("net_sales", NUMERICOID), REQUIRED("refunds", INT8OID),
							REQUIRED("prepaid_purchases", INT8OID),
							REQUIRED("pass_purchases", INT8OID), REQUIRED("no_shows", INT8OID),
							REQUIRED("registered_at", TIMESTAMPTZOID),
							NULLABLE("first_visit_at", TIMESTAMPTZOID),
							NULLABLE("last_visit_at", TIMESTAMPTZOID),
							NULLABLE("birth_date", DATEOID), NULLABLE("tracked_on", DATEOID),
							REQUIRED("skip_auto_upgrade", BOOLOID)}},
	[CG_ITEMS] = {"items",
				  1,
				  {REQUIRED("id", INT8OID), NULLABLE("brand_id", INT4OID),
				   NULLABLE("price", NUMERICOID), NULLABLE("min_price", NUMERICOID),
				   NULLABLE("external_id", TEXTOID)}},
	[CG_ITEM_CATEGORIES] = {"item_categories",
							2,
							{REQUIRED("item_id", INT8OID), REQUIRED("category_id", INT4OID),
							 REQUIRED("recorded_at", TIMESTAMPTZOID)}},
	[CG_STORE_PRICES] = {"store_prices",
						 2,
						 {REQUIRED("item_id", INT8OID), REQUIRED("store_id", INT4OID),
						  NULLABLE("price", NUMERICOID), NULLABLE("min_price", NUMERICOID)}},
	[CG_MEMBERS] = {"members",
					2,
					{REQUIRED("customer_id", INT8OID), REQUIRED("group_id", INT4OID),
					 REQUIRED("source", TEXTOID), NULLABLE("valid_from", DATEOID),
					 NULLABLE("valid_until", DATEOID), REQUIRED("added_at", TIMESTAMPTZOID),
					 REQUIRED("recorded_at", TIMESTAMPTZOID), REQUIRED("added_by", TEXTOID)}},
	[CG_SALES] = {"sales",
				  2,
				  {REQUIRED("customer_id", INT8OID), REQUIRED("id", INT8OID),
				   NULLABLE("store_id", INT4OID), REQUIRED("kind", InvalidOid),
				   REQUIRED("amount", NUMERICOID), NULLABLE("rate", NUMERICOID),
				   REQUIRED("sold_at", TIMESTAMPTZOID), REQUIRED("recorded_at", TIMESTAMPTZOID)}},
	[CG_SALE_LINES] = {"sale_lines",
					   3,
					   {REQUIRED("customer_id", INT8OID), REQUIRED("sale_id", INT8OID),
						REQUIRED("line_no", INT4OID), REQUIRED("item_id", INT8OID),
						REQUIRED("quantity", NUMERICOID), REQUIRED("recorded_at", TIMESTAMPTZOID)}},
	[CG_BRANDS] = {"brands", 0, {REQUIRED("id", INT4OID), REQUIRED("code", TEXTOID)}},
	[CG_SEGMENTS] = {"segments",
					 0,
					 {REQUIRED("id", INT4OID), REQUIRED("code", TEXTOID),
					  REQUIRED("recorded_at", TIMESTAMPTZOID), REQUIRED("name", TEXTOID),
					  REQUIRED("color", TEXTOID), REQUIRED("show_label", BOOLOID),
					  REQUIRED("rule", InvalidOid), REQUIRED("tracked", BOOLOID),
					  NULLABLE("pending_since", TIMESTAMPTZOID)}},
	[CG_SEGMENT_MEMBERS] = {"segment_members",
							2,
							{REQUIRED("customer_id", INT8OID), REQUIRED("segment_id", INT4OID)}},
	[CG_SEGMENT_TRACKING] = {"segment_tracking",
							 1,
							 {REQUIRED("id", INT4OID), REQUIRED("reached_on", DATEOID)}},
	[CG_EVENTS] = {"events",
				   0,
				   {NULLABLE("id", INT8OID), NULLABLE("at", TIMESTAMPTZOID),
					NULLABLE("kind", TEXTOID), NULLABLE("customer_id", INT8OID),
					NULLABLE("group_id", INT4OID), NULLABLE("segment_id", INT4OID),
					NULLABLE("promotion_id", INT4OID), NULLABLE("actor", TEXTOID),
					NULLABLE("app_actor", TEXTOID), NULLABLE("detail", JSONBOID)}},
	[CG_GROUPS] = {"groups",
				   1,
				   {REQUIRED("id", INT4OID), REQUIRED("code", TEXTOID),
					REQUIRED("starts_on", DATEOID), REQUIRED("use_pricing", BOOLOID),
					REQUIRED("name", TEXTOID)}},
	[CG_CATEGORIES] = {"categories", 0, {REQUIRED("id", INT4OID), REQUIRED("code", TEXTOID)}},
	[CG_SETTINGS] = {"settings",
					 0,
					 {REQUIRED("currency", TEXTOID), REQUIRED("timezone", TEXTOID),
					  REQUIRED("rounding", TEXTOID)}},
	[CG_STORES] = {"stores",
				   1,
				   {REQUIRED("id", INT4OID), REQUIRED("currency", TEXTOID),
					REQUIRED("timezone", TEXTOID)}},
	[CG_GROUP_STORE_PRICING] = {"group_store_pricing",
								0,
								{REQUIRED("group_id", INT4OID), REQUIRED("store_id", INT4OID),
								 REQUIRED("use_pricing", BOOLOID)}},
	[CG_LADDERS] = {"ladders", 0, {REQUIRED("code", TEXTOID), REQUIRED("measure", TEXTOID)}},
	[CG_PROMOTIONS] = {"promotions",
					   1,
					   {REQUIRED("id", INT4OID), REQUIRED("code", TEXTOID),
						REQUIRED("kind", TEXTOID), NULLABLE("value", NUMERICOID),
						REQUIRED("level", TEXTOID), REQUIRED("groups_only", BOOLOID),
						REQUIRED("combinable", BOOLOID), REQUIRED("stage", INT4OID),
						REQUIRED("priority", INT4OID), REQUIRED("active", BOOLOID)}},
	[CG_PROMOTION_ITEMS] = {"promotion_items",
							2,
							{REQUIRED("promotion_id", INT4OID), REQUIRED("item_id", INT8OID)}},
	[CG_PROMOTION_CATEGORIES] = {"promotion_categories",
								 2,
								 {REQUIRED("promotion_id", INT4OID),
								  REQUIRED("category_id", INT4OID)}},
	[CG_PROMOTION_BRANDS] = {"promotion_brands",
							 2,
							 {REQUIRED("promotion_id", INT4OID), REQUIRED("brand_id", INT4OID)}},
	[CG_PROMOTION_STORES] = {"promotion_stores",
							 2,
							 {REQUIRED("promotion_id", INT4OID), REQUIRED("store_id", INT4OID)}},
	[CG_PROMOTION_GROUPS] = {"promotion_groups",
							 2,
							 {REQUIRED("promotion_id", INT4OID), REQUIRED("group_id", INT4OID)}},
	[CG_PROMOTION_SEGMENTS] = {"promotion_segments",
							   2,
							   {REQUIRED("promotion_id", INT4OID),
								REQUIRED("segment_id", INT4OID)}},
	[CG_CACHE_STAMPS] = {"cache_stamps",
						 0,
						 {REQUIRED("stamp", INT8OID), REQUIRED("kind", CHAROID),
						  NULLABLE("key", INT8OID), NULLABLE("folded", INT8ARRAYOID)}},
};

typedef struct CgTableInfo
{
	bool       fresh; /* no invalidation has come since the last look began */
	bool       valid;
	Oid        relid;
	Oid        owner;
	Oid        pkey;
	Oid        external_key; /* index on external_id, once it has been looked for */
	bool       plain;        /* see cg_is_plain() */
	uint64     changes;      /* invalidations of these relations */
	AttrNumber attnums[CG_MAX_COLUMNS];
} CgTableInfo;

static CgTableInfo tables[CG_TABLES];
static uint64      source_changes;

/* The enum type sale_kind, found with the table sales. */
static const char *const sale_kinds[] = {"product", "refund", "prepaid", "pass", "no_show"};
static Oid               sale_kind_oids[lengthof(sale_kinds)];

/* Who may view: the answer for one user, good until rights or tables change. */
static Oid    viewer = InvalidOid;
static bool   viewer_row_security;
static uint64 rights_changes;

static void invalidate_table(Datum arg, Oid relid);
static void invalidate_rights(Datum arg, int cacheid, uint32 hashvalue);
static void find_table(CgTable table);
static void check_version(Oid extension);

/*
 * Registers the invalidation callbacks; called once, when the library is loaded.
 */
void
cg_catalog_init(void)
{
	CacheRegisterRelcacheCallback(invalidate_table, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, invalidate_rights, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, invalidate_rights, (Datum) 0);
}

/* Whether caches are built from a table; that of the stamps is looked at by itself. */
static bool
is_cached(CgTable table)
{
	switch (table)
	{
		case CG_CUSTOMERS:
		case CG_CUSTOMER_FACTS:
		case CG_ITEMS:
		case CG_ITEM_CATEGORIES:
		case CG_STORE_PRICES:
		case CG_MEMBERS:
		case CG_SALES:
		case CG_SALE_LINES:
		case CG_SEGMENT_MEMBERS:
		case CG_SEGMENT_TRACKING:
		case CG_EVENTS:
		case CG_CACHE_STAMPS:
			return false;
		default:
			return true;
	}
}

/*
 * A number that grows when a table that caches are built from may have become
 * another one: what a DDL command does to it leaves no stamp.  Raises 55000 when
 * one of them does not have its shape.
 */
uint64
cg_source_changes(void)
{
	for (int i = 0; i < CG_TABLES; i++)
		if (!tables[i].valid && (i == CG_CACHE_STAMPS || is_cached((CgTable) i)))
			find_table((CgTable) i);
	return source_changes;
}

static void
invalidate_table(Datum arg, Oid relid)
{
	/* A build with assertions may discard its caches at every look-up: ours would never be valid. */
	if (relid == InvalidOid && debug_discard_caches > 0)
		return;
	for (int i = 0; i < CG_TABLES; i++)
	{
		if (relid == InvalidOid || relid == tables[i].relid || relid == tables[i].pkey ||
			relid == tables[i].external_key)
			tables[i].changes++;
		if (relid == InvalidOid || tables[i].relid == relid)
		{
			tables[i].valid = tables[i].fresh = false;
			if (is_cached(i))
				source_changes++;
			invalidate_rights((Datum) 0, 0, 0);
		}
	}
}

static void
invalidate_rights(Datum arg, int cacheid, uint32 hashvalue)
{
	viewer = InvalidOid;
	rights_changes++;
}

/*
 * Opens a table and returns it locked; the caller closes it.  What cg_attnum()
 * and the like say of the table holds while it is locked.
 */
Relation
cg_table_open(CgTable table, LOCKMODE lockmode)
{
	for (;;)
	{
		Relation rel;

		if (!tables[table].valid)
			find_table(table);
		rel = try_table_open(tables[table].relid, lockmode);
		if (rel == NULL)
		{
			tables[table].valid = false;
			continue;
		}
		if (tables[table].valid)
			return rel;
		table_close(rel, lockmode);
	}
}

/* The number of a column; the table must have been opened. */
AttrNumber
cg_attnum(CgTable table, int column)
{
	return tables[table].attnums[column];
}

Oid
cg_table_owner(CgTable table)
{
	table_close(cg_table_open(table, AccessShareLock), NoLock);
	return tables[table].owner;
}

/* Whether a relation is one of the tables listed here. */
bool
cg_is_own_table(Relation rel)
{
	for (int i = 0; i < CG_TABLES; i++)
	{
		while (!tables[i].valid)
			find_table((CgTable) i);
		if (tables[i].relid == RelationGetRelid(rel))
			return true;
	}
	return false;
}

/*
 * Whether an UPDATE of the table that leaves its primary key as it is does no more
 * than to change the row and its indexes; the table must have been opened.
 */
bool
cg_is_plain(CgTable table)
{
	return tables[table].plain;
}

/* Whether this transaction may have changed rows of a table, or be changing them. */
bool
cg_is_written(CgTable table)
{
	Relation rel;
	bool     result;

	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return false;
	rel = cg_table_open(table, AccessShareLock);
	result = CheckRelationLockedByMe(rel, RowExclusiveLock, true);
	table_close(rel, NoLock);
	return result;
}

/* The kind of sale that an enum value stands for; sales must have been opened. */
CgSaleKind
cg_sale_kind(Oid kind)
{
	for (int i = 0; i < (int) lengthof(sale_kinds); i++)
		if (sale_kind_oids[i] == kind)
			return (CgSaleKind) i;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("type %s.sale_kind has a value that is not known", SCHEMA)));
	pg_unreachable();
}

/* Reports that a table is not as C code needs it. */
pg_noreturn static void
wrong_shape(const char *table, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table %s.%s does not have the shape that the extension needs", SCHEMA, table),
			 errdetail("%s", what),
			 errhint("Undo the change of the table, or create the extension anew.")));
}

/* The sequence of the stamps. */
Oid
cg_stamp_sequence(void)
{
	Oid sequence = get_relname_relid("cache_stamps_stamp_seq", get_namespace_oid(SCHEMA, false));

	if (!OidIsValid(sequence))
		wrong_shape("cache_stamps", "Its sequence \"cache_stamps_stamp_seq\" is missing.");
	return sequence;
}

/* Checks a column of one of our own types, and finds the values of sale_kind. */
static void
find_own_type(const char *table, const char *column, Oid type)
{
	const char *expected = strcmp(column, "kind") == 0 ? "sale_kind" : "segment_rule";

	if (type != GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(expected),
								ObjectIdGetDatum(get_namespace_oid(SCHEMA, false))))
		wrong_shape(table, psprintf("Column \"%s\" is of type %s, not %s.", column,
									format_type_be(type), expected));
	if (strcmp(column, "kind") == 0)
		for (int k = 0; k < (int) lengthof(sale_kinds); k++)
			sale_kind_oids[k] = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
												ObjectIdGetDatum(type),
												CStringGetDatum(sale_kinds[k]));
}

/*
 * Whether the executor would do nothing for an UPDATE but to change the row and
 * its indexes.  A foreign key is checked when its columns change: it must be over
 * the first column, which never does.
 */
static bool
is_plain(Relation rel, AttrNumber key)
{
	TupleConstr *constr = rel->rd_att->constr;
	TriggerDesc *triggers = rel->trigdesc;
	ListCell    *cell;

	if (rel->rd_rel->relam != HEAP_TABLE_AM_OID || rel->rd_rules != NULL ||
		(constr != NULL && constr->num_check > 0))
		return false;
	for (int i = 0; i < rel->rd_att->natts; i++)
		if (TupleDescAttr(rel->rd_att, i)->attgenerated != '\0' ||
			TupleDescAttr(rel->rd_att, i)->atttypmod != -1)
			return false;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_UPDATE(trigger->tgtype) &&
			(!trigger->tgisinternal || trigger->tgdeferrable ||
			 trigger->tgfoid != F_RI_FKEY_CHECK_UPD))
			return false;
	}
	foreach (cell, RelationGetFKeyList(rel))
	{
		const ForeignKeyCacheInfo *foreign_key = lfirst(cell);

		if (foreign_key->nkeys != 1 || foreign_key->conkey[0] != key)
			return false;
	}
	return true;
}

/*
 * Looks a table up and checks its shape.  An invalidation that arrives
 * meanwhile leaves the entry invalid, and the caller comes again.
 */
static void
find_table(CgTable table)
{
	const CgShape *shape = &shapes[table];
	CgTableInfo   *info = &tables[table];
	Oid            extension = get_extension_oid(EXTENSION, true);
	Oid namespace = get_namespace_oid(SCHEMA, true);
	Relation rel;

	if (!OidIsValid(extension) || !OidIsValid(namespace))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("extension %s is not installed in this database", EXTENSION),
						errhint("Run CREATE EXTENSION %s.", EXTENSION)));
	check_version(extension);

	info->valid = false;
	info->external_key = InvalidOid;
	info->relid = get_relname_relid(shape->name, namespace);
	if (!OidIsValid(info->relid))
		wrong_shape(shape->name, "The table is missing.");
	info->fresh = true;
	rel = relation_open(info->relid, AccessShareLock);
	if (rel->rd_rel->relkind != RELKIND_RELATION ||
		(rel->rd_rel->relhassubclass && find_inheritance_children(info->relid, NoLock) != NIL))
		wrong_shape(shape->name, "It is not an ordinary table, or has children.");
	info->owner = rel->rd_rel->relowner;
	/* What is done as the owner must see every row. */
	if (check_enable_rls(info->relid, info->owner, true) == RLS_ENABLED)
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("row-level security on table %s applies to its owner", shape->name),
			 errdetail("The engine keeps what follows from the tables as their owner, and "
					   "would not see every row."),
			 errhint("Run ALTER TABLE %s.%s NO FORCE ROW LEVEL SECURITY.", SCHEMA, shape->name)));
	if (table == CG_CACHE_STAMPS)
	{
		static Oid last;

		if (rel->rd_rel->relam != HEAP_TABLE_AM_OID)
			wrong_shape(shape->name, "Its access method is not heap.");
		/* Rows are written past the executor, which alone can keep other indexes. */
		if (list_length(RelationGetIndexList(rel)) != 1)
			wrong_shape(shape->name, "It has another index than its primary key.");
		for (int i = 0; i < rel->rd_att->natts; i++)
		{
			Form_pg_attribute column = TupleDescAttr(rel->rd_att, i);
			bool              ours = false;

			for (int k = CG_STAMPS_STAMP; k <= CG_STAMPS_FOLDED; k++)
				ours = ours || strcmp(NameStr(column->attname), shape->columns[k].name) == 0;
			if (!ours && !column->attisdropped && (column->attnotnull || column->attgenerated))
				wrong_shape(shape->name, "It has another column that must have a value.");
		}
		/* Another set of stamps says nothing about what caches hold. */
		if (last != rel->rd_rel->relfilenode)
			source_changes++;
		last = rel->rd_rel->relfilenode;
	}

	for (int i = 0; i < CG_MAX_COLUMNS && shape->columns[i].name != NULL; i++)
	{
		const CgColumn *column = &shape->columns[i];
		AttrNumber      attnum = get_attnum(info->relid, column->name);
		Oid             type;

		if (attnum == InvalidAttrNumber)
			wrong_shape(shape->name, psprintf("Column \"%s\" is missing.", column->name));
		type = TupleDescAttr(rel->rd_att, attnum - 1)->atttypid;
		if (OidIsValid(column->type) && type != column->type)
			wrong_shape(shape->name, psprintf("Column \"%s\" is of type %s, not %s.", column->name,
											  format_type_be(type), format_type_be(column->type)));
		if (!column->nullable && !TupleDescAttr(rel->rd_att, attnum - 1)->attnotnull)
			wrong_shape(shape->name, psprintf("Column \"%s\" may be null.", column->name));
		if (!OidIsValid(column->type))
			find_own_type(shape->name, column->name, type);
		info->attnums[i] = attnum;
	}

	if (shape->nkeys > 0)
	{
		bool usable = false;

		info->pkey = cg_primary_key_index(rel);
		if (OidIsValid(info->pkey))
		{
			Relation index = index_open(info->pkey, AccessShareLock);

			usable = index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisvalid &&
					 index->rd_index->indnkeyatts == shape->nkeys;
			for (int i = 0; usable && i < shape->nkeys; i++)
				usable = index->rd_index->indkey.values[i] == info->attnums[i];
			index_close(index, AccessShareLock);
		}
		if (!usable)
			wrong_shape(shape->name, "Its primary key is missing or over other columns.");
	}
	info->plain = is_plain(rel, info->attnums[0]);
	table_close(rel, AccessShareLock);
	info->valid = info->fresh;
}

/* Compares two dotted versions, as strcmp does. */
static int
compare_versions(const char *a, const char *b)
{
	while (*a != '\0' || *b != '\0')
	{
		long x = strtol(a, (char **) &a, 10);
		long y = strtol(b, (char **) &b, 10);

		if (x != y)
			return x < y ? -1 : 1;
		if (*a != '.' || *b != '.')
			return strcmp(a, b);
		a++;
		b++;
	}
	return 0;
}

/*
 * Refuses to work on SQL objects that are newer than this library: the session
 * began before the extension was updated.
 */
static void
check_version(Oid extension)
{
	Relation    rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple   tuple;
	char       *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool  isnull;
		Datum datum = heap_getattr(tuple, Anum_pg_extension_extversion, rel->rd_att, &isnull);

		version = TextDatumGetCString(datum);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	if (version != NULL && compare_versions(CG_VERSION, version) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the library of extension %s is older than its SQL objects", EXTENSION),
				 errdetail("The library is of version %s, the extension of version %s.", CG_VERSION,
						   version),
				 errhint("Reconnect, so that the session loads the new library.")));
}

/* The index of a table's primary key; the table must have been opened. */
Oid
cg_primary_key(CgTable table)
{
	return tables[table].pkey;
}

/* A valid unique index on a text column alone; raises 55000 when there is none. */
static Oid
find_key_index(CgTable table, Relation heap, const char *column)
{
	AttrNumber attnum = get_attnum(RelationGetRelid(heap), column);
	List      *indexes = RelationGetIndexList(heap);
	ListCell  *cell;

	foreach (cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);
		bool     usable = index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisvalid &&
					  index->rd_index->indisunique && index->rd_index->indnkeyatts == 1 &&
					  index->rd_index->indkey.values[0] == attnum &&
					  index->rd_opfamily[0] == TEXT_BTREE_FAM_OID &&
					  heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);

		index_close(index, NoLock);
		if (usable)
			return lfirst_oid(cell);
	}
	wrong_shape(shapes[table].name, psprintf("Column \"%s\" has no unique index.", column));
}

/* The index on external_id of a table that is open; raises 55000 when there is none. */
Oid
cg_external_key(CgTable table, Relation heap)
{
	if (!OidIsValid(tables[table].external_key))
		tables[table].external_key = find_key_index(table, heap, "external_id");
	return tables[table].external_key;
}

/* A number that grows when a table or the indexes named above may have become others. */
uint64
cg_table_changes(CgTable table)
{
	return tables[table].changes;
}

/*
 * Raises 42501 unless the current user may read everything that the engine
 * reads on behalf of a caller, and row-level security leaves nothing out.  The
 * engine goes past the executor, so it makes the executor's checks itself.
 */
void
cg_check_view(void)
{
	Oid    userid = GetUserId();
	uint64 changes = rights_changes;

	if (viewer == userid && viewer_row_security == row_security)
		return;

	for (int i = 0; i < CG_TABLES; i++)
	{
		/* What it reads of the settings is on every price tag; the stamps are our own. */
		if (i == CG_SETTINGS || i == CG_CACHE_STAMPS)
			continue;
		table_close(cg_table_open((CgTable) i, AccessShareLock), NoLock);
		if (pg_class_aclcheck(tables[i].relid, userid, ACL_SELECT) != ACLCHECK_OK)
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("permission denied for table %s", shapes[i].name),
							errdetail("Prices and groups are answered to roles that may read every "
									  "table they depend on."),
							errhint("Ask the owner of the extension for the level \"view\".")));
		if (check_enable_rls(tables[i].relid, userid, true) == RLS_ENABLED ||
			check_enable_rls(tables[i].relid, tables[i].owner, true) == RLS_ENABLED)
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("row-level security on table %s applies to you", shapes[i].name),
							errdetail("The engine reads whole tables and does not go round a "
									  "policy."),
							errhint("Call it as a role that the policies do not apply to.")));
	}
	if (changes == rights_changes)
	{
		viewer = userid;
		viewer_row_security = row_security;
	}
}

/*
 * Whether the current user has been granted an access level, or has the rights of
 * the tables' owner.
 */
bool
cg_holds_level(const char *level)
{
	Oid        marks = get_relname_relid("access_marks", get_namespace_oid(SCHEMA, false));
	AttrNumber attnum = get_attnum(marks, level);

	if (has_privs_of_role(GetUserId(), cg_table_owner(CG_MEMBERS)))
		return true;
	return attnum != InvalidAttrNumber &&
		   pg_attribute_aclcheck(marks, attnum, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

/*
 * Acts as the owner of a table from here on, under a restricted security
 * context.  After an error, the end of the (sub)transaction restores the user.
 */
void
cg_become_owner(CgTable table, CgUser *saved)
{
	GetUserIdAndSecContext(&saved->userid, &saved->sec_context);
	SetUserIdAndSecContext(cg_table_owner(table), saved->sec_context |
													  SECURITY_LOCAL_USERID_CHANGE |
													  SECURITY_RESTRICTED_OPERATION);
}

void
cg_restore_user(const CgUser *saved)
{
	SetUserIdAndSecContext(saved->userid, saved->sec_context);
}

static SPIPlanPtr
statement_plan(CgStatement *statement)
{
	if (statement->plan == NULL)
	{
		SPIPlanPtr plan;
		int        nargs = 0;

		while (OidIsValid(statement->argtypes[nargs]))
			nargs++;
		plan = SPI_prepare_cursor(statement->sql, nargs, statement->argtypes,
								  statement->generic  ? CURSOR_OPT_GENERIC_PLAN
								  : statement->custom ? CURSOR_OPT_CUSTOM_PLAN
													  : 0);
		if (plan == NULL)
			elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "SPI_keepplan failed");
		statement->plan = plan;
	}
	return statement->plan;
}

/*
 * The owner may have changed the types of columns: what C code is about to read
 * must be what it was written for.
 */
static void
check_result(const CgStatement *statement, TupleDesc desc)
{
	for (int i = 0; OidIsValid(statement->restypes[i]); i++)
		if (desc == NULL || i >= desc->natts ||
			TupleDescAttr(desc, i)->atttypid != statement->restypes[i])
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("a table of the extension does not have the shape that it needs"),
					 errdetail("Column %d of \"%s\" is not of type %s.", i + 1, statement->sql,
							   format_type_be(statement->restypes[i])),
					 errhint("Undo the change of the table, or create the extension anew.")));
}

static int
check_executed(const CgStatement *statement, int result)
{
	if (result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
	if (SPI_processed > 0)
		check_result(statement, SPI_tuptable == NULL ? NULL : SPI_tuptable->tupdesc);
	return (int) SPI_processed;
}

/*
 * Runs a statement that may write, under the snapshot that its isolation level
 * gives it; returns the number of rows.  SPI must be connected.
 */
int
cg_execute(CgStatement *statement, Datum *values, const char *nulls)
{
	return check_executed(statement,
						  SPI_execute_plan(statement_plan(statement), values, nulls, false, 0));
}

/* The statement for n rows, and what it takes: see cg_execute_rows(). */
static CgStatement *
bind_rows(CgStatement *many, CgStatement *one, Datum *const *columns, bool *const *nulls, int n,
		  Datum *values, char *isnull)
{
	for (int c = 0; OidIsValid(one->argtypes[c]); c++)
	{
		bool *column_nulls = nulls == NULL ? NULL : nulls[c];

		values[c] = n == 1 ? columns[c][0]
						   : cg_make_array(columns[c], column_nulls, n, one->argtypes[c]);
		isnull[c] = n == 1 && column_nulls != NULL && column_nulls[0] ? 'n' : ' ';
	}
	return n == 1 ? one : many;
}

/*
 * The same over n rows, whose columns are given; a column may have no nulls
 * (NULL).  The statement for many takes an array of each column, that for one,
 * which is much cheaper, the values of its row.
 */
int
cg_execute_rows(CgStatement *many, CgStatement *one, Datum *const *columns, bool *const *nulls,
				int n)
{
	Datum        values[CG_MAX_ARGS];
	char         isnull[CG_MAX_ARGS + 1] = {0};
	CgStatement *statement = bind_rows(many, one, columns, nulls, n, values, isnull);

	return cg_execute(statement, values, isnull);
}

/* Makes the snapshot active that a statement executed now would have. */
void
cg_push_snapshot(void)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	UpdateActiveSnapshotCommandId();
}

/*
 * Runs a reading statement under the active snapshot; returns the number of
 * rows.  SPI must be connected.
 */
int
cg_execute_as_is(CgStatement *statement, Datum *values)
{
	return check_executed(statement,
						  SPI_execute_plan(statement_plan(statement), values, NULL, true, 0));
}

/* The same through a cursor, which the caller closes. */
Portal
cg_open_cursor(CgStatement *statement, Datum *values, const char *nulls)
{
	Portal portal = SPI_cursor_open(NULL, statement_plan(statement), values, nulls, true);

	check_result(statement, portal->tupDesc);
	return portal;
}

/*
 * Runs a reading statement under the latest snapshot, whatever the isolation
 * level, as foreign keys do; returns the number of rows.  SPI must be connected.
 */
int
cg_execute_latest(CgStatement *statement, Datum *values, const char *nulls)
{
	CommandCounterIncrement();
	return check_executed(statement, SPI_execute_snapshot(statement_plan(statement), values, nulls,
														  GetLatestSnapshot(), InvalidSnapshot,
														  true, false, 0));
}

/*
 * Runs a statement that changes rows which the snapshot of the isolation level
 * may be too old to see, but which the caller's locks keep from others; returns
 * the number of rows.  SPI must be connected.
 */
int
cg_change_latest(CgStatement *statement, Datum *values, const char *nulls)
{
	CommandCounterIncrement();
	return check_executed(statement, SPI_execute_snapshot(statement_plan(statement), values, nulls,
														  GetLatestSnapshot(), InvalidSnapshot,
														  false, true, 0));
}

/* The same over n rows, as cg_execute_rows(). */
int
cg_change_latest_rows(CgStatement *many, CgStatement *one, Datum *const *columns, int n)
{
	Datum        values[CG_MAX_ARGS];
	char         isnull[CG_MAX_ARGS + 1] = {0};
	CgStatement *statement = bind_rows(many, one, columns, NULL, n, values, isnull);

	return cg_change_latest(statement, values, isnull);
}

int
cg_array_elements(Datum array, Datum **elements)
{
	int n;

	deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE,
					  elements, NULL, &n);
	return n;
}

/*
 * Returns the trigger data when the function was called as a trigger of that
 * timing on our own table, and raises 39P01 otherwise: with a table of one's
 * own, a trigger that acts as the owner could be made to believe anything.
 */
TriggerData *
cg_check_trigger(FunctionCallInfo fcinfo, const char *name, CgTable table, TriggerEvent timing)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function %s was not called as a trigger", name)));
	if ((trigdata->tg_event & (TRIGGER_EVENT_ROW | TRIGGER_EVENT_TIMINGMASK)) != timing)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function %s was not called at the time of its trigger", name)));
	table_close(cg_table_open(table, AccessShareLock), NoLock);
	if (RelationGetRelid(trigdata->tg_relation) != tables[table].relid)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function %s is a trigger of table %s.%s only", name, SCHEMA,
							   shapes[table].name)));
	return trigdata;
}

/*
 * A column of a transition table as an array, in the current memory context:
 * SQL text joins arrays, never the transition table itself.
 */
Datum
cg_transition_column(Tuplestorestate *rows, TupleDesc desc, const char *name, Oid type)
{
	TupleTableSlot  *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	ArrayBuildState *state = initArrayResult(type, CurrentMemoryContext, false);
	int              attnum = SPI_fnumber(desc, name);

	if (attnum <= 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("column \"%s\" of the table is missing", name)));
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		bool  isnull;
		Datum datum = slot_getattr(slot, attnum, &isnull);

		CHECK_FOR_INTERRUPTS();
		state = accumArrayResult(state, datum, isnull, type, CurrentMemoryContext);
	}
	ExecDropSingleTupleTableSlot(slot);
	return makeArrayResult(state, CurrentMemoryContext);
}

/*
 * Lets one transaction at a time go on, until its end, among those that change
 * definitions in this table.  Readers and sales are not held up.
 */
void
cg_lock_definition(CgTable table)
{
	table_close(cg_table_open(table, AccessShareLock), NoLock);
	LockDatabaseObject(RelationRelationId, tables[table].relid, 1, ExclusiveLock);
}

/* Keeps them from it, and lets others do the same as the caller. */
void
cg_share_definition(CgTable table)
{
	table_close(cg_table_open(table, AccessShareLock), NoLock);
	LockDatabaseObject(RelationRelationId, tables[table].relid, 1, ShareLock);
}

/* A one-dimensional array, in the current memory context; nulls may be NULL. */
Datum
cg_make_array(Datum *values, bool *nulls, int n, Oid type)
{
	int   lower = 1;
	int16 length;
	bool  byval;
	char  align;

	get_typlenbyvalalign(type, &length, &byval, &align);
	return PointerGetDatum(
		construct_md_array(values, nulls, 1, &n, &lower, type, length, byval, align));
}

/* Says that rows were taken as recorded before, if there were any. */
void
cg_warn_restored(CgTable table, uint64 count)
{
	if (count > 0)
		ereport(
			WARNING,
			(errmsg_plural("%llu row of table %s was recorded before and is taken as it is",
						   "%llu rows of table %s were recorded before and are taken as they are",
						   (unsigned long) count, (unsigned long long) count, shapes[table].name),
			 errdetail("Their recorded_at is not the time of this transaction, as in a "
					   "restore: no facts, tiers or events follow from them."),
			 errhint("Leave recorded_at to its default for new rows.")));
}
