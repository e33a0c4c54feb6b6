/*-------------------------------------------------------------------------
 *
 * target_oauth.h
 *	  The contract between the engine and a target whose tokens come from
 *	  OAuth: renewing them with the refresh token.
 *
 * A refresh may rotate both tokens: the old pair is dead as soon as the
 * service has answered, whether or not the answer arrived.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_TARGET_OAUTH_H
#define RMSYNC_TARGET_OAUTH_H

#include "http.h"
#include "utils/jsonb.h"

/*
 * The application as the service knows it.  base_url is the server's setting,
 * never the user's: the secret goes there.
 */
typedef struct RmsyncOauthClient
{
	const char *base_url;
	const char *id;
	const char *secret;
} RmsyncOauthClient;

/* Strings are palloc'd; secrets, but for the grant. */
typedef struct RmsyncOauthTokens
{
	char	   *access_token;
	char	   *refresh_token;	/* NULL = none given: the old one stays */
	char	   *grant_id;		/* what the user granted; stays the same over
								 * refreshes.  NULL = the answer does not say */
	char	   *workspace_id;	/* likewise */
} RmsyncOauthTokens;

typedef enum RmsyncOauthVerdict
{
	RMSYNC_OAUTH_RENEWED,
	RMSYNC_OAUTH_DEAD,			/* the refresh token is not valid (any more) */
	RMSYNC_OAUTH_CLIENT,		/* the application's own credentials or the
								 * request were refused: nobody's grant is dead */
	RMSYNC_OAUTH_LATER,			/* not done */
	RMSYNC_OAUTH_UNKNOWN		/* may have been done, the tokens are lost */
} RmsyncOauthVerdict;

typedef struct RmsyncOauth
{
	/* Fills the request; in the current memory context. */
	void		(*refresh) (const RmsyncOauthClient *client,
							const char *refresh_token,
							RmsyncHttpRequest *request);

	/* What the answer means; fills *tokens if RENEWED. */
	RmsyncOauthVerdict (*answer) (const RmsyncHttpResponse *response,
								  RmsyncOauthTokens *tokens);

	/*
	 * Reads the service's answer.  Returns NULL or what is wrong with it, as
	 * a full sentence that shows no value.
	 */
	const char *(*read) (Jsonb *json, RmsyncOauthTokens *tokens);
} RmsyncOauth;

extern const RmsyncOauth rmsync_notion_oauth;

/* Tokens must not stay in freed memory. */
extern void rmsync_oauth_wipe(RmsyncOauthTokens *tokens);

#endif							/* RMSYNC_TARGET_OAUTH_H */
