/* observer.c - life of the observer, what is fed to it and drained from it. */
#include "role/observer_int.h"

#include <stdlib.h>
#include <string.h>

/* --- make and free */

struct observer *observer_new(const struct observer_options *o) {
  struct observer *ob = calloc(1, sizeof(*ob));
  if (!ob) return NULL;
  ob->o = *o;
  for (int i = 0; i < 2; i++) ob->looks[i].lead = -1;
  return ob;
}

void observer_free(struct observer *o) { free(o); }

static struct look *look_of(struct observer *o, int family) {
  return &o->looks[family == 6];
}

/* --- extra sockets */

uint16_t observer_take_sock(struct observer *ob) {
  return punch_sock_take(ob->o.socks);
}

static bool sock_is_needed(const struct look *k, uint16_t sock) {
  for (size_t i = 0; i < k->n_asks; i++)
    if (k->asks[i].sock == sock && k->asks[i].state == ASK_OPEN) return true;
  return false;
}

static void sock_close(struct observer *ob, struct look *k, uint16_t sock) {
  size_t room = sizeof(ob->closes) / sizeof(*ob->closes);
  if (ob->n_closes == room) return; /* at the next call, then */
  ob->closes[ob->n_closes].sock = sock;
  ob->closes[ob->n_closes++].family = k == ob->looks ? 4 : 6;
  for (size_t i = 0; i < k->n_asks; i++)
    if (k->asks[i].sock == sock) k->asks[i].sock = 0;
}

void observer_close_socks(struct observer *ob, struct look *k) {
  for (size_t i = 0; i < k->n_asks; i++)
    if (k->asks[i].sock && !sock_is_needed(k, k->asks[i].sock))
      sock_close(ob, k, k->asks[i].sock);
}

/* --- what is told */

void observer_set_local(struct observer *o, const struct ztna_addr *v,
                        size_t n) {
  o->n_locals = n < OBSERVER_LOCALS ? n : OBSERVER_LOCALS;
  if (o->n_locals) memcpy(o->locals, v, o->n_locals * sizeof(*v));
}

bool observer_is_own(const struct observer *ob, const struct ztna_addr *local,
                     const struct ztna_addr *a) {
  if (ztna_addr_equal(local, a)) return true;
  for (size_t i = 0; i < ob->n_locals; i++)
    if (ztna_addr_equal(&ob->locals[i], a)) return true;
  return false;
}

void observer_set_server(struct observer *o, size_t index, int family,
                         const struct ztna_addr *addr) {
  struct look *k = look_of(o, family);
  if (index >= OBSERVER_SERVERS || ztna_addr_equal(&k->servers[index], addr))
    return;
  k->servers[index] = addr->family == family ? *addr : (struct ztna_addr){0};
  if (k->servers[index].family && k->started) k->wanted = true;
}

void observer_start(struct observer *o, uint64_t now) {
  for (int i = 0; i < 2; i++) {
    o->looks[i].done = false;
    o->looks[i].view = (struct nat_view){0};
  }
  for (int i = 0; i < 2; i++) look_start(o, &o->looks[i], now);
}

void observer_refresh(struct observer *o, int family, uint64_t now) {
  look_refresh(o, look_of(o, family), now);
}

/* --- what is known */

const struct nat_view *observer_view(const struct observer *o, int family) {
  return &o->looks[family == 6].view;
}

bool observer_is_done(const struct observer *o, int family) {
  return o->looks[family == 6].done;
}

const struct observer_stats *observer_stats(const struct observer *o) {
  return &o->stats;
}

/* --- verbs */

bool observer_in(struct observer *o, uint64_t now, const struct dgram *d,
                 const struct stun_msg *m) {
  for (int i = 0; i < 2; i++) {
    struct look *k = &o->looks[i];
    struct ask *a = ask_find(k, m);
    if (!a) continue;
    if (ask_answer(o, a, now, d, m)) {
      look_go_on(o, k, a, now);
      look_tick(o, k, now);
    }
    return true;
  }
  return false;
}

static int next_close(struct observer *o, struct dgram *v) {
  if (!o->n_closes) return 0;
  uint16_t sock = o->closes[--o->n_closes].sock;
  *v = (struct dgram){
      .remote.family = (uint16_t)o->closes[o->n_closes].family,
      .data = o->out[0],
      .seg = 1,
      .sock = sock,
  };
  punch_sock_free(o->o.socks, sock);
  return 1;
}

int observer_next(struct observer *o, uint64_t now, struct dgram *v, int max) {
  int n = 0;
  while (n < max && next_close(o, &v[n])) n++;
  int first = n;
  for (int i = 0; i < 2; i++) {
    struct look *k = &o->looks[i];
    for (size_t j = 0; j < k->n_asks; j++) {
      if (n == max || n - first == OBSERVER_OUT) return n;
      if (!ask_is_due(k, &k->asks[j], now)) continue;
      ask_write(o, k, &k->asks[j], now, o->out[n - first], &v[n]);
      n++;
    }
  }
  return n;
}

void observer_tick(struct observer *o, uint64_t now) {
  for (int i = 0; i < 2; i++) look_tick(o, &o->looks[i], now);
}

uint64_t observer_deadline(const struct observer *o) {
  return time_min(look_deadline(&o->looks[0]), look_deadline(&o->looks[1]));
}
