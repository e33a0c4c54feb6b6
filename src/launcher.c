/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The launcher: finds databases that have the extension and keeps workers
 *	  running where there is work.
 *
 * One static background worker, connected to no database, so that it is in
 * nobody's way.  It does no HTTP and reads pg_database only.  Whether a
 * database has the extension is found out by a worker that goes there to look,
 * one at a time; the answer is remembered until a commit in that database
 * announces work (CREATE EXTENSION does).
 *
 * An error ends the launcher; the postmaster restarts it, and it carries on
 * with the workers it finds in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "compat.h"
#include "guc.h"
#include "launcher.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "recorder.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#define MAX_BACKOFF_S 60
#define INVALID_DATABASE (-2) /* datconnlimit of a half-dropped database */

/* A row of pg_database. */
typedef struct LauncherDb
{
	Oid dboid; /* hash key */
	char name[NAMEDATALEN];
	bool seen;	 /* in the present scan */
	bool wanted; /* may have workers */
	bool absent; /* looked into and without a slot: no extension there */
} LauncherDb;

/* A worker this launcher registered; one per entry of each slot. */
typedef struct LauncherWorker
{
	BackgroundWorkerHandle *handle; /* NULL = none */
	RmsyncTicket ticket;
} LauncherWorker;

static HTAB *databases;
static LauncherWorker *workers;
static TimestampTz scan_at = 0;	 /* next scan of pg_database */
static TimestampTz look_at;		 /* earliest time something is due */
static TimestampTz starved_till; /* no background worker slot before this */
static int starved_streak = 0;
static bool slots_warned = false;
static bool probing; /* a worker is finding out about the extension */

void
rmsync_launcher_register(void)
{
	BackgroundWorker worker;

	MemSet(&worker, 0, sizeof(worker));
	worker.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, "rmsync", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "rmsync_launcher_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "rmsync launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "rmsync launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

static void
launcher_at_exit(int code, Datum arg)
{
	rmsync_launcher_detach();
}

/* Notes that something is due at a time. */
static void
look_again_at(TimestampTz at)
{
	if (at < look_at)
		look_at = at;
}

static bool
name_is_listed(const char *name, List *names)
{
	ListCell *lc;

	foreach (lc, names)
	{
		const char *listed = (const char *) lfirst(lc);

		if (strcmp(listed, "*") == 0 || strcmp(listed, name) == 0)
			return true;
	}
	return false;
}

static bool
database_exists(Oid dboid)
{
	return hash_search(databases, &dboid, HASH_FIND, NULL) != NULL;
}

/* Reads pg_database.  Call with a short-lived context current. */
static void
scan_databases(void)
{
	MemoryContext caller = CurrentMemoryContext;
	List *names = NIL;
	HASH_SEQ_STATUS status;
	LauncherDb *db;
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;

	/* The check hook has seen to it that this cannot fail. */
	(void) SplitIdentifierString(pstrdup(rmsync_databases), ',', &names);

	hash_seq_init(&status, databases);
	while ((db = hash_seq_search(&status)) != NULL)
		db->seen = false;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		bool found;

		db = hash_search(databases, &form->oid, HASH_ENTER, &found);
		if (!found)
			db->absent = false;
		db->seen = true;
		strlcpy(db->name, NameStr(form->datname), NAMEDATALEN);
		db->wanted = form->datallowconn && !form->datistemplate &&
					 form->datconnlimit != INVALID_DATABASE &&
					 name_is_listed(db->name, names);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);

	hash_seq_init(&status, databases);
	while ((db = hash_seq_search(&status)) != NULL)
	{
		if (!db->seen)
			(void) hash_search(databases, &db->dboid, HASH_REMOVE, NULL);
	}
	rmsync_recorder_sweep(database_exists);
	scan_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										  rmsync_recheck_interval);
}

/* Is there a slot of a database we have not heard of? */
static bool
stranger_has_slot(void)
{
	RmsyncDbInfo info;

	for (int i = 0; i < rmsync_max_databases; i++)
	{
		if (rmsync_slot_read(i, &info) &&
			hash_search(databases, &info.dboid, HASH_FIND, NULL) == NULL)
			return true;
	}
	return false;
}

/* After a failure: 1 s, doubling to a minute. */
static TimestampTz
backoff_end(TimestampTz now, int streak)
{
	int seconds =
		streak > 6 ? MAX_BACKOFF_S : Min(1 << (streak - 1), MAX_BACKOFF_S);

	return TimestampTzPlusMilliseconds(now, seconds * 1000);
}

static void
note_exit(int slot, RmsyncExit why, TimestampTz started_at, TimestampTz now)
{
	RmsyncDbInfo info;
	int failures = 0;

	if (!rmsync_slot_read(slot, &info))
		return;
	if (why == RMSYNC_EXIT_ERROR)
	{
		/* A worker that has run for a while was healthy. */
		if (!TimestampDifferenceExceeds(started_at, now, MAX_BACKOFF_S * 1000))
			failures = info.failures;
		failures++;
		rmsync_slot_retry(slot, info.dboid, failures, backoff_end(now, failures));
	}
	else
		rmsync_slot_retry(slot, info.dboid, 0, 0);
}

/* Could not be forked, or ended before it attached. */
static void
check_lost(LauncherWorker *worker, int slot, TimestampTz now)
{
	pid_t pid;

	if (worker->handle == NULL ||
		GetBackgroundWorkerPid(worker->handle, &pid) != BGWH_STOPPED)
		return;
	if (rmsync_slot_lost(&worker->ticket))
		note_exit(slot, RMSYNC_EXIT_ERROR, now, now);
	pfree(worker->handle);
	worker->handle = NULL;
}

/* Frees the entries of workers that have ended. */
static void
reap_workers(TimestampTz now)
{
	RmsyncDbInfo info;
	RmsyncExit why;
	TimestampTz started_at;

	for (int slot = 0; slot < rmsync_max_databases; slot++)
	{
		if (!rmsync_slot_read(slot, &info))
			continue;
		for (int i = 0; i < RMSYNC_WORKERS_PER_DB; i++)
		{
			if (rmsync_slot_reap(slot, i, &why, &started_at))
				note_exit(slot, why, started_at, now);
			check_lost(&workers[slot * RMSYNC_WORKERS_PER_DB + i], slot, now);
		}
	}
}

static void
out_of_worker_slots(TimestampTz now)
{
	if (starved_streak++ == 0)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("out of background worker slots"),
				 errdetail("Work of rmsync is waiting."),
				 errhint("You might need to increase max_worker_processes.")));
	rmsync_set_starved(true);
	starved_till = backoff_end(now, starved_streak);
	look_again_at(starved_till);
}

static void
start_worker(int slot, const LauncherDb *db, RmsyncStart why, TimestampTz now)
{
	BackgroundWorker bgw;
	RmsyncTicket ticket;
	LauncherWorker *worker;
	MemoryContext caller;
	bool registered;

	StaticAssertStmt(sizeof(RmsyncTicket) <= BGW_EXTRALEN,
					 "a ticket must fit into bgw_extra");

	if (starved_till > now)
	{
		look_again_at(starved_till);
		return;
	}
	if (!rmsync_slot_reserve(slot, db->dboid, why, &ticket))
		return;

	MemSet(&bgw, 0, sizeof(bgw));
	bgw.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	bgw.bgw_start_time = BgWorkerStart_RecoveryFinished;
	bgw.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(bgw.bgw_library_name, "rmsync", sizeof(bgw.bgw_library_name));
	strlcpy(bgw.bgw_function_name, "rmsync_worker_main",
			sizeof(bgw.bgw_function_name));
	snprintf(bgw.bgw_name, sizeof(bgw.bgw_name), "rmsync worker: %s", db->name);
	strlcpy(bgw.bgw_type, RMSYNC_WORKER_TYPE, sizeof(bgw.bgw_type));
	bgw.bgw_notify_pid = MyProcPid;
	memcpy(bgw.bgw_extra, &ticket, sizeof(ticket));

	worker = &workers[slot * RMSYNC_WORKERS_PER_DB + ticket.worker];
	if (worker->handle)
		pfree(worker->handle);
	worker->handle = NULL;
	worker->ticket = ticket;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	registered = RegisterDynamicBackgroundWorker(&bgw, &worker->handle);
	MemoryContextSwitchTo(caller);
	if (!registered)
	{
		(void) rmsync_slot_lost(&ticket);
		out_of_worker_slots(now);
	}
	else if (starved_streak > 0)
	{
		starved_streak = 0;
		rmsync_set_starved(false);
	}
}

/* A database with the extension and no worker: when does it need one? */
static bool
needs_worker(const RmsyncDbInfo *info, TimestampTz now, RmsyncStart *why)
{
	TimestampTz check_at;

	*why = RMSYNC_START_WORK;
	if (info->work || info->restart)
		return true;
	if (info->next_due != 0)
	{
		if (info->next_due <= now)
			return true;
		look_again_at(info->next_due);
	}

	/* Work of prepared transactions and of restored dumps wakes nobody. */
	*why = RMSYNC_START_LOOK;
	check_at =
		TimestampTzPlusMilliseconds(info->checked_at, rmsync_recheck_interval);
	if (check_at <= now)
		return true;
	look_again_at(check_at);
	return false;
}

/*
 * The extension has another version than the library: work is of no use
 * before that changes, so nobody need wake us for it.  Look now and then.
 */
static void
serve_mismatch(int slot, const RmsyncDbInfo *info, LauncherDb *db, TimestampTz now)
{
	TimestampTz check_at =
		TimestampTzPlusMilliseconds(info->checked_at, rmsync_recheck_interval);

	if (check_at <= now)
	{
		start_worker(slot, db, RMSYNC_START_LOOK, now);
		return;
	}
	rmsync_slot_quiet(slot, info->dboid);
	look_again_at(check_at);
}

/* Starts what a slot that may have workers needs. */
static void
serve_slot(int slot, const RmsyncDbInfo *info, LauncherDb *db, TimestampTz now)
{
	int live = info->starting + info->running;
	TimestampTz not_before = Max(info->retry_at, info->hold_until);
	RmsyncStart why;

	if (live > 0)
	{
		if (info->help && info->starting == 0 && live < rmsync_max_workers)
			start_worker(slot, db, RMSYNC_START_HELP, now);
		return;
	}
	if (not_before > now)
	{
		rmsync_slot_quiet(slot, info->dboid);
		look_again_at(not_before);
		return;
	}
	switch (info->state)
	{
		case RMSYNC_DB_ABSENT:

			/*
			 * Remembered here; the slot is for others.  Unless work has been
			 * announced since: then somebody has to look again.
			 */
			db->absent = true;
			if (info->leaving > 0 || rmsync_slot_free(slot, info->dboid, false))
				break;
			rmsync_slot_set_state(slot, info->dboid, RMSYNC_DB_UNKNOWN);
			/* FALLTHROUGH */
		case RMSYNC_DB_UNKNOWN:
			db->absent = false;
			if (probing)
				break;
			probing = true;
			start_worker(slot, db,
						 info->work ? RMSYNC_START_WORK : RMSYNC_START_LOOK, now);
			break;
		case RMSYNC_DB_PRESENT:
			if (needs_worker(info, now, &why))
				start_worker(slot, db, why, now);
			break;
		case RMSYNC_DB_MISMATCH:
			serve_mismatch(slot, info, db, now);
			break;
		case RMSYNC_DB_EXCLUDED:
			break;
	}
}

static void
visit_slot(int slot, TimestampTz now)
{
	RmsyncDbInfo info;
	LauncherDb *db;

	if (!rmsync_slot_read(slot, &info))
		return;
	db = hash_search(databases, &info.dboid, HASH_FIND, NULL);
	if (db == NULL)
	{
		/* Dropped.  If a worker is still on its way out, come back. */
		if (!rmsync_slot_free(slot, info.dboid, true))
			look_again_at(TimestampTzPlusMilliseconds(now, 1000));
		return;
	}
	if (!db->wanted)
	{
		if (info.state != RMSYNC_DB_EXCLUDED)
			rmsync_slot_set_state(slot, info.dboid, RMSYNC_DB_EXCLUDED);
		rmsync_slot_quiet(slot, info.dboid);
		return;
	}
	if (info.state == RMSYNC_DB_EXCLUDED)
	{
		info.state = RMSYNC_DB_UNKNOWN;
		rmsync_slot_set_state(slot, info.dboid, RMSYNC_DB_UNKNOWN);
	}
	if (rmsync_enabled)
		serve_slot(slot, &info, db, now);
	else
		rmsync_slot_quiet(slot, info.dboid);
}

/* Gives the next unknown database a slot and sends somebody to look. */
static void
probe_next(TimestampTz now)
{
	HASH_SEQ_STATUS status;
	LauncherDb *db;
	int slot;

	if (probing || !rmsync_enabled)
		return;
	hash_seq_init(&status, databases);
	while ((db = hash_seq_search(&status)) != NULL)
	{
		if (!db->wanted || db->absent || rmsync_slot_find(db->dboid, false) >= 0)
			continue;
		slot = rmsync_slot_find(db->dboid, true);
		if (slot >= 0)
		{
			probing = true;
			start_worker(slot, db, RMSYNC_START_LOOK, now);
		}
		else if (!slots_warned)
		{
			slots_warned = true;
			ereport(WARNING,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("no slot left for database \"%s\"", db->name),
					 errhint("You might need to increase rmsync.max_databases.")));
		}
		hash_seq_term(&status);
		break;
	}
}

/* Is a worker finding out about a database right now? */
static bool
probe_is_running(void)
{
	RmsyncDbInfo info;

	for (int i = 0; i < rmsync_max_databases; i++)
	{
		if (rmsync_slot_read(i, &info) && info.state == RMSYNC_DB_UNKNOWN &&
			info.starting + info.running > 0)
			return true;
	}
	return false;
}

/* Somebody had work but got no slot: what we remember may be out of date. */
static void
forget_absent(void)
{
	HASH_SEQ_STATUS status;
	LauncherDb *db;

	hash_seq_init(&status, databases);
	while ((db = hash_seq_search(&status)) != NULL)
		db->absent = false;
}

static void
launcher_turn(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (rmsync_take_rescan())
		forget_absent();
	if (now >= scan_at || stranger_has_slot())
		scan_databases();
	look_at = scan_at;
	reap_workers(now);
	probing = probe_is_running();
	for (int i = 0; i < rmsync_max_databases; i++)
		visit_slot(i, now);
	probe_next(now);
}

static void
launcher_setup(void)
{
	HASHCTL ctl;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, SIG_IGN);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(launcher_at_exit, (Datum) 0);
	rmsync_launcher_attach();

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(LauncherDb);
	ctl.hcxt = TopMemoryContext;
	databases = hash_create("rmsync databases", 64, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	workers =
		MemoryContextAllocZero(TopMemoryContext, sizeof(LauncherWorker) *
													 rmsync_max_databases *
													 RMSYNC_WORKERS_PER_DB);
	ereport(LOG, (errmsg("rmsync launcher started")));
}

void
rmsync_launcher_main(Datum arg)
{
	MemoryContext turn_context;
	uint32 wait_event;

	launcher_setup();
	wait_event = RmsyncWaitEvent("RmsyncLauncher");
	turn_context = AllocSetContextCreate(TopMemoryContext, "rmsync launcher turn",
										 ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		long timeout;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			scan_at = 0;
		}

		MemoryContextSwitchTo(turn_context);
		launcher_turn();
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(turn_context);

		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), look_at);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 timeout, wait_event);
	}
}
