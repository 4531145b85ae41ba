/* punch_plan.c - which addresses of the peer are probed, in which order, when.
 *
 * Openers. A router that takes packets to its own address for itself (Linux
 * with an INPUT chain that accepts) remembers an early probe of the peer as a
 * conversation of its own; our packet to that peer then leaves from another
 * port, and nothing fits any more. So both ends open their NATs first by
 * packets that die on the way, and packets that are to arrive follow when the
 * other's opener has left. The agreed moment is known to half the relayed
 * path's RTT, so they follow after that.
 *
 * Predicted ports. A sequential NAT gives port last + i * delta to the i-th new
 * destination, whether or not the packet arrives. Where only the peer's is
 * such, its first packets go to our one address, so the ports behind its last
 * one are probed. Where both are, both send their i-th packet to a port of the
 * other, and what others took in between (a, b ports) pushes on each side's
 * own. The controlling side's i-th goes to the i-th port. The other's goes to
 * port t(i) = i + (i - 1) / 2, and leaves from i + b. It meets its counterpart
 * if that one, sent to port i + b, was the (i + b)-th and left from
 * i + b + a = t(i). So for each a + b there are two i that match, and each
 * destination is used once, as it must be. */
#include "part/punch_int.h"

/* After the first packet that is to arrive. */
static const uint16_t probe_ms[] = {0, 30, 80, 180, 380, 780, 1580},
                      few_ms[] = {0, 80, 380, 780};
enum { N_PROBES = 7, N_FEW = 4 };

/* Before it: others' openers have left, or nothing depends on them. */
#define LEAD_MIN (20 * MS)
#define LEAD_MAX (250 * MS)

/* --- what the NATs do */

bool is_sequential(const struct nat_view *v) {
  return nat_is_hard(v) && v->allocation == NAT_SEQUENTIAL && v->delta &&
         v->last_port;
}

uint16_t port_ahead(const struct nat_view *v, int i) {
  int n = (v->last_port - PORT_MIN + i * v->delta) % PORTS;

  return (uint16_t)(PORT_MIN + (n < 0 ? n + PORTS : n));
}

/* --- remotes */

struct remote *remote_find(struct punch *p, uint16_t sock,
                           const struct ztna_addr *a) {
  for (size_t i = 0; i < p->n_remotes; i++) {
    struct remote *r = &p->remotes[i];
    if (r->sock == sock && ztna_addr_equal(&r->addr, a)) return r;
  }
  return NULL;
}

static int last_step(const struct remote *r) {
  if (!r->known) return 0;
  return r->few ? N_FEW : N_PROBES;
}

static uint64_t step_at(const struct remote *r, int step) {
  const uint16_t *after = r->few ? few_ms : probe_ms;

  if (step > last_step(r)) return NEVER;
  return step ? r->base + r->lead + after[step - 1] * MS : r->base;
}

static void schedule(struct remote *r) {
  bool more = !r->answered && r->n_sent < PUNCH_PROBES;

  r->due = more ? step_at(r, r->step) : NEVER;
}

void remote_sent(struct remote *r, uint64_t now, bool full) {
  r->n_sent++;
  if (full) r->full_at = now ? now : 1;
  if (step_at(r, r->step) <= now) r->step++; /* else it was out of turn */
  /* Of those that are late only the last one is sent. */
  while (step_at(r, r->step + 1) <= now) r->step++;
  schedule(r);
}

void remote_asked(struct remote *r, uint64_t now) {
  r->few = false; /* no guess any more */
  if (r->answered || r->n_sent >= PUNCH_PROBES) return;
  /* One that is under way will be answered by itself. */
  if (r->full_at && now < r->full_at + 10 * MS) return;
  r->due = now;
}

static enum rank rank_of(const struct ztna_addr *a, enum candidate_kind kind) {
  if (kind == CANDIDATE_HOST) return RANK_LAN;
  return a->family == 6 ? RANK_V6 : RANK_V4;
}

static bool is_observed(const struct punch *p, const struct ztna_addr *a) {
  return p->observed.family && ztna_addr_same_ip(&p->observed, a);
}

/* The same address on another socket, or on the one the relay saw. */
static bool is_known(const struct punch *p, const struct ztna_addr *a) {
  for (size_t i = 0; i < p->n_remotes; i++)
    if (p->remotes[i].known && ztna_addr_equal(&p->remotes[i].addr, a))
      return true;
  return is_observed(p, a);
}

static struct remote *remote_add(struct punch *p, uint16_t sock,
                                 const struct ztna_addr *a) {
  struct remote *r = &p->remotes[p->n_remotes];

  if (p->n_remotes == REMOTES) return NULL;
  p->n_remotes++;
  *r = (struct remote){.addr = *a, .sock = sock, .due = NEVER};
  return r;
}

struct remote *remote_learn(struct punch *p, uint64_t now, uint16_t sock,
                            const struct ztna_addr *a) {
  bool known = is_known(p, a);
  struct remote *r;

  if (!known && p->n_strangers == STRANGERS) return NULL;
  r = remote_add(p, sock, a);
  if (!r) return NULL;
  if (!known) p->n_strangers++;
  r->known = known;
  r->rank = rank_of(a, CANDIDATE_REFLEXIVE);
  r->base = now;
  r->lead = probe_ms[1] * MS;
  /* A search has been here before. */
  if (known && (p->n_ports || p->n_holes)) r->n_sent = SEARCH_PASSES;
  return r;
}

/* --- a round */

static bool has_family(const struct punch_side *s, int family) {
  for (size_t i = 0; i < s->n; i++)
    if (s->list[i].addr.family == family) return true;
  return false;
}

static bool may_probe(const struct punch *p, const struct ztna_addr *a) {
  return a->port && has_family(&p->o.own, a->family) &&
         p->o.may_send(p->o.ud, a);
}

static void probe(struct punch *p, const struct ztna_addr *a,
                  enum candidate_kind kind, bool few) {
  bool translated = a->family == 4 && kind != CANDIDATE_HOST &&
                    p->o.peer.nat.mapping != NAT_NONE;
  struct remote *r;

  if (!may_probe(p, a) || remote_find(p, 0, a)) return;
  r = remote_add(p, 0, a);
  if (!r) return;
  r->known = true;
  r->few = few;
  r->rank = rank_of(a, kind);
  r->base = p->o.at;
  r->lead = translated ? p->lead : LEAD_MIN;
  r->opener = translated && p->o.own.nat.mapping != NAT_NONE;
  if (translated && !r->opener) r->step = 1; /* nothing to open here */
  schedule(r);
}

static void probe_kind(struct punch *p, enum candidate_kind kind, int family) {
  for (size_t i = 0; i < p->o.peer.n; i++) {
    const struct candidate *c = &p->o.peer.list[i];
    if (c->kind == kind && c->addr.family == family)
      probe(p, &c->addr, kind, false);
  }
}

static void probe_predicted(struct punch *p) {
  bool both = is_sequential(&p->o.own.nat),
       stretched = both && !p->o.controlling;
  int n = both && !stretched ? STRAIGHT : PREDICTED;
  struct ztna_addr a = p->observed;

  for (int i = 1; a.family && i <= n; i++) {
    a.port = port_ahead(&p->o.peer.nat, stretched ? i + (i - 1) / 2 : i);
    probe(p, &a, CANDIDATE_REFLEXIVE, true);
  }
}

/* The relay saw it; where there is no NAT it is the machine's own. */
static struct ztna_addr observed_of(const struct punch_side *s) {
  const struct ztna_addr *host = NULL;

  for (size_t i = 0; i < s->n; i++) {
    const struct candidate *c = &s->list[i];
    if (c->addr.family != 4) continue;
    if (c->kind == CANDIDATE_REFLEXIVE) return c->addr;
    if (c->kind == CANDIDATE_HOST && !host) host = &c->addr;
  }
  if (s->nat.mapping == NAT_NONE && host) return *host;
  return (struct ztna_addr){0};
}

/* A peer could else have somebody else's ports searched. */
static bool may_search(const struct punch *p, const struct ztna_addr *a) {
  if (!a->family || !may_probe(p, a)) return false;
  return !p->o.is_observed || p->o.is_observed(p->o.ud, a);
}

static uint64_t lead_of(uint64_t rtt) {
  uint64_t lead = rtt / 2;

  if (lead < LEAD_MIN) return LEAD_MIN;
  return lead < LEAD_MAX ? lead : LEAD_MAX;
}

void plan_begin(struct punch *p) {
  const struct nat_view *own = &p->o.own.nat, *peer = &p->o.peer.nat;
  bool own_seq = is_sequential(own), peer_seq = is_sequential(peer);
  uint64_t patience = 2 * p->o.rtt;

  p->lead = lead_of(p->o.rtt);
  p->observed = observed_of(&p->o.peer);
  if (!may_search(p, &p->observed)) p->observed = (struct ztna_addr){0};
  p->has_observed = observed_of(&p->o.own).family != 0;
  p->both_hard =
      nat_is_hard(own) && nat_is_hard(peer) && !(own_seq && peer_seq);
  /* Each of these takes a port of our own NAT, so what is to fit goes first,
   * and addresses that are of no use from here go last. */
  if (peer_seq && !p->both_hard) probe_predicted(p);
  probe_kind(p, CANDIDATE_REFLEXIVE, 4);
  probe_kind(p, CANDIDATE_MAPPED, 4);
  probe_kind(p, CANDIDATE_HOST, 6);
  probe_kind(p, CANDIDATE_REFLEXIVE, 6);
  probe_kind(p, CANDIDATE_MAPPED, 6);
  probe_kind(p, CANDIDATE_HOST, 4);
  p->n_announced = p->n_remotes;
  if (patience < 500 * MS) patience = 500 * MS;
  if (patience > SEC) patience = SEC;
  p->over_at = p->o.at;
  if (p->n_remotes)
    p->over_at += p->lead + probe_ms[N_PROBES - 1] * MS + patience;
}

bool plan_has_better(const struct punch *p) {
  for (size_t i = 0; i < p->n_remotes; i++) {
    const struct remote *r = &p->remotes[i];
    if (!r->answered && r->rank < p->best && r->due != NEVER) return true;
  }
  return false;
}
