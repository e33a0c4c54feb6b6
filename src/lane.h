/*-------------------------------------------------------------------------
 *
 * lane.h
 *	  Lanes as the engine keeps them in memory: state, limits, fairness.
 *
 * A lane is one user's connection to one target.  Its claims, bucket and
 * place in the schedule live here, in the one process that holds the lease on
 * its target; nothing of it is written per request.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_LANE_H
#define RMSYNC_LANE_H

#include "lib/ilist.h"
#include "shmem_limit.h"
#include "store.h"
#include "target.h"
#include "utils/hsearch.h"

/* A target as this process sees it. */
typedef struct RmsyncLease
{
	const RmsyncTarget *target;
	bool		held;			/* we may send */
	int64		unowned_since_us;	/* left for another worker; 0 = not */
	int			in_flight;
	int			fail_streak;	/* network failures in a row, all lanes */
	int64		open_until_us;	/* breaker: nothing starts before */
} RmsyncLease;

/* An item on whose requests the service fails, while others succeed. */
#define RMSYNC_MAX_BLAMES 8
typedef struct RmsyncBlame
{
	int64		queue_id;
	int			times;			/* in a row */
} RmsyncBlame;

typedef struct RmsyncLane
{
	int64		lane_id;		/* hash key */
	RmsyncLaneInfo info;
	RmsyncLease *lease;
	bool		loaded;			/* row was read at least once */
	bool		usable;			/* enabled, active, decrypted */
	bool		probed;			/* a person asks, whatever its state */
	MemoryContext cxt;			/* info and config; rebuilt on change */
	char	   *remote_copy;	/* info.remote, if it is the lane's own */
	char	   *credentials;	/* what config was decrypted from */
	int			generation;		/* of the credentials */
	RmsyncTargetLimits limits;
	uint64		limit_key;		/* its bucket's, see shmem_limit.h */
	uint64		workspace_key;	/* of the limit above that; 0 = unknown */
	bool		has_backup;
	bool		backup_tried;
	bool		swapped;		/* config is no longer the stored one */
	bool		stale;			/* its remote notes are to be learned again */
	bool		has_refresh;	/* its token can be renewed */
	int			refreshes;		/* in a row, nothing accepted since */
	struct EngineRefresh *refresh;	/* under way: nothing is loaded */

	bool		ready;			/* may have rows to load */
	bool		suspects;		/* has rows that must run alone */
	bool		listed;			/* in the engine's ready list */
	dlist_node	node;
	int			after_priority; /* low-water mark of the last load */
	int64		after_seq;
	dlist_head	buffer;			/* loaded jobs that may start */
	int			buffered;
	int			in_flight;		/* jobs started and not ended */
	int			troubled;		/* jobs that ended with the lane's trouble and
								 * are not recorded yet: nothing starts */
	int64		blocked_until_us;
	int			fail_streak;
	int			limit_streak;	/* limits without a time, in a row */
	int			blocked_streak; /* as stored */
	bool		answered;		/* a request succeeded since the last failure */
	RmsyncBlame blames[RMSYNC_MAX_BLAMES];	/* see engine_record.c */

	int			done_items;		/* since the last store_lane_synced */
	int			done_jobs;
	int64		synced;			/* items ever, for the first success */
} RmsyncLane;

/* Why a lane is in state auth when the key is at fault, not the service. */
#define RMSYNC_NO_KEY_OPENS "no master key opens the stored configuration"

/* Finds or adds. */
extern RmsyncLane *rmsync_lane_get(HTAB *lanes, int64 lane_id);

/*
 * Reads the lane's row, decrypts its configuration if it changed, and sets
 * usable.  Needs a transaction.  False if the row is gone (the caller removes
 * the lane once nothing of it is in flight).  A configuration no key opens
 * puts the lane into state auth.
 */
extern bool rmsync_lane_refresh(RmsyncLane *lane, int64 now_us);

/* Its waiting time was lifted. */
extern void rmsync_lane_unblock(RmsyncLane *lane);

/*
 * Makes lanes active again whose configuration no key opened and one does
 * now; lists them.  Needs a transaction and a master key.
 */
extern void rmsync_lanes_reopen(MemoryContext cxt, RmsyncLaneList *lanes);

/* Frees what the lane owns. */
extern void rmsync_lane_clear(RmsyncLane *lane);

/*
 * Takes the place of a request; returns microseconds until its time.  return
 * gives it back.
 */
extern int64 rmsync_lane_reserve(const RmsyncLane *lane, int64 now_us);
extern void rmsync_lane_return(const RmsyncLane *lane);

/* The service told it, or a lane with the same limit, to wait. */
extern bool rmsync_lane_closed(const RmsyncLane *lane, int64 now_us);

/* How many requests could be sent now. */
extern double rmsync_lane_tokens(const RmsyncLane *lane, int64 now_us);

/*
 * The service refused a request: all lanes wait that have its limit, which is
 * the workspace's or the credential's.
 */
extern void rmsync_lane_limited(RmsyncLane *lane, bool workspace,
								int64 until_us, int64 now_us);

/* Microseconds until the lane may start a job or request; 0 = now. */
extern int64 rmsync_lane_wait(const RmsyncLane *lane, int64 now_us);

#endif							/* RMSYNC_LANE_H */
