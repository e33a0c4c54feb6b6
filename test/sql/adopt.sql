--
-- rmsync_adopt(): what the host's own sync recorded becomes ledger entries
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
-- an id of Notion's
CREATE FUNCTION test.nid(n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT '11111111-2222-4333-8444-' || lpad($1::text, 12, '0')
$$;
-- a record of the host's; later ones are newer
CREATE SEQUENCE test.minute;
CREATE PROCEDURE test.host_record(user_id int, target text, item_type text, item_id text, page_uuid text, notebook_uuid text, page_number int,
	external_id text, content_hash text, status text DEFAULT 'success', metadata text DEFAULT NULL) LANGUAGE sql AS $$
	INSERT INTO sync_records (user_id, content_hash, target_name, external_id, item_type, item_id, status, metadata_json, created_at, updated_at, synced_at, page_uuid, notebook_uuid, page_number)
	SELECT $1, $9, $2, $8, $3, $4, $10, $11, t, t, t, $5, $6, $7
	FROM (SELECT timestamp '2026-02-01' + nextval('test.minute') * interval '1 minute' AS t) m
$$;
CREATE FUNCTION test.f1(nb text, n int, page text, txt text) RETURNS text LANGUAGE sql AS $$ SELECT rmsync_fingerprint_host_page($1, $2, $3, $4) $$;
CREATE FUNCTION test.f2(txt text) RETURNS text LANGUAGE sql AS $$ SELECT rmsync_fingerprint_host_initial($1) $$;
CREATE VIEW test.ledger AS
	SELECT r.user_id AS u, r.item_type AS type, right(r.item_id, 14) AS item, right(r.notebook_uuid, 4) AS nb, r.page_number AS page,
		right(r.external_id, 4) AS ext, r.status,
		CASE r.content_hash WHEN '' THEN '' WHEN rmsync.content_hash_page(p.text) THEN 'current' WHEN x.content_hash THEN 'current' ELSE '?' END AS content,
		CASE r.placement_hash WHEN '' THEN '' WHEN y.placement_hash THEN 'current' WHEN x.placement_hash THEN 'current' ELSE '?' END AS place,
		right(r.metadata_json ->> 'notion_page_id', 4) AS meta_page, right(r.metadata_json ->> 'notion_block_id', 4) AS meta_block,
		r.intent, r.config_epoch = c.config_epoch AND r.lane_id = c.id AS lane
	FROM rmsync.sync_records r
	JOIN rmsync.integration_configs c ON c.user_id = r.user_id AND c.target_name = r.target_name
	LEFT JOIN rmsync.source_page p ON r.item_type = 'page_text' AND p.user_id = r.user_id AND p.item_id = r.item_id AND p.live
	LEFT JOIN LATERAL rmsync.item_hashes('page_text', to_jsonb(p)) y ON true
	LEFT JOIN rmsync.source_todo t ON r.item_type = 'todo' AND t.user_id = r.user_id AND t.item_id = r.item_id
	LEFT JOIN LATERAL rmsync.item_hashes('todo', to_jsonb(t)) x ON true
	ORDER BY r.user_id, r.item_type, r.notebook_uuid, r.page_number, r.item_id COLLATE "C";

--
-- Nothing to take over
--
SELECT rmsync_adopt('nonsense');
SELECT rmsync_adopt('notion');
SELECT rmsync_adopt('notion', preview => true) ->> 'users' AS users;

--
-- Connections: legacy JSON, the host's derivation, and what cannot be taken over
--
SELECT test.add_user(u) FROM unnest('{1,2,3,42,43}'::int[]) u;
INSERT INTO integration_configs (user_id, target_name, config_encrypted, is_enabled) VALUES
	(1, 'notion', '{"notion_token": "ntn_one", "database_id": "aaaaaaaabbbbccccddddeeeeeeeeeeee", "workspace_id": "w", "workspace_name": "W", "database_title": null, "available_properties": ["x"]}', true),
	-- contracts/host.md 3: encrypted by the host itself; its token is none of Notion's
	(42, 'notion', 'gAAAAABndIWAAAECAwQFBgcICQoLDA0OD-CN5NaVUvqT_jiGgdxs66kJQoGNu_i_w9W0qmnyq5S14ybWEO-BW85dwmuexvpZwP-OMho9P-ZPpaBTgBh9IT5qYu4K-ILjwZ4FEdY3a3l9DgyNTy7iIEbUIxBvvC4b3GAzpgGMPaccDR737wUDi6g=', false),
	-- and another user's
	(43, 'notion', 'gAAAAABndIWAAAECAwQFBgcICQoLDA0OD-CN5NaVUvqT_jiGgdxs66kJQoGNu_i_w9W0qmnyq5S14ybWEO-BW85dwmuexvpZwP-OMho9P-ZPpaBTgBh9IT5qYu4K-ILjwZ4FEdY3a3l9DgyNTy7iIEbUIxBvvC4b3GAzpgGMPaccDR737wUDi6g=', false);
SET rmsync.key_derivation = 'rmirror';
INSERT INTO integration_configs (user_id, target_name, config_encrypted, is_enabled)
SELECT 2, 'notion', rmsync.encrypt(2, '{"access_token": "ntn_two", "workspace_id": "w2", "workspace_name": "W2", "database_id": "aaaaaaaa-bbbb-cccc-dddd-ffffffffffff", "database_title": "rMirror Notebooks", "available_properties": []}'), false;
RESET rmsync.key_derivation;

--
-- Records, every row shape
--
-- user 1: what the worker writes, and the rest
SELECT test.add_notebook(1, 'nb-1', 'One') AS n1 \gset
SELECT test.add_notebook(1, 'nb-2', 'Two') AS n2 \gset
SELECT test.add_notebook(1, 'nb-3', 'Three') AS n3 \gset
SELECT test.add_notebook(1, 'nb-4', 'Gone') AS n4 \gset
SELECT test.add_notebook(1, 'nb-5', 'New') AS n5 \gset
SELECT test.add_page(:n1, 1, 'F1, equal') AS p1 \gset
SELECT test.add_page(:n1, 2, '  F2, equal  ') AS p2 \gset
SELECT test.add_page(:n1, 3, 'F1, text has changed') AS p3 \gset
SELECT test.add_page(:n1, 4, 'F1, number has changed') AS p4 \gset
SELECT test.add_page(:n1, 5, 'never delivered') AS p5 \gset
SELECT test.add_page(:n1, 6) AS p6 \gset
SELECT test.add_page(:n1, 7, 'quota') AS p7 \gset
UPDATE pages SET ocr_text = '', ocr_status = 'pending_quota' WHERE id = :p7;
SELECT test.add_page(:n1, 8, 'process-queue, F1') AS p8 \gset
SELECT test.add_page(:n1, 9, 'process-queue, F2') AS p9 \gset
SELECT test.add_page(:n1, 10, 'a legacy page') AS p10 \gset
UPDATE pages SET page_uuid = NULL WHERE id = :p10;
SELECT test.add_page(:n1, 11, 'of several, the newest') AS p11 \gset
SELECT test.add_page(:n1, 12, 'only failures') AS p12 \gset
SELECT test.add_page(:n1, 13, 'the notebook''s page as block') AS p13 \gset
SELECT test.add_page(:n1, 14, 'no id of Notion''s') AS p14 \gset
SELECT test.add_page(:n2, 1, 'migrated') AS p21 \gset
SELECT test.add_page(:n3, 1, 'of a notebook without a record') AS p31 \gset
SELECT test.add_page(:n3, 2, 'came from notebook 1') AS p32 \gset
SELECT test.add_page(:n4, 1, 'in the trash') AS p41 \gset
UPDATE notebooks SET deleted = true WHERE id = :n4;
SELECT test.add_page(:n5, 1, 'a new notebook') AS p51 \gset
CREATE FUNCTION test.p(page int) RETURNS text LANGUAGE sql AS $$ SELECT page_uuid::text FROM pages WHERE id = $1 $$;

-- notebooks: worker, initial sync; trigger, twice; metadata
CALL test.host_record(1, 'notion', 'notebook', :'n1', NULL, 'nb-1', NULL, replace(test.nid(1), '-', ''), 'notebook');
CALL test.host_record(1, 'notion', 'notebook', 'nb-2', NULL, NULL, NULL, test.nid(99), 'f10 a');
CALL test.host_record(1, 'notion', 'notebook', 'nb-2', NULL, NULL, NULL, test.nid(2), 'f10 b');
CALL test.host_record(1, 'notion', 'notebook_metadata', 'nb-1', NULL, NULL, NULL, test.nid(1), 'f9');
CALL test.host_record(1, 'notion', 'notebook', :'n4', NULL, 'nb-4', NULL, test.nid(4), 'notebook');
-- pages: worker
CALL test.host_record(1, 'notion', 'page_text', :'p1', test.p(:p1), 'nb-1', 1, test.nid(101), test.f1('nb-1', 1, test.p(:p1), 'F1, equal'));
CALL test.host_record(1, 'notion', 'page_text', :'p2', test.p(:p2), 'nb-1', 2, test.nid(102), test.f2('  F2, equal  '));
CALL test.host_record(1, 'notion', 'page_text', :'p3', test.p(:p3), 'nb-1', 3, test.nid(103), test.f1('nb-1', 3, test.p(:p3), 'F1, the text was'));
CALL test.host_record(1, 'notion', 'page_text', :'p4', test.p(:p4), 'nb-1', 3, test.nid(104), test.f1('nb-1', 3, test.p(:p4), 'F1, number has changed'));
CALL test.host_record(1, 'notion', 'page_text', :'p7', test.p(:p7), 'nb-1', 7, test.nid(107), test.f1('nb-1', 7, test.p(:p7), 'quota'));
-- process-queue
CALL test.host_record(1, 'notion', 'page_text', :'p8', NULL, NULL, NULL, test.nid(108), test.f1('nb-1', 8, test.p(:p8), 'process-queue, F1'));
CALL test.host_record(1, 'notion', 'page_text', :'p9', NULL, NULL, NULL, test.nid(109), test.f2('process-queue, F2'));
CALL test.host_record(1, 'notion', 'page_text', :'p10', NULL, 'nb-1', 10, test.nid(110), test.f1('nb-1', 10, NULL, 'a legacy page'));
-- duplicates: an older success, a newer one, a failure after that, one without a block
CALL test.host_record(1, 'notion', 'page_text', :'p11', NULL, NULL, NULL, test.nid(911), test.f2('of several, an older'));
CALL test.host_record(1, 'notion', 'page_text', :'p11', test.p(:p11), 'nb-1', 11, test.nid(111), test.f2('of several, the newest'));
CALL test.host_record(1, 'notion', 'page_text', :'p11', test.p(:p11), 'nb-1', 11, test.nid(912), 'later', 'failed');
CALL test.host_record(1, 'notion', 'page_text', :'p11', test.p(:p11), 'nb-1', 11, '', 'latest');
CALL test.host_record(1, 'notion', 'page_text', :'p12', test.p(:p12), 'nb-1', 12, test.nid(112), test.f2('only failures'), 'failed');
CALL test.host_record(1, 'notion', 'page_text', :'p5', test.p(:p5), 'nb-1', 5, '', 'x', 'pending');
CALL test.host_record(1, 'notion', 'page_text', :'p13', test.p(:p13), 'nb-1', 13, test.nid(1), 'x');
CALL test.host_record(1, 'notion', 'page_text', :'p14', test.p(:p14), 'nb-1', 14, 'not an id', 'x');
-- migrated: the page's id, and the block in the metadata, which may be no JSON
CALL test.host_record(1, 'notion', 'page_text', :'p21', test.p(:p21), NULL, 1, test.nid(2), 'old', 'success', '{"notion_block_id": "' || replace(test.nid(121), '-', '') || '"');
CALL test.host_record(1, 'notion', 'page_text', NULL, test.p(:p31), 'nb-3', 1, test.nid(3), test.f2('of a notebook without a record'), 'success', '{"x": 1, "notion_block_id": "' || test.nid(131) || '"}');
CALL test.host_record(1, 'notion', 'page_text', :'p32', test.p(:p32), 'nb-1', 15, test.nid(132), test.f2('came from notebook 1'));
-- gone: with the notebook, from it, from everywhere, nobody knows what
CALL test.host_record(1, 'notion', 'page_text', :'p41', test.p(:p41), 'nb-4', 1, test.nid(141), 'x');
CALL test.host_record(1, 'notion', 'page_text', '777777', 'no-such-page', 'nb-1', 1, test.nid(777), 'x');
CALL test.host_record(1, 'notion', 'page_text', '777778', NULL, 'nb-1', 1, test.nid(778), 'x');
CALL test.host_record(1, 'notion', 'page_text', NULL, NULL, NULL, NULL, test.nid(779), 'x');
-- not for this target, or of this user
CALL test.host_record(1, 'notion-todos', 'todo', '1', NULL, 'nb-1', NULL, test.nid(201), 'x');
SELECT test.add_notebook(2, 'nb-1', 'Of the other') AS n21 \gset
SELECT test.add_page(:n21, 1, 'of the other') AS p211 \gset
CALL test.host_record(2, 'notion', 'notebook', :'n21', NULL, 'nb-1', NULL, test.nid(51), 'notebook');
CALL test.host_record(2, 'notion', 'page_text', :'p211', test.p(:p211), 'nb-1', 1, test.nid(151), test.f2('of the other'));
-- a record that names another user's page
CALL test.host_record(2, 'notion', 'page_text', :'p1', NULL, NULL, NULL, test.nid(152), 'x');
INSERT INTO sync_queue (user_id, item_type, item_id, content_hash, target_name, status)
VALUES (1, 'page_text', :'p5', 'x', 'notion', 'pending'), (1, 'page_text', :'p5', 'x', 'notion', 'completed'), (1, 'todo', '1', 'x', 'notion-todos', 'pending');

--
-- Preview: the report, and nothing else
--
CREATE VIEW test.hosts AS SELECT md5(string_agg(x, ',' ORDER BY x)) AS hash
	FROM (SELECT c::text FROM integration_configs c UNION ALL SELECT r::text FROM sync_records r UNION ALL SELECT q::text FROM sync_queue q) host (x);
SELECT hash AS before FROM test.hosts \gset
SELECT rmsync_adopt('notion', preview => true) AS preview \gset
SELECT jsonb_pretty(:'preview');
SELECT (SELECT count(*) FROM rmsync.integration_configs) AS lanes, (SELECT count(*) FROM rmsync.sync_records) AS ledger, (SELECT count(*) FROM rmsync.sync_queue) AS queue;

--
-- For good
--
SELECT rmsync_adopt('notion', 1) AS report \gset
SELECT :'report'::jsonb #> '{users,0,items}' = :'preview'::jsonb #> '{users,0,items}' AS as_previewed, :'report'::jsonb #>> '{users,0,connection}' AS connection,
	jsonb_array_length(:'report'::jsonb -> 'users') AS users;
SELECT * FROM test.ledger;
SELECT user_id, target_name, is_enabled, state, item_types, granularity, config_epoch, reconcile_wanted FROM rmsync.integration_configs ORDER BY 1;
SELECT rmsync.decrypt(1, config_encrypted)::jsonb FROM rmsync.integration_configs WHERE user_id = 1;
SELECT item_type, item_id, priority, trigger_source FROM rmsync.sync_queue ORDER BY item_type, item_id COLLATE "C";

-- the others: one is off at the host and stays off, two cannot be taken over
SELECT u -> 'user_id' AS u, u -> 'connection' AS connection, u -> 'enabled' AS enabled, u -> 'problem' AS problem, u -> 'items' AS items
FROM jsonb_array_elements(rmsync_adopt('notion') -> 'users') u;
SELECT user_id, is_enabled, state FROM rmsync.integration_configs ORDER BY 1;
SELECT rmsync.decrypt(2, config_encrypted)::jsonb FROM rmsync.integration_configs WHERE user_id = 2;
SELECT * FROM test.ledger WHERE u = 2;
SELECT user_id, item_type, item_id FROM rmsync.sync_queue WHERE user_id <> 1;
-- the host's own tables were only read
SELECT hash = :'before' AS untouched FROM test.hosts;

--
-- Again: nothing new, and what a delivery has done meanwhile stays
--
UPDATE rmsync.sync_records SET intent = NULL, status = 'success', content_hash = 'verified' WHERE user_id = 1 AND item_id = 'nb-1';
DELETE FROM rmsync.sync_queue;
CREATE TEMP TABLE ledger AS SELECT * FROM rmsync.sync_records;
SELECT u -> 'items' AS items, u -> 'connection' AS connection FROM jsonb_array_elements(rmsync_adopt('notion', 1) -> 'users') u;
SELECT count(*) AS changed FROM (TABLE rmsync.sync_records EXCEPT TABLE ledger) d;
SELECT count(*) AS queued FROM rmsync.sync_queue;
-- the host has delivered a page in between: its notebook is looked at again
CALL test.host_record(1, 'notion', 'page_text', :'p5', test.p(:p5), 'nb-1', 5, test.nid(105), test.f2('never delivered'));
SELECT u #> '{items,page_text}' AS items FROM jsonb_array_elements(rmsync_adopt('notion', 1) -> 'users') u;
SELECT item, ext, status, content, intent FROM test.ledger WHERE u = 1 AND (item = 'nb-1' OR ext = '0105');
SELECT item_type, item_id FROM rmsync.sync_queue ORDER BY item_type, item_id COLLATE "C";
-- an entry without an object is filled, one with a request under way is not
UPDATE rmsync.sync_records SET external_id = NULL, content_hash = '', status = 'pending' WHERE user_id = 1 AND external_id IN (test.nid(101), test.nid(102));
UPDATE rmsync.sync_records SET intent = '{"op": "append"}' WHERE user_id = 1 AND item_id = test.p(:p2);
SELECT u #> '{items,page_text}' AS items FROM jsonb_array_elements(rmsync_adopt('notion', 1) -> 'users') u;
SELECT page, ext, status, content, intent FROM test.ledger WHERE u = 1 AND item IN (right(test.p(:p1), 14), right(test.p(:p2), 14));

--
-- A connection that leads elsewhere, or has the wrong derivation
--
UPDATE integration_configs SET config_encrypted = replace(config_encrypted, 'eeee"', 'eee0"') WHERE user_id = 1;
SELECT u - 'user_id' FROM jsonb_array_elements(rmsync_adopt('notion', 1) -> 'users') u;
UPDATE integration_configs SET config_encrypted = '{"database_id": "aaaaaaaabbbbccccddddeeeeeeeeeeee"}' WHERE user_id = 1;
SELECT u - 'user_id' FROM jsonb_array_elements(rmsync_adopt('notion', 1) -> 'users') u;
UPDATE integration_configs SET config_encrypted = '{"notion_token' WHERE user_id = 1;
SELECT u - 'user_id' FROM jsonb_array_elements(rmsync_adopt('notion', 1) -> 'users') u;

--
-- To-dos: equal by their own hash, unless they are done
--
SELECT test.add_todo(:p1, 'equal') AS t1 \gset
SELECT test.add_todo(:p1, 'done') AS t2 \gset
SELECT test.add_todo(:p1, 'changed') AS t3 \gset
SELECT test.add_todo(:p1, 'new') AS t4 \gset
UPDATE todos SET completed = true WHERE id = :t2;
CALL test.host_record(1, 'notion-todos', 'todo', :'t1', NULL, 'nb-1', NULL, test.nid(301), rmsync_fingerprint_host_todo('equal', 'nb-1', 1));
CALL test.host_record(1, 'notion-todos', 'todo', :'t2', NULL, 'nb-1', NULL, test.nid(302), rmsync_fingerprint_host_todo('done', 'nb-1', 1));
CALL test.host_record(1, 'notion-todos', 'todo', :'t3', NULL, 'nb-1', NULL, test.nid(303), rmsync_fingerprint_host_todo('before', 'nb-1', 1));
SELECT a.action, right(a.external_id, 3) AS ext, a.content_hash <> '' AS content, a.placement_hash <> '' AS place, a.reason
FROM rmsync.adoption('host', 'notion-todos', 1, 4) a WHERE a.item_id <> '1' OR a.action <> 'left' ORDER BY a.external_id;

--
-- With the unique index of a database that create_all() has made
--
DELETE FROM sync_records r USING sync_records o WHERE o.page_uuid = r.page_uuid AND o.target_name = r.target_name AND o.user_id = r.user_id AND o.id > r.id;
CREATE UNIQUE INDEX idx_sync_page_uuid ON sync_records (page_uuid, target_name, user_id);
SELECT count(*) FROM rmsync.adoption('host', 'notion', 2, 3);

--
-- Who may, and where
--
-- a session confined to one user takes over that one
SET rmsync.user_id = 2;
SELECT rmsync_adopt('notion', 1);
SELECT jsonb_array_length(rmsync_adopt('notion') -> 'users') AS users;
RESET rmsync.user_id;
-- not attached, or nothing to read
DROP VIEW test.hosts;
DROP TABLE sync_records;
SELECT rmsync_adopt('notion');
SELECT rmsync_detach() IS NOT NULL AS detached;
SELECT rmsync_adopt('notion');
\i :end
