-- Fingerprints.  The document's forms and the host's are for comparing what
-- the host recorded; content_hash_page and item_hashes are the ledger's own.

CREATE FUNCTION rmsync_fingerprint_page(notebook_uuid text, page_number int, ocr_text text) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rmsync_fingerprint_page';
COMMENT ON FUNCTION rmsync_fingerprint_page(text, int, text) IS
'documented fingerprint of a page: SHA-256 of its number, notebook and stripped text as sorted JSON';

CREATE FUNCTION rmsync_fingerprint_todo(todo_text text, notebook_uuid text, page_number int) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rmsync_fingerprint_todo';
COMMENT ON FUNCTION rmsync_fingerprint_todo(text, text, int) IS
'documented fingerprint of a to-do: text and place, not whether it is done';

CREATE FUNCTION rmsync_fingerprint_highlight(original_text text, corrected_text text, source_file text, page_number int, note text) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rmsync_fingerprint_highlight';
COMMENT ON FUNCTION rmsync_fingerprint_highlight(text, text, text, int, text) IS
'documented fingerprint of a highlight: both texts, note, file and page';

CREATE FUNCTION rmsync_fingerprint_notebook(title text, document_type text, pages jsonb) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rmsync_fingerprint_notebook';
COMMENT ON FUNCTION rmsync_fingerprint_notebook(text, text, jsonb) IS
'documented fingerprint of a notebook; pages is an array of {"number", "text", "confidence"}';

CREATE FUNCTION rmsync_fingerprint_host_page(notebook_uuid text, page_number int, page_uuid text, ocr_text text) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rmsync_fingerprint_host_page';
COMMENT ON FUNCTION rmsync_fingerprint_host_page(text, int, text, text) IS
'hash the host application records for a page when its text is read';

CREATE FUNCTION rmsync_fingerprint_host_initial(ocr_text text) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'rmsync_fingerprint_host_initial';
COMMENT ON FUNCTION rmsync_fingerprint_host_initial(text) IS
'hash the host application records for a page when a user connects a service';

CREATE FUNCTION rmsync_fingerprint_host_todo(todo_text text, notebook_uuid text, page_number int) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rmsync_fingerprint_host_todo';
COMMENT ON FUNCTION rmsync_fingerprint_host_todo(text, text, int) IS
'hash the host application records for a to-do';

CREATE FUNCTION rmsync.content_hash_page(ocr_text text) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rmsync_content_hash_page';
COMMENT ON FUNCTION rmsync.content_hash_page(text) IS
'content hash the ledger keeps for a page: SHA-256 of the stripped text, NULL as empty';

-- Stable, not immutable: opened_at may lack a time zone.
CREATE FUNCTION rmsync.item_hashes(item_type text, item jsonb, OUT content_hash text, OUT placement_hash text) RETURNS record
LANGUAGE c STABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'rmsync_item_hashes_sql';
COMMENT ON FUNCTION rmsync.item_hashes(text, jsonb) IS
'both hashes the ledger keeps for an item given as an object with the columns of its source view';
