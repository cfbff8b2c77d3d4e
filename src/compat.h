/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between server versions.
 *
 * This is the only file that tests PG_VERSION_NUM; the rest of the code is
 * written against what is defined here.  It holds no state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CG_COMPAT_H
#define CG_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "customer_groups needs PostgreSQL 15 or later"
#endif

#ifndef HAVE_INT128
#error "customer_groups needs a compiler with 128-bit integers"
#endif

/* Until 17 it was an attribute of the name; at the beginning of a declaration it does as well. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* The primary key's index, unless it is deferrable. */
#if PG_VERSION_NUM >= 180000
#define cg_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel, false)
#else
#define cg_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel)
#endif

#if PG_VERSION_NUM >= 180000
#define cg_index_beginscan(heap, index, snapshot, nkeys)                                           \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define cg_index_beginscan(heap, index, snapshot, nkeys)                                           \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* What an update of a row leaves to be done in the indexes; nothing of an insert. */
#if PG_VERSION_NUM >= 160000
#define CgIndexWork TU_UpdateIndexes
#define cg_insert_index_tuples(relation, slot, estate, update, work)                               \
	ExecInsertIndexTuples(relation, slot, estate, update, false, NULL, NIL,                        \
						  (work) == TU_Summarizing)
#else
#define CgIndexWork bool
#define cg_insert_index_tuples(relation, slot, estate, update, work)                               \
	ExecInsertIndexTuples(relation, slot, estate, update, false, NULL, NIL)
#endif

#if PG_VERSION_NUM >= 170000
#define cg_identity_sequence(rel, attnum) getIdentitySequence(rel, attnum, false)
#else
#define cg_identity_sequence(rel, attnum) getIdentitySequence(RelationGetRelid(rel), attnum, false)
#endif

/* The number of this backend's transaction. */
#if PG_VERSION_NUM >= 170000
#define cg_local_xid() (MyProc->vxid.lxid)
#else
#define cg_local_xid() (MyProc->lxid)
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * Soft errors came with 16.  Before, an input function's error is always
 * thrown, so that what follows the macro is not reached.
 */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#define cg_ereturn(escontext, dummy, ...) ereturn(escontext, dummy, __VA_ARGS__)
#else
#define cg_ereturn(escontext, dummy, ...)                                                          \
	do                                                                                             \
	{                                                                                              \
		(void) (escontext);                                                                        \
		ereport(ERROR, __VA_ARGS__);                                                               \
		return dummy;                                                                              \
	} while (0)
#endif

#endif /* CG_COMPAT_H */
