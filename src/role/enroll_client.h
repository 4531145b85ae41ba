/* enroll_client.h - asks the enrolment service for a certificate, once
 * (docs/ENROLL.md). A machine without one has a token: a first handshake, which
 * fails, brings the CA's certificate that the token names, a second one is
 * verified by it. A running role asks with the certificate that it has. One
 * attempt: whoever asks again makes another.
 *
 * Four verbs, as all roles. What is private, the key, stays here: a request for
 * a certificate is all that leaves. */
#ifndef ZTNA_ROLE_ENROLL_CLIENT_H
#define ZTNA_ROLE_ENROLL_CLIENT_H

#include <ztna/identity.h>

#include "base/dgram.h"
#include "base/rng.h"
#include "part/token.h"
#include "role/enroll_answer.h"

struct enroll_client;

enum { ENROLL_ADDRS_MAX = 8 };

struct enroll_options {
  const struct rng *rng;         /* lent */
  const char *server;            /* host:port, copied */
  const struct ztna_addr *addrs; /* its addresses, tried in turn; copied, at
                                    most ENROLL_ADDRS_MAX */
  size_t n_addrs;
  uint16_t sock; /* dgram.h: which socket all of it leaves by */
  /* The key that is to be certified, PEM, copied. */
  const char *key;
  size_t key_len;
  /* Enrolment: copied. NULL: renewal, then own is what the role has, its key
   * the one above; copied as far as needed. */
  const struct token *token;
  const struct ztna_identity *own;
};

/* 0; ZTNA_ENOMEM, ZTNA_EINVAL (no address) or ZTNA_ETLS with a sentence in why
 * (room bytes) about the key, or the own files. */
int enroll_client_new(struct enroll_client **c, const struct enroll_options *o,
                      uint64_t now, char *why, size_t room);
/* Wipes the key and the token. NULL is fine. */
void enroll_client_free(struct enroll_client *c);

/* NULL: not yet. Output may remain: see enroll_client_is_over. */
struct enroll_result *enroll_client_result(struct enroll_client *c);
/* The result is there and the service was told goodbye. */
bool enroll_client_is_over(const struct enroll_client *c);

void enroll_client_udp_in(struct enroll_client *c, uint64_t now,
                          const struct dgram *d);
void enroll_client_tick(struct enroll_client *c, uint64_t now);
int enroll_client_next(struct enroll_client *c, uint64_t now, struct dgram *v,
                       int max);
uint64_t enroll_client_deadline(const struct enroll_client *c);

#endif
