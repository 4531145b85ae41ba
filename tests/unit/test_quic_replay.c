/* test_quic_replay.c - what somebody on the way gets who says again what a
 * client said to a relay: its first flight, its Retry token, early data. */
#include "unit.h"

#include "base/time.h"
#include "sim/pki.h"
#include "sim/seeded.h"
#include "transport/quic_int.h"

enum { NOW = 1700000000, KEPT = 64 };

struct lab {
  struct seeded rnd;
  struct pki *pki;
  struct tls *tls[2];
  struct quic *client, *server;
  struct ztna_addr at_client, at_server, at_thief;
  uint64_t now;
  struct {
    size_t len;
    uint8_t data[1500];
  } kept[KEPT]; /* what the client sent */
  int n_kept;
  int n_accepted, n_ready, n_end, n_dgrams; /* at the server */
  size_t to_thief, by_thief;                /* bytes */
};

static int on_ready(struct quic_conn *c, void *ud,
                    const struct identity *peer) {
  struct lab *l = ud;

  l->n_ready += quic_is_server(c);
  return 0;
}

static void on_end(struct quic_conn *c, void *ud, const struct quic_end *why) {
  ((struct lab *)ud)->n_end += !quic_is_server(c);
}

static void on_dgram(struct quic_conn *c, void *ud, const uint8_t *data,
                     size_t len) {
  ((struct lab *)ud)->n_dgrams++;
}

static const struct quic_ops ops = {
    .alpn = "h3", .on_ready = on_ready, .on_end = on_end, .on_dgram = on_dgram};

static void *on_accept(void *ud, struct quic_conn *c,
                       const struct quic_initial *in) {
  ((struct lab *)ud)->n_accepted++;
  return ud;
}

static const struct quic_params params = {.idle_timeout = 60 * SEC,
                                          .handshake_timeout = 3 * SEC,
                                          .conn_window = 65536,
                                          .dgrams = true};

/* --- the wire: nobody waits on it --- */

static void keep(struct lab *l, const uint8_t *data, size_t len) {
  if (l->n_kept == KEPT) return;
  memcpy(l->kept[l->n_kept].data, data, len);
  l->kept[l->n_kept++].len = len;
}

static void carry(struct lab *l, struct quic *from) {
  bool up = from == l->client;
  struct dgram v[16];
  int n;

  while ((n = quic_next(from, l->now, v, 16)) > 0)
    for (int i = 0; i < n; i++)
      for (uint32_t at = 0; at < v[i].len; at += v[i].seg) {
        size_t len = v[i].len - at < v[i].seg ? v[i].len - at : v[i].seg;

        if (up)
          keep(l, v[i].data + at, len);
        else if (!ztna_addr_equal(&v[i].remote, &l->at_client)) {
          l->to_thief += len;
          continue;
        }
        quic_udp_in(up ? l->server : l->client, l->now,
                    up ? &l->at_client : &l->at_server,
                    up ? &l->at_server : &l->at_client, 0, v[i].data + at, len);
      }
}

static void run(struct lab *l, uint64_t span) {
  for (uint64_t end = l->now + span; l->now < end; l->now += 5 * MS) {
    carry(l, l->client);
    carry(l, l->server);
    quic_tick(l->client, l->now);
    quic_tick(l->server, l->now);
  }
}

static struct quic *server_new(struct lab *l, enum quic_retry retry,
                               uint8_t secret) {
  struct quic_config cfg = {.tls = l->tls[1],
                            .rng = &l->rnd.rng,
                            .secret = {secret},
                            .retry = retry,
                            .accept_ops = &ops,
                            .accept_params = params,
                            .on_accept = on_accept,
                            .ud = l};

  return quic_new(&cfg);
}

/* A client that came in, and what it sent for it. */
static struct lab *lab_with(enum quic_retry retry, const uint8_t (*keys)[32],
                            size_t n_keys) {
  struct lab *l = calloc(1, sizeof(*l));
  struct quic_config cfg = {.rng = &l->rnd.rng};
  const char *hosts[] = {"relay.test", NULL};
  struct quic_dial d = {.ops = &ops, .ud = l, .params = params};

  seeded_init(&l->rnd, 3);
  l->now = SEC;
  l->pki = pki_new("example.org", NOW);
  l->tls[0] = pki_tls(l->pki, ROLE_AGENT, "laptop", NULL);
  l->tls[1] = pki_tls(l->pki, ROLE_RELAY, "r1", hosts);
  l->at_client = test_addr("198.51.100.1:4000");
  l->at_server = test_addr("192.0.2.1:4433");
  l->at_thief = test_addr("203.0.113.66:666");
  cfg.tls = l->tls[0];
  l->client = quic_new(&cfg);
  l->server = server_new(l, retry, 7);
  quic_set_retry_keys(l->server, keys, n_keys);
  d.remote = l->at_server;
  assert_non_null(quic_dial(l->client, &d, l->now));
  run(l, 500 * MS);
  assert_int_equal(l->n_ready, 1);
  assert_int_equal(l->n_accepted, 1);
  assert_int_equal(quic_stats(l->server)->n_half_open, 0);
  return l;
}

static struct lab *lab_new(enum quic_retry retry) {
  return lab_with(retry, NULL, 0);
}

static void lab_free(struct lab *l) {
  quic_free(l->client);
  quic_free(l->server);
  for (int i = 0; i < 2; i++) tls_free(l->tls[i]);
  pki_free(l->pki);
  free(l);
}

static void say(struct lab *l, const struct ztna_addr *from,
                const uint8_t *data, size_t len) {
  if (ztna_addr_equal(from, &l->at_thief)) l->by_thief += len;
  quic_udp_in(l->server, l->now, from, &l->at_server, 0, data, len);
}

/* The client is served as before. */
static void check_client(struct lab *l) {
  assert_int_equal(l->n_ready, 1);
  assert_int_equal(l->n_end, 0);
  assert_int_equal(quic_stats(l->server)->n_half_open, 0);
  assert_int_equal(quic_stats(l->server)->n_conns, 1);
}

/* --- Initials --- */

/* Whoever says them again lacks the keys for what follows. */
static void a_replayed_first_flight_opens_nothing(void **state) {
  struct lab *l = lab_new(QUIC_RETRY_NEVER);
  int n = l->n_kept;

  for (int i = 0; i < n; i++) /* from whom they were, and from elsewhere */
    say(l, &l->at_client, l->kept[i].data, l->kept[i].len);
  run(l, 20 * MS);
  assert_int_equal(quic_stats(l->server)->n_half_open, 1);
  for (int i = 0; i < n; i++)
    say(l, &l->at_thief, l->kept[i].data, l->kept[i].len);
  run(l, 20 * MS);
  assert_int_equal(l->n_accepted, 3);
  assert_int_equal(quic_stats(l->server)->n_half_open, 2);
  run(l, 4 * SEC);
  assert_in_range(l->to_thief, 1, 3 * l->by_thief);
  check_client(l);
  lab_free(l);
}

/* Where the answers go is not where they were asked for: RFC 9000, 8.1. */
static void one_initial_is_worth_three_times_its_bytes(void **state) {
  struct lab *l = lab_new(QUIC_RETRY_NEVER);

  say(l, &l->at_thief, l->kept[0].data, l->kept[0].len);
  run(l, 5 * SEC);
  assert_int_equal(l->by_thief, l->kept[0].len);
  assert_true(l->to_thief <= 3 * l->by_thief);
  check_client(l);
  lab_free(l);
}

/* --- Retry --- */

/* The first packet that has a token. */
static int with_token(struct lab *l, ngtcp2_pkt_hd *hd) {
  for (int i = 0; i < l->n_kept; i++)
    if (l->kept[i].len >= 1200 && l->kept[i].data[0] >= 0xc0 &&
        ngtcp2_accept(hd, l->kept[i].data, l->kept[i].len) == 0 && hd->tokenlen)
      return i;
  fail_msg("no Initial has a token");
  return -1;
}

static struct lab *retried(int *token) {
  struct lab *l = lab_new(QUIC_RETRY_ALWAYS);
  ngtcp2_pkt_hd hd;

  assert_int_equal(quic_stats(l->server)->n_retries, 2); /* two Initials */
  *token = with_token(l, &hd);
  return l;
}

/* Nothing begins, nobody is answered, and it is counted. */
static void check_token_refused(struct lab *l, const struct ztna_addr *from,
                                const uint8_t *data, size_t len) {
  uint64_t was = quic_stats(l->server)->drops[REASON_MALFORMED];
  uint64_t out = quic_stats(l->server)->n_out;
  int accepted = l->n_accepted;

  quic_udp_in(l->server, l->now, from, &l->at_server, 0, data, len);
  run(l, 50 * MS);
  assert_int_equal(quic_stats(l->server)->drops[REASON_MALFORMED], was + 1);
  assert_int_equal(quic_stats(l->server)->n_out, out);
  assert_int_equal(l->n_accepted, accepted);
}

static void a_retry_token_is_for_one_address(void **state) {
  int i;
  struct lab *l = retried(&i);
  struct ztna_addr port = l->at_client;

  port.port++;
  check_token_refused(l, &l->at_thief, l->kept[i].data, l->kept[i].len);
  check_token_refused(l, &port, l->kept[i].data, l->kept[i].len);
  check_client(l);
  lab_free(l);
}

static void a_retry_token_is_for_one_connection_id(void **state) {
  int i;
  struct lab *l = retried(&i);

  l->kept[i].data[6] ^= 1; /* its destination connection ID */
  check_token_refused(l, &l->at_client, l->kept[i].data, l->kept[i].len);
  check_client(l);
  lab_free(l);
}

static void a_retry_token_is_worth_nothing_after_ten_seconds(void **state) {
  int i;
  struct lab *l = retried(&i);

  say(l, &l->at_client, l->kept[i].data, l->kept[i].len);
  assert_int_equal(l->n_accepted, 2); /* a half-open one, and no more */
  run(l, 10 * SEC);
  check_client(l);
  check_token_refused(l, &l->at_client, l->kept[i].data, l->kept[i].len);
  check_client(l);
  lab_free(l);
}

static void a_retry_token_of_another_key_is_refused(void **state) {
  int i;
  struct lab *l = retried(&i);

  quic_free(l->server);
  l->server = server_new(l, QUIC_RETRY_ALWAYS, 8);
  check_token_refused(l, &l->at_client, l->kept[i].data, l->kept[i].len);
  lab_free(l);
}

/* --- keys of several relays --- */

static const uint8_t keys[4][QUIC_RETRY_KEY_LEN] = {{1}, {2}, {3}, {4}};

/* Another relay with these keys of its own, said the token of the first one:
 * does it take it? */
static bool takes_token(struct lab *l, int i, const uint8_t (*k)[32],
                        size_t n) {
  int accepted = l->n_accepted;

  quic_free(l->server);
  l->server = server_new(l, QUIC_RETRY_ALWAYS, 9);
  quic_set_retry_keys(l->server, k, n);
  say(l, &l->at_client, l->kept[i].data, l->kept[i].len);
  return l->n_accepted > accepted;
}

/* A client whose token the first key made. */
static struct lab *retried_by_key(int *token) {
  struct lab *l = lab_with(QUIC_RETRY_ALWAYS, keys, 1);
  ngtcp2_pkt_hd hd;

  *token = with_token(l, &hd);
  return l;
}

static void a_token_of_one_relay_is_taken_by_another(void **state) {
  int i;
  struct lab *l = retried_by_key(&i);

  assert_false(takes_token(l, i, keys + 1, 3)); /* not the key */
  assert_false(takes_token(l, i, NULL, 0));
  assert_true(takes_token(l, i, keys, 1));
  lab_free(l);
}

/* Behind a new key, and as the last of four. */
static void an_old_key_is_taken_until_it_leaves_the_file(void **state) {
  static const uint8_t rotated[4][QUIC_RETRY_KEY_LEN] = {{2}, {1}};
  static const uint8_t last[4][QUIC_RETRY_KEY_LEN] = {{4}, {3}, {2}, {1}};
  int i;
  struct lab *l = retried_by_key(&i);

  assert_true(takes_token(l, i, rotated, 2));
  assert_true(takes_token(l, i, last, 4));
  assert_false(takes_token(l, i, rotated, 1));
  lab_free(l);
}

/* Exchanged in a relay that runs; what it made before is judged by what holds
 * now. */
static void tokens_are_made_by_the_first_key(void **state) {
  static const uint8_t rotated[2][QUIC_RETRY_KEY_LEN] = {{2}, {1}};
  struct lab *l = lab_with(QUIC_RETRY_ALWAYS, rotated, 2);
  ngtcp2_pkt_hd hd;
  int i = with_token(l, &hd);

  quic_set_retry_keys(l->server, keys, 1); /* without that one */
  check_token_refused(l, &l->at_client, l->kept[i].data, l->kept[i].len);
  quic_set_retry_keys(l->server, keys + 1, 1);
  say(l, &l->at_client, l->kept[i].data, l->kept[i].len);
  assert_int_equal(l->n_accepted, 2);
  lab_free(l);
}

/* --- early data --- */

/* A 0-RTT packet for this connection ID: whatever keys made it, no server has
 * any. */
static size_t early(struct lab *l, uint8_t *p, const uint8_t *dcid,
                    uint8_t dcid_len) {
  size_t n = 0;

  p[n++] = 0xd0;
  memcpy(p + n, "\0\0\0\1", 4), n += 4;
  p[n++] = dcid_len;
  memcpy(p + n, dcid, dcid_len), n += dcid_len;
  p[n++] = 0;                   /* no source id */
  p[n++] = 0x44, p[n++] = 0x00; /* length 1024 */
  rng_fill(&l->rnd.rng, p + n, 1024);
  return n + 1024;
}

static void early_data_is_never_read(void **state) {
  struct lab *l = lab_new(QUIC_RETRY_NEVER);
  const struct quic_stats *s = quic_stats(l->server);
  uint64_t strange = s->drops[REASON_ROUTE_UNKNOWN];
  uint8_t p[1500], nobodys[16] = {1, 2, 3};
  size_t len = early(l, p, nobodys, sizeof(nobodys));

  /* Before any Initial it is not even kept. */
  say(l, &l->at_thief, p, len);
  assert_int_equal(quic_stats(l->server)->drops[REASON_ROUTE_UNKNOWN],
                   strange + 1);
  /* Behind a real first flight, and on a live connection's own id. */
  say(l, &l->at_thief, l->kept[0].data, l->kept[0].len);
  len = early(l, p, l->kept[0].data + 6, l->kept[0].data[5]);
  say(l, &l->at_thief, p, len);
  for (int i = 0; i < l->n_kept; i++)
    if (l->kept[i].data[0] < 0x80) {
      uint64_t was = quic_stats(l->server)->n_discarded;

      len = early(l, p, l->kept[i].data + 1, QUIC_CID_LEN);
      say(l, &l->at_client, p, len);
      assert_int_equal(quic_stats(l->server)->n_discarded, was + 1);
      break;
    }
  run(l, 4 * SEC);
  assert_int_equal(l->n_dgrams, 0);
  check_client(l);
  lab_free(l);
}

static struct seeded tls_rnd;
static int64_t test_time(void) { return NOW; }

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_replayed_first_flight_opens_nothing),
      TEST(one_initial_is_worth_three_times_its_bytes),
      TEST(a_retry_token_is_for_one_address),
      TEST(a_retry_token_is_for_one_connection_id),
      TEST(a_retry_token_is_worth_nothing_after_ten_seconds),
      TEST(a_retry_token_of_another_key_is_refused),
      TEST(a_token_of_one_relay_is_taken_by_another),
      TEST(an_old_key_is_taken_until_it_leaves_the_file),
      TEST(tokens_are_made_by_the_first_key),
      TEST(early_data_is_never_read),
  };
  int rc;

  seeded_init(&tls_rnd, 1);
  tls_global_init(&tls_rnd.rng, test_time);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  tls_global_done();
  return rc;
}
