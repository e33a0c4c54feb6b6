/*-------------------------------------------------------------------------
 *
 * notion_compose.c
 *	  What goes into the next append, and where.
 *
 * The texts of pages and notes are rendered here, one append at a time, and
 * those that stand next to each other are put together: a run.  It ends at a
 * toggle that stays, where the part does (notion_part.c), and when a request
 * is full.
 *
 * Called by notion_write.c.  Must never put two runs into one append: it has
 * one place.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fingerprint.h"
#include "markdown.h"
#include "target_notion_write.h"

/* ---- texts ---- */

/*
 * No two toggles carry the same one, not even of the same version: it tells
 * whether this append was done.
 */
char *
rmsync_notion_rm(NotionJob *nj, const RmsyncItem *item)
{
	char *text;
	char hex[RMSYNC_HASH_LEN + 1];

	text = psprintf(INT64_FORMAT "|%s|" INT64_FORMAT "|" INT64_FORMAT,
					nj->job->lane->lane_id, item->id, item->version,
					(int64) GetCurrentTimestamp());
	rmsync_sha256_hex(text, strlen(text), hex);
	return pnstrdup(hex, RMSYNC_NOTION_RM_LEN);
}

/*
 * What will be recorded of the block that is being sent.
 */
static void
set_sending(NotionJob *nj, NotionPage *page, const char *title)
{
	char *prints = NULL;
	int n;
	NotionPrint *list = rmsync_notion_prints(page->toggle->children, &n);

	if (n <= NOTION_MAX_PRINTS)
		prints = rmsync_notion_prints_text(list, n);
	rmsync_notion_set_shape(nj, &page->sending, prints,
							rmsync_notion_title_hash(title));
}

/*
 * Renders a page into page->toggle, in the batch's context.  Returns false if
 * its text cannot be: the item has failed then.
 */
static bool
render_page(NotionJob *nj, NotionPage *page)
{
	MemoryContext old = MemoryContextSwitchTo(nj->batch_cxt);
	RmsyncItem *item = page->item;
	const char *text = item->src.text ? item->src.text : "";
	char *why = NULL;
	char *title;
	RmsyncDocument *doc;

	page->toggle = NULL;
	page->rm = rmsync_notion_rm(nj, item);
	rmsync_notion_set_shape(nj, &page->sending, NULL, NULL);
	if (item->type != RMSYNC_PAGE)
	{
		page->toggle = rmsync_notion_note_block(nj, item, page->rm);
		MemoryContextSwitchTo(old);
		return true;
	}
	title = rmsync_notion_title(nj, item);
	if (rmsync_notion_is_compact(nj, item))
	{
		page->toggle =
			rmsync_notion_text_block("paragraph",
									 rmsync_notion_compact_text(nj, item, title,
																page->rm),
									 "");
		set_sending(nj, page, title);
		page->sending.compact = true;
		MemoryContextSwitchTo(old);
		return true;
	}
	doc = rmsync_markdown_parse(text, strlen(text), &why);
	if (doc != NULL)
	{
		page->toggle =
			rmsync_notion_toggle(title, rmsync_notion_link(nj, item, page->rm),
								 rmsync_notion_render(doc));
		set_sending(nj, page, title);
	}
	MemoryContextSwitchTo(old);

	if (page->toggle == NULL)
	{
		rmsync_notion_fail_item(nj, item,
								why ? why : "The page's text cannot be parsed.");
		page->action = NOTION_PLAN_DECIDED;
	}
	return page->toggle != NULL;
}

static bool
arrays_fit(const NotionBlock *block)
{
	if (block->nchildren > NOTION_MAX_ARRAY)
		return false;
	for (const NotionBlock *c = block->children; c != NULL; c = c->next)
	{
		if (!arrays_fit(c))
			return false;
	}
	return true;
}

/* One request can take the toggle with all that is in it. */
static bool
fits_alone(const NotionBlock *toggle)
{
	return toggle->height <= NOTION_MAX_TIERS &&
		   toggle->total <= NOTION_MAX_BLOCKS &&
		   toggle->bytes <= NOTION_MAX_BYTES && arrays_fit(toggle);
}

/* What the batch holds so far. */
typedef struct Load
{
	int blocks;
	size_t bytes;
	int cap; /* most pages */
} Load;

/*
 * Adds a page to the batch.  Returns false if it has to wait for the next.
 */
static bool
add_page(NotionJob *nj, NotionPage *page, Load *load)
{
	NotionBlock *toggle = page->toggle;
	int cap = Min(load->cap, page->cap);
	bool alone = !fits_alone(toggle);

	if (nj->nbatch > 0 && (alone || nj->nbatch >= cap ||
						   load->blocks + toggle->total > NOTION_MAX_BLOCKS ||
						   load->bytes + toggle->bytes + 1 > NOTION_MAX_BYTES))
		return false;

	load->cap = alone ? 1 : cap;
	load->blocks += toggle->total;
	load->bytes += toggle->bytes + 1;
	if (nj->nbatch > 0)
		nj->batch[nj->nbatch - 1]->toggle->next = toggle;
	toggle->next = NULL;
	nj->batch[nj->nbatch++] = page;
	return true;
}


/* ---- runs ---- */

/* A run of pages to be written, while it is collected. */
typedef struct Run
{
	NotionSlot *before; /* the nearest toggle that stays in front of it */
	NotionSlot *own;	/* its last page that has an old toggle in place */
	NotionPlace place;	/* of the pages that have none */
	bool placed;		/* behind "own" or "before" */
	int fresh;			/* pages that have none, since then */
	Load load;
} Run;

/*
 * May this slot's block be in the same append as those before it?  A run ends
 * where another part begins, or a part is full.
 */
static bool
joins_run(NotionJob *nj, Run *run, const NotionSlot *slot, bool kept)
{
	int part = run->own != NULL ? run->own->part : run->place.part;

	if (kept)
		return run->own == NULL || run->own->part == slot->part;
	if (!run->placed)
	{
		run->place =
			rmsync_notion_place(nj, run->own ? run->own : run->before, slot);
		run->placed = true;
		run->fresh = 0;
		return nj->nbatch == 0 || run->place.part == part;
	}
	if (rmsync_notion_is_tail(nj, slot))
		return part == rmsync_notion_last_part(nj);
	return slot->page->item->type != RMSYNC_PAGE || run->fresh < run->place.room;
}

/*
 * Adds a slot that is to be written.  Returns false if the run ends before it.
 */
static bool
add_slot(NotionJob *nj, Run *run, NotionSlot *slot, bool kept)
{
	if (nj->nbatch == 0)
		run->placed = false;
	if (!joins_run(nj, run, slot, kept))
		return false;
	if (nj->nbatch == 0 && !kept &&
		rmsync_notion_part_id(nj, run->place.part) == NULL)
		return false;
	if (!render_page(nj, slot->page))
		return true;
	if (!add_page(nj, slot->page, &run->load))
	{
		slot->page->toggle = NULL;
		return false;
	}
	if (kept)
	{
		run->own = slot;
		run->placed = false;
	}
	else if (slot->page->item->type == RMSYNC_PAGE)
		run->fresh++;
	return true;
}

/*
 * Where the run goes: behind the toggle of its last page that has an old one
 * in its place, else where a new block goes.
 */
static void
place_run(NotionJob *nj, const Run *run)
{
	const NotionSlot *anchor = run->own;

	if (anchor == NULL && !run->place.start)
		anchor = run->before;
	nj->anchor = anchor ? anchor->key : NULL;
	nj->part = anchor ? anchor->part : run->place.part;
	nj->at_start = anchor == NULL && (nj->norder > 0 || nj->part > 0);
}

/*
 * Collects the first run of pages to be written.  If they are to stand in a
 * part that is not there, there is none, and the state says so.
 */
void
rmsync_notion_collect(NotionJob *nj)
{
	Run run = { NULL,  NULL, { 0, false, 0 },
				false, 0,	 { 0, 0, NOTION_MAX_ARRAY } };
	bool after = false;

	for (int i = 0; i < nj->nslots && !after; i++)
	{
		NotionSlot *slot = &nj->slots[i];
		bool kept = slot->kept && slot->block_id != NULL;

		if (slot->page != NULL && slot->page->action == NOTION_PLAN_WRITE)
		{
			if (add_slot(nj, &run, slot, kept))
				continue;
			after = true;
		}
		else if (kept && nj->nbatch > 0)
			after = true;
		else if (kept)
			run.before = slot;
	}
	if (nj->nbatch > 0)
		place_run(nj, &run);
	else if (after)
	{
		nj->tidying = run.place.part;
		nj->state = NOTION_PART_INTENT;
	}
}
