/*-------------------------------------------------------------------------
 *
 * target_notion.h
 *	  What the files of the targets 'notion' and 'notion-todos' share.
 *
 *	target_notion.c		vtable, the loop over the states
 *	target_notion_todos.c	vtable
 *	notion_config.c		configuration
 *	notion_api.c		requests, and what an answer means
 *	notion_discover.c	the database's columns
 *	notion_notebook.c	the page that a notebook becomes
 *	notion_properties.c	what its columns say
 *	notion_todo.c		the row that a to-do becomes, and its columns
 *	notion_imagine.c	answers for a preview
 *	notion_resolve.c	looking at what is there: unknown outcomes, lost pages
 *	notion_adopt.c		taking over what the host's own sync has delivered
 *	notion_slot.c		the pages in the order the reader shall see
 *	notion_plan.c		what is to be done
 *	notion_order.c		which toggles stand where they should
 *	notion_part.c		notebooks that are split over several pages ...
 *	notion_part_page.c	... and those pages
 *	notion_page.c		the toggles that the pages become
 *	notion_edit.c		changing a toggle in place ...
 *	notion_edit_plan.c	... if it is worth while, and with which requests
 *	notion_compact.c	pages of one block
 *	notion_title.c		what stands above a page's text
 *	notion_note.c		the blocks that highlights and to-dos become
 *	notion_link.c		keys and markers of all these blocks
 *	notion_compose.c	what goes into the next append ...
 *	notion_write.c		... and the appends that bring the texts
 *	notion_ledger.c		what is recorded
 *	notion_oauth.c		renewing a token
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
	NOTION_STATUS,
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
	bool		newest_first;
	char	   *page_title;		/* "{n}" stands for the page number, "{title}"
								 * for how its text begins */
	const char *highlights;		/* block type, NULL = off */
	bool		todos;			/* as blocks */
	bool		compact;		/* a page is one block: see notion_compact.c */
	bool		no_status;		/* to-dos: leave a status column alone */
	char	   *base_url;		/* both without a slash at the end */
	char	   *app_url;
	int			delays[RMSYNC_NOTION_MAX_DELAYS];	/* ms, between looks for
													 * a created page */
	int			ndelays;
	int			append_delay;	/* ms, between looks for an append */
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
	bool		lost;			/* an append of that edit may be under way */
	int			edit;			/* in place: 0 = not decided, 1 yes, -1 no */
} NotionPage;

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
	int			part;
} NotionChild;

/*
 * One of the pages that a large notebook is split over; the first is that of
 * the notebook itself, see rmsync_notion_part_id.
 */
typedef struct NotionPart
{
	char	   *id;				/* NULL = to be created */
	char	   *title;			/* as it was sent, NULL = not known */
	bool		candidate;		/* found: is it a part at all? */
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
	NOTION_SOURCE,				/* GET data source -> COLUMNS, SAVE_REMOTE */
	NOTION_COLUMNS,				/* PATCH data source -> SAVE_REMOTE */
	NOTION_SAVE_REMOTE,

	/* notion_notebook.c */
	NOTION_NOTEBOOK,			/* -> ARCHIVE, FIND, LIST, WORK, FINISH */
	NOTION_FIND,				/* query by marker -> EXTRA, INTENT,
								 * SAVE_NOTEBOOK, ARCHIVE, FINISH */
	NOTION_EXTRA,				/* trash doubles -> SAVE_NOTEBOOK, ARCHIVE */
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

	/* notion_resolve.c */
	NOTION_LIST,				/* GET children, all of them -> WORK */
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
	NOTION_EDIT_LIST,			/* GET children of a toggle -> EDIT, WORK */
	NOTION_EDIT,				/* PATCH, DELETE, PATCH children, its doubt was
								 * committed -> EDIT, EDIT_LIST, WORK */

	NOTION_FINISH,				/* decide what is left */
	NOTION_STATES
} NotionState;

typedef struct NotionJob
{
	RmsyncJob  *job;
	const NotionKind *kind;
	RmsyncItem *notebook;
	RmsyncItem *heading;		/* see notion_note.c, NULL = none */
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
	int			delay_ms;		/* of the next step, 0 = none */

	bool		commit;			/* the next step is a commit */

	/* the failure that ends the job */
	RmsyncFailure stop;
	bool		stop_committed;

	/* the notebook */
	bool		created;		/* its page was created in this job */
	bool		rediscovered;
	bool		changed;		/* something was written: update properties */
	int			failures;		/* pages with an item error */
	int			losses;			/* how often the page was found lost */
	char	   *lost_id;		/* the page that was lost */
	List	   *extras;			/* char *: doubles of the page to be trashed */

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
	char	   *part_found;		/* and its id */

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

/* NULL or a palloc'd message naming the field.  *config holds a secret. */
extern char *rmsync_notion_read_config(const NotionKind *kind, Jsonb *json,
									   NotionConfig *config, char **hint);
extern char *rmsync_notion_check_config(const NotionKind *kind, Jsonb *json,
										char **hint);
extern int	rmsync_notion_wanted_types(Jsonb *json);

/* The lane's credential and limits, see RmsyncTarget. */
extern char *rmsync_notion_credential(Jsonb *json);
extern char *rmsync_notion_workspace(Jsonb *json);
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

/* ---- notion_properties.c ---- */

extern const NotionKind rmsync_notion_notebooks;

/*
 * Appends "properties":{...}: absolute values, so that sending them twice is
 * harmless.
 */
extern void rmsync_notion_properties(NotionJob *nj, StringInfo buf);

/* Append one member, if the column is used. */
extern bool rmsync_notion_property(NotionJob *nj, StringInfo buf, int role);
extern void rmsync_notion_text_property(NotionJob *nj, StringInfo buf,
										int role, const char *text);
extern void rmsync_notion_raw_property(NotionJob *nj, StringInfo buf,
									   int role, const char *json);

/* ---- notion_todo.c ---- */

extern const NotionKind rmsync_notion_todos;
extern bool rmsync_notion_todo_outdated(const RmsyncItem *item);

/* ---- notion_imagine.c ---- */

extern const char *rmsync_notion_imagine(RmsyncJob *job,
										 const RmsyncHttpRequest *request);

/* ---- notion_resolve.c ---- */

extern bool rmsync_notion_resolve_next(NotionJob *nj,
									   RmsyncHttpRequest *request,
									   RmsyncStep *step);
extern void rmsync_notion_resolve_response(NotionJob *nj,
										   const RmsyncHttpResponse *response);

/* Begins a listing of the notebook's page. */
extern void rmsync_notion_list_start(NotionJob *nj);

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

/* Is this the id of one of the parts? */
extern bool rmsync_notion_is_part(NotionJob *nj, const char *id);

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
 * part (false: that was the last), one that is not there, all. */
extern void rmsync_notion_see_block(NotionJob *nj, Jsonb *block);
extern bool rmsync_notion_next_listing(NotionJob *nj);
extern void rmsync_notion_listing_gone(NotionJob *nj);
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
 * prints; "title": its title, too; "append": blocks are added.
 */
extern void rmsync_notion_doubt_edit(NotionJob *nj, NotionPage *page,
									 const char *prints, bool title,
									 bool append);
/* Whether an append of the edit may be under way has changed. */
extern void rmsync_notion_set_lost(NotionJob *nj, NotionPage *page, bool lost);
/* What stands in the page's toggle, if the metadata are about that one. */
extern void rmsync_notion_load_shape(NotionPage *page, Jsonb *metadata);
/* Copies into the job's context; of a toggle. */
extern void rmsync_notion_set_shape(NotionJob *nj, NotionShape *shape,
									const char *prints, const char *title);
/* Metadata of a page: its toggle, and others that are to be deleted. */
extern void rmsync_notion_page_meta(NotionJob *nj, RmsyncItem *item);
/* Metadata of the notebook: its page, order and orphans. */
extern void rmsync_notion_notebook_meta(NotionJob *nj);
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

/* ---- notion_edit_plan.c ---- */

/* Can this page's toggle be changed in place, and is it worth while? */
extern bool rmsync_notion_edit_worth(NotionJob *nj, NotionPage *page);

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

/* What such a link says; false if it is not one of ours. */
extern bool rmsync_notion_read_link(NotionJob *nj, const char *url,
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

#endif							/* RMSYNC_TARGET_NOTION_H */
