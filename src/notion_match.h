/*-------------------------------------------------------------------------
 *
 * notion_match.h
 *	  Recognizing our blocks in a toggle, and what it takes to change them.
 *
 * Pure: no SPI, curl or GUC, no knowledge of jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_NOTION_MATCH_H
#define RMSYNC_NOTION_MATCH_H

#include "notion_blocks.h"
#include "utils/jsonb.h"

#define NOTION_IDENT_LEN 12
#define NOTION_STYLE_LEN 6
#define NOTION_BELOW_LEN 10

/* More blocks than this are not compared: such a toggle is written anew. */
#define NOTION_MAX_PRINTS 1000

/*
 * What is remembered of a top-level block of a toggle.  All are hashes in hex.
 */
typedef struct NotionPrint
{
	char		kind;			/* letter of its type, '?' = none we write */
	char		ident[NOTION_IDENT_LEN + 1];	/* type and plain text */
	char		style[NOTION_STYLE_LEN + 1];	/* bold, links, ticks, ... */
	char		below[NOTION_BELOW_LEN + 1];	/* its children, "" = none */
} NotionPrint;

typedef enum NotionWhose
{
	NOTION_FOREIGN = 0,			/* somebody else's: stays where it is */
	NOTION_OURS,				/* as we have written it, or only restyled */
	NOTION_EDITED,				/* written by us, its text by somebody else */
	NOTION_UNEXPLAINED			/* ours, it seems, but nothing we remember */
} NotionWhose;

/* A block that stands in the toggle. */
typedef struct NotionFound
{
	NotionPrint print;			/* below: if below_known */
	char	   *id;
	bool		has_children;
	bool		below_known;
	char	   *created_by;		/* ids, NULL = not told */
	char	   *edited_by;
	NotionWhose whose;
	const NotionPrint *was;		/* as which it was written, NULL = not sure */
	int			wanted;			/* which wanted block it becomes, -1 = none */
	bool		equal;			/* and is already */
} NotionFound;

/* What an alignment costs. */
typedef struct NotionCost
{
	int			writes;			/* requests */
	int			kept;			/* blocks that are not touched */
} NotionCost;

/* ---- notion_match.c ---- */

/* The prints of a list of siblings; *n is how many. */
extern NotionPrint *rmsync_notion_prints(const NotionBlock *first, int *n);

/*
 * Prints as text for the ledger, and back: NULL if the text is none.
 */
extern char *rmsync_notion_prints_text(const NotionPrint *prints, int n);
extern NotionPrint *rmsync_notion_prints_read(const char *text, int *n);

/* Reads a block of an answer; false if it makes no sense. */
extern bool rmsync_notion_read_found(Jsonb *block, NotionFound *found);

/*
 * Tells whose the blocks are, given what we have written into the toggle.
 * "doubt": what of "known" is there is not certain.  Returns false if it
 * cannot be told, so that nothing must be changed.
 */
extern bool rmsync_notion_recognize(NotionFound *found, int nfound,
									const NotionPrint *known, int nknown,
									bool doubt);

/* The blocks as they would be found if nobody touched them. */
extern NotionFound *rmsync_notion_as_known(const NotionPrint *known, int nknown);

/* The same type and text. */
extern bool rmsync_notion_same_ident(const NotionPrint *a, const NotionPrint *b);

/* Can the text of such a block be changed? */
extern bool rmsync_notion_can_patch(char kind);

/* ---- notion_align.c ---- */

/*
 * Aligns what is there with what is wanted: as many blocks as possible stay
 * untouched, and the rest takes as few requests as possible.  Fills in
 * "wanted" and "equal".  Returns false if that would be too much work.
 */
extern bool rmsync_notion_align(NotionFound *found, int nfound,
								const NotionPrint *wanted, int nwanted,
								NotionCost *cost);

#endif							/* RMSYNC_NOTION_MATCH_H */
