-- Fold: marks become queue rows; reconcile: source and ledger are compared.
-- Called by the engine in short transactions of its own, never by a host
-- transaction.

CREATE FUNCTION rmsync.type_bit(item_type text) RETURNS int
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE item_type WHEN 'notebook_metadata' THEN 1 WHEN 'page_text' THEN 2
	WHEN 'todo' THEN 4 WHEN 'highlight' THEN 8 ELSE 0 END;
COMMENT ON FUNCTION rmsync.type_bit(text) IS 'bit of an item type in integration_configs.item_types; 0 if unrecognized';

CREATE FUNCTION rmsync.kind_type(kind "char") RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE kind WHEN 'n' THEN 'notebook_metadata' WHEN 'p' THEN 'page_text'
	WHEN 't' THEN 'todo' WHEN 'h' THEN 'highlight' END;
COMMENT ON FUNCTION rmsync.kind_type("char") IS 'item type of an intake mark';

-- Items of one notebook whose state at a lane's target is not the source's.
-- Removal is decided here, by looking at the whole notebook at once: the host
-- deletes and re-inserts every mapping at each upload.
CREATE FUNCTION rmsync.notebook_difference(lane_id bigint, user_id bigint, item_types int, epoch int, notebook text,
	OUT item_type text, OUT item_id text, OUT gone boolean)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	-- pages
	SELECT 'page_text', coalesce(s.item_id, r.item_id), s.item_id IS NULL
	FROM (SELECT DISTINCT ON (p.item_id) p.item_id, p.page_number, p.text, p.ready
		  FROM rmsync.source_page p
		  WHERE p.user_id = $2 AND p.notebook_uuid = $5 AND p.live
		  ORDER BY p.item_id, p.ready DESC, p.row_id DESC) s
	FULL JOIN (SELECT * FROM rmsync.sync_records
			   WHERE sync_records.lane_id = $1 AND notebook_uuid = $5 AND sync_records.item_type = 'page_text') r
		ON r.item_id = s.item_id
	WHERE $3 & 2 <> 0
	  AND ((s.item_id IS NULL
			-- moved to another notebook is not gone: that one has a mark, too
			AND NOT EXISTS (SELECT FROM rmsync.source_page o WHERE o.user_id = $2 AND o.item_id = r.item_id AND o.live))
		   OR (s.ready AND (r.item_id IS NULL OR r.status <> 'success'
							OR r.config_epoch <> $4
							OR r.page_number IS DISTINCT FROM s.page_number
							OR r.content_hash <> rmsync.content_hash_page(s.text))))
	UNION ALL
	SELECT 'todo', coalesce(s.item_id, r.item_id), s.item_id IS NULL
	FROM (SELECT t.item_id, x.content_hash, x.placement_hash
		  FROM rmsync.source_todo t CROSS JOIN LATERAL rmsync.item_hashes('todo', to_jsonb(t)) x
		  WHERE t.user_id = $2 AND t.notebook_uuid = $5 AND t.live AND $3 & 4 <> 0) s
	FULL JOIN (SELECT * FROM rmsync.sync_records
			   WHERE sync_records.lane_id = $1 AND notebook_uuid = $5 AND sync_records.item_type = 'todo') r
		ON r.item_id = s.item_id
	WHERE $3 & 4 <> 0
	  AND (s.item_id IS NULL OR r.item_id IS NULL OR r.status <> 'success' OR r.config_epoch <> $4
		   OR r.content_hash <> s.content_hash OR r.placement_hash <> s.placement_hash
		   -- says the name of its notebook
		   OR r.metadata_json ->> 'notebook' <> (SELECT n.title FROM rmsync.source_notebook n
				WHERE n.user_id = $2 AND n.item_id = $5 AND n.live))
	UNION ALL
	SELECT 'highlight', coalesce(s.item_id, r.item_id), s.item_id IS NULL
	FROM (SELECT h.item_id, x.content_hash, x.placement_hash
		  FROM rmsync.source_highlight h CROSS JOIN LATERAL rmsync.item_hashes('highlight', to_jsonb(h)) x
		  WHERE h.user_id = $2 AND h.notebook_uuid = $5 AND h.live AND $3 & 8 <> 0) s
	FULL JOIN (SELECT * FROM rmsync.sync_records
			   WHERE sync_records.lane_id = $1 AND notebook_uuid = $5 AND sync_records.item_type = 'highlight') r
		ON r.item_id = s.item_id
	WHERE $3 & 8 <> 0
	  AND (s.item_id IS NULL OR r.item_id IS NULL OR r.status <> 'success' OR r.config_epoch <> $4
		   OR r.content_hash <> s.content_hash OR r.placement_hash <> s.placement_hash)
$$;
COMMENT ON FUNCTION rmsync.notebook_difference(bigint, bigint, int, int, text) IS 'items of a notebook whose target state differs from the source';

-- Puts items of one lane into the queue.  The version is given here, in fold
-- order, and the update has no WHERE: both variants would lose updates.  A
-- row whose last request has an unknown outcome keeps its waiting time; one
-- that is quarantined stays so, or every upload of its notebook would bring
-- the server down again.
CREATE FUNCTION rmsync.enqueue(lane bigint, types text[], items text[], notebooks text[],
	prio smallint DEFAULT 5, source text DEFAULT 'trigger', force boolean DEFAULT false)
RETURNS int
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	WITH ins AS (
		INSERT INTO rmsync.sync_queue AS q
			(user_id, lane_id, target_name, item_type, item_id, notebook_uuid, version, seq, priority, trigger_source, forced)
		SELECT c.user_id, c.id, c.target_name, w.t, w.i, w.n,
			nextval('rmsync.version_seq'), nextval('rmsync.version_seq'), $5, $6, $7
		FROM (SELECT DISTINCT ON (t, i) t, i, n, ord
			  FROM unnest($2, $3, $4) WITH ORDINALITY AS u(t, i, n, ord) ORDER BY t, i, ord) w
		JOIN rmsync.integration_configs c ON c.id = $1
		WHERE c.item_types & rmsync.type_bit(w.t) <> 0
		ORDER BY w.ord
		ON CONFLICT (lane_id, item_type, item_id) DO UPDATE SET
			version = nextval('rmsync.version_seq'),
			notebook_uuid = coalesce(excluded.notebook_uuid, q.notebook_uuid),
			priority = least(q.priority, excluded.priority),
			trigger_source = CASE excluded.trigger_source WHEN 'confirmed' THEN 'confirmed' ELSE q.trigger_source END,
			forced = q.forced OR excluded.forced,
			status = CASE WHEN q.error_code = 'quarantined' THEN q.status ELSE 'pending' END,
			run_at = CASE WHEN q.error_code = 'unknown_outcome' THEN q.run_at END,
			attempt = 0,
			updated_at = now()
		RETURNING 1)
	SELECT count(*)::int FROM ins
$$;
COMMENT ON FUNCTION rmsync.enqueue(bigint, text[], text[], text[], smallint, text, boolean) IS 'puts items of one lane into the queue';

-- Takes marks and returns how many, and the lanes that got work.
CREATE FUNCTION rmsync.fold(max_marks int DEFAULT 5000, OUT folded int, OUT lanes bigint[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	gone bigint[];
	everything bigint[];
	crowd bigint[];
BEGIN
	folded := 0;
	lanes := '{}';
	IF NOT EXISTS (SELECT FROM rmsync.sync_intake) OR NOT rmsync.attached() THEN
		RETURN;
	END IF;

	WITH taken AS (
		DELETE FROM rmsync.sync_intake i
		WHERE i.id = ANY (ARRAY(SELECT s.id FROM rmsync.sync_intake s ORDER BY s.id LIMIT max_marks FOR UPDATE SKIP LOCKED))
		RETURNING i.id, i.user_id, i.kind, i.item_id, i.notebook_uuid, i.at
	), marks AS (
		SELECT t.user_id, t.kind, t.item_id, min(t.id) AS first, max(t.id) AS last, min(t.at) AS at,
			(array_agg(t.notebook_uuid ORDER BY t.id DESC) FILTER (WHERE t.notebook_uuid IS NOT NULL))[1] AS notebook_uuid
		FROM taken t GROUP BY t.user_id, t.kind, t.item_id
	), open_lanes AS (
		SELECT c.id, c.user_id, c.target_name, c.item_types, c.config_epoch
		FROM rmsync.integration_configs c
		WHERE c.is_enabled AND c.user_id IN (SELECT m.user_id FROM marks m)
		  AND c.user_id NOT IN (SELECT m.user_id FROM marks m WHERE m.kind = 'u')
	), wanted AS (
		SELECT l.id AS lane_id, l.user_id, l.target_name, rmsync.kind_type(m.kind) AS item_type, m.item_id,
			CASE m.kind WHEN 'n' THEN m.item_id ELSE m.notebook_uuid END AS notebook_uuid, m.at, m.first, m.last, false AS gone
		FROM marks m JOIN open_lanes l ON l.user_id = m.user_id
		WHERE m.kind IN ('n', 'p', 't', 'h') AND l.item_types & rmsync.type_bit(rmsync.kind_type(m.kind)) <> 0
		UNION ALL
		SELECT l.id, l.user_id, l.target_name, d.item_type, d.item_id, m.item_id, m.at, m.first, m.last, d.gone
		FROM marks m JOIN open_lanes l ON l.user_id = m.user_id
		CROSS JOIN LATERAL rmsync.notebook_difference(l.id, l.user_id, l.item_types, l.config_epoch, m.item_id) d
		WHERE m.kind = 'n'
	), single AS (
		SELECT w.lane_id, w.user_id, w.target_name, w.item_type, w.item_id, min(w.at) AS at, min(w.first) AS ord,
			-- gone from one notebook and there in another: it moved
			CASE WHEN bool_and(w.gone) THEN 'removed' ELSE 'trigger' END AS source,
			(array_agg(w.notebook_uuid ORDER BY w.gone, w.last DESC) FILTER (WHERE w.notebook_uuid IS NOT NULL))[1] AS notebook_uuid
		FROM wanted w GROUP BY w.lane_id, w.user_id, w.target_name, w.item_type, w.item_id
	), ins AS (
		INSERT INTO rmsync.sync_queue AS q
			(user_id, lane_id, target_name, item_type, item_id, notebook_uuid, version, seq, trigger_source, created_at)
		SELECT s.user_id, s.lane_id, s.target_name, s.item_type, s.item_id, s.notebook_uuid,
			nextval('rmsync.version_seq'), nextval('rmsync.version_seq'), s.source, s.at
		FROM single s ORDER BY s.lane_id, s.ord, rmsync.type_bit(s.item_type), s.item_id
		ON CONFLICT (lane_id, item_type, item_id) DO UPDATE SET
			version = nextval('rmsync.version_seq'),
			notebook_uuid = CASE excluded.trigger_source WHEN 'removed' THEN coalesce(q.notebook_uuid, excluded.notebook_uuid)
				ELSE coalesce(excluded.notebook_uuid, q.notebook_uuid) END,
			priority = least(q.priority, excluded.priority),
			status = CASE WHEN q.error_code = 'quarantined' THEN q.status ELSE 'pending' END,
			run_at = CASE WHEN q.error_code = 'unknown_outcome' THEN q.run_at END,
			attempt = 0,
			updated_at = now()
		RETURNING q.lane_id
	)
	SELECT (SELECT count(*) FROM taken), coalesce((SELECT array_agg(DISTINCT i.lane_id) FROM ins i), '{}'),
		(SELECT array_agg(m.user_id) FROM marks m WHERE m.kind = 'u'),
		(SELECT array_agg(DISTINCT m.user_id) FROM marks m WHERE m.kind = 'U'),
		(SELECT array_agg(c.user_id) FROM (SELECT m.user_id FROM marks m WHERE m.kind = 'n' GROUP BY m.user_id HAVING count(*) >= 5) c)
	INTO folded, lanes, gone, everything, crowd;

	IF gone IS NOT NULL THEN
		PERFORM rmsync.forget_user(g) FROM unnest(gone) AS g;
	END IF;
	IF everything IS NOT NULL THEN
		UPDATE rmsync.integration_configs c SET reconcile_wanted = true WHERE c.user_id = ANY (everything);
	END IF;
	IF crowd IS NOT NULL THEN
		PERFORM rmsync.guard_deletes(c.id) FROM rmsync.integration_configs c WHERE c.user_id = ANY (crowd) AND c.is_enabled;
	END IF;
END
$$;
COMMENT ON FUNCTION rmsync.fold(int) IS 'turns intake marks into queue rows, newest wins';

-- A deleted user's lanes, credentials, queue and ledger go with the user.
CREATE FUNCTION rmsync.forget_user(gone bigint) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	DELETE FROM rmsync.integration_configs WHERE user_id = gone;
	DELETE FROM rmsync.oauth_grants WHERE user_id = gone;
	DELETE FROM rmsync.sync_queue WHERE user_id = gone;
	DELETE FROM rmsync.sync_records WHERE user_id = gone;
	DELETE FROM rmsync.sync_log WHERE user_id = gone;
	DELETE FROM rmsync.notebook_sync_settings WHERE user_id = gone;
	DELETE FROM rmsync.notifications WHERE user_id = gone;
	DELETE FROM rmsync.webhook_secrets WHERE user_id = gone;
	DELETE FROM rmsync.webhook_events WHERE user_id = gone;
	DELETE FROM rmsync.remote_changes WHERE user_id = gone;
	DELETE FROM rmsync.notion_objects WHERE user_id = gone;
	DELETE FROM rmsync.notion_intents WHERE user_id = gone;
	DELETE FROM rmsync.sync_intake WHERE user_id = gone;
$$;
COMMENT ON FUNCTION rmsync.forget_user(bigint) IS 'removes everything rmsync holds of a user';

-- Holds a lane when more than rmsync.mass_delete_guard of what it has
-- delivered would go at once: a TRUNCATE by mistake must not empty somebody's
-- Notion.  rmsync_enable(..., allow_deletes => true) lets it pass once: the
-- next reconcile queues what is gone now as confirmed, and that does not count
-- any more.
CREATE FUNCTION rmsync.guard_deletes(lane bigint) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	total bigint;
	going bigint;
	c rmsync.integration_configs;
BEGIN
	SELECT * INTO c FROM rmsync.integration_configs WHERE id = lane;
	IF NOT FOUND OR c.allow_deletes OR c.state <> 'active' THEN
		RETURN false;
	END IF;
	SELECT count(*) INTO total FROM rmsync.sync_records WHERE lane_id = lane AND external_id IS NOT NULL;
	IF total < 20 THEN
		RETURN false;
	END IF;
	WITH here AS (
		SELECT 'notebook_metadata' AS t, n.item_id AS i FROM rmsync.source_notebook n WHERE n.user_id = c.user_id AND n.live
		UNION ALL
		SELECT 'page_text', p.item_id FROM rmsync.source_page p WHERE p.user_id = c.user_id AND p.live
		UNION ALL
		SELECT 'todo', t.item_id FROM rmsync.source_todo t WHERE t.user_id = c.user_id AND t.live
		UNION ALL
		SELECT 'highlight', h.item_id FROM rmsync.source_highlight h WHERE h.user_id = c.user_id AND h.live)
	SELECT count(*) INTO going
	FROM rmsync.sync_records r
	WHERE r.lane_id = lane AND r.external_id IS NOT NULL
	  AND (r.item_type, r.item_id) NOT IN (SELECT here.t, here.i FROM here)
	  AND (r.item_type, r.item_id) NOT IN (SELECT q.item_type, q.item_id FROM rmsync.sync_queue q
		WHERE q.lane_id = lane AND q.trigger_source = 'confirmed');
	IF going <= total * current_setting('rmsync.mass_delete_guard', true)::float8 THEN
		RETURN false;
	END IF;
	UPDATE rmsync.integration_configs SET state = 'held', state_code = 'mass_delete', state_since = now(), updated_at = now(),
		state_reason = format('%s of %s delivered items would be deleted at once', going, total)
	WHERE id = lane;
	INSERT INTO rmsync.notifications (user_id, target_name, kind, message)
	VALUES (c.user_id, c.target_name, 'held',
		format('Synchronization to %s is held: %s of %s delivered items would be deleted at once. Confirm with rmsync_enable(%s, %L, allow_deletes => true).',
			c.target_name, going, total, c.user_id, c.target_name));
	RETURN true;
END
$$;
COMMENT ON FUNCTION rmsync.guard_deletes(bigint) IS 'holds a lane when too much of it would be deleted at once';

-- Compares source and ledger for a whole lane and queues the difference,
-- recent notebooks first.
CREATE FUNCTION rmsync.reconcile_lane(lane bigint, prio smallint DEFAULT 8, force boolean DEFAULT false) RETURNS int
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c rmsync.integration_configs;
	queued int;
BEGIN
	SELECT * INTO c FROM rmsync.integration_configs WHERE id = lane;
	IF NOT FOUND OR NOT rmsync.attached() THEN
		RETURN 0;
	END IF;
	IF rmsync.guard_deletes(lane) THEN
		UPDATE rmsync.integration_configs SET reconcile_wanted = false WHERE id = lane;
		RETURN 0;
	END IF;
	WITH notebooks AS (
		SELECT n.item_id AS uuid, n.modified_at AS at FROM rmsync.source_notebook n WHERE n.user_id = c.user_id AND n.live
		UNION
		SELECT DISTINCT r.notebook_uuid, NULL::timestamptz FROM rmsync.sync_records r
		WHERE r.lane_id = lane AND r.notebook_uuid IS NOT NULL
		  AND NOT EXISTS (SELECT FROM rmsync.source_notebook n WHERE n.user_id = c.user_id AND n.item_id = r.notebook_uuid AND n.live)
	), work AS (
		SELECT 'notebook_metadata' AS t, b.uuid AS i, b.uuid AS n, b.at FROM notebooks b
		UNION ALL
		-- gone from one notebook and there in another: it moved
		(SELECT DISTINCT ON (d.item_type, d.item_id) d.item_type, d.item_id, b.uuid, b.at
		FROM notebooks b
		CROSS JOIN LATERAL rmsync.notebook_difference(c.id, c.user_id, c.item_types, c.config_epoch, b.uuid) d
		ORDER BY d.item_type, d.item_id, d.gone)
	)
	SELECT rmsync.enqueue(lane,
		array_agg(w.t ORDER BY w.at DESC NULLS LAST, w.n, rmsync.type_bit(w.t), w.i),
		array_agg(w.i ORDER BY w.at DESC NULLS LAST, w.n, rmsync.type_bit(w.t), w.i),
		array_agg(w.n ORDER BY w.at DESC NULLS LAST, w.n, rmsync.type_bit(w.t), w.i),
		prio, CASE WHEN c.allow_deletes THEN 'confirmed' ELSE 'reconcile' END, force)
	INTO queued FROM work w HAVING count(*) > 0;
	UPDATE rmsync.integration_configs SET reconcile_wanted = false, allow_deletes = false,
		reconcile_after = CASE WHEN reconcile_after < pg_snapshot_xmin(pg_current_snapshot()) THEN NULL ELSE reconcile_after END
	WHERE id = lane;
	RETURN coalesce(queued, 0);
END
$$;
COMMENT ON FUNCTION rmsync.reconcile_lane(bigint, smallint, boolean) IS 'queues every difference between source and ledger of one lane';

-- Lanes that asked for a reconcile: at once, and once more when every
-- transaction that was running when the lane appeared has ended (such a
-- transaction may have written without seeing the lane).
CREATE FUNCTION rmsync.reconcile_due(OUT lanes bigint[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	l bigint;
BEGIN
	lanes := '{}';
	IF NOT rmsync.attached() THEN
		RETURN;
	END IF;
	FOR l IN SELECT c.id FROM rmsync.integration_configs c
		WHERE c.is_enabled AND c.state <> 'held'
		  AND (c.reconcile_wanted OR c.reconcile_after < pg_snapshot_xmin(pg_current_snapshot()))
		ORDER BY c.id LIMIT 20
	LOOP
		PERFORM rmsync.reconcile_lane(l);
		lanes := lanes || l;
	END LOOP;
END
$$;
COMMENT ON FUNCTION rmsync.reconcile_due() IS 'reconciles the lanes that asked for it';

-- Items whose objects may have come into being at a target after nobody looked
-- any more: the ledger says when to look again, in the notebook where the item
-- is by then.
CREATE FUNCTION rmsync.looks_due() RETURNS bigint[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued bigint[];
BEGIN
	-- asked whenever something is due: mostly there is none
	IF NOT EXISTS (SELECT FROM rmsync.sync_records r WHERE r.look_at < 'infinity' AND r.look_at <= now()) OR NOT rmsync.attached() THEN
		RETURN NULL;
	END IF;
	WITH due AS (
		SELECT r.user_id, r.target_name, r.item_type, r.item_id,
			(SELECT q.status FROM rmsync.sync_queue q
				WHERE q.lane_id = r.lane_id AND q.item_type = r.item_type AND q.item_id = r.item_id) AS queued
		FROM rmsync.sync_records r
		WHERE r.look_at < 'infinity' AND r.look_at <= now()
		ORDER BY r.look_at LIMIT 1000 FOR NO KEY UPDATE OF r SKIP LOCKED
	), marked AS (
		-- One that is queued anyway keeps its attempts; its job looks, too, and
		-- where it has failed, that is the one rmsync_retry() asks for.
		UPDATE rmsync.sync_records r SET look_at = CASE d.queued WHEN 'pending' THEN now() + interval '5 seconds' ELSE 'infinity' END
		FROM due d
		WHERE r.user_id = d.user_id AND r.target_name = d.target_name AND r.item_type = d.item_type AND r.item_id = d.item_id
		RETURNING r.lane_id, r.user_id, r.item_type, r.item_id, r.notebook_uuid, d.queued
	), placed AS (
		-- mostly where it was; the other look reads all of the user's
		SELECT m.lane_id, m.item_type, m.item_id, coalesce(CASE m.item_type
			WHEN 'notebook_metadata' THEN m.item_id
			WHEN 'page_text' THEN coalesce(
				(SELECT s.notebook_uuid FROM rmsync.source_page s WHERE s.user_id = m.user_id AND s.notebook_uuid = m.notebook_uuid
					AND s.item_id = m.item_id AND s.live LIMIT 1),
				(SELECT s.notebook_uuid FROM rmsync.source_page s WHERE s.user_id = m.user_id AND s.item_id = m.item_id AND s.live LIMIT 1))
			WHEN 'todo' THEN (SELECT s.notebook_uuid FROM rmsync.source_todo s WHERE s.user_id = m.user_id AND s.item_id = m.item_id AND s.live LIMIT 1)
			WHEN 'highlight' THEN (SELECT s.notebook_uuid FROM rmsync.source_highlight s WHERE s.user_id = m.user_id AND s.item_id = m.item_id AND s.live LIMIT 1)
			END, m.notebook_uuid) AS notebook_uuid
		FROM marked m WHERE m.queued IS NULL
	), lanes AS (
		SELECT p.lane_id, rmsync.enqueue(p.lane_id, array_agg(p.item_type), array_agg(p.item_id), array_agg(p.notebook_uuid),
			8::smallint, 'look') AS n
		FROM placed p GROUP BY p.lane_id
	)
	SELECT array_agg(l.lane_id) INTO queued FROM lanes l WHERE l.n > 0;
	RETURN queued;
END
$$;
COMMENT ON FUNCTION rmsync.looks_due() IS 'queues items at whose target something may have come late, when their time has come';
