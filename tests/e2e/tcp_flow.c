/* tcp_flow.c - one connection: its bytes, its longest stall, and how it ends,
 * see tool_tcp.c. */
#include "tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bare.h"

struct transfer {
  struct tcp_bytes bytes;
  unsigned long long want;
  double began, moved_at, stall; /* seconds */
  unsigned nap;                  /* once, in the middle */
  bool right;
  int error;
};

static struct transfer transfer_of(int argc, char **argv) {
  return (struct transfer){
      .bytes.seed = (uint64_t)tcp_option(argc, argv, "seed", getpid()),
      .want = (unsigned long long)tcp_option(argc, argv, "bytes", 1e6),
      .nap = (unsigned)tcp_option(argc, argv, "nap", 0),
      .began = bare_now(),
      .moved_at = bare_now(),
      .right = true,
  };
}

static void moved(struct transfer *t) {
  double now = bare_now();
  if (now - t->moved_at > t->stall) t->stall = now - t->moved_at;
  t->moved_at = now;
}

/* The sleep is no stall, but what comes late after it is. */
static void nap_if_due(struct transfer *t) {
  if (!t->nap || t->bytes.at < t->want / 2) return;
  sleep(t->nap);
  t->nap = 0;
  t->moved_at = bare_now();
}

static int transfer_print(const struct transfer *t) {
  double took = bare_now() - t->began;
  bool whole = !t->error && t->right && t->bytes.at == t->want;
  printf("bytes=%llu seconds=%.2f mbit=%.1f stall_ms=%.0f hash=%016llx "
         "end=%s same=%s\n",
         (unsigned long long)t->bytes.at, took,
         (double)t->bytes.at * 8 / 1e6 / took, t->stall * 1e3,
         (unsigned long long)tcp_bytes_hash(&t->bytes), tcp_word(t->error),
         whole ? "yes" : "no");
  return whole ? 0 : 1;
}

static int dial_or_say(const char *to) {
  int fd = tcp_dial(to);
  if (fd >= 0) return fd;
  printf("bytes=0 end=connect-%s same=no\n", tcp_word(-fd));
  exit(1);
}

int tcp_get(int argc, char **argv) {
  static char room[TCP_ROOM];
  struct transfer t = transfer_of(argc, argv);
  ssize_t n;
  int fd = dial_or_say(argv[0]);
  int k = snprintf(room, sizeof(room), "%llu %llu\n", t.want,
                   (unsigned long long)t.bytes.seed);
  t.error = -tcp_write(fd, room, (size_t)k);
  while (!t.error && (n = recv(fd, room, sizeof(room), 0)) != 0) {
    if (n < 0) {
      t.error = errno;
      break;
    }
    t.right &= tcp_bytes_came(&t.bytes, room, (size_t)n);
    moved(&t);
    nap_if_due(&t);
  }
  moved(&t);
  return transfer_print(&t);
}

/* What the sink says that it got must be what was sent. */
static void compare_answer(struct transfer *t, int fd) {
  char got[160], want[160];
  size_t n = 0;
  ssize_t k = 0;
  while (n < sizeof(got) - 1 &&
         (k = recv(fd, got + n, sizeof(got) - 1 - n, 0)) > 0)
    n += (size_t)k;
  if (k < 0) t->error = errno;
  got[n] = '\0';
  snprintf(want, sizeof(want), "bytes=%llu hash=%016llx right=yes\n", t->want,
           (unsigned long long)tcp_bytes_hash(&t->bytes));
  t->right = !strcmp(got, want);
  if (!t->right) printf("# the sink said: %s\n", got);
}

int tcp_put(int argc, char **argv) {
  static char room[TCP_ROOM];
  struct transfer t = transfer_of(argc, argv);
  int fd = dial_or_say(argv[0]);
  int k =
      snprintf(room, sizeof(room), "%llu\n", (unsigned long long)t.bytes.seed);
  t.error = -tcp_write(fd, room, (size_t)k);
  while (!t.error && t.bytes.at < t.want) {
    unsigned long long left = t.want - t.bytes.at;
    size_t n = left < TCP_ROOM ? (size_t)left : TCP_ROOM;
    tcp_bytes_make(&t.bytes, room, n);
    t.error = -tcp_write(fd, room, n);
    moved(&t);
    nap_if_due(&t);
  }
  if (!t.error) {
    shutdown(fd, SHUT_WR);
    compare_answer(&t, fd);
    moved(&t);
  }
  return transfer_print(&t);
}

/* --- probe: all that a program can tell about a connection, in its order */

/* The answer of the whole other side, and how it ended. */
static void probe_read(int fd, bool gaps) {
  static char room[TCP_ROOM];
  struct tcp_bytes b = {.seed = 1};
  bool right = true;
  double last = bare_now();
  ssize_t n;
  while ((n = recv(fd, room, sizeof(room), 0)) > 0) {
    right &= tcp_bytes_came(&b, room, (size_t)n);
    if (gaps) printf("read=%zd after_s=%.0f\n", n, bare_now() - last);
    last = bare_now();
  }
  if (!gaps)
    printf("read=%llu right=%s\n", (unsigned long long)b.at,
           right ? "yes" : "no");
  printf("end=%s\n", n < 0 ? tcp_word(errno) : "eof");
}

static void probe_write(int fd, unsigned long long n) {
  static char room[TCP_ROOM];
  int error = 0;
  while (n && !error) {
    size_t k = n < TCP_ROOM ? (size_t)n : TCP_ROOM;
    error = -tcp_write(fd, room, k);
    n -= k;
  }
  printf("write=%s\n", tcp_word(error));
}

int tcp_probe(int argc, char **argv) {
  unsigned long long n = (unsigned long long)tcp_option(argc, argv, "send", 0);
  double began = bare_now();
  int fd = tcp_dial(argv[0]);
  printf("connect=%s\n", fd < 0 ? tcp_word(-fd) : "ok");
  if (tcp_option(argc, argv, "time", 0))
    printf("connect_ms=%.0f\n", (bare_now() - began) * 1e3);
  if (fd < 0) return 0;
  if (n) probe_write(fd, n);
  if (tcp_option(argc, argv, "shut", 0)) shutdown(fd, SHUT_WR);
  probe_read(fd, tcp_option(argc, argv, "gaps", 0));
  if (tcp_option(argc, argv, "after", 0)) { /* is anybody there still? */
    probe_write(fd, 1);
    usleep(500000);
    probe_write(fd, 1);
  }
  close(fd);
  return 0;
}
