-- What is money: for constraints of tables, before prices can be asked for.

CREATE FUNCTION customer_groups.currency_digits(currency text) RETURNS int
	AS 'MODULE_PATHNAME', 'cg_currency_digits'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.currency_digits(text) IS
	'Digits after the decimal point of a currency''s minor unit by ISO 4217: 0 for KRW, 2 for USD, 3 for KWD; null for a code that is not in ISO 4217.';

CREATE FUNCTION customer_groups.is_money(amount numeric) RETURNS boolean
	AS 'MODULE_PATHNAME', 'cg_is_money'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION customer_groups.is_money(numeric) IS
	'Whether the number can be a price, a value or a limit of a promotion: from 0 to less than 100,000,000,000,000 with at most 8 decimals; null for null.';
