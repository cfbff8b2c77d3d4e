/*
 * currency.c
 *		The currencies of ISO 4217 and the digits of their minor units.
 *
 * Keeps nothing in memory.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "pricing/decimal.h"
#include "strict.h"

/* Codes in use, by the digits of the minor unit; each is followed by a blank. */
static const char *const codes[] = {
	/* 0 */
	"BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF ",
	/* 1 */
	"",
	/* 2 */
	"AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN "
	"BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP "
	"GBP GEL GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT "
	"LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO "
	"NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS "
	"SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD "
	"XCG YER ZAR ZMW ZWG ZWL ",
	/* 3 */
	"BHD IQD JOD KWD LYD OMR TND ",
	/* 4 */
	"CLF UYW "};

/* Digits of the minor unit of a currency, or -1 for a code that is not in ISO 4217. */
int
cg_currency_minor_digits(const char *code)
{
	char word[5];

	if (strlen(code) != 3 || strchr(code, ' ') != NULL)
		return -1;
	snprintf(word, sizeof(word), "%s ", code);
	for (int digits = 0; digits < (int) lengthof(codes); digits++)
		if (strstr(codes[digits], word) != NULL)
			return digits;
	return -1;
}

/*
 * currency_digits(text)
 */
PG_FUNCTION_INFO_V1(cg_currency_digits);
Datum
cg_currency_digits(PG_FUNCTION_ARGS)
{
	int digits;

	CG_STRICT();
	digits = cg_currency_minor_digits(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (digits < 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(digits);
}
