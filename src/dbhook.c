/*-------------------------------------------------------------------------
 *
 * dbhook.c
 *	  Gets workers out of the way of DDL on their database.
 *
 * DROP DATABASE, ALTER DATABASE ... RENAME or SET TABLESPACE and CREATE
 * DATABASE ... TEMPLATE fail while somebody is connected to the database.  A
 * ProcessUtility hook, installed when the library is preloaded, asks the
 * workers there to leave and waits until they have, for a few seconds at most;
 * whatever happens, the command then goes its usual way.
 *
 * DROP EXTENSION waits for nobody; it only wakes the workers at commit.
 *
 * Runs in ordinary sessions, before the command has taken any lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "compat.h"
#include "intake.h"
#include "launcher.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "shmem.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/timestamp.h"

#define HOLD_MS 10000	/* covers core's own wait of 5 s */
#define POLITE_MS 1000	/* then SIGTERM */
#define GIVE_UP_MS 5000 /* then let the command fail */
#define POLL_MS 5

static ProcessUtility_hook_type prev_ProcessUtility = NULL;

static const char *
option_value(List *options, const char *name)
{
	ListCell *lc;

	foreach (lc, options)
	{
		DefElem *option = lfirst_node(DefElem, lc);

		if (option->arg && strcmp(option->defname, name) == 0)
			return defGetString(option);
	}
	return NULL;
}

/* The database that must be free of connections for a command, or NULL. */
static const char *
database_of_command(Node *stmt)
{
	if (IsA(stmt, DropdbStmt))
		return ((DropdbStmt *) stmt)->dbname;
	if (IsA(stmt, CreatedbStmt))
		return option_value(((CreatedbStmt *) stmt)->options, "template");
	if (IsA(stmt, AlterDatabaseStmt))
	{
		AlterDatabaseStmt *alter = (AlterDatabaseStmt *) stmt;

		return option_value(alter->options, "tablespace") ? alter->dbname : NULL;
	}
	if (IsA(stmt, RenameStmt) &&
		((RenameStmt *) stmt)->renameType == OBJECT_DATABASE)
		return ((RenameStmt *) stmt)->subname;
	return NULL;
}

/*
 * Processes of workers still in the database.  A worker that has detached is
 * in there a moment longer, hence the second look at those seen before.
 */
static int
count_workers(Oid dboid, int *pids, int *npids)
{
	int now_pids[RMSYNC_WORKERS_PER_DB];
	int left;
	int n = rmsync_database_pids(dboid, now_pids, &left);

	left += n;
	for (int i = 0; i < *npids; i++)
	{
		if (BackendPidGetProc(pids[i]) != NULL)
			left++;
	}
	if (n > 0)
	{
		memcpy(pids, now_pids, n * sizeof(int));
		*npids = n;
	}
	return left;
}

static void
wait_for_workers(Oid dboid)
{
	TimestampTz start = GetCurrentTimestamp();
	int pids[RMSYNC_WORKERS_PER_DB];
	int npids = 0;
	bool polite = true;

	while (count_workers(dboid, pids, &npids) > 0)
	{
		TimestampTz now = GetCurrentTimestamp();

		if (TimestampDifferenceExceeds(start, now, GIVE_UP_MS))
			break;
		if (polite && TimestampDifferenceExceeds(start, now, POLITE_MS))
		{
			polite = false;
			for (int i = 0; i < npids; i++)
			{
				if (BackendPidGetProc(pids[i]) != NULL)
					kill(pids[i], SIGTERM);
			}
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 POLL_MS, RmsyncWaitEvent("RmsyncStopWorkers"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* An idle worker would notice only at its next timed look. */
static bool
drops_extension(Node *stmt)
{
	ListCell *lc;

	if (!IsA(stmt, DropStmt) ||
		((DropStmt *) stmt)->removeType != OBJECT_EXTENSION)
		return false;
	foreach (lc, ((DropStmt *) stmt)->objects)
	{
		if (strcmp(strVal(lfirst(lc)), "rmsync") == 0)
			return true;
	}
	return false;
}

/*
 * Whoever may not run the command must not stop workers with it.  (A template
 * that others may copy has no workers, so ownership is the question for CREATE
 * DATABASE as well.)
 */
static Oid
database_to_clear(Node *stmt)
{
	const char *name = database_of_command(stmt);
	Oid dboid;

	if (name == NULL)
		return InvalidOid;
	dboid = get_database_oid(name, true);
	if (!OidIsValid(dboid) || dboid == MyDatabaseId ||
		!RmsyncOwnsDatabase(dboid, GetUserId()))
		return InvalidOid;
	return dboid;
}

static void
run_command(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
			ProcessUtilityContext context, ParamListInfo params,
			QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	if (prev_ProcessUtility)
		prev_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
							queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context,
								params, queryEnv, dest, qc);
}

static void
rmsync_ProcessUtility(PlannedStmt *pstmt, const char *queryString,
					  bool readOnlyTree, ProcessUtilityContext context,
					  ParamListInfo params, QueryEnvironment *queryEnv,
					  DestReceiver *dest, QueryCompletion *qc)
{
	bool drops_database = IsA(pstmt->utilityStmt, DropdbStmt);
	bool drops = drops_extension(pstmt->utilityStmt);
	Oid dboid = InvalidOid;

	if (rmsync_shmem_ready())
		dboid = database_to_clear(pstmt->utilityStmt);
	if (!OidIsValid(dboid))
	{
		run_command(pstmt, queryString, readOnlyTree, context, params, queryEnv,
					dest, qc);
		if (drops)
			rmsync_wake_at_commit();
		return;
	}

	PG_TRY();
	{
		rmsync_database_hold(dboid,
							 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														 HOLD_MS));
		wait_for_workers(dboid);
		run_command(pstmt, queryString, readOnlyTree, context, params, queryEnv,
					dest, qc);
	}
	PG_CATCH();
	{
		rmsync_database_release(dboid);
		PG_RE_THROW();
	}
	PG_END_TRY();

	/*
	 * From here on the command's own lock keeps workers waiting.  A dropped
	 * database is left held: nobody should try to go there any more.
	 */
	if (!drops_database)
		rmsync_database_release(dboid);
}

void
rmsync_dbhook_install(void)
{
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = rmsync_ProcessUtility;
}
