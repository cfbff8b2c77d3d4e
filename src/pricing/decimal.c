/*
 * decimal.c
 *		Exact money in 128-bit integers, and its way from and to numeric.
 *
 * Values are counts of 10^-8, never negative here, less than 10^22; no function
 * keeps memory.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "pricing/decimal.h"
#include "strict.h"

/*
 * The stored form of numeric, which has not changed since 9.1 and which
 * pg_upgrade relies on: a header of one or two 16-bit words, then digits to the
 * base of 10000, the first of which has the weight of the header.
 */
#define NUMERIC_FORM_MASK 0xC000
#define NUMERIC_FORM_NEGATIVE 0x4000
#define NUMERIC_FORM_SHORT 0x8000
#define NUMERIC_FORM_SPECIAL 0xC000
#define NUMERIC_SHORT_NEGATIVE 0x2000
#define NUMERIC_SHORT_WEIGHT_NEGATIVE 0x0040
#define NUMERIC_SHORT_WEIGHT_MASK 0x003F

#define BASE 10000
#define FRACTION_DIGITS 2 /* digits to that base in the fraction: 8 decimals */
#define MAX_WEIGHT 3      /* less than 10^16 */

static const int64 powers[] = {1LL,
							   10LL,
							   100LL,
							   1000LL,
							   10000LL,
							   100000LL,
							   1000000LL,
							   10000000LL,
							   100000000LL,
							   1000000000LL,
							   10000000000LL,
							   100000000000LL,
							   1000000000000LL,
							   10000000000000LL,
							   100000000000000LL,
							   1000000000000000LL,
							   10000000000000000LL,
							   100000000000000000LL,
							   1000000000000000000LL};

/* Scale of an exact result before it is rounded: 8 of the price, 8 + 2 of the percentage. */
#define EXACT_SCALE 18
#define EXACT_FACTOR (powers[EXACT_SCALE - CG_DECIMAL_SCALE])

/* Scale of the product of two. */
#define PRODUCT_SCALE (2 * CG_DECIMAL_SCALE)

/*
 * Reads a numeric; false when it is negative, NaN, infinite, 10^14 or more, or
 * has more than 8 decimals.
 */
bool
cg_decimal_from_numeric(Datum numeric, CgDecimal *result)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(numeric);
	const char     *data = VARDATA_ANY(value);
	const char     *end = data + VARSIZE_ANY_EXHDR(value);
	uint16          header;
	int             weight;
	CgDecimal       sum = 0;
	bool            representable = true;

	memcpy(&header, data, sizeof(header));
	data += sizeof(header);
	if ((header & NUMERIC_FORM_MASK) == NUMERIC_FORM_SPECIAL ||
		(header & NUMERIC_FORM_MASK) == NUMERIC_FORM_NEGATIVE)
		representable = false;
	else if ((header & NUMERIC_FORM_MASK) == NUMERIC_FORM_SHORT)
	{
		if (header & NUMERIC_SHORT_NEGATIVE)
			representable = false;
		weight = header & NUMERIC_SHORT_WEIGHT_MASK;
		if (header & NUMERIC_SHORT_WEIGHT_NEGATIVE)
			weight -= NUMERIC_SHORT_WEIGHT_MASK + 1;
	}
	else
	{
		int16 wide;

		memcpy(&wide, data, sizeof(wide));
		data += sizeof(wide);
		weight = wide;
	}

	/* Digits have no zero at either end, so that the first and last one tell the range. */
	for (; representable && data < end; data += sizeof(int16), weight--)
	{
		int16 digit;

		memcpy(&digit, data, sizeof(digit));
		if (weight > MAX_WEIGHT || weight < -FRACTION_DIGITS)
			representable = false;
		else
		{
			CgDecimal part = digit;

			for (int i = weight + FRACTION_DIGITS; i > 0; i--)
				part *= BASE;
			sum += part;
		}
	}

	if ((Pointer) value != DatumGetPointer(numeric))
		pfree(value);
	*result = sum;
	return representable && sum < CG_DECIMAL_LIMIT;
}

/*
 * Makes a numeric in the current memory context, with the decimals that it
 * needs, at least min_digits.
 */
Numeric
cg_decimal_to_numeric(CgDecimal value, int min_digits)
{
	int digits = CG_DECIMAL_SCALE;

	if (value <= PG_INT64_MAX)
	{
		int64 small = (int64) value; /* divided much faster */

		for (; digits > min_digits && small % 10 == 0; digits--)
			small /= 10;
		return int64_div_fast_to_numeric(small, digits);
	}
	for (; digits > min_digits && value % 10 == 0; digits--)
		value /= 10;
	return DatumGetNumeric(DirectFunctionCall3(
		numeric_in,
		CStringGetDatum(psprintf(digits > 0 ? INT64_FORMAT ".%0*lld" : INT64_FORMAT,
								 (int64) (value / powers[digits]), digits,
								 (long long) (value % powers[digits]))),
		ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/* Rounds a value at a scale, of 18 at most, to the minor unit. */
static inline CgDecimal
round_at(int128 value, int scale, const CgRounding *rounding)
{
	int64  unit = powers[scale - rounding->digits];
	int128 count = value / unit;
	int64  twice = (int64) (value % unit);

	/* The remainder is less than 10^18, so that its double fits. */
	twice *= 2;
	if (twice > unit || (twice == unit && (!rounding->half_even || count % 2 != 0)))
		count++;
	return count * powers[CG_DECIMAL_SCALE - rounding->digits];
}

/* Rounds a value that is not negative to the minor unit. */
CgDecimal
cg_decimal_round(CgDecimal value, const CgRounding *rounding)
{
	return round_at(value * EXACT_FACTOR, EXACT_SCALE, rounding);
}

/*
 * The price less a percentage of it, not below the least, rounded once from the
 * exact result.
 */
CgDecimal
cg_decimal_less_percent(CgDecimal price, CgDecimal percent, CgDecimal least,
						const CgRounding *rounding)
{
	int128 exact = price * (100 * CG_DECIMAL_ONE - percent);

	return round_at(Max(exact, least * EXACT_FACTOR), EXACT_SCALE, rounding);
}

/* The minor unit. */
CgDecimal
cg_decimal_unit(const CgRounding *rounding)
{
	return powers[CG_DECIMAL_SCALE - rounding->digits];
}

/*
 * Computes quantity × price exactly, and rounds it to the minor unit, or up to
 * it; false when it is out of range.
 */
bool
cg_decimal_times(CgDecimal quantity, CgDecimal price, bool up, const CgRounding *rounding,
				 CgDecimal *result)
{
	CgDecimal product;

	if (price == 0)
	{
		*result = 0;
		return true;
	}
	if (quantity > CG_DECIMAL_LIMIT * CG_DECIMAL_ONE / price)
		return false;
	product = quantity * price;
	*result = round_at(product, PRODUCT_SCALE, rounding);
	if (up && *result * CG_DECIMAL_ONE < product)
		*result += cg_decimal_unit(rounding);
	return *result < CG_DECIMAL_LIMIT;
}

/*
 * is_money(numeric): whether cg_decimal_from_numeric() can read it.
 */
PG_FUNCTION_INFO_V1(cg_is_money);
Datum
cg_is_money(PG_FUNCTION_ARGS)
{
	CgDecimal value;

	CG_STRICT();
	PG_RETURN_BOOL(cg_decimal_from_numeric(PG_GETARG_DATUM(0), &value));
}
