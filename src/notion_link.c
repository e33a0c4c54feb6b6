/*-------------------------------------------------------------------------
 *
 * notion_link.c
 *	  Keys of the blocks in a notebook's page, and the links that carry them.
 *
 * Every block of ours links to the application: to its page, highlight or
 * to-do.  That is useful to its reader, and it is our marker: Notion keeps no
 * ids of ours, and a reader may edit all of the text.
 *
 *	page		<app>/n/<notebook>/p/<page>?rm=<marker>		key <page>
 *	highlight	<app>/n/<notebook>/h/<id>?rm=<marker>		key h/<id>
 *	to-do		<app>/n/<notebook>/t/<id>?rm=<marker>		key t/<id>
 *
 * The heading above the to-dos has the key of a to-do without an id.  Ids of
 * pages are the host's uuids, so no key means two things.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "target_notion.h"

/* Letter of an item type in links and keys. */
static char
type_letter(RmsyncItemType type)
{
	return type == RMSYNC_HIGHLIGHT ? 'h' : type == RMSYNC_TODO ? 't' : 'p';
}

char *
rmsync_notion_key(RmsyncItemType type, const char *id)
{
	if (type == RMSYNC_PAGE)
		return pstrdup(id);
	return psprintf("%c/%s", type_letter(type), id);
}

/*
 * Appends text with everything percent-encoded that a path segment may not
 * hold.
 */
void
rmsync_notion_encode(StringInfo buf, const char *text)
{
	for (; *text != '\0'; text++)
	{
		unsigned char c = (unsigned char) *text;

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			(c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.')
			appendStringInfoChar(buf, c);
		else
			appendStringInfo(buf, "%%%02X", c);
	}
}

char *
rmsync_notion_link(NotionJob *nj, const RmsyncItem *item, const char *rm)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s/n/", nj->config.app_url);
	rmsync_notion_encode(&buf, nj->notebook->id);
	appendStringInfo(&buf, "/%c/", type_letter(item->type));
	rmsync_notion_encode(&buf, item->id);
	appendStringInfo(&buf, "?rm=%s", rm);
	return buf.data;
}

static char *
decode_segment(const char *text, size_t len)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (size_t i = 0; i < len; i++)
	{
		char hex[3] = { 0 };

		if (text[i] == '%' && i + 2 < len)
		{
			memcpy(hex, text + i + 1, 2);
			if (strspn(hex, "0123456789abcdefABCDEF") == 2)
			{
				appendStringInfoChar(&buf, (char) strtol(hex, NULL, 16));
				i += 2;
				continue;
			}
		}
		appendStringInfoChar(&buf, text[i]);
	}
	return buf.data;
}

/*
 * The path segment that ends at *end, decoded; *end moves to the slash before
 * it.  NULL if there is none.
 */
static char *
segment_before(const char *url, const char **end)
{
	const char *stop = *end;
	const char *p = stop;

	while (p > url && p[-1] != '/')
		p--;
	if (p == url)
		return NULL;
	*end = p - 1;
	return decode_segment(p, stop - p);
}

/*
 * Reads such a link.  The application's address is not compared: it may have
 * changed since.
 */
static bool
read_link(const char *url, char **notebook, char **key, char **rm)
{
	const char *mark = strstr(url, "?rm=");
	const char *end = mark;
	char *id;
	char *letter;
	char *n;
	size_t len;

	if (mark == NULL)
		return false;
	len = strspn(mark + 4, "0123456789abcdef");
	if (len != RMSYNC_NOTION_RM_LEN)
		return false;

	if ((id = segment_before(url, &end)) == NULL ||
		(letter = segment_before(url, &end)) == NULL ||
		(*notebook = segment_before(url, &end)) == NULL ||
		(n = segment_before(url, &end)) == NULL || strcmp(n, "n") != 0)
		return false;

	if (strcmp(letter, "p") == 0)
		*key = id;
	else if (strcmp(letter, "h") == 0 || strcmp(letter, "t") == 0)
		*key = psprintf("%s/%s", letter, id);
	else
		return false;
	*rm = pnstrdup(mark + 4, len);
	return true;
}

/*
 * A user may have edited the texts, so that any of the runs may hold the link.
 * The notebook is compared: a user may have copied a block from another one.
 */
bool
rmsync_notion_read_marker(Jsonb *block, const char *notebook, char **key,
						  char **rm)
{
	char *type = rmsync_json_get_string(block, "type", NULL);
	Jsonb *texts = type ? rmsync_json_get(block, type, "rich_text", NULL) : NULL;
	int n = rmsync_json_array_length(texts);

	/* readers write paragraphs, too: ours begin with a link in bold */
	if (type != NULL && n > 0 && strcmp(type, "paragraph") == 0)
	{
		Jsonb *style =
			rmsync_json_get(rmsync_json_element(texts, 0), "annotations", NULL);

		n = rmsync_json_get_bool(style, "bold", false) ? 1 : 0;
	}
	for (int i = 0; i < n; i++)
	{
		Jsonb *text = rmsync_json_element(texts, i);
		char *url = rmsync_json_get_string(text, "text", "link", "url", NULL);
		char *its;

		if (url == NULL)
			url = rmsync_json_get_string(text, "href", NULL);
		if (url != NULL && read_link(url, &its, key, rm) &&
			strcmp(its, notebook) == 0 && rmsync_notion_may_be(type, *key))
			return true;
	}
	*key = *rm = NULL;
	return false;
}
