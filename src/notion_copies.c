/*-------------------------------------------------------------------------
 *
 * notion_copies.c
 *	  What stands at Notion more than once: our doubles, and readers' copies.
 *
 * A reader who duplicates a toggle, or a page, copies our marker with it.  Ours
 * is only what our connection has made ("created_by"): the names it has or had
 * are learned from the answers to creates and kept in the lane's remote notes;
 * of a page that was found, and of blocks that the ledger knows, the maker
 * counts as well.  The rest is the reader's, whatever its marker says, and is
 * left alone.
 *
 * A double that we have made ourselves is deleted, unless something stands in
 * it that we have not made: INSPECT lists what is in it, all of it, first. With
 * a personal token reader and connection are the same, and nobody can tell.
 *
 * A page that was lost and made anew may come back: it was unshared, or the
 * reader takes it out of the trash.  The ledger remembers it ("lost"), and when
 * the notebook has work to be done it is looked at now and then (LOOK).  If it
 * is there it is a double like any other; the reader is told if it stays.
 *
 * Called by the states.  Must never delete what was not inspected.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "target_notion.h"

/* What takes more requests to be looked through stays. */
#define MAX_INSPECTIONS 300

/* So many lost pages of a notebook are remembered, the latest. */
#define MAX_LOST 8

/* ---- who made it? ---- */

bool
rmsync_notion_is_own(NotionJob *nj, const char *creator)
{
	ListCell *cell;

	if (creator == NULL)
		return false;
	foreach (cell, nj->remote.bots)
	{
		if (rmsync_notion_same_id(lfirst(cell), creator))
			return true;
	}
	return rmsync_notion_same_id(nj->maker, creator);
}

bool
rmsync_notion_is_copy(NotionJob *nj, const char *creator)
{
	return creator != NULL && (nj->remote.bots != NIL || nj->maker != NULL) &&
		   !rmsync_notion_is_own(nj, creator);
}

/* The block that the ledger names for this child's key. */
static bool
is_known(NotionJob *nj, const NotionChild *child)
{
	const NotionSlot *slot = rmsync_notion_slot(nj, child->key);

	return slot != NULL && rmsync_notion_same_id(slot->block_id, child->id);
}

/* Who made most of the blocks that the ledger knows? */
static void
vote(NotionJob *nj)
{
	const char *maker = NULL;
	int votes = 0;

	for (int i = 0; i < nj->nchildren; i++)
	{
		const NotionChild *child = &nj->children[i];

		if (child->key == NULL || child->creator == NULL || !is_known(nj, child))
			continue;
		if (votes == 0)
			maker = child->creator;
		votes += rmsync_notion_same_id(maker, child->creator) ? 1 : -1;
	}
	if (maker != NULL && nj->maker == NULL)
		nj->maker = rmsync_notion_keep(nj, maker);
}

void
rmsync_notion_disown_copies(NotionJob *nj)
{
	vote(nj);
	for (int i = 0; i < nj->nchildren; i++)
	{
		NotionChild *child = &nj->children[i];

		if (child->key == NULL || !rmsync_notion_is_copy(nj, child->creator) ||
			is_known(nj, child))
			continue;
		child->key = child->rm = NULL;
		child->outdated = false;
	}
}


/* ---- doubles ---- */

static NotionDouble *
new_double(NotionJob *nj, const char *id)
{
	MemoryContext old = MemoryContextSwitchTo(nj->job->cxt);
	NotionDouble *entry = palloc0(sizeof(NotionDouble));

	entry->id = pstrdup(id);
	nj->doubles = lappend(nj->doubles, entry);
	MemoryContextSwitchTo(old);
	return entry;
}

void
rmsync_notion_add_double(NotionJob *nj, const NotionChild *child, NotionPage *page)
{
	NotionDouble *entry;

	if (!rmsync_notion_is_own(nj, child->creator))
		return;
	if (child->has_children)
	{
		entry = new_double(nj, child->id);
		entry->waits = page;
		return;
	}
	rmsync_notion_delete_later(nj, child->id, page);
	if (page != NULL)
		rmsync_notion_page_meta(nj, page->item);
}

void
rmsync_notion_add_double_page(NotionJob *nj, const char *id, const char *creator)
{
	NotionDouble *entry;

	if (!rmsync_notion_is_own(nj, creator))
		return;
	entry = new_double(nj, id);
	entry->page = true;
}

NotionState
rmsync_notion_inspect(NotionJob *nj, NotionState after)
{
	if (nj->doubles == NIL)
		return after;
	nj->after_doubles = after;
	nj->inspecting = false;
	return NOTION_INSPECT;
}

/* A block whose children are to be listed. */
static void
push_inside(NotionJob *nj, const char *id)
{
	MemoryContext old = MemoryContextSwitchTo(nj->job->cxt);

	nj->inside = lappend(nj->inside, pstrdup(id));
	MemoryContextSwitchTo(old);
}

/* The first double is settled. */
static void
next_double(NotionJob *nj)
{
	NotionDouble *entry = linitial(nj->doubles);

	if (entry->lost)
		rmsync_notion_drop_lost(nj, entry->id);
	nj->doubles = list_delete_first(nj->doubles);
	nj->inspecting = false;
	nj->state = nj->doubles != NIL ? NOTION_INSPECT : nj->after_doubles;
}

/* Something stands in it that is not ours, or nobody can tell. */
static void
leave_double(NotionJob *nj)
{
	NotionDouble *entry = linitial(nj->doubles);

	if (entry->lost)
		rmsync_notion_tell(nj, "page_returned",
						   "A page of the notebook \"%s\" at Notion that was lost and made anew is back. "
						   "It was left as it is, because something else than what rmsync has written may stand in it; it is not kept up any more.");
	next_double(nj);
}

/* Nothing else than ours stands in it: away with it. */
static void
delete_double(NotionJob *nj)
{
	NotionDouble *entry = linitial(nj->doubles);

	if (entry->page)
	{
		nj->state = NOTION_EXTRA;
		return;
	}
	rmsync_notion_delete_later(nj, entry->id, entry->waits);
	if (entry->waits != NULL)
		rmsync_notion_page_meta(nj, entry->waits->item);
	next_double(nj);
}

static void
inspect_response(NotionJob *nj, NotionAnswer answer)
{
	char *id = linitial(nj->inside);
	Jsonb *results;

	if (answer == NOTION_INVALID)
	{
		leave_double(nj);
		return;
	}
	if (answer == NOTION_GONE)
	{
		if (rmsync_notion_same_id(id,
								  ((NotionDouble *) linitial(nj->doubles))->id))
			next_double(nj);
		else
			nj->inside = list_delete_first(nj->inside);
		nj->inside_cursor = NULL;
		return;
	}
	results = rmsync_notion_reply_list(nj, "results");
	if (results == NULL)
		return;
	nj->inside_cursor = NULL;
	if (rmsync_json_get_bool(nj->reply, "has_more", false))
		nj->inside_cursor =
			rmsync_notion_keep(nj, rmsync_json_get_string(nj->reply,
														  "next_cursor", NULL));
	if (nj->inside_cursor == NULL)
		nj->inside = list_delete_first(nj->inside);
	for (int i = 0; i < rmsync_json_array_length(results); i++)
	{
		Jsonb *block = rmsync_json_element(results, i);

		if (rmsync_json_get_bool(block, "in_trash", false))
			continue;
		if (!rmsync_notion_is_own(nj, rmsync_json_get_string(block, "created_by",
															 "id", NULL)))
		{
			leave_double(nj);
			return;
		}
		if (rmsync_json_get_bool(block, "has_children", false))
			push_inside(nj, rmsync_notion_id(block));
	}
}


/* ---- pages that were lost ---- */

static NotionLost *
find_lost(NotionJob *nj, const char *id)
{
	ListCell *cell;

	foreach (cell, nj->lost)
	{
		NotionLost *entry = lfirst(cell);

		if (rmsync_notion_same_id(entry->id, id))
			return entry;
	}
	return NULL;
}

static void
remember(NotionJob *nj, const char *id, int64 looked_at, bool told)
{
	MemoryContext old = MemoryContextSwitchTo(nj->job->cxt);
	NotionLost *entry = palloc0(sizeof(NotionLost));

	entry->id = pstrdup(id);
	entry->looked_at = looked_at;
	entry->told = told;
	if (list_length(nj->lost) >= MAX_LOST)
		nj->lost = list_delete_first(nj->lost);
	nj->lost = lappend(nj->lost, entry);
	MemoryContextSwitchTo(old);
}

static int64
now_ms(void)
{
	return GetCurrentTimestamp() / 1000;
}

void
rmsync_notion_add_lost(NotionJob *nj, const char *id)
{
	if (id != NULL && find_lost(nj, id) == NULL)
		remember(nj, id, now_ms(), false);
}

void
rmsync_notion_drop_lost(NotionJob *nj, const char *id)
{
	NotionLost *entry = find_lost(nj, id);

	if (entry == NULL)
		return;
	nj->lost = list_delete_ptr(nj->lost, entry);
	rmsync_notion_notebook_meta(nj);
}

void
rmsync_notion_lost_seen(NotionJob *nj, const char *id)
{
	NotionLost *entry = find_lost(nj, id);

	if (entry != NULL)
		entry->looked_at = 0;
}

void
rmsync_notion_load_lost(NotionJob *nj, Jsonb *array)
{
	for (int i = 0; i < rmsync_json_array_length(array); i++)
	{
		Jsonb *pair = rmsync_json_element(array, i);
		char *id = rmsync_notion_valid_id(
			rmsync_json_as_string(rmsync_json_element(pair, 0)));
		char *at = rmsync_json_as_string(rmsync_json_element(pair, 1));

		if (id != NULL && at != NULL)
			remember(nj, id, strtoi64(at, NULL, 10),
					 rmsync_json_array_length(pair) > 2);
	}
}

void
rmsync_notion_lost_meta(NotionJob *nj, StringInfo buf)
{
	ListCell *cell;

	if (nj->lost == NIL)
		return;
	rmsync_json_key(buf, "lost");
	appendStringInfoChar(buf, '[');
	foreach (cell, nj->lost)
	{
		const NotionLost *entry = lfirst(cell);

		appendStringInfo(buf, "%s[\"%s\",\"" INT64_FORMAT "\"%s]",
						 foreach_current_index(cell) > 0 ? "," : "", entry->id,
						 entry->looked_at, entry->told ? ",\"told\"" : "");
	}
	appendStringInfoChar(buf, ']');
}

void
rmsync_notion_tell(NotionJob *nj, const char *code, const char *form)
{
	const char *title = nj->notebook->src.title;
	const char *place = strstr(form, "%s");

	if (nj->kind->type != RMSYNC_NOTEBOOK || nj->job->notice != NULL)
		return;
	if (title == NULL)
		title = "";
	nj->job->notice_code = code;
	nj->job->notice =
		rmsync_notion_keep(nj, psprintf("%.*s%.*s%s", (int) (place - form), form,
										pg_encoding_mbcliplen(PG_UTF8, title,
															  strlen(title), 200),
										title, place + 2));
}

void
rmsync_notion_tell_recreated(NotionJob *nj)
{
	bool news = false;
	ListCell *cell;

	foreach (cell, nj->lost)
	{
		NotionLost *entry = lfirst(cell);

		news = news || !entry->told;
		entry->told = true;
	}
	if (news)
		rmsync_notion_tell(nj, "page_recreated",
						   "A Notion page of the notebook \"%s\" was in the trash, gone or no longer shared, and was made anew. "
						   "Should the old one come back, it is put into the trash, unless something else stands in it than what rmsync has written. "
						   "With \"lost_page\": \"stop\" in the connection's configuration nothing is made anew.");
}

bool
rmsync_notion_look_for_lost(NotionJob *nj)
{
	int delay = 2 * nj->config.delays[Max(nj->config.ndelays - 1, 0)];
	ListCell *cell;

	foreach (cell, nj->lost)
	{
		NotionLost *entry = lfirst(cell);
		int64 passed = now_ms() - entry->looked_at;

		/* a clock that was put back must not keep it for ever */
		if (entry->looked ||
			(passed >= 0 && passed < delay && !nj->notebook->forced))
			continue;
		entry->looked = true;
		nj->looked_for = entry;
		nj->state = NOTION_LOOK;
		return true;
	}
	return false;
}

static void
look_response(NotionJob *nj, NotionAnswer answer)
{
	NotionLost *entry = nj->looked_for;

	nj->state = NOTION_WORK;
	entry->looked_at = now_ms();
	rmsync_notion_notebook_meta(nj);
	if (answer != NOTION_DONE ||
		rmsync_json_get_bool(nj->reply, "in_trash", false) ||
		rmsync_json_get_bool(nj->reply, "is_archived", false))
		return; /* put away, which is as good */
	new_double(nj, entry->id)->page = true;
	((NotionDouble *) llast(nj->doubles))->lost = true;
	nj->state = rmsync_notion_inspect(nj, NOTION_WORK);
	if (!rmsync_notion_is_own(nj, rmsync_json_get_string(nj->reply, "created_by",
														 "id", NULL)))
		leave_double(nj);
}


/* ---- dispatch ---- */

static void
extra_response(NotionJob *nj, NotionAnswer answer)
{
	/* in the trash, or not there at all: both are what we want */
	if (answer == NOTION_INVALID)
		leave_double(nj);
	else
		next_double(nj);
}

static void
inspect_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfo(&path, "/blocks/%s/children?page_size=100",
					 (char *) linitial(nj->inside));
	if (nj->inside_cursor != NULL)
	{
		appendStringInfoString(&path, "&start_cursor=");
		rmsync_notion_encode(&path, nj->inside_cursor);
	}
	rmsync_notion_call(nj, request, NOTION_READ, "GET", path.data, NULL, 0);
}

/* Chooses what to look at next; true if a request is to be made. */
static bool
inspect_next(NotionJob *nj)
{
	NotionDouble *entry = linitial(nj->doubles);

	if (!nj->inspecting)
	{
		nj->inspecting = true;
		nj->inspections = 0;
		nj->inside = NIL;
		nj->inside_cursor = NULL;
		push_inside(nj, entry->id);
	}
	if (nj->inside == NIL)
		delete_double(nj);
	else if (++nj->inspections > MAX_INSPECTIONS)
		leave_double(nj);
	else
		return true;
	return false;
}

bool
rmsync_notion_copies_next(NotionJob *nj, RmsyncHttpRequest *request,
						  RmsyncStep *step)
{
	static const char trash[] = "{\"in_trash\":true}";
	NotionDouble *entry;

	*step = RMSYNC_STEP_REQUEST;
	switch (nj->state)
	{
		case NOTION_LOOK:
			rmsync_notion_call(nj, request, NOTION_READ, "GET",
							   psprintf("/pages/%s", nj->looked_for->id), NULL,
							   0);
			break;

		case NOTION_EXTRA:
			entry = linitial(nj->doubles);
			rmsync_notion_call(nj, request, NOTION_SET, "PATCH",
							   psprintf("/pages/%s", entry->id), trash,
							   strlen(trash));
			break;

		default:
			Assert(nj->state == NOTION_INSPECT);
			if (!inspect_next(nj))
				return false;
			inspect_request(nj, request);
			break;
	}
	nj->notebook->requests++;
	return true;
}

void
rmsync_notion_copies_response(NotionJob *nj, const RmsyncHttpResponse *response)
{
	NotionAnswer answer = rmsync_notion_answer(nj, response);

	if (answer == NOTION_AGAIN || answer == NOTION_STOPPED)
		return;
	if (nj->state == NOTION_LOOK)
		look_response(nj, answer);
	else if (nj->state == NOTION_EXTRA)
		extra_response(nj, answer);
	else
		inspect_response(nj, answer);
}
