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

/* Milliseconds since or until a time in the notes about limits. */
#define LIMITS_TIME(name) "(service_limits ->> '" name "')::timestamptz"
#define LIMITS_AGE(name) \
	"(extract(epoch FROM pg_catalog.now() - " LIMITS_TIME(name) ") * 1000)::bigint"
#define LIMITS_LEFT(name) \
	"greatest(0, (extract(epoch FROM " LIMITS_TIME( \
		name) " - pg_catalog.now()) * 1000)::bigint)"

/* What a lane sends with, as text; of integration_configs c, oauth_grants g. */
#define CREDENTIALS \
	"pg_catalog.concat_ws(' ', c.config_encrypted, g.access_token_encrypted)"
#define LANE_AND_GRANT \
	" FROM rmsync.integration_configs c" \
	" LEFT JOIN rmsync.oauth_grants g ON g.id = c.grant_id"
#define SAME_CREDENTIALS(arg) \
	" " arg " = (SELECT " CREDENTIALS \
	" FROM (SELECT) x LEFT JOIN rmsync.oauth_grants g ON g.id = c.grant_id)"

bool
rmsync_store_lane(MemoryContext cxt, int64 lane_id, RmsyncLaneRow *row)
{
	static RmsyncPlan plan = {
		"SELECT c.user_id, target_name, is_enabled, state, config_encrypted,"
		" backup_config_encrypted, remote::text, config_epoch, fail_streak,"
		" CASE WHEN blocked_until > pg_catalog.now()"
		" THEN (extract(epoch FROM blocked_until - pg_catalog.now()) * 1000)::bigint"
		" ELSE 0 END, total_items_synced, coalesce(g.id, 0),"
		" coalesce(g.generation, 0), g.external_id, g.workspace_id,"
		" g.access_token_encrypted, g.refresh_token_encrypted, " CREDENTIALS ","
		" coalesce(remote ->> 'stale' = 'true', false),"
		" (service_limits ->> 'requests_per_minute')::int, " LIMITS_AGE(
			"found_at") ","
						" (service_limits ->> 'reduced_to')::int, " LIMITS_AGE(
							"reduced_at") ","
										  " " LIMITS_LEFT("closed_until") ", " LIMITS_LEFT(
											  "workspace_closed_until") ","
																		" (extract(epoch FROM pg_catalog.now() - created_at) * 1000)::bigint" LANE_AND_GRANT
																		" WHERE c.id = $1",
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
	row->grant_id = rmsync_spi_int64(0, 12, 0);
	row->grant_generation = rmsync_spi_int64(0, 13, 0);
	row->grant_name = rmsync_spi_text(cxt, 0, 14);
	row->workspace_id = rmsync_spi_text(cxt, 0, 15);
	row->access = rmsync_spi_text(cxt, 0, 16);
	row->refresh = rmsync_spi_text(cxt, 0, 17);
	row->credentials = rmsync_spi_text(cxt, 0, 18);
	row->stale = rmsync_spi_bool(0, 19);
	row->limits.limit = rmsync_spi_int(0, 20, 0);
	row->limits.limit_age_ms = rmsync_spi_int64(0, 21, 0);
	row->limits.reduced = rmsync_spi_int(0, 22, 0);
	row->limits.reduced_age_ms = rmsync_spi_int64(0, 23, 0);
	row->limits.closed_ms = rmsync_spi_int64(0, 24, 0);
	row->limits.workspace_closed_ms = rmsync_spi_int64(0, 25, 0);
	row->limits.made_age_ms = rmsync_spi_int64(0, 26, 0);
	return true;
}

int
rmsync_store_unopened(MemoryContext cxt, const char *reason, RmsyncLaneRow **rows)
{
	static RmsyncPlan plan = { "SELECT c.id, c.user_id, config_encrypted,"
							   " access_token_encrypted, " CREDENTIALS LANE_AND_GRANT
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
	static RmsyncPlan plan = {
		"SELECT id FROM rmsync.integration_configs"
		" WHERE id = ANY ($1) AND blocked_until IS NULL"
		" AND fail_streak = 0"
		" AND coalesce(greatest(" LIMITS_TIME("closed_until") ", " LIMITS_TIME(
			"workspace_closed_until") ") <= pg_catalog.now(), true)",
		1,
		{ INT8ARRAYOID }
	};
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

/*
 * What a lane sends with must not change between a look at it and a write: its
 * row is locked, and that of its grant.  The next statement sees what others
 * have written meanwhile.
 */
static void
lock_credentials(int64 lane_id)
{
	static RmsyncPlan plan = { "WITH c AS (SELECT grant_id"
							   " FROM rmsync.integration_configs WHERE id = $1"
							   " FOR NO KEY UPDATE)"
							   " SELECT FROM rmsync.oauth_grants"
							   " WHERE id = (SELECT grant_id FROM c) FOR SHARE",
							   1,
							   { INT8OID } };
	Datum values[1];

	values[0] = Int64GetDatum(lane_id);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
}

bool
rmsync_store_lane_state(int64 lane_id, RmsyncLaneState state, const char *code,
						const char *reason, const char *credentials)
{
	static RmsyncPlan plan = {
		"UPDATE rmsync.integration_configs c SET state = $2, state_reason = $3,"
		" state_code = $5, state_since = pg_catalog.now(),"
		" updated_at = pg_catalog.now()"
		" WHERE id = $1 AND state <> $2 AND" SAME_CREDENTIALS("$4"),
		5,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID }
	};
	Datum values[5];
	char nulls[6] = "     ";

	lock_credentials(lane_id);
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
rmsync_store_lane_limits(int64 lane_id, const RmsyncLimitsRow *limits)
{
	static RmsyncPlan plan = {
		"UPDATE rmsync.integration_configs SET service_limits ="
		" pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object("
		" 'requests_per_minute', nullif($2, 0),"
		" 'found_at', CASE WHEN $2 > 0 THEN pg_catalog.now() - $3 * interval '1 millisecond' END,"
		" 'reduced_to', nullif($4, 0),"
		" 'reduced_at', CASE WHEN $4 > 0 THEN pg_catalog.now() - $5 * interval '1 millisecond' END,"
		" 'closed_until', CASE WHEN $6 > 0 THEN pg_catalog.now() + $6 * interval '1 millisecond' END,"
		" 'workspace_closed_until', CASE WHEN $7 > 0 THEN pg_catalog.now() + $7 * interval '1 millisecond' END))"
		" WHERE id = $1",
		7,
		{ INT8OID, INT4OID, INT8OID, INT4OID, INT8OID, INT8OID, INT8OID }
	};
	Datum values[7];

	values[0] = Int64GetDatum(lane_id);
	values[1] = Int32GetDatum(limits->limit);
	values[2] = Int64GetDatum(limits->limit_age_ms);
	values[3] = Int32GetDatum(limits->reduced);
	values[4] = Int64GetDatum(limits->reduced_age_ms);
	values[5] = Int64GetDatum(limits->closed_ms);
	values[6] = Int64GetDatum(limits->workspace_closed_ms);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

void
rmsync_store_closed_lanes(MemoryContext cxt, RmsyncLaneList *lanes)
{
	static RmsyncPlan plan = {
		"SELECT id FROM rmsync.integration_configs"
		" WHERE greatest(" LIMITS_TIME("closed_until") ", " LIMITS_TIME(
			"workspace_closed_until") ") > pg_catalog.now()",
		0,
		{ 0 }
	};

	lanes->n = (int) rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT);
	lanes->ids = MemoryContextAlloc(cxt, sizeof(int64) * Max(lanes->n, 1));
	for (int i = 0; i < lanes->n; i++)
		lanes->ids[i] = rmsync_spi_int64(i, 1, 0);
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
					 bool backup, bool two_way, int64 grant_id)
{
	static RmsyncPlan plan = {
		"SELECT rmsync.store_connection(rmsync.effective_user($1), $2, $3,"
		" $4, $5, $6, $7, $8, nullif($9, 0))",
		9,
		{ INT8OID, TEXTOID, TEXTOID, INT4OID, CHAROID, BOOLOID, BOOLOID,
		  BOOLOID, INT8OID }
	};
	static RmsyncPlan show = { "SELECT rmsync.integration_json(c)::text"
							   " FROM rmsync.integration_configs c WHERE c.id = $1",
							   1,
							   { INT8OID } };
	MemoryContext cxt = CurrentMemoryContext;
	Datum values[9];

	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(target_name);
	values[2] = CStringGetTextDatum(token);
	values[3] = Int32GetDatum(item_types);
	values[4] = CharGetDatum(granularity);
	values[5] = BoolGetDatum(new_destination);
	values[6] = BoolGetDatum(backup);
	values[7] = BoolGetDatum(two_way);
	values[8] = Int64GetDatum(grant_id);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	values[0] = Int64GetDatum(rmsync_spi_int64(0, 1, 0));
	rmsync_plan_run(&show, values, NULL, SPI_OK_SELECT);
	return rmsync_spi_text(cxt, 0, 1);
}

bool
rmsync_store_lane_swap(int64 lane_id, const char *credentials)
{
	static RmsyncPlan plan = { "UPDATE rmsync.integration_configs c"
							   " SET config_encrypted = backup_config_encrypted,"
							   /* without its grant that is no credential */
							   " backup_config_encrypted = CASE WHEN"
							   " grant_id IS NULL THEN config_encrypted END,"
							   " grant_id = NULL, service_limits = NULL,"
							   " updated_at = pg_catalog.now()"
							   " WHERE id = $1 AND" SAME_CREDENTIALS(
								   "$2") " AND backup_config_encrypted IS NOT NULL",
							   2,
							   { INT8OID, TEXTOID } };
	Datum values[2];

	lock_credentials(lane_id);
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
