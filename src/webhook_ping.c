/*-------------------------------------------------------------------------
 *
 * webhook_ping.c
 *	  Does a webhook receiver answer?  For rmsync_test_connection().
 *
 * Standard Webhooks knows no other question than an event, so one is sent that
 * tells nothing: "rmsync.ping", signed like any other, which receivers are to
 * answer with 2xx and to ignore (contracts/other-targets.md 6).  It is in the
 * README.  Nothing here may put the secret into a message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fingerprint.h"
#include "json.h"
#include "target_util.h"
#include "target_webhook.h"

typedef struct WebhookPing
{
	WebhookConfig config;
	bool answered;
	int status;
	char id[32];
} WebhookPing;

static void
fail(RmsyncProbe *probe, RmsyncFailScope scope, int delay_ms, const char *code,
	 const char *message, const char *hint)
{
	probe->fail.scope = scope;
	probe->fail.delay_ms = Max(delay_ms, 0);
	probe->fail.code = code;
	probe->fail.message = MemoryContextStrdup(probe->cxt, message);
	probe->hint = hint;
}

/* The same event, with the same id, however often it is tried. */
static void
make_id(const RmsyncProbe *probe, WebhookPing *ping)
{
	char hex[RMSYNC_HASH_LEN + 1];
	char *text = psprintf("ping|" INT64_FORMAT "|" INT64_FORMAT,
						  probe->lane->lane_id, (int64) GetCurrentTimestamp());

	rmsync_sha256_hex(text, strlen(text), hex);
	snprintf(ping->id, sizeof(ping->id), "rms_%.26s", hex);
}

static void
plan_ping(RmsyncProbe *probe, WebhookPing *ping, RmsyncHttpRequest *request)
{
	StringInfoData buf;
	TimestampTz now = GetCurrentTimestamp();
	char *seconds = psprintf(INT64_FORMAT, (int64) timestamptz_to_time_t(now));
	int prefix;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s.%s.", ping->id, seconds);
	prefix = buf.len;
	appendStringInfoString(&buf, "{\"type\":\"rmsync.ping\"");
	rmsync_json_key(&buf, "timestamp");
	rmsync_json_time(&buf, now);
	rmsync_json_key(&buf, "data");
	appendStringInfoChar(&buf, '{');
	rmsync_json_field_int(&buf, "user_id", probe->lane->user_id);
	appendStringInfoString(&buf, "}}");

	rmsync_webhook_request(&ping->config, ping->id, seconds, &buf, prefix,
						   request);
}

static bool
ping_next(RmsyncProbe *probe, RmsyncHttpRequest *request)
{
	WebhookPing *ping = probe->state;
	MemoryContext old = MemoryContextSwitchTo(probe->cxt);

	if (ping->answered)
		probe->message =
			psprintf("The receiver answered a signed event \"rmsync.ping\" with HTTP status %d.",
					 ping->status);
	else
		plan_ping(probe, ping, request);
	MemoryContextSwitchTo(old);
	return !ping->answered;
}

/* The receiver answered, but not with success. */
static void
refused(RmsyncProbe *probe, const RmsyncHttpResponse *response)
{
	int status = response->status;
	char *message =
		psprintf("The receiver answered with HTTP status %d.", status);

	if (status == 401 || status == 403)
		fail(probe, RMSYNC_FAIL_HELD, 0, "unauthorized", message,
			 "Compare the secret, and the headers, with the receiver's.");
	else if (status == 410)
		fail(probe, RMSYNC_FAIL_HELD, 0, "endpoint_gone", message,
			 "The receiver wants no more events; connect to another address.");
	else if (status >= 300 && status < 400)
		fail(probe, RMSYNC_FAIL_HELD, 0, "redirect", message,
			 "Redirects are not followed: connect to the final address.");
	else if (status == 429 || response->retry_after_ms >= 0)
		fail(probe, RMSYNC_FAIL_RATE, response->retry_after_ms, "rate_limit",
			 message, "Try again later.");
	else if (status >= 400 && status < 500)
		fail(probe, RMSYNC_FAIL_HELD, 0, "rejected", message,
			 "Compare the address with the receiver's; it must accept events of any type.");
	else
		fail(probe, RMSYNC_FAIL_NETWORK, 0, "server_error", message,
			 "Try again later.");
}

static void
ping_response(RmsyncProbe *probe, const RmsyncHttpResponse *response)
{
	WebhookPing *ping = probe->state;
	bool answered = response->error == RMSYNC_HTTP_OK ||
					response->error == RMSYNC_HTTP_TOO_LARGE;

	if (answered && response->status >= 200 && response->status < 300)
	{
		ping->answered = true;
		ping->status = response->status;
	}
	else if (response->error == RMSYNC_HTTP_REFUSED)
		fail(probe, RMSYNC_FAIL_HELD, 0, "address_refused", response->message,
			 "See rmsync.allowed_networks and rmsync.allow_http.");
	else if (response->status != 0)
		refused(probe, response);
	else
		fail(probe, RMSYNC_FAIL_NETWORK, 0, "network_error", response->message,
			 "Try again later.");
}

void
rmsync_webhook_test(RmsyncProbe *probe)
{
	MemoryContext old = MemoryContextSwitchTo(probe->cxt);
	WebhookPing *ping = palloc0(sizeof(WebhookPing));
	MemoryContextCallback *wipe = palloc0(sizeof(MemoryContextCallback));
	char *why;

	wipe->func = rmsync_webhook_wipe;
	wipe->arg = &ping->config;
	MemoryContextRegisterResetCallback(probe->cxt, wipe);
	probe->state = ping;
	probe->next = ping_next;
	probe->response = ping_response;
	make_id(probe, ping);
	why = rmsync_webhook_read_config(probe->lane->config, &ping->config, NULL);
	if (why != NULL)
		fail(probe, RMSYNC_FAIL_HELD, 0, "invalid_config", why,
			 "Connect again with rmsync_connect().");
	MemoryContextSwitchTo(old);
}
