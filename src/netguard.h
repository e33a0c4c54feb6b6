/*-------------------------------------------------------------------------
 *
 * netguard.h
 *	  Which network addresses rmsync may connect to.
 *
 * Decided on the resolved address at the moment of connecting, never on a
 * name: a name can resolve to something else the next time.  Pure functions;
 * no settings are read here and nothing is sent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_NETGUARD_H
#define RMSYNC_NETGUARD_H

struct sockaddr;

#define RMSYNC_NET_MAX 64

typedef struct RmsyncNet
{
	uint8		addr[16];		/* network order; IPv4 uses the first 4 bytes */
	uint8		len;			/* 4 or 16 */
	uint8		bits;			/* prefix length */
} RmsyncNet;

/* rmsync.allowed_networks, parsed */
typedef struct RmsyncNetList
{
	int			n;
	RmsyncNet	nets[RMSYNC_NET_MAX];
} RmsyncNetList;

typedef enum RmsyncNetClass
{
	RMSYNC_NET_PUBLIC,			/* ordinary internet address */
	RMSYNC_NET_ALLOWED,			/* named in rmsync.allowed_networks */
	RMSYNC_NET_DENIED			/* private, local, special or not IP at all */
} RmsyncNetClass;

/*
 * Reads a comma-separated list of CIDR blocks or single addresses; empty text
 * gives an empty list.  On bad input returns false, leaves an empty list and,
 * if "why" is not NULL, sets it to a palloc'd phrase for errdetail.
 */
extern bool rmsync_netguard_parse(const char *text, RmsyncNetList *out,
								  char **why);

/* Neither allocates nor throws: both are called from inside libcurl. */
extern RmsyncNetClass rmsync_netguard_sockaddr(const struct sockaddr *addr,
											   size_t addrlen,
											   const RmsyncNetList *allowed);
extern RmsyncNetClass rmsync_netguard_text(const char *ip,
										   const RmsyncNetList *allowed);

#endif							/* RMSYNC_NETGUARD_H */
