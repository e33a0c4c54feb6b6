-- Source views: the only place that knows host column names.  These are
-- empty until rmsync_attach() replaces them with views over the host's
-- tables; their columns are the contract of src/store_item.c.

-- One row per user and notebook.  live: belongs at the targets (not deleted,
-- not in the trash, not a folder).
CREATE VIEW rmsync.source_notebook AS
SELECT NULL::bigint AS user_id, NULL::text AS item_id, NULL::text AS title,
	NULL::text AS document_type, NULL::text AS path, NULL::text AS parent_uuid,
	NULL::text AS author, NULL::boolean AS pinned,
	NULL::timestamptz AS opened_at, NULL::timestamptz AS modified_at,
	NULL::timestamptz AS created_at, NULL::boolean AS live,
	NULL::bigint AS row_id
WHERE false;
COMMENT ON VIEW rmsync.source_notebook IS 'notebooks as the targets should see them; replaced by rmsync_attach()';

-- live: mapped into a live notebook.  ready: recognition is complete, the
-- text may be delivered (an empty text is a text).
CREATE VIEW rmsync.source_page AS
SELECT NULL::bigint AS user_id, NULL::text AS item_id,
	NULL::text AS notebook_uuid, NULL::int AS page_number, NULL::text AS text,
	NULL::boolean AS ready, NULL::float8 AS confidence,
	NULL::timestamptz AS modified_at, NULL::boolean AS live,
	NULL::bigint AS row_id
WHERE false;
COMMENT ON VIEW rmsync.source_page IS 'pages with their text and place; replaced by rmsync_attach()';

CREATE VIEW rmsync.source_todo AS
SELECT NULL::bigint AS user_id, NULL::text AS item_id,
	NULL::text AS notebook_uuid, NULL::text AS page_id,
	NULL::int AS page_number, NULL::text AS title, NULL::text AS text,
	NULL::boolean AS completed, NULL::float8 AS confidence,
	NULL::timestamptz AS written_at, NULL::timestamptz AS modified_at,
	NULL::boolean AS live, NULL::bigint AS row_id
WHERE false;
COMMENT ON VIEW rmsync.source_todo IS 'to-dos; replaced by rmsync_attach()';

CREATE VIEW rmsync.source_highlight AS
SELECT NULL::bigint AS user_id, NULL::text AS item_id,
	NULL::text AS notebook_uuid, NULL::text AS page_id,
	NULL::int AS page_number, NULL::text AS original_text,
	NULL::text AS corrected_text, NULL::text AS note,
	NULL::text AS source_type, NULL::text AS source_title,
	NULL::text AS author, NULL::float8 AS confidence,
	NULL::timestamptz AS highlighted_at, NULL::timestamptz AS modified_at,
	NULL::boolean AS live, NULL::bigint AS row_id
WHERE false;
COMMENT ON VIEW rmsync.source_highlight IS 'highlights; replaced by rmsync_attach()';
