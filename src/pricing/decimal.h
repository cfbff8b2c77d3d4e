/*
 * decimal.h
 *		Exact money: a count of 10^-8 units in 128 bits.
 *
 * numeric costs an allocation for each operation; a price takes dozens of
 * them.  Every price, value, limit and quantity is less than 10^14 with at most
 * 8 decimals (CHECK constraints see to it), so that a product of two of them is
 * less than 10^44 / 10^6: percentages and rounding are computed exactly below.
 */
#ifndef CG_DECIMAL_H
#define CG_DECIMAL_H

#include "postgres.h"

#include "utils/numeric.h"

typedef int128 CgDecimal;

#define CG_DECIMAL_SCALE 8
#define CG_DECIMAL_ONE ((CgDecimal) 100000000)

/* Every amount is less. */
#define CG_DECIMAL_LIMIT ((CgDecimal) 100000000000000 * CG_DECIMAL_ONE)

/* How a price is rounded to the minor unit. */
typedef struct CgRounding
{
	int  digits; /* of the currency's minor unit */
	bool half_even;
} CgRounding;

extern bool      cg_decimal_from_numeric(Datum numeric, CgDecimal *result);
extern Numeric   cg_decimal_to_numeric(CgDecimal value, int min_digits);
extern CgDecimal cg_decimal_less_percent(CgDecimal price, CgDecimal percent, CgDecimal least,
										 const CgRounding *rounding);
extern CgDecimal cg_decimal_round(CgDecimal value, const CgRounding *rounding);

extern int cg_currency_minor_digits(const char *code);

#endif
