/* hash.c - see hash.h. */
#include "transport/hash.h"

#include <assert.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/sha256.h>

/* As in mac.c: it fails for wrong arguments only. */
static void must(int rc) {
  assert(rc == 0);
  if (rc != 0) __builtin_trap();
}

void hash_sha256(const void *data, size_t len, uint8_t out[HASH_LEN]) {
  wc_Sha256 h;

  assert(len <= UINT32_MAX);
  must(wc_InitSha256(&h));
  must(wc_Sha256Update(&h, data, (word32)len));
  must(wc_Sha256Final(&h, out));
  wc_Sha256Free(&h);
}
