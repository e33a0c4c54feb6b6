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

/* The same, but what may come late is not forgotten. */
static void
forget_object(NotionJob *nj, RmsyncItem *item)
{
	reset_ledger(nj, item);
	if (rmsync_notion_has_late(nj, item))
		rmsync_notion_write_late(nj, item);
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
 * An append whose outcome is not known.  In another notebook's page it is looked
 * for later: what it wrote must go.  So must a toggle that is not complete.
 */
static void
load_intent(NotionJob *nj, NotionPage *page, Jsonb *intent)
{
	char *notebook = rmsync_json_get_string(intent, "notebook", NULL);

	page->partial = rmsync_json_get_string(intent, "new", NULL);
	page->resent = (int) rmsync_json_get_number(intent, "resent", 0);
	page->cap = rmsync_notion_cap(page);
	if (page->partial != NULL)
	{
		if (rmsync_notion_hopeless(page))
			page->failure = rmsync_notion_keep(nj, rmsync_notion_no_end);
		rmsync_notion_delete_later(nj, page->partial, page);
	}
	else if (notebook != NULL ? strcmp(notebook, nj->notebook->id) == 0
							  : !page->moved)
		page->unknown = true;
	else
	{
		page->item->ledger.intent = NULL;
		rmsync_notion_late_append(nj, page, intent, true);
	}
}

/*
 * What an earlier job left in a page's entry: toggles to be deleted, and an
 * append.  Those of another notebook's page are deleted as well as those of
 * this one.
 */
static void
load_leftovers(NotionJob *nj, NotionPage *page, Jsonb *metadata)
{
	RmsyncItem *item = page->item;
	Jsonb *stale = rmsync_json_get(metadata, "stale", NULL);
	Jsonb *intent = parse_object(item->ledger.intent);

	for (int i = 0; i < rmsync_json_array_length(stale); i++)
		rmsync_notion_delete_later(nj,
								   rmsync_json_as_string(
									   rmsync_json_element(stale, i)),
								   page);
	if (intent != NULL)
		load_intent(nj, page, intent);
}

/*
 * There is no toggle of the page any more.  An append that went to another
 * notebook's page says nothing about that.
 */
static void
load_gone(NotionJob *nj, NotionPage *page)
{
	RmsyncItem *item = page->item;
	Jsonb *intent = parse_object(item->ledger.intent);
	char *notebook = rmsync_json_get_string(intent, "notebook", NULL);
	bool same = item->ledger.config_epoch == nj->job->lane->config_epoch;

	page->former = item->ledger.external_id;
	if (!same)
		item->ledger.look_at = 0;
	forget_object(nj, item);
	if (!same || notebook == NULL || strcmp(notebook, nj->notebook->id) == 0)
		return;
	load_intent(nj, page, intent);
	if (page->partial != NULL) /* until that toggle is deleted */
		rmsync_notion_set_intent(nj, item, rmsync_json_text(intent));
}

static void
load_page(NotionJob *nj, NotionPage *page, RmsyncItem *item)
{
	Jsonb *metadata;
	char *parent;

	page->item = item;
	page->key = rmsync_notion_key(item->type, item->id);
	page->slot = -1;
	page->cap = rmsync_notion_cap(page);
	item->plan = page;

	/*
	 * It stands in another notebook's page: written here, it is deleted there
	 * like any old toggle.
	 */
	metadata = parse_object(item->ledger.metadata);
	parent = rmsync_json_get_string(metadata, "notion_page_id", NULL);
	if (item->ledger.config_epoch == nj->job->lane->config_epoch)
		rmsync_notion_load_late(nj, page, metadata);
	if (has_moved(nj, item))
	{
		item->ledger.content_hash[0] = '\0';
		page->moved = true;
		page->home = parent;
		load_leftovers(nj, page, metadata);
		return;
	}

	/* of another database, or of a page that is gone */
	if (item->ledger.config_epoch != nj->job->lane->config_epoch ||
		(nj->notebook->ledger.external_id == NULL && !nj->adopting) ||
		(parent != NULL && nj->notebook->ledger.external_id != NULL &&
		 !rmsync_notion_is_part(nj, parent)))
	{
		load_gone(nj, page);
		return;
	}
	page->home = parent;
	rmsync_notion_load_shape(page, metadata);
	load_leftovers(nj, page, metadata);
}

static void
load_notebook(NotionJob *nj)
{
	RmsyncItem *notebook = nj->notebook;
	Jsonb *metadata;
	Jsonb *order;
	Jsonb *strays;
	char *direction;
	int n;

	if (notebook->ledger.config_epoch != nj->job->lane->config_epoch)
	{
		reset_ledger(nj, notebook);
		notebook->ledger.look_at = 0;
	}

	metadata = parse_object(notebook->ledger.metadata);
	rmsync_notion_load_late_rows(nj, metadata);
	rmsync_notion_load_orphans(nj, rmsync_json_get(metadata, "orphans", NULL));
	rmsync_notion_load_lost(nj, rmsync_json_get(metadata, "lost", NULL));
	nj->adopting = rmsync_notion_is_adoption(notebook->ledger.intent);
	direction = rmsync_json_get_string(metadata, "page_order", NULL);
	nj->own_order = direction != NULL;
	nj->newest_first = direction ? strcmp(direction, "newest_first") == 0
								 : nj->config.newest_first;
	nj->head = rmsync_json_get_string(metadata, "head", NULL);
	strays = rmsync_json_get(metadata, "strays", NULL);
	for (int i = 0; i < rmsync_json_array_length(strays); i++)
	{
		char *id = rmsync_json_as_string(rmsync_json_element(strays, i));

		if (id != NULL)
			rmsync_notion_add_stray(nj, id);
	}
	(void) rmsync_notion_load_heading(nj, rmsync_json_get(metadata, "heading",
														  NULL));
	order = rmsync_json_get(metadata, "order", NULL);
	n = rmsync_json_array_length(order);
	nj->order_known = n >= 0 || nj->kind->type != RMSYNC_NOTEBOOK;
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
	rmsync_notion_load_parts(nj, metadata);
}

/* Does the configuration ask for items of this type? */
static bool
goes_here(NotionJob *nj, const RmsyncItem *item)
{
	if (item == nj->notebook)
		return false;
	switch (item->type)
	{
		case RMSYNC_PAGE:
			return true;
		case RMSYNC_HIGHLIGHT:
			return nj->config.highlights != NULL;
		case RMSYNC_TODO:
			return nj->config.todos;
		default:
			return false;
	}
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
		if (job->items[i]->type == nj->kind->type)
			job->notebook = job->items[i];
	}
	nj->notebook = job->notebook;
	load_notebook(nj);

	nj->pages = palloc0(sizeof(NotionPage) * (job->nitems + 1));
	for (int i = 0; i < job->nitems; i++)
	{
		RmsyncItem *item = job->items[i];

		item->plan = NULL;
		if (goes_here(nj, item))
			load_page(nj, &nj->pages[nj->npages++], item);
		else if (item != nj->notebook)
			rmsync_item_done(job, item, RMSYNC_OUT_SKIPPED, NULL, NULL);
	}
	if (nj->heading != NULL)
		load_page(nj, &nj->pages[nj->npages++], nj->heading);
	rmsync_notion_load_slots(nj);

	/* a toggle is an anchor only if we know that it stands in this page */
	if (nj->notebook->ledger.external_id == NULL && !nj->adopting)
	{
		rmsync_notion_reset_parts(nj);
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

/* What is to be done with a note: to-dos do not say on which page they were. */
static NotionAction
plan_note(const NotionPage *page)
{
	const RmsyncItem *item = page->item;

	if (item->ledger.external_id == NULL || page->moved)
		return NOTION_PLAN_WRITE;
	if (!same_content(item) || item->forced ||
		(item->type == RMSYNC_HIGHLIGHT && !same_placement(item)))
		return NOTION_PLAN_RETITLE;
	return NOTION_PLAN_NONE;
}

/*
 * What is to be done with one page or note, apart from its place.
 */
static NotionAction
plan_page(NotionJob *nj, const NotionPage *page)
{
	const RmsyncItem *item = page->item;

	if (page->action == NOTION_PLAN_DECIDED || item->outcome != RMSYNC_OUT_NONE)
		return NOTION_PLAN_DECIDED;
	if (!item->present)
		return NOTION_PLAN_REMOVE;
	if (!item->ready)
		return NOTION_PLAN_WAIT;
	if (item->type != RMSYNC_PAGE)
		return plan_note(page);
	if (same_content(item) && !item->forced &&
		(same_placement(item) || rmsync_notion_title_stays(nj, page)))
		return NOTION_PLAN_NONE;
	if (page->shape.compact && !page->moved ? rmsync_notion_is_compact(nj, item)
											: same_content(item) && !item->forced)
		return NOTION_PLAN_RETITLE;
	return NOTION_PLAN_WRITE;
}

/* The same, with changes in place told apart. */
static NotionAction
plan_alone(NotionJob *nj, NotionPage *page)
{
	NotionAction action = plan_page(nj, page);

	if (action == NOTION_PLAN_WRITE && page->item->type == RMSYNC_PAGE &&
		rmsync_notion_edit_worth(nj, page))
		action = NOTION_PLAN_EDIT;
	return action;
}

void
rmsync_notion_plan(NotionJob *nj)
{
	for (int i = 0; i < nj->npages; i++)
	{
		rmsync_notion_claim_orphans(nj, &nj->pages[i]);
		nj->pages[i].action = plan_alone(nj, &nj->pages[i]);
	}
	rmsync_notion_edit_choose(nj);
	rmsync_notion_mark_kept(nj);
	rmsync_notion_mark_strays(nj);
	for (int i = 0; i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];

		/* in the wrong place */
		if ((page->action == NOTION_PLAN_RETITLE ||
			 page->action == NOTION_PLAN_EDIT ||
			 page->action == NOTION_PLAN_NONE) &&
			page->slot >= 0 && !nj->slots[page->slot].kept &&
			!nj->slots[page->slot].stray)
			page->action = NOTION_PLAN_WRITE;
		if (page->action == NOTION_PLAN_RETITLE)
			rmsync_notion_doubt(nj, page->item,
								page->item->type != RMSYNC_PAGE ||
									page->shape.compact);
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
		if (nj->pages[i].unknown ||
			plan_page(nj, &nj->pages[i]) == NOTION_PLAN_WRITE)
			return true;
	}
	return false;
}

bool
rmsync_notion_idle(NotionJob *nj)
{
	if (nj->deletes != NIL || !nj->notebook->present || nj->adopting ||
		nj->part_title != NULL)
		return false;
	for (int i = 0; i < nj->npages; i++)
	{
		NotionAction action = plan_page(nj, &nj->pages[i]);

		/* with the same title, it may have to change places all the same */
		if (nj->pages[i].unknown || action == NOTION_PLAN_WRITE ||
			action == NOTION_PLAN_RETITLE ||
			(action == NOTION_PLAN_NONE && !same_placement(nj->pages[i].item)) ||
			(action == NOTION_PLAN_REMOVE &&
			 nj->pages[i].item->ledger.external_id != NULL))
			return false;
	}
	return !rmsync_notion_notebook_differs(nj);
}

bool
rmsync_notion_must_list(NotionJob *nj)
{
	if (nj->kind->type != RMSYNC_NOTEBOOK)
		return false; /* nothing stands in it */
	if (nj->adopted || nj->adopting || nj->part_title != NULL)
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
	rmsync_notion_drop_late_parts(nj);
	forget_object(nj, nj->notebook);
	rmsync_notion_reset_parts(nj);
	for (int i = 0; i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];

		if (page->item->outcome != RMSYNC_OUT_NONE)
			continue;
		page->unknown = page->synced = false;
		page->partial = NULL;
		memset(&page->shape, 0, sizeof(page->shape));
		page->next = NULL;
		page->home = NULL;
		if (page->moved)
			rmsync_notion_set_intent(nj, page->item, NULL);
		else
			forget_object(nj, page->item);
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
	nj->strays = NIL;
	nj->head = NULL;
	nj->adopting = nj->own_order = nj->row_read = false;
	nj->maker = NULL;
	nj->norder = 0;
	nj->order_known = true;
	nj->planned = false;
}
