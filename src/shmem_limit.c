/*-------------------------------------------------------------------------
 *
 * shmem_limit.c
 *	  Limits that several lanes share, in shared memory.
 *
 * Called by the engine for every request of a service that counts requests by
 * credential.  All processes use one table, so that a credential's limit
 * holds for all of them together and survives a worker's exit.  In a session
 * whose server has not preloaded the library the table is the process's own.
 *
 * Credentials never get here, only hashes of them with a seed made at start.
 * It must never throw, allocate (but for that one table) or wait: its locks
 * are held while one window is looked through, half a microsecond.
 *
 * The table is bounded, 1.5 MB for 4096 keys.  A key has one of the LIMIT_WAYS
 * entries of its set.  A new one takes a free entry, else one whose window is
 * empty and open, with which nothing is lost, else the one that was not used
 * for longest, open ones first.  Then something is forgotten, and so every
 * window that is made later has been used up as of that moment: what was spent
 * before cannot be spent again.  The same rule serves for the start of the
 * server; connections that were made since then are known to have spent
 * nothing.  What was learned about a limit is in the database and comes back
 * when one of its lanes is read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "storage/spin.h"
#include "utils/memutils.h"

#include "shmem_limit.h"

#define LIMIT_SETS 512
#define LIMIT_WAYS 8
#define LIMIT_LOCAL_SETS 16

typedef struct LimitEntry
{
	uint64 key; /* 0 = free */
	RmsyncWindow window;
	RmsyncLearned learned;
} LimitEntry;

typedef struct LimitSet
{
	slock_t mutex;
	LimitEntry entries[LIMIT_WAYS];
} LimitSet;

typedef struct LimitTable
{
	uint64 seed; /* fixed */
	int nsets;	 /* fixed */
	/* as of when new windows are used up */
	pg_atomic_uint64 forgotten_us;
	/* the latest time at which anything opens: mostly there is no need to look */
	pg_atomic_uint64 closed_us;
	LimitSet sets[FLEXIBLE_ARRAY_MEMBER];
} LimitTable;

static LimitTable *limit_table = NULL;

static Size
table_size(int nsets)
{
	return offsetof(LimitTable, sets) + nsets * sizeof(LimitSet);
}

static uint64
clock_us(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return INSTR_TIME_GET_MICROSEC(now);
}

static void
table_init(LimitTable *table, int nsets)
{
	MemSet(table, 0, table_size(nsets));
	/* without a good seed keys are as good as any hash */
	if (!pg_strong_random(&table->seed, sizeof(table->seed)))
		table->seed = clock_us();
	table->nsets = nsets;
	pg_atomic_init_u64(&table->forgotten_us, clock_us());
	pg_atomic_init_u64(&table->closed_us, 0);
	for (int i = 0; i < nsets; i++)
		SpinLockInit(&table->sets[i].mutex);
}

Size
rmsync_limit_size(void)
{
	return table_size(LIMIT_SETS);
}

void
rmsync_limit_init(void *memory, bool found)
{
	limit_table = memory;
	if (!found)
		table_init(limit_table, LIMIT_SETS);
}

/* Before anything else is asked for: without preloading, makes the table. */
static LimitTable *
get_table(void)
{
	if (limit_table == NULL)
	{
		LimitTable *table =
			MemoryContextAlloc(TopMemoryContext, table_size(LIMIT_LOCAL_SETS));

		table_init(table, LIMIT_LOCAL_SETS);
		limit_table = table;
	}
	return limit_table;
}

uint64
rmsync_limit_key(const char *what, const char *text)
{
	LimitTable *table = get_table();
	uint64 seed;
	uint64 key;

	seed = hash_bytes_extended((const unsigned char *) what, (int) strlen(what),
							   table->seed);
	key = hash_bytes_extended((const unsigned char *) text, (int) strlen(text),
							  seed);
	return key == 0 ? 1 : key;
}

static LimitSet *
lock_set(LimitTable *table, uint64 key)
{
	LimitSet *set = &table->sets[(key >> 32) % table->nsets];

	SpinLockAcquire(&set->mutex);
	return set;
}

static LimitEntry *
find_entry(LimitSet *set, uint64 key)
{
	for (int i = 0; i < LIMIT_WAYS; i++)
	{
		if (set->entries[i].key == key)
			return &set->entries[i];
	}
	return NULL;
}

/* How much would be lost with an entry: 0 = nothing. */
static int
entry_worth(LimitEntry *entry, int64 now_us)
{
	if (entry->key == 0)
		return 0;
	if (entry->window.blocked_until_us > now_us)
		return 2;
	return rmsync_window_room(&entry->window, 1, now_us) == 0 ? 1 : 0;
}

/* An entry for a new key, free or not.  Caller holds the mutex. */
static LimitEntry *
take_entry(LimitTable *table, LimitSet *set, int64 now_us)
{
	LimitEntry *entry = NULL;
	int worth = 0;

	for (int i = 0; i < LIMIT_WAYS; i++)
	{
		LimitEntry *other = &set->entries[i];
		int other_worth = entry_worth(other, now_us);

		if (entry == NULL || other_worth < worth ||
			(other_worth == worth &&
			 other->window.last_us < entry->window.last_us))
		{
			entry = other;
			worth = other_worth;
		}
	}
	if (worth > 0)
		pg_atomic_write_u64(&table->forgotten_us, now_us);
	memset(entry, 0, sizeof(*entry));
	return entry;
}

/*
 * The entry of a key, made if need be; with a window if there is a rate.
 * Caller holds the mutex.
 */
static LimitEntry *
need_entry(LimitTable *table, LimitSet *set, uint64 key, const RmsyncRate *rate,
		   int64 now_us)
{
	LimitEntry *entry = find_entry(set, key);
	int64 slot_us;

	if (entry == NULL)
	{
		entry = take_entry(table, set, now_us);
		entry->key = key;
	}
	if (rate == NULL || rate->limit == 0)
		return entry;

	/* a window of another length starts anew, as if all had been spent */
	slot_us = entry->window.slot_us;
	if (slot_us == 0 || slot_us != rmsync_window_slot(rate->window_us))
		rmsync_window_init(&entry->window, rate->window_us,
						   rmsync_rate_budget(rate, rate->limit),
						   slot_us > 0 ? now_us
									   : (int64) pg_atomic_read_u64(
											 &table->forgotten_us));
	return entry;
}

int64
rmsync_limit_reserve(uint64 key, const RmsyncRate *rate, int64 now_us, bool *given)
{
	LimitTable *table = get_table();
	LimitSet *set;
	LimitEntry *entry;
	int64 wait;

	*given = true;
	if (rate->limit == 0)
		return 0;
	set = lock_set(table, key);
	entry = need_entry(table, set, key, rate, now_us);
	wait = rmsync_window_reserve(&entry->window,
								 rmsync_learned_budget(&entry->learned, rate,
													   now_us),
								 now_us, given);
	if (wait > 0)
		rmsync_learned_wait(&entry->learned, rate,
							rmsync_window_used(&entry->window,
											   now_us - rate->window_us, now_us),
							now_us);
	SpinLockRelease(&set->mutex);
	return wait;
}

void
rmsync_limit_return(uint64 key, int64 at_us)
{
	LimitSet *set = lock_set(get_table(), key);
	LimitEntry *entry = find_entry(set, key);

	if (entry != NULL)
		rmsync_window_return(&entry->window, at_us);
	SpinLockRelease(&set->mutex);
}

int
rmsync_limit_room(uint64 key, const RmsyncRate *rate, int64 now_us)
{
	LimitTable *table = get_table();
	LimitSet *set = lock_set(table, key);
	LimitEntry *entry = need_entry(table, set, key, rate, now_us);
	int room =
		rmsync_window_room(&entry->window,
						   rmsync_learned_budget(&entry->learned, rate, now_us),
						   now_us);

	SpinLockRelease(&set->mutex);
	return room;
}

bool
rmsync_limit_answered(uint64 key, const RmsyncRate *rate, int64 now_us)
{
	LimitSet *set;
	LimitEntry *entry;
	bool news;

	if (rate->higher <= rate->limit)
		return false;
	set = lock_set(get_table(), key);
	entry = find_entry(set, key);
	news = entry != NULL && rmsync_learned_answer(&entry->learned, rate, now_us);
	SpinLockRelease(&set->mutex);
	return news;
}

bool
rmsync_limit_refused(uint64 key, const RmsyncRate *rate, bool own,
					 int64 since_us, int64 now_us)
{
	LimitSet *set = lock_set(get_table(), key);
	LimitEntry *entry = find_entry(set, key);
	bool news = false;

	if (entry != NULL && entry->window.blocked_until_us <= now_us)
		news = rmsync_learned_refusal(&entry->learned, rate, own,
									  rmsync_window_used(&entry->window,
														 since_us, now_us),
									  now_us);
	SpinLockRelease(&set->mutex);
	return news;
}

bool
rmsync_limit_learned(uint64 key, RmsyncLearned *learned)
{
	LimitSet *set = lock_set(get_table(), key);
	LimitEntry *entry = find_entry(set, key);

	memset(learned, 0, sizeof(*learned));
	if (entry != NULL)
		*learned = entry->learned;
	SpinLockRelease(&set->mutex);
	return learned->limit > 0 || learned->reduced > 0;
}

void
rmsync_limit_teach(uint64 key, const RmsyncRate *rate,
				   const RmsyncLearned *learned, int64 made_us, int64 now_us)
{
	LimitTable *table = get_table();
	LimitSet *set = lock_set(table, key);
	LimitEntry *entry = find_entry(set, key);
	int64 forgotten_us = (int64) pg_atomic_read_u64(&table->forgotten_us);
	bool fresh = entry == NULL || entry->window.slot_us == 0;

	entry = need_entry(table, set, key, rate, now_us);

	/* what was forgotten may have been as much as is allowed now, or nothing */
	if (rate->limit > 0 && fresh && made_us > forgotten_us)
		rmsync_window_init(&entry->window, rate->window_us, 1,
						   made_us - 2 * rate->window_us);
	else if (rmsync_learned_merge(&entry->learned, learned) &&
			 rate->limit > 0 && now_us - forgotten_us < rate->window_us)
		rmsync_window_init(&entry->window, rate->window_us,
						   rmsync_learned_budget(&entry->learned, rate, now_us),
						   fresh ? forgotten_us : now_us);
	(void) rmsync_learned_merge(&entry->learned, learned);
	SpinLockRelease(&set->mutex);
}

void
rmsync_limit_close(uint64 key, int64 until_us, int64 now_us)
{
	LimitTable *table = get_table();
	LimitSet *set = lock_set(table, key);
	uint64 latest = pg_atomic_read_u64(&table->closed_us);

	rmsync_window_block(&need_entry(table, set, key, NULL, now_us)->window,
						until_us);
	SpinLockRelease(&set->mutex);
	while (latest < (uint64) until_us &&
		   !pg_atomic_compare_exchange_u64(&table->closed_us, &latest,
										   (uint64) until_us))
		;
}

void
rmsync_limit_open(uint64 key)
{
	LimitSet *set = lock_set(get_table(), key);
	LimitEntry *entry = find_entry(set, key);

	if (entry != NULL)
		entry->window.blocked_until_us = 0;
	SpinLockRelease(&set->mutex);
}

int64
rmsync_limit_closed(uint64 key, int64 now_us)
{
	LimitTable *table = get_table();
	LimitSet *set;
	LimitEntry *entry;
	int64 until = 0;

	if (pg_atomic_read_u64(&table->closed_us) <= (uint64) now_us)
		return 0;
	set = lock_set(table, key);
	entry = find_entry(set, key);
	if (entry != NULL && entry->window.blocked_until_us > now_us)
		until = entry->window.blocked_until_us;
	SpinLockRelease(&set->mutex);
	return until;
}
