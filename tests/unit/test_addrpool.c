/* test_addrpool.c - addresses that stay with who has them, equal everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "part/addrpool.h"

static struct ztna_addr addr(const char *text) {
  struct ztna_addr a;
  assert_int_equal(ztna_addr_parse(&a, text), 0);
  return a;
}

static struct ztna_prefix prefix(const char *text) {
  struct ztna_prefix p;
  assert_int_equal(ztna_prefix_parse(&p, text), 0);
  return p;
}

static struct addrpool *make(const char *text, size_t max) {
  struct ztna_prefix p = prefix(text);
  struct addrpool *pool = addrpool_new(&p, max);
  assert_non_null(pool);
  return pool;
}

static char *name(int i) {
  static char text[8][32];
  static int turn;
  turn = (turn + 1) % 8;
  snprintf(text[turn], sizeof(text[0]), "agent-%d", i);
  return text[turn];
}

static struct ztna_addr take(struct addrpool *p, const char *key) {
  struct ztna_addr a;
  assert_int_equal(addrpool_take(p, key, &a), 0);
  return a;
}

static void every_key_gets_an_address_of_its_own_and_keeps_it(void **state) {
  struct addrpool *p = make("100.64.0.0/16", 5000);
  struct ztna_prefix within = prefix("100.64.0.0/16");
  struct ztna_addr *got = calloc(5000, sizeof(*got));
  bool *used = calloc(65536, sizeof(*used));
  for (int i = 0; i < 5000; i++) {
    got[i] = take(p, name(i));
    assert_true(ztna_prefix_has(&within, &got[i]));
    assert_int_equal(got[i].port, 0);
    int low = got[i].ip[2] << 8 | got[i].ip[3];
    assert_false(used[low]);
    used[low] = true;
  }
  assert_false(used[0] || used[1] || used[65535]);
  struct ztna_addr a;
  assert_int_equal(addrpool_take(p, "one too many", &a), ZTNA_EFULL);
  for (int i = 0; i < 5000; i++) {
    a = take(p, name(i));
    assert_true(ztna_addr_equal(&a, &got[i]));
  }
  free(got);
  free(used);
  addrpool_free(p);
}

static void a_small_pool_gives_every_address_but_the_special_ones(void **s) {
  struct addrpool *p = make("10.0.0.0/29", 100);
  bool used[8] = {false};
  for (int i = 0; i < 5; i++) used[take(p, name(i)).ip[3]] = true;
  for (int i = 0; i < 8; i++) assert_int_equal(used[i], i >= 2 && i <= 6);
  struct ztna_addr a;
  assert_int_equal(addrpool_take(p, "x", &a), ZTNA_EFULL);
  addrpool_free(p);
  p = make("fd00::/126", 100);
  assert_int_not_equal(take(p, "a").ip[15], take(p, "b").ip[15]);
  assert_int_equal(addrpool_take(p, "c", &a), ZTNA_EFULL);
  addrpool_free(p);
}

static void prefixes_without_room_are_refused(void **state) {
  const char *small[] = {"10.0.0.0/32", "10.0.0.0/31", "fd00::/128",
                         "fd00::/127"};
  for (int i = 0; i < 4; i++) {
    struct ztna_prefix p = prefix(small[i]);
    assert_null(addrpool_new(&p, 10));
  }
  struct addrpool *p = make("10.0.0.0/30", 10);
  assert_int_equal(take(p, "only").ip[3], 2);
  addrpool_free(p);
}

static void large_v6_prefixes_work(void **state) {
  const char *large[] = {"fd5a:64::/64", "fd5a::/32", "::/0", "fd00::/65"};
  for (int i = 0; i < 4; i++) {
    struct ztna_prefix within = prefix(large[i]);
    struct addrpool *p = make(large[i], 10);
    struct ztna_addr a = take(p, "a"), b = take(p, "b");
    assert_true(ztna_prefix_has(&within, &a) && ztna_prefix_has(&within, &b));
    assert_false(ztna_addr_equal(&a, &b));
    addrpool_free(p);
  }
}

static void a_restart_gives_the_same_addresses(void **state) {
  struct addrpool *p = make("100.64.0.0/16", 100);
  struct addrpool *q = make("100.64.0.0/16", 9999);
  for (int i = 0; i < 50; i++) {
    struct ztna_addr a = take(p, name(i)), b = take(q, name(i));
    assert_true(ztna_addr_equal(&a, &b));
  }
  addrpool_free(p);
  addrpool_free(q);
}

static void a_dropped_address_waits_for_its_owner(void **state) {
  struct addrpool *p = make("10.0.0.0/28", 100); /* 13 hosts */
  struct ztna_addr first = take(p, "first");
  addrpool_drop(p, "first");
  addrpool_drop(p, "first");
  addrpool_drop(p, "nobody");
  for (int i = 0; i < 12; i++) {
    struct ztna_addr a = take(p, name(i));
    assert_false(ztna_addr_equal(&a, &first));
  }
  struct ztna_addr again = take(p, "first");
  assert_true(ztna_addr_equal(&again, &first));
  struct ztna_addr a;
  assert_int_equal(addrpool_take(p, "last", &a), ZTNA_EFULL);
  /* Of several, the one dropped first goes first. */
  addrpool_drop(p, "first");
  addrpool_drop(p, name(3));
  addrpool_drop(p, "first"); /* once more does not make it later */
  a = take(p, "last");
  assert_true(ztna_addr_equal(&a, &first));
  assert_int_equal(addrpool_take(p, name(3), &a), 0);
  assert_int_equal(addrpool_take(p, "first", &a), ZTNA_EFULL);
  addrpool_free(p);
}

static void the_bound_counts_dropped_ones_last(void **state) {
  struct addrpool *p = make("100.64.0.0/16", 3);
  for (int i = 0; i < 1000; i++) {
    take(p, name(i));
    if (i >= 2) addrpool_drop(p, name(i - 2));
  }
  struct ztna_addr a;
  assert_int_equal(addrpool_take(p, "x", &a), 0); /* in place of a dropped */
  assert_int_equal(addrpool_take(p, "y", &a), ZTNA_EFULL);
  a = addr("100.64.200.200");
  assert_int_equal(addrpool_reserve(p, &a), ZTNA_EFULL);
  addrpool_drop(p, "x");
  assert_int_equal(addrpool_reserve(p, &a), 0);
  addrpool_free(p);
}

static void a_reserved_address_is_given_to_nobody(void **state) {
  struct addrpool *p = make("10.0.0.0/29", 100);
  struct ztna_addr a = addr("10.0.0.4"), b = addr("10.0.0.1");
  assert_int_equal(addrpool_reserve(p, &a), 0);
  assert_int_equal(addrpool_reserve(p, &a), ZTNA_EEXIST);
  assert_int_equal(addrpool_reserve(p, &b), 0); /* it is not given anyway */
  assert_int_equal(addrpool_reserve(p, &b), ZTNA_EEXIST);
  b = addr("10.0.0.8");
  assert_int_equal(addrpool_reserve(p, &b), ZTNA_EINVAL);
  b = addr("fd00::1");
  assert_int_equal(addrpool_reserve(p, &b), ZTNA_EINVAL);
  for (int i = 0; i < 4; i++) assert_int_not_equal(take(p, name(i)).ip[3], 4);
  assert_int_equal(addrpool_take(p, "x", &b), ZTNA_EFULL);
  a = take(p, name(0));
  assert_int_equal(addrpool_reserve(p, &a), ZTNA_EEXIST);
  addrpool_drop(p, name(0));
  assert_int_equal(addrpool_reserve(p, &a), 0);
  assert_int_equal(addrpool_take(p, name(0), &b), ZTNA_EFULL);
  addrpool_free(p);
}

static void relays_agree_on_a_set_of_services(void **state) {
  enum { N = 200 };
  struct ztna_prefix p = prefix("10.100.0.0/24");
  static char text[N][16];
  const char *ids[N], *mixed[N];
  struct ztna_addr a[N], b[N],
      taken[] = {addr("10.100.0.2"), addr("10.1.1.1"), addr("10.100.0.2")};
  for (int i = 0; i < N; i++) {
    snprintf(text[i], sizeof(text[i]), "svc-%d", i);
    ids[i] = text[i];
    mixed[i * 7 % N] = text[i];
  }
  addrpool_assign(&p, ids, N, taken, 3, a);
  addrpool_assign(&p, mixed, N, taken, 3, b);
  bool used[256] = {[0] = true, [1] = true, [2] = true, [255] = true};
  for (int i = 0; i < N; i++) {
    assert_true(ztna_addr_equal(&a[i], &b[i * 7 % N]));
    assert_true(ztna_prefix_has(&p, &a[i]));
    assert_false(used[a[i].ip[3]]);
    used[a[i].ip[3]] = true;
  }
}

/* Another release must not move services: the numbers are a promise. */
static void a_services_address_is_the_same_for_ever(void **state) {
  const char *ids[] = {"echo-service", "web-app"};
  struct ztna_addr a[2];
  char text[2][ZTNA_ADDR_STRLEN];
  struct ztna_prefix p = prefix("10.100.0.0/24");
  addrpool_assign(&p, ids, 2, NULL, 0, a);
  for (int i = 0; i < 2; i++) ztna_addr_print(&a[i], text[i]);
  assert_string_equal(text[0], "10.100.0.72");
  assert_string_equal(text[1], "10.100.0.216");
  p = prefix("fd5a:10::/64");
  addrpool_assign(&p, ids, 2, NULL, 0, a);
  for (int i = 0; i < 2; i++) ztna_addr_print(&a[i], text[i]);
  assert_string_equal(text[0], "fd5a:10::860:ae84:d308:a855");
  assert_string_equal(text[1], "fd5a:10::4ef3:ad47:f463:76a");
}

static void services_beyond_the_pool_get_no_address(void **state) {
  struct ztna_prefix p = prefix("10.100.0.0/29");
  const char *ids[] = {"a", "b", "c", "d", "e", "f", "a"};
  struct ztna_addr a[7];
  addrpool_assign(&p, ids, 7, NULL, 0, a);
  for (int i = 0; i < 6; i++) assert_int_equal(a[i].family, i < 5 ? 4 : 0);
  assert_true(ztna_addr_equal(&a[6], &a[0]));
  addrpool_assign(&p, ids, 0, NULL, 0, a);
  p = prefix("10.100.0.0/32");
  addrpool_assign(&p, ids, 2, NULL, 0, a);
  assert_int_equal(a[0].family, 0);
  assert_int_equal(a[1].family, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_key_gets_an_address_of_its_own_and_keeps_it),
      cmocka_unit_test(a_small_pool_gives_every_address_but_the_special_ones),
      cmocka_unit_test(prefixes_without_room_are_refused),
      cmocka_unit_test(large_v6_prefixes_work),
      cmocka_unit_test(a_restart_gives_the_same_addresses),
      cmocka_unit_test(a_dropped_address_waits_for_its_owner),
      cmocka_unit_test(the_bound_counts_dropped_ones_last),
      cmocka_unit_test(a_reserved_address_is_given_to_nobody),
      cmocka_unit_test(relays_agree_on_a_set_of_services),
      cmocka_unit_test(a_services_address_is_the_same_for_ever),
      cmocka_unit_test(services_beyond_the_pool_get_no_address),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
