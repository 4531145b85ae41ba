/* tool_revoke.c - on the agent's machine: how long is something still delivered
 * when a permission is taken back?
 *
 *   tool_revoke UDP-ECHO TCP-FLOOD HTTP KIND TRIALS WAY...
 *   WAY: NAME=FILE,REVOKED,ALLOWED
 *
 * A thousand echoes per second and a download run all the time. A trial waits
 * until both have come for 300 ms and the agent (HTTP) says that its link uses
 * a path of that KIND (relay, direct), puts a copy of REVOKED in the place of
 * FILE, and waits until nothing has come for 1.2 s; then ALLOWED is put there.
 * The ways to revoke take turns. A line per trial, "NAME udp_ms=N tcp_ms=N
 * back_ms=N": the last echo and the last byte of the download after FILE was
 * exchanged, and how long until both were back. Code 1: a trial could not
 * begin, or did not end within 10 s. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <ztna/addr.h>

#include "host/http_get.h"

enum {
  WAYS = 4,
  SILENT = 1200, /* ms */
  STEADY = 300,
  GIVE_UP = 10000,
  BACK = 20000
};

struct way {
  char *name, *file, *revoked, *allowed;
};

static struct {
  struct ztna_addr echo, flood, http;
  const char *kind;
  double next_look;
  int udp, tcp; /* tcp: -1 when there is none */
  bool connected;
  double next_echo, next_dial;
  double udp_at, tcp_at;     /* when the last came; ms */
  double udp_from, tcp_from; /* since when without a pause */
} now;

static double ms(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static socklen_t address(const struct ztna_addr *a,
                         struct sockaddr_storage *ss) {
  return (socklen_t)ztna_addr_to_sockaddr(a, ss);
}

static void dial(double t) {
  struct sockaddr_storage ss;
  socklen_t len = address(&now.flood, &ss);

  now.next_dial = t + 100;
  now.connected = false;
  now.tcp = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (connect(now.tcp, (struct sockaddr *)&ss, len) == 0 ||
      errno == EINPROGRESS)
    return;
  close(now.tcp);
  now.tcp = -1;
}

static void came(double *at, double *from, double t) {
  if (t - *at > 100) *from = t;
  *at = t;
}

static void take_udp(void) {
  char b[64];

  while (recv(now.udp, b, sizeof(b), MSG_DONTWAIT) >= 0)
    came(&now.udp_at, &now.udp_from, ms());
}

static void take_tcp(void) {
  static char b[1 << 18];
  ssize_t n = recv(now.tcp, b, sizeof(b), MSG_DONTWAIT);

  if (n > 0) {
    came(&now.tcp_at, &now.tcp_from, ms());
  } else if (n == 0 || errno != EAGAIN) {
    close(now.tcp);
    now.tcp = -1;
  }
}

static void say(void) {
  struct sockaddr_storage ss;
  socklen_t len = address(&now.echo, &ss);

  sendto(now.udp, "echo", 4, 0, (struct sockaddr *)&ss, len);
}

/* A connection that neither comes nor fails is given up. */
static void turn(void) {
  struct pollfd p[2] = {{.fd = now.udp, .events = POLLIN},
                        {.fd = now.tcp, .events = POLLIN}};
  double t = ms();

  if (t >= now.next_echo) {
    say();
    now.next_echo = t - now.next_echo > 10 ? t + 1 : now.next_echo + 1;
  }
  if (now.tcp >= 0 && t > now.next_dial + 1000 && t - now.tcp_at > 1000) {
    close(now.tcp);
    now.tcp = -1;
  }
  if (now.tcp < 0 && t >= now.next_dial) dial(t);
  poll(p, 2, 1);
  take_udp();
  if (now.tcp >= 0 && p[1].revents) take_tcp();
}

/* The path in use, as the agent says; asked every 100 ms at most. */
static bool is_of_kind(double t) {
  struct sbuf body;
  json_t *j = NULL, *p;
  bool is = false;
  size_t i;

  if (t < now.next_look) return false;
  now.next_look = t + 100;
  sbuf_init(&body, 0);
  if (http_get(&now.http, "/status", 1000, &body) == 200)
    j = json_loadb(body.s, body.len, 0, NULL);
  json_array_foreach(
      json_object_get(json_array_get(json_object_get(j, "links"), 0), "paths"),
      i, p) {
    const char *kind = json_string_value(json_object_get(p, "kind"));

    if (kind && json_is_true(json_object_get(p, "chosen")))
      is = !strcmp(kind, now.kind);
  }
  json_decref(j);
  sbuf_done(&body);
  return is;
}

static bool comes(void) {
  double t = ms();

  return t - now.udp_at < 50 && t - now.tcp_at < 50 &&
         t - now.udp_from > STEADY && t - now.tcp_from > STEADY;
}

static bool is_ready(void) { return comes() && is_of_kind(ms()); }

/* A copy beside it, renamed. */
static void put(const char *from, const char *to) {
  static char b[1 << 20];
  char beside[512];
  FILE *in = fopen(from, "r"), *out;
  size_t n = in ? fread(b, 1, sizeof(b), in) : 0;

  snprintf(beside, sizeof(beside), "%s.new", to);
  out = fopen(beside, "w");
  if (!n || !out || fwrite(b, 1, n, out) != n || fclose(out) ||
      rename(beside, to) < 0) {
    perror(from);
    exit(2);
  }
  fclose(in);
}

static bool until(bool (*is)(void)) {
  double began = ms();

  while (!is()) {
    if (ms() - began > BACK) return false;
    turn();
  }
  return true;
}

static double since(double at, double began) {
  return at > began ? at - began : 0;
}

static bool trial(struct way *w) {
  double began, last, udp, tcp;

  if (!until(is_ready)) return false;
  began = ms();
  put(w->revoked, w->file);
  do {
    turn();
    last = now.udp_at > now.tcp_at ? now.udp_at : now.tcp_at;
    if (ms() - began > GIVE_UP) return false;
  } while (ms() - last < SILENT || ms() - began < SILENT);
  udp = since(now.udp_at, began), tcp = since(now.tcp_at, began);
  began = ms();
  put(w->allowed, w->file);
  if (!until(comes)) return false;
  printf("%s udp_ms=%.0f tcp_ms=%.0f back_ms=%.0f\n", w->name, udp, tcp,
         ms() - began - STEADY);
  return true;
}

static bool read_way(struct way *w, char *arg) {
  w->name = strtok(arg, "=");
  w->file = strtok(NULL, ",");
  w->revoked = strtok(NULL, ",");
  w->allowed = strtok(NULL, ",");
  return w->allowed;
}

int main(int argc, char **argv) {
  static struct way ways[WAYS];
  int n_ways = argc - 6, n = argc > 5 ? atoi(argv[5]) : 0;
  bool ok = true;

  if (n_ways < 1 || n_ways > WAYS || ztna_addr_parse(&now.echo, argv[1]) < 0 ||
      ztna_addr_parse(&now.flood, argv[2]) < 0 ||
      ztna_addr_parse(&now.http, argv[3]) < 0)
    return fprintf(stderr, "see tool_revoke.c\n"), 2;
  for (int i = 0; i < n_ways; i++)
    if (!read_way(&ways[i], argv[6 + i])) return 2;
  now.kind = argv[4];
  setvbuf(stdout, NULL, _IOLBF, 0);
  now.udp = socket(now.echo.family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
  now.tcp = -1;
  for (int i = 0; i < n && ok; i++) ok = trial(&ways[i % n_ways]);
  if (!ok)
    printf("given up: udp %.0f, tcp %.0f ms ago\n", ms() - now.udp_at,
           ms() - now.tcp_at);
  return !ok;
}
