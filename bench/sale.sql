-- For pgbench: one sale of a random customer. Variables: sales, the table; customers, how many.
\set customer random(1, :customers)
\set cents random(1, 10000)
INSERT INTO :sales (customer_id, amount) VALUES (:customer, :cents::numeric / 100);
