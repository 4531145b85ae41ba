/* test_nat.c - what ports tell about a NAT, and how peers tell each other. */
#include "unit.h"

#include "part/nat.h"

/* Allocation of ports of sockets whose own ports are not known. */
#define ALLOCATION(delta, ...)                             \
  nat_allocation_of((const uint16_t[]){__VA_ARGS__}, NULL, \
                    N_OF(((const uint16_t[]){__VA_ARGS__})), delta)

static void ports_that_follow_each_other_are_sequential(void **state) {
  int delta;
  assert_int_equal(ALLOCATION(&delta, 40000, 40001), NAT_SEQUENTIAL);
  assert_int_equal(delta, 1);
  assert_int_equal(ALLOCATION(&delta, 40000, 40002, 40004), NAT_SEQUENTIAL);
  assert_int_equal(delta, 2);
  assert_int_equal(ALLOCATION(&delta, 40004, 40003, 40002), NAT_SEQUENTIAL);
  assert_int_equal(delta, -1);
}

static void others_may_take_ports_in_between(void **state) {
  int delta;
  assert_int_equal(ALLOCATION(&delta, 40000, 40003, 40004), NAT_SEQUENTIAL);
  assert_int_equal(delta, 1);
  assert_int_equal(ALLOCATION(&delta, 40000, 40017), NAT_RANDOM);
}

static void a_sequence_may_begin_its_range_anew(void **state) {
  int delta;
  assert_int_equal(ALLOCATION(&delta, 65534, 65535, 1024, 1025),
                   NAT_SEQUENTIAL);
  assert_int_equal(delta, 1);
  assert_int_equal(ALLOCATION(&delta, 65535, 1024, 1025), NAT_RANDOM);
  assert_int_equal(ALLOCATION(&delta, 65535, 0), NAT_SEQUENTIAL);
  assert_int_equal(delta, 1);
}

static void ports_without_order_are_random(void **state) {
  int delta;
  assert_int_equal(ALLOCATION(&delta, 40000, 13, 52111), NAT_RANDOM);
  assert_int_equal(delta, 0);
  assert_int_equal(ALLOCATION(&delta, 40000, 40003, 40001), NAT_RANDOM);
  assert_int_equal(ALLOCATION(&delta, 40000, 40001, 13, 14, 999), NAT_RANDOM);
}

static void equal_ports_in_a_row_are_one_mapping(void **state) {
  int delta;
  assert_int_equal(ALLOCATION(&delta, 40000, 40000), NAT_ALLOC_UNKNOWN);
  assert_int_equal(ALLOCATION(&delta, 40000, 40000, 40001), NAT_SEQUENTIAL);
}

static void one_port_says_nothing_unless_it_was_kept(void **state) {
  const uint16_t port = 5000, other = 5001;
  int delta = 7;
  assert_int_equal(nat_allocation_of(NULL, NULL, 0, &delta), NAT_ALLOC_UNKNOWN);
  assert_int_equal(delta, 0);
  assert_int_equal(nat_allocation_of(&port, &other, 1, &delta),
                   NAT_ALLOC_UNKNOWN);
  assert_int_equal(nat_allocation_of(&port, &port, 1, &delta), NAT_PRESERVING);
}

static void kept_ports_are_preserving_though_one_was_taken(void **state) {
  const uint16_t local[] = {5000, 5001, 5002};
  const uint16_t most[] = {5000, 5001, 40000}, one[] = {5000, 61234, 40000};
  int delta;
  assert_int_equal(nat_allocation_of(local, local, 3, &delta), NAT_PRESERVING);
  assert_int_equal(delta, 0); /* though they follow each other */
  assert_int_equal(nat_allocation_of(most, local, 3, &delta), NAT_PRESERVING);
  assert_int_equal(nat_allocation_of(one, local, 3, &delta), NAT_RANDOM);
}

static void only_mappings_that_depend_on_the_destination_are_hard(void **s) {
  assert_false(nat_is_hard(&(struct nat_view){.mapping = NAT_UNKNOWN}));
  assert_false(nat_is_hard(&(struct nat_view){.mapping = NAT_NONE}));
  assert_false(
      nat_is_hard(&(struct nat_view){.mapping = NAT_ENDPOINT_INDEPENDENT}));
  assert_true(
      nat_is_hard(&(struct nat_view){.mapping = NAT_ADDRESS_DEPENDENT}));
  assert_true(
      nat_is_hard(&(struct nat_view){.mapping = NAT_ADDRESS_PORT_DEPENDENT}));
}

/* --- messages */

static struct nat_view read_text(const char *text) {
  struct nat_view v;
  json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
  assert_non_null(j);
  memset(&v, 0xff, sizeof(v));
  nat_json_read(&v, j);
  json_decref(j);
  return v;
}

static void a_peer_reads_what_was_written(void **state) {
  for (int b = NAT_UNKNOWN; b <= NAT_ADDRESS_PORT_DEPENDENT; b++)
    for (int a = NAT_ALLOC_UNKNOWN; a <= NAT_RANDOM; a++) {
      struct nat_view out = {
          .mapping = (enum nat_behaviour)b,
          .filtering = (enum nat_behaviour)(NAT_ADDRESS_PORT_DEPENDENT - b),
          .allocation = (enum nat_allocation)a,
          .delta = a == NAT_SEQUENTIAL ? -NAT_DELTA_MAX : 0,
          .last_port = 65535,
      };
      json_t *j = nat_json_write(&out);
      char *text = json_dumps(j, 0);
      struct nat_view in = read_text(text);
      assert_memory_equal(&in, &out, sizeof(in));
      free(text);
      json_decref(j);
    }
}

static void what_a_peer_says_wrongly_is_unknown(void **state) {
  static const struct nat_view nothing;
  struct nat_view v = read_text("[]");
  assert_memory_equal(&v, &nothing, sizeof(v));
  v = read_text("{\"mapping\":\"cone\",\"filtering\":3,\"allocation\":null,"
                "\"delta\":4,\"last\":65536}");
  assert_memory_equal(&v, &nothing, sizeof(v));
  v = read_text("{\"last\":-1}");
  assert_memory_equal(&v, &nothing, sizeof(v));
}

static void a_sequence_without_a_usable_step_is_random(void **state) {
  assert_int_equal(read_text("{\"allocation\":\"sequential\"}").allocation,
                   NAT_RANDOM);
  assert_int_equal(
      read_text("{\"allocation\":\"sequential\",\"delta\":17}").allocation,
      NAT_RANDOM);
  assert_int_equal(
      read_text("{\"allocation\":\"sequential\",\"delta\":-3}").delta, -3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(ports_that_follow_each_other_are_sequential),
      TEST(others_may_take_ports_in_between),
      TEST(a_sequence_may_begin_its_range_anew),
      TEST(ports_without_order_are_random),
      TEST(equal_ports_in_a_row_are_one_mapping),
      TEST(one_port_says_nothing_unless_it_was_kept),
      TEST(kept_ports_are_preserving_though_one_was_taken),
      TEST(only_mappings_that_depend_on_the_destination_are_hard),
      TEST(a_peer_reads_what_was_written),
      TEST(what_a_peer_says_wrongly_is_unknown),
      TEST(a_sequence_without_a_usable_step_is_random),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
