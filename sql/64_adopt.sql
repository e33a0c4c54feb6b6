-- Taking over what the host application's own sync has brought to a target:
-- its connections, and its records as ledger entries, so that nothing is
-- created twice.  Nothing of the host's is written.
--
-- What the host recorded need not be so any more.  The entries of notebooks and
-- to-dos are therefore made with an intent {"op": "adopt"}: the target looks at
-- the notebook's page, or at the to-do's row, before it sends anything else.

CREATE FUNCTION rmsync.adopt_connection(user_id bigint, target_name text, stored text, make boolean, OUT outcome text, OUT problem text) RETURNS record
AS 'MODULE_PATHNAME', 'rmsync_adopt_connection' LANGUAGE C STRICT;
COMMENT ON FUNCTION rmsync.adopt_connection(bigint, text, text, boolean) IS
'makes a connection from what the host stored for it; called by rmsync_adopt()';

-- Notion's ids as we keep them; NULL if it is none.
CREATE FUNCTION rmsync.notion_id(id text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT regexp_replace(x, '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\1-\2-\3-\4-\5')
	FROM lower(replace(id, '-', '')) x
	WHERE x ~ '^[0-9a-f]{32}$'
$$;
COMMENT ON FUNCTION rmsync.notion_id(text) IS 'id of an object at Notion with dashes, NULL if it is not an id';

-- The host's records of one user and target, every shape it ever wrote, by
-- our item: pages by uuid or row id, notebooks by uuid or row id.  page_id is
-- the notebook's page at Notion where the record of a page tells it.
CREATE FUNCTION rmsync.host_records(host_schema name, target_name text, user_id bigint,
	OUT item_type text, OUT item_id text, OUT notebook_uuid text, OUT page_number int,
	OUT external_id text, OUT page_id text, OUT content_hash text, OUT success boolean, OUT at timestamptz, OUT row_id bigint)
RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s name := host_schema;
	r name := 'sync_records';
BEGIN
	RETURN QUERY EXECUTE format('
		SELECT x.item_type,
			CASE x.item_type
				WHEN ''notebook_metadata'' THEN coalesce(x.notebook_uuid, n.notebook_uuid::text, x.item_id)
				WHEN ''page_text'' THEN coalesce(x.page_uuid, CASE WHEN pn.id IS NOT NULL THEN %2$s END)
				ELSE x.item_id END,
			CASE WHEN x.item_type <> ''notebook_metadata'' THEN x.notebook_uuid END,
			x.page_number,
			coalesce(CASE WHEN x.item_type = ''page_text'' THEN x.block_id END, x.external_id),
			CASE WHEN x.item_type = ''page_text'' THEN coalesce(x.parent_id, CASE WHEN x.block_id <> x.external_id THEN x.external_id END) END,
			x.content_hash, x.success, x.at, x.id
		FROM (
			SELECT r.id::bigint, CASE r.item_type WHEN ''notebook'' THEN ''notebook_metadata'' ELSE r.item_type::text END AS item_type,
				nullif(r.item_id::text, '''') AS item_id, nullif(%3$s, '''') AS page_uuid, nullif(%4$s, '''') AS notebook_uuid,
				%5$s AS page_number, coalesce(rmsync.notion_id(r.external_id::text), r.external_id::text) AS external_id,
				rmsync.notion_id(substring(%6$s FROM ''"notion_block_id"\s*:\s*"([0-9a-fA-F-]+)"'')) AS block_id,
				rmsync.notion_id(substring(%6$s FROM ''"notion_page_id"\s*:\s*"([0-9a-fA-F-]+)"'')) AS parent_id,
				r.content_hash::text, r.status = ''success'' AS success, coalesce(%7$s, %8$s, %9$s) AS at,
				CASE WHEN r.item_id ~ ''^[0-9]{1,18}$'' THEN r.item_id::bigint END AS number
			FROM %1$I.sync_records r
			WHERE r.user_id = $1 AND r.target_name = $2 AND r.external_id <> '''') x
		LEFT JOIN %1$I.notebooks n ON x.item_type = ''notebook_metadata'' AND n.id = x.number AND n.user_id = $1
		LEFT JOIN %1$I.pages p ON x.item_type = ''page_text'' AND x.page_uuid IS NULL AND p.id = x.number
		LEFT JOIN %1$I.notebooks pn ON pn.id = p.notebook_id AND pn.user_id = $1',
		s, rmsync.host_page_item(s),
		rmsync.host_column(s, r, 'r', 'page_uuid', 'text'), rmsync.host_column(s, r, 'r', 'notebook_uuid', 'text'),
		rmsync.host_column(s, r, 'r', 'page_number', 'int'), rmsync.host_column(s, r, 'r', 'metadata_json', 'text'),
		rmsync.host_column(s, r, 'r', 'synced_at', 'timestamptz'), rmsync.host_column(s, r, 'r', 'updated_at', 'timestamptz'),
		rmsync.host_column(s, r, 'r', 'created_at', 'timestamptz'))
	USING user_id, target_name;
END
$$;
COMMENT ON FUNCTION rmsync.host_records(name, text, bigint) IS 'what the host recorded of a user at a target, by our items';

-- The same, one row per item: of several the newest success speaks.
CREATE FUNCTION rmsync.host_ledger(host_schema name, target_name text, user_id bigint,
	OUT item_type text, OUT item_id text, OUT notebook_uuid text, OUT page_number int,
	OUT external_id text, OUT page_id text, OUT content_hash text, OUT problem text)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH h AS MATERIALIZED (
		SELECT * FROM rmsync.host_records($1, $2, $3)
	), r AS (
		SELECT h.*, CASE
			WHEN h.item_id IS NULL THEN 'its item is unknown'
			-- the host once recorded the notebook's page for the block of a page
			WHEN h.item_type = 'page_text' AND h.external_id IN (SELECT b.external_id
				FROM h b WHERE b.item_type = 'notebook_metadata') THEN 'it names the notebook''s page'
			WHEN $2 LIKE 'notion%' AND rmsync.notion_id(h.external_id) IS NULL THEN 'its id is not one of Notion''s' END AS problem
		FROM h
	), ranked AS (
		SELECT r.*, row_number() OVER w AS rank
		FROM r WHERE r.problem IS NULL
		WINDOW w AS (PARTITION BY r.item_type, r.item_id ORDER BY r.success DESC, r.at DESC NULLS LAST, r.row_id DESC)
	)
	SELECT x.item_type, x.item_id, x.notebook_uuid, x.page_number, x.external_id, x.page_id,
		CASE WHEN x.success THEN x.content_hash ELSE '' END, NULL
	FROM ranked x WHERE x.rank = 1
	UNION ALL
	SELECT r.item_type, r.item_id, r.notebook_uuid, r.page_number, r.external_id, r.page_id, '', r.problem
	FROM r WHERE r.problem IS NOT NULL
$$;
COMMENT ON FUNCTION rmsync.host_ledger(name, text, bigint) IS 'what the host recorded of a user at a target, one row per item';

-- True if the host recorded a page with this text: its hash when a text is
-- read holds the number and uuid of the page then, its hash when a user
-- connects the bare text.
CREATE FUNCTION rmsync.host_page_same(recorded text, notebook_uuid text, numbers int[], page_uuid text, page_text text) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT recorded <> '' AND page_text IS NOT NULL AND (recorded = @extschema@.rmsync_fingerprint_host_initial(page_text)
		OR EXISTS (SELECT FROM unnest(numbers) n, unnest(ARRAY[page_uuid, NULL]) u
			WHERE recorded = @extschema@.rmsync_fingerprint_host_page(notebook_uuid, coalesce(n, 0), u, page_text)))
$$;
COMMENT ON FUNCTION rmsync.host_page_same(text, text, int[], text, text) IS 'whether a hash the host recorded is that of a text';

-- What is to be done with each item of a user: entries for the ledger, and
-- the reasons for the report.
CREATE FUNCTION rmsync.adoption(host_schema name, target_name text, user_id bigint, item_types int,
	OUT item_type text, OUT item_id text, OUT notebook_uuid text, OUT page_number int, OUT external_id text,
	OUT content_hash text, OUT placement_hash text, OUT metadata_json jsonb, OUT action text, OUT reason text)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH h AS MATERIALIZED (
		SELECT * FROM rmsync.host_ledger($1, $2, $3) x WHERE rmsync.type_bit(x.item_type) & $4 <> 0
	), known AS MATERIALIZED (
		SELECT r.item_type, r.item_id FROM rmsync.sync_records r
		WHERE r.user_id = $3 AND r.target_name = $2 AND (r.external_id IS NOT NULL OR r.intent IS NOT NULL)
	), book AS MATERIALIZED (
		SELECT n.item_id FROM rmsync.source_notebook n WHERE n.user_id = $3 AND n.live
	), page AS MATERIALIZED (
		SELECT s.*, to_jsonb(s) AS hashed
		FROM (SELECT DISTINCT ON (p.item_id) p.* FROM rmsync.source_page p
			WHERE p.user_id = $3 AND p.live AND $4 & 2 <> 0
			ORDER BY p.item_id, p.ready DESC, p.row_id DESC) s
	), pages AS (
		SELECT s.item_id, s.ready, s.page_number AS number, h.item_id IS NOT NULL AS found, h.external_id,
			coalesce(h.notebook_uuid, s.notebook_uuid) AS notebook_uuid,
			CASE WHEN s.ready AND h.item_id IS NOT NULL THEN rmsync.host_page_same(h.content_hash, s.notebook_uuid, ARRAY[s.page_number, h.page_number], s.item_id, s.text) END AS same,
			coalesce(h.page_number = s.page_number
				OR h.page_number IS NULL AND s.ready AND h.content_hash IN (
					@extschema@.rmsync_fingerprint_host_page(s.notebook_uuid, s.page_number, s.item_id, s.text),
					@extschema@.rmsync_fingerprint_host_page(s.notebook_uuid, s.page_number, NULL, s.text)), false)
				AND coalesce(h.notebook_uuid, s.notebook_uuid) = s.notebook_uuid AS placed,
			h.page_number AS recorded_number, h.page_id, x.content_hash, x.placement_hash
		FROM page s
		LEFT JOIN h ON h.item_type = 'page_text' AND h.item_id = s.item_id AND h.problem IS NULL
		CROSS JOIN LATERAL rmsync.item_hashes('page_text', s.hashed) x
	), books AS (
		SELECT b.item_id, coalesce(h.external_id, p.page_id) AS external_id, h.item_id IS NOT NULL OR p.toggles > 0 AS found
		FROM book b
		LEFT JOIN h ON h.item_type = 'notebook_metadata' AND h.item_id = b.item_id AND h.problem IS NULL
		LEFT JOIN (SELECT s.notebook_uuid, count(*) FILTER (WHERE s.found) AS toggles, min(s.page_id) AS page_id
			FROM pages s GROUP BY s.notebook_uuid) p ON p.notebook_uuid = b.item_id
		WHERE $4 & 1 <> 0
	), todos AS (
		SELECT t.*, h.item_id IS NOT NULL AS found, h.external_id, x.content_hash, x.placement_hash,
			h.content_hash = @extschema@.rmsync_fingerprint_host_todo(t.text, t.notebook_uuid, coalesce(t.page_number, 0)) AS same
		FROM rmsync.source_todo t
		LEFT JOIN h ON h.item_type = 'todo' AND h.item_id = t.item_id AND h.problem IS NULL
		CROSS JOIN LATERAL rmsync.item_hashes('todo', to_jsonb(t)) x
		WHERE t.user_id = $3 AND t.live AND $4 & 4 <> 0
	), planned AS (
		SELECT 'notebook_metadata' AS item_type, b.item_id, b.item_id AS notebook_uuid, NULL::int AS page_number, b.external_id,
			'' AS content_hash, '' AS placement_hash,
			CASE WHEN b.external_id IS NOT NULL THEN jsonb_build_object('notion_page_id', b.external_id) END AS metadata_json,
			CASE WHEN b.found THEN 'adopted' ELSE 'create' END AS action,
			CASE WHEN NOT b.found THEN 'the host has not delivered it'
				WHEN b.external_id IS NULL THEN 'its page is looked for at Notion' END AS reason
		FROM books b
		UNION ALL
		SELECT 'page_text', p.item_id, p.notebook_uuid, CASE WHEN p.placed THEN p.number ELSE p.recorded_number END, p.external_id,
			CASE WHEN p.same THEN p.content_hash ELSE '' END, CASE WHEN p.placed THEN p.placement_hash ELSE '' END,
			jsonb_strip_nulls(jsonb_build_object('notion_page_id', b.external_id, 'notion_block_id', p.external_id, 'parent_type', 'toggle_block')),
			CASE WHEN NOT p.found AND p.ready THEN 'create' WHEN NOT p.found THEN 'wait'
				WHEN NOT p.ready THEN 'kept' WHEN p.same AND p.placed THEN 'unchanged'
				WHEN p.same THEN 'renumber' ELSE 'update' END,
			CASE WHEN NOT p.found AND p.ready THEN 'the host has not delivered it' WHEN NOT p.found THEN NULL
				WHEN NOT p.ready THEN 'it has no text at present' WHEN p.same AND p.placed THEN NULL
				WHEN p.same THEN 'its number or notebook is another now, or was not recorded'
				ELSE 'its text has changed since, or is of unknown state' END
		FROM pages p LEFT JOIN books b ON b.item_id = p.notebook_uuid
		UNION ALL
		-- the host never says again whether a to-do is done
		SELECT 'todo', t.item_id, t.notebook_uuid, t.page_number, t.external_id,
			CASE WHEN t.same AND NOT t.completed THEN t.content_hash ELSE '' END,
			CASE WHEN t.same THEN t.placement_hash ELSE '' END, NULL,
			CASE WHEN NOT t.found THEN 'create' WHEN t.same AND NOT t.completed THEN 'unchanged' ELSE 'update' END,
			CASE WHEN NOT t.found THEN 'the host has not delivered it' WHEN t.same AND NOT t.completed THEN NULL
				WHEN t.same THEN 'it may have been ticked since'
				ELSE 'its text has changed since, or is of unknown state' END
		FROM todos t
	)
	SELECT p.item_type, p.item_id, p.notebook_uuid, p.page_number, p.external_id, p.content_hash, p.placement_hash, p.metadata_json,
		CASE WHEN k.item_id IS NOT NULL THEN 'known' ELSE p.action END,
		CASE WHEN k.item_id IS NULL THEN p.reason END
	FROM planned p LEFT JOIN known k ON k.item_type = p.item_type AND k.item_id = p.item_id
	WHERE p.action <> 'wait'
	UNION ALL
	SELECT h.item_type, h.item_id, h.notebook_uuid, h.page_number, h.external_id, '', '', NULL, 'left',
		coalesce('its record is of no use: ' || h.problem, 'the source does not have it any more')
	FROM h
	WHERE h.problem IS NOT NULL OR (h.item_type, h.item_id) NOT IN (SELECT p.item_type, p.item_id FROM planned p)
$$;
COMMENT ON FUNCTION rmsync.adoption(name, text, bigint, int) IS 'what rmsync_adopt() does with each item of a user, and why';

-- Writes a user's ledger entries and queues the notebooks for verification.
-- An entry that has an object, or a request under way, is left alone.
CREATE FUNCTION rmsync.adopt_items(lane bigint, plan rmsync.sync_records[]) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c rmsync.integration_configs;
	written bigint;
	books text[];
	todos text[];
	todo_books text[];
BEGIN
	-- ledger entries of a delivery under way wait for us, or we for them
	SELECT * INTO c FROM rmsync.integration_configs i WHERE i.id = lane FOR UPDATE;
	WITH ins AS (
		INSERT INTO rmsync.sync_records AS r (user_id, target_name, item_type, item_id, lane_id, notebook_uuid, page_number,
			content_hash, placement_hash, config_epoch, external_id, status, metadata_json, intent, synced_at)
		SELECT c.user_id, c.target_name, p.item_type, p.item_id, c.id, p.notebook_uuid, p.page_number,
			p.content_hash, p.placement_hash, c.config_epoch, p.external_id,
			CASE WHEN p.item_type IN ('notebook_metadata', 'todo') THEN 'in_progress'
				WHEN p.content_hash <> '' AND p.placement_hash <> '' THEN 'success' ELSE 'pending' END,
			p.metadata_json,
			CASE WHEN p.item_type IN ('notebook_metadata', 'todo') THEN '{"op": "adopt"}'::jsonb END,
			CASE WHEN p.content_hash <> '' THEN now() END
		FROM unnest(plan) p
		ON CONFLICT (user_id, target_name, item_type, item_id) DO UPDATE SET
			lane_id = excluded.lane_id, notebook_uuid = excluded.notebook_uuid, page_number = excluded.page_number,
			content_hash = excluded.content_hash, placement_hash = excluded.placement_hash,
			config_epoch = excluded.config_epoch, external_id = excluded.external_id, status = excluded.status,
			metadata_json = excluded.metadata_json, intent = excluded.intent, synced_at = excluded.synced_at, updated_at = now()
		WHERE r.external_id IS NULL AND r.intent IS NULL
		RETURNING r.item_type, r.item_id, r.notebook_uuid)
	SELECT count(*), array_agg(DISTINCT ins.notebook_uuid) FILTER (WHERE ins.item_type IN ('notebook_metadata', 'page_text')),
		array_agg(ins.item_id ORDER BY ins.item_id) FILTER (WHERE ins.item_type = 'todo'),
		array_agg(ins.notebook_uuid ORDER BY ins.item_id) FILTER (WHERE ins.item_type = 'todo')
	INTO written, books, todos, todo_books FROM ins;

	-- pages that came to a notebook we know: it is looked at again
	UPDATE rmsync.sync_records r SET intent = '{"op": "adopt"}', status = 'in_progress', updated_at = now()
	WHERE r.lane_id = lane AND r.item_type = 'notebook_metadata' AND r.item_id = ANY (books) AND r.intent IS NULL;

	IF c.is_enabled AND written > 0 THEN
		IF books IS NOT NULL THEN
			-- with their pages, so that one look at a notebook decides them all
			PERFORM rmsync.enqueue(lane, array_fill('notebook_metadata'::text, ARRAY[cardinality(books)]), books, books, 3::smallint, 'adopt');
		END IF;
		IF todos IS NOT NULL THEN
			PERFORM rmsync.enqueue(lane, array_fill('todo'::text, ARRAY[cardinality(todos)]), todos, todo_books, 3::smallint, 'adopt');
		END IF;
		PERFORM rmsync.reconcile_lane(lane, 3::smallint);
	END IF;
	RETURN written;
END
$$;
COMMENT ON FUNCTION rmsync.adopt_items(bigint, rmsync.sync_records[]) IS 'writes ledger entries for what the host has delivered; called by rmsync_adopt()';

-- Takes over one user, or, in a preview, says what that would do.
CREATE FUNCTION rmsync.adopt_user(host_schema name, target_name text, user_id bigint, stored text, enabled boolean, preview boolean) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	made record;
	lane bigint;
	types int := (SELECT t.item_types FROM rmsync.targets() t WHERE t.name = target_name);
	plan rmsync.sync_records[];
	report jsonb;
BEGIN
	SELECT * INTO made FROM rmsync.adopt_connection(user_id, target_name, stored, NOT preview);
	IF made.problem IS NOT NULL THEN
		RETURN jsonb_build_object('user_id', user_id, 'connection', 'left', 'problem', made.problem);
	END IF;
	SELECT i.id, i.item_types INTO lane, types FROM rmsync.integration_configs i
	WHERE i.user_id = adopt_user.user_id AND i.target_name = adopt_user.target_name
	UNION ALL SELECT NULL, types LIMIT 1;
	-- switched off by the user at the host: off here, too
	IF made.outcome = 'created' AND NOT enabled THEN
		UPDATE rmsync.integration_configs i SET is_enabled = false WHERE i.id = lane;
	END IF;

	WITH a AS MATERIALIZED (
		SELECT * FROM rmsync.adoption(host_schema, target_name, user_id, types)
	), numbered AS (
		SELECT a.*, row_number() OVER (PARTITION BY a.action, a.reason ORDER BY a.notebook_uuid, a.page_number, a.item_id) AS example FROM a
	), counts AS (
		SELECT jsonb_object_agg(t.item_type, t.actions) AS items
		FROM (SELECT n.item_type, jsonb_object_agg(n.action, n.n) AS actions
			FROM (SELECT a.item_type, a.action, count(*) AS n FROM a GROUP BY 1, 2) n GROUP BY 1) t
	), reasons AS (
		SELECT jsonb_agg(jsonb_build_object('action', t.action, 'reason', t.reason, 'count', t.n, 'examples', t.examples)
			ORDER BY t.action, t.reason) AS reasons
		FROM (SELECT n.action, n.reason, count(*) AS n,
				jsonb_agg(n.item_type || ' ' || coalesce(n.item_id, '?') ORDER BY n.example) FILTER (WHERE n.example <= 3) AS examples
			FROM numbered n WHERE n.reason IS NOT NULL GROUP BY 1, 2) t
	), requests AS (
		-- a notebook's page is listed, a hundred blocks at a time, and marked; a
		-- to-do's row is marked, which answers what it says
		SELECT coalesce(sum(2 + b.toggles / 100), 0)
			+ (SELECT count(*) FROM a t WHERE t.item_type = 'todo' AND t.action IN ('unchanged', 'update')) AS n
		FROM (SELECT (SELECT count(*) FROM a p WHERE p.item_type = 'page_text' AND p.notebook_uuid = b.item_id AND p.external_id IS NOT NULL) AS toggles
			FROM a b WHERE b.item_type = 'notebook_metadata' AND b.action = 'adopted') b
	)
	SELECT jsonb_build_object('user_id', user_id, 'connection', made.outcome, 'enabled', enabled,
			'items', coalesce(c.items, '{}'), 'reasons', coalesce(w.reasons, '[]'), 'requests_to_verify', q.n),
		(SELECT array_agg(ROW(NULL, user_id, target_name, a.item_type, a.item_id, lane, a.notebook_uuid, a.page_number,
				a.content_hash, a.placement_hash, NULL, a.external_id, NULL, NULL, NULL, a.metadata_json, NULL, NULL, NULL, NULL, NULL)::rmsync.sync_records)
			FROM a WHERE a.action IN ('adopted', 'unchanged', 'renumber', 'update', 'kept'))
	INTO report, plan
	FROM counts c, reasons w, requests q;
	IF plan IS NOT NULL AND NOT preview THEN
		PERFORM rmsync.adopt_items(lane, plan);
	END IF;
	RETURN report;
END
$$;
COMMENT ON FUNCTION rmsync.adopt_user(name, text, bigint, text, boolean, boolean) IS 'takes over one user from the host''s own sync; called by rmsync_adopt()';

-- What of the host's own sync is still at work on a target.
CREATE FUNCTION rmsync.host_activity(host_schema name, target_name text, user_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	enabled bigint;
	queued bigint := 0;
	only_user text := CASE WHEN user_id IS NULL THEN '' ELSE format(' AND user_id = %s', user_id) END;
BEGIN
	EXECUTE format('SELECT count(*) FROM %I.integration_configs WHERE target_name = $1 AND is_enabled%s', host_schema, only_user)
	INTO enabled USING target_name;
	IF rmsync.host_has(host_schema, 'sync_queue', 'status') THEN
		EXECUTE format('SELECT count(*) FROM %I.sync_queue WHERE target_name = $1 AND status IN (''pending'', ''processing'')%s', host_schema, only_user)
		INTO queued USING target_name;
	END IF;
	RETURN jsonb_build_object('enabled', enabled, 'queued', queued,
		'disable', format('UPDATE %I.integration_configs SET is_enabled = false WHERE target_name = %L%s', host_schema, target_name, only_user));
END
$$;
COMMENT ON FUNCTION rmsync.host_activity(name, text, bigint) IS 'what of the host''s own sync is still at work on a target';

CREATE FUNCTION rmsync_adopt(target_name text, user_id bigint DEFAULT NULL, preview boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	u bigint := rmsync.effective_user(user_id);
	s name := (SELECT i.host_schema FROM rmsync.instance i);
	row record;
	users jsonb := '[]';
	activity jsonb;
BEGIN
	IF NOT EXISTS (SELECT FROM rmsync.targets() t WHERE t.name = target_name) THEN
		RAISE EXCEPTION 'unrecognized target "%"', target_name
			USING ERRCODE = 'undefined_object', HINT = 'SELECT rmsync_targets() lists the targets.';
	END IF;
	IF s IS NULL OR NOT rmsync.attached() THEN
		RAISE EXCEPTION 'rmsync is not attached to the tables of a host application'
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run rmsync_attach().';
	END IF;
	IF NOT rmsync.host_has(s, 'integration_configs', 'config_encrypted') OR NOT rmsync.host_has(s, 'sync_records', 'external_id') THEN
		RAISE EXCEPTION 'the host application has no sync of its own to take over'
			USING ERRCODE = 'undefined_table',
				DETAIL = format('Schema "%s" has no tables "integration_configs" and "sync_records" as rmirror-cloud has them.', s);
	END IF;

	activity := rmsync.host_activity(s, target_name, u);
	FOR row IN EXECUTE format('SELECT c.user_id::bigint AS user_id, c.config_encrypted::text AS stored, c.is_enabled AS enabled
		FROM %I.integration_configs c WHERE c.target_name = $1 AND ($2 IS NULL OR c.user_id = $2) ORDER BY c.user_id', s)
		USING target_name, u
	LOOP
		users := users || rmsync.adopt_user(s, target_name, row.user_id, row.stored, row.enabled, preview);
	END LOOP;
	IF NOT preview THEN
		PERFORM rmsync.lanes_changed();
		PERFORM rmsync.wake();
	END IF;

	IF (activity ->> 'enabled')::bigint > 0 OR (activity ->> 'queued')::bigint > 0 THEN
		RAISE NOTICE 'the host''s own sync to "%" is still at work: % enabled, % in its queue',
				target_name, activity ->> 'enabled', activity ->> 'queued'
			USING DETAIL = 'Both must not run at once, or pages are delivered twice.',
				HINT = format('In the same transaction, run: %s', activity ->> 'disable');
	END IF;
	RETURN jsonb_build_object('target_name', target_name, 'preview', preview, 'host_schema', s,
		'host_sync', activity || jsonb_build_object('at_work', (activity ->> 'enabled')::bigint > 0 OR (activity ->> 'queued')::bigint > 0),
		'users', users,
		'items', coalesce((SELECT jsonb_object_agg(t.item_type, t.actions)
			FROM (SELECT n.item_type, jsonb_object_agg(n.action, n.n) AS actions
				FROM (SELECT i.key AS item_type, a.key AS action, sum(a.value::bigint) AS n
					FROM jsonb_array_elements(users) e, jsonb_each(e -> 'items') i, jsonb_each_text(i.value) a
					GROUP BY 1, 2) n GROUP BY 1) t), '{}'),
		'requests_to_verify', (SELECT coalesce(sum((e ->> 'requests_to_verify')::bigint), 0) FROM jsonb_array_elements(users) e));
END
$$;
COMMENT ON FUNCTION rmsync_adopt(text, bigint, boolean) IS
'takes over what the host''s own sync has brought to a target: connections, and its records as ledger entries that are verified at the target before anything is sent; preview => true only reports';
