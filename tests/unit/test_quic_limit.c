/* test_quic_limit.c - how much strangers, and one client with a certificate,
 * may have of an endpoint that faces the internet. */
#include "unit.h"

#include "base/time.h"
#include "sim/pki.h"
#include "sim/seeded.h"
#include "transport/quic_int.h"

enum { NOW = 1700000000 };

struct lab {
  struct seeded rnd;
  struct pki *pki;
  struct tls *tls[2];
  struct quic *server;
  struct ztna_addr at_server;
  uint64_t now;
  int n_accepted, n_ready, n_end; /* at the server */
  enum reason why;                /* of the last end */
  struct quic_conn *last;         /* that was ready */
};

/* A client of its own, which the server hears from this address. */
struct caller {
  struct lab *l;
  struct quic *q;
  struct quic_conn *c;
  struct ztna_addr addr;
  bool ready, ended;
};

static int on_ready(struct quic_conn *c, void *ud,
                    const struct identity *peer) {
  ((struct lab *)ud)->n_ready++;
  ((struct lab *)ud)->last = c;
  return 0;
}

static void on_end(struct quic_conn *c, void *ud, const struct quic_end *why) {
  ((struct lab *)ud)->n_end++;
  ((struct lab *)ud)->why = why->reason;
}

static const struct quic_ops server_ops = {
    .alpn = "h3", .on_ready = on_ready, .on_end = on_end};

static int on_called(struct quic_conn *c, void *ud,
                     const struct identity *peer) {
  ((struct caller *)ud)->ready = true;
  return 0;
}

static void on_over(struct quic_conn *c, void *ud, const struct quic_end *why) {
  ((struct caller *)ud)->ended = true;
}

static const struct quic_ops client_ops = {
    .alpn = "h3", .on_ready = on_called, .on_end = on_over};

static void *on_accept(void *ud, struct quic_conn *c,
                       const struct quic_initial *in) {
  ((struct lab *)ud)->n_accepted++;
  return ud;
}

static const struct quic_params params = {.idle_timeout = 60 * SEC,
                                          .handshake_timeout = 3 * SEC,
                                          .conn_window = 65536};

static struct lab *lab_new(enum quic_retry retry) {
  struct lab *l = calloc(1, sizeof(*l));
  const char *hosts[] = {"relay.test", NULL};
  struct quic_config cfg = {.rng = &l->rnd.rng,
                            .retry = retry,
                            .accept_ops = &server_ops,
                            .accept_params = params,
                            .on_accept = on_accept,
                            .resets = true,
                            .ud = l};

  seeded_init(&l->rnd, 5);
  l->now = SEC;
  l->pki = pki_new("example.org", NOW);
  l->tls[0] = pki_tls(l->pki, ROLE_AGENT, "laptop", NULL);
  l->tls[1] = pki_tls(l->pki, ROLE_RELAY, "r1", hosts);
  l->at_server = test_addr("192.0.2.1:4433");
  cfg.tls = l->tls[1];
  l->server = quic_new(&cfg);
  return l;
}

static void lab_free(struct lab *l) {
  quic_free(l->server);
  for (int i = 0; i < 2; i++) tls_free(l->tls[i]);
  pki_free(l->pki);
  free(l);
}

/* --- the wire --- */

/* What the client has to say; true if there was something. */
static bool say(struct caller *a) {
  struct lab *l = a->l;
  struct dgram v[16];
  int n = quic_next(a->q, l->now, v, 16);

  for (int i = 0; i < n; i++)
    for (uint32_t at = 0; at < v[i].len; at += v[i].seg) {
      uint32_t left = v[i].len - at;

      quic_udp_in(l->server, l->now, &a->addr, &l->at_server, 0, v[i].data + at,
                  left < v[i].seg ? left : v[i].seg);
    }
  return n > 0;
}

/* What the server says to this client (NULL: to nobody at all). */
static void hear(struct lab *l, struct caller *a) {
  struct dgram v[16];
  int n;

  while ((n = quic_next(l->server, l->now, v, 16)) > 0)
    for (int i = 0; i < n; i++)
      for (uint32_t at = 0; at < v[i].len; at += v[i].seg) {
        uint32_t left = v[i].len - at;

        if (!a || !ztna_addr_equal(&v[i].remote, &a->addr)) continue;
        quic_udp_in(a->q, l->now, &l->at_server, &a->addr, 0, v[i].data + at,
                    left < v[i].seg ? left : v[i].seg);
      }
}

static void talk(struct caller *a, uint64_t span) {
  struct lab *l = a->l;

  for (uint64_t end = l->now + span; l->now < end; l->now += 5 * MS) {
    while (say(a)) hear(l, a);
    hear(l, a);
    quic_tick(a->q, l->now);
    quic_tick(l->server, l->now);
  }
}

static void call(struct caller *a, struct lab *l, const char *from) {
  struct quic_config cfg = {.rng = &l->rnd.rng, .tls = l->tls[0]};
  struct quic_dial d = {
      .remote = l->at_server, .ops = &client_ops, .ud = a, .params = params};

  *a = (struct caller){.l = l, .q = quic_new(&cfg), .addr = test_addr(from)};
  a->c = quic_dial(a->q, &d, l->now);
}

/* One that hears no answer. */
static void knock(struct lab *l, const char *from) {
  struct caller a;

  call(&a, l, from);
  say(&a);
  quic_free(a.q);
}

static bool gets_in(struct lab *l, const char *from) {
  struct caller a;
  bool in;

  call(&a, l, from);
  talk(&a, 50 * MS);
  in = a.ready;
  quic_close(a.c, REASON_SHUTTING_DOWN, NULL);
  talk(&a, 20 * MS);
  quic_free(a.q);
  return in;
}

static uint64_t limited(struct lab *l) {
  return quic_stats(l->server)->drops[REASON_RATE_LIMITED];
}

/* --- handshakes --- */

/* From addresses that answer: nobody else is kept out. */
static void a_prefix_begins_fifty_handshakes_a_second(void **state) {
  struct lab *l = lab_new(QUIC_RETRY_AUTO);
  char from[32];
  int n_in = 0, n_others = 0;
  uint64_t began = l->now, allowed;

  for (int i = 0; i < 400; i++) {
    struct caller a;

    snprintf(from, sizeof(from), "198.51.100.%d:%d", i % 200, 2000 + i);
    call(&a, l, from);
    talk(&a, 5 * MS); /* there and back without delay */
    n_in += a.ready;
    quic_free(a.q);
    if (i % 50 == 49) n_others += gets_in(l, "203.0.113.7:999");
  }
  allowed = 200 + 50 * (l->now - began) / SEC;
  assert_in_range(n_in, allowed - 6, allowed + 2);
  assert_int_equal(n_others, 8);
  assert_in_range(limited(l), 100, 800); /* with a token, and still too many */
  assert_true(quic_stats(l->server)->n_retries >= 100);
  lab_free(l);
}

/* A /48 has 256 networks of a /56, each of which could have its fifty. */
static void one_with_many_prefixes_leaves_half_to_others(void **state) {
  struct lab *l = lab_new(QUIC_RETRY_AUTO);
  struct ztna_addr near = test_addr("[2001:db8::1]:1"),
                   far = test_addr("[2001:db9::1]:1");
  int n_near = 0, n_far = 0;

  for (int i = 0; i < 10000; i++) { /* ten seconds */
    l->server->now += MS;
    near.ip[6] = (uint8_t)i;
    n_near += limit_handshake(l->server, &near);
    if (i % 50 == 49) n_far += limit_handshake(l->server, &far);
  }
  assert_in_range(n_near, 2500, 2800);
  assert_int_equal(n_far, 200);
  lab_free(l);
}

/* Names of others take nothing from them: Retry holds them off before. */
static void spoofed_addresses_use_up_no_prefix(void **state) {
  struct lab *l = lab_new(QUIC_RETRY_AUTO);
  char from[32];

  for (int i = 0; i < 600; i++) {
    snprintf(from, sizeof(from), "203.0.113.%d:%d", i % 200, 2000 + i);
    knock(l, from);
    hear(l, NULL);
  }
  assert_int_equal(l->n_accepted, HALF_OPEN_RETRY);
  assert_true(gets_in(l, "203.0.113.250:999"));
  assert_int_equal(limited(l), 0);
  lab_free(l);
}

/* What a flood may have of the processor. */
static void retries_have_a_bound_in_all(void **state) {
  struct lab *l = lab_new(QUIC_RETRY_ALWAYS);
  struct caller a;
  struct dgram v[4];
  uint8_t first[1500];
  uint32_t len;

  call(&a, l, "198.51.100.1:2000");
  assert_in_range(quic_next(a.q, l->now, v, 4), 1, 4);
  len = v[0].seg;
  memcpy(first, v[0].data, len);
  for (int i = 0; i < 3000; i++) {
    quic_udp_in(l->server, l->now, &a.addr, &l->at_server, 0, first, len);
    hear(l, NULL);
  }
  assert_int_equal(quic_stats(l->server)->n_retries, 2000);
  assert_int_equal(limited(l), 1000);
  assert_int_equal(l->n_accepted, 0);
  l->now += 10 * MS;
  assert_true(gets_in(l, "203.0.113.7:999"));
  quic_free(a.q);
  lab_free(l);
}

/* Many prefixes that never finish: the oldest gives way. */
static void a_full_table_takes_in_who_comes(void **state) {
  struct lab *l = lab_new(QUIC_RETRY_NEVER);
  char from[32];

  for (int i = 0; i < HALF_OPEN_MAX; i++) {
    snprintf(from, sizeof(from), "198.51.%d.1:2000", i);
    knock(l, from);
    hear(l, NULL);
  }
  assert_int_equal(quic_stats(l->server)->n_half_open, HALF_OPEN_MAX);
  assert_false(gets_in(l, "203.0.113.7:999")); /* all are young */
  assert_true(quic_stats(l->server)->drops[REASON_TOO_MANY_ROUTES] >= 2);
  l->now += 500 * MS;
  assert_true(gets_in(l, "203.0.113.7:999"));
  assert_int_equal(l->why, REASON_SHUTTING_DOWN);
  assert_in_range(quic_stats(l->server)->n_half_open, HALF_OPEN_MAX - 2,
                  HALF_OPEN_MAX - 1);
  lab_free(l);
}

/* --- resets --- */

static uint64_t resets_for(struct lab *l, const char *from, int n) {
  uint64_t was = quic_stats(l->server)->n_resets_out;
  struct ztna_addr a = test_addr(from);
  uint8_t p[100];

  for (int i = 0; i < n; i++) {
    rng_fill(&l->rnd.rng, p, sizeof(p));
    p[0] = 0x43;
    quic_udp_in(l->server, l->now, &a, &l->at_server, 0, p, sizeof(p));
    hear(l, NULL);
  }
  return quic_stats(l->server)->n_resets_out - was;
}

/* After a restart all who were there need one. */
static void noise_from_one_prefix_leaves_resets_to_others(void **state) {
  struct lab *l = lab_new(QUIC_RETRY_AUTO);
  char from[32];

  assert_int_equal(resets_for(l, "198.51.100.1:2000", 3000), 100);
  assert_int_equal(resets_for(l, "198.51.100.9:2000", 1), 0);
  assert_int_equal(resets_for(l, "203.0.113.7:999", 1), 1);
  for (int i = 0; i < 40; i++) {
    snprintf(from, sizeof(from), "192.0.%d.1:2000", i);
    resets_for(l, from, 100);
  }
  assert_int_equal(quic_stats(l->server)->n_resets_out, 1000);
  l->now += SEC;
  assert_int_equal(resets_for(l, "198.51.100.1:2000", 3000), 100);
  lab_free(l);
}

/* --- packets of one connection --- */

/* Four thousand packets a second: what is too many is not even decrypted, and
 * the connection lives. */
static void a_connection_is_heard_a_thousand_times_a_second(void **state) {
  struct lab *l = lab_new(QUIC_RETRY_AUTO);
  struct quic_info before, after;
  struct caller a;

  call(&a, l, "198.51.100.1:2000");
  talk(&a, 100 * MS);
  assert_true(a.ready);
  quic_info(l->last, &before);
  for (int i = 0; i < 4 * 4000; i++) {
    l->now += 250 * 1000;
    quic_ping(a.c, l->now);
    say(&a);
    hear(l, &a);
    quic_tick(l->server, l->now);
    quic_tick(a.q, l->now);
  }
  quic_info(l->last, &after);
  assert_in_range(after.n_recv - before.n_recv, 4000, 2000 + 4 * 1000 + 10);
  assert_true(limited(l) > 500);
  talk(&a, 5 * SEC);
  assert_int_equal(l->n_end, 0);
  assert_false(a.ended);
  quic_free(a.q);
  lab_free(l);
}

/* Or whoever knows its handle could make it deaf. */
static void garbage_on_a_handle_uses_up_nothing_of_its_owners(void **state) {
  struct lab *l = lab_new(QUIC_RETRY_AUTO);
  uint8_t p[60];
  struct caller a;

  call(&a, l, "198.51.100.1:2000");
  talk(&a, 100 * MS);
  quic_ping(a.c, l->now);
  {
    struct dgram v[4];

    assert_int_equal(quic_next(a.q, l->now, v, 4), 1);
    memcpy(p, v[0].data, 1 + QUIC_CID_LEN);
  }
  for (int i = 0; i < 20000; i++) {
    rng_fill(&l->rnd.rng, p + 1 + QUIC_CID_LEN, sizeof(p) - 1 - QUIC_CID_LEN);
    quic_udp_in(l->server, l->now, &a.addr, &l->at_server, 0, p, sizeof(p));
  }
  assert_int_equal(limited(l), 0);
  assert_true(quic_stats(l->server)->n_discarded >= 20000);
  talk(&a, SEC);
  assert_int_equal(l->n_end, 0);
  quic_free(a.q);
  lab_free(l);
}

static struct seeded tls_rnd;
static int64_t test_time(void) { return NOW; }

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_prefix_begins_fifty_handshakes_a_second),
      TEST(one_with_many_prefixes_leaves_half_to_others),
      TEST(spoofed_addresses_use_up_no_prefix),
      TEST(retries_have_a_bound_in_all),
      TEST(a_full_table_takes_in_who_comes),
      TEST(noise_from_one_prefix_leaves_resets_to_others),
      TEST(a_connection_is_heard_a_thousand_times_a_second),
      TEST(garbage_on_a_handle_uses_up_nothing_of_its_owners),
  };
  int rc;

  seeded_init(&tls_rnd, 1);
  tls_global_init(&tls_rnd.rng, test_time);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  tls_global_done();
  return rc;
}
