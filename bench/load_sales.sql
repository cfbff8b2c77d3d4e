-- COPY of :file into sales, through the extension.
\set ON_ERROR_STOP on
SET synchronous_commit = off;
SELECT format('COPY customer_groups.sales (customer_id, amount, sold_at) FROM %L', :'file') \gexec
