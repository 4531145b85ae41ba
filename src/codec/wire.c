/* wire.c - DATAGRAMs of a link, read and written. */
#include "codec/wire.h"

#include <string.h>
#include <ztna/err.h>

const uint8_t *rd_bytes(struct rd *r, size_t n) {
  const uint8_t *p = r->p;

  if (r->bad || rd_left(r) < n) {
    r->bad = true;
    return NULL;
  }
  r->p += n;
  return p;
}

uint8_t rd_u8(struct rd *r) {
  const uint8_t *p = rd_bytes(r, 1);

  return p ? p[0] : 0;
}

uint16_t rd_u16(struct rd *r) {
  const uint8_t *p = rd_bytes(r, 2);

  return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

uint32_t rd_u32(struct rd *r) {
  const uint8_t *p = rd_bytes(r, 4);

  return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
                 p[3]
           : 0;
}

uint64_t rd_varint(struct rd *r) {
  uint8_t first = rd_u8(r);
  uint64_t v = first & 0x3f;
  const uint8_t *p = rd_bytes(r, (size_t)(1 << (first >> 6)) - 1);

  if (!p) return 0;
  for (int i = 0; i < (1 << (first >> 6)) - 1; i++) v = v << 8 | p[i];
  return v;
}

size_t varint_len(uint64_t v) {
  if (v < 0x40) return 1;
  if (v < 0x4000) return 2;
  return v < 0x40000000 ? 4 : 8;
}

size_t wr_varint(uint8_t *to, uint64_t v) {
  size_t n = varint_len(v);

  for (size_t i = n; i-- > 0; v >>= 8) to[i] = (uint8_t)v;
  to[0] |= (uint8_t)((n == 1 ? 0 : n == 2 ? 1 : n == 4 ? 2 : 3) << 6);
  return n;
}

static void parse_own(struct wire_dgram *d, struct rd *r) {
  uint8_t index;

  d->type = rd_u8(r);
  switch (d->type) {
  case WIRE_ECHO_REQUEST:
  case WIRE_ECHO_REPLY:
    d->cookie = rd_bytes(r, WIRE_COOKIE_LEN);
    break;
  case WIRE_FRAGMENT:
    d->frag_context = rd_varint(r);
    d->frag_id = rd_u16(r);
    index = rd_u8(r);
    d->frag_last = index & 0x80;
    d->frag_index = index & 0x7f;
    if (!d->frag_context || d->frag_index > 1) r->bad = true;
    break;
  default:
    r->bad = true;
  }
}

int wire_parse(struct wire_dgram *d, const uint8_t *data, size_t len) {
  struct rd r = rd_of(data, len);

  memset(d, 0, sizeof(*d));
  d->context = rd_varint(&r);
  if (!r.bad && !d->context) parse_own(d, &r);
  d->data = r.p;
  d->len = rd_left(&r);
  if (!r.bad && (d->context || d->type == WIRE_FRAGMENT) && !d->len)
    r.bad = true;
  return r.bad ? ZTNA_EMALFORMED : 0;
}

size_t wire_write_head(uint8_t *to, const struct wire_dgram *d) {
  size_t n = wr_varint(to, d->context);

  if (d->context) return n;
  to[n++] = d->type;
  if (d->type == WIRE_FRAGMENT) {
    n += wr_varint(to + n, d->frag_context);
    to[n++] = (uint8_t)(d->frag_id >> 8);
    to[n++] = (uint8_t)d->frag_id;
    to[n++] = (uint8_t)(d->frag_index | (d->frag_last ? 0x80 : 0));
    return n;
  }
  memcpy(to + n, d->cookie, WIRE_COOKIE_LEN);
  return n + WIRE_COOKIE_LEN;
}
