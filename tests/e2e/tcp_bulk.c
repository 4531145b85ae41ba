/* tcp_bulk.c - how fast, and what each process pays for it, see tool_tcp.c. */
#include "tcp.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/proc.h"

enum { STREAMS_MAX = 64, WHO_MAX = 8 };

static struct {
  const char *to;
  bool up;
  atomic_ullong bytes;
  atomic_bool stop;
  atomic_int error;
} bulk;

static void *stream(void *arg) {
  int fd = tcp_dial(bulk.to);
  char *room = calloc(1, TCP_ROOM);
  if (fd < 0) bulk.error = -fd;
  while (room && fd >= 0 && !bulk.stop) {
    ssize_t n = bulk.up ? send(fd, room, TCP_ROOM, MSG_NOSIGNAL)
                        : recv(fd, room, TCP_ROOM, 0);
    if (n <= 0) {
      if (!bulk.stop) bulk.error = n ? errno : EPIPE;
      break;
    }
    bulk.bytes += (unsigned long long)n;
  }
  if (fd >= 0) tcp_abort(fd);
  free(room);
  return NULL;
}

/* Seconds that all CPUs have worked: this includes senders, receivers, and the
 * kernel's work that belongs to no process. */
static double machine_cpu(void) {
  unsigned long long v[7] = {0}; /* user nice system idle iowait irq softirq */
  FILE *f = fopen("/proc/stat", "r");
  if (!f) return 0;
  int n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1],
                 &v[2], &v[3], &v[4], &v[5], &v[6]);
  fclose(f);
  if (n != 7) return 0;
  return (double)(v[0] + v[1] + v[2] + v[5] + v[6]) /
         (double)sysconf(_SC_CLK_TCK);
}

struct who {
  const char *name;
  int pid;
  double cpu;
};

/* NAME:PID among the arguments */
static int find_who(struct who *w, int argc, char **argv) {
  int n = 0;
  for (int i = 0; i < argc && n < WHO_MAX; i++) {
    char *colon = strchr(argv[i], ':');
    if (!colon || strchr(argv[i], '=')) continue;
    *colon = '\0';
    w[n++] = (struct who){.name = argv[i], .pid = atoi(colon + 1)};
  }
  return n;
}

static void print(const struct who *w, int n, double bytes, double took,
                  double machine) {
  double sum = 0;
  printf("speed_mbit=%.0f ", bytes * 8 / took / 1e6);
  for (int i = 0; i < n; i++) {
    printf("%s_per_gb=%.2f ", w[i].name, w[i].cpu / bytes * 1e9);
    sum += w[i].cpu;
  }
  if (n) printf("sum_per_gb=%.2f ", sum / bytes * 1e9);
  printf("machine_per_gb=%.2f\n", machine / bytes * 1e9);
}

int tcp_bulk(int argc, char **argv) {
  struct who w[WHO_MAX];
  pthread_t t[STREAMS_MAX];
  int streams = (int)tcp_option(argc, argv, "streams", 1);
  if (streams < 1 || streams > STREAMS_MAX)
    bare_die("streams: 1 to %d", STREAMS_MAX);
  bulk.up = !strcmp(argv[0], "up");
  bulk.to = argv[1];
  int n = find_who(w, argc - 2, argv + 2);
  for (int i = 0; i < streams; i++)
    if (pthread_create(&t[i], NULL, stream, NULL)) bare_die("no threads");
  usleep((useconds_t)(tcp_option(argc, argv, "warm", 0.5) * 1e6));
  double began = bare_now(), machine = -machine_cpu();
  unsigned long long bytes = bulk.bytes;
  for (int i = 0; i < n; i++) w[i].cpu = -proc_cpu(w[i].pid);
  usleep((useconds_t)(tcp_option(argc, argv, "seconds", 2) * 1e6));
  for (int i = 0; i < n; i++) w[i].cpu += proc_cpu(w[i].pid);
  bytes = bulk.bytes - bytes;
  machine += machine_cpu();
  double took = bare_now() - began;
  if (bulk.error || !bytes) bare_die("bulk: %s", tcp_word(bulk.error));
  print(w, n, (double)bytes, took, machine);
  fflush(stdout);
  _exit(0); /* the kernel resets what is under way */
}
