/*-------------------------------------------------------------------------
 *
 * item.c
 *	  Names of item types and lane states, and how a target ends items and
 *	  jobs.
 *
 * Called by stores, targets and the engine.  Pure: it must never do I/O, run
 * SQL or read a setting.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "item.h"

/* Indexed by RmsyncItemType; the spellings of item_type in all tables. */
static const char *const item_type_names[RMSYNC_ITEM_TYPES + 1] = {
	"notebook_metadata", "page_text", "todo", "highlight", "remote_poll",
};

/* Indexed by RmsyncLaneState; the spellings of integration_configs.state. */
static const char *const lane_state_names[] = {
	"active", "paused", "auth", "quota", "held",
};

/*
 * SQL spelling of an item type: a constant string, never NULL.
 */
const char *
rmsync_item_type_name(RmsyncItemType type)
{
	if ((int) type < 0 || type > RMSYNC_POLL)
		elog(ERROR, "unrecognized item type: %d", (int) type);
	return item_type_names[type];
}

/*
 * RmsyncItemType of an SQL spelling, -1 if it is none (NULL included).
 */
int
rmsync_item_type_parse(const char *name)
{
	if (name == NULL)
		return -1;
	for (int i = 0; i < RMSYNC_ITEM_TYPES; i++)
	{
		if (strcmp(name, item_type_names[i]) == 0)
			return i;
	}
	return -1;
}

/*
 * SQL spelling of a lane state: a constant string, never NULL.
 */
const char *
rmsync_lane_state_name(RmsyncLaneState state)
{
	if ((int) state < 0 || (int) state >= lengthof(lane_state_names))
		elog(ERROR, "unrecognized lane state: %d", (int) state);
	return lane_state_names[state];
}

/*
 * RmsyncLaneState of an SQL spelling.  The column has a CHECK constraint, so
 * anything else is taken as RMSYNC_LANE_ACTIVE rather than reported.
 */
RmsyncLaneState
rmsync_lane_state_parse(const char *name)
{
	for (int i = 0; name != NULL && i < lengthof(lane_state_names); i++)
	{
		if (strcmp(name, lane_state_names[i]) == 0)
			return (RmsyncLaneState) i;
	}
	return RMSYNC_LANE_ACTIVE;
}

void
rmsync_job_match(RmsyncJob *job)
{
	for (int i = 0; i < job->nitems; i++)
	{
		for (int s = 0; s < job->nsiblings; s++)
		{
			if (job->siblings[s].type == job->items[i]->type &&
				strcmp(job->siblings[s].id, job->items[i]->id) == 0)
				job->siblings[s].item = job->items[i];
		}
	}
}

bool
rmsync_job_is_poll(const RmsyncJob *job)
{
	return job->nitems == 1 && job->items[0]->type == RMSYNC_POLL;
}

bool
rmsync_job_decided(const RmsyncJob *job)
{
	for (int i = 0; i < job->nitems; i++)
	{
		if (job->items[i]->outcome == RMSYNC_OUT_NONE)
			return false;
	}
	return true;
}

/*
 * Stops a job: its undecided items get the consequence of "scope".
 *
 * "code" must be a constant; "message" (may be NULL) is copied into the job's
 * context.  A later call replaces an earlier one.
 */
void
rmsync_job_fail(RmsyncJob *job, RmsyncFailScope scope, int delay_ms,
				const char *code, const char *message)
{
	Assert(scope != RMSYNC_FAIL_NONE);

	job->fail.scope = scope;
	job->fail.delay_ms = Max(delay_ms, 0);
	job->fail.code = code;
	job->fail.message = message ? MemoryContextStrdup(job->cxt, message) : NULL;
	job->fail.item = NULL;
}

/*
 * Decides one item of a job.
 *
 * "code" must be a constant or NULL; "error" (may be NULL) is copied into the
 * job's context, so that callers may build it on the way.
 */
void
rmsync_item_done(RmsyncJob *job, RmsyncItem *item, RmsyncOutcome outcome,
				 const char *code, const char *error)
{
	item->outcome = outcome;
	item->error_code = code;
	item->error = error ? MemoryContextStrdup(job->cxt, error) : NULL;
}
