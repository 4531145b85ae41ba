/* cubic.c - see cubic.h. Numbers are of segments, not bytes. */
#include "sim/cubic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"

#define C 0.4    /* RFC 9438, 5 */
#define BETA 0.7 /* 4.6 */
#define RTO_MIN (200 * MS)
#define RTO_MAX (60 * SEC)
#define ACK_AFTER (40 * MS)

enum {
  WINDOW = 8192, /* segments under way; a receiver's 12 MB */
  PAYLOAD = 1448,
  SEGMENT = 1472, /* as UDP payload: 1500 with IP and UDP before it */
  BLOCKS = 3,     /* SACK blocks beside a timestamp */
  DUPTHRESH = 3,
  INITIAL = 10,
};

struct block { /* [from, to) */
  uint64_t from, to;
};

struct ack {
  uint64_t upto;
  struct block blocks[BLOCKS];
};

struct segment { /* under way */
  uint64_t sent_at;
  bool sacked, lost, again;
};

struct receiver {
  uint64_t next; /* expected */
  bool have[WINDOW];
  struct block blocks[BLOCKS]; /* the newest first */
  int n_unacked;
  uint32_t turn; /* of the ACK timer: an older one is void */
};

struct cubic {
  struct vnet *net;
  struct vnet_host *from, *to;
  bool stopped;
  /* sender */
  uint64_t una, next;
  struct segment segs[WINDOW];
  uint64_t n_sacked, n_lost; /* of those under way; lost: not sent again yet */
  uint64_t again_at;         /* no lost one is below */
  uint64_t newest;           /* RACK: when the newest that arrived was sent */
  bool recovering, timed_out;
  uint64_t recover_upto;
  double cwnd, ssthresh;
  double w_max, w_est, k, cwnd_prior; /* CUBIC's; its epoch: */
  uint64_t epoch_at;                  /* 0: none */
  uint64_t srtt, rttvar, min_rtt, rto, rto_at, timer_at;
  struct receiver rx;
  struct cubic_stats stats;
};

static struct segment *seg(struct cubic *c, uint64_t n) {
  return &c->segs[n % WINDOW];
}

static bool is_over(const struct cubic *c) { return c->net->now == NEVER; }

/* --- the window --- */

/* RFC 9438, 4.6 and 4.7. */
static void shrink(struct cubic *c) {
  c->epoch_at = 0;
  c->cwnd_prior = c->cwnd;
  c->w_max = c->cwnd < c->w_max ? c->cwnd * (1 + BETA) / 2 : c->cwnd;
  c->ssthresh = fmax(c->cwnd * BETA, 2);
}

static void epoch_begin(struct cubic *c) {
  c->epoch_at = c->net->now;
  if (c->w_max < c->cwnd) c->w_max = c->cwnd;
  c->k = cbrt((c->w_max - c->cwnd) / C);
  c->w_est = c->cwnd;
}

/* 4.2 to 4.5: n were acknowledged. */
static void grow(struct cubic *c, double n) {
  double t, alpha, w, target;

  if (c->cwnd < c->ssthresh) {
    c->cwnd += n;
    return;
  }
  if (!c->epoch_at) epoch_begin(c);
  t = (double)(c->net->now - c->epoch_at) / 1e9;
  alpha = c->w_est < c->cwnd_prior ? 3 * (1 - BETA) / (1 + BETA) : 1;
  c->w_est += alpha * n / c->cwnd;
  w = C * pow(t - c->k, 3) + c->w_max;
  if (w < c->w_est) {
    if (c->cwnd < c->w_est) c->cwnd = c->w_est;
    return;
  }
  t += (double)c->srtt / 1e9;
  target = fmin(C * pow(t - c->k, 3) + c->w_max, 1.5 * c->cwnd);
  if (target > c->cwnd) c->cwnd += n * (target - c->cwnd) / c->cwnd;
}

/* --- sending --- */

static void on_timer(void *ud, uint64_t arg);

/* One timer event is under way at most; it is put off when it fires early. */
static void arm(struct cubic *c) {
  c->rto_at = c->una < c->next ? c->net->now + c->rto : NEVER;
  if (c->rto_at == NEVER || c->timer_at <= c->rto_at) return;
  c->timer_at = c->rto_at;
  vnet_at(c->net, c->timer_at, on_timer, c, c->timer_at);
}

static void transmit(struct cubic *c, uint64_t n) {
  uint8_t bytes[SEGMENT] = {0};
  struct dgram d = {
      .remote = c->to->outer[0], .data = bytes, .len = SEGMENT, .seg = SEGMENT};

  memcpy(bytes, &n, sizeof(n));
  seg(c, n)->sent_at = c->net->now;
  c->stats.n_segments++;
  vnet_send(c->from, &d);
}

static uint64_t in_flight(const struct cubic *c) {
  return c->next - c->una - c->n_sacked - c->n_lost;
}

static void send_again(struct cubic *c) {
  struct segment *s;

  while (seg(c, c->again_at)->sacked || !seg(c, c->again_at)->lost)
    c->again_at++;
  s = seg(c, c->again_at);
  s->lost = false;
  s->again = true;
  c->n_lost--;
  c->stats.n_again++;
  transmit(c, c->again_at);
}

static void send(struct cubic *c) {
  bool idle = c->una == c->next;

  while ((double)in_flight(c) < floor(c->cwnd)) {
    if (c->n_lost) {
      send_again(c);
      continue;
    }
    if (c->stopped || c->next - c->una >= WINDOW) break;
    *seg(c, c->next) = (struct segment){0};
    transmit(c, c->next++);
  }
  if (idle) arm(c);
}

/* --- recovery --- */

static void lose(struct cubic *c, uint64_t n) {
  seg(c, n)->lost = true;
  c->n_lost++;
  if (n < c->again_at) c->again_at = n;
}

/* RFC 8985, 6.2, step 5: what was sent before something that arrived is lost;
 * while few arrived out of order, a quarter of the round trip later. */
static bool find_lost(struct cubic *c) {
  uint64_t wait =
      c->recovering || c->n_sacked >= DUPTHRESH ? 0 : c->min_rtt / 4;
  bool found = false;

  if (!c->n_sacked) return false;
  for (uint64_t n = c->una; n < c->next; n++) {
    struct segment *s = seg(c, n);

    if (s->sacked || s->lost || s->sent_at + wait >= c->newest) continue;
    lose(c, n);
    found = true;
  }
  return found;
}

static void recover(struct cubic *c) {
  if (c->recovering) return;
  c->recovering = true;
  c->recover_upto = c->next;
  c->stats.n_recoveries++;
  shrink(c);
  c->cwnd = c->ssthresh;
}

static void on_timer(void *ud, uint64_t at) {
  struct cubic *c = ud;

  if (is_over(c) || at != c->timer_at) return;
  c->timer_at = NEVER;
  if (c->rto_at == NEVER) return;
  if (c->rto_at > at) {
    c->timer_at = c->rto_at;
    vnet_at(c->net, c->timer_at, on_timer, c, c->timer_at);
    return;
  }
  c->stats.n_timeouts++;
  if (!c->timed_out) shrink(c);
  c->recovering = c->timed_out = true;
  c->recover_upto = c->next;
  c->cwnd = 1;
  for (uint64_t n = c->una; n < c->next; n++)
    if (!seg(c, n)->sacked && !seg(c, n)->lost) lose(c, n);
  c->rto = c->rto * 2 < RTO_MAX ? c->rto * 2 : RTO_MAX;
  send(c);
  arm(c);
}

/* --- acknowledgements --- */

/* RFC 6298, with Linux's floor under the variance. */
static void measure(struct cubic *c, uint64_t rtt) {
  uint64_t diff = rtt > c->srtt ? rtt - c->srtt : c->srtt - rtt, floor;

  if (!c->min_rtt || rtt < c->min_rtt) c->min_rtt = rtt;
  if (!c->srtt) {
    c->srtt = rtt;
    c->rttvar = rtt / 2;
  } else {
    c->rttvar = (3 * c->rttvar + diff) / 4;
    c->srtt = (7 * c->srtt + rtt) / 8;
  }
  floor = 4 * c->rttvar > RTO_MIN ? 4 * c->rttvar : RTO_MIN;
  c->rto = c->srtt + floor;
}

static void arrived(struct cubic *c, const struct segment *s) {
  if (s->sent_at > c->newest) c->newest = s->sent_at;
}

static uint64_t take_sacks(struct cubic *c, const struct ack *a) {
  uint64_t n_new = 0;

  for (int i = 0; i < BLOCKS; i++)
    for (uint64_t n = a->blocks[i].from; n < a->blocks[i].to; n++) {
      struct segment *s = seg(c, n);

      if (n < c->una || n >= c->next || s->sacked) continue;
      if (s->lost) c->n_lost--;
      s->lost = false;
      s->sacked = true;
      c->n_sacked++;
      n_new++;
      arrived(c, s);
    }
  return n_new;
}

static uint64_t take_upto(struct cubic *c, uint64_t upto) {
  uint64_t n_new = 0;

  for (; c->una < upto && c->una < c->next; c->una++) {
    struct segment *s = seg(c, c->una);

    if (s->lost) c->n_lost--;
    if (s->sacked)
      c->n_sacked--;
    else
      n_new++;
    arrived(c, s);
    if (!s->again) measure(c, c->net->now - s->sent_at);
  }
  if (c->again_at < c->una) c->again_at = c->una;
  return n_new;
}

static void on_ack(void *ud, const struct dgram *d) {
  struct cubic *c = ud;

  if (is_over(c)) return;
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    struct ack a;
    uint64_t una = c->una, n_new;

    memcpy(&a, d->data + off, sizeof(a));
    n_new = take_upto(c, a.upto);
    n_new += take_sacks(c, &a);
    if (c->recovering && c->una >= c->recover_upto)
      c->recovering = c->timed_out = false;
    if (find_lost(c)) recover(c);
    if (n_new && (!c->recovering || c->timed_out)) grow(c, (double)n_new);
    if (c->una > una) arm(c);
  }
  send(c);
}

/* --- the receiver --- */

static void say_ack(struct cubic *c) {
  struct receiver *r = &c->rx;
  struct ack a = {.upto = r->next};
  struct dgram d = {.remote = c->from->outer[0],
                    .data = (const uint8_t *)&a,
                    .len = sizeof(a),
                    .seg = sizeof(a)};

  memcpy(a.blocks, r->blocks, sizeof(a.blocks));
  r->n_unacked = 0;
  r->turn++;
  vnet_send(c->to, &d);
}

static void on_ack_timer(void *ud, uint64_t turn) {
  struct cubic *c = ud;

  if (!is_over(c) && turn == c->rx.turn && c->rx.n_unacked) say_ack(c);
}

/* The run of segments around n goes first, those it swallowed or that were
 * acknowledged go. */
static void note_block(struct receiver *r, uint64_t n) {
  struct block b = {n, n + 1}, kept[BLOCKS + 1];
  int k = 0;

  while (b.from > r->next && r->have[(b.from - 1) % WINDOW]) b.from--;
  while (b.to < r->next + WINDOW && r->have[b.to % WINDOW]) b.to++;
  if (n >= r->next) kept[k++] = b;
  for (int i = 0; i < BLOCKS; i++)
    if (r->blocks[i].to > r->next &&
        (r->blocks[i].to < b.from || r->blocks[i].from > b.to))
      kept[k++] = r->blocks[i];
  memset(r->blocks, 0, sizeof(r->blocks));
  memcpy(r->blocks, kept, (size_t)(k < BLOCKS ? k : BLOCKS) * sizeof(*kept));
}

/* Whether it is to be acknowledged at once. */
static bool take(struct receiver *r, uint64_t n) {
  bool in_order = n == r->next, hole = r->blocks[0].to != 0;

  if (n < r->next || n >= r->next + WINDOW) return true;
  r->have[n % WINDOW] = true;
  while (r->have[r->next % WINDOW]) r->have[r->next++ % WINDOW] = false;
  if (!in_order || hole) note_block(r, n);
  return !in_order || hole || ++r->n_unacked >= 2;
}

static void on_segment(void *ud, const struct dgram *d) {
  struct cubic *c = ud;

  if (is_over(c)) return;
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    uint64_t n;

    memcpy(&n, d->data + off, sizeof(n));
    if (take(&c->rx, n))
      say_ack(c);
    else
      vnet_at(c->net, c->net->now + ACK_AFTER, on_ack_timer, c, c->rx.turn);
  }
}

/* --- life --- */

struct cubic *cubic_new(struct vnet_host *from, struct vnet_host *to) {
  struct cubic *c = calloc(1, sizeof(*c));

  if (!c) abort();
  c->net = from->net;
  c->from = from;
  c->to = to;
  c->cwnd = INITIAL;
  c->ssthresh = WINDOW;
  c->rto = SEC;
  c->rto_at = c->timer_at = NEVER;
  from->on_dgram = on_ack;
  to->on_dgram = on_segment;
  from->ud = to->ud = c;
  send(c);
  return c;
}

void cubic_free(struct cubic *c) { free(c); }

void cubic_stop(struct cubic *c) { c->stopped = true; }

void cubic_stats(const struct cubic *c, struct cubic_stats *to) {
  *to = c->stats;
  to->bytes = c->rx.next * PAYLOAD;
  to->cwnd = c->cwnd;
  to->srtt = c->srtt;
}
