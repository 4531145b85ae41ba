/* hostile_replay.c - first packets of a client, said again:
 *
 *   replay RELAY CERT KEY [SECONDS]
 *
 * A first flight said again a hundred times, from here and from elsewhere. Then
 * the second one, which holds the token of a Retry: from elsewhere, here
 * SECONDS later, and here at once. A line for each: what came back. */
#include "e2e/hostile.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/clock.h"
#include "transport/quic.h"

enum { FLIGHT_MAX = 8, AGAIN = 100 };

struct flight {
  size_t n, len[FLIGHT_MAX];
  uint8_t data[FLIGHT_MAX][1500];
};

static void flight_take(struct flight *f, struct quic *q) {
  struct dgram v[FLIGHT_MAX];

  f->n = 0;
  for (int k = 0, n = quic_next(q, clock_now(), v, FLIGHT_MAX); k < n; k++)
    for (uint32_t at = 0; at < v[k].len && f->n < FLIGHT_MAX; at += v[k].seg) {
      uint32_t left = v[k].len - at;

      f->len[f->n] = left < v[k].seg ? left : v[k].seg;
      memcpy(f->data[f->n], v[k].data + at, f->len[f->n]);
      f->n++;
    }
}

static size_t flight_send(const struct flight *f, int fd,
                          const struct ztna_addr *to) {
  struct sockaddr_storage ss;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(to, &ss);
  size_t sum = 0;

  for (size_t i = 0; i < f->n; i++, sum += f->len[i - 1])
    sendto(fd, f->data[i], f->len[i], 0, (struct sockaddr *)&ss, len);
  return sum;
}

/* What comes within half a second; q, when it is there, hears it. */
static void hear(const char *name, int fd, size_t sent, struct quic *q,
                 const struct ztna_addr *relay) {
  struct ztna_addr any = {.family = 4};
  struct pollfd p = {.fd = fd, .events = POLLIN};
  size_t bytes = 0, largest = 0;
  int n = 0, n_retry = 0;
  uint8_t b[2048];

  while (poll(&p, 1, 500) > 0) {
    ssize_t got = recv(fd, b, sizeof(b), 0);

    if (got <= 0) break;
    n++, bytes += (size_t)got;
    if ((size_t)got > largest) largest = (size_t)got;
    n_retry += (b[0] & 0xf0) == 0xf0;
    if (q) {
      quic_udp_in(q, clock_now(), relay, &any, 0, b, (size_t)got);
      break;
    }
  }
  printf("%s sent=%zu answers=%d retries=%d bytes=%zu largest=%zu times=%.2f\n",
         name, sent, n, n_retry, bytes, largest,
         sent ? (double)bytes / (double)sent : 0);
}

static struct quic *new_client(struct flight *f,
                               const struct ztna_addr *relay) {
  struct quic *q = hostile_dial(relay);

  flight_take(f, q);
  return q;
}

int replay(int argc, char **argv) {
  struct ztna_addr relay = hostile_addr(argv[0]), any = {.family = 4};
  int here = hostile_socket(&any), elsewhere = hostile_socket(&any);
  struct flight first, second;
  struct quic *q;
  size_t sent = 0;

  hostile_identity(argv[1], argv[2]);
  q = new_client(&first, &relay);
  for (int i = 0; i < AGAIN; i++) {
    sent += flight_send(&first, here, &relay);
    sent += flight_send(&first, elsewhere, &relay);
  }
  hear("initials-here", here, sent / 2, NULL, &relay);
  hear("initials-elsewhere", elsewhere, sent / 2, NULL, &relay);
  q = new_client(&first, &relay);
  hear("retry", here, flight_send(&first, here, &relay), q, &relay);
  flight_take(&second, q);
  hear("token-elsewhere", elsewhere, flight_send(&second, elsewhere, &relay),
       NULL, &relay);
  if (argc > 3) {
    sleep((unsigned)atoi(argv[3]));
    hear("token-late", here, flight_send(&second, here, &relay), NULL, &relay);
    q = new_client(&first, &relay);
    hear("retry", here, flight_send(&first, here, &relay), q, &relay);
    flight_take(&second, q);
  }
  hear("token-here", here, flight_send(&second, here, &relay), NULL, &relay);
  return 0;
}
