/*-------------------------------------------------------------------------
 *
 * notion_notebook.c
 *	  The page that a notebook becomes: found, created, kept up, removed.
 *	  With target notion-todos, that of a to-do.
 *
 * Creating a page cannot be repeated, and Notion refuses no double.  Every
 * page of ours therefore carries a marker in the column "rmirror ID", an
 * intent is committed before the request, and while one is open nothing is
 * sent again before the marker was looked for, at growing intervals
 * (contracts/notion.md 4.3).  Only a live page counts: what is in the trash
 * may be there since before the request (a notebook that was deleted and came
 * back, a page that the user threw away), and the times that Notion tells are
 * cut to the minute.
 *
 * Even without an intent the marker is looked for once: a restored database
 * may have forgotten pages that are there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "target_notion.h"

/* Why a page that was just found lost is not created again and again. */
#define LOST_DELAY_MS 60000

/* Creates in a row that never arrived, before that counts as a failure. */
#define MAX_RESENT 3

char *
rmsync_notion_marker(NotionJob *nj)
{
	return psprintf(INT64_FORMAT ":%s:%s", nj->job->lane->user_id,
					nj->kind->marker, nj->notebook->id);
}

bool
rmsync_notion_notebook_differs(NotionJob *nj)
{
	RmsyncItem *notebook = nj->notebook;
	bool due = notebook->version != 0;

	if (notebook->ledger.external_id == NULL)
		return due || rmsync_notion_has_writes(nj);
	return notebook->forced ||
		   (nj->kind->outdated != NULL && nj->kind->outdated(notebook)) ||
		   strcmp(notebook->ledger.content_hash, notebook->content_hash) != 0 ||
		   strcmp(notebook->ledger.placement_hash, notebook->placement_hash) != 0;
}


/* ---- NOTEBOOK: what does the notebook need? ---- */

/* All that belonged to the notebook is gone with its page. */
static void
finish_removed(NotionJob *nj)
{
	for (int i = 0; i < nj->npages; i++)
	{
		if (nj->pages[i].item->outcome == RMSYNC_OUT_NONE)
			rmsync_notion_mark_removed(nj, nj->pages[i].item);
	}
	rmsync_notion_mark_removed(nj, nj->notebook);
	nj->planned = true;
	nj->state = NOTION_FINISH;
}

/*
 * Toggles that pages of this notebook left in another one's page when they
 * moved here do not go with this one's page.
 */
static void
remove_moved(NotionJob *nj)
{
	for (int i = 0; i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];

		if (!page->moved || page->action == NOTION_PLAN_REMOVE ||
			page->item->outcome != RMSYNC_OUT_NONE)
			continue;
		page->action = NOTION_PLAN_REMOVE;
		rmsync_notion_doubt(nj, page->item, true);
		rmsync_notion_delete_later(nj, page->item->ledger.external_id, page);
		nj->state = NOTION_WORK;
	}
}

static void
decide(NotionJob *nj)
{
	RmsyncLedger *ledger = &nj->notebook->ledger;

	if (!nj->notebook->present)
	{
		remove_moved(nj);
		if (nj->state == NOTION_WORK)
			return;
		if (ledger->external_id != NULL)
		{
			rmsync_notion_doubt(nj, nj->notebook, true);
			nj->state = NOTION_ARCHIVE;
		}
		else if (ledger->intent == NULL || nj->adopting)
			finish_removed(nj);
		else if (!nj->remote.complete)
			nj->state = rmsync_notion_discover_start(nj);
		else
			nj->state = NOTION_FIND;
	}
	else if (ledger->external_id == NULL &&
			 (nj->adopting || rmsync_notion_notebook_differs(nj)))
		nj->state = NOTION_FIND;
	else if (ledger->external_id != NULL && rmsync_notion_must_list(nj))
		rmsync_notion_list_start(nj);
	else
		nj->state = NOTION_WORK;
}


/* ---- FIND, EXTRA: looking for the marker ---- */

static void
add_equals(StringInfo buf, const char *column, const char *value)
{
	appendStringInfoChar(buf, '{');
	rmsync_json_field(buf, "property", column);
	rmsync_json_key(buf, "rich_text");
	appendStringInfoChar(buf, '{');
	rmsync_json_field(buf, "equals", value);
	appendStringInfoString(buf, "}}");
}

/* The column with the notebook's uuid in the host's databases; NULL if none. */
static const char *
host_uuid_column(NotionJob *nj)
{
	return nj->kind->type == RMSYNC_NOTEBOOK
			   ? nj->remote.column[NOTION_HOST_UUID]
			   : NULL;
}

/*
 * By our marker; pages of the host's own sync have none, but their uuid.
 */
static void
find_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	const char *uuid_column = host_uuid_column(nj);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"filter\":");
	if (uuid_column != NULL)
	{
		appendStringInfoString(&buf, "{\"or\":[");
		add_equals(&buf, nj->remote.column[NOTION_ID], rmsync_notion_marker(nj));
		appendStringInfoChar(&buf, ',');
		add_equals(&buf, uuid_column, nj->notebook->id);
		appendStringInfoString(&buf, "]}");
	}
	else
		add_equals(&buf, nj->remote.column[NOTION_ID], rmsync_notion_marker(nj));
	rmsync_json_field_int(&buf, "page_size", 20);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_call(nj, request, NOTION_READ, "POST",
					   psprintf("/data_sources/%s/query",
								nj->remote.data_source_id),
					   buf.data, buf.len);
}

/*
 * The page that was created first wins; the others are doubles.
 */
static bool
is_older(Jsonb *a, Jsonb *b)
{
	char *ta = rmsync_json_get_string(a, "created_time", NULL);
	char *tb = rmsync_json_get_string(b, "created_time", NULL);
	int cmp = strcmp(ta ? ta : "", tb ? tb : "");

	if (cmp == 0)
	{
		char *ia = rmsync_json_get_string(a, "id", NULL);
		char *ib = rmsync_json_get_string(b, "id", NULL);

		cmp = strcmp(ia ? ia : "", ib ? ib : "");
	}
	return cmp < 0;
}

/*
 * Live pages with our marker, or ("marked" is false) those that came for
 * their uuid and have none; the oldest first.
 */
static List *
live_results(NotionJob *nj, Jsonb *results, bool marked)
{
	const char *wanted = marked ? rmsync_notion_marker(nj) : "";
	bool mixed = host_uuid_column(nj) != NULL;
	List *found = NIL;

	if (!marked && !mixed)
		return NIL;

	for (int i = 0; i < rmsync_json_array_length(results); i++)
	{
		Jsonb *page = rmsync_json_element(results, i);
		char *id = rmsync_json_get_string(page, "id", NULL);

		if (id == NULL || rmsync_json_get_bool(page, "in_trash", false) ||
			rmsync_notion_same_id(id, nj->lost_id) ||
			(mixed && strcmp(rmsync_notion_marker_of(nj, page), wanted) != 0))
			continue;
		if (found != NIL && is_older(page, linitial(found)))
			found = lcons(page, found);
		else
			found = lappend(found, page);
	}
	return found;
}

static void
adopt_page(NotionJob *nj, List *found)
{
	ListCell *cell;

	/* with an intent the page is one without content: nothing else to adopt */
	if (nj->kind->type == RMSYNC_NOTEBOOK)
	{
		nj->adopted = nj->notebook->ledger.intent == NULL || nj->adopting;
		nj->order_known = !nj->adopted;
	}
	foreach (cell, found)
	{
		char *id = rmsync_json_get_string(lfirst(cell), "id", NULL);

		if (foreach_current_index(cell) == 0)
			rmsync_notion_set_external(nj, nj->notebook, id);
		else
		{
			MemoryContext old = MemoryContextSwitchTo(nj->job->cxt);

			nj->extras = lappend(nj->extras, pstrdup(id));
			MemoryContextSwitchTo(old);
		}
	}
	if (!nj->adopting)
		rmsync_notion_set_intent(nj, nj->notebook, NULL);
	if (nj->kind->type == RMSYNC_NOTEBOOK)
		rmsync_notion_notebook_meta(nj);
	else
		nj->notebook->ledger.metadata = NULL; /* who knows what it says */
	nj->state = nj->extras != NIL		? NOTION_EXTRA
				: nj->notebook->present ? NOTION_SAVE_NOTEBOOK
										: NOTION_ARCHIVE;
}

/*
 * A page that the host's own sync has made.  Others with the same uuid are
 * nothing of ours.
 */
static void
adopt_host_page(NotionJob *nj, Jsonb *page)
{
	nj->order_known = false;
	rmsync_notion_set_external(nj, nj->notebook,
							   rmsync_json_get_string(page, "id", NULL));
	rmsync_notion_adopt_start(nj);
	rmsync_notion_notebook_meta(nj);
	nj->state = nj->notebook->present ? NOTION_SAVE_NOTEBOOK : NOTION_ARCHIVE;
}

/*
 * A number in an open create intent: how often its page was looked for in vain
 * ("tries"), how many creates before it never arrived ("resent").  0 if there
 * is no such intent.
 */
static int
intent_number(NotionJob *nj, const char *key)
{
	const char *text = nj->notebook->ledger.intent;
	Jsonb *intent = text ? rmsync_json_parse(text, strlen(text)) : NULL;

	return (int) rmsync_json_get_number(intent, key, 0);
}

/* The next create would be so many behind one that never arrived. */
static int
next_resent(NotionJob *nj)
{
	return intent_number(nj, "tries") > 0 ? intent_number(nj, "resent") + 1 : 0;
}

static void
set_create_intent(NotionJob *nj, int tries, int resent)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "op", "create");
	rmsync_json_field(&buf, "rm", rmsync_notion_marker(nj));
	rmsync_json_field_int(&buf, "tries", tries);
	rmsync_json_field_int(&buf, "resent", resent);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_set_intent(nj, nj->notebook, buf.data);
}

/*
 * Nowhere to be found.  A query may lag behind: look again later, and only
 * after the last look create the page anew.  One that Notion never finishes
 * counts as failed in the end; then each attempt is one create.
 */
static void
page_absent(NotionJob *nj)
{
	int tries = intent_number(nj, "tries") + 1;
	int resent = intent_number(nj, "resent");

	if (tries < nj->config.ndelays)
	{
		set_create_intent(nj, tries, resent);
		rmsync_notion_stop_unknown(nj, nj->config.delays[tries]);
		return;
	}
	if (!nj->notebook->present)
	{
		finish_removed(nj);
		return;
	}
	set_create_intent(nj, tries, Min(resent, MAX_RESENT - 1));
	if (resent >= MAX_RESENT)
		rmsync_notion_stop(nj, RMSYNC_FAIL_ITEM, 0, "unconfirmed",
						   rmsync_notion_no_end);
	else
		nj->state = NOTION_INTENT;
}

static void
find_response(NotionJob *nj)
{
	Jsonb *results = rmsync_notion_reply_list(nj, "results");
	List *found;

	if (results == NULL)
		return;
	found = live_results(nj, results, true);
	if (found != NIL)
		adopt_page(nj, found);
	else if ((found = live_results(nj, results, false)) != NIL)
		adopt_host_page(nj, linitial(found));
	else if (nj->adopting)
	{
		/* the host has not made it after all */
		rmsync_notion_forget_all(nj);
		nj->state = NOTION_INTENT;
	}
	else if (nj->notebook->ledger.intent != NULL)
		page_absent(nj);
	else
		nj->state = NOTION_INTENT;
}


/* ---- CREATE ---- */

static void
create_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"parent\":{\"type\":\"data_source_id\"");
	rmsync_json_field(&buf, "data_source_id", nj->remote.data_source_id);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_properties(nj, &buf);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_call(nj, request, NOTION_ADD, "POST", "/pages", buf.data,
					   buf.len);
}

static void
create_response(NotionJob *nj, NotionAnswer answer)
{
	RmsyncItem *notebook = nj->notebook;
	char *id = NULL;

	if (answer == NOTION_DONE)
		id = rmsync_notion_id(nj->reply);
	else if (answer == NOTION_COMMITTED)
		id = rmsync_notion_valid_id(
			rmsync_json_get_string(nj->reply, "additional_data",
								   "committed_resource_id", NULL));
	else if (answer != NOTION_UNKNOWN)
		rmsync_notion_set_intent(nj, notebook, NULL);

	if (id != NULL)
	{
		rmsync_notion_set_external(nj, notebook, id);
		nj->created = true;
		nj->norder = 0;
		nj->order_known = true;
		rmsync_notion_notebook_meta(nj);
		rmsync_notion_mark_synced(nj, notebook);
		nj->state = NOTION_SAVE_NOTEBOOK;
	}
	else if (answer == NOTION_GONE)
		rmsync_notion_stop(nj, RMSYNC_FAIL_HELD, 0, "database_missing",
						   nj->error);
	else if (answer == NOTION_INVALID && !nj->rediscovered)
	{
		/* a column may have been deleted or retyped */
		nj->rediscovered = true;
		nj->state = rmsync_notion_discover_start(nj);
	}
	else if (answer == NOTION_INVALID)
		rmsync_notion_stop(nj, RMSYNC_FAIL_ITEM, 0, "invalid_data", nj->error);
	else
		rmsync_notion_stop_unknown(nj, nj->config.delays[0]);
}


/* ---- PROPERTIES, ARCHIVE, EXTRA ---- */

static void
patch_request(NotionJob *nj, RmsyncHttpRequest *request, const char *id,
			  bool trash)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	if (trash)
		rmsync_json_field_bool(&buf, "in_trash", true);
	else
		rmsync_notion_properties(nj, &buf);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_call(nj, request, NOTION_SET, "PATCH",
					   psprintf("/pages/%s", id), buf.data, buf.len);
}

static void
properties_response(NotionJob *nj, NotionAnswer answer)
{
	if (answer == NOTION_DONE)
	{
		rmsync_notion_notebook_meta(nj);
		rmsync_notion_mark_synced(nj, nj->notebook);
		nj->state = NOTION_FINISH;
	}
	else if (answer == NOTION_GONE)
		nj->state = NOTION_CHECK;
	else if (!nj->rediscovered)
	{
		nj->rediscovered = true;
		nj->state = rmsync_notion_discover_start(nj);
	}
	else
	{
		rmsync_notion_fail_item(nj, nj->notebook, nj->error);
		nj->state = NOTION_FINISH;
	}
}

/* In the trash, or not there at all: both are what we want. */
static void
trash_response(NotionJob *nj, NotionAnswer answer)
{
	if (answer == NOTION_INVALID)
		rmsync_notion_stop(nj, RMSYNC_FAIL_ITEM, 0, "invalid_data", nj->error);
	else if (nj->state == NOTION_ARCHIVE)
		finish_removed(nj);
	else
	{
		nj->extras = list_delete_first(nj->extras);
		if (nj->extras == NIL)
			nj->state =
				nj->notebook->present ? NOTION_SAVE_NOTEBOOK : NOTION_ARCHIVE;
	}
}


/* ---- dispatch ---- */

bool
rmsync_notion_notebook_next(NotionJob *nj, RmsyncHttpRequest *request,
							RmsyncStep *step)
{
	*step = RMSYNC_STEP_REQUEST;
	nj->notebook->requests++;
	switch (nj->state)
	{
		case NOTION_FIND:
			find_request(nj, request);
			return true;

		case NOTION_EXTRA:
			patch_request(nj, request, linitial(nj->extras), true);
			return true;

		case NOTION_CREATE:
			create_request(nj, request);
			return true;

		case NOTION_ARCHIVE:
			patch_request(nj, request, nj->notebook->ledger.external_id, true);
			return true;

		case NOTION_PROPERTIES:
			patch_request(nj, request, nj->notebook->ledger.external_id, false);
			return true;

		default:
			break;
	}

	nj->notebook->requests--;
	*step = RMSYNC_STEP_COMMIT;
	if (nj->state == NOTION_NOTEBOOK)
	{
		decide(nj);
		return false;
	}
	if (nj->state == NOTION_INTENT)
	{
		if (nj->losses > 1)
		{
			rmsync_notion_stop(nj, RMSYNC_FAIL_GROUP, LOST_DELAY_MS, "page_lost",
							   "The notebook's page at Notion keeps vanishing.");
			return false;
		}
		set_create_intent(nj, 0, next_resent(nj));
		nj->state = NOTION_CREATE;
		return true;
	}
	Assert(nj->state == NOTION_SAVE_NOTEBOOK);
	nj->commit = true;
	if (rmsync_notion_must_list(nj))
		rmsync_notion_list_start(nj);
	else
		nj->state = NOTION_WORK;
	return false;
}

void
rmsync_notion_notebook_response(NotionJob *nj, const RmsyncHttpResponse *response)
{
	NotionAnswer answer = rmsync_notion_answer(nj, response);

	if (answer == NOTION_STOPPED && nj->state == NOTION_CREATE)
		rmsync_notion_set_intent(nj, nj->notebook, NULL);
	if (answer == NOTION_AGAIN || answer == NOTION_STOPPED)
		return;

	switch (nj->state)
	{
		case NOTION_CREATE:
			create_response(nj, answer);
			break;
		case NOTION_PROPERTIES:
			properties_response(nj, answer);
			break;
		case NOTION_ARCHIVE:
		case NOTION_EXTRA:
			trash_response(nj, answer);
			break;
		default:
			if (answer == NOTION_DONE)
				find_response(nj);
			else if (answer == NOTION_INVALID && !nj->rediscovered)
			{
				nj->rediscovered = true;
				nj->state = rmsync_notion_discover_start(nj);
			}
			else
				rmsync_notion_stop(nj, RMSYNC_FAIL_HELD, 0, "database_missing",
								   nj->error);
			break;
	}
}
