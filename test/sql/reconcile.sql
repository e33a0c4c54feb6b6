--
-- Source and ledger are compared: first connect, catching up, changes no
-- trigger saw, and deletions that look like an accident.  Deliveries are
-- played by test.deliver(), see test/host/deliver.sql.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
SELECT test.add_user(1), test.add_user(2);
SELECT test.add_notebook(1, 'nb-' || g, 'Notebook ' || g) AS id FROM generate_series(1, 3) g;
SELECT count(test.add_page(n, p, format('page %s of %s', p, n))) FROM generate_series(1, 3) n, generate_series(1, 10) p;
SELECT test.add_todo(1, 'call mum');
UPDATE notebooks SET updated_at = '2026-02-02' WHERE notebook_uuid = 'nb-2';
CREATE TEMP VIEW work AS
SELECT notebook_uuid, item_type, count(*), min(priority) AS prio, min(trigger_source) AS source
FROM rmsync.sync_queue GROUP BY 1, 2 ORDER BY min(seq);

--
-- Nobody was connected: nothing was marked.  The first connect finds it all,
-- recent notebooks first
--
SELECT count(*) FROM rmsync.sync_intake;
SELECT rmsync_connect(1, 'webhook', jsonb_build_object('url', 'http://127.0.0.1:1/x', 'secret', :'secret')) ->> 'state' AS state;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
SELECT * FROM work;
SELECT count(*) FROM test.deliver();
-- done: another look finds nothing but the notebooks' own rows, whose hashes
-- are made when they are loaded
SELECT reconcile_wanted FROM rmsync.integration_configs;
SELECT rmsync.reconcile_lane(id) FROM rmsync.integration_configs;
SELECT * FROM work;
SELECT count(*) FROM test.deliver();

--
-- Once more when every transaction has ended that may have written without
-- seeing the lane
--
SELECT reconcile_after IS NOT NULL AS once_more FROM rmsync.integration_configs;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
SELECT reconcile_after IS NOT NULL AS once_more FROM rmsync.integration_configs;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
SELECT count(*) FROM test.deliver();
-- not before: the transaction that made the lane is still running
BEGIN;
SELECT rmsync_enable(1, 'webhook') ->> 'state' AS state;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
SELECT reconcile_wanted, reconcile_after IS NOT NULL AS once_more FROM rmsync.integration_configs;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
COMMIT;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
SELECT count(*) FROM test.deliver();

--
-- Switched off: nothing is marked, what was open goes.  Switched on: what
-- happened meanwhile is found
--
UPDATE pages SET ocr_text = 'written before' WHERE id = 1;
SELECT folded FROM rmsync.fold();
SELECT rmsync_disable(1, 'webhook') ->> 'is_enabled' AS is_enabled;
SELECT * FROM work;
UPDATE pages SET ocr_text = 'written while off' WHERE id = 2;
DELETE FROM notebook_pages WHERE page_id = 3;
SELECT test.add_page(1, 11, 'new while off');
SELECT count(*) FROM rmsync.sync_intake;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
SELECT rmsync_enable(1, 'webhook') ->> 'is_enabled' AS is_enabled;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
SELECT operation, content FROM test.deliver() WHERE item_type = 'page_text' ORDER BY content;

--
-- Changes without triggers: replication, a restore
--
SELECT test.add_todo(2, 'buy milk') AS t2, test.add_highlight(12, 'wise words') AS h1 \gset
SELECT folded FROM rmsync.fold();
SELECT count(*) FROM test.deliver();
SET session_replication_role = replica;
UPDATE todos SET completed = true WHERE id = :t2;
UPDATE highlights SET note = 'so true' WHERE id = :h1;
UPDATE pages SET ocr_text = 'no trigger saw this' WHERE id = 12;
DELETE FROM todos WHERE id = 1;
UPDATE notebooks SET deleted = true WHERE notebook_uuid = 'nb-3';
RESET session_replication_role;
SELECT folded FROM rmsync.fold();
SELECT rmsync.reconcile_lane(id) FROM rmsync.integration_configs WHERE user_id = 1;
SELECT operation, item_type, count(*), min(content) FROM test.deliver() GROUP BY 1, 2 ORDER BY 1, 2;
SELECT notebook_uuid, count(*) FROM rmsync.sync_records GROUP BY 1 ORDER BY 1;
-- a ledger that lost rows, or says failed, or is of another destination
UPDATE rmsync.sync_records SET status = 'retry' WHERE item_id = test.page_uuid(1, 1);
UPDATE rmsync.sync_records SET config_epoch = 0 WHERE item_id = test.page_uuid(1, 2);
DELETE FROM rmsync.sync_records WHERE item_id = test.page_uuid(1, 4);
SELECT rmsync.reconcile_lane(id) FROM rmsync.integration_configs WHERE user_id = 1;
SELECT operation, content FROM test.deliver() WHERE item_type = 'page_text' ORDER BY content;

--
-- TRUNCATE does not say what went: everything is compared, and when that
-- would empty the target, the lane is held
--
SELECT test.add_lane(2) AS lane2 \gset
SELECT rmsync.reconcile_lane(:lane2);
BEGIN;
SET LOCAL client_min_messages = warning;
TRUNCATE notebook_pages, notebooks CASCADE;
SELECT kind, user_id FROM rmsync.sync_intake WHERE kind = 'U' GROUP BY 1, 2 ORDER BY 2;
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT user_id, reconcile_wanted FROM rmsync.integration_configs ORDER BY 1;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
SELECT user_id, state, state_reason FROM rmsync.integration_configs ORDER BY 1;
SELECT user_id, kind, message FROM rmsync.notifications ORDER BY id;
SELECT count(*) FROM rmsync.sync_queue;
-- nothing more is reconciled while it is held
SELECT lanes FROM rmsync.reconcile_due();
-- released by somebody who knows: all of it goes
SELECT rmsync_enable(1, 'webhook', allow_deletes => true) ->> 'state' AS state;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
SELECT state, allow_deletes FROM rmsync.integration_configs WHERE user_id = 1;
-- what was confirmed does not count while it is on its way
SELECT rmsync.guard_deletes(id) FROM rmsync.integration_configs WHERE user_id = 1;
SELECT operation, item_type, count(*) FROM test.deliver() GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM rmsync.sync_records;
-- the next time it is held again
SELECT test.add_notebook(1, 'new-' || g, 'New ' || g) FROM generate_series(1, 20) g \g /dev/null
SELECT folded FROM rmsync.fold();
SELECT count(*) FROM test.deliver();
DELETE FROM notebooks;
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT state, state_reason FROM rmsync.integration_configs WHERE user_id = 1;
ROLLBACK;

-- All pages at once, the notebooks stay
BEGIN;
DELETE FROM pages;
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT rmsync.reconcile_lane(id) FROM rmsync.integration_configs WHERE user_id = 1;
SELECT state, state_reason FROM rmsync.integration_configs WHERE user_id = 1;
ROLLBACK;

-- Many notebooks by single deletions, in one fold
DELETE FROM rmsync.sync_intake;
SELECT test.add_notebook(1, 'many-' || g, 'Many ' || g) FROM generate_series(1, 30) g \g /dev/null
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT count(*) >= 30 AS delivered FROM test.deliver();
BEGIN;
SELECT test.delete_notebook(notebook_uuid) FROM notebooks WHERE user_id = 1 \g /dev/null
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT state, state_reason FROM rmsync.integration_configs WHERE user_id = 1;
-- enabled without allow_deletes it is held again, before anything goes
SELECT rmsync_enable(1, 'webhook') ->> 'state' AS state;
SELECT cardinality(lanes) FROM rmsync.reconcile_due();
SELECT state FROM rmsync.integration_configs WHERE user_id = 1;
ROLLBACK;
-- half of them are no accident
BEGIN;
SELECT test.delete_notebook(notebook_uuid) FROM notebooks WHERE notebook_uuid LIKE 'many-1%' \g /dev/null
SELECT folded > 0 AS folded FROM rmsync.fold();
SELECT state, state_reason FROM rmsync.integration_configs WHERE user_id = 1;
SELECT count(*) FROM test.deliver();
ROLLBACK;

--
-- Detached, the source views are empty, and so they are after a restore:
-- nothing is compared with that, nothing taken for deleted
--
DELETE FROM rmsync.sync_queue;
UPDATE pages SET ocr_text = 'marked before' WHERE id = 1;
SELECT rmsync.enqueue(id, '{page_text}', ARRAY[test.page_uuid(1, 2)], '{nb-1}') FROM rmsync.integration_configs WHERE user_id = 1;
SELECT rmsync_detach() IS NOT NULL AS detached;
SELECT rmsync.attached();
SELECT * FROM rmsync.fold();
UPDATE rmsync.integration_configs SET reconcile_wanted = true;
SELECT lanes FROM rmsync.reconcile_due();
SELECT rmsync.reconcile_lane(id) FROM rmsync.integration_configs ORDER BY id;
SELECT rmsync_trigger('webhook', user_id => 1);
CALL rmsync_run();
SELECT item_type, status, attempt FROM test.open();
SELECT count(*) FROM rmsync.sync_intake;
-- attached again, all goes on
SELECT rmsync_attach('host') IS NOT NULL AS attached;
SELECT folded FROM rmsync.fold();
SELECT item_type, item_id FROM rmsync.sync_queue ORDER BY seq;
-- views of somebody's own count as attached
BEGIN;
SELECT rmsync_detach() IS NOT NULL AS detached;
CREATE OR REPLACE VIEW rmsync.source_page AS SELECT 1::bigint AS user_id, 'p'::text AS item_id, 'nb'::text AS notebook_uuid,
	1 AS page_number, 'mine'::text AS text, true AS ready, NULL::float8 AS confidence, now() AS modified_at, true AS live, 1::bigint AS row_id;
SELECT rmsync.attached();
ROLLBACK;
\i :end
