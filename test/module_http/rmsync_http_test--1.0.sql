\echo Use "CREATE EXTENSION rmsync_http_test" to load this file. \quit

-- Sends every request of the array, at most in_flight at a time, and returns
-- one row per request in the order of completion.  Members of a request:
-- method, url, headers (object), body, repeat_body (copies of the body in one
-- request), fresh, repeatable, timeout_ms, connect_timeout_ms, max_response.
CREATE FUNCTION http_many(requests jsonb, in_flight integer DEFAULT 64,
	OUT n integer, OUT error text, OUT message text, OUT status integer,
	OUT body bytea, OUT retry_after_ms integer, OUT etag text,
	OUT location text, OUT content_type text, OUT request_id text,
	OUT elapsed_ms float8, OUT nth integer)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE;

-- Sends one POST many times and says what it cost.
CREATE FUNCTION http_bench(url text, body text, requests integer,
	in_flight integer DEFAULT 64, repeatable boolean DEFAULT true,
	OUT ok integer, OUT failed integer, OUT seconds float8,
	OUT cpu_us_per_request float8, OUT connections bigint,
	OUT p50_ms float8, OUT p99_ms float8)
	AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE;

-- Totals of this session's transport.
CREATE FUNCTION http_totals(OUT requests bigint, OUT connections bigint,
	OUT bytes_sent bigint, OUT bytes_received bigint, OUT active integer)
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;

-- Starts a request and forgets it: abandon, then destroy.  Returns how many
-- milliseconds the two took.
CREATE FUNCTION http_abandon(url text) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE;

-- Closes this session's transport; the next request makes another one.
CREATE FUNCTION http_close() RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;

-- 'public', 'allowed' or 'denied'; raises if the list is malformed.
CREATE FUNCTION netguard_class(address text, allowed text DEFAULT '')
	RETURNS text AS 'MODULE_PATHNAME' LANGUAGE C STRICT IMMUTABLE;

CREATE FUNCTION http_build_info() RETURNS text
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE;
