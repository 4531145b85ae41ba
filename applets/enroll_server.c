/* enroll_server.c - `ztna enroll-server`: certificates for machines that have a
 * token, or the certificate before. It holds the CA's key, so it is no relay
 * and runs on no relay's host. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "enroll_ca.h"
#include "enroll_policy.h"
#include "host/audit.h"
#include "host/clock.h"
#include "host/confine.h"
#include "host/file.h"
#include "host/token_file.h"
#include "host/watch.h"
#include "role.h"
#include "role/enroll_server.h"
#include "transport/tls.h"

extern const struct applet applet_enroll_server;

enum {
  LOOK_EVERY = 60 * 1000, /* ms: is the own certificate half over? */
  RECORD_MS = 1000,       /* that an answer waits for its record */
};

struct program {
  const struct applet_call *call;
  const struct config *config;
  struct enroll_ca ca;
  char *crl; /* bytes, NULL: none */
  size_t crl_len;
  struct tls *tls;
  int64_t renew_at; /* the own certificate, seconds since 1970 */
  struct host *host;
  struct host_role *role;
  struct udp *udp; /* the host's once the role is added */
  struct enroll_server *server;
  struct http *http;
  struct audit *audit;
  char spiffe[IDENTITY_SPIFFE_MAX + 1]; /* lent to it: contexts come and go */
  struct enroll_policy policy;
  struct watch *watch; /* of the list of revoked certificates */
  uv_timer_t timer;
  uint64_t n_own, n_own_failures; /* own certificates made, and not */
};

/* --- its own certificate, in memory alone */

static int make_tls(struct program *p, char *why, size_t room) {
  struct sbuf cert = {0}, key = {0};
  int64_t now = tls_now();
  struct tls *fresh = NULL;
  int rc = enroll_ca_own(&p->ca, &p->config->enroll, now, &cert, &key);
  snprintf(why, room, "%s",
           rc == ZTNA_ETLS ? "ca.key is not the private key of ca.pem, or "
                             "not readable"
           : rc == ZTNA_EREFUSED ? "the CA's certificate has expired"
                                 : ztna_strerror(rc));
  if (rc == 0) {
    const struct ztna_identity own = {.cert = cert.s,
                                      .cert_len = cert.len,
                                      .key = key.s,
                                      .key_len = key.len,
                                      .ca = p->ca.cert,
                                      .ca_len = p->ca.cert_len,
                                      .crl = p->crl,
                                      .crl_len = p->crl_len};
    rc = tls_new(&fresh, &own, why, room);
  }
  cert_forget(&key);
  sbuf_done(&cert);
  p->n_own += rc == 0;
  p->n_own_failures += rc < 0;
  if (rc < 0) return rc;
  struct tls *former = p->tls;
  p->tls = fresh;
  p->renew_at = now + (tls_identity(fresh)->not_after - now) / 2;
  if (p->server) enroll_server_set_tls(p->server, fresh, clock_now());
  tls_free(former);
  return 0;
}

/* While it runs: whatever is wrong, what is there stays. */
static void renew_tls(struct program *p, const char *because) {
  char why[256];
  host_enter(p->role);
  if (make_tls(p, why, sizeof(why)) == 0)
    log_info("enroll: own certificate made anew: %s identity=%s revoked=%zu",
             because, tls_identity(p->tls)->spiffe, tls_crl_count(p->tls));
  else
    log_err("enroll: the former own certificate stays: %s", why);
}

static void on_timer(uv_timer_t *t) {
  struct program *p = t->data;
  if (tls_now() >= p->renew_at) renew_tls(p, "half of its life is over");
}

/* --- revoked certificates */

static int read_crl(struct program *p, char *why) {
  const char *file = p->config->identity.crl;
  char *bytes;
  size_t len;
  if (!file) return 0;
  int rc = file_read(file, IDENTITY_CRL_MAX, &bytes, &len, why);
  if (rc < 0) return rc;
  free(p->crl);
  p->crl = bytes;
  p->crl_len = len;
  return 0;
}

/* A list that cannot be read changes nothing: the former one goes on. */
static void reload_crl(struct program *p) {
  char why[FILE_WHY];
  char *former = p->crl;
  size_t len = p->crl_len;
  uint64_t failures = p->n_own_failures;
  if (!p->config->identity.crl) return;
  p->crl = NULL;
  bool is_read = read_crl(p, why) == 0;
  if (is_read)
    renew_tls(p, "the list of revoked certificates changed");
  else
    log_err("enroll: %s: %s; the former list stays", p->config->identity.crl,
            why);
  if (is_read && p->n_own_failures == failures) {
    free(former);
    return;
  }
  free(p->crl);
  p->crl = former;
  p->crl_len = len;
}

static void on_crl_change(void *ctx) { reload_crl(ctx); }

/* --- tokens */

static enum reason take(void *ctx, const uint8_t id[TOKEN_ID_LEN],
                        const uint8_t secret[TOKEN_SECRET_LEN],
                        const uint8_t key_sha256[CERT_SPKI_HASH_LEN],
                        struct token_grant *out, const char **detail) {
  struct program *p = ctx;
  struct sbuf why = {0};
  enum reason r = token_file_take(p->config->state_dir, tls_now(), id, secret,
                                  key_sha256, out, detail, &why);
  if (r == REASON_INTERNAL)
    log_err("enroll: %s", why.len ? why.s : "no memory");
  sbuf_done(&why);
  return r;
}

static void issued(void *ctx, const struct enroll_issued *i) {
  struct program *p = ctx;
  char token[2 * TOKEN_ID_LEN + 1];
  const struct audit_record r = {
      .event = AUDIT_ISSUED,
      .at = clock_now(),
      .agent = i->identity->spiffe,
      .serial = i->identity->serial,
      .token = i->token ? hex_print(i->token, TOKEN_ID_LEN, token) : NULL,
      .renews = i->former,
      .from = i->from,
  };
  audit_write(p->audit, &r);
  if (!audit_flush(p->audit, RECORD_MS))
    log_warn("enroll: the answer goes out before its record is written");
}

static bool revoked(void *ctx, const struct identity *peer) {
  return enroll_policy_revokes(&((struct program *)ctx)->policy, peer);
}

static const struct enroll_ops ops = {
    .take = take, .revoked = revoked, .issued = issued};

/* A mistake in it is told at the start, not to the first machine. */
static int check_tokens(const struct program *p) {
  struct token_list list;
  struct sbuf why = {0};
  int rc = token_file_read(p->config->state_dir, &list, &why);
  if (rc < 0 && why.len) fputs(why.s, stderr);
  token_list_done(&list);
  sbuf_done(&why);
  return rc < 0 ? applet_exit(rc) : EXIT_DONE;
}

/* --- the role in the loop */

static void on_udp(void *ctx, uint64_t now, const struct dgram *d) {
  enroll_server_udp_in(((struct program *)ctx)->server, now, d);
}

static void on_tick(void *ctx, uint64_t now) {
  enroll_server_tick(((struct program *)ctx)->server, now);
}

static int next(void *ctx, uint64_t now, struct dgram *v, int max) {
  return enroll_server_next(((struct program *)ctx)->server, now, v, max);
}

static uint64_t deadline(const void *ctx) {
  return enroll_server_deadline(((const struct program *)ctx)->server);
}

static void stop(void *ctx, uint64_t now) {
  enroll_server_stop(((struct program *)ctx)->server, now);
}

static bool stopped(const void *ctx) {
  return enroll_server_stopped(((const struct program *)ctx)->server);
}

/* The rest needs a new start: the CA's key is read once. */
static void reload(void *ctx, uint64_t now) {
  struct program *p = ctx;
  reload_crl(p);
  enroll_policy_reload(&p->policy);
}

static const struct loop_role verbs = {
    .udp_in = on_udp,
    .tick = on_tick,
    .next = next,
    .deadline = deadline,
    .stop = stop,
    .stopped = stopped,
    .reload = reload,
};

/* --- local pages */

static int page_ready(void *ctx, struct sbuf *why_json) {
  enum reason why;
  if (enroll_server_ready(((struct program *)ctx)->server, &why)) return 1;
  role_not_ready(why_json, reason_name(why));
  return 0;
}

static const struct metric own_metrics[] = {
    {"ztna_enroll_own_certificates_total", "own certificates made",
     METRIC_COUNTER, offsetof(struct program, n_own)},
    {"ztna_enroll_own_certificate_failures_total",
     "own certificates, or lists of revoked ones, that were no good",
     METRIC_COUNTER, offsetof(struct program, n_own_failures)},
    {0},
};

static void page_metrics(void *ctx, struct sbuf *out) {
  struct program *p = ctx;
  enroll_server_metrics(p->server, out);
  metrics_print(out, own_metrics, p);
  enroll_policy_metrics(&p->policy, out);
  audit_metrics(p->audit, out);
  metrics_print(out, udp_metrics, udp_counters(p->udp));
}

static json_t *listening(const struct program *p) {
  json_t *list = json_array();
  char text[ZTNA_ADDR_STRLEN];
  for (int i = 0; i < udp_count(p->udp); i++) {
    struct ztna_addr a = udp_local(p->udp, i);
    json_array_append_new(list, json_string(ztna_addr_print(&a, text)));
  }
  return list;
}

static void page_status(void *ctx, struct sbuf *out) {
  struct program *p = ctx;
  json_t *o =
      json_pack("{s:s, s:s}", "schema", "ztna.status/1", "role", "enroll");
  json_object_set_new(o, "listen", listening(p));
  enroll_server_status(p->server, o);
  json_object_set_new(o, "revoked",
                      json_integer((json_int_t)tls_crl_count(p->tls)));
  json_object_set_new(o, "policy", enroll_policy_status(&p->policy));
  json_object_set_new(o, "audit", audit_status(p->audit));
  json_object_set_new(o, "sandbox", confine_status());
  role_page_json(out, o);
}

static const struct http_pages pages = {
    .ready = page_ready, .metrics = page_metrics, .status = page_status};

/* --- start */

static void tell_start(const struct program *p) {
  char text[ZTNA_ADDR_STRLEN];
  for (int i = 0; i < udp_count(p->udp); i++) {
    struct ztna_addr a = udp_local(p->udp, i);
    log_info("enroll: listening on=%s identity=%s server=%s",
             ztna_addr_print(&a, text), tls_identity(p->tls)->spiffe,
             p->config->enroll.server);
  }
}

static int run(struct program *p) {
  p->host = host_new();
  if (!p->host) return EXIT_FAILED;
  p->role = host_add(p->host, &verbs, p, p->udp);
  if (!p->role) return EXIT_FAILED;
  int code = role_pages(p->call->config, p->host, &pages, p, &p->http);
  if (code) return code;
  if (p->config->identity.crl)
    p->watch =
        watch_new(host_uv(p->host), p->config->identity.crl, on_crl_change, p);
  enroll_policy_start(&p->policy, host_uv(p->host));
  uv_timer_init(host_uv(p->host), &p->timer);
  p->timer.data = p;
  uv_timer_start(&p->timer, on_timer, LOOK_EVERY, LOOK_EVERY);
  tell_start(p);
  confine(p->config, CONFIG_ENROLL, p->call->config_file, false);
  snprintf(p->spiffe, sizeof(p->spiffe), "%s", tls_identity(p->tls)->spiffe);
  int rc = audit_open(&p->audit, &p->config->enroll.audit, "enroll", p->spiffe);
  if (rc == 0) rc = host_run(p->host);
  code = applet_exit(rc);
  uv_close((uv_handle_t *)&p->timer, NULL);
  http_stop(p->http);
  return code;
}

static int make_server(struct program *p) {
  const struct enroll_config *c = &p->config->enroll;
  const struct enroll_server_options o = {
      .tls = p->tls,
      .rng = &clock_rng,
      .ops = &ops,
      .ctx = p,
      .ca_cert = p->ca.cert,
      .ca_cert_len = p->ca.cert_len,
      .ca_key = p->ca.key,
      .ca_key_len = p->ca.key_len,
      .max_lifetime = (int64_t)(c->max_lifetime / SEC),
      .max_connections = c->max_connections,
  };
  return applet_exit(enroll_server_new(&p->server, &o, clock_now()));
}

static int prepare(struct program *p) {
  const struct enroll_config *c = &p->config->enroll;
  const char *source = role_source(p->call);
  char why[256];
  if (tls_global_init(&clock_rng, NULL) < 0) return EXIT_FAILED;
  int code = enroll_ca_load(&p->ca, c, source, true);
  if (code) return code;
  if (read_crl(p, why) < 0 || make_tls(p, why, sizeof(why)) < 0) {
    fprintf(stderr, "%s: enroll: %s\n", source, why);
    return EXIT_CONFIG;
  }
  int rc = enroll_policy_load(&p->policy, c->policy);
  if (rc < 0) return applet_exit(rc);
  if ((code = check_tokens(p))) return code;
  p->udp = role_bind(c->listen, c->n_listen);
  return p->udp ? make_server(p) : EXIT_FAILED;
}

static int enroll_server_start(struct applet_call *c) {
  struct program p = {.call = c, .config = c->config};
  int code = prepare(&p);
  if (code == EXIT_DONE) code = run(&p);
  watch_free(p.watch);
  enroll_policy_stop(&p.policy);
  if (p.host)
    host_free(p.host);
  else
    udp_free(p.udp);
  audit_close(p.audit, NULL);
  enroll_server_free(p.server);
  tls_free(p.tls);
  free(p.crl);
  enroll_ca_done(&p.ca);
  return code;
}

const struct applet applet_enroll_server = {
    .name = "enroll-server",
    .summary = "give certificates to machines that have a token",
    .usage = "--config FILE",
    .about =
        "Holds the CA's key, so it runs on no relay's host: who can issue\n"
        "certificates can read everything. A machine makes its key by itself "
        "and asks\nwith a token of `ztna token create`, which is good once; "
        "agents, connectors and\nrelays ask again with the certificate that "
        "they have, before it runs out.\nThe list of revoked certificates is "
        "read again when its file changes.\n",
    .example = "  ztna enroll-server --config /etc/ztna/enroll.json\n",
    .exits = "3 wrong configuration",
    .config = APPLET_CONFIG,
    .want = CONFIG_ENROLL,
    .max_args = 0,
    .start = enroll_server_start,
};
