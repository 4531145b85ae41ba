/* policy_why.c - see policy_why.h. The nearest rule is the one that lacks
 * least: the service counts more than the agent, since that is what was asked
 * for and a rule can be given to more agents; both count more than time,
 * protocol and port. */
#include "part/policy_why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utc.h"
#include "part/policy_int.h"

enum { /* what a rule lacks, the least first */
       LACKS_TIME = 1,
       LACKS_PORT = 2,
       LACKS_PROTOCOL = 4,
       LACKS_AGENT = 8,
       LACKS_SERVICE = 16,
};

struct question {
  int64_t now;
  const char *agent, *service;
  unsigned protocol;
  uint16_t port;
};

static bool has_port(const struct policy_rule *r, uint16_t port) {
  for (size_t i = 0; i < r->n_ports; i++)
    if (r->ports[i].first <= port && port <= r->ports[i].last) return true;
  return !r->n_ports && port;
}

static unsigned lacks(const struct policy_rule *r, const struct question *q) {
  unsigned what = 0;
  if (!rule_has_service(r, q->service)) what |= LACKS_SERVICE;
  if (!rule_is_for(r, q->agent)) what |= LACKS_AGENT;
  if (rule_has_ended(r, q->now)) what |= LACKS_TIME;
  if (!(r->protocols & q->protocol))
    what |= LACKS_PROTOCOL;
  else if (q->protocol != PROTO_ICMP && !has_port(r, q->port))
    what |= LACKS_PORT;
  return what;
}

/* NULL: none names the agent or the service. */
static const struct policy_rule *
nearest_rule(const struct policy *p, const struct question *q, unsigned *what) {
  const struct policy_rule *best = NULL;
  for (size_t i = 0; p && i < p->n_rules; i++) {
    unsigned l = lacks(&p->rules[i], q);
    bool is_far = (l & LACKS_SERVICE) && (l & LACKS_AGENT);
    if (is_far || (best && l >= *what)) continue;
    best = &p->rules[i];
    *what = l;
  }
  return best;
}

/* --- sentences: what does not fit is cut */

struct words {
  char *to;
  size_t left;
  size_t n; /* items of a list so far */
};

static void say(struct words *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct words *w, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(w->to, w->left, fmt, ap);
  va_end(ap);
  size_t used = n < 0 ? 0 : (size_t)n < w->left ? (size_t)n : w->left - 1;
  w->to += used;
  w->left -= used;
}

static void list(struct words *w, const char *item, bool is_last) {
  say(w, "%s%.120s", !w->n ? "" : is_last ? " and " : ", ", item);
  w->n++;
}

static char *wanted(const struct question *q, char *buf, size_t room) {
  if (q->protocol == PROTO_ICMP)
    snprintf(buf, room, "icmp");
  else
    snprintf(buf, room, "%s port %u", policy_protocol_name(q->protocol),
             q->port);
  return buf;
}

/* "agent, service and tcp port 22" of those in the set. */
static void say_parts(struct words *w, const struct question *q, unsigned set) {
  char want[32];
  const struct {
    unsigned of;
    const char *name;
  } parts[] = {{LACKS_AGENT, "agent"},
               {LACKS_SERVICE, "service"},
               {LACKS_PROTOCOL | LACKS_PORT, wanted(q, want, sizeof(want))}};
  unsigned left = 0;
  for (int i = 0; i < 3; i++) left += (set & parts[i].of) != 0;
  w->n = 0;
  for (int i = 0; i < 3; i++)
    if (set & parts[i].of) list(w, parts[i].name, --left == 0);
}

enum { SHOWN = 4 }; /* of a list */

static void say_some(struct words *w, char *const *v, size_t n) {
  w->n = 0;
  for (size_t i = 0; i < n && i < SHOWN; i++) list(w, v[i], i + 1 == n);
  if (n > SHOWN) say(w, " and %zu more", n - SHOWN);
}

static void say_ports(struct words *w, const struct policy_rule *r) {
  for (size_t i = 0; i < r->n_ports && i < SHOWN; i++) {
    const struct policy_ports *p = &r->ports[i];
    say(w, "%s%u", i ? ", " : " ", p->first);
    if (p->last != p->first) say(w, "-%u", p->last);
  }
  if (r->n_ports > SHOWN) say(w, " and %zu more", r->n_ports - SHOWN);
}

/* "tcp and udp 80, 8000-8010, and icmp"; "tcp 80 and icmp" */
static void say_allowed(struct words *w, const struct policy_rule *r) {
  unsigned with_ports = r->protocols & (PROTO_TCP | PROTO_UDP);
  if (with_ports) {
    say(w, "%s%s",
        with_ports == PROTO_UDP   ? "udp"
        : with_ports == PROTO_TCP ? "tcp"
                                  : "tcp and udp",
        r->n_ports ? "" : " on all ports");
    say_ports(w, r);
  }
  if (r->protocols & PROTO_ICMP)
    say(w, "%sicmp", !with_ports ? "" : r->n_ports > 1 ? ", and " : " and ");
}

static void say_lack(struct words *w, const struct policy_rule *r,
                     const struct question *q, unsigned what) {
  enum { WANTED = LACKS_PROTOCOL | LACKS_PORT };
  unsigned missed = what & (LACKS_AGENT | LACKS_SERVICE | WANTED);
  unsigned met = (LACKS_AGENT | LACKS_SERVICE) & ~what;
  char until[UTC_STRLEN];
  if (!(what & WANTED)) met |= WANTED;
  say(w, "rule '%.200s' matches ", r->name);
  say_parts(w, q, met);
  if (missed) say(w, " but not ");
  say_parts(w, q, missed);
  if (what & LACKS_AGENT) {
    say(w, "; it is for ");
    say_some(w, r->agents, r->n_agents);
    if (!r->n_agents) say(w, "nobody");
  }
  if (what & LACKS_SERVICE) {
    say(w, "; it is about ");
    say_some(w, r->services, r->n_services);
  }
  if (what & WANTED) {
    say(w, "; it allows ");
    say_allowed(w, r);
  }
  if (what & LACKS_TIME)
    say(w, "%s it ended at %s", missed ? ", and" : " but",
        utc_print(r->until, until));
}

static void say_rule(struct words *w, const struct policy_rule *r,
                     enum reason reason) {
  char until[UTC_STRLEN];
  say(w, "rule '%.200s' allows it", r->name);
  if (r->until) say(w, ", until %s", utc_print(r->until, until));
  if (reason != REASON_NONE)
    say(w,
        ", but all rules together give more than %d ranges of ports, and the "
        "rest is denied",
        GRANT_MAX_RANGES);
}

void policy_why(const struct policy *p, int64_t now, const char *agent,
                const char *service, unsigned protocol, uint16_t port,
                struct policy_answer *out) {
  struct question q = {now, agent, service, protocol, port};
  struct words w = {.to = out->text, .left = sizeof(out->text)};
  struct permission may;
  unsigned what = 0;
  *out = (struct policy_answer){.reason =
                                    policy_grant(p, now, agent, service, &may)};
  if (out->reason == REASON_REVOKED) {
    say(&w, "the agent is revoked, whatever rules say: '%.200s' in \"revoked\"",
        policy_revoking(p, agent));
    return;
  }
  if (out->reason == REASON_NONE)
    out->reason = permission_check(&may, protocol, port);
  const struct policy_rule *r = nearest_rule(p, &q, &what);
  if (!r) {
    say(&w, "no rule is for this agent or about this service");
    return;
  }
  out->rule = r->name;
  if (what)
    say_lack(&w, r, &q, what);
  else
    say_rule(&w, r, out->reason);
}

/* --- permissions */

static void print_ports(const struct permission *p, unsigned protocol,
                        struct sbuf *out) {
  const char *between = "";
  if (!p->n_ranges) return;
  sbuf_printf(out, " ");
  for (size_t i = 0; i < p->n_ranges; i++) {
    const struct port_range *r = &p->ranges[i];
    if (!(p->range_protocols[i] & protocol)) continue;
    sbuf_printf(out, "%s%u", between, r->first);
    if (r->last != r->first) sbuf_printf(out, "-%u", r->last);
    between = ", ";
  }
}

static void print_limits(const struct policy_limits *l, struct sbuf *out) {
  if (l->rate) sbuf_printf(out, "; %llu bytes/s", (unsigned long long)l->rate);
  if (l->routes)
    sbuf_printf(out, "; %u route%s", l->routes, l->routes == 1 ? "" : "s");
}

void permission_print(const struct permission *p, struct sbuf *out) {
  static const unsigned order[] = {PROTO_TCP, PROTO_UDP, PROTO_ICMP};
  const char *between = "";
  if (!p->protocols) sbuf_printf(out, "nothing");
  for (int i = 0; i < 3; i++) {
    if (!(p->protocols & order[i])) continue;
    sbuf_printf(out, "%s%s", between, policy_protocol_name(order[i]));
    if (order[i] != PROTO_ICMP) print_ports(p, order[i], out);
    between = "; ";
  }
  print_limits(&p->limits, out);
}
