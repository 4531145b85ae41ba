/* backend_recv.c - what backends answer, and the ICMP errors about what was
 * sent to them. */
#include "host/backend_int.h"

#include <errno.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <string.h>
#include <sys/epoll.h>

#include <linux/errqueue.h> /* wants struct timespec */

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
