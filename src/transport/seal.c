#include "transport/seal.h"

#include <assert.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/memory.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <ztna/err.h>

enum { NONCE = 12, TAG = 16 };
_Static_assert(NONCE + TAG == SEAL_OVERHEAD, "the header says so");

/* wolfCrypt fails here only for wrong arguments, which would be our mistake: no
 * caller should go on with half a key. */
static void must(int rc) {
  assert(rc == 0);
  if (rc != 0) __builtin_trap();
}

void seal_key_derive(uint8_t key[SEAL_KEY], const uint8_t state_key[SEAL_KEY],
                     const char *label) {
  must(wc_HKDF(WC_SHA256, state_key, SEAL_KEY, NULL, 0, (const byte *)label,
               (word32)strlen(label), key, SEAL_KEY));
}

int seal(const uint8_t key[SEAL_KEY], const struct rng *rng, const void *plain,
         size_t len, const void *aad, size_t aad_len, uint8_t *out,
         size_t room) {
  Aes aes;
  if (len > INT32_MAX - SEAL_OVERHEAD || aad_len > INT32_MAX) return ZTNA_ESIZE;
  if (room < len + SEAL_OVERHEAD) return ZTNA_ESIZE;
  rng_fill(rng, out, NONCE);
  must(wc_AesInit(&aes, NULL, INVALID_DEVID));
  must(wc_AesGcmSetKey(&aes, key, SEAL_KEY));
  must(wc_AesGcmEncrypt(&aes, out + NONCE, plain, (word32)len, out, NONCE,
                        out + NONCE + len, TAG, aad, (word32)aad_len));
  wc_AesFree(&aes); /* zeroises */
  return (int)(len + SEAL_OVERHEAD);
}

int unseal(const uint8_t key[SEAL_KEY], const void *token, size_t len,
           const void *aad, size_t aad_len, uint8_t *out, size_t room) {
  const uint8_t *nonce = token;
  Aes aes;
  if (len < SEAL_OVERHEAD || len > INT32_MAX || aad_len > INT32_MAX)
    return ZTNA_EMALFORMED;
  size_t inside = len - SEAL_OVERHEAD;
  if (room < inside) return ZTNA_ESIZE;
  must(wc_AesInit(&aes, NULL, INVALID_DEVID));
  must(wc_AesGcmSetKey(&aes, key, SEAL_KEY));
  int rc =
      wc_AesGcmDecrypt(&aes, out, nonce + NONCE, (word32)inside, nonce, NONCE,
                       nonce + NONCE + inside, TAG, aad, (word32)aad_len);
  wc_AesFree(&aes);
  if (rc == 0) return (int)inside;
  /* Some of wolfCrypt's variants write before they check the tag. */
  if (inside > 0) wc_ForceZero(out, inside);
  return ZTNA_EMALFORMED;
}

void seal_hash(uint8_t hash[SEAL_HASH], const void *bytes, size_t len) {
  assert(len <= UINT32_MAX);
  must(wc_Sha256Hash(bytes, (word32)len, hash));
}
