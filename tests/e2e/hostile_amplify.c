/* hostile_amplify.c - what comes back to an address that has proved nothing:
 *
 *   amplify ADDR SECONDS    datagrams of many kinds, each from a port of its
 *                           own; NAME sent=BYTES received=BYTES, UDP payload,
 *                           of each after that time */
#include "e2e/hostile.h"

#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/clock.h"
#include "transport/h3.h"

enum { FULL = 1472, KINDS = 16 };

static struct kind {
  const char *name;
  int fd;
  size_t sent, received;
} kinds[KINDS];
static int n_kinds;
static struct ztna_addr relay;

static void begin(const char *name) {
  struct ztna_addr any = {.family = 4};
  struct sockaddr_storage ss;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&relay, &ss);
  struct kind *k = &kinds[n_kinds++];

  k->name = name;
  k->fd = hostile_socket(&any);
  if (connect(k->fd, (struct sockaddr *)&ss, len) < 0) exit(2);
}

static void say(const void *data, size_t len) {
  struct kind *k = &kinds[n_kinds - 1];

  if (send(k->fd, data, len, 0) == (ssize_t)len) k->sent += len;
}

/* A first flight of a client; packets of 1200 bytes. */
struct flight {
  int n;
  uint8_t p[8][FULL];
};

static struct flight flight(void) {
  struct flight f = {0};
  struct quic *q = hostile_dial(&relay);
  struct dgram g[8];
  int n = quic_next(q, clock_now(), g, 8);

  for (int i = 0; i < n; i++)
    for (uint32_t at = 0; at + 1200 <= g[i].len && f.n < 8; at += g[i].seg)
      memcpy(f.p[f.n++], g[i].data + at, 1200);
  quic_free(q);
  return f;
}

static void initials(void) {
  struct flight f = flight();

  begin("one_initial");
  say(f.p[0], 1200);
  f = flight();
  begin("a_whole_flight");
  for (int i = 0; i < f.n; i++) say(f.p[i], 1200);
  f = flight();
  begin("an_initial_said_again");
  for (int i = 0; i < 5; i++) say(f.p[0], 1200);
  f = flight();
  begin("a_padded_initial");
  say(f.p[0], FULL);
  /* Behind it a Handshake packet of random bytes for the same id. */
  f = flight();
  begin("a_coalesced_initial");
  memcpy(f.p[0] + 1200, f.p[0], 40);
  f.p[0][1200] = 0xe0;
  rng_fill(&clock_rng, f.p[0] + 1240, FULL - 1240);
  say(f.p[0], FULL);
  f = flight();
  begin("a_short_initial");
  say(f.p[0], 600);
  f = flight();
  begin("an_altered_initial");
  f.p[0][700] ^= 1;
  say(f.p[0], 1200);
}

static void others(void) {
  static const uint8_t v1[] = {0, 0, 0, 1}, grease[] = {0x1a, 0x2a, 0x3a, 0x4a};
  static const size_t lens[] = {21, 22, 43, 1200};
  uint8_t b[FULL];

  begin("other_versions");
  for (size_t i = 0; i < 4; i++) {
    rng_fill(&clock_rng, b, FULL);
    b[0] = 0xc3, b[5] = 16;
    memcpy(b + 1, i % 2 ? grease : (const uint8_t *)"\0\0\0", 4);
    say(b, i < 2 ? 1200 : 40);
  }
  for (size_t i = 0; i < 4; i++) {
    static const char *const names[] = {
        "a_short_header_of_21", "a_short_header_of_22", "a_short_header_of_43",
        "a_long_short_header"};

    rng_fill(&clock_rng, b, FULL);
    b[0] = 0x43;
    begin(names[i]);
    say(b, lens[i]);
  }
  begin("handshake_packets_of_nobody");
  rng_fill(&clock_rng, b, FULL);
  b[0] = 0xe3, b[5] = 16;
  memcpy(b + 1, v1, 4);
  say(b, 1200);
  say(b, 60);
}

int amplify(char **v) {
  uint8_t b[2048];
  ssize_t n;

  relay = hostile_addr(v[0]);
  hostile.no_cert = true;
  hostile_prepare(NULL, 0, NULL, 0);
  initials();
  others();
  sleep((unsigned)atoi(v[1]));
  for (int i = 0; i < n_kinds; i++) {
    while ((n = recv(kinds[i].fd, b, sizeof(b), MSG_DONTWAIT)) >= 0)
      kinds[i].received += (size_t)n;
    printf("%s sent=%zu received=%zu\n", kinds[i].name, kinds[i].sent,
           kinds[i].received);
  }
  return 0;
}
