/*-------------------------------------------------------------------------
 *
 * notion_api.c
 *	  Requests to Notion's API, and what an answer means.
 *
 * Called by all states of target 'notion'.  The question behind every answer
 * is whether something was written: contracts/notion.md 2.3 and 4.2.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "retry.h"
#include "target_notion.h"

#define MAX_RESPONSE (16 * 1024 * 1024)

#define MAX_MESSAGE 500
#define MAX_CONFLICTS 3
#define CONFLICT_DELAY_MS 500

void
rmsync_notion_call(NotionJob *nj, RmsyncHttpRequest *request, NotionCall call,
				   const char *method, const char *path, const char *body,
				   size_t body_len)
{
	nj->about = nj->notebook;
	nj->calls++;
	request->method = method;
	request->url = psprintf("%s%s", nj->config.base_url, path);
	request->body = body;
	request->body_len = body_len;
	request->repeatable = nj->repeatable = (call != NOTION_ADD);
	request->fresh_connect = (call == NOTION_ADD);

	/*
	 * The time-out is the default, rmsync.http_timeout: Notion gives up after
	 * 60 s, and a shorter one would turn slow writes into unknown ones.
	 */
	request->max_response = MAX_RESPONSE;
	rmsync_http_header(request, "Authorization", nj->config.authorization);
	rmsync_http_header(request, "Notion-Version", RMSYNC_NOTION_API_VERSION);
	if (body != NULL)
		rmsync_http_header(request, "Content-Type", "application/json");
}

/*
 * Copy that lives as long as the job.
 */
char *
rmsync_notion_keep(NotionJob *nj, const char *text)
{
	return text ? MemoryContextStrdup(nj->job->cxt, text) : NULL;
}

bool
rmsync_notion_same_id(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return false;
	for (;;)
	{
		while (*a == '-')
			a++;
		while (*b == '-')
			b++;
		if (pg_ascii_tolower((unsigned char) *a) !=
			pg_ascii_tolower((unsigned char) *b))
			return false;
		if (*a == '\0')
			return true;
		a++;
		b++;
	}
}

/*
 * The id of an object in an answer; NULL if it has none that looks like one.
 * Ids become parts of paths, so nothing else may get in.
 */
char *
rmsync_notion_id(Jsonb *object)
{
	return rmsync_notion_valid_id(rmsync_json_get_string(object, "id", NULL));
}

char *
rmsync_notion_valid_id(char *id)
{
	int digits = 0;

	for (const char *p = id; p != NULL && *p != '\0'; p++)
	{
		if (*p == '-')
			continue;
		if (strchr("0123456789abcdefABCDEF", *p) == NULL || ++digits > 32)
			return NULL;
	}
	return digits == 32 && strlen(id) <= 36 ? id : NULL;
}

/* The array that an answer should hold, all of it objects with ids. */
Jsonb *
rmsync_notion_reply_list(NotionJob *nj, const char *name)
{
	Jsonb *array = rmsync_json_get(nj->reply, name, NULL);
	int n = rmsync_json_array_length(array);

	for (int i = 0; i < n; i++)
	{
		if (rmsync_notion_id(rmsync_json_element(array, i)) == NULL)
			n = -1;
	}
	if (n >= 0)
		return array;
	rmsync_notion_stop_invalid(nj);
	return NULL;
}

char *
rmsync_notion_reply_cursor(NotionJob *nj)
{
	if (!rmsync_json_get_bool(nj->reply, "has_more", false))
		return NULL;
	return rmsync_notion_keep(nj, rmsync_json_get_string(nj->reply,
														 "next_cursor", NULL));
}

/*
 * Ends the job.  The caller must not touch the state afterwards.
 */
void
rmsync_notion_stop(NotionJob *nj, RmsyncFailScope scope, int delay_ms,
				   const char *code, const char *message)
{
	memset(&nj->stop, 0, sizeof(nj->stop));
	nj->stop.scope = scope;
	nj->stop.delay_ms = Max(delay_ms, 0);
	nj->stop.code = code;
	nj->stop.message = rmsync_notion_keep(nj, message);
}

void
rmsync_notion_stop_unknown(NotionJob *nj, int delay_ms)
{
	/* 0 would mean the engine's own back-off */
	rmsync_notion_stop(nj, RMSYNC_FAIL_GROUP, Max(delay_ms, 1), "unknown_outcome",
					   "Notion did not say whether a write was done; it is looked up before anything is sent again.");
}

/*
 * An answer to a harmless question makes no sense: it is asked again later,
 * and nothing is concluded from it.
 */
void
rmsync_notion_stop_invalid(NotionJob *nj)
{
	rmsync_notion_stop(nj, RMSYNC_FAIL_NETWORK, 0, "invalid_response",
					   "Notion's answer does not have the expected form.");
}

/*
 * The service's message, clipped; NULL if the answer has none.
 */
static char *
error_message(NotionJob *nj)
{
	char *message = rmsync_json_get_string(nj->reply, "message", NULL);

	if (message != NULL && strlen(message) > MAX_MESSAGE)
		message[pg_encoding_mbcliplen(PG_UTF8, message, strlen(message),
									  MAX_MESSAGE)] = '\0';
	return message;
}

/* True if a refusal says that the object is in the trash. */
static bool
is_trashed(const char *message)
{
	return message != NULL && (strstr(message, "archived") != NULL ||
							   strstr(message, "in trash") != NULL ||
							   strstr(message, "in the trash") != NULL);
}

static NotionAnswer
stopped(NotionJob *nj, RmsyncFailScope scope, int delay_ms, const char *code,
		const char *message)
{
	rmsync_notion_stop(nj, scope, delay_ms, code,
					   nj->error ? nj->error : message);
	return NOTION_STOPPED;
}

/*
 * 403: no permission, a plan's limit, or a firewall in between, which answers
 * in HTML.
 */
static NotionAnswer
read_forbidden(NotionJob *nj)
{
	if (rmsync_json_get_string(nj->reply, "code", NULL) == NULL)
		return stopped(nj, RMSYNC_FAIL_NETWORK, 0, "blocked_by_edge",
					   "The request was blocked before it reached Notion.");
	if (rmsync_json_get(nj->reply, "additional_data", "block_limit", NULL) &&
		nj->kind->type == RMSYNC_NOTEBOOK && !nj->config.compact)
		nj->error =
			psprintf("%s With \"layout\": \"compact\" in the connection's configuration a page takes one block instead of one per line.",
					 nj->error ? nj->error
							   : "The workspace's plan allows no more blocks.");
	if (rmsync_json_get(nj->reply, "additional_data", "block_limit", NULL))
		return stopped(nj, RMSYNC_FAIL_QUOTA, 0, "quota_exceeded",
					   "The workspace's plan allows no more blocks.");
	return stopped(nj, RMSYNC_FAIL_HELD, 0, "restricted_resource",
				   "The connection lacks a permission at Notion.");
}

static NotionAnswer
read_rate(NotionJob *nj, const RmsyncHttpResponse *response)
{
	int delay_ms = response->retry_after_ms;
	char *reason = rmsync_json_get_string(nj->reply, "additional_data",
										  "rate_limit_reason", NULL);

	if (reason != NULL && strcmp(reason, "public_api_request_blocked") == 0)
		return stopped(nj, RMSYNC_FAIL_HELD, 0, "request_blocked",
					   "Notion has blocked the connection.");
	nj->job->limited = RMSYNC_LIMIT_OTHER;
	if (reason != NULL && strcmp(reason, "public_api_request_rate_limit") == 0)
		nj->job->limited = RMSYNC_LIMIT_CREDENTIAL;
	else if (reason != NULL &&
			 strcmp(reason, "public_api_space_request_rate_limit") == 0)
		nj->job->limited = RMSYNC_LIMIT_WORKSPACE;
	if (delay_ms < 0)
	{
		char *seconds = rmsync_json_get_string(nj->reply, "additional_data",
											   "retry_after", NULL);

		delay_ms =
			seconds ? (int) Max(Min(strtol(seconds, NULL, 10), 86400), 0) * 1000
					: 0;
	}
	return stopped(nj, RMSYNC_FAIL_RATE, delay_ms, "rate_limit",
				   "Notion asked to slow down.");
}

/*
 * 409: something else was being saved.  The same request again, a few times.
 */
static NotionAnswer
read_conflict(NotionJob *nj)
{
	char *code = rmsync_json_get_string(nj->reply, "code", NULL);

	if (code != NULL && strcmp(code, "row_limit_exceeded") == 0)
		return stopped(nj, RMSYNC_FAIL_QUOTA, 0, "row_limit_exceeded",
					   "The database holds no more rows.");
	if (nj->conflicts++ < MAX_CONFLICTS)
	{
		nj->delay_ms = CONFLICT_DELAY_MS << nj->conflicts;
		return NOTION_AGAIN;
	}
	return stopped(nj, RMSYNC_FAIL_ITEM, 0, "conflict_error",
				   "Notion reports a conflict again and again.");
}

/*
 * Nothing was written, or repeating it is harmless.
 */
static NotionAnswer
read_network(NotionJob *nj, const RmsyncHttpResponse *response)
{
	if (response->error != RMSYNC_HTTP_OK)
		return stopped(nj, RMSYNC_FAIL_NETWORK, 0, "network_error",
					   response->message);
	(void) stopped(nj, RMSYNC_FAIL_NETWORK, 0, "server_error",
				   psprintf("Notion answered with HTTP status %d.",
							response->status));
	nj->stop.item = nj->about;
	return NOTION_STOPPED;
}

/*
 * A failed write whose answer names what was saved all the same.
 */
static bool
is_committed(NotionJob *nj, const RmsyncHttpResponse *response)
{
	return response->error == RMSYNC_HTTP_OK && response->status == 503 &&
		   rmsync_json_get_string(nj->reply, "additional_data",
								  "committed_resource_id", NULL) != NULL;
}

/*
 * Sending it again would end the same way, and so would all else.  Returns
 * the failure's code, NULL if this is not such an answer.
 */
static const char *
hopeless_code(const RmsyncHttpResponse *response, RmsyncVerdict verdict)
{
	if (response->error == RMSYNC_HTTP_REFUSED)
		return "address_refused";
	if (response->error == RMSYNC_HTTP_TOO_LARGE && response->status < 400 &&
		verdict == RMSYNC_V_ITEM)
		return "response_too_large";
	return NULL;
}

static NotionAnswer
read_verdict(NotionJob *nj, const RmsyncHttpResponse *response,
			 RmsyncVerdict verdict)
{
	switch (verdict)
	{
		case RMSYNC_V_OK:
			if (nj->reply != NULL && JB_ROOT_IS_OBJECT(nj->reply))
				return NOTION_DONE;
			if (!nj->repeatable)
				return NOTION_UNKNOWN;
			return stopped(nj, RMSYNC_FAIL_NETWORK, 0, "invalid_response",
						   "Notion's answer was cut off or is not JSON.");
		case RMSYNC_V_ITEM:
			return is_trashed(nj->error) ? NOTION_GONE : NOTION_INVALID;
		case RMSYNC_V_GONE:
			return NOTION_GONE;
		case RMSYNC_V_CONFLICT:
			return read_conflict(nj);
		case RMSYNC_V_AUTH:
			return stopped(nj, RMSYNC_FAIL_AUTH, 0, "unauthorized",
						   "Notion does not accept the token.");
		case RMSYNC_V_FORBIDDEN:
			return read_forbidden(nj);
		case RMSYNC_V_RATE:
			return read_rate(nj, response);
		case RMSYNC_V_NETWORK:
			return read_network(nj, response);
		case RMSYNC_V_UNKNOWN:
			break;
	}
	return NOTION_UNKNOWN;
}

/*
 * Reads the answer to the last request.  Leaves a message for INVALID and
 * GONE in nj->error.
 */
NotionAnswer
rmsync_notion_answer(NotionJob *nj, const RmsyncHttpResponse *response)
{
	RmsyncVerdict verdict = rmsync_classify(response, nj->repeatable);
	NotionAnswer answer;

	nj->reply = NULL;
	if (response->error == RMSYNC_HTTP_OK)
		nj->reply = rmsync_json_parse(response->body, response->body_len);
	nj->error = error_message(nj);

	if (hopeless_code(response, verdict) != NULL)
		return stopped(nj, RMSYNC_FAIL_HELD, 0,
					   hopeless_code(response, verdict), response->message);
	if (!nj->repeatable && is_committed(nj, response))
		answer = NOTION_COMMITTED;
	else
		answer = read_verdict(nj, response, verdict);

	if (answer != NOTION_AGAIN)
		nj->conflicts = 0;
	if (nj->error == NULL && answer == NOTION_INVALID)
		nj->error =
			psprintf("Notion answered with HTTP status %d.", response->status);
	return answer;
}

char **
rmsync_notion_reply_ids(NotionJob *nj, NotionAnswer answer, int max)
{
	Jsonb *array;
	char **ids = palloc(sizeof(char *) * Max(max, 1));

	if (answer == NOTION_COMMITTED)
		array = rmsync_json_get(nj->reply, "additional_data",
								"committed_child_ids", NULL);
	else
		array = rmsync_json_get(nj->reply, "results", NULL);
	if (rmsync_json_array_length(array) < max)
		return NULL;

	for (int i = 0; i < max; i++)
	{
		Jsonb *element = rmsync_json_element(array, i);

		ids[i] = answer == NOTION_COMMITTED
					 ? rmsync_notion_valid_id(rmsync_json_as_string(element))
					 : rmsync_notion_id(element);
		if (ids[i] == NULL)
			return NULL;
	}
	return ids;
}
