-- effective_discount for all keys, once to warm up and then timed: the milliseconds.
SELECT count(customer_groups.effective_discount(k.customer_id, k.item_id)) FROM bench.keys k \g /dev/null
SELECT bench.milliseconds(
	'SELECT count(customer_groups.effective_discount(k.customer_id, k.item_id)) FROM bench.keys k');
