/* udp.h - the UDP sockets of one role: unconnected, one per bound address,
 * non-blocking, DF set and the kernel's path MTU ignored. Every packet comes
 * with its local address and ECN bits; trains come (GRO) and go (GSO) whole. */
#ifndef ZTNA_HOST_UDP_H
#define ZTNA_HOST_UDP_H

#include <stdbool.h>

#include "base/dgram.h"
#include "base/metrics.h"

enum {
  UDP_BATCH = 8,        /* receive buffers, of 64 KB each */
  UDP_MAX_SOCKETS = 16, /* bound addresses of one role */
  UDP_MAX_EXTRA = 600,  /* extra sockets of both families that are open */
  /* In place of an index: whichever extra socket (dgram.h) it is. */
  UDP_EXTRA = UDP_MAX_SOCKETS,
};

/* Packets are counted one by one, also inside trains. */
struct udp_counters {
  uint64_t rx_packets, rx_bytes, rx_trains;
  uint64_t rx_truncated; /* packet or its control data did not fit */
  uint64_t rx_errors;
  uint64_t tx_packets, tx_bytes, tx_sends;
  uint64_t tx_too_big;     /* larger than the interface's MTU */
  uint64_t tx_no_buffer;   /* ENOBUFS: lost as if by the network */
  uint64_t tx_unreachable; /* no route, or the host is known to be gone */
  uint64_t tx_refused;     /* EPERM: a local packet filter */
  uint64_t tx_failed;      /* anything else; no socket of that family, too */
  uint64_t tx_blocked;     /* times a send buffer was full (EAGAIN) */
  uint64_t gso_repeats;    /* trains repeated segment by segment */
  uint64_t source_gone;    /* the local address had left the machine */
  uint64_t extra_opened, extra_closed;
  uint64_t extra_refused; /* packets: no further extra socket can be had */
};
extern const struct metric udp_metrics[];

struct udp;

/* No sockets yet. NULL when there is no memory. */
struct udp *udp_new(void);
void udp_free(struct udp *u); /* NULL is fine */

/* Adds a socket bound to local; port 0 lets the kernel choose. Returns its
 * index (0, 1, ...), ZTNA_EPERM, ZTNA_EEXIST (port in use), ZTNA_ENOENT (not
 * an address of this machine, or no such family here), ZTNA_EFULL, ZTNA_EIO.
 * The reason is logged, with what would help. */
int udp_bind(struct udp *u, const struct ztna_addr *local);
/* The same where the role can do without: what fails is logged as a warning. */
int udp_bind_optional(struct udp *u, const struct ztna_addr *local);
int udp_count(const struct udp *u);
/* Of UDP_EXTRA: readable when any of them has something; -1 before the first
 * was opened. */
int udp_fd(const struct udp *u, int socket);
/* What it is bound to, with the real port. */
struct ztna_addr udp_local(const struct udp *u, int socket);

/* Reads one batch: at most max (and UDP_BATCH) trains of one socket. Their
 * bytes stay valid until the next udp_recv or udp_recv_from. Returns how many;
 * fewer than were asked for means that the socket is empty for now. Of
 * UDP_EXTRA: one that has something, in turn; 0 when none has for now. */
int udp_recv_from(struct udp *u, int socket, struct dgram *v, int max);
/* The same from any socket that has something, in turn. 0: all are empty. */
int udp_recv(struct udp *u, struct dgram *v, int max);

/* Sends. The socket is the one bound to v[i].local, else one bound to the
 * wildcard address (with that port, when local has one); neighbours in v that
 * share socket, addresses, ECN bits, hop limit and segment size leave as one
 * train. One with a `sock` opens that extra socket, or closes it (dgram.h); it
 * is dropped and counted when no more can be opened. Returns how many of v were
 * taken: sent, or dropped and counted. Fewer than n: the send buffer of
 * udp_blocked() is full; offer the rest again when it is writable. */
int udp_send(struct udp *u, const struct dgram *v, int n);
/* Counts packets that a caller gives up after udp_send took fewer; what closes
 * a socket closes it. */
void udp_give_up(struct udp *u, const struct dgram *v, int n);
/* The socket that was full at the last udp_send, -1 when none was. */
int udp_blocked(const struct udp *u);
/* Readable as soon as the extra socket that was full has room; -1 before the
 * first was opened. */
int udp_room_fd(const struct udp *u);

/* True once per such address after packets had to leave without the local one
 * they asked for, because it is gone from the machine: the network has changed.
 */
bool udp_network_changed(struct udp *u);

const struct udp_counters *udp_counters(const struct udp *u);

#endif
