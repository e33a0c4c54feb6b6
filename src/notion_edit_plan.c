/*-------------------------------------------------------------------------
 *
 * notion_edit_plan.c
 *	  What is there, what is wanted, and the requests in between.
 *
 * Called by notion_edit.c.  The toggle is compared first.  Only where what is
 * below one of its blocks is not as wanted, or nobody knows, is that listed and
 * compared, too, and so on down.  No request is made before all is compared,
 * and nothing must be planned for a block that is not certain to be ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "notion_edit.h"


/* ---- comparing ---- */

static EditLevel *
add_level(NotionEdit *edit, EditLevel *up, const char *parent,
		  NotionBlock *first, const NotionPrint *wanted, int nwanted)
{
	EditLevel *level = palloc0(sizeof(EditLevel));
	int n = 0;

	level->up = up;
	level->parent = parent;
	level->wanted = wanted;
	level->nwanted = nwanted;
	level->blocks = palloc(sizeof(NotionBlock *) * (nwanted + 1));
	for (NotionBlock *block = first; block != NULL; block = block->next)
		level->blocks[n++] = block;
	Assert(n == nwanted);
	if (edit->levels == NULL)
		edit->levels = level;
	else
		edit->last->next = level;
	edit->last = level;
	return level;
}

bool
rmsync_notion_edit_begin(NotionEdit *edit)
{
	NotionPage *page = edit->page;
	const char *text = page->shape.prints;
	NotionBlock *first;
	NotionPrint *known;
	NotionPrint *wanted;
	EditLevel *level;
	int nknown;
	int nwanted;

	edit->doubt = page->next != NULL;
	if (edit->doubt)
		text = psprintf("%s %s", text, page->next);
	known = rmsync_notion_prints_read(text, &nknown);
	if (known == NULL || !rmsync_notion_edit_render(page->item, &first))
		return false;
	wanted = rmsync_notion_prints(first, &nwanted);
	if (nwanted > NOTION_MAX_PRINTS)
		return false;
	edit->pool = rmsync_notion_prints_flat(known, nknown, &edit->npool);
	edit->levels = NULL;
	edit->nfound = edit->below = 0;
	edit->thrifty = false;
	level = add_level(edit, NULL, page->item->ledger.external_id, first, wanted,
					  nwanted);
	level->must_list = true;
	level->memory.known = edit->doubt ? edit->pool : known;
	level->memory.nknown = edit->doubt ? edit->npool : nknown;
	level->memory.doubt = edit->doubt;
	level->memory.touched = edit->doubt ? page->touched : NULL;
	edit->level = level;
	return true;
}

/*
 * What is below a block is to be compared with what is wanted there.  It need
 * not be listed where nothing of ours can be: a reader's blocks stay.
 */
static void
add_below(NotionEdit *edit, EditLevel *up, const NotionFound *f)
{
	const NotionPrint *wanted = &up->wanted[f->wanted];
	EditLevel *level = add_level(edit, up, f->id, up->blocks[f->wanted]->children,
								 wanted->children, wanted->nchildren);
	bool doubt = edit->doubt || !f->below_known;

	level->must_list =
		f->has_children && (!f->below_known || f->print.below[0] != '\0');
	level->memory.known = doubt ? edit->pool : f->print.children;
	level->memory.nknown = doubt ? edit->npool : f->print.nchildren;
	level->memory.doubt = doubt;
	level->memory.touched = edit->levels->memory.touched;
	level->memory.maker = edit->levels->memory.maker;
	edit->below += level->must_list;
}

/* Tells what becomes of the blocks of a place. */
static bool
compare(NotionEdit *edit, EditLevel *level)
{
	NotionCost cost;

	if (!rmsync_notion_recognize(level->found, level->nfound, &level->memory))
		return false;
	if (level->up != NULL
			? !rmsync_notion_align(level->found, level->nfound, level->wanted,
								   level->nwanted, edit->thrifty, &cost)
			: !rmsync_notion_align_small(level->found, level->nfound,
										 level->wanted, level->nwanted,
										 &edit->thrifty, &cost))
		return false;
	for (int i = 0; i < level->nfound; i++)
	{
		const NotionFound *f = &level->found[i];

		if (f->wanted >= 0 && f->deeper)
			add_below(edit, level, f);

		/* it stays, and what is below it may be what is wanted elsewhere */
		else if (f->wanted < 0 && f->whose == NOTION_EDITED && f->has_children)
			return false;
	}
	return true;
}

bool
rmsync_notion_edit_compare(NotionEdit *edit)
{
	do
	{
		if (!compare(edit, edit->level))
			return false;
		edit->level = edit->level->next;
	} while (edit->level != NULL && !edit->level->must_list);
	return true;
}


/* ---- what has to be done ---- */

static EditOp *
add_op(NotionEdit *edit, EditKind kind, const char *id)
{
	EditOp *op;

	if (edit->nops == edit->max_ops)
	{
		edit->max_ops = Max(16, edit->max_ops * 2);
		edit->ops = edit->ops
						? repalloc(edit->ops, sizeof(EditOp) * edit->max_ops)
						: palloc(sizeof(EditOp) * edit->max_ops);
	}
	op = &edit->ops[edit->nops++];
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

/* Something is written here. */
static void
touch(EditLevel *level)
{
	for (; level != NULL && !level->touched; level = level->up)
		level->touched = true;
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
add_append(NotionEdit *edit, EditLevel *level, const char *after, int from, int to)
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
		NotionBlock *block = level->blocks[i];

		if (block->height > NOTION_MAX_TIERS || block->fan > NOTION_MAX_ARRAY)
			return false;
		blocks += block->total;
		bytes += block->bytes + 1;
		block->next = i + 1 < to ? level->blocks[i + 1] : NULL;
	}
	if (blocks > NOTION_MAX_BLOCKS || bytes > NOTION_MAX_BYTES)
		return false;

	if (after != NULL)
	{
		position.kind = NOTION_AFTER;
		position.after_id = after;
	}
	initStringInfo(&body);
	rmsync_notion_pack_append(level->blocks[from], &position, &body, &written,
							  &whole);
	if (written != to - from || !whole)
		return false;
	set_body(add_op(edit, EDIT_APPEND, level->parent), &body);
	return true;
}

/* Changed blocks and new ones, in the order of the text. */
static bool
add_wanted(NotionEdit *edit, EditLevel *level)
{
	const NotionFound **becomes = palloc0(sizeof(void *) * (level->nwanted + 1));
	const char *after = NULL;

	for (int i = 0; i < level->nfound; i++)
	{
		if (level->found[i].wanted >= 0)
			becomes[level->found[i].wanted] = &level->found[i];
	}
	for (int j = 0; j < level->nwanted;)
	{
		const NotionFound *f = becomes[j];
		int from = j;

		if (f != NULL)
		{
			if (!f->equal)
			{
				touch(level);
				add_patch(edit, f->id, level->blocks[j]);
			}
			after = f->id;
			j++;
			continue;
		}
		while (j < level->nwanted && becomes[j] == NULL)
			j++;
		touch(level);
		if (!add_append(edit, level, after, from, j))
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

/* What is there and not wanted. */
static void
add_deletes(NotionEdit *edit, EditLevel *level)
{
	for (int i = 0; i < level->nfound; i++)
	{
		const NotionFound *f = &level->found[i];

		if (f->wanted >= 0 || f->whose != NOTION_OURS)
			continue;
		touch(level);
		(void) add_op(edit, EDIT_DELETE, f->id);
	}
}

/* Adds what stays here as it is. */
static void
count_kept(const EditLevel *level, NotionCost *cost)
{
	for (int i = 0; i < level->nfound; i++)
	{
		const NotionFound *f = &level->found[i];

		if (f->wanted < 0)
			continue;
		cost->kept += f->equal;
		if (!f->deeper)
			cost->kept += level->wanted[f->wanted].total - 1;
	}
}

/* Now that all is known: is it still a small edit? */
static bool
stays_small(const NotionJob *nj, const NotionEdit *edit, bool title)
{
	NotionCost cost = { 0 };

	if (nj->config.fewest_requests)
		return edit->nops <= edit->page->anew;
	for (const EditLevel *level = edit->levels; level != NULL; level = level->next)
		count_kept(level, &cost);
	cost.writes = edit->nops - title;
	cost.reads = edit->below;
	return rmsync_notion_is_small(&cost);
}

bool
rmsync_notion_edit_plan(NotionJob *nj, NotionEdit *edit)
{
	bool title = !rmsync_notion_title_stays(nj, edit->page);

	edit->nops = edit->at = 0;
	for (EditLevel *level = edit->levels; level != NULL; level = level->next)
	{
		if (!add_wanted(edit, level))
			return false;
	}
	if (title)
		add_title(nj, edit);
	for (EditLevel *level = edit->levels; level != NULL; level = level->next)
		add_deletes(edit, level);
	return stays_small(nj, edit, title);
}

char *
rmsync_notion_edit_touched(const NotionEdit *edit)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const EditLevel *level = edit->levels; level != NULL; level = level->next)
	{
		if (level->touched && level->up != NULL)
			appendStringInfo(&buf, "%s%s", buf.len > 0 ? " " : "", level->parent);
	}
	return buf.len > 0 ? buf.data : NULL;
}
