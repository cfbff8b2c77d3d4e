/*
 * segment_rule_fuzz.c
 *		Fuzzes what reads a segment_rule from outside: text, the binary form and
 *		jsonb.  See script/fuzz, which builds and runs it.
 *
 * The code under test needs a backend around it, so libFuzzer runs inside one: a
 * single-user server loads this library, which holds sanitized copies of the
 * type's files, and calls fuzz_segment_rule(), which does not come back.
 *
 * The first byte of an input says what it is: 't' a text, 'b' a message for
 * recv, 'j' the text of a jsonb.  What is refused must be refused with an error
 * that users may get; what is accepted must survive each round trip.
 *
 * Each input's memory is in a context of our own that takes every chunk from
 * malloc() and gives it back at the end of the input, so that AddressSanitizer
 * sees where a chunk ends.  Contexts of other kinds are possible in PostgreSQL 15
 * only.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/ilist.h"
#include "mb/pg_wchar.h"
#include "nodes/memnodes.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include "segments/segment_rule.h"

PG_MODULE_MAGIC;

extern int LLVMFuzzerRunDriver(int *argc, char ***argv,
							   int (*callback)(const uint8_t *data, size_t size));

extern Datum cg_segment_rule_in(PG_FUNCTION_ARGS);
extern Datum cg_segment_rule_recv(PG_FUNCTION_ARGS);
extern Datum cg_segment_rule_send(PG_FUNCTION_ARGS);
extern Datum cg_segment_rule_eq(PG_FUNCTION_ARGS);
extern Datum cg_segment_rule_hash(PG_FUNCTION_ARGS);
extern Datum cg_segment_rule_from_jsonb(PG_FUNCTION_ARGS);
extern Datum cg_segment_rule_to_jsonb(PG_FUNCTION_ARGS);

/* ------------------------------------------------------------------------
 * The memory context
 * ------------------------------------------------------------------------
 */

typedef struct Guarded
{
	MemoryContextData header; /* must be first */
	dlist_head        chunks;
} Guarded;

/* What stands before each chunk; the context must be just before it. */
typedef struct Chunk
{
	dlist_node    node;
	Size          size;
	MemoryContext context;
} Chunk;

#define chunk_of(pointer) ((Chunk *) (pointer) -1)

static void *
guarded_alloc(MemoryContext context, Size size)
{
	Chunk *chunk = malloc(sizeof(Chunk) + size);

	if (chunk == NULL)
		return NULL;
	chunk->size = size;
	chunk->context = context;
	dlist_push_tail(&((Guarded *) context)->chunks, &chunk->node);
	return chunk + 1;
}

static void
guarded_free(MemoryContext context, void *pointer)
{
	dlist_delete(&chunk_of(pointer)->node);
	free(chunk_of(pointer));
}

static void *
guarded_realloc(MemoryContext context, void *pointer, Size size)
{
	void *result = guarded_alloc(context, size);

	if (result != NULL)
	{
		memcpy(result, pointer, Min(size, chunk_of(pointer)->size));
		guarded_free(context, pointer);
	}
	return result;
}

static void
guarded_reset(MemoryContext context)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &((Guarded *) context)->chunks)
		free(dlist_container(Chunk, node, iter.cur));
	dlist_init(&((Guarded *) context)->chunks);
}

static void
guarded_delete(MemoryContext context)
{
	guarded_reset(context);
	free(context);
}

static Size
guarded_space(MemoryContext context, void *pointer)
{
	return sizeof(Chunk) + chunk_of(pointer)->size;
}

static bool
guarded_is_empty(MemoryContext context)
{
	return dlist_is_empty(&((Guarded *) context)->chunks);
}

static void
guarded_stats(MemoryContext context, MemoryStatsPrintFunc printfunc, void *passthru,
			  MemoryContextCounters *totals, bool print_to_stderr)
{
}

static MemoryContext
guarded_context(void)
{
	static const MemoryContextMethods methods = {.alloc = guarded_alloc,
												 .free_p = guarded_free,
												 .realloc = guarded_realloc,
												 .reset = guarded_reset,
												 .delete_context = guarded_delete,
												 .get_chunk_space = guarded_space,
												 .is_empty = guarded_is_empty,
												 .stats = guarded_stats};
	Guarded                          *result = malloc(sizeof(Guarded));

	dlist_init(&result->chunks);
	MemoryContextCreate(&result->header, T_AllocSetContext, &methods, TopMemoryContext,
						"guarded context");
	return &result->header;
}

/* ------------------------------------------------------------------------
 * One input
 * ------------------------------------------------------------------------
 */

static void
check_same(Datum rule, Datum other, const char *road)
{
	if (!DatumGetBool(DirectFunctionCall2(cg_segment_rule_eq, rule, other)) ||
		DirectFunctionCall1(cg_segment_rule_hash, rule) !=
			DirectFunctionCall1(cg_segment_rule_hash, other))
	{
		fprintf(stderr, "another rule by %s: %s\n", road,
				cg_rule_to_cstring(DatumGetSegmentRuleP(rule)));
		abort();
	}
}

/* A message for recv, with the byte 0 after it that the server's have, too. */
static StringInfo
message(const uint8_t *data, size_t size)
{
	StringInfo buf = makeStringInfo();

	appendBinaryStringInfo(buf, (const char *) data, size);
	return buf;
}

static void
check_round_trips(Datum rule)
{
	SegmentRule *value = DatumGetSegmentRuleP(rule);
	bytea       *sent;
	Datum        json;
	ListCell    *lc;

	check_same(rule,
			   DirectFunctionCall1(cg_segment_rule_in, CStringGetDatum(cg_rule_to_cstring(value))),
			   "text");
	sent = DatumGetByteaP(DirectFunctionCall1(cg_segment_rule_send, rule));
	check_same(rule,
			   DirectFunctionCall1(
				   cg_segment_rule_recv,
				   PointerGetDatum(message((uint8_t *) VARDATA(sent), VARSIZE(sent) - VARHDRSZ))),
			   "binary");
	json = DirectFunctionCall1(cg_segment_rule_to_jsonb, rule);
	check_same(rule, DirectFunctionCall1(cg_segment_rule_from_jsonb, json), "jsonb");
	foreach (lc, cg_rule_names(value))
	{
		CgRuleName *name = lfirst(lc);

		check_same(rule, PointerGetDatum(cg_rule_rename(value, name->kind, name->code, name->code)),
				   "its own name");
		(void) cg_rule_rename(value, name->kind, name->code, "another");
	}
}

static void
read_rule(const uint8_t *data, size_t size)
{
	char *str;

	if (data[0] == 'b')
	{
		StringInfo buf = message(data + 1, size - 1);
		Datum      rule = DirectFunctionCall1(cg_segment_rule_recv, PointerGetDatum(buf));

		check_round_trips(rule);
		return;
	}
	/* Text that comes to a type's input function is valid and without a byte 0. */
	if (!pg_verify_mbstr(PG_UTF8, (const char *) data + 1, size - 1, true))
		return;
	str = pnstrdup((const char *) data + 1, size - 1);
	if (data[0] == 't')
		check_round_trips(DirectFunctionCall1(cg_segment_rule_in, CStringGetDatum(str)));
	else if (data[0] == 'j')
	{
		Datum json = DirectFunctionCall1(jsonb_in, CStringGetDatum(str));

		check_round_trips(DirectFunctionCall1(cg_segment_rule_from_jsonb, json));
	}
}

/* Errors that a user's input may lead to. */
static bool
is_expected(int sqlerrcode)
{
	switch (sqlerrcode)
	{
		case ERRCODE_INVALID_TEXT_REPRESENTATION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_INVALID_PARAMETER_VALUE:
		case ERRCODE_INVALID_BINARY_REPRESENTATION: /* recv: the version */
		case ERRCODE_PROTOCOL_VIOLATION:            /* recv: nothing there */
		case ERRCODE_CHARACTER_NOT_IN_REPERTOIRE:   /* recv: not of the encoding */
		case ERRCODE_UNTRANSLATABLE_CHARACTER:      /* jsonb: \u0000 */
		case ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE:    /* jsonb: 1e999999 */
		case ERRCODE_STATEMENT_TOO_COMPLEX:         /* jsonb: nested too deep */
			return true;
	}
	return false;
}

static int
fuzz_one(const uint8_t *data, size_t size)
{
	static MemoryContext context;
	MemoryContext        caller = CurrentMemoryContext;

	if (size == 0)
		return 0;
	if (context == NULL)
		context = guarded_context();
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		read_rule(data, size);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (!is_expected(error->sqlerrcode))
		{
			fprintf(stderr, "unexpected error %s: %s\n", unpack_sql_state(error->sqlerrcode),
					error->message);
			abort();
		}
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	MemoryContextReset(context);
	return 0;
}

/* fuzz_segment_rule(VARIADIC text[]): libFuzzer's arguments; ends the server. */
PG_FUNCTION_INFO_V1(fuzz_segment_rule);
Datum
fuzz_segment_rule(PG_FUNCTION_ARGS)
{
	Datum *elements;
	int    n;
	char **argv;
	int    argc = 1;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL,
					  &n);
	argv = palloc((n + 2) * sizeof(char *));
	argv[0] = "fuzz";
	for (int i = 0; i < n; i++)
		argv[argc++] = TextDatumGetCString(elements[i]);
	argv[argc] = NULL;
	PG_RETURN_INT32(LLVMFuzzerRunDriver(&argc, &argv, fuzz_one));
}
