/* hostile_h3.c - HTTP/3 clients with good certificates and bad manners:
 *
 *   manners HOW ADDR CONNECTIONS SECONDS CERT KEY [CERT KEY]...
 *     slow    as many streams as allowed, a byte of a request each half second
 *     unread  as many requests for long answers, of which nothing is taken
 *     reset   requests that are reset at once, as fast as streams are allowed
 *     ping    packets that ask for an answer, without end
 *     mute    nothing
 *
 * Connections take the identities by turns; one that ends is made again. The
 * last line is: began N ready N ended N streams N, and why the last one was. */
#include "e2e/hostile.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "host/clock.h"
#include "transport/h3.h"

enum { STREAMS = 64, MAX = 64 };

struct stream {
  int64_t id;
  const uint8_t *data;
  size_t len, sent;
  bool fin, blocked;
};

struct bad {
  struct quic_conn *c; /* NULL: none */
  void *who;
  bool ready;
  uint64_t again_at;
  struct stream stream[STREAMS];
  int n; /* slots in use */
};

static struct {
  const char *how;
  struct quic *q;
  struct ztna_addr to;
  int fd;
  struct bad bad[MAX];
  int n;
  long n_began, n_ready, n_ended, n_streams;
  enum reason why;
} all;

static bool how(const char *name) { return !strcmp(all.how, name); }

/* A head without end: fields of 47 bytes each. */
static const uint8_t endless[64] = {0x01, 0x40, 0x80, 0, 0, [5 ... 63] = 0xdd};
static const uint8_t services[] =
    "\x01\x15\0\0\xd1\xd7\x50\1r\x51\x0c/v1/services";
static const uint8_t events[] = "\x01\x13\0\0\xd1\xd7\x50\1r\x51\x0a/v1/events";

/* --- streams --- */

static void begin_streams(struct bad *b) {
  int64_t id;

  if (how("ping") || how("mute")) return;
  while (b->n < STREAMS && quic_stream_open(b->c, true, &id) == 0) {
    struct stream *s = &b->stream[b->n++];
    bool list = b->n % 8;

    *s = (struct stream){.id = id, .fin = true};
    s->data = how("slow") ? endless : list ? services : events;
    s->len = how("slow") ? 4 + (size_t)b->n % 3
             : list      ? sizeof(services) - 1
                         : sizeof(events) - 1;
    if (how("slow")) s->fin = false;
    all.n_streams++;
  }
  quic_wake(b->c);
}

static struct stream *find(struct bad *b, int64_t id) {
  for (int i = 0; i < b->n; i++)
    if (b->stream[i].id == id) return &b->stream[i];
  return NULL;
}

static int stream_out(struct quic_conn *c, void *ud, int64_t *id, bool *fin,
                      struct quic_vec *v, size_t n) {
  struct bad *b = ud;

  *id = -1;
  for (int i = 0; i < b->n; i++) {
    struct stream *s = &b->stream[i];

    if (s->blocked || s->sent >= s->len) continue;
    *id = s->id;
    *fin = s->fin;
    v[0] = (struct quic_vec){(uint8_t *)s->data + s->sent, s->len - s->sent};
    return 1;
  }
  return 0;
}

static void stream_sent(struct quic_conn *c, void *ud, int64_t id, size_t n) {
  struct stream *s = find(ud, id);

  if (s) s->sent += n;
}

static void stream_over(struct quic_conn *c, void *ud, int64_t id) {
  struct stream *s = find(ud, id);

  if (s) s->blocked = true;
}

static void on_room(struct quic_conn *c, void *ud, int64_t id) {
  struct stream *s = find(ud, id);

  if (s) s->blocked = false;
}

static void on_close(struct quic_conn *c, void *ud, int64_t id, bool has_error,
                     uint64_t app_error) {
  struct bad *b = ud;
  struct stream *s = find(b, id);

  if (s) *s = b->stream[--b->n];
}

/* Taken by nobody: no credit is given. */
static int on_data(struct quic_conn *c, void *ud, int64_t id,
                   const uint8_t *data, size_t len, bool fin) {
  return 0;
}

/* --- connections --- */

static int on_ready(struct quic_conn *c, void *ud,
                    const struct identity *peer) {
  ((struct bad *)ud)->ready = true;
  all.n_ready++;
  return 0;
}

static void on_end(struct quic_conn *c, void *ud, const struct quic_end *why) {
  struct bad *b = ud;

  b->c = NULL;
  b->ready = false;
  b->n = 0;
  b->again_at = clock_now() + 50 * MS;
  all.n_ended++;
  all.why = why->reason;
}

static const struct quic_ops ops = {.alpn = "h3",
                                    .on_ready = on_ready,
                                    .on_end = on_end,
                                    .on_stream_data = on_data,
                                    .on_stream_close = on_close,
                                    .on_stream_room = on_room,
                                    .stream_out = stream_out,
                                    .stream_sent = stream_sent,
                                    .stream_blocked = stream_over,
                                    .stream_shut = stream_over};

static void dial(struct bad *b) {
  struct quic_dial d = {
      .remote = all.to, .ops = &ops, .ud = b, .params = h3_params(false)};

  if (how("unread")) d.params.stream_window = d.params.conn_window = 4096;
  hostile_be(b->who);
  b->c = quic_dial(all.q, &d, clock_now());
  all.n_began++;
}

/* What each does all the time. */
static void act(struct bad *b, bool drip) {
  if (!b->c && clock_now() >= b->again_at) dial(b);
  if (!b->ready || !b->c) return;
  begin_streams(b);
  for (int i = 0; i < b->n; i++) {
    struct stream *s = &b->stream[i];

    if (how("slow") && drip && s->len < sizeof(endless)) s->len++;
    if (how("reset") && s->sent >= s->len)
      quic_stream_reset(b->c, s->id, 0x10c);
  }
  if (how("ping")) quic_ping(b->c, clock_now());
  if (how("reset") || drip) quic_wake(b->c);
}

/* --- the socket --- */

static void drain(void) {
  struct sockaddr_storage ss;
  struct dgram v[64];
  int n = quic_next(all.q, clock_now(), v, 64);

  for (int i = 0; i < n; i++)
    for (uint32_t at = 0; at < v[i].len; at += v[i].seg) {
      uint32_t left = v[i].len - at;
      size_t len = ztna_addr_to_sockaddr(&v[i].remote, &ss);

      sendto(all.fd, v[i].data + at, left < v[i].seg ? left : v[i].seg, 0,
             (struct sockaddr *)&ss, (socklen_t)len);
    }
}

static void take(void) {
  struct ztna_addr any = {.family = 4};
  struct pollfd p = {.fd = all.fd, .events = POLLIN};
  uint8_t buf[2048];

  for (int wait = 1; poll(&p, 1, wait) > 0; wait = 0) {
    ssize_t n = recv(all.fd, buf, sizeof(buf), 0);

    if (n > 0)
      quic_udp_in(all.q, clock_now(), &all.to, &any, 0, buf, (size_t)n);
  }
}

int manners(int argc, char **argv) {
  struct ztna_addr any = {.family = 4};
  struct quic_config cfg = {.rng = &clock_rng};
  uint64_t until = clock_now() + (uint64_t)atoi(argv[3]) * SEC, drip_at = 0;
  int n_ids = (argc - 4) / 2;

  all.how = argv[0];
  all.to = hostile_addr(argv[1]);
  all.n = atoi(argv[2]) < MAX ? atoi(argv[2]) : MAX;
  all.fd = hostile_socket(&any);
  all.q = quic_new(&cfg);
  for (int i = 0; i < n_ids; i++) {
    hostile_identity(argv[4 + 2 * i], argv[5 + 2 * i]);
    for (int k = i; k < all.n; k += n_ids) all.bad[k].who = hostile_who();
  }
  while (clock_now() < until) {
    bool drip = clock_now() >= drip_at;

    if (drip) drip_at = clock_now() + 500 * MS;
    for (int i = 0; i < all.n; i++) act(&all.bad[i], drip);
    drain();
    take();
    quic_tick(all.q, clock_now());
  }
  printf("began %ld ready %ld ended %ld streams %ld packets %llu last=%s\n",
         all.n_began, all.n_ready, all.n_ended, all.n_streams,
         (unsigned long long)quic_stats(all.q)->n_out, reason_name(all.why));
  return 0;
}
