/* fuzz_socks5.c - what SOCKS clients send: a message is taken whole or not at
 * all, asks for no byte that is not its own, and what was read is written so
 * that it reads the same. */
#include <string.h>

#include <ztna/err.h>

#include "fuzz.h"
#include "host/socks5.h"

#define SEED(s) \
  { s, sizeof(s) - 1 }

const struct fuzz_seed fuzz_seeds[] = {
    SEED("\5\1\0"),
    SEED("\5\3\2\1\0"),
    SEED("\5\1\0\1\12\144\0\2\0\120"),
    SEED("\5\1\0\3\7web-app\0\120"),
    SEED("\5\3\0\4\375\132\0\20\0\0\0\0\0\0\0\0\0\0\0\20\0\120"),
    SEED("\0\0\0\3\4Dns.\0\065data"),
    SEED("\0\0\0\1\12\144\0\2\47\17"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

/* One byte after the other, as much as is asked for: where it ends. */
static int read_by_need(const uint8_t *data, size_t len, bool greeting,
                        struct socks5_message *m, uint8_t *method) {
  size_t have = 0, need = 0;

  for (int turn = 0;; turn++) {
    int n = greeting ? socks5_read_greeting(method, data, have, &need)
                     : socks5_read_request(m, data, have, &need);

    if (n) return n;
    assert(turn < 8 && need > have && need <= SOCKS5_MESSAGE_MAX);
    if (need > len) return 0;
    have = need;
  }
}

static void check_same(const struct socks5_message *a,
                       const struct socks5_message *b) {
  assert(a->what == b->what && a->port == b->port);
  assert(!strcmp(a->name, b->name));
  assert(a->name[0] || ztna_addr_same_ip(&a->addr, &b->addr));
}

static void check_request(const uint8_t *data, size_t len) {
  struct socks5_message a, b;
  uint8_t bytes[SOCKS5_MESSAGE_MAX];
  char text[ZTNA_ADDR_STRLEN];
  size_t need = 0, n;
  int rc = socks5_read_request(&a, data, len, &need);
  int by_need = read_by_need(data, len, false, &b, NULL);

  assert(rc == by_need || (rc < 0 && by_need <= 0));
  if (rc <= 0) return;
  assert((size_t)rc <= len);
  assert(strlen(socks5_target(&a, text)) > 0);
  n = socks5_write_message(bytes, &a);
  assert(n <= (size_t)rc);
  assert(socks5_read_request(&b, bytes, n, &need) == (int)n);
  check_same(&a, &b);
  for (size_t i = 0; i < n; i++) { /* no beginning is a whole one */
    assert(socks5_read_request(&b, bytes, i, &need) == 0);
    assert(need > i && need <= n);
  }
}

static void check_datagram(const uint8_t *data, size_t len) {
  struct socks5_message a, b;
  uint8_t bytes[3 + SOCKS5_MESSAGE_MAX];
  int rc = socks5_read_datagram(&a, data, len);
  size_t n;

  assert(rc == ZTNA_EMALFORMED || (rc > 0 && (size_t)rc <= len));
  if (rc < 0) return;
  n = socks5_write_datagram(bytes, &a);
  assert(n <= (size_t)rc && socks5_read_datagram(&b, bytes, n) == (int)n);
  check_same(&a, &b);
}

static void check_greeting(const uint8_t *data, size_t len) {
  uint8_t method = 1, again = 1;
  size_t need = 0;
  int rc = socks5_read_greeting(&method, data, len, &need);
  int by_need = read_by_need(data, len, true, NULL, &again);

  assert(rc == by_need || (rc < 0 && by_need <= 0));
  if (rc <= 0) return;
  assert((size_t)rc <= len && method == again);
  assert(method == SOCKS5_NO_AUTH || method == SOCKS5_NO_METHOD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  check_greeting(data, len);
  check_request(data, len);
  check_datagram(data, len);
  return 0;
}
