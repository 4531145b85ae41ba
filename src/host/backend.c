/* backend.c - connected UDP and ping sockets behind one epoll descriptor:
 * opened and closed here, sending in backend_send.c, receiving in
 * backend_recv.c. */
#include "host/backend_int.h"

#include <errno.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/log.h"

#define METRIC(member, metric, kind, text)                      \
  {                                                             \
    .name = "ztna_backend_" metric, .help = text, .type = kind, \
    .offset = offsetof(struct backend_counters, member)         \
  }

const struct metric backend_metrics[] = {
    METRIC(open, "sockets", METRIC_GAUGE, "Backend sockets open now"),
    METRIC(rx_packets, "rx_packets_total", METRIC_COUNTER,
           "Packets received from backends"),
    METRIC(rx_bytes, "rx_bytes_total", METRIC_COUNTER,
           "Payload bytes received from backends"),
    METRIC(rx_errors, "rx_errors_total", METRIC_COUNTER,
           "ICMP errors received about packets to backends"),
    METRIC(rx_foreign, "rx_foreign_total", METRIC_COUNTER,
           "Packets dropped because they were not from the flow's backend"),
    METRIC(tx_packets, "tx_packets_total", METRIC_COUNTER,
           "Packets sent to backends"),
    METRIC(tx_bytes, "tx_bytes_total", METRIC_COUNTER,
           "Payload bytes sent to backends"),
    METRIC(tx_dropped, "tx_dropped_total", METRIC_COUNTER,
           "Packets to backends that the system did not take"),
    {0},
};

/* --- life */

struct backend *backend_new(uint32_t n_flows, const struct backend_events *ev,
                            void *ctx) {
  struct backend *b = calloc(1, sizeof(*b));
  if (!b) return NULL;
  b->n_flows = n_flows;
  b->ev = ev;
  b->ctx = ctx;
  b->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  b->flows = calloc(n_flows ? n_flows : 1, sizeof(*b->flows));
  b->rx_room = malloc((size_t)RX_BATCH * RX_ROOM);
  if (b->epoll_fd < 0 || !b->flows || !b->rx_room) {
    backend_free(b);
    return NULL;
  }
  return b;
}

void backend_free(struct backend *b) {
  if (!b) return;
  if (b->flows)
    for (uint32_t i = 0; i < b->n_flows; i++) backend_close(b, i);
  if (b->epoll_fd >= 0) close(b->epoll_fd);
  free(b->flows);
  free(b->rx_room);
  free(b);
}

int backend_fd(const struct backend *b) { return b->epoll_fd; }

const struct backend_counters *backend_counters(const struct backend *b) {
  return &b->counters;
}

struct flow *backend_flow(struct backend *b, uint32_t flow) {
  if (flow >= b->n_flows || b->flows[flow].kind == CLOSED) return NULL;
  return &b->flows[flow];
}

void backend_close(struct backend *b, uint32_t flow) {
  struct flow *f = backend_flow(b, flow);
  if (!f) return;
  close(f->fd); /* leaves the epoll set by itself */
  f->kind = CLOSED;
  b->counters.open--;
}

/* --- opening */

static int set_int(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value));
}

static int open_failed(int err) {
  switch (err) {
  case EMFILE:
  case ENFILE:
  case ENOBUFS:
  case ENOMEM:
    return ZTNA_EFULL;
  case ENETUNREACH:
  case EHOSTUNREACH:
  case EADDRNOTAVAIL:
  case EAFNOSUPPORT:
    return ZTNA_ENOENT;
  case EPERM:
  case EACCES:
    return ZTNA_EPERM;
  default:
    log_debug("backend: open: %s", strerror(err));
    return ZTNA_EIO;
  }
}

/* Connects fd and puts it into the table; on failure fd is closed. */
static int flow_add(struct backend *b, uint32_t flow, enum kind kind, int fd,
                    const struct ztna_addr *to) {
  struct flow *f = &b->flows[flow];
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(to, &ss);
  struct epoll_event ev = {.events = EPOLLIN};
  ev.data.u64 = (uint64_t)(f->life + 1) << 32 | flow;

  if (to->family == 4)
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
  else
    set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
  if (connect(fd, (struct sockaddr *)&ss, len) < 0 ||
      epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
    int rc = open_failed(errno);
    close(fd);
    return rc;
  }
  f->fd = fd;
  f->life++;
  f->kind = kind;
  f->peer = *to;
  b->counters.open++;
  return 0;
}

static int may_open(const struct backend *b, uint32_t flow,
                    const struct ztna_addr *to) {
  if (flow >= b->n_flows || to->family == 0) return ZTNA_EINVAL;
  return b->flows[flow].kind == CLOSED ? 0 : ZTNA_EEXIST;
}

static int family_of(const struct ztna_addr *a) {
  return a->family == 4 ? AF_INET : AF_INET6;
}

int backend_open(struct backend *b, uint32_t flow, const struct ztna_addr *to) {
  int rc = may_open(b, flow, to);
  if (rc < 0) return rc;
  int fd = socket(family_of(to), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return open_failed(errno);
  set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
  return flow_add(b, flow, UDP, fd, to);
}

/* A raw socket sees all ICMP of the machine: let only echo replies through. */
static void filter_raw(int fd, int family) {
  if (family == 4) {
    uint32_t blocked = ~(1U << ICMP_ECHOREPLY);
    setsockopt(fd, SOL_RAW, ICMP_FILTER, &blocked, sizeof(blocked));
  } else {
    struct icmp6_filter {
      uint32_t blocked[8];
    } f;
    memset(&f, 0xff, sizeof(f));
    f.blocked[ICMPV6_ECHO_REPLY >> 5] &= ~(1U << (ICMPV6_ECHO_REPLY & 31));
    setsockopt(fd, IPPROTO_ICMPV6, ICMPV6_FILTER, &f, sizeof(f));
  }
}

static int ping_socket(const struct ztna_addr *to, enum kind *kind) {
  int family = family_of(to);
  int proto = to->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
  int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
  *kind = PING;
  int fd = socket(family, SOCK_DGRAM | flags, proto);
  if (fd >= 0 || (errno != EACCES && errno != EPERM)) return fd;
  *kind = PING_RAW;
  fd = socket(family, SOCK_RAW | flags, proto);
  if (fd >= 0) filter_raw(fd, to->family);
  return fd;
}

int backend_open_ping(struct backend *b, uint32_t flow,
                      const struct ztna_addr *to) {
  enum kind kind;
  struct ztna_addr peer = *to;
  int rc = may_open(b, flow, to);
  if (rc < 0) return rc;
  peer.port = 0;
  int fd = ping_socket(&peer, &kind);
  if (fd < 0) {
    rc = open_failed(errno);
    if (rc == ZTNA_EPERM && !b->ping_denied) {
      b->ping_denied = true;
      log_warn("backend: may not send pings; allow it with sysctl"
               " net.ipv4.ping_group_range=\"0 2147483647\"");
    }
    return rc;
  }
  rc = flow_add(b, flow, kind, fd, &peer);
  /* Raw sockets of all processes see all replies; the pid keeps them apart as
   * well as 16 bits can. */
  if (rc == 0) b->flows[flow].ping_id = (uint16_t)(flow + (uint32_t)getpid());
  return rc;
}
