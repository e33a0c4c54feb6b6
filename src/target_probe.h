/*-------------------------------------------------------------------------
 *
 * target_probe.h
 *	  The contract of a question that a person asks a service.
 *
 * "Does this connection work?", "what can the token see?": a few requests, one
 * after the other, in the foreground, next to the jobs of the engine.  As with
 * jobs, the target's part does no I/O: it plans requests and reads answers.
 *
 *	begin -> next -> response -> next -> response -> ... -> next: false
 *
 * If "response" sets fail.scope, the engine decides: a limit is waited for and
 * a request that was surely not done is sent again (next is called, and plans
 * the same request), a token that was refused is renewed, anything else ends
 * the probe.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_TARGET_PROBE_H
#define RMSYNC_TARGET_PROBE_H

#include "http.h"
#include "item.h"
#include "lib/stringinfo.h"

typedef struct RmsyncProbe
{
	MemoryContext cxt;			/* of all it holds; the caller's */
	RmsyncLaneInfo *lane;		/* its configuration is decrypted */
	bool		renewed;		/* that has changed since the last call */

	/* set by the function that begins the probe */
	bool		(*next) (struct RmsyncProbe *probe, RmsyncHttpRequest *request);
	void		(*response) (struct RmsyncProbe *probe,
							 const RmsyncHttpResponse *response);
	void	   *state;

	/* set by "response" */
	RmsyncFailure fail;
	RmsyncLimitKind limited;	/* what RMSYNC_FAIL_RATE is about */
	int			delay_ms;		/* before the next request; 0 = none */

	/* set by "response" and, at the end, by "next" */
	const char *hint;			/* what a person can do, NULL = nothing */
	const char *message;		/* what was found out; no secrets */
	StringInfoData facts;		/* members of a JSON object, likewise */

	/* the engine's */
	int			requests;		/* sent so far */
} RmsyncProbe;

#endif							/* RMSYNC_TARGET_PROBE_H */
