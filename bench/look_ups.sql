-- effective_discount, and the four look-ups that it cannot do without: the item, its categories, the
-- customer and the memberships, with what it needs of each: the microseconds of a call.
SELECT measured_ms * 1000 / n, peer_ms * 1000 / n
FROM (SELECT count(*) FROM bench.keys) k (n), bench.compare(
	'SELECT count(customer_groups.effective_discount(k.customer_id, k.item_id)) FROM bench.keys k',
	'SELECT count((SELECT i.price FROM customer_groups.items i WHERE i.id = k.item_id)),
		count((SELECT sum(c.category_id) FROM customer_groups.item_categories c WHERE c.item_id = k.item_id)),
		count((SELECT c.id FROM customer_groups.customers c WHERE c.id = k.customer_id)),
		count((SELECT sum(m.group_id) FILTER (WHERE m.valid_from IS NULL AND m.valid_until IS NULL)
			   FROM customer_groups.members m WHERE m.customer_id = k.customer_id))
	FROM bench.keys k',
	:rounds);
