-- End of a regress test that began with begin.sql.
\set ECHO none
SET client_min_messages = warning;
RESET ROLE;
RESET rmsync.user_id;
SELECT rmsync_detach() IS NOT NULL AS detached \gset
DROP SCHEMA host, test CASCADE;
DELETE FROM rmsync.integration_configs;
DELETE FROM rmsync.oauth_grants;
DELETE FROM rmsync.sync_queue;
DELETE FROM rmsync.sync_records;
DELETE FROM rmsync.sync_intake;
DELETE FROM rmsync.sync_log;
DELETE FROM rmsync.notifications;
DELETE FROM rmsync.notebook_sync_settings;
DELETE FROM rmsync.webhook_secrets;
DELETE FROM rmsync.webhook_events;
DELETE FROM rmsync.remote_changes;
