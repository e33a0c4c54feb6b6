/*-------------------------------------------------------------------------
 *
 * notion_late.c
 *	  Writes that may be done when nobody looks for them any more.
 *
 * A create or an append whose outcome is unknown is looked for, and sent again
 * when it was not there.  It may come late all the same: a query shows new
 * pages with a delay, Notion may be at a request for a minute, or the page that
 * an append was for has gone to another notebook, and nobody looks there.  So
 * the ledger entry remembers it ("late", see notion_ledger.c) and how often it
 * was looked for since ("looks"), and asks to be queued when it is time to look
 * (RmsyncLedger.look_at).  Nothing waits for that.  An entry whose object is
 * gone stays until the last look.
 *
 * Called by whoever gives up looking; notion_late_look.c looks.  Must never
 * forget what was not looked for, unless the page is gone it could come to, or
 * the connection leads elsewhere.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "target_notion.h"

/* Appends remembered of a page: older ones were looked for often since. */
#define MAX_LATE 16

/* The entry that asks for a look: the heading has none of its own. */
static RmsyncLedger *
asking(NotionJob *nj, RmsyncItem *item)
{
	return item == nj->heading ? &nj->notebook->ledger : &item->ledger;
}

static bool
is_due(const RmsyncLedger *ledger)
{
	return ledger->look_at == DT_NOEND;
}

/*
 * If it is time to look and the entry is written before that was done: it must
 * be queued again.
 */
static void
ask_again_if_due(RmsyncLedger *ledger)
{
	if (is_due(ledger) && ledger->look_ms == 0)
		ledger->look_ms = 1;
}

/* Asks for the next look, if there is one. */
static bool
schedule(NotionJob *nj, RmsyncLedger *ledger, int looks)
{
	int delay;

	if (looks > nj->config.nlate_delays)
		return false;
	delay = looks == 0 ? nj->config.append_delay
					   : nj->config.late_delays[looks - 1];
	delay = Max(delay, 1);
	if (ledger->look_ms == 0 || delay < ledger->look_ms)
		ledger->look_ms = delay;
	return true;
}


/* ---- the ledger ---- */

void
rmsync_notion_load_late(NotionJob *nj, NotionPage *page, Jsonb *metadata)
{
	Jsonb *array = rmsync_json_get(metadata, "late", NULL);

	for (int i = 0; i < rmsync_json_array_length(array); i++)
	{
		Jsonb *json = rmsync_json_element(array, i);
		NotionLate *late = palloc(sizeof(NotionLate));

		late->notebook = rmsync_json_get_string(json, "notebook", NULL);
		late->page = rmsync_json_get_string(json, "page", NULL);
		late->rm = rmsync_json_get_string(json, "rm", NULL);
		if (late->notebook != NULL && late->page != NULL && late->rm != NULL)
			page->late = lappend(page->late, late);
	}
	page->looks = (int) rmsync_json_get_number(metadata, "looks", 0);
	if (page->late != NIL)
		ask_again_if_due(asking(nj, page->item));
}

void
rmsync_notion_load_late_rows(NotionJob *nj, Jsonb *metadata)
{
	Jsonb *json = rmsync_json_get(metadata, "late", NULL);
	Jsonb *parts = rmsync_json_get(json, "parts", NULL);

	nj->late_row = rmsync_json_get_bool(json, "row", false);
	for (int i = 0; i < rmsync_json_array_length(parts); i++)
	{
		char *title = rmsync_json_as_string(rmsync_json_element(parts, i));

		if (title != NULL)
			nj->late_parts = lappend(nj->late_parts, title);
	}
	nj->looks = (int) rmsync_json_get_number(metadata, "looks", 0);
	if (json != NULL)
		ask_again_if_due(&nj->notebook->ledger);
}

void
rmsync_notion_late_meta(StringInfo buf, const NotionPage *page)
{
	ListCell *cell;

	if (page == NULL || page->late == NIL)
		return;
	rmsync_json_key(buf, "late");
	appendStringInfoChar(buf, '[');
	foreach (cell, page->late)
	{
		const NotionLate *late = lfirst(cell);

		appendStringInfoString(buf, foreach_current_index(cell) > 0 ? ",{" : "{");
		rmsync_json_field(buf, "notebook", late->notebook);
		rmsync_json_field(buf, "page", late->page);
		rmsync_json_field(buf, "rm", late->rm);
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoChar(buf, ']');
	rmsync_json_field_int(buf, "looks", page->looks);
}

void
rmsync_notion_late_rows_meta(NotionJob *nj, StringInfo buf)
{
	ListCell *cell;

	if (!nj->late_row && nj->late_parts == NIL)
		return;
	rmsync_json_key(buf, "late");
	appendStringInfoChar(buf, '{');
	if (nj->late_row)
		rmsync_json_field_bool(buf, "row", true);
	if (nj->late_parts != NIL)
	{
		rmsync_json_key(buf, "parts");
		appendStringInfoChar(buf, '[');
		foreach (cell, nj->late_parts)
		{
			if (foreach_current_index(cell) > 0)
				appendStringInfoChar(buf, ',');
			rmsync_json_string(buf, lfirst(cell));
		}
		appendStringInfoChar(buf, ']');
	}
	appendStringInfoChar(buf, '}');
	rmsync_json_field_int(buf, "looks", nj->looks);
}

bool
rmsync_notion_has_late(NotionJob *nj, const RmsyncItem *item)
{
	const NotionPage *page = item->plan;

	if (item == nj->notebook)
		return nj->late_row || nj->late_parts != NIL;
	return page != NULL && page->late != NIL;
}

char *
rmsync_notion_late_only(NotionJob *nj, const RmsyncItem *item)
{
	StringInfoData buf;

	if (!rmsync_notion_has_late(nj, item))
		return NULL;
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	if (item == nj->notebook)
		rmsync_notion_late_rows_meta(nj, &buf);
	else
		rmsync_notion_late_meta(&buf, item->plan);
	appendStringInfoChar(&buf, '}');
	return rmsync_notion_keep(nj, buf.data);
}


/* ---- giving up ---- */

void
rmsync_notion_late_append(NotionJob *nj, NotionPage *page, Jsonb *intent,
						  bool soon)
{
	char *notebook = rmsync_json_get_string(intent, "notebook", NULL);
	char *home = rmsync_json_get_string(intent, "page", NULL);
	char *rm = rmsync_json_get_string(intent, "rm", NULL);
	MemoryContext old;
	NotionLate *late;

	if (notebook == NULL || home == NULL || rm == NULL)
		return;
	old = MemoryContextSwitchTo(nj->job->cxt);
	late = palloc(sizeof(NotionLate));
	late->notebook = pstrdup(notebook);
	late->page = pstrdup(home);
	late->rm = pstrdup(rm);
	page->late = lappend(page->late, late);
	if (list_length(page->late) > MAX_LATE)
		page->late = list_delete_first(page->late);
	MemoryContextSwitchTo(old);

	/* the others are looked for longer, too */
	page->looks = soon ? 0 : 1;
	(void) schedule(nj, asking(nj, page->item), page->looks);
	rmsync_notion_write_late(nj, page->item);
}

/* The notebook's late objects are looked for from the beginning. */
static void
begin_rows(NotionJob *nj)
{
	RmsyncLedger *ledger = &nj->notebook->ledger;

	nj->looks = 1;
	ledger->look_at = 0;
	ledger->look_ms = 0;
	(void) schedule(nj, ledger, nj->looks);
}

void
rmsync_notion_late_row(NotionJob *nj)
{
	nj->late_row = true;
	begin_rows(nj);
	rmsync_notion_write_late(nj, nj->notebook);
}

void
rmsync_notion_late_again(NotionJob *nj)
{
	if (nj->late_row)
		begin_rows(nj);
}

void
rmsync_notion_late_part(NotionJob *nj, const char *title)
{
	MemoryContext old = MemoryContextSwitchTo(nj->job->cxt);
	ListCell *cell;
	bool known = false;

	foreach (cell, nj->late_parts)
		known = known || strcmp(lfirst(cell), title) == 0;
	if (!known)
		nj->late_parts = lappend(nj->late_parts, pstrdup(title));
	MemoryContextSwitchTo(old);
	begin_rows(nj);
	rmsync_notion_write_late(nj, nj->notebook);
}

void
rmsync_notion_drop_late_parts(NotionJob *nj)
{
	nj->late_parts = NIL;
}


/* ---- looks ---- */

bool
rmsync_notion_late_due(NotionJob *nj, const NotionPage *page)
{
	if (page == NULL)
		return is_due(&nj->notebook->ledger) && (nj->late_row || nj->late_parts);
	return page->late != NIL && is_due(asking(nj, page->item));
}

/* The entry of what is not there any more and needs no look either. */
static void
drop_if_gone(NotionJob *nj, RmsyncItem *item)
{
	if (!item->present && item->outcome != RMSYNC_OUT_NONE &&
		item->ledger.external_id == NULL && !rmsync_notion_has_late(nj, item))
	{
		item->ledger.exists = false;
		item->dirty = true;
	}
}

static void
clear_look(RmsyncItem *item)
{
	item->ledger.look_at = 0;
	item->ledger.look_ms = 0;
	item->dirty = true;
}

/*
 * An entry may ask for a look though nothing can come any more: its page is
 * gone, or items of its type are not wanted.
 */
void
rmsync_notion_late_tidy(NotionJob *nj)
{
	RmsyncJob *job = nj->job;
	bool heading = nj->heading != NULL && rmsync_notion_has_late(nj, nj->heading);

	if (is_due(&nj->notebook->ledger) && !heading &&
		!rmsync_notion_has_late(nj, nj->notebook))
		clear_look(nj->notebook);
	for (int i = 0; i < job->nitems; i++)
	{
		RmsyncItem *item = job->items[i];

		if (item != nj->notebook && is_due(&item->ledger) &&
			!rmsync_notion_has_late(nj, item))
			clear_look(item);
	}
}

static void
page_looked(NotionJob *nj, NotionPage *page)
{
	RmsyncItem *item = page->item;

	page->looks++;
	if (page->late != NIL && !schedule(nj, asking(nj, item), page->looks))
		page->late = NIL;
	rmsync_notion_write_late(nj, item);
	drop_if_gone(nj, item);
	if (item == nj->heading)
		rmsync_notion_notebook_meta(nj);
}

static void
notebook_looked(NotionJob *nj)
{
	RmsyncItem *notebook = nj->notebook;

	nj->looks++;
	if ((nj->late_row || nj->late_parts != NIL) &&
		!schedule(nj, &notebook->ledger, nj->looks))
	{
		nj->late_row = false;
		nj->late_parts = NIL;
	}
	rmsync_notion_write_late(nj, notebook);
	drop_if_gone(nj, notebook);
}

void
rmsync_notion_late_looked(NotionJob *nj)
{
	RmsyncItem *notebook = nj->notebook;
	bool rows = rmsync_notion_late_due(nj, NULL);

	/* whatever was asked for: it is asked for anew, if it must be */
	if (is_due(&notebook->ledger))
		clear_look(notebook);
	for (int i = 0; i < nj->npages; i++)
	{
		if (nj->pages[i].looking)
			clear_look(nj->pages[i].item);
	}
	for (int i = 0; i < nj->npages; i++)
	{
		if (nj->pages[i].looking)
			page_looked(nj, &nj->pages[i]);
	}
	if (rows)
		notebook_looked(nj);
}
