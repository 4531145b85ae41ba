/* hostile_mitm.c - somebody on the way, who opens the first packets of a client
 * (their keys follow from what is in clear: RFC 9001, 5.2) and seals them
 * again:
 *
 *   mitm LISTEN RELAY keep|strip
 *
 * keep: as they were; strip: without X25519MLKEM768 among the client's groups.
 * One client at a time. */
#include "e2e/hostile.h"

#include <ngtcp2/ngtcp2_crypto.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ngtcp2's crypto/shared.h */
ngtcp2_crypto_ctx *ngtcp2_crypto_ctx_initial(ngtcp2_crypto_ctx *ctx);
int ngtcp2_crypto_cipher_ctx_encrypt_init(ngtcp2_crypto_cipher_ctx *ctx,
                                          const ngtcp2_crypto_cipher *cipher,
                                          const uint8_t *key);
int ngtcp2_crypto_derive_initial_secrets(uint8_t *rx, uint8_t *tx,
                                         uint8_t *initial, uint32_t version,
                                         const ngtcp2_cid *client_dcid,
                                         int side);
int ngtcp2_crypto_derive_packet_protection_key(uint8_t *key, uint8_t *iv,
                                               uint8_t *hp, uint32_t version,
                                               const ngtcp2_crypto_aead *aead,
                                               const ngtcp2_crypto_md *md,
                                               const uint8_t *secret,
                                               size_t len);

enum { TAG = 16, SERVER = 1 };

struct keys {
  bool have;
  ngtcp2_crypto_ctx ctx;
  ngtcp2_crypto_aead_ctx seal, open;
  ngtcp2_crypto_cipher_ctx hp;
  uint8_t iv[12];
};

struct initial { /* where its parts are */
  uint8_t *packet;
  ngtcp2_cid dcid;
  size_t pn_at, end; /* its number, behind its last byte */
};

static void keys_make(struct keys *k, const ngtcp2_cid *dcid) {
  uint8_t rx[32], tx[32], all[32], key[16], hp[16];

  ngtcp2_crypto_ctx_initial(&k->ctx);
  if (ngtcp2_crypto_derive_initial_secrets(rx, tx, all, NGTCP2_PROTO_VER_V1,
                                           dcid, SERVER) ||
      ngtcp2_crypto_derive_packet_protection_key(
          key, k->iv, hp, NGTCP2_PROTO_VER_V1, &k->ctx.aead, &k->ctx.md, rx,
          sizeof(rx)) ||
      ngtcp2_crypto_aead_ctx_encrypt_init(&k->seal, &k->ctx.aead, key, 12) ||
      ngtcp2_crypto_aead_ctx_decrypt_init(&k->open, &k->ctx.aead, key, 12) ||
      ngtcp2_crypto_cipher_ctx_encrypt_init(&k->hp, &k->ctx.hp, hp))
    exit(2);
  k->have = true;
}

static uint64_t varint(const uint8_t *p, size_t *at) {
  size_t n = (size_t)1 << (p[*at] >> 6);
  uint64_t v = p[(*at)++] & 0x3f;

  while (--n) v = v << 8 | p[(*at)++];
  return v;
}

/* False: no Initial. */
static bool find_initial(struct initial *in, uint8_t *p, size_t len) {
  size_t at = 6;

  if (len < 1200 || (p[0] & 0xf0) != 0xc0 || p[5] > 20) return false;
  in->packet = p;
  ngtcp2_cid_init(&in->dcid, p + at, p[5]);
  at += p[5];
  at += 1U + p[at];
  at += varint(p, &at); /* the token */
  in->end = varint(p, &at);
  in->pn_at = at;
  in->end += at;
  return in->end <= len;
}

static void mask_head(struct keys *k, struct initial *in, bool open) {
  uint8_t mask[16], *p = in->packet;
  size_t n;

  ngtcp2_crypto_hp_mask(mask, &k->ctx.hp, &k->hp, p + in->pn_at + 4);
  if (open) p[0] ^= mask[0] & 0x0f;
  n = (p[0] & 3) + 1U;
  if (!open) p[0] ^= mask[0] & 0x0f;
  for (size_t i = 0; i < n; i++) p[in->pn_at + i] ^= mask[1 + i];
}

/* X25519MLKEM768, X25519, P-256 in supported_groups. */
static int strip(uint8_t *p, size_t len) {
  static const uint8_t groups[] = {0,    0x0a, 0,    8,    0,    6,
                                   0x11, 0xec, 0x00, 0x1d, 0x00, 0x17};

  for (size_t i = 0; i + sizeof(groups) <= len; i++)
    if (!memcmp(p + i, groups, sizeof(groups))) {
      p[i + 6] = p[i + 7] = 0x0a; /* one that nobody knows */
      return 1;
    }
  return 0;
}

/* How many groups were taken out; -1: it does not open by these keys. */
static int rewrite(struct keys *k, struct initial *in, bool take) {
  uint8_t nonce[12], text[2048], *p = in->packet;
  size_t head, len;
  int n = 0;

  mask_head(k, in, true);
  head = in->pn_at + (p[0] & 3) + 1U;
  memcpy(nonce, k->iv, sizeof(nonce));
  for (size_t i = head, at = 12; i-- > in->pn_at;) nonce[--at] ^= p[i];
  len = in->end - head;
  if (ngtcp2_crypto_decrypt(text, &k->ctx.aead, &k->open, p + head, len, nonce,
                            12, p, head))
    n = -1;
  else if (take)
    n = strip(text, len - TAG);
  if (n >= 0)
    ngtcp2_crypto_encrypt(p + head, &k->ctx.aead, &k->seal, text, len - TAG,
                          nonce, 12, p, head);
  mask_head(k, in, false);
  return n;
}

/* --- the way --- */

static int bound(const struct ztna_addr *at) {
  struct sockaddr_storage ss;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(at, &ss);
  int fd = socket(ss.ss_family, SOCK_DGRAM, 0);

  if (fd >= 0 && bind(fd, (struct sockaddr *)&ss, len) == 0) return fd;
  perror("bind");
  exit(2);
}

static void pass(int fd, const struct ztna_addr *to, const uint8_t *p,
                 size_t n) {
  struct sockaddr_storage ss;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(to, &ss);

  sendto(fd, p, n, 0, (struct sockaddr *)&ss, len);
}

/* A client's packet: a flow of its own begins with an unknown id. */
static void from_client(struct keys *k, uint8_t *p, size_t n, bool take) {
  struct initial in;
  int took = -1;

  if (!find_initial(&in, p, n)) return;
  if (k->have) took = rewrite(k, &in, take);
  if (took < 0) {
    keys_make(k, &in.dcid);
    took = rewrite(k, &in, take);
  }
  printf("initial opened=%d taken=%d\n", took >= 0, took > 0);
}

int mitm(char **argv) {
  struct ztna_addr at, relay, client = {0}, from, any = {.family = 4};
  bool take = !strcmp(argv[2], "strip");
  struct keys k = {0};
  struct pollfd p[2] = {{.events = POLLIN}, {.events = POLLIN}};

  if (ztna_addr_parse(&at, argv[0]) < 0 || ztna_addr_parse(&relay, argv[1]) < 0)
    return 2;
  p[0].fd = bound(&at);
  p[1].fd = bound(&any);
  while (poll(p, 2, -1) > 0)
    for (int i = 0; i < 2; i++) {
      struct sockaddr_storage ss;
      socklen_t len = sizeof(ss);
      uint8_t b[2048];
      ssize_t n;

      if (!(p[i].revents & POLLIN)) continue;
      n = recvfrom(p[i].fd, b, sizeof(b), 0, (struct sockaddr *)&ss, &len);
      if (n <= 0 || ztna_addr_from_sockaddr(&from, &ss) < 0) continue;
      if (i == 0) {
        client = from;
        from_client(&k, b, (size_t)n, take);
      }
      pass(p[!i].fd, i ? &client : &relay, b, (size_t)n);
    }
  return 1;
}
