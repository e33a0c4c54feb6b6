/*-------------------------------------------------------------------------
 *
 * http_policy.c
 *	  The settings that say where the transport may connect.
 *
 * Called by http.c, which must not meet a setting that changes while libcurl
 * works with it: the copy is renewed only when a request starts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "guc.h"
#include "http_policy.h"

void
rmsync_http_policy_init(RmsyncHttpPolicy *policy, MemoryContext cxt)
{
	policy->generation = 1;
	policy->allow_http = false;
	policy->ca_file = MemoryContextStrdup(cxt, "");
	policy->allowed_text = MemoryContextStrdup(cxt, "");
	policy->allowed.n = 0;
}

static void
replace_text(char **copy, MemoryContext cxt, const char *text)
{
	char *fresh = MemoryContextStrdup(cxt, text);

	pfree(*copy);
	*copy = fresh;
}

void
rmsync_http_policy_refresh(RmsyncHttpPolicy *policy, MemoryContext cxt)
{
	const char *allowed = rmsync_allowed_networks ? rmsync_allowed_networks : "";
	const char *ca_file = rmsync_ca_file ? rmsync_ca_file : "";

	if (policy->allow_http == rmsync_allow_http &&
		strcmp(policy->allowed_text, allowed) == 0 &&
		strcmp(policy->ca_file, ca_file) == 0)
		return;

	policy->allow_http = rmsync_allow_http;
	replace_text(&policy->ca_file, cxt, ca_file);
	replace_text(&policy->allowed_text, cxt, allowed);

	/* The setting's check hook lets no other text through. */
	if (!rmsync_netguard_parse(allowed, &policy->allowed, NULL))
		elog(LOG, "rmsync.allowed_networks is malformed and ignored");
	policy->generation++;
}

bool
rmsync_http_policy_permits(const RmsyncHttpPolicy *policy, bool plain,
						   RmsyncNetClass class)
{
	/* Plain text is for networks the administrator named. */
	if (plain)
		return policy->allow_http && class == RMSYNC_NET_ALLOWED;
	return class != RMSYNC_NET_DENIED;
}
