/*-------------------------------------------------------------------------
 *
 * api_probe.c
 *	  rmsync_test_connection(), and what all procedures share that ask a
 *	  service something while a person waits.
 *
 * They are procedures, not functions: a function runs in its caller's
 * transaction, which would stay open during the requests.  Each reads what it
 * needs in a short transaction, commits, talks to the service, and writes in
 * another one.  What a service refuses is part of the result; an error is
 * raised only for what the caller did wrong.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "api_probe.h"
#include "credentials.h"
#include "json.h"
#include "store.h"
#include "target.h"
#include "txn.h"

PG_FUNCTION_INFO_V1(rmsync_test_connection_sql);

/* The role that owns the procedure being called. */
static Oid
owner_of(Oid procedure)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(procedure));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", procedure);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
need_no_transaction_block(FunctionCallInfo fcinfo, const char *name)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("%s() cannot be called in a transaction block", name),
				 errhint(
					 "No transaction may be open while it waits for the service.")));
}

Datum
rmsync_ask(FunctionCallInfo fcinfo, const char *name,
		   void (*work)(RmsyncAsk *ask, void *arg), void *arg)
{
	RmsyncAsk *ask = palloc0(sizeof(RmsyncAsk));
	TupleDesc tupdesc;
	Datum values[1];
	bool nulls[1] = { false };

	need_no_transaction_block(fcinfo, name);
	ask->cxt = AllocSetContextCreate(CurrentMemoryContext, "rmsync ask",
									 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(ask->cxt);
	initStringInfo(&ask->result);
	appendStringInfoChar(&ask->result, '{');

	rmsync_txn_set_foreground(true);
	rmsync_txn_set_owner(owner_of(fcinfo->flinfo->fn_oid));
	PG_TRY();
	{
		work(ask, arg);
	}
	PG_FINALLY();
	{
		rmsync_txn_set_foreground(false);
		if (ask->engine != NULL)
			rmsync_engine_destroy(ask->engine);
	}
	PG_END_TRY();

	MemoryContextSwitchTo(ask->cxt);
	appendStringInfoChar(&ask->result, '}');
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = DirectFunctionCall1(jsonb_in, CStringGetDatum(ask->result.data));
	return HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls));
}

/* A copy of the database must not even renew a token: the original needs it. */
void
rmsync_ask_instance(void)
{
	if (!rmsync_store_instance_matches())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rmsync sends nothing from this database"),
				 errdetail(
					 "It was not attached here, or is a copy of another one."),
				 errhint(
					 "Run rmsync_attach(), or rmsync_adopt_instance() if the original is gone for good.")));
}

bool
rmsync_ask_open(RmsyncAsk *ask, int64 lane_id)
{
	const char *why;
	char *problem;

	if (!rmsync_have_master_key(&problem))
	{
		rmsync_ask_refuse(ask, "no_master_key", problem,
						  "See rmsync.master_key_file.");
		return false;
	}
	ask->engine = rmsync_engine_create(true);
	ask->lane = rmsync_engine_probe_open(ask->engine, lane_id, &why);
	if (ask->lane == NULL)
		rmsync_ask_refuse(ask, "invalid_credentials", why,
						  "Connect again with rmsync_connect().");
	return ask->lane != NULL;
}

bool
rmsync_ask_run(RmsyncAsk *ask, RmsyncProbe *probe)
{
	rmsync_engine_probe_run(ask->engine, ask->lane, probe);
	ask->requests += probe->requests;
	return probe->fail.scope == RMSYNC_FAIL_NONE;
}

static void
add_words(RmsyncAsk *ask, bool ok, const char *code, const char *message,
		  const char *hint)
{
	StringInfo buf = &ask->result;

	rmsync_json_field_bool(buf, "ok", ok);
	if (code != NULL)
		rmsync_json_field(buf, "code", code);
	if (message != NULL)
		rmsync_json_field(buf, "message", message);
	if (hint != NULL)
		rmsync_json_field(buf, "hint", hint);
	rmsync_json_field_int(buf, "requests", ask->requests);
}

void
rmsync_ask_refuse(RmsyncAsk *ask, const char *code, const char *message,
				  const char *hint)
{
	add_words(ask, false, code, message, hint);
}

void
rmsync_ask_conclude(RmsyncAsk *ask, const RmsyncProbe *probe)
{
	const RmsyncFailure *fail = &probe->fail;

	if (fail->scope == RMSYNC_FAIL_NONE)
		add_words(ask, true, NULL, probe->message, NULL);
	else
		add_words(ask, false, fail->code,
				  fail->message ? fail->message : fail->code, probe->hint);
	if (fail->scope == RMSYNC_FAIL_RATE && fail->delay_ms > 0)
		rmsync_json_field_int(&ask->result, "retry_after",
							  (fail->delay_ms + 999) / 1000);
	if (probe->facts.len > 1)
		appendStringInfo(&ask->result, ",%s", probe->facts.data + 1);
}

int64
rmsync_ask_user(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? 0 : PG_GETARG_INT64(arg);
}


/* ---- rmsync_test_connection ---- */

typedef struct TestCall
{
	char *target_name;
	int64 user_id;
} TestCall;

static void
test_connection(RmsyncAsk *ask, void *arg)
{
	TestCall *call = arg;
	const RmsyncTarget *target = rmsync_target_find(call->target_name);
	RmsyncProbe probe;
	int64 lane_id;

	if (target == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("unrecognized target \"%s\"", call->target_name),
						errhint("SELECT rmsync_targets() lists the targets.")));
	rmsync_txn_begin("rmsync: looking up a connection");
	lane_id = rmsync_store_lane_of(call->user_id, call->target_name);
	rmsync_ask_instance();
	rmsync_txn_end(false);

	rmsync_json_field(&ask->result, "target", target->name);
	if (target->test == NULL)
	{
		rmsync_ask_refuse(ask, "not_testable",
						  "There is no harmless request to test this target with.",
						  NULL);
		return;
	}
	if (!rmsync_ask_open(ask, lane_id))
		return;
	rmsync_json_field_int(&ask->result, "user_id", ask->lane->info.user_id);
	rmsync_engine_probe_begin(ask->lane, &probe, ask->cxt);
	target->test(&probe);
	(void) rmsync_ask_run(ask, &probe);
	rmsync_ask_conclude(ask, &probe);
}

/*
 * rmsync_test_connection(target_name text, user_id bigint, INOUT result jsonb)
 */
Datum
rmsync_test_connection_sql(PG_FUNCTION_ARGS)
{
	TestCall call;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("no target is named"),
						errhint("SELECT rmsync_targets() lists the targets.")));
	call.target_name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	call.user_id = rmsync_ask_user(fcinfo, 1);
	return rmsync_ask(fcinfo, "rmsync_test_connection", test_connection, &call);
}
