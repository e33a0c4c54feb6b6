/*-------------------------------------------------------------------------
 *
 * target_notion.h
 *	  What the files of the targets 'notion' and 'notion-todos' share; the data
 *	  is in notion_job.h.
 *
 *	target_notion.c		vtable, the loop over the states
 *	target_notion_todos.c	vtable
 *	notion_config.c		configuration
 *	notion_api.c		requests, and what an answer means
 *	notion_discover.c	the database's columns
 *	notion_notebook.c	the page that a notebook becomes
 *	notion_find.c		is it there already?
 *	notion_copies.c		what stands there more than once, and whose it is
 *	notion_properties.c	what its columns say
 *	notion_todo.c		the row that a to-do becomes, and its columns
 *	notion_row.c		rows that others have made
 *	notion_imagine.c	answers for a preview
 *	notion_resolve.c	looking at what is there: unknown outcomes
 *	notion_lost.c		is a page gone, or only a block that stood in it?
 *	notion_late.c		writes that may be done when nobody looks any more ...
 *	notion_late_look.c	... and looking for what they made
 *	notion_adopt.c		taking over what the host's own sync has delivered
 *	notion_slot.c		the pages in the order the reader shall see
 *	notion_plan.c		what is to be done
 *	notion_order.c		which toggles stand where they should
 *	notion_part.c		notebooks that are split over several pages ...
 *	notion_part_page.c	... and those pages
 *	notion_page.c		the toggles that the pages become
 *	notion_edit.c		changing a toggle in place ...
 *	notion_edit_worth.c	... if it is worth while ...
 *	notion_edit_plan.c	... and with which requests
 *	notion_compact.c	pages of one block
 *	notion_title.c		what stands above a page's text
 *	notion_note.c		the blocks that highlights and to-dos become
 *	notion_link.c		keys and markers of all these blocks
 *	notion_compose.c	what goes into the next append ...
 *	notion_write.c		... and the appends that bring the texts
 *	notion_ledger.c		what is recorded
 *	notion_oauth.c		renewing a token
 *	notion_probe.c		testing a connection (notion_probe.h, notion_talk.h)
 *	notion_search.c		what the token can see
 *	notion_create.c		making a database
 *	notion_poll.c		reading ticks back ...
 *	notion_poll_part.c	... in large notebooks
 *	notion_done.c		what they say
 *
 * Memory: handlers run in a context that lives for one step (from one call of
 * "next" to the following one).  What has to stay goes through the functions
 * below that say so; the blocks of the append under way have a context of
 * their own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_TARGET_NOTION_H
#define RMSYNC_TARGET_NOTION_H

#include "notion_job.h"

/*
 * 180 requests per minute and connection are allowed, 600 with some plans, in
 * windows of 60 s that begin nobody knows when; lanes of one connection share
 * them.  With one in 30 to spare there is room for what arrives later than it
 * was to be sent.
 */
#define RMSYNC_NOTION_RATE \
	{ .limit = 180, .higher = 600, .spare = 30, .window_us = 60000000 }

/* ---- target_notion.c ---- */

extern void rmsync_notion_begin(RmsyncJob *job, const NotionKind *kind);
extern RmsyncStep rmsync_notion_next(RmsyncJob *job,
									 RmsyncHttpRequest *request);
extern void rmsync_notion_response(RmsyncJob *job,
								   const RmsyncHttpResponse *response);

/* ---- notion_config.c ---- */

extern const char rmsync_notion_config_schema[];
extern const char rmsync_notion_todos_config_schema[];
extern const char *const rmsync_notion_config_keys[];
extern const char *const rmsync_notion_todos_config_keys[];

/* An id as Notion writes it; NULL if "text" is none.  palloc'd. */
extern char *rmsync_notion_dashed_id(const char *text);

/* NULL or a palloc'd message naming the field.  *config holds a secret. */
extern char *rmsync_notion_read_config(const NotionKind *kind, Jsonb *json,
									   NotionConfig *config, char **hint);
extern char *rmsync_notion_check_config(const NotionKind *kind, Jsonb *json,
										char **hint);
extern int	rmsync_notion_wanted_types(Jsonb *json);
extern bool rmsync_notion_two_way(const NotionKind *kind, Jsonb *json);

/* The lane's credential and limits, see RmsyncTarget. */
extern char *rmsync_notion_credential(Jsonb *json);
extern char *rmsync_notion_workspace(Jsonb *json, const char *remote);
extern void rmsync_notion_lane_limits(Jsonb *json, const char *remote,
									  RmsyncTargetLimits *limits);

/* ---- notion_api.c ---- */

typedef enum NotionCall
{
	NOTION_READ,				/* harmless to repeat */
	NOTION_SET,					/* a write that says how it shall be */
	NOTION_ADD					/* a write that must happen once */
} NotionCall;

/*
 * Fills the request.  "body" may be NULL; it must live until the answer.
 */
extern void rmsync_notion_call(NotionJob *nj, RmsyncHttpRequest *request,
							   NotionCall call, const char *method,
							   const char *path, const char *body,
							   size_t body_len);

/*
 * Reads the answer to the last rmsync_notion_call.  Sets nj->reply and
 * nj->error, with AGAIN the delay, with STOPPED the job's failure.
 */
extern NotionAnswer rmsync_notion_answer(NotionJob *nj,
										 const RmsyncHttpResponse *response);

/* Ends the job after a commit of what changed.  "message" is copied. */
extern void rmsync_notion_stop(NotionJob *nj, RmsyncFailScope scope,
							   int delay_ms, const char *code,
							   const char *message);

/* A write's outcome is unknown: look again after a while. */
extern void rmsync_notion_stop_unknown(NotionJob *nj, int delay_ms);

/* The answer to a read is no answer. */
extern void rmsync_notion_stop_invalid(NotionJob *nj);

/* "id" of an object, and an id itself, if it looks like one; else NULL. */
extern char *rmsync_notion_id(Jsonb *object);
extern char *rmsync_notion_valid_id(char *id);

/*
 * An array of the reply; NULL, and the job ends, if it is none or one of its
 * elements has no id.
 */
extern Jsonb *rmsync_notion_reply_list(NotionJob *nj, const char *name);
/* Copies where the list of the reply goes on, for the job; NULL = it ends. */
extern char *rmsync_notion_reply_cursor(NotionJob *nj);

/* Copies that stay for the job. */
extern char *rmsync_notion_keep(NotionJob *nj, const char *text);

/* Ids may come with dashes or without. */
extern bool rmsync_notion_same_id(const char *a, const char *b);

/*
 * Up to "max" ids of the objects in an array of the reply: the ids of
 * "results", or the strings of additional_data.committed_child_ids.  Returns
 * NULL if there are fewer.
 */
extern char **rmsync_notion_reply_ids(NotionJob *nj, NotionAnswer answer,
									  int max);

/* ---- notion_discover.c ---- */

extern void rmsync_notion_remote_load(NotionJob *nj);
extern bool rmsync_notion_discover_next(NotionJob *nj,
										RmsyncHttpRequest *request,
										RmsyncStep *step);
extern void rmsync_notion_discover_response(NotionJob *nj,
											const RmsyncHttpResponse *response);

/* A column by id (NULL = any) and type; NULL if there is none. */
extern Jsonb *rmsync_notion_find_property(Jsonb *properties, const char *id,
										  const char *type);

/*
 * True if this schema has every column that would be added otherwise.  Uses
 * nj->kind and changes nj->remote.
 */
extern bool rmsync_notion_has_columns(NotionJob *nj, Jsonb *properties);

/* The maker of an object that we have just created is us. */
extern void rmsync_notion_learn_bot(NotionJob *nj, Jsonb *object);

/* Where discovery begins with this configuration. */
extern NotionState rmsync_notion_discover_start(NotionJob *nj);

/* ---- notion_notebook.c ---- */

/* "<user id>:notebook:<uuid>", the value of our column; of this step. */
extern char *rmsync_notion_marker(NotionJob *nj);
extern bool rmsync_notion_notebook_next(NotionJob *nj,
										RmsyncHttpRequest *request,
										RmsyncStep *step);
extern void rmsync_notion_notebook_response(NotionJob *nj,
											const RmsyncHttpResponse *response);

/* True if the page's properties differ from the ledger. */
extern bool rmsync_notion_notebook_differs(NotionJob *nj);

/* All that belonged to the notebook is gone with its page: the job ends. */
extern void rmsync_notion_finish_removed(NotionJob *nj);

/* ---- notion_properties.c ---- */

extern const NotionKind rmsync_notion_notebooks;

/*
 * Appends "properties":{...}: absolute values, so that sending them twice is
 * harmless.
 */
extern void rmsync_notion_properties(NotionJob *nj, StringInfo buf);

/* Id of the option of this name, whatever its case; NULL if there is none. */
extern char *rmsync_notion_option(Jsonb *options, const char *name);

/* Append one member, if the column is used. */
extern bool rmsync_notion_property(NotionJob *nj, StringInfo buf, int role);
extern void rmsync_notion_text_property(NotionJob *nj, StringInfo buf,
										int role, const char *text);
extern void rmsync_notion_raw_property(NotionJob *nj, StringInfo buf,
									   int role, const char *json);

/* ---- notion_todo.c ---- */

extern const NotionKind rmsync_notion_todos;
extern bool rmsync_notion_todo_outdated(const RmsyncItem *item);

/* What its row has as its title. */
extern const char *rmsync_notion_todo_title(const RmsyncItem *item);

/* ---- notion_done.c ---- */

/*
 * Must a request that changes the to-do say whether it is done?  What the user
 * ticked at Notion and we have not read yet must not be undone.
 */
extern bool rmsync_notion_says_done(NotionJob *nj, const RmsyncItem *item);

/*
 * Appends what a row said that was read, as the ledger's metadata have it, if
 * it agrees with the source and nothing is written over it.
 */
extern void rmsync_notion_said_otherwise(NotionJob *nj, StringInfo buf);

/* Is it a time as Notion writes it, and one that exists? */
extern bool rmsync_notion_is_time(const char *text);

/*
 * What a row or block says of whether it is done: -1 = nothing, 0 = no, 1 =
 * yes.  False if it says nothing, or is in the trash.
 */
extern bool rmsync_notion_read_done(NotionJob *nj, Jsonb *object, int *ticked,
									int *state);

/* ---- notion_poll.c ---- */

extern void rmsync_notion_poll_begin(NotionJob *nj);
extern bool rmsync_notion_poll_next(NotionJob *nj, RmsyncHttpRequest *request,
									RmsyncStep *step);
extern void rmsync_notion_poll_response(NotionJob *nj,
										const RmsyncHttpResponse *response);

/* ---- notion_poll_part.c ---- */

/*
 * The parts that are to be asked, as rmsync.poll_input() says, and how far
 * that went: "*going_on", if a look ended among them.  In the current context.
 */
typedef struct NotionPollParts NotionPollParts;
extern NotionPollParts *rmsync_notion_poll_parts(NotionJob *nj, Jsonb *input,
												 Jsonb *state, bool *going_on);

/* Id of the next one; NULL if that was all. */
extern const char *rmsync_notion_poll_part(const NotionPollParts *parts);

/* Asks it; it has answered: must it be listed?  It was, or need not be. */
extern void rmsync_notion_poll_part_request(NotionJob *nj,
											const NotionPollParts *parts,
											RmsyncHttpRequest *request);
extern bool rmsync_notion_poll_part_says(NotionJob *nj, NotionPollParts *parts,
										 Jsonb *page);
extern void rmsync_notion_poll_part_done(NotionPollParts *parts, bool read);

/* Appends members of the state. */
extern void rmsync_notion_poll_parts_state(const NotionPollParts *parts,
										   bool going_on, StringInfo buf);

/* ---- notion_imagine.c ---- */

extern const char *rmsync_notion_imagine(RmsyncJob *job,
										 const RmsyncHttpRequest *request);

/* ---- notion_slot.c ---- */

/* Makes the slots, in display order. */
extern void rmsync_notion_load_slots(NotionJob *nj);

/* The slot of a page, NULL if it is no live page. */
extern NotionSlot *rmsync_notion_slot(NotionJob *nj, const char *key);

/* ---- notion_plan.c ---- */

/* Reads items, siblings and ledger entries. */
extern void rmsync_notion_load(NotionJob *nj);

/* Decides what is to be done with every due page; needs no request. */
extern void rmsync_notion_plan(NotionJob *nj);

/* True if the job has nothing to send. */
extern bool rmsync_notion_idle(NotionJob *nj);

/* True if the children of the notebook's page must be listed first. */
extern bool rmsync_notion_must_list(NotionJob *nj);

/* True if a page is to be written, so that the notebook needs its page. */
extern bool rmsync_notion_has_writes(NotionJob *nj);

/* Forgets all objects of the notebook: its page is gone. */
extern void rmsync_notion_forget_all(NotionJob *nj);

/* ---- notion_order.c ---- */

/* Decides which toggles stand where they should. */
extern void rmsync_notion_mark_kept(NotionJob *nj);

/* Has pages queued that stand in the wrong place and were not due. */
extern void rmsync_notion_flag_misplaced(NotionJob *nj);

/*
 * Toggles that no ledger entry knows; strings are copied.  Those of pages
 * that are no more are to be deleted.
 */
extern void rmsync_notion_add_orphan(NotionJob *nj, const char *key,
									 const char *block_id);
extern void rmsync_notion_load_orphans(NotionJob *nj, Jsonb *array);
extern void rmsync_notion_drop_orphan(NotionJob *nj, const char *block_id);
extern void rmsync_notion_delete_orphans(NotionJob *nj);
extern void rmsync_notion_claim_orphans(NotionJob *nj, NotionPage *page);

/*
 * Replaces what is known of the toggles' order, over all parts; strings are
 * copied.
 */
extern void rmsync_notion_set_order(NotionJob *nj, char **keys,
									const int *parts, int n);

/* Puts the pages of the append under way where they were appended. */
extern void rmsync_notion_order_batch(NotionJob *nj);

/* ---- notion_part.c ---- */

/* Id of the page a part is; NULL if it has to be created. */
extern const char *rmsync_notion_part_id(NotionJob *nj, int part);

/* Is this the id of one of the parts?  And of which; 0 if of none. */
extern bool rmsync_notion_is_part(NotionJob *nj, const char *id);
extern int	rmsync_notion_part_of(NotionJob *nj, const char *id);

/* There is the notebook's page only. */
extern void rmsync_notion_reset_parts(NotionJob *nj);

/* The parts in the metadata of the notebook, and in which of them the order's
 * keys stand; and the member with them. */
extern void rmsync_notion_load_parts(NotionJob *nj, Jsonb *metadata);
extern void rmsync_notion_parts_meta(NotionJob *nj, StringInfo buf);
extern void rmsync_notion_set_part_intent(NotionJob *nj, int absent);

/* Tells the slots in which part their blocks stand. */
extern void rmsync_notion_mark_parts(NotionJob *nj);

/* Does this slot stand behind all pages?  That is, in the last part. */
extern bool rmsync_notion_is_tail(NotionJob *nj, const NotionSlot *slot);
extern int	rmsync_notion_last_part(NotionJob *nj);

/*
 * Where the new block of a slot goes if the one that stands before it is
 * "before" (NULL = none).
 */
extern NotionPlace rmsync_notion_place(NotionJob *nj, const NotionSlot *before,
									   const NotionSlot *slot);

/* A part, at the end or where one was lost; it has this id now. */
extern void rmsync_notion_add_part(NotionJob *nj, int part, const char *id,
								   const char *title);

/* It is no more: nothing stands in it, or all that stood there is gone. */
extern void rmsync_notion_drop_part(NotionJob *nj, int part);
extern void rmsync_notion_part_lost(NotionJob *nj, int part);

/* While the parts are listed: a block of the notebook's page, the end of a
 * part (false: that was the last), all. */
extern void rmsync_notion_see_block(NotionJob *nj, Jsonb *block);
extern bool rmsync_notion_next_listing(NotionJob *nj);
extern bool rmsync_notion_settle_parts(NotionJob *nj);

/* ---- notion_part_page.c ---- */

/* What the parts still need; WORK if nothing. */
extern NotionState rmsync_notion_tidy_parts(NotionJob *nj);
extern bool rmsync_notion_part_next(NotionJob *nj, RmsyncHttpRequest *request,
									RmsyncStep *step);
extern void rmsync_notion_part_response(NotionJob *nj,
										const RmsyncHttpResponse *response);

/* ---- notion_ledger.c ---- */

/* The ledger entry has the hashes that are wanted. */
extern bool rmsync_notion_recorded(const RmsyncItem *item);

/* Ledger entry of the item equals what is wanted, now that it is sent. */
extern void rmsync_notion_mark_synced(NotionJob *nj, RmsyncItem *item);
extern void rmsync_notion_set_intent(NotionJob *nj, RmsyncItem *item,
									 const char *intent);
extern void rmsync_notion_set_external(NotionJob *nj, RmsyncItem *item,
									   const char *id);
/* It is about to be changed in place; with "content", not only moved. */
extern void rmsync_notion_doubt(NotionJob *nj, RmsyncItem *item, bool content);
/*
 * The toggle of a page is about to be changed in place, into one with these
 * prints; "touched": ids of blocks below which it is changed, NULL = none;
 * "title": its title, too; "append": blocks are added.
 */
extern void rmsync_notion_doubt_edit(NotionJob *nj, NotionPage *page,
									 const char *prints, const char *touched,
									 bool title, bool append);
/* Whether an append of the edit may be under way has changed. */
extern void rmsync_notion_set_lost(NotionJob *nj, NotionPage *page, bool lost);
/* What stands in the page's toggle, if the metadata are about that one. */
extern void rmsync_notion_load_shape(NotionPage *page, Jsonb *metadata);
/* Copies into the job's context; of a toggle. */
extern void rmsync_notion_set_shape(NotionJob *nj, NotionShape *shape,
									const char *prints, const char *title);
/* Metadata of a page: its toggle, and others that are to be deleted. */
extern void rmsync_notion_page_meta(NotionJob *nj, RmsyncItem *item);
/* What may come late for it has changed; it may be all there is in the entry. */
extern void rmsync_notion_write_late(NotionJob *nj, RmsyncItem *item);
/* Metadata of the notebook: its page, order and orphans. */
extern void rmsync_notion_notebook_meta(NotionJob *nj);
/*
 * The notebook's page is to get its properties again (Last Modified, Synced At,
 * Status), though they are recorded as wanted; the entry says so until it has.
 */
extern void rmsync_notion_owe_properties(NotionJob *nj);
/* Something of the notebook's text was written: its properties follow. */
extern void rmsync_notion_changed(NotionJob *nj, const RmsyncItem *item);
/* The object is gone for good: the entry is to be removed, success. */
extern void rmsync_notion_mark_removed(NotionJob *nj, RmsyncItem *item);
extern void rmsync_notion_fail_item(NotionJob *nj, RmsyncItem *item,
									const char *error);
extern void rmsync_notion_delete_later(NotionJob *nj, const char *block_id,
									   NotionPage *page);

/* ---- notion_page.c ---- */

extern bool rmsync_notion_page_next(NotionJob *nj, RmsyncHttpRequest *request,
									RmsyncStep *step);
extern void rmsync_notion_page_response(NotionJob *nj,
										const RmsyncHttpResponse *response);

/*
 * The toggle "id" holds the text with these hashes, and has the shape
 * page->sending; an older toggle is to be deleted.
 */
extern void rmsync_notion_written(NotionJob *nj, NotionPage *page,
								  const char *id, const char *content_hash,
								  const char *placement_hash);

/* ---- notion_edit_worth.c ---- */

/* Can this page's toggle be changed in place, and is it worth while? */
extern bool rmsync_notion_edit_worth(NotionJob *nj, NotionPage *page);

/* The same for all pages that are due: some of them had better be new. */
extern void rmsync_notion_edit_choose(NotionJob *nj);

/* ---- notion_edit.c ---- */

extern void rmsync_notion_edit_start(NotionJob *nj, NotionPage *page);
extern bool rmsync_notion_edit_next(NotionJob *nj, RmsyncHttpRequest *request,
									RmsyncStep *step);
extern void rmsync_notion_edit_response(NotionJob *nj,
										const RmsyncHttpResponse *response);

/* Answer to a listing of the toggle, for a preview. */
extern char *rmsync_notion_edit_imagine(NotionJob *nj);

/* ---- notion_compact.c ---- */

/* Is this page to be one paragraph? */
extern bool rmsync_notion_is_compact(NotionJob *nj, const RmsyncItem *item);

/* What it says, as a rich_text array; NULL if that is too much for one. */
extern char *rmsync_notion_compact_text(NotionJob *nj, const RmsyncItem *item,
										const char *title, const char *rm);

/* ---- notion_title.c ---- */

/* Title of a page's block; of this step. */
extern char *rmsync_notion_title(NotionJob *nj, const RmsyncItem *item);

/* What is recorded of it. */
extern char *rmsync_notion_title_hash(const char *title);

/* Its block has the title that is wanted. */
extern bool rmsync_notion_title_stays(NotionJob *nj, const NotionPage *page);

/* ---- notion_link.c ---- */

/* What a block of ours is, among those of its notebook. */
extern char *rmsync_notion_key(RmsyncItemType type, const char *id);

/* Appends text as a URL may hold it in a path segment or a parameter. */
extern void rmsync_notion_encode(StringInfo buf, const char *text);

/* The link in the text of an item's block. */
extern char *rmsync_notion_link(NotionJob *nj, const RmsyncItem *item,
								const char *rm);

/*
 * What the link in a block's text says, if it is a block of ours that may stand
 * in the page of this notebook; else false, and NULL.
 */
extern bool rmsync_notion_read_marker(Jsonb *block, const char *notebook,
									  char **key, char **rm);

/* ---- notion_note.c ---- */

extern bool rmsync_notion_is_heading(const RmsyncItem *item);
extern RmsyncItem *rmsync_notion_load_heading(NotionJob *nj, Jsonb *json);
extern void rmsync_notion_heading_meta(NotionJob *nj, StringInfo buf);
extern const char *rmsync_notion_block_type(NotionJob *nj,
											const RmsyncItem *item);
extern bool rmsync_notion_may_be(const char *type, const char *key);
extern bool rmsync_notion_outdated_type(NotionJob *nj, const char *type,
										const char *key);
extern NotionBlock *rmsync_notion_note_block(NotionJob *nj,
											 const RmsyncItem *item,
											 const char *rm);
extern char *rmsync_notion_note_patch(NotionJob *nj, const RmsyncItem *item,
									  const char *rm);

#include "target_notion_look.h"

#endif							/* RMSYNC_TARGET_NOTION_H */
