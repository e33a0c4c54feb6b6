-- By hand: compare a connection, synchronize and wait, to-dos one by one.

CREATE FUNCTION rmsync_reconcile(target_name text DEFAULT NULL, user_id bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u bigint := rmsync.effective_user(user_id);
	c rmsync.integration_configs;
	queued bigint := 0;
	connections int := 0;
	held int := 0;
	targets text[] := '{}';
BEGIN
	IF target_name IS NOT NULL AND target_name <> 'all' AND NOT EXISTS (SELECT FROM rmsync.targets() t WHERE t.name = rmsync_reconcile.target_name) THEN
		RAISE EXCEPTION 'unrecognized target "%"', target_name
			USING ERRCODE = 'undefined_object', HINT = 'SELECT rmsync_targets() lists the targets.';
	END IF;
	IF NOT rmsync.attached() THEN
		RAISE EXCEPTION 'rmsync is not attached to the tables of a host application'
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run rmsync_attach().';
	END IF;
	FOR c IN SELECT * FROM rmsync.integration_configs i
		WHERE i.is_enabled AND (u IS NULL OR i.user_id = u)
		  AND (rmsync_reconcile.target_name IS NULL OR rmsync_reconcile.target_name IN ('all', i.target_name))
		ORDER BY i.id
	LOOP
		IF c.state <> 'held' THEN
			queued := queued + rmsync.reconcile_lane(c.id);
			SELECT i.state INTO c.state FROM rmsync.integration_configs i WHERE i.id = c.id;
		END IF;
		connections := connections + 1;
		held := held + (c.state = 'held')::int;
		IF NOT c.target_name = ANY (targets) THEN
			targets := targets || c.target_name;
		END IF;
	END LOOP;
	PERFORM rmsync.wake();
	RETURN jsonb_build_object('queued_count', queued, 'connections', connections, 'held', held, 'targets_processed', to_jsonb(targets));
END
$$;
COMMENT ON FUNCTION rmsync_reconcile(text, bigint) IS 'compares the source of connections with what they have delivered, and queues the difference and every notebook, with low priority; a connection that is held, or would delete too much at once, is left alone and counted as held';

-- What rmsync_sync() waits for: exactly the rows that this transaction wrote.
CREATE FUNCTION rmsync.sync_begin(target_name text, item_type text, notebook_uuids text[], max_items int, user_id bigint,
	force boolean, timeout interval) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	since timestamptz := clock_timestamp();
	deadline timestamptz;
	queued jsonb;
	items jsonb;
BEGIN
	IF timeout IS NULL OR timeout < interval '0' THEN
		RAISE EXCEPTION 'timeout must not be negative' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	deadline := since + least(timeout, interval '1 day');
	queued := @extschema@.rmsync_trigger(target_name, item_type, notebook_uuids, max_items, user_id, coalesce(force, false));
	SELECT coalesce(jsonb_agg(jsonb_build_object('id', q.id, 'user_id', q.user_id, 'target_name', q.target_name,
			'item_type', q.item_type, 'item_id', q.item_id)), '[]') INTO items
	FROM rmsync.sync_queue q WHERE q.xmin = pg_current_xact_id()::xid;
	RETURN jsonb_build_object('since', since, 'deadline', deadline, 'targets_processed', queued -> 'targets_processed', 'items', items);
END
$$;
COMMENT ON FUNCTION rmsync.sync_begin(text, text, text[], int, bigint, boolean, interval) IS 'queues what rmsync_sync() waits for';

-- Something that can still be done in time?
CREATE FUNCTION rmsync.sync_waits(job jsonb) RETURNS boolean
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT clock_timestamp() < (job ->> 'deadline')::timestamptz AND EXISTS (
		SELECT FROM jsonb_to_recordset(job -> 'items') AS i(id bigint)
		JOIN rmsync.sync_queue q ON q.id = i.id
		JOIN rmsync.integration_configs c ON c.id = q.lane_id
		WHERE q.status = 'pending' AND coalesce(q.run_at < (job ->> 'deadline')::timestamptz, true)
		  AND c.is_enabled AND c.state = 'active' AND coalesce(c.blocked_until < (job ->> 'deadline')::timestamptz, true))
$$;
COMMENT ON FUNCTION rmsync.sync_waits(jsonb) IS 'there is work of an rmsync_sync() that may be done before its time is over';

CREATE FUNCTION rmsync.sync_result(job jsonb) RETURNS jsonb
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	WITH outcome AS (
		SELECT CASE WHEN q.status = 'failed' THEN 'failed' WHEN q.id IS NOT NULL THEN 'pending'
			WHEN l.status = 'success' THEN 'synced' ELSE 'skipped' END AS o,
			CASE WHEN q.id IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object('item_type', i.item_type, 'item_id', i.item_id,
				'target_name', i.target_name, 'error_code', q.error_code, 'error_message', q.error_message)) END AS problem
		FROM jsonb_to_recordset(job -> 'items') AS i(id bigint, user_id bigint, target_name text, item_type text, item_id text)
		LEFT JOIN rmsync.sync_queue q ON q.id = i.id
		LEFT JOIN LATERAL (SELECT s.status FROM rmsync.sync_log s
			WHERE s.user_id = i.user_id AND s.at >= (job ->> 'since')::timestamptz AND s.target_name = i.target_name
			  AND s.item_type = i.item_type AND s.item_id = i.item_id
			-- sent and then, because it was queued meanwhile, compared once more
			ORDER BY s.status = 'success' DESC, s.at DESC LIMIT 1) l ON true)
	SELECT jsonb_build_object(
		'synced_count', count(*) FILTER (WHERE x.o = 'synced'),
		'failed_count', count(*) FILTER (WHERE x.o = 'failed'),
		'skipped_count', count(*) FILTER (WHERE x.o = 'skipped'),
		'pending_count', count(*) FILTER (WHERE x.o = 'pending'),
		'targets_processed', job -> 'targets_processed',
		'problems', coalesce((SELECT jsonb_agg(y.problem) FROM (SELECT z.problem FROM outcome z WHERE z.problem IS NOT NULL
			ORDER BY z.o, z.problem LIMIT 20) y), '[]'))
		|| CASE WHEN count(*) FILTER (WHERE x.o = 'pending') > 0 THEN jsonb_build_object('reason', coalesce(
			(SELECT c.target_name || ': ' || coalesce(c.state_reason, c.state) FROM rmsync.integration_configs c
				JOIN jsonb_to_recordset(job -> 'items') AS i(user_id bigint, target_name text) ON c.user_id = i.user_id AND c.target_name = i.target_name
				WHERE c.state <> 'active' LIMIT 1),
			(SELECT w.reason FROM rmsync.worker_state() w), 'not done in time')) ELSE '{}' END
	FROM outcome x
$$;
COMMENT ON FUNCTION rmsync.sync_result(jsonb) IS 'what became of the work of an rmsync_sync()';

CREATE PROCEDURE rmsync_sync(target_name text DEFAULT NULL, item_type text DEFAULT NULL, notebook_uuids text[] DEFAULT NULL,
	max_items int DEFAULT NULL, user_id bigint DEFAULT NULL, force boolean DEFAULT false,
	timeout interval DEFAULT '1 minute', INOUT result jsonb DEFAULT NULL)
AS 'MODULE_PATHNAME', 'rmsync_sync_sql' LANGUAGE C;
COMMENT ON PROCEDURE rmsync_sync(text, text, text[], int, bigint, boolean, interval, jsonb) IS 'queues what differs, as rmsync_trigger() does, and waits until workers have delivered it or the time is over; counts what was synced, failed, skipped, and is pending';

CREATE FUNCTION rmsync_todo_status(notebook_uuid text DEFAULT NULL, user_id bigint DEFAULT NULL)
RETURNS TABLE (item_id text, text text, completed boolean, notebook text, page_number int, target_name text, status text,
	error_message text, retry_count int, next_try_at timestamptz, synced_at timestamptz, external_id text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT t.item_id, t.text, t.completed, t.notebook_uuid, t.page_number, c.target_name,
		CASE WHEN f.queue_id IS NOT NULL THEN 'syncing'
			WHEN q.status = 'failed' THEN 'failed'
			WHEN q.attempt > 0 THEN 'retry'
			WHEN q.id IS NOT NULL THEN 'pending'
			WHEN r.status = 'success' THEN 'synced'
			ELSE 'not synced' END,
		q.error_message, coalesce(q.attempt, 0), q.run_at, r.synced_at, r.external_id
	FROM rmsync.effective_user($2) u
	JOIN rmsync.source_todo t ON t.live AND ($1 IS NULL OR t.notebook_uuid = $1) AND (u IS NULL OR t.user_id = u)
	JOIN rmsync.integration_configs c ON c.user_id = t.user_id AND c.item_types & 4 <> 0
	LEFT JOIN rmsync.sync_records r ON r.user_id = t.user_id AND r.target_name = c.target_name AND r.item_type = 'todo' AND r.item_id = t.item_id
	LEFT JOIN rmsync.sync_queue q ON q.lane_id = c.id AND q.item_type = 'todo' AND q.item_id = t.item_id
	LEFT JOIN (SELECT DISTINCT i.queue_id FROM rmsync.in_flight() i) f ON f.queue_id = q.id
	ORDER BY t.notebook_uuid, t.page_number, t.row_id, c.target_name
$$;
COMMENT ON FUNCTION rmsync_todo_status(text, bigint) IS 'each to-do (of a notebook) at each target: synced, pending, failed and why';
