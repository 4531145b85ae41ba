/* connector_sock.c - what the skin says of the sockets to backends, and asks
 * for. */
#include "role/connector_int.h"

enum {
  LEAST_ROOM = 16 * 1024, /* bytes of a flow, however full all is */
  SHARE = 8,              /* of what is free that one flow may keep */
};

uint32_t connector_max_socks(const struct connector *c) {
  return c->o.max_tcp_flows;
}

bool connector_sock_next(struct connector *c, struct ztna_sock_op *op) {
  return socks_next(c->socks, op);
}

void connector_sock_connected(struct connector *c, uint64_t now,
                              uint32_t sock) {
  struct sock *s = sock_at(c->socks, sock);
  bool was = !s || s->connected;

  c->now = now;
  socks_connected(c->socks, sock);
  if (!was && s->connected) c->counters.n_tcp_opened++;
}

void connector_sock_failed(struct connector *c, uint64_t now, uint32_t sock,
                           enum ztna_sock_error why) {
  c->now = now;
  socks_failed(c->socks, sock, why);
}

/* The fuller all is, the less a flow may read ahead of its agent: what is free
 * is never used up by readers alone. A flow that stops here has bytes under
 * way; their acknowledgement wakes it. */
uint8_t *connector_sock_room(struct connector *c, uint32_t sock, size_t *room) {
  struct sock *s = sock_at(c->socks, sock);
  uint64_t max = c->o.max_buffered, used = c->tcp.pool.used;
  uint64_t may = used < max ? (max - used) / SHARE : 0;

  if (may < LEAST_ROOM) may = LEAST_ROOM;
  if (s && bytes_len(&s->flow.tx) >= may) {
    s->flow.tx_full = true;
    return NULL;
  }
  return socks_room(c->socks, sock, room);
}

void connector_sock_read(struct connector *c, uint64_t now, uint32_t sock,
                         size_t n) {
  c->now = now;
  c->sweep_at = time_min(c->sweep_at, now + 100 * MS);
  socks_read(c->socks, sock, n);
}

void connector_sock_eof(struct connector *c, uint64_t now, uint32_t sock) {
  c->now = now;
  socks_eof(c->socks, sock);
}

int connector_sock_peek(struct connector *c, uint32_t sock,
                        struct ztna_sock_vec *v, int n) {
  return socks_peek(c->socks, sock, v, n);
}

void connector_sock_wrote(struct connector *c, uint64_t now, uint32_t sock,
                          size_t n) {
  c->now = now;
  socks_wrote(c->socks, sock, n);
}
