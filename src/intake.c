/*-------------------------------------------------------------------------
 *
 * intake.c
 *	  The triggers on the host's tables: "this may have changed".
 *
 * rmsync_mark() runs after each statement on a host table, reads the
 * transition tables and appends one row to rmsync.sync_intake for each item
 * that changed and belongs to a user with an enabled lane.  Everything else is
 * decided later, by the engine, from a fresh read.
 *
 * We are a guest in the host's transaction.  So nothing but plain inserts
 * happens here (an upsert would fail with 40001 under REPEATABLE READ), they
 * go straight to the table (no privilege, row-level security or search_path
 * of the host's role matters), and what we read is read behind the back of
 * serializable snapshot isolation, see lookup.c: a predicate lock on a table
 * the workers write to would make the host's transactions fail.
 *
 * A missing or half-dropped extension makes the triggers do nothing.  They
 * must never raise an error because of the state of rmsync.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "intake.h"
#include "intake_spec.h"
#include "lookup.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(rmsync_mark);
PG_FUNCTION_INFO_V1(rmsync_lanes_changed);

/* Columns of rmsync.sync_intake, sql/20_tables.sql. */
enum
{
	INTAKE_ID,
	INTAKE_USER_ID,
	INTAKE_KIND,
	INTAKE_ITEM_ID,
	INTAKE_NOTEBOOK_UUID,
	INTAKE_AT,
	INTAKE_NATTS
};

/* One run of the trigger. */
typedef struct MarkState
{
	RmsyncMarkSpec spec;
	Relation hostrel;
	MemoryContext cxt;	   /* of this run */
	MemoryContext row_cxt; /* of one row */
	RmsyncLookup *lookup;  /* set up at the first changed row */
	bool off;			   /* rmsync is not (wholly) there */
	Relation intake;	   /* opened at the first mark */
	Oid sequence;
	EState *estate;
	ResultRelInfo *rri;
	TupleTableSlot *slot;
} MarkState;

/*
 * The latest mark a mapping caused in this transaction.  The host deletes and
 * re-inserts all mappings of a notebook row by row; one mark says it all.
 */
static struct
{
	FullTransactionId xid;
	Oid host_relid;
	int64 notebook;
	int64 mark;
	ItemPointerData tid;
} last_mapping;

static bool wake_wanted = false;

static void
intake_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
			if (wake_wanted)
				rmsync_wake_database(MyDatabaseId);
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			break;
		default:
			return;
	}
	wake_wanted = false;
}

void
rmsync_wake_at_commit(void)
{
	static bool registered = false;

	/* Once per backend: callbacks are called for every transaction. */
	if (!registered)
	{
		RegisterXactCallback(intake_xact_callback, NULL);
		registered = true;
	}
	wake_wanted = true;
}

/*
 * Lanes came, went or were switched: the worker shall look.  The triggers
 * need no telling, they read the lanes each time.
 */
Datum
rmsync_lanes_changed(PG_FUNCTION_ARGS)
{
	rmsync_wake_at_commit();
	PG_RETURN_VOID();
}

/* Looks for rmsync at the first changed row; false if it is not there. */
static bool
begin_marking(MarkState *state)
{
	MemoryContext oldcxt;

	if (state->lookup != NULL)
		return true;

	/* Make the rows of this very statement visible to the look-ups. */
	CommandCounterIncrement();
	oldcxt = MemoryContextSwitchTo(state->cxt);
	state->lookup = rmsync_lookup_begin(state->hostrel, state->spec.lookup);
	MemoryContextSwitchTo(oldcxt);
	state->off = state->lookup == NULL;
	return !state->off;
}

static bool
open_intake(MarkState *state)
{
	Oid schema;
	Oid relid;
	MemoryContext oldcxt;

	if (state->intake != NULL)
		return true;
	schema = get_namespace_oid("rmsync", true);
	relid = get_relname_relid("sync_intake", schema);
	state->sequence = get_relname_relid("sync_intake_id_seq", schema);
	if (OidIsValid(relid) && OidIsValid(state->sequence))
		state->intake = try_table_open(relid, RowExclusiveLock);
	if (state->intake == NULL)
	{
		state->off = true;
		return false;
	}

	oldcxt = MemoryContextSwitchTo(state->cxt);
	state->estate = CreateExecutorState();
	state->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(state->rri, state->intake, 0, NULL, 0);
	ExecOpenIndices(state->rri, false);
	state->slot = table_slot_create(state->intake, NULL);
	MemoryContextSwitchTo(oldcxt);
	return true;
}

/* Lets go of everything but the lock on the intake. */
static void
end_marking(MarkState *state)
{
	if (state->intake != NULL)
	{
		ExecDropSingleTupleTableSlot(state->slot);
		ExecCloseIndices(state->rri);
		FreeExecutorState(state->estate);
		table_close(state->intake, NoLock);
	}
	if (state->lookup != NULL)
		rmsync_lookup_end(state->lookup);
}

/* Appends one mark.  "uuid" may be NULL. */
static void
put_mark(MarkState *state, char kind, int64 user_id, const char *item_id,
		 const char *uuid)
{
	TupleTableSlot *slot;

	if (!open_intake(state))
		return;
	slot = state->slot;
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true,
		   slot->tts_tupleDescriptor->natts * sizeof(bool));
	memset(slot->tts_isnull, false, INTAKE_NATTS * sizeof(bool));
	slot->tts_values[INTAKE_ID] =
		Int64GetDatum(nextval_internal(state->sequence, false));
	slot->tts_values[INTAKE_USER_ID] = Int64GetDatum(user_id);
	slot->tts_values[INTAKE_KIND] = CharGetDatum(kind);
	slot->tts_values[INTAKE_ITEM_ID] = CStringGetTextDatum(item_id);
	slot->tts_isnull[INTAKE_NOTEBOOK_UUID] = uuid == NULL;
	if (uuid != NULL)
		slot->tts_values[INTAKE_NOTEBOOK_UUID] = CStringGetTextDatum(uuid);
	slot->tts_values[INTAKE_AT] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	ExecStoreVirtualTuple(slot);

	/* As logical replication does: no privileges, no policies. */
	ExecSimpleRelationInsert(state->rri, state->estate, slot);
	ResetPerTupleExprContext(state->estate);
	rmsync_wake_at_commit();
}

/* Is the latest mapping's mark for this notebook, and still there? */
static bool
mapping_marked(MarkState *state, int64 notebook)
{
	bool isnull;

	if (!FullTransactionIdEquals(last_mapping.xid,
								 GetTopFullTransactionIdIfAny()) ||
		last_mapping.notebook != notebook ||
		last_mapping.host_relid != RelationGetRelid(state->hostrel))
		return false;

	/*
	 * A savepoint may have been rolled back, or the same transaction folded
	 * the mark or truncated the table.  If we see it, whatever may still undo
	 * it undoes the present statement, too.
	 */
	if (!open_intake(state) ||
		ItemPointerGetBlockNumber(&last_mapping.tid) >=
			RelationGetNumberOfBlocks(state->intake) ||
		!table_tuple_fetch_row_version(state->intake, &last_mapping.tid,
									   SnapshotSelf, state->slot))
		return false;
	return DatumGetInt64(slot_getattr(state->slot, INTAKE_ID + 1, &isnull)) ==
		   last_mapping.mark;
}

static void
mark_mapping(MarkState *state, TupleTableSlot *row)
{
	int64 id;
	RmsyncNotebookRef *notebook;

	if (!rmsync_mark_column_int(row, state->spec.notebook, &id) ||
		mapping_marked(state, id))
		return;
	notebook = rmsync_lookup_notebook(state->lookup, id);
	if (notebook == NULL || notebook->marked)
		return;
	notebook->marked = true;
	if (!rmsync_lookup_lane(state->lookup, notebook->user_id))
		return;
	put_mark(state, KIND_NOTEBOOK, notebook->user_id, notebook->uuid,
			 notebook->uuid);
	if (state->intake == NULL)
		return;
	last_mapping.xid = GetTopFullTransactionId();
	last_mapping.mark = DatumGetInt64(state->slot->tts_values[INTAKE_ID]);
	last_mapping.host_relid = RelationGetRelid(state->hostrel);
	last_mapping.notebook = id;
	last_mapping.tid = state->slot->tts_tid;
}

/* Marks the item a row stands for, if its user has an enabled lane. */
static void
mark_row(MarkState *state, TupleTableSlot *row)
{
	RmsyncMarkSpec *spec = &state->spec;
	RmsyncNotebookRef *notebook = NULL;
	int64 id;
	int64 user_id;
	char *item_id;
	const char *uuid = NULL;

	if (spec->kind == KIND_MAPPING)
	{
		mark_mapping(state, row);
		return;
	}

	if (spec->notebook != InvalidAttrNumber)
	{
		if (!rmsync_mark_column_int(row, spec->notebook, &id))
			return;
		/* A notebook that is gone has its own mark, which covers the rest. */
		notebook = rmsync_lookup_notebook(state->lookup, id);
		if (notebook == NULL)
			return;
		uuid = notebook->uuid;
	}
	if (spec->user != InvalidAttrNumber)
	{
		if (!rmsync_mark_column_int(row, spec->user, &user_id))
			return;
	}
	else if (notebook != NULL)
		user_id = notebook->user_id;
	else
		return;
	if (!rmsync_lookup_lane(state->lookup, user_id))
		return;

	item_id = rmsync_mark_column_text(row, spec->key);
	if (item_id == NULL || item_id[0] == '\0')
		item_id = rmsync_mark_column_text(row, spec->id);
	if (item_id == NULL)
		return;
	if (spec->uuid != InvalidAttrNumber)
		uuid = rmsync_mark_column_text(row, spec->uuid);
	put_mark(state, spec->kind, user_id, item_id, uuid);
}

/* Marks everything of everybody: a TRUNCATE does not say what went. */
static void
mark_everybody(MarkState *state)
{
	int64 *users;
	int nusers;

	if (!begin_marking(state))
		return;
	users = rmsync_lookup_lane_users(state->lookup, &nusers);
	for (int i = 0; i < nusers && !state->off; i++)
	{
		char item_id[MAXINT8LEN + 1];

		pg_lltoa(users[i], item_id);
		put_mark(state, KIND_EVERYTHING, users[i], item_id, NULL);
	}
}

static TupleTableSlot *
start_reading(MarkState *state, Tuplestorestate *rows)
{
	if (rows == NULL)
		elog(ERROR, "trigger lacks a transition table");

	/* Pointer 0 always exists; others that read the table have their own. */
	tuplestore_select_read_pointer(rows, 0);
	tuplestore_rescan(rows);
	return MakeSingleTupleTableSlot(RelationGetDescr(state->hostrel),
									&TTSOpsMinimalTuple);
}

/* INSERT and DELETE: every row counts. */
static void
mark_rows(MarkState *state, Tuplestorestate *rows)
{
	TupleTableSlot *row = start_reading(state, rows);

	while (!state->off && tuplestore_gettupleslot(rows, true, false, row))
	{
		MemoryContext oldcxt = MemoryContextSwitchTo(state->row_cxt);

		CHECK_FOR_INTERRUPTS();
		if (begin_marking(state))
			mark_row(state, row);
		MemoryContextSwitchTo(oldcxt);
		MemoryContextReset(state->row_cxt);
	}
	ExecDropSingleTupleTableSlot(row);
}

/* UPDATE: the transition tables hold old and new rows in the same order. */
static void
mark_updates(MarkState *state, Tuplestorestate *old_rows,
			 Tuplestorestate *new_rows)
{
	TupleTableSlot *old_row = start_reading(state, old_rows);
	TupleTableSlot *new_row = start_reading(state, new_rows);

	while (!state->off &&
		   tuplestore_gettupleslot(old_rows, true, false, old_row) &&
		   tuplestore_gettupleslot(new_rows, true, false, new_row))
	{
		MemoryContext oldcxt = MemoryContextSwitchTo(state->row_cxt);
		bool moved = rmsync_mark_spec_moved(&state->spec, old_row, new_row);

		CHECK_FOR_INTERRUPTS();
		if ((moved || rmsync_mark_spec_changed(&state->spec, old_row, new_row)) &&
			begin_marking(state))
		{
			if (moved)
				mark_row(state, old_row);
			mark_row(state, new_row);
		}
		MemoryContextSwitchTo(oldcxt);
		MemoryContextReset(state->row_cxt);
	}
	ExecDropSingleTupleTableSlot(old_row);
	ExecDropSingleTupleTableSlot(new_row);
}

/*
 * rmsync.mark(): the trigger function.  rmsync_attach() creates the triggers;
 * their arguments are described at rmsync_mark_spec_parse().
 */
Datum
rmsync_mark(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	MarkState state;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be called as an AFTER ... FOR EACH STATEMENT trigger",
						"rmsync.mark")));

	memset(&state, 0, sizeof(state));
	state.hostrel = trigdata->tg_relation;
	state.cxt = CurrentMemoryContext;
	state.row_cxt = AllocSetContextCreate(CurrentMemoryContext, "rmsync row",
										  ALLOCSET_SMALL_SIZES);
	rmsync_mark_spec_parse(&state.spec, trigdata->tg_trigger,
						   RelationGetDescr(state.hostrel));
	if (state.spec.missing != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("rmsync cannot see all changes of table \"%s\"",
						RelationGetRelationName(state.hostrel)),
				 errdetail("Column \"%s\" does not exist.", state.spec.missing),
				 errhint("Run rmsync_attach() again.")));

	if (TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event))
		mark_everybody(&state);
	else if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		mark_rows(&state, trigdata->tg_newtable);
	else if (TRIGGER_FIRED_BY_DELETE(trigdata->tg_event))
		mark_rows(&state, trigdata->tg_oldtable);
	else
		mark_updates(&state, trigdata->tg_oldtable, trigdata->tg_newtable);

	end_marking(&state);
	MemoryContextDelete(state.row_cxt);
	return PointerGetDatum(NULL);
}
