/*-------------------------------------------------------------------------
 *
 * store_queue.c
 *	  SQL of the intake and the queue, and the plan helpers of all stores.
 *
 * Called by the engine inside its short transactions.  Statements are saved
 * plans with parameters, every name is schema-qualified, nothing is pasted
 * into SQL text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "store.h"

/*
 * A plan is made when the first row comes, and kept.  The table was empty then
 * or never analyzed, so that reading it whole and sorting or hashing "it"
 * seemed free; with 20,000 rows that is done for each batch.  Settings local
 * to the nest level revert by themselves, also on error.
 */
static int
by_index_only(void)
{
	static const char *const others[] = { "enable_seqscan", "enable_bitmapscan",
										  "enable_sort", "enable_hashjoin",
										  "enable_mergejoin" };
	int level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(others); i++)
		(void) set_config_option(others[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

uint64
rmsync_plan_run(RmsyncPlan *plan, Datum *values, const char *nulls, int expected)
{
	int level = 0;
	int rc;

	if (plan->plan == NULL)
	{
		SPIPlanPtr prepared =
			SPI_prepare_cursor(plan->sql, plan->nargs, plan->types,
							   plan->generic ? CURSOR_OPT_GENERIC_PLAN : 0);

		if (prepared == NULL)
			elog(ERROR, "could not prepare statement: %s",
				 SPI_result_code_string(SPI_result));
		if (SPI_keepplan(prepared) != 0)
			elog(ERROR, "could not keep a prepared statement");
		plan->plan = prepared;
	}
	if (plan->indexed)
		level = by_index_only();
	rc = SPI_execute_plan(plan->plan, values, nulls, false, 0);
	if (level != 0)
		AtEOXact_GUC(true, level);
	if (rc < 0 || (expected != 0 && rc != expected))
		elog(ERROR, "unexpected result of a statement: %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}

void
rmsync_plan_text(Datum *values, char *nulls, int i, const char *text)
{
	if (text != NULL)
		values[i] = CStringGetTextDatum(text);
	else
		nulls[i] = 'n';
}

char *
rmsync_spi_text(MemoryContext cxt, uint64 row, int col)
{
	char *value =
		SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col);

	return value == NULL ? NULL : MemoryContextStrdup(cxt, value);
}

static Datum
spi_datum(uint64 row, int col, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col,
						 isnull);
}

int64
rmsync_spi_int64(uint64 row, int col, int64 dflt)
{
	bool isnull;
	Datum value = spi_datum(row, col, &isnull);

	return isnull ? dflt : DatumGetInt64(value);
}

int
rmsync_spi_int(uint64 row, int col, int dflt)
{
	bool isnull;
	Datum value = spi_datum(row, col, &isnull);

	return isnull ? dflt : DatumGetInt32(value);
}

bool
rmsync_spi_bool(uint64 row, int col)
{
	bool isnull;
	Datum value = spi_datum(row, col, &isnull);

	return !isnull && DatumGetBool(value);
}

double
rmsync_spi_float(uint64 row, int col, bool *isnull)
{
	Datum value = spi_datum(row, col, isnull);

	return *isnull ? 0 : DatumGetFloat8(value);
}

char *
rmsync_store_version(void)
{
	static RmsyncPlan plan = { "SELECT extversion FROM pg_catalog.pg_extension"
							   " WHERE extname = 'rmsync'",
							   0,
							   { 0 } };

	if (rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT) == 0)
		return NULL;
	return rmsync_spi_text(CurrentMemoryContext, 0, 1);
}

bool
rmsync_store_present(void)
{
	Oid extension = get_extension_oid("rmsync", true);
	char *version;

	if (!OidIsValid(extension))
		return false;

	/*
	 * DROP EXTENSION locks the extension before its tables, we lock it before
	 * them: so neither finds the other halfway.
	 */
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	if (get_extension_oid("rmsync", true) != extension)
		return false;
	version = rmsync_store_version();
	return version != NULL && strcmp(version, RMSYNC_VERSION) == 0;
}

/* Reads a bigint[] column of the first row. */
static void
lane_list(MemoryContext cxt, int col, RmsyncLaneList *lanes)
{
	bool isnull;
	Datum value;
	Datum *elems;
	int n;

	lanes->n = 0;
	lanes->ids = NULL;
	if (SPI_processed == 0)
		return;
	value = spi_datum(0, col, &isnull);
	if (isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(value), INT8OID, 8, FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &elems, NULL, &n);
	lanes->ids = MemoryContextAlloc(cxt, sizeof(int64) * Max(n, 1));
	for (int i = 0; i < n; i++)
		lanes->ids[i] = DatumGetInt64(elems[i]);
	lanes->n = n;
}

int
rmsync_store_fold(MemoryContext cxt, int max, RmsyncLaneList *lanes)
{
	static RmsyncPlan plan = { "SELECT folded, lanes FROM rmsync.fold($1)",
							   1,
							   { INT4OID } };
	Datum values[1];

	values[0] = Int32GetDatum(max);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	lane_list(cxt, 2, lanes);
	return rmsync_spi_int(0, 1, 0);
}

void
rmsync_store_reconcile(MemoryContext cxt, RmsyncLaneList *lanes)
{
	static RmsyncPlan plan = { "SELECT rmsync.reconcile_due()", 0, { 0 } };

	rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT);
	lane_list(cxt, 1, lanes);
}

void
rmsync_store_promote(MemoryContext cxt, RmsyncLaneList *lanes)
{
	static RmsyncPlan plan = {
		"WITH due AS (UPDATE rmsync.sync_queue SET run_at = NULL,"
		" error_code = CASE WHEN error_code = 'unknown_outcome' THEN NULL"
		" ELSE error_code END"
		" WHERE status = 'pending' AND run_at <= pg_catalog.now()"
		" RETURNING lane_id)"
		" SELECT pg_catalog.array_agg(DISTINCT lane_id) FROM due",
		0,
		{ 0 }
	};

	rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT);
	lane_list(cxt, 1, lanes);
}

void
rmsync_store_polls(MemoryContext cxt, int every_s, RmsyncLaneList *lanes)
{
	static RmsyncPlan plan = { "SELECT rmsync.polls_due($1)", 1, { INT4OID } };
	Datum values[1];

	values[0] = Int32GetDatum(every_s);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	lane_list(cxt, 1, lanes);
}

void
rmsync_store_looks(MemoryContext cxt, RmsyncLaneList *lanes)
{
	static RmsyncPlan plan = { "SELECT rmsync.looks_due()", 0, { 0 } };

	rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT);
	lane_list(cxt, 1, lanes);
}

void
rmsync_store_ready_lanes(MemoryContext cxt, RmsyncLaneList *lanes)
{
	/* A loose index scan: one probe per lane, not one row per item. */
	static RmsyncPlan plan = {
		"SELECT pg_catalog.array_agg(c.id) FROM rmsync.integration_configs c"
		" WHERE c.is_enabled AND EXISTS (SELECT FROM rmsync.sync_queue q"
		" WHERE q.lane_id = c.id AND q.status = 'pending'"
		" AND q.run_at IS NULL)",
		0,
		{ 0 }
	};

	rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT);
	lane_list(cxt, 1, lanes);
}

int
rmsync_store_give_up(int max_age)
{
	static RmsyncPlan plan = { "SELECT rmsync.give_up($1)", 1, { INT4OID } };
	Datum values[1];

	values[0] = Int32GetDatum(max_age);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	return rmsync_spi_int(0, 1, 0);
}

TimestampTz
rmsync_store_next_due(void)
{
	static RmsyncPlan plan = {
		"SELECT LEAST((SELECT run_at FROM rmsync.sync_queue"
		" WHERE status = 'pending' AND run_at IS NOT NULL"
		" ORDER BY run_at LIMIT 1),"
		/* rmsync.polls_due() passes over lanes that somebody has locked */
		" (SELECT GREATEST(poll_at, pg_catalog.now() + interval '100 ms')"
		" FROM rmsync.integration_configs WHERE two_way"
		" AND is_enabled AND state = 'active' AND poll_at IS NOT NULL"
		" ORDER BY poll_at LIMIT 1),"
		/* so does rmsync.looks_due(), and over all if nothing is attached */
		" (SELECT CASE WHEN look_at > pg_catalog.now() THEN look_at"
		"  ELSE pg_catalog.now() + interval '1 s' END"
		" FROM rmsync.sync_records WHERE look_at < 'infinity'"
		" ORDER BY look_at LIMIT 1))",
		0,
		{ 0 }
	};

	if (rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT) == 0)
		return 0;
	return (TimestampTz) rmsync_spi_int64(0, 1, 0);
}

/* Reads a row; false if it is of a type nobody knows. */
static bool
read_row(MemoryContext cxt, uint64 i, RmsyncQueueRow *row)
{
	char *name = rmsync_spi_text(cxt, i, 2);
	int code = strcmp(name, rmsync_item_type_name(RMSYNC_POLL)) == 0
				   ? RMSYNC_POLL
				   : rmsync_item_type_parse(name);

	row->queue_id = rmsync_spi_int64(i, 1, 0);
	if (code < 0)
		return false;
	row->type = (RmsyncItemType) code;
	row->item_id = rmsync_spi_text(cxt, i, 3);
	row->notebook_uuid = rmsync_spi_text(cxt, i, 4);
	row->version = rmsync_spi_int64(i, 5, 0);
	row->seq = rmsync_spi_int64(i, 6, 0);
	row->priority = rmsync_spi_int(i, 7, 5);
	row->attempt = rmsync_spi_int(i, 8, 0);
	row->forced = rmsync_spi_bool(i, 9);
	row->created_at = (TimestampTz) rmsync_spi_int64(i, 10, 0);
	row->suspect = rmsync_spi_int(i, 11, 0);
	return true;
}

/* No function of ours writes such a row, but it must not stop its lane. */
static void
refuse_row(int64 queue_id)
{
	static RmsyncPlan plan = { "UPDATE rmsync.sync_queue SET status = 'failed',"
							   " error_code = 'invalid_data',"
							   " error_message = 'unrecognized item type',"
							   " updated_at = pg_catalog.now() WHERE id = $1",
							   1,
							   { INT8OID } };
	Datum values[1];

	values[0] = Int64GetDatum(queue_id);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

/* ORDER BY must say q.priority: the bare name is the column of the result. */
#define ROW_COLUMNS \
	"q.id, q.item_type, q.item_id, q.notebook_uuid, q.version, q.seq," \
	" q.priority::int, q.attempt, q.forced, q.created_at, q.suspect::int"

/* Reads all rows; false if one had to be refused: then ask again. */
static bool
read_rows(MemoryContext cxt, uint64 n, RmsyncQueueRow **rows)
{
	*rows = MemoryContextAllocZero(cxt, sizeof(RmsyncQueueRow) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		if (read_row(cxt, i, &(*rows)[i]))
			continue;
		refuse_row((*rows)[i].queue_id);
		return false;
	}
	return true;
}

int
rmsync_store_ready(MemoryContext cxt, int64 lane_id, int priority, int64 seq,
				   const char *notebook, int limit, RmsyncQueueRow **rows)
{
	static RmsyncPlan in_order = {
		"SELECT " ROW_COLUMNS " FROM rmsync.sync_queue q"
		" WHERE lane_id = $1 AND status = 'pending' AND run_at IS NULL"
		" AND suspect = 0 AND (priority, seq) > ($2::smallint, $3)"
		" ORDER BY q.priority, q.seq LIMIT $4",
		4,
		{ INT8OID, INT4OID, INT8OID, INT4OID },
		.generic = true,
		.indexed = true
	};
	static RmsyncPlan of_notebook = {
		"SELECT " ROW_COLUMNS " FROM rmsync.sync_queue q"
		" WHERE lane_id = $1 AND notebook_uuid = $2 AND status = 'pending'"
		" AND run_at IS NULL AND suspect = 0"
		" ORDER BY q.priority, q.seq LIMIT $3",
		3,
		{ INT8OID, TEXTOID, INT4OID }
	};
	Datum values[4];
	uint64 n;

	values[0] = Int64GetDatum(lane_id);
	if (notebook != NULL)
	{
		values[1] = CStringGetTextDatum(notebook);
		values[2] = Int32GetDatum(limit);
		n = rmsync_plan_run(&of_notebook, values, NULL, SPI_OK_SELECT);
	}
	else
	{
		values[1] = Int32GetDatum(priority);
		values[2] = Int64GetDatum(seq);
		values[3] = Int32GetDatum(limit);
		n = rmsync_plan_run(&in_order, values, NULL, SPI_OK_SELECT);
	}
	if (!read_rows(cxt, n, rows))
		return rmsync_store_ready(cxt, lane_id, priority, seq, notebook, limit,
								  rows);
	return (int) n;
}

bool
rmsync_store_suspect_lanes(MemoryContext cxt, RmsyncLaneList *lanes)
{
	static RmsyncPlan plan = {
		"SELECT pg_catalog.array_agg(DISTINCT c.id) FILTER"
		" (WHERE c.is_enabled AND c.state = 'active' AND q.run_at IS NULL),"
		" pg_catalog.count(*) > 0"
		" FROM rmsync.sync_queue q"
		" JOIN rmsync.integration_configs c ON c.id = q.lane_id"
		" WHERE q.status = 'pending' AND q.suspect > 0",
		0,
		{ 0 }
	};

	rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT);
	lane_list(cxt, 1, lanes);
	return rmsync_spi_bool(0, 2);
}

int
rmsync_store_suspects(MemoryContext cxt, int64 lane_id, bool by_notebook,
					  int limit, RmsyncQueueRow **rows)
{
	static RmsyncPlan first = {
		"SELECT " ROW_COLUMNS " FROM rmsync.sync_queue q"
		" WHERE lane_id = $1 AND status = 'pending' AND suspect > 0"
		" AND run_at IS NULL ORDER BY q.priority, q.seq LIMIT 1",
		1,
		{ INT8OID }
	};
	static RmsyncPlan of_notebook = {
		"SELECT " ROW_COLUMNS " FROM rmsync.sync_queue q"
		" WHERE lane_id = $1 AND notebook_uuid = $2 AND status = 'pending'"
		" AND suspect = 1 AND run_at IS NULL ORDER BY q.priority, q.seq LIMIT $3",
		3,
		{ INT8OID, TEXTOID, INT4OID }
	};
	Datum values[3];
	uint64 n;

	values[0] = Int64GetDatum(lane_id);
	n = rmsync_plan_run(&first, values, NULL, SPI_OK_SELECT);
	if (!read_rows(cxt, n, rows))
		return 0;
	if (n == 0 || !by_notebook || (*rows)->suspect > 1 ||
		(*rows)->notebook_uuid == NULL)
		return (int) n;
	values[1] = CStringGetTextDatum((*rows)->notebook_uuid);
	values[2] = Int32GetDatum(limit);
	n = rmsync_plan_run(&of_notebook, values, NULL, SPI_OK_SELECT);
	return read_rows(cxt, n, rows) ? (int) n : 0;
}

void
rmsync_store_lock_crashes(void)
{
	/* first key: see LEASE_CLASS; no target's name has this second one */
	static RmsyncPlan plan = {
		"SELECT pg_catalog.pg_advisory_xact_lock(1919775609, 0)", 0, { 0 }
	};

	rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT);
}

int
rmsync_store_blame_crash(const int64 *ids, int n, bool one_job)
{
	static RmsyncPlan plan = { "SELECT rmsync.blame_crash($1, $2)",
							   2,
							   { INT8ARRAYOID, BOOLOID } };
	Datum *elems = palloc(sizeof(Datum) * Max(n, 1));
	Datum values[2];

	for (int i = 0; i < n; i++)
		elems[i] = Int64GetDatum(ids[i]);
	values[0] = PointerGetDatum(
		construct_array(elems, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = BoolGetDatum(one_job);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	return rmsync_spi_int(0, 1, 0);
}

void
rmsync_store_queue_later(int64 lane_id, const RmsyncItem *item, int delay_ms,
						 int attempt, bool failed, bool any_version,
						 const char *code, const char *message)
{
	static RmsyncPlan plan = {
		"UPDATE rmsync.sync_queue SET"
		" status = CASE WHEN $6 THEN 'failed' ELSE 'pending' END,"
		" run_at = CASE WHEN $6 THEN NULL"
		" ELSE pg_catalog.now() + $5 * interval '1 millisecond' END,"
		" attempt = $7, error_code = $8, error_message = $9,"
		" suspect = CASE WHEN $10 THEN suspect ELSE 0 END,"
		" updated_at = pg_catalog.now()"
		" WHERE lane_id = $1 AND item_type = $2 AND item_id = $3"
		" AND ($10 OR version = $4)",
		10,
		{ INT8OID, TEXTOID, TEXTOID, INT8OID, INT4OID, BOOLOID, INT4OID,
		  TEXTOID, TEXTOID, BOOLOID }
	};
	Datum values[10];
	char nulls[11] = "          ";

	values[0] = Int64GetDatum(lane_id);
	values[1] = CStringGetTextDatum(rmsync_item_type_name(item->type));
	values[2] = CStringGetTextDatum(item->id);
	values[3] = Int64GetDatum(item->version);
	values[4] = Int32GetDatum(delay_ms);
	values[5] = BoolGetDatum(failed);
	values[6] = Int32GetDatum(attempt);
	values[7] = CStringGetTextDatum(code ? code : "");
	if (message != NULL)
		values[8] = CStringGetTextDatum(message);
	else
		nulls[8] = 'n';
	values[9] = BoolGetDatum(any_version);
	rmsync_plan_run(&plan, values, nulls, SPI_OK_UPDATE);
}
