/*-------------------------------------------------------------------------
 *
 * notion_compact.c
 *	  Layout "compact": a page is one block.
 *
 * A free workspace with several members may create 1,000 blocks, ever: deleting
 * gives none back.  So here a page is a paragraph, its title in bold with our
 * link and below it the text as it is, in Markdown, and a new text changes that
 * paragraph: whatever becomes of the page, it has cost one block.
 *
 * A text that one paragraph cannot hold (about 200,000 characters) becomes a
 * toggle as in the full layout; nothing is ever cut.
 *
 * Called by notion_plan.c, notion_page.c, notion_write.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fingerprint.h"
#include "notion_text.h"
#include "target_notion.h"

/* Of a rich_text array, and of what fits into a request with room to spare. */
#define MAX_ITEMS 100
#define MAX_BYTES 400000

/* Appends items; returns how many. */
static int
add_items(StringInfo buf, const char *text, size_t len, const char *link,
		  int style)
{
	int n = 0;

	while (len > 0 && n <= MAX_ITEMS && buf->len <= MAX_BYTES)
	{
		size_t cut = rmsync_notion_cut(text, len, NOTION_MAX_UNITS);

		if (buf->data[buf->len - 1] != '[')
			appendStringInfoChar(buf, ',');
		rmsync_notion_text_item(buf, text, cut, link, style);
		text += cut;
		len -= cut;
		n++;
	}
	return n;
}

char *
rmsync_notion_compact_text(NotionJob *nj, const RmsyncItem *item,
						   const char *title, const char *rm)
{
	const char *text = item->src.text ? item->src.text : "";
	size_t len = strlen(text);
	StringInfoData buf;
	int n;

	text = rmsync_py_strip(text, &len);
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	n = add_items(&buf, title, strlen(title), rmsync_notion_link(nj, item, rm),
				  RMSYNC_RUN_BOLD);
	if (len > 0)
	{
		char *below = psprintf("\n%.*s", (int) len, text);

		n += add_items(&buf, below, len + 1, NULL, 0);
		pfree(below);
	}
	appendStringInfoChar(&buf, ']');
	return n <= MAX_ITEMS && buf.len <= MAX_BYTES ? buf.data : NULL;
}

bool
rmsync_notion_is_compact(NotionJob *nj, const RmsyncItem *item)
{
	char *text;

	if (!nj->config.compact || item->type != RMSYNC_PAGE)
		return false;
	text = rmsync_notion_compact_text(nj, item, rmsync_notion_title(nj, item),
									  "000000000000");
	if (text != NULL)
		pfree(text);
	return text != NULL;
}
