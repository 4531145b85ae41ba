/* uplink_talk.c - one connection to a relay: is it the one that was dialled,
 * what is asked there, and what it tells. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "role/uplink_int.h"

struct quic_conn *talk_conn(const struct talk *t) {
  return h3_conn(t->session);
}

void talk_close(struct talk *t, enum reason why, const char *text) {
  quic_close(talk_conn(t), why, text);
}

/* --- requests --- */

struct request {
  struct talk *t;
  uplink_answer_fn fn;
  void *ud;
};

static void on_answer(void *ud, struct h3_call *call, int status,
                      const char *body, size_t len) {
  struct request *r = ud;
  json_t *j = len ? json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL) : NULL;

  r->t->n_requests--;
  r->t->waiting_since = quic_now(r->t->u->o.quic);
  if (r->fn) r->fn(r->ud, status, j);
  if (!status && r->t->replaced) renew_owed(r->t->u);
  json_decref(j);
  free(r);
}

bool talk_request(struct talk *t, const char *method, const char *path,
                  json_t *body, uplink_answer_fn fn, void *ud) {
  struct request *r = malloc(sizeof(*r));
  char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
  bool ok;

  if (!r || (body && !text)) {
    free(r);
    free(text);
    return false;
  }
  *r = (struct request){t, fn, ud};
  ok = h3_call(t->session, method, path, text, text ? strlen(text) : 0,
               on_answer, NULL, r);
  free(text);
  if (!ok) free(r);
  if (ok && !t->n_requests++) t->waiting_since = quic_now(t->u->o.quic);
  return ok;
}

/* --- events --- */

static bool is_left(const struct talk *t) {
  const struct uplink *u = t->u;

  return t != u->talk && t != u->next && t != u->former;
}

static void on_line(void *ud, struct h3_call *call, const char *line,
                    size_t len) {
  struct talk *t = ud;
  struct uplink *u = t->u;
  json_t *e;

  if (is_left(t) || u->state != UP) return;
  if (t == u->next) renew_begin_events(u);
  e = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
  if (!(t == u->talk && renew_hold(u, e, len))) uplink_tell(u, e);
  json_decref(e);
}

/* Without events nobody would tell us of anything: begin anew. */
static void on_events_end(void *ud, struct h3_call *call, int status,
                          const char *body, size_t len) {
  struct talk *t = ud;
  struct uplink *u = t->u;
  json_t *j;

  if (!status || is_left(t)) return;
  if (t == u->talk && u->next && u->next_asked) renew_begin_events(u);
  if (t == u->former) {
    renew_former_read(u);
  } else if (t == u->next) {
    j = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    renew_no_events(u, uplink_problem(status, j));
    json_decref(j);
  } else {
    talk_close(t, REASON_MALFORMED, "events ended");
  }
}

void talk_ask_events(struct talk *t, const struct talk *instead) {
  char path[64];

  snprintf(path, sizeof(path), "/v1/events%s%s", instead ? "?instead=" : "",
           instead ? instead->name : "");
  if (!h3_call(t->session, "GET", path, NULL, 0, on_events_end, on_line, t))
    talk_close(t, REASON_INTERNAL, NULL);
}

/* --- its beginning --- */

static bool is_our_relay(struct talk *t, const struct identity *peer) {
  const struct uplink *u = t->u;
  const char *wrong = NULL;

  if (peer->role != ROLE_RELAY)
    wrong = "is no relay's";
  else if (strcmp(peer->trust_domain, u->trust_domain))
    wrong = "is of another trust domain";
  else if (!identity_has_host(peer, u->host))
    wrong = "does not name the configured address";
  if (!wrong) return true;
  snprintf(t->mismatch, sizeof(t->mismatch), "its certificate %s: %s", wrong,
           peer->spiffe);
  return false;
}

/* Of an older relay: it has no name, and is not made anew. */
static void take_name(struct talk *t, json_t *self) {
  const char *name = json_string_value(json_object_get(self, "connection"));
  json_t *features = json_object_get(self, "features"), *f;
  bool can = false;
  size_t i;

  json_array_foreach(features, i,
                     f) if (json_is_string(f) && !strcmp(json_string_value(f),
                                                         "instead")) can = true;
  if (can && name && strlen(name) == UPLINK_HANDLE - 1 &&
      strspn(name, "0123456789abcdef") == UPLINK_HANDLE - 1)
    strcpy(t->name, name);
}

static void on_self(void *ud, int status, json_t *body) {
  struct talk *t = ud;

  if (!status || is_left(t)) return;
  t->self_by = NEVER;
  if (status == 200) take_name(t, body);
  if (t == t->u->next)
    renew_self(t->u, status, body);
  else if (status == 200)
    uplink_came_up(t->u, body);
  else
    talk_close(t, uplink_problem(status, body), NULL);
}

static int on_ready(struct h3 *s, void *ud, const struct identity *peer) {
  struct talk *t = ud;

  if (!is_our_relay(t, peer)) return REASON_IDENTITY_MISMATCH;
  t->self_by = quic_now(t->u->o.quic) + UPLINK_ANSWER;
  return talk_request(t, "GET", "/v1/self", NULL, on_self, t) ? 0
                                                              : REASON_INTERNAL;
}

static void on_end(struct h3 *s, void *ud, const struct quic_end *why) {
  struct talk *t = ud;

  t->u->n_talks--;
  uplink_talk_ended(t, why);
  free(t);
}

static const struct h3_ops ops = {
    .on_ready = on_ready,
    .on_end = on_end,
};

struct talk *talk_dial(struct uplink *u, uint64_t now) {
  struct quic_dial d = {.remote = u->remote,
                        .server_name = u->host,
                        .ops = h3_client_ops(),
                        .params = h3_params(false)};
  struct talk *t = calloc(1, sizeof(*t));
  struct quic_conn *c;

  if (!t) return NULL;
  t->u = u;
  t->self_by = NEVER;
  t->session = h3_new(false, u->relay, &ops, t);
  d.ud = t->session;
  if (u->o.keep_alive) d.params.keep_alive = u->o.keep_alive;
  c = t->session ? quic_dial(u->o.quic, &d, now) : NULL;
  if (!c) {
    h3_free(t->session);
    free(t);
    return NULL;
  }
  h3_attach(t->session, c);
  u->n_talks++;
  return t;
}
