/* fuzz_wire.c - any bytes as a DATAGRAM of a link: what parses is written and
 * parses the same again, and what is written twice is the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "codec/wire.h"
#include "fuzz/fuzz.h"

#define SEED(text) \
  { text, sizeof(text) - 1 }
const struct fuzz_seed fuzz_seeds[] = {
    SEED("\x02"
         "E\0\0\x14 a packet"),
    SEED("\x7f\xfe"
         "E\0\0\x14 of a far context"),
    SEED("\xc0\0\0\0\0\0\0\x04"
         "in a long form"),
    SEED("\0\x01"
         "cookies!"
         "\0\0\0\0"),
    SEED("\0\x02"
         "cookies!"),
    SEED("\0\x03\x02\0\x07\x00"
         "first"),
    SEED("\0\x03\x40\x80\0\x07\x81"
         "last"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

static size_t encode(uint8_t *to, const struct wire_dgram *d) {
  size_t n = wire_write_head(to, d);

  assert(n <= WIRE_FRAGMENT_HEAD + 8);
  if (d->len) memcpy(to + n, d->data, d->len);
  return n + d->len;
}

static void check_same(const struct wire_dgram *a, const struct wire_dgram *b) {
  assert(a->context == b->context && a->type == b->type);
  assert(a->frag_context == b->frag_context && a->frag_id == b->frag_id);
  assert(a->frag_index == b->frag_index && a->frag_last == b->frag_last);
  assert(a->len == b->len && !memcmp(a->data, b->data, a->len));
  assert(!a->cookie == !b->cookie);
  assert(!a->cookie || !memcmp(a->cookie, b->cookie, WIRE_COOKIE_LEN));
}

static void check_parts(const struct wire_dgram *d, const uint8_t *data,
                        size_t len) {
  assert(d->data >= data && d->data + d->len == data + len);
  if (d->context) {
    assert(d->len && !d->type && !d->cookie);
  } else if (d->type == WIRE_FRAGMENT) {
    assert(d->len && d->frag_context && d->frag_index <= 1);
  } else {
    assert(d->type == WIRE_ECHO_REQUEST || d->type == WIRE_ECHO_REPLY);
    assert(d->cookie + WIRE_COOKIE_LEN == d->data);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  struct wire_dgram d, again;
  uint8_t *one, *two;
  size_t n;

  if (wire_parse(&d, data, len) < 0) return 0;
  check_parts(&d, data, len);
  one = malloc(len + WIRE_FRAGMENT_HEAD + 8);
  two = malloc(len + WIRE_FRAGMENT_HEAD + 8);
  n = encode(one, &d);
  assert(n <= len); /* numbers in a long form become shorter */
  assert(wire_parse(&again, one, n) == 0);
  check_same(&d, &again);
  assert(encode(two, &again) == n && !memcmp(one, two, n));
  free(one);
  free(two);
  return 0;
}
