--
-- Marks become queue rows, queue rows become ledger rows: newest wins, nothing
-- is lost in between, and a notebook decides what is gone from it.  Deliveries
-- are played by test.deliver(), see test/host/deliver.sql.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
SELECT test.add_user(1), test.add_user(2);
SELECT test.add_lane(1) AS lane \gset
SELECT test.add_notebook(1, 'nb', 'Diary') AS nb \gset
SELECT test.add_page(:nb, 1, 'first page') AS p1, test.add_page(:nb, 2, 'second page') AS p2 \gset

--
-- In the order of the first mark, the notebook before its pages
--
SELECT folded, lanes = ARRAY[:lane]::bigint[] AS our_lane FROM rmsync.fold();
SELECT * FROM test.open();
SELECT * FROM test.deliver();
SELECT * FROM test.open();
-- nothing left to fold
SELECT * FROM rmsync.fold();

--
-- Many changes of an item are one row; what goes out is the newest text
--
UPDATE pages SET ocr_text = 'draft 1' WHERE id = :p1;
UPDATE pages SET ocr_text = 'draft 2' WHERE id = :p1;
SELECT folded FROM rmsync.fold();
UPDATE pages SET ocr_text = 'draft 3' WHERE id = :p1;
SELECT folded FROM rmsync.fold();
SELECT * FROM test.open();
SELECT * FROM test.deliver();

-- A, B, A before a delivery: A stays
UPDATE pages SET ocr_text = 'other' WHERE id = :p1;
UPDATE pages SET ocr_text = 'draft 3' WHERE id = :p1;
SELECT folded FROM rmsync.fold();
SELECT * FROM test.deliver();
-- A, B, A with a delivery of B in between: B, then A again
UPDATE pages SET ocr_text = 'other' WHERE id = :p1;
SELECT folded FROM rmsync.fold();
SELECT * FROM test.deliver();
UPDATE pages SET ocr_text = 'draft 3' WHERE id = :p1;
SELECT folded FROM rmsync.fold();
SELECT * FROM test.deliver();
SELECT r.content_hash = rmsync.content_hash_page('draft 3') AS ledger_has_a
FROM rmsync.sync_records r WHERE item_id = test.page_uuid(:nb, 1);

--
-- Two to-dos with the same text are two items, in queue and ledger
--
SELECT test.add_todo(:p1, 'buy milk') AS t1, test.add_todo(:p1, 'buy milk') AS t2 \gset
SELECT folded FROM rmsync.fold();
SELECT * FROM test.deliver();
SELECT count(*) AS rows, count(DISTINCT external_id) AS objects, count(DISTINCT content_hash) AS texts
FROM rmsync.sync_records WHERE item_type = 'todo';

--
-- A change during a delivery: the delivery's end does not remove the row
--
UPDATE pages SET ocr_text = 'under way' WHERE id = :p1;
SELECT folded FROM rmsync.fold();
SELECT test.take(:lane, 'page_text', test.page_uuid(:nb, 1)) AS taken \gset
UPDATE pages SET ocr_text = 'changed meanwhile' WHERE id = :p1;
SELECT folded FROM rmsync.fold();
SELECT test.record(:lane, 'page_text', test.page_uuid(:nb, 1), :taken) AS row_went;
SELECT * FROM test.deliver();
-- without a change it does
UPDATE pages SET ocr_text = 'under way again' WHERE id = :p1;
SELECT folded FROM rmsync.fold();
SELECT test.take(:lane, 'page_text', test.page_uuid(:nb, 1)) AS taken \gset
SELECT test.record(:lane, 'page_text', test.page_uuid(:nb, 1), :taken) AS row_went;
SELECT count(*) FROM rmsync.sync_queue;

--
-- Priorities: what somebody asked for comes before what a trigger marked,
-- that before a reconcile; asking for less does not take it back
--
UPDATE pages SET ocr_text = 'x1' WHERE id = :p1;
SELECT folded FROM rmsync.fold();
UPDATE pages SET ocr_text = 'x2' WHERE id = :p2;
SELECT folded FROM rmsync.fold();
SELECT rmsync.enqueue(:lane, '{todo}', ARRAY[:t1::text], '{nb}', 8::smallint, 'reconcile');
SELECT rmsync.enqueue(:lane, '{page_text}', ARRAY[test.page_uuid(:nb, 2)], '{nb}', 1::smallint, 'manual');
SELECT rmsync.enqueue(:lane, '{page_text}', ARRAY[test.page_uuid(:nb, 2)], '{nb}', 8::smallint, 'reconcile');
SELECT item_type, item_id, priority, trigger_source FROM rmsync.sync_queue ORDER BY priority, seq;
-- the same item twice in one call, types this lane does not take, a lane that is not there
SELECT rmsync.enqueue(:lane, '{todo,todo}', ARRAY[:t2::text, :t2::text], '{nb,nb}');
UPDATE rmsync.integration_configs SET item_types = 2;
SELECT rmsync.enqueue(:lane, '{todo}', '{99}', '{nb}'), rmsync.enqueue(-1, '{page_text}', '{99}', '{nb}');
UPDATE rmsync.integration_configs SET item_types = 15;
SELECT count(*) FROM test.deliver();

--
-- A new mark ends a back-off and gives all attempts again ...
--
UPDATE pages SET ocr_text = 'rejected' WHERE id = :p1;
UPDATE pages SET ocr_text = 'unanswered' WHERE id = :p2;
SELECT folded FROM rmsync.fold();
UPDATE rmsync.sync_queue SET run_at = now() + interval '1 hour', attempt = 3, error_code = 'rejected' WHERE item_id = test.page_uuid(:nb, 1);
-- ... but a request whose outcome is not known must be resolved in its time
UPDATE rmsync.sync_queue SET run_at = now() + interval '1 hour', error_code = 'unknown_outcome' WHERE item_id = test.page_uuid(:nb, 2);
SELECT * FROM test.deliver();
UPDATE pages SET ocr_text = 'rewritten' WHERE id = :p1;
UPDATE pages SET ocr_text = 'written on' WHERE id = :p2;
SELECT folded FROM rmsync.fold();
SELECT * FROM test.deliver();
SELECT rmsync.enqueue(:lane, '{page_text}', ARRAY[test.page_uuid(:nb, 2)], '{nb}', 1::smallint, 'manual');
SELECT item_id, attempt, run_at > now() AS waits FROM rmsync.sync_queue;
-- one that had failed for good is open again
UPDATE rmsync.sync_queue SET run_at = NULL, error_code = 'rejected', status = 'failed', attempt = 5;
UPDATE pages SET ocr_text = 'at last' WHERE id = :p2;
SELECT folded FROM rmsync.fold();
SELECT attempt, status FROM test.open();
SELECT * FROM test.deliver();

--
-- The notebook decides what is gone.  The host deletes all mappings and
-- inserts them again at every upload: that alone is no work
--
SELECT test.upload_content('nb', ARRAY[test.page_uuid(:nb, 1), test.page_uuid(:nb, 2)]);
SELECT folded FROM rmsync.fold();
SELECT item_type, item_id FROM test.open() WHERE item_type <> 'notebook_metadata';
SELECT count(*) FROM test.deliver();
-- a page at the front: the new one is created, the others are told their place
SELECT test.add_page(:nb, 3, 'at the front') AS p3 \gset
SELECT test.upload_content('nb', ARRAY[test.page_uuid(:nb, 3), test.page_uuid(:nb, 1), test.page_uuid(:nb, 2)]);
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT operation, item_type, content FROM test.deliver() ORDER BY item_type, content;
SELECT item_id, page_number FROM rmsync.sync_records WHERE item_type = 'page_text' ORDER BY page_number;
-- the middle one is taken out; its row in pages stays, as the host leaves it
SELECT test.upload_content('nb', ARRAY[test.page_uuid(:nb, 3), test.page_uuid(:nb, 2)]);
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT operation, item_type, content FROM test.deliver() WHERE item_type = 'page_text' ORDER BY content;
SELECT count(*) FROM pages WHERE notebook_id = :nb;
-- and comes back
SELECT test.upload_content('nb', ARRAY[test.page_uuid(:nb, 3), test.page_uuid(:nb, 2), test.page_uuid(:nb, 1)]);
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT operation, item_type, content FROM test.deliver() WHERE item_type = 'page_text' ORDER BY content;

-- created and removed before anybody delivered it: nothing goes out
SELECT test.add_page(:nb, 4, 'never mind') AS p4 \gset
DELETE FROM pages WHERE id = :p4;
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT operation, item_type, content FROM test.deliver() WHERE item_type = 'page_text';
SELECT count(*) FROM rmsync.sync_queue;

-- A blank text is a text; one that recognition takes back for a while is none
UPDATE pages SET ocr_text = '' WHERE id = :p1;
UPDATE pages SET ocr_text = '', ocr_status = 'pending_quota' WHERE id = :p2;
SELECT folded FROM rmsync.fold();
SELECT item_id, gone FROM rmsync.notebook_difference(:lane, 1, 15, 1, 'nb') ORDER BY 1;
SELECT count(*) FROM rmsync.sync_queue;
DELETE FROM rmsync.sync_queue;
SELECT test.complete_page(:p2, 'second page, read again');
SELECT folded FROM rmsync.fold();
SELECT operation, item_type, content FROM test.deliver();

--
-- A page that moves to another notebook is one item all the time
--
SELECT test.add_notebook(1, 'nb2', 'Archive') AS nb2 \gset
BEGIN;
DELETE FROM notebook_pages WHERE page_id = :p1;
UPDATE pages SET notebook_id = :nb2, ocr_text = 'moved' WHERE id = :p1;
INSERT INTO notebook_pages (notebook_id, page_id, page_number) VALUES (:nb2, :p1, 1);
COMMIT;
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT item_type, item_id, notebook_uuid FROM rmsync.sync_queue WHERE item_type = 'page_text';
SELECT operation, item_type, content FROM test.deliver() WHERE item_type = 'page_text';
SELECT item_id, notebook_uuid FROM rmsync.sync_records WHERE item_type = 'page_text' ORDER BY 1;
-- and back, with the mark of the notebook it left coming last and alone
UPDATE pages SET notebook_id = :nb WHERE id = :p1;
UPDATE notebook_pages SET notebook_id = :nb, page_number = 9 WHERE page_id = :p1;
SELECT folded > 0 AS folded FROM rmsync.fold();
INSERT INTO rmsync.sync_intake (user_id, kind, item_id) VALUES (1, 'n', 'nb2');
SELECT folded FROM rmsync.fold();
SELECT item_type, item_id, notebook_uuid FROM rmsync.sync_queue WHERE item_type = 'page_text';
SELECT operation, item_type, content FROM test.deliver() WHERE item_type = 'page_text';

--
-- A notebook that is deleted takes everything of it along
--
SELECT test.add_highlight(:p2, 'wise words');
SELECT folded FROM rmsync.fold();
SELECT count(*) FROM test.deliver();
SELECT test.delete_notebook('nb');
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT operation, item_type, count(*) FROM test.deliver() GROUP BY 1, 2 ORDER BY 1, 2;
SELECT item_type, notebook_uuid FROM rmsync.sync_records ORDER BY 1, 2;

--
-- Marks are taken in portions, oldest first; other users' lanes have their own
--
SELECT test.add_lane(2) AS lane2 \gset
SELECT test.add_notebook(2, 'other', 'Other') AS other \gset
SELECT test.add_page(:other, g, 'page ' || g) FROM generate_series(1, 3) g;
SELECT count(*) > 4 AS marks FROM rmsync.sync_intake;
SELECT folded FROM rmsync.fold(1);
SELECT item_type FROM rmsync.sync_queue;
SELECT folded FROM rmsync.fold(2);
SELECT count(*) >= 2 AS more FROM rmsync.sync_queue;
SELECT folded > 0 AS folded, lanes = ARRAY[:lane2]::bigint[] AS their_lane FROM rmsync.fold();
SELECT operation, content FROM test.deliver();
-- a lane that is switched off gets no rows
UPDATE rmsync.integration_configs SET is_enabled = false WHERE id = :lane2;
INSERT INTO rmsync.sync_intake (user_id, kind, item_id) VALUES (2, 'n', 'other');
SELECT * FROM rmsync.fold();
SELECT count(*) FROM rmsync.sync_queue;
\i :end
