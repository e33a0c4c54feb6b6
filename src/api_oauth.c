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

#include "credentials.h"
#include "json.h"
#include "store.h"
#include "target.h"

PG_FUNCTION_INFO_V1(rmsync_oauth_store_sql);

#define MAX_SIBLINGS 16

/* An error context that says nothing but hides the caller's statement. */
static void
hide_statement(void *arg)
{
	errhidestmt(true);
}

static const RmsyncOauth *
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
	return target->oauth;
}

/* The token a connection was made with, palloc'd; NULL = none that opens. */
static char *
configured_token(int64 user_id, const RmsyncTarget *target)
{
	char *stored =
		rmsync_store_lane_token(CurrentMemoryContext, user_id, target->name);
	char *plain = stored ? rmsync_decrypt(user_id, stored) : NULL;
	char *token = NULL;
	Jsonb *config;

	if (plain == NULL)
		return NULL;
	config = rmsync_json_parse(plain, strlen(plain));
	if (config != NULL && target->credential != NULL)
		token = target->credential(config);
	explicit_bzero(plain, strlen(plain));
	if (config != NULL)
		explicit_bzero(config, VARSIZE(config));
	return token;
}

/*
 * The user's other connections that were made with the token which now comes
 * from OAuth, or with the one it takes the place of: applications keep a copy
 * in each.  Returns names of targets.
 */
static int
same_token(int64 user_id, const RmsyncTarget *target, const char *access,
		   const char **names)
{
	char *mine = configured_token(user_id, target);
	int n = 0;

	for (int i = 0; rmsync_targets[i] != NULL; i++)
	{
		const RmsyncTarget *other = rmsync_targets[i];
		char *theirs;

		if (other == target || other->oauth != target->oauth || n == MAX_SIBLINGS)
			continue;
		theirs = configured_token(user_id, other);
		if (theirs == NULL)
			continue;
		if (strcmp(theirs, access) == 0 ||
			(mine != NULL && strcmp(theirs, mine) == 0))
			names[n++] = other->name;
		explicit_bzero(theirs, strlen(theirs));
	}
	if (mine != NULL)
		explicit_bzero(mine, strlen(mine));
	return n;
}

static char *
store_grant(int64 user_id, const char *target_name, Jsonb *response)
{
	MemoryContext cxt = CurrentMemoryContext;
	RmsyncOauthTokens tokens;
	const char *problem = need_oauth(target_name)->read(response, &tokens);
	const char *names[MAX_SIBLINGS];
	char *access;
	char *refresh = NULL;
	char *result;
	int n;

	if (problem != NULL)
	{
		rmsync_oauth_wipe(&tokens);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid token response"), errdetail("%s", problem)));
	}
	SPI_connect();
	/* refuses another user's */
	user_id = rmsync_store_effective_user(user_id);
	access = rmsync_encrypt(user_id, tokens.access_token);
	if (tokens.refresh_token != NULL)
		refresh = rmsync_encrypt(user_id, tokens.refresh_token);
	n = same_token(user_id, rmsync_target_find(target_name),
				   tokens.access_token, names);
	rmsync_oauth_wipe(&tokens);

	result = rmsync_store_oauth_grant(user_id, target_name, access, refresh,
									  tokens.grant_id, tokens.workspace_id,
									  names, n);
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
	ErrorContextCallback hide = { error_context_stack, hide_statement, NULL };
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
