-- How the demo's pages look, and the extension itself; run before each of the other files here.
\set QUIET on
\set ON_ERROR_STOP on
\encoding UTF8
\pset pager off
\pset footer off
\pset border 0
\pset null '-'
SET client_min_messages = warning;
SET datestyle = 'ISO, YMD';
SET timezone = 'UTC';
CREATE EXTENSION customer_groups;
SET search_path = customer_groups, pg_temp;
