--
-- A deleted user's lanes, credentials, queue, ledger and everything else go
-- with the user; nobody else's do
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
CREATE VIEW test.held AS
SELECT 'lane' AS what, user_id FROM rmsync.integration_configs
UNION ALL SELECT 'grant', user_id FROM rmsync.oauth_grants
UNION ALL SELECT 'queue', user_id FROM rmsync.sync_queue
UNION ALL SELECT 'ledger', user_id FROM rmsync.sync_records
UNION ALL SELECT 'log', user_id FROM rmsync.sync_log
UNION ALL SELECT 'setting', user_id FROM rmsync.notebook_sync_settings
UNION ALL SELECT 'notification', user_id FROM rmsync.notifications
UNION ALL SELECT 'secret', user_id FROM rmsync.webhook_secrets
UNION ALL SELECT 'event', user_id FROM rmsync.webhook_events
UNION ALL SELECT 'change', user_id FROM rmsync.remote_changes
UNION ALL SELECT 'object', user_id FROM rmsync.notion_objects
UNION ALL SELECT 'intent', user_id FROM rmsync.notion_intents
UNION ALL SELECT 'mark', user_id FROM rmsync.sync_intake;
-- a user with something in every table
CREATE FUNCTION test.fill(u int, target text DEFAULT 'webhook') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM test.add_user(u);
	PERFORM test.add_lane(u, target);
	PERFORM test.add_page(test.add_notebook(u, 'nb-' || u, 'Notebook'), 1, 'text');
	PERFORM rmsync.fold();
	PERFORM test.deliver();
	UPDATE notebooks SET visible_name = 'Renamed' WHERE user_id = u;
	PERFORM rmsync.fold();
	INSERT INTO rmsync.sync_log (user_id, target_name, status) VALUES (u, target, 'success');
	INSERT INTO rmsync.notebook_sync_settings (user_id, notebook_uuid, target_name, is_enabled) VALUES (u, 'nb-' || u, target, true);
	INSERT INTO rmsync.notifications (user_id, target_name, kind, message) VALUES (u, target, 'first_success', 'x');
	INSERT INTO rmsync.webhook_secrets (user_id, target_name, token_encrypted) VALUES (u, target, 'x');
	INSERT INTO rmsync.webhook_events (user_id, target_name, event_id) VALUES (u, target, 'x');
	INSERT INTO rmsync.remote_changes (user_id, target_name, external_id, kind) VALUES (u, target, 'x', 'x');
	INSERT INTO rmsync.oauth_grants (user_id, service, access_token_encrypted) VALUES (u, 'notion', 'x');
	INSERT INTO rmsync.notion_objects (user_id, kind, id, title) VALUES (u, 'page', 'x', 'x');
	INSERT INTO rmsync.notion_intents (user_id, target_name, parent_id, title, known) VALUES (u, target, 'x', 'x', '[]');
	UPDATE notebooks SET visible_name = 'Renamed again' WHERE user_id = u;
END
$$;
SELECT test.fill(1), test.fill(2), test.fill(3);
-- every table that has users is looked at here
SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'rmsync'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attname = 'user_id' ORDER BY 1;
SELECT user_id, string_agg(DISTINCT what, ' ' ORDER BY what) FROM test.held GROUP BY 1 ORDER BY 1;

-- The host's rows go by cascade, in an order of their own; one statement may
-- delete several users
DELETE FROM users WHERE id IN (1, 2);
SELECT kind, item_id FROM rmsync.sync_intake WHERE kind = 'u' ORDER BY item_id;
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT user_id, string_agg(DISTINCT what, ' ' ORDER BY what) FROM test.held GROUP BY 1 ORDER BY 1;
-- nothing of them is left to be sent
SELECT user_id FROM test.open() WHERE user_id <> 3;

-- A deletion that is taken back is none
BEGIN;
DELETE FROM users WHERE id = 3;
ROLLBACK;
SELECT rmsync.fold() IS NOT NULL AS folded;
SELECT count(*) FROM rmsync.integration_configs;

-- The same number again is another user: nothing is left from the first
SELECT test.fill(1, 'notion');
SELECT target_name, count(*) FROM rmsync.sync_records WHERE user_id = 1 GROUP BY 1;

-- A user who is deleted and comes back in one transaction: the lane is gone,
-- what a user connects afterwards stays
BEGIN;
DELETE FROM users WHERE id = 1;
SELECT test.add_user(1);
COMMIT;
SELECT rmsync.fold() IS NOT NULL AS folded;
SELECT count(*) FROM test.held WHERE user_id = 1;
SELECT test.add_lane(1) > 0 AS connected;
SELECT rmsync.fold() IS NOT NULL AS folded;
SELECT what FROM test.held WHERE user_id = 1;

-- A user nobody knows
SELECT rmsync.forget_user(99);
\i :end
