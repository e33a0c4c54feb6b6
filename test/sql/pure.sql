--
-- Pure modules: limits, verdicts and delays, JSON.  Times are given, so
-- nothing waits.  Needs the library of test/module.
--
SET client_encoding = 'UTF8';
CREATE FUNCTION sent_in(budget int, window_us bigint, script text[]) RETURNS text[] LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_window';
CREATE FUNCTION load(budget int, window_us bigint, clients int, until_us bigint, pause_us bigint, forget_us bigint, seed int) RETURNS bigint[] LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_load';
CREATE FUNCTION rate(per_second float8) RETURNS bigint[] LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_rate';
CREATE FUNCTION learn(lim int, higher int, spare int, script text[]) RETURNS text[] LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_learn';
CREATE FUNCTION classify(error text, status int, retry_after_ms int, repeatable bool) RETURNS text LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_classify';
CREATE FUNCTION backoff(attempt int, random01 float8) RETURNS int LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_backoff';
CREATE FUNCTION breaker(streak int, random01 float8) RETURNS int LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_breaker';
CREATE FUNCTION json_parse(raw bytea) RETURNS text LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_json_parse';
CREATE FUNCTION json_get(raw bytea) RETURNS text LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_json_get';
CREATE FUNCTION json_write(value text) RETURNS text LANGUAGE c AS '$libdir/rmsync_test', 'rmsync_test_json_write';

--
-- So many requests in any window
--
-- Four in 60 s: two at once, the others spread over the time until the first
-- ones leave the window; then as many as leave.
SELECT sent_in(4, 60000000, '{reserve 0, reserve 0, reserve 0, reserve 0, reserve 0, reserve 0}') AS at_once,
	sent_in(4, 60000000, '{reserve 0, reserve 10000000, reserve 60999999, reserve 61000000, room 61000000, used 1 61000000, used 60000000 61000000}') AS now_and_then;
-- What was forgotten counts as spent: half of it at that moment.
SELECT sent_in(4, 60000000, '{forget 0, room 0, reserve 0, reserve 0, room 61000000}') AS four, sent_in(1, 60000000, '{forget 0, reserve 0}') AS one,
	sent_in(174, 60000000, '{forget 0, reserve 0, reserve 0, reserve 0}') AS many;
-- A place that is given back is there for the next; so is its time, unless
-- somebody is behind it.
SELECT sent_in(2, 60000000, '{reserve 0, reserve 0, reserve 0, return 61000000, room 0, reserve 1000000, return 61000000, return 30500000, room 2000000, reserve 2000000}') AS back,
	sent_in(2, 60000000, '{return 0, return 999999999, room 0}') AS nothing;
-- Places are given for a window to come, no further.
SELECT sent_in(1, 60000000, '{reserve 0, reserve 0, reserve 0, reserve 56000000, reserve 56000000}') AS places;
-- Time that goes back gives nothing; a smaller budget holds at once.
SELECT sent_in(1, 60000000, '{reserve 100000000, reserve 0, room 0}') AS backwards,
	sent_in(4, 60000000, '{reserve 0, reserve 0, budget 2, reserve 10000000, budget 1, reserve 10000000, budget 4, reserve 10000000}') AS smaller;
SELECT per_second, rate(per_second) AS limit_window FROM unnest('{-1, 0, NaN, 0.000001, 0.25, 1, 2.5, 999.5, 1000000, Infinity}'::float8[]) AS per_second;
-- Ten minutes of clients that always have work.  Never more than the budget in
-- any window; who comes first is served at once; nothing stalls; in the end
-- the budget is used.
SELECT name, n[2] <= budget AS kept, n[1:3] AS sent_most_last, round(n[3] / budget::numeric, 2) AS used,
	round(n[4] / 1e6, 2) AS longest_gap, round(n[5] / 1e6, 3) AS tenth, round(n[6] / 1e6, 3) AS half
FROM (VALUES ('notion', 174, 60000000, 6), ('alone', 174, 60000000, 1), ('crowd', 174, 60000000, 300), ('business', 580, 60000000, 6), ('readwise', 19, 60000000, 3), ('small', 9, 60000000, 6), ('one', 1, 60000000, 6),
	('webhook', 5, 1000000, 5), ('slow webhook', 1, 4000000, 64)) AS v (name, budget, window_us, clients),
	LATERAL load(budget, window_us, clients, 10::bigint * 60000000, 0, 0, 1) AS n;
-- Random clients, busy and idle, and with crashes in between: the budget is
-- kept, and used.
SELECT crashes, count(*) AS runs, bool_and(n[2] <= budget) AS kept, max(n[2] - budget) AS at_most, min(n[1]) > 100 AS all_sent
FROM generate_series(1, 40) AS seed, unnest('{174, 580, 40}'::int[]) AS budget, unnest('{f, t}'::bool[]) AS crashes,
	LATERAL load(budget, 60000000, 1 + seed % 7, 3600000000, 3000000 * (seed % 5), CASE WHEN crashes THEN 100000000 ELSE 0 END, seed) AS n
GROUP BY crashes ORDER BY crashes;

--
-- What answers say about a limit
--
-- A refusal though the limit was kept: seven eighths of what was used, or less;
-- a twentieth comes back every minute.  Who had used little goes on.
SELECT learn(180, 0, 30, '{budget 0, refused 100 0, budget 0, budget 59, budget 60, budget 600, budget 1200, refused 174 1200, budget 1200, refused 20 1201, budget 1201, refused 130 1202, budget 1202}') AS reduced,
	learn(10, 0, 30, '{budget 0, refused 2 0, budget 0, refused 1 1, budget 1, refused 1 2, budget 2, budget 60, workspace 9 61, budget 61}') AS small;
-- Work waits, and the budget is used up: the higher limit is tried.  It is
-- proven when more was answered than two windows of the service can hold.
SELECT learn(180, 600, 30, '{wait 156 1, budget 1, wait 157 1, budget 1, answers 380 30, budget 30, answers 1 31, budget 31, budget 100000}') AS proven,
	learn(180, 600, 30, '{wait 174 1, answers 380 60, answers 100 61, budget 61, answers 80 62, answers 1 63, budget 700}') AS three_windows,
	learn(180, 600, 30, '{wait 174 1, answers 100 10, refused 180 20, budget 20, wait 174 21, budget 21, wait 174 86419, budget 86419, wait 174 86420, budget 86420}') AS refused,
	learn(180, 600, 30, '{wait 174 1, answers 100 10, workspace 300 20, budget 20}') AS workspace_refused,
	learn(180, 600, 30, '{wait 174 1, answers 100 10, budget 600, budget 601, answers 1000 602}') AS without_result;
-- The plan was changed, or others have come.
SELECT learn(180, 600, 30, '{wait 174 1, answers 381 10, refused 180 100, budget 100}') AS plan, learn(180, 600, 30, '{wait 174 1, answers 381 10, refused 400 100, budget 100, wait 350 101, budget 101}') AS others;
-- Who says what the plan allows says it for all who share it, as long as it is
-- there; while refusals make the budget smaller nothing is tried.
SELECT learn(180, 0, 30, '{wait 174 1, budget 1, answers 1000 1}') AS said, learn(180, 600, 30, '{said 600 10, budget 11, budget 70}') AS to_others,
	learn(180, 600, 30, '{refused 174 1, wait 174 2, budget 2}') AS reduced;

--
-- What a result means
--
SELECT status, classify('ok', status, -1, true) AS repeatable, classify('ok', status, -1, false) AS once,
	classify('ok', status, 1000, true) AS repeatable_after, classify('ok', status, 1000, false) AS once_after
FROM unnest('{0, 100, 200, 201, 204, 299, 301, 302, 304, 308, 400, 401, 402, 403, 404, 405, 408, 409, 410, 412, 413, 415, 422, 423, 425, 429, 451, 499, 500, 501, 502, 503, 504, 505, 507, 511, 520, 529, 599, 600}'::int[]) AS status;
SELECT error, status, classify(error, status, -1, true) AS repeatable, classify(error, status, -1, false) AS once
FROM unnest('{refused, not_sent, broken, timeout, too_large, cancelled}'::text[]) AS error, unnest('{0, 200, 404, 429, 503}'::int[]) AS status
WHERE status = 0 OR error NOT IN ('refused', 'not_sent');

--
-- How long to wait
--
SELECT attempt, backoff(attempt, 0) AS least, backoff(attempt, 0.5) AS middle, backoff(attempt, 1 - 1e-9) AS most,
	breaker(attempt, 0.5) AS breaker
FROM unnest('{-2147483647, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 31, 32, 63, 64, 2147483647}'::int[]) AS attempt;

--
-- JSON from outside
--
SELECT text, left(json_parse(convert_to(text, 'UTF8')), 40) AS parsed
FROM unnest(ARRAY['{"a":[1,2.50,true,null,"x"]}', '"x"', ' 3 ', 'null', '[]', '{"b":1,"a":2,"b":3}', '"\u00fc\ud83d\ude00"', '1e400', '"e999"', '"\\"', '"[[[\"[[["',
	'', ' ', '{', '[1,]', '{"a"}', '{''a'':1}', 'nul', '"', '"\', '"\"', '1e401', '1E+131071', '1e-9999999999999999999999', '1 2', '"\u0000"', '"\ud83d"', '"\ude00"', '[NaN]', E'"a\nb"']) AS text;
SELECT raw, json_parse(raw)
FROM unnest(ARRAY['\x22ff22', '\x22c022', '\x22c3', '\x22eda08022', '\x22f490808022', '\x31003200', '\x00', '\x5b', '\xefbbbf31']::bytea[]) AS raw;
SELECT depth, json_parse(convert_to(repeat('[', depth) || repeat(']', depth), 'UTF8')) IS NOT NULL AS arrays,
	json_parse(convert_to(repeat('{"a":', depth) || '1' || repeat('}', depth), 'UTF8')) IS NOT NULL AS objects
FROM unnest('{1, 63, 64, 65, 1000000}'::int[]) AS depth;
SELECT json_parse(convert_to(repeat('[', 10000000), 'UTF8')) IS NULL AS unclosed;

-- A web service can answer anything: cut or change a document anywhere, and
-- the reader says no or yes, but never raises.
WITH doc AS (SELECT '{"object":"list","results":[{"id":"a\u00fc\\","n":-1.5e3,"t":true,"x":null}],"more":false,"ü":"ß"}'::text AS t)
SELECT count(*) AS tried, count(json_parse(m)) > 0 AS some_parse, count(json_parse(m)) < count(*) AS some_do_not
FROM doc, convert_to(t, 'UTF8') AS raw, generate_series(0, length(raw) - 1) AS i,
	LATERAL (SELECT substr(raw, 1, i) UNION ALL SELECT set_byte(raw, i, b) FROM generate_series(0, 255, 5) AS b) AS v (m);

SELECT text, json_get(convert_to(text, 'UTF8'))
FROM unnest(ARRAY['{"k":"v"}', '{"k":""}', '{"k":true}', '{"k":4.5}', '{"k":null}', '{"k":[7,8]}', '{"k":[]}', '{"k":{"k":1}}', '{"o":{"k":"deep"}}', '{"o":"k"}',
	'{}', '[]', '["k"]', '"k"', '1', 'no json']) AS text;

-- JSON we write is JSON.
SELECT json_write(value), json_write(value)::jsonb ->> 'string' IS NOT DISTINCT FROM value AS round_trip
FROM unnest(ARRAY['plain', '', NULL, E'quote " back \\ slash / tab \t line \n return \r bell \b feed \f del \x7f one \x01', 'Größe 😀']) AS value;
SELECT count(*) AS characters, count(*) FILTER (WHERE json_write(chr(c))::jsonb ->> 'string' = chr(c)) AS round_trip
FROM generate_series(1, 1114111, 13) AS c WHERE c NOT BETWEEN 55296 AND 57343;
