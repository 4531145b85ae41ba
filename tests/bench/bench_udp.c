/* bench_udp.c - what a packet costs to send and to receive through host/udp,
 * and a flow to open, on loopback: CPU time of each side. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "host/backend.h"
#include "host/clock.h"
#include "host/udp.h"

enum { RUN_MS = 1000 };

static struct udp *tx, *rx;
static atomic_bool done;
static uint8_t bytes[1 << 17];

struct side {
  uint64_t cpu, packets, calls;
};

static uint64_t thread_cpu(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (uint64_t)t.tv_sec * SEC + (uint64_t)t.tv_nsec;
}

static void *receiver(void *arg) {
  struct side *s = arg;
  struct dgram v[UDP_BATCH];
  struct pollfd p = {.fd = udp_fd(rx, 0), .events = POLLIN};
  uint64_t start = thread_cpu();
  while (!done) {
    if (poll(&p, 1, 50) <= 0) continue;
    int n;
    while ((n = udp_recv_from(rx, 0, v, UDP_BATCH)) > 0) {
      s->calls++;
      for (int i = 0; i < n; i++)
        s->packets += (v[i].len + v[i].seg - 1) / v[i].seg;
      if (n < UDP_BATCH) break;
    }
  }
  s->cpu = thread_cpu() - start;
  return NULL;
}

/* merged: trains are offered as single packets. */
static void send_side(struct side *s, uint16_t seg, int count, int n_trains,
                      bool merged) {
  struct dgram v[64];
  struct ztna_addr to = udp_local(rx, 0), from = to;
  int n = 0;
  from.port = 0; /* with PKTINFO, as a relay sends */
  for (int i = 0; i < n_trains * (merged ? count : 1); i++)
    v[n++] = (struct dgram){.remote = to,
                            .local = from,
                            .data = bytes,
                            .seg = seg,
                            .len = (uint32_t)(merged ? seg : seg * count)};
  uint64_t start = thread_cpu(), end_at = clock_now() + RUN_MS * MS;
  while (clock_now() < end_at) {
    udp_send(tx, v, n);
    s->packets += (uint64_t)(n_trains * count);
    s->calls++;
  }
  s->cpu = thread_cpu() - start;
}

static void run(const char *what, uint16_t seg, int count, int n_trains,
                bool merged) {
  struct side in = {0}, out = {0};
  struct ztna_addr any, lo;
  pthread_t t;
  ztna_addr_parse(&any, "0.0.0.0:0");
  ztna_addr_parse(&lo, "127.0.0.1:0");
  tx = udp_new();
  rx = udp_new();
  if (udp_bind(tx, &any) < 0 || udp_bind(rx, &lo) < 0) return;
  done = false;
  pthread_create(&t, NULL, receiver, &in);
  send_side(&out, seg, count, n_trains, merged);
  done = true;
  pthread_join(t, NULL);
  if (!in.packets || !out.packets) {
    printf("udp %s: nothing arrived\n", what);
    return;
  }
  printf("udp %-28s send %5.0f ns/packet, receive %5.0f ns/packet, %.2f M/s\n",
         what, (double)out.cpu / (double)out.packets,
         (double)in.cpu / (double)in.packets,
         (double)in.packets / (RUN_MS * 1e3));
  udp_free(tx);
  udp_free(rx);
}

static void bench_backend(void) {
  enum { N = 512, ROUNDS = 40 };
  static const struct backend_events none;
  struct backend *b = backend_new(N, &none, NULL);
  struct ztna_addr to;
  ztna_addr_parse(&to, "127.0.0.1:9");
  uint64_t start = clock_now();
  for (int k = 0; k < ROUNDS; k++) {
    for (uint32_t i = 0; i < N; i++) backend_open(b, i, &to);
    for (uint32_t i = 0; i < N; i++) backend_close(b, i);
  }
  printf("backend open + close %.1f us\n",
         (double)(clock_now() - start) / (N * ROUNDS * 1e3));
  backend_free(b);
}

/* As a search of ports does: each its own socket, for one packet. */
static void bench_extra(void) {
  enum { N = 256, ROUNDS = 20 };
  struct ztna_addr any;
  ztna_addr_parse(&any, "0.0.0.0:0");
  tx = udp_new();
  if (!tx || udp_bind(tx, &any) < 0) return;
  struct dgram d = {.data = bytes, .seg = 100};
  ztna_addr_parse(&d.remote, "127.0.0.1:9");
  uint64_t start = clock_now();
  for (int k = 0; k < 2 * ROUNDS; k++) {
    d.len = k % 2 ? 0 : 100;
    for (d.sock = 1; d.sock <= N; d.sock++) udp_send(tx, &d, 1);
  }
  printf("udp extra socket: open, one packet, close %.1f us\n",
         (double)(clock_now() - start) / (N * ROUNDS * 1e3));
  udp_free(tx);
}

int main(void) {
  run("1200 x 1", 1200, 1, 1, false);
  run("1200 x 1, 32 a call", 1200, 1, 32, false);
  run("1200 x 16", 1200, 16, 1, false);
  run("1200 x 16 offered singly", 1200, 16, 1, true);
  run("1200 x 50", 1200, 50, 1, false);
  run("200 x 64", 200, 64, 1, false);
  bench_backend();
  bench_extra();
  return 0;
}
