/* tcp_load.c - many small questions: what a key stroke, a new connection or a
 * crowd of users sees, see tool_tcp.c. */
#include "tcp.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bare.h"

enum { THREADS_MAX = 1024 };

static struct {
  const char *to;
  double until;
  atomic_ulong done, failed;
  atomic_ullong bytes;
  atomic_int error; /* of the first that failed */
} load;

struct worker {
  pthread_t thread;
  unsigned seed;
  struct tcp_samples whole, connect;
};

static void load_failed(int error) {
  int none = 0;
  load.failed++;
  atomic_compare_exchange_strong(&load.error, &none, error ? error : EPROTO);
}

/* One byte there and back; 0 or an errno. */
static int ping_pong(int fd, char byte) {
  char back = (char)~byte;
  int rc = tcp_write(fd, &byte, 1);
  if (rc < 0) return -rc;
  ssize_t n = recv(fd, &back, 1, 0);
  if (n < 0) return errno;
  return n == 1 && back == byte ? 0 : EPROTO;
}

static void load_run(struct worker *w, int n, void *(*work)(void *)) {
  pthread_attr_t a;
  pthread_attr_init(&a);
  pthread_attr_setstacksize(&a, 256 * 1024);
  for (int i = 0; i < n; i++) {
    w[i].seed = (unsigned)i * 2654435761u + 1;
    if (pthread_create(&w[i].thread, &a, work, &w[i])) bare_die("no threads");
  }
  for (int i = 0; i < n; i++) {
    pthread_join(w[i].thread, NULL);
    if (!i) continue;
    tcp_merge(&w[0].whole, &w[i].whole);
    tcp_merge(&w[0].connect, &w[i].connect);
  }
}

static struct worker *load_new(int argc, char **argv, int *n) {
  *n = (int)tcp_option(argc, argv, "n", 1);
  if (*n < 1 || *n > THREADS_MAX) bare_die("n: 1 to %d", THREADS_MAX);
  load.to = argv[0];
  load.until = bare_now() + tcp_option(argc, argv, "seconds", 1);
  struct worker *w = calloc((size_t)*n, sizeof(*w));
  if (!w) bare_die("no memory");
  return w;
}

static int load_print(struct worker *w, double took) {
  printf("done=%lu rate=%.1f failed=%lu first_error=%s ", load.done,
         (double)load.done / took, load.failed, tcp_word(load.error));
  tcp_print(&w->whole, "");
  tcp_print(&w->connect, "connect_");
  printf("\n");
  free(w->whole.v);
  free(w->connect.v);
  return load.failed || !load.done ? 1 : 0;
}

/* --- rr: one connection, a byte every now and then */

int tcp_rr(int argc, char **argv) {
  struct worker w = {0};
  double gap = tcp_option(argc, argv, "gap_ms", 2) * 1e3, began = bare_now();
  load.until = began + tcp_option(argc, argv, "seconds", 1);
  prctl(PR_SET_TIMERSLACK, 1UL);
  int fd = tcp_dial(argv[0]), error = fd < 0 ? -fd : ping_pong(fd, 'a');
  for (int i = 0; !error && bare_now() < load.until; i++) {
    double at = bare_now();
    error = ping_pong(fd, (char)i);
    if (error) break;
    tcp_sample(&w.whole, bare_now() - at);
    load.done++;
    usleep((useconds_t)gap);
  }
  if (error) load_failed(error);
  return load_print(&w, bare_now() - began);
}

/* --- crr: connect, a byte, close */

static void *connect_again(void *arg) {
  struct worker *w = arg;
  while (bare_now() < load.until) {
    double at = bare_now();
    int fd = tcp_dial(load.to);
    double connected = bare_now();
    int error = fd < 0 ? -fd : ping_pong(fd, 'x');
    if (error) {
      load_failed(error);
      usleep(10000);
    } else {
      tcp_sample(&w->whole, bare_now() - at);
      tcp_sample(&w->connect, connected - at);
      load.done++;
    }
    if (fd >= 0) close(fd);
  }
  return NULL;
}

int tcp_crr(int argc, char **argv) {
  int n;
  struct worker *w = load_new(argc, argv, &n);
  double began = bare_now();
  load_run(w, n, connect_again);
  int code = load_print(w, bare_now() - began);
  free(w);
  return code;
}

/* --- many: users of an echo, some for a word, some for long */

/* `size` bytes of the stream, there and back. */
static int exchange(int fd, struct tcp_bytes *out, struct tcp_bytes *in,
                    size_t size) {
  static _Thread_local char room[16384];
  size_t got = 0;
  tcp_bytes_make(out, room, size);
  int rc = tcp_write(fd, room, size);
  if (rc < 0) return -rc;
  while (got < size) {
    ssize_t n = recv(fd, room, size - got, 0);
    if (n < 0) return errno;
    if (n == 0 || !tcp_bytes_came(in, room, (size_t)n)) return EPROTO;
    got += (size_t)n;
  }
  load.bytes += 2 * size;
  return 0;
}

static void *user(void *arg) {
  struct worker *w = arg;
  while (bare_now() < load.until) {
    double at = bare_now();
    int fd = tcp_dial(load.to), error = fd < 0 ? -fd : 0;
    /* two of three ask a little, the third stays for up to 10 s */
    int rounds = rand_r(&w->seed) % 3 ? 1 + rand_r(&w->seed) % 4
                                      : 10 + rand_r(&w->seed) % 90;
    struct tcp_bytes out = {.seed = w->seed}, in = {.seed = w->seed};
    if (!error) tcp_sample(&w->connect, bare_now() - at);
    for (int i = 0; i < rounds && !error && bare_now() < load.until; i++) {
      at = bare_now();
      error = exchange(fd, &out, &in, 1 + (size_t)rand_r(&w->seed) % 16384);
      if (error) break;
      tcp_sample(&w->whole, bare_now() - at);
      load.done++;
      if (rounds > 4) usleep((useconds_t)(rand_r(&w->seed) % 200) * 1000);
    }
    if (error) load_failed(error);
    if (error) usleep(100000);
    if (fd >= 0) close(fd);
  }
  return NULL;
}

int tcp_many(int argc, char **argv) {
  int n;
  struct worker *w = load_new(argc, argv, &n);
  double began = bare_now();
  load_run(w, n, user);
  printf("bytes=%llu ", load.bytes);
  int code = load_print(w, bare_now() - began);
  free(w);
  return code;
}
