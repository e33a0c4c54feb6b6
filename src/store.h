/*-------------------------------------------------------------------------
 *
 * store.h
 *	  Everything the engine reads from and writes to the database.
 *
 * The files store_*.c hold all SQL of the C code, as saved plans with
 * parameters.  Every function runs between
 * rmsync_txn_begin and rmsync_txn_end and may throw database errors; none
 * does I/O of another kind.  Results are allocated in the memory context
 * passed in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_STORE_H
#define RMSYNC_STORE_H

#include "executor/spi.h"
#include "item.h"

/* ---- store_queue.c ---- */

/* One saved plan; prepared at first use. */
typedef struct RmsyncPlan
{
	const char *sql;
	int			nargs;
	Oid			types[20];
	SPIPlanPtr	plan;
	bool		generic;		/* never plan for the parameters at hand */
	bool		indexed;		/* rows and their order come from indexes */
} RmsyncPlan;

/*
 * Runs a plan with the given parameters; "expected" is the SPI_OK_ code, or 0
 * for any.  Returns SPI_processed.  Raises on any other result.
 */
extern uint64 rmsync_plan_run(RmsyncPlan *plan, Datum *values,
							  const char *nulls, int expected);

/* Sets parameter "i" (from 0) to a text, or to a null if that is NULL. */
extern void rmsync_plan_text(Datum *values, char *nulls, int i, const char *text);

/* Columns of SPI_tuptable, copied into "cxt"; NULL / dflt for SQL NULL. */
extern char *rmsync_spi_text(MemoryContext cxt, uint64 row, int col);
extern int64 rmsync_spi_int64(uint64 row, int col, int64 dflt);
extern int	rmsync_spi_int(uint64 row, int col, int dflt);
extern bool rmsync_spi_bool(uint64 row, int col);
extern double rmsync_spi_float(uint64 row, int col, bool *isnull);

/* The extension is installed in this database, in the version we know. */
extern bool rmsync_store_present(void);

/* Its version; NULL = it is not installed. */
extern char *rmsync_store_version(void);

typedef struct RmsyncLaneList
{
	int64	   *ids;
	int			n;
} RmsyncLaneList;

/* Folds up to "max" marks; lists the lanes that got work. */
extern int	rmsync_store_fold(MemoryContext cxt, int max,
							  RmsyncLaneList *lanes);

/* Reconciles the lanes that asked for it; lists them. */
extern void rmsync_store_reconcile(MemoryContext cxt, RmsyncLaneList *lanes);

/* Makes rows whose time has come ready; lists their lanes. */
extern void rmsync_store_promote(MemoryContext cxt, RmsyncLaneList *lanes);

/*
 * Queues a look at the targets of lanes whose time has come; lists them.
 * "every_s": seconds between two looks.
 */
extern void rmsync_store_polls(MemoryContext cxt, int every_s,
							   RmsyncLaneList *lanes);

/* Queues items that are to be looked for again; lists their lanes. */
extern void rmsync_store_looks(MemoryContext cxt, RmsyncLaneList *lanes);

/* Every lane that has ready rows (one index probe per lane). */
extern void rmsync_store_ready_lanes(MemoryContext cxt, RmsyncLaneList *lanes);

/* Fails what an unreachable lane could not deliver within "max_age" seconds. */
extern int	rmsync_store_give_up(int max_age);

/* Earliest run_at of a waiting row, or look at a target, of any kind; 0 = none. */
extern TimestampTz rmsync_store_next_due(void);

typedef struct RmsyncQueueRow
{
	int64		queue_id;
	RmsyncItemType type;
	char	   *item_id;
	char	   *notebook_uuid;	/* may be NULL */
	int64		version;
	int64		seq;
	int			priority;
	int			attempt;
	bool		forced;
	TimestampTz created_at;
	int			suspect;		/* 0 = no, 1 = its job runs alone, 2 = it does */
} RmsyncQueueRow;

/*
 * Ready rows of a lane in order, after (priority, seq); or those of one
 * notebook of the lane ("notebook" not NULL).  Returns how many.
 */
extern int	rmsync_store_ready(MemoryContext cxt, int64 lane_id, int priority,
							   int64 seq, const char *notebook, int limit,
							   RmsyncQueueRow **rows);

/*
 * Lanes with ready rows that must run alone because a worker may have crashed
 * on them.  True if there are any such rows, ready or not.
 */
extern bool rmsync_store_suspect_lanes(MemoryContext cxt,
									   RmsyncLaneList *lanes);

/*
 * The next of them of a lane: one row, or with "by_notebook" those of one
 * notebook that may run together.
 */
extern int	rmsync_store_suspects(MemoryContext cxt, int64 lane_id,
								  bool by_notebook, int limit,
								  RmsyncQueueRow **rows);

/*
 * To be called before the queue's rows are written, so that processes cannot
 * wait for each other's rows in a circle.  "all": also rows of lanes that are
 * not ours; then nobody else is at them until the transaction ends.  False if
 * somebody is: then nothing may be written.
 */
extern bool rmsync_store_lock_queue(bool all);

/* Until the transaction ends nobody else deals with crashes. */
extern void rmsync_store_lock_crashes(void);

/*
 * A worker crashed while it worked on these rows, all of one job or not.
 * Returns how many were quarantined.
 */
extern int	rmsync_store_blame_crash(const int64 *ids, int n, bool one_job);

/*
 * Lets a row sleep, or marks it failed.  With "any_version" also if a newer
 * version came in (unknown outcomes must be waited for).
 */
extern void rmsync_store_queue_later(int64 lane_id, const RmsyncItem *item,
									 int delay_ms, int attempt, bool failed,
									 bool any_version, const char *code,
									 const char *message);

/* ---- store_item.c ---- */

/* Fills source, ledger and hashes of items of one lane. */
extern void rmsync_store_load(MemoryContext cxt, const RmsyncLaneInfo *lane,
							  RmsyncItem **items, int nitems);

/*
 * The same for items that are jobs of their own: everything of an item is
 * allocated in the memory context the item itself lives in.
 */
extern void rmsync_store_load_each(const RmsyncLaneInfo *lane,
								   RmsyncItem **items, int nitems);

/*
 * Loads a notebook (never NULL; present = false if it is not there) and all
 * that is live of it, see RmsyncSibling; siblings get no item yet.
 */
extern RmsyncItem *rmsync_store_notebook(MemoryContext cxt,
										 const RmsyncLaneInfo *lane,
										 const char *uuid,
										 RmsyncSibling **siblings,
										 int *nsiblings);

/* ---- store_outcome.c ---- */

/*
 * These three gather; rmsync_store_flush writes what was gathered, which must
 * happen in the same transaction.  An item may be in the ledger's part only
 * once.
 */

/* The ledger row of an item as item->ledger says; removed if not "exists". */
extern void rmsync_store_ledger(const RmsyncLaneInfo *lane,
								const RmsyncItem *item, const char *status);

/*
 * The removal of a finished row.  Sets item->stays, when it is written: true
 * if a newer version came in meanwhile.
 */
extern void rmsync_store_queue_done(RmsyncItem *item);

/* One row of sync_log. */
extern void rmsync_store_log(const RmsyncLaneInfo *lane,
							 const RmsyncItem *item, const char *status,
							 const char *operation, const char *code,
							 const char *message, int requests,
							 int duration_ms);

extern void rmsync_store_flush(void);

/* After an error: what was gathered is not to be written. */
extern void rmsync_store_forget(void);

/* ---- store_record.c ---- */

/*
 * The object of an item is gone: empties its ledger row, if it stands in that
 * notebook, and queues the item.
 */
extern void rmsync_store_lost(const RmsyncLaneInfo *lane,
							  const char *notebook_uuid, RmsyncItemType type,
							  const char *item_id);

/* Queues a notebook, unless it has a row, of whatever state. */
extern void rmsync_store_queue_notebook(const RmsyncLaneInfo *lane,
										const char *notebook_uuid);

/*
 * Queues the to-dos of pages whose objects at Notion have changed, in the
 * connection that links to them; returns its lane, 0 = nothing was queued.
 */
extern int64 rmsync_store_links(const RmsyncLaneInfo *lane,
								const char **page_ids, int n);

/*
 * Merges what a target has read back with the host's to-dos; "report" as
 * rmsync.take_remote() has it.
 */
extern void rmsync_store_take_remote(const RmsyncLaneInfo *lane,
									 const char *report, int every_s);

extern void rmsync_store_notify(const RmsyncLaneInfo *lane, const char *kind,
								const char *message, const RmsyncItem *item);

/*
 * The same about an item, unless it was told since the item was last brought
 * up to date; true if it was told now.
 */
extern bool rmsync_store_notify_once(const RmsyncLaneInfo *lane,
									 const char *kind, const char *message,
									 const RmsyncItem *item);

/* Makes the log's partitions of today and tomorrow, drops old ones. */
extern void rmsync_store_log_partitions(int retention_days);

/* ---- store_config.c ---- */

/* What was learned of the limits of a lane's credential; ages from now. */
typedef struct RmsyncLimitsRow
{
	int			limit;			/* requests a minute; 0 = nothing known */
	int64		limit_age_ms;
	int			reduced;		/* for a while; 0 = no less than that */
	int64		reduced_age_ms;
	int64		closed_ms;		/* nothing may be sent; 0 = it may */
	int64		workspace_closed_ms;	/* likewise in the whole workspace */
	int64		made_age_ms;	/* of the lane */
} RmsyncLimitsRow;

typedef struct RmsyncLaneRow
{
	int64		lane_id;
	int64		user_id;
	char	   *target_name;
	bool		enabled;
	RmsyncLaneState state;
	char	   *config;			/* Fernet token */
	char	   *backup;			/* Fernet token or NULL */
	int64		grant_id;		/* the rest is of this; 0 = not from OAuth */
	int64		grant_generation;	/* of its tokens */
	char	   *grant_name;		/* the service's, NULL = not known */
	char	   *workspace_id;	/* likewise */
	char	   *access;			/* Fernet token */
	char	   *refresh;		/* likewise: what renews it; NULL = nothing */
	char	   *credentials;	/* equal as long as config and access are */
	char	   *remote;			/* JSON text or NULL */
	bool		stale;			/* they are to be learned again */
	int			config_epoch;
	int			fail_streak;
	int64		blocked_ms;		/* still blocked for; 0 = not */
	int64		synced;			/* items so far */
	RmsyncLimitsRow limits;
} RmsyncLaneRow;

/* False if the lane is gone. */
extern bool rmsync_store_lane(MemoryContext cxt, int64 lane_id,
							  RmsyncLaneRow *row);

/* Lanes in state auth for a reason; at most 1000, any of them. */
extern int	rmsync_store_unopened(MemoryContext cxt, const char *reason,
								  RmsyncLaneRow **rows);

/* Lanes whose limits are closed, for each process to know at its start. */
extern void rmsync_store_closed_lanes(MemoryContext cxt,
									  RmsyncLaneList *lanes);

/* Of the lanes listed, those without a waiting time in their row. */
extern void rmsync_store_unblocked(MemoryContext cxt, RmsyncLaneList *lanes);

/*
 * Stops a lane, unless it has got other credentials since those were read;
 * false then, or if it is in that state already.
 */
extern bool rmsync_store_lane_state(int64 lane_id, RmsyncLaneState state,
									const char *code, const char *reason,
									const char *credentials);
extern void rmsync_store_lane_blocked(int64 lane_id, int64 blocked_ms,
									  int fail_streak);
extern void rmsync_store_lane_limits(int64 lane_id,
									 const RmsyncLimitsRow *limits);
extern void rmsync_store_lane_remote(int64 lane_id, int epoch,
									 const char *remote);
extern void rmsync_store_lane_synced(int64 lane_id, int items, int jobs);

/* The stored Fernet token of a connection, NULL = none. */
extern char *rmsync_store_lane_token(MemoryContext cxt, int64 user_id,
									 const char *target_name);

/*
 * Writes a connection; returns it as JSON text without secrets.  grant_id 0 =
 * it has a credential of its own.
 */
extern char *rmsync_store_connect(int64 user_id, const char *target_name,
								  const char *token, int item_types,
								  char granularity, bool new_destination,
								  bool backup, bool two_way, int64 grant_id);

/*
 * Puts the backup credential in the place of the active one, if that is still
 * the same.
 */
extern bool rmsync_store_lane_swap(int64 lane_id, const char *credentials);

/*
 * This database is the one the lanes were made in (system identifier and
 * rmsync.instance), a copy must not send; and it is attached, see below.
 */
extern bool rmsync_store_instance_ok(void);

/*
 * The source views show the host's tables, and will until this transaction
 * ends.  If they do not, everything would be taken for deleted.
 */
extern bool rmsync_store_attached(void);

/* Session-level lease on a target: one process at a time sends for it. */
extern bool rmsync_store_lease(const char *target_name);
extern void rmsync_store_unlease(const char *target_name);

/* ---- store_oauth.c ---- */

/* What OAuth gave; tokens are Fernet tokens. */
typedef struct RmsyncGrant
{
	const char *service;
	const char *external_id;	/* NULL = the service does not say */
	const char *workspace_id;	/* likewise */
	const char *access;
	const char *refresh;		/* NULL = none */
	const char **named;			/* digests of tokens that may name it */
	int			nnamed;
	const char **joining;		/* targets whose connections are to use it */
	const char **configs;		/* their new configurations; NULL = the old */
	int			njoining;
} RmsyncGrant;

/*
 * Writes the row of a grant, for a connection that is one of those joining and
 * for all that use the grant already.  Needs the locks that
 * rmsync_store_connections() takes.  Returns the connection as JSON text.
 */
extern char *rmsync_store_oauth_grant(int64 user_id, const char *target_name,
									  const RmsyncGrant *grant);

typedef struct RmsyncConnection
{
	char	   *target_name;
	char	   *config;			/* Fernet token */
	int64		grant_id;		/* 0 = none */
} RmsyncConnection;

/* A user's connections, locked until the transaction ends. */
extern int	rmsync_store_connections(MemoryContext cxt, int64 user_id,
									 RmsyncConnection **connections);

/*
 * The user's grant at a service that this token names (its digest, see
 * api_grant.c) or that the service calls so, if it has not ended.  Without a
 * token that of the connection, or else the user's only one.  0 = none.  It
 * stays until the transaction ends.
 */
extern int64 rmsync_store_oauth_choose(int64 user_id, const char *service,
									   const char *target_name,
									   const char *digest,
									   const char *external_id);

/*
 * New tokens for a grant, unless it has got others since those were read:
 * false then.  "refresh" NULL = the old one stays.
 */
extern bool rmsync_store_oauth_renew(int64 grant_id, int64 generation,
									 const char *access, const char *refresh);

/* Locks the lanes of a grant until the transaction ends. */
extern void rmsync_store_oauth_lanes(int64 grant_id);

/*
 * The service says that a grant has ended, whose tokens are still those: stops
 * its lanes, if nothing else can be tried.  They must be locked.
 */
extern void rmsync_store_oauth_ended(int64 grant_id, int64 generation,
									 const char *reason);

/* The user a call is about (0 = all), or an error. */
extern int64 rmsync_store_effective_user(int64 user_id);

/* Stores the verification token of a webhook, encrypted. */
extern void rmsync_store_webhook_secret(int64 user_id, const char *target_name,
										const char *token);

/* Removes webhook events that are too old to come again. */
extern void rmsync_store_trim_webhooks(void);

/* Session-level lock on a grant: one process at a time renews its tokens. */
extern bool rmsync_store_oauth_lock(int64 grant_id);
extern void rmsync_store_oauth_unlock(int64 grant_id);

/* ---- store_probe.c ---- */

/* The lane of a user (0 = the session's) and target, or an error. */
extern int64 rmsync_store_lane_of(int64 user_id, const char *target_name);

/* A lane of the user at Notion, that of "preferred" first, or an error. */
extern int64 rmsync_store_notion_lane(int64 user_id, const char *preferred);

/* The lanes were made in this database, attached or not. */
extern bool rmsync_store_instance_matches(void);

/*
 * Replaces what a user's token can see; see rmsync.store_notion_objects.
 * Returns counts as JSON text.
 */
extern char *rmsync_store_notion_objects(MemoryContext cxt, int64 user_id,
										 const char *objects);

/*
 * The intent to make a database: a JSON array of ids that were there before,
 * NULL if there is none.  *open_ms is how long Notion may still make it, 0 = no
 * longer.  With "set" both are written instead, and NULL returned.
 */
extern char *rmsync_store_notion_intent(MemoryContext cxt, int64 user_id,
										const char *target_name,
										const char *parent_id,
										const char *title, const char *set,
										int *open_ms);

/* It was not made, or (with its id) it was: the intent goes. */
extern void rmsync_store_notion_forget(int64 user_id, const char *target_name,
									   const char *parent_id,
									   const char *title);
extern void rmsync_store_notion_made(int64 user_id, const char *target_name,
									 const char *parent_id, const char *title,
									 const char *id);

/*
 * What rmsync_sync() waits for, as JSON text: queued with the arguments of that
 * procedure, its result left out; is there a reason to wait any longer; and
 * what became of it.
 */
#define RMSYNC_SYNC_ARGS 7
extern char *rmsync_store_sync_begin(MemoryContext cxt,
									 const NullableDatum *args);
extern bool rmsync_store_sync_waits(const char *job);
extern char *rmsync_store_sync_result(MemoryContext cxt, const char *job);

#endif							/* RMSYNC_STORE_H */
