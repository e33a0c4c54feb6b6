/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  Shared memory: one slot per database with its workers' state.
 *
 * Plain data only: no pointer into a process, nothing of libcurl.  Accessors
 * take the locks; a raw latch never leaves this module.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_SHMEM_H
#define RMSYNC_SHMEM_H

#include "datatype/timestamp.h"

#define RMSYNC_WORKERS_PER_DB 16

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
} RmsyncWorkerStat;

extern bool rmsync_shmem_ready(void);	/* preloaded and attached? */
extern void rmsync_shmem_init(void);	/* from _PG_init while preloading */

/* Called by the commit callback: cheap, never throws. */
extern void rmsync_wake_database(Oid dboid);

/* Work counter of a database; changes when somebody committed work. */
extern uint64 rmsync_work_seq(Oid dboid);

#endif							/* RMSYNC_SHMEM_H */
