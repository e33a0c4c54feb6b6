/*-------------------------------------------------------------------------
 *
 * engine_limit.c
 *	  What services say about their limits: refusals, and how they are kept.
 *
 * Called for jobs as they end, and for probes, outside transactions: lanes that
 * share the limit must stop at once, whichever process they are in.  What
 * outlives the server, what was learned and longer closings, is written with
 * the next transaction, and read again when a process starts.  Nothing here
 * waits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "engine_internal.h"
#include "retry.h"
#include "store.h"

/* No service is believed that wants to be left alone for longer. */
#define MAX_CLOSED_MS (3600 * 1000)

void
rmsync_engine_limited(RmsyncEngine *engine, RmsyncLane *lane,
					  const RmsyncFailure *fail, RmsyncLimitKind kind)
{
	int64 now_us = rmsync_engine_now();
	int delay = fail->delay_ms;

	if (delay <= 0 && now_us < lane->blocked_until_us)
		return; /* several jobs met the same limit */
	if (delay <= 0)
		delay = rmsync_engine_scaled(
			rmsync_breaker_ms(lane->limit_streak++, rmsync_engine_random(engine)));
	delay = Min(delay, MAX_CLOSED_MS);
	delay += (int) (rmsync_engine_random(engine) * 250);
	if (rmsync_lane_limited(lane, kind, now_us + (int64) delay * 1000, now_us))
		engine->limits_dirty = true;
}

void
rmsync_engine_answered(RmsyncEngine *engine, RmsyncLane *lane,
					   const RmsyncHttpResponse *response)
{
	int status = response->status;

	/* what a firewall or a broken server says is no answer */
	if (response->error == RMSYNC_HTTP_OK && status >= 200 && status < 500 &&
		status != 429 && rmsync_lane_answered(lane, rmsync_engine_now()))
		engine->limits_dirty = true;
}

void
rmsync_engine_limits_store(RmsyncEngine *engine, int64 now_us)
{
	HASH_SEQ_STATUS seq;
	RmsyncLane *lane;

	if (!engine->limits_dirty)
		return;
	hash_seq_init(&seq, engine->lanes);
	while ((lane = hash_seq_search(&seq)) != NULL)
		rmsync_lane_store_limits(lane, now_us);
}

/*
 * Lanes of all targets, whoever serves them: the first that sends must know.
 */
void
rmsync_engine_limits_load(RmsyncEngine *engine, int64 now_us)
{
	RmsyncLaneList closed;

	rmsync_store_closed_lanes(engine->turn_cxt, &closed);
	for (int i = 0; i < closed.n; i++)
	{
		RmsyncLane *lane = rmsync_engine_lane(engine, closed.ids[i]);

		if (lane != NULL)
			(void) rmsync_lane_refresh(lane, now_us);
	}
}

void
rmsync_engine_limits_open(int64 lane_id)
{
	RmsyncLease lease = { 0 };
	RmsyncLane lane = { 0 };
	RmsyncLaneRow row;

	if (!rmsync_store_lane(CurrentMemoryContext, lane_id, &row) ||
		!rmsync_lane_opens(&row))
		return;
	lane.lane_id = lane_id;
	lane.lease = &lease;
	lease.target = rmsync_target_find(row.target_name);
	if (lease.target == NULL)
		return;
	if (rmsync_lane_refresh(&lane, rmsync_engine_now()) &&
		lane.info.config != NULL)
		rmsync_lane_unblock(&lane);
	rmsync_lane_clear(&lane);
}
