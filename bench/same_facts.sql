-- Fails unless the extension and the trigger by hand have come to the same facts and tiers.
DO $$
BEGIN
	IF EXISTS (SELECT FROM (SELECT customer_id, visits, net_sales FROM customer_groups.customer_facts
							EXCEPT SELECT customer_id, visits, net_sales FROM bench.own_facts) d)
		OR EXISTS (SELECT FROM (SELECT customer_id, group_id, source FROM customer_groups.members
								EXCEPT SELECT customer_id, group_id, source FROM bench.own_members) d)
	THEN
		RAISE 'the trigger by hand keeps other facts or tiers';
	END IF;
END
$$;
