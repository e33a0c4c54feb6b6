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

#include "ratelearn.h"

/* The key of what "text" names among things of the kind "what"; never 0. */
extern uint64 rmsync_limit_key(const char *what, const char *text);

/*
 * Takes a request's place, as rmsync_window_reserve; *given is true where there
 * is no limit.  return gives the place at a time back: it was not used.
 */
extern int64 rmsync_limit_reserve(uint64 key, const RmsyncRate *rate,
								  int64 now_us, bool *given);
extern void rmsync_limit_return(uint64 key, int64 at_us);

/* How many places are left in the present window. */
extern int	rmsync_limit_room(uint64 key, const RmsyncRate *rate,
							  int64 now_us);

/* A request was answered; true if the limit is known better now. */
extern bool rmsync_limit_answered(uint64 key, const RmsyncRate *rate,
								  int64 now_us);

/*
 * A request was refused: because of this limit ("own"), in a window of the
 * service that began at "since_us", or for another reason.  Of several refusals
 * until the limit opens again the first counts.  True if the limit is known
 * better now.  Does not close it.
 */
extern bool rmsync_limit_refused(uint64 key, const RmsyncRate *rate, bool own,
								 int64 since_us, int64 now_us);

/*
 * What was learned, for the database; false if nothing.  teach takes over what
 * is newer there; nothing was ever sent for who teaches before "made_us".
 */
extern bool rmsync_limit_learned(uint64 key, RmsyncLearned *learned);
extern void rmsync_limit_teach(uint64 key, const RmsyncRate *rate,
							   const RmsyncLearned *learned, int64 made_us,
							   int64 now_us);

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
