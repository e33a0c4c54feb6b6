/*-------------------------------------------------------------------------
 *
 * ratelimit.c
 *	  Token bucket on monotonic time.
 *
 * Called by the engine with its own clock, and by unit tests with made-up
 * times.  Pure: it must never look at a clock, sleep or allocate.
 *
 * Tokens are a double.  Refilling by rate * elapsed rounds, so a caller that
 * waits exactly as long as rmsync_bucket_wait said may find 0.9999999 of a
 * token.  One part in a million less than a token is therefore enough, and the
 * balance goes that much further below zero: nothing is given away, the
 * sum over any window stays within burst + rate * window.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "ratelimit.h"

#define ONE_TOKEN (1.0 - 1e-6)

/* Longest wait ever reported, so that sums of times cannot overflow. */
#define MAX_WAIT_US (INT64CONST(24) * 3600 * 1000000)

/* Tokens the bucket holds at a time, not before its last update. */
static double
tokens_at(const RmsyncBucket *bucket, int64 now_us)
{
	double elapsed_us = (double) (now_us - bucket->updated_us);

	if (elapsed_us <= 0)
		return bucket->tokens;
	return Min(bucket->burst,
			   bucket->tokens + bucket->rate * elapsed_us / 1000000.0);
}

/*
 * Sets a bucket up.
 *
 * "rate" in tokens per second, 0 = unlimited.  A burst below one token could
 * never let anything pass and counts as one.  "full": start with all tokens,
 * else empty as of "now_us": whoever had the bucket before may just have spent
 * them.
 */
void
rmsync_bucket_init(RmsyncBucket *bucket, double rate, double burst, bool full,
				   int64 now_us)
{
	bucket->rate = rate > 0 ? rate : 0;
	bucket->burst = burst >= 1 ? burst : 1;
	bucket->tokens = full ? bucket->burst : 0;
	bucket->updated_us = now_us;
	bucket->blocked_until_us = 0;
}

/* Tokens the bucket holds; below zero while promised ones are to come. */
double
rmsync_bucket_tokens(const RmsyncBucket *bucket, int64 now_us)
{
	return tokens_at(bucket, now_us);
}

/*
 * Takes one token, now or in the future: returns how many microseconds after
 * "now_us" the request may be sent.  Who comes later waits longer, so that
 * everybody is served in turn, whichever process asks.  A closed bucket is not
 * considered.  A time before the last one adds nothing.
 */
int64
rmsync_bucket_reserve(RmsyncBucket *bucket, int64 now_us)
{
	double us;

	if (bucket->rate == 0)
		return 0;
	bucket->tokens = tokens_at(bucket, now_us) - 1;
	bucket->updated_us = Max(bucket->updated_us, now_us);
	if (bucket->tokens >= ONE_TOKEN - 1)
		return 0;
	us = ceil(-bucket->tokens / bucket->rate * 1000000.0);
	return us < (double) MAX_WAIT_US ? (int64) us : MAX_WAIT_US;
}

/* Gives a token back that was reserved and not used. */
void
rmsync_bucket_return(RmsyncBucket *bucket)
{
	bucket->tokens = Min(bucket->burst, bucket->tokens + 1);
}

/*
 * Microseconds from "now_us" until a token could be had at once, 0 = now,
 * at most one day.
 */
int64
rmsync_bucket_wait(const RmsyncBucket *bucket, int64 now_us)
{
	int64 wait_us = 0;

	if (bucket->rate > 0)
	{
		double missing = 1.0 - tokens_at(bucket, now_us);

		if (missing > 1.0 - ONE_TOKEN)
		{
			double us = ceil(missing / bucket->rate * 1000000.0);

			wait_us = us < (double) MAX_WAIT_US ? (int64) us : MAX_WAIT_US;
		}
	}
	if (bucket->blocked_until_us > now_us)
		wait_us = Max(wait_us, bucket->blocked_until_us - now_us);
	return Min(wait_us, MAX_WAIT_US);
}

/*
 * Closes the bucket until a time (a service said Retry-After).  Of several
 * closings the longest counts.
 */
void
rmsync_bucket_block(RmsyncBucket *bucket, int64 until_us)
{
	bucket->blocked_until_us = Max(bucket->blocked_until_us, until_us);
}
