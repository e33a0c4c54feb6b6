/*-------------------------------------------------------------------------
 *
 * api_credentials.c
 *	  SQL functions to encrypt and decrypt by hand, and to check the key.
 *
 * For superusers (the install script revokes them from everybody else), to
 * test a key and to repair a lane.  They must never be called by anything
 * that handles credentials regularly: what is in a statement can be logged.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "credentials.h"

PG_FUNCTION_INFO_V1(rmsync_encrypt_sql);
PG_FUNCTION_INFO_V1(rmsync_decrypt_sql);
PG_FUNCTION_INFO_V1(rmsync_master_key_status);

/*
 * rmsync.encrypt(user_id bigint, plain text) returns text
 */
Datum
rmsync_encrypt_sql(PG_FUNCTION_ARGS)
{
	char *plain = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char *token = rmsync_encrypt(PG_GETARG_INT64(0), plain);

	explicit_bzero(plain, strlen(plain));
	PG_RETURN_TEXT_P(cstring_to_text(token));
}

/*
 * rmsync.decrypt(user_id bigint, token text) returns text, NULL if no key
 * opens the token
 */
Datum
rmsync_decrypt_sql(PG_FUNCTION_ARGS)
{
	char *plain = rmsync_decrypt(PG_GETARG_INT64(0),
								 text_to_cstring(PG_GETARG_TEXT_PP(1)));
	text *result;

	if (plain == NULL)
		PG_RETURN_NULL();
	result = cstring_to_text(plain);
	explicit_bzero(plain, strlen(plain));
	PG_RETURN_TEXT_P(result);
}

/*
 * rmsync.master_key_status() returns text, NULL if a usable key is configured
 */
Datum
rmsync_master_key_status(PG_FUNCTION_ARGS)
{
	char *why;

	if (rmsync_have_master_key(&why))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(why));
}
