/*-------------------------------------------------------------------------
 *
 * notion_job.h
 *	  What a job of the targets 'notion' and 'notion-todos' knows: the
 *	  configuration, the database's columns, pages and their places, its state.
 *
 * Part of target_notion.h, which has the functions; nobody else includes it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_NOTION_JOB_H
#define RMSYNC_NOTION_JOB_H

#include "nodes/pg_list.h"

#include "json.h"
#include "notion_blocks.h"
#include "notion_match.h"
#include "target.h"

#define RMSYNC_NOTION_API_VERSION "2026-03-11"

#define RMSYNC_NOTION_MAX_DELAYS 8
#define RMSYNC_NOTION_RM_LEN 12 /* hex digits in a marker */

/* The columns of a database of notebooks that we fill. */
typedef enum NotionRole
{
	NOTION_TITLE = 0,			/* whatever its name */
	NOTION_ID,					/* our marker, see rmsync_notion_marker */
	NOTION_PATH,
	NOTION_TAGS,
	NOTION_PAGES,
	NOTION_OPENED,
	NOTION_MODIFIED,
	NOTION_SYNCED,
	NOTION_STATUS_TYPED,		/* "Status" of type status, if it has our
								 * option ... */
	NOTION_STATUS,				/* ... else this select */
	NOTION_HOST_UUID,			/* of the host's own sync; never added */
	NOTION_ROLES
} NotionRole;

/* The same of a database of to-dos; the first two are in every database. */
typedef enum NotionTodoRole
{
	NOTION_TODO_COMPLETED = NOTION_ID + 1,
	NOTION_TODO_STATUS,			/* of type status, if there is one ... */
	NOTION_TODO_WORKFLOW,		/* ... else this select */
	NOTION_TODO_NOTEBOOK,
	NOTION_TODO_UUID,
	NOTION_TODO_PAGE,
	NOTION_TODO_WRITTEN,
	NOTION_TODO_CONFIDENCE,
	NOTION_TODO_TAGS,
	NOTION_TODO_LINK,
	NOTION_TODO_ROLES
} NotionTodoRole;

#define NOTION_MAX_ROLES Max((int) NOTION_ROLES, (int) NOTION_TODO_ROLES)

typedef struct NotionConfig
{
	char	   *authorization;	/* "Bearer ...", wiped with the job */
	char	   *database_id;	/* at least one of these two */
	char	   *data_source_id;
	bool		undecided;		/* or neither: to be chosen later */
	bool		newest_first;
	bool		fewest_requests;	/* in place only if it costs no more */
	bool		stop_if_lost;	/* a page that is gone is not made anew */
	char	   *page_title;		/* "{n}" stands for the page number, "{title}"
								 * for how its text begins */
	const char *highlights;		/* block type, NULL = off */
	bool		todos;			/* as blocks */
	bool		compact;		/* a page is one block: see notion_compact.c */
	bool		no_status;		/* to-dos: leave a status column alone */
	bool		two_way;		/* ticks are read back */
	char	   *base_url;		/* both without a slash at the end */
	char	   *app_url;
	int			delays[RMSYNC_NOTION_MAX_DELAYS];	/* ms, between looks for
													 * a created page */
	int			ndelays;
	int			append_delay;	/* ms, between looks for an append */
	int			late_delays[RMSYNC_NOTION_MAX_DELAYS];	/* ms, between looks
														 * for what may come
														 * late */
	int			nlate_delays;
	int			requests_per_minute;	/* that the plan allows; 0 = as usual */
	int			split_pages;	/* most pages in a part; 0 = no parts */
} NotionConfig;

/* What we know of the database: lane->remote, parsed. */
typedef struct NotionRemote
{
	bool		complete;		/* discovery is done for this configuration */
	char	   *database_id;	/* as configured, NULL = none */
	char	   *data_source_id;
	char	   *column[NOTION_MAX_ROLES];	/* property id, NULL = not used */
	bool		had[NOTION_MAX_ROLES];	/* was known before: a column that is
									 * missing now was deleted by the user,
									 * and stays deleted */
	char	   *status_open;	/* ids of options of a status column, NULL =
								 * not used */
	char	   *status_done;
	char	   *status_complete;	/* JSON array: ids of all that mean done */
	bool		asked_who;		/* Notion was asked which workspace it is */
	char	   *workspace_id;	/* what it said, NULL = nothing */
	List	   *bots;			/* char *: who we are at Notion, and were */
} NotionRemote;

struct NotionJob;

/* A column that we fill. */
typedef struct NotionRoleInfo
{
	const char *key;			/* in the remote notes */
	const char *name;			/* of the column; NULL = any of its type */
	const char *type;
	const char *schema;			/* to add it; NULL = never added */
	bool		any;			/* without one of the name, any of its type */
} NotionRoleInfo;

/*
 * What the rows of the database are.  The row of a job is the "notebook" in
 * what follows: with notion-todos it is a to-do, and nothing stands in it.
 */
typedef struct NotionKind
{
	RmsyncItemType type;
	const char *marker;			/* "notebook", "todo" */
	const char *const *config_keys;
	const char *config_hint;
	const NotionRoleInfo *roles;
	int			nroles;

	/* Appends the members of "properties". */
	void		(*properties) (struct NotionJob *nj, StringInfo buf);

	/* MAY be NULL.  Reads the schema before columns are assigned. */
	void		(*learn) (struct NotionJob *nj, Jsonb *properties);

	/* MAY be NULL.  Is this column used?  Asked in the order of the roles. */
	bool		(*wants) (struct NotionJob *nj, int role);

	/* MAY be NULL.  Appends members to the row's metadata. */
	void		(*metadata) (struct NotionJob *nj, StringInfo buf);

	/* MAY be NULL.  See RmsyncTarget. */
	bool		(*outdated) (const RmsyncItem *item);
} NotionKind;

/* What an answer means for the job.  See rmsync_notion_answer. */
typedef enum NotionAnswer
{
	NOTION_DONE,				/* 2xx; nj->reply is its JSON */
	NOTION_COMMITTED,			/* 503, but saved: ids in nj->reply */
	NOTION_GONE,				/* 404, or the object is in the trash */
	NOTION_INVALID,				/* this request can never work as it is */
	NOTION_AGAIN,				/* not done: same request after a delay */
	NOTION_UNKNOWN,				/* a write may have happened */
	NOTION_STOPPED				/* not done; the job ends, the reason is set */
} NotionAnswer;

/* What is to be done with a page that is due. */
typedef enum NotionAction
{
	NOTION_PLAN_NONE,			/* equal: skipped when the job ends */
	NOTION_PLAN_WAIT,			/* no text yet */
	NOTION_PLAN_RETITLE,		/* page: same text, other number; note: to be
								 * changed in place */
	NOTION_PLAN_EDIT,			/* other text: its toggle is changed in place */
	NOTION_PLAN_WRITE,			/* new toggle; an old one goes afterwards */
	NOTION_PLAN_REMOVE,
	NOTION_PLAN_DECIDED			/* the item has its outcome */
} NotionAction;

/* What is recorded of a page's block; all in the job's context. */
typedef struct NotionShape
{
	bool		compact;		/* a paragraph, not a toggle */
	const char *prints;			/* of what stands in it, NULL = not known */
	const char *title;			/* hash of its title, NULL = not known */
} NotionShape;

/*
 * A due page, or a note: a highlight, a to-do, the heading above the to-dos.
 * RmsyncItem.plan.
 */
typedef struct NotionPage
{
	RmsyncItem *item;
	const char *key;			/* rmsync_notion_key */
	NotionAction action;
	int			slot;			/* index in nj->slots, -1 = none */
	int			deletes;		/* entries of nj->deletes that are this page's */
	int			cap;			/* most pages in an append with this one */
	int			resent;			/* appends of it in a row that never arrived */
	bool		unknown;		/* an append may have happened */
	bool		moved;			/* its toggle is in another notebook's page */
	bool		synced;			/* written in this job, old toggles remain */
	char	   *former;			/* its toggle before the ledger was reset */
	const char *home;			/* page at Notion its toggle stands in; NULL =
								 * the notebook's */
	char	   *partial;		/* id of a toggle that is not complete */
	char	   *failure;		/* item error, once the partial toggle is gone */
	NotionBlock *toggle;		/* in the append under way */
	char	   *rm;				/* marker of that append, permanent */
	NotionShape shape;			/* of its block as it is ... */
	NotionShape sending;		/* ... and will be, when it is written */
	const char *next;			/* prints an edit may have brought already:
								 * "shape" is in doubt; NULL = it is not */
	const char *touched;		/* ids of blocks below which it may have */
	bool		lost;			/* an append of that edit may be under way */
	bool		looked;			/* a block in it was gone, its page was not */
	int			edit;			/* in place: 0 = not decided, -1 = no, else how
								 * many requests it seems to take */
	int			anew;			/* requests for a new toggle, if that decides */
	List	   *late;			/* NotionLate * */
	int			looks;			/* how often they were looked for */
	bool		looking;		/* they are, in this job */
} NotionPage;

/* An append that may be done when nobody looks for it any more. */
typedef struct NotionLate
{
	char	   *notebook;		/* uuid in its marker */
	char	   *page;			/* id of the page at Notion it went to */
	char	   *rm;
} NotionLate;

/* A live page or note of the notebook, in the order the reader shall see. */
typedef struct NotionSlot
{
	const char *key;
	RmsyncSibling *sibling;		/* NULL = due page unknown to the engine's
								 * list: it stands at the end */
	NotionPage *page;			/* NULL = not due */
	char	   *block_id;		/* its toggle, NULL = not at the target */
	int			part;			/* where it stands, if it is in the order */
	bool		kept;			/* the toggle stands where it should */
	bool		stray;			/* it does not, and may: see notion_adopt.c */
} NotionSlot;

/* A block to be deleted.  Missing already is as good. */
typedef struct NotionDelete
{
	char	   *block_id;
	NotionPage *page;			/* NULL = nobody waits for it */
} NotionDelete;

/* A toggle that no ledger entry knows. */
typedef struct NotionOrphan
{
	char	   *key;
	char	   *block_id;
} NotionOrphan;

/* A toggle or other child of the notebook's page, as listed. */
typedef struct NotionChild
{
	char	   *id;
	char	   *key;			/* from the marker, NULL = not ours */
	char	   *rm;
	int			host_number;	/* in a title of the host's, 0 = none */
	char		host_hash[9];
	bool		outdated;		/* of a type that was configured before */
	bool		has_children;
	char	   *creator;		/* who made it, NULL = not told */
	int			part;
} NotionChild;

/* What is there although something else counts.  See notion_copies.c. */
typedef struct NotionDouble
{
	char	   *id;
	bool		page;			/* a page; else a block */
	bool		lost;			/* a page that was made anew since */
	NotionPage *waits;			/* page that waits for its deletion, NULL */
} NotionDouble;

/* A page that was lost and made anew. */
typedef struct NotionLost
{
	char	   *id;
	int64		looked_at;		/* ms */
	bool		looked;			/* in this job */
	bool		told;			/* the user knows */
} NotionLost;

/*
 * One of the pages that a large notebook is split over; the first is that of
 * the notebook itself, see rmsync_notion_part_id.
 */
typedef struct NotionPart
{
	char	   *id;				/* NULL = to be created */
	char	   *title;			/* as it was sent, NULL = not known */
	bool		candidate;		/* found: is it a part at all? */
	bool		looked;			/* it is gone, and the notebook's page is not */
	bool		done;			/* nothing more to be tidied in this job */
} NotionPart;

/* Where pages that have no toggle yet go.  See rmsync_notion_place. */
typedef struct NotionPlace
{
	int			part;
	bool		start;			/* at its start, not behind a toggle */
	int			room;			/* so many pages */
} NotionPlace;

/*
 * States of a job and what can follow.  Every state but START and FINISH may
 * also end the job with a failure (rmsync_notion_stop), for which a commit is
 * made first if a ledger entry changed.
 */
typedef enum NotionState
{
	/* -> DATABASE, SOURCE, NOTEBOOK, FINISH */
	NOTION_START,

	/* notion_discover.c; the last one commits -> NOTEBOOK */
	NOTION_DATABASE,			/* GET database -> SOURCE */
	NOTION_SOURCE,				/* GET data source -> COLUMNS, WHO, SAVE_REMOTE */
	NOTION_COLUMNS,				/* PATCH data source -> WHO, SAVE_REMOTE */
	NOTION_WHO,					/* GET users/me -> SAVE_REMOTE */
	NOTION_SAVE_REMOTE,

	/* notion_notebook.c */
	NOTION_NOTEBOOK,			/* -> ARCHIVE, FIND, LIST, WORK, FINISH */
	NOTION_FIND,				/* notion_find.c: query by marker -> INSPECT,
								 * INTENT, SAVE_NOTEBOOK, ARCHIVE, FINISH */
	NOTION_INTENT,				/* commit -> CREATE */
	NOTION_CREATE,				/* POST page -> SAVE_NOTEBOOK */
	NOTION_SAVE_NOTEBOOK,		/* commit -> LIST, WORK */
	NOTION_ARCHIVE,				/* PATCH in_trash -> FINISH */
	NOTION_PROPERTIES,			/* PATCH page -> FINISH, CHECK, DATABASE */

	/* notion_part_page.c */
	NOTION_PART_INTENT,			/* commit -> PART_CREATE */
	NOTION_PART_CREATE,			/* POST page -> WORK, CHECK */
	NOTION_PART_TITLE,			/* PATCH page -> WORK, CHECK */
	NOTION_PART_LOOK,			/* GET children -> PART_TRASH, WORK */
	NOTION_PART_TRASH,			/* PATCH in_trash -> WORK */

	/* notion_copies.c */
	NOTION_INSPECT,				/* GET children of doubles -> EXTRA, and what
								 * after_doubles says */
	NOTION_EXTRA,				/* PATCH in_trash of doubles that are pages ->
								 * INSPECT, the same */
	NOTION_LOOK,				/* GET a page that was lost -> INSPECT, WORK */

	/* notion_resolve.c */
	NOTION_LIST,				/* GET children, all of them -> INSPECT, WORK */

	/* notion_lost.c */
	NOTION_CHECK,				/* GET page -> CHECK_SOURCE, LIST, CHECK (a
								 * part) */
	NOTION_CHECK_SOURCE,		/* GET data source -> NOTEBOOK */

	/* notion_page.c */
	NOTION_WORK,				/* -> DELETE, APPEND, EDIT_LIST, RETITLE,
								 * PART_*, PROPERTIES, NOTEBOOK, FINISH */
	NOTION_DELETE,				/* DELETE block -> WORK */
	NOTION_RETITLE,				/* PATCH block -> WORK */
	NOTION_APPEND,				/* PATCH children of the page, its intents were
								 * committed -> WORK, DEEP, CHECK, LIST */
	NOTION_DEEP,				/* what did not fit: -> DEEP_APPEND, WORK */
	NOTION_DEEP_APPEND,			/* PATCH children of a block -> DEEP */

	/* notion_edit.c */
	NOTION_EDIT_LIST,			/* GET children of a toggle, or of a block in it
								 * -> EDIT, WORK */
	NOTION_EDIT,				/* PATCH, DELETE, PATCH children, its doubt was
								 * committed -> EDIT, EDIT_LIST, WORK */
	NOTION_POLL,				/* notion_poll.c; job is no item */

	/* notion_late_look.c; from FINISH, and back to it */
	NOTION_LATE_FIND,			/* query by marker -> LATE_* */
	NOTION_LATE_LIST,			/* GET children of a page -> LATE_* */
	NOTION_LATE_ME,				/* GET users/me: is a double ours? -> LATE_* */
	NOTION_LATE_LOOK,			/* GET children of a double -> LATE_* */
	NOTION_LATE_SEE,			/* GET page of a double -> LATE_* */
	NOTION_LATE_TRASH,			/* PATCH in_trash, DELETE -> LATE_* */

	NOTION_FINISH,				/* decide what is left */
	NOTION_STATES
} NotionState;

typedef struct NotionJob
{
	RmsyncJob  *job;
	const NotionKind *kind;
	RmsyncItem *notebook;
	RmsyncItem *heading;		/* see notion_note.c, NULL = none */
	struct NotionPoll *poll;	/* NULL = the job is none */
	NotionState state;
	MemoryContext step_cxt;
	MemoryContext batch_cxt;
	NotionConfig config;
	NotionRemote remote;

	/* the request under way and its answer */
	bool		repeatable;
	Jsonb	   *reply;			/* NULL = not JSON; of this step */
	char	   *error;			/* the service's message; of this step */
	int			conflicts;		/* 409s in a row */
	RmsyncItem *about;			/* whose request it is, NULL = nobody's */
	int			delay_ms;		/* of the next step, 0 = none */

	bool		commit;			/* the next step is a commit */

	/* the failure that ends the job */
	RmsyncFailure stop;
	bool		stop_committed;

	/* the notebook */
	bool		created;		/* its page was created in this job */
	bool		found;			/* it was found in this job, by a query */
	const char *bot;			/* who created it: Notion's id of ourselves; ""
								 * = not known, NULL = not looked for */
	bool		rediscovered;
	bool		changed;		/* something was written: update properties */
	int			failures;		/* pages with an item error */
	int			losses;			/* how often the page was found lost */
	char	   *lost_id;		/* the page that was lost */
	bool		source_seen;	/* the page was not there, its database is */
	bool		looking;		/* whether a block is gone or its whole page */
	int			seen_part;		/* and that one was there ... */
	int			seen_call;		/* ... when we asked with this call */
	int			calls;			/* requests of this job */
	bool		mixed;			/* FIND asks for the host's objects, too */

	/* notion_copies.c */
	char	   *maker;			/* of what was found, NULL = not known */
	List	   *doubles;		/* NotionDouble * */
	NotionState after_doubles;
	bool		inspecting;		/* the first of them */
	List	   *inside;			/* char *: what in there is to be listed */
	char	   *inside_cursor;
	int			inspections;	/* requests for that */
	List	   *lost;			/* NotionLost * */
	NotionLost *looked_for;

	/* notion_row.c: what a row said before we wrote it */
	bool		row_read;
	bool		row_named;		/* it has the text it should have */
	int			row_ticked;		/* see rmsync_notion_read_done */
	int			row_state;

	/* what is to be done */
	NotionPage *pages;
	int			npages;
	NotionSlot *slots;
	int			nslots;
	int		   *by_id;			/* slot numbers sorted by page id */
	int			tail;			/* first slot of what stands behind all pages */
	char	  **order;			/* page ids as the toggles stand at Notion */
	int		   *order_part;		/* and in which parts */
	int			norder;
	bool		order_known;
	List	   *orphans;		/* NotionOrphan * */
	bool		planned;
	List	   *deletes;		/* NotionDelete * */
	NotionPage *retitle;		/* page of the RETITLE under way */
	struct NotionEdit *edit;	/* the edit under way, in batch_cxt */

	/* listing */
	NotionChild *children;
	int			nchildren;
	int			max_children;
	char	   *cursor;
	bool		adopted;		/* the page was found, not created: whatever
								 * stands in it is ours */
	bool		relisted;		/* once per job after a failed append */

	/* parts */
	NotionPart *parts;
	int			nparts;
	int			listing;		/* the part that is being listed */
	int			suspect;		/* the part an append says is gone */
	int			checking;		/* the part CHECK asks for */
	int			tidying;		/* the part of the PART states */
	int			part_losses;
	bool		no_split;		/* Notion does not want another part */
	char	   *part_title;		/* of the create that may have happened */
	int			part_at;		/* which part that was to be */
	int			part_absent;	/* how often it was looked for in vain */
	int			part_resent;	/* creates in a row that never arrived */
	char	   *part_found;		/* and its id */

	/* what may come late, of the notebook's own; see notion_late.c */
	bool		late_row;		/* another page with its marker */
	List	   *late_parts;		/* char *: titles of parts */
	int			looks;
	struct NotionLook *look;	/* NULL = it was not looked yet */

	/* notion_adopt.c */
	bool		adopting;		/* the host's page: list it first */
	bool		keep_order;		/* what stands out of line may stay there */
	bool		newest_first;	/* order of this notebook */
	bool		own_order;		/* and it is in the ledger */
	List	   *strays;			/* char *: keys */
	const char *head;			/* block before the toggles, NULL = none */

	/* the append under way */
	NotionPage **batch;
	int			nbatch;
	const char *anchor;			/* page id of the toggle it goes behind; NULL =
								 * at_start or at the end */
	bool		at_start;
	int			part;			/* the page it goes to */
	char	   *body;			/* in batch_cxt */
	int			body_len;
	bool		whole;			/* complete with this one request */
	NotionBlock *open;			/* parent of the deep append */
	NotionBlock *open_first;	/* first child in it */
	int			nopen;			/* children in it */
} NotionJob;

#endif							/* RMSYNC_NOTION_JOB_H */
