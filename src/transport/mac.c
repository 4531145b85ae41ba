/* mac.c - see mac.h. */
#include "transport/mac.h"

#include <assert.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hmac.h>

/* wolfCrypt fails here only for wrong arguments, which would be our mistake: a
 * MAC that was not computed must not be compared or sent. */
static void must(int rc) {
  assert(rc == 0);
  if (rc != 0) __builtin_trap();
}

void mac_stun(enum stun_integrity kind, const uint8_t *key, size_t key_len,
              const uint8_t *data, size_t len, uint8_t *out) {
  Hmac h;

  assert(kind != STUN_NO_INTEGRITY && key_len <= UINT32_MAX);
  must(wc_HmacInit(&h, NULL, INVALID_DEVID));
  must(wc_HmacSetKey(&h, kind == STUN_HMAC_SHA1 ? WC_SHA : WC_SHA256, key,
                     (word32)key_len));
  must(wc_HmacUpdate(&h, data, (word32)len));
  must(wc_HmacFinal(&h, out));
  wc_HmacFree(&h); /* zeroises */
}
