/*-------------------------------------------------------------------------
 *
 * engine_work.c
 *	  Where the engine learns of work: fold, reconcile, the timed look.
 *
 * Runs inside the engine's transaction.  Lanes that have work become ready
 * here, and their targets are leased; engine_load.c reads their rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "credentials.h"
#include "engine_internal.h"
#include "guc.h"
#include "store.h"

#define FOLD_MARKS 5000
#define PARTITION_US INT64CONST(3600000000)

static bool
holds_other(RmsyncEngine *engine, RmsyncLease *lease)
{
	for (int i = 0; i < engine->nleases; i++)
	{
		if (&engine->leases[i] != lease && engine->leases[i].held)
			return true;
	}
	return false;
}

/* Tries to become the one process that sends for a target. */
static void
seek_lease(RmsyncEngine *engine, RmsyncLease *lease, int64 now_us, bool *others)
{
	if (lease->held)
		return;
	if (!rmsync_store_lease(lease->target->name))
	{
		lease->unowned_since_us = 0;
		*others = true;
		return;
	}
	if (!engine->foreground && engine->can_grow && holds_other(engine, lease) &&
		(lease->unowned_since_us == 0 ||
		 now_us - lease->unowned_since_us < RMSYNC_LEAVE_US))
	{
		rmsync_store_unlease(lease->target->name);
		if (lease->unowned_since_us == 0)
			lease->unowned_since_us = now_us;
		engine->wants_help = true;
		return;
	}
	lease->unowned_since_us = 0;
	lease->held = true;
}

/*
 * A lane, known with its target from now on; NULL if there is no such lane, or
 * this library does not know its target.
 */
RmsyncLane *
rmsync_engine_lane(RmsyncEngine *engine, int64 lane_id)
{
	RmsyncLane *lane = rmsync_lane_get(engine->lanes, lane_id);
	RmsyncLaneRow row;
	const RmsyncTarget *target;

	if (lane->lease != NULL)
		return lane;
	if (!rmsync_store_lane(engine->turn_cxt, lane_id, &row))
		return NULL;
	target = rmsync_target_find(row.target_name);
	for (int i = 0; target != NULL && i < engine->nleases; i++)
	{
		if (engine->leases[i].target == target)
			lane->lease = &engine->leases[i];
	}
	if (lane->lease == NULL)
		return NULL;
	lane->limits = target->limits;
	return lane;
}

/* New work for a lane: it is read from the start again. */
void
rmsync_engine_lane_has_work(RmsyncEngine *engine, int64 lane_id, int64 now_us,
							bool *others)
{
	RmsyncLane *lane = rmsync_engine_lane(engine, lane_id);

	if (lane == NULL)
		return;
	lane->ready = true;
	lane->after_priority = 0;
	lane->after_seq = 0;
	rmsync_engine_touch(engine, lane);
	seek_lease(engine, lane->lease, now_us, others);
}

void
rmsync_engine_has_work(RmsyncEngine *engine, RmsyncLaneList *lanes,
					   int64 now_us, bool *others)
{
	for (int i = 0; i < lanes->n; i++)
		rmsync_engine_lane_has_work(engine, lanes->ids[i], now_us, others);
}

/*
 * Somebody may have lifted the waiting time of lanes: rmsync_enable(), a new
 * configuration.
 */
static void
unblock_lanes(RmsyncEngine *engine)
{
	HASH_SEQ_STATUS seq;
	RmsyncLane *lane;
	RmsyncLaneList blocked;
	int64 now_us = rmsync_engine_now();

	blocked.n = 0;
	blocked.ids = palloc(sizeof(int64) * hash_get_num_entries(engine->lanes));
	hash_seq_init(&seq, engine->lanes);
	while ((lane = hash_seq_search(&seq)) != NULL)
	{
		if ((lane->blocked_streak > 0 && lane->blocked_until_us > now_us) ||
			lane->stored_closed_us > now_us || lane->stored_workspace_us > now_us)
			blocked.ids[blocked.n++] = lane->lane_id;
	}
	if (blocked.n == 0)
		return;
	rmsync_store_unblocked(engine->turn_cxt, &blocked);
	for (int i = 0; i < blocked.n; i++)
		rmsync_lane_unblock(rmsync_lane_get(engine->lanes, blocked.ids[i]));
}

/*
 * Without a master key nothing can be sent, and trying would only fill the
 * log.
 */
static void
check_master_key(RmsyncEngine *engine, int64 now_us, bool *others)
{
	char *why = NULL;
	RmsyncLaneList lanes;
	bool ok = rmsync_have_master_key(&why);

	if (!ok && engine->key_ok)
		ereport(LOG, (errmsg("rmsync delivers nothing without a master key"),
					  errdetail_internal("%s", why)));
	else if (ok && !engine->key_ok)
		ereport(LOG, (errmsg("rmsync has a master key again")));
	engine->key_ok = ok;
	if (!ok)
		return;
	rmsync_lanes_reopen(engine->turn_cxt, &lanes);
	rmsync_engine_has_work(engine, &lanes, now_us, others);
}

/* Everything is looked at now and then, whoever forgot to wake us. */
void
rmsync_engine_check(RmsyncEngine *engine, int64 now_us, bool *others)
{
	RmsyncLaneList lanes;

	engine->instance_ok = rmsync_store_instance_ok();
	if (!engine->foreground)
		check_master_key(engine, now_us, others);
	if (!engine->scanned && engine->key_ok)
		rmsync_engine_limits_load(engine, now_us);
	rmsync_store_ready_lanes(engine->turn_cxt, &lanes);
	rmsync_engine_has_work(engine, &lanes, now_us, others);
	if (now_us >= engine->next_partition_us)
	{
		(void) rmsync_store_give_up(rmsync_max_age);
		rmsync_store_log_partitions(rmsync_log_retention);
		rmsync_store_trim_webhooks();
		engine->next_partition_us = now_us + PARTITION_US;
	}
	engine->next_check_us = now_us + (int64) rmsync_recheck_interval * 1000;
	engine->scanned = true;
	engine->due_dirty = true;
}

/* Lanes that are to look at their target now. */
void
rmsync_engine_polls(RmsyncEngine *engine, int64 now_us, bool *others)
{
	RmsyncLaneList lanes;

	rmsync_store_polls(engine->turn_cxt, rmsync_todo_poll_interval, &lanes);
	rmsync_engine_has_work(engine, &lanes, now_us, others);
	engine->due_dirty = true;
}

/*
 * After a wake-up: fold and reconcile.  Returns whether there is new work in
 * the queue.
 */
bool
rmsync_engine_take_in(RmsyncEngine *engine, int64 now_us, bool *others)
{
	RmsyncLaneList lanes;
	bool reconciled;
	int folded;

	folded = rmsync_store_fold(engine->turn_cxt, FOLD_MARKS, &lanes);
	engine->stat.folded += folded;
	rmsync_engine_has_work(engine, &lanes, now_us, others);
	rmsync_store_reconcile(engine->turn_cxt, &lanes);
	rmsync_engine_has_work(engine, &lanes, now_us, others);
	reconciled = lanes.n > 0;
	unblock_lanes(engine);
	if (folded == 0)
	{
		bool ignored = false;

		/* somebody else folded, or put rows into the queue directly */
		rmsync_store_ready_lanes(engine->turn_cxt, &lanes);
		rmsync_engine_has_work(engine, &lanes, now_us, &ignored);
		engine->due_dirty = true;
	}
	if (folded >= FOLD_MARKS)
		engine->next_check_us = now_us; /* more of them */
	return folded > 0 || reconciled;
}

/* Targets left to another worker which nobody took. */
void
rmsync_engine_reclaim(RmsyncEngine *engine, int64 now_us)
{
	for (int i = 0; i < engine->nleases; i++)
	{
		RmsyncLease *lease = &engine->leases[i];

		if (lease->unowned_since_us > 0 &&
			now_us - lease->unowned_since_us >= RMSYNC_LEAVE_US)
			engine->next_check_us = now_us;
	}
}

/* Items whose objects turned out to be gone, and what is to be told of them. */
void
rmsync_engine_lost(EngineJob *ejob)
{
	RmsyncJob *job = &ejob->job;

	if (job->notice != NULL)
		rmsync_store_notify(job->lane, job->notice_code, job->notice,
							job->notebook);
	for (int i = 0; i < job->nsiblings; i++)
	{
		if (!job->siblings[i].lost)
			continue;
		rmsync_store_flush();
		rmsync_store_lost(job->lane, job->group_key, job->siblings[i].type,
						  job->siblings[i].id);
	}
}

/*
 * Pages of a job whose objects have changed, or are gone for longer.  Returns
 * how many.
 */
static int
changed_pages(const EngineJob *ejob, const char **ids)
{
	const RmsyncJob *job = &ejob->job;
	int n = 0;

	if (!ejob->lane->lease->target->linked_to)
		return 0;
	for (int i = 0; i < job->nitems; i++)
	{
		RmsyncItem *item = job->items[i];
		const char *now = item->ledger.exists ? item->ledger.external_id : NULL;

		if (item->type != RMSYNC_PAGE ||
			(now == NULL && item->present && item->ready) ||
			(now == NULL && item->recorded_id == NULL) ||
			(now != NULL && item->recorded_id != NULL &&
			 strcmp(now, item->recorded_id) == 0))
			continue;
		if (ids != NULL)
			ids[n] = item->id;
		n++;
	}
	for (int i = 0; i < job->nsiblings; i++)
	{
		const RmsyncSibling *s = &job->siblings[i];

		/* one that is ready gets another object soon */
		if (!s->lost || s->type != RMSYNC_PAGE || s->ready)
			continue;
		if (ids != NULL)
			ids[n] = s->id;
		n++;
	}
	return n;
}

/* Is anything to be recorded for which other lanes' rows are written? */
bool
rmsync_engine_links_wanted(RmsyncEngine *engine)
{
	dlist_iter iter;

	dlist_foreach(iter, &engine->committing)
	{
		if (changed_pages(dlist_container(EngineJob, node, iter.cur), NULL) > 0)
			return true;
	}
	dlist_foreach(iter, &engine->ended)
	{
		if (changed_pages(dlist_container(EngineJob, node, iter.cur), NULL) > 0)
			return true;
	}
	return false;
}

/*
 * Items of other connections that link to the objects of pages: what changed
 * is queued for them.
 */
void
rmsync_engine_links(RmsyncEngine *engine, EngineJob *ejob, int64 now_us)
{
	RmsyncJob *job = &ejob->job;
	int n = changed_pages(ejob, NULL);
	const char **ids;
	int64 lane_id;

	if (n == 0)
		return;
	ids = palloc(sizeof(char *) * n);
	(void) changed_pages(ejob, ids);
	rmsync_store_flush();
	lane_id = rmsync_store_links(job->lane, ids, n);
	if (lane_id != 0)
		rmsync_engine_lane_has_work(engine, lane_id, now_us, &engine->others);
}
