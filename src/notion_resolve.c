/*-------------------------------------------------------------------------
 *
 * notion_resolve.c
 *	  Looks at what is at Notion before anything else is sent.
 *
 * LIST: which toggles stand in the notebook's page, and in which order?  It
 * is asked when an append has an unknown outcome, when the page was found
 * instead of created, when nobody has recorded the order, and when an append
 * failed because a toggle it should stand behind is gone.  An append that is
 * not there is looked for once more, after a while, before it is sent again.
 *
 * What is in the trash lists its blocks, too, as being in the trash.  Then the
 * page is asked for, as if there were no list (notion_lost.c).
 *
 * Called by target_notion.c.  Must never take half a list for a whole one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "target_notion_write.h"

/* Times an append must be absent before it is sent again. */
#define ABSENT_LOOKS 2

/* Appends of a page in a row that never arrived, before it is given up. */
#define MAX_RESENT 4

const char rmsync_notion_no_end[] =
	"Notion did not finish writing this, though it was sent several times.";

/* No page of ours has so many; a list that never ends must end. */
#define MAX_CHILDREN 200000


/* ---- LIST ---- */

void
rmsync_notion_list_start(NotionJob *nj)
{
	nj->nchildren = 0;
	nj->cursor = NULL;
	nj->listing = 0;
	nj->part_found = NULL;
	nj->state = NOTION_LIST;
}

static void
add_child(NotionJob *nj, Jsonb *block)
{
	NotionChild *child;
	char *id = rmsync_json_get_string(block, "id", NULL);

	if (id == NULL)
		return;
	if (nj->nchildren == nj->max_children)
	{
		int max = Max(128, nj->max_children * 2);

		if (nj->children == NULL)
			nj->children =
				MemoryContextAlloc(nj->job->cxt, sizeof(NotionChild) * max);
		else
			nj->children = repalloc(nj->children, sizeof(NotionChild) * max);
		nj->max_children = max;
	}
	child = &nj->children[nj->nchildren++];
	memset(child, 0, sizeof(*child));
	child->id = rmsync_notion_keep(nj, id);
	child->part = nj->listing;
	child->has_children = rmsync_json_get_bool(block, "has_children", false);
	child->creator =
		rmsync_notion_keep(nj, rmsync_json_get_string(block, "created_by", "id",
													  NULL));
	if (rmsync_notion_read_marker(block, nj->notebook->id, &child->key,
								  &child->rm))
		child->outdated =
			rmsync_notion_outdated_type(nj,
										rmsync_json_get_string(block, "type",
															   NULL),
										child->key);
	rmsync_notion_read_host_title(block, child);
	child->key = rmsync_notion_keep(nj, child->key);
	child->rm = rmsync_notion_keep(nj, child->rm);
}

/*
 * The slot whose toggle a child is or may be: by its marker, else (toggles
 * that were not made by us) by its id.
 */
static NotionSlot *
child_slot(NotionJob *nj, const NotionChild *child)
{
	if (child->key != NULL)
		return rmsync_notion_slot(nj, child->key);
	for (int i = 0; i < nj->nslots; i++)
	{
		if (rmsync_notion_same_id(nj->slots[i].block_id, child->id))
			return &nj->slots[i];
	}
	return NULL;
}

/* An append that was looked for is there. */
static void
append_found(NotionJob *nj, NotionPage *page, Jsonb *intent,
			 const NotionChild *child)
{
	char *hash = rmsync_json_get_string(intent, "hash", NULL);
	char *place = rmsync_json_get_string(intent, "place", NULL);

	page->unknown = false;
	if (rmsync_json_get_bool(intent, "whole", false) && page->item->present)
	{
		rmsync_notion_set_shape(nj, &page->sending,
								rmsync_json_get_string(intent, "prints", NULL),
								rmsync_json_get_string(intent, "title", NULL));
		page->sending.compact = rmsync_json_get_bool(intent, "compact", false);
		page->home = rmsync_notion_part_id(nj, child->part);
		rmsync_notion_written(nj, page, child->id, hash ? hash : "",
							  place ? place : "");
		return;
	}

	/* incomplete: away with it, the page is written anew */
	page->partial = child->id;
	rmsync_notion_delete_later(nj, child->id, page);
}

/* Appends a member as another object has it, if it has. */
static void
add_field(StringInfo buf, Jsonb *object, const char *key)
{
	char *value = rmsync_json_get_string(object, key, NULL);

	if (value != NULL)
		rmsync_json_field(buf, key, value);
}

/*
 * Is it time to give up an append that never arrives?  One that failed before
 * travels alone and has fewer tries, see rmsync_notion_cap.
 */
bool
rmsync_notion_hopeless(const NotionPage *page)
{
	return page->resent >= (page->item->attempt > 0 ? 2 : MAX_RESENT);
}

/*
 * One page that Notion never finishes must not hold those it travels with:
 * each time fewer go together, at last it goes alone.
 */
int
rmsync_notion_cap(const NotionPage *page)
{
	if (page->item->attempt > 0)
		return 1;
	return Max(NOTION_MAX_ARRAY >> (2 * page->resent), 1);
}

/*
 * An append that was looked for is not there.  Returns true if it must be
 * looked for again.
 */
static bool
append_absent(NotionJob *nj, NotionPage *page, Jsonb *intent)
{
	int absent = (int) rmsync_json_get_number(intent, "absent", 0) + 1;
	StringInfoData buf;

	if (absent >= ABSENT_LOOKS)
	{
		page->unknown = false;
		rmsync_notion_set_intent(nj, page->item, NULL);
		rmsync_notion_late_append(nj, page, intent, false);
		page->resent++;
		page->cap = rmsync_notion_cap(page);
		if (page->item->present && rmsync_notion_hopeless(page))
		{
			rmsync_notion_fail_item(nj, page->item, rmsync_notion_no_end);
			page->item->error_code = "unconfirmed";
			page->action = NOTION_PLAN_DECIDED;
		}
		return false;
	}

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "op", "append");
	rmsync_json_field(&buf, "notebook", nj->notebook->id);
	rmsync_json_field(&buf, "rm", rmsync_json_get_string(intent, "rm", NULL));
	rmsync_json_field(&buf, "prev", rmsync_json_get_string(intent, "prev", NULL));
	rmsync_json_field(&buf, "hash", rmsync_json_get_string(intent, "hash", NULL));
	rmsync_json_field(&buf, "place",
					  rmsync_json_get_string(intent, "place", NULL));
	rmsync_json_field_bool(&buf, "whole",
						   rmsync_json_get_bool(intent, "whole", false));
	add_field(&buf, intent, "page");
	add_field(&buf, intent, "prints");
	add_field(&buf, intent, "title");
	if (rmsync_json_get_bool(intent, "compact", false))
		rmsync_json_field_bool(&buf, "compact", true);
	rmsync_json_field_int(&buf, "resent", page->resent);
	rmsync_json_field_int(&buf, "absent", absent);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_set_intent(nj, page->item, buf.data);
	return true;
}

/*
 * Settles appends of unknown outcome.  Returns true if one of them must be
 * looked for again.
 */
static bool
settle_unknown(NotionJob *nj)
{
	bool again = false;

	for (int i = 0; i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];
		NotionChild *found = NULL;
		Jsonb *intent;
		char *rm;

		if (!page->unknown)
			continue;
		intent = rmsync_json_parse(page->item->ledger.intent,
								   strlen(page->item->ledger.intent));
		rm = rmsync_json_get_string(intent, "rm", NULL);
		for (int k = 0; k < nj->nchildren && rm != NULL; k++)
		{
			NotionChild *child = &nj->children[k];

			if (child->rm != NULL && strcmp(child->rm, rm) == 0 &&
				strcmp(child->key, page->key) == 0)
			{
				found = child;
				break;
			}
		}
		if (found != NULL)
			append_found(nj, page, intent, found);
		else if (append_absent(nj, page, intent))
			again = true;
	}
	return again;
}

/*
 * A toggle with our marker that is not the one in the ledger.
 */
static void
settle_child(NotionJob *nj, NotionSlot *slot, const NotionChild *child)
{
	NotionPage *page = slot->page;

	if (rmsync_notion_same_id(slot->block_id, child->id))
		return;
	if (page != NULL && page->unknown)
		return; /* not settled yet */
	if (child->outdated)
	{
		/* cannot become what it should be */
		if (page != NULL && page->item->outcome != RMSYNC_OUT_NONE)
			page = NULL;
		rmsync_notion_add_double(nj, child, page);
		return;
	}
	if (page == NULL)
	{
		/* when the page is due, this will be its old toggle */
		if (slot->block_id == NULL)
			rmsync_notion_add_orphan(nj, child->key, child->id);
		return;
	}
	if (page->item->ledger.external_id == NULL)
	{
		rmsync_notion_set_external(nj, page->item, child->id);
		page->home = rmsync_notion_part_id(nj, child->part);
		slot->block_id = page->item->ledger.external_id;
		return;
	}
	rmsync_notion_add_double(nj, child, page);
}

/*
 * Toggles in the ledger that are not there are gone.
 */
static void
settle_missing(NotionJob *nj)
{
	bool *seen = palloc0(sizeof(bool) * (nj->nslots + 1));
	char **order = palloc(sizeof(char *) * (nj->nchildren + 1));
	int *parts = palloc(sizeof(int) * (nj->nchildren + 1));
	int n = 0;

	for (int i = 0; i < nj->nchildren; i++)
	{
		NotionSlot *slot = child_slot(nj, &nj->children[i]);

		if (slot == NULL || seen[slot - nj->slots] ||
			!rmsync_notion_same_id(slot->block_id, nj->children[i].id))
			continue;
		seen[slot - nj->slots] = true;
		order[n] = unconstify(char *, slot->key);
		parts[n++] = nj->children[i].part;
	}
	for (int i = 0; i < nj->nslots; i++)
	{
		NotionSlot *slot = &nj->slots[i];

		if (seen[i] || slot->block_id == NULL)
			continue;
		slot->block_id = NULL;
		if (slot->page != NULL && slot->page->item->outcome == RMSYNC_OUT_NONE)
			rmsync_notion_set_external(nj, slot->page->item, NULL);
		else if (slot->sibling != NULL)
			slot->sibling->lost = true;
	}
	rmsync_notion_set_order(nj, order, parts, n);
}

/*
 * The whole list is here, of all parts.
 */
static void
listed(NotionJob *nj)
{
	bool again = rmsync_notion_settle_parts(nj);

	rmsync_notion_disown_copies(nj);
	again = settle_unknown(nj) || again;

	if (nj->adopting || nj->adopted)
	{
		rmsync_notion_adopt_children(nj);
		settle_missing(nj);
	}
	if (nj->adopting || nj->head != NULL)
		rmsync_notion_find_head(nj);
	for (int i = 0; i < nj->nchildren; i++)
	{
		NotionChild *child = &nj->children[i];
		NotionSlot *slot = child_slot(nj, child);

		if (child->key == NULL)
			continue;
		if (slot != NULL)
			settle_child(nj, slot, child);
		else if (nj->adopted)
			rmsync_notion_add_orphan(nj, child->key, child->id);
	}
	rmsync_notion_delete_orphans(nj);
	settle_missing(nj);
	if (nj->adopting)
		rmsync_notion_adopt_done(nj);
	rmsync_notion_notebook_meta(nj);

	nj->adopted = false;
	nj->planned = false;
	nj->state = rmsync_notion_inspect(nj, NOTION_WORK);
	if (again)
		rmsync_notion_stop_unknown(nj, nj->config.append_delay);
}

/*
 * Only live blocks are listed.  Where all are in the trash, they are so with
 * the page around them, and come back with it: they are not missing.
 */
static bool
all_in_trash(Jsonb *results)
{
	int n = rmsync_json_array_length(results);

	for (int i = 0; i < n; i++)
	{
		if (!rmsync_json_get_bool(rmsync_json_element(results, i), "in_trash",
								  false))
			return false;
	}
	return n > 0;
}

/* What is to be listed is not there, or nobody knows. */
static void
list_failed(NotionJob *nj, bool gone)
{
	if (!gone || nj->listing == 0 || !nj->parts[nj->listing].candidate)
	{
		/* a part may be in the trash with the notebook's page, and come back */
		nj->suspect = nj->listing;
		nj->state = NOTION_CHECK;
	}
	else if (!rmsync_notion_next_listing(nj)) /* it was none of ours */
		listed(nj);
}

static void
list_response(NotionJob *nj, NotionAnswer answer)
{
	Jsonb *results = NULL;
	char *cursor;

	if (answer != NOTION_DONE)
	{
		list_failed(nj, answer == NOTION_GONE);
		return;
	}
	results = rmsync_notion_reply_list(nj, "results");
	if (results == NULL)
		return;
	if (all_in_trash(results))
	{
		list_failed(nj, true);
		return;
	}
	for (int i = 0; i < rmsync_json_array_length(results); i++)
	{
		add_child(nj, rmsync_json_element(results, i));
		if (nj->listing == 0)
			rmsync_notion_see_block(nj, rmsync_json_element(results, i));
	}

	cursor = rmsync_json_get_string(nj->reply, "next_cursor", NULL);
	if (!rmsync_json_get_bool(nj->reply, "has_more", false))
	{
		nj->cursor = NULL;
		if (!rmsync_notion_next_listing(nj))
			listed(nj);
	}
	else if (cursor == NULL || nj->nchildren > MAX_CHILDREN ||
			 rmsync_json_array_length(results) == 0)
		rmsync_notion_stop_invalid(nj); /* half a list must not count */
	else
		nj->cursor = rmsync_notion_keep(nj, cursor);
}


bool
rmsync_notion_list_next(NotionJob *nj, RmsyncHttpRequest *request,
						RmsyncStep *step)
{
	const char *page = rmsync_notion_part_id(nj, nj->listing);
	StringInfoData path;

	*step = RMSYNC_STEP_REQUEST;
	initStringInfo(&path);
	appendStringInfo(&path, "/blocks/%s/children?page_size=100", page);
	if (nj->cursor != NULL)
	{
		appendStringInfoString(&path, "&start_cursor=");
		rmsync_notion_encode(&path, nj->cursor);
	}
	rmsync_notion_call(nj, request, NOTION_READ, "GET", path.data, NULL, 0);
	return true;
}

void
rmsync_notion_list_response(NotionJob *nj, const RmsyncHttpResponse *response)
{
	NotionAnswer answer = rmsync_notion_answer(nj, response);

	if (answer != NOTION_AGAIN && answer != NOTION_STOPPED)
		list_response(nj, answer);
}
