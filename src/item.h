/*-------------------------------------------------------------------------
 *
 * item.h
 *	  What travels: items, their ledger entries, lanes and jobs.
 *
 * Plain structs shared by the stores (which fill them), the targets (which
 * plan with them) and the engine (which carries them).  Nothing here does
 * I/O, runs SQL or reads a setting.
 *
 * An item is one thing of the source that becomes one object at a target:
 * a notebook, a page, a to-do or a highlight.  A job is what the engine hands
 * to a target in one go: one item for targets of item granularity (webhook),
 * or all due items of one notebook (Notion).
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_ITEM_H
#define RMSYNC_ITEM_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#define RMSYNC_HASH_LEN 64		/* hex digits of SHA-256 */

typedef enum RmsyncItemType
{
	RMSYNC_NOTEBOOK = 0,		/* 'notebook_metadata' */
	RMSYNC_PAGE,				/* 'page_text' */
	RMSYNC_TODO,				/* 'todo' */
	RMSYNC_HIGHLIGHT,			/* 'highlight' */
	RMSYNC_ITEM_TYPES,

	/*
	 * No item, but it is queued like one: a look at what changed at the
	 * target.  src.text is what rmsync.poll_input() says.
	 */
	RMSYNC_POLL = RMSYNC_ITEM_TYPES /* 'remote_poll' */
} RmsyncItemType;

#define RMSYNC_TYPE_BIT(t) (1 << (t))

/* How an item left a job. */
typedef enum RmsyncOutcome
{
	RMSYNC_OUT_NONE = 0,		/* not decided: the job's failure applies */
	RMSYNC_OUT_SUCCESS,			/* target equals source, ledger says how */
	RMSYNC_OUT_SKIPPED,			/* already equal, nothing was sent */
	RMSYNC_OUT_WAIT,			/* source not ready (no text yet): forget it,
								 * the next change marks it again */
	RMSYNC_OUT_ITEM_ERROR		/* this item's own fault: attempts count */
} RmsyncOutcome;

/*
 * One item as the source views show it.  Strings are UTF-8, NULL where the
 * source has none; fields a type does not have stay zero.
 */
typedef struct RmsyncSource
{
	const char *title;			/* notebook: visible name; todo: title */
	const char *text;			/* page: Markdown; todo: text; highlight:
								 * corrected or original text */
	const char *original_text;	/* highlight */
	const char *note;			/* highlight */
	const char *path;			/* notebook: folders and own name */
	const char *document_type;	/* notebook: notebook | pdf | epub */
	const char *author;			/* notebook */
	const char *notebook_title; /* to-do */
	const char *link_page;		/* to-do: its page at Notion, as the ledger of
								 * target notion has it: page id ... */
	const char *link_block;		/* ... and id of the toggle in there */
	const char *page_id;		/* todo, highlight: item id of their page */
	const char *taken;			/* to-do without an object: ids of the objects
								 * that others in its notebook have, of those
								 * it could be taken for */
	bool		follows;		/* and one that says the same is to be
								 * delivered before it */
	int			page_number;	/* 1-based, 0 = none */
	int			page_count;		/* notebook */
	bool		completed;		/* todo */
	bool		has_confidence;
	double		confidence;
	TimestampTz modified_at;	/* 0 = unknown */
	TimestampTz opened_at;		/* notebook, 0 = unknown */
	TimestampTz written_at;		/* to-do, highlight: when written; 0 = unknown */
} RmsyncSource;

/* What the target holds, as far as we know: the row of sync_records. */
typedef struct RmsyncLedger
{
	bool		exists;			/* a row is there (or shall be) */
	char	   *external_id;	/* NULL = no object yet */
	char	   *notebook_uuid;	/* where the object stands; differs from the
								 * item's when the page moved */
	char		content_hash[RMSYNC_HASH_LEN + 1];	/* "" = none delivered */
	char		placement_hash[RMSYNC_HASH_LEN + 1];
	int			config_epoch;
	bool		success;		/* status = 'success' */
	char	   *metadata;		/* JSON object text, NULL = none; the target's
								 * own notes (block ids and the like) */
	char	   *intent;			/* JSON object text of a request that may have
								 * been sent and whose result is not known;
								 * NULL = none */
	TimestampTz look_at;		/* the target wants to look then for what may
								 * have come late; 0 = no, DT_NOEND = now: the
								 * item is queued for it */
	int			look_ms;		/* set by the target: so long after the next
								 * record instead; 0 = as look_at says */
} RmsyncLedger;

typedef struct RmsyncItem
{
	RmsyncItemType type;
	const char *id;				/* page uuid, notebook uuid, to-do id, ... */
	const char *notebook_uuid;	/* of the item; for a notebook its own id */
	int64		queue_id;		/* of the queue row */
	int64		version;		/* of the queue row; 0 = not queued, loaded as
								 * context */
	int64		seq;			/* of the queue row: the same from the first mark
								 * until the item is delivered */
	int			attempt;		/* item errors so far */
	bool		present;		/* belongs at the target; else delete there */
	bool		ready;			/* has content to deliver now */
	bool		forced;			/* deliver even if hashes are equal */
	RmsyncSource src;
	char		content_hash[RMSYNC_HASH_LEN + 1];	/* wanted */
	char		placement_hash[RMSYNC_HASH_LEN + 1];	/* wanted */
	RmsyncLedger ledger;

	/* set by the target */
	bool		dirty;			/* ledger changed, to be written at the next
								 * commit */
	RmsyncOutcome outcome;
	char	   *error;			/* user-visible reason, no secrets */
	const char *error_code;		/* short constant, e.g. "invalid_data" */
	int			requests;		/* HTTP requests this item took part in */
	void	   *plan;			/* the target's own per-item state */

	/* the engine's */
	bool		recorded;		/* outcome is durable already */
	bool		stays;			/* a newer version is in the queue */
	bool		was_delivered;	/* ledger had an object or hash when loaded */
	const char *recorded_id;	/* external id in the database */
} RmsyncItem;

/*
 * A live item of the job's notebook, due or not.  First come the pages in
 * notebook order, then, if the lane takes them, the highlights in the order
 * of their pages, then the to-dos as they came into being.
 */
typedef struct RmsyncSibling
{
	RmsyncItemType type;
	const char *id;
	const char *page_id;		/* highlight: item id of its page, or NULL */
	int			page_number;
	bool		ready;			/* has deliverable text in the source */
	const char *external_id;	/* from the ledger, NULL = not at the target */
	RmsyncItem *item;			/* set if it is among the due items */

	/*
	 * Set by the target: the object is gone or has to be made anew, and it is
	 * not among the undecided items (those the target sees to itself).  At
	 * the next commit (or at the job's end), after the other ledger entries,
	 * the engine empties external id and hashes of its entry (no success any
	 * more) and queues it.  Metadata and intent stay: they may name objects
	 * that have yet to be deleted or found.
	 */
	bool		lost;
} RmsyncSibling;

typedef enum RmsyncLaneState
{
	RMSYNC_LANE_ACTIVE,
	RMSYNC_LANE_PAUSED,
	RMSYNC_LANE_AUTH,
	RMSYNC_LANE_QUOTA,
	RMSYNC_LANE_HELD
} RmsyncLaneState;

/* What a target may know of its lane. */
typedef struct RmsyncLaneInfo
{
	int64		lane_id;
	int64		user_id;
	const char *target_name;
	int			config_epoch;
	const char *workspace_id;	/* from OAuth, NULL = not known from there */
	Jsonb	   *config;			/* decrypted; lives in a wiped context */
	char	   *remote;			/* JSON object text: what the target learned
								 * about the service (ids, limits), NULL = {};
								 * the target sets it in "next", the engine
								 * copies it: valid only during a call */
} RmsyncLaneInfo;

/* Why a job stopped before all its items had an outcome. */
typedef enum RmsyncFailScope
{
	RMSYNC_FAIL_NONE = 0,
	RMSYNC_FAIL_ITEM,			/* count an attempt on the undecided items */
	RMSYNC_FAIL_GROUP,			/* the undecided items sleep for delay_ms, no
								 * attempt counted (unknown outcome) */
	RMSYNC_FAIL_PARKED,			/* the undecided items sleep for delay_ms, no
								 * attempt counted; somebody must do something
								 * about their notebook, and is told once */
	RMSYNC_FAIL_RATE,			/* the lane sleeps for delay_ms */
	RMSYNC_FAIL_NETWORK,		/* back-off and breaker of lane and target */
	RMSYNC_FAIL_AUTH,			/* lane state auth */
	RMSYNC_FAIL_QUOTA,			/* lane state quota */
	RMSYNC_FAIL_HELD			/* lane state held */
} RmsyncFailScope;

/* Which limit a service means. */
typedef enum RmsyncLimitKind
{
	RMSYNC_LIMIT_OTHER = 0,		/* it does not say, or overload */
	RMSYNC_LIMIT_CREDENTIAL,	/* so many requests by this credential */
	RMSYNC_LIMIT_WORKSPACE		/* by all of the workspace */
} RmsyncLimitKind;

typedef struct RmsyncFailure
{
	RmsyncFailScope scope;
	int			delay_ms;		/* 0 = the engine's own back-off */
	const char *code;			/* constant, e.g. "rate_limit" */
	char	   *message;		/* no secrets; NULL = code */
	struct RmsyncItem *item;	/* NETWORK: of the job, whose request the
								 * service answered with an error of its own;
								 * NULL = nobody's */
} RmsyncFailure;

typedef struct RmsyncJob
{
	MemoryContext cxt;			/* everything of the job; gone at its end */
	RmsyncLaneInfo *lane;
	const char *group_key;		/* notebook uuid or item key */
	RmsyncItem *notebook;		/* notebook granularity: always set */
	RmsyncItem **items;			/* due items (may include the notebook) */
	int			nitems;
	RmsyncSibling *siblings;	/* notebook granularity: all that is live */
	int			nsiblings;
	void	   *state;			/* the target's state machine */
	bool		remote_dirty;	/* lane->remote changed: write at next commit */
	char	   *report;			/* what was read back, for rmsync.take_remote()
								 * at the next commit or the end; NULL = none */
	const char *notice_code;	/* kind of a notification about the notebook, */
	char	   *notice;			/* its text, for the next commit or the end;
								 * NULL = none */
	RmsyncFailure fail;
	int			requests;		/* sent so far */
	int			delay_ms;		/* of the last RMSYNC_STEP_DELAY */
	RmsyncLimitKind limited;	/* what RMSYNC_FAIL_RATE is about */
} RmsyncJob;

/*
 * SQL spelling of the item types, and back; -1 if unrecognized.  A look at the
 * target is a type of queue rows only: it has a name, which means none.
 */
extern const char *rmsync_item_type_name(RmsyncItemType type);
extern int	rmsync_item_type_parse(const char *name);

/* SQL spelling of the lane states, and back (ACTIVE if unrecognized). */
extern const char *rmsync_lane_state_name(RmsyncLaneState state);
extern RmsyncLaneState rmsync_lane_state_parse(const char *name);

/* Tells the siblings of a job which of its items they are. */
extern void rmsync_job_match(RmsyncJob *job);

/* Is the job a look at the target? */
extern bool rmsync_job_is_poll(const RmsyncJob *job);

/* Have all its items an outcome? */
extern bool rmsync_job_decided(const RmsyncJob *job);

/*
 * Stops the job: the undecided items get the consequence of "scope".
 * "message" is copied into the job's context; may be NULL.
 */
extern void rmsync_job_fail(RmsyncJob *job, RmsyncFailScope scope,
							int delay_ms, const char *code,
							const char *message);

/* Decides one item; "error" (may be NULL) is copied into the job's context. */
extern void rmsync_item_done(RmsyncJob *job, RmsyncItem *item,
							 RmsyncOutcome outcome, const char *code,
							 const char *error);

#endif							/* RMSYNC_ITEM_H */
