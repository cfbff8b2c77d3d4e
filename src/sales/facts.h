/*
 * facts.h
 *		Changing facts rows: what booking calls of facts.c.
 */
#ifndef CG_FACTS_H
#define CG_FACTS_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "catalog/tables.h"

/* What is added to a facts row. */
typedef struct CgFactsChange
{
	int64       customer_id;
	int64       counts[CG_SALE_NO_SHOW + 1]; /* by kind of sale */
	Numeric     amount;
	TimestampTz first; /* of the visits added; DT_NOEND: none */
	TimestampTz last;  /* DT_NOBEGIN: none */
} CgFactsChange;

/* What booking asks of a facts row, once it has been changed. */
typedef struct CgFacts
{
	int64       visits;
	Numeric     net_sales; /* a copy */
	bool        has_visits;
	TimestampTz first_visit_at;
	TimestampTz last_visit_at;
	bool        skip_auto_upgrade;
	bool        has_sales; /* of whatever kind */
} CgFacts;

/* Changes one facts row after the other. */
typedef struct CgFactsWriter
{
	Relation        rel;
	bool            direct; /* past the executor */
	CgScan          scan;
	bool            keep;   /* the row as it was before */
	TupleTableSlot *last;   /* row that was written; NULL: it is not known */
	TupleTableSlot *before; /* what it was, if that is to be kept */
	TupleTableSlot *row;    /* where it is made */
	TupleTableSlot *found;  /* a version that was not found by the scan */
	Datum          *values;
	bool           *nulls;
	EState         *estate; /* once there is work for the indexes */
	ResultRelInfo  *indexes;
} CgFactsWriter;

extern bool cg_facts_exist(int64 customer_id);
extern void cg_facts_begin(CgFactsWriter *writer, bool keep);
extern bool cg_facts_add(CgFactsWriter *writer, const CgFactsChange *change, CgFacts *facts);
extern void cg_facts_end(CgFactsWriter *writer);
extern void cg_facts_free(CgFactsWriter *writer);

#endif
