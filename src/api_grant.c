/*-------------------------------------------------------------------------
 *
 * api_grant.c
 *	  Connections and the OAuth grants they use.
 *
 * Called by the functions that make connections (rmsync_connect, rmsync_adopt)
 * and by the one that takes tokens (rmsync_oauth_store).
 *
 * An application knows a grant by the tokens it has seen: those it was given by
 * the service, and those it made connections with.  Some are long dead, as we
 * renew them and do not tell.  Digests of them are kept with the grant; the
 * tokens must never be, nor stand in a configuration besides.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "api_grant.h"
#include "credentials.h"
#include "fingerprint.h"
#include "json.h"
#include "store.h"

#define MAX_TARGETS 16

/* Fields that name a token; those of all services that have grants. */
static const char *const token_keys[] = { "api_token", "access_token",
										  "notion_token" };

void
rmsync_hide_statement(void *arg)
{
	errhidestmt(true);
}

/* The token a configuration names, palloc'd; NULL = none. */
static char *
token_of(Jsonb *config)
{
	for (int i = 0; i < lengthof(token_keys); i++)
	{
		char *token = rmsync_json_get_string(config, token_keys[i], NULL);

		if (token != NULL)
			return token;
	}
	return NULL;
}

/* Does it say anything about a token, be it nonsense? */
static bool
names_token(Jsonb *config)
{
	for (int i = 0; i < lengthof(token_keys); i++)
	{
		if (rmsync_json_get(config, token_keys[i], NULL) != NULL)
			return true;
	}
	return false;
}

static void
wipe(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
}

/* Equal tokens of two users have nothing in common. */
static char *
digest(int64 user_id, const char *token)
{
	char *text = psprintf("rmsync token of " INT64_FORMAT ": %s", user_id, token);
	char *hash = palloc(RMSYNC_HASH_LEN + 1);

	rmsync_sha256_hex(text, strlen(text), hash);
	wipe(text);
	return hash;
}

int64
rmsync_grant_of(int64 user_id, const RmsyncTarget *target, Jsonb *config,
				const char *external_id)
{
	RmsyncConnection *connections;
	char *token = token_of(config);
	char *name = NULL;

	if (target->oauth == NULL || (token == NULL && names_token(config)))
		return 0;
	if (token != NULL)
		name = digest(user_id, token);
	wipe(token);
	(void) rmsync_store_connections(CurrentMemoryContext, user_id, &connections);
	return rmsync_store_oauth_choose(user_id, target->service, target->name,
									 name, external_id);
}

Jsonb *
rmsync_grant_strip(Jsonb *config)
{
	for (int i = 0; i < lengthof(token_keys); i++)
		config = DatumGetJsonbP(
			DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(config),
								CStringGetTextDatum(token_keys[i])));
	return config;
}

Jsonb *
rmsync_grant_shown(Jsonb *config)
{
	static const char token[] = "{\"api_token\": \"oauth\"}";

	return rmsync_json_merge(rmsync_grant_strip(config),
							 rmsync_json_parse(token, strlen(token)));
}

/* A stored configuration; NULL if no key opens it. */
static Jsonb *
opened(int64 user_id, const char *stored)
{
	char *plain = rmsync_decrypt(user_id, stored);
	Jsonb *config;

	if (plain == NULL)
		return NULL;
	config = rmsync_json_parse(plain, strlen(plain));
	wipe(plain);
	return config != NULL && JB_ROOT_IS_OBJECT(config) ? config : NULL;
}

/* The same without a token, encrypted.  NULL = it stays. */
static char *
stripped(int64 user_id, Jsonb *config)
{
	char *plain;
	char *stored;

	if (config == NULL || !names_token(config))
		return NULL;
	plain = rmsync_json_text(rmsync_grant_strip(config));
	stored = rmsync_encrypt(user_id, plain);
	wipe(plain);
	return stored;
}

/* The token this connection was made with; NULL = none that opens. */
static char *
made_with(int64 user_id, const RmsyncTarget *target,
		  const RmsyncConnection *connections, int n)
{
	char *token = NULL;

	for (int i = 0; i < n; i++)
	{
		Jsonb *config;

		if (strcmp(connections[i].target_name, target->name) != 0)
			continue;
		config = opened(user_id, connections[i].config);
		if (config == NULL)
			continue;
		token = token_of(config);
		explicit_bzero(config, VARSIZE(config));
	}
	return token;
}

/*
 * Whose connections are to use the grant that have not: the one it was granted
 * for, and the user's others that were made with the token which now comes from
 * OAuth, or with the one it takes the place of.  Applications keep a copy in
 * each.  "mine" is the token this connection was made with, or NULL.
 */
static void
find_joining(int64 user_id, const RmsyncTarget *target, const char *access,
			 const char *mine, const RmsyncConnection *connections, int n,
			 RmsyncGrant *grant)
{
	for (int i = 0; i < n && grant->njoining < MAX_TARGETS; i++)
	{
		const RmsyncConnection *c = &connections[i];
		const RmsyncTarget *other = rmsync_target_find(c->target_name);
		bool own = strcmp(c->target_name, target->name) == 0;
		Jsonb *config;
		char *token;

		if (other == NULL || other->oauth != target->oauth ||
			(!own && c->grant_id != 0))
			continue;
		config = opened(user_id, c->config);
		token = config ? token_of(config) : NULL;
		if (own ||
			(token != NULL && (strcmp(token, access) == 0 ||
							   (mine != NULL && strcmp(token, mine) == 0))))
		{
			grant->joining[grant->njoining] = c->target_name;
			grant->configs[grant->njoining++] = stripped(user_id, config);
		}
		wipe(token);
		if (config != NULL)
			explicit_bzero(config, VARSIZE(config));
	}
}

char *
rmsync_grant_store(int64 user_id, const RmsyncTarget *target,
				   const RmsyncOauthTokens *tokens)
{
	RmsyncConnection *connections;
	const char *names[2];
	const char *joining[MAX_TARGETS];
	const char *configs[MAX_TARGETS];
	RmsyncGrant grant = { .service = target->service,
						  .external_id = tokens->grant_id,
						  .workspace_id = tokens->workspace_id,
						  .named = names,
						  .joining = joining,
						  .configs = configs };
	int n = rmsync_store_connections(CurrentMemoryContext, user_id, &connections);
	char *mine = made_with(user_id, target, connections, n);

	names[grant.nnamed++] = digest(user_id, tokens->access_token);
	if (mine != NULL)
		names[grant.nnamed++] = digest(user_id, mine);
	grant.access = rmsync_encrypt(user_id, tokens->access_token);
	if (tokens->refresh_token != NULL)
		grant.refresh = rmsync_encrypt(user_id, tokens->refresh_token);
	find_joining(user_id, target, tokens->access_token, mine, connections, n,
				 &grant);
	wipe(mine);
	return rmsync_store_oauth_grant(user_id, target->name, &grant);
}
