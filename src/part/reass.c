/* reass.c - see reass.h. The bytes of a packet under way lie in blocks of one
 * arena, so that the bound holds to the byte whatever sizes are announced; a
 * bitmap of the 8-byte units that came finds overlaps and the end. All is
 * reserved when the table is made and touched when it is used. */
#include "part/reass.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/time.h"
#include "codec/ip_wire.h"

#define TIMEOUT (2 * SEC)

enum {
  N_UNDER_WAY = 16,
  WHOLE_MAX = UINT16_MAX,
  BLOCK = 256,
  UNIT = 8,
  N_BLOCKS = (WHOLE_MAX + BLOCK) / BLOCK,
  N_UNITS = N_BLOCKS * BLOCK / UNIT,
  IP4_HEADER_MAX = 60,
  ECN = 3,
};

/* free: unused. dead: was dropped; swallows what still comes of the packet
 * (RFC 5722, 4), until a packet that may yet live wants the place. */
enum state { FREE, ALIVE, DEAD };

struct partial {
  enum state state;
  uint64_t begun_at;
  struct ztna_addr src, dst;
  uint32_t id;
  uint8_t proto;   /* of the first fragment; v4: of all, part of the key */
  uint8_t ecn_set; /* bit n: a fragment with these ECN bits came */
  uint8_t header[IP4_HEADER_MAX]; /* of the first fragment */
  uint16_t header_len;            /* 0: it did not come yet */
  uint32_t n_units;               /* that came */
  uint32_t end;                   /* of what came, bytes of payload */
  uint32_t total; /* bytes of payload; 0: the last fragment did not come yet */
  uint16_t blocks[N_BLOCKS]; /* 1 based, 0: none */
  uint8_t came[N_UNITS / 8]; /* bitmap */
};

struct reass {
  struct partial v[N_UNDER_WAY];
  int n_given_up; /* since the last tick */
  uint8_t *whole; /* WHOLE_MAX bytes, the start of one piece with arena */
  uint8_t *arena;
  uint16_t *free; /* stack of blocks that were used */
  size_t n_blocks, n_fresh, n_free;
};

/* --- blocks */

static uint16_t block_get(struct reass *r) {
  if (r->n_free) return r->free[--r->n_free];
  return r->n_fresh < r->n_blocks ? (uint16_t)++r->n_fresh : 0;
}

static uint8_t *block_at(const struct reass *r, uint16_t block) {
  return r->arena + (size_t)(block - 1) * BLOCK;
}

static void drop(struct reass *r, struct partial *e, enum state left) {
  for (int i = 0; i < N_BLOCKS; i++) {
    if (!e->blocks[i]) continue;
    r->free[r->n_free++] = e->blocks[i];
    e->blocks[i] = 0;
  }
  e->state = left;
}

/* --- packets under way */

static bool is_of(const struct partial *e, const struct ip_pkt *p) {
  return e->state != FREE && e->id == p->frag_id &&
         (e->proto == p->proto || p->version == 6) &&
         ztna_addr_same_ip(&e->src, &p->src) &&
         ztna_addr_same_ip(&e->dst, &p->dst);
}

static struct partial *find(struct reass *r, const struct ip_pkt *p) {
  for (int i = 0; i < N_UNDER_WAY; i++)
    if (is_of(&r->v[i], p)) return &r->v[i];
  return NULL;
}

/* A free place, or that of the longest dead. */
static struct partial *place(struct reass *r) {
  struct partial *best = NULL;
  for (int i = 0; i < N_UNDER_WAY; i++) {
    struct partial *e = &r->v[i];
    if (e->state == FREE) return e;
    if (e->state == DEAD && (!best || e->begun_at < best->begun_at)) best = e;
  }
  return best;
}

static struct partial *begin(struct reass *r, const struct ip_pkt *p,
                             uint64_t now) {
  struct partial *e = place(r);
  if (!e) return NULL;
  *e = (struct partial){
      .state = ALIVE,
      .begun_at = now,
      .src = p->src,
      .dst = p->dst,
      .id = p->frag_id,
      .proto = p->proto,
  };
  return e;
}

static void expire(struct reass *r, uint64_t now) {
  for (int i = 0; i < N_UNDER_WAY; i++) {
    struct partial *e = &r->v[i];
    if (e->state == FREE || now < e->begun_at + TIMEOUT) continue;
    if (e->state == ALIVE) r->n_given_up++;
    drop(r, e, FREE);
  }
}

/* --- one fragment */

/* Marks the units of a fragment as come; false when one came before. */
static bool mark_units(struct partial *e, uint32_t from, uint32_t n) {
  for (uint32_t u = from; u < from + n; u++) {
    uint8_t bit = (uint8_t)(1u << u % 8);
    if (e->came[u / 8] & bit) return false;
    e->came[u / 8] |= bit;
  }
  e->n_units += n;
  return true;
}

/* Copies into blocks; false when there are no more. */
static bool store(struct reass *r, struct partial *e, uint32_t at,
                  const uint8_t *bytes, uint32_t len) {
  while (len) {
    uint16_t *block = &e->blocks[at / BLOCK];
    if (!*block && !(*block = block_get(r))) return false;
    uint32_t n = BLOCK - at % BLOCK;
    if (n > len) n = len;
    memcpy(block_at(r, *block) + at % BLOCK, bytes, n);
    at += n;
    bytes += n;
    len -= n;
  }
  return true;
}

static void take_header(struct partial *e, const struct ip_pkt *p,
                        const uint8_t *data) {
  e->header_len = p->version == 4 ? p->header_len : IP6_HEADER;
  memcpy(e->header, data, e->header_len);
  e->proto = p->proto;
}

/* Enters the fragment into e: 0, or why the whole packet must go. */
static int take(struct reass *r, struct partial *e, const struct ip_pkt *p,
                const uint8_t *data) {
  uint32_t end = (uint32_t)p->frag_off + p->payload_len;
  if (!p->frag_more) {
    if (e->total && e->total != end) return ZTNA_EMALFORMED;
    e->total = end;
  }
  if (end > e->end) e->end = end;
  if (e->total && e->end > e->total) return ZTNA_EMALFORMED;
  if (!mark_units(e, p->frag_off / UNIT, (p->payload_len + UNIT - 1u) / UNIT))
    return ZTNA_EMALFORMED;
  if (!p->frag_off) take_header(e, p, data);
  e->ecn_set |= (uint8_t)(1u << (p->tos & ECN));
  return store(r, e, p->frag_off, p->payload, p->payload_len) ? 0 : ZTNA_EFULL;
}

static bool is_complete(const struct partial *e) {
  return e->total && e->n_units == (e->total + UNIT - 1) / UNIT;
}

/* --- the whole packet */

static void mend4(uint8_t *w, uint32_t len, uint16_t header_len) {
  put16(w + 2, len);
  put16(w + 6, 0);
  put16(w + 10, 0);
  put16(w + 10, ip_checksum_finish(ip_checksum_add(0, w, header_len)));
}

static void mend6(uint8_t *w, uint32_t len, uint8_t proto) {
  put16(w + 4, len - IP6_HEADER);
  w[6] = proto;
}

/* The header in front of so many bytes of payload in r->whole. */
static int finish(struct reass *r, const uint8_t *header, uint16_t header_len,
                  uint8_t proto, uint32_t payload_len) {
  uint32_t len = header_len + payload_len;
  memcpy(r->whole, header, header_len);
  if (header[0] >> 4 == 4)
    mend4(r->whole, len, header_len);
  else
    mend6(r->whole, len, proto);
  return (int)len;
}

/* RFC 3168, 5.3: congestion seen by one fragment was seen by all, but a mix of
 * fragments that can and cannot say so is a forgery. */
static bool ecn_is_sane(const struct partial *e) {
  bool ce = e->ecn_set & 1u << 3, not_ect = e->ecn_set & 1u << 0;
  return !(ce && not_ect);
}

static int assemble(struct reass *r, const struct partial *e) {
  uint32_t header_len = e->header_len;
  if (header_len + e->total > WHOLE_MAX || !ecn_is_sane(e))
    return ZTNA_EMALFORMED;
  for (uint32_t at = 0; at < e->total; at += BLOCK) {
    uint32_t n = e->total - at < BLOCK ? e->total - at : BLOCK;
    memcpy(r->whole + header_len + at, block_at(r, e->blocks[at / BLOCK]), n);
  }
  int len = finish(r, e->header, e->header_len, e->proto, e->total);
  if (e->ecn_set & 1u << 3) ip_mark_ce(r->whole, (size_t)len);
  return len;
}

/* RFC 6946: whole in one fragment, so it has nothing to do with others, not
 * even of its own identification. */
static int unwrap(struct reass *r, const struct ip_pkt *p,
                  const uint8_t *data) {
  uint16_t header_len = p->version == 4 ? p->header_len : IP6_HEADER;
  memcpy(r->whole + header_len, p->payload, p->payload_len);
  return finish(r, data, header_len, p->proto, p->payload_len);
}

/* --- public */

struct reass *reass_new(size_t max_bytes) {
  struct reass *r = calloc(1, sizeof(*r));
  if (!r) return NULL;
  r->n_blocks = max_bytes / BLOCK;
  if (r->n_blocks > N_UNDER_WAY * N_BLOCKS)
    r->n_blocks = N_UNDER_WAY * N_BLOCKS; /* more is never used */
  r->whole = malloc(WHOLE_MAX + r->n_blocks * BLOCK);
  r->free = malloc((r->n_blocks + 1) * sizeof(*r->free));
  if (!r->whole || !r->free) {
    reass_free(r);
    return NULL;
  }
  r->arena = r->whole + WHOLE_MAX;
  return r;
}

void reass_free(struct reass *r) {
  if (!r) return;
  free(r->whole);
  free(r->free);
  free(r);
}

int reass_put(struct reass *r, const struct ip_pkt *p, const uint8_t *data,
              uint64_t now, const uint8_t **whole) {
  assert(p->kind == IP_FRAGMENT);
  expire(r, now);
  *whole = r->whole;
  if (!p->frag_off && !p->frag_more) return unwrap(r, p, data);

  struct partial *e = find(r, p);
  if (e && e->state == DEAD) return ZTNA_EMALFORMED;
  if (!e && !(e = begin(r, p, now))) return ZTNA_EFULL;
  int rc = take(r, e, p, data);
  if (rc == 0 && is_complete(e)) {
    rc = assemble(r, e);
    drop(r, e, FREE);
  } else if (rc < 0) {
    drop(r, e, DEAD);
  }
  return rc;
}

int reass_tick(struct reass *r, uint64_t now) {
  expire(r, now);
  int n = r->n_given_up;
  r->n_given_up = 0;
  return n;
}

uint64_t reass_deadline(const struct reass *r) {
  uint64_t at = NEVER;
  for (int i = 0; i < N_UNDER_WAY; i++)
    if (r->v[i].state != FREE) at = time_min(at, r->v[i].begun_at + TIMEOUT);
  return at;
}
