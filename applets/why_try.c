/* why_try.c - the last step of `ztna why`: what a program on this machine would
 * see. */
#include <stdio.h>
#include <string.h>

#include "applet.h"
#include "host/attempt.h"
#include "part/policy.h"
#include "why.h"

enum {
  TRY_MS = 3000,
  OBJECTION_MS = 400, /* for an error about a datagram to come back */
  REFUSED_NOW = 5000, /* ms: what the agent tells is about this try */
};

/* The agent knows more of a refused TCP connection than the program sees. */
static enum reason told(struct why *w, enum reason seen) {
  const json_t *refusal;
  int rc;

  if (!why_look(w, &rc)) return seen;
  refusal = json_object_get(w->service, "tcp_refused");
  if (w->protocol == PROTO_TCP && refusal &&
      json_integer_value(json_object_get(refusal, "port")) == w->port &&
      json_integer_value(json_object_get(refusal, "ago_ms")) < REFUSED_NOW)
    return reason_find(why_text(refusal, "reason"));
  if (!strcmp(why_text(w->service, "use"), "refused"))
    return reason_find(why_text(w->service, "reason"));
  return seen;
}

static const char *where(const struct why *w, char *text, size_t room) {
  char addr[ZTNA_ADDR_STRLEN];

  snprintf(text, room, "%s %s",
           w->protocol == PROTO_TCP   ? "TCP to"
           : w->protocol == PROTO_UDP ? "UDP to"
                                      : "ping of",
           ztna_addr_print(&w->at, addr));
  return text;
}

static bool judge(struct why *w, const struct attempt *a) {
  char to[ZTNA_ADDR_STRLEN + 16];

  where(w, to, sizeof(to));
  switch (a->end) {
  case ATTEMPT_ANSWERED:
    why_say(w, "try", WHY_OK, "%s, answered in %.1f ms", to,
            (double)a->took / (double)MS);
    w->tried = true;
    return true;
  case ATTEMPT_IMPOSSIBLE:
    why_say(w, "try", WHY_LEFT_OUT, "%s: this machine says: %s", to,
            strerror(a->err));
    return true;
  case ATTEMPT_REFUSED:
    return why_fail(w, "try", told(w, REASON_BACKEND_REFUSED), "%s: refused",
                    to);
  case ATTEMPT_PROHIBITED:
    return why_fail(w, "try", told(w, REASON_PORT_NOT_ALLOWED),
                    "%s: prohibited", to);
  case ATTEMPT_UNREACHABLE:
    return why_fail(w, "try", told(w, REASON_BACKEND_UNREACHABLE), "%s: %s", to,
                    strerror(a->err));
  default:
    return why_fail(w, "try", told(w, REASON_BACKEND_TIMEOUT),
                    "%s: no answer within %d s", to, TRY_MS / 1000);
  }
}

static bool echo_is_allowed(const struct why *w) {
  const json_t *list = json_object_get(json_object_get(w->service, "grant"),
                                       "protocols"),
               *j;
  size_t i;

  json_array_foreach(list, i, j) {
    if (json_is_string(j) && !strcmp(json_string_value(j), "icmp")) return true;
  }
  return false;
}

/* Few services answer an empty datagram. So: is it objected to, and does the
 * way work otherwise? */
static bool try_udp(struct why *w) {
  struct attempt a = attempt_udp(&w->at, OBJECTION_MS), echo;
  char to[ZTNA_ADDR_STRLEN + 16];

  if (a.end != ATTEMPT_SILENT) return judge(w, &a);
  w->tried = true;
  where(w, to, sizeof(to));
  if (!echo_is_allowed(w)) {
    why_say(w, "try", WHY_OK, "%s, nothing objected (no ICMP is allowed)", to);
    return true;
  }
  echo = attempt_echo(&w->at, TRY_MS);
  if (echo.end == ATTEMPT_IMPOSSIBLE) {
    why_say(w, "try", WHY_OK, "%s, nothing objected", to);
    return true;
  }
  if (echo.end != ATTEMPT_ANSWERED) return judge(w, &echo);
  why_say(w, "try", WHY_OK, "%s, nothing objected; ping answered in %.1f ms",
          to, (double)echo.took / (double)MS);
  return true;
}

bool why_try(struct why *w) {
  struct attempt a;

  if (!w->protocol) return true; /* said already */
  if (!*why_text(w->status, "tun")) {
    why_say(w, "try", WHY_LEFT_OUT,
            "the agent has no TUN, so this machine has no address to try");
    return true;
  }
  if (w->protocol == PROTO_UDP) return try_udp(w);
  a = w->protocol == PROTO_TCP ? attempt_tcp(&w->at, TRY_MS)
                               : attempt_echo(&w->at, TRY_MS);
  return judge(w, &a);
}
