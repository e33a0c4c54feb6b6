/*-------------------------------------------------------------------------
 *
 * document.h
 *	  The tree a page's Markdown becomes; every target renders from it.
 *
 * Built by markdown.c with md4c.  The concatenated text of all runs, block by
 * block, is everything the source says: no renderer may cut or flatten it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_DOCUMENT_H
#define RMSYNC_DOCUMENT_H

typedef enum RmsyncBlockType
{
	RMSYNC_BLOCK_PARAGRAPH,
	RMSYNC_BLOCK_HEADING,		/* level 1..6 */
	RMSYNC_BLOCK_BULLET,		/* one item of an unordered list */
	RMSYNC_BLOCK_NUMBERED,		/* one item of an ordered list; level = its
								 * number as written on the first item and
								 * where the count jumps, else 0 */
	RMSYNC_BLOCK_TODO,			/* task list item; checked */
	RMSYNC_BLOCK_QUOTE,
	RMSYNC_BLOCK_CODE,			/* info = what the fence says, first word the
								 * language, or NULL; at most one run */
	RMSYNC_BLOCK_DIVIDER,
	RMSYNC_BLOCK_TABLE,			/* children: rows */
	RMSYNC_BLOCK_ROW,			/* children: cells, not always as many as in
								 * other rows; header = checked */
	RMSYNC_BLOCK_CELL			/* runs */
} RmsyncBlockType;

#define RMSYNC_RUN_BOLD 0x01
#define RMSYNC_RUN_ITALIC 0x02
#define RMSYNC_RUN_STRIKE 0x04
#define RMSYNC_RUN_CODE 0x08
#define RMSYNC_RUN_UNDERLINE 0x10

typedef struct RmsyncRun
{
	struct RmsyncRun *next;
	char	   *text;			/* UTF-8, NUL-terminated, may hold \n */
	int			len;			/* bytes */
	int			style;			/* RMSYNC_RUN_* */
	char	   *link;			/* NULL = none */
} RmsyncRun;

typedef struct RmsyncBlock
{
	struct RmsyncBlock *next;	/* sibling */
	struct RmsyncBlock *children;
	struct RmsyncBlock *parent;
	RmsyncBlockType type;
	int			level;
	bool		checked;
	char	   *info;
	RmsyncRun  *runs;
} RmsyncBlock;

typedef struct RmsyncDocument
{
	RmsyncBlock *blocks;		/* top level */
	int			nblocks;		/* all of them */
	int			depth;			/* deepest nesting, top level = 1 */
} RmsyncDocument;

#endif							/* RMSYNC_DOCUMENT_H */
