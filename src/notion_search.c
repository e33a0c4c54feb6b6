/*-------------------------------------------------------------------------
 *
 * notion_search.c
 *	  What a connection to Notion can see: databases and pages.
 *
 * Called by rmsync_notion_refresh().  Search answers data sources and pages,
 * not databases: a database is known by its data sources.  Where one has
 * several, the database itself is asked for its title and for those that the
 * search did not know yet.  Rows of databases are left out; they are no places
 * for a new database, and there may be very many.
 *
 * The search index lags behind, and a connection may see thousands of pages:
 * the latest come first, and after MAX_REQUESTS of a kind the rest is left out,
 * which is told.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/memutils.h"

#include "notion_talk.h"

#define MAX_REQUESTS 25 /* of a hundred objects each */
#define MAX_DATABASES 100
#define MAX_URL 2000

typedef enum SearchStep
{
	SEARCH_SOURCES,
	SEARCH_PAGES,
	SEARCH_DATABASES /* those with several data sources */
} SearchStep;

typedef struct SearchState
{
	RmsyncNotionSearch *found;
	char *cursor;
	int requests;	 /* of this step */
	List *databases; /* char *: of every data source seen */
	List *several;	 /* char *: databases seen more than once */
} SearchState;

/* ---- the objects ---- */

/* The number in so many digits at a place of a text; -1 if it is none. */
static int
digits(const char *text, int at, int n)
{
	int value = 0;

	for (int i = at; i < at + n; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

/*
 * A time as the database reads it without complaint: what comes from outside
 * may be anything.  To the minute, as Notion tells it: 2026-01-02T03:04...
 */
static void
add_time(StringInfo buf, Jsonb *object)
{
	char *text = rmsync_json_get_string(object, "last_edited_time", NULL);
	int year, month, day, hour, minute;

	if (text == NULL || strlen(text) < 16)
		return;
	year = digits(text, 0, 4);
	month = digits(text, 5, 2);
	day = digits(text, 8, 2);
	hour = digits(text, 11, 2);
	minute = digits(text, 14, 2);
	if (year < 1900 || month < 1 || month > 12 || day < 1 ||
		day > day_tab[isleap(year)][month - 1] || hour < 0 || hour > 23 ||
		minute < 0 || minute > 59)
		return;
	rmsync_json_field(buf, "last_edited",
					  psprintf("%04d-%02d-%02d %02d:%02d:00+00", year, month,
							   day, hour, minute));
}

/* Members that all kinds of objects have. */
static void
add_object(StringInfo buf, const char *kind, Jsonb *object, const char *title)
{
	char *url = rmsync_json_get_string(object, "url", NULL);

	appendStringInfoString(buf, buf->len > 1 ? ",{" : "{");
	rmsync_json_field(buf, "kind", kind);
	rmsync_json_field(buf, "id",
					  rmsync_notion_dashed_id(rmsync_notion_id(object)));
	rmsync_json_field(buf, "title", title);
	if (url != NULL && strlen(url) <= MAX_URL && strncmp(url, "https://", 8) == 0)
		rmsync_json_field(buf, "url", url);
	add_time(buf, object);
}

/* Where an object stands; NULL if it is not told, or is the workspace. */
static char *
parent_of(Jsonb *object, const char *which, char **type)
{
	char *id;

	*type = rmsync_json_get_string(object, which, "type", NULL);
	if (*type == NULL)
		return NULL;
	id = rmsync_notion_valid_id(
		rmsync_json_get_string(object, which, *type, NULL));
	return id ? rmsync_notion_dashed_id(id) : NULL;
}

static void
add_parent(StringInfo buf, Jsonb *object, const char *which)
{
	char *type;
	char *id = parent_of(object, which, &type);

	if (type == NULL)
		return;
	if (strcmp(type, "page_id") == 0)
		rmsync_json_field(buf, "parent_type", "page");
	else if (strcmp(type, "block_id") == 0)
		rmsync_json_field(buf, "parent_type", "block");
	else if (strcmp(type, "workspace") == 0)
		rmsync_json_field(buf, "parent_type", "workspace");
	else
		return;
	rmsync_json_field(buf, "parent_id", id);
}

static bool
listed(List *ids, const char *id)
{
	ListCell *cell;

	foreach (cell, ids)
	{
		if (strcmp(lfirst(cell), id) == 0)
			return true;
	}
	return false;
}

static void
note_database(NotionTalk *talk, const char *id)
{
	SearchState *search = talk->own;
	MemoryContext old = MemoryContextSwitchTo(talk->probe->cxt);

	if (!listed(search->databases, id))
		search->databases = lappend(search->databases, pstrdup(id));
	else if (!listed(search->several, id))
		search->several = lappend(search->several, pstrdup(id));
	MemoryContextSwitchTo(old);
}

/* Has this data source every column that a target would add otherwise? */
static bool
has_columns(NotionTalk *talk, const NotionKind *kind, Jsonb *source)
{
	NotionJob nj = { 0 };

	nj.job = &talk->job;
	nj.kind = kind;
	return rmsync_notion_has_columns(&nj, rmsync_json_get(source, "properties",
														  NULL));
}

static void
add_source(NotionTalk *talk, Jsonb *source)
{
	SearchState *search = talk->own;
	StringInfo buf = &search->found->objects;
	char *type;
	char *database = parent_of(source, "parent", &type);

	if (database == NULL || strcmp(type, "database_id") != 0)
		return;
	note_database(talk, database);
	add_object(buf, "data_source", source,
			   rmsync_notion_plain(rmsync_json_get(source, "title", NULL)));
	rmsync_json_field(buf, "database_id", database);
	add_parent(buf, source, "database_parent");
	rmsync_json_field_bool(buf, "notebooks",
						   has_columns(talk, &rmsync_notion_notebooks, source));
	rmsync_json_field_bool(buf, "todos",
						   has_columns(talk, &rmsync_notion_todos, source));
	appendStringInfoChar(buf, '}');
}

static void
add_page(NotionTalk *talk, Jsonb *page)
{
	SearchState *search = talk->own;
	StringInfo buf = &search->found->objects;
	Jsonb *properties = rmsync_json_get(page, "properties", NULL);
	char *type;
	Jsonb *title = NULL;

	(void) parent_of(page, "parent", &type);
	if (type == NULL || strcmp(type, "data_source_id") == 0 ||
		strcmp(type, "database_id") == 0)
		return;
	if (properties != NULL && JB_ROOT_IS_OBJECT(properties))
		title = rmsync_json_get(rmsync_notion_find_property(properties, NULL,
															"title"),
								"title", NULL);
	add_object(buf, "page", page, rmsync_notion_plain(title));
	add_parent(buf, page, "parent");
	appendStringInfoChar(buf, '}');
}

static void
add_database(NotionTalk *talk, Jsonb *database)
{
	SearchState *search = talk->own;
	StringInfo buf = &search->found->objects;
	Jsonb *sources = rmsync_json_get(database, "data_sources", NULL);
	const char *comma = "";

	add_object(buf, "database", database,
			   rmsync_notion_plain(rmsync_json_get(database, "title", NULL)));
	add_parent(buf, database, "parent");
	rmsync_json_key(buf, "data_sources");
	appendStringInfoChar(buf, '[');
	for (int i = 0; i < rmsync_json_array_length(sources); i++)
	{
		Jsonb *source = rmsync_json_element(sources, i);
		char *id = rmsync_notion_id(source);

		if (id == NULL)
			continue;
		appendStringInfo(buf, "%s{", comma);
		rmsync_json_field(buf, "id", rmsync_notion_dashed_id(id));
		rmsync_json_field(buf, "name",
						  rmsync_json_get_string(source, "name", NULL));
		appendStringInfoChar(buf, '}');
		comma = ",";
	}
	appendStringInfoString(buf, "]}");
}


/* ---- the steps ---- */

static void
search_request(NotionTalk *talk, RmsyncHttpRequest *request)
{
	SearchState *search = talk->own;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf,
					 "{\"filter\":{\"property\":\"object\",\"value\":\"%s\"},"
					 "\"sort\":{\"timestamp\":\"last_edited_time\","
					 "\"direction\":\"descending\"},\"page_size\":100",
					 talk->step == SEARCH_SOURCES ? "data_source" : "page");
	if (search->cursor != NULL)
		rmsync_json_field(&buf, "start_cursor", search->cursor);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_call(&talk->nj, request, NOTION_READ, "POST", "/search",
					   buf.data, buf.len);
}

static bool
plan_search(NotionTalk *talk, RmsyncHttpRequest *request)
{
	SearchState *search = talk->own;

	if (talk->step != SEARCH_DATABASES)
		search_request(talk, request);
	else if (search->several == NIL || search->requests >= MAX_DATABASES)
	{
		if (search->several != NIL)
			search->found->complete = false;
		appendStringInfoChar(&search->found->objects, ']');
		return false;
	}
	else
		rmsync_notion_call(&talk->nj, request, NOTION_READ, "GET",
						   psprintf("/databases/%s",
									(char *) linitial(search->several)),
						   NULL, 0);
	return true;
}

static void
next_step(NotionTalk *talk)
{
	SearchState *search = talk->own;

	talk->step++;
	search->cursor = NULL;
	search->requests = 0;
}

static void
read_results(NotionTalk *talk)
{
	SearchState *search = talk->own;
	NotionJob *nj = &talk->nj;
	Jsonb *results = rmsync_notion_reply_list(nj, "results");
	char *cursor = rmsync_json_get_string(nj->reply, "next_cursor", NULL);

	if (results == NULL)
		return;
	search->requests++;
	for (int i = 0; i < rmsync_json_array_length(results); i++)
	{
		Jsonb *object = rmsync_json_element(results, i);

		if (rmsync_json_get_bool(object, "in_trash", false))
			continue;
		if (talk->step == SEARCH_SOURCES)
			add_source(talk, object);
		else
			add_page(talk, object);
	}
	if (!rmsync_json_get_bool(nj->reply, "has_more", false))
		next_step(talk);
	else if (cursor == NULL)
		rmsync_notion_stop_invalid(nj);
	else if (search->requests >= MAX_REQUESTS)
	{
		search->found->complete = false;
		next_step(talk);
	}
	else
		search->cursor = rmsync_notion_keep(nj, cursor);
}

static void
read_search(NotionTalk *talk, const RmsyncHttpResponse *response)
{
	SearchState *search = talk->own;
	NotionJob *nj = &talk->nj;
	NotionAnswer answer = rmsync_notion_answer(nj, response);

	if (answer == NOTION_AGAIN || answer == NOTION_STOPPED)
		return;
	if (talk->step == SEARCH_DATABASES)
	{
		/* gone or unshared since: its data sources are known all the same */
		if (answer == NOTION_DONE && rmsync_notion_id(nj->reply) != NULL &&
			!rmsync_json_get_bool(nj->reply, "in_trash", false))
			add_database(talk, nj->reply);
		search->several = list_delete_first(search->several);
		search->requests++;
	}
	else if (answer == NOTION_DONE)
		read_results(talk);
	else
		rmsync_notion_talk_fail(talk, "invalid_request", nj->error, NULL);
}

void
rmsync_notion_search(RmsyncProbe *probe, RmsyncNotionSearch *found)
{
	NotionTalk *talk = rmsync_notion_talk(probe, &rmsync_notion_notebooks);
	MemoryContext old = MemoryContextSwitchTo(probe->cxt);
	SearchState *search = palloc0(sizeof(SearchState));

	initStringInfo(&found->objects);
	appendStringInfoChar(&found->objects, '[');
	found->complete = true;
	search->found = found;
	talk->own = search;
	talk->step = SEARCH_SOURCES;
	talk->plan = plan_search;
	talk->read = read_search;
	MemoryContextSwitchTo(old);
}
