/* ip_flow.c - what a queue wants of a packet: its flow and its ECN bits, see
 * ip.h. On the path of every packet, so neither parses the whole of it. */
#include <string.h>

#include "base/map.h"
#include "codec/ip_wire.h"

enum { ECN_CE = 3 };

/* RFC 1624: the sum changes by the difference of one word. */
static void mend_sum4(uint8_t *pkt, uint16_t was, uint16_t is) {
  uint32_t sum = (uint16_t)~get16(pkt + 10);
  sum += (uint16_t)~was + (uint32_t)is;
  sum = (sum & UINT16_MAX) + (sum >> 16);
  sum = (sum & UINT16_MAX) + (sum >> 16);
  put16(pkt + 10, (uint16_t)~sum);
}

bool ip_mark_ce(uint8_t *pkt, size_t len) {
  if (len >= IP4_HEADER && pkt[0] >> 4 == 4) {
    if (!(pkt[1] & ECN_CE)) return false;
    uint16_t was = get16(pkt);
    pkt[1] |= ECN_CE;
    mend_sum4(pkt, was, get16(pkt));
    return true;
  }
  if (len >= IP6_HEADER && pkt[0] >> 4 == 6) {
    if (!(pkt[1] >> 4 & ECN_CE)) return false;
    pkt[1] |= ECN_CE << 4;
    return true;
  }
  return false;
}

/* Writes 4 bytes: both ports, an echo's identifier, or zeros. */
static void flow_ports(uint8_t *out, uint8_t proto, const uint8_t *t,
                       size_t len) {
  memset(out, 0, 4);
  if ((proto == IP_PROTO_UDP || proto == IP_PROTO_TCP) && len >= 4)
    memcpy(out, t, 4);
  else if ((proto == IP_PROTO_ICMP || proto == IP_PROTO_ICMPV6) && len >= 8 &&
           (t[0] == ICMP_ECHO_REQUEST || t[0] == ICMP_ECHO_REPLY ||
            t[0] == ICMP6_ECHO_REQUEST || t[0] == ICMP6_ECHO_REPLY))
    memcpy(out, t + 4, 2);
}

static uint32_t hash_of(const uint64_t key[2], const uint8_t *tuple,
                        size_t len) {
  uint64_t h = siphash(key, tuple, len);
  uint32_t folded = (uint32_t)(h ^ h >> 32);
  return folded ? folded : 1;
}

uint32_t ip_flow_hash(const uint8_t *pkt, size_t len, const uint64_t key[2]) {
  uint8_t tuple[32 + 4 + 1];
  if (len >= IP4_HEADER && pkt[0] >> 4 == 4) {
    size_t header = (size_t)(pkt[0] & 15) * 4;
    bool fragment = get16(pkt + 6) & 0x3fff; /* all of one go together */
    memcpy(tuple, pkt + 12, 8);
    tuple[8] = pkt[9];
    flow_ports(tuple + 9, pkt[9], pkt + header,
               fragment || header > len ? 0 : len - header);
    return hash_of(key, tuple, 8 + 1 + 4);
  }
  if (len >= IP6_HEADER && pkt[0] >> 4 == 6) {
    memcpy(tuple, pkt + 8, 32);
    tuple[32] = pkt[6];
    flow_ports(tuple + 33, pkt[6], pkt + IP6_HEADER, len - IP6_HEADER);
    return hash_of(key, tuple, sizeof(tuple));
  }
  return 0;
}
