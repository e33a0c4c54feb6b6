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

/*
 * More blocks than this are not compared: such a toggle is written anew.  With
 * more than this, nested ones counted, what is below a block is not described.
 */
#define NOTION_MAX_PRINTS 1000

/*
 * What is remembered of a block.  The texts are hashes in hex.
 */
typedef struct NotionPrint
{
	char		kind;			/* letter of its type, '?' = none we write */
	char		ident[NOTION_IDENT_LEN + 1];	/* type and plain text */
	char		style[NOTION_STYLE_LEN + 1];	/* bold, links, ticks, ... */
	char		below[NOTION_BELOW_LEN + 1];	/* all that is below, "" = none */
	int			total;			/* blocks, itself and all that are described */
	int			nchildren;		/* 0 with something below: not described */
	struct NotionPrint *children;
	uint64		sketch;			/* a bit for each text below: those who share none
								 * have nothing in common there */
} NotionPrint;

typedef enum NotionWhose
{
	NOTION_FOREIGN = 0,			/* somebody else's: stays where it is */
	NOTION_OURS,				/* as we have written it, or only restyled */
	NOTION_EDITED,				/* written by us, its text by somebody else */
	NOTION_UNEXPLAINED			/* ours, it seems, but nothing we remember */
} NotionWhose;

/* A block that stands in a toggle, or below another block. */
typedef struct NotionFound
{
	NotionPrint print;			/* below and children: if below_known */
	char	   *id;
	bool		has_children;
	bool		below_known;
	char	   *created_by;		/* ids, NULL = not told */
	char	   *edited_by;
	NotionWhose whose;
	const NotionPrint *was;		/* as which it was written, NULL = not sure */
	int			wanted;			/* which wanted block it becomes, -1 = none */
	bool		equal;			/* and is already, by itself */
	bool		deeper;			/* what is below it is not, or may not be */
} NotionFound;

/* What is remembered of a place: a toggle, or below a block. */
typedef struct NotionMemory
{
	const NotionPrint *known;	/* what we have written there */
	int			nknown;
	bool		doubt;			/* what of that is there is not certain */
	const char *touched;		/* ids of blocks: what is below them is not,
								 * either.  NULL = none */
	const char *maker;			/* id of who made our blocks; NULL = to be
								 * found out: it is not below a block */
} NotionMemory;

/* What an alignment costs. */
typedef struct NotionCost
{
	int			writes;			/* requests */
	int			reads;			/* requests that list what is below a block */
	int			kept;			/* blocks that are not touched */
} NotionCost;

/* ---- notion_print.c ---- */

/*
 * The prints of a list of siblings and, if these are not too many, of all below
 * them; *n is how many.
 */
extern NotionPrint *rmsync_notion_prints(const NotionBlock *first, int *n);

/* Blocks that siblings and what is described below them are together. */
extern int	rmsync_notion_prints_total(const NotionPrint *prints, int n);

/* All of these, whatever they are below of. */
extern NotionPrint *rmsync_notion_prints_flat(const NotionPrint *prints, int n,
											  int *count);

/*
 * Prints as text for the ledger, and back: NULL if the text is none.
 */
extern char *rmsync_notion_prints_text(const NotionPrint *prints, int n);
extern NotionPrint *rmsync_notion_prints_read(const char *text, int *n);

/* Reads a block of an answer; false if it makes no sense. */
extern bool rmsync_notion_read_found(Jsonb *block, NotionFound *found);

/* Can the text of such a block be changed? */
extern bool rmsync_notion_can_patch(char kind);

/* ---- notion_match.c ---- */

/*
 * Tells whose the blocks at a place are.  Returns false if it cannot be told,
 * so that nothing must be changed.
 */
extern bool rmsync_notion_recognize(NotionFound *found, int nfound,
									NotionMemory *memory);

/* The blocks as they would be found if nobody touched them. */
extern NotionFound *rmsync_notion_as_known(const NotionPrint *known, int nknown);

/* The same type and text. */
extern bool rmsync_notion_same_ident(const NotionPrint *a, const NotionPrint *b);

/* ---- notion_align.c ---- */

/*
 * Is an edit at this cost a small one?
 */
extern bool rmsync_notion_is_small(const NotionCost *cost);

/*
 * Aligns what is there with what is wanted, at this place and below: as many
 * blocks as possible stay untouched, and the rest takes as few requests as
 * possible.  "thrifty": a block that takes many requests below is written anew.
 * Fills in "wanted", "equal" and "deeper".  Returns false if that would be too
 * much work.
 */
extern bool rmsync_notion_align(NotionFound *found, int nfound,
								const NotionPrint *wanted, int nwanted,
								bool thrifty, NotionCost *cost);

/* The same, thrifty if that takes it.  False if it is no small edit. */
extern bool rmsync_notion_align_small(NotionFound *found, int nfound,
									  const NotionPrint *wanted, int nwanted,
									  bool *thrifty, NotionCost *cost);

#endif							/* RMSYNC_NOTION_MATCH_H */
