-- segment_size, and the count written by hand over the facts.
SELECT customer_groups.segment_size('vip') AS ours,
	(SELECT count(*) FROM customer_groups.customer_facts WHERE net_sales >= 3000 AND visits >= 1) AS by_hand \gset
SELECT :ours <> :by_hand AS differs \gset
\if :differs
\set ON_ERROR_STOP on
DO $$ BEGIN RAISE 'the count by hand is another'; END $$;
\endif
SELECT * FROM bench.compare(
	'SELECT customer_groups.segment_size(''vip'')',
	'SELECT count(*) FROM customer_groups.customer_facts WHERE net_sales >= 3000 AND visits >= 1',
	:rounds);
