/* tcp_peer.h - the other end of a stack's connections, as little of a TCP as a
 * test wants: it says what it is told to, and reads what came out. */
#ifndef ZTNA_TEST_TCP_PEER_H
#define ZTNA_TEST_TCP_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ztna/addr.h>

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, MOST = 65535 };

struct tcp_peer {
  struct ztna_addr from, to; /* to: of the stack's side */
  uint32_t seq, ack;         /* of the next segment */
  uint16_t window;
};

/* One of many peers: 10.9.0.x or fd09::x and a port of its own, towards
 * 10.1.0.1 or fd01::1. */
struct tcp_peer tcp_peer_of(int family, uint32_t n, uint16_t port);

struct tcp_options {
  uint16_t mss;  /* 0: none */
  int16_t scale; /* -1: none */
};

/* A segment of p into b (MOST bytes); returns its length. */
size_t tcp_peer_build(const struct tcp_peer *p, uint8_t *b, uint8_t flags,
                      const struct tcp_options *o, const void *data,
                      size_t len);

/* A packet that came out, read; false: malformed, or its checksum is wrong.
 * partial: the checksum is to be that of the pseudo header. */
struct tcp_seen {
  struct ztna_addr from, to;
  uint32_t seq, ack;
  uint8_t flags;
  uint16_t window;
  struct tcp_options options;
  const uint8_t *data;
  size_t len;
};
bool tcp_peer_read(struct tcp_seen *seen, const uint8_t *pkt, size_t len,
                   bool partial);

#endif
