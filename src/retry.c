/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  What an HTTP result means, and how long to wait.
 *
 * Called by targets (which override what their service does differently) and
 * by the engine.  Pure: chance and time are arguments, so that tests can name
 * the expected result.
 *
 * The question behind every verdict is "may this request have changed
 * something at the service?".  When in doubt the answer is yes: looking at
 * the target once more is cheap, a doubled object is what users see.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "retry.h"

#define JITTER 0.2 /* +-20 % */

/* A write may have happened, unless doing it again makes no difference. */
static RmsyncVerdict
unsure(bool repeatable)
{
	return repeatable ? RMSYNC_V_NETWORK : RMSYNC_V_UNKNOWN;
}

/* Verdict on a status from 400 to 499: the service refused, nothing is
 * written. */
static RmsyncVerdict
classify_refusal(int status)
{
	switch (status)
	{
		case 401:
			return RMSYNC_V_AUTH;
		case 403:
			return RMSYNC_V_FORBIDDEN;
		case 404:
		case 410:
			return RMSYNC_V_GONE;
		case 409:
		case 423: /* locked (WebDAV) */
			return RMSYNC_V_CONFLICT;
		case 429:
			return RMSYNC_V_RATE;
		case 408: /* the service waited for our request in vain */
		case 425: /* too early */
			return RMSYNC_V_NETWORK;
		default:
			return RMSYNC_V_ITEM;
	}
}

static RmsyncVerdict
classify_status(const RmsyncHttpResponse *response, bool repeatable)
{
	int status = response->status;

	if (status >= 200 && status < 300)
		return RMSYNC_V_OK;

	/* Redirects are never followed: the request will not work as it is. */
	if (status >= 300 && status < 400)
		return RMSYNC_V_ITEM;
	if (status >= 400 && status < 500)
		return classify_refusal(status);

	switch (status)
	{
		case 529: /* overloaded, nothing was done */
			return RMSYNC_V_RATE;
		case 501: /* the service knows no such operation */
		case 505:
			return RMSYNC_V_ITEM;
		case 503:

			/*
			 * With Retry-After it is a request to slow down, but services
			 * send it after a commit, too (Notion documents that): only what
			 * may be repeated may simply be sent again.
			 */
			if (response->retry_after_ms >= 0 && repeatable)
				return RMSYNC_V_RATE;
			return unsure(repeatable);
		default:
			return unsure(repeatable);
	}
}

/*
 * Verdict on a response.
 *
 * "repeatable": sending the request again is harmless; RMSYNC_V_UNKNOWN is
 * never returned then.  Architecture document 9.1 and 9.2, except that a 404
 * has a verdict of its own and that 5xx is not blindly sent again.
 */
RmsyncVerdict
rmsync_classify(const RmsyncHttpResponse *response, bool repeatable)
{
	/*
	 * A refusal is final as soon as its status line is here, even if the body
	 * broke off or was a huge page of a proxy.
	 */
	if (response->status >= 400 && response->status < 500)
		return classify_refusal(response->status);

	switch (response->error)
	{
		case RMSYNC_HTTP_OK:
			return classify_status(response, repeatable);
		case RMSYNC_HTTP_REFUSED:
			return RMSYNC_V_ITEM;
		case RMSYNC_HTTP_NOT_SENT:
			return RMSYNC_V_NETWORK;
		case RMSYNC_HTTP_TOO_LARGE:

			/* A read would be answered with as much again, for ever. */
			return repeatable ? RMSYNC_V_ITEM : RMSYNC_V_UNKNOWN;
		case RMSYNC_HTTP_BROKEN:
		case RMSYNC_HTTP_TIMEOUT:
		case RMSYNC_HTTP_CANCELLED:
			break;
	}
	return unsure(repeatable);
}

/* min(base * 2^exponent, cap), jittered; all in milliseconds. */
static int
exponential_ms(int base_ms, int exponent, int cap_ms, double random01)
{
	int64 delay_ms = base_ms;

	/* 2^20 is past every cap used here, and far from overflowing. */
	exponent = Max(0, Min(exponent, 20));
	delay_ms = Min(delay_ms << exponent, (int64) cap_ms);
	return (int) (delay_ms * (1.0 - JITTER + 2.0 * JITTER * random01));
}

/*
 * Milliseconds to wait after an item's attempt number "attempt" (0 = first):
 * min(30 * 2^attempt, 3600) s of architecture document 9.1, +-20 %.
 */
int
rmsync_backoff_ms(int attempt, double random01)
{
	return exponential_ms(30 * 1000, attempt, 3600 * 1000, random01);
}

/*
 * Milliseconds until a lane or target is tried again after its "streak"-th
 * failure in a row: 1 s after the first, doubling to 300 s, +-20 %.
 */
int
rmsync_breaker_ms(int streak, double random01)
{
	return exponential_ms(1000, streak - 1, 300 * 1000, random01);
}
