/* fuzz_reass.c - fragments in any order, with gaps, overlaps and waits, against
 * a model that keeps a byte per byte: the table puts together what the model
 * does, of the same bytes, and drops what the model drops. A second table with
 * little memory must survive the same. */
#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#include "base/time.h"
#include "codec/ip_wire.h"
#include "fuzz.h"
#include "part/reass.h"

/* As many as are under way at once, so that none lacks a place. */
enum { N_IDS = 8, N_PACKETS = 2 * N_IDS, LARGEST = 1 << 16 };

/* Per step: id and version; offset / 8, high and low; length, high and low;
 * more and wait. */
enum { STEP = 6, MOST_STEPS = 200 };

static const uint8_t halves[] = {0, 0, 0, 0, 64, 1, 0, 0, 8, 0, 30, 0},
                     turned[] = {8, 0, 8, 0, 30, 0, 8, 0, 0, 0, 64, 1},
                     overlap[] = {1, 0, 0, 0, 64, 1, 1, 0, 7, 0, 64, 1},
                     late[] = {2, 0, 0, 0, 64, 1, 2, 0, 8, 0, 30, 0xfe},
                     huge[] = {3, 0, 0, 0, 64, 1, 3, 0x1f, 0xf0, 0, 99, 0};

#define SEED(s) \
  { s, sizeof(s) }
const struct fuzz_seed fuzz_seeds[] = {SEED(halves), SEED(turned),
                                       SEED(overlap), SEED(late), SEED(huge)};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

struct model {
  enum { NONE, ALIVE, DROPPED } state;
  uint64_t begun_at;
  uint32_t end, total, n_came;
  uint8_t came[LARGEST]; /* the byte came */
  uint8_t bytes[LARGEST];
};

static struct model models[N_PACKETS];

/* --- the model */

static void model_forget(struct model *m) {
  memset(m->came, 0, m->end);
  m->state = NONE;
  m->end = m->total = m->n_came = 0;
}

static bool overlaps(const struct model *m, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++)
    if (m->came[i]) return true;
  return false;
}

/* The length of the whole payload, 0 for more, or ZTNA_EMALFORMED. */
static int model_put(struct model *m, const struct ip_pkt *p, uint64_t now) {
  uint32_t from = p->frag_off, to = from + p->payload_len;
  if (m->state != NONE && now >= m->begun_at + 2 * SEC) model_forget(m);
  if (m->state == DROPPED) return ZTNA_EMALFORMED;
  if (m->state == NONE) m->begun_at = now;
  m->state = ALIVE;

  bool bad = overlaps(m, from, to);
  if (!p->frag_more) bad |= m->total && m->total != to;
  if (m->total) bad |= to > m->total;
  if (!p->frag_more) bad |= m->end > to;
  if (to > m->end) m->end = to;
  memset(m->came + from, 1, to - from);
  if (bad) {
    m->state = DROPPED;
    return ZTNA_EMALFORMED;
  }
  if (!p->frag_more) m->total = to;
  m->n_came += to - from;
  memcpy(m->bytes + from, p->payload, p->payload_len);
  return m->total && m->n_came == m->total ? (int)m->total : 0;
}

/* --- fragments; false when there is no such fragment */

struct step {
  unsigned id;
  bool v4, more;
  uint32_t off, len;
};

static struct step read_step(const uint8_t *s) {
  return (struct step){
      .id = s[0] % N_IDS,
      .v4 = !(s[0] & N_IDS),
      .off = (get16(s + 1) & 0x1fffu) * 8,
      .len = get16(s + 3) % 2000,
      .more = s[5] & 1,
  };
}

static size_t make_fragment(uint8_t *b, const struct step *s, uint8_t fill) {
  size_t header = s->v4 ? 20 : 48;
  memset(b, 0, header);
  if (s->v4) {
    b[0] = 0x45;
    put16(b + 2, (uint32_t)header + s->len);
    put16(b + 4, s->id);
    put16(b + 6, s->off / 8 | (s->more ? 0x2000u : 0));
    b[9] = IP_PROTO_UDP;
    b[12] = b[16] = 10;
    put16(b + 10, ip_checksum_finish(ip_checksum_add(0, b, 20)));
  } else {
    b[0] = 0x60;
    put16(b + 4, 8 + s->len);
    b[6] = IP_PROTO_FRAGMENT;
    b[8] = b[24] = 0xfd;
    b[40] = IP_PROTO_UDP;
    put16(b + 42, s->off | s->more);
    put32(b + 44, s->id);
  }
  for (uint32_t i = 0; i < s->len; i++) b[header + i] = (uint8_t)(fill + i * 5);
  return header + s->len;
}

static void check_whole(const struct step *s, const struct model *m, int len,
                        const uint8_t *whole) {
  struct ip_pkt h;
  uint32_t header = s->v4 ? 20 : 40;
  assert((uint32_t)len == header + m->total);
  assert(ip_read_header(&h, whole, (size_t)len));
  assert(h.len == len && h.kind == IP_OTHER && h.proto == IP_PROTO_UDP);
  if (s->v4) assert(!ip_checksum_finish(ip_checksum_add(0, whole, 20)));
  assert(memcmp(whole + header, m->bytes, m->total) == 0);
}

static void put(struct reass *r, struct reass *tight, const struct step *s,
                uint8_t fill, uint64_t now) {
  struct ip_pkt p;
  const uint8_t *whole;
  uint8_t *b = malloc((s->v4 ? 20 : 48) + s->len);
  size_t len = make_fragment(b, s, fill);
  if (ip_parse(&p, b, len) == 0 && p.kind == IP_FRAGMENT &&
      (p.frag_more || p.frag_off)) {
    struct model *m = &models[s->id + (s->v4 ? 0 : N_IDS)];
    int want = model_put(m, &p, now);
    int got = reass_put(r, &p, b, now, &whole);
    assert((got > 0) == (want > 0) && (got < 0) == (want < 0));
    if (got > 0) {
      check_whole(s, m, got, whole);
      model_forget(m);
    }
    reass_put(tight, &p, b, now, &whole);
  }
  free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  struct reass *r = reass_new(1 << 20), *tight = reass_new(3000);
  uint64_t now = 0;
  for (int i = 0; i < N_PACKETS; i++) model_forget(&models[i]);
  for (int n = 0; n < MOST_STEPS && len >= STEP; n++) {
    struct step s = read_step(data);
    now += (data[5] >> 1) * 20 * MS;
    if (data[5] & 0x80) reass_tick(r, now);
    put(r, tight, &s, (uint8_t)(n * 31), now);
    data += STEP;
    len -= STEP;
  }
  reass_free(r);
  reass_free(tight);
  return 0;
}
