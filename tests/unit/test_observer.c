/* test_observer.c - what an endpoint learns of the NAT before it, from small
 * models of NATs and STUN servers. */
#include "unit.h"

#include "base/time.h"
#include "role/observer.h"

/* --- numbers of extra sockets, of which none may get lost */

static int n_taken;

uint16_t punch_sock_take(struct punch_socks *s) {
  for (uint16_t i = 1; i < DGRAM_SOCKS_MAX; i++)
    if (!s->used[i]) {
      s->used[i] = true;
      n_taken++;
      return i;
    }
  return 0;
}

void punch_sock_free(struct punch_socks *s, uint16_t sock) {
  assert_true(s->used[sock]);
  s->used[sock] = false;
  n_taken--;
}

/* --- the world: one machine, one NAT, some servers */

enum { SERVERS = 5, HOLES = 64, WAITING = 64, MAIN_PORT = 5000 };

struct server {
  struct ztna_addr a, b; /* addresses; b.family 0: there is only one */
  uint16_t other_port;   /* 0: it knows RFC 8489 alone */
  bool deaf;             /* answers nothing */
  bool plain;            /* passes CHANGE-REQUEST over */
  bool knows_no_padding;
  bool wants_padding;           /* for CHANGE-REQUEST, as relays do */
  struct ztna_addr lie;         /* what it says its other address is */
  struct ztna_addr speaks_from; /* where its answers come from */
};

struct hole {
  uint16_t sock, port; /* inner and outer */
  struct ztna_addr to[8];
  size_t n_to;
};

struct packet {
  uint64_t at;
  struct ztna_addr from;
  uint16_t sock;
  uint8_t data[STUN_MAX];
  int len;
};

static struct {
  enum nat_behaviour mapping, filtering;
  enum nat_allocation allocation;
  int delta, lose; /* lose: so many of each question's packets */
  bool lose_all;
  uint64_t rtt;
  uint16_t last_port;
  struct hole holes[HOLES];
  size_t n_holes;
  struct server servers[SERVERS];
  struct packet waiting[WAITING];
  size_t n_waiting;

  struct observer *o;
  struct punch_socks socks;
  uint64_t now, random, done_at[2];
  int n_done[2], n_packets[2], n_closed, n_results, n_refused;
  bool asked[SERVERS];
  struct ztna_addr strayed; /* a packet to nobody's address */
} w;

static void on_done(void *ud, int family) {
  w.n_done[family == 6]++;
  w.done_at[family == 6] = w.now;
}

static void on_result(void *ud, const struct observer_result *r) {
  w.n_results++;
  w.n_refused += r->error != 0;
}

static struct ztna_addr local_of(uint16_t sock, int family) {
  struct ztna_addr a = test_addr(family == 4 ? "10.0.0.7" : "2001:db8::7");
  a.port = (uint16_t)(MAIN_PORT + sock);
  return a;
}

static void set_locals(void) {
  struct ztna_addr v[] = {local_of(0, 4), local_of(0, 6)};
  observer_set_local(w.o, v, 2);
}

static void world(bool filtering) {
  static struct rng rng;
  memset(&w, 0, sizeof(w));
  w.random = 4711;
  w.rtt = 20 * MS;
  w.now = SEC;
  w.last_port = 40000;
  w.mapping = w.filtering = NAT_NONE;
  rng = test_rng(&w.random);
  struct observer_options o = {
      .rng = &rng,
      .socks = &w.socks,
      .filtering = filtering,
      .on_result = on_result,
      .on_done = on_done,
  };
  n_taken = 0;
  w.o = observer_new(&o);
  assert_non_null(w.o);
  set_locals();
}

static int end(void **state) {
  observer_free(w.o);
  w.o = NULL;
  return 0;
}

static void nat(enum nat_behaviour mapping, enum nat_behaviour filtering,
                enum nat_allocation allocation, int delta) {
  w.mapping = mapping;
  w.filtering = filtering;
  w.allocation = allocation;
  w.delta = delta;
}

/* A relay with two addresses and two ports, or with one address. */
static struct server *serve(size_t i, const char *a, const char *b) {
  struct server *s = &w.servers[i];
  *s = (struct server){.a = test_addr(a), .other_port = 3479};
  if (b) s->b = test_addr(b);
  observer_set_server(w.o, i, s->a.family, &s->a);
  return s;
}

/* --- NAT */

static bool hole_fits(const struct hole *h, const struct ztna_addr *to,
                      enum nat_behaviour b) {
  if (b <= NAT_ENDPOINT_INDEPENDENT) return true;
  for (size_t i = 0; i < h->n_to; i++)
    if (b == NAT_ADDRESS_DEPENDENT ? ztna_addr_same_ip(&h->to[i], to)
                                   : ztna_addr_equal(&h->to[i], to))
      return true;
  return false;
}

static uint16_t port_new(uint16_t sock) {
  if (w.allocation == NAT_PRESERVING) return (uint16_t)(MAIN_PORT + sock);
  if (w.allocation == NAT_RANDOM)
    return (uint16_t)(1024 + test_random(&w.random) % 60000);
  return w.last_port = (uint16_t)(w.last_port + w.delta);
}

/* The way out: the address that the server sees. */
static struct ztna_addr nat_out(uint16_t sock, const struct ztna_addr *to) {
  struct hole *h = NULL;
  for (size_t i = 0; i < w.n_holes && !h; i++)
    if (w.holes[i].sock == sock && hole_fits(&w.holes[i], to, w.mapping))
      h = &w.holes[i];
  if (!h) {
    assert_true(w.n_holes < HOLES);
    h = &w.holes[w.n_holes++];
    *h = (struct hole){.sock = sock};
    h->port = port_new(sock);
  }
  if (h->n_to < N_OF(h->to)) h->to[h->n_to++] = *to;
  struct ztna_addr a = local_of(sock, to->family);
  if (w.mapping == NAT_NONE) return a;
  a = test_addr(to->family == 4 ? "198.51.100.1" : "2001:db8:1::1");
  a.port = h->port;
  return a;
}

/* The way in. NULL: filtered. */
static const struct hole *nat_in(const struct ztna_addr *mapped,
                                 const struct ztna_addr *from) {
  for (size_t i = 0; i < w.n_holes; i++) {
    const struct hole *h = &w.holes[i];
    uint16_t port =
        w.mapping == NAT_NONE ? (uint16_t)(MAIN_PORT + h->sock) : h->port;
    if (port == mapped->port && hole_fits(h, from, w.filtering)) return h;
  }
  return NULL;
}

/* --- servers */

static void send_back(const struct ztna_addr *to, const struct ztna_addr *from,
                      const struct stun_msg *m) {
  const struct hole *h = nat_in(to, from);
  if (!h) return;
  assert_true(w.n_waiting < WAITING);
  struct packet *p = &w.waiting[w.n_waiting++];
  *p = (struct packet){.at = w.now + w.rtt, .from = *from, .sock = h->sock};
  p->len = stun_write(p->data, m, NULL, 0, NULL);
  assert_true(p->len > 0);
}

/* The server's other end of what a packet was sent to. */
static struct ztna_addr other_end(const struct server *s,
                                  const struct ztna_addr *at, bool ip,
                                  bool port) {
  struct ztna_addr a = *at;
  if (ip) a = ztna_addr_same_ip(at, &s->a) ? s->b : s->a;
  a.port = (at->port == s->other_port) != port ? s->other_port : s->a.port;
  return a;
}

static void answer(const struct server *s, const struct ztna_addr *at,
                   const struct ztna_addr *client, const struct stun_msg *q) {
  struct stun_msg m = {
      .class = STUN_SUCCESS,
      .method = STUN_BINDING,
      .mapped = *client,
      .fingerprint = true,
  };
  struct ztna_addr from = *at;
  memcpy(m.txid, q->txid, sizeof(m.txid));
  if (s->wants_padding && q->has_change && !q->padding) {
    m.class = STUN_ERROR;
    m.error = STUN_BAD_REQUEST;
    m.mapped.family = 0;
    send_back(client, &from, &m);
    return;
  }
  bool ip = q->change & STUN_CHANGE_IP, port = q->change & STUN_CHANGE_PORT;
  if (s->other_port) m.other = other_end(s, at, s->b.family != 0, true);
  if (s->lie.family) m.other = s->lie;
  if (s->knows_no_padding && q->padding) {
    m.class = STUN_ERROR;
    m.error = STUN_UNKNOWN_ATTRIBUTE;
    m.mapped.family = m.other.family = 0;
  } else if (!s->plain && ip && !s->b.family) {
    m.class = STUN_ERROR;
    m.error = STUN_UNKNOWN_ATTRIBUTE;
    m.listed[m.n_listed++] = STUN_ATTR_CHANGE_REQUEST;
    m.mapped.family = m.other.family = 0;
  } else if (!s->plain) {
    from = other_end(s, at, ip, port);
  }
  send_back(client, s->speaks_from.family ? &s->speaks_from : &from, &m);
}

static bool is_at(const struct server *s, const struct ztna_addr *to) {
  bool ip = ztna_addr_same_ip(&s->a, to) || ztna_addr_same_ip(&s->b, to);
  return s->a.family && ip &&
         (to->port == s->a.port || (to->port && to->port == s->other_port));
}

/* The next socket of that number has another port, so holes of its own. */
static void close_sock(uint16_t sock) {
  w.n_closed++;
  for (size_t i = 0; i < w.n_holes; i++)
    if (w.holes[i].sock == sock) w.holes[i].sock = UINT16_MAX;
}

static void deliver(const struct dgram *d) {
  struct stun_msg q;
  if (d->len == 0) {
    close_sock(d->sock);
    return;
  }
  assert_int_equal(stun_read(&q, d->data, d->len), 0);
  w.n_packets[d->remote.family == 6]++;
  if (w.lose_all || q.txid[STUN_TXID_LEN - 1] < w.lose) return;
  struct ztna_addr client = nat_out(d->sock, &d->remote);
  for (size_t i = 0; i < SERVERS; i++) {
    if (!is_at(&w.servers[i], &d->remote)) continue;
    w.asked[i] = true;
    if (!w.servers[i].deaf) answer(&w.servers[i], &d->remote, &client, &q);
    return;
  }
  if (!ztna_addr_same_ip(&d->remote, &w.servers[0].a)) w.strayed = d->remote;
}

/* --- time */

static void feed(const struct packet *p) {
  struct stun_msg m;
  struct dgram d = {
      .remote = p->from,
      .local = local_of(p->sock, p->from.family),
      .data = p->data,
      .len = (uint32_t)p->len,
      .seg = (uint16_t)p->len,
      .sock = p->sock,
  };
  assert_int_equal(stun_read(&m, p->data, (size_t)p->len), 0);
  observer_in(w.o, w.now, &d, &m);
}

static void drain(void) {
  struct dgram v[4];
  int n;
  while ((n = observer_next(w.o, w.now, v, 4)) > 0)
    for (int i = 0; i < n; i++) deliver(&v[i]);
}

static uint64_t next_event(void) {
  uint64_t at = observer_deadline(w.o);
  for (size_t i = 0; i < w.n_waiting; i++) at = time_min(at, w.waiting[i].at);
  return at > w.now ? at : w.now;
}

/* For so long, or until nothing is going on. */
static void run(uint64_t time) {
  uint64_t until = w.now + time, at;
  drain();
  while ((at = next_event()) <= until) {
    w.now = at;
    for (size_t i = 0; i < w.n_waiting;) {
      struct packet p = w.waiting[i];
      if (p.at > w.now) {
        i++;
        continue;
      }
      w.waiting[i] = w.waiting[--w.n_waiting];
      feed(&p);
    }
    observer_tick(w.o, w.now);
    drain();
  }
  w.now = until;
}

static const struct nat_view *observe(void) {
  w.now += SEC;
  uint64_t begun = w.now;
  w.n_packets[0] = w.n_packets[1] = 0;
  observer_start(w.o, w.now);
  run(5 * SEC);
  assert_true(observer_is_done(w.o, 4) && observer_is_done(w.o, 6));
  assert_true(w.n_packets[0] <= OBSERVER_PACKETS);
  assert_true(w.n_packets[1] <= OBSERVER_PACKETS);
  assert_int_equal(n_taken, 0);
  w.done_at[0] -= begun;
  w.done_at[1] -= begun;
  return observer_view(w.o, 4);
}

static void serve_two(void) { serve(0, "192.0.2.1:3478", "192.0.2.2"); }
static void serve_one(void) { serve(0, "192.0.2.1:3478", NULL); }

/* --- mapping */

static void without_a_nat_the_address_is_its_own(void **state) {
  world(true);
  serve_two();
  const struct nat_view *v = observe();
  struct ztna_addr own = local_of(0, 4);
  assert_int_equal(v->mapping, NAT_NONE);
  assert_int_equal(v->filtering, NAT_NONE);
  assert_int_equal(v->allocation, NAT_PRESERVING);
  assert_false(v->mapping_partial || v->filtering_partial);
  assert_true(ztna_addr_equal(&v->mapped, &own));
}

static void a_firewall_without_nat_filters_only(void **state) {
  world(true);
  serve_two();
  w.filtering = NAT_ADDRESS_PORT_DEPENDENT;
  assert_int_equal(observe()->mapping, NAT_NONE);
  assert_int_equal(observer_view(w.o, 4)->filtering,
                   NAT_ADDRESS_PORT_DEPENDENT);
}

static void every_mapping_and_filtering_is_told_by_two_addresses(void **s) {
  for (int m = NAT_ENDPOINT_INDEPENDENT; m <= NAT_ADDRESS_PORT_DEPENDENT; m++)
    for (int f = NAT_ENDPOINT_INDEPENDENT; f <= NAT_ADDRESS_PORT_DEPENDENT;
         f++) {
      world(true);
      serve_two();
      nat((enum nat_behaviour)m, (enum nat_behaviour)f, NAT_RANDOM, 0);
      const struct nat_view *v = observe();
      assert_int_equal(v->mapping, m);
      assert_int_equal(v->filtering, f);
      assert_int_equal(v->allocation, NAT_RANDOM);
      assert_false(v->mapping_partial || v->filtering_partial);
      end(NULL);
    }
}

static void one_address_tells_about_ports_only(void **state) {
  world(false);
  serve_one();
  nat(NAT_ADDRESS_DEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_PRESERVING, 0);
  assert_int_equal(observe()->mapping, NAT_ENDPOINT_INDEPENDENT);
  assert_true(observer_view(w.o, 4)->mapping_partial);
  w.n_holes = 0;
  nat(NAT_ADDRESS_PORT_DEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_RANDOM, 0);
  assert_int_equal(observe()->mapping, NAT_ADDRESS_PORT_DEPENDENT);
  assert_false(observer_view(w.o, 4)->mapping_partial);
}

static void a_second_server_is_another_address(void **state) {
  world(false);
  serve_one();
  serve(1, "192.0.2.9:443", NULL);
  nat(NAT_ADDRESS_DEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_SEQUENTIAL, 1);
  assert_int_equal(observe()->mapping, NAT_ADDRESS_DEPENDENT);
  assert_false(observer_view(w.o, 4)->mapping_partial);
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_SEQUENTIAL, 1);
  w.n_holes = 0;
  assert_int_equal(observe()->mapping, NAT_ENDPOINT_INDEPENDENT);
  assert_false(observer_view(w.o, 4)->mapping_partial);
}

static void a_plain_server_tells_the_address_alone(void **state) {
  world(true);
  serve_one();
  w.servers[0].other_port = 0;
  w.servers[0].plain = w.servers[0].knows_no_padding = true;
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_SEQUENTIAL, 2);
  const struct nat_view *v = observe();
  assert_int_equal(v->mapped.port, 40002);
  assert_int_equal(v->mapping, NAT_ENDPOINT_INDEPENDENT);
  assert_true(v->mapping_partial);
  assert_int_equal(v->filtering, NAT_UNKNOWN);
  assert_int_equal(v->allocation, NAT_SEQUENTIAL);
  assert_int_equal(v->delta, 2);
  /* The first question cost a round trip more, the others none. */
  assert_int_equal(w.done_at[0], 3 * w.rtt);
}

static void two_plain_servers_tell_hard_from_easy(void **state) {
  world(false);
  serve_one();
  serve(1, "192.0.2.9:443", NULL);
  w.servers[0].other_port = w.servers[1].other_port = 0;
  nat(NAT_ADDRESS_PORT_DEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_RANDOM, 0);
  assert_true(nat_is_hard(observe()));
  assert_true(observer_view(w.o, 4)->mapping_partial);
}

/* --- filtering */

static void one_address_tells_of_filtering_by_port_only(void **state) {
  world(true);
  serve_one();
  w.servers[0].wants_padding = true;
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ENDPOINT_INDEPENDENT, NAT_PRESERVING, 0);
  assert_int_equal(observe()->filtering, NAT_ADDRESS_DEPENDENT);
  assert_true(observer_view(w.o, 4)->filtering_partial);
  w.filtering = NAT_ADDRESS_PORT_DEPENDENT;
  w.n_holes = 0;
  assert_int_equal(observe()->filtering, NAT_ADDRESS_PORT_DEPENDENT);
  assert_false(observer_view(w.o, 4)->filtering_partial);
}

static void a_refused_change_of_address_is_no_filtering(void **state) {
  world(true);
  serve_one();
  w.servers[0].wants_padding = true;
  w.servers[0].lie = test_addr("192.0.2.2:3479");
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ENDPOINT_INDEPENDENT, NAT_PRESERVING, 0);
  assert_int_equal(observe()->filtering, NAT_ADDRESS_DEPENDENT);
  assert_true(observer_view(w.o, 4)->filtering_partial);
  assert_int_equal(w.n_refused, 1);
}

static void a_lost_first_question_hides_no_filtering(void **state) {
  world(true);
  serve_two();
  w.servers[0].wants_padding = true;
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ENDPOINT_INDEPENDENT, NAT_PRESERVING, 0);
  observer_start(w.o, w.now);
  w.lose_all = true;
  run(50 * MS);
  w.lose_all = false;
  run(2 * SEC);
  assert_int_equal(observer_view(w.o, 4)->filtering, NAT_ENDPOINT_INDEPENDENT);
}

static void change_request_passed_over_tells_nothing(void **state) {
  world(true);
  serve_two();
  w.servers[0].plain = true;
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_PORT_DEPENDENT, NAT_PRESERVING, 0);
  assert_int_equal(observe()->filtering, NAT_UNKNOWN);
}

static void filtering_is_not_asked_for_unless_wanted(void **state) {
  world(false);
  serve_two();
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_PRESERVING, 0);
  assert_int_equal(observe()->filtering, NAT_UNKNOWN);
  assert_int_equal(w.n_packets[0], 3);
}

/* --- allocation */

static void allocation_is_found_behind_every_mapping(void **state) {
  static const struct {
    enum nat_allocation allocation;
    int delta;
  } kinds[] = {{NAT_PRESERVING, 0},
               {NAT_SEQUENTIAL, 1},
               {NAT_SEQUENTIAL, -2},
               {NAT_RANDOM, 0}};
  for (int m = NAT_ENDPOINT_INDEPENDENT; m <= NAT_ADDRESS_PORT_DEPENDENT; m++)
    for (size_t i = 0; i < N_OF(kinds); i++) {
      if (m != NAT_ENDPOINT_INDEPENDENT && !i) continue; /* two ports needed */
      world(false);
      serve_two();
      nat((enum nat_behaviour)m, NAT_ADDRESS_DEPENDENT, kinds[i].allocation,
          kinds[i].delta);
      const struct nat_view *v = observe();
      assert_int_equal(v->mapping, m);
      assert_int_equal(v->allocation, kinds[i].allocation);
      assert_int_equal(v->delta, kinds[i].delta);
      if (kinds[i].delta) assert_int_equal(v->last_port, w.last_port);
      end(NULL);
    }
}

static void a_port_kept_is_preserving_without_more_questions(void **state) {
  world(false);
  serve_two();
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_PRESERVING, 0);
  assert_int_equal(observe()->allocation, NAT_PRESERVING);
  assert_int_equal(w.n_closed, 0);
}

static void a_refresh_finds_the_newest_port_of_a_sequence(void **state) {
  world(false);
  serve_two();
  nat(NAT_ADDRESS_PORT_DEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_SEQUENTIAL, 1);
  observe();
  for (int i = 0; i < 3; i++) {
    w.last_port = (uint16_t)(50000 + 100 * i); /* others' */
    w.n_done[0] = 0;
    observer_refresh(w.o, 4, w.now);
    uint64_t asked_at = w.now;
    assert_int_equal(w.n_done[0], 0);
    run(SEC);
    assert_int_equal(w.n_done[0], 1);
    assert_int_equal(observer_view(w.o, 4)->last_port, 50001 + 100 * i);
    assert_int_equal(observer_view(w.o, 4)->last_at, asked_at);
    assert_int_equal(observer_view(w.o, 4)->mapping,
                     NAT_ADDRESS_PORT_DEPENDENT);
    assert_int_equal(n_taken, 0);
  }
}

static void a_refresh_ends_within_300_ms_and_leaves_the_rest(void **state) {
  world(false);
  serve_two();
  nat(NAT_ADDRESS_PORT_DEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_SEQUENTIAL, 1);
  uint16_t last = observe()->last_port;
  w.lose_all = true;
  observer_refresh(w.o, 4, w.now);
  uint64_t begun = w.now;
  run(SEC);
  assert_true(w.done_at[0] - begun <= 300 * MS);
  assert_int_equal(observer_view(w.o, 4)->last_port, last);
  assert_int_equal(n_taken, 0);
}

static void a_refresh_of_what_is_no_sequence_is_done_at_once(void **state) {
  world(false);
  serve_two();
  nat(NAT_ADDRESS_PORT_DEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_RANDOM, 0);
  observe();
  int n = w.n_done[0], n_packets = w.n_packets[0];
  observer_refresh(w.o, 4, w.now);
  assert_int_equal(w.n_done[0], n + 1);
  run(SEC);
  assert_int_equal(w.n_packets[0], n_packets);
}

/* --- time, loss, silence */

static void two_round_trips_tell_all_but_filtering(void **state) {
  for (int m = NAT_ENDPOINT_INDEPENDENT; m <= NAT_ADDRESS_PORT_DEPENDENT; m++)
    for (uint64_t rtt = 20 * MS; rtt < 600 * MS; rtt += 180 * MS) {
      world(false);
      serve_two();
      w.rtt = rtt;
      nat((enum nat_behaviour)m, NAT_ADDRESS_DEPENDENT, NAT_RANDOM, 0);
      assert_int_equal(observe()->mapping, m);
      assert_int_equal(w.done_at[0], 2 * rtt);
      /* Only the first question is repeated in vain on a long way. */
      int n_vain = (rtt > 100 * MS) + (rtt > 250 * MS) + (rtt > 500 * MS);
      assert_int_equal(w.n_packets[0], 1 + n_vain + 2 + 2);
      end(NULL);
    }
}

static void a_silent_second_server_is_not_waited_for(void **state) {
  for (int people = 0; people < 2; people++) {
    world(people);
    serve_two();
    serve(1, "192.0.2.9:443", NULL)->deaf = true;
    nat(NAT_ENDPOINT_INDEPENDENT, NAT_ENDPOINT_INDEPENDENT, NAT_RANDOM, 0);
    assert_false(observe()->mapping_partial);
    if (people) /* want to know which one is silent */
      assert_int_equal(observer_stats(w.o)->n_unanswered, 1);
    else
      assert_int_equal(w.done_at[0], 2 * w.rtt);
    end(NULL);
  }
}

static void loss_delays_it_to_800_ms_at_most(void **state) {
  for (int lose = 1; lose < OBSERVER_SENDS; lose++) {
    world(true);
    serve_two();
    serve(1, "192.0.2.9:443", NULL);
    nat(NAT_ADDRESS_DEPENDENT, NAT_ADDRESS_PORT_DEPENDENT, NAT_RANDOM, 0);
    w.lose = lose;
    observer_start(w.o, w.now);
    run(1500 * MS);
    assert_true(observer_is_done(w.o, 4));
    assert_int_equal(observer_view(w.o, 4)->mapped.family, 4);
    if (lose < 3)
      assert_int_equal(observer_view(w.o, 4)->mapping, NAT_ADDRESS_DEPENDENT);
    assert_true(w.n_packets[0] <= OBSERVER_PACKETS);
    end(NULL);

    world(false);
    serve_two();
    nat(NAT_ADDRESS_DEPENDENT, NAT_ADDRESS_PORT_DEPENDENT, NAT_RANDOM, 0);
    w.lose = lose;
    observe();
    assert_true(w.done_at[0] <= 800 * MS);
    end(NULL);
  }
}

static void filtering_is_known_within_1500_ms(void **state) {
  world(true);
  serve_two();
  nat(NAT_ADDRESS_DEPENDENT, NAT_ADDRESS_PORT_DEPENDENT, NAT_RANDOM, 0);
  assert_int_equal(observe()->filtering, NAT_ADDRESS_PORT_DEPENDENT);
  assert_true(w.done_at[0] <= 1500 * MS);
}

static void when_nobody_answers_all_is_unknown(void **state) {
  world(true);
  for (size_t i = 0; i < 4; i++) {
    char name[32];
    snprintf(name, sizeof(name), "192.0.2.%zu:3478", i + 1);
    serve(i, name, NULL)->deaf = true;
  }
  const struct nat_view *v = observe();
  static const struct nat_view nothing;
  assert_memory_equal(v, &nothing, sizeof(*v));
  assert_true(w.done_at[0] <= 800 * MS + 250 * MS);
  assert_int_equal(w.n_results, 4);
  assert_int_equal(observer_stats(w.o)->n_unanswered, 4);
  assert_int_equal(w.n_done[0], 1);
}

static void without_servers_it_is_done_at_once(void **state) {
  world(true);
  observer_start(w.o, w.now);
  assert_true(observer_is_done(w.o, 4) && observer_is_done(w.o, 6));
  assert_int_equal(w.n_done[0] + w.n_done[1], 2);
  assert_true(observer_deadline(w.o) == NEVER);
}

static void other_servers_help_out_when_the_first_are_silent(void **state) {
  world(false);
  serve(0, "192.0.2.1:3478", NULL)->deaf = true;
  serve(1, "192.0.2.2:3478", NULL)->deaf = true;
  serve(2, "192.0.2.3:3478", NULL);
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_RANDOM, 0);
  assert_int_equal(observe()->mapping, NAT_ENDPOINT_INDEPENDENT);
  serve(0, "192.0.2.1:3478", NULL);
  w.asked[2] = false;
  observe();
  assert_false(w.asked[2]); /* nor are they bothered else */
}

static void families_are_observed_on_their_own(void **state) {
  world(false);
  serve_two();
  serve(1, "[2001:db8:f::1]:3478", "2001:db8:f::2");
  serve(0, "192.0.2.1:3478", "192.0.2.2")->deaf = true;
  w.mapping = NAT_NONE;
  observe();
  assert_int_equal(observer_view(w.o, 4)->mapping, NAT_UNKNOWN);
  assert_int_equal(observer_view(w.o, 6)->mapping, NAT_NONE);
  assert_true(w.done_at[1] < w.done_at[0]);
}

static void questions_are_as_long_as_any_answer(void **state) {
  struct dgram v[1];
  world(false);
  serve(0, "[2001:db8:f::1]:3478", NULL);
  observer_start(w.o, w.now);
  assert_int_equal(observer_next(w.o, w.now, v, 1), 1);
  assert_true(v[0].len >= 20 + 4 * 24 + 8);
}

/* --- again */

static void another_nat_is_seen_by_starting_again(void **state) {
  world(false);
  serve_two();
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_SEQUENTIAL, 1);
  assert_int_equal(observe()->mapping, NAT_ENDPOINT_INDEPENDENT);
  nat(NAT_ADDRESS_PORT_DEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_RANDOM, 0);
  w.n_holes = 0;
  observer_start(w.o, w.now);
  assert_int_equal(observer_view(w.o, 4)->mapping, NAT_UNKNOWN);
  assert_false(observer_is_done(w.o, 4));
  assert_int_equal(observe()->mapping, NAT_ADDRESS_PORT_DEPENDENT);
  assert_int_equal(n_taken, 0);
}

static void a_new_server_that_can_tell_more_is_asked(void **state) {
  world(false);
  serve_one();
  nat(NAT_ADDRESS_DEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_RANDOM, 0);
  assert_int_equal(observe()->mapping, NAT_ENDPOINT_INDEPENDENT);
  serve(1, "192.0.2.9:443", NULL);
  /* What was known stays until more is. */
  assert_true(observer_is_done(w.o, 4));
  run(SEC);
  assert_int_equal(observer_view(w.o, 4)->mapping, NAT_ADDRESS_DEPENDENT);
  assert_int_equal(w.n_done[0], 2);
  /* Now nothing is lacking. */
  int n = w.n_packets[0];
  serve(2, "192.0.2.10:443", NULL);
  run(SEC);
  assert_int_equal(w.n_packets[0], n);
}

static void the_address_is_there_with_the_first_answer(void **state) {
  world(true);
  serve_two();
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_PORT_DEPENDENT, NAT_RANDOM, 0);
  observer_start(w.o, w.now);
  run(w.rtt);
  assert_false(observer_is_done(w.o, 4));
  assert_int_equal(observer_view(w.o, 4)->mapped.family, 4);
}

/* --- liars */

static void answers_from_elsewhere_are_dropped(void **state) {
  world(false);
  serve_two();
  nat(NAT_ENDPOINT_INDEPENDENT, NAT_ENDPOINT_INDEPENDENT, NAT_RANDOM, 0);
  w.servers[0].speaks_from = test_addr("203.0.113.66:3478");
  assert_int_equal(observe()->mapping, NAT_UNKNOWN);
  assert_true(observer_stats(w.o)->drops[REASON_WRONG_SOURCE] >= 4);
}

static void answers_to_questions_of_others_are_not_ours(void **state) {
  struct dgram d = {.remote = test_addr("192.0.2.1:3478")};
  struct stun_msg m = {.class = STUN_SUCCESS, .method = STUN_BINDING};
  world(false);
  serve_two();
  observer_start(w.o, w.now);
  drain();
  m.mapped = test_addr("198.51.100.1:1");
  assert_false(observer_in(w.o, w.now, &d, &m));
  assert_int_equal(observer_view(w.o, 4)->mapped.family, 0);
}

static void a_server_cannot_send_us_to_our_own_networks(void **state) {
  static const char *const lies[] = {
      "127.0.0.1:53",  "10.0.0.1:53",  "192.168.1.1:53",     "172.16.0.1:53",
      "100.64.0.1:53", "224.0.0.1:53", "255.255.255.255:53", "169.254.1.1:53",
      "0.0.0.0:53",    "10.0.0.7:53",  "[::1]:53",
  };
  for (size_t i = 0; i < N_OF(lies); i++) {
    world(true);
    serve_one();
    w.servers[0].lie = test_addr(lies[i]);
    nat(NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_DEPENDENT, NAT_RANDOM, 0);
    observe();
    assert_int_equal(w.strayed.family, 0);
    end(NULL);
  }
}

static void a_mapped_address_of_another_family_is_malformed(void **state) {
  struct dgram v[1];
  world(false);
  serve_two();
  observer_start(w.o, w.now);
  assert_int_equal(observer_next(w.o, w.now, v, 1), 1);
  struct stun_msg m;
  assert_int_equal(stun_read(&m, v[0].data, v[0].len), 0);
  struct dgram d = {.remote = v[0].remote};
  m.class = STUN_SUCCESS;
  m.mapped = test_addr("[2001:db8::1]:4");
  assert_true(observer_in(w.o, w.now, &d, &m));
  assert_int_equal(observer_stats(w.o)->drops[REASON_MALFORMED], 1);
  assert_int_equal(observer_view(w.o, 4)->mapped.family, 0);
}

int main(void) {
#define T(f) TEST_WITH(f, NULL, end)
  const struct CMUnitTest tests[] = {
      T(without_a_nat_the_address_is_its_own),
      T(a_firewall_without_nat_filters_only),
      T(every_mapping_and_filtering_is_told_by_two_addresses),
      T(one_address_tells_about_ports_only),
      T(a_second_server_is_another_address),
      T(a_plain_server_tells_the_address_alone),
      T(two_plain_servers_tell_hard_from_easy),
      T(one_address_tells_of_filtering_by_port_only),
      T(a_refused_change_of_address_is_no_filtering),
      T(a_lost_first_question_hides_no_filtering),
      T(change_request_passed_over_tells_nothing),
      T(filtering_is_not_asked_for_unless_wanted),
      T(allocation_is_found_behind_every_mapping),
      T(a_port_kept_is_preserving_without_more_questions),
      T(a_refresh_finds_the_newest_port_of_a_sequence),
      T(a_refresh_ends_within_300_ms_and_leaves_the_rest),
      T(a_refresh_of_what_is_no_sequence_is_done_at_once),
      T(two_round_trips_tell_all_but_filtering),
      T(a_silent_second_server_is_not_waited_for),
      T(loss_delays_it_to_800_ms_at_most),
      T(filtering_is_known_within_1500_ms),
      T(when_nobody_answers_all_is_unknown),
      T(without_servers_it_is_done_at_once),
      T(other_servers_help_out_when_the_first_are_silent),
      T(families_are_observed_on_their_own),
      T(questions_are_as_long_as_any_answer),
      T(another_nat_is_seen_by_starting_again),
      T(a_new_server_that_can_tell_more_is_asked),
      T(the_address_is_there_with_the_first_answer),
      T(answers_from_elsewhere_are_dropped),
      T(answers_to_questions_of_others_are_not_ours),
      T(a_server_cannot_send_us_to_our_own_networks),
      T(a_mapped_address_of_another_family_is_malformed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
