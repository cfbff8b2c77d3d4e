-- The first call after one promotion was edited: the milliseconds, for each of many edits.
CREATE TEMP TABLE calls (ms float8);
SELECT count(customer_groups.effective_discount(k.customer_id, k.item_id))
FROM (SELECT * FROM bench.keys LIMIT 1000) k \g /dev/null
DO $$
DECLARE
	last int := (SELECT max(id) FROM customer_groups.promotions);
BEGIN
	FOR i IN 1 .. 100 LOOP
		UPDATE customer_groups.promotions SET value = 5 + i % 20 WHERE id = 1 + i * 7919 % last;
		COMMIT;
		INSERT INTO calls VALUES (bench.milliseconds(
			'SELECT customer_groups.effective_discount(k.customer_id, k.item_id) FROM bench.keys k LIMIT 1'));
		COMMIT;
	END LOOP;
END
$$;
SELECT ms FROM calls;
