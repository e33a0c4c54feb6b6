/*-------------------------------------------------------------------------
 *
 * shmem_limit.h
 *	  Rate limits that several lanes share, in whichever process they are.
 *
 * A limit is named by a key, a hash that is made from a credential and means
 * nothing outside this server's run.  Nothing needs to be created or removed.
 * Works without preloading, for this process alone.  No function throws.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_SHMEM_LIMIT_H
#define RMSYNC_SHMEM_LIMIT_H

/* How fast: as in RmsyncBucket. */
typedef struct RmsyncRate
{
	double		rate;			/* requests per second; 0 = unlimited */
	double		burst;
} RmsyncRate;

/* The key of what "text" names among things of the kind "what"; never 0. */
extern uint64 rmsync_limit_key(const char *what, const char *text);

/* Takes a request's place; returns microseconds until it may be sent. */
extern int64 rmsync_limit_reserve(uint64 key, RmsyncRate rate, int64 now_us);

/* The request was not sent. */
extern void rmsync_limit_return(uint64 key);

/* How many requests could be sent now; 0 if none. */
extern double rmsync_limit_tokens(uint64 key, RmsyncRate rate, int64 now_us);

/*
 * Nothing may be sent until a time; never shortens an earlier closing.  open
 * ends it.  closed returns the time, or 0 if nothing is closed.
 */
extern void rmsync_limit_close(uint64 key, int64 until_us, int64 now_us);
extern void rmsync_limit_open(uint64 key);
extern int64 rmsync_limit_closed(uint64 key, int64 now_us);

/* For shmem.c: the part in shared memory. */
extern Size rmsync_limit_size(void);
extern void rmsync_limit_init(void *memory, bool found);

#endif							/* RMSYNC_SHMEM_LIMIT_H */
