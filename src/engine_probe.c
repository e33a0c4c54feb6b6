/*-------------------------------------------------------------------------
 *
 * engine_probe.c
 *	  Questions that a person asks a service, in the foreground.
 *
 * Called by the procedures of api_probe.c and api_notion.c, with an engine of
 * their own that loads no work and holds no lease: probes do not touch what
 * the lease protects, the ledger and what stands in the pages.  They go the
 * way of all requests: the transport with its rules about addresses and TLS,
 * the lane's rate, time-outs, and the renewing of tokens (engine_oauth.c) with
 * its lock, so that a worker and a person never renew the same one.
 *
 * No transaction is open during a request; what happens between requests are
 * the short transactions of txn.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "engine_internal.h"
#include "guc.h"
#include "retry.h"
#include "store.h"
#include "target_probe.h"
#include "txn.h"

/* A person waits: longer limits are told instead. */
#define MAX_WAIT_MS 60000

/* How often a request is sent again that was surely not done. */
#define MAX_RETRIES 2

typedef struct Exchange
{
	bool done;
	RmsyncHttpResponse response;
} Exchange;

/* What the answers to one probe have used up. */
typedef struct Patience
{
	int64 waited_ms;
	int retries;
	bool renewed;
} Patience;

/* Lets the transport work until "timeout_ms" at the latest. */
static void
serve(RmsyncEngine *engine, long timeout_ms)
{
	long wait = rmsync_http_wait_ms(engine->http);

	if (wait >= 0 && wait < timeout_ms)
		timeout_ms = wait;
	if (timeout_ms > 0)
	{
		(void) WaitLatchOrSocket(MyLatch,
								 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
									 WL_SOCKET_READABLE | WL_TIMEOUT,
								 rmsync_http_fd(engine->http), timeout_ms,
								 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	CHECK_FOR_INTERRUPTS();
	rmsync_http_poll(engine->http, 64);
}

static void
wait_until(RmsyncEngine *engine, int64 until_us)
{
	int64 left;

	while ((left = until_us - rmsync_engine_now()) > 0)
		serve(engine, (long) Min(left / 1000 + 1, 1000));
}

void
rmsync_engine_pause(RmsyncEngine *engine, int delay_ms)
{
	wait_until(engine, rmsync_engine_now() +
						   (int64) rmsync_engine_scaled(delay_ms) * 1000);
}

/* Called by the transport; must not throw. */
static void
on_response(void *arg, const RmsyncHttpResponse *response)
{
	Exchange *exchange = arg;

	exchange->response = *response;
	exchange->done = true;
}

/*
 * Waits for a place in the limit, which all share who use the credential.
 * False if it is closed for longer than a person waits.
 */
static bool
wait_for_place(RmsyncEngine *engine, RmsyncLane *lane, RmsyncProbe *probe,
			   Patience *patience)
{
	int64 now_us = rmsync_engine_now();
	int64 closed_us = rmsync_lane_closed(lane, now_us);
	bool given = false;

	if (closed_us > now_us)
	{
		int delay = (int) ((closed_us - now_us) / 1000);

		if (patience->waited_ms + delay > MAX_WAIT_MS)
		{
			probe->fail.scope = RMSYNC_FAIL_RATE;
			probe->fail.delay_ms = delay;
			probe->fail.code = "rate_limit";
			probe->fail.message = "The service asked to wait.";
			probe->hint = "Try again later.";
			return false;
		}
		patience->waited_ms += delay;
		wait_until(engine, closed_us);
	}
	while (!given)
	{
		now_us = rmsync_engine_now();
		wait_until(engine, now_us + rmsync_lane_reserve(lane, now_us, &given));
	}
	return true;
}

/* One request and its answer. */
static void
converse(RmsyncEngine *engine, RmsyncLane *lane, RmsyncProbe *probe,
		 RmsyncHttpRequest *request)
{
	Exchange *exchange = MemoryContextAllocZero(engine->cxt, sizeof(Exchange));
	MemoryContext cxt = AllocSetContextCreate(probe->cxt, "rmsync answer",
											  ALLOCSET_DEFAULT_SIZES);

	if (request->timeout_ms == 0 || request->timeout_ms > rmsync_http_timeout)
		request->timeout_ms = rmsync_http_timeout;
	probe->requests++;
	engine->stat.requests++;
	rmsync_http_start(engine->http, request, cxt, on_response, exchange);
	while (!exchange->done)
		serve(engine, 1000);
	rmsync_engine_answered(engine, lane, &exchange->response);
	probe->response(probe, &exchange->response);
	MemoryContextDelete(cxt);
	pfree(exchange);
}


/* ---- the connection ---- */

/* Reads the row again; needs no open transaction. */
static bool
reload(RmsyncEngine *engine, RmsyncLane *lane)
{
	bool found;

	rmsync_txn_begin("rmsync: reading a connection");
	MemoryContextSwitchTo(engine->turn_cxt);
	found = rmsync_lane_refresh(lane, rmsync_engine_now());
	rmsync_txn_end(false);
	MemoryContextReset(engine->turn_cxt);
	return found && lane->info.config != NULL;
}

static RmsyncLane *
find_lane(RmsyncEngine *engine, int64 lane_id)
{
	RmsyncLane *lane;

	rmsync_txn_begin("rmsync: reading a connection");
	lane = rmsync_engine_lane(engine, lane_id);
	rmsync_txn_end(false);
	MemoryContextReset(engine->turn_cxt);
	if (lane != NULL)
		lane->probed = true;
	return lane;
}

RmsyncLane *
rmsync_engine_probe_open(RmsyncEngine *engine, int64 lane_id, const char **why)
{
	RmsyncLane *lane = find_lane(engine, lane_id);

	if (lane == NULL)
		*why = "The connection is gone, or its target is not known.";
	else if (!reload(engine, lane))
		*why = "The stored configuration cannot be decrypted.";
	else
		return lane;
	return NULL;
}

/*
 * The service does not accept the token.  True if there is a new one now.
 *
 * A cancel request waits meanwhile: the old tokens are dead as soon as the
 * service has sent new ones, and they must not be lost on the way.
 */
static bool
renew(RmsyncEngine *engine, RmsyncLane *lane)
{
	char *before = MemoryContextStrdup(engine->cxt, lane->credentials);

	rmsync_txn_begin("rmsync: renewing a token");
	MemoryContextSwitchTo(engine->turn_cxt);
	(void) rmsync_engine_refresh(engine, lane);
	rmsync_txn_end(false);
	HOLD_INTERRUPTS();
	while (lane->refresh != NULL)
	{
		int64 now_us = rmsync_engine_now();
		int64 wait = rmsync_engine_refresh_wait(engine, now_us);

		if (wait != 0)
			serve(engine, wait < 0 ? 1000 : (long) Min(wait / 1000 + 1, 1000));
		else if (!rmsync_engine_tokens_turn(engine))
			break;
		MemoryContextReset(engine->turn_cxt);
	}
	RESUME_INTERRUPTS();
	return reload(engine, lane) && strcmp(lane->credentials, before) != 0;
}


/* ---- the probe ---- */

/*
 * The service refused: workers stop, too.  True if what it asked for is not too
 * much for a person; it is waited for before the next request.
 */
static bool
refused(RmsyncEngine *engine, RmsyncLane *lane, const RmsyncProbe *probe,
		Patience *patience)
{
	RmsyncFailure fail = probe->fail;

	if (fail.delay_ms <= 0)
	{
		int delay =
			rmsync_breaker_ms(++patience->retries, rmsync_engine_random(engine));

		fail.delay_ms = Max(rmsync_engine_scaled(delay), 1);
	}
	rmsync_engine_limited(engine, lane, &fail, probe->limited);
	if (engine->limits_dirty)
	{
		rmsync_txn_begin("rmsync: recording a limit");
		MemoryContextSwitchTo(engine->turn_cxt);
		rmsync_engine_limits_store(engine, rmsync_engine_now());
		rmsync_txn_end(false);
		MemoryContextReset(engine->turn_cxt);
		engine->limits_dirty = false;
	}
	return patience->waited_ms + fail.delay_ms <= MAX_WAIT_MS;
}

/* After an answer: is there to be another request? */
static bool
goes_on(RmsyncEngine *engine, RmsyncLane *lane, RmsyncProbe *probe,
		Patience *patience)
{
	switch (probe->fail.scope)
	{
		case RMSYNC_FAIL_NONE:
			if (probe->delay_ms > 0)
				rmsync_engine_pause(engine, probe->delay_ms);
			return true;
		case RMSYNC_FAIL_RATE:
			return refused(engine, lane, probe, patience);
		case RMSYNC_FAIL_NETWORK:
			if (patience->retries >= MAX_RETRIES)
				return false;
			rmsync_engine_pause(engine,
								rmsync_breaker_ms(++patience->retries,
												  rmsync_engine_random(engine)));
			return true;
		case RMSYNC_FAIL_AUTH:
			if (patience->renewed || !renew(engine, lane))
				return false;
			patience->renewed = true;
			probe->renewed = true;
			return true;
		default:
			return false;
	}
}

void
rmsync_engine_probe_begin(RmsyncLane *lane, RmsyncProbe *probe, MemoryContext cxt)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);

	memset(probe, 0, sizeof(*probe));
	probe->cxt = cxt;
	probe->lane = &lane->info;
	initStringInfo(&probe->facts);
	appendStringInfoChar(&probe->facts, '{');
	MemoryContextSwitchTo(old);
}

void
rmsync_engine_probe_run(RmsyncEngine *engine, RmsyncLane *lane, RmsyncProbe *probe)
{
	Patience patience = { 0 };

	while (probe->fail.scope == RMSYNC_FAIL_NONE)
	{
		RmsyncHttpRequest request;

		memset(&request, 0, sizeof(request));
		if (!probe->next(probe, &request))
			break;
		if (!wait_for_place(engine, lane, probe, &patience))
			break;
		converse(engine, lane, probe, &request);
		if (!goes_on(engine, lane, probe, &patience))
			break;

		/* it is to be asked again, or went well */
		probe->fail.scope = RMSYNC_FAIL_NONE;
		probe->delay_ms = 0;
		probe->hint = NULL;
	}
}
