#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "transport/seal.h"

static void count_fill(void *ctx, void *buf, size_t len) {
  static uint8_t n;
  for (uint8_t *b = buf; len--;) *b++ = n++;
}
static const struct rng rng = {.fill = count_fill};

static uint8_t state_key[SEAL_KEY] = "thirty-two bytes of a state key";
static uint8_t key[SEAL_KEY];
static const char ticket[] = "route 7f3a agent laptop-7";
static const char aad[] = "relay-eu1";

static int make_ticket(uint8_t *out, size_t room) {
  seal_key_derive(key, state_key, "resume");
  return seal(key, &rng, ticket, sizeof(ticket), aad, sizeof(aad), out, room);
}

static void what_was_sealed_comes_back(void **state) {
  uint8_t token[100], back[100];
  int n = make_ticket(token, sizeof(token));
  assert_int_equal(n, sizeof(ticket) + SEAL_OVERHEAD);
  assert_int_equal(
      unseal(key, token, (size_t)n, aad, sizeof(aad), back, sizeof(back)),
      sizeof(ticket));
  assert_memory_equal(back, ticket, sizeof(ticket));
}

static void nothing_can_be_sealed_too(void **state) {
  uint8_t token[SEAL_OVERHEAD], back[1];
  seal_key_derive(key, state_key, "resume");
  assert_int_equal(seal(key, &rng, NULL, 0, NULL, 0, token, sizeof(token)),
                   SEAL_OVERHEAD);
  assert_int_equal(unseal(key, token, SEAL_OVERHEAD, NULL, 0, back, 0), 0);
}

static void every_flipped_bit_is_noticed(void **state) {
  uint8_t token[100], back[100], zero[100] = {0};
  int n = make_ticket(token, sizeof(token));
  for (int bit = 0; bit < n * 8; bit++) {
    token[bit / 8] ^= (uint8_t)(1 << bit % 8);
    memset(back, 0, sizeof(back));
    assert_int_equal(
        unseal(key, token, (size_t)n, aad, sizeof(aad), back, sizeof(back)),
        ZTNA_EMALFORMED);
    assert_memory_equal(back, zero, sizeof(zero));
    token[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  for (int len = 0; len < n; len++)
    assert_int_equal(
        unseal(key, token, (size_t)len, aad, sizeof(aad), back, sizeof(back)),
        ZTNA_EMALFORMED);
}

static void other_aad_key_or_label_does_not_open(void **state) {
  uint8_t token[100], back[100], other[SEAL_KEY];
  size_t n = (size_t)make_ticket(token, sizeof(token));
  assert_int_equal(unseal(key, token, n, "relay-eu2", 10, back, sizeof(back)),
                   ZTNA_EMALFORMED);
  assert_int_equal(unseal(key, token, n, NULL, 0, back, sizeof(back)),
                   ZTNA_EMALFORMED);
  seal_key_derive(other, state_key, "retry");
  assert_int_equal(
      unseal(other, token, n, aad, sizeof(aad), back, sizeof(back)),
      ZTNA_EMALFORMED);
  state_key[0] ^= 1;
  seal_key_derive(other, state_key, "resume");
  state_key[0] ^= 1;
  assert_int_equal(
      unseal(other, token, n, aad, sizeof(aad), back, sizeof(back)),
      ZTNA_EMALFORMED);
}

static void same_ticket_twice_looks_different(void **state) {
  uint8_t a[100], b[100];
  int n = make_ticket(a, sizeof(a));
  make_ticket(b, sizeof(b));
  assert_memory_not_equal(a, b, (size_t)n);
}

static void too_little_room_is_said(void **state) {
  uint8_t token[100], back[100];
  assert_int_equal(make_ticket(token, sizeof(ticket) + SEAL_OVERHEAD - 1),
                   ZTNA_ESIZE);
  size_t n = (size_t)make_ticket(token, sizeof(token));
  assert_int_equal(
      unseal(key, token, n, aad, sizeof(aad), back, sizeof(ticket) - 1),
      ZTNA_ESIZE);
}

static void key_and_hash_are_the_standard_ones(void **state) {
  /* RFC 5869 has no case with a 32-byte secret and an empty salt:
   * openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:00..1f
   *   -kdfopt info:resume HKDF */
  static const uint8_t want_key[] = {
      0x54, 0x6A, 0x5A, 0x37, 0xAC, 0x54, 0x7D, 0xD0, 0xF1, 0xA4, 0xDE,
      0xDD, 0x6C, 0x8A, 0x41, 0x74, 0xC2, 0xF4, 0xBE, 0xCF, 0xC8, 0x44,
      0x21, 0x55, 0x79, 0x44, 0x86, 0x8E, 0x12, 0x86, 0x27, 0x23};
  /* FIPS 180-4: "abc" */
  static const uint8_t want_hash[] = {
      0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
      0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
      0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
  uint8_t secret[SEAL_KEY], got[32];
  for (size_t i = 0; i < sizeof(secret); i++) secret[i] = (uint8_t)i;
  seal_key_derive(got, secret, "resume");
  assert_memory_equal(got, want_key, sizeof(want_key));
  seal_hash(got, "abc", 3);
  assert_memory_equal(got, want_hash, sizeof(want_hash));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_sealed_comes_back),
      cmocka_unit_test(nothing_can_be_sealed_too),
      cmocka_unit_test(every_flipped_bit_is_noticed),
      cmocka_unit_test(other_aad_key_or_label_does_not_open),
      cmocka_unit_test(same_ticket_twice_looks_different),
      cmocka_unit_test(too_little_room_is_said),
      cmocka_unit_test(key_and_hash_are_the_standard_ones),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
