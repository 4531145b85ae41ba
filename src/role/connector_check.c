/* connector_check.c - health checks of the services, as operations for the
 * skin, and what relays are told of their results and of draining. The
 * registration says all of it; later only what changed goes out, one request at
 * a time and relay, so that none overtakes another. */
#include "role/connector_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define DRAIN_GRACE SEC /* until all agents have heard of it */

enum { CHECK_CANCEL = 1, CHECK_START = 2 }; /* of service.check_ops */

/* --- what relays are told --- */

static size_t index_of(const struct connector *c, const struct uplink *u) {
  size_t i = 0;

  while (c->uplinks[i] != u) i++;
  return i;
}

static json_t *changes_since(const struct connector *c, uint64_t told) {
  json_t *body = json_object(), *list = json_array();

  for (size_t i = 0; i < c->n_services; i++) {
    const struct service *s = c->services[i];

    if (s->changed > told)
      json_array_append_new(list, json_pack("{s:s, s:s}", "id", s->id, "health",
                                            health_name(&s->health)));
  }
  json_object_set_new(body, "services", list);
  if (c->drain_changed > told)
    json_object_set_new(body, "draining", json_boolean(c->draining));
  return body;
}

struct telling {
  struct connector *c;
  size_t relay;
};

static void tell(struct connector *c, size_t relay);

static void on_told(void *ud, int status, json_t *body) {
  struct telling t = *(struct telling *)ud;
  struct announce *a = &t.c->announces[t.relay];

  free(ud);
  if (!status) return; /* the connection is gone; the next one says it all */
  t.c->now = quic_now(t.c->quic);
  a->busy = false;
  a->told = a->sent;
  if (status >= 300)
    log_warn("connector: relay did not take the health of services relay=%s "
             "reason=%s",
             uplink_name(t.c->uplinks[t.relay]),
             reason_name(uplink_problem(status, body)));
  tell(t.c, t.relay);
}

static void tell(struct connector *c, size_t relay) {
  struct announce *a = &c->announces[relay];
  struct telling *t;
  json_t *body;

  if (!a->registered || a->busy) return;
  if (a->stale) { /* says all the rest, too */
    if (!connector_register(c, c->uplinks[relay], false)) {
      a->busy = false;
      a->stale = true;
    }
    return;
  }
  if (a->told == c->n_changes) return;
  t = malloc(sizeof(*t));
  body = changes_since(c, a->told);
  if (t) *t = (struct telling){c, relay};
  a->sent = c->n_changes;
  if (t && uplink_request(c->uplinks[relay], "PUT", "/v1/connector/health",
                          body, on_told, t))
    a->busy = true;
  else
    free(t);
  json_decref(body);
}

static void tell_all(struct connector *c) {
  for (size_t i = 0; i < c->n_uplinks; i++) tell(c, i);
}

void check_services_changed(struct connector *c) {
  for (size_t i = 0; i < c->n_uplinks; i++) c->announces[i].stale = true;
  tell_all(c);
}

void check_registering(struct connector *c, const struct uplink *u) {
  struct announce *a = &c->announces[index_of(c, u)];

  a->busy = true;
  a->stale = false;
  a->sent = c->n_changes;
}

void check_registered(struct connector *c, struct uplink *u, bool ok) {
  size_t i = index_of(c, u);
  struct announce *a = &c->announces[i];

  a->busy = false;
  if (ok) { /* else what it had it has */
    a->registered = true;
    a->told = a->sent;
  }
  tell(c, i);
}

void check_unregistered(struct connector *c, const struct uplink *u) {
  c->announces[index_of(c, u)] = (struct announce){0};
}

void connector_set_draining(struct connector *c, bool on, uint64_t now) {
  c->now = now;
  if (c->draining == on) return;
  c->draining = on;
  c->refuses_at = now + DRAIN_GRACE;
  c->drain_changed = ++c->n_changes;
  log_info("connector: %s",
           on ? "draining, takes no new flows" : "takes new flows again");
  tell_all(c);
}

bool connector_is_draining(const struct connector *c) { return c->draining; }

bool connector_is_drained(const struct connector *c) {
  return !c->counters.n_tcp_flows;
}

/* --- checks --- */

static void add_op(struct connector *c, struct service *s, unsigned op) {
  if (!s->check_ops) c->n_check_ops++;
  s->check_ops |= op;
}

static void log_change(const struct service *s) {
  if (health_is_up(&s->health))
    log_info("connector: service up service=%s", s->id);
  else
    log_warn("connector: service down service=%s reason=%s: %s", s->id,
             reason_name(REASON_BACKEND_DOWN), s->health.error);
}

static void on_result(struct connector *c, struct service *s, bool changed) {
  c->check_at = time_min(c->check_at, health_deadline(&s->health));
  if (!changed) return;
  s->changed = ++c->n_changes;
  log_change(s);
  tell_all(c);
}

/* The first check that fails changes nothing that relays know, but people want
 * to read why a service does not come up. */
static void end(struct connector *c, struct service *s, const char *error) {
  bool first = s->health.state == HEALTH_STARTING;
  bool changed = health_end(&s->health, c->now, error);

  if (error) service_lost(c, &s->backends[s->check_backend]);

  if (first && !changed && s->health.state == HEALTH_DOWN) log_change(s);
  on_result(c, s, changed);
}

static void begin(struct connector *c, struct service *s) {
  const struct backend_place *b = &s->backends[s->check_backend];

  if (!health_begin(&s->health, c->now)) return;
  if (b->n_to)
    add_op(c, s, CHECK_START);
  else
    end(c, s, "the backend's name has no address yet");
}

static void step(struct connector *c, struct service *s) {
  struct health *h = &s->health;
  bool first = h->state == HEALTH_STARTING, changed;

  if (health_tick(h, c->now, &changed)) {
    add_op(c, s, CHECK_CANCEL);
    service_lost(c, &s->backends[s->check_backend]);
    if (first) log_change(s);
    on_result(c, s, changed);
  }
  begin(c, s);
  c->check_at = time_min(c->check_at, health_deadline(h));
}

void check_tick(struct connector *c, uint64_t now) {
  if (now < c->check_at || c->stopping) return;
  c->check_at = NEVER;
  for (size_t i = 0; i < c->n_services; i++)
    if (c->services[i]->health.rule.every) step(c, c->services[i]);
}

void check_place(struct connector *c, struct service *s, size_t backend) {
  if (backend != s->check_backend || health_is_up(&s->health)) return;
  health_hurry(&s->health, c->now);
  c->check_at = time_min(c->check_at, health_deadline(&s->health));
}

enum reason check_obstacle(const struct connector *c, const struct service *s) {
  if (!health_is_up(&s->health)) return REASON_BACKEND_DOWN;
  return c->draining && c->now >= c->refuses_at ? REASON_DRAINING : REASON_NONE;
}

/* --- the skin's side --- */

/* The first one's number; else how many there are. */
static size_t with_ops(const struct connector *c) {
  for (size_t i = 0; c->n_check_ops && i < c->n_services; i++)
    if (c->services[i]->check_ops) return i;
  return c->n_services;
}

/* The name's first address; after a failure the next, as users get it. */
static struct ztna_addr place_of(const struct service *s) {
  const struct backend_place *b = &s->backends[s->check_backend];
  size_t i = b->how.protocol == PROTO_TCP ? s->health.n_row : 0;

  return b->n_to ? b->to[i % b->n_to] : (struct ztna_addr){0};
}

bool connector_check_next(struct connector *c, struct connector_check_op *op) {
  size_t number = with_ops(c);
  struct service *s;
  unsigned bit;

  if (number == c->n_services) return false;
  s = c->services[number];
  bit = s->check_ops & CHECK_CANCEL ? CHECK_CANCEL : CHECK_START;
  s->check_ops &= ~bit;
  if (!s->check_ops) c->n_check_ops--;
  *op = (struct connector_check_op){
      .kind =
          bit == CHECK_START ? CONNECTOR_CHECK_START : CONNECTOR_CHECK_CANCEL,
      .service = number,
  };
  if (bit == CHECK_START) op->addr = place_of(s);
  return true;
}

void connector_check_done(struct connector *c, uint64_t now, size_t service,
                          const char *error) {
  c->now = now;
  if (service >= c->n_services || !c->services[service]->health.running) return;
  end(c, c->services[service], error);
}

/* --- life --- */

static const struct health_rule *rule_of(const struct service *s,
                                         const struct connector_service *how) {
  static const struct health_rule none;

  return s->n_backends ? &how->check : &none;
}

static void place(struct service *s, const struct connector_service *how) {
  s->check_backend =
      how->check_backend < s->n_backends ? how->check_backend : 0;
}

void check_start(struct connector *c, struct service *s,
                 const struct connector_service *how) {
  place(s, how);
  health_init(&s->health, rule_of(s, how), c->now);
  c->check_at = time_min(c->check_at, health_deadline(&s->health));
}

void check_change(struct connector *c, struct service *s,
                  const struct connector_service *how, bool elsewhere) {
  const struct health_rule *rule = rule_of(s, how);
  struct health *h = &s->health;

  place(s, how);
  if (!how->check_changed && !elsewhere && health_rule_is(h, rule)) return;
  if (h->running) add_op(c, s, CHECK_CANCEL);
  s->check_ops &= ~(unsigned)CHECK_START;
  if (elsewhere && rule->every)
    health_init(h, rule, c->now);
  else
    health_change(h, rule, c->now);
  c->check_at = time_min(c->check_at, health_deadline(h));
}

void check_end(struct connector *c, struct service *s) {
  if (s->check_ops) c->n_check_ops--;
}

int check_init(struct connector *c, const struct connector_options *o) {
  c->announces = calloc(c->n_uplinks + 1, sizeof(*c->announces));
  if (!c->announces) return -1;
  c->check_at = NEVER;
  for (size_t i = 0; i < c->n_services; i++)
    check_start(c, c->services[i], &o->services[i]);
  return 0;
}

void check_free(struct connector *c) { free(c->announces); }

/* Service ids need no escapes. */
void check_metrics(const struct connector *c, struct sbuf *out) {
  sbuf_printf(out,
              "# HELP ztna_connector_draining 1 while it takes no new flows\n"
              "# TYPE ztna_connector_draining gauge\n"
              "ztna_connector_draining %d\n"
              "# HELP ztna_connector_service_up 1 when its check passes, or it "
              "has none\n# TYPE ztna_connector_service_up gauge\n",
              c->draining);
  for (size_t i = 0; i < c->n_services; i++)
    sbuf_printf(out, "ztna_connector_service_up{service=\"%s\"} %d\n",
                c->services[i]->id, health_is_up(&c->services[i]->health));
  sbuf_printf(out,
              "# HELP ztna_connector_checks_failed_total health checks that "
              "failed\n# TYPE ztna_connector_checks_failed_total counter\n");
  for (size_t i = 0; i < c->n_services; i++)
    sbuf_printf(out,
                "ztna_connector_checks_failed_total{service=\"%s\"} %llu\n",
                c->services[i]->id,
                (unsigned long long)c->services[i]->health.n_failed);
}
