-- What people call.  SECURITY DEFINER so that an application's role needs
-- EXECUTE and nothing else; each checks that a session confined to one user
-- (setting rmsync.user_id) names no other.

-- The user a call is about: the one named, else the session's, else all.
CREATE FUNCTION rmsync.effective_user(named bigint) RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	own text := nullif(current_setting('rmsync.user_id', true), '');
BEGIN
	IF own IS NULL THEN
		RETURN named;
	END IF;
	IF named IS NOT NULL AND named <> own::bigint THEN
		RAISE EXCEPTION 'permission denied for user %', named
			USING ERRCODE = 'insufficient_privilege',
				DETAIL = format('This session acts for user %s.', own);
	END IF;
	RETURN own::bigint;
END
$$;
COMMENT ON FUNCTION rmsync.effective_user(bigint) IS 'user a call is about, confined by rmsync.user_id';

CREATE FUNCTION rmsync.lane_of(user_id bigint, target_name text) RETURNS rmsync.integration_configs
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c rmsync.integration_configs;
	u bigint := rmsync.effective_user(user_id);
BEGIN
	IF u IS NULL THEN
		RAISE EXCEPTION 'no user is named'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a user id, or set rmsync.user_id.';
	END IF;
	SELECT * INTO c FROM rmsync.integration_configs i WHERE i.user_id = u AND i.target_name = lane_of.target_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'user % is not connected to target "%"', u, target_name
			USING ERRCODE = 'undefined_object', HINT = 'Connect with rmsync_connect(user_id, target_name, config).';
	END IF;
	RETURN c;
END
$$;
COMMENT ON FUNCTION rmsync.lane_of(bigint, text) IS 'the lane of a user and target, or an error';

-- item_type as people may write it
CREATE FUNCTION rmsync.canonical_type(item_type text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t text := CASE item_type WHEN 'notebook' THEN 'notebook_metadata' WHEN 'page' THEN 'page_text' ELSE item_type END;
BEGIN
	IF t IS NOT NULL AND rmsync.type_bit(t) = 0 THEN
		RAISE EXCEPTION 'unrecognized item type "%"', item_type
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Item types are notebook, page_text, todo and highlight.';
	END IF;
	RETURN t;
END
$$;
COMMENT ON FUNCTION rmsync.canonical_type(text) IS 'canonical spelling of an item type, or an error';

CREATE FUNCTION rmsync_connect(user_id bigint, target_name text, config jsonb, backup boolean DEFAULT false) RETURNS jsonb
AS 'MODULE_PATHNAME', 'rmsync_connect_sql' LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION rmsync_connect(bigint, text, jsonb, boolean) IS 'connects a user to a target (or replaces the connection); config is an object or a Fernet token of one; backup => true stores a second credential for when the first is refused';

CREATE FUNCTION rmsync.open_limits(lane bigint) RETURNS void
AS 'MODULE_PATHNAME', 'rmsync_open_limits' LANGUAGE C STRICT;
COMMENT ON FUNCTION rmsync.open_limits(bigint) IS 'ends a waiting time that the service of a lane asked for, for all lanes that share the limit';

CREATE FUNCTION rmsync.store_connection(user_id bigint, target_name text, token text, item_types int, granularity "char", new_destination boolean, backup boolean, two_way boolean, grant_id bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lane bigint;
BEGIN
	IF backup THEN
		UPDATE rmsync.integration_configs c SET backup_config_encrypted = token, updated_at = now(),
			state = CASE c.state WHEN 'auth' THEN 'active' ELSE c.state END,
			state_reason = CASE c.state WHEN 'auth' THEN NULL ELSE c.state_reason END,
			state_since = CASE c.state WHEN 'auth' THEN now() ELSE c.state_since END
		WHERE c.user_id = store_connection.user_id AND c.target_name = store_connection.target_name
		RETURNING id INTO lane;
		IF lane IS NULL THEN
			RAISE EXCEPTION 'user % is not connected to target "%"', user_id, target_name
				USING ERRCODE = 'undefined_object', HINT = 'Store the active credential first.';
		END IF;
	ELSE
		INSERT INTO rmsync.integration_configs AS c
			(user_id, target_name, config_encrypted, grant_id, item_types, granularity, reconcile_after, two_way, poll_at)
		VALUES (user_id, target_name, token, store_connection.grant_id, item_types, granularity, pg_current_xact_id(), two_way, CASE WHEN two_way THEN now() END)
		ON CONFLICT ON CONSTRAINT unique_user_target DO UPDATE SET
			config_encrypted = excluded.config_encrypted,
			grant_id = excluded.grant_id,
			item_types = excluded.item_types,
			is_enabled = true,
			state = 'active', state_reason = NULL, state_since = now(),
			blocked_until = NULL, fail_streak = 0, service_limits = NULL,
			config_epoch = c.config_epoch + new_destination::int,
			remote = CASE WHEN new_destination THEN NULL ELSE c.remote END,
			reconcile_wanted = true, reconcile_after = excluded.reconcile_after,
			two_way = excluded.two_way, poll_at = excluded.poll_at, poll_error = NULL,
			-- what was not read back while this was off is read now
			poll_state = CASE WHEN c.two_way AND NOT new_destination THEN c.poll_state END,
			updated_at = now()
		RETURNING id INTO lane;
		PERFORM rmsync.open_limits(lane);
	END IF;
	PERFORM rmsync.lanes_changed();
	PERFORM rmsync.wake();
	RETURN lane;
END
$$;
COMMENT ON FUNCTION rmsync.store_connection(bigint, text, text, int, "char", boolean, boolean, boolean, bigint) IS 'writes the row of a lane; called by rmsync_connect()';

CREATE FUNCTION rmsync.integration_json(c rmsync.integration_configs) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_build_object('id', c.id, 'user_id', c.user_id, 'target_name', c.target_name,
		'is_enabled', c.is_enabled, 'state', c.state, 'state_reason', c.state_reason,
		'created_at', c.created_at, 'updated_at', c.updated_at, 'last_synced_at', c.last_synced_at,
		'total_items_synced', c.total_items_synced, 'has_backup', c.backup_config_encrypted IS NOT NULL)
		|| coalesce((SELECT jsonb_build_object('oauth', jsonb_build_object('workspace_id', g.workspace_id,
			'granted_at', g.granted_at, 'renewed_at', g.renewed_at, 'ended_at', g.ended_at))
			FROM rmsync.oauth_grants g WHERE g.id = c.grant_id), '{}')
		|| CASE WHEN c.service_limits IS NOT NULL THEN jsonb_build_object('service_limits', c.service_limits) ELSE '{}' END
		|| CASE WHEN c.two_way THEN jsonb_build_object('two_way',
			jsonb_build_object('last_read_at', c.polled_at, 'error', c.poll_error)) ELSE '{}' END
$$;
COMMENT ON FUNCTION rmsync.integration_json(rmsync.integration_configs) IS 'a lane without its secrets';

CREATE FUNCTION rmsync_integrations(user_id bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(jsonb_agg(rmsync.integration_json(c) ORDER BY c.user_id, c.target_name), '[]')
	FROM rmsync.integration_configs c, rmsync.effective_user($1) u
	WHERE u IS NULL OR c.user_id = u
$$;
COMMENT ON FUNCTION rmsync_integrations(bigint) IS 'the connections of a user, without secrets';

CREATE FUNCTION rmsync_enable(user_id bigint, target_name text, allow_deletes boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c rmsync.integration_configs := rmsync.lane_of(user_id, target_name);
BEGIN
	UPDATE rmsync.integration_configs i SET is_enabled = true, state = 'active', state_reason = NULL,
		state_since = now(), blocked_until = NULL, fail_streak = 0,
		service_limits = i.service_limits - '{closed_until,workspace_closed_until}'::text[],
		allow_deletes = rmsync_enable.allow_deletes,
		poll_at = CASE WHEN i.two_way THEN now() END,
		reconcile_wanted = true, reconcile_after = pg_current_xact_id(), updated_at = now()
	WHERE i.id = c.id RETURNING * INTO c;
	PERFORM rmsync.open_limits(c.id);
	PERFORM rmsync.lanes_changed();
	PERFORM rmsync.wake();
	RETURN rmsync.integration_json(c);
END
$$;
COMMENT ON FUNCTION rmsync_enable(bigint, text, boolean) IS 'switches a connection on, lifts a held or stopped state, and catches up; allow_deletes => true confirms a mass deletion that was held back';

CREATE FUNCTION rmsync_disable(user_id bigint, target_name text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c rmsync.integration_configs := rmsync.lane_of(user_id, target_name);
BEGIN
	UPDATE rmsync.integration_configs i SET is_enabled = false, updated_at = now()
	WHERE i.id = c.id RETURNING * INTO c;
	DELETE FROM rmsync.sync_queue q WHERE q.lane_id = c.id AND q.status = 'pending'
		AND NOT EXISTS (SELECT FROM rmsync.sync_records r WHERE r.user_id = q.user_id AND r.target_name = q.target_name
			AND r.item_type = q.item_type AND r.item_id = q.item_id AND r.intent IS NOT NULL);
	PERFORM rmsync.lanes_changed();
	PERFORM rmsync.wake();
	RETURN rmsync.integration_json(c);
END
$$;
COMMENT ON FUNCTION rmsync_disable(bigint, text) IS 'switches a connection off; enabling it again catches up';

CREATE FUNCTION rmsync_disconnect(user_id bigint, target_name text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c rmsync.integration_configs := rmsync.lane_of(user_id, target_name);
	records bigint;
	queued bigint;
BEGIN
	DELETE FROM rmsync.integration_configs i WHERE i.id = c.id;
	DELETE FROM rmsync.sync_queue q WHERE q.lane_id = c.id;
	GET DIAGNOSTICS queued = ROW_COUNT;
	DELETE FROM rmsync.sync_records r WHERE r.lane_id = c.id;
	GET DIAGNOSTICS records = ROW_COUNT;
	DELETE FROM rmsync.remote_changes x WHERE x.user_id = c.user_id AND x.target_name = c.target_name;
	PERFORM rmsync.lanes_changed();
	PERFORM rmsync.wake();
	RETURN jsonb_build_object('target_name', target_name, 'sync_records_deleted', records, 'queue_items_deleted', queued);
END
$$;
COMMENT ON FUNCTION rmsync_disconnect(bigint, text) IS 'removes a connection with its queue, ledger and credentials, but for a grant that another one uses; what the service holds stays there';

CREATE FUNCTION rmsync_trigger(target_name text DEFAULT NULL, item_type text DEFAULT NULL,
	notebook_uuids text[] DEFAULT NULL, max_items int DEFAULT NULL, user_id bigint DEFAULT NULL,
	force boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u bigint := rmsync.effective_user(user_id);
	wanted text := rmsync.canonical_type(item_type);
	c rmsync.integration_configs;
	n int;
	queued int := 0;
	targets text[] := '{}';
BEGIN
	IF target_name IS NOT NULL AND target_name <> 'all' AND NOT EXISTS (SELECT FROM rmsync.targets() t WHERE t.name = rmsync_trigger.target_name) THEN
		RAISE EXCEPTION 'unrecognized target "%"', target_name
			USING ERRCODE = 'undefined_object', HINT = 'SELECT rmsync_targets() lists the targets.';
	END IF;
	IF NOT rmsync.attached() THEN
		RAISE EXCEPTION 'rmsync is not attached to the tables of a host application'
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run rmsync_attach().';
	END IF;
	IF max_items < 0 THEN
		RAISE EXCEPTION 'max_items must not be negative' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOR c IN SELECT * FROM rmsync.integration_configs i
		WHERE i.is_enabled AND (u IS NULL OR i.user_id = u)
		  AND (rmsync_trigger.target_name IS NULL OR rmsync_trigger.target_name IN ('all', i.target_name))
		ORDER BY i.target_name, i.user_id
	LOOP
		WITH notebooks AS (
			SELECT s.item_id AS uuid, s.modified_at AS at FROM rmsync.source_notebook s
			WHERE s.user_id = c.user_id AND s.live AND (notebook_uuids IS NULL OR s.item_id = ANY (notebook_uuids))
			UNION
			SELECT DISTINCT r.notebook_uuid, NULL::timestamptz FROM rmsync.sync_records r
			WHERE r.lane_id = c.id AND r.notebook_uuid IS NOT NULL
			  AND (notebook_uuids IS NULL OR r.notebook_uuid = ANY (notebook_uuids))
			  AND NOT EXISTS (SELECT FROM rmsync.source_notebook s WHERE s.user_id = c.user_id AND s.item_id = r.notebook_uuid AND s.live)
		), work AS (
			SELECT 'notebook_metadata' AS t, b.uuid AS i, b.uuid AS nb, b.at FROM notebooks b
			UNION
			(SELECT DISTINCT ON (d.item_type, d.item_id) d.item_type, d.item_id, b.uuid, b.at FROM notebooks b
			CROSS JOIN LATERAL rmsync.notebook_difference(c.id, c.user_id, c.item_types, c.config_epoch, b.uuid) d
			ORDER BY d.item_type, d.item_id, d.gone)
			UNION
			SELECT 'page_text', p.item_id, b.uuid, b.at FROM notebooks b
			JOIN rmsync.source_page p ON p.user_id = c.user_id AND p.notebook_uuid = b.uuid
			WHERE force AND p.live AND p.ready
			UNION
			SELECT 'todo', t.item_id, b.uuid, b.at FROM notebooks b
			JOIN rmsync.source_todo t ON t.user_id = c.user_id AND t.notebook_uuid = b.uuid
			WHERE force AND t.live
			UNION
			SELECT 'highlight', h.item_id, b.uuid, b.at FROM notebooks b
			JOIN rmsync.source_highlight h ON h.user_id = c.user_id AND h.notebook_uuid = b.uuid
			WHERE force AND h.live
		), chosen AS (
			SELECT * FROM work w
			WHERE (wanted IS NULL OR w.t = wanted) AND c.item_types & rmsync.type_bit(w.t) <> 0
			ORDER BY w.at DESC NULLS LAST, w.nb, rmsync.type_bit(w.t), w.i LIMIT max_items
		)
		SELECT coalesce(rmsync.enqueue(c.id,
			array_agg(w.t ORDER BY w.at DESC NULLS LAST, w.nb, rmsync.type_bit(w.t), w.i),
			array_agg(w.i ORDER BY w.at DESC NULLS LAST, w.nb, rmsync.type_bit(w.t), w.i),
			array_agg(w.nb ORDER BY w.at DESC NULLS LAST, w.nb, rmsync.type_bit(w.t), w.i), 1::smallint, 'manual', force), 0)
		INTO n FROM chosen w;
		queued := queued + n;
		UPDATE rmsync.integration_configs i SET poll_at = now()
		WHERE i.id = c.id AND i.two_way AND coalesce(wanted, 'todo') = 'todo';
		IF NOT c.target_name = ANY (targets) THEN
			targets := targets || c.target_name;
		END IF;
	END LOOP;
	PERFORM rmsync.wake();
	RETURN jsonb_build_object('queued_count', queued, 'targets_processed', to_jsonb(targets));
END
$$;
COMMENT ON FUNCTION rmsync_trigger(text, text, text[], int, bigint, boolean) IS 'queues what differs between source and target, with high priority; force => true queues it even if it does not differ';

CREATE FUNCTION rmsync_retry(id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u bigint := rmsync.effective_user(NULL);
	lane bigint;
	notebook text;
BEGIN
	UPDATE rmsync.sync_queue q SET status = 'pending', run_at = NULL, attempt = 0, error_code = NULL,
		suspect = CASE WHEN q.crash_count > 0 THEN 2 ELSE q.suspect END, crash_count = 0,
		version = nextval('rmsync.version_seq'), priority = 1, updated_at = now()
	WHERE q.id = rmsync_retry.id AND (u IS NULL OR q.user_id = u)
	  AND q.error_code IS DISTINCT FROM 'unknown_outcome'
	RETURNING q.lane_id, q.notebook_uuid INTO lane, notebook;
	IF lane IS NULL THEN
		RETURN false;
	END IF;
	-- what waits for the same page goes with it
	UPDATE rmsync.sync_queue q SET run_at = NULL, updated_at = now()
	WHERE q.lane_id = lane AND q.notebook_uuid = notebook AND q.error_code IN ('page_lost', 'page_archived') AND q.status = 'pending';
	PERFORM rmsync.wake();
	RETURN true;
END
$$;
COMMENT ON FUNCTION rmsync_retry(bigint) IS 'tries a failed, waiting or quarantined queue item again at once; false if there is none, or if its last request must be resolved first';

CREATE FUNCTION rmsync_cancel(id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u bigint := rmsync.effective_user(NULL);
BEGIN
	DELETE FROM rmsync.sync_queue q
	WHERE q.id = rmsync_cancel.id AND (u IS NULL OR q.user_id = u)
	  AND q.error_code IS DISTINCT FROM 'unknown_outcome';
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION rmsync_cancel(bigint) IS 'removes an item from the queue; a request already under way is recorded when it ends';

CREATE FUNCTION rmsync_queue(user_id bigint DEFAULT NULL, target_name text DEFAULT NULL, status text DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	WITH q AS (
		SELECT s.*, CASE WHEN s.status = 'pending' AND f.queue_id IS NOT NULL THEN 'processing' ELSE s.status END AS shown
		FROM rmsync.sync_queue s
		LEFT JOIN (SELECT DISTINCT i.queue_id FROM rmsync.in_flight() i) f ON f.queue_id = s.id
		CROSS JOIN rmsync.effective_user($1) u
		WHERE (u IS NULL OR s.user_id = u) AND ($2 IS NULL OR s.target_name = $2)
	)
	SELECT jsonb_build_object(
		'pending', count(*) FILTER (WHERE shown = 'pending'),
		'processing', count(*) FILTER (WHERE shown = 'processing'),
		'failed', count(*) FILTER (WHERE shown = 'failed'),
		'items', coalesce((SELECT jsonb_agg(jsonb_build_object(
				'id', i.id, 'user_id', i.user_id, 'item_type', i.item_type, 'item_id', i.item_id,
				'notebook_uuid', i.notebook_uuid, 'target_names', jsonb_build_array(i.target_name),
				'status', i.shown, 'priority', i.priority, 'retry_count', i.attempt,
				'run_at', i.run_at, 'error_code', i.error_code, 'error_message', i.error_message,
				'trigger_source', i.trigger_source, 'created_at', i.created_at) ORDER BY i.priority, i.seq)
			FROM (SELECT * FROM q WHERE $3 IS NULL OR q.shown = $3 ORDER BY q.priority, q.seq LIMIT $4) i), '[]'))
	FROM q
$$;
COMMENT ON FUNCTION rmsync_queue(bigint, text, text, int) IS 'open work: counts and items';

CREATE FUNCTION rmsync_stats(user_id bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	WITH state AS (
		SELECT r.target_name, r.item_type, CASE WHEN q.status = 'failed' THEN 'failed'
			WHEN q.attempt > 0 THEN 'retry' WHEN q.id IS NOT NULL THEN 'pending' ELSE r.status END AS status
		FROM rmsync.effective_user($1) u
		JOIN rmsync.sync_records r ON u IS NULL OR r.user_id = u
		LEFT JOIN rmsync.sync_queue q ON q.lane_id = r.lane_id AND q.item_type = r.item_type AND q.item_id = r.item_id
		UNION ALL
		SELECT q.target_name, q.item_type, CASE WHEN q.status = 'failed' THEN 'failed' WHEN q.attempt > 0 THEN 'retry' ELSE 'pending' END
		FROM rmsync.effective_user($1) u
		JOIN rmsync.sync_queue q ON (u IS NULL OR q.user_id = u) AND q.item_type <> 'remote_poll'
		WHERE NOT EXISTS (SELECT FROM rmsync.sync_records r WHERE r.user_id = q.user_id AND r.target_name = q.target_name
			AND r.item_type = q.item_type AND r.item_id = q.item_id)
	)
	SELECT jsonb_build_object(
		'total_syncs', (SELECT count(*) FROM state),
		'status_counts', coalesce((SELECT jsonb_object_agg(status, n) FROM (SELECT status, count(*) AS n FROM state GROUP BY 1) s), '{}'),
		'target_counts', coalesce((SELECT jsonb_object_agg(target_name, n) FROM (SELECT target_name, count(*) AS n FROM state GROUP BY 1) s), '{}'),
		'type_counts', coalesce((SELECT jsonb_object_agg(item_type, n) FROM (SELECT item_type, count(*) AS n FROM state GROUP BY 1) s), '{}'))
$$;
COMMENT ON FUNCTION rmsync_stats(bigint) IS 'items by status, target and type';

CREATE FUNCTION rmsync_status(target_name text, user_id bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_build_object('target_name', $1,
		'is_enabled', coalesce(bool_or(c.is_enabled), false),
		'last_synced_at', max(c.last_synced_at),
		'connections', count(c.id),
		'states', coalesce((SELECT jsonb_object_agg(s.state, s.n) FROM (
			SELECT x.state, count(*) AS n FROM rmsync.integration_configs x
			WHERE x.target_name = $1 AND (min(u.u) IS NULL OR x.user_id = min(u.u)) GROUP BY x.state) s), '{}'),
		'state_reason', max(c.state_reason),
		'stats', jsonb_build_object(
			'synced', (SELECT count(*) FROM rmsync.sync_records r WHERE r.target_name = $1
				AND (min(u.u) IS NULL OR r.user_id = min(u.u)) AND r.status = 'success'),
			'pending', (SELECT count(*) FROM rmsync.sync_queue q WHERE q.target_name = $1
				AND (min(u.u) IS NULL OR q.user_id = min(u.u)) AND q.status = 'pending' AND q.item_type <> 'remote_poll'),
			'failed', (SELECT count(*) FROM rmsync.sync_queue q WHERE q.target_name = $1
				AND (min(u.u) IS NULL OR q.user_id = min(u.u)) AND q.status = 'failed' AND q.item_type <> 'remote_poll')))
	FROM (SELECT rmsync.effective_user($2) AS u) u
	LEFT JOIN rmsync.integration_configs c ON c.target_name = $1 AND (u.u IS NULL OR c.user_id = u.u)
$$;
COMMENT ON FUNCTION rmsync_status(text, bigint) IS 'state of one target: enabled, last success, counts';

CREATE FUNCTION rmsync_page_status(notebook_uuid text, user_id bigint DEFAULT NULL)
RETURNS TABLE (page_number int, item_id text, target_name text, status text, error_message text, retry_count int, next_try_at timestamptz, synced_at timestamptz, external_id text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT p.page_number, p.item_id, c.target_name,
		CASE WHEN f.queue_id IS NOT NULL THEN 'syncing'
			WHEN q.status = 'failed' THEN 'failed'
			WHEN q.attempt > 0 THEN 'retry'
			WHEN q.id IS NOT NULL THEN 'pending'
			WHEN NOT p.ready THEN 'waiting for text'
			WHEN r.status = 'success' THEN 'synced'
			ELSE 'not synced' END,
		q.error_message, coalesce(q.attempt, 0), q.run_at, r.synced_at, r.external_id
	FROM rmsync.effective_user($2) u
	JOIN rmsync.source_page p ON p.notebook_uuid = $1 AND p.live AND (u IS NULL OR p.user_id = u)
	JOIN rmsync.integration_configs c ON c.user_id = p.user_id AND c.item_types & 2 <> 0
	LEFT JOIN rmsync.sync_records r ON r.user_id = p.user_id AND r.target_name = c.target_name AND r.item_type = 'page_text' AND r.item_id = p.item_id
	LEFT JOIN rmsync.sync_queue q ON q.lane_id = c.id AND q.item_type = 'page_text' AND q.item_id = p.item_id
	LEFT JOIN (SELECT DISTINCT i.queue_id FROM rmsync.in_flight() i) f ON f.queue_id = q.id
	ORDER BY p.page_number, c.target_name
$$;
COMMENT ON FUNCTION rmsync_page_status(text, bigint) IS 'each page of a notebook at each target: synced, pending, failed and why';

CREATE FUNCTION rmsync.targets(OUT name text, OUT title text, OUT item_types int, OUT granularity text, OUT requests_per_minute int, OUT config_schema jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'rmsync_targets_sql' LANGUAGE C STABLE;
COMMENT ON FUNCTION rmsync.targets() IS 'the targets this library knows';

CREATE FUNCTION rmsync_targets() RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_agg(jsonb_build_object('name', t.name, 'title', t.title,
		'item_types', (SELECT jsonb_agg(i) FROM unnest(ARRAY['notebook_metadata', 'page_text', 'todo', 'highlight']) i WHERE t.item_types & rmsync.type_bit(i) <> 0),
		'granularity', t.granularity, 'requests_per_minute', nullif(t.requests_per_minute, 0),
		'config_schema', t.config_schema) ORDER BY t.name)
	FROM rmsync.targets() t
$$;
COMMENT ON FUNCTION rmsync_targets() IS 'targets with their capabilities, limits and configuration schema';

CREATE PROCEDURE rmsync_run(max_items int DEFAULT NULL, INOUT result jsonb DEFAULT NULL)
AS 'MODULE_PATHNAME', 'rmsync_run_sql' LANGUAGE C;
COMMENT ON PROCEDURE rmsync_run(int, jsonb) IS 'delivers what is due in this session: the workers'' engine in the foreground, for servers without preload and for tests';

-- Waits until nothing is open that could make progress by itself.
CREATE PROCEDURE rmsync_wait(timeout interval DEFAULT '1 minute', user_id bigint DEFAULT NULL, INOUT done boolean DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
	until timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) timeout;
BEGIN
	LOOP
		done := NOT EXISTS (SELECT FROM rmsync.sync_intake)
			AND NOT EXISTS (SELECT FROM rmsync.integration_configs c
				WHERE c.is_enabled AND c.reconcile_wanted AND c.state OPERATOR(pg_catalog.=) 'active'
				  AND ($2 IS NULL OR c.user_id OPERATOR(pg_catalog.=) $2))
			AND NOT EXISTS (SELECT FROM rmsync.sync_queue q
				JOIN rmsync.integration_configs c ON c.id OPERATOR(pg_catalog.=) q.lane_id
				WHERE q.status OPERATOR(pg_catalog.=) 'pending'
				  AND c.is_enabled AND c.state OPERATOR(pg_catalog.=) 'active'
				  AND ($2 IS NULL OR q.user_id OPERATOR(pg_catalog.=) $2));
		EXIT WHEN done OR pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) until;
		COMMIT;
		PERFORM pg_catalog.pg_sleep(0.02);
	END LOOP;
END
$$;
COMMENT ON PROCEDURE rmsync_wait(interval, bigint, boolean) IS 'waits until all open work is done; done says whether it is';

CREATE FUNCTION rmsync_health() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	WITH w AS (SELECT * FROM rmsync.worker_state()),
	due AS (
		SELECT q.target_name, min(coalesce(q.run_at, q.created_at)) AS oldest, count(*) AS n
		FROM rmsync.sync_queue q JOIN rmsync.integration_configs c ON c.id = q.lane_id
		WHERE q.status = 'pending' AND coalesce(q.run_at, q.created_at) <= now() AND c.is_enabled AND c.state = 'active'
		GROUP BY q.target_name),
	holder AS (
		SELECT a.pid, a.application_name, age(a.backend_xmin) AS age, a.xact_start
		FROM pg_stat_activity a WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()
		ORDER BY age(a.backend_xmin) DESC LIMIT 1)
	SELECT jsonb_build_object(
		'queue_processor', CASE WHEN w.workers > 0 THEN 'running' WHEN w.reason IS NULL THEN 'idle' ELSE 'stopped' END,
		'reason', w.reason,
		'workers', w.workers,
		'attached', (SELECT i.host_kind FROM rmsync.instance i),
		'instance_ok', rmsync.instance_matches(),
		'master_key', coalesce(rmsync.master_key_status(), 'ok'),
		'intake', (SELECT count(*) FROM (SELECT FROM rmsync.sync_intake LIMIT 10000) s),
		'last_processed_at', (SELECT max(c.last_synced_at) FROM rmsync.integration_configs c),
		'oldest_due', (SELECT min(d.oldest) FROM due d),
		'stale_syncs_count', (SELECT count(*) FROM rmsync.sync_queue q JOIN rmsync.integration_configs c ON c.id = q.lane_id
			WHERE q.status = 'pending' AND c.is_enabled AND coalesce(q.run_at, q.created_at) < now() - interval '15 minutes'),
		'xmin_holder', (SELECT to_jsonb(h) FROM holder h),
		'targets', coalesce((SELECT jsonb_object_agg(t.target_name, jsonb_build_object(
				'status', CASE WHEN NOT t.any_enabled THEN 'disabled'
					WHEN NOT rmsync.instance_matches() OR rmsync.master_key_status() IS NOT NULL THEN 'stopped'
					WHEN t.troubled > 0 AND t.troubled = t.lanes THEN 'stopped'
					WHEN t.troubled > 0 OR t.failing > 0 THEN 'degraded' ELSE 'healthy' END,
				'last_sync', t.last_sync, 'lanes', t.lanes, 'lane_states', t.states,
				'due', coalesce((SELECT d.n FROM due d WHERE d.target_name = t.target_name), 0)))
			FROM (SELECT s.target_name, sum(s.n) AS lanes, bool_or(s.enabled) AS any_enabled,
					sum(s.n) FILTER (WHERE s.state IN ('auth', 'quota', 'held')) AS troubled,
					sum(s.failing) AS failing, max(s.last_sync) AS last_sync, jsonb_object_agg(s.state, s.n) AS states
				FROM (SELECT c.target_name, c.state, count(*) AS n, bool_or(c.is_enabled) AS enabled,
						count(*) FILTER (WHERE c.fail_streak > 0) AS failing, max(c.last_synced_at) AS last_sync
					FROM rmsync.integration_configs c GROUP BY c.target_name, c.state) s
				GROUP BY s.target_name) t), '{}'))
	FROM w
$$;
COMMENT ON FUNCTION rmsync_health() IS 'whether work is being done, and if not why and what to do';
