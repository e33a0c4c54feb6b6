/*-------------------------------------------------------------------------
 *
 * target_notion_look.h
 *	  What looks at Notion to see what is there: found, taken over, twice, lost
 *	  or late.
 *
 * Part of target_notion.h, which includes it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_TARGET_NOTION_LOOK_H
#define RMSYNC_TARGET_NOTION_LOOK_H

#include "notion_job.h"

/* ---- notion_find.c ---- */

/* The longest text that is looked for, in bytes. */
#define NOTION_MAX_FILTER 2000

/* The query for the marker, and the live pages that have it, best first. */
extern void rmsync_notion_find_request(NotionJob *nj,
									   RmsyncHttpRequest *request);
extern List *rmsync_notion_marked_rows(NotionJob *nj, Jsonb *results);

/* Reads the answer to it and sets the state. */
extern void rmsync_notion_find_response(NotionJob *nj);

/* The page is about to be created. */
extern void rmsync_notion_set_create_intent(NotionJob *nj);

/* ---- notion_row.c ---- */

/*
 * A row that was taken over has yet to get our marker, by a request that says
 * nothing of what it is about.
 */
extern bool rmsync_notion_is_marking(const NotionJob *nj);

/* Keeps what a row (of an answer) says. */
extern void rmsync_notion_read_row(NotionJob *nj, Jsonb *row);

/* Does that differ from what it should say? */
extern bool rmsync_notion_row_differs(NotionJob *nj);

/* ---- notion_copies.c ---- */

/* Has our connection made this?  And: certainly not?  NULL = not told. */
extern bool rmsync_notion_is_own(NotionJob *nj, const char *creator);
extern bool rmsync_notion_is_copy(NotionJob *nj, const char *creator);

/* After a listing: takes the keys of children that are a reader's copies. */
extern void rmsync_notion_disown_copies(NotionJob *nj);

/*
 * A block, or a page, besides the one that counts.  It is deleted if we have
 * made it and all that stands in it.  "page" (may be NULL) waits for that.
 */
extern void rmsync_notion_add_double(NotionJob *nj, const NotionChild *child,
									 NotionPage *page);
extern void rmsync_notion_add_double_page(NotionJob *nj, const char *id,
										  const char *creator);

/* The state in which doubles are seen to; "after" if there are none. */
extern NotionState rmsync_notion_inspect(NotionJob *nj, NotionState after);

/* Pages that were lost: remembered, forgotten, seen; in the ledger. */
extern void rmsync_notion_add_lost(NotionJob *nj, const char *id);
extern void rmsync_notion_drop_lost(NotionJob *nj, const char *id);
extern void rmsync_notion_lost_seen(NotionJob *nj, const char *id);
extern void rmsync_notion_load_lost(NotionJob *nj, Jsonb *array);
extern void rmsync_notion_lost_meta(NotionJob *nj, StringInfo buf);

/* If one is to be looked for, sets the state and returns true. */
extern bool rmsync_notion_look_for_lost(NotionJob *nj);

/*
 * The user of a notebook is told, with the next commit.  "form" has one %s for
 * its title.
 */
extern void rmsync_notion_tell(NotionJob *nj, const char *code,
							   const char *form);

/* The same, that what was lost is there anew. */
extern void rmsync_notion_tell_recreated(NotionJob *nj);

extern bool rmsync_notion_copies_next(NotionJob *nj, RmsyncHttpRequest *request,
									  RmsyncStep *step);
extern void rmsync_notion_copies_response(NotionJob *nj,
										  const RmsyncHttpResponse *response);

/* ---- notion_resolve.c ---- */

extern bool rmsync_notion_list_next(NotionJob *nj, RmsyncHttpRequest *request,
									RmsyncStep *step);
extern void rmsync_notion_list_response(NotionJob *nj,
										const RmsyncHttpResponse *response);

/*
 * How many pages may be in an append with this one, and is it to be given up?
 * Both look at how often it was sent in vain.  What is said then.
 */
extern int	rmsync_notion_cap(const NotionPage *page);
extern bool rmsync_notion_hopeless(const NotionPage *page);
extern const char rmsync_notion_no_end[];

/* Begins a listing of the notebook's page. */
extern void rmsync_notion_list_start(NotionJob *nj);

/* ---- notion_lost.c ---- */

extern bool rmsync_notion_check_next(NotionJob *nj, RmsyncHttpRequest *request,
									 RmsyncStep *step);
extern void rmsync_notion_check_response(NotionJob *nj,
										 const RmsyncHttpResponse *response);

/*
 * A block is gone that stood in the page "home" (NULL = the notebook's): must
 * we look whether that is gone, before anything is concluded from it?  Then the
 * state is set, and the request comes again.
 */
extern bool rmsync_notion_look_first(NotionJob *nj, const char *home);

/* ---- notion_late.c ---- */

/*
 * What may come late for a page, or for the notebook, as the metadata say;
 * appends members with it; and an object with nothing else, NULL if there is
 * none, for an entry whose object is gone.
 */
extern void rmsync_notion_load_late(NotionJob *nj, NotionPage *page,
									Jsonb *metadata);
extern void rmsync_notion_load_late_rows(NotionJob *nj, Jsonb *metadata);
extern void rmsync_notion_late_meta(StringInfo buf, const NotionPage *page);
extern void rmsync_notion_late_rows_meta(NotionJob *nj, StringInfo buf);
extern char *rmsync_notion_late_only(NotionJob *nj, const RmsyncItem *item);

/*
 * The append of this intent may be done yet: nobody has looked for it ("soon"),
 * or it was looked for in vain.
 */
extern void rmsync_notion_late_append(NotionJob *nj, NotionPage *page,
									  Jsonb *intent, bool soon);

/* So may the creation of the notebook's page, or of a part of this title. */
extern void rmsync_notion_late_row(NotionJob *nj);
extern void rmsync_notion_late_part(NotionJob *nj, const char *title);

/* The notebook has a page now: its doubles are looked for from now on. */
extern void rmsync_notion_late_again(NotionJob *nj);

/* Nothing can come late where the notebook's page was. */
extern void rmsync_notion_drop_late_parts(NotionJob *nj);

/* Must the entry stay though its object is gone? */
extern bool rmsync_notion_has_late(NotionJob *nj, const RmsyncItem *item);

/* Is it time to look?  And: so many looks were made, with one more. */
extern bool rmsync_notion_late_due(NotionJob *nj, const NotionPage *page);
extern void rmsync_notion_late_looked(NotionJob *nj);

/* Before that: entries need no look any more for which nothing can come. */
extern void rmsync_notion_late_tidy(NotionJob *nj);

/* ---- notion_late_look.c ---- */

/* At a job's end: true if something is to be looked for, and the state set. */
extern bool rmsync_notion_late_start(NotionJob *nj);
extern bool rmsync_notion_late_next(NotionJob *nj, RmsyncHttpRequest *request,
									RmsyncStep *step);
extern void rmsync_notion_late_response(NotionJob *nj,
										const RmsyncHttpResponse *response);

/* ---- notion_adopt.c ---- */

/* An intent says that the host's page is to be taken over. */
extern bool rmsync_notion_is_adoption(const char *intent);
extern void rmsync_notion_adopt_start(NotionJob *nj);
extern void rmsync_notion_read_host_title(Jsonb *block, NotionChild *child);
extern char *rmsync_notion_marker_of(NotionJob *nj, Jsonb *page);

/* The page was listed: whose are its children?  And when that is settled. */
extern void rmsync_notion_adopt_children(NotionJob *nj);
extern void rmsync_notion_adopt_done(NotionJob *nj);
extern void rmsync_notion_find_head(NotionJob *nj);

/* Toggles that stand out of line and stay there; strings are copied. */
extern bool rmsync_notion_is_stray(NotionJob *nj, const char *key);
extern void rmsync_notion_add_stray(NotionJob *nj, const char *key);
extern void rmsync_notion_drop_stray(NotionJob *nj, const char *key);
extern void rmsync_notion_mark_strays(NotionJob *nj);

#endif							/* RMSYNC_TARGET_NOTION_LOOK_H */
