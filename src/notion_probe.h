/*-------------------------------------------------------------------------
 *
 * notion_probe.h
 *	  What a person can ask Notion: is the connection good, what can it see,
 *	  make a database.  See target_probe.h for how these go on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_NOTION_PROBE_H
#define RMSYNC_NOTION_PROBE_H

#include "nodes/pg_list.h"
#include "target_probe.h"

/* The vtables' "test": who are we, and are the database and its columns there? */
extern void rmsync_notion_test(RmsyncProbe *probe);
extern void rmsync_notion_todos_test(RmsyncProbe *probe);

/* What the search found; allocated in the probe's context. */
typedef struct RmsyncNotionSearch
{
	StringInfoData objects;		/* JSON array, see rmsync.store_notion_objects */
	bool		complete;		/* false: there is more than we read */
} RmsyncNotionSearch;

/* Asks for every data source and page that the connection can see. */
extern void rmsync_notion_search(RmsyncProbe *probe, RmsyncNotionSearch *found);

/* A database that is to be made below a page. */
typedef struct RmsyncNotionCreation
{
	bool		todos;			/* with the columns of target notion-todos */
	const char *parent_id;		/* of the page */
	const char *title;

	/* set by rmsync_notion_look: databases of that title below the page */
	List	   *ids;			/* char * */

	/* set by rmsync_notion_create */
	char	   *id;				/* NULL = not made, or nobody knows */
	bool		unknown;		/* nobody knows */
} RmsyncNotionCreation;

extern void rmsync_notion_look(RmsyncProbe *probe,
							   RmsyncNotionCreation *creation);

/* One request that must not be repeated blindly: an intent must be durable. */
extern void rmsync_notion_create(RmsyncProbe *probe,
								 RmsyncNotionCreation *creation);

#endif							/* RMSYNC_NOTION_PROBE_H */
