-- Two-way completion: what was ticked at a target is taken over by the host.
-- A lane that asks for it gets a queue row of the type 'remote_poll' when it
-- is time to look; the target reads, and what it found is merged here, in the
-- transaction that records that it was read.

-- The value both sides shall have.  base is the last one they agreed on, NULL
-- if nobody knows.  Times at the target are cut to the minute, so the host's
-- are, too; of two edits in one minute the one that says "done" wins.
CREATE FUNCTION rmsync.merge_completion(base boolean, host boolean, host_at timestamptz, remote boolean, remote_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN host = remote THEN host
		WHEN base = host THEN remote
		WHEN base = remote THEN host
		WHEN date_trunc('minute', host_at AT TIME ZONE 'UTC') > date_trunc('minute', remote_at AT TIME ZONE 'UTC') THEN host
		WHEN date_trunc('minute', host_at AT TIME ZONE 'UTC') < date_trunc('minute', remote_at AT TIME ZONE 'UTC') THEN remote
		ELSE true END
$$;
COMMENT ON FUNCTION rmsync.merge_completion(boolean, boolean, timestamptz, boolean, timestamptz) IS 'three-way merge of whether a to-do is done';

-- What the target says.  It may say it twice, with a check box and with a
-- state, of which somebody changed one only.  So each is compared with what it
-- said when both sides agreed last: as "before" has it, else as agreed.
-- NULL: nothing new.
CREATE FUNCTION rmsync.remote_completion(base boolean, before jsonb, ticked boolean, state boolean) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN base IS NULL THEN coalesce(ticked OR state, ticked, state)
		WHEN ticked <> base AND ticked <> coalesce((before ->> 'ticked')::boolean, base) THEN ticked
		WHEN state <> base AND state <> coalesce((before ->> 'state')::boolean, base) THEN state
		END
$$;
COMMENT ON FUNCTION rmsync.remote_completion(boolean, jsonb, boolean, boolean) IS 'whether a to-do is done at the target, if it says something new';

CREATE FUNCTION rmsync.said_otherwise(agreed boolean, ticked boolean, state boolean) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('ticked', nullif(ticked, agreed), 'state', nullif(state, agreed)))
$$;
COMMENT ON FUNCTION rmsync.said_otherwise(boolean, boolean, boolean) IS 'what a target says other than was agreed, for the ledger';

-- Puts a queue row where it is time to look: the lane's own time has come, or
-- somebody told that an object changed.  Only the first reads all that is new,
-- and only where two_way asks for it.  A lane that is held because its database
-- was missing goes on when it is said to be back.
CREATE FUNCTION rmsync.polls_due(every int) RETURNS bigint[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued bigint[];
BEGIN
	-- asked at every wake-up: mostly nobody has such a lane
	IF NOT EXISTS (SELECT FROM rmsync.integration_configs c WHERE c.two_way)
		AND NOT EXISTS (SELECT FROM rmsync.remote_changes x WHERE x.kind <> 'later')
	THEN
		RETURN NULL;
	END IF;
	UPDATE rmsync.integration_configs c SET state = 'active', state_reason = NULL, state_code = NULL, state_since = now(), updated_at = now()
	WHERE c.id IN (SELECT h.id FROM rmsync.integration_configs h
		WHERE h.state = 'held' AND h.state_code = 'database_missing'
		  AND EXISTS (SELECT FROM rmsync.remote_changes x WHERE x.user_id = h.user_id AND x.target_name = h.target_name
			AND x.kind IN ('data_source.undeleted', 'data_source.moved', 'database.undeleted', 'database.moved'))
		ORDER BY h.id FOR NO KEY UPDATE SKIP LOCKED);
	WITH timed AS (
		SELECT c.id FROM rmsync.integration_configs c WHERE c.two_way AND c.poll_at <= now()
		UNION ALL
		-- the setting was lowered
		SELECT c.id FROM rmsync.integration_configs c WHERE c.two_way AND c.poll_at > now() + every * interval '2 seconds'
	), told AS (
		SELECT c.id FROM rmsync.remote_changes x
		JOIN rmsync.integration_configs c ON c.user_id = x.user_id AND c.target_name = x.target_name
		WHERE x.kind <> 'later'
	), lanes AS (
		SELECT c.id, c.id IN (SELECT t.id FROM timed t) AS due
		FROM rmsync.integration_configs c
		WHERE c.id IN (SELECT t.id FROM timed t UNION SELECT t.id FROM told t) AND c.is_enabled AND c.state = 'active'
		-- one that somebody is changing has its turn when that has ended
		ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED
	), later AS (
		UPDATE rmsync.integration_configs c
		-- not all users at once
		SET poll_at = now() + every * (0.9 + 0.2 * random()) * interval '1 second'
		FROM lanes l WHERE l.due AND c.id = l.id
		RETURNING c.id
	), ins AS (
		INSERT INTO rmsync.sync_queue AS q
			(user_id, lane_id, target_name, item_type, item_id, version, seq, priority, forced, trigger_source)
		SELECT c.user_id, c.id, c.target_name, 'remote_poll', c.id::text,
			nextval('rmsync.version_seq'), nextval('rmsync.version_seq'), 10, l.due, 'poll'
		FROM lanes l JOIN rmsync.integration_configs c ON c.id = l.id
		ON CONFLICT (lane_id, item_type, item_id) DO UPDATE SET
			forced = q.forced OR excluded.forced,
			version = CASE WHEN excluded.forced AND NOT q.forced THEN excluded.version ELSE q.version END,
			run_at = CASE WHEN q.status = 'failed' THEN NULL ELSE q.run_at END,
			attempt = CASE WHEN q.status = 'failed' THEN 0 ELSE q.attempt END,
			status = CASE WHEN q.error_code = 'quarantined' THEN q.status ELSE 'pending' END
		WHERE excluded.forced
		RETURNING q.lane_id
	)
	SELECT array_agg(i.lane_id) INTO queued FROM ins i;
	RETURN queued;
END
$$;
COMMENT ON FUNCTION rmsync.polls_due(int) IS 'queues a look at the targets of lanes whose time has come; every: seconds between looks';

-- How late a query may show what was changed, in whole minutes.  (Nobody says
-- it; reads by id have been seen to be up to date.)
CREATE FUNCTION rmsync.query_lag() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '2 minutes';
COMMENT ON FUNCTION rmsync.query_lag() IS 'how late a change may show in a query of a service';

-- Does a to-do of a notebook stand in this page, the notebook's or a part of it?
CREATE FUNCTION rmsync.holds_todos(lane bigint, notebook text, page text) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM rmsync.sync_records t
		WHERE t.lane_id = lane AND t.notebook_uuid = notebook AND t.item_type = 'todo'
		  AND coalesce(t.metadata_json ->> 'notion_page_id', page) = page)
$$;
COMMENT ON FUNCTION rmsync.holds_todos(bigint, text, text) IS 'a to-do of a notebook stands in a page at a service';

-- What a target must know to look: since when it does, objects somebody named,
-- where the last look ended, which notebooks' pages hold to-dos, and which of
-- their parts, that no query shows.
CREATE FUNCTION rmsync.poll_input(lane bigint, everything boolean) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_build_object(
		'since', now(),
		'all', everything,
		'state', coalesce(c.poll_state, '{}'),
		'began', to_char(date_trunc('minute', now() AT TIME ZONE 'UTC'), 'YYYY-MM-DD"T"HH24:MI:SS".000Z"'),
		-- times are cut to the minute
		'from', to_char(((c.poll_state ->> 'watermark')::timestamptz - CASE WHEN (c.poll_state ->> 'skip')::boolean THEN interval '-1 minute'
				WHEN c.poll_state ? 'resume' THEN interval '0' ELSE rmsync.query_lag() END)
			AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
		'settled', to_char((now() - rmsync.query_lag()) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS".000Z"'),
		-- look: is it still there; list: there are to-dos in it
		'marks', coalesce((SELECT jsonb_agg(jsonb_build_object('id', m.external_id, 'type', m.item_type, 'look', m.look,
				'list', m.list AND rmsync.holds_todos(c.id, m.item_id, m.external_id)))
			FROM (SELECT x.external_id, min(r.item_type) AS item_type, min(r.item_id) AS item_id,
					bool_or(x.kind IN ('page.deleted', 'page.undeleted', 'page.moved')) AS look,
					c.two_way AND bool_or(x.kind IN ('page.content_updated', 'later')) AS list
				FROM rmsync.remote_changes x
				LEFT JOIN LATERAL rmsync.records_of(x.external_id) r ON r.lane_id = c.id
				WHERE x.user_id = c.user_id AND x.target_name = c.target_name AND (everything OR x.kind <> 'later')
				GROUP BY x.external_id ORDER BY min(x.at) LIMIT 25) m), '[]'),
		'pages', CASE WHEN everything THEN coalesce((SELECT jsonb_object_agg(n.external_id, 1) FROM rmsync.sync_records n
			WHERE n.lane_id = c.id AND n.item_type = 'notebook_metadata' AND n.external_id IS NOT NULL
			  AND rmsync.holds_todos(c.id, n.item_id, n.external_id)), '{}') END,
		'parts', CASE WHEN everything THEN (SELECT jsonb_agg(p.part ->> 'id' ORDER BY p.part ->> 'id' COLLATE "C")
			FROM rmsync.sync_records n CROSS JOIN LATERAL jsonb_array_elements(n.metadata_json -> 'parts') p (part)
			WHERE n.lane_id = c.id AND n.item_type = 'notebook_metadata' AND n.metadata_json ? 'parts'
			  AND n.external_id IS NOT NULL AND p.part ? 'id'
			  AND rmsync.holds_todos(c.id, n.item_id, p.part ->> 'id')) END)
	FROM rmsync.integration_configs c WHERE c.id = lane
$$;
COMMENT ON FUNCTION rmsync.poll_input(bigint, boolean) IS 'what a target must know to look for changes of a lane';

-- One to-do as the target has it.  Returns what became of it: NULL nothing to
-- do; agreed; host_updated; pushed (the host's value goes there); later (a
-- request may be under way that we do not see, or the row is taken): look
-- again; verify (a query may tell what was before both sides agreed): read it by
-- its id.  The ledger says afterwards what the target says, so that the mark
-- which the host's trigger makes finds nothing to send.
CREATE FUNCTION rmsync.merge_todo(c rmsync.integration_configs, item text, since timestamptz, ticked boolean, state boolean, edited timestamptz, queried boolean) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r rmsync.sync_records;
	t rmsync.source_todo;
	if_open text;
	if_done text;
	base boolean;
	remote boolean;
	wanted boolean;
	written text;
	said jsonb;
	young boolean;
BEGIN
	SELECT * INTO r FROM rmsync.sync_records s
	WHERE s.user_id = c.user_id AND s.target_name = c.target_name AND s.item_type = 'todo' AND s.item_id = item
	FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		RETURN 'later';
	END IF;
	young := r.updated_at >= since - CASE WHEN queried THEN rmsync.query_lag() ELSE interval '0' END;
	base := (r.metadata_json ->> 'completed')::boolean;
	IF base IS NOT NULL AND rmsync.remote_completion(base, r.metadata_json, ticked, state) IS NULL THEN
		said := rmsync.said_otherwise(base, ticked, state);
		IF NOT young AND rmsync.said_otherwise(base, (r.metadata_json ->> 'ticked')::boolean, (r.metadata_json ->> 'state')::boolean) <> said THEN
			-- it came to say what we agreed on anyway
			UPDATE rmsync.sync_records s SET metadata_json = s.metadata_json - '{ticked,state}'::text[] || said
			WHERE s.user_id = r.user_id AND s.target_name = r.target_name AND s.item_type = r.item_type AND s.item_id = item;
		END IF;
		RETURN NULL;
	END IF;
	IF r.config_epoch <> c.config_epoch OR coalesce(ticked, state) IS NULL THEN
		RETURN NULL;
	END IF;
	IF r.updated_at >= since OR r.intent IS NOT NULL
		OR r.status <> 'success' AND EXISTS (SELECT FROM rmsync.sync_queue q
			WHERE q.lane_id = c.id AND q.item_type = 'todo' AND q.item_id = item AND q.status = 'pending')
	THEN
		RETURN 'later';
	ELSIF young THEN
		RETURN 'verify';
	END IF;

	SELECT * INTO t FROM rmsync.source_todo s
	WHERE s.user_id = c.user_id AND s.notebook_uuid = r.notebook_uuid AND s.item_id = item AND s.live;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	-- the hashes the item has if it is not done, and if it is
	SELECT h.content_hash INTO if_open FROM rmsync.item_hashes('todo', to_jsonb(t) || '{"completed": false}') h;
	SELECT h.content_hash INTO if_done FROM rmsync.item_hashes('todo', to_jsonb(t) || '{"completed": true}') h;
	base := coalesce(base, CASE r.content_hash WHEN if_open THEN false WHEN if_done THEN true END);
	remote := coalesce(rmsync.remote_completion(base, r.metadata_json, ticked, state), base);
	wanted := rmsync.merge_completion(base, t.completed, t.modified_at, remote, edited);

	IF wanted <> t.completed THEN
		written := rmsync.host_set_completed(c.user_id, item, t.completed, wanted);
		IF written <> 'written' THEN
			RETURN CASE written WHEN 'busy' THEN 'later' ELSE written END;
		END IF;
		INSERT INTO rmsync.sync_log (user_id, target_name, item_type, item_id, status, operation, external_id)
		VALUES (c.user_id, c.target_name, 'todo', item, 'success', 'read_back', r.external_id);
	END IF;
	UPDATE rmsync.sync_records s SET updated_at = now(),
		metadata_json = coalesce(s.metadata_json, '{}') - '{ticked,state}'::text[] || jsonb_build_object('completed', remote)
			|| rmsync.said_otherwise(remote, ticked, state),
		-- only what we know: an edit of its text may be still to be sent
		content_hash = CASE WHEN s.content_hash IN (if_open, if_done) THEN CASE WHEN remote THEN if_done ELSE if_open END
			ELSE s.content_hash END
	WHERE s.user_id = r.user_id AND s.target_name = r.target_name AND s.item_type = r.item_type AND s.item_id = item;
	IF wanted <> remote THEN
		PERFORM rmsync.enqueue(c.id, ARRAY['todo'], ARRAY[item], ARRAY[t.notebook_uuid], source => 'merge');
		RETURN 'pushed';
	END IF;
	RETURN CASE WHEN wanted = t.completed THEN 'agreed' ELSE 'host_updated' END;
END
$$;
COMMENT ON FUNCTION rmsync.merge_todo(rmsync.integration_configs, text, timestamptz, boolean, boolean, timestamptz, boolean) IS 'merges one to-do as the target has it with the host''s';

-- Objects that somebody named, of which a target has looked whether they are
-- there.  What is gone, or is not as we have written it, is queued for
-- delivery, which finds out for itself and does what the configuration says;
-- a notebook that waits for its page goes on when that is there.
CREATE FUNCTION rmsync.take_looks(c rmsync.integration_configs, since timestamptz, seen jsonb, lost jsonb) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	WITH marks AS (
		DELETE FROM rmsync.remote_changes m
		WHERE m.user_id = c.user_id AND m.target_name = c.target_name AND m.at <= since
		  AND m.external_id IN (SELECT jsonb_array_elements_text(seen))
		RETURNING m.external_id, m.kind
	), objects AS (
		SELECT r.item_type, r.item_id, CASE r.item_type WHEN 'notebook_metadata' THEN r.item_id ELSE r.notebook_uuid END AS notebook,
			CASE WHEN m.external_id <> r.external_id THEN m.external_id END AS part,
			lost ? m.external_id AS gone, bool_or(m.kind = 'page.properties_updated') AS edited,
			EXISTS (SELECT FROM rmsync.sync_queue q WHERE q.lane_id = c.id
				AND (q.item_type = r.item_type AND q.item_id = r.item_id OR m.external_id <> r.external_id AND q.notebook_uuid = r.item_id)
				AND q.error_code = 'page_lost' AND q.run_at > now()) AS waits
		FROM marks m CROSS JOIN LATERAL rmsync.records_of(m.external_id) r
		WHERE r.lane_id = c.id AND r.item_type IN ('notebook_metadata', 'todo') AND m.kind LIKE 'page.%'
		GROUP BY r.item_type, r.item_id, r.notebook_uuid, r.external_id, m.external_id
	), due AS (
		SELECT o.item_type, o.item_id, o.notebook FROM objects o
		WHERE o.part IS NULL AND NOT o.waits AND (o.gone OR (o.edited AND o.item_type = 'notebook_metadata'))
		UNION
		-- who delivers what stands in a part finds out that it is gone, with all of it
		SELECT s.item_type, s.item_id, o.notebook FROM objects o
		CROSS JOIN LATERAL (SELECT i.item_type, i.item_id FROM rmsync.sync_records i
			WHERE i.lane_id = c.id AND i.notebook_uuid = o.notebook AND i.metadata_json ->> 'notion_page_id' = o.part
			ORDER BY i.item_type <> 'page_text', i.item_id LIMIT 1) s
		WHERE o.gone AND NOT o.waits
	), back AS (
		UPDATE rmsync.sync_queue q SET run_at = NULL, updated_at = now()
		FROM objects o
		WHERE q.lane_id = c.id AND q.notebook_uuid = o.notebook AND q.error_code = 'page_lost' AND q.status = 'pending'
		  AND o.item_type = 'notebook_metadata' AND NOT o.gone
	)
	SELECT rmsync.enqueue(c.id, array_agg(d.item_type), array_agg(d.item_id), array_agg(d.notebook), source => 'webhook', force => true)
	FROM due d
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION rmsync.take_looks(rmsync.integration_configs, timestamptz, jsonb, jsonb) IS 'queues what a target has found missing, lets go on what waited for it, and removes the marks';

-- Takes what a target has read:
--	{"since", "found": [{"id", "ticked", "state", "edited", "queried": not read by
--	its id}], "seen": [objects
--	that were marked], "lost": [those of them that are gone or in the trash],
--	"state": where the look ended, "end": nothing is left to be read now (absent
--	before the look ends), "error"}
-- Returns how many to-dos of the host changed.
CREATE FUNCTION rmsync.take_remote(lane bigint, epoch int, report jsonb, every int) RETURNS int
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c rmsync.integration_configs;
	since timestamptz := (report ->> 'since')::timestamptz;
	problem text := report ->> 'error';
	f record;
	outcome text;
	changed int := 0;
BEGIN
	-- it may have been switched off, or led elsewhere, while it was read
	SELECT * INTO c FROM rmsync.integration_configs i WHERE i.id = lane FOR NO KEY UPDATE;
	IF NOT FOUND OR NOT c.is_enabled OR c.config_epoch <> epoch OR NOT rmsync.attached() THEN
		RETURN 0;
	END IF;
	FOR f IN SELECT r.item_id, x.* FROM jsonb_to_recordset(report -> 'found') AS x (id text, ticked boolean, state boolean, edited timestamptz, queried boolean)
		JOIN rmsync.sync_records r ON r.external_id = x.id AND r.item_type <> 'page_text'
		-- most of them say nothing new
		CROSS JOIN LATERAL (SELECT (r.metadata_json ->> 'completed')::boolean AS base) b
		WHERE c.two_way AND r.lane_id = lane AND r.item_type = 'todo'
		  AND (b.base IS NULL OR rmsync.remote_completion(b.base, r.metadata_json, x.ticked, x.state) IS NOT NULL
			OR rmsync.said_otherwise(b.base, x.ticked, x.state) <>
				rmsync.said_otherwise(b.base, (r.metadata_json ->> 'ticked')::boolean, (r.metadata_json ->> 'state')::boolean))
		ORDER BY r.item_id, x.queried NULLS FIRST
	LOOP
		BEGIN
			outcome := rmsync.merge_todo(c, f.item_id, since, f.ticked, f.state, f.edited, coalesce(f.queried, false));
		EXCEPTION WHEN OTHERS THEN
			-- a rule or a missing column of the host's: what else was read must not be lost
			INSERT INTO rmsync.sync_log (user_id, target_name, item_type, item_id, status, operation, error_code, message, external_id)
			VALUES (c.user_id, c.target_name, 'todo', f.item_id, 'failed', 'read_back', 'host_refused', SQLERRM, f.id);
			outcome := 'refused';
		END;
		changed := changed + (outcome IS NOT DISTINCT FROM 'host_updated')::int;
		IF outcome IN ('later', 'verify', 'refused', 'not_attached') THEN
			INSERT INTO rmsync.remote_changes AS m (user_id, target_name, external_id, kind, at)
			VALUES (c.user_id, c.target_name, f.id, CASE outcome WHEN 'verify' THEN 'verify' ELSE 'later' END, clock_timestamp())
			ON CONFLICT ON CONSTRAINT remote_changes_pkey DO UPDATE SET
				-- what the host refuses is not asked for ever
				at = CASE WHEN outcome IN ('later', 'verify') THEN excluded.at ELSE m.at END;
		END IF;
		IF outcome IN ('refused', 'not_attached') THEN
			problem := coalesce(problem, 'A to-do of the application could not be written, see rmsync.sync_log.');
		END IF;
	END LOOP;

	PERFORM rmsync.take_looks(c, since, coalesce(report -> 'seen', '[]'), coalesce(report -> 'lost', '[]'));
	IF NOT c.two_way THEN
		RETURN 0;
	END IF;
	UPDATE rmsync.integration_configs i SET
		poll_state = coalesce(report -> 'state', i.poll_state),
		poll_error = CASE WHEN report ? 'end' OR problem IS NOT NULL THEN problem ELSE i.poll_error END,
		polled_at = CASE WHEN (report ->> 'end')::boolean AND problem IS NULL THEN now() ELSE i.polled_at END,
		poll_at = CASE WHEN NOT report ? 'end' THEN i.poll_at
			WHEN NOT (report ->> 'end')::boolean THEN now()
			WHEN EXISTS (SELECT FROM rmsync.remote_changes m WHERE m.user_id = c.user_id AND m.target_name = c.target_name AND m.kind = 'later')
			THEN least(i.poll_at, now() + every * interval '0.1 seconds')
			ELSE i.poll_at END
	WHERE i.id = lane;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION rmsync.take_remote(bigint, int, jsonb, int) IS 'merges what a target has read back, and records that it was read';
