/*-------------------------------------------------------------------------
 *
 * api_adopt.c
 *	  Takes a connection over from the host application's own sync.
 *
 * Called by rmsync_adopt(), which reads the host's row.  What the host keeps
 * is a Fernet token in its own derivation or, in old rows, the JSON itself;
 * either holds a secret, which therefore stays in memory: SQL sees the stored
 * text and what became of it, never the configuration.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "api_grant.h"
#include "credentials.h"
#include "json.h"
#include "store.h"
#include "target.h"

PG_FUNCTION_INFO_V1(rmsync_adopt_connection);

/* The host's configuration as an object; NULL with *problem set if it is none. */
static Jsonb *
host_config(int64 user_id, const char *stored, char **problem)
{
	char *plain;
	Jsonb *config;

	/* the host's own rule for rows from before it encrypted them */
	if (stored[0] == '{')
		plain = pstrdup(stored);
	else
		plain = rmsync_decrypt(user_id, stored);
	if (plain == NULL)
	{
		*problem = pstrdup(
			"The host's configuration cannot be decrypted with the server's master key.");
		return NULL;
	}
	config = rmsync_json_parse(plain, strlen(plain));
	explicit_bzero(plain, strlen(plain));
	if (config != NULL && JB_ROOT_IS_OBJECT(config))
		return config;
	*problem = pstrdup("The host's configuration is not a JSON object.");
	return NULL;
}

/*
 * The same in the target's words: the fields its schema knows, with the token
 * under its present name.  The host puts the highest page number first.
 */
static Jsonb *
mapped_config(const RmsyncTarget *target, Jsonb *host)
{
	static const char *const tokens[] = { "api_token", "access_token",
										  "notion_token" };
	static const char *const fields[] = {
		"database_id",	  "data_source_id", "workspace_id",
		"workspace_name", "database_title", "use_status_property",
		"project_id",	  "project_name"
	};
	Jsonb *known =
		rmsync_json_get(rmsync_json_parse(target->config_schema,
										  strlen(target->config_schema)),
						"properties", NULL);
	StringInfoData buf;
	Jsonb *config;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	for (int i = 0; i < lengthof(tokens); i++)
	{
		char *token = rmsync_json_get_string(host, tokens[i], NULL);

		if (token == NULL)
			continue;
		rmsync_json_field(&buf,
						  rmsync_json_get(known, "api_token", NULL)
							  ? "api_token"
							  : "access_token",
						  token);
		explicit_bzero(token, strlen(token));
		break;
	}
	for (int i = 0; i < lengthof(fields); i++)
	{
		Jsonb *value = rmsync_json_get(host, fields[i], NULL);

		if (value != NULL && rmsync_json_get(known, fields[i], NULL) != NULL)
			rmsync_json_field_raw(&buf, fields[i], rmsync_json_text(value));
	}
	if (rmsync_json_get(known, "page_order", NULL) != NULL)
		rmsync_json_field(&buf, "page_order", "newest_first");
	appendStringInfoChar(&buf, '}');
	config = rmsync_json_parse(buf.data, buf.len);
	explicit_bzero(buf.data, buf.len);
	return config;
}

/* Ids of Notion may be written with dashes or without. */
static bool
same_id(const char *a, const char *b)
{
	for (;; a++, b++)
	{
		a += strspn(a, "-");
		b += strspn(b, "-");
		if (pg_ascii_tolower((unsigned char) *a) !=
			pg_ascii_tolower((unsigned char) *b))
			return false;
		if (*a == '\0')
			return true;
	}
}

/*
 * Does a connection that is there already lead to where the host's did?  What
 * the host recorded means nothing for another database.
 */
static bool
leads_there(int64 user_id, const char *token, Jsonb *config)
{
	static const char *const keys[] = { "database_id", "project_id" };
	char *plain = rmsync_decrypt(user_id, token);
	Jsonb *ours;

	if (plain == NULL)
		return false;
	ours = rmsync_json_parse(plain, strlen(plain));
	explicit_bzero(plain, strlen(plain));
	for (int i = 0; i < lengthof(keys); i++)
	{
		char *x = rmsync_json_get_string(ours, keys[i], NULL);
		char *y = rmsync_json_get_string(config, keys[i], NULL);

		if (x != NULL && y != NULL && !same_id(x, y))
			return false;
	}
	return ours != NULL;
}

/*
 * The host may have kept what renews its token; then it is a grant.  The same
 * one may be ours already, with tokens that are newer than the host's copy.
 */
static void
make_connection(int64 user_id, const RmsyncTarget *target, Jsonb *host,
				Jsonb *config)
{
	RmsyncOauthTokens tokens = { 0 };
	int64 grant_id = 0;
	char *plain;
	char *token;

	if (target->oauth != NULL)
	{
		if (target->oauth->read(host, &tokens) != NULL)
		{
			rmsync_oauth_wipe(&tokens);
			memset(&tokens, 0, sizeof(tokens));
		}
		grant_id = rmsync_grant_of(user_id, target, config,
								   tokens.refresh_token ? tokens.grant_id : NULL);
	}
	plain = rmsync_json_text(grant_id != 0 ? rmsync_grant_strip(config) : config);
	token = rmsync_encrypt(user_id, plain);
	explicit_bzero(plain, strlen(plain));
	(void) rmsync_store_connect(user_id, target->name, token,
								target->wanted_types
									? target->wanted_types(config)
									: target->item_types,
								target->granularity == RMSYNC_PER_ITEM ? 'i' : 'n',
								false, false, false, grant_id);
	if (grant_id == 0 && tokens.refresh_token != NULL)
		(void) rmsync_grant_store(user_id, target, &tokens);
	rmsync_oauth_wipe(&tokens);
}

/*
 * Returns 'exists', 'created' (or, unless "make", 'new'), or NULL with
 * *problem set.
 */
static const char *
adopt_connection(int64 user_id, const RmsyncTarget *target, const char *stored,
				 bool make, char **problem)
{
	Jsonb *host = host_config(user_id, stored, problem);
	Jsonb *config;
	char *token;

	if (host == NULL)
		return NULL;
	config = mapped_config(target, host);
	*problem = target->check_config(config, NULL);
	if (*problem != NULL)
		return NULL;

	token = rmsync_store_lane_token(CurrentMemoryContext, user_id, target->name);
	if (token != NULL)
	{
		if (leads_there(user_id, token, config))
			return "exists";
		*problem =
			"The connection that is there already leads to another place than the host's.";
		return NULL;
	}
	if (!make)
		return "new";
	make_connection(user_id, target, host, config);
	return "created";
}

/*
 * rmsync.adopt_connection(user_id bigint, target_name text, stored text,
 *						   make boolean, OUT outcome text, OUT problem text)
 */
Datum
rmsync_adopt_connection(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const RmsyncTarget *target = rmsync_target_find(name);
	MemoryContext cxt = CurrentMemoryContext;
	TupleDesc tupdesc;
	const char *outcome;
	char *problem = NULL;
	Datum values[2] = { 0 };
	bool nulls[2] = { false, false };

	if (target == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("unrecognized target \"%s\"", name),
						errhint("SELECT rmsync_targets() lists the targets.")));
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tupdesc = BlessTupleDesc(tupdesc);

	SPI_connect();
	outcome = adopt_connection(PG_GETARG_INT64(0), target,
							   text_to_cstring(PG_GETARG_TEXT_PP(2)),
							   PG_GETARG_BOOL(3), &problem);
	if (problem != NULL)
		problem = MemoryContextStrdup(cxt, problem);
	SPI_finish();

	nulls[0] = outcome == NULL;
	nulls[1] = problem == NULL;
	if (outcome != NULL)
		values[0] = CStringGetTextDatum(outcome);
	if (problem != NULL)
		values[1] = CStringGetTextDatum(problem);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls)));
}
