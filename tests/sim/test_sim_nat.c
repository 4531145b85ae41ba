/* test_sim_nat.c - NATs of the simulator, seen from outside: a host is put into
 * each class, two servers with two ports each look at what comes from it and
 * try to reach it. */
#include "unit/unit.h"

#include "sim/nat_class.h"
#include "sim/net_sock.h"

enum { SERVERS = 2, LAN_PORT = 5000 };

struct end { /* a host, and what it has heard */
  struct vnet_host *host;
  int n;
  struct ztna_addr from;
  uint16_t sock;
};

struct lab {
  struct vnet *net;
  struct end inside, other; /* the other is behind the same box, if asked for */
  struct end servers[SERVERS];
  struct vnet_nat *box;
};

static void on_dgram(void *ud, const struct dgram *d) {
  struct end *e = ud;

  e->n += (int)((d->len + d->seg - 1) / d->seg);
  e->from = d->remote;
  e->sock = d->sock;
}

static void end_add(struct lab *l, struct end *e, const char *v4,
                    const char *v6, uint64_t delay) {
  e->host = vnet_add(l->net, v4, v6, delay);
  e->host->on_dgram = on_dgram;
  e->host->ud = e;
}

static struct lab *lab_new(const struct nat_class *c) {
  struct lab *l = calloc(1, sizeof(*l));
  bool boxed = c->boxed && c->box.mapping != NAT_NONE;

  l->net = vnet_new(7, SEC);
  end_add(l, &l->inside, boxed ? "192.168.1.10:5000" : "198.51.100.1:5000",
          "[2001:db8:1::10]:5000", 100 * US);
  l->box = nat_class_put(c, l->inside.host, "198.51.100.1", 10 * MS);
  end_add(l, &l->other, "192.168.1.11:5000", "[2001:db8:1::11]:5000", 100 * US);
  vnet_behind(l->other.host, l->box);
  end_add(l, &l->servers[0], "203.0.113.1:3478", "[2001:db8:9::1]:3478", MS);
  end_add(l, &l->servers[1], "203.0.113.2:3478", "[2001:db8:9::2]:3478", MS);
  for (int i = 0; i < SERVERS; i++)
    for (int family = 4; family <= 6; family += 2)
      net_sock_use(l->servers[i].host, 1, family);
  return l;
}

static struct lab *lab_of(const char *class) {
  return lab_new(nat_class_find(class));
}

static void lab_done(struct lab *l) {
  vnet_free(l->net);
  free(l);
}

static struct ztna_addr addr_of(const struct end *e, uint16_t sock,
                                int family) {
  struct ztna_addr a = e->host->outer[family == 6];

  a.port = vnet_sock_port(e->host, sock, family);
  return a;
}

static void send_to(struct lab *l, struct end *e, uint16_t sock,
                    const struct ztna_addr *to, uint8_t ttl) {
  struct dgram d = {.remote = *to,
                    .data = (const uint8_t *)"x",
                    .len = 1,
                    .seg = 1,
                    .ttl = ttl,
                    .sock = sock};

  vnet_send(e->host, &d);
  vnet_run(l->net, 100 * MS);
}

/* Who does the server think is asking? family 0: nothing arrived. */
static struct ztna_addr ask_from(struct lab *l, struct end *e, uint16_t sock,
                                 int server, uint16_t server_sock, int family) {
  struct end *s = &l->servers[server];
  struct ztna_addr to = addr_of(s, server_sock, family);
  int n = s->n;

  send_to(l, e, sock, &to, 0);
  if (s->n == n) return (struct ztna_addr){0};
  assert_int_equal(s->n, n + 1);
  assert_int_equal(s->sock, server_sock);
  return s->from;
}

static struct ztna_addr ask(struct lab *l, uint16_t sock, int server,
                            uint16_t server_sock) {
  return ask_from(l, &l->inside, sock, server, server_sock, 4);
}

/* Does a packet of the server come in there? */
static bool reaches(struct lab *l, int server, uint16_t server_sock,
                    const struct ztna_addr *to) {
  int n = l->inside.n;
  struct ztna_addr from = addr_of(&l->servers[server], server_sock, to->family);

  send_to(l, &l->servers[server], server_sock, to, 0);
  if (l->inside.n == n) return false;
  assert_true(ztna_addr_equal(&l->inside.from, &from));
  return true;
}

/* --- mapping and filtering, as RFC 5780 finds them out --- */

static enum nat_behaviour mapping_seen(struct lab *l) {
  struct ztna_addr a = ask(l, 0, 0, 0), b = ask(l, 0, 0, 1),
                   c = ask(l, 0, 1, 0);

  assert_int_equal(a.family, 4);
  if (ztna_addr_equal(&a, &l->inside.host->inner[0])) return NAT_NONE;
  assert_true(ztna_addr_same_ip(&a, &c));
  if (!ztna_addr_equal(&a, &b)) return NAT_ADDRESS_PORT_DEPENDENT;
  return ztna_addr_equal(&a, &c) ? NAT_ENDPOINT_INDEPENDENT
                                 : NAT_ADDRESS_DEPENDENT;
}

static enum nat_behaviour filtering_seen(struct lab *l, int family) {
  struct ztna_addr at = l->inside.host->inner[family == 6];

  if (reaches(l, 0, 0, &at)) return NAT_NONE;
  at = ask_from(l, &l->inside, 0, 0, 0, family);
  assert_true(reaches(l, 0, 0, &at));
  if (reaches(l, 1, 0, &at)) return NAT_ENDPOINT_INDEPENDENT;
  return reaches(l, 0, 1, &at) ? NAT_ADDRESS_DEPENDENT
                               : NAT_ADDRESS_PORT_DEPENDENT;
}

static const struct expected {
  const char *name;
  enum nat_behaviour mapping, filtering;
  enum nat_allocation allocation;
} expected[] = {
    {"public", NAT_NONE, NAT_NONE, NAT_PRESERVING},
    {"firewall", NAT_NONE, NAT_ADDRESS_PORT_DEPENDENT, NAT_PRESERVING},
    {"full-cone", NAT_ENDPOINT_INDEPENDENT, NAT_ENDPOINT_INDEPENDENT,
     NAT_PRESERVING},
    {"full-cone-np", NAT_ENDPOINT_INDEPENDENT, NAT_ENDPOINT_INDEPENDENT,
     NAT_RANDOM},
    {"addr-restricted-np", NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_DEPENDENT,
     NAT_RANDOM},
    {"addr-restricted", NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_DEPENDENT,
     NAT_PRESERVING},
    {"port-restricted", NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_PORT_DEPENDENT,
     NAT_PRESERVING},
    {"port-restricted-np", NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_PORT_DEPENDENT,
     NAT_RANDOM},
    {"input-accept", NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_PORT_DEPENDENT,
     NAT_PRESERVING},
    {"sym-seq", NAT_ADDRESS_PORT_DEPENDENT, NAT_ADDRESS_PORT_DEPENDENT,
     NAT_SEQUENTIAL},
    {"sym-random", NAT_ADDRESS_PORT_DEPENDENT, NAT_ADDRESS_PORT_DEPENDENT,
     NAT_RANDOM},
    {"cgn", NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_PORT_DEPENDENT, NAT_RANDOM},
    {"cgn-pr", NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_PORT_DEPENDENT,
     NAT_RANDOM},
    {"short-timeouts", NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_PORT_DEPENDENT,
     NAT_PRESERVING},
    {"same-lan", NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_PORT_DEPENDENT,
     NAT_PRESERVING},
};

static void each_class_maps_and_filters_as_its_name_says(void **state) {
  for (size_t i = 0; i < N_OF(expected); i++) {
    const struct expected *e = &expected[i];
    struct lab *l = lab_of(e->name);

    print_message("# %s\n", e->name);
    assert_int_equal(mapping_seen(l), e->mapping);
    lab_done(l);
    l = lab_of(e->name);
    assert_int_equal(filtering_seen(l, 4), e->filtering);
    lab_done(l);
  }
}

/* No class has it. */
static void mappings_may_depend_on_addresses_alone(void **state) {
  struct nat_class c = *nat_class_find("sym-random");
  struct lab *l;

  c.box.mapping = NAT_ADDRESS_DEPENDENT;
  l = lab_new(&c);
  assert_int_equal(mapping_seen(l), NAT_ADDRESS_DEPENDENT);
  lab_done(l);
}

static void each_class_filters_ipv6_without_translating_it(void **state) {
  for (size_t i = 0; i < N_OF(expected); i++) {
    const struct expected *e = &expected[i];
    struct lab *l = lab_of(e->name);
    struct ztna_addr seen;

    print_message("# %s\n", e->name);
    assert_int_equal(filtering_seen(l, 6), e->filtering);
    seen = ask_from(l, &l->inside, 0, 1, 0, 6);
    assert_true(ztna_addr_equal(&seen, &l->inside.host->inner[1]));
    lab_done(l);
  }
}

/* What a machine behind it would tell its peers. */
static void the_view_of_a_class_is_what_is_seen(void **state) {
  for (size_t i = 0; i < N_OF(expected); i++) {
    struct nat_view v = nat_class_view(nat_class_find(expected[i].name));

    assert_int_equal(v.mapping, expected[i].mapping);
    assert_int_equal(v.filtering, expected[i].filtering);
    if (v.mapping != NAT_NONE)
      assert_int_equal(v.allocation, expected[i].allocation);
    assert_int_equal(v.delta, v.allocation == NAT_SEQUENTIAL ? 1 : 0);
  }
}

/* --- allocation --- */

/* The outer ports of four new mappings of a class. */
static void ports_of(struct lab *l, uint16_t *local, uint16_t *outer) {
  for (uint16_t i = 0; i < 4; i++) {
    outer[i] = ask(l, i, 0, 0).port;
    local[i] = vnet_sock_port(l->inside.host, i, 4);
  }
}

static void each_class_allocates_ports_as_its_name_says(void **state) {
  for (size_t i = 0; i < N_OF(expected); i++) {
    struct lab *l = lab_of(expected[i].name);
    uint16_t local[4], outer[4];
    int same = 0, next = 0;

    ports_of(l, local, outer);
    for (int k = 0; k < 4; k++) {
      same += local[k] == outer[k];
      next += k && outer[k] == outer[k - 1] + 1;
    }
    print_message("# %s: %d %d %d %d\n", expected[i].name, outer[0], outer[1],
                  outer[2], outer[3]);
    assert_int_equal(same, expected[i].allocation == NAT_PRESERVING ? 4 : 0);
    assert_int_equal(next, expected[i].allocation == NAT_SEQUENTIAL ? 3 : 0);
    lab_done(l);
  }
}

static void a_preserved_port_that_is_taken_is_another(void **state) {
  struct lab *l = lab_of("port-restricted");
  struct ztna_addr a = ask(l, 0, 0, 0), b;

  b = ask_from(l, &l->other, 0, 0, 0, 4);
  assert_int_equal(a.port, LAN_PORT);
  assert_true(ztna_addr_same_ip(&a, &b));
  assert_int_not_equal(b.port, LAN_PORT);
  assert_true(reaches(l, 0, 0, &a));
  assert_false(reaches(l, 0, 0, &b));
  assert_int_equal(l->other.n, 1);
  lab_done(l);
}

static void steps_may_be_larger_negative_and_disturbed(void **state) {
  struct nat_class c = *nat_class_find("sym-seq");
  uint16_t local[4], outer[4];
  struct lab *l;

  c.box.step = -3;
  l = lab_new(&c);
  ports_of(l, local, outer);
  for (int i = 1; i < 4; i++) assert_int_equal(outer[i], outer[i - 1] - 3);
  sim_nat_take(l->box->model, l->net->now);
  sim_nat_take(l->box->model, l->net->now);
  assert_int_equal(ask(l, 4, 0, 0).port, outer[3] - 9);
  lab_done(l);
}

static void sequences_wrap_within_the_ports_there_are(void **state) {
  struct nat_class c = *nat_class_find("sym-seq");

  for (int step = -16; step <= 16; step += 32) {
    struct lab *l;
    uint16_t last = 0;
    int wraps = 0;

    c.box.step = step;
    c.box.life = SEC;
    l = lab_new(&c);
    for (int i = 0; i < 9000; i++) {
      struct ztna_addr a = addr_of(&l->inside, 0, 4),
                       to = addr_of(&l->servers[0], 0, 4);

      a.port = (uint16_t)(2000 + i);
      assert_true(
          sim_nat_out(l->box->model, (uint64_t)i * SEC / 1000, &a, &to));
      assert_in_range(a.port, 1024, 65535);
      if (last && a.port != last + step) wraps++;
      last = a.port;
    }
    assert_in_range(wraps, 2, 3);
    lab_done(l);
  }
}

/* --- a router that takes what nobody asked for --- */

/* The server speaks first, then the host asks it. */
static struct ztna_addr asked_after_a_stranger(struct lab *l) {
  struct ztna_addr at = test_addr("198.51.100.1:5000");

  assert_false(reaches(l, 0, 0, &at));
  return ask(l, 0, 0, 0);
}

static void
who_comes_early_steals_the_mapping_of_an_accepting_router(void **state) {
  struct lab *l = lab_of("input-accept");
  struct ztna_addr a = ask(l, 0, 1, 0), b, usual = a;

  assert_int_equal(a.port, LAN_PORT);
  b = asked_after_a_stranger(l);
  assert_true(ztna_addr_same_ip(&a, &b));
  assert_int_not_equal(b.port, LAN_PORT);
  /* The one is answered by the router from now on, the other leads inside. */
  assert_false(reaches(l, 0, 0, &usual));
  assert_true(reaches(l, 0, 0, &b));
  /* Others are as before, and it stays where it went. */
  assert_int_equal(ask(l, 0, 0, 1).port, LAN_PORT);
  assert_int_equal(ask(l, 0, 0, 0).port, b.port);
  assert_int_equal(sim_nat_stats(l->box->model)->n_diverted, 1);
  lab_done(l);
}

static void
the_stolen_port_is_free_again_when_the_thief_was_silent(void **state) {
  struct lab *l = lab_of("input-accept");
  struct ztna_addr at = test_addr("198.51.100.1:5000");

  assert_false(reaches(l, 0, 0, &at));
  vnet_run(l->net, SIM_NAT_LIFE);
  assert_int_equal(ask(l, 0, 0, 0).port, LAN_PORT);
  lab_done(l);
}

/* Though the box would let in anybody. */
static void what_the_router_has_taken_does_not_come_in(void **state) {
  struct nat_class c = *nat_class_find("full-cone");
  struct ztna_addr at = test_addr("198.51.100.1:5000");
  struct lab *l;

  c.box.input_accept = true;
  l = lab_new(&c);
  assert_false(reaches(l, 0, 0, &at));
  assert_int_equal(ask(l, 0, 1, 0).port, LAN_PORT);
  assert_true(reaches(l, 0, 1, &at));
  assert_false(reaches(l, 0, 0, &at));
  lab_done(l);
}

static void a_router_that_drops_keeps_the_mapping(void **state) {
  struct lab *l = lab_of("port-restricted");

  assert_int_equal(asked_after_a_stranger(l).port, LAN_PORT);
  lab_done(l);
}

static void
a_packet_that_dies_in_the_core_makes_the_mapping_first(void **state) {
  struct lab *l = lab_of("input-accept");
  struct ztna_addr to = addr_of(&l->servers[0], 0, 4),
                   at = test_addr("198.51.100.1:5000");

  send_to(l, &l->inside, 0, &to, 2);
  assert_int_equal(l->servers[0].n, 0);
  assert_true(reaches(l, 0, 0, &at));
  assert_int_equal(ask(l, 0, 0, 0).port, LAN_PORT);
  lab_done(l);
}

/* --- hops --- */

static bool arrives_with(struct lab *l, struct end *from, uint8_t ttl,
                         const struct ztna_addr *to, struct end *at) {
  int n = at->n;

  send_to(l, from, 0, to, ttl);
  return at->n > n;
}

static void every_box_and_the_core_take_a_hop(void **state) {
  static const struct {
    const char *class;
    int hops; /* of a host there to a server */
  } v[] = {{"public", 1}, {"firewall", 2}, {"port-restricted", 2}, {"cgn", 3}};

  for (size_t i = 0; i < N_OF(v); i++) {
    struct lab *l = lab_of(v[i].class);
    struct ztna_addr to = addr_of(&l->servers[0], 0, 4), at;
    uint8_t hops = (uint8_t)v[i].hops;

    for (uint8_t ttl = 1; ttl <= hops; ttl++)
      assert_false(arrives_with(l, &l->inside, ttl, &to, &l->servers[0]));
    assert_int_equal(l->net->counters.n_expired, hops);
    assert_true(arrives_with(l, &l->inside, hops + 1, &to, &l->servers[0]));
    /* And as many back. */
    at = l->servers[0].from;
    assert_false(arrives_with(l, &l->servers[0], hops, &at, &l->inside));
    assert_true(arrives_with(l, &l->servers[0], hops + 1, &at, &l->inside));
    lab_done(l);
  }
}

static void a_packet_that_dies_in_the_box_opens_nothing(void **state) {
  struct lab *l = lab_of("port-restricted");
  struct ztna_addr to = addr_of(&l->servers[0], 0, 4),
                   at = test_addr("198.51.100.1:5000");

  send_to(l, &l->inside, 0, &to, 1);
  assert_int_equal(sim_nat_stats(l->box->model)->n_mappings, 0);
  assert_false(reaches(l, 0, 0, &at));
  lab_done(l);
}

/* --- hairpins, LANs, carriers --- */

static bool hairpins(struct lab *l) {
  struct ztna_addr at = ask_from(l, &l->other, 0, 0, 0, 4), usual;
  int n = l->other.n;
  bool got;

  usual = ask(l, 0, 0, 0);
  send_to(l, &l->other, 0, &usual, 0); /* so that it may come in */
  send_to(l, &l->inside, 0, &at, 0);
  got = l->other.n == n + 1;
  if (got) assert_true(ztna_addr_equal(&l->other.from, &usual));
  return got;
}

static void
hosts_of_a_lan_meet_at_outer_addresses_if_the_router_hairpins(void **state) {
  struct nat_class c = *nat_class_find("same-lan");
  struct lab *l = lab_new(&c);

  assert_false(hairpins(l));
  lab_done(l);
  c.box.hairpin = true;
  l = lab_new(&c);
  assert_true(hairpins(l));
  lab_done(l);
}

static void hosts_of_a_lan_reach_each_other_without_its_router(void **state) {
  struct lab *l = lab_of("same-lan");
  struct ztna_addr to = l->other.host->inner[0];

  l->box->off = true;
  assert_true(arrives_with(l, &l->inside, 1, &to, &l->other));
  assert_true(ztna_addr_equal(&l->other.from, &l->inside.host->inner[0]));
  to = l->other.host->inner[1];
  assert_true(arrives_with(l, &l->inside, 1, &to, &l->other));
  assert_int_equal(ask(l, 0, 0, 0).family, 0);
  lab_done(l);
}

static void private_addresses_lead_nowhere_from_outside(void **state) {
  struct lab *l = lab_of("port-restricted");
  struct ztna_addr at = l->inside.host->inner[0];

  ask(l, 0, 0, 0);
  assert_false(reaches(l, 0, 0, &at));
  assert_int_equal(l->net->counters.n_nobody, 1);
  lab_done(l);
}

/* Two homes behind one carrier: by its hairpin, and by their addresses in its
 * network. */
static void homes_behind_one_carrier_meet_there(void **state) {
  struct lab *l = lab_of("cgn-pr");
  const struct nat_class *home = nat_class_find("port-restricted");
  struct vnet_nat *box =
      vnet_nat(l->net, &home->box, "100.64.0.99", l->box->behind, 0);
  struct ztna_addr a, b, mid = test_addr("100.64.0.99:5000"),
                         inner = test_addr("100.64.0.2:5000");

  vnet_behind(l->other.host, box);
  a = ask(l, 0, 0, 0);
  b = ask_from(l, &l->other, 0, 0, 0, 4);
  assert_true(ztna_addr_same_ip(&a, &b));
  assert_false(arrives_with(l, &l->inside, 0, &b, &l->other));
  assert_true(arrives_with(l, &l->other, 0, &a, &l->inside));
  assert_true(ztna_addr_equal(&l->inside.from, &b));
  assert_false(arrives_with(l, &l->inside, 0, &mid, &l->other));
  assert_true(arrives_with(l, &l->other, 0, &inner, &l->inside));
  assert_true(ztna_addr_equal(&l->inside.from, &mid));
  lab_done(l);
}

static void what_blocks_udp_lets_it_to_relays(void **state) {
  struct lab *l = lab_of("udp-blocked");
  struct ztna_addr a;

  sim_nat_allow(l->box->model, &l->servers[1].host->outer[0]);
  assert_int_equal(ask(l, 0, 0, 0).family, 0);
  a = ask(l, 0, 1, 0);
  assert_int_equal(a.family, 4);
  assert_true(reaches(l, 1, 0, &a));
  assert_false(reaches(l, 0, 0, &a));
  assert_int_equal(l->net->counters.n_filtered, 2);
  lab_done(l);
}

/* --- time and change --- */

static void mappings_live_while_packets_leave(void **state) {
  struct lab *l = lab_of("port-restricted-np");
  struct ztna_addr a = ask(l, 0, 0, 0), b;

  vnet_run(l->net, SIM_NAT_LIFE - SEC);
  b = ask(l, 0, 0, 0);
  vnet_run(l->net, SIM_NAT_LIFE - SEC);
  assert_true(ztna_addr_equal(&a, &b));
  assert_true(reaches(l, 0, 0, &a)); /* does not prolong it */
  vnet_run(l->net, SEC);
  assert_false(reaches(l, 0, 0, &a));
  b = ask(l, 0, 0, 0);
  assert_false(ztna_addr_equal(&a, &b));
  lab_done(l);
}

static void short_timeouts_are_short(void **state) {
  struct lab *l = lab_of("short-timeouts");
  struct ztna_addr a = ask(l, 0, 0, 0);

  vnet_run(l->net, 9 * SEC);
  assert_true(reaches(l, 0, 0, &a));
  vnet_run(l->net, SEC);
  assert_false(reaches(l, 0, 0, &a));
  lab_done(l);
}

/* A packet of little TTL dies in front of the carrier's box. */
static void a_carrier_is_opened_by_three_hops(void **state) {
  struct lab *l = lab_of("cgn-pr");
  struct ztna_addr to = addr_of(&l->servers[0], 0, 4), a = ask(l, 0, 1, 0);

  send_to(l, &l->inside, 0, &to, 2);
  assert_false(reaches(l, 0, 0, &a));
  send_to(l, &l->inside, 0, &to, 3);
  assert_int_equal(l->servers[0].n, 0);
  assert_true(reaches(l, 0, 0, &a));
  lab_done(l);
}

static void each_hole_has_its_own_age(void **state) {
  struct lab *l = lab_of("port-restricted");
  struct ztna_addr a = ask(l, 0, 0, 0);

  vnet_run(l->net, SIM_NAT_LIFE - SEC);
  ask(l, 0, 1, 0);
  vnet_run(l->net, SEC);
  assert_false(reaches(l, 0, 0, &a));
  assert_true(reaches(l, 1, 0, &a));
  lab_done(l);
}

static void a_flushed_nat_knows_nobody(void **state) {
  struct lab *l = lab_of("sym-random");
  struct ztna_addr a = ask(l, 0, 0, 0), b;

  sim_nat_flush(l->box->model);
  assert_false(reaches(l, 0, 0, &a));
  b = ask(l, 0, 0, 0);
  assert_int_not_equal(a.port, b.port);
  assert_true(reaches(l, 0, 0, &b));
  lab_done(l);
}

static void a_flushed_nat_has_no_old_holes(void **state) {
  struct lab *l = lab_of("port-restricted");
  struct ztna_addr a = ask(l, 0, 0, 0), b;

  sim_nat_flush(l->box->model);
  b = ask(l, 0, 1, 0);
  assert_true(ztna_addr_equal(&a, &b));
  assert_true(reaches(l, 1, 0, &a));
  assert_false(reaches(l, 0, 0, &a));
  lab_done(l);
}

static void routers_and_hosts_get_new_addresses(void **state) {
  struct lab *l = lab_of("port-restricted");
  struct ztna_addr a = ask(l, 0, 0, 0), to = test_addr("198.51.100.77"), b;

  sim_nat_move(l->box->model, &to);
  b = ask(l, 0, 0, 0);
  assert_true(ztna_addr_same_ip(&b, &to));
  assert_true(reaches(l, 0, 0, &b));
  assert_false(reaches(l, 0, 0, &a));

  vnet_readdress(l->inside.host, "192.168.1.66:5001", NULL);
  assert_int_equal(l->net->counters.n_nobody, 1); /* the old outer address */
  assert_false(reaches(l, 0, 0, &b));
  assert_int_equal(l->net->counters.n_nobody, 2);
  assert_int_equal(sim_nat_stats(l->box->model)->n_mappings, 2);
  assert_int_equal(l->net->counters.n_filtered, 0);
  b = ask(l, 0, 0, 0);
  assert_int_equal(b.port, 5001);
  assert_true(reaches(l, 0, 0, &b));
  assert_int_equal(ask_from(l, &l->inside, 0, 0, 0, 6).family, 0);

  vnet_behind(l->inside.host, NULL); /* carried to another network */
  vnet_readdress(l->inside.host, "198.51.7.7:5001", NULL);
  b = ask(l, 0, 0, 0);
  assert_true(ztna_addr_equal(&b, &l->inside.host->inner[0]));
  assert_true(reaches(l, 1, 1, &b));
  lab_done(l);
}

static void blocked_hosts_are_blocked_through_their_boxes(void **state) {
  struct lab *l = lab_of("full-cone");
  struct ztna_addr a = ask(l, 0, 0, 0);

  l->servers[0].host->blocked[l->inside.host->number] = true;
  assert_false(reaches(l, 0, 0, &a));
  assert_true(reaches(l, 1, 0, &a));
  l->inside.host->blocked[l->servers[1].host->number] = true;
  assert_int_equal(ask(l, 0, 1, 0).family, 0);
  lab_done(l);
}

/* --- sockets --- */

static void extra_sockets_have_ports_and_numbers_of_their_own(void **state) {
  struct lab *l = lab_of("sym-random");
  struct ztna_addr a = ask(l, 0, 0, 0), b = ask(l, 7, 0, 0);
  struct dgram close = {.remote = a, .seg = 1, .sock = 7};

  assert_int_not_equal(a.port, b.port);
  assert_int_equal(vnet_socks_open(l->inside.host), 1);
  assert_true(reaches(l, 0, 0, &b));
  assert_int_equal(l->inside.sock, 7);
  assert_true(reaches(l, 0, 0, &a));
  assert_int_equal(l->inside.sock, 0);
  vnet_send(l->inside.host, &close);
  assert_int_equal(vnet_socks_open(l->inside.host), 0);
  assert_false(reaches(l, 0, 0, &b));
  assert_true(reaches(l, 0, 0, &a));
  lab_done(l);
}

static void trains_stay_together_through_a_box(void **state) {
  struct lab *l = lab_of("port-restricted");
  struct ztna_addr a = ask(l, 0, 0, 0);
  uint8_t bytes[1000] = {0};
  struct dgram d = {.remote = a, .data = bytes, .len = 1000, .seg = 100};
  uint64_t n = l->net->counters.n_delivered;

  vnet_send(l->servers[0].host, &d);
  vnet_run(l->net, SEC);
  assert_int_equal(l->net->counters.n_delivered, n + 10);
  assert_int_equal(l->inside.n, 10);
  lab_done(l);
}

static void the_same_seed_gives_the_same_ports(void **state) {
  uint64_t digests[2];

  for (int i = 0; i < 2; i++) {
    struct lab *l = lab_of("sym-random");
    uint16_t local[4], outer[4];

    ports_of(l, local, outer);
    digests[i] = outer[3];
    lab_done(l);
  }
  assert_int_equal(digests[0], digests[1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(each_class_maps_and_filters_as_its_name_says),
      TEST(mappings_may_depend_on_addresses_alone),
      TEST(each_class_filters_ipv6_without_translating_it),
      TEST(the_view_of_a_class_is_what_is_seen),
      TEST(each_class_allocates_ports_as_its_name_says),
      TEST(a_preserved_port_that_is_taken_is_another),
      TEST(steps_may_be_larger_negative_and_disturbed),
      TEST(sequences_wrap_within_the_ports_there_are),
      TEST(who_comes_early_steals_the_mapping_of_an_accepting_router),
      TEST(the_stolen_port_is_free_again_when_the_thief_was_silent),
      TEST(what_the_router_has_taken_does_not_come_in),
      TEST(a_router_that_drops_keeps_the_mapping),
      TEST(a_packet_that_dies_in_the_core_makes_the_mapping_first),
      TEST(every_box_and_the_core_take_a_hop),
      TEST(a_packet_that_dies_in_the_box_opens_nothing),
      TEST(hosts_of_a_lan_meet_at_outer_addresses_if_the_router_hairpins),
      TEST(hosts_of_a_lan_reach_each_other_without_its_router),
      TEST(private_addresses_lead_nowhere_from_outside),
      TEST(homes_behind_one_carrier_meet_there),
      TEST(a_carrier_is_opened_by_three_hops),
      TEST(what_blocks_udp_lets_it_to_relays),
      TEST(mappings_live_while_packets_leave),
      TEST(short_timeouts_are_short),
      TEST(each_hole_has_its_own_age),
      TEST(a_flushed_nat_knows_nobody),
      TEST(a_flushed_nat_has_no_old_holes),
      TEST(routers_and_hosts_get_new_addresses),
      TEST(blocked_hosts_are_blocked_through_their_boxes),
      TEST(extra_sockets_have_ports_and_numbers_of_their_own),
      TEST(trains_stay_together_through_a_box),
      TEST(the_same_seed_gives_the_same_ports),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
