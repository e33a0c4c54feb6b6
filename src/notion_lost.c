/*-------------------------------------------------------------------------
 *
 * notion_lost.c
 *	  Is the page gone, or only a block that stood in it?
 *
 * CHECK, CHECK_SOURCE: only if the database itself is still there is the page
 * created anew; a database that is gone or unshared holds the lane.  If the
 * user wants no page made anew, the notebook is parked: its items wait, and its
 * page is looked at now and then; so it is if the page is archived.  The same
 * holds for a part of a notebook, whose notebook is asked for first.  Nothing
 * may be concluded from a block that is gone before its page was seen, because
 * with the page it may come back; and the page may go at any time, so that the
 * block must be gone still in the request right after.
 *
 * Called by target_notion.c, and by whoever finds that a block is gone.  Must
 * never create or delete anything itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "target_notion.h"

/* When an anchor that is there and not there is tried again. */
#define VANISHING_DELAY_MS 60000

/* How often a page is looked at that was lost and may come back. */
#define PARKED_DELAY_MS (3600 * 1000)

bool
rmsync_notion_look_first(NotionJob *nj, const char *home)
{
	int part = rmsync_notion_part_of(nj, home);

	if (nj->created || !nj->notebook->present ||
		nj->notebook->ledger.external_id == NULL)
		return false;

	/* the very request before this one has shown that the page is there */
	if (nj->seen_part == part && nj->seen_call > 0 &&
		nj->seen_call == nj->calls - 1)
		return false;
	nj->looking = true;
	nj->checking = 0;
	nj->suspect = part;
	nj->state = NOTION_CHECK;
	return true;
}

/* The user has to do something: says with which notebook, and what. */
static void
park(NotionJob *nj, const char *code, const char *what)
{
	const char *title = nj->notebook->src.title;
	const char *kind = nj->kind->type == RMSYNC_NOTEBOOK ? "notebook" : "to-do";

	if (title == NULL || nj->kind->type != RMSYNC_NOTEBOOK)
		title = nj->notebook->src.text;
	if (title == NULL)
		title = "";
	rmsync_notion_stop(nj, RMSYNC_FAIL_PARKED, PARKED_DELAY_MS, code,
					   psprintf("The Notion page of the %s \"%.*s\" %s", kind,
								pg_encoding_mbcliplen(PG_UTF8, title,
													  strlen(title), 200),
								title, what));
}

static void
park_lost(NotionJob *nj)
{
	park(nj, "page_lost",
		 "is in the trash, gone or no longer shared, and nothing is written until it is back. "
		 "Restore it and call rmsync_retry(), or connect with \"lost_page\": \"recreate\" to have it made anew.");
}

/* The page is not there, though its database is. */
static void
page_lost(NotionJob *nj)
{
	nj->source_seen = nj->looking = false;

	/* a query shows for a while what is in the trash: it is not the user's loss */
	if (nj->config.stop_if_lost && !nj->found)
	{
		park_lost(nj);
		return;
	}

	/* the user has thrown the page away; what the source has comes back */
	nj->found = false;
	nj->losses++;
	nj->lost_id = nj->notebook->ledger.external_id;
	rmsync_notion_add_lost(nj, nj->lost_id);
	rmsync_notion_forget_all(nj);
	rmsync_notion_notebook_meta(nj);
	nj->state = NOTION_NOTEBOOK;
}

/* What stood in a part is gone, and the part with it. */
static void
part_lost(NotionJob *nj, int part)
{
	nj->looking = false;
	if (nj->config.stop_if_lost)
	{
		park_lost(nj);
		return;
	}
	rmsync_notion_add_lost(nj, rmsync_notion_part_id(nj, part));
	rmsync_notion_part_lost(nj, part);
	rmsync_notion_list_start(nj); /* and the others? */
}

/* The page asked for is there. */
static void
page_seen(NotionJob *nj, int checked)
{
	nj->source_seen = false;
	if (nj->suspect > 0)
	{
		/* the notebook's page is there; what of the part? */
		nj->checking = nj->suspect;
		nj->suspect = 0;
	}
	else if (nj->looking)
	{
		/* it was only the block, if that is gone still */
		nj->looking = false;
		nj->seen_part = checked;
		nj->seen_call = nj->calls;
		nj->state = NOTION_WORK;
	}
	else if (!nj->relisted)
	{
		/* the page is there: what the append should stand behind is not */
		nj->relisted = true;
		rmsync_notion_list_start(nj);
	}
	else
		rmsync_notion_stop(nj, RMSYNC_FAIL_GROUP, VANISHING_DELAY_MS,
						   "object_not_found", nj->error);
}

static void
check_response(NotionJob *nj, NotionAnswer answer)
{
	int checked = nj->checking;

	nj->checking = 0;
	if (answer == NOTION_DONE &&
		!rmsync_json_get_bool(nj->reply, "in_trash", false))
	{
		/* that is not the trash: it is there, and takes no more changes */
		if (rmsync_json_get_bool(nj->reply, "is_archived", false))
			park(nj, "page_archived",
				 "is archived at Notion and takes no changes.  Unarchive it and call rmsync_retry().");
		else
			page_seen(nj, checked);
		return;
	}
	nj->suspect = 0;
	if (checked > 0)
		part_lost(nj, checked);
	else if (nj->source_seen)
		page_lost(nj);
	else
		nj->state = NOTION_CHECK_SOURCE;
}

static void
check_source_response(NotionJob *nj, NotionAnswer answer)
{
	if (answer != NOTION_DONE ||
		rmsync_json_get_bool(nj->reply, "in_trash", false))
	{
		rmsync_notion_stop(nj, RMSYNC_FAIL_HELD, 0, "database_missing",
						   "The Notion database does not exist, is in the trash, or is no longer shared with the connection.");
		return;
	}

	/*
	 * Look at the page once more: what it stood in may have been restored
	 * between the two requests, and the page with it.
	 */
	nj->source_seen = true;
	nj->state = NOTION_CHECK;
}


bool
rmsync_notion_check_next(NotionJob *nj, RmsyncHttpRequest *request,
						 RmsyncStep *step)
{
	char *path;

	*step = RMSYNC_STEP_REQUEST;
	if (nj->state == NOTION_CHECK)
		path = psprintf("/pages/%s", rmsync_notion_part_id(nj, nj->checking));
	else if (!nj->remote.complete)
	{
		/* discovery asks the same question */
		nj->losses++;
		nj->lost_id = nj->notebook->ledger.external_id;
		rmsync_notion_forget_all(nj);
		nj->state = rmsync_notion_discover_start(nj);
		return false;
	}
	else
		path = psprintf("/data_sources/%s", nj->remote.data_source_id);
	rmsync_notion_call(nj, request, NOTION_READ, "GET", path, NULL, 0);
	return true;
}

void
rmsync_notion_check_response(NotionJob *nj, const RmsyncHttpResponse *response)
{
	NotionAnswer answer = rmsync_notion_answer(nj, response);

	if (answer == NOTION_AGAIN || answer == NOTION_STOPPED)
		return;
	if (nj->state == NOTION_CHECK)
		check_response(nj, answer);
	else
		check_source_response(nj, answer);
}
