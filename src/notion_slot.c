/*-------------------------------------------------------------------------
 *
 * notion_slot.c
 *	  The slots of a notebook: its live pages and notes as a reader shall see
 *	  them.
 *
 * Called by notion_plan.c when a job begins, and by notion_adopt.c when the
 * direction turns out to be another one.  Must never leave out an item that is
 * due: it would not be written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "target_notion.h"

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

	return strcmp(slots[*(const int *) a].key, slots[*(const int *) b].key);
}

/* A live page or note that the engine lists. */
static void
add_sibling(NotionJob *nj, RmsyncSibling *sibling)
{
	NotionSlot *slot = &nj->slots[nj->nslots];

	slot->key = rmsync_notion_key(sibling->type, sibling->id);
	slot->sibling = sibling;
	slot->block_id = sibling->external_id ? pstrdup(sibling->external_id) : NULL;
	if (sibling->item != NULL && sibling->item->plan != NULL)
	{
		slot->page = sibling->item->plan;
		slot->page->slot = nj->nslots;
		slot->block_id = toggle_of(slot->page);
	}
	nj->nslots++;
}

/* Those that are due and live but missing in the engine's list. */
static void
add_unlisted(NotionJob *nj, RmsyncItemType type)
{
	for (int i = 0; i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];

		if (page->slot >= 0 || !page->item->present || page->item->type != type)
			continue;
		page->slot = nj->nslots++;
		nj->slots[page->slot].key = page->key;
		nj->slots[page->slot].page = page;
		nj->slots[page->slot].block_id = toggle_of(page);
	}
}

/* Siblings of a type are together; *n is how many. */
static RmsyncSibling *
siblings_of(NotionJob *nj, RmsyncItemType type, int *n)
{
	RmsyncJob *job = nj->job;
	int first = 0;

	while (first < job->nsiblings && job->siblings[first].type != type)
		first++;
	*n = 0;
	while (first + *n < job->nsiblings && job->siblings[first + *n].type == type)
		(*n)++;
	return job->siblings + first;
}

/*
 * The pages in display order, each with its highlights behind it.
 */
static void
load_page_slots(NotionJob *nj)
{
	int npages;
	int nhighlights;
	RmsyncSibling *pages = siblings_of(nj, RMSYNC_PAGE, &npages);
	RmsyncSibling *highlights = siblings_of(nj, RMSYNC_HIGHLIGHT, &nhighlights);
	bool *placed = palloc0(sizeof(bool) * (nhighlights + 1));

	for (int i = 0; i < npages; i++)
	{
		RmsyncSibling *page = &pages[nj->newest_first ? npages - 1 - i : i];

		add_sibling(nj, page);
		for (int k = 0; k < nhighlights; k++)
		{
			if (placed[k] || highlights[k].page_id == NULL ||
				strcmp(highlights[k].page_id, page->id) != 0)
				continue;
			add_sibling(nj, &highlights[k]);
			placed[k] = true;
		}
	}
	add_unlisted(nj, RMSYNC_PAGE);
	nj->tail = nj->nslots;
	for (int k = 0; k < nhighlights; k++)
	{
		if (!placed[k])
			add_sibling(nj, &highlights[k]);
	}
	add_unlisted(nj, RMSYNC_HIGHLIGHT);
}

/*
 * One slot for every live page and note, in display order.
 */
void
rmsync_notion_load_slots(NotionJob *nj)
{
	MemoryContext old = MemoryContextSwitchTo(nj->job->cxt);
	int max = nj->job->nsiblings + nj->npages + 1;
	int ntodos;
	RmsyncSibling *todos = siblings_of(nj, RMSYNC_TODO, &ntodos);

	for (int i = 0; i < nj->npages; i++)
		nj->pages[i].slot = -1;
	nj->nslots = 0;
	nj->slots = palloc0(sizeof(NotionSlot) * max);
	nj->by_id = palloc(sizeof(int) * max);
	load_page_slots(nj);
	if (nj->heading != NULL && nj->heading->present)
	{
		NotionPage *page = nj->heading->plan;

		page->slot = nj->nslots++;
		nj->slots[page->slot].key = page->key;
		nj->slots[page->slot].page = page;
		nj->slots[page->slot].block_id = toggle_of(page);
	}
	for (int i = 0; i < ntodos; i++)
		add_sibling(nj, &todos[i]);
	add_unlisted(nj, RMSYNC_TODO);

	for (int i = 0; i < nj->nslots; i++)
	{
		nj->by_id[i] = i;
		nj->slots[i].stray = rmsync_notion_is_stray(nj, nj->slots[i].key);
	}
	qsort_arg(nj->by_id, nj->nslots, sizeof(int), compare_slots, nj->slots);
	rmsync_notion_mark_parts(nj);
	MemoryContextSwitchTo(old);
}

NotionSlot *
rmsync_notion_slot(NotionJob *nj, const char *key)
{
	int low = 0;
	int high = nj->nslots - 1;

	while (low <= high)
	{
		int middle = low + (high - low) / 2;
		NotionSlot *slot = &nj->slots[nj->by_id[middle]];
		int cmp = strcmp(key, slot->key);

		if (cmp == 0)
			return slot;
		if (cmp < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return NULL;
}
