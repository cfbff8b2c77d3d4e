/*
 * json.h
 *		Values in jsonb that is being built, as jsonb_build_object() writes them.
 *
 * What is added must live until the whole is made.
 */
#ifndef CG_JSON_H
#define CG_JSON_H

#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

static inline void
cg_push_string(JsonbParseState **state, JsonbIteratorToken token, const char *string, int len)
{
	JsonbValue value;

	value.type = jbvString;
	value.val.string.val = (char *) string;
	value.val.string.len = len;
	pushJsonbValue(state, token, &value);
}

static inline void
cg_push_key(JsonbParseState **state, const char *key)
{
	cg_push_string(state, WJB_KEY, key, strlen(key));
}

/* A text; NULL is null. */
static inline void
cg_push_pair(JsonbParseState **state, const char *key, const text *value)
{
	JsonbValue none = {.type = jbvNull};

	cg_push_key(state, key);
	if (value == NULL)
		pushJsonbValue(state, WJB_VALUE, &none);
	else
		cg_push_string(state, WJB_VALUE, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* A date or a timestamp with time zone. */
static inline void
cg_push_time(JsonbParseState **state, const char *key, Datum value, Oid type)
{
	char *string = JsonEncodeDateTime(NULL, value, type, NULL);

	cg_push_key(state, key);
	cg_push_string(state, WJB_VALUE, string, strlen(string));
}

/* A number; what is none in JSON is a string. */
static inline void
cg_push_number(JsonbParseState **state, const char *key, Numeric number)
{
	cg_push_key(state, key);
	if (numeric_is_nan(number) || numeric_is_inf(number))
	{
		char *string = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));

		cg_push_string(state, WJB_VALUE, string, strlen(string));
	}
	else
	{
		JsonbValue value = {.type = jbvNumeric};

		value.val.numeric = number;
		pushJsonbValue(state, WJB_VALUE, &value);
	}
}

/* The object, once all is added. */
static inline Datum
cg_end_object(JsonbParseState **state)
{
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(state, WJB_END_OBJECT, NULL)));
}

#endif
