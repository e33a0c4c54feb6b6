--
-- Two-way completion: the merge, what the host is written, when to look
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
SET timezone = 'UTC';

--
-- The merge: every case of what was agreed, and of both sides.  Nobody knows
-- what was agreed in the last ones: the newer edit wins, in one minute "done".
--
SELECT base, host, remote, rmsync.merge_completion(base, host, '2026-01-01 10:00:30', remote, '2026-01-01 10:00') AS merged
FROM unnest(ARRAY[false, true, NULL]) base, unnest(ARRAY[false, true]) host, unnest(ARRAY[false, true]) remote
ORDER BY base NULLS LAST, host, remote;
SELECT host, host_at::time, remote, remote_at::time, rmsync.merge_completion(NULL, host, host_at, remote, remote_at) AS merged
FROM (VALUES (false, true), (true, false)) v (host, remote),
	(VALUES ('2026-01-01 10:00:59'::timestamptz, '2026-01-01 10:01'::timestamptz), ('2026-01-01 10:01', '2026-01-01 10:01'),
		('2026-01-01 10:01:59', '2026-01-01 10:01'), ('2026-01-01 10:02', '2026-01-01 10:01'), (NULL, '2026-01-01 10:01'),
		('2026-01-01 10:02', NULL)) t (host_at, remote_at)
ORDER BY host, host_at NULLS LAST, remote_at NULLS LAST;

--
-- What a target says, with a box and with a state: one of them was changed
--
SELECT base, before, ticked, state, rmsync.remote_completion(base, before, ticked, state) AS says
FROM (VALUES
	(false, '{}', false, false), (false, '{}', true, false), (false, '{}', false, true), (false, '{}', true, true),
	(true, '{}', true, true), (true, '{}', false, true), (true, '{}', true, false), (true, '{}', false, false),
	(false, '{}', true, NULL), (false, '{}', NULL, true), (true, '{}', NULL, true),
	-- the other one says still what it said
	(true, '{"state": false}', true, false), (true, '{"state": false}', false, false), (true, '{"state": false}', true, true),
	(true, '{"ticked": false}', false, true), (true, '{"ticked": false}', false, false), (true, '{"ticked": false}', true, true),
	(false, '{"state": true}', false, true), (false, '{"state": true}', true, true),
	-- nobody knows what was agreed
	(NULL, '{}', true, false), (NULL, '{}', false, true), (NULL, '{}', false, false), (NULL, '{}', NULL, false), (NULL, '{}', false, NULL)
	) v (base, b, ticked, state), LATERAL (SELECT b::jsonb AS before) x;
SELECT rmsync.said_otherwise(true, true, false), rmsync.said_otherwise(true, false, true), rmsync.said_otherwise(false, NULL, false);

--
-- Connections: the field, and where it makes sense
--
SELECT test.add_user(u) FROM generate_series(1, 3) u;
SELECT test.add_notebook(1, 'nb', 'Diary') AS nb \gset
SELECT test.add_page(:nb, 1, 'text') AS page \gset
SELECT test.add_todo(:page, 'first') AS one, test.add_todo(:page, 'second') AS two \gset
\set source '{"api_token": "ntn_x", "data_source_id": "11111111-0000-4000-8000-000000000001"}'
SELECT rmsync_connect(1, 'notion', :'source'::jsonb || '{"two_way": true}');
SELECT rmsync_connect(1, 'notion', :'source'::jsonb || '{"two_way": "yes", "todos": "blocks"}');
SELECT rmsync_connect(2, 'notion', :'source'::jsonb || '{"two_way": true, "todos": "blocks"}') -> 'two_way' AS two_way;
SELECT rmsync_connect(3, 'notion-todos', :'source') ? 'two_way' AS two_way;
SELECT rmsync_connect(1, 'notion-todos', :'source'::jsonb || '{"two_way": true}') -> 'two_way' AS two_way;
SELECT id AS lane, config_epoch AS epoch FROM rmsync.integration_configs WHERE user_id = 1 \gset
-- one without it is no other destination, and what was read counts
UPDATE rmsync.integration_configs SET poll_state = '{"watermark": "2026-01-01T00:00:00.000Z"}', poll_error = 'x';
SELECT rmsync_connect(1, 'notion-todos', :'source'::jsonb || '{"two_way": true}') ? 'two_way' AS two_way;
SELECT two_way, config_epoch, poll_state, poll_error, poll_at <= now() AS at_once FROM rmsync.integration_configs WHERE id = :lane;
SELECT rmsync_connect(1, 'notion-todos', :'source') ? 'two_way' AS two_way;
SELECT two_way, config_epoch, poll_state, poll_at FROM rmsync.integration_configs WHERE id = :lane;
SELECT rmsync_connect(1, 'notion-todos', :'source'::jsonb || '{"two_way": true}') ? 'two_way' AS two_way;
SELECT two_way, config_epoch, poll_state FROM rmsync.integration_configs WHERE id = :lane;
UPDATE rmsync.integration_configs SET two_way = false WHERE user_id = 2;

--
-- When to look: once, though asked again and again
--
DELETE FROM rmsync.sync_queue;
SELECT rmsync.polls_due(600) = ARRAY[:lane::bigint] AS due;
SELECT rmsync.polls_due(600) IS NULL AS not_again;
SELECT user_id, target_name, item_type, priority, forced, status, trigger_source FROM rmsync.sync_queue;
SELECT poll_at BETWEEN now() + '500 s' AND now() + '700 s' AS later FROM rmsync.integration_configs WHERE id = :lane;
SELECT rmsync.poll_input(:lane, true) - '{since,began,settled}'::text[] AS input;
-- it is no item, and is given up by nobody
SELECT rmsync_stats(1) -> 'type_counts' AS types, rmsync_status('notion-todos', 1) #>> '{stats,pending}' AS pending;
UPDATE rmsync.integration_configs SET fail_streak = 1 WHERE id = :lane;
UPDATE rmsync.sync_queue SET created_at = now() - interval '9 days';
SELECT rmsync.give_up(10);
UPDATE rmsync.integration_configs SET fail_streak = 0 WHERE id = :lane;
DELETE FROM rmsync.sync_queue;
-- somebody named an object: that only
INSERT INTO rmsync.remote_changes (user_id, target_name, external_id, kind) VALUES (1, 'notion-todos', 'row-1', 'page.properties_updated');
SELECT rmsync.polls_due(600) = ARRAY[:lane::bigint] AS due;
SELECT forced FROM rmsync.sync_queue;
SELECT rmsync.poll_input(:lane, false) -> 'marks' AS marks, rmsync.poll_input(:lane, false) -> 'pages' AS pages;
-- its time comes meanwhile: all
UPDATE rmsync.integration_configs SET poll_at = now() WHERE id = :lane;
SELECT version FROM rmsync.sync_queue \gset
SELECT rmsync.polls_due(600) = ARRAY[:lane::bigint] AS due;
SELECT forced, version > :version AS newer FROM rmsync.sync_queue;
DELETE FROM rmsync.remote_changes;
-- the setting was lowered; quarantined stays quarantined; others do not
SELECT rmsync.polls_due(60) = ARRAY[:lane::bigint] AS due;
UPDATE rmsync.integration_configs SET poll_at = now() WHERE id = :lane;
UPDATE rmsync.sync_queue SET status = 'failed', error_code = 'quarantined';
SELECT rmsync.polls_due(600) IS NOT NULL AS due;
SELECT status FROM rmsync.sync_queue;
UPDATE rmsync.integration_configs SET poll_at = now() WHERE id = :lane;
UPDATE rmsync.sync_queue SET error_code = 'record_failed';
SELECT rmsync.polls_due(600) IS NOT NULL AS due;
SELECT status FROM rmsync.sync_queue;
-- not one that is stopped, nor switched off, nor one that did not ask
DELETE FROM rmsync.sync_queue;
UPDATE rmsync.integration_configs SET poll_at = now(), state = 'held';
SELECT rmsync.polls_due(600);
UPDATE rmsync.integration_configs SET state = 'active', is_enabled = user_id <> 1;
SELECT rmsync.polls_due(600);
UPDATE rmsync.integration_configs SET is_enabled = true;
SELECT rmsync_enable(1, 'notion-todos') ->> 'state' AS state;
UPDATE rmsync.integration_configs SET poll_at = NULL WHERE id <> :lane;

--
-- What was read is taken over
--
DELETE FROM rmsync.sync_queue;
INSERT INTO rmsync.sync_records (user_id, target_name, item_type, item_id, lane_id, notebook_uuid, content_hash, placement_hash, config_epoch, external_id, status, metadata_json, updated_at)
SELECT 1, 'notion-todos', 'todo', t.item_id, :lane, 'nb', h.content_hash, h.placement_hash, :epoch, 'row-' || t.title, 'success',
	'{"completed": false, "notebook": "Diary"}', '2026-01-01'
FROM rmsync.source_todo t, rmsync.item_hashes('todo', to_jsonb(t)) h WHERE t.user_id = 1;
DELETE FROM rmsync.sync_intake;
-- asks for the first to-do; how many changed, and what the ledger then has
CREATE FUNCTION test.take(found text, more jsonb DEFAULT '{}', since timestamptz DEFAULT now()) RETURNS int LANGUAGE sql AS $$
	SELECT rmsync.take_remote(c.id, c.config_epoch, jsonb_build_object('since', since, 'found', found::jsonb, 'seen', '[]'::jsonb) || more, 600)
	FROM rmsync.integration_configs c WHERE c.user_id = 1
$$;
CREATE FUNCTION test.seen(OUT text text, OUT completed boolean, OUT metadata jsonb, OUT equal boolean) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT t.text, t.completed, r.metadata_json, r.content_hash = h.content_hash
	FROM rmsync.source_todo t, rmsync.item_hashes('todo', to_jsonb(t)) h, rmsync.sync_records r
	WHERE t.user_id = 1 AND r.user_id = 1 AND r.item_id = t.item_id AND r.item_type = 'todo' ORDER BY t.row_id
$$;
-- ledger and source go together: what the trigger marks finds nothing to do
SELECT test.take('[{"id": "row-first", "ticked": true, "state": false, "edited": "2026-02-01T00:00:00.000Z"}]');
SELECT * FROM test.seen();
SELECT kind, count(*) FROM rmsync.sync_intake GROUP BY 1;
SELECT updated_at > (now() AT TIME ZONE 'UTC') - interval '1 minute' AS touched FROM todos WHERE id = :one;
SELECT * FROM rmsync.notebook_difference(:lane, 1, 4, :epoch, 'nb');
SELECT item_type, item_id = :'one' AS item, status, operation, error_code FROM rmsync.sync_log;
SELECT count(*) FROM rmsync.sync_queue;
-- the same again, and objects of others
SELECT test.take('[{"id": "row-first", "ticked": true, "state": false}, {"id": "theirs", "ticked": true}]');
-- the ledger is younger than the look: look again later, if it says something new
SELECT test.take('[{"id": "row-first", "ticked": false, "state": false}]', since => now() - interval '1 hour');
SELECT * FROM test.seen() LIMIT 1;
SELECT external_id, kind FROM rmsync.remote_changes;
SELECT poll_at <= now() + interval '60 s' AS soon FROM rmsync.integration_configs WHERE id = :lane;
UPDATE rmsync.sync_records SET updated_at = '2026-01-01';
SELECT test.take('[{"id": "row-first", "ticked": false, "state": false}]', '{"seen": ["row-first"], "end": true, "state": {"watermark": "2026-02-01T00:00:00.000Z"}}', clock_timestamp());
SELECT * FROM test.seen() LIMIT 1;
SELECT count(*) FROM rmsync.remote_changes;
SELECT poll_state, polled_at <= now() AS read, poll_error FROM rmsync.integration_configs WHERE id = :lane;
-- a query may be late: of an entry as young as that it says no more than where to look
UPDATE rmsync.sync_records SET updated_at = now() - interval '115 seconds';
SELECT test.take('[{"id": "row-first", "ticked": true, "state": false, "queried": true}]');
SELECT text, completed FROM test.seen() LIMIT 1;
SELECT external_id, kind FROM rmsync.remote_changes;
SELECT rmsync.polls_due(600) = ARRAY[:lane::bigint] AS at_once;
DELETE FROM rmsync.sync_queue;
-- both at once: the row itself is believed
SELECT test.take('[{"id": "row-first", "ticked": false, "queried": true}, {"id": "row-first", "ticked": true, "state": false}]', '{"seen": ["row-first"]}', clock_timestamp());
SELECT text, completed FROM test.seen() LIMIT 1;
DELETE FROM rmsync.remote_changes;
-- an older one
UPDATE rmsync.sync_records SET updated_at = now() - interval '125 seconds';
SELECT test.take('[{"id": "row-first", "ticked": false, "state": false, "queried": true}]');
SELECT text, completed FROM test.seen() LIMIT 1;
SELECT external_id, kind FROM rmsync.remote_changes;
-- a request is under way, or its outcome is not known
UPDATE rmsync.sync_records SET updated_at = '2026-01-01', intent = '{}';
SELECT test.take('[{"id": "row-first", "ticked": true}]');
SELECT external_id, kind FROM rmsync.remote_changes;
UPDATE rmsync.sync_records SET intent = NULL, status = 'pending', content_hash = '' WHERE item_id = :'one';
SELECT rmsync.enqueue(:lane, '{todo}', ARRAY[:'one'], '{nb}');
SELECT test.take('[{"id": "row-first", "ticked": true}]');
SELECT text, completed FROM test.seen() LIMIT 1;
DELETE FROM rmsync.sync_queue;
DELETE FROM rmsync.remote_changes;
-- the host changed, too: what it says is sent, by whoever sends it anyway
UPDATE rmsync.sync_records r SET status = 'success', intent = NULL, content_hash = h.content_hash FROM rmsync.source_todo t, rmsync.item_hashes('todo', to_jsonb(t)) h
WHERE r.item_id = t.item_id;
UPDATE todos SET completed = true WHERE id = :one;
SELECT test.take('[{"id": "row-first", "ticked": false}]');
SELECT * FROM test.seen() LIMIT 1;
-- both say the same by now
UPDATE rmsync.sync_records SET updated_at = '2026-01-01';
SELECT test.take('[{"id": "row-first", "ticked": true}]');
SELECT * FROM test.seen() LIMIT 1;
-- its text was edited and not sent yet: that is not forgotten
UPDATE todos SET text = 'edited' WHERE id = :one;
UPDATE rmsync.sync_records SET updated_at = '2026-01-01';
SELECT test.take('[{"id": "row-first", "ticked": false}]');
SELECT * FROM test.seen() LIMIT 1;
-- nobody knows what was agreed: the hash does ...
UPDATE rmsync.sync_records SET metadata_json = metadata_json - 'completed', updated_at = '2026-01-01';
SELECT test.take('[{"id": "row-second", "ticked": true, "edited": "2020-01-01T00:00:00.000Z"}]');
SELECT * FROM test.seen() OFFSET 1;
-- ... or it does not: the host's is newer and is sent
UPDATE rmsync.sync_records SET metadata_json = NULL, content_hash = 'x', updated_at = '2026-01-01';
UPDATE todos SET updated_at = '2026-03-01' WHERE id = :two;
SELECT test.take('[{"id": "row-second", "ticked": false, "edited": "2026-02-01T00:00:00.000Z"}]');
SELECT text, completed, metadata FROM test.seen() OFFSET 1;
SELECT item_id = :'two' AS item, trigger_source FROM rmsync.sync_queue;

--
-- What must not be written
--
UPDATE todos SET completed = false;
UPDATE rmsync.sync_records SET metadata_json = '{"completed": false}', updated_at = '2026-01-01';
\set tick '[{"id": "row-first", "ticked": true}]'
-- the connection no longer asks for it, is off, or leads elsewhere
UPDATE rmsync.integration_configs SET two_way = false;
SELECT test.take(:'tick');
UPDATE rmsync.integration_configs SET two_way = true, is_enabled = false;
SELECT test.take(:'tick');
UPDATE rmsync.integration_configs SET is_enabled = true;
SELECT rmsync.take_remote(:lane, :epoch + 1, jsonb_build_object('since', now(), 'found', :'tick'::jsonb), 600);
SELECT rmsync.take_remote(0, 1, jsonb_build_object('since', now(), 'found', :'tick'::jsonb), 600);
-- the to-do is of another user, or gone
SELECT rmsync.host_set_completed(2, :'one', false, true), rmsync.host_set_completed(1, '0', false, true);
-- the row changed since it was compared
SELECT rmsync.host_set_completed(1, :'one', true, false);
SELECT count(*) FROM todos WHERE completed;
-- the host refuses: the others are not lost, it is said, and not tried for ever
ALTER TABLE todos ADD CONSTRAINT never CHECK (NOT completed OR text <> 'edited');
SELECT test.take('[{"id": "row-first", "ticked": true}, {"id": "row-second", "ticked": true}]', '{"end": true}');
SELECT text, completed FROM test.seen();
SELECT poll_error FROM rmsync.integration_configs WHERE id = :lane;
SELECT status, error_code, message FROM rmsync.sync_log WHERE status = 'failed';
SELECT external_id, kind FROM rmsync.remote_changes;
SELECT test.take('[{"id": "row-first", "ticked": true}]', '{"end": true, "seen": ["row-first"]}', clock_timestamp());
SELECT count(*) FROM rmsync.remote_changes;
ALTER TABLE todos DROP CONSTRAINT never;
-- a column is gone
ALTER TABLE todos RENAME updated_at TO changed_at;
SELECT test.take(:'tick', '{"end": true}');
SELECT completed FROM todos WHERE id = :one;
SELECT message FROM rmsync.sync_log WHERE status = 'failed' ORDER BY at DESC LIMIT 1;
-- attached again, it does without
SELECT rmsync_attach('host') ->> 'host_kind' AS kind;
SELECT test.take(:'tick', '{"end": true}');
SELECT completed FROM todos WHERE id = :one;
SELECT poll_error FROM rmsync.integration_configs WHERE id = :lane;
ALTER TABLE todos RENAME changed_at TO updated_at;

--
-- A notebook in three parts: the pages in which its to-dos stand, and no others
--
DELETE FROM rmsync.sync_queue;
DELETE FROM rmsync.remote_changes;
SELECT id AS parts FROM rmsync.integration_configs WHERE user_id = 2 \gset
UPDATE rmsync.integration_configs SET two_way = true WHERE id = :parts;
INSERT INTO rmsync.sync_records (user_id, target_name, lane_id, status, item_type, item_id, notebook_uuid, external_id, metadata_json)
SELECT 2, 'notion', :parts, 'success', v.* FROM (VALUES
	('notebook_metadata', 'n-1', NULL, 'part-0', '{"parts": [{"n": 1}, {"id": "part-1", "n": 2}, {"id": "part-2", "n": 2}]}'::jsonb),
	('page_text', 'p-1', 'n-1', 'toggle-1', '{"notion_page_id": "part-0"}'),
	('highlight', 'h-2', 'n-1', 'callout-2', '{"notion_page_id": "part-1"}'),
	('page_text', 'p-2', 'n-1', 'toggle-2', '{"notion_page_id": "part-1"}'),
	('todo', 't-1', 'n-1', 'box-1', '{"notion_page_id": "part-2"}')) v;
INSERT INTO rmsync.remote_changes (user_id, target_name, external_id, kind, at) VALUES
	(2, 'notion', 'part-0', 'page.content_updated', now() - interval '4 s'), (2, 'notion', 'part-1', 'page.content_updated', now() - interval '3 s'),
	(2, 'notion', 'part-1', 'page.deleted', now() - interval '2 s'), (2, 'notion', 'part-2', 'page.content_updated', now() - interval '1 s');
SELECT rmsync.poll_input(:parts, true) -> 'parts' AS parts, rmsync.poll_input(:parts, true) -> 'pages' AS pages, rmsync.poll_input(:parts, false) -> 'parts' AS told;
SELECT jsonb_array_elements(rmsync.poll_input(:parts, false) -> 'marks') AS mark;
CREATE FUNCTION test.look(lost jsonb) RETURNS int LANGUAGE sql AS $$
	SELECT rmsync.take_remote(c.id, c.config_epoch, jsonb_build_object('since', clock_timestamp(), 'found', '[]'::jsonb,
		'seen', '["part-0", "part-1", "part-2"]'::jsonb, 'lost', lost, 'end', true), 600) FROM rmsync.integration_configs c WHERE c.user_id = 2
$$;
-- one that is gone is found by who delivers what stands in it, unless that waits already
SELECT test.look('["part-1"]');
SELECT item_type, item_id, notebook_uuid, forced, trigger_source FROM rmsync.sync_queue;
SELECT count(*) FROM rmsync.remote_changes;
UPDATE rmsync.sync_queue SET error_code = 'page_lost', run_at = now() + interval '1 hour', forced = false;
INSERT INTO rmsync.remote_changes (user_id, target_name, external_id, kind) VALUES (2, 'notion', 'part-1', 'page.deleted');
SELECT test.look('["part-1"]');
SELECT item_id, forced, run_at > now() AS waits FROM rmsync.sync_queue;
INSERT INTO rmsync.remote_changes (user_id, target_name, external_id, kind) VALUES (2, 'notion', 'part-1', 'page.undeleted');
SELECT test.look('[]');
SELECT item_id, forced, run_at > now() AS waits FROM rmsync.sync_queue;
DELETE FROM rmsync.sync_queue;

-- not attached
SELECT rmsync_detach() IS NOT NULL AS detached;
SELECT rmsync.host_set_completed(1, :'one', true, false), test.take('[{"id": "row-first", "ticked": false}]');
SELECT completed FROM todos WHERE id = :one;
-- by nobody but us
SELECT p.prosecdef, p.proconfig, p.proacl::text LIKE '{=X%' AS public FROM pg_proc p WHERE p.oid = 'rmsync.host_set_completed'::regproc;

--
-- The other host schema
--
CREATE SCHEMA document;
SET search_path = document, public;
\set document_tables :abs_srcdir '/host/document.sql'
\set ECHO none
\i :document_tables
\set ECHO all
SELECT rmsync_attach('document') ->> 'host_kind' AS kind;
INSERT INTO users (id, email) VALUES (1, 'a@example.org');
INSERT INTO todos (user_id, notebook_uuid, text, updated_at) VALUES (1, 'nb', 'to do', '2026-01-01') RETURNING id \gset
SELECT rmsync.host_set_completed(2, :'id', false, true), rmsync.host_set_completed(1, :'id', false, true);
SELECT completed, updated_at > '2026-01-01' AS touched FROM todos;
SELECT rmsync_detach() IS NOT NULL AS detached;
SET client_min_messages = warning;
DROP SCHEMA document CASCADE;
SET search_path = host, public;
\i :end
