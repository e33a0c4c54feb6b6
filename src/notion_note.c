/*-------------------------------------------------------------------------
 *
 * notion_note.c
 *	  Notes: the highlights and to-dos of a notebook as blocks of its page.
 *
 * A note is one block without children, so a new text changes it in place: a
 * reader's comments on it stay, and it takes one request.  Highlights follow
 * the toggle of their page (inside of it they would go whenever the page's
 * text is replaced); to-dos stand at the end, below a heading.
 *
 * The heading has no item in the source.  It is treated as one, kept in the
 * notebook's ledger entry (notion_ledger.c), that is there as long as there
 * are to-dos.
 *
 * Called by notion_plan.c, notion_page.c, notion_write.c, notion_resolve.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "target_notion.h"

#define HEADING_TEXT "To-dos"
#define HEADING_TYPE "heading_2"

/* A note must have a text: its first run carries our marker. */
#define NO_TEXT "(no text)"

/* Bytes of an author's name that are shown. */
#define MAX_AUTHOR 400


/* ---- the heading ---- */

bool
rmsync_notion_is_heading(const RmsyncItem *item)
{
	return item->type == RMSYNC_TODO && item->id[0] == '\0';
}

static bool
wants_heading(NotionJob *nj)
{
	RmsyncJob *job = nj->job;

	if (!nj->config.todos || !nj->notebook->present)
		return false;
	for (int i = 0; i < job->nsiblings; i++)
	{
		if (job->siblings[i].type == RMSYNC_TODO)
			return true;
	}
	for (int i = 0; i < job->nitems; i++)
	{
		if (job->items[i]->type == RMSYNC_TODO && job->items[i]->present)
			return true;
	}
	return false;
}

/*
 * The heading as an item; NULL if it neither is there nor shall be.  "json"
 * is what the notebook's ledger entry says of it.
 */
RmsyncItem *
rmsync_notion_load_heading(NotionJob *nj, Jsonb *json)
{
	RmsyncItem *item;
	Jsonb *intent = rmsync_json_get(json, "intent", NULL);
	Jsonb *metadata = rmsync_json_get(json, "metadata", NULL);

	if (json == NULL && !wants_heading(nj))
		return NULL;
	item = palloc0(sizeof(RmsyncItem));
	item->type = RMSYNC_TODO;
	item->id = "";
	item->notebook_uuid = nj->notebook->id;
	item->src.text = HEADING_TEXT;
	item->present = item->ready = wants_heading(nj);
	strlcpy(item->content_hash, "heading", sizeof(item->content_hash));

	item->ledger.exists = json != NULL;
	item->ledger.external_id = rmsync_json_get_string(json, "id", NULL);
	item->ledger.config_epoch = nj->job->lane->config_epoch;
	if (item->ledger.external_id != NULL)
	{
		strlcpy(item->ledger.content_hash, item->content_hash,
				sizeof(item->ledger.content_hash));
		item->ledger.success = true;
	}
	if (intent != NULL)
		item->ledger.intent = rmsync_json_text(intent);
	if (metadata != NULL)
		item->ledger.metadata = rmsync_json_text(metadata);
	nj->heading = item;
	return item;
}

/*
 * Appends what a later job has to know of the heading.
 */
void
rmsync_notion_heading_meta(NotionJob *nj, StringInfo buf)
{
	const RmsyncLedger *ledger;

	if (nj->heading == NULL || !nj->heading->ledger.exists)
		return;
	ledger = &nj->heading->ledger;
	rmsync_json_key(buf, "heading");
	appendStringInfoChar(buf, '{');
	if (ledger->external_id != NULL)
		rmsync_json_field(buf, "id", ledger->external_id);
	if (ledger->intent != NULL)
		rmsync_json_field_raw(buf, "intent", ledger->intent);
	/* an older heading that is still to be deleted, above all */
	if (ledger->metadata != NULL)
		rmsync_json_field_raw(buf, "metadata", ledger->metadata);
	appendStringInfoChar(buf, '}');
}


/* ---- blocks ---- */

/* Type of the block that an item becomes. */
const char *
rmsync_notion_block_type(NotionJob *nj, const RmsyncItem *item)
{
	if (item->type == RMSYNC_HIGHLIGHT)
		return nj->config.highlights ? nj->config.highlights : "callout";
	if (item->type == RMSYNC_TODO)
		return rmsync_notion_is_heading(item) ? HEADING_TYPE : "to_do";
	return "toggle";
}

/*
 * May a block of this type be what the key says?  A reader may have put our
 * link into some other block.
 */
bool
rmsync_notion_may_be(const char *type, const char *key)
{
	if (strncmp(key, "h/", 2) == 0)
		return strcmp(type, "callout") == 0 || strcmp(type, "quote") == 0;
	if (strcmp(key, "t/") == 0)
		return strcmp(type, HEADING_TYPE) == 0;
	if (strncmp(key, "t/", 2) == 0)
		return strcmp(type, "to_do") == 0;
	return strcmp(type, "toggle") == 0 || strcmp(type, "paragraph") == 0;
}

/* A block that may be it, but is not what the configuration asks for. */
bool
rmsync_notion_outdated_type(NotionJob *nj, const char *type, const char *key)
{
	return strncmp(key, "h/", 2) == 0 && nj->config.highlights != NULL &&
		   strcmp(type, nj->config.highlights) != 0;
}

/* Appends more items to a rich_text array that has one already. */
static void
add_texts(StringInfo buf, const char *text, int style)
{
	StringInfoData more;

	initStringInfo(&more);
	rmsync_notion_rich_text(&more, text, NULL, style);
	Assert(buf->data[buf->len - 1] == ']' && more.len > 2);
	buf->data[buf->len - 1] = ',';
	appendStringInfoString(buf, more.data + 1);
}

static void
add_gray(StringInfo buf, const char *text)
{
	buf->data[--buf->len] = '\0';
	appendStringInfoString(buf, ",{\"type\":\"text\",\"text\":{");
	rmsync_json_field(buf, "content", text);
	appendStringInfoString(buf, "},\"annotations\":{\"color\":\"gray\"}}]");
}

/*
 * Where a highlight comes from: "Page 12, PDF, author".  The book's title is
 * that of the page it stands in.
 */
static char *
highlight_source(const RmsyncSource *src)
{
	const char *type = src->document_type;
	StringInfoData buf;

	initStringInfo(&buf);
	if (src->page_number > 0)
		appendStringInfo(&buf, ", Page %d", src->page_number);
	if (type != NULL && strcmp(type, "pdf") == 0)
		appendStringInfoString(&buf, ", PDF");
	else if (type != NULL && strcmp(type, "epub") == 0)
		appendStringInfoString(&buf, ", EPUB");
	if (src->author != NULL && *src->author != '\0')
		appendStringInfo(&buf, ", %.*s",
						 pg_encoding_mbcliplen(PG_UTF8, src->author,
											   strlen(src->author), MAX_AUTHOR),
						 src->author);
	return buf.len > 0 ? buf.data + 2 : NULL;
}

/*
 * Everything a note says, as one rich_text array.
 */
static char *
note_text(NotionJob *nj, const RmsyncItem *item, const char *rm)
{
	const RmsyncSource *src = &item->src;
	bool named = src->text != NULL && *src->text != '\0';
	char *source = highlight_source(src);
	StringInfoData buf;

	initStringInfo(&buf);
	rmsync_notion_rich_text(&buf, named ? src->text : NO_TEXT,
							rmsync_notion_link(nj, item, rm), 0);
	if (item->type == RMSYNC_HIGHLIGHT)
	{
		if (src->note != NULL && *src->note != '\0')
			add_texts(&buf, psprintf("\n%s", src->note), RMSYNC_RUN_ITALIC);
		if (source != NULL)
			add_gray(&buf, psprintf("\n%s", source));
	}
	return buf.data;
}

NotionBlock *
rmsync_notion_note_block(NotionJob *nj, const RmsyncItem *item, const char *rm)
{
	const char *type = rmsync_notion_block_type(nj, item);
	const char *extra = "";

	if (strcmp(type, "callout") == 0)
		extra =
			",\"icon\":{\"type\":\"emoji\",\"emoji\":\"\xF0\x9F\x92\xA1\"},\"color\":\"yellow_background\"";
	else if (strcmp(type, "to_do") == 0)
		extra = item->src.completed ? ",\"checked\":true" : ",\"checked\":false";
	return rmsync_notion_text_block(type, note_text(nj, item, rm), extra);
}

/*
 * Body of the request that changes a note in place.  Its colours and icon are
 * the reader's by then.
 */
char *
rmsync_notion_note_patch(NotionJob *nj, const RmsyncItem *item, const char *rm)
{
	const char *type = rmsync_notion_block_type(nj, item);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"%s\":{", type);
	rmsync_json_field_raw(&buf, "rich_text", note_text(nj, item, rm));
	if (strcmp(type, "to_do") == 0 && rmsync_notion_says_done(nj, item))
		rmsync_json_field_bool(&buf, "checked", item->src.completed);
	appendStringInfoString(&buf, "}}");
	return buf.data;
}
