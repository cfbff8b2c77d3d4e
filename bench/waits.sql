-- What the clients of pgbench wait for, every 50 ms until it is ended: one line for each that is at work.
SELECT coalesce(wait_event_type || ':' || wait_event, 'at work') FROM pg_stat_activity
WHERE application_name = 'pgbench' AND state <> 'idle' AND wait_event IS DISTINCT FROM 'ClientRead'
\watch 0.05
