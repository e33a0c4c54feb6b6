/*-------------------------------------------------------------------------
 *
 * http_message.c
 *	  Requests checked and response heads read, without libcurl.
 *
 * Called by http.c and, for rmsync_http_header, by targets.  Everything a
 * remote side sent passes through here before anything else in rmsync sees
 * it: texts that end up in columns are reduced to printable ASCII, and nothing
 * grows with what the peer chooses to send.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http_message.h"

void
rmsync_http_header(RmsyncHttpRequest *request, const char *name, const char *value)
{
	if (request->nheaders >= RMSYNC_HTTP_MAX_HEADERS)
		elog(ERROR, "more than %d headers in one request",
			 RMSYNC_HTTP_MAX_HEADERS);
	request->headers[request->nheaders].name = name;
	request->headers[request->nheaders].value = value;
	request->nheaders++;
}

/* RFC 9110 "token": what a method and a header name are made of. */
static bool
is_token(const char *text, size_t max_len)
{
	size_t len = strlen(text);

	return len > 0 && len <= max_len &&
		   strspn(text, "!#$%&'*+-.^_`|~0123456789"
						"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
						"abcdefghijklmnopqrstuvwxyz") == len;
}

/* Printable, with or without blanks and non-ASCII. */
static bool
is_clean(const char *text, size_t max_len, bool is_value)
{
	size_t len = 0;

	for (const unsigned char *p = (const unsigned char *) text; *p; p++)
	{
		if (++len > max_len)
			return false;
		if (is_value ? (*p < 0x20 && *p != '\t') || *p == 0x7f
					 : *p <= 0x20 || *p >= 0x7f)
			return false;
	}
	return true;
}

/*
 * Headers that decide where a message ends or where it goes belong to the
 * transport: a second opinion on them is how requests are smuggled.
 */
static bool
is_transport_header(const char *name)
{
	static const char *const reserved[] = {
		"connection", "content-length",	   "expect", "host",
		"keep-alive", "proxy-connection",  "te",	 "trailer",
		"upgrade",	  "transfer-encoding",
	};

	for (int i = 0; i < lengthof(reserved); i++)
	{
		if (pg_strcasecmp(name, reserved[i]) == 0)
			return true;
	}
	return false;
}

const char *
rmsync_http_request_problem(const RmsyncHttpRequest *request)
{
	if (request->method == NULL || !is_token(request->method, 16))
		return "the method is malformed";
	if (request->url == NULL ||
		!is_clean(request->url, RMSYNC_HTTP_MAX_URL, false))
		return "the URL is malformed";
	if (pg_strncasecmp(request->url, "https://", 8) != 0 &&
		pg_strncasecmp(request->url, "http://", 7) != 0)
		return "the URL is neither https nor http";
	if (request->nheaders < 0 || request->nheaders > RMSYNC_HTTP_MAX_HEADERS)
		return "there are too many headers";

	for (int i = 0; i < request->nheaders; i++)
	{
		const RmsyncHttpHeader *header = &request->headers[i];

		if (header->name == NULL || !is_token(header->name, 128))
			return "a header name is malformed";
		if (is_transport_header(header->name))
			return "a header is reserved for the transport";
		if (header->value == NULL ||
			!is_clean(header->value, RMSYNC_HTTP_MAX_HEADER_VALUE, true))
			return "a header value is malformed";
	}
	return NULL;
}

bool
rmsync_http_has_body(const RmsyncHttpRequest *request)
{
	return request->body != NULL || strcmp(request->method, "POST") == 0 ||
		   strcmp(request->method, "PUT") == 0 ||
		   strcmp(request->method, "PATCH") == 0;
}

size_t
rmsync_http_header_size(const RmsyncHttpRequest *request)
{
	size_t size = 0;

	for (int i = 0; i < request->nheaders; i++)
		size += strlen(request->headers[i].name) +
				strlen(request->headers[i].value) + sizeof(": ");
	return size;
}

/* Writes one header at "p" in the form libcurl wants; returns its end. */
static char *
format_header(char *p, const RmsyncHttpHeader *header)
{
	size_t name_len = strlen(header->name);
	size_t value_len = strlen(header->value);

	memcpy(p, header->name, name_len);
	p += name_len;
	if (value_len == 0)
		*p++ = ';'; /* "name:" would remove the header */
	else
	{
		*p++ = ':';
		*p++ = ' ';
		memcpy(p, header->value, value_len);
		p += value_len;
	}
	*p++ = '\0';
	return p;
}

int
rmsync_http_header_lines(const RmsyncHttpRequest *request, char *buffer,
						 char **lines)
{
	/* Two that libcurl would add: a pause before large bodies, and a guess. */
	static char no_expect[] = "Expect:";
	static char no_type[] = "Content-Type:";
	bool typed = false;
	int n = 0;

	for (int i = 0; i < request->nheaders; i++)
	{
		lines[n++] = buffer;
		buffer = format_header(buffer, &request->headers[i]);
		if (pg_strcasecmp(request->headers[i].name, "content-type") == 0)
			typed = true;
	}
	lines[n++] = no_expect;
	if (!typed)
		lines[n++] = no_type;
	return n;
}

void
rmsync_http_head_init(RmsyncHttpHead *head)
{
	head->bytes = 0;
	head->lines = 0;
	head->overflow = false;
	head->complete = false;
	head->id_rank = 0;
	head->retry_after[0] = '\0';
	head->etag[0] = '\0';
	head->location[0] = '\0';
	head->content_type[0] = '\0';
	head->request_id[0] = '\0';
}

/*
 * Stores a value, or nothing if it is too long or not printable: half an ETag
 * is worse than none.
 */
static void
store_value(char *dest, size_t size, const char *value, size_t len)
{
	dest[0] = '\0';
	if (len >= size)
		return;
	for (size_t i = 0; i < len; i++)
	{
		if (value[i] < 0x20 || value[i] > 0x7e)
			return;
	}
	memcpy(dest, value, len);
	dest[len] = '\0';
}

static bool
name_is(const char *line, size_t len, const char *name)
{
	return strlen(name) == len && pg_strncasecmp(line, name, len) == 0;
}

static void
keep_header(RmsyncHttpHead *head, const char *name, size_t name_len,
			const char *value, size_t len)
{
	static const char *const id_names[] = { "x-request-id", "cf-ray",
											"x-notion-request-id" };

	if (name_is(name, name_len, "retry-after"))
		store_value(head->retry_after, sizeof(head->retry_after), value, len);
	else if (name_is(name, name_len, "etag"))
		store_value(head->etag, sizeof(head->etag), value, len);
	else if (name_is(name, name_len, "location"))
		store_value(head->location, sizeof(head->location), value, len);
	else if (name_is(name, name_len, "content-type"))
		store_value(head->content_type, sizeof(head->content_type), value, len);
	else
	{
		for (int rank = lengthof(id_names); rank > Max(head->id_rank, 0); rank--)
		{
			if (!name_is(name, name_len, id_names[rank - 1]))
				continue;
			store_value(head->request_id, sizeof(head->request_id), value, len);
			head->id_rank = rank;
		}
	}
}

bool
rmsync_http_head_line(RmsyncHttpHead *head, const char *line, size_t len)
{
	const char *colon;
	const char *value;
	const char *end = line + len;

	/* Interim (1xx) heads count too, or they could go on forever. */
	head->bytes += len;
	head->lines++;
	if (head->bytes > RMSYNC_HTTP_MAX_HEAD_BYTES ||
		head->lines > RMSYNC_HTTP_MAX_HEAD_LINES)
	{
		head->overflow = true;
		return false;
	}

	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
	{
		size_t bytes = head->bytes;
		int lines = head->lines;

		rmsync_http_head_init(head);
		head->bytes = bytes;
		head->lines = lines;
		return true;
	}

	while (end > line && (end[-1] == '\r' || end[-1] == '\n' ||
						  end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (end == line)
		head->complete = true;
	if (head->complete)
		return true;

	colon = memchr(line, ':', end - line);
	if (colon == NULL)
		return true;
	value = colon + 1;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	keep_header(head, line, colon - line, value, end - value);
	return true;
}

void
rmsync_http_body_init(RmsyncHttpBody *body, MemoryContext cxt, size_t max)
{
	body->cxt = cxt;
	body->len = 0;
	body->max = max;
	body->overflow = false;
	body->no_memory = false;
}

bool
rmsync_http_body_append(RmsyncHttpBody *body, const char *data, size_t len)
{
	/* Decoded bytes: a small compressed answer can unpack to gigabytes. */
	if (len > body->max - body->len)
	{
		body->overflow = true;
		return false;
	}

	if (body->len + len > body->size)
	{
		size_t size = Max(body->size, 1024);
		char *grown;

		while (size < body->len + len)
			size *= 2;
		grown = MemoryContextAllocExtended(body->cxt, size,
										   MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
		if (grown == NULL)
		{
			body->no_memory = true;
			return false;
		}
		if (body->data != NULL)
		{
			memcpy(grown, body->data, body->len);
			pfree(body->data);
		}
		body->data = grown;
		body->size = size;
	}
	memcpy(body->data + body->len, data, len);
	body->len += len;
	return true;
}

void
rmsync_http_body_trim(RmsyncHttpBody *body, size_t size)
{
	if (body->size <= size)
		return;
	pfree(body->data);
	body->data = NULL;
	body->size = 0;
	body->len = 0;
}

int
rmsync_http_retry_seconds(const char *value)
{
	int seconds = 0;

	if (value[0] == '\0' || strspn(value, "0123456789") != strlen(value))
		return -1;
	for (const char *p = value; *p; p++)
	{
		seconds = seconds * 10 + (*p - '0');
		if (seconds > RMSYNC_HTTP_RETRY_AFTER_CAP)
			return RMSYNC_HTTP_RETRY_AFTER_CAP;
	}
	return seconds;
}

static void
explain_timeout(const RmsyncHttpEnd *end, char *message)
{
	static const char *const while_doing[] = { "resolving the host name",
											   "connecting or negotiating TLS",
											   "waiting for the response",
											   "reading the response" };

	snprintf(message, RMSYNC_HTTP_MESSAGE_SIZE,
			 "timed out while %s (limit %ld ms)", while_doing[end->phase],
			 end->timeout_ms);
}

/* Names in certificates can hold anything. */
static void
make_printable(char *message)
{
	for (char *p = message; *p; p++)
	{
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	}
}

static void
explain(const RmsyncHttpEnd *end, char *message)
{
	const char *text;

	if (end->timed_out)
	{
		explain_timeout(end, message);
		return;
	}

	if (end->problem != NULL)
		text = end->problem;
	else if (end->refused)
		text = "connections to this address are not allowed (see "
			   "rmsync.allowed_networks)";
	else if (end->too_large)
		text = "the response is larger than allowed";
	else if (end->no_memory)
		text = "out of memory";
	else
		text = end->text;
	strlcpy(message, text, RMSYNC_HTTP_MESSAGE_SIZE);
	make_printable(message);
}

/*
 * What counts is whether the peer may have acted on the request; in doubt it
 * may have.
 */
RmsyncHttpError
rmsync_http_judge(const RmsyncHttpEnd *end,
				  char message[RMSYNC_HTTP_MESSAGE_SIZE])
{
	message[0] = '\0';
	if (end->complete)
		return RMSYNC_HTTP_OK;

	explain(end, message);
	if (!end->sent)
		return end->refused || end->malformed ? RMSYNC_HTTP_REFUSED
											  : RMSYNC_HTTP_NOT_SENT;
	if (end->too_large)
		return RMSYNC_HTTP_TOO_LARGE;
	if (end->timed_out)
		return RMSYNC_HTTP_TIMEOUT;
	return RMSYNC_HTTP_BROKEN;
}

/* Appends "text" at *p; NULL for the empty one. */
static const char *
pack_text(char **p, const char *text)
{
	size_t size = strlen(text) + 1;
	char *start = *p;

	if (size == 1)
		return NULL;
	memcpy(start, text, size);
	*p += size;
	return start;
}

bool
rmsync_http_pack(RmsyncHttpResponse *response, MemoryContext cxt,
				 const RmsyncHttpHead *head, const RmsyncHttpBody *body,
				 const char *message)
{
	/* A body that is not the whole one is no body. */
	size_t body_len = response->error == RMSYNC_HTTP_OK ? body->len : 0;
	size_t size = body_len + 1;
	char *p;

	response->body = "";
	response->body_len = 0;
	response->etag = response->location = NULL;
	response->content_type = response->request_id = NULL;
	response->message = NULL;

	size += strlen(head->etag) + strlen(head->location) +
			strlen(head->content_type) + strlen(head->request_id) + 4;
	size += strlen(message) + 1;

	p = MemoryContextAllocExtended(cxt, size,
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	if (p == NULL)
		return false;

	if (body_len > 0)
		memcpy(p, body->data, body_len);
	p[body_len] = '\0';
	response->body = p;
	response->body_len = body_len;
	p += body_len + 1;
	response->etag = pack_text(&p, head->etag);
	response->location = pack_text(&p, head->location);
	response->content_type = pack_text(&p, head->content_type);
	response->request_id = pack_text(&p, head->request_id);
	response->message = pack_text(&p, message);
	return true;
}
