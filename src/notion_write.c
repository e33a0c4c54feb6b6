/*-------------------------------------------------------------------------
 *
 * notion_write.c
 *	  Appends: the requests that bring the pages' texts and must happen once.
 *
 * Pages that stand next to each other and are all to be written go into one
 * append, as many as fit.  Before it is sent, every one of them gets an
 * intent, in one commit; its answer gives the toggles' ids.  A page that no
 * single request can take (nested too deeply, too long) goes alone: its
 * toggle is created with what fits, the intent says that it is incomplete,
 * and more appends follow (DEEP).  If those do not all succeed, the toggle
 * is deleted and the page begun anew: nobody has to find out how far it got.
 *
 * Called by notion_page.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "target_notion_write.h"

#define REBUILD_DELAY_MS 5000


/* ---- before an append ---- */

/*
 * What an append will have done, should its answer be lost.
 */
static void
set_append_intent(NotionJob *nj, NotionPage *page, const char *partial)
{
	RmsyncItem *item = page->item;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "op", "append");
	rmsync_json_field(&buf, "notebook", nj->notebook->id);
	rmsync_json_field(&buf, "page", rmsync_notion_part_id(nj, nj->part));
	rmsync_json_field(&buf, "rm", page->rm);
	rmsync_json_field(&buf, "prev", item->ledger.external_id);
	rmsync_json_field(&buf, "hash", item->content_hash);
	rmsync_json_field(&buf, "place", item->placement_hash);
	rmsync_json_field_bool(&buf, "whole", nj->whole);
	if (page->sending.prints != NULL)
		rmsync_json_field(&buf, "prints", page->sending.prints);
	if (page->sending.title != NULL)
		rmsync_json_field(&buf, "title", page->sending.title);
	if (page->sending.compact)
		rmsync_json_field_bool(&buf, "compact", true);
	if (page->resent > 0)
		rmsync_json_field_int(&buf, "resent", page->resent);
	if (partial != NULL)
	{
		rmsync_json_field(&buf, "new", partial);
		rmsync_json_field_bool(&buf, "building", true);
	}
	appendStringInfoChar(&buf, '}');
	rmsync_notion_set_intent(nj, item, buf.data);
}

bool
rmsync_notion_batch(NotionJob *nj)
{
	MemoryContext old;
	NotionPosition position = { NOTION_AT_END, NULL };
	StringInfoData body;
	int written;

	MemoryContextReset(nj->batch_cxt);
	old = MemoryContextSwitchTo(nj->batch_cxt);
	nj->batch = palloc(sizeof(NotionPage *) * NOTION_MAX_ARRAY);
	nj->nbatch = 0;
	rmsync_notion_collect(nj);
	if (nj->nbatch == 0)
	{
		MemoryContextSwitchTo(old);
		return false;
	}

	if (nj->anchor != NULL)
	{
		position.kind = NOTION_AFTER;
		position.after_id = rmsync_notion_slot(nj, nj->anchor)->block_id;
	}
	else if (nj->at_start && nj->part == 0 && nj->head != NULL)
	{
		position.kind = NOTION_AFTER;
		position.after_id = nj->head;
	}
	else if (nj->at_start)
		position.kind = NOTION_AT_START;

	initStringInfo(&body);
	rmsync_notion_pack_append(nj->batch[0]->toggle, &position, &body, &written,
							  &nj->whole);
	nj->body = body.data;
	nj->body_len = body.len;

	/* the packer has the last word; what it left is written next time */
	Assert(written >= 1 && written <= nj->nbatch);
	nj->nbatch = written;
	MemoryContextSwitchTo(old);

	for (int i = 0; i < nj->nbatch; i++)
		set_append_intent(nj, nj->batch[i], NULL);
	return true;
}


/* ---- after an append ---- */

void
rmsync_notion_settle(NotionJob *nj, NotionPage *page)
{
	RmsyncItem *item = page->item;

	page->synced = false;
	if (item->present && item->ready &&
		strcmp(item->ledger.content_hash, item->content_hash) == 0 &&
		strcmp(item->ledger.placement_hash, item->placement_hash) == 0)
	{
		rmsync_notion_mark_synced(nj, item);
		page->action = NOTION_PLAN_DECIDED;
	}
	else
		nj->planned = false; /* it has changed since that append */
}

void
rmsync_notion_written(NotionJob *nj, NotionPage *page, const char *id,
					  const char *content_hash, const char *placement_hash)
{
	RmsyncItem *item = page->item;
	RmsyncLedger *ledger = &item->ledger;
	char *old = ledger->external_id;

	if (rmsync_notion_same_id(old, id))
		old = NULL;
	rmsync_notion_set_external(nj, item, id);
	strlcpy(ledger->content_hash, content_hash, sizeof(ledger->content_hash));
	strlcpy(ledger->placement_hash, placement_hash,
			sizeof(ledger->placement_hash));
	rmsync_notion_set_intent(nj, item, NULL);
	page->shape = page->sending;
	rmsync_notion_delete_later(nj, old, page);
	rmsync_notion_page_meta(nj, item);
	if (page->slot >= 0)
	{
		nj->slots[page->slot].block_id = ledger->external_id;
		nj->slots[page->slot].stray = false;
	}
	rmsync_notion_drop_stray(nj, page->key);

	rmsync_notion_changed(nj, item);
	page->moved = false;
	page->partial = NULL;
	page->action = NOTION_PLAN_NONE;
}

/*
 * The pages of the batch are written, in their place.
 */
static void
batch_written(NotionJob *nj, char **ids)
{
	for (int i = 0; i < nj->nbatch; i++)
	{
		NotionPage *page = nj->batch[i];

		page->home = rmsync_notion_part_id(nj, nj->part);
		rmsync_notion_written(nj, page, ids[i], page->item->content_hash,
							  page->item->placement_hash);
		if (page->slot >= 0)
		{
			nj->slots[page->slot].kept = true;
			nj->slots[page->slot].part = nj->part;
		}
		page->synced = true;
		if (page->deletes == 0)
			rmsync_notion_settle(nj, page);
	}
	rmsync_notion_order_batch(nj);
}

void
rmsync_notion_batch_rejected(NotionJob *nj)
{
	for (int i = 0; i < nj->nbatch; i++)
		rmsync_notion_set_intent(nj, nj->batch[i]->item, NULL);
}

/*
 * The append can never work.  Either the toggle it goes behind is not there,
 * or one of the texts is refused: halving finds the one.
 */
static void
append_invalid(NotionJob *nj)
{
	static const char about_content[] = "body failed validation: body.children";

	rmsync_notion_batch_rejected(nj);
	nj->state = NOTION_WORK;
	if ((nj->anchor != NULL ||
		 (nj->at_start && nj->part == 0 && nj->head != NULL)) &&
		!nj->relisted &&
		strncmp(nj->error, about_content, strlen(about_content)) != 0)
	{
		nj->relisted = true;
		rmsync_notion_list_start(nj);
	}
	else if (nj->nbatch > 1)
	{
		for (int i = 0; i < nj->nbatch; i++)
			nj->batch[i]->cap = Max(nj->nbatch / 2, 1);
	}
	else
	{
		rmsync_notion_fail_item(nj, nj->batch[0]->item, nj->error);
		nj->batch[0]->action = NOTION_PLAN_DECIDED;
	}
}

/*
 * The toggles are there.
 */
static void
append_done(NotionJob *nj, char **ids)
{
	nj->state = NOTION_WORK;
	nj->commit = true;
	if (!nj->whole)
	{
		NotionPage *page = nj->batch[0];

		page->partial = rmsync_notion_keep(nj, ids[0]);
		page->toggle->id = page->partial;
		set_append_intent(nj, page, page->partial);
		nj->state = NOTION_DEEP;
		return;
	}
	batch_written(nj, ids);
}

void
rmsync_notion_append_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	for (int i = 0; i < nj->nbatch; i++)
		nj->batch[i]->item->requests++;
	rmsync_notion_call(nj, request, NOTION_ADD, "PATCH",
					   psprintf("/blocks/%s/children",
								rmsync_notion_part_id(nj, nj->part)),
					   nj->body, nj->body_len);
}

void
rmsync_notion_append_response(NotionJob *nj, NotionAnswer answer)
{
	char **ids = NULL;

	/*
	 * With a position the answer lists our blocks first and then those that
	 * stand behind them: only the first ones are ours.
	 */
	if (answer == NOTION_DONE || answer == NOTION_COMMITTED)
		ids = rmsync_notion_reply_ids(nj, answer, nj->nbatch);

	if (ids != NULL && answer == NOTION_DONE)
		rmsync_notion_learn_bot(nj,
								rmsync_json_element(rmsync_json_get(nj->reply,
																	"results",
																	NULL),
													0));
	if (ids != NULL)
		append_done(nj, ids);
	else if (answer == NOTION_INVALID)
		append_invalid(nj);
	else if (answer == NOTION_GONE)
	{
		rmsync_notion_batch_rejected(nj);
		nj->suspect = nj->part;
		nj->state = NOTION_CHECK;
	}
	else
		rmsync_notion_stop_unknown(nj, nj->config.append_delay
										   << Min(nj->batch[0]->resent, 4));
}


/* ---- DEEP ---- */

/*
 * Packs the next part of a page that did not fit into one request, or
 * finishes it.
 */
void
rmsync_notion_deep(NotionJob *nj)
{
	NotionPage *page = nj->batch[0];
	NotionPosition position = { NOTION_AT_END, NULL };
	NotionBlock *parent;
	MemoryContext old;
	StringInfoData body;
	bool whole;

	nj->open = rmsync_notion_next_open(page->toggle, &parent);
	if (nj->open == NULL)
	{
		batch_written(nj, &page->partial);
		nj->commit = true;
		nj->state = NOTION_WORK;
		return;
	}
	if (nj->open->id == NULL)
	{
		/* the packer leaves open only blocks whose ids an answer told */
		Assert(false);
		rmsync_notion_stop(nj, RMSYNC_FAIL_ITEM, 0, "internal_error",
						   "A block's id is not known.");
		return;
	}

	nj->open_first = nj->open->children;
	while (nj->open_first->created)
		nj->open_first = nj->open_first->next;
	old = MemoryContextSwitchTo(nj->batch_cxt);
	initStringInfo(&body);
	rmsync_notion_pack_append(nj->open_first, &position, &body, &nj->nopen,
							  &whole);
	nj->body = body.data;
	nj->body_len = body.len;
	MemoryContextSwitchTo(old);
	nj->state = NOTION_DEEP_APPEND;
}

void
rmsync_notion_deep_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	nj->batch[0]->item->requests++;
	rmsync_notion_call(nj, request, NOTION_ADD, "PATCH",
					   psprintf("/blocks/%s/children", nj->open->id), nj->body,
					   nj->body_len);
}

/*
 * The rest of a page is refused: away with what is there of it.
 */
static void
deep_invalid(NotionJob *nj, NotionPage *page)
{
	page->failure = rmsync_notion_keep(nj, nj->error);
	page->action = NOTION_PLAN_NONE;
	rmsync_notion_delete_later(nj, page->partial, page);
	nj->state = NOTION_WORK;
}

void
rmsync_notion_deep_response(NotionJob *nj, NotionAnswer answer)
{
	NotionPage *page = nj->batch[0];
	NotionBlock *block = nj->open_first;
	char **ids = NULL;

	if (answer == NOTION_DONE || answer == NOTION_COMMITTED)
		ids = rmsync_notion_reply_ids(nj, answer, nj->nopen);
	if (ids != NULL)
	{
		for (int i = 0; i < nj->nopen; i++, block = block->next)
			block->id = MemoryContextStrdup(nj->batch_cxt, ids[i]);
		nj->state = NOTION_DEEP;
	}
	else if (answer == NOTION_INVALID)
		deep_invalid(nj, page);
	else
	{
		/*
		 * Unknown, or the toggle has vanished under our hands.  The intent
		 * names the incomplete toggle: the next job deletes it.
		 */
		page->resent++;
		set_append_intent(nj, page, page->partial);
		rmsync_notion_stop_unknown(nj, REBUILD_DELAY_MS << Min(page->resent, 4));
	}
}
