/*-------------------------------------------------------------------------
 *
 * http_transfer.h
 *	  The transport and its transfers, as http.c and http_transfer.c see them.
 *
 * Besides those two nobody may include this: it brings in libcurl.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_HTTP_TRANSFER_H
#define RMSYNC_HTTP_TRANSFER_H

#include <curl/curl.h>

#include "lib/ilist.h"

#include "http.h"
#include "http_message.h"
#include "http_policy.h"
#include "http_sockets.h"

#if defined(LIBCURL_VERSION_NUM) && LIBCURL_VERSION_NUM < 0x075500
#error "rmsync needs libcurl 7.85 or newer"
#endif
struct RmsyncHttpTransfer
{
	dlist_node node;
	RmsyncHttp *http;
	CURL *easy;		 /* one for life */
	uint64 settings; /* generation of the policy it was set up for */

	RmsyncHttpDone done;
	void *arg;
	MemoryContext cxt;

	bool plain;	   /* http, not https */
	bool sent;	   /* request may have reached the peer */
	bool refused;  /* refused on an open connection */
	int denied;	   /* addresses refused */
	int permitted; /* addresses not refused */
	long timeout_ms;

	RmsyncHttpHead head;
	RmsyncHttpBody body;

	/* The request's headers in libcurl's form, without its allocations. */
	struct curl_slist slist[RMSYNC_HTTP_MAX_LINES];
	char *header_text;
	size_t header_size;

	CURLcode result;
	const char *problem; /* never handed to libcurl because of this */
	char errbuf[CURL_ERROR_SIZE];
};

struct RmsyncHttp
{
	MemoryContext cxt;
	CURLM *multi;
	CURLSH *share; /* TLS sessions */
	RmsyncSockets *sockets;
	bool abandoned;

	int max_connections;
	int active; /* started and not yet reported */
	dlist_head queued;
	dlist_head running;
	dlist_head finished;
	dlist_head idle;
	int nidle;
	bool more_results; /* libcurl has results left for the next poll */

	bool has_deadline; /* libcurl wants to be called at ... */
	int64 deadline_us; /* ... this time */

	RmsyncHttpPolicy policy;
	RmsyncHttpStats stats;
};

/*
 * Sets the transfer up for a request.  If t->problem is set afterwards it must
 * not be given to libcurl.  Raises only if out of memory.
 */
extern void rmsync_transfer_prepare(RmsyncHttpTransfer *t,
									const RmsyncHttpRequest *request);

/* How the transfer ended; texts are copied to its context. */
extern void rmsync_transfer_result(RmsyncHttpTransfer *t,
								   RmsyncHttpResponse *response);
extern void rmsync_transfer_count(RmsyncHttpTransfer *t,
								  RmsyncHttpStats *stats);

/* Forgets what is secret or big; the handle stays good for another request. */
extern void rmsync_transfer_tidy(RmsyncHttpTransfer *t);
extern void rmsync_transfer_free(RmsyncHttpTransfer *t);

#endif							/* RMSYNC_HTTP_TRANSFER_H */
