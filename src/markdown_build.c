/*-------------------------------------------------------------------------
 *
 * markdown_build.c
 *	  Grows the document tree for markdown.c.
 *
 * Everything here runs below md4c, a C library that knows no longjmp: nothing
 * may throw.  Memory comes from the current context without the out-of-memory
 * error, and whoever cannot go on returns -1 (or NULL) with the reason in
 * b->why.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "markdown_build.h"
#include "markdown_source.h"

int
rmsync_md_fail(MdBuilder *b, const char *why)
{
	if (b->why == NULL)
		b->why = why;
	return -1;
}

void *
rmsync_md_grab(MdBuilder *b, size_t size)
{
	void *p = palloc_extended(size, MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);

	if (p == NULL)
		rmsync_md_fail(b, "out of memory");
	return p;
}

bool
rmsync_md_in_source(const MdBuilder *b, const char *p)
{
	return p >= b->begin && p < b->end;
}

/* ----- text ----- */

static bool
room(MdBuilder *b, size_t n)
{
	size_t size = Max(b->buf_size, 1024);
	char *buf;

	while (size < b->buf_len + n)
		size *= 2;
	if (size == b->buf_size)
		return true;
	buf = rmsync_md_grab(b, size);
	if (buf == NULL)
		return false;
	if (b->buf != NULL)
	{
		memcpy(buf, b->buf, b->buf_len);
		pfree(b->buf);
	}
	b->buf = buf;
	b->buf_size = size;
	return true;
}

/* Turns the collected text into a run of the leaf. */
int
rmsync_md_flush_run(MdBuilder *b)
{
	MdLevel *level = &b->levels[b->depth];
	RmsyncRun *run;

	if (b->buf_len == 0)
		return 0;
	run = rmsync_md_grab(b, sizeof(RmsyncRun));
	if (run == NULL || (run->text = rmsync_md_grab(b, b->buf_len + 1)) == NULL)
		return -1;
	memcpy(run->text, b->buf, b->buf_len);
	run->len = b->buf_len;
	run->style =
		(b->bold ? RMSYNC_RUN_BOLD : 0) | (b->italic ? RMSYNC_RUN_ITALIC : 0) |
		(b->strike ? RMSYNC_RUN_STRIKE : 0) | (b->code ? RMSYNC_RUN_CODE : 0);
	for (int i = b->nlinks - 1; i >= 0 && run->link == NULL; i--)
	{
		run->link = b->links[i].url;
		b->links[i].used = run->link != NULL;
	}
	b->buf_len = 0;

	if (level->last_run == NULL)
		b->leaf->runs = run;
	else
		level->last_run->next = run;
	level->last_run = run;
	return 0;
}

/* ----- blocks ----- */

bool
rmsync_md_takes_text(RmsyncBlockType type)
{
	return type == RMSYNC_BLOCK_BULLET || type == RMSYNC_BLOCK_NUMBERED ||
		   type == RMSYNC_BLOCK_TODO || type == RMSYNC_BLOCK_QUOTE;
}

RmsyncBlock *
rmsync_md_open_block(MdBuilder *b, RmsyncBlockType type)
{
	MdLevel *level = &b->levels[b->depth];
	RmsyncBlock *block;

	if (b->depth >= RMSYNC_MARKDOWN_MAX_DEPTH)
	{
		rmsync_md_fail(b, RMSYNC_MD_TOO_DEEP);
		return NULL;
	}
	block = rmsync_md_grab(b, sizeof(RmsyncBlock));
	if (block == NULL)
		return NULL;
	block->type = type;
	block->parent = level->block;
	if (level->last != NULL)
		level->last->next = block;
	else if (level->block != NULL)
		level->block->children = block;
	else
		b->doc->blocks = block;
	level->before_last = level->last;
	level->last = block;
	b->doc->nblocks++;

	level = &b->levels[++b->depth];
	memset(level, 0, sizeof(MdLevel));
	level->block = block;
	b->doc->depth = Max(b->doc->depth, b->depth);
	return block;
}

void
rmsync_md_close_block(MdBuilder *b)
{
	Assert(b->depth > 0);
	b->depth--;
}

/* Removes the block closed last, a child of the open level. */
void
rmsync_md_unlink_last(MdBuilder *b)
{
	MdLevel *level = &b->levels[b->depth];

	if (level->before_last != NULL)
		level->before_last->next = NULL;
	else if (level->block != NULL)
		level->block->children = NULL;
	else
		b->doc->blocks = NULL;
	level->last = level->before_last;
	b->doc->nblocks--;
}

/*
 * Makes the place for text.  The first text of a list item or a quote is its
 * own; later paragraphs are its children.
 */
int
rmsync_md_open_leaf(MdBuilder *b, RmsyncBlockType type)
{
	MdLevel *level = &b->levels[b->depth];

	Assert(b->leaf == NULL);
	b->leaf_first = b->leaf_last = NULL;
	if (type == RMSYNC_BLOCK_PARAGRAPH && level->block != NULL &&
		rmsync_md_takes_text(level->block->type) && level->last == NULL &&
		level->last_run == NULL)
	{
		b->leaf = level->block;
		b->own_leaf = false;
		return 0;
	}
	b->leaf = rmsync_md_open_block(b, type);
	b->own_leaf = true;
	return b->leaf != NULL ? 0 : -1;
}

int
rmsync_md_close_leaf(MdBuilder *b)
{
	if (b->leaf == NULL)
		return 0;
	if (rmsync_md_flush_run(b) != 0)
		return -1;
	if (b->own_leaf)
	{
		rmsync_md_close_block(b);
		if (b->leaf->type == RMSYNC_BLOCK_PARAGRAPH && b->leaf->runs == NULL)
			rmsync_md_unlink_last(b);
	}
	b->leaf = NULL;
	return 0;
}

/* Appends literal text; a tight list item gets it without a paragraph. */
int
rmsync_md_add_text(MdBuilder *b, const char *text, size_t len)
{
	if (b->leaf == NULL && rmsync_md_open_leaf(b, RMSYNC_BLOCK_PARAGRAPH) != 0)
		return -1;
	if (!room(b, len))
		return -1;
	b->buf_len += rmsync_markdown_unmask(b->buf + b->buf_len, text, len);
	return 0;
}

int
rmsync_md_add_string(MdBuilder *b, const char *text)
{
	return rmsync_md_add_text(b, text, strlen(text));
}

/* ----- lists ----- */

/* Gives an ordered item its number, now that it has been read. */
static void
number_item(MdList *list, RmsyncBlock *item, int number)
{
	int level = 0;

	if (list->first)
	{
		list->first = false;
		list->shown = list->written = level = number;
		list->all_same = true;
	}
	else
	{
		list->shown++;
		if (number >= 0 && number != list->shown &&
			!(list->all_same && number == list->written))
			level = list->shown = number;
		if (number >= 0)
		{
			list->all_same = list->all_same && number == list->written;
			list->written = number;
		}
	}
	if (item->type == RMSYNC_BLOCK_NUMBERED)
		item->level = level;
}

/*
 * Reads the numbers of the items that began since the last text off the line
 * of "p", the first text in them; p = NULL if there was none.
 */
void
rmsync_md_number_pending(MdBuilder *b, const char *p)
{
	int numbers[RMSYNC_MARKDOWN_MAX_DEPTH];
	int n = 0;

	if (b->npending == 0)
		return;
	if (p != NULL)
		rmsync_markdown_skip_marks(rmsync_markdown_line_start(b->begin, p), p,
								   numbers, lengthof(numbers), &n);
	while (b->npending > 0)
	{
		MdList *list = &b->lists[b->pending_list[--b->npending]];
		RmsyncBlock *item = b->pending[b->npending];
		int number = n > 0 ? numbers[--n] : -1;

		if (list->first)
			number = list->shown; /* md4c told us */
		number_item(list, item, number);
	}
}

int
rmsync_md_enter_list(MdBuilder *b, bool ordered, unsigned start)
{
	MdList *list;

	if (b->nlists >= lengthof(b->lists))
		return rmsync_md_fail(b, RMSYNC_MD_TOO_DEEP);
	list = &b->lists[b->nlists++];
	list->ordered = ordered;
	list->first = true;
	list->shown = Min(start, 999999999);
	return 0;
}

int
rmsync_md_enter_item(MdBuilder *b, const MD_BLOCK_LI_DETAIL *li)
{
	bool ordered = b->nlists > 0 && b->lists[b->nlists - 1].ordered;
	RmsyncBlock *item;

	item = rmsync_md_open_block(b, li->is_task ? RMSYNC_BLOCK_TODO
								   : ordered   ? RMSYNC_BLOCK_NUMBERED
											   : RMSYNC_BLOCK_BULLET);
	if (item == NULL)
		return -1;
	item->checked = li->is_task && li->task_mark != ' ';
	if (ordered && b->npending < lengthof(b->pending))
	{
		b->pending_list[b->npending] = b->nlists - 1;
		b->pending[b->npending++] = item;
	}
	return 0;
}
