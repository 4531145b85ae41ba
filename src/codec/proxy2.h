/* proxy2.h - the PROXY protocol, version 2, as a connector says it to a backend
 * before the bytes of a flow ("The PROXY protocol", HAProxy, section 2.2): who
 * is there, although the connection comes from the connector.
 *
 *   12 bytes signature | 0x21 version 2, PROXY | 0x11 TCP over IPv4, 0x21 over
 *   IPv6 | u16 length of what follows | source address | destination address |
 *   u16 source port | u16 destination port | TLVs: u8 type | u16 length | bytes
 */
#ifndef ZTNA_PROXY2_H
#define ZTNA_PROXY2_H

#include <stddef.h>
#include <stdint.h>
#include <ztna/addr.h>

enum {
  PROXY2_UNIQUE_ID = 0x05, /* PP2_TYPE_UNIQUE_ID: the flow's id */
  PROXY2_IDENTITY = 0xe0,  /* PP2_TYPE_MIN_CUSTOM: the agent's SPIFFE ID */
};

struct proxy2 {
  struct ztna_addr src, dst; /* of one family, with ports */
  const uint8_t *unique;
  size_t unique_len; /* 0: not said; 128 at most (the specification's bound) */
  const char *identity;
};

/* Its length; ZTNA_ESIZE when room is too small. */
int proxy2_write(uint8_t *to, size_t room, const struct proxy2 *p);

#endif
