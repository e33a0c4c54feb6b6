/*-------------------------------------------------------------------------
 *
 * http.h
 *	  HTTP requests and responses as plain data, and the transport.
 *
 * http.c and http_transfer.c are the only files that include curl.  Targets
 * fill RmsyncHttpRequest and read RmsyncHttpResponse; only the engine calls
 * the transport functions.  No function here throws for anything a remote
 * side can do: network trouble is a field of the response.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_HTTP_H
#define RMSYNC_HTTP_H

#include "datatype/timestamp.h"
#include "storage/latch.h"

typedef struct RmsyncHttpHeader
{
	const char *name;
	const char *value;			/* no CR, LF or NUL (checked when sent) */
} RmsyncHttpHeader;

#define RMSYNC_HTTP_MAX_HEADERS 16

typedef struct RmsyncHttpRequest
{
	const char *method;			/* "GET", "POST", "PATCH", ... */
	const char *url;
	RmsyncHttpHeader headers[RMSYNC_HTTP_MAX_HEADERS];
	int			nheaders;
	const char *body;			/* NULL = none; must live until the response */
	size_t		body_len;
	bool		fresh_connect;	/* never on a reused connection: libcurl would
								 * silently send it twice when the peer closes
								 * early */
	bool		repeatable;		/* sending it twice is harmless; if not set,
								 * fresh_connect is implied */
	int			timeout_ms;		/* whole transfer; 0 = default */
	int			connect_timeout_ms; /* 0 = default 10000 */
	size_t		max_response;	/* bytes after decoding; 0 = 1 MB */
} RmsyncHttpRequest;

typedef enum RmsyncHttpError
{
	RMSYNC_HTTP_OK = 0,			/* a complete response with a status */
	RMSYNC_HTTP_REFUSED,		/* address forbidden or request malformed: was
								 * never sent and never will be */
	RMSYNC_HTTP_NOT_SENT,		/* DNS, connect or TLS failed: nothing was sent */
	RMSYNC_HTTP_BROKEN,			/* reset, early close, garbage after sending */
	RMSYNC_HTTP_TIMEOUT,		/* no complete answer in time, was sent */
	RMSYNC_HTTP_TOO_LARGE,		/* response passed its cap, was sent */
	RMSYNC_HTTP_CANCELLED		/* dropped by us, may have been sent */
} RmsyncHttpError;

/*
 * Strings live in the memory context given to rmsync_http_start.
 * "message" names the cause in plain words and never holds the URL's query,
 * a header or a body.
 */
typedef struct RmsyncHttpResponse
{
	RmsyncHttpError error;
	const char *message;		/* NULL if error is OK */
	int			status;			/* HTTP status, 0 if none */
	const char *body;			/* NUL-terminated, never NULL; may hold any
								 * bytes */
	size_t		body_len;
	int			retry_after_ms; /* -1 = header absent; seconds and dates are
								 * understood, clamped to one day */
	const char *etag;			/* NULL = absent */
	const char *location;		/* NULL = absent */
	const char *content_type;	/* NULL = absent */
	const char *request_id;		/* x-notion-request-id, else cf-ray, else
								 * x-request-id; NULL */
	int64		elapsed_us;
	int64		first_byte_us;	/* request start to first byte sent */
} RmsyncHttpResponse;

typedef struct RmsyncHttp RmsyncHttp;	/* one multi handle and its fds */
typedef struct RmsyncHttpTransfer RmsyncHttpTransfer;

/*
 * Called from rmsync_http_poll when a transfer has ended.  Must not throw and
 * must not call back into this module except rmsync_http_start.
 */
typedef void (*RmsyncHttpDone) (void *arg, const RmsyncHttpResponse *response);

/*
 * Creates the transport of this process (curl_global_init included, first
 * call only).  Raises ERRCODE_FEATURE_NOT_SUPPORTED if libcurl is too old,
 * without TLS or without an asynchronous resolver.  Lives until the process
 * ends or rmsync_http_destroy.
 */
extern RmsyncHttp *rmsync_http_create(int max_connections);
extern void rmsync_http_destroy(RmsyncHttp *http);

/*
 * File descriptor that becomes readable when a transfer needs
 * rmsync_http_poll: add it to a WaitEventSet once.
 */
extern int	rmsync_http_fd(RmsyncHttp *http);

/*
 * Starts a transfer.  The request is copied except its body.  The response is
 * allocated in "cxt".  Always ends in exactly one call of "done", never from
 * inside this function.  Returns NULL (and queues the callback with
 * RMSYNC_HTTP_REFUSED) if the request is malformed.
 */
extern RmsyncHttpTransfer *rmsync_http_start(RmsyncHttp *http,
											 const RmsyncHttpRequest *request,
											 MemoryContext cxt,
											 RmsyncHttpDone done, void *arg);

/*
 * Drives transfers without blocking: at most "max_events" sockets and
 * "max_events" completions.  Returns the number of completions reported.
 */
extern int	rmsync_http_poll(RmsyncHttp *http, int max_events);

/*
 * Milliseconds until rmsync_http_poll must be called even if the descriptor
 * stays quiet; -1 = no such time, 0 = now.
 */
extern long rmsync_http_wait_ms(RmsyncHttp *http);

extern int	rmsync_http_active(RmsyncHttp *http);

/* Totals since rmsync_http_create. */
typedef struct RmsyncHttpStats
{
	uint64		requests;		/* started */
	uint64		connections;	/* sockets opened */
	uint64		bytes_sent;		/* of ended transfers, without TLS's share */
	uint64		bytes_received; /* likewise, before decoding */
} RmsyncHttpStats;

extern void rmsync_http_stats(RmsyncHttp *http, RmsyncHttpStats *stats);

/*
 * Drops every transfer without calling back (process exit, DROP EXTENSION,
 * an error in a foreground run).  Closes nothing, so that it cannot block.
 * Afterwards nothing but rmsync_http_destroy may be done.
 */
extern void rmsync_http_abandon(RmsyncHttp *http);

/* Adds one header; raises on overflow (a bug of the target). */
extern void rmsync_http_header(RmsyncHttpRequest *request, const char *name,
							   const char *value);

/* One line for rmsync_health(): versions of libcurl and its TLS library. */
extern const char *rmsync_http_build_info(void);

#endif							/* RMSYNC_HTTP_H */
