/* udp_send.c - trains out (GSO). System calls, not cryptography, set the pace
 * (DESIGN, 7), so what can leave together does: neighbours for one destination
 * become one train, trains for several become one sendmmsg. */
#include "host/udp_int.h"

#include <errno.h>
#include <string.h>
#include <ztna/err.h>

/* --- which socket, which packets together */

/* 0: cannot carry it. Higher is better: bound to the very address, then to
 * the wildcard with the right port, then anything of the family. */
static int sock_fit(const struct sock *s, const struct dgram *d) {
  if (s->local.family != d->remote.family) return 0;
  if (d->local.family == 0) return s->wildcard ? 2 : 1;
  if (d->local.port && d->local.port != s->local.port) return 0;
  if (ztna_addr_same_ip(&s->local, &d->local)) return 3;
  return s->wildcard ? 2 : 0;
}

/* NULL: there is none, or it is an extra one that is not open. */
static struct sock *sock_find(struct udp *u, const struct dgram *d) {
  struct sock *best = NULL;
  int best_fit = 0;
  if (d->sock) return udp_extra_find(u, d);
  for (int i = 0; i < u->n; i++) {
    int fit = sock_fit(&u->socks[i], d);
    if (fit > best_fit) {
      best = &u->socks[i];
      best_fit = fit;
    }
  }
  return best;
}

static bool closes_sock(const struct dgram *d) { return d->sock && !d->len; }

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
         next->ttl == head->ttl && next->sock == head->sock &&
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

/* --- control data */

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

static void put_int(struct msghdr *h, const struct sock *s, int type_v4,
                    int type_v6, int value) {
  if (s->local.family == 4)
    put_cmsg(h, IPPROTO_IP, type_v4, &value, sizeof(value));
  else
    put_cmsg(h, IPPROTO_IPV6, type_v6, &value, sizeof(value));
}

/* A socket bound to one address needs no PKTINFO: the kernel uses that one. */
static void tx_control(struct msghdr *h, union control *room,
                       const struct sock *s, const struct dgram *d,
                       const struct train *t) {
  h->msg_control = room;
  h->msg_controllen = 0;
  if (t->pktinfo) put_source(h, &d->local);
  if (d->ecn) put_int(h, s, IP_TOS, IPV6_TCLASS, d->ecn);
  if (d->ttl) put_int(h, s, IP_TTL, IPV6_HOPLIMIT, d->ttl);
  if (t->n_segs > 1)
    put_cmsg(h, IPPROTO_UDP, UDP_SEGMENT, &t->seg, sizeof(t->seg));
  if (h->msg_controllen == 0) h->msg_control = NULL;
}

/* --- when it fails */

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

/* Who is told that a local address is gone probes all paths, those from that
 * address, too: once is enough, else it would not end. */
static bool is_news(struct udp *u, const struct ztna_addr *gone) {
  for (int i = 0; i < GONE_MAX; i++)
    if (ztna_addr_same_ip(&u->gone[i], gone)) return false;
  u->gone[u->n_gone++ % GONE_MAX] = *gone;
  return true;
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
      u->changed |= is_news(u, &d->local);
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

/* --- the run */

/* Fills the message table from v[*at] on, for one socket. */
static int tx_prepare(struct udp *u, struct sock *s, const struct dgram *v,
                      int n, int *at, uint32_t *off) {
  int k = 0, pieces = 0;
  while (k < TX_BATCH && *at < n && TX_PIECES - pieces >= DGRAM_MAX_SEGS) {
    const struct dgram *d = &v[*at];
    if (*off == 0 && (closes_sock(d) || sock_find(u, d) != s)) break;
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
static int tx_flush(struct udp *u, struct sock *s, const struct dgram *v,
                    int k) {
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
static int tx_stopped(struct udp *u, struct sock *s, const struct dgram *v,
                      const struct train *t) {
  u->blocked = s->number ? UDP_EXTRA : (int)(s - u->socks);
  u->counters.tx_blocked++;
  if (t->off == 0) return t->first;
  const struct dgram *d = &v[t->first];
  count_lost(u, EAGAIN, n_segs(d->len - t->off, d->seg));
  return t->first + 1;
}

/* What is to be dropped: no socket can carry it. */
static void count_homeless(struct udp *u, const struct dgram *d) {
  if (d->seg) count_lost(u, 0, n_segs(d->len, d->seg));
}

/* The socket that d leaves by; NULL: it was dealt with. */
static struct sock *sock_for(struct udp *u, const struct dgram *d) {
  struct sock *s = NULL;
  if (closes_sock(d))
    udp_extra_close(u, d);
  else if (d->sock)
    s = udp_extra_open(u, d);
  else if (!(s = sock_find(u, d)))
    count_homeless(u, d);
  return s;
}

int udp_send(struct udp *u, const struct dgram *v, int n) {
  int at = 0;
  uint32_t off = 0;
  if (u->blocked == UDP_EXTRA) udp_extra_unblock(u);
  u->blocked = -1;
  while (at < n) {
    struct sock *s = sock_for(u, &v[at]);
    if (!s) {
      at++;
      continue;
    }
    int k = tx_prepare(u, s, v, n, &at, &off);
    int done = tx_flush(u, s, v, k);
    if (s->number) udp_extra_sent(u, s, done);
    if (done == k) continue;
    at = tx_stopped(u, s, v, &u->tx_trains[done]);
    if (s->number == 0 || udp_extra_block(u, s)) return at;
    udp_give_up(u, v + at, n - at); /* nobody could wait for it */
    return n;
  }
  return n;
}

void udp_give_up(struct udp *u, const struct dgram *v, int n) {
  for (int i = 0; i < n; i++) {
    if (closes_sock(&v[i]))
      udp_extra_close(u, &v[i]);
    else if (v[i].seg)
      count_lost(u, EAGAIN, n_segs(v[i].len, v[i].seg));
  }
}
