/*-------------------------------------------------------------------------
 *
 * lookup.h
 *	  What the triggers must know: whose notebook is it, has the user a lane?
 *
 * One look-up object serves one run of a trigger and remembers what it read;
 * nothing is remembered longer, so nothing can be stale.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_LOOKUP_H
#define RMSYNC_LOOKUP_H

#include "utils/relcache.h"

typedef struct RmsyncLookup RmsyncLookup;

typedef struct RmsyncNotebookRef
{
	int64		id;				/* row id in the host's table */
	bool		found;
	int64		user_id;
	char	   *uuid;
	bool		marked;			/* for the caller's use */
} RmsyncNotebookRef;

/*
 * Starts looking up, in and for the current memory context.  "definition" is
 * "table,id,user,uuid", the host's table of notebooks (in the schema of
 * "hostrel") and its columns, or NULL if none is needed.  Returns NULL if
 * rmsync's tables are not there.
 */
extern RmsyncLookup *rmsync_lookup_begin(Relation hostrel,
										 const char *definition);
extern void rmsync_lookup_end(RmsyncLookup *lookup);

/* The notebook with this row id; NULL if there is none. */
extern RmsyncNotebookRef *rmsync_lookup_notebook(RmsyncLookup *lookup,
												 int64 id);

/* Has the user an enabled lane? */
extern bool rmsync_lookup_lane(RmsyncLookup *lookup, int64 user_id);

/* All users with enabled lanes: an array in the look-up's context. */
extern int64 *rmsync_lookup_lane_users(RmsyncLookup *lookup, int *nusers);

/* A value as text in the current context. */
extern char *rmsync_lookup_text(Datum value, Oid type);

/* A value of an integer type; false if it is of no integer type. */
extern bool rmsync_lookup_int(Datum value, Oid type, int64 *result);

/* Attribute number of the column with this name; 0 if there is none. */
extern AttrNumber rmsync_lookup_column(TupleDesc desc, const char *name,
									   size_t len);

#endif							/* RMSYNC_LOOKUP_H */
