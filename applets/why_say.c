/* why_say.c - what the steps of `ztna why` say, and how they read the agent's
 * status. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "applet.h"
#include "part/policy.h"
#include "why.h"

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

double why_number(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

bool why_is(const json_t *object, const char *key) {
  return json_is_true(json_object_get(object, key));
}

bool why_has_address(const json_t *service, const struct ztna_addr *addr) {
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

void why_join(const json_t *list, char *text, size_t room) {
  json_t *j;
  size_t i, n = 0;

  *text = 0;
  json_array_foreach(list, i, j) {
    const char *one = json_string_value(j);
    if (one && n < room)
      n += (size_t)snprintf(text + n, room - n, "%s%s", i ? ", " : "", one);
  }
}
