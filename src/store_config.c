/*-------------------------------------------------------------------------
 *
 * store_config.c
 *	  SQL of the lanes, the instance check and the leases on targets.
 *
 * Called by the engine inside its short transactions.  Configurations are
 * read and written as Fernet tokens only; decryption is credentials.c's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "store.h"

/* First key of our advisory locks: "rmsy" in ASCII. */
#define LEASE_CLASS 0x726d7379

/* The same of those on the queue, see rmsync_store_lock_queue. */
#define QUEUE_CLASS 0x726d7378
#define QUEUE_ROWS 1
#define QUEUE_ALL 2

#define CREDENTIALS \
	"pg_catalog.concat_ws(' ', config_encrypted, access_token_encrypted)"

bool
rmsync_store_lane(MemoryContext cxt, int64 lane_id, RmsyncLaneRow *row)
{
	static RmsyncPlan plan = {
		"SELECT user_id, target_name, is_enabled, state, config_encrypted,"
		" backup_config_encrypted, remote::text, config_epoch, fail_streak,"
		" CASE WHEN blocked_until > pg_catalog.now()"
		" THEN (extract(epoch FROM blocked_until - pg_catalog.now()) * 1000)::bigint"
		" ELSE 0 END, total_items_synced, access_token_encrypted,"
		" refresh_token_encrypted, grant_id, " CREDENTIALS ","
		" coalesce(remote ->> 'stale' = 'true', false), workspace_id"
		" FROM rmsync.integration_configs WHERE id = $1",
		1,
		{ INT8OID }
	};
	Datum values[1];
	char *state;

	values[0] = Int64GetDatum(lane_id);
	if (rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT) == 0)
		return false;
	row->lane_id = lane_id;
	row->user_id = rmsync_spi_int64(0, 1, 0);
	row->target_name = rmsync_spi_text(cxt, 0, 2);
	row->enabled = rmsync_spi_bool(0, 3);
	state = rmsync_spi_text(cxt, 0, 4);
	row->state = rmsync_lane_state_parse(state);
	row->config = rmsync_spi_text(cxt, 0, 5);
	row->backup = rmsync_spi_text(cxt, 0, 6);
	row->remote = rmsync_spi_text(cxt, 0, 7);
	row->config_epoch = rmsync_spi_int(0, 8, 1);
	row->fail_streak = rmsync_spi_int(0, 9, 0);
	row->blocked_ms = rmsync_spi_int64(0, 10, 0);
	row->synced = rmsync_spi_int64(0, 11, 0);
	row->access = rmsync_spi_text(cxt, 0, 12);
	row->refresh = rmsync_spi_text(cxt, 0, 13);
	row->grant_id = rmsync_spi_text(cxt, 0, 14);
	row->credentials = rmsync_spi_text(cxt, 0, 15);
	row->stale = rmsync_spi_bool(0, 16);
	row->workspace_id = rmsync_spi_text(cxt, 0, 17);
	return true;
}

int
rmsync_store_unopened(MemoryContext cxt, const char *reason, RmsyncLaneRow **rows)
{
	static RmsyncPlan plan = { "SELECT id, user_id, config_encrypted,"
							   " access_token_encrypted, " CREDENTIALS
							   " FROM rmsync.integration_configs"
							   " WHERE state = 'auth' AND state_reason = $1"
							   " ORDER BY pg_catalog.random() LIMIT 1000",
							   1,
							   { TEXTOID } };
	Datum values[1];
	uint64 n;

	values[0] = CStringGetTextDatum(reason);
	n = rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	*rows = MemoryContextAllocZero(cxt, sizeof(RmsyncLaneRow) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		(*rows)[i].lane_id = rmsync_spi_int64(i, 1, 0);
		(*rows)[i].user_id = rmsync_spi_int64(i, 2, 0);
		(*rows)[i].config = rmsync_spi_text(cxt, i, 3);
		(*rows)[i].access = rmsync_spi_text(cxt, i, 4);
		(*rows)[i].credentials = rmsync_spi_text(cxt, i, 5);
	}
	return (int) n;
}

void
rmsync_store_unblocked(MemoryContext cxt, RmsyncLaneList *lanes)
{
	static RmsyncPlan plan = { "SELECT id FROM rmsync.integration_configs"
							   " WHERE id = ANY ($1) AND blocked_until IS NULL"
							   " AND fail_streak = 0",
							   1,
							   { INT8ARRAYOID } };
	Datum *ids = palloc(sizeof(Datum) * Max(lanes->n, 1));
	Datum values[1];

	for (int i = 0; i < lanes->n; i++)
		ids[i] = Int64GetDatum(lanes->ids[i]);
	values[0] =
		PointerGetDatum(construct_array(ids, lanes->n, INT8OID, 8,
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	lanes->n = (int) rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	lanes->ids = MemoryContextAlloc(cxt, sizeof(int64) * Max(lanes->n, 1));
	for (int i = 0; i < lanes->n; i++)
		lanes->ids[i] = rmsync_spi_int64(i, 1, 0);
}

bool
rmsync_store_lane_state(int64 lane_id, RmsyncLaneState state, const char *code,
						const char *reason, const char *credentials)
{
	static RmsyncPlan plan = {
		"UPDATE rmsync.integration_configs SET state = $2, state_reason = $3,"
		" state_code = $5, state_since = pg_catalog.now(),"
		" updated_at = pg_catalog.now()"
		" WHERE id = $1 AND state <> $2 AND " CREDENTIALS " = $4",
		5,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID }
	};
	Datum values[5];
	char nulls[6] = "     ";

	values[0] = Int64GetDatum(lane_id);
	values[1] = CStringGetTextDatum(rmsync_lane_state_name(state));
	if (reason != NULL)
		values[2] = CStringGetTextDatum(reason);
	else
		nulls[2] = 'n';
	values[3] = CStringGetTextDatum(credentials);
	if (code != NULL)
		values[4] = CStringGetTextDatum(code);
	else
		nulls[4] = 'n';
	return rmsync_plan_run(&plan, values, nulls, SPI_OK_UPDATE) > 0;
}

void
rmsync_store_lane_blocked(int64 lane_id, int64 blocked_ms, int fail_streak)
{
	static RmsyncPlan plan = {
		"UPDATE rmsync.integration_configs SET fail_streak = $3,"
		" blocked_until = CASE WHEN $2 > 0"
		" THEN pg_catalog.now() + $2 * interval '1 millisecond' END"
		" WHERE id = $1",
		3,
		{ INT8OID, INT8OID, INT4OID }
	};
	Datum values[3];

	values[0] = Int64GetDatum(lane_id);
	values[1] = Int64GetDatum(blocked_ms);
	values[2] = Int32GetDatum(fail_streak);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

void
rmsync_store_lane_remote(int64 lane_id, int epoch, const char *remote)
{
	/* Notes learned for an earlier destination must not survive a change. */
	static RmsyncPlan plan = { "UPDATE rmsync.integration_configs SET remote = $3::jsonb"
							   " WHERE id = $1 AND config_epoch = $2",
							   3,
							   { INT8OID, INT4OID, TEXTOID } };
	Datum values[3];
	char nulls[4] = "   ";

	values[0] = Int64GetDatum(lane_id);
	values[1] = Int32GetDatum(epoch);
	if (remote != NULL)
		values[2] = CStringGetTextDatum(remote);
	else
		nulls[2] = 'n';
	rmsync_plan_run(&plan, values, nulls, SPI_OK_UPDATE);
}

void
rmsync_store_lane_synced(int64 lane_id, int items, int jobs)
{
	static RmsyncPlan plan = { "UPDATE rmsync.integration_configs"
							   " SET last_synced_at = pg_catalog.clock_timestamp(),"
							   " total_items_synced = total_items_synced + $2,"
							   " sync_count = sync_count + $3 WHERE id = $1",
							   3,
							   { INT8OID, INT4OID, INT4OID } };
	Datum values[3];

	values[0] = Int64GetDatum(lane_id);
	values[1] = Int32GetDatum(items);
	values[2] = Int32GetDatum(jobs);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

char *
rmsync_store_lane_token(MemoryContext cxt, int64 user_id, const char *target_name)
{
	static RmsyncPlan plan = { "SELECT config_encrypted FROM rmsync.integration_configs"
							   " WHERE user_id = $1 AND target_name = $2",
							   2,
							   { INT8OID, TEXTOID } };
	Datum values[2];

	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(target_name);
	if (rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT) == 0)
		return NULL;
	return rmsync_spi_text(cxt, 0, 1);
}

char *
rmsync_store_connect(int64 user_id, const char *target_name, const char *token,
					 int item_types, char granularity, bool new_destination,
					 bool backup, bool two_way)
{
	static RmsyncPlan plan = {
		"SELECT rmsync.store_connection(rmsync.effective_user($1), $2, $3,"
		" $4, $5, $6, $7, $8)",
		8,
		{ INT8OID, TEXTOID, TEXTOID, INT4OID, CHAROID, BOOLOID, BOOLOID, BOOLOID }
	};
	static RmsyncPlan show = { "SELECT rmsync.integration_json(c)::text"
							   " FROM rmsync.integration_configs c WHERE c.id = $1",
							   1,
							   { INT8OID } };
	MemoryContext cxt = CurrentMemoryContext;
	Datum values[8];

	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(target_name);
	values[2] = CStringGetTextDatum(token);
	values[3] = Int32GetDatum(item_types);
	values[4] = CharGetDatum(granularity);
	values[5] = BoolGetDatum(new_destination);
	values[6] = BoolGetDatum(backup);
	values[7] = BoolGetDatum(two_way);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	values[0] = Int64GetDatum(rmsync_spi_int64(0, 1, 0));
	rmsync_plan_run(&show, values, NULL, SPI_OK_SELECT);
	return rmsync_spi_text(cxt, 0, 1);
}

bool
rmsync_store_lane_swap(int64 lane_id, const char *credentials)
{
	static RmsyncPlan plan = { "UPDATE rmsync.integration_configs"
							   " SET config_encrypted = backup_config_encrypted,"
							   " backup_config_encrypted = config_encrypted,"
							   /* a backup has a token of its own */
							   " access_token_encrypted = NULL,"
							   " refresh_token_encrypted = NULL,"
							   " grant_id = NULL, workspace_id = NULL,"
							   " updated_at = pg_catalog.now()"
							   " WHERE id = $1 AND " CREDENTIALS " = $2"
							   " AND backup_config_encrypted IS NOT NULL",
							   2,
							   { INT8OID, TEXTOID } };
	Datum values[2];

	values[0] = Int64GetDatum(lane_id);
	values[1] = CStringGetTextDatum(credentials);
	return rmsync_plan_run(&plan, values, NULL, SPI_OK_UPDATE) > 0;
}

bool
rmsync_store_instance_ok(void)
{
	static RmsyncPlan plan = {
		"SELECT rmsync.instance_matches() AND rmsync.attached()", 0, { 0 }
	};

	return rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT) == 1 &&
		   rmsync_spi_bool(0, 1);
}

bool
rmsync_store_attached(void)
{
	/* Naming the view locks it: until we commit, nobody can detach. */
	static RmsyncPlan plan = { "SELECT rmsync.attached() WHERE NOT EXISTS"
							   " (SELECT FROM rmsync.source_page WHERE false)",
							   0,
							   { 0 } };

	return rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT) == 1 &&
		   rmsync_spi_bool(0, 1);
}

static int32
lease_key(const char *target_name)
{
	return (int32) DatumGetUInt32(
		hash_any((const unsigned char *) target_name, strlen(target_name)));
}

bool
rmsync_store_lease(const char *target_name)
{
	return DatumGetBool(
		DirectFunctionCall2(pg_try_advisory_lock_int4, Int32GetDatum(LEASE_CLASS),
							Int32GetDatum(lease_key(target_name))));
}

void
rmsync_store_unlease(const char *target_name)
{
	DirectFunctionCall2(pg_advisory_unlock_int4, Int32GetDatum(LEASE_CLASS),
						Int32GetDatum(lease_key(target_name)));
}

static bool
queue_lock(PGFunction how, int key)
{
	return DatumGetBool(DirectFunctionCall2(how, Int32GetDatum(QUEUE_CLASS),
											Int32GetDatum(key)));
}

bool
rmsync_store_lock_queue(bool all)
{
	if (!all)
		return queue_lock(pg_try_advisory_xact_lock_shared_int4, QUEUE_ROWS);

	/* one at a time; that one waits until the others' short writes are done */
	if (!queue_lock(pg_try_advisory_xact_lock_int4, QUEUE_ALL))
		return false;
	(void) DirectFunctionCall2(pg_advisory_xact_lock_int4,
							   Int32GetDatum(QUEUE_CLASS),
							   Int32GetDatum(QUEUE_ROWS));
	return true;
}
