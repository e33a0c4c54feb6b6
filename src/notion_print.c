/*-------------------------------------------------------------------------
 *
 * notion_print.c
 *	  What is remembered of a block: its print.
 *
 * Called by the files of notion_edit.h and by notion_write.c.  Pure: no SPI,
 * curl or GUC.
 *
 * Notion tells of a block what type it has, its text with annotations and
 * links, a few fields, and whether it has children.  From that a "print" is
 * made, and the same one from the block as we render it, so that a block can be
 * known again by what it says.  Colours and icons are the reader's and no part
 * of a print.
 *
 * In the ledger prints are words, one for each block, with those of its
 * children in parentheses behind it:
 *
 *	b<ident><style> b<ident><style><below>(p<ident><style> p<ident><style>)
 *
 * Records that an older version has made have no parentheses, and neither have
 * texts of very many blocks: then it is known whether what is below a block is
 * as wanted, but not what it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fingerprint.h"
#include "json.h"
#include "miscadmin.h"
#include "notion_match.h"

static const struct
{
	char letter;
	bool text; /* has one, which can be changed */
	const char *type;
} kinds[] = {
	{ 'p', true, "paragraph" },
	{ '1', true, "heading_1" },
	{ '2', true, "heading_2" },
	{ '3', true, "heading_3" },
	{ '4', true, "heading_4" },
	{ 'b', true, "bulleted_list_item" },
	{ 'n', true, "numbered_list_item" },
	{ 't', true, "to_do" },
	{ 'q', true, "quote" },
	{ 'c', true, "code" },
	{ 'd', false, "divider" },
	{ 'w', false, "table" },
	{ 'r', true, "table_row" },
};


/* ---- prints ---- */

static char
kind_letter(const char *type)
{
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].type, type) == 0)
			return kinds[i].letter;
	}
	return '?';
}

bool
rmsync_notion_can_patch(char letter)
{
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (kinds[i].letter == letter)
			return kinds[i].text;
	}
	return false;
}

static void
short_hash(const StringInfoData *text, int len, char *out)
{
	char hex[RMSYNC_HASH_LEN + 1];

	rmsync_sha256_hex(text->data, text->len, hex);
	strlcpy(out, hex, len + 1);
}

static int
annotations_of(Jsonb *item)
{
	static const char *const names[] = { "bold", "italic", "strikethrough",
										 "underline", "code" };
	Jsonb *marks = rmsync_json_get(item, "annotations", NULL);
	int bits = 0;

	for (int i = 0; i < lengthof(names); i++)
	{
		if (rmsync_json_get_bool(marks, names[i], false))
			bits |= 1 << i;
	}
	return bits;
}

/*
 * Adds an array of rich text: what it says to "ident", how to "style".  Notion
 * may join and split items, so runs of one style count as one.
 */
static void
describe_text(Jsonb *items, StringInfo ident, StringInfo style)
{
	char *last = NULL;
	int run = 0;

	for (int i = 0; i < rmsync_json_array_length(items); i++)
	{
		Jsonb *item = rmsync_json_element(items, i);
		char *type = rmsync_json_get_string(item, "type", NULL);
		char *text = rmsync_json_get_string(item, "plain_text", NULL);
		char *link = rmsync_json_get_string(item, "text", "link", "url", NULL);
		char *key;

		if (text == NULL)
			text = rmsync_json_get_string(item, "text", "content", NULL);
		if (text == NULL || *text == '\0')
			continue;
		if (link == NULL)
			link = rmsync_json_get_string(item, "href", NULL);
		key = psprintf("%s|%d|%s", type ? type : "text", annotations_of(item),
					   link ? link : "");
		if (last != NULL && strcmp(last, key) != 0)
		{
			appendStringInfo(style, "%d:%s\n", run, last);
			run = 0;
		}
		last = key;
		run += strlen(text);
		appendStringInfoString(ident, text);
	}
	if (last != NULL)
		appendStringInfo(style, "%d:%s\n", run, last);
}

/*
 * Makes the print of a block in the form the API has, without what is below.
 */
static bool
describe(Jsonb *block, NotionPrint *print)
{
	static const char *const flags[] = { "checked", "has_column_header",
										 "has_row_header" };
	char *type = rmsync_json_get_string(block, "type", NULL);
	Jsonb *content = type ? rmsync_json_get(block, type, NULL) : NULL;
	Jsonb *cells;
	char *language;
	StringInfoData ident;
	StringInfoData style;

	memset(print, 0, sizeof(*print));
	if (content == NULL)
		return false;
	print->kind = kind_letter(type);
	initStringInfo(&ident);
	initStringInfo(&style);
	appendStringInfo(&ident, "%s\n", type);
	describe_text(rmsync_json_get(content, "rich_text", NULL), &ident, &style);
	cells = rmsync_json_get(content, "cells", NULL);
	for (int i = 0; i < rmsync_json_array_length(cells); i++)
	{
		describe_text(rmsync_json_element(cells, i), &ident, &style);
		appendStringInfoChar(&ident, '\t');
		appendStringInfoChar(&style, '\t');
	}
	appendStringInfoChar(&style, '\n');
	describe_text(rmsync_json_get(content, "caption", NULL), &style, &style);
	for (int i = 0; i < lengthof(flags); i++)
		appendStringInfo(&style, "%d",
						 rmsync_json_get_bool(content, flags[i], false));
	appendStringInfo(&ident, "\n%d",
					 (int) rmsync_json_get_number(content, "table_width", 0));
	language = rmsync_json_get_string(content, "language", NULL);
	appendStringInfo(&style, "%s", language ? language : "");
	short_hash(&ident, NOTION_IDENT_LEN, print->ident);
	short_hash(&style, NOTION_STYLE_LEN, print->style);
	return true;
}

static void
write_below(StringInfo buf, const NotionBlock *first)
{
	check_stack_depth();
	for (const NotionBlock *block = first; block != NULL; block = block->next)
	{
		appendStringInfo(buf, "%s%s(", block->head, block->tail);
		write_below(buf, block->children);
		appendStringInfoChar(buf, ')');
	}
}

/* See NotionPrint. */
static uint64
sketch_of(const NotionPrint *children, int n)
{
	uint64 sketch = 0;

	for (int i = 0; i < n; i++)
		sketch |= children[i].sketch |
				  UINT64CONST(1) << (strtoul(children[i].ident, NULL, 16) % 64);
	return sketch;
}

static NotionPrint *
make_prints(const NotionBlock *first, bool deep, int *n)
{
	NotionPrint *prints;
	int i = 0;

	check_stack_depth();
	*n = 0;
	for (const NotionBlock *block = first; block != NULL; block = block->next)
		(*n)++;
	prints = palloc0(sizeof(NotionPrint) * (*n + 1));
	for (const NotionBlock *block = first; block != NULL; block = block->next)
	{
		NotionPrint *print = &prints[i++];
		char *text = psprintf("%s%s", block->head, block->tail);
		Jsonb *json = rmsync_json_parse(text, strlen(text));

		CHECK_FOR_INTERRUPTS();
		if (json == NULL || !describe(json, print))
			print->kind = '?';
		print->total = block->total;
		if (block->children != NULL)
		{
			StringInfoData buf;

			initStringInfo(&buf);
			write_below(&buf, block->children);
			short_hash(&buf, NOTION_BELOW_LEN, print->below);
			pfree(buf.data);
			if (deep)
				print->children =
					make_prints(block->children, deep, &print->nchildren);
			print->sketch = sketch_of(print->children, print->nchildren);
		}
		pfree(text);
	}
	return prints;
}

NotionPrint *
rmsync_notion_prints(const NotionBlock *first, int *n)
{
	int total = 0;

	for (const NotionBlock *block = first; block != NULL; block = block->next)
		total += block->total;
	return make_prints(first, total <= NOTION_MAX_PRINTS, n);
}

int
rmsync_notion_prints_total(const NotionPrint *prints, int n)
{
	int total = 0;

	for (int i = 0; i < n; i++)
		total += prints[i].total;
	return total;
}


/* ---- in the ledger ---- */

static void
write_prints(StringInfo buf, const NotionPrint *prints, int n, bool deep)
{
	check_stack_depth();
	for (int i = 0; i < n; i++)
	{
		const NotionPrint *print = &prints[i];

		appendStringInfo(buf, "%s%c%s%s%s", i > 0 ? " " : "", print->kind,
						 print->ident, print->style, print->below);
		if (!deep || print->nchildren == 0)
			continue;
		appendStringInfoChar(buf, '(');
		write_prints(buf, print->children, print->nchildren, deep);
		appendStringInfoChar(buf, ')');
	}
}

char *
rmsync_notion_prints_text(const NotionPrint *prints, int n)
{
	StringInfoData buf;

	initStringInfo(&buf);
	write_prints(&buf, prints, n,
				 rmsync_notion_prints_total(prints, n) <= NOTION_MAX_PRINTS);
	return buf.data;
}

/* Most prints that stand side by side from here on. */
static int
count_siblings(const char *p)
{
	int depth = 0;
	int n = 1;

	for (; *p != '\0' && depth >= 0; p++)
	{
		if (*p == '(')
			depth++;
		else if (*p == ')')
			depth--;
		else if (*p == ' ' && depth == 0)
			n++;
	}
	return n;
}

/*
 * Reads prints up to the end or a closing parenthesis.  Returns NULL if that is
 * no list of prints.
 */
static NotionPrint *
read_siblings(const char **at, int *n)
{
	const int least = 1 + NOTION_IDENT_LEN + NOTION_STYLE_LEN;
	const char *p = *at;
	NotionPrint *prints = palloc0(sizeof(NotionPrint) * count_siblings(p));

	check_stack_depth();
	for (*n = 0; *p != '\0' && *p != ')'; p += strspn(p, " "))
	{
		NotionPrint *print = &prints[(*n)++];
		int len = strcspn(p, " ()");

		if (len != least && len != least + NOTION_BELOW_LEN)
			return NULL;
		print->kind = *p;
		print->total = 1;
		strlcpy(print->ident, p + 1, sizeof(print->ident));
		strlcpy(print->style, p + 1 + NOTION_IDENT_LEN, sizeof(print->style));
		if (len > least)
			strlcpy(print->below, p + least, sizeof(print->below));
		p += len;
		if (*p != '(')
			continue;
		p++;
		print->children = read_siblings(&p, &print->nchildren);
		if (print->children == NULL || *p != ')')
			return NULL;
		p++;
		print->total +=
			rmsync_notion_prints_total(print->children, print->nchildren);
		print->sketch = sketch_of(print->children, print->nchildren);
	}
	*at = p;
	return prints;
}

NotionPrint *
rmsync_notion_prints_read(const char *text, int *n)
{
	NotionPrint *prints;

	text += strspn(text, " ");
	prints = read_siblings(&text, n);
	return *text == '\0' ? prints : NULL;
}

static void
flatten(const NotionPrint *prints, int n, NotionPrint *list, int *count)
{
	check_stack_depth();
	for (int i = 0; i < n; i++)
	{
		list[(*count)++] = prints[i];
		flatten(prints[i].children, prints[i].nchildren, list, count);
	}
}

NotionPrint *
rmsync_notion_prints_flat(const NotionPrint *prints, int n, int *count)
{
	NotionPrint *list =
		palloc(sizeof(NotionPrint) * (rmsync_notion_prints_total(prints, n) + 1));

	*count = 0;
	flatten(prints, n, list, count);
	return list;
}


/* ---- in an answer ---- */

bool
rmsync_notion_read_found(Jsonb *block, NotionFound *found)
{
	char *imagined = rmsync_json_get_string(block, "imagined", NULL);
	int n;

	memset(found, 0, sizeof(*found));
	found->wanted = -1;
	found->id = rmsync_json_get_string(block, "id", NULL);
	if (found->id == NULL)
		return false;
	if (imagined != NULL)
	{
		/* for a preview, which knows prints only */
		NotionPrint *print = rmsync_notion_prints_read(imagined, &n);

		if (print == NULL || n != 1)
			return false;
		found->print = *print;
		found->has_children = print->below[0] != '\0';
		return true;
	}
	found->has_children = rmsync_json_get_bool(block, "has_children", false);
	found->created_by = rmsync_json_get_string(block, "created_by", "id", NULL);
	found->edited_by =
		rmsync_json_get_string(block, "last_edited_by", "id", NULL);
	if (!describe(block, &found->print))
		found->print.kind = '?';
	return true;
}
