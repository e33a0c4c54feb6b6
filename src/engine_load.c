/*-------------------------------------------------------------------------
 *
 * engine_load.c
 *	  From ready queue rows to jobs.
 *
 * Runs inside the engine's transaction.  A lane is read from its low-water
 * mark on, so that rows already claimed are not read again and again; the
 * mark goes back to the start whenever the lane gets new work.  At most one
 * job per item, and per notebook for targets of notebook granularity, is
 * alive at a time: that is what the claims are for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "engine_internal.h"
#include "guc.h"
#include "store.h"

/* Rows read per visit of a lane, and how many lanes one turn visits. */
#define LOAD_ROWS 64
#define LOAD_NOTEBOOK_ROWS 2000
#define LOAD_LANES 16
#define REFILL_BELOW 16

static ClaimKey
claim_key(int64 lane_id, int type, const char *id)
{
	ClaimKey key;

	Assert(id != NULL);
	key.lane_id = lane_id;
	key.what = DatumGetUInt64(
		hash_any_extended((const unsigned char *) id, strlen(id), type));
	return key;
}

static bool
claim(RmsyncEngine *engine, int64 lane_id, int type, const char *id)
{
	ClaimKey key = claim_key(lane_id, type, id);
	bool found;

	(void) hash_search(engine->claims, &key, HASH_ENTER, &found);
	return !found;
}

static void
unclaim(RmsyncEngine *engine, int64 lane_id, int type, const char *id)
{
	ClaimKey key = claim_key(lane_id, type, id);

	(void) hash_search(engine->claims, &key, HASH_REMOVE, NULL);
}

/* Claims of a whole notebook are told apart by a type no item has. */
#define CLAIM_NOTEBOOK 100

/*
 * Frees a job: its claims, its place in the lane, its memory.  It must be in
 * no list any more.
 */
void
rmsync_engine_release(RmsyncEngine *engine, EngineJob *ejob)
{
	RmsyncJob *job = &ejob->job;
	RmsyncLane *lane = ejob->lane;

	rmsync_engine_leave(ejob);
	if (engine->alone == ejob)
		engine->alone = NULL;
	if (lane->lease->target->granularity == RMSYNC_PER_NOTEBOOK)
		unclaim(engine, lane->lane_id, CLAIM_NOTEBOOK, job->group_key);
	for (int i = 0; i < job->nitems; i++)
		unclaim(engine, lane->lane_id, job->items[i]->type, job->items[i]->id);
	MemoryContextDelete(job->cxt);
}

/*
 * Forgets loaded jobs that have not started: their rows are still in the
 * queue.
 */
void
rmsync_engine_drop_buffer(RmsyncEngine *engine, RmsyncLane *lane)
{
	while (!dlist_is_empty(&lane->buffer))
	{
		EngineJob *ejob =
			dlist_container(EngineJob, node, dlist_pop_head_node(&lane->buffer));

		lane->buffered--;
		rmsync_engine_release(engine, ejob);
	}
	lane->ready = true;
	lane->after_priority = 0;
	lane->after_seq = 0;
}

bool
rmsync_engine_loadable(RmsyncEngine *engine, RmsyncLane *lane, int64 now_us)
{
	return lane->ready && lane->lease->held && lane->refresh == NULL &&
		   lane->buffered < Min(REFILL_BELOW, 1 + lane->limits.jobs_per_lane) &&
		   (lane->usable || !lane->loaded ||
			(lane->in_flight == 0 && lane->buffered == 0)) &&
		   engine->in_flight < rmsync_max_in_flight &&
		   rmsync_lane_wait(lane, now_us) == 0;
}

static EngineJob *
new_job(RmsyncEngine *engine, RmsyncLane *lane, const char *group_key)
{
	MemoryContext cxt =
		AllocSetContextCreate(engine->cxt, "rmsync job", ALLOCSET_SMALL_SIZES);
	EngineJob *ejob = MemoryContextAllocZero(cxt, sizeof(EngineJob));

	ejob->engine = engine;
	ejob->lane = lane;
	ejob->job.cxt = cxt;
	ejob->job.lane = &lane->info;
	ejob->job.group_key = MemoryContextStrdup(cxt, group_key);
	return ejob;
}

static RmsyncItem *
new_item(MemoryContext cxt, const RmsyncQueueRow *row)
{
	RmsyncItem *item = MemoryContextAllocZero(cxt, sizeof(RmsyncItem));

	item->type = row->type;
	item->id = MemoryContextStrdup(cxt, row->item_id);
	if (row->notebook_uuid != NULL)
		item->notebook_uuid = MemoryContextStrdup(cxt, row->notebook_uuid);
	item->queue_id = row->queue_id;
	item->version = row->version;
	item->seq = row->seq;
	item->attempt = row->attempt;
	item->forced = row->forced;
	return item;
}

static void
buffer_job(RmsyncLane *lane, EngineJob *ejob)
{
	dlist_push_tail(&lane->buffer, &ejob->node);
	lane->buffered++;
}

/* One job per item. */
static void
load_items(RmsyncEngine *engine, RmsyncLane *lane, RmsyncQueueRow *rows, int nrows)
{
	EngineJob **jobs = palloc(sizeof(EngineJob *) * Max(nrows, 1));
	RmsyncItem **items = palloc(sizeof(RmsyncItem *) * Max(nrows, 1));
	int n = 0;

	for (int i = 0; i < nrows; i++)
	{
		EngineJob *ejob;

		if (!claim(engine, lane->lane_id, rows[i].type, rows[i].item_id))
			continue;
		ejob = new_job(engine, lane, rows[i].item_id);
		ejob->job.items = MemoryContextAlloc(ejob->job.cxt, sizeof(RmsyncItem *));
		ejob->job.items[0] = items[n] = new_item(ejob->job.cxt, &rows[i]);
		ejob->job.nitems = 1;
		rmsync_engine_enter(ejob);
		jobs[n++] = ejob;
		buffer_job(lane, ejob);
	}

	/*
	 * Texts of a batch share one context only for the time of loading: each
	 * job must be able to go alone.
	 */
	rmsync_store_load_each(&lane->info, items, n);
	for (int i = 0; i < n; i++)
	{
		Assert(jobs[i]->job.items[0] == items[i]);
		rmsync_engine_leave(jobs[i]);
	}
}

/*
 * All ready items of one notebook are one job; or the rows given, if they are
 * suspects.
 */
static void
load_notebook(RmsyncEngine *engine, RmsyncLane *lane, const char *uuid,
			  RmsyncQueueRow *rows, int nrows)
{
	EngineJob *ejob;
	RmsyncJob *job;

	if (!claim(engine, lane->lane_id, CLAIM_NOTEBOOK, uuid))
		return;
	if (rows == NULL)
		nrows = rmsync_store_ready(engine->turn_cxt, lane->lane_id, 0, 0, uuid,
								   LOAD_NOTEBOOK_ROWS, &rows);
	if (nrows == 0)
	{
		unclaim(engine, lane->lane_id, CLAIM_NOTEBOOK, uuid);
		return;
	}
	ejob = new_job(engine, lane, uuid);
	job = &ejob->job;
	job->items = MemoryContextAlloc(job->cxt, sizeof(RmsyncItem *) * nrows);
	buffer_job(lane, ejob);
	for (int i = 0; i < nrows; i++)
	{
		if (claim(engine, lane->lane_id, rows[i].type, rows[i].item_id))
			job->items[job->nitems++] = new_item(job->cxt, &rows[i]);
	}
	rmsync_engine_enter(ejob);
	rmsync_store_load(job->cxt, &lane->info, job->items, job->nitems);
	job->notebook = rmsync_store_notebook(job->cxt, &lane->info, uuid,
										  &job->siblings, &job->nsiblings);
	for (int i = 0; i < job->nitems; i++)
	{
		RmsyncItem *item = job->items[i];

		if (item->type == RMSYNC_NOTEBOOK && strcmp(item->id, uuid) == 0)
			job->notebook = item;
	}
	rmsync_job_match(job);
	rmsync_engine_leave(ejob);
}

/* The notebook a row is loaded with; NULL = it is looked at alone. */
static const char *
notebook_of(const RmsyncQueueRow *row)
{
	if (row->notebook_uuid != NULL)
		return row->notebook_uuid;
	return row->type == RMSYNC_NOTEBOOK ? row->item_id : NULL;
}

static void
load_notebooks(RmsyncEngine *engine, RmsyncLane *lane, RmsyncQueueRow *rows,
			   int nrows)
{
	for (int i = 0; i < nrows; i++)
	{
		const char *uuid = notebook_of(&rows[i]);

		if (uuid == NULL)
			load_items(engine, lane, &rows[i], 1);
		else if (lane->buffered <= lane->limits.jobs_per_lane)
			load_notebook(engine, lane, uuid, NULL, 0);
		else
		{
			/* come back for the rest */
			lane->after_priority = rows[i].priority;
			lane->after_seq = rows[i].seq - 1;
			lane->ready = true;
			return;
		}
	}
}

/* Its row is gone: so is the lane, once none of its jobs is alive. */
static void
forget_lane(RmsyncEngine *engine, RmsyncLane *lane)
{
	lane->ready = false;
	if (lane->in_flight > 0 || lane->buffered > 0)
		return;
	if (lane->listed)
		dlist_delete(&lane->node);
	rmsync_lane_clear(lane);
	(void) hash_search(engine->lanes, &lane->lane_id, HASH_REMOVE, NULL);
}

static void
load_lane(RmsyncEngine *engine, RmsyncLane *lane, int64 now_us)
{
	RmsyncQueueRow *rows;
	int limit = LOAD_ROWS;
	int n;

	engine->loading = lane;
	if (rmsync_lane_refresh(lane, now_us))
		rmsync_lane_store_limits(lane, now_us);
	else
	{
		engine->loading = NULL;
		forget_lane(engine, lane);
		return;
	}
	if (!lane->usable || rmsync_lane_wait(lane, now_us) > 0)
	{
		/* touched again when it is enabled, unblocked or reconnected */
		if (rmsync_lane_wait(lane, now_us) == 0)
			lane->ready = false;
		engine->loading = NULL;
		return;
	}
	/* what cannot be sent soon should not be read yet */
	if (lane->limits.rate.limit > 0)
		limit = Min(limit, rmsync_lane_room(lane, now_us));
	n = rmsync_store_ready(engine->turn_cxt, lane->lane_id, lane->after_priority,
						   lane->after_seq, NULL, limit, &rows);
	if (n < limit)
	{
		lane->ready = false;
		lane->after_priority = 0;
		lane->after_seq = 0;
	}
	else
	{
		lane->after_priority = rows[n - 1].priority;
		lane->after_seq = rows[n - 1].seq;
	}
	if (lane->lease->target->granularity == RMSYNC_PER_NOTEBOOK)
		load_notebooks(engine, lane, rows, n);
	else
		load_items(engine, lane, rows, n);
	engine->loading = NULL;
}

/*
 * Loads the next suspect.  What the lane has loaded before goes back: its
 * claims could be in the way.
 */
static void
load_suspect(RmsyncEngine *engine, int64 now_us)
{
	RmsyncLane *lane = engine->suspect_lane;
	bool by_notebook = lane->lease->target->granularity == RMSYNC_PER_NOTEBOOK;
	RmsyncQueueRow *rows;
	int n = 0;

	engine->loading = lane;
	engine->suspect_lane = NULL;
	lane->suspects = false; /* until the next look */
	rmsync_engine_drop_buffer(engine, lane);
	if (rmsync_lane_refresh(lane, now_us) && lane->usable &&
		rmsync_lane_wait(lane, now_us) == 0)
		n = rmsync_store_suspects(engine->turn_cxt, lane->lane_id, by_notebook,
								  LOAD_NOTEBOOK_ROWS, &rows);
	if (n > 0)
	{
		if (by_notebook && notebook_of(&rows[0]) != NULL)
			load_notebook(engine, lane, notebook_of(&rows[0]), rows, n);
		else
			load_items(engine, lane, rows, 1);
	}
	if (lane->buffered > 0)
	{
		Assert(lane->buffered == 1);
		engine->alone =
			dlist_container(EngineJob, node, dlist_pop_head_node(&lane->buffer));
		lane->buffered = 0;
	}
	engine->loading = NULL;
}

void
rmsync_engine_load(RmsyncEngine *engine, int64 now_us)
{
	dlist_mutable_iter iter;
	int visited = 0;
	int max = engine->careful > 0 ? 1 : LOAD_LANES;

	if (engine->suspect_lane != NULL)
	{
		load_suspect(engine, now_us);
		return;
	}
	dlist_foreach_modify(iter, &engine->active)
	{
		RmsyncLane *lane = dlist_container(RmsyncLane, node, iter.cur);

		if (!rmsync_engine_loadable(engine, lane, now_us))
			continue;
		load_lane(engine, lane, now_us);
		if (++visited >= max)
			break;
	}
}
