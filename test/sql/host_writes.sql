-- What each way of the host's writing leaves in rmsync.sync_intake.
\getenv abs_srcdir PG_ABS_SRCDIR
\set rmirror :abs_srcdir '/host/rmirror.sql'
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
SELECT rmsync_attach() ->> 'host_kind';

-- User 1 has a lane, user 2 a disabled one, user 3 none
SELECT test.add_user(1), test.add_user(2), test.add_user(3);
SELECT test.add_lane(1) > 0, test.add_lane(2, enabled => false) > 0;
SELECT * FROM test.marks();

-- Nothing at all for users without an enabled lane
SELECT test.add_notebook(2, 'nb-2', 'Two') AS n2, test.add_notebook(3, 'nb-3', 'Three') AS n3 \gset
SELECT test.add_page(:n2, 1, 'text') AS p2, test.add_page(:n3, 1, 'text') AS p3 \gset
SELECT test.add_todo(:p2, 'x') IS NOT NULL;
UPDATE pages SET ocr_text = 'new' WHERE id IN (:p2, :p3);
SELECT test.upload_content('nb-3', ARRAY[test.page_uuid(:n3, 1)]);
SELECT count(*) FROM test.marks();

-- /sync/metadata: a notebook and stubs of its pages with their places
BEGIN;
SELECT test.add_notebook(1, 'nb', 'Notes', 'Work/Notes') AS n \gset
SELECT test.add_page(:n, 1) AS a, test.add_page(:n, 2) AS b, test.add_page(:n, 3) AS c \gset
COMMIT;
SELECT * FROM test.marks();

-- The same in one statement: the rows it just wrote are seen
WITH n AS (
	INSERT INTO notebooks (user_id, notebook_uuid, visible_name, document_type, created_at, updated_at)
	VALUES (1, 'nb-cte', 'At once', 'notebook', now(), now()) RETURNING id
), p AS (
	INSERT INTO pages (notebook_id, page_uuid, ocr_status, created_at, updated_at)
	SELECT id, 'cte-page', 'not_synced', now(), now() FROM n RETURNING id, notebook_id
)
INSERT INTO notebook_pages (notebook_id, page_id, page_number) SELECT notebook_id, id, 1 FROM p;
SELECT * FROM test.marks() ORDER BY kind;

-- rm-file: text, status and time in one UPDATE; then what nobody needs
SELECT test.complete_page(:a, 'Page one');
UPDATE notebooks SET obsidian_content_hash = 'x', notebook_pdf_s3_key = 'k' WHERE id = :n;
UPDATE pages SET pdf_s3_key = 'k', file_hash = 'h' WHERE id = :a;
SELECT * FROM test.marks();

-- Every contact of the device touches these; a page written as it was
UPDATE notebooks SET last_synced_at = now(), updated_at = now() WHERE id = :n;
UPDATE pages SET updated_at = now(), ocr_text = 'Page one', ocr_status = 'completed' WHERE id = :a;
UPDATE todos SET updated_at = now();
SELECT count(*) FROM test.marks();

-- A long text, stored out of line, untouched and touched
UPDATE pages SET ocr_text = (SELECT string_agg(md5(g::text), ' ') FROM generate_series(1, 1000) g) WHERE id = :b;
SELECT kind, item_id = test.page_uuid(:n, 2) AS page FROM test.marks();
UPDATE pages SET updated_at = now() WHERE id = :b;
UPDATE pages SET ocr_text = ocr_text || '' WHERE id = :b;
SELECT count(*) FROM test.marks();
UPDATE pages SET ocr_text = overlay(ocr_text PLACING 'x' FROM 20000 FOR 1) WHERE id = :b;
SELECT kind, item_id = test.page_uuid(:n, 2) AS page FROM test.marks();
UPDATE pages SET ocr_text = NULL WHERE id = :b;
SELECT kind, item_id = test.page_uuid(:n, 2) AS page FROM test.marks();

-- Quota exhausted at re-upload: the text is blanked; the page stays live
UPDATE pages SET ocr_text = '', ocr_status = 'pending_quota', updated_at = now() WHERE id = :a;
SELECT kind, item_id = test.page_uuid(:n, 1) AS page FROM test.marks();
SELECT ready, live FROM rmsync.source_page WHERE user_id = 1 AND row_id = :a;

-- POST /content: all mappings deleted and inserted row by row, unchanged,
-- reordered, one page gone: one mark for the notebook in each transaction
SELECT test.upload_content('nb', ARRAY[test.page_uuid(:n, 1), test.page_uuid(:n, 2), test.page_uuid(:n, 3)]);
SELECT * FROM test.marks();
SELECT test.upload_content('nb', ARRAY[test.page_uuid(:n, 3), test.page_uuid(:n, 1)]);
SELECT * FROM test.marks();
SELECT page_number, live FROM rmsync.source_page WHERE user_id = 1 AND notebook_uuid = 'nb' ORDER BY 1;

-- Two notebooks at once, by one statement each
BEGIN;
DELETE FROM notebook_pages;
INSERT INTO notebook_pages (notebook_id, page_id, page_number)
SELECT notebook_id, id, row_number() OVER (PARTITION BY notebook_id ORDER BY id) FROM pages;
COMMIT;
SELECT user_id, kind, item_id FROM test.marks() ORDER BY item_id, user_id;

-- The mark of a mapping stands for later ones only while it is there
BEGIN;
UPDATE notebook_pages SET page_number = 10 WHERE page_id = :a;
SELECT kind, item_id FROM test.marks();
UPDATE notebook_pages SET page_number = 11 WHERE page_id = :a;
SELECT kind, item_id FROM test.marks();
UPDATE notebook_pages SET page_number = 12 WHERE page_id = :a;
TRUNCATE rmsync.sync_intake;
UPDATE notebook_pages SET page_number = 13 WHERE page_id = :a;
SELECT kind, item_id FROM test.marks();
COMMIT;
BEGIN;
SAVEPOINT s;
UPDATE notebook_pages SET page_number = 14 WHERE page_id = :a;
ROLLBACK TO s;
UPDATE notebook_pages SET page_number = 15 WHERE page_id = :a;
COMMIT;
SELECT kind, item_id FROM test.marks();
UPDATE notebook_pages SET updated_at = now();
UPDATE notebook_pages SET page_number = page_number;
SELECT count(*) FROM test.marks();

-- A page completed before it is mapped: both sides are marked
INSERT INTO pages (notebook_id, page_uuid, ocr_status, created_at, updated_at)
VALUES (:n, 'early-page', 'pending', now(), now()) RETURNING id AS early \gset
SELECT test.complete_page(:early, 'Before its place');
SELECT * FROM test.marks();
SELECT ready, live FROM rmsync.source_page WHERE user_id = 1 AND notebook_uuid = 'nb' AND item_id = 'early-page';
INSERT INTO notebook_pages (notebook_id, page_id, page_number) VALUES (:n, :early, 20);
SELECT * FROM test.marks();
SELECT ready, live FROM rmsync.source_page WHERE user_id = 1 AND notebook_uuid = 'nb' AND item_id = 'early-page';

-- Legacy rows without a uuid go by their row id, until they get one
INSERT INTO pages (notebook_id, page_uuid, ocr_status, created_at, updated_at)
VALUES (:n, NULL, 'pending', now(), now()) RETURNING id AS legacy \gset
SELECT kind, item_id = :'legacy' AS by_row_id FROM test.marks();
UPDATE pages SET page_uuid = 'late-uuid' WHERE id = :legacy;
SELECT kind, item_id = :'legacy' AS by_row_id, item_id = 'late-uuid' AS by_uuid FROM test.marks();

-- A page moves to another notebook; a notebook to another user
SELECT test.add_notebook(1, 'nb-other', 'Other') AS o \gset
SELECT count(*) FROM test.marks();
UPDATE pages SET notebook_id = :o WHERE id = :legacy;
SELECT kind, item_id, notebook_uuid FROM test.marks();
UPDATE notebooks SET user_id = 3 WHERE id = :o;
SELECT * FROM test.marks();
UPDATE notebooks SET user_id = 1, notebook_uuid = 'nb-other-2' WHERE id = :o;
SELECT * FROM test.marks();

-- To-dos and highlights
SELECT test.add_todo(:a, 'Buy milk') AS t, test.add_highlight(:a, 'A phrase') AS h \gset
SELECT kind, item_id IN (:'t', :'h') AS id, notebook_uuid FROM test.marks();
UPDATE todos SET completed = true WHERE id = :t;
UPDATE todos SET bounding_box = '{}', source_file = 'f', updated_at = now() WHERE id = :t;
UPDATE highlights SET note = 'n' WHERE id = :h;
UPDATE highlights SET match_score = 1, position_data = '{}' WHERE id = :h;
SELECT kind, item_id IN (:'t', :'h') AS id, notebook_uuid FROM test.marks();
DELETE FROM todos WHERE id = :t;
DELETE FROM highlights WHERE id = :h;
SELECT kind, item_id IN (:'t', :'h') AS id, notebook_uuid FROM test.marks();

-- Renamed, moved, trashed, deleted softly
UPDATE notebooks SET visible_name = 'Better', full_path = 'Work/Better' WHERE id = :n;
UPDATE notebooks SET parent_uuid = 'trash' WHERE id = :n;
UPDATE notebooks SET parent_uuid = '', deleted = true WHERE id = :n;
UPDATE notebooks SET deleted = false, last_opened = now() WHERE id = :n;
SELECT * FROM test.marks();

-- A page deleted: its mapping goes with it
DELETE FROM pages WHERE id = :early;
SELECT * FROM test.marks() ORDER BY kind;

-- DELETE /notebooks/{uuid}: the notebook's mark speaks for all that went
SELECT test.add_todo(:a, 'Goes too') IS NOT NULL;
SELECT count(*) FROM test.marks();
SELECT test.delete_notebook('nb');
SELECT * FROM test.marks();

-- Many rows in one statement: one mark each, nothing twice
SELECT test.add_notebook(1, 'bulk-' || g, 'Bulk ' || g) IS NOT NULL AS ok FROM generate_series(1, 3) g;
SELECT * FROM test.marks();
INSERT INTO pages (notebook_id, page_uuid, ocr_status, created_at, updated_at)
SELECT n.id, n.notebook_uuid || '-p' || g, 'not_synced', now(), now() FROM notebooks n, generate_series(1, 100) g
WHERE n.notebook_uuid LIKE 'bulk-%' OR n.id = :n3;
SELECT notebook_uuid, kind, count(*), count(DISTINCT item_id) FROM test.marks() GROUP BY 1, 2 ORDER BY 1;
UPDATE pages SET ocr_text = CASE WHEN page_uuid LIKE '%-p7' THEN 'seven' END WHERE page_uuid LIKE 'bulk-%';
SELECT kind, item_id FROM test.marks() ORDER BY item_id;

-- COPY, ON CONFLICT, MERGE
INSERT INTO notebooks (id, user_id, notebook_uuid, visible_name, document_type, created_at, updated_at)
VALUES (1001, 1, 'copied', 'Copied', 'notebook', now(), now()) RETURNING id AS bulk \gset
COPY pages (notebook_id, page_uuid, ocr_status, created_at, updated_at) FROM stdin;
1001	copied-1	pending	2026-01-01	2026-01-01
1001	copied-2	pending	2026-01-01	2026-01-01
\.
SELECT kind, item_id, notebook_uuid FROM test.marks();
CREATE UNIQUE INDEX upsert ON pages (page_uuid) WHERE page_uuid LIKE 'copied-%';
INSERT INTO pages (notebook_id, page_uuid, ocr_status, created_at, updated_at)
VALUES (:bulk, 'copied-1', 'completed', now(), now()), (:bulk, 'copied-2', 'pending', now(), now()), (:bulk, 'copied-3', 'pending', now(), now())
ON CONFLICT (page_uuid) WHERE page_uuid LIKE 'copied-%' DO UPDATE SET ocr_status = excluded.ocr_status;
SELECT kind, item_id FROM test.marks() ORDER BY item_id;
MERGE INTO pages p USING (VALUES ('copied-1', 'gone'), ('copied-2', 'changed'), ('copied-4', 'new')) v (uuid, what) ON p.page_uuid = v.uuid
WHEN MATCHED AND what = 'gone' THEN DELETE
WHEN MATCHED THEN UPDATE SET ocr_text = what
WHEN NOT MATCHED THEN INSERT (notebook_id, page_uuid, ocr_status, created_at, updated_at) VALUES (:bulk, uuid, 'pending', now(), now());
SELECT kind, item_id FROM test.marks() ORDER BY item_id;

-- A lane switched on and off counts from the next statement on
UPDATE rmsync.integration_configs SET is_enabled = true WHERE user_id = 2;
UPDATE pages SET ocr_text = 'on' WHERE id = :p2;
UPDATE rmsync.integration_configs SET is_enabled = false WHERE user_id = 2;
UPDATE pages SET ocr_text = 'off' WHERE id = :p2;
SELECT user_id, kind, notebook_uuid FROM test.marks();

-- REPEATABLE READ and SERIALIZABLE
BEGIN ISOLATION LEVEL REPEATABLE READ;
UPDATE pages SET ocr_text = 'rr' WHERE page_uuid = 'bulk-1-p1';
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE pages SET ocr_text = 'ssi' WHERE page_uuid = 'bulk-1-p1';
SELECT DISTINCT relation::regclass FROM pg_locks WHERE mode = 'SIReadLock' AND relation::regclass::text LIKE 'rmsync%';
COMMIT;
SELECT kind, item_id FROM test.marks();

-- What is rolled back leaves nothing
BEGIN;
UPDATE pages SET ocr_text = 'kept' WHERE page_uuid = 'bulk-1-p1';
SAVEPOINT s;
UPDATE pages SET ocr_text = 'undone' WHERE page_uuid = 'bulk-1-p2';
ROLLBACK TO s;
COMMIT;
BEGIN;
UPDATE pages SET ocr_text = 'undone' WHERE page_uuid = 'bulk-1-p3';
ROLLBACK;
SELECT kind, item_id FROM test.marks();

-- Two-phase commit
BEGIN;
UPDATE pages SET ocr_text = 'prepared' WHERE page_uuid = 'bulk-1-p1';
PREPARE TRANSACTION 'regress_host_writes';
SELECT count(*) FROM test.marks();
COMMIT PREPARED 'regress_host_writes';
SELECT kind, item_id FROM test.marks();

-- The host's role needs no right on anything of rmsync, whatever its settings
CREATE ROLE regress_host;
GRANT USAGE ON SCHEMA host TO regress_host;
GRANT ALL ON ALL TABLES IN SCHEMA host TO regress_host;
ALTER TABLE rmsync.sync_intake ENABLE ROW LEVEL SECURITY;
ALTER TABLE rmsync.sync_intake FORCE ROW LEVEL SECURITY;
CREATE SCHEMA regress_trap;
CREATE TABLE regress_trap.integration_configs (user_id bigint, is_enabled boolean);
GRANT USAGE ON SCHEMA regress_trap TO regress_host;
SET ROLE regress_host;
SET search_path = regress_trap, host;
UPDATE host.pages SET ocr_text = 'by the host''s role' WHERE page_uuid = 'bulk-1-p1';
SELECT count(*) FROM rmsync.sync_intake;
CREATE TEMP TABLE own (id int);
CREATE TRIGGER t AFTER INSERT ON own REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION rmsync.mark('user', 'id=id', 'user=id');
RESET ROLE;
SET search_path = host, public;
ALTER TABLE rmsync.sync_intake NO FORCE ROW LEVEL SECURITY;
ALTER TABLE rmsync.sync_intake DISABLE ROW LEVEL SECURITY;
DROP TABLE own;
SELECT kind, item_id FROM test.marks();

-- A user goes, with everything; users without a lane go quietly
DELETE FROM users WHERE id = 3;
SELECT count(*) FROM test.marks();
SELECT test.add_lane(1, 'notion') IS NOT NULL;
DELETE FROM users WHERE id = 1;
SELECT * FROM test.marks() ORDER BY kind, item_id;

-- TRUNCATE does not say what went: everybody with an enabled lane
SELECT test.add_lane(5) IS NOT NULL, test.add_lane(4000000000) IS NOT NULL;
TRUNCATE todos;
SELECT * FROM test.marks() ORDER BY user_id;
TRUNCATE users CASCADE;
SELECT DISTINCT user_id, kind FROM test.marks() ORDER BY user_id;

-- Marks carry the transaction's time, and ids that rise
SELECT test.add_user(1) \g /dev/null
SELECT test.add_notebook(1, 'last', 'Last') AS n \gset
SELECT at BETWEEN now() - interval '1 minute' AND now() AS recent, user_id FROM rmsync.sync_intake;

-- Half of rmsync is gone: the host's writes go on
BEGIN;
ALTER TABLE rmsync.sync_intake RENAME TO sync_outtake;
UPDATE notebooks SET visible_name = 'x';
DELETE FROM notebooks;
ROLLBACK;
BEGIN;
ALTER TABLE rmsync.integration_configs RENAME TO lanes;
UPDATE notebooks SET visible_name = 'x';
TRUNCATE todos;
ROLLBACK;
BEGIN;
ALTER SEQUENCE rmsync.sync_intake_id_seq RENAME TO s;
UPDATE notebooks SET visible_name = 'x';
ROLLBACK;
BEGIN;
ALTER SCHEMA rmsync RENAME TO gone;
UPDATE notebooks SET visible_name = 'x';
ROLLBACK;

-- Wrong uses are refused
CREATE TEMP TABLE wrong (id int);
CREATE TRIGGER t AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION rmsync.mark('user');
INSERT INTO wrong VALUES (1);
DROP TRIGGER t ON wrong;
CREATE TRIGGER t AFTER INSERT ON wrong FOR EACH STATEMENT EXECUTE FUNCTION rmsync.mark('user', 'id=id');
INSERT INTO wrong VALUES (1);
DROP TRIGGER t ON wrong;
CREATE TRIGGER t AFTER INSERT ON wrong REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION rmsync.mark('user', 'what=id');
INSERT INTO wrong VALUES (1);
DROP TABLE wrong;

DROP SCHEMA host, test, regress_trap CASCADE;
DROP EXTENSION rmsync;
DROP EXTENSION pg_trgm;
DROP ROLE regress_host;
RESET search_path;
CREATE EXTENSION rmsync;
