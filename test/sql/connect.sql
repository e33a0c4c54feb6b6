--
-- rmsync_connect(): what it refuses, what it keeps, and that no secret is seen
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
CREATE TEMP VIEW lane AS
SELECT user_id, target_name, is_enabled, state, item_types, granularity, config_epoch, reconcile_wanted,
	backup_config_encrypted IS NOT NULL AS backup
FROM rmsync.integration_configs ORDER BY user_id, target_name;
CREATE FUNCTION test.config(more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT '{"url": "http://127.0.0.1:1/hook", "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}' || $1
$$;

--
-- Refused, with a reason that names the field and never shows its value
--
SELECT rmsync_connect(1, 'nonsense', '{}');
SELECT rmsync_connect(NULL, 'webhook', '{}');
SELECT rmsync_connect(1, NULL, '{}');
SELECT rmsync_connect(1, 'webhook', NULL);
SELECT rmsync_connect(1, 'webhook', '{}', NULL);
SELECT rmsync_connect(1, 'webhook', '[1]');
SELECT rmsync_connect(1, 'webhook', '7');
SELECT rmsync_connect(1, 'webhook', 'null');
SELECT rmsync_connect(1, 'webhook', '{}');
SELECT rmsync_connect(1, 'webhook', test.config() - 'secret');
SELECT rmsync_connect(1, 'webhook', test.config('{"url": 7}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"url": "ftp://example.com/"}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"url": "http://user:pw@127.0.0.1/"}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"url": ""}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"secret": "hunter2"}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"secret": "whsec_c2hvcnQ="}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"secret": {"a": 1}}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"secrets": []}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"types": ["page_text", "hunter2"]}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"headers": {"X-Api-Key": "hunter2\n"}}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"headers": {"Host": "hunter2"}}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"mode": "hunter2"}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"rate_limit": 0}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"max_in_flight": 1e9}'));
SELECT rmsync_connect(1, 'webhook', test.config('{"hunter": 2}'));
SELECT count(*) FROM lane;

--
-- Connected: the answer shows no configuration, the row holds a token
--
SELECT rmsync_connect(1, 'webhook', test.config()) - '{id,created_at,updated_at}'::text[];
SELECT * FROM lane;
SELECT rmsync.decrypt(1, config_encrypted)::jsonb = test.config() AS ours, rmsync.decrypt(2, config_encrypted) AS of_another_user
FROM rmsync.integration_configs;
-- only the types it asks for
SELECT rmsync_connect(2, 'webhook', test.config('{"types": ["page_text", "todo"]}')) ->> 'state' AS state;
SELECT * FROM lane;

--
-- Given as a token, as an application that holds the master key may
--
SELECT rmsync.encrypt(3, test.config()::text) AS token \gset
SELECT rmsync_connect(3, 'webhook', to_jsonb(:'token'::text)) ->> 'state' AS state;
SELECT rmsync.decrypt(3, config_encrypted)::jsonb = test.config() AS ours FROM rmsync.integration_configs WHERE user_id = 3;
-- somebody else's, damaged, and one of something else
SELECT rmsync_connect(4, 'webhook', to_jsonb(:'token'::text));
SELECT rmsync_connect(3, 'webhook', to_jsonb(reverse(:'token'::text)));
SELECT rmsync_connect(3, 'webhook', '"hunter2"');
SELECT rmsync_connect(3, 'webhook', to_jsonb(rmsync.encrypt(3, 'hunter2')));
SELECT rmsync_connect(3, 'webhook', to_jsonb(rmsync.encrypt(3, '[]')));

--
-- Again: the row stays and is whole again; another address is another
-- destination, whose ledger starts anew, another secret is not
--
UPDATE rmsync.integration_configs SET state = 'auth', state_reason = 'refused', is_enabled = false, fail_streak = 3,
	blocked_until = now() + interval '1 hour', reconcile_wanted = false, reconcile_after = NULL, remote = '{"learned": 1}'
WHERE user_id = 1;
SELECT rmsync_connect(1, 'webhook', test.config('{"secret": "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="}')) ->> 'state' AS state;
SELECT * FROM lane WHERE user_id = 1;
SELECT state_reason, fail_streak, blocked_until, remote FROM rmsync.integration_configs WHERE user_id = 1;
SELECT rmsync_connect(1, 'webhook', test.config('{"url": "http://127.0.0.1:1/other"}')) ->> 'state' AS state;
SELECT config_epoch, remote FROM rmsync.integration_configs WHERE user_id = 1;
-- one that no key opens any more is taken for the same destination
UPDATE rmsync.integration_configs SET config_encrypted = 'lost' WHERE user_id = 1;
SELECT rmsync_connect(1, 'webhook', test.config()) ->> 'state' AS state;
SELECT config_epoch FROM rmsync.integration_configs WHERE user_id = 1;

--
-- A second credential, for when the first is refused
--
SELECT rmsync_connect(5, 'webhook', test.config(), backup => true);
SELECT rmsync_connect(1, 'webhook', test.config('{"mode": "thin"}'), backup => true) ->> 'has_backup' AS has_backup;
SELECT rmsync.decrypt(1, backup_config_encrypted)::jsonb ->> 'mode' AS backup, rmsync.decrypt(1, config_encrypted)::jsonb ->> 'mode' AS active
FROM rmsync.integration_configs WHERE user_id = 1;
UPDATE rmsync.integration_configs SET state = 'auth', state_reason = 'refused' WHERE user_id = 1;
SELECT rmsync_connect(1, 'webhook', test.config(), backup => true) -> 'state' AS state;
SELECT state, state_reason FROM rmsync.integration_configs WHERE user_id = 1;
-- it must be one of the same destination: what it writes belongs to the ledger
SELECT rmsync_connect(1, 'webhook', test.config('{"url": "http://127.0.0.1:1/third"}'), backup => true);

--
-- Without a master key nothing is stored
--
SET rmsync.master_key_file = '';
SELECT rmsync_connect(6, 'webhook', test.config());
RESET rmsync.master_key_file;
SELECT count(*) FROM lane WHERE user_id = 6;

--
-- The caller's statement may hold a secret in plain text: nobody sees it
-- while the call runs
--
CREATE FUNCTION test.watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'pg_stat_activity: %', (SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid());
	RETURN NULL;
END
$$;
CREATE TRIGGER watch AFTER INSERT ON rmsync.integration_configs EXECUTE FUNCTION test.watch();
SELECT rmsync_connect(7, 'webhook', '{"url": "http://127.0.0.1:1/", "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}') ->> 'state' AS state;
DROP TRIGGER watch ON rmsync.integration_configs;
-- nor does the server log, if the statement fails: see t/
SELECT count(*) FROM rmsync.integration_configs c WHERE c::text LIKE '%whsec_%';
\i :end
