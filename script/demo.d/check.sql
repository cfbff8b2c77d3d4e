-- The end of both demos: nothing that is derived may differ from its recomputation.
SELECT count(*) AS differences FROM check_integrity() \gset
\echo 'CHECKED: check_integrity() recomputed everything from the sales and the events and found'
\echo :differences 'differences.'
SELECT :differences > 0 AS broken \gset
\if :broken
SELECT * FROM check_integrity() LIMIT 20;
DO $$ BEGIN RAISE EXCEPTION 'the demo must not find differences'; END $$;
\endif
