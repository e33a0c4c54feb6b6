/*-------------------------------------------------------------------------
 *
 * api_probe.h
 *	  What the procedures share in which a person waits: api_probe.c
 *	  (rmsync_test_connection), api_notion.c (databases of Notion) and
 *	  api_sync.c (rmsync_sync).
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_API_PROBE_H
#define RMSYNC_API_PROBE_H

#include "engine.h"
#include "fmgr.h"
#include "lane.h"
#include "target_probe.h"

/* One call of such a procedure. */
typedef struct RmsyncAsk
{
	RmsyncEngine *engine;		/* set by rmsync_ask_open */
	MemoryContext cxt;			/* lives until the call returns */
	RmsyncLane *lane;			/* set by rmsync_ask_open */
	int			requests;
	StringInfoData result;		/* JSON object, its first brace is there */
} RmsyncAsk;

/*
 * Runs "work", with the rights of the procedure's owner in its transactions, and returns its result as the procedure's.  Raises an error
 * inside a transaction block.
 */
extern Datum rmsync_ask(FunctionCallInfo fcinfo, const char *name,
						void (*work) (RmsyncAsk *ask, void *arg), void *arg);

/* Inside a transaction: this database may send, or an error. */
extern void rmsync_ask_instance(void);

/*
 * Opens the connection; if that fails, the result says so and false is
 * returned.
 */
extern bool rmsync_ask_open(RmsyncAsk *ask, int64 lane_id);

/* Asks; true if the probe came to its end without a failure. */
extern bool rmsync_ask_run(RmsyncAsk *ask, RmsyncProbe *probe);

/* Ends the result with what the probe says, or with the words given. */
extern void rmsync_ask_conclude(RmsyncAsk *ask, const RmsyncProbe *probe);
extern void rmsync_ask_refuse(RmsyncAsk *ask, const char *code,
							  const char *message, const char *hint);

/* An optional argument: 0 stands for NULL. */
extern int64 rmsync_ask_user(FunctionCallInfo fcinfo, int arg);

#endif							/* RMSYNC_API_PROBE_H */
