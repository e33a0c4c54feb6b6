/*-------------------------------------------------------------------------
 *
 * rmsync.c
 *	  Entry point of the library.
 *
 * Preloaded, _PG_init runs in the postmaster and sets up shared memory, the
 * launcher and the hook for DDL on databases.  Loaded into a session by the
 * first call of a function, it only defines settings: everything but the
 * background processes works.  It must never touch libcurl: what that sets up
 * (threads, OpenSSL) does not survive a fork.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "guc.h"
#include "launcher.h"
#include "miscadmin.h"
#include "shmem.h"

RMSYNC_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	rmsync_guc_init();

	/* pg_upgrade's servers must not write, let alone send. */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

	rmsync_shmem_init();
	rmsync_launcher_register();
	rmsync_dbhook_install();
}
