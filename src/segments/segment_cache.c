/*
 * segment_cache.c
 *		The backend's cache of segments, and of the codes that rules name.
 *
 * Key: ids, and codes.  Source: the tables segments, groups, categories and
 * brands.  Invalidator: the stamps (promotions/stamps.c).  What one table gives
 * has a context of its own under CacheMemoryContext, which is reset when that
 * table is read anew, as a whole: these tables are small.
 *
 * Dates of groups, tiers and the time zone are in the definitions
 * (promotions/definitions.c); items are not cached at all.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "catalog/tables.h"
#include "promotions/promotions.h"
#include "segments/segments.h"

#define NOWHERE (-1)

/* A code, and the id of what has it, or the place of the segment. */
typedef struct CodeEntry
{
	const text *code;
	int32       value;
	char        status;
} CodeEntry;

static inline uint32
hash_code(const text *code)
{
	return hash_bytes((const unsigned char *) VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code));
}

static inline bool
same_code(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

#define SH_PREFIX codes
#define SH_ELEMENT_TYPE CodeEntry
#define SH_KEY_TYPE const text *
#define SH_KEY code
#define SH_HASH_KEY(table, key) hash_code(key)
#define SH_EQUAL(table, a, b) same_code(a, b)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A category and its parent, or a segment and its place. */
typedef struct IdEntry
{
	int32 id; /* hash key */
	int32 value;
} IdEntry;

#define KINDS (CG_NAME_TIER + 1)

static void load(void);
static void reload(CgStampKind kind, Datum keys, bool all);

static CgCache       cache = {.name = "segments", .kinds = "gcbe", .load = load, .reload = reload};
static CgSegments    segments;
static MemoryContext contexts[KINDS];
static codes_hash   *codes[KINDS];
static HTAB         *parents;
static HTAB         *places;

/* The codes that rules name, collected when they are first asked for. */
static MemoryContext named_context;
static uint64        named_generation;
static codes_hash   *named[KINDS];

static CgStatement select_groups = {.sql = "SELECT id, code FROM customer_groups.groups",
									.restypes = {INT4OID, TEXTOID}};

static CgStatement select_categories = {
	.sql = "SELECT id, code, parent_id FROM customer_groups.categories",
	.restypes = {INT4OID, TEXTOID, INT4OID}};

static CgStatement select_brands = {.sql = "SELECT id, code FROM customer_groups.brands",
									.restypes = {INT4OID, TEXTOID}};

static CgStatement select_segments = {
	.sql = "SELECT id, code, name, color, show_label, tracked, pending_since, rule "
		   "FROM customer_groups.segments "
		   "ORDER BY position, code COLLATE pg_catalog.\"C\"",
	.restypes = {INT4OID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID, TIMESTAMPTZOID}};

/*
 * The segments and codes that a snapshot would read.  Owned by the cache; good
 * until the next call.
 */
const CgSegments *
cg_segments(Snapshot snapshot)
{
	cg_cache_validate(&cache, snapshot);
	return &segments;
}

/* The place of a segment in the list, or -1; after cg_segments(). */
int
cg_find_segment(int32 id)
{
	IdEntry *entry = hash_search(places, &id, HASH_FIND, NULL);

	return entry == NULL ? NOWHERE : entry->value;
}

/*
 * Finds the id of the group, category or brand that has a code, or the place of
 * the segment; after cg_segments().
 */
bool
cg_find_code(CgRuleNameKind kind, const text *code, int32 *value)
{
	CodeEntry *entry = codes_lookup(codes[kind], code);

	if (entry == NULL)
		return false;
	*value = entry->value;
	return true;
}

/* The place of the segment that has a code; raises 02000 if none has; after cg_segments(). */
int32
cg_segment_by_code(const text *code)
{
	int32 place;

	if (!cg_find_code(CG_NAME_SEGMENT, code, &place))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA), errmsg("unknown segment"),
						errdetail("There is no segment with code \"%s\".", text_to_cstring(code)),
						errhint("Insert it first, or ask with the code of an existing one.")));
	return place;
}

/* Whether a category is another one or below it; after cg_segments(). */
bool
cg_category_is_in(int32 category, int32 ancestor)
{
	/* The triggers refuse a cycle; a restored one must not hang us. */
	for (int depth = 0; depth < 1000; depth++)
	{
		IdEntry *entry;

		if (category == ancestor)
			return true;
		entry = hash_search(parents, &category, HASH_FIND, NULL);
		if (entry == NULL)
			break;
		category = entry->value;
	}
	return false;
}

/* The ids of a category and of those below it, ascending; after cg_segments(). */
List *
cg_categories_in(int32 ancestor)
{
	codes_iterator iterator;
	CodeEntry     *entry;
	List          *result = NIL;

	codes_start_iterate(codes[CG_NAME_CATEGORY], &iterator);
	while ((entry = codes_iterate(codes[CG_NAME_CATEGORY], &iterator)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (cg_category_is_in(entry->value, ancestor))
			result = lappend_int(result, entry->value);
	}
	list_sort(result, list_int_cmp);
	return result;
}

/* Whether a rule of any segment names the code; after cg_segments(). */
bool
cg_is_named(CgRuleNameKind kind, const text *code)
{
	if (named_context == NULL)
		named_context = AllocSetContextCreate(CacheMemoryContext, "customer_groups codes in rules",
											  ALLOCSET_SMALL_SIZES);
	if (named_generation != segments.generation)
	{
		MemoryContext caller;

		named_generation = 0;
		MemoryContextReset(named_context);
		caller = MemoryContextSwitchTo(named_context);
		for (int i = 0; i < KINDS; i++)
			named[i] = codes_create(named_context, 16, NULL);
		for (int i = 0; i < segments.n; i++)
		{
			ListCell *lc;

			foreach (lc, cg_rule_names(segments.segments[i].rule))
			{
				CgRuleName *name = lfirst(lc);
				bool        exists;

				codes_insert(named[name->kind], cstring_to_text(name->code), &exists);
			}
		}
		MemoryContextSwitchTo(caller);
		named_generation = segments.generation;
	}
	return codes_lookup(named[kind], code) != NULL;
}

static Datum
column(int row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

static HTAB *
make_hash(CgRuleNameKind kind, const char *name)
{
	HASHCTL ctl;

	ctl.keysize = sizeof(int32);
	ctl.entrysize = sizeof(IdEntry);
	ctl.hcxt = contexts[kind];
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
add_id(HTAB *hash, int32 id, int32 value)
{
	IdEntry *entry = hash_search(hash, &id, HASH_ENTER, NULL);

	entry->value = value;
}

/* Empties what is known of a kind, for n codes to come. */
static void
start_kind(CgRuleNameKind kind, const char *name, int n)
{
	codes[kind] = NULL;
	if (contexts[kind] == NULL)
		contexts[kind] = AllocSetContextCreateInternal(CacheMemoryContext, name,
													   ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(contexts[kind]);
	codes[kind] = codes_create(contexts[kind], Max(n, 16), NULL);
}

/* A copy of a column that is text, in the kind's context. */
static text *
copy_text(CgRuleNameKind kind, int row, int number)
{
	MemoryContext caller = MemoryContextSwitchTo(contexts[kind]);
	bool          isnull;
	text         *result = DatumGetTextPCopy(column(row, number, &isnull));

	MemoryContextSwitchTo(caller);
	return result;
}

static void
add_code(CgRuleNameKind kind, const text *code, int32 value)
{
	bool       exists;
	CodeEntry *entry = codes_insert(codes[kind], code, &exists);

	entry->value = value;
}

/* Reads a table whose first columns are id and code. */
static int
load_codes(CgRuleNameKind kind, const char *name, CgStatement *statement)
{
	int n = cg_execute_as_is(statement, NULL);

	start_kind(kind, name, n);
	for (int i = 0; i < n; i++)
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		add_code(kind, copy_text(kind, i, 2), DatumGetInt32(column(i, 1, &isnull)));
	}
	return n;
}

static void
load_categories(void)
{
	int n = load_codes(CG_NAME_CATEGORY, "customer_groups category codes", &select_categories);

	parents = make_hash(CG_NAME_CATEGORY, "customer_groups parents of categories");
	for (int i = 0; i < n; i++)
	{
		bool  isnull;
		int32 id = DatumGetInt32(column(i, 1, &isnull));
		int32 parent = DatumGetInt32(column(i, 3, &isnull));

		if (!isnull)
			add_id(parents, id, parent);
	}
}

static uint32
dependencies_of(const CgRuleNode *node, bool *visited)
{
	const CgRuleNode *child = cg_rule_child(node);
	uint32            result = 0;
	int32             place;

	check_stack_depth();
	switch ((CgRuleKind) node->kind)
	{
		case CG_RULE_AND:
		case CG_RULE_OR:
		case CG_RULE_NOT:
			for (int i = 0; i < node->nargs; i++, child = cg_rule_sibling(child))
				result |= dependencies_of(child, visited);
			break;
		case CG_RULE_ALL:
			break;
		case CG_RULE_METRIC:
			result = CG_DEPENDS_SALES;
			break;
		case CG_RULE_DATE:
		case CG_RULE_DAYS_SINCE:
		case CG_RULE_WITHIN:
			result = node->metric == CG_METRIC_REGISTERED ? CG_DEPENDS_RECORD : CG_DEPENDS_SALES;
			result |= node->kind == CG_RULE_DATE ? CG_DEPENDS_ZONE : CG_DEPENDS_DAY;
			break;
		case CG_RULE_BIRTHDAY_TODAY:
		case CG_RULE_BIRTHDAY_THIS_MONTH:
		case CG_RULE_BIRTHDAY_WITHIN_NEXT:
			result = CG_DEPENDS_RECORD | CG_DEPENDS_DAY;
			break;
		case CG_RULE_BIRTHDAY_IN_MONTH:
			result = CG_DEPENDS_RECORD;
			break;
		case CG_RULE_ATTRIBUTE:
			result = CG_DEPENDS_RECORD | CG_DEPENDS_ROWS;
			break;
		case CG_RULE_BOUGHT_ITEM:
		case CG_RULE_BOUGHT_CATEGORY:
		case CG_RULE_BOUGHT_BRAND:
			result = CG_DEPENDS_SALES | CG_DEPENDS_LINES | CG_DEPENDS_ROWS;
			break;
		case CG_RULE_MEMBER:
		case CG_RULE_TIER:
			result = CG_DEPENDS_MEMBERS | CG_DEPENDS_DAY | CG_DEPENDS_ROWS;
			break;
		case CG_RULE_SEGMENT:
			if (cg_find_code(CG_NAME_SEGMENT, cg_rule_name(node), &place) && !visited[place])
			{
				visited[place] = true;
				result = dependencies_of(&segments.segments[place].rule->root, visited);
			}
			break;
	}
	if ((node->kind == CG_RULE_METRIC ||
		 (node->kind >= CG_RULE_BOUGHT_ITEM && node->kind <= CG_RULE_BOUGHT_BRAND)) &&
		node->days >= 0)
		result |= CG_DEPENDS_DAY | CG_DEPENDS_ROWS;
	return result;
}

/* Finds out what the tracked segments depend on, through those that they name. */
static void
find_dependencies(void)
{
	segments.ntracked = 0;
	for (int i = 0; i < segments.n; i++)
		if (segments.segments[i].tracked)
		{
			bool *visited = palloc0(segments.n * sizeof(bool));

			segments.ntracked++;
			segments.segments[i].depends = dependencies_of(&segments.segments[i].rule->root,
														   visited);
			/* One whose answer never changes is asked about new customers. */
			if (segments.segments[i].depends == 0)
				segments.segments[i].depends = CG_DEPENDS_RECORD;
			pfree(visited);
		}
}

static void
load_segments(void)
{
	int           n = cg_execute_as_is(&select_segments, NULL);
	MemoryContext context;

	segments.n = 0;
	start_kind(CG_NAME_SEGMENT, "customer_groups segments", n);
	places = make_hash(CG_NAME_SEGMENT, "customer_groups places of segments");
	context = contexts[CG_NAME_SEGMENT];
	segments.segments = MemoryContextAllocZero(context, Max(n, 1) * sizeof(CgSegment));
	for (int i = 0; i < n; i++)
	{
		CgSegment   *segment = &segments.segments[i];
		SegmentRule *rule;
		bool         isnull;

		CHECK_FOR_INTERRUPTS();
		segment->id = DatumGetInt32(column(i, 1, &isnull));
		segment->code = copy_text(CG_NAME_SEGMENT, i, 2);
		segment->name = copy_text(CG_NAME_SEGMENT, i, 3);
		segment->color = copy_text(CG_NAME_SEGMENT, i, 4);
		segment->show_label = DatumGetBool(column(i, 5, &isnull));
		segment->tracked = DatumGetBool(column(i, 6, &isnull));
		segment->pending_since = DatumGetTimestampTz(column(i, 7, &isnull));
		segment->pending = !isnull;
		rule = cg_rule_from_datum(column(i, 8, &isnull));
		segment->rule = MemoryContextAlloc(context, VARSIZE(rule));
		memcpy(segment->rule, rule, VARSIZE(rule));
		add_code(CG_NAME_SEGMENT, segment->code, i);
		add_id(places, segment->id, i);
	}
	segments.n = n;
	find_dependencies();
}

static void
load(void)
{
	segments.generation++;
	load_codes(CG_NAME_GROUP, "customer_groups group codes", &select_groups);
	load_categories();
	load_codes(CG_NAME_BRAND, "customer_groups brand codes", &select_brands);
	load_segments();
}

static void
reload(CgStampKind kind, Datum keys, bool all)
{
	segments.generation++;
	switch (kind)
	{
		case CG_STAMP_GROUP:
			load_codes(CG_NAME_GROUP, "customer_groups group codes", &select_groups);
			break;
		case CG_STAMP_CATEGORY:
			load_categories();
			break;
		case CG_STAMP_BRAND:
			load_codes(CG_NAME_BRAND, "customer_groups brand codes", &select_brands);
			break;
		case CG_STAMP_SEGMENT:
			load_segments();
			break;
		default:
			elog(ERROR, "segments do not depend on stamps of kind %c", kind);
	}
}
