/*-------------------------------------------------------------------------
 *
 * recorder.h
 *	  The flight recorder: what a worker was working on when it crashed.
 *
 * A crash of a worker restarts the whole server, and shared memory with it.
 * What survives is a small file below the data directory that the worker has
 * mapped: rmsync/<database>.<n>.inflight.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_RECORDER_H
#define RMSYNC_RECORDER_H

/* Queue rows one worker can have in its file. */
#define RMSYNC_RECORDER_ROWS 4096

/* What a crashed worker was working on. */
typedef struct RmsyncCrash
{
	int			fd;				/* locked until rmsync_recorder_forget */
	int			signo;
	bool		one_job;		/* the rows belong to a single job */
	int			n;
	int64		ids[RMSYNC_RECORDER_ROWS];	/* of rows of sync_queue */
} RmsyncCrash;

/*
 * Reads what crashed workers of a database have left; files in use are left
 * alone, and so is what workers left that were killed.  Returns a list of
 * RmsyncCrash in the current memory context.  The files stay locked until
 * they are forgotten.
 */
extern List *rmsync_recorder_collect(Oid dboid);
extern void rmsync_recorder_forget(List *crashes);

/*
 * Begins to record, for a process that exits through rmsync_recorder_close.
 * Without a file (the disk is full) work goes on unrecorded.
 */
extern void rmsync_recorder_open(Oid dboid, int worker);
extern void rmsync_recorder_close(void);

/*
 * A job's rows.  "record" is the caller's, one per job, 0 at first; leaving
 * twice is harmless.  All are no-ops in a process that does not record.
 */
extern void rmsync_recorder_enter(int *record, int64 queue_id);
extern void rmsync_recorder_leave(int *record);
extern int	rmsync_recorder_room(void);

/* The launcher: removes files of databases that are gone. */
extern void rmsync_recorder_sweep(bool (*exists) (Oid dboid));

#endif							/* RMSYNC_RECORDER_H */
