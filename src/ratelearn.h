/*-------------------------------------------------------------------------
 *
 * ratelearn.h
 *	  What a service's answers say about its limit: a pure module, the clock is
 *	  an argument.
 *
 * Downwards: a refusal although we kept the limit means that others use the
 * same credential.  The budget falls to seven eighths of what we had used in
 * the service's window, at least an eighth and at most three quarters of it,
 * and grows again by a twentieth in each window.  If we had used less than a
 * quarter, it stays: using still less would not have helped.
 *
 * Upwards: a single request beyond the limit proves nothing, as nobody knows
 * when the service's windows begin: two of them may have shared what we count
 * as one.  So when the budget was used up for a window and work still waits,
 * the next limit is tried for real.  N windows' time touches at most N + 2
 * windows of the service: as soon as more was answered than the lower limit
 * allows in so many, the higher one is proven.  The first refusal ends the
 * trial, and there is none for a day; it says when the service goes on, so
 * it costs the wait until then, and no request: the service's window was used
 * to its end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_RATELEARN_H
#define RMSYNC_RATELEARN_H

#include "ratelimit.h"

typedef struct RmsyncLearned
{
	/* what is kept; times may lie before the clock's epoch */
	int			limit;			/* what was proven or refused; 0 = nothing */
	int64		limit_us;		/* when */
	int			reduced;		/* the budget after a refusal; 0 = none */
	int64		reduced_us;

	/* what is not */
	int64		trial_us;		/* a trial has begun; 0 = there is none */
	int			answers;		/* in it */
	int			said;			/* what a configuration says; 0 = nothing */
	int64		said_us;		/* when it was last used */
} RmsyncLearned;

/*
 * How many requests may be sent in any window now.  Lanes with a limit that
 * somebody said tell it to the others of the same credential.
 */
extern int	rmsync_learned_budget(RmsyncLearned *learned,
								  const RmsyncRate *rate, int64 now_us);

/* A request must wait, and "used" were sent in the last window. */
extern void rmsync_learned_wait(RmsyncLearned *learned, const RmsyncRate *rate,
								int used, int64 now_us);

/*
 * The service has answered a request.  True if that says something new, which
 * is to be kept.
 */
extern bool rmsync_learned_answer(RmsyncLearned *learned,
								  const RmsyncRate *rate, int64 now_us);

/*
 * The service has refused a request because of the credential's own limit
 * ("own"), when "used" had been sent in its window, or for another reason.
 */
extern bool rmsync_learned_refusal(RmsyncLearned *learned,
								   const RmsyncRate *rate, bool own, int used,
								   int64 now_us);

/* Takes over what is newer; true if anything was. */
extern bool rmsync_learned_merge(RmsyncLearned *learned,
								 const RmsyncLearned *other);

#endif							/* RMSYNC_RATELEARN_H */
