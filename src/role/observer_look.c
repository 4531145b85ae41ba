/* observer_look.c - one family's observation: which question comes next, and
 * what the answers tell about the NAT (RFC 5780, section 4). */
#include "role/observer_int.h"

#include <string.h>

/* --- what to ask */

/* The 250 ms after which the servers behind the first two are asked, too. */
#define ASK_REST_AFTER (250 * MS)
#define REFRESH_PATIENCE (300 * MS)

static bool is_private(const struct ztna_addr *a) {
  if (a->family == 6) return (a->ip[0] & 0xfe) == 0xfc;
  return a->ip[0] == 10 || (a->ip[0] == 172 && (a->ip[1] & 0xf0) == 16) ||
         (a->ip[0] == 192 && a->ip[1] == 168) ||
         (a->ip[0] == 100 && (a->ip[1] & 0xc0) == 64);
}

/* May a server send us to that other address? It is authenticated by nothing
 * but our id, and must not make us speak to our own machine or network. */
static bool may_ask(const struct observer *ob, const struct ztna_addr *server,
                    const struct ztna_addr *other) {
  static const uint8_t everybody[4] = {255, 255, 255, 255};
  if (ztna_addr_is_unspecified(other) || ztna_addr_is_multicast(other) ||
      ztna_addr_is_link_local(other))
    return false;
  if (other->family == 4 && !memcmp(other->ip, everybody, 4)) return false;
  if (ztna_addr_is_loopback(other) && !ztna_addr_is_loopback(server))
    return false;
  if (is_private(other) && !is_private(server)) return false;
  for (size_t i = 0; i < ob->n_locals; i++)
    if (ztna_addr_same_ip(&ob->locals[i], other)) return false;
  return true;
}

static struct ask *ask_of(struct look *k, enum ask_kind kind) {
  for (size_t i = 0; i < k->n_asks; i++)
    if (k->asks[i].kind == kind) return &k->asks[i];
  return NULL;
}

static void ask_servers(struct observer *ob, struct look *k, size_t from,
                        size_t to, uint64_t now) {
  for (size_t i = from; i < to; i++)
    if (k->servers[i].family)
      ask_new(ob, k, ASK_SERVER, &k->servers[i], 0, 0, now);
}

/* The main socket's mapping, towards the same address and towards another. */
static void ask_mapping(struct observer *ob, struct look *k,
                        const struct ask *a, uint64_t now) {
  struct ztna_addr port = a->to;
  if (a->other.family != a->to.family || !a->other.port) return;
  if (!ztna_addr_same_ip(&a->other, &a->to) && may_ask(ob, &a->to, &a->other) &&
      !ask_of(k, ASK_ADDRESS))
    ask_new(ob, k, ASK_ADDRESS, &a->other, 0, 0, now);
  port.port = a->other.port;
  if (port.port != a->to.port && !ask_of(k, ASK_PORT))
    ask_new(ob, k, ASK_PORT, &port, 0, 0, now);
}

static void ask_extra(struct observer *ob, struct look *k,
                      const struct ztna_addr *to, uint64_t now) {
  uint16_t sock = observer_take_sock(ob);
  if (sock && !ask_new(ob, k, ASK_EXTRA, to, sock, 0, now))
    punch_sock_free(ob->o.socks, sock);
}

static void ask_allocation(struct observer *ob, struct look *k,
                           const struct ask *a, uint64_t now) {
  if (ask_of(k, ASK_EXTRA)) return;
  for (int i = 0; i < 2; i++) ask_extra(ob, k, &a->to, now);
}

/* Through a hole that only this server's address was told of. */
static void ask_filtering(struct observer *ob, struct look *k,
                          const struct ask *a, uint64_t now) {
  static const uint32_t changes[] = {0, STUN_CHANGE_PORT,
                                     STUN_CHANGE_IP | STUN_CHANGE_PORT};
  bool other_ip = !ztna_addr_same_ip(&a->other, &a->to);
  if (!ob->o.filtering || !a->other.family || ask_of(k, ASK_FILTER)) return;
  uint16_t sock = observer_take_sock(ob);
  for (int i = 0; sock && i < (other_ip ? 3 : 2); i++) {
    enum ask_kind kind = (enum ask_kind)(ASK_FILTER + i);
    struct ask *q = ask_new(ob, k, kind, &a->to, sock, changes[i], now);
    /* Silence is the answer here: it gets all its repeats. */
    if (q) q->give_up_at = now + 700 * MS;
  }
}

/* The port of the socket that asked; 0: unknown. */
static uint16_t own_port(const struct observer *ob, const struct ask *a) {
  if (a->local.port) return a->local.port;
  for (size_t i = 0; a->sock == 0 && i < ob->n_locals; i++)
    if (ob->locals[i].family == a->to.family) return ob->locals[i].port;
  return 0;
}

static bool is_unmapped(const struct observer *ob, const struct ask *a) {
  return observer_is_own(ob, &a->local, &a->mapped);
}

void look_go_on(struct observer *ob, struct look *k, struct ask *a,
                uint64_t now) {
  if (a->kind != ASK_SERVER || a->state != ASK_ANSWERED || !k->running) return;
  if (k->lead < 0) k->lead = (int)(a - k->asks);
  if (!k->view.mapped.family) k->view.mapped = a->mapped;
  ask_mapping(ob, k, a, now);
  if (!is_unmapped(ob, a) && a->mapped.port != own_port(ob, a))
    ask_allocation(ob, k, a, now);
  ask_filtering(ob, k, a, now);
}

/* --- what follows */

static bool tells_mapping(const struct ask *a) {
  return a->state == ASK_ANSWERED && a->kind <= ASK_ADDRESS;
}

/* Every two answers to the main socket, side by side. */
static void judge_mapping(const struct observer *ob, const struct look *k,
                          struct nat_view *v) {
  bool port_known = false, port_differs = false;
  bool ip_known = false, ip_differs = false;
  for (size_t i = 0; i < k->n_asks; i++)
    for (size_t j = 0; tells_mapping(&k->asks[i]) && j < i; j++) {
      const struct ask *a = &k->asks[i], *b = &k->asks[j];
      bool same = ztna_addr_equal(&a->mapped, &b->mapped);
      if (!tells_mapping(b)) continue;
      if (ztna_addr_same_ip(&a->to, &b->to)) {
        port_known = true;
        port_differs |= !same;
      } else {
        ip_known = true;
        ip_differs |= !same;
      }
    }
  v->mapping = port_differs ? NAT_ADDRESS_PORT_DEPENDENT
               : ip_differs ? NAT_ADDRESS_DEPENDENT
                            : NAT_ENDPOINT_INDEPENDENT;
  v->mapping_partial = !port_differs && !(ip_differs ? port_known : ip_known);
  if (is_unmapped(ob, &k->asks[k->lead])) {
    v->mapping = NAT_NONE;
    v->mapping_partial = false;
  }
}

/* Does it show a mapping that was made for this observation? The one towards
 * the first server may be older: it is that of the control connection. */
static bool is_new_mapping(const struct look *k, const struct ask *a,
                           const struct nat_view *v) {
  if (a->state != ASK_ANSWERED) return false;
  if (a->kind == ASK_EXTRA) return true;
  return nat_is_hard(v) && (a->kind == ASK_PORT || a->kind == ASK_ADDRESS) &&
         !ztna_addr_equal(&a->mapped, &k->asks[k->lead].mapped);
}

static void judge_allocation(const struct observer *ob, const struct look *k,
                             struct nat_view *v) {
  const struct ask *lead = &k->asks[k->lead];
  uint16_t mapped[OBSERVER_ASKS], local[OBSERVER_ASKS];
  size_t n = 0;
  for (size_t i = 0; i < k->n_asks; i++) {
    const struct ask *a = &k->asks[i];
    if (!is_new_mapping(k, a, v)) continue;
    mapped[n] = a->mapped.port;
    local[n++] = own_port(ob, a);
    v->last_port = a->mapped.port;
    v->last_at = a->answers_at;
  }
  if (v->mapping == NAT_NONE || (!n && lead->mapped.port == own_port(ob, lead)))
    v->allocation = NAT_PRESERVING;
  else
    v->allocation = nat_allocation_of(mapped, local, n, &v->delta);
}

static enum ask_state state_of(struct look *k, enum ask_kind kind) {
  const struct ask *a = ask_of(k, kind);
  return a ? a->state : ASK_REFUSED;
}

static void judge_filtering(struct look *k, struct nat_view *v) {
  enum ask_state by_port = state_of(k, ASK_FILTER_PORT);
  enum ask_state by_ip = state_of(k, ASK_FILTER_ADDRESS);
  if (by_ip == ASK_ANSWERED) {
    v->filtering = v->mapping == NAT_NONE ? NAT_NONE : NAT_ENDPOINT_INDEPENDENT;
  } else if (by_port == ASK_ANSWERED) {
    v->filtering = NAT_ADDRESS_DEPENDENT;
    v->filtering_partial = by_ip == ASK_REFUSED;
  } else if (by_port == ASK_SILENT && state_of(k, ASK_FILTER) == ASK_ANSWERED) {
    v->filtering = NAT_ADDRESS_PORT_DEPENDENT;
  }
}

/* As the first server of the list saw it, of those that answered. */
static struct ztna_addr mapped_of(const struct look *k) {
  for (size_t i = 0; i < k->n_asks; i++)
    if (k->asks[i].kind == ASK_SERVER && k->asks[i].state == ASK_ANSWERED)
      return k->asks[i].mapped;
  return (struct ztna_addr){0};
}

static void judge(const struct observer *ob, struct look *k) {
  struct nat_view v = {0};
  if (k->lead >= 0) {
    v.mapped = mapped_of(k);
    judge_mapping(ob, k, &v);
    judge_allocation(ob, k, &v);
    judge_filtering(k, &v);
  }
  k->view = v;
}

/* --- life */

static void finish(struct observer *ob, struct look *k) {
  k->running = k->refreshing = false;
  k->done = true;
  observer_close_socks(ob, k);
  if (ob->o.on_done) ob->o.on_done(ob->o.ud, k == ob->looks ? 4 : 6);
}

static void drop_open(struct look *k) {
  for (size_t i = 0; i < k->n_asks; i++)
    if (k->asks[i].state == ASK_OPEN) k->asks[i].state = ASK_SILENT;
}

static void begin(struct observer *ob, struct look *k, uint64_t now) {
  drop_open(k);
  observer_close_socks(ob, k);
  k->n_asks = 0;
  k->lead = -1;
  k->n_packets = 0;
  k->begun_at = now;
}

void look_start(struct observer *ob, struct look *k, uint64_t now) {
  begin(ob, k, now);
  k->wanted = k->refreshing = k->asked_rest = false;
  k->started = k->running = true;
  ask_servers(ob, k, 0, 2, now);
  if (!k->n_asks) {
    k->asked_rest = true;
    ask_servers(ob, k, 2, OBSERVER_SERVERS, now);
  }
  if (k->n_asks) return;
  judge(ob, k);
  finish(ob, k);
}

void look_refresh(struct observer *ob, struct look *k, uint64_t now) {
  if (k->running || k->refreshing) return; /* on_done follows anyway */
  const struct ask *lead = k->lead >= 0 ? &k->asks[k->lead] : NULL;
  if (k->view.allocation != NAT_SEQUENTIAL || !lead) {
    finish(ob, k);
    return;
  }
  struct ask asked = *lead;
  begin(ob, k, now);
  /* It stays at the front, so that the next refresh finds it. */
  k->asks[k->n_asks++] = asked;
  k->lead = 0;
  k->refreshing = true;
  ask_extra(ob, k, &asked.to, now);
  if (k->n_asks < 2)
    finish(ob, k);
  else
    k->asks[1].give_up_at = now + REFRESH_PATIENCE;
}

static void refreshed(struct observer *ob, struct look *k) {
  const struct ask *a = &k->asks[1];
  if (a->state == ASK_ANSWERED) {
    k->view.last_port = a->mapped.port;
    k->view.last_at = a->answers_at;
  }
  finish(ob, k);
}

static bool is_open(const struct look *k, bool but_servers) {
  for (size_t i = 0; i < k->n_asks; i++)
    if (k->asks[i].state == ASK_OPEN &&
        !(but_servers && k->asks[i].kind == ASK_SERVER))
      return true;
  return false;
}

/* Another server is only waited for while it could tell something new. For
 * people (filtering) each one's answer is news. */
static bool knows_enough(const struct observer *ob, const struct look *k) {
  struct nat_view v = {0};
  if (ob->o.filtering || k->lead < 0 || is_open(k, true)) return false;
  judge_mapping(ob, k, &v);
  return !v.mapping_partial;
}

/* Nothing is open: is there more to be asked? */
static bool asks_more(struct observer *ob, struct look *k, uint64_t now) {
  struct nat_view v = {0};
  if (k->lead < 0) return false;
  judge_mapping(ob, k, &v);
  if (!nat_is_hard(&v) || ask_of(k, ASK_EXTRA)) return false;
  ask_allocation(ob, k, &k->asks[k->lead], now);
  return is_open(k, false);
}

static bool is_wanted(const struct look *k) {
  return k->wanted && !k->running && !k->refreshing &&
         (k->view.mapping == NAT_UNKNOWN || k->view.mapping_partial);
}

void look_tick(struct observer *ob, struct look *k, uint64_t now) {
  if (is_wanted(k)) look_start(ob, k, now);
  if (!k->running && !k->refreshing) return;
  for (size_t i = 0; i < k->n_asks; i++)
    if (k->asks[i].state == ASK_OPEN && now >= k->asks[i].give_up_at)
      ask_give_up(ob, &k->asks[i]);
  if (k->running && !k->asked_rest && k->lead < 0 &&
      now >= k->begun_at + ASK_REST_AFTER) {
    k->asked_rest = true;
    ask_servers(ob, k, 2, OBSERVER_SERVERS, now);
  }
  observer_close_socks(ob, k);
  if (k->running && knows_enough(ob, k)) drop_open(k);
  if (is_open(k, false)) return;
  if (k->refreshing) {
    refreshed(ob, k);
  } else if (!asks_more(ob, k, now)) {
    judge(ob, k);
    finish(ob, k);
  }
}

uint64_t look_deadline(const struct look *k) {
  uint64_t at = NEVER;
  if (is_wanted(k)) return 0;
  for (size_t i = 0; i < k->n_asks; i++)
    at = time_min(at, ask_deadline(k, &k->asks[i]));
  if (k->running && !k->asked_rest && k->lead < 0)
    at = time_min(at, k->begun_at + ASK_REST_AFTER);
  return at;
}
