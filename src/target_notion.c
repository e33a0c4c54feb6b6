/*-------------------------------------------------------------------------
 *
 * target_notion.c
 *	  Target 'notion': a notebook becomes a page of a Notion database, each
 *	  of its pages a toggle in there, its highlights and to-dos other blocks.
 *
 * A job is all due items of one notebook, and the notebook.  The engine calls
 * it through the vtable at the end of this file; what happens in a state is
 * in the files named in target_notion.h, this one goes from state to state.
 * Target 'notion-todos' goes the same way.
 *
 * The rules that keep an item from being there twice or not at all:
 *
 * - a request that Notion cannot repeat safely (create, append) is preceded
 *	 by the commit of an intent, and never sent again before its outcome is
 *	 known;
 * - an old text is deleted after the new one's id is committed;
 * - all other requests say how something shall be and may be repeated.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "notion_probe.h"
#include "target_notion.h"

typedef struct StateHandler
{
	bool (*next)(NotionJob *nj, RmsyncHttpRequest *request, RmsyncStep *step);
	void (*response)(NotionJob *nj, const RmsyncHttpResponse *response);
} StateHandler;

static const StateHandler discover = { rmsync_notion_discover_next,
									   rmsync_notion_discover_response };
static const StateHandler notebook = { rmsync_notion_notebook_next,
									   rmsync_notion_notebook_response };
static const StateHandler copies = { rmsync_notion_copies_next,
									 rmsync_notion_copies_response };
static const StateHandler list = { rmsync_notion_list_next,
								   rmsync_notion_list_response };
static const StateHandler check = { rmsync_notion_check_next,
									rmsync_notion_check_response };
static const StateHandler parts = { rmsync_notion_part_next,
									rmsync_notion_part_response };
static const StateHandler poll = { rmsync_notion_poll_next,
								   rmsync_notion_poll_response };
static const StateHandler pages = { rmsync_notion_page_next,
									rmsync_notion_page_response };
static const StateHandler late = { rmsync_notion_late_next,
								   rmsync_notion_late_response };
static const StateHandler edit = { rmsync_notion_edit_next,
								   rmsync_notion_edit_response };

/* clang-format off */
static const StateHandler *const handlers[NOTION_STATES] = {
	[NOTION_DATABASE] = &discover,
	[NOTION_SOURCE] = &discover,
	[NOTION_COLUMNS] = &discover,
	[NOTION_WHO] = &discover,
	[NOTION_SAVE_REMOTE] = &discover,
	[NOTION_NOTEBOOK] = &notebook,
	[NOTION_FIND] = &notebook,
	[NOTION_INTENT] = &notebook,
	[NOTION_CREATE] = &notebook,
	[NOTION_SAVE_NOTEBOOK] = &notebook,
	[NOTION_ARCHIVE] = &notebook,
	[NOTION_PROPERTIES] = &notebook,
	[NOTION_PART_INTENT] = &parts,
	[NOTION_PART_CREATE] = &parts,
	[NOTION_PART_TITLE] = &parts,
	[NOTION_PART_LOOK] = &parts,
	[NOTION_PART_TRASH] = &parts,
	[NOTION_INSPECT] = &copies,
	[NOTION_EXTRA] = &copies,
	[NOTION_LOOK] = &copies,
	[NOTION_LIST] = &list,
	[NOTION_CHECK] = &check,
	[NOTION_CHECK_SOURCE] = &check,
	[NOTION_WORK] = &pages,
	[NOTION_DELETE] = &pages,
	[NOTION_RETITLE] = &pages,
	[NOTION_APPEND] = &pages,
	[NOTION_DEEP] = &pages,
	[NOTION_DEEP_APPEND] = &pages,
	[NOTION_EDIT_LIST] = &edit,
	[NOTION_EDIT] = &edit,
	[NOTION_POLL] = &poll,
	[NOTION_LATE_FIND] = &late,
	[NOTION_LATE_LIST] = &late,
	[NOTION_LATE_ME] = &late,
	[NOTION_LATE_LOOK] = &late,
	[NOTION_LATE_SEE] = &late,
	[NOTION_LATE_TRASH] = &late
};
/* clang-format on */

/* The token does not outlive the job. */
static void
wipe_token(void *arg)
{
	NotionJob *nj = arg;

	if (nj->config.authorization != NULL)
		explicit_bzero(nj->config.authorization,
					   strlen(nj->config.authorization));
}

void
rmsync_notion_begin(RmsyncJob *job, const NotionKind *kind)
{
	NotionJob *nj = palloc0(sizeof(NotionJob));
	MemoryContextCallback *wipe = palloc0(sizeof(MemoryContextCallback));
	char *why;

	job->state = nj;
	nj->job = job;
	nj->kind = kind;
	nj->step_cxt = AllocSetContextCreate(job->cxt, "rmsync notion step",
										 ALLOCSET_DEFAULT_SIZES);
	nj->batch_cxt = AllocSetContextCreate(job->cxt, "rmsync notion batch",
										  ALLOCSET_DEFAULT_SIZES);
	wipe->func = wipe_token;
	wipe->arg = nj;
	MemoryContextRegisterResetCallback(job->cxt, wipe);

	why = rmsync_notion_read_config(kind, job->lane->config, &nj->config, NULL);
	if (why == NULL && nj->config.undecided && nj->config.data_source_id == NULL)
		why =
			"No Notion database is chosen yet; name one in rmsync_connect(), or make one with rmsync_notion_create_database().";
	if (rmsync_job_is_poll(job))
		rmsync_notion_poll_begin(nj);
	else
		rmsync_notion_load(nj);
	if (why != NULL)
	{
		rmsync_notion_stop(nj, RMSYNC_FAIL_HELD, 0, "invalid_config", why);
		return;
	}
	rmsync_notion_remote_load(nj);

	if (nj->poll != NULL)
		nj->state = nj->remote.complete ? NOTION_POLL
										: rmsync_notion_discover_start(nj);
	else if (rmsync_notion_idle(nj))
		nj->state = NOTION_FINISH;
	else if (!nj->notebook->present || nj->remote.complete)
		nj->state = NOTION_NOTEBOOK;
	else
		nj->state = rmsync_notion_discover_start(nj);
}

static bool
anything_dirty(RmsyncJob *job)
{
	if (job->remote_dirty || job->notebook->dirty)
		return true;
	for (int i = 0; i < job->nitems; i++)
	{
		if (job->items[i]->dirty)
			return true;
	}
	return false;
}

/*
 * FINISH: every item that has no outcome yet is equal, or not ready.
 */
static void
finish(NotionJob *nj)
{
	RmsyncItem *notebook_item = nj->notebook;

	if (!nj->planned)
		rmsync_notion_plan(nj);
	else
		rmsync_notion_flag_misplaced(nj);
	for (int i = 0; i < nj->npages; i++)
	{
		RmsyncItem *item = nj->pages[i].item;

		if (item->outcome != RMSYNC_OUT_NONE)
			continue;
		if (nj->pages[i].action == NOTION_PLAN_WAIT)
			rmsync_item_done(nj->job, item, RMSYNC_OUT_WAIT, NULL, NULL);
		else if (item->ledger.success && rmsync_notion_recorded(item))
			rmsync_item_done(nj->job, item, RMSYNC_OUT_SKIPPED, NULL, NULL);
		else
			rmsync_notion_mark_synced(nj, item);
	}

	if (notebook_item->outcome != RMSYNC_OUT_NONE || notebook_item->version == 0)
		return;
	if (notebook_item->ledger.success)
		rmsync_item_done(nj->job, notebook_item, RMSYNC_OUT_SKIPPED, NULL, NULL);
	else
		rmsync_notion_mark_synced(nj, notebook_item);
}

/*
 * The job ends with a failure.  What changed is made durable first: an intent
 * that was withdrawn must not be looked for, a toggle that was created must
 * not be forgotten.
 */
static RmsyncStep
end_failed(NotionJob *nj)
{
	if (!nj->stop_committed && anything_dirty(nj->job))
	{
		nj->stop_committed = true;
		return RMSYNC_STEP_COMMIT;
	}
	rmsync_job_fail(nj->job, nj->stop.scope, nj->stop.delay_ms, nj->stop.code,
					nj->stop.message);
	nj->job->fail.item = nj->stop.item;
	return RMSYNC_STEP_DONE;
}

static RmsyncStep
next_step(NotionJob *nj, RmsyncHttpRequest *request)
{
	RmsyncStep step;

	for (;;)
	{
		if (nj->stop.scope != RMSYNC_FAIL_NONE)
			return end_failed(nj);
		if (nj->delay_ms > 0)
		{
			nj->job->delay_ms = nj->delay_ms;
			nj->delay_ms = 0;
			return RMSYNC_STEP_DELAY;
		}
		/* WORK may have more to commit */
		if (nj->commit && nj->state != NOTION_WORK)
		{
			nj->commit = false;
			return RMSYNC_STEP_COMMIT;
		}
		if (nj->state == NOTION_FINISH && !rmsync_notion_late_start(nj))
		{
			finish(nj);
			return RMSYNC_STEP_DONE;
		}
		if (handlers[nj->state]->next(nj, request, &step))
			return step;
	}
}

RmsyncStep
rmsync_notion_next(RmsyncJob *job, RmsyncHttpRequest *request)
{
	NotionJob *nj = job->state;
	MemoryContext old;
	RmsyncStep step;

	memset(request, 0, sizeof(*request));
	MemoryContextReset(nj->step_cxt);
	old = MemoryContextSwitchTo(nj->step_cxt);
	step = next_step(nj, request);
	MemoryContextSwitchTo(old);
	return step;
}

void
rmsync_notion_response(RmsyncJob *job, const RmsyncHttpResponse *response)
{
	NotionJob *nj = job->state;
	MemoryContext old = MemoryContextSwitchTo(nj->step_cxt);

	handlers[nj->state]->response(nj, response);
	MemoryContextSwitchTo(old);
}

static void
notebooks_begin(RmsyncJob *job)
{
	rmsync_notion_begin(job, &rmsync_notion_notebooks);
}

static bool
notebooks_two_way(Jsonb *config)
{
	return rmsync_notion_two_way(&rmsync_notion_notebooks, config);
}

static char *
notebooks_check_config(Jsonb *config, char **hint)
{
	return rmsync_notion_check_config(&rmsync_notion_notebooks, config, hint);
}

/* Jobs of one lane are different notebooks. */
const RmsyncTarget rmsync_target_notion = {
	.name = "notion",
	.title = "Notion",
	.item_types = RMSYNC_TYPE_BIT(RMSYNC_NOTEBOOK) |
				  RMSYNC_TYPE_BIT(RMSYNC_PAGE) | RMSYNC_TYPE_BIT(RMSYNC_TODO) |
				  RMSYNC_TYPE_BIT(RMSYNC_HIGHLIGHT),
	.granularity = RMSYNC_PER_NOTEBOOK,
	.limits = { .rate = RMSYNC_NOTION_RATE, .jobs_per_lane = 3 },
	.service = "notion",
	.credential = rmsync_notion_credential,
	.workspace = rmsync_notion_workspace,
	.lane_limits = rmsync_notion_lane_limits,
	.oauth = &rmsync_notion_oauth,
	.config_schema = rmsync_notion_config_schema,
	.check_config = notebooks_check_config,
	.wanted_types = rmsync_notion_wanted_types,
	.two_way = notebooks_two_way,
	.learns = true,
	.linked_to = true,
	.test = rmsync_notion_test,
	.imagine = rmsync_notion_imagine,
	.begin = notebooks_begin,
	.next = rmsync_notion_next,
	.response = rmsync_notion_response
};
