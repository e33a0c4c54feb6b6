/*-------------------------------------------------------------------------
 *
 * ratelimit.h
 *	  Token bucket on monotonic time: a pure module, the clock is an argument.
 *
 * A bucket holds up to "burst" tokens and gains "rate" a second, so in any
 * window of W seconds at most burst + rate * W requests pass: with burst 12
 * and rate 2.7 that is 174 in 60 s, inside Notion's 180.  Tokens are handed out
 * in turn: one that is not there yet can be reserved, and has its time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_RATELIMIT_H
#define RMSYNC_RATELIMIT_H

typedef struct RmsyncBucket
{
	double		rate;			/* tokens per second; 0 = unlimited */
	double		burst;
	double		tokens;
	int64		updated_us;		/* monotonic microseconds */
	int64		blocked_until_us;	/* no token before this; 0 = not blocked */
} RmsyncBucket;

/* "full": start with all tokens, else empty (after a restart). */
extern void rmsync_bucket_init(RmsyncBucket *bucket, double rate, double burst,
							   bool full, int64 now_us);

/* Takes a token, there or to come; returns microseconds until its time. */
extern int64 rmsync_bucket_reserve(RmsyncBucket *bucket, int64 now_us);

/* A reserved token was not used. */
extern void rmsync_bucket_return(RmsyncBucket *bucket);

/* Tokens that are there; negative if some are promised. */
extern double rmsync_bucket_tokens(const RmsyncBucket *bucket, int64 now_us);

/* Microseconds until a token is there and the bucket open; 0 = now. */
extern int64 rmsync_bucket_wait(const RmsyncBucket *bucket, int64 now_us);

/* Closes the bucket until a time; never shortens an earlier closing. */
extern void rmsync_bucket_block(RmsyncBucket *bucket, int64 until_us);

#endif							/* RMSYNC_RATELIMIT_H */
