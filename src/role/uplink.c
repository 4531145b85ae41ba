/* uplink.c - the control connection to one relay, for ever. */
#include "role/uplink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

#define BACKOFF_FIRST (500 * MS)
#define BACKOFF_MAX (30 * SEC)
#define PROBE_EVERY (200 * MS)
#define PROBE_CHANGED (20 * MS)
#define PROBE_FOR (3 * SEC)
#define SILENT_AFTER (600 * MS) /* two probes may be lost */
#define ANSWER_AFTER SEC        /* without one: is the relay still there? */

enum { ADDRS_MAX = 8, HOST_MAX = 256, BACKOFF_SOON = 10 };

struct uplink {
  struct uplink_options o;
  char relay[HOST_MAX], host[HOST_MAX];
  char identity[IDENTITY_SPIFFE_MAX + 1];
  struct ztna_addr addrs[ADDRS_MAX];
  size_t n_addrs, next_addr;
  struct ztna_addr remote;
  enum { WAITING, DIALLING, UP, CLOSED } state;
  struct h3 *session;
  unsigned n_failed; /* attempts since the last success */
  bool wants_addrs;
  uint64_t retry_at;
  uint64_t probe_at, probe_since; /* unanswered since; NEVER */
  uint64_t probe_recv;            /* packets received at that time */
  unsigned n_requests;            /* unanswered */
  uint64_t waiting_since;         /* for the next answer */
  uint64_t self_by;               /* dialling: the first answer; NEVER */
  enum reason why;
  char text[320];
  char mismatch[320]; /* what is wrong with the relay's identity, or "" */
};

/* "[2001:db8::1]:4433" and "relay.example.org:4433" without port and brackets,
 * as the certificate must name it. */
static void host_of(char *host, const char *relay) {
  const char *end = strrchr(relay, ':');
  size_t n = end ? (size_t)(end - relay) : strlen(relay);

  if (n && relay[0] == '[') relay++, n = n > 1 ? n - 2 : 0;
  snprintf(host, HOST_MAX, "%.*s", (int)n, relay);
}

struct uplink *uplink_new(const struct uplink_options *o) {
  struct uplink *u = calloc(1, sizeof(*u));

  if (!u) return NULL;
  u->o = *o;
  snprintf(u->relay, sizeof(u->relay), "%s", o->relay);
  host_of(u->host, u->relay);
  u->wants_addrs = true;
  u->retry_at = NEVER;
  u->probe_since = NEVER;
  u->why = REASON_RELAY_UNREACHABLE;
  snprintf(u->text, sizeof(u->text), "not tried yet");
  return u;
}

void uplink_free(struct uplink *u) { free(u); }

const char *uplink_name(const struct uplink *u) { return u->relay; }
bool uplink_is_up(const struct uplink *u) { return u->state == UP; }
void uplink_confirm(struct uplink *u) { u->n_failed = 0; }
struct ztna_addr uplink_remote(const struct uplink *u) {
  return u->remote;
}
const char *uplink_relay_identity(const struct uplink *u) {
  return u->identity;
}

uint64_t uplink_rtt(const struct uplink *u) {
  struct quic_info i;

  if (!u->session || !h3_conn(u->session)) return 0;
  quic_info(h3_conn(u->session), &i);
  return i.srtt;
}

enum reason uplink_why(const struct uplink *u, const char **text) {
  if (text) *text = u->state == UP ? "" : u->text;
  return u->state == UP ? REASON_NONE : u->why;
}

json_t *uplink_status(const struct uplink *u) {
  const char *text;
  enum reason why = uplink_why(u, &text);

  return json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:f}", "relay", u->relay,
                   "connected", u->state == UP, "reason", reason_name(why),
                   "why", why ? reason_text(why) : "", "fix",
                   why ? reason_fix(why) : "", "text", text, "rtt_ms",
                   (double)uplink_rtt(u) / (double)MS);
}

void uplink_set_addrs(struct uplink *u, const struct ztna_addr *v, size_t n,
                      uint64_t now) {
  bool first = !u->n_addrs;

  u->n_addrs = n < ADDRS_MAX ? n : ADDRS_MAX;
  memcpy(u->addrs, v, u->n_addrs * sizeof(*v));
  if (first && u->n_addrs && u->state == WAITING) u->retry_at = now;
}

bool uplink_wants_addrs(struct uplink *u) {
  bool wants = u->wants_addrs;

  u->wants_addrs = false;
  return wants;
}

/* --- down --- */

/* Doubling to 2 s, for about a minute, in which people wait for their
 * connections to go on; then to 30 s. */
static uint64_t longest_wait(unsigned n_failed) {
  if (n_failed < 2) return BACKOFF_FIRST << n_failed;
  if (n_failed < BACKOFF_SOON) return 2 * SEC;
  n_failed -= BACKOFF_SOON;
  return n_failed < 3 ? 4 * SEC << n_failed : BACKOFF_MAX;
}

/* Each between half and whole, so that not all come at once. */
static uint64_t backoff(struct uplink *u) {
  uint64_t most = longest_wait(u->n_failed);

  return most / 2 + rng_u64(u->o.rng) % (most / 2);
}

static void went_down(struct uplink *u, uint64_t now, enum reason why,
                      const char *text) {
  if (u->state == CLOSED) return;
  /* Whoever took over would be thrown out in turn: leave it alone. */
  if (why == REASON_REPLACED) u->n_failed = BACKOFF_SOON + 4;
  u->state = WAITING;
  u->retry_at = now + backoff(u);
  u->n_failed++;
  u->wants_addrs = true;
  u->probe_since = NEVER;
  u->why = why;
  snprintf(u->text, sizeof(u->text), "%s", text);
  u->o.ev->on_down(u, u->o.ud, why, u->text);
}

static void on_end(struct h3 *s, void *ud, const struct quic_end *why) {
  struct uplink *u = ud;

  if (s != u->session) return;
  u->session = NULL;
  went_down(u, quic_now(u->o.quic), why->reason,
            u->mismatch[0] ? u->mismatch : why->text);
}

/* --- requests --- */

struct request {
  struct uplink *u;
  uplink_answer_fn fn;
  void *ud;
};

static void on_answer(void *ud, struct h3_call *call, int status,
                      const char *body, size_t len) {
  struct request *r = ud;
  json_t *j = len ? json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL) : NULL;

  r->u->n_requests--;
  r->u->waiting_since = quic_now(r->u->o.quic);
  if (r->fn) r->fn(r->ud, status, j);
  json_decref(j);
  free(r);
}

static bool request(struct uplink *u, const char *method, const char *path,
                    json_t *body, uplink_answer_fn fn, void *ud) {
  struct request *r = malloc(sizeof(*r));
  char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
  bool ok;

  if (!r || (body && !text)) {
    free(r);
    free(text);
    return false;
  }
  *r = (struct request){u, fn, ud};
  ok = h3_call(u->session, method, path, text, text ? strlen(text) : 0,
               on_answer, NULL, r);
  free(text);
  if (!ok) free(r);
  if (ok && !u->n_requests++) u->waiting_since = quic_now(u->o.quic);
  return ok;
}

/* --- up --- */

static void on_line(void *ud, struct h3_call *call, const char *line,
                    size_t len) {
  struct uplink *u = ud;
  json_t *e = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
  const char *name = json_string_value(json_object_get(e, "event"));

  if (name && u->session && u->state == UP)
    u->o.ev->on_event(u, u->o.ud, name, e);
  json_decref(e);
}

/* Without events nobody would tell us of anything: begin anew. */
static void on_events_end(void *ud, struct h3_call *call, int status,
                          const char *body, size_t len) {
  struct uplink *u = ud;

  if (u->session && status)
    quic_close(h3_conn(u->session), REASON_MALFORMED, "events ended");
}

/* Events wait for /v1/self, so that nothing arrives before the role is up. */
static void ask_events(struct uplink *u) {
  if (!h3_call(u->session, "GET", "/v1/events", NULL, 0, on_events_end, on_line,
               u))
    quic_close(h3_conn(u->session), REASON_INTERNAL, NULL);
}

static void on_self(void *ud, int status, json_t *body) {
  struct uplink *u = ud;

  if (!u->session || !status) return;
  if (status != 200) {
    quic_close(h3_conn(u->session), uplink_problem(status, body), NULL);
    return;
  }
  u->state = UP;
  u->o.ev->on_up(u, u->o.ud, body);
  if (u->session) ask_events(u);
}

static bool is_our_relay(struct uplink *u, const struct identity *peer) {
  const char *wrong = NULL;

  if (peer->role != ROLE_RELAY)
    wrong = "is no relay's";
  else if (strcmp(peer->trust_domain, u->o.trust_domain))
    wrong = "is of another trust domain";
  else if (!identity_has_host(peer, u->host))
    wrong = "does not name the configured address";
  if (!wrong) return true;
  snprintf(u->mismatch, sizeof(u->mismatch), "its certificate %s: %s", wrong,
           peer->spiffe);
  return false;
}

static int on_ready(struct h3 *s, void *ud, const struct identity *peer) {
  struct uplink *u = ud;

  if (!is_our_relay(u, peer)) return REASON_IDENTITY_MISMATCH;
  snprintf(u->identity, sizeof(u->identity), "%s", peer->spiffe);
  u->self_by = quic_now(u->o.quic) + PROBE_FOR;
  return request(u, "GET", "/v1/self", NULL, on_self, u) ? 0 : REASON_INTERNAL;
}

static const struct h3_ops ops = {
    .on_ready = on_ready,
    .on_end = on_end,
};

static void dial(struct uplink *u, uint64_t now) {
  struct quic_dial d = {.ops = h3_client_ops(), .params = h3_params(false)};
  struct quic_conn *c;

  u->remote = u->addrs[u->next_addr++ % u->n_addrs];
  u->mismatch[0] = 0;
  u->self_by = NEVER;
  u->session = h3_new(false, u->relay, &ops, u);
  if (!u->session) {
    went_down(u, now, REASON_INTERNAL, "no memory");
    return;
  }
  d.remote = u->remote;
  d.server_name = u->host;
  d.ud = u->session;
  if (u->o.keep_alive) d.params.keep_alive = u->o.keep_alive;
  c = quic_dial(u->o.quic, &d, now);
  if (!c) {
    h3_free(u->session);
    u->session = NULL;
    went_down(u, now, REASON_INTERNAL, "no memory");
    return;
  }
  h3_attach(u->session, c);
  u->state = DIALLING;
  u->retry_at = NEVER;
}

bool uplink_request(struct uplink *u, const char *method, const char *path,
                    json_t *body, uplink_answer_fn fn, void *ud) {
  return u->state == UP && u->session && request(u, method, path, body, fn, ud);
}

enum reason uplink_problem(int status, json_t *body) {
  const char *name = json_string_value(json_object_get(body, "reason"));

  if (!status) return REASON_RELAY_UNREACHABLE;
  return name ? reason_find(name) : REASON_INTERNAL;
}

/* --- still there? --- */

void uplink_probe(struct uplink *u, uint64_t now) {
  struct quic_info i;

  if (u->state != UP || now < u->probe_at) return;
  u->probe_at = now + PROBE_EVERY;
  quic_info(h3_conn(u->session), &i);
  if (u->probe_since == NEVER || i.n_recv != u->probe_recv) {
    u->probe_since = now;
    u->probe_recv = i.n_recv;
  }
  quic_ping(h3_conn(u->session), now);
}

/* One change is told many times, and what left in the middle of it is lost, so
 * the last word asks once more. */
void uplink_network_changed(struct uplink *u, uint64_t now) {
  struct quic_info i;

  if (u->state != UP) return;
  quic_info(h3_conn(u->session), &i);
  u->probe_since = now;
  u->probe_recv = i.n_recv;
  u->probe_at = time_min(u->probe_at, now + PROBE_CHANGED);
  uplink_probe(u, now);
}

uint64_t uplink_heard(const struct uplink *u) {
  struct quic_info i;

  if (u->state != UP) return 0;
  quic_info(h3_conn(u->session), &i);
  return i.n_recv;
}

bool uplink_is_silent(const struct uplink *u, uint64_t now) {
  struct quic_info i;

  if (u->state != UP) return true;
  if (u->probe_since == NEVER || now < u->probe_since + SILENT_AFTER)
    return false;
  quic_info(h3_conn(u->session), &i);
  return i.n_recv == u->probe_recv;
}

static void check_probe(struct uplink *u, uint64_t now) {
  struct quic_info i;

  if (u->state != UP || u->probe_since == NEVER) return;
  quic_info(h3_conn(u->session), &i);
  if (i.n_recv != u->probe_recv)
    u->probe_since = NEVER;
  else if (now >= u->probe_since + PROBE_FOR)
    quic_close(h3_conn(u->session), REASON_RELAY_UNREACHABLE,
               "no answer for 3 s");
}

/* The handshake is done on our side only when the relay died in the middle of
 * it; no packet of ours makes the next one send a reset. */
static void check_self(struct uplink *u, uint64_t now) {
  if (u->state != DIALLING || now < u->self_by) return;
  u->self_by = NEVER;
  quic_close(h3_conn(u->session), REASON_RELAY_UNREACHABLE,
             "no answer after the handshake");
}

/* When to ask whether somebody is there: again, since what left while the
 * network changed is lost, or because an answer is overdue. */
static uint64_t ask_at(const struct uplink *u) {
  uint64_t at = u->waiting_since + ANSWER_AFTER;

  if (u->state != UP) return NEVER;
  if (u->probe_since != NEVER) return u->probe_at;
  if (!u->n_requests) return NEVER;
  return at > u->probe_at ? at : u->probe_at;
}

void uplink_close(struct uplink *u) {
  if (u->session && h3_conn(u->session))
    quic_close(h3_conn(u->session), REASON_SHUTTING_DOWN, NULL);
  u->state = CLOSED;
}

bool uplink_is_closed(const struct uplink *u) {
  return u->state == CLOSED && !u->session;
}

void uplink_tick(struct uplink *u, uint64_t now) {
  check_probe(u, now);
  check_self(u, now);
  if (now >= ask_at(u)) uplink_probe(u, now);
  if (u->state == WAITING && now >= u->retry_at && u->n_addrs) dial(u, now);
}

uint64_t uplink_deadline(const struct uplink *u) {
  if (u->state == WAITING && u->n_addrs) return u->retry_at;
  if (u->state == DIALLING) return u->self_by;
  if (u->state != UP) return NEVER;
  if (u->probe_since == NEVER) return ask_at(u);
  return time_min(ask_at(u), u->probe_since + PROBE_FOR);
}
