-- effective_discount, and the function by hand, whose answers are compared first: the microseconds of a call.
\set ON_ERROR_STOP on
DO $$
BEGIN
	IF EXISTS (SELECT FROM (SELECT * FROM bench.keys LIMIT 2000) k
			   WHERE customer_groups.effective_discount(k.customer_id, k.item_id)
					 IS DISTINCT FROM bench.discount_by_hand(k.customer_id, k.item_id))
	THEN
		RAISE 'the function by hand gives other discounts';
	END IF;
END
$$;

SELECT measured_ms * 1000 / n, peer_ms * 1000 / (n / 20)
FROM (SELECT count(*) FROM bench.keys) k (n), bench.compare(
	'SELECT count(customer_groups.effective_discount(k.customer_id, k.item_id)) FROM bench.keys k',
	'SELECT count(bench.discount_by_hand(k.customer_id, k.item_id))
	FROM (SELECT * FROM bench.keys LIMIT (SELECT count(*) / 20 FROM bench.keys)) k',
	:rounds);
