/* hostile_raw.c - packets from whatever source address, and what comes back:
 *
 *   garbage TO FROM N           random bytes, and bytes that begin like QUIC
 *                               or STUN
 *   mirror DEV FROM TO AS SECONDS  every packet from FROM to TO seen on DEV
 *                               again, as if from AS, whole and cut short;
 *                               port 0 is any, of AS the same as it had
 *   scan TO FROM PORT...        the usual questions of scanners, to each port;
 *                               how many answers */
#include "e2e/hostile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/clock.h"

static struct ztna_addr addr_of(const char *text) {
  struct ztna_addr a = {0};

  if (ztna_addr_parse(&a, text) == 0 && a.family == 4) return a;
  fprintf(stderr, "not an IPv4 address: %s\n", text);
  exit(2);
}

/* --- sending --- */

int raw_open(void) {
  int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);

  if (fd >= 0) return fd;
  perror("raw socket");
  exit(2);
}

void raw_send(int fd, const struct ztna_addr *from, const struct ztna_addr *to,
              const void *data, size_t len) {
  struct {
    struct iphdr ip;
    struct udphdr udp;
    uint8_t data[1472];
  } p = {.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP},
         .udp = {.source = htons(from->port), .dest = htons(to->port)}};
  struct sockaddr_in sin = {.sin_family = AF_INET};

  if (len > sizeof(p.data)) return;
  memcpy(&p.ip.saddr, from->ip, 4);
  memcpy(&p.ip.daddr, to->ip, 4);
  memcpy(&sin.sin_addr, to->ip, 4);
  p.udp.len = htons((uint16_t)(sizeof(p.udp) + len)); /* no checksum: IPv4 */
  memcpy(p.data, data, len);
  if (sendto(fd, &p, sizeof(p.ip) + sizeof(p.udp) + len, 0,
             (struct sockaddr *)&sin, sizeof(sin)) < 0)
    perror("send");
}

/* --- garbage --- */

/* Random, and then made to look like something, by turns. Returns its length.
 */
static size_t junk(uint8_t b[1472], int i) {
  static const uint8_t v1[] = {0, 0, 0, 1};
  uint64_t r = rng_u64(&clock_rng);
  size_t len = r % 1472;

  rng_fill(&clock_rng, b, 1472);
  switch (i % 8) {
  case 0: /* a short header */
    b[0] = 0x40 | (b[0] & 0x3f);
    break;
  case 1: /* Initial and its kin, of version 1 */
    b[0] |= 0xc0;
    memcpy(b + 1, v1, 4);
    b[5] = (uint8_t)(r >> 16) % 24;
    if (i % 3 == 0) len = 1200;
    break;
  case 2: /* another version */
    b[0] |= 0xc0;
    break;
  case 3: /* STUN */
    b[0] = 0, b[1] = 1, b[2] = 0, b[3] = 0;
    memcpy(b + 4, "\x21\x12\xa4\x42", 4);
    if (i % 3) len = 20;
    break;
  case 4: /* hardly anything */
    len %= 24;
    break;
  }
  return len;
}

int raw_garbage(int argc, char **argv) {
  struct ztna_addr to = addr_of(argv[0]), from = addr_of(argv[1]);
  int fd = raw_open(), n = atoi(argv[2]);
  uint8_t b[1472];

  for (int i = 0; i < n; i++) {
    size_t len = junk(b, i);

    raw_send(fd, &from, &to, b, len);
    if (i % 50 == 49) usleep(2000);
  }
  printf("sent %d\n", n);
  return 0;
}

/* --- mirror --- */

enum { SEEN = 65536 };
static uint64_t seen[SEEN];

/* True the first time: what we sent ourselves comes by here, too. */
static bool is_new(const uint8_t *p, size_t len) {
  uint64_t h = UINT64_C(14695981039346656037) + len;
  uint64_t *place;

  for (size_t i = 0; i < len; i++) h = (h ^ p[i]) * UINT64_C(1099511628211);
  place = &seen[h % SEEN];
  if (*place == h) return false;
  *place = h;
  return true;
}

int raw_tap(const char *dev) {
  struct sockaddr_ll ll = {.sll_family = AF_PACKET,
                           .sll_protocol = htons(ETH_P_ALL),
                           .sll_ifindex = (int)if_nametoindex(dev)};
  int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));

  if (fd >= 0 && bind(fd, (struct sockaddr *)&ll, sizeof(ll)) == 0) return fd;
  perror(dev);
  exit(2);
}

const uint8_t *raw_payload(const uint8_t *p, size_t n,
                           const struct ztna_addr *to, struct ztna_addr *from,
                           struct ztna_addr *at, size_t *len) {
  const struct iphdr *ip = (const void *)p;
  const struct udphdr *udp = (const void *)(p + 20);

  if (n < 28 || ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP)
    return NULL;
  if (memcmp(&ip->daddr, to->ip, 4)) return NULL;
  if (to->port && ntohs(udp->dest) != to->port) return NULL;
  *from = ztna_addr_v4(&ip->saddr, ntohs(udp->source));
  *at = ztna_addr_v4(&ip->daddr, ntohs(udp->dest));
  *len = n - 28;
  return p + 28;
}

int raw_mirror(int argc, char **argv) {
  struct ztna_addr only = addr_of(argv[1]), to = addr_of(argv[2]);
  struct ztna_addr as = addr_of(argv[3]), from, at;
  bool same_port = !as.port;
  uint64_t until = clock_now() + (uint64_t)atoi(argv[4]) * SEC;
  int tap = raw_tap(argv[0]), fd = raw_open(), n_sent = 0;
  struct pollfd p = {.fd = tap, .events = POLLIN};
  uint8_t b[65536];

  while (clock_now() < until) {
    ssize_t n = poll(&p, 1, 50) > 0 ? recv(tap, b, sizeof(b), 0) : 0;
    const uint8_t *data;
    size_t len, cut;

    if (n <= 0 || !(data = raw_payload(b, (size_t)n, &to, &from, &at, &len)))
      continue;
    if (!ztna_addr_same_ip(&from, &only)) continue;
    if (only.port && from.port != only.port) continue;
    if (!len || len > 1472 || !is_new(data, len)) continue;
    cut = rng_u64(&clock_rng) % len;
    is_new(data, cut);
    if (same_port) as.port = from.port;
    raw_send(fd, &as, &at, data, len);
    raw_send(fd, &as, &at, data, cut);
    n_sent += 2;
  }
  printf("sent %d\n", n_sent);
  return n_sent == 0;
}

/* --- scan --- */

/* What scanners send: nothing, a line, STUN, DNS, an Initial of version 1 (and
 * of one that asks for version negotiation), a short header. */
static size_t question(uint8_t b[1472], int i) {
  static const struct {
    const char *head;
    size_t n, len;
  } all[] = {
      {"", 0, 0},
      {"\r\n\r\n", 4, 4},
      {"\0\1\0\0\x21\x12\xa4\x42", 8, 20},
      {"\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", 19, 19},
      {"\xc3\0\0\0\1\x10", 6, 1200},
      {"\xc3\x1a\x2a\x3a\x4a\x10", 6, 1200},
      {"\xc3\0\0\0\0\x08", 6, 40},
      {"\x43", 1, 60},
      {"\x43", 1, 21},
      {"\xe3\0\0\0\1\x10", 6, 1200},
  };

  if (i >= (int)(sizeof(all) / sizeof(*all))) return SIZE_MAX;
  rng_fill(&clock_rng, b, 1472);
  memcpy(b, all[i].head, all[i].n);
  return all[i].len;
}

static void count_answers(int fd, int *n_answers, int *n_icmp) {
  uint64_t until = clock_now() + 300 * MS;
  struct pollfd p = {.fd = fd, .events = POLLIN};
  char b[2048];

  while (clock_now() < until) {
    if (poll(&p, 1, 20) <= 0) continue;
    if (recv(fd, b, sizeof(b), 0) >= 0)
      ++*n_answers;
    else if (errno == ECONNREFUSED)
      ++*n_icmp;
  }
}

int raw_scan(int argc, char **argv) {
  struct ztna_addr to = addr_of(argv[0]), from = addr_of(argv[1]);
  struct sockaddr_storage ss;
  uint8_t b[1472];

  for (int i = 2; i < argc; i++) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0), n_answers = 0, n_icmp = 0;
    size_t len = ztna_addr_to_sockaddr(&from, &ss), n;

    if (bind(fd, (struct sockaddr *)&ss, (socklen_t)len) < 0) return 2;
    to.port = (uint16_t)atoi(argv[i]);
    len = ztna_addr_to_sockaddr(&to, &ss);
    if (connect(fd, (struct sockaddr *)&ss, (socklen_t)len) < 0) return 2;
    for (int k = 0; (n = question(b, k)) != SIZE_MAX; k++)
      if (send(fd, b, n, 0) < 0 && errno == ECONNREFUSED) n_icmp++;
    count_answers(fd, &n_answers, &n_icmp);
    printf("port=%s answers=%d icmp=%d\n", argv[i], n_answers, n_icmp);
    close(fd);
  }
  return 0;
}
