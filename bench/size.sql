-- segment_size, and the count written by hand over the facts, which is compared first. Variable: visits,
-- of the rule 'vip'.
\set ON_ERROR_STOP on
SELECT customer_groups.segment_size('vip') AS ours,
	(SELECT count(*) FROM customer_groups.customer_facts WHERE net_sales >= 3000 AND visits >= :visits) AS by_hand \gset
SELECT :ours <> :by_hand AS differs \gset
\if :differs
DO $$ BEGIN RAISE 'the count by hand is another'; END $$;
\endif
SELECT * FROM bench.compare(
	'SELECT customer_groups.segment_size(''vip'')',
	format('SELECT count(*) FROM customer_groups.customer_facts WHERE net_sales >= 3000 AND visits >= %s', :visits),
	:rounds);
