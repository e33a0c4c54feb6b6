/*-------------------------------------------------------------------------
 *
 * markdown.c
 *	  Markdown to document tree, through md4c.
 *
 * Called by the targets that render a page's text.  Pure: no SPI, settings or
 * I/O.  The rule of this file is that no word the source says is lost, even
 * where CommonMark would drop it:
 *
 * - A line of dashes below text is a divider, not the underline of a heading
 *	 (OCR writes the date that way); "===" below text stays text.
 * - A link or image whose target is not http, https or mailto stays as it is
 *	 written; one without text shows its address.
 * - Cells beyond the width of a table are kept.
 * - Numbers of a list that do not count up by one are kept.
 * - Line breaks in text stay line breaks, in code spans too.
 *
 * Everything between md_parse() and its return runs below a C library that
 * knows no longjmp: callbacks must not throw.  They allocate without the
 * out-of-memory error and give up by returning -1, with the reason in "why".
 * (0.4 misbehaves when a callback returns a positive number.)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "markdown.h"
#include "markdown_build.h"
#include "markdown_source.h"

/* A cell costs nothing in the source, so cells are counted. */
#define MAX_CELLS 2000000

/* ----- headings ----- */

/*
 * A heading made by underlining: the underline is a divider, or text.  The
 * heading's own text is a paragraph then.
 */
static int
undo_setext(MdBuilder *b)
{
	RmsyncBlock *heading = b->leaf;
	MdLevel *parent = &b->levels[b->depth - 1];
	const char *underline;
	int count;
	int n;
	const char *line = rmsync_markdown_line_start(b->begin, b->leaf_first);

	line = rmsync_markdown_skip_marks(line, b->leaf_first, NULL, 0, &n);
	while (line < b->leaf_first && (*line == ' ' || *line == '\t'))
		line++;
	if (rmsync_markdown_is_atx(line, b->end) && line < b->leaf_first)
		return 0;
	underline = rmsync_markdown_underline(b->leaf_last, b->end, &count);
	if (underline == NULL)
		return 0;

	if (*underline == '=' || count < 3)
	{
		if (rmsync_md_add_string(b, "\n") != 0 ||
			rmsync_md_add_text(b, underline, count) != 0)
			return -1;
	}
	if (rmsync_md_flush_run(b) != 0)
		return -1;
	heading->type = RMSYNC_BLOCK_PARAGRAPH;
	heading->level = 0;
	if (parent->block != NULL && rmsync_md_takes_text(parent->block->type) &&
		parent->block->children == heading && parent->block->runs == NULL)
	{
		RmsyncRun *last = b->levels[b->depth].last_run;

		rmsync_md_close_block(b);
		parent->block->runs = heading->runs;
		parent->last_run = last;
		rmsync_md_unlink_last(b);
	}
	else
		rmsync_md_close_block(b);
	b->leaf = NULL;
	if (*underline == '-' && count >= 3)
	{
		if (rmsync_md_open_block(b, RMSYNC_BLOCK_DIVIDER) == NULL)
			return -1;
		rmsync_md_close_block(b);
	}
	return 0;
}

/* ----- spans ----- */

/* Notes where text came from: numbers, underlines and rows are read there. */
static void
note_source(MdBuilder *b, const char *p, size_t len)
{
	rmsync_md_number_pending(b, p);
	if (b->leaf == NULL)
		return;
	if (b->leaf_first == NULL)
		b->leaf_first = p;
	b->leaf_last = p + len;
	if (b->leaf->type == RMSYNC_BLOCK_CELL)
	{
		b->row_text = p + len;
		b->anchor = rmsync_markdown_line_start(b->begin, p);
		b->anchor_line = b->row == 0 ? 0 : b->row + 1;
	}
}

static int
change_style(MdBuilder *b, MD_SPANTYPE type, int by)
{
	if (b->leaf != NULL && rmsync_md_flush_run(b) != 0)
		return -1;
	switch (type)
	{
		case MD_SPAN_EM:
			b->italic = Max(b->italic + by, 0);
			break;
		case MD_SPAN_STRONG:
			b->bold = Max(b->bold + by, 0);
			break;
		case MD_SPAN_DEL:
			b->strike = Max(b->strike + by, 0);
			break;
		case MD_SPAN_CODE:
			b->code = Max(b->code + by, 0);
			break;
		default:
			break;
	}
	return 0;
}

static int
begin_link(MdBuilder *b, bool image, const MD_ATTRIBUTE *href,
		   const MD_ATTRIBUTE *title)
{
	if (rmsync_md_enter_link(b, image, href, title) != 0)
		return -1;
	/* it may have no text of its own */
	if (rmsync_md_in_source(b, href->text) &&
		(b->leaf->type == RMSYNC_BLOCK_CELL ||
		 b->leaf->type == RMSYNC_BLOCK_HEADING))
		note_source(b, href->text, href->size);
	return 0;
}

static int
enter_span(MD_SPANTYPE type, void *detail, void *arg)
{
	MdBuilder *b = arg;

	if (type == MD_SPAN_A)
	{
		MD_SPAN_A_DETAIL *a = detail;

		return begin_link(b, false, &a->href, &a->title);
	}
	if (type == MD_SPAN_IMG)
	{
		MD_SPAN_IMG_DETAIL *img = detail;

		return begin_link(b, true, &img->src, &img->title);
	}
	return change_style(b, type, 1);
}

static int
leave_span(MD_SPANTYPE type, void *detail, void *arg)
{
	MdBuilder *b = arg;

	if (type == MD_SPAN_A)
	{
		MD_SPAN_A_DETAIL *a = detail;

		return rmsync_md_leave_link(b, false, &a->href, &a->title);
	}
	if (type == MD_SPAN_IMG)
	{
		MD_SPAN_IMG_DETAIL *img = detail;

		return rmsync_md_leave_link(b, true, &img->src, &img->title);
	}
	return change_style(b, type, -1);
}

static int
add_source_text(MD_TEXTTYPE type, const MD_CHAR *p, MD_SIZE len, void *arg)
{
	MdBuilder *b = arg;
	const char *source = rmsync_md_in_source(b, p) ? p : NULL;
	char decoded[8];
	int n;

	if (b->leaf == NULL && rmsync_md_open_leaf(b, RMSYNC_BLOCK_PARAGRAPH) != 0)
		return -1;
	if (source != NULL)
		note_source(b, source, len);
	if (b->nlinks > 0 && rmsync_md_start_links(b, source) != 0)
		return -1;

	switch (type)
	{
		case MD_TEXT_NULLCHAR:
			return rmsync_md_add_string(b, "\xEF\xBF\xBD");
		case MD_TEXT_BR:
		case MD_TEXT_SOFTBR:
			return rmsync_md_add_string(b, "\n");
		case MD_TEXT_ENTITY:
			n = rmsync_markdown_entity(decoded, p, len);
			return n > 0 ? rmsync_md_add_text(b, decoded, n)
						 : rmsync_md_add_text(b, p, len);
		case MD_TEXT_CODE:
			/* a line break in a code span comes as a space of md4c's own */
			if (b->code > 0 && source == NULL && len == 1 && p != NULL &&
				*p == ' ')
				return rmsync_md_add_string(b, "\n");
			return rmsync_md_add_text(b, p, len);
		default:
			return rmsync_md_add_text(b, p, len);
	}
}

/* ----- tables ----- */

static int
enter_cell(MdBuilder *b)
{
	if (++b->ncells > MAX_CELLS)
		return rmsync_md_fail(b, "tables have too many cells");
	return rmsync_md_open_leaf(b, RMSYNC_BLOCK_CELL);
}

static bool
is_nothing(char c)
{
	return c == ' ' || c == '\t' || (unsigned char) c == 0xFF;
}

/* The next pipe that is not escaped, or "stop". */
static const char *
next_pipe(const char *p, const char *stop)
{
	for (; p < stop && *p != '|'; p++)
	{
		if (*p == '\\' && p + 1 < stop)
			p++;
	}
	return p;
}

/* Start of the source line of this row, NULL if no cell ever told. */
static const char *
row_line(MdBuilder *b)
{
	int want = b->row == 0 ? 0 : b->row + 1;

	if (b->anchor == NULL)
		return NULL;
	for (; b->anchor_line < want; b->anchor_line++)
		b->anchor = rmsync_markdown_next_line(b->anchor, b->end);
	return b->anchor_line == want ? b->anchor : NULL;
}

/*
 * md4c leaves out the cells beyond the table's width.  Finds where they begin
 * in the source and adds them as they are written.
 */
static int
add_excess_cells(MdBuilder *b)
{
	const char *p = row_line(b);
	const char *stop;
	int n;

	if (p == NULL)
		return 0;
	stop = rmsync_markdown_line_end(p, b->end);
	if (b->row_text != NULL)
		p = next_pipe(b->row_text, stop);
	else
	{
		p = rmsync_markdown_skip_marks(p, stop, NULL, 0, &n);
		if (p == stop || *p != '|')
			p--; /* as if there were one */
	}
	while (p < stop)
	{
		const char *cell = p + 1;
		const char *q;

		p = next_pipe(cell, stop);
		for (; cell < p && is_nothing(*cell); cell++)
			;
		if (cell == p)
			continue;
		for (q = p; is_nothing(q[-1]); q--)
			;
		if (enter_cell(b) != 0 || rmsync_md_add_text(b, cell, q - cell) != 0 ||
			rmsync_md_close_leaf(b) != 0)
			return -1;
	}
	return 0;
}

static int
enter_row(MdBuilder *b)
{
	RmsyncBlock *row = rmsync_md_open_block(b, RMSYNC_BLOCK_ROW);

	if (row == NULL)
		return -1;
	row->checked = b->in_head;
	b->row++;
	b->row_text = NULL;
	return 0;
}

static int
enter_table(MdBuilder *b)
{
	b->row = -1;
	b->anchor = NULL;
	return rmsync_md_open_block(b, RMSYNC_BLOCK_TABLE) != NULL ? 0 : -1;
}

/* ----- code ----- */

static int
enter_code(MdBuilder *b, const MD_BLOCK_CODE_DETAIL *code)
{
	rmsync_md_number_pending(b, NULL); /* code is no place to read numbers */
	if (rmsync_md_open_leaf(b, RMSYNC_BLOCK_CODE) != 0)
		return -1;
	if (code->info.size > 0)
	{
		b->leaf->info = rmsync_md_attribute(b, &code->info);
		if (b->leaf->info == NULL)
			return -1;
	}
	return 0;
}

/* The last line's end belongs to the fence. */
static void
trim_code(MdBuilder *b)
{
	if (b->buf_len > 0 && b->buf[b->buf_len - 1] == '\n')
		b->buf_len--;
}

/* ----- md4c's block callbacks ----- */

static int
enter_block(MD_BLOCKTYPE type, void *detail, void *arg)
{
	MdBuilder *b = arg;

	/* the text a tight list item has directly ends here */
	if (rmsync_md_close_leaf(b) != 0)
		return -1;
	switch (type)
	{
		case MD_BLOCK_QUOTE:
			return rmsync_md_open_block(b, RMSYNC_BLOCK_QUOTE) != NULL ? 0 : -1;
		case MD_BLOCK_UL:
			return rmsync_md_enter_list(b, false, 0);
		case MD_BLOCK_OL:
			return rmsync_md_enter_list(b, true,
										((MD_BLOCK_OL_DETAIL *) detail)->start);
		case MD_BLOCK_LI:
			return rmsync_md_enter_item(b, detail);
		case MD_BLOCK_HR:
			return rmsync_md_open_leaf(b, RMSYNC_BLOCK_DIVIDER);
		case MD_BLOCK_H:
			if (rmsync_md_open_leaf(b, RMSYNC_BLOCK_HEADING) != 0)
				return -1;
			b->leaf->level = ((MD_BLOCK_H_DETAIL *) detail)->level;
			return 0;
		case MD_BLOCK_CODE:
			return enter_code(b, detail);
		case MD_BLOCK_P:
			return rmsync_md_open_leaf(b, RMSYNC_BLOCK_PARAGRAPH);
		case MD_BLOCK_TABLE:
			return enter_table(b);
		case MD_BLOCK_THEAD:
			b->in_head = true;
			return 0;
		case MD_BLOCK_TR:
			return enter_row(b);
		case MD_BLOCK_TH:
		case MD_BLOCK_TD:
			return enter_cell(b);
		default:
			return 0;
	}
}

static int
leave_block(MD_BLOCKTYPE type, void *detail, void *arg)
{
	MdBuilder *b = arg;
	RmsyncBlock *leaf = b->leaf;

	while (b->nlinks > 0) /* as above, the other way round */
	{
		if (rmsync_md_end_link(b) != 0)
			return -1;
	}
	if (type == MD_BLOCK_CODE)
		trim_code(b);
	if (type == MD_BLOCK_H && leaf->level <= 2 && b->leaf_first != NULL &&
		undo_setext(b) != 0)
		return -1;
	if (rmsync_md_close_leaf(b) != 0)
		return -1;
	b->bold = b->italic = b->strike = b->code = 0;
	switch (type)
	{
		case MD_BLOCK_UL:
		case MD_BLOCK_OL:
			b->nlists--;
			return 0;
		case MD_BLOCK_LI:
			rmsync_md_number_pending(b, NULL);
			rmsync_md_close_block(b);
			return 0;
		case MD_BLOCK_QUOTE:
		case MD_BLOCK_TABLE:
			rmsync_md_close_block(b);
			return 0;
		case MD_BLOCK_THEAD:
			b->in_head = false;
			return 0;
		case MD_BLOCK_TR:
			if (add_excess_cells(b) != 0)
				return -1;
			rmsync_md_close_block(b);
			return 0;
		default:
			return 0;
	}
}

RmsyncDocument *
rmsync_markdown_parse(const char *text, size_t len, char **why)
{
	static const MD_PARSER parser = {
		.flags = MD_FLAG_TABLES | MD_FLAG_STRIKETHROUGH | MD_FLAG_TASKLISTS |
				 MD_FLAG_PERMISSIVEAUTOLINKS | MD_FLAG_NOHTML |
				 MD_FLAG_NOINDENTEDCODEBLOCKS,
		.enter_block = enter_block,
		.leave_block = leave_block,
		.enter_span = enter_span,
		.leave_span = leave_span,
		.text = add_source_text,
	};
	MdBuilder *b;
	RmsyncDocument *doc;
	StringInfoData source;
	int rc;

	*why = NULL;
	if (len > RMSYNC_MARKDOWN_MAX_BYTES)
	{
		*why = psprintf("the text has %zu bytes, more than %d", len,
						RMSYNC_MARKDOWN_MAX_BYTES);
		return NULL;
	}
	initStringInfo(&source);
	if (!rmsync_markdown_prepare(&source, text, len))
	{
		*why = pstrdup(RMSYNC_MD_TOO_DEEP);
		return NULL;
	}
	b = palloc0(sizeof(MdBuilder));
	doc = b->doc = palloc0(sizeof(RmsyncDocument));
	b->begin = source.data;
	b->end = source.data + source.len;

	rc = md_parse(source.data, source.len, &parser, b);
	if (rc != 0 || b->why != NULL)
	{
		*why = pstrdup(b->why != NULL ? b->why : "out of memory");
		doc = NULL;
	}
	if (b->buf != NULL)
		pfree(b->buf);
	pfree(b);
	pfree(source.data);
	return doc;
}
