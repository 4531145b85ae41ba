/* policy_serial.h - the serial number of a certificate, as people write it and
 * as a certificate holds it. */
#ifndef ZTNA_POLICY_SERIAL_H
#define ZTNA_POLICY_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { POLICY_SERIAL_MAX = 32 }; /* RFC 5280 asks for 20 at most */

struct policy_serial {
  uint8_t bytes[POLICY_SERIAL_MAX]; /* without leading zeros */
  size_t len;                       /* 0: none */
};

/* Hexadecimal, 64 digits at most, in either case, with or without colons
 * between bytes: "5F:0a:91", "5f0a91". False, and none, for anything else. */
bool policy_serial_parse(struct policy_serial *s, const char *text);
/* Out of a certificate, big-endian; one that is too long is cut to none. */
struct policy_serial policy_serial_of(const uint8_t *bytes, size_t len);
/* None equals nothing, not even none. */
bool policy_serial_equal(const struct policy_serial *a,
                         const struct policy_serial *b);

#endif
