/* backend_send.c - datagrams and echo requests to backends; neighbours of one
 * flow and size leave together. */
#include "host/backend_int.h"

#include <errno.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <string.h>
#include <ztna/err.h>

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
  struct flow *f = backend_flow(b, flow);
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
  struct flow *f = backend_flow(b, t->flow);
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
  struct flow *f = backend_flow(b, flow);

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
  struct flow *f = backend_flow(b, flow);
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
