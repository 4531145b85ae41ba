/* bench_blast.c - makes UDP load and counts what arrives; both end by
 * themselves.
 *
 *   bench_blast --to ADDR:PORT [--bind ADDR:PORT] [--size 1200] [--seconds 3]
 *               [--gso N | --lone] [--rate PACKETS/S] [--flows N]
 *               [--handle HEX]...
 *   bench_blast sink --listen ADDR:PORT [--seconds 10]
 *
 * Packets are valid QUIC short headers: 0x40, the handle, padding. Each send is
 * a GSO train of N packets (default: what fits) of one flow, or one packet
 * (--lone); flows take turns, each with a socket of its own, bound to
 * consecutive ports from --bind on. Flow i carries handle i, beginning anew
 * behind the last one; with more handles than flows (give --flows 1) each
 * packet of a train takes the next handle. The sink counts with UDP_GRO and
 * ends 1 s after the last packet, at SIGTERM, or after --seconds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/dgram.h"
#include "bench/bare.h"
#include "codec/handle.h"

enum { MAX_FLOWS = 1000, MAX_HANDLES = 1000, SINK_BATCH = 8 };

static struct blast {
  struct ztna_addr to, from;
  unsigned size, gso, n_flows, n_handles;
  double seconds, rate;
  uint8_t handles[MAX_HANDLES][HANDLE_LEN];
  int fds[MAX_FLOWS];
  struct sockaddr_storage ss;
  socklen_t ss_len;
} blast = {.size = 1200, .seconds = 3, .n_flows = 1};

static void usage(void) {
  bare_die("usage: bench_blast --to ADDR:PORT [--bind ADDR:PORT] [--size N] "
           "[--seconds N] [--gso N | --lone] [--rate N] [--flows N] "
           "[--handle HEX]...\n"
           "       bench_blast sink --listen ADDR:PORT [--seconds N]");
}

/* --- sink */

static int sink(const struct ztna_addr *at, double seconds) {
  bare_start(seconds);
  int fd = bare_socket(at, true);
  struct bare_batch *b = bare_batch_new(SINK_BATCH, BARE_ROOM);
  unsigned long long n = 0, n_bytes = 0, n_trains = 0;
  double first = 0, last = 0, cpu = bare_cpu();
  while (!bare_stop) {
    int k = bare_recv(fd, b);
    double now = bare_now();
    if (!k && n && now - last > 1) break;
    if (!k) continue;
    if (!n) first = now;
    last = now;
    n_trains += (unsigned)k;
    for (int i = 0; i < k; i++) {
      unsigned seg = bare_seg(b, i), len = b->v[i].msg_len;
      n += seg ? (len + seg - 1) / seg : 1;
      n_bytes += len;
    }
  }
  double took = last - first;
  printf("packets=%llu bytes=%llu trains=%llu seconds=%.3f pps=%.0f "
         "gbit=%.3f cpu=%.3f\n",
         n, n_bytes, n_trains, took, took > 0 ? (double)n / took : 0,
         took > 0 ? (double)n_bytes * 8 / took / 1e9 : 0, bare_cpu() - cpu);
  return 0;
}

/* --- blast */

static void add_handle(struct blast *b, const char *hex) {
  if (b->n_handles == MAX_HANDLES || strlen(hex) != 2 * HANDLE_LEN) usage();
  for (int i = 0; i < HANDLE_LEN; i++) {
    unsigned byte;
    if (sscanf(hex + 2 * i, "%2x", &byte) != 1) usage();
    b->handles[b->n_handles][i] = (uint8_t)byte;
  }
  b->n_handles++;
}

static void open_flows(struct blast *b) {
  for (unsigned i = 0; i < b->n_flows; i++) {
    struct ztna_addr at = b->from;
    if (!at.family) at.family = b->to.family; /* any address and port */
    if (at.port) at.port = (uint16_t)(at.port + i);
    b->fds[i] = bare_socket(&at, false);
  }
}

/* The packets of one send of flow i, beginning with the turn-th handle. */
static void fill_train(const struct blast *b, uint8_t *p, unsigned i,
                       unsigned turn) {
  for (unsigned s = 0; s < b->gso; s++, p += b->size) {
    unsigned h = b->n_handles > b->n_flows ? turn * b->gso + s : i;
    memcpy(p + 1, b->handles[h % b->n_handles], HANDLE_LEN);
  }
}

static void wait_for(double at) {
  double left;
  while (!bare_stop && (left = at - bare_now()) > 0) {
    if (left < 100e-6) continue; /* sleeping would be too long */
    struct timespec t = {.tv_nsec = (long)(left < 0.5 ? left * 0.9e9 : 5e8)};
    nanosleep(&t, NULL);
  }
}

static int blast_run(struct blast *b) {
  static uint8_t bytes[BARE_ROOM];
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(2)];
  unsigned long long n = 0, n_lost = 0;
  for (unsigned s = 0; s < b->gso; s++) bytes[s * b->size] = 0x40;
  struct iovec iov = {bytes, b->gso * b->size};
  struct mmsghdr m = {.msg_hdr = {.msg_name = &b->ss,
                                  .msg_namelen = b->ss_len,
                                  .msg_iov = &iov,
                                  .msg_iovlen = 1}};
  if (b->gso > 1) bare_set_gso(&m.msg_hdr, control, b->size);
  open_flows(b);
  bare_start(b->seconds);
  double began = bare_now(), cpu = bare_cpu();
  for (unsigned turn = 0; !bare_stop; turn++)
    for (unsigned i = 0; i < b->n_flows && !bare_stop; i++) {
      if (b->n_handles) fill_train(b, bytes, i, turn);
      if (b->rate > 0) wait_for(began + (double)n / b->rate);
      n_lost += b->gso * (unsigned)bare_send(b->fds[i], &m, 1);
      n += b->gso;
    }
  double took = bare_now() - began;
  printf("sent=%llu lost_sends=%llu seconds=%.3f pps=%.0f gbit=%.3f "
         "cpu=%.3f\n",
         n, n_lost, took, (double)n / took,
         (double)n * b->size * 8 / took / 1e9, bare_cpu() - cpu);
  return 0;
}

static unsigned number(const char *text, unsigned min, unsigned max) {
  char *end;
  unsigned long v = strtoul(text, &end, 10);
  if (*end || v < min || v > max)
    bare_die("want a number from %u to %u, got \"%s\"", min, max, text);
  return (unsigned)v;
}

int main(int argc, char **argv) {
  struct blast *b = &blast;
  int i = 1;
  bool is_sink = argc > 1 && !strcmp(argv[1], "sink");
  if (is_sink) {
    b->seconds = 10;
    i++;
  }
  for (; i < argc; i++) {
    const char *flag = argv[i];
    if (!strcmp(flag, "--lone")) {
      b->gso = 1;
      continue;
    }
    const char *value = argv[++i];
    if (!value) usage();
    if (!strcmp(flag, "--to"))
      b->to = bare_addr(value);
    else if (!strcmp(flag, "--bind"))
      b->from = bare_addr(value);
    else if (!strcmp(flag, "--listen"))
      b->from = bare_addr(value);
    else if (!strcmp(flag, "--size"))
      b->size = number(value, 21, 65000);
    else if (!strcmp(flag, "--seconds"))
      b->seconds = atof(value);
    else if (!strcmp(flag, "--gso"))
      b->gso = number(value, 1, DGRAM_MAX_SEGS);
    else if (!strcmp(flag, "--rate"))
      b->rate = number(value, 1, 100000000);
    else if (!strcmp(flag, "--flows"))
      b->n_flows = number(value, 1, MAX_FLOWS);
    else if (!strcmp(flag, "--handle"))
      add_handle(b, value);
    else
      usage();
  }
  if (is_sink && b->from.family) return sink(&b->from, b->seconds);
  if (is_sink || !b->to.family) usage();
  unsigned fit = DGRAM_MAX_BYTES / b->size;
  if (fit > DGRAM_MAX_SEGS) fit = DGRAM_MAX_SEGS;
  if (!b->gso || b->gso > fit) b->gso = fit;
  b->ss_len = (socklen_t)ztna_addr_to_sockaddr(&b->to, &b->ss);
  return blast_run(b);
}
