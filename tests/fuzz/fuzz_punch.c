/* fuzz_punch.c - packets of any kind into a round of checks: right and wrong
 * requests, answers to its checks, noise. Whatever comes, nothing goes where it
 * may not, nobody gets more answers than he asked for, the budgets hold, and a
 * pair is only what was asked and answered. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "fuzz.h"
#include "part/punch.h"

enum { CHECKS = 256, SOURCES = 8, STEP = 4, MOST_STEPS = 400 };

/* Per round: NATs of both; per step: kind and socket, source, id or length,
 * time; then the bytes of a raw packet. */
static const uint8_t plain[] = {0x00, 1, 0, 0, 80, 1, 0, 1, 9, 2, 0, 0, 9},
                     random_nat[] = {0x31, 4, 0, 0, 255, 4, 0, 0, 255,
                                     0x12, 0, 0, 3, 1,   1, 1, 1},
                     sequential[] = {0x22, 4, 0, 0, 200, 2, 0,
                                     5,    1, 1, 6, 7,   1},
                     raw[] = {0x03, 0,    0,    20,   0,  1,  1, 0, 0,
                              0x21, 0x12, 0xa4, 0x42, 1,  2,  3, 4, 5,
                              6,    7,    8,    9,    10, 11, 12};

#define SEED(s) \
  { s, sizeof(s) }
const struct fuzz_seed fuzz_seeds[] = {SEED(plain), SEED(random_nat),
                                       SEED(sequential), SEED(raw)};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

struct sent {
  uint8_t txid[STUN_TXID_LEN];
  struct ztna_addr to;
  uint16_t sock;
};

static struct {
  struct sent checks[CHECKS];
  size_t n_checks, n_asked, n_answered, n_over;
  bool answering;        /* what comes in is a right answer ... */
  struct ztna_addr from; /* ... from here */
  uint16_t sock;
  uint64_t random;
} now_in;

/* --- what the round is given */

static struct ztna_addr source(unsigned i) {
  uint8_t ip4[4] = {198, 51, 100, (uint8_t)(1 + i / 2)},
          ip6[16] = {0x20, 1, 0x0d, 0xb8, [15] = (uint8_t)i};
  i %= SOURCES;
  return i < 6 ? ztna_addr_v4(ip4, (uint16_t)(4000 + i % 2))
               : ztna_addr_v6(ip6, 4000, 0);
}

/* One of the sources is forbidden. */
static bool may_send(void *ud, const struct ztna_addr *to) {
  struct ztna_addr not = source(5);
  return !ztna_addr_same_ip(&not, to);
}

/* Not for secrets: all that is asked of it is that other keys give others. */
static void mac(enum stun_integrity kind, const uint8_t *key, size_t key_len,
                const uint8_t *data, size_t len, uint8_t *out) {
  size_t n = kind == STUN_HMAC_SHA1 ? STUN_SHA1_LEN : STUN_SHA256_LEN;
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < key_len; i++) h = (h ^ key[i]) * 16777619u;
  for (size_t i = 0; i < len; i++) h = (h ^ data[i]) * 16777619u;
  for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(h >> i % 4 * 8);
}

static void fill(void *ctx, void *buf, size_t len) {
  uint8_t *b = buf;
  uint64_t *x = ctx;
  for (size_t i = 0; i < len; i++) {
    *x = *x * UINT64_C(6364136223846793005) + 1442695040888963407u;
    b[i] = (uint8_t)(*x >> 56);
  }
}

static void on_pair(struct punch *p, void *ud, const struct ztna_addr *remote,
                    uint16_t sock, uint64_t rtt) {
  assert(now_in.answering && sock == now_in.sock);
  assert(ztna_addr_equal(remote, &now_in.from));
}

static void on_over(struct punch *p, void *ud, enum punch_end why) {
  assert(!now_in.n_over++);
}

static const struct punch_ops ops = {on_pair, on_over};

static struct nat_view view(unsigned kind) {
  struct nat_view v = {.mapping = NAT_NONE};
  if (kind % 4 == 0) return v;
  v.mapping = NAT_ENDPOINT_INDEPENDENT;
  if (kind % 4 == 1) return v;
  v.mapping = NAT_ADDRESS_PORT_DEPENDENT;
  v.allocation = kind % 4 == 2 ? NAT_SEQUENTIAL : NAT_RANDOM;
  v.delta = kind % 4 == 2 ? (kind & 8 ? -16 : 3) : 0;
  v.last_port = kind & 4 ? 65530 : 1030;
  return v;
}

static void side(struct punch_side *s, unsigned kind, unsigned first) {
  s->nat = view(kind);
  s->list[0].addr = source(first);
  s->list[0].kind = kind % 4 ? CANDIDATE_REFLEXIVE : CANDIDATE_HOST;
  s->list[1].addr = source(first + 6);
  s->n = 2;
}

/* --- what it sends */

static void see(const struct dgram *d) {
  struct stun_msg m;
  struct sent *s;

  assert(d->seg == (d->len ? d->len : 1));
  if (!d->len) {
    assert(d->sock);
    return;
  }
  assert(may_send(NULL, &d->remote) && d->remote.port);
  assert(stun_read(&m, d->data, d->len) == 0);
  if (m.class == STUN_SUCCESS) {
    now_in.n_answered++;
    assert(ztna_addr_equal(&m.mapped, &d->remote));
    return;
  }
  assert(m.class == STUN_REQUEST);
  s = &now_in.checks[now_in.n_checks++ % CHECKS];
  *s = (struct sent){.to = d->remote, .sock = d->sock};
  memcpy(s->txid, m.txid, sizeof(s->txid));
}

static size_t drain(struct punch *p, uint64_t now) {
  struct dgram v[7];
  size_t total = 0;
  for (int n; (n = punch_next(p, now, v, 7)) > 0; total += (size_t)n)
    for (int i = 0; i < n; i++) see(&v[i]);
  assert(now_in.n_answered <= now_in.n_asked);
  return total;
}

/* --- what comes in */

static void give(struct punch *p, uint64_t now, struct stun_msg *m,
                 const uint8_t *key, unsigned from, uint16_t sock) {
  uint8_t data[STUN_MAX];
  struct dgram d = {.remote = source(from), .data = data, .sock = sock};
  struct stun_msg in;
  int len = stun_write(data, m, key, PUNCH_KEY_LEN, mac);
  assert(len > 0);
  d.len = (uint32_t)len;
  d.seg = (uint16_t)len;
  assert(stun_read(&in, data, d.len) == 0);
  punch_in(p, now, &d, data, d.len, &in);
}

static void give_request(struct punch *p, uint64_t now, const uint8_t *s,
                         const struct punch_options *o) {
  struct stun_msg m = {.class = STUN_REQUEST,
                       .method = STUN_BINDING,
                       .integrity = STUN_HMAC_SHA256,
                       .has_username = true,
                       .username_len = PUNCH_ID_LEN + 1};
  uint8_t key[PUNCH_KEY_LEN];
  memcpy(key, o->key, sizeof(key));
  memcpy(m.username, o->id, PUNCH_ID_LEN);
  m.username[PUNCH_ID_LEN] = s[2] & 0x80 ? 'c' : 'a';
  key[0] ^= (s[2] & 0x40) != 0;
  m.txid[11] = s[2];
  m.txid[5] = s[1] >> 3;
  if (!(s[2] & 0xc0)) now_in.n_asked++;
  give(p, now, &m, key, s[1], s[0] >> 4);
}

static void give_answer(struct punch *p, uint64_t now, const uint8_t *s,
                        const struct punch_options *o) {
  struct stun_msg m = {.class = s[1] & 0x80 ? STUN_ERROR : STUN_SUCCESS,
                       .method = STUN_BINDING,
                       .integrity = STUN_HMAC_SHA256};
  const struct sent *c = &now_in.checks[s[2]];
  unsigned from = s[1] % SOURCES;
  if (s[2] >= now_in.n_checks) return;
  memcpy(m.txid, c->txid, sizeof(m.txid));
  now_in.from = source(from);
  now_in.sock = s[0] & 8 ? c->sock : s[0] >> 4;
  now_in.answering = m.class == STUN_SUCCESS && now_in.sock == c->sock &&
                     ztna_addr_equal(&now_in.from, &c->to);
  give(p, now, &m, o->key, from, now_in.sock);
  now_in.answering = false;
}

/* Returns how many bytes it took. */
static size_t give_raw(struct punch *p, uint64_t now, const uint8_t *s,
                       size_t len) {
  size_t n = s[2] < len ? s[2] : len;
  struct dgram d = {
      .remote = source(s[1]), .data = s + STEP, .sock = s[0] >> 4};
  struct stun_msg m;
  if (!n || stun_read(&m, s + STEP, n) < 0) return n;
  d.len = (uint32_t)n;
  d.seg = (uint16_t)n;
  now_in.n_asked++; /* perhaps rightly signed: it is a weak one */
  punch_in(p, now, &d, d.data, n, &m);
  return n;
}

/* --- a round */

/* Time passes, with a look at each deadline on the way. */
static uint64_t wait(struct punch *p, uint64_t now, uint64_t until) {
  size_t idle = 0;
  while (punch_deadline(p) <= until) {
    uint64_t at = punch_deadline(p);
    idle = at > now ? 0 : idle + 1;
    assert(idle < 10); /* a deadline that is past for ever */
    if (at > now) now = at;
    punch_tick(p, now);
    drain(p, now);
  }
  return until;
}

static void run(struct punch *p, const struct punch_options *o,
                const uint8_t *data, size_t len) {
  uint64_t now = SEC;
  for (int i = 0; i < MOST_STEPS && len >= STEP; i++) {
    size_t took = STEP;
    switch (data[0] & 3) {
    case 0:
      took += give_raw(p, now, data, len - STEP);
      break;
    case 1:
      give_request(p, now, data, o);
      break;
    case 2:
      give_answer(p, now, data, o);
      break;
    }
    drain(p, now);
    now = wait(p, now, now + (data[3] & 0x80 ? 10 * MS : MS) * (data[3] & 127));
    data += took;
    len -= took;
  }
  wait(p, now, 40 * SEC);
  assert(punch_is_dead(p) && now_in.n_over == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  struct punch_budget budget = {0};
  struct punch_peer_budget peer_budget = {0};
  struct punch_socks socks = {{0}};
  struct punch_stats stats = {0};
  struct rng rng = {fill, &now_in.random};
  struct punch_options o = {.at = SEC + SEC / 4,
                            .rtt = 20 * MS,
                            .rng = &rng,
                            .mac = mac,
                            .budget = &budget,
                            .peer_budget = &peer_budget,
                            .socks = &socks,
                            .stats = &stats,
                            .may_send = may_send,
                            .ops = &ops};
  struct punch *p;
  struct dgram v[8];

  if (!len) return 0;
  memset(&now_in, 0, sizeof(now_in));
  memset(o.key, 5, sizeof(o.key));
  memset(o.id, 6, sizeof(o.id));
  side(&o.own, data[0] & 15, 4);
  side(&o.peer, data[0] >> 4, 0);
  p = punch_new(&o, 0);
  assert(p);
  run(p, &o, data + 1, len - 1);
  assert(stats.n_search_probes <= 3000 && stats.n_probes <= 300 * 16);
  assert(punch_drain(p, v, 8) == 0); /* closed when the round ended */
  punch_free(p);
  return 0;
}
