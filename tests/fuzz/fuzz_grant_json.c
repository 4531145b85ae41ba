/* fuzz_grant_json.c - any JSON as a grant: what is taken has all its parts
 * within bounds, opens only ports that stand in it, and reads the same twice.
 */
#include <string.h>

#include "base/time.h"
#include "fuzz/fuzz.h"
#include "role/grant_json.h"

#define ID "\"id\":\"00112233445566778899aabbccddeeff\""
#define SEED(text) \
  { text, sizeof(text) - 1 }
const struct fuzz_seed fuzz_seeds[] = {
    SEED("{" ID ",\"service\":\"web\",\"lease\":60000,\"rule\":\"r\","
         "\"addresses\":[\"fd5a:10::2\",\"10.100.0.2\"],\"protocols\":[\"udp\","
         "\"icmp\"],\"ports\":[[53,53,\"udp\"],[80,81,\"any\"]]}"),
    SEED("{" ID ",\"service\":\"w\",\"lease\":0.5,\"protocols\":[\"tcp\"]}"),
    SEED("{" ID ",\"service\":\"w\",\"lease\":1e99,\"ports\":[[0,65535,"
         "\"udp\"]]}"),
    SEED("{" ID
         ",\"service\":\"w\",\"lease\":1,\"ports\":[[\"1\",2,\"udp\"]]}"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

static void check_ports(const struct permission *may, json_t *list) {
  assert(may->n_ranges == json_array_size(list));
  assert(!list || may->n_ranges);
  for (size_t i = 0; i < may->n_ranges; i++) {
    json_t *j = json_array_get(list, i);

    assert(may->ranges[i].first <= may->ranges[i].last);
    assert(may->range_protocols[i]);
    assert(json_is_integer(json_array_get(j, 0)));
    assert(json_integer_value(json_array_get(j, 0)) == may->ranges[i].first);
    assert(json_is_integer(json_array_get(j, 1)));
    assert(json_integer_value(json_array_get(j, 1)) == may->ranges[i].last);
  }
}

static void check(const struct grant_json *g, json_t *j) {
  assert(strlen(g->id) == 32 && g->service);
  assert(g->lease > 0 && g->lease <= 86400 * SEC);
  assert(!(g->may.protocols & ~(unsigned)(PROTO_UDP | PROTO_TCP | PROTO_ICMP)));
  assert(g->may.n_ranges <= GRANT_MAX_RANGES);
  check_ports(&g->may, json_object_get(j, "ports"));
  for (int i = 0; i < 2; i++) {
    assert(g->addrs[i].family == 0 || g->addrs[i].family == (i ? 6 : 4));
    assert(g->addrs[i].port == 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  json_t *j = json_loadb((const char *)data, len,
                         JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
  struct grant_json g, again;

  ms_json_read(j);
  if (grant_json_read(&g, j) == 0) {
    check(&g, j);
    assert(grant_json_read(&again, j) == 0);
    assert(!memcmp(&g, &again, sizeof(g)));
  }
  json_decref(j);
  return 0;
}
