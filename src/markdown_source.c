/*-------------------------------------------------------------------------
 *
 * markdown_source.c
 *	  Makes handwriting safe for a CommonMark parser, and reads source lines.
 *
 * CommonMark drops or reinterprets some text that a person wrote down as text:
 * "[1]: see Meyer" is a link definition and vanishes, "5~6 and 7~8" is struck
 * through, "2*3*4" loses its stars, an empty table cell moves its neighbours,
 * and a list nested by two spaces below "1." is not nested.  Here such places
 * are changed before parsing:
 *
 * - A character that must not act as markup is replaced by a mask byte, one
 *	 that cannot occur in UTF-8.  It is turned back wherever text leaves the
 *	 parser, so that code blocks and URLs are exact too.
 * - A mask byte that stands for nothing separates two characters.
 * - Spaces are put in front of lines below a list item that are indented by
 *	 at least two, but by less than the item's text.
 *
 * The same masks bound the work: some inputs take md4c quadratic time, so
 * the number of marks it sees in one paragraph is limited and the rest is
 * plain text.
 *
 * Called by markdown.c only.  Pure; apart from rmsync_markdown_prepare()
 * nothing allocates, as it runs below md4c's callbacks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "markdown.h"
#include "markdown_source.h"

/* Marks that md4c may see in one paragraph, and pipes in one line. */
#define MAX_MARKS 4000
#define MAX_PIPES 512

/* List items that the line being looked at may be inside of. */
#define MAX_ITEMS 128

/* The byte that stands for nothing. */
#define MASK_NOTHING 0xFF

/* Bytes that never occur in UTF-8, and what they stand for. */
static const unsigned char mask_bytes[] = { 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD,
											0xFE, 0xC0, 0xC1, 0xF5, 0xF6, 0xF7 };
static const char masked_chars[] = "[]*_~:`<!|&@";

typedef struct SourceItem
{
	int raw_mark; /* column of its mark as written */
	int raw_text; /* column of its text as written */
	int new_text; /* the same after the spaces we put in */
} SourceItem;

typedef struct SourceState
{
	StringInfo out;
	size_t spare;	 /* bytes of indentation that may still be added */
	int marks;		 /* markup characters in this paragraph so far */
	bool after_text; /* the line before may go on with this one */
	int nitems;
	SourceItem items[MAX_ITEMS];
	bool too_deep;
	char fence; /* ` or ~ while inside a fenced code block */
	int fence_len;
	int fence_min;	 /* a line indented by less is outside again */
	int fence_extra; /* spaces added in front of each of its lines */
} SourceState;

static char
mask_of(char c)
{
	const char *p = strchr(masked_chars, c);

	Assert(p != NULL && c != '\0');
	return (char) mask_bytes[p - masked_chars];
}

size_t
rmsync_markdown_unmask(char *dst, const char *src, size_t len)
{
	char *d = dst;

	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) src[i];

		if (c < 0xC0 || (c > 0xC1 && c < 0xF5))
			*d++ = src[i];
		else if (c != MASK_NOTHING)
		{
			const unsigned char *m = memchr(mask_bytes, c, sizeof(mask_bytes));

			Assert(m != NULL);
			*d++ = masked_chars[m - mask_bytes];
		}
	}
	return d - dst;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_eol(char c)
{
	return c == '\n' || c == '\r';
}

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		   (c >= 'A' && c <= 'Z');
}

const char *
rmsync_markdown_line_start(const char *begin, const char *p)
{
	while (p > begin && !is_eol(p[-1]))
		p--;
	return p;
}

const char *
rmsync_markdown_line_end(const char *p, const char *end)
{
	while (p < end && !is_eol(*p))
		p++;
	return p;
}

const char *
rmsync_markdown_next_line(const char *p, const char *end)
{
	p = rmsync_markdown_line_end(p, end);
	if (p < end && *p == '\r')
		p++;
	if (p < end && *p == '\n')
		p++;
	return p;
}

/*
 * Length of the list mark at "p", 0 if there is none.  *number is that of an
 * ordered mark, else -1.
 */
static int
list_mark(const char *p, const char *end, int *number)
{
	const char *q = p;
	int n = 0;

	*number = -1;
	if (q < end && (*q == '-' || *q == '+' || *q == '*'))
		q++;
	else
	{
		while (q < end && *q >= '0' && *q <= '9' && q - p < 9)
			n = n * 10 + (*q++ - '0');
		if (q == p || q == end || (*q != '.' && *q != ')'))
			return 0;
		q++;
		*number = n;
	}
	if (q < end && !is_blank(*q) && !is_eol(*q))
		return 0;
	return q - p;
}

/* A line of three or more of the same of - _ *, and spaces? */
static bool
is_rule(const char *p, const char *end)
{
	char c = *p;
	int n = 0;

	if (c != '-' && c != '_' && c != '*')
		return false;
	for (; p < end; p++)
	{
		if (*p == c)
			n++;
		else if (!is_blank(*p))
			return false;
	}
	return n >= 3;
}

/* Length of a code fence at "p", 0 if there is none. */
static int
fence_length(const char *p, const char *end)
{
	const char *q = p;

	if (p == end || (*p != '`' && *p != '~'))
		return 0;
	while (q < end && *q == *p)
		q++;
	if (q - p < 3 || (*p == '`' && memchr(q, '`', end - q) != NULL))
		return 0;
	return q - p;
}

bool
rmsync_markdown_is_atx(const char *p, const char *limit)
{
	int n = 0;

	while (p < limit && *p == '#')
	{
		p++;
		n++;
	}
	return n >= 1 && n <= 6 && (p == limit || is_blank(*p) || is_eol(*p));
}

/* Length of a task mark such as "[ ]" at "p" with what follows, else 0. */
static int
task_mark(const char *p, const char *end)
{
	if (end - p >= 3 && p[0] == '[' && p[2] == ']' &&
		(p[1] == ' ' || p[1] == 'x' || p[1] == 'X') &&
		(end - p == 3 || is_blank(p[3]) || is_eol(p[3])))
		return 3;
	return 0;
}

const char *
rmsync_markdown_skip_marks(const char *line, const char *limit, int *numbers,
						   int max, int *n)
{
	const char *p = line;

	*n = 0;
	for (;;)
	{
		int number;
		int len;

		while (p < limit && is_blank(*p))
			p++;
		if (p >= limit)
			return limit;
		if (*p == '>')
		{
			p++;
			continue;
		}
		len = list_mark(p, limit, &number);
		if (len == 0)
			return p + task_mark(p, limit);
		p += len;
		if (number < 0 || max == 0)
			continue;
		if (*n == max)
		{
			memmove(numbers, numbers + 1, sizeof(int) * (max - 1));
			(*n)--;
		}
		numbers[(*n)++] = number;
	}
}

const char *
rmsync_markdown_underline(const char *p, const char *end, int *count)
{
	/* A link's destination may take some lines of its own. */
	for (int i = 0; i < 8; i++)
	{
		const char *stop;
		const char *q;

		p = rmsync_markdown_next_line(p, end);
		if (p == end)
			return NULL;
		stop = rmsync_markdown_line_end(p, end);
		for (q = p; q < stop && (is_blank(*q) || *q == '>'); q++)
			;
		if (q < stop && (*q == '=' || *q == '-'))
		{
			const char *first = q;

			while (q < stop && *q == *first)
				q++;
			*count = q - first;
			while (q < stop && is_blank(*q))
				q++;
			if (q == stop)
				return first;
		}
	}
	return NULL;
}

/* Remembers the list items that begin on this line, from "p" at "col" on. */
static const char *
push_items(SourceState *s, const char *p, const char *end, int col, int extra)
{
	for (;;)
	{
		int number;
		int len;
		int mark = col;

		if (p == end || is_rule(p, end) || (len = list_mark(p, end, &number)) == 0)
			return p;
		p += len;
		col += len;
		if (p == end)
			col++;
		while (p < end && is_blank(*p))
		{
			col += (*p == '\t') ? 4 - col % 4 : 1;
			p++;
		}
		if (s->nitems < MAX_ITEMS)
		{
			SourceItem *item = &s->items[s->nitems++];

			item->raw_mark = mark;
			item->raw_text = col;
			item->new_text = col + extra;
		}
	}
}

/*
 * How many spaces the line needs in front to be part of the list item it is
 * written below.  OCR nests by two spaces whatever the width of the mark.
 */
static int
line_extra(SourceState *s, int col)
{
	SourceItem *top;
	int want;

	while (s->nitems > 0)
	{
		top = &s->items[s->nitems - 1];
		if (col >= top->raw_text || col >= top->raw_mark + 2)
			break;
		s->nitems--;
	}
	if (s->nitems == 0)
		return 0;
	top = &s->items[s->nitems - 1];
	want = top->new_text;
	if (col > top->raw_text)
		want += col - top->raw_text;
	return Max(want - col, 0);
}

/* Inside a code fence: is the line still in it?  Sets *extra if so. */
static bool
line_in_fence(SourceState *s, const char *p, const char *end, int col, int *extra)
{
	int len;

	if (col < s->fence_min)
	{
		s->fence = '\0';
		return false;
	}
	*extra = s->fence_extra;
	len = (*p == s->fence) ? fence_length(p, end) : 0;
	if (len >= s->fence_len)
	{
		for (p += len; p < end && is_blank(*p); p++)
			;
		if (p == end)
		{
			s->fence = '\0';
			s->after_text = false;
		}
	}
	return true;
}

/*
 * Does the line open more containers than a document may have?  md4c would
 * find out too, but takes quadratic time for it.
 */
static bool
is_too_deep(const char *p, const char *end)
{
	int number;
	int depth = 0;

	for (; p < end; p++)
	{
		if (*p == '>')
			depth++;
		else if (!is_blank(*p))
		{
			int len = list_mark(p, end, &number);

			if (len == 0)
				break;
			depth++;
			p += len - 1;
		}
	}
	return depth > RMSYNC_MARKDOWN_MAX_DEPTH;
}

/* Keeps track of lists and fences; returns the spaces to put in front. */
static int
look_at_line(SourceState *s, const char *line, const char *end)
{
	const char *p = line;
	int col = 0;
	int extra = 0;
	int number;
	bool block;

	for (; p < end && is_blank(*p); p++)
		col += (*p == '\t') ? 4 - col % 4 : 1;
	if (p == end)
	{
		s->after_text = false;
		s->marks = 0;
		return 0;
	}
	if (s->fence && line_in_fence(s, p, end, col, &extra))
		return extra;

	if (!is_rule(p, end) && is_too_deep(p, end))
	{
		s->too_deep = true;
		return 0;
	}
	block = is_rule(p, end) || rmsync_markdown_is_atx(p, end) || *p == '>' ||
			fence_length(p, end) > 0;
	if (!block && list_mark(p, end, &number) == 0 && s->after_text)
		return 0; /* goes on with the line before, however indented */

	extra = line_extra(s, col);
	s->after_text = !block || *p == '>';
	s->marks = 0;
	if (!block)
	{
		const char *text = push_items(s, p, end, col, extra);

		if (text == end)
			s->after_text = false;
		p = text;
	}
	s->fence_len = fence_length(p, end);
	if (s->fence_len > 0)
	{
		s->fence = *p;
		s->fence_extra = extra;
		s->fence_min =
			s->nitems > 0 ? s->items[s->nitems - 1].new_text - extra : 0;
		s->after_text = false;
	}
	return extra;
}

/* Must this character be taken from md4c, judged by its neighbours? */
static bool
is_literal(const char *p, const char *line, const char *end)
{
	char before = p > line ? p[-1] : '\0';
	char after = p + 1 < end ? p[1] : '\0';

	switch (*p)
	{
		case ':':
			return before == ']'; /* no link definitions */
		case '~':
			return before != '~' && after != '~' && before != '\\';
		case '*':
			return is_alnum(before) && is_alnum(after);
		default:
			return false;
	}
}

static void
put_line(SourceState *s, const char *line, const char *end)
{
	int pipes = 0;

	for (const char *p = line; p < end; p++)
	{
		bool mask;

		/* a list cannot say that it begins at 0 */
		if ((*p == '.' || *p == ')') && p > line && p[-1] == '0' &&
			(p - line < 2 || !is_alnum(p[-2])) &&
			(p + 1 == end || is_blank(p[1])))
			appendStringInfoCharMacro(s->out, (char) MASK_NOTHING);
		if (*p == '\0' || strchr(masked_chars, *p) == NULL)
		{
			appendStringInfoCharMacro(s->out, *p);
			continue;
		}
		if (*p == '|')
		{
			/* md4c 0.4 skips a cell that has no width at all */
			if (p > line && p[-1] == '|')
				appendStringInfoCharMacro(s->out, (char) MASK_NOTHING);
			mask = ++pipes > MAX_PIPES;
		}
		else
			mask = is_literal(p, line, end) || ++s->marks > MAX_MARKS;
		appendStringInfoCharMacro(s->out, mask ? mask_of(*p) : *p);
	}
}

bool
rmsync_markdown_prepare(StringInfo out, const char *text, size_t len)
{
	const char *end = text + len;
	const char *line = text;
	SourceState s = { .out = out, .spare = len + 1024 };

	if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
		line += 3;
	enlargeStringInfo(out, len + 1);
	while (line < end && !s.too_deep)
	{
		const char *stop = rmsync_markdown_line_end(line, end);
		const char *next = rmsync_markdown_next_line(line, end);
		int extra = look_at_line(&s, line, stop);

		if (extra > 0 && extra <= s.spare)
		{
			s.spare -= extra;
			appendStringInfoSpaces(out, extra);
		}
		put_line(&s, line, stop);
		appendBinaryStringInfo(out, stop, next - stop);
		line = next;
	}
	return !s.too_deep;
}
