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

static const NotionRoleInfo roles[NOTION_ROLES] = {
	[NOTION_TITLE] = { "title", NULL, "title", NULL },
	[NOTION_ID] = { "id", "rmirror ID", "rich_text", "{\"rich_text\":{}}" },
	[NOTION_PATH] = { "path", "Path", "rich_text", "{\"rich_text\":{}}" },
	[NOTION_TAGS] = { "tags", "Tags", "multi_select", "{\"multi_select\":{}}" },
	[NOTION_PAGES] = { "pages", "Pages", "number",
					   "{\"number\":{\"format\":\"number\"}}" },
	[NOTION_OPENED] = { "last_opened", "Last Opened", "date", "{\"date\":{}}" },
	[NOTION_MODIFIED] = { "last_modified", "Last Modified", "date",
						  "{\"date\":{}}" },
	[NOTION_SYNCED] = { "synced_at", "Synced At", "date", "{\"date\":{}}" },
	[NOTION_STATUS_TYPED] = { "status_typed", "Status", "status", NULL },
	[NOTION_STATUS] = { "status", "Status", "select",
						"{\"select\":{\"options\":[{\"name\":\"Synced\",\"color\":\"green\"},"
						"{\"name\":\"Pending\",\"color\":\"yellow\"},"
						"{\"name\":\"Error\",\"color\":\"red\"}]}}" },
	[NOTION_HOST_UUID] = { "host_uuid", "UUID", "rich_text", NULL }
};

/* Id of the option of this name, NULL if there is none. */
char *
rmsync_notion_option(Jsonb *options, const char *name)
{
	for (int i = 0; i < rmsync_json_array_length(options); i++)
	{
		Jsonb *option = rmsync_json_element(options, i);
		char *its = rmsync_json_get_string(option, "name", NULL);

		if (its != NULL && pg_strcasecmp(its, name) == 0)
			return rmsync_json_get_string(option, "id", NULL);
	}
	return NULL;
}

/*
 * A column of type status has the options its user gave it.  It is ours only
 * if one of them is "Synced": else it says something else.
 */
static void
learn_status(NotionJob *nj, Jsonb *properties)
{
	NotionRemote *remote = &nj->remote;
	char *known = remote->column[NOTION_STATUS_TYPED];
	Jsonb *property = NULL;
	Jsonb *options;

	if (known != NULL)
		property = rmsync_notion_find_property(properties, known, "status");
	if (property == NULL)
		property = rmsync_json_get(properties, "Status", NULL);
	options = rmsync_json_get(property, "status", "options", NULL);
	remote->status_done =
		rmsync_notion_keep(nj, rmsync_notion_option(options, "Synced"));
	remote->status_open =
		rmsync_notion_keep(nj, rmsync_notion_option(options, "Error"));
}

static bool
wants_column(NotionJob *nj, int role)
{
	if (role == NOTION_STATUS_TYPED)
		return nj->remote.status_done != NULL;
	if (role == NOTION_STATUS)
		return nj->remote.column[NOTION_STATUS_TYPED] == NULL;
	return true;
}

/*
 * Opens the member of a column, for its value and the closing brace; false if
 * the column is not used.
 */
bool
rmsync_notion_property(NotionJob *nj, StringInfo buf, int role)
{
	if (nj->remote.column[role] == NULL)
		return false;
	rmsync_json_key(buf, nj->remote.column[role]);
	appendStringInfoChar(buf, '{');
	rmsync_json_key(buf, nj->kind->roles[role].type);
	return true;
}

void
rmsync_notion_text_property(NotionJob *nj, StringInfo buf, int role,
							const char *text)
{
	if (!rmsync_notion_property(nj, buf, role))
		return;
	rmsync_notion_rich_text(buf, text ? text : "", NULL, 0);
	appendStringInfoChar(buf, '}');
}

void
rmsync_notion_raw_property(NotionJob *nj, StringInfo buf, int role,
						   const char *json)
{
	if (!rmsync_notion_property(nj, buf, role))
		return;
	appendStringInfo(buf, "%s}", json);
}

static void
add_date(NotionJob *nj, StringInfo buf, NotionRole role, TimestampTz at)
{
	if (!rmsync_notion_property(nj, buf, role))
		return;
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

	if (!rmsync_notion_property(nj, buf, NOTION_TAGS))
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

static int
live_pages(const RmsyncJob *job)
{
	int n = 0;

	for (int i = 0; i < job->nsiblings; i++)
		n += job->siblings[i].type == RMSYNC_PAGE;
	return n;
}

static void
add_status(NotionJob *nj, StringInfo buf)
{
	const char *id =
		nj->failures > 0 ? nj->remote.status_open : nj->remote.status_done;

	rmsync_notion_raw_property(nj, buf, NOTION_STATUS,
							   nj->failures > 0 ? "{\"name\":\"Error\"}"
												: "{\"name\":\"Synced\"}");
	if (id == NULL || !rmsync_notion_property(nj, buf, NOTION_STATUS_TYPED))
		return;
	appendStringInfoChar(buf, '{');
	rmsync_json_field(buf, "id", id);
	appendStringInfoString(buf, "}}");
}

static void
notebook_properties(NotionJob *nj, StringInfo buf)
{
	const RmsyncSource *src = &nj->notebook->src;
	bool named = src->title != NULL && *src->title != '\0';
	int pages = src->page_count > 0 ? src->page_count : live_pages(nj->job);

	rmsync_notion_text_property(nj, buf, NOTION_TITLE,
								named ? src->title : "Untitled");
	rmsync_notion_text_property(nj, buf, NOTION_HOST_UUID, nj->notebook->id);
	rmsync_notion_text_property(nj, buf, NOTION_PATH, src->path);
	add_tags(nj, buf);
	rmsync_notion_raw_property(nj, buf, NOTION_PAGES, psprintf("%d", pages));
	add_date(nj, buf, NOTION_OPENED, src->opened_at);
	add_date(nj, buf, NOTION_MODIFIED, src->modified_at);
	add_date(nj, buf, NOTION_SYNCED, GetCurrentTimestamp());
	add_status(nj, buf);
}

void
rmsync_notion_properties(NotionJob *nj, StringInfo buf)
{
	rmsync_json_key(buf, "properties");
	appendStringInfoChar(buf, '{');
	rmsync_notion_text_property(nj, buf, NOTION_ID, rmsync_notion_marker(nj));
	nj->kind->properties(nj, buf);
	appendStringInfoChar(buf, '}');
}

const NotionKind rmsync_notion_notebooks = {
	.type = RMSYNC_NOTEBOOK,
	.marker = "notebook",
	.config_keys = rmsync_notion_config_keys,
	.config_hint =
		"Fields are api_token, database_id, data_source_id, page_order, page_title, highlights, todos, layout, split_pages, two_way, lost_page, edits, requests_per_minute and app_url.",
	.roles = roles,
	.nroles = NOTION_ROLES,
	.properties = notebook_properties,
	.learn = learn_status,
	.wants = wants_column
};
