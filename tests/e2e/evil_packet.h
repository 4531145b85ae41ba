/* evil_packet.h - inner packets that nobody should send, from a line of text.
 */
#ifndef ZTNA_TESTS_EVIL_PACKET_H
#define ZTNA_TESTS_EVIL_PACKET_H

#include <ztna/addr.h>

/* KIND=SRC,SPORT,DST,DPORT; KIND: udp, syn, ping (echo request), pong (echo
 * reply), error (about a UDP packet from DST that was never sent), or cut (a
 * UDP packet that is shorter than it says). SRC, DST: addresses or "own".
 * Returns the length; ends the process when the text is wrong. */
size_t evil_packet(uint8_t to[2048], const char *text,
                   const struct ztna_addr own[2]);

#endif
