/* udp_recv.c - trains in (GRO), with the address they came to and their ECN
 * bits. */
#include "host/udp_int.h"

#include <errno.h>
#include <string.h>
#include <ztna/err.h>

static void rx_prepare(struct udp *u, int n) {
  for (int i = 0; i < n; i++) {
    u->rx_iovs[i].iov_base = u->rx_room + (size_t)i * RX_ROOM;
    u->rx_iovs[i].iov_len = RX_ROOM;
    u->rx_msgs[i].msg_hdr = (struct msghdr){
        .msg_name = &u->rx_names[i],
        .msg_namelen = sizeof(u->rx_names[i]),
        .msg_iov = &u->rx_iovs[i],
        .msg_iovlen = 1,
        .msg_control = &u->rx_controls[i],
        .msg_controllen = sizeof(u->rx_controls[i]),
    };
  }
}

static void rx_control(struct dgram *d, uint16_t port,
                       const struct cmsghdr *c) {
  int value;
  switch (c->cmsg_level) {
  case IPPROTO_IP:
    if (c->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof(info));
      d->local = ztna_addr_v4(&info.ipi_spec_dst, port);
    } else if (c->cmsg_type == IP_TOS) { /* one byte, unlike all others */
      d->ecn = *CMSG_DATA(c) & 3;
    }
    break;
  case IPPROTO_IPV6:
    if (c->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof(info));
      bool scoped = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr);
      d->local = ztna_addr_v6(&info.ipi6_addr, port,
                              scoped ? (uint32_t)info.ipi6_ifindex : 0);
    } else if (c->cmsg_type == IPV6_TCLASS) {
      memcpy(&value, CMSG_DATA(c), sizeof(value));
      d->ecn = value & 3;
    }
    break;
  case IPPROTO_UDP:
    if (c->cmsg_type == UDP_GRO) {
      memcpy(&value, CMSG_DATA(c), sizeof(value));
      if (value > 0 && (uint32_t)value < d->len) d->seg = (uint16_t)value;
    }
    break;
  }
}

/* False: nothing a core could use. */
static bool rx_parse(struct udp *u, const struct sock *s, struct mmsghdr *m,
                     struct dgram *d) {
  struct msghdr *h = &m->msg_hdr;
  if (h->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
    u->counters.rx_truncated++;
    return false;
  }
  if (m->msg_len == 0) return false;
  *d = (struct dgram){
      .local = s->local,
      .data = h->msg_iov->iov_base,
      .len = m->msg_len,
      .seg = (uint16_t)m->msg_len,
      .sock = s->number,
  };
  if (ztna_addr_from_sockaddr(&d->remote, h->msg_name) < 0) return false;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
    rx_control(d, s->local.port, c);
  u->counters.rx_trains++;
  u->counters.rx_packets += (d->len + d->seg - 1) / d->seg;
  u->counters.rx_bytes += d->len;
  return true;
}

/* Returns what the kernel filled; *n is how many of them are of use. */
static int rx_batch(struct udp *u, const struct sock *s, struct dgram *v,
                    int max, int *n) {
  int got;
  *n = 0;
  rx_prepare(u, max);
  /* ECONNREFUSED: an ICMP error about an earlier send; the socket is not
   * connected, so it says nothing about what waits. Bounded all the same. */
  int tries = 8;
  do {
    got = recvmmsg(s->fd, u->rx_msgs, (unsigned)max, MSG_DONTWAIT, NULL);
  } while (got < 0 && (errno == EINTR || errno == ECONNREFUSED) && --tries);
  if (got < 0) {
    if (errno != EAGAIN && errno != EWOULDBLOCK) u->counters.rx_errors++;
    return 0;
  }
  for (int i = 0; i < got; i++)
    if (rx_parse(u, s, &u->rx_msgs[i], &v[*n])) ++*n;
  return got;
}

static int recv_sock(struct udp *u, const struct sock *s, struct dgram *v,
                     int max) {
  int n, got;
  if (max > UDP_BATCH) max = UDP_BATCH;
  /* A batch of nothing but useless packets must not look like the end. */
  do {
    got = rx_batch(u, s, v, max, &n);
  } while (got == max && n == 0);
  return n;
}

static int recv_extra(struct udp *u, struct dgram *v, int max) {
  int n = 0;
  for (int tries = UDP_BATCH; n == 0 && tries > 0; tries--) {
    const struct sock *s = udp_extra_ready(u);
    if (!s) break;
    n = recv_sock(u, s, v, max);
  }
  return n;
}

int udp_recv_from(struct udp *u, int socket, struct dgram *v, int max) {
  if (socket == UDP_EXTRA) return recv_extra(u, v, max);
  return recv_sock(u, &u->socks[socket], v, max);
}

int udp_recv(struct udp *u, struct dgram *v, int max) {
  for (int i = 0; i < u->n; i++) {
    int socket = u->turn;
    u->turn = (u->turn + 1) % u->n;
    int n = udp_recv_from(u, socket, v, max);
    if (n > 0) return n;
  }
  return recv_extra(u, v, max);
}
