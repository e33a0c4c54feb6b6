/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  Shared memory: creation, slots, wake-ups, and what others may ask.
 *
 * The array of slots is made by the postmaster when the library is preloaded.
 * A slot belongs to a database from the moment somebody has work for it, DDL
 * wants it quiet or the launcher looks into it, until the launcher gives it
 * up.  shmem_worker.c holds what workers and the launcher do to slots.
 *
 * rmsync_wake_database runs after commit, where an error would bring the
 * server down: it allocates nothing and takes an LWLock only when a database
 * has no slot yet.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "guc.h"
#include "miscadmin.h"
#include "shmem.h"
#include "shmem_limit.h"
#include "shmem_private.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define TRANCHE_NAME "rmsync"

RmsyncShared *rmsync_shared = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static Size
shared_size(void)
{
	return add_size(offsetof(RmsyncShared, slots),
					mul_size(rmsync_max_databases, sizeof(RmsyncSlot)));
}

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(add_size(shared_size(), rmsync_limit_size()));
	RequestNamedLWLockTranche(TRANCHE_NAME, 1);
}

static void
shmem_startup(void)
{
	bool found;
	bool limits_found;
	void *limits;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	rmsync_shared = ShmemInitStruct("rmsync", shared_size(), &found);
	if (!found)
	{
		MemSet(rmsync_shared, 0, shared_size());
		rmsync_shared->lock = &GetNamedLWLockTranche(TRANCHE_NAME)->lock;
		SpinLockInit(&rmsync_shared->mutex);
		rmsync_shared->nslots = rmsync_max_databases;
		for (int i = 0; i < rmsync_shared->nslots; i++)
		{
			RmsyncSlot *slot = &rmsync_shared->slots[i];

			SpinLockInit(&slot->mutex);
			pg_atomic_init_u32(&slot->dboid, InvalidOid);
			pg_atomic_init_u64(&slot->work_seq, 0);
		}
	}
	limits = ShmemInitStruct("rmsync limits", rmsync_limit_size(), &limits_found);
	rmsync_limit_init(limits, limits_found);
	LWLockRelease(AddinShmemInitLock);
}

void
rmsync_shmem_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

bool
rmsync_shmem_ready(void)
{
	return rmsync_shared != NULL;
}

/*
 * Latches are those of PGPROC entries, which live as long as the server: at
 * worst somebody else's is set, and a needless wake-up harms nobody.
 */
void
rmsync_wake_procs(const int *procnos, int n)
{
	for (int i = 0; i < n; i++)
		SetLatch(&ProcGlobal->allProcs[procnos[i]].procLatch);
}

void
rmsync_wake_launcher(void)
{
	int pid;
	int procno;

	SpinLockAcquire(&rmsync_shared->mutex);
	pid = rmsync_shared->launcher_pid;
	procno = rmsync_shared->launcher_procno;
	SpinLockRelease(&rmsync_shared->mutex);
	if (pid != 0)
		rmsync_wake_procs(&procno, 1);
}

/* Collects the running workers' PGPROC numbers.  Caller holds the mutex. */
int
rmsync_slot_procnos(RmsyncSlot *slot, int *procnos)
{
	int n = 0;

	for (int i = 0; i < RMSYNC_WORKERS_PER_DB; i++)
	{
		if (slot->workers[i].state == RMSYNC_WORKER_RUNNING)
			procnos[n++] = slot->workers[i].procno;
	}
	return n;
}

/* Fills the copy.  Caller holds the mutex. */
void
rmsync_slot_copy(RmsyncSlot *slot, RmsyncDbInfo *info)
{
	MemSet(info, 0, sizeof(*info));
	info->dboid = pg_atomic_read_u32(&slot->dboid);
	info->state = slot->state;
	info->work = pg_atomic_read_u64(&slot->work_seq) != slot->seen_seq;
	info->restart = slot->restart;
	info->help = slot->help;
	info->failures = slot->failures;
	info->retry_at = slot->retry_at;
	info->hold_until = slot->hold_until;
	info->next_due = slot->next_due;
	info->checked_at = slot->checked_at;
	for (int i = 0; i < RMSYNC_WORKERS_PER_DB; i++)
	{
		RmsyncWorkerState state = slot->workers[i].state;

		info->starting += (state == RMSYNC_WORKER_STARTING);
		info->running += (state == RMSYNC_WORKER_RUNNING);
		info->leaving += (state == RMSYNC_WORKER_LEAVING);
		info->exited += (state == RMSYNC_WORKER_EXITED);
	}
}

/* Can another database have this slot?  Caller holds the mutex. */
static bool
slot_is_evictable(RmsyncSlot *slot, TimestampTz now)
{
	if (slot->state != RMSYNC_DB_EXCLUDED || slot->hold_until > now)
		return false;
	for (int i = 0; i < RMSYNC_WORKERS_PER_DB; i++)
	{
		if (slot->workers[i].state != RMSYNC_WORKER_FREE)
			return false;
	}
	return true;
}

/* Hands a slot to a database.  Caller holds the lock. */
static void
slot_assign(RmsyncSlot *slot, Oid dboid)
{
	SpinLockAcquire(&slot->mutex);
	slot->seen_seq = pg_atomic_read_u64(&slot->work_seq);
	slot->state = RMSYNC_DB_UNKNOWN;
	slot->restart = false;
	slot->help = false;
	slot->quiet = false;
	slot->failures = 0;
	slot->retry_at = 0;
	slot->hold_until = 0;
	slot->next_due = 0;
	slot->checked_at = 0;
	pg_atomic_write_u32(&slot->dboid, dboid);
	SpinLockRelease(&slot->mutex);
}

static int
slot_lookup(Oid dboid)
{
	static int last = 0;

	/* Nearly always a session asks for its own database again. */
	if (pg_atomic_read_u32(&rmsync_shared->slots[last].dboid) == dboid)
		return last;
	for (int i = 0; i < rmsync_shared->nslots; i++)
	{
		if (pg_atomic_read_u32(&rmsync_shared->slots[i].dboid) == dboid)
			return last = i;
	}
	return -1;
}

/* Index of a database's slot, or -1; "create" gives it one if it can. */
int
rmsync_slot_find(Oid dboid, bool create)
{
	int found = slot_lookup(dboid);
	int victim = -1;
	TimestampTz now;

	if (found >= 0 || !create)
		return found;

	now = GetCurrentTimestamp();
	LWLockAcquire(rmsync_shared->lock, LW_EXCLUSIVE);
	found = slot_lookup(dboid);
	for (int i = 0; found < 0 && i < rmsync_shared->nslots; i++)
	{
		RmsyncSlot *slot = &rmsync_shared->slots[i];

		if (pg_atomic_read_u32(&slot->dboid) == InvalidOid)
			found = i;
		else if (victim < 0)
		{
			SpinLockAcquire(&slot->mutex);
			if (slot_is_evictable(slot, now))
				victim = i;
			SpinLockRelease(&slot->mutex);
		}
	}
	if (found < 0)
		found = victim;
	if (found >= 0 &&
		pg_atomic_read_u32(&rmsync_shared->slots[found].dboid) != dboid)
		slot_assign(&rmsync_shared->slots[found], dboid);
	LWLockRelease(rmsync_shared->lock);
	return found;
}

void
rmsync_wake_database(Oid dboid)
{
	int procnos[RMSYNC_WORKERS_PER_DB];
	int n = 0;
	int found;
	bool coming = false;
	bool quiet = false;

	if (rmsync_shared == NULL)
		return;

	/* The slot may change hands between finding and locking it; try again. */
	for (int tries = 0; tries < 3; tries++)
	{
		RmsyncSlot *slot;

		found = rmsync_slot_find(dboid, true);
		if (found < 0)
			break;
		slot = &rmsync_shared->slots[found];
		if (!rmsync_slot_lock(slot, dboid))
			continue;
		pg_atomic_fetch_add_u64(&slot->work_seq, 1);
		n = rmsync_slot_procnos(slot, procnos);
		for (int i = 0; n == 0 && i < RMSYNC_WORKERS_PER_DB; i++)
			coming |= slot->workers[i].state == RMSYNC_WORKER_STARTING;
		quiet = slot->quiet;
		SpinLockRelease(&slot->mutex);

		/* A starting worker reads the counter when it attaches. */
		rmsync_wake_procs(procnos, n);
		if (n == 0 && !coming && !quiet)
			rmsync_wake_launcher();
		return;
	}

	SpinLockAcquire(&rmsync_shared->mutex);
	rmsync_shared->rescan = true;
	SpinLockRelease(&rmsync_shared->mutex);
	rmsync_wake_launcher();
}

uint64
rmsync_work_seq(Oid dboid)
{
	int found = rmsync_slot_find(dboid, false);

	if (found < 0)
		return 0;
	return pg_atomic_read_u64(&rmsync_shared->slots[found].work_seq);
}

int
rmsync_launcher_pid(void)
{
	int pid;

	if (rmsync_shared == NULL)
		return 0;
	SpinLockAcquire(&rmsync_shared->mutex);
	pid = rmsync_shared->launcher_pid;
	SpinLockRelease(&rmsync_shared->mutex);
	return pid;
}

bool
rmsync_starved(void)
{
	bool starved;

	if (rmsync_shared == NULL)
		return false;
	SpinLockAcquire(&rmsync_shared->mutex);
	starved = rmsync_shared->starved;
	SpinLockRelease(&rmsync_shared->mutex);
	return starved;
}

/* The database's slot with its mutex held, or NULL. */
static RmsyncSlot *
lock_database(Oid dboid, bool create)
{
	RmsyncSlot *slot;
	int found;

	if (rmsync_shared == NULL)
		return NULL;
	found = rmsync_slot_find(dboid, create);
	if (found < 0)
		return NULL;
	slot = &rmsync_shared->slots[found];
	return rmsync_slot_lock(slot, dboid) ? slot : NULL;
}

bool
rmsync_database_info(Oid dboid, RmsyncDbInfo *info)
{
	RmsyncSlot *slot = lock_database(dboid, false);

	if (slot == NULL)
		return false;
	rmsync_slot_copy(slot, info);
	SpinLockRelease(&slot->mutex);
	return true;
}

/* Copies the statistics of a database's workers; returns how many. */
int
rmsync_database_stats(Oid dboid, RmsyncWorkerStat *stats)
{
	RmsyncSlot *slot = lock_database(dboid, false);
	int n = 0;

	if (slot == NULL)
		return 0;
	for (int i = 0; i < RMSYNC_WORKERS_PER_DB; i++)
	{
		if (slot->workers[i].state == RMSYNC_WORKER_RUNNING)
			stats[n++] = slot->workers[i].stat;
	}
	SpinLockRelease(&slot->mutex);
	return n;
}

void
rmsync_database_hold(Oid dboid, TimestampTz until)
{
	RmsyncSlot *slot = lock_database(dboid, true);
	int procnos[RMSYNC_WORKERS_PER_DB];
	int n;

	/* Without a slot no worker is there, and none can be started. */
	if (slot == NULL)
		return;
	slot->hold_until = until;
	n = rmsync_slot_procnos(slot, procnos);
	SpinLockRelease(&slot->mutex);
	rmsync_wake_procs(procnos, n);
}

void
rmsync_database_release(Oid dboid)
{
	RmsyncSlot *slot = lock_database(dboid, false);

	if (slot == NULL)
		return;
	slot->hold_until = 0;
	SpinLockRelease(&slot->mutex);
	rmsync_wake_launcher();
}

int
rmsync_database_pids(Oid dboid, int *pids, int *starting)
{
	RmsyncSlot *slot = lock_database(dboid, false);
	int n = 0;

	*starting = 0;
	if (slot == NULL)
		return 0;
	for (int i = 0; i < RMSYNC_WORKERS_PER_DB; i++)
	{
		RmsyncWorkerEntry *worker = &slot->workers[i];

		if (worker->state == RMSYNC_WORKER_STARTING)
			(*starting)++;
		else if (worker->state == RMSYNC_WORKER_RUNNING ||
				 worker->state == RMSYNC_WORKER_LEAVING)
			pids[n++] = worker->pid;
	}
	SpinLockRelease(&slot->mutex);
	return n;
}
