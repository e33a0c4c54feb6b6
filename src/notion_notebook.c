/*-------------------------------------------------------------------------
 *
 * notion_notebook.c
 *	  The page that a notebook becomes: created, kept up, removed.
 *	  With target notion-todos, that of a to-do.
 *
 * Creating a page cannot be repeated, and Notion refuses no double.  Every
 * page of ours therefore carries a marker in the column "rmirror ID", an
 * intent is committed before the request, and while one is open nothing is
 * sent again before the marker was looked for (notion_find.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "target_notion.h"

/* Why a page that was just found lost is not created again and again. */
#define LOST_DELAY_MS 60000

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
	return notebook->forced || rmsync_notion_is_marking(nj) ||
		   (nj->kind->outdated != NULL && nj->kind->outdated(notebook)) ||
		   strcmp(notebook->ledger.content_hash, notebook->content_hash) != 0 ||
		   strcmp(notebook->ledger.placement_hash, notebook->placement_hash) != 0;
}


/* ---- NOTEBOOK: what does the notebook need? ---- */

/* All that belonged to the notebook is gone with its page. */
void
rmsync_notion_finish_removed(NotionJob *nj)
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
			rmsync_notion_finish_removed(nj);
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
		rmsync_notion_learn_bot(nj, nj->reply);
		rmsync_notion_tell_recreated(nj);
		rmsync_notion_set_external(nj, notebook, id);
		nj->created = true;
		nj->bot = rmsync_notion_keep(nj, rmsync_json_get_string(nj->reply,
																"created_by",
																"id", NULL));
		nj->norder = 0;
		nj->order_known = true;
		rmsync_notion_late_again(nj);
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


/* ---- PROPERTIES, ARCHIVE ---- */

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
	if (answer == NOTION_DONE && rmsync_notion_is_marking(nj))
	{
		rmsync_notion_read_row(nj, nj->reply);
		if (rmsync_notion_row_differs(nj))
		{
			rmsync_notion_doubt(nj, nj->notebook, true);
			return; /* once more, with all it should say */
		}
	}
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
	else
		rmsync_notion_finish_removed(nj);
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
			rmsync_notion_find_request(nj, request);
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
		rmsync_notion_set_create_intent(nj);
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
			trash_response(nj, answer);
			break;
		default:
			if (answer == NOTION_DONE)
				rmsync_notion_find_response(nj);
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
