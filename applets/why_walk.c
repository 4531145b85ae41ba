/* why_walk.c - the way from this machine to a service, step by step, as the
 * agent's status tells it: the agent itself, its relay and the path; the rest
 * is in why_service.c, why_grant.c and why_try.c. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "applet.h"
#include "host/clock.h"
#include "host/http_get.h"
#include "local_page.h"
#include "why.h"

enum { TIMEOUT_MS = 3000 };

/* --- looking */

static json_t *find_service(const struct why *w) {
  json_t *j;
  size_t i;

  json_array_foreach(json_object_get(w->status, "services"), i, j) {
    if (w->id[0] ? !strcmp(why_text(j, "id"), w->id)
                 : why_has_address(j, &w->addr))
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
    if (why_is(j, "chosen")) return j;
  }
  return json_object_get(link, "path");
}

static bool is_direct(const struct why *w) {
  const json_t *path = chosen_path(find_link(w));

  return !strcmp(why_text(w->service, "use"), "open") &&
         !strcmp(why_text(path, "kind"), "direct") && why_is(path, "live");
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
  int64_t left = (int64_t)why_number(w->status, "not_after") -
                 (int64_t)(clock_wall() / SEC);

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
    if (!why_is(j, "connected")) continue;
    why_say(w, "relay", WHY_OK, "%s, %.1f ms", why_text(j, "relay"),
            why_number(j, "rtt_ms"));
    return true;
  }
  if (why_is(last, "connected")) return true; /* since then */
  w->relay_down = is_direct(w);
  if (w->relay_down) {
    why_say(w, "relay", WHY_NOTE, "%s: %s; what is in use directly goes on",
            why_text(last, "relay"), why_text(last, "text"));
    return true;
  }
  return why_fail(w, "relay", reason_find(why_text(last, "reason")), "%s: %s",
                  why_text(last, "relay"), why_text(last, "text"));
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
  double sent = why_number(path, "sent");

  if (!path || !why_is(path, "live")) return true; /* use has said it */
  why_say(w, "path", WHY_OK, "%s %s, %.1f ms, %.1f %% lost",
          direct ? "direct to" : "over the relay",
          why_text(path, direct ? "remote" : "relay"),
          why_number(path, "rtt_ms"),
          sent > 0 ? 100 * why_number(path, "lost") / sent : 0);
  if (!direct) note_direct(w, link);
  return true;
}

/* --- all */

void why_walk(struct why *w) {
  static bool (*const steps[])(struct why *) = {
      step_agent, step_certificate, step_relay, why_service, why_address,
      why_use,    step_path,        why_grant,  why_try,
  };

  for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++)
    if (!steps[i](w)) return;
}
