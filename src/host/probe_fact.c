/* probe_fact.c - see probe_fact.h. */
#include "host/probe_fact.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/time.h"

void fact(json_t *o, const char *key, json_t *value, const char *why) {
  char name[64];
  json_object_set_new(o, key, value ? value : json_null());
  if (!why || !*why) return;
  snprintf(name, sizeof(name), "%s_why", key);
  json_object_set_new(o, name, json_string(why));
}

void factf(json_t *o, const char *key, json_t *value, const char *fmt, ...) {
  char why[256];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, sizeof(why), fmt, ap);
  va_end(ap);
  fact(o, key, value, why);
}

json_t *fact_addr(const struct ztna_addr *a) {
  char text[ZTNA_ADDR_STRLEN];
  return a->family ? json_string(ztna_addr_print(a, text)) : NULL;
}

json_t *fact_ms(uint64_t ns) { return json_real((double)ns / (double)MS); }
