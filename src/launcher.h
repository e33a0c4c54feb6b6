/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  The processes of rmsync, as the postmaster and _PG_init know them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_LAUNCHER_H
#define RMSYNC_LAUNCHER_H

#define RMSYNC_WORKER_TYPE "rmsync worker"

extern void rmsync_launcher_register(void); /* from _PG_init, preloading */
extern void rmsync_dbhook_install(void);	/* likewise */

extern PGDLLEXPORT void rmsync_launcher_main(Datum arg);
extern PGDLLEXPORT void rmsync_worker_main(Datum arg);

#endif							/* RMSYNC_LAUNCHER_H */
