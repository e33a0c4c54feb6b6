/*-------------------------------------------------------------------------
 *
 * rmsync_test.c
 *	  SQL functions that call rmsync's pure modules, for test/sql/pure.sql.
 *
 * Time, chance and input are arguments, so that expected results are exact
 * and nothing waits.  Must never be installed on a production server.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "json.h"
#include "ratelimit.h"
#include "retry.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(rmsync_test_bucket);
PG_FUNCTION_INFO_V1(rmsync_test_bucket_greedy);
PG_FUNCTION_INFO_V1(rmsync_test_classify);
PG_FUNCTION_INFO_V1(rmsync_test_backoff);
PG_FUNCTION_INFO_V1(rmsync_test_breaker);
PG_FUNCTION_INFO_V1(rmsync_test_json_parse);
PG_FUNCTION_INFO_V1(rmsync_test_json_get);
PG_FUNCTION_INFO_V1(rmsync_test_json_write);

/* A token that must be there now. */
static bool
take(RmsyncBucket *bucket, int64 now_us)
{
	if (rmsync_bucket_wait(bucket, now_us) > 0)
		return false;
	return rmsync_bucket_reserve(bucket, now_us) == 0;
}

/*
 * rmsync_test_bucket(rate float8, burst float8, is_full bool, script text[])
 *		returns text[]
 *
 * Runs "take TIME", "reserve TIME", "return", "wait TIME" and "block TIME"
 * (microseconds) on a bucket made at time 0 and returns what each gave.
 */
Datum
rmsync_test_bucket(PG_FUNCTION_ARGS)
{
	RmsyncBucket bucket;
	Datum *steps;
	int nsteps;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false,
					  TYPALIGN_INT, &steps, NULL, &nsteps);
	rmsync_bucket_init(&bucket, PG_GETARG_FLOAT8(0), PG_GETARG_FLOAT8(1),
					   PG_GETARG_BOOL(2), 0);
	for (int i = 0; i < nsteps; i++)
	{
		char *step = TextDatumGetCString(steps[i]);
		char *space = strchr(step, ' ');
		int64 at = space ? strtoll(space, NULL, 10) : 0;
		const char *result = "";

		if (strncmp(step, "take", 4) == 0)
			result = take(&bucket, at) ? "yes" : "no";
		else if (strncmp(step, "reserve", 7) == 0)
			result = psprintf(INT64_FORMAT, rmsync_bucket_reserve(&bucket, at));
		else if (strcmp(step, "return") == 0)
			rmsync_bucket_return(&bucket);
		else if (strncmp(step, "wait", 4) == 0)
			result = psprintf(INT64_FORMAT, rmsync_bucket_wait(&bucket, at));
		else if (strncmp(step, "block", 5) == 0)
			rmsync_bucket_block(&bucket, at);
		else
			elog(ERROR, "unrecognized step: \"%s\"", step);
		steps[i] = CStringGetTextDatum(result);
	}
	PG_RETURN_ARRAYTYPE_P(
		construct_array(steps, nsteps, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * rmsync_test_bucket_greedy(rate float8, burst float8, until_us bigint,
 *							 window_us bigint) returns bigint[]
 *
 * Takes whenever the bucket says it may, waiting exactly as long as it says.
 * Returns the number of tokens taken, the most in any window of that length,
 * and how often a take failed after the promised wait.
 */
Datum
rmsync_test_bucket_greedy(PG_FUNCTION_ARGS)
{
	int64 until_us = PG_GETARG_INT64(2);
	int64 window_us = PG_GETARG_INT64(3);
	RmsyncBucket bucket;
	int64 *taken = palloc(1000000 * sizeof(int64));
	int ntaken = 0;
	int first = 0;
	int most = 0;
	int broken = 0;
	Datum result[3];

	rmsync_bucket_init(&bucket, PG_GETARG_FLOAT8(0), PG_GETARG_FLOAT8(1), true,
					   0);
	for (int64 now = 0; now < until_us && ntaken < 1000000;)
	{
		int64 wait = rmsync_bucket_wait(&bucket, now);

		now += wait;
		if (!take(&bucket, now))
		{
			broken++;
			now++;
			continue;
		}
		taken[ntaken++] = now;
		while (taken[first] <= now - window_us)
			first++;
		most = Max(most, ntaken - first);
	}
	result[0] = Int64GetDatum(ntaken);
	result[1] = Int64GetDatum(most);
	result[2] = Int64GetDatum(broken);
	PG_RETURN_ARRAYTYPE_P(construct_array(result, 3, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * rmsync_test_classify(error text, status int, retry_after_ms int,
 *						repeatable bool) returns text
 */
Datum
rmsync_test_classify(PG_FUNCTION_ARGS)
{
	static const char *const errors[] = { "ok",		  "refused", "not_sent",
										  "broken",	  "timeout", "too_large",
										  "cancelled" };
	static const char *const verdicts[] = { "ok",	"item",	   "conflict",
											"gone", "auth",	   "forbidden",
											"rate", "network", "unknown" };
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	RmsyncHttpResponse response = { 0 };
	RmsyncVerdict verdict;
	int error = 0;

	while (error < lengthof(errors) && strcmp(errors[error], name) != 0)
		error++;
	if (error == lengthof(errors))
		elog(ERROR, "unrecognized error: \"%s\"", name);
	response.error = (RmsyncHttpError) error;
	response.status = PG_GETARG_INT32(1);
	response.retry_after_ms = PG_GETARG_INT32(2);
	response.body = "";

	verdict = rmsync_classify(&response, PG_GETARG_BOOL(3));
	PG_RETURN_TEXT_P(cstring_to_text(verdicts[verdict]));
}

/* rmsync_test_backoff(attempt int, random01 float8) returns int */
Datum
rmsync_test_backoff(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(rmsync_backoff_ms(PG_GETARG_INT32(0), PG_GETARG_FLOAT8(1)));
}

/* rmsync_test_breaker(streak int, random01 float8) returns int */
Datum
rmsync_test_breaker(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(rmsync_breaker_ms(PG_GETARG_INT32(0), PG_GETARG_FLOAT8(1)));
}

/* Parses a bytea argument that need not be text. */
static Jsonb *
parse_arg(FunctionCallInfo fcinfo, int n)
{
	bytea *raw = PG_GETARG_BYTEA_PP(n);

	return rmsync_json_parse(VARDATA_ANY(raw), VARSIZE_ANY_EXHDR(raw));
}

/*
 * rmsync_test_json_parse(raw bytea) returns text, NULL if it does not parse
 */
Datum
rmsync_test_json_parse(PG_FUNCTION_ARGS)
{
	Jsonb *json = parse_arg(fcinfo, 0);

	if (json == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(rmsync_json_text(json)));
}

static const char *
or_null(const char *text)
{
	return text ? text : "NULL";
}

/*
 * rmsync_test_json_get(raw bytea) returns text
 *
 * What every getter says about the key "k" (and "k" in "o") of a value.
 */
Datum
rmsync_test_json_get(PG_FUNCTION_ARGS)
{
	Jsonb *json = parse_arg(fcinfo, 0);
	Jsonb *value = rmsync_json_get(json, "k", NULL);

	PG_RETURN_TEXT_P(cstring_to_text(
		psprintf("get %s string %s nested %s bool %d number %g length %d first %s",
				 or_null(rmsync_json_text(value)),
				 or_null(rmsync_json_get_string(json, "k", NULL)),
				 or_null(rmsync_json_get_string(json, "o", "k", NULL)),
				 rmsync_json_get_bool(json, "k", false),
				 rmsync_json_get_number(json, "k", -1),
				 rmsync_json_array_length(value),
				 or_null(rmsync_json_text(rmsync_json_element(value, 0))))));
}

/* rmsync_test_json_write(value text) returns text: one of everything */
Datum
rmsync_test_json_write(PG_FUNCTION_ARGS)
{
	char *value = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "string", value);
	rmsync_json_field_int(&buf, "int", PG_INT64_MIN);
	rmsync_json_field_bool(&buf, "bool", true);
	rmsync_json_field_raw(&buf, "raw", "[{\"a\": 1}]");
	rmsync_json_field_raw(&buf, "none", NULL);
	rmsync_json_key(&buf, "object");
	appendStringInfoChar(&buf, '{');
	rmsync_json_key(&buf, "in\"side");
	rmsync_json_stringn(&buf, "cut here", 3);
	appendStringInfoString(&buf, "}}");
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len));
}
