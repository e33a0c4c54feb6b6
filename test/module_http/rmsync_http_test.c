/*-------------------------------------------------------------------------
 *
 * rmsync_http_test.c
 *	  SQL functions around the HTTP transport.
 *
 * Called by test/t/010_http.pl.  Plays the part of the engine: a wait event
 * set with the latch and the transport's descriptor, and settings of its own
 * under http_test.*.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>
#include <sys/resource.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "guc.h"
#include "http.h"
#include "netguard.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(http_many);
PG_FUNCTION_INFO_V1(http_bench);
PG_FUNCTION_INFO_V1(http_totals);
PG_FUNCTION_INFO_V1(http_abandon);
PG_FUNCTION_INFO_V1(http_close);
PG_FUNCTION_INFO_V1(netguard_class);
PG_FUNCTION_INFO_V1(http_build_info);

/* The settings http*.c reads, which guc.c defines in the extension. */
char *rmsync_allowed_networks = NULL;
bool rmsync_allow_http = false;
char *rmsync_ca_file = NULL;
int rmsync_http_timeout = 75000;

static int max_connections = 64;

static RmsyncHttp *transport = NULL;
static WaitEventSet *events = NULL;

typedef struct Job
{
	int n;
	Tuplestorestate *tupstore;
	TupleDesc tupdesc;
	struct Run *run;
} Job;

typedef struct Run
{
	int done;
	int ok;
	double *elapsed_ms; /* NULL = not collected */
} Run;

extern void _PG_init(void);

void
_PG_init(void)
{
	DefineCustomStringVariable("http_test.allowed_networks", "Networks.", NULL,
							   &rmsync_allowed_networks, "", PGC_USERSET, 0,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("http_test.ca_file", "Certificates.", NULL,
							   &rmsync_ca_file, "", PGC_USERSET, 0, NULL, NULL,
							   NULL);
	DefineCustomBoolVariable("http_test.allow_http", "Plain http.", NULL,
							 &rmsync_allow_http, false, PGC_USERSET, 0, NULL,
							 NULL, NULL);
	DefineCustomIntVariable("http_test.timeout", "Default timeout.", NULL,
							&rmsync_http_timeout, 75000, 1, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("http_test.max_connections", "Connections.", NULL,
							&max_connections, 64, 1, 10000, PGC_USERSET, 0,
							NULL, NULL, NULL);
}

static RmsyncHttp *
get_transport(void)
{
	if (transport == NULL)
	{
		transport = rmsync_http_create(max_connections);
		events = RmsyncCreateWaitEventSet(3);
		AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
		if (IsUnderPostmaster) /* not under valgrind */
			AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
							  NULL, NULL);
		AddWaitEventToSet(events, WL_SOCKET_READABLE, rmsync_http_fd(transport),
						  NULL, NULL);
	}
	return transport;
}

static void
close_transport(void)
{
	if (transport == NULL)
		return;
	FreeWaitEventSet(events);
	rmsync_http_destroy(transport);
	transport = NULL;
}

/* One turn of a main loop. */
static void
turn(void)
{
	WaitEvent event;

	WaitEventSetWait(events, rmsync_http_wait_ms(transport), &event, 1,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	rmsync_http_poll(transport, 64);
}

static char *
text_member(Jsonb *object, const char *key)
{
	JsonbValue found;

	if (getKeyJsonValueFromContainer(&object->root, key, strlen(key), &found) ==
		NULL)
		return NULL;
	if (found.type == jbvString)
		return pnstrdup(found.val.string.val, found.val.string.len);
	if (found.type == jbvNumeric)
		return DatumGetCString(
			DirectFunctionCall1(numeric_out, NumericGetDatum(found.val.numeric)));
	if (found.type == jbvBool)
		return found.val.boolean ? "t" : "f";
	return NULL;
}

static int
int_member(Jsonb *object, const char *key)
{
	char *text = text_member(object, key);

	return text ? pg_strtoint32(text) : 0;
}

static bool
bool_member(Jsonb *object, const char *key)
{
	char *text = text_member(object, key);

	return text && text[0] == 't';
}

static void
read_headers(Jsonb *object, RmsyncHttpRequest *request)
{
	JsonbValue found;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue v;
	char *name = NULL;

	if (getKeyJsonValueFromContainer(&object->root, "headers", 7, &found) == NULL ||
		found.type != jbvBinary)
		return;
	it = JsonbIteratorInit(found.val.binary.data);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE && v.type == jbvString)
			rmsync_http_header(request, name,
							   pnstrdup(v.val.string.val, v.val.string.len));
	}
}

static void
read_request(Jsonb *object, RmsyncHttpRequest *request)
{
	char *body = text_member(object, "body");
	int copies = int_member(object, "repeat_body");

	memset(request, 0, sizeof(*request));
	request->method = text_member(object, "method");
	if (request->method == NULL)
		request->method = "GET";
	request->url = text_member(object, "url");
	read_headers(object, request);
	if (body != NULL && copies > 0)
	{
		StringInfoData all;

		initStringInfo(&all);
		while (copies-- > 0)
			appendStringInfoString(&all, body);
		body = all.data;
	}
	request->body = body;
	request->body_len = body ? strlen(body) : 0;
	request->fresh_connect = bool_member(object, "fresh");
	request->repeatable = bool_member(object, "repeatable");
	request->timeout_ms = int_member(object, "timeout_ms");
	request->connect_timeout_ms = int_member(object, "connect_timeout_ms");
	request->max_response = int_member(object, "max_response");
}

static const char *
error_name(RmsyncHttpError error)
{
	static const char *const names[] = { "ok",		 "refused", "not_sent",
										 "broken",	 "timeout", "too_large",
										 "cancelled" };

	return names[error];
}

static void
put_text(Datum *values, bool *nulls, int i, const char *text)
{
	nulls[i] = text == NULL;
	if (text != NULL)
		values[i] = CStringGetTextDatum(text);
}

static void
many_done(void *arg, const RmsyncHttpResponse *response)
{
	Job *job = arg;
	Datum values[12];
	bool nulls[12] = { false };
	bytea *body = palloc(VARHDRSZ + response->body_len);

	SET_VARSIZE(body, VARHDRSZ + response->body_len);
	memcpy(VARDATA(body), response->body, response->body_len);

	values[0] = Int32GetDatum(job->n);
	put_text(values, nulls, 1, error_name(response->error));
	put_text(values, nulls, 2, response->message);
	values[3] = Int32GetDatum(response->status);
	values[4] = PointerGetDatum(body);
	values[5] = Int32GetDatum(response->retry_after_ms);
	put_text(values, nulls, 6, response->etag);
	put_text(values, nulls, 7, response->location);
	put_text(values, nulls, 8, response->content_type);
	put_text(values, nulls, 9, response->request_id);
	values[10] = Float8GetDatum(response->elapsed_us / 1000.0);
	values[11] = Int32GetDatum(++job->run->done);
	tuplestore_putvalues(job->tupstore, job->tupdesc, values, nulls);
}

Datum
http_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Jsonb *requests = PG_GETARG_JSONB_P(0);
	int in_flight = PG_GETARG_INT32(1);
	int n = JB_ROOT_COUNT(requests);
	Run run = { 0 };
	RmsyncHttp *http = get_transport();
	Job *jobs = palloc(sizeof(Job) * Max(n, 1));
	int started = 0;

	InitMaterializedSRF(fcinfo, 0);
	PG_TRY();
	{
		while (run.done < n)
		{
			while (started < n && started - run.done < in_flight)
			{
				RmsyncHttpRequest request;
				JsonbValue *object =
					getIthJsonbValueFromContainer(&requests->root, started);

				read_request(JsonbValueToJsonb(object), &request);
				jobs[started].n = started;
				jobs[started].tupstore = rsinfo->setResult;
				jobs[started].tupdesc = rsinfo->setDesc;
				jobs[started].run = &run;
				rmsync_http_start(http, &request, CurrentMemoryContext,
								  many_done, &jobs[started]);
				started++;
			}
			turn();
		}
	}
	PG_CATCH();
	{
		rmsync_http_abandon(http);
		close_transport();
		PG_RE_THROW();
	}
	PG_END_TRY();
	return (Datum) 0;
}

static double
cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
		   usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void
bench_done(void *arg, const RmsyncHttpResponse *response)
{
	Run *run = arg;

	if (response->error == RMSYNC_HTTP_OK && response->status == 200)
		run->ok++;
	run->elapsed_ms[run->done++] = response->elapsed_us / 1000.0;
}

static int
compare_double(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

/* Sends "n" equal requests with a header set like a webhook's. */
static void
bench_loop(Run *run, RmsyncHttpRequest *request, int n, int in_flight)
{
	RmsyncHttp *http = get_transport();
	int started = 0;
	char id[32];
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "bench",
											  ALLOCSET_DEFAULT_SIZES);

	while (run->done < n)
	{
		while (started < n && started - run->done < in_flight)
		{
			snprintf(id, sizeof(id), "rms_%08d", started++);
			request->nheaders = 0;
			rmsync_http_header(request, "Content-Type", "application/json");
			rmsync_http_header(request, "webhook-id", id);
			rmsync_http_header(request, "webhook-timestamp", "1700000000");
			rmsync_http_header(request, "webhook-signature",
							   "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
			rmsync_http_start(http, request, cxt, bench_done, run);
		}
		turn();
		if (MemoryContextMemAllocated(cxt, false) > 1024 * 1024)
			MemoryContextReset(cxt);
	}
	MemoryContextDelete(cxt);
}

Datum
http_bench(PG_FUNCTION_ARGS)
{
	RmsyncHttpRequest request = { 0 };
	int n = PG_GETARG_INT32(2);
	Run run = { 0 };
	TupleDesc tupdesc;
	Datum values[7];
	bool nulls[7] = { false };
	RmsyncHttpStats before;
	RmsyncHttpStats after;
	instr_time start;
	instr_time end;
	double cpu;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	run.elapsed_ms =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(double) * Max(n, 1));
	request.method = "POST";
	request.url = text_to_cstring(PG_GETARG_TEXT_PP(0));
	request.body = text_to_cstring(PG_GETARG_TEXT_PP(1));
	request.body_len = strlen(request.body);
	request.repeatable = PG_GETARG_BOOL(4);

	rmsync_http_stats(get_transport(), &before);
	INSTR_TIME_SET_CURRENT(start);
	cpu = cpu_us();
	PG_TRY();
	{
		bench_loop(&run, &request, n, PG_GETARG_INT32(3));
	}
	PG_CATCH();
	{
		rmsync_http_abandon(transport);
		close_transport();
		PG_RE_THROW();
	}
	PG_END_TRY();
	cpu = cpu_us() - cpu;
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	rmsync_http_stats(get_transport(), &after);
	qsort(run.elapsed_ms, n, sizeof(double), compare_double);

	values[0] = Int32GetDatum(run.ok);
	values[1] = Int32GetDatum(run.done - run.ok);
	values[2] = Float8GetDatum(INSTR_TIME_GET_DOUBLE(end));
	values[3] = Float8GetDatum(cpu / Max(n, 1));
	values[4] = Int64GetDatum(after.connections - before.connections);
	values[5] = Float8GetDatum(n > 0 ? run.elapsed_ms[n / 2] : 0);
	values[6] = Float8GetDatum(n > 0 ? run.elapsed_ms[n * 99 / 100] : 0);
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

Datum
http_totals(PG_FUNCTION_ARGS)
{
	TupleDesc tupdesc;
	Datum values[5];
	bool nulls[5] = { false };
	RmsyncHttpStats stats;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rmsync_http_stats(get_transport(), &stats);
	values[0] = Int64GetDatum(stats.requests);
	values[1] = Int64GetDatum(stats.connections);
	values[2] = Int64GetDatum(stats.bytes_sent);
	values[3] = Int64GetDatum(stats.bytes_received);
	values[4] = Int32GetDatum(rmsync_http_active(transport));
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

static void
never_done(void *arg, const RmsyncHttpResponse *response)
{
	elog(WARNING, "an abandoned transfer was reported");
}

Datum
http_abandon(PG_FUNCTION_ARGS)
{
	RmsyncHttpRequest request = { 0 };
	RmsyncHttp *http = get_transport();
	instr_time start;
	instr_time end;

	request.method = "GET";
	request.url = text_to_cstring(PG_GETARG_TEXT_PP(0));
	rmsync_http_start(http, &request, CurrentMemoryContext, never_done, NULL);
	turn();
	turn();

	INSTR_TIME_SET_CURRENT(start);
	rmsync_http_abandon(http);
	close_transport();
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	PG_RETURN_FLOAT8(INSTR_TIME_GET_MILLISEC(end));
}

Datum
http_close(PG_FUNCTION_ARGS)
{
	close_transport();
	PG_RETURN_VOID();
}

Datum
netguard_class(PG_FUNCTION_ARGS)
{
	static const char *const names[] = { "public", "allowed", "denied" };
	RmsyncNetList list;
	char *why;

	if (!rmsync_netguard_parse(text_to_cstring(PG_GETARG_TEXT_PP(1)), &list, &why))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid list of networks"),
						errdetail_internal("%s", why)));
	PG_RETURN_TEXT_P(cstring_to_text(
		names[rmsync_netguard_text(text_to_cstring(PG_GETARG_TEXT_PP(0)), &list)]));
}

Datum
http_build_info(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(rmsync_http_build_info()));
}
