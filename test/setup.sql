-- Makes the database of a test run, by a superuser: psql -v dbname=... -f test/setup.sql
--
-- The extension is created by shop_owner, who is no superuser and has CREATE on the database, no
-- more; the tests run as this role. The other roles have no rights yet: tests of access levels grant
-- them levels, and shop_owner can SET ROLE to them.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['shop_owner', 'shop_view', 'shop_members', 'shop_edit', 'shop_sell', 'shop_stranger']) AS name
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) \gexec
GRANT shop_view, shop_members, shop_edit, shop_sell, shop_stranger TO shop_owner;
DROP DATABASE IF EXISTS :"dbname";
CREATE DATABASE :"dbname" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8';
ALTER DATABASE :"dbname" SET lc_messages TO 'C';
ALTER DATABASE :"dbname" SET bytea_output TO 'hex';
ALTER DATABASE :"dbname" SET timezone_abbreviations TO 'Default';
GRANT CREATE ON DATABASE :"dbname" TO shop_owner;
\connect :"dbname"
SET SESSION AUTHORIZATION shop_owner;
CREATE EXTENSION customer_groups;
