/*-------------------------------------------------------------------------
 *
 * store_oauth.c
 *	  SQL of the tokens that OAuth gave, and of the secrets of webhooks.
 *
 * What a user granted once serves several lanes (notion and notion-todos): its
 * tokens stand in each of their rows, and always change in all of them
 * together.  Tokens come and go as Fernet tokens only.
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

/* First key of the advisory locks on grants: "rmsz", next to those on targets. */
#define GRANT_CLASS 0x726d737a

static Datum
id_array(const RmsyncLaneList *lanes)
{
	Datum *ids = palloc(sizeof(Datum) * Max(lanes->n, 1));

	for (int i = 0; i < lanes->n; i++)
		ids[i] = Int64GetDatum(lanes->ids[i]);
	return PointerGetDatum(construct_array(ids, lanes->n, INT8OID, 8,
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

char *
rmsync_store_oauth_grant(int64 user_id, const char *target_name,
						 const char *access, const char *refresh,
						 const char *grant_id, const char *workspace_id,
						 const char **same_token, int nsame)
{
	static RmsyncPlan plan = {
		"SELECT rmsync.store_grant($1, $2, $3, $4, $5, $6, $7)::text",
		7,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID }
	};
	MemoryContext cxt = CurrentMemoryContext;
	const char *texts[] = { target_name, access, refresh, grant_id, workspace_id };
	Datum *names = palloc(sizeof(Datum) * Max(nsame, 1));
	Datum values[7];
	char nulls[8] = "       ";

	values[0] = Int64GetDatum(user_id);
	for (int i = 0; i < lengthof(texts); i++)
	{
		if (texts[i] != NULL)
			values[i + 1] = CStringGetTextDatum(texts[i]);
		else
			nulls[i + 1] = 'n';
	}
	for (int i = 0; i < nsame; i++)
		names[i] = CStringGetTextDatum(same_token[i]);
	values[6] = PointerGetDatum(
		construct_array(names, nsame, TEXTOID, -1, false, TYPALIGN_INT));
	rmsync_plan_run(&plan, values, nulls, SPI_OK_SELECT);
	return rmsync_spi_text(cxt, 0, 1);
}

void
rmsync_store_oauth_forget(int64 user_id, const char *target_name)
{
	static RmsyncPlan plan = { "UPDATE rmsync.integration_configs"
							   " SET access_token_encrypted = NULL,"
							   " refresh_token_encrypted = NULL,"
							   " grant_id = NULL, workspace_id = NULL"
							   " WHERE user_id = $1 AND target_name = $2"
							   " AND access_token_encrypted IS NOT NULL",
							   2,
							   { INT8OID, TEXTOID } };
	Datum values[2];

	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(target_name);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

char *
rmsync_store_oauth_access(MemoryContext cxt, int64 user_id,
						  const char *target_name)
{
	static RmsyncPlan plan = { "SELECT access_token_encrypted"
							   " FROM rmsync.integration_configs"
							   " WHERE user_id = $1 AND target_name = $2"
							   " AND grant_id IS NOT NULL",
							   2,
							   { INT8OID, TEXTOID } };
	Datum values[2];

	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(target_name);
	if (rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT) == 0)
		return NULL;
	return rmsync_spi_text(cxt, 0, 1);
}

void
rmsync_store_oauth_share(int64 user_id, const char *target_name, const char *from)
{
	static RmsyncPlan plan = {
		"UPDATE rmsync.integration_configs c"
		" SET access_token_encrypted = f.access_token_encrypted,"
		" refresh_token_encrypted = f.refresh_token_encrypted,"
		" grant_id = f.grant_id, workspace_id = f.workspace_id"
		" FROM rmsync.integration_configs f"
		" WHERE c.user_id = $1 AND c.target_name = $2"
		" AND f.user_id = $1 AND f.target_name = $3",
		3,
		{ INT8OID, TEXTOID, TEXTOID }
	};
	Datum values[3];

	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(target_name);
	values[2] = CStringGetTextDatum(from);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

int
rmsync_store_oauth_lanes(MemoryContext cxt, int64 user_id, const char *grant_id,
						 RmsyncGrantLane **lanes)
{
	static RmsyncPlan plan = { "SELECT id, refresh_token_encrypted"
							   " FROM rmsync.integration_configs"
							   " WHERE user_id = $1 AND grant_id = $2"
							   " AND refresh_token_encrypted IS NOT NULL"
							   " ORDER BY id FOR NO KEY UPDATE",
							   2,
							   { INT8OID, TEXTOID } };
	Datum values[2];
	uint64 n;

	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(grant_id);
	n = rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	*lanes = MemoryContextAllocZero(cxt, sizeof(RmsyncGrantLane) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		(*lanes)[i].lane_id = rmsync_spi_int64(i, 1, 0);
		(*lanes)[i].refresh = rmsync_spi_text(cxt, i, 2);
	}
	return (int) n;
}

void
rmsync_store_oauth_renew(const RmsyncLaneList *lanes, const char *access,
						 const char *refresh)
{
	static RmsyncPlan plan = {
		"UPDATE rmsync.integration_configs SET access_token_encrypted = $2,"
		" refresh_token_encrypted = coalesce($3, refresh_token_encrypted)"
		" WHERE id = ANY ($1)",
		3,
		{ INT8ARRAYOID, TEXTOID, TEXTOID }
	};
	Datum values[3];
	char nulls[4] = "   ";

	values[0] = id_array(lanes);
	values[1] = CStringGetTextDatum(access);
	if (refresh != NULL)
		values[2] = CStringGetTextDatum(refresh);
	else
		nulls[2] = 'n';
	rmsync_plan_run(&plan, values, nulls, SPI_OK_UPDATE);
}

void
rmsync_store_oauth_ended(const RmsyncLaneList *lanes, const char *reason)
{
	static RmsyncPlan plan = { "UPDATE rmsync.integration_configs SET state = 'auth',"
							   " state_reason = $2, state_since = pg_catalog.now(),"
							   " updated_at = pg_catalog.now()"
							   " WHERE id = ANY ($1) AND state = 'active'"
							   " AND backup_config_encrypted IS NULL",
							   2,
							   { INT8ARRAYOID, TEXTOID } };
	Datum values[2];

	values[0] = id_array(lanes);
	values[1] = CStringGetTextDatum(reason);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

int64
rmsync_store_effective_user(int64 user_id)
{
	static RmsyncPlan plan = { "SELECT coalesce(rmsync.effective_user("
							   "nullif($1, 0)), 0)",
							   1,
							   { INT8OID } };
	Datum values[1];

	values[0] = Int64GetDatum(user_id);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	return rmsync_spi_int64(0, 1, 0);
}

void
rmsync_store_webhook_secret(int64 user_id, const char *target_name,
							const char *token)
{
	static RmsyncPlan plan = {
		"INSERT INTO rmsync.webhook_secrets AS s"
		" (user_id, target_name, token_encrypted) VALUES ($1, $2, $3)"
		" ON CONFLICT (user_id, target_name) DO UPDATE SET"
		" token_encrypted = excluded.token_encrypted,"
		" subscription_id = NULL, created_at = pg_catalog.now()",
		3,
		{ INT8OID, TEXTOID, TEXTOID }
	};
	Datum values[3];

	values[0] = Int64GetDatum(user_id);
	values[1] = CStringGetTextDatum(target_name);
	values[2] = CStringGetTextDatum(token);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_INSERT);
}

void
rmsync_store_trim_webhooks(void)
{
	static RmsyncPlan plan = { "SELECT rmsync.trim_webhooks()", 0, { 0 } };

	rmsync_plan_run(&plan, NULL, NULL, SPI_OK_SELECT);
}

static int32
grant_key(int64 user_id, const char *grant_id)
{
	return (int32) DatumGetUInt64(
		hash_any_extended((const unsigned char *) grant_id, strlen(grant_id),
						  (uint64) user_id));
}

bool
rmsync_store_oauth_lock(int64 user_id, const char *grant_id)
{
	return DatumGetBool(
		DirectFunctionCall2(pg_try_advisory_lock_int4, Int32GetDatum(GRANT_CLASS),
							Int32GetDatum(grant_key(user_id, grant_id))));
}

void
rmsync_store_oauth_unlock(int64 user_id, const char *grant_id)
{
	DirectFunctionCall2(pg_advisory_unlock_int4, Int32GetDatum(GRANT_CLASS),
						Int32GetDatum(grant_key(user_id, grant_id)));
}
