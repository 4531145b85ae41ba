/* fuzz_config.c - any text as a configuration or as a policy: it loads, or it
 * is refused with a reason; nothing leaks. */
#include <stdlib.h>

#include "host/config.h"
#include "host/policy_file.h"

struct fuzz_seed {
  const void *data;
  size_t len;
};

#define SEED(text) \
  { text, sizeof(text) - 1 }
const struct fuzz_seed fuzz_seeds[] = {
    SEED("c{\"identity\":{\"cert\":\"a.pem\",\"key\":\"a.key\",\"ca\":\"ca.pem"
         "\"},\"log\":{\"level\":\"info\",\"format\":\"json\"},\"http\":{"
         "\"listen\":\"127.0.0.1:9090\"},\"state_dir\":\"state\",\"relay\":{"
         "\"listen\":[\"0.0.0.0:4433\",\"[::]:4433\"],\"service_pool\":[\"10."
         "100.0.0/24\",\"fd5a:10::/64\"],\"agent_pool\":[\"100.64.0.0/16\"],"
         "\"services\":{\"web-app\":{\"virtual_ips\":[\"10.100.0.2\"]}},"
         "\"policy\":\"p.json\",\"retry\":\"auto\",\"max_routes\":7,"
         "\"route_rate\":\"64KiB\"}}"),
    SEED("c{\"connector\":{\"relays\":[\"relay.example.org:4433\"],\"services\""
         ":[{\"id\":\"echo\",\"backend\":\"127.0.0.1:9999\",\"protocol\":"
         "\"udp\"},{\"id\":\"web\",\"backends\":[{\"protocol\":\"tcp\","
         "\"port\":80,\"to\":\"[::1]:8080\"}],\"check\":{\"type\":\"http\","
         "\"path\":\"/\",\"every\":\"5s\",\"fail_after\":3},\"agents\":["
         "\"spiffe://example.org/agent/*\"]}],\"direct\":false}}"),
    SEED("c{\"_comment\":1,\"agent\":{\"relays\":[\"r:1\"],\"services\":[\"*\"]"
         ",\"networks\":[\"10.0.0.0/8\"],\"tun\":\"ztna0\",\"mtu\":1280}}"),
    SEED("p{\"groups\":{\"staff\":[\"spiffe://example.org/agent/*\"]},"
         "\"rules\":[{\"name\":\"r\",\"agents\":[\"@staff\"],\"services\":["
         "\"web-app\"],\"protocols\":[\"tcp\",\"icmp\"],\"ports\":[80,\"8000-"
         "8100\"]}],\"tests\":[{\"agent\":\"spiffe://example.org/agent/a\","
         "\"service\":\"web-app\",\"protocol\":\"tcp\",\"port\":22,\"expect\":"
         "\"port-not-allowed\"}]}"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

static int try_config(const char *text, size_t len, struct sbuf *out) {
  struct config c;
  int rc = config_parse(&c, "f", text, len, CONFIG_PRESENT | CONFIG_NO_FILES,
                        NULL, out);
  if (rc == 0 && !c.roles) abort();
  config_free(&c);
  return rc;
}

static int try_policy(const char *text, size_t len, struct sbuf *out) {
  struct policy_config p;
  int rc = policy_file_parse(&p, "f", text, len, out);
  for (size_t i = 0; i < p.n_rules; i++)
    if (!p.rules[i].protocols) abort(); /* a group may be empty: nobody */
  policy_file_free(&p);
  return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The first byte chooses the kind. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  struct sbuf out;
  const char *text = (const char *)data + 1;
  if (len < 1) return 0;
  sbuf_init(&out, 0);
  int rc = *data == 'p' ? try_policy(text, len - 1, &out)
                        : try_config(text, len - 1, &out);
  if ((rc < 0) != (out.len > 0)) abort();
  sbuf_done(&out);
  return 0;
}
