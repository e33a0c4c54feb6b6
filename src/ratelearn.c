/*-------------------------------------------------------------------------
 *
 * ratelearn.c
 *	  What a service's answers say about its limit.
 *
 * Called by shmem_limit.c under a spinlock, and by unit tests.  Pure: it must
 * never look at a clock or allocate.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ratelearn.h"

/* After a refusal the higher limit is not tried for this long. */
#define NO_TRIAL_US (INT64CONST(24) * 3600 * 1000000)

/* A trial that proves nothing ends after so many windows. */
#define TRIAL_WINDOWS 10

/* Answers that may belong to requests from before the trial. */
#define TRIAL_SLACK 20

/* Two times that went through a database and back are the same. */
#define SAME_US 1000000

static bool
on_trial(const RmsyncLearned *learned, const RmsyncRate *rate, int64 now_us)
{
	return learned->trial_us != 0 &&
		   now_us - learned->trial_us < TRIAL_WINDOWS * rate->window_us;
}

/* The limit that holds, and its budget without what refusals took. */
static int
full_budget(RmsyncLearned *learned, const RmsyncRate *rate, int64 now_us)
{
	int limit = rate->limit;

	if (rate->higher <= rate->limit)
	{
		learned->said = rate->limit;
		learned->said_us = now_us;
	}
	else if (learned->said > 0 && now_us - learned->said_us < rate->window_us)
		limit = learned->said;
	else if (learned->limit >= rate->higher || on_trial(learned, rate, now_us))
		limit = rate->higher;
	return rmsync_rate_budget(rate, limit);
}

int
rmsync_learned_budget(RmsyncLearned *learned, const RmsyncRate *rate, int64 now_us)
{
	int full = full_budget(learned, rate, now_us);
	int64 windows;

	if (learned->reduced == 0)
		return full;
	windows = Max(now_us - learned->reduced_us, 0) / rate->window_us;
	return (int) Min(learned->reduced + windows * Max(full / 20, 1),
					 (int64) full);
}

void
rmsync_learned_wait(RmsyncLearned *learned, const RmsyncRate *rate, int used,
					int64 now_us)
{
	int budget;

	if (rate->higher <= rate->limit || learned->limit >= rate->higher ||
		on_trial(learned, rate, now_us))
		return;
	if (learned->limit > 0 && now_us - learned->limit_us < NO_TRIAL_US)
		return;
	budget = rmsync_rate_budget(rate, rate->limit);
	if (rmsync_learned_budget(learned, rate, now_us) != budget ||
		used < budget - budget / 10)
		return;
	learned->trial_us = now_us;
	learned->answers = 0;
}

bool
rmsync_learned_answer(RmsyncLearned *learned, const RmsyncRate *rate, int64 now_us)
{
	int64 windows;

	if (rate->higher <= rate->limit || !on_trial(learned, rate, now_us))
		return false;
	windows = (now_us - learned->trial_us) / rate->window_us + 2;
	if (++learned->answers <= rate->limit * windows + TRIAL_SLACK)
		return false;
	learned->trial_us = 0;
	learned->limit = rate->higher;
	learned->limit_us = now_us;
	learned->reduced = 0;
	learned->reduced_us = now_us;
	return true;
}

bool
rmsync_learned_refusal(RmsyncLearned *learned, const RmsyncRate *rate, bool own,
					   int used, int64 now_us)
{
	int budget;

	if (rate->limit == 0)
		return false;
	if (rate->higher > rate->limit &&
		(on_trial(learned, rate, now_us) ||
		 (own && learned->limit >= rate->higher && used <= rate->limit)))
	{
		/* it was a trial, or the plan was changed */
		learned->trial_us = 0;
		learned->limit = rate->limit;
		learned->limit_us = now_us;
		return true;
	}
	budget = rmsync_learned_budget(learned, rate, now_us);
	if (!own || used < budget / 4)
		return false;
	learned->reduced = Max(Min(used * 7 / 8, budget * 3 / 4),
						   Max(full_budget(learned, rate, now_us) / 8, 1));
	learned->reduced_us = now_us;
	return true;
}

bool
rmsync_learned_merge(RmsyncLearned *learned, const RmsyncLearned *other)
{
	bool changed = false;

	if (other->limit > 0 &&
		(learned->limit == 0 || other->limit_us > learned->limit_us + SAME_US))
	{
		learned->limit = other->limit;
		learned->limit_us = other->limit_us;
		changed = true;
	}
	if ((other->reduced > 0 && learned->reduced_us == 0) ||
		other->reduced_us > learned->reduced_us + SAME_US)
	{
		learned->reduced = other->reduced;
		learned->reduced_us = other->reduced_us;
		changed = true;
	}
	return changed;
}
