/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  Shared memory: one slot per database with its workers' state.
 *
 * Plain data only: no pointer into a process, nothing of libcurl.  Accessors
 * take the locks; a raw latch never leaves this module.  No function here
 * throws, and none but rmsync_shmem_ready and rmsync_shmem_init may be called
 * while the first says false, unless its comment allows it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_SHMEM_H
#define RMSYNC_SHMEM_H

#include "datatype/timestamp.h"

#define RMSYNC_WORKERS_PER_DB 16
#define RMSYNC_IDS_PER_WORKER 128

/* Counters of one worker, for rmsync.stat_worker; written by it alone. */
typedef struct RmsyncWorkerStat
{
	int			pid;
	Oid			dboid;
	TimestampTz started_at;
	TimestampTz last_turn_at;
	int			in_flight;
	int			lanes;
	uint64		requests;
	uint64		succeeded;
	uint64		skipped;
	uint64		retried;
	uint64		failed;
	uint64		folded;
	uint64		bytes_sent;
	uint64		bytes_received;
	uint64		errors;
	int			nids;			/* of the queue rows being worked on, as many */
	int64		ids[RMSYNC_IDS_PER_WORKER]; /* as fit */
} RmsyncWorkerStat;

/* What is known of a database. */
typedef enum RmsyncDbState
{
	RMSYNC_DB_UNKNOWN,			/* nobody has looked yet */
	RMSYNC_DB_ABSENT,			/* the extension was not there */
	RMSYNC_DB_PRESENT,			/* it was */
	RMSYNC_DB_MISMATCH,			/* it was, in a version we do not know */
	RMSYNC_DB_EXCLUDED			/* by rmsync.databases, or not connectable */
} RmsyncDbState;

/* Why a worker is started. */
typedef enum RmsyncStart
{
	RMSYNC_START_WORK,			/* work is waiting: stay a while */
	RMSYNC_START_LOOK,			/* probe or timed check: leave at once if idle */
	RMSYNC_START_HELP			/* the other workers are busy */
} RmsyncStart;

/* Why a worker left. */
typedef enum RmsyncExit
{
	RMSYNC_EXIT_ERROR,			/* anything unforeseen, termination included */
	RMSYNC_EXIT_IDLE,			/* retired */
	RMSYNC_EXIT_ABSENT,			/* the extension is not there */
	RMSYNC_EXIT_MISMATCH,		/* it is, in a version we do not know */
	RMSYNC_EXIT_STOPPED			/* was told to: DDL, settings */
} RmsyncExit;

/*
 * A worker's claim to one entry of one slot, handed over by the launcher.  The
 * generation makes sure that a late process does not take a recycled entry.
 */
typedef struct RmsyncTicket
{
	int			slot;
	int			worker;
	uint32		generation;
	Oid			dboid;
	RmsyncStart why;
} RmsyncTicket;

/* A consistent copy of a slot. */
typedef struct RmsyncDbInfo
{
	Oid			dboid;
	RmsyncDbState state;
	bool		work;			/* announced, and nobody has looked since */
	bool		restart;		/* the last worker left before it was done */
	bool		help;			/* a worker asked for another one */
	int			starting;
	int			running;
	int			leaving;
	int			exited;			/* gone, not yet reaped by the launcher */
	int			failures;		/* in a row */
	TimestampTz retry_at;		/* no start before this; 0 = now */
	TimestampTz hold_until;		/* likewise, set by DDL on the database */
	TimestampTz next_due;		/* earliest known work; 0 = none */
	TimestampTz checked_at;		/* when the last worker retired */
} RmsyncDbInfo;

extern bool rmsync_shmem_ready(void);	/* preloaded and attached? */
extern void rmsync_shmem_init(void);	/* from _PG_init while preloading */

/*
 * Called by the commit callback: cheap, never throws.  Does nothing if shared
 * memory is not ready.
 */
extern void rmsync_wake_database(Oid dboid);

/* Work counter of a database; changes when somebody committed work. */
extern uint64 rmsync_work_seq(Oid dboid);

/*
 * Worker's side.  attach publishes this process (false: not wanted any more,
 * exit at once); found and mismatch say what it found there (mismatch: true if
 * that is news); detach must be called at exit, whatever the reason.  retire
 * is called when idle: false means that work came in meanwhile, go on.
 */
extern bool rmsync_worker_attach(const RmsyncTicket *ticket);
extern void rmsync_worker_found(const RmsyncTicket *ticket);
extern bool rmsync_worker_mismatch(const RmsyncTicket *ticket);
extern bool rmsync_worker_must_stop(const RmsyncTicket *ticket);
extern void rmsync_worker_publish(const RmsyncTicket *ticket,
								  const RmsyncWorkerStat *stat);
extern void rmsync_worker_ask_help(const RmsyncTicket *ticket);
extern bool rmsync_worker_retire(const RmsyncTicket *ticket, uint64 seen_seq,
								 TimestampTz next_due);
extern void rmsync_worker_detach(const RmsyncTicket *ticket, RmsyncExit why,
								 uint64 seen_seq);

/* Launcher's side. */
extern void rmsync_launcher_attach(void);
extern void rmsync_launcher_detach(void);
extern bool rmsync_take_rescan(void);	/* somebody found no free slot */
extern void rmsync_set_starved(bool starved);	/* no background worker slot */
extern int	rmsync_slot_find(Oid dboid, bool create);	/* -1 = none */
extern bool rmsync_slot_read(int slot, RmsyncDbInfo *info);
extern void rmsync_slot_quiet(int slot, Oid dboid);
extern void rmsync_slot_set_state(int slot, Oid dboid, RmsyncDbState state);
extern bool rmsync_slot_free(int slot, Oid dboid, bool dropped);
extern bool rmsync_slot_reserve(int slot, Oid dboid, RmsyncStart why,
								RmsyncTicket *ticket);
extern bool rmsync_slot_reap(int slot, int worker, RmsyncExit *why,
							 TimestampTz *started_at);
extern bool rmsync_slot_lost(const RmsyncTicket *ticket);
extern void rmsync_slot_retry(int slot, Oid dboid, int failures,
							  TimestampTz retry_at);

/* Monitoring and DDL; these may be called when shared memory is not ready. */
extern int	rmsync_launcher_pid(void);
extern bool rmsync_starved(void);
extern bool rmsync_database_info(Oid dboid, RmsyncDbInfo *info);
extern int	rmsync_database_stats(Oid dboid, RmsyncWorkerStat *stats);

/*
 * hold keeps workers out of a database until a time and asks those in it to
 * leave; release lets them in again.  pids returns the processes of workers
 * that are there and adds to *starting those that will be.
 */
extern void rmsync_database_hold(Oid dboid, TimestampTz until);
extern void rmsync_database_release(Oid dboid);
extern int	rmsync_database_pids(Oid dboid, int *pids, int *starting);

#endif							/* RMSYNC_SHMEM_H */
