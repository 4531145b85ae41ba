/* test_probe_verdict.c - what users may expect of their network. */
#include "unit.h"

#include "host/probe_verdict.h"

static struct nat_view view(enum nat_behaviour mapping,
                            enum nat_behaviour filtering,
                            enum nat_allocation allocation) {
  return (struct nat_view){
      .mapping = mapping, .filtering = filtering, .allocation = allocation};
}

static enum probe_class class_of(enum nat_behaviour mapping,
                                 enum nat_behaviour filtering,
                                 enum nat_allocation allocation) {
  struct nat_view v = view(mapping, filtering, allocation);
  return probe_class_of(&v, true, false);
}

static void a_machine_without_nat_and_firewall_is_open(void **state) {
  assert_int_equal(class_of(NAT_NONE, NAT_NONE, NAT_PRESERVING), PROBE_OPEN);
}

static void a_firewall_is_like_a_nat_with_that_filtering(void **state) {
  assert_int_equal(
      class_of(NAT_NONE, NAT_ADDRESS_PORT_DEPENDENT, NAT_PRESERVING),
      PROBE_PORT_RESTRICTED);
}

static void easy_nats_are_told_apart_by_filtering(void **state) {
  enum nat_behaviour m = NAT_ENDPOINT_INDEPENDENT;
  for (int a = NAT_ALLOC_UNKNOWN; a <= NAT_RANDOM; a++) {
    enum nat_allocation alloc = (enum nat_allocation)a;
    assert_int_equal(class_of(m, NAT_ENDPOINT_INDEPENDENT, alloc), PROBE_OPEN);
    assert_int_equal(class_of(m, NAT_ADDRESS_DEPENDENT, alloc),
                     PROBE_RESTRICTED);
    assert_int_equal(class_of(m, NAT_ADDRESS_PORT_DEPENDENT, alloc),
                     PROBE_PORT_RESTRICTED);
  }
}

static void unknown_filtering_is_taken_for_the_usual(void **state) {
  assert_int_equal(
      class_of(NAT_ENDPOINT_INDEPENDENT, NAT_UNKNOWN, NAT_PRESERVING),
      PROBE_PORT_RESTRICTED);
}

static void hard_nats_are_told_apart_by_allocation(void **state) {
  for (int m = NAT_ADDRESS_DEPENDENT; m <= NAT_ADDRESS_PORT_DEPENDENT; m++) {
    enum nat_behaviour b = (enum nat_behaviour)m;
    assert_int_equal(class_of(b, NAT_UNKNOWN, NAT_SEQUENTIAL),
                     PROBE_SEQUENTIAL);
    assert_int_equal(class_of(b, NAT_UNKNOWN, NAT_PRESERVING),
                     PROBE_SEQUENTIAL);
    assert_int_equal(class_of(b, NAT_UNKNOWN, NAT_RANDOM), PROBE_RANDOM);
    assert_int_equal(class_of(b, NAT_UNKNOWN, NAT_ALLOC_UNKNOWN), PROBE_RANDOM);
  }
}

static void a_port_mapping_opens_every_nat_but_a_blocked_one(void **state) {
  struct nat_view v = view(NAT_ADDRESS_PORT_DEPENDENT, NAT_UNKNOWN, NAT_RANDOM);
  assert_int_equal(probe_class_of(&v, true, true), PROBE_OPEN);
  assert_int_equal(probe_class_of(&v, false, true), PROBE_BLOCKED);
}

static void what_was_not_found_out_is_unknown(void **state) {
  assert_int_equal(class_of(NAT_UNKNOWN, NAT_UNKNOWN, NAT_ALLOC_UNKNOWN),
                   PROBE_UNKNOWN);
}

/* D direct, S after a search, R relayed, ? unknown; rows: own, columns: peer.
 */
static const char *const table[] = {
    [PROBE_OPEN] = "DDDDDR",
    [PROBE_RESTRICTED] = "DDDDDR",
    [PROBE_PORT_RESTRICTED] = "DDDDSR",
    [PROBE_SEQUENTIAL] = "DDDDRR",
    [PROBE_RANDOM] = "DDSRRR",
    [PROBE_BLOCKED] = "RRRRRR",
    [PROBE_UNKNOWN] = "?????R",
};

static void every_pair_has_its_expectation(void **state) {
  for (int own = 0; own <= PROBE_UNKNOWN; own++)
    for (int peer = 0; peer < PROBE_PEERS; peer++) {
      enum probe_outcome o =
          probe_outcome_of((enum probe_class)own, (enum probe_class)peer);
      assert_int_equal("DSR?"[o], table[own][peer]);
    }
}

static void both_ends_expect_the_same(void **state) {
  for (int a = 0; a <= PROBE_UNKNOWN; a++)
    for (int b = 0; b <= PROBE_UNKNOWN; b++)
      assert_int_equal(
          probe_outcome_of((enum probe_class)a, (enum probe_class)b),
          probe_outcome_of((enum probe_class)b, (enum probe_class)a));
}

static void only_blocked_and_unknown_networks_are_not_direct(void **state) {
  for (int c = 0; c <= PROBE_UNKNOWN; c++)
    assert_int_equal(probe_is_direct((enum probe_class)c), c < PROBE_BLOCKED);
}

static void every_class_has_a_name_and_a_sentence(void **state) {
  for (int c = 0; c <= PROBE_UNKNOWN; c++) {
    assert_non_null(probe_class_name((enum probe_class)c));
    assert_non_null(probe_sentence((enum probe_class)c));
  }
  assert_string_equal(probe_class_name(PROBE_RANDOM), "symmetric-random");
  assert_string_equal(probe_outcome_name(PROBE_SEARCH),
                      "direct after a search");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_machine_without_nat_and_firewall_is_open),
      TEST(a_firewall_is_like_a_nat_with_that_filtering),
      TEST(easy_nats_are_told_apart_by_filtering),
      TEST(unknown_filtering_is_taken_for_the_usual),
      TEST(hard_nats_are_told_apart_by_allocation),
      TEST(a_port_mapping_opens_every_nat_but_a_blocked_one),
      TEST(what_was_not_found_out_is_unknown),
      TEST(every_pair_has_its_expectation),
      TEST(both_ends_expect_the_same),
      TEST(only_blocked_and_unknown_networks_are_not_direct),
      TEST(every_class_has_a_name_and_a_sentence),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
