/*-------------------------------------------------------------------------
 *
 * target.h
 *	  The contract between the engine and a target.
 *
 * A target does no I/O: it plans requests and reads responses.  All its
 * functions run outside any transaction, in the job's memory context, and
 * must not throw for anything the service or the source can contain (they
 * decide the item or fail the job instead).
 *
 * Life of a job:
 *
 *	begin -> next -> { REQUEST -> response -> next
 *					 | COMMIT  -> (ledger rows of dirty items, the lane's
 *								   remote notes and all decided items are
 *								   durable) -> next
 *					 | DELAY   -> (job->delay_ms later) -> next }* -> DONE
 *
 * The engine takes one place in the limit per REQUEST, stops a job whose fail.scope
 * is set, and applies that failure to the items without an outcome.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_TARGET_H
#define RMSYNC_TARGET_H

#include "http.h"
#include "item.h"
#include "ratelimit.h"
#include "target_oauth.h"
#include "target_probe.h"

typedef enum RmsyncStep
{
	RMSYNC_STEP_REQUEST,		/* *request is filled: send it */
	RMSYNC_STEP_COMMIT,			/* make dirty ledgers and remote durable */
	RMSYNC_STEP_DELAY,			/* call next again after job->delay_ms */
	RMSYNC_STEP_DONE			/* every item has an outcome or fail is set */
} RmsyncStep;

typedef enum RmsyncGranularity
{
	RMSYNC_PER_ITEM,			/* a job is one item */
	RMSYNC_PER_NOTEBOOK			/* a job is all due items of a notebook, and
								 * at most one is in flight per notebook */
} RmsyncGranularity;

typedef struct RmsyncTargetLimits
{
	RmsyncRate	rate;			/* of requests */
	int			jobs_per_lane;	/* in flight at once for one user */
} RmsyncTargetLimits;

typedef struct RmsyncTarget
{
	const char *name;			/* 'notion' */
	const char *title;			/* 'Notion' */
	int			item_types;		/* RMSYNC_TYPE_BIT()s it can take */
	RmsyncGranularity granularity;
	RmsyncTargetLimits limits;
	bool		own_servers;	/* every connection names a server of its own:
								 * what fails at one says nothing about others */
	bool		learns;			/* what the first job of a lane finds out is
								 * for the others: until then, one at a time */
	bool		linked_to;		/* other connections link to its pages */
	const char *config_schema;	/* JSON Schema text, for rmsync_targets() */

	/*
	 * MUST be set.  Checks a configuration.  Returns NULL if it is good, else
	 * a palloc'd message that names the field (errdetail style), never its
	 * secret value.  *hint may be set.
	 */
	char	   *(*check_config) (Jsonb *config, char **hint);

	/* MAY be NULL.  How tokens are renewed that OAuth gave. */
	const RmsyncOauth *oauth;

	/* MAY be NULL.  Item types this configuration asks for (subset). */
	int			(*wanted_types) (Jsonb *config);

	/*
	 * MAY be NULL.  Does this configuration ask that ticks at the target be
	 * taken over by the host?  Then the target gets items of type RMSYNC_POLL.
	 */
	bool		(*two_way) (Jsonb *config);

	/*
	 * MAY be NULL.  What the service counts requests by: the credential in
	 * this configuration, palloc'd; a secret.  Lanes of all targets of a
	 * service that have the same share its limit.
	 */
	char	   *(*credential) (Jsonb *config);
	const char *service;		/* set if credential is */

	/*
	 * MAY be NULL.  Id of the workspace, whose limit several credentials
	 * share; NULL if neither the configuration nor the remote notes (may be
	 * NULL) say it.
	 */
	char	   *(*workspace) (Jsonb *config, const char *remote);

	/* MAY be NULL.  Limits for this configuration and learned remote notes. */
	void		(*lane_limits) (Jsonb *config, const char *remote,
								RmsyncTargetLimits *limits);

	/*
	 * MAY be NULL.  Does the object say something else than the source, though
	 * the hashes are equal?  For what is no part of them, such as the name of
	 * an item's notebook.
	 */
	bool		(*outdated) (const RmsyncItem *item);

	/*
	 * MAY be NULL.  Begins the questions, harmless ones, that show whether a
	 * connection works; see target_probe.h.
	 */
	void		(*test) (RmsyncProbe *probe);

	/*
	 * MAY be NULL.  Body of the answer a service would give to this request if
	 * all went well, for rmsync_preview(); NULL means "{}".
	 */
	const char *(*imagine) (RmsyncJob *job, const RmsyncHttpRequest *request);

	/* MUST be set. */
	void		(*begin) (RmsyncJob *job);
	RmsyncStep	(*next) (RmsyncJob *job, RmsyncHttpRequest *request);
	void		(*response) (RmsyncJob *job,
							 const RmsyncHttpResponse *response);
} RmsyncTarget;

/* NULL-terminated registry, and look-up by name (NULL if unknown). */
extern const RmsyncTarget *const rmsync_targets[];
extern const RmsyncTarget *rmsync_target_find(const char *name);

extern const RmsyncTarget rmsync_target_notion;
extern const RmsyncTarget rmsync_target_notion_todos;
extern const RmsyncTarget rmsync_target_webhook;

#endif							/* RMSYNC_TARGET_H */
