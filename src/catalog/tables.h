/*
 * tables.h
 *		Our own tables: where they are, what shape they have, who may read them.
 *
 * This room decides which relation holds which rows; nothing else opens a
 * relation of the extension by name.
 */
#ifndef CG_TABLES_H
#define CG_TABLES_H

#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "storage/buf.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "compat.h"

/* The tables that C code opens itself. */
typedef enum CgTable
{
	CG_CUSTOMERS,
	CG_CUSTOMER_FACTS,
	CG_ITEMS,
	CG_ITEM_CATEGORIES,
	CG_STORE_PRICES,
	CG_MEMBERS,
	CG_SALES,
	CG_GROUPS,
	CG_CATEGORIES,
	CG_SETTINGS,
	CG_STORES,
	CG_GROUP_STORE_PRICING,
	CG_LADDERS,
	CG_PROMOTIONS,
	CG_PROMOTION_ITEMS,
	CG_PROMOTION_CATEGORIES,
	CG_PROMOTION_BRANDS,
	CG_PROMOTION_STORES,
	CG_PROMOTION_GROUPS,
	CG_PROMOTION_SEGMENTS,
	CG_SALE_LINES,
	CG_BRANDS,
	CG_SEGMENTS,
	CG_SEGMENT_MEMBERS,
	CG_SEGMENT_TRACKING,
	CG_EVENTS,
	CG_CACHE_STAMPS
} CgTable;
#define CG_TABLES (CG_CACHE_STAMPS + 1)

/* Columns that C code reads, by their place in the lists of catalog.c. */
enum
{
	CG_CUSTOMERS_ID = 0,
	CG_CUSTOMERS_REGISTERED_AT,
	CG_CUSTOMERS_BIRTH_DATE,
	CG_CUSTOMERS_SKIP_AUTO_UPGRADE,
	CG_CUSTOMERS_RECORDED_AT,
	CG_CUSTOMERS_ATTRIBUTES,
	CG_CUSTOMERS_EXTERNAL_ID,

	CG_CUSTOMER_FACTS_CUSTOMER_ID = 0,
	CG_CUSTOMER_FACTS_VISITS,
	CG_CUSTOMER_FACTS_NET_SALES,
	CG_CUSTOMER_FACTS_REFUNDS,
	CG_CUSTOMER_FACTS_PREPAID_PURCHASES,
	CG_CUSTOMER_FACTS_PASS_PURCHASES,
	CG_CUSTOMER_FACTS_NO_SHOWS,
	CG_CUSTOMER_FACTS_REGISTERED_AT,
	CG_CUSTOMER_FACTS_FIRST_VISIT_AT,
	CG_CUSTOMER_FACTS_LAST_VISIT_AT,
	CG_CUSTOMER_FACTS_BIRTH_DATE,
	CG_CUSTOMER_FACTS_TRACKED_ON,
	CG_CUSTOMER_FACTS_SKIP_AUTO_UPGRADE,

	CG_ITEMS_ID = 0,
	CG_ITEMS_BRAND_ID,
	CG_ITEMS_PRICE,
	CG_ITEMS_MIN_PRICE,
	CG_ITEMS_EXTERNAL_ID,

	CG_ITEM_CATEGORIES_ITEM_ID = 0,
	CG_ITEM_CATEGORIES_CATEGORY_ID,
	CG_ITEM_CATEGORIES_RECORDED_AT,

	CG_STORE_PRICES_ITEM_ID = 0,
	CG_STORE_PRICES_STORE_ID,
	CG_STORE_PRICES_PRICE,
	CG_STORE_PRICES_MIN_PRICE,

	CG_MEMBERS_CUSTOMER_ID = 0,
	CG_MEMBERS_GROUP_ID,
	CG_MEMBERS_SOURCE,
	CG_MEMBERS_VALID_FROM,
	CG_MEMBERS_VALID_UNTIL,
	CG_MEMBERS_ADDED_AT,
	CG_MEMBERS_RECORDED_AT,
	CG_MEMBERS_ADDED_BY,

	CG_SALES_CUSTOMER_ID = 0,
	CG_SALES_ID,
	CG_SALES_STORE_ID,
	CG_SALES_KIND,
	CG_SALES_AMOUNT,
	CG_SALES_RATE,
	CG_SALES_SOLD_AT,
	CG_SALES_RECORDED_AT,

	CG_SALE_LINES_CUSTOMER_ID = 0,
	CG_SALE_LINES_SALE_ID,
	CG_SALE_LINES_LINE_NO,
	CG_SALE_LINES_ITEM_ID,
	CG_SALE_LINES_QUANTITY,
	CG_SALE_LINES_RECORDED_AT,

	CG_PROMOTIONS_ID = 0,
	CG_PROMOTIONS_CODE,
	CG_PROMOTIONS_GROUPS_ONLY = 5,

	CG_SEGMENTS_ID = 0,
	CG_SEGMENTS_CODE,
	CG_SEGMENTS_RECORDED_AT,
	CG_SEGMENTS_NAME,
	CG_SEGMENTS_COLOR,
	CG_SEGMENTS_SHOW_LABEL,
	CG_SEGMENTS_RULE,
	CG_SEGMENTS_TRACKED,
	CG_SEGMENTS_PENDING_SINCE,

	CG_SEGMENT_MEMBERS_CUSTOMER_ID = 0,
	CG_SEGMENT_MEMBERS_SEGMENT_ID,

	CG_SEGMENT_TRACKING_ID = 0,
	CG_SEGMENT_TRACKING_REACHED_ON,

	CG_STORES_ID = 0,
	CG_STORES_CURRENCY,

	CG_GROUPS_ID = 0,
	CG_GROUPS_CODE,
	CG_GROUPS_NAME = 4,

	CG_EVENTS_ID = 0,
	CG_EVENTS_AT,
	CG_EVENTS_KIND,
	CG_EVENTS_CUSTOMER_ID,
	CG_EVENTS_GROUP_ID,
	CG_EVENTS_SEGMENT_ID,
	CG_EVENTS_PROMOTION_ID,
	CG_EVENTS_ACTOR,
	CG_EVENTS_APP_ACTOR,
	CG_EVENTS_DETAIL,

	CG_STAMPS_STAMP = 0,
	CG_STAMPS_KIND,
	CG_STAMPS_KEY,
	CG_STAMPS_FOLDED,

	CG_MAX_COLUMNS = 13
};

/* Stands where the id of a group or a segment would. */
#define CG_NONE PG_INT32_MIN

/* Kinds of sale, in the order of the enum type sale_kind. */
typedef enum CgSaleKind
{
	CG_SALE_PRODUCT,
	CG_SALE_REFUND,
	CG_SALE_PREPAID,
	CG_SALE_PASS,
	CG_SALE_NO_SHOW
} CgSaleKind;

extern void cg_catalog_init(void);

/* Opening and reading. */
extern Relation   cg_table_open(CgTable table, LOCKMODE lockmode);
extern AttrNumber cg_attnum(CgTable table, int column);
extern Oid        cg_table_owner(CgTable table);
extern bool       cg_is_own_table(Relation rel);
extern bool       cg_is_plain(CgTable table);
extern bool       cg_is_written(CgTable table);
extern CgSaleKind cg_sale_kind(Oid kind);
extern Oid        cg_stamp_sequence(void);
extern Oid        cg_primary_key(CgTable table);
extern Oid        cg_external_key(CgTable table, Relation heap);
extern uint64     cg_table_changes(CgTable table);

/* Hashes an id. */
static inline uint32
cg_hash_id(int64 id)
{
	return murmurhash32((uint32) (id ^ (id >> 32)));
}

/* A look-up by the leading columns of a table's primary key, or by external_id: see scan.c. */
typedef enum CgScanKind
{
	CG_SCAN_ROWS,
	CG_SCAN_KEY_ONLY, /* reads columns of the primary key only */
	CG_SCAN_SOME,     /* of the rows, by the second column of the key */
	CG_SCAN_EXTERNAL
} CgScanKind;
#define CG_SCAN_KINDS (CG_SCAN_EXTERNAL + 1)

typedef enum CgScanPlace
{
	CG_SCAN_BEFORE, /* the first row; not looked for yet */
	CG_SCAN_IN_INDEX,
	CG_SCAN_AT_ROW, /* the only one, found without the index */
	CG_SCAN_AFTER
} CgScanPlace;

/* Whether a row is wanted, by the second column of its key. */
typedef bool (*CgWants)(Datum key, const void *arg);

typedef struct CgScan
{
	bool            begun;
	CgTable         table;
	CgScanKind      kind;
	LOCKMODE        lockmode; /* on the table */
	CgWants         wants;    /* NULL: every row is */
	const void     *wants_arg;
	CgScanPlace     place;
	bool            kept; /* for the next look-up of its kind */
	int             nkeys;
	ScanKeyData     keys[2];
	Relation        heap;
	Relation        index;
	IndexScanDesc   scan;
	TupleTableSlot *slot;
	Buffer          visibility; /* page of the visibility map */
	bool            hinted;     /* rows may be found by where they were */
	BlockNumber     nblocks;    /* of the table, if hinted: it has no less while it is locked */
	MemoryContext   context;    /* of what is allocated on the way */
} CgScan;

extern void cg_scan_init(void);
extern void cg_scan_begin(CgScan *scan, CgTable table, Snapshot snapshot, int nkeys, Datum key1,
						  Datum key2);
extern void cg_scan_id(CgScan *scan, CgTable table, Snapshot snapshot, int64 id);
extern void cg_scan_begin_key_only(CgScan *scan, CgTable table, Snapshot snapshot, int nkeys,
								   Datum key1, Datum key2);
extern void cg_scan_begin_external(CgScan *scan, CgTable table, Snapshot snapshot, Datum key);
extern void cg_scan_again(CgScan *scan, Datum key);
extern bool cg_scan_next(CgScan *scan);
extern bool cg_fetch_at(CgTable table, Relation rel, ItemPointer place, Snapshot snapshot, int64 id,
						TupleTableSlot *slot);
extern bool cg_scan_next_at(CgScan *scan, ItemPointer place);
extern Datum cg_scan_get(CgScan *scan, int column, bool *isnull);
extern bool  cg_scan_is_own(CgScan *scan);

/* What became of an attempt to lock a row. */
typedef enum CgLockResult
{
	CG_LOCK_TAKEN,
	CG_LOCK_HELD, /* by another transaction, that is not waited for */
	CG_LOCK_GONE  /* deleted meanwhile */
} CgLockResult;

extern CgLockResult cg_scan_lock(CgScan *scan, bool wait);
extern HeapTuple    cg_scan_copy(CgScan *scan);
extern void         cg_scan_end(CgScan *scan);

/* Rights. */
extern void   cg_check_view(void);
extern uint64 cg_source_changes(void);
extern bool   cg_holds_level(const char *level);

/* Acting as the owner of a table; the caller restores on every path. */
typedef struct CgUser
{
	Oid userid;
	int sec_context;
} CgUser;

extern void cg_become_owner(CgTable table, CgUser *saved);
extern void cg_restore_user(const CgUser *saved);

/* A statement whose plan is kept for the life of the backend. */
#define CG_MAX_ARGS 12
#define CG_MAX_RESULTS 16
typedef struct CgStatement
{
	const char *sql;
	bool        generic; /* one plan for all parameters: they are keys, or a few arrays of them */
	bool        custom;  /* planned anew each time, for what the tables hold then */
	Oid         argtypes[CG_MAX_ARGS + 1];    /* the first 0 ends them */
	Oid         restypes[CG_MAX_RESULTS + 1]; /* of the columns that C code reads */
	SPIPlanPtr  plan;
} CgStatement;

extern int    cg_execute(CgStatement *statement, Datum *values, const char *nulls);
extern int    cg_execute_rows(CgStatement *many, CgStatement *one, Datum *const *columns,
							  bool *const *nulls, int n);
extern int    cg_execute_as_is(CgStatement *statement, Datum *values);
extern Portal cg_open_cursor(CgStatement *statement, Datum *values, const char *nulls);
extern int    cg_execute_latest(CgStatement *statement, Datum *values, const char *nulls);
extern void   cg_push_snapshot(void);
extern int    cg_change_latest(CgStatement *statement, Datum *values, const char *nulls);
extern int cg_change_latest_rows(CgStatement *many, CgStatement *one, Datum *const *columns, int n);

extern Datum cg_make_array(Datum *values, bool *nulls, int n, Oid type);

/* The elements of an array of int8 without nulls, in the current memory context. */
extern int cg_array_elements(Datum array, Datum **elements);

/* Triggers. */
extern TriggerData *cg_check_trigger(FunctionCallInfo fcinfo, const char *name, CgTable table,
									 TriggerEvent timing);
extern Datum        cg_transition_column(Tuplestorestate *rows, TupleDesc desc, const char *name,
										 Oid type);
extern void         cg_lock_definition(CgTable table);
extern void         cg_share_definition(CgTable table);
extern void         cg_warn_restored(CgTable table, uint64 count);

#endif
