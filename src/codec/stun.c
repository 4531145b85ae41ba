/* stun.c - reading and writing of what stun.h draws. */
#include "codec/stun.h"

#include <assert.h>
#include <string.h>
#include <ztna/err.h>

#include "codec/wire.h"

enum { COOKIE = 0x2112a442, FINGERPRINT_XOR = 0x5354554e };

enum {
  ATTR_MAPPED_ADDRESS = 0x0001,
  ATTR_CHANGE_REQUEST = STUN_ATTR_CHANGE_REQUEST,
  ATTR_USERNAME = 0x0006,
  ATTR_MESSAGE_INTEGRITY = 0x0008,
  ATTR_ERROR_CODE = 0x0009,
  ATTR_UNKNOWN_ATTRIBUTES = 0x000a,
  ATTR_MESSAGE_INTEGRITY_SHA256 = 0x001c,
  ATTR_XOR_MAPPED_ADDRESS = 0x0020,
  ATTR_PADDING = 0x0026,
  ATTR_RESPONSE_PORT = 0x0027,
  ATTR_OPTIONAL = 0x8000, /* from here on comprehension-optional */
  ATTR_FINGERPRINT = 0x8028,
  ATTR_RESPONSE_ORIGIN = 0x802b,
  ATTR_OTHER_ADDRESS = 0x802c,
};

enum { ATTR_HEAD = 4, FINGERPRINT_LEN = 4 };

static size_t pad_of(size_t n) { return -n & 3; }

static size_t mac_len(enum stun_integrity kind) {
  return kind == STUN_HMAC_SHA1 ? STUN_SHA1_LEN : STUN_SHA256_LEN;
}

static void put_u16(uint8_t *to, size_t v) {
  to[0] = (uint8_t)(v >> 8);
  to[1] = (uint8_t)v;
}

static void put_u32(uint8_t *to, uint32_t v) {
  put_u16(to, v >> 16);
  put_u16(to + 2, v & 0xffff);
}

/* As of ITU V.42, four bits at a time: 64 bytes of table. */
static uint32_t crc32_of(const uint8_t *p, size_t n) {
  static const uint32_t table[16] = {
      0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
      0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
      0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
  uint32_t crc = UINT32_MAX;

  for (size_t i = 0; i < n; i++) {
    crc ^= p[i];
    crc = crc >> 4 ^ table[crc & 15];
    crc = crc >> 4 ^ table[crc & 15];
  }
  return ~crc;
}

/* The class is two bits amid the method's (RFC 8489, 5). */
static uint16_t type_of(const struct stun_msg *m) {
  unsigned c = m->class, v = m->method;

  return (uint16_t)((v & 0xf80) << 2 | (c & 2) << 7 | (v & 0x70) << 1 |
                    (c & 1) << 4 | (v & 15));
}

static void type_read(struct stun_msg *m, uint16_t type) {
  m->class = (enum stun_class)((type >> 7 & 2) | (type >> 4 & 1));
  m->method =
      (uint16_t)((type >> 2 & 0xf80) | (type >> 1 & 0x70) | (type & 15));
}

/* What XOR- addresses are XORed with: the cookie, for IPv6 also the id. */
static void mask_of(uint8_t mask[16], const uint8_t *txid) {
  put_u32(mask, COOKIE);
  memcpy(mask + 4, txid, STUN_TXID_LEN);
}

/* --- reading */

bool stun_is(const uint8_t *data, size_t len) {
  struct rd r = rd_of(data, len);
  uint16_t type = rd_u16(&r), body = rd_u16(&r);

  return rd_u32(&r) == COOKIE && type < 0x0400 && len >= STUN_HEADER &&
         body == len - STUN_HEADER && body % 4 == 0;
}

/* mask NULL: as it stands. */
static void rd_addr(struct rd *r, struct ztna_addr *a, const uint8_t *mask) {
  static const uint8_t none[16];
  uint16_t family = rd_u16(r) & 0xff, port = rd_u16(r);
  size_t n = family == 1 ? 4 : 16;
  const uint8_t *p = rd_bytes(r, n);
  uint8_t ip[16];

  if (!p || (family != 1 && family != 2)) {
    r->bad = true;
    return;
  }
  if (!mask) mask = none;
  port ^= (uint16_t)(mask[0] << 8 | mask[1]);
  for (size_t i = 0; i < n; i++) ip[i] = p[i] ^ mask[i];
  if (!a->family)
    *a = family == 1 ? ztna_addr_v4(ip, port) : ztna_addr_v6(ip, port, 0);
}

static void rd_username(struct rd *r, struct stun_msg *m) {
  size_t n = rd_left(r);
  const uint8_t *p = rd_bytes(r, n);

  if (m->has_username || n > STUN_USERNAME_MAX) return;
  m->has_username = true;
  m->username_len = n;
  if (n) memcpy(m->username, p, n);
}

static void rd_change(struct rd *r, struct stun_msg *m) {
  uint32_t bits = rd_u32(r);

  if (m->has_change) return;
  m->has_change = true;
  m->change = bits & (STUN_CHANGE_IP | STUN_CHANGE_PORT);
}

/* RFC 5780, 7.5: a port and two bytes of padding, which some count as value. */
static void rd_port(struct rd *r, struct stun_msg *m) {
  uint16_t port = rd_u16(r);

  if (rd_left(r)) rd_u16(r);
  if (!m->response_port) m->response_port = port;
}

static void rd_error(struct rd *r, struct stun_msg *m) {
  uint32_t v = rd_u32(r);
  unsigned hundreds = v >> 8 & 7, rest = v & 0xff;

  rd_bytes(r, rd_left(r)); /* the reason phrase */
  if (hundreds < 3 || hundreds > 6 || rest > 99) r->bad = true;
  if (!m->error) m->error = (uint16_t)(hundreds * 100 + rest);
}

static void list(struct stun_msg *m, uint16_t type) {
  if (m->n_listed < STUN_UNKNOWN_MAX) m->listed[m->n_listed++] = type;
}

static void rd_listed(struct rd *r, struct stun_msg *m) {
  bool first = m->class == STUN_ERROR && !m->n_listed;

  while (rd_left(r) && !r->bad) {
    uint16_t type = rd_u16(r);
    if (first) list(m, type);
  }
}

static void rd_integrity(struct rd *r, struct stun_msg *m, size_t at,
                         enum stun_integrity kind) {
  rd_bytes(r, mac_len(kind));
  if (m->integrity == kind) return;
  m->integrity = kind;
  m->integrity_at = at;
}

static void rd_unknown(struct rd *r, struct stun_msg *m, uint16_t type) {
  rd_bytes(r, rd_left(r));
  if (type >= ATTR_OPTIONAL) return;
  if (!m->unknown) m->unknown = type;
  if (m->class != STUN_ERROR) list(m, type);
}

/* r: the value alone, which is to be read to its end. */
static void rd_attr(struct rd *r, struct stun_msg *m, uint16_t type,
                    struct ztna_addr *legacy) {
  uint8_t mask[16];

  switch (type) {
  case ATTR_XOR_MAPPED_ADDRESS:
    mask_of(mask, m->txid);
    rd_addr(r, &m->mapped, mask);
    break;
  case ATTR_MAPPED_ADDRESS:
    rd_addr(r, legacy, NULL);
    break;
  case ATTR_RESPONSE_ORIGIN:
    rd_addr(r, &m->origin, NULL);
    break;
  case ATTR_OTHER_ADDRESS:
    rd_addr(r, &m->other, NULL);
    break;
  case ATTR_CHANGE_REQUEST:
    rd_change(r, m);
    break;
  case ATTR_USERNAME:
    rd_username(r, m);
    break;
  case ATTR_ERROR_CODE:
    rd_error(r, m);
    break;
  case ATTR_UNKNOWN_ATTRIBUTES:
    rd_listed(r, m);
    break;
  case ATTR_RESPONSE_PORT:
    rd_port(r, m);
    break;
  case ATTR_PADDING:
    if (!m->padding) m->padding = rd_left(r);
    rd_bytes(r, rd_left(r));
    break;
  default:
    rd_unknown(r, m, type);
  }
}

/* Behind an integrity attribute nothing is covered by it: whatever stands there
 * was perhaps put there on the way. */
static void rd_covered(struct rd *r, struct stun_msg *m, uint16_t type,
                       size_t at, struct ztna_addr *legacy) {
  if (type == ATTR_MESSAGE_INTEGRITY_SHA256)
    rd_integrity(r, m, at, STUN_HMAC_SHA256);
  else if (m->integrity)
    rd_bytes(r, rd_left(r));
  else if (type == ATTR_MESSAGE_INTEGRITY)
    rd_integrity(r, m, at, STUN_HMAC_SHA1);
  else
    rd_attr(r, m, type, legacy);
}

static bool fingerprint_is_right(struct rd *value, const uint8_t *data,
                                 size_t at) {
  return rd_u32(value) == (crc32_of(data, at) ^ FINGERPRINT_XOR);
}

int stun_read(struct stun_msg *m, const uint8_t *data, size_t len) {
  struct ztna_addr legacy = {0};
  struct rd r = rd_of(data, len);

  memset(m, 0, sizeof(*m));
  if (len > STUN_READ_MAX || !stun_is(data, len)) return ZTNA_EMALFORMED;
  type_read(m, rd_u16(&r));
  rd_bytes(&r, 2 + 4); /* length and cookie, as stun_is saw them */
  memcpy(m->txid, rd_bytes(&r, STUN_TXID_LEN), STUN_TXID_LEN);
  while (rd_left(&r) && !r.bad) {
    size_t at = len - rd_left(&r);
    uint16_t type = rd_u16(&r), n = rd_u16(&r);
    const uint8_t *p = rd_bytes(&r, n);
    struct rd value = rd_of(p, p ? n : 0);

    rd_bytes(&r, pad_of(n));
    if (r.bad) break;
    if (type != ATTR_FINGERPRINT)
      rd_covered(&value, m, type, at, &legacy);
    else if (fingerprint_is_right(&value, data, at) && !rd_left(&r))
      m->fingerprint = true;
    else
      r.bad = true;
    if (value.bad || rd_left(&value)) r.bad = true;
  }
  if (r.bad) return ZTNA_EMALFORMED;
  m->legacy_mapped = legacy.family != 0;
  if (!m->mapped.family) m->mapped = legacy;
  return 0;
}

/* The MAC of the bytes before `at`, whose header counts as if the attribute
 * with the MAC were the last one (RFC 8489, 14.5). head: a copy of the bytes
 * that may be changed. */
static void mac_of(uint8_t *out, uint8_t *head, size_t at,
                   enum stun_integrity kind, const uint8_t *key, size_t key_len,
                   stun_mac_fn mac) {
  put_u16(head + 2, at + ATTR_HEAD + mac_len(kind) - STUN_HEADER);
  mac(kind, key, key_len, head, at, out);
}

bool stun_verify(const struct stun_msg *m, const uint8_t *data,
                 enum stun_integrity kind, const uint8_t *key, size_t key_len,
                 stun_mac_fn mac) {
  uint8_t head[STUN_READ_MAX], want[STUN_SHA256_LEN], differs = 0;
  const uint8_t *got = data + m->integrity_at + ATTR_HEAD;

  if (kind == STUN_NO_INTEGRITY || m->integrity != kind) return false;
  assert(m->integrity_at + ATTR_HEAD + mac_len(kind) <= STUN_READ_MAX);
  memcpy(head, data, m->integrity_at);
  mac_of(want, head, m->integrity_at, kind, key, key_len, mac);
  for (size_t i = 0; i < mac_len(kind); i++) differs |= got[i] ^ want[i];
  return differs == 0;
}

/* --- writing */

struct wr {
  uint8_t *to;
  size_t n;
  bool bad;
};

/* Where the value goes, zeroed; NULL: no room. */
static uint8_t *wr_attr(struct wr *w, uint16_t type, size_t n) {
  uint8_t *p = w->to + w->n;

  if (w->bad || n > STUN_MAX || ATTR_HEAD + n + pad_of(n) > STUN_MAX - w->n) {
    w->bad = true;
    return NULL;
  }
  put_u16(p, type);
  put_u16(p + 2, n);
  memset(p + ATTR_HEAD, 0, n + pad_of(n));
  w->n += ATTR_HEAD + n + pad_of(n);
  return p + ATTR_HEAD;
}

static void wr_addr(struct wr *w, uint16_t type, const struct ztna_addr *a,
                    const uint8_t *mask) {
  static const uint8_t none[16];
  size_t n = a->family == 4 ? 4 : 16;
  uint8_t *p = a->family ? wr_attr(w, type, 4 + n) : NULL;

  if (!p) return;
  if (!mask) mask = none;
  put_u16(p, a->family == 4 ? 1 : 2);
  put_u16(p + 2, (size_t)(a->port ^ (mask[0] << 8 | mask[1])));
  for (size_t i = 0; i < n; i++) p[4 + i] = a->ip[i] ^ mask[i];
}

static void wr_question(struct wr *w, const struct stun_msg *m) {
  uint8_t *p;

  if (m->has_username) {
    p = wr_attr(w, ATTR_USERNAME, m->username_len);
    if (p) memcpy(p, m->username, m->username_len);
  }
  if (m->has_change) {
    p = wr_attr(w, ATTR_CHANGE_REQUEST, 4);
    if (p) put_u32(p, m->change);
  }
  if (m->response_port) {
    p = wr_attr(w, ATTR_RESPONSE_PORT, 4);
    if (p) put_u16(p, m->response_port);
  }
  if (m->padding) wr_attr(w, ATTR_PADDING, m->padding);
}

static void wr_answer(struct wr *w, const struct stun_msg *m) {
  uint8_t mask[16], *p;

  if (m->error) {
    p = wr_attr(w, ATTR_ERROR_CODE, 4);
    if (p) put_u32(p, (uint32_t)(m->error / 100 << 8 | m->error % 100));
  }
  if (m->class == STUN_ERROR && m->n_listed) {
    p = wr_attr(w, ATTR_UNKNOWN_ATTRIBUTES, 2 * m->n_listed);
    for (size_t i = 0; p && i < m->n_listed; i++)
      put_u16(p + 2 * i, m->listed[i]);
  }
  mask_of(mask, m->txid);
  wr_addr(w, ATTR_XOR_MAPPED_ADDRESS, &m->mapped, mask);
  if (m->legacy_mapped) wr_addr(w, ATTR_MAPPED_ADDRESS, &m->mapped, NULL);
  wr_addr(w, ATTR_RESPONSE_ORIGIN, &m->origin, NULL);
  wr_addr(w, ATTR_OTHER_ADDRESS, &m->other, NULL);
}

static void wr_integrity(struct wr *w, enum stun_integrity kind,
                         const uint8_t *key, size_t key_len, stun_mac_fn mac) {
  size_t at = w->n;
  uint8_t *p = wr_attr(w,
                       kind == STUN_HMAC_SHA1 ? ATTR_MESSAGE_INTEGRITY
                                              : ATTR_MESSAGE_INTEGRITY_SHA256,
                       mac_len(kind));

  if (p) mac_of(p, w->to, at, kind, key, key_len, mac);
}

static void wr_fingerprint(struct wr *w) {
  size_t at = w->n;
  uint8_t *p = wr_attr(w, ATTR_FINGERPRINT, FINGERPRINT_LEN);

  if (!p) return;
  put_u16(w->to + 2, w->n - STUN_HEADER);
  put_u32(p, crc32_of(w->to, at) ^ FINGERPRINT_XOR);
}

int stun_write(uint8_t *to, const struct stun_msg *m, const uint8_t *key,
               size_t key_len, stun_mac_fn mac) {
  struct wr w = {.to = to, .n = STUN_HEADER};

  assert(m->username_len <= STUN_USERNAME_MAX);
  assert(m->n_listed <= STUN_UNKNOWN_MAX);
  put_u16(to, type_of(m));
  put_u32(to + 4, COOKIE);
  memcpy(to + 8, m->txid, STUN_TXID_LEN);
  wr_question(&w, m);
  wr_answer(&w, m);
  if (m->integrity) wr_integrity(&w, m->integrity, key, key_len, mac);
  if (m->fingerprint) wr_fingerprint(&w);
  put_u16(to + 2, w.n - STUN_HEADER);
  return w.bad ? ZTNA_ESIZE : (int)w.n;
}
