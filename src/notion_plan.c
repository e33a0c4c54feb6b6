/*-------------------------------------------------------------------------
 *
 * notion_plan.c
 *	  What is to be done with the due pages of a notebook, and where.
 *
 * Called by target_notion.c and the states.  Needs no request: the ledger,
 * the siblings and the order of the toggles, which the notebook's ledger
 * entry records, say it all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "target_notion.h"

/* ---- reading the ledger ---- */

/*
 * Empties a ledger entry: there is no object (any more).  An entry that was
 * empty before is left alone.
 */
static void
reset_ledger(NotionJob *nj, RmsyncItem *item)
{
	RmsyncLedger *ledger = &item->ledger;

	if (ledger->exists && (ledger->external_id != NULL ||
						   ledger->intent != NULL || ledger->success))
		item->dirty = true;
	ledger->external_id = NULL;
	ledger->content_hash[0] = '\0';
	ledger->placement_hash[0] = '\0';
	ledger->config_epoch = nj->job->lane->config_epoch;
	ledger->success = false;
	ledger->metadata = NULL;
	ledger->intent = NULL;
}

static Jsonb *
parse_object(const char *text)
{
	return text ? rmsync_json_parse(text, strlen(text)) : NULL;
}

/*
 * The page was in another notebook when it was last written.  It may be gone
 * by now, with the notebook it moved to or alone: its toggle is still there.
 */
static bool
has_moved(NotionJob *nj, const RmsyncItem *item)
{
	const RmsyncLedger *ledger = &item->ledger;

	return ledger->external_id != NULL &&
		   ledger->config_epoch == nj->job->lane->config_epoch &&
		   ledger->notebook_uuid != NULL &&
		   strcmp(ledger->notebook_uuid, nj->notebook->id) != 0;
}

/*
 * What an earlier job left in a page's entry: toggles to be deleted, a toggle
 * that is not complete, an append whose outcome is not known.  Those of
 * another notebook's page are deleted as well as those of this one; an append
 * can be looked for only here.
 */
static void
load_leftovers(NotionJob *nj, NotionPage *page, Jsonb *metadata)
{
	RmsyncItem *item = page->item;
	Jsonb *stale = rmsync_json_get(metadata, "stale", NULL);
	Jsonb *intent = parse_object(item->ledger.intent);
	char *notebook;

	for (int i = 0; i < rmsync_json_array_length(stale); i++)
		rmsync_notion_delete_later(nj,
								   rmsync_json_as_string(
									   rmsync_json_element(stale, i)),
								   page);
	if (intent == NULL)
		return;
	notebook = rmsync_json_get_string(intent, "notebook", NULL);
	page->partial = rmsync_json_get_string(intent, "new", NULL);
	if (page->partial != NULL)
		rmsync_notion_delete_later(nj, page->partial, page);
	else if (notebook != NULL ? strcmp(notebook, nj->notebook->id) == 0
							  : !page->moved)
		page->unknown = true;
	else
		item->ledger.intent = NULL;
}

static void
load_page(NotionJob *nj, NotionPage *page, RmsyncItem *item)
{
	Jsonb *metadata;
	char *parent;

	page->item = item;
	page->slot = -1;
	page->cap = 100;
	item->plan = page;

	/*
	 * It stands in another notebook's page: written here, it is deleted there
	 * like any old toggle.
	 */
	metadata = parse_object(item->ledger.metadata);
	if (has_moved(nj, item))
	{
		item->ledger.content_hash[0] = '\0';
		page->moved = true;
		load_leftovers(nj, page, metadata);
		return;
	}

	parent = rmsync_json_get_string(metadata, "notion_page_id", NULL);

	/* of another database, or of a page that is gone */
	if (item->ledger.config_epoch != nj->job->lane->config_epoch ||
		nj->notebook->ledger.external_id == NULL ||
		(parent != NULL &&
		 !rmsync_notion_same_id(parent, nj->notebook->ledger.external_id)))
	{
		reset_ledger(nj, item);
		return;
	}
	load_leftovers(nj, page, metadata);
}

static void
load_notebook(NotionJob *nj)
{
	RmsyncItem *notebook = nj->notebook;
	Jsonb *metadata;
	Jsonb *order;
	int n;

	if (notebook->ledger.config_epoch != nj->job->lane->config_epoch)
		reset_ledger(nj, notebook);

	metadata = parse_object(notebook->ledger.metadata);
	rmsync_notion_load_orphans(nj, rmsync_json_get(metadata, "orphans", NULL));
	order = rmsync_json_get(metadata, "order", NULL);
	n = rmsync_json_array_length(order);
	nj->order_known = n >= 0;
	if (n > 0)
	{
		nj->order = palloc(sizeof(char *) * n);
		for (int i = 0; i < n; i++)
		{
			char *id = rmsync_json_as_string(rmsync_json_element(order, i));

			if (id != NULL)
				nj->order[nj->norder++] = id;
		}
	}
}

/* The page's toggle, if it has one in this notebook's page. */
static char *
toggle_of(const NotionPage *page)
{
	return page->moved ? NULL : page->item->ledger.external_id;
}

static int
compare_slots(const void *a, const void *b, void *arg)
{
	NotionSlot *slots = arg;

	return strcmp(slots[*(const int *) a].page_id,
				  slots[*(const int *) b].page_id);
}

/*
 * One slot for every live page, in display order.  Pages that are due and
 * live but missing in the engine's list stand at the end.
 */
static void
load_slots(NotionJob *nj)
{
	RmsyncJob *job = nj->job;
	int n = 0;

	nj->slots = palloc0(sizeof(NotionSlot) * (job->nsiblings + nj->npages + 1));
	nj->by_id = palloc(sizeof(int) * (job->nsiblings + nj->npages + 1));
	for (int i = 0; i < job->nsiblings; i++)
	{
		RmsyncSibling *sibling =
			&job->siblings[nj->config.newest_first ? job->nsiblings - 1 - i : i];
		NotionSlot *slot = &nj->slots[n];

		slot->page_id = sibling->id;
		slot->sibling = sibling;
		slot->block_id =
			sibling->external_id ? pstrdup(sibling->external_id) : NULL;
		if (sibling->item != NULL && sibling->item->plan != NULL)
		{
			slot->page = sibling->item->plan;
			slot->page->slot = n;
			slot->block_id = toggle_of(slot->page);
		}
		n++;
	}
	for (int i = 0; i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];

		if (page->slot >= 0 || !page->item->present)
			continue;
		page->slot = n;
		nj->slots[n].page_id = page->item->id;
		nj->slots[n].page = page;
		nj->slots[n].block_id = toggle_of(page);
		n++;
	}

	nj->nslots = n;
	for (int i = 0; i < n; i++)
		nj->by_id[i] = i;
	qsort_arg(nj->by_id, n, sizeof(int), compare_slots, nj->slots);
}

NotionSlot *
rmsync_notion_slot(NotionJob *nj, const char *page_id)
{
	int low = 0;
	int high = nj->nslots - 1;

	while (low <= high)
	{
		int middle = low + (high - low) / 2;
		NotionSlot *slot = &nj->slots[nj->by_id[middle]];
		int cmp = strcmp(page_id, slot->page_id);

		if (cmp == 0)
			return slot;
		if (cmp < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return NULL;
}

/*
 * Reads the job.  Runs in the job's context, once.
 */
void
rmsync_notion_load(NotionJob *nj)
{
	RmsyncJob *job = nj->job;

	for (int i = 0; i < job->nitems; i++)
	{
		if (job->items[i]->type == RMSYNC_NOTEBOOK)
			job->notebook = job->items[i];
	}
	nj->notebook = job->notebook;
	load_notebook(nj);

	nj->pages = palloc0(sizeof(NotionPage) * Max(job->nitems, 1));
	for (int i = 0; i < job->nitems; i++)
	{
		RmsyncItem *item = job->items[i];

		item->plan = NULL;
		if (item->type == RMSYNC_PAGE)
			load_page(nj, &nj->pages[nj->npages++], item);
		else if (item->type != RMSYNC_NOTEBOOK)
			rmsync_item_done(job, item, RMSYNC_OUT_ITEM_ERROR, "unsupported",
							 "Items of this type do not go to Notion notebooks.");
	}
	load_slots(nj);

	/* a toggle is an anchor only if we know that it stands in this page */
	if (nj->notebook->ledger.external_id == NULL)
	{
		for (int i = 0; i < nj->nslots; i++)
			nj->slots[i].block_id = NULL;
		nj->norder = 0;
		nj->order_known = true;
	}
	rmsync_notion_delete_orphans(nj);
}


/* ---- planning ---- */

static bool
same_content(const RmsyncItem *item)
{
	return item->ledger.external_id != NULL &&
		   strcmp(item->ledger.content_hash, item->content_hash) == 0;
}

static bool
same_placement(const RmsyncItem *item)
{
	return strcmp(item->ledger.placement_hash, item->placement_hash) == 0;
}

/*
 * What is to be done with one page, apart from its place.
 */
static NotionAction
plan_page(const NotionPage *page)
{
	const RmsyncItem *item = page->item;

	if (page->action == NOTION_PLAN_DECIDED || item->outcome != RMSYNC_OUT_NONE)
		return NOTION_PLAN_DECIDED;
	if (!item->present)
		return NOTION_PLAN_REMOVE;
	if (!item->ready)
		return NOTION_PLAN_WAIT;
	if (!same_content(item) || item->forced)
		return NOTION_PLAN_WRITE;
	if (!same_placement(item))
		return NOTION_PLAN_RETITLE;
	return NOTION_PLAN_NONE;
}

void
rmsync_notion_plan(NotionJob *nj)
{
	for (int i = 0; i < nj->npages; i++)
	{
		rmsync_notion_claim_orphans(nj, &nj->pages[i]);
		nj->pages[i].action = plan_page(&nj->pages[i]);
	}
	rmsync_notion_mark_kept(nj);
	for (int i = 0; i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];

		/* in the wrong place */
		if ((page->action == NOTION_PLAN_RETITLE ||
			 page->action == NOTION_PLAN_NONE) &&
			page->slot >= 0 && !nj->slots[page->slot].kept)
			page->action = NOTION_PLAN_WRITE;
		if (page->action == NOTION_PLAN_RETITLE)
			rmsync_notion_doubt(nj, page->item, false);
		if (page->action == NOTION_PLAN_REMOVE)
		{
			if (page->item->ledger.external_id != NULL)
			{
				rmsync_notion_doubt(nj, page->item, true);
				rmsync_notion_delete_later(nj, page->item->ledger.external_id,
										   page);
			}
			else if (page->deletes == 0)
			{
				rmsync_notion_mark_removed(nj, page->item);
				page->action = NOTION_PLAN_DECIDED;
			}
		}
	}
	nj->planned = true;
}

bool
rmsync_notion_has_writes(NotionJob *nj)
{
	for (int i = 0; i < nj->npages; i++)
	{
		if (nj->pages[i].unknown || plan_page(&nj->pages[i]) == NOTION_PLAN_WRITE)
			return true;
	}
	return false;
}

bool
rmsync_notion_idle(NotionJob *nj)
{
	if (nj->deletes != NIL || !nj->notebook->present)
		return false;
	for (int i = 0; i < nj->npages; i++)
	{
		NotionAction action = plan_page(&nj->pages[i]);

		if (nj->pages[i].unknown || action == NOTION_PLAN_WRITE ||
			action == NOTION_PLAN_RETITLE ||
			(action == NOTION_PLAN_REMOVE &&
			 nj->pages[i].item->ledger.external_id != NULL))
			return false;
	}
	return !rmsync_notion_notebook_differs(nj);
}

bool
rmsync_notion_must_list(NotionJob *nj)
{
	if (nj->adopted)
		return true;
	for (int i = 0; i < nj->npages; i++)
	{
		if (nj->pages[i].unknown)
			return true;
	}
	/* a page that somebody else recorded: what stands in it, and where? */
	return !nj->order_known;
}

void
rmsync_notion_forget_all(NotionJob *nj)
{
	reset_ledger(nj, nj->notebook);
	for (int i = 0; i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];

		if (page->item->outcome != RMSYNC_OUT_NONE)
			continue;
		page->unknown = page->synced = false;
		page->partial = NULL;
		if (page->moved)
			rmsync_notion_set_intent(nj, page->item, NULL);
		else
			reset_ledger(nj, page->item);
	}
	for (int i = 0; i < nj->nslots; i++)
	{
		NotionSlot *slot = &nj->slots[i];

		if (slot->sibling != NULL && slot->block_id != NULL &&
			(slot->page == NULL || slot->page->item->outcome != RMSYNC_OUT_NONE))
			slot->sibling->lost = true;
		slot->block_id = NULL;
	}

	/*
	 * What is to be deleted may stand in another notebook's page; if not, it
	 * is gone, which is as good.
	 */
	nj->orphans = NIL;
	nj->norder = 0;
	nj->order_known = true;
	nj->planned = false;
}
