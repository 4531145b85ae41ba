/* role.c - identity, sockets and pages of relay, connector and agent. */
#include "role.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/reason.h"
#include "host/clock.h"

const char *role_source(const struct applet_call *c) {
  return c->config_file ? c->config_file : c->applet->name;
}

/* Peers judge the dates; here a person is told in time. */
static void warn_of_expiry(const struct identity *own) {
  int64_t left = own->not_after - (int64_t)(clock_wall() / SEC);

  if (left < 0)
    log_err("%s: the own certificate has expired, everybody will refuse it",
            own->spiffe);
  else if (left < 7 * 86400)
    log_warn("%s: the own certificate expires in %d days", own->spiffe,
             (int)(left / 86400));
}

int role_tls(const struct applet_call *c, enum role role, struct tls **tls) {
  const struct identity_config *id = &c->config->identity;
  const struct identity *own;
  struct ztna_identity pems;
  char why[256];

  int rc;

  if (tls_global_init(&clock_rng, NULL) < 0) return EXIT_FAILED;
  pems = config_identity(id);
  rc = tls_new(tls, &pems, why, sizeof(why));
  config_forget_key(c->config);
  if (rc < 0) {
    fprintf(stderr, "%s: identity: %s\n", role_source(c), why);
    return EXIT_CONFIG;
  }
  own = tls_identity(*tls);
  warn_of_expiry(own);
  if (own->role == role) return EXIT_DONE;
  fprintf(stderr, "%s: identity.cert: want a certificate of role %s, got %s\n",
          role_source(c), role_name(role), own->spiffe);
  return EXIT_CONFIG;
}

/* The kernel may have no IPv6, or no IPv4. */
struct udp *role_bind(const struct ztna_addr *listen, size_t n) {
  struct udp *u = udp_new();

  for (size_t i = 0; u && i < n; i++) {
    int rc = udp_bind(u, &listen[i]);

    if (rc >= 0 ||
        (rc == ZTNA_ENOENT && n > 1 && ztna_addr_is_unspecified(&listen[i])))
      continue;
    udp_free(u);
    return NULL;
  }
  if (u && udp_count(u) > 0) return u;
  udp_free(u);
  return NULL;
}

int role_pages(const struct config *c, struct host *h,
               const struct http_pages *pages, void *ctx, struct http **out) {
  if (!c->http.listen.family) return EXIT_DONE;
  return http_start(out, host_uv(h), &c->http.listen, pages, ctx) < 0
             ? EXIT_FAILED
             : EXIT_DONE;
}

void role_not_ready(struct sbuf *out, const char *reason) {
  sbuf_printf(out, "{\"ready\":false,\"reason\":\"%s\",\"detail\":\"%s\"}",
              reason, reason_text(reason_find(reason)));
}

void role_page_text(struct sbuf *out, char *text) {
  if (text) sbuf_add(out, text, strlen(text));
  free(text);
}

void role_page_json(struct sbuf *out, json_t *o) {
  role_page_text(out, json_dumps(o, JSON_COMPACT));
  json_decref(o);
}
