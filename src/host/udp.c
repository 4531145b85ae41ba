/* udp.c - UDP sockets with trains: GRO in, GSO out.
 *
 * System calls, not cryptography, set the pace (DESIGN, 7), so what can leave
 * together does: neighbours for one destination become one train, trains for
 * several become one sendmmsg. */
#include "host/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/log.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum {
  RX_ROOM = 65535,
  RX_SOCKET_BUFFER = 8 << 20, /* 25 ms at 2.5 Gbit/s, skb overhead included */
  TX_SOCKET_BUFFER = 2 << 20, /* a few trains; more would only be delay */
  TX_BATCH = 32,              /* messages of one sendmmsg */
  TX_PIECES = 256,            /* buffers of all of them */
};

/* Room for one packet's PKTINFO, TOS and segment size. */
union control {
  struct cmsghdr align;
  uint8_t room[CMSG_SPACE(sizeof(struct in6_pktinfo)) +
               2 * CMSG_SPACE(sizeof(int))];
};

struct sock {
  int fd;
  struct ztna_addr local;
  bool wildcard;
  bool gso; /* false once the way out had no checksum offload */
};

/* One message to send: pieces of v from [first] at byte `off` on; `end` is the
 * first of v that is not wholly in it or in a message before it. */
struct train {
  int first, end;
  uint32_t off;
  uint32_t bytes;
  uint16_t seg;
  uint16_t n_segs;
  bool pktinfo;
};

struct udp {
  struct sock socks[UDP_MAX_SOCKETS];
  int n;
  int turn;    /* whose turn it is in udp_recv */
  int blocked; /* index or -1 */
  bool changed;
  struct udp_counters counters;

  uint8_t *rx_room; /* UDP_BATCH * RX_ROOM */
  struct mmsghdr rx_msgs[UDP_BATCH];
  struct iovec rx_iovs[UDP_BATCH];
  struct sockaddr_storage rx_names[UDP_BATCH];
  union control rx_controls[UDP_BATCH];

  struct train tx_trains[TX_BATCH];
  struct mmsghdr tx_msgs[TX_BATCH];
  struct iovec tx_iovs[TX_PIECES];
  struct sockaddr_storage tx_names[TX_BATCH];
  union control tx_controls[TX_BATCH];
};

#define COUNTER(member, text)                                               \
  {                                                                         \
    .name = "ztna_udp_" #member "_total", .help = text,                     \
    .type = METRIC_COUNTER, .offset = offsetof(struct udp_counters, member) \
  }

const struct metric udp_metrics[] = {
    COUNTER(rx_packets, "UDP packets received"),
    COUNTER(rx_bytes, "UDP payload bytes received"),
    COUNTER(rx_trains, "Receives, each of one packet or one GRO train"),
    COUNTER(rx_truncated, "Receives dropped because they did not fit"),
    COUNTER(rx_errors, "Receive calls that failed"),
    COUNTER(tx_packets, "UDP packets sent"),
    COUNTER(tx_bytes, "UDP payload bytes sent"),
    COUNTER(tx_sends, "Sends, each of one packet or one GSO train"),
    COUNTER(tx_too_big, "Packets dropped as larger than the interface MTU"),
    COUNTER(tx_no_buffer, "Packets dropped because the system had no buffer"),
    COUNTER(tx_unreachable, "Packets dropped because there was no route"),
    COUNTER(tx_refused, "Packets dropped by a local packet filter"),
    COUNTER(tx_failed, "Packets dropped for another reason"),
    COUNTER(tx_blocked, "Times a send buffer was full"),
    COUNTER(gso_repeats, "Trains repeated segment by segment"),
    COUNTER(source_gone, "Sends whose local address had left the machine"),
    {0},
};

/* --- life */

struct udp *udp_new(void) {
  struct udp *u = calloc(1, sizeof(*u));
  if (!u) return NULL;
  u->blocked = -1;
  u->rx_room = malloc((size_t)UDP_BATCH * RX_ROOM);
  if (!u->rx_room) {
    free(u);
    return NULL;
  }
  return u;
}

void udp_free(struct udp *u) {
  if (!u) return;
  for (int i = 0; i < u->n; i++) close(u->socks[i].fd);
  free(u->rx_room);
  free(u);
}

static int set_int(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value));
}

/* FORCE passes net.core.rmem_max, but wants CAP_NET_ADMIN. */
static void set_buffers(int fd) {
  if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, RX_SOCKET_BUFFER) < 0)
    set_int(fd, SOL_SOCKET, SO_RCVBUF, RX_SOCKET_BUFFER);
  if (set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, TX_SOCKET_BUFFER) < 0)
    set_int(fd, SOL_SOCKET, SO_SNDBUF, TX_SOCKET_BUFFER);
}

/* What the protocol cannot do without; GRO alone is only speed. */
static int set_options(int fd, int family) {
  int rc = 0;
  if (family == 4) {
    rc |= set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
    rc |= set_int(fd, IPPROTO_IP, IP_RECVTOS, 1);
    rc |= set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  } else {
    rc |= set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    rc |= set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    rc |= set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    rc |= set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
  }
  set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
  set_buffers(fd);
  return rc;
}

static int bind_failed(const struct ztna_addr *a, const char *what, int err) {
  char text[ZTNA_ADDR_STRLEN];
  ztna_addr_print(a, text);
  switch (err) {
  case EADDRINUSE:
    log_err("udp: %s is in use by another program; choose another port", text);
    return ZTNA_EEXIST;
  case EADDRNOTAVAIL:
    log_err("udp: %s is not an address of this machine", text);
    return ZTNA_ENOENT;
  case EAFNOSUPPORT:
    log_err("udp: this machine has no IPv%d, %s is left out", a->family, text);
    return ZTNA_ENOENT;
  case EACCES:
  case EPERM:
    log_err("udp: not allowed to use %s; ports below 1024 want root or"
            " CAP_NET_BIND_SERVICE",
            text);
    return ZTNA_EPERM;
  default:
    log_err("udp: %s %s: %s", what, text, strerror(err));
    return ZTNA_EIO;
  }
}

int udp_bind(struct udp *u, const struct ztna_addr *local) {
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(local, &ss);
  if (u->n == UDP_MAX_SOCKETS) return ZTNA_EFULL;
  if (len == 0) return ZTNA_EINVAL;

  int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return bind_failed(local, "socket for", errno);

  int rc = 0;
  struct sock s = {.fd = fd, .gso = true};
  s.wildcard = ztna_addr_is_unspecified(local);
  if (set_options(fd, local->family) != 0) {
    rc = bind_failed(local, "socket options for", errno);
  } else if (bind(fd, (struct sockaddr *)&ss, len) < 0) {
    rc = bind_failed(local, "bind", errno);
  } else {
    len = sizeof(ss);
    getsockname(fd, (struct sockaddr *)&ss, &len);
    rc = ztna_addr_from_sockaddr(&s.local, &ss);
  }
  if (rc < 0) {
    close(fd);
    return rc;
  }
  u->socks[u->n] = s;
  return u->n++;
}

int udp_count(const struct udp *u) { return u->n; }
int udp_fd(const struct udp *u, int socket) { return u->socks[socket].fd; }

struct ztna_addr udp_local(const struct udp *u, int socket) {
  return u->socks[socket].local;
}

const struct udp_counters *udp_counters(const struct udp *u) {
  return &u->counters;
}

int udp_blocked(const struct udp *u) { return u->blocked; }

bool udp_network_changed(struct udp *u) {
  bool changed = u->changed;
  u->changed = false;
  return changed;
}

/* --- receiving */

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
static int rx_batch(struct udp *u, int socket, struct dgram *v, int max,
                    int *n) {
  struct sock *s = &u->socks[socket];
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

int udp_recv_from(struct udp *u, int socket, struct dgram *v, int max) {
  int n, got;
  if (max > UDP_BATCH) max = UDP_BATCH;
  /* A batch of nothing but useless packets must not look like the end. */
  do {
    got = rx_batch(u, socket, v, max, &n);
  } while (got == max && n == 0);
  return n;
}

int udp_recv(struct udp *u, struct dgram *v, int max) {
  for (int i = 0; i < u->n; i++) {
    int socket = u->turn;
    u->turn = (u->turn + 1) % u->n;
    int n = udp_recv_from(u, socket, v, max);
    if (n > 0) return n;
  }
  return 0;
}

/* --- sending: which socket, which packets together */

/* 0: cannot carry it. Higher is better: bound to the very address, then to
 * the wildcard with the right port, then anything of the family. */
static int sock_fit(const struct sock *s, const struct dgram *d) {
  if (s->local.family != d->remote.family) return 0;
  if (d->local.family == 0) return s->wildcard ? 2 : 1;
  if (d->local.port && d->local.port != s->local.port) return 0;
  if (ztna_addr_same_ip(&s->local, &d->local)) return 3;
  return s->wildcard ? 2 : 0;
}

static int sock_find(const struct udp *u, const struct dgram *d) {
  int best = -1, best_fit = 0;
  for (int i = 0; i < u->n; i++) {
    int fit = sock_fit(&u->socks[i], d);
    if (fit > best_fit) {
      best = i;
      best_fit = fit;
    }
  }
  return best;
}

static uint32_t n_segs(uint32_t bytes, uint16_t seg) {
  return (bytes + seg - 1) / seg;
}

/* The most bytes of this segment size that one send may carry. */
static uint32_t train_cap(const struct sock *s, uint16_t seg) {
  uint32_t n = DGRAM_MAX_BYTES / seg;
  if (!s->gso || n == 0) n = 1;
  if (n > DGRAM_MAX_SEGS) n = DGRAM_MAX_SEGS;
  return n * seg;
}

/* Can next follow the train t? Its segments must be of t's size, or it is a
 * single shorter packet, which ends the train. */
static bool train_takes(const struct sock *s, const struct train *t,
                        const struct dgram *head, const struct dgram *next) {
  bool one_shorter = next->len <= next->seg && next->len <= t->seg;
  return s->gso && t->bytes % t->seg == 0 && next->len > 0 &&
         (next->seg == t->seg || one_shorter) && next->ecn == head->ecn &&
         t->bytes + next->len <= train_cap(s, t->seg) &&
         ztna_addr_equal(&next->remote, &head->remote) &&
         ztna_addr_equal(&next->local, &head->local);
}

/* One train from v[at] at byte *off on; moves both on past what it took.
 * Returns how many pieces it needed. */
static int train_build(const struct sock *s, struct train *t,
                       struct iovec *iovs, int room, const struct dgram *v,
                       int n, int *at, uint32_t *off) {
  const struct dgram *d = &v[*at];
  uint32_t left = d->len - *off, cap = train_cap(s, d->seg);
  *t = (struct train){.first = *at, .off = *off, .seg = d->seg};
  t->bytes = left < cap ? left : cap;
  iovs[0] = (struct iovec){(void *)(d->data + *off), t->bytes};
  int pieces = 1;
  if (t->bytes < left) {
    *off += t->bytes;
  } else {
    *off = 0;
    for (++*at; *at < n && pieces < room; ++*at) {
      if (!train_takes(s, t, d, &v[*at])) break;
      iovs[pieces++] = (struct iovec){(void *)v[*at].data, v[*at].len};
      t->bytes += v[*at].len;
    }
  }
  t->end = *at;
  t->n_segs = (uint16_t)n_segs(t->bytes, t->seg);
  return pieces;
}

/* --- sending: control data */

static void put_cmsg(struct msghdr *h, int level, int type, const void *data,
                     size_t len) {
  struct cmsghdr *c =
      (struct cmsghdr *)((uint8_t *)h->msg_control + h->msg_controllen);
  c->cmsg_level = level;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(len);
  memcpy(CMSG_DATA(c), data, len);
  h->msg_controllen += CMSG_SPACE(len);
}

static void put_source(struct msghdr *h, const struct ztna_addr *a) {
  if (a->family == 4) {
    struct in_pktinfo info = {0};
    memcpy(&info.ipi_spec_dst, a->ip, 4);
    put_cmsg(h, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
  } else {
    struct in6_pktinfo info = {.ipi6_ifindex = a->scope};
    memcpy(&info.ipi6_addr, a->ip, 16);
    put_cmsg(h, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
  }
}

/* A socket bound to one address needs no PKTINFO: the kernel uses that one. */
static void tx_control(struct msghdr *h, union control *room,
                       const struct sock *s, const struct dgram *d,
                       const struct train *t) {
  h->msg_control = room;
  h->msg_controllen = 0;
  if (t->pktinfo) put_source(h, &d->local);
  if (d->ecn) {
    int tos = d->ecn;
    if (s->local.family == 4)
      put_cmsg(h, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
    else
      put_cmsg(h, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
  }
  if (t->n_segs > 1)
    put_cmsg(h, IPPROTO_UDP, UDP_SEGMENT, &t->seg, sizeof(t->seg));
  if (h->msg_controllen == 0) h->msg_control = NULL;
}

/* --- sending: when it fails */

static void count_sent(struct udp *u, uint32_t packets, uint32_t bytes) {
  u->counters.tx_sends++;
  u->counters.tx_packets += packets;
  u->counters.tx_bytes += bytes;
}

static void count_lost(struct udp *u, int err, uint32_t packets) {
  switch (err) {
  case EMSGSIZE:
    u->counters.tx_too_big += packets;
    break;
  case EAGAIN:
  case ENOBUFS:
  case ENOMEM:
    u->counters.tx_no_buffer += packets;
    break;
  case ENETUNREACH:
  case EHOSTUNREACH:
  case ENETDOWN:
  case ECONNREFUSED:
    u->counters.tx_unreachable += packets;
    break;
  case EPERM:
  case EACCES:
    u->counters.tx_refused += packets;
    break;
  default:
    u->counters.tx_failed += packets;
  }
}

/* 0 or errno. */
static int send_one(const struct sock *s, const struct msghdr *h) {
  ssize_t n;
  do {
    n = sendmsg(s->fd, h, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n < 0 ? errno : 0;
}

/* Sends a train's segments one by one. Segments never cross pieces: a piece
 * holds whole segments, but for the train's last one. Returns how many left. */
static uint32_t send_singly(struct udp *u, const struct sock *s,
                            const struct dgram *d, const struct train *t,
                            const struct msghdr *whole) {
  struct train one = *t;
  union control room;
  struct iovec iov;
  struct msghdr h = *whole;
  uint32_t sent = 0, left = t->n_segs;
  int err = 0;
  one.n_segs = 1;
  tx_control(&h, &room, s, d, &one);
  h.msg_iov = &iov;
  h.msg_iovlen = 1;
  u->counters.gso_repeats++;
  for (size_t i = 0; i < whole->msg_iovlen; i++) {
    uint8_t *p = whole->msg_iov[i].iov_base;
    size_t n = whole->msg_iov[i].iov_len;
    while (n > 0 && err != EAGAIN) {
      iov.iov_base = p;
      iov.iov_len = n < t->seg ? n : t->seg;
      err = send_one(s, &h);
      if (err == 0) {
        count_sent(u, 1, (uint32_t)iov.iov_len);
        sent++;
      } else if (err != EAGAIN) {
        count_lost(u, err, 1);
      }
      if (err != EAGAIN) left--;
      p += iov.iov_len;
      n -= iov.iov_len;
    }
  }
  /* A full buffer in the middle: the rest is lost, as on a full network. */
  count_lost(u, EAGAIN, left);
  return sent;
}

static bool may_be_source(int err) {
  return err == ENETUNREACH || err == EINVAL || err == EADDRNOTAVAIL ||
         err == ENODEV;
}

/* The train failed with err: save what can be saved, count the rest. */
static void send_failed(struct udp *u, struct sock *s, const struct dgram *d,
                        struct train *t, struct msghdr *h, union control *room,
                        int err) {
  if (t->pktinfo && may_be_source(err)) {
    t->pktinfo = false;
    tx_control(h, room, s, d, t);
    err = send_one(s, h);
    if (err == 0 || err == EMSGSIZE || err == EIO) {
      u->changed = true;
      u->counters.source_gone++;
    }
    if (err == 0) {
      count_sent(u, t->n_segs, t->bytes);
      return;
    }
  }
  if (t->n_segs > 1 && (err == EMSGSIZE || err == EIO || err == EINVAL)) {
    uint32_t sent = send_singly(u, s, d, t, h);
    /* EIO: no checksum offload on this way out. EINVAL for a train whose
     * segments are fine: a kernel that cannot cut. */
    if (err == EIO || (err == EINVAL && sent > 0)) s->gso = false;
    return;
  }
  count_lost(u, err, t->n_segs);
}

/* --- sending: the run */

/* Fills the message table from v[*at] on, for one socket. */
static int tx_prepare(struct udp *u, int socket, const struct dgram *v, int n,
                      int *at, uint32_t *off) {
  struct sock *s = &u->socks[socket];
  int k = 0, pieces = 0;
  while (k < TX_BATCH && *at < n && TX_PIECES - pieces >= DGRAM_MAX_SEGS) {
    const struct dgram *d = &v[*at];
    if (*off == 0 && sock_find(u, d) != socket) break;
    if (d->len == 0 || d->seg == 0) {
      ++*at; /* nothing to send */
      continue;
    }
    struct train *t = &u->tx_trains[k];
    struct iovec *iovs = &u->tx_iovs[pieces];
    int used = train_build(s, t, iovs, DGRAM_MAX_SEGS, v, n, at, off);
    t->pktinfo = s->wildcard && d->local.family != 0 &&
                 !ztna_addr_is_unspecified(&d->local);
    struct msghdr *h = &u->tx_msgs[k].msg_hdr;
    *h = (struct msghdr){.msg_iov = iovs, .msg_iovlen = (size_t)used};
    h->msg_name = &u->tx_names[k];
    h->msg_namelen =
        (socklen_t)ztna_addr_to_sockaddr(&d->remote, &u->tx_names[k]);
    tx_control(h, &u->tx_controls[k], s, d, t);
    pieces += used;
    k++;
  }
  return k;
}

/* Sends k messages; returns how many were dealt with before EAGAIN. */
static int tx_flush(struct udp *u, int socket, const struct dgram *v, int k) {
  struct sock *s = &u->socks[socket];
  int done = 0;
  while (done < k) {
    int rc = sendmmsg(s->fd, u->tx_msgs + done, (unsigned)(k - done),
                      MSG_DONTWAIT | MSG_NOSIGNAL);
    if (rc < 0 && errno == EINTR) continue;
    if (rc < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (rc <= 0) {
      struct train *t = &u->tx_trains[done];
      send_failed(u, s, &v[t->first], t, &u->tx_msgs[done].msg_hdr,
                  &u->tx_controls[done], rc < 0 ? errno : EIO);
      done++;
      continue;
    }
    for (int i = done; i < done + rc; i++)
      count_sent(u, u->tx_trains[i].n_segs, u->tx_trains[i].bytes);
    done += rc;
  }
  return done;
}

/* After EAGAIN at train t: what of v was taken. When t is not the first part
 * of its datagrams, the first parts have left and the rest is given up: parts
 * cannot be offered again. */
static int tx_stopped(struct udp *u, int socket, const struct dgram *v,
                      const struct train *t) {
  u->blocked = socket;
  u->counters.tx_blocked++;
  if (t->off == 0) return t->first;
  const struct dgram *d = &v[t->first];
  count_lost(u, EAGAIN, n_segs(d->len - t->off, d->seg));
  return t->first + 1;
}

int udp_send(struct udp *u, const struct dgram *v, int n) {
  int at = 0;
  uint32_t off = 0;
  u->blocked = -1;
  while (at < n) {
    int socket = sock_find(u, &v[at]);
    if (socket < 0) {
      if (v[at].seg) count_lost(u, 0, n_segs(v[at].len, v[at].seg));
      at++;
      continue;
    }
    int k = tx_prepare(u, socket, v, n, &at, &off);
    int done = tx_flush(u, socket, v, k);
    if (done < k) return tx_stopped(u, socket, v, &u->tx_trains[done]);
  }
  return n;
}

void udp_give_up(struct udp *u, const struct dgram *v, int n) {
  for (int i = 0; i < n; i++)
    if (v[i].seg) count_lost(u, EAGAIN, n_segs(v[i].len, v[i].seg));
}
