/*-------------------------------------------------------------------------
 *
 * shmem_limit.c
 *	  Token buckets that several lanes share, in shared memory.
 *
 * Called by the engine for every request of a service that counts requests by
 * credential.  All processes use one table, so that a credential's limit
 * holds for all of them together and survives a worker's exit.  In a session
 * whose server has not preloaded the library the table is the process's own.
 *
 * Credentials never get here, only hashes of them with a seed made at start.
 * It must never throw, allocate (but for that one table) or wait: its locks
 * are held for a few instructions.
 *
 * The table is bounded.  A key has one of the LIMIT_WAYS entries of its set.
 * A new one takes a free entry, else one whose bucket is full and open, with
 * which nothing is lost, else the one that was not used for longest, open ones
 * first.  Then something is forgotten, and so every bucket that is made later
 * starts empty as of that moment: what was spent before cannot be spent again.
 * The same rule serves for the start of the server: a bucket that is not there
 * was empty then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "storage/spin.h"
#include "utils/memutils.h"

#include "ratelimit.h"
#include "shmem_limit.h"

#define LIMIT_SETS 512
#define LIMIT_WAYS 8
#define LIMIT_LOCAL_SETS 16

typedef struct LimitEntry
{
	uint64 key; /* 0 = free */
	RmsyncBucket bucket;
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
	/* when new buckets were empty */
	pg_atomic_uint64 empty_us;
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
	pg_atomic_init_u64(&table->empty_us, clock_us());
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
entry_worth(const LimitEntry *entry, int64 now_us)
{
	const RmsyncBucket *bucket = &entry->bucket;

	if (entry->key == 0)
		return 0;
	if (bucket->blocked_until_us > now_us)
		return 2;
	if (bucket->rate == 0)
		return 0;
	return rmsync_bucket_tokens(bucket, now_us) < bucket->burst ? 1 : 0;
}

/* The entry of a key, made if need be.  Caller holds the mutex. */
static LimitEntry *
need_entry(LimitTable *table, LimitSet *set, uint64 key, RmsyncRate rate,
		   int64 now_us)
{
	LimitEntry *entry = find_entry(set, key);
	int worth = 0;

	if (entry != NULL)
	{
		/* what is asked for now counts; tokens so far came at the old rate */
		if (rate.rate > 0 && (entry->bucket.rate != rate.rate ||
							  entry->bucket.burst != rate.burst))
		{
			RmsyncBucket old = entry->bucket;
			int64 empty_us = (int64) pg_atomic_read_u64(&table->empty_us);

			rmsync_bucket_init(&entry->bucket, rate.rate, rate.burst, false,
							   old.rate > 0 ? Max(old.updated_us, now_us)
											: empty_us);
			if (old.rate > 0)
				entry->bucket.tokens =
					Min(rmsync_bucket_tokens(&old, now_us), entry->bucket.burst);
			entry->bucket.blocked_until_us = old.blocked_until_us;
		}
		return entry;
	}
	for (int i = 0; i < LIMIT_WAYS; i++)
	{
		LimitEntry *other = &set->entries[i];
		int other_worth = entry_worth(other, now_us);

		if (entry == NULL || other_worth < worth ||
			(other_worth == worth &&
			 other->bucket.updated_us < entry->bucket.updated_us))
		{
			entry = other;
			worth = other_worth;
		}
	}
	if (worth > 0)
		pg_atomic_write_u64(&table->empty_us, now_us);
	entry->key = key;
	rmsync_bucket_init(&entry->bucket, rate.rate, rate.burst, false,
					   (int64) pg_atomic_read_u64(&table->empty_us));
	return entry;
}

int64
rmsync_limit_reserve(uint64 key, RmsyncRate rate, int64 now_us)
{
	LimitTable *table = get_table();
	LimitSet *set;
	int64 wait;

	if (rate.rate <= 0)
		return 0;
	set = lock_set(table, key);
	wait =
		rmsync_bucket_reserve(&need_entry(table, set, key, rate, now_us)->bucket,
							  now_us);
	SpinLockRelease(&set->mutex);
	return wait;
}

void
rmsync_limit_return(uint64 key)
{
	LimitSet *set = lock_set(get_table(), key);
	LimitEntry *entry = find_entry(set, key);

	if (entry != NULL)
		rmsync_bucket_return(&entry->bucket);
	SpinLockRelease(&set->mutex);
}

double
rmsync_limit_tokens(uint64 key, RmsyncRate rate, int64 now_us)
{
	LimitTable *table = get_table();
	LimitSet *set = lock_set(table, key);
	double tokens =
		rmsync_bucket_tokens(&need_entry(table, set, key, rate, now_us)->bucket,
							 now_us);

	SpinLockRelease(&set->mutex);
	return Max(tokens, 0);
}

void
rmsync_limit_close(uint64 key, int64 until_us, int64 now_us)
{
	RmsyncRate unlimited = { 0, 0 };
	LimitTable *table = get_table();
	LimitSet *set = lock_set(table, key);
	uint64 latest = pg_atomic_read_u64(&table->closed_us);

	rmsync_bucket_block(&need_entry(table, set, key, unlimited, now_us)->bucket,
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
		entry->bucket.blocked_until_us = 0;
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
	if (entry != NULL && entry->bucket.blocked_until_us > now_us)
		until = entry->bucket.blocked_until_us;
	SpinLockRelease(&set->mutex);
	return until;
}
