/* probe_report.c - the report: servers, families, the verdict. */
#include "host/probe_report.h"

#include <stdio.h>

#include "host/probe_fact.h"

enum { SOON_DAYS = 7 }; /* a certificate that ends so soon wants care */

/* --- servers */

static bool is_good(const struct probe *p, size_t target) {
  for (size_t i = 2 * target; i < 2 * target + 2; i++) {
    const struct probe_path *q = &p->paths[i];
    bool control = p->o->tls && q->target->relay;
    if (control ? q->control.ready : probe_is_heard(q)) return true;
  }
  return false;
}

static json_t *report_target(const struct probe *p, size_t i) {
  const struct probe_target *t = &p->o->targets[i];
  const struct probe_path *q = &p->paths[2 * i];
  bool found = q[0].addr.family || q[1].addr.family;
  json_t *o = json_object();
  fact(o, "name", json_string(t->name), NULL);
  fact(o, "kind", json_string(t->relay ? "relay" : "stun"), NULL);
  fact(o, "resolved", json_boolean(found), found ? NULL : p->why[i]);
  for (int k = 0; k < 2; k++)
    if (q[k].addr.family)
      fact(o, k ? "ipv6" : "ipv4", probe_report_path(&q[k]), NULL);
  return o;
}

/* Relays count; without any, plain servers. */
static void count(const struct probe *p, size_t *n, size_t *n_good) {
  bool relays = false;
  *n = *n_good = 0;
  for (size_t i = 0; i < p->o->n_targets; i++) relays |= p->o->targets[i].relay;
  for (size_t i = 0; i < p->o->n_targets; i++) {
    if (relays && !p->o->targets[i].relay) continue;
    ++*n;
    *n_good += is_good(p, i);
  }
}

/* --- ourselves */

static json_t *report_self(const struct probe *p) {
  json_t *o = json_object();
  const struct identity *id = p->o->tls ? tls_identity(p->o->tls) : NULL;
  const char *why = id ? NULL : "no certificate was given: --config";
  fact(o, "identity", id ? json_string(id->spiffe) : NULL, why);
  fact(o, "certificate_days",
       id ? json_integer(probe_days_left(id->not_after)) : NULL, why);
  return o;
}

/* --- verdict */

static bool ends_soon(const struct probe *p) {
  return p->o->tls &&
         probe_days_left(tls_identity(p->o->tls)->not_after) < SOON_DAYS;
}

/* What the first relay that did not answer rightly says for itself. */
static const char *trouble(const struct probe *p) {
  for (size_t i = 0; i < 2 * p->o->n_targets; i++)
    if (p->paths[i].control.reached && !p->paths[i].control.ready)
      return p->paths[i].control.text;
  for (size_t i = 0; i < p->o->n_targets; i++)
    if (!p->paths[2 * i].addr.family && !p->paths[2 * i + 1].addr.family)
      return p->why[i];
  return "UDP is blocked on the way, or the relay does not run";
}

/* With a relay that answers. */
static const char *sentence(enum probe_class own) {
  return own == PROBE_BLOCKED ? "Relayed paths only: UDP gets through to the "
                                "relay's port and to no other."
                              : probe_sentence(own);
}

/* What is not known may still work, unlike what is blocked. */
static enum probe_class best_of(const enum probe_class own[2]) {
  enum probe_class best = own[0] < own[1] ? own[0] : own[1];
  enum probe_class worst = own[0] < own[1] ? own[1] : own[0];
  return best == PROBE_BLOCKED ? worst : best;
}

static json_t *verdict(const struct probe *p, const enum probe_class own[2],
                       enum probe_result *result) {
  size_t n, n_good;
  char text[512];
  enum probe_class best = best_of(own);
  bool direct = probe_is_direct(best);
  count(p, &n, &n_good);
  *result = !n_good                                 ? PROBE_UNREACHABLE
            : !direct || n_good < n || ends_soon(p) ? PROBE_DEGRADED
                                                    : PROBE_GOOD;
  if (!n_good)
    snprintf(text, sizeof(text), "No %s can be used: %s.",
             p->o->targets[0].relay ? "relay" : "server", trouble(p));
  else
    snprintf(text, sizeof(text), "%s%s%s%s", sentence(best),
             best < own[0] && own[0] >= PROBE_BLOCKED ? " Over IPv6 only." : "",
             n_good < n ? " Not every relay answers." : "",
             ends_soon(p) ? " The own certificate ends soon." : "");
  json_t *o = json_object();
  static const char *const names[] = {"direct possible", "degraded",
                                      "unreachable"};
  fact(o, "result", json_string(names[*result]), NULL);
  fact(o, "direct",
       n_good && best == PROBE_UNKNOWN ? NULL : json_boolean(n_good && direct),
       n_good && best == PROBE_UNKNOWN ? "no server told how this NAT maps"
                                       : NULL);
  fact(o, "class", json_string(probe_class_name(best)), NULL);
  fact(o, "sentence", json_string(text), NULL);
  return o;
}

json_t *probe_report(struct probe *p, uint64_t now, enum probe_result *result) {
  json_t *o = json_object(), *list = json_array();
  enum probe_class own[2];
  fact(o, "schema", json_string("ztna.probe/1"), NULL);
  fact(o, "took_ms", fact_ms(now - p->begun_at), NULL);
  fact(o, "self", report_self(p), NULL);
  for (size_t i = 0; i < p->o->n_targets; i++)
    json_array_append_new(list, report_target(p, i));
  fact(o, "servers", list, NULL);
  fact(o, "ipv4", probe_report_family(p, 4, &own[0]), NULL);
  fact(o, "ipv6", probe_report_family(p, 6, &own[1]), NULL);
  fact(o, "verdict", verdict(p, own, result), NULL);
  return o;
}
