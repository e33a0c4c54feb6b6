/*-------------------------------------------------------------------------
 *
 * api.c
 *	  SQL functions that need C: connecting, targets, running in foreground.
 *
 * Thin: arguments are checked and handed to the module that does the work.
 * Secrets: errors raised while a statement carries a configuration hide the
 * statement, and the activity text is replaced, so that a literal token in
 * the caller's SQL does not end in the server log or pg_stat_activity.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "api_grant.h"
#include "compat.h"
#include "credentials.h"
#include "engine.h"
#include "json.h"
#include "store.h"
#include "target.h"
#include "txn.h"

PG_FUNCTION_INFO_V1(rmsync_connect_sql);
PG_FUNCTION_INFO_V1(rmsync_open_limits);
PG_FUNCTION_INFO_V1(rmsync_targets_sql);
PG_FUNCTION_INFO_V1(rmsync_run_sql);

static const RmsyncTarget *
need_target(const char *name)
{
	const RmsyncTarget *target = rmsync_target_find(name);

	if (target == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("unrecognized target \"%s\"", name),
						errhint("SELECT rmsync_targets() lists the targets."),
						errhidestmt(true)));
	return target;
}

/* The configuration as an object: as given, or decrypted from a token. */
static Jsonb *
plain_config(int64 user_id, Jsonb *given)
{
	char *token = rmsync_json_as_string(given);
	Jsonb *config = given;

	if (token != NULL)
	{
		char *plain = rmsync_decrypt(user_id, token);

		if (plain == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("configuration token cannot be decrypted for user " INT64_FORMAT,
							user_id),
					 errhint(
						 "Encrypt it with the server's master key and this user's id."),
					 errhidestmt(true)));
		config = rmsync_json_parse(plain, strlen(plain));
		explicit_bzero(plain, strlen(plain));
	}
	if (config == NULL || !JB_ROOT_IS_OBJECT(config))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("configuration must be a JSON object"),
						errhidestmt(true)));
	return config;
}

/*
 * Keys that say where a target's objects live, or how all of them look: what
 * was delivered with other values counts for nothing.
 */
static bool
same_destination(Jsonb *a, Jsonb *b)
{
	static const char *const keys[] = {
		"url",			"database_id", "data_source_id",
		"workspace_id", "page_order",  "page_title",
		"highlights",	"todos",	   "layout"
	};

	for (int i = 0; i < lengthof(keys); i++)
	{
		char *x = rmsync_json_get_string(a, keys[i], NULL);
		char *y = rmsync_json_get_string(b, keys[i], NULL);

		if ((x == NULL) != (y == NULL) || (x && strcmp(x, y) != 0))
			return false;
	}
	return true;
}

/* Is this another destination than the stored connection's? */
static bool
destination_changes(int64 user_id, const char *target_name, Jsonb *config)
{
	char *token =
		rmsync_store_lane_token(CurrentMemoryContext, user_id, target_name);
	char *plain;
	Jsonb *old;
	bool same;

	if (token == NULL)
		return false;
	plain = rmsync_decrypt(user_id, token);
	if (plain == NULL)
		return false;
	old = rmsync_json_parse(plain, strlen(plain));
	explicit_bzero(plain, strlen(plain));
	same = old != NULL && same_destination(old, config);
	return !same;
}

/*
 * Stores a connection; returns it as JSON text.  A configuration that names the
 * token of a grant, or none, uses the grant and is stored without a token.
 */
static char *
store_connection(int64 user_id, const RmsyncTarget *target, Jsonb *config,
				 bool backup)
{
	int64 grant_id = 0;
	char *hint = NULL;
	char *problem;
	char *plain;
	char *token;
	bool elsewhere;

	if (!backup && target->oauth != NULL)
		grant_id = rmsync_grant_of(rmsync_store_effective_user(user_id), target,
								   config, NULL);
	plain = rmsync_json_text(grant_id != 0 ? rmsync_grant_strip(config) : config);
	if (grant_id != 0)
		config = rmsync_grant_shown(config);
	problem = target->check_config(config, &hint);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid configuration for target \"%s\"", target->name),
				 errdetail("%s", problem), hint ? errhint("%s", hint) : 0,
				 errhidestmt(true)));
	token = rmsync_encrypt(user_id, plain);
	explicit_bzero(plain, strlen(plain));

	elsewhere = destination_changes(user_id, target->name, config);
	if (backup && elsewhere)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("backup configuration for target \"%s\" names another destination",
						target->name),
				 errdetail(
					 "It is used with what the connection's own destination holds."),
				 errhidestmt(true)));
	return rmsync_store_connect(user_id, target->name, token,
								target->wanted_types
									? target->wanted_types(config)
									: target->item_types,
								target->granularity == RMSYNC_PER_ITEM ? 'i' : 'n',
								elsewhere, backup,
								target->two_way != NULL && target->two_way(config),
								grant_id);
}

Datum
rmsync_connect_sql(PG_FUNCTION_ARGS)
{
	ErrorContextCallback hide = { error_context_stack, rmsync_hide_statement,
								  NULL };
	const RmsyncTarget *target;
	int64 user_id;
	Jsonb *config;
	char *result;
	MemoryContext cxt = CurrentMemoryContext;

	pgstat_report_activity(STATE_RUNNING, "rmsync_connect(...)");
	for (int i = 0; i < 4; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("rmsync_connect() takes no null arguments"),
							errhidestmt(true)));
	}
	if (GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("rmsync requires a database with encoding UTF8"),
						errhidestmt(true)));
	error_context_stack = &hide;
	user_id = PG_GETARG_INT64(0);
	target = need_target(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	config = plain_config(user_id, PG_GETARG_JSONB_P(2));
	SPI_connect();
	result = store_connection(user_id, target, config, PG_GETARG_BOOL(3));
	result = MemoryContextStrdup(cxt, result);
	SPI_finish();
	error_context_stack = hide.previous;
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(result)));
}

/*
 * rmsync.open_limits(lane bigint) returns void
 *
 * Somebody wants a lane to go on, whatever the service has asked for: what it
 * closed is open, for all lanes that share it.
 */
Datum
rmsync_open_limits(PG_FUNCTION_ARGS)
{
	char *why;

	SPI_connect();
	if (rmsync_have_master_key(&why))
		rmsync_engine_limits_open(PG_GETARG_INT64(0));
	SPI_finish();
	PG_RETURN_VOID();
}

Datum
rmsync_targets_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; rmsync_targets[i] != NULL; i++)
	{
		const RmsyncTarget *t = rmsync_targets[i];
		Datum values[6];
		bool nulls[6] = { false };

		values[0] = CStringGetTextDatum(t->name);
		values[1] = CStringGetTextDatum(t->title);
		values[2] = Int32GetDatum(t->item_types);
		values[3] = CStringGetTextDatum(
			t->granularity == RMSYNC_PER_ITEM ? "item" : "notebook");
		values[4] = Int32GetDatum(t->limits.rate.limit);
		nulls[5] = t->config_schema == NULL;
		if (!nulls[5])
			values[5] =
				DirectFunctionCall1(jsonb_in, CStringGetDatum(t->config_schema));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Waits for the transport, a signal or the next deadline. */
static void
foreground_wait(RmsyncEngine *engine, long timeout_ms)
{
	int events =
		WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | WL_SOCKET_READABLE | WL_TIMEOUT;

	(void) WaitLatchOrSocket(MyLatch, events, rmsync_engine_fd(engine),
							 timeout_ms < 0 ? 1000 : Min(timeout_ms, 1000),
							 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Runs until nothing is due, or until max_items were decided.  Sleeping rows
 * (back-off, unknown outcomes) are left for a later call.
 */
static void
run_engine(RmsyncEngine *engine, int64 max_items)
{
	bool woken = true;
	bool held = false;

	for (;;)
	{
		long timeout_ms = -1;
		RmsyncEngineStat stat;
		RmsyncEngineState state = rmsync_engine_turn(engine, woken, &timeout_ms);

		woken = false;

		/* who wants to interrupt it must wait for new tokens */
		if (!held && rmsync_tokens_under_way)
			HOLD_INTERRUPTS();
		else if (held && !rmsync_tokens_under_way)
			RESUME_INTERRUPTS();
		held = rmsync_tokens_under_way;

		rmsync_engine_stat(engine, &stat);
		if (state == RMSYNC_ENGINE_GONE)
			break;
		if (stat.in_flight == 0 &&
			(state == RMSYNC_ENGINE_IDLE ||
			 (max_items > 0 &&
			  stat.succeeded + stat.skipped + stat.failed + stat.retried >=
				  max_items)))
			break;
		foreground_wait(engine, timeout_ms);
	}
	if (held)
		RESUME_INTERRUPTS();
}

Datum
rmsync_run_sql(PG_FUNCTION_ARGS)
{
	volatile int64 max_items = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);
	RmsyncEngine *volatile engine = NULL;
	RmsyncEngineStat stat;
	StringInfoData buf;
	TupleDesc tupdesc;
	Datum values[1];
	bool nulls[1] = { false };
	MemoryContext cxt = CurrentMemoryContext;

	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("rmsync_run() cannot be called in a transaction block"),
				 errhint("It commits what each request brought.")));
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to run the engine in the foreground"),
				 errdetail("Only superusers may.")));

	rmsync_txn_set_foreground(true);
	PG_TRY();
	{
		engine = rmsync_engine_create(true);
		run_engine(engine, max_items);
		rmsync_engine_shutdown(engine);
		rmsync_engine_stat(engine, &stat);
	}
	PG_FINALLY();
	{
		rmsync_txn_set_foreground(false);
		if (engine != NULL)
			rmsync_engine_destroy(engine);
	}
	PG_END_TRY();

	MemoryContextSwitchTo(cxt);
	initStringInfo(&buf);
	appendStringInfo(&buf,
					 "{\"synced_count\": " UINT64_FORMAT
					 ", \"failed_count\": " UINT64_FORMAT
					 ", \"skipped_count\": " UINT64_FORMAT
					 ", \"retry_count\": " UINT64_FORMAT
					 ", \"requests\": " UINT64_FORMAT "}",
					 stat.succeeded, stat.failed, stat.skipped, stat.retried,
					 stat.requests);
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
