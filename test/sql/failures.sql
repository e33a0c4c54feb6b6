--
-- What a failure costs: trouble of the connection costs no item an attempt,
-- trouble of one item costs no other item anything.  Nothing listens on port
-- 1; what is too large is refused before it is sent.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set begin :abs_srcdir '/host/begin.sql'
\i :begin
SELECT test.add_user(1);
SELECT test.add_notebook(1, 'nb', 'Diary') AS nb \gset
SELECT test.add_page(:nb, 1, 'one') AS p1, test.add_page(:nb, 2, 'two') AS p2 \gset
SELECT jsonb_build_object('url', 'http://127.0.0.1:1/hook', 'secret', :'secret', 'max_in_flight', 1) AS config \gset
SELECT rmsync_connect(1, 'webhook', :'config') -> 'state' AS state;
CREATE TEMP VIEW lane AS SELECT state, fail_streak, blocked_until > now() AS blocked FROM rmsync.integration_configs;
CREATE TEMP VIEW log AS SELECT status, item_type, error_code, attempt, requests FROM rmsync.sync_log ORDER BY at;
-- the connection may be tried again now, as after its back-off
CREATE PROCEDURE test.unblock() LANGUAGE sql AS $$ UPDATE rmsync.integration_configs SET blocked_until = NULL $$;
-- long enough to be seen
SET rmsync.backoff_scale = 10;

--
-- A closed port: one try, then the lane waits; no item pays for it
--
CALL rmsync_run();
SELECT * FROM lane;
SELECT * FROM test.open();
SELECT * FROM log;
SELECT message LIKE '%onnect%' AS says_what, message LIKE '%whsec%' AS says_secret FROM rmsync.sync_log;
-- while it waits, nothing is tried, nor lost
UPDATE pages SET ocr_text = 'edited while it waits' WHERE id = :p1;
CALL rmsync_run();
SELECT count(*) FROM test.open();
-- every further try makes it wait twice as long, up to five minutes, give or
-- take a fifth (here ten times that)
CREATE PROCEDURE test.waits(streak int, OUT at_least boolean, OUT at_most boolean) LANGUAGE plpgsql AS $$
DECLARE
	waits interval;
	planned interval := 10 * least(2 ^ least(streak, 10), 300) * interval '1 second';
BEGIN
	SELECT blocked_until - statement_timestamp() INTO waits FROM rmsync.integration_configs;
	at_least := waits > 0.7 * planned;
	at_most := waits < 1.3 * planned;
END
$$;
CALL test.waits(0, NULL, NULL);
CALL test.unblock();
CALL rmsync_run();
CALL test.waits(1, NULL, NULL);
UPDATE rmsync.integration_configs SET blocked_until = NULL, fail_streak = 5;
CALL rmsync_run();
CALL test.waits(5, NULL, NULL);
UPDATE rmsync.integration_configs SET blocked_until = NULL, fail_streak = 1000;
CALL rmsync_run();
CALL test.waits(1000, NULL, NULL);
SELECT * FROM lane;
SELECT item_type, attempt, status, error_code FROM rmsync.sync_queue ORDER BY seq;
SELECT count(*) FROM rmsync.notifications;
SELECT count(*) FROM rmsync.sync_records;
-- several at once meet the same outage: it counts once
SELECT rmsync_connect(1, 'webhook', :'config'::jsonb || '{"max_in_flight": 3}') -> 'state' AS state;
CALL rmsync_run();
SELECT * FROM lane;
-- told to try now
SELECT rmsync_enable(1, 'webhook') -> 'state' AS state;
SELECT * FROM lane;
-- another user's connection has its own fate
SELECT test.add_user(2);
SELECT rmsync_connect(2, 'webhook', :'config') -> 'state' AS state;
SELECT test.add_notebook(2, 'nb2', 'Other') IS NOT NULL;
CALL rmsync_run(NULL, NULL) \gset
SELECT user_id, fail_streak FROM rmsync.integration_configs ORDER BY 1;
SELECT rmsync_disconnect(2, 'webhook') IS NOT NULL;

--
-- The transport refuses the address: the connection is held, and says so
--
SET rmsync.allowed_networks = '';
CALL test.unblock();
CALL rmsync_run();
RESET rmsync.allowed_networks;
SELECT state, state_reason FROM rmsync.integration_configs;
SELECT kind, message FROM rmsync.notifications ORDER BY id;
SELECT item_type, attempt, status FROM test.open();
-- not tried again, until somebody does something about it
CALL rmsync_run();

--
-- No key opens the configuration: likewise
--
SELECT rmsync_connect(1, 'webhook', :'config') -> 'state' AS state;
UPDATE rmsync.integration_configs SET config_encrypted = 'damaged';
CALL rmsync_run();
SELECT state, state_reason FROM rmsync.integration_configs;
SELECT kind FROM rmsync.notifications ORDER BY id;

--
-- An item that its target cannot take fails alone, after its attempts, and
-- the others go on
--
DELETE FROM rmsync.notifications;
SELECT rmsync_connect(1, 'webhook', :'config') -> 'state' AS state;
DELETE FROM rmsync.sync_queue;
UPDATE rmsync.integration_configs SET reconcile_wanted = false, reconcile_after = NULL;
DELETE FROM rmsync.sync_intake;
TRUNCATE rmsync.sync_log;
SET rmsync.backoff_scale = 0;
UPDATE pages SET ocr_text = repeat('0123456789', 1024 * 1024) WHERE id = :p1;
CALL rmsync_run();
SELECT item_type, status, attempt FROM test.open();
SELECT error_code, error_message FROM rmsync.sync_queue;
SELECT * FROM log;
SELECT kind, message, item_type, item_id = test.page_uuid(:nb, 1) AS this_page FROM rmsync.notifications;
SELECT page_number, status, error_message, retry_count FROM rmsync_page_status('nb');
SELECT * FROM lane;
-- not tried again by itself; retried by hand, it fails again and says so
CALL rmsync_run();
SELECT rmsync_retry(id) FROM rmsync.sync_queue;
CALL rmsync_run();
SELECT status, attempt FROM test.open();
SELECT count(*) FROM rmsync.notifications;
-- with a back-off that waits, one attempt at a time
SET rmsync.backoff_scale = 10;
SELECT rmsync_retry(id) FROM rmsync.sync_queue;
CALL rmsync_run();
SELECT status, attempt, run_at > now() + interval '2 minutes' AS waits FROM rmsync.sync_queue;
CALL rmsync_run();
-- a shorter text makes it whole: the next failure is the connection's
UPDATE pages SET ocr_text = 'short' WHERE id = :p1;
CALL rmsync_run();
SELECT status, attempt FROM test.open();
SELECT * FROM lane;
DELETE FROM rmsync.sync_queue;

--
-- Strange texts are carried like any other: they reach the request
--
CREATE TEMP TABLE strange (name text, text text);
INSERT INTO strange VALUES
	('blank', E' \t\n'),
	('control characters', E'a\x01\x02\x1f\x7f b'),
	('a list 200 levels deep', (SELECT string_agg(repeat('  ', g) || '- level ' || g, E'\n' ORDER BY g) FROM generate_series(0, 199) g)),
	('10000 brackets', repeat('[', 10000) || repeat('*', 10000)),
	('outside the basic plane', U&'\+01F600\+01F469\200D\+01F4BB\0301'),
	('noncharacters', U&'\FFFE\FFFF\FEFF'),
	('quotes', '"\''"\"\\ ${x} %s {{y}}'),
	('one long word', repeat('x', 1000000));
CREATE FUNCTION test.sent(text text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	ok boolean;
BEGIN
	UPDATE pages SET ocr_text = sent.text WHERE id = 2;
	SELECT p.body #>> '{data,text}' = sent.text INTO ok FROM rmsync_preview('webhook', 1) p
	WHERE p.body ->> 'type' LIKE 'rmsync.page_text.%' AND p.body #>> '{data,item_id}' LIKE '%2';
	RETURN ok;
END
$$;
SELECT name, test.sent(text) AS same FROM strange ORDER BY name;
\i :end
