/* addr.c - see ztna/addr.h. Text is parsed strictly and without the system's
 * resolver: no names, no octal, no spaces, no leading zeros. */
#include <ztna/addr.h>

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <ztna/err.h>

/* --- make and compare */

struct ztna_addr ztna_addr_v4(const void *ip, uint16_t port) {
  struct ztna_addr a = {.family = 4, .port = port};
  memcpy(a.ip, ip, 4);
  return a;
}

struct ztna_addr ztna_addr_v6(const void *ip, uint16_t port, uint32_t scope) {
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  if (memcmp(ip, mapped, sizeof(mapped)) == 0)
    return ztna_addr_v4((const uint8_t *)ip + sizeof(mapped), port);
  struct ztna_addr a = {.family = 6, .port = port};
  memcpy(a.ip, ip, 16);
  if (ztna_addr_is_link_local(&a)) a.scope = scope;
  return a;
}

bool ztna_addr_same_ip(const struct ztna_addr *a, const struct ztna_addr *b) {
  return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0 &&
         a->scope == b->scope;
}

bool ztna_addr_equal(const struct ztna_addr *a, const struct ztna_addr *b) {
  return a->port == b->port && ztna_addr_same_ip(a, b);
}

int ztna_addr_cmp(const struct ztna_addr *a, const struct ztna_addr *b) {
  if (a->family != b->family) return a->family < b->family ? -1 : 1;
  int c = memcmp(a->ip, b->ip, sizeof(a->ip));
  if (c) return c < 0 ? -1 : 1;
  if (a->scope != b->scope) return a->scope < b->scope ? -1 : 1;
  return (a->port > b->port) - (a->port < b->port);
}

/* --- text */

/* A decimal number up to max that fills the text from s to end. */
static bool number(const char *s, const char *end, uint32_t max,
                   uint32_t *out) {
  uint64_t v = 0;
  if (s == end || (*s == '0' && end - s > 1)) return false;
  for (; s < end; s++) {
    if (*s < '0' || *s > '9') return false;
    v = v * 10 + (uint64_t)(*s - '0');
    if (v > max) return false;
  }
  *out = (uint32_t)v;
  return true;
}

/* An address without brackets and port, from s to end. */
static bool parse_ip(struct ztna_addr *a, const char *s, const char *end) {
  char text[INET6_ADDRSTRLEN];
  uint8_t ip[16];
  uint32_t scope = 0;
  const char *percent = memchr(s, '%', (size_t)(end - s));
  if (percent && !number(percent + 1, end, UINT32_MAX, &scope)) return false;
  size_t len = (size_t)((percent ? percent : end) - s);
  if (len >= sizeof(text)) return false;
  memcpy(text, s, len);
  text[len] = 0;

  if (!percent && inet_pton(AF_INET, text, ip) == 1)
    *a = ztna_addr_v4(ip, 0);
  else if (inet_pton(AF_INET6, text, ip) == 1)
    *a = ztna_addr_v6(ip, 0, scope);
  else
    return false;
  return a->scope == scope; /* else a scope on an address that has none */
}

static bool parse(struct ztna_addr *a, const char *text) {
  const char *end = text + strlen(text), *ip_end = end, *colon = NULL;
  if (*text == '[') {
    ip_end = strchr(++text, ']');
    if (!ip_end || !memchr(text, ':', (size_t)(ip_end - text))) return false;
    if (ip_end[1] && ip_end[1] != ':') return false;
    if (ip_end[1]) colon = ip_end + 1;
  } else {
    colon = strchr(text, ':');
    if (colon && strchr(colon + 1, ':')) colon = NULL; /* plain v6 */
    if (colon) ip_end = colon;
  }
  if (!parse_ip(a, text, ip_end)) return false;
  uint32_t port = 0;
  if (colon && !number(colon + 1, end, UINT16_MAX, &port)) return false;
  a->port = (uint16_t)port;
  return true;
}

int ztna_addr_parse(struct ztna_addr *a, const char *text) {
  struct ztna_addr got;
  if (!parse(&got, text)) return ZTNA_EMALFORMED;
  *a = got;
  return 0;
}

char *ztna_addr_print_ip(const struct ztna_addr *a, char *buf) {
  if (!a->family) return strcpy(buf, "-");
  inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->ip, buf, ZTNA_ADDR_STRLEN);
  if (a->scope) {
    size_t n = strlen(buf);
    snprintf(buf + n, ZTNA_ADDR_STRLEN - n, "%%%u", a->scope);
  }
  return buf;
}

char *ztna_addr_print(const struct ztna_addr *a, char *buf) {
  char ip[ZTNA_ADDR_STRLEN];
  if (!a->family || !a->port) return ztna_addr_print_ip(a, buf);
  const char *fmt = a->family == 4 ? "%.56s:%u" : "[%.56s]:%u";
  snprintf(buf, ZTNA_ADDR_STRLEN, fmt, ztna_addr_print_ip(a, ip), a->port);
  return buf;
}

/* --- prefixes */

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits) {
  if (memcmp(a, b, bits / 8) != 0) return false;
  return bits % 8 == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8) == 0;
}

static bool host_bits_are_zero(const struct ztna_prefix *p) {
  unsigned i = p->bits / 8;
  if (p->bits % 8 && (uint8_t)(p->addr.ip[i++] << p->bits % 8)) return false;
  for (; i < sizeof(p->addr.ip); i++)
    if (p->addr.ip[i]) return false;
  return true;
}

int ztna_prefix_parse(struct ztna_prefix *p, const char *text) {
  struct ztna_prefix got = {0};
  uint32_t bits;
  const char *slash = strchr(text, '/');
  if (!slash || !parse_ip(&got.addr, text, slash) || got.addr.scope)
    return ZTNA_EMALFORMED;
  /* A v4-mapped one: are its bits counted from 0 or from 96? */
  if (got.addr.family == 4 && memchr(text, ':', (size_t)(slash - text)))
    return ZTNA_EMALFORMED;
  uint32_t max = got.addr.family == 4 ? 32 : 128;
  if (!number(slash + 1, slash + strlen(slash), max, &bits))
    return ZTNA_EMALFORMED;
  got.bits = (uint8_t)bits;
  if (!host_bits_are_zero(&got)) return ZTNA_EMALFORMED;
  *p = got;
  return 0;
}

char *ztna_prefix_print(const struct ztna_prefix *p, char *buf) {
  size_t n = strlen(ztna_addr_print_ip(&p->addr, buf));
  snprintf(buf + n, ZTNA_ADDR_STRLEN - n, "/%u", p->bits);
  return buf;
}

bool ztna_prefix_has(const struct ztna_prefix *p, const struct ztna_addr *a) {
  return p->addr.family && p->addr.family == a->family &&
         same_bits(p->addr.ip, a->ip, p->bits);
}

bool ztna_prefix_overlaps(const struct ztna_prefix *a,
                          const struct ztna_prefix *b) {
  return a->bits < b->bits ? ztna_prefix_has(a, &b->addr)
                           : ztna_prefix_has(b, &a->addr);
}

/* --- kinds */

bool ztna_addr_is_unspecified(const struct ztna_addr *a) {
  static const uint8_t zero[16];
  return memcmp(a->ip, zero, sizeof(zero)) == 0;
}

bool ztna_addr_is_loopback(const struct ztna_addr *a) {
  static const uint8_t one[16] = {[15] = 1};
  return a->family == 4 ? a->ip[0] == 127
                        : a->family == 6 && memcmp(a->ip, one, 16) == 0;
}

bool ztna_addr_is_multicast(const struct ztna_addr *a) {
  return a->family == 4 ? a->ip[0] >> 4 == 14
                        : a->family == 6 && a->ip[0] == 0xff;
}

bool ztna_addr_is_link_local(const struct ztna_addr *a) {
  return a->family == 4
             ? a->ip[0] == 169 && a->ip[1] == 254
             : a->family == 6 && a->ip[0] == 0xfe && a->ip[1] >> 6 == 2;
}

/* --- the system's form */

size_t ztna_addr_to_sockaddr(const struct ztna_addr *a, void *ss) {
  if (a->family == 4) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    memcpy(&in.sin_addr, a->ip, 4);
    memcpy(ss, &in, sizeof(in));
    return sizeof(in);
  }
  if (a->family != 6) return 0;
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                             .sin6_port = htons(a->port),
                             .sin6_scope_id = a->scope};
  memcpy(&in6.sin6_addr, a->ip, 16);
  memcpy(ss, &in6, sizeof(in6));
  return sizeof(in6);
}

int ztna_addr_from_sockaddr(struct ztna_addr *a, const void *ss) {
  struct sockaddr sa;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
  memcpy(&sa, ss, sizeof(sa));
  if (sa.sa_family == AF_INET) {
    memcpy(&in, ss, sizeof(in));
    *a = ztna_addr_v4(&in.sin_addr, ntohs(in.sin_port));
    return 0;
  }
  if (sa.sa_family != AF_INET6) return ZTNA_EINVAL;
  memcpy(&in6, ss, sizeof(in6));
  *a = ztna_addr_v6(&in6.sin6_addr, ntohs(in6.sin6_port), in6.sin6_scope_id);
  return 0;
}
