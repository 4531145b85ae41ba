/* tool_flow.c - measures what travels from a program on one host to a program
 * on another, through whatever lies between.
 *
 *   tool_flow echo ADDR:PORT...   sends every datagram back, until killed
 *   tool_flow rtt ADDR:PORT NAME [N [MICROS]]
 *       N (2000) echoes of 64 bytes, one every MICROS (1000), one at a time
 *   tool_flow flow up|down NAME SIZE SECONDS NETNS1 TO NETNS2 AT [WHO PID]...
 *       packets of SIZE bytes from a socket in NETNS1 to TO, which arrive at AT
 *       in NETNS2 (up), or the answers' way back (down); delivered packets, and
 *       what the processes used for them. SIZExN: N in each send (UDP_SEGMENT)
 *
 * A flow has at most 256 packets on their way: the sender learns by shared
 * memory what arrived, so that the figures are of what is delivered, not of
 * what a queue threw away. Prints lines "NAME.FIGURE value unit". */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/control.h"
#include "bench/proc.h"

enum { WINDOW = 256, BURST = 32, ROOM = 2048, RTT_MAX = 100000, WHO_MAX = 4 };

static int socket_to(const char *to, const char *at) {
  struct ztna_addr local = {.family = 4};
  struct sockaddr_storage ss;
  if (at) local = bare_addr(at);
  if (to) local.family = bare_addr(to).family;
  int fd = bare_socket(&local, false);
  if (!to) return fd;
  struct ztna_addr a = bare_addr(to);
  size_t len = ztna_addr_to_sockaddr(&a, &ss);
  if (connect(fd, (struct sockaddr *)&ss, (socklen_t)len) < 0)
    bare_die("connect %s: %s", to, strerror(errno));
  return fd;
}

/* --- echo */

static void echo_one(int fd) {
  static char bytes[65536];
  struct sockaddr_storage from;
  socklen_t len = sizeof(from);
  ssize_t n =
      recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &len);
  if (n >= 0) sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, len);
}

static int echo(int n, char **argv) {
  struct pollfd p[8];
  if (n > 8) n = 8;
  for (int i = 0; i < n; i++)
    p[i] = (struct pollfd){.fd = socket_to(NULL, argv[i]), .events = POLLIN};
  while (poll(p, (nfds_t)n, -1) > 0)
    for (int i = 0; i < n; i++)
      if (p[i].revents) echo_one(p[i].fd);
  return 0;
}

/* --- rtt */

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void sleep_until(double at) {
  struct timespec t = {(time_t)at, (long)((at - (double)(time_t)at) * 1e9)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
    ;
}

static int rtt(int argc, char **argv) {
  static double took[RTT_MAX];
  int fd = socket_to(argv[0], NULL), n = argc > 2 ? atoi(argv[2]) : 2000;
  double every = (argc > 3 ? atof(argv[3]) : 1000) / 1e6;
  uint8_t bytes[64];
  int lost = 0, k = 0;
  if (n < 1 || n > RTT_MAX) bare_die("1 to %d samples", RTT_MAX);
  prctl(PR_SET_TIMERSLACK, 1UL);
  double next = bare_now();
  for (int i = 0; i < n; i++) {
    sleep_until(next += every);
    memset(bytes, i & 255, sizeof(bytes));
    double began = bare_now();
    ssize_t got = send(fd, bytes, sizeof(bytes), 0);
    do { /* 100 ms at most; an answer that came too late is none to this */
      if (got > 0) got = recv(fd, bytes, sizeof(bytes), 0);
    } while (got == sizeof(bytes) && bytes[0] != (i & 255));
    if (got == sizeof(bytes))
      took[k++] = bare_now() - began;
    else
      lost++;
    if (bare_now() > next) next = bare_now();
  }
  if (!k) bare_die("rtt %s: no reply", argv[1]);
  qsort(took, (size_t)k, sizeof(*took), compare);
  printf("%s.p50 %.1f us\n", argv[1], took[k / 2] * 1e6);
  printf("%s.p99 %.1f us\n", argv[1], took[k * 99 / 100] * 1e6);
  printf("%s.lost %.2f %%\n", argv[1], 100.0 * lost / n);
  return 0;
}

/* --- flow */

static struct flow {
  int from, to; /* sockets */
  struct sockaddr_storage peer;
  socklen_t peer_len; /* 0: connected */
  size_t size;
  size_t train; /* packets in one send */
  atomic_ullong sent, got;
  unsigned long long lost;
  atomic_bool stop;
} flow;

/* Sends n packets, in trains of as many as were asked for; how many left. */
static int flow_send(struct flow *f, int n) {
  static uint8_t bytes[65536];
  static struct iovec iov;
  struct mmsghdr m[BURST];
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(2)];
  int sends = n / (int)f->train;
  iov = (struct iovec){bytes, f->size * f->train};
  for (int i = 0; i < sends; i++) {
    m[i].msg_hdr = (struct msghdr){.msg_name = f->peer_len ? &f->peer : NULL,
                                   .msg_namelen = f->peer_len,
                                   .msg_iov = &iov,
                                   .msg_iovlen = 1};
    if (f->train > 1) bare_set_gso(&m[i].msg_hdr, control, (uint16_t)f->size);
  }
  int k = sendmmsg(f->from, m, (unsigned)sends, 0);
  return k > 0 ? k * (int)f->train : 0;
}

static void *sender(void *arg) {
  struct flow *f = arg;
  unsigned long long seen = 0;
  double progress = bare_now();
  while (!f->stop) {
    unsigned long long got = f->got, out = f->sent - f->lost;
    unsigned long long under_way = out > got ? out - got : 0;
    if (got != seen) seen = got, progress = bare_now();
    if (under_way + BURST / 2 <= WINDOW) {
      unsigned long long room = WINDOW - under_way;
      f->sent += (unsigned)flow_send(f, room < BURST ? (int)room : BURST);
    } else if (bare_now() - progress > 0.05) { /* those will not come */
      f->lost += under_way;
      progress = bare_now();
    } else {
      usleep(20);
    }
  }
  return NULL;
}

static void *receiver(void *arg) {
  struct flow *f = arg;
  struct bare_batch *b = bare_batch_new(BARE_BATCH, ROOM);
  while (!f->stop) f->got += (unsigned)bare_recv(f->to, b);
  return NULL;
}

/* The backend learns where answers go by a first packet. */
static void open_way(struct flow *f, int agent, int backend, bool up) {
  char byte = 0;
  for (int i = 0; i < 20; i++) {
    f->peer_len = sizeof(f->peer);
    send(agent, &byte, 1, 0);
    if (recvfrom(backend, &byte, 1, 0, (struct sockaddr *)&f->peer,
                 &f->peer_len) == 1)
      break;
    if (i == 19) bare_die("flow: nothing arrives");
  }
  f->from = up ? agent : backend;
  f->to = up ? backend : agent;
  if (up) f->peer_len = 0;
}

struct who {
  const char *name;
  int pid;
  double cpu;
};

static void report(const char *name, const struct flow *f, double took,
                   unsigned long long sent, unsigned long long got,
                   const struct who *w, int n_who) {
  double bytes = (double)got * (double)f->size;
  if (!got) bare_die("flow %s: nothing arrived", name);
  printf("%s.rate %.0f packets/s\n", name, (double)got / took);
  printf("%s.speed %.1f Mbit/s\n", name, bytes * 8 / took / 1e6);
  printf("%s.lost %.2f %%\n", name,
         sent > got + WINDOW ? 100.0 * (double)(sent - got) / (double)sent : 0);
  for (int i = 0; i < n_who; i++) {
    printf("%s.%s.per_gb %.2f s/GB\n", name, w[i].name, w[i].cpu / bytes * 1e9);
    printf("%s.%s.cpu %.2f us/packet\n", name, w[i].name,
           w[i].cpu * 1e6 / (double)got);
  }
}

static int flow_main(int argc, char **argv) {
  struct flow *f = &flow;
  struct who w[WHO_MAX];
  int n_who = 0;
  bool up = !strcmp(argv[0], "up");
  pthread_t threads[2];
  char *times;
  f->size = strtoul(argv[2], &times, 10);
  f->train = *times == 'x' ? strtoul(times + 1, NULL, 10) : 1;
  if (f->size < 1 || f->size > ROOM) bare_die("size: 1 to %d", ROOM);
  if (f->train < 1 || f->train > BURST)
    bare_die("packets in a send: 1 to %d", BURST);
  for (int i = 8; i + 1 < argc && n_who < WHO_MAX; i += 2)
    w[n_who++] = (struct who){.name = argv[i], .pid = atoi(argv[i + 1])};
  netns_enter(argv[4]);
  int agent = socket_to(argv[5], NULL);
  netns_enter(argv[6]);
  int backend = socket_to(NULL, argv[7]);
  open_way(f, agent, backend, up);
  pthread_create(&threads[0], NULL, receiver, f);
  pthread_create(&threads[1], NULL, sender, f);
  usleep(300000);
  double began = bare_now();
  unsigned long long sent = f->sent, got = f->got;
  for (int i = 0; i < n_who; i++) w[i].cpu = -proc_cpu(w[i].pid);
  usleep((useconds_t)(atof(argv[3]) * 1e6));
  for (int i = 0; i < n_who; i++) w[i].cpu += proc_cpu(w[i].pid);
  sent = f->sent - sent;
  got = f->got - got;
  report(argv[1], f, bare_now() - began, sent, got, w, n_who);
  f->stop = true;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 2 && !strcmp(argv[1], "echo")) return echo(argc - 2, argv + 2);
  if (argc > 3 && !strcmp(argv[1], "rtt")) return rtt(argc - 2, argv + 2);
  if (argc > 9 && !strcmp(argv[1], "flow"))
    return flow_main(argc - 2, argv + 2);
  bare_die("usage: tool_flow echo ADDR... | rtt ADDR NAME [N [MICROS]] | "
           "flow up|down NAME SIZE SECONDS NETNS1 TO NETNS2 AT [WHO PID]...");
}
