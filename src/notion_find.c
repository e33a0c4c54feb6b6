/*-------------------------------------------------------------------------
 *
 * notion_find.c
 *	  FIND: is the page of a notebook, or the row of a to-do, there already?
 *
 * Asked before anything is created: while an intent is open, at growing
 * intervals, and without one once, since a restored database may have forgotten
 * pages that are there.  Only a live page counts: what is in the trash may be
 * there since before the request (a notebook that was deleted and came back, a
 * page that the user threw away), and the times that Notion tells are cut to
 * the minute.
 *
 * What is looked for is our marker, and what the host's own sync has made,
 * which has none: pages with the notebook's uuid, rows with the notebook's uuid
 * and the to-do's text.  Of several with our marker the oldest that we have
 * made counts; the others are doubles, if we have made them, else a reader's
 * copies, which are left alone (notion_copies.c).
 *
 * Called by notion_notebook.c.  Must never take an error for an absence.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "target_notion.h"

/* Creates in a row that never arrived, before that counts as a failure. */
#define MAX_RESENT 3

static void
add_equals(StringInfo buf, const char *column, const char *type, const char *value)
{
	appendStringInfoChar(buf, '{');
	rmsync_json_field(buf, "property", column);
	rmsync_json_key(buf, type);
	appendStringInfoChar(buf, '{');
	rmsync_json_field(buf, "equals", value);
	appendStringInfoString(buf, "}}");
}

/*
 * Appends what the host's own objects are known by; false if by nothing.  The
 * longest texts it has cut, so that nothing tells them from others.
 */
static bool
add_host_filter(NotionJob *nj, StringInfo buf)
{
	const char *text = nj->notebook->src.text;
	char *const *column = nj->remote.column;

	if (nj->kind->type == RMSYNC_NOTEBOOK)
	{
		if (column[NOTION_HOST_UUID] == NULL)
			return false;
		appendStringInfoChar(buf, ',');
		add_equals(buf, column[NOTION_HOST_UUID], "rich_text", nj->notebook->id);
		return true;
	}
	if (column[NOTION_TODO_UUID] == NULL || text == NULL || *text == '\0' ||
		strlen(text) > NOTION_MAX_FILTER || nj->notebook->notebook_uuid == NULL)
		return false;
	appendStringInfoString(buf, ",{\"and\":[");
	add_equals(buf, column[NOTION_TODO_UUID], "rich_text",
			   nj->notebook->notebook_uuid);
	appendStringInfoChar(buf, ',');
	add_equals(buf, column[NOTION_TITLE], "title", text);
	appendStringInfoString(buf, ",{");
	rmsync_json_field(buf, "property", column[NOTION_ID]);
	appendStringInfoString(buf, ",\"rich_text\":{\"is_empty\":true}}]}");
	return true;
}

void
rmsync_notion_find_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	StringInfoData marker;
	StringInfoData host;
	StringInfoData buf;

	initStringInfo(&marker);
	add_equals(&marker, nj->remote.column[NOTION_ID], "rich_text",
			   rmsync_notion_marker(nj));
	initStringInfo(&host);
	nj->mixed = add_host_filter(nj, &host);
	initStringInfo(&buf);
	if (nj->mixed)
		appendStringInfo(&buf, "{\"filter\":{\"or\":[%s%s]}", marker.data,
						 host.data);
	else
		appendStringInfo(&buf, "{\"filter\":%s", marker.data);
	rmsync_json_field_int(&buf, "page_size", 20);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_call(nj, request, NOTION_READ, "POST",
					   psprintf("/data_sources/%s/query",
								nj->remote.data_source_id),
					   buf.data, buf.len);
}

static char *
creator_of(Jsonb *page)
{
	return rmsync_json_get_string(page, "created_by", "id", NULL);
}

/*
 * Which of two pages counts: one that we have made, else the one that was
 * created first.
 */
static bool
is_better(NotionJob *nj, Jsonb *a, Jsonb *b)
{
	bool ours_a = rmsync_notion_is_own(nj, creator_of(a));
	bool ours_b = rmsync_notion_is_own(nj, creator_of(b));
	char *ta = rmsync_json_get_string(a, "created_time", NULL);
	char *tb = rmsync_json_get_string(b, "created_time", NULL);
	int cmp = strcmp(ta ? ta : "", tb ? tb : "");

	if (ours_a != ours_b)
		return ours_a;
	if (cmp == 0)
	{
		char *ia = rmsync_json_get_string(a, "id", NULL);
		char *ib = rmsync_json_get_string(b, "id", NULL);

		cmp = strcmp(ia ? ia : "", ib ? ib : "");
	}
	return cmp < 0;
}

/* Is this the object of another to-do that says the same? */
static bool
is_taken(NotionJob *nj, const char *id)
{
	const char *taken = nj->notebook->src.taken;

	return taken != NULL && strstr(taken, rmsync_notion_dashed_id(id)) != NULL;
}

/*
 * Live pages with our marker, or ("marked" is false) those that the host has
 * made and that have none; the one that counts first.
 */
static List *
live_results(NotionJob *nj, Jsonb *results, bool marked)
{
	const char *wanted = marked ? rmsync_notion_marker(nj) : "";
	List *found = NIL;

	if (!marked && !nj->mixed)
		return NIL;

	for (int i = 0; i < rmsync_json_array_length(results); i++)
	{
		Jsonb *page = rmsync_json_element(results, i);
		char *id = rmsync_notion_id(page);

		if (id == NULL || rmsync_json_get_bool(page, "in_trash", false) ||
			rmsync_notion_same_id(id, nj->lost_id) ||
			(nj->mixed && strcmp(rmsync_notion_marker_of(nj, page), wanted) != 0) ||
			(!marked && is_taken(nj, id)))
			continue;
		if (found != NIL && is_better(nj, page, linitial(found)))
			found = lcons(page, found);
		else
			found = lappend(found, page);
	}
	return found;
}

List *
rmsync_notion_marked_rows(NotionJob *nj, Jsonb *results)
{
	return live_results(nj, results, true);
}

/* Where it goes on after a page was found. */
static NotionState
after_found(NotionJob *nj)
{
	return nj->notebook->present ? NOTION_SAVE_NOTEBOOK : NOTION_ARCHIVE;
}

/* The row is there: what it says is known by now, and is to be completed. */
static void
take_row(NotionJob *nj, Jsonb *row)
{
	rmsync_notion_set_external(nj, nj->notebook, rmsync_notion_id(row));
	rmsync_notion_late_again(nj);
	/* who knows what it says */
	nj->notebook->ledger.metadata = rmsync_notion_late_only(nj, nj->notebook);
	rmsync_notion_adopt_start(nj);
	rmsync_notion_read_row(nj, row);
}

static void
adopt_page(NotionJob *nj, List *found)
{
	Jsonb *page = linitial(found);
	char *creator = creator_of(page);
	ListCell *cell;

	rmsync_notion_drop_lost(nj, rmsync_notion_id(page));
	nj->maker = rmsync_notion_keep(nj, creator);
	if (nj->kind->type == RMSYNC_NOTEBOOK)
	{
		nj->found = !nj->adopting;
		/* with an intent the page is one without content: nothing to adopt */
		nj->adopted = nj->notebook->ledger.intent == NULL || nj->adopting;
		nj->order_known = !nj->adopted;
		rmsync_notion_set_external(nj, nj->notebook, rmsync_notion_id(page));
		if (!nj->adopting)
			rmsync_notion_set_intent(nj, nj->notebook, NULL);
		rmsync_notion_late_again(nj);
		rmsync_notion_notebook_meta(nj);
	}
	else
		take_row(nj, page);
	for_each_from(cell, found, 1)
		rmsync_notion_add_double_page(nj, rmsync_notion_id(lfirst(cell)),
									  creator_of(lfirst(cell)));
	nj->state = rmsync_notion_inspect(nj, after_found(nj));
}

/*
 * A page that the host's own sync has made.  Others with the same uuid are
 * nothing of ours.
 */
static void
adopt_host_page(NotionJob *nj, Jsonb *page)
{
	if (nj->kind->type == RMSYNC_TODO)
	{
		/* of two that say the same the first one takes the first row */
		if (nj->notebook->src.follows)
		{
			rmsync_notion_stop_unknown(nj, nj->config.append_delay);
			return;
		}
		take_row(nj, page);
	}
	else
	{
		nj->order_known = false;
		rmsync_notion_set_external(nj, nj->notebook, rmsync_notion_id(page));
		rmsync_notion_adopt_start(nj);
		rmsync_notion_notebook_meta(nj);
	}
	nj->state = after_found(nj);
}

/*
 * A number in an open create intent: how often its page was looked for in vain
 * ("tries"), how many creates before it never arrived ("resent").  0 if there
 * is no such intent.
 */
static int
intent_number(NotionJob *nj, const char *key)
{
	const char *text = nj->notebook->ledger.intent;
	Jsonb *intent = text ? rmsync_json_parse(text, strlen(text)) : NULL;

	return (int) rmsync_json_get_number(intent, key, 0);
}

static void
set_intent(NotionJob *nj, int tries, int resent)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "op", "create");
	rmsync_json_field(&buf, "rm", rmsync_notion_marker(nj));
	rmsync_json_field_int(&buf, "tries", tries);
	rmsync_json_field_int(&buf, "resent", resent);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_set_intent(nj, nj->notebook, buf.data);
}

void
rmsync_notion_set_create_intent(NotionJob *nj)
{
	bool again = intent_number(nj, "tries") > 0;

	set_intent(nj, 0, again ? intent_number(nj, "resent") + 1 : 0);
}

/*
 * Nowhere to be found.  A query may lag behind: look again later, and only
 * after the last look create the page anew.  One that Notion never finishes
 * counts as failed in the end; then each attempt is one create.
 */
static void
page_absent(NotionJob *nj)
{
	int tries = intent_number(nj, "tries") + 1;
	int resent = intent_number(nj, "resent");

	if (tries < nj->config.ndelays)
	{
		set_intent(nj, tries, resent);
		rmsync_notion_stop_unknown(nj, nj->config.delays[tries]);
		return;
	}
	rmsync_notion_late_row(nj);
	if (!nj->notebook->present)
	{
		rmsync_notion_finish_removed(nj);
		return;
	}
	set_intent(nj, tries, Min(resent, MAX_RESENT - 1));
	if (resent >= MAX_RESENT)
		rmsync_notion_stop(nj, RMSYNC_FAIL_ITEM, 0, "unconfirmed",
						   rmsync_notion_no_end);
	else
		nj->state = NOTION_INTENT;
}

void
rmsync_notion_find_response(NotionJob *nj)
{
	Jsonb *results = rmsync_notion_reply_list(nj, "results");
	List *found;

	if (results == NULL)
		return;
	found = live_results(nj, results, true);
	if (found != NIL)
		adopt_page(nj, found);
	else if ((found = live_results(nj, results, false)) != NIL)
		adopt_host_page(nj, linitial(found));
	else if (nj->adopting)
	{
		/* the host has not made it after all */
		rmsync_notion_forget_all(nj);
		nj->state = NOTION_INTENT;
	}
	else if (nj->notebook->ledger.intent != NULL)
		page_absent(nj);
	else
		nj->state = NOTION_INTENT;
}
