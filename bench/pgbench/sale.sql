-- One sale, by the skew of bench.popular(). Variables: sales, the table; customers, how many.
\set rank random_exponential(0, :customers - 1, 5.0)
\set customer 1 + (:rank * 7919) % :customers
\set cents random(1, 10000)
INSERT INTO :sales (customer_id, amount) VALUES (:customer, :cents::numeric / 100);
