/*-------------------------------------------------------------------------
 *
 * target_webhook.h
 *	  What the files of target 'webhook' share: target_webhook.c (events),
 *	  webhook_config.c (configuration), webhook_ping.c (test).
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_TARGET_WEBHOOK_H
#define RMSYNC_TARGET_WEBHOOK_H

#include "http.h"
#include "target.h"

#define RMSYNC_WEBHOOK_MAX_SECRETS 4
#define RMSYNC_WEBHOOK_MAX_SECRET 64	/* bytes of one */

/* content-type, webhook-id, -timestamp and -signature, and one to spare */
#define RMSYNC_WEBHOOK_MAX_CUSTOM (RMSYNC_HTTP_MAX_HEADERS - 5)

#define RMSYNC_WEBHOOK_DEFAULT_IN_FLIGHT 5

typedef struct WebhookSecret
{
	uint8		key[RMSYNC_WEBHOOK_MAX_SECRET];
	int			len;
} WebhookSecret;

typedef struct WebhookConfig
{
	char	   *url;
	char	   *app_url;		/* without a slash at its end */
	bool		thin;
	int			types;			/* RMSYNC_TYPE_BIT()s */
	double		rate_limit;		/* per second, 0 = none */
	int			max_in_flight;
	WebhookSecret secrets[RMSYNC_WEBHOOK_MAX_SECRETS];
	int			nsecrets;
	RmsyncHttpHeader custom[RMSYNC_WEBHOOK_MAX_CUSTOM];
	int			ncustom;
} WebhookConfig;

extern const char rmsync_webhook_config_schema[];

/*
 * Reads the configuration.  Returns NULL or a palloc'd message that names the
 * field and never shows a value.  *config holds secrets even then: wipe it.
 */
extern char *rmsync_webhook_read_config(Jsonb *json, WebhookConfig *config,
										char **hint);

/* The vtable's functions about configuration. */
extern char *rmsync_webhook_check_config(Jsonb *json, char **hint);
extern int	rmsync_webhook_wanted_types(Jsonb *json);
extern void rmsync_webhook_lane_limits(Jsonb *json, const char *remote,
									   RmsyncTargetLimits *limits);

/* The header webhook-signature for "id.timestamp.body"; palloc'd. */
extern char *rmsync_webhook_signatures(const WebhookConfig *config,
									   const char *data, size_t len);

/*
 * Fills a request that is zeroed.  "buf" holds
 * "id.seconds." and, from "prefix" on, the body; it and the strings must live
 * as long as the request.
 */
extern void rmsync_webhook_request(const WebhookConfig *config, const char *id,
								   const char *seconds, const StringInfo buf,
								   int prefix, RmsyncHttpRequest *request);

/* For a memory context's reset callback: secrets do not outlive their use. */
extern void rmsync_webhook_wipe(void *arg);

/* The vtable's "test". */
extern void rmsync_webhook_test(RmsyncProbe *probe);

#endif							/* RMSYNC_TARGET_WEBHOOK_H */
