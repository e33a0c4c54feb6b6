/*-------------------------------------------------------------------------
 *
 * api_markdown.c
 *	  SQL functions that show what becomes of a Markdown text.
 *
 * For people who wonder why a page looks as it does, and for the regression
 * tests, which check the limits of the services with them.  Nothing here is on
 * the way of an item; no network, no tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "json.h"
#include "markdown.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "notion_blocks.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(rmsync_markdown_text_sql);
PG_FUNCTION_INFO_V1(rmsync_markdown_tree_sql);
PG_FUNCTION_INFO_V1(rmsync_notion_blocks_sql);
PG_FUNCTION_INFO_V1(rmsync_notion_requests_sql);

static RmsyncDocument *
parse(const text *markdown)
{
	const char *data = VARDATA_ANY(markdown);
	int len = VARSIZE_ANY_EXHDR(markdown);
	char *why;
	RmsyncDocument *doc;

	/* what the targets get is UTF-8 in any database */
	if (GetDatabaseEncoding() != PG_UTF8)
		pg_verify_mbstr(PG_UTF8, data, len, false);
	doc = rmsync_markdown_parse(data, len, &why);
	if (doc == NULL)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("cannot render Markdown: %s", why)));
	return doc;
}

static Datum
json_datum(const StringInfo buf)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(buf->data));
}

static void
append_text(StringInfo buf, const RmsyncBlock *first)
{
	check_stack_depth();
	for (const RmsyncBlock *block = first; block; block = block->next)
	{
		if (block->runs != NULL && buf->len > 0)
			appendStringInfoChar(buf, '\n');
		for (const RmsyncRun *run = block->runs; run; run = run->next)
			appendBinaryStringInfo(buf, run->text, run->len);
		append_text(buf, block->children);
	}
}

Datum
rmsync_markdown_text_sql(PG_FUNCTION_ARGS)
{
	RmsyncDocument *doc = parse(PG_GETARG_TEXT_PP(0));
	StringInfoData buf;

	initStringInfo(&buf);
	append_text(&buf, doc->blocks);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len));
}

static const char *
block_type_name(RmsyncBlockType type)
{
	switch (type)
	{
		case RMSYNC_BLOCK_PARAGRAPH:
			return "paragraph";
		case RMSYNC_BLOCK_HEADING:
			return "heading";
		case RMSYNC_BLOCK_BULLET:
			return "bullet";
		case RMSYNC_BLOCK_NUMBERED:
			return "numbered";
		case RMSYNC_BLOCK_TODO:
			return "todo";
		case RMSYNC_BLOCK_QUOTE:
			return "quote";
		case RMSYNC_BLOCK_CODE:
			return "code";
		case RMSYNC_BLOCK_DIVIDER:
			return "divider";
		case RMSYNC_BLOCK_TABLE:
			return "table";
		case RMSYNC_BLOCK_ROW:
			return "row";
		case RMSYNC_BLOCK_CELL:
			return "cell";
	}
	return "unrecognized";
}

/* A run is a string, or an object if it has a style or a link. */
static void
append_run(StringInfo buf, const RmsyncRun *run)
{
	static const char letters[] = "biscu"; /* in the order of RMSYNC_RUN_* */
	char style[sizeof(letters)];
	int n = 0;

	if (run->style == 0 && run->link == NULL)
	{
		rmsync_json_stringn(buf, run->text, run->len);
		return;
	}
	for (int i = 0; letters[i] != '\0'; i++)
	{
		if (run->style & (1 << i))
			style[n++] = letters[i];
	}
	style[n] = '\0';
	appendStringInfoString(buf, "{\"text\":");
	rmsync_json_stringn(buf, run->text, run->len);
	if (n > 0)
	{
		appendStringInfoString(buf, ",\"style\":");
		rmsync_json_string(buf, style);
	}
	if (run->link != NULL)
	{
		appendStringInfoString(buf, ",\"link\":");
		rmsync_json_string(buf, run->link);
	}
	appendStringInfoChar(buf, '}');
}

static void
append_tree(StringInfo buf, const RmsyncBlock *first)
{
	check_stack_depth();
	appendStringInfoChar(buf, '[');
	for (const RmsyncBlock *block = first; block; block = block->next)
	{
		appendStringInfo(buf, "%s{\"type\":\"%s\"", block == first ? "" : ",",
						 block_type_name(block->type));
		if (block->level != 0)
			appendStringInfo(buf, ",\"level\":%d", block->level);
		if (block->checked)
			appendStringInfoString(buf, ",\"checked\":true");
		if (block->info != NULL)
		{
			appendStringInfoString(buf, ",\"info\":");
			rmsync_json_string(buf, block->info);
		}
		if (block->runs != NULL)
			appendStringInfoString(buf, ",\"runs\":[");
		for (const RmsyncRun *run = block->runs; run; run = run->next)
		{
			append_run(buf, run);
			appendStringInfoChar(buf, run->next != NULL ? ',' : ']');
		}
		if (block->children != NULL)
		{
			appendStringInfoString(buf, ",\"children\":");
			append_tree(buf, block->children);
		}
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoChar(buf, ']');
}

Datum
rmsync_markdown_tree_sql(PG_FUNCTION_ARGS)
{
	RmsyncDocument *doc = parse(PG_GETARG_TEXT_PP(0));
	StringInfoData buf;

	initStringInfo(&buf);
	append_tree(&buf, doc->blocks);
	PG_RETURN_DATUM(json_datum(&buf));
}

static void
append_blocks(StringInfo buf, const NotionBlock *first)
{
	check_stack_depth();
	for (const NotionBlock *block = first; block; block = block->next)
	{
		if (block != first)
			appendStringInfoChar(buf, ',');
		appendStringInfoString(buf, block->head);
		if (block->children != NULL)
		{
			appendStringInfoString(buf, ",\"children\":[");
			append_blocks(buf, block->children);
			appendStringInfoChar(buf, ']');
		}
		appendStringInfoString(buf, block->tail);
	}
}

Datum
rmsync_notion_blocks_sql(PG_FUNCTION_ARGS)
{
	RmsyncDocument *doc = parse(PG_GETARG_TEXT_PP(0));
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	append_blocks(&buf, rmsync_notion_render(doc));
	appendStringInfoChar(&buf, ']');
	PG_RETURN_DATUM(json_datum(&buf));
}

/* Appends one request's row and gives the blocks written made-up ids. */
static void
put_request(ReturnSetInfo *rsinfo, const char *parent_id, NotionBlock *first,
			int *last_id)
{
	StringInfoData body;
	Datum values[3];
	bool nulls[3] = { false };
	int n;
	bool whole;

	CHECK_FOR_INTERRUPTS();
	initStringInfo(&body);
	rmsync_notion_pack_append(first, NULL, &body, &n, &whole);
	values[0] = CStringGetTextDatum(parent_id);
	values[1] = Int32GetDatum(*last_id + 1);
	values[2] = PointerGetDatum(cstring_to_text_with_len(body.data, body.len));
	for (; n > 0; n--, first = first->next)
		first->id = psprintf("b%d", ++(*last_id));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	pfree(body.data);
}

Datum
rmsync_notion_requests_sql(PG_FUNCTION_ARGS)
{
	RmsyncDocument *doc = parse(PG_GETARG_TEXT_PP(0));
	char *title = text_to_cstring(PG_GETARG_TEXT_PP(1));
	NotionBlock *toggle;
	NotionBlock *open;
	NotionBlock *parent;
	int last_id = 0;

	InitMaterializedSRF(fcinfo, 0);
	toggle = rmsync_notion_toggle(title, NULL, rmsync_notion_render(doc));
	put_request((ReturnSetInfo *) fcinfo->resultinfo, "page", toggle, &last_id);
	while ((open = rmsync_notion_next_open(toggle, &parent)) != NULL)
	{
		if (open->id == NULL)
			elog(ERROR, "open block has no id");
		put_request((ReturnSetInfo *) fcinfo->resultinfo, open->id,
					rmsync_notion_next_child(open), &last_id);
	}
	PG_RETURN_NULL();
}
