/* test_loop.c - the glue in real time: two small cores on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "host/clock.h"
#include "host/logger.h"
#include "host/loop.h"

enum { ROOM = 70000, N_OUT = 16 };

/* A core: echoes what comes in, or sends and counts. */
struct core {
  struct host *host;
  bool echo;
  struct dgram out[N_OUT];
  int n_out;
  int n_packets;
  size_t bytes;
  struct ztna_addr peer;
  uint8_t data[ROOM];
  uint64_t tick_at, ticked_at;
  int n_ticks, want_ticks, n_goodbyes, n_reloads;
  bool never_stops;
  uint64_t drain_for, drained_at;
  int n_drains, n_toggles;
};

static void core_udp_in(void *ctx, uint64_t now, const struct dgram *d) {
  struct core *c = ctx;
  c->n_packets += (int)((d->len + d->seg - 1) / d->seg);
  c->bytes += d->len;
  if (!c->echo) {
    host_stop(c->host, 42);
    return;
  }
  c->out[c->n_out] = *d; /* forwards from where the bytes are */
  c->out[c->n_out].local = d->local;
  c->n_out++;
}

static void core_tick(void *ctx, uint64_t now) {
  struct core *c = ctx;
  c->ticked_at = now;
  c->tick_at = NEVER;
  if (++c->n_ticks < c->want_ticks)
    c->tick_at = now + 300 * US;
  else if (c->want_ticks)
    host_stop(c->host, 0);
}

static int core_next(void *ctx, uint64_t now, struct dgram *v, int max) {
  struct core *c = ctx;
  int n = c->n_out;
  memcpy(v, c->out, (size_t)n * sizeof(*v));
  c->n_out = 0;
  return n;
}

static uint64_t core_deadline(const void *ctx) {
  const struct core *c = ctx;
  return c->drained_at ? time_min(c->tick_at, c->drained_at) : c->tick_at;
}

static void core_drain(void *ctx, uint64_t now) {
  struct core *c = ctx;
  c->n_drains++;
  c->drained_at = now + c->drain_for;
}

static bool core_drained(const void *ctx, uint64_t now) {
  return now >= ((const struct core *)ctx)->drained_at;
}

static void core_toggle(void *ctx, uint64_t now) {
  struct core *c = ctx;
  if (++c->n_toggles == 2) raise(SIGTERM);
}

static void core_stop(void *ctx, uint64_t now) {
  struct core *c = ctx;
  c->n_goodbyes++;
  if (c->peer.family)
    c->out[c->n_out++] = (struct dgram){
        .remote = c->peer, .data = (const uint8_t *)"bye", .len = 3, .seg = 3};
}

static bool core_stopped(const void *ctx) {
  return !((const struct core *)ctx)->never_stops;
}

static void core_reload(void *ctx, uint64_t now) {
  struct core *c = ctx;
  if (++c->n_reloads == 1) raise(SIGTERM);
}

static const struct loop_role verbs = {
    .udp_in = core_udp_in,
    .tick = core_tick,
    .next = core_next,
    .deadline = core_deadline,
    .drain = core_drain,
    .drained = core_drained,
    .toggle = core_toggle,
    .stop = core_stop,
    .stopped = core_stopped,
    .reload = core_reload,
};

static struct host *host;
static struct core a, b; /* a sends, b echoes */
static struct udp *udp_a, *udp_b;

static int setup(void **state) {
  struct ztna_addr lo;
  ztna_addr_parse(&lo, "127.0.0.1:0");
  host = host_new();
  a = b = (struct core){.host = host, .tick_at = NEVER};
  b.echo = true;
  udp_a = udp_new();
  udp_b = udp_new();
  if (!host || udp_bind(udp_a, &lo) < 0 || udp_bind(udp_b, &lo) < 0) return -1;
  b.peer = udp_local(udp_a, 0);
  a.peer = udp_local(udp_b, 0);
  return host_add(host, &verbs, &a, udp_a) && host_add(host, &verbs, &b, udp_b)
             ? 0
             : -1;
}

static int teardown(void **state) {
  host_free(host);
  return 0;
}

static void what_is_sent_is_echoed(void **state) {
  b.peer.family = 0; /* no goodbye from b */
  a.out[a.n_out++] = (struct dgram){
      .remote = a.peer, .data = a.data, .len = 50 * 1200, .seg = 1200};
  a.peer.family = 0;
  assert_int_equal(host_run(host), 42);
  assert_int_equal(b.n_packets, 50);
  assert_true(a.n_packets > 0 && a.n_packets <= 50);
  assert_int_equal(a.n_goodbyes, 1);
}

static void deadlines_are_met_within_a_millisecond(void **state) {
  uint64_t start = clock_now();
  a.peer.family = b.peer.family = 0;
  a.want_ticks = 101;
  a.tick_at = start + 300 * US;
  assert_int_equal(host_run(host), 0);
  uint64_t took = clock_now() - start;
  assert_int_equal(a.n_ticks, 101);
  assert_int_equal(a.n_goodbyes, 1); /* stopped out of a tick */
  assert_true(took >= 101 * 300 * US);
  assert_true(took < 101 * 1300 * US); /* libuv's own timers: 101 * 1 ms */
}

static void sigterm_says_goodbye_and_ends(void **state) {
  b.peer.family = 0;
  uint64_t start = clock_now();
  raise(SIGTERM);
  assert_int_equal(host_run(host), 0);
  assert_int_equal(a.n_goodbyes, 1);
  assert_int_equal(b.n_goodbyes, 1);
  assert_true(clock_now() - start < 500 * MS);
  struct dgram v[UDP_BATCH];
  b.n_packets += udp_recv(udp_b, v, UDP_BATCH);
  assert_int_equal(b.n_packets, 1); /* it did leave */
}

static void sigterm_waits_for_what_drains(void **state) {
  a.peer.family = b.peer.family = 0;
  a.drain_for = 200 * MS;
  uint64_t start = clock_now();
  raise(SIGTERM);
  assert_int_equal(host_run(host), 0);
  assert_in_range(clock_now() - start, 200 * MS, 600 * MS);
  assert_int_equal(a.n_drains, 1);
  assert_int_equal(b.n_drains, 1);
  assert_int_equal(a.n_goodbyes, 1);
  assert_int_equal(b.n_goodbyes, 1);
}

static uint64_t second_at;

static void on_second(uv_timer_t *t) {
  second_at = clock_now();
  assert_int_equal(a.n_goodbyes, 0); /* it waits */
  raise(SIGTERM);
}

static void a_second_sigterm_does_not_wait(void **state) {
  static uv_timer_t timer; /* closed by the teardown */
  a.peer.family = b.peer.family = 0;
  a.drain_for = 3600 * SEC;
  uv_timer_init(host_uv(host), &timer);
  uv_timer_start(&timer, on_second, 100, 0);
  raise(SIGTERM);
  assert_int_equal(host_run(host), 0);
  assert_true(clock_now() - second_at < 300 * MS);
  assert_int_equal(a.n_goodbyes, 1); /* but says goodbye */
  assert_int_equal(a.n_drains, 1);
}

static void on_toggle_again(uv_timer_t *t) { raise(SIGUSR1); }

static void sigusr1_toggles_and_ends_nothing(void **state) {
  static uv_timer_t timer; /* closed by the teardown */
  a.peer.family = b.peer.family = 0;
  uv_timer_init(host_uv(host), &timer);
  uv_timer_start(&timer, on_toggle_again, 50, 0);
  raise(SIGUSR1);
  assert_int_equal(host_run(host), 0); /* the second one ends the test */
  assert_int_equal(a.n_toggles, 2);
}

static void stopping_takes_no_longer_than_its_bound(void **state) {
  a.peer.family = b.peer.family = 0;
  a.never_stops = true;
  uint64_t start = clock_now();
  host_stop(host, 3);
  assert_int_equal(host_run(host), 3);
  uint64_t took = clock_now() - start;
  assert_true(took >= HOST_STOP_AFTER * MS && took < 1500 * MS);
}

static void sighup_reloads(void **state) {
  a.peer.family = b.peer.family = 0;
  raise(SIGHUP);
  assert_int_equal(host_run(host), 0);
  assert_int_equal(a.n_reloads, 1);
}

static int wake_pipe[2];

static void on_pipe(void *ctx, uint64_t now) {
  char c;
  assert_int_equal(read(wake_pipe[0], &c, 1), 1);
  /* Calls into the core: its output must leave without a further event. */
  a.out[a.n_out++] =
      (struct dgram){.remote = a.peer, .data = a.data, .len = 10, .seg = 10};
}

static void watched_descriptor_drains_its_role(void **state) {
  struct udp *u = udp_new();
  struct host_role *r = host_add(host, &verbs, &a, u);
  b.peer.family = 0;
  assert_int_equal(pipe(wake_pipe), 0);
  assert_int_equal(host_watch(r, wake_pipe[0], on_pipe, NULL), 0);
  struct ztna_addr lo;
  ztna_addr_parse(&lo, "127.0.0.1:0");
  assert_int_equal(host_bind(r, &lo), 0);
  assert_int_equal(write(wake_pipe[1], "x", 1), 1);
  assert_int_equal(host_run(host), 42);
  close(wake_pipe[0]);
  close(wake_pipe[1]);
}

/* The echo comes back to the port that was opened for it. */
static void what_extra_sockets_get_reaches_the_core(void **state) {
  b.peer.family = 0;
  a.out[a.n_out++] = (struct dgram){
      .remote = a.peer, .data = a.data, .len = 10, .seg = 10, .sock = 300};
  a.peer.family = 0;
  assert_int_equal(host_run(host), 42);
  assert_int_equal(b.n_packets, 1);
  assert_int_equal(udp_counters(udp_a)->extra_opened, 1);
  assert_int_equal(udp_counters(udp_a)->rx_packets, 1);
}

/* --- a full buffer */

/* A device where nobody answers ARP keeps what is sent in the send buffer,
 * until ARP gives up after 3 s. */
static int deaf_device(void) {
  struct ifreq r = {.ifr_name = "deaf", .ifr_flags = IFF_TAP | IFF_NO_PI};
  struct sockaddr_in ip = {.sin_family = AF_INET};
  if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
    skip();
  int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (tap < 0 || ioctl(tap, TUNSETIFF, &r) < 0) skip();
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0); /* for the next test */
  inet_pton(AF_INET, "10.9.9.1", &ip.sin_addr);
  memcpy(&r.ifr_addr, &ip, sizeof(ip));
  assert_int_equal(ioctl(fd, SIOCSIFADDR, &r), 0);
  r.ifr_flags = IFF_UP;
  assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
  close(fd);
  return tap;
}

static struct {
  struct udp *udp;
  uint64_t woken_at;
} full;

/* Becomes readable at once, but must wait until the output has left. */
static void on_pipe_after_output(void *ctx, uint64_t now) {
  char c;
  assert_int_equal(read(wake_pipe[0], &c, 1), 1);
  full.woken_at = now;
  assert_int_equal(udp_counters(full.udp)->tx_packets, N_OUT + 1);
  host_stop(host, 7);
}

/* Of the bound ones, and of the extra one that v[0] opens. */
static void shrink_buffers(const struct dgram *v) {
  int small = 8192;
  assert_int_equal(udp_send(full.udp, v, 1), 1);
  for (int fd = 3; fd < 1024; fd++) {
    int type = 0;
    socklen_t len = sizeof(type);
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
    if (type == SOCK_DGRAM)
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
  }
}

static void full_buffer_holds_a_role(uint16_t sock) {
  struct core c = {.host = host, .tick_at = NEVER};
  struct ztna_addr any;
  int tap = deaf_device();
  a.peer.family = b.peer.family = 0;
  ztna_addr_parse(&any, "0.0.0.0:0");
  full.udp = udp_new();
  assert_int_equal(udp_bind(full.udp, &any), 0);
  assert_int_equal(udp_bind(full.udp, &any), 1); /* an idle one beside it */
  for (int i = 0; i < N_OUT; i++) {
    c.out[i] =
        (struct dgram){.data = a.data, .len = 1200, .seg = 1200, .sock = sock};
    ztna_addr_parse(&c.out[i].remote, "10.9.9.2:9");
    c.out[i].remote.port = (uint16_t)(1000 + i); /* not one train */
  }
  c.n_out = N_OUT;
  shrink_buffers(c.out);
  struct host_role *r = host_add(host, &verbs, &c, full.udp);
  assert_int_equal(pipe(wake_pipe), 0);
  assert_int_equal(host_watch(r, wake_pipe[0], on_pipe_after_output, NULL), 0);
  assert_int_equal(write(wake_pipe[1], "x", 1), 1);
  uint64_t start = clock_now(), cpu = (uint64_t)clock();
  assert_int_equal(host_run(host), 7);
  assert_true(full.woken_at - start > 500 * MS);             /* it did wait */
  assert_true((uint64_t)clock() - cpu < CLOCKS_PER_SEC / 4); /* not spinning */
  assert_true(udp_counters(full.udp)->tx_blocked > 0);
  close(wake_pipe[0]);
  close(wake_pipe[1]);
  close(tap);
}

static void full_buffer_holds_a_role_until_all_has_left(void **state) {
  full_buffer_holds_a_role(0);
}

static void full_extra_socket_holds_a_role_until_all_has_left(void **state) {
  full_buffer_holds_a_role(9);
}

/* --- names */

static struct {
  int n, calls;
  struct ztna_addr first;
} resolved;

static void on_answer(void *ctx, const struct ztna_addr *v, int n,
                      const char *why) {
  resolved.n = n;
  resolved.calls++;
  if (n > 0) resolved.first = v[0];
  assert_true(n > 0 || why != NULL);
  if (ctx) host_stop(ctx, 0);
}

static int resolve(const char *text, uint16_t port) {
  resolved.calls = 0;
  resolve_name(host_resolver(host), text, port, on_answer, NULL);
  assert_int_equal(resolved.calls, 1);
  return resolved.n;
}

static void written_out_addresses_are_resolved_at_once(void **state) {
  assert_int_equal(resolve("192.0.2.1:4433", 0), 1);
  assert_int_equal(resolved.first.port, 4433);
  assert_int_equal(resolve("[2001:db8::1]:1", 0), 1);
  assert_int_equal(resolved.first.family, 6);
  assert_int_equal(resolve("192.0.2.1", 443), 1);
  assert_int_equal(resolved.first.port, 443);
  static const char *const wrong[] = {
      "",        ":1",    "name",    "name:",   "name:0",   "name:65536",
      "name:1x", "a b:1", "na:me:1", "name:-1", "192.0.2.1"};
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
    assert_int_equal(resolve(wrong[i], 0), ZTNA_EINVAL);
}

static void localhost_is_resolved_off_the_loop(void **state) {
  a.peer.family = b.peer.family = 0;
  resolved.calls = 0;
  resolve_name(host_resolver(host), "localhost:99", 0, on_answer, host);
  assert_int_equal(resolved.calls, 0);
  assert_int_equal(host_run(host), 0);
  assert_int_equal(resolved.calls, 1);
  assert_true(resolved.n > 0);
  assert_int_equal(resolved.first.port, 99);
  /* An answer nobody waits for any more is no trouble. */
  resolve_name(host_resolver(host), "localhost:1", 0, on_answer, NULL);
}

static void log_lines_bear_rfc3339_time(void **state) {
  char line[512] = "";
  int p[2];
  unsigned year, month, day, hour, minute, second, ms;
  char level[8], rest[64];
  assert_int_equal(pipe(p), 0);
  logger_start(p[1], LOGGER_TEXT);
  log_err("relay: x=%d", 5);
  assert_true(read(p[0], line, sizeof(line) - 1) > 0);
  assert_int_equal(sscanf(line, "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ %7s %63[^\n]",
                          &year, &month, &day, &hour, &minute, &second, &ms,
                          level, rest),
                   9);
  assert_string_equal(level, "err");
  assert_string_equal(rest, "relay: x=5");
  logger_start(p[1], LOGGER_JSON);
  log_err("say \"hi\" \\ %s", "x");
  memset(line, 0, sizeof(line));
  assert_true(read(p[0], line, sizeof(line) - 1) > 0);
  assert_non_null(strstr(line, "\"level\":\"err\",\"message\":\"say \\\"hi\\\" "
                               "\\\\ x\"}\n"));
  log_to(NULL, NULL);
  close(p[0]);
  close(p[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(what_is_sent_is_echoed),
      TEST(deadlines_are_met_within_a_millisecond),
      TEST(sigterm_says_goodbye_and_ends),
      TEST(sigterm_waits_for_what_drains),
      TEST(a_second_sigterm_does_not_wait),
      TEST(sigusr1_toggles_and_ends_nothing),
      TEST(stopping_takes_no_longer_than_its_bound),
      TEST(sighup_reloads),
      TEST(watched_descriptor_drains_its_role),
      TEST(what_extra_sockets_get_reaches_the_core),
      TEST(written_out_addresses_are_resolved_at_once),
      TEST(localhost_is_resolved_off_the_loop),
      /* These move the process to others: last of those with sockets. */
      TEST(full_buffer_holds_a_role_until_all_has_left),
      TEST(full_extra_socket_holds_a_role_until_all_has_left),
      cmocka_unit_test(log_lines_bear_rfc3339_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
