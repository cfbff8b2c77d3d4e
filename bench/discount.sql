-- effective_discount for all keys, once to warm up and then timed: the microseconds of a call.
SELECT count(customer_groups.effective_discount(k.customer_id, k.item_id)) FROM bench.keys k \g /dev/null
SELECT 1000.0 / count(*) * bench.milliseconds(
	'SELECT count(customer_groups.effective_discount(k.customer_id, k.item_id)) FROM bench.keys k')
FROM bench.keys;
