/*-------------------------------------------------------------------------
 *
 * notion_probe.c
 *	  Does a connection to Notion work?  And what all probes there share.
 *
 * The engine calls it for rmsync_test_connection(); notion_search.c and
 * notion_create.c are built on the first half.  Nothing here writes at
 * Notion, and no message may show the token.
 *
 * The test asks who we are, then what discovery (notion_discover.c) would
 * ask: GET users/me, the database, the data source.  Columns that are missing
 * are told, not added.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "notion_talk.h"

#define MAX_TEXT 2000 /* bytes of a title */

/* ---- what all probes share ---- */

/* The token does not outlive the probe. */
static void
wipe_token(void *arg)
{
	NotionTalk *talk = arg;

	if (talk->nj.config.authorization != NULL)
		explicit_bzero(talk->nj.config.authorization,
					   strlen(talk->nj.config.authorization));
}

void
rmsync_notion_talk_fail(NotionTalk *talk, const char *code, const char *message,
						const char *hint)
{
	talk->probe->hint = hint;
	rmsync_notion_stop(&talk->nj, RMSYNC_FAIL_HELD, 0, code, message);
}

/*
 * Reads the configuration, which the engine may have renewed.  It is that of
 * the lane's target, whatever kind of database is asked for.
 */
static bool
read_config(NotionTalk *talk)
{
	NotionJob *nj = &talk->nj;
	const RmsyncLaneInfo *lane = talk->probe->lane;
	const char *target = lane->target_name;
	char *why;

	wipe_token(talk);
	why = rmsync_notion_read_config(strcmp(target, rmsync_target_notion.name) == 0
										? &rmsync_notion_notebooks
										: &rmsync_notion_todos,
									lane->config, &nj->config, NULL);
	if (why == NULL)
		return true;
	rmsync_notion_talk_fail(talk, "invalid_config", why,
							"Connect again with rmsync_connect().");
	return false;
}

static bool
talk_next(RmsyncProbe *probe, RmsyncHttpRequest *request)
{
	NotionTalk *talk = probe->state;
	MemoryContext old = MemoryContextSwitchTo(probe->cxt);
	bool more = true;

	talk->nj.stop.scope = RMSYNC_FAIL_NONE;
	if (probe->renewed)
		more = read_config(talk);
	probe->renewed = false;
	if (more && talk->nj.stop.scope == RMSYNC_FAIL_NONE)
		more = talk->plan(talk, request);
	if (talk->nj.stop.scope != RMSYNC_FAIL_NONE)
	{
		probe->fail = talk->nj.stop;
		more = false;
	}
	MemoryContextSwitchTo(old);
	return more;
}

/* What a person can do about a refusal. */
static const char *
hint_for(const char *code)
{
	static const struct
	{
		const char *code;
		const char *hint;
	} hints[] = {
		{ "unauthorized",
		  "Connect with a valid token, or have access granted again." },
		{ "restricted_resource",
		  "In Notion, let the connection read, insert and update content." },
		{ "request_blocked", "Ask Notion's support why they block it." },
		{ "database_missing",
		  "In Notion, open the database and add the connection in its menu, or choose another: rmsync_notion_databases() lists them." },
		{ "address_refused",
		  "See rmsync.allowed_networks and rmsync.allow_http." },
		{ "rate_limit", "Try again later." },
		{ "network_error", "Try again later." },
		{ "server_error", "Try again later." },
		{ "blocked_by_edge", "Try again later, or from another address." },
		{ "quota_exceeded", "Make room in the workspace, or change its plan." },
	};

	for (int i = 0; i < lengthof(hints); i++)
	{
		if (strcmp(hints[i].code, code) == 0)
			return hints[i].hint;
	}
	return NULL;
}

static void
talk_response(RmsyncProbe *probe, const RmsyncHttpResponse *response)
{
	NotionTalk *talk = probe->state;
	NotionJob *nj = &talk->nj;
	MemoryContext old;

	MemoryContextReset(nj->step_cxt);
	old = MemoryContextSwitchTo(nj->step_cxt);
	nj->delay_ms = 0;
	talk->read(talk, response);
	probe->delay_ms = nj->delay_ms;
	probe->fail = nj->stop;
	probe->limited = talk->job.limited;
	if (nj->stop.scope != RMSYNC_FAIL_NONE && probe->hint == NULL)
		probe->hint = hint_for(nj->stop.code);
	MemoryContextSwitchTo(old);
}

NotionTalk *
rmsync_notion_talk(RmsyncProbe *probe, const NotionKind *kind)
{
	MemoryContext old = MemoryContextSwitchTo(probe->cxt);
	NotionTalk *talk = palloc0(sizeof(NotionTalk));
	MemoryContextCallback *wipe = palloc0(sizeof(MemoryContextCallback));

	talk->probe = probe;
	talk->job.cxt = probe->cxt;
	talk->job.lane = probe->lane;
	talk->nj.job = &talk->job;
	talk->nj.kind = kind;
	talk->nj.step_cxt = AllocSetContextCreate(probe->cxt, "rmsync notion step",
											  ALLOCSET_DEFAULT_SIZES);
	wipe->func = wipe_token;
	wipe->arg = talk;
	MemoryContextRegisterResetCallback(probe->cxt, wipe);

	probe->state = talk;
	probe->next = talk_next;
	probe->response = talk_response;
	probe->renewed = true; /* read it before the first request */
	MemoryContextSwitchTo(old);
	return talk;
}

char *
rmsync_notion_plain(Jsonb *texts)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < rmsync_json_array_length(texts); i++)
	{
		char *text = rmsync_json_get_string(rmsync_json_element(texts, i),
											"plain_text", NULL);

		if (text != NULL)
			appendStringInfoString(&buf, text);
		if (buf.len > MAX_TEXT)
			break;
	}
	if (buf.len > MAX_TEXT)
		buf.data[pg_encoding_mbcliplen(PG_UTF8, buf.data, buf.len, MAX_TEXT)] =
			'\0';
	return buf.data;
}


/* ---- the test of a connection ---- */

typedef enum TestStep
{
	TEST_ME,
	TEST_DATABASE /* discovery's states say more */
} TestStep;

typedef struct NotionTest
{
	char *account;
	char *workspace;
	char *database;
} NotionTest;

/* The columns that discovery would add, from the request it planned. */
static int
add_missing(NotionTalk *talk)
{
	StringInfo facts = &talk->probe->facts;
	NotionJob *nj = &talk->nj;
	Jsonb *body = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue v;
	int n = 0;

	rmsync_json_key(facts, "columns_to_add");
	appendStringInfoChar(facts, '[');
	if (nj->state == NOTION_COLUMNS)
		body = rmsync_json_get(rmsync_json_parse(nj->body, nj->body_len),
							   "properties", NULL);
	if (body != NULL)
	{
		it = JsonbIteratorInit(&body->root);
		while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		{
			if (token != WJB_KEY)
				continue;
			appendStringInfoString(facts, n++ > 0 ? "," : "");
			rmsync_json_stringn(facts, v.val.string.val, v.val.string.len);
		}
	}
	appendStringInfoChar(facts, ']');
	return n;
}

static void
conclude(NotionTalk *talk)
{
	NotionTest *test = talk->own;
	NotionJob *nj = &talk->nj;
	int missing = add_missing(talk);
	StringInfoData buf;

	rmsync_json_field(&talk->probe->facts, "data_source_id",
					  nj->remote.data_source_id);
	initStringInfo(&buf);
	appendStringInfo(&buf, "The connection works as \"%s\"", test->account);
	if (test->workspace != NULL)
		appendStringInfo(&buf, " in the workspace \"%s\"", test->workspace);
	appendStringInfoString(&buf, "; its database can be used");
	if (missing > 0)
		appendStringInfo(&buf, ", %d missing column%s will be added", missing,
						 missing == 1 ? "" : "s");
	appendStringInfoChar(&buf, '.');
	talk->probe->message = buf.data;
}

static bool
plan_test(NotionTalk *talk, RmsyncHttpRequest *request)
{
	NotionJob *nj = &talk->nj;
	RmsyncStep step;

	if (talk->step == TEST_ME)
		rmsync_notion_call(nj, request, NOTION_READ, "GET", "/users/me", NULL, 0);
	else if (nj->state == NOTION_DATABASE || nj->state == NOTION_SOURCE)
		(void) rmsync_notion_discover_next(nj, request, &step);
	else
	{
		conclude(talk);
		return false;
	}
	return true;
}

static void
read_me(NotionTalk *talk, const RmsyncHttpResponse *response)
{
	NotionTest *test = talk->own;
	NotionJob *nj = &talk->nj;
	NotionAnswer answer = rmsync_notion_answer(nj, response);
	MemoryContext old;
	char *name;

	if (answer == NOTION_AGAIN || answer == NOTION_STOPPED)
		return;
	if (answer != NOTION_DONE)
	{
		rmsync_notion_talk_fail(talk, "invalid_response",
								nj->error
									? nj->error
									: "Notion does not say who the connection is.",
								NULL);
		return;
	}
	name = rmsync_json_get_string(nj->reply, "name", NULL);
	test->account = rmsync_notion_keep(nj, name ? name : "unnamed");
	test->workspace =
		rmsync_notion_keep(nj, rmsync_json_get_string(nj->reply, "bot",
													  "workspace_name", NULL));
	rmsync_json_field(&talk->probe->facts, "account", test->account);
	rmsync_json_field(&talk->probe->facts, "workspace", test->workspace);

	if (nj->config.database_id == NULL && nj->config.data_source_id == NULL)
	{
		rmsync_notion_talk_fail(talk, "no_database",
								"The token is good, but no database is chosen yet.",
								"Name one of rmsync_notion_databases() in rmsync_connect(), or make one with rmsync_notion_create_database().");
		return;
	}
	old = MemoryContextSwitchTo(nj->job->cxt);
	rmsync_notion_remote_load(nj);
	MemoryContextSwitchTo(old);
	nj->state = rmsync_notion_discover_start(nj);
	talk->step = TEST_DATABASE;
}

static void
read_test(NotionTalk *talk, const RmsyncHttpResponse *response)
{
	NotionTest *test = talk->own;
	NotionJob *nj = &talk->nj;
	NotionState state = nj->state;

	if (talk->step == TEST_ME)
	{
		read_me(talk, response);
		return;
	}
	rmsync_notion_discover_response(nj, response);
	if (test->database == NULL && nj->reply != NULL && nj->state != state)
	{
		/* a data source alone has a title, too */
		test->database =
			rmsync_notion_keep(nj,
							   rmsync_notion_plain(
								   rmsync_json_get(nj->reply, "title", NULL)));
		rmsync_json_field(&talk->probe->facts, "database_id",
						  nj->config.database_id);
		rmsync_json_field(&talk->probe->facts, "database_title", test->database);
	}
}

static void
begin_test(RmsyncProbe *probe, const NotionKind *kind)
{
	NotionTalk *talk = rmsync_notion_talk(probe, kind);

	talk->own = MemoryContextAllocZero(probe->cxt, sizeof(NotionTest));
	talk->step = TEST_ME;
	talk->plan = plan_test;
	talk->read = read_test;
}

void
rmsync_notion_test(RmsyncProbe *probe)
{
	begin_test(probe, &rmsync_notion_notebooks);
}

void
rmsync_notion_todos_test(RmsyncProbe *probe)
{
	begin_test(probe, &rmsync_notion_todos);
}
