/*-------------------------------------------------------------------------
 *
 * ratelimit.c
 *	  A sliding window with smooth pacing.
 *
 * Called by shmem_limit.c with the engine's clock, and by unit tests with
 * made-up times.  Pure: it must never look at a clock, sleep or allocate; it
 * runs under a spinlock, so it only adds and compares what is in the ring.
 *
 * The ring keeps the slots of a window before the present one, and those after
 * it for which places can be given.  Places are given in the order in which
 * they are asked for, so none is ever earlier than the last one, and it is
 * enough to look at the window that ends with the new one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "ratelimit.h"

#define SLOTS RMSYNC_WINDOW_SLOTS
#define RING RMSYNC_WINDOW_RING

/* Slots after the present one for which places are given. */
#define AHEAD (RING - SLOTS - 2)

/* The gap after a burst's request: the window by this and by what is left, */
#define BURST_GAPS 20

/* but never more than this part of the window. */
#define BURST_GAP_PARTS 1200

/* No window is longer, so that sums of times cannot overflow. */
#define MAX_WINDOW_US (INT64CONST(24) * 3600 * 1000000)

StaticAssertDecl((RING & (RING - 1)) == 0, "slots are found by a mask");

/*
 * The limit of who wants so many a second.  Less than one a second is one in a
 * longer time.
 */
RmsyncRate
rmsync_rate_per_second(double rate)
{
	RmsyncRate result = { 0 };

	if (!(rate > 0))
		return result;
	result.limit = (int) Max(Min(floor(rate), (double) RMSYNC_MAX_BUDGET), 1.0);
	result.window_us = (int64) Max(Min(ceil(result.limit * 1000000.0 / rate),
									   (double) MAX_WINDOW_US),
								   (double) SLOTS);
	return result;
}

int
rmsync_rate_budget(const RmsyncRate *rate, int limit)
{
	int spare = rate->spare > 0 ? Max(limit / rate->spare, 1) : 0;

	return Max(Min(limit - spare, RMSYNC_MAX_BUDGET), 1);
}

/* How much of a budget may go out at once. */
static int
burst_of(int budget)
{
	return Max(budget / 2, 1);
}

static int64
slot_of(const RmsyncWindow *window, int64 at_us)
{
	int64 slot = at_us / window->slot_us;

	/* downwards also before the epoch of the clock */
	return at_us < 0 && slot * window->slot_us != at_us ? slot - 1 : slot;
}

static bool
is_kept(const RmsyncWindow *window, int64 slot)
{
	return slot >= window->first && slot < window->first + RING;
}

static int
count_at(const RmsyncWindow *window, int64 slot)
{
	return is_kept(window, slot) ? window->counts[slot & (RING - 1)] : 0;
}

/* The slot that is the present one; clocks do not go back. */
static int64
present(const RmsyncWindow *window)
{
	return window->first + SLOTS + 1;
}

/* Lets go of slots that no window touches any more. */
static void
advance(RmsyncWindow *window, int64 now_us)
{
	int64 first = slot_of(window, now_us) - SLOTS - 1;

	if (first <= window->first)
		return;
	if (first - window->first >= RING)
		memset(window->counts, 0, sizeof(window->counts));
	else
	{
		for (int64 slot = window->first; slot < first; slot++)
			window->counts[slot & (RING - 1)] = 0;
	}
	window->first = first;
}

/* What a window holds that ends in a slot. */
static int
held_at(const RmsyncWindow *window, int64 slot)
{
	int held = 0;

	for (int64 i = slot - SLOTS; i <= slot; i++)
		held += count_at(window, i);
	return held;
}

int64
rmsync_window_slot(int64 window_us)
{
	return (Max(Min(window_us, MAX_WINDOW_US), SLOTS) + SLOTS - 1) / SLOTS;
}

void
rmsync_window_init(RmsyncWindow *window, int64 window_us, int budget, int64 at_us)
{
	int64 blocked_until_us = window->blocked_until_us;
	int burst = burst_of(budget);
	int64 slot;

	memset(window, 0, sizeof(*window));
	window->blocked_until_us = blocked_until_us;
	window->slot_us = rmsync_window_slot(window_us);
	window->known_us = window->last_us = at_us;
	slot = slot_of(window, at_us);
	window->first = slot - SLOTS - 1;

	/*
	 * The worst that can have been: a burst just now, and the rest in even
	 * steps before.  Of that no more than the even steps comes back soon.
	 */
	window->counts[slot & (RING - 1)] = (uint16) burst;
	for (int i = 0; i < SLOTS; i++)
		window->counts[(slot - SLOTS + i) & (RING - 1)] =
			(uint16) ((budget - burst) * (i + 1) / SLOTS -
					  (budget - burst) * i / SLOTS);
}

/*
 * The least gap with which one can go on from a time, if "left" places are
 * left.  Until a slot leaves the window there are so many places; with a gap
 * of that time divided by one more, the first place that is not there falls
 * behind it.  The longest of these gaps does for all.  Fractions are compared
 * without dividing.
 */
static int64
steady_gap(const RmsyncWindow *window, int left, int64 from_us)
{
	int64 slot = slot_of(window, from_us);
	int64 time_us = 0;
	int64 places = 1;

	for (int i = 1; i <= SLOTS + 1; i++)
	{
		int64 until_us = (slot + i) * window->slot_us - from_us;

		if (until_us * places > time_us * (left + 1))
		{
			time_us = until_us;
			places = left + 1;
		}
		left += count_at(window, slot - SLOTS + i - 1);
	}
	return (time_us + places - 1) / places;
}

/* The time of the next place. */
static int64
next_place(const RmsyncWindow *window, int budget, int64 now_us)
{
	int64 from_us = Max(now_us, window->last_us);
	int64 slot = slot_of(window, from_us);
	int held = held_at(window, slot);
	int left = budget - held;
	int64 window_us = window->slot_us * SLOTS;
	int64 gap_us;

	if (left <= 0)
	{
		/* ends: behind the last place there is nothing */
		while (held >= budget)
		{
			slot++;
			held += count_at(window, slot) - count_at(window, slot - SLOTS - 1);
		}
		return slot * window->slot_us;
	}
	if (held < burst_of(budget))
		gap_us = Min(window_us / ((int64) BURST_GAPS * left),
					 window_us / BURST_GAP_PARTS);
	else
		gap_us = steady_gap(window, left, from_us);
	return Max(now_us, window->last_us + gap_us);
}

int64
rmsync_window_reserve(RmsyncWindow *window, int budget, int64 now_us, bool *given)
{
	int64 at_us;
	int64 slot;

	Assert(window->slot_us > 0 && budget > 0);
	advance(window, now_us);
	at_us = next_place(window, budget, now_us);
	slot = slot_of(window, at_us);
	*given = slot <= present(window) + AHEAD;
	if (!*given)
		return Max(at_us - now_us - AHEAD * window->slot_us, window->slot_us);
	window->counts[slot & (RING - 1)]++;
	window->last_us = at_us;
	return Max(at_us - now_us, 0);
}

/*
 * Gives a place back.  If none is left behind it, the next one need not wait
 * for it either.
 */
void
rmsync_window_return(RmsyncWindow *window, int64 at_us)
{
	int64 slot;

	if (window->slot_us == 0)
		return;
	slot = slot_of(window, at_us);
	if (count_at(window, slot) == 0)
		return;
	window->counts[slot & (RING - 1)]--;
	slot = slot_of(window, window->last_us);
	while (slot >= window->first && count_at(window, slot) == 0)
		slot--;
	window->last_us = Min(window->last_us, (slot + 1) * window->slot_us - 1);
}

int
rmsync_window_used(RmsyncWindow *window, int64 since_us, int64 now_us)
{
	int64 first;
	int used = 0;

	if (window->slot_us == 0)
		return 0;
	advance(window, now_us);
	first = Max(slot_of(window, since_us), window->first);
	first = Max(first, slot_of(window, window->known_us) + 1);
	for (int64 slot = first; slot <= slot_of(window, now_us); slot++)
		used += count_at(window, slot);
	return used;
}

int
rmsync_window_room(RmsyncWindow *window, int budget, int64 now_us)
{
	if (window->slot_us == 0)
		return budget;
	advance(window, now_us);
	return Max(budget - held_at(window,
								slot_of(window, Max(now_us, window->last_us))),
			   0);
}

/* A service said Retry-After: of several closings the longest counts. */
void
rmsync_window_block(RmsyncWindow *window, int64 until_us)
{
	window->blocked_until_us = Max(window->blocked_until_us, until_us);
}
