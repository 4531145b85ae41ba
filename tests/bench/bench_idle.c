/* bench_idle.c - opens control connections of many agents to a running relay
 * and keeps them: what a handshake costs it, and what an idle one.
 *
 *   bench_idle --ca DIR --relay ADDR:PORT --pid PID --netns AGENTS
 *              [--count 1000]
 *
 * A handshake is all that an agent does until its events begin: mutual TLS with
 * key exchange, /v1/self, /v1/events. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/control.h"
#include "bench/proc.h"

enum { WAVE = 16 };

static bool is_ready(const struct control *c) { return c->ready; }

static void open_all(struct control *v, int n, struct control_ca *ca,
                     const char *relay, const char *netns, int pid, double *cpu,
                     double *took) {
  char name[16];
  for (int i = 0; i < n; i += WAVE) {
    int k = n - i < WAVE ? n - i : WAVE;
    for (int m = i; m < i + k; m++) {
      snprintf(name, sizeof(name), "a%d", 1000 + m);
      control_open(&v[m], ca, ROLE_AGENT, name, relay, netns);
    }
    double began = bare_now(), used = proc_cpu(pid);
    if (!control_run(v + i, k, 5000, is_ready))
      bare_die("connection %d of %d is not up", i, n);
    *took += bare_now() - began;
    *cpu += proc_cpu(pid) - used;
  }
}

int main(int argc, char **argv) {
  const char *dir = NULL, *relay = NULL, *netns = NULL;
  int pid = 0, n = 1000;
  struct control_ca ca;
  struct rlimit files = {1 << 16, 1 << 16};
  double cpu = 0, took = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--ca")) dir = argv[i + 1];
    if (!strcmp(argv[i], "--relay")) relay = argv[i + 1];
    if (!strcmp(argv[i], "--netns")) netns = argv[i + 1];
    if (!strcmp(argv[i], "--pid")) pid = atoi(argv[i + 1]);
    if (!strcmp(argv[i], "--count")) n = atoi(argv[i + 1]);
  }
  struct control *v = n > 0 ? calloc((size_t)n, sizeof(*v)) : NULL;
  if (!dir || !relay || !pid || !v)
    bare_die("usage: bench_idle --ca DIR --relay ADDR:PORT --pid PID "
             "[--netns PATH] [--count N]");
  setrlimit(RLIMIT_NOFILE, &files);
  control_ca_load(&ca, dir);
  long rss = proc_memory(pid, "Rss"), anon = proc_memory(pid, "Anonymous");
  open_all(v, n, &ca, relay, netns, pid, &cpu, &took);
  control_run(v, n, 1000, NULL);
  long with = proc_memory(pid, "Rss"),
       with_anon = proc_memory(pid, "Anonymous");
  printf("handshake.cpu %.0f us\n", cpu * 1e6 / n);
  printf("handshake.rate %.0f /s\n", n / cpu);
  printf("relay.idle.rss %.1f MB\n", (double)rss / 1024);
  printf("relay.idle.anon %.1f MB\n", (double)anon / 1024);
  printf("relay.connections.rss %.1f MB\n", (double)with / 1024);
  printf("relay.connection.rss %.1f KB\n", (double)(with - rss) / n);
  printf("relay.connection.anon %.1f KB\n", (double)(with_anon - anon) / n);
  return 0;
}
