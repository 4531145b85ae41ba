/* tool_direct.c - on the agent's machine: echoes through the tunnel, one every
 * 10 ms, and what `/status` says meanwhile. How long until the link is direct?
 *
 *   tool_direct ECHO HTTP LIMIT-MS [settle]
 *
 * The clock begins with the first echo that came back. It is direct when the
 * path in use is, and packets were counted on it in both directions and an echo
 * came back since. Then it says so in a line ("direct"); when it reads a line,
 * or after 3 s, forty echoes follow, whose packets can be counted, and it
 * ends with a line of name=value. Without a direct path the same ("relayed") at
 * the limit; with `settle` as soon as a round is over. Members of the status
 * that it does not know are passed over. */
#include <inttypes.h>
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
  EVERY = 10,
  MORE = 40,
  WAIT = 3000,
  LAST = 200,
  FIRST_WITHIN = 10000
}; /* ms */

struct watch {
  int fd;
  struct ztna_addr echo, http;
  int64_t limit;
  bool settle;
  uint64_t n_sent, n_got;   /* echoes since the first that came back */
  uint64_t last;            /* the last number sent before it came back */
  int64_t begun, direct_at; /* ms; -1: not yet */
  int64_t settled_at;       /* a round ended without a direct path */
  int64_t in, out;          /* packets of the path when it was seen first */
  uint64_t got_then;        /* echoes back until then */
  char remote[ZTNA_ADDR_STRLEN], state[32], why[64];
  int64_t took, rounds;
};

static int64_t now_ms(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- echoes --- */

static void echo_send(struct watch *w, uint64_t number) {
  struct sockaddr_storage ss;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&w->echo, &ss);

  sendto(w->fd, &number, sizeof(number), 0, (struct sockaddr *)&ss, len);
  if (w->begun >= 0)
    w->n_sent++;
  else
    w->last = number;
}

static void echo_take(struct watch *w) {
  uint64_t number;

  while (recv(w->fd, &number, sizeof(number), MSG_DONTWAIT) == sizeof(number)) {
    if (w->begun < 0) w->begun = now_ms();
    w->n_got += number > w->last;
  }
}

static void wait_until(struct watch *w, int64_t at) {
  int64_t left;

  while ((left = at - now_ms()) > 0) {
    poll(&(struct pollfd){.fd = w->fd, .events = POLLIN}, 1, (int)left);
    echo_take(w);
  }
}

/* --- status --- */

static void copy(char *to, size_t room, const json_t *j) {
  if (!json_is_string(j)) return;
  snprintf(to, room, "%s", json_string_value(j));
  for (; *to; to++)
    if (*to == ' ') *to = '_';
}

static int64_t count_of(const json_t *path, const char *a, const char *b) {
  json_t *j = json_object_get(path, a);

  return json_integer_value(j ? j : json_object_get(path, b));
}

/* The first sight of a direct path in use, and packets both ways later. */
static void look_at_path(struct watch *w, const json_t *path) {
  int64_t in = count_of(path, "packets_in", "received");
  int64_t out = count_of(path, "packets_out", "sent");

  if (w->in < 0) {
    w->in = in;
    w->out = out;
    w->got_then = w->n_got;
    copy(w->remote, sizeof(w->remote), json_object_get(path, "remote"));
  } else if (w->direct_at < 0 && in > w->in && out > w->out &&
             w->n_got > w->got_then) {
    w->direct_at = now_ms();
  }
}

static void look_at_search(struct watch *w, const json_t *d) {
  copy(w->state, sizeof(w->state), json_object_get(d, "state"));
  copy(w->why, sizeof(w->why), json_object_get(d, "why"));
  if (json_is_number(json_object_get(d, "took_ms")))
    w->took = (int64_t)json_number_value(json_object_get(d, "took_ms"));
  w->rounds = json_integer_value(json_object_get(d, "rounds"));
  if (w->settled_at < 0 && w->rounds > 0 && !strcmp(w->state, "waiting"))
    w->settled_at = now_ms();
}

static void look_at(struct watch *w, const json_t *link) {
  const char *kind;
  json_t *path;
  size_t i;

  look_at_search(w, json_object_get(link, "direct"));
  json_array_foreach(json_object_get(link, "paths"), i, path) {
    if (!json_is_true(json_object_get(path, "chosen"))) continue;
    kind = json_string_value(json_object_get(path, "kind"));
    if (kind && !strcmp(kind, "direct"))
      look_at_path(w, path);
    else
      w->in = -1; /* it was given up again: from the beginning */
  }
}

static void look(struct watch *w) {
  struct sbuf body;
  json_t *j = NULL;

  sbuf_init(&body, 0);
  if (http_get(&w->http, "/status", 1000, &body) == 200)
    j = json_loadb(body.s, body.len, 0, NULL);
  if (j) look_at(w, json_array_get(json_object_get(j, "links"), 0));
  json_decref(j);
  sbuf_done(&body);
}

/* --- the run --- */

static bool is_over(const struct watch *w, int64_t began) {
  if (w->begun < 0) return now_ms() - began > FIRST_WITHIN;
  if (w->direct_at >= 0 || now_ms() - w->begun > w->limit) return true;
  return w->settle && w->settled_at >= 0;
}

/* Somebody has counted what went before. */
static bool may_end(int64_t told_at) {
  return poll(&(struct pollfd){.fd = 0, .events = POLLIN}, 1, 0) > 0 ||
         now_ms() - told_at > WAIT;
}

/* What was late is not made up for: a burst measures queues. */
static int64_t next_time(int64_t last) {
  int64_t now = now_ms();

  return last + EVERY < now ? now : last + EVERY;
}

static void run(struct watch *w) {
  int64_t began = now_ms(), next = began, told_at = -1;
  int n_more = -1;

  for (uint64_t i = 1; n_more; i++) {
    echo_send(w, i);
    if (n_more > 0) n_more--;
    if (w->begun >= 0 && told_at < 0) look(w);
    if (told_at < 0 && is_over(w, began)) {
      told_at = now_ms();
      printf("%s\n", w->direct_at >= 0 ? "direct" : "relayed");
      fflush(stdout);
    }
    if (n_more < 0 && told_at >= 0 && may_end(told_at)) n_more = MORE;
    wait_until(w, next = next_time(next));
  }
  wait_until(w, now_ms() + LAST);
  look(w);
}

static int64_t since(const struct watch *w, int64_t at) {
  return at < 0 ? -1 : at - w->begun;
}

/* "-" stands for nothing, so that words can be counted. */
static const char *word(const char *s) { return *s ? s : "-"; }

static void report(const struct watch *w) {
  const char *result = w->direct_at >= 0 ? "direct" : "relayed";

  printf("result=%s ms=%" PRId64 " settled_ms=%" PRId64 " took_ms=%" PRId64
         " rounds=%" PRId64 " state=%s why=%s remote=%s sent=%" PRIu64
         " lost=%" PRId64 "\n",
         w->begun < 0 ? "none" : result, since(w, w->direct_at),
         since(w, w->settled_at), w->took, w->rounds, word(w->state),
         word(w->why), word(w->remote), w->n_sent,
         (int64_t)(w->n_sent - w->n_got));
}

int main(int argc, char **argv) {
  struct watch w = {
      .begun = -1, .direct_at = -1, .settled_at = -1, .in = -1, .took = -1};

  if (argc < 4 || ztna_addr_parse(&w.echo, argv[1]) < 0 ||
      ztna_addr_parse(&w.http, argv[2]) < 0) {
    fprintf(stderr, "tool_direct: ECHO HTTP LIMIT-MS [settle]\n");
    return 2;
  }
  w.limit = atoi(argv[3]);
  w.settle = argc > 4;
  w.fd = socket(w.echo.family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
  if (w.fd < 0) return 2;
  run(&w);
  report(&w);
  return w.begun < 0;
}
