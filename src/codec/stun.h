/* stun.h - STUN messages (RFC 8489) and the attributes of NAT discovery (RFC
 * 5780) and connectivity checks.
 *
 *   u16 type | u16 length | u32 magic cookie | 12 bytes transaction id |
 *   attributes: u16 type | u16 length | value, padded to 4
 *
 * No cryptography here: a message authentication code is computed by a function
 * that the caller gives. */
#ifndef ZTNA_STUN_H
#define ZTNA_STUN_H

#include <stdbool.h>
#include <ztna/addr.h>

enum {
  STUN_HEADER = 20,
  STUN_TXID_LEN = 12,
  STUN_MAX = 576,       /* longest that is written here */
  STUN_READ_MAX = 2048, /* and read: some pad to more than a packet's size */
  STUN_USERNAME_MAX = 64,
  STUN_UNKNOWN_MAX = 8, /* more of one message are not listed */
  STUN_SHA1_LEN = 20,
  STUN_SHA256_LEN = 32,
};

enum stun_class { STUN_REQUEST, STUN_INDICATION, STUN_SUCCESS, STUN_ERROR };
enum { STUN_BINDING = 1 }; /* the only method */

/* Types of attributes that a relay names in UNKNOWN-ATTRIBUTES. */
enum { STUN_ATTR_CHANGE_REQUEST = 0x0003 };

/* Bits of CHANGE-REQUEST (RFC 5780, 7.2). */
enum { STUN_CHANGE_PORT = 2, STUN_CHANGE_IP = 4 };

/* Error codes in use. */
enum {
  STUN_BAD_REQUEST = 400,
  STUN_UNAUTHENTICATED = 401,
  STUN_UNKNOWN_ATTRIBUTE = 420,
};

enum stun_integrity { STUN_NO_INTEGRITY, STUN_HMAC_SHA1, STUN_HMAC_SHA256 };

struct stun_msg {
  enum stun_class class;
  uint16_t method; /* 12 bits */
  uint8_t txid[STUN_TXID_LEN];
  struct ztna_addr mapped; /* XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS */
  struct ztna_addr other;  /* OTHER-ADDRESS (RFC 5780, 7.4) */
  struct ztna_addr origin; /* RESPONSE-ORIGIN (7.3) */
  bool has_change;
  uint32_t change;        /* STUN_CHANGE_ bits */
  uint16_t response_port; /* RESPONSE-PORT (7.5): the answer goes there, at the
                             address that asks; 0: none */
  bool has_username;      /* in: one longer than fits here is as if not there */
  uint8_t username[STUN_USERNAME_MAX];
  size_t username_len;
  uint16_t error;   /* 0: none */
  uint16_t unknown; /* in: the first comprehension-required attribute that is
                       not known here; 0: none */
  /* UNKNOWN-ATTRIBUTES of an error; in, of anything else: all that are not
   * known here, as the answer is to list them. */
  uint16_t listed[STUN_UNKNOWN_MAX];
  size_t n_listed;
  size_t padding;     /* bytes of PADDING (7.6) */
  bool legacy_mapped; /* MAPPED-ADDRESS, for old clients; out: besides */
  /* in: where its integrity attribute begins, whose MAC covers the bytes before
   * it; what follows it was not read but FINGERPRINT (RFC 8489, 14.5). Of both
   * kinds, SHA-256's. */
  enum stun_integrity integrity;
  size_t integrity_at;
  bool fingerprint; /* in: there and right; out: add it */
};

/* HMAC of data by key into out (20 or 32 bytes). */
typedef void (*stun_mac_fn)(enum stun_integrity kind, const uint8_t *key,
                            size_t key_len, const uint8_t *data, size_t len,
                            uint8_t *out);

/* Could this UDP payload be STUN: first byte 0 to 3, magic cookie, a length
 * that fits? */
bool stun_is(const uint8_t *data, size_t len);
/* 0, or ZTNA_EMALFORMED: longer than STUN_READ_MAX, bad lengths, a wrong
 * FINGERPRINT or something behind it, an attribute that breaks its format. Of
 * repeated attributes the first counts. */
int stun_read(struct stun_msg *m, const uint8_t *data, size_t len);
/* Is the integrity attribute that stun_read found right by this key? Constant
 * time. False when there is none, or one of another kind than `kind`. */
bool stun_verify(const struct stun_msg *m, const uint8_t *data,
                 enum stun_integrity kind, const uint8_t *key, size_t key_len,
                 stun_mac_fn mac);
/* Writes m, with the integrity of m->integrity by key, into room >= STUN_MAX
 * bytes; m->padding is added as a PADDING attribute of that many zero bytes.
 * key and mac may be NULL without integrity. Returns the length, or ZTNA_ESIZE.
 */
int stun_write(uint8_t *to, const struct stun_msg *m, const uint8_t *key,
               size_t key_len, stun_mac_fn mac);

#endif
