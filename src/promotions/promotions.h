/*
 * promotions.h
 *		What other rooms read of the backend's caches: settings, stores, groups
 *		and tiers ("definitions"), promotions and categories ("promotions").
 *
 * A cache is asked for with the snapshot under which it is to be read, and what
 * it answers is what that snapshot would read from the tables.  Pointers into a
 * cache are good until the next cg_definitions() or cg_promotions().
 */
#ifndef CG_PROMOTIONS_H
#define CG_PROMOTIONS_H

#include "postgres.h"

#include "pgtime.h"
#include "utils/date.h"
#include "utils/numeric.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "pricing/decimal.h"

/* Definitions. */
typedef struct CgSettings
{
	char       currency[4];
	pg_tz     *timezone;
	CgRounding rounding; /* of the settings' currency */
} CgSettings;

typedef struct CgStore
{
	int32      id; /* hash key */
	char       currency[4];
	pg_tz     *timezone;
	CgRounding rounding; /* of the store's currency */
} CgStore;

typedef struct CgStoreAnswer
{
	int32 store_id;
	bool  use_pricing;
} CgStoreAnswer;

typedef struct CgGroup
{
	int32          id; /* hash key */
	DateADT        starts_on;
	DateADT        ends_on; /* DATEVAL_NOEND: no end */
	bool           use_pricing;
	int            nanswers;
	CgStoreAnswer *answers; /* of stores, if any */
} CgGroup;

/* A tier; those of one ladder stand together, the highest first. */
typedef struct CgTier
{
	int32       group_id;
	int         ladder; /* number of the ladder, from 0 */
	const char *ladder_code;
	const char *code;
	bool        by_visits; /* the measure is visits, else net_sales */
	Interval   *period;    /* NULL: the whole time */
	bool        at_review; /* a review lowers who no longer qualifies */
	Interval    grace;     /* once it is over */
	Numeric     threshold;
	DateADT     starts_on;
	DateADT     ends_on;
} CgTier;

typedef struct CgDefinitions
{
	CgSettings settings;
	int        ntiers;
	CgTier    *tiers;
} CgDefinitions;

/* A copy of the tiers. */
typedef struct CgTiers
{
	int     n;
	CgTier *tiers;
	pg_tz  *timezone; /* of the settings */
} CgTiers;

extern const CgDefinitions *cg_definitions(Snapshot snapshot);
extern CgTiers              cg_copy_tiers(Snapshot snapshot);
extern const CgTier        *cg_find_tier(const CgTiers *tiers, int32 group_id);
extern bool                 cg_wants_tier(Datum group_id, const void *tiers);
extern const CgStore       *cg_find_store(int32 id);
extern const CgGroup       *cg_find_group(int32 id);
extern bool cg_group_counts(const CgGroup *group, const int32 *store_id, DateADT day);

/* Promotions. */
typedef enum CgPromotionKind
{
	CG_PERCENT,
	CG_AMOUNT,
	CG_FIXED_PRICE
} CgPromotionKind;

/* What a promotion covers. */
typedef enum CgCoverKind
{
	CG_COVER_ALL,
	CG_COVER_ITEM,
	CG_COVER_CATEGORY,
	CG_COVER_BRAND
} CgCoverKind;
#define CG_COVER_KINDS (CG_COVER_BRAND + 1)

typedef struct CgCover
{
	int64       id; /* 0 for CG_COVER_ALL */
	CgCoverKind kind;
} CgCover;

typedef struct CgPromotion
{
	/* What is looked at of every promotion that is found: 64 bytes. */
	CgDecimal       value;
	TimestampTz     starts_at; /* DT_NOBEGIN: no start */
	TimestampTz     ends_at;   /* DT_NOEND: no end */
	int32           id;
	int32           stage;
	int32           priority;
	uint32          seen; /* number of the question that last came across it */
	int             nstores;
	CgPromotionKind kind;
	char            currency[4]; /* empty: the settings' */
	bool            active : 1;
	bool            combinable : 1;
	bool            has_min_quantity : 1;
	bool            has_min_order_value : 1;
	bool            has_max_discount : 1;
	bool            groups_only : 1;
	bool            wide : 1; /* indexed without its groups: they are to be checked */
	bool            order_level : 1;

	CgDecimal min_quantity;
	CgDecimal min_order_value;
	CgDecimal max_discount;
	int       nsegments;
	int       ngroups;
	int       ncovers;   /* attachments, in one allocation with the first */
	int32     next_free; /* of an unused place */
	CgCover  *covers;    /* ascending by kind and id */
	int32    *stores;
	int32    *groups; /* ascending */
	int32    *segments;
} CgPromotion;

/* Whether it is kept to its groups and segments. */
#define cg_is_restricted(promotion) ((promotion)->groups_only || (promotion)->nsegments > 0)

/* Calls back for each promotion found; the same one may come more than once. */
typedef void (*CgPromotionFound)(CgPromotion *promotion, void *state);

extern void   cg_promotions(Snapshot snapshot);
extern bool   cg_category_parent(int32 id, int32 *parent);
extern void   cg_find_promotions(const CgCover *covers, int ncovers, bool order_level,
								 const int32 *groups, int ngroups, CgPromotionFound found,
								 void *state);
extern void   cg_each_promotion(CgPromotionFound found, void *state);
extern bool   cg_promotion_covers(const CgPromotion *promotion, CgCover cover);
extern uint32 cg_next_question(void);

/* Stamps: see stamps.c. */
typedef enum CgStampKind
{
	CG_STAMP_SETTINGS = 's',
	CG_STAMP_STORE = 't',
	CG_STAMP_LADDER = 'l',
	CG_STAMP_GROUP = 'g',
	CG_STAMP_CATEGORY = 'c',
	CG_STAMP_PROMOTION = 'p',
	CG_STAMP_BRAND = 'b',
	CG_STAMP_SEGMENT = 'e',
	CG_STAMP_FOLD = 'F'
} CgStampKind;

/*
 * A cache that is kept in step with the tables through the stamps.  reload()
 * reads what has one of the keys anew, or all of the kind when keys is NULL;
 * load() reads everything.  Both run under the snapshot, as the owner of the
 * tables, with SPI connected, and may leave the cache broken when they fail:
 * it is then loaded from the start.
 */
typedef struct CgStamp
{
	int64       stamp;
	CgStampKind kind;
	bool        any_key;
	int64       key;
	int         nfolded;
	Datum      *folded; /* int8 */
} CgStamp;

typedef struct CgSnapshotKey
{
	uint32         lxid;   /* local transaction; 0: none remembered */
	uint64         aborts; /* subtransactions that this backend has aborted */
	CommandId      curcid;
	TransactionId  xmin;
	TransactionId  xmax;
	bool           in_recovery;
	bool           overflowed;
	int            nxids;
	int            max_xids;
	TransactionId *xids;
} CgSnapshotKey;

typedef struct CgCache
{
	const char *name;
	const char *kinds; /* kinds of stamps that it depends on */
	void (*load)(void);
	void (*reload)(CgStampKind kind, Datum keys, bool all);
	bool          loaded;
	uint64        sources;          /* cg_source_changes() when it was loaded */
	bool          for_one_snapshot; /* which may be too old for anything else */
	CgSnapshotKey snapshot;         /* last found good under this one */
	MemoryContext context;          /* of the stamps known */
	int           nstamps;
	CgStamp      *stamps; /* that it has taken into account, ascending */
} CgCache;

extern void   cg_stamps_init(void);
extern uint64 cg_subxact_aborts(void);
extern void   cg_cache_validate(CgCache *cache, Snapshot snapshot);
extern bool   cg_same_snapshot(const CgSnapshotKey *key, Snapshot snapshot);
extern void   cg_remember_snapshot(CgSnapshotKey *key, Snapshot snapshot);

#endif
