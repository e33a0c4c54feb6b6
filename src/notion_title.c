/*-------------------------------------------------------------------------
 *
 * notion_title.c
 *	  What stands above a page's text.
 *
 * The configuration's "page_title" is a pattern: {n} is the page's number,
 * {title} how its text begins.  Notion cannot number by itself, so with {n} a
 * page in front of others takes a request for each of them; without it, none.
 *
 * Called by notion_plan.c, notion_page.c, notion_edit.c, notion_write.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fingerprint.h"
#include "markdown.h"
#include "notion_text.h"
#include "target_notion.h"

/* Longest {title}, and what stands for one where there is no text. */
#define MAX_TITLE_CHARS 80
#define NO_TITLE "(no text)"

#define TITLE_HASH_LEN 12

/* The text of a block's runs up to the end of its first line. */
static char *
first_line(const RmsyncBlock *block)
{
	StringInfoData buf;
	char *start;

	initStringInfo(&buf);
	for (const RmsyncRun *run = block->runs; run != NULL; run = run->next)
		appendBinaryStringInfo(&buf, run->text, run->len);
	start = buf.data + strspn(buf.data, " \t\r\n");
	start[strcspn(start, "\r\n")] = '\0';
	for (size_t len = strlen(start); len > 0 && start[len - 1] == ' ';)
		start[--len] = '\0';
	return start;
}

/*
 * The first block with a text, of headings only or of all; in the order of
 * the document.  NULL if there is none.
 */
static char *
find_line(const RmsyncBlock *block, bool headings)
{
	for (; block != NULL; block = block->next)
	{
		char *line;

		if (!headings || block->type == RMSYNC_BLOCK_HEADING)
		{
			line = first_line(block);
			if (*line != '\0')
				return line;
		}
		line = find_line(block->children, headings);
		if (line != NULL)
			return line;
	}
	return NULL;
}

/* The first heading, else the first line, without its markup. */
static char *
title_of_text(const RmsyncItem *item)
{
	const char *text = item->src.text ? item->src.text : "";
	char *why = NULL;
	RmsyncDocument *doc = rmsync_markdown_parse(text, strlen(text), &why);
	char *line = NULL;

	if (doc != NULL)
	{
		line = find_line(doc->blocks, true);
		if (line == NULL)
			line = find_line(doc->blocks, false);
	}
	if (line == NULL)
		return pstrdup(NO_TITLE);
	return rmsync_notion_clip(line, MAX_TITLE_CHARS);
}

char *
rmsync_notion_title(NotionJob *nj, const RmsyncItem *item)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *p = nj->config.page_title; *p != '\0';)
	{
		if (strncmp(p, "{n}", 3) == 0)
		{
			appendStringInfo(&buf, "%d", item->src.page_number);
			p += 3;
		}
		else if (strncmp(p, "{title}", 7) == 0)
		{
			appendStringInfoString(&buf, title_of_text(item));
			p += 7;
		}
		else
			appendStringInfoChar(&buf, *p++);
	}
	return buf.data;
}

char *
rmsync_notion_title_hash(const char *title)
{
	char hex[RMSYNC_HASH_LEN + 1];

	rmsync_sha256_hex(title, strlen(title), hex);
	return pnstrdup(hex, TITLE_HASH_LEN);
}

bool
rmsync_notion_title_stays(NotionJob *nj, const NotionPage *page)
{
	const RmsyncItem *item = page->item;
	char *title;

	if (page->shape.title == NULL)
		return strcmp(item->ledger.placement_hash, item->placement_hash) == 0 &&
			   strstr(nj->config.page_title, "{title}") == NULL;
	title = rmsync_notion_title(nj, item);
	return strcmp(rmsync_notion_title_hash(title), page->shape.title) == 0;
}
