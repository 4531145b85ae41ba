/* test_proxy2.c - the header that tells a backend who is there. */
#include "unit/unit.h"

#include "codec/proxy2.h"

static const uint8_t flow[] = {1, 2, 3, 4, 5, 6, 7, 8};

static const uint8_t v4[] = {
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a,
    0x51, 0x55, 0x49, 0x54, 0x0a, 0x21,     /* version 2, PROXY */
    0x11,                                   /* AF_INET, STREAM */
    0x00, 0x1e,                             /* 30 bytes follow */
    100,  64,   0,    9,                    /* source */
    10,   100,  0,    2,                    /* destination */
    0xc0, 0x01, 0x00, 0x50,                 /* 49153, 80 */
    0x05, 0x00, 0x08, 1,    2,              /* PP2_TYPE_UNIQUE_ID */
    3,    4,    5,    6,    7,    8,        /**/
    0xe0, 0x00, 0x04, 'a',  ':',  '/',  '/' /* PP2_TYPE_MIN_CUSTOM */
};

static const uint8_t v6[] = {
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51,
    0x55, 0x49, 0x54, 0x0a, 0x21, 0x21, /* AF_INET6, STREAM */
    0x00, 0x24,                         /* 36 bytes follow */
    0xfd, 0x5a, 0,    0x64, 0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    9, /**/
    0xfd, 0x5a, 0,    0x10, 0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    2, /**/
    0x00, 0x01, 0x01, 0xbb};

static void a_v4_flow_is_these_bytes(void **state) {
  const struct proxy2 p = {.src = test_addr("100.64.0.9:49153"),
                           .dst = test_addr("10.100.0.2:80"),
                           .unique = flow,
                           .unique_len = sizeof(flow),
                           .identity = "a://"};
  uint8_t to[sizeof(v4)];

  assert_int_equal(proxy2_write(to, sizeof(to), &p), sizeof(v4));
  assert_memory_equal(to, v4, sizeof(v4));
}

static void a_v6_flow_is_these_bytes(void **state) {
  const struct proxy2 p = {.src = test_addr("[fd5a:64::9]:1"),
                           .dst = test_addr("[fd5a:10::2]:443"),
                           .identity = ""};
  uint8_t to[sizeof(v6)];

  assert_int_equal(proxy2_write(to, sizeof(to), &p), sizeof(v6));
  assert_memory_equal(to, v6, sizeof(v6));
}

static void what_does_not_fit_is_not_begun(void **state) {
  const struct proxy2 p = {.src = test_addr("100.64.0.9:49153"),
                           .dst = test_addr("10.100.0.2:80"),
                           .unique = flow,
                           .unique_len = sizeof(flow),
                           .identity = "a://"};
  uint8_t to[sizeof(v4)] = {0};

  assert_int_equal(proxy2_write(to, sizeof(v4) - 1, &p), ZTNA_ESIZE);
  assert_int_equal(to[0], 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_v4_flow_is_these_bytes),
      TEST(a_v6_flow_is_these_bytes),
      TEST(what_does_not_fit_is_not_begun),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
