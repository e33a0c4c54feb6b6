--
-- Procedures in which a person waits: their arguments, what they refuse, what
-- is told from their tables; rmsync_reconcile() and rmsync_todo_status()
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
SELECT test.add_user(1), test.add_user(2);
SELECT test.add_notebook(1, 'nb-a', 'Alpha') AS a, test.add_notebook(2, 'nb-b', 'Beta') AS b \gset
SELECT count(test.add_page(n, p, format('page %s of %s', p, n))) FROM unnest(ARRAY[:a, :b]) n, generate_series(1, 2) p;
SELECT count(test.add_todo(p, t)) FROM (VALUES (1, 'write tests'), (2, 'read them'), (3, 'of another user')) v (p, t);
UPDATE todos SET completed = true WHERE text = 'read them';
SELECT jsonb_build_object('url', 'http://127.0.0.1:1/hook', 'secret', :'secret') AS config \gset
SELECT jsonb_build_object('api_token', 'ntn_secret', 'database_id', NULL) AS undecided \gset

--
-- Whom and what is it about?
--
CALL rmsync_test_connection(NULL);
CALL rmsync_test_connection('nonsense', 1);
CALL rmsync_test_connection('webhook');
CALL rmsync_test_connection('webhook', 1);
CALL rmsync_notion_refresh();
CALL rmsync_notion_refresh(1);
CALL rmsync_notion_create_database('0123456789abcdef0123456789abcdef');
CALL rmsync_notion_create_database('0123456789abcdef0123456789abcdef', user_id => 1);
CALL rmsync_notion_create_database(NULL, user_id => 1);
CALL rmsync_notion_create_database('a page', user_id => 1);
CALL rmsync_notion_create_database('0123456789abcdef0123456789abcdef0', user_id => 1);
CALL rmsync_notion_create_database('0123456789abcdef0123456789abcdef', NULL, user_id => 1);
CALL rmsync_notion_create_database('0123456789abcdef0123456789abcdef', E' \t', user_id => 1);
CALL rmsync_notion_create_database('0123456789abcdef0123456789abcdef', repeat('ä', 201), user_id => 1);
CALL rmsync_notion_create_database('0123456789abcdef0123456789abcdef', 'Notes', 'highlights', user_id => 1);
CALL rmsync_notion_create_database('01234567-89ab-cdef-0123-456789ABCDEF', repeat('ä', 200), 'todos', user_id => 1);
CALL rmsync_sync('nonsense');
CALL rmsync_sync('webhook', 'nonsense');
CALL rmsync_sync('webhook', max_items => -1);
CALL rmsync_sync('webhook', timeout => '-1 s');
CALL rmsync_sync('webhook', timeout => NULL);
SELECT rmsync_reconcile('nonsense');

--
-- Not in a transaction block, where it would stay open during the requests
--
BEGIN;
CALL rmsync_test_connection('webhook', 1);
ROLLBACK;
BEGIN;
CALL rmsync_notion_refresh(1);
ROLLBACK;
BEGIN;
CALL rmsync_notion_create_database('0123456789abcdef0123456789abcdef', user_id => 1);
ROLLBACK;
BEGIN;
CALL rmsync_sync();
ROLLBACK;

--
-- A session that acts for one user
--
SET rmsync.user_id = '2';
CALL rmsync_test_connection('webhook', 1);
CALL rmsync_notion_refresh(1);
CALL rmsync_sync(user_id => 1);
SELECT rmsync_reconcile(user_id => 1);
SELECT count(*) FROM rmsync_notion_databases(1);
SELECT count(*) FROM rmsync_notion_pages(1);
SELECT count(*) FROM rmsync_todo_status(user_id => 1);
RESET rmsync.user_id;

--
-- Nobody listens: the result says so, and no secret
--
SELECT rmsync_connect(1, 'webhook', :'config') ->> 'state' AS state;
SET rmsync.backoff_scale = 0;
-- the reason is libcurl's, its words differ between versions
CALL rmsync_test_connection('webhook', 1) \gset
SELECT :'result'::jsonb - 'message' AS result, :'result'::jsonb ->> 'message' ~* 'connect.* 127.0.0.1' AS message;
SET rmsync.allow_http = off;
CALL rmsync_test_connection('webhook', 1);
RESET rmsync.allow_http;
RESET rmsync.backoff_scale;
-- a stored configuration that no key opens
UPDATE rmsync.integration_configs SET config_encrypted = rmsync.encrypt(77, '{}') WHERE user_id = 1;
CALL rmsync_test_connection('webhook', 1);
SELECT state FROM rmsync.integration_configs WHERE user_id = 1;
SELECT rmsync_disconnect(1, 'webhook') - '{sync_records_deleted,queue_items_deleted}'::text[];

--
-- A connection to Notion whose database is chosen later
--
SELECT rmsync_connect(1, 'notion', :'undecided'::jsonb - 'database_id');
SELECT rmsync_connect(1, 'notion', :'undecided') ->> 'state' AS state;
SELECT rmsync_connect(1, 'notion', :'undecided'::jsonb || '{"lost_page": "sometimes"}');
SELECT rmsync_connect(1, 'notion-todos', :'undecided'::jsonb || '{"lost_page": "stop"}');
SELECT rmsync_connect(1, 'notion', :'undecided'::jsonb || '{"edits": "sometimes"}');
SELECT rmsync_connect(1, 'notion-todos', :'undecided'::jsonb || '{"edits": "in_place"}');
SELECT rmsync_connect(1, 'notion', :'undecided'::jsonb || '{"lost_page": "stop"}') ->> 'state' AS state;
SELECT config_epoch FROM rmsync.integration_configs WHERE user_id = 1;

--
-- What Notion showed, from objects as they are stored
--
SELECT rmsync.store_notion_objects(1, '[
	{"kind": "data_source", "id": "s1", "title": "One", "database_id": "d1", "notebooks": true, "todos": false, "parent_type": "page", "parent_id": "p1", "url": "https://n/d1", "last_edited": "2026-03-01 10:00:00+00"},
	{"kind": "data_source", "id": "s2", "title": "First", "database_id": "d2", "notebooks": false, "todos": true},
	{"kind": "data_source", "id": "s3", "title": "Second", "database_id": "d2", "notebooks": false, "todos": false, "last_edited": "2026-03-02 10:00:00+00"},
	{"kind": "data_source", "id": "s3", "title": "Second", "database_id": "d2", "notebooks": false, "todos": false},
	{"kind": "database", "id": "d2", "title": "Two", "parent_type": "workspace", "data_sources": [{"id": "s2", "name": "First"}, {"id": "s3", "name": "Second"}, {"id": "s4", "name": "Third"}]},
	{"kind": "page", "id": "p1", "title": "A page", "parent_type": "workspace"}]');
SELECT connection_user, id, title, url, parent_type, parent_id, data_sources, notebooks, todos FROM rmsync_notion_databases(1);
SELECT connection_user, id, title, parent_type, parent_id, last_edited IS NULL AS timeless FROM rmsync_notion_pages(1);
SELECT count(*) FROM rmsync_notion_databases(2);
SELECT rmsync.store_notion_objects(1, '[]');
SELECT count(*) FROM rmsync.notion_objects;
SELECT rmsync_disconnect(1, 'notion') - '{sync_records_deleted,queue_items_deleted}'::text[];

--
-- rmsync_reconcile(): compares, and queues the difference
--
SELECT rmsync_connect(u, 'webhook', :'config') ->> 'state' AS state FROM generate_series(1, 2) u;
UPDATE rmsync.integration_configs SET reconcile_wanted = false, reconcile_after = NULL;
SELECT rmsync_reconcile('webhook', 1);
SELECT user_id, item_type, count(*), min(priority) AS prio FROM rmsync.sync_queue GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM test.deliver();
-- equal: only notebooks are looked at
SELECT rmsync_reconcile(NULL, 1);
SELECT count(*) FROM test.deliver();
-- missed by every trigger
SET session_replication_role = replica;
UPDATE pages SET ocr_text = 'changed behind our back' WHERE notebook_id = :a;
RESET session_replication_role;
SELECT folded FROM rmsync.fold();
SELECT rmsync_reconcile('all', 1) - 'queued_count' AS result;
SELECT item_type, count(*) FROM rmsync.sync_queue GROUP BY 1 ORDER BY 1;
DELETE FROM rmsync.sync_queue;
-- held, and switched off
UPDATE rmsync.integration_configs SET state = 'held' WHERE user_id = 1;
SELECT rmsync_reconcile();
UPDATE rmsync.integration_configs SET is_enabled = false WHERE user_id = 2;
SELECT rmsync_reconcile();
UPDATE rmsync.integration_configs SET is_enabled = true, state = 'active';
DELETE FROM rmsync.sync_queue;

--
-- rmsync_todo_status()
--
SELECT text, completed, notebook, page_number, target_name, status, error_message FROM rmsync_todo_status('nb-a');
UPDATE rmsync.sync_records SET status = 'pending' WHERE item_type = 'todo' AND user_id = 1;
SELECT rmsync_trigger('webhook', 'todo', user_id => 1, force => true) -> 'queued_count' AS queued;
UPDATE rmsync.sync_queue SET status = 'failed', attempt = 5, error_message = 'no'
WHERE item_id = (SELECT item_id FROM rmsync_todo_status('nb-a') WHERE text = 'read them');
SELECT text, completed, target_name, status, retry_count, error_message FROM rmsync_todo_status(user_id => 1);
SELECT count(*) FROM rmsync_todo_status('no-such');
SELECT notebook, text, status FROM rmsync_todo_status(user_id => 2);

--
-- rmsync_sync() without a worker: what was queued waits
--
DELETE FROM rmsync.sync_queue;
CALL rmsync_sync('webhook', 'todo', user_id => 1, force => true, timeout => '10 ms');
SELECT item_type, count(*) FROM rmsync.sync_queue GROUP BY 1;
-- nothing to wait for
UPDATE rmsync.integration_configs SET state = 'auth', state_reason = 'The token was refused.' WHERE user_id = 1;
CALL rmsync_sync('webhook', 'page', '{nb-a}', user_id => 1, force => true, timeout => '1 hour');
CALL rmsync_sync('webhook', user_id => 99, timeout => '1 hour');
\i :end
