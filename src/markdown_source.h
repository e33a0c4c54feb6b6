/*-------------------------------------------------------------------------
 *
 * markdown_source.h
 *	  What markdown.c does to the text before md4c sees it, and the questions
 *	  it asks that text afterwards.
 *
 * Only markdown.c includes this.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_MARKDOWN_SOURCE_H
#define RMSYNC_MARKDOWN_SOURCE_H

#include "lib/stringinfo.h"

/*
 * Appends to "out" the text md4c shall parse.  It differs from the original in
 * leading spaces and in mask bytes only; the latter go away in
 * rmsync_markdown_unmask().  False if a line opens more than
 * RMSYNC_MARKDOWN_MAX_DEPTH lists and quotes.
 */
extern bool rmsync_markdown_prepare(StringInfo out, const char *text,
									size_t len);

/*
 * Copies prepared text to "dst" as the original has it; returns the length,
 * never more than len.  Allocates nothing.
 */
extern size_t rmsync_markdown_unmask(char *dst, const char *src, size_t len);

/*
 * Decodes a character reference such as &auml; or &#x41; into "dst" (room for
 * 8 bytes).  Returns the length, 0 if it is not one we know.
 */
extern int	rmsync_markdown_entity(char *dst, const char *src, size_t len);

/* Start of the line "p" is in; first line end (or "end") at or after "p". */
extern const char *rmsync_markdown_line_start(const char *begin,
											  const char *p);
extern const char *rmsync_markdown_line_end(const char *p, const char *end);
/* Start of the line after the one "p" is in; "end" if there is none. */
extern const char *rmsync_markdown_next_line(const char *p, const char *end);

/*
 * Skips the quote marks, list marks and task mark a line begins with, up to
 * "limit".  The numbers of ordered marks go to numbers[0..*n-1], at most
 * "max" of them (the innermost ones are kept).
 */
extern const char *rmsync_markdown_skip_marks(const char *line,
											  const char *limit, int *numbers,
											  int max, int *n);

/* Is there a heading mark (# to ######) right at "p"? */
extern bool rmsync_markdown_is_atx(const char *p, const char *limit);

/*
 * Finds the line that underlines a heading whose text ends at "p": returns
 * its first character ('=' or '-') and the number of them, NULL if there is
 * no such line nearby.
 */
extern const char *rmsync_markdown_underline(const char *p, const char *end,
											 int *count);

#endif							/* RMSYNC_MARKDOWN_SOURCE_H */
