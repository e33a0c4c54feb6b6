--
-- rmsync_webhook_receive(): signatures, handshake, duplicates, what is marked
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
CREATE FUNCTION test.sign(body text, token text DEFAULT 'secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('Content-Type', 'application/json',
		'X-Notion-Signature', 'sha256=' || encode(hmac(convert_to(body, 'UTF8'), convert_to(token, 'UTF8'), 'sha256'), 'hex'))
$$;
CREATE FUNCTION test.receive(body text, headers jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
	SELECT rmsync_webhook_receive('notion', coalesce(headers, test.sign(body)), convert_to(body, 'UTF8'))
$$;
CREATE FUNCTION test.event(id text, type text, entity text, more jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT (jsonb_build_object('id', id, 'type', type, 'entity', jsonb_build_object('id', entity, 'type', split_part(type, '.', 1)),
		'subscription_id', 'sub-1', 'data', '{}'::jsonb) || more)::text
$$;
CREATE TEMP VIEW marked AS
SELECT user_id, target_name, external_id, kind FROM rmsync.remote_changes ORDER BY 1, 2, 3, 4;

-- two users with objects at Notion
SELECT rmsync_connect(u, 'notion', '{"api_token": "ntn_x", "database_id": "11111111-0000-4000-8000-000000000001"}') ->> 'state' AS state
FROM generate_series(1, 2) u;
INSERT INTO rmsync.sync_records (user_id, target_name, item_type, item_id, lane_id, external_id, status)
SELECT c.user_id, t, i, i || '-1', c.id, 'aaaaaaaa-0000-4000-8000-0000000000' || c.user_id || x, 'success'
FROM rmsync.integration_configs c, (VALUES ('notion', 'notebook_metadata', '1'), ('notion', 'page_text', '2'), ('notion-todos', 'todo', '3')) v (t, i, x);
UPDATE rmsync.integration_configs SET remote = '{"database_id": "11111111-0000-4000-8000-000000000001", "data_source_id": "dddddddd-0000-4000-8000-000000000001", "columns": {"title": "title", "tags": "x"}}'
WHERE user_id = 1;

--
-- The handshake is shown, and nothing else happens
--
SELECT test.receive('{"verification_token": "secret_shown"}', '{}');
SELECT count(*) FROM rmsync.webhook_secrets;
-- nothing is believed before somebody stored the token
SELECT test.receive(test.event('e0', 'page.deleted', 'aaaaaaaa-0000-4000-8000-000000000011'));
SELECT rmsync_webhook_verification(NULL, 'nonsense', 'secret_x');
SELECT rmsync_webhook_verification(NULL, 'notion', '');
SELECT rmsync_webhook_verification(NULL, 'notion', NULL);
SELECT rmsync_webhook_verification(NULL, 'notion', 'secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl');
SELECT user_id, target_name, subscription_id, token_encrypted LIKE 'gAAAAA%' AS encrypted FROM rmsync.webhook_secrets;

--
-- Signatures: a known one, names of headers in any case, what must be refused
--
\set body '{"id":"e1","type":"page.properties_updated"}'
\set good 'sha256=625f2a9fa3beb6659ea3068be15ec95a47856430e3fa0baa4c65e098c8041d73'
SELECT test.receive(:'body', jsonb_build_object('X-Notion-Signature', :'good'));
SELECT test.receive(:'body', jsonb_build_object('x-nOTION-signature', :'good'));
SELECT test.receive(:'body' || ' ', jsonb_build_object('X-Notion-Signature', :'good'));
SELECT test.receive(:'body', jsonb_build_object('X-Notion-Signature', left(:'good', -1) || '4'));
SELECT test.receive(:'body', jsonb_build_object('X-Notion-Signature', left(:'good', -1)));
SELECT test.receive(:'body', jsonb_build_object('X-Notion-Signature', :'good' || '0'));
SELECT test.receive(:'body', jsonb_build_object('X-Notion-Signature', substr(:'good', 8)));
SELECT test.receive(:'body', '{"X-Notion-Signature": ""}');
SELECT test.receive(:'body', '{"X-Notion-Signature": null}');
SELECT test.receive(:'body', '{"X-Other": "1"}');
SELECT test.receive(:'body', '[]');
SELECT test.receive('not JSON');
SELECT test.receive('[1]');
SELECT rmsync_webhook_receive('notion', '{}', '\xff00');
SELECT rmsync_webhook_receive('webhook', test.sign(:'body'), convert_to(:'body', 'UTF8'));
SELECT * FROM marked;

--
-- Events: marked once, if a lane knows the object
--
SELECT test.receive(test.event('e1a', 'page.properties_updated', 'aaaaaaaa-0000-4000-8000-000000000013'));
UPDATE rmsync.integration_configs SET two_way = true WHERE user_id = 1;
SELECT test.receive(test.event('e2', 'page.properties_updated', 'aaaaaaaa-0000-4000-8000-000000000013'));
SELECT test.receive(test.event('e2', 'page.properties_updated', 'aaaaaaaa-0000-4000-8000-000000000013'));
SELECT test.receive(test.event('e3', 'page.properties_updated', 'AAAAAAAA-0000-4000-8000-000000000013'));
SELECT test.receive(test.event('e4', 'page.deleted', 'aaaaaaaa-0000-4000-8000-000000000021'));
-- a block is not a page; strangers; events of no concern; no event
SELECT test.receive(test.event('e5', 'page.deleted', 'aaaaaaaa-0000-4000-8000-000000000012'));
SELECT test.receive(test.event('e6', 'page.deleted', 'eeeeeeee-0000-4000-8000-000000000000'));
SELECT test.receive(test.event('e7', 'comment.created', 'aaaaaaaa-0000-4000-8000-000000000013'));
SELECT test.receive('{"type": "page.deleted"}');
SELECT test.receive(test.event('e8', 'page.deleted', NULL));
SELECT * FROM marked;

--
-- Columns changed: they are looked at again, what was known is kept
--
SELECT test.receive(test.event('e9', 'data_source.schema_updated', 'dddddddd-0000-4000-8000-000000000001'));
SELECT test.receive(test.event('e10', 'data_source.schema_updated', 'dddddddd-0000-4000-8000-000000000002'));
SELECT user_id, remote -> 'stale' AS stale, remote #> '{columns,tags}' AS known FROM rmsync.integration_configs ORDER BY 1;

--
-- What calls for something: nothing that we did, nothing that is the reader's
--
TRUNCATE rmsync.remote_changes;
UPDATE rmsync.sync_records SET metadata_json = '{"bot": "b0000000-0000-4000-8000-000000000001"}'
WHERE external_id LIKE '%11' OR external_id LIKE '%21';
UPDATE rmsync.integration_configs SET remote = '{"data_source_id": "dddddddd-0000-4000-8000-000000000001", "columns": {"title": "title", "id": "%3A%3EFq", "tags": null}}';
UPDATE rmsync.integration_configs SET two_way = user_id = 1;
CREATE FUNCTION test.by(VARIADIC authors text[]) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('authors', coalesce(jsonb_agg(CASE a WHEN 'us' THEN '{"id": "B0000000-0000-4000-8000-000000000001", "type": "bot"}'::jsonb
		WHEN 'bot' THEN '{"id": "b0000000-0000-4000-8000-000000000002", "type": "bot"}'
		WHEN 'person' THEN '{"id": "c0000000-0000-4000-8000-000000000001", "type": "person"}' END) FILTER (WHERE a <> ''), '[]')) FROM unnest(authors) a
$$;
SELECT n, type, user_id, authors, columns,
	test.receive(test.event('n' || n, type, CASE WHEN type LIKE 'page.%' THEN 'aaaaaaaa-0000-4000-8000-0000000000' || user_id || '1'
		ELSE 'dddddddd-0000-4000-8000-000000000001' END,
		test.by(VARIADIC authors) || jsonb_build_object('data', CASE WHEN columns IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('updated_properties', columns) END))) ->> 'reason' AS reason
FROM (VALUES
	(1, 'page.deleted', 1, '{us}'::text[], NULL::text[]),
	(2, 'page.deleted', 1, '{us,person}', NULL),
	(3, 'page.deleted', 1, '{bot}', NULL),
	(4, 'page.deleted', 1, '{""}', NULL),
	(5, 'page.undeleted', 1, '{person}', NULL),
	(6, 'page.moved', 1, '{person}', NULL),
	(7, 'page.content_updated', 1, '{person}', NULL),
	(8, 'page.content_updated', 2, '{person}', NULL),
	(9, 'page.content_updated', 1, '{us}', NULL),
	(10, 'page.properties_updated', 2, '{person}', '{title}'),
	(11, 'page.properties_updated', 2, '{us,person}', '{x,title}'),
	(12, 'page.properties_updated', 2, '{person}', '{x}'),
	(13, 'page.properties_updated', 2, '{person}', '{":%3eFq"}'),
	(14, 'page.properties_updated', 2, '{bot}', '{title}'),
	(15, 'page.properties_updated', 2, '{""}', '{title}'),
	(16, 'page.properties_updated', 2, '{person}', NULL),
	(17, 'data_source.schema_updated', 0, '{us}', NULL),
	(18, 'data_source.schema_updated', 0, '{person}', NULL)) v (n, type, user_id, authors, columns) ORDER BY n;
SELECT * FROM marked;
SELECT rmsync.url_decode(x) FROM unnest(ARRAY['a%3Ab', '%3a', '%', '%zz', '%00', 'ä%25', '']) x;

--
-- What was looked at: what is gone is queued, what waited goes on
--
SELECT id AS lane FROM rmsync.integration_configs WHERE user_id = 2 \gset
INSERT INTO rmsync.sync_queue (user_id, lane_id, target_name, item_type, item_id, notebook_uuid, version, seq, run_at, error_code)
SELECT 2, :lane, 'notion', 'page_text', i, 'notebook_metadata-1', 1, 1, now() + interval '1 hour', c FROM (VALUES ('w-1', 'page_lost'), ('w-2', 'unknown_outcome')) v (i, c);
CREATE TEMP VIEW queued AS
SELECT item_type, item_id, notebook_uuid, forced, trigger_source, run_at IS NULL AS now FROM rmsync.sync_queue WHERE user_id = 2 ORDER BY 1, 2;
CREATE FUNCTION test.look(seen text, lost text) RETURNS int LANGUAGE sql AS $$
	SELECT rmsync.take_remote(c.id, c.config_epoch, jsonb_build_object('since', clock_timestamp(), 'found', '[]'::jsonb, 'seen', seen::jsonb, 'lost', lost::jsonb, 'end', true), 600)
	FROM rmsync.integration_configs c WHERE c.user_id = 2
$$;
SELECT test.look('["aaaaaaaa-0000-4000-8000-000000000099"]', '[]');
SELECT * FROM queued;
SELECT test.look('["aaaaaaaa-0000-4000-8000-000000000021"]', '["aaaaaaaa-0000-4000-8000-000000000021"]');
SELECT * FROM queued;
DELETE FROM rmsync.sync_queue WHERE item_type = 'notebook_metadata';
INSERT INTO rmsync.remote_changes (user_id, target_name, external_id, kind) VALUES (2, 'notion', 'aaaaaaaa-0000-4000-8000-000000000021', 'page.undeleted');
SELECT test.look('["aaaaaaaa-0000-4000-8000-000000000021"]', '[]');
SELECT * FROM queued;
SELECT * FROM marked WHERE user_id = 2;
SELECT poll_at, polled_at FROM rmsync.integration_configs WHERE user_id = 2;
DELETE FROM rmsync.sync_queue;

--
-- The subscription's name is learned; a user's own one reaches nobody else
--
SELECT user_id, target_name, subscription_id FROM rmsync.webhook_secrets;
SELECT test.receive(test.event('e11', 'page.deleted', 'aaaaaaaa-0000-4000-8000-000000000011', '{"subscription_id": "other"}'));
SELECT rmsync_webhook_verification(2, 'notion', 'secret_of_user_2');
TRUNCATE rmsync.remote_changes;
SELECT test.receive(b, test.sign(b, 'secret_of_user_2')) FROM test.event('e12', 'page.moved', 'aaaaaaaa-0000-4000-8000-000000000011', '{"subscription_id": "sub-2"}') b;
SELECT test.receive(b, test.sign(b, 'secret_of_user_2')) FROM test.event('e13', 'page.moved', 'aaaaaaaa-0000-4000-8000-000000000021', '{"subscription_id": "sub-2"}') b;
SELECT * FROM marked;
SET rmsync.user_id = 1;
SELECT rmsync_webhook_verification(2, 'notion', 'secret_x');
RESET rmsync.user_id;

--
-- Trimmed after a week
--
UPDATE rmsync.webhook_events SET received_at = now() - interval '8 days' WHERE event_id = 'e2';
UPDATE rmsync.remote_changes SET at = now() - interval '8 days';
SELECT rmsync.trim_webhooks();
SELECT count(*) FILTER (WHERE event_id = 'e2') AS old, count(*) > 5 AS others FROM rmsync.webhook_events;
SELECT * FROM marked;

\i :end
