/*-------------------------------------------------------------------------
 *
 * notion_oauth.c
 *	  Renewing a token of Notion's OAuth (contracts: POST /oauth/token).
 *
 * Called by the engine when Notion does not accept an access token any more,
 * and by rmsync_oauth_store() to read what the application's callback got.
 * Notion does not say how long a token lives, so nothing is renewed before it
 * is refused.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"

#include "json.h"
#include "target_notion.h"
#include "target_oauth.h"

#define MAX_TOKEN 4000

void
rmsync_oauth_wipe(RmsyncOauthTokens *tokens)
{
	if (tokens->access_token != NULL)
		explicit_bzero(tokens->access_token, strlen(tokens->access_token));
	if (tokens->refresh_token != NULL)
		explicit_bzero(tokens->refresh_token, strlen(tokens->refresh_token));
}

/* Basic authentication, RFC 7617. */
static char *
basic_auth(const RmsyncOauthClient *client)
{
	char *pair = psprintf("%s:%s", client->id, client->secret);
	int len = (int) strlen(pair);
	int size = pg_b64_enc_len(len);
	char *header = palloc(size + 7);
	int n;

	memcpy(header, "Basic ", 6);
	n = pg_b64_encode((void *) pair, len, header + 6, size);
	header[6 + Max(n, 0)] = '\0';
	explicit_bzero(pair, len);
	return header;
}

static void
notion_refresh(const RmsyncOauthClient *client, const char *refresh_token,
			   RmsyncHttpRequest *request)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "grant_type", "refresh_token");
	rmsync_json_field(&buf, "refresh_token", refresh_token);
	appendStringInfoChar(&buf, '}');

	memset(request, 0, sizeof(*request));
	request->method = "POST";
	request->url = psprintf("%s/oauth/token", client->base_url);
	request->body = buf.data;
	request->body_len = buf.len;

	/* a second arrival would find its token used up by the first */
	request->repeatable = false;
	request->fresh_connect = true;
	rmsync_http_header(request, "Authorization", basic_auth(client));
	rmsync_http_header(request, "Notion-Version", RMSYNC_NOTION_API_VERSION);
	rmsync_http_header(request, "Content-Type", "application/json");
}

/* It goes into a header. */
static bool
plausible_token(const char *token)
{
	size_t len = strlen(token);

	if (len == 0 || len > MAX_TOKEN)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if ((unsigned char) token[i] <= ' ' || (unsigned char) token[i] >= 0x7f)
			return false;
	}
	return true;
}

static const char *
notion_read(Jsonb *json, RmsyncOauthTokens *tokens)
{
	memset(tokens, 0, sizeof(*tokens));
	if (json == NULL || !JB_ROOT_IS_OBJECT(json))
		return "It must be the JSON object that Notion answered.";
	tokens->access_token = rmsync_json_get_string(json, "access_token", NULL);
	tokens->refresh_token = rmsync_json_get_string(json, "refresh_token", NULL);
	tokens->grant_id = rmsync_json_get_string(json, "bot_id", NULL);
	tokens->workspace_id = rmsync_json_get_string(json, "workspace_id", NULL);
	if (tokens->grant_id == NULL)
		tokens->grant_id = tokens->workspace_id;
	if (tokens->access_token == NULL || !plausible_token(tokens->access_token))
		return "Field \"access_token\" is missing or is not a token.";
	if (tokens->refresh_token != NULL && !plausible_token(tokens->refresh_token))
		return "Field \"refresh_token\" is not a token.";
	return NULL;
}

/*
 * The refusal's code.  Errors come in Notion's form or in that of RFC 6749.
 */
static bool
says(Jsonb *reply, const char *what)
{
	char *code = rmsync_json_get_string(reply, "code", NULL);
	char *error = rmsync_json_get_string(reply, "error", NULL);

	return (code != NULL && strcmp(code, what) == 0) ||
		   (error != NULL && strcmp(error, what) == 0);
}

static RmsyncOauthVerdict
refusal(const RmsyncHttpResponse *response, Jsonb *reply)
{
	/* 529 is Notion's overload; nothing was done */
	if (response->status == 429 || response->status == 529)
		return RMSYNC_OAUTH_LATER;
	if (response->status >= 400 && response->status < 500)
	{
		if (says(reply, "invalid_grant"))
			return RMSYNC_OAUTH_DEAD;
		/* a firewall in between does not answer in JSON */
		return reply == NULL ? RMSYNC_OAUTH_LATER : RMSYNC_OAUTH_CLIENT;
	}
	return RMSYNC_OAUTH_UNKNOWN;
}

static RmsyncOauthVerdict
notion_answer(const RmsyncHttpResponse *response, RmsyncOauthTokens *tokens)
{
	Jsonb *reply;
	RmsyncOauthVerdict verdict;

	memset(tokens, 0, sizeof(*tokens));
	if (response->error == RMSYNC_HTTP_REFUSED ||
		response->error == RMSYNC_HTTP_NOT_SENT)
		return RMSYNC_OAUTH_LATER;
	if (response->error != RMSYNC_HTTP_OK)
		return RMSYNC_OAUTH_UNKNOWN;
	reply = rmsync_json_parse(response->body, response->body_len);
	if (response->status == 200 && notion_read(reply, tokens) == NULL)
		verdict = RMSYNC_OAUTH_RENEWED;
	else
		verdict = refusal(response, reply);
	if (reply != NULL)
		explicit_bzero(reply, VARSIZE(reply));
	return verdict;
}

const RmsyncOauth rmsync_notion_oauth = { .refresh = notion_refresh,
										  .answer = notion_answer,
										  .read = notion_read };
