/*-------------------------------------------------------------------------
 *
 * notion_create.c
 *	  A new database at Notion, and looking for one.
 *
 * Called by rmsync_notion_create_database().  Creating cannot be repeated, and
 * a database carries no marker of ours, so the caller first lists what is
 * there (rmsync_notion_look), records that with the intent, creates, and after
 * a lost answer looks again: a database of the title that was not there before
 * is the one (contracts/notion.md 3.6 and 4.3).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "notion_talk.h"

#define MAX_LISTINGS 50 /* of a hundred blocks each */

typedef struct CreateState
{
	RmsyncNotionCreation *creation;
	char *cursor;
	int requests;
} CreateState;

static void
parent_missing(NotionTalk *talk)
{
	rmsync_notion_talk_fail(talk, "parent_missing",
							talk->nj.error
								? talk->nj.error
								: "The page does not exist, is in the trash, or is not shared with the connection.",
							"In Notion, open the page and add the connection in its menu; rmsync_notion_pages() lists what it can see.");
}

static NotionTalk *
begin(RmsyncProbe *probe, RmsyncNotionCreation *creation)
{
	NotionTalk *talk =
		rmsync_notion_talk(probe, creation->todos ? &rmsync_notion_todos
												  : &rmsync_notion_notebooks);
	CreateState *state = MemoryContextAllocZero(probe->cxt, sizeof(CreateState));

	state->creation = creation;
	talk->own = state;
	return talk;
}


/* ---- looking ---- */

static bool
plan_look(NotionTalk *talk, RmsyncHttpRequest *request)
{
	CreateState *state = talk->own;
	StringInfoData path;

	if (talk->step == 1)
		return false;
	initStringInfo(&path);
	appendStringInfo(&path, "/blocks/%s/children?page_size=100",
					 state->creation->parent_id);
	if (state->cursor != NULL)
	{
		appendStringInfoString(&path, "&start_cursor=");
		rmsync_notion_encode(&path, state->cursor);
	}
	rmsync_notion_call(&talk->nj, request, NOTION_READ, "GET", path.data, NULL,
					   0);
	return true;
}

static void
look_at_child(NotionTalk *talk, Jsonb *block)
{
	RmsyncNotionCreation *creation = ((CreateState *) talk->own)->creation;
	char *type = rmsync_json_get_string(block, "type", NULL);
	char *title = rmsync_json_get_string(block, "child_database", "title", NULL);
	MemoryContext old;

	if (type == NULL || strcmp(type, "child_database") != 0 || title == NULL ||
		strcmp(title, creation->title) != 0 ||
		rmsync_json_get_bool(block, "in_trash", false))
		return;
	old = MemoryContextSwitchTo(talk->probe->cxt);
	creation->ids =
		lappend(creation->ids, rmsync_notion_dashed_id(rmsync_notion_id(block)));
	MemoryContextSwitchTo(old);
}

static void
read_look(NotionTalk *talk, const RmsyncHttpResponse *response)
{
	CreateState *state = talk->own;
	NotionJob *nj = &talk->nj;
	NotionAnswer answer = rmsync_notion_answer(nj, response);
	Jsonb *results;
	char *cursor;

	if (answer == NOTION_AGAIN || answer == NOTION_STOPPED)
		return;
	if (answer != NOTION_DONE)
	{
		parent_missing(talk);
		return;
	}
	results = rmsync_notion_reply_list(nj, "results");
	if (results == NULL)
		return;
	for (int i = 0; i < rmsync_json_array_length(results); i++)
		look_at_child(talk, rmsync_json_element(results, i));

	cursor = rmsync_json_get_string(nj->reply, "next_cursor", NULL);
	if (!rmsync_json_get_bool(nj->reply, "has_more", false))
		talk->step = 1;
	else if (cursor == NULL)
		rmsync_notion_stop_invalid(nj);
	else if (++state->requests >= MAX_LISTINGS)
		rmsync_notion_talk_fail(talk, "parent_too_long",
								"The page has too many blocks to look through.",
								"Choose a page with less on it.");
	else
		state->cursor = rmsync_notion_keep(nj, cursor);
}

void
rmsync_notion_look(RmsyncProbe *probe, RmsyncNotionCreation *creation)
{
	NotionTalk *talk = begin(probe, creation);

	creation->ids = NIL;
	talk->plan = plan_look;
	talk->read = read_look;
}


/* ---- creating ---- */

static void
add_columns(StringInfo buf, const NotionKind *kind)
{
	rmsync_json_key(buf, "properties");
	appendStringInfoChar(buf, '{');
	rmsync_json_field_raw(buf, kind->type == RMSYNC_TODO ? "Task" : "Name",
						  "{\"title\":{}}");
	for (int role = NOTION_ID; role < kind->nroles; role++)
	{
		const NotionRoleInfo *info = &kind->roles[role];

		if (info->schema != NULL)
			rmsync_json_field_raw(buf, info->name, info->schema);
	}
	appendStringInfoChar(buf, '}');
}

static bool
plan_create(NotionTalk *talk, RmsyncHttpRequest *request)
{
	RmsyncNotionCreation *creation = ((CreateState *) talk->own)->creation;
	StringInfoData buf;

	if (talk->step == 1)
		return false;
	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"parent\":{\"type\":\"page_id\"");
	rmsync_json_field(&buf, "page_id", creation->parent_id);
	appendStringInfoChar(&buf, '}');
	rmsync_json_key(&buf, "title");
	rmsync_notion_rich_text(&buf, creation->title, NULL, 0);
	rmsync_json_field_bool(&buf, "is_inline", true);
	rmsync_json_key(&buf, "initial_data_source");
	appendStringInfoChar(&buf, '{');
	add_columns(&buf, talk->nj.kind);
	appendStringInfoString(&buf, "}}");
	rmsync_notion_call(&talk->nj, request, NOTION_ADD, "POST", "/databases",
					   buf.data, buf.len);
	return true;
}

static void
read_create(NotionTalk *talk, const RmsyncHttpResponse *response)
{
	RmsyncNotionCreation *creation = ((CreateState *) talk->own)->creation;
	NotionJob *nj = &talk->nj;
	NotionAnswer answer = rmsync_notion_answer(nj, response);
	char *id = NULL;

	talk->step = 1;
	switch (answer)
	{
		case NOTION_AGAIN:
			talk->step = 0;
			return;
		case NOTION_STOPPED:
			talk->step = 0; /* if the engine asks again */
			return;
		case NOTION_DONE:
			id = rmsync_notion_id(nj->reply);
			break;
		case NOTION_COMMITTED:
			id = rmsync_notion_valid_id(
				rmsync_json_get_string(nj->reply, "additional_data",
									   "committed_resource_id", NULL));
			break;
		case NOTION_GONE:
			parent_missing(talk);
			return;
		case NOTION_INVALID:
			rmsync_notion_talk_fail(talk, "invalid_data", nj->error, NULL);
			return;
		case NOTION_UNKNOWN:
			break;
	}
	if (id == NULL)
		creation->unknown = true;
	else
		creation->id = rmsync_notion_keep(nj, rmsync_notion_dashed_id(id));
}

void
rmsync_notion_create(RmsyncProbe *probe, RmsyncNotionCreation *creation)
{
	NotionTalk *talk = begin(probe, creation);

	creation->id = NULL;
	creation->unknown = false;
	talk->plan = plan_create;
	talk->read = read_create;
}
