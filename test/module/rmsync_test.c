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
#include "common/pg_prng.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "json.h"
#include "ratelearn.h"
#include "retry.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(rmsync_test_learn);
PG_FUNCTION_INFO_V1(rmsync_test_load);
PG_FUNCTION_INFO_V1(rmsync_test_rate);
PG_FUNCTION_INFO_V1(rmsync_test_window);
PG_FUNCTION_INFO_V1(rmsync_test_classify);
PG_FUNCTION_INFO_V1(rmsync_test_backoff);
PG_FUNCTION_INFO_V1(rmsync_test_breaker);
PG_FUNCTION_INFO_V1(rmsync_test_json_parse);
PG_FUNCTION_INFO_V1(rmsync_test_json_get);
PG_FUNCTION_INFO_V1(rmsync_test_json_write);

/* "WORD NUMBER ..." */
static int64
number_of(const char *step, int n)
{
	while (n-- > 0 && step != NULL)
	{
		step = strchr(step, ' ');
		if (step != NULL)
			step++;
	}
	return step == NULL ? 0 : strtoll(step, NULL, 10);
}

static bool
is_step(const char *step, const char *word)
{
	return strncmp(step, word, strlen(word)) == 0;
}

/* A window from which nothing was taken yet. */
static void
unused(RmsyncWindow *window, int64 window_us, int budget)
{
	memset(window, 0, sizeof(*window));
	rmsync_window_init(window, window_us, budget, -3 * window_us);
}

/*
 * rmsync_test_window(budget int, window_us bigint, script text[])
 *		returns text[]
 *
 * Runs "reserve TIME", "return TIME", "room TIME", "used SINCE TIME", "budget
 * N" and "forget TIME" on an unused window and returns what each gave:
 * the time of a place, or when to ask again.
 */
Datum
rmsync_test_window(PG_FUNCTION_ARGS)
{
	int budget = PG_GETARG_INT32(0);
	int64 window_us = PG_GETARG_INT64(1);
	RmsyncWindow window;
	Datum *steps;
	int nsteps;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false,
					  TYPALIGN_INT, &steps, NULL, &nsteps);
	unused(&window, window_us, budget);
	for (int i = 0; i < nsteps; i++)
	{
		char *step = TextDatumGetCString(steps[i]);
		int64 at = number_of(step, 1);
		const char *result = "";

		if (is_step(step, "reserve"))
		{
			bool given;
			int64 wait = rmsync_window_reserve(&window, budget, at, &given);

			result = psprintf("%s" INT64_FORMAT, given ? "" : "ask ", at + wait);
		}
		else if (is_step(step, "return"))
			rmsync_window_return(&window, at);
		else if (is_step(step, "room"))
			result = psprintf("%d", rmsync_window_room(&window, budget, at));
		else if (is_step(step, "used"))
			result = psprintf("%d", rmsync_window_used(&window, at,
													   number_of(step, 2)));
		else if (is_step(step, "budget"))
			budget = (int) at;
		else if (is_step(step, "forget"))
			rmsync_window_init(&window, window_us, budget, at);
		else
			elog(ERROR, "unrecognized step: \"%s\"", step);
		steps[i] = CStringGetTextDatum(result);
	}
	PG_RETURN_ARRAYTYPE_P(
		construct_array(steps, nsteps, TEXTOID, -1, false, TYPALIGN_INT));
}

#define MAX_SENT 1000000
#define MAX_CLIENTS 300

/* Requests of a simulation, in order. */
typedef struct Sent
{
	int64 *at;
	int n;
	int first;	   /* of the window that ends with the last */
	int most;	   /* in any window */
	int64 longest; /* time between two */
} Sent;

static void
count_sent(Sent *sent, int64 at, int64 window_us)
{
	if (sent->n >= MAX_SENT)
		elog(ERROR, "too many requests");
	if (sent->n > 0)
		sent->longest = Max(sent->longest, at - sent->at[sent->n - 1]);
	sent->at[sent->n++] = at;
	while (sent->at[sent->first] <= at - window_us)
		sent->first++;
	sent->most = Max(sent->most, sent->n - sent->first);
}

typedef struct Client
{
	int64 at; /* of its place, or when it asks */
	bool given;
} Client;

static Client *
next_client(Client *clients, int n)
{
	Client *next = clients;

	for (int i = 1; i < n; i++)
	{
		if (clients[i].at < next->at)
			next = &clients[i];
	}
	return next;
}

/*
 * rmsync_test_load(budget int, window_us bigint, clients int, until_us bigint,
 *					pause_us bigint, forget_us bigint, seed int)
 *		returns bigint[]
 *
 * So many clients send whenever they may, and pause after each request for a
 * random time up to pause_us, which itself changes, so that there are idle and
 * busy times.  With forget_us everything is forgotten after random times up to
 * that, and places that were given are given up.  Returns the requests sent,
 * the most in any window, those in the last one, the longest time between
 * two, and the times of the tenth one and of the budget's half.
 */
Datum
rmsync_test_load(PG_FUNCTION_ARGS)
{
	int budget = PG_GETARG_INT32(0);
	int64 window_us = PG_GETARG_INT64(1);
	int nclients = PG_GETARG_INT32(2);
	int64 pause_us = PG_GETARG_INT64(4);
	int64 forget_us = PG_GETARG_INT64(5);
	int64 forget_at = PG_INT64_MAX;
	Client *clients = palloc0(sizeof(Client) * Max(nclients, 1));
	Sent sent = { palloc(sizeof(int64) * MAX_SENT) };
	RmsyncWindow window;
	pg_prng_state random;
	Datum result[6];

	pg_prng_seed(&random, PG_GETARG_INT32(6));
	unused(&window, window_us, budget);
	if (forget_us > 0)
		forget_at = (int64) (pg_prng_double(&random) * forget_us);
	for (;;)
	{
		Client *client = next_client(clients, nclients);
		int64 now = Min(client->at, forget_at);

		if (now >= PG_GETARG_INT64(3))
			break;
		if (now == forget_at)
		{
			rmsync_window_init(&window, window_us, budget, now);
			for (int i = 0; i < nclients; i++)
			{
				clients[i].at = Max(clients[i].given ? now : clients[i].at, now);
				clients[i].given = false;
			}
			forget_at += 1 + (int64) (pg_prng_double(&random) * forget_us);
			continue;
		}
		if (!client->given)
		{
			client->at +=
				rmsync_window_reserve(&window, budget, now, &client->given);
			continue;
		}
		count_sent(&sent, now, window_us);
		client->given = false;
		/* one window of four is busy */
		client->at += (int64) (pg_prng_double(&random) * pause_us /
							   ((now / window_us) % 4 == 1 ? 100 : 1));
	}
	result[0] = Int64GetDatum(sent.n);
	result[1] = Int64GetDatum(sent.most);
	result[2] = Int64GetDatum(sent.n - sent.first);
	result[3] = Int64GetDatum(sent.longest);
	result[4] = Int64GetDatum(sent.n >= 10 ? sent.at[9] : -1);
	result[5] = Int64GetDatum(
		sent.n >= budget / 2 ? sent.at[Max(budget / 2, 1) - 1] : -1);
	PG_RETURN_ARRAYTYPE_P(construct_array(result, 6, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * rmsync_test_rate(rate float8) returns bigint[]
 *
 * Limit and window of so many requests a second.
 */
Datum
rmsync_test_rate(PG_FUNCTION_ARGS)
{
	RmsyncRate rate = rmsync_rate_per_second(PG_GETARG_FLOAT8(0));
	Datum result[2];

	result[0] = Int64GetDatum(rate.limit);
	result[1] = Int64GetDatum(rate.window_us);
	PG_RETURN_ARRAYTYPE_P(construct_array(result, 2, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * rmsync_test_learn(lim int, higher int, spare int, script text[])
 *		returns text[]
 *
 * Runs "budget SECOND", "wait USED SECOND", "answers N SECOND", "refused USED
 * SECOND", "workspace USED SECOND" and "said LIMIT SECOND" (a lane with another
 * configuration asks) on what is learned of windows of a minute; returns
 * budgets, and for answers and refusals whether they said something new.
 */
Datum
rmsync_test_learn(PG_FUNCTION_ARGS)
{
	RmsyncRate rate = { PG_GETARG_INT32(0), PG_GETARG_INT32(1),
						PG_GETARG_INT32(2), 60000000 };
	RmsyncLearned learned = { 0 };
	Datum *steps;
	int nsteps;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false,
					  TYPALIGN_INT, &steps, NULL, &nsteps);
	for (int i = 0; i < nsteps; i++)
	{
		char *step = TextDatumGetCString(steps[i]);
		int n = (int) number_of(step, 1);
		int64 at = number_of(step, 2) * 1000000;
		const char *result = "";
		bool news = false;

		if (is_step(step, "budget"))
			result =
				psprintf("%d", rmsync_learned_budget(&learned, &rate,
													 n * INT64CONST(1000000)));
		else if (is_step(step, "wait"))
			rmsync_learned_wait(&learned, &rate, n, at);
		else if (is_step(step, "said"))
		{
			RmsyncRate other = { n, 0, rate.spare, rate.window_us };

			result = psprintf("%d", rmsync_learned_budget(&learned, &other, at));
		}
		else
		{
			if (is_step(step, "answers"))
			{
				while (n-- > 0)
					news = rmsync_learned_answer(&learned, &rate, at) || news;
			}
			else if (is_step(step, "refused"))
				news = rmsync_learned_refusal(&learned, &rate, true, n, at);
			else if (is_step(step, "workspace"))
				news = rmsync_learned_refusal(&learned, &rate, false, n, at);
			else
				elog(ERROR, "unrecognized step: \"%s\"", step);
			result = news ? "news" : "no";
		}
		steps[i] = CStringGetTextDatum(result);
	}
	PG_RETURN_ARRAYTYPE_P(
		construct_array(steps, nsteps, TEXTOID, -1, false, TYPALIGN_INT));
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
