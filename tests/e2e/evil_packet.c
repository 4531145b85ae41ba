/* evil_packet.c - see evil_packet.h. */
#include "e2e/evil_packet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ip.h"

static struct ztna_addr address(const char *text, const char *port,
                                const struct ztna_addr own[2]) {
  struct ztna_addr a = own[0];

  if (!strcmp(text, "own6")) a = own[1];
  if (strncmp(text, "own", 3) && ztna_addr_parse(&a, text) < 0) {
    fprintf(stderr, "not an address: %s\n", text);
    exit(2);
  }
  a.port = (uint16_t)atoi(port);
  return a;
}

static size_t syn(uint8_t to[2048], const struct ztna_addr *a,
                  const struct ztna_addr *b) {
  uint8_t p[40] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, [32] = 0x50, [33] = 2};
  uint16_t sum;

  memcpy(p + 12, a->ip, 4);
  memcpy(p + 16, b->ip, 4);
  p[20] = (uint8_t)(a->port >> 8), p[21] = (uint8_t)a->port;
  p[22] = (uint8_t)(b->port >> 8), p[23] = (uint8_t)b->port;
  p[34] = 0xff;
  sum = ip_checksum_finish(ip_checksum_add(0, p, 20));
  p[10] = (uint8_t)(sum >> 8), p[11] = (uint8_t)sum;
  p[29] = 0;
  sum = ip_checksum_finish(
      ip_checksum_add(ip_checksum_add(6 + 20, p + 12, 8), p + 20, 20));
  p[36] = (uint8_t)(sum >> 8), p[37] = (uint8_t)sum;
  memcpy(to, p, sizeof(p));
  return sizeof(p);
}

size_t evil_packet(uint8_t to[2048], const char *text,
                   const struct ztna_addr own[2]) {
  char kind[16], src[64], sport[8], dst[64], dport[8];
  uint8_t data[64] = "evil", about[256];
  struct ztna_addr a, b;
  int n;

  if (sscanf(text, "%15[a-z]=%63[^,],%7[0-9],%63[^,],%7[0-9]", kind, src, sport,
             dst, dport) != 5) {
    fprintf(stderr, "want KIND=SRC,SPORT,DST,DPORT: %s\n", text);
    exit(2);
  }
  a = address(src, sport, own);
  b = address(dst, dport, own);
  if (!strcmp(kind, "syn")) return syn(to, &a, &b);
  if (!strcmp(kind, "ping") || !strcmp(kind, "pong"))
    n = ip_build_echo(to, 2048, &a, &b, !strcmp(kind, "pong"), 77, 1, data,
                      sizeof(data));
  else if (!strcmp(kind, "error")) {
    n = ip_build_udp(about, sizeof(about), &b, &a, 0, data, sizeof(data));
    n = ip_build_error(to, 2048, &a, IP_ERR_PORT, 0, about, (size_t)n);
  } else
    n = ip_build_udp(to, 2048, &a, &b, 0, data, sizeof(data));
  if (!strcmp(kind, "cut")) n -= 8;
  return (size_t)n;
}
