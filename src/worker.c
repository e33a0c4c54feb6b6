/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The worker: one process's loop around the engine, in one database.
 *
 * Started by the launcher.  Each turn serves interrupts, lets the engine do
 * what is due, and then waits in one place, on one set of events: the latch,
 * the postmaster's death and the engine's descriptor.  Nothing here or below
 * may wait anywhere else for longer than a short transaction takes, or DROP
 * DATABASE and shutdown of the whole server wait with it.
 *
 * The exit code is 0 or 1, always: anything else restarts the server.  libcurl
 * is not cleaned up at exit; its threads might still be running (http.c sees to
 * the end of such a process).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "compat.h"
#include "engine.h"
#include "guc.h"
#include "launcher.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "recorder.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "store.h"
#include "tcop/tcopprot.h"
#include "txn.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#define MAX_ERRORS 5	   /* in a row, then leave it to the launcher */
#define MIN_LINGER_MS 5000 /* work due this soon is not worth an exit */
#define HELP_INTERVAL_MS 1000

typedef struct Worker
{
	RmsyncTicket ticket;
	RmsyncExit why; /* published at exit */
	RmsyncEngine *engine;
	WaitEventSet *events;
	uint32 wait_event;
	MemoryContext turn_context;
	uint64 seen_seq;	   /* work counter the engine has looked at */
	bool woken;			   /* somebody announced work while we ran */
	TimestampTz look_at;   /* look even if nobody announces anything */
	TimestampTz idle_from; /* 0 = busy */
	TimestampTz asked_help_at;
	int streak;	   /* errors in a row */
	uint64 errors; /* ever */
} Worker;

/* One per process; static because error recovery must find it intact. */
static Worker me;

/* SIGTERM came while the process must not end in the middle of something. */
static volatile sig_atomic_t told_to_die = false;

/* When it came first; used in the handler only. */
static TimestampTz told_at = 0;

/*
 * The postmaster signals a process and then its process group, which for us is
 * the same process: two signals so close to each other are one.
 */
#define TWIN_SIGNAL_MS 500

/* It ends already, after what has to be done. */
static volatile sig_atomic_t leaving = false;

pg_noreturn static void worker_leave(RmsyncExit why);
pg_noreturn static void worker_die(void);

static void
worker_at_exit(int code, Datum arg)
{
	rmsync_recorder_close();
	rmsync_worker_detach(&me.ticket, me.why, me.seen_seq);
}

static void
worker_leave(RmsyncExit why)
{
	me.why = why;
	leaving = true;

	/* an error in it comes back here, but not for ever */
	if (me.engine && me.streak <= MAX_ERRORS)
	{
		if (me.streak > 0)
			rmsync_engine_recover(me.engine);
		rmsync_engine_shutdown(me.engine);
	}
	proc_exit(why == RMSYNC_EXIT_ERROR ? 1 : 0);
}

/*
 * SIGINT: there is no query of a user's to cancel, so pg_cancel_backend() is
 * ignored.  But lock_timeout works by sending SIGINT to ourselves.
 */
static void
worker_sigint(SIGNAL_ARGS)
{
	if (get_timeout_indicator(LOCK_TIMEOUT, false))
		StatementCancelHandler(postgres_signal_arg);
}

/*
 * SIGTERM ends a transaction and the process with it, as in any backend, for
 * core's waits look at what die() sets.  New tokens on their way would be lost
 * with the process, and their user would have to log in again.  So while there
 * are any, the transaction is ended by an error, which the loop survives and
 * then finishes in order (worker_die).  Who asks twice is obeyed at once.
 */
static void
worker_sigterm(SIGNAL_ARGS)
{
	int save_errno = errno;
	TimestampTz now = GetCurrentTimestamp();

	if (told_at != 0 && !TimestampDifferenceExceeds(told_at, now, TWIN_SIGNAL_MS))
	{
		errno = save_errno;
		return;
	}
	told_at = now;
	if (!rmsync_tokens_under_way || told_to_die)
		die(postgres_signal_arg);
	else
	{
		told_to_die = true;
		if (!leaving)
		{
			QueryCancelPending = true;
			InterruptPending = true;
		}
		SetLatch(MyLatch);
	}
	errno = save_errno;
}

/*
 * ALTER DATABASE and ALTER ROLE can set anything; these the worker depends on.
 */
static void
pin_settings(void)
{
	static const struct
	{
		const char *name;
		const char *value;
	} pinned[] = {
		{ "statement_timeout", "0" },
		{ "lock_timeout", "500ms" },
		{ "idle_in_transaction_session_timeout", "0" },
		{ "idle_session_timeout", "0" },
		{ "transaction_timeout", "0" },
		{ "default_transaction_isolation", "read committed" },
		{ "default_transaction_read_only", "off" },
		{ "default_transaction_deferrable", "off" },
		{ "session_replication_role", "origin" },
		{ "search_path", "pg_catalog, pg_temp" },
		{ "DateStyle", "ISO, MDY" },
		{ "IntervalStyle", "postgres" },
		{ "extra_float_digits", "1" },
		{ "bytea_output", "hex" },
		{ "jit", "off" },
		{ "application_name", "rmsync worker" },
	};

	for (int i = 0; i < lengthof(pinned); i++)
	{
		/* Not every supported major has every setting. */
		if (GetConfigOption(pinned[i].name, true, false) == NULL)
			continue;
		SetConfigOption(pinned[i].name, pinned[i].value, PGC_SUSET,
						PGC_S_OVERRIDE);
	}
}

/*
 * Leaves if the extension is not there, or not in the version this library
 * was built for: its tables may be others.
 */
static void
check_extension(void)
{
	char version[64] = "";
	char *found;

	rmsync_txn_begin("rmsync: look for the extension");
	found = rmsync_store_version();
	if (found != NULL)
		strlcpy(version, found, sizeof(version));
	rmsync_txn_end(false);

	if (found == NULL)
		worker_leave(RMSYNC_EXIT_ABSENT);
	if (strcmp(version, RMSYNC_VERSION) == 0)
		return;
	if (rmsync_worker_mismatch(&me.ticket))
		ereport(LOG,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rmsync delivers nothing in this database: the library is version %s, the extension is version %s",
						RMSYNC_VERSION, version),
				 errhint(
					 "Run ALTER EXTENSION rmsync UPDATE, or restart the server if the library was replaced; then SELECT rmsync_worker_restart().")));
	worker_leave(RMSYNC_EXIT_MISMATCH);
}

static void
worker_connect(void)
{
	memcpy(&me.ticket, MyBgworkerEntry->bgw_extra, sizeof(me.ticket));
	me.why = RMSYNC_EXIT_ERROR;

	pqsignal(SIGTERM, worker_sigterm);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, worker_sigint);
	BackgroundWorkerUnblockSignals();

	/* Before connecting: who wants us out of the database must see us. */
	if (!rmsync_worker_attach(&me.ticket))
		proc_exit(0);
	before_shmem_exit(worker_at_exit, (Datum) 0);

	/* Whoever announces work after this line will be noticed. */
	me.seen_seq = rmsync_work_seq(me.ticket.dboid);
	BackgroundWorkerInitializeConnectionByOid(me.ticket.dboid, InvalidOid, 0);
	pin_settings();
	pgstat_report_activity(STATE_IDLE, NULL);
	check_extension();
	rmsync_worker_found(&me.ticket);
}

/* The engine, and the one set of events the worker ever waits for. */
static void
worker_create_engine(void)
{
	int fd;

	rmsync_txn_set_foreground(false);
	me.engine = rmsync_engine_create(false);
	rmsync_engine_take_over(me.engine, me.ticket.worker);
	rmsync_engine_can_grow(me.engine, rmsync_max_workers > 1);
	me.wait_event = RmsyncWaitEvent("RmsyncWorker");
	me.events = RmsyncCreateWaitEventSet(3);
	AddWaitEventToSet(me.events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(me.events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL,
					  NULL);
	fd = rmsync_engine_fd(me.engine);
	if (fd >= 0)
		AddWaitEventToSet(me.events, WL_SOCKET_READABLE, fd, NULL, NULL);
}

/*
 * SIGTERM: hands in finished results before dying.
 *
 * The request to die is put aside meanwhile instead of holding interrupts off:
 * a lock wait would not time out then.  A second SIGTERM ends it at once, and
 * no commit may wait for a standby, as nothing would interrupt that.  After an
 * error the loop comes back here.
 */
static void
worker_die(void)
{
	told_to_die = true;
	ProcDiePending = false;
	QueryCancelPending = false;
	if (me.streak > 0)
		rmsync_engine_recover(me.engine);
	if (synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
	rmsync_engine_shutdown(me.engine);
	ProcDiePending = true;
	InterruptPending = true;
	CHECK_FOR_INTERRUPTS();
	proc_exit(1); /* not reached */
}

static void
worker_interrupts(void)
{
	if (ProcDiePending || told_to_die)
		worker_die();
	if (leaving)
		worker_leave(me.why);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		rmsync_engine_reload(me.engine);
	}
	if (rmsync_worker_must_stop(&me.ticket))
		worker_leave(RMSYNC_EXIT_STOPPED);
}

static void
publish(TimestampTz now, const RmsyncEngineStat *engine)
{
	RmsyncWorkerStat stat = { 0 };

	stat.last_turn_at = now;
	stat.in_flight = engine->in_flight;
	stat.lanes = engine->lanes;
	stat.requests = engine->requests;
	stat.succeeded = engine->succeeded;
	stat.skipped = engine->skipped;
	stat.retried = engine->retried;
	stat.failed = engine->failed;
	stat.folded = engine->folded;
	stat.bytes_sent = engine->bytes_sent;
	stat.bytes_received = engine->bytes_received;
	stat.errors = me.errors;
	if (engine->in_flight > 0)
		stat.nids =
			rmsync_engine_in_flight(me.engine, stat.ids, RMSYNC_IDS_PER_WORKER);
	rmsync_worker_publish(&me.ticket, &stat);
}

static void
ask_for_help(TimestampTz now)
{
	if (!TimestampDifferenceExceeds(me.asked_help_at, now, HELP_INTERVAL_MS) ||
		!rmsync_engine_wants_help(me.engine))
		return;
	me.asked_help_at = now;
	rmsync_worker_ask_help(&me.ticket);
}

/*
 * Idle: leaves if that has lasted long enough, else returns how many
 * milliseconds are left.  A worker that was sent only to look does not stay.
 */
static long
idle_or_leave(TimestampTz now)
{
	TimestampTz due = rmsync_engine_next_due(me.engine);
	long linger = rmsync_worker_idle_timeout * 1000L;
	TimestampTz end;

	if (me.idle_from == 0)
	{
		me.idle_from = now;
		(void) pgstat_report_stat(true);
	}
	if (me.ticket.why == RMSYNC_START_LOOK && !me.woken)
		linger = 0;
	end = TimestampTzPlusMilliseconds(me.idle_from, linger);
	if (now < end)
		return TimestampDifferenceMilliseconds(now, end);

	/* The engine's own timeout ends the wait for work that is due soon. */
	if (due != 0 &&
		due <= TimestampTzPlusMilliseconds(now, Max(linger, MIN_LINGER_MS)))
		return -1;
	if (rmsync_worker_retire(&me.ticket, me.seen_seq, due))
		worker_leave(RMSYNC_EXIT_IDLE);
	return 0;
}

static long
sooner(long a, long b)
{
	if (a < 0)
		return b;
	return b < 0 ? a : Min(a, b);
}

/* One turn; returns how long to wait for the next, in milliseconds. */
static long
worker_turn(void)
{
	uint64 seq = rmsync_work_seq(me.ticket.dboid);
	TimestampTz now = GetCurrentTimestamp();
	bool announced = seq != me.seen_seq;
	bool look = announced || now >= me.look_at;
	RmsyncEngineState state;
	RmsyncEngineStat stat;
	long timeout = -1;

	state = rmsync_engine_turn(me.engine, look, &timeout);
	me.streak = 0;
	if (look)
	{
		me.seen_seq = seq;
		me.look_at = TimestampTzPlusMilliseconds(now, rmsync_recheck_interval);
	}
	if (state == RMSYNC_ENGINE_GONE)
	{
		check_extension();
		worker_leave(RMSYNC_EXIT_STOPPED); /* it came back: begin anew */
	}

	now = GetCurrentTimestamp();
	rmsync_engine_stat(me.engine, &stat);
	publish(now, &stat);
	if (!rmsync_enabled && stat.in_flight == 0)
		worker_leave(RMSYNC_EXIT_STOPPED);
	if (announced || state == RMSYNC_ENGINE_BUSY)
	{
		me.woken = true;
		me.idle_from = 0;
	}
	ask_for_help(now);
	if (state != RMSYNC_ENGINE_BUSY)
		timeout = sooner(timeout, idle_or_leave(now));
	return sooner(timeout, TimestampDifferenceMilliseconds(now, me.look_at));
}

static void
worker_wait(long timeout)
{
	WaitEvent events[3];

	(void) WaitEventSetWait(me.events, timeout, events, lengthof(events),
							me.wait_event);
	ResetLatch(MyLatch);
}

/* After an error: clean up as autovacuum's launcher does. */
static void
worker_recover(void)
{
	error_context_stack = NULL;
	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	QueryCancelPending = false; /* second, to avoid a race */
	EmitErrorReport();
	rmsync_txn_abort();
	LWLockReleaseAll();
	pgstat_report_wait_end();
	MemoryContextSwitchTo(TopMemoryContext);
	FlushErrorState();
	MemoryContextReset(me.turn_context);
	RESUME_INTERRUPTS();

	me.errors++;
	if (++me.streak >= MAX_ERRORS)
	{
		ereport(LOG, (errmsg("rmsync worker exits after %d errors in a row",
							 me.streak)));
		worker_leave(RMSYNC_EXIT_ERROR);
	}
}

/* Waits 100 ms, doubling, so that a lasting error does not fill the log. */
static void
back_off(void)
{
	TimestampTz end;

	end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 100L << me.streak);
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		worker_interrupts();
		if (now >= end)
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 TimestampDifferenceMilliseconds(now, end),
						 me.wait_event);
		ResetLatch(MyLatch);
	}
}

void
rmsync_worker_main(Datum arg)
{
	sigjmp_buf local_sigjmp_buf;

	worker_connect();
	worker_create_engine();
	me.turn_context =
		AllocSetContextCreate(TopMemoryContext, "rmsync worker turn",
							  ALLOCSET_DEFAULT_SIZES);
	ereport(DEBUG1, (errmsg_internal("rmsync worker started")));

	if (sigsetjmp(local_sigjmp_buf, 1) != 0)
		worker_recover();
	PG_exception_stack = &local_sigjmp_buf;

	if (me.streak > 0)
	{
		back_off();
		rmsync_engine_recover(me.engine);
	}
	for (;;)
	{
		long timeout;

		worker_interrupts();
		MemoryContextReset(me.turn_context);
		MemoryContextSwitchTo(me.turn_context);
		timeout = worker_turn();
		worker_wait(timeout);
	}
}
