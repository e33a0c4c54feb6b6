/*-------------------------------------------------------------------------
 *
 * notion_edit_plan.c
 *	  Is a change made in place, and with which requests?
 *
 * Called by notion_edit.c and notion_plan.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "markdown.h"
#include "notion_edit.h"

/*
 * A new toggle takes two writes, an append (which it may share with others)
 * and a deletion.  Up to that number an edit costs nothing more.  More writes
 * are worth it if they save comments: at least two blocks that stay for each of
 * them, and not so many that other pages have to wait, at 180 a minute.
 */
#define FEW_WRITES 2
#define MANY_WRITES 20
#define KEPT_PER_WRITE 2

/* Prints of versions in doubt that are carried along, in bytes. */
#define MAX_DOUBT 65536


/* ---- is it worth while? ---- */

static bool
few_enough(const NotionCost *cost)
{
	return cost->writes <= FEW_WRITES ||
		   (cost->writes * KEPT_PER_WRITE <= cost->kept &&
			cost->writes <= MANY_WRITES);
}

/* The blocks of the text that is wanted; false if it cannot be parsed. */
static bool
render(const RmsyncItem *item, NotionBlock **first)
{
	const char *text = item->src.text ? item->src.text : "";
	char *why = NULL;
	RmsyncDocument *doc = rmsync_markdown_parse(text, strlen(text), &why);

	if (doc == NULL)
		return false;
	*first = rmsync_notion_render(doc);
	return true;
}

/*
 * Judged by what we wrote and what is wanted, without a request.
 */
static bool
seems_small(NotionPage *page)
{
	NotionBlock *first;
	NotionPrint *known;
	NotionPrint *wanted;
	NotionCost cost;
	int nknown;
	int nwanted;

	known = rmsync_notion_prints_read(page->shape.prints, &nknown);
	if (known == NULL || !render(page->item, &first))
		return false;
	wanted = rmsync_notion_prints(first, &nwanted);
	return nknown <= NOTION_MAX_PRINTS && nwanted <= NOTION_MAX_PRINTS &&
		   nwanted - nknown <= NOTION_MAX_ARRAY &&
		   rmsync_notion_align(rmsync_notion_as_known(known, nknown), nknown,
							   wanted, nwanted, &cost) &&
		   few_enough(&cost);
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
		return page->edit >= 0 && strlen(page->shape.prints) < MAX_DOUBT &&
			   strlen(page->next) < MAX_DOUBT;
	if (page->edit == 0)
	{
		cxt = AllocSetContextCreate(CurrentMemoryContext, "rmsync notion edit",
									ALLOCSET_DEFAULT_SIZES);
		old = MemoryContextSwitchTo(cxt);
		page->edit = seems_small(page) ? 1 : -1;
		MemoryContextSwitchTo(old);
		MemoryContextDelete(cxt);
	}
	return page->edit > 0;
}

/* ---- what has to be done ---- */

static EditOp *
add_op(NotionEdit *edit, EditKind kind, const char *id)
{
	EditOp *op = &edit->ops[edit->nops++];

	op->kind = kind;
	op->id = id;
	op->body = NULL;
	op->len = 0;
	return op;
}

static void
set_body(EditOp *op, const StringInfoData *body)
{
	op->body = body->data;
	op->len = body->len;
}

static void
add_patch(NotionEdit *edit, const char *id, const NotionBlock *block)
{
	StringInfoData body;
	const char *content;

	/* {"type":"paragraph","paragraph":{... without the type */
	content = strchr(block->head, ',');
	Assert(strncmp(block->head, "{\"type\":", 8) == 0 && content != NULL);
	initStringInfo(&body);
	appendStringInfo(&body, "{%s", content + 1);

	/* what a fence said before must go, too */
	if (strncmp(content, ",\"code\":", 8) == 0 &&
		strstr(content, "\"caption\":") == NULL)
		appendStringInfoString(&body, ",\"caption\":[]");
	appendStringInfoString(&body, block->tail);
	set_body(add_op(edit, EDIT_PATCH, id), &body);
}

/*
 * An append of a run of wanted blocks behind a block.  Returns false if no
 * single request can take it.
 */
static bool
add_append(NotionEdit *edit, const char *after, int from, int to)
{
	NotionPosition position = { NOTION_AT_START, NULL };
	StringInfoData body;
	size_t bytes = 0;
	int blocks = 0;
	int written;
	bool whole;

	if (to - from > NOTION_MAX_ARRAY)
		return false;
	for (int i = from; i < to; i++)
	{
		NotionBlock *block = edit->blocks[i];

		if (block->height > NOTION_MAX_TIERS || block->fan > NOTION_MAX_ARRAY)
			return false;
		blocks += block->total;
		bytes += block->bytes + 1;
		block->next = i + 1 < to ? edit->blocks[i + 1] : NULL;
	}
	if (blocks > NOTION_MAX_BLOCKS || bytes > NOTION_MAX_BYTES)
		return false;

	if (after != NULL)
	{
		position.kind = NOTION_AFTER;
		position.after_id = after;
	}
	initStringInfo(&body);
	rmsync_notion_pack_append(edit->blocks[from], &position, &body, &written,
							  &whole);
	if (written != to - from || !whole)
		return false;
	set_body(add_op(edit, EDIT_APPEND, after), &body);
	return true;
}

/* Changed blocks and new ones, in the order of the text. */
static bool
add_wanted(NotionEdit *edit)
{
	const NotionFound **becomes = palloc0(sizeof(void *) * (edit->nwanted + 1));
	const char *after = NULL;

	for (int i = 0; i < edit->nfound; i++)
	{
		if (edit->found[i].wanted >= 0)
			becomes[edit->found[i].wanted] = &edit->found[i];
	}
	for (int j = 0; j < edit->nwanted;)
	{
		const NotionFound *f = becomes[j];
		int from = j;

		if (f != NULL)
		{
			if (!f->equal)
				add_patch(edit, f->id, edit->blocks[j]);
			after = f->id;
			j++;
			continue;
		}
		while (j < edit->nwanted && becomes[j] == NULL)
			j++;
		if (!add_append(edit, after, from, j))
			return false;
	}
	return true;
}

/*
 * The title's request.  Its marker is new, like that of any title.
 */
static void
add_title(NotionJob *nj, NotionEdit *edit)
{
	RmsyncItem *item = edit->page->item;
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"toggle\":{\"rich_text\":");
	rmsync_notion_rich_text(&body, edit->title,
							rmsync_notion_link(nj, item,
											   rmsync_notion_rm(nj, item)),
							RMSYNC_RUN_BOLD);
	appendStringInfoString(&body, "}}");
	set_body(add_op(edit, EDIT_TITLE, item->ledger.external_id), &body);
}

/* The blocks that are wanted; once per edit, and again if it is begun anew. */
static bool
load_wanted(NotionEdit *edit)
{
	NotionBlock *first;
	int n = 0;

	if (!render(edit->page->item, &first))
		return false;
	edit->wanted = rmsync_notion_prints(first, &edit->nwanted);
	edit->blocks = palloc(sizeof(NotionBlock *) * (edit->nwanted + 1));
	for (NotionBlock *block = first; block != NULL; block = block->next)
		edit->blocks[n++] = block;
	return edit->nwanted <= NOTION_MAX_PRINTS;
}

bool
rmsync_notion_edit_plan(NotionJob *nj, NotionEdit *edit)
{
	NotionPage *page = edit->page;
	bool doubt = page->next != NULL;
	const char *text = page->shape.prints;
	NotionPrint *known;
	NotionCost cost;
	int nknown;

	if (doubt)
		text = psprintf("%s %s", text, page->next);
	text += strspn(text, " ");
	known = rmsync_notion_prints_read(text, &nknown);
	if (known == NULL || !load_wanted(edit) ||
		!rmsync_notion_recognize(edit->found, edit->nfound, known, nknown, doubt) ||
		!rmsync_notion_align(edit->found, edit->nfound, edit->wanted,
							 edit->nwanted, &cost) ||
		!few_enough(&cost))
		return false;

	edit->ops = palloc(sizeof(EditOp) * (edit->nfound + edit->nwanted + 1));
	edit->nops = edit->at = 0;
	if (!add_wanted(edit))
		return false;
	if (!rmsync_notion_title_stays(nj, page))
		add_title(nj, edit);
	for (int i = 0; i < edit->nfound; i++)
	{
		if (edit->found[i].wanted < 0 && edit->found[i].whose == NOTION_OURS)
			add_op(edit, EDIT_DELETE, edit->found[i].id);
	}
	return true;
}
