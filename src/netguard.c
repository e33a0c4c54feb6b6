/*-------------------------------------------------------------------------
 *
 * netguard.c
 *	  Which network addresses rmsync may connect to.
 *
 * Called by http.c for every socket it opens and for every request put on an
 * open connection, and by the check hook of rmsync.allowed_networks.  A user
 * who can name a URL must not reach the server's own network with it, so
 * everything that is not an ordinary internet address is denied unless the
 * administrator listed it.
 *
 * The two classifying functions run inside libcurl's callbacks: they must
 * never allocate or throw.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "netguard.h"

/* RFC 6890 and its registry; everything a public service never lives on. */
static const RmsyncNet denied4[] = {
	{ { 0 }, 4, 8 },			 /* "this" network */
	{ { 10 }, 4, 8 },			 /* private */
	{ { 100, 64 }, 4, 10 },		 /* carrier NAT */
	{ { 127 }, 4, 8 },			 /* loopback */
	{ { 169, 254 }, 4, 16 },	 /* link local, cloud metadata */
	{ { 172, 16 }, 4, 12 },		 /* private */
	{ { 192, 0, 0 }, 4, 24 },	 /* protocol assignments */
	{ { 192, 0, 2 }, 4, 24 },	 /* documentation */
	{ { 192, 88, 99 }, 4, 24 },	 /* 6to4 relays */
	{ { 192, 168 }, 4, 16 },	 /* private */
	{ { 198, 18 }, 4, 15 },		 /* benchmarking */
	{ { 198, 51, 100 }, 4, 24 }, /* documentation */
	{ { 203, 0, 113 }, 4, 24 },	 /* documentation */
	{ { 224 }, 4, 4 },			 /* multicast */
	{ { 240 }, 4, 4 },			 /* reserved, broadcast */
};

static const RmsyncNet denied6[] = {
	{ { 0 }, 16, 96 },							  /* ::, ::1, IPv4-compatible */
	{ { 0x00, 0x64, 0xff, 0x9b, 0, 1 }, 16, 48 }, /* local NAT64 */
	{ { 0x01, 0x00 }, 16, 64 },					  /* discard */
	{ { 0x20, 0x01, 0x00 }, 16, 23 },			  /* Teredo, ORCHID, ... */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 16, 32 },		  /* documentation */
	{ { 0x20, 0x02 }, 16, 16 }, /* 6to4: an IPv4 in disguise */
	{ { 0x3f, 0xff }, 16, 20 }, /* documentation */
	{ { 0x5f, 0x00 }, 16, 16 }, /* SRv6 */
	{ { 0xfc }, 16, 7 },		/* unique local */
	{ { 0xfe, 0x80 }, 16, 10 }, /* link local */
	{ { 0xfe, 0xc0 }, 16, 10 }, /* site local */
	{ { 0xff }, 16, 8 },		/* multicast */
};

/* Prefixes whose last four bytes are an IPv4 address. */
static const RmsyncNet mapped4 = { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff },
								   16,
								   96 };
static const RmsyncNet nat64 = { { 0x00, 0x64, 0xff, 0x9b }, 16, 96 };

static bool
in_net(const uint8 *addr, int len, const RmsyncNet *net)
{
	int whole = net->bits / 8;
	int rest = net->bits % 8;

	if (net->len != len || memcmp(addr, net->addr, whole) != 0)
		return false;
	if (rest == 0)
		return true;
	return ((addr[whole] ^ net->addr[whole]) & (0xff << (8 - rest))) == 0;
}

static bool
in_any(const uint8 *addr, int len, const RmsyncNet *nets, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (in_net(addr, len, &nets[i]))
			return true;
	}
	return false;
}

static RmsyncNetClass
classify(const uint8 *addr, int len, const RmsyncNetList *allowed)
{
	if (len == 16 && in_net(addr, len, &mapped4))
		return classify(addr + 12, 4, allowed);

	if (in_any(addr, len, allowed->nets, allowed->n))
		return RMSYNC_NET_ALLOWED;

	/* Where the network translates, the IPv4 address behind it decides. */
	if (len == 16 && in_net(addr, len, &nat64))
		return classify(addr + 12, 4, allowed);

	if (len == 4 ? in_any(addr, len, denied4, lengthof(denied4))
				 : in_any(addr, len, denied6, lengthof(denied6)))
		return RMSYNC_NET_DENIED;
	return RMSYNC_NET_PUBLIC;
}

RmsyncNetClass
rmsync_netguard_sockaddr(const struct sockaddr *addr, size_t addrlen,
						 const RmsyncNetList *allowed)
{
	/* Copied out because libcurl's buffer promises no alignment. */
	if (addr->sa_family == AF_INET && addrlen >= sizeof(struct sockaddr_in))
	{
		struct sockaddr_in in;

		memcpy(&in, addr, sizeof(in));
		return classify((const uint8 *) &in.sin_addr, 4, allowed);
	}
	if (addr->sa_family == AF_INET6 && addrlen >= sizeof(struct sockaddr_in6))
	{
		struct sockaddr_in6 in6;

		memcpy(&in6, addr, sizeof(in6));
		return classify((const uint8 *) &in6.sin6_addr, 16, allowed);
	}
	return RMSYNC_NET_DENIED;
}

RmsyncNetClass
rmsync_netguard_text(const char *ip, const RmsyncNetList *allowed)
{
	uint8 addr[16];
	char bare[INET6_ADDRSTRLEN];
	size_t len = strcspn(ip, "%"); /* a zone does not matter here */

	if (len >= sizeof(bare))
		return RMSYNC_NET_DENIED;
	memcpy(bare, ip, len);
	bare[len] = '\0';

	if (inet_pton(AF_INET, bare, addr) == 1)
		return classify(addr, 4, allowed);
	if (inet_pton(AF_INET6, bare, addr) == 1)
		return classify(addr, 16, allowed);
	return RMSYNC_NET_DENIED;
}

/* A bit set behind the prefix is a typo more often than not. */
static bool
host_bits_clear(const RmsyncNet *net)
{
	for (int bit = net->bits; bit < net->len * 8; bit++)
	{
		if (net->addr[bit / 8] & (0x80 >> (bit % 8)))
			return false;
	}
	return true;
}

/* One to three digits, at most "max"; -1 = anything else. */
static int
parse_bits(const char *digits, int max)
{
	size_t len = strlen(digits);
	int bits = 0;

	if (len < 1 || len > 3 || strspn(digits, "0123456789") != len)
		return -1;
	for (size_t i = 0; i < len; i++)
		bits = bits * 10 + (digits[i] - '0');
	return bits <= max ? bits : -1;
}

/* Reads one "address[/bits]"; returns NULL or what is wrong with it. */
static const char *
parse_one(const char *item, RmsyncNet *net)
{
	char address[INET6_ADDRSTRLEN];
	size_t len = strcspn(item, "/");
	const char *digits = item + len;
	int bits;

	memset(net, 0, sizeof(*net));
	if (len >= sizeof(address))
		return "is not an IP address or CIDR block";
	memcpy(address, item, len);
	address[len] = '\0';

	if (inet_pton(AF_INET, address, net->addr) == 1)
		net->len = 4;
	else if (inet_pton(AF_INET6, address, net->addr) == 1)
		net->len = 16;
	else
		return "is not an IP address or CIDR block";

	bits = net->len * 8;
	if (*digits == '/')
	{
		bits = parse_bits(digits + 1, bits);
		if (bits < 0)
			return "has an invalid prefix length";
	}
	net->bits = (uint8) bits;
	if (!host_bits_clear(net))
		return "has bits set to the right of its prefix";
	return NULL;
}

static bool
parse_failed(RmsyncNetList *out, char **why, char *reason)
{
	out->n = 0;
	if (why != NULL)
		*why = reason;
	return false;
}

bool
rmsync_netguard_parse(const char *text, RmsyncNetList *out, char **why)
{
	const char *p = text;

	out->n = 0;
	if (text[strspn(text, " \t\r\n")] == '\0')
		return true;

	for (;;)
	{
		size_t len;
		char item[INET6_ADDRSTRLEN + 8];
		const char *problem;

		p += strspn(p, " \t\r\n");
		len = strcspn(p, ", \t\r\n");
		if (len >= sizeof(item))
			return parse_failed(out, why, pstrdup("An entry is too long."));
		memcpy(item, p, len);
		item[len] = '\0';
		p += len;
		p += strspn(p, " \t\r\n");

		if (out->n >= RMSYNC_NET_MAX)
			return parse_failed(out, why,
								psprintf("At most %d networks can be listed.",
										 RMSYNC_NET_MAX));
		problem = parse_one(item, &out->nets[out->n]);
		if (problem != NULL)
			return parse_failed(out, why, psprintf("\"%s\" %s.", item, problem));
		out->n++;

		if (*p == '\0')
			return true;
		if (*p != ',')
			return parse_failed(out, why,
								pstrdup("Networks must be separated by commas."));
		p++;
	}
}
