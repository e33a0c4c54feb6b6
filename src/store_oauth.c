/*-------------------------------------------------------------------------
 *
 * store_oauth.c
 *	  SQL of the tokens that OAuth gave, and of the secrets of webhooks.
 *
 * A grant's tokens stand in its row and nowhere else, whichever lanes use it.
 * They come and go as Fernet tokens only.  Who needs locks on lanes and on a
 * grant takes those on the lanes first, in the order of their ids.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "store.h"

/* First key of the advisory locks on grants: "rmsz", next to those on targets. */
#define GRANT_CLASS 0x726d737a

/* An array of texts; NULL among them is a null. */
static Datum
text_array(const char **texts, int n)
{
	Datum *values = palloc(sizeof(Datum) * Max(n, 1));
	bool *nulls = palloc(sizeof(bool) * Max(n, 1));
	int dims[1] = { n };
	int lbs[1] = { 1 };

	for (int i = 0; i < n; i++)
	{
		nulls[i] = texts[i] == NULL;
		values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(texts[i]);
	}
	return PointerGetDatum(construct_md_array(values, nulls, n > 0 ? 1 : 0,
											  dims, lbs, TEXTOID, -1, false,
											  TYPALIGN_INT));
}

char *
rmsync_store_oauth_grant(int64 user_id, const char *target_name,
						 const RmsyncGrant *grant)
{
	static RmsyncPlan plan = {
		"SELECT rmsync.store_grant($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)::text",
		10,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
		  TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID }
	};
	MemoryContext cxt = CurrentMemoryContext;
	Datum values[10] = { 0 };
	char nulls[11] = "          ";

	values[0] = Int64GetDatum(user_id);
	rmsync_plan_text(values, nulls, 1, target_name);
	rmsync_plan_text(values, nulls, 2, grant->service);
	rmsync_plan_text(values, nulls, 3, grant->external_id);
	rmsync_plan_text(values, nulls, 4, grant->workspace_id);
	rmsync_plan_text(values, nulls, 5, grant->access);
	rmsync_plan_text(values, nulls, 6, grant->refresh);
	values[7] = text_array(grant->named, grant->nnamed);
	values[8] = text_array(grant->joining, grant->njoining);
	values[9] = text_array(grant->configs, grant->njoining);
	rmsync_plan_run(&plan, values, nulls, SPI_OK_SELECT);
	return rmsync_spi_text(cxt, 0, 1);
}

int
rmsync_store_connections(MemoryContext cxt, int64 user_id,
						 RmsyncConnection **connections)
{
	/* their locks are had before the next statement looks at what uses them */
	static RmsyncPlan plan = { "SELECT target_name, config_encrypted,"
							   " coalesce(grant_id, 0)"
							   " FROM rmsync.integration_configs"
							   " WHERE user_id = $1 ORDER BY id"
							   " FOR NO KEY UPDATE",
							   1,
							   { INT8OID } };
	Datum values[1];
	uint64 n;

	values[0] = Int64GetDatum(user_id);
	n = rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	*connections =
		MemoryContextAllocZero(cxt, sizeof(RmsyncConnection) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		(*connections)[i].target_name = rmsync_spi_text(cxt, i, 1);
		(*connections)[i].config = rmsync_spi_text(cxt, i, 2);
		(*connections)[i].grant_id = rmsync_spi_int64(i, 3, 0);
	}
	return (int) n;
}

int64
rmsync_store_oauth_choose(int64 user_id, const char *service,
						  const char *target_name, const char *digest,
						  const char *external_id)
{
	static RmsyncPlan plan = {
		"SELECT g.id FROM rmsync.oauth_grants g"
		" LEFT JOIN rmsync.integration_configs c ON c.grant_id = g.id"
		" AND c.user_id = $1 AND c.target_name = $3"
		" WHERE g.user_id = $1 AND g.service = $2"
		" AND CASE WHEN $4 IS NOT NULL THEN g.ended_at IS NULL"
		" AND ($4 = ANY (g.named_tokens) OR g.external_id = $5)"
		" ELSE c.id IS NOT NULL OR NOT EXISTS (SELECT FROM rmsync.oauth_grants o"
		" WHERE o.user_id = $1 AND o.service = $2 AND o.id <> g.id) END"
		" ORDER BY c.id, g.granted_at DESC, g.id LIMIT 1 FOR KEY SHARE OF g",
		5,
		{ INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID }
	};
	Datum values[5] = { 0 };
	char nulls[6] = "     ";

	values[0] = Int64GetDatum(user_id);
	rmsync_plan_text(values, nulls, 1, service);
	rmsync_plan_text(values, nulls, 2, target_name);
	rmsync_plan_text(values, nulls, 3, digest);
	rmsync_plan_text(values, nulls, 4, external_id);
	if (rmsync_plan_run(&plan, values, nulls, SPI_OK_SELECT) == 0)
		return 0;
	return rmsync_spi_int64(0, 1, 0);
}

bool
rmsync_store_oauth_renew(int64 grant_id, int64 generation, const char *access,
						 const char *refresh)
{
	static RmsyncPlan plan = {
		"UPDATE rmsync.oauth_grants SET access_token_encrypted = $3,"
		" refresh_token_encrypted = coalesce($4, refresh_token_encrypted),"
		" generation = generation + 1, renewed_at = pg_catalog.now(),"
		" ended_at = NULL"
		" WHERE id = $1 AND generation = $2",
		4,
		{ INT8OID, INT8OID, TEXTOID, TEXTOID }
	};
	Datum values[4] = { 0 };
	char nulls[5] = "    ";

	values[0] = Int64GetDatum(grant_id);
	values[1] = Int64GetDatum(generation);
	rmsync_plan_text(values, nulls, 2, access);
	rmsync_plan_text(values, nulls, 3, refresh);
	return rmsync_plan_run(&plan, values, nulls, SPI_OK_UPDATE) > 0;
}

void
rmsync_store_oauth_lanes(int64 grant_id)
{
	static RmsyncPlan plan = { "SELECT FROM rmsync.integration_configs"
							   " WHERE grant_id = $1"
							   " ORDER BY id FOR NO KEY UPDATE",
							   1,
							   { INT8OID } };
	Datum values[1];

	values[0] = Int64GetDatum(grant_id);
	rmsync_plan_run(&plan, values, NULL, SPI_OK_SELECT);
}

void
rmsync_store_oauth_ended(int64 grant_id, int64 generation, const char *reason)
{
	static RmsyncPlan plan = {
		"WITH ended AS (UPDATE rmsync.oauth_grants"
		" SET ended_at = pg_catalog.now()"
		" WHERE id = $1 AND generation = $2 RETURNING id)"
		" UPDATE rmsync.integration_configs c SET state = 'auth',"
		" state_reason = $3, state_since = pg_catalog.now(),"
		" updated_at = pg_catalog.now()"
		" FROM ended e WHERE c.grant_id = e.id AND c.state = 'active'"
		" AND c.backup_config_encrypted IS NULL",
		3,
		{ INT8OID, INT8OID, TEXTOID }
	};
	Datum values[3];

	values[0] = Int64GetDatum(grant_id);
	values[1] = Int64GetDatum(generation);
	values[2] = CStringGetTextDatum(reason);
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

bool
rmsync_store_oauth_lock(int64 grant_id)
{
	return DatumGetBool(DirectFunctionCall2(pg_try_advisory_lock_int4,
											Int32GetDatum(GRANT_CLASS),
											Int32GetDatum((int32) grant_id)));
}

void
rmsync_store_oauth_unlock(int64 grant_id)
{
	DirectFunctionCall2(pg_advisory_unlock_int4, Int32GetDatum(GRANT_CLASS),
						Int32GetDatum((int32) grant_id));
}
