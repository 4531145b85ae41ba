/* probe_report_family.c - what was found out about the NAT before one family.
 */
#include "host/probe_report.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/probe_fact.h"

/* --- a family */

static struct ztna_prefix prefix(const char *text) {
  struct ztna_prefix p = {0};
  ztna_prefix_parse(&p, text);
  return p;
}

static bool is_within(const struct ztna_addr *a, const char *text) {
  struct ztna_prefix p = prefix(text);
  return ztna_prefix_has(&p, a);
}

static bool is_private(const struct ztna_addr *a) {
  return is_within(a, "10.0.0.0/8") || is_within(a, "172.16.0.0/12") ||
         is_within(a, "192.168.0.0/16");
}

/* The own address that packets to a server leave from; sends nothing. */
static struct ztna_addr source_to(const struct ztna_addr *to) {
  struct sockaddr_storage ss = {0};
  struct ztna_addr a = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(to, &ss);
  int fd = len ? socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
  if (fd < 0) return a;
  if (connect(fd, (struct sockaddr *)&ss, len) == 0) {
    len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
      ztna_addr_from_sockaddr(&a, &ss);
    a.port = 0;
  }
  close(fd);
  return a;
}

static const struct probe_path *heard_path(const struct probe *p, int family) {
  for (size_t i = 0; i < 2 * p->o->n_targets; i++)
    if (p->paths[i].family == family && probe_is_heard(&p->paths[i]))
      return &p->paths[i];
  return NULL;
}

/* The outer address of a port that the router maps; family 0: none. */
static struct ztna_addr router_outer(const struct probe *p) {
  struct ztna_addr a = {0};
  const char *s = json_string_value(json_object_get(p->mapping, "outer"));
  if (s) ztna_addr_parse(&a, s);
  return a;
}

static const char *router_why(const struct probe *p) {
  const char *why = json_string_value(json_object_get(p->mapping, "why"));
  if (!p->o->port_mapping) return "not asked for: --no-port-mapping";
  return why ? why : "no router answered in the time there was";
}

static void report_mapping(json_t *o, const struct probe *p) {
  struct ztna_addr outer = router_outer(p);
  const char *name = json_string_value(json_object_get(p->mapping, "protocol"));
  fact(o, "port_mapping", name ? json_string(name) : NULL,
       name ? NULL : router_why(p));
  if (name) fact(o, "port_mapping_outer", fact_addr(&outer), NULL);
}

static void report_carrier(json_t *o, const struct probe *p,
                           const struct nat_view *v,
                           const struct ztna_addr *own) {
  const char *key = "carrier_grade_nat";
  struct ztna_addr outer = router_outer(p);
  if (v->mapping == NAT_UNKNOWN)
    fact(o, key, NULL, "no server told the address seen");
  else if (v->mapping == NAT_NONE)
    fact(o, key, json_false(), "there is no NAT");
  else if (is_within(own, "100.64.0.0/10"))
    fact(o, key, json_true(), "the own address is of 100.64.0.0/10");
  else if (is_private(&v->mapped) || is_within(&v->mapped, "100.64.0.0/10"))
    fact(o, key, NULL, "the server is inside, too");
  else if (strstr(router_why(p), "double NAT"))
    fact(o, key, json_true(), router_why(p));
  else if (outer.family)
    fact(o, key, json_boolean(!ztna_addr_same_ip(&outer, &v->mapped)),
         "by the outer address that the router tells");
  else
    fact(o, key, NULL, "the router does not tell its outer address");
}

static void report_ports(json_t *o, const struct nat_view *v, uint16_t port) {
  if (v->mapping == NAT_UNKNOWN) return;
  bool kept = v->mapping == NAT_NONE || v->mapped.port == port;
  fact(o, "port_preservation", json_boolean(kept), NULL);
  if (v->allocation == NAT_ALLOC_UNKNOWN)
    fact(o, "allocation", NULL, "too few answers");
  else if (v->allocation == NAT_SEQUENTIAL)
    factf(o, "allocation", json_string(nat_allocation_name(v->allocation)),
          "steps of %d", v->delta);
  else
    fact(o, "allocation", json_string(nat_allocation_name(v->allocation)),
         NULL);
}

static const char *why_no_view(const struct probe *p, int family) {
  const struct probe_path *q = heard_path(p, family);
  if (!q) return "no server of this family answers";
  return q->ping.n_answered ? "not in the time there was"
                            : "no server answers STUN";
}

static void report_behaviour(json_t *o, const struct probe *p, int family,
                             const struct nat_view *v) {
  if (v->mapping == NAT_UNKNOWN)
    fact(o, "mapping", NULL, why_no_view(p, family));
  else
    fact(o, "mapping", json_string(nat_behaviour_name(v->mapping)),
         !v->mapping_partial ? NULL
         : nat_is_hard(v)    ? "at least"
                             : "as far as one address tells");
  if (v->filtering == NAT_UNKNOWN)
    fact(o, "filtering", NULL,
         v->mapping == NAT_UNKNOWN ? why_no_view(p, family)
                                   : "no server answers from another port");
  else
    fact(o, "filtering", json_string(nat_behaviour_name(v->filtering)),
         v->filtering_partial ? "at most; no server has a second address"
                              : NULL);
}

static void report_hairpin(json_t *o, const struct probe *p,
                           const struct nat_view *v) {
  const struct probe_hairpin *h = &p->hairpin;
  if (!p->o->hairpin)
    fact(o, "hairpin", NULL, "not asked for: --hairpin");
  else if (v->mapping == NAT_NONE)
    fact(o, "hairpin", NULL, "there is no NAT");
  else if (!h->sock)
    fact(o, "hairpin", NULL, "no server answers");
  else
    fact(o, "hairpin", json_boolean(h->passes), NULL);
}

static void report_lifetime(json_t *o, const struct probe *p) {
  const struct probe_lifetime *l = &p->lifetime;
  const char *key = "mapping_lifetime_s";
  int alive = (int)(l->alive / SEC), gone = (int)(l->gone / SEC);
  if (!p->o->lifetime)
    fact(o, key, NULL, "not asked for: --lifetime, up to 5 minutes");
  else if (!l->works)
    fact(o, key, NULL, "no server answers to another port (RESPONSE-PORT)");
  else if (gone)
    factf(o, key, json_integer(alive), "at least; gone after %d s", gone);
  else
    fact(o, key, json_integer(alive), "at least; longer was not tried");
}

static json_t *own_addresses(const struct probe *p, int family) {
  json_t *list = json_array();
  for (int i = 0; i < p->n_addrs; i++) {
    const struct ztna_addr *a = &p->addrs[i].addr;
    if (a->family == family && !ztna_addr_is_loopback(a))
      json_array_append_new(list, fact_addr(a));
  }
  return list;
}

static void report_expected(json_t *o, enum probe_class own) {
  json_t *list = json_object();
  for (int i = 0; i < PROBE_PEERS; i++) {
    enum probe_class peer = (enum probe_class)i;
    const char *outcome = probe_outcome_name(probe_outcome_of(own, peer));
    json_object_set_new(list, probe_class_name(peer), json_string(outcome));
  }
  json_object_set_new(o, "expected", list);
}

/* UDP that passes to the server's one port alone reaches no peer. */
static bool is_confined(const struct probe *p, int family) {
  int i = family == 6;
  return p->n_elsewhere[i] && !p->n_elsewhere_answered[i];
}

static void report_ports_out(json_t *o, const struct probe *p, int family) {
  int i = family == 6;
  if (!p->n_elsewhere[i])
    fact(o, "udp_to_other_ports", NULL, "no server names another port");
  else
    fact(o, "udp_to_other_ports", json_boolean(!is_confined(p, family)),
         is_confined(p, family)
             ? "or nothing comes in there at the server: see relay.stun"
             : NULL);
}

/* By a port mapping that the Internet reaches. */
static bool is_opened(const struct probe *p, const struct nat_view *v) {
  struct ztna_addr outer = router_outer(p);
  return outer.family && ztna_addr_same_ip(&outer, &v->mapped);
}

static bool was_tried_at_all(const struct probe *p, int family) {
  const char *why;
  for (size_t i = family == 6; i < 2 * p->o->n_targets; i += 2)
    if (probe_was_tried(&p->paths[i], &why)) return true;
  return false;
}

json_t *probe_report_family(const struct probe *p, int family,
                            enum probe_class *own) {
  const struct nat_view *v = observer_view(p->observer, family);
  const struct probe_path *q = heard_path(p, family);
  struct ztna_addr source = {0};
  json_t *o = json_object();
  if (q) source = source_to(&q->addr);
  *own = PROBE_BLOCKED; /* where nothing can be sent nothing gets through */
  fact(o, "own_addresses", own_addresses(p, family), NULL);
  fact(o, "own_address", fact_addr(&source),
       q ? "towards the servers" : why_no_view(p, family));
  if (!was_tried_at_all(p, family)) {
    fact(o, "class", NULL, "there is no server, or no address, of this family");
    return o;
  }
  fact(o, "reflexive", fact_addr(&v->mapped),
       v->mapped.family ? NULL : why_no_view(p, family));
  report_ports_out(o, p, family);
  report_behaviour(o, p, family, v);
  report_ports(o, v, p->port[family == 6]);
  if (family == 4) {
    report_mapping(o, p);
    report_carrier(o, p, v, &source);
    report_hairpin(o, p, v);
    report_lifetime(o, p);
  }
  *own = probe_class_of(v, q && !is_confined(p, family),
                        family == 4 && is_opened(p, v));
  fact(o, "class",
       *own == PROBE_UNKNOWN ? NULL : json_string(probe_class_name(*own)),
       *own == PROBE_UNKNOWN ? why_no_view(p, family) : NULL);
  report_expected(o, *own);
  return o;
}
