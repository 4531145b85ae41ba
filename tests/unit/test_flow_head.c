/* test_flow_head.c - the bytes in front of a TCP flow. */
#include "unit/unit.h"

#include <ztna/err.h>

#include "codec/flow_head.h"

static struct ztna_addr addr(const char *text) {
  struct ztna_addr a;

  assert_int_equal(ztna_addr_parse(&a, text), 0);
  return a;
}

static const uint8_t open_v4[] = {0x11, 1,    2,    3,  4,  5,   6,    7,
                                  8,    0x42, 0x00, 4,  10, 100, 0,    2,
                                  0x1f, 0x90, 100,  64, 0,  1,   0xc0, 0x01};

static void an_open_is_these_bytes(void **state) {
  struct flow_head h = {.kind = FLOW_OPEN,
                        .id = {1, 2, 3, 4, 5, 6, 7, 8},
                        .context = 512,
                        .dst = addr("10.100.0.2:8080"),
                        .src = addr("100.64.0.1:49153")};
  uint8_t to[FLOW_HEAD_MAX];

  assert_int_equal(flow_head_write(to, &h), sizeof(open_v4));
  assert_memory_equal(to, open_v4, sizeof(open_v4));
}

static void every_kind_comes_back_as_it_was(void **state) {
  const struct flow_head heads[] = {
      {.kind = FLOW_OPEN,
       .context = 2,
       .dst = addr("[fd5a:10::2]:443"),
       .src = addr("[fd5a:64::1]:1")},
      {.kind = FLOW_RESUME, .id = {9}, .count = UINT64_C(1) << 40},
      {.kind = FLOW_MOVE, .id = {7}, .count = 64},
  };

  for (size_t i = 0; i < N_OF(heads); i++) {
    uint8_t to[FLOW_HEAD_MAX + 1];
    struct flow_head h;
    size_t n = flow_head_write(to, &heads[i]);

    to[n] = 0xaa; /* the first byte of the flow is not the head's */
    assert_int_equal(flow_head_read(&h, to, n + 1), n);
    assert_memory_equal(&h, &heads[i], sizeof(h));
    for (size_t part = 0; part < n; part++)
      assert_int_equal(flow_head_read(&h, to, part), 0);
  }
}

static void nonsense_is_malformed(void **state) {
  uint8_t bad[sizeof(open_v4)];
  struct flow_head h;
  const struct {
    size_t at;
    uint8_t value;
  } changes[] = {{0, 0x21}, {0, 0x10}, {0, 0x14}, {11, 5}, {16, 0}};

  for (size_t i = 0; i < N_OF(changes); i++) {
    memcpy(bad, open_v4, sizeof(bad));
    bad[changes[i].at] = changes[i].value;
    if (changes[i].at == 16) bad[17] = 0; /* port 0 */
    assert_int_equal(flow_head_read(&h, bad, sizeof(bad)), ZTNA_EMALFORMED);
  }
}

static void a_v4_address_in_the_clothes_of_v6_is_malformed(void **state) {
  struct flow_head h = {.kind = FLOW_OPEN,
                        .context = 2,
                        .dst = addr("[fd5a:10::2]:443"),
                        .src = addr("[fd5a:64::1]:1")};
  uint8_t to[FLOW_HEAD_MAX];
  size_t n = flow_head_write(to, &h);
  static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 1};

  memcpy(to + 11, mapped, sizeof(mapped));
  assert_int_equal(flow_head_read(&h, to, n), ZTNA_EMALFORMED);
}

static void answers_carry_a_count_only_to_what_asked_for_it(void **state) {
  const enum flow_kind kinds[] = {FLOW_OPEN, FLOW_RESUME, FLOW_MOVE};
  struct flow_answer yes = {.count = 300}, no = {.reason = 5}, got;
  uint8_t to[FLOW_ANSWER_MAX];

  for (size_t i = 0; i < N_OF(kinds); i++) {
    size_t n = flow_answer_write(to, &yes, kinds[i]);

    assert_int_equal(n, kinds[i] == FLOW_OPEN ? 1 : 3);
    assert_int_equal(flow_answer_read(&got, kinds[i], to, n), n);
    assert_int_equal(got.count, kinds[i] == FLOW_OPEN ? 0 : 300);
    if (n > 1) assert_int_equal(flow_answer_read(&got, kinds[i], to, 2), 0);
    assert_int_equal(flow_answer_write(to, &no, kinds[i]), 1);
    assert_int_equal(flow_answer_read(&got, kinds[i], to, 1), 1);
    assert_int_equal(got.reason, 5);
    assert_int_equal(flow_answer_read(&got, kinds[i], to, 0), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_open_is_these_bytes),
      cmocka_unit_test(every_kind_comes_back_as_it_was),
      cmocka_unit_test(nonsense_is_malformed),
      cmocka_unit_test(a_v4_address_in_the_clothes_of_v6_is_malformed),
      cmocka_unit_test(answers_carry_a_count_only_to_what_asked_for_it),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
