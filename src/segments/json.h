/*
 * json.h
 *		Strings in jsonb that is being built.
 */
#ifndef CG_JSON_H
#define CG_JSON_H

#include "postgres.h"

#include "utils/jsonb.h"

/* Adds a string, which must live until the value is made. */
static inline void
cg_push_string(JsonbParseState **state, JsonbIteratorToken token, const char *string, int len)
{
	JsonbValue value;

	value.type = jbvString;
	value.val.string.val = (char *) string;
	value.val.string.len = len;
	pushJsonbValue(state, token, &value);
}

/* Adds a key and its string to an object, likewise. */
static inline void
cg_push_pair(JsonbParseState **state, const char *key, const text *value)
{
	cg_push_string(state, WJB_KEY, key, strlen(key));
	cg_push_string(state, WJB_VALUE, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

#endif
