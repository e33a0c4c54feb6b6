/*-------------------------------------------------------------------------
 *
 * notion_discover.c
 *	  Finds the database's data source and columns, and adds missing columns.
 *
 * Runs once per lane and configuration: what it learns is kept in the lane's
 * remote notes, as ids, so that a user may rename columns.  A column of the
 * user's is never retyped or deleted; one that has our name but another type
 * is left alone and its role goes unused.  A column of ours that the user has
 * deleted stays deleted, except for the one that holds our marker.
 *
 * Where nothing else says which workspace the token is for, Notion is asked
 * once: a refusal on account of the workspace concerns all its connections.
 *
 * Remote notes:
 *	{"database_id":..., "data_source_id":..., "columns":{"path":"%3Aab",...},
 *	"status":{"open":..., "done":..., "complete":[...]}, "workspace_id":...,
 *	"bots":[ids of the users at Notion that our tokens were]}
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "target_notion.h"

/* "rmirror ID 2" and so on, where a foreign column has the name. */
#define MAX_ID_NAMES 9

/* So many names of ours are remembered. */
#define MAX_BOTS 8

/* Data sources listed in a message. */
#define MAX_NAMED 10

static bool
same_or_both_null(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return rmsync_notion_same_id(a, b);
}

/*
 * Parses lane->remote.  Notes of another database count for nothing.
 */
void
rmsync_notion_remote_load(NotionJob *nj)
{
	NotionRemote *remote = &nj->remote;
	const char *text = nj->job->lane->remote;
	Jsonb *json;
	Jsonb *bots;
	char *source;

	memset(remote, 0, sizeof(*remote));
	remote->database_id = nj->config.database_id;
	if (text == NULL)
		return;
	json = rmsync_json_parse(text, strlen(text));
	source = rmsync_json_get_string(json, "data_source_id", NULL);
	if (source == NULL ||
		!same_or_both_null(nj->config.database_id,
						   rmsync_json_get_string(json, "database_id", NULL)) ||
		(nj->config.data_source_id != NULL &&
		 !rmsync_notion_same_id(nj->config.data_source_id, source)))
		return;

	remote->data_source_id = source;
	remote->asked_who = rmsync_json_get(json, "workspace_id", NULL) != NULL;
	remote->workspace_id = rmsync_json_get_string(json, "workspace_id", NULL);
	remote->status_open = rmsync_json_get_string(json, "status", "open", NULL);
	remote->status_done = rmsync_json_get_string(json, "status", "done", NULL);
	if (rmsync_json_get(json, "status", "complete", NULL) != NULL)
		remote->status_complete =
			rmsync_json_text(rmsync_json_get(json, "status", "complete", NULL));
	bots = rmsync_json_get(json, "bots", NULL);
	for (int i = 0; i < rmsync_json_array_length(bots); i++)
	{
		char *bot = rmsync_json_as_string(rmsync_json_element(bots, i));

		if (bot != NULL)
			remote->bots = lappend(remote->bots, bot);
	}
	for (int role = 0; role < nj->kind->nroles; role++)
	{
		Jsonb *id =
			rmsync_json_get(json, "columns", nj->kind->roles[role].key, NULL);

		remote->had[role] = id != NULL;
		remote->column[role] = rmsync_json_as_string(id);
	}
	/* stale: a webhook said that columns changed */
	remote->complete = remote->column[NOTION_TITLE] != NULL &&
					   remote->column[NOTION_ID] != NULL &&
					   !rmsync_json_get_bool(json, "stale", false);
}

/*
 * Writes the remote notes; they are durable after the next commit.
 */
static void
save_remote(NotionJob *nj)
{
	NotionRemote *remote = &nj->remote;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "database_id", remote->database_id);
	rmsync_json_field(&buf, "data_source_id", remote->data_source_id);
	rmsync_json_key(&buf, "columns");
	appendStringInfoChar(&buf, '{');
	for (int role = 0; role < nj->kind->nroles; role++)
	{
		/* null means that it was there once */
		if (nj->kind->wants != NULL && !nj->kind->wants(nj, role))
			continue;
		rmsync_json_field(&buf, nj->kind->roles[role].key, remote->column[role]);
	}
	appendStringInfoChar(&buf, '}');
	if (remote->asked_who)
		rmsync_json_field(&buf, "workspace_id", remote->workspace_id);
	if (remote->status_done != NULL)
	{
		rmsync_json_key(&buf, "status");
		appendStringInfoChar(&buf, '{');
		rmsync_json_field(&buf, "open", remote->status_open);
		rmsync_json_field(&buf, "done", remote->status_done);
		if (remote->status_complete != NULL)
			rmsync_json_field_raw(&buf, "complete", remote->status_complete);
		appendStringInfoChar(&buf, '}');
	}
	if (remote->bots != NIL)
	{
		ListCell *cell;

		rmsync_json_key(&buf, "bots");
		appendStringInfoChar(&buf, '[');
		foreach (cell, remote->bots)
		{
			if (foreach_current_index(cell) > 0)
				appendStringInfoChar(&buf, ',');
			rmsync_json_string(&buf, lfirst(cell));
		}
		appendStringInfoChar(&buf, ']');
	}
	appendStringInfoChar(&buf, '}');

	remote->complete = true;
	nj->job->lane->remote = rmsync_notion_keep(nj, buf.data);
	nj->job->remote_dirty = true;
}

void
rmsync_notion_learn_bot(NotionJob *nj, Jsonb *object)
{
	char *bot = rmsync_notion_valid_id(
		rmsync_json_get_string(object, "created_by", "id", NULL));
	MemoryContext old;
	ListCell *cell;

	if (bot == NULL || !nj->remote.complete)
		return;
	foreach (cell, nj->remote.bots)
	{
		if (rmsync_notion_same_id(lfirst(cell), bot))
			return;
	}
	old = MemoryContextSwitchTo(nj->job->cxt);
	if (list_length(nj->remote.bots) >= MAX_BOTS)
		nj->remote.bots = list_delete_first(nj->remote.bots);
	nj->remote.bots = lappend(nj->remote.bots, pstrdup(bot));
	MemoryContextSwitchTo(old);
	save_remote(nj);
}

NotionState
rmsync_notion_discover_start(NotionJob *nj)
{
	nj->remote.complete = false;
	if (nj->config.data_source_id == NULL)
		return NOTION_DATABASE;
	nj->remote.data_source_id = nj->config.data_source_id;
	return NOTION_SOURCE;
}

static void
hold(NotionJob *nj, const char *code, const char *message)
{
	rmsync_notion_stop(nj, RMSYNC_FAIL_HELD, 0, code, message);
}

static void
hold_missing(NotionJob *nj)
{
	hold(nj, "database_missing",
		 "The Notion database does not exist, is in the trash, or is no longer shared with the connection.");
}


/* ---- columns ---- */

/*
 * Name of the column to be used for a role on the n-th try.
 */
static char *
column_name(const NotionRoleInfo *info, int n)
{
	if (n <= 1)
		return pstrdup(info->name);
	return psprintf("%s %d", info->name, n);
}

/*
 * Looks a property up by its id (NULL = any); NULL if it is gone or of
 * another type.
 */
Jsonb *
rmsync_notion_find_property(Jsonb *properties, const char *id, const char *type)
{
	JsonbIterator *it = JsonbIteratorInit(&properties->root);
	JsonbIteratorToken token;
	JsonbValue v;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		Jsonb *property;
		char *this_id;
		char *this_type;

		if (token != WJB_VALUE || v.type != jbvBinary)
			continue;
		property = JsonbValueToJsonb(&v);
		this_id = rmsync_json_get_string(property, "id", NULL);
		this_type = rmsync_json_get_string(property, "type", NULL);
		if (this_id != NULL && this_type != NULL && strcmp(this_type, type) == 0 &&
			(id == NULL || strcmp(this_id, id) == 0))
			return property;
	}
	return NULL;
}

static char *
find_by_id(Jsonb *properties, const char *id, const char *type)
{
	Jsonb *property = rmsync_notion_find_property(properties, id, type);

	return rmsync_json_get_string(property, "id", NULL);
}

/* Every data source has a column for titles. */
static bool
is_schema(Jsonb *properties)
{
	return properties != NULL && JB_ROOT_IS_OBJECT(properties) &&
		   find_by_id(properties, NULL, "title") != NULL;
}

/*
 * Looks up the column of a role.  *id is set if it is there.  Returns the
 * name under which it is to be added, NULL if it is not to be.
 */
static char *
find_column(NotionJob *nj, Jsonb *properties, int role, char **id)
{
	NotionRemote *remote = &nj->remote;
	const NotionRoleInfo *info = &nj->kind->roles[role];
	int names = role == NOTION_ID ? MAX_ID_NAMES : 1;

	*id = NULL;
	if (remote->column[role] != NULL)
		*id = find_by_id(properties, remote->column[role], info->type);
	for (int n = 1; n <= names && *id == NULL; n++)
	{
		char *name = column_name(info, n);
		Jsonb *property = rmsync_json_get(properties, name, NULL);
		char *type = rmsync_json_get_string(property, "type", NULL);

		if (property == NULL && info->schema != NULL)
			return remote->had[role] && role != NOTION_ID ? NULL : name;
		if (type != NULL && strcmp(type, info->type) == 0)
			*id = rmsync_json_get_string(property, "id", NULL);
	}
	if (*id == NULL && info->any)
		*id = find_by_id(properties, NULL, info->type);
	return NULL;
}

/*
 * Assigns columns to roles.  Appends those to be added to "missing" (may be
 * NULL) as members of a JSON object.
 */
static void
assign_columns(NotionJob *nj, Jsonb *properties, StringInfo missing)
{
	NotionRemote *remote = &nj->remote;
	const NotionKind *kind = nj->kind;

	if (kind->learn != NULL)
		kind->learn(nj, properties);
	remote->column[NOTION_TITLE] =
		rmsync_notion_keep(nj, find_by_id(properties, NULL, "title"));
	for (int role = NOTION_ID; role < kind->nroles; role++)
	{
		char *id = NULL;
		char *name = NULL;

		if (kind->wants == NULL || kind->wants(nj, role))
			name = find_column(nj, properties, role, &id);
		if (id == NULL && name != NULL && missing != NULL)
			rmsync_json_field_raw(missing, name, kind->roles[role].schema);
		else
			remote->column[role] = rmsync_notion_keep(nj, id);
	}
}

bool
rmsync_notion_has_columns(NotionJob *nj, Jsonb *properties)
{
	StringInfoData missing;

	if (!is_schema(properties))
		return false;
	memset(&nj->remote, 0, sizeof(nj->remote));
	initStringInfo(&missing);
	assign_columns(nj, properties, &missing);
	return missing.len == 0;
}


/* ---- states ---- */

/* The columns are known: what comes then? */
static NotionState
after_columns(NotionJob *nj)
{
	const RmsyncLaneInfo *lane = nj->job->lane;

	if (nj->remote.asked_who || lane->workspace_id != NULL ||
		rmsync_notion_workspace(lane->config, NULL) != NULL)
		return NOTION_SAVE_REMOTE;
	return NOTION_WHO;
}

/*
 * GET users/me: which workspace is it?  Everything works without knowing, so
 * only what every other request would meet, too, stops the job.
 */
static void
who_response(NotionJob *nj, const RmsyncHttpResponse *response)
{
	NotionAnswer answer = rmsync_notion_answer(nj, response);

	if (answer == NOTION_AGAIN)
		return;
	if (answer == NOTION_STOPPED)
	{
		bool optional = strcmp(nj->stop.code, "restricted_resource") == 0 ||
						(nj->stop.scope == RMSYNC_FAIL_NETWORK &&
						 response->status > 0 && response->status < 500);

		if (!optional)
			return;
		memset(&nj->stop, 0, sizeof(nj->stop));
	}
	nj->remote.asked_who = true;
	if (answer == NOTION_DONE)
		nj->remote.workspace_id =
			rmsync_notion_keep(nj, rmsync_json_get_string(nj->reply, "bot",
														  "workspace_id", NULL));
	nj->state = NOTION_SAVE_REMOTE;
}

/*
 * Which data source is meant is for the user to say; the message has what it
 * takes.
 */
static void
hold_ambiguous(NotionJob *nj, Jsonb *sources)
{
	int n = rmsync_json_array_length(sources);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "The Notion database has several data sources:");
	for (int i = 0; i < n && i < MAX_NAMED; i++)
	{
		Jsonb *source = rmsync_json_element(sources, i);
		char *name = rmsync_json_get_string(source, "name", NULL);

		if (name == NULL)
			name = "";
		appendStringInfo(&buf, "%s \"%.*s\" (%s)", i > 0 ? "," : "",
						 pg_encoding_mbcliplen(PG_UTF8, name, strlen(name), 60),
						 name, rmsync_notion_id(source));
	}
	if (n > MAX_NAMED)
		appendStringInfo(&buf, " and %d more", n - MAX_NAMED);
	appendStringInfoString(&buf,
						   ". Connect again with the id of one of them in the field \"data_source_id\".");
	hold(nj, "ambiguous_data_source", buf.data);
}

/* Is the data source that we know one of them? */
static bool
knows_source(NotionJob *nj, Jsonb *sources)
{
	for (int i = 0; i < rmsync_json_array_length(sources); i++)
	{
		if (rmsync_notion_same_id(nj->remote.data_source_id,
								  rmsync_notion_id(
									  rmsync_json_element(sources, i))))
			return true;
	}
	return false;
}

/*
 * GET /databases: a database contains one data source or several, and the
 * data source has the columns.  The one we know stays ours, whatever else is
 * added to its database.
 */
static void
database_response(NotionJob *nj)
{
	Jsonb *sources;
	int n;

	if (rmsync_json_get_bool(nj->reply, "in_trash", false))
	{
		hold_missing(nj);
		return;
	}
	sources = rmsync_notion_reply_list(nj, "data_sources");
	if (sources == NULL)
		return;
	n = rmsync_json_array_length(sources);
	if (knows_source(nj, sources))
		nj->state = NOTION_SOURCE;
	else if (n == 1)
	{
		char *id = rmsync_notion_id(rmsync_json_element(sources, 0));

		nj->remote.data_source_id = rmsync_notion_keep(nj, id);
		nj->state = NOTION_SOURCE;
	}
	else if (n > 1)
		hold_ambiguous(nj, sources);
	else
		hold(nj, "database_missing", "The Notion database has no data source.");
}

static void
source_response(NotionJob *nj)
{
	Jsonb *properties = rmsync_json_get(nj->reply, "properties", NULL);
	StringInfoData missing;

	if (rmsync_json_get_bool(nj->reply, "in_trash", false))
	{
		hold_missing(nj);
		return;
	}
	if (!is_schema(properties))
	{
		rmsync_notion_stop_invalid(nj);
		return;
	}

	initStringInfo(&missing);
	appendStringInfoString(&missing, "{\"properties\":{");
	assign_columns(nj, properties, &missing);
	if (missing.data[missing.len - 1] == '{')
		nj->state = after_columns(nj);
	else
	{
		appendStringInfoString(&missing, "}}");
		nj->body = rmsync_notion_keep(nj, missing.data);
		nj->body_len = missing.len;
		nj->state = NOTION_COLUMNS;
	}
}

/*
 * The columns we asked for are there, or Notion refused to add them, which is
 * fatal only for our marker.
 */
static void
columns_response(NotionJob *nj, NotionAnswer answer)
{
	if (answer == NOTION_DONE)
	{
		Jsonb *properties = rmsync_json_get(nj->reply, "properties", NULL);

		if (!is_schema(properties))
		{
			rmsync_notion_stop_invalid(nj);
			return;
		}
		assign_columns(nj, properties, NULL);
	}
	if (nj->remote.column[NOTION_ID] == NULL ||
		nj->remote.column[NOTION_TITLE] == NULL)
		hold(nj, "missing_column",
			 nj->error
				 ? nj->error
				 : "The column \"rmirror ID\" could not be added to the Notion database.");
	else
		nj->state = after_columns(nj);
}

bool
rmsync_notion_discover_next(NotionJob *nj, RmsyncHttpRequest *request,
							RmsyncStep *step)
{
	*step = RMSYNC_STEP_REQUEST;
	switch (nj->state)
	{
		case NOTION_DATABASE:
			rmsync_notion_call(nj, request, NOTION_READ, "GET",
							   psprintf("/databases/%s", nj->config.database_id),
							   NULL, 0);
			return true;

		case NOTION_SOURCE:
			rmsync_notion_call(nj, request, NOTION_READ, "GET",
							   psprintf("/data_sources/%s",
										nj->remote.data_source_id),
							   NULL, 0);
			return true;

		case NOTION_COLUMNS:
			rmsync_notion_call(nj, request, NOTION_SET, "PATCH",
							   psprintf("/data_sources/%s",
										nj->remote.data_source_id),
							   nj->body, nj->body_len);
			return true;

		case NOTION_WHO:
			rmsync_notion_call(nj, request, NOTION_READ, "GET", "/users/me",
							   NULL, 0);
			return true;

		default:
			Assert(nj->state == NOTION_SAVE_REMOTE);
			save_remote(nj);
			nj->state = nj->poll != NULL ? NOTION_POLL : NOTION_NOTEBOOK;
			*step = RMSYNC_STEP_COMMIT;
			return true;
	}
}

void
rmsync_notion_discover_response(NotionJob *nj, const RmsyncHttpResponse *response)
{
	NotionAnswer answer;

	if (nj->state == NOTION_WHO)
	{
		who_response(nj, response);
		return;
	}
	answer = rmsync_notion_answer(nj, response);
	if (answer == NOTION_AGAIN || answer == NOTION_STOPPED)
		return;
	if (answer == NOTION_GONE)
		hold_missing(nj);
	else if (nj->state == NOTION_COLUMNS)
		columns_response(nj, answer);
	else if (answer != NOTION_DONE)
		hold(nj, "database_missing", nj->error);
	else if (nj->state == NOTION_DATABASE)
		database_response(nj);
	else
		source_response(nj);
}
