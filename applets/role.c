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

static int judge_role(const struct applet_call *c, enum role role,
                      const struct identity *own) {
  if (own->role == role) return EXIT_DONE;
  fprintf(stderr, "%s: identity.cert: want a certificate of role %s, got %s\n",
          role_source(c), role_name(role), own->spiffe);
  return EXIT_CONFIG;
}

static int no_identity(const struct applet_call *c, const char *why) {
  fprintf(stderr, "%s: identity: %s\n", role_source(c), why);
  return EXIT_CONFIG;
}

int role_identity(const struct applet_call *c, enum role role,
                  struct identity_file **out) {
  const struct identity_config *files = &c->config->identity;
  struct ztna_identity own = config_identity(files);
  char why[256];
  struct tls *tls;

  if (tls_global_init(&clock_rng, NULL) < 0) return EXIT_FAILED;
  if (tls_new(&tls, &own, why, sizeof(why)) < 0) return no_identity(c, why);
  int code = judge_role(c, role, tls_identity(tls));

  if (!code) {
    *out = identity_file_new(role_name(role), files, tls);
    if (!*out) code = no_identity(c, "no memory");
  }
  if (code) tls_free(tls);
  config_forget_key(c->config);
  return code;
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
