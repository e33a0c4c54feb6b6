/*-------------------------------------------------------------------------
 *
 * notion_poll.c
 *	  Looks at Notion without writing: are objects of ours still there, and
 *	  which to-dos were ticked?
 *
 * A job of this kind has one item, of type RMSYNC_POLL, which the queue holds
 * when it is time to look (sql/65_two_way.sql).  It goes through discovery if
 * it has to, like any job, and then stays in state POLL: objects that somebody
 * named (webhooks) are read one by one; then, if two_way is configured and all
 * is to be looked at, the data source is asked for what was edited since the
 * last time.  Rows of notion-todos say themselves whether they are done; of
 * pages of notebooks the children are listed, for nobody can ask for edited
 * blocks.  At last the parts of large notebooks are asked, which no query shows
 * (notion_poll_part.c).
 *
 * Nothing is decided here: what was read goes to rmsync.take_remote(), which
 * knows what both sides agreed on, and queues what is lost for a job that can
 * write.  How far was read is recorded together with what was, so after a crash
 * some of it is read again, which does no harm.
 *
 * A look must never stop or delay what is to be delivered: it ends after some
 * requests and goes on in a later job, and what Notion refuses it for is noted
 * and no more.
 *
 * State between jobs:
 *	{"watermark": what was edited before, and some minutes later, is to be read
 *	again; "from", "cursor", "max", "began": of a look that goes on, "resume":
 *	begin at the watermark itself, "skip": or a minute after it; "parts", "part":
 *	see there}
 *
 * An edit shows in a query up to two minutes late, and then among others of its
 * time.  So a query begins so much before the watermark (rmsync.poll_input),
 * and that is the time of the latest edit seen, or when the look began, if that
 * is earlier: while a long one goes on, something may show up behind its cursor.
 * What a query says of an object may be old, too: see rmsync.merge_todo().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "target_notion.h"

/* After so many requests a job ends. */
#define MAX_REQUESTS 10

/* What was found is recorded at the latest when there is so much of it. */
#define MAX_FOUND 100

typedef struct NotionPoll
{
	Jsonb *input;
	Jsonb *marks; /* objects somebody named */
	int nmarks;
	int mark;	   /* the one under way */
	bool query;	   /* ask the data source, too */
	bool queried;  /* that is done; what is left are parts */
	bool ended;	   /* nothing is left to be read */
	bool finished; /* the last report is made */
	int requests;

	/* the query */
	char *from; /* NULL = all */
	char *cursor;
	char *next_cursor; /* when its pages are read; NULL = last one */
	char *watermark;
	char *max;	  /* time of the latest edit seen */
	char *began;  /* when the look began, by our clock */
	bool cut_off; /* Notion gives no more for this filter */
	bool resumed; /* the query begins at the watermark itself */
	bool skip;	  /* the next one begins a minute later */
	NotionPollParts *parts;

	/* pages whose children are to be listed */
	List *pages;	  /* char * */
	char *children;	  /* cursor in the first of them */
	bool marked_page; /* it is the mark under way */

	/* the report */
	MemoryContext found_cxt;
	StringInfoData found;
	int nfound;
	StringInfoData seen;
	StringInfoData lost;
	const char *error;
} NotionPoll;


/* ---- the report ---- */

static void
start_report(NotionPoll *poll)
{
	MemoryContext old;

	MemoryContextReset(poll->found_cxt);
	old = MemoryContextSwitchTo(poll->found_cxt);
	initStringInfo(&poll->found);
	initStringInfo(&poll->seen);
	initStringInfo(&poll->lost);
	MemoryContextSwitchTo(old);
	poll->nfound = 0;
}

void
rmsync_notion_poll_begin(NotionJob *nj)
{
	RmsyncItem *item = nj->job->items[0];
	NotionPoll *poll = palloc0(sizeof(NotionPoll));
	Jsonb *state;

	nj->poll = poll;
	nj->job->notebook = nj->notebook = item;
	poll->found_cxt = AllocSetContextCreate(nj->job->cxt, "rmsync notion found",
											ALLOCSET_SMALL_SIZES);
	start_report(poll);
	if (item->src.text == NULL)
		return; /* the lane is gone */

	poll->input = rmsync_json_parse(item->src.text, strlen(item->src.text));
	poll->marks = rmsync_json_get(poll->input, "marks", NULL);
	poll->nmarks = Max(rmsync_json_array_length(poll->marks), 0);
	poll->query =
		nj->config.two_way && rmsync_json_get_bool(poll->input, "all", false);
	state = rmsync_json_get(poll->input, "state", NULL);
	poll->watermark = rmsync_json_get_string(state, "watermark", NULL);
	poll->resumed =
		poll->watermark != NULL && rmsync_json_get_bool(state, "resume", false);
	poll->cursor = rmsync_json_get_string(state, "cursor", NULL);
	poll->max = rmsync_json_get_string(state, "max", NULL);
	poll->from = poll->cursor != NULL
					 ? rmsync_json_get_string(state, "from", NULL)
					 : rmsync_json_get_string(poll->input, "from", NULL);
	if (poll->max == NULL)
		poll->max = poll->watermark;
	poll->began = rmsync_json_get_string(state, "began", NULL);
	if (poll->began == NULL)
		poll->began = rmsync_json_get_string(poll->input, "began", NULL);
	poll->parts =
		rmsync_notion_poll_parts(nj, poll->input, state, &poll->queried);
	poll->ended = poll->queried && rmsync_notion_poll_part(poll->parts) == NULL;
}

static void
add_state(NotionPoll *poll, StringInfo buf)
{
	rmsync_json_key(buf, "state");
	appendStringInfoChar(buf, '{');
	if (poll->watermark != NULL)
		rmsync_json_field(buf, "watermark", poll->watermark);
	if (poll->cursor != NULL)
	{
		if (poll->from != NULL)
			rmsync_json_field(buf, "from", poll->from);
		if (poll->max != NULL)
			rmsync_json_field(buf, "max", poll->max);
		rmsync_json_field(buf, "cursor", poll->cursor);
	}
	else if (poll->cut_off)
	{
		rmsync_json_field_bool(buf, "resume", true);
		rmsync_json_field_bool(buf, "skip", poll->skip);
	}
	if ((poll->cursor != NULL || poll->cut_off) && poll->began != NULL)
		rmsync_json_field(buf, "began", poll->began);
	rmsync_notion_poll_parts_state(poll->parts, poll->queried, buf);
	appendStringInfoChar(buf, '}');
}

/*
 * Hands over what was found since the last time; "last" at the job's end.
 */
static void
report(NotionJob *nj, bool last)
{
	NotionPoll *poll = nj->poll;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "since",
					  rmsync_json_get_string(poll->input, "since", NULL));
	rmsync_json_field_raw(&buf, "found", psprintf("[%s]", poll->found.data));
	rmsync_json_field_raw(&buf, "seen", psprintf("[%s]", poll->seen.data));
	rmsync_json_field_raw(&buf, "lost", psprintf("[%s]", poll->lost.data));
	if (poll->query)
		add_state(poll, &buf);
	if (last)
		rmsync_json_field_bool(&buf, "end",
							   !poll->query || (poll->ended && !poll->cut_off));
	if (last && poll->error != NULL)
		rmsync_json_field(&buf, "error", poll->error);
	appendStringInfoChar(&buf, '}');
	nj->job->report = rmsync_notion_keep(nj, buf.data);
	start_report(poll);
}

/* A row or block was read, by a query or by its id. */
static void
add_found(NotionJob *nj, Jsonb *object, bool queried)
{
	int ticked;
	int state;
	NotionPoll *poll = nj->poll;
	char *edited = rmsync_json_get_string(object, "last_edited_time", NULL);
	StringInfo buf = &poll->found;

	if (!rmsync_notion_read_done(nj, object, &ticked, &state))
		return;
	if (poll->nfound++ > 0)
		appendStringInfoChar(buf, ',');
	appendStringInfoChar(buf, '{');
	rmsync_json_field(buf, "id", rmsync_notion_id(object));
	if (ticked >= 0)
		rmsync_json_field_bool(buf, "ticked", ticked > 0);
	if (state >= 0)
		rmsync_json_field_bool(buf, "state", state > 0);
	if (rmsync_notion_is_time(edited))
		rmsync_json_field(buf, "edited", edited);
	if (queried)
		rmsync_json_field_bool(buf, "queried", true);
	appendStringInfoChar(buf, '}');
}


/* ---- requests ---- */

static bool
of_rows(const NotionJob *nj)
{
	return nj->kind->type == RMSYNC_TODO;
}

static void
query_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	NotionPoll *poll = nj->poll;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	if (poll->from != NULL)
	{
		appendStringInfoString(&buf,
							   "\"filter\":{\"timestamp\":\"last_edited_time\",\"last_edited_time\":{");
		rmsync_json_field(&buf, "on_or_after", poll->from);
		appendStringInfoString(&buf, "}},");
	}
	appendStringInfoString(&buf,
						   "\"sorts\":[{\"timestamp\":\"last_edited_time\",\"direction\":\"ascending\"}]");
	/* a job reads the children of all pages it is told about */
	rmsync_json_field_int(&buf, "page_size", of_rows(nj) ? 100 : 10);
	if (poll->cursor != NULL)
		rmsync_json_field(&buf, "start_cursor", poll->cursor);
	appendStringInfoChar(&buf, '}');
	rmsync_notion_call(nj, request, NOTION_READ, "POST",
					   psprintf("/data_sources/%s/query",
								nj->remote.data_source_id),
					   buf.data, buf.len);
}

static Jsonb *
current_mark(const NotionPoll *poll)
{
	return poll->mark < poll->nmarks
			   ? rmsync_json_element(poll->marks, poll->mark)
			   : NULL;
}

static void
add_mark(StringInfo list, Jsonb *mark)
{
	if (list->len > 0)
		appendStringInfoChar(list, ',');
	rmsync_json_string(list, rmsync_json_get_string(mark, "id", NULL));
}

static void
mark_done(NotionPoll *poll)
{
	add_mark(&poll->seen, current_mark(poll));
	poll->mark++;
}

static void
list_page(NotionJob *nj, const char *id)
{
	MemoryContext old = MemoryContextSwitchTo(nj->job->cxt);

	nj->poll->pages = lappend(nj->poll->pages, pstrdup(id));
	MemoryContextSwitchTo(old);
}

/* The to-dos of a notebook's page, if that is what was asked for. */
static bool
list_mark(NotionJob *nj, Jsonb *mark, const char *id)
{
	if (of_rows(nj) || !rmsync_json_get_bool(mark, "list", false))
		return false;
	nj->poll->marked_page = true;
	list_page(nj, id);
	return true;
}

/*
 * The request for an object somebody named; false if there is none to be made.
 */
static bool
mark_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	Jsonb *mark = current_mark(nj->poll);
	char *id = rmsync_notion_id(mark);
	char *type = rmsync_json_get_string(mark, "type", NULL);
	bool page = of_rows(nj);

	if (id == NULL || type == NULL)
		return false; /* nothing of ours */
	if (strcmp(type, "notebook_metadata") == 0)
	{
		page = true;
		if (!rmsync_json_get_bool(mark, "look", false))
		{
			(void) list_mark(nj, mark, id);
			return false;
		}
	}
	else if (strcmp(type, "todo") != 0)
		return false;
	rmsync_notion_call(nj, request, NOTION_READ, "GET",
					   psprintf(page ? "/pages/%s" : "/blocks/%s", id), NULL, 0);
	return true;
}

static void
children_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	const char *page = linitial(nj->poll->pages);
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfo(&path, "/blocks/%s/children?page_size=100", page);
	if (nj->poll->children != NULL)
	{
		appendStringInfoString(&path, "&start_cursor=");
		rmsync_notion_encode(&path, nj->poll->children);
	}
	rmsync_notion_call(nj, request, NOTION_READ, "GET", path.data, NULL, 0);
}

/* Chooses the next request; false if there is none. */
static bool
next_request(NotionJob *nj, RmsyncHttpRequest *request)
{
	NotionPoll *poll = nj->poll;

	for (;;)
	{
		if (poll->pages != NIL)
		{
			children_request(nj, request);
			return true;
		}
		if (poll->marked_page)
		{
			poll->marked_page = false;
			mark_done(poll);
		}
		if (poll->mark >= poll->nmarks)
			break;
		if (mark_request(nj, request))
			return true;
		if (!poll->marked_page)
			mark_done(poll);
	}
	if (!poll->query || poll->ended || poll->requests >= MAX_REQUESTS)
		return false;
	if (poll->queried)
		rmsync_notion_poll_part_request(nj, poll->parts, request);
	else
		query_request(nj, request);
	return true;
}

bool
rmsync_notion_poll_next(NotionJob *nj, RmsyncHttpRequest *request,
						RmsyncStep *step)
{
	NotionPoll *poll = nj->poll;

	if (poll->input == NULL || poll->finished ||
		nj->notebook->outcome != RMSYNC_OUT_NONE)
	{
		/* what could not be recorded must not be passed over */
		if (nj->notebook->outcome == RMSYNC_OUT_NONE)
			rmsync_item_done(nj->job, nj->notebook, RMSYNC_OUT_WAIT, NULL, NULL);
		*step = RMSYNC_STEP_DONE;
		return true;
	}
	if (poll->nfound >= MAX_FOUND)
	{
		report(nj, false);
		*step = RMSYNC_STEP_COMMIT;
		return true;
	}
	if (poll->error == NULL && next_request(nj, request))
	{
		poll->requests++;
		*step = RMSYNC_STEP_REQUEST;
		return true;
	}
	report(nj, true);
	poll->finished = true;
	return false;
}


/* ---- answers ---- */

/*
 * The query goes on at the next cursor, or has come to its end.  Where Notion
 * gives no more rows for one filter, the next job begins with the last of them;
 * if those are all of one minute it passes over the rest of that.
 */
static void
query_part_done(NotionJob *nj)
{
	NotionPoll *poll = nj->poll;

	poll->cursor = poll->next_cursor;
	poll->next_cursor = NULL;
	if (poll->cursor != NULL)
		return;
	poll->cut_off = poll->cut_off && poll->max != NULL;
	poll->skip = poll->cut_off && poll->resumed &&
				 strcmp(poll->max, poll->watermark) == 0;
	poll->watermark = poll->max;
	if (!poll->cut_off && poll->max != NULL && poll->began != NULL &&
		strcmp(poll->began, poll->max) < 0)
		poll->watermark = poll->began;
	poll->queried = !poll->cut_off;
	poll->ended = poll->cut_off || rmsync_notion_poll_part(poll->parts) == NULL;
}

/* A part was listed, or need not be, or could not. */
static void
part_done(NotionPoll *poll, bool read)
{
	rmsync_notion_poll_part_done(poll->parts, read);
	poll->ended = rmsync_notion_poll_part(poll->parts) == NULL;
}

static void
part_answer(NotionJob *nj)
{
	NotionPoll *poll = nj->poll;

	if (rmsync_notion_poll_part_says(nj, poll->parts, nj->reply))
		list_page(nj, rmsync_notion_poll_part(poll->parts));
	else
		part_done(poll, true);
}

static void
query_answer(NotionJob *nj)
{
	NotionPoll *poll = nj->poll;
	Jsonb *results = rmsync_notion_reply_list(nj, "results");
	Jsonb *pages = rmsync_json_get(poll->input, "pages", NULL);
	char *cut;

	if (results == NULL)
		return;
	for (int i = 0; i < rmsync_json_array_length(results); i++)
	{
		Jsonb *page = rmsync_json_element(results, i);
		char *edited = rmsync_json_get_string(page, "last_edited_time", NULL);
		char *id = rmsync_notion_id(page);

		if (rmsync_notion_is_time(edited) &&
			(poll->max == NULL || strcmp(edited, poll->max) > 0))
			poll->max = rmsync_notion_keep(nj, edited);
		if (of_rows(nj))
			add_found(nj, page, true);
		else if (rmsync_json_get(pages, id, NULL) != NULL &&
				 !rmsync_json_get_bool(page, "in_trash", false))
			list_page(nj, id);
	}
	poll->next_cursor = rmsync_notion_reply_cursor(nj);
	cut = rmsync_json_get_string(nj->reply, "request_status", "type", NULL);
	poll->cut_off = cut != NULL && strcmp(cut, "incomplete") == 0;
	if (poll->pages == NIL)
		query_part_done(nj);
}

static void
children_done(NotionJob *nj, bool read)
{
	NotionPoll *poll = nj->poll;

	poll->children = NULL;
	poll->pages = list_delete_first(poll->pages);
	if (poll->pages != NIL || poll->marked_page)
		return;
	if (poll->queried)
		part_done(poll, read);
	else
		query_part_done(nj);
}

static void
children_answer(NotionJob *nj)
{
	NotionPoll *poll = nj->poll;
	Jsonb *results = rmsync_notion_reply_list(nj, "results");

	if (results == NULL)
		return;
	for (int i = 0; i < rmsync_json_array_length(results); i++)
		add_found(nj, rmsync_json_element(results, i), false);
	poll->children = rmsync_notion_reply_cursor(nj);
	if (poll->children == NULL)
		children_done(nj, true);
}

/* An object that somebody named, or its absence. */
static void
mark_answer(NotionJob *nj, bool there)
{
	NotionPoll *poll = nj->poll;
	Jsonb *mark = current_mark(poll);
	char *type = rmsync_json_get_string(mark, "type", NULL);

	there = there && !rmsync_json_get_bool(nj->reply, "in_trash", false);
	if (!there && rmsync_json_get_bool(mark, "look", false))
		add_mark(&poll->lost, mark);
	else if (there && strcmp(type, "todo") == 0)
		add_found(nj, nj->reply, false);
	else if (there && list_mark(nj, mark, rmsync_notion_id(mark)))
		return; /* it is done when that is */
	mark_done(poll);
}

/* Gone, or refused: what there is to be read does not concern us any more. */
static void
refused(NotionJob *nj)
{
	NotionPoll *poll = nj->poll;

	if (poll->pages != NIL)
		children_done(nj, false);
	else if (poll->mark < poll->nmarks)
		mark_done(poll);
	else if (poll->queried)
		part_done(poll, false);
	else
	{
		/* a cursor may have become invalid: from the watermark next time */
		poll->cursor = NULL;
		poll->ended = true;
		poll->error =
			rmsync_notion_keep(nj, nj->error ? nj->error : "invalid_request");
	}
}

void
rmsync_notion_poll_response(NotionJob *nj, const RmsyncHttpResponse *response)
{
	NotionPoll *poll = nj->poll;
	NotionAnswer answer = rmsync_notion_answer(nj, response);

	if (answer == NOTION_AGAIN)
		return;
	if (answer == NOTION_STOPPED)
	{
		/* a permission to read, which writing does not need; conflicts */
		if (nj->stop.scope == RMSYNC_FAIL_ITEM ||
			strcmp(nj->stop.code, "restricted_resource") == 0)
		{
			memset(&nj->stop, 0, sizeof(nj->stop));
			refused(nj);
		}
		return;
	}
	if (poll->pages == NIL && poll->mark < poll->nmarks &&
		(answer == NOTION_DONE || answer == NOTION_GONE))
		mark_answer(nj, answer == NOTION_DONE);
	else if (answer != NOTION_DONE)
		refused(nj);
	else if (poll->pages != NIL)
		children_answer(nj);
	else if (poll->queried)
		part_answer(nj);
	else
		query_answer(nj);
}
