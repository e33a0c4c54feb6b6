/*-------------------------------------------------------------------------
 *
 * engine.h
 *	  The engine: fold, dispatch, HTTP, record.  Used by the worker's loop and
 *	  by CALL rmsync_run().
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_ENGINE_H
#define RMSYNC_ENGINE_H

#include <signal.h>

#include "datatype/timestamp.h"

typedef struct RmsyncEngine RmsyncEngine;

typedef enum RmsyncEngineState
{
	RMSYNC_ENGINE_BUSY,			/* work in flight or due */
	RMSYNC_ENGINE_IDLE,			/* nothing in flight, nothing due now */
	RMSYNC_ENGINE_GONE			/* the extension is no longer there: stop */
} RmsyncEngineState;

/*
 * Creates the engine of this process.  "foreground": inside CALL, where
 * ownership of targets is taken only while running.  No transaction may be
 * open in a worker.
 */
extern RmsyncEngine *rmsync_engine_create(bool foreground);

/*
 * A worker calls this first: what a crashed one was working on is marked, and
 * from then on this one's work is recorded under "worker", its number.
 */
extern void rmsync_engine_take_over(RmsyncEngine *engine, int worker);

/*
 * One turn; never waits for the network.  "woken": the work counter changed
 * since the last turn (fold).  Sets *timeout_ms to when the next turn is due
 * at the latest (-1 = none).  May throw on database errors; the caller then
 * aborts the transaction and calls rmsync_engine_recover.
 */
extern RmsyncEngineState rmsync_engine_turn(RmsyncEngine *engine, bool woken,
											long *timeout_ms);

/* Descriptor to wait for besides the latch (see rmsync_http_fd). */
extern int	rmsync_engine_fd(RmsyncEngine *engine);

/* More workers may be started: leave a second target to a new one at first. */
extern void rmsync_engine_can_grow(RmsyncEngine *engine, bool can_grow);

/* Targets with due work that no process owns: another worker would help. */
extern bool rmsync_engine_wants_help(RmsyncEngine *engine);

/* After an error was caught: transfers go on, unsure work is loaded anew. */
extern void rmsync_engine_recover(RmsyncEngine *engine);

/* After SIGHUP. */
extern void rmsync_engine_reload(RmsyncEngine *engine);

/*
 * Before the end of the process: waits for new tokens that are under way
 * (until their request's time-out, or ProcDiePending), stores them, and then
 * flushes finished results.  May throw; called again after
 * rmsync_engine_recover it goes on with what is left.
 */
extern void rmsync_engine_shutdown(RmsyncEngine *engine);

/*
 * A service is asked for new tokens, or has sent them, and the old ones are as
 * good as dead: the process must not end now without rmsync_engine_shutdown.
 * A signal handler may read it.
 */
extern volatile sig_atomic_t rmsync_tokens_under_way;
extern void rmsync_engine_destroy(RmsyncEngine *engine);

/* Earliest time queued work becomes due; 0 = none known. */
extern TimestampTz rmsync_engine_next_due(RmsyncEngine *engine);

/*
 * Questions that a person asks a service (target_probe.h), in the foreground
 * and outside of any transaction.  "open" reads a connection, whatever its
 * state; *why says what is wrong if it returns NULL.  "run" asks until there
 * is nothing more to ask or probe->fail is set: it waits for limits (a minute
 * at most), tries again what was surely not done, and renews a token.  The
 * lane belongs to the engine.  Both can be
 * interrupted, which is an error.  "begin" prepares a probe in "cxt"
 * before the target's part fills it.
 */
struct RmsyncLane;
struct RmsyncProbe;
extern struct RmsyncLane *rmsync_engine_probe_open(RmsyncEngine *engine,
												   int64 lane_id,
												   const char **why);
extern void rmsync_engine_probe_begin(struct RmsyncLane *lane,
									  struct RmsyncProbe *probe,
									  MemoryContext cxt);
extern void rmsync_engine_probe_run(RmsyncEngine *engine,
									struct RmsyncLane *lane,
									struct RmsyncProbe *probe);

/* Waits, interruptibly, as long as a back-off of so many milliseconds takes. */
extern void rmsync_engine_pause(RmsyncEngine *engine, int delay_ms);

/* Totals since creation. */
typedef struct RmsyncEngineStat
{
	int			in_flight;
	int			lanes;
	uint64		requests;
	uint64		succeeded;
	uint64		skipped;
	uint64		retried;
	uint64		failed;
	uint64		folded;
	uint64		bytes_sent;
	uint64		bytes_received;
} RmsyncEngineStat;

/* Queue ids of the items being worked on, at most "max"; returns how many. */
extern int	rmsync_engine_in_flight(RmsyncEngine *engine, int64 *ids,
									int max);

extern void rmsync_engine_stat(RmsyncEngine *engine, RmsyncEngineStat *stat);

#endif							/* RMSYNC_ENGINE_H */
