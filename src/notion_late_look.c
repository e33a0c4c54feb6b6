/*-------------------------------------------------------------------------
 *
 * notion_late_look.c
 *	  Looks for what may have come late, and puts doubles into the trash.
 *
 * When a job has done all else, and its entries say that it is time
 * (notion_late.c): pages are found by a query for the marker, parts and blocks
 * in the list of what stands in a page, each page listed once for all.
 *
 * A block is one of ours if it has the mark of that append.  A page is, if we
 * have made it and nobody has changed it or written anything in it; the one in
 * the ledger is never touched.
 *
 * Called by target_notion.c at a job's end.  Must never make anything, and
 * never take for a double what it could not read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "target_notion.h"

/* No page of ours has so many; a list that never ends must end. */
#define MAX_BLOCKS 200000

/* What should not be there. */
typedef struct Double
{
	char *id;
	char *maker;	  /* of a page: who made it, NULL = not known */
	NotionPage *page; /* of a block: whose it is ... */
	NotionLate *late; /* ... and which append made it */
	bool empty;		  /* page: nothing stands in it ... */
	bool seen;		  /* ... and nobody has changed it until just now */
} Double;

struct NotionLook
{
	bool row;	   /* the marker is still to be looked for */
	List *lists;   /* char *: pages at Notion to be listed */
	char *cursor;  /* in the first of them */
	int nblocks;   /* read of it */
	List *doubles; /* Double * */
	char *me;	   /* who we are at Notion */
};

/* Goes on with the next thing to be looked for. */
static void
go_on(NotionJob *nj)
{
	struct NotionLook *look = nj->look;
	Double *first = look->doubles != NIL ? linitial(look->doubles) : NULL;

	if (look->row)
		nj->state = NOTION_LATE_FIND;
	else if (look->lists != NIL)
		nj->state = NOTION_LATE_LIST;
	else if (first == NULL)
	{
		rmsync_notion_late_looked(nj);
		nj->state = NOTION_FINISH;
	}
	else if (first->page != NULL || first->seen)
		nj->state = NOTION_LATE_TRASH;
	else if (first->empty)
		nj->state = NOTION_LATE_SEE;
	else if (look->me == NULL)
		nj->state = NOTION_LATE_ME;
	else if (first->maker == NULL || strcmp(first->maker, look->me) != 0)
	{
		/* somebody's own, a copy for instance */
		look->doubles = list_delete_first(look->doubles);
		go_on(nj);
	}
	else
		nj->state = NOTION_LATE_LOOK;
}

static void
add_list(NotionJob *nj, const char *id)
{
	struct NotionLook *look = nj->look;
	ListCell *cell;

	foreach (cell, look->lists)
	{
		if (rmsync_notion_same_id(lfirst(cell), id))
			return;
	}
	look->lists = lappend(look->lists, pstrdup(id));
}

bool
rmsync_notion_late_start(NotionJob *nj)
{
	MemoryContext old;
	bool due;
	bool row;

	if (nj->poll != NULL || nj->look != NULL)
		return false;
	rmsync_notion_late_tidy(nj);
	due = rmsync_notion_late_due(nj, NULL);
	row = due && nj->late_row;
	for (int i = 0; i < nj->npages; i++)
		due = due || rmsync_notion_late_due(nj, &nj->pages[i]);
	if (!due)
		return false;
	if (row && !nj->remote.complete)
	{
		nj->state = rmsync_notion_discover_start(nj);
		return true;
	}

	old = MemoryContextSwitchTo(nj->job->cxt);
	nj->look = palloc0(sizeof(struct NotionLook));
	nj->look->row = row;
	if (rmsync_notion_late_due(nj, NULL) && nj->late_parts != NIL &&
		nj->notebook->ledger.external_id != NULL)
		add_list(nj, nj->notebook->ledger.external_id);
	for (int i = 0; i < nj->npages; i++)
	{
		ListCell *cell;

		nj->pages[i].looking = rmsync_notion_late_due(nj, &nj->pages[i]);
		if (!nj->pages[i].looking)
			continue;
		foreach (cell, nj->pages[i].late)
			add_list(nj, ((NotionLate *) lfirst(cell))->page);
	}
	MemoryContextSwitchTo(old);
	go_on(nj);
	return true;
}


/* ---- what is found ---- */

/* "object" stays only for this step. */
static Double *
add_double(NotionJob *nj, Jsonb *object)
{
	MemoryContext old = MemoryContextSwitchTo(nj->job->cxt);
	char *maker = rmsync_json_get_string(object, "created_by", "id", NULL);
	char *editor = rmsync_json_get_string(object, "last_edited_by", "id", NULL);
	Double *found = palloc0(sizeof(Double));

	found->id = pstrdup(rmsync_notion_id(object));
	if (maker != NULL && (editor == NULL || strcmp(maker, editor) == 0))
		found->maker = pstrdup(maker);
	nj->look->doubles = lappend(nj->look->doubles, found);
	MemoryContextSwitchTo(old);
	return found;
}

static void
find_response(NotionJob *nj, NotionAnswer answer)
{
	Jsonb *results = NULL;
	ListCell *cell;

	if (answer == NOTION_DONE)
	{
		results = rmsync_notion_reply_list(nj, "results");
		if (results == NULL)
			return;
	}
	nj->look->row = false;
	foreach (cell, results ? rmsync_notion_marked_rows(nj, results) : NIL)
	{
		Jsonb *page = lfirst(cell);

		if (!rmsync_notion_same_id(rmsync_notion_id(page),
								   nj->notebook->ledger.external_id))
			(void) add_double(nj, page);
	}
	go_on(nj);
}

/* Is it a part that was asked for, and made again under another id? */
static bool
is_late_part(NotionJob *nj, Jsonb *block)
{
	char *type = rmsync_json_get_string(block, "type", NULL);
	char *title = rmsync_json_get_string(block, "child_page", "title", NULL);
	ListCell *cell;

	if (type == NULL || strcmp(type, "child_page") != 0 || title == NULL ||
		!rmsync_notion_late_due(nj, NULL) ||
		!rmsync_notion_same_id(linitial(nj->look->lists),
							   nj->notebook->ledger.external_id) ||
		rmsync_json_get_bool(block, "has_children", false) ||
		rmsync_notion_is_part(nj, rmsync_notion_id(block)))
		return false;
	foreach (cell, nj->late_parts)
	{
		if (strcmp(lfirst(cell), title) == 0)
			return true;
	}
	return false;
}

/* The append that has made this block, and whose page's it is. */
static NotionLate *
made_by(NotionJob *nj, Jsonb *block, NotionPage **whose)
{
	const char *id = rmsync_notion_id(block);
	const char *read = NULL;
	char *key = NULL;
	char *rm = NULL;

	for (int i = 0; i < nj->npages; i++)
	{
		NotionPage *page = &nj->pages[i];
		ListCell *cell;

		if (!page->looking ||
			rmsync_notion_same_id(id, page->item->ledger.external_id))
			continue;
		foreach (cell, page->late)
		{
			NotionLate *late = lfirst(cell);

			/* mostly they are all of one notebook */
			if (read == NULL || strcmp(read, late->notebook) != 0)
				(void) rmsync_notion_read_marker(block, late->notebook, &key,
												 &rm);
			read = late->notebook;
			if (key == NULL || strcmp(key, page->key) != 0 ||
				strcmp(rm, late->rm) != 0)
				continue;
			*whose = page;
			return late;
		}
	}
	return NULL;
}

static void
look_at_block(NotionJob *nj, Jsonb *block)
{
	NotionPage *page = NULL;
	NotionLate *late;

	if (rmsync_json_get_bool(block, "in_trash", false))
		return;
	if (is_late_part(nj, block))
		(void) add_double(nj, block);
	else if ((late = made_by(nj, block, &page)) != NULL)
	{
		Double *found = add_double(nj, block);

		found->page = page;
		found->late = late;
	}
}

static void
end_list(NotionJob *nj)
{
	struct NotionLook *look = nj->look;

	look->lists = list_delete_first(look->lists);
	look->cursor = NULL;
	look->nblocks = 0;
	go_on(nj);
}

static void
list_response(NotionJob *nj, NotionAnswer answer)
{
	struct NotionLook *look = nj->look;
	Jsonb *results;
	char *cursor;
	int n;

	if (answer != NOTION_DONE)
	{
		/* the page is gone, and what came to it */
		end_list(nj);
		return;
	}
	results = rmsync_notion_reply_list(nj, "results");
	if (results == NULL)
		return;
	n = rmsync_json_array_length(results);
	for (int i = 0; i < n; i++)
		look_at_block(nj, rmsync_json_element(results, i));
	look->nblocks += n;
	cursor = rmsync_json_get_string(nj->reply, "next_cursor", NULL);
	if (!rmsync_json_get_bool(nj->reply, "has_more", false))
		end_list(nj);
	else if (cursor == NULL || n == 0 || look->nblocks > MAX_BLOCKS)
		rmsync_notion_stop_invalid(nj);
	else
		look->cursor = rmsync_notion_keep(nj, cursor);
}

/* Who are we?  If that is not told, no page is touched. */
static void
me_response(NotionJob *nj, NotionAnswer answer)
{
	struct NotionLook *look = nj->look;
	char *id = answer == NOTION_DONE ? rmsync_notion_id(nj->reply) : NULL;

	look->me = rmsync_notion_keep(nj, id ? id : "");
	go_on(nj);
}

static void
look_response(NotionJob *nj, NotionAnswer answer)
{
	struct NotionLook *look = nj->look;
	Double *found = linitial(look->doubles);
	Jsonb *results = NULL;

	if (answer == NOTION_DONE)
	{
		results = rmsync_notion_reply_list(nj, "results");
		if (results == NULL)
			return;
		found->empty = true;
	}
	for (int i = 0; i < rmsync_json_array_length(results); i++)
	{
		if (!rmsync_json_get_bool(rmsync_json_element(results, i), "in_trash",
								  false))
			found->empty = false;
	}
	if (!found->empty)
		look->doubles = list_delete_first(look->doubles);
	go_on(nj);
}

/* What the query said may be old: has somebody changed it since? */
static void
see_response(NotionJob *nj, NotionAnswer answer)
{
	struct NotionLook *look = nj->look;
	Double *found = linitial(look->doubles);
	char *editor =
		answer == NOTION_DONE
			? rmsync_json_get_string(nj->reply, "last_edited_by", "id", NULL)
			: NULL;

	found->seen = editor != NULL && strcmp(editor, look->me) == 0 &&
				  !rmsync_json_get_bool(nj->reply, "in_trash", false);
	if (!found->seen)
		look->doubles = list_delete_first(look->doubles);
	go_on(nj);
}

/* It is in the trash; or not there, or not ours to remove. */
static void
trash_response(NotionJob *nj)
{
	struct NotionLook *look = nj->look;
	Double *found = linitial(look->doubles);

	look->doubles = list_delete_first(look->doubles);
	if (found->page != NULL)
		found->page->late = list_delete_ptr(found->page->late, found->late);
	go_on(nj);
}


/* ---- dispatch ---- */

/* What the states that are about the first double ask of its page, or do. */
static void
double_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	static const char in_trash[] = "{\"in_trash\":true}";
	const Double *first = linitial(nj->look->doubles);

	if (nj->state == NOTION_LATE_LOOK)
		rmsync_notion_call(nj, request, NOTION_READ, "GET",
						   psprintf("/blocks/%s/children?page_size=100",
									first->id),
						   NULL, 0);
	else if (nj->state == NOTION_LATE_SEE)
		rmsync_notion_call(nj, request, NOTION_READ, "GET",
						   psprintf("/pages/%s", first->id), NULL, 0);
	else if (first->page != NULL)
		rmsync_notion_call(nj, request, NOTION_SET, "DELETE",
						   psprintf("/blocks/%s", first->id), NULL, 0);
	else
		rmsync_notion_call(nj, request, NOTION_SET, "PATCH",
						   psprintf("/pages/%s", first->id), in_trash,
						   strlen(in_trash));
}

bool
rmsync_notion_late_next(NotionJob *nj, RmsyncHttpRequest *request,
						RmsyncStep *step)
{
	struct NotionLook *look = nj->look;
	StringInfoData path;

	*step = RMSYNC_STEP_REQUEST;
	nj->notebook->requests++;
	initStringInfo(&path);
	switch (nj->state)
	{
		case NOTION_LATE_FIND:
			rmsync_notion_find_request(nj, request);
			return true;

		case NOTION_LATE_TRASH:
		case NOTION_LATE_LOOK:
		case NOTION_LATE_SEE:
			double_request(nj, request);
			return true;

		case NOTION_LATE_ME:
			appendStringInfoString(&path, "/users/me");
			break;

		default:
			Assert(nj->state == NOTION_LATE_LIST);
			appendStringInfo(&path, "/blocks/%s/children?page_size=100",
							 (char *) linitial(look->lists));
			if (look->cursor != NULL)
			{
				appendStringInfoString(&path, "&start_cursor=");
				rmsync_notion_encode(&path, look->cursor);
			}
			break;
	}
	rmsync_notion_call(nj, request, NOTION_READ, "GET", path.data, NULL, 0);
	return true;
}

void
rmsync_notion_late_response(NotionJob *nj, const RmsyncHttpResponse *response)
{
	NotionAnswer answer = rmsync_notion_answer(nj, response);

	if (answer == NOTION_AGAIN || answer == NOTION_STOPPED)
		return;
	switch (nj->state)
	{
		case NOTION_LATE_FIND:
			find_response(nj, answer);
			break;
		case NOTION_LATE_LIST:
			list_response(nj, answer);
			break;
		case NOTION_LATE_ME:
			me_response(nj, answer);
			break;
		case NOTION_LATE_LOOK:
			look_response(nj, answer);
			break;
		case NOTION_LATE_SEE:
			see_response(nj, answer);
			break;
		default:
			Assert(nj->state == NOTION_LATE_TRASH);
			trash_response(nj);
			break;
	}
}
