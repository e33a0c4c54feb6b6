-- rmsync_attach(store_hashes => true): the document's hash columns on the
-- host's tables, and nothing else of the host's.
\getenv abs_srcdir PG_ABS_SRCDIR
\set rmirror :abs_srcdir '/host/rmirror.sql'
\set document :abs_srcdir '/host/document.sql'
\set sample :abs_srcdir '/host/sample.sql'
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE SCHEMA host;
SET search_path = host, public;
\set ECHO none
\i :rmirror
\i :sample
\set ECHO all

-- What is there already gets its hashes
SELECT test.add_user(1), test.add_lane(1) > 0;
SELECT test.add_notebook(1, 'nb', 'Notes') AS n \gset
SELECT test.add_page(:n, 1, 'One') AS a, test.add_page(:n, 2) AS b \gset
SELECT test.add_todo(:a, 'Buy milk') AS t, test.add_highlight(:a, 'A phrase') AS h \gset
CREATE TEMP TABLE pages_before AS SELECT * FROM pages;
SELECT rmsync_attach(store_hashes => true) -> 'store_hashes';
SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid IN ('notebooks'::regclass, 'pages'::regclass, 'notebook_pages'::regclass, 'todos'::regclass, 'highlights'::regclass)
	AND attname IN ('content_hash', 'last_hash_computed_at') ORDER BY 1, 2;
CREATE VIEW test.hashes AS
SELECT 'page' AS what, m.page_number AS n,
	m.content_hash IS NOT DISTINCT FROM CASE WHEN p.ocr_status = 'completed' AND p.ocr_text IS NOT NULL
		THEN rmsync_fingerprint_page('nb', m.page_number, p.ocr_text) END AS right,
	m.content_hash IS NOT NULL AS hashed
FROM notebook_pages m JOIN pages p ON p.id = m.page_id
UNION ALL
SELECT 'todo', t.page_number, t.content_hash = rmsync_fingerprint_todo(t.text, 'nb', t.page_number), true FROM todos t
UNION ALL
SELECT 'highlight', h.page_number, h.content_hash = rmsync_fingerprint_highlight(h.original_text, h.corrected_text, 'Notes', h.page_number, h.note), true FROM highlights h
UNION ALL
SELECT 'notebook', NULL, n.content_hash = rmsync_fingerprint_notebook(n.visible_name, n.document_type,
	(SELECT coalesce(jsonb_agg(jsonb_build_object('number', m.page_number, 'text', p.ocr_text, 'confidence', NULL) ORDER BY m.page_number), '[]')
	 FROM notebook_pages m JOIN pages p ON p.id = m.page_id WHERE m.notebook_id = n.id)), n.last_hash_computed_at IS NOT NULL FROM notebooks n
ORDER BY 1, 2;
SELECT * FROM test.hashes;
SELECT count(*) FROM test.marks();

-- They follow, and leave no mark of their own
SELECT test.complete_page(:b, 'Two');
SELECT * FROM test.marks();
SELECT * FROM test.hashes;
SELECT test.upload_content('nb', ARRAY[test.page_uuid(:n, 2), test.page_uuid(:n, 1)]);
UPDATE todos SET text = 'Buy bread', completed = true;
UPDATE highlights SET note = 'why';
UPDATE notebooks SET document_type = 'pdf';
SELECT kind FROM test.marks();
SELECT * FROM test.hashes;
UPDATE pages SET ocr_text = '', ocr_status = 'pending_quota' WHERE id = :a;
SELECT * FROM test.hashes WHERE what IN ('page', 'notebook');
DELETE FROM pages WHERE id = :a;
SELECT * FROM test.hashes;

-- Whatever the rights of the host's role
CREATE ROLE regress_host;
GRANT USAGE ON SCHEMA host TO regress_host;
GRANT ALL ON ALL TABLES IN SCHEMA host TO regress_host;
REVOKE EXECUTE ON FUNCTION rmsync_fingerprint_page(text, int, text) FROM PUBLIC;
SET ROLE regress_host;
UPDATE pages SET ocr_text = 'Two and a half';
RESET ROLE;
SELECT * FROM test.hashes WHERE what = 'page';

-- The host's own key of a page's file is never touched
SELECT count(*) FROM pages p JOIN pages_before b USING (id) WHERE p.file_hash IS DISTINCT FROM b.file_hash;

-- Without them again: the columns stay, the triggers go
SELECT rmsync_attach() -> 'store_hashes';
SELECT tab, trigger FROM rmsync.our_triggers() WHERE trigger LIKE '%hash%';
SELECT jsonb_array_length(rmsync_detach() -> 'dropped_triggers');
DELETE FROM rmsync.integration_configs;
DELETE FROM rmsync.sync_intake;
DROP SCHEMA host, test CASCADE;

-- The document's schema
CREATE SCHEMA doc;
SET search_path = doc, public;
\set ECHO none
\i :document
\set ECHO all
SELECT rmsync_attach('doc', true) -> 'store_hashes';
INSERT INTO users (id, email) VALUES (1, 'a@example.com');
INSERT INTO notebooks (id, user_id, notebook_uuid, visible_name) VALUES (1, 1, 'nb', 'Notes');
INSERT INTO pages (id, notebook_id, page_uuid, page_number, ocr_status, ocr_text, confidence_score, file_hash) VALUES (1, 1, 'p1', 1, 'completed', 'one', 0.5, 'file');
INSERT INTO notebook_pages (notebook_id, page_id) VALUES (1, 1);
INSERT INTO todos (user_id, notebook_uuid, page_number, text) VALUES (1, 'nb', 1, 'do it');
INSERT INTO highlights (user_id, notebook_uuid, page_number, source_file, original_text) VALUES (1, 'nb', 1, 'Book.pdf', 'phrase');
UPDATE pages SET ocr_text = 'one!';
SELECT content_hash = rmsync_fingerprint_page('nb', 1, 'one!') FROM notebook_pages;
SELECT content_hash = rmsync_fingerprint_todo('do it', 'nb', 1) FROM todos;
SELECT content_hash = rmsync_fingerprint_highlight('phrase', NULL, 'Book.pdf', 1, NULL) FROM highlights;
SELECT content_hash = rmsync_fingerprint_notebook('Notes', 'notebook', '[{"number": 1, "text": "one!", "confidence": 0.5}]') FROM notebooks;
UPDATE pages SET page_number = 2;
SELECT content_hash = rmsync_fingerprint_page('nb', 2, 'one!') FROM notebook_pages;
SELECT file_hash FROM pages;

DROP SCHEMA doc CASCADE;
DROP EXTENSION rmsync;
DROP EXTENSION pg_trgm;
DROP ROLE regress_host;
RESET search_path;
CREATE EXTENSION rmsync;
