/*-------------------------------------------------------------------------
 *
 * notion_properties.c
 *	  The properties of the page that a notebook becomes.
 *
 * Called by notion_notebook.c, which sends them.  Columns are named by id;
 * those that the database does not have are left out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#include "target_notion.h"
#include "target_util.h"

#define MAX_TAGS 100
#define MAX_TAG_CHARS 100

static void
begin_property(NotionJob *nj, StringInfo buf, NotionRole role)
{
	rmsync_json_key(buf, nj->remote.column[role]);
	appendStringInfoChar(buf, '{');
}

static void
add_text(NotionJob *nj, StringInfo buf, NotionRole role, const char *type,
		 const char *text)
{
	if (nj->remote.column[role] == NULL)
		return;
	begin_property(nj, buf, role);
	rmsync_json_key(buf, type);
	rmsync_notion_rich_text(buf, text ? text : "", NULL, 0);
	appendStringInfoChar(buf, '}');
}

static void
add_date(NotionJob *nj, StringInfo buf, NotionRole role, TimestampTz at)
{
	if (nj->remote.column[role] == NULL)
		return;
	begin_property(nj, buf, role);
	rmsync_json_key(buf, "date");
	if (at == 0)
		appendStringInfoString(buf, "null");
	else
	{
		appendStringInfoChar(buf, '{');
		rmsync_json_key(buf, "start");
		rmsync_json_time(buf, at);
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoChar(buf, '}');
}

/* Cuts UTF-8 text after "max" characters. */
static void
clip(char *text, int max)
{
	while (*text != '\0' && max-- > 0)
		text += Min(strlen(text), pg_utf_mblen((unsigned char *) text));
	*text = '\0';
}

/*
 * Appends one folder as a tag.  Notion allows no commas there; the column
 * "Path" has the name as it is.
 */
static void
add_tag(StringInfo buf, const char *name, size_t len, List **seen)
{
	char *tag = pnstrdup(name, len);
	ListCell *cell;

	for (char *p = tag; *p != '\0'; p++)
	{
		if (*p == ',')
			*p = ';';
	}
	clip(tag, MAX_TAG_CHARS);
	foreach (cell, *seen)
	{
		if (strcmp(lfirst(cell), tag) == 0)
			return;
	}
	if (*seen != NIL)
		appendStringInfoChar(buf, ',');
	*seen = lappend(*seen, tag);
	appendStringInfoChar(buf, '{');
	rmsync_json_field(buf, "name", tag);
	appendStringInfoChar(buf, '}');
}

/*
 * The folders of the path, without the notebook's own name at its end.
 */
static void
add_tags(NotionJob *nj, StringInfo buf)
{
	const RmsyncSource *src = &nj->notebook->src;
	const char *p = src->path ? src->path : "";
	size_t len = strlen(p);
	size_t title_len = src->title ? strlen(src->title) : 0;
	const char *end = p + len;
	List *seen = NIL;

	if (nj->remote.column[NOTION_TAGS] == NULL)
		return;

	/* a title may contain slashes */
	if (title_len > 0 && len >= title_len &&
		strcmp(end - title_len, src->title) == 0)
		end -= title_len;
	else
	{
		while (end > p && end[-1] != '/')
			end--;
	}

	begin_property(nj, buf, NOTION_TAGS);
	rmsync_json_key(buf, "multi_select");
	appendStringInfoChar(buf, '[');
	while (p < end && list_length(seen) < MAX_TAGS)
	{
		const char *slash = memchr(p, '/', end - p);
		const char *stop = slash ? slash : end;

		if (stop > p)
			add_tag(buf, p, stop - p, &seen);
		p = stop + 1;
	}
	appendStringInfoString(buf, "]}");
}

/*
 * "properties":{...}: absolute values, so that sending them twice is
 * harmless.
 */
void
rmsync_notion_properties(NotionJob *nj, StringInfo buf)
{
	const RmsyncSource *src = &nj->notebook->src;
	bool named = src->title != NULL && *src->title != '\0';

	rmsync_json_key(buf, "properties");
	appendStringInfoChar(buf, '{');
	add_text(nj, buf, NOTION_TITLE, "title", named ? src->title : "Untitled");
	add_text(nj, buf, NOTION_ID, "rich_text", rmsync_notion_marker(nj));
	add_text(nj, buf, NOTION_HOST_UUID, "rich_text", nj->notebook->id);
	add_text(nj, buf, NOTION_PATH, "rich_text", src->path);
	add_tags(nj, buf);
	if (nj->remote.column[NOTION_PAGES] != NULL)
	{
		begin_property(nj, buf, NOTION_PAGES);
		rmsync_json_field_int(buf, "number",
							  src->page_count > 0 ? src->page_count
												  : nj->job->nsiblings);
		appendStringInfoChar(buf, '}');
	}
	add_date(nj, buf, NOTION_OPENED, src->opened_at);
	add_date(nj, buf, NOTION_MODIFIED, src->modified_at);
	add_date(nj, buf, NOTION_SYNCED, GetCurrentTimestamp());
	if (nj->remote.column[NOTION_STATUS] != NULL)
	{
		begin_property(nj, buf, NOTION_STATUS);
		rmsync_json_field_raw(buf, "select",
							  nj->failures > 0 ? "{\"name\":\"Error\"}"
											   : "{\"name\":\"Synced\"}");
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoChar(buf, '}');
}
