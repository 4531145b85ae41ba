/* test_relay_stun.c - what a relay answers to STUN, from where, and to whom not
 * at all. */
#include "relay_world.h"

#include "codec/stun.h"

#define IP1 "203.0.113.1"
#define IP2 "203.0.113.2"
#define STRANGER "198.51.100.7:5000"

/* The last answer. */
static struct {
  int n; /* how many came */
  struct ztna_addr from, to;
  size_t len;
  struct stun_msg m;
} got;

enum shape { MAIN_ONLY, SECOND_PORT, SECOND_IP };

static struct world *relay_with(enum shape shape) {
  struct relay_stun_pair pairs[] = {
      {test_addr("0.0.0.0:4433"), test_addr("0.0.0.0:4434")},
      {test_addr("[::]:4433"), test_addr("[::]:4434")}};
  struct world *w = world_new();
  struct relay_options o;

  relay_free(w->relay);
  world_options(w, &o);
  o.stun = pairs;
  o.n_stun = shape == MAIN_ONLY ? 0 : 2;
  if (shape == SECOND_IP) {
    o.stun_ips[0][0] = test_addr(IP1);
    o.stun_ips[0][1] = test_addr(IP2);
  }
  w->relay = relay_new(&o, w->now);
  assert_non_null(w->relay);
  return w;
}

static void look(const struct dgram *d) {
  if (!stun_is(d->data, d->len)) return; /* QUIC's */
  got.n++;
  got.from = d->local;
  got.to = d->remote;
  got.len = d->len;
  assert_int_equal(d->seg, d->len);
  assert_int_equal(stun_read(&got.m, d->data, d->len), 0);
}

/* Returns how many answers came. */
static int send_bytes(struct world *w, const char *from, const char *to,
                      const uint8_t *data, size_t len, size_t seg) {
  struct dgram v[16], d = {.remote = test_addr(from),
                           .local = test_addr(to),
                           .data = data,
                           .len = (uint32_t)len,
                           .seg = (uint16_t)seg};
  int n;

  memset(&got, 0, sizeof(got));
  relay_udp_in(w->relay, w->now, &d);
  while ((n = relay_next(w->relay, w->now, v, N_OF(v))) > 0)
    for (int i = 0; i < n; i++) look(&v[i]);
  return got.n;
}

static int send_msg(struct world *w, const char *from, const char *to,
                    const struct stun_msg *m) {
  uint8_t room[STUN_MAX];
  int len = stun_write(room, m, NULL, 0, NULL);

  return send_bytes(w, from, to, room, (size_t)len, (size_t)len);
}

static struct stun_msg question(void) {
  return (struct stun_msg){
      .class = STUN_REQUEST, .method = STUN_BINDING, .txid = "hello world"};
}

static int ask(struct world *w, const char *from, const char *to) {
  struct stun_msg m = question();
  return send_msg(w, from, to, &m);
}

static int ask_change(struct world *w, const char *from, const char *to,
                      uint32_t bits, size_t padding) {
  struct stun_msg m = question();
  m.has_change = true;
  m.change = bits;
  m.padding = padding;
  return send_msg(w, from, to, &m);
}

static void assert_addr(const struct ztna_addr *a, const char *text) {
  char is[ZTNA_ADDR_STRLEN];
  assert_string_equal(ztna_addr_print(a, is), text);
}

static long counted(struct world *w, const char *name) {
  struct sbuf out = {0};
  long n = -1;

  relay_metrics(w->relay, &out);
  for (char *line = out.s; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ' ')
      n = atol(line + strlen(name));
  }
  sbuf_done(&out);
  return n;
}
#define DROPPED(reason) "ztna_relay_stun_dropped_total{reason=\"" reason "\"}"
#define REFUSED(reason) "ztna_relay_stun_refused_total{reason=\"" reason "\"}"

/* --- what is answered */

static void who_asks_is_told_its_address(void **state) {
  struct world *w = relay_with(MAIN_ONLY);
  struct stun_msg m = question();

  assert_int_equal(ask(w, STRANGER, IP1 ":4433"), 1);
  assert_addr(&got.to, STRANGER);
  assert_addr(&got.from, IP1 ":4433");
  assert_int_equal(got.m.class, STUN_SUCCESS);
  assert_memory_equal(got.m.txid, m.txid, STUN_TXID_LEN);
  assert_addr(&got.m.mapped, STRANGER);
  assert_addr(&got.m.origin, IP1 ":4433");
  assert_int_equal(got.m.other.family, 0);
  assert_false(got.m.fingerprint);
  ask(w, "[2001:db8::7]:5000", "[2001:db8:1::1]:4433");
  assert_addr(&got.m.mapped, "[2001:db8::7]:5000");
  assert_int_equal(counted(w, "ztna_relay_stun_requests_total"), 2);
  assert_int_equal(counted(w, "ztna_relay_stun_answers_total"), 2);
  world_free(w);
}

static void a_fingerprint_is_answered_by_one(void **state) {
  struct world *w = relay_with(SECOND_PORT);
  struct stun_msg m = question();

  m.fingerprint = true;
  assert_int_equal(send_msg(w, STRANGER, IP1 ":4433", &m), 1);
  assert_true(got.m.fingerprint);
  assert_addr(&got.m.mapped, STRANGER);
  world_free(w);
}

static void every_address_tells_of_the_opposite_one(void **state) {
  const char *const places[][2] = {{IP1 ":4433", IP2 ":4434"},
                                   {IP1 ":4434", IP2 ":4433"},
                                   {IP2 ":4433", IP1 ":4434"},
                                   {IP2 ":4434", IP1 ":4433"}};
  struct world *w = relay_with(SECOND_IP);

  for (size_t i = 0; i < N_OF(places); i++) {
    assert_int_equal(ask(w, STRANGER, places[i][0]), 1);
    assert_addr(&got.from, places[i][0]);
    assert_addr(&got.m.origin, places[i][0]);
    assert_addr(&got.m.other, places[i][1]);
  }
  /* A third address of the machine has the other port only. */
  ask(w, STRANGER, "203.0.113.3:4433");
  assert_addr(&got.m.other, "203.0.113.3:4434");
  world_free(w);
}

static void answers_stay_within_three_times_the_request(void **state) {
  struct world *w = relay_with(SECOND_PORT);
  bool complete = false, bare = false;

  for (size_t padding = 0; padding < 100; padding += 4)
    for (int fingerprint = 0; fingerprint < 2; fingerprint++) {
      struct stun_msg m = question();
      m.padding = padding;
      m.fingerprint = fingerprint;
      size_t sent =
          STUN_HEADER + (padding ? 4 + padding : 0) + (fingerprint ? 8 : 0);
      w->now += SEC;
      assert_int_equal(
          send_msg(w, "[2001:db8::7]:1", "[2001:db8:1::1]:4433", &m), 1);
      assert_in_range(got.len, 1, 3 * sent);
      assert_int_equal(got.m.padding, 0);
      assert_addr(&got.m.mapped, "[2001:db8::7]:1");
      complete |=
          got.m.other.family && got.m.origin.family && got.m.legacy_mapped;
      bare |= !got.m.other.family && !got.m.origin.family;
    }
  assert_true(complete && bare);
  world_free(w);
}

static void the_other_address_is_the_last_to_be_left_out(void **state) {
  struct world *w = relay_with(SECOND_PORT);

  assert_int_equal(ask(w, STRANGER, IP1 ":4433"), 1);
  assert_addr(&got.m.other, IP1 ":4434");
  assert_false(got.m.legacy_mapped);
  struct stun_msg m = question();
  m.fingerprint = true;
  send_msg(w, "[2001:db8::7]:1", "[2001:db8:1::1]:4433", &m);
  assert_addr(&got.m.other, "[2001:db8:1::1]:4434");
  assert_int_equal(got.m.origin.family, 0);
  world_free(w);
}

static void each_packet_of_a_train_is_answered(void **state) {
  struct world *w = relay_with(SECOND_PORT);
  struct stun_msg m = question();
  uint8_t train[5 * STUN_HEADER];

  for (size_t i = 0; i < 5; i++) {
    m.txid[0] = (uint8_t)i;
    stun_write(train + i * STUN_HEADER, &m, NULL, 0, NULL);
  }
  assert_int_equal(
      send_bytes(w, STRANGER, IP1 ":4433", train, sizeof(train), STUN_HEADER),
      5);
  assert_int_equal(got.m.txid[0], 4);
  assert_int_equal(
      send_bytes(w, STRANGER, IP1 ":4434", train, sizeof(train), STUN_HEADER),
      5);
  world_free(w);
}

/* --- answers from elsewhere */

static void a_changed_answer_comes_from_where_it_was_asked_to(void **state) {
  const struct {
    uint32_t bits;
    const char *from;
  } v[] = {{STUN_CHANGE_PORT, IP1 ":4434"},
           {STUN_CHANGE_IP, IP2 ":4433"},
           {STUN_CHANGE_IP | STUN_CHANGE_PORT, IP2 ":4434"},
           {0, IP1 ":4433"}};
  struct world *w = relay_with(SECOND_IP);

  for (size_t i = 0; i < N_OF(v); i++) {
    assert_int_equal(ask_change(w, STRANGER, IP1 ":4433", v[i].bits, 60), 1);
    assert_int_equal(got.m.class, STUN_SUCCESS);
    assert_addr(&got.from, v[i].from);
    assert_addr(&got.m.origin, v[i].from);
    assert_addr(&got.m.other, IP2 ":4434");
  }
  ask_change(w, STRANGER, IP2 ":4434", STUN_CHANGE_IP | STUN_CHANGE_PORT, 60);
  assert_addr(&got.from, IP1 ":4433");
  world_free(w);
}

static void assert_change_is_unknown(void) {
  assert_int_equal(got.n, 1);
  assert_int_equal(got.m.class, STUN_ERROR);
  assert_int_equal(got.m.error, STUN_UNKNOWN_ATTRIBUTE);
  assert_int_equal(got.m.n_listed, 1);
  assert_int_equal(got.m.listed[0], STUN_ATTR_CHANGE_REQUEST);
}

static void what_a_relay_has_not_it_cannot_change(void **state) {
  struct world *w = relay_with(SECOND_PORT);

  ask_change(w, STRANGER, IP1 ":4433", STUN_CHANGE_PORT, 60);
  assert_addr(&got.from, IP1 ":4434");
  ask_change(w, STRANGER, IP1 ":4433", STUN_CHANGE_IP, 60);
  assert_addr(&got.from, IP1 ":4433");
  assert_change_is_unknown();
  ask_change(w, STRANGER, IP1 ":4433", STUN_CHANGE_IP | STUN_CHANGE_PORT, 60);
  assert_change_is_unknown();
  assert_int_equal(counted(w, REFUSED("no-such-service")), 2);
  world_free(w);
  w = relay_with(MAIN_ONLY);
  ask_change(w, STRANGER, IP1 ":4433", STUN_CHANGE_PORT, 60);
  assert_change_is_unknown();
  world_free(w);
}

static void sockets_bound_to_one_address_each_are_paired_by_it(void **state) {
  struct relay_stun_pair pairs[] = {
      {test_addr(IP1 ":4433"), test_addr(IP1 ":3478")},
      {test_addr(IP2 ":4433"), test_addr("0.0.0.0:3479")}};
  struct world *w = world_new();
  struct relay_options o;

  relay_free(w->relay);
  world_options(w, &o);
  o.stun = pairs;
  o.n_stun = 2;
  o.stun_ips[0][0] = test_addr(IP1);
  o.stun_ips[0][1] = test_addr(IP2);
  w->relay = relay_new(&o, w->now);
  ask(w, STRANGER, IP1 ":4433");
  assert_addr(&got.m.other, IP1 ":3478"); /* not on the other IP */
  ask(w, STRANGER, IP2 ":4433");
  assert_addr(&got.m.other, IP2 ":3479");
  world_free(w);
}

/* A request that gets more than it sent could be somebody else's: answers from
 * elsewhere pass filters. */
static void an_answer_goes_to_another_port_of_who_asks(void **state) {
  struct world *w = relay_with(SECOND_PORT);
  struct stun_msg m = question();

  m.response_port = 6000;
  m.padding = 60;
  assert_int_equal(send_msg(w, STRANGER, IP1 ":4433", &m), 1);
  assert_addr(&got.to, "198.51.100.7:6000");
  assert_addr(&got.from, IP1 ":4433");
  assert_addr(&got.m.mapped, STRANGER);
  /* Nobody gets more than was sent for him; who asks hears why. */
  m.padding = 0;
  assert_int_equal(send_msg(w, STRANGER, IP1 ":4433", &m), 1);
  assert_addr(&got.to, STRANGER);
  assert_int_equal(got.m.error, STUN_BAD_REQUEST);
  world_free(w);
}

static void strangers_get_a_change_for_as_many_bytes_only(void **state) {
  struct world *w = relay_with(SECOND_PORT);

  assert_int_equal(ask_change(w, STRANGER, IP1 ":4433", STUN_CHANGE_PORT, 0),
                   1);
  assert_addr(&got.from, IP1 ":4433");
  assert_int_equal(got.m.error, STUN_BAD_REQUEST);
  assert_int_equal(counted(w, REFUSED("not-allowed")), 1);
  for (size_t padding = 4; padding < 60; padding += 4) {
    w->now += SEC;
    ask_change(w, STRANGER, IP1 ":4433", STUN_CHANGE_PORT, padding);
    assert_int_equal(got.m.class, STUN_SUCCESS);
    assert_in_range(got.len, 1, STUN_HEADER + 8 + 4 + padding);
  }
  world_free(w);
}

static void who_has_a_control_connection_gets_a_change_for_less(void **state) {
  struct world *w = relay_with(SECOND_PORT);
  struct client *c = agent_up(w, "laptop", "198.51.100.7:1000");

  /* From another port of that address, too. */
  ask_change(w, STRANGER, IP1 ":4433", STUN_CHANGE_PORT, 0);
  assert_int_equal(got.m.class, STUN_SUCCESS);
  assert_addr(&got.from, IP1 ":4434");
  assert_in_range(got.len, 1, 3 * 28);
  ask_change(w, "198.51.100.8:1000", IP1 ":4433", STUN_CHANGE_PORT, 0);
  assert_int_equal(got.m.error, STUN_BAD_REQUEST);
  client_bye(c);
  world_run(w, 5 * SEC);
  ask_change(w, STRANGER, IP1 ":4433", STUN_CHANGE_PORT, 0);
  assert_int_equal(got.m.error, STUN_BAD_REQUEST);
  client_dial(c);
  world_run(w, SEC);
  ask_change(w, STRANGER, IP1 ":4433", STUN_CHANGE_PORT, 0);
  assert_int_equal(got.m.class, STUN_SUCCESS);
  relay_stop(w->relay, w->now); /* it is not live any more, though not gone */
  ask_change(w, STRANGER, IP1 ":4433", STUN_CHANGE_PORT, 0);
  assert_int_equal(got.m.error, STUN_BAD_REQUEST);
  world_free(w);
}

/* --- what is not answered */

static void unknown_attributes_are_named_in_a_refusal(void **state) {
  static const uint8_t bytes[] = "\0\1\0\x0c\x21\x12\xa4\x42"
                                 "transaction!"
                                 "\x7f\xff\0\0\0\x25\0\x02\x10\0\0";
  struct world *w = relay_with(MAIN_ONLY);

  assert_int_equal(send_bytes(w, STRANGER, IP1 ":4433", bytes, 32, 32), 1);
  assert_int_equal(got.m.error, STUN_UNKNOWN_ATTRIBUTE);
  assert_int_equal(got.m.n_listed, 2);
  assert_int_equal(got.m.listed[0], 0x7fff);
  assert_int_equal(got.m.listed[1], 0x0025);
  assert_int_equal(counted(w, REFUSED("malformed")), 1);
  world_free(w);
}

static void what_is_no_binding_request_is_dropped_and_counted(void **state) {
  static const uint8_t junk[] = "\1\2three four five six seven";
  struct world *w = relay_with(SECOND_PORT);
  struct stun_msg m = question();

  assert_int_equal(send_bytes(w, STRANGER, IP1 ":4433", junk, 20, 20), 0);
  assert_int_equal(counted(w, DROPPED("malformed")), 1);
  m.method = 3;
  assert_int_equal(send_msg(w, STRANGER, IP1 ":4433", &m), 0);
  m = question();
  m.class = STUN_SUCCESS; /* another server's, which would go on for ever */
  assert_int_equal(send_msg(w, STRANGER, IP1 ":4433", &m), 0);
  m.class = STUN_ERROR;
  assert_int_equal(send_msg(w, STRANGER, IP1 ":4433", &m), 0);
  assert_int_equal(ask(w, "198.51.100.7:0", IP1 ":4433"), 0);
  assert_int_equal(counted(w, DROPPED("malformed")), 5);
  m.class = STUN_INDICATION;
  assert_int_equal(send_msg(w, STRANGER, IP1 ":4433", &m), 0);
  assert_int_equal(counted(w, DROPPED("malformed")), 5);
  world_free(w);
}

static void a_second_port_is_for_stun_alone(void **state) {
  struct world *w = relay_with(SECOND_PORT);
  uint8_t initial[1200] = {0xc0, 0, 0, 0, 1, 8};

  assert_int_equal(send_bytes(w, STRANGER, IP1 ":4434", initial, 1200, 1200),
                   0);
  assert_int_equal(counted(w, DROPPED("malformed")), 1);
  assert_int_equal(counted(w, "ztna_relay_half_open"), 0);
  world_free(w);
}

/* --- limits */

/* How many of n are answered. */
static int ask_many(struct world *w, const char *prefix, int n) {
  char from[64];
  int answered = 0;

  for (int i = 0; i < n; i++) {
    snprintf(from, sizeof(from), strchr(prefix, ':') ? "[%s%x]:%d" : "%s%d:%d",
             prefix, i % 250, 1000 + i);
    answered += ask(w, from,
                    strchr(prefix, ':') ? "[2001:db8:1::1]:4433" : IP1 ":4433");
  }
  return answered;
}

static void a_prefix_gets_fifty_answers_a_second(void **state) {
  struct world *w = relay_with(MAIN_ONLY);

  assert_int_equal(ask_many(w, "192.0.2.", 100), 50);
  assert_int_equal(counted(w, DROPPED("rate-limited")), 50);
  assert_int_equal(ask_many(w, "198.51.100.", 10), 10);
  w->now += SEC / 2;
  assert_int_equal(ask_many(w, "192.0.2.", 100), 25);
  w->now += 100 * SEC;
  assert_int_equal(ask_many(w, "2001:db8:7:", 0), 0);
  assert_int_equal(ask_many(w, "2001:db8:7:1::", 30), 30);
  assert_int_equal(ask_many(w, "2001:db8:7:ff::", 30), 20); /* same /56 */
  assert_int_equal(ask_many(w, "2001:db8:7:100::", 30), 30);
  world_free(w);
}

/* Of each of 256 prefixes one, as many times. */
static int flood(struct world *w, int rounds) {
  char from[64];
  int answered = 0;

  for (int i = 0; i < 256 * rounds; i++) {
    snprintf(from, sizeof(from), "10.%d.%d.1:99", i % 16, i / 16 % 16);
    answered += ask(w, from, IP1 ":4433");
  }
  return answered;
}

static void all_together_get_a_thousand_answers_a_second(void **state) {
  struct world *w = relay_with(MAIN_ONLY);
  int answered = 0;

  flood(w, 1); /* the burst */
  for (int ms = 0; ms < 1000; ms += 10) {
    w->now += 10 * MS;
    answered += flood(w, 1);
  }
  assert_in_range(answered, 990, 1010);
  world_free(w);
}

static void a_flood_leaves_answers_to_who_is_connected(void **state) {
  struct world *w = relay_with(MAIN_ONLY);
  agent_up(w, "laptop", "198.51.100.7:1000");

  for (int i = 0; i < 20; i++) {
    flood(w, 2);
    assert_int_equal(ask(w, "192.0.2.1:1", IP1 ":4433"), 0);
    assert_int_equal(ask(w, STRANGER, IP1 ":4433"), 1);
  }
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(who_asks_is_told_its_address),
      TEST(a_fingerprint_is_answered_by_one),
      TEST(every_address_tells_of_the_opposite_one),
      TEST(answers_stay_within_three_times_the_request),
      TEST(the_other_address_is_the_last_to_be_left_out),
      TEST(each_packet_of_a_train_is_answered),
      TEST(a_changed_answer_comes_from_where_it_was_asked_to),
      TEST(what_a_relay_has_not_it_cannot_change),
      TEST(sockets_bound_to_one_address_each_are_paired_by_it),
      TEST(an_answer_goes_to_another_port_of_who_asks),
      TEST(strangers_get_a_change_for_as_many_bytes_only),
      TEST(who_has_a_control_connection_gets_a_change_for_less),
      TEST(unknown_attributes_are_named_in_a_refusal),
      TEST(what_is_no_binding_request_is_dropped_and_counted),
      TEST(a_second_port_is_for_stun_alone),
      TEST(a_prefix_gets_fifty_answers_a_second),
      TEST(all_together_get_a_thousand_answers_a_second),
      TEST(a_flood_leaves_answers_to_who_is_connected),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
