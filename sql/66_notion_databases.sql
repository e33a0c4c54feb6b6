-- Questions that a person asks a service: does the connection work, what can
-- the token see, make a database.  The procedures talk to the service between
-- transactions; the functions read what was stored.

CREATE PROCEDURE rmsync_test_connection(target_name text, user_id bigint DEFAULT NULL, INOUT result jsonb DEFAULT NULL)
AS 'MODULE_PATHNAME', 'rmsync_test_connection_sql' LANGUAGE C;
COMMENT ON PROCEDURE rmsync_test_connection(text, bigint, jsonb) IS 'asks the service whether a connection works, also one that is switched off or stopped; changes nothing there';

CREATE FUNCTION rmsync.notion_lane(user_id bigint, preferred text) RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u bigint := rmsync.effective_user(user_id);
	lane bigint;
BEGIN
	IF u IS NULL THEN
		RAISE EXCEPTION 'no user is named'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a user id, or set rmsync.user_id.';
	END IF;
	SELECT c.id INTO lane FROM rmsync.integration_configs c
	WHERE c.user_id = u AND c.target_name IN ('notion', 'notion-todos')
	ORDER BY c.target_name <> preferred LIMIT 1;
	IF lane IS NULL THEN
		RAISE EXCEPTION 'user % is not connected to Notion', u
			USING ERRCODE = 'undefined_object',
				HINT = 'Connect with rmsync_connect(user_id, ''notion'', config); "database_id" may be null as long as none is chosen.';
	END IF;
	RETURN lane;
END
$$;
COMMENT ON FUNCTION rmsync.notion_lane(bigint, text) IS 'a lane of a user at Notion, or an error';

CREATE PROCEDURE rmsync_notion_refresh(user_id bigint DEFAULT NULL, INOUT result jsonb DEFAULT NULL)
AS 'MODULE_PATHNAME', 'rmsync_notion_refresh_sql' LANGUAGE C;
COMMENT ON PROCEDURE rmsync_notion_refresh(bigint, jsonb) IS 'asks Notion what the user''s token can see, for rmsync_notion_databases() and rmsync_notion_pages()';

-- Data sources come from the search; a database among the objects is one that
-- has several, and tells them.
CREATE FUNCTION rmsync.store_notion_objects(user_id bigint, objects jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	counts jsonb;
BEGIN
	DELETE FROM rmsync.notion_objects x WHERE x.user_id = store_notion_objects.user_id;
	WITH o AS MATERIALIZED (
		SELECT DISTINCT ON (x.kind, x.id) x.*
		FROM jsonb_to_recordset(objects) AS x(kind text, id text, title text, url text, parent_type text, parent_id text,
			database_id text, notebooks boolean, todos boolean, last_edited timestamptz, data_sources jsonb)
		ORDER BY x.kind, x.id
	), sources AS (
		SELECT s.id, s.title, s.url, s.parent_type, s.parent_id, s.database_id, s.notebooks, s.todos, s.last_edited
		FROM o s WHERE s.kind = 'data_source'
		UNION ALL
		SELECT n.id, coalesce(n.name, ''), d.url, d.parent_type, d.parent_id, d.id, NULL, NULL, NULL
		FROM o d CROSS JOIN LATERAL jsonb_to_recordset(d.data_sources) AS n(id text, name text)
		WHERE d.kind = 'database' AND NOT EXISTS (SELECT FROM o s WHERE s.kind = 'data_source' AND s.id = n.id)
	), bases AS (
		SELECT DISTINCT ON (s.database_id) s.database_id AS id, coalesce(d.title, s.title) AS title,
			coalesce(d.url, s.url) AS url, coalesce(d.parent_type, s.parent_type) AS parent_type,
			coalesce(d.parent_id, s.parent_id) AS parent_id,
			max(s.last_edited) OVER (PARTITION BY s.database_id) AS last_edited
		FROM sources s LEFT JOIN o d ON d.kind = 'database' AND d.id = s.database_id
		ORDER BY s.database_id, s.id
	), stored AS (
		INSERT INTO rmsync.notion_objects (user_id, kind, id, title, url, parent_type, parent_id, database_id, notebooks, todos, last_edited)
		SELECT store_notion_objects.user_id, a.* FROM (
			SELECT 'database' AS kind, b.id, b.title, b.url, b.parent_type, b.parent_id, NULL::text, NULL::boolean, NULL::boolean, b.last_edited FROM bases b
			UNION ALL
			SELECT 'data_source', s.id, s.title, s.url, NULL, NULL, s.database_id, s.notebooks, s.todos, s.last_edited FROM sources s
			UNION ALL
			SELECT 'page', p.id, p.title, p.url, p.parent_type, p.parent_id, NULL, NULL, NULL, p.last_edited FROM o p WHERE p.kind = 'page') a
		ON CONFLICT ON CONSTRAINT notion_objects_pkey DO NOTHING	-- another session was asking, too
		RETURNING kind
	)
	SELECT jsonb_build_object('databases', count(*) FILTER (WHERE s.kind = 'database'),
		'data_sources', count(*) FILTER (WHERE s.kind = 'data_source'),
		'pages', count(*) FILTER (WHERE s.kind = 'page')) INTO counts FROM stored s;
	RETURN counts;
END
$$;
COMMENT ON FUNCTION rmsync.store_notion_objects(bigint, jsonb) IS 'replaces what a user''s token can see; called by rmsync_notion_refresh()';

CREATE FUNCTION rmsync_notion_databases(user_id bigint DEFAULT NULL)
RETURNS TABLE (connection_user bigint, id text, title text, url text, parent_type text, parent_id text,
	data_sources jsonb, notebooks boolean, todos boolean, last_edited timestamptz, seen_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT d.user_id, d.id, d.title, d.url, d.parent_type, d.parent_id,
		coalesce(s.list, '[]'), coalesce(s.notebooks, false), coalesce(s.todos, false), d.last_edited, d.seen_at
	FROM rmsync.effective_user($1) u
	JOIN rmsync.notion_objects d ON d.kind = 'database' AND (u IS NULL OR d.user_id = u)
	CROSS JOIN LATERAL (
		SELECT jsonb_agg(jsonb_build_object('id', x.id, 'name', x.title, 'notebooks', coalesce(x.notebooks, false),
				'todos', coalesce(x.todos, false)) ORDER BY x.title, x.id) AS list,
			bool_or(x.notebooks) AS notebooks, bool_or(x.todos) AS todos
		FROM rmsync.notion_objects x
		WHERE x.user_id = d.user_id AND x.kind = 'data_source' AND x.database_id = d.id) s
	ORDER BY d.user_id, d.title, d.id
$$;
COMMENT ON FUNCTION rmsync_notion_databases(bigint) IS 'databases at Notion that the user''s token could see when rmsync_notion_refresh() was last called (none if it never was: a function cannot ask, because its caller''s transaction would stay open meanwhile); notebooks and todos say that every column is there that the target fills, others are added to any database';

CREATE FUNCTION rmsync_notion_pages(user_id bigint DEFAULT NULL)
RETURNS TABLE (connection_user bigint, id text, title text, url text, parent_type text, parent_id text,
	last_edited timestamptz, seen_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT p.user_id, p.id, p.title, p.url, p.parent_type, p.parent_id, p.last_edited, p.seen_at
	FROM rmsync.effective_user($1) u
	JOIN rmsync.notion_objects p ON p.kind = 'page' AND (u IS NULL OR p.user_id = u)
	ORDER BY p.user_id, p.title, p.id
$$;
COMMENT ON FUNCTION rmsync_notion_pages(bigint) IS 'pages at Notion, without rows of databases, that the user''s token could see when rmsync_notion_refresh() was last called (none if it never was: a function cannot ask, because its caller''s transaction would stay open meanwhile)';

CREATE PROCEDURE rmsync_notion_create_database(parent_page_id text, title text DEFAULT 'rMirror Notebooks',
	kind text DEFAULT 'notebooks', user_id bigint DEFAULT NULL, connect boolean DEFAULT true, INOUT result jsonb DEFAULT NULL)
AS 'MODULE_PATHNAME', 'rmsync_notion_create_sql' LANGUAGE C;
COMMENT ON PROCEDURE rmsync_notion_create_database(text, text, text, bigint, boolean, jsonb) IS 'makes a database with all columns below a page at Notion, for notebooks or todos, and has the connection use it; after a lost answer it is looked for before another one is made';
