/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  Settings: rmsync.*
 *
 * Variables are read by the services, the engine and the processes; pure
 * modules and targets never see one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_GUC_H
#define RMSYNC_GUC_H

extern char *rmsync_databases;	/* '*' or a list; POSTMASTER-free, SIGHUP */
extern bool rmsync_enabled;		/* SIGHUP: workers send; off = they idle */
extern int	rmsync_max_databases;	/* POSTMASTER, 16 */
extern int	rmsync_max_workers; /* per database, SIGHUP, 4, cap 16 */
extern int	rmsync_max_in_flight;	/* requests per worker, SIGHUP, 64 */
extern int	rmsync_worker_idle_timeout; /* s, SIGHUP, 60 */
extern int	rmsync_recheck_interval;	/* ms, SIGHUP, 60000: look even if
										 * nobody woke us */
extern int	rmsync_max_attempts;	/* SIGHUP, 5 */
extern int	rmsync_max_age;		/* s, SIGHUP, 259200 (72 h) */
extern int	rmsync_http_timeout;	/* ms, SIGHUP, 75000 */
extern int	rmsync_log_retention;	/* days, SIGHUP, 14 */
extern int	rmsync_todo_poll_interval;	/* s, SIGHUP, 600 */
extern double rmsync_mass_delete_guard; /* fraction, SIGHUP, 0.5 */
extern char *rmsync_master_key_file;	/* SUSET, hidden */
extern char *rmsync_key_derivation; /* enum-like: 'document' | 'rmirror' */
extern char *rmsync_allowed_networks;	/* CIDR list, SUSET */
extern bool rmsync_allow_http;	/* plain http to allowed networks, SUSET */
extern char *rmsync_ca_file;	/* SUSET, extra CA bundle, '' = system's */
extern char *rmsync_instance;	/* POSTMASTER */
extern char *rmsync_app_url;	/* SIGHUP: base of links back to the app */
extern char *rmsync_notion_base_url;	/* SUSET */
extern int	rmsync_notion_split_pages;	/* SIGHUP, 500; 0 = never, else >= 2 */
extern char *rmsync_notion_oauth_client_id; /* SUSET, hidden */
extern char *rmsync_notion_oauth_client_secret_file;	/* SUSET, hidden */
extern char *rmsync_user_id;	/* USERSET, read by SQL; '' = not confined */
extern double rmsync_backoff_scale; /* SUSET, 1.0: tests shorten waiting */
#ifdef USE_ASSERT_CHECKING
extern char *rmsync_debug_crash_item;	/* SUSET: id of an item that crashes */
#endif

extern void rmsync_guc_init(void);

#endif							/* RMSYNC_GUC_H */
