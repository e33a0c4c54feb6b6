/*-------------------------------------------------------------------------
 *
 * notion_todo.c
 *	  The row that a to-do becomes, and the columns of its database.
 *
 * Called through NotionKind by notion_discover.c and notion_notebook.c, and
 * through the vtable of target_notion_todos.c by the engine.
 *
 * Whether a to-do is done is said twice: by a checkbox, and by a status
 * column, if the database has one, else by the select "Workflow".  In the
 * latter two there may be more states than ours ("In progress"): they are
 * written only when the to-do is ticked or unticked.  Tags are written once,
 * they are the reader's from then on.
 *
 * The names of the notebook and the place of the page's toggle are no part of
 * the item's hashes.  The ledger's metadata record what was sent:
 *	{"notion_page_id", "completed", "notebook": its name, "link_page",
 *	"link_block"}
 * and, where ticks are read back (notion_poll.c), "ticked", "state": what the
 * check box or the status says if that is something else than "completed".
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "target_notion.h"

#define NO_TEXT "(no text)"

static const NotionRoleInfo roles[NOTION_TODO_ROLES] = {
	[NOTION_TITLE] = { "title", NULL, "title", NULL },
	[NOTION_ID] = { "id", "rmirror ID", "rich_text", "{\"rich_text\":{}}" },
	[NOTION_TODO_COMPLETED] = { "completed", "Completed", "checkbox",
								"{\"checkbox\":{}}" },
	[NOTION_TODO_STATUS] = { "status", "Status", "status", NULL, true },
	[NOTION_TODO_WORKFLOW] = { "workflow", "Workflow", "select",
							   "{\"select\":{\"options\":[{\"name\":\"Not started\",\"color\":\"default\"},"
							   "{\"name\":\"In progress\",\"color\":\"blue\"},"
							   "{\"name\":\"Done\",\"color\":\"green\"}]}}" },
	[NOTION_TODO_NOTEBOOK] = { "notebook", "Notebook", "rich_text",
							   "{\"rich_text\":{}}" },
	[NOTION_TODO_UUID] = { "notebook_uuid", "Notebook UUID", "rich_text",
						   "{\"rich_text\":{}}" },
	[NOTION_TODO_PAGE] = { "page", "Page", "number",
						   "{\"number\":{\"format\":\"number\"}}" },
	[NOTION_TODO_WRITTEN] = { "date_written", "Date Written", "date",
							  "{\"date\":{}}" },
	[NOTION_TODO_CONFIDENCE] = { "confidence", "Confidence", "number",
								 "{\"number\":{\"format\":\"percent\"}}" },
	[NOTION_TODO_TAGS] = { "tags", "Tags", "multi_select",
						   "{\"multi_select\":{}}" },
	[NOTION_TODO_LINK] = { "link", "Link to Source", "url", "{\"url\":{}}" }
};


/* ---- a status column ---- */

/* Ids of the options of a group, for users who renamed the options. */
static Jsonb *
options_of_group(Jsonb *groups, const char *name)
{
	for (int i = 0; i < rmsync_json_array_length(groups); i++)
	{
		Jsonb *group = rmsync_json_element(groups, i);
		char *its = rmsync_json_get_string(group, "name", NULL);

		if (its != NULL && pg_strcasecmp(its, name) == 0)
			return rmsync_json_get(group, "option_ids", NULL);
	}
	return NULL;
}

static char *
option_of_group(Jsonb *groups, const char *name)
{
	return rmsync_json_as_string(
		rmsync_json_element(options_of_group(groups, name), 0));
}

/*
 * Finds out which options of a status column mean done and not done.
 */
static void
learn_status(NotionJob *nj, Jsonb *properties)
{
	NotionRemote *remote = &nj->remote;
	char *known = remote->column[NOTION_TODO_STATUS];
	Jsonb *property = NULL;
	Jsonb *options;
	Jsonb *groups;
	Jsonb *complete;
	char *type;
	char *open;
	char *done;

	remote->status_open = remote->status_done = NULL;
	remote->status_complete = NULL;
	if (known != NULL)
		property = rmsync_notion_find_property(properties, known, "status");
	if (property == NULL)
	{
		property = rmsync_json_get(properties, "Status", NULL);
		type = rmsync_json_get_string(property, "type", NULL);
		if (type == NULL || strcmp(type, "status") != 0)
			property = rmsync_notion_find_property(properties, NULL, "status");
	}
	options = rmsync_json_get(property, "status", "options", NULL);
	groups = rmsync_json_get(property, "status", "groups", NULL);

	open = rmsync_notion_option(options, "Not started");
	if (open == NULL)
		open = option_of_group(groups, "To-do");
	done = rmsync_notion_option(options, "Done");
	if (done == NULL)
		done = option_of_group(groups, "Complete");
	if (open == NULL || done == NULL)
		return;
	remote->status_open = rmsync_notion_keep(nj, open);
	remote->status_done = rmsync_notion_keep(nj, done);
	complete = options_of_group(groups, "Complete");
	if (complete != NULL)
		remote->status_complete =
			rmsync_notion_keep(nj, rmsync_json_text(complete));
}

static bool
wants_column(NotionJob *nj, int role)
{
	if (role == NOTION_TODO_STATUS)
		return !nj->config.no_status && nj->remote.status_done != NULL;
	if (role == NOTION_TODO_WORKFLOW)
		return nj->remote.column[NOTION_TODO_STATUS] == NULL;
	return true;
}


/* ---- the row ---- */

/* An id without its dashes. */
static char *
plain_id(const char *id)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (; *id != '\0'; id++)
	{
		if (*id != '-')
			appendStringInfoChar(&buf, *id);
	}
	return buf.data;
}

/*
 * Link to the toggle of the page on which the to-do was written.
 */
static void
add_link(NotionJob *nj, StringInfo buf)
{
	const RmsyncSource *src = &nj->notebook->src;

	/* a row of the host's may have a reader's link */
	if ((nj->adopting && src->link_block == NULL) ||
		!rmsync_notion_property(nj, buf, NOTION_TODO_LINK))
		return;
	if (src->link_page != NULL && src->link_block != NULL)
		rmsync_json_string(buf, psprintf("https://www.notion.so/%s#%s",
										 plain_id(src->link_page),
										 plain_id(src->link_block)));
	else
		appendStringInfoString(buf, "null");
	appendStringInfoChar(buf, '}');
}

/* The day, as a date without a time; a time would depend on the time zone. */
static void
add_written(NotionJob *nj, StringInfo buf)
{
	TimestampTz at = nj->notebook->src.written_at;
	struct pg_tm tm;
	fsec_t fsec;
	char *json = "null";

	if (at != 0 && !TIMESTAMP_NOT_FINITE(at) &&
		timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) == 0 && tm.tm_year > 0 &&
		tm.tm_year <= 9999)
		json = psprintf("{\"start\":\"%04d-%02d-%02d\"}", tm.tm_year, tm.tm_mon,
						tm.tm_mday);
	rmsync_notion_raw_property(nj, buf, NOTION_TODO_WRITTEN, json);
}

static void
add_number(NotionJob *nj, StringInfo buf, int role, bool known, double value)
{
	known = known && !isnan(value) && !isinf(value);
	rmsync_notion_raw_property(nj, buf, role,
							   known ? psprintf("%.6g", value) : "null");
}

/* Was the to-do done when it was last sent, or when we read its row? */
static bool
completion_changed(NotionJob *nj)
{
	const RmsyncItem *item = nj->notebook;
	Jsonb *metadata = NULL;

	if (nj->row_read)
		return rmsync_notion_says_done(nj, item);
	if (item->ledger.metadata != NULL)
		metadata = rmsync_json_parse(item->ledger.metadata,
									 strlen(item->ledger.metadata));
	return rmsync_json_get(metadata, "completed", NULL) == NULL ||
		   rmsync_json_get_bool(metadata, "completed", false) !=
			   item->src.completed;
}

/* Whether it is done, as far as that is ours to say. */
static void
add_completion(NotionJob *nj, StringInfo buf)
{
	const RmsyncItem *item = nj->notebook;
	bool done = item->src.completed;

	if (rmsync_notion_says_done(nj, item))
		rmsync_notion_raw_property(nj, buf, NOTION_TODO_COMPLETED,
								   done ? "true" : "false");
	if (!completion_changed(nj) &&
		!(nj->config.two_way && rmsync_notion_says_done(nj, item)))
		return;
	if (rmsync_notion_property(nj, buf, NOTION_TODO_STATUS))
	{
		appendStringInfoChar(buf, '{');
		rmsync_json_field(buf, "id",
						  done ? nj->remote.status_done : nj->remote.status_open);
		appendStringInfoString(buf, "}}");
	}
	rmsync_notion_raw_property(nj, buf, NOTION_TODO_WORKFLOW,
							   done ? "{\"name\":\"Done\"}"
									: "{\"name\":\"Not started\"}");
}

const char *
rmsync_notion_todo_title(const RmsyncItem *item)
{
	const char *text = item->src.text;

	return text != NULL && *text != '\0' ? text : NO_TEXT;
}

static void
todo_properties(NotionJob *nj, StringInfo buf)
{
	const RmsyncItem *item = nj->notebook;
	const RmsyncSource *src = &item->src;

	if (!rmsync_notion_is_marking(nj))
	{
		if (!nj->row_read || !nj->row_named)
			rmsync_notion_text_property(nj, buf, NOTION_TITLE,
										rmsync_notion_todo_title(item));
		add_completion(nj, buf);
	}
	rmsync_notion_text_property(nj, buf, NOTION_TODO_NOTEBOOK,
								src->notebook_title);
	rmsync_notion_text_property(nj, buf, NOTION_TODO_UUID, item->notebook_uuid);
	add_number(nj, buf, NOTION_TODO_PAGE, src->page_number > 0, src->page_number);
	add_written(nj, buf);
	add_number(nj, buf, NOTION_TODO_CONFIDENCE, src->has_confidence,
			   src->confidence);
	if (item->ledger.external_id == NULL)
		rmsync_notion_raw_property(nj, buf, NOTION_TODO_TAGS,
								   "[{\"name\":\"remarkable\"}]");
	add_link(nj, buf);
}


/* ---- the ledger ---- */

static void
todo_metadata(NotionJob *nj, StringInfo buf)
{
	const RmsyncSource *src = &nj->notebook->src;
	static const char *const said[] = { "ticked", "state" };
	const char *old = nj->notebook->ledger.metadata;
	Jsonb *metadata = old ? rmsync_json_parse(old, strlen(old)) : NULL;

	rmsync_json_field_bool(buf, "completed", src->completed);
	if (nj->row_read && nj->config.two_way)
		rmsync_notion_said_otherwise(nj, buf);
	for (int i = 0; i < lengthof(said); i++)
	{
		/* nothing was written over it */
		if (!nj->created && !rmsync_notion_says_done(nj, nj->notebook) &&
			rmsync_json_get(metadata, said[i], NULL) != NULL)
			rmsync_json_field_bool(buf, said[i],
								   rmsync_json_get_bool(metadata, said[i], false));
	}
	rmsync_json_field(buf, "notebook", src->notebook_title);
	rmsync_json_field(buf, "link_page", src->link_page);
	rmsync_json_field(buf, "link_block", src->link_block);
}

static bool
differs(Jsonb *metadata, const char *key, const char *wanted)
{
	char *recorded = rmsync_json_get_string(metadata, key, NULL);

	if (recorded == NULL || wanted == NULL)
		return recorded != wanted;
	return strcmp(recorded, wanted) != 0;
}

/*
 * Does the row name another notebook, or link to another toggle, than it
 * should by now?
 */
bool
rmsync_notion_todo_outdated(const RmsyncItem *item)
{
	const RmsyncSource *src = &item->src;
	Jsonb *metadata;

	if (item->ledger.metadata == NULL)
		return false;
	metadata =
		rmsync_json_parse(item->ledger.metadata, strlen(item->ledger.metadata));
	return differs(metadata, "notebook", src->notebook_title) ||
		   differs(metadata, "link_page", src->link_page) ||
		   differs(metadata, "link_block", src->link_block);
}

const NotionKind rmsync_notion_todos = {
	.type = RMSYNC_TODO,
	.marker = "todo",
	.config_keys = rmsync_notion_todos_config_keys,
	.config_hint =
		"Fields are api_token, database_id, data_source_id, use_status_property, two_way, requests_per_minute and app_url.",
	.roles = roles,
	.nroles = NOTION_TODO_ROLES,
	.properties = todo_properties,
	.learn = learn_status,
	.wants = wants_column,
	.metadata = todo_metadata,
	.outdated = rmsync_notion_todo_outdated
};
