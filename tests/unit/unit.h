/* unit.h - what the tests of the core share. */
#ifndef ZTNA_TEST_UNIT_H
#define ZTNA_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/addr.h>
#include <ztna/err.h>

#include "base/rng.h"

#define TEST(f) cmocka_unit_test(f)
#define TEST_WITH(f, setup, teardown) \
  cmocka_unit_test_setup_teardown(f, setup, teardown)
#define N_OF(v) (sizeof(v) / sizeof(*(v)))

/* xorshift64*: the same in every run. */
static inline uint64_t test_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static inline void test_rng_fill(void *ctx, void *buf, size_t len) {
  uint8_t *b = buf;
  for (size_t i = 0; i < len; i++) b[i] = (uint8_t)(test_random(ctx) >> 56);
}

/* Start with state != 0. */
static inline struct rng test_rng(uint64_t *state) {
  return (struct rng){.fill = test_rng_fill, .ctx = state};
}

static inline struct ztna_addr test_addr(const char *text) {
  struct ztna_addr a;
  if (ztna_addr_parse(&a, text) < 0) fail_msg("no address: %s", text);
  return a;
}

#endif
