/* test_stack_tun.c - the stack against a real kernel's TCP, through a TUN in a
 * network namespace of our own; the programs are sockets of this process. */
#include "unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../platform/net.h"
#include "../../platform/tun.h"
#include "base/map.h"
#include "base/time.h"
#include "codec/ip.h"
#include "part/ipq.h"
#include "stack/stack.h"

enum {
  MTU = 1280,
  PERIOD = 1000003, /* of the bytes that travel; no multiple of anything */
  CHUNK = 256 << 10,
  BULK = 64 << 20,
  MANY = 10000,
};

static uint8_t bytes[PERIOD + CHUNK];

static struct tun tun = {.fd = -1};
static struct net *net;
static struct stack *stack;
static struct ipq queue;
static struct map conns;
static struct rng rng;
static uint64_t seed = 4711, now;
static bool can_test, offload;

/* What the far side does with a connection. */
struct far {
  struct stack_conn *c; /* NULL: gone */
  uint8_t key[36];
  uint64_t to_send, n_written, n_sent; /* bytes of the pattern */
  uint64_t n_got, n_owed;
  bool sleeps; /* takes nothing */
  bool echoes; /* each byte, out of `line` */
  bool end;    /* FIN behind what it sends */
  bool ended;
  bool wrong; /* a byte that is not the pattern's */
  uint8_t line[16];
  int fin, reset, closed;
};

/* What becomes of SYNs. */
static enum { LET_IN, REFUSE, HOLD } policy;
static struct {
  uint8_t b[100];
  size_t len;
} held;
static struct far first, *fars; /* of later ones, n_fars */
static size_t n_fars;

/* --- the far side --- */

static const uint8_t *at(uint64_t offset) { return bytes + offset % PERIOD; }

static void send_on(struct far *f) {
  while (f->c && f->n_written < f->to_send) {
    uint64_t left = f->to_send - f->n_written;
    size_t n = stack_write(f->c, at(f->n_written), left < CHUNK ? left : CHUNK);

    if (n == 0) break;
    f->n_written += n;
  }
  if (f->end && !f->ended && f->n_written == f->to_send) {
    f->ended = true;
    stack_shut(f->c, now);
  }
}

static void on_data(struct stack_conn *c, void *ud, const uint8_t *data,
                    size_t len) {
  struct far *f = ud;

  if (f->echoes) {
    memcpy(f->line, data, len < sizeof(f->line) ? len : sizeof(f->line));
    f->n_written += stack_write(c, f->line, 1);
  } else if (len > CHUNK || memcmp(data, at(f->n_got), len)) {
    f->wrong = true;
  }
  f->n_got += len;
  if (f->sleeps)
    f->n_owed += len;
  else
    stack_took(c, now, len);
}

static void on_fin(struct stack_conn *c, void *ud) {
  ((struct far *)ud)->fin++;
}

static void on_sent(struct stack_conn *c, void *ud, size_t n) {
  struct far *f = ud;

  f->n_sent += n;
  if (!f->echoes) send_on(f);
}

static void gone(struct far *f) {
  map_del(&conns, f->key);
  f->c = NULL;
}

static void on_reset(struct stack_conn *c, void *ud) {
  struct far *f = ud;

  f->reset++;
  gone(f);
}

static void on_closed(struct stack_conn *c, void *ud) {
  struct far *f = ud;

  f->closed++;
  gone(f);
}

static uint8_t *room(void *ud, size_t len) { return ipq_room(&queue, len); }

static void came_out(void *ud, const struct stack_out *o) {
  ipq_push(&queue, o->len, o->gso_size, offload);
}

static const struct stack_ops ops = {room,    came_out, on_data,  on_fin,
                                     on_sent, on_reset, on_closed};

/* --- packets --- */

static void drain(void) {
  struct ipq_pkt k;

  while (ipq_pop(&queue, &k)) {
    do {
      struct tun_pkt p = {k.data, (uint32_t)k.len, k.gso_size, k.partial};
      tun_write(&tun, &p, 1);
    } while (ipq_pop(&queue, &k));
    stack_drained(stack, now);
  }
}

static void let_in(const uint8_t *ip, size_t len, const uint8_t *key) {
  struct far *f = n_fars ? &fars[stack_count(stack)] : &first;

  f->c = stack_accept(stack, now, ip, len, f);
  if (!f->c) return;
  memcpy(f->key, key, sizeof(f->key));
  assert_int_equal(map_put(&conns, f->key, f), 0);
  send_on(f);
}

static void syn_in(const uint8_t *ip, size_t len, const uint8_t *key) {
  if (policy == LET_IN) {
    let_in(ip, len, key);
  } else if (policy == REFUSE) {
    stack_refuse(stack, now, ip, len);
  } else if (len <= sizeof(held.b)) {
    memcpy(held.b, ip, len);
    held.len = len;
  }
}

static void key_of(const struct ip_pkt *p, uint8_t key[36]) {
  memset(key, 0, 36);
  memcpy(key, p->src.ip, 16);
  memcpy(key + 16, p->dst.ip, 16);
  memcpy(key + 32, &p->src.port, 2);
  memcpy(key + 34, &p->dst.port, 2);
}

static void packet_in(const struct tun_pkt *k) {
  struct ip_pkt p;
  uint8_t key[36];

  if (ip_parse(&p, k->data, k->len) < 0 || p.kind != IP_TCP) return;
  key_of(&p, key);
  struct far *f = map_get(&conns, key);
  if (f)
    stack_in(f->c, now, k->data, k->len);
  else if ((p.tcp_flags & 0x12) == 0x02)
    syn_in(k->data, k->len, key);
  else
    stack_refuse(stack, now, k->data, k->len);
}

static uint64_t clock_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SEC + (uint64_t)t.tv_nsec;
}

static void step(int ms) {
  struct pollfd p = {.fd = tun.fd, .events = POLLIN};
  struct tun_pkt v[TUN_BATCH];

  now = clock_now();
  uint64_t until = time_min(stack_deadline(stack), now + (uint64_t)ms * MS);
  if (until > now) poll(&p, 1, (int)((until - now + MS - 1) / MS));
  now = clock_now();
  int n = tun_read(&tun, v, TUN_BATCH);
  for (int i = 0; i < n; i++) packet_in(&v[i]);
  stack_tick(stack, now);
  drain();
}

/* While it takes: steps of a millisecond until cond, ten seconds at most. */
#define UNTIL(cond)                          \
  do {                                       \
    uint64_t limit = clock_now() + 10 * SEC; \
    while (!(cond)) {                        \
      assert_true(clock_now() < limit);      \
      step(1);                               \
    }                                        \
  } while (0)

/* --- set-up --- */

static void configure(const char *own, const char *there) {
  struct ztna_addr a = test_addr(own);
  struct ztna_prefix p;

  if (!net_has(net, a.family)) return;
  assert_int_equal(ztna_prefix_parse(&p, there), 0);
  assert_int_equal(net_addr_add(net, tun.ifindex, &a), 0);
  assert_int_equal(net_route_add(net, tun.ifindex, &p, &a), 0);
}

static void begin(bool with_offload) {
  offload = with_offload;
  if (!can_test || tun_open(&tun, "st%d", MTU, offload) < 0) {
    can_test = false;
    return;
  }
  offload = tun.offload & TUN_TSO;
  assert_int_equal(tun_up(&tun), 0);
  configure("100.64.0.9", "10.100.0.0/16");
  configure("fd5a:64::9", "fd5a:10::/64");
  rng = test_rng(&seed);
  map_init(&conns, 36, 2 * MANY, &rng);
  assert_int_equal(ipq_init(&queue, 200 << 10), 0);
  struct stack_config cfg = {
      .ops = &ops, .rng = &rng, .mtu = MTU, .offload = offload};
  stack = stack_new(&cfg);
  memset(&first, 0, sizeof(first));
  policy = LET_IN;
  held.len = 0;
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
  stack = NULL;
  map_done(&conns);
  ipq_done(&queue);
  if (tun.fd >= 0) tun_close(&tun);
  free(fars);
  fars = NULL;
  n_fars = 0;
  return 0;
}

static int setup_all(void **state) {
  for (size_t i = 0; i < sizeof(bytes); i++) {
    size_t k = i % PERIOD;
    bytes[i] = (uint8_t)(k * 31 + (k >> 8) * 7 + (k >> 16));
  }
  can_test =
      unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
  net = net_new();
  return 0;
}

static int teardown_all(void **state) {
  net_free(net);
  return 0;
}

/* --- the program's side --- */

static int dial(const char *to) {
  struct sockaddr_storage ss = {0};
  struct ztna_addr a = test_addr(to);

  if (!can_test || !net_has(net, a.family)) skip();
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&a, &ss);
  int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  assert_true(fd >= 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), -1);
  assert_int_equal(errno, EINPROGRESS);
  return fd;
}

static bool is(int fd, short event) {
  struct pollfd p = {.fd = fd, .events = event};
  return poll(&p, 1, 0) == 1;
}

static int error_of(int fd) {
  int err = -1;
  socklen_t len = sizeof(err);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
  return err;
}

static int open_to(const char *to) {
  int fd = dial(to);
  UNTIL(is(fd, POLLOUT));
  assert_int_equal(error_of(fd), 0);
  return fd;
}

/* Writes what goes of a pattern that is `all` long. */
static void program_writes(int fd, uint64_t *done, uint64_t all) {
  while (*done < all) {
    uint64_t left = all - *done;
    ssize_t n = send(fd, at(*done), left < CHUNK ? left : CHUNK, MSG_NOSIGNAL);
    if (n < 0) break;
    *done += (uint64_t)n;
  }
}

/* Reads what is there; false: the end, or an error in *err. */
static bool program_reads(int fd, uint64_t *done, int *err) {
  static uint8_t b[CHUNK];

  for (;;) {
    ssize_t n = recv(fd, b, sizeof(b), 0);
    if (n == 0) return false;
    if (n < 0 && errno == EAGAIN) return true;
    if (n < 0) {
      *err = errno;
      return false;
    }
    assert_memory_equal(b, at(*done), n);
    *done += (uint64_t)n;
  }
}

static double cpu_seconds(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/* That the kernel sent again, in this namespace. */
static long retransmissions(void) {
  char line[512], *at;
  long n = -1;
  FILE *f = fopen("/proc/self/net/snmp", "r");

  while (f && fgets(line, sizeof(line), f)) {
    if (strncmp(line, "Tcp: ", 5) || line[5] < '0' || line[5] > '9') continue;
    at = line + 5;
    for (int i = 0; i < 12 && at; i++) n = strtol(at, &at, 10);
  }
  if (f) fclose(f);
  return n;
}

static void report(const char *what, uint64_t n, uint64_t began, double cpu) {
  double s = (double)(clock_now() - began) * 1e-9;
  print_message("# %s%s: %.2f Gbit/s, %.2f CPU seconds per GB, both ends; "
                "%ld retransmissions so far\n",
                what, offload ? " with offload" : "", (double)n * 8e-9 / s,
                (cpu_seconds() - cpu) * 1e9 / (double)n, retransmissions());
}

/* --- tests --- */

static void connect_waits_until_the_syn_is_let_in(void **state) {
  static const char *const to[] = {"10.100.0.7:5432", "[fd5a:10::7]:5432"};

  for (size_t i = 0; i < N_OF(to); i++) {
    memset(&first, 0, sizeof(first));
    policy = HOLD;
    held.len = 0;
    int fd = dial(to[i]);
    UNTIL(held.len);
    for (int ms = 0; ms < 30; ms++) step(1);
    assert_false(is(fd, POLLOUT));
    struct ip_pkt p;
    uint8_t key[36];
    assert_int_equal(ip_parse(&p, held.b, held.len), 0);
    key_of(&p, key);
    let_in(held.b, held.len, key);
    drain();
    UNTIL(is(fd, POLLOUT));
    assert_int_equal(error_of(fd), 0);
    UNTIL(stack_established(first.c));
    close(fd);
    UNTIL(first.fin);
  }
}

static void refused_syn_is_connection_refused(void **state) {
  policy = REFUSE;
  int fd = dial("10.100.0.7:81");
  UNTIL(is(fd, POLLOUT));
  assert_int_equal(error_of(fd), ECONNREFUSED);
  close(fd);
}

static void bulk_goes_up(void **state) {
  uint64_t done = 0, began = clock_now();
  double cpu = cpu_seconds();
  int fd = open_to("10.100.0.7:80");

  while (first.n_got < BULK) {
    program_writes(fd, &done, BULK);
    step(is(fd, POLLOUT) ? 0 : 100);
    assert_true(clock_now() < began + 60 * SEC);
  }
  assert_false(first.wrong);
  report("up", BULK, began, cpu);
  close(fd);
}

static void bulk_goes_down(void **state) {
  uint64_t done = 0, began = clock_now();
  double cpu = cpu_seconds();
  int err = 0;

  first.to_send = BULK;
  first.end = true;
  int fd = open_to("10.100.0.7:80");
  while (program_reads(fd, &done, &err)) {
    step(is(fd, POLLIN) ? 0 : 100);
    assert_true(clock_now() < began + 60 * SEC);
  }
  assert_int_equal(err, 0);
  assert_int_equal(done, BULK);
  report("down", BULK, began, cpu);
  close(fd);
  UNTIL(first.closed);
  assert_int_equal(first.n_sent, BULK);
}

static void request_with_half_close_gets_its_whole_answer(void **state) {
  enum { REQUEST = 300000, ANSWER = 3000000 };
  uint64_t done = 0, got = 0;
  int err = 0, fd = open_to("[fd5a:10::7]:80");

  UNTIL((program_writes(fd, &done, REQUEST), done == REQUEST));
  assert_int_equal(shutdown(fd, SHUT_WR), 0);
  UNTIL(first.fin);
  assert_int_equal(first.n_got, REQUEST);
  first.to_send = ANSWER;
  first.end = true;
  send_on(&first);
  stack_flush(first.c, now);
  drain();
  UNTIL(!program_reads(fd, &got, &err));
  assert_int_equal(err, 0);
  assert_int_equal(got, ANSWER);
  UNTIL(first.closed);
  assert_false(first.wrong);
  close(fd);
}

static void program_writes_on_after_our_end(void **state) {
  enum { LATER = 3000000 };
  uint64_t done = 0, got = 0;
  int err = 0;

  first.to_send = 5;
  first.end = true;
  int fd = open_to("10.100.0.7:80");
  UNTIL(!program_reads(fd, &got, &err));
  assert_int_equal(got, 5);
  UNTIL((program_writes(fd, &done, LATER), first.n_got == LATER));
  close(fd);
  UNTIL(first.closed);
  assert_false(first.wrong);
  assert_int_equal(first.reset, 0);
  for (int i = 0; i < 20; i++) step(20); /* its kernel is content, too */
  assert_int_equal(stack_count(stack), 0);
}

static void reset_by_the_program_is_heard_behind_its_bytes(void **state) {
  struct linger now_ = {.l_onoff = 1};
  int fd = open_to("10.100.0.7:80");

  assert_int_equal(send(fd, at(0), 1000, 0), 1000);
  UNTIL(first.n_got == 1000);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now_, sizeof(now_));
  close(fd);
  UNTIL(first.reset);
  assert_int_equal(stack_count(stack), 0);
}

static void our_reset_reaches_the_program_behind_our_bytes(void **state) {
  uint64_t got = 0;
  int err = 0, fd = open_to("10.100.0.7:80");

  first.to_send = 30000; /* what its kernel takes unread */
  send_on(&first);
  stack_flush(first.c, now);
  drain();
  UNTIL(first.n_sent == first.to_send);
  stack_abort(first.c, now);
  gone(&first);
  drain();
  UNTIL(!program_reads(fd, &got, &err));
  assert_int_equal(got, first.to_send);
  assert_int_equal(err, ECONNRESET);
  close(fd);
}

/* Nobody takes: 1 MB here, the rest stays with the program. */
static void writer_stops_when_nothing_is_taken(void **state) {
  uint64_t done = 0, before;
  int fd = open_to("10.100.0.7:80");

  first.sleeps = true;
  do {
    before = done;
    program_writes(fd, &done, BULK);
    for (int i = 0; i < 20; i++) step(5);
  } while (done != before);
  assert_true(done < BULK / 2);
  assert_in_range(first.n_got, STACK_WINDOW / 2, STACK_WINDOW);
  assert_int_equal(first.n_got, first.n_owed);

  first.sleeps = false;
  stack_took(first.c, now, first.n_owed);
  drain();
  UNTIL((program_writes(fd, &done, 2 * done), first.n_got > 8 * STACK_WINDOW));
  assert_false(first.wrong);
  close(fd);
}

static void reader_that_sleeps_stops_us_and_gets_all_when_awake(void **state) {
  uint64_t done = 0;
  int err = 0;

  first.to_send = 16 << 20;
  first.end = true;
  int fd = open_to("10.100.0.7:80");
  for (int i = 0; i < 100; i++) step(10);
  assert_true(first.n_written < first.to_send);
  assert_true(first.n_written - first.n_sent <= STACK_WINDOW);
  UNTIL(!program_reads(fd, &done, &err));
  assert_int_equal(done, first.to_send);
  close(fd);
}

static void ping_pong(const int *fds, int n, int rounds) {
  for (int r = 0; r < rounds; r++) {
    int i = (int)(test_random(&seed) % (uint64_t)n);
    char c = (char)r;
    assert_int_equal(send(fds[i], &c, 1, 0), 1);
    UNTIL(is(fds[i], POLLIN));
    assert_int_equal(recv(fds[i], &c, 1, 0), 1);
    assert_int_equal(c, (char)r);
  }
}

static double round_trip_us(const int *fds, int n) {
  enum { ROUNDS = 2000 };
  double best = 1e9;

  for (int run = 0; run < 3; run++) {
    double cpu = cpu_seconds();
    ping_pong(fds, n, ROUNDS);
    double us = (cpu_seconds() - cpu) * 1e6 / ROUNDS;
    if (us < best) best = us;
  }
  return best;
}

static void ten_thousand_connections_cost_as_little_as_a_hundred(void **state) {
  static int fds[MANY];
  struct rlimit l;

  getrlimit(RLIMIT_NOFILE, &l);
  l.rlim_cur = l.rlim_max;
  setrlimit(RLIMIT_NOFILE, &l);
  if (l.rlim_max < MANY + 100) skip();
  fars = calloc(MANY, sizeof(*fars));
  n_fars = MANY;
  for (int i = 0; i < MANY; i++) fars[i].echoes = true;
  double few = 0;
  for (int i = 0; i < MANY; i++) {
    if (i == 100) few = round_trip_us(fds, 100);
    fds[i] = open_to("10.100.0.7:80");
  }
  assert_int_equal(stack_count(stack), MANY);
  double many = round_trip_us(fds, MANY);
  print_message("# a byte there and back costs %.1f us of CPU among 100, "
                "%.1f among %d\n",
                few, many, MANY);
#ifdef __OPTIMIZE__
  assert_true(many < 2 * few);
#endif
  for (int i = 0; i < MANY; i++) close(fds[i]);
  for (int i = 0; i < 100; i++) step(1);
}

#define ON(f) TEST_WITH(f, setup, teardown)
#define OFFLOADED(f) \
  { #f "_with_offload", f, setup_offload, teardown, NULL }

int main(void) {
  const struct CMUnitTest tests[] = {
      ON(connect_waits_until_the_syn_is_let_in),
      OFFLOADED(connect_waits_until_the_syn_is_let_in),
      ON(refused_syn_is_connection_refused),
      OFFLOADED(refused_syn_is_connection_refused),
      ON(bulk_goes_up),
      OFFLOADED(bulk_goes_up),
      ON(bulk_goes_down),
      OFFLOADED(bulk_goes_down),
      ON(request_with_half_close_gets_its_whole_answer),
      OFFLOADED(request_with_half_close_gets_its_whole_answer),
      ON(program_writes_on_after_our_end),
      ON(reset_by_the_program_is_heard_behind_its_bytes),
      ON(our_reset_reaches_the_program_behind_our_bytes),
      OFFLOADED(our_reset_reaches_the_program_behind_our_bytes),
      ON(writer_stops_when_nothing_is_taken),
      OFFLOADED(writer_stops_when_nothing_is_taken),
      ON(reader_that_sleeps_stops_us_and_gets_all_when_awake),
      OFFLOADED(reader_that_sleeps_stops_us_and_gets_all_when_awake),
      ON(ten_thousand_connections_cost_as_little_as_a_hundred),
  };
  return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
