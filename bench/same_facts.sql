-- Fails unless the extension and the trigger by hand have come to the same facts, tiers and segments.
DO $$
BEGIN
	IF EXISTS (SELECT FROM (SELECT customer_id, visits, net_sales FROM customer_groups.customer_facts
							EXCEPT SELECT customer_id, visits, net_sales FROM bench.own_facts) d)
		OR EXISTS (SELECT FROM (SELECT customer_id, group_id, source FROM customer_groups.members
								EXCEPT SELECT customer_id, group_id, source FROM bench.own_members) d)
		OR EXISTS ((SELECT customer_id, segment_id FROM customer_groups.segment_members
					EXCEPT SELECT customer_id, segment_id FROM bench.own_segment_members)
				   UNION ALL
				   (SELECT customer_id, segment_id FROM bench.own_segment_members
					EXCEPT SELECT customer_id, segment_id FROM customer_groups.segment_members))
	THEN
		RAISE 'the trigger by hand keeps other facts, tiers or segments';
	END IF;
END
$$;
