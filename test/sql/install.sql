--
-- CREATE EXTENSION and DROP EXTENSION, in databases of their own
--
\set SHOW_CONTEXT never
SELECT current_database() AS here \gset
CREATE DATABASE regress_rmsync_install;
\c regress_rmsync_install
SET client_min_messages = warning;

-- What a database looks like before and after
CREATE FUNCTION public.inventory() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_describe_object(classid, objid, 0) COLLATE "C" FROM (
		SELECT 'pg_class'::regclass AS classid, oid AS objid FROM pg_class WHERE oid >= 16384 AND relkind NOT IN ('t', 'i')
		UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE oid >= 16384
		UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE oid >= 16384 AND typtype <> 'b'
		UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'
		UNION ALL SELECT 'pg_extension'::regclass, oid FROM pg_extension WHERE oid >= 16384
		UNION ALL SELECT 'pg_policy'::regclass, oid FROM pg_policy
		UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE NOT tgisinternal) o
	ORDER BY 1
$$;
CREATE TABLE public.before AS SELECT '' AS object WHERE false;
INSERT INTO public.before SELECT * FROM inventory();

-- pgcrypto is needed, and comes along if asked for
CREATE EXTENSION rmsync;
CREATE EXTENSION rmsync CASCADE;
SELECT extname, extnamespace::regnamespace FROM pg_extension WHERE oid >= 16384 ORDER BY 1;
SELECT count(*) > 20 AS functions, count(*) FILTER (WHERE p.pronamespace <> 'public'::regnamespace) AS elsewhere
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND e.extname = 'rmsync' AND p.proname LIKE 'rmsync\_%';
-- the identity comes with rmsync_attach()
SELECT count(*) AS identities FROM rmsync.instance;
CREATE EXTENSION rmsync;
ALTER EXTENSION rmsync SET SCHEMA pg_catalog;

-- It works without a host: nothing is attached, nothing to be done
SELECT rmsync.attached();
SELECT rmsync_attach();
SELECT * FROM rmsync.fold();
SELECT rmsync_queue();
CALL rmsync_run();
-- the log has partitions for the days to come, made by the run; a member each
SELECT count(*) AS partitions FROM pg_inherits WHERE inhparent = 'rmsync.sync_log'::regclass;
SELECT count(*) AS strangers FROM pg_inherits i WHERE inhparent = 'rmsync.sync_log'::regclass
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.inhrelid AND d.deptype = 'e');

-- Dropped, it leaves nothing but pgcrypto
DROP EXTENSION rmsync;
DROP EXTENSION pgcrypto;
SELECT * FROM inventory() EXCEPT SELECT object FROM public.before ORDER BY 1;

-- Into a schema of its own, where it still finds itself; host tables keep
-- their triggers no longer than the extension is there
CREATE SCHEMA tools;
CREATE SCHEMA app;
CREATE EXTENSION pgcrypto SCHEMA tools;
CREATE EXTENSION rmsync SCHEMA tools;
\getenv abs_srcdir PG_ABS_SRCDIR
\set rmirror :abs_srcdir '/host/rmirror.sql'
CREATE EXTENSION pg_trgm SCHEMA app;
SET search_path = app;
\set ECHO none
\i :rmirror
\set ECHO all
SET search_path = public;
SELECT count(*) FROM inventory() i WHERE i LIKE 'trigger%' AND i NOT LIKE '% on table rmsync.%';
SELECT tools.rmsync_attach() ->> 'host_schema' AS attached;
SELECT count(*) > 10 AS triggers FROM inventory() i WHERE i LIKE 'trigger%' AND i NOT LIKE '% on table rmsync.%';
INSERT INTO app.users (id, email, subscription_tier, is_active, is_verified, created_at, updated_at) VALUES (1, 'a@b.c', 'free', true, true, now(), now());
INSERT INTO rmsync.integration_configs (user_id, target_name, config_encrypted, item_types, granularity) VALUES (1, 'webhook', 'x', 15, 'i');
INSERT INTO app.notebooks (user_id, notebook_uuid, visible_name, document_type, created_at, updated_at) VALUES (1, 'nb', 'Diary', 'notebook', now(), now());
SELECT folded FROM rmsync.fold();
SELECT tools.rmsync_queue(1) -> 'pending' AS pending;
SELECT tools.rmsync_status('webhook', 1) -> 'connections' AS connections;
SELECT tools.rmsync_disconnect(1, 'webhook') -> 'queue_items_deleted' AS deleted;
DROP EXTENSION rmsync;
SELECT * FROM inventory() i WHERE i LIKE '%rmsync%';
UPDATE app.notebooks SET visible_name = 'Without rmsync';

-- The schema rmsync must not exist: somebody could have put something there
CREATE SCHEMA rmsync;
CREATE EXTENSION rmsync SCHEMA tools;
DROP SCHEMA rmsync;

-- Not for everybody to install; and nothing in it is for everybody
CREATE ROLE regress_rmsync_installer;
GRANT CREATE ON DATABASE regress_rmsync_install TO regress_rmsync_installer;
SET ROLE regress_rmsync_installer;
CREATE EXTENSION rmsync SCHEMA public;
RESET ROLE;
REVOKE CREATE ON DATABASE regress_rmsync_install FROM regress_rmsync_installer;
DROP ROLE regress_rmsync_installer;
CREATE EXTENSION rmsync SCHEMA tools;
SELECT p.oid::regprocedure AS public_may
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND e.extname = 'rmsync'
  AND p.proname !~ '^rmsync_fingerprint_' AND p.prorettype <> 'trigger'::regtype
  AND has_function_privilege('pg_read_all_settings', p.oid, 'EXECUTE') ORDER BY 1;
SELECT has_schema_privilege('pg_read_all_settings', 'rmsync', 'USAGE') AS public_may;

-- Settings under its prefix are its own
SET rmsync.no_such_setting = 1;
SELECT name FROM pg_settings WHERE name LIKE 'rmsync.%' AND context = 'user';

\c :here
DROP DATABASE regress_rmsync_install;
