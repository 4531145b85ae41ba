/* test_tcp_sock.c - a core's TCP sockets on loopback: the core is the test's,
 * with buffers of its own, and so are the peers. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/tcp_sock.h"

enum {
  N = 600,
  OPS = 4 * N,
  PERIOD = 65521, /* of the pattern: prime, so that a shift shows */
  ROOM = 50000,
  NEVER_FAILED = -1,
};

struct slot {
  bool connected, eof, full; /* full: the core has no room */
  int why;
  uint64_t in, out, out_end; /* bytes taken, written, to be written */
  bool bad;                  /* a byte was not what it should be */
  uint8_t buf[ROOM];
};

static struct tcp_socks *t;
static struct slot *slots;
static struct ztna_sock_op ops[OPS];
static unsigned op_head, op_tail;
static uint8_t pattern[2 * PERIOD];
static int n_wakes;
static uint64_t seed;

/* --- the core */

static void want(enum ztna_sock_do what, uint32_t sock) {
  ops[op_tail++ % OPS] = (struct ztna_sock_op){.what = what, .sock = sock};
}

static bool core_next(void *ctx, struct ztna_sock_op *op) {
  if (op_head == op_tail) return false;
  *op = ops[op_head++ % OPS];
  return true;
}

static void core_connected(void *ctx, uint64_t now, uint32_t sock) {
  assert_false(slots[sock].connected);
  slots[sock].connected = true;
  want(ZTNA_SOCK_READ, sock);
}

static void core_failed(void *ctx, uint64_t now, uint32_t sock,
                        enum ztna_sock_error why) {
  assert_int_equal(slots[sock].why, NEVER_FAILED);
  slots[sock].why = (int)why;
}

static uint8_t *core_room(void *ctx, uint32_t sock, size_t *room) {
  *room = 1 + test_random(&seed) % ROOM;
  return slots[sock].full ? NULL : slots[sock].buf;
}

static void core_read(void *ctx, uint64_t now, uint32_t sock, size_t n) {
  struct slot *s = &slots[sock];
  assert_false(s->eof);
  s->bad |= memcmp(s->buf, pattern + s->in % PERIOD, n) != 0;
  s->in += n;
}

static void core_eof(void *ctx, uint64_t now, uint32_t sock) {
  assert_false(slots[sock].eof);
  slots[sock].eof = true;
}

static int core_peek(void *ctx, uint32_t sock, struct ztna_sock_vec *v, int n) {
  struct slot *s = &slots[sock];
  uint64_t at = s->out;
  int k = 0;
  for (; k < n && at < s->out_end; k++) {
    size_t len = 1 + test_random(&seed) % 5000;
    if (len > s->out_end - at) len = s->out_end - at;
    v[k] = (struct ztna_sock_vec){pattern + at % PERIOD, len};
    at += len;
  }
  return k;
}

static void core_wrote(void *ctx, uint64_t now, uint32_t sock, size_t n) {
  slots[sock].out += n;
  assert_true(slots[sock].out <= slots[sock].out_end);
}

static const struct tcp_sock_core core = {
    core_next, core_connected, core_failed, core_room,
    core_read, core_eof,       core_peek,   core_wrote,
};

/* --- driving it */

static void step(int ms) {
  struct pollfd p = {.fd = tcp_socks_fd(t), .events = POLLIN};
  tcp_socks_flush(t, clock_now());
  if (poll(&p, 1, ms) > 0) {
    n_wakes++;
    tcp_socks_run(t, clock_now());
  }
  tcp_socks_flush(t, clock_now());
}

#define UNTIL(cond)                              \
  do {                                           \
    for (uint64_t end_ = clock_now() + 10 * SEC; \
         !(cond) && clock_now() < end_;)         \
      step(2);                                   \
    assert_true(cond);                           \
  } while (0)

static void run_for(uint64_t span) {
  for (uint64_t end = clock_now() + span; clock_now() < end;) step(5);
}

/* At rest nothing wakes it. */
static void assert_quiet(void) {
  run_for(50 * MS);
  n_wakes = 0;
  run_for(200 * MS);
  assert_in_range(n_wakes, 0, 2);
}

static void connect_to(uint32_t sock, const struct ztna_addr *v, unsigned n,
                       uint64_t timeout) {
  struct ztna_sock_op op = {.what = ZTNA_SOCK_CONNECT,
                            .sock = sock,
                            .addrs = v,
                            .n_addrs = n,
                            .timeout = timeout};
  ops[op_tail++ % OPS] = op;
  tcp_socks_flush(t, clock_now());
}

static void more(uint32_t sock, uint64_t n) {
  slots[sock].out_end += n;
  want(ZTNA_SOCK_WRITE, sock);
}

/* --- peers */

static int listen_at(const char *at, int backlog, struct ztna_addr *a) {
  struct sockaddr_storage ss = {0};
  *a = test_addr(at);
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(a, &ss);
  int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
  assert_int_equal(listen(fd, backlog), 0);
  len = sizeof(ss);
  getsockname(fd, (struct sockaddr *)&ss, &len);
  ztna_addr_from_sockaddr(a, &ss);
  return fd;
}

/* A port nobody listens at. */
static struct ztna_addr closed_port(void) {
  struct ztna_addr a;
  close(listen_at("127.0.0.1:0", 1, &a));
  return a;
}

static int dial_plain(const struct ztna_addr *a) {
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(a, &ss);
  int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&ss, len) < 0)
    assert_int_equal(errno, EINPROGRESS);
  return fd;
}

/* Nobody accepts there and the queue is full: SYNs are dropped. */
static int listen_deaf(const char *at, struct ztna_addr *a, int fill[3]) {
  int fd = listen_at(at, 0, a);
  for (int i = 0; i < 3; i++) fill[i] = dial_plain(a);
  usleep(20000);
  return fd;
}

static void close_deaf(int fd, int fill[3]) {
  for (int i = 0; i < 3; i++) close(fill[i]);
  close(fd);
}

/* Connects slot `sock` to a peer and returns the peer's end, not blocking. */
static int pair(uint32_t sock) {
  struct ztna_addr a;
  int l = listen_at("127.0.0.1:0", 1, &a), fd;
  connect_to(sock, &a, 1, SEC);
  UNTIL(slots[sock].connected);
  fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  assert_true(fd >= 0);
  close(l);
  return fd;
}

static void peer_sends(int fd, uint64_t at, size_t n) {
  assert_true(n <= PERIOD);
  assert_int_equal(send(fd, pattern + at % PERIOD, n, MSG_NOSIGNAL), n);
}

static void reset_peer(int fd) {
  struct linger now = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close(fd);
}

/* What the peer reads next, by the core's turns: n, 0 or -errno. */
static ssize_t peer_reads(int fd, void *to, size_t room) {
  ssize_t n = -1;
  for (int i = 0; i < 2000 && n < 0; i++) {
    n = recv(fd, to, room, 0);
    if (n < 0 && errno != EAGAIN) return -errno;
    if (n < 0) step(1);
  }
  return n;
}

static int setup(void **state) {
  struct rlimit r;
  getrlimit(RLIMIT_NOFILE, &r);
  r.rlim_cur = r.rlim_max < 8192 ? r.rlim_max : 8192;
  setrlimit(RLIMIT_NOFILE, &r);
  seed = 42;
  op_head = op_tail = 0;
  for (size_t i = 0; i < PERIOD; i++)
    pattern[i] = pattern[i + PERIOD] = (uint8_t)test_random(&seed);
  slots = calloc(N, sizeof(*slots));
  for (int i = 0; i < N; i++) slots[i].why = NEVER_FAILED;
  t = tcp_socks_new(N, &core, NULL);
  return t && slots ? 0 : -1;
}

static int teardown(void **state) {
  tcp_socks_free(t);
  free(slots);
  return 0;
}

/* --- connecting */

static void bytes_go_both_ways(void **state) {
  uint8_t got[100];
  int fd = pair(7);
  more(7, 100);
  assert_int_equal(peer_reads(fd, got, sizeof(got)), 100);
  assert_memory_equal(got, pattern, 100);
  peer_sends(fd, 0, 1000);
  UNTIL(slots[7].in == 1000);
  assert_false(slots[7].bad);
  assert_int_equal(tcp_socks_counters(t)->open, 1);
  assert_int_equal(tcp_socks_counters(t)->rx_bytes, 1000);
  assert_int_equal(tcp_socks_counters(t)->tx_bytes, 100);
  close(fd);
  UNTIL(slots[7].eof);
  want(ZTNA_SOCK_CLOSE, 7);
  step(0);
  assert_int_equal(tcp_socks_counters(t)->open, 0);
}

static void closed_port_is_refused(void **state) {
  struct ztna_addr a = closed_port();
  connect_to(0, &a, 1, SEC);
  UNTIL(slots[0].why == ZTNA_SOCK_REFUSED);
  assert_int_equal(tcp_socks_counters(t)->refused, 1);
  assert_int_equal(tcp_socks_counters(t)->dialling, 0);
}

static void no_way_there_is_unreachable(void **state) {
  struct ztna_addr a = test_addr("224.0.0.1:80"); /* no packet leaves for it */
  connect_to(0, &a, 1, SEC);
  UNTIL(slots[0].why == ZTNA_SOCK_UNREACHABLE);
  connect_to(1, NULL, 0, SEC);
  UNTIL(slots[1].why == ZTNA_SOCK_UNREACHABLE);
}

static void silence_is_a_timeout(void **state) {
  struct ztna_addr a;
  int fill[3], fd = listen_deaf("127.0.0.1:0", &a, fill);
  uint64_t began = clock_now();
  connect_to(0, &a, 1, 300 * MS);
  UNTIL(slots[0].why == ZTNA_SOCK_TIMEOUT);
  assert_in_range((clock_now() - began) / MS, 299, 1500);
  assert_quiet();
  close_deaf(fd, fill);
}

static void dead_first_address_costs_a_quarter_of_a_second(void **state) {
  struct ztna_addr v[2];
  int fill[3], dead = listen_deaf("127.0.0.1:0", &v[0], fill);
  int fd = listen_at("127.0.0.2:0", 5, &v[1]);
  uint64_t began = clock_now();
  connect_to(0, v, 2, 5 * SEC);
  UNTIL(slots[0].connected);
  assert_in_range((clock_now() - began) / MS, 249, 2000);
  more(0, 10);
  UNTIL(slots[0].out == 10);
  close_deaf(dead, fill);
  close(fd);
}

static void refused_address_costs_no_time(void **state) {
  struct ztna_addr v[3] = {test_addr("224.0.0.1:80"), closed_port()};
  int fd = listen_at("127.0.0.1:0", 5, &v[2]);
  uint64_t began = clock_now();
  connect_to(0, v, 3, 5 * SEC);
  UNTIL(slots[0].connected);
  assert_in_range((clock_now() - began) / MS, 0, 490); /* not 2 x 250 */
  close(fd);
}

static void families_take_turns(void **state) {
  struct ztna_addr v[3], six = test_addr("[::1]:1");
  int fill[3], dead = listen_deaf("127.0.0.1:0", &v[0], fill), fd;
  uint64_t began = clock_now();
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&six, &ss);
  fd = socket(AF_INET6, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0) {
    close_deaf(dead, fill);
    if (fd >= 0) close(fd);
    skip(); /* no IPv6 here */
  }
  close(fd);
  v[1] = v[0];
  fd = listen_at("[::1]:0", 5, &v[2]);
  connect_to(0, v, 3, 5 * SEC); /* the third one's turn is second */
  UNTIL(slots[0].connected);
  assert_in_range((clock_now() - began) / MS, 249, 490); /* not 2 x 250 */
  close_deaf(dead, fill);
  close(fd);
}

static void refusal_says_more_than_silence(void **state) {
  struct ztna_addr v[3];
  int fill[3], dead = listen_deaf("127.0.0.1:0", &v[0], fill);
  v[1] = closed_port();
  v[2] = test_addr("224.0.0.1:80");
  connect_to(0, v, 3, 400 * MS);
  UNTIL(slots[0].why != NEVER_FAILED);
  assert_int_equal(slots[0].why, ZTNA_SOCK_REFUSED);
  close_deaf(dead, fill);
}

static void aborted_while_connecting_leaves_nothing(void **state) {
  struct ztna_addr v[2];
  int fill[3], dead = listen_deaf("127.0.0.1:0", &v[0], fill);
  v[1] = v[0];
  connect_to(0, v, 2, 5 * SEC);
  run_for(300 * MS);
  want(ZTNA_SOCK_ABORT, 0);
  step(0);
  assert_int_equal(tcp_socks_counters(t)->dialling, 0);
  assert_int_equal(slots[0].why, NEVER_FAILED);
  close(pair(0)); /* the number is free */
  close_deaf(dead, fill);
}

/* --- bytes */

struct peer {
  int fd;
  uint64_t in, out, out_end;
  bool bad;
};

static void peer_turn(struct peer *p) {
  static uint8_t room[ROOM];
  size_t len = 1 + test_random(&seed) % ROOM;
  ssize_t n;
  if (test_random(&seed) % 3 == 0) return; /* it stalls */
  n = recv(p->fd, room, len, 0);
  if (n > 0) {
    p->bad |= memcmp(room, pattern + p->in % PERIOD, (size_t)n) != 0;
    p->in += (uint64_t)n;
  }
  if (len > p->out_end - p->out) len = p->out_end - p->out;
  if (!len) return;
  n = send(p->fd, pattern + p->out % PERIOD, len, MSG_NOSIGNAL);
  if (n > 0) p->out += (uint64_t)n;
}

static void megabytes_arrive_unharmed_while_both_ends_stall(void **state) {
  enum { LEN = 64 * 1024 * 1024 };
  struct peer p = {.fd = pair(3), .out_end = LEN};
  uint64_t end = clock_now() + 60 * SEC;
  while ((p.in < LEN || slots[3].in < LEN) && clock_now() < end) {
    bool was_full = slots[3].full;
    slots[3].full = test_random(&seed) % 4 == 0;
    if (was_full && !slots[3].full) want(ZTNA_SOCK_READ, 3);
    if (slots[3].out_end < LEN && test_random(&seed) % 2)
      more(3,
           slots[3].out_end + 300000 < LEN ? 300000 : LEN - slots[3].out_end);
    step(0);
    peer_turn(&p);
  }
  assert_int_equal(p.in, LEN);
  assert_int_equal(slots[3].in, LEN);
  assert_false(p.bad || slots[3].bad);
  close(p.fd);
}

static void end_of_ours_leaves_theirs_open(void **state) {
  uint8_t got[64];
  int fd = pair(0);
  more(0, 50);
  want(ZTNA_SOCK_SHUT, 0);
  assert_int_equal(peer_reads(fd, got, sizeof(got)), 50);
  assert_int_equal(peer_reads(fd, got, sizeof(got)), 0);
  peer_sends(fd, 0, 30000);
  close(fd);
  UNTIL(slots[0].eof);
  assert_int_equal(slots[0].in, 30000);
  assert_int_equal(slots[0].why, NEVER_FAILED);
  assert_quiet(); /* hung up on both sides, and not closed yet */
}

static void end_of_theirs_leaves_ours_open(void **state) {
  uint8_t got[64];
  int fd = pair(0);
  peer_sends(fd, 0, 100);
  shutdown(fd, SHUT_WR);
  UNTIL(slots[0].eof);
  assert_int_equal(slots[0].in, 100);
  more(0, 50);
  want(ZTNA_SOCK_CLOSE, 0); /* what is there goes first */
  assert_int_equal(peer_reads(fd, got, sizeof(got)), 50);
  assert_int_equal(peer_reads(fd, got, sizeof(got)), 0);
  close(fd);
}

static void end_waits_for_a_peer_that_does_not_read(void **state) {
  static uint8_t got[65536];
  uint64_t n = 0;
  ssize_t k;
  int fd = pair(0);
  more(0, 20 * 1024 * 1024);
  want(ZTNA_SOCK_SHUT, 0);
  run_for(20 * MS);
  assert_true(slots[0].out < slots[0].out_end);
  while ((k = peer_reads(fd, got, sizeof(got))) > 0) n += (uint64_t)k;
  assert_int_equal(k, 0);
  assert_int_equal(n, 20 * 1024 * 1024);
  close(fd);
}

static void bytes_before_a_reset_are_read_first(void **state) {
  int fd = pair(0);
  slots[0].full = true;
  peer_sends(fd, 0, 30000);
  run_for(10 * MS);
  reset_peer(fd);
  assert_quiet();
  assert_int_equal(slots[0].why, NEVER_FAILED);
  slots[0].full = false;
  want(ZTNA_SOCK_READ, 0);
  UNTIL(slots[0].why != NEVER_FAILED);
  assert_int_equal(slots[0].why, ZTNA_SOCK_RESET);
  assert_int_equal(slots[0].in, 30000);
  assert_false(slots[0].eof || slots[0].bad);
  assert_int_equal(tcp_socks_counters(t)->reset, 1);
}

static void writing_after_a_reset_makes_it_no_good_end(void **state) {
  int fd = pair(0);
  slots[0].full = true;
  peer_sends(fd, 0, 20000);
  run_for(10 * MS);
  reset_peer(fd);
  run_for(10 * MS);
  more(0, 100); /* takes the error away from the reader */
  assert_quiet();
  slots[0].full = false;
  want(ZTNA_SOCK_READ, 0);
  UNTIL(slots[0].why != NEVER_FAILED);
  assert_int_equal(slots[0].why, ZTNA_SOCK_RESET);
  assert_int_equal(slots[0].in, 20000);
  assert_false(slots[0].eof);
}

static void reset_behind_their_end_is_told_too(void **state) {
  int fd = pair(0);
  peer_sends(fd, 0, 100);
  shutdown(fd, SHUT_WR);
  UNTIL(slots[0].eof); /* from here on it reads nothing */
  reset_peer(fd);
  UNTIL(slots[0].why == ZTNA_SOCK_RESET);
}

static void abort_is_a_reset_for_the_peer(void **state) {
  uint8_t got[64];
  int fd = pair(0);
  more(0, 10);
  step(0);
  want(ZTNA_SOCK_ABORT, 0);
  step(0);
  assert_int_equal(peer_reads(fd, got, sizeof(got)), 10);
  assert_int_equal(peer_reads(fd, got, sizeof(got)), -ECONNRESET);
  close(fd);
}

static void cut_short_is_a_reset_for_the_peer(void **state) {
  static uint8_t got[65536];
  ssize_t k;
  int fd = pair(0);
  more(0, 20 * 1024 * 1024); /* more than the system takes */
  want(ZTNA_SOCK_CLOSE, 0);
  step(0);
  assert_int_equal(tcp_socks_counters(t)->open, 0);
  while ((k = peer_reads(fd, got, sizeof(got))) > 0) continue;
  assert_int_equal(k, -ECONNRESET);
  close(fd);
}

static void fast_backend_does_not_starve_others(void **state) {
  enum { MANY = 30 };
  int fds[MANY];
  for (uint32_t i = 0; i < MANY; i++) {
    fds[i] = pair(i);
    slots[i].full = true;
  }
  run_for(10 * MS);
  for (int i = 0; i < MANY; i++)
    while (send(fds[i], pattern, PERIOD, MSG_NOSIGNAL) > 0) continue;
  run_for(20 * MS);
  for (uint32_t i = 0; i < MANY; i++) {
    slots[i].full = false;
    want(ZTNA_SOCK_READ, i);
  }
  for (int turn = 0; turn < MANY / 2; turn++) {
    step(0);
    for (int i = 0; i < MANY; i++)
      while (send(fds[i], pattern, PERIOD, MSG_NOSIGNAL) > 0) continue;
  }
  for (int i = 0; i < MANY; i++) {
    assert_true(slots[i].in > 0);
    close(fds[i]);
  }
}

/* --- limits */

static void no_descriptor_is_no_room(void **state) {
  struct ztna_addr a;
  struct rlimit r, none;
  int l = listen_at("127.0.0.1:0", 5, &a);
  getrlimit(RLIMIT_NOFILE, &r);
  none = r;
  none.rlim_cur = 3;
  setrlimit(RLIMIT_NOFILE, &none);
  connect_to(0, &a, 1, SEC);
  setrlimit(RLIMIT_NOFILE, &r);
  assert_int_equal(slots[0].why, ZTNA_SOCK_NO_ROOM);
  assert_int_equal(tcp_socks_counters(t)->no_room, 1);
  connect_to(1, &a, 1, SEC);
  UNTIL(slots[1].connected);
  close(l);
}

static void hundreds_of_sockets_work_at_once(void **state) {
  enum { MANY = 500 };
  static int fds[MANY];
  struct ztna_addr a;
  int l = listen_at("127.0.0.1:0", MANY, &a), sum = 0;
  for (uint32_t i = 0; i < MANY; i++) {
    connect_to(i, &a, 1, 5 * SEC);
    more(i, 1000);
  }
  for (int i = 0; i < MANY; i++) {
    fds[i] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fds[i] >= 0);
    peer_sends(fds[i], 0, 5000);
  }
  for (uint32_t i = 0; i < MANY; i++) UNTIL(slots[i].connected);
  for (uint32_t i = 0; i < MANY; i++) want(ZTNA_SOCK_WRITE, i);
  for (uint32_t i = 0; i < MANY; i++)
    UNTIL(slots[i].in == 5000 && slots[i].out == 1000);
  assert_int_equal(tcp_socks_counters(t)->open, MANY);
  for (int i = 0; i < MANY; i++) sum += slots[i].bad;
  assert_int_equal(sum, 0);
  assert_quiet();
  for (int i = 0; i < MANY; i++) close(fds[i]);
  close(l);
}

/* --- listening */

static struct {
  int n;
  struct ztna_addr peer;
  uint32_t adopt_from; /* the next number */
} accepted;

static void on_accept(void *ctx, uint64_t now, int fd,
                      const struct ztna_addr *peer) {
  accepted.n++;
  accepted.peer = *peer;
  tcp_socks_adopt(t, now, accepted.adopt_from++, fd);
}

static struct ztna_addr listener(const char *at) {
  struct ztna_addr a = test_addr(at), bound;
  memset(&accepted, 0, sizeof(accepted));
  assert_int_equal(tcp_socks_listen(t, &a, on_accept, NULL, &bound), 0);
  assert_true(bound.port);
  return bound;
}

static void accepted_connection_is_read_when_the_core_says_so(void **state) {
  struct ztna_addr at = listener("127.0.0.1:0");
  uint8_t got[64];
  int fd = dial_plain(&at);
  UNTIL(accepted.n == 1);
  assert_true(ztna_addr_is_loopback(&accepted.peer) && accepted.peer.port);
  peer_sends(fd, 0, 100);
  run_for(30 * MS);
  assert_int_equal(slots[0].in, 0);
  want(ZTNA_SOCK_READ, 0);
  more(0, 10);
  UNTIL(slots[0].in == 100);
  assert_int_equal(peer_reads(fd, got, sizeof(got)), 10);
  close(fd);
}

static void program_that_gives_up_early_is_noticed(void **state) {
  struct ztna_addr at = listener("127.0.0.1:0");
  int fd = dial_plain(&at);
  UNTIL(accepted.n == 1);
  reset_peer(fd);
  UNTIL(slots[0].why == ZTNA_SOCK_RESET);
}

static void accepting_pauses_without_descriptors(void **state) {
  struct ztna_addr at = listener("127.0.0.1:0");
  struct rlimit r, none;
  int fd = dial_plain(&at);
  getrlimit(RLIMIT_NOFILE, &r);
  none = r;
  none.rlim_cur = 3;
  setrlimit(RLIMIT_NOFILE, &none);
  n_wakes = 0;
  run_for(350 * MS);
  setrlimit(RLIMIT_NOFILE, &r);
  assert_int_equal(accepted.n, 0);
  assert_in_range(n_wakes, 2, 9); /* one of the timer, one of the listener */
  UNTIL(accepted.n == 1);
  close(fd);
}

static void address_in_use_is_told(void **state) {
  struct ztna_addr at = listener("127.0.0.1:0"), foreign = at;
  assert_int_equal(tcp_socks_listen(t, &at, on_accept, NULL, NULL),
                   ZTNA_EEXIST);
  foreign = test_addr("192.0.2.1:8080");
  assert_int_equal(tcp_socks_listen(t, &foreign, on_accept, NULL, NULL),
                   ZTNA_ENOENT);
}

#define CASE(f) TEST_WITH(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(bytes_go_both_ways),
      CASE(closed_port_is_refused),
      CASE(no_way_there_is_unreachable),
      CASE(silence_is_a_timeout),
      CASE(dead_first_address_costs_a_quarter_of_a_second),
      CASE(refused_address_costs_no_time),
      CASE(families_take_turns),
      CASE(refusal_says_more_than_silence),
      CASE(aborted_while_connecting_leaves_nothing),
      CASE(megabytes_arrive_unharmed_while_both_ends_stall),
      CASE(end_of_ours_leaves_theirs_open),
      CASE(end_of_theirs_leaves_ours_open),
      CASE(end_waits_for_a_peer_that_does_not_read),
      CASE(bytes_before_a_reset_are_read_first),
      CASE(writing_after_a_reset_makes_it_no_good_end),
      CASE(reset_behind_their_end_is_told_too),
      CASE(abort_is_a_reset_for_the_peer),
      CASE(cut_short_is_a_reset_for_the_peer),
      CASE(fast_backend_does_not_starve_others),
      CASE(no_descriptor_is_no_room),
      CASE(hundreds_of_sockets_work_at_once),
      CASE(accepted_connection_is_read_when_the_core_says_so),
      CASE(program_that_gives_up_early_is_noticed),
      CASE(accepting_pauses_without_descriptors),
      CASE(address_in_use_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
