/* why_grant.c - the step of `ztna why` about what is allowed: protocol and
 * port, and whether anybody there has them. */
#include <stdio.h>
#include <string.h>

#include "applet.h"
#include "part/policy.h"
#include "why.h"

/* The most that a relay lists of one service. */
enum { PORTS_LISTED = 256 };

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

  why_join(json_object_get(grant, "protocols"), protocols, sizeof(protocols));
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

bool why_grant(struct why *w) {
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
