-- Reads all that is ours, and all peers, into shared memory.
\set ON_ERROR_STOP on
CREATE EXTENSION IF NOT EXISTS pg_prewarm;
SELECT sum(pg_prewarm(c.oid))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('customer_groups', 'bench') AND c.relkind IN ('r', 'i') \g /dev/null
