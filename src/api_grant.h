/*-------------------------------------------------------------------------
 *
 * api_grant.h
 *	  Connections and the OAuth grants they use.
 *
 * All of it runs inside a transaction, with SPI connected.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_API_GRANT_H
#define RMSYNC_API_GRANT_H

#include "target.h"
#include "utils/jsonb.h"

/*
 * For error_context_stack: hides the caller's statement, which may hold
 * secrets, from whatever reports an error.
 */
extern void rmsync_hide_statement(void *arg);

/*
 * The grant that a connection with this configuration is to use; 0 = it has a
 * credential of its own.  "external_id" is the service's name for it, NULL =
 * not known.  Locks the user's connections.
 */
extern int64 rmsync_grant_of(int64 user_id, const RmsyncTarget *target,
							 Jsonb *config, const char *external_id);

/* The configuration of a connection that uses a grant, as it is stored. */
extern Jsonb *rmsync_grant_strip(Jsonb *config);

/*
 * The same as a target reads it, with something in the place of the token; not
 * to be stored or sent.
 */
extern Jsonb *rmsync_grant_shown(Jsonb *config);

/*
 * Stores tokens as a grant of the user, for this connection and for others as
 * rmsync_oauth_store() says.  Returns the connection as JSON text.
 */
extern char *rmsync_grant_store(int64 user_id, const RmsyncTarget *target,
								const RmsyncOauthTokens *tokens);

#endif							/* RMSYNC_API_GRANT_H */
