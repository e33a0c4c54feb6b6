-- rmsync_attach(): which schemas it knows, what it makes, what it leaves.
\getenv abs_srcdir PG_ABS_SRCDIR
\set rmirror :abs_srcdir '/host/rmirror.sql'
\set document :abs_srcdir '/host/document.sql'
\set sample :abs_srcdir '/host/sample.sql'
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- Nothing there, no such schema
SELECT rmsync_attach();
SELECT rmsync_attach('nowhere');
SELECT rmsync.attached();

-- The host's real schema
CREATE SCHEMA host;
SET search_path = host, public;
\set ECHO none
\i :rmirror
\i :sample
\set ECHO all
SELECT rmsync_attach() - 'triggers';
SELECT rmsync.attached();
SELECT host_kind, host_schema, system_identifier = (SELECT system_identifier FROM pg_control_system()) AS ours FROM rmsync.instance;
SELECT * FROM rmsync.our_triggers();
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'pages'::regclass AND tgname LIKE 'rmsync%' ORDER BY tgname;

-- The views keep the columns the engine reads and belong to the extension
SELECT c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, NULL), ', ' ORDER BY attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relname LIKE 'source\_%' AND c.relnamespace = 'rmsync'::regnamespace
	AND EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
GROUP BY c.relname ORDER BY c.relname;

-- What they show
SELECT test.add_user(1), test.add_user(2);
SELECT test.add_notebook(1, 'nb-a', 'Alpha', 'Work/Alpha') AS a \gset
SELECT test.add_notebook(1, 'nb-trash', 'Old', U&'\+01F5D1\FE0F Trash/Old') AS trash \gset
SELECT test.add_notebook(1, 'nb-child', 'Child') AS child \gset
SELECT test.add_notebook(1, 'nb-gone', 'Gone') AS gone \gset
SELECT test.add_notebook(1, 'nb-folder', 'Work') AS folder \gset
SELECT test.add_notebook(2, 'nb-a', 'Same uuid, other user') AS other \gset
UPDATE notebooks SET parent_uuid = 'trash' WHERE id = :child;
UPDATE notebooks SET deleted = true WHERE id = :gone;
UPDATE notebooks SET document_type = 'folder' WHERE id = :folder;
UPDATE notebooks SET last_opened = '2026-02-03 04:05:06', author = 'Ada', pinned = true WHERE id = :a;
SELECT test.add_page(:a, 1, 'first') AS p1, test.add_page(:a, 2, '') AS p2, test.add_page(:a, 3) AS p3, test.add_page(:a, 4, 'quota') AS p4 \gset
SELECT test.add_page(:other, 1, 'theirs') AS p5, test.add_page(:gone, 1, 'gone') AS p6 \gset
UPDATE pages SET ocr_text = '', ocr_status = 'pending_quota' WHERE id = :p4;
INSERT INTO pages (notebook_id, page_uuid, ocr_status, ocr_text, created_at, updated_at)
VALUES (:a, NULL, 'completed', 'unmapped, no uuid', '2026-01-01', '2026-01-01'),
	(:a, '', 'completed', 'unmapped, empty uuid', '2026-01-01', '2026-01-01');
SELECT test.add_todo(:p1, 'Buy milk') AS t1, test.add_highlight(:p1, 'a phrase') AS h1 \gset
SET timezone = 'Asia/Tokyo';
SELECT user_id, item_id, title, path, author, pinned, opened_at, modified_at, live FROM rmsync.source_notebook ORDER BY 1, 2;
SELECT user_id, replace(item_id, :'p1', 'x') ~ '^aaaa' AS has_uuid, notebook_uuid, page_number, text, ready, modified_at, live FROM rmsync.source_page ORDER BY 1, 3, row_id;
SELECT user_id, item_id = :'t1' AS id, notebook_uuid, page_id = test.page_uuid(:a, 1) AS page, page_number, title, text, completed, confidence, written_at, live FROM rmsync.source_todo;
SELECT user_id, item_id = :'h1' AS id, notebook_uuid, page_id = test.page_uuid(:a, 1) AS page, page_number, original_text, source_type, source_title, author, highlighted_at, live FROM rmsync.source_highlight;
RESET timezone;

-- Rows that find-or-create made twice: the live, newest notebook speaks, and
-- each page shows once
SELECT test.add_notebook(1, 'nb-a', 'Alpha again', 'Work/Alpha again') AS a2 \gset
INSERT INTO pages (notebook_id, page_uuid, ocr_status, created_at, updated_at)
VALUES (:a2, test.page_uuid(:a, 1), 'not_synced', '2026-01-01', '2026-01-01');
SELECT title, live, row_id = :a2 AS newest FROM rmsync.source_notebook WHERE user_id = 1 AND item_id = 'nb-a';
SELECT text, page_number, live FROM rmsync.source_page WHERE user_id = 1 AND item_id = test.page_uuid(:a, 1);
UPDATE notebooks SET deleted = true WHERE id = :a2;
SELECT title, live, row_id = :a AS older FROM rmsync.source_notebook WHERE user_id = 1 AND item_id = 'nb-a';

-- Conditions on user and notebook reach the host's indexes
SET enable_seqscan = off;
CREATE FUNCTION test.indexes_used(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Seq Scan|Index.* (on|using) ' THEN
			RETURN NEXT regexp_replace(line, '^[ >-]*', '');
		END IF;
	END LOOP;
END
$$;
SET enable_bitmapscan = off;
SELECT test.indexes_used('SELECT item_id FROM rmsync.source_notebook WHERE user_id = 1 AND item_id = ''a''');
SELECT test.indexes_used('SELECT * FROM rmsync.source_page WHERE user_id = 1 AND notebook_uuid = ''nb-a'' AND item_id = ANY (''{a,b}'')');
SELECT test.indexes_used('SELECT * FROM rmsync.source_todo WHERE user_id = 1 AND notebook_uuid = ''nb-a''');
SELECT test.indexes_used('SELECT * FROM rmsync.source_highlight WHERE user_id = 1 AND notebook_uuid = ''nb-a''');
RESET enable_seqscan;
RESET enable_bitmapscan;

-- Again: the same triggers, lanes are reconciled, the identity is kept
SELECT test.add_lane(1) > 0 AS added;
UPDATE rmsync.integration_configs SET reconcile_wanted = false;
UPDATE rmsync.instance SET system_identifier = 42;
CREATE TEMP TABLE before AS SELECT tgrelid, tgname, oid FROM pg_trigger WHERE tgname LIKE 'rmsync%';
SELECT rmsync_attach('host') - 'triggers' - 'views';
SELECT count(*) = 0 AS same FROM before b FULL JOIN (SELECT * FROM pg_trigger WHERE tgname LIKE 'rmsync%') t
	USING (tgrelid, tgname, oid) WHERE b.tgname IS NULL OR t.tgname IS NULL;
SELECT reconcile_wanted FROM rmsync.integration_configs;
SELECT system_identifier FROM rmsync.instance;

-- The host's migrations are its own business: nothing of the extension depends
-- on its tables.  Writes go on, with a warning; reads say what is missing.
SELECT count(*) FROM pg_depend d WHERE d.deptype = 'n' AND d.refobjid IN ('pages'::regclass, 'notebooks'::regclass, 'notebook_pages'::regclass)
	AND d.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass);
BEGIN;
ALTER TABLE notebook_pages ALTER COLUMN page_number TYPE bigint;
ALTER TABLE notebooks DROP COLUMN pinned CASCADE;
UPDATE notebooks SET visible_name = 'Renamed' WHERE id = :a;
SELECT kind, item_id FROM rmsync.sync_intake WHERE user_id = 1 ORDER BY id DESC LIMIT 1;
SELECT page_number FROM rmsync.source_page WHERE user_id = 1 AND notebook_uuid = 'nb-a' AND text = 'first';
SAVEPOINT s;
\set VERBOSITY terse
SELECT count(*) FROM rmsync.source_notebook;
\set VERBOSITY default
ROLLBACK TO s;
SELECT rmsync_attach() ->> 'host_kind';
SELECT count(*) FROM rmsync.source_notebook WHERE pinned IS NULL;
UPDATE notebooks SET visible_name = 'Renamed again' WHERE id = :a;
ALTER TABLE pages RENAME COLUMN page_uuid TO uuid;
UPDATE pages SET ocr_text = 'more' WHERE id = :p1;
DROP TABLE pages CASCADE;
UPDATE notebooks SET visible_name = 'Still here' WHERE id = :a;
ROLLBACK;

-- Nothing is granted to the public
CREATE ROLE regress_nobody;
SET ROLE regress_nobody;
SELECT rmsync_attach();
SELECT rmsync_detach();
SELECT * FROM rmsync.source_page;
RESET ROLE;

-- Detached: no trigger, no row, no lane lost
SELECT jsonb_array_length(rmsync_detach() -> 'dropped_triggers');
SELECT * FROM rmsync.our_triggers();
SELECT count(*) FROM rmsync.source_notebook;
SELECT count(*) FROM rmsync.source_page;
SELECT rmsync.attached(), host_kind, host_schema FROM rmsync.instance;
SELECT count(*) FROM rmsync.integration_configs;
SELECT rmsync_detach();
DELETE FROM rmsync.sync_intake;
SELECT test.add_notebook(1, 'nb-late', 'Unseen') > 0 AS added;
SELECT count(*) FROM rmsync.sync_intake;

-- What is missing is named
ALTER TABLE todos RENAME TO tasks;
SELECT rmsync_attach();
ALTER TABLE tasks RENAME TO todos;
ALTER TABLE highlights RENAME COLUMN original_text TO phrase;
SELECT rmsync_attach('host');
ALTER TABLE highlights RENAME COLUMN phrase TO original_text;
ALTER TABLE notebook_pages RENAME COLUMN page_number TO position;
\set VERBOSITY sqlstate
SELECT rmsync_attach();
\set VERBOSITY default
SELECT rmsync_attach();
ALTER TABLE notebook_pages RENAME COLUMN position TO page_number;
ALTER TABLE todos ALTER COLUMN id TYPE text;
SELECT rmsync_attach();
ALTER TABLE todos ALTER COLUMN id TYPE int USING id::int;
CREATE VIEW host_pages AS SELECT * FROM pages;
ALTER TABLE pages RENAME TO real_pages;
ALTER VIEW host_pages RENAME TO pages;
SELECT rmsync_attach();
DROP VIEW pages;
ALTER TABLE real_pages RENAME TO pages;

-- A migration without the optional columns
CREATE SCHEMA early;
CREATE TABLE early.users (id int);
CREATE TABLE early.notebooks (id int, user_id int, notebook_uuid uuid, visible_name text, document_type text, updated_at timestamptz);
CREATE TABLE early.pages (id int, notebook_id int, ocr_status text, ocr_text text);
CREATE TABLE early.notebook_pages (notebook_id int, page_id int, page_number int);
CREATE TABLE early.todos (id int, notebook_id int, text text, completed boolean);
CREATE TABLE early.highlights (id int, notebook_id int, original_text text);
SELECT rmsync_attach();
SELECT rmsync_attach('early') - 'triggers' - 'views';
INSERT INTO early.notebooks VALUES (1, 1, '00000000-0000-0000-0000-000000000001', 'Early', 'notebook', '2026-01-01 12:00+00');
INSERT INTO early.pages VALUES (7, 1, 'completed', 'text');
INSERT INTO early.notebook_pages VALUES (1, 7, 1);
SELECT user_id, item_id, title, path, modified_at = '2026-01-01 12:00+00' AS modified, live FROM rmsync.source_notebook;
SELECT item_id, page_number, text, ready, live FROM rmsync.source_page;
SELECT kind, item_id, notebook_uuid FROM test.marks();
WITH n AS (
	INSERT INTO early.notebooks VALUES (2, 1, '00000000-0000-0000-0000-000000000002', 'With its page', 'notebook') RETURNING id
)
INSERT INTO early.pages SELECT 8, id, 'completed', 'in one statement' FROM n;
SELECT kind, item_id, notebook_uuid FROM test.marks() ORDER BY kind;
SELECT rmsync_attach('host') ->> 'host_schema';
SELECT count(*) FROM rmsync.our_triggers() WHERE tab::text LIKE 'early.%';
DROP SCHEMA early CASCADE;

-- The document's schema
DROP SCHEMA host CASCADE;
CREATE SCHEMA doc;
SET search_path = doc, public;
\set ECHO none
\i :document
\set ECHO all
ALTER TABLE todos RENAME COLUMN notebook_uuid TO notebook;
SELECT rmsync_attach();
ALTER TABLE todos RENAME COLUMN notebook TO notebook_uuid;
SELECT rmsync_attach() - 'views';
INSERT INTO users (id, email) VALUES (1, 'a@example.com');
INSERT INTO notebooks (id, user_id, notebook_uuid, visible_name) VALUES (1, 1, 'nb1', 'Notes'), (2, 1, 'nb2', 'Folder');
UPDATE notebooks SET document_type = 'folder' WHERE id = 2;
INSERT INTO pages (id, notebook_id, page_uuid, page_number, ocr_status, ocr_text, confidence_score) VALUES
	(1, 1, 'p1', 1, 'completed', 'one', 0.5), (2, 1, NULL, 2, 'pending', NULL, NULL), (3, 2, 'p3', 1, 'completed', 'in a folder', NULL);
INSERT INTO todos (id, user_id, notebook_uuid, page_number, text) VALUES (1, 1, 'nb1', 1, 'do it'), (2, 1, 'nb2', 1, 'hidden');
INSERT INTO highlights (id, user_id, notebook_uuid, page_number, source_file, original_text) VALUES
	(1, 1, 'nb1', 1, 'Book.pdf', 'phrase'), (2, 1, NULL, NULL, 'Loose.pdf', 'loose');
SELECT user_id, item_id, title, live FROM rmsync.source_notebook ORDER BY 2;
SELECT item_id, notebook_uuid, page_number, text, ready, confidence, live FROM rmsync.source_page ORDER BY 2, 3;
SELECT item_id, notebook_uuid, page_id, page_number, title, text, completed, live FROM rmsync.source_todo ORDER BY 1;
SELECT item_id, notebook_uuid, page_id, page_number, original_text, source_title, live FROM rmsync.source_highlight ORDER BY 1;
UPDATE pages SET page_number = page_number + 1, updated_at = now() WHERE notebook_id = 1;
UPDATE pages SET updated_at = now();
SELECT kind, item_id, notebook_uuid FROM test.marks();
SELECT rmsync_detach() IS NOT NULL AS detached;
DROP SCHEMA doc CASCADE;

-- The extension goes and leaves the host's tables as they were
CREATE SCHEMA host;
SET search_path = host, public;
\set ECHO none
\i :rmirror
\set ECHO all
SELECT rmsync_attach('host') ->> 'host_kind';
DROP EXTENSION rmsync;
SELECT tgname FROM pg_trigger WHERE tgrelid::regclass::text ~ 'pages|notebooks|users|todos|highlights' AND NOT tgisinternal;
SELECT to_regnamespace('rmsync');
INSERT INTO users (id, email, subscription_tier, is_active, is_verified, created_at, updated_at)
VALUES (1, 'a@example.com', 'free', true, true, now(), now());
DELETE FROM users;

-- As others expect to find it
DROP SCHEMA host, test CASCADE;
DROP ROLE regress_nobody;
DROP EXTENSION pg_trgm;
RESET search_path;
CREATE EXTENSION rmsync;
