/* tcp_sock_int.h - what the files tcp_sock*.c share. */
#ifndef ZTNA_HOST_TCP_SOCK_INT_H
#define ZTNA_HOST_TCP_SOCK_INT_H

#include "base/heap.h"
#include "base/time.h"
#include "host/tcp_sock.h"

enum {
  LISTENERS_MAX = 64,
  /* Connection attempts beyond one per socket, over all: so the descriptors
   * stay bounded by the number of sockets. */
  EXTRA_MAX = 256,
};

enum tsock_state { TSOCK_FREE, TSOCK_DIALLING, TSOCK_OPEN };

/* Connection attempts for one socket (RFC 8305). */
struct dial {
  struct heap_node node;
  uint32_t sock;
  unsigned n, next, n_open;
  struct ztna_addr addrs[ZTNA_SOCK_ADDRS]; /* in the order of the attempts */
  int fds[ZTNA_SOCK_ADDRS];                /* -1: not open */
  uint64_t next_at, end_at;
  enum ztna_sock_error why; /* the most telling one so far */
};

struct tsock {
  int fd;
  uint32_t life; /* counts uses, so that a stale event is recognised */
  uint32_t events;
  uint8_t state;
  bool in_epoll;
  bool reading; /* the core has room */
  bool blocked; /* the kernel has none */
  bool eof;     /* the other end sends no more */
  bool broken;  /* it takes no more: _failed when all it sent was read */
  bool shut_due, shut;
  struct dial *dial;
};

struct tlistener {
  struct heap_node node; /* paused until then */
  int fd;
  void (*on_accept)(void *ctx, uint64_t now, int fd,
                    const struct ztna_addr *peer);
  void *ctx;
};

struct tcp_socks {
  int epoll_fd, timer_fd;
  uint64_t timer_at;
  uint32_t max;
  struct tsock *v;
  const struct tcp_sock_core *core;
  void *ctx;
  struct heap dials, pauses;
  unsigned n_attempts; /* descriptors that are being connected */
  struct tlistener listeners[LISTENERS_MAX];
  unsigned n_listeners;
  struct tcp_sock_counters counters;
};

/* What an epoll event is about. */
enum tag { TAG_SOCK, TAG_DIAL, TAG_LISTENER, TAG_TIMER };
union tag_data {
  uint64_t u64;
  struct {
    uint32_t number;
    uint32_t life : 24, tag : 4, attempt : 4;
  };
};

/* tcp_sock.c */
uint64_t tcp_sock_tag(const struct tcp_socks *t, enum tag tag, uint32_t number,
                      unsigned attempt);
/* Closes it; the core may use the number again. */
void tcp_sock_end(struct tcp_socks *t, uint32_t i);
void tcp_sock_fail(struct tcp_socks *t, uint64_t now, uint32_t i,
                   enum ztna_sock_error why);
void tcp_sock_arm(struct tcp_socks *t);

/* tcp_sock_io.c */
/* fd, connected, becomes number i's. 0 or ZTNA_ENOMEM (fd is closed). */
int tcp_sock_open(struct tcp_socks *t, uint32_t i, int fd, bool in_epoll);
void tcp_sock_ready(struct tcp_socks *t, uint64_t now, uint32_t i,
                    uint32_t events, size_t *budget);
void tcp_sock_read(struct tcp_socks *t, uint64_t now, uint32_t i);
void tcp_sock_write(struct tcp_socks *t, uint64_t now, uint32_t i);
void tcp_sock_shut(struct tcp_socks *t, uint64_t now, uint32_t i);
void tcp_sock_close(struct tcp_socks *t, uint64_t now, uint32_t i);
void tcp_sock_abort(struct tcp_socks *t, uint32_t i);

/* tcp_sock_dial.c */
void tcp_sock_dial(struct tcp_socks *t, uint64_t now,
                   const struct ztna_sock_op *op);
void tcp_sock_dial_ready(struct tcp_socks *t, uint64_t now, uint32_t i,
                         unsigned attempt);
void tcp_sock_dial_tick(struct tcp_socks *t, uint64_t now);
void tcp_sock_dial_end(struct tcp_socks *t, struct dial *d);

/* tcp_sock_listen.c */
void tcp_sock_accept(struct tcp_socks *t, uint64_t now, uint32_t listener);
void tcp_sock_listen_tick(struct tcp_socks *t, uint64_t now);
void tcp_sock_listen_free(struct tcp_socks *t);

#endif
