/*-------------------------------------------------------------------------
 *
 * target_webhook.c
 *	  Target 'webhook': every change of an item becomes one signed POST.
 *
 * Follows Standard Webhooks: the headers webhook-id, webhook-timestamp and
 * webhook-signature; 2xx is success, anything else is not.  The receiver
 * drops repeats by webhook-id, which is the same for all attempts to deliver
 * one state of an item, also if the item was queued again meanwhile, and
 * differs for every other event, so that A, B, A arrives as three.
 *
 * Called by the engine through the vtable at the end of this file.  A job is
 * one item and at most one request:
 *
 *	PLAN	 -> SENT, DONE (equal, not ready, never delivered, too large)
 *	SENT	 -> DONE (delivered, or refused for what it is)
 *			 -> FAIL (trouble with the endpoint)
 *			 -> NOTE (trouble, and nobody knows whether the receiver has it)
 *	NOTE	 -> FAIL, by way of a commit
 *	FAIL	 -> DONE
 *
 * NOTE exists because of "nothing in flight": an update that may have arrived
 * leaves a mark in the ledger, so that an item which has meanwhile gone back
 * to the state recorded there is sent again and not skipped, and one which
 * was deleted is announced as deleted.
 *
 * Nothing here may put the secret into a message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/base64.h"
#include "datatype/timestamp.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fingerprint.h"
#include "json.h"
#include "target_util.h"
#include "target_webhook.h"

/* A page of 8 MB is no longer an event. */
#define MAX_BODY (8 * 1024 * 1024)
#define MAX_RESPONSE (64 * 1024)
#define TIMEOUT_MS 30000

/* "rms_" and hex digits */
#define ID_DIGITS 26
#define ID_LEN (4 + ID_DIGITS)

typedef enum WebhookState
{
	WEBHOOK_PLAN, /* nothing sent yet */
	WEBHOOK_SENT, /* waiting for the answer */
	WEBHOOK_NOTE, /* the ledger must learn of a doubt */
	WEBHOOK_FAIL, /* report the failure below */
	WEBHOOK_DONE  /* decided */
} WebhookState;

typedef struct WebhookJob
{
	WebhookState state;
	WebhookConfig config;
	const char *op; /* created, updated or deleted */
	char id[ID_LEN + 1];
	char *doubt; /* intent to note if the outcome is not known */

	/* the failure to report */
	RmsyncFailScope scope;
	int delay_ms;
	const char *code;
	char *message;
} WebhookJob;

/* ---- the event ---- */

/*
 * The link into the application where a person sees the item.
 */
static void
append_link(StringInfo buf, const WebhookConfig *config, const RmsyncItem *item)
{
	const char *page = item->type == RMSYNC_PAGE ? item->id : item->src.page_id;
	char *url;

	if (item->notebook_uuid == NULL)
		return;
	if (page != NULL)
		url =
			psprintf("%s/n/%s/p/%s", config->app_url, item->notebook_uuid, page);
	else
		url = psprintf("%s/n/%s", config->app_url, item->notebook_uuid);
	rmsync_json_field(buf, "url", url);
}

static void
append_time(StringInfo buf, const char *key, TimestampTz at)
{
	rmsync_json_key(buf, key);
	rmsync_json_time(buf, at);
}

/*
 * The item's own fields, by type; every key of a type is always there.
 */
static void
append_fields(StringInfo buf, const RmsyncItem *item)
{
	const RmsyncSource *src = &item->src;

	if (item->type == RMSYNC_NOTEBOOK)
	{
		rmsync_json_field(buf, "title", src->title);
		rmsync_json_field(buf, "path", src->path);
		rmsync_json_field(buf, "document_type", src->document_type);
		rmsync_json_field(buf, "author", src->author);
		rmsync_json_field_int(buf, "page_count", src->page_count);
		append_time(buf, "opened_at", src->opened_at);
	}
	else
	{
		if (src->page_number > 0)
			rmsync_json_field_int(buf, "page_number", src->page_number);
		else
			rmsync_json_field_raw(buf, "page_number", "null");
		if (item->type == RMSYNC_TODO || src->title != NULL)
			rmsync_json_field(buf, "title", src->title);
		rmsync_json_field(buf, "text", src->text);
	}

	if (item->type == RMSYNC_HIGHLIGHT)
	{
		rmsync_json_field(buf, "original_text", src->original_text);
		rmsync_json_field(buf, "note", src->note);
	}
	if (item->type == RMSYNC_TODO)
		rmsync_json_field_bool(buf, "completed", src->completed);
	if (item->type == RMSYNC_TODO || item->type == RMSYNC_HIGHLIGHT)
		rmsync_json_field(buf, "page_id", src->page_id);
	if (src->has_confidence && !isnan(src->confidence) && !isinf(src->confidence))
		rmsync_json_field_raw(buf, "confidence",
							  psprintf("%.6g", src->confidence));
	append_time(buf, "modified_at", src->modified_at);
}

/*
 * {"type":...,"timestamp":...,"data":{...}}.  Nothing in it depends on when
 * it is rendered: retries of one version carry the same event.
 */
static void
append_event(StringInfo buf, const RmsyncJob *job, const WebhookJob *wj,
			 const RmsyncItem *item)
{
	const char *type = rmsync_item_type_name(item->type);

	appendStringInfo(buf, "{\"type\":\"rmsync.%s.%s\"", type, wj->op);
	if (item->src.modified_at != 0)
		append_time(buf, "timestamp", item->src.modified_at);
	appendStringInfoString(buf, ",\"data\":{");
	rmsync_json_field_int(buf, "user_id", job->lane->user_id);
	rmsync_json_field(buf, "item_type", type);
	rmsync_json_field(buf, "item_id", item->id);
	rmsync_json_field(buf, "notebook_uuid", item->notebook_uuid);
	if (item->present)
	{
		rmsync_json_field(buf, "content_hash", item->content_hash);
		if (!wj->config.thin)
			append_fields(buf, item);
		append_link(buf, &wj->config, item);
	}
	appendStringInfoString(buf, "}}");
}

/*
 * The id of the last event that the receiver may have got, if that one said
 * something else; *same is set to its id if it said the same.
 */
static const char *
doubtful_event(const RmsyncItem *item, const char *digest, char **same)
{
	const char *text = item->ledger.intent;
	Jsonb *intent = text ? rmsync_json_parse(text, strlen(text)) : NULL;
	char *id;
	char *said;

	*same = NULL;
	if (intent == NULL || !JB_ROOT_IS_OBJECT(intent))
		return "";
	id = rmsync_json_get_string(intent, "id", NULL);
	said = rmsync_json_get_string(intent, "digest", NULL);
	if (id == NULL || strlen(id) != ID_LEN || said == NULL)
		return "";
	if (strcmp(said, digest) != 0)
		return id;
	*same = id;
	return "";
}

/*
 * The receiver throws away what it has seen, so the id must not change as
 * long as the event may have to be sent again, and must change with every
 * other event.  It depends on what is said; on the queue row, which is the
 * same until the item is delivered (its version is not: an item can be queued
 * again for reasons of its notebook); and on the event before.
 */
static void
event_id(const RmsyncJob *job, const RmsyncItem *item, WebhookJob *wj)
{
	StringInfoData buf;
	char digest[RMSYNC_HASH_LEN + 1];
	char hex[RMSYNC_HASH_LEN + 1];
	const char *before;
	char *same;

	initStringInfo(&buf);
	appendStringInfo(&buf, INT64_FORMAT "|%d|%s|%s|%s|%s|%d|" INT64_FORMAT,
					 job->lane->user_id, (int) item->type, item->id, wj->op,
					 item->content_hash, item->placement_hash,
					 job->lane->config_epoch, item->seq);
	rmsync_sha256_hex(buf.data, buf.len, digest);
	before = doubtful_event(item, digest, &same);
	if (same != NULL)
		strlcpy(wj->id, same, sizeof(wj->id));
	else
	{
		appendStringInfo(&buf, "|%s|%s",
						 item->ledger.external_id ? item->ledger.external_id : "",
						 before);
		rmsync_sha256_hex(buf.data, buf.len, hex);
		memcpy(wj->id, "rms_", 4);
		memcpy(wj->id + 4, hex, ID_DIGITS);
		wj->id[ID_LEN] = '\0';
	}
	wj->doubt = psprintf("{\"op\":\"%s\",\"id\":\"%s\",\"digest\":\"%s\"}",
						 wj->op, wj->id, digest);
	pfree(buf.data);
}

/*
 * "v1,<base64>" for every secret, separated by blanks.
 */
char *
rmsync_webhook_signatures(const WebhookConfig *config, const char *data,
						  size_t len)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < config->nsecrets; i++)
	{
		uint8 mac[32];
		char text[64];
		int n;

		rmsync_hmac_sha256(config->secrets[i].key, config->secrets[i].len, data,
						   len, mac);
		n = pg_b64_encode((void *) mac, sizeof(mac), text, sizeof(text));
		Assert(n > 0);
		appendStringInfo(&buf, "%sv1,%.*s", i > 0 ? " " : "", n, text);
	}
	return buf.data;
}

void
rmsync_webhook_request(const WebhookConfig *config, const char *id,
					   const char *seconds, const StringInfo buf, int prefix,
					   RmsyncHttpRequest *request)
{
	request->method = "POST";
	request->url = config->url;
	request->body = buf->data + prefix;
	request->body_len = buf->len - prefix;
	request->repeatable = true; /* webhook-id makes it so */
	request->timeout_ms = TIMEOUT_MS;
	request->max_response = MAX_RESPONSE;
	rmsync_http_header(request, "Content-Type", "application/json");
	rmsync_http_header(request, "webhook-id", id);
	rmsync_http_header(request, "webhook-timestamp", seconds);
	rmsync_http_header(request, "webhook-signature",
					   rmsync_webhook_signatures(config, buf->data, buf->len));
	for (int i = 0; i < config->ncustom; i++)
		rmsync_http_header(request, config->custom[i].name,
						   config->custom[i].value);
}

/*
 * Fills the request.  Signed is "id.timestamp.body": the body is rendered
 * right behind the first two, so that the megabytes are not copied.  Returns
 * false if the event is too large.
 */
static bool
build_request(RmsyncJob *job, WebhookJob *wj, RmsyncItem *item,
			  RmsyncHttpRequest *request)
{
	StringInfoData buf;
	char *now = psprintf(INT64_FORMAT,
						 (int64) timestamptz_to_time_t(GetCurrentTimestamp()));
	int prefix;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s.%s.", wj->id, now);
	prefix = buf.len;
	append_event(&buf, job, wj, item);
	if (buf.len - prefix > MAX_BODY)
		return false;

	memset(request, 0, sizeof(*request));
	rmsync_webhook_request(&wj->config, wj->id, now, &buf, prefix, request);
	return true;
}


/* ---- the job ---- */

void
rmsync_webhook_wipe(void *arg)
{
	WebhookConfig *config = arg;

	explicit_bzero(config->secrets, sizeof(config->secrets));
}

/* True if the ledger says that this endpoint got the item once. */
static bool
was_delivered(const RmsyncJob *job, const RmsyncItem *item)
{
	return item->ledger.exists && item->ledger.content_hash[0] != '\0' &&
		   item->ledger.config_epoch == job->lane->config_epoch;
}

static bool
is_equal(const RmsyncJob *job, const RmsyncItem *item)
{
	return was_delivered(job, item) && item->ledger.success &&
		   item->ledger.intent == NULL &&
		   strcmp(item->ledger.content_hash, item->content_hash) == 0 &&
		   strcmp(item->ledger.placement_hash, item->placement_hash) == 0;
}

/*
 * Decides what is to be said about the item, if anything.  Sets wj->op or
 * decides the item.
 */
static void
plan_event(RmsyncJob *job, WebhookJob *wj, RmsyncItem *item)
{
	bool maybe = item->ledger.intent != NULL;

	if (!item->present)
	{
		if (was_delivered(job, item) || maybe)
			wj->op = "deleted";
		else if (item->ledger.exists)
		{
			item->ledger.exists = false;
			item->dirty = true;
			rmsync_item_done(job, item, RMSYNC_OUT_SUCCESS, NULL, NULL);
		}
		else
			rmsync_item_done(job, item, RMSYNC_OUT_SKIPPED, NULL, NULL);
	}
	else if (!item->ready)
		rmsync_item_done(job, item, RMSYNC_OUT_WAIT, NULL, NULL);
	else if (!item->forced && is_equal(job, item))
		rmsync_item_done(job, item, RMSYNC_OUT_SKIPPED, NULL, NULL);
	else
		wj->op = was_delivered(job, item) ? "updated" : "created";
}

static void
webhook_begin(RmsyncJob *job)
{
	WebhookJob *wj = palloc0(sizeof(WebhookJob));
	RmsyncItem *item = job->items[0];
	MemoryContextCallback *wipe = palloc0(sizeof(MemoryContextCallback));
	char *why;

	Assert(job->nitems == 1);
	job->state = wj;
	wipe->func = rmsync_webhook_wipe;
	wipe->arg = &wj->config;
	MemoryContextRegisterResetCallback(job->cxt, wipe);

	why = rmsync_webhook_read_config(job->lane->config, &wj->config, NULL);
	if (why != NULL)
	{
		rmsync_job_fail(job, RMSYNC_FAIL_HELD, 0, "invalid_config", why);
		wj->state = WEBHOOK_DONE;
		return;
	}

	plan_event(job, wj, item);
	if (wj->op == NULL)
		wj->state = WEBHOOK_DONE;
	else
		event_id(job, item, wj);
}

static RmsyncStep
webhook_next(RmsyncJob *job, RmsyncHttpRequest *request)
{
	WebhookJob *wj = job->state;
	RmsyncItem *item = job->items[0];

	switch (wj->state)
	{
		case WEBHOOK_PLAN:
			if (build_request(job, wj, item, request))
			{
				wj->state = WEBHOOK_SENT;
				item->requests++;
				return RMSYNC_STEP_REQUEST;
			}
			rmsync_item_done(job, item, RMSYNC_OUT_ITEM_ERROR,
							 "payload_too_large",
							 "payload too large: the event exceeds 8 MB");
			wj->state = WEBHOOK_DONE;
			return RMSYNC_STEP_DONE;

		case WEBHOOK_NOTE:
			wj->state = WEBHOOK_FAIL;
			return RMSYNC_STEP_COMMIT;

		case WEBHOOK_FAIL:
			rmsync_job_fail(job, wj->scope, wj->delay_ms, wj->code, wj->message);
			wj->state = WEBHOOK_DONE;
			return RMSYNC_STEP_DONE;

		case WEBHOOK_SENT:
			Assert(false); /* the engine calls response first */
			return RMSYNC_STEP_DONE;

		case WEBHOOK_DONE:
			break;
	}
	return RMSYNC_STEP_DONE;
}

/* The receiver has it: writes the ledger entry and decides the item. */
static void
delivered(RmsyncJob *job, WebhookJob *wj, RmsyncItem *item)
{
	RmsyncLedger *ledger = &item->ledger;

	ledger->exists = item->present;
	ledger->external_id = wj->id;
	strlcpy(ledger->content_hash, item->content_hash,
			sizeof(ledger->content_hash));
	strlcpy(ledger->placement_hash, item->placement_hash,
			sizeof(ledger->placement_hash));
	ledger->config_epoch = job->lane->config_epoch;
	ledger->success = true;
	ledger->intent = NULL;
	item->dirty = true;
	rmsync_item_done(job, item, RMSYNC_OUT_SUCCESS, NULL, NULL);
}

/* The ledger knows already that the receiver may have this event. */
static bool
same_doubt(const RmsyncItem *item, const WebhookJob *wj)
{
	return strstr(item->ledger.intent, wj->id) != NULL;
}

/*
 * Stops the job; before that, if the receiver may have the event, the ledger
 * is told.
 */
static void
fail_job(RmsyncJob *job, WebhookJob *wj, RmsyncFailScope scope,
		 const char *code, const RmsyncHttpResponse *response, bool maybe)
{
	RmsyncItem *item = job->items[0];

	wj->scope = scope;
	wj->code = code;
	wj->delay_ms = Max(response->retry_after_ms, 0);
	if (response->error != RMSYNC_HTTP_OK)
		wj->message = pstrdup(response->message ? response->message : code);
	else
		wj->message = psprintf("The endpoint answered with HTTP status %d.",
							   response->status);

	wj->state = WEBHOOK_FAIL;
	if (maybe && (item->ledger.intent == NULL || !same_doubt(item, wj)))
	{
		item->ledger.exists = true;
		item->ledger.intent = wj->doubt;
		item->dirty = true;
		wj->state = WEBHOOK_NOTE;
	}
}

/* Statuses of overload, and what they mean for the lane. */
static bool
is_throttled(int status)
{
	return status == 429 || status == 502 || status == 503 || status == 504 ||
		   status == 529;
}

/*
 * Answers that are neither success nor the item's own fault.  Returns false
 * if it is one of those after all.
 */
static bool
lane_trouble(RmsyncJob *job, WebhookJob *wj, const RmsyncHttpResponse *response)
{
	int status = response->status;

	if (response->error == RMSYNC_HTTP_REFUSED)
		fail_job(job, wj, RMSYNC_FAIL_HELD, "address_refused", response, false);
	else if (status == 410)
		fail_job(job, wj, RMSYNC_FAIL_HELD, "endpoint_gone", response, false);
	else if (status == 401 || status == 403)
		fail_job(job, wj, RMSYNC_FAIL_AUTH, "unauthorized", response, false);
	else if (is_throttled(status) &&
			 (status == 429 || response->retry_after_ms >= 0))
		fail_job(job, wj, RMSYNC_FAIL_RATE, "rate_limit", response,
				 status != 429);
	else if (status >= 300 && status < 400)

		/*
		 * Never followed: a new address may be anybody's.  It concerns every
		 * event, so that the lane backs off instead of failing them one by
		 * one.
		 */
		fail_job(job, wj, RMSYNC_FAIL_NETWORK, "redirect", response, false);
	else if (status >= 400 && status < 500 && status != 408 && status != 425)
		return false;
	else if (response->error == RMSYNC_HTTP_NOT_SENT)
		fail_job(job, wj, RMSYNC_FAIL_NETWORK, "network_error", response, false);
	else
		fail_job(job, wj, RMSYNC_FAIL_NETWORK,
				 status != 0 ? "server_error" : "network_error", response, true);
	return true;
}

static void
webhook_response(RmsyncJob *job, const RmsyncHttpResponse *response)
{
	WebhookJob *wj = job->state;
	RmsyncItem *item = job->items[0];
	bool answered = response->error == RMSYNC_HTTP_OK ||
					response->error == RMSYNC_HTTP_TOO_LARGE;

	wj->state = WEBHOOK_DONE;

	/* An answer that talks too much is still an answer. */
	if (answered && response->status >= 200 && response->status < 300)
		delivered(job, wj, item);
	else if (!lane_trouble(job, wj, response))
		rmsync_item_done(job, item, RMSYNC_OUT_ITEM_ERROR,
						 response->status == 413 ? "payload_too_large"
												 : "rejected",
						 psprintf("The endpoint answered with HTTP status %d.",
								  response->status));
}

const RmsyncTarget rmsync_target_webhook = {
	.name = "webhook",
	.title = "Webhook",
	.item_types = RMSYNC_TYPE_BIT(RMSYNC_NOTEBOOK) |
				  RMSYNC_TYPE_BIT(RMSYNC_PAGE) | RMSYNC_TYPE_BIT(RMSYNC_TODO) |
				  RMSYNC_TYPE_BIT(RMSYNC_HIGHLIGHT),
	.granularity = RMSYNC_PER_ITEM,
	.limits = { .jobs_per_lane = RMSYNC_WEBHOOK_DEFAULT_IN_FLIGHT },
	.own_servers = true,
	.config_schema = rmsync_webhook_config_schema,
	.check_config = rmsync_webhook_check_config,
	.wanted_types = rmsync_webhook_wanted_types,
	.lane_limits = rmsync_webhook_lane_limits,
	.test = rmsync_webhook_test,
	.begin = webhook_begin,
	.next = webhook_next,
	.response = webhook_response
};
