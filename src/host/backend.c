/* backend.c - connected UDP and ping sockets behind one epoll descriptor. */
#include "host/backend.h"

#include <errno.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <ztna/err.h>

#include <linux/errqueue.h> /* wants struct timespec */

#include "base/dgram.h"
#include "base/log.h"

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

static struct flow *flow_get(struct backend *b, uint32_t flow) {
  if (flow >= b->n_flows || b->flows[flow].kind == CLOSED) return NULL;
  return &b->flows[flow];
}

void backend_close(struct backend *b, uint32_t flow) {
  struct flow *f = flow_get(b, flow);
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
               " net.ipv4.ping_group_range=\"0 2147483647\" or CAP_NET_RAW");
    }
    return rc;
  }
  rc = flow_add(b, flow, kind, fd, &peer);
  /* Raw sockets of all processes see all replies; the pid keeps them apart as
   * well as 16 bits can. */
  if (rc == 0) b->flows[flow].ping_id = (uint16_t)(flow + (uint32_t)getpid());
  return rc;
}

/* --- sending */

static int send_failed(struct backend *b, int err) {
  b->counters.tx_dropped++;
  switch (err) {
  case EAGAIN:
  case ENOBUFS:
  case ENOMEM:
    return ZTNA_EAGAIN;
  case EMSGSIZE:
    return ZTNA_ESIZE;
  default:
    return ZTNA_EIO;
  }
}

static int flow_send(struct backend *b, struct flow *f, const struct iovec *v,
                     size_t n) {
  struct msghdr h = {.msg_iov = (struct iovec *)v, .msg_iovlen = n};
  int rc, tries = 4;
  /* A send first hands out the error of an earlier one. That is in the error
   * queue as well and reported from there; this packet deserves its try. */
  do {
    rc = (int)sendmsg(f->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (rc < 0 && --tries && errno != EAGAIN && errno != ENOBUFS &&
           errno != EMSGSIZE);
  if (rc < 0) return send_failed(b, errno);
  b->counters.tx_packets++;
  b->counters.tx_bytes += v[n - 1].iov_len;
  return 0;
}

int backend_send(struct backend *b, uint32_t flow, const uint8_t *data,
                 size_t len) {
  struct flow *f = flow_get(b, flow);
  struct iovec v = {(void *)data, len};
  if (!f || f->kind != UDP) return ZTNA_ENOENT;
  return flow_send(b, f, &v, 1);
}

/* --- sending trains */

static int train_send_whole(struct flow *f, struct train *t) {
  union control room = {0};
  struct iovec iov = {t->bytes, t->len};
  struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room};
  uint16_t seg = (uint16_t)t->seg;
  int rc, tries = 4; /* as in flow_send */

  h.msg_controllen = CMSG_SPACE(sizeof(seg));
  struct cmsghdr *c = CMSG_FIRSTHDR(&h);
  c->cmsg_level = IPPROTO_UDP;
  c->cmsg_type = UDP_SEGMENT;
  c->cmsg_len = CMSG_LEN(sizeof(seg));
  memcpy(CMSG_DATA(c), &seg, sizeof(seg));
  do {
    rc = (int)sendmsg(f->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (rc < 0 && --tries && errno != EAGAIN && errno != ENOBUFS &&
           errno != EMSGSIZE && errno != EINVAL && errno != EIO);
  return rc < 0 ? -errno : 0;
}

static void train_send_singly(struct backend *b, struct train *t) {
  for (size_t off = 0; off < t->len; off += t->seg) {
    size_t left = t->len - off;
    backend_send(b, t->flow, t->bytes + off, left < t->seg ? left : t->seg);
  }
}

/* Segments above the interface's MTU cannot leave as a train, and nothing can
 * where checksums are not offloaded; singly they may. */
static void train_send(struct backend *b, struct train *t) {
  struct flow *f = flow_get(b, t->flow);
  int rc = f && t->n > 1 && !b->no_gso ? train_send_whole(f, t) : -EMSGSIZE;

  if (rc == 0) {
    b->counters.tx_packets += t->n;
    b->counters.tx_bytes += t->len;
  } else if (rc == -EMSGSIZE || rc == -EINVAL || rc == -EIO) {
    if (rc == -EIO) b->no_gso = true;
    train_send_singly(b, t);
  } else {
    b->counters.tx_dropped += t->n;
  }
}

static bool train_takes(const struct train *t, uint32_t flow, size_t len) {
  if (!t->n) return true;
  return t->flow == flow && t->len % t->seg == 0 && len <= t->seg &&
         t->n < DGRAM_MAX_SEGS && t->len + len <= sizeof(t->bytes);
}

void backend_flush(struct backend *b) {
  if (b->train.n) train_send(b, &b->train);
  b->train.n = 0;
  b->train.len = 0;
}

void backend_queue(struct backend *b, uint32_t flow, const uint8_t *data,
                   size_t len) {
  struct train *t = &b->train;
  struct flow *f = flow_get(b, flow);

  if (!train_takes(t, flow, len) || !len) backend_flush(b);
  if (!len || len > sizeof(t->bytes)) {
    backend_send(b, flow, data, len);
    return;
  }
  if (!f || f->kind != UDP) return;
  if (!t->n++) {
    t->flow = flow;
    t->seg = len;
  }
  memcpy(t->bytes + t->len, data, len);
  t->len += len;
}

/* --- sending echo requests */

static uint32_t sum16(const uint8_t *p, size_t n) {
  uint32_t sum = 0;
  for (; n > 1; p += 2, n -= 2) sum += (uint32_t)p[0] << 8 | p[1];
  if (n) sum += (uint32_t)p[0] << 8;
  return sum;
}

/* RFC 1071; pings are rare and small, so simple is fast enough. */
static uint16_t echo_checksum(const uint8_t *head, const uint8_t *data,
                              size_t len) {
  uint32_t sum = sum16(head, ECHO_HEADER) + sum16(data, len);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

int backend_send_echo(struct backend *b, uint32_t flow, uint16_t seq,
                      const uint8_t *data, size_t len) {
  struct flow *f = flow_get(b, flow);
  if (!f || f->kind == UDP) return ZTNA_ENOENT;
  if (len > RX_ROOM - 64) return ZTNA_ESIZE;
  bool v4 = f->peer.family == 4;
  uint8_t head[ECHO_HEADER] = {v4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST};
  head[4] = (uint8_t)(f->ping_id >> 8);
  head[5] = (uint8_t)f->ping_id;
  head[6] = (uint8_t)(seq >> 8);
  head[7] = (uint8_t)seq;
  if (v4) { /* ICMPv6's covers addresses: the kernel does it */
    uint16_t sum = echo_checksum(head, data, len);
    head[2] = (uint8_t)(sum >> 8);
    head[3] = (uint8_t)sum;
  }
  struct iovec v[2] = {{head, sizeof(head)}, {(void *)data, len}};
  return flow_send(b, f, v, 2);
}

/* --- receiving */

static bool still_open(struct backend *b, uint32_t flow, uint32_t life) {
  return b->flows[flow].kind != CLOSED && b->flows[flow].life == life;
}

/* Which error the queue entry tells of; false: none of ours. */
static bool error_kind(const struct sock_extended_err *e,
                       enum backend_error *kind) {
  if (e->ee_origin != SO_EE_ORIGIN_ICMP && e->ee_origin != SO_EE_ORIGIN_ICMP6 &&
      e->ee_origin != SO_EE_ORIGIN_LOCAL)
    return false;
  switch (e->ee_errno) {
  case ECONNREFUSED:
    *kind = BACKEND_REFUSED;
    return true;
  case EMSGSIZE:
    *kind = BACKEND_TOO_BIG;
    return true;
  case EACCES:
  case EPERM:
    *kind = BACKEND_PROHIBITED;
    return true;
  case EHOSTUNREACH:
  case ENETUNREACH:
  case EHOSTDOWN:
  case ENONET:
  case ENOPROTOOPT:
    *kind = BACKEND_UNREACHABLE;
    return true;
  default:
    return false;
  }
}

static bool is_prohibited(const struct sock_extended_err *e) {
  if (e->ee_origin == SO_EE_ORIGIN_ICMP)
    return e->ee_type == ICMP_DEST_UNREACH &&
           (e->ee_code == ICMP_NET_ANO || e->ee_code == ICMP_HOST_ANO ||
            e->ee_code == ICMP_PKT_FILTERED);
  return e->ee_origin == SO_EE_ORIGIN_ICMP6 &&
         e->ee_type == ICMPV6_DEST_UNREACH &&
         e->ee_code == ICMPV6_ADM_PROHIBITED;
}

static int deliver_error(struct backend *b, uint32_t flow,
                         const struct sock_extended_err *e) {
  enum backend_error kind;
  if (!error_kind(e, &kind)) return 0;
  if (is_prohibited(e)) kind = BACKEND_PROHIBITED;
  b->counters.rx_errors++;
  b->ev->on_error(b->ctx, flow, kind, kind == BACKEND_TOO_BIG ? e->ee_info : 0);
  return 1;
}

static const struct sock_extended_err *find_error(struct msghdr *h) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
    if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
        (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
      return (const struct sock_extended_err *)CMSG_DATA(c);
  return NULL;
}

/* Empties the error queue. */
static int run_errors(struct backend *b, uint32_t flow, uint32_t life) {
  union {
    struct cmsghdr align;
    uint8_t room[256];
  } control;
  uint8_t quoted[64]; /* our own packet comes back; of no use here */
  int calls = 0;
  for (int i = 0; i < ERROR_BURST && still_open(b, flow, life); i++) {
    struct iovec iov = {quoted, sizeof(quoted)};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    h.msg_control = &control;
    h.msg_controllen = sizeof(control);
    if (recvmsg(b->flows[flow].fd, &h, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) break;
    const struct sock_extended_err *e = find_error(&h);
    if (e) calls += deliver_error(b, flow, e);
  }
  return calls;
}

static int deliver_echo(struct backend *b, uint32_t flow, const uint8_t *p,
                        size_t len, const struct sockaddr_storage *from) {
  const struct flow *f = &b->flows[flow];
  struct ztna_addr source;
  bool v4 = f->peer.family == 4;
  if (f->kind == PING_RAW && v4) { /* raw v4 comes with its IP header */
    size_t ip_header = len ? (size_t)(p[0] & 15) * 4 : 0;
    if (ip_header < 20 || len < ip_header) return 0;
    p += ip_header;
    len -= ip_header;
  }
  if (len < ECHO_HEADER) return 0;
  if (p[0] != (v4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY)) return 0;
  uint16_t id = (uint16_t)(p[4] << 8 | p[5]);
  /* The kernel looks a ping socket up by identifier alone. */
  bool ours = ztna_addr_from_sockaddr(&source, from) == 0 &&
              ztna_addr_same_ip(&source, &f->peer) &&
              (f->kind != PING_RAW || id == f->ping_id);
  if (!ours) {
    b->counters.rx_foreign++;
    return 0;
  }
  b->counters.rx_packets++;
  b->counters.rx_bytes += len - ECHO_HEADER;
  b->ev->on_echo(b->ctx, flow, (uint16_t)(p[6] << 8 | p[7]), p + ECHO_HEADER,
                 len - ECHO_HEADER);
  return 1;
}

static size_t gro_size(struct msghdr *h, size_t len) {
  int value = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
    if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
      memcpy(&value, CMSG_DATA(c), sizeof(value));
  return value > 0 ? (size_t)value : len;
}

static int deliver_udp(struct backend *b, uint32_t flow, uint32_t life,
                       const uint8_t *p, size_t len, size_t seg) {
  int calls = 0;
  do { /* once for an empty datagram, too: UDP has them */
    size_t n = len < seg ? len : seg;
    b->counters.rx_packets++;
    b->counters.rx_bytes += n;
    b->ev->on_packet(b->ctx, flow, p, n);
    calls++;
    p += n;
    len -= n;
  } while (len > 0 && still_open(b, flow, life));
  return calls;
}

static int rx_batch(struct backend *b, int fd) {
  for (int i = 0; i < RX_BATCH; i++) {
    b->rx_iovs[i].iov_base = b->rx_room + (size_t)i * RX_ROOM;
    b->rx_iovs[i].iov_len = RX_ROOM;
    b->rx_msgs[i].msg_hdr = (struct msghdr){
        .msg_name = &b->rx_names[i],
        .msg_namelen = sizeof(b->rx_names[i]),
        .msg_iov = &b->rx_iovs[i],
        .msg_iovlen = 1,
        .msg_control = &b->rx_controls[i],
        .msg_controllen = sizeof(b->rx_controls[i]),
    };
  }
  return recvmmsg(fd, b->rx_msgs, RX_BATCH, MSG_DONTWAIT, NULL);
}

static int run_packets(struct backend *b, uint32_t flow, uint32_t life) {
  int n = rx_batch(b, b->flows[flow].fd);
  int calls = 0;
  for (int i = 0; i < n && still_open(b, flow, life); i++) {
    struct msghdr *h = &b->rx_msgs[i].msg_hdr;
    const uint8_t *p = b->rx_iovs[i].iov_base;
    size_t len = b->rx_msgs[i].msg_len;
    if (h->msg_flags & MSG_TRUNC) continue;
    if (b->flows[flow].kind == UDP)
      calls += deliver_udp(b, flow, life, p, len, gro_size(h, len));
    else
      calls += deliver_echo(b, flow, p, len, &b->rx_names[i]);
  }
  return calls;
}

int backend_run(struct backend *b) {
  struct epoll_event v[RUN_EVENTS];
  int calls = 0, n;
  do {
    n = epoll_wait(b->epoll_fd, v, RUN_EVENTS, 0);
  } while (n < 0 && errno == EINTR);
  for (int i = 0; i < n; i++) {
    uint32_t flow = (uint32_t)v[i].data.u64;
    uint32_t life = (uint32_t)(v[i].data.u64 >> 32);
    /* An earlier callback of this run may have closed or reopened it. */
    if (still_open(b, flow, life) && (v[i].events & EPOLLERR))
      calls += run_errors(b, flow, life);
    if (still_open(b, flow, life) && (v[i].events & (EPOLLIN | EPOLLERR)))
      calls += run_packets(b, flow, life);
  }
  return calls;
}
