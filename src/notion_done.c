/*-------------------------------------------------------------------------
 *
 * notion_done.c
 *	  Whether a to-do is done, as Notion says it, and when to say it there.
 *
 * Called by notion_poll.c, which reads rows and blocks, and by notion_todo.c,
 * notion_note.c and notion_ledger.c, which write them.  A row may say it twice,
 * with a check box and with a status; which of them is news is decided where
 * it is known what both said before (rmsync.remote_completion).
 *
 * Pure: it looks at answers and at the ledger, and never makes a request.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/datetime.h"

#include "target_notion.h"

#define TIME_LEN 24 /* 2026-01-01T00:00:00.000Z */


/* ---- what a request that writes may say ---- */

/*
 * A row was read of which nobody knows what was agreed on.  Where ticks are
 * read back, one that is done stays so, and is read; elsewhere the source
 * counts. Box and state may say different things: the state is written only
 * with the box, as it may be one of the reader's own.
 */
static bool
row_says_otherwise(NotionJob *nj)
{
	bool done = nj->notebook->src.completed;

	if (nj->config.two_way)
		return done && nj->row_ticked <= 0 && nj->row_state <= 0;
	if (nj->row_ticked < 0 && nj->row_state < 0)
		return true;
	return (nj->row_ticked >= 0 ? nj->row_ticked : nj->row_state) != done;
}

void
rmsync_notion_said_otherwise(NotionJob *nj, StringInfo buf)
{
	int done = nj->notebook->src.completed;

	if (row_says_otherwise(nj) ||
		(nj->row_ticked > 0 || nj->row_state > 0) != done)
		return;
	if (nj->row_ticked >= 0 && nj->row_ticked != done)
		rmsync_json_field_bool(buf, "ticked", nj->row_ticked > 0);
	if (nj->row_state >= 0 && nj->row_state != done)
		rmsync_json_field_bool(buf, "state", nj->row_state > 0);
}

bool
rmsync_notion_says_done(NotionJob *nj, const RmsyncItem *item)
{
	const char *text = item->ledger.metadata;
	Jsonb *metadata;

	if (nj->row_read && item == nj->notebook)
		return row_says_otherwise(nj);

	/* not delivered: perhaps it was, and nobody recorded it */
	if (!nj->config.two_way || !item->was_delivered || text == NULL ||
		item->ledger.external_id == NULL)
		return true;
	metadata = rmsync_json_parse(text, strlen(text));
	return rmsync_json_get(metadata, "completed", NULL) == NULL ||
		   rmsync_json_get_bool(metadata, "completed", false) !=
			   item->src.completed;
}


/* ---- times ---- */

static int
digits(const char *text, int n)
{
	int value = 0;

	for (int i = 0; i < n; i++)
		value = value * 10 + (text[i] - '0');
	return value;
}

/* A time as Notion writes it, and one that exists. */
bool
rmsync_notion_is_time(const char *text)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
	int year;
	int month;
	int day;
	int y;
	int m;
	int d;

	if (text == NULL || strlen(text) != TIME_LEN)
		return false;
	for (int i = 0; i < TIME_LEN; i++)
	{
		if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	}
	year = digits(text, 4);
	month = digits(text + 5, 2);
	day = digits(text + 8, 2);
	if (year < 1970 || month < 1 || month > 12)
		return false;
	j2date(date2j(year, month, day), &y, &m, &d);
	return y == year && m == month && d == day && digits(text + 11, 2) < 24 &&
		   digits(text + 14, 2) < 60 && digits(text + 17, 2) < 60;
}


/* ---- what rows and blocks say ---- */

static Jsonb *
row_value(NotionJob *nj, Jsonb *page, int role, const char *type)
{
	Jsonb *properties = rmsync_json_get(page, "properties", NULL);
	const char *column = nj->remote.column[role];
	Jsonb *property;

	if (column == NULL || properties == NULL || !JB_ROOT_IS_OBJECT(properties))
		return NULL;
	property = rmsync_notion_find_property(properties, column, type);
	return rmsync_json_get(property, type, NULL) == NULL ? NULL : property;
}

static bool
is_among(const char *array, const char *id)
{
	Jsonb *ids = array ? rmsync_json_parse(array, strlen(array)) : NULL;

	for (int i = 0; i < rmsync_json_array_length(ids); i++)
	{
		char *its = rmsync_json_as_string(rmsync_json_element(ids, i));

		if (its != NULL && strcmp(its, id) == 0)
			return true;
	}
	return false;
}

/* What the status column, or the select, says. */
static int
row_state(NotionJob *nj, Jsonb *page)
{
	Jsonb *status = row_value(nj, page, NOTION_TODO_STATUS, "status");
	Jsonb *workflow = row_value(nj, page, NOTION_TODO_WORKFLOW, "select");
	char *id = rmsync_json_get_string(status, "status", "id", NULL);
	char *name = rmsync_json_get_string(workflow, "select", "name", NULL);

	if (id != NULL && nj->remote.status_done != NULL)
		return strcmp(id, nj->remote.status_done) == 0 ||
			   is_among(nj->remote.status_complete, id);
	return name != NULL ? pg_strcasecmp(name, "Done") == 0 : -1;
}

/*
 * What a row or block says: -1 = nothing, 0 = not done, 1 = done.  Returns
 * false if it says nothing at all.
 */
bool
rmsync_notion_read_done(NotionJob *nj, Jsonb *object, int *ticked, int *state)
{
	bool row = nj->kind->type == RMSYNC_TODO;
	const char *key = row ? "checkbox" : "checked";
	Jsonb *box = row ? row_value(nj, object, NOTION_TODO_COMPLETED, key)
					 : rmsync_json_get(object, "to_do", NULL);

	*ticked = *state = -1;
	/* thrown away is not done */
	if (rmsync_json_get_bool(object, "in_trash", false))
		return false;
	if (rmsync_json_get(box, key, NULL) != NULL)
		*ticked = rmsync_json_get_bool(box, key, false);
	if (row)
		*state = row_state(nj, object);
	return *ticked >= 0 || *state >= 0;
}
