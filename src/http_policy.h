/*-------------------------------------------------------------------------
 *
 * http_policy.h
 *	  The settings that say where the transport may connect.
 *
 * Private to http.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_HTTP_POLICY_H
#define RMSYNC_HTTP_POLICY_H

#include "netguard.h"

/* A copy that stays the same while libcurl works. */
typedef struct RmsyncHttpPolicy
{
	uint64		generation;		/* grows with every change */
	bool		allow_http;
	char	   *ca_file;		/* "" = the system's certificates only */
	char	   *allowed_text;
	RmsyncNetList allowed;
} RmsyncHttpPolicy;

/* Both may raise if out of memory. */
extern void rmsync_http_policy_init(RmsyncHttpPolicy *policy, MemoryContext cxt);
extern void rmsync_http_policy_refresh(RmsyncHttpPolicy *policy,
									   MemoryContext cxt);

/* "plain" = without TLS.  Never throws. */
extern bool rmsync_http_policy_permits(const RmsyncHttpPolicy *policy,
									   bool plain, RmsyncNetClass class);

#endif							/* RMSYNC_HTTP_POLICY_H */
