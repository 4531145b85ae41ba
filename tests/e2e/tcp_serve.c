/* tcp_serve.c - services that behave well or badly, one per port, see
 * tool_tcp.c. Connections wait for threads that are there already: a thread
 * made for each would be felt in the time a connect takes. */
#include "tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bare.h"

struct port {
  int fd;
  const struct behaviour *how;
  unsigned long long a, b; /* of NAME:A:B */
  atomic_int idle;
};

static ssize_t receive(int fd, void *to, size_t n) {
  ssize_t k;
  do k = recv(fd, to, n, 0);
  while (k < 0 && errno == EINTR);
  return k;
}

/* A line of up to 62 bytes, without what follows it. */
static bool line(int fd, char *to) {
  for (int i = 0; i < 63; i++) {
    if (receive(fd, to + i, 1) != 1) return false;
    if (to[i] != '\n') continue;
    to[i] = '\0';
    return true;
  }
  return false;
}

static int send_made(int fd, unsigned long long n, uint64_t seed, char *room) {
  struct tcp_bytes b = {.seed = seed};
  while (n) {
    size_t k = n < TCP_ROOM ? (size_t)n : TCP_ROOM;
    tcp_bytes_make(&b, room, k);
    if (tcp_write(fd, room, k) < 0) return -1;
    n -= k;
  }
  return 0;
}

/* --- behaviours */

static void echo(int fd, const struct port *p, char *room) {
  ssize_t n;
  while ((n = receive(fd, room, TCP_ROOM)) > 0)
    if (tcp_write(fd, room, (size_t)n) < 0) break;
}

/* sink[:AT:SECONDS]: the reader sleeps once, after AT bytes */
static void sink(int fd, const struct port *p, char *room) {
  struct tcp_bytes b = {0};
  bool slept = !p->b;
  char seed[64];
  ssize_t n;
  if (!line(fd, seed)) return;
  b.seed = strtoull(seed, NULL, 10);
  bool right = true;
  while ((n = receive(fd, room, TCP_ROOM)) > 0) {
    right &= tcp_bytes_came(&b, room, (size_t)n);
    if (slept || b.at < p->a) continue;
    slept = true;
    sleep((unsigned)p->b);
  }
  if (n < 0) return;
  int k = snprintf(
      room, 128, "bytes=%llu hash=%016llx right=%s\n", (unsigned long long)b.at,
      (unsigned long long)tcp_bytes_hash(&b), right ? "yes" : "no");
  tcp_write(fd, room, (size_t)k);
}

static void source(int fd, const struct port *p, char *room) {
  unsigned long long bytes, seed;
  char want[64];
  if (line(fd, want) && sscanf(want, "%llu %llu", &bytes, &seed) == 2)
    send_made(fd, bytes, seed, room);
}

static void discard(int fd, const struct port *p, char *room) {
  while (receive(fd, room, TCP_ROOM) > 0)
    ;
}

static void flood(int fd, const struct port *p, char *room) {
  memset(room, 'z', TCP_ROOM);
  while (tcp_write(fd, room, TCP_ROOM) == 0)
    ;
}

static void hang_up(int fd, const struct port *p, char *room) {}

/* reset:N: what was sent has time to arrive, for RST overtakes it */
static void reset_after(int fd, const struct port *p, char *room) {
  send_made(fd, p->a, 1, room);
  usleep(300000);
}

/* cut:N: reset in the middle of what the client sends */
static void cut_after(int fd, const struct port *p, char *room) {
  unsigned long long got = 0;
  ssize_t n;
  while (got < p->a && (n = receive(fd, room, TCP_ROOM)) > 0)
    got += (unsigned long long)n;
}

static void slow(int fd, const struct port *p, char *room) {
  for (unsigned long long i = 0; i < p->a; i++) {
    if (i) sleep(1);
    if (tcp_write(fd, "z", 1) < 0) return;
  }
}

/* reply:N: says nothing before the client has ended its half */
static void reply(int fd, const struct port *p, char *room) {
  ssize_t n;
  while ((n = receive(fd, room, TCP_ROOM)) > 0)
    ;
  if (n == 0) send_made(fd, p->a, 1, room);
}

static const struct behaviour {
  const char *name;
  void (*behave)(int, const struct port *, char *);
  bool aborts; /* ends with RST, else with FIN */
} behaviours[] = {
    {"echo", echo, false},     {"sink", sink, false},
    {"source", source, false}, {"discard", discard, false},
    {"flood", flood, false},   {"close", hang_up, false},
    {"slow", slow, false},     {"reply", reply, false},
    {"cut", cut_after, true},  {"reset", reset_after, true},
};

/* --- threads */

static void worker_start(struct port *p);

static void *work(void *arg) {
  struct port *p = arg;
  char *room = malloc(TCP_ROOM);
  int on = 1;
  while (room) {
    int fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
      usleep(10000); /* no descriptors */
      continue;
    }
    if (atomic_fetch_sub(&p->idle, 1) == 1) worker_start(p);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    p->how->behave(fd, p, room);
    if (p->how->aborts)
      tcp_abort(fd);
    else
      close(fd);
    atomic_fetch_add(&p->idle, 1);
  }
  return NULL;
}

static void worker_start(struct port *p) {
  pthread_attr_t a;
  pthread_t t;
  pthread_attr_init(&a);
  pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&a, 128 * 1024);
  atomic_fetch_add(&p->idle, 1);
  if (pthread_create(&t, &a, work, p)) atomic_fetch_sub(&p->idle, 1);
  pthread_attr_destroy(&a);
}

/* PORT=NAME[:A[:B]] */
static void port_open(const char *text) {
  struct port *p = calloc(1, sizeof(*p));
  char name[16];
  unsigned port;
  if (!p ||
      sscanf(text, "%u=%15[a-z]:%llu:%llu", &port, name, &p->a, &p->b) < 2)
    bare_die("serve: want PORT=BEHAVIOUR, got %s", text);
  for (size_t i = 0; i < sizeof(behaviours) / sizeof(*behaviours); i++)
    if (!strcmp(behaviours[i].name, name)) p->how = &behaviours[i];
  if (!p->how) bare_die("serve: no behaviour %s", name);
  p->fd = tcp_listen(port);
  for (int i = 0; i < 4; i++) worker_start(p);
}

int tcp_serve(int argc, char **argv) {
  for (int i = 0; i < argc; i++) port_open(argv[i]);
  printf("ready\n");
  fflush(stdout);
  for (;;) pause();
}
