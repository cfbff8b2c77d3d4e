/*
 * sets.c
 *		The SQL functions that ask for all customers of a segment or rule.
 *
 * Each compiles the rules that it asks about (compile.c), and runs one query under
 * the active snapshot, as the caller.  Rows go straight from the executor to where
 * the function's result is kept, which spills to disk beyond work_mem; the query may
 * run in parallel.
 *
 * Memory is the caller's context and ends with the call.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/snapmgr.h"

#include "calendar/calendar.h"
#include "catalog/tables.h"
#include "segments/segments.h"

#define MAX_SIZES 1000 /* that one query counts: a row has no more than 1664 columns */
#define SAMPLE 10      /* customers that preview_segment() shows */

/* The rule of a segment, in the cache; raises 02000 when none has the code. */
static const SegmentRule *
rule_of_segment(const text *code, Snapshot snapshot)
{
	const CgSegments *segments = cg_segments(snapshot);

	return segments->segments[cg_segment_by_code(code)].rule;
}

/* A rule given to a function; raises 42704 for names in it that nothing has. */
static const SegmentRule *
rule_argument(FunctionCallInfo fcinfo, int argno, Snapshot snapshot)
{
	const SegmentRule *rule = PG_GETARG_SEGMENT_RULE_P(argno);

	cg_check_rule_names(rule, NULL, snapshot);
	return rule;
}

/* SELECT <what> FROM ... WHERE <condition of the first rule>. */
static char *
query_for(const char *what, const SegmentRule *rule, TimestampTz at, Snapshot snapshot)
{
	CgCompiledRules compiled = cg_compile_rules(&rule, 1, at, snapshot);

	return psprintf("SELECT %s\nFROM %s\nWHERE %s", what, compiled.from, compiled.conditions[0]);
}

/* Runs a query; where rows are to go, or NULL for SPI's table.  SPI must be connected. */
static void
run(const char *sql, DestReceiver *dest)
{
	SPIExecuteOptions options = {.read_only = true, .dest = dest};
	int               result = SPI_execute_extended(sql, &options);

	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_extended failed: %s", SPI_result_code_string(result));
}

/* Runs a query whose rows are the function's. */
static void
return_rows(FunctionCallInfo fcinfo, const char *sql)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DestReceiver  *dest = CreateDestReceiver(DestTuplestore);

	SetTuplestoreDestReceiverParams(dest, rsinfo->setResult,
									rsinfo->econtext->ecxt_per_query_memory, false, NULL, NULL);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	run(sql, dest);
	SPI_finish();
	dest->rDestroy(dest);
}

/* Runs a query of one row and one bigint. */
static int64
run_count(const char *sql)
{
	int64 result;
	bool  isnull;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	run(sql, NULL);
	result = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return result;
}

/*
 * segment_sql(code, at) → text
 */
PG_FUNCTION_INFO_V1(cg_segment_sql);
Datum
cg_segment_sql(PG_FUNCTION_ARGS)
{
	TimestampTz at = cg_time_argument(fcinfo, 1);
	Snapshot    snapshot = GetActiveSnapshot();

	cg_check_view();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(
		query_for("f.customer_id", rule_of_segment(PG_GETARG_TEXT_PP(0), snapshot), at, snapshot)));
}

/*
 * segment_customers(code, at) → SETOF bigint
 */
PG_FUNCTION_INFO_V1(cg_segment_customers);
Datum
cg_segment_customers(PG_FUNCTION_ARGS)
{
	TimestampTz at = cg_time_argument(fcinfo, 1);
	Snapshot    snapshot = GetActiveSnapshot();

	cg_check_view();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (!PG_ARGISNULL(0))
		return_rows(fcinfo,
					query_for("f.customer_id", rule_of_segment(PG_GETARG_TEXT_PP(0), snapshot), at,
							  snapshot));
	return (Datum) 0;
}

/*
 * rule_customers(rule, at) → SETOF bigint
 */
PG_FUNCTION_INFO_V1(cg_rule_customers);
Datum
cg_rule_customers(PG_FUNCTION_ARGS)
{
	TimestampTz at = cg_time_argument(fcinfo, 1);
	Snapshot    snapshot = GetActiveSnapshot();

	cg_check_view();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (!PG_ARGISNULL(0))
		return_rows(fcinfo,
					query_for("f.customer_id", rule_argument(fcinfo, 0, snapshot), at, snapshot));
	return (Datum) 0;
}

/*
 * segment_size(code, at) → bigint
 */
PG_FUNCTION_INFO_V1(cg_segment_size);
Datum
cg_segment_size(PG_FUNCTION_ARGS)
{
	TimestampTz at = cg_time_argument(fcinfo, 1);
	Snapshot    snapshot = GetActiveSnapshot();

	cg_check_view();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_INT64(run_count(query_for(
		"pg_catalog.count(*)", rule_of_segment(PG_GETARG_TEXT_PP(0), snapshot), at, snapshot)));
}

/*
 * segment_overlap(code, code, at) → bigint
 */
PG_FUNCTION_INFO_V1(cg_segment_overlap);
Datum
cg_segment_overlap(PG_FUNCTION_ARGS)
{
	TimestampTz        at = cg_time_argument(fcinfo, 2);
	Snapshot           snapshot = GetActiveSnapshot();
	const SegmentRule *rules[2];
	CgCompiledRules    compiled;

	cg_check_view();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	rules[0] = rule_of_segment(PG_GETARG_TEXT_PP(0), snapshot);
	rules[1] = rule_of_segment(PG_GETARG_TEXT_PP(1), snapshot);
	compiled = cg_compile_rules(rules, 2, at, snapshot);
	PG_RETURN_INT64(
		run_count(psprintf("SELECT pg_catalog.count(*)\nFROM %s\nWHERE %s AND %s", compiled.from,
						   compiled.conditions[0], compiled.conditions[1])));
}

/*
 * Counts those who fulfil the rules from first to before last.  Sub-queries are
 * kept out of the aggregates: there the planner takes them to be run only once.
 */
static char *
sizes_query(const CgCompiledRules *compiled, int first, int last)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = first; i < last; i++)
		appendStringInfo(&sql, "%s pg_catalog.count(*) FILTER (WHERE %s)",
						 i == first ? "SELECT" : ",\n",
						 compiled->subqueries ? psprintf("c%d", i) : compiled->conditions[i]);
	if (!compiled->subqueries)
		appendStringInfo(&sql, "\nFROM %s", compiled->from);
	else
	{
		for (int i = first; i < last; i++)
			appendStringInfo(&sql, "%s %s AS c%d", i == first ? "\nFROM (SELECT" : ",\n",
							 compiled->conditions[i], i);
		appendStringInfo(&sql, "\nFROM %s OFFSET '0') AS c", compiled->from);
	}
	return sql.data;
}

/*
 * segment_sizes(at) → TABLE(code, name, color, size)
 */
PG_FUNCTION_INFO_V1(cg_segment_sizes);
Datum
cg_segment_sizes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo      *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz         at = cg_time_argument(fcinfo, 0);
	Snapshot            snapshot = GetActiveSnapshot();
	const CgSegments   *segments;
	const SegmentRule **rules;
	CgCompiledRules     compiled;
	Datum(*rows)[4];
	int n;

	cg_check_view();
	InitMaterializedSRF(fcinfo, 0);

	/* What the query reads may make the cache another one. */
	segments = cg_segments(snapshot);
	n = segments->n;
	rows = palloc(Max(n, 1) * sizeof(*rows));
	rules = palloc(Max(n, 1) * sizeof(SegmentRule *));
	for (int i = 0; i < n; i++)
	{
		const CgSegment *segment = &segments->segments[i];

		rows[i][0] = datumCopy(PointerGetDatum(segment->code), false, -1);
		rows[i][1] = datumCopy(PointerGetDatum(segment->name), false, -1);
		rows[i][2] = datumCopy(PointerGetDatum(segment->color), false, -1);
		rules[i] = segment->rule;
	}
	compiled = cg_compile_rules(rules, n, at, snapshot);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	for (int first = 0; first < n; first += MAX_SIZES)
	{
		int last = Min(first + MAX_SIZES, n);

		run(sizes_query(&compiled, first, last), NULL);
		for (int i = first; i < last; i++)
		{
			bool isnull;

			rows[i][3] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i - first + 1,
									   &isnull);
		}
	}
	SPI_finish();
	for (int i = 0; i < n; i++)
	{
		bool nulls[4] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, rows[i], nulls);
	}
	return (Datum) 0;
}

/*
 * preview_segment(rule, at) → (size, share, sample)
 */
PG_FUNCTION_INFO_V1(cg_preview_segment);
Datum
cg_preview_segment(PG_FUNCTION_ARGS)
{
	TimestampTz        at = cg_time_argument(fcinfo, 1);
	Snapshot           snapshot = GetActiveSnapshot();
	TupleDesc          desc;
	MemoryContext      caller = CurrentMemoryContext;
	CgCompiledRules    compiled;
	const SegmentRule *rule;
	Datum              values[3];
	bool               nulls[3] = {true, true, true};

	cg_check_view();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "function must return a row");
	if (!PG_ARGISNULL(0))
	{
		rule = rule_argument(fcinfo, 0, snapshot);
		cg_check_rule_nesting(rule, -1, cg_segments(snapshot));
		compiled = cg_compile_rules(&rule, 1, at, snapshot);
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		run(psprintf(
				"SELECT n.size, CASE WHEN n.customers OPERATOR(pg_catalog.>) 0 THEN "
				"pg_catalog.round("
				"n.size::pg_catalog.numeric OPERATOR(pg_catalog./) n.customers, 6) ELSE 0 END, "
				"ARRAY(SELECT f.customer_id FROM %1$s WHERE %2$s ORDER BY f.customer_id LIMIT "
				"'%3$d')\n"
				"FROM (SELECT (SELECT pg_catalog.count(*) FROM %1$s WHERE %2$s) AS size, "
				"(SELECT pg_catalog.count(*) FROM customer_groups.customer_facts) AS customers "
				"OFFSET '0') AS n",
				compiled.from, compiled.conditions[0], SAMPLE),
			NULL);
		for (int i = 0; i < 3; i++)
		{
			Form_pg_attribute column = TupleDescAttr(desc, i);
			Datum         datum = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1,
												&nulls[i]);
			MemoryContext spi = MemoryContextSwitchTo(caller);

			values[i] = datumCopy(datum, column->attbyval, column->attlen);
			MemoryContextSwitchTo(spi);
		}
		SPI_finish();
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * preview_change(code, rule, at) → TABLE(customer_id, change)
 */
PG_FUNCTION_INFO_V1(cg_preview_change);
Datum
cg_preview_change(PG_FUNCTION_ARGS)
{
	TimestampTz        at = cg_time_argument(fcinfo, 2);
	Snapshot           snapshot = GetActiveSnapshot();
	const CgSegments  *segments;
	const SegmentRule *rules[2];
	CgCompiledRules    compiled;
	int32              place;

	cg_check_view();
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	rules[0] = rule_of_segment(PG_GETARG_TEXT_PP(0), snapshot);
	rules[1] = PG_GETARG_SEGMENT_RULE_P(1);
	cg_check_rule_names(rules[1], rules[0], snapshot);
	/* That may have read the cache anew. */
	segments = cg_segments(snapshot);
	place = cg_segment_by_code(PG_GETARG_TEXT_PP(0));
	rules[0] = segments->segments[place].rule;
	cg_check_rule_nesting(rules[1], place, segments);
	compiled = cg_compile_rules(rules, 2, at, snapshot);
	return_rows(
		fcinfo,
		psprintf("SELECT c.customer_id, CASE WHEN c.after THEN 'enters'::pg_catalog.text "
				 "ELSE 'leaves' END\n"
				 "FROM (SELECT f.customer_id, (%s) IS TRUE AS before, (%s) IS TRUE AS after\n"
				 "FROM %s OFFSET '0') AS c\n"
				 "WHERE c.before OPERATOR(pg_catalog.<>) c.after",
				 compiled.conditions[0], compiled.conditions[1], compiled.from));
	return (Datum) 0;
}
