/* mac.h - HMAC by wolfSSL, as stun.h wants it. */
#ifndef ZTNA_MAC_H
#define ZTNA_MAC_H

#include "codec/stun.h"

/* A stun_mac_fn. Allocates nothing. */
void mac_stun(enum stun_integrity kind, const uint8_t *key, size_t key_len,
              const uint8_t *data, size_t len, uint8_t *out);

#endif
