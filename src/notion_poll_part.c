/*-------------------------------------------------------------------------
 *
 * notion_poll_part.c
 *	  Which parts of large notebooks are to be read, to see what was ticked?
 *
 * A part is a page in a page: no query shows it.  But it says when it was
 * edited last, when it is asked by its id, and then at once.  So at every look
 * each part in which to-dos stand is asked for that, one request, and listed
 * only if it says something else than when it was listed last.  Time is cut to
 * the minute there: what a part says counts as read only if that minute was
 * over when it was listed.
 *
 * State between jobs, members of that of notion_poll.c:
 *	{"parts": {id: its last edit when it was read}, "part": of a look that goes
 *	on, the one to be asked next}
 *
 * Called by notion_poll.c, which lists them.  Must never take a part
 * for read that was not there: it comes back as it was.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "target_notion.h"

struct NotionPollParts
{
	int n;
	int at;				 /* the one under way */
	char **id;			 /* in order */
	char **read;		 /* NULL = to be listed */
	const char *edited;	 /* what the one under way says */
	const char *settled; /* a minute before this one is over */
};

NotionPollParts *
rmsync_notion_poll_parts(NotionJob *nj, Jsonb *input, Jsonb *state, bool *going_on)
{
	Jsonb *ids = rmsync_json_get(input, "parts", NULL);
	int n = Max(rmsync_json_array_length(ids), 0);
	char *next = rmsync_json_get_string(state, "part", NULL);
	NotionPollParts *parts = palloc0(sizeof(NotionPollParts));

	parts->id = palloc(sizeof(char *) * (n + 1));
	parts->read = palloc(sizeof(char *) * (n + 1));
	parts->settled = rmsync_json_get_string(input, "settled", NULL);
	for (int i = 0; i < n; i++)
	{
		char *id = rmsync_notion_valid_id(
			rmsync_json_as_string(rmsync_json_element(ids, i)));

		if (id == NULL)
			continue;
		parts->id[parts->n] = id;
		parts->read[parts->n++] =
			rmsync_json_get_string(state, "parts", id, NULL);
		if (next != NULL && strcmp(id, next) < 0)
			parts->at++;
	}
	*going_on = next != NULL;
	return parts;
}

const char *
rmsync_notion_poll_part(const NotionPollParts *parts)
{
	return parts->at < parts->n ? parts->id[parts->at] : NULL;
}

void
rmsync_notion_poll_part_request(NotionJob *nj, const NotionPollParts *parts,
								RmsyncHttpRequest *request)
{
	rmsync_notion_call(nj, request, NOTION_READ, "GET",
					   psprintf("/pages/%s", parts->id[parts->at]), NULL, 0);
}

bool
rmsync_notion_poll_part_says(NotionJob *nj, NotionPollParts *parts, Jsonb *page)
{
	char *edited = rmsync_json_get_string(page, "last_edited_time", NULL);

	if (rmsync_json_get_bool(page, "in_trash", false))
		return false;
	parts->edited =
		rmsync_notion_is_time(edited) ? rmsync_notion_keep(nj, edited) : NULL;
	return parts->edited == NULL || parts->read[parts->at] == NULL ||
		   strcmp(parts->edited, parts->read[parts->at]) != 0;
}

void
rmsync_notion_poll_part_done(NotionPollParts *parts, bool read)
{
	const char *edited = read ? parts->edited : NULL;

	if (edited != NULL &&
		(parts->settled == NULL || strcmp(edited, parts->settled) >= 0))
		edited = NULL;
	parts->read[parts->at++] = unconstify(char *, edited);
	parts->edited = NULL;
}

void
rmsync_notion_poll_parts_state(const NotionPollParts *parts, bool going_on,
							   StringInfo buf)
{
	if (parts->n == 0)
		return;
	if (going_on && parts->at < parts->n)
		rmsync_json_field(buf, "part", parts->id[parts->at]);
	rmsync_json_key(buf, "parts");
	appendStringInfoChar(buf, '{');
	for (int i = 0; i < parts->n; i++)
	{
		if (parts->read[i] != NULL)
			rmsync_json_field(buf, parts->id[i], parts->read[i]);
	}
	appendStringInfoChar(buf, '}');
}
