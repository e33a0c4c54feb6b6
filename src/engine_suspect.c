/*-------------------------------------------------------------------------
 *
 * engine_suspect.c
 *	  Items that may have crashed a worker: marking them, running them alone.
 *
 * When a worker starts it reads what the flight recorder of a crashed one
 * says (recorder.c).  Rows of several jobs become suspects, whose jobs run
 * alone; the rows of a job that crashed alone become suspects that run alone
 * themselves; a row that did and crashed has one crash to its name, and at the
 * second it is quarantined (rmsync.blame_crash).  Success takes the row out of
 * the queue and ends the suspicion.
 *
 * Alone means that nothing else is loaded, under way or unrecorded in this
 * process: what crashes then has crashed it.  Suspects go before other work,
 * or a busy worker would never get to them; but only those whose connection
 * could send now, so that one that cannot holds up nobody.
 *
 * Commits are asynchronous as a rule, and so a crash can take the rows that
 * were just folded with it: they come back as other rows, and nobody is blamed.
 * That happens once: after a crash, and as long as there are suspects, every
 * commit is durable.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "engine_internal.h"
#include "recorder.h"
#include "store.h"
#include "txn.h"

static void
report_crash(const RmsyncCrash *crash, int quarantined)
{
	ereport(LOG,
			(errmsg_plural("an rmsync worker crashed while working on %d item",
						   "an rmsync worker crashed while working on %d items",
						   crash->n, crash->n),
			 errdetail("It received signal %d; the first queue row is " INT64_FORMAT
					   "; items quarantined: %d.",
					   crash->signo, crash->n > 0 ? crash->ids[0] : 0,
					   quarantined)));
}

/*
 * Settles what crashed workers of this database left behind, then begins to
 * record this one.  To be called before anything is loaded, with no
 * transaction open.  If it throws, the files stay for the next worker.
 */
void
rmsync_engine_take_over(RmsyncEngine *engine, int worker)
{
	MemoryContext cxt = CurrentMemoryContext;
	List *crashes;
	ListCell *lc;

	rmsync_txn_begin("rmsync: looking for crashes");

	/*
	 * Workers that start at the same time wait for each other here: none may
	 * load before all suspects are marked.
	 */
	rmsync_store_lock_crashes();
	MemoryContextSwitchTo(cxt);
	crashes = rmsync_recorder_collect(MyDatabaseId);
	foreach (lc, crashes)
	{
		RmsyncCrash *crash = lfirst(lc);

		report_crash(crash, rmsync_store_blame_crash(crash->ids, crash->n,
													 crash->one_job));
	}
	rmsync_txn_end(true);

	/* Only after the commit, which is durable: a crash must not be lost. */
	rmsync_recorder_forget(crashes);
	engine->after_crash = crashes != NIL;
	list_free_deep(crashes);
	rmsync_recorder_open(MyDatabaseId, worker);
}

/* Enters a job's rows into the flight recorder. */
void
rmsync_engine_enter(EngineJob *ejob)
{
	for (int i = 0; i < ejob->job.nitems; i++)
		rmsync_recorder_enter(&ejob->record, ejob->job.items[i]->queue_id);
}

void
rmsync_engine_leave(EngineJob *ejob)
{
	rmsync_recorder_leave(&ejob->record);
}

/*
 * Lets the next suspect's lane be chosen: one that could send now.  With none,
 * other work goes on.
 */
void
rmsync_engine_choose_suspect(RmsyncEngine *engine, int64 now_us)
{
	dlist_iter iter;

	engine->suspect_lane = NULL;
	if (!engine->has_suspects || !engine->instance_ok)
		return;
	dlist_foreach(iter, &engine->active)
	{
		RmsyncLane *lane = dlist_container(RmsyncLane, node, iter.cur);

		if (lane->suspects && lane->lease->held && lane->troubled == 0 &&
			rmsync_lane_wait(lane, now_us) == 0)
		{
			engine->suspect_lane = lane;
			return;
		}
	}
}

/* Finds the lanes with suspects that are ready.  Needs a transaction. */
void
rmsync_engine_find_suspects(RmsyncEngine *engine, int64 now_us, bool *others)
{
	RmsyncLaneList lanes;
	dlist_iter iter;

	dlist_foreach(iter, &engine->active)
		dlist_container(RmsyncLane, node, iter.cur)
			->suspects = false;
	engine->has_suspects = rmsync_store_suspect_lanes(engine->turn_cxt, &lanes);
	for (int i = 0; i < lanes.n; i++)
	{
		rmsync_engine_lane_has_work(engine, lanes.ids[i], now_us, others);
		rmsync_lane_get(engine->lanes, lanes.ids[i])->suspects = true;
	}
	rmsync_engine_choose_suspect(engine, now_us);
}

/* Nothing is under way and nothing is left to be recorded. */
bool
rmsync_engine_quiet(const RmsyncEngine *engine)
{
	return engine->in_flight == 0 && engine->nended == 0 &&
		   engine->ncommitting == 0;
}

/* Forgets the suspect job if it has not started; it is loaded anew. */
void
rmsync_engine_drop_alone(RmsyncEngine *engine)
{
	if (engine->alone != NULL && engine->alone->started_us == 0)
		rmsync_engine_release(engine, engine->alone);
}
