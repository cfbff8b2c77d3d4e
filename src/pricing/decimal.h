/*
 * decimal.h
 *		Exact money: a count of 10^-8 units in 128 bits.
 *
 * numeric costs an allocation for each operation; a price takes dozens of
 * them.  Every price, value, limit and quantity is less than 10^14 with at most
 * 8 decimals (CHECK constraints see to it), which is 10^22 here, so that a price
 * times a percentage fits; a quantity times a price is refused where the result
 * would not be less than 10^14 itself.  Both are exact before they are rounded.
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
extern CgDecimal cg_decimal_unit(const CgRounding *rounding);
extern bool      cg_decimal_times(CgDecimal quantity, CgDecimal price, bool up,
								  const CgRounding *rounding, CgDecimal *result);

extern int cg_currency_minor_digits(const char *code);

#endif
