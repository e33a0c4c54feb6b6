/*-------------------------------------------------------------------------
 *
 * notion_order.c
 *	  The order of the toggles in a notebook's page.
 *
 * Called by notion_plan.c and the states.  The order is kept in the
 * notebook's ledger entry, as page ids, and follows every append.
 *
 * Notion cannot move a block.  A page that stands in the wrong place is
 * written anew at the right one; which pages those are is decided by a
 * heaviest increasing subsequence: the toggles that stay are the largest set
 * that is in order already, where a toggle that has to be rewritten anyway
 * counts little and one that is not due counts much.
 *
 * A page that is not due cannot be written in this job.  If it stands in the
 * wrong place, the engine is asked to queue it, and its toggle becomes an
 * orphan: one that no ledger entry knows and that the page, when it is due,
 * treats as its old toggle.  Toggles found in a page that was not created by
 * this database are orphans, too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "target_notion.h"

/*
 * Weights of toggles that stay, see above.  All notes of a notebook together
 * count less than one page: moving a note costs little, while a page takes its
 * text, and what users wrote about it, along.
 */
#define WEIGHT_REWRITTEN 1
#define WEIGHT_NOTE_DUE 10
#define WEIGHT_NOTE 1000
#define WEIGHT_DUE INT64CONST(100000000)
#define WEIGHT_OTHER INT64CONST(100000000000000)


/* ---- toggles that stay ---- */

static bool
is_page(const NotionSlot *slot)
{
	return slot->page != NULL ? slot->page->item->type == RMSYNC_PAGE
							  : slot->sibling->type == RMSYNC_PAGE;
}

static int64
slot_weight(const NotionSlot *slot)
{
	if (slot->page != NULL && slot->page->action == NOTION_PLAN_WRITE)
		return WEIGHT_REWRITTEN;
	if (slot->page != NULL && (slot->page->action == NOTION_PLAN_NONE ||
							   slot->page->action == NOTION_PLAN_EDIT ||
							   slot->page->action == NOTION_PLAN_RETITLE))
		return is_page(slot) ? WEIGHT_DUE : WEIGHT_NOTE_DUE;
	return is_page(slot) ? WEIGHT_OTHER : WEIGHT_NOTE;
}

/* Index of the toggle with the heaviest subsequence in slots 0 .. slot. */
static int
tree_best(const int *tree, const int64 *sum, int slot)
{
	int best = -1;

	for (int i = slot + 1; i > 0; i -= i & -i)
	{
		if (tree[i] >= 0 && (best < 0 || sum[tree[i]] > sum[best]))
			best = tree[i];
	}
	return best;
}

static void
tree_add(int *tree, int size, const int64 *sum, int slot, int index)
{
	for (int i = slot + 1; i <= size; i += i & -i)
	{
		if (tree[i] < 0 || sum[index] > sum[tree[i]])
			tree[i] = index;
	}
}

/*
 * Marks the toggles that stay: a heaviest subsequence of the order at Notion
 * that increases in display order.  A Fenwick tree over the slots holds the
 * best end of a subsequence so far, O(n log n).
 */
void
rmsync_notion_mark_kept(NotionJob *nj)
{
	int *at = palloc(sizeof(int) * (nj->norder + 1));
	int *previous = palloc(sizeof(int) * (nj->norder + 1));
	int64 *sum = palloc(sizeof(int64) * (nj->norder + 1));
	int *tree = palloc(sizeof(int) * (nj->nslots + 1));
	int last = rmsync_notion_last_part(nj);
	int n = 0;
	int best = -1;

	rmsync_notion_mark_parts(nj);
	for (int i = 0; i < nj->nslots; i++)
		nj->slots[i].kept = false;
	for (int i = 0; i <= nj->nslots; i++)
		tree[i] = -1;

	for (int i = 0; i < nj->norder; i++)
	{
		NotionSlot *slot = rmsync_notion_slot(nj, nj->order[i]);
		int number;

		if (slot == NULL || slot->block_id == NULL || slot->stray ||
			(rmsync_notion_is_tail(nj, slot) && nj->order_part[i] != last))
			continue;
		number = (int) (slot - nj->slots);
		at[n] = number;
		previous[n] = number > 0 ? tree_best(tree, sum, number - 1) : -1;
		sum[n] = slot_weight(slot) + (previous[n] >= 0 ? sum[previous[n]] : 0);
		tree_add(tree, nj->nslots, sum, number, n);
		if (best < 0 || sum[n] > sum[best])
			best = n;
		n++;
	}
	for (; best >= 0; best = previous[best])
		nj->slots[at[best]].kept = true;
}

/*
 * Asks for the pages that stand in the wrong place and were not due.
 */
void
rmsync_notion_flag_misplaced(NotionJob *nj)
{
	bool flagged = false;

	if (!nj->planned || !nj->notebook->present ||
		nj->notebook->ledger.external_id == NULL)
		return;
	for (int i = 0; i < nj->nslots; i++)
	{
		NotionSlot *slot = &nj->slots[i];

		if (slot->sibling == NULL || slot->sibling->lost || slot->kept ||
			slot->stray || slot->block_id == NULL ||
			(slot->page != NULL &&
			 slot->page->item->outcome != RMSYNC_OUT_SUCCESS &&
			 slot->page->item->outcome != RMSYNC_OUT_SKIPPED))
			continue;
		slot->sibling->lost = true;
		rmsync_notion_add_orphan(nj, slot->key, slot->block_id);
		flagged = true;
	}
	if (flagged)
		rmsync_notion_notebook_meta(nj);
}


/* ---- orphans ---- */

void
rmsync_notion_add_orphan(NotionJob *nj, const char *key, const char *block_id)
{
	MemoryContext old;
	NotionOrphan *orphan;
	ListCell *cell;

	foreach (cell, nj->orphans)
	{
		orphan = lfirst(cell);
		if (strcmp(orphan->key, key) == 0 &&
			rmsync_notion_same_id(orphan->block_id, block_id))
			return;
	}
	old = MemoryContextSwitchTo(nj->job->cxt);
	orphan = palloc(sizeof(NotionOrphan));
	orphan->key = pstrdup(key);
	orphan->block_id = pstrdup(block_id);
	nj->orphans = lappend(nj->orphans, orphan);
	MemoryContextSwitchTo(old);
}

void
rmsync_notion_load_orphans(NotionJob *nj, Jsonb *array)
{
	for (int i = 0; i < rmsync_json_array_length(array); i++)
	{
		Jsonb *pair = rmsync_json_element(array, i);
		char *key = rmsync_json_as_string(rmsync_json_element(pair, 0));
		char *block_id = rmsync_json_as_string(rmsync_json_element(pair, 1));

		if (key != NULL && block_id != NULL)
			rmsync_notion_add_orphan(nj, key, block_id);
	}
}

void
rmsync_notion_drop_orphan(NotionJob *nj, const char *block_id)
{
	ListCell *cell;

	foreach (cell, nj->orphans)
	{
		NotionOrphan *orphan = lfirst(cell);

		if (rmsync_notion_same_id(orphan->block_id, block_id))
		{
			nj->orphans = foreach_delete_current(nj->orphans, cell);
			rmsync_notion_notebook_meta(nj);
		}
	}
}

static bool
is_due(NotionJob *nj, const char *key)
{
	for (int i = 0; i < nj->npages; i++)
	{
		if (strcmp(nj->pages[i].key, key) == 0)
			return true;
	}
	return false;
}

/*
 * Orphans of pages that are neither live nor due: nobody else will delete
 * them.
 */
void
rmsync_notion_delete_orphans(NotionJob *nj)
{
	ListCell *cell;

	foreach (cell, nj->orphans)
	{
		NotionOrphan *orphan = lfirst(cell);

		if (rmsync_notion_slot(nj, orphan->key) == NULL &&
			!is_due(nj, orphan->key))
			rmsync_notion_delete_later(nj, orphan->block_id, NULL);
	}
}

/*
 * A page that is due takes its orphans over: as its old toggle, or to be
 * deleted.
 */
void
rmsync_notion_claim_orphans(NotionJob *nj, NotionPage *page)
{
	RmsyncItem *item = page->item;
	ListCell *cell;
	bool claimed = false;

	if (item->outcome != RMSYNC_OUT_NONE)
		return;
	foreach (cell, nj->orphans)
	{
		NotionOrphan *orphan = lfirst(cell);

		if (strcmp(orphan->key, page->key) != 0)
			continue;
		nj->orphans = foreach_delete_current(nj->orphans, cell);
		claimed = true;
		if (item->ledger.external_id == NULL)
		{
			rmsync_notion_set_external(nj, item, orphan->block_id);
			if (page->slot >= 0)
				nj->slots[page->slot].block_id = item->ledger.external_id;
		}
		else if (!rmsync_notion_same_id(item->ledger.external_id,
										orphan->block_id))
		{
			rmsync_notion_delete_later(nj, orphan->block_id, page);
			rmsync_notion_page_meta(nj, item);
		}
	}
	if (claimed)
		rmsync_notion_notebook_meta(nj);
}


/* ---- the order itself ---- */

void
rmsync_notion_set_order(NotionJob *nj, char **keys, const int *parts, int n)
{
	bool same = nj->order_known && n == nj->norder;
	char **copy;
	int *part;

	for (int i = 0; same && i < n; i++)
		same =
			strcmp(keys[i], nj->order[i]) == 0 && parts[i] == nj->order_part[i];
	if (same)
		return;

	copy = MemoryContextAlloc(nj->job->cxt, sizeof(char *) * (n + 1));
	part = MemoryContextAlloc(nj->job->cxt, sizeof(int) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		copy[i] = rmsync_notion_keep(nj, keys[i]);
		part[i] = parts[i];
	}
	nj->order = copy;
	nj->order_part = part;
	nj->norder = n;
	nj->order_known = true;
	rmsync_notion_notebook_meta(nj);
}

static int
add_batch(NotionJob *nj, char **order, int *parts, int n)
{
	for (int i = 0; i < nj->nbatch; i++)
	{
		order[n] = unconstify(char *, nj->batch[i]->key);
		parts[n++] = nj->part;
	}
	return n;
}

/*
 * Does the batch stand before this element of the order, the first such one?
 */
static bool
stands_before(NotionJob *nj, int i)
{
	if (nj->at_start)
		return nj->order_part[i] >= nj->part;
	return nj->anchor == NULL && nj->order_part[i] > nj->part;
}

void
rmsync_notion_order_batch(NotionJob *nj)
{
	char **order = palloc(sizeof(char *) * (nj->norder + nj->nbatch + 1));
	int *parts = palloc(sizeof(int) * (nj->norder + nj->nbatch + 1));
	bool added = false;
	int n = 0;

	for (int i = 0; i < nj->norder; i++)
	{
		bool mine = false;

		if (!added && stands_before(nj, i))
		{
			n = add_batch(nj, order, parts, n);
			added = true;
		}
		for (int k = 0; k < nj->nbatch && !mine; k++)
			mine = strcmp(nj->order[i], nj->batch[k]->key) == 0;
		if (!mine)
		{
			order[n] = nj->order[i];
			parts[n++] = nj->order_part[i];
		}
		if (!added && nj->anchor != NULL && strcmp(nj->order[i], nj->anchor) == 0)
		{
			n = add_batch(nj, order, parts, n);
			added = true;
		}
	}
	if (!added)
		n = add_batch(nj, order, parts, n);
	rmsync_notion_set_order(nj, order, parts, n);
}
