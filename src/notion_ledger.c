/*-------------------------------------------------------------------------
 *
 * notion_ledger.c
 *	  How target 'notion' writes its ledger entries.
 *
 * Called by its states.  All strings are copied into the job's context, since
 * the engine reads them at the next commit.
 *
 *	page		external_id = its toggle; highlight, to-do: its block
 *				metadata = {"notion_page_id": the part it stands in,
 *					"notion_block_id",
 *					"parent_type": "toggle_block" or the like,
 *					"stale": [toggles that are still to be deleted],
 *					"prints": what stands in it (notion_match.h),
 *					"next": and what an edit may have brought,
 *					"touched": ids of blocks below which it may have,
 *					"lost": an append of that may be under way,
 *					"late": [{"notebook", "page", "rm"}] of appends that may
 *					be done when nobody looks any more, "looks": how often
 *					they were looked for since (notion_late.c),
 *					"title": hash of its title, "completed": of a to-do}
 *				intent = {"op": "append", "notebook": whose page it
 *					went to, "page": the part, "rm": marker, "prev": old
 *					toggle,
 *					"hash", "place", "prints", "title", "compact":
 *					what was sent, "whole": all in one request,
 *					"new": toggle that is not complete,
 *					"absent": how often it was looked for in vain,
 *					"resent": appends before it that never arrived}
 *	notebook	external_id = its page
 *				metadata = {"notion_page_id",
 *					"order": [keys as the blocks stand],
 *					"parts": [{"id", "n": keys of the order that stand
 *					in it, "title"}], if there are several; the first
 *					is the page itself,
 *					"orphans": [[key, block]],
 *					"lost": [[page that was lost and made anew, when it
 *					was looked at last, "told" if the user was]],
 *					"heading": {"id", "intent", "metadata"} of the heading above
 *					the to-dos; if it was adopted "page_order",
 *					"head": block before the toggles,
 *					"strays": [keys]; "late": {"row": another page with
 *					our marker may come, "parts": [titles]}, "looks"}
 *				intent = {"op": "create", "rm": marker,
 *					"tries": how often it was looked for in vain,
 *					"resent": creates before it that never arrived}, or
 *					{"op": "adopt"}: the page is to be looked at
 *					first, see notion_adopt.c, or {"op": "part",
 *					"title", "at": which one, "absent", "resent"}
 *
 * An entry that has stale toggles is not a success yet: the page is there
 * twice until they are deleted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "target_notion.h"

/* "parent_type" of a page in the compact layout. */
#define COMPACT_TYPE "paragraph_block"

static void
touch(NotionJob *nj, RmsyncItem *item)
{
	item->ledger.exists = true;
	item->ledger.config_epoch = nj->job->lane->config_epoch;
	item->dirty = true;
	if (item == nj->heading)
		rmsync_notion_notebook_meta(nj);
}

/*
 * No commit is needed for it: an entry that was as wanted says nothing that the
 * page at Notion could not say.
 */
void
rmsync_notion_owe_properties(NotionJob *nj)
{
	RmsyncItem *notebook = nj->notebook;
	RmsyncLedger *ledger = &notebook->ledger;

	if (ledger->external_id == NULL || rmsync_notion_notebook_differs(nj))
		return;
	ledger->content_hash[0] = '\0';
	ledger->placement_hash[0] = '\0';
	ledger->success = false;
	touch(nj, notebook);
}

void
rmsync_notion_changed(NotionJob *nj, const RmsyncItem *item)
{
	if (item->type != RMSYNC_PAGE)
		return;
	nj->changed = true;
	if (!nj->created)
		rmsync_notion_owe_properties(nj);
}

/*
 * Records in which notebook the object stands, for the one who looks for what
 * a notebook has lost.
 */
static void
set_home(NotionJob *nj, RmsyncItem *item)
{
	const char *home = nj->kind->type == RMSYNC_NOTEBOOK ? nj->notebook->id
														 : item->notebook_uuid;

	item->ledger.notebook_uuid = rmsync_notion_keep(nj, home);
}

bool
rmsync_notion_recorded(const RmsyncItem *item)
{
	return strcmp(item->ledger.content_hash, item->content_hash) == 0 &&
		   strcmp(item->ledger.placement_hash, item->placement_hash) == 0;
}

void
rmsync_notion_mark_synced(NotionJob *nj, RmsyncItem *item)
{
	RmsyncLedger *ledger = &item->ledger;

	strlcpy(ledger->content_hash, item->content_hash,
			sizeof(ledger->content_hash));
	strlcpy(ledger->placement_hash, item->placement_hash,
			sizeof(ledger->placement_hash));
	ledger->intent = NULL;
	ledger->success = true;
	set_home(nj, item);
	touch(nj, item);
	rmsync_item_done(nj->job, item, RMSYNC_OUT_SUCCESS, NULL, NULL);
}

void
rmsync_notion_set_intent(NotionJob *nj, RmsyncItem *item, const char *intent)
{
	if (intent == NULL && item->ledger.intent == NULL)
		return;
	item->ledger.intent = rmsync_notion_keep(nj, intent);
	touch(nj, item);
}

void
rmsync_notion_set_external(NotionJob *nj, RmsyncItem *item, const char *id)
{
	item->ledger.external_id = rmsync_notion_keep(nj, id);
	set_home(nj, item);
	item->ledger.content_hash[0] = '\0';
	item->ledger.placement_hash[0] = '\0';
	item->ledger.success = false;
	if (item->plan != NULL)
	{
		NotionPage *page = item->plan;

		memset(&page->shape, 0, sizeof(page->shape));
		page->next = NULL;
	}
	touch(nj, item);
}

void
rmsync_notion_set_shape(NotionJob *nj, NotionShape *shape, const char *prints,
						const char *title)
{
	shape->compact = false;
	shape->prints = rmsync_notion_keep(nj, prints);
	shape->title = rmsync_notion_keep(nj, title);
}

/*
 * Appends the toggles of a page that are to be deleted, as a member.
 */
static void
append_stale(NotionJob *nj, StringInfo buf, const RmsyncItem *item)
{
	const NotionPage *page = item->plan;
	const char *comma = "";
	ListCell *cell;

	if (page == NULL || page->deletes == 0)
		return;
	rmsync_json_key(buf, "stale");
	appendStringInfoChar(buf, '[');
	foreach (cell, nj->deletes)
	{
		const NotionDelete *entry = lfirst(cell);

		if (entry->page != page)
			continue;
		appendStringInfoString(buf, comma);
		rmsync_json_string(buf, entry->block_id);
		comma = ",";
	}
	appendStringInfoChar(buf, ']');
}

/*
 * Appends whether a to-do's block is ticked, as far as we have written it:
 * notion_poll.c must know what both sides agreed on.
 */
static void
append_completed(StringInfo buf, const RmsyncItem *item)
{
	const RmsyncLedger *ledger = &item->ledger;
	const char *old = ledger->metadata;
	Jsonb *metadata = old ? rmsync_json_parse(old, strlen(old)) : NULL;

	if (item->type != RMSYNC_TODO || rmsync_notion_is_heading(item))
		return;
	if (strcmp(ledger->content_hash, item->content_hash) == 0)
		rmsync_json_field_bool(buf, "completed", item->src.completed);
	else if (rmsync_json_get(metadata, "completed", NULL) != NULL &&
			 rmsync_notion_same_id(rmsync_json_get_string(metadata,
														  "notion_block_id", NULL),
								   ledger->external_id))
		rmsync_json_field_bool(buf, "completed",
							   rmsync_json_get_bool(metadata, "completed", false));
}

void
rmsync_notion_load_shape(NotionPage *page, Jsonb *metadata)
{
	char *block = rmsync_json_get_string(metadata, "notion_block_id", NULL);
	char *type;

	if (!rmsync_notion_same_id(block, page->item->ledger.external_id))
		return;
	type = rmsync_json_get_string(metadata, "parent_type", NULL);
	page->shape.compact = type != NULL && strcmp(type, COMPACT_TYPE) == 0;
	page->shape.prints = rmsync_json_get_string(metadata, "prints", NULL);
	page->shape.title = rmsync_json_get_string(metadata, "title", NULL);
	page->next = rmsync_json_get_string(metadata, "next", NULL);
	page->touched = rmsync_json_get_string(metadata, "touched", NULL);
	page->lost = rmsync_json_get_bool(metadata, "lost", false);
}

static void
append_shape(StringInfo buf, const NotionPage *page)
{
	if (page == NULL)
		return;
	if (page->shape.prints != NULL)
		rmsync_json_field(buf, "prints", page->shape.prints);
	if (page->next != NULL)
		rmsync_json_field(buf, "next", page->next);
	if (page->next != NULL && page->touched != NULL)
		rmsync_json_field(buf, "touched", page->touched);
	if (page->next != NULL && page->lost)
		rmsync_json_field_bool(buf, "lost", true);
	if (page->shape.title != NULL)
		rmsync_json_field(buf, "title", page->shape.title);
}

void
rmsync_notion_page_meta(NotionJob *nj, RmsyncItem *item)
{
	const NotionPage *page = item->plan;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "notion_page_id",
					  page != NULL && page->home != NULL
						  ? page->home
						  : nj->notebook->ledger.external_id);
	rmsync_json_field(&buf, "notion_block_id", item->ledger.external_id);
	rmsync_json_field(&buf, "parent_type",
					  page != NULL && page->shape.compact
						  ? COMPACT_TYPE
						  : psprintf("%s_block",
									 rmsync_notion_block_type(nj, item)));
	append_shape(&buf, item->plan);
	append_completed(&buf, item);
	append_stale(nj, &buf, item);
	rmsync_notion_late_meta(&buf, page);
	appendStringInfoChar(&buf, '}');
	item->ledger.metadata = rmsync_notion_keep(nj, buf.data);
	touch(nj, item);
}

/* What tells our own changes from those of others (sql/63_webhook_receive.sql). */
static void
append_bot(NotionJob *nj, StringInfo buf)
{
	const char *old = nj->notebook->ledger.metadata;

	if (nj->bot == NULL && old != NULL)
		nj->bot =
			rmsync_notion_keep(nj,
							   rmsync_json_get_string(rmsync_json_parse(old,
																		strlen(old)),
													  "bot", NULL));
	if (nj->bot == NULL)
		nj->bot = ""; /* looked for once */
	if (nj->bot[0] != '\0')
		rmsync_json_field(buf, "bot", nj->bot);
}

void
rmsync_notion_write_late(NotionJob *nj, RmsyncItem *item)
{
	if (item->ledger.external_id == NULL)
		item->ledger.metadata = rmsync_notion_late_only(nj, item);
	else if (item == nj->notebook)
		rmsync_notion_notebook_meta(nj);
	else
		rmsync_notion_page_meta(nj, item);
	touch(nj, item);
}

void
rmsync_notion_notebook_meta(NotionJob *nj)
{
	RmsyncItem *notebook = nj->notebook;
	StringInfoData buf;

	if (notebook->ledger.external_id == NULL && nj->lost == NIL)
		return;
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	if (notebook->ledger.external_id != NULL)
		rmsync_json_field(&buf, "notion_page_id", notebook->ledger.external_id);
	rmsync_notion_lost_meta(nj, &buf);
	if (notebook->ledger.external_id == NULL)
	{
		appendStringInfoChar(&buf, '}');
		notebook->ledger.metadata = rmsync_notion_keep(nj, buf.data);
		touch(nj, notebook);
		return;
	}
	append_bot(nj, &buf);
	if (nj->kind->metadata != NULL)
		nj->kind->metadata(nj, &buf);
	if (nj->order_known && nj->kind->type == RMSYNC_NOTEBOOK)
	{
		rmsync_json_key(&buf, "order");
		appendStringInfoChar(&buf, '[');
		for (int i = 0; i < nj->norder; i++)
		{
			if (i > 0)
				appendStringInfoChar(&buf, ',');
			rmsync_json_string(&buf, nj->order[i]);
		}
		appendStringInfoChar(&buf, ']');
	}
	rmsync_notion_parts_meta(nj, &buf);
	if (nj->own_order)
		rmsync_json_field(&buf, "page_order",
						  nj->newest_first ? "newest_first" : "notebook");
	if (nj->head != NULL)
		rmsync_json_field(&buf, "head", nj->head);
	if (nj->strays != NIL)
	{
		ListCell *cell;

		rmsync_json_key(&buf, "strays");
		appendStringInfoChar(&buf, '[');
		foreach (cell, nj->strays)
		{
			if (foreach_current_index(cell) > 0)
				appendStringInfoChar(&buf, ',');
			rmsync_json_string(&buf, lfirst(cell));
		}
		appendStringInfoChar(&buf, ']');
	}
	if (nj->orphans != NIL)
	{
		ListCell *cell;

		rmsync_json_key(&buf, "orphans");
		appendStringInfoChar(&buf, '[');
		foreach (cell, nj->orphans)
		{
			NotionOrphan *orphan = lfirst(cell);

			if (foreach_current_index(cell) > 0)
				appendStringInfoChar(&buf, ',');
			appendStringInfoChar(&buf, '[');
			rmsync_json_string(&buf, orphan->key);
			appendStringInfoChar(&buf, ',');
			rmsync_json_string(&buf, orphan->block_id);
			appendStringInfoChar(&buf, ']');
		}
		appendStringInfoChar(&buf, ']');
	}
	rmsync_notion_heading_meta(nj, &buf);
	rmsync_notion_late_rows_meta(nj, &buf);
	appendStringInfoChar(&buf, '}');
	notebook->ledger.metadata = rmsync_notion_keep(nj, buf.data);
	touch(nj, notebook);
}

/*
 * Records, before a request that changes an object in place, that what the
 * ledger says of it may be wrong from now on.  Otherwise a crash after the
 * request, and a source that goes back to its old state, would leave the
 * object changed for ever.
 */
void
rmsync_notion_doubt(NotionJob *nj, RmsyncItem *item, bool content)
{
	RmsyncLedger *ledger = &item->ledger;
	NotionPage *page = item->plan;

	if (page != NULL && page->shape.title != NULL && item->present)
	{
		page->shape.title = NULL;
		rmsync_notion_page_meta(nj, item);
		nj->commit = true;
	}
	if (ledger->placement_hash[0] == '\0' &&
		(!content || ledger->content_hash[0] == '\0'))
		return;
	ledger->placement_hash[0] = '\0';
	if (content)
		ledger->content_hash[0] = '\0';
	ledger->success = false;
	touch(nj, item);
	nj->commit = true;
}

/*
 * The same for a toggle whose blocks are about to be changed, some of them
 * and one by one: until that is done, what stands in it may be of either
 * version, and of the one before if that was in doubt, too.
 */
void
rmsync_notion_doubt_edit(NotionJob *nj, NotionPage *page, const char *prints,
						 const char *touched, bool title, bool append)
{
	RmsyncLedger *ledger = &page->item->ledger;

	if (page->next == NULL)
		page->touched = NULL;
	else
		rmsync_notion_set_shape(nj, &page->shape,
								psprintf("%s%s%s", page->shape.prints,
										 *page->shape.prints ? " " : "",
										 page->next),
								page->shape.title);
	page->next = rmsync_notion_keep(nj, prints);
	if (touched != NULL)
		page->touched =
			rmsync_notion_keep(nj, psprintf("%s %s",
											page->touched ? page->touched : "",
											touched));
	page->lost = append;
	ledger->content_hash[0] = '\0';
	if (title)
	{
		ledger->placement_hash[0] = '\0';
		page->shape.title = NULL;
	}
	ledger->success = false;
	rmsync_notion_page_meta(nj, page->item);
	nj->commit = true;
}

void
rmsync_notion_set_lost(NotionJob *nj, NotionPage *page, bool lost)
{
	if (page->lost == lost)
		return;
	page->lost = lost;
	rmsync_notion_page_meta(nj, page->item);
}

void
rmsync_notion_mark_removed(NotionJob *nj, RmsyncItem *item)
{
	RmsyncLedger *ledger = &item->ledger;
	bool existed = ledger->exists;

	ledger->intent = NULL;
	ledger->exists = rmsync_notion_has_late(nj, item);
	item->dirty = existed;
	if (ledger->exists)
	{
		/* until the last look */
		ledger->external_id = NULL;
		ledger->content_hash[0] = ledger->placement_hash[0] = '\0';
		rmsync_notion_write_late(nj, item);
	}
	if (item == nj->heading)
		rmsync_notion_notebook_meta(nj);
	rmsync_item_done(nj->job, item,
					 existed ? RMSYNC_OUT_SUCCESS : RMSYNC_OUT_SKIPPED, NULL,
					 NULL);
}

void
rmsync_notion_fail_item(NotionJob *nj, RmsyncItem *item, const char *error)
{
	if (item->ledger.intent != NULL)
		rmsync_notion_set_intent(nj, item, NULL);
	rmsync_item_done(nj->job, item, RMSYNC_OUT_ITEM_ERROR, "invalid_data", error);
	nj->failures++;
}

/*
 * Queues a block for deletion.  "page" waits for it.
 */
void
rmsync_notion_delete_later(NotionJob *nj, const char *block_id, NotionPage *page)
{
	MemoryContext old;
	NotionDelete *entry;
	ListCell *cell;

	if (block_id == NULL)
		return;
	foreach (cell, nj->deletes)
	{
		entry = lfirst(cell);
		if (entry->page == page &&
			rmsync_notion_same_id(entry->block_id, block_id))
			return;
	}

	old = MemoryContextSwitchTo(nj->job->cxt);
	entry = palloc(sizeof(NotionDelete));
	entry->block_id = pstrdup(block_id);
	entry->page = page;
	nj->deletes = lappend(nj->deletes, entry);
	if (page != NULL)
		page->deletes++;
	MemoryContextSwitchTo(old);
}
