-- The document's section 3.3: content_hash and last_hash_computed_at on the
-- host's tables, for rmsync_attach(store_hashes => true) only.  rmsync itself
-- never reads them; pages.file_hash is the host's and is never touched.
-- Definer: the host's role need not be able to call the fingerprints.

CREATE FUNCTION rmsync.hash_page() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('SELECT CASE WHEN p.ocr_status = ''completed'' AND p.ocr_text IS NOT NULL
			THEN @extschema@.rmsync_fingerprint_page(n.notebook_uuid::text, coalesce($3, (to_jsonb(p) ->> ''page_number'')::int), p.ocr_text) END
		FROM %I.pages p, %1$I.notebooks n WHERE p.id = $1 AND n.id = $2', TG_TABLE_SCHEMA)
	INTO NEW.content_hash
	USING NEW.page_id, NEW.notebook_id, (to_jsonb(NEW) ->> 'page_number')::int;
	NEW.last_hash_computed_at := clock_timestamp() AT TIME ZONE 'UTC';
	RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION rmsync.hash_page() FROM PUBLIC;
COMMENT ON FUNCTION rmsync.hash_page() IS 'trigger: keeps content_hash of notebook_pages';

CREATE FUNCTION rmsync.hash_todo() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	uuid text := to_jsonb(NEW) ->> 'notebook_uuid';
BEGIN
	IF uuid IS NULL THEN
		EXECUTE format('SELECT notebook_uuid FROM %I.notebooks WHERE id = $1', TG_TABLE_SCHEMA)
		INTO uuid USING (to_jsonb(NEW) ->> 'notebook_id')::bigint;
	END IF;
	NEW.content_hash := @extschema@.rmsync_fingerprint_todo(NEW.text, uuid, NEW.page_number);
	RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION rmsync.hash_todo() FROM PUBLIC;
COMMENT ON FUNCTION rmsync.hash_todo() IS 'trigger: keeps content_hash of todos';

CREATE FUNCTION rmsync.hash_highlight() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	file text := to_jsonb(NEW) ->> 'source_file';
BEGIN
	-- The host's highlights have no file of their own: the notebook's name.
	IF file IS NULL AND to_jsonb(NEW) ? 'notebook_id' THEN
		EXECUTE format('SELECT visible_name FROM %I.notebooks WHERE id = $1', TG_TABLE_SCHEMA)
		INTO file USING (to_jsonb(NEW) ->> 'notebook_id')::bigint;
	END IF;
	NEW.content_hash := @extschema@.rmsync_fingerprint_highlight(NEW.original_text, NEW.corrected_text, file, NEW.page_number, NEW.note);
	RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION rmsync.hash_highlight() FROM PUBLIC;
COMMENT ON FUNCTION rmsync.hash_highlight() IS 'trigger: keeps content_hash of highlights';

CREATE FUNCTION rmsync.hash_notebook() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	pages jsonb;
BEGIN
	EXECUTE format('SELECT coalesce(jsonb_agg(jsonb_build_object(''number'', x.number, ''text'', x.text, ''confidence'', x.confidence) ORDER BY x.number), ''[]'')
		FROM (SELECT coalesce((to_jsonb(m) ->> ''page_number'')::int, (to_jsonb(p) ->> ''page_number'')::int) AS number,
				p.ocr_text AS text, (to_jsonb(p) -> ''confidence_score'') AS confidence
			FROM %I.notebook_pages m JOIN %1$I.pages p ON p.id = m.page_id
			WHERE m.notebook_id = $1) x', TG_TABLE_SCHEMA)
	INTO pages USING NEW.id;
	NEW.content_hash := @extschema@.rmsync_fingerprint_notebook(NEW.visible_name, NEW.document_type, pages);
	NEW.last_hash_computed_at := clock_timestamp() AT TIME ZONE 'UTC';
	RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION rmsync.hash_notebook() FROM PUBLIC;
COMMENT ON FUNCTION rmsync.hash_notebook() IS 'trigger: keeps content_hash of notebooks';

-- A page's text changed: its mappings' hashes follow, then the notebook's.
CREATE FUNCTION rmsync.hash_texts_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('UPDATE %I.notebook_pages m SET page_id = m.page_id
		FROM rmsync_old o JOIN rmsync_new n ON n.id = o.id
		WHERE m.page_id = n.id AND (o.ocr_text, o.ocr_status, to_jsonb(o) -> ''page_number'', to_jsonb(o) -> ''confidence_score'')
			IS DISTINCT FROM (n.ocr_text, n.ocr_status, to_jsonb(n) -> ''page_number'', to_jsonb(n) -> ''confidence_score'')', TG_TABLE_SCHEMA);
	RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION rmsync.hash_texts_changed() FROM PUBLIC;
COMMENT ON FUNCTION rmsync.hash_texts_changed() IS 'trigger on pages: has the hashes of changed pages computed';

CREATE FUNCTION rmsync.hash_pages_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('UPDATE %I.notebooks n SET visible_name = n.visible_name
		WHERE n.id IN (SELECT r.notebook_id FROM rmsync_rows r)', TG_TABLE_SCHEMA);
	RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION rmsync.hash_pages_changed() FROM PUBLIC;
COMMENT ON FUNCTION rmsync.hash_pages_changed() IS 'trigger on notebook_pages: has the hashes of their notebooks computed';

CREATE FUNCTION rmsync.attach_hashes(s name) RETURNS name[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
	made name[] := '{}';
	mapped boolean := rmsync.host_has(s, 'notebook_pages', 'page_id') AND rmsync.host_has(s, 'notebook_pages', 'notebook_id');
	number text := CASE WHEN rmsync.host_has(s, 'notebook_pages', 'page_number') THEN ', page_number' ELSE '' END;
BEGIN
	FOR t IN
		SELECT * FROM (VALUES
			('notebooks'::name, 'content_hash'::name, 'varchar(64)', true),
			('notebooks', 'last_hash_computed_at', 'timestamp', true),
			('notebook_pages', 'content_hash', 'varchar(64)', mapped),
			('notebook_pages', 'last_hash_computed_at', 'timestamp', mapped),
			('todos', 'content_hash', 'varchar(64)', true),
			('highlights', 'content_hash', 'varchar(64)', true)) v (tab, col, type, wanted)
		WHERE v.wanted AND NOT rmsync.host_has(s, v.tab, v.col)
	LOOP
		EXECUTE format('ALTER TABLE %I.%I ADD COLUMN %I %s', s, t.tab, t.col, t.type);
	END LOOP;

	FOR t IN
		SELECT * FROM (VALUES
			('notebook_pages'::name, 'rmsync_hash'::name, 'BEFORE INSERT OR UPDATE OF notebook_id, page_id' || number, 'ROW', 'hash_page', mapped),
			('notebook_pages', 'rmsync_hash_insert', 'AFTER INSERT', 'NEW', 'hash_pages_changed', mapped),
			('notebook_pages', 'rmsync_hash_update', 'AFTER UPDATE', 'NEW', 'hash_pages_changed', mapped),
			('notebook_pages', 'rmsync_hash_delete', 'AFTER DELETE', 'OLD', 'hash_pages_changed', mapped),
			('pages', 'rmsync_hash', 'AFTER UPDATE', 'BOTH', 'hash_texts_changed', mapped),
			('notebooks', 'rmsync_hash', 'BEFORE INSERT OR UPDATE OF visible_name, document_type', 'ROW', 'hash_notebook', mapped),
			('todos', 'rmsync_hash', 'BEFORE INSERT OR UPDATE', 'ROW', 'hash_todo', true),
			('highlights', 'rmsync_hash', 'BEFORE INSERT OR UPDATE', 'ROW', 'hash_highlight', true)) v (tab, trigger, event, rows, fn, wanted)
		WHERE v.wanted
	LOOP
		PERFORM rmsync.create_trigger(s, t.tab, t.trigger,
			t.event || ' ON @table@ '
			|| CASE t.rows
				WHEN 'ROW' THEN 'FOR EACH ROW'
				WHEN 'BOTH' THEN 'REFERENCING OLD TABLE AS rmsync_old NEW TABLE AS rmsync_new FOR EACH STATEMENT'
				ELSE 'REFERENCING ' || t.rows || ' TABLE AS rmsync_rows FOR EACH STATEMENT' END
			|| ' EXECUTE FUNCTION rmsync.' || t.fn || '()');
		made := made || format('%I.%s', t.tab, t.trigger)::name;
	END LOOP;

	-- What is there already; notebooks follow their pages.
	IF mapped THEN
		EXECUTE format('UPDATE %I.notebook_pages SET page_id = page_id WHERE last_hash_computed_at IS NULL', s);
		EXECUTE format('UPDATE %I.notebooks SET visible_name = visible_name WHERE last_hash_computed_at IS NULL', s);
	END IF;
	EXECUTE format('UPDATE %I.todos SET text = text WHERE content_hash IS NULL', s);
	EXECUTE format('UPDATE %I.highlights SET original_text = original_text WHERE content_hash IS NULL', s);
	RETURN made;
END
$$;
REVOKE ALL ON FUNCTION rmsync.attach_hashes(name) FROM PUBLIC;
COMMENT ON FUNCTION rmsync.attach_hashes(name) IS
'adds the document''s hash columns to the host''s tables and keeps them';
