-- A delivery without a service: what the engine does around a request, and the
-- same statements as src/store_*.c.  For tests of queue and ledger; what
-- really goes out is tested with a receiver, in t/.

-- The open work of everybody, in the order in which it would be taken.
CREATE FUNCTION test.open(OUT user_id bigint, OUT target text, OUT item_type text, OUT item_id text, OUT attempt int, OUT status text) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT q.user_id, q.target_name, q.item_type, q.item_id, q.attempt, q.status
	FROM rmsync.sync_queue q ORDER BY q.lane_id, q.priority, q.seq
$$;

-- Takes a row: the version its delivery would start with.
CREATE FUNCTION test.take(lane bigint, item_type text, item_id text) RETURNS bigint LANGUAGE sql AS $$
	SELECT q.version FROM rmsync.sync_queue q
	WHERE q.lane_id = $1 AND q.item_type = $2 AND q.item_id = $3
	  AND q.status = 'pending' AND (q.run_at IS NULL OR q.run_at <= now())
$$;

-- The item's text as the engine would read it now; NULL if it is gone.
CREATE FUNCTION test.source(user_id bigint, item_type text, item_id text, OUT notebook_uuid text, OUT page_number int, OUT content text, OUT hashed jsonb) RETURNS record LANGUAGE sql AS $$
	SELECT p.notebook_uuid, p.page_number, p.text, to_jsonb(p) FROM rmsync.source_page p
	WHERE $2 = 'page_text' AND p.user_id = $1 AND p.item_id = $3 AND p.live AND p.ready
	UNION ALL
	SELECT n.item_id, NULL, n.title, to_jsonb(n) FROM rmsync.source_notebook n
	WHERE $2 = 'notebook_metadata' AND n.user_id = $1 AND n.item_id = $3 AND n.live
	UNION ALL
	SELECT t.notebook_uuid, t.page_number, t.text, to_jsonb(t) FROM rmsync.source_todo t
	WHERE $2 = 'todo' AND t.user_id = $1 AND t.item_id = $3 AND t.live
	UNION ALL
	SELECT h.notebook_uuid, h.page_number, h.original_text, to_jsonb(h) FROM rmsync.source_highlight h
	WHERE $2 = 'highlight' AND h.user_id = $1 AND h.item_id = $3 AND h.live
	LIMIT 1
$$;

-- Records a delivery that succeeded: the ledger, then the queue row if it is
-- still the version that was taken.  True if the row went.
CREATE FUNCTION test.record(lane bigint, type text, item text, taken bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	c rmsync.integration_configs;
	s record;
BEGIN
	SELECT * INTO c FROM rmsync.integration_configs i WHERE i.id = lane;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	SELECT * INTO s FROM test.source(c.user_id, type, item);
	IF s.notebook_uuid IS NULL THEN
		DELETE FROM rmsync.sync_records r WHERE r.user_id = c.user_id AND r.target_name = c.target_name AND r.item_type = type AND r.item_id = item;
	ELSE
		INSERT INTO rmsync.sync_records AS r (user_id, target_name, item_type, item_id, lane_id, notebook_uuid, page_number, content_hash, placement_hash, config_epoch, external_id, status, synced_at)
		SELECT i.user_id, i.target_name, type, item, i.id, s.notebook_uuid, s.page_number, x.content_hash, x.placement_hash, i.config_epoch, type || ' ' || item, 'success', clock_timestamp()
		FROM rmsync.integration_configs i, rmsync.item_hashes(type, s.hashed) x WHERE i.id = lane
		ON CONFLICT (user_id, target_name, item_type, item_id) DO UPDATE SET lane_id = excluded.lane_id, notebook_uuid = excluded.notebook_uuid,
			page_number = excluded.page_number, content_hash = excluded.content_hash, placement_hash = excluded.placement_hash, config_epoch = excluded.config_epoch, status = 'success', synced_at = excluded.synced_at;
	END IF;
	DELETE FROM rmsync.sync_queue q WHERE q.lane_id = lane AND q.item_type = type AND q.item_id = item AND q.version = taken;
	RETURN FOUND;
END
$$;

-- Delivers what is due, in order: what went out, and as what.
CREATE FUNCTION test.deliver(OUT target text, OUT operation text, OUT item_type text, OUT content text) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	q record;
	s record;
	had boolean;
BEGIN
	FOR q IN SELECT * FROM rmsync.sync_queue WHERE status = 'pending' AND (run_at IS NULL OR run_at <= now())
		ORDER BY lane_id, priority, seq
	LOOP
		SELECT * INTO s FROM test.source(q.user_id, q.item_type, q.item_id);
		had := EXISTS (SELECT FROM rmsync.sync_records r WHERE r.lane_id = q.lane_id AND r.item_type = q.item_type AND r.item_id = q.item_id);
		target := q.target_name;
		item_type := q.item_type;
		operation := CASE WHEN s.notebook_uuid IS NULL THEN 'delete' WHEN had THEN 'update' ELSE 'create' END;
		content := coalesce(s.content, q.item_id);
		PERFORM test.record(q.lane_id, q.item_type, q.item_id, q.version);
		IF s.notebook_uuid IS NOT NULL OR had THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
