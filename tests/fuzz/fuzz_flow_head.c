/* fuzz_flow_head.c - any bytes as what stands in front of a TCP flow, from
 * either end: what parses is written and parses the same again, however its
 * bytes were cut; what is not whole is no mistake, and what is a mistake does
 * not become right by more bytes. */
#include <string.h>
#include <ztna/err.h>

#include "codec/flow_head.h"
#include "fuzz/fuzz.h"

#define SEED(text) \
  { text, sizeof(text) - 1 }
const struct fuzz_seed fuzz_seeds[] = {
    SEED("\x11"
         "flow id!"
         "\x02\x04"
         "\x0a\x64\x00\x02\x00\x50\x64\x40\x00\x09\xc3\x50"
         "GET"),
    SEED("\x11"
         "flow id!"
         "\x7f\xfe\x06"
         "\xfd\x5a\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x01\xbb"
         "\xfd\x5b\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\xff\xff"),
    SEED("\x12"
         "flow id!"
         "\xc0\0\0\x01\0\0\0\0"),
    SEED("\x13"
         "flow id!"
         "\x40\x80"),
    SEED("\0\x80\0\x01\0"),
    SEED("\x05"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

static void check_head(const struct flow_head *h, size_t len) {
  uint8_t again[FLOW_HEAD_MAX + 1];
  struct flow_head h2;
  size_t n = flow_head_write(again, h);

  assert(n <= len && n <= FLOW_HEAD_MAX); /* numbers in a long form shrink */
  assert(flow_head_read(&h2, again, n) == (int)n);
  assert(!memcmp(h, &h2, sizeof(*h)));
  if (h->kind != FLOW_OPEN) return;
  assert(h->dst.family == h->src.family && h->dst.port && h->src.port);
}

/* As a connector reads: more and more of it, FLOW_HEAD_MAX at most. */
static void head(const uint8_t *data, size_t len) {
  struct flow_head h;
  int rc = 0;

  if (len > FLOW_HEAD_MAX) len = FLOW_HEAD_MAX;
  for (size_t n = 0; n <= len && !rc; n++) {
    rc = flow_head_read(&h, data, n);
    if (rc > 0) assert((size_t)rc == n);
  }
  assert(flow_head_read(&h, data, len) == rc);
  assert(rc || len < FLOW_HEAD_MAX);
  if (rc > 0) check_head(&h, (size_t)rc);
}

static void answer(const uint8_t *data, size_t len, enum flow_kind kind) {
  uint8_t again[FLOW_ANSWER_MAX];
  struct flow_answer a, a2;
  int rc = flow_answer_read(&a, kind, data, len);
  size_t n;

  assert(rc >= 0 && rc <= FLOW_ANSWER_MAX);
  assert(rc || len < FLOW_ANSWER_MAX);
  if (!rc) return;
  n = flow_answer_write(again, &a, kind);
  assert(n <= (size_t)rc);
  assert(flow_answer_read(&a2, kind, again, n) == (int)n);
  assert(a.reason == a2.reason && a.count == a2.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  head(data, len);
  answer(data, len, FLOW_OPEN);
  answer(data, len, FLOW_RESUME);
  answer(data, len, FLOW_MOVE);
  return 0;
}
