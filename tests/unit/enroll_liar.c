#include "enroll_liar.h"

#include <jansson.h>

#include "transport/hash.h"

static struct ew *current;

static int64_t test_time(void) {
  return EW_NOW + (current ? (int64_t)(current->now / SEC) : 0);
}

/* --- certificates */

void ew_ca_make(struct ew_ca *ca, const char *common_name) {
  uint8_t der[CERT_DER_MAX];
  *ca = (struct ew_ca){0};
  assert_int_equal(cert_make_ca(common_name, EW_NOW - 3600,
                                EW_NOW + 86400 * 3650, &ca->cert, &ca->key),
                   0);
  int n = cert_pem_to_der(ca->cert.s, ca->cert.len, der, sizeof(der));
  assert_true(n > 0);
  hash_sha256(der, (size_t)n, ca->sha256);
}

void ew_ca_done(struct ew_ca *ca) {
  sbuf_done(&ca->cert);
  sbuf_done(&ca->key);
}

void ew_leaf_make(struct ew_leaf *l, const struct ew_ca *ca, const char *spiffe,
                  int64_t from, int64_t to) {
  const struct cert_spec spec = {
      .spiffe = spiffe, .not_before = from, .not_after = to};
  *l = (struct ew_leaf){0};
  assert_int_equal(cert_make_leaf(&spec, ca->cert.s, ca->cert.len, ca->key.s,
                                  ca->key.len, &l->cert, &l->key),
                   0);
}

void ew_leaf_done(struct ew_leaf *l) {
  sbuf_done(&l->cert);
  sbuf_done(&l->key);
}

/* --- the service */

static void on_request(struct h3 *s, void *ud, struct h3_req *r) {
  struct ew *w = ud;
  size_t len;
  const char *body = h3_body(r, &len);
  w->n_requests++;
  snprintf(w->method, sizeof(w->method), "%s", h3_method(r));
  snprintf(w->path, sizeof(w->path), "%s", h3_path(r));
  assert_in_range(len, 1, sizeof(w->body) - 1);
  memcpy(w->body, body, len + 1);
  if (w->answer) w->answer(w, r);
}

static const struct h3_ops server_ops = {.on_request = on_request};

static void *on_accept(void *ud, struct quic_conn *c,
                       const struct quic_initial *in) {
  struct h3 *s = h3_new(true, NULL, &server_ops, ud);
  h3_attach(s, c);
  return s;
}

static void serve(struct ew *w, const struct ew_ca *ca, const char *spiffe,
                  bool shown, int64_t from, int64_t to) {
  struct quic_config c = {.rng = &w->rnd.rng,
                          .retry = QUIC_RETRY_NEVER,
                          .accept_ops = h3_server_ops(),
                          .accept_params = h3_params(true),
                          .on_accept = on_accept,
                          .ud = w};
  struct ew_leaf l;
  struct tls *tls;
  char why[256];
  ew_leaf_make(&l, ca, spiffe, from, to);
  if (shown) sbuf_add(&l.cert, ca->cert.s, ca->cert.len);
  const struct ztna_identity own = {.cert = l.cert.s,
                                    .cert_len = l.cert.len,
                                    .key = l.key.s,
                                    .key_len = l.key.len,
                                    .ca = ca->cert.s,
                                    .ca_len = ca->cert.len};
  if (tls_new(&tls, &own, why, sizeof(why)) < 0) fail_msg("%s", why);
  tls_admit_nobody(tls);
  ew_leaf_done(&l);
  quic_free(w->quic);
  tls_free(w->tls);
  c.tls = w->tls = tls;
  w->quic = quic_new(&c);
  assert_non_null(w->quic);
}

void ew_serve(struct ew *w, const struct ew_ca *ca, const char *spiffe,
              bool shown) {
  serve(w, ca, spiffe, shown, EW_NOW - 3600, EW_NOW + 86400);
}

void ew_serve_until(struct ew *w, const struct ew_ca *ca, const char *spiffe,
                    int64_t from, int64_t to) {
  serve(w, ca, spiffe, true, from, to);
}

void ew_reply(struct h3_req *r, const struct sbuf *cert,
              const struct sbuf *ca) {
  json_t *o = json_pack("{s:s%, s:s%}", "certificate", cert->s, cert->len, "ca",
                        ca->s, ca->len);
  char *text = json_dumps(o, JSON_COMPACT);
  h3_respond(r, 200, text, strlen(text));
  free(text);
  json_decref(o);
}

void ew_csr(const struct ew *w, struct sbuf *csr) {
  json_t *o = json_loads(w->body, 0, NULL);
  const char *text = json_string_value(json_object_get(o, "csr"));
  assert_non_null(text);
  sbuf_add(csr, text, strlen(text));
  json_decref(o);
}

void ew_sign(struct ew *w, struct h3_req *r) {
  const struct cert_spec spec = {.spiffe = w->sign_as,
                                 .not_before = w->sign_from,
                                 .not_after = w->sign_to};
  const struct ew_ca *ca = w->sign_by;
  struct sbuf csr = {0}, cert = {0};
  ew_csr(w, &csr);
  assert_int_equal(cert_sign_csr(&spec, csr.s, csr.len, ca->cert.s,
                                 ca->cert.len, ca->key.s, ca->key.len, &cert),
                   0);
  ew_reply(r, &cert, &ca->cert);
  sbuf_done(&csr);
  sbuf_done(&cert);
}

/* --- the wire */

static void put(struct ew *w, bool to_server, const struct dgram *d) {
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    assert_in_range(w->n_wire, 0, EW_WIRE - 1);
    struct ew_packet *p = &w->wire[w->n_wire++];
    p->at = w->now + EW_DELAY;
    p->to_server = to_server;
    p->len = d->len - off < d->seg ? d->len - off : d->seg;
    assert_in_range(p->len, 1, sizeof(p->data));
    memcpy(p->data, d->data + off, p->len);
  }
}

static void drain(struct ew *w) {
  struct dgram v[8];
  int n;
  while ((n = enroll_client_next(w->client, w->now, v, 8)) > 0)
    for (int i = 0; i < n; i++) {
      assert_int_equal(v[i].sock, 7);
      if (!ztna_addr_equal(&v[i].remote, &w->addr))
        w->n_dialled_wrong++;
      else if (!w->silent)
        put(w, true, &v[i]);
    }
  while ((n = quic_next(w->quic, w->now, v, 8)) > 0)
    for (int i = 0; i < n; i++) put(w, false, &v[i]);
}

static void deliver(struct ew *w) {
  static struct ew_packet p;
  struct dgram d = {.seg = 1};
  p = w->wire[0];
  memmove(w->wire, w->wire + 1, --w->n_wire * sizeof(p));
  if (p.at > w->now) w->now = p.at;
  d.data = p.data;
  d.len = (uint32_t)p.len;
  d.seg = (uint16_t)p.len;
  d.remote = p.to_server ? test_addr("192.0.2.1:5000") : w->addr;
  d.local = p.to_server ? w->addr : test_addr("192.0.2.1:5000");
  d.sock = p.to_server ? 0 : 7;
  if (p.to_server)
    quic_dgram_in(w->quic, w->now, &d);
  else
    enroll_client_udp_in(w->client, w->now, &d);
}

static bool step(struct ew *w, uint64_t until) {
  drain(w);
  uint64_t at =
      time_min(quic_deadline(w->quic), enroll_client_deadline(w->client));
  if (w->n_wire && w->wire[0].at <= at) {
    deliver(w);
    return true;
  }
  if (at > until) return false;
  if (at > w->now) w->now = at;
  quic_tick(w->quic, w->now);
  enroll_client_tick(w->client, w->now);
  return true;
}

struct enroll_result *ew_run(struct ew *w) {
  uint64_t until = w->now + 60 * SEC;
  while (!enroll_client_is_over(w->client) && step(w, until)) continue;
  assert_true(enroll_client_is_over(w->client));
  return enroll_client_result(w->client);
}

/* --- the machine */

void ew_begin(struct ew *w, const struct enroll_options *given) {
  struct enroll_options o = *given;
  char why[256];
  enroll_client_free(w->client);
  w->n_wire = 0;
  o.rng = &w->rnd.rng;
  o.server = "enroll.test:4435";
  if (!o.addrs) o.addrs = &w->addr, o.n_addrs = 1;
  o.sock = 7;
  if (enroll_client_new(&w->client, &o, w->now, why, sizeof(why)) < 0)
    fail_msg("%s", why);
}

struct enroll_result *ew_enroll(struct ew *w) {
  const struct enroll_options o = {
      .key = w->key.s, .key_len = w->key.len, .token = &w->token};
  ew_begin(w, &o);
  return ew_run(w);
}

struct enroll_result *ew_renew(struct ew *w) {
  const struct ztna_identity own = {.cert = w->agent.cert.s,
                                    .cert_len = w->agent.cert.len,
                                    .key = w->agent.key.s,
                                    .key_len = w->agent.key.len,
                                    .ca = w->ca.cert.s,
                                    .ca_len = w->ca.cert.len};
  const struct enroll_options o = {
      .key = own.key, .key_len = own.key_len, .own = &own};
  ew_begin(w, &o);
  return ew_run(w);
}

/* --- life */

struct ew *ew_new(void) {
  static struct seeded tls_rnd;
  static bool begun;
  struct ew *w = calloc(1, sizeof(*w));
  if (!begun) {
    seeded_init(&tls_rnd, 11);
    assert_int_equal(tls_global_init(&tls_rnd.rng, test_time), 0);
    begun = true;
  }
  current = w;
  seeded_init(&w->rnd, 7);
  w->now = SEC;
  w->addr = test_addr("203.0.113.1:4435");
  ew_ca_make(&w->ca, "ztna CA example.org");
  ew_leaf_make(&w->agent, &w->ca, "spiffe://example.org/agent/laptop-7",
               EW_NOW - EW_BACK_DATE, EW_NOW + 86400 * 30);
  rng_fill(&w->rnd.rng, w->token.id, sizeof(w->token.id));
  rng_fill(&w->rnd.rng, w->token.secret, sizeof(w->token.secret));
  memcpy(w->token.ca_sha256, w->ca.sha256, 32);
  assert_int_equal(cert_make_key(&w->key), 0);
  w->sign_as = "spiffe://example.org/agent/laptop-7";
  w->sign_by = &w->ca;
  w->sign_from = EW_NOW - EW_BACK_DATE;
  w->sign_to = EW_NOW + 86400 * 30;
  w->answer = ew_sign;
  ew_serve(w, &w->ca, "spiffe://example.org/enroll/ca", true);
  return w;
}

void ew_free(struct ew *w) {
  enroll_client_free(w->client);
  quic_free(w->quic);
  tls_free(w->tls);
  ew_leaf_done(&w->agent);
  ew_ca_done(&w->ca);
  sbuf_done(&w->key);
  current = NULL;
  free(w);
}
