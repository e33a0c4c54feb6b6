/*-------------------------------------------------------------------------
 *
 * store_probe.c
 *	  SQL of what a person waits for: the lane that is meant, what a token can
 *	  see at Notion, databases that are being made there, deliveries.
 *
 * Called by the procedures of api_probe.c, api_notion.c and api_sync.c between
 * rmsync_txn_begin and rmsync_txn_end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "store.h"

int64
rmsync_store_lane_of(int64 user_id, const char *target_name)
{
	static RmsyncPlan plan = { "SELECT (rmsync.lane_of(nullif($1, 0), $2)).id",
							   2,
							   { INT8OID, TEXTOID } };
	Datum values[2];

	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(target_name);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	return rmsync_spi_int64(0, 1, 0);
}

int64
rmsync_store_notion_lane(int64 user_id, const char *preferred)
{
	static RmsyncPlan plan = { "SELECT rmsync.notion_lane(nullif($1, 0), $2)",
							   2,
							   { INT8OID, TEXTOID } };
	Datum values[2];

	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(preferred);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	return rmsync_spi_int64(0, 1, 0);
}

bool
rmsync_store_instance_matches(void)
{
	static RmsyncPlan plan = { "SELECT rmsync.instance_matches()", 0, { 0 } };

	return rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT) == 1 &&
		   rmsync_spi_bool(0, 1);
}

char *
rmsync_store_notion_objects(MemoryContext cxt, int64 user_id, const char *objects)
{
	static RmsyncPlan plan = {
		"SELECT rmsync.store_notion_objects($1, $2::jsonb)::text",
		2,
		{ INT8OID, TEXTOID }
	};
	Datum values[2];

	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(objects);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	return rmsync_spi_text(cxt, 0, 1);
}

/* The key of an intent. */
static void
intent_key(Datum *values, int64 user_id, const char *target_name,
		   const char *parent_id, const char *title)
{
	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(target_name);
	values[2] = CStringGetTextDatum(parent_id);
	values[3] = CStringGetTextDatum(title);
}

char *
rmsync_store_notion_intent(MemoryContext cxt, int64 user_id,
						   const char *target_name, const char *parent_id,
						   const char *title, const char *set, int *open_ms)
{
	static RmsyncPlan get = {
		"SELECT known::text, ceil(extract(epoch FROM"
		" GREATEST(until - pg_catalog.clock_timestamp(), '0')) * 1000)::int4"
		" FROM rmsync.notion_intents WHERE user_id = $1"
		" AND target_name = $2 AND parent_id = $3 AND title = $4",
		4,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID }
	};
	static RmsyncPlan put = {
		"INSERT INTO rmsync.notion_intents"
		" (user_id, target_name, parent_id, title, known, until)"
		" VALUES ($1, $2, $3, $4, $5::jsonb,"
		"  pg_catalog.clock_timestamp() + $6 * interval '1 ms')"
		" ON CONFLICT (user_id, target_name, parent_id, title) DO UPDATE"
		" SET known = excluded.known, at = pg_catalog.now(),"
		" until = excluded.until",
		6,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID }
	};
	Datum values[6];

	intent_key(values, user_id, target_name, parent_id, title);
	if (set != NULL)
	{
		values[4] = CStringGetTextDatum(set);
		values[5] = Int32GetDatum(*open_ms);
		rmsync_plan_run(&put, values, NULL, SPI_OK_INSERT);
		return NULL;
	}
	if (rmsync_plan_run(&get, values, NULL, SPI_OK_SELECT) == 0)
		return NULL;
	*open_ms = rmsync_spi_int(0, 2, 0);
	return rmsync_spi_text(cxt, 0, 1);
}

void
rmsync_store_notion_forget(int64 user_id, const char *target_name,
						   const char *parent_id, const char *title)
{
	static RmsyncPlan plan = {
		"DELETE FROM rmsync.notion_intents WHERE user_id = $1"
		" AND target_name = $2 AND parent_id = $3 AND title = $4",
		4,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID }
	};
	Datum values[4];

	intent_key(values, user_id, target_name, parent_id, title);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_DELETE);
}

void
rmsync_store_notion_made(int64 user_id, const char *target_name,
						 const char *parent_id, const char *title, const char *id)
{
	static RmsyncPlan plan = {
		"INSERT INTO rmsync.notion_objects AS o (user_id, kind, id, title,"
		" parent_type, parent_id) VALUES ($1, 'database', $2, $3, 'page', $4)"
		" ON CONFLICT (user_id, kind, id) DO UPDATE"
		" SET title = excluded.title, seen_at = excluded.seen_at",
		4,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID }
	};
	Datum values[4];

	rmsync_store_notion_forget(user_id, target_name, parent_id, title);
	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(id);
	values[2] = CStringGetTextDatum(title);
	values[3] = CStringGetTextDatum(parent_id);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_INSERT);
}

char *
rmsync_store_sync_begin(MemoryContext cxt, const NullableDatum *args)
{
	static RmsyncPlan plan = {
		"SELECT rmsync.sync_begin($1, $2, $3, $4, $5, $6, $7)::text",
		RMSYNC_SYNC_ARGS,
		{ TEXTOID, TEXTOID, TEXTARRAYOID, INT4OID, INT8OID, BOOLOID, INTERVALOID }
	};
	Datum values[RMSYNC_SYNC_ARGS];
	char nulls[RMSYNC_SYNC_ARGS + 1] = "";

	for (int i = 0; i < RMSYNC_SYNC_ARGS; i++)
	{
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
	rmsync_plan_run(&plan, values, nulls, SPI_OK_SELECT);
	return rmsync_spi_text(cxt, 0, 1);
}

bool
rmsync_store_sync_waits(const char *job)
{
	static RmsyncPlan plan = { "SELECT rmsync.sync_waits($1::jsonb)",
							   1,
							   { TEXTOID } };
	Datum values[1];

	values[0] = CStringGetTextDatum(job);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	return rmsync_spi_bool(0, 1);
}

char *
rmsync_store_sync_result(MemoryContext cxt, const char *job)
{
	static RmsyncPlan plan = { "SELECT rmsync.sync_result($1::jsonb)::text",
							   1,
							   { TEXTOID } };
	Datum values[1];

	values[0] = CStringGetTextDatum(job);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	return rmsync_spi_text(cxt, 0, 1);
}
