/* tcp_sock.h - the TCP sockets of a core (ztna/sock.h): a connector's backends,
 * the programs of an agent without a TUN. A bounded table from socket number to
 * descriptor, and the listening sockets of the same role.
 *
 * All of them hang in one nested epoll descriptor, as in backend.h, which the
 * loop watches: a connection needs no libuv handle, an idle table costs
 * nothing. Bytes go straight between the kernel and the core's memory. */
#ifndef ZTNA_HOST_TCP_SOCK_H
#define ZTNA_HOST_TCP_SOCK_H

#include <ztna/sock.h>

#include "base/metrics.h"

/* The core's verbs, as ztna/sock.h describes them. None of them calls back into
 * the table: what the core wants is said by next. */
struct tcp_sock_core {
  bool (*next)(void *ctx, struct ztna_sock_op *op);
  void (*connected)(void *ctx, uint64_t now, uint32_t sock);
  void (*failed)(void *ctx, uint64_t now, uint32_t sock,
                 enum ztna_sock_error why);
  uint8_t *(*room)(void *ctx, uint32_t sock, size_t *room);
  void (*read)(void *ctx, uint64_t now, uint32_t sock, size_t n);
  void (*eof)(void *ctx, uint64_t now, uint32_t sock);
  int (*peek)(void *ctx, uint32_t sock, struct ztna_sock_vec *v, int n);
  void (*wrote)(void *ctx, uint64_t now, uint32_t sock, size_t n);
};

struct tcp_sock_counters {
  uint64_t open, dialling; /* now */
  uint64_t connected, adopted;
  uint64_t refused, unreachable, timeout, reset, no_room; /* _failed, by kind */
  uint64_t rx_bytes, tx_bytes;
  uint64_t accept_pauses;
};
extern const struct metric tcp_sock_metrics[];

struct tcp_socks;

/* Sockets are numbered 0 .. max - 1 by the core. NULL: no memory or descriptor.
 */
struct tcp_socks *tcp_socks_new(uint32_t max, const struct tcp_sock_core *core,
                                void *ctx);
/* Resets all, and stops listening; NULL is fine. The core hears nothing. */
void tcp_socks_free(struct tcp_socks *t);

/* For host_watch: readable when tcp_socks_run has something to do. */
int tcp_socks_fd(const struct tcp_socks *t);
/* Serves sockets that are ready, in turn and within a bound, and what is due by
 * time. Returns how many were served. */
int tcp_socks_run(struct tcp_socks *t, uint64_t now);
/* Does what the core wants until it wants nothing more: a role's `flush`. */
void tcp_socks_flush(struct tcp_socks *t, uint64_t now);

/* The connected socket fd (taken over) is the core's number `sock` from now on.
 * Without memory for it the core hears _failed(NO_ROOM). */
void tcp_socks_adopt(struct tcp_socks *t, uint64_t now, uint32_t sock, int fd);

/* Gives a connected socket back: it is the caller's, and the number is free.
 * -1: that number has none. */
int tcp_socks_take(struct tcp_socks *t, uint32_t sock);
/* Its descriptor, which stays the table's; -1. */
int tcp_socks_look(const struct tcp_socks *t, uint32_t sock);
/* Bytes of the skin's own in front of all the core writes, few enough for any
 * socket's empty buffer (a proxy's reply). */
void tcp_socks_say(struct tcp_socks *t, uint32_t sock, const void *data,
                   size_t len);

/* Takes connections at an address; fd is the callee's, set to not block and not
 * to be inherited. The callback may adopt it. While there is no descriptor left
 * it pauses for 100 ms and tries again. `bound` (may be NULL) gets the address
 * with its port. 0, ZTNA_EFULL (too many listeners), ZTNA_EEXIST (in use),
 * ZTNA_EPERM (a port below 1024), ZTNA_ENOENT (no address of this machine),
 * ZTNA_EIO. */
int tcp_socks_listen(struct tcp_socks *t, const struct ztna_addr *at,
                     void (*on_accept)(void *ctx, uint64_t now, int fd,
                                       const struct ztna_addr *peer),
                     void *ctx, struct ztna_addr *bound);

const struct tcp_sock_counters *tcp_socks_counters(const struct tcp_socks *t);

#endif
