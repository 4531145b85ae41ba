/* connector_reload.c - other services while it runs: what is the same goes on,
 * and what went takes its users along. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/log.h"
#include "role/connector_int.h"

/* --- what is the same --- */

static bool text_equal(const char *a, const char *b) {
  return a == b || (a && b && !strcmp(a, b));
}

static const struct backend_place *place_of(const struct service *s,
                                            const struct connector_backend *b) {
  for (size_t i = 0; i < s->n_backends; i++) {
    const struct connector_backend *is = &s->backends[i].how;

    if (is->protocol == b->protocol && is->port == b->port &&
        text_equal(is->to, b->to))
      return &s->backends[i];
  }
  return NULL;
}

/* Who is where it was has its addresses already; the skin is asked for the
 * others. */
static void take_places(struct service *fresh, const struct service *from) {
  for (size_t i = 0; i < fresh->n_backends; i++) {
    struct backend_place *b = &fresh->backends[i];
    const struct backend_place *was = from ? place_of(from, &b->how) : NULL;

    b->moved = !was;
    b->stale = was ? was->stale : true;
    if (!was) continue;
    memcpy(b->to, was->to, sizeof(b->to));
    b->n_to = was->n_to;
    b->asked_at = was->asked_at;
  }
}

static bool backends_equal(const struct service *a, const struct service *b) {
  if (a->n_backends != b->n_backends) return false;
  for (size_t i = 0; i < a->n_backends; i++)
    if (b->backends[i].moved ||
        a->backends[i].how.proxy_protocol != b->backends[i].how.proxy_protocol)
      return false;
  return true;
}

static bool agents_equal(const struct service *a, const struct service *b) {
  if (a->n_agents != b->n_agents) return false;
  for (size_t i = 0; i < a->n_agents; i++)
    if (strcmp(a->agents[i], b->agents[i])) return false;
  return true;
}

/* The backend that is checked is another one, or somewhere else. */
static bool checked_elsewhere(const struct service *s,
                              const struct service *fresh, size_t checked) {
  const struct backend_place *was, *is;

  if (s->check_backend >= s->n_backends || checked >= fresh->n_backends)
    return true;
  was = &s->backends[s->check_backend];
  is = &fresh->backends[checked];
  if (is->moved || !s->health.rule.every) return is->moved;
  return is->how.protocol != was->how.protocol || is->how.port != was->how.port;
}

/* --- what ends --- */

static void end_all(struct connector *c, struct service *s) {
  struct tcp_agent *a, *next;

  log_info("connector: service removed service=%s", s->id);
  nat_end(c, NULL, s, REASON_NO_SUCH_SERVICE);
  for (size_t i = 0; i < c->n_links; i++)
    if (c->links[i]) grants_end(c->links[i], s, REASON_NO_SUCH_SERVICE, false);
  for (a = c->tcp_agents; a; a = next) {
    next = a->next;
    splices_revoke(a, s, REASON_NO_SUCH_SERVICE);
  }
  check_end(c, s);
  service_free(s);
}

/* Of those that its patterns do not admit (any more). */
static void end_forbidden(struct connector *c, const struct service *s) {
  struct tcp_agent *a, *next;

  for (size_t i = 0; i < c->n_links; i++) {
    struct link *l = c->links[i];

    if (!l || service_admits(s, l->agent)) continue;
    nat_end(c, l, s, REASON_NOT_ALLOWED);
    grants_end(l, s, REASON_NOT_ALLOWED, true);
  }
  for (a = c->tcp_agents; a; a = next) {
    next = a->next;
    if (!service_admits(s, a->spiffe)) splices_revoke(a, s, REASON_NOT_ALLOWED);
  }
}

/* --- what changes --- */

static void swap_content(struct service *s, struct service *fresh) {
  struct service was = *s;

  s->backends = fresh->backends;
  s->n_backends = fresh->n_backends;
  s->agents = fresh->agents;
  s->n_agents = fresh->n_agents;
  s->weight = fresh->weight;
  fresh->backends = was.backends;
  fresh->n_backends = was.n_backends;
  fresh->agents = was.agents;
  fresh->n_agents = was.n_agents;
}

/* s becomes what fresh is, which is freed. True: relays should know. */
static bool change(struct connector *c, struct service *s,
                   struct service *fresh, const struct connector_service *how) {
  bool was_up = health_is_up(&s->health), elsewhere, backends, agents, weight;

  take_places(fresh, s);
  backends = !backends_equal(s, fresh);
  agents = !agents_equal(s, fresh);
  weight = s->weight != fresh->weight;
  elsewhere = checked_elsewhere(s, fresh, how->check_backend);
  swap_content(s, fresh);
  service_free(fresh);
  check_change(c, s, how, elsewhere);
  if (backends) nat_recheck(c, s);
  if (agents) end_forbidden(c, s);
  if (backends || agents || weight)
    log_info("connector: service changed service=%s", s->id);
  return backends || weight || was_up != health_is_up(&s->health);
}

static void add(struct connector *c, struct service *s,
                const struct connector_service *how) {
  take_places(s, NULL);
  check_start(c, s, how);
  log_info("connector: service added service=%s", s->id);
}

/* --- all of them --- */

static struct service **make_all(const struct connector_service *v, size_t n) {
  struct service **list = calloc(n + 1, sizeof(*list));

  for (size_t i = 0; list && i < n; i++) {
    if ((list[i] = service_new(&v[i]))) continue;
    while (i-- > 0) service_free(list[i]);
    free(list);
    return NULL;
  }
  return list;
}

static void count_stale(struct connector *c) {
  c->n_stale = 0;
  c->ask_at = 0;
  for (size_t i = 0; i < c->n_services; i++)
    for (size_t k = 0; k < c->services[i]->n_backends; k++) {
      c->services[i]->backends[k].moved = false;
      c->n_stale += c->services[i]->backends[k].stale;
    }
}

int connector_set_services(struct connector *c,
                           const struct connector_service *v, size_t n,
                           uint64_t now) {
  struct service **list = make_all(v, n), **was = c->services;
  size_t n_was = c->n_services;
  bool tell = false;

  if (!list) return ZTNA_ENOMEM;
  c->now = now;
  for (size_t i = 0; i < n; i++) {
    struct service *s = service_find(c, v[i].id), *fresh = list[i];

    if (s) {
      assert(!s->kept); /* ids are unique */
      s->kept = true;
      list[i] = s;
      tell |= change(c, s, fresh, &v[i]);
    } else {
      add(c, fresh, &v[i]);
      tell = true;
    }
  }
  c->services = list;
  c->n_services = n;
  for (size_t i = 0; i < n_was; i++) {
    tell |= !was[i]->kept;
    if (was[i]->kept)
      was[i]->kept = false;
    else
      end_all(c, was[i]);
  }
  free(was);
  count_stale(c);
  if (tell) check_services_changed(c);
  return 0;
}
