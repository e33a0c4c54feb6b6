/*-------------------------------------------------------------------------
 *
 * target_notion_write.h
 *	  What notion_page.c, notion_edit.c and notion_write.c share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_TARGET_NOTION_WRITE_H
#define RMSYNC_TARGET_NOTION_WRITE_H

#include "target_notion.h"

/* ---- notion_compose.c ---- */

/* Limits of a request, contracts/notion.md 2.1. */
#define NOTION_MAX_ARRAY 100
#define NOTION_MAX_BLOCKS 1000
#define NOTION_MAX_TIERS 3
#define NOTION_MAX_BYTES (450000 - 1000)

/* Marker of the append that brings this version of the page. */
extern char *rmsync_notion_rm(NotionJob *nj, const RmsyncItem *item);

/*
 * Collects the pages of the next append in nj->batch, and where they go.  None:
 * nothing is left, or nj->state says that a part must be created first.
 */
extern void rmsync_notion_collect(NotionJob *nj);

/* ---- notion_write.c ---- */

/*
 * Puts the next pages to be written into an append, with their intents.
 * Returns false if no page is left.
 */
extern bool rmsync_notion_batch(NotionJob *nj);

/* The append was refused: nothing of it is at Notion. */
extern void rmsync_notion_batch_rejected(NotionJob *nj);

/* A page whose toggle is there and whose older ones are gone. */
extern void rmsync_notion_settle(NotionJob *nj, NotionPage *page);

extern void rmsync_notion_append_request(NotionJob *nj,
										 RmsyncHttpRequest *request);
extern void rmsync_notion_append_response(NotionJob *nj, NotionAnswer answer);

/* What did not fit into the append of a single page. */
extern void rmsync_notion_deep(NotionJob *nj);
extern void rmsync_notion_deep_request(NotionJob *nj,
									   RmsyncHttpRequest *request);
extern void rmsync_notion_deep_response(NotionJob *nj, NotionAnswer answer);

#endif							/* RMSYNC_TARGET_NOTION_WRITE_H */
