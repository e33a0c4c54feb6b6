/*-------------------------------------------------------------------------
 *
 * txn.c
 *	  Short transactions for the stores, in a worker or inside CALL.
 *
 * Called by the engine and the stores only.  In a worker each begin/end pair
 * is a transaction of its own.  Inside CALL rmsync_run() the transaction is
 * the session's: begin only takes a snapshot, end commits through SPI, which
 * works because the procedure connected with SPI_OPT_NONATOMIC.
 *
 * Between begin and end, CurrentMemoryContext is one that goes away at the
 * end; end and abort restore the caller's.  A worker does thousands of these a
 * minute, so nothing here may cost more than the transaction itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "txn.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static bool in_foreground = false;
static bool is_open = false;
static MemoryContext caller_context = NULL;

/* In the foreground, if set: whose rights our statements have. */
static Oid owner_id = InvalidOid;
static Oid caller_id;
static int caller_sec_context;

void
rmsync_txn_set_foreground(bool foreground)
{
	in_foreground = foreground;

	/* An error inside CALL leaves without closing; this is the fresh start. */
	is_open = false;
	owner_id = InvalidOid;
}

void
rmsync_txn_set_owner(Oid owner)
{
	owner_id = owner;
}

/*
 * What SECURITY DEFINER and SET search_path do for a function; a procedure that
 * commits can have neither.  An abort undoes both by itself.
 */
static void
become_owner(void)
{
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	GetUserIdAndSecContext(&caller_id, &caller_sec_context);
	SetUserIdAndSecContext(owner_id,
						   caller_sec_context | SECURITY_LOCAL_USERID_CHANGE);
}

bool
rmsync_txn_open(void)
{
	return is_open;
}

void
rmsync_txn_begin(const char *activity)
{
	Assert(!is_open);

	caller_context = CurrentMemoryContext;
	if (in_foreground)
	{
		SPI_connect_ext(SPI_OPT_NONATOMIC);
		if (OidIsValid(owner_id))
			become_owner();
	}
	else
	{
		Assert(!IsTransactionState());
		pgstat_report_activity(STATE_RUNNING, activity);
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		SPI_connect();
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	is_open = true;
}

/*
 * Lets this transaction's commit return before its WAL is flushed.  Local to
 * the transaction, so that what it was reverts by itself, also on error.
 */
static void
commit_asynchronously(void)
{
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		return;
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

void
rmsync_txn_end(bool durable)
{
	Assert(is_open);

	if (!durable)
		commit_asynchronously();
	if (in_foreground)
	{
		/* SPI_commit insists that only portals hold snapshots. */
		PopActiveSnapshot();
		is_open = false;
		if (OidIsValid(owner_id))
			SetUserIdAndSecContext(caller_id, caller_sec_context);
		SPI_commit();
		SPI_finish();
	}
	else
	{
		SPI_finish();
		PopActiveSnapshot();
		is_open = false;
		CommitTransactionCommand();
		(void) pgstat_report_stat(false);
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	MemoryContextSwitchTo(caller_context);
}

void
rmsync_txn_abort(void)
{
	Assert(!in_foreground);

	/* Ends SPI, snapshots and locks too; harmless if nothing is open. */
	AbortCurrentTransaction();
	is_open = false;
	(void) pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	MemoryContextSwitchTo(caller_context ? caller_context : TopMemoryContext);
}
