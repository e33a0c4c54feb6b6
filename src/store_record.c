/*-------------------------------------------------------------------------
 *
 * store_record.c
 *	  SQL of the ledger, the log and the notifications.
 *
 * Called by the engine inside its short transactions.  A ledger row says what
 * the target holds; it is written together with the queue row's removal, so
 * the two can never disagree after a crash.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "store.h"

/* A text parameter that may be NULL. */
static void
text_param(Datum *values, char *nulls, int i, const char *text)
{
	if (text != NULL)
		values[i] = CStringGetTextDatum(text);
	else
		nulls[i] = 'n';
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
	/*
	 * The lane is looked up so that a row is never written for a lane that
	 * was disconnected or whose user was deleted while a request was under
	 * way: their removal must stay removed.  The lock makes a removal that is
	 * under way itself wait for us, or us for it.
	 */
	static RmsyncPlan plan = {
		"INSERT INTO rmsync.sync_records AS r (user_id, target_name,"
		" item_type, item_id, lane_id, notebook_uuid, page_number,"
		" content_hash, placement_hash, config_epoch, external_id, status,"
		" error_message, retry_count, metadata_json, intent, synced_at)"
		" SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
		" $14, $15::jsonb, $16::jsonb,"
		" CASE WHEN $12 = 'success' THEN pg_catalog.clock_timestamp() END"
		" FROM rmsync.integration_configs c WHERE c.id = $5 FOR KEY SHARE"
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
		" synced_at = coalesce(excluded.synced_at, r.synced_at),"
		" updated_at = pg_catalog.now()",
		16,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, INT4OID, TEXTOID,
		  TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID }
	};
	const RmsyncLedger *ledger = &item->ledger;
	Datum values[16];
	char nulls[17] = "                ";

	if (!ledger->exists)
	{
		remove_row(lane, item);
		return;
	}
	values[0] = Int64GetDatum(lane->user_id);
	values[1] = CStringGetTextDatum(lane->target_name);
	values[2] = CStringGetTextDatum(rmsync_item_type_name(item->type));
	values[3] = CStringGetTextDatum(item->id);
	values[4] = Int64GetDatum(lane->lane_id);
	text_param(values, nulls, 5,
			   ledger->notebook_uuid ? ledger->notebook_uuid
									 : item->notebook_uuid);
	if (item->src.page_number > 0)
		values[6] = Int32GetDatum(item->src.page_number);
	else
		nulls[6] = 'n';
	values[7] = CStringGetTextDatum(ledger->content_hash);
	values[8] = CStringGetTextDatum(ledger->placement_hash);
	values[9] = Int32GetDatum(ledger->config_epoch);
	text_param(values, nulls, 10, ledger->external_id);
	values[11] = CStringGetTextDatum(status);
	text_param(values, nulls, 12, item->error);
	values[13] = Int32GetDatum(item->attempt);
	text_param(values, nulls, 14, ledger->metadata);
	text_param(values, nulls, 15, ledger->intent);
	rmsync_plan_run(&plan, values, nulls, SPI_OK_INSERT);
}

void
rmsync_store_lost(const RmsyncLaneInfo *lane, const char *notebook_uuid,
				  RmsyncItemType type, const char *item_id)
{
	static RmsyncPlan plan = {
		"WITH gone AS ("
		"UPDATE rmsync.sync_records SET external_id = NULL,"
		" content_hash = '', placement_hash = '',"
		" status = 'pending', updated_at = pg_catalog.now()"
		" WHERE user_id = $1 AND target_name = $2 AND item_type = $6"
		" AND item_id = $3 AND notebook_uuid = $4"
		" RETURNING item_id)"
		" SELECT rmsync.enqueue($5, ARRAY[$6], ARRAY[item_id],"
		" ARRAY[$4], source => 'lost') FROM gone",
		6,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID }
	};
	Datum values[6];

	values[0] = Int64GetDatum(lane->user_id);
	values[1] = CStringGetTextDatum(lane->target_name);
	values[2] = CStringGetTextDatum(item_id);
	values[3] = CStringGetTextDatum(notebook_uuid);
	values[4] = Int64GetDatum(lane->lane_id);
	values[5] = CStringGetTextDatum(rmsync_item_type_name(type));
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
}

int64
rmsync_store_links(const RmsyncLaneInfo *lane, const char **page_ids, int n)
{
	static RmsyncPlan find = { "SELECT id FROM rmsync.integration_configs"
							   " WHERE user_id = $1 AND target_name = 'notion-todos'"
							   " AND is_enabled",
							   1,
							   { INT8OID } };

	/*
	 * A to-do without an entry may be under way with the old link: once more.
	 */
	static RmsyncPlan plan = {
		"SELECT rmsync.enqueue($2, array_agg('todo'::text ORDER BY w.row_id),"
		" array_agg(w.item_id ORDER BY w.row_id),"
		" array_agg(w.notebook_uuid ORDER BY w.row_id), source => 'link')"
		" FROM (SELECT t.item_id, t.notebook_uuid, t.row_id"
		"  FROM rmsync.source_todo t"
		"  LEFT JOIN rmsync.sync_records r ON r.user_id = $1"
		"  AND r.target_name = 'notion-todos' AND r.item_type = 'todo'"
		"  AND r.item_id = t.item_id"
		"  LEFT JOIN rmsync.sync_records p ON p.user_id = $1"
		"  AND p.target_name = $3 AND p.item_type = 'page_text'"
		"  AND p.item_id = t.page_id"
		"  WHERE t.user_id = $1 AND t.live AND t.page_id = ANY ($4)"
		"  AND (r.item_id IS NULL OR r.metadata_json ->> 'link_block'"
		"   IS DISTINCT FROM p.external_id)) w HAVING pg_catalog.count(*) > 0",
		4,
		{ INT8OID, INT8OID, TEXTOID, TEXTARRAYOID }
	};
	Datum *ids = palloc(sizeof(Datum) * n);
	Datum values[4];
	int64 lane_id;

	values[0] = Int64GetDatum(lane->user_id);
	if (rmsync_plan_run(&find, values, NULL, SPI_OK_SELECT) == 0)
		return 0;
	lane_id = rmsync_spi_int64(0, 1, 0);
	for (int i = 0; i < n; i++)
		ids[i] = CStringGetTextDatum(page_ids[i]);
	values[1] = Int64GetDatum(lane_id);
	values[2] = CStringGetTextDatum(lane->target_name);
	values[3] = PointerGetDatum(
		construct_array(ids, n, TEXTOID, -1, false, TYPALIGN_INT));
	return rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT) > 0 ? lane_id : 0;
}

void
rmsync_store_log(const RmsyncLaneInfo *lane, const RmsyncItem *item,
				 const char *status, const char *operation, const char *code,
				 const char *message, int requests, int duration_ms)
{
	static RmsyncPlan plan = {
		"INSERT INTO rmsync.sync_log (user_id, target_name, item_type,"
		" item_id, status, operation, error_code, message, content_hash,"
		" external_id, attempt, requests, duration_ms)"
		" SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13"
		" FROM rmsync.integration_configs c WHERE c.id = $14",
		14,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
		  TEXTOID, TEXTOID, TEXTOID, INT4OID, INT4OID, INT4OID, INT8OID }
	};
	Datum values[14];
	char nulls[15] = "              ";

	values[0] = Int64GetDatum(lane->user_id);
	values[1] = CStringGetTextDatum(lane->target_name);
	text_param(values, nulls, 2, item ? rmsync_item_type_name(item->type) : NULL);
	text_param(values, nulls, 3, item ? item->id : NULL);
	values[4] = CStringGetTextDatum(status);
	text_param(values, nulls, 5, operation);
	text_param(values, nulls, 6, code);
	text_param(values, nulls, 7, message);
	text_param(values, nulls, 8,
			   item && item->content_hash[0] ? item->content_hash : NULL);
	text_param(values, nulls, 9, item ? item->ledger.external_id : NULL);
	values[10] = Int32GetDatum(item ? item->attempt : 0);
	values[11] = Int32GetDatum(requests);
	values[12] = Int32GetDatum(duration_ms);
	values[13] = Int64GetDatum(lane->lane_id);
	rmsync_plan_run(&plan, values, nulls, SPI_OK_INSERT);
}

void
rmsync_store_notify(const RmsyncLaneInfo *lane, const char *kind,
					const char *message, const RmsyncItem *item)
{
	static RmsyncPlan plan = {
		"INSERT INTO rmsync.notifications (user_id, target_name, kind,"
		" message, item_type, item_id)"
		" SELECT $1, $2, $3, $4, $5, $6"
		" FROM rmsync.integration_configs c WHERE c.id = $7",
		7,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID }
	};
	Datum values[7];
	char nulls[8] = "       ";

	values[0] = Int64GetDatum(lane->user_id);
	values[1] = CStringGetTextDatum(lane->target_name);
	values[2] = CStringGetTextDatum(kind);
	values[3] = CStringGetTextDatum(message);
	text_param(values, nulls, 4, item ? rmsync_item_type_name(item->type) : NULL);
	text_param(values, nulls, 5, item ? item->id : NULL);
	values[6] = Int64GetDatum(lane->lane_id);
	rmsync_plan_run(&plan, values, nulls, SPI_OK_INSERT);
}

void
rmsync_store_log_partitions(int retention_days)
{
	static RmsyncPlan plan = { "SELECT rmsync.log_partitions($1)", 1, { INT4OID } };
	Datum values[1];

	values[0] = Int32GetDatum(retention_days);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
}
