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
	if (item->dirty)
		rmsync_store_ledger(ejob->job.lane, item, ledger_status(item));
	ejob->engine->due_dirty |= item->ledger.look_ms > 0;
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

/*
 * The entry of a notebook that has no queue row.  If its object is not as
 * wanted yet and no other row would bring the job back, it gets one: what its
 * pages owe it must not be forgotten with them.
 */
static void
record_notebook(EngineJob *ejob, bool ended)
{
	RmsyncJob *job = &ejob->job;
	RmsyncItem *notebook = job->notebook;

	if (notebook == NULL || notebook->version != 0)
		return;
	write_ledger(ejob, notebook);
	if (notebook->present && notebook->ledger.exists &&
		notebook->ledger.external_id != NULL && !notebook->ledger.success &&
		(ended || rmsync_job_decided(job)))
		rmsync_store_queue_notebook(job->lane, notebook->id);
}

static void
record_job(RmsyncEngine *engine, EngineJob *ejob, int64 now_us)
{
	RmsyncJob *job = &ejob->job;
	bool blamed;

	engine->current = ejob;
	blamed = rmsync_engine_blame(ejob);
	record_remote(ejob);
	record_notebook(ejob, true);
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
	if (!blamed)
		rmsync_engine_trouble(engine, ejob, now_us);
}

/* What a target asked to be durable before it goes on. */
static void
record_commit(RmsyncEngine *engine, EngineJob *ejob, int64 now_us)
{
	RmsyncJob *job = &ejob->job;

	engine->current = ejob;
	record_remote(ejob);
	record_notebook(ejob, false);
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
