/* bench_relay_micro.c - what forwarding costs a relay without sockets: ns per
 * segment of route_in + route_next, for a run of one route and for interleaved
 * routes. Batches lie in rotating buffers, as after recvmmsg.
 *
 *   bench_relay_micro [--routes N] [--idle N] [--size N] [--ms N]
 *
 * --routes: how many the interleaved batches alternate between, 400 at most;
 * --idle: further routes in the table; --ms: time per line. Prints one line per
 * case. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "part/route.h"

enum { N_SEGS = 50, N_BUFFERS = 8, MAX_ROUTES = 100000 };

static unsigned n_routes = 50, n_idle = 0, size = 1200, ms = 500;
static struct route routes[MAX_ROUTES];
static uint8_t *buffers[N_BUFFERS];

static uint64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SEC + (uint64_t)t.tv_nsec;
}

/* The same numbers on each run. */
static void rng_next(void *ctx, void *buf, size_t len) {
  static uint64_t x = 88172645463325252u;
  for (uint8_t *p = buf; len; len--) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *p++ = (uint8_t)(x >> 32);
  }
}
static const struct rng rng = {.fill = rng_next};

static void on_other(void *ud, uint64_t now, const struct dgram *seg) {
  fprintf(stderr, "bench_relay_micro: a packet found no route\n");
  exit(1);
}

static struct route_table *make_table(unsigned n, uint64_t rate) {
  struct route_table *t = route_table_new(MAX_ROUTES, rate, 1 << 30, &rng);
  for (unsigned i = 0; t && i < n; i++) {
    struct route *r = &routes[i];
    memset(r, 0, sizeof(*r));
    for (int e = 0; e < 2; e++) {
      rng_fill(&rng, r->end[e].handle, ROUTE_HANDLE_LEN);
      r->end[e].remote = ztna_addr_v4((uint8_t[]){192, 0, 2, 1},
                                      (uint16_t)(e ? 1024 + i % 60000 : 9));
    }
    if (route_add(t, r) < 0) exit(1);
  }
  return t;
}

static void measure(const char *name, unsigned n_mixed, uint64_t rate) {
  struct route_table *t = make_table(n_routes + n_idle, rate);
  struct dgram d = {.remote = routes[0].end[0].remote,
                    .len = N_SEGS * size,
                    .seg = (uint16_t)size};
  struct dgram out[64];
  for (unsigned b = 0, next = 0; b < N_BUFFERS; b++)
    for (unsigned i = 0; i < N_SEGS; i++, next++) {
      uint8_t *p = buffers[b] + i * size;
      memset(p, 0, size);
      p[0] = 0x40;
      memcpy(p + 1, routes[next % n_mixed].end[1].handle, ROUTE_HANDLE_LEN);
    }
  uint64_t began = clock_ns(), now = began, n = 0, n_out = 0;
  while (now - began < ms * MS) {
    for (int round = 0; round < 100; round++) {
      for (unsigned b = 0; b < N_BUFFERS; b++) {
        d.data = buffers[b];
        route_in(t, now, &d, on_other, NULL);
      }
      for (int k; (k = route_next(t, out, 64)) > 0;) n_out += (uint64_t)k;
    }
    n += 100 * N_BUFFERS * N_SEGS;
    now = clock_ns();
  }
  printf("%-34s %6.1f ns per segment, %4.1f segments per train%s\n", name,
         (double)(now - began) / (double)n, (double)n / (double)n_out,
         route_stats(t)->n_packets == n ? "" : " (packets were dropped)");
  route_table_free(t);
}

int main(int argc, char **argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    unsigned v = (unsigned)strtoul(argv[i + 1], NULL, 0);
    if (!strcmp(argv[i], "--routes"))
      n_routes = v;
    else if (!strcmp(argv[i], "--idle"))
      n_idle = v;
    else if (!strcmp(argv[i], "--size"))
      size = v;
    else if (!strcmp(argv[i], "--ms"))
      ms = v;
    else
      i = argc;
  }
  if (n_routes < 1 || n_routes > N_BUFFERS * N_SEGS ||
      n_routes + n_idle > MAX_ROUTES || size < 21 || size > 1400 ||
      argc % 2 == 0) {
    fprintf(stderr, "usage: bench_relay_micro [--routes N] [--idle N] "
                    "[--size 21..1400] [--ms N]\n");
    return 2;
  }
  for (int b = 0; b < N_BUFFERS; b++) {
    buffers[b] = malloc(N_SEGS * size);
    if (!buffers[b]) return 1;
  }
  char name[64];
  measure("run of 50 of one route", 1, 0);
  measure("run of 50, with rate limit", 1, UINT64_C(1) << 40);
  snprintf(name, sizeof(name), "%u interleaved routes", n_routes);
  measure(name, n_routes, 0);
  snprintf(name, sizeof(name), "%u interleaved, with rate limit", n_routes);
  measure(name, n_routes, UINT64_C(1) << 40);
  for (int b = 0; b < N_BUFFERS; b++) free(buffers[b]);
  return 0;
}
