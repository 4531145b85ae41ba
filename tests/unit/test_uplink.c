/* test_uplink.c - a control connection that is made anew, towards a relay that
 * is written down here: events come late, answers are owed, and the next
 * connection is not always let in. */
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "base/hex.h"
#include "base/time.h"
#include "role/uplink.h"
#include "sim/pki.h"
#include "sim/seeded.h"

enum { NOW = 1700000000, WIRE = 512, SESSIONS = 8, LINES = 64 };
#define DELAY (10 * MS)

struct session { /* at the relay; the newest has the highest index */
  struct h3 *h3;
  struct h3_req *events, *owed; /* owed: a request without an answer */
  bool over;
  enum reason why;
};

struct packet {
  uint64_t at;
  bool up;
  size_t len;
  uint8_t data[1500];
};

struct world {
  struct seeded rnd;
  struct pki *pki;
  struct tls *relay_tls, *tls;
  struct quic *relay, *q;
  struct uplink *u;
  struct ztna_addr relay_addr, addr;
  struct packet wire[WIRE];
  size_t n_wire;
  uint64_t now;
  struct session v[SESSIONS];
  int n;
  int refuse; /* the status for who wants to take over; 0: let it */
  bool early; /* the former's events end before the next's begin */
  bool old;   /* a relay that does not know of taking over */
  bool cut;   /* nothing arrives */
  int n_up, n_down;
  char said[LINES][32]; /* events, as they came */
  int n_said;
  int answer; /* the last status */
};

static struct world *current;

static int64_t test_time(void) {
  return NOW + (current ? (int64_t)(current->now / SEC) : 0);
}

/* --- the relay --- */

static void line(struct session *s, const char *event) {
  char text[64];

  snprintf(text, sizeof(text), "{\"event\": \"%s\"}", event);
  assert_non_null(s->events);
  assert_int_equal(h3_line(s->events, text, strlen(text)), 0);
}

static struct session *named(struct world *w, const char *name) {
  uint8_t handle[HANDLE_LEN];

  assert_true(hex_parse(handle, HANDLE_LEN, name));
  for (int i = 0; i < w->n; i++)
    if (!w->v[i].over &&
        !memcmp(quic_handle(h3_conn(w->v[i].h3)), handle, HANDLE_LEN))
      return &w->v[i];
  return NULL;
}

static void give_self(struct world *w, struct session *s, struct h3_req *req) {
  char text[200], handle[2 * HANDLE_LEN + 1];

  hex_print(quic_handle(h3_conn(s->h3)), HANDLE_LEN, handle);
  snprintf(text, sizeof(text), "{\"connection\": \"%s\", \"features\": [%s]}",
           handle, w->old ? "\"resume\"" : "\"resume\", \"instead\"");
  h3_respond(req, 200, text, strlen(text));
}

/* The test ends the former's events. */
static void give_events(struct world *w, struct session *s,
                        struct h3_req *req) {
  const char *instead = strchr(h3_path(req), '=');

  if (instead) named(w, instead + 1);
  if (instead && w->refuse) {
    h3_problem(
        req, w->refuse == 403 ? REASON_IDENTITY_MISMATCH : REASON_ROUTE_UNKNOWN,
        NULL);
    return;
  }
  h3_begin_lines(req);
  s->events = req;
  if (instead && w->early)
    h3_end(named(w, instead + 1)->events);
  else
    line(s, "snapshot");
}

static void on_request(struct h3 *h, void *ud, struct h3_req *req) {
  struct session *s = ud;

  if (!strcmp(h3_path(req), "/v1/self"))
    give_self(current, s, req);
  else if (!strncmp(h3_path(req), "/v1/events", 10))
    give_events(current, s, req);
  else
    s->owed = req;
}

static void on_gone(struct h3 *h, void *ud, struct h3_req *req) {
  struct session *s = ud;

  if (req == s->events) s->events = NULL;
  if (req == s->owed) s->owed = NULL;
}

static void on_end(struct h3 *h, void *ud, const struct quic_end *why) {
  struct session *s = ud;

  s->over = true;
  s->why = why->reason;
}

static const struct h3_ops relay_ops = {
    .on_request = on_request, .on_gone = on_gone, .on_end = on_end};

static void *on_accept(void *ud, struct quic_conn *c,
                       const struct quic_initial *in) {
  struct world *w = ud;

  assert_in_range(w->n, 0, SESSIONS - 1);
  w->v[w->n] = (struct session){0};
  w->v[w->n].h3 = h3_new(true, NULL, &relay_ops, &w->v[w->n]);
  h3_attach(w->v[w->n].h3, c);
  return w->v[w->n++].h3;
}

/* --- the uplink's user --- */

static void on_up(struct uplink *u, void *ud, json_t *self) {
  ((struct world *)ud)->n_up++;
}

static void on_event(struct uplink *u, void *ud, const char *name, json_t *e) {
  struct world *w = ud;

  assert_in_range(w->n_said, 0, LINES - 1);
  snprintf(w->said[w->n_said++], sizeof(w->said[0]), "%s", name);
}

static void on_down(struct uplink *u, void *ud, enum reason why,
                    const char *text) {
  ((struct world *)ud)->n_down++;
}

static const struct uplink_events events = {on_up, on_event, on_down};

static void on_answer(void *ud, int status, json_t *body) {
  ((struct world *)ud)->answer = status;
}

static void on_any(void *ud, int status, json_t *body) { *(int *)ud = status; }

/* --- the wire --- */

static void put(struct world *w, struct quic *q) {
  struct dgram v[16];
  int n;

  while ((n = quic_next(q, w->now, v, 16)) > 0)
    for (int i = 0; i < n; i++)
      for (uint32_t off = 0; off < v[i].len; off += v[i].seg) {
        struct packet *p = &w->wire[w->n_wire++];

        assert_in_range(w->n_wire, 1, WIRE - 1);
        *p = (struct packet){.at = w->now + DELAY, .up = q == w->q};
        p->len = v[i].len - off < v[i].seg ? v[i].len - off : v[i].seg;
        memcpy(p->data, v[i].data + off, p->len);
      }
}

static void deliver(struct world *w) {
  struct packet p = w->wire[0];

  memmove(w->wire, w->wire + 1, --w->n_wire * sizeof(p));
  if (p.at > w->now) w->now = p.at;
  if (w->cut) return;
  if (p.up)
    quic_udp_in(w->relay, w->now, &w->addr, &w->relay_addr, 0, p.data, p.len);
  else
    quic_udp_in(w->q, w->now, &w->relay_addr, &w->addr, 0, p.data, p.len);
}

static void tick(struct world *w) {
  quic_tick(w->relay, w->now);
  quic_tick(w->q, w->now);
  uplink_tick(w->u, w->now);
}

static void run(struct world *w, uint64_t for_ns) {
  uint64_t until = w->now + for_ns;

  for (;;) {
    uint64_t at;

    put(w, w->relay);
    put(w, w->q);
    at = time_min(quic_deadline(w->relay), quic_deadline(w->q));
    at = time_min(at, uplink_deadline(w->u));
    if (w->n_wire && w->wire[0].at <= at && w->wire[0].at <= until) {
      deliver(w);
      continue;
    }
    if (at > until) break;
    if (at > w->now) w->now = at;
    tick(w);
  }
  w->now = until;
}

/* --- worlds --- */

static struct tls *agent_tls(struct world *w, int64_t life) {
  int64_t now = test_time();

  return pki_tls_at(w->pki, ROLE_AGENT, "laptop", NULL, now - 900, now + life);
}

static struct world *up_for(int64_t life) {
  static const char *const hosts[] = {"203.0.113.1", NULL};
  struct world *w = current = calloc(1, sizeof(*w));
  struct quic_config server = {.rng = &w->rnd.rng,
                               .accept_ops = h3_server_ops(),
                               .accept_params = h3_params(true),
                               .on_accept = on_accept,
                               .ud = w};
  struct quic_config client = {.rng = &w->rnd.rng};
  struct uplink_options o = {.rng = &w->rnd.rng,
                             .relay = "203.0.113.1:4433",
                             .trust_domain = "example.org",
                             .ev = &events,
                             .ud = w};

  seeded_init(&w->rnd, 7);
  w->now = SEC;
  w->answer = -1;
  w->pki = pki_new("example.org", NOW);
  w->relay_addr = test_addr("203.0.113.1:4433");
  w->addr = test_addr("198.51.100.1:2000");
  server.tls = w->relay_tls = pki_tls(w->pki, ROLE_RELAY, "eu1", hosts);
  client.tls = w->tls = agent_tls(w, life);
  w->relay = quic_new(&server);
  o.quic = w->q = quic_new(&client);
  w->u = uplink_new(&o);
  uplink_set_addrs(w->u, &w->relay_addr, 1, w->now);
  run(w, 200 * MS);
  assert_int_equal(w->n_up, 1);
  assert_non_null(w->v[0].events);
  return w;
}

static struct world *up(void) { return up_for(86400); }

static void down(struct world *w) {
  quic_free(w->q);
  quic_free(w->relay);
  uplink_free(w->u);
  tls_free(w->tls);
  tls_free(w->relay_tls);
  pki_free(w->pki);
  current = NULL;
  free(w);
}

static void exchange(struct world *w) {
  struct tls *t = agent_tls(w, 86400);

  quic_set_tls(w->q, t);
  tls_free(w->tls);
  w->tls = t;
}

static void assert_said(struct world *w, const char *all) {
  char text[LINES * 32] = "";

  for (int i = 0; i < w->n_said; i++) {
    if (i) strcat(text, " ");
    strcat(text, w->said[i]);
  }
  assert_string_equal(text, all);
}

/* Nothing of it reached the user, who still has a connection. */
static void assert_unnoticed(struct world *w) {
  assert_int_equal(w->n_up, 1);
  assert_int_equal(w->n_down, 0);
  assert_true(uplink_is_up(w->u));
}

/* --- tests --- */

static void the_next_one_takes_over(void **state) {
  struct world *w = up();

  exchange(w);
  run(w, 200 * MS);
  assert_int_equal(w->n, 2);
  h3_end(w->v[0].events);
  line(&w->v[1], "two");
  run(w, 100 * MS);
  assert_said(w, "snapshot snapshot two");
  assert_true(w->v[0].over);
  assert_int_equal(w->v[0].why, REASON_REPLACED);
  assert_unnoticed(w);
  run(w, 60 * SEC);
  assert_int_equal(w->n, 2);
  down(w);
}

/* A relay that never ends the former's has no more of our memory than one
 * that does. */
static void what_waits_for_the_former_is_bounded(void **state) {
  static char text[100 << 10];
  struct world *w = up();

  memset(text, ' ', sizeof(text));
  memcpy(text, "{\"event\": \"big\"}", 16);
  exchange(w);
  run(w, 200 * MS);
  w->n_said = 0;
  for (int i = 0; i < 4; i++) {
    assert_int_equal(h3_line(w->v[1].events, text, sizeof(text)), 0);
    run(w, 200 * MS);
  }
  assert_said(w, "snapshot big big big big");
  assert_unnoticed(w);
  down(w);
}

/* It was our own end, so there is nobody to be left alone. */
static void who_registers_anew_does_not_wait_after_a_failure(void **state) {
  struct world *w = up();

  w->refuse = 403;
  exchange(w);
  while (!w->n_down) run(w, MS);
  w->cut = true;
  run(w, 4 * SEC);
  assert_int_equal(w->n_up, 1);
  w->cut = false;
  run(w, 6 * SEC);
  assert_int_equal(w->n_up, 2);
  down(w);
}

static void events_of_the_former_come_first(void **state) {
  struct world *w = up();

  exchange(w);
  run(w, 200 * MS);
  line(&w->v[1], "three");
  run(w, 100 * MS);
  assert_said(w, "snapshot");
  line(&w->v[0], "one");
  line(&w->v[0], "two");
  h3_end(w->v[0].events);
  run(w, 100 * MS);
  assert_said(w, "snapshot one two snapshot three");
  line(&w->v[1], "four");
  run(w, 100 * MS);
  assert_said(w, "snapshot one two snapshot three four");
  assert_unnoticed(w);
  down(w);
}

static void the_former_may_end_before_the_next_begins(void **state) {
  struct world *w = up();

  w->early = true;
  exchange(w);
  run(w, 300 * MS);
  assert_said(w, "snapshot");
  assert_true(w->v[0].over);
  line(&w->v[1], "snapshot");
  run(w, 100 * MS);
  assert_said(w, "snapshot snapshot");
  assert_unnoticed(w);
  down(w);
}

static void a_silent_former_holds_nothing_up_for_long(void **state) {
  struct world *w = up();

  exchange(w);
  run(w, 200 * MS);
  run(w, 3 * SEC);
  assert_said(w, "snapshot snapshot");
  run(w, 8 * SEC);
  assert_true(w->v[0].over);
  assert_unnoticed(w);
  down(w);
}

static void what_was_asked_on_the_former_is_answered(void **state) {
  struct world *w = up();

  assert_true(uplink_request(w->u, "GET", "/v1/x", NULL, on_answer, w));
  run(w, 50 * MS);
  assert_non_null(w->v[0].owed);
  exchange(w);
  run(w, 200 * MS);
  h3_end(w->v[0].events);
  run(w, 4 * SEC);
  assert_int_equal(w->answer, -1);
  h3_respond(w->v[0].owed, 204, NULL, 0);
  run(w, 100 * MS);
  assert_int_equal(w->answer, 204);
  assert_true(w->v[0].over);
  assert_true(uplink_request(w->u, "GET", "/v1/y", NULL, on_answer, w));
  run(w, 50 * MS);
  assert_non_null(w->v[1].owed);
  assert_unnoticed(w);
  down(w);
}

/* Its user takes that for the connection's end, and says all anew on the next
 * one: else neither end would know what the other has. */
static void an_answer_is_not_waited_for_for_ever(void **state) {
  struct world *w = up();

  assert_true(uplink_request(w->u, "GET", "/v1/x", NULL, on_answer, w));
  run(w, 50 * MS);
  exchange(w);
  run(w, 200 * MS);
  h3_end(w->v[0].events);
  run(w, 9 * SEC);
  assert_false(w->v[0].over);
  run(w, 2 * SEC);
  assert_true(w->v[0].over);
  assert_int_equal(w->answer, 0);
  assert_int_equal(w->n_down, 1);
  assert_int_equal(w->n_up, 2);
  down(w);
}

static void the_former_s_death_is_the_end_of_what_it_owed(void **state) {
  struct world *w = up();

  assert_true(uplink_request(w->u, "GET", "/v1/x", NULL, on_answer, w));
  run(w, 50 * MS);
  exchange(w);
  run(w, 200 * MS);
  h3_end(w->v[0].events);
  run(w, 100 * MS);
  assert_unnoticed(w);
  quic_close(h3_conn(w->v[0].h3), REASON_CERTIFICATE_EXPIRED, NULL);
  run(w, 500 * MS);
  assert_int_equal(w->answer, 0);
  assert_int_equal(w->n_down, 1);
  assert_int_equal(w->n_up, 2);
  down(w);
}

static void an_endpoint_that_goes_meanwhile_answers_nothing(void **state) {
  struct world *w = up();
  int answer = -1;

  assert_true(uplink_request(w->u, "GET", "/v1/x", NULL, on_any, &answer));
  run(w, 50 * MS);
  exchange(w);
  run(w, 200 * MS);
  h3_end(w->v[0].events);
  run(w, 100 * MS);
  down(w);
  assert_int_equal(answer, 0);
}

static void one_that_may_not_take_over_is_tried_again(void **state) {
  struct world *w = up();

  w->refuse = 404;
  exchange(w);
  run(w, SEC);
  assert_int_equal(w->n, 2);
  assert_true(w->v[1].over);
  assert_false(w->v[0].over);
  line(&w->v[0], "one");
  run(w, 100 * MS);
  assert_said(w, "snapshot one");
  w->refuse = 0;
  run(w, 6 * SEC);
  assert_int_equal(w->n, 3);
  assert_non_null(w->v[2].events);
  assert_unnoticed(w);
  down(w);
}

static void one_that_has_to_begin_anew_does_so_at_once(void **state) {
  struct world *w = up();

  w->refuse = 403;
  exchange(w);
  run(w, 400 * MS);
  assert_int_equal(w->n_down, 1);
  assert_int_equal(w->n_up, 2);
  assert_true(uplink_is_up(w->u));
  down(w);
}

static void a_relay_of_old_is_left_alone(void **state) {
  struct world *w = up();

  w->old = true;
  exchange(w);
  run(w, SEC);
  assert_int_equal(w->n, 2); /* this one says so */
  assert_true(w->v[1].over);
  assert_unnoticed(w);
  down(w);
}

static void the_end_of_the_present_one_ends_all(void **state) {
  struct world *w = up();

  exchange(w);
  run(w, 35 * MS);
  assert_int_equal(w->n, 2);
  quic_close(h3_conn(w->v[0].h3), REASON_SHUTTING_DOWN, NULL);
  run(w, 200 * MS);
  assert_int_equal(w->n_down, 1);
  run(w, SEC);
  assert_int_equal(w->n_up, 2);
  assert_true(uplink_is_up(w->u));
  down(w);
}

/* 100 s: at 90 to 85 at the latest, in vain, and a few times more. */
static void the_same_certificate_is_no_reason_for_another(void **state) {
  struct world *w = up_for(100);

  run(w, 80 * SEC);
  assert_int_equal(w->n, 1);
  run(w, 18 * SEC);
  assert_in_range(w->n, 2, 4);
  for (int i = 1; i < w->n; i++) assert_true(w->v[i].over);
  assert_unnoticed(w);
  run(w, 4 * SEC);
  assert_false(uplink_is_up(w->u));
  assert_int_equal(uplink_why(w->u, NULL), REASON_CERTIFICATE_EXPIRED);
  down(w);
}

static void a_stop_closes_all(void **state) {
  struct world *w = up();

  exchange(w);
  run(w, 200 * MS);
  uplink_close(w->u);
  run(w, 100 * MS);
  assert_true(uplink_is_closed(w->u));
  assert_true(w->v[0].over && w->v[1].over);
  assert_int_equal(w->v[1].why, REASON_SHUTTING_DOWN);
  down(w);
}

int main(void) {
  static struct seeded rnd;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_next_one_takes_over),
      cmocka_unit_test(who_registers_anew_does_not_wait_after_a_failure),
      cmocka_unit_test(what_waits_for_the_former_is_bounded),
      cmocka_unit_test(events_of_the_former_come_first),
      cmocka_unit_test(the_former_may_end_before_the_next_begins),
      cmocka_unit_test(a_silent_former_holds_nothing_up_for_long),
      cmocka_unit_test(what_was_asked_on_the_former_is_answered),
      cmocka_unit_test(an_answer_is_not_waited_for_for_ever),
      cmocka_unit_test(one_that_may_not_take_over_is_tried_again),
      cmocka_unit_test(one_that_has_to_begin_anew_does_so_at_once),
      cmocka_unit_test(a_relay_of_old_is_left_alone),
      cmocka_unit_test(the_former_s_death_is_the_end_of_what_it_owed),
      cmocka_unit_test(an_endpoint_that_goes_meanwhile_answers_nothing),
      cmocka_unit_test(the_end_of_the_present_one_ends_all),
      cmocka_unit_test(the_same_certificate_is_no_reason_for_another),
      cmocka_unit_test(a_stop_closes_all),
  };

  seeded_init(&rnd, 3);
  if (tls_global_init(&rnd.rng, test_time) < 0) return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
