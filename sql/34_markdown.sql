-- What becomes of a page's text: for people who wonder, and for tests.

CREATE FUNCTION rmsync.markdown_text(markdown text) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'rmsync_markdown_text_sql';
COMMENT ON FUNCTION rmsync.markdown_text(text) IS
	'the words of a Markdown text as every target says them, one block per line';

CREATE FUNCTION rmsync.markdown_tree(markdown text) RETURNS jsonb
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'rmsync_markdown_tree_sql';
COMMENT ON FUNCTION rmsync.markdown_tree(text) IS
	'the tree of blocks a Markdown text is read as';

CREATE FUNCTION rmsync.notion_blocks(markdown text) RETURNS jsonb
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'rmsync_notion_blocks_sql';
COMMENT ON FUNCTION rmsync.notion_blocks(text) IS
	'the Notion blocks a Markdown text becomes, nested as they will be in the end';

CREATE FUNCTION rmsync.notion_requests(markdown text, title text,
									   OUT parent text, OUT first_id integer,
									   OUT body text)
	RETURNS SETOF record
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'rmsync_notion_requests_sql';
COMMENT ON FUNCTION rmsync.notion_requests(text, text) IS
	'the append requests that bring a page to Notion: the parent appended to ("page", or "bN" for a block of an earlier request), the number N of the first block this one creates at top level, and the body';
