/*-------------------------------------------------------------------------
 *
 * target_notion_todos.c
 *	  Target 'notion-todos': a to-do becomes a row of a database at Notion.
 *
 * A job is one to-do.  It goes the way of a notebook of target 'notion' that
 * has no pages (target_notion.c): found or created by its marker, its
 * properties kept up, trashed.  What the row says is notion_todo.c's.
 * A user's connection for notebooks may have the same token: what Notion allows
 * is then shared with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "notion_probe.h"
#include "target_notion.h"

static void
todos_begin(RmsyncJob *job)
{
	rmsync_notion_begin(job, &rmsync_notion_todos);
}

static bool
todos_two_way(Jsonb *config)
{
	return rmsync_notion_two_way(&rmsync_notion_todos, config);
}

static char *
todos_check_config(Jsonb *config, char **hint)
{
	return rmsync_notion_check_config(&rmsync_notion_todos, config, hint);
}

const RmsyncTarget rmsync_target_notion_todos = {
	.name = "notion-todos",
	.title = "Notion to-dos",
	.item_types = RMSYNC_TYPE_BIT(RMSYNC_TODO),
	.granularity = RMSYNC_PER_ITEM,
	.limits = { .rate = RMSYNC_NOTION_RATE, .jobs_per_lane = 3 },
	.service = "notion",
	.credential = rmsync_notion_credential,
	.workspace = rmsync_notion_workspace,
	.lane_limits = rmsync_notion_lane_limits,
	.oauth = &rmsync_notion_oauth,
	.learns = true,
	.config_schema = rmsync_notion_todos_config_schema,
	.check_config = todos_check_config,
	.two_way = todos_two_way,
	.outdated = rmsync_notion_todo_outdated,
	.test = rmsync_notion_todos_test,
	.imagine = rmsync_notion_imagine,
	.begin = todos_begin,
	.next = rmsync_notion_next,
	.response = rmsync_notion_response
};
