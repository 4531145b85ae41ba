/* fuzz_stun.c - any bytes as a STUN message: what is read is written and is
 * read the same again, what is written twice is the same bytes, and its
 * integrity is right by the key it was written with and by no other. */
#include <stdlib.h>
#include <string.h>

#include "codec/stun.h"
#include "fuzz/fuzz.h"
#include "transport/mac.h"
#include "unit/stun_samples.h"

static const char bare[] = "\0\x01\0\0\x21\x12\xa4\x42"
                           "transaction!";
static const char question[] = "\0\x01\0\x18\x21\x12\xa4\x42"
                               "transaction!"
                               "\0\x03\0\x04\0\0\0\x06"
                               "\0\x26\0\x04\0\0\0\0"
                               "\x7f\xff\0\x03new\0";
static const char answer[] = "\1\1\0\x24\x21\x12\xa4\x42"
                             "transaction!"
                             "\0\x01\0\x08\0\x01\x04\xd2\xc0\0\x02\x01"
                             "\x80\x2b\0\x08\0\x01\x0d\x96\xc0\0\x02\x02"
                             "\x80\x2c\0\x08\0\x01\x0d\x97\xc0\0\x02\x03";
static const char refusal[] = "\1\x11\0\x14\x21\x12\xa4\x42"
                              "transaction!"
                              "\0\x09\0\x06\0\0\x04\x14no\0\0"
                              "\0\x0a\0\x04\0\x03\x7f\xff";

#define SEED(bytes) \
  { bytes, sizeof(bytes) }
#define SEED_TEXT(text) \
  { text, sizeof(text) - 1 }
const struct fuzz_seed fuzz_seeds[] = {
    SEED(sample_request),
    SEED(sample_response_v4),
    SEED(sample_response_v6),
    SEED(sample_long_term),
    SEED(sample_long_term_sha256),
    SEED_TEXT(bare),
    SEED_TEXT(question),
    SEED_TEXT(answer),
    SEED_TEXT(refusal),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

static const uint8_t other_key[] = "another key";

/* What is not written: what we do not know, and where its integrity stood. */
static void forget(struct stun_msg *m) {
  m->unknown = 0;
  m->integrity_at = 0;
  if (m->class == STUN_ERROR) return;
  memset(m->listed, 0, sizeof(m->listed));
  m->n_listed = 0;
}

static void check_parts(const struct stun_msg *m, const uint8_t *data,
                        size_t len) {
  assert(stun_is(data, len) && len <= STUN_READ_MAX);
  assert(m->class <= STUN_ERROR && m->method < 0x100);
  assert(m->username_len <= STUN_USERNAME_MAX);
  assert(m->n_listed <= STUN_UNKNOWN_MAX && m->padding <= len);
  assert(!m->error || (m->error >= 300 && m->error < 700));
  for (int kind = 0; kind <= STUN_HMAC_SHA256; kind++)
    stun_verify(m, data, (enum stun_integrity)kind, other_key,
                sizeof(other_key), mac_stun);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  const uint8_t *key = (const uint8_t *)SAMPLE_PASSWORD;
  uint8_t one[STUN_MAX], two[STUN_MAX], *exact;
  struct stun_msg m, again;
  int n;

  if (stun_read(&m, data, len) < 0) return 0;
  check_parts(&m, data, len);
  n = stun_write(one, &m, key, 22, mac_stun);
  if (n < 0) { /* a second address for one of the old form makes it longer */
    assert(len > STUN_MAX || m.legacy_mapped);
    return 0;
  }
  exact = malloc((size_t)n);
  memcpy(exact, one, (size_t)n);
  assert(stun_read(&again, exact, (size_t)n) == 0);
  if (m.integrity) {
    assert(stun_verify(&again, exact, m.integrity, key, 22, mac_stun));
    assert(!stun_verify(&again, exact, m.integrity, other_key,
                        sizeof(other_key), mac_stun));
  }
  assert(stun_write(two, &again, key, 22, mac_stun) == n);
  assert(!memcmp(one, two, (size_t)n));
  forget(&m);
  forget(&again);
  assert(!memcmp(&m, &again, sizeof(m)));
  free(exact);
  return 0;
}
