--
-- Pure modules: token bucket, verdicts and delays, JSON.  Times are given, so
-- nothing waits.  Needs the library of test/module.
--
SET client_encoding = 'UTF8';
CREATE FUNCTION bucket(rate float8, burst float8, is_full bool, script text[]) RETURNS text[] LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_bucket';
CREATE FUNCTION greedy(rate float8, burst float8, until_us bigint, window_us bigint) RETURNS bigint[] LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_bucket_greedy';
CREATE FUNCTION classify(error text, status int, retry_after_ms int, repeatable bool) RETURNS text LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_classify';
CREATE FUNCTION backoff(attempt int, random01 float8) RETURNS int LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_backoff';
CREATE FUNCTION breaker(streak int, random01 float8) RETURNS int LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_breaker';
CREATE FUNCTION json_parse(raw bytea) RETURNS text LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_json_parse';
CREATE FUNCTION json_get(raw bytea) RETURNS text LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_json_get';
CREATE FUNCTION json_write(value text) RETURNS text LANGUAGE c AS '$libdir/rmsync_test', 'rmsync_test_json_write';

--
-- Token bucket
--
-- Two tokens at once, then one every half second; never more than the burst.
SELECT bucket(2, 2, true, '{take 0, take 0, take 0, wait 0, wait 200000, take 499998, take 500000, take 500001, wait 3600000000, take 3600000000, take 3600000000, take 3600000000}');
-- Empty after a restart.
SELECT bucket(2, 2, false, '{take 0, wait 0, take 500000}');
-- Unlimited, and a burst too small to let anything pass.
SELECT bucket(0, 1, false, '{take 0, take 0, wait 0, block 10, take 9, wait 9, take 10}') AS unlimited,
	bucket(10, 0, true, '{take 0, take 0, take 100000}') AS no_burst,
	bucket(-1, 1, true, '{take 0, take 0}') AS negative;
-- Closed by the service: the longest closing counts, tokens come back meanwhile.
SELECT bucket(1, 3, true, '{take 0, block 5000000, block 1000000, wait 0, take 4999999, wait 4999999, take 5000000, take 5000000, take 5000000, take 5000000, wait 5000000}');
-- Time that goes back gives nothing, and does not count twice.
SELECT bucket(1, 1, true, '{take 10000000, take 9000000, take 0, wait 0, wait 10000000, take 10500000, take 11000000}');
-- Reserved in turn, whether a token is there or to come; one that is given back
-- is there for the next.
SELECT bucket(2, 2, true, '{reserve 0, reserve 0, reserve 0, reserve 0, wait 0, take 500000, return, reserve 0, reserve 2000000, return, return, return, take 9000000, take 9000000, take 9000000}');
-- No wait is longer than a day.
SELECT bucket(1e-12, 1, false, '{wait 0}') AS slow, bucket(1, 1, true, '{block 9223372036854775807, wait 0}') AS closed;
-- Taking whatever can be had, a window never holds more than burst + rate *
-- window, and a promised wait is always enough.
SELECT name, greedy(rate, burst, 600000000, window_us) AS taken_most_broken,
	floor(burst + rate * window_us / 1000000) AS allowed,
	(greedy(rate, burst, 600000000, window_us))[2] <= floor(burst + rate * window_us / 1000000) AS kept
FROM (VALUES ('notion', 2.5::float8, 20::float8, 60000000),
	('readwise', 4, 10, 60000000),
	('thirds', 1.0 / 3, 1, 60000000),
	('sevenths', 7.0 / 9, 3, 10000000),
	('fast', 333.3, 5, 1000000)) AS v (name, rate, burst, window_us);

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
