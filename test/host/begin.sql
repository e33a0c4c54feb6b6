-- Start of a regress test that needs a host: its tables with the functions of
-- sample.sql, in schemas of their own, and rmsync attached to them.  Echo is
-- off: none of this belongs into an expected file.  end.sql removes it all.
--
--   \getenv abs_srcdir PG_ABS_SRCDIR
--   \set begin :abs_srcdir '/host/begin.sql'
--   \i :begin
\set ECHO none
SET client_min_messages = warning;
SET timezone = 'UTC';
SET bytea_output = 'hex';
\set host_tables :abs_srcdir '/host/rmirror.sql'
\set host_sample :abs_srcdir '/host/sample.sql'
\set host_deliver :abs_srcdir '/host/deliver.sql'
\set end :abs_srcdir '/host/end.sql'
CREATE SCHEMA host;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA host;
SET search_path = host, public;
\i :host_tables
\i :host_sample
\i :host_deliver
SELECT rmsync_attach('host') IS NOT NULL AS attached \gset
\set secret whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=
RESET client_min_messages;
\set SHOW_CONTEXT never
\set ECHO all
