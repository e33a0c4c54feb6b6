/*-------------------------------------------------------------------------
 *
 * engine.c
 *	  The engine's turns: transport, database, transport.
 *
 * Used by worker.c's loop and by CALL rmsync_run().  A turn first lets the
 * transport work and targets go on, then, if there is anything to read or
 * write, runs one short transaction (record, load), before it another if there
 * is new work (fold), then starts what was loaded.  HTTP runs only between
 * transactions.
 *
 * One process at a time sends for a target: it holds a session-level advisory
 * lock, the lease.  A worker that finds work for a target nobody has leased
 * takes it, but leaves a second target to another worker for a moment if one
 * more may be started.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "engine_internal.h"
#include "guc.h"
#include "shmem.h"
#include "store.h"
#include "txn.h"

/* Results wait at most this long, or until this many are there. */
#define FLUSH_US 20000
#define FLUSH_JOBS 128

/* While another process is at the queue's rows. */
#define AGAIN_US 3000

int64
rmsync_engine_now(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

double
rmsync_engine_random(RmsyncEngine *engine)
{
	return pg_prng_double(&pg_global_prng_state);
}

int
rmsync_engine_scaled(int delay_ms)
{
	return (int) Min(delay_ms * rmsync_backoff_scale, (double) INT_MAX);
}

RmsyncEngine *
rmsync_engine_create(bool foreground)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "rmsync engine",
											  ALLOCSET_DEFAULT_SIZES);
	RmsyncEngine *engine = MemoryContextAllocZero(cxt, sizeof(RmsyncEngine));
	HASHCTL ctl = { 0 };

	engine->cxt = cxt;
	engine->turn_cxt =
		AllocSetContextCreate(cxt, "rmsync turn", ALLOCSET_DEFAULT_SIZES);
	engine->foreground = foreground;
	engine->key_ok = true; /* until it is looked at */
	engine->http = rmsync_http_create(rmsync_max_in_flight);
	dlist_init(&engine->active);
	dlist_init(&engine->started);
	dlist_init(&engine->responded);
	dlist_init(&engine->waiting);
	dlist_init(&engine->delayed);
	dlist_init(&engine->committing);
	dlist_init(&engine->ended);
	dlist_init(&engine->refreshes);

	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(RmsyncLane);
	ctl.hcxt = cxt;
	engine->lanes = hash_create("rmsync lanes", 256, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(ClaimKey);
	ctl.entrysize = sizeof(ClaimKey);
	engine->claims = hash_create("rmsync claims", 1024, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < RMSYNC_MAX_TARGETS && rmsync_targets[i] != NULL; i++)
	{
		engine->leases[i].target = rmsync_targets[i];
		engine->nleases++;
	}
	return engine;
}

/* ---- lanes and leases ---- */

void
rmsync_engine_touch(RmsyncEngine *engine, RmsyncLane *lane)
{
	if (lane->listed)
		return;
	lane->listed = true;
	dlist_push_tail(&engine->active, &lane->node);
}

/* Lanes with nothing to read and nothing alive leave the active list. */
static void
prune_active(RmsyncEngine *engine)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &engine->active)
	{
		RmsyncLane *lane = dlist_container(RmsyncLane, node, iter.cur);

		if (lane->ready || lane->suspects || lane->buffered > 0)
			continue;
		dlist_delete(&lane->node);
		lane->listed = false;
	}
}

/* ---- the database part of a turn ---- */

static bool
may_load(const RmsyncEngine *engine)
{
	return engine->instance_ok && engine->key_ok;
}

static bool
wants_load(RmsyncEngine *engine, int64 now_us)
{
	dlist_iter iter;

	if (!may_load(engine) || engine->alone != NULL)
		return false;
	if (engine->suspect_lane != NULL)
		return rmsync_engine_quiet(engine);
	dlist_foreach(iter, &engine->active)
	{
		if (rmsync_engine_loadable(engine,
								   dlist_container(RmsyncLane, node, iter.cur),
								   now_us))
			return true;
	}
	return false;
}

static bool
due_passed(RmsyncEngine *engine)
{
	return engine->next_due != 0 && engine->next_due <= GetCurrentTimestamp();
}

static bool
wants_database(RmsyncEngine *engine, bool woken, int64 now_us)
{
	if (engine->again_us != 0)
	{
		engine->woken_again = engine->woken_again || woken;
		return now_us >= engine->again_us;
	}
	if (woken || engine->ncommitting > 0 || engine->due_dirty ||
		engine->limits_dirty || now_us >= engine->next_check_us ||
		due_passed(engine))
		return true;
	if (engine->nended >= FLUSH_JOBS)
		return true;
	if (engine->nended > 0 &&
		(now_us - engine->ended_since_us >= FLUSH_US || engine->in_flight == 0))
		return true;
	if (engine->totals_since_us != 0 &&
		now_us - engine->totals_since_us >= RMSYNC_TOTALS_US)
		return true;
	if (rmsync_engine_refresh_wait(engine, now_us) == 0)
		return true;
	return wants_load(engine, now_us);
}

/*
 * Somebody else is at the rows: what was to be done is done a moment later.
 * Waiting here would hold up the transport.
 */
static void
try_again(RmsyncEngine *engine, bool woken, int64 now_us)
{
	engine->again_us = now_us + AGAIN_US;
	engine->woken_again = engine->woken_again || woken;
	rmsync_txn_end(false);
}

/*
 * New work of all lanes, whoever serves them: the only transaction that may
 * touch rows of lanes that are not ours.  It is short, and alone at the queue:
 * rows are locked in any order.
 *
 * What is sent carries the versions given here: were they lost in a crash, it
 * would be sent again as something new.  The one that follows may write
 * nothing, and would not flush what this one has written.
 */
static bool
take_in_turn(RmsyncEngine *engine, bool woken, bool check, int64 now_us)
{
	RmsyncLaneList lanes;
	bool others = false;
	bool durable = engine->after_crash || engine->has_suspects;

	rmsync_txn_begin("rmsync: taking in");
	MemoryContextSwitchTo(engine->turn_cxt);
	if (!rmsync_store_present())
	{
		rmsync_txn_end(false);
		return false;
	}
	if (!rmsync_store_lock_queue(true))
	{
		try_again(engine, woken, now_us);
		return true;
	}
	if (woken && !engine->instance_ok)
		engine->instance_ok = rmsync_store_instance_ok();
	if (woken || check)
		durable = rmsync_engine_take_in(engine, now_us, &others) || durable;
	if (check)
		rmsync_engine_check(engine, now_us, &others);
	/* a worker that has just begun does not know what is due */
	if (check || due_passed(engine))
	{
		rmsync_store_promote(engine->turn_cxt, &lanes);
		rmsync_engine_has_work(engine, &lanes, now_us, &others);
		rmsync_store_looks(engine->turn_cxt, &lanes);
		rmsync_engine_has_work(engine, &lanes, now_us, &others);
	}
	rmsync_engine_polls(engine, now_us, &others);
	if (check)
		engine->look_for_suspects = true;
	rmsync_txn_end(durable);
	engine->others = engine->others || others;
	engine->woken_again = false;
	return true;
}

/*
 * Tokens come first, in a transaction of their own: no error of anything else
 * may keep them from being stored.  Returns false if the extension is gone.
 */
bool
rmsync_engine_tokens_turn(RmsyncEngine *engine)
{
	int64 now_us = rmsync_engine_now();
	bool durable;

	if (rmsync_engine_refresh_wait(engine, now_us) != 0)
		return true;
	rmsync_txn_begin("rmsync: renewing a token");
	MemoryContextSwitchTo(engine->turn_cxt);
	if (!rmsync_store_present())
	{
		rmsync_txn_end(false);
		return false;
	}
	durable = rmsync_engine_refresh_store(engine, now_us);
	rmsync_store_flush();
	rmsync_txn_end(durable);
	rmsync_engine_refresh_stored(engine);
	return true;
}

/* Writes and reads rows of our lanes.  Returns false if the extension is gone. */
static bool
lanes_turn(RmsyncEngine *engine, int64 now_us)
{
	bool durable;
	bool others;

	rmsync_txn_begin("rmsync: recording and loading");
	MemoryContextSwitchTo(engine->turn_cxt);
	if (!rmsync_store_present())
	{
		rmsync_txn_end(false);
		return false;
	}
	if (!rmsync_store_lock_queue(rmsync_engine_links_wanted(engine)))
	{
		try_again(engine, false, now_us);
		return true;
	}
	durable = rmsync_engine_record(engine, now_us);
	others = engine->others;
	engine->others = false;
	rmsync_engine_flush_lanes(engine, now_us, false);
	rmsync_engine_limits_store(engine, now_us);
	if (engine->look_for_suspects || engine->has_suspects)
		rmsync_engine_find_suspects(engine, now_us, &others);
	if (may_load(engine) && wants_load(engine, now_us))
	{
		/* no source, nothing to compare with: all would look deleted */
		engine->instance_ok = rmsync_store_attached();
		if (engine->instance_ok)
			rmsync_engine_load(engine, now_us);
	}
	if (engine->due_dirty)
	{
		engine->next_due = rmsync_store_next_due();
		engine->due_dirty = false;
	}
	rmsync_store_flush();
	rmsync_txn_end(durable || engine->after_crash || engine->has_suspects);

	engine->look_for_suspects = false;
	engine->limits_dirty = false;
	if (others && !engine->foreground)
		rmsync_wake_database(MyDatabaseId);
	rmsync_engine_recorded(engine);
	if (engine->careful > 0)
		engine->careful--;
	return true;
}

/* Returns false if the extension is gone. */
static bool
database_turn(RmsyncEngine *engine, bool woken, int64 now_us)
{
	bool check = now_us >= engine->next_check_us;

	if (!rmsync_engine_tokens_turn(engine))
		return false;
	engine->again_us = 0;
	woken = woken || engine->woken_again;
	if ((woken || check || due_passed(engine)) &&
		!take_in_turn(engine, woken, check, now_us))
		return false;
	return engine->again_us != 0 || lanes_turn(engine, now_us);
}

/* ---- turns ---- */

static void
sooner(long *timeout_ms, int64 in_us)
{
	long ms = in_us <= 0 ? 0 : (long) Min((in_us + 999) / 1000, 3600000);

	if (*timeout_ms < 0 || ms < *timeout_ms)
		*timeout_ms = ms;
}

/* When the next turn is due at the latest. */
static long
next_timeout(RmsyncEngine *engine)
{
	int64 now_us = rmsync_engine_now();
	long timeout = rmsync_http_wait_ms(engine->http);
	dlist_iter iter;

	if (engine->again_us != 0)
	{
		sooner(&timeout, engine->again_us - now_us);
		return timeout;
	}
	sooner(&timeout, engine->next_check_us - now_us);
	if (engine->ncommitting > 0 || !dlist_is_empty(&engine->responded) ||
		wants_load(engine, now_us))
		return 0;
	if (engine->nended > 0)
		sooner(&timeout, engine->in_flight == 0
							 ? 0
							 : engine->ended_since_us + FLUSH_US - now_us);
	if (engine->totals_since_us != 0)
		sooner(&timeout, engine->totals_since_us + RMSYNC_TOTALS_US - now_us);
	if (rmsync_engine_refresh_wait(engine, now_us) >= 0)
		sooner(&timeout, rmsync_engine_refresh_wait(engine, now_us));
	if (engine->next_due != 0)
		sooner(&timeout, engine->next_due - GetCurrentTimestamp());
	dlist_foreach(iter, &engine->waiting)
	{
		EngineJob *ejob = dlist_container(EngineJob, node, iter.cur);

		sooner(&timeout, ejob->deadline_us - now_us);
	}
	dlist_foreach(iter, &engine->delayed)
	{
		EngineJob *ejob = dlist_container(EngineJob, node, iter.cur);

		sooner(&timeout, ejob->deadline_us - now_us);
	}
	dlist_foreach(iter, &engine->active)
	{
		RmsyncLane *lane = dlist_container(RmsyncLane, node, iter.cur);
		int64 wait = rmsync_lane_wait(lane, now_us);

		if (wait > 0 && lane->lease->held)
			sooner(&timeout, wait);
		else if (lane->lease->unowned_since_us > 0)
			sooner(&timeout, RMSYNC_LEAVE_US);
	}
	return timeout;
}

RmsyncEngineState
rmsync_engine_turn(RmsyncEngine *engine, bool woken, long *timeout_ms)
{
	int64 now_us;

	rmsync_http_poll(engine->http, 64);
	rmsync_engine_responses(engine);
	now_us = rmsync_engine_now();
	rmsync_engine_choose_suspect(engine, now_us);
	rmsync_engine_places(engine, now_us);
	rmsync_engine_delays(engine, now_us);
	rmsync_engine_start_jobs(engine, now_us);
	rmsync_engine_reclaim(engine, now_us);

	if (wants_database(engine, woken, now_us))
	{
		if (!database_turn(engine, woken, now_us))
		{
			rmsync_http_abandon(engine->http);
			engine->abandoned = true;
			return RMSYNC_ENGINE_GONE;
		}
		MemoryContextReset(engine->turn_cxt);
		rmsync_engine_start_jobs(engine, now_us);
		prune_active(engine);
	}
	/* a refresh under way must not be left */
	engine->stat.in_flight =
		engine->in_flight + (dlist_is_empty(&engine->refreshes) ? 0 : 1);
	engine->stat.lanes = (int) hash_get_num_entries(engine->lanes);
	*timeout_ms = next_timeout(engine);
	return engine->stat.in_flight == 0 && engine->nended == 0 &&
				   engine->again_us == 0 && *timeout_ms != 0
			   ? RMSYNC_ENGINE_IDLE
			   : RMSYNC_ENGINE_BUSY;
}

int
rmsync_engine_fd(RmsyncEngine *engine)
{
	return rmsync_http_fd(engine->http);
}

void
rmsync_engine_can_grow(RmsyncEngine *engine, bool can_grow)
{
	engine->can_grow = can_grow;
}

bool
rmsync_engine_wants_help(RmsyncEngine *engine)
{
	bool wants = engine->wants_help;

	engine->wants_help = false;
	return wants;
}

/*
 * The job whose record failed is blamed: at its second failure it is reduced
 * to an error of its items, so that one bad row cannot stop everything.
 */
static void
blame_job(EngineJob *ejob)
{
	RmsyncJob *job = &ejob->job;

	if (++ejob->db_errors < 2)
		return;
	for (int i = 0; i < job->nitems; i++)
	{
		RmsyncItem *item = job->items[i];

		if (item->recorded)
			continue;
		item->dirty = false;
		item->outcome = RMSYNC_OUT_ITEM_ERROR;
		item->error_code = "record_failed";
		item->error = "the outcome could not be recorded, see the server log";
	}
	job->remote_dirty = false;
	job->report = NULL;
	if (job->notebook != NULL)
		job->notebook->dirty = false;
	for (int i = 0; i < job->nsiblings; i++)
		job->siblings[i].lost = false;
}

void
rmsync_engine_recover(RmsyncEngine *engine)
{
	MemoryContextReset(engine->turn_cxt);
	if (engine->current != NULL)
		blame_job(engine->current);
	rmsync_engine_drop_alone(engine);
	if (engine->loading != NULL)
	{
		/* jobs half loaded hold nothing but claims */
		rmsync_engine_drop_buffer(engine, engine->loading);
		engine->loading->blocked_until_us = rmsync_engine_now() + 1000000;
	}
	engine->current = NULL;
	engine->loading = NULL;

	/* outcomes are written together: which one was it? */
	engine->careful = engine->nended + engine->ncommitting + 1;
	engine->again_us = 0;
	engine->due_dirty = true;
}

void
rmsync_engine_reload(RmsyncEngine *engine)
{
	engine->next_check_us = 0;
}

void
rmsync_engine_shutdown(RmsyncEngine *engine)
{
	if (rmsync_engine_refresh_finish(engine))
		(void) rmsync_engine_tokens_turn(engine);
	if (engine->nended == 0 && engine->ncommitting == 0 &&
		engine->totals_since_us == 0 && !engine->limits_dirty)
		return;
	rmsync_txn_begin("rmsync: recording before exit");
	MemoryContextSwitchTo(engine->turn_cxt);
	if (rmsync_store_present())
	{
		/* also if somebody else is at the queue: it is now or never */
		(void) rmsync_store_lock_queue(false);
		(void) rmsync_engine_record(engine, rmsync_engine_now());
		rmsync_engine_flush_lanes(engine, rmsync_engine_now(), true);
		rmsync_engine_limits_store(engine, rmsync_engine_now());
		rmsync_store_flush();
	}
	rmsync_txn_end(false);
}

void
rmsync_engine_destroy(RmsyncEngine *engine)
{
	HASH_SEQ_STATUS seq;
	RmsyncLane *lane;

	rmsync_http_destroy(engine->http);
	rmsync_engine_refresh_drop(engine);
	hash_seq_init(&seq, engine->lanes);
	while ((lane = hash_seq_search(&seq)) != NULL)
		rmsync_lane_clear(lane);
	for (int i = 0; i < engine->nleases; i++)
	{
		if (engine->leases[i].held)
			rmsync_store_unlease(engine->leases[i].target->name);
	}
	MemoryContextDelete(engine->cxt);
}

TimestampTz
rmsync_engine_next_due(RmsyncEngine *engine)
{
	return engine->next_due;
}

void
rmsync_engine_stat(RmsyncEngine *engine, RmsyncEngineStat *stat)
{
	*stat = engine->stat;
}
