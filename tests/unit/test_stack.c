/* test_stack.c - the stack on virtual time, against segments made by hand. What
 * a real kernel makes of it: test_stack_tun.c. */
#include "unit/unit.h"

#include <malloc.h>
#include <time.h>

#include "base/time.h"
#include "stack/stack.h"
#include "unit/tcp_peer.h"

enum { MTU = 1280, MSS = MTU - 40, ROOM = 4 << 20, SCALE = 7, OUR_SCALE = 5 };

/* What came out, in order. */
static uint8_t out[ROOM];
static struct {
  size_t at, len;
  uint16_t gso_size;
} packets[8192];
static size_t n_packets, n_taken, out_len;
static bool no_room;

static uint64_t seed, now;
static struct rng rng;
static struct stack *stack;
static bool offload;

/* The user's side of a connection. */
struct app {
  struct stack_conn *c; /* NULL: gone */
  uint8_t got[1 << 21];
  size_t n_got, n_sent, left_at_reset;
  bool takes; /* at once */
  bool aborts_on_data;
  uint8_t *written;
  struct app *writes_to;
  int fin, reset, closed;
};
static struct app apps[2], *app = &apps[0];
static struct tcp_peer peer;

/* --- callbacks --- */

static uint8_t *room(void *ud, size_t len) {
  if (no_room) return NULL;
  if (n_taken == n_packets) n_taken = n_packets = out_len = 0;
  assert_true(out_len + len <= ROOM && n_packets < N_OF(packets));
  return out + out_len;
}

static void came_out(void *ud, const struct stack_out *o) {
  packets[n_packets].at = out_len;
  packets[n_packets].len = o->len;
  packets[n_packets++].gso_size = o->gso_size;
  out_len += o->len;
}

static void on_data(struct stack_conn *c, void *ud, const uint8_t *data,
                    size_t len) {
  struct app *a = ud;

  assert_ptr_equal(a->c, c);
  assert_true(a->n_got + len <= sizeof(a->got));
  memcpy(a->got + a->n_got, data, len);
  a->n_got += len;
  if (a->takes) stack_took(c, now, len);
  if (a->writes_to) {
    stack_write(a->writes_to->c, (const uint8_t *)"also", 4);
    stack_flush(a->writes_to->c, now);
  }
  if (a->aborts_on_data) {
    a->c = NULL;
    stack_abort(c, now);
    free(a->written);
  }
}

static void on_fin(struct stack_conn *c, void *ud) {
  ((struct app *)ud)->fin++;
}

static void on_sent(struct stack_conn *c, void *ud, size_t n) {
  ((struct app *)ud)->n_sent += n;
}

static void on_reset(struct stack_conn *c, void *ud) {
  struct app *a = ud;

  a->left_at_reset = a->n_got;
  a->reset++;
  a->c = NULL;
}

static void on_closed(struct stack_conn *c, void *ud) {
  struct app *a = ud;

  a->closed++;
  a->c = NULL;
}

static const struct stack_ops ops = {room,    came_out, on_data,  on_fin,
                                     on_sent, on_reset, on_closed};

/* --- the world --- */

static struct stack *new_stack(void) {
  struct stack_config cfg = {
      .ops = &ops, .rng = &rng, .mtu = MTU, .offload = offload};
  struct stack *s = stack_new(&cfg);

  assert_non_null(s);
  return s;
}

static void begin(bool with_offload) {
  offload = with_offload;
  seed = 99;
  rng = test_rng(&seed);
  now = 5 * SEC;
  n_packets = n_taken = out_len = 0;
  no_room = false;
  memset(apps, 0, sizeof(apps));
  peer = tcp_peer_of(4, 1, 80);
  peer.seq = 1000;
  stack = new_stack();
}

static int setup(void **state) {
  begin(false);
  return 0;
}

static int setup_offload(void **state) {
  begin(true);
  return 0;
}

static int teardown(void **state) {
  stack_free(stack);
  return 0;
}

static bool nothing_came_out(void) { return n_taken == n_packets; }

static struct tcp_seen take(void) {
  struct tcp_seen seen;

  assert_true(n_taken < n_packets);
  assert_true(tcp_peer_read(&seen, out + packets[n_taken].at,
                            packets[n_taken].len, offload));
  n_taken++;
  return seen;
}

static void forget_all(void) { n_taken = n_packets; }

static struct tcp_seen last(void) {
  n_taken = n_packets - 1;
  return take();
}

static size_t build(uint8_t *b, uint8_t flags, const void *data, size_t len) {
  const struct tcp_options o = {.mss = MSS, .scale = SCALE};

  return tcp_peer_build(&peer, b, flags, flags & SYN ? &o : NULL, data, len);
}

/* Says it, and goes on behind it. */
static void say(uint8_t flags, const void *data, size_t len) {
  static uint8_t b[MOST];
  size_t n = build(b, flags, data, len);

  stack_in(app->c, now, b, n);
  peer.seq += (uint32_t)len + !!(flags & FIN);
}

static void refuse(uint8_t flags) {
  uint8_t b[100];

  stack_refuse(stack, now, b, build(b, flags, NULL, 0));
}

static void accept_syn(void) {
  uint8_t b[100];

  app->c = stack_accept(stack, now, b, build(b, SYN, NULL, 0), app);
  peer.seq++;
}

static void open_conn(void) {
  accept_syn();
  assert_non_null(app->c);
  peer.ack = last().seq + 1;
  say(ACK, NULL, 0);
  assert_true(stack_established(app->c));
  assert_true(nothing_came_out());
}

/* Until something came out, or so long. */
static bool wait_for_output(uint64_t most) {
  uint64_t end = now + most;

  while (nothing_came_out() && stack_deadline(stack) <= end) {
    now = stack_deadline(stack);
    stack_tick(stack, now);
  }
  if (nothing_came_out()) now = end;
  return !nothing_came_out();
}

static const uint8_t *pattern(size_t len) {
  static uint8_t b[4 << 20];

  assert_true(len <= sizeof(b));
  for (size_t i = 0; !b[1] && i < sizeof(b); i++)
    b[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
  return b;
}

/* --- handshakes --- */

static void syn_is_answered_with_what_the_mtu_allows(void **state) {
  for (int family = 4; family <= 6; family += 2) {
    peer = tcp_peer_of(family, 1, 80);
    accept_syn();
    assert_non_null(app->c);
    assert_false(stack_established(app->c));
    struct tcp_seen s = take();
    assert_int_equal(s.from.family, family);
    assert_int_equal(s.flags, SYN | ACK);
    assert_int_equal(s.from.port, 80);
    assert_int_equal(s.ack, peer.seq);
    assert_int_equal(s.options.mss, family == 4 ? MTU - 40 : MTU - 60);
    assert_int_equal(s.options.scale, OUR_SCALE);
  }
  assert_int_equal(stack_count(stack), 2);
}

static uint32_t isn_of(struct stack *s) {
  uint8_t b[100];
  struct stack_conn *c;

  c = stack_accept(s, now, b, build(b, SYN, NULL, 0), app);
  assert_non_null(c);
  uint32_t isn = take().seq;
  stack_abort(c, now);
  forget_all();
  return isn;
}

static void initial_sequence_number_is_keyed_and_grows(void **state) {
  struct stack *other = new_stack();
  uint32_t a = isn_of(stack), b = isn_of(other);

  assert_int_not_equal(a, b);
  peer.from.port++;
  assert_true(isn_of(stack) - a > 1000000u); /* another's says nothing of it */
  peer.from.port--;
  now += SEC; /* RFC 6528: a clock of 4 us */
  assert_in_range(isn_of(stack) - a, 200000, 300000);
  stack_free(other);
}

static void refused_syn_is_reset(void **state) {
  peer.ack = 77;
  refuse(SYN);
  struct tcp_seen s = take();
  assert_int_equal(s.flags, RST | ACK);
  assert_int_equal(s.ack, peer.seq + 1);
  assert_int_equal(stack_count(stack), 0);
  peer = tcp_peer_of(6, 1, 80);
  refuse(SYN);
  assert_int_equal(take().flags, RST | ACK);
}

static void stray_segment_is_reset_and_a_reset_is_not(void **state) {
  peer.ack = 77;
  refuse(ACK);
  struct tcp_seen s = take();
  assert_true(s.flags & RST);
  assert_int_equal(s.seq, 77);
  refuse(RST);
  refuse(RST | ACK);
  assert_true(nothing_came_out());
}

static void what_is_no_syn_is_not_accepted(void **state) {
  static const uint8_t flags[] = {ACK, SYN | ACK, SYN | RST, SYN | FIN, RST, 0};
  uint8_t b[100];

  for (size_t i = 0; i < N_OF(flags); i++)
    assert_null(stack_accept(stack, now, b, build(b, flags[i], NULL, 0), app));
  assert_null(stack_accept(stack, now, b, 10, app));
  assert_int_equal(stack_count(stack), 0);
}

static void syn_ack_that_got_lost_comes_again(void **state) {
  accept_syn();
  forget_all();
  assert_true(wait_for_output(3 * SEC));
  assert_int_equal(take().flags, SYN | ACK);
  peer.seq--; /* the kernel's own repetition */
  say(SYN, NULL, 0);
  assert_int_equal(last().flags, SYN | ACK);
}

static void half_open_connection_is_given_up(void **state) {
  accept_syn();
  while (app->c && now < 60 * SEC) {
    forget_all();
    wait_for_output(SEC);
  }
  assert_int_equal(app->reset, 1);
  assert_int_equal(stack_count(stack), 0);
  assert_int_equal(stack_deadline(stack), NEVER);
}

/* --- bytes --- */

static void request_is_answered_with_its_ack(void **state) {
  open_conn();
  app->takes = true;
  app->writes_to = app;
  say(ACK | PSH, "hello", 5);
  assert_int_equal(app->n_got, 5);
  assert_memory_equal(app->got, "hello", 5);
  struct tcp_seen s = take();
  assert_int_equal(s.ack, peer.seq);
  assert_int_equal(s.len, 4);
  assert_memory_equal(s.data, "also", 4);
  assert_true(nothing_came_out());
  assert_int_equal(app->n_sent, 0);
  peer.ack += 4;
  say(ACK, NULL, 0);
  assert_int_equal(app->n_sent, 4);
}

static void ack_alone_is_delayed_and_then_nothing_is_timed(void **state) {
  open_conn();
  assert_int_equal(stack_deadline(stack), NEVER);
  app->takes = true;
  say(ACK, "x", 1);
  assert_true(nothing_came_out());
  assert_in_range(stack_deadline(stack), now, now + 20 * MS);
  assert_true(wait_for_output(20 * MS));
  assert_int_equal(take().ack, peer.seq);
  assert_int_equal(stack_deadline(stack), NEVER);
}

static void writing_flows_as_far_as_the_window_goes(void **state) {
  const size_t all = 300000, window = 200 * 128;
  size_t got = 0;

  peer.window = window >> SCALE;
  open_conn();
  assert_int_equal(stack_write(app->c, pattern(all), all), all);
  stack_flush(app->c, now);
  while (got < all) {
    size_t before = got;
    while (!nothing_came_out()) {
      struct tcp_seen s = take();
      assert_in_range(s.len, 1, MSS);
      assert_int_equal(s.seq, peer.ack);
      assert_memory_equal(s.data, pattern(all) + got, s.len);
      got += s.len;
      peer.ack += (uint32_t)s.len;
    }
    assert_in_range(got - before, 1, window);
    say(ACK, NULL, 0);
    assert_int_equal(app->n_sent, got);
  }
  assert_int_equal(stack_deadline(stack), NEVER);
}

static void lost_segment_is_sent_again(void **state) {
  open_conn();
  stack_write(app->c, pattern(100), 100);
  stack_flush(app->c, now);
  uint32_t seq = take().seq;
  for (int i = 0; i < 3; i++) {
    uint64_t began = now;
    assert_true(wait_for_output(30 * SEC));
    assert_true(now - began >= 100 * MS);
    struct tcp_seen s = take();
    assert_int_equal(s.seq, seq);
    assert_int_equal(s.len, 100);
    assert_memory_equal(s.data, pattern(100), 100);
  }
  peer.ack += 100;
  say(ACK, NULL, 0);
  assert_int_equal(app->n_sent, 100);
  assert_int_equal(stack_deadline(stack), NEVER);
}

static void silent_peer_is_given_up(void **state) {
  open_conn();
  stack_write(app->c, pattern(100), 100);
  stack_flush(app->c, now);
  while (app->c && now < 1000 * SEC) {
    forget_all();
    wait_for_output(60 * SEC);
  }
  assert_int_equal(app->reset, 1);
  assert_in_range(now, 30 * SEC, 400 * SEC);
}

static void three_repeated_acks_bring_a_segment_at_once(void **state) {
  open_conn();
  stack_write(app->c, pattern(5 * MSS), 5 * MSS);
  stack_flush(app->c, now);
  uint32_t seq = take().seq;
  forget_all();
  for (int i = 0; i < 3; i++) say(ACK, NULL, 0);
  struct tcp_seen s = take();
  assert_int_equal(s.seq, seq);
  assert_int_equal(s.len, MSS);
}

static void shut_window_is_probed_until_it_opens(void **state) {
  open_conn();
  peer.window = 0;
  say(ACK | PSH, "?", 1); /* what it says with new bytes counts */
  say(ACK | PSH, "?", 1);
  assert_true(wait_for_output(20 * MS));
  forget_all();
  stack_write(app->c, pattern(3000), 3000);
  stack_flush(app->c, now);
  assert_true(nothing_came_out());
  for (int i = 0; i < 30; i++) {
    assert_true(wait_for_output(10 * SEC));
    assert_int_equal(take().len, 1);
    say(ACK, NULL, 0);
  }
  assert_int_equal(app->reset, 0);
  peer.window = 0xffff;
  say(ACK, NULL, 0);
  assert_int_equal(take().len, MSS);
}

static void probe_that_carried_all_there_was_is_the_last(void **state) {
  peer.window = 0;
  open_conn();
  stack_write(app->c, pattern(1), 1);
  stack_flush(app->c, now);
  assert_true(wait_for_output(10 * SEC));
  peer.ack += (uint32_t)take().len;
  say(ACK, NULL, 0);
  assert_int_equal(app->n_sent, 1);
  assert_int_equal(stack_deadline(stack), NEVER);
}

static void window_that_was_none_at_first_may_be_small(void **state) {
  peer.window = 0;
  open_conn();
  stack_write(app->c, pattern(2 * MSS), 2 * MSS);
  peer.window = 4; /* times 128 */
  say(ACK, NULL, 0);
  stack_write(app->c, pattern(2 * MSS), 2 * MSS);
  stack_flush(app->c, now);
  assert_in_range(take().len, 1, 4 << SCALE);
}

/* A timer sends the SYN-ACK again, and bytes behind it. */
static void bytes_acknowledged_with_the_handshake_are_all_told(void **state) {
  accept_syn();
  peer.ack = take().seq + 1;
  stack_write(app->c, pattern(300), 300);
  stack_flush(app->c, now);
  for (size_t got = 0; got < 300;) {
    assert_true(wait_for_output(10 * SEC));
    struct tcp_seen s = take();
    got += s.len;
    peer.ack += (uint32_t)s.len;
  }
  say(ACK, NULL, 0);
  assert_int_equal(app->n_sent, 300);
}

/* What the program may have under way is what the user has room for. */
static void window_shrinks_while_bytes_wait(void **state) {
  size_t said = 0, edge = UINT16_MAX;

  open_conn();
  for (; said + MSS <= edge; said += MSS) {
    say(ACK, pattern(said + MSS) + said, MSS);
    if (nothing_came_out()) continue;
    edge = said + MSS + ((size_t)last().window << OUR_SCALE);
    assert_true(edge <= STACK_WINDOW);
  }
  assert_in_range(said, STACK_WINDOW - 2 * MSS, STACK_WINDOW);
  assert_int_equal(app->n_got, said);
  say(ACK, pattern(MOST), 5 * MSS); /* beyond it */
  assert_int_equal(app->n_got, STACK_WINDOW);
  assert_int_equal(last().window, 0);
  assert_false(wait_for_output(60 * SEC));

  peer.seq -= (uint32_t)(said + 5 * MSS - STACK_WINDOW);
  stack_took(app->c, now, STACK_WINDOW / 2);
  assert_int_equal((size_t)last().window << OUR_SCALE, STACK_WINDOW / 2);
  say(ACK, "more", 4);
  assert_int_equal(app->n_got, STACK_WINDOW + 4);
  assert_memory_equal(app->got + STACK_WINDOW, "more", 4);
}

static void peer_without_scaling_gets_64_kb(void **state) {
  const struct tcp_options o = {.mss = 1460, .scale = -1};
  uint8_t b[100];

  app->c = stack_accept(stack, now, b,
                        tcp_peer_build(&peer, b, SYN, &o, NULL, 0), app);
  peer.seq++;
  struct tcp_seen s = last();
  assert_int_equal(s.options.scale, -1);
  assert_int_equal(s.window, 0xffff);
  peer.ack = s.seq + 1;
  say(ACK, NULL, 0);
  for (int i = 0; i < 64; i++) say(ACK, pattern(1000), 1000);
  assert_int_equal(app->n_got, 64000);
  forget_all();
  stack_took(app->c, now, 64000);
  assert_int_equal(last().window, 0xffff);
}

static void reordered_and_repeated_segments_are_put_right(void **state) {
  open_conn();
  peer.seq += 100;
  say(ACK, pattern(200) + 100, 100); /* early: acknowledged, not taken */
  assert_int_equal(take().ack, peer.seq - 200);
  peer.seq -= 200;
  say(ACK, pattern(200), 100);
  peer.seq -= 100;
  say(ACK, pattern(200), 200); /* half of it again */
  assert_int_equal(app->n_got, 200);
  assert_memory_equal(app->got, pattern(200), 200);
  peer.seq -= 200;
  say(ACK, pattern(200), 200);
  assert_int_equal(app->n_got, 200);
  assert_int_equal(last().ack, peer.seq);
}

static void later_options_change_nothing(void **state) {
  const struct tcp_options tiny = {.mss = 1, .scale = 0};
  uint8_t b[100];

  open_conn();
  stack_write(app->c, pattern(100), 100);
  stack_in(app->c, now, b, tcp_peer_build(&peer, b, ACK, &tiny, NULL, 0));
  stack_write(app->c, pattern(MSS), MSS);
  stack_flush(app->c, now);
  forget_all();
  peer.ack += 100 + MSS;
  say(ACK, NULL, 0);
  stack_write(app->c, pattern(MSS), MSS);
  stack_flush(app->c, now);
  assert_int_equal(take().len, MSS);
}

static void absurdly_small_segments_are_not_made(void **state) {
  const struct tcp_options tiny = {.mss = 1, .scale = SCALE};
  uint8_t b[100];

  app->c = stack_accept(stack, now, b,
                        tcp_peer_build(&peer, b, SYN, &tiny, NULL, 0), app);
  peer.seq++;
  peer.ack = last().seq + 1;
  say(ACK, NULL, 0);
  stack_write(app->c, pattern(1000), 1000);
  stack_flush(app->c, now);
  assert_true(take().len >= 100);
}

/* --- ends --- */

static void close_by_the_program_then_by_us(void **state) {
  open_conn();
  say(ACK | FIN, "bye", 3);
  assert_int_equal(app->fin, 1);
  assert_int_equal(app->n_got, 3);
  assert_int_equal(take().ack, peer.seq);
  stack_write(app->c, pattern(10), 10);
  stack_shut(app->c, now);
  struct tcp_seen s = take();
  assert_int_equal(s.len, 10);
  assert_true(s.flags & FIN);
  assert_int_equal(app->closed, 0);
  peer.ack += 11;
  say(ACK, NULL, 0);
  assert_int_equal(app->n_sent, 10);
  assert_int_equal(app->closed, 1);
  assert_int_equal(stack_count(stack), 0);
  assert_int_equal(stack_deadline(stack), NEVER);
}

static void close_by_us_then_by_the_program(void **state) {
  open_conn();
  stack_shut(app->c, now);
  assert_true(take().flags & FIN);
  peer.ack++;
  say(ACK, NULL, 0);
  assert_int_equal(stack_deadline(stack), NEVER); /* as long as it likes */
  say(ACK, pattern(1000), 1000);
  assert_int_equal(app->n_got, 1000);
  assert_int_equal(stack_write(app->c, pattern(1), 1), 0);
  say(ACK | FIN, NULL, 0);
  assert_int_equal(app->fin, 1);
  assert_int_equal(app->closed, 1);
  assert_int_equal(last().ack, peer.seq);
  assert_false(last().flags & RST);
  assert_int_equal(stack_count(stack), 0);
}

static void close_by_both_at_once(void **state) {
  open_conn();
  stack_shut(app->c, now);
  forget_all();
  say(ACK | FIN, NULL, 0);
  assert_int_equal(app->closed, 0);
  peer.ack++;
  say(ACK, NULL, 0);
  assert_int_equal(app->closed, 1);
}

static void end_with_bytes_unread_is_no_reset(void **state) {
  open_conn();
  say(ACK, pattern(5000), 5000);
  stack_shut(app->c, now);
  struct tcp_seen s = last();
  assert_int_equal(s.flags & (FIN | RST), FIN);
  peer.ack++;
  say(ACK | FIN, NULL, 0);
  assert_false(last().flags & RST);
  assert_int_equal(app->closed, 1);
}

static void end_before_the_handshake_waits_for_it(void **state) {
  accept_syn();
  peer.ack = last().seq + 1;
  stack_write(app->c, pattern(20), 20);
  stack_shut(app->c, now);
  assert_true(nothing_came_out());
  say(ACK, NULL, 0);
  struct tcp_seen s = take();
  assert_int_equal(s.len, 20);
  assert_true((s.flags | (nothing_came_out() ? 0 : take().flags)) & FIN);
}

static void repeated_fin_is_acknowledged_again(void **state) {
  close_by_us_then_by_the_program(state);
  uint32_t ack = peer.seq--;
  refuse(ACK | FIN);
  struct tcp_seen s = last();
  assert_int_equal(s.flags, ACK);
  assert_int_equal(s.ack, ack);
  assert_int_equal(s.seq, peer.ack);
  forget_all();
  refuse(RST);
  refuse(ACK);
  assert_true(nothing_came_out());
  now += 10 * SEC;
  refuse(ACK | FIN);
  assert_true(take().flags & RST);
}

static void new_connection_of_the_same_ports_begins_at_once(void **state) {
  close_by_us_then_by_the_program(state);
  forget_all();
  peer.seq += 100000;
  open_conn();
  say(ACK, "anew", 4);
  assert_int_equal(stack_count(stack), 1);
  stack_abort(app->c, now);
  forget_all();
  refuse(ACK | FIN); /* the old one's memory is gone */
  assert_true(take().flags & RST);
}

static void reset_comes_behind_the_bytes_before_it(void **state) {
  open_conn();
  say(ACK, pattern(700), 700);
  say(ACK | RST, NULL, 0);
  assert_int_equal(app->reset, 1);
  assert_int_equal(app->left_at_reset, 700);
  assert_int_equal(stack_count(stack), 0);
  assert_int_equal(stack_deadline(stack), NEVER);
}

static void reset_outside_the_window_is_ignored(void **state) {
  open_conn();
  peer.seq += 2 * STACK_WINDOW;
  say(RST, NULL, 0);
  assert_int_equal(app->reset, 0);
  peer.seq -= 2 * STACK_WINDOW - 10;
  say(RST, NULL, 0); /* inside, but not the next: challenged (RFC 5961) */
  assert_int_equal(app->reset, 0);
  assert_int_equal(last().flags, ACK);
}

static void abort_resets_the_program_without_callback(void **state) {
  open_conn();
  stack_write(app->c, pattern(50), 50);
  stack_flush(app->c, now);
  forget_all();
  stack_abort(app->c, now);
  struct tcp_seen s = last();
  assert_true(s.flags & RST);
  assert_int_equal(s.seq, peer.ack + 50);
  assert_int_equal(app->reset + app->closed, 0);
  assert_int_equal(stack_count(stack), 0);
}

static void abort_out_of_a_callback_is_fine(void **state) {
  open_conn();
  app->aborts_on_data = true;
  app->written = malloc(50); /* and freed there */
  memset(app->written, 7, 50);
  stack_write(app->c, app->written, 50);
  say(ACK | FIN, pattern(50), 50);
  assert_int_equal(app->fin + app->reset + app->closed, 0);
  assert_true(last().flags & RST);
  assert_int_equal(stack_count(stack), 0);
}

static void callback_may_write_to_another_connection(void **state) {
  struct tcp_peer first = peer;

  open_conn();
  first = peer;
  app = &apps[1];
  peer = tcp_peer_of(6, 7, 443);
  open_conn();
  app = &apps[0];
  peer = first;
  app->writes_to = &apps[1];
  app->takes = true;
  say(ACK, pattern(10), 10);
  struct tcp_seen s = take();
  assert_int_equal(s.from.family, 6);
  assert_int_equal(s.from.port, 443);
  assert_memory_equal(s.data, "also", 4);
  say(ACK, pattern(10), 10);
  assert_int_equal(app->n_got, 20);
}

/* --- no room --- */

static void nothing_is_lost_while_there_is_no_room(void **state) {
  const size_t all = 10 * MSS;
  size_t got = 0;

  open_conn();
  no_room = true;
  stack_write(app->c, pattern(all), all);
  stack_flush(app->c, now);
  say(ACK, "x", 1);
  assert_true(nothing_came_out());
  no_room = false;
  stack_drained(stack, now);
  while (!nothing_came_out()) {
    struct tcp_seen s = take();
    assert_int_equal(s.ack, peer.seq);
    assert_memory_equal(s.data, pattern(all) + got, s.len);
    got += s.len;
  }
  assert_int_equal(got, all);
  stack_drained(stack, now);
  assert_true(nothing_came_out());
}

static void ack_that_found_no_room_goes_out_later(void **state) {
  open_conn();
  no_room = true;
  say(ACK, "x", 1);
  assert_false(wait_for_output(100 * MS));
  no_room = false;
  stack_drained(stack, now);
  assert_int_equal(take().ack, peer.seq);
}

static void syn_ack_that_found_no_room_goes_out_later(void **state) {
  no_room = true;
  accept_syn();
  assert_non_null(app->c);
  no_room = false;
  stack_drained(stack, now);
  assert_int_equal(take().flags, SYN | ACK);
}

/* --- offload --- */

static void super_segments_carry_their_packets_size(void **state) {
  const size_t all = 900000;
  size_t got = 0, n = 0;

  open_conn();
  for (int i = 0; i < 3; i++) { /* it has seen a window of 8 MB by now */
    stack_write(app->c, pattern(MSS), MSS);
    stack_flush(app->c, now);
    assert_int_equal(packets[n_taken].gso_size, 0);
    peer.ack += (uint32_t)take().len;
    say(ACK, NULL, 0);
  }
  assert_int_equal(stack_write(app->c, pattern(all), all), all);
  stack_flush(app->c, now);
  for (; !nothing_came_out(); n++) {
    struct tcp_seen s = take();
    assert_int_equal(packets[n_taken - 1].gso_size, s.len > MSS ? MSS : 0);
    assert_memory_equal(s.data, pattern(all) + got, s.len);
    got += s.len;
  }
  assert_int_equal(got, all);
  assert_in_range(n, all / 65535, all / 60000 + 1);
}

static void super_packets_come_in_whole(void **state) {
  const size_t most = MOST - 40;

  open_conn();
  app->takes = true;
  for (int i = 0; i < 20; i++) {
    say(ACK, pattern(most), most);
    assert_int_equal(last().ack, peer.seq); /* at once */
    assert_int_equal(app->n_got, most * (size_t)(i + 1));
  }
  assert_memory_equal(app->got + 19 * most, pattern(most), most);
  assert_int_equal(stack_deadline(stack), NEVER);
}

static void lost_super_segment_is_sent_again_whole(void **state) {
  open_conn();
  stack_write(app->c, pattern(60000), 60000);
  stack_flush(app->c, now);
  size_t n = take().len;
  forget_all();
  assert_true(wait_for_output(5 * SEC));
  struct tcp_seen s = take();
  assert_int_equal(s.len, n);
  assert_memory_equal(s.data, pattern(n), n);
}

/* --- many --- */

static double cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct one {
  struct tcp_peer peer;
  struct stack_conn *c;
};

static void open_many(struct one *v, size_t n) {
  for (size_t i = 0; i < n; i++) {
    peer = tcp_peer_of(4, (uint32_t)i, 80);
    app->c = NULL;
    open_conn();
    forget_all();
    v[i] = (struct one){.peer = peer, .c = app->c};
  }
}

/* The least of a few runs: other programs run here, too. */
static double packet_ns(struct one *v, size_t n) {
  enum { ROUND = 100000 };
  double best = 1e18;
  uint64_t order = 17;

  for (int run = 0; run < 5; run++) {
    double began = cpu_ns();
    for (int i = 0; i < ROUND; i++) {
      struct one *o = &v[test_random(&order) % n];
      app->c = o->c;
      app->n_got = 0;
      peer = o->peer;
      say(ACK, "a line of text, say", 20);
      o->peer = peer;
      if (i % 16 == 0) stack_tick(stack, now += MS / 2);
      forget_all();
    }
    double ns = (cpu_ns() - began) / ROUND;
    if (ns < best) best = ns;
  }
  return best;
}

static void ten_thousand_connections_cost_as_little_as_a_hundred(void **state) {
  enum { N = 10000 };
  struct one *v = calloc(N, sizeof(*v));
  size_t before = mallinfo2().uordblks;

  app->takes = true;
  open_many(v, 100);
  double few = packet_ns(v, 100);
  stack_free(stack);
  stack = new_stack();
  before = mallinfo2().uordblks;
  open_many(v, N);
  size_t each = (mallinfo2().uordblks - before) / N;
  double many = packet_ns(v, N);
  print_message("# %zu bytes of memory for an idle connection; a packet costs "
                "%.0f ns among 100, %.0f among %d\n",
                each, few, many, N);
  assert_int_equal(stack_count(stack), N);
  assert_true(each < 600);
#ifdef __OPTIMIZE__
  assert_true(many < 2 * few + 1000); /* 10000 is no cache's size, but a walk
                                         would be 50000 */
#endif
  while (stack_deadline(stack) != NEVER) {
    stack_tick(stack, now = stack_deadline(stack));
    forget_all();
  }
  double began = cpu_ns();
  for (int i = 0; i < 1000; i++) stack_tick(stack, now += 20 * MS);
  assert_true(cpu_ns() - began < 1e6); /* the idle are not looked at */
  free(v);
}

static void say_and_hear_the_delayed_ack(struct one *o) {
  app->c = o->c;
  peer = o->peer;
  say(ACK, "x", 1);
  o->peer = peer;
  assert_true(wait_for_output(20 * MS));
  assert_int_equal(take().ack, peer.seq);
}

/* lwIP counts timer calls in 8 bits, and passes over who has that number. */
static void timers_pass_nobody_over(void **state) {
  struct one v[2];

  app->takes = true;
  open_many(v, 2);
  for (int between = 0; between < 300; between++) {
    app->n_got = 0;
    say_and_hear_the_delayed_ack(&v[0]);
    for (int i = 0; i < between; i++) say_and_hear_the_delayed_ack(&v[1]);
  }
}

static void two_stacks_take_turns(void **state) {
  struct stack *a = stack, *b = new_stack();
  struct tcp_peer first;

  open_conn();
  first = peer;
  stack = b;
  app = &apps[1];
  peer.seq = 50; /* the same addresses and ports */
  open_conn();
  say(ACK, "second", 6);
  stack = a;
  app = &apps[0];
  peer = first;
  say(ACK, "first", 5);
  assert_memory_equal(apps[0].got, "first", 5);
  assert_memory_equal(apps[1].got, "second", 6);
  assert_true(stack_deadline(a) != NEVER && stack_deadline(b) != NEVER);
  forget_all();
  assert_true(wait_for_output(SEC));
  assert_int_equal(take().ack, peer.seq);
  assert_true(nothing_came_out()); /* b's clock stood still */
  stack_free(b);
}

#define ON(f) TEST_WITH(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      ON(syn_is_answered_with_what_the_mtu_allows),
      ON(initial_sequence_number_is_keyed_and_grows),
      ON(refused_syn_is_reset),
      ON(stray_segment_is_reset_and_a_reset_is_not),
      ON(what_is_no_syn_is_not_accepted),
      ON(syn_ack_that_got_lost_comes_again),
      ON(half_open_connection_is_given_up),
      ON(request_is_answered_with_its_ack),
      ON(ack_alone_is_delayed_and_then_nothing_is_timed),
      ON(writing_flows_as_far_as_the_window_goes),
      ON(lost_segment_is_sent_again),
      ON(silent_peer_is_given_up),
      ON(three_repeated_acks_bring_a_segment_at_once),
      ON(shut_window_is_probed_until_it_opens),
      ON(probe_that_carried_all_there_was_is_the_last),
      ON(window_that_was_none_at_first_may_be_small),
      ON(bytes_acknowledged_with_the_handshake_are_all_told),
      ON(window_shrinks_while_bytes_wait),
      ON(peer_without_scaling_gets_64_kb),
      ON(reordered_and_repeated_segments_are_put_right),
      ON(later_options_change_nothing),
      ON(absurdly_small_segments_are_not_made),
      ON(close_by_the_program_then_by_us),
      ON(close_by_us_then_by_the_program),
      ON(close_by_both_at_once),
      ON(end_with_bytes_unread_is_no_reset),
      ON(end_before_the_handshake_waits_for_it),
      ON(repeated_fin_is_acknowledged_again),
      ON(new_connection_of_the_same_ports_begins_at_once),
      ON(reset_comes_behind_the_bytes_before_it),
      ON(reset_outside_the_window_is_ignored),
      ON(abort_resets_the_program_without_callback),
      ON(abort_out_of_a_callback_is_fine),
      ON(callback_may_write_to_another_connection),
      ON(nothing_is_lost_while_there_is_no_room),
      ON(ack_that_found_no_room_goes_out_later),
      ON(syn_ack_that_found_no_room_goes_out_later),
      TEST_WITH(super_segments_carry_their_packets_size, setup_offload,
                teardown),
      TEST_WITH(peer_without_scaling_gets_64_kb, setup_offload, teardown),
      TEST_WITH(super_packets_come_in_whole, setup_offload, teardown),
      TEST_WITH(lost_super_segment_is_sent_again_whole, setup_offload,
                teardown),
      ON(ten_thousand_connections_cost_as_little_as_a_hundred),
      ON(timers_pass_nobody_over),
      ON(two_stacks_take_turns),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
