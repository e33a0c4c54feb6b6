/*-------------------------------------------------------------------------
 *
 * retry.h
 *	  What an HTTP result means, and how long to wait: pure functions.
 *
 * The table is design.md section 8.  Targets call rmsync_classify first and
 * override what their service does differently.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_RETRY_H
#define RMSYNC_RETRY_H

#include "http.h"

typedef enum RmsyncVerdict
{
	RMSYNC_V_OK,				/* 2xx */
	RMSYNC_V_ITEM,				/* 400, 413, 422 and other 4xx: this request
								 * will never work as it is */
	RMSYNC_V_CONFLICT,			/* 409: re-read, try again a few times */
	RMSYNC_V_GONE,				/* 404, 410 */
	RMSYNC_V_AUTH,				/* 401 */
	RMSYNC_V_FORBIDDEN,			/* 403 */
	RMSYNC_V_RATE,				/* 429, 529, and 503 with Retry-After if it is
								 * repeatable (services send it after a commit,
								 * too) */
	RMSYNC_V_NETWORK,			/* nothing was written: try again later */
	RMSYNC_V_UNKNOWN			/* a write may have happened */
} RmsyncVerdict;

/* "repeatable": UNKNOWN becomes NETWORK, as sending again is harmless. */
extern RmsyncVerdict rmsync_classify(const RmsyncHttpResponse *response,
									 bool repeatable);

/*
 * Seconds-based back-off of architecture.md 9.1, min(30 * 2^attempt, 3600) s,
 * with jitter of +-20 %; "random01" in [0,1).  Returns milliseconds.
 */
extern int	rmsync_backoff_ms(int attempt, double random01);

/* Back-off of a lane or target that cannot be reached: 1 s doubling to 300 s. */
extern int	rmsync_breaker_ms(int streak, double random01);

#endif							/* RMSYNC_RETRY_H */
