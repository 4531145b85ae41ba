/* probe_print.c - the report for people: each line is one fact. What came from
 * servers is printed without control characters. */
#include "host/probe.h"

#include <stdio.h>
#include <string.h>

enum { NAME_LEN = 64, TEXT_MAX = 400 };

struct printer {
  struct sbuf *out;
  int width; /* of the longest name */
};

static void clean(char *s) {
  for (; *s; s++)
    if ((unsigned char)*s < 32 || *s == 127) *s = '?';
}

static void value_text(char *to, const json_t *v) {
  switch (json_typeof(v)) {
  case JSON_TRUE:
    snprintf(to, TEXT_MAX, "yes");
    break;
  case JSON_FALSE:
    snprintf(to, TEXT_MAX, "no");
    break;
  case JSON_INTEGER:
    snprintf(to, TEXT_MAX, "%lld", (long long)json_integer_value(v));
    break;
  case JSON_REAL:
    snprintf(to, TEXT_MAX, "%.1f", json_real_value(v));
    break;
  case JSON_STRING:
    snprintf(to, TEXT_MAX, "%s", json_string_value(v));
    break;
  default:
    snprintf(to, TEXT_MAX, "unknown");
  }
  clean(to);
}

static void list_text(char *to, const json_t *list) {
  char one[TEXT_MAX];
  size_t i, n = 0;
  json_t *v;
  *to = 0;
  json_array_foreach(list, i, v) {
    value_text(one, v);
    if (n < TEXT_MAX)
      n += (size_t)snprintf(to + n, TEXT_MAX - n, "%s%s", i ? ", " : "", one);
  }
  if (!i) snprintf(to, TEXT_MAX, "none");
}

static bool is_reason(const char *key) {
  size_t n = strlen(key);
  return n > 4 && !strcmp(key + n - 4, "_why");
}

static const char *reason_of(const json_t *o, const char *key) {
  char name[NAME_LEN];
  snprintf(name, sizeof(name), "%s_why", key);
  return json_string_value(json_object_get(o, name));
}

/* First only how wide the names are. */
static void line(struct printer *p, const char *name, const json_t *v,
                 const char *why) {
  char text[TEXT_MAX], reason[TEXT_MAX];
  int n = (int)strlen(name);
  if (!p->out) {
    if (n > p->width) p->width = n;
    return;
  }
  if (json_is_array(v))
    list_text(text, v);
  else
    value_text(text, v);
  snprintf(reason, sizeof(reason), "%s", why ? why : "");
  clean(reason);
  sbuf_printf(p->out, "%s:%*s%s%s%s%s\n", name, p->width + 1 - n, "", text,
              why ? " (" : "", reason, why ? ")" : "");
}

static void join(char name[NAME_LEN], const char *prefix, const char *key) {
  size_t n = strlen(prefix), left = NAME_LEN - 1;
  memset(name, 0, NAME_LEN);
  memcpy(name, prefix, n);
  left -= n;
  if (n && left) name[n++] = '.', left--;
  memcpy(name + n, key, strlen(key) < left ? strlen(key) : left);
}

static void object(struct printer *p, const char *prefix, const json_t *o);

static void objects(struct printer *p, const char *prefix, const json_t *list) {
  char name[NAME_LEN];
  size_t i;
  json_t *o;
  json_array_foreach(list, i, o) {
    snprintf(name, sizeof(name), "%.40s-%d", prefix, (int)i + 1);
    object(p, name, o);
  }
}

static void object(struct printer *p, const char *prefix, const json_t *o) {
  char name[NAME_LEN];
  const char *key;
  json_t *v;
  json_object_foreach((json_t *)o, key, v) {
    join(name, prefix, key);
    if (is_reason(key) || !strcmp(name, "schema")) continue;
    if (json_is_object(v))
      object(p, name, v);
    else if (json_is_object(json_array_get(v, 0)))
      objects(p, name, v);
    else
      line(p, name, v, reason_of(o, key));
  }
}

void probe_print(struct sbuf *out, const json_t *report) {
  struct printer p = {0};
  object(&p, "", report);
  p.out = out;
  object(&p, "", report);
}
