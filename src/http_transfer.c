/*-------------------------------------------------------------------------
 *
 * http_transfer.c
 *	  One transfer: what libcurl is told, what it calls, what came of it.
 *
 * Called by http.c, which owns the lists and the multi handle; see there for
 * the rules.  The callbacks in this file run inside libcurl and must neither
 * throw nor call libcurl.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "utils/memutils.h"

#include "guc.h"
#include "http_transfer.h"

#define DEFAULT_CONNECT_TIMEOUT_MS 10000
#define DEFAULT_MAX_RESPONSE (1024 * 1024)

/*
 * Below this speed for this long a transfer is given up.  Longer than any
 * service takes to think about its answer (Notion's own deadline is 55 s), so
 * it only matters for requests with a generous timeout.
 */
#define LOW_SPEED_BYTES 10L
#define LOW_SPEED_SECONDS 65L

/* Load balancers drop idle connections after 60 s; be the first to let go. */
#define IDLE_CONNECTION_SECONDS 50L

#define DNS_CACHE_SECONDS 60L

/* A buffer larger than this is not kept for the next response. */
#define KEPT_BODY_SIZE (32 * 1024)

/* ---- callbacks: no ereport, no raising allocation below this line ---- */

static curl_socket_t
on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	RmsyncHttpTransfer *t = arg;
	const RmsyncHttpPolicy *policy = &t->http->policy;
	RmsyncNetClass class;
	int fd;

	class = rmsync_netguard_sockaddr(&address->addr, address->addrlen,
									 &policy->allowed);
	if (!rmsync_http_policy_permits(policy, t->plain, class))
	{
		t->denied++;
		return CURL_SOCKET_BAD;
	}
	t->permitted++;
	fd = rmsync_sockets_open(t->http->sockets, address->family,
							 address->socktype, address->protocol);
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int
on_close_socket(void *arg, curl_socket_t fd)
{
	RmsyncHttp *http = arg;

	return rmsync_sockets_close(http->sockets, fd);
}

/*
 * The connection is up and the request goes out next.  On a reused connection
 * the settings may have changed since it was made.
 */
static int
on_request_ready(void *arg, char *peer_ip, char *local_ip, int peer_port,
				 int local_port)
{
	RmsyncHttpTransfer *t = arg;
	const RmsyncHttpPolicy *policy = &t->http->policy;
	RmsyncNetClass class = rmsync_netguard_text(peer_ip, &policy->allowed);

	if (!rmsync_http_policy_permits(policy, t->plain, class))
	{
		t->refused = true;
		return CURL_PREREQFUNC_ABORT;
	}
	t->sent = true;
	return CURL_PREREQFUNC_OK;
}

static size_t
on_header(char *data, size_t size, size_t nitems, void *arg)
{
	RmsyncHttpTransfer *t = arg;
	size_t len = size * nitems;

	return rmsync_http_head_line(&t->head, data, len) ? len : 0;
}

static size_t
on_body(char *data, size_t size, size_t nitems, void *arg)
{
	RmsyncHttpTransfer *t = arg;
	size_t len = size * nitems;

	return rmsync_http_body_append(&t->body, data, len) ? len : 0;
}

/* ---- end of callbacks ---- */


/* Leaves the function on the first option libcurl does not take. */
#define SET(easy, option, value) \
	do \
	{ \
		CURLcode rc_ = curl_easy_setopt((easy), (option), (value)); \
		if (rc_ != CURLE_OK) \
			return rc_; \
	} while (0)

/* Options that no request changes. */
static CURLcode
set_common_options(RmsyncHttp *http, RmsyncHttpTransfer *t)
{
	CURL *easy = t->easy;

	SET(easy, CURLOPT_PRIVATE, t);
	SET(easy, CURLOPT_ERRORBUFFER, t->errbuf);
	SET(easy, CURLOPT_NOSIGNAL, 1L);
	SET(easy, CURLOPT_SHARE, http->share);
	SET(easy, CURLOPT_USERAGENT, "rmsync/" RMSYNC_VERSION);
	SET(easy, CURLOPT_ACCEPT_ENCODING, "");
	SET(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);

	/* Where a request may go. */
	SET(easy, CURLOPT_PROTOCOLS_STR,
		http->policy.allow_http ? "https,http" : "https");
	SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
	SET(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET(easy, CURLOPT_PROXY, ""); /* not what the environment says */
	SET(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(easy, CURLOPT_OPENSOCKETDATA, t);
	SET(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	SET(easy, CURLOPT_CLOSESOCKETDATA, http); /* outlives the transfer */
	SET(easy, CURLOPT_PREREQFUNCTION, on_request_ready);
	SET(easy, CURLOPT_PREREQDATA, t);

	/*
	 * With a file of our own the system's directory of certificates stays in
	 * force beside it.  Without one only the system's bundle is used, because
	 * libcurl keeps the parsed bundle between connections only if there is no
	 * directory, and parsing it costs more than the rest of a handshake.
	 */
	SET(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	SET(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	SET(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	if (http->policy.ca_file[0] != '\0')
		SET(easy, CURLOPT_CAINFO, http->policy.ca_file);
	else if (curl_version_info(CURLVERSION_NOW)->cainfo != NULL)
		SET(easy, CURLOPT_CAPATH, NULL);

	/* How long things live. */
	SET(easy, CURLOPT_LOW_SPEED_LIMIT, LOW_SPEED_BYTES);
	SET(easy, CURLOPT_LOW_SPEED_TIME, LOW_SPEED_SECONDS);
	SET(easy, CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_SECONDS);
	SET(easy, CURLOPT_MAXAGE_CONN, IDLE_CONNECTION_SECONDS);
	SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
	SET(easy, CURLOPT_QUICK_EXIT, 1L); /* never wait for a resolver thread */
#endif

	SET(easy, CURLOPT_HEADERFUNCTION, on_header);
	SET(easy, CURLOPT_HEADERDATA, t);
	SET(easy, CURLOPT_WRITEFUNCTION, on_body);
	SET(easy, CURLOPT_WRITEDATA, t);
	return CURLE_OK;
}

/* The method, named if libcurl would not choose it by itself. */
static CURLcode
set_method(CURL *easy, const RmsyncHttpRequest *request)
{
	const char *implied = "GET";

	if (rmsync_http_has_body(request))
	{
		implied = "POST";
		SET(easy, CURLOPT_POST, 1L);
		SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->body_len);
		SET(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
	}
	else
	{
		SET(easy, CURLOPT_HTTPGET, 1L);
		if (strcmp(request->method, "HEAD") == 0)
		{
			implied = "HEAD";
			SET(easy, CURLOPT_NOBODY, 1L);
		}
	}
	SET(easy, CURLOPT_CUSTOMREQUEST,
		strcmp(request->method, implied) == 0 ? NULL : request->method);
	return CURLE_OK;
}

/* Everything that differs from request to request. */
static CURLcode
set_request_options(RmsyncHttpTransfer *t, const RmsyncHttpRequest *request)
{
	CURL *easy = t->easy;
	long connect_ms = request->connect_timeout_ms > 0
						  ? request->connect_timeout_ms
						  : DEFAULT_CONNECT_TIMEOUT_MS;

	/*
	 * libcurl sends a request again by itself when a reused connection turns
	 * out to be closed, even if the peer had read all of it.  So what must not
	 * arrive twice gets a connection of its own; afterwards that connection
	 * serves others.
	 */
	SET(easy, CURLOPT_FRESH_CONNECT,
		request->fresh_connect || !request->repeatable ? 1L : 0L);
	SET(easy, CURLOPT_URL, request->url);
	SET(easy, CURLOPT_HTTPHEADER, t->slist);
	SET(easy, CURLOPT_TIMEOUT_MS, t->timeout_ms);
	SET(easy, CURLOPT_CONNECTTIMEOUT_MS, Min(connect_ms, t->timeout_ms));
	SET(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t) t->body.max);
	return set_method(easy, request);
}

/* Fills t->slist; raises if out of memory. */
static void
set_headers(RmsyncHttpTransfer *t, const RmsyncHttpRequest *request)
{
	char *lines[RMSYNC_HTTP_MAX_LINES];
	size_t size = rmsync_http_header_size(request);
	int n;

	if (size > t->header_size)
	{
		if (t->header_text != NULL)
			pfree(t->header_text);
		t->header_text = NULL;
		t->header_size = 0;
		t->header_text = MemoryContextAlloc(t->http->cxt, size);
		t->header_size = size;
	}

	n = rmsync_http_header_lines(request, t->header_text, lines);
	for (int i = 0; i < n; i++)
	{
		t->slist[i].data = lines[i];
		t->slist[i].next = i + 1 < n ? &t->slist[i + 1] : NULL;
	}
}

static const char *
prepare_handle(RmsyncHttpTransfer *t, const RmsyncHttpRequest *request)
{
	RmsyncHttp *http = t->http;

	if (t->easy == NULL)
	{
		t->easy = curl_easy_init();
		if (t->easy == NULL)
			return "out of memory";
		t->settings = http->policy.generation - 1;
	}
	if (t->settings != http->policy.generation)
	{
		curl_easy_reset(t->easy);
		if (set_common_options(http, t) != CURLE_OK)
			return "libcurl lacks an option rmsync needs, or memory";
		t->settings = http->policy.generation;
	}
	if (set_request_options(t, request) != CURLE_OK)
		return "out of memory";
	return NULL;
}

void
rmsync_transfer_prepare(RmsyncHttpTransfer *t, const RmsyncHttpRequest *request)
{
	size_t max_response = request->max_response > 0 ? request->max_response
													: DEFAULT_MAX_RESPONSE;

	t->sent = t->refused = false;
	t->denied = t->permitted = 0;
	t->result = CURLE_OK;
	t->errbuf[0] = '\0';
	rmsync_http_head_init(&t->head);
	rmsync_http_body_init(&t->body, t->http->cxt, max_response);

	t->problem = rmsync_http_request_problem(request);
	if (t->problem != NULL)
	{
		t->refused = true;
		return;
	}

	t->plain = pg_strncasecmp(request->url, "http:", 5) == 0;
	t->timeout_ms =
		request->timeout_ms > 0 ? request->timeout_ms : rmsync_http_timeout;
	set_headers(t, request);
	t->problem = prepare_handle(t, request);
}

static int64
info_off(CURL *easy, CURLINFO what)
{
	curl_off_t value = 0;

	curl_easy_getinfo(easy, what, &value);
	return value;
}

/* How far the connection got, for a timeout's message. */
static RmsyncHttpPhase
reached_phase(RmsyncHttpTransfer *t)
{
	if (t->head.bytes > 0)
		return RMSYNC_HTTP_PHASE_RESPONSE;
	if (t->sent)
		return RMSYNC_HTTP_PHASE_WAIT;
	if (info_off(t->easy, CURLINFO_NAMELOOKUP_TIME_T) > 0)
		return RMSYNC_HTTP_PHASE_CONNECT;
	return RMSYNC_HTTP_PHASE_RESOLVE;
}

/* Where libcurl's own words for a broken answer would mislead. */
static const char *
plain_words(CURLcode code)
{
	switch (code)
	{
		case CURLE_UNSUPPORTED_PROTOCOL: /* takes it for HTTP/0.9 */
		case CURLE_WEIRD_SERVER_REPLY:
			return "the answer is not HTTP";
		case CURLE_OUT_OF_MEMORY: /* a header line without end */
			return "the answer's head is too large, or memory ran out";
		case CURLE_GOT_NOTHING:
			return "the connection was closed without an answer";
		case CURLE_PARTIAL_FILE:
			return "the connection was closed in the middle of the answer";
		default:
			return curl_easy_strerror(code);
	}
}

/* What happened, in terms that do not need libcurl. */
static void
describe_end(RmsyncHttpTransfer *t, RmsyncHttpEnd *end)
{
	memset(end, 0, sizeof(*end));
	end->sent = t->sent;
	end->timeout_ms = t->timeout_ms;
	end->problem = t->problem;
	end->refused = t->refused || (t->denied > 0 && t->permitted == 0);
	if (t->problem != NULL)
		return;

	end->complete = t->result == CURLE_OK;
	end->too_large = t->head.overflow || t->body.overflow ||
					 t->result == CURLE_FILESIZE_EXCEEDED;
	end->no_memory = t->body.no_memory;
	end->timed_out = t->result == CURLE_OPERATION_TIMEDOUT;
	end->malformed = t->result == CURLE_UNSUPPORTED_PROTOCOL ||
					 t->result == CURLE_URL_MALFORMAT ||
					 t->result == CURLE_LOGIN_DENIED;
	end->phase = reached_phase(t);

	/* Before anything is sent libcurl's own words are about the peer only. */
	if (!t->sent && t->plain && t->result == CURLE_UNSUPPORTED_PROTOCOL)
		end->text = "plain HTTP is not allowed (see rmsync.allow_http)";
	else if (!t->sent && t->errbuf[0] != '\0')
		end->text = t->errbuf;
	else if (t->sent)
		end->text = plain_words(t->result);
	else
		end->text = curl_easy_strerror(t->result);
}

static int
retry_after_ms(const RmsyncHttpHead *head)
{
	int seconds = rmsync_http_retry_seconds(head->retry_after);

	if (seconds < 0 && head->retry_after[0] != '\0')
	{
		time_t date = curl_getdate(head->retry_after, NULL);

		if (date != (time_t) -1)
			seconds = (int) Min(Max((int64) date - (int64) time(NULL), 0),
								RMSYNC_HTTP_RETRY_AFTER_CAP);
	}
	return seconds < 0 ? -1 : seconds * 1000;
}


void
rmsync_transfer_result(RmsyncHttpTransfer *t, RmsyncHttpResponse *response)
{
	RmsyncHttpEnd end;
	char message[RMSYNC_HTTP_MESSAGE_SIZE];

	memset(response, 0, sizeof(*response));
	describe_end(t, &end);
	response->error = rmsync_http_judge(&end, message);
	response->retry_after_ms = retry_after_ms(&t->head);
	if (t->problem == NULL)
	{
		long status = 0;

		curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
		response->status = (int) status;
		response->elapsed_us = info_off(t->easy, CURLINFO_TOTAL_TIME_T);
		response->first_byte_us = info_off(t->easy, CURLINFO_PRETRANSFER_TIME_T);
	}

	if (!rmsync_http_pack(response, t->cxt, &t->head, &t->body, message))
	{
		if (response->error == RMSYNC_HTTP_OK)
			response->error = RMSYNC_HTTP_BROKEN;
		response->message = "out of memory";
	}
}

void
rmsync_transfer_count(RmsyncHttpTransfer *t, RmsyncHttpStats *stats)
{
	long size = 0;

	stats->bytes_received += info_off(t->easy, CURLINFO_SIZE_DOWNLOAD_T);
	curl_easy_getinfo(t->easy, CURLINFO_HEADER_SIZE, &size);
	stats->bytes_received += size;
	curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &size);
	stats->bytes_sent += size;
}

void
rmsync_transfer_tidy(RmsyncHttpTransfer *t)
{
	rmsync_http_body_trim(&t->body, KEPT_BODY_SIZE);
	if (t->header_text != NULL)
		explicit_bzero(t->header_text, t->header_size);
}

void
rmsync_transfer_free(RmsyncHttpTransfer *t)
{
	if (t->easy != NULL)
		curl_easy_cleanup(t->easy);
	rmsync_http_body_trim(&t->body, 0);
	if (t->header_text != NULL)
		pfree(t->header_text);
	pfree(t);
}
