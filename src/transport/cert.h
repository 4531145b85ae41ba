/* cert.h - making and reading certificates with wolfSSL: a CA and leaves for
 * every role. P-256 keys; leaves carry one SPIFFE URI SAN, DNS and IP SANs,
 * critical digitalSignature, clientAuth and serverAuth, SKI and AKI. All in
 * memory. */
#ifndef ZTNA_CERT_H
#define ZTNA_CERT_H

#include "base/sbuf.h"
#include "transport/identity.h"

enum {
  CERT_DER_MAX = 20000, /* more than a leaf with every name it may have */
  CERT_CN_MAX = 63,     /* bytes of a common name */
  CERT_CSR_MAX = 4096,  /* bytes of a request, PEM; ours have 330 */
  CERT_SPKI_HASH_LEN = 32,
};

/* "ztna CA example.org": how a CA remembers its trust domain. */
#define CERT_CA_PREFIX "ztna CA "

struct cert_spec {
  const char *spiffe;     /* leaf only */
  const char *const *dns; /* DNS SANs */
  size_t n_dns;
  const struct ztna_addr *ips; /* IP SANs */
  size_t n_ips;
  int64_t not_before, not_after; /* seconds since 1970 */
};

/* PEM certificate and PKCS#8 PEM key, added to the buffers; the key is
 * zeroised by whoever frees it (cert_forget). Returns 0, ZTNA_ENOMEM, ZTNA_ETLS
 * or ZTNA_EINVAL (a name too long, too many or malformed; not_after not behind
 * not_before). common_name: "ztna CA example.org". The CA's key may be PKCS#8
 * or SEC1; ZTNA_ETLS also when it does not belong to the CA's certificate. */
int cert_make_ca(const char *common_name, int64_t not_before, int64_t not_after,
                 struct sbuf *cert, struct sbuf *key);
int cert_make_leaf(const struct cert_spec *spec, const char *ca_cert,
                   size_t ca_cert_len, const char *ca_key, size_t ca_key_len,
                   struct sbuf *cert, struct sbuf *key);
/* A request for a certificate (PKCS#10, RFC 2986) for this P-256 key (PEM,
 * PKCS#8 or SEC1), PEM, without names: those are the issuer's to give. 0,
 * ZTNA_ENOMEM or ZTNA_ETLS. */
int cert_make_csr(const char *key, size_t key_len, struct sbuf *csr);
/* A fresh key, PKCS#8 PEM. */
int cert_make_key(struct sbuf *key);
/* The SHA-256 of the SubjectPublicKeyInfo in a request (PEM) whose own
 * signature (ecdsa-with-SHA256) is right and whose key is a P-256 one. 0,
 * ZTNA_EMALFORMED, ZTNA_EREFUSED (another kind of key or signature, a wrong
 * one), ZTNA_ENOMEM. Bytes of strangers. */
int cert_read_csr(const char *csr, size_t len,
                  uint8_t spki_sha256[CERT_SPKI_HASH_LEN]);
/* As cert_make_leaf, for the key in a request, which is judged as by
 * cert_read_csr; nothing else of it is taken. */
int cert_sign_csr(const struct cert_spec *spec, const char *csr, size_t csr_len,
                  const char *ca_cert, size_t ca_cert_len, const char *ca_key,
                  size_t ca_key_len, struct sbuf *cert);
/* A list of revoked certificates (RFC 5280, 5; version 2), PEM. serials:
 * hexadecimal, as in struct identity. */
struct cert_revoked {
  const char *serial;
  int64_t at; /* seconds since 1970 */
};
enum { CERT_REVOKED_MAX = 200000 };
int cert_make_crl(const struct cert_revoked *v, size_t n, int64_t this_update,
                  int64_t next_update, uint64_t number, const char *ca_cert,
                  size_t ca_cert_len, const char *ca_key, size_t ca_key_len,
                  struct sbuf *crl);
/* What such a list says; whose key signed it is not looked at. */
struct cert_crl {
  char issuer[CERT_CN_MAX + 1];     /* its common name */
  int64_t this_update, next_update; /* INT64_MAX: it says no end */
  uint64_t number;                  /* 0: it says none */
  size_t n;                         /* certificates that it names */
  const uint8_t *at, *end;          /* those that cert_crl_next has not told */
};
/* The next list of a file, PEM blocks one after another or one as DER, as DER:
 * as cert_pem_next; as many bytes as the file has are room enough. */
int cert_crl_take(const char **file, size_t *len, uint8_t *der, size_t room);
/* 0 or ZTNA_EMALFORMED. der is lent as long as *crl is used. */
int cert_read_crl(struct cert_crl *crl, const uint8_t *der, size_t len);
/* The next certificate of it: 1; 0 behind the last. */
int cert_crl_next(struct cert_crl *crl,
                  char serial[2 * IDENTITY_SERIAL_MAX + 1], int64_t *at);
/* sbuf_done, zeroising. */
void cert_forget(struct sbuf *key);

/* Reads the (first) PEM certificate's DER. Returns its length, ZTNA_ENOENT when
 * there is none, ZTNA_EMALFORMED, or ZTNA_ESIZE. */
int cert_pem_to_der(const char *pem, size_t len, uint8_t *der, size_t room);
/* The same, and moves *pem and *len behind it. */
int cert_pem_next(const char **pem, size_t *len, uint8_t *der, size_t room);

/* A CA's certificate. */
struct cert_ca {
  char common_name[CERT_CN_MAX + 1];
  char trust_domain[64]; /* by a SPIFFE URI SAN or CERT_CA_PREFIX; or empty */
  int64_t not_before, not_after;
  uint8_t sha256[32]; /* of the DER */
};
/* 0, or ZTNA_EMALFORMED: also when it is no CA's. */
int cert_read_ca(struct cert_ca *ca, const uint8_t *der, size_t len);
bool cert_is_ca(const uint8_t *der, size_t len);
/* Does the CA's certificate verify the signature of this one? Dates do not
 * matter. 0, ZTNA_ETLS or ZTNA_ENOMEM. */
int cert_check_signature(const uint8_t *der, size_t len, const uint8_t *ca,
                         size_t ca_len);

/* A UTCTime or GeneralizedTime with tag and length, as wolfSSL points at it. */
int cert_read_time(int64_t *to, const uint8_t *der, int len);

#endif
