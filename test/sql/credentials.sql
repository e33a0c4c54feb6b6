--
-- Encryption of credentials: golden tokens of the host application, both key
-- derivations, damaged tokens, and what is wrong with a key file.
--
SET client_encoding = 'UTF8';

SELECT current_setting('data_directory') AS data_directory \gset
\set key_file :data_directory '/rmsync_test.key'

-- Test files are made in the data directory: the server reads them, so the
-- server writes them.
CREATE PROCEDURE write_key_file(content text, mode text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('COPY (SELECT %L) TO PROGRAM %L',
		translate(encode(convert_to(content, 'UTF8'), 'base64'), E'\n', ''),
		'umask 077; rm -f rmsync_test.key; base64 -d > rmsync_test.key; chmod ' || mode || ' rmsync_test.key');
END $$;
CREATE PROCEDURE shell(command text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'cat > /dev/null; ' || command);
END $$;

-- Master key of the golden tokens (bytes 00 to 1f), another one, and user
-- 42's keys by both derivations (signing key first, then the AES key).
\set master 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='
\set other 'yMnKy8zNzs_Q0dLT1NXW19jZ2tvc3d7f4OHi4-Tl5uc='
\set km_rmirror '\\xe5dbbf04b1c16d60ba9166ea45dc16b26abb3c582a64f88bb3b3b77eefd63d5b'
\set km_document '\\x28a52d6f40d8b8a46380b33708c27dc22975d8e668c212077f74a79d50bb7790'
CREATE TEMP TABLE token (name text, token text, plain text);
INSERT INTO token VALUES
	('rmirror', 'gAAAAABndIWAAAECAwQFBgcICQoLDA0OD-CN5NaVUvqT_jiGgdxs66kJQoGNu_i_w9W0qmnyq5S14ybWEO-BW85dwmuexvpZwP-OMho9P-ZPpaBTgBh9IT5qYu4K-ILjwZ4FEdY3a3l9DgyNTy7iIEbUIxBvvC4b3GAzpgGMPaccDR737wUDi6g=', '{"access_token": "secret_\u00fc\ud83d\ude00", "database_id": "abc123"}'),
	('rmirror, empty', 'gAAAAABndIWAAAECAwQFBgcICQoLDA0ODybaZLkSzdDtwxP9Kv1zt0LoW2EKtV8FMxRhCmMoy25QTenspeWXOWGsy4nKcpFx0A==', '{}'),
	('document', 'gAAAAABndIWAAAECAwQFBgcICQoLDA0ODyO7gCpfCG2EnItSCel26LuAj6L2V5NqpUJz0XJfhmhXybG20CFfkIYyAxU5NGTAx4ePe4zyncatepndZIpu2XojM3EBGQ78TXgAZ6lT4DQcljIQqwu11oHbfKTIYpdKHNl11YdWzfx9GpcuTYTPYb0=', '{"access_token": "secret_\u00fc\ud83d\ude00", "database_id": "abc123"}');

--
-- No usable key: the reason is given, and never a part of the file.
--
SET rmsync.master_key_file = '';
SELECT rmsync.master_key_status();
SELECT rmsync.encrypt(42, 'x');
SELECT rmsync.decrypt(42, token) FROM token WHERE name = 'rmirror';
SET rmsync.master_key_file = :'key_file';
CALL shell('rm -rf rmsync_test.key');
SELECT rmsync.master_key_status();
SELECT rmsync.encrypt(42, 'x');
CALL write_key_file(:'master', '0644');
SELECT rmsync.master_key_status();
CALL write_key_file(:'master', '0640');
SELECT rmsync.master_key_status();
CALL write_key_file(:'master', '0602');
SELECT rmsync.master_key_status();
CALL shell('rm -f rmsync_test.key; mkdir -m 0700 rmsync_test.key');
SELECT rmsync.master_key_status();
CALL shell('rmdir rmsync_test.key; mkfifo -m 0600 rmsync_test.key');
SELECT rmsync.master_key_status();
CALL shell('rm rmsync_test.key');
CALL write_key_file('', '0600');
SELECT rmsync.master_key_status();
CALL write_key_file(E'# no key yet\n\n   \t\n', '0600');
SELECT rmsync.master_key_status();
CALL write_key_file(E'# too short\n' || left(:'master', 43), '0600');
SELECT rmsync.master_key_status();
CALL write_key_file(:'master' || E'\n\n' || replace(:'master', 'H', '!'), '0600');
SELECT rmsync.master_key_status();
CALL write_key_file(left(:'master', 42) || '==', '0600');
SELECT rmsync.master_key_status();
CALL write_key_file(:'master' || ' trailing', '0600');
SELECT rmsync.master_key_status();
CALL write_key_file(repeat(:'master' || E'\n', 17), '0600');
SELECT rmsync.master_key_status();
CALL write_key_file(repeat('# long comment' || E'\n', 2000) || :'master', '0600');
SELECT rmsync.master_key_status();

--
-- A good file, with comments, blank lines and white space.
--
CALL write_key_file(E'# master key\n\n  ' || :'master' || E' \r\n# end', '0400');
SELECT rmsync.master_key_status();

-- Golden tokens, whatever derivation is configured for new ones.
SET rmsync.key_derivation = 'document';
SELECT name, rmsync.decrypt(42, token) = plain AS opened, rmsync.decrypt(43, token) IS NULL AS other_user_refused FROM token ORDER BY name;
SET rmsync.key_derivation = 'rmirror';
SELECT name, rmsync.decrypt(42, token) = plain AS opened, rmsync.decrypt(-42, token) IS NULL AS other_user_refused FROM token ORDER BY name;
SELECT rmsync.decrypt(42, E' \n' || token || E'\r\n') FROM token WHERE name = 'rmirror, empty';

-- One byte changed anywhere, or cut off anywhere: never opens.
CREATE FUNCTION to_bytes(token text) RETURNS bytea IMMUTABLE
RETURN decode(translate(token, '-_', '+/'), 'base64');
CREATE FUNCTION to_token(raw bytea) RETURNS text IMMUTABLE
RETURN translate(encode(raw, 'base64'), E'+/\n', '-_');
SELECT count(*) AS changed, count(rmsync.decrypt(42, to_token(set_byte(to_bytes(token), i, get_byte(to_bytes(token), i) # 4)))) AS opened
FROM token, generate_series(0, length(to_bytes(token)) - 1) AS i WHERE name = 'document';
SELECT count(*) AS cut, count(rmsync.decrypt(42, to_token(substr(to_bytes(token), 1, i)))) AS opened
FROM token, generate_series(0, length(to_bytes(token)) - 1) AS i WHERE name = 'rmirror, empty';
SELECT count(*) AS cut, count(rmsync.decrypt(42, left(token, i))) AS opened
FROM token, generate_series(0, length(token) - 1) AS i WHERE name = 'rmirror, empty';
SELECT count(*) AS tried, count(rmsync.decrypt(42, t)) AS opened
FROM (VALUES (''), ('='), ('===='), ('{}'), ('gAAAAA'), ('gAAA=AAA'), (repeat('=', 100)), (repeat('A', 1000)), ('ü')) AS v (t);

--
-- Round trips.  What the server writes is opened here with pgcrypto directly,
-- and what is made here is opened by the server.
--
CREATE FUNCTION open_token(token text, km bytea) RETURNS bytea
LANGUAGE plpgsql AS $$
DECLARE
	r bytea := to_bytes(token);
BEGIN
	IF get_byte(r, 0) <> 128 OR hmac(substr(r, 1, length(r) - 32), substr(km, 1, 16), 'sha256') <> substr(r, length(r) - 31) THEN
		RETURN NULL;
	END IF;
	RETURN decrypt_iv(substr(r, 26, length(r) - 57), substr(km, 17), substr(r, 10, 16), 'aes-cbc/pad:pkcs');
END $$;
CREATE FUNCTION make_token(padded bytea, km bytea) RETURNS text
RETURN (SELECT to_token(r || hmac(r, substr(km, 1, 16), 'sha256'))
	FROM (SELECT '\x800000000067748580000102030405060708090a0b0c0d0e0f'::bytea
		|| encrypt_iv(padded, substr(km, 17), '\x000102030405060708090a0b0c0d0e0f', 'aes-cbc/pad:none') AS r) AS s);

SET rmsync.key_derivation = 'rmirror';
CREATE TEMP TABLE trip AS
SELECT plain, rmsync.encrypt(42, plain) AS token
FROM (SELECT repeat('x', n) AS plain FROM generate_series(0, 49) AS n
	UNION ALL VALUES ('Größe 😀 "quoted" \back'), (repeat('long ', 100000))) AS s;
SELECT count(*) AS tried,
	count(*) FILTER (WHERE rmsync.decrypt(42, token) = plain) AS opened,
	count(*) FILTER (WHERE open_token(token, :'km_rmirror') = convert_to(plain, 'UTF8')) AS opened_here,
	count(open_token(token, :'km_document')) AS opened_with_wrong_key,
	count(*) FILTER (WHERE token ~ '^gAAAAA[A-Za-z0-9_-]+=*$') AS well_formed
FROM trip;
SET rmsync.key_derivation = 'document';
SELECT open_token(rmsync.encrypt(42, 'secret'), :'km_document') = 'secret' AS document,
	open_token(rmsync.encrypt(43, 'secret'), :'km_document') IS NULL AS per_user,
	rmsync.encrypt(42, 'secret') <> rmsync.encrypt(42, 'secret') AS fresh_iv,
	to_timestamp(('x' || encode(substr(to_bytes(rmsync.encrypt(42, 'x')), 2, 8), 'hex'))::bit(64)::bigint)
		BETWEEN now() - interval '1 minute' AND now() + interval '1 minute' AS current_time;
SELECT rmsync.decrypt(9223372036854775807, rmsync.encrypt(9223372036854775807, 'a')) || rmsync.decrypt(0, rmsync.encrypt(0, 'b')) AS extreme_users;

-- Signed properly, but padded wrongly or not text: does not open, no error.
SELECT padding, quote_nullable(rmsync.decrypt(42, make_token(padded, :'km_rmirror'))) AS opened
FROM (VALUES ('good', '\x68656c6c6f0b0b0b0b0b0b0b0b0b0b0b'::bytea),
	('whole block', '\x10101010101010101010101010101010'),
	('zero', '\x68656c6c6f0000000000000000000000'),
	('too long', '\x68656c6c6f1111111111111111111111'),
	('uneven', '\x68656c6c6f0b0b0b0b0b0b0b0b0a0b0b'),
	('not UTF-8', '\xff656c6c6f0b0b0b0b0b0b0b0b0b0b0b'),
	('NUL', '\x6865006c6f0b0b0b0b0b0b0b0b0b0b0b')
) AS v (padding, padded);

--
-- Rotation: the first key encrypts, all decrypt.
--
CALL write_key_file(:'other' || E'\n' || :'master', '0600');
SELECT name, rmsync.decrypt(42, token) = plain AS opened FROM token ORDER BY name;
SELECT rmsync.encrypt(42, 'new') AS new_token \gset
SELECT open_token(:'new_token', :'km_document') IS NULL AS made_with_the_first;
CALL write_key_file(:'other', '0600');
SELECT name, rmsync.decrypt(42, token) IS NULL AS refused FROM token ORDER BY name;
SELECT rmsync.decrypt(42, :'new_token');

--
-- pgcrypto is found by membership, not by name or path, and found again.
--
CREATE SCHEMA planted;
CREATE FUNCTION planted.encrypt_iv(bytea, bytea, bytea, text) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea';
CREATE FUNCTION planted.hmac(bytea, bytea, text) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea';
SELECT nspname AS pgcrypto_schema FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'pgcrypto' \gset
SET search_path = planted;
SELECT rmsync.decrypt(42, rmsync.encrypt(42, 'not planted'));
RESET search_path;
ALTER FUNCTION :"pgcrypto_schema".hmac(bytea, bytea, text) RENAME TO hmac_away;
SELECT rmsync.encrypt(42, 'x');
ALTER EXTENSION pgcrypto ADD FUNCTION planted.hmac(bytea, bytea, text);
SELECT rmsync.encrypt(42, 'x');
ALTER EXTENSION pgcrypto DROP FUNCTION planted.hmac(bytea, bytea, text);
ALTER FUNCTION :"pgcrypto_schema".hmac_away(bytea, bytea, text) RENAME TO hmac;
SELECT rmsync.decrypt(42, rmsync.encrypt(42, 'back'));

--
-- Nobody else may call these, or see where the key is.
--
CREATE ROLE regress_rmsync_nobody;
GRANT USAGE ON SCHEMA rmsync TO regress_rmsync_nobody;
SET ROLE regress_rmsync_nobody;
SELECT rmsync.encrypt(42, 'x');
SELECT rmsync.decrypt(42, 'x');
SELECT rmsync.master_key_status();
\set VERBOSITY sqlstate
SHOW rmsync.master_key_file;
\set VERBOSITY default
RESET ROLE;
REVOKE USAGE ON SCHEMA rmsync FROM regress_rmsync_nobody;
DROP ROLE regress_rmsync_nobody;

CALL shell('rm -f rmsync_test.key');
