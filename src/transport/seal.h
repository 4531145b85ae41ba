/* seal.h - opaque tokens that only we can read: resume tickets. AES-256-GCM
 * with a random 12-byte nonce, keyed per purpose out of the state key. A key
 * may seal 2^32 tokens (NIST SP 800-38D, 8.3).
 *
 *   nonce (12) | ciphertext | tag (16)
 */
#ifndef ZTNA_SEAL_H
#define ZTNA_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

enum {
  SEAL_KEY = 32,
  SEAL_HASH = 32,
  SEAL_OVERHEAD = 28, /* a token is so much longer than what is inside */
};

/* HKDF-SHA256 (RFC 5869) with the label as info: another label, another key. */
void seal_key_derive(uint8_t key[SEAL_KEY], const uint8_t state_key[SEAL_KEY],
                     const char *label);

/* aad is not inside but must be the same again; NULL when aad_len is 0. The
 * token's length, or ZTNA_ESIZE when room is less than len + SEAL_OVERHEAD. */
int seal(const uint8_t key[SEAL_KEY], const struct rng *rng, const void *plain,
         size_t len, const void *aad, size_t aad_len, uint8_t *out,
         size_t room);
/* The length inside; ZTNA_EMALFORMED for whatever was not sealed with this key
 * and aad, of which nothing is in out then; ZTNA_ESIZE. */
int unseal(const uint8_t key[SEAL_KEY], const void *token, size_t len,
           const void *aad, size_t aad_len, uint8_t *out, size_t room);

/* SHA-256. */
void seal_hash(uint8_t hash[SEAL_HASH], const void *bytes, size_t len);

#endif
