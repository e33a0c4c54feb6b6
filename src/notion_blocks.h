/*-------------------------------------------------------------------------
 *
 * notion_blocks.h
 *	  Document tree to Notion blocks, and blocks to requests of legal size.
 *
 * notion_blocks.c renders, notion_text.c holds the text, notion_pack.c splits.
 * Pure: no SPI, curl or GUC.
 * Limits: contracts/notion.md 2.1.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_NOTION_BLOCKS_H
#define RMSYNC_NOTION_BLOCKS_H

#include "document.h"
#include "lib/stringinfo.h"

/*
 * One Notion block to be.  "head" is the JSON of the block without its
 * children, open at the place where they go:  head + [,"children":[...]] +
 * tail.  Every block is legal in itself (<= 2000 UTF-16 units per text item,
 * <= 100 items per rich_text; longer text became sibling blocks).
 */
typedef struct NotionBlock
{
	struct NotionBlock *next;	/* sibling */
	struct NotionBlock *children;
	char	   *head;			/* {"type":"toggle","toggle":{"rich_text":[..] */
	char	   *tail;			/* }} */
	int			nchildren;
	int			total;			/* blocks in this subtree, itself included */
	int			height;			/* tiers in this subtree, itself = 1 */
	size_t		bytes;			/* JSON bytes of this subtree */
	int			fan;			/* longest children array in this subtree */
	bool		atomic;			/* must be created together with its children
								 * (table and its rows) */
	char	   *id;				/* once created: Notion's id */
	bool		created;
	/* notion_pack.c's own: all children before these are created / complete */
	struct NotionBlock *rest;
	struct NotionBlock *open;
} NotionBlock;

/* Renders a document.  Returns the first block, NULL for an empty document. */
extern NotionBlock *rmsync_notion_render(const RmsyncDocument *doc);

/*
 * The toggle a page of the notebook becomes: title in bold whose text links
 * to "marker" (NULL = no link), children = the page's blocks.
 */
extern NotionBlock *rmsync_notion_toggle(const char *title, const char *marker,
										 NotionBlock *children);

/*
 * A block with text and without children.  "extra" is more members of its
 * type's object, with a comma in front.
 */
extern NotionBlock *rmsync_notion_text_block(const char *type,
											 const char *rich_text,
											 const char *extra);

/*
 * Appends rich_text array JSON for plain text, split at 2000 UTF-16 units.
 * Never cut: beyond 200 000 units the array is longer than Notion's 100.
 */
extern void rmsync_notion_rich_text(StringInfo buf, const char *text,
									const char *link, int style);

/* UTF-16 code units of valid UTF-8. */
extern int	rmsync_utf16_length(const char *text, size_t len);

/*
 * Packing.  A batch is one PATCH /blocks/{parent}/children.  Limits per
 * request: 100 top-level, 100 per children array, 1000 blocks, 450 000 bytes,
 * 3 tiers counted from the appended blocks (top + two levels of nesting).
 *
 * rmsync_notion_pack_append writes the longest prefix of the sibling list
 * starting at "first" that fits one request into "body" (a complete
 * {"children":[...]} with optional position) and returns the first sibling
 * that did not fit.  Blocks written get created = true; the caller fills the
 * ids of the *nwritten top-level ones, in order, from the answer.
 *
 * Only a top-level block of a request may be left with children to come: a
 * nested one is written with its whole subtree or not at all.  So every block
 * that is still to be appended to has an id the service has told us.  *whole
 * tells if nothing was left open.
 *
 * At least one block is written unless "first" is NULL.
 */
typedef struct NotionPosition
{
	enum
	{
		NOTION_AT_END, NOTION_AT_START, NOTION_AFTER
	}			kind;
	const char *after_id;		/* NOTION_AFTER */
} NotionPosition;

extern NotionBlock *rmsync_notion_pack_append(NotionBlock *first,
											  const NotionPosition *position,
											  StringInfo body, int *nwritten,
											  bool *whole);

/*
 * First block (depth-first) that was created but has children not created
 * yet: the next parent to append to; *parent is its own parent, NULL for the
 * root.  NULL = the subtree is complete.  Its id is set, unless the caller
 * itself marked blocks as created without one.
 */
extern NotionBlock *rmsync_notion_next_open(NotionBlock *root,
											NotionBlock **parent);

/* First child that is not created yet: where to go on with such a parent. */
extern NotionBlock *rmsync_notion_next_child(NotionBlock *block);

#endif							/* RMSYNC_NOTION_BLOCKS_H */
