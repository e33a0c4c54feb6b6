/*-------------------------------------------------------------------------
 *
 * engine_internal.h
 *	  What the files of the engine share: engine.c (turns), engine_work.c
 *	  (new work), engine_load.c (queue rows to jobs), engine_job.c (the life of
 *	  a job), engine_limit.c (what services say about their limits),
 *	  engine_record.c (outcomes to the database), engine_trouble.c (what
 *	  failures mean), engine_oauth.c (renewing tokens), engine_suspect.c (after
 *	  a crash).
 *
 * A job is in exactly one list of the engine, or buffered in its lane, or in
 * the hands of the transport:
 *
 *	lane->buffer -> start -> [waiting] -> transport -> responded -+
 *						 ^	   |								  |
 *						 |	   +---- delayed, committing <--------+-> ended
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_ENGINE_INTERNAL_H
#define RMSYNC_ENGINE_INTERNAL_H

#include "engine.h"
#include "http.h"
#include "lane.h"
#include "lib/ilist.h"
#include "target.h"
#include "utils/hsearch.h"

#define RMSYNC_MAX_TARGETS 16

/* A second target is left to a new worker for this long. */
#define RMSYNC_LEAVE_US 1000000

/* Totals of lanes are written at most this often. */
#define RMSYNC_TOTALS_US 1000000

typedef struct EngineJob
{
	dlist_node	node;
	dlist_node	started_node;	/* in engine->started */
	RmsyncJob	job;
	struct RmsyncEngine *engine;
	RmsyncLane *lane;
	RmsyncHttpRequest request;
	RmsyncHttpResponse response;	/* of the last request */
	int64		deadline_us;	/* delayed until, or the time of its place */
	bool		placed;			/* it has one; else it is to ask again then */
	int64		started_us;
	int			db_errors;		/* how often recording it failed */
	int			generation;		/* of the lane's credentials at its start */
	bool		put_off;		/* its lane was stopped before it could send */
	bool		began;
	int			record;			/* entries in the flight recorder */
} EngineJob;

/* What is claimed: an item or a notebook of a lane. */
typedef struct ClaimKey
{
	int64		lane_id;
	uint64		what;			/* hash of type and id */
} ClaimKey;

struct RmsyncEngine
{
	MemoryContext cxt;			/* life of the engine */
	MemoryContext turn_cxt;		/* reset each turn */
	RmsyncHttp *http;
	bool		foreground;
	bool		can_grow;
	bool		wants_help;
	bool		scanned;		/* first scan of ready lanes done */
	bool		instance_ok;
	bool		key_ok;			/* there is a master key */
	bool		others;			/* other processes got work from us */
	bool		look_for_suspects;
	int64		again_us;		/* the database was left to another process: try
								 * again then; 0 = it was not */
	bool		woken_again;	/* and then take in */
	HTAB	   *lanes;
	HTAB	   *claims;
	dlist_head	active;			/* lanes with ready rows or buffered jobs */
	dlist_head	started;		/* jobs started and not ended, all of them */
	dlist_head	responded;
	dlist_head	waiting;		/* for their place in the limit */
	dlist_head	delayed;
	dlist_head	committing;
	dlist_head	ended;
	dlist_head	refreshes;		/* tokens being renewed */
	int			nended;
	int			ncommitting;
	int			in_flight;		/* jobs started and not ended */
	int64		ended_since_us;
	TimestampTz next_due;		/* earliest sleeping row; 0 = none */
	bool		due_dirty;		/* next_due must be read again */
	bool		limits_dirty;	/* more is known of limits than is stored */
	int64		next_check_us;	/* timed look at everything */
	int64		next_partition_us;
	int64		totals_since_us;	/* totals of lanes not written; 0 = none */
	RmsyncLease leases[RMSYNC_MAX_TARGETS];
	int			nleases;
	EngineJob  *current;		/* being recorded: blamed for an error */
	RmsyncLane *loading;		/* being loaded: blamed for an error */
	bool		abandoned;		/* the transport is no longer to be used */
	int			careful;		/* after an error: so many transactions are for
								 * one job each */
	bool		after_crash;	/* of a former worker */
	bool		has_suspects;	/* as of the last look */
	RmsyncLane *suspect_lane;	/* has a suspect that could run now */
	EngineJob  *alone;			/* suspect loaded or running: nothing else may */
	uint64		random_state;
	RmsyncEngineStat stat;
};

/* engine.c */
extern bool rmsync_engine_tokens_turn(RmsyncEngine *engine);
extern int64 rmsync_engine_now(void);	/* monotonic microseconds */
extern double rmsync_engine_random(RmsyncEngine *engine);
extern int	rmsync_engine_scaled(int delay_ms); /* rmsync.backoff_scale */
extern void rmsync_engine_touch(RmsyncEngine *engine, RmsyncLane *lane);
extern RmsyncLane *rmsync_engine_lane(RmsyncEngine *engine, int64 lane_id);
extern void rmsync_engine_lane_has_work(RmsyncEngine *engine, int64 lane_id,
										int64 now_us, bool *others);

/* engine_work.c */
extern void rmsync_engine_has_work(RmsyncEngine *engine, RmsyncLaneList *lanes,
								   int64 now_us, bool *others);
extern bool rmsync_engine_take_in(RmsyncEngine *engine, int64 now_us,
								  bool *others);
extern void rmsync_engine_polls(RmsyncEngine *engine, int64 now_us,
								bool *others);
extern void rmsync_engine_check(RmsyncEngine *engine, int64 now_us,
								bool *others);
/* Items whose objects turned out to be gone, and what is to be told. */
extern void rmsync_engine_lost(EngineJob *ejob);
extern void rmsync_engine_links(RmsyncEngine *engine, EngineJob *ejob,
								int64 now_us);
extern bool rmsync_engine_links_wanted(RmsyncEngine *engine);
extern void rmsync_engine_reclaim(RmsyncEngine *engine, int64 now_us);

/* engine_load.c */
extern bool rmsync_engine_loadable(RmsyncEngine *engine, RmsyncLane *lane,
								   int64 now_us);
extern void rmsync_engine_load(RmsyncEngine *engine, int64 now_us);
extern void rmsync_engine_release(RmsyncEngine *engine, EngineJob *ejob);
extern void rmsync_engine_drop_buffer(RmsyncEngine *engine, RmsyncLane *lane);

/* engine_job.c */
extern void rmsync_engine_start_jobs(RmsyncEngine *engine, int64 now_us);
extern void rmsync_engine_advance(RmsyncEngine *engine, EngineJob *ejob);
extern void rmsync_engine_responses(RmsyncEngine *engine);
extern void rmsync_engine_places(RmsyncEngine *engine, int64 now_us);
extern void rmsync_engine_delays(RmsyncEngine *engine, int64 now_us);
extern bool rmsync_job_troubles_lane(const RmsyncJob *job);
extern bool rmsync_item_settled(const RmsyncTarget *target,
								const RmsyncLaneInfo *lane, RmsyncItem *item);

/* engine_limit.c */
extern void rmsync_engine_limited(RmsyncEngine *engine, RmsyncLane *lane,
								  const RmsyncFailure *fail,
								  RmsyncLimitKind kind);
extern void rmsync_engine_answered(RmsyncEngine *engine, RmsyncLane *lane,
								   const RmsyncHttpResponse *response);
extern void rmsync_engine_limits_store(RmsyncEngine *engine, int64 now_us);
extern void rmsync_engine_limits_load(RmsyncEngine *engine, int64 now_us);

/* engine_suspect.c */
extern void rmsync_engine_enter(EngineJob *ejob);
extern void rmsync_engine_leave(EngineJob *ejob);
extern void rmsync_engine_find_suspects(RmsyncEngine *engine, int64 now_us,
										bool *others);
extern void rmsync_engine_choose_suspect(RmsyncEngine *engine, int64 now_us);
extern bool rmsync_engine_quiet(const RmsyncEngine *engine);
extern void rmsync_engine_drop_alone(RmsyncEngine *engine);

/* engine_record.c */
extern bool rmsync_engine_record(RmsyncEngine *engine, int64 now_us);
extern void rmsync_engine_recorded(RmsyncEngine *engine);
extern void rmsync_engine_flush_lanes(RmsyncEngine *engine, int64 now_us,
									  bool all);

/* engine_trouble.c */
extern bool rmsync_engine_blame(EngineJob *ejob);
extern void rmsync_engine_trouble(RmsyncEngine *engine, EngineJob *ejob,
								  int64 now_us);
extern void rmsync_engine_refused(RmsyncLane *lane, const char *reason,
								  int requests);

/* engine_oauth.c */
extern bool rmsync_engine_refresh(RmsyncEngine *engine, RmsyncLane *lane);
extern bool rmsync_engine_refresh_store(RmsyncEngine *engine, int64 now_us);
extern void rmsync_engine_refresh_stored(RmsyncEngine *engine);
extern int64 rmsync_engine_refresh_wait(RmsyncEngine *engine, int64 now_us);
extern bool rmsync_engine_refresh_finish(RmsyncEngine *engine);
extern void rmsync_engine_refresh_drop(RmsyncEngine *engine);

#endif							/* RMSYNC_ENGINE_INTERNAL_H */
