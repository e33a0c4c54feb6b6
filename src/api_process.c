/*-------------------------------------------------------------------------
 *
 * api_process.c
 *	  SQL functions about rmsync's processes (sql/42_process.sql).
 *
 * All of them work in a session whose server has not preloaded the library;
 * they then say so.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "guc.h"
#include "http.h"
#include "intake.h"
#include "miscadmin.h"
#include "shmem.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(rmsync_wake);
PG_FUNCTION_INFO_V1(rmsync_stat_worker);
PG_FUNCTION_INFO_V1(rmsync_in_flight);
PG_FUNCTION_INFO_V1(rmsync_worker_state);
PG_FUNCTION_INFO_V1(rmsync_worker_restart);
PG_FUNCTION_INFO_V1(rmsync_build_info);

#define STAT_WORKER_COLUMNS 14
#define WORKER_STATE_COLUMNS 6

/* rmsync.wake(): wakes the workers of this database at commit. */
Datum
rmsync_wake(PG_FUNCTION_ARGS)
{
	rmsync_wake_at_commit();
	PG_RETURN_VOID();
}

/* rmsync.worker_stats(): one row per worker of this database. */
Datum
rmsync_stat_worker(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result;
	RmsyncWorkerStat stats[RMSYNC_WORKERS_PER_DB];
	int n;

	InitMaterializedSRF(fcinfo, 0);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	n = rmsync_database_stats(MyDatabaseId, stats);
	for (int i = 0; i < n; i++)
	{
		Datum values[STAT_WORKER_COLUMNS];
		bool nulls[STAT_WORKER_COLUMNS] = { false };
		int c = 0;

		values[c++] = Int32GetDatum(stats[i].pid);
		values[c++] = TimestampTzGetDatum(stats[i].started_at);
		nulls[c] = stats[i].last_turn_at == 0;
		values[c++] = TimestampTzGetDatum(stats[i].last_turn_at);
		values[c++] = Int32GetDatum(stats[i].in_flight);
		values[c++] = Int32GetDatum(stats[i].lanes);
		values[c++] = Int64GetDatum((int64) stats[i].requests);
		values[c++] = Int64GetDatum((int64) stats[i].succeeded);
		values[c++] = Int64GetDatum((int64) stats[i].skipped);
		values[c++] = Int64GetDatum((int64) stats[i].retried);
		values[c++] = Int64GetDatum((int64) stats[i].failed);
		values[c++] = Int64GetDatum((int64) stats[i].folded);
		values[c++] = Int64GetDatum((int64) stats[i].bytes_sent);
		values[c++] = Int64GetDatum((int64) stats[i].bytes_received);
		values[c++] = Int64GetDatum((int64) stats[i].errors);
		Assert(c == STAT_WORKER_COLUMNS);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* rmsync.in_flight(): queue rows being delivered now. */
Datum
rmsync_in_flight(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result;
	RmsyncWorkerStat *stats =
		palloc(sizeof(RmsyncWorkerStat) * RMSYNC_WORKERS_PER_DB);
	int n;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	n = rmsync_database_stats(MyDatabaseId, stats);
	for (int i = 0; i < n; i++)
	{
		for (int k = 0; k < stats[i].nids; k++)
		{
			Datum values[1];
			bool nulls[1] = { false };

			values[0] = Int64GetDatum(stats[i].ids[k]);
			tuplestore_putvalues(result->setResult, result->setDesc, values,
								 nulls);
		}
	}
	return (Datum) 0;
}

/* Why no worker runs, or NULL if that is as it should be. */
static const char *
why_not_running(bool known, const RmsyncDbInfo *info, TimestampTz now)
{
	if (!rmsync_shmem_ready())
		return "rmsync is not preloaded: add it to shared_preload_libraries and restart the server";
	if (RecoveryInProgress())
		return "the server is a standby: workers start when it is promoted";
	if (rmsync_launcher_pid() == 0)
		return "the launcher is not running: see the server log";
	if (!rmsync_enabled)
		return "rmsync.enabled is off";
	if (rmsync_starved())
		return "out of background worker slots: increase max_worker_processes";
	if (!known)
		return "the database has not been looked into: see rmsync.databases and rmsync.max_databases";
	if (info->state == RMSYNC_DB_EXCLUDED)
		return "the database is not in rmsync.databases, is a template or does not allow connections";
	if (info->state == RMSYNC_DB_MISMATCH)
		return "the versions of the library and of the extension differ: run ALTER EXTENSION rmsync UPDATE, or restart the server if the library was replaced";
	if (info->hold_until > now)
		return "a command on this database holds workers off";
	if (info->retry_at > now)
		return "a worker failed and is restarted after a pause: see the server log";
	if (info->starting > 0 || info->work || info->restart)
		return "a worker is being started";
	return NULL;
}

/* rmsync.worker_state(): what rmsync_health() says about processes. */
Datum
rmsync_worker_state(PG_FUNCTION_ARGS)
{
	Datum values[WORKER_STATE_COLUMNS] = { 0 };
	bool nulls[WORKER_STATE_COLUMNS] = { false };
	TupleDesc tupdesc;
	RmsyncDbInfo info = { 0 };
	bool known = rmsync_database_info(MyDatabaseId, &info);
	int launcher = rmsync_launcher_pid();
	const char *reason = NULL;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (info.running == 0)
		reason = why_not_running(known, &info, GetCurrentTimestamp());

	values[0] = BoolGetDatum(rmsync_shmem_ready());
	nulls[1] = launcher == 0;
	values[1] = Int32GetDatum(launcher);
	values[2] = Int32GetDatum(info.running);
	values[3] = Int32GetDatum(info.failures);
	nulls[4] = info.next_due == 0 || info.running > 0;
	values[4] = TimestampTzGetDatum(info.next_due);
	nulls[5] = reason == NULL;
	if (reason)
		values[5] = CStringGetTextDatum(reason);
	return HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls));
}

/* rmsync_worker_restart(): terminates the workers; the launcher starts anew. */
Datum
rmsync_worker_restart(PG_FUNCTION_ARGS)
{
	int pids[RMSYNC_WORKERS_PER_DB];
	RmsyncDbInfo info;
	int starting;
	int n = rmsync_database_pids(MyDatabaseId, pids, &starting);
	int signalled = 0;

	for (int i = 0; i < n; i++)
	{
		if (BackendPidGetProc(pids[i]) != NULL && kill(pids[i], SIGTERM) == 0)
			signalled++;
	}

	/* Also where none was running: the launcher looks again. */
	if (rmsync_database_info(MyDatabaseId, &info) &&
		info.state == RMSYNC_DB_MISMATCH)
		rmsync_slot_set_state(rmsync_slot_find(MyDatabaseId, false),
							  MyDatabaseId, RMSYNC_DB_UNKNOWN);
	rmsync_wake_database(MyDatabaseId);
	PG_RETURN_INT32(signalled);
}

/* rmsync.build_info() */
Datum
rmsync_build_info(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(
		psprintf("rmsync %s, built for PostgreSQL %s; %s", RMSYNC_VERSION,
				 PG_VERSION, rmsync_http_build_info())));
}
