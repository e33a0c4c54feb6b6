/*-------------------------------------------------------------------------
 *
 * notion_edit.h
 *	  What notion_edit.c, notion_edit_plan.c and notion_edit_worth.c share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_NOTION_EDIT_H
#define RMSYNC_NOTION_EDIT_H

#include "target_notion_write.h"

typedef enum EditKind
{
	EDIT_TITLE,
	EDIT_PATCH,
	EDIT_APPEND,
	EDIT_DELETE
} EditKind;

typedef struct EditOp
{
	EditKind kind;
	const char *id;				/* of the block; append: of its parent */
	const char *body;
	int len;
} EditOp;

/*
 * A place whose blocks are compared: the toggle, or below one of its blocks.
 */
typedef struct EditLevel
{
	struct EditLevel *next;		/* in the order in which they are looked at */
	struct EditLevel *up;		/* where its parent stands, NULL = the toggle */
	const char *parent;			/* id */
	NotionMemory memory;
	bool must_list;				/* or it is known that nothing is there */
	NotionFound *found;
	int nfound;
	int max_found;
	NotionBlock **blocks; /* wanted */
	const NotionPrint *wanted;
	int nwanted;
	bool touched; /* something is written here, or further down */
} EditLevel;

/* All of it in the batch's context. */
typedef struct NotionEdit
{
	NotionPage *page;
	const char *title; /* wanted */
	bool doubt;		   /* what was written is not certain */
	bool thrifty;	   /* see rmsync_notion_align */
	NotionPrint *pool; /* all that may have been written, anywhere */
	int npool;
	EditLevel *levels; /* the toggle first */
	EditLevel *last;
	EditLevel *level; /* to be listed next, NULL = all are */
	int nfound;		  /* blocks that were listed */
	int below;		  /* places below blocks to be listed */
	char *cursor;
	EditOp *ops;
	int nops;
	int max_ops;
	int at;	   /* the next one */
	int reads; /* of the toggle */
} NotionEdit;

/* ---- notion_edit_worth.c ---- */

/* The blocks of the text that is wanted; false if it cannot be parsed. */
extern bool rmsync_notion_edit_render(const RmsyncItem *item,
									  NotionBlock **first);

/* ---- notion_edit_plan.c ---- */

/*
 * These return false if the toggle had better be written anew.
 *
 * begin: what was written and is wanted; the toggle is to be listed first.
 * compare: edit->level is listed; finds the one that is to be listed next.
 * plan: all are; finds the writes that lead from what is there to what is
 * wanted.
 */
extern bool rmsync_notion_edit_begin(NotionEdit *edit);
extern bool rmsync_notion_edit_compare(NotionEdit *edit);
extern bool rmsync_notion_edit_plan(NotionJob *nj, NotionEdit *edit);

/* Ids of the blocks below which the planned writes go; NULL = none. */
extern char *rmsync_notion_edit_touched(const NotionEdit *edit);

#endif							/* RMSYNC_NOTION_EDIT_H */
