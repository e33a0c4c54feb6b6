--
-- A grant is stored once, whichever lanes use it, and goes with the last one
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
-- what Notion answers to the application's callback
CREATE FUNCTION test.answer(access text, refresh text DEFAULT NULL, bot text DEFAULT 'bot', workspace text DEFAULT 'w') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('access_token', access, 'refresh_token', refresh, 'bot_id', bot, 'workspace_id', workspace, 'token_type', 'bearer'))
$$;
CREATE FUNCTION test.config(token text DEFAULT NULL, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('database_id', repeat('a', 32), 'api_token', token)) || more
$$;
CREATE VIEW test.grants AS
SELECT g.user_id AS u, g.external_id AS bot, g.workspace_id AS ws, rmsync.decrypt(g.user_id, g.access_token_encrypted) AS access,
	rmsync.decrypt(g.user_id, g.refresh_token_encrypted) AS refresh, g.generation AS gen, cardinality(g.named_tokens) AS names,
	g.ended_at IS NOT NULL AS ended, (SELECT string_agg(c.target_name, ' ' ORDER BY c.target_name) FROM rmsync.integration_configs c WHERE c.grant_id = g.id) AS lanes
FROM rmsync.oauth_grants g ORDER BY g.user_id, g.external_id NULLS LAST, g.id;
CREATE VIEW test.lanes AS
SELECT c.user_id AS u, c.target_name, c.state, g.external_id AS bot, c.grant_id IS NOT NULL AS granted, c.config_epoch AS epoch,
	rmsync.decrypt(c.user_id, c.config_encrypted) AS config
FROM rmsync.integration_configs c LEFT JOIN rmsync.oauth_grants g ON g.id = c.grant_id ORDER BY c.user_id, c.target_name;
-- every place in our tables where a secret stands, in plain or encrypted
CREATE FUNCTION test.holding(secret text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
BEGIN
	FOR t IN SELECT a.attrelid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE c.relnamespace = 'rmsync'::regnamespace AND c.relkind = 'r' AND a.attname = 'user_id' ORDER BY a.attrelid::regclass::text
	LOOP
		RETURN QUERY EXECUTE format('SELECT %L || ''.'' || f.key || '' of user '' || r.user_id FROM %s r, jsonb_each_text(to_jsonb(r)) f
			WHERE strpos(f.value, $1) > 0 OR strpos(rmsync.decrypt(r.user_id, CASE WHEN f.value LIKE ''gAAAA%%'' THEN f.value END), $1) > 0
			ORDER BY r.user_id, r.ctid, f.key', t, t) USING secret;
	END LOOP;
END
$$;
CREATE FUNCTION test.without(j jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT $1 - '{id,created_at,updated_at}'::text[] $$;

--
-- The first tokens: the configuration loses its own
--
SELECT rmsync_oauth_store(1, 'notion', test.answer('T.1', 'R.1'));
SELECT test.without(rmsync_connect(1, 'notion', test.config('stale.')));
SELECT * FROM test.holding('stale.');
SELECT test.without(rmsync_oauth_store(1, 'notion', test.answer('T.1', 'R.1'))) #- '{oauth,granted_at}';
SELECT * FROM test.grants;
SELECT * FROM test.lanes;
SELECT test.holding(s) FROM unnest('{stale.,T.1,R.1}'::text[]) s;

--
-- A second lane uses the same row, whichever way it names the grant: by the
-- token that was granted, by the one the first lane was made with, by none
--
SELECT n.token, rmsync_connect(1, 'notion-todos', test.config(n.token)) ? 'oauth' AS granted
FROM unnest('{T.1,stale.,NULL}'::text[]) n (token);
SELECT * FROM test.grants;
SELECT * FROM test.lanes;
SELECT test.holding(s) FROM unnest('{stale.,T.1,R.1}'::text[]) s;
-- with a Fernet token instead of an object
SELECT rmsync_connect(1, 'notion-todos', to_jsonb(rmsync.encrypt(1, test.config('T.1')::text))) ? 'oauth' AS granted;
-- both get new tokens in one row, and go on
UPDATE rmsync.integration_configs SET state = 'auth', state_reason = 'ended', reconcile_wanted = false, blocked_until = now() + interval '1 hour';
UPDATE rmsync.oauth_grants SET ended_at = now();
SELECT rmsync_oauth_store(1, 'notion-todos', test.answer('T.2', 'R.2')) -> 'targets' AS targets;
SELECT * FROM test.grants;
SELECT target_name, state, state_reason, reconcile_wanted, blocked_until FROM rmsync.integration_configs ORDER BY 1;
SELECT test.holding(s) FROM unnest('{T.1,R.1,T.2,R.2}'::text[]) s;
-- other options only, and with any token of before: it stays, the ledger too
SELECT rmsync_connect(1, 'notion', test.config(n.token, '{"todos": "off"}')) ? 'oauth' AS granted FROM unnest('{T.1,T.2,stale.,NULL}'::text[]) n (token);
SELECT * FROM test.grants;
SELECT * FROM test.lanes;
-- what is no token is no reason to use the grant
SELECT rmsync_connect(1, 'notion', test.config() || '{"api_token": null}');
SELECT rmsync_connect(1, 'notion', test.config() || '{"api_token": 7}');
SELECT rmsync_connect(1, 'notion', test.config() || '{"hunter": 2}');

--
-- What is shown of it
--
SELECT i ->> 'target_name' AS target, i #>> '{oauth,workspace_id}' AS workspace, i -> 'oauth' ? 'granted_at' AS granted, i #> '{oauth,ended_at}' AS ended,
	i #> '{oauth,renewed_at}' AS renewed, i::text ~ 'T[.]|R[.]|gAAAA' AS secret FROM jsonb_array_elements(rmsync_integrations(1)) i;

--
-- Another user with the very same tokens has a grant of its own
--
SELECT rmsync_connect(2, 'notion', test.config('T.2')) ? 'oauth' AS granted;
SELECT rmsync_oauth_store(2, 'notion', test.answer('T.2', 'R.2')) ? 'oauth' AS granted;
SELECT * FROM test.grants;
SELECT count(*), count(DISTINCT n) FROM rmsync.oauth_grants, unnest(named_tokens) n;
SELECT bool_or(named_tokens::text ~ encode(sha256('T.2'), 'hex')) AS plain_hash FROM rmsync.oauth_grants;
-- nobody can send with it
DO $$
BEGIN
	UPDATE rmsync.integration_configs SET grant_id = (SELECT id FROM rmsync.oauth_grants WHERE user_id = 1) WHERE user_id = 2;
EXCEPTION WHEN foreign_key_violation THEN
	RAISE NOTICE '%', SQLERRM;
END
$$;

--
-- A token of the user's own takes its place in one lane, then in the other
--
SELECT rmsync_connect(1, 'notion', test.config('personal.')) ? 'oauth' AS granted;
SELECT * FROM test.grants;
SELECT test.holding(s) FROM unnest('{personal.,T.2,R.2}'::text[]) s;
-- and it comes back to it
SELECT rmsync_connect(1, 'notion', test.config('T.2')) ? 'oauth' AS granted;
SELECT * FROM test.grants WHERE u = 1;
SELECT test.holding('personal.');
SELECT rmsync_connect(1, t, test.config('personal.')) ? 'oauth' AS granted FROM unnest('{notion,notion-todos}'::text[]) t;
SELECT * FROM test.grants;
-- there is none any more
SELECT rmsync_connect(1, 'notion', test.config());

--
-- Lanes that were made with one token come to the grant together
--
SELECT rmsync_oauth_store(1, 'notion', test.answer('T.3', 'R.3')) -> 'targets' AS targets;
SELECT * FROM test.grants WHERE u = 1;
SELECT test.holding('personal.');
-- disconnected one by one; the second is switched off
SELECT rmsync_disable(1, 'notion') ? 'oauth' AS granted;
SELECT rmsync_disconnect(1, 'notion-todos') ->> 'target_name' AS gone;
SELECT * FROM test.grants WHERE u = 1;
SELECT rmsync_disconnect(1, 'notion') ->> 'target_name' AS gone;
SELECT * FROM test.grants WHERE u = 1;
SELECT test.holding(s) FROM unnest('{T.3,R.3}'::text[]) s;

--
-- Granted again under another name: what has ended is replaced for all, in the
-- same workspace; what has not stays with the lanes it was given to
--
SELECT rmsync_connect(1, t, test.config('a')) ->> 'state' AS state FROM unnest('{notion,notion-todos}'::text[]) t;
SELECT rmsync_oauth_store(1, 'notion', test.answer('T.4', 'R.4', 'bot4')) -> 'targets' AS targets;
SELECT rmsync_oauth_store(1, 'notion', test.answer('T.5', 'R.5', 'bot5')) -> 'targets' AS targets;
SELECT * FROM test.grants WHERE u = 1;
-- each lane keeps its own with the token both were made with
SELECT rmsync_connect(1, t, test.config('a')) ? 'oauth' AS granted FROM unnest('{notion,notion-todos}'::text[]) t;
SELECT * FROM test.grants WHERE u = 1;
-- and with none
SELECT rmsync_connect(1, t, test.config()) ? 'oauth' AS granted FROM unnest('{notion,notion-todos}'::text[]) t;
SELECT * FROM test.grants WHERE u = 1;
-- without one of its own, a lane without a token uses the other's
SELECT rmsync_connect(1, 'notion', test.config('personal.')) ? 'oauth' AS granted;
SELECT rmsync_connect(1, 'notion', test.config()) ? 'oauth' AS granted;
SELECT * FROM test.grants WHERE u = 1;
SELECT rmsync_oauth_store(1, 'notion', test.answer('T.5', 'R.5', 'bot5')) -> 'targets' AS targets;
UPDATE rmsync.oauth_grants SET ended_at = now() WHERE external_id = 'bot4';
UPDATE rmsync.integration_configs SET state = 'auth' WHERE target_name = 'notion-todos';
-- then the very token that the lane was made with is meant
BEGIN;
SELECT rmsync_connect(1, 'notion-todos', test.config('a')) ? 'oauth' AS granted;
SELECT * FROM test.grants WHERE u = 1;
ROLLBACK;
SELECT rmsync_oauth_store(1, 'notion', test.answer('T.6', 'R.6', 'bot6', 'elsewhere')) -> 'targets' AS targets;
SELECT rmsync_oauth_store(1, 'notion', test.answer('T.7', 'R.7', 'bot7')) -> 'targets' AS targets;
SELECT * FROM test.grants WHERE u = 1;
SELECT target_name, state FROM rmsync.integration_configs WHERE user_id = 1 ORDER BY 1;
-- an answer that names nothing is the lane's own; without a refresh token it
-- cannot be renewed
SELECT rmsync_oauth_store(1, 'notion', test.answer('T.8', 'R.8', NULL, NULL)) -> 'targets' AS targets;
SELECT rmsync_oauth_store(1, 'notion', test.answer('T.9', NULL, NULL, NULL)) -> 'targets' AS targets;
SELECT * FROM test.grants WHERE u = 1;
SELECT rmsync_oauth_store(1, 'notion', test.answer('U.' || i, 'R', NULL, NULL)) -> 'targets' AS targets FROM generate_series(1, 30) i OFFSET 29;
SELECT names FROM test.grants WHERE u = 1 AND bot IS NULL;
-- the oldest names are forgotten
SELECT rmsync_connect(1, 'notion', test.config(n.token)) ? 'oauth' AS granted FROM unnest('{U.15,U.30,T.8}'::text[]) n (token);
SELECT rmsync_disconnect(1, t) ->> 'target_name' AS gone FROM unnest('{notion,notion-todos}'::text[]) t;
SELECT count(*) FROM test.grants WHERE u = 1;

--
-- A backup is a credential of its own and leaves the grant alone
--
SELECT rmsync_connect(2, 'notion', test.config('spare.'), backup => true) -> 'has_backup' AS backup;
SELECT rmsync_connect(2, 'notion', test.config(), backup => true);
SELECT * FROM test.grants;
SELECT test.holding('spare.');

--
-- Taken over from the host: with what renews it, it is a grant
--
SELECT test.add_user(u) FROM unnest('{11,12,13}'::int[]) u;
INSERT INTO integration_configs (user_id, target_name, config_encrypted, is_enabled)
SELECT u, t, (test.answer(CASE WHEN u = 11 AND t = 'notion-todos' THEN 'H.0' ELSE 'H.' || u END, CASE WHEN u = 11 OR u = 12 AND t = 'notion' THEN 'HR.' || u END, CASE WHEN u = 11 THEN 'hbot' END) || test.config())::text, true
FROM unnest('{11,12,13}'::int[]) u, unnest('{notion,notion-todos}'::text[]) t;
SELECT rmsync_adopt('notion', preview => true) #> '{users,0,connection}' AS preview;
SELECT count(*) FROM test.grants WHERE u > 10;
SET client_min_messages = warning;
SELECT jsonb_path_query_array(rmsync_adopt('notion'), '$.users[*].connection') AS made;
-- renewed meanwhile: the host's copy is older
UPDATE rmsync.oauth_grants SET access_token_encrypted = rmsync.encrypt(user_id, 'H.new') WHERE user_id = 11;
SELECT jsonb_path_query_array(rmsync_adopt('notion-todos'), '$.users[*].connection') AS made;
RESET client_min_messages;
SELECT * FROM test.grants WHERE u > 10;
SELECT test.holding(s) FROM unnest('{H.11,H.0,HR.11,H.new,H.12,HR.12,H.13}'::text[]) s;

--
-- Who may
--
CREATE ROLE regress_rmsync_grants;
GRANT USAGE ON SCHEMA rmsync TO regress_rmsync_grants;
GRANT SELECT ON rmsync.integration_configs TO regress_rmsync_grants;
SET ROLE regress_rmsync_grants;
SELECT count(*) FROM rmsync.oauth_grants;
SELECT rmsync_oauth_store(1, 'notion', '{"access_token": "hunter2"}');
RESET ROLE;
GRANT SELECT, DELETE ON rmsync.oauth_grants, rmsync.integration_configs TO regress_rmsync_grants;
SET ROLE regress_rmsync_grants;
SET rmsync.user_id = 11;
SELECT DISTINCT user_id FROM rmsync.oauth_grants;
RESET ROLE;
SELECT rmsync_oauth_store(12, 'notion', test.answer('hunter2'));
RESET rmsync.user_id;
REVOKE ALL ON rmsync.oauth_grants, rmsync.integration_configs FROM regress_rmsync_grants;
REVOKE ALL ON SCHEMA rmsync FROM regress_rmsync_grants;
DROP ROLE regress_rmsync_grants;

--
-- Whoever removes a lane: with the last one the grant goes
--
DELETE FROM rmsync.integration_configs WHERE user_id = 11 AND target_name = 'notion';
SELECT * FROM test.grants WHERE u = 11;
DELETE FROM rmsync.integration_configs WHERE user_id = 11;
SELECT count(*) FROM test.grants WHERE u = 11;
DELETE FROM users WHERE id = 12;
SELECT rmsync.fold() IS NOT NULL AS folded;
SELECT * FROM test.grants;
\i :end
