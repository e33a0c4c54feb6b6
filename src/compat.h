/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Every difference between PostgreSQL 15 and 18 that rmsync meets.
 *
 * Included after postgres.h by any file that needs one of these names; no
 * other file may test PG_VERSION_NUM.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_COMPAT_H
#define RMSYNC_COMPAT_H

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "rmsync supports PostgreSQL 15 to 18"
#endif

#include "storage/latch.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#include "utils/wait_event.h"

/* 16 moved VARDATA and its kin out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 17 gave wait event sets to resource owners instead of memory contexts. */
#if PG_VERSION_NUM >= 170000
#define RmsyncCreateWaitEventSet(n) CreateWaitEventSet(NULL, (n))
#else
#define RmsyncCreateWaitEventSet(n) CreateWaitEventSet(TopMemoryContext, (n))
#endif

/* 17 lets an extension name its own wait events. */
#if PG_VERSION_NUM >= 170000
#define RmsyncWaitEvent(name) WaitEventExtensionNew(name)
#else
#define RmsyncWaitEvent(name) PG_WAIT_EXTENSION
#endif

/* 18 carries the module's name and version in the magic block. */
#ifdef PG_MODULE_MAGIC_EXT
#define RMSYNC_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "rmsync", .version = RMSYNC_VERSION)
#else
#define RMSYNC_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* 18 has C11's word for functions that do not return, in C11's place. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 16 replaced the ownership tests of each catalog by one. */
#if PG_VERSION_NUM >= 160000
#define RmsyncOwnsDatabase(dboid, roleid) \
	object_ownercheck(DatabaseRelationId, (dboid), (roleid))
#else
#define RmsyncOwnsDatabase(dboid, roleid) \
	pg_database_ownercheck((dboid), (roleid))
#endif

#endif /* RMSYNC_COMPAT_H */
