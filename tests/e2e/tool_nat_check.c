/* tool_nat_check.c - what a network does to UDP, found out with plain sockets:
 * the laboratory's oracle (nat/classes.sh). It shares nothing with STUN.
 *
 *   tool_nat_check serve ADDR...     answers, until killed
 *   tool_nat_check classify A B C    servers: B is A's address with another
 *                                    port, C another address
 *   tool_nat_check reach ADDR...     who answers: yes or no for each
 *   tool_nat_check lifetime A NEW ANSWERED
 *                                    does a mapping live for NEW ms, and for
 *                                    ANSWERED behind a conversation, and do
 *                                    both not live on?
 *   tool_nat_check natpmp A B C GATEWAY
 *                                    a mapping asked for by NAT-PMP: does a
 *                                    packet of C come in?
 *
 * A request is text: "NUMBER FROM [ADDR]". The server's socket with index FROM
 * (-1: the one that was asked) sends "NUMBER SEEN" to the asker, or to ADDR. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <ztna/addr.h>

enum { SAME = -1, ADDRS_MAX = 8, TEXT_MAX = 200, TRIES = 3, PATIENCE_MS = 120 };

static struct ztna_addr servers[ADDRS_MAX];

static void die(const char *what) {
  fprintf(stderr, "tool_nat_check: %s: %s\n", what, strerror(errno));
  exit(2);
}

static struct ztna_addr addr_of(const char *text) {
  struct ztna_addr a;

  errno = EINVAL;
  if (ztna_addr_parse(&a, text) < 0) die(text);
  return a;
}

static int bound_to(const struct ztna_addr *a) {
  struct sockaddr_storage ss;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(a, &ss);
  int fd = socket(ss.ss_family, SOCK_DGRAM, 0), on = 1;

  if (a->family == 6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0) die("bind");
  return fd;
}

/* A socket of the servers' family, with a port of its own. */
static int fresh(void) {
  return bound_to(&(struct ztna_addr){.family = servers[0].family});
}

static void send_text(int fd, const struct ztna_addr *to, const char *text) {
  struct sockaddr_storage ss;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(to, &ss);

  sendto(fd, text, strlen(text), 0, (struct sockaddr *)&ss, len);
}

static bool take_text(int fd, struct ztna_addr *from, char *text) {
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  ssize_t n = recvfrom(fd, text, TEXT_MAX - 1, MSG_DONTWAIT,
                       (struct sockaddr *)&ss, &len);

  if (n < 0) return false;
  text[n] = 0;
  return ztna_addr_from_sockaddr(from, &ss) == 0;
}

static int now_ms(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int)(t.tv_sec % 100000 * 1000 + t.tv_nsec / 1000000);
}

/* --- server --- */

static void answer(const struct pollfd *p, int n, int at) {
  char text[TEXT_MAX], to[TEXT_MAX], seen[ZTNA_ADDR_STRLEN];
  struct ztna_addr from;
  unsigned number;
  int by, got;

  if (!take_text(p[at].fd, &from, text)) return;
  ztna_addr_print(&from, seen);
  got = sscanf(text, "%u %d %199s", &number, &by, to);
  if (got < 2 || by >= n) return;
  if (got == 3 && ztna_addr_parse(&from, to) < 0) return;
  snprintf(text, sizeof(text), "%u %s", number, seen);
  send_text(p[by < 0 ? at : by].fd, &from, text);
}

static int serve(int n, char **argv) {
  struct pollfd p[ADDRS_MAX];

  for (int i = 0; i < n; i++) {
    struct ztna_addr a = addr_of(argv[i]);
    p[i] = (struct pollfd){.fd = bound_to(&a), .events = POLLIN};
  }
  while (poll(p, (nfds_t)n, -1) > 0)
    for (int i = 0; i < n; i++)
      if (p[i].revents) answer(p, n, i);
  return 0;
}

/* --- questions --- */

/* What arrives with this number within PATIENCE_MS. */
static bool heard(int fd, unsigned number, struct ztna_addr *seen) {
  int end = now_ms() + PATIENCE_MS, left;
  char text[TEXT_MAX], addr[TEXT_MAX];
  struct ztna_addr from;
  unsigned got;

  while ((left = end - now_ms()) > 0) {
    poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, left);
    if (take_text(fd, &from, text) &&
        sscanf(text, "%u %199s", &got, addr) == 2 && got == number)
      return ztna_addr_parse(seen, addr) == 0;
  }
  return false;
}

/* As `to` saw this socket, in an answer that comes from `by`. */
static bool ask(int fd, int to, int by, struct ztna_addr *seen) {
  static unsigned number;
  char text[TEXT_MAX];

  for (int i = 0; i < TRIES; i++) {
    snprintf(text, sizeof(text), "%u %d", ++number, by);
    send_text(fd, &servers[to], text);
    if (heard(fd, number, seen)) return true;
  }
  return false;
}
static bool answers_from(int fd, int to, int by) {
  struct ztna_addr seen;

  return ask(fd, to, by, &seen);
}
static struct ztna_addr mapped(int fd, int to) {
  struct ztna_addr seen = {0};

  if (!ask(fd, to, to, &seen)) {
    printf("server %d does not answer\n", to);
    exit(1);
  }
  return seen;
}

/* Does a packet from server `by` to that address reach fd? Asked of server 0 by
 * another socket. */
static bool is_reached(int fd, int by, const struct ztna_addr *at) {
  char text[TEXT_MAX], addr[ZTNA_ADDR_STRLEN];
  static unsigned number = 1000000;
  struct ztna_addr seen;
  int other = fresh();
  bool yes = false;

  for (int i = 0; i < TRIES && !yes; i++) {
    snprintf(text, sizeof(text), "%u %d %s", ++number, by,
             ztna_addr_print(at, addr));
    send_text(other, &servers[0], text);
    yes = heard(fd, number, &seen);
  }
  close(other);
  return yes;
}

/* --- classes --- */

static struct ztna_addr local_of(int fd) {
  struct sockaddr_storage ss;
  struct ztna_addr a = {0}, own;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&servers[0], &ss);
  int other = fresh();

  if (connect(other, (struct sockaddr *)&ss, len) < 0) die("connect");
  len = sizeof(ss);
  getsockname(other, (struct sockaddr *)&ss, &len);
  ztna_addr_from_sockaddr(&a, &ss);
  close(other);
  len = sizeof(ss);
  getsockname(fd, (struct sockaddr *)&ss, &len);
  ztna_addr_from_sockaddr(&own, &ss);
  a.port = own.port;
  return a;
}

static const char *mapping(void) {
  int fd = fresh();
  struct ztna_addr a = mapped(fd, 0), b = mapped(fd, 1), c = mapped(fd, 2);
  struct ztna_addr own = local_of(fd);

  if (!ztna_addr_equal(&a, &b)) return "address-port-dependent";
  if (!ztna_addr_equal(&a, &c)) return "address-dependent";
  return ztna_addr_equal(&a, &own) ? "none" : "endpoint-independent";
}

static const char *filtering(void) {
  int fd = fresh();

  mapped(fd, 0);
  if (answers_from(fd, 0, 2)) return "endpoint-independent";
  if (answers_from(fd, 0, 1)) return "address-dependent";
  return "address-port-dependent";
}

static const char *allocation(void) {
  enum { N = 5 };
  int steps = 0, kept = 0, last = 0;

  for (int i = 0; i < N; i++) {
    int fd = fresh();
    int port = mapped(fd, 0).port, step = port - last;
    kept += port == local_of(fd).port;
    steps += i > 0 && step > 0 && step <= 4;
    last = port;
  }
  return kept == N ? "preserving" : steps == N - 1 ? "sequential" : "random";
}

/* A packet that the second router drops. */
static void send_short(int fd, const struct ztna_addr *to) {
  int v4 = to->family == 4, ttl = 2, usual = 64;
  int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
  int name = v4 ? IP_TTL : IPV6_UNICAST_HOPS;

  setsockopt(fd, level, name, &ttl, sizeof(ttl));
  send_text(fd, to, "-");
  setsockopt(fd, level, name, &usual, sizeof(usual));
}

/* The peer's packet comes before ours: do we still leave by the mapping that it
 * aimed at? With an opener, one of ours went first, and died on the way. */
static const char *early_probe(bool opener) {
  int fd = fresh();
  struct ztna_addr a = mapped(fd, 0), b;
  bool came;

  if (opener) send_short(fd, &servers[2]);
  came = is_reached(fd, 2, &a);
  b = mapped(fd, 2);
  if (!ztna_addr_equal(&a, &b)) return "moves-the-mapping";
  return came ? "comes-in" : "is-dropped";
}

/* From one socket to the other's mapping, and back. */
static const char *hairpin(void) {
  int x = fresh(), y = fresh();
  struct ztna_addr at_x = mapped(x, 0), at_y = mapped(y, 0), from, seen;
  char text[TEXT_MAX], addr[ZTNA_ADDR_STRLEN];

  for (int i = 0; i < TRIES; i++) {
    send_text(x, &at_y, "-");
    poll(&(struct pollfd){.fd = y, .events = POLLIN}, 1, PATIENCE_MS);
    if (!take_text(y, &from, text)) continue;
    snprintf(text, sizeof(text), "7 %s", ztna_addr_print(&from, addr));
    send_text(y, &from, text);
    if (ztna_addr_equal(&from, &at_x) && heard(x, 7, &seen)) return "yes";
  }
  return "no";
}

static int classify(int n, char **argv) {
  printf("mapping=%s\n", mapping());
  printf("filtering=%s\n", filtering());
  printf("allocation=%s\n", allocation());
  printf("early-probe=%s\n", early_probe(false));
  printf("behind-opener=%s\n", early_probe(true));
  printf("hairpin=%s\n", hairpin());
  return 0;
}

/* --- more questions --- */

static int reach(int n, char **argv) {
  for (int i = 0; i < n; i++)
    printf("%s%s", i ? " " : "", answers_from(fresh(), i, SAME) ? "yes" : "no");
  printf("\n");
  return 0;
}

static void sleep_ms(int ms) { poll(NULL, 0, ms); }

/* Talks for longer than the 2 s after which Linux calls it a stream. */
static void converse(int fd) {
  for (int i = 0; i < 11; i++) {
    mapped(fd, 0);
    sleep_ms(200);
  }
}

/* A mapping of one question, and one of a conversation, both then silent. */
static int lifetime(int n, char **argv) {
  int new_ms = atoi(argv[1]), answered_ms = atoi(argv[2]);
  int once = fresh(), often = fresh();
  struct ztna_addr at_once, at_often = mapped(often, 0);
  bool lives[4];

  converse(often);
  at_once = mapped(once, 0);
  sleep_ms(new_ms * 6 / 10);
  lives[0] = is_reached(once, 0, &at_once); /* and begins its time anew */
  sleep_ms(new_ms * 6 / 10);
  lives[1] = is_reached(often, 0, &at_often);
  sleep_ms(new_ms * 6 / 10);
  lives[2] = is_reached(once, 0, &at_once);
  sleep_ms(answered_ms - new_ms * 5 / 10);
  lives[3] = is_reached(often, 0, &at_often);
  for (int i = 0; i < 4; i++) printf(lives[i] ? "lives " : "gone ");
  printf("\n");
  return 0;
}

static int natpmp(int n, char **argv) {
  struct ztna_addr gate = servers[3], at;
  int fd = fresh(), other = fresh();
  uint16_t port = htons(local_of(fd).port);
  uint8_t map[12] = {0, 1, [10] = 1}, got[16]; /* RFC 6886: UDP, 256 s */
  struct sockaddr_storage ss;
  socklen_t len;

  gate.port = 5351;
  len = (socklen_t)ztna_addr_to_sockaddr(&gate, &ss);
  memcpy(map + 4, &port, 2);
  at = mapped(other, 0);
  for (int i = 0; i < 20; i++) { /* the daemon may have just begun */
    sendto(other, map, sizeof(map), 0, (struct sockaddr *)&ss, len);
    poll(&(struct pollfd){.fd = other, .events = POLLIN}, 1, 250);
    if (recv(other, got, sizeof(got), MSG_DONTWAIT) == sizeof(got) &&
        got[1] == 129 && !got[2] && !got[3])
      break;
    sleep_ms(50);
  }
  memcpy(&port, got + 10, 2);
  at.port = ntohs(port);
  printf("portmap=%s\n", is_reached(fd, 2, &at) ? "yes" : "no");
  return 0;
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    int n;
    int (*run)(int n, char **argv);
  } modes[] = {{"serve", 1, serve},
               {"classify", 3, classify},
               {"reach", 1, reach},
               {"lifetime", 3, lifetime},
               {"natpmp", 4, natpmp}};
  int n = argc - 2 < ADDRS_MAX ? argc - 2 : ADDRS_MAX;

  for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(*modes); i++) {
    if (strcmp(argv[1], modes[i].name) || n < modes[i].n) continue;
    if (modes[i].run == lifetime) n = 3;
    for (int k = 0; k < (modes[i].run == lifetime ? 1 : n); k++)
      servers[k] = addr_of(argv[2 + k]);
    return modes[i].run(n, argv + 2);
  }
  fprintf(stderr, "tool_nat_check: serve, classify, reach, lifetime, natpmp\n");
  return 2;
}
