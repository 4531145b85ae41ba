/* bench_forward.c - forwards UDP with no thought at all: what the relay is
 * compared with. One thread, one way.
 *
 *   bench_forward gro|mmsg|plain --listen ADDR:PORT --to ADDR:PORT
 *                                [--seconds N]
 *
 * gro: recvmmsg with UDP_GRO in, GSO out, from the same bytes; mmsg: recvmmsg
 * and sendmmsg; plain: one recvmsg and one sendto per packet. Ends by SIGTERM
 * or after N seconds (60) and prints packets and CPU seconds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dgram.h"
#include "bench/bare.h"

enum { GRO_BATCH = 8, MAX_OUT = 64 };

static struct sockaddr_storage to;
static socklen_t to_len;
static unsigned long long n_packets, n_bytes, n_lost;

/* What waits to be sent, in input order. */
static struct {
  struct mmsghdr v[MAX_OUT];
  struct iovec iov[MAX_OUT];
  _Alignas(struct cmsghdr) char control[MAX_OUT][CMSG_SPACE(2)];
  int n;
} out;

static void flush(int fd) {
  n_lost += (unsigned)bare_send(fd, out.v, out.n);
  out.n = 0;
}

static void put(int fd, void *bytes, size_t len, unsigned seg) {
  if (out.n == MAX_OUT) flush(fd);
  int i = out.n++;
  out.iov[i] = (struct iovec){bytes, len};
  out.v[i].msg_hdr = (struct msghdr){.msg_name = &to,
                                     .msg_namelen = to_len,
                                     .msg_iov = &out.iov[i],
                                     .msg_iovlen = 1};
  if (seg < len) bare_set_gso(&out.v[i].msg_hdr, out.control[i], seg);
  n_packets += (len + seg - 1) / seg;
  n_bytes += len;
}

static void forward_batch(int fd, struct bare_batch *b) {
  int n = bare_recv(fd, b);
  for (int i = 0; i < n; i++) {
    unsigned char *p = b->iov[i].iov_base;
    size_t left = b->v[i].msg_len;
    if (!left) continue;
    unsigned seg = bare_seg(b, i), most = DGRAM_MAX_BYTES / seg;
    if (most > DGRAM_MAX_SEGS) most = DGRAM_MAX_SEGS;
    if (most == 0) most = 1;
    while (left) {
      size_t len = left < most * seg ? left : most * seg;
      put(fd, p, len, seg);
      p += len;
      left -= len;
    }
  }
  flush(fd);
}

static void forward_one(int fd, unsigned char *bytes) {
  struct sockaddr_storage from;
  struct iovec iov = {bytes, BARE_ROOM};
  struct msghdr m = {.msg_name = &from,
                     .msg_namelen = sizeof(from),
                     .msg_iov = &iov,
                     .msg_iovlen = 1};
  ssize_t len = recvmsg(fd, &m, 0);
  if (len < 0) return;
  n_packets++;
  n_bytes += (size_t)len;
  if (sendto(fd, bytes, (size_t)len, 0, (struct sockaddr *)&to, to_len) < 0)
    n_lost++;
}

static void usage(void) {
  bare_die("usage: bench_forward gro|mmsg|plain --listen ADDR:PORT "
           "--to ADDR:PORT [--seconds N]");
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  struct ztna_addr at = {0};
  double seconds = 60;
  for (int i = 2; i < argc; i += 2) {
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (!value) usage();
    if (!strcmp(argv[i], "--listen"))
      at = bare_addr(value);
    else if (!strcmp(argv[i], "--seconds"))
      seconds = atof(value);
    else if (!strcmp(argv[i], "--to")) {
      struct ztna_addr a = bare_addr(value);
      to_len = (socklen_t)ztna_addr_to_sockaddr(&a, &to);
    } else
      usage();
  }
  bool gro = !strcmp(mode, "gro"), plain = !strcmp(mode, "plain");
  if (!at.family || !to_len || !(gro || plain || !strcmp(mode, "mmsg")))
    usage();
  bare_start(seconds);
  int fd = bare_socket(&at, gro);
  struct bare_batch *b = gro ? bare_batch_new(GRO_BATCH, BARE_ROOM)
                             : bare_batch_new(BARE_BATCH, BARE_ROOM / 16);
  double cpu = bare_cpu();
  while (!bare_stop) plain ? forward_one(fd, b->bytes) : forward_batch(fd, b);
  cpu = bare_cpu() - cpu;
  printf("mode=%s packets=%llu bytes=%llu lost_sends=%llu cpu=%.3f "
         "us_per_packet=%.3f\n",
         mode, n_packets, n_bytes, n_lost, cpu,
         n_packets ? cpu * 1e6 / (double)n_packets : 0);
  return 0;
}
