/* probe_ping.c - see probe_ping.h. */
#include "host/probe_ping.h"

#include <stdlib.h>
#include <string.h>

void ping_start(struct ping *p, const struct ztna_addr *to,
                const struct rng *rng, uint64_t now) {
  *p = (struct ping){
      .to = *to,
      .next_at = now,
      .end_at = now + PING_COUNT * PING_EVERY + PING_PATIENCE,
  };
  rng_fill(rng, p->txid, sizeof(p->txid) - 1);
}

bool ping_next(struct ping *p, uint64_t now, struct dgram *d) {
  struct stun_msg m = {.class = STUN_REQUEST, .method = STUN_BINDING};
  if (!p->to.family || now < p->next_at) return false;
  p->txid[STUN_TXID_LEN - 1] = (uint8_t)p->n_sent;
  memcpy(m.txid, p->txid, sizeof(m.txid));
  m.fingerprint = true;
  int len = stun_write(p->out, &m, NULL, 0, NULL);
  p->sent_at[p->n_sent++] = now;
  p->next_at = p->n_sent < PING_COUNT ? now + PING_EVERY : NEVER;
  p->end_at = now + PING_PATIENCE;
  *d = (struct dgram){
      .remote = p->to,
      .data = p->out,
      .len = (uint32_t)len,
      .seg = (uint16_t)len,
  };
  return true;
}

bool ping_in(struct ping *p, uint64_t now, const struct dgram *d,
             const struct stun_msg *m) {
  int i = m->txid[STUN_TXID_LEN - 1];
  if ((m->class != STUN_SUCCESS && m->class != STUN_ERROR) || i >= p->n_sent ||
      memcmp(m->txid, p->txid, STUN_TXID_LEN - 1))
    return false;
  if (!ztna_addr_equal(&d->remote, &p->to) || p->rtt[i]) return true;
  p->rtt[i] = now > p->sent_at[i] ? now - p->sent_at[i] : 1;
  p->n_answered++;
  if (!p->mapped.family) p->mapped = m->mapped;
  return true;
}

bool ping_is_over(const struct ping *p, uint64_t now) {
  return p->n_answered == PING_COUNT ||
         (p->next_at == NEVER && now >= p->end_at) || !p->to.family;
}

uint64_t ping_deadline(const struct ping *p) {
  if (!p->to.family || p->n_answered == PING_COUNT) return NEVER;
  return p->next_at != NEVER ? p->next_at : p->end_at;
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

void ping_stats(const struct ping *p, struct ping_stats *s) {
  uint64_t v[PING_COUNT], sum = 0;
  int n = 0;
  *s = (struct ping_stats){.n_sent = p->n_sent, .n_answered = p->n_answered};
  for (int i = 0; i < p->n_sent; i++)
    if (p->rtt[i]) sum += v[n++] = p->rtt[i];
  if (!n) return;
  qsort(v, (size_t)n, sizeof(*v), compare);
  s->min = v[0];
  s->avg = sum / (uint64_t)n;
  s->p95 = v[(n * 95 + 99) / 100 - 1];
}
