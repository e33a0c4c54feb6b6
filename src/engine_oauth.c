/*-------------------------------------------------------------------------
 *
 * engine_oauth.c
 *	  Renewing the tokens that OAuth gave.
 *
 * A refresh begins when a service refuses an access token (there is no other
 * way to know its end) and stops its lane: what is queued waits, no item loses
 * an attempt.  It goes through three steps:
 *
 *	WANTED	 the lock on the grant is taken, the tokens are read again: whoever
 *			 had the lock before may have renewed them
 *	SENT	 the request is with the transport, no transaction is open
 *	ANSWERED both new tokens are stored, in the one row of the grant, in a
 *			 durable commit of their own before anything else is done
 *
 * The service ends the old pair of tokens when it answers, so an answer that
 * is lost may have cost the grant.  Nobody can know but by asking again, which
 * is not done blindly: the lane backs off, its next job shows whether the
 * access token is still refused, and the refresh begins anew with what is then
 * stored.  If the old refresh token is dead, all lanes of the grant stop and
 * the user is told, once for the grant.
 *
 * Lanes of the grant that others serve learn of the new tokens when they read
 * their own rows: before they load, or when the old one is refused.
 *
 * From the moment a request is handed to the transport until its answer is
 * stored, rmsync_tokens_under_way is set, and the process must not end of its
 * own accord: it finishes here first (rmsync_engine_refresh_finish).  A crash
 * meanwhile is an answer that is lost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "credentials.h"
#include "engine_internal.h"
#include "guc.h"
#include "retry.h"
#include "secret_file.h"
#include "store.h"

/* Another process renews the tokens: look again after this time. */
#define LOCK_RETRY_US 250000

/* The answer is there but cannot be stored. */
#define STORE_RETRY_US 1000000

/* The end of the process waits for it, and Notion gives up before. */
#define MAX_TIMEOUT_MS 75000

/* Renewed and refused again: it is not the token's age. */
#define MAX_REFRESHES 1

typedef enum RefreshStep
{
	REFRESH_WANTED,
	REFRESH_SENT,
	REFRESH_ANSWERED
} RefreshStep;

/* What is to be done once the transaction has committed. */
typedef enum RefreshNext
{
	REFRESH_STAY,
	REFRESH_SEND,
	REFRESH_FINISH
} RefreshNext;

typedef struct EngineRefresh
{
	dlist_node node; /* in engine->refreshes */
	MemoryContext cxt;
	RmsyncLane *lane;
	RefreshStep step;
	RefreshNext next;
	bool locked;
	bool renewed;
	int64 retry_us; /* nothing to do before; 0 = now */
	int64 grant_id;
	int64 generation; /* of the tokens that the request is made with */
	RmsyncHttpRequest request;
	RmsyncHttpResponse response;
} EngineRefresh;

volatile sig_atomic_t rmsync_tokens_under_way = false;

static bool
configured(void)
{
	return rmsync_notion_oauth_client_id[0] != '\0' &&
		   rmsync_notion_oauth_client_secret_file[0] != '\0';
}

/* Secrets must not stay in freed memory. */
static void
release(EngineRefresh *refresh)
{
	if (refresh->request.body != NULL)
		explicit_bzero(unconstify(char *, refresh->request.body),
					   refresh->request.body_len);
	if (refresh->response.body != NULL)
		explicit_bzero(unconstify(char *, refresh->response.body),
					   refresh->response.body_len);
	if (refresh->locked)
		rmsync_store_oauth_unlock(refresh->grant_id);
	refresh->lane->refresh = NULL;
	dlist_delete(&refresh->node);
	MemoryContextDelete(refresh->cxt);
}

static bool
any_beyond(RmsyncEngine *engine, RefreshStep step)
{
	dlist_iter iter;

	dlist_foreach(iter, &engine->refreshes)
	{
		if (dlist_container(EngineRefresh, node, iter.cur)->step > step)
			return true;
	}
	return false;
}

/*
 * A lane's token was refused.  True if that is not the last word: the token
 * is being renewed, or there is a new one already.  Needs a transaction.
 */
bool
rmsync_engine_refresh(RmsyncEngine *engine, RmsyncLane *lane)
{
	RmsyncLaneRow row;
	MemoryContext cxt;
	EngineRefresh *refresh;

	if (lane->refresh != NULL)
		return true;
	if (lane->lease->target->oauth == NULL || !lane->has_refresh ||
		!rmsync_store_lane(engine->turn_cxt, lane->lane_id, &row) ||
		row.refresh == NULL)
		return false;
	if (strcmp(row.credentials, lane->credentials) != 0)
	{
		lane->swapped = true;
		lane->usable = false; /* until it is read again */
		return true;
	}
	if (!configured() || lane->refreshes >= MAX_REFRESHES)
		return false;

	cxt = AllocSetContextCreate(engine->cxt, "rmsync token refresh",
								ALLOCSET_SMALL_SIZES);
	refresh = MemoryContextAllocZero(cxt, sizeof(EngineRefresh));
	refresh->cxt = cxt;
	refresh->lane = lane;
	refresh->grant_id = row.grant_id;
	lane->refresh = refresh;
	lane->swapped = true;
	lane->usable = false;
	dlist_push_tail(&engine->refreshes, &refresh->node);
	return true;
}

/* ---- inside the engine's transaction ---- */

/* The lane backs off as if the service could not be reached. */
static void
later(RmsyncEngine *engine, EngineRefresh *refresh, int64 now_us,
	  const char *code, const char *message)
{
	RmsyncLane *lane = refresh->lane;
	int delay = rmsync_engine_scaled(
		rmsync_breaker_ms(++lane->fail_streak, rmsync_engine_random(engine)));

	delay = Max(delay, refresh->response.retry_after_ms);
	lane->blocked_until_us = now_us + (int64) delay * 1000;
	lane->blocked_streak = lane->fail_streak;
	rmsync_store_lane_blocked(lane->lane_id, delay, lane->fail_streak);
	rmsync_store_log(&lane->info, NULL, "lane", NULL, code, message, 1, 0);
	refresh->next = REFRESH_FINISH;
}

/* The lock is the process's: it does not keep two lanes of ours apart. */
static bool
renewed_by_us(RmsyncEngine *engine, const EngineRefresh *refresh)
{
	dlist_iter iter;

	dlist_foreach(iter, &engine->refreshes)
	{
		EngineRefresh *other = dlist_container(EngineRefresh, node, iter.cur);

		if (other != refresh && other->locked &&
			other->grant_id == refresh->grant_id)
			return true;
	}
	return false;
}

static void
plan_request(RmsyncEngine *engine, EngineRefresh *refresh,
			 const RmsyncLaneRow *row, int64 now_us)
{
	RmsyncLane *lane = refresh->lane;
	RmsyncFileProblem problem;
	RmsyncOauthClient client;
	MemoryContext old;
	char *secret;
	char *token = rmsync_decrypt(row->user_id, row->refresh);

	if (token == NULL)
	{
		rmsync_engine_refused(lane,
							  "The stored refresh token cannot be decrypted.", 0);
		refresh->next = REFRESH_FINISH;
		return;
	}
	secret =
		rmsync_read_secret(rmsync_notion_oauth_client_secret_file,
						   "OAuth client secret file",
						   "rmsync.notion_oauth_client_secret_file", &problem);
	if (secret == NULL)
	{
		ereport(LOG, (errmsg("rmsync cannot renew tokens"),
					  errdetail_internal("%s", problem.detail)));
		later(engine, refresh, now_us, "oauth_client",
			  "The secret of the OAuth client cannot be read.");
	}
	else
	{
		/* the setting, not the user's: the secret goes there */
		client.base_url = rmsync_notion_base_url;
		client.id = rmsync_notion_oauth_client_id;
		client.secret = secret;
		old = MemoryContextSwitchTo(refresh->cxt);
		refresh->generation = row->grant_generation;
		lane->lease->target->oauth->refresh(&client, token, &refresh->request);
		refresh->request.timeout_ms = Min(rmsync_http_timeout, MAX_TIMEOUT_MS);
		MemoryContextSwitchTo(old);
		explicit_bzero(secret, strlen(secret));
		refresh->next = REFRESH_SEND;
	}
	explicit_bzero(token, strlen(token));
}

static void
handle_wanted(RmsyncEngine *engine, EngineRefresh *refresh, int64 now_us)
{
	RmsyncLane *lane = refresh->lane;
	RmsyncLaneRow row;

	if (!refresh->locked)
	{
		if (renewed_by_us(engine, refresh) ||
			!rmsync_store_oauth_lock(refresh->grant_id))
		{
			refresh->retry_us = now_us + LOCK_RETRY_US;
			return;
		}
		refresh->locked = true;
	}
	if (!rmsync_store_lane(engine->turn_cxt, lane->lane_id, &row) ||
		(!lane->probed && (!row.enabled || row.state != RMSYNC_LANE_ACTIVE)) ||
		row.refresh == NULL || strcmp(row.credentials, lane->credentials) != 0)
		refresh->next = REFRESH_FINISH;
	else if (refresh->request.url != NULL)
		refresh->next = REFRESH_SEND; /* planned before an error */
	else
		plan_request(engine, refresh, &row, now_us);
}

/*
 * A user may have granted access again meanwhile: newer tokens must not be
 * overwritten.
 */
static void
store_tokens(EngineRefresh *refresh, const RmsyncOauthTokens *tokens)
{
	RmsyncLane *lane = refresh->lane;
	int64 user_id = lane->info.user_id;
	char *next = NULL;

	if (tokens->refresh_token != NULL)
		next = rmsync_encrypt(user_id, tokens->refresh_token);
	refresh->renewed =
		rmsync_store_oauth_renew(refresh->grant_id, refresh->generation,
								 rmsync_encrypt(user_id, tokens->access_token),
								 next);
	if (refresh->renewed)
		rmsync_store_log(&lane->info, NULL, "lane", NULL, "token_renewed",
						 "the access token was renewed", 1, 0);
	refresh->next = REFRESH_FINISH;
}

/* The user must grant access again, and is told so once. */
static void
end_grant(EngineRefresh *refresh)
{
	static const char reason[] =
		"The service no longer accepts the authorization; it must be granted again.";

	rmsync_store_oauth_lanes(refresh->grant_id);
	rmsync_engine_refused(refresh->lane, reason, 1);
	rmsync_store_oauth_ended(refresh->grant_id, refresh->generation, reason);
	refresh->next = REFRESH_FINISH;
}

static void
handle_answer(RmsyncEngine *engine, EngineRefresh *refresh, int64 now_us)
{
	RmsyncOauthTokens tokens;
	RmsyncOauthVerdict verdict;

	if (!rmsync_have_master_key(NULL))
	{
		/* the tokens are here and nowhere else: they stay */
		refresh->retry_us = now_us + STORE_RETRY_US;
		return;
	}
	verdict =
		refresh->lane->lease->target->oauth->answer(&refresh->response, &tokens);
	switch (verdict)
	{
		case RMSYNC_OAUTH_RENEWED:
			store_tokens(refresh, &tokens);
			break;
		case RMSYNC_OAUTH_DEAD:
			end_grant(refresh);
			break;
		case RMSYNC_OAUTH_CLIENT:
			ereport(LOG,
					(errmsg("rmsync cannot renew tokens"),
					 errdetail("The service refused the request or the OAuth client with HTTP status %d.",
							   refresh->response.status)));
			later(engine, refresh, now_us, "oauth_client",
				  "The service refused the application's OAuth client.");
			break;
		case RMSYNC_OAUTH_LATER:
			later(engine, refresh, now_us, "oauth_unreachable",
				  refresh->response.message
					  ? refresh->response.message
					  : "The service did not renew the access token.");
			break;
		case RMSYNC_OAUTH_UNKNOWN:
			later(engine, refresh, now_us, "oauth_unknown",
				  "The service did not say whether it renewed the access token.");
			break;
	}
	rmsync_oauth_wipe(&tokens);
}

/*
 * Lets refreshes go on that need the database.  Returns true if the
 * transaction must be durable before anything is sent.
 */
bool
rmsync_engine_refresh_store(RmsyncEngine *engine, int64 now_us)
{
	dlist_iter iter;
	bool durable = false;

	dlist_foreach(iter, &engine->refreshes)
	{
		EngineRefresh *refresh = dlist_container(EngineRefresh, node, iter.cur);

		refresh->next = REFRESH_STAY;
		if (now_us < refresh->retry_us)
			continue;
		if (refresh->step == REFRESH_WANTED)
			handle_wanted(engine, refresh, now_us);
		else if (refresh->step == REFRESH_ANSWERED)
		{
			handle_answer(engine, refresh, now_us);
			durable = true;
		}
	}
	return durable;
}

/* ---- outside any transaction ---- */

/* Called by the transport; must not throw. */
static void
on_answer(void *arg, const RmsyncHttpResponse *response)
{
	EngineRefresh *refresh = arg;

	refresh->response = *response;
	refresh->retry_us = 0;
	refresh->step = REFRESH_ANSWERED;
}

/*
 * Who wants this process to end has to wait from here on; if somebody wanted
 * it before, nothing is begun.  Returns false then.
 */
static bool
send_refresh(RmsyncEngine *engine, EngineRefresh *refresh)
{
	rmsync_tokens_under_way = true;
	if (ProcDiePending)
		return false;
	refresh->step = REFRESH_SENT;
	engine->stat.requests++;
	rmsync_http_start(engine->http, &refresh->request, refresh->cxt, on_answer,
					  refresh);
	for (int i = 0; i < refresh->request.nheaders; i++)
	{
		/* the transport has its copy */
		char *value = unconstify(char *, refresh->request.headers[i].value);

		if (strcmp(refresh->request.headers[i].name, "Authorization") == 0)
			explicit_bzero(value, strlen(value));
	}
	return true;
}

/* After the commit. */
void
rmsync_engine_refresh_stored(RmsyncEngine *engine)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &engine->refreshes)
	{
		EngineRefresh *refresh = dlist_container(EngineRefresh, node, iter.cur);
		RmsyncLane *lane = refresh->lane;

		if (refresh->next == REFRESH_SEND && !send_refresh(engine, refresh))
			refresh->next = REFRESH_FINISH;
		if (refresh->next == REFRESH_FINISH)
		{
			if (refresh->renewed)
				lane->refreshes++;
			release(refresh);
			lane->ready = true;
			lane->after_priority = 0;
			lane->after_seq = 0;
			rmsync_engine_touch(engine, lane);
			continue;
		}
		refresh->next = REFRESH_STAY;
	}
	rmsync_tokens_under_way = any_beyond(engine, REFRESH_WANTED);
}

/* Microseconds until a refresh needs the database; -1 = none does. */
int64
rmsync_engine_refresh_wait(RmsyncEngine *engine, int64 now_us)
{
	int64 wait = -1;
	dlist_iter iter;

	dlist_foreach(iter, &engine->refreshes)
	{
		EngineRefresh *refresh = dlist_container(EngineRefresh, node, iter.cur);
		int64 mine = Max(refresh->retry_us - now_us, 0);

		if (refresh->step != REFRESH_SENT && (wait < 0 || mine < wait))
			wait = mine;
	}
	return wait;
}

static bool
any_sent(RmsyncEngine *engine)
{
	dlist_iter iter;

	dlist_foreach(iter, &engine->refreshes)
	{
		if (dlist_container(EngineRefresh, node, iter.cur)->step == REFRESH_SENT)
			return true;
	}
	return false;
}

/*
 * The process is about to end: waits for answers that are under way, because
 * with them the tokens would be lost.  Their time-out ends it, or somebody who
 * asks for the second time.  True if there are any to store.
 */
bool
rmsync_engine_refresh_finish(RmsyncEngine *engine)
{
	dlist_mutable_iter iter;

	if (engine->abandoned)
		return false;
	dlist_foreach_modify(iter, &engine->refreshes)
	{
		EngineRefresh *refresh = dlist_container(EngineRefresh, node, iter.cur);

		if (refresh->step == REFRESH_WANTED)
			release(refresh);
	}
	while (any_sent(engine) && !ProcDiePending)
	{
		long wait = rmsync_http_wait_ms(engine->http);

		if (wait != 0)
			(void) WaitLatchOrSocket(MyLatch,
									 WL_LATCH_SET | WL_SOCKET_READABLE |
										 WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
									 rmsync_http_fd(engine->http),
									 wait < 0 ? 1000 : Min(wait, 1000),
									 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		rmsync_http_poll(engine->http, 64);
	}
	return rmsync_engine_refresh_wait(engine, rmsync_engine_now()) >= 0;
}

/* Frees all; the transport must be gone. */
void
rmsync_engine_refresh_drop(RmsyncEngine *engine)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &engine->refreshes)
		release(dlist_container(EngineRefresh, node, iter.cur));
	rmsync_tokens_under_way = false;
}
