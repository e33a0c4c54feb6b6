/*-------------------------------------------------------------------------
 *
 * shmem_worker.c
 *	  What workers and the launcher do to the slots in shared memory.
 *
 * The launcher reserves an entry and hands its ticket to a new process; the
 * worker attaches, works, and detaches at exit; the launcher reaps the entry.
 * Nothing here is lost if the launcher restarts meanwhile: all it needs to
 * carry on is in the slots.
 *
 * The idle exit must not lose a wake-up: a committer counts work_seq up and
 * then looks for running workers, both under the mutex; a retiring worker
 * stops being one of them and compares work_seq, also under the mutex.  So
 * either the worker sees the new count or the committer wakes the launcher.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "shmem.h"
#include "shmem_private.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

static inline int
my_procno(void)
{
	return (int) (MyProc - ProcGlobal->allProcs);
}

/*
 * The ticket's entry with its slot's mutex held, or NULL if the ticket is out
 * of date.
 */
static RmsyncWorkerEntry *
lock_entry(const RmsyncTicket *ticket, RmsyncSlot **slot)
{
	RmsyncWorkerEntry *worker;

	*slot = &rmsync_shared->slots[ticket->slot];
	if (!rmsync_slot_lock(*slot, ticket->dboid))
		return NULL;
	worker = &(*slot)->workers[ticket->worker];
	if (worker->generation == ticket->generation)
		return worker;
	SpinLockRelease(&(*slot)->mutex);
	return NULL;
}

/* Workers in a slot that will see new work.  Caller holds the mutex. */
static int
live_workers(RmsyncSlot *slot)
{
	int n = 0;

	for (int i = 0; i < RMSYNC_WORKERS_PER_DB; i++)
	{
		if (slot->workers[i].state == RMSYNC_WORKER_STARTING ||
			slot->workers[i].state == RMSYNC_WORKER_RUNNING)
			n++;
	}
	return n;
}

bool
rmsync_worker_attach(const RmsyncTicket *ticket)
{
	RmsyncSlot *slot;
	RmsyncWorkerEntry *worker;
	TimestampTz now = GetCurrentTimestamp();
	bool wanted;

	worker = lock_entry(ticket, &slot);
	if (worker == NULL)
		return false;
	Assert(worker->state == RMSYNC_WORKER_STARTING);
	wanted = slot->hold_until <= now && slot->state != RMSYNC_DB_EXCLUDED;
	if (wanted)
	{
		worker->pid = MyProcPid;
		worker->procno = my_procno();
		worker->state = RMSYNC_WORKER_RUNNING;
		MemSet(&worker->stat, 0, sizeof(worker->stat));
		worker->stat.pid = MyProcPid;
		worker->stat.dboid = ticket->dboid;
		worker->stat.started_at = now;
	}
	else
	{
		worker->stat.started_at = now;
		worker->why = RMSYNC_EXIT_STOPPED;
		worker->state = RMSYNC_WORKER_EXITED;
		slot->restart = true;
	}
	SpinLockRelease(&slot->mutex);
	if (!wanted)
		rmsync_wake_launcher();
	return wanted;
}

/* The extension is there. */
void
rmsync_worker_found(const RmsyncTicket *ticket)
{
	RmsyncSlot *slot;
	bool news = false;

	if (lock_entry(ticket, &slot) == NULL)
		return;
	if (slot->state == RMSYNC_DB_UNKNOWN || slot->state == RMSYNC_DB_ABSENT ||
		slot->state == RMSYNC_DB_MISMATCH)
	{
		slot->state = RMSYNC_DB_PRESENT;
		news = true;
	}
	SpinLockRelease(&slot->mutex);

	/* It may be waiting to look into the next database. */
	if (news)
		rmsync_wake_launcher();
}

/* The extension's version is not ours.  True if that was not known. */
bool
rmsync_worker_mismatch(const RmsyncTicket *ticket)
{
	RmsyncSlot *slot;
	TimestampTz now = GetCurrentTimestamp();
	bool news;

	if (lock_entry(ticket, &slot) == NULL)
		return false;
	news = slot->state != RMSYNC_DB_MISMATCH;
	if (slot->state != RMSYNC_DB_EXCLUDED)
		slot->state = RMSYNC_DB_MISMATCH;
	slot->checked_at = now;
	SpinLockRelease(&slot->mutex);
	return news;
}

bool
rmsync_worker_must_stop(const RmsyncTicket *ticket)
{
	RmsyncSlot *slot;
	TimestampTz hold_until;
	bool excluded;

	if (lock_entry(ticket, &slot) == NULL)
		return true;
	hold_until = slot->hold_until;
	excluded = slot->state == RMSYNC_DB_EXCLUDED;
	SpinLockRelease(&slot->mutex);
	return excluded || (hold_until != 0 && hold_until > GetCurrentTimestamp());
}

/* "stat" is copied but for pid, dboid and started_at. */
void
rmsync_worker_publish(const RmsyncTicket *ticket, const RmsyncWorkerStat *stat)
{
	RmsyncSlot *slot;
	RmsyncWorkerEntry *worker = lock_entry(ticket, &slot);
	TimestampTz started_at;

	if (worker == NULL)
		return;
	started_at = worker->stat.started_at;
	worker->stat = *stat;
	worker->stat.pid = worker->pid;
	worker->stat.dboid = ticket->dboid;
	worker->stat.started_at = started_at;
	SpinLockRelease(&slot->mutex);
}

void
rmsync_worker_ask_help(const RmsyncTicket *ticket)
{
	RmsyncSlot *slot;

	if (lock_entry(ticket, &slot) == NULL)
		return;
	slot->help = true;
	SpinLockRelease(&slot->mutex);
	rmsync_wake_launcher();
}

bool
rmsync_worker_retire(const RmsyncTicket *ticket, uint64 seen_seq,
					 TimestampTz next_due)
{
	RmsyncSlot *slot;
	RmsyncWorkerEntry *worker;
	TimestampTz now = GetCurrentTimestamp();
	int procnos[RMSYNC_WORKERS_PER_DB];
	int n = 0;
	bool retired = true;

	worker = lock_entry(ticket, &slot);
	if (worker == NULL)
		return true;
	worker->state = RMSYNC_WORKER_LEAVING;
	if (live_workers(slot) > 0)
	{
		/* What was ours to do is now theirs. */
		n = rmsync_slot_procnos(slot, procnos);
	}
	else if (pg_atomic_read_u64(&slot->work_seq) == seen_seq)
	{
		slot->seen_seq = seen_seq;
		slot->next_due = next_due;
		slot->checked_at = now;
		slot->restart = false;
	}
	else
	{
		worker->state = RMSYNC_WORKER_RUNNING;
		retired = false;
	}
	SpinLockRelease(&slot->mutex);
	rmsync_wake_procs(procnos, n);
	return retired;
}

void
rmsync_worker_detach(const RmsyncTicket *ticket, RmsyncExit why, uint64 seen_seq)
{
	RmsyncSlot *slot;
	RmsyncWorkerEntry *worker = lock_entry(ticket, &slot);

	if (worker == NULL)
		return;
	worker->pid = 0;
	worker->why = why;
	worker->state = RMSYNC_WORKER_EXITED;
	switch (why)
	{
		case RMSYNC_EXIT_IDLE:
			break;
		case RMSYNC_EXIT_ABSENT:

			/*
			 * If CREATE EXTENSION has committed since we looked, work_seq is
			 * past seen_seq and the launcher sends somebody again.
			 */
			if (slot->state != RMSYNC_DB_EXCLUDED)
				slot->state = RMSYNC_DB_ABSENT;
			slot->seen_seq = seen_seq;
			slot->restart = false;
			slot->next_due = 0;
			break;
		case RMSYNC_EXIT_MISMATCH:
			slot->restart = false;
			slot->next_due = 0;
			break;
		case RMSYNC_EXIT_ERROR:
		case RMSYNC_EXIT_STOPPED:
			slot->restart = true;
			break;
	}
	SpinLockRelease(&slot->mutex);
	rmsync_wake_launcher();
}

/*
 * Takes over.  Entries that a former launcher reserved and whose process has
 * not come yet are given up: it no longer fits when it does.
 */
void
rmsync_launcher_attach(void)
{
	SpinLockAcquire(&rmsync_shared->mutex);
	rmsync_shared->launcher_pid = MyProcPid;
	rmsync_shared->launcher_procno = my_procno();
	rmsync_shared->starved = false;
	SpinLockRelease(&rmsync_shared->mutex);

	for (int i = 0; i < rmsync_shared->nslots; i++)
	{
		RmsyncSlot *slot = &rmsync_shared->slots[i];

		SpinLockAcquire(&slot->mutex);
		for (int j = 0; j < RMSYNC_WORKERS_PER_DB; j++)
		{
			RmsyncWorkerEntry *worker = &slot->workers[j];

			if (worker->state == RMSYNC_WORKER_STARTING)
			{
				worker->state = RMSYNC_WORKER_FREE;
				worker->generation++;
				slot->restart = true;
			}
		}
		SpinLockRelease(&slot->mutex);
	}
}

void
rmsync_launcher_detach(void)
{
	SpinLockAcquire(&rmsync_shared->mutex);
	if (rmsync_shared->launcher_pid == MyProcPid)
		rmsync_shared->launcher_pid = 0;
	SpinLockRelease(&rmsync_shared->mutex);
}

bool
rmsync_take_rescan(void)
{
	bool rescan;

	SpinLockAcquire(&rmsync_shared->mutex);
	rescan = rmsync_shared->rescan;
	rmsync_shared->rescan = false;
	SpinLockRelease(&rmsync_shared->mutex);
	return rescan;
}

void
rmsync_set_starved(bool starved)
{
	SpinLockAcquire(&rmsync_shared->mutex);
	rmsync_shared->starved = starved;
	SpinLockRelease(&rmsync_shared->mutex);
}

/*
 * Copies a slot; false if it is free.  From here on committers wake the
 * launcher again, until it calls rmsync_slot_quiet: in this order no work can
 * fall between the copy and the decision made from it.
 */
bool
rmsync_slot_read(int slotno, RmsyncDbInfo *info)
{
	RmsyncSlot *slot = &rmsync_shared->slots[slotno];

	if (slotno >= rmsync_shared->nslots ||
		pg_atomic_read_u32(&slot->dboid) == InvalidOid)
		return false;
	SpinLockAcquire(&slot->mutex);
	slot->quiet = false;
	rmsync_slot_copy(slot, info);
	SpinLockRelease(&slot->mutex);
	return OidIsValid(info->dboid);
}

/* The launcher will look at this slot by itself, a wake-up changes nothing. */
void
rmsync_slot_quiet(int slotno, Oid dboid)
{
	RmsyncSlot *slot = &rmsync_shared->slots[slotno];

	if (!rmsync_slot_lock(slot, dboid))
		return;
	slot->quiet = true;
	SpinLockRelease(&slot->mutex);
}

/* Running workers are told: being excluded means to leave. */
void
rmsync_slot_set_state(int slotno, Oid dboid, RmsyncDbState state)
{
	RmsyncSlot *slot = &rmsync_shared->slots[slotno];
	int procnos[RMSYNC_WORKERS_PER_DB];
	int n;

	if (!rmsync_slot_lock(slot, dboid))
		return;
	slot->state = state;
	n = rmsync_slot_procnos(slot, procnos);
	SpinLockRelease(&slot->mutex);
	rmsync_wake_procs(procnos, n);
}

/*
 * Gives up a slot unless somebody uses it, holds it or has announced work; of
 * a dropped database only workers count.
 */
bool
rmsync_slot_free(int slotno, Oid dboid, bool dropped)
{
	RmsyncSlot *slot = &rmsync_shared->slots[slotno];
	TimestampTz now = GetCurrentTimestamp();
	bool idle = false;

	LWLockAcquire(rmsync_shared->lock, LW_EXCLUSIVE);
	if (rmsync_slot_lock(slot, dboid))
	{
		idle = dropped || (slot->hold_until <= now &&
						   pg_atomic_read_u64(&slot->work_seq) == slot->seen_seq);
		for (int i = 0; i < RMSYNC_WORKERS_PER_DB; i++)
			idle = idle && slot->workers[i].state == RMSYNC_WORKER_FREE;
		if (idle)
			pg_atomic_write_u32(&slot->dboid, InvalidOid);
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(rmsync_shared->lock);
	return idle;
}

/* Reserves an entry for a new worker; false if there is none or it may not. */
bool
rmsync_slot_reserve(int slotno, Oid dboid, RmsyncStart why, RmsyncTicket *ticket)
{
	RmsyncSlot *slot = &rmsync_shared->slots[slotno];
	TimestampTz now = GetCurrentTimestamp();
	bool reserved = false;

	if (!rmsync_slot_lock(slot, dboid))
		return false;
	for (int i = 0; slot->hold_until <= now && i < RMSYNC_WORKERS_PER_DB; i++)
	{
		RmsyncWorkerEntry *worker = &slot->workers[i];

		if (worker->state != RMSYNC_WORKER_FREE)
			continue;
		worker->state = RMSYNC_WORKER_STARTING;
		worker->generation++;
		ticket->slot = slotno;
		ticket->worker = i;
		ticket->generation = worker->generation;
		ticket->dboid = dboid;
		ticket->why = why;
		slot->help = false;
		slot->restart = false;
		reserved = true;
		break;
	}
	SpinLockRelease(&slot->mutex);
	return reserved;
}

/* If the worker of an entry has left, frees the entry and says why it left. */
bool
rmsync_slot_reap(int slotno, int workerno, RmsyncExit *why,
				 TimestampTz *started_at)
{
	RmsyncSlot *slot = &rmsync_shared->slots[slotno];
	RmsyncWorkerEntry *worker = &slot->workers[workerno];
	bool exited;

	SpinLockAcquire(&slot->mutex);
	exited = worker->state == RMSYNC_WORKER_EXITED;
	if (exited)
	{
		*why = worker->why;
		*started_at = worker->stat.started_at;
		worker->state = RMSYNC_WORKER_FREE;
	}
	SpinLockRelease(&slot->mutex);
	return exited;
}

/*
 * The process of a ticket has ended (or was never started).  True if it had
 * not detached: then the entry is freed and its work is to be done again.
 */
bool
rmsync_slot_lost(const RmsyncTicket *ticket)
{
	RmsyncSlot *slot;
	RmsyncWorkerEntry *worker = lock_entry(ticket, &slot);
	bool lost;

	if (worker == NULL)
		return false;
	lost = worker->state != RMSYNC_WORKER_FREE &&
		   worker->state != RMSYNC_WORKER_EXITED;
	if (lost)
	{
		worker->state = RMSYNC_WORKER_FREE;
		worker->pid = 0;
		slot->restart = true;
	}
	SpinLockRelease(&slot->mutex);
	return lost;
}

void
rmsync_slot_retry(int slotno, Oid dboid, int failures, TimestampTz retry_at)
{
	RmsyncSlot *slot = &rmsync_shared->slots[slotno];

	if (!rmsync_slot_lock(slot, dboid))
		return;
	slot->failures = failures;
	slot->retry_at = retry_at;
	SpinLockRelease(&slot->mutex);
}
