/*-------------------------------------------------------------------------
 *
 * lookup.c
 *	  What the triggers must know: whose notebook is it, has the user a lane?
 *
 * Called by intake.c only, inside the host's transaction.  Two things differ
 * from an ordinary query:
 *
 * It sees what is committed now (and what this transaction did), even under
 * REPEATABLE READ: a lane enabled after the host's snapshot was taken counts.
 *
 * It takes no predicate locks.  The workers write rmsync's tables all the
 * time; a SERIALIZABLE transaction of the host that had read them in the
 * ordinary way would fail with 40001 because of us.  PostgreSQL takes such
 * locks for MVCC snapshots only, so the scan runs with SnapshotAny, which
 * returns every version of a row, and each version is then held against a
 * registered MVCC snapshot.  (SnapshotSelf would be simpler but may miss a row
 * that is being updated: both versions can look invisible to one scan.)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type_d.h"
#include "lib/qunique.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "lookup.h"

typedef struct LaneRef
{
	int64 user_id;
	bool enabled;
} LaneRef;

/* A table we look into, by one integer column. */
typedef struct LookupTable
{
	Relation rel;
	AttrNumber key;
	Oid index; /* InvalidOid = scan the table */
	AttrNumber user;
	AttrNumber other; /* notebooks: uuid; lanes: is_enabled */
} LookupTable;

/* The first answer is kept by itself: most statements touch one notebook. */
struct RmsyncLookup
{
	MemoryContext cxt;
	Snapshot snapshot;
	LookupTable lanes;
	LookupTable notebooks;
	bool have_lane;
	LaneRef lane;
	HTAB *more_lanes;
	bool have_notebook;
	RmsyncNotebookRef notebook;
	HTAB *more_notebooks;
};

AttrNumber
rmsync_lookup_column(TupleDesc desc, const char *name, size_t len)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strncmp(NameStr(att->attname), name, len) == 0 &&
			NameStr(att->attname)[len] == '\0')
			return att->attnum;
	}
	return InvalidAttrNumber;
}

char *
rmsync_lookup_text(Datum value, Oid type)
{
	Oid output;
	bool is_varlena;

	if (type == TEXTOID || type == VARCHAROID)
		return TextDatumGetCString(value);
	getTypeOutputInfo(type, &output, &is_varlena);
	return OidOutputFunctionCall(output, value);
}

bool
rmsync_lookup_int(Datum value, Oid type, int64 *result)
{
	switch (type)
	{
		case INT8OID:
			*result = DatumGetInt64(value);
			return true;
		case INT4OID:
			*result = DatumGetInt32(value);
			return true;
		case INT2OID:
			*result = DatumGetInt16(value);
			return true;
		default:
			return false;
	}
}

static bool
is_btree(Oid index)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
	bool result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_class) GETSTRUCT(tuple))->relam == BTREE_AM_OID;
	ReleaseSysCache(tuple);
	return result;
}

/* A plain, valid btree index of the table that starts with the column. */
static Oid
find_index(Relation rel, AttrNumber attnum)
{
	List *indexes = RelationGetIndexList(rel);
	ListCell *lc;
	Oid result = InvalidOid;

	foreach (lc, indexes)
	{
		HeapTuple tuple =
			SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		if (index->indisvalid && index->indkey.values[0] == attnum &&
			heap_attisnull(tuple, Anum_pg_index_indpred, NULL) &&
			is_btree(index->indexrelid))
			result = index->indexrelid;
		ReleaseSysCache(tuple);
		if (OidIsValid(result))
			break;
	}
	list_free(indexes);
	return result;
}

/* Starts a scan for the rows with this key, all rows without an index key. */
static SysScanDesc
begin_scan(LookupTable *table, bool all, int64 value)
{
	ScanKeyData key;
	Oid type =
		TupleDescAttr(RelationGetDescr(table->rel), table->key - 1)->atttypid;

	if (all)
		return systable_beginscan(table->rel, InvalidOid, false, SnapshotAny, 0,
								  NULL);
	if (type == INT8OID)
		ScanKeyInit(&key, table->key, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum(value));
	else
		ScanKeyEntryInitialize(&key, 0, table->key, BTEqualStrategyNumber,
							   INT8OID, InvalidOid, F_INT48EQ,
							   Int64GetDatum(value));
	return systable_beginscan(table->rel, table->index,
							  OidIsValid(table->index), SnapshotAny, 1, &key);
}

static HeapTuple
next_visible(RmsyncLookup *lookup, LookupTable *table, SysScanDesc scan)
{
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (table_tuple_satisfies_snapshot(table->rel, scan->slot,
										   lookup->snapshot))
			return tuple;
	}
	return NULL;
}

static bool
tuple_int(LookupTable *table, HeapTuple tuple, AttrNumber attnum, int64 *result)
{
	TupleDesc desc = RelationGetDescr(table->rel);
	bool isnull;
	Datum value = heap_getattr(tuple, attnum, desc, &isnull);

	return !isnull &&
		   rmsync_lookup_int(value, TupleDescAttr(desc, attnum - 1)->atttypid,
							 result);
}

static bool
open_lanes(LookupTable *lanes)
{
	Oid schema = get_namespace_oid("rmsync", true);
	Oid relid = get_relname_relid("integration_configs", schema);
	TupleDesc desc;

	if (!OidIsValid(relid))
		return false;
	lanes->rel = try_table_open(relid, AccessShareLock);
	if (lanes->rel == NULL)
		return false;
	desc = RelationGetDescr(lanes->rel);
	lanes->user = rmsync_lookup_column(desc, "user_id", strlen("user_id"));
	lanes->other = rmsync_lookup_column(desc, "is_enabled", strlen("is_enabled"));
	lanes->key = lanes->user;
	lanes->index = find_index(lanes->rel, lanes->key);
	return true;
}

/* Splits "table,id,user,uuid"; a host that lacks one of them has no answer. */
static void
open_notebooks(LookupTable *notebooks, Relation hostrel, const char *definition)
{
	char *names[4];
	int nnames = 0;
	TupleDesc desc;
	Oid relid;

	for (const char *name = definition; nnames < lengthof(names); name++)
	{
		size_t len = strcspn(name, ",");

		names[nnames++] = pnstrdup(name, len);
		name += len;
		if (*name == '\0')
			break;
	}
	if (nnames < lengthof(names))
		return;
	relid = get_relname_relid(names[0], RelationGetNamespace(hostrel));
	if (!OidIsValid(relid))
		return;
	notebooks->rel = try_table_open(relid, AccessShareLock);
	if (notebooks->rel == NULL)
		return;
	desc = RelationGetDescr(notebooks->rel);
	notebooks->key = rmsync_lookup_column(desc, names[1], strlen(names[1]));
	notebooks->user = rmsync_lookup_column(desc, names[2], strlen(names[2]));
	notebooks->other = rmsync_lookup_column(desc, names[3], strlen(names[3]));
	if (notebooks->rel->rd_rel->relkind != RELKIND_RELATION ||
		notebooks->key == InvalidAttrNumber ||
		notebooks->user == InvalidAttrNumber ||
		notebooks->other == InvalidAttrNumber)
	{
		table_close(notebooks->rel, AccessShareLock);
		notebooks->rel = NULL;
		return;
	}
	notebooks->index = find_index(notebooks->rel, notebooks->key);
}

RmsyncLookup *
rmsync_lookup_begin(Relation hostrel, const char *definition)
{
	RmsyncLookup *lookup = palloc0(sizeof(RmsyncLookup));

	lookup->cxt = CurrentMemoryContext;
	if (!open_lanes(&lookup->lanes))
	{
		pfree(lookup);
		return NULL;
	}
	if (definition != NULL)
		open_notebooks(&lookup->notebooks, hostrel, definition);
	lookup->snapshot = RegisterSnapshot(GetLatestSnapshot());
	return lookup;
}

void
rmsync_lookup_end(RmsyncLookup *lookup)
{
	UnregisterSnapshot(lookup->snapshot);
	if (lookup->notebooks.rel != NULL)
		table_close(lookup->notebooks.rel, AccessShareLock);
	table_close(lookup->lanes.rel, AccessShareLock);
}

static HTAB *
create_cache(RmsyncLookup *lookup, const char *name, Size entrysize)
{
	HASHCTL ctl;

	ctl.keysize = sizeof(int64);
	ctl.entrysize = entrysize;
	ctl.hcxt = lookup->cxt;
	return hash_create(name, 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
read_notebook(RmsyncLookup *lookup, RmsyncNotebookRef *ref)
{
	LookupTable *table = &lookup->notebooks;
	SysScanDesc scan = begin_scan(table, false, ref->id);
	HeapTuple tuple = next_visible(lookup, table, scan);
	TupleDesc desc = RelationGetDescr(table->rel);

	ref->found = false;
	ref->marked = false;
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum uuid = heap_getattr(tuple, table->other, desc, &isnull);

		if (!isnull && tuple_int(table, tuple, table->user, &ref->user_id))
		{
			MemoryContext oldcxt = MemoryContextSwitchTo(lookup->cxt);

			ref->uuid =
				rmsync_lookup_text(uuid,
								   TupleDescAttr(desc, table->other - 1)->atttypid);
			ref->found = true;
			MemoryContextSwitchTo(oldcxt);
		}
	}
	systable_endscan(scan);
}

RmsyncNotebookRef *
rmsync_lookup_notebook(RmsyncLookup *lookup, int64 id)
{
	RmsyncNotebookRef *ref = &lookup->notebook;
	bool found = false;

	if (lookup->notebooks.rel == NULL)
		return NULL;
	if (lookup->have_notebook && ref->id != id)
	{
		if (lookup->more_notebooks == NULL)
			lookup->more_notebooks =
				create_cache(lookup, "rmsync notebooks", sizeof(*ref));
		ref = hash_search(lookup->more_notebooks, &id, HASH_ENTER, &found);
	}
	else
	{
		found = lookup->have_notebook;
		lookup->have_notebook = true;
	}
	if (!found)
	{
		ref->id = id;
		read_notebook(lookup, ref);
	}
	return ref->found ? ref : NULL;
}

static bool
lane_is_enabled(RmsyncLookup *lookup, HeapTuple tuple)
{
	bool isnull;
	Datum enabled = heap_getattr(tuple, lookup->lanes.other,
								 RelationGetDescr(lookup->lanes.rel), &isnull);

	return !isnull && DatumGetBool(enabled);
}

static bool
read_lane(RmsyncLookup *lookup, int64 user_id)
{
	SysScanDesc scan = begin_scan(&lookup->lanes, false, user_id);
	bool result = false;
	HeapTuple tuple;

	while (!result && (tuple = next_visible(lookup, &lookup->lanes, scan)) != NULL)
		result = lane_is_enabled(lookup, tuple);
	systable_endscan(scan);
	return result;
}

bool
rmsync_lookup_lane(RmsyncLookup *lookup, int64 user_id)
{
	LaneRef *ref = &lookup->lane;
	bool found = false;

	if (lookup->have_lane && ref->user_id != user_id)
	{
		if (lookup->more_lanes == NULL)
			lookup->more_lanes =
				create_cache(lookup, "rmsync lanes", sizeof(*ref));
		ref = hash_search(lookup->more_lanes, &user_id, HASH_ENTER, &found);
	}
	else
	{
		found = lookup->have_lane;
		lookup->have_lane = true;
	}
	if (!found)
	{
		ref->user_id = user_id;
		ref->enabled = read_lane(lookup, user_id);
	}
	return ref->enabled;
}

static int
compare_ids(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return (left > right) - (left < right);
}

int64 *
rmsync_lookup_lane_users(RmsyncLookup *lookup, int *nusers)
{
	SysScanDesc scan = begin_scan(&lookup->lanes, true, 0);
	int size = 64;
	int64 *users = MemoryContextAlloc(lookup->cxt, size * sizeof(int64));
	int n = 0;
	HeapTuple tuple;

	while ((tuple = next_visible(lookup, &lookup->lanes, scan)) != NULL)
	{
		if (!lane_is_enabled(lookup, tuple) ||
			!tuple_int(&lookup->lanes, tuple, lookup->lanes.user, &users[n]))
			continue;
		if (++n == size)
		{
			size *= 2;
			users = repalloc_huge(users, size * sizeof(int64));
		}
	}
	systable_endscan(scan);
	qsort(users, n, sizeof(int64), compare_ids);
	*nusers = qunique(users, n, sizeof(int64), compare_ids);
	return users;
}
