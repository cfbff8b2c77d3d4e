-- Writes sales of random customers to the file that :file names, for COPY.
SELECT setseed(0.5) \g /dev/null
SELECT format('COPY (SELECT 1 + floor(random() * %s)::bigint, (1 + random() * 99)::numeric(10, 2)
			   FROM generate_series(1, %s)) TO %L', :customers, :sales, :'file') \gexec
