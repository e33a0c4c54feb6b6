/*-------------------------------------------------------------------------
 *
 * lane.c
 *	  Lanes in memory: reading their rows, decrypting, limits.
 *
 * Called by the engine only.  A decrypted configuration lives in the lane's
 * own memory context and is wiped before that context goes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "credentials.h"
#include "guc.h"
#include "json.h"
#include "lane.h"

/* A closing that ends sooner is not worth a write. */
#define PERSIST_CLOSED_US INT64CONST(5000000)

RmsyncLane *
rmsync_lane_get(HTAB *lanes, int64 lane_id)
{
	bool found;
	RmsyncLane *lane = hash_search(lanes, &lane_id, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) lane + sizeof(lane->lane_id), 0,
			   sizeof(RmsyncLane) - sizeof(lane->lane_id));
		dlist_init(&lane->buffer);
	}
	return lane;
}

/* Secrets must not stay in freed memory. */
static void
wipe_config(RmsyncLane *lane)
{
	if (lane->info.config != NULL)
		explicit_bzero(lane->info.config, VARSIZE(lane->info.config));
	lane->info.config = NULL;
}

void
rmsync_lane_clear(RmsyncLane *lane)
{
	wipe_config(lane);
	if (lane->cxt != NULL)
		MemoryContextDelete(lane->cxt);
	lane->cxt = NULL;
	lane->credentials = NULL;
	lane->usable = false;
	lane->loaded = false;
}

/*
 * Adds the settings a target needs, which it may not read itself, to its
 * configuration; what the user set wins.
 */
static Jsonb *
with_settings(const char *target_name, const char *plain)
{
	StringInfoData buf;
	Jsonb *config = rmsync_json_parse(plain, strlen(plain));
	Jsonb *extra;

	if (config == NULL || !JB_ROOT_IS_OBJECT(config))
		return NULL;
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "app_url", rmsync_app_url);
	if (strncmp(target_name, "notion", 6) == 0)
		rmsync_json_field(&buf, "base_url", rmsync_notion_base_url);
	if (strcmp(target_name, "notion") == 0)
		rmsync_json_field_int(&buf, "split_pages", rmsync_notion_split_pages);
	appendStringInfoChar(&buf, '}');
	extra = rmsync_json_parse(buf.data, buf.len);
	if (extra == NULL)
		return config;
	return rmsync_json_merge(extra, config);
}

/*
 * Adds the token that OAuth gave.  It has the name that jsonb puts first, so
 * that it wins over those with which the connection was made.
 */
static Jsonb *
with_token(Jsonb *config, const char *token)
{
	StringInfoData buf;
	Jsonb *extra;
	Jsonb *result;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "api_token", token);
	appendStringInfoChar(&buf, '}');
	extra = rmsync_json_parse(buf.data, buf.len);
	result = rmsync_json_merge(config, extra);
	explicit_bzero(buf.data, buf.len);
	explicit_bzero(extra, VARSIZE(extra));
	explicit_bzero(config, VARSIZE(config));
	return result;
}

static void
wipe_text(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
}

/* Decrypts into the lane's context; false if no key opens it. */
static bool
decrypt_config(RmsyncLane *lane, const RmsyncLaneRow *row)
{
	MemoryContext old = CurrentMemoryContext;
	char *plain = rmsync_decrypt(lane->info.user_id, row->config);
	char *token = NULL;

	if (row->access != NULL)
		token = rmsync_decrypt(lane->info.user_id, row->access);
	if (plain != NULL && (row->access == NULL || token != NULL))
	{
		MemoryContextSwitchTo(lane->cxt);
		lane->info.config = with_settings(lane->info.target_name, plain);
		if (token != NULL && lane->info.config != NULL)
			lane->info.config = with_token(lane->info.config, token);
		MemoryContextSwitchTo(old);
	}
	wipe_text(plain);
	wipe_text(token);
	return lane->info.config != NULL;
}

/*
 * Which limits hold for the lane.  An OAuth token changes when it is renewed,
 * the grant does not.
 */
static void
set_limit_keys(RmsyncLane *lane, const RmsyncLaneRow *row)
{
	const RmsyncTarget *target = lane->lease->target;
	char *credential = NULL;

	if (target->credential != NULL)
		credential = target->credential(lane->info.config);
	if (credential == NULL)
		/* a connection that is made anew has nothing to do with the old one */
		lane->limit_key =
			rmsync_limit_key("lane",
							 psprintf("%u/" INT64_FORMAT "/%s", MyDatabaseId,
									  lane->lane_id, row->credentials));
	else if (row->grant_id != 0)
		lane->limit_key =
			rmsync_limit_key(psprintf("%s grant", target->service),
							 row->grant_name
								 ? row->grant_name
								 : psprintf("%u/" INT64_FORMAT, MyDatabaseId,
											row->grant_id));
	else
		lane->limit_key = rmsync_limit_key(target->service, credential);
	wipe_text(credential);
	rmsync_lane_noted(lane);
}

void
rmsync_lane_noted(RmsyncLane *lane)
{
	const RmsyncTarget *target = lane->lease->target;
	const char *workspace = lane->info.workspace_id;

	if (workspace == NULL && target->workspace != NULL)
		workspace = target->workspace(lane->info.config, lane->info.remote);
	lane->workspace_key =
		workspace == NULL
			? 0
			: rmsync_limit_key(psprintf("%s workspace", target->service),
							   workspace);
}

static void
apply_limits(RmsyncLane *lane, const RmsyncLaneRow *row)
{
	const RmsyncTarget *target = lane->lease->target;
	RmsyncTargetLimits limits = target->limits;

	if (target->lane_limits != NULL)
		target->lane_limits(lane->info.config, lane->info.remote, &limits);
	if (limits.jobs_per_lane < 1)
		limits.jobs_per_lane = 1;
	lane->limits = limits;
	set_limit_keys(lane, row);
}

static void
rebuild(RmsyncLane *lane, RmsyncLaneRow *row)
{
	rmsync_lane_clear(lane);
	lane->cxt = AllocSetContextCreate(TopMemoryContext, "rmsync lane",
									  ALLOCSET_SMALL_SIZES);
	lane->info.lane_id = row->lane_id;
	lane->info.user_id = row->user_id;
	lane->info.target_name = MemoryContextStrdup(lane->cxt, row->target_name);
	lane->info.config_epoch = row->config_epoch;
	lane->info.remote =
		row->remote ? MemoryContextStrdup(lane->cxt, row->remote) : NULL;
	lane->info.workspace_id =
		row->workspace_id ? MemoryContextStrdup(lane->cxt, row->workspace_id)
						  : NULL;
	lane->credentials = MemoryContextStrdup(lane->cxt, row->credentials);
	lane->generation++;
	if (!decrypt_config(lane, row))
	{
		if (row->state == RMSYNC_LANE_ACTIVE)
		{
			rmsync_store_lane_state(row->lane_id, RMSYNC_LANE_AUTH, NULL,
									RMSYNC_NO_KEY_OPENS, row->credentials);
			rmsync_store_notify(&lane->info, "auth_failure",
								"The stored credentials cannot be decrypted.",
								NULL);
		}
		row->state = RMSYNC_LANE_AUTH;
		return;
	}
	apply_limits(lane, row);
}

/*
 * What its row says of the limits.  Closings are taken from there only at
 * first: later the shared limit knows better, and may have been opened.
 */
static void
read_limits(RmsyncLane *lane, const RmsyncLimitsRow *row, int64 now_us)
{
	RmsyncLearned *stored = &lane->stored;

	memset(stored, 0, sizeof(*stored));
	stored->limit = row->limit;
	stored->limit_us = row->limit > 0 ? now_us - row->limit_age_ms * 1000 : 0;
	stored->reduced = row->reduced;
	stored->reduced_us =
		row->reduced > 0 ? now_us - row->reduced_age_ms * 1000 : 0;
	lane->stored_closed_us =
		row->closed_ms > 0 ? now_us + row->closed_ms * 1000 : 0;
	lane->stored_workspace_us = row->workspace_closed_ms > 0
									? now_us + row->workspace_closed_ms * 1000
									: 0;
	if (lane->info.config == NULL)
		return;
	if (!lane->loaded || row->limit > 0 || row->reduced > 0)
		rmsync_limit_teach(lane->limit_key, &lane->limits.rate, stored,
						   now_us - row->made_age_ms * 1000, now_us);
	if (!lane->loaded && lane->stored_closed_us > 0)
		rmsync_limit_close(lane->limit_key, lane->stored_closed_us, now_us);
	if (!lane->loaded && lane->stored_workspace_us > 0 && lane->workspace_key != 0)
		rmsync_limit_close(lane->workspace_key, lane->stored_workspace_us,
						   now_us);
}

bool
rmsync_lane_refresh(RmsyncLane *lane, int64 now_us)
{
	RmsyncLaneRow row;

	if (!rmsync_store_lane(CurrentMemoryContext, lane->lane_id, &row))
	{
		lane->usable = false;
		return false;
	}

	/*
	 * Jobs point into lane->info: while any is alive only the state may
	 * change; a new configuration is taken up when they have ended.
	 */
	if (lane->credentials == NULL ||
		(lane->in_flight == 0 && lane->buffered == 0))
	{
		if (lane->credentials == NULL ||
			strcmp(lane->credentials, row.credentials) != 0 ||
			lane->info.config_epoch != row.config_epoch ||
			lane->info.config == NULL || (row.stale && !lane->stale))
		{
			rebuild(lane, &row);
			if (!lane->swapped)
				lane->backup_tried = false;
		}
		lane->swapped = false;
		lane->stale = row.stale;
	}
	lane->has_backup = row.backup != NULL;
	lane->has_refresh = row.refresh != NULL;
	lane->synced = row.synced;
	read_limits(lane, &row.limits, now_us);
	if (!lane->loaded)
	{
		lane->fail_streak = lane->blocked_streak = row.fail_streak;
		if (row.blocked_ms > 0)
			lane->blocked_until_us = now_us + row.blocked_ms * 1000;
	}
	else if (row.blocked_ms == 0 && row.fail_streak == 0 &&
			 lane->blocked_streak > 0)
		rmsync_lane_unblock(lane);
	lane->loaded = true;
	lane->usable = row.enabled && row.state == RMSYNC_LANE_ACTIVE &&
				   lane->info.config != NULL &&
				   strcmp(lane->credentials, row.credentials) == 0 &&
				   lane->info.config_epoch == row.config_epoch;
	return true;
}

void
rmsync_lane_unblock(RmsyncLane *lane)
{
	lane->blocked_until_us = 0;
	rmsync_limit_open(lane->limit_key);
	if (lane->workspace_key != 0)
		rmsync_limit_open(lane->workspace_key);
	lane->stored_closed_us = lane->stored_workspace_us = 0;
	lane->fail_streak = lane->limit_streak = lane->blocked_streak = 0;
}

static bool
opens(int64 user_id, const char *token)
{
	char *plain = rmsync_decrypt(user_id, token);

	wipe_text(plain);
	return plain != NULL;
}

bool
rmsync_lane_opens(const RmsyncLaneRow *row)
{
	return opens(row->user_id, row->config) &&
		   (row->access == NULL || opens(row->user_id, row->access));
}

void
rmsync_lanes_reopen(MemoryContext cxt, RmsyncLaneList *lanes)
{
	RmsyncLaneRow *rows;
	int n = rmsync_store_unopened(cxt, RMSYNC_NO_KEY_OPENS, &rows);

	lanes->ids = palloc(sizeof(int64) * Max(n, 1));
	lanes->n = 0;
	for (int i = 0; i < n; i++)
	{
		if (!rmsync_lane_opens(&rows[i]))
			continue;
		rmsync_store_lane_state(rows[i].lane_id, RMSYNC_LANE_ACTIVE, NULL, NULL,
								rows[i].credentials);
		lanes->ids[lanes->n++] = rows[i].lane_id;
	}
}

int64
rmsync_lane_reserve(const RmsyncLane *lane, int64 now_us, bool *given)
{
	return rmsync_limit_reserve(lane->limit_key, &lane->limits.rate, now_us,
								given);
}

void
rmsync_lane_return(const RmsyncLane *lane, int64 at_us)
{
	if (lane->limits.rate.limit > 0)
		rmsync_limit_return(lane->limit_key, at_us);
}

int
rmsync_lane_room(const RmsyncLane *lane, int64 now_us)
{
	const RmsyncRate *rate = &lane->limits.rate;

	/* what comes back within a second is as good as there */
	return 2 + rmsync_limit_room(lane->limit_key, rate, now_us) +
		   (int) (rate->limit * INT64CONST(1000000) / rate->window_us);
}

bool
rmsync_lane_limited(RmsyncLane *lane, RmsyncLimitKind kind, int64 until_us,
					int64 now_us)
{
	uint64 key = lane->limit_key;
	bool news = false;

	lane->blocked_until_us = Max(lane->blocked_until_us, until_us);
	if (kind == RMSYNC_LIMIT_WORKSPACE && lane->workspace_key != 0)
		key = lane->workspace_key;

	/* a time that is told is the end of the service's window */
	if (kind != RMSYNC_LIMIT_OTHER)
		news = rmsync_limit_refused(lane->limit_key, &lane->limits.rate,
									kind == RMSYNC_LIMIT_CREDENTIAL,
									until_us - lane->limits.rate.window_us,
									now_us);
	rmsync_limit_close(key, until_us, now_us);
	return news || until_us - now_us >= PERSIST_CLOSED_US;
}

bool
rmsync_lane_answered(const RmsyncLane *lane, int64 now_us)
{
	return rmsync_limit_answered(lane->limit_key, &lane->limits.rate, now_us);
}

/* Is a closing worth writing, and not written yet? */
static bool
is_news(int64 closed_us, int64 stored_us, int64 now_us)
{
	return closed_us - now_us >= PERSIST_CLOSED_US &&
		   closed_us > stored_us + PERSIST_CLOSED_US / 5;
}

void
rmsync_lane_store_limits(RmsyncLane *lane, int64 now_us)
{
	RmsyncLimitsRow row = { 0 };
	RmsyncLearned known;
	bool news;
	int64 closed_us;

	if (lane->info.config == NULL)
		return;
	news = rmsync_limit_learned(lane->limit_key, &known) &&
		   rmsync_learned_merge(&lane->stored, &known);
	closed_us = rmsync_limit_closed(lane->limit_key, now_us);
	if (is_news(closed_us, lane->stored_closed_us, now_us))
	{
		lane->stored_closed_us = closed_us;
		news = true;
	}
	if (lane->workspace_key != 0)
	{
		closed_us = rmsync_limit_closed(lane->workspace_key, now_us);
		if (is_news(closed_us, lane->stored_workspace_us, now_us))
		{
			lane->stored_workspace_us = closed_us;
			news = true;
		}
	}
	if (!news)
		return;
	row.limit = lane->stored.limit;
	row.limit_age_ms = (now_us - lane->stored.limit_us) / 1000;
	row.reduced = lane->stored.reduced;
	row.reduced_age_ms = (now_us - lane->stored.reduced_us) / 1000;
	row.closed_ms = Max(lane->stored_closed_us - now_us, 0) / 1000;
	row.workspace_closed_ms = Max(lane->stored_workspace_us - now_us, 0) / 1000;
	rmsync_store_lane_limits(lane->lane_id, &row);
}

int64
rmsync_lane_closed(const RmsyncLane *lane, int64 now_us)
{
	int64 until = 0;

	if (lane->limit_key != 0)
		until = rmsync_limit_closed(lane->limit_key, now_us);
	if (lane->workspace_key != 0)
		until = Max(until, rmsync_limit_closed(lane->workspace_key, now_us));
	return until;
}

int64
rmsync_lane_wait(const RmsyncLane *lane, int64 now_us)
{
	int64 until = Max(lane->blocked_until_us, lane->lease->open_until_us);

	until = Max(until, rmsync_lane_closed(lane, now_us));
	return until > now_us ? until - now_us : 0;
}
