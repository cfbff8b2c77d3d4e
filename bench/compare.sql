-- What times things in a session: bench.compare().
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
