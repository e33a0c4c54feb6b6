/*-------------------------------------------------------------------------
 *
 * http_sockets.c
 *	  The sockets of one transport, behind one epoll descriptor.
 *
 * Called by http.c, mostly from inside libcurl's callbacks, so nothing but
 * rmsync_sockets_create may throw.  The process waits on the one descriptor
 * together with its latch; the sockets come and go behind it.
 *
 * libcurl forgets a connection's socket when a request ends and announces it
 * again when the next one starts.  Following that to the letter costs two
 * system calls per request, so for the sockets opened here the kernel is told
 * of the difference only, at the end of a turn, and an idle socket stays
 * registered until it speaks up.  That is safe because we see these sockets
 * being closed.  Descriptors that libcurl makes for itself (its resolver's
 * pipes) vanish without notice and are followed at once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storage/fd.h"

#include "http_sockets.h"

typedef struct Socket
{
	uint32 wanted;
	uint32 registered; /* what the kernel knows */
	bool ours;		   /* made by rmsync_sockets_open */
	bool changed;	   /* is in the list of changes */
} Socket;

struct RmsyncSockets
{
	MemoryContext cxt;
	int epoll_fd;
	int size;		 /* of the two arrays */
	Socket *sockets; /* indexed by descriptor */
	int *changes;
	int nchanges;
	uint64 opened;
};

RmsyncSockets *
rmsync_sockets_create(MemoryContext cxt)
{
	RmsyncSockets *set = MemoryContextAllocZero(cxt, sizeof(RmsyncSockets));

	set->cxt = cxt;
	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not reserve a file descriptor for HTTP: %m")));
	set->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (set->epoll_fd < 0)
	{
		ReleaseExternalFD();
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not create an epoll descriptor for HTTP: %m")));
	}
	return set;
}

void
rmsync_sockets_destroy(RmsyncSockets *set)
{
	close(set->epoll_fd);
	ReleaseExternalFD();
	set->epoll_fd = -1;
}

int
rmsync_sockets_fd(const RmsyncSockets *set)
{
	return set->epoll_fd;
}

uint64
rmsync_sockets_opened(const RmsyncSockets *set)
{
	return set->opened;
}

static void *
enlarge(RmsyncSockets *set, void *old, size_t width, int size)
{
	char *grown = MemoryContextAllocExtended(set->cxt, width * size,
											 MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);

	if (grown != NULL && old != NULL)
	{
		memcpy(grown, old, width * set->size);
		pfree(old);
	}
	return grown;
}

/* Makes the arrays reach "fd"; false if memory ran out. */
static bool
reach(RmsyncSockets *set, int fd)
{
	int size = Max(set->size, 256);
	void *grown;

	if (fd < set->size)
		return true;
	while (size <= fd)
		size *= 2;

	grown = enlarge(set, set->sockets, sizeof(Socket), size);
	if (grown == NULL)
		return false;
	set->sockets = grown;
	grown = enlarge(set, set->changes, sizeof(int), size);
	if (grown == NULL)
		return false;
	set->changes = grown;
	set->size = size;
	return true;
}

int
rmsync_sockets_open(RmsyncSockets *set, int family, int type, int protocol)
{
	int fd;

	/*
	 * Counted without asking: how many there are at a time is limited by the
	 * creator of the transport, and AcquireExternalFD would refuse where other
	 * modules hold many.
	 */
	ReserveExternalFD();
	fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	if (fd >= 0 && !reach(set, fd))
	{
		close(fd);
		errno = ENOMEM;
		fd = -1;
	}
	if (fd < 0)
	{
		int save_errno = errno;

		ReleaseExternalFD();
		errno = save_errno;
		return -1;
	}

	/* Whatever had this number before is closed, so the kernel forgot it. */
	set->sockets[fd].wanted = 0;
	set->sockets[fd].registered = 0;
	set->sockets[fd].ours = true;
	set->opened++;
	return fd;
}

int
rmsync_sockets_close(RmsyncSockets *set, int fd)
{
	if (fd < set->size && set->sockets[fd].ours)
	{
		set->sockets[fd].wanted = 0;
		set->sockets[fd].registered = 0;
		set->sockets[fd].ours = false;
		ReleaseExternalFD();
	}
	return close(fd);
}

/*
 * Tells the kernel.  A failure cannot be reported to anybody here; the
 * transfer then ends with its timeout.
 */
static void
control(RmsyncSockets *set, int fd, uint32 events, bool known)
{
	struct epoll_event event = { 0 };

	event.events = events;
	event.data.fd = fd;

	if (events == 0)
		(void) epoll_ctl(set->epoll_fd, EPOLL_CTL_DEL, fd, &event);
	else if (epoll_ctl(set->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd,
					   &event) < 0)
	{
		if (errno == EEXIST)
			(void) epoll_ctl(set->epoll_fd, EPOLL_CTL_MOD, fd, &event);
		else if (errno == ENOENT)
			(void) epoll_ctl(set->epoll_fd, EPOLL_CTL_ADD, fd, &event);
	}
}

void
rmsync_sockets_watch(RmsyncSockets *set, int fd, uint32 events)
{
	Socket *sock;

	if (fd >= set->size || !set->sockets[fd].ours)
	{
		control(set, fd, events, false);
		return;
	}

	sock = &set->sockets[fd];
	sock->wanted = events;
	if (!sock->changed)
	{
		sock->changed = true;
		set->changes[set->nchanges++] = fd;
	}
}

void
rmsync_sockets_flush(RmsyncSockets *set)
{
	for (int i = 0; i < set->nchanges; i++)
	{
		int fd = set->changes[i];
		Socket *sock = &set->sockets[fd];

		sock->changed = false;
		if (!sock->ours || sock->wanted == 0 || sock->wanted == sock->registered)
			continue;
		control(set, fd, sock->wanted, sock->registered != 0);
		sock->registered = sock->wanted;
	}
	set->nchanges = 0;
}

int
rmsync_sockets_ready(RmsyncSockets *set, struct epoll_event *events,
					 int max_events)
{
	int n = epoll_wait(set->epoll_fd, events, max_events, 0);
	int kept = 0;

	for (int i = 0; i < n; i++)
	{
		int fd = events[i].data.fd;

		/*
		 * An idle connection spoke up, usually because its peer closed it.
		 * libcurl will notice when it wants to use it again.
		 */
		if (fd < set->size && set->sockets[fd].ours &&
			set->sockets[fd].wanted == 0)
		{
			control(set, fd, 0, true);
			set->sockets[fd].registered = 0;
			continue;
		}
		events[kept++] = events[i];
	}
	return kept;
}
