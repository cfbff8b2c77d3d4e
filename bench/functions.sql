-- What the benchmarks share in a database: bench.popular(), bench.milliseconds() and bench.compare().
\set ON_ERROR_STOP on
CREATE SCHEMA bench;

-- A random number from 1 to n, with the skew of customers and items in a shop: the most frequent 1 %
-- are 5 % of all, the first fifth is nearly two thirds, the last fifth one in ninety. 7919 is a prime,
-- which scatters the frequent ones.
CREATE FUNCTION bench.popular(n bigint) RETURNS bigint
	LANGUAGE sql VOLATILE
	RETURN 1 + floor(-ln(1 - random() * (1 - exp(-5.0::float8))) / 5 * n)::bigint * 7919 % n;

CREATE FUNCTION bench.milliseconds(query text) RETURNS float8
	LANGUAGE plpgsql
	AS $$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	EXECUTE query;
	RETURN extract(epoch FROM clock_timestamp() - start) * 1000;
END
$$;

-- Runs two queries by turns, after once without timing: one row of milliseconds for each round.
CREATE FUNCTION bench.compare(measured text, peer text, rounds int)
	RETURNS TABLE (measured_ms float8, peer_ms float8)
	LANGUAGE plpgsql
	AS $$
BEGIN
	EXECUTE measured;
	EXECUTE peer;
	FOR i IN 1 .. rounds LOOP
		IF i % 2 = 0 THEN
			measured_ms := bench.milliseconds(measured);
			peer_ms := bench.milliseconds(peer);
		ELSE
			peer_ms := bench.milliseconds(peer);
			measured_ms := bench.milliseconds(measured);
		END IF;
		RETURN NEXT;
	END LOOP;
END
$$;
