/*-------------------------------------------------------------------------
 *
 * engine_trouble.c
 *	  What a job's failure means for its lane, or for one of its items.
 *
 * Called by engine_record.c, inside the engine's transaction.  Must never let
 * one item stop a lane that works otherwise, nor make an item pay for an
 * outage.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "engine_internal.h"
#include "guc.h"
#include "retry.h"
#include "store.h"

/* A block shorter than this is not worth a write. */
#define PERSIST_BLOCK_MS 30000

/* Times an item's request must fail before the item is the reason. */
#define MAX_BLAMES 3

/*
 * The service failed on a request.  Is that the fault of the item whose request
 * it was?  It is if it happens again and again while other requests of the lane
 * succeed: an outage would not choose.
 */
static bool
item_to_blame(RmsyncLane *lane, const RmsyncItem *item)
{
	RmsyncBlame *blame = &lane->blames[item->queue_id % RMSYNC_MAX_BLAMES];
	bool answered = lane->answered;

	lane->answered = false;
	if (blame->queue_id != item->queue_id)
	{
		blame->queue_id = item->queue_id;
		blame->times = 1;
		return false;
	}
	if (answered)
		blame->times++;
	if (blame->times < MAX_BLAMES)
		return false;
	blame->times = 0;
	return true;
}

/*
 * Lets the item fail whose request it was, and not the lane; all of the job if
 * it is one that is not due.  Returns false if it is the lane's trouble.
 */
bool
rmsync_engine_blame(EngineJob *ejob)
{
	RmsyncJob *job = &ejob->job;
	RmsyncItem *culprit = job->fail.item;
	bool alone = culprit != NULL && culprit->version != 0 &&
				 culprit->outcome == RMSYNC_OUT_NONE;

	if (job->fail.scope != RMSYNC_FAIL_NETWORK || culprit == NULL ||
		job->nitems == 0 ||
		!item_to_blame(ejob->lane, alone ? culprit : job->items[0]))
		return false;
	for (int i = 0; i < job->nitems; i++)
	{
		RmsyncItem *item = job->items[i];

		if (item->outcome == RMSYNC_OUT_NONE && (!alone || item == culprit))
			rmsync_item_done(job, item, RMSYNC_OUT_ITEM_ERROR, job->fail.code,
							 job->fail.message);
	}
	return true;
}


/* A lane state and its one notification. */
static void
stop_lane(RmsyncLane *lane, RmsyncLaneState state, const char *kind,
		  const char *code, const char *reason, int requests)
{
	if (!lane->usable && lane->refresh == NULL)
		return; /* another job of it said so already */
	lane->usable = false;
	lane->refreshes = 0;
	if (!rmsync_store_lane_state(lane->lane_id, state, code, reason,
								 lane->credentials))
		return;
	rmsync_store_notify(&lane->info, kind, reason ? reason : kind, NULL);
	rmsync_store_log(&lane->info, NULL, "lane", NULL, kind, reason, requests, 0);
}

static void
job_stops_lane(EngineJob *ejob, RmsyncLaneState state, const char *kind)
{
	const RmsyncFailure *fail = &ejob->job.fail;

	stop_lane(ejob->lane, state, kind, fail->code,
			  fail->message ? fail->message : fail->code, ejob->job.requests);
}

/*
 * The service refused the lane's credential for good: the backup takes its
 * place, or the lane stops.
 */
void
rmsync_engine_refused(RmsyncLane *lane, const char *reason, int requests)
{
	if (!lane->has_backup || lane->backup_tried)
	{
		stop_lane(lane, RMSYNC_LANE_AUTH, "auth_failure", NULL, reason, requests);
		return;
	}
	lane->swapped = true;
	lane->usable = false; /* until it is read again */
	if (!rmsync_store_lane_swap(lane->lane_id, lane->credentials))
		return;
	lane->backup_tried = true;
	rmsync_store_log(&lane->info, NULL, "lane", NULL, "backup_used",
					 "the backup credential took the place of the active one",
					 requests, 0);
}

static void
lane_auth_failed(RmsyncEngine *engine, EngineJob *ejob)
{
	RmsyncLane *lane = ejob->lane;
	const RmsyncFailure *fail = &ejob->job.fail;

	/*
	 * Other jobs that were under way with the same credential, or with one
	 * that has been replaced since, say nothing about the present one.
	 */
	if (lane->swapped || ejob->generation != lane->generation)
		return;
	if (rmsync_engine_refresh(engine, lane))
		return;
	rmsync_engine_refused(lane, fail->message ? fail->message : fail->code,
						  ejob->job.requests);
}

/* Network trouble: the lane's back-off and the target's breaker. */
static void
lane_unreachable(RmsyncEngine *engine, EngineJob *ejob, int64 now_us)
{
	RmsyncLane *lane = ejob->lane;
	RmsyncLease *lease = lane->lease;
	int delay;

	if (now_us < lane->blocked_until_us)
		return; /* several jobs met the same outage */
	lane->fail_streak++;
	if (!lease->target->own_servers)
		lease->fail_streak++;
	delay =
		ejob->job.fail.delay_ms > 0
			? ejob->job.fail.delay_ms
			: rmsync_breaker_ms(lane->fail_streak, rmsync_engine_random(engine));
	delay = rmsync_engine_scaled(delay);
	lane->blocked_until_us = now_us + (int64) delay * 1000;
	if (lease->fail_streak >= 10)
		lease->open_until_us =
			now_us + (int64) rmsync_engine_scaled(
						 rmsync_breaker_ms(lease->fail_streak - 9,
										   rmsync_engine_random(engine))) *
						 1000;
	rmsync_store_lane_blocked(lane->lane_id, delay, lane->fail_streak);
	lane->blocked_streak = lane->fail_streak;
	rmsync_store_log(ejob->job.lane, NULL, "lane", NULL,
					 ejob->job.fail.code ? ejob->job.fail.code : "network_error",
					 ejob->job.fail.message, ejob->job.requests, 0);
}

static void
lane_limited(RmsyncEngine *engine, EngineJob *ejob, int64 now_us)
{
	RmsyncLane *lane = ejob->lane;
	int delay = ejob->job.fail.delay_ms;
	int64 until;

	if (ejob->put_off)
		return; /* nothing was sent: why it waits is known */
	if (now_us < lane->blocked_until_us && delay <= 0)
		return; /* several jobs met the same limit */
	if (delay <= 0)
		delay = rmsync_engine_scaled(
			rmsync_breaker_ms(lane->limit_streak++, rmsync_engine_random(engine)));
	delay = Min(delay, 3600 * 1000);
	delay += (int) (rmsync_engine_random(engine) * 250);
	until = now_us + (int64) delay * 1000;
	if (until <= lane->blocked_until_us)
		return;
	rmsync_lane_limited(lane, ejob->job.workspace_limited, until, now_us);
	if (delay >= PERSIST_BLOCK_MS)
	{
		rmsync_store_lane_blocked(lane->lane_id, delay,
								  Max(lane->blocked_streak, 1));
		lane->blocked_streak = Max(lane->blocked_streak, 1);
	}
}

/* A notebook waits for somebody: who is told once, however often we look. */
static void
record_parked(EngineJob *ejob)
{
	const RmsyncJob *job = &ejob->job;

	if (rmsync_store_notify_once(job->lane, job->fail.code,
								 job->fail.message ? job->fail.message
												   : job->fail.code,
								 job->notebook))
		rmsync_store_log(job->lane, job->notebook, "retry", NULL,
						 job->fail.code, job->fail.message, job->requests, 0);
}

void
rmsync_engine_trouble(RmsyncEngine *engine, EngineJob *ejob, int64 now_us)
{
	RmsyncLane *lane = ejob->lane;

	switch (ejob->job.fail.scope)
	{
		case RMSYNC_FAIL_NETWORK:
			lane_unreachable(engine, ejob, now_us);
			return;
		case RMSYNC_FAIL_RATE:
			lane_limited(engine, ejob, now_us);
			return;
		case RMSYNC_FAIL_AUTH:
			lane_auth_failed(engine, ejob);
			return;
		case RMSYNC_FAIL_QUOTA:
			job_stops_lane(ejob, RMSYNC_LANE_QUOTA, "quota_exceeded");
			return;
		case RMSYNC_FAIL_HELD:
			job_stops_lane(ejob, RMSYNC_LANE_HELD, "held");
			return;
		case RMSYNC_FAIL_PARKED:
			record_parked(ejob);
			break;
		case RMSYNC_FAIL_NONE:
		case RMSYNC_FAIL_ITEM:
		case RMSYNC_FAIL_GROUP:
			break;
	}
	if (ejob->job.requests == 0 || ejob->job.fail.scope == RMSYNC_FAIL_GROUP)
		return;
	if (now_us < lane->blocked_until_us)
		return; /* was under way when the lane was stopped */
	/* the service answered: outage over */
	lane->backup_tried = false;
	lane->refreshes = 0;
	lane->limit_streak = 0;
	lane->fail_streak = 0;
	lane->lease->fail_streak = 0;
	lane->lease->open_until_us = 0;
	if (lane->blocked_streak > 0)
	{
		rmsync_store_lane_blocked(lane->lane_id, 0, 0);
		lane->blocked_streak = 0;
	}
}
