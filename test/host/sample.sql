-- Rows as the host application writes them.  The functions are in schema test
-- and write to the first users, notebooks ... of the caller's search_path,
-- rmirror.sql's schema.

CREATE SCHEMA test;

-- A user; id as given.
CREATE FUNCTION test.add_user(id int) RETURNS int LANGUAGE sql AS $$
	INSERT INTO users (id, email, subscription_tier, is_active, is_verified, created_at, updated_at)
	VALUES ($1, 'user' || $1 || '@example.com', 'free', true, true, '2026-01-01', '2026-01-01')
	RETURNING id
$$;

-- A notebook; returns its row id.
CREATE FUNCTION test.add_notebook(user_id int, uuid text, name text, path text DEFAULT NULL) RETURNS int LANGUAGE sql AS $$
	INSERT INTO notebooks (user_id, notebook_uuid, visible_name, document_type, created_at, updated_at, last_synced_at, parent_uuid, full_path)
	VALUES ($1, $2, $3, 'notebook', '2026-01-01', '2026-01-01', '2026-01-01', '', coalesce($4, $3))
	RETURNING id
$$;

-- The uuid test.add_page() gives the n-th page of a notebook.
CREATE FUNCTION test.page_uuid(notebook_id int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT format('aaaaaaaa-0000-4000-8000-%s%s', lpad($1::text, 6, '0'), lpad($2::text, 6, '0'))
$$;

-- A page, mapped as number n; without text it waits for recognition.  Returns
-- its row id.
CREATE FUNCTION test.add_page(notebook_id int, n int, text text DEFAULT NULL) RETURNS int LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	page int;
BEGIN
	INSERT INTO pages (notebook_id, page_uuid, file_hash, ocr_status, ocr_text, created_at, updated_at, ocr_completed_at)
	VALUES ($1, test.page_uuid($1, $2), encode(sha256(convert_to($1 || ':' || $2, 'UTF8')), 'hex'),
		CASE WHEN $3 IS NULL THEN 'not_synced' ELSE 'completed' END, $3, '2026-01-01', '2026-01-01',
		CASE WHEN $3 IS NOT NULL THEN timestamp '2026-01-01 12:00' END)
	RETURNING id INTO page;
	INSERT INTO notebook_pages (notebook_id, page_id, page_number) VALUES ($1, page, $2);
	RETURN page;
END
$$;

-- rm-file: the text of a page arrives.
CREATE FUNCTION test.complete_page(page_id int, text text) RETURNS void LANGUAGE sql AS $$
	UPDATE pages SET ocr_text = $2, ocr_status = 'completed', ocr_completed_at = '2026-01-02', updated_at = '2026-01-02'
	WHERE id = $1
$$;

-- POST /notebooks/{uuid}/content: all mappings deleted and inserted again, row
-- by row, in the order of the uuids given.
CREATE FUNCTION test.upload_content(uuid text, page_uuids text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	notebook int := (SELECT id FROM notebooks WHERE notebook_uuid = uuid ORDER BY id DESC LIMIT 1);
	number int := 0;
	page text;
BEGIN
	DELETE FROM notebook_pages WHERE notebook_id = notebook;
	FOREACH page IN ARRAY page_uuids LOOP
		number := number + 1;
		INSERT INTO notebook_pages (notebook_id, page_id, page_number)
		SELECT notebook, p.id, number FROM pages p WHERE p.notebook_id = notebook AND p.page_uuid = page
		ORDER BY p.id DESC LIMIT 1;
	END LOOP;
END
$$;

-- A to-do read from a page; returns its row id.
CREATE FUNCTION test.add_todo(page_id int, text text) RETURNS int LANGUAGE sql AS $$
	INSERT INTO todos (user_id, notebook_id, page_id, page_number, page_uuid, title, text, completed, confidence, date_extracted, created_at, updated_at)
	SELECT n.user_id, n.id, p.id, m.page_number, p.page_uuid, left($2, 200), $2, false, 0.9, '2026-01-01', '2026-01-01', '2026-01-01'
	FROM pages p JOIN notebooks n ON n.id = p.notebook_id LEFT JOIN notebook_pages m ON m.page_id = p.id
	WHERE p.id = $1
	RETURNING id
$$;

-- A highlight; returns its row id.
CREATE FUNCTION test.add_highlight(page_id int, text text) RETURNS int LANGUAGE sql AS $$
	INSERT INTO highlights (user_id, notebook_id, page_id, page_number, original_text, source_type, created_at, updated_at, highlighted_at)
	SELECT n.user_id, n.id, p.id, m.page_number, $2, 'pdf', '2026-01-01', '2026-01-01', '2026-01-01'
	FROM pages p JOIN notebooks n ON n.id = p.notebook_id LEFT JOIN notebook_pages m ON m.page_id = p.id
	WHERE p.id = $1
	RETURNING id
$$;

-- DELETE /notebooks/{uuid}: the row goes, with all that hangs on it, and a
-- tombstone stays.
CREATE FUNCTION test.delete_notebook(uuid text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO deleted_notebooks (user_id, notebook_uuid, visible_name, deleted_at)
	SELECT user_id, notebook_uuid, visible_name, '2026-01-03' FROM notebooks WHERE notebook_uuid = $1
	ON CONFLICT (user_id, notebook_uuid) DO UPDATE SET deleted_at = excluded.deleted_at;
	DELETE FROM notebooks WHERE notebook_uuid = $1
$$;

-- A lane as rmsync_connect() makes it, with a configuration nobody reads.
CREATE FUNCTION test.add_lane(user_id bigint, target text DEFAULT 'webhook', enabled boolean DEFAULT true) RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO rmsync.integration_configs (user_id, target_name, is_enabled, config_encrypted, item_types, granularity)
	VALUES ($1, $2, $3, 'x', 15, 'i')
	RETURNING id
$$;

-- Takes the marks since the last call, in order.
CREATE FUNCTION test.marks(OUT user_id bigint, OUT kind "char", OUT item_id text, OUT notebook_uuid text) RETURNS SETOF record LANGUAGE sql AS $$
	WITH d AS (DELETE FROM rmsync.sync_intake RETURNING *)
	SELECT d.user_id, d.kind, d.item_id, d.notebook_uuid FROM d ORDER BY d.id
$$;
