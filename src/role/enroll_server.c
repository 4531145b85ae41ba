/* enroll_server.c - the enrolment service's life: who may connect, for how
 * long, and how many at a time. What they ask for: enroll_server_api.c. */
#include "role/enroll_server_int.h"

#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

enum { LOG_BURST = 20 };
#define LOG_EVERY (10 * SEC)

bool enroll_server_may_log(struct enroll_server *e, struct log_limit *l) {
  uint32_t hidden = 0;
  if (!log_allow(l, e->now, LOG_BURST, LOG_EVERY, &hidden)) return false;
  if (hidden) log_warn("enroll: lines of this kind left out n=%u", hidden);
  return true;
}

/* --- sessions */

static const struct h3_ops session_ops;

static void refused(struct enroll_server *e, const struct ztna_addr *from,
                    enum reason why, const char *who, const char *detail) {
  char text[ZTNA_ADDR_STRLEN];
  e->n.refused_connections[why]++;
  if (enroll_server_may_log(e, &e->connections_log))
    log_warn("enroll: connection refused from=%s identity=%s reason=%s "
             "detail=%s",
             ztna_addr_print(from, text), who, reason_name(why),
             detail && *detail ? detail : reason_text(why));
}

static const char *full(const struct enroll_server *e, size_t network) {
  if (e->n.n_connections >= e->o.max_connections)
    return "max_connections is reached";
  if (e->of_network[network] >= ENROLL_PER_NETWORK)
    return "too many from this network";
  return NULL;
}

static void *on_accept(void *ud, struct quic_conn *c,
                       const struct quic_initial *in) {
  struct enroll_server *e = ud;
  size_t network = enroll_limit_network(&e->limit, &in->remote);
  const char *why = full(e, network);
  if (e->stopping || why) {
    refused(e, &in->remote,
            e->stopping ? REASON_SHUTTING_DOWN : REASON_RATE_LIMITED, "unknown",
            why);
    return NULL;
  }
  struct enroll_session *s = calloc(1, sizeof(*s));
  struct h3 *h3 = s ? h3_new(true, NULL, &session_ops, s) : NULL;
  if (!h3) {
    free(s);
    return NULL;
  }
  *s = (struct enroll_session){.server = e,
                               .h3 = h3,
                               .remote = in->remote,
                               .network = network,
                               .ends_at = e->now + ENROLL_STAY};
  h3_attach(h3, c);
  TAILQ_INSERT_TAIL(&e->sessions, s, all);
  e->n.n_connections++;
  e->of_network[network]++;
  return h3;
}

static void session_free(struct enroll_session *s) {
  struct enroll_server *e = s->server;
  TAILQ_REMOVE(&e->sessions, s, all);
  e->n.n_connections--;
  e->of_network[s->network]--;
  free(s);
}

static void session_close(struct enroll_session *s, enum reason why) {
  if (s->closing) return;
  s->closing = true;
  quic_close(h3_conn(s->h3), why, NULL);
}

bool enroll_server_revokes(const struct enroll_server *e,
                           const struct identity *peer) {
  return e->o.ops->revoked && e->o.ops->revoked(e->o.ctx, peer);
}

/* An admin's certificate is renewed by a person; another enrolment service has
 * the key itself. */
static enum reason admit(const struct enroll_server *e,
                         const struct identity *peer) {
  if (e->stopping) return REASON_SHUTTING_DOWN;
  if (peer->role == ROLE_NONE) return REASON_NONE;
  if (strcmp(peer->trust_domain, tls_identity(e->o.tls)->trust_domain) != 0)
    return REASON_IDENTITY_MISMATCH;
  if (peer->role != ROLE_AGENT && peer->role != ROLE_CONNECTOR &&
      peer->role != ROLE_RELAY)
    return REASON_IDENTITY_MISMATCH;
  return enroll_server_revokes(e, peer) ? REASON_REVOKED : REASON_NONE;
}

static int on_ready(struct h3 *h3, void *ud, const struct identity *peer) {
  struct enroll_session *s = ud;
  enum reason why = admit(s->server, peer);
  if (why == REASON_NONE) {
    s->admitted = true;
    return 0;
  }
  s->refusal_logged = true;
  refused(s->server, &s->remote, why, peer->spiffe, NULL);
  return why;
}

/* The first handshake of a machine with a token: it only looks for its CA. */
static bool is_look(const struct quic_end *why) {
  return why->remote && why->reason == REASON_BAD_CERTIFICATE;
}

static void on_end(struct h3 *h3, void *ud, const struct quic_end *why) {
  struct enroll_session *s = ud;
  if (is_look(why))
    s->server->n.n_looks++;
  else if (!s->admitted && !s->refusal_logged)
    refused(s->server, &s->remote, why->reason, "unknown", why->text);
  session_free(s);
}

static void on_address(struct h3 *h3, void *ud,
                       const struct ztna_addr *remote) {
  ((struct enroll_session *)ud)->remote = *remote;
}

static void on_request(struct h3 *h3, void *ud, struct h3_req *req) {
  enroll_server_request(ud, req);
}

static const struct h3_ops session_ops = {
    .on_ready = on_ready,
    .on_end = on_end,
    .on_address = on_address,
    .on_request = on_request,
};

/* --- life */

static int quic_init(struct enroll_server *e) {
  struct quic_config c = {
      .tls = e->o.tls,
      .rng = e->o.rng,
      /* Machines come once in a while: a round trip more is nothing, and
       * nobody uses up places, or handshakes, in the name of a network. */
      .retry = QUIC_RETRY_ALWAYS,
      .accept_ops = h3_server_ops(),
      .accept_params = h3_params(true),
      .on_accept = on_accept,
      .ud = e,
  };
  rng_fill(e->o.rng, c.secret, sizeof(c.secret));
  e->quic = quic_new(&c);
  return e->quic ? 0 : ZTNA_ENOMEM;
}

static int read_ca(struct enroll_server *e) {
  uint8_t *der = malloc(CERT_DER_MAX);
  if (!der) return ZTNA_ENOMEM;
  int n = cert_pem_to_der(e->o.ca_cert, e->o.ca_cert_len, der, CERT_DER_MAX);
  int rc = n < 0 || cert_read_ca(&e->ca, der, (size_t)n) < 0 ? ZTNA_EINVAL : 0;
  free(der);
  return rc;
}

int enroll_server_new(struct enroll_server **to,
                      const struct enroll_server_options *o, uint64_t now) {
  struct enroll_server *e = calloc(1, sizeof(*e));
  *to = NULL;
  if (!e) return ZTNA_ENOMEM;
  /* jansson would ask the system for its hash seed; the first call counts. */
  json_object_seed((size_t)rng_u64(o->rng) | 1);
  e->o = *o;
  e->now = now;
  TAILQ_INIT(&e->sessions);
  enroll_limit_init(&e->limit, o->rng, now);
  tls_admit_nobody(o->tls);
  int rc = read_ca(e);
  if (rc == 0) rc = quic_init(e);
  if (rc == 0)
    *to = e;
  else
    enroll_server_free(e);
  return rc;
}

void enroll_server_free(struct enroll_server *e) {
  if (!e) return;
  e->stopping = true;
  quic_free(e->quic); /* the sessions end */
  free(e);
}

/* --- verbs */

void enroll_server_udp_in(struct enroll_server *e, uint64_t now,
                          const struct dgram *d) {
  e->now = now;
  quic_dgram_in(e->quic, now, d);
}

void enroll_server_tick(struct enroll_server *e, uint64_t now) {
  struct enroll_session *s;
  e->now = now;
  TAILQ_FOREACH(s, &e->sessions, all) {
    if (s->ends_at > now) break;
    session_close(s, REASON_IDLE);
  }
  quic_tick(e->quic, now);
}

int enroll_server_next(struct enroll_server *e, uint64_t now, struct dgram *v,
                       int max) {
  e->now = now;
  return quic_next(e->quic, now, v, max);
}

/* The oldest ones may be closing already. */
uint64_t enroll_server_deadline(const struct enroll_server *e) {
  const struct enroll_session *s;
  uint64_t at = quic_deadline(e->quic);
  TAILQ_FOREACH(s, &e->sessions, all)
  if (!s->closing) return time_min(at, s->ends_at);
  return at;
}

/* --- asked from outside */

void enroll_server_set_tls(struct enroll_server *e, struct tls *t,
                           uint64_t now) {
  e->now = now;
  tls_admit_nobody(t);
  e->o.tls = t;
  quic_set_tls(e->quic, t);
}

void enroll_server_stop(struct enroll_server *e, uint64_t now) {
  struct enroll_session *s;
  e->now = now;
  e->stopping = true;
  TAILQ_FOREACH(s, &e->sessions, all) session_close(s, REASON_SHUTTING_DOWN);
}

bool enroll_server_stopped(const struct enroll_server *e) {
  return e->stopping && TAILQ_EMPTY(&e->sessions);
}

bool enroll_server_ready(const struct enroll_server *e, enum reason *why) {
  *why = e->stopping                    ? REASON_SHUTTING_DOWN
         : e->ca.not_after <= tls_now() ? REASON_CERTIFICATE_EXPIRED
                                        : REASON_NONE;
  return *why == REASON_NONE;
}

/* --- what it counted */

struct report {
  struct enroll_counters own;
  struct quic_stats quic;
};

#define OWN(member) offsetof(struct report, own.member)
#define QUIC(member) offsetof(struct report, quic.member)

static const struct metric metrics[] = {
    {"ztna_enroll_connections", "connections now, half-open ones too",
     METRIC_GAUGE, OWN(n_connections)},
    {"ztna_enroll_connections_refused_total", "connections refused",
     METRIC_REASONS, OWN(refused_connections)},
    {"ztna_enroll_looks_total",
     "handshakes that only looked for the CA's certificate", METRIC_COUNTER,
     OWN(n_looks)},
    {"ztna_enroll_handshakes_total", "connections accepted", METRIC_COUNTER,
     QUIC(n_handshakes)},
    {"ztna_enroll_half_open", "handshakes on their way", METRIC_GAUGE,
     QUIC(n_half_open)},
    {"ztna_enroll_retries_total", "Retry packets sent", METRIC_COUNTER,
     QUIC(n_retries)},
    {"ztna_enroll_stray_packets_total", "packets of no connection",
     METRIC_REASONS, QUIC(drops)},
    {"ztna_enroll_requests_total", "requests", METRIC_COUNTER, OWN(n_requests)},
    {"ztna_enroll_requests_refused_total", "requests refused", METRIC_REASONS,
     OWN(refused_requests)},
    {"ztna_enroll_issued_total", "certificates made for tokens", METRIC_COUNTER,
     OWN(n_issued)},
    {"ztna_enroll_renewed_total", "certificates made anew", METRIC_COUNTER,
     OWN(n_renewed)},
    {0},
};

void enroll_server_metrics(const struct enroll_server *e, struct sbuf *out) {
  struct report report = {.own = e->n, .quic = *quic_stats(e->quic)};
  metrics_print(out, metrics, &report);
}

void enroll_server_status(const struct enroll_server *e, json_t *status) {
  const struct identity *own = tls_identity(e->o.tls);
  json_object_set_new(status, "identity", json_string(own->spiffe));
  json_object_set_new(status, "ca",
                      json_pack("{s:s, s:I}", "name", e->ca.common_name,
                                "not_after", (json_int_t)e->ca.not_after));
  json_object_set_new(status, "connections",
                      json_integer((json_int_t)e->n.n_connections));
  json_object_set_new(status, "certificates",
                      json_pack("{s:I, s:I}", "issued",
                                (json_int_t)e->n.n_issued, "renewed",
                                (json_int_t)e->n.n_renewed));
}
