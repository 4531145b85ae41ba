/* fuzz_route.c - random batches, routes that come, go and move, against a model
 * that knows packets only: the table forwards what the model forwards, from
 * where it lies, in the same order, to the same place, and counts the same. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "part/route.h"

enum {
  N_ROUTES = 5,
  N_ADDRS = 6,    /* few, so that right sources are met */
  MAX_WAIT = 700, /* below the table's queue, whose overflow is not modelled */
};

/* What the input still holds; zeros behind its end. */
struct input {
  const uint8_t *p;
  size_t left;
};

struct packet {
  const uint8_t *data;
  uint32_t len;
  uint8_t ecn;
  struct route_end *to;
};

struct model {
  struct route_table *table;
  struct route routes[N_ROUTES];
  bool in_table[N_ROUTES];
  uint64_t rate, burst, now;
  uint64_t tokens[N_ROUTES], filled_at[N_ROUTES]; /* 1/SEC bytes; ns */
  struct packet wait[MAX_WAIT];
  size_t n_wait;
  struct packet others[1024];
  size_t n_others, n_others_seen;
  uint64_t drops[REASON_N], n_packets;
};

static uint8_t arena[1 << 20];
static size_t arena_used;

static void fill_zero(void *ctx, void *buf, size_t len) { memset(buf, 0, len); }
static const struct rng rng = {.fill = fill_zero};

static uint8_t take(struct input *in) {
  if (!in->left) return 0;
  in->left--;
  return *in->p++;
}

static struct ztna_addr addr_of(unsigned i) {
  uint8_t ip[16] = {[10] = 0xff, 0xff, 192, 0, 2, (uint8_t)(1 + i / 2)};
  i %= N_ADDRS + 1;
  if (i == N_ADDRS) return (struct ztna_addr){0};
  if (i >= 4) ip[0] = 0x20; /* not mapped any more */
  return ztna_addr_v6(ip, (uint16_t)(1000 + i % 2), 0);
}

static void handle_of(uint8_t *h, unsigned i) {
  memset(h, 0x55, ROUTE_HANDLE_LEN);
  h[i % 3 ? 0 : 7] = (uint8_t)i;
}

/* --- the model, packet by packet */

static struct route_end *model_owner(struct model *m, const uint8_t *p,
                                     uint32_t len) {
  const uint8_t *h = p + 1;
  if (len < 21 || (p[0] & 0x40) == 0) return NULL;
  if (p[0] & 0x80) {
    if (memcmp(p + 1, "\0\0\0\1", 4) != 0) return NULL;
    if (p[5] < 8 || p[5] > 20 || len < 6u + p[5]) return NULL;
    h = p + 6;
  }
  for (int i = 0; i < N_ROUTES; i++)
    for (int e = 0; e < 2; e++)
      if (m->in_table[i] && !memcmp(m->routes[i].end[e].handle, h, 8))
        return &m->routes[i].end[e];
  return NULL;
}

static bool model_pays(struct model *m, int i, uint32_t len) {
  if (!m->rate) return true;
  unsigned __int128 full = (unsigned __int128)m->burst * SEC;
  unsigned __int128 have =
      m->tokens[i] + (unsigned __int128)(m->now - m->filled_at[i]) * m->rate;
  m->tokens[i] = (uint64_t)(have < full ? have : full);
  m->filled_at[i] = m->now;
  if (m->tokens[i] < len * SEC) return false;
  m->tokens[i] -= len * SEC;
  return true;
}

static void model_in(struct model *m, const struct dgram *d, const uint8_t *p,
                     uint32_t len) {
  struct packet k = {p, len, d->ecn, model_owner(m, p, len)};
  if (!k.to) {
    m->others[m->n_others++] = k;
    return;
  }
  int i = (int)(k.to->route - m->routes);
  const struct route_end *from = &m->routes[i].end[k.to == m->routes[i].end];
  if (!from->remote.family || !ztna_addr_equal(&from->remote, &d->remote))
    m->drops[REASON_WRONG_SOURCE]++;
  else if (len > DGRAM_MAX_BYTES)
    m->drops[REASON_PACKET_TOO_BIG]++;
  else if (!model_pays(m, i, len))
    m->drops[REASON_RATE_LIMITED]++;
  else
    m->wait[m->n_wait++] = k;
}

static void model_forget(struct model *m, int i) {
  size_t n = 0;
  for (size_t w = 0; w < m->n_wait; w++)
    if (m->wait[w].to->route == &m->routes[i])
      m->drops[REASON_ROUTE_UNKNOWN]++;
    else
      m->wait[n++] = m->wait[w];
  m->n_wait = n;
  m->in_table[i] = false;
}

/* --- steps */

static void on_other(void *ud, uint64_t now, const struct dgram *seg) {
  struct model *m = ud;
  assert(m->n_others_seen < m->n_others);
  const struct packet *k = &m->others[m->n_others_seen++];
  assert(seg->data == k->data && seg->len == k->len && seg->seg == k->len);
}

static void model_skip_unreachable(struct model *m) {
  while (m->n_wait && !m->wait[0].to->remote.family) {
    m->drops[REASON_ROUTE_UNKNOWN]++;
    memmove(m->wait, m->wait + 1, --m->n_wait * sizeof(*m->wait));
  }
}

/* Takes the packets of a train from the model's queue. */
static void check_train(struct model *m, const struct dgram *d) {
  uint32_t n_segs = 0;
  assert(d->len && d->seg && d->len <= DGRAM_MAX_BYTES);
  for (uint32_t off = 0; off < d->len; off += d->seg, n_segs++) {
    model_skip_unreachable(m);
    assert(m->n_wait);
    const struct packet *k = &m->wait[0];
    uint32_t left = d->len - off;
    assert(d->data + off == k->data && d->ecn == k->ecn);
    assert(k->len == (left < d->seg ? left : d->seg));
    assert(ztna_addr_equal(&d->remote, &k->to->remote));
    assert(ztna_addr_equal(&d->local, &k->to->local));
    memmove(m->wait, m->wait + 1, --m->n_wait * sizeof(*m->wait));
    m->n_packets++;
  }
  assert(n_segs <= DGRAM_MAX_SEGS);
}

static void step_drain(struct model *m, int max) {
  struct dgram v[MAX_WAIT];
  int n = route_next(m->table, v, max);
  for (int i = 0; i < n; i++) check_train(m, &v[i]);
  if (n == max) return;
  model_skip_unreachable(m);
  assert(!m->n_wait);
}

static void step_drain_all(struct model *m) {
  step_drain(m, MAX_WAIT);
  arena_used = 0;
}

static void put_packet(uint8_t *p, uint32_t len, uint8_t what, uint8_t owner) {
  uint8_t head[14] = {0};
  head[0] = what & 1 ? 0xc0 : 0x40;
  if (what & 1) {
    head[4] = 1;
    head[5] = what & 2 ? 16 : what & 4 ? 7 : 12;
  }
  if ((what & 0xf0) == 0xf0) head[0] ^= 0x40;
  handle_of(head + (what & 1 ? 6 : 1), owner % (2 * N_ROUTES + 1));
  memcpy(p, head, len < sizeof(head) ? len : sizeof(head));
}

static void step_batch(struct model *m, struct input *in) {
  static const uint16_t sizes[] = {1200, 20, 21, 22, 25, 100, 1400, 65535};
  uint8_t shape = take(in), n = (uint8_t)(1 + take(in) % 80);
  uint16_t seg = sizes[shape & 7];
  if (seg == 65535) n = 1;
  uint16_t last = shape & 8 ? (uint16_t)(1 + take(in) % seg) : seg;
  uint32_t len = (uint32_t)(n - 1) * seg + last;
  if (m->n_wait + n > MAX_WAIT || arena_used + len > sizeof(arena))
    step_drain_all(m);
  uint8_t *p = arena + arena_used;
  arena_used += len;
  memset(p, 0, len);
  struct dgram d = {.remote = addr_of(take(in) % N_ADDRS),
                    .data = p,
                    .len = len,
                    .seg = seg,
                    .ecn = shape >> 6};
  m->n_others = m->n_others_seen = 0;
  uint8_t what = 0, owner = 0;
  for (int i = 0; i < n; i++) { /* runs, or one choice per packet */
    if (i == 0 || shape & 16) {
      owner = take(in);
      what = shape & 32 ? take(in) : 0;
    }
    uint32_t size = i == n - 1 ? last : seg;
    put_packet(p + (uint32_t)i * seg, size, what, owner);
    model_in(m, &d, p + (uint32_t)i * seg, size);
  }
  route_in(m->table, m->now, &d, on_other, m);
  assert(m->n_others_seen == m->n_others);
}

static void step_route(struct model *m, struct input *in) {
  int i = take(in) % N_ROUTES;
  struct route *r = &m->routes[i];
  if (m->in_table[i]) {
    route_del(m->table, r);
    model_forget(m, i);
    return;
  }
  unsigned h = take(in), a = take(in);
  handle_of(r->end[0].handle, h % (2 * N_ROUTES));
  handle_of(r->end[1].handle, h / 16 % (2 * N_ROUTES));
  r->end[0].remote = addr_of(a & 15);
  r->end[1].remote = addr_of(a >> 4);
  r->end[0].local = addr_of(a >> 2 & 15);
  r->end[1].local = addr_of(a >> 6);
  bool fresh = memcmp(r->end[0].handle, r->end[1].handle, 8) != 0;
  for (int e = 0; e < 2; e++)
    if (route_find(m->table, r->end[e].handle)) fresh = false;
  int rc = route_add(m->table, r);
  assert((rc == 0) == fresh);
  if (rc < 0) return;
  m->in_table[i] = true;
  m->tokens[i] = m->burst * SEC;
  m->filled_at[i] = 0;
}

static void step_move(struct model *m, struct input *in) {
  uint8_t which = take(in);
  m->routes[which / 2 % N_ROUTES].end[which & 1].remote = addr_of(take(in));
}

static void step_time(struct model *m, struct input *in) {
  uint8_t n = take(in);
  m->now += n & 1 ? n * SEC : n & 2 ? n * MS : n * 77u;
}

static void check_stats(const struct model *m) {
  const struct route_stats *s = route_stats(m->table);
  uint64_t n_routes = 0, n_packets = 0;
  for (int i = 0; i < N_ROUTES; i++) n_routes += m->in_table[i];
  for (int i = 0; i < N_ROUTES; i++)
    n_packets += m->routes[i].end[0].n_packets + m->routes[i].end[1].n_packets;
  assert(s->n_routes == n_routes);
  assert(s->n_packets == m->n_packets && n_packets == m->n_packets);
  assert(s->n_overflows == 0);
  for (int i = 0; i < REASON_N; i++) assert(s->drops[i] == m->drops[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct model model;
  struct model *m = &model;
  struct input in = {data, size};
  *m = (struct model){.now = 1};
  uint8_t limits = take(&in);
  if (limits & 1) {
    m->rate = 1000u << (limits >> 4);
    m->burst = 3000u << (limits >> 1 & 7);
  }
  m->table = route_table_new(N_ROUTES, m->rate, m->burst, &rng);
  if (!m->table) return 0;
  arena_used = 0;
  while (in.left) {
    uint8_t op = take(&in);
    if (op < 130)
      step_batch(m, &in);
    else if (op < 180)
      step_route(m, &in);
    else if (op < 200)
      step_move(m, &in);
    else if (op < 220)
      step_time(m, &in);
    else if (op < 250)
      step_drain(m, op - 219);
    else
      step_drain_all(m);
  }
  step_drain_all(m);
  check_stats(m);
  route_table_free(m->table);
  return 0;
}
