/* backend_int.h - what the files backend*.c share. */
#ifndef ZTNA_HOST_BACKEND_INT_H
#define ZTNA_HOST_BACKEND_INT_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/dgram.h"
#include "host/backend.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef ICMP_FILTER
#define ICMP_FILTER 1
#endif

enum {
  RX_BATCH = 32,
  RX_ROOM = 65535,
  RUN_EVENTS = 64, /* sockets served in one backend_run */
  ERROR_BURST = 8, /* ICMP errors read from a socket at once */
  ECHO_HEADER = 8,
};

enum kind { CLOSED, UDP, PING, PING_RAW };

struct flow {
  int fd;
  uint32_t life; /* counts opens, so that a stale event is recognised */
  uint8_t kind;
  struct ztna_addr peer;
  uint16_t ping_id; /* PING_RAW: ours; else the kernel's */
};

union control {
  struct cmsghdr align;
  uint8_t room[CMSG_SPACE(sizeof(int))];
};

/* Datagrams of one flow on their way out: all of one size, but for a shorter
 * last one. */
struct train {
  uint32_t flow;
  unsigned n;
  size_t seg, len;
  uint8_t bytes[DGRAM_MAX_BYTES];
};

struct backend {
  int epoll_fd;
  uint32_t n_flows;
  struct flow *flows;
  const struct backend_events *ev;
  void *ctx;
  struct backend_counters counters;
  bool ping_denied; /* said once */
  bool no_gso;      /* the system cannot cut trains */
  struct train train;

  uint8_t *rx_room; /* RX_BATCH * RX_ROOM, touched only as far as used */
  struct mmsghdr rx_msgs[RX_BATCH];
  struct iovec rx_iovs[RX_BATCH];
  struct sockaddr_storage rx_names[RX_BATCH];
  union control rx_controls[RX_BATCH];
};

/* An open flow; NULL for any other number. */
struct flow *backend_flow(struct backend *b, uint32_t flow);

#endif
