-- What the backend has allocated for its caches, in MB, once they are loaded.
SELECT count(customer_groups.effective_discount(k.customer_id, k.item_id)) FROM bench.keys k \g /dev/null
SELECT sum(total_bytes) / (1024.0 * 1024) FROM pg_backend_memory_contexts WHERE name LIKE 'customer\_groups%';
