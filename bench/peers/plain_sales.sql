-- The peer of sales: a plain table of the same shape, keys and foreign keys, with the same sales.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;
CREATE TABLE bench.plain_sales (LIKE customer_groups.sales INCLUDING ALL,
	FOREIGN KEY (customer_id) REFERENCES customer_groups.customers,
	FOREIGN KEY (store_id) REFERENCES customer_groups.stores,
	FOREIGN KEY (customer_id, refund_of) REFERENCES bench.plain_sales);
INSERT INTO bench.plain_sales SELECT * FROM customer_groups.sales;
SELECT setval(pg_get_serial_sequence('bench.plain_sales', 'id'), max(id)) FROM bench.plain_sales \g /dev/null
VACUUM ANALYZE bench.plain_sales;
