/*-------------------------------------------------------------------------
 *
 * notion_text.h
 *	  What notion_blocks.c needs of notion_text.c beyond notion_blocks.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_NOTION_TEXT_H
#define RMSYNC_NOTION_TEXT_H

#include "lib/stringinfo.h"

/* UTF-16 units of one rich_text item, and of a URL. */
#define NOTION_MAX_UNITS 2000

/*
 * Bytes of the longest prefix of at most "limit" UTF-16 units (at least 2),
 * shortened to end after a line, else after a space, else not inside of a
 * combined character, as far as there is such a place near the limit.  At
 * least one character; never inside of one.
 */
extern size_t rmsync_notion_cut(const char *text, size_t len, int limit);

/*
 * A copy of at most "max" characters, the last one an ellipsis if it was cut: not
 * inside of a combined character, and after a word if one ends near there.
 */
extern char *rmsync_notion_clip(const char *text, int max);

/* Will Notion take this as the target of a link? */
extern bool rmsync_notion_can_link(const char *url);

/* Appends one rich_text item; the caller keeps to the limit. */
extern void rmsync_notion_text_item(StringInfo buf, const char *text,
									size_t len, const char *link, int style);

#endif							/* RMSYNC_NOTION_TEXT_H */
