/*
 * cart_json.c
 *		Reading the lines of a cart from JSON, and refusing what is not one.
 *
 * Nothing is guessed and nothing left out: a key that is not known, a number
 * that is a text, a quantity that cannot be kept exactly are errors, which name
 * the line.  All memory is the caller's.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"

#include "pricing/pricing_internal.h"

#define HINT_ID                                                                                    \
	"A cart is an array of lines such as {\"item\": 7, \"quantity\": 2}; the quantity is 1 when "  \
	"left out."
#define HINT_KEY                                                                                   \
	"A cart is an array of lines such as {\"item\": \"sku-7\", \"quantity\": 2}; the quantity is " \
	"1 when left out."

/* The lines as they are read. */
typedef struct Reading
{
	bool        by_key;
	CgCartLine *line;
} Reading;

pg_noreturn static void
invalid_cart(const Reading *reading, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the lines are not those of a cart"),
			 errdetail("%s", detail), errhint("%s", reading->by_key ? HINT_KEY : HINT_ID)));
}

pg_noreturn static void
invalid_line(const Reading *reading, int sqlstate, const char *detail)
{
	ereport(ERROR,
			(errcode(sqlstate), errmsg("line %d of the cart is invalid", reading->line->line_no),
			 errdetail("%s", detail), errhint("%s", reading->by_key ? HINT_KEY : HINT_ID)));
}

/* A value as an error shows it. */
static char *
describe(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return psprintf("the text \"%.*s\"", value->val.string.len, value->val.string.val);
		case jbvNumeric:
			return psprintf("the number %s",
							DatumGetCString(DirectFunctionCall1(
								numeric_out, NumericGetDatum(value->val.numeric))));
		case jbvBool:
			return value->val.boolean ? "true" : "false";
		case jbvBinary:
			return JsonContainerIsObject(value->val.binary.data) ? "an object" : "an array";
		default:
			return "something else";
	}
}

static void
read_item(Reading *reading, const JsonbValue *value)
{
	char *number;
	char *end;

	if (reading->by_key)
	{
		if (value->type != jbvString)
			invalid_line(
				reading, ERRCODE_INVALID_PARAMETER_VALUE,
				psprintf("Its item is %s, not an external_id, which is a text.", describe(value)));
		reading->line->external_id = cstring_to_text_with_len(value->val.string.val,
															  value->val.string.len);
		return;
	}
	if (value->type != jbvNumeric)
		invalid_line(
			reading, ERRCODE_INVALID_PARAMETER_VALUE,
			psprintf("Its item is %s, not an id, which is a whole number.", describe(value)));
	number = DatumGetCString(DirectFunctionCall1(
		numeric_out, DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(value->val.numeric))));
	errno = 0;
	reading->line->item_id = strtoi64(number, &end, 10);
	if (errno != 0 || *end != '\0')
		invalid_line(reading, ERRCODE_INVALID_PARAMETER_VALUE,
					 psprintf("Its item is the number %s, not an id, which is a whole number of "
							  "type bigint.",
							  number));
}

static void
read_quantity(Reading *reading, const JsonbValue *value)
{
	CgDecimal *quantity = &reading->line->quantity;
	Datum      number;
	Datum      zero = NumericGetDatum(int64_to_numeric(0));

	if (value->type != jbvNumeric)
		invalid_line(reading, ERRCODE_INVALID_PARAMETER_VALUE,
					 psprintf("Its quantity is %s, not a number.", describe(value)));
	number = NumericGetDatum(value->val.numeric);
	if (!DatumGetBool(DirectFunctionCall2(numeric_gt, number, zero)))
		invalid_line(reading, ERRCODE_INVALID_PARAMETER_VALUE,
					 psprintf("Its quantity is %s, which is not above 0.", describe(value)));
	if (cg_decimal_from_numeric(number, quantity))
		return;
	if (cg_decimal_from_numeric(
			DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(CG_DECIMAL_SCALE)), quantity))
		invalid_line(reading, ERRCODE_INVALID_PARAMETER_VALUE,
					 psprintf("Its quantity is %s, which has more than %d decimals.",
							  describe(value), CG_DECIMAL_SCALE));
	invalid_line(reading, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
				 psprintf("Its quantity is %s, which is not less than 10^14.", describe(value)));
}

static bool
is_key(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) &&
		   memcmp(key->val.string.val, name, strlen(name)) == 0;
}

static void
read_line(Reading *reading, const JsonbValue *element)
{
	JsonbIterator     *it;
	JsonbIteratorToken token;
	JsonbValue         value;
	bool               has_item = false;

	if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
		invalid_line(reading, ERRCODE_INVALID_PARAMETER_VALUE,
					 psprintf("It is %s, not an object.", describe(element)));
	reading->line->quantity = CG_DECIMAL_ONE;
	it = JsonbIteratorInit(element->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		JsonbValue key = value;

		if (token != WJB_KEY)
			continue;
		JsonbIteratorNext(&it, &value, true);
		if (is_key(&key, "item"))
		{
			read_item(reading, &value);
			has_item = true;
		}
		else if (is_key(&key, "quantity"))
			read_quantity(reading, &value);
		else
			invalid_line(reading, ERRCODE_INVALID_PARAMETER_VALUE,
						 psprintf("It has the key \"%.*s\", which is not known.",
								  key.val.string.len, key.val.string.val));
	}
	if (!has_item)
		invalid_line(reading, ERRCODE_INVALID_PARAMETER_VALUE, "It has no key \"item\".");
}

/* Finds the items that the keys stand for. */
static void
find_items(CgCart *cart)
{
	int64 *ids = palloc((cart->nlines + 1) * sizeof(int64));
	bool  *nulls = palloc0((cart->nlines + 1) * sizeof(bool));
	Datum *keys = palloc((cart->nlines + 1) * sizeof(Datum));

	for (int i = 0; i < cart->nlines; i++)
		keys[i] = PointerGetDatum(cart->lines[i].external_id);
	cg_items_by_keys(keys, nulls, cart->nlines, true, GetActiveSnapshot(), ids);
	for (int i = 0; i < cart->nlines; i++)
		cart->lines[i].item_id = ids[i];
}

/*
 * Reads the lines; see pricing.h.
 */
void
cg_read_cart(Jsonb *json, bool by_key, CgCart *cart)
{
	Reading            reading = {.by_key = by_key};
	JsonbIterator     *it;
	JsonbIteratorToken token;
	JsonbValue         value;
	int                max;

	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		invalid_cart(&reading, JB_ROOT_IS_OBJECT(json) ? "They are an object, not an array."
													   : "They are a single value, not an array.");
	max = JB_ROOT_COUNT(json);
	cart->nlines = 0;
	cart->lines = palloc0((max + 1) * sizeof(CgCartLine));
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		reading.line = &cart->lines[cart->nlines++];
		reading.line->line_no = cart->nlines;
		read_line(&reading, &value);
	}
	if (by_key)
		find_items(cart);
}
