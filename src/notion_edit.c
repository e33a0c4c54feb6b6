/*-------------------------------------------------------------------------
 *
 * notion_edit.c
 *	  Changing the text of a page's toggle in place.
 *
 * A new toggle for every changed line takes the comments on all other lines
 * with it, and the links to them.  So a small change is made where it is:
 *
 *	EDIT_LIST	what stands in the toggle is read, and compared with what we
 *				wrote and with what is wanted (notion_match.c); then, where that
 *				is not certain to be the same, what is below its blocks
 *	EDIT		blocks are changed (PATCH), added (one append per run of
 *				neighbours), and those that are no more are deleted, in this
 *				order: a text is never gone before the new one is there
 *
 * Blocks that are as wanted are not touched, and neither is what a reader has
 * added.  Before the first write the ledger says, in one commit, that the
 * toggle is in doubt, what the edit may bring, and below which blocks.  A job
 * that finds it so, after a crash or an answer that was lost, reads the toggle
 * and what is below these blocks and aligns again; so nothing is sent twice,
 * and no intents are needed.  An append that may have been lost is looked for
 * twice before it is sent again, as all are.
 *
 * Whatever cannot be told for certain, or is no small change, is left to the
 * other way, a new toggle (notion_write.c).
 *
 * Called by notion_page.c and notion_plan.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "notion_edit.h"


/* How often a toggle is read before it is written anew. */
#define MAX_READS 2


/* ---- EDIT_LIST ---- */

/* The prints of what is wanted, for the ledger. */
static char *
wanted_text(const NotionEdit *edit)
{
	return rmsync_notion_prints_text(edit->levels->wanted, edit->levels->nwanted);
}

/* The toggle is written anew after all. */
static void
give_up(NotionJob *nj)
{
	NotionPage *page = nj->edit->page;

	page->edit = -1;
	page->action = NOTION_PLAN_WRITE;
	nj->state = NOTION_WORK;
}

/* There is no toggle any more: the page comes back as a new one. */
static void
toggle_gone(NotionJob *nj)
{
	NotionPage *page = nj->edit->page;

	if (rmsync_notion_look_first(nj, page->home))
		return;
	rmsync_notion_set_external(nj, page->item, NULL);
	if (page->slot >= 0)
		nj->slots[page->slot].block_id = NULL;
	nj->planned = false;
	nj->state = NOTION_WORK;
}


static void
list_start(NotionJob *nj)
{
	NotionEdit *edit = nj->edit;
	MemoryContext old = MemoryContextSwitchTo(nj->batch_cxt);

	edit->cursor = NULL;
	edit->reads++;
	nj->state = NOTION_EDIT_LIST;
	if (!rmsync_notion_edit_begin(edit))
		give_up(nj);
	MemoryContextSwitchTo(old);
}

/*
 * Begins with a page; what was in the batch's context is gone.
 */
void
rmsync_notion_edit_start(NotionJob *nj, NotionPage *page)
{
	MemoryContext old;
	NotionEdit *edit;

	MemoryContextReset(nj->batch_cxt);
	nj->nbatch = 0;
	old = MemoryContextSwitchTo(nj->batch_cxt);
	nj->edit = edit = palloc0(sizeof(NotionEdit));
	edit->page = page;
	edit->title = rmsync_notion_title(nj, page->item);
	MemoryContextSwitchTo(old);
	list_start(nj);
}

static void
list_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	NotionEdit *edit = nj->edit;
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfo(&path, "/blocks/%s/children?page_size=100",
					 edit->level->parent);
	if (edit->cursor != NULL)
	{
		appendStringInfoString(&path, "&start_cursor=");
		rmsync_notion_encode(&path, edit->cursor);
	}
	edit->page->item->requests++;
	rmsync_notion_call(nj, request, NOTION_READ, "GET", path.data, NULL, 0);
	nj->about = edit->page->item;
}

/*
 * What is to be listed is not there: the toggle, or a block that was there a
 * moment ago.
 */
static void
list_gone(NotionJob *nj)
{
	NotionEdit *edit = nj->edit;

	if (edit->level == edit->levels)
		toggle_gone(nj);
	else if (edit->reads < MAX_READS)
		list_start(nj);
	else
		give_up(nj);
}

/*
 * All lists are here.
 */
static void
planned(NotionJob *nj)
{
	NotionEdit *edit = nj->edit;
	NotionPage *page = edit->page;
	bool title = false;
	bool append = false;

	for (int i = 0; i < edit->nops; i++)
	{
		title = title || edit->ops[i].kind == EDIT_TITLE;
		append = append || edit->ops[i].kind == EDIT_APPEND;
	}
	nj->state = NOTION_EDIT;
	if (append && page->lost)
	{
		/* it is not there, and may still come: look once more */
		rmsync_notion_set_lost(nj, page, false);
		rmsync_notion_stop_unknown(nj, nj->config.append_delay);
	}
	else if (edit->nops > 0)
		rmsync_notion_doubt_edit(nj, page, wanted_text(edit),
								 rmsync_notion_edit_touched(edit), title, append);
}

/*
 * A list is complete.
 */
static void
listed(NotionJob *nj)
{
	NotionEdit *edit = nj->edit;
	MemoryContext old = MemoryContextSwitchTo(nj->batch_cxt);

	edit->cursor = NULL;
	if (!rmsync_notion_edit_compare(edit) ||
		(edit->level == NULL && !rmsync_notion_edit_plan(nj, edit)))
		give_up(nj);
	else if (edit->level == NULL)
		planned(nj);
	MemoryContextSwitchTo(old);
}

/*
 * Adds blocks to those that were found.  Returns false if that is not what is
 * in there now.
 */
static bool
add_found(NotionEdit *edit, Jsonb *results, int n)
{
	EditLevel *level = edit->level;

	if (level->nfound + n > level->max_found)
	{
		level->max_found = level->nfound + n;
		level->found =
			level->found
				? repalloc(level->found, sizeof(NotionFound) * level->max_found)
				: palloc(sizeof(NotionFound) * level->max_found);
	}
	for (int i = 0; i < n; i++)
	{
		Jsonb *block = rmsync_json_element(results, i);

		/* only live ones are listed: what they are in is in the trash */
		if (rmsync_json_get_bool(block, "in_trash", false))
			return false;
		if (rmsync_notion_read_found(block, &level->found[level->nfound]))
			level->nfound++;
	}
	edit->nfound += n;
	return true;
}

static void
list_response(NotionJob *nj, NotionAnswer answer)
{
	NotionEdit *edit = nj->edit;
	MemoryContext old;
	Jsonb *results;
	char *cursor;
	bool there;
	int n;

	if (answer != NOTION_DONE)
	{
		if (answer == NOTION_GONE)
			list_gone(nj);
		else
			give_up(nj);
		return;
	}
	results = rmsync_notion_reply_list(nj, "results");
	if (results == NULL)
		return;
	n = rmsync_json_array_length(results);
	if (edit->nfound + n > NOTION_MAX_PRINTS)
	{
		give_up(nj);
		return;
	}
	old = MemoryContextSwitchTo(nj->batch_cxt);
	there = add_found(edit, results, n);
	cursor = rmsync_json_get_string(nj->reply, "next_cursor", NULL);
	MemoryContextSwitchTo(old);
	if (!there)
		list_gone(nj);
	else if (!rmsync_json_get_bool(nj->reply, "has_more", false))
		listed(nj);
	else if (cursor == NULL || n == 0)
		rmsync_notion_stop_invalid(nj); /* half a list must not count */
	else
		edit->cursor = cursor;
}


/* ---- EDIT ---- */

/* The toggle is as wanted. */
static void
edited(NotionJob *nj)
{
	NotionEdit *edit = nj->edit;
	NotionPage *page = edit->page;

	rmsync_notion_set_shape(nj, &page->shape, wanted_text(edit),
							rmsync_notion_title_hash(edit->title));
	page->next = NULL;
	rmsync_notion_page_meta(nj, page->item);
	rmsync_notion_mark_synced(nj, page->item);
	rmsync_notion_changed(nj, page->item);
	page->action = NOTION_PLAN_DECIDED;
	nj->state = NOTION_WORK;
}

static void
op_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	NotionEdit *edit = nj->edit;
	const EditOp *op = &edit->ops[edit->at];
	RmsyncItem *item = edit->page->item;

	item->requests++;
	if (op->kind == EDIT_APPEND)
		rmsync_notion_call(nj, request, NOTION_ADD, "PATCH",
						   psprintf("/blocks/%s/children", op->id), op->body,
						   op->len);
	else
		rmsync_notion_call(nj, request, NOTION_SET,
						   op->kind == EDIT_DELETE ? "DELETE" : "PATCH",
						   psprintf("/blocks/%s", op->id), op->body, op->len);
	nj->about = item;
}

/* Are there appends left behind the one under way? */
static bool
more_appends(const NotionEdit *edit)
{
	for (int i = edit->at + 1; i < edit->nops; i++)
	{
		if (edit->ops[i].kind == EDIT_APPEND)
			return true;
	}
	return false;
}

static void
op_response(NotionJob *nj, NotionAnswer answer)
{
	NotionEdit *edit = nj->edit;
	EditKind kind = edit->ops[edit->at].kind;

	/* with the page it would come back; if that is there, look anew, once */
	if (kind == EDIT_DELETE && answer == NOTION_GONE && !edit->page->looked &&
		rmsync_notion_look_first(nj, edit->page->home))
	{
		edit->page->looked = true;
		return;
	}
	if (kind == EDIT_APPEND && answer != NOTION_UNKNOWN)
		rmsync_notion_set_lost(nj, edit->page, more_appends(edit));
	if (answer == NOTION_DONE || answer == NOTION_COMMITTED ||
		(kind == EDIT_DELETE && answer == NOTION_GONE))
		edit->at++;
	else if (answer == NOTION_UNKNOWN)
		rmsync_notion_stop_unknown(nj, nj->config.append_delay);
	else if (edit->reads < MAX_READS)
	{
		/* somebody else is at work here: what is there now? */
		list_start(nj);
	}
	else
		give_up(nj);
}


/* ---- dispatch ---- */

bool
rmsync_notion_edit_next(NotionJob *nj, RmsyncHttpRequest *request,
						RmsyncStep *step)
{
	*step = RMSYNC_STEP_REQUEST;
	if (nj->state == NOTION_EDIT_LIST)
		list_request(nj, request);
	else if (nj->edit->at < nj->edit->nops)
		op_request(nj, request);
	else
	{
		edited(nj);
		return false;
	}
	return true;
}

void
rmsync_notion_edit_response(NotionJob *nj, const RmsyncHttpResponse *response)
{
	NotionAnswer answer = rmsync_notion_answer(nj, response);

	if (answer == NOTION_STOPPED && nj->state == NOTION_EDIT &&
		nj->edit->ops[nj->edit->at].kind == EDIT_APPEND)
		rmsync_notion_set_lost(nj, nj->edit->page, false);
	if (answer == NOTION_AGAIN || answer == NOTION_STOPPED)
		return;
	if (nj->state == NOTION_EDIT_LIST)
		list_response(nj, answer);
	else
		op_response(nj, answer);
}

char *
rmsync_notion_edit_imagine(NotionJob *nj)
{
	NotionEdit *edit = nj->edit;
	const NotionMemory *memory = &edit->level->memory;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"results\":[");
	for (int i = 0; !edit->doubt && i < memory->nknown; i++)
	{
		appendStringInfo(&buf, "%s{", i > 0 ? "," : "");
		rmsync_json_field(&buf, "id",
						  psprintf("00000000-0000-4000-8000-%012d",
								   edit->nfound + i + 1));
		rmsync_json_field(&buf, "imagined",
						  rmsync_notion_prints_text(&memory->known[i], 1));
		appendStringInfoChar(&buf, '}');
	}
	appendStringInfoString(&buf, "],\"has_more\":false}");
	return buf.data;
}
