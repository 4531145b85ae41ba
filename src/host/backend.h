/* backend.h - the connector's sockets towards services: a bounded table from
 * flow number to one connected UDP socket, or one ping socket. The kernel thus
 * takes replies only from the peer that was asked, and reports ICMP errors.
 *
 * All sockets hang in one nested epoll descriptor, and the loop watches only
 * that one: opening or closing a flow is one epoll_ctl, needs no libuv handle
 * (with its memory and deferred close), and an idle table costs nothing. */
#ifndef ZTNA_HOST_BACKEND_H
#define ZTNA_HOST_BACKEND_H

#include <ztna/addr.h>

#include "base/metrics.h"

enum backend_error {
  BACKEND_REFUSED,     /* ICMP port unreachable */
  BACKEND_UNREACHABLE, /* ICMP host or network unreachable, or no route */
  BACKEND_PROHIBITED,  /* ICMP administratively prohibited */
  BACKEND_TOO_BIG,     /* ICMP fragmentation needed / packet too big */
};

/* Inputs for the connector. Bytes are lent until the callback returns; a
 * callback may open and close flows, its own too. */
struct backend_events {
  void (*on_packet)(void *ctx, uint32_t flow, const uint8_t *data, size_t len);
  void (*on_echo)(void *ctx, uint32_t flow, uint16_t seq, const uint8_t *data,
                  size_t len); /* echo reply */
  /* mtu is 0 except for BACKEND_TOO_BIG. */
  void (*on_error)(void *ctx, uint32_t flow, enum backend_error kind,
                   uint32_t mtu);
};

struct backend_counters {
  uint64_t open; /* now */
  uint64_t rx_packets, rx_bytes, rx_errors, rx_foreign;
  uint64_t tx_packets, tx_bytes, tx_dropped;
};
extern const struct metric backend_metrics[];

struct backend;

/* Flows are numbered 0 .. n_flows - 1 by the caller. NULL: no memory. */
struct backend *backend_new(uint32_t n_flows, const struct backend_events *ev,
                            void *ctx);
void backend_free(struct backend *b); /* closes all; NULL is fine */

/* Readable when backend_run has something to do. */
int backend_fd(const struct backend *b);
/* Reads what is there, within a bound; calls back. Returns how many callbacks
 * there were. */
int backend_run(struct backend *b);

/* A UDP socket connected to `to` (with port). 0, ZTNA_EEXIST (flow is open),
 * ZTNA_EINVAL (number out of range), ZTNA_EFULL (no descriptor left),
 * ZTNA_ENOENT (no route to that address), ZTNA_EPERM (a local filter or
 * missing privilege), ZTNA_EIO. */
int backend_open(struct backend *b, uint32_t flow, const struct ztna_addr *to);
/* A ping socket for `to` (port ignored): SOCK_DGRAM, else SOCK_RAW; ZTNA_EPERM
 * when this process may have neither (ping_group_range, CAP_NET_RAW). */
int backend_open_ping(struct backend *b, uint32_t flow,
                      const struct ztna_addr *to);
void backend_close(struct backend *b, uint32_t flow); /* closed is fine */

/* One datagram. 0, ZTNA_ENOENT (not open), ZTNA_EAGAIN (dropped: no buffer),
 * ZTNA_ESIZE (dropped: does not fit), ZTNA_EIO (dropped: other). ICMP errors
 * about earlier ones come by on_error only. */
int backend_send(struct backend *b, uint32_t flow, const uint8_t *data,
                 size_t len);
/* The same a little later, copied: neighbours of one flow and size leave as one
 * train (a lone send costs 3.5 us, one in a train of 30 a tenth of that). What
 * the system does not take is dropped and counted. */
void backend_queue(struct backend *b, uint32_t flow, const uint8_t *data,
                   size_t len);
/* Sends what is queued; call it before the loop sleeps. */
void backend_flush(struct backend *b);
/* One echo request on a ping flow; seq is kept, the identifier is the
 * kernel's, which is why a conversation has a socket of its own. */
int backend_send_echo(struct backend *b, uint32_t flow, uint16_t seq,
                      const uint8_t *data, size_t len);

const struct backend_counters *backend_counters(const struct backend *b);

#endif
