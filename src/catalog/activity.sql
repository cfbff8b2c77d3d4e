-- How far a function that takes long has come.

CREATE FUNCTION customer_groups.report_progress(what text, done bigint, total bigint) RETURNS void
	AS 'MODULE_PATHNAME', 'cg_report_progress' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION customer_groups.report_progress(text, bigint, bigint) IS
	'Shows, before the query in pg_stat_activity and every ten seconds as a NOTICE, how many customers of all something is done for; once they are all done the query is shown as it is. For the functions that change many customers; null does nothing.';
