/* flow_head.c - reading and writing of what flow_head.h draws. */
#include "codec/flow_head.h"

#include <string.h>
#include <ztna/err.h>

#include "codec/wire.h"

enum { VERSION = 1 };

static size_t wr_addr(uint8_t *to, const struct ztna_addr *a) {
  size_t n = a->family == 4 ? 4 : 16;

  memcpy(to, a->ip, n);
  to[n] = (uint8_t)(a->port >> 8);
  to[n + 1] = (uint8_t)a->port;
  return n + 2;
}

/* A v4 address in v6's clothes would pass checks as another one. */
static void rd_addr(struct rd *r, struct ztna_addr *a, uint8_t family) {
  const uint8_t *ip = rd_bytes(r, family == 4 ? 4 : 16);
  uint16_t port = rd_u16(r);

  memset(a, 0, sizeof(*a));
  if (r->bad) return;
  *a = family == 4 ? ztna_addr_v4(ip, port) : ztna_addr_v6(ip, port, 0);
}

static bool is_usable(const struct ztna_addr *a, uint8_t family) {
  return a->family == family && a->port;
}

size_t flow_head_write(uint8_t *to, const struct flow_head *h) {
  uint8_t *p = to;

  *p++ = (uint8_t)(VERSION << 4 | h->kind);
  memcpy(p, h->id, FLOW_ID_LEN);
  p += FLOW_ID_LEN;
  if (h->kind == FLOW_OPEN) {
    p += wr_varint(p, h->context);
    *p++ = h->dst.family;
    p += wr_addr(p, &h->dst);
    p += wr_addr(p, &h->src);
  } else {
    p += wr_varint(p, h->count);
  }
  return (size_t)(p - to);
}

static int read_open(struct flow_head *h, struct rd *r) {
  uint8_t family;

  h->context = rd_varint(r);
  family = rd_u8(r);
  if (r->bad) return 0;
  if (family != 4 && family != 6) return ZTNA_EMALFORMED;
  rd_addr(r, &h->dst, family);
  rd_addr(r, &h->src, family);
  if (r->bad) return 0;
  return is_usable(&h->dst, family) && is_usable(&h->src, family)
             ? 0
             : ZTNA_EMALFORMED;
}

int flow_head_read(struct flow_head *h, const uint8_t *data, size_t len) {
  struct rd r = rd_of(data, len);
  uint8_t first = rd_u8(&r);
  const uint8_t *id = rd_bytes(&r, FLOW_ID_LEN);
  int rc = 0;

  memset(h, 0, sizeof(*h));
  if (!len) return 0;
  h->kind = (enum flow_kind)(first & 15);
  if (first >> 4 != VERSION || h->kind < FLOW_OPEN || h->kind > FLOW_MOVE)
    return ZTNA_EMALFORMED;
  if (!id) return 0;
  memcpy(h->id, id, FLOW_ID_LEN);
  if (h->kind == FLOW_OPEN) {
    rc = read_open(h, &r);
  } else {
    h->count = rd_varint(&r);
  }
  if (rc < 0) return rc;
  return r.bad ? 0 : (int)(len - rd_left(&r));
}

size_t flow_answer_write(uint8_t *to, const struct flow_answer *a,
                         enum flow_kind to_what) {
  to[0] = a->reason;
  if (to_what == FLOW_OPEN || a->reason) return 1;
  return 1 + wr_varint(to + 1, a->count);
}

int flow_answer_read(struct flow_answer *a, enum flow_kind to_what,
                     const uint8_t *data, size_t len) {
  struct rd r = rd_of(data, len);

  *a = (struct flow_answer){.reason = rd_u8(&r)};
  if (r.bad) return 0;
  if (to_what != FLOW_OPEN && !a->reason) a->count = rd_varint(&r);
  return r.bad ? 0 : (int)(len - rd_left(&r));
}
