/* bench_relay.c - what a running relay's forwarding costs, beside bare
 * forwarders under the same load: same sockets, same bytes, same sink.
 *
 *   bench_relay --ca DIR --pid PID --relay AGENTSIDE CONNECTORSIDE
 *               --netns AGENTS CONNECTORS RELAY [--seconds 2]
 *               [--bare NAME ADDR:PORT SINKPORT PID]...
 *
 * Opens control connections of one connector (in the namespace CONNECTORS) and
 * 50 agents (in AGENTS) to the relay's two addresses, gets a route for each,
 * and sends packets that carry the routes' handles from the very sockets of
 * these connections. A bare
 * forwarder sends on to port SINKPORT of the connector's host. For each load
 * prints lines "NAME.LOAD.FIGURE value unit": CPU of the process per packet
 * sent on, packets per second that arrived at the sink.
 *
 * Loader and sink share CPU 0; the forwarders should be bound to another one.
 * Forwarders take turns several times, so that what else the machine does
 * meets all of them. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/control.h"
#include "bench/proc.h"
#include "host/udp.h"

enum {
  N_AGENTS = 50,
  N_BARE = 4,
  SIZE = 1200,
  TRAIN = 50,
  SINK_BATCH = 8,
  ROUNDS = 4,
  HEADERS = 42, /* Ethernet, IPv4, UDP: once per train */
};

struct target {
  const char *name;
  struct ztna_addr at;
  uint16_t sink_port; /* 0: the connector's own socket */
  int pid;
  int sink;
};

static struct target targets[1 + N_BARE];
static int n_targets = 1;
static struct ztna_addr other_side;    /* the relay's, for connectors */
static struct control v[1 + N_AGENTS]; /* the connector first */
static double seconds = 2;
static FILE *relay_net; /* counters of the relay's interfaces */
static atomic_ullong n_sunk;
static atomic_bool stop;

/* --- load and sink */

struct load {
  const char *name;
  unsigned routes, train;
  unsigned rate;      /* packets/s; 0: as many as go */
  bool back;          /* from the connector; a train's packets for all agents */
  const char *beside; /* names of the forwarders to measure, too */
};

static const struct load loads[] = {
    {.name = "bulk", .routes = 1, .train = TRAIN, .beside = "gro plain"},
    {.name = "runs16", .routes = N_AGENTS, .train = 16, .beside = "gro"},
    {.name = "mixed", .routes = N_AGENTS, .train = TRAIN, .back = true},
    {.name = "lone", .routes = 1, .train = 1, .beside = "plain"},
    {.name = "paced",
     .routes = 1,
     .train = 1,
     .rate = 50000,
     .beside = "plain"},
};

static void on_cpu(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
    sched_setaffinity(0, sizeof(set), &set);
}

static void *sink_run(void *arg) {
  struct bare_batch *b = bare_batch_new(SINK_BATCH, BARE_ROOM);
  struct epoll_event ev[16];
  on_cpu(0);
  while (!stop) {
    int n = epoll_wait(*(int *)arg, ev, 16, 20);
    for (int i = 0; i < n; i++) {
      int k = bare_recv(ev[i].data.fd, b);
      unsigned long long sum = 0;
      for (int m = 0; m < k; m++) {
        unsigned seg = bare_seg(b, m);
        if (seg == SIZE) sum += b->v[m].msg_len / seg;
      }
      n_sunk += sum;
    }
  }
  free(b->bytes);
  free(b);
  return NULL;
}

static int sink_open(const struct target *t, const struct load *l) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < (l->back ? 1 + N_AGENTS : 1); i++) {
    int fd = t->sink ? t->sink : udp_fd(v[i].udp, 0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
    if (t->sink) break;
  }
  return epoll;
}

/* The bytes of one send of the turn-th flow. */
static void fill(uint8_t *p, const struct load *l, unsigned turn) {
  for (unsigned s = 0; s < l->train; s++, p += SIZE) {
    const struct control *a =
        &v[1 + (l->back ? turn * l->train + s : turn) % l->routes];
    p[0] = 0x40;
    memcpy(p + 1, l->back ? a->own : a->peer, HANDLE_LEN);
  }
}

static void wait_until(double at) {
  while (!stop && bare_now() < at) sched_yield();
}

static void send_for(const struct target *t, const struct load *l, double s) {
  static uint8_t bytes[BARE_ROOM];
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(2)];
  struct sockaddr_storage ss;
  struct iovec iov = {bytes, l->train * SIZE};
  struct mmsghdr m = {
      .msg_hdr = {.msg_name = &ss, .msg_iov = &iov, .msg_iovlen = 1}};
  m.msg_hdr.msg_namelen = (socklen_t)ztna_addr_to_sockaddr(&t->at, &ss);
  if (l->train > 1) bare_set_gso(&m.msg_hdr, control, SIZE);
  double began = bare_now();
  for (unsigned turn = 0; bare_now() - began < s; turn++) {
    const struct control *from = l->back ? v : &v[1 + turn % l->routes];
    fill(bytes, l, turn);
    if (l->rate) wait_until(began + (double)turn / l->rate);
    bare_send(udp_fd(from->udp, 0), &m, 1);
  }
}

/* --- one measurement */

struct sums {
  double took, cpu, sent, sunk;
};

/* Packets of ours that left the relay's host. A train counts as one packet
 * with one header there. */
static double sent_on(void) {
  char line[512];
  double sum = 0;
  rewind(relay_net);
  while (fgets(line, sizeof(line), relay_net)) {
    double bytes, packets;
    if (sscanf(line, " v%*[^:]: %*s %*s %*s %*s %*s %*s %*s %*s %lf %lf",
               &bytes, &packets) == 2)
      sum += (bytes - HEADERS * packets) / SIZE;
  }
  return sum;
}

static void measure(const struct target *t, const struct load *l,
                    struct sums *s) {
  pthread_t sink;
  int epoll = sink_open(t, l);
  stop = false;
  pthread_create(&sink, NULL, sink_run, &epoll);
  send_for(t, l, 0.1);
  unsigned long long sunk = n_sunk;
  double began = bare_now(), cpu = proc_cpu(t->pid), sent = sent_on();
  send_for(t, l, seconds / ROUNDS);
  s->took += bare_now() - began;
  usleep(30000); /* what is on its way arrives */
  s->sunk += (double)(n_sunk - sunk);
  s->sent += sent_on() - sent;
  s->cpu += proc_cpu(t->pid) - cpu;
  stop = true;
  pthread_join(sink, NULL);
  close(epoll);
}

static bool is_beside(const struct target *t, const struct load *l) {
  return t == targets || (l->beside && strstr(l->beside, t->name));
}

static void measure_all(const struct load *l) {
  struct sums sums[1 + N_BARE] = {0};
  for (int round = 0; round < ROUNDS; round++)
    for (int i = 0; i < n_targets; i++) {
      struct target t = targets[i];
      if (!is_beside(&targets[i], l)) continue;
      if (l->back) t.at = other_side;
      measure(&t, l, &sums[i]);
      control_run(v, 1 + N_AGENTS, 20, NULL);
    }
  for (int i = 0; i < n_targets; i++) {
    const struct sums *s = &sums[i];
    if (!is_beside(&targets[i], l)) continue;
    if (s->sunk < 1)
      bare_die("%s.%s: nothing arrived", targets[i].name, l->name);
    printf("%s.%s.cpu %.3f us/packet\n", targets[i].name, l->name,
           s->cpu * 1e6 / s->sent);
    printf("%s.%s.rate %.0f packets/s\n", targets[i].name, l->name,
           s->sunk / s->took);
  }
  fflush(stdout);
}

/* --- set up */

static bool is_ready(const struct control *c) { return c->ready; }
static bool has_route(const struct control *c) {
  return c->has_route || c->role == ROLE_CONNECTOR;
}

static void make_routes(const char *ca_dir, const char *relays[2],
                        const char *netns[3]) {
  static struct control_ca ca;
  char name[16];
  control_ca_load(&ca, ca_dir);
  control_open(&v[0], &ca, ROLE_CONNECTOR, "load", relays[1], netns[1]);
  for (int i = 1; i <= N_AGENTS; i++) {
    snprintf(name, sizeof(name), "a%d", 100 + i);
    control_open(&v[i], &ca, ROLE_AGENT, name, relays[0], netns[0]);
    control_run(v, i + 1, 20, NULL);
  }
  if (!control_run(v, 1 + N_AGENTS, 5000, is_ready))
    bare_die("not all control connections are up");
  for (int i = 1; i <= N_AGENTS; i++) {
    control_ask(&v[i]);
    control_run(v, 1 + N_AGENTS, 25, NULL); /* 50 requests/s */
  }
  if (!control_run(v, 1 + N_AGENTS, 5000, has_route))
    bare_die("not all routes are there");
}

static void open_sinks(const char *sinks, const char *relay) {
  netns_enter(relay);
  relay_net = fopen("/proc/thread-self/net/dev", "r");
  if (!relay_net) bare_die("cannot read the counters of interfaces");
  setvbuf(relay_net, NULL, _IONBF, 0);
  netns_enter(sinks);
  for (int i = 1; i < n_targets; i++) {
    struct ztna_addr any = {.family = 4, .port = targets[i].sink_port};
    targets[i].sink = bare_socket(&any, true);
  }
}

static void usage(void) {
  bare_die("usage: bench_relay --ca DIR --relay ADDR:PORT ADDR:PORT --pid PID "
           "--netns AGENTS CONNECTORS RELAY [--seconds N] "
           "[--bare NAME ADDR:PORT SINKPORT PID]...");
}

int main(int argc, char **argv) {
  const char *ca = NULL, *relays[2] = {0}, *netns[3] = {0};
  for (int i = 1; i < argc; i++) {
    char **a = argv + i;
    int left = argc - i - 1;
    if (!strcmp(*a, "--ca") && left >= 1)
      ca = a[1], i++;
    else if (!strcmp(*a, "--relay") && left >= 2)
      relays[0] = a[1], relays[1] = a[2], i += 2;
    else if (!strcmp(*a, "--netns") && left >= 3)
      netns[0] = a[1], netns[1] = a[2], netns[2] = a[3], i += 3;
    else if (!strcmp(*a, "--pid") && left >= 1)
      targets[0].pid = atoi(a[1]), i++;
    else if (!strcmp(*a, "--seconds") && left >= 1)
      seconds = atof(a[1]), i++;
    else if (!strcmp(*a, "--bare") && left >= 4 && n_targets <= N_BARE) {
      targets[n_targets++] = (struct target){.name = a[1],
                                             .at = bare_addr(a[2]),
                                             .sink_port = (uint16_t)atoi(a[3]),
                                             .pid = atoi(a[4])};
      i += 4;
    } else
      usage();
  }
  if (!ca || !relays[0] || !netns[0] || !targets[0].pid) usage();
  targets[0].name = "relay";
  targets[0].at = bare_addr(relays[0]);
  other_side = bare_addr(relays[1]);
  open_sinks(netns[1], netns[2]);
  make_routes(ca, relays, netns);
  on_cpu(0);
  for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++)
    measure_all(&loads[i]);
  return 0;
}
