/*-------------------------------------------------------------------------
 *
 * ratelimit.h
 *	  A sliding window with smooth pacing: a pure module, the clock is an
 *	  argument.
 *
 * Never more than a budget of L requests in any W seconds.  Requests are
 * counted in slots of W / 60; a window of any position touches at most 61 of
 * them, so what the last 61 slots hold, this one included, must be below L.
 * Integers only: nothing rounds in somebody's favour.
 *
 * Places are given in turn, also ones to come.  The gap to the next one
 *
 * - is W / (20 * what is left), a few milliseconds, while less than half of
 *	 the budget is used: who was idle is served at once;
 * - is then the least with which one can go on for ever: for each moment of
 *	 the next window, what is left now and what will have left the window by
 *	 then is spread over the time until then.  So nothing stalls, and what
 *	 always has work converges to L requests in 61 slots.
 *
 * With 174 in 60 s: 87 requests within 2 s, then one every 0.7 s for the rest
 * of the first minute, and one every 0.35 s from then on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_RATELIMIT_H
#define RMSYNC_RATELIMIT_H

#define RMSYNC_WINDOW_SLOTS 60

/* Those of a window and those for which places can be given. */
#define RMSYNC_WINDOW_RING 128

/* What counts fit into. */
#define RMSYNC_MAX_BUDGET 60000

/* What a service allows. */
typedef struct RmsyncRate
{
	int			limit;			/* requests in any window; 0 = unlimited */
	int			higher;			/* what it may allow, for all one knows,
								 * instead; 0 = limit is what somebody said */
	int			spare;			/* one of so many is not used, as it may arrive
								 * later than it was sent; 0 = all are */
	int64		window_us;
} RmsyncRate;

typedef struct RmsyncWindow
{
	int64		slot_us;		/* 0 = not set up: nothing can be reserved */
	int64		first;			/* number of the first slot kept */
	int64		known_us;		/* what was before is not known */
	int64		last_us;		/* the latest place given */
	int64		blocked_until_us;	/* nothing before this; 0 = not blocked */
	uint16		counts[RMSYNC_WINDOW_RING]; /* slot n is at n modulo this */
} RmsyncWindow;

/* So many requests a second, with no more at once. */
extern RmsyncRate rmsync_rate_per_second(double rate);

/* How many requests of "limit" are used. */
extern int	rmsync_rate_budget(const RmsyncRate *rate, int limit);

/* The length of the slots of a window, a window's slot_us. */
extern int64 rmsync_window_slot(int64 window_us);

/*
 * Sets a window up as of a time before which nobody knows what was spent: all
 * that may have been counts as spent.
 */
extern void rmsync_window_init(RmsyncWindow *window, int64 window_us,
							   int budget, int64 at_us);

/*
 * Takes a place: returns microseconds until its time, and sets *given.  If all
 * places that can be given are taken, *given is false, nothing is taken, and
 * it is to be asked again after the time returned.
 */
extern int64 rmsync_window_reserve(RmsyncWindow *window, int budget,
								   int64 now_us, bool *given);

/* A place, known by its time, was not used. */
extern void rmsync_window_return(RmsyncWindow *window, int64 at_us);

/*
 * Requests since a time, at most a window ago, as far as they are known; places
 * to come do not count.
 */
extern int	rmsync_window_used(RmsyncWindow *window, int64 since_us,
							   int64 now_us);

/* How many places are left in the window that ends with the last one given. */
extern int	rmsync_window_room(RmsyncWindow *window, int budget,
							   int64 now_us);

/* Closes it until a time; never shortens an earlier closing. */
extern void rmsync_window_block(RmsyncWindow *window, int64 until_us);

#endif							/* RMSYNC_RATELIMIT_H */
