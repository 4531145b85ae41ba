/* enroll_world.c - see enroll_world.h. */
#include "unit/enroll_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "transport/cert.h"

static struct enroll_world *current;

int64_t enroll_world_unix(void) {
  return ENROLL_NOW + (int64_t)(current->now / SEC);
}

static void on_log(void *ud, enum log_level level, const char *line) {
  struct enroll_world *w = ud;
  size_t n = strlen(w->log);
  if (n + strlen(line) + 2 > sizeof(w->log)) n = 0;
  snprintf(w->log + n, sizeof(w->log) - n, "%s\n", line);
}

/* --- the store of tokens */

static enum reason take(void *ctx, const uint8_t *id, const uint8_t *secret,
                        const uint8_t *key, struct token_grant *out,
                        const char **detail) {
  struct enroll_world *w = ctx;
  w->n_taken++;
  memcpy(w->id, id, sizeof(w->id));
  memcpy(w->secret, secret, sizeof(w->secret));
  memcpy(w->taken_for, key, sizeof(w->taken_for));
  *detail = w->detail;
  if (w->verdict != REASON_NONE) return w->verdict;
  *out = (struct token_grant){.role = w->role, .lifetime = w->lifetime};
  strcpy(out->name, "laptop-7");
  out->dns = calloc(1, sizeof(*out->dns));
  if (w->dns) out->dns[out->n_dns++] = strdup(w->dns);
  return REASON_NONE;
}

static void issued(void *ctx, const struct enroll_issued *i) {
  struct enroll_world *w = ctx;
  w->n_issued++;
  snprintf(w->issued, sizeof(w->issued), "%s", i->identity->spiffe);
  snprintf(w->former, sizeof(w->former), "%s", i->former ? i->former : "");
}

static bool revoked(void *ctx, const struct identity *peer) {
  const struct enroll_world *w = ctx;
  return w->revoked && !strcmp(w->revoked, peer->spiffe);
}

static const struct enroll_ops ops = {
    .take = take, .revoked = revoked, .issued = issued};

/* --- the world */

static void leaf(struct enroll_world *w, const char *spiffe, int64_t from,
                 int64_t to, struct sbuf *cert, struct sbuf *key) {
  const char *dns[] = {"agent.web.ztna"};
  const struct cert_spec s = {.spiffe = spiffe,
                              .dns = dns,
                              .n_dns = strstr(spiffe, "/agent/") ? 1 : 0,
                              .not_before = from,
                              .not_after = to};
  int rc = cert_make_leaf(&s, w->ca.s, w->ca.len, w->ca_key.s, w->ca_key.len,
                          cert, key);
  assert(rc == 0);
}

static struct tls *tls_of(struct enroll_world *w, const char *spiffe,
                          int64_t from, int64_t to, const struct sbuf *crl) {
  struct sbuf cert = {0}, key = {0};
  struct tls *t = NULL;
  char why[256];
  leaf(w, spiffe, from, to, &cert, &key);
  const struct ztna_identity own = {.cert = cert.s,
                                    .cert_len = cert.len,
                                    .key = key.s,
                                    .key_len = key.len,
                                    .ca = w->ca.s,
                                    .ca_len = w->ca.len,
                                    .crl = crl ? crl->s : NULL,
                                    .crl_len = crl ? crl->len : 0};
  int rc = tls_new(&t, &own, why, sizeof(why));
  assert(rc == 0);
  sbuf_done(&cert);
  cert_forget(&key);
  return t;
}

struct tls *enroll_world_tls(struct enroll_world *w, const struct sbuf *crl) {
  int64_t now = enroll_world_unix();
  return tls_of(w, "spiffe://example.org/enroll/here", now - 300, now + 604800,
                crl);
}

void enroll_world_begin(struct enroll_world *w) {
  int rc;
  current = w;
  *w = (struct enroll_world){.now = SEC,
                             .verdict = REASON_NONE,
                             .role = ROLE_AGENT,
                             .lifetime = 3600,
                             .detail = "unknown"};
  seeded_init(&w->rnd, 5);
  log_to(on_log, w);
  rc = tls_global_init(&w->rnd.rng, enroll_world_unix);
  assert(rc == 0);
  rc = cert_make_ca("ztna CA example.org", ENROLL_NOW - 300,
                    ENROLL_NOW + 30 * 86400, &w->ca, &w->ca_key);
  assert(rc == 0);
  rc = cert_make_key(&w->key);
  assert(rc == 0);
  rc = cert_make_csr(w->key.s, w->key.len, &w->csr);
  assert(rc == 0);
  w->tls = enroll_world_tls(w, NULL);
  rc = ztna_addr_parse(&w->addr, "203.0.113.1:4435");
  assert(rc == 0);
  const struct enroll_server_options o = {.tls = w->tls,
                                          .rng = &w->rnd.rng,
                                          .ops = &ops,
                                          .ctx = w,
                                          .ca_cert = w->ca.s,
                                          .ca_cert_len = w->ca.len,
                                          .ca_key = w->ca_key.s,
                                          .ca_key_len = w->ca_key.len,
                                          .max_lifetime = 86400,
                                          .max_connections = ENROLL_MAX_CONNS};
  rc = enroll_server_new(&w->server, &o, w->now);
  assert(rc == 0);
}

void enroll_world_end(struct enroll_world *w) {
  for (size_t i = 0; i < w->n_peers; i++) {
    quic_free(w->peers[i].q);
    tls_free(w->peers[i].tls);
    json_decref(w->peers[i].body);
  }
  enroll_server_free(w->server);
  tls_free(w->tls);
  sbuf_done(&w->ca);
  sbuf_done(&w->csr);
  cert_forget(&w->ca_key);
  cert_forget(&w->key);
  log_to(NULL, NULL);
  tls_global_done();
}

/* --- time and packets */

static bool from_server(struct enroll_world *w) {
  struct dgram v[8];
  int n = enroll_server_next(w->server, w->now, v, 8);
  for (int i = 0; i < n; i++)
    for (size_t k = 0; k < w->n_peers; k++)
      if (!w->peers[k].spoofed &&
          ztna_addr_equal(&w->peers[k].addr, &v[i].remote)) {
        struct dgram d = v[i];
        d.remote = w->addr;
        d.local = w->peers[k].addr;
        quic_dgram_in(w->peers[k].q, w->now, &d);
      }
  return n > 0;
}

static bool from_peer(struct enroll_peer *p) {
  struct dgram v[8];
  int n = quic_next(p->q, p->w->now, v, 8);
  for (int i = 0; i < n; i++) {
    v[i].remote = p->addr;
    v[i].local = p->w->addr;
    enroll_server_udp_in(p->w->server, p->w->now, &v[i]);
  }
  return n > 0;
}

static bool exchange(struct enroll_world *w) {
  bool some = from_server(w);
  for (size_t i = 0; i < w->n_peers; i++) some |= from_peer(&w->peers[i]);
  return some;
}

static bool step(struct enroll_world *w, uint64_t until) {
  if (exchange(w)) {
    w->now += MS;
    return true;
  }
  uint64_t at = enroll_server_deadline(w->server);
  for (size_t i = 0; i < w->n_peers; i++)
    at = time_min(at, quic_deadline(w->peers[i].q));
  if (at > until) return false;
  if (at > w->now) w->now = at;
  enroll_server_tick(w->server, w->now);
  for (size_t i = 0; i < w->n_peers; i++) quic_tick(w->peers[i].q, w->now);
  return true;
}

void enroll_world_run(struct enroll_world *w, uint64_t for_ns) {
  uint64_t until = w->now + for_ns;
  while (w->now < until && step(w, until)) continue;
  if (w->now < until) w->now = until;
}

/* --- clients */

static int on_ready(struct h3 *h3, void *ud, const struct identity *peer) {
  struct enroll_peer *p = ud;
  assert(peer->role == ROLE_ENROLL);
  p->ready = true;
  return 0;
}

static void on_end(struct h3 *h3, void *ud, const struct quic_end *why) {
  struct enroll_peer *p = ud;
  if (p->h3 != h3) return;
  p->h3 = NULL;
  p->ready = false;
  p->ended = true;
  p->end = *why;
}

static const struct h3_ops client_ops = {.on_ready = on_ready,
                                         .on_end = on_end};

static struct enroll_peer *add(struct enroll_world *w, const char *addr,
                               struct tls *tls) {
  assert(w->n_peers < ENROLL_CLIENTS);
  struct enroll_peer *p = &w->peers[w->n_peers++];
  const struct quic_config cfg = {.tls = tls, .rng = &w->rnd.rng};
  *p = (struct enroll_peer){.w = w, .tls = tls};
  int rc = ztna_addr_parse(&p->addr, addr);
  assert(rc == 0);
  p->q = quic_new(&cfg);
  return p;
}

struct enroll_peer *enroll_stranger(struct enroll_world *w, const char *addr) {
  struct tls *t;
  char why[256];
  int rc = tls_new_nobody(&t, w->ca.s, w->ca.len, why, sizeof(why));
  assert(rc == 0);
  return add(w, addr, t);
}

struct enroll_peer *enroll_known(struct enroll_world *w, const char *addr,
                                 const char *spiffe, int64_t from, int64_t to) {
  return add(w, addr, tls_of(w, spiffe, from, to, NULL));
}

static void dial(struct enroll_peer *p) {
  struct quic_dial d = {
      .remote = p->w->addr, .ops = h3_client_ops(), .params = h3_params(false)};
  p->ended = p->ready = false;
  p->h3 = d.ud = h3_new(false, "here:4435", &client_ops, p);
  h3_attach(p->h3, quic_dial(p->q, &d, p->w->now));
}

void enroll_spoof(struct enroll_peer *p) {
  p->spoofed = true;
  dial(p);
  enroll_world_run(p->w, 5 * MS);
}

bool enroll_dial(struct enroll_peer *p) {
  dial(p);
  enroll_world_run(p->w, 200 * MS);
  return p->ready && !p->ended;
}

void enroll_bye(struct enroll_peer *p) {
  if (p->h3) quic_close(h3_conn(p->h3), REASON_SHUTTING_DOWN, NULL);
  enroll_world_run(p->w, 100 * MS);
}

static void on_done(void *ud, struct h3_call *c, int status, const char *body,
                    size_t len) {
  struct enroll_peer *p = ud;
  p->status = status;
  p->answered = true;
  json_decref(p->body);
  p->body = len ? json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
  assert(!len || p->body);
}

int enroll_ask(struct enroll_peer *p, const char *method, const char *path,
               const char *body, size_t len) {
  p->answered = false;
  p->status = 0;
  if (!p->ready || !h3_call(p->h3, method, path, body, len, on_done, NULL, p))
    return 0;
  for (int i = 0; i < 20 && !p->answered; i++) enroll_world_run(p->w, 100 * MS);
  return p->status;
}

static int ask_json(struct enroll_peer *p, const char *path, json_t *o) {
  char *text = json_dumps(o, JSON_COMPACT);
  int status = enroll_ask(p, "POST", path, text, strlen(text));
  free(text);
  json_decref(o);
  return status;
}

int enroll_by_token(struct enroll_peer *p) {
  return ask_json(p, "/v1/enroll",
                  json_pack("{s:s, s:s}", "token",
                            "0102030405060708a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
                            "csr", p->w->csr.s));
}

int enroll_renew(struct enroll_peer *p) {
  return ask_json(p, "/v1/renew", json_pack("{s:s}", "csr", p->w->csr.s));
}

const char *enroll_text(const struct enroll_peer *p, const char *name) {
  const char *s = json_string_value(json_object_get(p->body, name));
  return s ? s : "";
}
