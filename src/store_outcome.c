/*-------------------------------------------------------------------------
 *
 * store_outcome.c
 *	  SQL of outcomes: ledger, removal from the queue, log.
 *
 * Called by the engine inside its short transactions.  Outcomes are gathered
 * and written many at a time: one statement each for the ledger, the queue and
 * the log costs a third of one per item.  A ledger row says what the target
 * holds; it is written in the transaction that removes the queue row, so the
 * two can never disagree after a crash.
 *
 * What is gathered lives in the memory context that was current then, the
 * transaction's, and must be written or forgotten before it ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "store.h"

#define MAX_ROWS 128
#define MAX_COLUMNS 17

/* Rows for one statement, by column, as unnest() wants them. */
typedef struct Batch
{
	int nrows;
	Datum values[MAX_COLUMNS][MAX_ROWS];
	bool nulls[MAX_COLUMNS][MAX_ROWS];
} Batch;

static Batch ledger_batch;
static Batch queue_batch;
static Batch log_batch;

/* Whose queue rows are in queue_batch. */
static RmsyncItem *queue_items[MAX_ROWS];

/* ---- gathering ---- */

static void
put(Batch *batch, int column, Datum value)
{
	batch->values[column][batch->nrows] = value;
	batch->nulls[column][batch->nrows] = false;
}

static void
put_text(Batch *batch, int column, const char *text)
{
	batch->nulls[column][batch->nrows] = text == NULL;
	if (text != NULL)
		batch->values[column][batch->nrows] = CStringGetTextDatum(text);
}

/*
 * When the target is to be looked at again; a time, or none.  The same for all
 * that is written together, so that one look is enough for it.
 */
static void
put_look(Batch *batch, int column, const RmsyncLedger *ledger)
{
	TimestampTz at = ledger->look_at;

	if (ledger->look_ms > 0)
		at = TimestampTzPlusMilliseconds(GetCurrentTransactionStartTimestamp(),
										 (int64) (ledger->look_ms *
												  rmsync_backoff_scale));
	put(batch, column, TimestampTzGetDatum(at));
	batch->nulls[column][batch->nrows] = at == 0;
}

static void
remove_row(const RmsyncLaneInfo *lane, const RmsyncItem *item)
{
	static RmsyncPlan plan = {
		"DELETE FROM rmsync.sync_records WHERE user_id = $1"
		" AND target_name = $2 AND item_type = $3 AND item_id = $4",
		4,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID }
	};
	Datum values[4];

	values[0] = Int64GetDatum(lane->user_id);
	values[1] = CStringGetTextDatum(lane->target_name);
	values[2] = CStringGetTextDatum(rmsync_item_type_name(item->type));
	values[3] = CStringGetTextDatum(item->id);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_DELETE);
}

void
rmsync_store_ledger(const RmsyncLaneInfo *lane, const RmsyncItem *item,
					const char *status)
{
	const RmsyncLedger *ledger = &item->ledger;
	Batch *batch = &ledger_batch;

	if (!ledger->exists)
	{
		remove_row(lane, item);
		return;
	}
	put(batch, 0, Int64GetDatum(lane->user_id));
	put_text(batch, 1, lane->target_name);
	put_text(batch, 2, rmsync_item_type_name(item->type));
	put_text(batch, 3, item->id);
	put(batch, 4, Int64GetDatum(lane->lane_id));
	put_text(batch, 5,
			 ledger->notebook_uuid ? ledger->notebook_uuid : item->notebook_uuid);
	put(batch, 6, Int32GetDatum(item->src.page_number));
	batch->nulls[6][batch->nrows] = item->src.page_number <= 0;
	put_text(batch, 7, ledger->content_hash);
	put_text(batch, 8, ledger->placement_hash);
	put(batch, 9, Int32GetDatum(ledger->config_epoch));
	put_text(batch, 10, ledger->external_id);
	put_text(batch, 11, status);
	put_text(batch, 12, item->error);
	put(batch, 13, Int32GetDatum(item->attempt));
	put_text(batch, 14, ledger->metadata);
	put_text(batch, 15, ledger->intent);
	put_look(batch, 16, ledger);
	if (++batch->nrows == MAX_ROWS)
		rmsync_store_flush();
}

void
rmsync_store_queue_done(RmsyncItem *item)
{
	Batch *batch = &queue_batch;

	item->stays = true; /* until it is known to be removed */
	put(batch, 0, Int64GetDatum(item->queue_id));
	put(batch, 1, Int64GetDatum(item->version));
	put(batch, 2, Int32GetDatum(batch->nrows));
	queue_items[batch->nrows] = item;
	if (++batch->nrows == MAX_ROWS)
		rmsync_store_flush();
}

void
rmsync_store_log(const RmsyncLaneInfo *lane, const RmsyncItem *item,
				 const char *status, const char *operation, const char *code,
				 const char *message, int requests, int duration_ms)
{
	Batch *batch = &log_batch;

	put(batch, 0, Int64GetDatum(lane->user_id));
	put_text(batch, 1, lane->target_name);
	put_text(batch, 2, item ? rmsync_item_type_name(item->type) : NULL);
	put_text(batch, 3, item ? item->id : NULL);
	put_text(batch, 4, status);
	put_text(batch, 5, operation);
	put_text(batch, 6, code);
	put_text(batch, 7, message);
	put_text(batch, 8, item && item->content_hash[0] ? item->content_hash : NULL);
	put_text(batch, 9, item ? item->ledger.external_id : NULL);
	put(batch, 10, Int32GetDatum(item ? item->attempt : 0));
	put(batch, 11, Int32GetDatum(requests));
	put(batch, 12, Int32GetDatum(duration_ms));
	put(batch, 13, Int64GetDatum(lane->lane_id));
	if (++batch->nrows == MAX_ROWS)
		rmsync_store_flush();
}

/* ---- writing ---- */

/*
 * unnest() of several arrays is syntax, which is pg_catalog's function whatever
 * the search_path, and is not recognized if the name is qualified.
 */

static Datum
column_array(Batch *batch, int column, Oid array_type)
{
	int dims[1] = { batch->nrows };
	int lbs[1] = { 1 };
	Datum *values = batch->values[column];
	bool *nulls = batch->nulls[column];

	switch (array_type)
	{
		case INT8ARRAYOID:
			return PointerGetDatum(
				construct_md_array(values, nulls, 1, dims, lbs, INT8OID, 8,
								   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
		case TIMESTAMPTZARRAYOID:
			return PointerGetDatum(
				construct_md_array(values, nulls, 1, dims, lbs, TIMESTAMPTZOID,
								   8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
		case INT4ARRAYOID:
			return PointerGetDatum(construct_md_array(values, nulls, 1, dims,
													  lbs, INT4OID, 4, true,
													  TYPALIGN_INT));
		default:
			Assert(array_type == TEXTARRAYOID);
			return PointerGetDatum(construct_md_array(values, nulls, 1, dims,
													  lbs, TEXTOID, -1, false,
													  TYPALIGN_INT));
	}
}

/* Runs a plan whose parameters are the columns of a batch, and empties it. */
static uint64
run_batch(RmsyncPlan *plan, Batch *batch, int expected)
{
	Datum values[MAX_COLUMNS];

	for (int i = 0; i < plan->nargs; i++)
		values[i] = column_array(batch, i, plan->types[i]);
	batch->nrows = 0;
	return rmsync_plan_run(plan, values, NULL, expected);
}

static void
flush_ledger(void)
{
	/*
	 * The lanes are looked up so that a row is never written for a lane that
	 * was disconnected or whose user was deleted while a request was under
	 * way: their removal must stay removed.  The lock makes a removal that is
	 * under way itself wait for us, or us for it.
	 */
	static RmsyncPlan plan = {
		"WITH lanes AS MATERIALIZED (SELECT c.id"
		" FROM rmsync.integration_configs c WHERE c.id = ANY ($5)"
		" ORDER BY c.id FOR KEY SHARE)"
		" INSERT INTO rmsync.sync_records AS r (user_id, target_name,"
		" item_type, item_id, lane_id, notebook_uuid, page_number,"
		" content_hash, placement_hash, config_epoch, external_id, status,"
		" error_message, retry_count, metadata_json, intent, look_at,"
		" synced_at)"
		" SELECT u.user_id, u.target_name, u.item_type, u.item_id, u.lane_id,"
		" u.notebook_uuid, u.page_number, u.content_hash, u.placement_hash,"
		" u.config_epoch, u.external_id, u.status, u.error_message,"
		" u.retry_count, u.metadata::jsonb, u.intent::jsonb, u.look_at,"
		" CASE WHEN u.status = 'success' THEN pg_catalog.clock_timestamp() END"
		" FROM unnest($1, $2, $3, $4, $5, $6, $7, $8,"
		" $9, $10, $11, $12, $13, $14, $15, $16, $17) AS u (user_id,"
		" target_name, item_type, item_id, lane_id, notebook_uuid, page_number,"
		" content_hash, placement_hash, config_epoch, external_id, status,"
		" error_message, retry_count, metadata, intent, look_at)"
		" JOIN lanes l ON l.id = u.lane_id"
		" ON CONFLICT (user_id, target_name, item_type, item_id)"
		" DO UPDATE SET lane_id = excluded.lane_id,"
		" notebook_uuid = excluded.notebook_uuid,"
		" page_number = excluded.page_number,"
		" content_hash = excluded.content_hash,"
		" placement_hash = excluded.placement_hash,"
		" config_epoch = excluded.config_epoch,"
		" external_id = excluded.external_id, status = excluded.status,"
		" error_message = excluded.error_message,"
		" retry_count = excluded.retry_count,"
		" metadata_json = excluded.metadata_json, intent = excluded.intent,"
		" look_at = excluded.look_at,"
		" synced_at = coalesce(excluded.synced_at, r.synced_at),"
		" updated_at = pg_catalog.now()",
		17,
		{ INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID,
		  TEXTARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID,
		  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TEXTARRAYOID,
		  TEXTARRAYOID, TIMESTAMPTZARRAYOID },
		.generic = true
	};

	if (ledger_batch.nrows > 0)
		run_batch(&plan, &ledger_batch, SPI_OK_INSERT);
}

static void
flush_queue(void)
{
	static RmsyncPlan plan = {
		"DELETE FROM rmsync.sync_queue q"
		" USING unnest($1, $2, $3) AS u (id, version, n)"
		" WHERE q.id = u.id AND q.version = u.version RETURNING u.n",
		3,
		{ INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID },
		.generic = true,
		.indexed = true
	};
	uint64 n;

	if (queue_batch.nrows == 0)
		return;
	n = run_batch(&plan, &queue_batch, SPI_OK_DELETE_RETURNING);
	for (uint64 i = 0; i < n; i++)
		queue_items[rmsync_spi_int(i, 1, 0)]->stays = false;
}

static void
flush_log(void)
{
	static RmsyncPlan plan = {
		"WITH lanes AS MATERIALIZED (SELECT c.id"
		" FROM rmsync.integration_configs c WHERE c.id = ANY ($14))"
		" INSERT INTO rmsync.sync_log (user_id, target_name, item_type,"
		" item_id, status, operation, error_code, message, content_hash,"
		" external_id, attempt, requests, duration_ms)"
		" SELECT u.user_id, u.target_name, u.item_type, u.item_id, u.status,"
		" u.operation, u.error_code, u.message, u.content_hash, u.external_id,"
		" u.attempt, u.requests, u.duration_ms"
		" FROM unnest($1, $2, $3, $4, $5, $6, $7, $8,"
		" $9, $10, $11, $12, $13, $14) AS u (user_id, target_name, item_type,"
		" item_id, status, operation, error_code, message, content_hash,"
		" external_id, attempt, requests, duration_ms, lane_id)"
		" JOIN lanes l ON l.id = u.lane_id",
		14,
		{ INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		  INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT8ARRAYOID },
		.generic = true
	};

	if (log_batch.nrows > 0)
		run_batch(&plan, &log_batch, SPI_OK_INSERT);
}

void
rmsync_store_flush(void)
{
	flush_ledger();
	flush_queue();
	flush_log();
}

void
rmsync_store_forget(void)
{
	ledger_batch.nrows = 0;
	queue_batch.nrows = 0;
	log_batch.nrows = 0;
}
