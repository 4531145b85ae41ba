/* proxy2.c - writing of what proxy2.h draws. */
#include "codec/proxy2.h"

#include <string.h>
#include <ztna/err.h>

enum { HEAD = 16, TLV_HEAD = 3 };

static uint8_t *wr_u16(uint8_t *to, size_t v) {
  to[0] = (uint8_t)(v >> 8);
  to[1] = (uint8_t)v;
  return to + 2;
}

static uint8_t *wr_bytes(uint8_t *to, const void *data, size_t len) {
  memcpy(to, data, len);
  return to + len;
}

static uint8_t *wr_tlv(uint8_t *to, uint8_t type, const void *data,
                       size_t len) {
  if (!len) return to;
  *to++ = type;
  return wr_bytes(wr_u16(to, len), data, len);
}

static size_t tlv_len(size_t len) { return len ? TLV_HEAD + len : 0; }

int proxy2_write(uint8_t *to, size_t room, const struct proxy2 *p) {
  static const uint8_t start[] = "\r\n\r\n\0\r\nQUIT\n\x21";
  size_t ip = p->src.family == 4 ? 4 : 16, identity = strlen(p->identity);
  size_t len = 2 * ip + 4 + tlv_len(p->unique_len) + tlv_len(identity);
  uint8_t *at = to;

  if (HEAD + len > room) return ZTNA_ESIZE;
  at = wr_bytes(at, start, 13);
  *at++ = p->src.family == 4 ? 0x11 : 0x21;
  at = wr_u16(at, len);
  at = wr_bytes(at, p->src.ip, ip);
  at = wr_bytes(at, p->dst.ip, ip);
  at = wr_u16(at, p->src.port);
  at = wr_u16(at, p->dst.port);
  at = wr_tlv(at, PROXY2_UNIQUE_ID, p->unique, p->unique_len);
  at = wr_tlv(at, PROXY2_IDENTITY, p->identity, identity);
  return (int)(at - to);
}
