/*-------------------------------------------------------------------------
 *
 * api_oauth.c
 *	  SQL functions that take what OAuth gave.
 *
 * What a statement says in them must not end in the server log: whatever is
 * raised below them hides the statement, and the activity text is replaced.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "api_grant.h"
#include "store.h"
#include "target.h"

PG_FUNCTION_INFO_V1(rmsync_oauth_store_sql);

static const RmsyncTarget *
need_oauth(const char *target_name)
{
	const RmsyncTarget *target = rmsync_target_find(target_name);

	if (target == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("unrecognized target \"%s\"", target_name),
						errhint("SELECT rmsync_targets() lists the targets.")));
	if (target->oauth == NULL)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("target \"%s\" does not use OAuth", target_name)));
	return target;
}

static char *
store_grant(int64 user_id, const char *target_name, Jsonb *response)
{
	MemoryContext cxt = CurrentMemoryContext;
	const RmsyncTarget *target = need_oauth(target_name);
	RmsyncOauthTokens tokens;
	const char *problem = target->oauth->read(response, &tokens);
	char *result;

	if (problem != NULL)
	{
		rmsync_oauth_wipe(&tokens);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid token response"), errdetail("%s", problem)));
	}
	SPI_connect();
	/* refuses another user's */
	result = rmsync_grant_store(rmsync_store_effective_user(user_id), target,
								&tokens);
	rmsync_oauth_wipe(&tokens);
	result = MemoryContextStrdup(cxt, result);
	SPI_finish();
	return result;
}

/*
 * rmsync_oauth_store(user_id bigint, target_name text, token_response jsonb)
 * returns jsonb
 */
Datum
rmsync_oauth_store_sql(PG_FUNCTION_ARGS)
{
	ErrorContextCallback hide = { error_context_stack, rmsync_hide_statement,
								  NULL };
	char *result;

	pgstat_report_activity(STATE_RUNNING, "rmsync_oauth_store(...)");
	error_context_stack = &hide;
	for (int i = 0; i < 3; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("rmsync_oauth_store() takes no null arguments")));
	}
	result =
		store_grant(PG_GETARG_INT64(0), text_to_cstring(PG_GETARG_TEXT_PP(1)),
					PG_GETARG_JSONB_P(2));
	error_context_stack = hide.previous;
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(result)));
}
