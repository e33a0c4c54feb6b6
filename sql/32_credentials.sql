-- Credentials by hand: for tests and repair.  Statements can be logged, so
-- nothing that handles credentials regularly may use these.

CREATE FUNCTION rmsync.encrypt(user_id bigint, plain text) RETURNS text
LANGUAGE c VOLATILE STRICT
AS 'MODULE_PATHNAME', 'rmsync_encrypt_sql';
COMMENT ON FUNCTION rmsync.encrypt(bigint, text) IS
'encrypts a text for a user with the first master key; for tests and repair, superuser only';

CREATE FUNCTION rmsync.decrypt(user_id bigint, token text) RETURNS text
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'rmsync_decrypt_sql';
COMMENT ON FUNCTION rmsync.decrypt(bigint, text) IS
'decrypts a token of a user, NULL if no master key opens it; for tests and repair, superuser only';

CREATE FUNCTION rmsync.master_key_status() RETURNS text
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'rmsync_master_key_status';
COMMENT ON FUNCTION rmsync.master_key_status() IS
'NULL if a usable master key is configured, else the reason why not';

REVOKE ALL ON FUNCTION rmsync.encrypt(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION rmsync.decrypt(bigint, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION rmsync.master_key_status() FROM PUBLIC;
