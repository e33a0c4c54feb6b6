/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  Settings of rmsync: definitions and check hooks.
 *
 * rmsync_guc_init is called once from _PG_init, in the postmaster when the
 * library is preloaded and in a backend otherwise.  Check hooks run in every
 * process and without a transaction (at SIGHUP): they must not look at
 * catalogs and must not throw.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "guc.h"
#include "miscadmin.h"
#include "netguard.h"
#include "port.h"
#include "utils/guc.h"
#include "utils/varlena.h"

char *rmsync_databases = NULL;
bool rmsync_enabled = true;
int rmsync_max_databases = 16;
int rmsync_max_workers = 4;
int rmsync_max_in_flight = 64;
int rmsync_worker_idle_timeout = 60;
int rmsync_recheck_interval = 60000;
int rmsync_max_attempts = 5;
int rmsync_max_age = 259200;
int rmsync_http_timeout = 75000;
int rmsync_log_retention = 14;
int rmsync_todo_poll_interval = 600;
double rmsync_mass_delete_guard = 0.5;
char *rmsync_master_key_file = NULL;
char *rmsync_key_derivation = NULL;
char *rmsync_allowed_networks = NULL;
bool rmsync_allow_http = false;
char *rmsync_ca_file = NULL;
char *rmsync_instance = NULL;
char *rmsync_app_url = NULL;
char *rmsync_notion_base_url = NULL;
int rmsync_notion_split_pages = 500;
char *rmsync_notion_oauth_client_id = NULL;
char *rmsync_notion_oauth_client_secret_file = NULL;
char *rmsync_user_id = NULL;
double rmsync_backoff_scale = 1.0;
#ifdef USE_ASSERT_CHECKING
char *rmsync_debug_crash_item = NULL;
#endif

/*
 * Splits a copy of "value" at commas the way search_path is split, so that
 * names with capitals or commas can be given in double quotes.
 */
static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char *copy = pstrdup(*newval);
	List *names = NIL;
	bool ok;

	ok = SplitIdentifierString(copy, ',', &names);
	if (!ok)
		GUC_check_errdetail("List syntax is invalid.");
	list_free(names);
	pfree(copy);
	return ok;
}

static bool
check_key_derivation(char **newval, void **extra, GucSource source)
{
	if (strcmp(*newval, "document") == 0 || strcmp(*newval, "rmirror") == 0)
		return true;
	GUC_check_errdetail("Available values: document, rmirror.");
	return false;
}

/* SQL reads it as a bigint; digits that always fit. */
static bool
check_user_id(char **newval, void **extra, GucSource source)
{
	size_t len = strlen(*newval);

	if (strspn(*newval, "0123456789") == len && len <= 18)
		return true;
	GUC_check_errdetail("The user must be given as a number.");
	return false;
}

static bool
check_path(char **newval, void **extra, GucSource source)
{
	if ((*newval)[0] == '\0' || is_absolute_path(*newval))
		return true;
	GUC_check_errdetail("The path must be absolute.");
	return false;
}

/* Enough to keep requests well-formed; whether it answers is found out later. */
static bool
check_url(char **newval, void **extra, GucSource source)
{
	const char *url = *newval;
	const char *host;

	if (strncmp(url, "https://", 8) == 0)
		host = url + 8;
	else if (strncmp(url, "http://", 7) == 0)
		host = url + 7;
	else
	{
		GUC_check_errdetail(
			"The URL must start with \"https://\" or \"http://\".");
		return false;
	}
	if (*host == '\0' || *host == '/')
	{
		GUC_check_errdetail("The URL has no host.");
		return false;
	}
	for (const char *p = url; *p; p++)
	{
		if ((unsigned char) *p <= ' ' || *p == 0x7f || *p == '?' || *p == '#')
		{
			GUC_check_errdetail(
				"The URL must not contain spaces, control characters, \"?\" or \"#\".");
			return false;
		}
	}
	return true;
}

/* The transport parses the value again, by itself, when it uses it. */
static bool
check_allowed_networks(char **newval, void **extra, GucSource source)
{
	RmsyncNetList nets;
	char *why = NULL;

	if (rmsync_netguard_parse(*newval, &nets, &why))
		return true;
	GUC_check_errdetail("%s", why);
	return false;
}

/* Few pages make no sense but in tests. */
static bool
check_split_pages(int *newval, void **extra, GucSource source)
{
	if (*newval == 0 || *newval >= 2)
		return true;
	GUC_check_errdetail("The value must be 0 or at least 2.");
	return false;
}

static void
define_process_settings(void)
{
	/*
	 * What must be fixed at server start can only be defined as such then;
	 * without preloading the value is of no use but must be readable.
	 */
	GucContext at_start = process_shared_preload_libraries_in_progress
							  ? PGC_POSTMASTER
							  : PGC_SIGHUP;

	DefineCustomBoolVariable("rmsync.enabled",
							 "Lets workers deliver queued items.",
							 "When off, changes are still recorded and wait in the queue.",
							 &rmsync_enabled, true, PGC_SIGHUP, 0, NULL, NULL,
							 NULL);
	DefineCustomStringVariable("rmsync.databases",
							   "Databases that get workers if they have the extension.",
							   "A comma-separated list of names, or * for all.",
							   &rmsync_databases, "*", PGC_SIGHUP,
							   GUC_LIST_INPUT, check_databases, NULL, NULL);
	DefineCustomIntVariable("rmsync.max_databases",
							"Maximum number of databases that can be served.",
							NULL, &rmsync_max_databases, 16, 1, 1024, at_start,
							0, NULL, NULL, NULL);
	DefineCustomIntVariable("rmsync.max_workers",
							"Maximum number of worker processes per database.",
							"They also count against max_worker_processes.",
							&rmsync_max_workers, 4, 1, 16, PGC_SIGHUP, 0, NULL,
							NULL, NULL);
	DefineCustomIntVariable("rmsync.worker_idle_timeout",
							"Time without work after which a worker exits.",
							"The worker comes back when there is work again.",
							&rmsync_worker_idle_timeout, 60, 0, INT_MAX / 1000,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("rmsync.recheck_interval",
							"Time after which the queue is looked at even if nobody announced work.",
							NULL, &rmsync_recheck_interval, 60000, 10,
							24 * 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL,
							NULL, NULL);
	DefineCustomStringVariable("rmsync.instance",
							   "Name that tells this server from copies of its data.",
							   "Data that was recorded under another name is not delivered before rmsync_adopt_instance() is called.",
							   &rmsync_instance, "", at_start, 0, NULL, NULL,
							   NULL);
}

static void
define_delivery_settings(void)
{
	DefineCustomIntVariable("rmsync.max_in_flight",
							"Maximum number of requests a worker has open at once.",
							NULL, &rmsync_max_in_flight, 64, 1, 1024,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("rmsync.max_attempts",
							"Number of times an item is tried that its target rejects.",
							"Failures of the network, of a target or of credentials do not count.",
							&rmsync_max_attempts, 5, 1, 1000, PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("rmsync.max_age",
							"Time after which an item that could not be delivered fails.",
							NULL, &rmsync_max_age, 259200, 60, INT_MAX / 1000,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("rmsync.http_timeout",
							"Maximum duration of one HTTP request.",
							"Services answer within a minute; what is cut off earlier may have been done all the same.",
							&rmsync_http_timeout, 75000, 100, 3600 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("rmsync.log_retention",
							"Number of days rows are kept in rmsync.sync_log.",
							NULL, &rmsync_log_retention, 14, 1, 3650,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("rmsync.todo_poll_interval",
							"Time between two looks for ticks at a target.",
							"For connections with two_way; webhooks are looked after at once.",
							&rmsync_todo_poll_interval, 600, 1, 7 * 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomRealVariable("rmsync.mass_delete_guard",
							 "Fraction of a target's items whose deletion at once holds the connection.",
							 "1 turns the guard off.", &rmsync_mass_delete_guard,
							 0.5, 0.0, 1.0, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("rmsync.app_url",
							   "Base of links back to the application.", NULL,
							   &rmsync_app_url, "https://rmirror.io",
							   PGC_SIGHUP, 0, check_url, NULL, NULL);
	DefineCustomStringVariable("rmsync.notion_base_url",
							   "Base URL of Notion's API.", NULL,
							   &rmsync_notion_base_url,
							   "https://api.notion.com/v1", PGC_SUSET, 0,
							   check_url, NULL, NULL);
	DefineCustomIntVariable("rmsync.notion_split_pages",
							"Number of pages after which a notebook goes on in a sub-page at Notion.",
							"Zero means never.", &rmsync_notion_split_pages,
							500, 0, 1000000, PGC_SIGHUP, 0, check_split_pages,
							NULL, NULL);
	DefineCustomRealVariable("rmsync.backoff_scale",
							 "Factor on every waiting time after a failure.",
							 "Meant for tests.", &rmsync_backoff_scale, 1.0,
							 0.0, 10.0, PGC_SUSET, 0, NULL, NULL, NULL);
}

/*
 * But for the first, which takes away and gives nothing, these are a
 * superuser's: each of them can send data or secrets elsewhere.
 */
static void
define_security_settings(void)
{
	DefineCustomStringVariable("rmsync.user_id", "User this session acts for.",
							   "Functions and row-level security show and change this user's rows only; empty means no restriction by functions and no rows by row-level security.",
							   &rmsync_user_id, "", PGC_USERSET, 0,
							   check_user_id, NULL, NULL);
	DefineCustomStringVariable("rmsync.master_key_file",
							   "File that holds the master keys, one per line.",
							   "The first key encrypts, all of them decrypt.",
							   &rmsync_master_key_file, "", PGC_SUSET,
							   GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL, check_path,
							   NULL, NULL);
	DefineCustomStringVariable("rmsync.notion_oauth_client_id",
							   "OAuth client of the application at Notion.",
							   "Needed to renew tokens that users granted the application.",
							   &rmsync_notion_oauth_client_id, "", PGC_SUSET,
							   GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL, NULL, NULL,
							   NULL);
	DefineCustomStringVariable("rmsync.notion_oauth_client_secret_file",
							   "File that holds the secret of the OAuth client.",
							   NULL, &rmsync_notion_oauth_client_secret_file, "",
							   PGC_SUSET, GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL,
							   check_path, NULL, NULL);
	DefineCustomStringVariable("rmsync.key_derivation",
							   "How a user's key is made from the master key when encrypting.",
							   "Either \"document\" or \"rmirror\"; both are understood when decrypting.",
							   &rmsync_key_derivation, "document", PGC_SUSET, 0,
							   check_key_derivation, NULL, NULL);
	DefineCustomStringVariable("rmsync.allowed_networks",
							   "Private address ranges that requests may go to.",
							   "Public addresses are always allowed.",
							   &rmsync_allowed_networks, "", PGC_SUSET, 0,
							   check_allowed_networks, NULL, NULL);
	DefineCustomBoolVariable("rmsync.allow_http",
							 "Allows unencrypted requests to rmsync.allowed_networks.",
							 NULL, &rmsync_allow_http, false, PGC_SUSET, 0,
							 NULL, NULL, NULL);
	DefineCustomStringVariable("rmsync.ca_file",
							   "File of additional certificate authorities.",
							   NULL, &rmsync_ca_file, "", PGC_SUSET, 0,
							   check_path, NULL, NULL);
}

/* Only where assertions are compiled in: these break things. */
static void
define_developer_settings(void)
{
#ifdef USE_ASSERT_CHECKING
	DefineCustomStringVariable("rmsync.debug_crash_item",
							   "Item at whose delivery the worker crashes.",
							   "Meant for tests.", &rmsync_debug_crash_item, "",
							   PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
#endif
}

void
rmsync_guc_init(void)
{
	define_process_settings();
	define_delivery_settings();
	define_security_settings();
	define_developer_settings();
	MarkGUCPrefixReserved("rmsync");
}
