/*-------------------------------------------------------------------------
 *
 * notion_talk.h
 *	  What notion_probe.c, notion_search.c and notion_create.c share: a probe
 *	  at Notion uses the requests and the reading of answers of a job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_NOTION_TALK_H
#define RMSYNC_NOTION_TALK_H

#include "notion_probe.h"
#include "target_notion.h"

typedef struct NotionTalk
{
	RmsyncProbe *probe;
	RmsyncJob	job;			/* only its context and lane are used */
	NotionJob	nj;

	/* Plans the next request; false = there is none. */
	bool		(*plan) (struct NotionTalk *talk, RmsyncHttpRequest *request);

	/* Reads the answer; allocates in a context that lives until the next one. */
	void		(*read) (struct NotionTalk *talk,
						 const RmsyncHttpResponse *response);
	int			step;			/* of the probe at hand */
	void	   *own;			/* likewise */
} NotionTalk;

/* Begins a probe; "plan", "read" and what follows are set by the caller. */
extern NotionTalk *rmsync_notion_talk(RmsyncProbe *probe,
									  const NotionKind *kind);

/* Ends the probe with a failure. */
extern void rmsync_notion_talk_fail(NotionTalk *talk, const char *code,
									const char *message, const char *hint);

/* The plain text of an array of rich text; palloc'd, clipped, never NULL. */
extern char *rmsync_notion_plain(Jsonb *texts);

#endif							/* RMSYNC_NOTION_TALK_H */
