/* fuzz_addr.c - text that is an address or a prefix prints to text that is the
 * same one; what the system gives as an address goes back to it. */
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <ztna/addr.h>
#include <ztna/err.h>

#include "fuzz.h"

#define SEED(s) \
  { s, sizeof(s) - 1 }

const struct fuzz_seed fuzz_seeds[] = {
    SEED("192.0.2.1"),
    SEED("192.0.2.1:53"),
    SEED("2001:db8::1"),
    SEED("[2001:db8::1]:65535"),
    SEED("fe80::1%2"),
    SEED("[fe80::1%4294967295]:4433"),
    SEED("::ffff:192.0.2.1"),
    SEED("::"),
    SEED("10.100.0.0/24"),
    SEED("fd5a:10::/64"),
    SEED("1:2:3:4:5:6:7:8/128"),
    SEED("fe80:1111:2222:3333:4444:5555:6666:7777%4294967295"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

/* Equal addresses are equal bytes. */
static void check_same(const struct ztna_addr *a, const struct ztna_addr *b) {
  assert(ztna_addr_equal(a, b) && ztna_addr_cmp(a, b) == 0);
  assert(memcmp(a, b, sizeof(*a)) == 0);
}

static void check_addr_text(const char *text) {
  char buf[ZTNA_ADDR_STRLEN];
  struct ztna_addr a, b;
  int rc = ztna_addr_parse(&a, text);
  assert(rc == 0 || rc == ZTNA_EMALFORMED);
  if (rc < 0) return;
  assert(a.family == 4 || a.family == 6);
  assert(!a.scope || ztna_addr_is_link_local(&a));
  assert(ztna_addr_parse(&b, ztna_addr_print(&a, buf)) == 0);
  check_same(&a, &b);
  a.port = 0;
  assert(ztna_addr_parse(&b, ztna_addr_print_ip(&a, buf)) == 0);
  check_same(&a, &b);
}

static void check_prefix_text(const char *text) {
  char buf[ZTNA_ADDR_STRLEN];
  struct ztna_prefix a, b;
  int rc = ztna_prefix_parse(&a, text);
  assert(rc == 0 || rc == ZTNA_EMALFORMED);
  if (rc < 0) return;
  assert(ztna_prefix_parse(&b, ztna_prefix_print(&a, buf)) == 0);
  check_same(&a.addr, &b.addr);
  assert(a.bits == b.bits);
  assert(ztna_prefix_has(&a, &a.addr) && ztna_prefix_overlaps(&a, &b));
}

static void check_sockaddr(const uint8_t *data, size_t len) {
  struct sockaddr_storage in = {0}, out = {0};
  struct ztna_addr a, b;
  memcpy(&in, data, len < sizeof(in) ? len : sizeof(in));
  in.ss_family = len % 2 ? AF_INET : AF_INET6;
  assert(ztna_addr_from_sockaddr(&a, &in) == 0);
  assert(ztna_addr_to_sockaddr(&a, &out) ==
         (a.family == 4 ? sizeof(struct sockaddr_in)
                        : sizeof(struct sockaddr_in6)));
  assert(ztna_addr_from_sockaddr(&b, &out) == 0);
  check_same(&a, &b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  char *text = malloc(len + 1);
  if (len) memcpy(text, data, len);
  text[len] = 0;
  check_addr_text(text);
  check_prefix_text(text);
  check_sockaddr(data, len);
  free(text);
  return 0;
}
