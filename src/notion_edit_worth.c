/*-------------------------------------------------------------------------
 *
 * notion_edit_worth.c
 *	  Is a change of a page made in place, or with a new toggle?
 *
 * Called by notion_plan.c.  It is told by what we wrote and what is wanted,
 * without a request:
 *
 * - In place if it is a small change (rmsync_notion_is_small): comments of
 *	 readers, and links to lines, are worth some requests.
 * - A page of a notebook of which many change at once, as when all of it is
 *	 recognized anew, only if it takes few requests: others wait, and new toggles
 *	 of a hundred pages take one request together, and one for each that goes.
 * - With "edits": "fewest_requests", only if it is not dearer than a new toggle.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "markdown.h"
#include "notion_edit.h"

/* Pages of a notebook that change at once, and are no longer a few. */
#define MANY_PAGES 10

/* Requests that each of them may take after its toggle was listed. */
#define FEW_REQUESTS 2

/* Prints of versions in doubt that are carried along, in bytes. */
#define MAX_DOUBT 65536


/* ---- one page ---- */

bool
rmsync_notion_edit_render(const RmsyncItem *item, NotionBlock **first)
{
	const char *text = item->src.text ? item->src.text : "";
	char *why = NULL;
	RmsyncDocument *doc = rmsync_markdown_parse(text, strlen(text), &why);

	if (doc == NULL)
		return false;
	*first = rmsync_notion_render(doc);
	return true;
}

/* Appends that bring a toggle with these blocks. */
static int
count_appends(NotionBlock *first)
{
	NotionBlock *toggle = rmsync_notion_toggle("", NULL, first);
	NotionBlock *open = toggle;
	NotionBlock *next = toggle;
	int n = 0;

	while (open != NULL)
	{
		StringInfoData body;
		NotionBlock *parent;
		int written;
		bool whole;

		initStringInfo(&body);
		(void) rmsync_notion_pack_append(next, NULL, &body, &written, &whole);
		pfree(body.data);
		n++;
		open = rmsync_notion_next_open(toggle, &parent);
		next = open ? rmsync_notion_next_child(open) : NULL;
	}
	return n;
}

/*
 * Is the change small?  Sets what it takes, in place and with a new toggle.
 */
static bool
seems_small(NotionJob *nj, NotionPage *page)
{
	NotionBlock *first;
	NotionPrint *known;
	NotionPrint *wanted;
	NotionCost cost;
	bool thrifty;
	int nknown;
	int nwanted;

	known = rmsync_notion_prints_read(page->shape.prints, &nknown);
	if (known == NULL || !rmsync_notion_edit_render(page->item, &first))
		return false;
	wanted = rmsync_notion_prints(first, &nwanted);
	if (nknown > NOTION_MAX_PRINTS || nwanted > NOTION_MAX_PRINTS ||
		nwanted - nknown > NOTION_MAX_ARRAY ||
		!rmsync_notion_align_small(rmsync_notion_as_known(known, nknown),
								   nknown, wanted, nwanted, &thrifty, &cost))
		return false;
	page->edit = 1 + cost.reads + cost.writes;
	if (nj->config.fewest_requests)
		page->anew = count_appends(first) + 1;
	return true;
}

bool
rmsync_notion_edit_worth(NotionJob *nj, NotionPage *page)
{
	MemoryContext cxt;
	MemoryContext old;

	if (page->item->ledger.external_id == NULL || page->item->forced ||
		page->moved || page->partial != NULL || page->shape.prints == NULL ||
		page->shape.compact || rmsync_notion_is_compact(nj, page->item))
		return false;
	if (page->next != NULL)
		return page->edit >= 0 && !nj->config.fewest_requests &&
			   strlen(page->shape.prints) < MAX_DOUBT &&
			   strlen(page->next) < MAX_DOUBT;
	if (page->edit == 0)
	{
		cxt = AllocSetContextCreate(CurrentMemoryContext, "rmsync notion edit",
									ALLOCSET_DEFAULT_SIZES);
		old = MemoryContextSwitchTo(cxt);
		if (!seems_small(nj, page))
			page->edit = -1;
		MemoryContextSwitchTo(old);
		MemoryContextDelete(cxt);
	}
	return page->edit > 0;
}


/* ---- all pages of a notebook ---- */

static void
write_anew(NotionPage *page)
{
	page->edit = -1;
	page->action = NOTION_PLAN_WRITE;
}

/* Many pages at once: those that take few requests. */
static void
choose_few(NotionJob *nj)
{
	int n = 0;

	for (int i = 0; i < nj->npages; i++)
		n += nj->pages[i].action == NOTION_PLAN_EDIT;
	for (int i = 0; n > MANY_PAGES && i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];

		if (page->action == NOTION_PLAN_EDIT && page->edit > 1 + FEW_REQUESTS)
			write_anew(page);
	}
}

/* Is the page in the slot beside this one due, and in the same part? */
static bool
is_due(const NotionJob *nj, int slot, int beside)
{
	const NotionSlot *other;

	if (beside < 0 || beside >= nj->nslots)
		return false;
	other = &nj->slots[beside];
	return other->page != NULL && other->part == nj->slots[slot].part &&
		   (other->page->action == NOTION_PLAN_WRITE ||
			other->page->action == NOTION_PLAN_EDIT);
}

/*
 * The cheaper way; in place, if they cost the same.  Toggles of pages that
 * stand next to each other come with one append.
 */
static void
choose_cheapest(NotionJob *nj)
{
	bool *shares = palloc0(sizeof(bool) * (nj->nslots + 1));

	for (int i = 0; i < nj->nslots; i++)
		shares[i] = is_due(nj, i, i - 1) || is_due(nj, i, i + 1);
	for (int i = 0; i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];
		int here = page->edit;
		int anew = page->anew;

		if (page->action != NOTION_PLAN_EDIT)
			continue;
		if (!rmsync_notion_title_stays(nj, page))
			here++;
		if (anew == 2 && page->slot >= 0 && shares[page->slot])
			anew--;
		if (here > anew)
			write_anew(page);
	}
}

void
rmsync_notion_edit_choose(NotionJob *nj)
{
	if (nj->config.fewest_requests)
		choose_cheapest(nj);
	else
		choose_few(nj);
}
