/*-------------------------------------------------------------------------
 *
 * store_record.c
 *	  SQL of the notifications, of lost pages, of what was read back and of
 *	  the log's partitions.
 *
 * Called by the engine inside its short transactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "store.h"

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

void
rmsync_store_queue_notebook(const RmsyncLaneInfo *lane, const char *notebook_uuid)
{
	static RmsyncPlan plan = {
		"SELECT rmsync.enqueue($1, ARRAY[$2], ARRAY[$3], ARRAY[$3],"
		" source => 'owed') WHERE NOT EXISTS (SELECT FROM rmsync.sync_queue"
		" WHERE lane_id = $1 AND item_type = $2 AND item_id = $3)",
		3,
		{ INT8OID, TEXTOID, TEXTOID }
	};
	Datum values[3];

	values[0] = Int64GetDatum(lane->lane_id);
	values[1] = CStringGetTextDatum(rmsync_item_type_name(RMSYNC_NOTEBOOK));
	values[2] = CStringGetTextDatum(notebook_uuid);
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
rmsync_store_take_remote(const RmsyncLaneInfo *lane, const char *report,
						 int every_s)
{
	static RmsyncPlan plan = { "SELECT rmsync.take_remote($1, $2, $3::jsonb, $4)",
							   4,
							   { INT8OID, INT4OID, TEXTOID, INT4OID } };
	Datum values[4];

	values[0] = Int64GetDatum(lane->lane_id);
	values[1] = Int32GetDatum(lane->config_epoch);
	values[2] = CStringGetTextDatum(report);
	values[3] = Int32GetDatum(every_s);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
}

/* Runs a statement that notifies; returns how many it has notified of. */
static uint64
notify(RmsyncPlan *plan, const RmsyncLaneInfo *lane, const char *kind,
	   const char *message, const RmsyncItem *item)
{
	Datum values[7];
	char nulls[8] = "       ";

	values[0] = Int64GetDatum(lane->user_id);
	values[1] = CStringGetTextDatum(lane->target_name);
	values[2] = CStringGetTextDatum(kind);
	values[3] = CStringGetTextDatum(message);
	rmsync_plan_text(values, nulls, 4,
					 item ? rmsync_item_type_name(item->type) : NULL);
	rmsync_plan_text(values, nulls, 5, item ? item->id : NULL);
	values[6] = Int64GetDatum(lane->lane_id);
	return rmsync_plan_run(plan, values, nulls, SPI_OK_INSERT);
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

	(void) notify(&plan, lane, kind, message, item);
}

bool
rmsync_store_notify_once(const RmsyncLaneInfo *lane, const char *kind,
						 const char *message, const RmsyncItem *item)
{
	static RmsyncPlan plan = {
		"INSERT INTO rmsync.notifications (user_id, target_name, kind,"
		" message, item_type, item_id)"
		" SELECT $1, $2, $3, $4, $5, $6"
		" FROM rmsync.integration_configs c WHERE c.id = $7"
		" AND NOT EXISTS (SELECT FROM rmsync.notifications n"
		"  WHERE n.user_id = $1 AND n.target_name = $2 AND n.kind = $3"
		"  AND n.item_type = $5 AND n.item_id = $6"
		"  AND n.created_at > coalesce((SELECT r.synced_at"
		"   FROM rmsync.sync_records r WHERE r.user_id = $1"
		"   AND r.target_name = $2 AND r.item_type = $5 AND r.item_id = $6),"
		"   '-infinity'))",
		7,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID }
	};

	return notify(&plan, lane, kind, message, item) > 0;
}

void
rmsync_store_log_partitions(int retention_days)
{
	static RmsyncPlan plan = { "SELECT rmsync.log_partitions($1)", 1, { INT4OID } };
	Datum values[1];

	values[0] = Int32GetDatum(retention_days);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
}
