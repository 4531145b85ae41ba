/* hostile_flood.c - many packets a second, from whatever source address:
 *
 *   initials TO RATE SECONDS    first flights of handshakes that never go on,
 *                               each from another address of 10.66.0.0/16
 *   stun TO RATE SECONDS        binding requests, likewise
 *   spray DEV FROM TO AS RATE SECONDS
 *                               random bytes behind the connection IDs of
 *                               packets from FROM to TO that are seen on DEV,
 *                               sent to TO as if from AS
 *
 * The last line is: sent N in S s. */
#include "e2e/hostile.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/clock.h"
#include "transport/h3.h"

enum { TEMPLATES = 64, PACKET = 1472, CID = 12, IDS = 16 };

/* --- at a rate --- */

/* What is late is not made up for: a machine that is busy sends less. */
static long at_rate(int rate, int seconds, void (*one)(void *ctx, long nr),
                    void *ctx) {
  uint64_t began = clock_now(), until = began + (uint64_t)seconds * SEC, now;
  long n = 0;
  double may = 0;

  for (uint64_t last = began; (now = clock_now()) < until; last = now) {
    may += (double)(now - last) * rate / 1e9;
    if (may > rate / 50.0 + 1) may = rate / 50.0 + 1;
    for (; may >= 1; may--) one(ctx, n++);
    usleep(500);
  }
  printf("sent %ld in %.1f s\n", n, (double)(clock_now() - began) / 1e9);
  return n;
}

static struct ztna_addr nobody(long nr) {
  struct ztna_addr a = {.family = 4, .port = (uint16_t)(1024 + nr % 60000)};

  a.ip[0] = 10, a.ip[1] = 66;
  a.ip[2] = (uint8_t)(nr % 251);
  a.ip[3] = (uint8_t)(1 + nr / 251 % 250);
  return a;
}

/* --- first flights --- */

struct flood {
  int fd;
  struct ztna_addr to, as;
  int n; /* of packets */
  struct {
    size_t len;
    uint8_t data[PACKET];
  } packet[TEMPLATES];
};

/* A first Initial as a client of ours makes it. Two from one address differ. */
static void make_initial(struct flood *f) {
  struct quic *q = hostile_dial(&f->to);
  struct dgram g[8];

  if (quic_next(q, clock_now(), g, 8) > 0) {
    f->packet[f->n].len = g[0].seg;
    memcpy(f->packet[f->n++].data, g[0].data, g[0].seg);
  }
  quic_free(q);
}

static void send_one(void *ctx, long nr) {
  struct flood *f = ctx;
  struct ztna_addr from = nobody(nr);
  int i = (int)(nr % f->n);

  raw_send(f->fd, &from, &f->to, f->packet[i].data, f->packet[i].len);
}

int flood_initials(char **v) {
  static struct flood f;

  f.to = hostile_addr(v[0]);
  f.fd = raw_open();
  hostile.no_cert = true;
  hostile_prepare(NULL, 0, NULL, 0);
  while (f.n < TEMPLATES) make_initial(&f);
  at_rate(atoi(v[1]), atoi(v[2]), send_one, &f);
  return 0;
}

/* --- STUN --- */

int flood_stun(char **v) {
  static struct flood f = {.n = 1};

  f.to = hostile_addr(v[0]);
  f.fd = raw_open();
  f.packet[0].len = 20;
  memcpy(f.packet[0].data, "\0\1\0\0\x21\x12\xa4\x42", 8);
  rng_fill(&clock_rng, f.packet[0].data + 8, 12);
  at_rate(atoi(v[1]), atoi(v[2]), send_one, &f);
  return 0;
}

/* --- on real connection IDs --- */

struct spray {
  int tap, fd, n_ids;
  struct ztna_addr from, to, as;
  uint8_t id[IDS][CID];
};

static void learn(struct spray *s) {
  struct pollfd p = {.fd = s->tap, .events = POLLIN};
  uint8_t b[65536];

  while (poll(&p, 1, 0) > 0) {
    ssize_t n = recv(s->tap, b, sizeof(b), 0);
    struct ztna_addr from, at;
    size_t len;
    const uint8_t *data =
        n > 0 ? raw_payload(b, (size_t)n, &s->to, &from, &at, &len) : NULL;

    if (!data || len < 1 + CID || (data[0] & 0xc0) != 0x40) continue;
    if (!ztna_addr_equal(&from, &s->from)) continue;
    for (int i = 0;; i++) {
      if (i == s->n_ids && i < IDS) memcpy(s->id[s->n_ids++], data + 1, CID);
      if (i >= s->n_ids || !memcmp(s->id[i], data + 1, CID)) break;
    }
  }
}

static void spray_one(void *ctx, long nr) {
  struct spray *s = ctx;
  uint8_t b[PACKET];
  uint64_t r = rng_u64(&clock_rng);
  size_t len = 30 + r % (nr % 4 ? 300 : 1400);

  if (nr % 256 == 0) learn(s);
  if (!s->n_ids) return;
  rng_fill(&clock_rng, b, len);
  b[0] = 0x40 | (b[0] & 0x3f);
  memcpy(b + 1, s->id[(r >> 32) % (unsigned)s->n_ids], CID);
  raw_send(s->fd, &s->as, &s->to, b, len);
}

int flood_spray(char **v) {
  static struct spray s;
  uint64_t until = clock_now() + 3 * SEC;

  s.tap = raw_tap(v[0]);
  s.fd = raw_open();
  s.from = hostile_addr(v[1]);
  s.to = hostile_addr(v[2]);
  s.as = hostile_addr(v[3]);
  while (!s.n_ids && clock_now() < until) usleep(10000), learn(&s);
  at_rate(atoi(v[4]), atoi(v[5]), spray_one, &s);
  printf("ids %d\n", s.n_ids);
  return s.n_ids == 0;
}
