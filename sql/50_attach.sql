-- Attaching to the host's tables: source views and triggers.

-- Tables and columns each known host schema must have.  Others are optional
-- and read as NULL where they are missing.
CREATE FUNCTION rmsync.host_requires(OUT kind text, OUT tab name, OUT col name, OUT is_id boolean) RETURNS SETOF record
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT k.kind, r.tab, r.col, r.is_id
	FROM (VALUES ('rmirror'), ('document')) k (kind),
		(VALUES
			(1, NULL, 'users'::name, 'id'::name, true),
			(2, NULL, 'notebooks', 'id', true),
			(3, NULL, 'notebooks', 'user_id', true),
			(4, NULL, 'notebooks', 'notebook_uuid', false),
			(5, NULL, 'notebooks', 'visible_name', false),
			(6, NULL, 'notebooks', 'document_type', false),
			(7, NULL, 'pages', 'id', true),
			(8, NULL, 'pages', 'notebook_id', true),
			(9, NULL, 'pages', 'ocr_status', false),
			(10, NULL, 'pages', 'ocr_text', false),
			(11, 'document', 'pages', 'page_number', false),
			(12, 'rmirror', 'notebook_pages', 'notebook_id', true),
			(13, 'rmirror', 'notebook_pages', 'page_id', true),
			(14, 'rmirror', 'notebook_pages', 'page_number', false),
			(15, NULL, 'todos', 'id', true),
			(16, 'rmirror', 'todos', 'notebook_id', true),
			(17, 'document', 'todos', 'user_id', true),
			(18, 'document', 'todos', 'notebook_uuid', false),
			(19, NULL, 'todos', 'text', false),
			(20, NULL, 'todos', 'completed', false),
			(21, NULL, 'highlights', 'id', true),
			(22, 'rmirror', 'highlights', 'notebook_id', true),
			(23, 'document', 'highlights', 'user_id', true),
			(24, 'document', 'highlights', 'source_file', false),
			(25, NULL, 'highlights', 'original_text', false)
		) r (n, kind, tab, col, is_id)
	WHERE r.kind IS NULL OR r.kind = k.kind
	ORDER BY r.n
$$;
COMMENT ON FUNCTION rmsync.host_requires() IS
'tables and columns that each known host schema must have';

CREATE FUNCTION rmsync.host_has(host_schema name, tab name, col name) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (
		SELECT FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
		WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'r'
			AND a.attname = $3 AND a.attnum > 0 AND NOT a.attisdropped)
$$;
COMMENT ON FUNCTION rmsync.host_has(name, name, name) IS
'whether a host table has a column';

-- An expression for a host column in a source view; NULL where it is missing.
-- The host's times are UTC without saying so.
CREATE FUNCTION rmsync.host_column(host_schema name, tab name, alias name, col name, as_type text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(
		(SELECT CASE
				WHEN $5 = 'timestamptz' AND a.atttypid = 'timestamp'::pg_catalog.regtype
				THEN pg_catalog.format('%I.%I AT TIME ZONE ''UTC''', $3, $4)
				ELSE pg_catalog.format('%I.%I::%s', $3, $4, $5) END
			FROM pg_catalog.pg_attribute a
			WHERE a.attrelid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', $1, $2))
				AND a.attname = $4 AND a.attnum > 0 AND NOT a.attisdropped),
		'NULL::' || $5)
$$;
COMMENT ON FUNCTION rmsync.host_column(name, name, name, name, text) IS
'expression for a host column in a source view';

-- What is wrong with a schema as a host of this kind; no row if nothing.
CREATE FUNCTION rmsync.host_problem(host_schema name, kind text, OUT code text, OUT problem text) RETURNS record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT * FROM (
		SELECT CASE WHEN c.oid IS NULL THEN 'undefined_table'
				WHEN a.attname IS NULL THEN 'undefined_column'
				WHEN r.is_id AND a.atttypid NOT IN ('int4'::pg_catalog.regtype, 'int8'::pg_catalog.regtype) THEN 'datatype_mismatch' END,
			CASE WHEN c.oid IS NULL
				THEN pg_catalog.format('table "%s" does not exist', r.tab)
				WHEN a.attname IS NULL
				THEN pg_catalog.format('column "%s" of table "%s" does not exist', r.col, r.tab)
				ELSE pg_catalog.format('column "%s" of table "%s" is of type %s, not integer or bigint',
					r.col, r.tab, pg_catalog.format_type(a.atttypid, NULL)) END
		FROM rmsync.host_requires() r
		LEFT JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1)
			ON c.relname = r.tab AND c.relkind = 'r'
		LEFT JOIN pg_catalog.pg_attribute a
			ON a.attrelid = c.oid AND a.attname = r.col AND a.attnum > 0 AND NOT a.attisdropped
		WHERE r.kind = $2) p (code, problem)
	WHERE p.code IS NOT NULL
	LIMIT 1
$$;
COMMENT ON FUNCTION rmsync.host_problem(name, text) IS
'why rmsync cannot attach to a schema, NULL if it can';

-- Finds the host's tables, or says what is missing.
CREATE FUNCTION rmsync.find_host(wanted name, OUT host_schema name, OUT kind text) RETURNS record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	candidates name[];
	bad record;
BEGIN
	IF wanted IS NOT NULL THEN
		IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = wanted) THEN
			RAISE EXCEPTION 'schema "%" does not exist', wanted
				USING ERRCODE = 'invalid_schema_name';
		END IF;
		candidates := ARRAY[wanted];
	ELSE
		-- A table called notebooks is where to look; what it lacks is said below.
		SELECT array_agg(n.nspname ORDER BY n.nspname) INTO candidates
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relname = 'notebooks' AND c.relkind = 'r'
			AND n.nspname <> 'rmsync' AND n.nspname !~ '^pg_';
		IF candidates IS NULL THEN
			RAISE EXCEPTION 'no schema has the host''s tables: table "notebooks" does not exist'
				USING ERRCODE = 'undefined_table',
					HINT = 'Run rmsync_attach() in the database of the host application, after its migrations.';
		ELSIF cardinality(candidates) > 1 THEN
			RAISE EXCEPTION 'more than one schema has a table "notebooks": %', array_to_string(candidates, ', ')
				USING ERRCODE = 'invalid_parameter_value',
					HINT = 'Name the schema, as in rmsync_attach(''public'').';
		END IF;
	END IF;

	host_schema := candidates[1];
	kind := CASE WHEN rmsync.host_has(host_schema, 'pages', 'page_number')
		THEN 'document' ELSE 'rmirror' END;
	SELECT * INTO bad FROM rmsync.host_problem(host_schema, kind);
	IF bad.problem IS NOT NULL THEN
		RAISE EXCEPTION 'cannot attach to schema "%": %', host_schema, bad.problem
			USING ERRCODE = bad.code,
				HINT = 'rmsync knows two schemas, shown in its test/host directory.  For another one, call rmsync.set_source() and create the triggers by hand.';
	END IF;
END
$$;
COMMENT ON FUNCTION rmsync.find_host(name) IS
'schema and kind of the host''s tables, or an error that says what is missing';

-- A notebook belongs at the targets: not deleted, not in the trash, no folder.
CREATE FUNCTION rmsync.host_notebook_live(host_schema name) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'n.document_type <> ''folder'''
		|| CASE WHEN rmsync.host_has($1, 'notebooks', 'deleted')
			THEN ' AND n.deleted IS NOT TRUE' ELSE '' END
		|| CASE WHEN rmsync.host_has($1, 'notebooks', 'parent_uuid')
			THEN ' AND n.parent_uuid IS DISTINCT FROM ''trash''' ELSE '' END
		|| CASE WHEN rmsync.host_has($1, 'notebooks', 'full_path')
			THEN pg_catalog.format(' AND pg_catalog.starts_with(n.full_path, %L) IS NOT TRUE',
				pg_catalog.chr(x'1F5D1'::int) || pg_catalog.chr(x'FE0F'::int) || ' Trash/') ELSE '' END
$$;
COMMENT ON FUNCTION rmsync.host_notebook_live(name) IS
'condition for a host notebook n that belongs at the targets';

CREATE FUNCTION rmsync.host_page_item(host_schema name) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN rmsync.host_has($1, 'pages', 'page_uuid')
		THEN 'coalesce(nullif(p.page_uuid::text, ''''), p.id::text)'
		ELSE 'p.id::text' END
$$;
COMMENT ON FUNCTION rmsync.host_page_item(name) IS
'item id of a host page p: its uuid, else its row id';

-- What a source view shows.  The query is kept as the text of a function,
-- which the planner puts in the view's place: so nothing of rmsync depends on
-- a host table (for that it may have no search_path of its own, so it names
-- schemas throughout).  A view over the tables themselves would refuse the host's
-- migrations, and DROP ... CASCADE would take the whole extension, with the
-- ledger.  NULL shows nothing.
CREATE FUNCTION rmsync.set_source(kind name, query text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	columns text;
	nothing text;
BEGIN
	SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum),
		'/* not attached */ SELECT ' || string_agg('NULL::' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) || ' WHERE false'
	INTO columns, nothing
	FROM pg_attribute a
	WHERE a.attrelid = to_regclass(format('rmsync.source_%s', kind)) AND a.attnum > 0;
	EXECUTE format('CREATE OR REPLACE FUNCTION rmsync.host_%s() RETURNS TABLE (%s) LANGUAGE sql STABLE AS %L',
		kind, columns, coalesce(query, nothing));
	EXECUTE format('CREATE OR REPLACE VIEW rmsync.source_%s AS SELECT * FROM rmsync.host_%1$s()', kind);
END
$$;
COMMENT ON FUNCTION rmsync.set_source(name, text) IS
'sets the query behind a source view';

-- As members of the extension, they are replaced by rmsync_attach().
SELECT rmsync.set_source(k, NULL) FROM pg_catalog.unnest('{notebook,page,todo,highlight}'::name[]) k;
REVOKE ALL ON FUNCTION rmsync.host_notebook(), rmsync.host_page(), rmsync.host_todo(), rmsync.host_highlight() FROM PUBLIC;
COMMENT ON FUNCTION rmsync.host_notebook() IS 'query behind rmsync.source_notebook, set by rmsync_attach()';
COMMENT ON FUNCTION rmsync.host_page() IS 'query behind rmsync.source_page, set by rmsync_attach()';
COMMENT ON FUNCTION rmsync.host_todo() IS 'query behind rmsync.source_todo, set by rmsync_attach()';
COMMENT ON FUNCTION rmsync.host_highlight() IS 'query behind rmsync.source_highlight, set by rmsync_attach()';

-- The host has no unique key on a notebook's uuid: of several rows the live,
-- newest one speaks.  The columns of DISTINCT ON are those that queries name,
-- so their conditions reach the host's indexes.
CREATE FUNCTION rmsync.attach_notebooks(s name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM rmsync.set_source('notebook', 'SELECT DISTINCT ON (n.user_id::bigint, n.notebook_uuid::text)
			n.user_id::bigint AS user_id, n.notebook_uuid::text AS item_id,
			n.visible_name::text AS title, n.document_type::text AS document_type, '
		|| rmsync.host_column(s, 'notebooks', 'n', 'full_path', 'text') || ' AS path, '
		|| rmsync.host_column(s, 'notebooks', 'n', 'parent_uuid', 'text') || ' AS parent_uuid, '
		|| rmsync.host_column(s, 'notebooks', 'n', 'author', 'text') || ' AS author, '
		|| rmsync.host_column(s, 'notebooks', 'n', 'pinned', 'boolean') || ' AS pinned, '
		|| rmsync.host_column(s, 'notebooks', 'n', 'last_opened', 'timestamptz') || ' AS opened_at, '
		|| rmsync.host_column(s, 'notebooks', 'n', 'updated_at', 'timestamptz') || ' AS modified_at, '
		|| rmsync.host_column(s, 'notebooks', 'n', 'created_at', 'timestamptz') || ' AS created_at, '
		|| rmsync.host_notebook_live(s) || ' AS live, n.id::bigint AS row_id
		FROM ' || format('%I.notebooks n', s) || '
		ORDER BY n.user_id::bigint, n.notebook_uuid::text, live DESC, n.id DESC');
END
$$;
COMMENT ON FUNCTION rmsync.attach_notebooks(name) IS
'makes rmsync.source_notebook show the host''s notebooks';

CREATE FUNCTION rmsync.attach_pages(s name, kind text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	item text := rmsync.host_page_item(s);
	mapped boolean := kind = 'rmirror';
BEGIN
	PERFORM rmsync.set_source('page', 'SELECT DISTINCT ON (n.user_id::bigint, n.notebook_uuid::text, ' || item || ')
			n.user_id::bigint AS user_id, ' || item || ' AS item_id,
			n.notebook_uuid::text AS notebook_uuid, '
		|| CASE WHEN mapped THEN 'm' ELSE 'p' END || '.page_number::int AS page_number,
			p.ocr_text::text AS text,
			p.ocr_status = ''completed'' AND p.ocr_text IS NOT NULL AS ready, '
		|| rmsync.host_column(s, 'pages', 'p',
			CASE WHEN rmsync.host_has(s, 'pages', 'confidence') THEN 'confidence' ELSE 'confidence_score' END, 'float8')
		|| ' AS confidence, coalesce('
		|| rmsync.host_column(s, 'pages', 'p', 'ocr_completed_at', 'timestamptz') || ', '
		|| rmsync.host_column(s, 'pages', 'p', 'updated_at', 'timestamptz') || ') AS modified_at, '
		|| rmsync.host_notebook_live(s)
		|| CASE WHEN mapped THEN ' AND m.page_id IS NOT NULL' ELSE '' END || ' AS live,
			p.id::bigint AS row_id
		FROM ' || format('%I.notebooks n JOIN %1$I.pages p ON p.notebook_id = n.id', s)
		|| CASE WHEN mapped THEN format('
			LEFT JOIN %I.notebook_pages m ON m.notebook_id = p.notebook_id AND m.page_id = p.id', s) ELSE '' END || '
		ORDER BY n.user_id::bigint, n.notebook_uuid::text, ' || item || ', live DESC, ready DESC, p.id DESC');
END
$$;
COMMENT ON FUNCTION rmsync.attach_pages(name, text) IS
'makes rmsync.source_page show the host''s pages';

-- To-dos and highlights of the host name their notebook by row id.
CREATE FUNCTION rmsync.attach_rmirror_extras(s name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	live text := rmsync.host_notebook_live(s);
	origin text := 'FROM ' || format('%I.%%I x
		JOIN %1$I.notebooks n ON n.id = x.notebook_id
		LEFT JOIN %1$I.pages p ON p.id = %%s
		LEFT JOIN %1$I.notebook_pages m ON m.notebook_id = x.notebook_id AND m.page_id = p.id', s);
	t name := 'todos';
	h name := 'highlights';
BEGIN
	PERFORM rmsync.set_source('todo', 'SELECT n.user_id::bigint AS user_id, x.id::text AS item_id,
			n.notebook_uuid::text AS notebook_uuid, CASE WHEN p.id IS NOT NULL THEN '
		|| rmsync.host_page_item(s) || ' END AS page_id,
			coalesce(m.page_number::int, ' || rmsync.host_column(s, t, 'x', 'page_number', 'int') || ') AS page_number, '
		|| rmsync.host_column(s, t, 'x', 'title', 'text') || ' AS title,
			x.text::text AS text, x.completed::boolean AS completed, '
		|| rmsync.host_column(s, t, 'x', 'confidence', 'float8') || ' AS confidence, '
		|| rmsync.host_column(s, t, 'x', 'date_extracted', 'timestamptz') || ' AS written_at, '
		|| rmsync.host_column(s, t, 'x', 'updated_at', 'timestamptz') || ' AS modified_at, '
		|| live || ' AS live, x.id::bigint AS row_id '
		|| format(origin, t, rmsync.host_column(s, t, 'x', 'page_id', 'int')));

	PERFORM rmsync.set_source('highlight', 'SELECT n.user_id::bigint AS user_id, x.id::text AS item_id,
			n.notebook_uuid::text AS notebook_uuid, CASE WHEN p.id IS NOT NULL THEN '
		|| rmsync.host_page_item(s) || ' END AS page_id,
			coalesce(m.page_number::int, ' || rmsync.host_column(s, h, 'x', 'page_number', 'int') || ') AS page_number,
			x.original_text::text AS original_text, '
		|| rmsync.host_column(s, h, 'x', 'corrected_text', 'text') || ' AS corrected_text, '
		|| rmsync.host_column(s, h, 'x', 'note', 'text') || ' AS note, '
		|| rmsync.host_column(s, h, 'x', 'source_type', 'text') || ' AS source_type, coalesce(nullif('
		|| rmsync.host_column(s, 'notebooks', 'n', 'title', 'text') || ', ''''), n.visible_name::text) AS source_title, '
		|| rmsync.host_column(s, 'notebooks', 'n', 'author', 'text') || ' AS author, '
		|| rmsync.host_column(s, h, 'x', 'confidence_score', 'float8') || ' AS confidence, '
		|| rmsync.host_column(s, h, 'x', 'highlighted_at', 'timestamptz') || ' AS highlighted_at, '
		|| rmsync.host_column(s, h, 'x', 'updated_at', 'timestamptz') || ' AS modified_at, '
		|| live || ' AS live, x.id::bigint AS row_id '
		|| format(origin, h, rmsync.host_column(s, h, 'x', 'page_id', 'int')));
END
$$;
COMMENT ON FUNCTION rmsync.attach_rmirror_extras(name) IS
'makes rmsync.source_todo and rmsync.source_highlight show the host''s, its real schema';

-- Those of the document name it by uuid, or, highlights, not at all.
CREATE FUNCTION rmsync.attach_document_extras(s name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t name := 'todos';
	h name := 'highlights';
	uuid text := rmsync.host_column(s, 'highlights', 'x', 'notebook_uuid', 'text');
	live text := format('EXISTS (SELECT FROM %I.notebooks n WHERE n.user_id = x.user_id
		AND n.notebook_uuid::text = %%s AND ', s) || replace(rmsync.host_notebook_live(s), '%', '%%') || ')';
	page text := '(SELECT ' || rmsync.host_page_item(s)
		|| format(' FROM %I.notebooks n JOIN %1$I.pages p ON p.notebook_id = n.id
			WHERE n.user_id = x.user_id AND n.notebook_uuid::text = %%s
				AND p.page_number = x.page_number ORDER BY p.id DESC LIMIT 1)', s);
BEGIN
	PERFORM rmsync.set_source('todo', 'SELECT x.user_id::bigint AS user_id, x.id::text AS item_id,
			x.notebook_uuid::text AS notebook_uuid, '
		|| CASE WHEN rmsync.host_has(s, t, 'page_number')
			THEN format(page, 'x.notebook_uuid::text') ELSE 'NULL::text' END || ' AS page_id, '
		|| rmsync.host_column(s, t, 'x', 'page_number', 'int') || ' AS page_number, '
		|| rmsync.host_column(s, t, 'x', 'title', 'text') || ' AS title,
			x.text::text AS text, x.completed::boolean AS completed, '
		|| rmsync.host_column(s, t, 'x', 'confidence', 'float8') || ' AS confidence, '
		|| rmsync.host_column(s, t, 'x', 'date_extracted', 'timestamptz') || ' AS written_at, '
		|| rmsync.host_column(s, t, 'x', 'updated_at', 'timestamptz') || ' AS modified_at, '
		|| format(live, 'x.notebook_uuid::text') || ' AS live, x.id::bigint AS row_id
		FROM ' || format('%I.todos x', s));

	PERFORM rmsync.set_source('highlight', 'SELECT x.user_id::bigint AS user_id, x.id::text AS item_id, '
		|| uuid || ' AS notebook_uuid, '
		|| CASE WHEN rmsync.host_has(s, h, 'page_number')
			THEN format(page, uuid) ELSE 'NULL::text' END || ' AS page_id, '
		|| rmsync.host_column(s, h, 'x', 'page_number', 'int') || ' AS page_number,
			x.original_text::text AS original_text, '
		|| rmsync.host_column(s, h, 'x', 'corrected_text', 'text') || ' AS corrected_text, '
		|| rmsync.host_column(s, h, 'x', 'note', 'text') || ' AS note, '
		|| rmsync.host_column(s, h, 'x', 'source_type', 'text') || ' AS source_type,
			x.source_file::text AS source_title, '
		|| rmsync.host_column(s, h, 'x', 'author', 'text') || ' AS author, '
		|| rmsync.host_column(s, h, 'x', 'confidence_score', 'float8') || ' AS confidence, '
		|| rmsync.host_column(s, h, 'x', 'highlighted_at', 'timestamptz') || ' AS highlighted_at, '
		|| rmsync.host_column(s, h, 'x', 'updated_at', 'timestamptz') || ' AS modified_at, '
		|| uuid || ' IS NULL OR ' || format(live, uuid) || ' AS live, x.id::bigint AS row_id
		FROM ' || format('%I.highlights x', s));
END
$$;
COMMENT ON FUNCTION rmsync.attach_document_extras(name) IS
'makes rmsync.source_todo and rmsync.source_highlight show the host''s, the document''s schema';

-- The triggers a host schema of this kind needs.  A mark belongs to what the
-- trigger's first argument says; src/intake.c reads the others.
CREATE FUNCTION rmsync.host_triggers(s name, host_kind text, OUT tab name, OUT prefix text, OUT events text[], OUT args text[]) RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH want (kind, tab, prefix, events, args, watch) AS (VALUES
		(NULL, 'users'::name, 'rmsync', '{DELETE,TRUNCATE}'::text[],
			'{user,id=id,user=id}'::text[], '{}'::name[]),
		(NULL, 'notebooks', 'rmsync', '{INSERT,UPDATE,DELETE,TRUNCATE}',
			'{notebook,user=user_id,key=notebook_uuid,uuid=notebook_uuid}',
			'{visible_name,document_type,title,author,parent_uuid,full_path,pinned,deleted,last_opened}'),
		(NULL, 'pages', 'rmsync', '{INSERT,UPDATE,DELETE,TRUNCATE}',
			'{page,key=page_uuid,id=id,notebook=notebook_id}',
			'{ocr_text,ocr_status,page_number,confidence,confidence_score}'),
		('document', 'pages', 'rmsync_place', '{INSERT,UPDATE,DELETE}',
			'{mapping,notebook=notebook_id}', '{page_number,page_uuid}'),
		('rmirror', 'notebook_pages', 'rmsync', '{INSERT,UPDATE,DELETE,TRUNCATE}',
			'{mapping,notebook=notebook_id}', '{page_id,page_number}'),
		('rmirror', 'todos', 'rmsync', '{INSERT,UPDATE,DELETE,TRUNCATE}',
			'{todo,id=id,notebook=notebook_id}',
			'{page_id,page_number,title,text,completed,confidence,date_extracted}'),
		('document', 'todos', 'rmsync', '{INSERT,UPDATE,DELETE,TRUNCATE}',
			'{todo,id=id,user=user_id,uuid=notebook_uuid}',
			'{page_number,title,text,completed,confidence,date_extracted}'),
		('rmirror', 'highlights', 'rmsync', '{INSERT,UPDATE,DELETE,TRUNCATE}',
			'{highlight,id=id,notebook=notebook_id}',
			'{page_id,page_number,original_text,corrected_text,note,source_type,confidence_score,highlighted_at}'),
		('document', 'highlights', 'rmsync', '{INSERT,UPDATE,DELETE,TRUNCATE}',
			'{highlight,id=id,user=user_id,uuid=notebook_uuid}',
			'{page_number,source_file,original_text,corrected_text,note,source_type,author,confidence_score,highlighted_at}'))
	SELECT w.tab, w.prefix, w.events,
		-- Arguments that name a column the host lacks are left out.
		ARRAY(SELECT a FROM pg_catalog.unnest(w.args) WITH ORDINALITY u (a, i)
			WHERE pg_catalog.strpos(a, '=') = 0
				OR rmsync.host_has(s, w.tab, pg_catalog.split_part(a, '=', 2)::name)
			ORDER BY i)
		|| CASE WHEN 'notebook=notebook_id' = ANY (w.args)
			THEN ARRAY['lookup=notebooks,id,user_id,notebook_uuid'] ELSE '{}' END
		|| coalesce((SELECT ARRAY['watch=' || pg_catalog.string_agg(c, ',' ORDER BY i)]
			FROM pg_catalog.unnest(w.watch) WITH ORDINALITY u (c, i)
			WHERE rmsync.host_has(s, w.tab, c)
			HAVING count(*) > 0), '{}')
	FROM want w
	WHERE w.kind IS NULL OR w.kind = host_kind
$$;
COMMENT ON FUNCTION rmsync.host_triggers(name, text) IS
'triggers rmsync_attach() creates on the host''s tables';

CREATE FUNCTION rmsync.our_triggers(OUT tab regclass, OUT trigger name) RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT t.tgrelid::pg_catalog.regclass, t.tgname
	FROM pg_catalog.pg_trigger t
	JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
	JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
	WHERE n.nspname = 'rmsync' AND NOT t.tgisinternal
		AND p.proname IN ('mark', 'hash_page', 'hash_todo', 'hash_highlight', 'hash_notebook', 'hash_texts_changed', 'hash_pages_changed')
	ORDER BY t.tgrelid::pg_catalog.regclass::text, t.tgname
$$;
COMMENT ON FUNCTION rmsync.our_triggers() IS
'triggers on the host''s tables that call rmsync';

-- The triggers go with the extension but are no members of it: a dump of the
-- host's tables keeps them.
CREATE FUNCTION rmsync.create_trigger(s name, tab name, trigger name, what text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE TRIGGER %I ', trigger)
		|| replace(what, '@table@', format('%I.%I', s, tab));
	EXECUTE format('ALTER TRIGGER %I ON %I.%I DEPENDS ON EXTENSION rmsync', trigger, s, tab);
END
$$;
COMMENT ON FUNCTION rmsync.create_trigger(name, name, name, text) IS
'creates a trigger on a host table that goes with the extension';

CREATE FUNCTION rmsync.attach_triggers(s name, kind text) RETURNS name[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
	event text;
	made name[] := '{}';
	trigger_name name;
BEGIN
	FOR t IN SELECT * FROM rmsync.host_triggers(s, kind) LOOP
		FOREACH event IN ARRAY t.events LOOP
			trigger_name := t.prefix || '_' || lower(event);
			PERFORM rmsync.create_trigger(s, t.tab, trigger_name,
				format('AFTER %s ON @table@ %s FOR EACH STATEMENT EXECUTE FUNCTION rmsync.mark(%s)', event,
					CASE event
						WHEN 'INSERT' THEN 'REFERENCING NEW TABLE AS rmsync_new'
						WHEN 'DELETE' THEN 'REFERENCING OLD TABLE AS rmsync_old'
						WHEN 'UPDATE' THEN 'REFERENCING OLD TABLE AS rmsync_old NEW TABLE AS rmsync_new'
						ELSE '' END,
					(SELECT string_agg(quote_literal(a), ', ' ORDER BY i)
						FROM unnest(t.args) WITH ORDINALITY u (a, i))));
			made := made || format('%I.%s', t.tab, trigger_name)::name;
		END LOOP;
	END LOOP;
	RETURN made;
END
$$;
COMMENT ON FUNCTION rmsync.attach_triggers(name, text) IS
'creates the triggers that write rmsync.sync_intake';

-- Asked before every load; plpgsql keeps the plan of its query, a function in
-- SQL would be planned each time.
CREATE FUNCTION rmsync.attached() RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN strpos(p.prosrc, '/* not attached */') = 0
		-- or somebody has put a view of their own in its place
		OR NOT EXISTS (
			SELECT FROM pg_rewrite r
			JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
			WHERE r.ev_class = 'rmsync.source_page'::regclass
				AND d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid)
	FROM pg_proc p WHERE p.oid = 'rmsync.host_page()'::regprocedure;
END
$$;
COMMENT ON FUNCTION rmsync.attached() IS
'whether the source views show the host''s tables; if not, nothing may be taken for deleted (after a restore they are empty until rmsync_attach() ran)';

CREATE FUNCTION rmsync_detach() RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
	dropped text[] := '{}';
BEGIN
	FOR t IN SELECT * FROM rmsync.our_triggers() LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.trigger, t.tab);
		dropped := dropped || format('%s.%I', t.tab, t.trigger);
	END LOOP;

	PERFORM rmsync.set_source(k, NULL) FROM unnest('{notebook,page,todo,highlight}'::name[]) k;
	PERFORM rmsync.set_writer(NULL, NULL);
	UPDATE rmsync.instance SET host_kind = NULL, host_schema = NULL, attached_at = NULL;
	PERFORM rmsync.lanes_changed();
	RETURN jsonb_build_object('dropped_triggers', to_jsonb(dropped));
END
$$;
REVOKE ALL ON FUNCTION rmsync_detach() FROM PUBLIC;
COMMENT ON FUNCTION rmsync_detach() IS
'removes the triggers from the host''s tables and empties the source views';

CREATE FUNCTION rmsync_attach(host_schema name DEFAULT NULL, store_hashes boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found record;
	made name[];
	old record;
	lanes bigint;
BEGIN
	SELECT * INTO found FROM rmsync.find_host(host_schema);

	PERFORM rmsync.attach_notebooks(found.host_schema);
	PERFORM rmsync.attach_pages(found.host_schema, found.kind);
	IF found.kind = 'document' THEN
		PERFORM rmsync.attach_document_extras(found.host_schema);
	ELSE
		PERFORM rmsync.attach_rmirror_extras(found.host_schema);
	END IF;
	PERFORM rmsync.set_writer(found.host_schema, found.kind);

	-- Replacing a trigger takes a weaker lock than dropping it.
	made := rmsync.attach_triggers(found.host_schema, found.kind);
	IF store_hashes THEN
		made := made || rmsync.attach_hashes(found.host_schema);
	END IF;
	FOR old IN
		SELECT o.tab, o.trigger FROM rmsync.our_triggers() o
		JOIN pg_class c ON c.oid = o.tab JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname <> found.host_schema
			OR format('%I.%s', c.relname, o.trigger) <> ALL (made)
	LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', old.trigger, old.tab);
	END LOOP;

	-- An existing row keeps its identity: a restored copy must not take over.
	INSERT INTO rmsync.instance AS i (system_identifier, database_oid, instance, host_kind, host_schema, attached_at)
	SELECT c.system_identifier, d.oid, coalesce(current_setting('rmsync.instance', true), ''),
		found.kind, found.host_schema, now()
	FROM pg_control_system() c, pg_database d WHERE d.datname = current_database()
	ON CONFLICT (only_row) DO UPDATE SET host_kind = excluded.host_kind,
		host_schema = excluded.host_schema, attached_at = excluded.attached_at;

	-- What happened while nobody watched.
	UPDATE rmsync.integration_configs SET reconcile_wanted = true;
	GET DIAGNOSTICS lanes = ROW_COUNT;
	PERFORM rmsync.lanes_changed();

	RETURN jsonb_build_object('host_kind', found.kind, 'host_schema', found.host_schema,
		'views', jsonb_build_array('rmsync.source_notebook', 'rmsync.source_page', 'rmsync.source_todo', 'rmsync.source_highlight'),
		'triggers', to_jsonb(made), 'store_hashes', store_hashes, 'lanes_to_reconcile', lanes);
END
$$;
REVOKE ALL ON FUNCTION rmsync_attach(name, boolean) FROM PUBLIC;
COMMENT ON FUNCTION rmsync_attach(name, boolean) IS
'finds the host''s tables, creates source views and triggers over them, and has every lane reconciled; to be run again after a migration of the host that renames or drops what rmsync reads';
