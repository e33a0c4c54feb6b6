/*-------------------------------------------------------------------------
 *
 * engine_record.c
 *	  Outcomes to the database: ledger, queue, log, lane state.
 *
 * Runs inside the engine's transaction.  What a job decided is written
 * together: the ledger row says what the target holds, the queue row goes
 * only if no newer version came in.  Nothing in memory is freed before the
 * transaction has committed, so that after an error it is all done again.
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

static const char *
ledger_status(const RmsyncItem *item)
{
	if (item->outcome == RMSYNC_OUT_SUCCESS ||
		item->outcome == RMSYNC_OUT_SKIPPED || item->ledger.success)
		return "success";
	return item->ledger.intent != NULL ? "in_progress" : "pending";
}

static void
write_ledger(EngineJob *ejob, RmsyncItem *item)
{
	if (!item->dirty)
		return;
	rmsync_store_ledger(ejob->job.lane, item, ledger_status(item));
}

static const char *
operation_of(const RmsyncItem *item)
{
	if (!item->present)
		return "delete";
	return item->version > 0 && item->was_delivered ? "update" : "create";
}

static int
duration_ms(const EngineJob *ejob, int64 now_us)
{
	return (int) ((now_us - ejob->started_us) / 1000);
}

static void
record_item_error(RmsyncEngine *engine, EngineJob *ejob, RmsyncItem *item,
				  const char *code, const char *message, int64 now_us)
{
	int attempt = item->attempt + 1;
	bool failed = attempt >= rmsync_max_attempts;
	int delay = rmsync_engine_scaled(
		rmsync_backoff_ms(item->attempt, rmsync_engine_random(engine)));

	rmsync_store_queue_later(ejob->lane->lane_id, item, delay, attempt, failed,
							 false, code, message);
	rmsync_store_log(ejob->job.lane, item, failed ? "failed" : "retry",
					 operation_of(item), code, message, ejob->job.requests,
					 duration_ms(ejob, now_us));
	if (failed)
		rmsync_store_notify(ejob->job.lane, "retries_exhausted",
							message ? message : code, item);
	engine->due_dirty = true;
}

/* The undecided items of a job that stopped. */
static void
record_undecided(RmsyncEngine *engine, EngineJob *ejob, RmsyncItem *item,
				 int64 now_us)
{
	const RmsyncFailure *fail = &ejob->job.fail;
	const char *code = fail->code ? fail->code : "unknown_error";
	bool unknown;

	switch (fail->scope)
	{
		case RMSYNC_FAIL_NONE: /* it was left undecided */
		case RMSYNC_FAIL_ITEM:
			record_item_error(engine, ejob, item, code, fail->message, now_us);
			break;
		case RMSYNC_FAIL_GROUP:
		case RMSYNC_FAIL_PARKED:
			unknown = fail->scope == RMSYNC_FAIL_GROUP;
			rmsync_store_queue_later(ejob->lane->lane_id, item,
									 rmsync_engine_scaled(fail->delay_ms),
									 item->attempt, false, unknown,
									 unknown ? "unknown_outcome" : code,
									 fail->message);
			engine->due_dirty = true;
			break;
		case RMSYNC_FAIL_RATE:
		case RMSYNC_FAIL_NETWORK:
		case RMSYNC_FAIL_AUTH:
		case RMSYNC_FAIL_QUOTA:
		case RMSYNC_FAIL_HELD:
			/* the lane's trouble: the row stays as it is */
			break;
	}
}

/*
 * Writes what an item decided.  Called at a commit and at the job's end; a
 * notebook that is decided may change its entry again (the order of its
 * pages).
 */
static void
record_decided(RmsyncEngine *engine, EngineJob *ejob, RmsyncItem *item,
			   int64 now_us)
{
	write_ledger(ejob, item);
	if (item->version == 0 || item->recorded)
		return;
	switch (item->outcome)
	{
		case RMSYNC_OUT_NONE:
			return;
		case RMSYNC_OUT_SUCCESS:
		case RMSYNC_OUT_SKIPPED:
			rmsync_store_queue_done(item);
			rmsync_store_log(ejob->job.lane, item,
							 item->outcome == RMSYNC_OUT_SUCCESS ? "success"
																 : "skipped",
							 operation_of(item), NULL, NULL, ejob->job.requests,
							 duration_ms(ejob, now_us));
			break;
		case RMSYNC_OUT_WAIT:
			rmsync_store_queue_done(item);
			break;
		case RMSYNC_OUT_ITEM_ERROR:
			record_item_error(engine, ejob, item,
							  item->error_code ? item->error_code : "invalid_data",
							  item->error, now_us);
			break;
	}
}

static void
record_remote(EngineJob *ejob)
{
	RmsyncJob *job = &ejob->job;

	if (job->remote_dirty)
		rmsync_store_lane_remote(job->lane->lane_id, job->lane->config_epoch,
								 job->lane->remote);
}

/*
 * What was read back.  The host's triggers mark the to-dos that change, and
 * their own lane then finds nothing to send.
 */
static void
record_report(RmsyncEngine *engine, EngineJob *ejob, int64 now_us)
{
	if (ejob->job.report == NULL)
		return;
	rmsync_store_flush();
	rmsync_store_take_remote(ejob->job.lane, ejob->job.report,
							 rmsync_todo_poll_interval);
	/* webhooks that came in meanwhile found its row in the queue */
	rmsync_engine_polls(engine, now_us, &engine->others);
}

/* A lane state and its one notification. */
static void
stop_lane(RmsyncLane *lane, RmsyncLaneState state, const char *kind,
		  const char *reason, int requests)
{
	if (!lane->usable && lane->refresh == NULL)
		return; /* another job of it said so already */
	lane->usable = false;
	lane->refreshes = 0;
	if (!rmsync_store_lane_state(lane->lane_id, state, reason, lane->credentials))
		return;
	rmsync_store_notify(&lane->info, kind, reason ? reason : kind, NULL);
	rmsync_store_log(&lane->info, NULL, "lane", NULL, kind, reason, requests, 0);
}

static void
job_stops_lane(EngineJob *ejob, RmsyncLaneState state, const char *kind)
{
	const RmsyncFailure *fail = &ejob->job.fail;

	stop_lane(ejob->lane, state, kind,
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
		stop_lane(lane, RMSYNC_LANE_AUTH, "auth_failure", reason, requests);
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

static void
record_lane(RmsyncEngine *engine, EngineJob *ejob, int64 now_us)
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

static void
record_job(RmsyncEngine *engine, EngineJob *ejob, int64 now_us)
{
	RmsyncJob *job = &ejob->job;

	engine->current = ejob;
	record_remote(ejob);
	if (job->notebook != NULL && job->notebook->version == 0)
		write_ledger(ejob, job->notebook);
	for (int i = 0; i < job->nitems; i++)
	{
		RmsyncItem *item = job->items[i];

		record_decided(engine, ejob, item, now_us);
		if (item->outcome == RMSYNC_OUT_NONE)
			record_undecided(engine, ejob, item, now_us);
	}
	rmsync_engine_lost(ejob);
	record_report(engine, ejob, now_us);
	rmsync_engine_links(engine, ejob, now_us);
	record_lane(engine, ejob, now_us);
}

/* What a target asked to be durable before it goes on. */
static void
record_commit(RmsyncEngine *engine, EngineJob *ejob, int64 now_us)
{
	RmsyncJob *job = &ejob->job;

	engine->current = ejob;
	record_remote(ejob);
	if (job->notebook != NULL && job->notebook->version == 0)
		write_ledger(ejob, job->notebook);
	for (int i = 0; i < job->nitems; i++)
		record_decided(engine, ejob, job->items[i], now_us);
	rmsync_engine_lost(ejob);
	record_report(engine, ejob, now_us);
	rmsync_engine_links(engine, ejob, now_us);
}

/*
 * Writes all ended jobs and pending commits.  Returns true if the transaction
 * must be durable before anything is sent (an intent is in it).
 */
bool
rmsync_engine_record(RmsyncEngine *engine, int64 now_us)
{
	dlist_iter iter;
	bool durable = false;

	rmsync_store_forget();
	dlist_foreach(iter, &engine->committing)
	{
		record_commit(engine, dlist_container(EngineJob, node, iter.cur), now_us);
		durable = true;
		if (engine->careful > 0)
			break;
	}
	dlist_foreach(iter, &engine->ended)
	{
		if (engine->careful > 0 && engine->current != NULL)
			break;
		record_job(engine, dlist_container(EngineJob, node, iter.cur), now_us);
	}
	/* what many jobs wrote together is to be blamed on none of them */
	if (engine->careful == 0)
		engine->current = NULL;
	rmsync_store_flush();
	engine->current = NULL;
	return durable;
}

static void
count_item(RmsyncEngine *engine, EngineJob *ejob, RmsyncItem *item)
{
	if (item->recorded || item->version == 0)
		return;
	switch (item->outcome)
	{
		case RMSYNC_OUT_SUCCESS:
			engine->stat.succeeded++;
			ejob->lane->done_items++;
			if (engine->totals_since_us == 0)
				engine->totals_since_us = rmsync_engine_now();
			break;
		case RMSYNC_OUT_SKIPPED:
		case RMSYNC_OUT_WAIT:
			engine->stat.skipped++;
			break;
		case RMSYNC_OUT_ITEM_ERROR:
			if (item->attempt + 1 >= rmsync_max_attempts)
				engine->stat.failed++;
			else
				engine->stat.retried++;
			break;
		case RMSYNC_OUT_NONE:
			engine->stat.retried++;
			break;
	}
}

/* After a commit: what was written is clean. */
static void
mark_clean(RmsyncEngine *engine, EngineJob *ejob)
{
	RmsyncJob *job = &ejob->job;

	job->remote_dirty = false;
	job->report = NULL;
	job->notice = NULL;
	if (job->notebook != NULL)
		job->notebook->dirty = false;
	for (int i = 0; i < job->nsiblings; i++)
		job->siblings[i].lost = false;
	for (int i = 0; i < job->nitems; i++)
	{
		RmsyncItem *item = job->items[i];

		item->dirty = false;
		item->recorded_id = item->ledger.exists ? item->ledger.external_id : NULL;
		if (item->outcome != RMSYNC_OUT_NONE)
		{
			count_item(engine, ejob, item);
			item->recorded = true;
		}
	}
}

static void
finish_job(RmsyncEngine *engine, EngineJob *ejob)
{
	RmsyncJob *job = &ejob->job;
	RmsyncLane *lane = ejob->lane;
	bool rescan = rmsync_job_is_poll(job);

	mark_clean(engine, ejob);
	for (int i = 0; i < job->nitems; i++)
	{
		RmsyncItem *item = job->items[i];

		count_item(engine, ejob, item);
		rescan = rescan || item->stays || item->outcome == RMSYNC_OUT_NONE ||
				 item->outcome == RMSYNC_OUT_ITEM_ERROR;
	}
	lane->done_jobs++;
	if (rmsync_job_troubles_lane(job))
		lane->troubled--;

	/* rows that stay in the queue must be found again */
	if (rescan || lane->lease->target->granularity == RMSYNC_PER_NOTEBOOK)
	{
		lane->ready = true;
		lane->after_priority = 0;
		lane->after_seq = 0;
		rmsync_engine_touch(engine, lane);
	}
	rmsync_engine_release(engine, ejob);
}

/*
 * After the commit: ended jobs are freed, committed ones go on.  In careful
 * mode only the first of them was written.
 */
void
rmsync_engine_recorded(RmsyncEngine *engine)
{
	dlist_head going;

	dlist_init(&going);
	while (!dlist_is_empty(&engine->committing))
	{
		dlist_push_tail(&going, dlist_pop_head_node(&engine->committing));
		engine->ncommitting--;
		if (engine->careful > 0)
			break;
	}
	if (engine->careful == 0 || dlist_is_empty(&going))
	{
		while (!dlist_is_empty(&engine->ended))
		{
			EngineJob *ejob =
				dlist_container(EngineJob, node,
								dlist_pop_head_node(&engine->ended));

			engine->nended--;
			finish_job(engine, ejob);
			if (engine->careful > 0)
				break;
		}
	}
	while (!dlist_is_empty(&going))
	{
		EngineJob *ejob =
			dlist_container(EngineJob, node, dlist_pop_head_node(&going));

		mark_clean(engine, ejob);
		rmsync_engine_advance(engine, ejob);
	}
}

/* Totals of lanes, now and then. */
void
rmsync_engine_flush_lanes(RmsyncEngine *engine, int64 now_us, bool all)
{
	HASH_SEQ_STATUS seq;
	RmsyncLane *lane;

	if (engine->totals_since_us == 0 ||
		(!all && now_us - engine->totals_since_us < RMSYNC_TOTALS_US))
		return;
	engine->totals_since_us = 0;
	hash_seq_init(&seq, engine->lanes);
	while ((lane = hash_seq_search(&seq)) != NULL)
	{
		if (lane->done_items == 0)
			continue;
		rmsync_store_lane_synced(lane->lane_id, lane->done_items,
								 lane->done_jobs);
		if (lane->synced == 0)
			rmsync_store_notify(&lane->info, "first_success",
								"The first item was synchronized.", NULL);
		lane->synced += lane->done_items;
		lane->done_items = 0;
		lane->done_jobs = 0;
	}
}
