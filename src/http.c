/*-------------------------------------------------------------------------
 *
 * http.c
 *	  The HTTP transport: one libcurl multi handle behind one descriptor.
 *
 * Only the engine calls this, from a worker's main loop or from a foreground
 * run, never inside the postmaster.  A transfer goes
 *
 *	  queued ─▶ running ─▶ finished ─▶ idle
 *
 * where rmsync_http_start puts it in the first list and rmsync_http_poll moves
 * it through the others; a request that must not be sent goes to "finished"
 * at once.  libcurl itself runs inside poll (and destroy) alone, so its
 * callbacks never nest.
 *
 * Rules this file keeps:
 * - Nothing throws inside a libcurl callback: a longjmp through its frames
 *   would leave the multi handle broken.  Callbacks allocate without raising
 *   and note what went wrong in the transfer.
 * - libcurl may start resolver threads.  They inherit the signal mask, so
 *   every entry runs with all signals blocked: a PostgreSQL signal handler
 *   must never run in a thread.
 * - Nothing blocks: not while resolving (an asynchronous resolver is required,
 *   and abandoned look-ups are detached), not at the end of the process
 *   (rmsync_http_abandon touches nothing; see end_without_teardown).
 * - Every amount a peer chooses has a limit.
 * - Where a name leads is checked on the resolved address, when the socket is
 *   made and again whenever a request goes out on an open connection.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "http_transfer.h"

#define MIN_CURL_VERSION 0x075500 /* 7.85 */

#define MAX_EVENTS 64

static int64
monotonic_us(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

static void
block_signals(sigset_t *old)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, old);
}

static void
restore_signals(const sigset_t *old)
{
	pthread_sigmask(SIG_SETMASK, old, NULL);
}


/* ---- callbacks: no ereport, no raising allocation below this line ---- */

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	RmsyncHttp *http = arg;
	uint32 events = 0;

	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= EPOLLIN;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= EPOLLOUT;
	rmsync_sockets_watch(http->sockets, fd, events);

	/* Anything else would disable the whole multi handle. */
	return 0;
}

static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	RmsyncHttp *http = arg;

	http->has_deadline = timeout_ms >= 0;
	if (http->has_deadline)
		http->deadline_us =
			timeout_ms == 0 ? 0 : monotonic_us() + timeout_ms * INT64CONST(1000);
	return 0;
}

/* ---- end of callbacks ---- */


static RmsyncHttpTransfer *
get_transfer(RmsyncHttp *http)
{
	RmsyncHttpTransfer *t;

	if (dlist_is_empty(&http->idle))
	{
		t = MemoryContextAllocZero(http->cxt, sizeof(RmsyncHttpTransfer));
		t->http = http;
		return t;
	}
	t = dlist_container(RmsyncHttpTransfer, node,
						dlist_pop_head_node(&http->idle));
	http->nidle--;
	return t;
}

/* Keeps a transfer and its handle for reuse, but not without limit. */
static void
release_transfer(RmsyncHttpTransfer *t)
{
	RmsyncHttp *http = t->http;

	if (http->nidle >= http->max_connections)
	{
		rmsync_transfer_free(t);
		return;
	}
	rmsync_transfer_tidy(t);
	dlist_push_head(&http->idle, &t->node);
	http->nidle++;
}

RmsyncHttpTransfer *
rmsync_http_start(RmsyncHttp *http, const RmsyncHttpRequest *request,
				  MemoryContext cxt, RmsyncHttpDone done, void *arg)
{
	RmsyncHttpTransfer *t;

	Assert(!http->abandoned);
	rmsync_http_policy_refresh(&http->policy, http->cxt);

	t = get_transfer(http);
	t->done = done;
	t->arg = arg;
	t->cxt = cxt;
	rmsync_transfer_prepare(t, request);

	http->active++;
	http->stats.requests++;
	if (t->problem == NULL)
		dlist_push_tail(&http->queued, &t->node);
	else
		dlist_push_tail(&http->finished, &t->node);
	return t->refused ? NULL : t;
}

/* Hands queued transfers to libcurl. */
static void
add_queued(RmsyncHttp *http)
{
	while (!dlist_is_empty(&http->queued))
	{
		dlist_node *node = dlist_pop_head_node(&http->queued);
		RmsyncHttpTransfer *t = dlist_container(RmsyncHttpTransfer, node, node);

		if (curl_multi_add_handle(http->multi, t->easy) == CURLM_OK)
			dlist_push_tail(&http->running, node);
		else
		{
			t->problem = "libcurl did not accept the request";
			dlist_push_tail(&http->finished, node);
		}
	}
}

/* Lets libcurl work on what is ready or due. */
static void
drive(RmsyncHttp *http, int max_events)
{
	struct epoll_event events[MAX_EVENTS];
	int running;
	int n;

	n = rmsync_sockets_ready(http->sockets, events, Min(max_events, MAX_EVENTS));
	for (int i = 0; i < n; i++)
	{
		int what = 0;

		if (events[i].events & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(http->multi, events[i].data.fd, what, &running);
	}
	if (http->has_deadline && http->deadline_us <= monotonic_us())
	{
		http->has_deadline = false;
		curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
}

/* Takes ended transfers from libcurl. */
static void
collect(RmsyncHttp *http, int max_events)
{
	CURLMsg *message;
	int left;

	http->more_results = false;
	while ((message = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		RmsyncHttpTransfer *t;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &t);
		t->result = message->data.result;
		curl_multi_remove_handle(http->multi, t->easy);
		dlist_delete(&t->node);
		dlist_push_tail(&http->finished, &t->node);
		if (--max_events <= 0)
		{
			http->more_results = left > 0;
			break;
		}
	}
}

/* Reports a finished transfer; the callback may start others. */
static void
deliver(RmsyncHttpTransfer *t)
{
	RmsyncHttp *http = t->http;
	RmsyncHttpDone done = t->done;
	void *arg = t->arg;
	RmsyncHttpResponse response;

	rmsync_transfer_result(t, &response);
	if (t->problem == NULL)
		rmsync_transfer_count(t, &http->stats);
	release_transfer(t);
	http->active--;
	done(arg, &response);
}

int
rmsync_http_poll(RmsyncHttp *http, int max_events)
{
	sigset_t old_mask;
	int reported = 0;

	if (http->abandoned)
		return 0;

	block_signals(&old_mask);
	add_queued(http);
	drive(http, max_events);
	collect(http, max_events);
	rmsync_sockets_flush(http->sockets);
	restore_signals(&old_mask);

	while (reported < max_events && !dlist_is_empty(&http->finished))
	{
		dlist_node *node = dlist_pop_head_node(&http->finished);

		deliver(dlist_container(RmsyncHttpTransfer, node, node));
		reported++;
	}
	return reported;
}

long
rmsync_http_wait_ms(RmsyncHttp *http)
{
	int64 left_us;

	if (http->abandoned)
		return -1;
	if (!dlist_is_empty(&http->queued) || !dlist_is_empty(&http->finished) ||
		http->more_results)
		return 0;
	if (!http->has_deadline)
		return -1;
	left_us = http->deadline_us - monotonic_us();
	return left_us <= 0 ? 0 : (long) ((left_us + 999) / 1000);
}

int
rmsync_http_fd(RmsyncHttp *http)
{
	return rmsync_sockets_fd(http->sockets);
}

int
rmsync_http_active(RmsyncHttp *http)
{
	return http->abandoned ? 0 : http->active;
}

void
rmsync_http_stats(RmsyncHttp *http, RmsyncHttpStats *stats)
{
	*stats = http->stats;
	stats->connections = rmsync_sockets_opened(http->sockets);
}

/*
 * Touches nothing: libcurl could wait for a peer or a thread, and the bodies
 * of requests under way may be gone.
 */
void
rmsync_http_abandon(RmsyncHttp *http)
{
	http->abandoned = true;
}

static void
check_library(void)
{
	curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
	const char *lacks = NULL;

	if (info->version_num < MIN_CURL_VERSION)
		lacks = "is older than 7.85";
	else if ((info->features & CURL_VERSION_SSL) == 0)
		lacks = "was built without TLS";
	else if ((info->features & CURL_VERSION_ASYNCHDNS) == 0)
		lacks = "was built without an asynchronous resolver";

	if (lacks != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("libcurl %s %s", info->version, lacks),
				 errhint(
					 "Install a libcurl of at least version 7.85 with TLS and an asynchronous resolver.")));
}

/*
 * Runs in exit(), after PostgreSQL has cleaned up and before OpenSSL does.  A
 * look-up whose name server does not answer goes on in its thread; what exit()
 * would tear down now (OpenSSL, the resolver's modules) must not be missed
 * there, as a fault would restart the server.  So end without more ado.
 */
static void
end_without_teardown(int code, void *arg)
{
	struct stat tasks;

	if (!proc_exit_inprogress)
		return; /* somebody called exit(): PostgreSQL's cleanup comes next */
	if (stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink == 3)
		return; /* ".", ".." and this thread */
	_exit(code);
}

static void
init_library(void)
{
	static bool done = false;
	sigset_t old_mask;
	CURLcode rc;

	if (done)
		return;
	check_library();
	block_signals(&old_mask);
	rc = curl_global_init(CURL_GLOBAL_DEFAULT);
	restore_signals(&old_mask);
	if (rc != CURLE_OK)
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
						errmsg("could not initialize libcurl: %s",
							   curl_easy_strerror(rc))));

	/* Behind OpenSSL's, which the above has made sure of: the last run first. */
	on_exit(end_without_teardown, NULL);
	done = true;
}

RmsyncHttp *
rmsync_http_create(int max_connections)
{
	MemoryContext cxt;
	RmsyncHttp *http;
	long limit;

	init_library();
	cxt = AllocSetContextCreate(TopMemoryContext, "rmsync http",
								ALLOCSET_DEFAULT_SIZES);
	http = MemoryContextAllocZero(cxt, sizeof(RmsyncHttp));
	http->cxt = cxt;
	http->sockets = rmsync_sockets_create(cxt);
	dlist_init(&http->queued);
	dlist_init(&http->running);
	dlist_init(&http->finished);
	dlist_init(&http->idle);
	rmsync_http_policy_init(&http->policy, cxt);

	/*
	 * A quarter of the process's descriptors; for a moment two sockets race
	 * for one connection.  Transfers beyond that wait inside libcurl.
	 */
	limit = Max(Min(max_connections, max_safe_fds / 4), 1);
	http->max_connections = (int) limit;

	http->multi = curl_multi_init();
	http->share = curl_share_init();
	if (http->multi == NULL || http->share == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));

	/* So that a new connection to a known host skips most of its handshake. */
	curl_share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);

	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, limit);
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, limit);

	/*
	 * Resolver threads belong to the multi handle since 8.20.  Destroying it
	 * must not wait for them, and names that hang must not use them up: as
	 * before, every transfer can have one.
	 */
#if LIBCURL_VERSION_NUM >= 0x081400
	curl_multi_setopt(http->multi, CURLMOPT_QUICK_EXIT, 1L);
	curl_multi_setopt(http->multi, CURLMOPT_RESOLVE_THREADS_MAX, Max(limit, 20));
#endif
	return http;
}

static void
cleanup_list(RmsyncHttp *http, dlist_head *list)
{
	dlist_iter iter;

	dlist_foreach(iter, list)
	{
		RmsyncHttpTransfer *t =
			dlist_container(RmsyncHttpTransfer, node, iter.cur);

		if (t->easy == NULL)
			continue;
		if (list == &http->running)
			curl_multi_remove_handle(http->multi, t->easy);
		curl_easy_cleanup(t->easy);
	}
}

void
rmsync_http_destroy(RmsyncHttp *http)
{
	sigset_t old_mask;

	block_signals(&old_mask);
	cleanup_list(http, &http->queued);
	cleanup_list(http, &http->running);
	cleanup_list(http, &http->finished);
	cleanup_list(http, &http->idle);
	curl_multi_cleanup(http->multi); /* closes connections: needs sockets */
	curl_share_cleanup(http->share);
	rmsync_sockets_destroy(http->sockets);
	restore_signals(&old_mask);
	MemoryContextDelete(http->cxt);
}

const char *
rmsync_http_build_info(void)
{
	return curl_version();
}
