--
-- A copy of the database must not send: it waits until somebody says that the
-- original no longer does.  Nothing listens on port 1: what is tried shows as
-- a request.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
SELECT test.add_user(1);
SELECT test.add_notebook(1, 'nb', 'Diary') AS nb \gset
SELECT jsonb_build_object('url', 'http://127.0.0.1:1/hook', 'secret', :'secret', 'max_in_flight', 1) AS config \gset
SELECT rmsync_connect(1, 'webhook', :'config') -> 'state' AS state;

-- Where the lanes were made it sends
SELECT rmsync.instance_matches();
CALL rmsync_run(NULL, NULL) \gset
SELECT :'result'::jsonb -> 'requests' AS requests;

-- Restored on another server: nothing is sent, health says why; a connection
-- made anew changes nothing about that, and no work is lost
UPDATE rmsync.instance SET system_identifier = system_identifier + 1;
UPDATE rmsync.integration_configs SET blocked_until = NULL, fail_streak = 0;
SELECT rmsync.instance_matches();
SELECT test.add_page(:nb, 1, 'in the copy');
CALL rmsync_run(NULL, NULL) \gset
SELECT :'result'::jsonb -> 'requests' AS requests;
SELECT rmsync_connect(1, 'webhook', :'config') -> 'state' AS state;
SELECT rmsync_attach('host') -> 'host_kind' AS attached;
CALL rmsync_run(NULL, NULL) \gset
SELECT :'result'::jsonb -> 'requests' AS requests;
SELECT rmsync_health() -> 'instance_ok' AS instance_ok;
SELECT item_type, status, attempt FROM test.open();

-- The name of the instance counts, too: a clone of the whole server has the
-- same identifier
SELECT rmsync_adopt_instance();
SELECT rmsync.instance_matches();
UPDATE rmsync.instance SET instance = 'production';
SELECT rmsync.instance_matches();
-- so does a lost row
DELETE FROM rmsync.instance;
SELECT rmsync.instance_matches();

-- Adopted: it sends again, after comparing everything
SELECT rmsync_adopt_instance();
SELECT rmsync.instance_matches(), reconcile_wanted FROM rmsync.integration_configs;
CALL rmsync_run(NULL, NULL) \gset
SELECT :'result'::jsonb -> 'requests' AS requests;

-- Not for everybody to say
CREATE ROLE regress_rmsync_user;
SET ROLE regress_rmsync_user;
SELECT rmsync_adopt_instance();
RESET ROLE;
DROP ROLE regress_rmsync_user;
\i :end
