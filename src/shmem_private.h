/*-------------------------------------------------------------------------
 *
 * shmem_private.h
 *	  Layout of rmsync's shared memory, for shmem*.c only.
 *
 * Locks: "lock" guards which database owns which slot; it is taken when a slot
 * changes hands, before any slot's mutex.  A slot's "mutex" guards everything
 * in it for a few instructions.  "dboid" and "work_seq" may be read without.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_SHMEM_PRIVATE_H
#define RMSYNC_SHMEM_PRIVATE_H

#include "port/atomics.h"
#include "shmem.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

typedef enum RmsyncWorkerState
{
	RMSYNC_WORKER_FREE,			/* -> STARTING */
	RMSYNC_WORKER_STARTING,		/* reserved; -> RUNNING, FREE if it never came */
	RMSYNC_WORKER_RUNNING,		/* attached; -> LEAVING, EXITED */
	RMSYNC_WORKER_LEAVING,		/* retired, takes no wake-ups; -> EXITED */
	RMSYNC_WORKER_EXITED		/* detached; -> FREE when reaped */
} RmsyncWorkerState;

typedef struct RmsyncWorkerEntry
{
	RmsyncWorkerState state;
	uint32		generation;
	int			pid;			/* RUNNING and LEAVING only */
	int			procno;			/* of its PGPROC, whose latch we set */
	RmsyncExit	why;			/* EXITED only */
	RmsyncWorkerStat stat;
} RmsyncWorkerEntry;

typedef struct RmsyncSlot
{
	slock_t		mutex;
	pg_atomic_uint32 dboid;		/* InvalidOid = free */
	pg_atomic_uint64 work_seq;	/* never reset: a reused slot counts on */
	uint64		seen_seq;		/* value a worker has dealt with */
	RmsyncDbState state;
	bool		restart;
	bool		help;
	bool		quiet;			/* the launcher comes back by itself */
	int			failures;
	TimestampTz retry_at;
	TimestampTz hold_until;
	TimestampTz next_due;
	TimestampTz checked_at;
	RmsyncWorkerEntry workers[RMSYNC_WORKERS_PER_DB];
} RmsyncSlot;

typedef struct RmsyncShared
{
	LWLock	   *lock;
	slock_t		mutex;			/* guards the next five */
	int			launcher_pid;	/* 0 = none */
	int			launcher_procno;
	bool		rescan;
	bool		starved;
	int			nslots;			/* fixed */
	RmsyncSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} RmsyncShared;

extern RmsyncShared *rmsync_shared;

extern void rmsync_wake_launcher(void);
extern void rmsync_wake_procs(const int *procnos, int n);
extern int	rmsync_slot_procnos(RmsyncSlot *slot, int *procnos);
extern void rmsync_slot_copy(RmsyncSlot *slot, RmsyncDbInfo *info);

/* True, with the mutex held, if the slot still belongs to the database. */
static inline bool
rmsync_slot_lock(RmsyncSlot *slot, Oid dboid)
{
	SpinLockAcquire(&slot->mutex);
	if (pg_atomic_read_u32(&slot->dboid) == dboid)
		return true;
	SpinLockRelease(&slot->mutex);
	return false;
}

#endif							/* RMSYNC_SHMEM_PRIVATE_H */
