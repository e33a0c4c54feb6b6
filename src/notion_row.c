/*-------------------------------------------------------------------------
 *
 * notion_row.c
 *	  Rows of to-dos that somebody else has made, or whose entry was lost.
 *
 * rmsync_adopt() makes ledger entries of the rows that the host recorded and
 * gives them the intent {"op":"adopt"}; a row that is found instead of created
 * gets it, too.  Nothing is known then of what the row says, and it may be
 * gone. The first request therefore is the one that is needed anyway: it brings
 * our marker, the link to the source and what else is derived from it, but
 * neither the text nor whether the to-do is done.  Its answer shows whether the
 * row is there, and what it says; only if that differs from the source there is
 * a second request.  A row that was found in a query has been read already, and
 * takes one.
 *
 * Called by notion_find.c, notion_notebook.c and notion_todo.c.  Pure: it looks
 * at answers and never makes a request.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "target_notion.h"

bool
rmsync_notion_is_marking(const NotionJob *nj)
{
	return nj->kind->type == RMSYNC_TODO && nj->adopting && !nj->row_read;
}

/* What a row has as its title; "" if nothing. */
static char *
title_of(Jsonb *row)
{
	Jsonb *properties = rmsync_json_get(row, "properties", NULL);
	Jsonb *texts = NULL;
	StringInfoData buf;

	initStringInfo(&buf);
	if (properties != NULL && JB_ROOT_IS_OBJECT(properties))
		texts = rmsync_json_get(rmsync_notion_find_property(properties, NULL,
															"title"),
								"title", NULL);
	for (int i = 0; i < rmsync_json_array_length(texts); i++)
	{
		char *text = rmsync_json_get_string(rmsync_json_element(texts, i),
											"plain_text", NULL);

		appendStringInfoString(&buf, text ? text : "");
	}
	return buf.data;
}

void
rmsync_notion_read_row(NotionJob *nj, Jsonb *row)
{
	const RmsyncItem *item = nj->notebook;

	nj->row_read = true;
	nj->row_named =
		strcmp(title_of(row), rmsync_notion_todo_title(item)) == 0 ||
		/* as the host has sent it: a title that differs is the reader's */
		(item->ledger.external_id != NULL &&
		 strcmp(item->ledger.content_hash, item->content_hash) == 0);
	(void) rmsync_notion_read_done(nj, row, &nj->row_ticked, &nj->row_state);
}

bool
rmsync_notion_row_differs(NotionJob *nj)
{
	return !nj->row_named || rmsync_notion_says_done(nj, nj->notebook);
}
