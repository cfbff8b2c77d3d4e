-- Writes the sales :first to :last of :total, which are spread over the last year, of customers with the
-- skew of bench.popular(), to the file that :file names, for COPY.
\set ON_ERROR_STOP on
SELECT setseed(0.25 + :first / 1e9) \g /dev/null
SELECT format('COPY (SELECT bench.popular(%s), (1 - 49 * ln(1 - random()))::numeric(10, 2),
		now() - interval ''365 days'' * (1 - n / %s::float8)
	FROM generate_series(%s, %s) n) TO %L', :customers, :total, :first, :last, :'file') \gexec
