/*-------------------------------------------------------------------------
 *
 * notion_page.c
 *	  The toggles that the pages of a notebook become: what is done next, and
 *	  everything about them that may be repeated.
 *
 * A page's text is one toggle in the notebook's page.  A text that differs
 * little changes it in place (notion_edit.c), as all notes are (notion_note.c).
 * Another text is a new toggle behind the old one, which is deleted after the
 * new id is committed: a crash leaves the text twice, never not at all, and the
 * ledger names the toggle that has to go.
 *
 * WORK does, in this order: deletions, appends (notion_write.c), other texts,
 * new titles, the notebook's properties.  What a reader waits for comes first:
 * a page inserted in front of many gives all of them another number.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "target_notion.h"
#include "target_notion_write.h"

/* ---- DELETE ---- */

/*
 * Nothing of a page is left to be deleted.
 */
static void
page_tidied(NotionJob *nj, NotionPage *page)
{
	RmsyncItem *item = page->item;

	if (page->partial != NULL)
	{
		page->partial = NULL;
		rmsync_notion_set_intent(nj, item, NULL);
	}

	if (page->failure != NULL)
		rmsync_notion_fail_item(nj, item, page->failure);
	else if (page->action == NOTION_PLAN_REMOVE)
	{
		rmsync_notion_changed(nj, item);
		rmsync_notion_mark_removed(nj, item);
	}
	else
	{
		if (item->ledger.external_id != NULL)
			rmsync_notion_page_meta(nj, item);
		if (page->synced)
			rmsync_notion_settle(nj, page);
		else
			nj->planned = false;
		return;
	}
	page->action = NOTION_PLAN_DECIDED;
}

static void
delete_response(NotionJob *nj, NotionAnswer answer)
{
	NotionDelete *entry = linitial(nj->deletes);
	NotionPage *page = entry->page;

	if (answer == NOTION_GONE &&
		rmsync_notion_look_first(nj, page != NULL ? page->home : NULL))
		return;

	/* not there, or in the trash already, is as good */
	nj->deletes = list_delete_first(nj->deletes);
	nj->state = NOTION_WORK;
	if (page == NULL)
		rmsync_notion_drop_orphan(nj, entry->block_id);
	if (page == NULL || page->item->outcome != RMSYNC_OUT_NONE)
		return;
	if (answer == NOTION_INVALID && page->failure == NULL)
		page->failure = rmsync_notion_keep(nj, nj->error);
	if (--page->deletes == 0)
		page_tidied(nj, page);
}


/* ---- RETITLE ---- */

static void
retitle_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	NotionPage *page = nj->retitle;
	RmsyncItem *item = page->item;
	char *rm = rmsync_notion_rm(nj, item);
	StringInfoData buf;

	initStringInfo(&buf);
	if (item->type == RMSYNC_PAGE)
	{
		char *title = rmsync_notion_title(nj, item);

		rmsync_notion_set_shape(nj, &page->sending, page->shape.prints,
								rmsync_notion_title_hash(title));
		page->sending.compact = page->shape.compact;
		appendStringInfo(&buf, "{\"%s\":{\"rich_text\":",
						 page->shape.compact ? "paragraph" : "toggle");
		if (page->shape.compact)
			appendStringInfoString(&buf, rmsync_notion_compact_text(nj, item,
																	title, rm));
		else
			rmsync_notion_rich_text(&buf, title, rmsync_notion_link(nj, item, rm),
									RMSYNC_RUN_BOLD);
		appendStringInfoString(&buf, "}}");
	}
	else
		appendStringInfoString(&buf, rmsync_notion_note_patch(nj, item, rm));
	item->requests++;
	rmsync_notion_call(nj, request, NOTION_SET, "PATCH",
					   psprintf("/blocks/%s", item->ledger.external_id),
					   buf.data, buf.len);
	nj->about = item;
}

static void
retitle_response(NotionJob *nj, NotionAnswer answer)
{
	NotionPage *page = nj->retitle;

	if (answer == NOTION_GONE && rmsync_notion_look_first(nj, page->home))
		return;
	nj->state = NOTION_WORK;
	if (answer == NOTION_DONE)
	{
		if (page->item->type == RMSYNC_PAGE)
		{
			page->shape = page->sending;
			rmsync_notion_page_meta(nj, page->item);
		}
		rmsync_notion_mark_synced(nj, page->item);
		if (page->item->type == RMSYNC_TODO && page->item != nj->heading)
			rmsync_notion_page_meta(nj, page->item);
		page->action = NOTION_PLAN_DECIDED;
		rmsync_notion_changed(nj, page->item);
	}
	else if (answer == NOTION_GONE)
	{
		/* thrown away by the user: it comes back as a new toggle */
		rmsync_notion_set_external(nj, page->item, NULL);
		if (page->slot >= 0)
			nj->slots[page->slot].block_id = NULL;
		nj->planned = false;
	}
	else
	{
		rmsync_notion_fail_item(nj, page->item, nj->error);
		page->action = NOTION_PLAN_DECIDED;
	}
}


/* ---- WORK ---- */

static NotionPage *
next_page(NotionJob *nj, NotionAction action)
{
	for (int i = 0; i < nj->npages; i++)
	{
		if (nj->pages[i].action == action)
			return &nj->pages[i];
	}
	return NULL;
}

/*
 * Changed words go before mere numbers.
 */
static NotionPage *
next_retitle(NotionJob *nj)
{
	for (int i = 0; i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];

		if (page->action == NOTION_PLAN_RETITLE &&
			strcmp(page->item->ledger.content_hash, page->item->content_hash) != 0)
			return page;
	}
	return next_page(nj, NOTION_PLAN_RETITLE);
}

/*
 * The properties are written once per job, after everything else, unless the
 * page was created in this job and already says what is the case.
 */
static bool
wants_properties(NotionJob *nj)
{
	RmsyncItem *notebook = nj->notebook;

	if (notebook->ledger.external_id == NULL)
		return false;
	if (nj->created)
		return nj->failures > 0;
	return nj->changed || nj->failures > 0 || rmsync_notion_notebook_differs(nj);
}

static NotionState
after_pages(NotionJob *nj)
{
	NotionState state = rmsync_notion_tidy_parts(nj);

	if (state != NOTION_WORK)
		return state;
	if (rmsync_notion_look_for_lost(nj))
		return nj->state;
	if (!wants_properties(nj))
		return NOTION_FINISH;
	if (!nj->remote.complete)
		return rmsync_notion_discover_start(nj);
	if (!rmsync_notion_is_marking(nj))
	{
		rmsync_notion_owe_properties(nj);
		rmsync_notion_doubt(nj, nj->notebook, true);
	}
	return NOTION_PROPERTIES;
}

/*
 * Chooses what comes next.  Returns true if a commit is needed before it.
 */
static bool
work(NotionJob *nj)
{
	NotionPage *page;

	if (nj->deletes != NIL)
		nj->state = NOTION_DELETE;
	else if (!nj->notebook->present)
		nj->state = NOTION_NOTEBOOK; /* its page goes now */
	else if (!nj->planned)
		rmsync_notion_plan(nj);
	else if (rmsync_notion_batch(nj))
	{
		nj->state = NOTION_APPEND;
		nj->commit = false;
		return true;
	}
	else if (nj->state != NOTION_WORK)
		return false; /* they need a page to stand in */
	else if ((page = next_page(nj, NOTION_PLAN_EDIT)) != NULL)
		rmsync_notion_edit_start(nj, page);
	else if ((nj->retitle = next_retitle(nj)) != NULL)
		nj->state = NOTION_RETITLE;
	else
		nj->state = after_pages(nj);
	return false;
}


/* ---- dispatch ---- */

bool
rmsync_notion_page_next(NotionJob *nj, RmsyncHttpRequest *request,
						RmsyncStep *step)
{
	*step = RMSYNC_STEP_REQUEST;
	switch (nj->state)
	{
		case NOTION_DELETE:
		{
			NotionDelete *entry = linitial(nj->deletes);

			if (entry->page != NULL)
				entry->page->item->requests++;
			rmsync_notion_call(nj, request, NOTION_SET, "DELETE",
							   psprintf("/blocks/%s", entry->block_id), NULL, 0);
			if (entry->page != NULL)
				nj->about = entry->page->item;
			return true;
		}

		case NOTION_RETITLE:
			retitle_request(nj, request);
			return true;

		case NOTION_APPEND:
			rmsync_notion_append_request(nj, request);
			return true;

		case NOTION_DEEP_APPEND:
			rmsync_notion_deep_request(nj, request);
			return true;

		case NOTION_DEEP:
			rmsync_notion_deep(nj);
			return false;

		default:
			Assert(nj->state == NOTION_WORK);
			*step = RMSYNC_STEP_COMMIT;
			return work(nj);
	}
}

void
rmsync_notion_page_response(NotionJob *nj, const RmsyncHttpResponse *response)
{
	NotionAnswer answer = rmsync_notion_answer(nj, response);

	if (answer == NOTION_STOPPED && nj->state == NOTION_APPEND)
		rmsync_notion_batch_rejected(nj);
	if (answer == NOTION_AGAIN || answer == NOTION_STOPPED)
		return;

	switch (nj->state)
	{
		case NOTION_DELETE:
			delete_response(nj, answer);
			break;
		case NOTION_RETITLE:
			retitle_response(nj, answer);
			break;
		case NOTION_APPEND:
			rmsync_notion_append_response(nj, answer);
			break;
		default:
			Assert(nj->state == NOTION_DEEP_APPEND);
			rmsync_notion_deep_response(nj, answer);
			break;
	}
}
