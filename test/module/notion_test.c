/*-------------------------------------------------------------------------
 *
 * notion_test.c
 *	  SQL functions that recognize and align blocks, for
 *	  test/sql/notion_align.sql.
 *
 * Part of the library of rmsync_test.c.  Must never be installed on a
 * production server.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "json.h"
#include "notion_match.h"

PG_FUNCTION_INFO_V1(rmsync_test_notion_prints);
PG_FUNCTION_INFO_V1(rmsync_test_notion_print);
PG_FUNCTION_INFO_V1(rmsync_test_notion_align);
PG_FUNCTION_INFO_V1(rmsync_test_notion_recognize);

static NotionPrint *
read_prints(text *arg, int *n)
{
	return rmsync_notion_prints_read(text_to_cstring(arg), n);
}

/*
 * rmsync_test_notion_prints(prints text) returns text: how many there are at
 * the top and in all, and what is written of them; NULL if they cannot be read
 */
Datum
rmsync_test_notion_prints(PG_FUNCTION_ARGS)
{
	int n;
	NotionPrint *prints = read_prints(PG_GETARG_TEXT_PP(0), &n);
	NotionPrint *flat;
	int nflat;

	if (prints == NULL)
		PG_RETURN_NULL();
	flat = rmsync_notion_prints_flat(prints, n, &nflat);
	for (int i = 0; i < nflat; i++)
	{
		if (flat[i].kind == '\0')
			elog(ERROR, "print %d is not there", i);
	}
	PG_RETURN_TEXT_P(cstring_to_text(
		psprintf("%d/%d %s", n, nflat, rmsync_notion_prints_text(prints, n))));
}

/* rmsync_test_notion_print(block text) returns text: of a block of an answer */
Datum
rmsync_test_notion_print(PG_FUNCTION_ARGS)
{
	char *json = text_to_cstring(PG_GETARG_TEXT_PP(0));
	NotionFound found;

	if (!rmsync_notion_read_found(rmsync_json_parse(json, strlen(json)), &found))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(rmsync_notion_prints_text(&found.print, 1)));
}

/*
 * rmsync_test_notion_align(there text, wanted text, thrifty bool) returns text:
 * what it costs, and what becomes of each print: the number of the one that is
 * wanted, "=" as it is, "~" with another text, "+" if something changes below;
 * "-" it goes.  thrifty NULL: as it takes.
 */
Datum
rmsync_test_notion_align(PG_FUNCTION_ARGS)
{
	int n;
	int nwanted;
	NotionPrint *there = read_prints(PG_GETARG_TEXT_PP(0), &n);
	NotionPrint *wanted = read_prints(PG_GETARG_TEXT_PP(1), &nwanted);
	NotionFound *found = rmsync_notion_as_known(there, n);
	NotionCost cost;
	bool thrifty = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	bool done;
	StringInfoData buf;

	if (PG_ARGISNULL(2))
		done = rmsync_notion_align_small(found, n, wanted, nwanted, &thrifty,
										 &cost);
	else
		done = rmsync_notion_align(found, n, wanted, nwanted, thrifty, &cost);
	initStringInfo(&buf);
	appendStringInfo(&buf, "%s%s%d writes, %d reads, %d kept:",
					 done ? "" : "no: ", thrifty ? "thrifty, " : "",
					 cost.writes, cost.reads, cost.kept);
	for (int i = 0; i < n; i++)
	{
		if (found[i].wanted < 0)
			appendStringInfoString(&buf, " -");
		else
			appendStringInfo(&buf, " %d%s%s", found[i].wanted,
							 found[i].equal ? "=" : "~",
							 found[i].deeper ? "+" : "");
	}
	PG_RETURN_TEXT_P(cstring_to_text(buf.data));
}

/*
 * rmsync_test_notion_recognize(blocks text, known text, doubt bool, touched
 *text, maker text) returns text
 *
 * Whose each block of an answer is: "ours", "edited", "foreign"; "?" if what is
 * below is not known, "(n)" how many of ours.  NULL if it cannot be told.
 */
Datum
rmsync_test_notion_recognize(PG_FUNCTION_ARGS)
{
	static const char *const names[] = { "foreign", "ours", "edited",
										 "unexplained" };
	char *json = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Jsonb *blocks = rmsync_json_parse(json, strlen(json));
	int n = rmsync_json_array_length(blocks);
	NotionFound *found = palloc0(sizeof(NotionFound) * (n + 1));
	NotionMemory memory = { 0 };
	StringInfoData buf;

	memory.known = read_prints(PG_GETARG_TEXT_PP(1), &memory.nknown);
	memory.doubt = PG_GETARG_BOOL(2);
	if (memory.doubt)
		memory.known = rmsync_notion_prints_flat(memory.known, memory.nknown,
												 &memory.nknown);
	if (!PG_ARGISNULL(3))
		memory.touched = text_to_cstring(PG_GETARG_TEXT_PP(3));
	if (!PG_ARGISNULL(4))
		memory.maker = text_to_cstring(PG_GETARG_TEXT_PP(4));
	for (int i = 0; i < n; i++)
	{
		if (!rmsync_notion_read_found(rmsync_json_element(blocks, i), &found[i]))
			elog(ERROR, "block %d cannot be read", i);
	}
	if (!rmsync_notion_recognize(found, n, &memory))
		PG_RETURN_NULL();
	initStringInfo(&buf);
	for (int i = 0; i < n; i++)
	{
		appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "", names[found[i].whose]);
		if (found[i].whose != NOTION_FOREIGN && !found[i].below_known)
			appendStringInfoString(&buf, "?");
		else if (found[i].print.below[0] != '\0')
			appendStringInfo(&buf, "(%d)", found[i].print.nchildren);
	}
	PG_RETURN_TEXT_P(cstring_to_text(buf.data));
}
