/*-------------------------------------------------------------------------
 *
 * target.c
 *	  The registry of built-in targets.
 *
 * The engine and the SQL functions find a target by its name here.  Adding a
 * service takes one file and one line below.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "target.h"

const RmsyncTarget *const rmsync_targets[] = { &rmsync_target_notion,
											   &rmsync_target_notion_todos,
											   &rmsync_target_webhook, NULL };

/*
 * The built-in target of this name, NULL if there is none.
 */
const RmsyncTarget *
rmsync_target_find(const char *name)
{
	for (int i = 0; rmsync_targets[i] != NULL; i++)
	{
		if (strcmp(rmsync_targets[i]->name, name) == 0)
			return rmsync_targets[i];
	}
	return NULL;
}
