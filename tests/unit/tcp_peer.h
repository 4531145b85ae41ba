/* tcp_peer.h - the other end of a stack's connections, as little of a TCP as a
 * test wants: it says what it is told to, and reads what came out. */
#ifndef ZTNA_TEST_TCP_PEER_H
#define ZTNA_TEST_TCP_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, MOST = 65535 };

struct tcp_peer {
  int family; /* 4 or 6; ends are 10.9.0.x and 10.1.0.1, or fd09::x and fd01::1
                 where x grows with every 60000 ports */
  uint32_t n; /* which peer: its address and port */
  uint16_t port;     /* of the stack's side */
  uint32_t seq, ack; /* of the next segment */
  uint16_t window;
};

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
  int family;
  uint16_t from, to; /* ports */
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
