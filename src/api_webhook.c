/*-------------------------------------------------------------------------
 *
 * api_webhook.c
 *	  SQL functions behind rmsync_webhook_receive(): its secrets, the check of
 *	  a signature, JSON from outside.
 *
 * What is done with an event is SQL (sql/63_webhook_receive.sql); here is what
 * SQL cannot do without having a secret in its text or failing for bad input.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hmac.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "credentials.h"
#include "json.h"
#include "store.h"
#include "target.h"

PG_FUNCTION_INFO_V1(rmsync_webhook_verification_sql);
PG_FUNCTION_INFO_V1(rmsync_webhook_signed);
PG_FUNCTION_INFO_V1(rmsync_parse_json);

#define MAX_TOKEN 4000
#define SIGNATURE_PREFIX "sha256="

/* An error context that says nothing but hides the caller's statement. */
static void
hide_statement(void *arg)
{
	errhidestmt(true);
}

/*
 * rmsync_webhook_verification(user_id bigint, target_name text, token text)
 * returns void
 */
Datum
rmsync_webhook_verification_sql(PG_FUNCTION_ARGS)
{
	ErrorContextCallback hide = { error_context_stack, hide_statement, NULL };
	int64 user_id = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);
	char *name;
	char *token;
	char *encrypted;

	pgstat_report_activity(STATE_RUNNING, "rmsync_webhook_verification(...)");
	error_context_stack = &hide;
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg(
					 "rmsync_webhook_verification() takes no null target or token")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (rmsync_target_find(name) == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("unrecognized target \"%s\"", name),
						errhint("SELECT rmsync_targets() lists the targets.")));
	token = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (token[0] == '\0' || strlen(token) > MAX_TOKEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a verification token has 1 to %d bytes", MAX_TOKEN)));

	SPI_connect();
	/* before it is encrypted: for whom is not the caller's choice alone */
	user_id = rmsync_store_effective_user(user_id);
	encrypted = rmsync_encrypt(user_id, token);
	explicit_bzero(token, strlen(token));
	rmsync_store_webhook_secret(user_id, name, encrypted);
	SPI_finish();
	error_context_stack = hide.previous;
	PG_RETURN_VOID();
}

/* HMAC-SHA256 in hexadecimal digits. */
static void
sign(const char *key, const uint8 *data, size_t len,
	 char hex[PG_SHA256_DIGEST_LENGTH * 2])
{
	static const char digits[] = "0123456789abcdef";
	uint8 mac[PG_SHA256_DIGEST_LENGTH];
	pg_hmac_ctx *ctx = pg_hmac_create(PG_SHA256);

	if (ctx == NULL || pg_hmac_init(ctx, (const uint8 *) key, strlen(key)) < 0 ||
		pg_hmac_update(ctx, data, len) < 0 ||
		pg_hmac_final(ctx, mac, sizeof(mac)) < 0)
		elog(ERROR, "could not compute a signature");
	pg_hmac_free(ctx);
	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)
	{
		hex[2 * i] = digits[mac[i] >> 4];
		hex[2 * i + 1] = digits[mac[i] & 15];
	}
}

/*
 * rmsync.webhook_signed(user_id bigint, token text, signature text,
 * body bytea) returns boolean
 */
Datum
rmsync_webhook_signed(PG_FUNCTION_ARGS)
{
	char *token = rmsync_decrypt(PG_GETARG_INT64(0),
								 text_to_cstring(PG_GETARG_TEXT_PP(1)));
	char *signature = text_to_cstring(PG_GETARG_TEXT_PP(2));
	bytea *body = PG_GETARG_BYTEA_PP(3);
	char expected[PG_SHA256_DIGEST_LENGTH * 2];
	size_t prefix = strlen(SIGNATURE_PREFIX);
	unsigned char difference = 0;

	if (token == NULL)
		PG_RETURN_BOOL(false);
	sign(token, (uint8 *) VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), expected);
	explicit_bzero(token, strlen(token));
	if (strlen(signature) != prefix + sizeof(expected) ||
		strncmp(signature, SIGNATURE_PREFIX, prefix) != 0)
		PG_RETURN_BOOL(false);

	/* in constant time: how much of a guess was right must not show */
	for (size_t i = 0; i < sizeof(expected); i++)
		difference |= (unsigned char) (expected[i] ^ signature[prefix + i]);
	PG_RETURN_BOOL(difference == 0);
}

/*
 * rmsync.parse_json(body bytea) returns jsonb, NULL if it is not JSON
 */
Datum
rmsync_parse_json(PG_FUNCTION_ARGS)
{
	bytea *body = PG_GETARG_BYTEA_PP(0);
	Jsonb *json = rmsync_json_parse(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body));

	if (json == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(json);
}
