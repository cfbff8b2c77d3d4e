-- Of customer_facts: dead rows and updates in place (HOT), each in per cent, and how often autovacuum came.
SELECT 100.0 * n_dead_tup / greatest(n_live_tup, 1), 100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1), autovacuum_count
FROM pg_stat_user_tables WHERE relid = 'customer_groups.customer_facts'::regclass;
