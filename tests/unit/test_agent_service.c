/* test_agent_service.c - the services that a relay lists, as an agent takes
 * them: whose address is whose; and the connectors it was led to. */
#include "unit/unit.h"

#include <jansson.h>

#include "role/agent_int.h"
#include "sim/pki.h"
#include "sim/seeded.h"

enum { NOW = 1700000000 };

static struct seeded rnd;
static struct pki_pem pem;
static struct ztna_agent *agent;

static int64_t now_unix(void) { return NOW; }

static int make_pem(void **state) {
  struct pki *pki;

  seeded_init(&rnd, 1);
  if (tls_global_init(&rnd.rng, now_unix) < 0) return -1;
  pki = pki_new("example.org", NOW);
  pki_pem(pki, ROLE_AGENT, "laptop", NULL, &pem);
  pki_free(pki);
  return 0;
}

static int drop_pem(void **state) {
  pki_pem_done(&pem);
  tls_global_done();
  return 0;
}

static void on_random(void *ctx, void *buf, size_t len) {
  rng_fill(&rnd.rng, buf, len);
}

static int make_agent(void **state) {
  static const char *const relays[] = {"relay.test:4433"};
  struct ztna_prefix networks[2];
  struct ztna_agent_config cfg = {.identity.cert = pem.cert.s,
                                  .identity.cert_len = pem.cert.len,
                                  .identity.key = pem.key.s,
                                  .identity.key_len = pem.key.len,
                                  .identity.ca = pem.ca.s,
                                  .identity.ca_len = pem.ca.len,
                                  .relays = relays,
                                  .n_relays = 1,
                                  .networks = networks,
                                  .n_networks = 2,
                                  .random = on_random,
                                  .unix_now = NOW};
  char why[200];

  ztna_prefix_parse(&networks[0], "10.100.0.0/24");
  ztna_prefix_parse(&networks[1], "fd5a:10::/64");
  return ztna_agent_new(&agent, &cfg, SEC, why, sizeof(why));
}

static int drop_agent(void **state) {
  ztna_agent_free(agent);
  return 0;
}

static void take(const char *list) {
  json_t *j = json_loads(list, 0, NULL);

  assert_non_null(j);
  agent_services_take(agent, j);
  json_decref(j);
}

static const char *owner(const char *addr) {
  struct ztna_addr a = test_addr(addr);
  struct service *s = agent_service_by_addr(agent, &a);

  return s ? s->id : "nobody";
}

static void an_address_moves_on_from_a_service_that_is_gone(void **state) {
  take("[{\"id\": \"old\", \"addresses\": [\"10.100.0.1\", \"fd5a:10::1\"]}]");
  assert_string_equal(owner("10.100.0.1"), "old");
  take("[{\"id\": \"new\", \"addresses\": [\"10.100.0.1\", \"fd5a:10::1\"]}]");
  assert_string_equal(owner("10.100.0.1"), "new");
  assert_string_equal(owner("fd5a:10::1"), "new");
}

static void two_services_swap_their_addresses(void **state) {
  take("[{\"id\": \"a\", \"addresses\": [\"10.100.0.1\"]},"
       " {\"id\": \"b\", \"addresses\": [\"10.100.0.2\"]}]");
  take("[{\"id\": \"a\", \"addresses\": [\"10.100.0.2\"]},"
       " {\"id\": \"b\", \"addresses\": [\"10.100.0.1\"]}]");
  assert_string_equal(owner("10.100.0.1"), "b");
  assert_string_equal(owner("10.100.0.2"), "a");
}

static void a_service_in_use_keeps_its_address(void **state) {
  struct ztna_addr a = test_addr("10.100.0.1");

  take("[{\"id\": \"a\", \"addresses\": [\"10.100.0.1\"]}]");
  agent_service_want(agent, agent_service_by_addr(agent, &a));
  take("[{\"id\": \"a\", \"addresses\": [\"10.100.0.2\"]},"
       " {\"id\": \"b\", \"addresses\": [\"10.100.0.1\"]}]");
  assert_string_equal(owner("10.100.0.1"), "a");
  assert_string_equal(owner("10.100.0.2"), "nobody");
}

static void an_address_of_two_services_is_the_first_ones(void **state) {
  take("[{\"id\": \"a\", \"addresses\": [\"10.100.0.1\"]},"
       " {\"id\": \"b\", \"addresses\": [\"10.100.0.1\"]},"
       " {\"id\": \"a\", \"addresses\": [\"10.100.0.3\"]}]");
  assert_string_equal(owner("10.100.0.1"), "a");
  assert_string_equal(owner("10.100.0.3"), "nobody");
}

/* A list of 100 services with other ids than any before. */
static void take_hundred(int from) {
  json_t *list = json_array();
  char id[16], addr[24];

  for (int i = 0; i < 100; i++) {
    snprintf(id, sizeof(id), "s%d", from + i);
    snprintf(addr, sizeof(addr), "10.100.0.%d", i + 1);
    json_array_append_new(
        list, json_pack("{s:s, s:[s]}", "id", id, "addresses", addr));
  }
  agent_services_take(agent, list);
  json_decref(list);
}

static void ids_that_are_gone_make_room_for_others(void **state) {
  for (int i = 0; i < 30; i++) take_hundred(100 * i);
  assert_string_equal(owner("10.100.0.100"), "s2999");
  assert_in_range(agent->n_services, 100, SERVICES_MAX / 2 + 100);
}

/* --- links --- */

static void grant_by(int n) {
  json_t *j = json_pack("{s:s, s:{s:s, s:s}}", "route",
                        "00112233445566778899aabbccddeeff", "handles", "agent",
                        "0011223344556677", "connector", "8899aabbccddeeff");
  char name[80];

  snprintf(name, sizeof(name), "spiffe://example.org/connector/c%d", n);
  json_object_set_new(j, "connector", json_string(name));
  assert_non_null(agent_link_take(agent, 0, j));
  agent_route_closed(agent, 0, j);
  json_decref(j);
}

static void connectors_that_are_gone_make_room_for_others(void **state) {
  for (int i = 0; i < 3 * LINKS_MAX; i++) grant_by(i);
  assert_int_equal(agent->counters.n_links, LINKS_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_WITH(an_address_moves_on_from_a_service_that_is_gone, make_agent,
                drop_agent),
      TEST_WITH(two_services_swap_their_addresses, make_agent, drop_agent),
      TEST_WITH(a_service_in_use_keeps_its_address, make_agent, drop_agent),
      TEST_WITH(an_address_of_two_services_is_the_first_ones, make_agent,
                drop_agent),
      TEST_WITH(ids_that_are_gone_make_room_for_others, make_agent, drop_agent),
      TEST_WITH(connectors_that_are_gone_make_room_for_others, make_agent,
                drop_agent),
  };

  return cmocka_run_group_tests(tests, make_pem, drop_pem);
}
