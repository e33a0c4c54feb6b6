/*-------------------------------------------------------------------------
 *
 * recorder.c
 *	  The flight recorder: what a worker was working on when it crashed.
 *
 * The engine enters a queue row when a job with it is loaded or started and
 * takes it out when the job's outcome is recorded: stores into a mapped file,
 * no system call.  The page cache keeps the file when the process dies, so
 * nothing is ever flushed; after a crash of the machine there is nobody to
 * blame.  An entry is a row and the job it belongs to, 0 if it is free: at
 * whatever instruction the process dies, each entry is either there or not.
 *
 * Only a fault of our own counts: the handler of the signals a bug ends in
 * marks the file.  kill -9, immediate shutdown and the death of another
 * process leave it unmarked.  SIGFPE is not among the signals, PostgreSQL
 * turns it into an ordinary error.  The handler touches the mapping and
 * nothing else, on a stack of its own: what overflows the stack, deep
 * recursion in a parser, is the likeliest fault.
 *
 * A process holds a lock on its file as long as it lives.  Nobody but the
 * launcher ever unlinks one, and it only those of dropped databases: a file
 * unlinked by a worker might be the one another has just opened.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/fd.h"

#include "recorder.h"

#define RECORDER_DIR "rmsync"
#define RECORDER_MAGIC 0x726d7301 /* "rms", layout 1 */

/* A predecessor of the same number may still be on its way out. */
#define RECORDER_TRIES 8
#define RECORDER_STEP 16

#define FAULT_STACK_SIZE 65536

typedef struct RecorderEntry
{
	int64 queue_id; /* 0 = free; stored last, cleared first */
	int64 job;		/* the same for all rows of a job */
} RecorderEntry;

typedef struct RecorderFile
{
	uint32 magic;
	volatile sig_atomic_t faulted; /* signal number */
	volatile RecorderEntry entries[RMSYNC_RECORDER_ROWS];
} RecorderFile;

static RecorderFile *volatile recorder = NULL; /* NULL = not recording */
static int recorder_fd = -1;

/* Free entries, and those of each job, chained; 0 ends a chain. */
static int next_entry[RMSYNC_RECORDER_ROWS + 1];
static int first_free;
static int nfree;

static char fault_stack[FAULT_STACK_SIZE];

/* ---- the handler: async-signal-safe code only ---- */

/*
 * abort() counts if we called it, for a failed assertion or a corrupt heap;
 * not if the postmaster sent the signal, and not if it is the end of a PANIC:
 * WAL that cannot be written is no item's fault.
 */
static bool
is_own_fault(int signo, const siginfo_t *info)
{
	return signo != SIGABRT ||
		   (info->si_pid == MyProcPid && CritSectionCount == 0);
}

/* SA_RESETHAND has restored the default action, which raise() now brings. */
static void
on_fault(int signo, siginfo_t *info, void *context)
{
	RecorderFile *file = recorder;

	if (file != NULL && is_own_fault(signo, info))
		file->faulted = signo;
	raise(signo);
}

static void
catch_faults(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGABRT };
	struct sigaction action;
	stack_t stack;

	memset(&stack, 0, sizeof(stack));
	stack.ss_sp = fault_stack;
	stack.ss_size = sizeof(fault_stack);
	(void) sigaltstack(&stack, NULL);

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = on_fault;
	action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND | SA_NODEFER;
	sigemptyset(&action.sa_mask);
	for (int i = 0; i < lengthof(signals); i++)
		(void) sigaction(signals[i], &action, NULL);
}

/* ---- files ---- */

static void
file_path(char *path, Oid dboid, int n)
{
	snprintf(path, MAXPGPATH, "%s/%u.%d.inflight", RECORDER_DIR, dboid, n);
}

/* Is this the name of one of our files, and of which database? */
static bool
parse_name(const char *name, Oid *dboid)
{
	char *end;
	unsigned long value;

	if (*name < '1' || *name > '9')
		return false;
	value = strtoul(name, &end, 10);
	if (*end != '.' || value > PG_UINT32_MAX)
		return false;
	*dboid = (Oid) value;
	end += 1 + strspn(end + 1, "0123456789");
	return strcmp(end, ".inflight") == 0;
}

/* Opens and locks a file; -1 if that is not possible. */
static int
open_locked(const char *path, int flags)
{
	int fd = BasicOpenFile(path, flags | PG_BINARY);

	if (fd < 0)
	{
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not open file \"%s\": %m", path)));
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
	{
		close(fd);
		return -1;
	}
	return fd;
}

static void
read_entries(const RecorderFile *file, RmsyncCrash *crash)
{
	int64 job = 0;

	crash->one_job = true;
	for (int i = 0; i < RMSYNC_RECORDER_ROWS; i++)
	{
		if (file->entries[i].queue_id == 0)
			continue;
		if (crash->n > 0 && file->entries[i].job != job)
			crash->one_job = false;
		job = file->entries[i].job;
		crash->ids[crash->n++] = file->entries[i].queue_id;
	}
}

/* NULL if nothing is to be learned from a file. */
static RmsyncCrash *
read_file(const char *path)
{
	RecorderFile *file = palloc(sizeof(RecorderFile));
	RmsyncCrash *crash = NULL;
	int fd = open_locked(path, O_RDWR);

	if (fd < 0)
		return NULL;
	if (read(fd, file, sizeof(RecorderFile)) == sizeof(RecorderFile) &&
		file->magic == RECORDER_MAGIC && file->faulted != 0)
	{
		crash = palloc0(sizeof(RmsyncCrash));
		crash->fd = fd;
		crash->signo = file->faulted;
		read_entries(file, crash);
	}
	else
		close(fd);
	pfree(file);
	return crash;
}

List *
rmsync_recorder_collect(Oid dboid)
{
	List *crashes = NIL;
	DIR *dir = AllocateDir(RECORDER_DIR);
	struct dirent *de;

	if (dir == NULL && errno == ENOENT)
		return NIL; /* nobody has recorded anything yet */
	while ((de = ReadDirExtended(dir, RECORDER_DIR, LOG)) != NULL)
	{
		char path[MAXPGPATH];
		RmsyncCrash *crash;
		Oid owner;

		if (!parse_name(de->d_name, &owner) || owner != dboid)
			continue;
		snprintf(path, sizeof(path), "%s/%s", RECORDER_DIR, de->d_name);
		crash = read_file(path);
		if (crash != NULL)
			crashes = lappend(crashes, crash);
	}
	FreeDir(dir);
	return crashes;
}

void
rmsync_recorder_forget(List *crashes)
{
	ListCell *lc;

	foreach (lc, crashes)
	{
		RmsyncCrash *crash = lfirst(lc);

		if (ftruncate(crash->fd, 0) != 0)
			ereport(LOG, (errcode_for_file_access(),
						  errmsg("could not truncate a file in \"%s\": %m",
								 RECORDER_DIR)));
		close(crash->fd);
	}
}

void
rmsync_recorder_sweep(bool (*exists)(Oid dboid))
{
	DIR *dir = AllocateDir(RECORDER_DIR);
	struct dirent *de;

	if (dir == NULL && errno == ENOENT)
		return;
	while ((de = ReadDirExtended(dir, RECORDER_DIR, LOG)) != NULL)
	{
		char path[MAXPGPATH];
		Oid owner;

		if (!parse_name(de->d_name, &owner) || exists(owner))
			continue;
		snprintf(path, sizeof(path), "%s/%s", RECORDER_DIR, de->d_name);
		if (unlink(path) != 0 && errno != ENOENT)
			ereport(LOG, (errcode_for_file_access(),
						  errmsg("could not remove file \"%s\": %m", path)));
	}
	FreeDir(dir);
}

/*
 * Makes the file as large as it will be, with blocks: a store into a hole
 * would be a SIGBUS when the disk is full.
 */
static bool
fill_file(int fd)
{
	RecorderFile *file = palloc0(sizeof(RecorderFile));
	bool ok;

	file->magic = RECORDER_MAGIC;
	errno = 0;
	ok = ftruncate(fd, 0) == 0 &&
		 write(fd, file, sizeof(RecorderFile)) == sizeof(RecorderFile);
	if (!ok && errno == 0)
		errno = ENOSPC;
	pfree(file);
	return ok;
}

static void
map_file(int fd, const char *path)
{
	void *map = MAP_FAILED;

	if (fill_file(fd))
		map = mmap(NULL, sizeof(RecorderFile), PROT_READ | PROT_WRITE,
				   MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not prepare file \"%s\": %m", path),
				 errdetail(
					 "An item that crashes this worker will not be found out.")));
		close(fd);
		return;
	}
	ReserveExternalFD();
	recorder_fd = fd;
	for (int i = 0; i < RMSYNC_RECORDER_ROWS; i++)
		next_entry[i] = i + 1;
	next_entry[RMSYNC_RECORDER_ROWS] = 0;
	first_free = 1;
	nfree = RMSYNC_RECORDER_ROWS;
	recorder = map;
	catch_faults();
}

void
rmsync_recorder_open(Oid dboid, int worker)
{
	Assert(recorder == NULL);

	if (MakePGDirectory(RECORDER_DIR) != 0 && errno != EEXIST)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", RECORDER_DIR)));
		return;
	}
	for (int i = 0; i < RECORDER_TRIES; i++)
	{
		char path[MAXPGPATH];
		int fd;

		file_path(path, dboid, worker + i * RECORDER_STEP);
		fd = open_locked(path, O_RDWR | O_CREAT);
		if (fd < 0)
			continue;
		map_file(fd, path);
		return;
	}
}

/* At exit.  Whatever happens from here on is no item's fault. */
void
rmsync_recorder_close(void)
{
	RecorderFile *file = recorder;

	if (file == NULL)
		return;
	recorder = NULL;
	(void) munmap(file, sizeof(RecorderFile));
	if (ftruncate(recorder_fd, 0) != 0)
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not truncate a file in \"%s\": %m",
							 RECORDER_DIR)));
	close(recorder_fd);
	ReleaseExternalFD();
	recorder_fd = -1;
}

/* ---- entries ---- */

int
rmsync_recorder_room(void)
{
	return recorder != NULL ? nfree : RMSYNC_RECORDER_ROWS;
}

/* What does not fit is not recorded. */
void
rmsync_recorder_enter(int *record, int64 queue_id)
{
	int n = first_free;

	if (recorder == NULL || n == 0)
		return;
	first_free = next_entry[n];
	nfree--;
	recorder->entries[n - 1].job =
		*record != 0 ? recorder->entries[*record - 1].job : n;
	recorder->entries[n - 1].queue_id = queue_id;
	next_entry[n] = *record;
	*record = n;
}

void
rmsync_recorder_leave(int *record)
{
	int n = *record;

	*record = 0;
	while (recorder != NULL && n != 0)
	{
		int next = next_entry[n];

		recorder->entries[n - 1].queue_id = 0;
		next_entry[n] = first_free;
		first_free = n;
		nfree++;
		n = next;
	}
}
