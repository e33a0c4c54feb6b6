/*-------------------------------------------------------------------------
 *
 * notion_edit.h
 *	  What notion_edit.c and notion_edit_plan.c share.
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
	const char *id;				/* of the block; append: the one before, NULL =
								 * at the start */
	const char *body;
	int len;
} EditOp;

/* All of it in the batch's context. */
typedef struct NotionEdit
{
	NotionPage *page;
	NotionBlock **blocks; /* wanted */
	NotionPrint *wanted;
	int nwanted;
	const char *title; /* wanted */
	NotionFound *found;
	int nfound;
	char *cursor;
	EditOp *ops;
	int nops;
	int at;	   /* the next one */
	int reads; /* of the toggle */
} NotionEdit;

/*
 * Finds the writes that lead from what is there to what is wanted.  Returns
 * false if the toggle had better be written anew.
 */
extern bool rmsync_notion_edit_plan(NotionJob *nj, NotionEdit *edit);

#endif							/* RMSYNC_NOTION_EDIT_H */
