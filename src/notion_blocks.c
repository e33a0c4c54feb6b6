/*-------------------------------------------------------------------------
 *
 * notion_blocks.c
 *	  Document tree to Notion blocks.
 *
 * Called by the Notion targets.  Pure: no SPI, curl or GUC.  Every word of the
 * document ends up in a block, in the order of the document; what a block
 * cannot hold goes to the next one:
 *
 * - Text of more items or bytes than one block takes goes on in a sibling of
 *	 the same type; below a list item or quote in paragraphs that come before
 *	 its other children.
 * - Children of a block that takes none become its following siblings.
 * - Notion counts numbered lists itself, from 1.  Where the source counts
 *	 otherwise ("14. March") the number is written as text of a paragraph.
 * - A table of more than 100 rows becomes several; one that is too wide, or
 *	 has a cell that is too long, becomes a code block.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "json.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "notion_blocks.h"
#include "notion_text.h"

#define MAX_ITEMS 100 /* of a rich_text or children array, columns too */

/*
 * A block's own JSON must leave room in a request of 450 000 bytes.  One item
 * has at most 2000 units and a URL, each unit up to 6 bytes when escaped.
 */
#define MAX_TEXT_BYTES 200000
#define MAX_ROW_BYTES 100000
#define MAX_TABLE_BYTES 300000

/* `,"children":[` and `]` */
#define CHILDREN_BYTES 14

typedef struct BlockList
{
	NotionBlock *first;
	NotionBlock *last;
} BlockList;

/* Text being split into rich_text arrays of legal size. */
typedef struct TextGroups
{
	List *done; /* char *, complete arrays */
	StringInfoData buf;
	int nitems;
} TextGroups;

static void render_siblings(BlockList *list, const RmsyncBlock *first);

/* ----- text ----- */

static void
end_group(TextGroups *groups)
{
	appendStringInfoChar(&groups->buf, ']');
	groups->done = lappend(groups->done, groups->buf.data);
}

static void
begin_group(TextGroups *groups)
{
	initStringInfo(&groups->buf);
	appendStringInfoChar(&groups->buf, '[');
	groups->nitems = 0;
}

static void
add_item(TextGroups *groups, const char *text, size_t len, const char *link,
		 int style)
{
	while (len > 0)
	{
		size_t n = rmsync_notion_cut(text, len, NOTION_MAX_UNITS);

		CHECK_FOR_INTERRUPTS();
		if (groups->nitems == MAX_ITEMS || groups->buf.len > MAX_TEXT_BYTES)
		{
			end_group(groups);
			begin_group(groups);
		}
		if (groups->nitems++ > 0)
			appendStringInfoChar(&groups->buf, ',');
		rmsync_notion_text_item(&groups->buf, text, n, link, style);
		text += n;
		len -= n;
	}
}

static bool
same_link(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

/* All runs as one or more rich_text arrays, the first with "prefix". */
static List *
text_groups(const char *prefix, const RmsyncRun *runs)
{
	TextGroups groups = { NIL };

	begin_group(&groups);
	add_item(&groups, prefix, strlen(prefix), NULL, 0);
	for (const RmsyncRun *run = runs; run != NULL; run = run->next)
	{
		add_item(&groups, run->text, run->len, run->link, run->style);

		/* An address Notion refuses as a link is still said. */
		if (run->link != NULL && !rmsync_notion_can_link(run->link) &&
			(run->next == NULL || !same_link(run->link, run->next->link)))
		{
			add_item(&groups, " (", 2, NULL, 0);
			add_item(&groups, run->link, strlen(run->link), NULL, 0);
			add_item(&groups, ")", 1, NULL, 0);
		}
	}
	end_group(&groups);
	return groups.done;
}

/* ----- blocks ----- */

static void
add_block(BlockList *list, NotionBlock *block)
{
	if (list->last != NULL)
		list->last->next = block;
	else
		list->first = block;
	list->last = block;
}

/* Adds up what the packer wants to know; children must be complete. */
static void
set_children(NotionBlock *block, NotionBlock *children)
{
	block->children = block->rest = block->open = children;
	block->total = block->height = 1;
	block->nchildren = 0;
	block->bytes = strlen(block->head) + strlen(block->tail);
	for (NotionBlock *c = children; c != NULL; c = c->next)
	{
		block->nchildren++;
		block->total += c->total;
		block->bytes += c->bytes + 1;
		block->height = Max(block->height, c->height + 1);
		block->fan = Max(block->fan, c->fan);
	}
	if (children != NULL)
		block->bytes += CHILDREN_BYTES;
	block->fan = Max(block->fan, block->nchildren);
}

static NotionBlock *
new_block(const char *type, const char *fields, const char *extra)
{
	NotionBlock *block = palloc0(sizeof(NotionBlock));

	block->head =
		psprintf("{\"type\":\"%s\",\"%s\":{%s%s", type, type, fields, extra);
	block->tail = "}}";
	set_children(block, NULL);
	return block;
}

NotionBlock *
rmsync_notion_text_block(const char *type, const char *rich_text,
						 const char *extra)
{
	char *fields = psprintf("\"rich_text\":%s", rich_text);
	NotionBlock *block = new_block(type, fields, extra);

	pfree(fields);
	return block;
}

/* A block with text that takes children: list items, to-dos, quotes. */
static void
render_container(BlockList *list, const RmsyncBlock *block, const char *type,
				 const char *prefix, const char *extra)
{
	List *groups = text_groups(prefix, block->runs);
	NotionBlock *result = rmsync_notion_text_block(type, linitial(groups), extra);
	BlockList children = { NULL };
	ListCell *lc;

	for_each_from(lc, groups, 1)
		add_block(&children,
				  rmsync_notion_text_block("paragraph", lfirst(lc), ""));
	list_free_deep(groups);
	render_siblings(&children, block->children);
	set_children(result, children.first);
	add_block(list, result);
}

/* A block with text that takes no children. */
static void
render_plain(BlockList *list, const RmsyncBlock *block, const char *type)
{
	List *groups = text_groups("", block->runs);
	ListCell *lc;

	foreach (lc, groups)
		add_block(list, rmsync_notion_text_block(type, lfirst(lc), ""));
	list_free_deep(groups);
	render_siblings(list, block->children);
}

/* ----- code ----- */

/* What people write after a fence, and Notion's closed list of languages. */
static const char *const languages[][2] = {
	{ "asm", "assembly" },		{ "bat", "powershell" },
	{ "cpp", "c++" },			{ "cs", "c#" },
	{ "csharp", "c#" },			{ "cxx", "c++" },
	{ "dockerfile", "docker" }, { "erl", "erlang" },
	{ "ex", "elixir" },			{ "fs", "f#" },
	{ "fsharp", "f#" },			{ "gql", "graphql" },
	{ "golang", "go" },			{ "hs", "haskell" },
	{ "htm", "html" },			{ "jl", "julia" },
	{ "js", "javascript" },		{ "jsx", "javascript" },
	{ "kt", "kotlin" },			{ "make", "makefile" },
	{ "md", "markdown" },		{ "ml", "ocaml" },
	{ "objc", "objective-c" },	{ "pl", "perl" },
	{ "plain", "plain text" },	{ "plaintext", "plain text" },
	{ "proto", "protobuf" },	{ "ps1", "powershell" },
	{ "py", "python" },			{ "rb", "ruby" },
	{ "rs", "rust" },			{ "sh", "shell" },
	{ "tex", "latex" },			{ "text", "plain text" },
	{ "ts", "typescript" },		{ "tsx", "typescript" },
	{ "txt", "plain text" },	{ "vb", "visual basic" },
	{ "wasm", "webassembly" },	{ "yml", "yaml" },
	{ "zsh", "shell" },
};
static const char *const notion_languages[] = {
	"abap",			"abc",		   "agda",
	"arduino",		"assembly",	   "bash",
	"basic",		"bnf",		   "c",
	"c#",			"c++",		   "clojure",
	"coffeescript", "coq",		   "css",
	"dart",			"dhall",	   "diff",
	"docker",		"ebnf",		   "elixir",
	"elm",			"erlang",	   "f#",
	"flow",			"fortran",	   "gherkin",
	"glsl",			"go",		   "graphql",
	"groovy",		"haskell",	   "hcl",
	"html",			"idris",	   "java",
	"javascript",	"json",		   "julia",
	"kotlin",		"latex",	   "less",
	"lisp",			"livescript",  "lua",
	"makefile",		"markdown",	   "markup",
	"mathematica",	"matlab",	   "mermaid",
	"nix",			"objective-c", "ocaml",
	"pascal",		"perl",		   "php",
	"powershell",	"prolog",	   "protobuf",
	"purescript",	"python",	   "r",
	"racket",		"reason",	   "ruby",
	"rust",			"sass",		   "scala",
	"scheme",		"scss",		   "shell",
	"smalltalk",	"solidity",	   "sql",
	"swift",		"toml",		   "typescript",
	"vb.net",		"verilog",	   "vhdl",
	"webassembly",	"xml",		   "yaml",
};

/* NULL = none of Notion's. */
static const char *
code_language(const char *info)
{
	if (info == NULL || info[0] == '\0')
		return "plain text";
	for (int i = 0; i < lengthof(languages); i++)
	{
		if (pg_strcasecmp(info, languages[i][0]) == 0)
			return languages[i][1];
	}
	for (int i = 0; i < lengthof(notion_languages); i++)
	{
		if (pg_strcasecmp(info, notion_languages[i]) == 0)
			return notion_languages[i];
	}
	return NULL;
}

/* What the fence says and the language cannot goes to the caption. */
static void
render_code(BlockList *list, const RmsyncRun *runs, const char *info)
{
	const char *language = code_language(info);
	char *plain;
	StringInfoData extra;
	ListCell *lc;

	plain = psprintf(",\"language\":\"%s\"", language ? language : "plain text");
	initStringInfo(&extra);
	appendStringInfoString(&extra, plain);
	if (language == NULL)
	{
		appendStringInfoString(&extra, ",\"caption\":");
		rmsync_notion_rich_text(&extra, info, NULL, 0);
	}
	foreach (lc, text_groups("", runs))
	{
		add_block(list, rmsync_notion_text_block("code", lfirst(lc), extra.data));
		resetStringInfo(&extra);
		appendStringInfoString(&extra, plain);
	}
}

/* ----- tables ----- */

/*
 * One row as JSON of a table_row block with "columns" cells; NULL if Notion
 * cannot take it.
 */
static NotionBlock *
table_row(const RmsyncBlock *row, int columns)
{
	const RmsyncBlock *cell = row->children;
	NotionBlock *result;
	bool too_long;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "\"cells\":[");
	for (int i = 0; i < columns; i++)
	{
		List *groups = text_groups("", cell != NULL ? cell->runs : NULL);

		if (i > 0)
			appendStringInfoChar(&buf, ',');
		appendStringInfoString(&buf, linitial(groups));
		too_long = list_length(groups) > 1 || buf.len > MAX_ROW_BYTES;
		list_free_deep(groups);
		if (too_long)
			return NULL;
		cell = cell != NULL ? cell->next : NULL;
	}
	appendStringInfoChar(&buf, ']');
	result = new_block("table_row", buf.data, "");
	pfree(buf.data);
	return result;
}

/* The table as text, for one that Notion cannot hold. */
static void
render_table_as_code(BlockList *list, const RmsyncBlock *table)
{
	StringInfoData buf;
	RmsyncRun run = { NULL };

	initStringInfo(&buf);
	for (const RmsyncBlock *row = table->children; row; row = row->next)
	{
		appendStringInfoChar(&buf, '|');
		for (const RmsyncBlock *cell = row->children; cell; cell = cell->next)
		{
			appendStringInfoChar(&buf, ' ');
			for (const RmsyncRun *r = cell->runs; r; r = r->next)
				appendBinaryStringInfo(&buf, r->text, r->len);
			appendStringInfoString(&buf, " |");
		}
		if (row->next != NULL)
			appendStringInfoChar(&buf, '\n');
	}
	run.text = buf.data;
	run.len = buf.len;
	render_code(list, &run, NULL);
}

static void
add_table(BlockList *list, NotionBlock *rows, int columns, bool header)
{
	char *fields = psprintf("\"table_width\":%d,\"has_column_header\":%s,"
							"\"has_row_header\":false",
							columns, header ? "true" : "false");
	NotionBlock *table = new_block("table", fields, "");

	table->atomic = true;
	set_children(table, rows);
	add_block(list, table);
}

static void
render_table(BlockList *list, const RmsyncBlock *table)
{
	int columns = 0;
	BlockList rows = { NULL };
	BlockList tables = { NULL };
	size_t bytes = 0;
	int nrows = 0;
	bool header = table->children != NULL && table->children->checked;

	for (const RmsyncBlock *row = table->children; row; row = row->next)
	{
		int n = 0;

		for (const RmsyncBlock *cell = row->children; cell; cell = cell->next)
			n++;
		columns = Max(columns, n);
	}
	for (const RmsyncBlock *row = table->children; row; row = row->next)
	{
		NotionBlock *r = columns <= MAX_ITEMS ? table_row(row, columns) : NULL;

		if (r == NULL)
		{
			render_table_as_code(list, table);
			return;
		}
		if (nrows == MAX_ITEMS || bytes + r->bytes > MAX_TABLE_BYTES)
		{
			add_table(&tables, rows.first, columns, header);
			header = false;
			rows.first = rows.last = NULL;
			nrows = 0;
			bytes = 0;
		}
		add_block(&rows, r);
		nrows++;
		bytes += r->bytes;
	}
	if (rows.first != NULL)
		add_table(&tables, rows.first, columns, header);
	if (tables.first == NULL)
		return;
	add_block(list, tables.first);
	list->last = tables.last;
}

/* ----- the tree ----- */

/* How Notion counts a list, and where we have to write the number. */
typedef struct Counter
{
	int shown;	  /* number of the item before */
	bool literal; /* numbers are text from here on */
} Counter;

static void
render_numbered(BlockList *list, const RmsyncBlock *block, Counter *counter)
{
	char prefix[16] = "";

	if (block->level == 0 || block->level == counter->shown + 1)
		counter->shown++;
	else
	{
		/* below a paragraph Notion begins at 1 again */
		counter->literal = !(counter->literal && block->level == 1);
		counter->shown = block->level;
	}
	if (counter->literal)
		snprintf(prefix, sizeof(prefix), "%d. ", counter->shown);
	render_container(list, block,
					 counter->literal ? "paragraph" : "numbered_list_item",
					 prefix, "");
}

static void
render_block(BlockList *list, const RmsyncBlock *block, Counter *counter)
{
	static const char *const headings[] = { "heading_1", "heading_2",
											"heading_3", "heading_4" };

	switch (block->type)
	{
		case RMSYNC_BLOCK_PARAGRAPH:
			render_plain(list, block, "paragraph");
			break;
		case RMSYNC_BLOCK_HEADING:
			render_plain(list, block, headings[Min(Max(block->level, 1), 4) - 1]);
			break;
		case RMSYNC_BLOCK_BULLET:
			render_container(list, block, "bulleted_list_item", "", "");
			break;
		case RMSYNC_BLOCK_NUMBERED:
			render_numbered(list, block, counter);
			break;
		case RMSYNC_BLOCK_TODO:
			render_container(list, block, "to_do", "",
							 block->checked ? ",\"checked\":true"
											: ",\"checked\":false");
			break;
		case RMSYNC_BLOCK_QUOTE:
			render_container(list, block, "quote", "", "");
			break;
		case RMSYNC_BLOCK_CODE:
			render_code(list, block->runs, block->info);
			break;
		case RMSYNC_BLOCK_DIVIDER:
			add_block(list, new_block("divider", "", ""));
			break;
		case RMSYNC_BLOCK_TABLE:
			render_table(list, block);
			break;
		case RMSYNC_BLOCK_ROW:
		case RMSYNC_BLOCK_CELL:
			elog(ERROR, "table part outside of a table");
	}
}

static void
render_siblings(BlockList *list, const RmsyncBlock *first)
{
	Counter counter = { 0 };

	check_stack_depth();
	for (const RmsyncBlock *block = first; block != NULL; block = block->next)
	{
		if (block->type != RMSYNC_BLOCK_NUMBERED)
			memset(&counter, 0, sizeof(counter));
		render_block(list, block, &counter);
	}
}

NotionBlock *
rmsync_notion_render(const RmsyncDocument *doc)
{
	BlockList list = { NULL };

	render_siblings(&list, doc->blocks);
	return list.first;
}

NotionBlock *
rmsync_notion_toggle(const char *title, const char *marker, NotionBlock *children)
{
	StringInfoData buf;
	NotionBlock *toggle;

	initStringInfo(&buf);
	rmsync_notion_rich_text(&buf, title, marker, RMSYNC_RUN_BOLD);
	toggle = rmsync_notion_text_block("toggle", buf.data, "");
	set_children(toggle, children);
	return toggle;
}
