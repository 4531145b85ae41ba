/* local_page.c - see local_page.h. */
#include "local_page.h"

#include <string.h>
#include <ztna/err.h>

#include "host/http_get.h"

/* What listens on all addresses is asked on loopback. */
static struct ztna_addr reachable(struct ztna_addr a) {
  static const uint8_t v4[4] = {127, 0, 0, 1}, v6[16] = {[15] = 1};
  if (!ztna_addr_is_unspecified(&a)) return a;
  return a.family == 4 ? ztna_addr_v4(v4, a.port) : ztna_addr_v6(v6, a.port, 0);
}

struct ztna_addr local_page_where(const struct ztna_addr *flag,
                                  const struct config *config,
                                  const char **from) {
  struct ztna_addr a = {0};
  if (flag->family) {
    *from = "given by --http";
    return reachable(*flag);
  }
  if (config && config->http.listen.family) {
    *from = "http.listen of the configuration";
    return reachable(config->http.listen);
  }
  *from = "the usual place; --http or --config name another";
  ztna_addr_parse(&a, "127.0.0.1:9090");
  return a;
}

static bool is_status(const json_t *root) {
  const char *schema = json_string_value(json_object_get(root, "schema"));
  return schema && strncmp(schema, "ztna.status/", 12) == 0;
}

int local_page_status(const struct ztna_addr *a, int timeout_ms,
                      struct sbuf *body, json_t **root) {
  int rc = http_get(a, "/status", timeout_ms, body);
  *root = NULL;
  if (rc == 200 && body->len)
    *root = json_loadb(body->s, body->len, JSON_REJECT_DUPLICATES, NULL);
  if (is_status(*root)) return rc;
  json_decref(*root);
  *root = NULL;
  return rc;
}

const char *local_page_wrong(int rc) {
  if (rc == ZTNA_EREFUSED) return "takes no connections: nothing runs there";
  if (rc == ZTNA_EAGAIN) return "did not answer within 3 s";
  if (rc == ZTNA_EMALFORMED || rc >= 0) return "answers, but is not ztna";
  return "gave no answer";
}
