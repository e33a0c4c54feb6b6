/*-------------------------------------------------------------------------
 *
 * http_sockets.h
 *	  The sockets of one transport, behind one file descriptor.
 *
 * Private to http.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_HTTP_SOCKETS_H
#define RMSYNC_HTTP_SOCKETS_H

#include <sys/epoll.h>

typedef struct RmsyncSockets RmsyncSockets;

/* Raises if no descriptor is to be had. */
extern RmsyncSockets *rmsync_sockets_create(MemoryContext cxt);
extern void rmsync_sockets_destroy(RmsyncSockets *set);

/* Readable when a watched socket is ready. */
extern int	rmsync_sockets_fd(const RmsyncSockets *set);

/*
 * Opens a non-blocking socket, counted among the server's open files; -1 with errno set if there is none.  Its end must be announced
 * through rmsync_sockets_close, which closes it.
 */
extern int	rmsync_sockets_open(RmsyncSockets *set, int family, int type,
								int protocol);
extern int	rmsync_sockets_close(RmsyncSockets *set, int fd);

/* Wanted EPOLLIN/EPOLLOUT of a socket, 0 = not interested now. */
extern void rmsync_sockets_watch(RmsyncSockets *set, int fd, uint32 events);

/* Applies what rmsync_sockets_watch collected. */
extern void rmsync_sockets_flush(RmsyncSockets *set);

/* Ready sockets, without waiting. */
extern int	rmsync_sockets_ready(RmsyncSockets *set,
								 struct epoll_event *events, int max_events);

extern uint64 rmsync_sockets_opened(const RmsyncSockets *set);

#endif							/* RMSYNC_HTTP_SOCKETS_H */
