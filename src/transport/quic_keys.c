/* quic_keys.c - small key contexts, which allocate nothing per packet. The
 * library keeps six EVP contexts of 1056 bytes per connection (two directions,
 * two header protections, the next key phase) and allocates twice for each
 * packet; here only the key is kept and one `Aes` per use is keyed again when
 * another connection comes: 34 ns (measured), against 6 KB for each of a
 * relay's idle control connections and 2 allocations per packet of a path.
 *
 * ngtcp2's crypto helper makes contexts deep inside itself, without saying for
 * whom. So its five functions that make and free them are wrapped by the linker
 * (--wrap, see Makefile), and while a lean connection is at work they make
 * small ones. Its callbacks know theirs. Ciphers other than AES-GCM keep the
 * stock context inside. */
#include "transport/quic_int.h"

#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/memory.h>

enum { TAG_LEN = 16, SAMPLE_LEN = 16 };

struct lean_key {
  void *stock; /* another cipher: the helper's own context */
  uint8_t len; /* of an AES key: 16 or 32 */
  uint8_t key[32];
};

/* One expanded key for each use, and whose it is. */
struct expanded {
  Aes aes;
  const struct lean_key *owner;
  bool ready;
};

static struct expanded sealing, opening, masking;
static bool lean; /* a lean connection is at work */

void quic_keys_lean(bool on) { lean = on; }

static void wipe(void *p, size_t len) {
  volatile uint8_t *v = p;
  while (len--) *v++ = 0;
}

/* --- making and freeing, in place of the helper's --- */

int __real_ngtcp2_crypto_aead_ctx_encrypt_init(ngtcp2_crypto_aead_ctx *c,
                                               const ngtcp2_crypto_aead *aead,
                                               const uint8_t *key, size_t n);
int __real_ngtcp2_crypto_aead_ctx_decrypt_init(ngtcp2_crypto_aead_ctx *c,
                                               const ngtcp2_crypto_aead *aead,
                                               const uint8_t *key, size_t n);
int __real_ngtcp2_crypto_cipher_ctx_encrypt_init(
    ngtcp2_crypto_cipher_ctx *c, const ngtcp2_crypto_cipher *cipher,
    const uint8_t *key);
void __real_ngtcp2_crypto_aead_ctx_free(ngtcp2_crypto_aead_ctx *c);
void __real_ngtcp2_crypto_cipher_ctx_free(ngtcp2_crypto_cipher_ctx *c);

int __wrap_ngtcp2_crypto_aead_ctx_encrypt_init(ngtcp2_crypto_aead_ctx *c,
                                               const ngtcp2_crypto_aead *aead,
                                               const uint8_t *key, size_t n);
int __wrap_ngtcp2_crypto_aead_ctx_decrypt_init(ngtcp2_crypto_aead_ctx *c,
                                               const ngtcp2_crypto_aead *aead,
                                               const uint8_t *key, size_t n);
int __wrap_ngtcp2_crypto_cipher_ctx_encrypt_init(
    ngtcp2_crypto_cipher_ctx *c, const ngtcp2_crypto_cipher *cipher,
    const uint8_t *key);
void __wrap_ngtcp2_crypto_aead_ctx_free(ngtcp2_crypto_aead_ctx *c);
void __wrap_ngtcp2_crypto_cipher_ctx_free(ngtcp2_crypto_cipher_ctx *c);

static struct lean_key *key_new(const uint8_t *key, size_t len) {
  struct lean_key *k = calloc(1, sizeof(*k));

  if (!k) return NULL;
  k->len = (uint8_t)len;
  memcpy(k->key, key, len);
  return k;
}

static size_t aes_len(const void *cipher) {
  if (cipher == wolfSSL_EVP_aes_128_gcm() ||
      cipher == wolfSSL_EVP_aes_128_ecb())
    return 16;
  return cipher == wolfSSL_EVP_aes_256_gcm() ||
                 cipher == wolfSSL_EVP_aes_256_ecb()
             ? 32
             : 0;
}

static int aead_init(ngtcp2_crypto_aead_ctx *c, const ngtcp2_crypto_aead *aead,
                     const uint8_t *key, size_t n,
                     int (*stock)(ngtcp2_crypto_aead_ctx *,
                                  const ngtcp2_crypto_aead *, const uint8_t *,
                                  size_t)) {
  struct lean_key *k;
  int rv = 0;

  if (!lean) return stock(c, aead, key, n);
  k = key_new(key, aes_len(aead->native_handle));
  if (!k) return -1;
  if (!k->len) {
    rv = stock(c, aead, key, n);
    k->stock = rv ? NULL : c->native_handle;
  }
  if (rv) {
    free(k);
    return rv;
  }
  c->native_handle = k;
  return 0;
}

int __wrap_ngtcp2_crypto_aead_ctx_encrypt_init(ngtcp2_crypto_aead_ctx *c,
                                               const ngtcp2_crypto_aead *aead,
                                               const uint8_t *key, size_t n) {
  return aead_init(c, aead, key, n, __real_ngtcp2_crypto_aead_ctx_encrypt_init);
}

int __wrap_ngtcp2_crypto_aead_ctx_decrypt_init(ngtcp2_crypto_aead_ctx *c,
                                               const ngtcp2_crypto_aead *aead,
                                               const uint8_t *key, size_t n) {
  return aead_init(c, aead, key, n, __real_ngtcp2_crypto_aead_ctx_decrypt_init);
}

int __wrap_ngtcp2_crypto_cipher_ctx_encrypt_init(
    ngtcp2_crypto_cipher_ctx *c, const ngtcp2_crypto_cipher *cipher,
    const uint8_t *key) {
  struct lean_key *k;

  if (!lean)
    return __real_ngtcp2_crypto_cipher_ctx_encrypt_init(c, cipher, key);
  k = key_new(key, aes_len(cipher->native_handle));
  if (!k) return -1;
  if (!k->len) {
    if (__real_ngtcp2_crypto_cipher_ctx_encrypt_init(c, cipher, key)) {
      free(k);
      return -1;
    }
    k->stock = c->native_handle;
  }
  c->native_handle = k;
  return 0;
}

static void forget(struct expanded *e, const struct lean_key *k) {
  if (e->owner != k) return;
  wc_AesFree(&e->aes);
  e->owner = NULL;
  e->ready = false;
}

static void *key_free(struct lean_key *k) {
  void *stock = k->stock;

  forget(&sealing, k);
  forget(&opening, k);
  forget(&masking, k);
  wipe(k, sizeof(*k));
  free(k);
  return stock;
}

void __wrap_ngtcp2_crypto_aead_ctx_free(ngtcp2_crypto_aead_ctx *c) {
  if (lean && c->native_handle) c->native_handle = key_free(c->native_handle);
  __real_ngtcp2_crypto_aead_ctx_free(c);
}

void __wrap_ngtcp2_crypto_cipher_ctx_free(ngtcp2_crypto_cipher_ctx *c) {
  if (lean && c->native_handle) c->native_handle = key_free(c->native_handle);
  __real_ngtcp2_crypto_cipher_ctx_free(c);
}

/* --- a lean connection's callbacks --- */

static Aes *expand(struct expanded *e, const struct lean_key *k, bool gcm) {
  int rv;

  if (e->owner == k) return &e->aes;
  if (!e->ready && wc_AesInit(&e->aes, NULL, INVALID_DEVID)) return NULL;
  e->ready = true;
  e->owner = NULL;
  rv = gcm ? wc_AesGcmSetKey(&e->aes, k->key, k->len)
           : wc_AesSetKeyDirect(&e->aes, k->key, k->len, NULL, AES_ENCRYPTION);
  if (rv) return NULL;
  e->owner = k;
  return &e->aes;
}

int quic_lean_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain,
                      size_t len, const uint8_t *nonce, size_t nonce_len,
                      const uint8_t *aad, size_t aad_len) {
  const struct lean_key *k = ctx->native_handle;
  ngtcp2_crypto_aead_ctx stock = {k->stock};
  Aes *aes;

  if (k->stock)
    return ngtcp2_crypto_encrypt_cb(dest, aead, &stock, plain, len, nonce,
                                    nonce_len, aad, aad_len);
  aes = expand(&sealing, k, true);
  return aes && wc_AesGcmEncrypt(aes, dest, plain, (word32)len, nonce,
                                 (word32)nonce_len, dest + len, TAG_LEN, aad,
                                 (word32)aad_len) == 0
             ? 0
             : NGTCP2_ERR_CALLBACK_FAILURE;
}

int quic_lean_decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *sealed,
                      size_t len, const uint8_t *nonce, size_t nonce_len,
                      const uint8_t *aad, size_t aad_len) {
  const struct lean_key *k = ctx->native_handle;
  ngtcp2_crypto_aead_ctx stock = {k->stock};
  Aes *aes;

  if (k->stock)
    return ngtcp2_crypto_decrypt_cb(dest, aead, &stock, sealed, len, nonce,
                                    nonce_len, aad, aad_len);
  if (len < TAG_LEN) return NGTCP2_ERR_DECRYPT;
  aes = expand(&opening, k, true);
  if (!aes) return NGTCP2_ERR_CALLBACK_FAILURE;
  return wc_AesGcmDecrypt(aes, dest, sealed, (word32)(len - TAG_LEN), nonce,
                          (word32)nonce_len, sealed + len - TAG_LEN, TAG_LEN,
                          aad, (word32)aad_len)
             ? NGTCP2_ERR_DECRYPT
             : 0;
}

int quic_lean_mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
                   const ngtcp2_crypto_cipher_ctx *ctx, const uint8_t *sample) {
  const struct lean_key *k = ctx->native_handle;
  ngtcp2_crypto_cipher_ctx stock = {k->stock};
  _Alignas(16) uint8_t block[SAMPLE_LEN]; /* else the library allocates one */
  Aes *aes;

  if (k->stock) return ngtcp2_crypto_hp_mask_cb(dest, hp, &stock, sample);
  aes = expand(&masking, k, false);
  memcpy(block, sample, sizeof(block));
  if (!aes || wc_AesEncryptDirect(aes, block, block))
    return NGTCP2_ERR_CALLBACK_FAILURE;
  memcpy(dest, block, NGTCP2_HP_MASKLEN);
  return 0;
}

void quic_lean_delete_aead(ngtcp2_conn *conn, ngtcp2_crypto_aead_ctx *ctx,
                           void *ud) {
  ngtcp2_crypto_aead_ctx stock = {0};

  if (ctx->native_handle) stock.native_handle = key_free(ctx->native_handle);
  __real_ngtcp2_crypto_aead_ctx_free(&stock);
}

void quic_lean_delete_cipher(ngtcp2_conn *conn, ngtcp2_crypto_cipher_ctx *ctx,
                             void *ud) {
  ngtcp2_crypto_cipher_ctx stock = {0};

  if (ctx->native_handle) stock.native_handle = key_free(ctx->native_handle);
  __real_ngtcp2_crypto_cipher_ctx_free(&stock);
}
