--
-- The functions people call: answers with the document's keys, arguments, and
-- who may see whose.  Deliveries are played by test.deliver().
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
SELECT test.add_user(1), test.add_user(2);
SELECT test.add_notebook(1, 'nb-a', 'Alpha') AS a, test.add_notebook(1, 'nb-b', 'Beta') AS b, test.add_notebook(2, 'nb-c', 'Gamma') AS c \gset
SELECT count(test.add_page(n, p, format('page %s of %s', p, n))) FROM generate_series(1, 3) n, generate_series(1, 2) p;
SELECT test.add_page(:a, 3);
SELECT test.add_todo(1, 'write tests'), test.add_highlight(3, 'bright');
UPDATE notebooks SET updated_at = '2026-02-02' WHERE notebook_uuid = 'nb-b';
SELECT jsonb_build_object('url', 'http://127.0.0.1:1/hook', 'secret', :'secret') AS config \gset
SELECT rmsync_connect(u, 'webhook', :'config') ->> 'state' AS state FROM generate_series(1, 2) u;
UPDATE rmsync.integration_configs SET reconcile_wanted = false, reconcile_after = NULL;
CREATE TEMP VIEW work AS SELECT user_id, notebook_uuid, item_type, count(*), min(priority) AS prio, bool_or(forced) AS forced, min(trigger_source) AS source
FROM rmsync.sync_queue GROUP BY 1, 2, 3 ORDER BY min(seq);
CREATE FUNCTION test.keys(j jsonb) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(k, ' ' ORDER BY k) FROM jsonb_object_keys(j) k $$;

--
-- rmsync_targets()
--
SELECT t ->> 'name' AS name, t -> 'item_types' AS types, t ->> 'granularity' AS per, t -> 'config_schema' -> 'required' AS required
FROM jsonb_array_elements(rmsync_targets()) t WHERE t ->> 'name' = 'webhook';

--
-- rmsync_trigger()
--
SELECT rmsync_trigger('nonsense');
SELECT rmsync_trigger('webhook', 'nonsense');
SELECT rmsync_trigger('webhook', max_items => -1);
SELECT rmsync_trigger('webhook', user_id => 99);
SELECT rmsync_trigger('webhook', notebook_uuids => '{no-such}');
SELECT rmsync_trigger('webhook', max_items => 0);
-- one type, in the spelling of the document; some notebooks; a limit
SELECT rmsync_trigger('webhook', 'notebook', user_id => 1);
SELECT * FROM work;
DELETE FROM rmsync.sync_queue;
SELECT rmsync_trigger('webhook', 'page_text', '{nb-a}');
SELECT * FROM work;
DELETE FROM rmsync.sync_queue;
SELECT rmsync_trigger(NULL, max_items => 2, user_id => 1);
SELECT * FROM work;
DELETE FROM rmsync.sync_queue;
-- all, for everybody: the page without a text is not among them
SELECT rmsync_trigger('all');
SELECT * FROM work;
SELECT count(*) FROM test.deliver();
-- what is equal is not queued again, but the notebooks, which are compared
-- when they are loaded; with force it is
SELECT rmsync_trigger('webhook', 'page', user_id => 1), rmsync_trigger('webhook', 'todo', user_id => 1);
SELECT rmsync_trigger('webhook', 'page', '{nb-a}', user_id => 1, force => true);
SELECT * FROM work;
SELECT count(*) FROM test.deliver();
SELECT rmsync_trigger('webhook', 'todo', '{nb-a}', user_id => 1, force => true);
SELECT rmsync_trigger('webhook', 'highlight', user_id => 1, force => true);
SELECT * FROM work;
SELECT count(*) FROM test.deliver();
-- nobody is connected to it, or not any more
SELECT rmsync_disable(2, 'webhook') ->> 'is_enabled' AS is_enabled;
SELECT rmsync_trigger('webhook', user_id => 2, force => true);
SELECT rmsync_enable(2, 'webhook') ->> 'is_enabled' AS is_enabled;
UPDATE rmsync.integration_configs SET reconcile_wanted = false, reconcile_after = NULL;

--
-- rmsync_queue(), rmsync_retry(), rmsync_cancel()
--
SELECT rmsync_queue();
UPDATE pages SET ocr_text = ocr_text || ', edited' WHERE ocr_text IS NOT NULL;
SELECT folded FROM rmsync.fold();
UPDATE rmsync.sync_queue SET status = 'failed', attempt = 5, error_code = 'rejected', error_message = 'The endpoint answered with HTTP status 400.' WHERE item_id = test.page_uuid(:a, 1);
UPDATE rmsync.sync_queue SET run_at = now() + interval '1 hour', attempt = 2, error_code = 'rejected' WHERE item_id = test.page_uuid(:a, 2);
UPDATE rmsync.sync_queue SET run_at = now() + interval '1 hour', error_code = 'unknown_outcome' WHERE item_id = test.page_uuid(:b, 1);
SELECT rmsync_queue() - 'items' AS counts, rmsync_queue(1) - 'items' AS of_one, rmsync_queue(99) AS of_nobody;
SELECT test.keys(rmsync_queue(1) -> 'items' -> 0) AS item_keys;
SELECT i ->> 'item_type' AS type, i ->> 'item_id' AS item, i -> 'target_names' AS targets, i ->> 'status' AS status, i ->> 'retry_count' AS retries, i ->> 'error_code' AS error
FROM jsonb_array_elements(rmsync_queue(1) -> 'items') i;
SELECT jsonb_array_length(rmsync_queue(1, status => 'failed') -> 'items') AS failed, jsonb_array_length(rmsync_queue(max_items => 2) -> 'items') AS two,
	jsonb_array_length(rmsync_queue(target_name => 'notion') -> 'items') AS elsewhere;
SELECT item_id, rmsync_retry(id) FROM rmsync.sync_queue WHERE run_at IS NOT NULL OR status = 'failed' ORDER BY item_id;
SELECT item_id, status, attempt, run_at IS NOT NULL AS waits, error_code, priority FROM rmsync.sync_queue ORDER BY priority, item_id;
SELECT rmsync_retry(-1), rmsync_retry(NULL), rmsync_cancel(-1), rmsync_cancel(NULL);
SELECT item_id, rmsync_cancel(id) FROM rmsync.sync_queue WHERE item_id IN (test.page_uuid(:a, 1), test.page_uuid(:b, 1)) ORDER BY item_id;
SELECT item_id FROM rmsync.sync_queue ORDER BY item_id;

--
-- rmsync_page_status(), rmsync_stats(), rmsync_status(), rmsync_integrations()
--
UPDATE rmsync.sync_queue SET status = 'failed', attempt = 5, error_message = 'no' WHERE item_id = test.page_uuid(:b, 2);
SELECT page_number, target_name, status, retry_count, next_try_at IS NOT NULL AS waits, synced_at IS NOT NULL AS synced, error_message FROM rmsync_page_status('nb-a');
SELECT page_number, target_name, status, retry_count, next_try_at IS NOT NULL AS waits, synced_at IS NOT NULL AS synced, error_message FROM rmsync_page_status('nb-b');
SELECT count(*) FROM rmsync_page_status('no-such');
SELECT count(*) FROM rmsync_page_status('nb-a', 2);
SELECT rmsync_stats(1), rmsync_stats(99);
SELECT rmsync_stats() -> 'total_syncs' AS all_users;
SELECT rmsync_status('webhook', 1) #- '{last_synced_at}', rmsync_status('webhook') -> 'connections' AS connections;
SELECT rmsync_status('notion', 1);
SELECT jsonb_array_length(rmsync_integrations()) AS all_users, test.keys(rmsync_integrations(1) -> 0) AS keys, rmsync_integrations(99) AS of_nobody;

--
-- rmsync_health()
--
SELECT test.keys(rmsync_health()) AS keys;
SELECT h ->> 'queue_processor' AS processor, h ->> 'attached' AS attached, h ->> 'instance_ok' AS instance_ok, h ->> 'master_key' AS master_key,
	h ->> 'stale_syncs_count' AS stale, h -> 'targets' -> 'webhook' ->> 'status' AS webhook, h -> 'targets' -> 'webhook' -> 'lane_states' AS states
FROM rmsync_health() h;
UPDATE rmsync.sync_queue SET created_at = now() - interval '1 hour', updated_at = now() - interval '1 hour';
UPDATE rmsync.integration_configs SET state = 'auth' WHERE user_id = 1;
SELECT h ->> 'stale_syncs_count' AS stale, h -> 'targets' -> 'webhook' ->> 'status' AS webhook FROM rmsync_health() h;
UPDATE rmsync.integration_configs SET state = 'auth' WHERE user_id = 2;
SELECT h -> 'targets' -> 'webhook' ->> 'status' AS webhook FROM rmsync_health() h;
UPDATE rmsync.integration_configs SET is_enabled = false;
SELECT h ->> 'stale_syncs_count' AS stale, h -> 'targets' -> 'webhook' ->> 'status' AS webhook FROM rmsync_health() h;
UPDATE rmsync.integration_configs SET is_enabled = true, state = 'active';

--
-- rmsync_preview(): the requests, no secret, nothing written
--
DELETE FROM rmsync.sync_queue;
UPDATE rmsync.sync_records SET page_number = 7 WHERE item_id = test.page_uuid(:a, 1);
SELECT step, method, url, body ->> 'type' AS type, body #>> '{data,text}' AS text FROM rmsync_preview('webhook', 1, 'nb-a');
SELECT bool_or(p::text LIKE '%whsec_%') AS secret FROM rmsync_preview('webhook') p;
SELECT connection_user, count(*) FROM rmsync_preview('webhook') GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM rmsync_preview('webhook', max_items => 1);
SELECT count(*) FROM rmsync_preview('notion');
SELECT count(*) FROM rmsync.sync_queue;

--
-- rmsync_enable(), rmsync_disable(), rmsync_disconnect()
--
SELECT rmsync_enable(99, 'webhook');
SELECT rmsync_disable(1, 'nonsense');
SELECT rmsync_disconnect(99, 'webhook');
SELECT rmsync_disable(NULL, NULL);
UPDATE rmsync.integration_configs SET state = 'held', state_reason = 'why', fail_streak = 4, blocked_until = now() + interval '1 hour' WHERE user_id = 1;
SELECT rmsync_enable(1, 'webhook') - '{id,created_at,updated_at}'::text[];
SELECT fail_streak, blocked_until FROM rmsync.integration_configs WHERE user_id = 1;
-- what must be resolved first stays, even when the connection is switched off
SELECT rmsync_trigger('webhook', user_id => 1, force => true) -> 'targets_processed' AS targets;
UPDATE rmsync.sync_records SET intent = '{"op": "updated"}' WHERE item_id = test.page_uuid(:a, 1);
SELECT rmsync_disable(1, 'webhook') -> 'is_enabled' AS is_enabled;
SELECT item_type, item_id FROM rmsync.sync_queue;
-- gone with its credentials, queue and ledger; the other user's stays
SELECT rmsync_disconnect(1, 'webhook');
SELECT user_id, count(*) FROM rmsync.sync_records GROUP BY 1;
SELECT user_id FROM rmsync.integration_configs;
SELECT count(*) FROM rmsync.sync_queue;

--
-- rmsync_wait()
--
CALL rmsync_wait('1 ms');
SELECT rmsync_trigger('webhook', user_id => 2, force => true) -> 'queued_count' AS queued;
CALL rmsync_wait('1 ms');
CALL rmsync_wait('1 ms', 1);
SELECT rmsync_disable(2, 'webhook') -> 'is_enabled' AS is_enabled;
CALL rmsync_wait('1 ms');
SELECT rmsync_enable(2, 'webhook') -> 'is_enabled' AS is_enabled;
UPDATE rmsync.integration_configs SET reconcile_wanted = false, reconcile_after = NULL;
CALL rmsync_wait('1 ms');

--
-- A session that acts for one user
--
SELECT rmsync_connect(1, 'webhook', :'config') -> 'state' AS state;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
SELECT rmsync_trigger('webhook', 'page', user_id => 2, force => true) -> 'queued_count' AS queued;
SELECT min(id) AS theirs FROM rmsync.sync_queue WHERE user_id = 2 \gset
SET rmsync.user_id = 'me';
SET rmsync.user_id = '1';
SELECT rmsync_connect(2, 'webhook', :'config');
SELECT rmsync_trigger('webhook', user_id => 2);
SELECT rmsync_disable(2, 'webhook');
SELECT rmsync_disconnect(2, 'webhook');
SELECT rmsync_enable(2, 'webhook');
SELECT rmsync_queue(2);
SELECT rmsync_stats(2);
SELECT rmsync_status('webhook', 2);
SELECT rmsync_integrations(2);
SELECT count(*) FROM rmsync_preview('webhook', 2);
SELECT count(*) FROM rmsync_page_status('nb-c', 2);
-- everything without a name is about that user
SELECT i ->> 'user_id' AS user_id FROM jsonb_array_elements(rmsync_integrations()) i;
SELECT rmsync_status('webhook') -> 'connections' AS connections;
SELECT count(*) FROM rmsync_page_status('nb-c');
SELECT rmsync_trigger('webhook', 'page') -> 'queued_count' AS queued;
RESET rmsync.user_id;
SELECT user_id, count(*) > 0 AS some FROM rmsync.sync_queue GROUP BY 1 ORDER BY 1;
SET rmsync.user_id = '1';
SELECT rmsync_retry(:theirs), rmsync_cancel(:theirs);
RESET rmsync.user_id;

--
-- Roles: nothing for anybody, functions for whom they are granted to, tables
-- by row-level security
--
CREATE ROLE regress_rmsync_app;
GRANT USAGE ON SCHEMA rmsync, host TO regress_rmsync_app;
SET ROLE regress_rmsync_app;
SELECT rmsync_queue();
SELECT rmsync_connect(1, 'webhook', :'config');
CALL rmsync_run();
SELECT * FROM rmsync.sync_queue;
SELECT rmsync.decrypt(1, 'x');
SELECT rmsync.fold();
SELECT rmsync.effective_user(1);
RESET ROLE;
GRANT EXECUTE ON FUNCTION rmsync_queue, rmsync_connect, rmsync_disconnect TO regress_rmsync_app;
GRANT EXECUTE ON PROCEDURE rmsync_run TO regress_rmsync_app;
GRANT SELECT ON rmsync.sync_queue, rmsync.integration_configs, rmsync.sync_records TO regress_rmsync_app;
SET ROLE regress_rmsync_app;
SELECT count(*) FROM rmsync.sync_queue;
SET rmsync.user_id = '2';
SELECT DISTINCT user_id FROM rmsync.sync_queue;
SELECT user_id FROM rmsync.integration_configs;
SELECT (rmsync_queue() ->> 'pending')::int > 0 AS pending;
SELECT rmsync_connect(2, 'webhook', :'config') -> 'state' AS state;
SELECT rmsync_connect(1, 'webhook', :'config');
CALL rmsync_run();
SELECT rmsync_disconnect(2, 'webhook') ->> 'target_name' AS disconnected;
SELECT count(*) FROM rmsync.sync_queue;
RESET ROLE;
RESET rmsync.user_id;
DROP OWNED BY regress_rmsync_app;
DROP ROLE regress_rmsync_app;
\i :end
