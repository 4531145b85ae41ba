/* why_walk.c - the way from this machine to a service, step by step, as the
 * agent's status tells it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "applet.h"
#include "host/attempt.h"
#include "host/clock.h"
#include "host/http_get.h"
#include "host/mistake.h"
#include "local_page.h"
#include "part/policy.h"
#include "why.h"

enum { TIMEOUT_MS = 3000, PATIENCE_MS = 3000, LOOK_EVERY_MS = 50 };
/* The most that a relay lists of one service. */
enum { PORTS_LISTED = 256 };

/* --- saying */

/* Text may come from peers, and goes to a terminal. C1 controls are two bytes
 * in UTF-8. */
static void clean(char *s) {
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s, next = (unsigned char)s[1];
    if (c < 32 || c == 127) *s = '?';
    if (c == 0xc2 && next >= 0x80 && next < 0xa0) s[0] = s[1] = '?';
  }
}

static void say(struct why *w, const char *name, enum why_result result,
                const char *fmt, va_list ap) {
  struct why_step *s = &w->steps[w->n_steps];

  if (w->n_steps == WHY_STEPS) return;
  w->n_steps++;
  s->name = name;
  s->result = result;
  vsnprintf(s->text, sizeof(s->text), fmt, ap);
  clean(s->text);
}

void why_say(struct why *w, const char *name, enum why_result result,
             const char *fmt, ...) {
  va_list ap;

  va_start(ap, fmt);
  say(w, name, result, fmt, ap);
  va_end(ap);
}

/* Did somebody say no, or was nobody there? */
static int code_of(enum reason why) {
  switch (why) {
  case REASON_IDLE:
  case REASON_ROUTE_UNKNOWN:
    return EXIT_NOT_READY;
  case REASON_UNSUPPORTED_VERSION:
  case REASON_BACKEND_REFUSED:
  case REASON_RESET:
    return EXIT_REFUSED;
  default:
    return reason_http(why) < 500 ? EXIT_REFUSED : EXIT_NOT_READY;
  }
}

static void conclude(struct why *w, int code, const char *reason,
                     const char *why, const char *fix) {
  w->code = code;
  snprintf(w->reason, sizeof(w->reason), "%s", reason);
  snprintf(w->why, sizeof(w->why), "%s", why);
  snprintf(w->fix, sizeof(w->fix), "%s", fix);
}

bool why_fail(struct why *w, const char *name, enum reason why, const char *fmt,
              ...) {
  va_list ap;

  va_start(ap, fmt);
  say(w, name, WHY_FAILED, fmt, ap);
  va_end(ap);
  conclude(w, code_of(why), reason_name(why), reason_text(why),
           reason_fix(why));
  return false;
}

bool why_fail_here(struct why *w, const char *name, int code, const char *why,
                   const char *fix) {
  why_say(w, name, WHY_FAILED, "%s", why);
  conclude(w, code, "", why, fix);
  clean(w->why);
  return false;
}

const char *why_protocol(unsigned protocol) {
  if (protocol == PROTO_UDP) return "udp";
  return protocol == PROTO_TCP ? "tcp" : "icmp";
}

const char *why_text(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));

  return text ? text : "";
}

static double number(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

static bool is_true(const json_t *object, const char *key) {
  return json_is_true(json_object_get(object, key));
}

/* --- looking */

static bool has_address(const json_t *service, const struct ztna_addr *addr) {
  json_t *j;
  size_t i;

  json_array_foreach(json_object_get(service, "addresses"), i, j) {
    struct ztna_addr a;
    const char *text = json_string_value(j);
    if (text && ztna_addr_parse(&a, text) == 0 && ztna_addr_same_ip(&a, addr))
      return true;
  }
  return false;
}

static json_t *find_service(const struct why *w) {
  json_t *j;
  size_t i;

  json_array_foreach(json_object_get(w->status, "services"), i, j) {
    if (w->id[0] ? !strcmp(why_text(j, "id"), w->id) : has_address(j, &w->addr))
      return j;
  }
  return NULL;
}

static const json_t *find_link(const struct why *w) {
  const char *connector = why_text(w->service, "connector");
  json_t *j;
  size_t i;

  json_array_foreach(json_object_get(w->status, "links"), i, j) {
    if (*connector && !strcmp(why_text(j, "connector"), connector)) return j;
  }
  return NULL;
}

static const json_t *chosen_path(const json_t *link) {
  json_t *j;
  size_t i;

  json_array_foreach(json_object_get(link, "paths"), i, j) {
    if (is_true(j, "chosen")) return j;
  }
  return json_object_get(link, "path");
}

static bool is_direct(const struct why *w) {
  const json_t *path = chosen_path(find_link(w));

  return !strcmp(why_text(w->service, "use"), "open") &&
         !strcmp(why_text(path, "kind"), "direct") && is_true(path, "live");
}

bool why_look(struct why *w, int *rc) {
  struct sbuf body;
  json_t *root;

  sbuf_init(&body, 0);
  *rc = local_page_status(&w->http, TIMEOUT_MS, &body, &root);
  sbuf_done(&body);
  if (!root) return false;
  json_decref(w->status);
  w->status = root;
  w->service = find_service(w);
  return true;
}

void why_done(struct why *w) { json_decref(w->status); }

/* --- the agent */

static bool step_agent(struct why *w) {
  char text[WHY_TEXT], addr[ZTNA_ADDR_STRLEN];
  int rc;

  ztna_addr_print(&w->http, addr);
  if (!why_look(w, &rc)) {
    snprintf(text, sizeof(text), "http://%s/status %s (%s)", addr,
             local_page_wrong(rc), w->from);
    return why_fail_here(w, "agent", EXIT_NOT_READY, text,
                         "whoever runs this machine: start the agent, or say "
                         "by --http where its http.listen is");
  }
  if (strcmp(why_text(w->status, "role"), "agent")) {
    snprintf(text, sizeof(text), "at %s runs a %s, not an agent", addr,
             why_text(w->status, "role"));
    return why_fail_here(w, "agent", EXIT_NOT_READY, text,
                         "whoever runs this machine: say by --http or --config "
                         "where the agent's http.listen is");
  }
  why_say(w, "agent", WHY_OK, "runs here, answers at %s", addr);
  return true;
}

static bool step_certificate(struct why *w) {
  const char *name = why_text(w->status, "identity");
  int64_t left =
      (int64_t)number(w->status, "not_after") - (int64_t)(clock_wall() / SEC);

  if (!json_object_get(w->status, "not_after")) return true;
  if (left <= 0)
    return why_fail(w, "certificate", REASON_CERTIFICATE_EXPIRED,
                    "%s, ended %lld days ago", name,
                    (long long)(-left / 86400));
  if (left < 86400)
    why_say(w, "certificate", WHY_OK, "%s, %lld minutes left", name,
            (long long)(left / 60));
  else
    why_say(w, "certificate", WHY_OK, "%s, %lld days left", name,
            (long long)(left / 86400));
  return true;
}

static bool step_relay(struct why *w) {
  const json_t *last = json_object_get(w->status, "relay"), *j;
  size_t i;

  json_array_foreach(json_object_get(w->status, "relays"), i, j) {
    if (!is_true(j, "connected")) continue;
    why_say(w, "relay", WHY_OK, "%s, %.1f ms", why_text(j, "relay"),
            number(j, "rtt_ms"));
    return true;
  }
  if (is_true(last, "connected")) return true; /* since then */
  w->relay_down = is_direct(w);
  if (w->relay_down) {
    why_say(w, "relay", WHY_NOTE, "%s: %s; what is in use directly goes on",
            why_text(last, "relay"), why_text(last, "text"));
    return true;
  }
  return why_fail(w, "relay", reason_find(why_text(last, "reason")), "%s: %s",
                  why_text(last, "relay"), why_text(last, "text"));
}

/* --- the service */

/* The agent's word for what came of asking; "": it cannot be asked. */
static void ask(const struct why *w, char *word, size_t room) {
  char path[128];
  struct sbuf body;
  json_t *j = NULL;

  *word = 0;
  snprintf(path, sizeof(path), "/ask?service=%s", w->id);
  sbuf_init(&body, 4096);
  if (http_get(&w->http, path, TIMEOUT_MS, &body) == 200 && body.len)
    j = json_loadb(body.s, body.len, JSON_REJECT_DUPLICATES, NULL);
  snprintf(word, room, "%s", why_text(j, "result"));
  json_decref(j);
  sbuf_done(&body);
}

static bool is_settled(const json_t *service) {
  const char *use = why_text(service, "use");

  return service && !is_true(service, "asked") && strcmp(use, "asking") &&
         strcmp(use, "opening");
}

/* Until the relay and the connector have answered. */
static void settle(struct why *w) {
  uint64_t end_at = clock_now() + PATIENCE_MS * MS;
  struct timespec nap = {.tv_nsec = LOOK_EVERY_MS * (long)MS};
  int rc;

  while (why_look(w, &rc) && !is_settled(w->service) && clock_now() < end_at)
    nanosleep(&nap, NULL);
}

static const char *nearest_service(const struct why *w) {
  const char *best = NULL;
  size_t distance = 0, i;
  json_t *j;

  json_array_foreach(json_object_get(w->status, "services"), i, j) {
    if (is_true(j, "listed"))
      nearest_try(w->id, why_text(j, "id"), &best, &distance);
  }
  return best;
}

static bool is_refused(const struct why *w) {
  return !strcmp(why_text(w->service, "use"), "refused");
}

static bool unknown(struct why *w) {
  enum reason why = is_refused(w) ? reason_find(why_text(w->service, "reason"))
                                  : REASON_NO_SUCH_SERVICE;
  const char *near = why == REASON_NO_SUCH_SERVICE ? nearest_service(w) : NULL;

  if (near)
    return why_fail(w, "service", why, "%s; did you mean \"%s\"?", w->id, near);
  return why_fail(w, "service", why, "%s", w->id);
}

static bool not_wanted(struct why *w) {
  char text[WHY_TEXT];

  snprintf(text, sizeof(text),
           "%s is left out by agent.services of the agent's configuration",
           w->id);
  return why_fail_here(w, "service", EXIT_REFUSED, text,
                       "whoever configures the agent on this machine");
}

static bool name_it(struct why *w) {
  char addr[ZTNA_ADDR_STRLEN];

  if (w->id[0]) return true;
  if (!w->service)
    return why_fail(w, "service", REASON_NO_SUCH_SERVICE,
                    "none that this agent may use has the address %s",
                    ztna_addr_print_ip(&w->addr, addr));
  snprintf(w->id, sizeof(w->id), "%s", why_text(w->service, "id"));
  return true;
}

static bool step_service(struct why *w) {
  const char *state;
  char word[32];

  if (!name_it(w)) return false;
  ask(w, word, sizeof(word));
  if (!strcmp(word, "not-wanted")) return not_wanted(w);
  if (!strcmp(word, "no-relay") && !w->relay_down)
    return why_fail(w, "service", REASON_RELAY_UNREACHABLE,
                    "no relay is there to be asked");
  settle(w);
  if (!w->service || !is_true(w->service, "listed")) return unknown(w);
  state = why_text(w->service, "state");
  if (!strcmp(state, "up")) {
    why_say(w, "service", WHY_OK, "%s is up%s", w->id,
            is_true(w->service, "asked")
                ? ", as the relay said before; it has not answered now"
                : "");
    return true;
  }
  if (is_refused(w)) state = why_text(w->service, "reason");
  return why_fail(w, "service", reason_find(state), "%s is known", w->id);
}

/* --- its address */

static bool is_own(const struct why *w, const struct ztna_addr *from) {
  return has_address(w->status, from);
}

/* The first one that this machine sends into the TUN. */
static bool choose_address(struct why *w, struct ztna_addr *found) {
  json_t *j;
  size_t i;

  found->family = 0;
  json_array_foreach(json_object_get(w->service, "addresses"), i, j) {
    struct ztna_addr a, from;
    const char *text = json_string_value(j);
    if (!text || ztna_addr_parse(&a, text) < 0) continue;
    if (w->addr.family && !ztna_addr_same_ip(&a, &w->addr)) continue;
    if (!found->family) *found = a;
    from = attempt_source(&a);
    if (!from.family || !is_own(w, &from)) continue;
    *found = a;
    return true;
  }
  return false;
}

static void join(const json_t *list, char *text, size_t room) {
  json_t *j;
  size_t i, n = 0;

  *text = 0;
  json_array_foreach(list, i, j) {
    const char *one = json_string_value(j);
    if (one && n < room)
      n += (size_t)snprintf(text + n, room - n, "%s%s", i ? ", " : "", one);
  }
}

static bool step_address(struct why *w) {
  const char *tun = why_text(w->status, "tun");
  char all[200], text[WHY_TEXT], one[ZTNA_ADDR_STRLEN];
  bool routed = choose_address(w, &w->at);

  join(json_object_get(w->service, "addresses"), all, sizeof(all));
  if (!w->at.family)
    return why_fail_here(w, "address", EXIT_REFUSED,
                         "the relay gave none that lies inside agent.networks",
                         "whoever configures the relay or this agent");
  w->at.port = w->port;
  if (!*tun) {
    why_say(w, "address", WHY_OK, "%s (no TUN: only by --forward or SOCKS)",
            all);
    return true;
  }
  if (routed) {
    why_say(w, "address", WHY_OK, "%s, routed into %s", all, tun);
    return true;
  }
  snprintf(text, sizeof(text), "this machine does not route %s into %s",
           ztna_addr_print_ip(&w->at, one), tun);
  return why_fail_here(w, "address", EXIT_NOT_READY, text,
                       "whoever runs this machine: another route, rule or VPN "
                       "takes the address");
}

/* --- its use */

/* The connector's certificate may be the matter, not what it or a relay says.
 */
static bool refused(struct why *w) {
  const char *reason = why_text(w->service, "reason");
  const json_t *peer = json_object_get(w->service, "not_let_in");

  if (!strcmp(why_text(peer, "reason"), reason))
    return why_fail(w, "use", reason_find(reason),
                    "this agent does not let in %s, which serves it",
                    why_text(peer, "connector"));
  return why_fail(w, "use", reason_find(reason), "refused");
}

static bool step_use(struct why *w) {
  const char *use = why_text(w->service, "use");

  if (is_refused(w)) return refused(w);
  if (!strcmp(use, "asking"))
    return why_fail(w, "use", REASON_RELAY_UNREACHABLE,
                    "asked for; the relay gave no answer within 3 s");
  if (!strcmp(use, "opening"))
    return why_fail(w, "use", REASON_CONNECTOR_REFUSED,
                    "granted; %s did not answer within 3 s",
                    why_text(w->service, "connector"));
  if (!strcmp(use, "open"))
    why_say(w, "use", WHY_OK, "open at %s", why_text(w->service, "connector"));
  else
    why_say(w, "use", WHY_LEFT_OUT, "%s; this agent cannot be asked for it",
            use);
  return true;
}

/* --- the path */

/* Traffic goes well over a relay: no failure. */
static void note_direct(struct why *w, const json_t *link) {
  const json_t *d = json_object_get(link, "direct");

  if (!d) return;
  if (*why_text(d, "text"))
    why_say(w, "direct", WHY_NOTE, "not: %s (%s)", why_text(d, "text"),
            why_text(d, "fix"));
  else
    why_say(w, "direct", WHY_NOTE, "not yet: %s", why_text(d, "state"));
}

static bool step_path(struct why *w) {
  const json_t *link = find_link(w), *path = chosen_path(link);
  bool direct = !strcmp(why_text(path, "kind"), "direct");
  double sent = number(path, "sent");

  if (!path || !is_true(path, "live")) return true; /* use has said it */
  why_say(w, "path", WHY_OK, "%s %s, %.1f ms, %.1f %% lost",
          direct ? "direct to" : "over the relay",
          why_text(path, direct ? "remote" : "relay"), number(path, "rtt_ms"),
          sent > 0 ? 100 * number(path, "lost") / sent : 0);
  if (!direct) note_direct(w, link);
  return true;
}

/* --- the grant */

static bool lists(const json_t *list, const char *word) {
  json_t *j;
  size_t i;

  json_array_foreach(list, i, j) {
    if (json_is_string(j) && !strcmp(json_string_value(j), word)) return true;
  }
  return false;
}

static bool covers(const json_t *grant, unsigned protocol, uint16_t port) {
  const json_t *ports = json_object_get(grant, "ports"), *j;
  const char *name = why_protocol(protocol);
  size_t i;

  if (!lists(json_object_get(grant, "protocols"), name)) return false;
  if (protocol == PROTO_ICMP || !ports) return true;
  json_array_foreach(ports, i, j) {
    const char *of = json_string_value(json_array_get(j, 2));
    if (port >= json_integer_value(json_array_get(j, 0)) &&
        port <= json_integer_value(json_array_get(j, 1)) && of &&
        (!strcmp(of, "any") || !strcmp(of, name)))
      return true;
  }
  return false;
}

static void add_ports(struct sbuf *out, const json_t *ports) {
  json_t *j;
  size_t i;

  json_array_foreach(ports, i, j) {
    json_int_t first = json_integer_value(json_array_get(j, 0));
    json_int_t last = json_integer_value(json_array_get(j, 1));
    const char *of = json_string_value(json_array_get(j, 2));
    sbuf_printf(out, "%s%lld", i ? ", " : " on ", (long long)first);
    if (last > first) sbuf_printf(out, "-%lld", (long long)last);
    if (of && strcmp(of, "any")) sbuf_printf(out, "/%s", of);
  }
}

static void grant_print(const json_t *grant, char *text, size_t room) {
  struct sbuf out;
  char protocols[64];

  join(json_object_get(grant, "protocols"), protocols, sizeof(protocols));
  sbuf_init(&out, 0);
  sbuf_printf(&out, "rule \"%s\": %s", why_text(grant, "rule"), protocols);
  add_ports(&out, json_object_get(grant, "ports"));
  snprintf(text, room, "%s", out.len ? out.s : "");
  sbuf_done(&out);
}

/* By the port and what is allowed, unless it was said. */
static void choose_protocol(struct why *w, const json_t *grant) {
  if (w->protocol) return;
  w->protocol = w->port ? PROTO_TCP : PROTO_ICMP;
  if (w->port && !covers(grant, PROTO_TCP, w->port) &&
      covers(grant, PROTO_UDP, w->port))
    w->protocol = PROTO_UDP;
}

/* Allowed, but nobody there has it. A list that long may have been cut. */
static bool is_offered(const struct why *w) {
  const json_t *ports = json_object_get(w->service, "ports"), *j;
  const char *name = why_protocol(w->protocol);
  size_t i;

  if (w->protocol == PROTO_ICMP || !ports ||
      json_array_size(ports) >= PORTS_LISTED)
    return true;
  json_array_foreach(ports, i, j) {
    const char *of = json_string_value(json_array_get(j, 0));
    if (of && !strcmp(of, name) &&
        json_integer_value(json_array_get(j, 1)) == w->port)
      return true;
  }
  return false;
}

static bool not_offered(struct why *w) {
  char text[100];

  snprintf(text, sizeof(text), "no connector has a backend for %s port %u",
           why_protocol(w->protocol), w->port);
  why_fail_here(w, "backend", EXIT_REFUSED, text,
                "whoever configures the connector");
  snprintf(w->reason, sizeof(w->reason), "%s",
           reason_name(REASON_PORT_NOT_ALLOWED));
  return false;
}

static bool step_grant(struct why *w) {
  const json_t *grant = json_object_get(w->service, "grant");
  bool open_question = !w->port && !w->protocol;
  char text[300];

  choose_protocol(w, grant);
  if (!grant) return true; /* an older agent: the try tells */
  grant_print(grant, text, sizeof(text));
  if (covers(grant, w->protocol, w->port)) {
    why_say(w, "grant", WHY_OK, "%s", text);
    return is_offered(w) || not_offered(w);
  }
  if (open_question) { /* nobody asked for ICMP */
    why_say(w, "grant", WHY_OK, "%s", text);
    why_say(w, "try", WHY_LEFT_OUT, "no ICMP is allowed; give a port");
    w->protocol = 0;
    return true;
  }
  if (w->port)
    return why_fail(w, "grant", REASON_PORT_NOT_ALLOWED, "no %s port %u; %s",
                    why_protocol(w->protocol), w->port, text);
  return why_fail(w, "grant", REASON_PORT_NOT_ALLOWED, "no %s; %s",
                  why_protocol(w->protocol), text);
}

/* --- all */

void why_walk(struct why *w) {
  static bool (*const steps[])(struct why *) = {
      step_agent, step_certificate, step_relay, step_service, step_address,
      step_use,   step_path,        step_grant, why_try,
  };

  for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++)
    if (!steps[i](w)) return;
}
