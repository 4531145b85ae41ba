/* forward_rule.c - see forward_rule.h. */
#include "host/forward_rule.h"

#include <ctype.h>
#include <string.h>
#include <ztna/err.h>

static int read_port(uint16_t *port, const char *text, size_t len) {
  unsigned v = 0;

  if (!len || len > 5) return ZTNA_EMALFORMED;
  for (size_t i = 0; i < len; i++) {
    if (!isdigit((unsigned char)text[i])) return ZTNA_EMALFORMED;
    v = 10 * v + (unsigned)(text[i] - '0');
  }
  if (!v || v > 65535) return ZTNA_EMALFORMED;
  *port = (uint16_t)v;
  return 0;
}

/* "8080", "127.0.0.1:8080", "[::1]:8080" */
static int read_at(struct ztna_addr *at, const char *text, size_t len) {
  static const uint8_t loopback[4] = {127, 0, 0, 1};
  char copy[ZTNA_ADDR_STRLEN];
  uint16_t port;

  if (read_port(&port, text, len) == 0) {
    *at = ztna_addr_v4(loopback, port);
    return 0;
  }
  if (len >= sizeof(copy)) return ZTNA_EMALFORMED;
  memcpy(copy, text, len);
  copy[len] = 0;
  if (ztna_addr_parse(at, copy) < 0 || !at->port) return ZTNA_EMALFORMED;
  return 0;
}

static bool is_id(const char *text, size_t len) {
  for (size_t i = 0; i < len; i++)
    if (!islower((unsigned char)text[i]) && !isdigit((unsigned char)text[i]) &&
        !strchr("-_.", text[i]))
      return false;
  return len > 0 && isalnum((unsigned char)text[0]);
}

/* "web-app:80", "10.100.0.2:80", "[fd5a:10::2]:80" */
static int read_service(struct forward_rule *r, const char *text) {
  const char *colon = strrchr(text, ':');
  size_t len = colon ? (size_t)(colon - text) : 0;
  struct ztna_addr a;

  if (!colon || read_port(&r->port, colon + 1, strlen(colon + 1)) < 0)
    return ZTNA_EMALFORMED;
  if (*text == '[' && len > 2 && text[len - 1] == ']') {
    if (ztna_addr_parse(&a, text) < 0 || a.scope) return ZTNA_EMALFORMED;
    text++;
    len -= 2;
  } else if (!is_id(text, len)) {
    return ZTNA_EMALFORMED;
  }
  if (len >= sizeof(r->service)) return ZTNA_EMALFORMED;
  memcpy(r->service, text, len);
  r->service[len] = 0;
  return 0;
}

int forward_rule_parse(struct forward_rule *r, const char *text) {
  const char *equals = strchr(text, '=');
  size_t len = equals ? (size_t)(equals - text) : 0;

  memset(r, 0, sizeof(*r));
  if (len > 4 && !memcmp(text + len - 4, "/udp", 4)) {
    r->udp = true;
    len -= 4;
  } else if (len > 4 && !memcmp(text + len - 4, "/tcp", 4)) {
    len -= 4;
  }
  if (!equals || read_at(&r->at, text, len) < 0) return ZTNA_EMALFORMED;
  return read_service(r, equals + 1);
}

const char *forward_rule_check(const char *text) {
  struct forward_rule r;

  if (forward_rule_parse(&r, text) == 0) return NULL;
  return "[ADDR:]PORT[/udp]=SERVICE:PORT like \"127.0.0.1:8080=web-app:80\"";
}
