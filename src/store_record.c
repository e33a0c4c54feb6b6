/*-------------------------------------------------------------------------
 *
 * store_record.c
 *	  SQL of the notifications, of lost pages and of the log's partitions.
 *
 * Called by the engine inside its short transactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
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

void
rmsync_store_lost(const RmsyncLaneInfo *lane, const char *notebook_uuid,
				  const char *page_id)
{
	static RmsyncPlan plan = {
		"WITH gone AS ("
		"UPDATE rmsync.sync_records SET external_id = NULL,"
		" content_hash = '', placement_hash = '',"
		" status = 'pending', updated_at = pg_catalog.now()"
		" WHERE user_id = $1 AND target_name = $2 AND item_type = 'page_text'"
		" AND item_id = $3 AND notebook_uuid = $4"
		" RETURNING item_id)"
		" SELECT rmsync.enqueue($5, ARRAY['page_text'], ARRAY[item_id],"
		" ARRAY[$4], source => 'lost') FROM gone",
		5,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, INT8OID }
	};
	Datum values[5];

	values[0] = Int64GetDatum(lane->user_id);
	values[1] = CStringGetTextDatum(lane->target_name);
	values[2] = CStringGetTextDatum(page_id);
	values[3] = CStringGetTextDatum(notebook_uuid);
	values[4] = Int64GetDatum(lane->lane_id);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
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
