/*-------------------------------------------------------------------------
 *
 * http_message.h
 *	  Requests checked and response heads read, without libcurl.
 *
 * Private to http.c and its tests.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_HTTP_MESSAGE_H
#define RMSYNC_HTTP_MESSAGE_H

#include "http.h"

/* A server that sends more than this in front of its body is broken. */
#define RMSYNC_HTTP_MAX_HEAD_BYTES (64 * 1024)
#define RMSYNC_HTTP_MAX_HEAD_LINES 256

#define RMSYNC_HTTP_MAX_URL 8192
#define RMSYNC_HTTP_MAX_HEADER_VALUE (16 * 1024)

#define RMSYNC_HTTP_RETRY_AFTER_CAP (24 * 60 * 60)	/* s */

/* Lines of a request's head: its headers and two of ours. */
#define RMSYNC_HTTP_MAX_LINES (RMSYNC_HTTP_MAX_HEADERS + 2)

#define RMSYNC_HTTP_MESSAGE_SIZE 256

/* What we keep of a response's head; empty text = absent. */
typedef struct RmsyncHttpHead
{
	size_t		bytes;
	int			lines;
	bool		overflow;		/* passed its limits */
	bool		complete;		/* blank line seen: what follows is a trailer */
	int			id_rank;		/* which header gave request_id */
	char		retry_after[64];
	char		etag[256];
	char		location[2048];
	char		content_type[128];
	char		request_id[128];
} RmsyncHttpHead;

/* A response's body, decoded so far. */
typedef struct RmsyncHttpBody
{
	MemoryContext cxt;
	char	   *data;
	size_t		len;
	size_t		size;
	size_t		max;
	bool		overflow;		/* would have passed "max" */
	bool		no_memory;
} RmsyncHttpBody;

/* How far a transfer got. */
typedef enum RmsyncHttpPhase
{
	RMSYNC_HTTP_PHASE_RESOLVE,
	RMSYNC_HTTP_PHASE_CONNECT,
	RMSYNC_HTTP_PHASE_WAIT,
	RMSYNC_HTTP_PHASE_RESPONSE
} RmsyncHttpPhase;

/* How a transfer ended, in terms that do not need libcurl. */
typedef struct RmsyncHttpEnd
{
	bool		complete;		/* libcurl reported success */
	bool		sent;			/* the request may have reached the peer */
	bool		refused;		/* malformed or address not permitted */
	bool		malformed;		/* libcurl could not use the URL */
	bool		too_large;
	bool		no_memory;
	bool		timed_out;
	RmsyncHttpPhase phase;
	long		timeout_ms;
	const char *problem;		/* why it was not even tried, or NULL */
	const char *text;			/* libcurl's reason */
} RmsyncHttpEnd;

/*
 * The functions on heads and bodies are called from inside libcurl: they never
 * throw.  False = the transfer must be given up; the reason is in the struct.
 */
extern void rmsync_http_head_init(RmsyncHttpHead *head);
extern bool rmsync_http_head_line(RmsyncHttpHead *head, const char *line,
								  size_t len);

/* Keeps the buffer of the last response, if any. */
extern void rmsync_http_body_init(RmsyncHttpBody *body, MemoryContext cxt,
								  size_t max);
extern bool rmsync_http_body_append(RmsyncHttpBody *body, const char *data,
									size_t len);

/* Frees a buffer larger than "size". */
extern void rmsync_http_body_trim(RmsyncHttpBody *body, size_t size);

/*
 * The head lines of a request: bytes they need, and the lines themselves,
 * written to a buffer of that size; returns their number.
 */
extern size_t rmsync_http_header_size(const RmsyncHttpRequest *request);
extern int	rmsync_http_header_lines(const RmsyncHttpRequest *request,
									 char *buffer, char **lines);
extern bool rmsync_http_has_body(const RmsyncHttpRequest *request);

/* The verdict on a transfer and, unless OK, its cause in plain words. */
extern RmsyncHttpError rmsync_http_judge(const RmsyncHttpEnd *end,
										 char message[RMSYNC_HTTP_MESSAGE_SIZE]);

/* Seconds of an all-digits Retry-After, clamped; -1 = it is something else. */
extern int	rmsync_http_retry_seconds(const char *value);

/* NULL, or why the request must not be sent. */
extern const char *rmsync_http_request_problem(const RmsyncHttpRequest *request);

/*
 * Copies the texts of a response into one chunk of "cxt" and points
 * "response" at them.  False = out of memory (texts are then constants).
 */
extern bool rmsync_http_pack(RmsyncHttpResponse *response, MemoryContext cxt,
							 const RmsyncHttpHead *head,
							 const RmsyncHttpBody *body, const char *message);

#endif							/* RMSYNC_HTTP_MESSAGE_H */
