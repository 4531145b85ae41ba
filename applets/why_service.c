/* why_service.c - steps of `ztna why` about the service: is it known, has it an
 * address that leads into the tunnel, is it in use. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "applet.h"
#include "host/attempt.h"
#include "host/clock.h"
#include "host/http_get.h"
#include "host/mistake.h"
#include "why.h"

enum { TIMEOUT_MS = 3000, PATIENCE_MS = 3000, LOOK_EVERY_MS = 50 };

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

  return service && !why_is(service, "asked") && strcmp(use, "asking") &&
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
    if (why_is(j, "listed"))
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

bool why_service(struct why *w) {
  const char *state;
  char word[32];

  if (!name_it(w)) return false;
  ask(w, word, sizeof(word));
  if (!strcmp(word, "not-wanted")) return not_wanted(w);
  if (!strcmp(word, "no-relay") && !w->relay_down)
    return why_fail(w, "service", REASON_RELAY_UNREACHABLE,
                    "no relay is there to be asked");
  settle(w);
  if (!w->service || !why_is(w->service, "listed")) return unknown(w);
  state = why_text(w->service, "state");
  if (!strcmp(state, "up")) {
    why_say(w, "service", WHY_OK, "%s is up%s", w->id,
            why_is(w->service, "asked")
                ? ", as the relay said before; it has not answered now"
                : "");
    return true;
  }
  if (is_refused(w)) state = why_text(w->service, "reason");
  return why_fail(w, "service", reason_find(state), "%s is known", w->id);
}

/* --- its address */

static bool is_own(const struct why *w, const struct ztna_addr *from) {
  return why_has_address(w->status, from);
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

bool why_address(struct why *w) {
  const char *tun = why_text(w->status, "tun");
  char all[200], text[WHY_TEXT], one[ZTNA_ADDR_STRLEN];
  bool routed = choose_address(w, &w->at);

  why_join(json_object_get(w->service, "addresses"), all, sizeof(all));
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

bool why_use(struct why *w) {
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
