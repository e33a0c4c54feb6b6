/*-------------------------------------------------------------------------
 *
 * notion_part_page.c
 *	  The pages that the parts of a large notebook are: created, named, and
 *	  removed when nothing stands in them any more.  See notion_part.c.
 *
 * A create cannot be repeated: its intent, in the notebook's ledger entry, is
 * committed before.  If the answer is lost, the notebook's page is listed, and
 * the part is the empty page in there that has its title and that we do not
 * know.
 *
 * Called by target_notion.c and notion_page.c.  Must never put a page into the
 * trash in which something of the reader's stands.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "target_notion.h"

/* Why a part that keeps vanishing is not created again and again. */
#define MAX_LOSSES 10
#define LOST_DELAY_MS 60000

static char *
wanted_title(NotionJob *nj, int part)
{
	const char *title = nj->notebook->src.title;

	return psprintf("%s (%d)",
					title != NULL && *title != '\0' ? title : "Untitled",
					part + 1);
}


/* ---- what is left to be done ---- */

/* Does something of ours stand in there? */
static bool
is_used(NotionJob *nj, int part)
{
	for (int i = 0; i < nj->norder; i++)
	{
		NotionSlot *slot;

		if (nj->order_part[i] != part)
			continue;
		slot = rmsync_notion_slot(nj, nj->order[i]);
		if (slot != NULL && slot->block_id != NULL)
			return true;
	}
	return false;
}

NotionState
rmsync_notion_tidy_parts(NotionJob *nj)
{
	for (int i = nj->nparts - 1; i > 0; i--)
	{
		/* whatever stood in it stands elsewhere */
		if (nj->parts[i].id == NULL)
			rmsync_notion_drop_part(nj, i);
	}
	for (int i = 1; i < nj->nparts; i++)
	{
		NotionPart *part = &nj->parts[i];

		if (part->done)
			continue;
		nj->tidying = i;
		if (!is_used(nj, i))
			return NOTION_PART_LOOK;
		if (part->title != NULL && strcmp(part->title, wanted_title(nj, i)) == 0)
			continue;
		if (part->title != NULL)
		{
			/* from now on it may have either */
			part->title = NULL;
			rmsync_notion_notebook_meta(nj);
			nj->commit = true;
		}
		return NOTION_PART_TITLE;
	}
	return NOTION_WORK;
}


/* ---- requests ---- */

static void
add_title(StringInfo buf, const char *title)
{
	appendStringInfoString(buf, "\"properties\":{\"title\":{\"title\":");
	rmsync_notion_rich_text(buf, title, NULL, 0);
	appendStringInfoString(buf, "}}");
}

static void
create_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"parent\":{\"type\":\"page_id\"");
	rmsync_json_field(&buf, "page_id", rmsync_notion_part_id(nj, 0));
	appendStringInfoString(&buf, "},");
	add_title(&buf, nj->part_title);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_call(nj, request, NOTION_ADD, "POST", "/pages", buf.data,
					   buf.len);
}

static void
patch_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	if (nj->state == NOTION_PART_TITLE)
		add_title(&buf, wanted_title(nj, nj->tidying));
	else
		rmsync_json_field_bool(&buf, "in_trash", true);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_call(nj, request, NOTION_SET, "PATCH",
					   psprintf("/pages/%s",
								rmsync_notion_part_id(nj, nj->tidying)),
					   buf.data, buf.len);
}

/* A new part has to be there; false if it keeps vanishing. */
static bool
begin_create(NotionJob *nj)
{
	if (nj->part_losses > MAX_LOSSES)
	{
		rmsync_notion_stop(nj, RMSYNC_FAIL_GROUP, LOST_DELAY_MS, "page_lost",
						   "A sub-page of the notebook's page at Notion keeps vanishing.");
		return false;
	}
	nj->part_at = nj->tidying;
	nj->part_title = rmsync_notion_keep(nj, wanted_title(nj, nj->part_at));
	rmsync_notion_set_part_intent(nj, 0);
	nj->state = NOTION_PART_CREATE;
	return true;
}

bool
rmsync_notion_part_next(NotionJob *nj, RmsyncHttpRequest *request,
						RmsyncStep *step)
{
	if (nj->state == NOTION_PART_INTENT)
	{
		*step = RMSYNC_STEP_COMMIT;
		return begin_create(nj);
	}
	*step = RMSYNC_STEP_REQUEST;
	nj->notebook->requests++;
	if (nj->state == NOTION_PART_CREATE)
		create_request(nj, request);
	else if (nj->state == NOTION_PART_LOOK)
		rmsync_notion_call(nj, request, NOTION_READ, "GET",
						   psprintf("/blocks/%s/children?page_size=100",
									rmsync_notion_part_id(nj, nj->tidying)),
						   NULL, 0);
	else
		patch_request(nj, request);
	return true;
}


/* ---- answers ---- */

static void
create_response(NotionJob *nj, NotionAnswer answer)
{
	char *id = NULL;

	if (answer == NOTION_DONE)
		id = rmsync_notion_id(nj->reply);
	else if (answer == NOTION_COMMITTED)
		id = rmsync_notion_valid_id(
			rmsync_json_get_string(nj->reply, "additional_data",
								   "committed_resource_id", NULL));

	if (id != NULL)
	{
		rmsync_notion_learn_bot(nj, nj->reply);
		rmsync_notion_tell_recreated(nj);
		rmsync_notion_add_part(nj, nj->part_at, id, nj->part_title);
		nj->state = NOTION_WORK;
		return;
	}
	if (answer != NOTION_GONE && answer != NOTION_INVALID)
	{
		rmsync_notion_stop_unknown(nj, nj->config.append_delay);
		return;
	}

	/* not done: the notebook's page is gone, or Notion wants no such page */
	nj->part_title = NULL;
	rmsync_notion_set_intent(nj, nj->notebook, NULL);
	nj->suspect = 0;
	nj->no_split = answer == NOTION_INVALID;
	nj->state = answer == NOTION_GONE ? NOTION_CHECK : NOTION_WORK;
}

/*
 * Is there anything in it, ours or the reader's?  What is in the trash there is
 * so with the page around it, and comes back with it.
 */
static void
look_response(NotionJob *nj)
{
	Jsonb *results = rmsync_notion_reply_list(nj, "results");

	if (results == NULL)
		return;
	if (rmsync_json_array_length(results) > 0)
		nj->parts[nj->tidying].done = true;
	else
		nj->state = NOTION_PART_TRASH;
}

static void
tidy_response(NotionJob *nj, NotionAnswer answer)
{
	NotionPart *part = &nj->parts[nj->tidying];
	NotionState state = nj->state;

	nj->state = NOTION_WORK;
	if (answer == NOTION_GONE && state == NOTION_PART_TITLE)
	{
		nj->suspect = nj->tidying;
		nj->state = NOTION_CHECK;
	}
	else if (answer == NOTION_GONE)
	{
		/* with the notebook's page it would come back */
		if (part->looked || !rmsync_notion_look_first(nj, NULL))
			rmsync_notion_drop_part(nj, nj->tidying);
		else
			part->looked = true;
	}
	else if (answer != NOTION_DONE)
		part->done = true;
	else if (state == NOTION_PART_LOOK)
		look_response(nj);
	else if (state == NOTION_PART_TRASH)
		rmsync_notion_drop_part(nj, nj->tidying);
	else
	{
		part->title = rmsync_notion_keep(nj, wanted_title(nj, nj->tidying));
		rmsync_notion_notebook_meta(nj);
	}
}

void
rmsync_notion_part_response(NotionJob *nj, const RmsyncHttpResponse *response)
{
	NotionAnswer answer = rmsync_notion_answer(nj, response);

	if (answer == NOTION_STOPPED && nj->state == NOTION_PART_CREATE)
	{
		nj->part_title = NULL;
		rmsync_notion_set_intent(nj, nj->notebook, NULL);
	}
	if (answer == NOTION_AGAIN || answer == NOTION_STOPPED)
		return;
	if (nj->state == NOTION_PART_CREATE)
		create_response(nj, answer);
	else
		tidy_response(nj, answer);
}
