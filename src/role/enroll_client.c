#include "role/enroll_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/time.h"
#include "base/utc.h"
#include "transport/cert.h"
#include "transport/h3.h"

#define HANDSHAKE_WITHIN (2500 * MS) /* of one address */
#define ANSWER_WITHIN (10 * SEC)     /* its CA's key may be on a slow machine */
#define GOODBYE_WITHIN (500 * MS)

struct enroll_client {
  const struct rng *rng;
  char server[TOKEN_SERVER_MAX + 1];
  struct ztna_addr addrs[ENROLL_ADDRS_MAX];
  size_t n_addrs, next_addr;
  uint16_t sock;
  struct sbuf key, csr;
  bool by_token;
  struct token token;
  struct identity same; /* renewal: who we are */
  struct sbuf ca;       /* that is trusted; the token's once it was found */

  enum { LOOKING, ASKING, OVER } stage;
  struct tls *tls;
  struct quic *quic;
  struct h3 *session; /* NULL: no connection */
  bool ended;         /* the stage's connection did, and why: */
  struct quic_end end;
  bool no_answer;
  uint64_t answer_by; /* NEVER */
  uint64_t over_by;   /* to say goodbye */
  char trust_domain[64];
  struct enroll_result result;
};

/* --- the end */

static void goodbye(struct enroll_client *c, enum reason why) {
  c->stage = OVER;
  c->answer_by = NEVER;
  c->over_by = quic_now(c->quic) + GOODBYE_WITHIN;
  if (c->session && h3_conn(c->session))
    quic_close(h3_conn(c->session), why, NULL);
}

#define FAIL(c, why, ...) \
  (enroll_refuse(&(c)->result, why, __VA_ARGS__), goodbye(c, why))

/* --- why a connection failed, in words that help */

static void tell_unreachable(struct enroll_client *c) {
  char at[ZTNA_ADDR_STRLEN];
  const struct ztna_addr *last = &c->addrs[c->next_addr - 1];
  FAIL(c, REASON_RELAY_UNREACHABLE,
       "%s does not answer (%s%s): is it the right name and port, does ztna "
       "enroll-server run there, does a firewall block UDP?",
       c->server, ztna_addr_print(last, at),
       c->n_addrs > 1 ? " and the addresses before it" : "");
}

static void tell_wrong_clock(struct enroll_client *c) {
  char now[UTC_STRLEN];
  FAIL(c, REASON_CERTIFICATE_EXPIRED,
       "the certificate of %s is not valid at this machine's time, %s: is its "
       "clock right?",
       c->server, utc_print(tls_now(), now));
}

static void tell_other_ca(struct enroll_client *c) {
  char digits[17];
  FAIL(c, REASON_BAD_CERTIFICATE,
       "what answers at %s does not show the CA that the token names (SHA-256 "
       "%s...): the token is for another CA or a former one, or somebody is in "
       "between; get a new token from whoever runs the service",
       c->server, hex_print(c->token.ca_sha256, 8, digits));
}

/* What the service has against us, it says after our handshake is done. */
static void tell_refused(struct enroll_client *c) {
  enum reason why = c->end.reason;
  if (why == REASON_CERTIFICATE_EXPIRED)
    FAIL(c, why,
         "%s refuses the own certificate as expired: enrol this machine again "
         "(ztna enroll), or set its clock",
         c->server);
  else if (why == REASON_REVOKED)
    FAIL(c, why,
         "%s refuses the own certificate as revoked: enrol this machine again "
         "with a new token if that was a mistake",
         c->server);
  else
    FAIL(c, why == REASON_NONE ? REASON_INTERNAL : why,
         "%s ended the connection: %s", c->server,
         c->end.text[0] ? c->end.text : reason_text(why));
}

static void tell_not_verified(struct enroll_client *c) {
  enum reason why = c->end.reason;
  FAIL(c, why == REASON_NONE ? REASON_INTERNAL : why,
       "the certificate of %s is refused: %s%s", c->server,
       c->end.text[0] ? c->end.text : reason_text(why),
       c->by_token ? "" : "; is identity.enroll right, and identity.ca?");
}

/* --- the answer */

static void take_answer(struct enroll_client *c, int status, const char *body,
                        size_t len) {
  const struct enroll_expect x = {
      .key = c->key.s,
      .key_len = c->key.len,
      .ca = c->ca.s,
      .ca_len = c->ca.len,
      .trust_domain = c->trust_domain,
      .same = c->by_token ? NULL : &c->same,
  };
  if (status == 200)
    enroll_answer_judge(&x, body, len, &c->result);
  else
    enroll_answer_problem(status, body, len, &c->result);
  goodbye(c, REASON_SHUTTING_DOWN);
}

/* Without a status: why, says the end of the connection, if there is one. */
static void on_answer(void *ud, struct h3_call *call, int status,
                      const char *body, size_t len) {
  struct enroll_client *c = ud;
  if (c->stage != ASKING) return;
  if (status)
    take_answer(c, status, body, len);
  else
    c->no_answer = true;
}

/* --- the question */

static char *question(const struct enroll_client *c) {
  char digits[2 * (TOKEN_ID_LEN + TOKEN_SECRET_LEN) + 1];
  json_t *o = json_pack("{s:s%}", "csr", c->csr.s, c->csr.len);
  if (c->by_token) {
    hex_print(c->token.id, TOKEN_ID_LEN, digits);
    hex_print(c->token.secret, TOKEN_SECRET_LEN,
              digits + (size_t)2 * TOKEN_ID_LEN);
    json_object_set_new(o, "token", json_string(digits));
  }
  char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
  json_decref(o);
  return text;
}

static int ask(struct enroll_client *c, struct h3 *s) {
  char *text = question(c);
  bool ok = text && h3_call(s, "POST", c->by_token ? "/v1/enroll" : "/v1/renew",
                            text, strlen(text), on_answer, NULL, c);
  free(text);
  c->result.asked = ok;
  c->answer_by = quic_now(c->quic) + ANSWER_WITHIN;
  return ok ? 0 : REASON_INTERNAL;
}

/* Whoever holds the CA's key alone can have this role's certificate: the token
 * and the request are for nobody else. */
static int on_ready(struct h3 *s, void *ud, const struct identity *peer) {
  struct enroll_client *c = ud;
  if (c->stage != ASKING) return REASON_BAD_CERTIFICATE;
  snprintf(c->trust_domain, sizeof(c->trust_domain), "%s", peer->trust_domain);
  if (peer->role == ROLE_ENROLL &&
      (c->by_token || !strcmp(peer->trust_domain, c->same.trust_domain)))
    return ask(c, s);
  FAIL(c, REASON_IDENTITY_MISMATCH,
       "what answers at %s is %s, %s: nothing was asked of it", c->server,
       peer->spiffe,
       peer->role == ROLE_ENROLL ? "of another trust domain"
                                 : "no enrolment service");
  return REASON_IDENTITY_MISMATCH;
}

static void on_end(struct h3 *s, void *ud, const struct quic_end *why) {
  struct enroll_client *c = ud;
  if (s != c->session) return;
  c->session = NULL;
  c->ended = true;
  c->end = *why;
}

static const struct h3_ops ops = {.on_ready = on_ready, .on_end = on_end};

/* --- connections */

static bool dial(struct enroll_client *c, uint64_t now) {
  struct quic_dial d = {.remote = c->addrs[c->next_addr++],
                        .sock = c->sock,
                        .ops = h3_client_ops(),
                        .params = h3_params(false)};
  struct quic_conn *conn;
  c->ended = false;
  d.params.handshake_timeout = HANDSHAKE_WITHIN;
  c->session = h3_new(false, c->server, &ops, c);
  if (!c->session) return false;
  d.ud = c->session;
  conn = quic_dial(c->quic, &d, now);
  if (conn) {
    h3_attach(c->session, conn);
    return true;
  }
  h3_free(c->session);
  c->session = NULL;
  return false;
}

/* An endpoint whose handshakes are by tls, which is taken over. */
static bool begin(struct enroll_client *c, struct tls *tls) {
  struct quic_config cfg = {
      .tls = tls, .rng = c->rng, .retry = QUIC_RETRY_NEVER};
  rng_fill(c->rng, cfg.secret, sizeof(cfg.secret));
  struct quic *q = quic_new(&cfg);
  if (!q) {
    tls_free(tls);
    return false;
  }
  quic_free(c->quic);
  tls_free(c->tls);
  c->tls = tls;
  c->quic = q;
  return true;
}

/* The CA that the token names was there: now to whoever proves to hold it. */
static void look_done(struct enroll_client *c, uint64_t now) {
  struct tls *t;
  char why[256];
  c->stage = ASKING;
  c->next_addr--;
  if (tls_new_nobody(&t, c->ca.s, c->ca.len, why, sizeof(why)) < 0)
    FAIL(c, REASON_BAD_CERTIFICATE, "the CA of %s: %s", c->server, why);
  else if (!begin(c, t) || !dial(c, now))
    FAIL(c, REASON_INTERNAL, "no memory");
}

static void look_failed(struct enroll_client *c) {
  if (c->end.reason == REASON_UNSUPPORTED_VERSION || c->end.remote)
    tell_refused(c);
  else
    tell_other_ca(c);
}

static void ask_failed(struct enroll_client *c) {
  if (c->end.remote || c->result.asked)
    tell_refused(c);
  else if (c->end.reason == REASON_CERTIFICATE_EXPIRED)
    tell_wrong_clock(c);
  else
    tell_not_verified(c);
}

/* The stage's connection is gone. */
static void stage_ended(struct enroll_client *c, uint64_t now) {
  bool silent = !c->result.asked && !c->end.remote &&
                c->end.reason == REASON_RELAY_UNREACHABLE;
  c->ended = false;
  if (c->stage == LOOKING && tls_found(c->tls, &c->ca))
    look_done(c, now);
  else if (silent && c->next_addr == c->n_addrs)
    tell_unreachable(c);
  else if (silent && !dial(c, now))
    FAIL(c, REASON_INTERNAL, "no memory");
  else if (!silent && c->stage == LOOKING)
    look_failed(c);
  else if (!silent)
    ask_failed(c);
}

/* --- life */

static int set_key(struct enroll_client *c, const struct enroll_options *o,
                   char *why, size_t room) {
  sbuf_add(&c->key, o->key, o->key_len);
  if (c->key.failed) return ZTNA_ENOMEM;
  int rc = cert_make_csr(c->key.s, c->key.len, &c->csr);
  if (rc == ZTNA_ETLS || rc == ZTNA_EINVAL)
    snprintf(why, room, "key: no P-256 key in PEM form");
  return rc;
}

static int set_token(struct enroll_client *c, const struct token *token,
                     struct tls **tls, char *why, size_t room) {
  c->by_token = true;
  c->token = *token;
  c->stage = LOOKING;
  return tls_new_pinned(tls, token->ca_sha256, why, room);
}

static int set_own(struct enroll_client *c, const struct ztna_identity *own,
                   struct tls **tls, char *why, size_t room) {
  c->stage = ASKING;
  sbuf_add(&c->ca, own->ca, own->ca_len);
  if (c->ca.failed) return ZTNA_ENOMEM;
  int rc = tls_new(tls, own, why, room);
  if (rc < 0) return rc;
  rc = identity_copy(&c->same, tls_identity(*tls));
  if (rc == 0) return 0;
  tls_free(*tls);
  return rc;
}

static int start(struct enroll_client *c, const struct enroll_options *o,
                 uint64_t now, char *why, size_t room) {
  struct tls *tls;
  int rc = set_key(c, o, why, room);
  if (rc == 0)
    rc = o->token ? set_token(c, o->token, &tls, why, room)
                  : set_own(c, o->own, &tls, why, room);
  if (rc < 0) return rc;
  return begin(c, tls) && dial(c, now) ? 0 : ZTNA_ENOMEM;
}

int enroll_client_new(struct enroll_client **out,
                      const struct enroll_options *o, uint64_t now, char *why,
                      size_t room) {
  struct enroll_client *c = calloc(1, sizeof(*c));
  *out = NULL;
  snprintf(why, room, "no memory");
  if (!c) return ZTNA_ENOMEM;
  /* jansson would ask the system for its hash seed; the first call counts. */
  json_object_seed((size_t)rng_u64(o->rng) | 1);
  c->rng = o->rng;
  c->sock = o->sock;
  c->answer_by = c->over_by = NEVER;
  c->n_addrs = o->n_addrs < ENROLL_ADDRS_MAX ? o->n_addrs : ENROLL_ADDRS_MAX;
  memcpy(c->addrs, o->addrs, c->n_addrs * sizeof(*c->addrs));
  snprintf(c->server, sizeof(c->server), "%s", o->server);
  int rc = c->n_addrs ? start(c, o, now, why, room) : ZTNA_EINVAL;
  if (!c->n_addrs) snprintf(why, room, "%s has no address", c->server);
  if (rc == 0)
    *out = c;
  else
    enroll_client_free(c);
  return rc;
}

/* What compilers do not leave out. */
static void wipe(void *bytes, size_t len) {
  volatile uint8_t *p = bytes;
  while (len--) *p++ = 0;
}

void enroll_client_free(struct enroll_client *c) {
  if (!c) return;
  quic_free(c->quic);
  tls_free(c->tls);
  cert_forget(&c->key);
  sbuf_done(&c->csr);
  sbuf_done(&c->ca);
  identity_done(&c->same);
  enroll_result_done(&c->result);
  wipe(&c->token, sizeof(c->token));
  free(c);
}

struct enroll_result *enroll_client_result(struct enroll_client *c) {
  return c->stage == OVER ? &c->result : NULL;
}

bool enroll_client_is_over(const struct enroll_client *c) {
  return c->stage == OVER && (!c->session || quic_now(c->quic) >= c->over_by);
}

/* --- verbs */

void enroll_client_udp_in(struct enroll_client *c, uint64_t now,
                          const struct dgram *d) {
  quic_dgram_in(c->quic, now, d);
}

void enroll_client_tick(struct enroll_client *c, uint64_t now) {
  quic_tick(c->quic, now);
  if (c->stage == OVER) return;
  if (c->ended)
    stage_ended(c, now);
  else if (c->no_answer)
    FAIL(c, REASON_MALFORMED, "the answer of %s is too long, or was cut off",
         c->server);
  else if (now >= c->answer_by)
    FAIL(c, REASON_RELAY_UNREACHABLE,
         "%s took the question but has not answered within 10 s: ask again "
         "soon, the same token holds for 10 minutes",
         c->server);
}

int enroll_client_next(struct enroll_client *c, uint64_t now, struct dgram *v,
                       int max) {
  return quic_next(c->quic, now, v, max);
}

uint64_t enroll_client_deadline(const struct enroll_client *c) {
  uint64_t at = quic_deadline(c->quic);
  if (c->stage == OVER) return c->session ? time_min(at, c->over_by) : at;
  if (c->ended || c->no_answer) return 0;
  return time_min(at, c->answer_by);
}
