/* enroll_server_api.c - what the enrolment service is asked: for a certificate
 * by a token, or for another one by the present one. Of the request only the
 * key is taken; who it is for says the token, or the certificate. */
#include "role/enroll_server_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#include "base/hex.h"
#include "base/utc.h"
#include "base/wipe.h"

enum {
  BACK_DATE = 300, /* the other machine's clock may be behind */
  KEY_SHOWN = 8,   /* bytes of a key's hash in the log */
};

/* One request. */
struct question {
  struct enroll_session *session;
  struct h3_req *req;
  json_t *body;
  const char *csr; /* in it */
  size_t csr_len;
  uint8_t key[CERT_SPKI_HASH_LEN];
};

static const struct identity *peer_of(const struct enroll_session *s) {
  return quic_peer(h3_conn(s->h3));
}

static bool is_stranger(const struct enroll_session *s) {
  return peer_of(s)->role == ROLE_NONE;
}

static void refuse(struct enroll_session *s, struct h3_req *req,
                   enum reason why, const char *detail) {
  struct enroll_server *e = s->server;
  char from[ZTNA_ADDR_STRLEN];
  e->n.refused_requests[why]++;
  if (enroll_server_may_log(e, &e->requests_log))
    log_warn("enroll: request refused from=%s identity=%s reason=%s detail=%s "
             "request=\"%s %.64s\"",
             ztna_addr_print(&s->remote, from),
             is_stranger(s) ? "none" : peer_of(s)->spiffe, reason_name(why),
             detail ? detail : reason_text(why), h3_method(req), h3_path(req));
  h3_problem(req, why, detail);
}

/* --- signing */

static int set_validity(const struct enroll_server *e, struct cert_spec *s,
                        int64_t lifetime) {
  int64_t now = tls_now();
  if (lifetime > e->o.max_lifetime) lifetime = e->o.max_lifetime;
  s->not_before = now - BACK_DATE;
  if (s->not_before < e->ca.not_before) s->not_before = e->ca.not_before;
  s->not_after = now + lifetime;
  if (s->not_after > e->ca.not_after) s->not_after = e->ca.not_after;
  return e->ca.not_after > now ? 0 : ZTNA_EREFUSED;
}

static void tell(struct question *q, struct enroll_issued *i) {
  struct enroll_server *e = q->session->server;
  char key[2 * KEY_SHOWN + 1], token[2 * TOKEN_ID_LEN + 1];
  char from[ZTNA_ADDR_STRLEN], until[UTC_STRLEN];
  i->key = q->key;
  i->from = q->session->remote;
  if (i->token) hex_print(i->token, TOKEN_ID_LEN, token);
  log_info("enroll: issued identity=%s serial=%s until=%s %s=%s key=%s from=%s",
           i->identity->spiffe, i->identity->serial,
           utc_print(i->identity->not_after, until),
           i->token ? "token" : "renews", i->token ? token : i->former,
           hex_print(q->key, KEY_SHOWN, key), ztna_addr_print(&i->from, from));
  if (i->token)
    e->n.n_issued++;
  else
    e->n.n_renewed++;
  if (e->o.ops->issued) e->o.ops->issued(e->o.ctx, i);
}

static bool read_back(const struct sbuf *cert, struct identity *id) {
  uint8_t *der = malloc(CERT_DER_MAX);
  int n = der ? cert_pem_to_der(cert->s, cert->len, der, CERT_DER_MAX) : -1;
  bool fine = n > 0 && identity_from_der(id, der, (size_t)n) == 0;
  free(der);
  return fine;
}

static void answer(struct question *q, const struct sbuf *cert) {
  const struct enroll_server_options *o = &q->session->server->o;
  json_t *a = json_pack("{s:s%, s:s%}", "certificate", cert->s, cert->len, "ca",
                        o->ca_cert, o->ca_cert_len);
  char *text = a ? json_dumps(a, JSON_COMPACT) : NULL;
  if (text)
    h3_respond(q->req, 200, text, strlen(text));
  else
    refuse(q->session, q->req, REASON_INTERNAL, NULL);
  free(text);
  json_decref(a);
}

static void issue(struct question *q, struct cert_spec *spec, int64_t lifetime,
                  struct enroll_issued *i) {
  struct enroll_server *e = q->session->server;
  const struct enroll_server_options *o = &e->o;
  struct sbuf cert = {0};
  struct identity id;
  if (set_validity(e, spec, lifetime) < 0) {
    log_err("enroll: the CA's certificate has expired");
    refuse(q->session, q->req, REASON_CERTIFICATE_EXPIRED,
           "the CA's certificate");
    return;
  }
  int rc = cert_sign_csr(spec, q->csr, q->csr_len, o->ca_cert, o->ca_cert_len,
                         o->ca_key, o->ca_key_len, &cert);
  if (rc == 0 && read_back(&cert, &id)) {
    i->identity = &id;
    tell(q, i);
    identity_done(&id);
    answer(q, &cert);
  } else {
    log_err("enroll: no certificate could be made identity=%s: %s",
            spec->spiffe, ztna_strerror(rc));
    refuse(q->session, q->req, REASON_INTERNAL, NULL);
  }
  sbuf_done(&cert);
}

/* --- by a token */

static bool token_read(const json_t *body, uint8_t *id, uint8_t *secret) {
  enum { LEN = TOKEN_ID_LEN + TOKEN_SECRET_LEN };
  const json_t *text = json_object_get(body, "token");
  uint8_t both[LEN];
  bool fine = json_string_length(text) == 2 * LEN &&
              hex_parse(both, LEN, json_string_value(text));
  memcpy(id, both, TOKEN_ID_LEN);
  memcpy(secret, both + TOKEN_ID_LEN, TOKEN_SECRET_LEN);
  wipe_bytes(both, sizeof(both));
  return fine;
}

static void issue_for_token(struct question *q, const uint8_t *id,
                            const struct token_grant *g) {
  const struct enroll_server *e = q->session->server;
  char uri[IDENTITY_SPIFFE_MAX + 1];
  struct enroll_issued i = {.token = id};
  struct cert_spec spec = {.spiffe = uri,
                           .dns = (const char *const *)g->dns,
                           .n_dns = g->n_dns,
                           .ips = g->ips,
                           .n_ips = g->n_ips};
  snprintf(uri, sizeof(uri), "spiffe://%s/%s/%s",
           tls_identity(e->o.tls)->trust_domain, role_name(g->role), g->name);
  issue(q, &spec, g->lifetime, &i);
}

static void enroll(struct question *q) {
  struct enroll_server *e = q->session->server;
  uint8_t id[TOKEN_ID_LEN] = {0}, secret[TOKEN_SECRET_LEN] = {0};
  struct token_grant grant = {0};
  const char *detail = NULL;
  if (!token_read(q->body, id, secret)) {
    refuse(q->session, q->req, REASON_MALFORMED, "want \"token\": 48 digits");
    return;
  }
  enum reason why =
      e->o.ops->take(e->o.ctx, id, secret, q->key, &grant, &detail);
  wipe_bytes(secret, sizeof(secret));
  if (why == REASON_NONE)
    issue_for_token(q, id, &grant);
  else
    refuse(q->session, q->req, why, detail);
  token_grant_done(&grant);
}

/* --- by the present certificate */

/* As long as it was, so that a short life stays short; the seconds for late
 * clocks are not counted, or it would grow. */
static void renew(struct question *q) {
  const struct identity *peer = peer_of(q->session);
  int64_t lifetime = peer->not_after - peer->not_before - BACK_DATE;
  struct enroll_issued i = {.former = peer->serial};
  struct cert_spec spec = {.spiffe = peer->spiffe,
                           .dns = (const char *const *)peer->dns,
                           .n_dns = peer->n_dns,
                           .ips = peer->ips,
                           .n_ips = peer->n_ips};
  if (tls_now() > peer->not_after) {
    refuse(q->session, q->req, REASON_CERTIFICATE_EXPIRED, NULL);
    return;
  }
  if (enroll_server_revokes(q->session->server, peer)) { /* since it came */
    refuse(q->session, q->req, REASON_REVOKED, NULL);
    return;
  }
  if (lifetime <= 0) lifetime = peer->not_after - peer->not_before;
  issue(q, &spec, lifetime, &i);
}

/* --- which of them */

static enum reason read_question(struct question *q, const char **detail) {
  size_t len;
  const char *text = h3_body(q->req, &len);
  *detail = "the body is too long";
  if (len > ENROLL_BODY_MAX) return REASON_MALFORMED;
  q->body = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
  const json_t *csr = json_object_get(q->body, "csr");
  *detail = "want a JSON object with \"csr\"";
  if (!json_is_string(csr)) return REASON_MALFORMED;
  q->csr = json_string_value(csr);
  q->csr_len = json_string_length(csr);
  int rc = cert_read_csr(q->csr, q->csr_len, q->key);
  *detail = rc == ZTNA_EREFUSED
                ? "want a request for a P-256 key, signed by it with SHA-256"
                : "\"csr\" is no readable request (PEM)";
  return rc == 0             ? REASON_NONE
         : rc == ZTNA_ENOMEM ? REASON_INTERNAL
                             : REASON_MALFORMED;
}

static bool may_ask(struct enroll_session *s) {
  struct enroll_server *e = s->server;
  return is_stranger(s)
             ? enroll_limit_stranger(&e->limit, e->now, &s->remote)
             : enroll_limit_known(&e->limit, e->now, peer_of(s)->spiffe);
}

static void serve(struct enroll_session *s, struct h3_req *req,
                  void (*ask)(struct question *q)) {
  struct question q = {.session = s, .req = req};
  const char *detail;
  enum reason why = read_question(&q, &detail);
  if (why == REASON_NONE)
    ask(&q);
  else
    refuse(s, req, why, detail);
  json_decref(q.body);
}

void enroll_server_request(struct enroll_session *s, struct h3_req *req) {
  struct enroll_server *e = s->server;
  const char *path = h3_path(req);
  bool first = !strcmp(path, "/v1/enroll"), again = !strcmp(path, "/v1/renew");
  e->n.n_requests++;
  if (s->closing || !s->admitted || e->stopping)
    h3_problem(req, REASON_SHUTTING_DOWN, NULL);
  else if (!may_ask(s))
    refuse(s, req, REASON_RATE_LIMITED, NULL);
  else if (!first && !again)
    refuse(s, req, REASON_ROUTE_UNKNOWN, "no such resource");
  else if (strcmp(h3_method(req), "POST") != 0)
    refuse(s, req, REASON_MALFORMED, "want POST");
  else if (again && is_stranger(s))
    refuse(s, req, REASON_BAD_CERTIFICATE, "only who has one can renew it");
  else
    serve(s, req, first ? enroll : renew);
}
