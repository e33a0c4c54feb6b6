/*-------------------------------------------------------------------------
 *
 * notion_part.c
 *	  Large notebooks are split over several pages at Notion.
 *
 * Part 0 is the notebook's own page; the others are pages in there, which
 * Notion shows as links at its end.  The order of the toggles is one list over
 * all parts, and the ledger says how many of its keys stand in which part, so
 * that what is to be done does not depend on where the parts begin.
 *
 * A part is full with config.split_pages pages.  Pages that go behind all
 * others of a full part go to the start of the next one, or to a new one.
 * Pages that go between others stay with them: a part may grow beyond that,
 * and nothing is ever moved for the sake of a part's size.  What stands behind
 * all pages (to-dos) stands in the last part.
 *
 * Called by the states and notion_order.c; notion_part_page.c has the
 * requests.  Must never let a part be forgotten that may hold toggles of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "utils/memutils.h"

#include "target_notion.h"

/* Times a part must be absent before it is created again. */
#define ABSENT_LOOKS 2

/* Creates in a row that never arrived, before this job does without it. */
#define MAX_RESENT 3

/* So many pages in a notebook's page are looked at whether they are parts. */
#define MAX_CANDIDATES 100

const char *
rmsync_notion_part_id(NotionJob *nj, int part)
{
	if (part == 0)
		return nj->notebook->ledger.external_id;
	return part < nj->nparts ? nj->parts[part].id : NULL;
}

static int
find_part(NotionJob *nj, const char *id)
{
	for (int i = 0; i < nj->nparts; i++)
	{
		if (rmsync_notion_same_id(rmsync_notion_part_id(nj, i), id))
			return i;
	}
	return -1;
}

bool
rmsync_notion_is_part(NotionJob *nj, const char *id)
{
	return find_part(nj, id) >= 0;
}

int
rmsync_notion_part_of(NotionJob *nj, const char *id)
{
	return Max(find_part(nj, id), 0);
}

/* An empty entry at the end. */
static NotionPart *
new_part(NotionJob *nj)
{
	NotionPart *parts =
		MemoryContextAllocZero(nj->job->cxt,
							   sizeof(NotionPart) * (nj->nparts + 1));

	if (nj->nparts > 0)
		memcpy(parts, nj->parts, sizeof(NotionPart) * nj->nparts);
	nj->parts = parts;
	return &nj->parts[nj->nparts++];
}

void
rmsync_notion_reset_parts(NotionJob *nj)
{
	nj->nparts = 0;
	(void) new_part(nj);
	nj->part_title = NULL;
	nj->suspect = nj->checking = 0;
}


/* ---- the ledger ---- */

static void
load_part_intent(NotionJob *nj)
{
	const char *text = nj->notebook->ledger.intent;
	Jsonb *intent = text ? rmsync_json_parse(text, strlen(text)) : NULL;
	char *op = rmsync_json_get_string(intent, "op", NULL);

	if (op == NULL || strcmp(op, "part") != 0)
		return;
	nj->part_title = rmsync_json_get_string(intent, "title", NULL);
	nj->part_at = (int) rmsync_json_get_number(intent, "at", 0);
	nj->part_absent = (int) rmsync_json_get_number(intent, "absent", 0);
	nj->part_resent = (int) rmsync_json_get_number(intent, "resent", 0);
}

void
rmsync_notion_load_parts(NotionJob *nj, Jsonb *metadata)
{
	Jsonb *array = rmsync_json_get(metadata, "parts", NULL);
	int n = rmsync_json_array_length(array);
	int at = 0;

	rmsync_notion_reset_parts(nj);
	nj->order_part = palloc0(sizeof(int) * (nj->norder + 1));
	for (int i = 0; i < n; i++)
	{
		Jsonb *json = rmsync_json_element(array, i);
		NotionPart *part = i > 0 ? new_part(nj) : &nj->parts[0];
		int keys = (int) rmsync_json_get_number(json, "n", 0);

		if (i > 0)
		{
			part->id = rmsync_json_get_string(json, "id", NULL);
			part->title = rmsync_json_get_string(json, "title", NULL);
		}
		for (int k = 0; k < keys && at < nj->norder; k++)
			nj->order_part[at++] = i;
	}
	while (at < nj->norder)
		nj->order_part[at++] = nj->nparts - 1;
	load_part_intent(nj);
}

void
rmsync_notion_parts_meta(NotionJob *nj, StringInfo buf)
{
	if (nj->nparts < 2)
		return;
	rmsync_json_key(buf, "parts");
	appendStringInfoChar(buf, '[');
	for (int i = 0; i < nj->nparts; i++)
	{
		int keys = 0;

		for (int k = 0; k < nj->norder; k++)
			keys += nj->order_part[k] == i ? 1 : 0;
		appendStringInfoString(buf, i > 0 ? ",{" : "{");
		rmsync_json_field_int(buf, "n", keys);
		if (nj->parts[i].id != NULL)
			rmsync_json_field(buf, "id", nj->parts[i].id);
		if (nj->parts[i].title != NULL)
			rmsync_json_field(buf, "title", nj->parts[i].title);
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoChar(buf, ']');
}

/*
 * The part nj->part_title is about to be created, or was looked for in vain
 * so many times.
 */
void
rmsync_notion_set_part_intent(NotionJob *nj, int absent)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "op", "part");
	rmsync_json_field(&buf, "title", nj->part_title);
	rmsync_json_field_int(&buf, "at", nj->part_at);
	rmsync_json_field_int(&buf, "absent", absent);
	rmsync_json_field_int(&buf, "resent", nj->part_resent);
	appendStringInfoChar(&buf, '}');
	nj->part_absent = absent;
	rmsync_notion_set_intent(nj, nj->notebook, buf.data);
}


/* ---- where blocks stand, and go ---- */

void
rmsync_notion_mark_parts(NotionJob *nj)
{
	for (int i = 0; i < nj->norder; i++)
	{
		NotionSlot *slot = rmsync_notion_slot(nj, nj->order[i]);

		if (slot != NULL)
			slot->part = nj->order_part[i];
	}
}

bool
rmsync_notion_is_tail(NotionJob *nj, const NotionSlot *slot)
{
	return slot - nj->slots >= nj->tail;
}

int
rmsync_notion_last_part(NotionJob *nj)
{
	int last = nj->nparts - 1;

	while (last > 0 && nj->parts[last].id == NULL)
		last--;
	return last;
}

static bool
is_page(const NotionSlot *slot)
{
	return slot->page != NULL ? slot->page->item->type == RMSYNC_PAGE
							  : slot->sibling->type == RMSYNC_PAGE;
}

/* Pages that stay in this part. */
static int
count_pages(NotionJob *nj, int part)
{
	int n = 0;

	for (int i = 0; i < nj->tail; i++)
	{
		NotionSlot *slot = &nj->slots[i];

		if (slot->kept && slot->block_id != NULL && slot->part == part &&
			is_page(slot))
			n++;
	}
	return n;
}

/* Do pages or their highlights stay in this part, behind a slot? */
static bool
is_followed(NotionJob *nj, int part, const NotionSlot *before)
{
	for (int i = before ? (int) (before - nj->slots) + 1 : 0; i < nj->tail; i++)
	{
		NotionSlot *slot = &nj->slots[i];

		if (slot->kept && slot->block_id != NULL && slot->part == part)
			return true;
	}
	return false;
}

NotionPlace
rmsync_notion_place(NotionJob *nj, const NotionSlot *before,
					const NotionSlot *slot)
{
	NotionPlace place = { before ? before->part : 0, before == NULL, INT_MAX };
	int split = nj->config.split_pages;

	if (rmsync_notion_is_tail(nj, slot))
	{
		int last = rmsync_notion_last_part(nj);

		place.start = place.start || place.part != last;
		place.part = last;
		return place;
	}
	if (!is_page(slot) || split == 0 || nj->no_split ||
		is_followed(nj, place.part, before))
		return place;
	place.room = split - count_pages(nj, place.part);
	if (place.room > 0)
		return place;
	place.part++;
	place.start = true;
	place.room = is_followed(nj, place.part, NULL) ? INT_MAX : split;
	return place;
}


/* ---- parts come and go ---- */

void
rmsync_notion_add_part(NotionJob *nj, int part, const char *id, const char *title)
{
	NotionPart *entry;

	if (part > 0 && part < nj->nparts && nj->parts[part].id == NULL)
		entry = &nj->parts[part];
	else
		entry = new_part(nj);
	entry->id = rmsync_notion_keep(nj, id);
	entry->title = rmsync_notion_keep(nj, title);
	nj->part_title = NULL;
	rmsync_notion_set_intent(nj, nj->notebook, NULL);
	rmsync_notion_notebook_meta(nj);
	nj->planned = false;
}

/*
 * Forgets the keys of a part; the parts behind it move up if it is "dropped".
 */
static void
forget_keys(NotionJob *nj, int part, bool dropped)
{
	char **order = palloc(sizeof(char *) * (nj->norder + 1));
	int *parts = palloc(sizeof(int) * (nj->norder + 1));
	int n = 0;

	for (int i = 0; i < nj->norder; i++)
	{
		if (nj->order_part[i] == part)
			continue;
		order[n] = nj->order[i];
		parts[n] = nj->order_part[i];
		if (dropped && parts[n] > part)
			parts[n]--;
		n++;
	}
	rmsync_notion_set_order(nj, order, parts, n);
	rmsync_notion_mark_parts(nj);
	rmsync_notion_notebook_meta(nj);
}

void
rmsync_notion_drop_part(NotionJob *nj, int part)
{
	Assert(part > 0 && part < nj->nparts);
	memmove(&nj->parts[part], &nj->parts[part + 1],
			sizeof(NotionPart) * (nj->nparts - part - 1));
	nj->nparts--;
	forget_keys(nj, part, true);
}

/*
 * Its place stays, so that what stood there comes back in a new part.
 */
void
rmsync_notion_part_lost(NotionJob *nj, int part)
{
	for (int i = 0; i < nj->norder; i++)
	{
		NotionSlot *slot = rmsync_notion_slot(nj, nj->order[i]);

		if (nj->order_part[i] != part || slot == NULL || slot->block_id == NULL)
			continue;
		slot->block_id = NULL;
		slot->kept = false;
		if (slot->page != NULL && slot->page->item->outcome == RMSYNC_OUT_NONE)
			rmsync_notion_set_external(nj, slot->page->item, NULL);
		else if (slot->sibling != NULL)
			slot->sibling->lost = true;
	}
	nj->parts[part].id = NULL;
	nj->part_losses++;
	forget_keys(nj, part, false);
	nj->planned = false;
}


/* ---- listing ---- */

/*
 * A block of the notebook's page.  It may be the part whose create was not
 * answered; in a page that nobody has recorded it may be any part.
 */
void
rmsync_notion_see_block(NotionJob *nj, Jsonb *block)
{
	char *id = rmsync_notion_id(block);
	char *type = rmsync_json_get_string(block, "type", NULL);
	char *title = rmsync_json_get_string(block, "child_page", "title", NULL);

	if (id == NULL || type == NULL || strcmp(type, "child_page") != 0 ||
		rmsync_json_get_bool(block, "in_trash", false) ||
		rmsync_notion_is_part(nj, id))
		return;
	rmsync_notion_lost_seen(nj, id);
	if (rmsync_notion_is_copy(nj, rmsync_json_get_string(block, "created_by",
														 "id", NULL)))
		return;

	/* the last one: a reader's page of that name is older, or not empty */
	if (nj->part_title != NULL && title != NULL &&
		strcmp(title, nj->part_title) == 0 &&
		!rmsync_json_get_bool(block, "has_children", false))
		nj->part_found = rmsync_notion_keep(nj, id);
	if (nj->adopted && nj->nparts < MAX_CANDIDATES)
	{
		NotionPart *part = new_part(nj);

		part->id = rmsync_notion_keep(nj, id);
		part->title = rmsync_notion_keep(nj, title);
		part->candidate = true;
	}
}

/* The part that was listed holds nothing of ours: it is none. */
static void
drop_candidate(NotionJob *nj)
{
	int first = nj->nchildren;

	while (first > 0 && nj->children[first - 1].part == nj->listing)
	{
		first--;
		if (nj->children[first].key != NULL &&
			!rmsync_notion_is_copy(nj, nj->children[first].creator))
		{
			nj->parts[nj->listing].candidate = false;
			return;
		}
	}
	nj->nchildren = first;
	rmsync_notion_drop_part(nj, nj->listing--);
}

bool
rmsync_notion_next_listing(NotionJob *nj)
{
	nj->cursor = NULL;
	if (nj->parts[nj->listing].candidate)
		drop_candidate(nj);
	do
	{
		nj->listing++;
	} while (nj->listing < nj->nparts && nj->parts[nj->listing].id == NULL);
	if (nj->listing < nj->nparts)
		return true;
	nj->listing = 0;
	return false;
}

/*
 * All is listed.  Returns true if a part must be looked for again.
 */
bool
rmsync_notion_settle_parts(NotionJob *nj)
{
	if (nj->part_title == NULL)
		return false;
	if (nj->part_found != NULL)
		rmsync_notion_add_part(nj, nj->part_at, nj->part_found, nj->part_title);
	else if (nj->part_absent + 1 < ABSENT_LOOKS)
	{
		rmsync_notion_set_part_intent(nj, nj->part_absent + 1);
		return true;
	}
	else
	{
		rmsync_notion_late_part(nj, nj->part_title);
		nj->part_title = NULL;
		rmsync_notion_set_intent(nj, nj->notebook, NULL);

		/* as well without: the part before it grows */
		if (++nj->part_resent >= MAX_RESENT)
			nj->no_split = true;
	}
	return false;
}
