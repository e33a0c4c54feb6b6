/*-------------------------------------------------------------------------
 *
 * api_sync.c
 *	  rmsync_sync(): queues work and waits until it is done.
 *
 * A procedure, because workers see nothing of what its caller has not
 * committed: it commits what it queued, then looks now and then what became of
 * it.  It delivers nothing itself.  What is waited for is kept as JSON, written
 * and read by the functions in sql/67_sync.sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#include "api_probe.h"
#include "store.h"
#include "txn.h"

PG_FUNCTION_INFO_V1(rmsync_sync_sql);

/* Looks are frequent at first: most edits take a moment. */
#define FIRST_LOOK_MS 20
#define LAST_LOOK_MS 500

static void
wait_a_moment(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static void
sync_and_wait(RmsyncAsk *ask, void *arg)
{
	FunctionCallInfo fcinfo = arg;
	NullableDatum args[RMSYNC_SYNC_ARGS];
	long pause = FIRST_LOOK_MS;
	char *job;
	char *result;
	bool waits;

	for (int i = 0; i < RMSYNC_SYNC_ARGS; i++)
		args[i] = fcinfo->args[i];
	rmsync_txn_begin("rmsync: queueing");
	job = rmsync_store_sync_begin(ask->cxt, args);
	rmsync_txn_end(true);
	for (;;)
	{
		rmsync_txn_begin("rmsync: waiting for deliveries");
		waits = rmsync_store_sync_waits(job);
		rmsync_txn_end(false);
		if (!waits)
			break;
		wait_a_moment(pause);
		pause = Min(pause * 5 / 4 + 1, LAST_LOOK_MS);
	}
	rmsync_txn_begin("rmsync: counting deliveries");
	result = rmsync_store_sync_result(ask->cxt, job);
	rmsync_txn_end(false);

	/* an object, whose braces the caller has */
	appendBinaryStringInfo(&ask->result, result + 1, strlen(result) - 2);
}

/*
 * rmsync_sync(target_name text, item_type text, notebook_uuids text[],
 *			   max_items int, user_id bigint, force boolean,
 *			   timeout interval, INOUT result jsonb)
 */
Datum
rmsync_sync_sql(PG_FUNCTION_ARGS)
{
	return rmsync_ask(fcinfo, "rmsync_sync", sync_and_wait, fcinfo);
}
