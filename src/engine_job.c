/*-------------------------------------------------------------------------
 *
 * engine_job.c
 *	  The life of a job between loading and recording.
 *
 * Runs outside any transaction.  Asks the target for its next step, takes a
 * place in the limit, hands the request to the transport, gives the response
 * back. The transport's callback only notes the response: a target's code never
 * runs inside libcurl.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "engine_internal.h"
#include "guc.h"
#include "recorder.h"

/* Is the job's failure the lane's?  Then other jobs would meet it, too. */
bool
rmsync_job_troubles_lane(const RmsyncJob *job)
{
	return job->fail.scope >= RMSYNC_FAIL_RATE;
}

static void
end_job(RmsyncEngine *engine, EngineJob *ejob)
{
	if (ejob->job.fail.scope == RMSYNC_FAIL_RATE && !ejob->put_off)
		rmsync_engine_limited(engine, ejob->lane, &ejob->job.fail,
							  ejob->job.limited);
	if (engine->nended++ == 0)
		engine->ended_since_us = rmsync_engine_now();
	dlist_push_tail(&engine->ended, &ejob->node);
	dlist_delete(&ejob->started_node);
	if (rmsync_job_troubles_lane(&ejob->job))
		ejob->lane->troubled++;
	ejob->lane->in_flight--;
	ejob->lane->lease->in_flight--;
	engine->in_flight--;
}

/* Nothing to do at the target?  Then the item is decided without it. */
bool
rmsync_item_settled(const RmsyncTarget *target, const RmsyncLaneInfo *lane,
					RmsyncItem *item)
{
	const RmsyncLedger *ledger = &item->ledger;

	if (ledger->intent != NULL || ledger->look_at == DT_NOEND)
		return false; /* an earlier request must be resolved */
	if (!item->present)
	{
		if (ledger->exists)
			return false;
		item->outcome = RMSYNC_OUT_WAIT;
		return true;
	}
	if (!item->ready)
	{
		/* recognition is not done: what the target holds stays as it is */
		item->outcome = RMSYNC_OUT_WAIT;
		return true;
	}
	if (item->forced || !ledger->exists || !ledger->success ||
		ledger->config_epoch != lane->config_epoch ||
		(ledger->notebook_uuid != NULL && item->notebook_uuid != NULL &&
		 strcmp(ledger->notebook_uuid, item->notebook_uuid) != 0) ||
		strcmp(ledger->content_hash, item->content_hash) != 0 ||
		strcmp(ledger->placement_hash, item->placement_hash) != 0 ||
		(target->outdated != NULL && target->outdated(item)))
		return false;
	item->outcome = RMSYNC_OUT_SKIPPED;
	return true;
}

/*
 * Called by the transport; must not throw.  Only the strings of the response
 * outlive this call.
 */
static void
on_response(void *arg, const RmsyncHttpResponse *response)
{
	EngineJob *ejob = arg;

	ejob->response = *response;
	dlist_push_tail(&ejob->engine->responded, &ejob->node);
}

static void
send_request(RmsyncEngine *engine, EngineJob *ejob)
{
	ejob->job.requests++;
	engine->stat.requests++;
	if (ejob->request.timeout_ms == 0 ||
		ejob->request.timeout_ms > rmsync_http_timeout)
		ejob->request.timeout_ms = rmsync_http_timeout;
	rmsync_http_start(engine->http, &ejob->request, ejob->job.cxt, on_response,
					  ejob);
}

/* Asks for a place in the limit; true if that is now. */
static bool
is_its_time(EngineJob *ejob, int64 now_us)
{
	if (!ejob->placed && ejob->deadline_us <= now_us)
		ejob->deadline_us =
			now_us + rmsync_lane_reserve(ejob->lane, now_us, &ejob->placed);
	return ejob->placed && ejob->deadline_us <= now_us;
}

/* Sends the request as soon as the limit of its service allows it. */
static void
wait_for_place(RmsyncEngine *engine, EngineJob *ejob)
{
	int64 now_us = rmsync_engine_now();

	ejob->placed = false;
	ejob->deadline_us = now_us;

	/* a lane that is told to wait is seen to in rmsync_engine_places */
	if (is_its_time(ejob, now_us) && rmsync_lane_closed(ejob->lane, now_us) == 0)
		send_request(engine, ejob);
	else
		dlist_push_tail(&engine->waiting, &ejob->node);
}

/* It cannot send what it wants to: its items stay in the queue. */
static void
put_off(RmsyncEngine *engine, EngineJob *ejob, RmsyncFailScope scope,
		const char *code)
{
	dlist_delete(&ejob->node);
	if (ejob->placed)
		rmsync_lane_return(ejob->lane, ejob->deadline_us);
	ejob->put_off = scope == RMSYNC_FAIL_RATE;
	rmsync_job_fail(&ejob->job, scope, 0, code, NULL);
	end_job(engine, ejob);
}

/*
 * Notes a target made about the service are seen by all jobs of the lane, so
 * they must outlive the job that learned them.
 */
static void
keep_remote(EngineJob *ejob)
{
	RmsyncLane *lane = ejob->lane;

	if (!ejob->job.remote_dirty || lane->info.remote == lane->remote_copy)
		return;
	lane->remote_copy = lane->info.remote =
		MemoryContextStrdup(lane->cxt, lane->info.remote);
	rmsync_lane_noted(lane);
}

/*
 * Takes a job as far as it goes without waiting.  It must be in no list.
 */
void
rmsync_engine_advance(RmsyncEngine *engine, EngineJob *ejob)
{
	RmsyncJob *job = &ejob->job;
	MemoryContext old = MemoryContextSwitchTo(job->cxt);
	RmsyncStep step = RMSYNC_STEP_DONE;

	if (job->fail.scope == RMSYNC_FAIL_NONE)
	{
		memset(&ejob->request, 0, sizeof(ejob->request));
		step = ejob->lane->lease->target->next(job, &ejob->request);
		if (job->fail.scope != RMSYNC_FAIL_NONE)
			step = RMSYNC_STEP_DONE;
	}
	keep_remote(ejob);
	MemoryContextSwitchTo(old);

	switch (step)
	{
		case RMSYNC_STEP_REQUEST:
			wait_for_place(engine, ejob);
			break;
		case RMSYNC_STEP_COMMIT:
			dlist_push_tail(&engine->committing, &ejob->node);
			engine->ncommitting++;
			break;
		case RMSYNC_STEP_DELAY:
			ejob->deadline_us =
				rmsync_engine_now() +
				(int64) rmsync_engine_scaled(job->delay_ms) * 1000;
			dlist_push_tail(&engine->delayed, &ejob->node);
			break;
		case RMSYNC_STEP_DONE:
			end_job(engine, ejob);
			break;
	}
}

/* Gives responses that came in to their targets. */
void
rmsync_engine_responses(RmsyncEngine *engine)
{
	while (!dlist_is_empty(&engine->responded))
	{
		EngineJob *ejob =
			dlist_container(EngineJob, node,
							dlist_pop_head_node(&engine->responded));
		MemoryContext old = MemoryContextSwitchTo(ejob->job.cxt);

		engine->stat.bytes_received += ejob->response.body_len;
		engine->stat.bytes_sent += ejob->request.body_len;
		rmsync_engine_answered(engine, ejob->lane, &ejob->response);
		if (ejob->response.error == RMSYNC_HTTP_OK && ejob->response.status < 300)
			ejob->lane->answered = true;
		ejob->lane->lease->target->response(&ejob->job, &ejob->response);
		keep_remote(ejob);
		MemoryContextSwitchTo(old);
		rmsync_engine_advance(engine, ejob);
	}
}

/*
 * Jobs whose time has come.  One whose lane was blocked meanwhile (another
 * job, of it or of a lane with the same limit, was refused) ends instead.
 */
void
rmsync_engine_places(RmsyncEngine *engine, int64 now_us)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &engine->waiting)
	{
		EngineJob *ejob = dlist_container(EngineJob, node, iter.cur);

		/* the token is no longer good; what this says is known */
		if (ejob->lane->refresh != NULL)
			put_off(engine, ejob, RMSYNC_FAIL_AUTH, "unauthorized");
		else if (rmsync_lane_wait(ejob->lane, now_us) > 0)
			put_off(engine, ejob, RMSYNC_FAIL_RATE, "rate_limit");
		else if (is_its_time(ejob, now_us))
		{
			dlist_delete(&ejob->node);
			send_request(engine, ejob);
		}
	}
}

void
rmsync_engine_delays(RmsyncEngine *engine, int64 now_us)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &engine->delayed)
	{
		EngineJob *ejob = dlist_container(EngineJob, node, iter.cur);

		if (ejob->deadline_us > now_us)
			continue;
		dlist_delete(&ejob->node);
		rmsync_engine_advance(engine, ejob);
	}
}

/* For tests of crashes: an item that is none of ours to survive. */
static void
crash_on_purpose(const RmsyncJob *job)
{
#ifdef USE_ASSERT_CHECKING
	for (int i = 0; i < job->nitems; i++)
	{
		if (rmsync_debug_crash_item[0] != '\0' &&
			strcmp(job->items[i]->id, rmsync_debug_crash_item) == 0)
			raise(SIGSEGV);
	}
#endif
}

static void
start_job(RmsyncEngine *engine, EngineJob *ejob)
{
	RmsyncLane *lane = ejob->lane;
	RmsyncJob *job = &ejob->job;
	MemoryContext old;

	rmsync_engine_enter(ejob);
	lane->in_flight++;
	lane->lease->in_flight++;
	engine->in_flight++;
	dlist_push_tail(&engine->started, &ejob->started_node);
	ejob->started_us = rmsync_engine_now();
	ejob->generation = lane->generation;
	crash_on_purpose(job);

	old = MemoryContextSwitchTo(job->cxt);
	for (int i = 0; i < job->nitems; i++)
		(void) rmsync_item_settled(lane->lease->target, job->lane, job->items[i]);
	MemoryContextSwitchTo(old);
	if (rmsync_job_decided(job))
	{
		end_job(engine, ejob);
		return;
	}
	if (lane->lease->target->granularity == RMSYNC_PER_NOTEBOOK &&
		job->notebook == NULL && !rmsync_job_is_poll(job))
	{
		/* an item without a place, which the target may still hold */
		for (int i = 0; i < job->nitems; i++)
			rmsync_item_done(job, job->items[i], RMSYNC_OUT_ITEM_ERROR,
							 "invalid_data", "item has no notebook");
		end_job(engine, ejob);
		return;
	}
	old = MemoryContextSwitchTo(job->cxt);
	lane->lease->target->begin(job);
	MemoryContextSwitchTo(old);
	rmsync_engine_advance(engine, ejob);
}

static void
start_buffered(RmsyncEngine *engine, RmsyncLane *lane)
{
	EngineJob *ejob =
		dlist_container(EngineJob, node, dlist_pop_head_node(&lane->buffer));

	lane->buffered--;
	start_job(engine, ejob);
}

/* All rows of a job must have room in the flight recorder. */
static bool
can_record(const RmsyncEngine *engine, RmsyncLane *lane)
{
	EngineJob *ejob =
		dlist_container(EngineJob, node, dlist_head_node(&lane->buffer));

	return engine->in_flight == 0 || ejob->job.nitems <= rmsync_recorder_room();
}

/*
 * Is there a slot for a job of this lane?  A quarter of them is kept for lanes
 * that have nothing under way and are not in trouble, half of that for targets
 * with nothing under way: so one lane, or one service that does not answer,
 * cannot take them all.
 */
static bool
has_slot(const RmsyncEngine *engine, const RmsyncLane *lane)
{
	int free = rmsync_max_in_flight - engine->in_flight;
	int kept = rmsync_max_in_flight / 4;

	if (lane->in_flight > 0 || lane->fail_streak > 0)
		return free > kept;
	for (int i = 0; i < engine->nleases; i++)
	{
		const RmsyncLease *lease = &engine->leases[i];

		if (lease->held && lease != lane->lease && lane->lease->in_flight > 0)
			return free > kept / 2;
	}
	return free > 0;
}

/*
 * Starts buffered jobs, one per lane and round, so that a user with much work
 * does not delay one with little.  While a suspect waits to run alone, or does,
 * nothing else starts.
 */
void
rmsync_engine_start_jobs(RmsyncEngine *engine, int64 now_us)
{
	bool progress = engine->alone == NULL && engine->suspect_lane == NULL;

	if (engine->alone != NULL && engine->alone->started_us == 0)
		start_job(engine, engine->alone);
	while (progress && engine->in_flight < rmsync_max_in_flight)
	{
		dlist_mutable_iter iter;

		progress = false;
		dlist_foreach_modify(iter, &engine->active)
		{
			RmsyncLane *lane = dlist_container(RmsyncLane, node, iter.cur);
			int limit = lane->limits.jobs_per_lane;

			/*
			 * After failures one probe goes first; and the first job of all
			 * learns about the service for the others.
			 */
			if (lane->fail_streak > 0 || lane->lease->fail_streak >= 5 ||
				(lane->info.remote == NULL && lane->lease->target->learns))
				limit = 1;
			if (lane->buffered > 0 && !lane->usable)
				rmsync_engine_drop_buffer(engine, lane);
			if (lane->buffered == 0 || lane->in_flight >= limit ||
				lane->troubled > 0 || !has_slot(engine, lane) ||
				rmsync_lane_wait(lane, now_us) > 0 || !can_record(engine, lane))
				continue;
			/*
			 * The next round begins behind this lane; this one ends when no
			 * lane can start any more.
			 */
			dlist_delete(&lane->node);
			dlist_push_tail(&engine->active, &lane->node);
			start_buffered(engine, lane);
			progress = true;
		}
	}
}

int
rmsync_engine_in_flight(RmsyncEngine *engine, int64 *ids, int max)
{
	dlist_iter iter;
	int n = 0;

	dlist_foreach(iter, &engine->started)
	{
		EngineJob *ejob = dlist_container(EngineJob, started_node, iter.cur);

		for (int i = 0; i < ejob->job.nitems && n < max; i++)
		{
			if (ejob->job.items[i]->outcome == RMSYNC_OUT_NONE)
				ids[n++] = ejob->job.items[i]->queue_id;
		}
	}
	return n;
}
