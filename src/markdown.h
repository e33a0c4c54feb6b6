/*-------------------------------------------------------------------------
 *
 * markdown.h
 *	  Markdown to document tree, through md4c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_MARKDOWN_H
#define RMSYNC_MARKDOWN_H

#include "document.h"

#define RMSYNC_MARKDOWN_MAX_BYTES (8 * 1024 * 1024)
#define RMSYNC_MARKDOWN_MAX_DEPTH 100

/*
 * Parses valid UTF-8 Markdown (GitHub tables, strike-through, task lists,
 * bare URLs).  Returns the tree in the current context, or NULL with *why
 * (palloc'd) if the text passes a cap above.  Never throws for bad input.
 */
extern RmsyncDocument *rmsync_markdown_parse(const char *text, size_t len,
											 char **why);

#endif							/* RMSYNC_MARKDOWN_H */
