/*-------------------------------------------------------------------------
 *
 * intake_spec.h
 *	  What a trigger's arguments say about its table, and rows read by it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_INTAKE_SPEC_H
#define RMSYNC_INTAKE_SPEC_H

#include "executor/tuptable.h"
#include "utils/reltrigger.h"

/* Kinds of marks, as stored; a mapping becomes its notebook's mark. */
#define KIND_NOTEBOOK 'n'
#define KIND_PAGE 'p'
#define KIND_TODO 't'
#define KIND_HIGHLIGHT 'h'
#define KIND_USER_GONE 'u'
#define KIND_EVERYTHING 'U'
#define KIND_MAPPING 'm'

#define RMSYNC_MAX_WATCH 32

/* What the trigger's arguments say about its table. */
typedef struct RmsyncMarkSpec
{
	char kind;
	AttrNumber key;		 /* item id if not empty; 0 = none */
	AttrNumber id;		 /* item id otherwise */
	AttrNumber user;	 /* user id; 0 = the notebook's */
	AttrNumber notebook; /* notebook's row id, to be looked up */
	AttrNumber uuid;	 /* notebook's uuid, where the row has it */
	AttrNumber watch[RMSYNC_MAX_WATCH];
	int nwatch;
	const char *lookup;	 /* where notebooks are, see lookup.h */
	const char *missing; /* a column that is not there */
} RmsyncMarkSpec;

/*
 * Reads the arguments that rmsync_attach() gave a trigger: the kind of what
 * the table holds, then name=value.  Columns are found by name each time, a
 * table may be altered; one that is missing is left out and named in the
 * result.  Throws if the arguments themselves are wrong.
 */
extern void rmsync_mark_spec_parse(RmsyncMarkSpec *spec, Trigger *trigger,
								   TupleDesc desc);

/* Is it another item, or in another place, than before? */
extern bool rmsync_mark_spec_moved(RmsyncMarkSpec *spec,
								   TupleTableSlot *old_row,
								   TupleTableSlot *new_row);

/* Does any watched column differ? */
extern bool rmsync_mark_spec_changed(RmsyncMarkSpec *spec,
									 TupleTableSlot *old_row,
									 TupleTableSlot *new_row);

/*
 * The value of a column as text in the current context; NULL if it is null or
 * attnum is 0.
 */
extern char *rmsync_mark_column_text(TupleTableSlot *slot, AttrNumber attnum);

/* The value of an integer column; false if it is null. */
extern bool rmsync_mark_column_int(TupleTableSlot *slot, AttrNumber attnum,
								   int64 *result);

#endif							/* RMSYNC_INTAKE_SPEC_H */
