/* enroll_ca.h - the directory's certificate authority, for who enrols machines
 * by it: the service, tokens, and `ztna check-config`. */
#ifndef ZTNA_APPLETS_ENROLL_CA_H
#define ZTNA_APPLETS_ENROLL_CA_H

#include "host/config.h"
#include "transport/cert.h"

struct enroll_ca {
  char *cert, *key;                    /* PEM; key NULL unless asked for */
  size_t cert_len, key_len, first_len; /* of the first certificate, PEM */
  struct cert_ca ca;                   /* the first one: the key's */
  char trust_domain[64];
};

/* source: for messages, to stderr. An EXIT_ code. enroll_ca_done is right
 * whatever it is. */
int enroll_ca_load(struct enroll_ca *a, const struct enroll_config *c,
                   const char *source, bool with_key);
/* Wipes the key. */
void enroll_ca_done(struct enroll_ca *a);
/* The service's own certificate, a week at most, its key, and behind it that of
 * the CA: the first handshake of a machine is to find it there. 0, or
 * ZTNA_ENOMEM, ZTNA_ETLS (the key is not the CA's), ZTNA_EREFUSED (the CA has
 * run out). */
int enroll_ca_own(const struct enroll_ca *a, const struct enroll_config *c,
                  int64_t now, struct sbuf *cert, struct sbuf *key);

#endif
