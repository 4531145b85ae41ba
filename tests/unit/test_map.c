/* test_map.c - the hash table, and SipHash against its authors' numbers. */
#include "unit.h"

#include "base/map.h"

static uint64_t seed;
static struct rng rng;

static int setup(void **state) {
  seed = 1;
  rng = test_rng(&seed);
  return 0;
}

static void siphash_gives_its_authors_test_vectors(void **state) {
  /* vectors_sip64 of the reference implementation: key 00..0f, input the first
   * n of 00 01 02 ... */
  static const struct {
    size_t len;
    uint64_t hash;
  } v[] = {
      {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
      {2, UINT64_C(0x0d6c8009d9a94f5a)},  {7, UINT64_C(0xab0200f58b01d137)},
      {8, UINT64_C(0x93f5f5799a932462)},  {9, UINT64_C(0x9e0082df0ba9e4b0)},
      {15, UINT64_C(0xa129ca6149be45e5)},
  };
  uint8_t in[64], k[16];
  for (int i = 0; i < 64; i++) in[i] = (uint8_t)i;
  memcpy(k, in, 16);
  uint64_t key[2] = {UINT64_C(0x0706050403020100),
                     UINT64_C(0x0f0e0d0c0b0a0908)};
  for (size_t i = 0; i < N_OF(v); i++)
    assert_int_equal(siphash(key, in, v[i].len), v[i].hash);
}

static void an_empty_table_has_nothing(void **state) {
  struct map m;
  size_t pos = 0;
  map_init(&m, 8, 10, &rng);
  assert_null(map_get(&m, "12345678"));
  assert_null(map_del(&m, "12345678"));
  assert_null(map_next(&m, &pos));
  map_done(&m);
}

static void a_key_is_there_once(void **state) {
  struct map m;
  int a, b;
  map_init(&m, 8, 10, &rng);
  assert_int_equal(map_put(&m, "12345678", &a), 0);
  assert_int_equal(map_put(&m, "12345678", &b), ZTNA_EEXIST);
  assert_ptr_equal(map_get(&m, "12345678"), &a);
  assert_ptr_equal(map_del(&m, "12345678"), &a);
  assert_null(map_get(&m, "12345678"));
  assert_int_equal(m.n, 0);
  map_done(&m);
}

static void the_bound_holds(void **state) {
  struct map m;
  int v;
  map_init(&m, sizeof(int), 100, &rng);
  for (int i = 0; i < 100; i++) assert_int_equal(map_put(&m, &i, &v), 0);
  int more = 100, old = 5;
  assert_int_equal(map_put(&m, &more, &v), ZTNA_EFULL);
  assert_int_equal(map_put(&m, &old, &v), ZTNA_EEXIST);
  assert_non_null(map_del(&m, &old));
  assert_int_equal(map_put(&m, &more, &v), 0);
  map_done(&m);
}

static void a_table_of_no_entries_takes_none(void **state) {
  struct map m;
  map_init(&m, 8, 0, &rng);
  assert_int_equal(map_put(&m, "12345678", &m), ZTNA_EFULL);
  map_done(&m);
}

enum { N_KEYS = 300, KEY_ROOM = 40 };

/* Puts and deletes at random; after each, all keys are looked up. */
static void compare_with_a_plain_array(size_t key_len) {
  struct map m;
  static uint8_t keys[N_KEYS][KEY_ROOM];
  bool in[N_KEYS] = {false};
  size_t n = 0;
  map_init(&m, key_len, N_KEYS, &rng);
  for (int i = 0; i < N_KEYS; i++) {
    rng_fill(&rng, keys[i], KEY_ROOM);
    memcpy(keys[i], &i, key_len < 2 ? key_len : 2); /* no two are equal */
  }
  for (int step = 0; step < 3000; step++) {
    int i = (int)(test_random(&seed) >> 33) % N_KEYS;
    if (in[i]) {
      assert_ptr_equal(map_del(&m, keys[i]), keys[i]);
      n--;
    } else {
      assert_int_equal(map_put(&m, keys[i], keys[i]), 0);
      n++;
    }
    in[i] = !in[i];
    assert_int_equal(m.n, n);
    for (int j = 0; j < N_KEYS; j++)
      assert_ptr_equal(map_get(&m, keys[j]), in[j] ? keys[j] : NULL);
  }
  map_done(&m);
}

static void it_does_what_a_plain_array_does(void **state) {
  compare_with_a_plain_array(8);
  compare_with_a_plain_array(16);
  compare_with_a_plain_array(3);
  compare_with_a_plain_array(37);
}

static void a_walk_meets_each_value_once(void **state) {
  struct map m;
  int seen[50] = {0}, *v;
  map_init(&m, sizeof(int), 50, &rng);
  for (int i = 0; i < 50; i++) map_put(&m, &i, &seen[i]);
  for (size_t pos = 0; (v = map_next(&m, &pos));) ++*v;
  for (int i = 0; i < 50; i++) assert_int_equal(seen[i], 1);
  map_done(&m);
}

static void two_tables_put_the_same_keys_in_different_places(void **state) {
  struct map a, b;
  size_t pa = 0, pb = 0;
  int v[50], same = 0;
  map_init(&a, sizeof(int), 50, &rng);
  map_init(&b, sizeof(int), 50, &rng);
  for (int i = 0; i < 50; i++) {
    map_put(&a, &i, &v[i]);
    map_put(&b, &i, &v[i]);
  }
  for (int i = 0; i < 50; i++) same += map_next(&a, &pa) == map_next(&b, &pb);
  assert_in_range(same, 0, 25);
  map_done(&a);
  map_done(&b);
}

static void a_table_that_was_done_can_be_used_again(void **state) {
  struct map m;
  map_init(&m, 8, 10, &rng);
  map_put(&m, "12345678", &m);
  map_done(&m);
  assert_null(map_get(&m, "12345678"));
  assert_int_equal(map_put(&m, "12345678", &m), 0);
  map_done(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(siphash_gives_its_authors_test_vectors),
      TEST(an_empty_table_has_nothing),
      TEST(a_key_is_there_once),
      TEST(the_bound_holds),
      TEST(a_table_of_no_entries_takes_none),
      TEST(it_does_what_a_plain_array_does),
      TEST(a_walk_meets_each_value_once),
      TEST(two_tables_put_the_same_keys_in_different_places),
      TEST(a_table_that_was_done_can_be_used_again),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}
